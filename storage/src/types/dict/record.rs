//! The records of a dictionary: a key each, with a value where the dictionary has values, and an expiry if need be.
//!
//! Layout of a record: form (1 byte) | expiry (8 bytes, if any) | key | value (if the dictionary has values)
//!
//! ```text
//! form    [7] has an expiry  [6:0] 1..=125 the key's length + 1, WIDE, APART
//! key     its bytes;  WIDE: length (u16), its bytes;  APART: number (u32) in `apart`
//! value   length (1 byte up to 253), its bytes;  254: length (u16), its bytes;  255: number (u32) in `apart`
//! ```
//!
//! All integers are little-endian. Keys and values for which no cell has place own a block each: a long value is
//! replaced without touching the rest.
//!
//! Invariants: a record and each block that it names name each other; whether a key or a value has a block is decided
//! as if the record had an expiry, so that setting one moves nothing out of the cell.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::heap::{Mover, Settle};
use crate::region::Regions;
use crate::slab::{MAX_CELL, Ref};
use crate::types::arena::Arena;
use crate::types::cells::{Cells, Move, NoRoom};

const HAS_EXPIRY: u8 = 0x80;
const KEY_FORM: u8 = 0x7f;
/// The longest key whose length stands in the form.
const KEY_SHORT_MAX: usize = 124;
const KEY_WIDE: u8 = 126;
const KEY_APART: u8 = 127;
const VALUE_SHORT_MAX: usize = 253;
const VALUE_WIDE: u8 = 254;
const VALUE_APART: u8 = 255;
const EXPIRY_BYTES: usize = 8;
/// Bytes of a block's number.
const NUMBER: usize = 4;
/// The longest key in a cell: form, expiry and the number of a value's block have place beside it.
const KEY_MAX: usize = MAX_CELL - 1 - EXPIRY_BYTES - 2 - 1 - NUMBER;

/// A record as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value; empty in a dictionary without values.
    pub value: &'a [u8],
    /// When it expires, in milliseconds since 1970.
    pub expiry: Option<u64>,
}

impl Record<'_> {
    /// Whether its time has come.
    #[inline]
    pub fn has_expired(&self, now: u64) -> bool {
        self.expiry.is_some_and(|at| at <= now)
    }
}

/// The records; see the module's page.
pub(super) struct Records {
    cells: Cells,
    apart: Arena<Apart>,
    apart_bytes: usize,
    has_values: bool,
}

/// A key or value in a block of its own, and the record that owns it.
struct Apart {
    record: Ref,
    is_value: bool,
    bytes: Box<[u8]>,
}

/// Where a part of a record stands in its cell.
enum Part {
    Here(Range<usize>),
    /// A block's number stands there, 4 bytes from here on.
    Apart(usize),
}

impl Part {
    fn end(&self) -> usize {
        match self {
            Self::Here(range) => range.end,
            Self::Apart(at) => at + NUMBER,
        }
    }
}

impl Records {
    pub(super) fn new(regions: &Arc<Regions>, has_values: bool) -> Self {
        Self { cells: Cells::new(regions), apart: Arena::new(), apart_bytes: 0, has_values }
    }

    /// A new record.
    #[inline]
    pub(super) fn add(&mut self, new: Record<'_>) -> Result<Ref, NoRoom> {
        let head = head_size(new.key.len(), new.expiry.is_some());
        let value = if self.has_values { value_size(new.key.len(), new.value.len()) } else { 0 };
        let record = self.cells.alloc(head + value)?;
        self.write_key(record, new.key, new.expiry);
        if self.has_values {
            self.write_value(record, head, new.key.len(), new.value);
        }
        Ok(record)
    }

