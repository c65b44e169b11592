//! Which parts of pages are taken: a page of which less is wanted is divided into blocks, multiples of 128 bytes.
//!
//! Small pages of slabs are made of these, and not of the global allocator's memory, which would not give back what
//! lies free between what is in use. All slabs share the divided pages, so that sizes that are not in fashion any more
//! leave room for others.
//!
//! A block goes into the shortest stretch of free units that has room for it: of the pages whose longest stretch is just long
//! enough, into the one with the fewest free units, the first of several. So pages with few blocks drain. Invariants: a
//! page is divided while at least one block of it is taken; it stands in `open` under its longest free stretch.

use std::collections::BTreeSet;

use super::PAGE;

/// Blocks are so many bytes long, or a multiple.
pub const BLOCK_UNIT: usize = 128;
const UNITS: usize = PAGE / BLOCK_UNIT;

/// A bit per unit of a page.
type Units = u128;
const _: () = assert!(Units::BITS as usize == UNITS);

/// See the module's page. Pages are known by their numbers.
#[derive(Debug)]
pub(super) struct Blocks {
    /// What is taken of each page; nothing of those that are not divided.
    taken: Vec<Units>,
    divided: usize,
    taken_units: usize,
    /// By the length of the longest free stretch: the pages that have one, those with the fewest free units first.
    open: [BTreeSet<(u32, usize)>; UNITS],
    /// Bit `n` is set if `open[n]` is not empty.
    lengths: Units,
}

impl Default for Blocks {
    fn default() -> Self {
        let open = std::array::from_fn(|_| BTreeSet::new());
        Self { taken: Vec::new(), divided: 0, taken_units: 0, open, lengths: 0 }
    }
}

/// Units of a block of so many bytes.
fn units_of(length: usize) -> usize {
    debug_assert!(length.is_multiple_of(BLOCK_UNIT) && 0 < length && length < PAGE);
    length / BLOCK_UNIT
}

/// So many units from unit `at` on.
fn stretch(at: usize, units: usize) -> Units {
    ((1 << units) - 1) << at
}

/// The stretches of free units: where each begins and how long it is.
fn free_stretches(taken: Units) -> impl Iterator<Item = (usize, usize)> {
    let mut free = !taken;
    std::iter::from_fn(move || {
        let at = free.trailing_zeros();
        let units = (free.checked_shr(at)?).trailing_ones();
        // All that is below the stretch's end is done.
        free &= Units::MAX.checked_shl(at + units).unwrap_or(0);
        Some((at as usize, units as usize))
    })
}

/// Under which length a page stands in `open`, and how: not at all if it is whole or full.
fn listing(page: usize, taken: Units) -> Option<(usize, (u32, usize))> {
    let longest = free_stretches(taken).map(|(_, units)| units).max()?;
    (taken != 0).then_some((longest, (taken.count_zeros(), page)))
}

impl Blocks {
    /// Takes a block of a page that is divided already: the page and the offset in it.
    pub(super) fn take(&mut self, length: usize) -> Option<(usize, usize)> {
        let longest = self.lengths_from(units_of(length)).next()?;
        let (_, page) = *self.open[longest].first()?;
        Some((page, self.take_in(page, length)))
    }

    /// Divides another page, and takes its first block.
    pub(super) fn divide(&mut self, page: usize, length: usize) -> usize {
        if self.taken.len() <= page {
            self.taken.resize(page + 1, 0);
        }
        self.divided += 1;
        self.take_in(page, length)
    }

    fn take_in(&mut self, page: usize, length: usize) -> usize {
        let (taken, units) = (self.taken[page], units_of(length));
        let has_room = |&(_, free): &(usize, usize)| free >= units;
        let place = free_stretches(taken).filter(has_room).min_by_key(|&(_, free)| free);
        let (at, _) = place.unwrap_or_else(|| unreachable!("a page that was listed as having room"));
        self.update(page, taken | stretch(at, units));
        at * BLOCK_UNIT
    }

