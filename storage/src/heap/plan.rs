//! Which regions are to be left. A plan names a few that have the least in use and so little that the free blocks of the
//! others have place for it. It ends when they are empty, or when nothing was moved for a while, as what is left in them
//! belongs to nobody who would move it; or when memory is short without them.

use super::area::{GRAIN, ROOM, WEIGHT_GRAIN, list_of};
use super::state::{Pool, Slot, State};

/// Regions of a plan at most.
pub(super) const LEFT_AT_ONCE: usize = 32;
/// Looking for a plan is worth the while when more is free than a part of so many of what is in use, and a region.
const SHARE: usize = 32;
/// Parts of the others' free blocks that may be relied on: not every block finds one of its size.
const RELIED_ON: (usize, usize) = (3, 4);
/// A plan ends when for so many looks and so long nothing was moved. Looks count, too, as what holds the looking thread
/// up may hold the others up.
const PATIENT_LOOKS: u32 = 3;
const PATIENCE_US: u64 = 10_000;
/// So long after the last one another plan is to be expected soon.
const CALM_US: u64 = 100_000;
/// After a plan that won no region the next one waits, after each that follows twice as long.
const SHORTEST_PAUSE_US: u64 = 1_000;
const LONGEST_PAUSE_US: u64 = 2_000_000;
/// A region that was in vain to be left is not again in so many plans, unless it has twice as much in use; each time after that
/// twice as long, up to so often, whatever it has: what stands in it for good and what moves out of it and back would keep plans going for ever.
const REST: u16 = 100;
const MOST_VAIN: u8 = 8;
/// Bytes that a slot counts what is pinned in.
const PIN_GRAIN: usize = 16 << 10;

/// The plan; see the module's page.
pub(super) struct Plan {
    /// How many there have been.
    number: usize,
    /// Numbers of the regions that are to be left, as many as `count`.
    regions: [u32; LEFT_AT_ONCE],
    count: usize,
    /// How many moves there had been at the last look, when that had changed, and looks since then.
    moves: usize,
    moved_us: u64,
    looks: u32,
    /// Regions when it began.
    mapped: usize,
    /// After a plan in vain: how long to wait, until when, and what had been given back until then.
    pause_us: u64,
    waits_until_us: u64,
    given: usize,
}

impl Plan {
    pub(super) const fn new() -> Self {
        let (number, count, moves, moved_us, looks) = (0, 0, 0, 0, 0);
        let (mapped, pause_us, waits_until_us, given) = (0, 0, 0, 0);
        let regions = [0; LEFT_AT_ONCE];
        Self { number, regions, count, moves, moved_us, looks, mapped, pause_us, waits_until_us, given }
    }

    /// Begins no other one for so long, unless much is given back meanwhile.
    fn wait(&mut self, now_us: u64, pause_us: u64, given: usize) {
        (self.pause_us, self.waits_until_us, self.given) = (pause_us, now_us + pause_us, given);
    }
}

impl Pool {
    /// Ends a plan, and begins one if that is worth the while.
    pub(super) fn tend(&self, now_us: u64) {
        let mut state = self.state();
        self.note_free(state.holes());
        let moves = self.moves();
        if state.is_stuck(now_us, moves) {
            self.stay(&mut state, true);
        }
        if state.plan.count > 0 {
            return;
        }
        if !state.begin(now_us) {
            if self.plan() != 0 {
                self.publish(&[]);
                if now_us.saturating_sub(state.plan.moved_us) > CALM_US {
                    self.set_plan(0);
                }
            }
            return;
        }
        (state.plan.moves, state.plan.moved_us, state.plan.looks) = (moves, now_us, 0);
        let mut addresses = [0; LEFT_AT_ONCE];
        for (number, address) in addresses.iter_mut().enumerate().take(state.plan.count) {
            *address = state.slots[state.plan.regions[number] as usize].region.addr();
        }
        self.publish(&addresses);
        self.set_plan(state.plan.number);
    }
}

impl Slot {
    /// Free bytes that hold memory and may serve blocks of so many bytes.
    fn room_for(&self, size: usize) -> usize {
        let free = ROOM - (self.used + self.clean) as usize;
        if usize::from(self.top) >= list_of(size) { free - free % size } else { 0 }
    }
}

