//! Cells for entries: size-classed pages addressed by 32 bits, with exact and deterministic accounting.
//!
//! A **cell** is 16 to [`MAX_CELL`] bytes at a multiple of 8; a **page** holds cells of one size class; a [`Ref`] is a
//! page's number and the cell's place in it. A class is the largest multiple of 8 of which equally many cells fit into
//! a full page of 16 KiB, so that a page wastes 2 % at most at its end: all multiples of 8 up to 360, then ever wider
//! steps. A class's first pages are small, an eighth of what the class holds, so that a small slab costs little: they
//! are blocks of [`Regions`], of whose pages a full one takes all. An empty page is given back at once.
//!
//! Byte 0 of a live cell is never 0, which is the owner's duty from the moment it has the cell. Byte 0 of a free cell
//! is 0, and bytes 2 and 3 link the page's list of free cells. Cells at or above a page's `bump` were never used since
//! the page came; they are free whatever their bytes are.
//!
//! The pages of a class that have free places stand in buckets by the number of their live cells. An allocation takes
//! the fullest bucket's first page, compaction the emptiest bucket's last, and so they stay out of each other's way.
//!
//! Invariants: no two pages share memory, and all memory of a page is initialized; `bump` never passes the end of its
//! page, and every access to a cell checks that it ends at or below `bump`: with that, no [`Ref`], however stale or
//! invented, reaches memory outside the slab. The same calls give the same refs: nothing depends on an address.

#![expect(unsafe_code, reason = "cells are cut from raw pages that the slab owns")]

use crate::cpu::prefetch_to_write;
use crate::region::{PAGE, Regions};
use class::{CLASS_UNITS, CLASSES, MAX_UNITS, PAGE_UNITS, UNIT, class_of, class_units};
use length::{Source, page_length, source_of};
use std::ptr::NonNull;
use std::sync::Arc;
use vacant::Vacant;

mod class;
pub(crate) mod gather;
mod length;
mod sparse;
#[cfg(test)]
mod tests;
mod vacant;

pub use class::{MAX_CELL, cell_size};

const UNIT_BITS: u32 = PAGE_UNITS.trailing_zeros();
/// One less than would fit, so that no ref has all bits set.
const MAX_PAGES: usize = (1 << (32 - UNIT_BITS)) - 1;

/// A class's next page is this part of what the class holds already.
const GROWTH: usize = 8;

/// Free places above one in this many are worth moving cells for.
const SPARE_SHARE: usize = 32;

const BUCKETS: usize = 8;
/// The bucket of a page that is full or vacant.
const UNLISTED: u8 = u8::MAX;

/// `Page::free_head` of a page without freed cells, and with no free place at all.
const EMPTY_LIST: u16 = u16::MAX - 1;
const FULL: u16 = u16::MAX;

/// No page, or no class.
const NO_PAGE: u32 = u32::MAX;
const NO_SLOT: u8 = u8::MAX;

/// Names a cell of one slab: page number << 11 | byte offset / 8. The bits are never `u32::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ref(u32);

impl Ref {
    /// The ref as a number, for storing.
    #[inline]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The ref that has these bits.
    #[inline]
    pub const fn from_bits(bits: u32) -> Ref {
        Ref(bits)
    }

    #[inline]
    fn new(page: u32, unit: u16) -> Ref {
        Ref(page << UNIT_BITS | u32::from(unit))
    }

    /// Number of the page, as [`Slab::sparse_page`] returns it.
    #[inline]
    pub const fn page(self) -> u32 {
        self.0 >> UNIT_BITS
    }

    #[inline]
    fn unit(self) -> u16 {
        (self.0 & (PAGE_UNITS as u32 - 1)) as u16
    }
}

/// An allocator of cells; see the module's text.
#[repr(C)]
pub struct Slab {
    /// What an access needs, by page number.
    pages: Vec<Page>,
    /// What allocation and compaction need besides, by page number.
    places: Vec<Place>,
    /// The classes in use, in the order of their first use.
    classes: Vec<Class>,
    /// A class's place in `classes`.
    slots: [u8; CLASSES],
    /// The last allocation's class, in `classes`.
    recent: u8,
    /// Bit `i` is set if cells of `classes[i]` were freed since compaction last found nothing to do there.
    freed: u128,
    vacant: Vacant,
    live_bytes: usize,
    cell_bytes: usize,
    page_bytes: usize,
    /// Of the records of pages and classes.
    record_bytes: usize,
    regions: Arc<Regions>,
    gather: gather::Pass,
    /// The page that compaction named last and that is not empty yet, or [`NO_PAGE`].
    draining: u32,
}

