//! The members of a large sorted set: a record each in a cell.
//!
//! Layout of a record: form (1 byte) | score (f64, little endian) | rest, by form
//!
//! ```text
//! 1..=250   the member, of form - 1 bytes
//! WIDE      length (u16), the member
//! APART     number (u32) in `apart`, where members that no cell can hold own a block each
//! ```
//!
//! Invariants: a record in form APART and the block that it names name each other.

use std::sync::Arc;

use crate::heap::{Mover, Settle};
use crate::region::Regions;
use crate::slab::{MAX_CELL, Ref};
use crate::types::arena::Arena;
use crate::types::cells::{Cells, Move, NoRoom};

/// The longest member whose length stands in the form.
const SHORT_MAX: usize = 249;
const WIDE: u8 = 254;
const APART: u8 = 255;

const SCORE: std::ops::Range<usize> = 1..9;
/// Where the rest begins.
const REST: usize = 9;
/// The longest member that a cell holds, behind its length.
const WIDE_MAX: usize = MAX_CELL - REST - 2;

/// The records; see the module's page.
pub(super) struct Members {
    cells: Cells,
    apart: Arena<Apart>,
    apart_bytes: usize,
}

/// A member in a block of its own, and the record that owns it.
struct Apart {
    record: Ref,
    bytes: Box<[u8]>,
}

impl Members {
    pub(super) fn new(regions: &Arc<Regions>) -> Self {
        Self { cells: Cells::new(regions), apart: Arena::new(), apart_bytes: 0 }
    }

    /// A new record.
    #[inline]
    pub(super) fn add(&mut self, member: &[u8], score: f64) -> Result<Ref, NoRoom> {
        let length = member.len();
        let (size, form) = if length <= SHORT_MAX {
            (REST + length, length as u8 + 1)
        } else if length <= WIDE_MAX {
            (REST + 2 + length, WIDE)
        } else {
            (REST + 4, APART)
        };
        let record = self.cells.alloc(size)?;
        let cell = self.cells.cell_mut(record);
        cell[0] = form;
        cell[SCORE].copy_from_slice(&score.to_le_bytes());
        match form {
            WIDE => {
                cell[REST..REST + 2].copy_from_slice(&(length as u16).to_le_bytes());
                cell[REST + 2..REST + 2 + length].copy_from_slice(member);
            }
            APART => self.add_apart(record, member),
            _ => cell[REST..REST + length].copy_from_slice(member),
        }
        Ok(record)
    }

    /// Bytes of a record.
    fn len(cell: &[u8]) -> usize {
        match cell[0] {
            WIDE => REST + 2 + u16::from_le_bytes([cell[REST], cell[REST + 1]]) as usize,
            APART => REST + 4,
            form => REST + form as usize - 1,
        }
    }

    #[cold]
    fn add_apart(&mut self, record: Ref, member: &[u8]) {
        self.apart_bytes += block_size(member.len());
        let block = Apart { record, bytes: member.into() };
        let number = self.apart.push(block);
        self.name_apart(record, number);
    }

    fn name_apart(&mut self, record: Ref, number: u32) {
        self.cells.cell_mut(record)[REST..REST + 4].copy_from_slice(&number.to_le_bytes());
    }

    /// The number in `apart`, for a record in that form.
    fn number(&self, record: Ref) -> Option<u32> {
        let cell = self.cells.cell(record);
        (cell[0] == APART).then(|| u32::from_le_bytes([cell[9], cell[10], cell[11], cell[12]]))
    }

    #[inline]
    pub(super) fn bytes(&self, record: Ref) -> &[u8] {
        let cell = self.cells.cell(record);
        match cell[0] {
            WIDE => {
                let length = u16::from_le_bytes([cell[REST], cell[REST + 1]]) as usize;
                &cell[REST + 2..REST + 2 + length]
            }
            APART => self.bytes_apart(record),
            form => &cell[REST..REST + form as usize - 1],
        }
    }

    #[cold]
    fn bytes_apart(&self, record: Ref) -> &[u8] {
        self.number(record).map_or(&[], |number| &self.apart.get(number).bytes)
    }

