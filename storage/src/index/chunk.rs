//! Segments side by side. A chunk of words that is complete takes one page of [`Regions`], which goes back to the system when
//! it is free, a smaller one a block of a page; what is of another size takes a movable block.
//!
//! Invariants: the first `len` of `capacity` segments are initialized; the memory came from where `home` says.

#![expect(unsafe_code, reason = "segments stand in raw pages")]

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use super::CHUNK;
use super::segment::Segment;
use crate::heap::{Movable, MovableVec, Mover};
use crate::region::{BLOCK_UNIT, PAGE, Regions};

/// See the module's page.
pub(super) struct Chunk<S> {
    segments: NonNull<Segment<S>>,
    len: u32,
    capacity: u32,
    home: Home,
}

/// Where a chunk's memory comes from.
enum Home {
    Heap,
    Page(Arc<Regions>),
    Block(Arc<Regions>),
}

// SAFETY: a chunk owns its segments alone, as a vector does.
unsafe impl<S: Send> Send for Chunk<S> {}
// SAFETY: as above; `&Chunk` only reads them.
unsafe impl<S: Sync> Sync for Chunk<S> {}

impl<S> Chunk<S> {
    const FILLS_PAGE: bool = CHUNK * size_of::<Segment<S>>() == PAGE
        && size_of::<Segment<S>>().is_multiple_of(BLOCK_UNIT)
        && BLOCK_UNIT.is_multiple_of(align_of::<Segment<S>>());

    /// An empty one with room for so many segments, [`CHUNK`] at most.
    pub(super) fn new(capacity: usize, regions: Option<&Arc<Regions>>) -> Self {
        let capacity = capacity.min(CHUNK);
        if Self::FILLS_PAGE
            && let Some(regions) = regions
        {
            let (start, home) = match capacity {
                CHUNK => (regions.take(), Home::Page(regions.clone())),
                _ => (regions.take_block(capacity * size_of::<Segment<S>>()), Home::Block(regions.clone())),
            };
            if let Some(start) = start {
                return Self { segments: start.cast(), len: 0, capacity: capacity as u32, home };
            }
        }
        let mut segments = ManuallyDrop::new(MovableVec::with_capacity_in(capacity, Movable));
        // SAFETY: a vector's pointer is never null. Its capacity may be larger than asked for, and is kept as it is.
        let start = unsafe { NonNull::new_unchecked(segments.as_mut_ptr()) };
        Self { segments: start, len: 0, capacity: segments.capacity() as u32, home: Home::Heap }
    }

    /// Puts a segment at the end, for which there must be room.
    pub(super) fn push(&mut self, segment: Segment<S>) {
        assert!(self.len < self.capacity, "a chunk without room");
        // SAFETY: the place is within the capacity, and nothing is there that would have to be dropped.
        unsafe { self.segments.add(self.len as usize).write(segment) };
        self.len += 1;
    }

    /// Whether there is no room left.
    pub(super) fn is_full(&self) -> bool {
        self.len == self.capacity
    }

    /// Makes room for a quarter more segments, up to a whole chunk: a small index should not be half empty, and a segment
    /// is copied a few times at most.
    pub(super) fn grow(&mut self, regions: Option<&Arc<Regions>>) {
        let capacity = self.capacity as usize;
        self.move_to(Self::new(capacity + (capacity / 4).max(1), regions));
    }

    /// Moves to a page that is used more, if this is a part of a page and there is such a one.
    pub(super) fn move_to_fuller(&mut self) -> bool {
        let Home::Block(regions) = &self.home else { return false };
        let bytes = self.capacity as usize * size_of::<Segment<S>>();
        let Some(block) = regions.take_fuller(self.segments.cast(), bytes) else { return false };
        let home = Home::Block(regions.clone());
        self.move_to(Self { segments: block.cast(), len: 0, capacity: self.capacity, home });
        true
    }

    /// Moves to another block of the heap, if it stands in one that is to be left.
    pub(super) fn settle(&mut self, mover: &mut Mover) {
        let bytes = self.capacity as usize * size_of::<Segment<S>>();
        if matches!(self.home, Home::Heap) && mover.moves(self.segments.as_ptr().addr(), bytes) {
            self.move_to(Self::new(self.capacity as usize, None));
        }
    }