    /// Takes a block that can replace this one so that the page of this one may drain: a fuller page has it.
    pub(super) fn take_fuller(&mut self, page: usize, length: usize) -> Option<(usize, usize)> {
        // Of two pages alike the younger drains, so that no block goes to and fro.
        let here = (self.taken[page].count_zeros(), page);
        // What has less room than the mean is rather one that others fill.
        if here.0 as usize * self.divided <= self.divided * UNITS - self.taken_units {
            return None;
        }
        let is_fuller = |other: &&(u32, usize)| **other < here;
        let mut lengths = self.lengths_from(units_of(length));
        let (_, to) = *lengths.find_map(|longest| self.open[longest].first().filter(is_fuller))?;
        Some((to, self.take_in(to, length)))
    }

    /// The lengths of longest stretches, from `units` on, that pages have.
    fn lengths_from(&self, units: usize) -> impl Iterator<Item = usize> + use<> {
        let mut left = self.lengths & Units::MAX << units;
        std::iter::from_fn(move || {
            let length = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            (length < UNITS).then_some(length)
        })
    }

    /// Bytes that are free in divided pages.
    pub(super) fn free_bytes(&self) -> usize {
        (self.divided * UNITS - self.taken_units) * BLOCK_UNIT
    }

    /// Takes a block back; whether nothing of its page is taken any more. Panics if the block was not taken.
    pub(super) fn give(&mut self, page: usize, offset: usize, length: usize) -> bool {
        let block = stretch(offset / BLOCK_UNIT, units_of(length));
        let taken = self.taken.get(page).copied().unwrap_or_default();
        assert_eq!(taken & block, block, "a block given back twice");
        self.update(page, taken & !block);
        if taken != block {
            return false;
        }
        self.divided -= 1;
        while self.taken.last() == Some(&0) {
            self.taken.pop();
        }
        true
    }

    fn update(&mut self, page: usize, after: Units) {
        let before = std::mem::replace(&mut self.taken[page], after);
        if let Some((longest, entry)) = listing(page, before) {
            self.open[longest].remove(&entry);
            if self.open[longest].is_empty() {
                self.lengths &= !(1 << longest);
            }
        }
        if let Some((longest, entry)) = listing(page, after) {
            self.open[longest].insert(entry);
            self.lengths |= 1 << longest;
        }
        self.taken_units = self.taken_units + after.count_ones() as usize - before.count_ones() as usize;
    }

    /// Bytes that are taken.
    #[cfg(test)]
    pub(super) fn taken_bytes(&self) -> usize {
        self.taken_units * BLOCK_UNIT
    }

    /// Pages that are divided.
    #[cfg(test)]
    pub(super) fn pages(&self) -> usize {
        self.divided
    }

