//! The regions of a pool, and which of them serves a request.
//!
//! Invariants: a slot with a region has that region's number; its `top` is the last list of the region that has a free
//! block, or 0 while the region is to be left; no region before `lowest[list]` has a `top` of that list or a later one; `mapped`, `used` and `empty` count what they say.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::area::{Area, HEAD, LISTS, ROOM, block_size, lists_for};
use super::plan::{LEFT_AT_ONCE, Plan};
use super::{Figures, REGION, system};

/// Regions at most: 256 GiB.
const MOST_REGIONS: usize = 1 << 18;
/// Empty regions that are kept, so that what comes and goes costs no page faults: one, and one for so many.
const SPARE_SHARE: usize = 64;
/// A plan is late when more is free than a part of so many of what is in use, and a region.
const LATE_SHARE: usize = 8;
/// Bytes of the free blocks that [`Pool::purge`] looks for, at least.
const LONG: usize = 64 << 10;
/// Purging pays when more is free than a part of so many of what is in use, and so much.
const PURGED_SHARE: usize = 16;
const PURGED_LEAST: usize = REGION / 4;

/// The regions and what is known of them; see the module's page.
pub(super) struct Pool {
    state: Mutex<State>,
    /// Addresses of the regions that are to be left, then 0.
    left: [AtomicUsize; LEFT_AT_ONCE],
    /// See [`super::plan`].
    plan: AtomicUsize,
    /// Blocks that were moved out of regions that are to be left.
    moves: AtomicUsize,
}

pub(super) struct State {
    pub(super) slots: [Slot; MOST_REGIONS],
    /// One more than the last slot with a region.
    pub(super) end: usize,
    lowest: [usize; LISTS],
    pub(super) mapped: usize,
    /// Bytes of all blocks in use.
    pub(super) used: usize,
    /// Regions without a block in use.
    empty: usize,
    /// Bytes of free blocks that hold no memory.
    pub(super) clean: usize,
    pub(super) plan: Plan,
}

// SAFETY: the pointers are to regions that the state owns.
unsafe impl Send for State {}

/// What is known of a region without touching it.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) region: *mut u8,
    pub(super) used: u32,
    pub(super) clean: u32,
    /// See the module's page.
    top: u16,
    /// It is to be left.
    pub(super) is_left: bool,
    /// How much could not be moved when it was to be left, in 16 KiB, rounded up, and for how many plans that holds.
    pub(super) pinned: u8,
    pub(super) rest: u8,
}

impl Slot {
    const NONE: Slot =
        Slot { region: std::ptr::null_mut(), used: 0, clean: 0, top: 0, is_left: false, pinned: 0, rest: 0 };

    pub(super) fn area(&self) -> Option<Area> {
        // SAFETY: a slot's region was begun, and who has the slot holds the lock.
        NonNull::new(self.region).map(|region| unsafe { Area::at(region) })
    }

    /// Has the region serve nothing any more.
    pub(super) fn leave(&mut self) {
        (self.is_left, self.top) = (true, 0);
    }
}

