//! A global allocator that keeps what is neither small nor huge dense: long strings, packed collections, parts of lists.
//!
//! Blocks of [`LEAST`] to [`MOST`] bytes are cut from **regions** of 1 MiB, all others are the system allocator's. A
//! request takes the oldest region that has a place, and there a free block of about its size ([`area`]). No allocator
//! stays dense by that alone when sizes change. So, as Redis does with its allocator, the owners of blocks move them:
//! when much is free, the regions that have the least in use are to be **left** ([`tend`]); they hand out nothing more,
//! and whoever goes through the data moves what stands in them ([`Settle`]). A region without a block goes back
//! to the system, and long free blocks in others do ([`purge`]).
//!
//! A program that wants that says `#[global_allocator] static HEAP: Heap = Heap;`. Without it nothing is ever left.
//! The state is the process's, as an allocator's is: it knows no engine and no key.
//!
//! The lock inside is a leaf: nothing is allocated or locked while it is held, and no system call is made under it but
//! for mapping a region.

#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

mod area;
mod plan;
mod state;
mod system;
#[cfg(test)]
mod tests;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::time::Instant;

use state::Pool;

/// Bytes of a region, and its alignment.
const REGION: usize = 1 << 20;
/// The blocks that come from regions.
pub const LEAST: usize = 256;
/// See [`LEAST`].
pub const MOST: usize = 256 << 10;
/// The largest alignment of a block.
const ALIGN: usize = 64;

static POOL: Pool = Pool::new();

/// The allocator; see the module's page.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heap;

/// How much memory the regions hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of the blocks in use, their heads included.
    pub used: usize,
    /// Bytes of the regions that the system backs with memory, as far as that is known.
    pub held: usize,
}

fn is_ours(layout: Layout) -> bool {
    cfg!(target_os = "linux") && (LEAST..=MOST).contains(&layout.size()) && layout.align() <= ALIGN
}

// SAFETY: a layout alone decides whose a block is, so each goes back to where it came from. Blocks in use are disjoint
// (`area`), and as large and as aligned as was asked for.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_ours(layout) {
            return POOL.take(layout.size(), layout.align());
        }
        // SAFETY: the caller's promises are the ones that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_ours(layout) {
            let block = POOL.take(layout.size(), layout.align());
            if !block.is_null() {
                // SAFETY: the block has so many bytes.
                unsafe { block.write_bytes(0, layout.size()) };
            }
            return block;
        }
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_ours(layout) {
            // SAFETY: by its layout it came from here, and the caller gives it up.
            return unsafe { POOL.give(block) };
        }
        // SAFETY: as in `alloc`; by its layout it is the system's.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size, rounded up, is no overflow.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_ours(layout), is_ours(new)) {
            // SAFETY: as in `alloc`.
            (false, false) => return unsafe { System.realloc(block, layout, size) },
            // SAFETY: it came from here, and the caller uses no more than `size` bytes of it from now on.
            (true, true) if unsafe { POOL.resize(block, size) } => return block,
            _ => {}
        }
        // SAFETY: both blocks have as many bytes as are copied and are apart; the old one is given up.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

/// Decides which regions are to be left, as far as it is worth the while; to be called every few milliseconds by one
/// thread at a time. Cheap when there is nothing to do.
pub fn tend() {
    POOL.tend(Instant::now());
}

/// Gives the memory of long free blocks back to the system if there is much of it. To be called now and then.
pub fn purge() {
    POOL.purge();
}

/// How much memory the regions hold.
pub fn figures() -> Figures {
    POOL.figures()
}

/// A number that changes when other regions are to be left; 0 when there are none and have been none for a while.
#[inline]
pub fn plan() -> usize {
    POOL.plan()
}

/// What owns blocks and can move them, in parts, of which each is small.
pub(crate) trait Settle {
    /// How many parts there are now.
    fn parts(&self) -> usize;

    /// Moves what stands in regions that are to be left, of one part; of none if there are not as many any more.
    fn settle(&mut self, part: usize, mover: &mut Mover);
}

/// Moves blocks out of regions that are to be left, as many as one step may.
pub(crate) struct Mover {
    looks: usize,
    bytes: usize,
}

impl Mover {
    /// One that looks at so many blocks, and moves as many bytes and a block.
    pub(crate) fn new(looks: usize, bytes: usize) -> Self {
        Self { looks, bytes }
    }

    /// Whether the step should end.
    pub(crate) fn is_spent(&self) -> bool {
        self.looks == 0 || self.bytes == 0
    }

    /// Whether so many bytes at an address are to be moved.
    pub(crate) fn moves(&mut self, address: usize, bytes: usize) -> bool {
        self.looks = self.looks.saturating_sub(1);
        let moves = (LEAST..=MOST).contains(&bytes) && POOL.is_left(address);
        if moves {
            self.bytes = self.bytes.saturating_sub(bytes);
            POOL.note_move();
        }
        moves
    }

    /// Whether a value, in a block of its own, is to be moved.
    pub(crate) fn moves_value<T>(&mut self, value: &T) -> bool {
        self.moves(std::ptr::from_ref(value).addr(), size_of::<T>())
    }

    /// Moves a vector if it is to be; its capacity stays.
    pub(crate) fn vec<T>(&mut self, elements: &mut Vec<T>) {
        if self.moves(elements.as_ptr().addr(), elements.capacity() * size_of::<T>()) {
            let mut moved = Vec::with_capacity(elements.capacity());
            moved.append(elements);
            *elements = moved;
        }
    }

    /// Moves a boxed slice if it is to be.
    pub(crate) fn boxed<T>(&mut self, elements: &mut Box<[T]>) {
        let mut vec = std::mem::take(elements).into_vec();
        self.vec(&mut vec);
        *elements = vec.into_boxed_slice();
    }

    /// Moves a deque if it is to be; its capacity stays.
    pub(crate) fn deque<T>(&mut self, elements: &mut VecDeque<T>) {
        if self.moves(elements.as_slices().0.as_ptr().addr(), elements.capacity() * size_of::<T>()) {
            let mut moved = VecDeque::with_capacity(elements.capacity());
            moved.append(elements);
            *elements = moved;
        }
    }
}
