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
/// Bytes of the free blocks that [`Pool::purge`] looks for, at least, and regions that it looks at under one lock.
const LONG: usize = 16 << 10;
const PURGED_AT_ONCE: usize = 32;
/// Purging pays when more is free than a part of so many of what is in use, and so much.
const PURGED_SHARE: usize = 16;
const PURGED_LEAST: usize = REGION / 4;
/// What [`Pool::purge_some`] gives back at most per millisecond since it was called last, and a block; how often it looks
/// for one, and at most; and how many milliseconds count.
const PURGED_BYTES: usize = 256 << 10;
const PURGED_LOOKS: usize = 16;
const MOST_LOOKS: usize = 64;
const PURGED_MS: usize = 16;

/// In the place of the address of a region that was to be left and is gone.
const GONE: usize = 1;

/// The regions and what is known of them; see the module's page. It begins as zeros only, as megabytes of a static that
/// does not would be in the program's file.
pub(super) struct Pool {
    state: Mutex<State>,
    /// Addresses of the regions that are to be left, then 0.
    left: [AtomicUsize; LEFT_AT_ONCE],
    /// See [`super::plan`].
    plan: AtomicUsize,
    /// Blocks that were moved out of regions that are to be left.
    moves: AtomicUsize,
    /// See [`super::free`].
    free: AtomicUsize,
}

pub(super) struct State {
    pub(super) slots: [Slot; MOST_REGIONS],
    /// One more than the last slot with a region.
    pub(super) end: usize,
    /// No slot before it is without a region.
    vacant: usize,
    lowest: [usize; LISTS],
    pub(super) mapped: usize,
    /// Bytes of all blocks in use.
    pub(super) used: usize,
    /// See [`Area::weight`].
    pub(super) weight: usize,
    /// Regions without a block in use.
    empty: usize,
    /// Bytes of the pages of free blocks that hold no memory.
    pub(super) clean: usize,
    pub(super) plan: Plan,
    /// Bytes of all blocks that were given back so far.
    pub(super) given: usize,
    /// Bytes of clean pages that came into use since a writer purged last.
    dirtied: usize,
    /// Purging goes on before this slot; and when it was last gone on with.
    purging: usize,
    purged_us: u64,
}

// SAFETY: the pointers are to regions that the state owns.
unsafe impl Send for State {}

const _: () = assert!(LISTS <= 1 << u8::BITS);

/// What is known of a region without touching it.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) region: *mut u8,
    pub(super) used: u32,
    pub(super) clean: u32,
    weight: u32,
    /// See the module's page.
    pub(super) top: u8,
    /// It is to be left.
    pub(super) is_left: bool,
    /// How much could not be moved when it was to be left, in 16 KiB, rounded up; how often that was so; and for how many plans it
    /// holds.
    pub(super) pinned: u8,
    pub(super) vain: u8,
    pub(super) rest: u16,
}

