//! A global allocator that keeps what is neither small nor huge dense: long strings, packed collections, parts of lists.
//!
//! Blocks of [`LEAST`] to [`MOST`] bytes are cut from **regions** of 1 MiB, longer ones are [`maps`] of their own, shorter
//! ones the system allocator's. A request takes the oldest region that has a place, and there a free block of about its
//! size ([`area`]). No allocator stays dense by that alone when sizes change. So, as Redis does with its allocator, the
//! owners of blocks move them: when much is free, the regions that have the least in use are to be **left** ([`tend`]);
//! they hand out nothing more, and whoever goes through the data moves what stands in them ([`Settle`]). A region without
//! a block goes back to the system, and long free blocks in others do where much is free.
//!
//! Where the system refuses a region or a map, and where there are 256 GiB of regions, plans end and what is free in their
//! regions serves; beyond that the system's allocator stands in, block by block ([`system::stand_in`]). So it does for what
//! nobody moves and lives long ([`fixed`]): one such block would keep a region for good.
//!
//! A program that wants that says `#[global_allocator] static HEAP: Heap = Heap;`. Beside it stands [`Movable`], the
//! allocator of structures that move all of their blocks, whatever the size: of these short ones come from regions, too. It
//! is named by who uses it, so it serves also where a program has another global allocator; then nothing else is moved.
//! The state is the process's, as an allocator's is: it knows no engine and no key.
//!
//! The locks inside are leaves: nothing is allocated or locked while one is held, and no system call is made under it.

#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

mod area;
mod maps;
mod plan;
mod shared;
mod state;
mod system;
#[cfg(test)]
mod tests;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;
use std::num::NonZero;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::time::Instant;

use allocator_api2::alloc::{AllocError, Allocator};
use allocator_api2::boxed::Box as BoxIn;
use allocator_api2::vec::Vec as VecIn;
use maps::Maps;
pub use shared::Shared;
use smallvec::{Array, SmallVec};
use state::Pool;

/// Bytes of a region, and its alignment.
const REGION: usize = 1 << 20;
/// The blocks of [`Heap`] that come from regions.
pub const LEAST: usize = 256;
/// See [`LEAST`].
pub const MOST: usize = 256 << 10;
/// As [`LEAST`], of a [`Movable`].
const ANY: usize = 1;
/// The largest alignment of a block.
const ALIGN: usize = 64;

/// What the system gives memory back in: the longest page that it may have.
const PAGE: usize = if cfg!(target_arch = "x86_64") { 4 << 10 } else { 64 << 10 };

static POOL: Pool = Pool::new();
static MAPS: Maps = Maps::new();

thread_local! {
    /// Whether what this thread asks for stays where it is.
    static IS_FIXED: Cell<bool> = const { Cell::new(false) };
}

/// The allocator; see the module's page.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heap;

/// The allocator of structures whose blocks are moved, also those of fewer than [`LEAST`] bytes; see the module's page. A
/// short one takes [`taken`] bytes. Who uses it passes all of them on to a [`Mover`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Movable;

/// A vector of movable memory.
pub(crate) type MovableVec<T> = VecIn<T, Movable>;

/// A box of movable memory.
pub(crate) type MovableBox<T> = BoxIn<T, Movable>;

/// How much memory there is in blocks of regions, and free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of the blocks in use, their heads included.
    pub used: usize,
    /// Bytes of the regions that the system backs with memory, as far as that is known, and of maps that are kept.
    pub held: usize,
}

/// Whose a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    System,
    Pool,
    Maps,
}

impl Source {
    /// That of a block where regions have those of `FROM` bytes and more.
    #[inline]
    fn of<const FROM: usize>(layout: Layout) -> Source {
        if !cfg!(target_os = "linux") || layout.size() < FROM || layout.align() > ALIGN {
            Source::System
        } else if layout.size() <= MOST {
            Source::Pool
        } else {
            Source::Maps
        }
    }
}

/// Runs something that asks for memory which lives long and which nobody moves. It takes none of the regions.
pub fn fixed<R>(run: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            IS_FIXED.set(self.0);
        }
    }
    let _restore = Restore(IS_FIXED.replace(true));
    run()
}

/// A block of the pool, or one of the system's in its place. What is [`Movable`] is never fixed.
#[inline]
fn take<const FROM: usize>(layout: Layout) -> *mut u8 {
    let block = if FROM > ANY && IS_FIXED.get() { system::stand_in(layout) } else { std::ptr::null_mut() };
    if block.is_null() { or_stand_in(POOL.take(layout.size(), layout.align()), layout) } else { block }
}