    #[inline]
    fn write_key(&mut self, record: Ref, key: &[u8], expiry: Option<u64>) {
        let cell = self.cells.cell_mut(record);
        let mut at = 1;
        let mut flags = 0;
        if let Some(expiry) = expiry {
            cell[1..1 + EXPIRY_BYTES].copy_from_slice(&expiry.to_le_bytes());
            (flags, at) = (HAS_EXPIRY, 1 + EXPIRY_BYTES);
        }
        if key.len() <= KEY_SHORT_MAX {
            cell[0] = flags | (key.len() as u8 + 1);
            cell[at..at + key.len()].copy_from_slice(key);
        } else if key.len() <= KEY_MAX {
            cell[0] = flags | KEY_WIDE;
            cell[at..at + 2].copy_from_slice(&(key.len() as u16).to_le_bytes());
            cell[at + 2..at + 2 + key.len()].copy_from_slice(key);
        } else {
            cell[0] = flags | KEY_APART;
            self.add_apart(record, at, false, key);
        }
    }

    /// Writes a value at `at`, where the key ends.
    #[inline]
    fn write_value(&mut self, record: Ref, at: usize, key_len: usize, value: &[u8]) {
        let cell = self.cells.cell_mut(record);
        if !value_fits(key_len, value.len()) {
            cell[at] = VALUE_APART;
            return self.add_apart(record, at + 1, true, value);
        }
        let start = if value.len() <= VALUE_SHORT_MAX {
            cell[at] = value.len() as u8;
            at + 1
        } else {
            cell[at] = VALUE_WIDE;
            cell[at + 1..at + 3].copy_from_slice(&(value.len() as u16).to_le_bytes());
            at + 3
        };
        cell[start..start + value.len()].copy_from_slice(value);
    }

    #[cold]
    fn add_apart(&mut self, record: Ref, at: usize, is_value: bool, bytes: &[u8]) {
        self.apart_bytes += block_size(bytes.len());
        let number = self.apart.push(Apart { record, is_value, bytes: bytes.into() });
        write_number(self.cells.cell_mut(record), at, number);
    }

    #[inline]
    fn key_part(cell: &[u8]) -> Part {
        let at = key_at(cell);
        match cell[0] & KEY_FORM {
            KEY_WIDE => {
                let len = u16::from_le_bytes([cell[at], cell[at + 1]]) as usize;
                Part::Here(at + 2..at + 2 + len)
            }
            KEY_APART => Part::Apart(at),
            form => Part::Here(at..at + form as usize - 1),
        }
    }

    /// Where the value stands, whose length is at `at`.
    #[inline]
    fn value_part(cell: &[u8], at: usize) -> Part {
        match cell[at] {
            VALUE_WIDE => {
                let len = u16::from_le_bytes([cell[at + 1], cell[at + 2]]) as usize;
                Part::Here(at + 3..at + 3 + len)
            }
            VALUE_APART => Part::Apart(at + 1),
            len => Part::Here(at + 1..at + 1 + len as usize),
        }
    }

    #[inline]
    fn bytes<'a>(&'a self, cell: &'a [u8], part: &Part) -> &'a [u8] {
        match part {
            Part::Here(range) => &cell[range.clone()],
            Part::Apart(at) => self.bytes_apart(cell, *at),
        }
    }

    #[cold]
    fn bytes_apart(&self, cell: &[u8], at: usize) -> &[u8] {
        &self.apart.get(read_number(cell, at)).bytes
    }

    #[inline]
    pub(super) fn key(&self, record: Ref) -> &[u8] {
        let cell = self.cells.cell(record);
        self.bytes(cell, &Self::key_part(cell))
    }