impl State {
    /// Whether a plan goes on without getting on. One whose regions are empty ends here.
    fn is_stuck(&mut self, now_us: u64, moves: usize) -> bool {
        let plan = &mut self.plan;
        let regions = &plan.regions[..plan.count];
        if !regions.iter().any(|number| self.slots[*number as usize].is_left) {
            if plan.count > 0 {
                self.judge(now_us);
            }
            return false;
        }
        if plan.moves != moves {
            (plan.moves, plan.moved_us, plan.looks) = (moves, now_us, 0);
            return false;
        }
        plan.looks += 1;
        plan.looks >= PATIENT_LOOKS && now_us.saturating_sub(plan.moved_us) > PATIENCE_US
    }

    /// Picks regions to be left; false if it is not worth the while.
    fn begin(&mut self, now_us: u64) -> bool {
        let enough = self.used / SHARE + ROOM / 4;
        if self.holes() <= enough {
            return false;
        }
        // Looking through all regions takes a while where there are many.
        if now_us < self.plan.waits_until_us && self.given.wrapping_sub(self.plan.given) <= self.used / SHARE {
            return false;
        }
        let size = self.least_served();
        let (least, mut free) = self.least_used();
        if free <= enough {
            self.plan.wait(now_us, CALM_US, self.given);
            return false;
        }
        let mut live = 0;
        for number in least.into_iter().flatten() {
            let slot = &mut self.slots[number as usize];
            let used = slot.used as usize;
            let rest = free.saturating_sub(slot.room_for(size));
            if (live + used) * RELIED_ON.1 > rest * RELIED_ON.0 {
                break;
            }
            (live, free) = (live + used, rest);
            slot.leave();
            self.plan.regions[self.plan.count] = number;
            self.plan.count += 1;
        }
        if self.plan.count == 0 {
            self.plan.wait(now_us, CALM_US, self.given);
            return false;
        }
        self.plan.mapped = self.mapped;
        self.plan.number += 1;
        true
    }

    /// Ends a plan whose regions are empty. Where as many were mapped for what stood in them, as free blocks are too short for it,
    /// the next one would do no better: those that are used least would be these.
    fn judge(&mut self, now_us: u64) {
        self.plan.count = 0;
        if self.mapped < self.plan.mapped {
            self.plan.pause_us = 0;
        } else {
            let pause_us = (2 * self.plan.pause_us).clamp(SHORTEST_PAUSE_US, LONGEST_PAUSE_US);
            self.plan.wait(now_us, pause_us, self.given);
        }
    }

    /// What a free block must have to serve. Where most bytes in use are of blocks so long that few stand in a region, most of
    /// what is free there is too short for any other, however many are moved.
    fn least_served(&self) -> usize {
        let typical = self.weight * WEIGHT_GRAIN * WEIGHT_GRAIN / self.used.max(1);
        if typical < ROOM / SHARE { GRAIN } else { typical }
    }

    /// The numbers of the regions that have the least in use, in that order; and the free bytes of all that hold memory and
    /// may serve.
    fn least_used(&mut self) -> ([Option<u32>; LEFT_AT_ONCE], usize) {
        let size = self.least_served();
        let (mut least, mut free) = ([(u32::MAX, None); LEFT_AT_ONCE], 0);
        for (number, slot) in self.slots[..self.end].iter_mut().enumerate() {
            free += slot.room_for(size);
            slot.rest = slot.rest.saturating_sub(1);
            let pinned = usize::from(slot.pinned) * PIN_GRAIN;
            let rests = slot.rest > 0 && (slot.vain > 1 || (slot.used as usize) < 2 * pinned);
            let is_worth_it = slot.used > 0 && !rests && (slot.used as usize) < ROOM / 8 * 7;
            if slot.region.is_null() || !is_worth_it || slot.used >= least[LEFT_AT_ONCE - 1].0 {
                continue;
            }
            let at = least.partition_point(|(used, _)| *used <= slot.used);
            least[at..].rotate_right(1);
            least[at] = (slot.used, Some(number as u32));
        }
        (least.map(|(_, number)| number), free)
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
                slot.rest = REST << slot.vain;
                slot.vain = (slot.vain + 1).min(MOST_VAIN);
            }
            if let Some(area) = slot.area() {
                self.note(number as usize, area);
            }
        }
        was_left
    }
}
