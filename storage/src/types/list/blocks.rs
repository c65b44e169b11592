//! The chunks of a large list in order: blocks, each of a bounded number of chunks. Nothing larger
//! than the tables of one and of all blocks is moved when the list grows or is cut, and counts of elements per block find an index quickly.
//!
//! Invariants: no block and no chunk is empty; a block has at most [`BLOCK`] chunks; the counts of elements, of chunks
//! and of bytes are exact.

use super::chunk::Chunk;
use crate::heap::{self, Movable, MovableVec, Mover, Settle};

/// Chunks of a block at most. In unit tests blocks are small, so that they split and merge all the time.
const BLOCK: usize = if cfg!(test) { 4 } else { 128 };

/// The chunks; see the module's page.
pub(super) struct Blocks {
    blocks: MovableVec<Block>,
    /// Elements of all chunks.
    len: usize,
    chunks: usize,
    /// Bytes of the chunks and of the tables of the blocks.
    memory: usize,
}

struct Block {
    chunks: MovableVec<Chunk>,
    /// Elements of its chunks.
    len: usize,
}

/// Where a chunk stands. Adding and removing chunks elsewhere makes it void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    block: usize,
    chunk: usize,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { blocks: MovableVec::new_in(Movable), len: 0, chunks: 0, memory: 0 }
    }
}

impl Block {
    fn new(chunks: MovableVec<Chunk>) -> Self {
        let len = chunks.iter().map(Chunk::len).sum();
        Self { chunks, len }
    }

    fn empty() -> Self {
        Self::new(MovableVec::new_in(Movable))
    }

    /// Bytes of the table.
    fn table(&self) -> usize {
        heap::taken(self.chunks.capacity() * size_of::<Chunk>())
    }
}

impl Blocks {
    /// The number of elements.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The number of chunks.
    pub(super) fn chunks(&self) -> usize {
        self.chunks
    }

    /// Bytes of everything but itself.
    #[inline]
    pub(super) fn memory(&self) -> usize {
        self.memory + heap::taken(self.blocks.capacity() * size_of::<Block>())
    }

    /// Where the first chunk stands.
    #[inline]
    pub(super) fn first(&self) -> Option<Place> {
        (self.chunks > 0).then_some(Place { block: 0, chunk: 0 })
    }

    /// Where the last chunk stands.
    #[inline]
    pub(super) fn last(&self) -> Option<Place> {
        let block = self.blocks.len().checked_sub(1)?;
        Some(Place { block, chunk: self.blocks[block].chunks.len() - 1 })
    }

    /// Where the chunk after another stands.
    pub(super) fn next(&self, place: Place) -> Option<Place> {
        if place.chunk + 1 < self.blocks[place.block].chunks.len() {
            return Some(Place { chunk: place.chunk + 1, ..place });
        }
        (place.block + 1 < self.blocks.len()).then_some(Place { block: place.block + 1, chunk: 0 })
    }

    /// Where the chunk before another stands.
    pub(super) fn before(&self, place: Place) -> Option<Place> {
        if place.chunk > 0 {
            return Some(Place { chunk: place.chunk - 1, ..place });
        }
        let block = place.block.checked_sub(1)?;
        Some(Place { block, chunk: self.blocks[block].chunks.len() - 1 })
    }

    /// The chunk at a place.
    #[inline]
    pub(super) fn chunk(&self, place: Place) -> &Chunk {
        &self.blocks[place.block].chunks[place.chunk]
    }

    /// The chunk that has the element of this number, and the element's number in it; looked for from the nearer end.
    pub(super) fn find(&self, index: usize) -> Option<(Place, usize)> {
        if index >= self.len {
            return None;
        }
        let (block, index) = nearest(&self.blocks, self.len, index, |block| block.len)?;
        let (chunk, index) = nearest(&self.blocks[block].chunks, self.blocks[block].len, index, Chunk::len)?;
        Some((Place { block, chunk }, index))
    }

