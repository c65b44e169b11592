//! Blocks that are too long for a region: each is a map of its own and as long as was asked for, so that none leaves a gap
//! when it goes. As page faults cost far more than writing a value, a few maps that were freed are kept for the next
//! blocks, whatever the size of these: a map may grow and shrink. What nobody took for a while goes back ([`Maps::purge`]).
//!
//! The lock inside is a leaf, and no system call is made under it.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{PAGE, system};

/// Maps that are kept at most, and their bytes: so many and a part of so many of what is in use.
const KEPT: usize = 16;
const KEPT_BYTES: usize = 2 << 20;
const KEPT_SHARE: usize = 32;

/// The maps; see the module's page.
pub(super) struct Maps {
    state: Mutex<State>,
    /// Bytes of the maps in use.
    used: AtomicUsize,
}

struct State {
    /// The maps that are kept, as many as `count`, the oldest first.
    kept: [Option<Map>; KEPT],
    count: usize,
    /// Their bytes, and the fewest there were since the last purge.
    bytes: usize,
    least: usize,
}

#[derive(Clone, Copy)]
struct Map {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the maps that are kept are the state's own.
unsafe impl Send for State {}

/// Bytes of the map for a block.
fn length_of(size: usize) -> usize {
    size.next_multiple_of(PAGE)
}

impl Maps {
    pub(super) const fn new() -> Self {
        let state = State { kept: [None; KEPT], count: 0, bytes: 0, least: 0 };
        Self { state: Mutex::new(state), used: AtomicUsize::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // As for the pool's.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the maps that are kept.
    pub(super) fn kept(&self) -> usize {
        self.state().bytes
    }

    /// A block of `size` bytes, aligned to a page; null if the system has no memory.
    pub(super) fn take(&self, size: usize) -> *mut u8 {
        let kept = self.state().take(length_of(size));
        match kept.and_then(|map| map.resized(length_of(size))) {
            Some(map) => {
                self.used.fetch_add(map.length, Relaxed);
                map.start.as_ptr()
            }
            None => self.take_zeroed(size),
        }
    }

    /// As [`Maps::take`], and all zeros.
    pub(super) fn take_zeroed(&self, size: usize) -> *mut u8 {
        let Some(start) = system::map_pages(length_of(size)) else { return std::ptr::null_mut() };
        self.used.fetch_add(length_of(size), Relaxed);
        start.as_ptr()
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// It came from these maps, for so many bytes, was not given back since, and nobody uses it any more.
    pub(super) unsafe fn give(&self, block: *mut u8, size: usize) {
        let Some(start) = NonNull::new(block) else { return };
        let map = Map { start, length: length_of(size) };
        let used = self.used.fetch_sub(map.length, Relaxed) - map.length;
        if !self.state().keep(map, KEPT_BYTES + used / KEPT_SHARE) {
            map.give_back();
        }
    }

    /// Makes a block of `old` bytes one of `size` bytes, where it stands or elsewhere; `None` if the system refuses, and
    /// then nothing is changed.
    ///
    /// # Safety
    ///
    /// As for [`Maps::give`], but that what both sizes have may be in use; it stands in the new block.
    pub(super) unsafe fn resize(&self, block: *mut u8, old: usize, size: usize) -> Option<*mut u8> {
        let (old, new) = (length_of(old), length_of(size));
        if old == new {
            return Some(block);
        }
        // SAFETY: the caller promises it.
        let moved = unsafe { system::resize_pages(NonNull::new(block)?, old, new) }?;
        self.used.fetch_add(new.wrapping_sub(old), Relaxed);
        Some(moved.as_ptr())
    }

    /// Gives back what is kept: all, or what nobody needed since the last time.
    pub(super) fn purge(&self, all: bool) {
        let state = self.state();
        let goal = if all { 0 } else { state.bytes - state.least };
        drop(state);
        for _ in 0..KEPT {
            let oldest = self.state().take_beyond(goal);
            let Some(map) = oldest else { break };
            map.give_back();
        }
        let mut state = self.state();
        state.least = state.bytes;
    }
}

impl State {
    /// The map that is next to a length, if any is kept.
    fn take(&mut self, length: usize) -> Option<Map> {
        let kept = self.kept[..self.count].iter().flatten().map(|map| map.length.abs_diff(length));
        let (at, _) = kept.enumerate().min_by_key(|(_, difference)| *difference)?;
        self.remove(at)
    }

    /// The oldest map, if without it so many bytes are kept still.
    fn take_beyond(&mut self, bytes: usize) -> Option<Map> {
        let oldest = self.kept[0]?;
        (self.bytes - oldest.length >= bytes).then(|| self.remove(0)).flatten()
    }

    fn remove(&mut self, at: usize) -> Option<Map> {
        self.kept[at..self.count].rotate_left(1);
        self.count -= 1;
        let map = self.kept[self.count].take()?;
        self.bytes -= map.length;
        self.least = self.least.min(self.bytes);
        Some(map)
    }

    /// Keeps a map if then no more than so many bytes are kept; whether it did.
    fn keep(&mut self, map: Map, most: usize) -> bool {
        let has_place = self.count < KEPT && self.bytes + map.length <= most;
        if has_place {
            self.kept[self.count] = Some(map);
            self.count += 1;
            self.bytes += map.length;
        }
        has_place
    }
}

impl Map {
    fn resized(self, length: usize) -> Option<Map> {
        if self.length == length {
            return Some(self);
        }
        // SAFETY: it is nobody's but ours.
        match unsafe { system::resize_pages(self.start, self.length, length) } {
            Some(start) => Some(Map { start, length }),
            None => {
                self.give_back();
                None
            }
        }
    }

    fn give_back(self) {
        // SAFETY: it is nobody's but ours.
        unsafe {
            if !system::unmap(self.start, self.length) {
                // A process has only so many maps, and this may divide one: what is lost is no more than its addresses.
                system::discard(self.start, self.length);
            }
        }
    }
}
