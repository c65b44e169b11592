//! Cells for the records of one collection: in chunks while it is small, in a slab of its own when it is large.
//!
//! A slab has pages per size of cell, which pay only where many cells share a size. A small collection keeps cells of
//! all sizes side by side (`small.rs`). Its form changes at once, in the operation that makes it too large or small
//! enough again, and chunks are emptied when too much between their cells is unused, so that what a small
//! collection takes follows from its operations alone.
//!
//! Both are a [`Move`]: the owner shows all names that it keeps to [`Cells::follow`], once each and in one order, and
//! keeps the answers instead; then, if it keeps names twice, the others to [`Move::followed`]; then ends the move.

use std::sync::Arc;
use std::vec::IntoIter;

use crate::heap::{Mover, Settle};
use crate::region::Regions;
use crate::slab::{Ref, Slab, cell_size};
use small::{Leaving, Small};

mod small;
#[cfg(test)]
mod tests;

/// The bytes of a cell that has moved in which its new name stands. Every cell is longer.
const FORWARD: std::ops::Range<usize> = 4..8;

/// The cells; see the module's page.
pub(super) enum Cells {
    Small(Small),
    Large(Box<Slab>),
}

/// There is no place for a cell of so many bytes before a move, if then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom(pub(super) usize);

/// Cells on their way to other places.
pub(super) struct Move {
    /// The only chunk whose cells move, unless all do.
    chunk: Option<usize>,
    way: Way,
}

enum Way {
    /// Those of one chunk.
    Chunk(Leaving),
    /// All, from the form before to names that are chosen already.
    Form { before: Cells, names: IntoIter<Ref> },
}

impl Settle for Cells {
    fn parts(&self) -> usize {
        match self {
            Self::Small(small) => small.chunks(),
            Self::Large(_) => 1,
        }
    }

    fn settle(&mut self, part: usize, mover: &mut Mover) {
        match self {
            Self::Small(small) => small.settle(part, mover),
            Self::Large(slab) => slab.settle_records(mover),
        }
    }
}

impl Cells {
    pub(super) fn new(regions: &Arc<Regions>) -> Self {
        Self::Small(Small::new(Arc::clone(regions)))
    }

    /// A cell of [`Cells::size_of`]`(len)` bytes; they are unspecified, and the first must be made other than 0.
    #[inline]
    pub(super) fn alloc(&mut self, len: usize) -> Result<Ref, NoRoom> {
        let cell = match self {
            Self::Small(small) => small.alloc(len),
            Self::Large(slab) => slab.alloc(len),
        };
        cell.ok_or(NoRoom(len))
    }

    #[inline]
    pub(super) fn free(&mut self, cell: Ref) {
        match self {
            Self::Small(small) => small.free(cell),
            Self::Large(slab) => slab.free(cell),
        }
    }

    /// Bytes of the cell that holds `len` bytes.
    #[inline]
    pub(super) fn size_of(&self, len: usize) -> usize {
        match self {
            Self::Small(_) => Small::cell_size(len),
            Self::Large(_) => cell_size(len),
        }
    }

    /// The whole cell.
    #[inline]
    pub(super) fn cell(&self, cell: Ref) -> &[u8] {
        match self {
            Self::Small(small) => small.cell(cell),
            Self::Large(slab) => slab.cell(cell),
        }
    }

    /// The whole cell, to change; byte 0 must not become 0.
    #[inline]
    pub(super) fn cell_mut(&mut self, cell: Ref) -> &mut [u8] {
        match self {
            Self::Small(small) => small.cell_mut(cell),
            Self::Large(slab) => slab.cell_mut(cell),
        }
    }

    /// Where the cell is, for prefetching.
    #[inline]
    pub(super) fn address(&self, cell: Ref) -> *const u8 {
        match self {
            Self::Small(small) => small.address(cell),
            Self::Large(slab) => slab.address(cell),
        }
    }