    /// Moves all segments to an empty chunk that has room for them.
    fn move_to(&mut self, mut other: Self) {
        assert!(other.len == 0 && other.capacity >= self.len);
        // SAFETY: both are chunks, so apart, and there is room. What is copied is forgotten here, not dropped twice.
        unsafe { other.segments.copy_from_nonoverlapping(self.segments, self.len as usize) };
        other.len = std::mem::take(&mut self.len);
        *self = other;
    }

    /// Drops the last segment.
    pub(super) fn pop(&mut self) {
        if let Some(len) = self.len.checked_sub(1) {
            self.len = len;
            // SAFETY: it was initialized, and is not counted any more.
            unsafe { self.segments.add(len as usize).drop_in_place() };
        }
    }
}

impl<S> Deref for Chunk<S> {
    type Target = [Segment<S>];

    #[inline]
    fn deref(&self) -> &[Segment<S>] {
        // SAFETY: so many are initialized, and `&mut self` alone changes them.
        unsafe { NonNull::slice_from_raw_parts(self.segments, self.len as usize).as_ref() }
    }
}

impl<S> DerefMut for Chunk<S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Segment<S>] {
        // SAFETY: as above, and `&mut self` is the only access.
        unsafe { NonNull::slice_from_raw_parts(self.segments, self.len as usize).as_mut() }
    }
}

impl<S> Drop for Chunk<S> {
    fn drop(&mut self) {
        while self.len > 0 {
            self.pop();
        }
        match &self.home {
            // SAFETY: it came from there, and nothing refers to it any more.
            Home::Page(regions) => unsafe { regions.give(self.segments.cast()) },
            // SAFETY: as above, at this length.
            Home::Block(regions) => unsafe {
                regions.give_block(self.segments.cast(), self.capacity as usize * size_of::<Segment<S>>());
            },
            // SAFETY: these are a vector's parts, of which no element is left.
            Home::Heap => drop(unsafe {
                MovableVec::from_raw_parts_in(self.segments.as_ptr(), 0, self.capacity as usize, Movable)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depths<S>(chunk: &Chunk<S>) -> Vec<u8>
    where
        S: crate::index::Slot,
    {
        chunk.iter().map(Segment::depth).collect()
    }

    #[test]
    fn a_chunk_grows_into_a_page_and_gives_it_back() {
        let regions = Regions::new();
        let mut chunk = Chunk::<u64>::new(1, Some(&regions));
        for number in 0..CHUNK as u8 {
            if chunk.is_full() {
                chunk.grow(Some(&regions));
            }
            chunk.push(Segment::new(number));
        }
        assert!(chunk.is_full());
        assert_eq!(depths(&chunk), (0..CHUNK as u8).collect::<Vec<_>>());
        assert_eq!(regions.used_bytes(), PAGE);
        chunk.pop();
        chunk[3].set_depth(40);
        assert_eq!((chunk.len(), chunk[3].depth()), (CHUNK - 1, 40));
        drop(chunk);
        assert_eq!(regions.used_bytes(), 0);
    }

    #[test]
    fn a_part_of_a_page_moves_to_a_fuller_one() {
        let regions = Regions::new();
        let chunks = |count| (0..count).map(|_| Chunk::<u64>::new(CHUNK / 2, Some(&regions)));
        let mut held: Vec<_> = chunks(6).collect();
        (0..9).for_each(|depth| held[5].push(Segment::new(depth)));
        // Of three pages that hold two each, the last and another one lose one.
        drop((held.remove(4), held.remove(0)));
        assert_eq!(regions.used_bytes(), 3 * PAGE);
        assert!(!held[0].move_to_fuller(), "of pages alike the younger drains");
        assert!(held[3].move_to_fuller() && !held[3].move_to_fuller());
        assert_eq!(regions.used_bytes(), 2 * PAGE);
        assert_eq!(depths(&held[3]), (0..9).collect::<Vec<_>>());
        drop(held);
        assert_eq!(regions.used_bytes(), 0);
    }

    #[test]
    fn what_fills_no_page_comes_from_the_allocator() {
        let regions = Regions::new();
        let small = Chunk::<u32>::new(CHUNK, Some(&regions));
        let homeless = Chunk::<u64>::new(CHUNK, None);
        assert_eq!((regions.used_bytes(), small.len(), homeless.len()), (0, 0, 0));
    }
}
