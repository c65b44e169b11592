//! Which regions are to be left. A plan names a few that have the least in use and so little that the free blocks of the
//! others have place for it. It ends when they are empty, or when nothing has moved for a while, as what is left in
//! them belongs to nobody who would move it; or when memory is short without them.

use std::time::{Duration, Instant};

use super::area::ROOM;
use super::state::{Pool, State};

/// Regions of a plan at most.
pub(super) const LEFT_AT_ONCE: usize = 32;
/// A plan is worth the while when more is free than a part of so many of what is in use, and a region.
const SHARE: usize = 32;
/// Parts of the others' free blocks that may be relied on: not every block finds one of its size.
const RELIED_ON: (usize, usize) = (3, 4);
/// A plan ends when so long nothing was moved.
const PATIENCE: Duration = Duration::from_millis(10);
/// So long after the last one another plan is to be expected soon.
const CALM: Duration = Duration::from_millis(100);
/// A region that was in vain to be left is not again in so many plans, unless it has twice as much in use.
const REST: u8 = 100;
/// Bytes that a slot counts what is pinned in.
const PIN_GRAIN: usize = 16 << 10;

/// The plan; see the module's page.
pub(super) struct Plan {
    /// How many there have been.
    number: usize,
    /// Numbers of the regions that are to be left, as many as `count`.
    regions: [u32; LEFT_AT_ONCE],
    count: usize,
    /// When something was seen to have moved, and how many moves there had been.
    last_move: Option<(Instant, usize)>,
    /// When there was nothing to pick.
    in_vain: Option<Instant>,
}

impl Plan {
    pub(super) const fn new() -> Self {
        Self { number: 0, regions: [0; LEFT_AT_ONCE], count: 0, last_move: None, in_vain: None }
    }
}

impl Pool {
    /// Ends a plan, and begins one if that is worth the while.
    pub(super) fn tend(&self, now: Instant) {
        let mut state = self.state();
        let moves = self.moves();
        if state.is_stuck(now, moves) {
            state.stay(true);
        }
        if state.plan.count > 0 {
            return;
        }
        if !state.begin(now) {
            if self.plan() != 0 {
                self.publish(&[]);
                if state.plan.last_move.is_none_or(|(at, _)| now.duration_since(at) > CALM) {
                    self.set_plan(0);
                }
            }
            return;
        }
        state.plan.last_move = Some((now, moves));
        let mut addresses = [0; LEFT_AT_ONCE];
        for (number, address) in addresses.iter_mut().enumerate().take(state.plan.count) {
            *address = state.slots[state.plan.regions[number] as usize].region.addr();
        }
        self.publish(&addresses);
        self.set_plan(state.plan.number);
    }
}

impl State {
    /// Whether a plan goes on without getting on. One whose regions are empty ends here.
    fn is_stuck(&mut self, now: Instant, moves: usize) -> bool {
        let regions = &self.plan.regions[..self.plan.count];
        if !regions.iter().any(|number| self.slots[*number as usize].is_left) {
            self.plan.count = 0;
            return false;
        }
        match self.plan.last_move {
            Some((at, before)) if before == moves => now.duration_since(at) > PATIENCE,
            _ => {
                self.plan.last_move = Some((now, moves));
                false
            }
        }
    }

    /// Picks regions to be left; false if it is not worth the while.
    fn begin(&mut self, now: Instant) -> bool {
        let mut free = self.holes();
        if free <= self.used / SHARE + ROOM / 4 {
            return false;
        }
        // Looking through all regions takes a while where there are many.
        if self.plan.in_vain.is_some_and(|at| now.duration_since(at) < CALM) {
            return false;
        }
        let mut live = 0;
        for number in self.least_used().into_iter().flatten() {
            let slot = &mut self.slots[number as usize];
            let used = slot.used as usize;
            let dirty = ROOM - used - slot.clean as usize;
            let rest = free.saturating_sub(dirty);
            if (live + used) * RELIED_ON.1 > rest * RELIED_ON.0 {
                break;
            }
            (live, free) = (live + used, rest);
            slot.leave();
            self.plan.regions[self.plan.count] = number;
            self.plan.count += 1;
        }
        let is_begun = self.plan.count > 0;
        self.plan.in_vain = (!is_begun).then_some(now);
        self.plan.number += usize::from(is_begun);
        is_begun
    }

    /// The numbers of the regions that have the least in use, in that order.
    fn least_used(&mut self) -> [Option<u32>; LEFT_AT_ONCE] {
        let mut least = [(u32::MAX, None); LEFT_AT_ONCE];
        for (number, slot) in self.slots[..self.end].iter_mut().enumerate() {
            slot.rest = slot.rest.saturating_sub(1);
            let pinned = if slot.rest == 0 { 0 } else { slot.pinned };
            let pinned = usize::from(pinned) * PIN_GRAIN;
            let is_worth_it = slot.used > 0 && slot.used as usize >= 2 * pinned && (slot.used as usize) < ROOM / 8 * 7;
            if slot.region.is_null() || !is_worth_it || slot.used >= least[LEFT_AT_ONCE - 1].0 {
                continue;
            }
            let at = least.partition_point(|(used, _)| *used <= slot.used);
            least[at..].rotate_right(1);
            least[at] = (slot.used, Some(number as u32));
        }
        least.map(|(_, number)| number)
    }

    /// Ends a plan before its regions are empty; whether there was one. What is in them may be `pinned`.
    pub(super) fn stay(&mut self, pinned: bool) -> bool {
        let regions = self.plan.regions;
        let mut was_left = false;
        for number in regions.into_iter().take(std::mem::take(&mut self.plan.count)) {
            let slot = &mut self.slots[number as usize];
            if !std::mem::take(&mut slot.is_left) {
                continue;
            }
            was_left = true;
            if pinned {
                slot.pinned = (slot.used as usize).div_ceil(PIN_GRAIN) as u8;
                slot.rest = REST;
            }
            if let Some(area) = slot.area() {
                self.note(number as usize, area);
            }
        }
        was_left
    }
}