impl Slot {
    const NONE: Slot = Slot {
        region: std::ptr::null_mut(),
        used: 0,
        clean: 0,
        weight: 0,
        top: 0,
        is_left: false,
        pinned: 0,
        vain: 0,
        rest: 0,
    };

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
            vacant: 0,
            lowest: [0; LISTS],
            mapped: 0,
            used: 0,
            weight: 0,
            empty: 0,
            clean: 0,
            plan: Plan::new(),
            given: 0,
            dirtied: 0,
            purging: 0,
            purged_us: 0,
        };
        Self {
            state: Mutex::new(state),
            left: [const { AtomicUsize::new(0) }; LEFT_AT_ONCE],
            plan: AtomicUsize::new(0),
            moves: AtomicUsize::new(0),
            free: AtomicUsize::new(0),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under it panics; and if it did, an allocator has no better answer than to go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block for `size` bytes at a multiple of `align`; null if the system has no memory, or all slots have a region.
    pub(super) fn take(&self, size: usize, align: usize) -> *mut u8 {
        let size = block_size(size);
        let mut state = self.state();
        let block = match state.take(size, align) {
            Some(block) => Some(block),
            None => {
                let block = self.take_with_more(state, size, align);
                state = self.state();
                block
            }
        };
        if state.owes_pages() {
            state.dirtied = 0;
            self.purge_up_to(state, PURGED_BYTES, PURGED_LOOKS);
        }
        block.unwrap_or(std::ptr::null_mut())
    }

    /// A block of regions that are mapped for it, or that were to be left.
    #[cold]
    fn take_with_more<'a>(&'a self, mut state: MutexGuard<'a, State>, size: usize, align: usize) -> Option<*mut u8> {
        loop {
            // A plan pays for the regions that are mapped meanwhile, unless it cannot keep up.
            let is_late = state.holes() > state.used / LATE_SHARE + ROOM;
            if !(is_late && self.stay(&mut state, false)) {
                let has_slot = state.vacancy().is_some();
                drop(state);
                let region = has_slot.then(system::map_region).flatten();
                state = self.state();
                match region {
                    Some(region) if state.adopt(region) => {}
                    Some(region) => {
                        // Others took the last slot meanwhile.
                        drop(state);
                        self.give_back(region);
                        return None;
                    }
                    None if self.stay(&mut state, false) => {}
                    None => return None,
                }
            }
            if let Some(block) = state.take(size, align) {
                return Some(block);
            }
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
            self.give_back(region);
        }
    }

    /// Gives a region that the state has forgotten, as no block of it is in use, back to the system.
    #[cold]
    fn give_back(&self, region: NonNull<u8>) {
        for left in &self.left {
            if left.load(Relaxed) == region.addr().get() {
                left.store(GONE, Relaxed);
            }
        }
        // SAFETY: nobody else knows the region.
        unsafe {
            if !system::unmap(region, REGION) {
                // A process has only so many maps, and this may divide one. So the region stays, without memory.
                system::discard(region, REGION);
                self.state().adopt(region);
            }
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

    /// Gives the memory of all long free blocks back.
    pub(super) fn purge(&self) {
        let mut state = self.state();
        let mut before = state.end;
        while before > 0 {
            let found = state.long_block(&mut before);
            drop(state);
            self.discard(found);
            state = self.state();
        }
    }

    /// Gives the memory of a few long free blocks back, if much is free.
    pub(super) fn purge_some(&self, now_us: u64) {
        let mut state = self.state();
        let since = (now_us.saturating_sub(state.purged_us) / 1000).min(PURGED_MS as u64) as usize;
        if since == 0 {
            return;
        }
        state.purged_us = now_us;
        self.purge_up_to(state, PURGED_BYTES * since, (PURGED_LOOKS * since).min(MOST_LOOKS));
    }

    /// Gives the memory of long free blocks back, of about so many bytes, as long as much is free.
    #[cold]
    fn purge_up_to<'a>(&'a self, mut state: MutexGuard<'a, State>, most: usize, looks: usize) {
        let mut bytes = 0;
        for _ in 0..looks {
            if bytes >= most || !state.has_much_free() {
                return;
            }
            let mut before = if state.purging == 0 { state.end } else { state.purging };
            let found = state.long_block(&mut before);
            state.purging = before;
            drop(state);
            bytes += self.discard(found);
            state = self.state();
        }
    }

    /// Gives the memory of a block that was taken out for it back to the system, and the block to its region; how many
    /// bytes that were.
    fn discard(&self, block: Option<(Area, usize)>) -> usize {
        let Some((area, at)) = block else { return 0 };
        let (start, bytes) = area.pages(at);
        // SAFETY: the block is nobody's but ours until it is given back below.
        unsafe { system::discard(start, bytes) };
        let emptied = self.state().give_area(area, at, true);
        if let Some(region) = emptied {
            self.give_back(region);
        }
        bytes
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

    /// Ends a plan before its regions are empty, as [`State::stay`] does.
    pub(super) fn stay(&self, state: &mut State, pinned: bool) -> bool {
        let was_left = state.stay(pinned);
        if was_left {
            self.publish(&[]);
        }
        was_left
    }

    /// See [`super::free`].
    pub(super) fn free(&self) -> usize {
        self.free.load(Relaxed)
    }

    pub(super) fn note_free(&self, bytes: usize) {
        self.free.store(bytes, Relaxed);
    }

    /// Notes that a block was moved.
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
    /// Bytes that are free and hold memory.
    pub(super) fn holes(&self) -> usize {
        (self.mapped * ROOM).saturating_sub(self.used + self.clean)
    }

    /// Whether purging pays.
    fn has_much_free(&self) -> bool {
        self.holes() >= self.used / PURGED_SHARE + PURGED_LEAST
    }

    /// Whether so many pages came into use that as many should go back, if much is free: whoever writes faster than the
    /// background purges pays for it.
    #[inline]
    fn owes_pages(&self) -> bool {
        self.dirtied >= PURGED_BYTES && self.has_much_free()
    }

    /// A block of a region, if it has one.
    fn take_in(&mut self, number: usize, size: usize, align: usize) -> Option<*mut u8> {
        let slot = self.slots[number];
        let area = slot.area().filter(|_| !slot.is_left)?;
        let at = area.take_aligned(size, align)?;
        self.empty -= usize::from(slot.used == 0);
        self.dirtied += (slot.clean as usize).saturating_sub(area.clean());
        self.note(number, area);
        Some(area.payload(at))
    }

    /// A block of the oldest region that has one.
    fn take(&mut self, size: usize, align: usize) -> Option<*mut u8> {
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
        self.weight = self.weight + area.weight() - slot.weight as usize;
        self.clean = self.clean + area.clean() - slot.clean as usize;
        (slot.used, slot.weight, slot.clean) = (area.used() as u32, area.weight() as u32, area.clean() as u32);
        let top = if slot.is_left { 0 } else { area.top() };
        let before = std::mem::replace(&mut slot.top, top as u8) as usize;
        self.find(number, before, top);
    }

    /// Has a region found that has longer blocks than before.
    fn find(&mut self, number: usize, before: usize, top: usize) {
        let lists = before + 1..(before + 1).max(top + 1);
        self.lowest[lists].iter_mut().for_each(|lowest| *lowest = number.min(*lowest));
    }

    /// The first slot without a region.
    fn vacancy(&mut self) -> Option<usize> {
        let found = (self.vacant..MOST_REGIONS).find(|number| self.slots[*number].region.is_null());
        self.vacant = found.unwrap_or(MOST_REGIONS);
        found
    }

    /// Takes up a region that was mapped; false if no slot is vacant.
    fn adopt(&mut self, region: NonNull<u8>) -> bool {
        let Some(number) = self.vacancy() else { return false };
        // SAFETY: it was mapped, and nobody else knows it.
        let area = unsafe { Area::begin(region, number as u32) };
        self.slots[number] = Slot { region: region.as_ptr(), ..Slot::NONE };
        self.end = self.end.max(number + 1);
        self.mapped += 1;
        self.empty += 1;
        self.note(number, area);
        true
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
        let number = area.number();
        area.give(at, is_clean);
        self.given = self.given.wrapping_add((self.slots[number].used as usize).saturating_sub(area.used()));
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
        self.vacant = self.vacant.min(number);
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
        // Not by way of the block, of which its user may lend us no more than its bytes.
        let region = NonNull::new(std::ptr::with_exposed_provenance_mut(block.addr() - offset))?;
        // SAFETY: every block is within a region, which is aligned to its size; and the caller holds the lock.
        Some((unsafe { Area::at(region) }, offset - HEAD))
    }

    /// A long free block of the nearest region before a number, which becomes that region's, taken out. The last regions
    /// come first: requests are served by the first ones. After some regions without such a block there is none.
    pub(super) fn long_block(&mut self, before: &mut usize) -> Option<(Area, usize)> {
        for _ in 0..PURGED_AT_ONCE {
            *before = self.end.min(*before);
            let number = before.checked_sub(1)?;
            let slot = self.slots[number];
            if ROOM - (slot.used + slot.clean) as usize >= LONG
                && let Some(area) = slot.area()
                && let Some(at) = area.take_dirty(LONG)
            {
                self.empty -= usize::from(slot.used == 0);
                self.note(number, area);
                *before = number + 1;
                return Some((area, at));
            }
            *before = number;
        }
        None
    }
}