    /// Panics unless the invariants at the top hold.
    #[cfg(test)]
    pub(super) fn validate(&self) {
        let mut open = Self::default().open;
        for (page, &taken) in self.taken.iter().enumerate() {
            if let Some((longest, entry)) = listing(page, taken) {
                open[longest].insert(entry);
            }
        }
        assert_eq!(self.open, open);
        assert!((0..UNITS).all(|length| self.lengths >> length & 1 == u128::from(!open[length].is_empty())));
        assert_eq!(self.taken.iter().filter(|taken| **taken != 0).count(), self.divided);
        assert_eq!(self.taken.iter().map(|taken| taken.count_ones() as usize).sum::<usize>(), self.taken_units);
        assert_ne!(self.taken.last(), Some(&0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn blocks_are_disjoint_and_pages_drain() {
        let (mut blocks, mut rng, mut held) = (Blocks::default(), Rng::seeded(1), Vec::new());
        let mut next_page = 0;
        for step in 0..20_000 {
            if rng.below(2) == 0 || held.is_empty() {
                let length = BLOCK_UNIT * (1 + rng.index(64));
                let (page, offset) = blocks.take(length).unwrap_or_else(|| {
                    next_page += 1;
                    (next_page, blocks.divide(next_page, length))
                });
                assert!(offset % BLOCK_UNIT == 0 && offset + length <= PAGE);
                let apart = |&(other, at, bytes): &(usize, usize, usize)| {
                    other != page || at + bytes <= offset || offset + length <= at
                };
                assert!(held.iter().all(apart), "a block is in use once");
                held.push((page, offset, length));
            } else {
                let (page, offset, length) = held.swap_remove(rng.index(held.len()));
                let rest = held.iter().any(|&(other, ..)| other == page);
                assert_eq!(blocks.give(page, offset, length), !rest);
            }
            if step % 16 == 0 {
                blocks.validate();
                assert_eq!(blocks.taken_bytes(), held.iter().map(|&(_, _, length)| length).sum::<usize>());
            }
        }
        for (page, offset, length) in held {
            blocks.give(page, offset, length);
        }
        assert_eq!(blocks.pages(), 0);
    }

    #[test]
    fn blocks_gather_in_few_pages() {
        let (mut blocks, mut rng) = (Blocks::default(), Rng::seeded(1));
        let mut held: Vec<(usize, usize, usize)> = Vec::new();
        for page in 0..500 {
            let length = BLOCK_UNIT * (1 + rng.index(64));
            held.push((page, blocks.divide(page, length), length));
        }
        // Each goes on while one of them finds a better place.
        let mut moved = true;
        while moved {
            moved = false;
            for block in &mut held {
                if let Some((page, offset)) = blocks.take_fuller(block.0, block.2) {
                    blocks.give(block.0, block.1, block.2);
                    (block.0, block.1, moved) = (page, offset, true);
                }
            }
            blocks.validate();
        }
        let bytes: usize = held.iter().map(|&(_, _, length)| length).sum();
        assert!(blocks.free_bytes() * 10 < bytes, "{} of {bytes} bytes", blocks.free_bytes());
    }

    #[test]
    fn the_shortest_stretch_that_has_room_is_taken() {
        let mut blocks = Blocks::default();
        assert_eq!(blocks.take(1024), None);
        assert_eq!(blocks.divide(7, 1024), 0);
        assert_eq!(blocks.take(8192), Some((7, 1024)));
        assert_eq!(blocks.take(2048), Some((7, 9216)));
        assert_eq!(blocks.take(8192), None, "5 KiB are left");
        assert!(!blocks.give(7, 0, 1024));
        assert_eq!(blocks.take(128), Some((7, 0)), "not of the 5 KiB");
        assert_eq!(blocks.take(1024), Some((7, 11_264)));
        assert_eq!(blocks.divide(9, 8192), 0);
        assert_eq!(blocks.take(4096), Some((7, 12_288)), "not of the 8 KiB");
        assert_eq!(blocks.take(896), Some((7, 128)));
        assert_eq!(blocks.take(128), Some((9, 8192)), "the other page is full");
        assert!(!blocks.give(9, 8192, 128));
        assert!(blocks.give(9, 0, 8192));
        assert_eq!(blocks.pages(), 1);
        blocks.validate();
    }

    #[test]
    fn free_stretches_are_found() {
        let stretches = |taken| free_stretches(taken).collect::<Vec<_>>();
        assert_eq!(stretches(0), [(0, UNITS)]);
        assert_eq!(stretches(Units::MAX), []);
        assert_eq!(stretches(stretch(3, 2) | stretch(9, UNITS - 10)), [(0, 3), (5, 4), (UNITS - 1, 1)]);
        assert_eq!(stretches(1 << 127 | 1), [(1, 126)]);
    }

    #[test]
    #[should_panic(expected = "given back twice")]
    fn a_block_goes_back_once() {
        let mut blocks = Blocks::default();
        blocks.divide(1, 2048);
        blocks.take(2048);
        blocks.give(1, 0, 2048);
        blocks.give(1, 0, 2048);
    }
}