    #[inline]
    pub(super) fn read(&self, record: Ref) -> Record<'_> {
        let cell = self.cells.cell(record);
        let part = Self::key_part(cell);
        let value = if self.has_values { self.bytes(cell, &Self::value_part(cell, part.end())) } else { &[] };
        Record { key: self.bytes(cell, &part), value, expiry: expiry(cell) }
    }

    #[inline]
    pub(super) fn expiry(&self, record: Ref) -> Option<u64> {
        expiry(self.cells.cell(record))
    }

    /// Replaces the value; the record's new name. Without room nothing has changed.
    #[inline]
    pub(super) fn set_value(&mut self, record: Ref, value: &[u8]) -> Result<Ref, NoRoom> {
        let cell = self.cells.cell(record);
        let part = Self::key_part(cell);
        let (at, key_len) = (part.end(), self.bytes(cell, &part).len());
        if let Part::Apart(place) = Self::value_part(cell, at) {
            let number = read_number(cell, place);
            if !value_fits(key_len, value.len()) {
                self.set_apart(number, value);
                return Ok(record);
            }
            let record = self.resized(record, at + value_size(key_len, value.len()), at)?;
            self.remove_apart(number);
            self.write_value(record, at, key_len, value);
            return Ok(record);
        }
        let record = self.resized(record, at + value_size(key_len, value.len()), at)?;
        self.write_value(record, at, key_len, value);
        Ok(record)
    }

    #[cold]
    fn set_apart(&mut self, number: u32, bytes: &[u8]) {
        let block = self.apart.get_mut(number);
        self.apart_bytes = self.apart_bytes - block_size(block.bytes.len()) + block_size(bytes.len());
        if block.bytes.len() == bytes.len() {
            block.bytes.copy_from_slice(bytes);
        } else {
            block.bytes = bytes.into();
        }
    }

    /// Sets or removes the expiry; the record's new name. Without room nothing has changed.
    pub(super) fn set_expiry(&mut self, record: Ref, at: Option<u64>) -> Result<Ref, NoRoom> {
        let cell = self.cells.cell(record);
        let (had, len) = (cell[0] & HAS_EXPIRY != 0, Self::len(cell, self.has_values));
        let record = match at {
            Some(_) if !had => {
                let record = self.resized(record, len + EXPIRY_BYTES, len)?;
                let cell = self.cells.cell_mut(record);
                cell.copy_within(1..len, 1 + EXPIRY_BYTES);
                cell[0] |= HAS_EXPIRY;
                record
            }
            None if had => {
                let kept: SmallVec<[u8; 256]> = SmallVec::from_slice(&cell[1 + EXPIRY_BYTES..len]);
                let record = self.resized(record, len - EXPIRY_BYTES, 1)?;
                let cell = self.cells.cell_mut(record);
                cell[0] &= !HAS_EXPIRY;
                cell[1..1 + kept.len()].copy_from_slice(&kept);
                record
            }
            _ => record,
        };
        if let Some(at) = at {
            self.cells.cell_mut(record)[1..1 + EXPIRY_BYTES].copy_from_slice(&at.to_le_bytes());
        }
        self.own_apart(record);
        Ok(record)
    }

    /// Bytes of a record.
    fn len(cell: &[u8], has_values: bool) -> usize {
        let key_end = Self::key_part(cell).end();
        if has_values { Self::value_part(cell, key_end).end() } else { key_end }
    }

    /// A record with place for `len` bytes that begins with the first `kept` of this one, under its new name. The
    /// blocks of a moved record must be told by [`Records::own_apart`] once it is whole again; that of its key is told
    /// here.
    #[inline]
    fn resized(&mut self, record: Ref, len: usize, kept: usize) -> Result<Ref, NoRoom> {
        let cell = self.cells.cell(record);
        if self.cells.size_of(len) == cell.len() {
            return Ok(record);
        }
        let bytes: SmallVec<[u8; 256]> = SmallVec::from_slice(&cell[..kept]);
        let moved = self.cells.alloc(len)?;
        self.cells.cell_mut(moved)[..kept].copy_from_slice(&bytes);
        self.cells.free(record);
        if bytes[0] & KEY_FORM == KEY_APART
            && let at = key_at(&bytes)
            && at + NUMBER <= kept
        {
            self.apart.get_mut(read_number(&bytes, at)).record = moved;
        }
        Ok(moved)
    }

    /// Tells the blocks of a record its name.
    fn own_apart(&mut self, record: Ref) {
        for (number, _) in self.numbers(record).into_iter().flatten() {
            self.apart.get_mut(number).record = record;
        }
    }

    /// The blocks of a record's key and value, and whether it is the value's.
    #[inline]
    fn numbers(&self, record: Ref) -> [Option<(u32, bool)>; 2] {
        let cell = self.cells.cell(record);
        let key = Self::key_part(cell);
        let number = |part: &Part, is_value| match part {
            Part::Apart(at) => Some((read_number(cell, *at), is_value)),
            Part::Here(_) => None,
        };
        let value = if self.has_values { number(&Self::value_part(cell, key.end()), true) } else { None };
        [number(&key, false), value]
    }

    #[inline]
    pub(super) fn remove(&mut self, record: Ref) {
        // The second may get another number while the first goes.
        while let Some((number, is_value)) = self.numbers(record).into_iter().flatten().next_back() {
            self.remove_apart(number);
            if !is_value {
                break;
            }
            // The value is gone: an empty one takes its place.
            let cell = self.cells.cell_mut(record);
            let at = Self::key_part(cell).end();
            cell[at] = 0;
        }
        self.cells.free(record);
    }

    #[cold]
    fn remove_apart(&mut self, number: u32) {
        if let Some(gone) = self.apart.swap_remove(number) {
            self.apart_bytes -= block_size(gone.bytes.len());
        }
        if (number as usize) < self.apart.len() {
            let &Apart { record, is_value, .. } = self.apart.get(number);
            let cell = self.cells.cell_mut(record);
            let mut at = key_at(cell);
            if is_value {
                at = Self::key_part(cell).end() + 1;
            }
            write_number(cell, at, number);
        }
    }

    /// Where the record stands, for prefetching.
    #[inline]
    pub(super) fn address(&self, record: Ref) -> *const u8 {
        self.cells.address(record)
    }

    /// Bytes of cells, and of blocks, rounded to 16.
    #[inline]
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
        let has_values = self.has_values;
        self.cells.make_room(len, records, |cell| Self::len(cell, has_values))
    }

    /// See [`Cells::tighten`]; `records` are all.
    pub(super) fn tighten(&mut self, records: impl Iterator<Item = Ref>) -> Option<Move> {
        let has_values = self.has_values;
        self.cells.tighten(records, |cell| Self::len(cell, has_values))
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
            assert_eq!(
                self.cells.size_of(Self::len(cell, self.has_values)),
                cell.len(),
                "a record has a cell of its size"
            );
            for (number, is_value) in self.numbers(record).into_iter().flatten() {
                let block = self.apart.get(number);
                assert_eq!((block.record, block.is_value), (record, is_value), "a block names its record");
                apart += 1;
                bytes += block_size(block.bytes.len());
            }
        }
        assert_eq!(apart, self.apart.len(), "every block is an element's");
        assert_eq!(bytes, self.apart_bytes, "blocks are counted");
    }
}