/// A block, or one of the system's in its place if it is null.
#[inline]
fn or_stand_in(block: *mut u8, layout: Layout) -> *mut u8 {
    if block.is_null() { system::stand_in(layout) } else { block }
}

/// Bytes that a [`Movable`] block takes of a region, or of the maps.
#[inline]
pub(crate) const fn taken(size: usize) -> usize {
    match size {
        0 => 0,
        1..=MOST => area::block_size(size),
        _ => size.next_multiple_of(PAGE),
    }
}

/// How many elements a list of another allocator than [`Movable`] has place for at least, so that it is a block that moves.
pub(crate) const fn fewest_listed<T>() -> usize {
    LEAST.div_ceil(size_of::<T>())
}

/// A block; null if there is no memory.
///
/// # Safety
///
/// The layout's size is not 0.
#[inline(always)]
unsafe fn alloc<const FROM: usize>(layout: Layout) -> *mut u8 {
    match Source::of::<FROM>(layout) {
        // SAFETY: the caller's promises are the ones that the system's allocator asks for.
        Source::System => unsafe { System.alloc(layout) },
        Source::Pool => take::<FROM>(layout),
        Source::Maps => or_stand_in(MAPS.take(layout.size()), layout),
    }
}

/// Takes a block back.
///
/// # Safety
///
/// [`alloc`] or [`realloc`] of the same `FROM` gave it for this layout, and nobody uses it any more.
#[inline(always)]
unsafe fn dealloc<const FROM: usize>(block: *mut u8, layout: Layout) {
    // SAFETY: by its layout and its address it came from there, and the caller gives it up.
    unsafe {
        match Source::of::<FROM>(layout) {
            Source::System => System.dealloc(block, layout),
            _ if system::is_stand_in(block) => system::dismiss(block, layout),
            Source::Pool => POOL.give(block),
            Source::Maps => MAPS.give(block, layout.size()),
        }
    }
}

/// Makes a block longer or shorter, where it stands or elsewhere; null if there is no memory, and then nothing is changed.
///
/// # Safety
///
/// As for [`dealloc`], but that the first `size` bytes may be in use; `size` is not 0 and, rounded up, no overflow.
#[inline(always)]
unsafe fn realloc<const FROM: usize>(block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
    // SAFETY: the caller promises it.
    let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
    // SAFETY: as in `dealloc`; the caller uses only the new block from now on, and no more than `size` bytes of it.
    let resized = unsafe {
        match (Source::of::<FROM>(layout), Source::of::<FROM>(new)) {
            (Source::System, Source::System) => return System.realloc(block, layout, size),
            (from, to) if from != to || system::is_stand_in(block) => None,
            (Source::Pool, _) => POOL.resize(block, size).then_some(block),
            _ => MAPS.resize(block, layout.size(), size),
        }
    };
    if let Some(block) = resized {
        return block;
    }
    // SAFETY: both blocks have as many bytes as are copied and are apart; the old one is given up.
    unsafe {
        let moved = alloc::<FROM>(new);
        if !moved.is_null() {
            moved.copy_from_nonoverlapping(block, layout.size().min(size));
            dealloc::<FROM>(block, layout);
        }
        moved
    }
}