/// The hot part of a page's record, one load of 16 bytes.
#[repr(C, align(16))]
struct Page {
    base: NonNull<u8>,
    /// Units of a cell.
    units: u16,
    /// Unit of the first free cell below `bump`, or [`EMPTY_LIST`], or [`FULL`].
    free_head: u16,
    /// Unit of the first cell that was never used.
    bump: u16,
    /// Number of live cells.
    live: u16,
}

/// The cold part of a page's record.
struct Place {
    /// Neighbours in the ring of the bucket.
    next: u32,
    previous: u32,
    /// Bytes of the page; 0 if the number is vacant.
    length: u16,
    /// Index into `Slab::classes`.
    slot: u8,
    bucket: u8,
}

struct Class {
    /// First page of each bucket that is not empty.
    heads: [u32; BUCKETS],
    /// Live cells of all pages, and places for cells in them.
    live: u32,
    cells: u32,
    units: u16,
    /// A page with `n` live cells stands in bucket `n >> shift`.
    shift: u8,
    /// Bit `b` is set if bucket `b` is not empty.
    filled: u8,
}

// SAFETY: a slab owns its pages alone; `&Slab` only reads them, and there is no interior mutability.
unsafe impl Send for Slab {}
// SAFETY: as above.
unsafe impl Sync for Slab {}

impl Slab {
    /// An empty slab; it holds no page until the first allocation.
    pub fn new(regions: Arc<Regions>) -> Slab {
        Slab {
            pages: Vec::new(),
            places: Vec::new(),
            classes: Vec::new(),
            slots: [NO_SLOT; CLASSES],
            recent: NO_SLOT,
            freed: 0,
            vacant: Vacant::default(),
            live_bytes: 0,
            cell_bytes: 0,
            page_bytes: 0,
            record_bytes: 0,
            regions,
            gather: gather::Pass::default(),
            draining: NO_PAGE,
        }
    }

    /// A cell of [`cell_size`]`(len)` bytes. Its bytes are unspecified, but for byte 0, which is not 0 and must not
    /// become 0. `None` if 2^21 - 1 pages exist or the system has no memory. Panics if `len` is above [`MAX_CELL`].
    #[inline]
    pub fn alloc(&mut self, len: usize) -> Option<Ref> {
        let class = class_of(len.div_ceil(UNIT));
        let slot = self.slots[class];
        let page = match self.classes.get(usize::from(slot)) {
            Some(class) if class.filled != 0 => class.heads[class.fullest_bucket()],
            _ => self.add_page(class, self.due_bytes(slot))?,
        };
        self.recent = slot;
        Some(self.alloc_in(page))
    }

    /// Asks for the cell that an allocation of the size of the last one will give.
    #[inline]
    pub fn prefetch_free(&self) {
        if let Some(class) = self.classes.get(usize::from(self.recent)).filter(|class| class.filled != 0) {
            let page = &self.pages[class.heads[class.fullest_bucket()] as usize];
            let unit = if page.free_head < EMPTY_LIST { page.free_head } else { page.bump };
            prefetch_to_write(page.base.as_ptr().wrapping_add(usize::from(unit) * UNIT));
        }
    }

    /// Frees a live cell. Panics if it is free already.
    #[inline]
    pub fn free(&mut self, cell: Ref) {
        let page = &mut self.pages[cell.page() as usize];
        debug_assert_eq!(cell.unit() % page.units, 0, "a ref into a cell");
        let was_full = page.free_head == FULL;
        let link = if was_full { EMPTY_LIST } else { page.free_head };
        // SAFETY: `&mut self` is the only access to the pages.
        let bytes = unsafe { page.cell(cell.unit()).as_mut() };
        assert!(bytes[0] != 0, "a cell freed twice");
        bytes[0] = 0;
        bytes[2..4].copy_from_slice(&link.to_ne_bytes());
        page.free_head = cell.unit();
        page.live -= 1;

        let slot = self.slots[class_of(usize::from(page.units))];
        let class = &mut self.classes[usize::from(slot)];
        class.live -= 1;
        self.freed |= 1 << slot;
        self.live_bytes -= usize::from(page.units) * UNIT;
        if was_full || page.live == 0 || class.is_first_of_bucket(page.live + 1) {
            self.settle(cell.page());
        }
    }