impl Pool {
    pub(super) const fn new() -> Self {
        let state = State {
            slots: [Slot::NONE; MOST_REGIONS],
            end: 0,
            lowest: [0; LISTS],
            mapped: 0,
            used: 0,
            empty: 0,
            clean: 0,
            plan: Plan::new(),
        };
        Self {
            state: Mutex::new(state),
            left: [const { AtomicUsize::new(0) }; LEFT_AT_ONCE],
            plan: AtomicUsize::new(0),
            moves: AtomicUsize::new(0),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under it panics; and if it did, an allocator has no better answer than to go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block for `size` bytes at a multiple of `align`; null if the system has no memory.
    pub(super) fn take(&self, size: usize, align: usize) -> *mut u8 {
        let mut state = self.state();
        match state.take(block_size(size), align) {
            Some(block) => block,
            None => std::ptr::null_mut(),
        }
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// It came from [`Pool::take`] of this pool, was not given back since, and nobody uses it any more.
    pub(super) unsafe fn give(&self, block: *mut u8) {
        // SAFETY: the caller promises it.
        let emptied = unsafe { self.state().give(block) };
        if let Some(region) = emptied {
            // SAFETY: the state has forgotten it, as no block of it is in use.
            unsafe { system::unmap(region) };
        }
    }

    /// Makes a block of another size where it stands; false if it cannot, and then nothing is changed.
    ///
    /// # Safety
    ///
    /// As for [`Pool::give`], but that its first `size` bytes may be in use.
    pub(super) unsafe fn resize(&self, block: *mut u8, size: usize) -> bool {
        // SAFETY: the caller promises it.
        unsafe { self.state().resize(block, block_size(size)) }
    }

    /// Gives the memory of long free blocks back if there is much of it.
    pub(super) fn purge(&self) {
        let mut number = 0;
        loop {
            let mut state = self.state();
            let dirty = (state.mapped * ROOM).saturating_sub(state.used + state.clean);
            if dirty < state.used / PURGED_SHARE + PURGED_LEAST {
                return;
            }
            let Some((area, at)) = state.long_block(&mut number) else { return };
            drop(state);
            let (start, bytes) = area.pages(at);
            // SAFETY: the block is nobody's but ours until it is given back below.
            unsafe { system::discard(start, bytes) };
            let emptied = self.state().give_area(area, at, true);
            if let Some(region) = emptied {
                // SAFETY: as in `give`.
                unsafe { system::unmap(region) };
            }
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let state = self.state();
        let held = (state.mapped * REGION).saturating_sub(state.clean);
        Figures { used: state.used, held: held.max(state.used) }
    }

    /// See [`super::plan`].
    #[inline]
    pub(super) fn plan(&self) -> usize {
        self.plan.load(Relaxed)
    }

    pub(super) fn set_plan(&self, number: usize) {
        self.plan.store(number, Relaxed);
    }

    /// Notes which regions are to be left, so that asking takes no lock.
    pub(super) fn publish(&self, regions: &[usize]) {
        for (number, left) in self.left.iter().enumerate() {
            left.store(regions.get(number).copied().unwrap_or(0), Relaxed);
        }
    }

    /// Whether an address is within a region that is to be left.
    pub(super) fn is_left(&self, address: usize) -> bool {
        let region = address & !(REGION - 1);
        let mut left = self.left.iter().map(|left| left.load(Relaxed)).take_while(|left| *left != 0);
        self.plan() != 0 && left.any(|left| left == region)
    }

    pub(super) fn note_move(&self) {
        self.moves.fetch_add(1, Relaxed);
    }

    pub(super) fn moves(&self) -> usize {
        self.moves.load(Relaxed)
    }

    /// For tests: checks the invariants; panics with what is wrong.
    #[cfg(test)]
    pub(super) fn validate(&self) {
        let state = self.state();
        let (mut mapped, mut used, mut empty) = (0, 0, 0);
        for (number, slot) in state.slots[..state.end].iter().enumerate() {
            let Some(area) = slot.area() else { continue };
            area.validate();
            assert_eq!((area.number(), area.used()), (number, slot.used as usize));
            assert_eq!(slot.top as usize, if slot.is_left { 0 } else { area.top() });
            let is_found = state.lowest[1..=usize::from(slot.top)].iter().all(|lowest| *lowest <= number);
            assert!(is_found, "a region that is not found");
            mapped += 1;
            used += area.used();
            empty += usize::from(area.used() == 0);
        }
        assert_eq!((mapped, used, empty), (state.mapped, state.used, state.empty));
    }
}

impl State {
    fn take(&mut self, size: usize, align: usize) -> Option<*mut u8> {
        loop {
            if let Some(block) = self.take_mapped(size, align) {
                return Some(block);
            }
            // A plan pays for the regions that are mapped meanwhile, unless it cannot keep up.
            let is_late = self.holes() > self.used / LATE_SHARE + ROOM;
            if !(is_late && self.stay(false)) && self.map().is_none() && !self.stay(false) {
                return None;
            }
        }
    }

    /// Bytes that are free and hold memory.
    pub(super) fn holes(&self) -> usize {
        (self.mapped * ROOM).saturating_sub(self.used + self.clean)
    }

    /// A block of a region, if it has one.
    fn take_in(&mut self, number: usize, size: usize, align: usize) -> Option<*mut u8> {
        let slot = self.slots[number];
        let area = slot.area().filter(|_| !slot.is_left)?;
        let at = area.take_aligned(size, align)?;
        self.empty -= usize::from(slot.used == 0);
        self.note(number, area);
        Some(area.payload(at))
    }

    /// A block of the oldest region that has one.
    fn take_mapped(&mut self, size: usize, align: usize) -> Option<*mut u8> {
        let (_, list) = lists_for(size);
        let mut number = self.lowest[list];
        let mut is_first = true;
        while number < self.end {
            let top = usize::from(self.slots[number].top);
            if is_first && top >= list {
                self.lowest[list] = number;
                is_first = false;
            }
            if top >= list
                && let Some(block) = self.take_in(number, size, align)
            {
                return Some(block);
            }
            number += 1;
        }
        if is_first {
            self.lowest[list] = self.end;
        }
        None
    }

    /// Notes what has changed in a region.
    pub(super) fn note(&mut self, number: usize, area: Area) {
        let slot = &mut self.slots[number];
        self.used = self.used + area.used() - slot.used as usize;
        self.clean = self.clean + area.clean() - slot.clean as usize;
        (slot.used, slot.clean) = (area.used() as u32, area.clean() as u32);
        let top = if slot.is_left { 0 } else { area.top() };
        let before = std::mem::replace(&mut slot.top, top as u16) as usize;
        self.find(number, before, top);
    }

    /// Has a region found that has longer blocks than before.
    fn find(&mut self, number: usize, before: usize, top: usize) {
        let lists = before + 1..(before + 1).max(top + 1);
        self.lowest[lists].iter_mut().for_each(|lowest| *lowest = number.min(*lowest));
    }

    /// Maps another region.
    fn map(&mut self) -> Option<()> {
        if self.mapped == 0 {
            system::separate_huge_blocks();
        }
        let number = self.slots[..self.end].iter().position(|slot| slot.region.is_null()).unwrap_or(self.end);
        let slot = self.slots.get_mut(number)?;
        let region = system::map()?;
        // SAFETY: it was just mapped.
        let area = unsafe { Area::begin(region, number as u32) };
        *slot = Slot { region: region.as_ptr(), ..Slot::NONE };
        self.end = self.end.max(number + 1);
        self.mapped += 1;
        self.empty += 1;
        self.note(number, area);
        Some(())
    }

    /// Takes a block back; the region if no block of it is in use and it is not kept, for the system.
    ///
    /// # Safety
    ///
    /// As for [`Pool::give`].
    unsafe fn give(&mut self, block: *mut u8) -> Option<NonNull<u8>> {
        let (area, at) = Self::whose(block)?;
        self.give_area(area, at, false)
    }

    fn give_area(&mut self, area: Area, at: usize, is_clean: bool) -> Option<NonNull<u8>> {
        area.give(at, is_clean);
        let number = area.number();
        self.note(number, area);
        if area.used() > 0 {
            return None;
        }
        self.empty += 1;
        let is_kept = self.empty <= 1 + self.mapped / SPARE_SHARE && !self.slots[number].is_left;
        (!is_kept).then(|| {
            self.forget(number);
            area.start()
        })
    }

    /// Forgets a region without blocks.
    fn forget(&mut self, number: usize) {
        self.clean -= self.slots[number].clean as usize;
        self.slots[number] = Slot::NONE;
        self.mapped -= 1;
        self.empty -= 1;
        while self.end > 0 && self.slots[self.end - 1].region.is_null() {
            self.end -= 1;
        }
    }

    /// # Safety
    ///
    /// As for [`Pool::resize`].
    unsafe fn resize(&mut self, block: *mut u8, size: usize) -> bool {
        let Some((area, at)) = Self::whose(block) else { return false };
        let is_resized = area.resize(at, size);
        if is_resized {
            self.note(area.number(), area);
        }
        is_resized
    }

    /// The region of a block, and where its head stands.
    fn whose(block: *mut u8) -> Option<(Area, usize)> {
        let offset = block.addr() % REGION;
        let region = NonNull::new(block.wrapping_sub(offset))?;
        // SAFETY: every block is within a region, which is aligned to its size; and the caller holds the lock.
        Some((unsafe { Area::at(region) }, offset - HEAD))
    }

    /// A long free block of the region of this number or a later one, taken out.
    fn long_block(&mut self, number: &mut usize) -> Option<(Area, usize)> {
        while *number < self.end {
            if let Some(area) = self.slots[*number].area()
                && let Some(at) = area.take_dirty(LONG)
            {
                self.empty -= usize::from(self.slots[*number].used == 0);
                self.note(*number, area);
                return Some((area, at));
            }
            *number += 1;
        }
        None
    }
}