// SAFETY: a layout alone decides whose a block is, but for stand-ins, which their address tells; so each goes back to where
// it came from. Blocks in use are disjoint (`area`), and as large and as aligned as was asked for.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises what is asked for.
        unsafe { alloc::<LEAST>(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match Source::of::<LEAST>(layout) {
            // SAFETY: as in `alloc`.
            Source::System => return unsafe { System.alloc_zeroed(layout) },
            Source::Pool => {}
            Source::Maps => {
                let block = MAPS.take_zeroed(layout.size());
                if !block.is_null() {
                    return block;
                }
            }
        }
        // SAFETY: as in `alloc`; and a block has so many bytes.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                block.write_bytes(0, layout.size());
            }
            block
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe { dealloc::<LEAST>(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe { realloc::<LEAST>(block, layout, size) }
    }
}

impl Movable {
    /// See [`Allocator::grow`] and [`Allocator::shrink`].
    ///
    /// # Safety
    ///
    /// As for these.
    unsafe fn resize(self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if old.size() > 0 && new.size() > 0 && old.align() == new.align() {
            // SAFETY: the caller promises it.
            return Self::given(unsafe { realloc::<ANY>(block.as_ptr(), old, new.size()) }, new);
        }
        let moved = self.allocate(new)?;
        // SAFETY: both blocks have as many bytes as are copied and are apart; the old one is given up.
        unsafe {
            moved.cast::<u8>().copy_from_nonoverlapping(block, old.size().min(new.size()));
            self.deallocate(block, old);
        }
        Ok(moved)
    }

    fn given(block: *mut u8, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        NonNull::new(block).map(|block| NonNull::slice_from_raw_parts(block, layout.size())).ok_or(AllocError)
    }
}

// SAFETY: as for `Heap`; a block is the process's, so any copy of the allocator may take it back.
unsafe impl Allocator for Movable {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            let align = NonZero::new(layout.align()).ok_or(AllocError)?;
            return Ok(NonNull::slice_from_raw_parts(NonNull::without_provenance(align), 0));
        }
        // SAFETY: the size is not 0.
        Self::given(unsafe { alloc::<ANY>(layout) }, layout)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: the caller promises it.
            unsafe { dealloc::<ANY>(block.as_ptr(), layout) }
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller promises it.
        unsafe { self.resize(block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller promises it.
        unsafe { self.resize(block, old, new) }
    }
}

/// Decides which regions are to be left, as far as it is worth the while, and gives memory back to the system if much of it
/// is free, a little at a time; to be called every few milliseconds by one thread at a time. Cheap when there is nothing to
/// do.
pub fn tend() {
    static START: OnceLock<Instant> = OnceLock::new();
    let now_us = START.get_or_init(Instant::now).elapsed().as_micros() as u64;
    POOL.tend(now_us);
    POOL.purge_some(now_us);
}

/// Gives memory that nobody uses back to the system: all that may be, or only the maps that were not needed for a while.
/// To be called every second or so.
pub fn purge(all: bool) {
    if all {
        POOL.purge();
    }
    MAPS.purge(all);
}

/// How much memory there is.
pub fn figures() -> Figures {
    let figures = POOL.figures();
    Figures { held: figures.held + MAPS.kept(), ..figures }
}

/// Bytes of free blocks that the system backed with memory when [`tend`] looked last. Takes no lock.
pub fn free() -> usize {
    POOL.free()
}

/// A number that changes when other regions are to be left; 0 when there are none and have been none for a while.
#[inline]
pub fn plan() -> usize {
    POOL.plan()
}

/// What owns blocks and can move them, in parts, of which each is small.
pub(crate) trait Settle {
    /// Parts have numbers below this one now.
    fn parts(&self) -> usize;

    /// The number of the part behind one, or another that is higher.
    fn after(&self, part: usize) -> usize {
        part + 1
    }

    /// Moves what stands in regions that are to be left, of one part; of none if there are not as many any more.
    fn settle(&mut self, part: usize, mover: &mut Mover);
}

/// Moves blocks out of regions that are to be left, as many as one step may.
pub(crate) struct Mover {
    looks: usize,
    bytes: usize,
    /// For tests: what was looked at, by address; and whether all of that is moved.
    #[cfg(test)]
    pub(crate) seen: std::collections::BTreeMap<usize, usize>,
    #[cfg(test)]
    pub(crate) moves_all: bool,
}

impl Mover {
    /// One that looks at so many blocks, and moves as many bytes and a block.
    pub(crate) fn new(looks: usize, bytes: usize) -> Self {
        Self {
            looks,
            bytes,
            #[cfg(test)]
            seen: Default::default(),
            #[cfg(test)]
            moves_all: false,
        }
    }

    /// Whether the step should end.
    pub(crate) fn is_spent(&self) -> bool {
        self.looks == 0 || self.bytes == 0
    }

    /// Whether so many bytes at an address are to be moved.
    pub(crate) fn moves(&mut self, address: usize, bytes: usize) -> bool {
        self.looks = self.looks.saturating_sub(1);
        let moves = POOL.is_left(address);
        #[cfg(test)]
        let moves = self.seen.insert(address, bytes).is_none() && self.moves_all || moves;
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

    /// As [`Mover::vec`], of one that has a block of its own.
    pub(crate) fn small_vec<A: Array>(&mut self, elements: &mut SmallVec<A>) {
        if self.moves(elements.as_ptr().addr(), elements.capacity() * size_of::<A::Item>()) {
            let mut moved = SmallVec::with_capacity(elements.capacity());
            moved.append(elements);
            *elements = moved;
        }
    }

    /// As [`Mover::vec`].
    pub(crate) fn movable_vec<T>(&mut self, elements: &mut MovableVec<T>) {
        if self.moves(elements.as_ptr().addr(), elements.capacity() * size_of::<T>()) {
            let mut moved = VecIn::with_capacity_in(elements.capacity(), Movable);
            moved.append(elements);
            *elements = moved;
        }
    }

    /// Moves a value in a box of its own if it is to be.
    pub(crate) fn movable_box<T: Default>(&mut self, value: &mut MovableBox<T>) {
        if self.moves_value(&**value) {
            *value = BoxIn::new_in(std::mem::take(&mut **value), Movable);
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