    /// The whole cell. Panics if there is none; a ref to a freed cell reads unspecified bytes.
    #[inline]
    pub fn cell(&self, cell: Ref) -> &[u8] {
        let page = &self.pages[cell.page() as usize];
        // SAFETY: the page's bytes are initialized, and nothing changes them while `self` is borrowed.
        unsafe { page.cell(cell.unit()).as_ref() }
    }

    /// The whole cell, to change; byte 0 must not become 0. Panics as [`Slab::cell`] does.
    #[inline]
    pub fn cell_mut(&mut self, cell: Ref) -> &mut [u8] {
        let page = &self.pages[cell.page() as usize];
        // SAFETY: as in `cell`, and `&mut self` is the only access.
        unsafe { page.cell(cell.unit()).as_mut() }
    }

    /// Where the cell is, for prefetching; null if its page does not exist.
    #[inline]
    pub fn address(&self, cell: Ref) -> *const u8 {
        self.place(cell).0
    }

    /// Where the cell is and how long, for prefetching; null if its page does not exist.
    #[inline]
    pub fn place(&self, cell: Ref) -> (*const u8, usize) {
        let offset = usize::from(cell.unit()) * UNIT;
        let page = self.pages.get(cell.page() as usize);
        page.map_or((std::ptr::null(), 0), |page| {
            (page.base.as_ptr().wrapping_add(offset), usize::from(page.units) * UNIT)
        })
    }

    /// Bytes of the largest cells in use, or of the largest that there may be where finding out would take long.
    #[inline]
    pub fn largest_cell(&self) -> usize {
        const FEW: usize = 16;
        if self.classes.len() > FEW {
            return MAX_CELL;
        }
        let in_use = self.classes.iter().filter(|class| class.live > 0);
        in_use.map(|class| usize::from(class.units) * UNIT).max().unwrap_or(0)
    }

    /// Bytes of the live cells, each rounded to its class.
    #[inline]
    pub fn live_bytes(&self) -> usize {
        self.live_bytes
    }

    /// Bytes of the free places for cells in the pages that exist.
    #[inline]
    pub fn free_bytes(&self) -> usize {
        self.cell_bytes - self.live_bytes
    }

    /// Bytes of the pages, which is live and free places and the pages' ends.
    #[inline]
    pub fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// Bytes of the slab's own records of pages and classes.
    #[inline]
    pub fn record_bytes(&self) -> usize {
        self.record_bytes
    }

    fn bytes_of_records(&self) -> usize {
        self.pages.capacity() * size_of::<Page>()
            + self.places.capacity() * size_of::<Place>()
            + self.classes.capacity() * size_of::<Class>()
            + self.vacant.memory()
    }

    /// Where its pages come from.
    #[inline]
    pub(crate) fn regions(&self) -> &Arc<Regions> {
        &self.regions
    }

    /// Replaces what is in `cells` by the live cells of a page, in their order; by nothing if there is no such page.
    pub fn live_cells(&self, page: u32, cells: &mut Vec<Ref>) {
        cells.clear();
        if let Some(record) = self.pages.get(page as usize) {
            let units = (0..record.bump).step_by(usize::from(record.units));
            // SAFETY: the page's bytes are initialized, and nothing changes them while `self` is borrowed.
            let live = units.filter(|&unit| unsafe { record.cell(unit).as_ref() }[0] != 0);
            cells.extend(live.map(|unit| Ref::new(page, unit)));
        }
    }