/// Where the key begins, with its length or the number of its block.
#[inline]
fn key_at(cell: &[u8]) -> usize {
    1 + (cell[0] >> 7) as usize * EXPIRY_BYTES
}

#[inline]
fn expiry(cell: &[u8]) -> Option<u64> {
    if cell[0] & HAS_EXPIRY == 0 {
        return None;
    }
    let mut bytes = [0; EXPIRY_BYTES];
    bytes.copy_from_slice(&cell[1..1 + EXPIRY_BYTES]);
    Some(u64::from_le_bytes(bytes))
}

fn read_number(cell: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([cell[at], cell[at + 1], cell[at + 2], cell[at + 3]])
}

fn write_number(cell: &mut [u8], at: usize, number: u32) {
    cell[at..at + NUMBER].copy_from_slice(&number.to_le_bytes());
}

/// Bytes of a record up to the end of its key.
#[inline]
fn head_size(key_len: usize, expires: bool) -> usize {
    1 + if expires { EXPIRY_BYTES } else { 0 }
        + match key_len {
            ..=KEY_SHORT_MAX => key_len,
            _ if key_len <= KEY_MAX => key_len + 2,
            _ => NUMBER,
        }
}

/// Bytes of a value with its length, in the cell.
#[inline]
fn whole_value_size(len: usize) -> usize {
    len + if len <= VALUE_SHORT_MAX { 1 } else { 3 }
}

/// Whether a value has place in the cell of a key of this length.
#[inline]
fn value_fits(key_len: usize, len: usize) -> bool {
    head_size(key_len, true) + whole_value_size(len) <= MAX_CELL
}

/// Bytes of a value in the cell.
#[inline]
fn value_size(key_len: usize, len: usize) -> usize {
    if value_fits(key_len, len) { whole_value_size(len) } else { 1 + NUMBER }
}

impl Settle for Records {
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