    /// Changes a chunk. If no element is left in it, it is taken out.
    #[inline]
    pub(super) fn change<R>(&mut self, place: Place, change: impl FnOnce(&mut Chunk) -> R) -> R {
        let block = &mut self.blocks[place.block];
        let chunk = &mut block.chunks[place.chunk];
        let (len, memory) = (chunk.len(), chunk.memory());
        let result = change(chunk);
        let (new_len, new_memory) = (chunk.len(), chunk.memory());
        block.len = block.len - len + new_len;
        self.len = self.len - len + new_len;
        self.memory = self.memory - memory + new_memory;
        if new_len == 0 {
            self.take(place);
        }
        result
    }

    /// Adds a chunk at the end.
    pub(super) fn push_back(&mut self, chunk: Chunk) {
        match self.last() {
            Some(last) => self.insert(Place { chunk: last.chunk + 1, ..last }, chunk),
            None => self.insert(Place { block: 0, chunk: 0 }, chunk),
        };
    }

    /// Adds a chunk in front.
    pub(super) fn push_front(&mut self, chunk: Chunk) {
        self.insert(Place { block: 0, chunk: 0 }, chunk);
    }

    /// Adds a chunk after another; where it stands.
    pub(super) fn insert_after(&mut self, place: Place, chunk: Chunk) -> Place {
        self.insert(Place { chunk: place.chunk + 1, ..place }, chunk)
    }

    /// Adds a chunk before another; where it stands.
    pub(super) fn insert_before(&mut self, place: Place, chunk: Chunk) -> Place {
        self.insert(place, chunk)
    }

    /// Adds a chunk at a place, before the one that is there; where it stands, which may be in a new block.
    fn insert(&mut self, mut place: Place, chunk: Chunk) -> Place {
        if self.blocks.get(place.block).is_none_or(|block| block.chunks.len() == BLOCK) {
            place = self.make_block(place);
        }
        let block = &mut self.blocks[place.block];
        self.memory += chunk.memory();
        self.chunks += 1;
        self.len += chunk.len();
        block.len += chunk.len();
        self.memory -= block.table();
        grow(&mut block.chunks, BLOCK);
        block.chunks.insert(place.chunk, chunk);
        self.memory += block.table();
        place
    }

    /// Makes a block for a chunk that has no place: at either end of a full one an empty one, else for its latter half.
    fn make_block(&mut self, place: Place) -> Place {
        grow(&mut self.blocks, usize::MAX);
        if place.chunk == 0 {
            self.blocks.insert(place.block, Block::empty());
            return place;
        }
        let after = place.block + 1;
        if place.chunk == BLOCK {
            self.blocks.insert(after, Block::empty());
            return Place { block: after, chunk: 0 };
        }
        let block = &mut self.blocks[place.block];
        self.memory -= block.table();
        let latter = Block::new(block.chunks.split_off(BLOCK / 2));
        block.len -= latter.len;
        self.memory += block.table() + latter.table();
        self.blocks.insert(after, latter);
        if place.chunk <= BLOCK / 2 { place } else { Place { block: after, chunk: place.chunk - BLOCK / 2 } }
    }

    /// Takes a chunk out.
    pub(super) fn take(&mut self, place: Place) -> Option<Chunk> {
        let block = &mut self.blocks[place.block];
        self.memory -= block.table();
        let chunk = (place.chunk < block.chunks.len()).then(|| block.chunks.remove(place.chunk))?;
        block.len -= chunk.len();
        shrink(&mut block.chunks);
        self.memory += block.table();
        self.memory -= chunk.memory();
        self.len -= chunk.len();
        self.chunks -= 1;
        if block.chunks.is_empty() {
            self.memory -= block.table();
            self.blocks.remove(place.block);
            shrink(&mut self.blocks);
        }
        Some(chunk)
    }