    #[inline]
    pub(super) fn score(&self, record: Ref) -> f64 {
        let cell = self.cells.cell(record);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&cell[SCORE]);
        f64::from_le_bytes(bytes)
    }

    #[inline]
    pub(super) fn set_score(&mut self, record: Ref, score: f64) {
        self.cells.cell_mut(record)[SCORE].copy_from_slice(&score.to_le_bytes());
    }

    #[inline]
    pub(super) fn remove(&mut self, record: Ref) {
        if let Some(number) = self.number(record) {
            self.remove_apart(number);
        }
        self.cells.free(record);
    }

    #[cold]
    fn remove_apart(&mut self, number: u32) {
        if let Some(gone) = self.apart.swap_remove(number) {
            self.apart_bytes -= block_size(gone.bytes.len());
        }
        if (number as usize) < self.apart.len() {
            let moved = self.apart.get(number).record;
            self.name_apart(moved, number);
        }
    }

    /// Where the record stands, for prefetching.
    #[inline]
    pub(super) fn address(&self, record: Ref) -> *const u8 {
        self.cells.address(record)
    }

    /// Bytes of cells, and of blocks, rounded to 16.
    pub(super) fn memory(&self) -> usize {
        self.cells.memory() + self.apart_bytes + self.apart.memory()
    }

    /// See [`Cells::is_loose`].
    #[inline]
    pub(super) fn is_loose(&self, records: usize) -> bool {
        self.cells.is_loose(records)
    }

    /// See [`Cells::make_room`]; `records` are all.
    pub(super) fn make_room(&mut self, NoRoom(len): NoRoom, records: impl Iterator<Item = Ref>) -> Option<Move> {
        self.cells.make_room(len, records, Self::len)
    }

    /// See [`Cells::tighten`]; `records` are all.
    pub(super) fn tighten(&mut self, records: impl Iterator<Item = Ref>) -> Option<Move> {
        self.cells.tighten(records, Self::len)
    }

    /// See [`Cells::follow`].
    #[inline]
    pub(super) fn follow(&mut self, moving: &mut Move, record: Ref) -> Ref {
        let moved = self.cells.follow(moving, record);
        if moved != record && self.apart.len() > 0 {
            self.own_apart(moved);
        }
        moved
    }

    /// See [`Cells::end_move`].
    pub(super) fn end_move(&mut self, moving: Move) {
        self.cells.end_move(moving);
    }

    /// Whether compaction wants any moved.
    #[inline]
    pub(super) fn is_sparse(&mut self) -> bool {
        self.cells.is_sparse()
    }

    /// See [`Cells::gather_step`].
    pub(super) fn gather_step(&mut self) -> bool {
        self.cells.gather_step()
    }

    /// Replaces what is in `records` by those that compaction wants moved, of one page.
    pub(super) fn sparse(&mut self, records: &mut Vec<Ref>) {
        self.cells.sparse(records);
    }

    /// Moves a record to a fuller page; its new name.
    pub(super) fn relocate(&mut self, record: Ref) -> Option<Ref> {
        let moved = self.cells.relocate(record)?;
        self.own_apart(moved);
        Some(moved)
    }

    /// Tells the block of a record its name.
    fn own_apart(&mut self, record: Ref) {
        if let Some(number) = self.number(record) {
            self.apart.get_mut(number).record = record;
        }
    }

    /// Frees up to `chunks` pages and as many chunks of blocks; true when nothing is left.
    pub(super) fn free_step(&mut self, chunks: usize) -> bool {
        self.apart_bytes = 0;
        self.apart.free_step(chunks) && self.cells.free_step(chunks)
    }

    /// Checks the accounting, and each block against `records`, all live ones; panics with what is wrong.
    pub(super) fn validate(&self, records: impl Iterator<Item = Ref>) {
        let records: Vec<Ref> = records.collect();
        self.cells.validate(&records);
        self.apart.validate();
        let (mut apart, mut bytes) = (0, 0);
        for record in records {
            let cell = self.cells.cell(record);
            assert_eq!(self.cells.size_of(Self::len(cell)), cell.len(), "a record has a cell of its size");
            if let Some(number) = self.number(record) {
                assert_eq!(self.apart.get(number).record, record, "a block names its record");
                apart += 1;
                bytes += block_size(self.bytes(record).len());
            }
        }
        assert_eq!(apart, self.apart.len(), "every block is an element's");
        assert_eq!(bytes, self.apart_bytes, "blocks are counted");
    }
}

impl Settle for Members {
    fn parts(&self) -> usize {
        self.cells.parts() + self.apart.len()
    }

    /// A part of the cells, or a block with, if it is the first of its chunk, the chunk.
    fn settle(&mut self, part: usize, mover: &mut Mover) {
        match part.checked_sub(self.cells.parts()) {
            None => self.cells.settle(part, mover),
            Some(number) => self.apart.settle(number, mover, |block, mover| mover.boxed(&mut block.bytes)),
        }
    }
}

/// What a block of so many bytes counts for.
fn block_size(len: usize) -> usize {
    len.next_multiple_of(16)
}