    /// Bytes of the chunks, or of a slab's live cells and records.
    #[inline]
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Small(small) => small.memory(),
            Self::Large(slab) => size_of::<Slab>() + slab.live_bytes() + slab.record_bytes(),
        }
    }

    /// Whether, of so many cells, [`Cells::tighten`] would move some.
    #[inline]
    pub(super) fn is_loose(&self, cells: usize) -> bool {
        match self {
            Self::Small(small) => small.is_loose(),
            Self::Large(slab) => Small::suits(cells, slab.live_bytes()),
        }
    }

    /// Begins the move after which there is room for a cell of `len` bytes. `names` are those of all cells, and
    /// `len_of` says how many bytes of a cell are in use. `None`, and nothing has changed, if no move helps.
    pub(super) fn make_room(
        &mut self,
        len: usize,
        names: impl Iterator<Item = Ref>,
        len_of: impl Fn(&[u8]) -> usize,
    ) -> Option<Move> {
        let Self::Small(small) = self else { return None };
        if !small.is_outgrown_by(len) {
            return small.leave_chunk(len).map(Move::from);
        }
        let slab = Slab::new(Arc::clone(small.regions()));
        self.change_form(Self::Large(Box::new(slab)), names, len_of)
    }

    /// Begins the move after which less is unused, as [`Cells::make_room`] does; what it copies is at most a chunk, or
    /// all of a collection that has become small.
    pub(super) fn tighten(
        &mut self,
        names: impl Iterator<Item = Ref>,
        len_of: impl Fn(&[u8]) -> usize,
    ) -> Option<Move> {
        match self {
            Self::Small(small) => small.leave_chunk(0).map(Move::from),
            Self::Large(slab) => {
                let small = Small::new(Arc::clone(slab.regions()));
                self.change_form(Self::Small(small), names, len_of)
            }
        }
    }

    fn change_form(
        &mut self,
        mut to: Self,
        names: impl Iterator<Item = Ref>,
        len_of: impl Fn(&[u8]) -> usize,
    ) -> Option<Move> {
        let names: Option<Vec<Ref>> = names.map(|name| to.alloc(len_of(self.cell(name))).ok()).collect();
        let names = names?.into_iter();
        Some(Move { chunk: None, way: Way::Form { before: std::mem::replace(self, to), names } })
    }

    /// The name that a cell has from now on; it is copied if that is another one.
    #[inline]
    pub(super) fn follow(&mut self, moving: &mut Move, name: Ref) -> Ref {
        if moving.concerns(name) { self.follow_out(moving, name) } else { name }
    }

    fn follow_out(&mut self, moving: &mut Move, name: Ref) -> Ref {
        match (&mut moving.way, self) {
            (Way::Chunk(leaving), Self::Small(small)) => small.follow(leaving, name),
            (Way::Form { before, names }, cells) => {
                let Some(new) = names.next() else { return name };
                let (from, to) = (before.cell_mut(name), cells.cell_mut(new));
                let len = from.len().min(to.len());
                to[..len].copy_from_slice(&from[..len]);
                from[FORWARD].copy_from_slice(&new.bits().to_ne_bytes());
                new
            }
            (Way::Chunk(_), Self::Large(_)) => name,
        }
    }

    /// Ends a move, after which the names of before are no one's.
    pub(super) fn end_move(&mut self, moving: Move) {
        if let (Way::Chunk(leaving), Self::Small(small)) = (moving.way, self) {
            small.end_leaving(leaving);
        }
    }

    /// Whether background compaction wants any moved: of a slab, as a small collection has nothing to be done later.
    #[inline]
    pub(super) fn is_sparse(&mut self) -> bool {
        match self {
            Self::Small(_) => false,
            Self::Large(slab) => slab.sparse_page().is_some(),
        }
    }

    /// Replaces what is in `cells` by those that background compaction wants moved, of one page.
    pub(super) fn sparse(&mut self, cells: &mut Vec<Ref>) {
        cells.clear();
        if let Self::Large(slab) = self
            && let Some(page) = slab.sparse_page()
        {
            slab.live_cells(page, cells);
        }
    }

    /// Moves a cell that [`Cells::sparse`] named; its new name.
    pub(super) fn relocate(&mut self, cell: Ref) -> Option<Ref> {
        match self {
            Self::Small(_) => None,
            Self::Large(slab) => slab.relocate(cell),
        }
    }

    /// See [`Slab::gather_step`].
    pub(super) fn gather_step(&mut self) -> bool {
        match self {
            Self::Small(_) => false,
            Self::Large(slab) => slab.gather_step(),
        }
    }

    /// Frees up to `chunks` pages, or all chunks, which are few; true when nothing is left.
    pub(super) fn free_step(&mut self, chunks: usize) -> bool {
        match self {
            Self::Small(small) => small.clear(),
            Self::Large(slab) => return slab.free_step(chunks),
        }
        true
    }

    /// Checks every invariant, `names` being those of all cells; panics with what is wrong. For tests.
    pub(super) fn validate(&self, names: &[Ref]) {
        match self {
            Self::Small(small) => small.validate(names),
            Self::Large(slab) => {
                slab.validate();
                let bytes: usize = names.iter().map(|&name| slab.cell(name).len()).sum();
                assert_eq!(bytes, slab.live_bytes(), "every cell is named");
            }
        }
    }
}

impl From<Leaving> for Move {
    fn from(leaving: Leaving) -> Self {
        Self { chunk: Some(leaving.chunk()), way: Way::Chunk(leaving) }
    }
}

impl Move {
    /// Whether the cell of this name moves.
    #[inline]
    fn concerns(&self, name: Ref) -> bool {
        self.chunk.is_none_or(|chunk| chunk == small::chunk_of(name))
    }

    /// The name that a cell has from now on, which [`Cells::follow`] gave for the same.
    #[inline]
    pub(super) fn followed(&self, name: Ref) -> Ref {
        match &self.way {
            _ if !self.concerns(name) => name,
            Way::Chunk(leaving) => leaving.followed(name),
            Way::Form { before, .. } => forward(before.cell(name)),
        }
    }
}

/// The new name that was written into a cell.
fn forward(cell: &[u8]) -> Ref {
    let mut bits = [0; 4];
    bits.copy_from_slice(&cell[FORWARD]);
    Ref::from_bits(u32::from_ne_bytes(bits))
}
