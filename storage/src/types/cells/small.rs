//! Cells of a small collection: of any multiple of 8 bytes, side by side in chunks of up to 4 KiB.
//!
//! A [`Ref`] is here a [`Span`]: chunk, place and length in one number, so that nothing is kept beside a cell. What is
//! freed is remembered as a hole, joined with the holes beside it; of many holes only the largest are. An allocation
//! takes the smallest hole that suffices. If there is none, a chunk grows, unless so much is free that the
//! chunk that has the most of it should be emptied first (see [`Small::leave_chunk`]).
//!
//! Invariants: cells and holes are apart, within their chunks; no chunk is without a cell but vacant ones, which have no
//! bytes, and the last is not vacant; live bytes, cells and bytes of chunks are counted.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{FORWARD, forward};
use crate::heap::{self, Mover};
use crate::region::Regions;
use crate::slab::{MAX_CELL, Ref};

const UNIT: usize = 8;
const MIN_UNITS: usize = 2;
/// Bytes of the longest chunk: what an allocator's header leaves of 4 KiB. A span has no bits for a longer one.
const CHUNK: usize = 4080;
/// Chunks grow by multiples of this, as allocators round to it.
const STEP: usize = 16;

/// Chunks that are listed without memory apart.
const INLINE: usize = 2;
/// Chunks that a list apart has place for at least.
const LISTED: usize = heap::fewest_listed::<Chunk>();
/// Holes that are remembered.
const HOLES: usize = 8;

/// Beyond so many cells, or bytes of chunks, a slab is better. Tests cross these bounds all the time.
pub(super) const MOST_CELLS: usize = if cfg!(test) { 60 } else { 1000 };
const MOST_BYTES: usize = if cfg!(test) { 24 << 10 } else { 256 << 10 };
/// A slab of up to a part in so many of both becomes small again.
const RETURN_SHARE: usize = 4;

/// A chunk grows until a part in so many is free.
const AHEAD_SHARE: usize = 8;
/// Rather than growing, a chunk is emptied if more than a part in so many is free,
const ROOM_SHARE: usize = 16;
/// and after something was freed if more than a part in so many is,
pub(super) const LOOSE_SHARE: usize = 6;
/// but never for less than this.
pub(super) const LITTLE: usize = 192;

/// Place and length of a cell or a hole: chunk << 18 | first unit << 9 | units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span(u32);

impl Span {
    const BITS: u32 = 9;
    const MASK: u32 = (1 << Self::BITS) - 1;
    const NONE: Self = Self(0);

    fn new(chunk: usize, unit: usize, units: usize) -> Self {
        Self((chunk as u32) << (2 * Self::BITS) | (unit as u32) << Self::BITS | units as u32)
    }

    #[inline]
    fn of(cell: Ref) -> Self {
        Self(cell.bits())
    }

    #[inline]
    fn cell(self) -> Ref {
        Ref::from_bits(self.0)
    }

    #[inline]
    fn chunk(self) -> usize {
        (self.0 >> (2 * Self::BITS)) as usize
    }

    #[inline]
    fn units(self) -> usize {
        (self.0 & Self::MASK) as usize
    }

    #[inline]
    fn bytes(self) -> usize {
        self.units() * UNIT
    }

    /// Where it stands in its chunk.
    #[inline]
    fn range(self) -> Range<usize> {
        let start = (self.0 >> Self::BITS & Self::MASK) as usize * UNIT;
        start..start + self.bytes()
    }

    /// A number that another span has for its end if that is just before, in the same chunk.
    #[inline]
    fn start(self) -> u32 {
        self.0 >> Self::BITS
    }

    #[inline]
    fn end(self) -> u32 {
        self.start() + (self.0 & Self::MASK)
    }

    /// Takes so many units off at the front.
    fn take(&mut self, units: usize) -> Self {
        let taken = Self(self.0 & !Self::MASK | units as u32);
        self.0 = self.0 + ((units as u32) << Self::BITS) - units as u32;
        taken
    }
}

/// The cells; see the module's page.
pub(in crate::types) struct Small {
    chunks: SmallVec<[Chunk; INLINE]>,
    /// In no order; [`Span::NONE`] for none.
    holes: [Span; HOLES],
    cells: u32,
    live_bytes: u32,
    chunk_bytes: u32,
    /// For the slab that this may become.
    regions: Arc<Regions>,
}

#[derive(Default)]
struct Chunk {
    bytes: Box<[u8]>,
    live_bytes: usize,
}

impl Chunk {
    fn free_bytes(&self) -> usize {
        self.bytes.len() - self.live_bytes
    }