    /// Moves a live cell into the fullest other page of its class and frees its old place; its new name, by which the
    /// owner must know it from now on. `None`, and nothing changed, if no other page has a place; that cannot happen
    /// to a page that [`Slab::sparse_page`] just named unless the system has no memory. Panics if the cell is free.
    pub fn relocate(&mut self, cell: Ref) -> Option<Ref> {
        let page = cell.page();
        assert!(self.cell(cell)[0] != 0, "a free cell relocated");
        let target = match self.fullest_other_page(page) {
            Some(target) => target,
            None if self.is_worth_emptying(page) => {
                let Page { units, live, .. } = self.pages[page as usize];
                self.add_page(class_of(usize::from(units)), usize::from(live * units) * UNIT)?
            }
            None => return None,
        };
        let new = self.alloc_in(target);
        let from = self.pages[page as usize].cell(cell.unit());
        let to = self.pages[target as usize].cell(new.unit());
        // SAFETY: both are cells of one class, so equally long, of different pages, and `&mut self` is the only access.
        unsafe { to.cast::<u8>().copy_from_nonoverlapping(from.cast(), from.len()) };
        self.free(cell);
        Some(new)
    }

    /// Frees all cells.
    pub fn clear(&mut self) {
        self.free_step(usize::MAX);
    }

    /// Frees all cells of up to `pages` pages, for dropping a large slab in slices; true when no page is left. Between
    /// the steps refs may name cells that are gone.
    pub fn free_step(&mut self, pages: usize) -> bool {
        for _ in 0..pages {
            // The last one is never vacant.
            let Some(last) = self.places.len().checked_sub(1) else {
                break;
            };
            self.release(last as u32);
        }
        self.pages.is_empty()
    }

    /// For tests: panics unless the invariants hold, every live cell's byte 0 included. Visits every cell.
    pub fn validate(&self) {
        assert_eq!(self.pages.len(), self.places.len());
        let mut held = vec![(0, 0); self.classes.len()];
        let mut page_bytes = 0;
        for (page, place) in self.pages.iter().zip(&self.places) {
            if place.length == 0 {
                assert!(page.live == 0 && page.bump == 0 && place.bucket == UNLISTED);
                continue;
            }
            let slot = usize::from(place.slot);
            assert_eq!(page.units, self.classes[slot].units);
            page.validate(usize::from(place.length) / UNIT);
            let bucket = match page.free_head {
                FULL => UNLISTED,
                _ => (page.live >> self.classes[slot].shift) as u8,
            };
            assert_eq!(place.bucket, bucket, "a page in the wrong bucket");
            held[slot].0 += u32::from(page.live);
            held[slot].1 += u32::from(place.length / (page.units * UNIT as u16));
            page_bytes += usize::from(place.length);
        }
        assert_eq!(self.page_bytes, page_bytes);
        let (mut live_bytes, mut cell_bytes, mut listed) = (0, 0, 0);
        for (class, &held) in self.classes.iter().zip(&held) {
            assert_eq!((class.live, class.cells), held, "a class's totals");
            live_bytes += held.0 as usize * usize::from(class.units) * UNIT;
            cell_bytes += held.1 as usize * usize::from(class.units) * UNIT;
            listed += self.validate_rings(class);
        }
        assert_eq!(self.live_bytes, live_bytes);
        assert_eq!(self.cell_bytes, cell_bytes);
        assert_eq!(self.record_bytes, self.bytes_of_records());
        let stands = |place: &&Place| place.bucket != UNLISTED;
        assert_eq!(listed, self.places.iter().filter(stands).count());
        let vacant = (0u32..).zip(&self.places).filter(|(_, place)| place.length == 0).map(|(number, _)| number);
        assert!(self.vacant.iter().eq(vacant), "vacant numbers");
        assert!(self.places.last().is_none_or(|place| place.length != 0), "a vacant number at the end");
    }