    /// Shows every chunk to `change`, from the end on if `from_end`, until it answers false; those that have become
    /// empty are taken out.
    pub(super) fn change_each(&mut self, from_end: bool, mut change: impl FnMut(&mut Chunk) -> bool) {
        let mut place = if from_end { self.last() } else { self.first() };
        while let Some(at) = place {
            let chunks = self.chunks;
            // Before the place nothing is moved; after it, what follows moves up if the chunk is taken out.
            let before = self.before(at);
            let goes_on = self.change(at, &mut change);
            place = match (goes_on, from_end) {
                (false, _) => None,
                (true, true) => before,
                (true, false) if self.chunks == chunks => self.next(at),
                (true, false) => before.map_or_else(|| self.first(), |before| self.next(before)),
            };
        }
        self.merge();
    }

    /// Makes one of neighbouring blocks that have become small.
    fn merge(&mut self) {
        let mut at = 1;
        while at < self.blocks.len() {
            if self.blocks[at - 1].chunks.len() + self.blocks[at].chunks.len() > BLOCK / 2 {
                at += 1;
            } else {
                let mut latter = self.blocks.remove(at);
                let block = &mut self.blocks[at - 1];
                self.memory -= block.table() + latter.table();
                block.chunks.append(&mut latter.chunks);
                block.len += latter.len;
                self.memory += block.table();
            }
        }
        shrink(&mut self.blocks);
    }

    /// Frees up to `chunks` chunks; true when none is left.
    pub(super) fn free_step(&mut self, chunks: usize) -> bool {
        for _ in 0..chunks {
            let Some(last) = self.last() else { return true };
            self.take(last);
        }
        self.chunks == 0
    }

    /// Checks every invariant; panics with what is wrong.
    pub(super) fn validate(&self) {
        let (mut len, mut chunks, mut memory) = (0, 0, 0);
        for block in &self.blocks {
            assert!((1..=BLOCK).contains(&block.chunks.len()), "a block has some chunks");
            block.chunks.iter().for_each(Chunk::validate);
            assert_eq!(block.len, block.chunks.iter().map(Chunk::len).sum::<usize>(), "elements are counted");
            len += block.len;
            chunks += block.chunks.len();
            memory += block.table() + block.chunks.iter().map(Chunk::memory).sum::<usize>();
        }
        assert_eq!((self.len, self.chunks, self.memory), (len, chunks, memory), "blocks are counted");
    }
}

impl Settle for Blocks {
    fn parts(&self) -> usize {
        self.blocks.len() * BLOCK
    }

    /// A part is a place for a chunk; the table of a block moves with its first.
    fn settle(&mut self, part: usize, mover: &mut Mover) {
        if part == 0 {
            mover.movable_vec(&mut self.blocks);
        }
        let Some(block) = self.blocks.get_mut(part / BLOCK) else { return };
        if part.is_multiple_of(BLOCK) {
            mover.movable_vec(&mut block.chunks);
        }
        if let Some(chunk) = block.chunks.get_mut(part % BLOCK) {
            chunk.settle(mover);
        }
    }
}

/// Where the element of this number is, and its number there, if `len_of` tells how many each item has, and `len` how
/// many all have.
fn nearest<T>(items: &[T], len: usize, index: usize, len_of: impl Fn(&T) -> usize) -> Option<(usize, usize)> {
    if index < len / 2 {
        let mut first = 0;
        for (number, item) in items.iter().enumerate() {
            if index < first + len_of(item) {
                return Some((number, index - first));
            }
            first += len_of(item);
        }
        return None;
    }
    let mut end = len;
    for (number, item) in items.iter().enumerate().rev() {
        end -= len_of(item);
        if index >= end {
            return Some((number, index - end));
        }
    }
    None
}

/// Makes room for one more item in a table of `most` at most: half as many again as there are.
fn grow<T>(table: &mut MovableVec<T>, most: usize) {
    if table.len() == table.capacity() {
        table.reserve_exact((table.len() / 2).clamp(1, most - table.len()));
    }
}

/// Gives the memory of a table back of which little is used.
fn shrink<T>(table: &mut MovableVec<T>) {
    if table.len() < table.capacity() / 4 {
        table.shrink_to(table.capacity() / 2);
    }
}