    fn is_vacant(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A chunk that is being emptied, and the free place where its cells go.
pub(super) struct Leaving {
    chunk: usize,
    bytes: Box<[u8]>,
    to: Span,
}

impl Leaving {
    pub(super) fn chunk(&self) -> usize {
        self.chunk
    }

    /// See [`super::Move::followed`]; for cells of the chunk.
    pub(super) fn followed(&self, name: Ref) -> Ref {
        forward(&self.bytes[Span::of(name).range()])
    }
}

/// The chunk in which a cell stands.
#[inline]
pub(super) fn chunk_of(name: Ref) -> usize {
    Span::of(name).chunk()
}

impl Small {
    pub(super) fn new(regions: Arc<Regions>) -> Self {
        Self { chunks: SmallVec::new(), holes: [Span::NONE; HOLES], cells: 0, live_bytes: 0, chunk_bytes: 0, regions }
    }

    pub(super) fn regions(&self) -> &Arc<Regions> {
        &self.regions
    }

    /// Bytes of the cell that holds `len` bytes.
    #[inline]
    pub(super) fn cell_size(len: usize) -> usize {
        len.next_multiple_of(UNIT).max(MIN_UNITS * UNIT)
    }

    /// Whether so many cells of so many bytes are few enough to leave a slab.
    #[inline]
    pub(super) fn suits(cells: usize, bytes: usize) -> bool {
        cells <= MOST_CELLS / RETURN_SHARE && bytes <= MOST_BYTES / RETURN_SHARE
    }

    /// A cell of [`Small::cell_size`]`(len)` bytes; `None` if a move must come first. Panics above [`MAX_CELL`].
    #[inline]
    pub(super) fn alloc(&mut self, len: usize) -> Option<Ref> {
        assert!(len <= MAX_CELL, "a cell too large");
        let size = Self::cell_size(len);
        if self.cells as usize == MOST_CELLS {
            return None;
        }
        let hole = match self.best_hole(size) {
            Some(hole) => hole,
            None => self.grown(size)?,
        };
        let span = self.holes[hole].take(size / UNIT);
        self.cells += 1;
        self.live_bytes += size as u32;
        self.chunks[span.chunk()].live_bytes += size;
        Some(span.cell())
    }

    /// The smallest hole of at least so many bytes.
    #[inline]
    fn best_hole(&self, size: usize) -> Option<usize> {
        let (mut best, mut least) = (None, usize::MAX);
        for (at, hole) in self.holes.iter().enumerate() {
            if hole.bytes() >= size && hole.bytes() < least {
                (best, least) = (Some(at), hole.bytes());
            }
        }
        best
    }

    /// A hole of at least so many bytes, after growth; `None` if that is not how to get one.
    #[cold]
    fn grown(&mut self, size: usize) -> Option<usize> {
        if self.has_room_inside() || self.is_outgrown_by(size) {
            return None;
        }
        let hole = self.extend(size, self.ahead());
        self.remember(hole);
        self.best_hole(size)
    }

    fn free_bytes(&self) -> usize {
        (self.chunk_bytes - self.live_bytes) as usize
    }

    /// Whether so much is free that emptying a chunk is better than growing.
    fn has_room_inside(&self) -> bool {
        self.free_bytes() > LITTLE.max(self.chunk_bytes as usize / ROOM_SHARE)
    }

    /// Whether a cell of `len` bytes asks for a slab: nothing but growth beyond the bounds makes room for it.
    pub(super) fn is_outgrown_by(&self, len: usize) -> bool {
        let held = self.chunk_bytes as usize;
        self.cells as usize == MOST_CELLS
            || held > MOST_BYTES
            || held + Self::cell_size(len) > MOST_BYTES && !self.has_room_inside()
    }

    /// Whether so much is free that a chunk is to be emptied.
    #[inline]
    pub(super) fn is_loose(&self) -> bool {
        self.free_bytes() > LITTLE.max(self.chunk_bytes as usize / LOOSE_SHARE)
    }

    #[inline]
    pub(super) fn free(&mut self, cell: Ref) {
        let span = Span::of(cell);
        let chunk = &mut self.chunks[span.chunk()];
        debug_assert!(span.range().end <= chunk.bytes.len(), "a cell of a chunk");
        chunk.live_bytes -= span.bytes();
        let is_empty = chunk.live_bytes == 0;
        self.cells -= 1;
        self.live_bytes -= span.bytes() as u32;
        if is_empty {
            self.vacate(span.chunk());
            self.drop_vacant();
        } else {
            self.remember(span);
        }
    }

    #[inline]
    pub(super) fn cell(&self, cell: Ref) -> &[u8] {
        let span = Span::of(cell);
        &self.chunks[span.chunk()].bytes[span.range()]
    }

    #[inline]
    pub(super) fn cell_mut(&mut self, cell: Ref) -> &mut [u8] {
        let span = Span::of(cell);
        &mut self.chunks[span.chunk()].bytes[span.range()]
    }

    /// Where the cell is, for prefetching.
    #[inline]
    pub(super) fn address(&self, cell: Ref) -> *const u8 {
        let span = Span::of(cell);
        let chunk = self.chunks.get(span.chunk());
        chunk.map_or(std::ptr::null(), |chunk| chunk.bytes.as_ptr().wrapping_add(span.range().start))
    }

    /// Bytes of the chunks, and of their list where it stands apart.
    #[inline]
    pub(super) fn memory(&self) -> usize {
        let list = if self.chunks.spilled() { self.chunks.capacity() * size_of::<Chunk>() } else { 0 };
        self.chunk_bytes as usize + list
    }

    /// Frees all cells.
    pub(super) fn clear(&mut self) {
        *self = Self::new(Arc::clone(&self.regions));
    }
}

/// Holes.
impl Small {
    /// Notes a hole, joined with those beside it, unless there are enough larger ones.
    #[inline]
    fn remember(&mut self, mut span: Span) {
        let mut least = 0;
        for at in 0..HOLES {
            let hole = self.holes[at];
            if hole.end() == span.start() {
                span = Span(hole.0 + span.units() as u32);
                self.holes[at] = Span::NONE;
            } else if hole.start() == span.end() {
                span.0 += hole.units() as u32;
                self.holes[at] = Span::NONE;
            }
            if self.holes[at].units() < self.holes[least].units() {
                least = at;
            }
        }
        if self.holes[least].units() < span.units() {
            self.holes[least] = span;
        }
    }

    fn forget_holes_of(&mut self, chunk: usize) {
        let holes = self.holes.iter_mut().filter(|hole| hole.chunk() == chunk);
        holes.for_each(|hole| *hole = Span::NONE);
    }

    /// Takes the hole at the end of a chunk out, if there is one; its bytes.
    fn take_tail(&mut self, chunk: usize) -> usize {
        let end = Span::new(chunk, self.chunks[chunk].bytes.len() / UNIT, 0).start();
        let tail = self.holes.iter_mut().find(|hole| hole.units() > 0 && hole.end() == end);
        tail.map_or(0, |tail| std::mem::replace(tail, Span::NONE).bytes())
    }
}

/// Chunks.
impl Small {
    /// How much may be free after growth beyond what is free now.
    fn ahead(&self) -> usize {
        (self.chunk_bytes as usize / AHEAD_SHARE).saturating_sub(self.free_bytes())
    }

    /// Free place at the end of a chunk, of `size` bytes at least, which is no hole yet. The chunk grows by `ahead` if
    /// that is more, and a chunk can be so long.
    fn extend(&mut self, size: usize, ahead: usize) -> Span {
        let number = self.chunk_with_room(size);
        let tail = self.take_tail(number);
        let chunk = &mut self.chunks[number];
        let len = chunk.bytes.len();
        let more = size.saturating_sub(tail).max(ahead).next_multiple_of(STEP).min(CHUNK - len);
        if more > 0 {
            let mut bytes = std::mem::take(&mut chunk.bytes).into_vec();
            bytes.reserve_exact(more);
            bytes.resize(len + more, 0);
            chunk.bytes = bytes.into_boxed_slice();
            self.chunk_bytes += more as u32;
        }
        Span::new(number, (len - tail) / UNIT, (tail + more) / UNIT)
    }

    /// The longest chunk that may grow by so many bytes, or a vacant one.
    fn chunk_with_room(&mut self, size: usize) -> usize {
        let chunks = self.chunks.iter().enumerate().filter(|(_, chunk)| !chunk.is_vacant());
        let with_room = chunks.filter(|(_, chunk)| chunk.bytes.len() + size <= CHUNK);
        if let Some((number, _)) = with_room.max_by_key(|(_, chunk)| chunk.bytes.len()) {
            return number;
        }
        self.chunks.iter().position(Chunk::is_vacant).unwrap_or_else(|| {
            if self.chunks.len() == INLINE {
                self.chunks.reserve_exact(LISTED - INLINE);
            }
            self.chunks.push(Chunk::default());
            self.chunks.len() - 1
        })
    }

    /// How many chunks there are.
    pub(super) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Moves a chunk if it is to be.
    pub(super) fn settle(&mut self, number: usize, mover: &mut Mover) {
        if number == 0 && self.chunks.spilled() {
            mover.small_vec(&mut self.chunks);
        }
        if let Some(chunk) = self.chunks.get_mut(number) {
            mover.boxed(&mut chunk.bytes);
        }
    }

    /// Takes the bytes of a chunk away, and its holes.
    fn vacate(&mut self, number: usize) -> Chunk {
        self.forget_holes_of(number);
        let chunk = std::mem::take(&mut self.chunks[number]);
        self.chunk_bytes -= chunk.bytes.len() as u32;
        self.live_bytes -= chunk.live_bytes as u32;
        chunk
    }

    /// Vacant chunks at the end of the list go.
    fn drop_vacant(&mut self) {
        while self.chunks.last().is_some_and(Chunk::is_vacant) {
            self.chunks.pop();
        }
        if self.chunks.spilled() && self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to_fit();
        }
    }

    /// Begins to empty the chunk of which the most is free, if there is such a one. Its cells go to the end of another,
    /// where there is also a hole for a cell of `len` bytes afterwards, unless that is 0.
    #[cold]
    pub(super) fn leave_chunk(&mut self, len: usize) -> Option<Leaving> {
        let number = (0..self.chunks.len()).max_by_key(|&number| self.chunks[number].free_bytes())?;
        if self.chunks[number].free_bytes() == 0 {
            return None;
        }
        let Chunk { bytes, live_bytes } = self.vacate(number);
        let room = if len > 0 { Self::cell_size(len) } else { 0 };
        let both = live_bytes + room;
        let ahead = if len > 0 { self.ahead() } else { 0 };
        let to = self.extend(if both <= CHUNK { both } else { live_bytes }, ahead);
        self.live_bytes += live_bytes as u32;
        self.chunks[to.chunk()].live_bytes += live_bytes;
        if to.bytes() < both {
            let hole = self.extend(room, 0);
            self.remember(hole);
        }
        self.drop_vacant();
        Some(Leaving { chunk: number, bytes, to })
    }

    /// See [`super::Cells::follow`]; for cells of the chunk.
    pub(super) fn follow(&mut self, leaving: &mut Leaving, name: Ref) -> Ref {
        let span = Span::of(name);
        let new = leaving.to.take(span.units());
        let from = &mut leaving.bytes[span.range()];
        self.chunks[new.chunk()].bytes[new.range()].copy_from_slice(from);
        from[FORWARD].copy_from_slice(&new.0.to_ne_bytes());
        new.cell()
    }

    /// What is left of the place to which a chunk's cells went is free.
    pub(super) fn end_leaving(&mut self, leaving: Leaving) {
        self.remember(leaving.to);
    }

    /// Checks the module's invariants, `names` being those of all cells; panics with what is wrong.
    pub(super) fn validate(&self, names: &[Ref]) {
        let mut spans: Vec<Span> = names.iter().map(|&name| Span::of(name)).collect();
        let live_bytes: usize = spans.iter().map(|span| span.bytes()).sum();
        assert_eq!((spans.len(), live_bytes), (self.cells as usize, self.live_bytes as usize), "cells are counted");
        for (number, chunk) in self.chunks.iter().enumerate() {
            let here = spans.iter().filter(|span| span.chunk() == number);
            assert_eq!(here.map(|span| span.bytes()).sum::<usize>(), chunk.live_bytes, "a chunk counts its cells");
            assert_eq!(chunk.is_vacant(), chunk.live_bytes == 0, "no chunk is empty");
            assert!(chunk.bytes.len() <= CHUNK && chunk.bytes.len().is_multiple_of(STEP));
        }
        assert!(self.chunks.last().is_none_or(|last| !last.is_vacant()), "the last chunk is not vacant");
        let chunk_bytes: usize = self.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        assert_eq!(chunk_bytes, self.chunk_bytes as usize, "chunks are counted");
        assert!(self.cells as usize <= MOST_CELLS && chunk_bytes <= MOST_BYTES + CHUNK, "it is small");

        let holes = self.holes.iter().filter(|hole| hole.units() > 0);
        assert!(holes.clone().all(|one| holes.clone().all(|other| one.end() != other.start())), "holes are joined");
        spans.extend(holes);
        spans.sort_unstable_by_key(|span| span.start());
        assert!(spans.windows(2).all(|pair| pair[0].end() <= pair[1].start()), "cells and holes are apart");
        assert!(spans.iter().all(|span| span.range().end <= self.chunks[span.chunk()].bytes.len()), "spans end");
    }
}

const _: () = assert!(CHUNK / UNIT < 1 << Span::BITS && CHUNK.is_multiple_of(STEP) && CHUNK >= MAX_CELL);