    /// The number of pages in a class's buckets.
    fn validate_rings(&self, class: &Class) -> usize {
        let mut listed = 0;
        for bucket in (0..BUCKETS).filter(|bucket| class.filled >> bucket & 1 == 1) {
            let head = class.heads[bucket];
            let mut number = head;
            loop {
                let place = &self.places[number as usize];
                assert_eq!(usize::from(place.bucket), bucket);
                assert_eq!(self.places[place.next as usize].previous, number);
                listed += 1;
                assert!(listed <= self.places.len(), "a ring that does not close");
                number = place.next;
                if number == head {
                    break;
                }
            }
        }
        listed
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Cells of a page.
impl Slab {
    /// Takes a place of a page that stands in a bucket.
    #[inline]
    fn alloc_in(&mut self, number: u32) -> Ref {
        let page = &mut self.pages[number as usize];
        let place = &self.places[number as usize];
        let page_units = usize::from(place.length) / UNIT;
        let unit = if page.free_head < EMPTY_LIST {
            page.free_head
        } else {
            // Even a list of free cells that a stale ref's owner wrote over must not lead beyond the page.
            assert!(page.has_unused(page_units), "a page without a free place");
            page.bump += page.units;
            page.bump - page.units
        };
        // SAFETY: `&mut self` is the only access to the pages.
        let bytes = unsafe { page.cell(unit).as_mut() };
        if page.free_head == unit {
            page.free_head = u16::from_ne_bytes([bytes[2], bytes[3]]);
        }
        bytes[0] = 1;
        page.live += 1;

        let class = &mut self.classes[usize::from(place.slot)];
        class.live += 1;
        self.live_bytes += usize::from(page.units) * UNIT;
        let is_full = page.free_head == EMPTY_LIST && !page.has_unused(page_units);
        if is_full {
            page.free_head = FULL;
        }
        if is_full || class.is_first_of_bucket(page.live) {
            self.settle(number);
        }
        Ref::new(number, unit)
    }

    /// Puts a page whose live cells changed into its bucket, or gives it back if it is empty.
    #[inline(never)]
    fn settle(&mut self, number: u32) {
        let page = &self.pages[number as usize];
        let place = &self.places[number as usize];
        if page.live == 0 {
            return self.release(number);
        }
        let class = &self.classes[usize::from(place.slot)];
        let bucket = match page.free_head {
            FULL => UNLISTED,
            _ => (page.live >> class.shift) as u8,
        };
        let old = place.bucket;
        if bucket != old {
            self.unlink(number);
            if bucket != UNLISTED {
                // A page that was full goes first too: its freed cell is in the cache.
                let goes_down = old != UNLISTED && bucket < old;
                self.link(number, bucket, !goes_down);
            }
        }
    }
}

/// Pages of a class.
impl Slab {
    /// Adds a page of about `due` bytes and puts it into a bucket; its number.
    #[cold]
    fn add_page(&mut self, class: usize, due: usize) -> Option<u32> {
        let slot = self.slot_of(class);
        let units = CLASS_UNITS[class];
        let size = usize::from(units) * UNIT;
        let length = page_length(due, size);
        let number = self.take_number()?;
        let base = match source_of(length) {
            Source::Page => self.regions.take(),
            Source::Block(length) => self.regions.take_block(length),
        };
        let Some(base) = base else {
            self.give_number(number);
            return None;
        };
        self.pages[number as usize] = Page { base, units, free_head: EMPTY_LIST, bump: 0, live: 0 };
        self.places[number as usize] =
            Place { next: NO_PAGE, previous: NO_PAGE, length: length as u16, slot: slot as u8, bucket: UNLISTED };
        self.page_bytes += length;
        self.cell_bytes += length / size * size;
        self.classes[slot].cells += (length / size) as u32;
        self.link(number, 0, true);
        Some(number)
    }

    /// Gives a page's memory back, whatever is in it, and makes its number vacant.
    fn release(&mut self, number: u32) {
        self.unlink(number);
        if self.draining == number {
            self.draining = NO_PAGE;
        }
        let place = &mut self.places[number as usize];
        let (length, slot) = (usize::from(place.length), usize::from(place.slot));
        place.length = 0;
        let page = std::mem::replace(&mut self.pages[number as usize], Page::VACANT);

        let size = usize::from(page.units) * UNIT;
        let class = &mut self.classes[slot];
        class.live -= u32::from(page.live);
        class.cells -= (length / size) as u32;
        self.live_bytes -= usize::from(page.live) * size;
        self.cell_bytes -= length / size * size;
        self.page_bytes -= length;
        // SAFETY: the record is gone, so nothing names the memory; it came from where it goes, as its length tells.
        unsafe {
            match source_of(length) {
                Source::Page => self.regions.give(page.base),
                Source::Block(length) => self.regions.give_block(page.base, length),
            }
        }
        self.give_number(number);
    }

    /// Moves a page that is a block to another block of this length, which nobody else uses.
    fn move_page(&mut self, number: u32, block: usize, to: NonNull<u8>) {
        let from = std::mem::replace(&mut self.pages[number as usize].base, to);
        let length = usize::from(self.places[number as usize].length);
        // SAFETY: both blocks are the slab's, of `block` bytes, which `length` is not above, and apart. The old one came
        // from where it goes, and nothing names it any more.
        unsafe {
            to.copy_from_nonoverlapping(from, length);
            self.regions.give_block(from, block);
        }
    }

    /// Bytes that the next page of a class should have: a part of what there is.
    #[inline]
    fn due_bytes(&self, slot: u8) -> usize {
        let held = |class: &Class| class.cells as usize * usize::from(class.units) * UNIT;
        self.classes.get(usize::from(slot)).map_or(0, held) / GROWTH
    }

    /// A number for a page, the lowest that is vacant; `None` if there are too many.
    fn take_number(&mut self) -> Option<u32> {
        if let Some(number) = self.vacant.pop() {
            return Some(number);
        }
        if self.pages.len() >= MAX_PAGES {
            return None;
        }
        if self.pages.len() == self.pages.capacity() {
            // Doubling would leave half of the records unused, which small pages make felt.
            let more = self.pages.len() / 16 + 4;
            self.pages.reserve_exact(more);
            self.places.reserve_exact(more);
            self.record_bytes = self.bytes_of_records();
        }
        self.pages.push(Page::VACANT);
        self.places.push(Place::VACANT);
        Some((self.pages.len() - 1) as u32)
    }

    /// Takes back the number of a page that is gone. The records of vacant numbers at the end go, too.
    fn give_number(&mut self, number: u32) {
        const KEPT: usize = 16;
        if number as usize + 1 < self.places.len() {
            self.vacant.insert(number);
            self.record_bytes = self.bytes_of_records();
            return;
        }
        let in_use = self.places.iter().rposition(|place| place.length != 0).map_or(0, |last| last + 1);
        self.pages.truncate(in_use);
        self.places.truncate(in_use);
        self.vacant.truncate(in_use);
        if self.pages.capacity() - in_use > in_use / 8 + KEPT {
            self.pages.shrink_to(in_use + in_use / 16 + KEPT / 2);
            self.places.shrink_to(in_use + in_use / 16 + KEPT / 2);
        }
        self.record_bytes = self.bytes_of_records();
    }

    /// The place of a class in `classes`, made at its first use.
    fn slot_of(&mut self, class: usize) -> usize {
        if self.slots[class] == NO_SLOT {
            self.slots[class] = self.classes.len() as u8;
            self.classes.push(Class::new(CLASS_UNITS[class]));
            self.record_bytes = self.bytes_of_records();
        }
        usize::from(self.slots[class])
    }

    /// The page of the same class that an allocation would take if there were not `page`.
    fn fullest_other_page(&self, page: u32) -> Option<u32> {
        let place = &self.places[page as usize];
        let class = &self.classes[usize::from(place.slot)];
        let mut filled = class.filled;
        while filled != 0 {
            let bucket = filled.ilog2() as usize;
            let head = class.heads[bucket];
            if head != page {
                return Some(head);
            }
            if place.next != page {
                return Some(place.next);
            }
            filled ^= 1 << bucket;
        }
        None
    }

    /// Whether moving all cells of a page away saves memory that is worth the moves.
    fn is_worth_emptying(&self, page: u32) -> bool {
        let place = &self.places[page as usize];
        let class = &self.classes[usize::from(place.slot)];
        let size = usize::from(class.units) * UNIT;
        let cells = class.cells as usize;
        let free = cells - class.live as usize;
        if free * SPARE_SHARE <= cells {
            return false;
        }
        // What the other pages' free places do not hold goes to a new page, if that is smaller by half and holds all of it.
        let length = usize::from(place.length);
        let shortfall = (length / size).saturating_sub(free);
        let new = page_length(shortfall * size, size);
        shortfall == 0 || new * 2 <= length && new / size >= shortfall
    }

    /// Puts a page into a bucket's ring, as its first or its last.
    fn link(&mut self, number: u32, bucket: u8, first: bool) {
        let slot = usize::from(self.places[number as usize].slot);
        let class = &mut self.classes[slot];
        let head = &mut class.heads[usize::from(bucket)];
        if class.filled & 1 << bucket == 0 {
            class.filled |= 1 << bucket;
            *head = number;
            self.places[number as usize].join(bucket, number, number);
            return;
        }
        let next = *head;
        if first {
            *head = number;
        }
        let previous = self.places[next as usize].previous;
        self.places[next as usize].previous = number;
        self.places[previous as usize].next = number;
        self.places[number as usize].join(bucket, next, previous);
    }

    /// Takes a page out of its bucket's ring, if it is in one.
    fn unlink(&mut self, number: u32) {
        let place = &mut self.places[number as usize];
        let (bucket, next, previous) = (place.bucket, place.next, place.previous);
        if bucket == UNLISTED {
            return;
        }
        place.bucket = UNLISTED;
        let class = &mut self.classes[usize::from(place.slot)];
        if next == number {
            class.filled &= !(1 << bucket);
            return;
        }
        let head = &mut class.heads[usize::from(bucket)];
        if *head == number {
            *head = next;
        }
        self.places[next as usize].previous = previous;
        self.places[previous as usize].next = next;
    }
}

impl Page {
    /// A record without a page: no cell fits below its `bump`.
    const VACANT: Page = Page { base: NonNull::dangling(), units: MAX_UNITS as u16, free_head: FULL, bump: 0, live: 0 };

    /// The cell at a unit. Panics unless it ends at or below `bump`, hence in the page.
    #[inline]
    fn cell(&self, unit: u16) -> NonNull<[u8]> {
        let (unit, units) = (usize::from(unit), usize::from(self.units));
        assert!(unit + units <= usize::from(self.bump), "no such cell");
        // SAFETY: the page holds `bump` units at least.
        let start = unsafe { self.base.add(unit * UNIT) };
        NonNull::slice_from_raw_parts(start, units * UNIT)
    }

    /// Panics unless the cells of a page of so many units agree with its record.
    fn validate(&self, page_units: usize) {
        assert!(self.live > 0 && usize::from(self.bump) <= page_units);
        assert_eq!(self.bump % self.units, 0);
        // SAFETY: the caller holds a reference to the slab, and the page's bytes are initialized.
        let bytes = |unit| unsafe { self.cell(unit).as_ref() };
        let used = (0..self.bump).step_by(usize::from(self.units));
        let live = used.clone().filter(|&unit| bytes(unit)[0] != 0).count();
        assert_eq!(live, usize::from(self.live), "live cells and byte 0");
        let mut free = 0;
        let mut unit = self.free_head;
        while unit < EMPTY_LIST {
            assert_eq!((unit % self.units, bytes(unit)[0]), (0, 0), "a free cell");
            free += 1;
            assert!(free + live <= used.len(), "a list of too many free cells");
            unit = u16::from_ne_bytes([bytes(unit)[2], bytes(unit)[3]]);
        }
        assert_eq!(free + live, used.len(), "a free cell that is not listed");
        let is_full = free == 0 && !self.has_unused(page_units);
        assert_eq!(self.free_head == FULL, is_full);
    }

    /// Whether a never used cell is left, in a page of so many units.
    #[inline]
    fn has_unused(&self, page_units: usize) -> bool {
        usize::from(self.bump) + usize::from(self.units) <= page_units
    }
}

impl Place {
    const VACANT: Place = Place { next: NO_PAGE, previous: NO_PAGE, length: 0, slot: 0, bucket: UNLISTED };

    fn join(&mut self, bucket: u8, next: u32, previous: u32) {
        self.bucket = bucket;
        self.next = next;
        self.previous = previous;
    }
}

impl Class {
    fn new(units: u16) -> Class {
        let most_live = PAGE_UNITS / usize::from(units) - 1;
        let excess = (most_live / BUCKETS).checked_ilog2();
        Class {
            heads: [NO_PAGE; BUCKETS],
            live: 0,
            cells: 0,
            units,
            shift: excess.map_or(0, |bits| bits as u8 + 1),
            filled: 0,
        }
    }

    #[inline]
    fn fullest_bucket(&self) -> usize {
        self.filled.ilog2() as usize
    }

    /// Whether no fewer live cells belong to the same bucket.
    #[inline]
    fn is_first_of_bucket(&self, live: u16) -> bool {
        live & ((1 << self.shift) - 1) == 0
    }
}

const _: () = assert!(CLASSES < u128::BITS as usize && CLASSES < NO_SLOT as usize);
const _: () = assert!(size_of::<Page>() == 16 && size_of::<Place>() == 12);
const _: () = assert!(class_units(MAX_UNITS) == MAX_UNITS);
