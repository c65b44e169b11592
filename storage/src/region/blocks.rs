//! Which parts of pages are taken: a page of which less is wanted is divided into blocks of 1, 2, 4 and 8 KiB.
//!
//! Small pages of slabs are made of these, and not of the global allocator's memory, which would not give back what
//! lies free between what is in use. All slabs share the divided pages, so that sizes that are not in fashion any more
//! leave room for others.
//!
//! A block goes to the page with the least room that has enough, the first of several, and so pages with few
//! blocks drain. Invariants: a page is known while at least one block of it is taken; it stands in `open` under the
//! largest block that it has room for.

use std::collections::{BTreeMap, BTreeSet};

use super::PAGE;

/// Bytes of the smallest block.
pub const SMALLEST_BLOCK: usize = 1024;
const UNITS: usize = PAGE / SMALLEST_BLOCK;
/// Sizes of blocks, each twice the one before.
const ORDERS: usize = UNITS.ilog2() as usize;

/// See the module's page. Pages are known by their numbers.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// A bit per unit that is taken.
    taken: BTreeMap<usize, u16>,
    taken_units: usize,
    /// Per order, the pages whose largest free block has it, those with the fewest free units first.
    open: [BTreeSet<(u32, usize)>; ORDERS],
}

/// The order of blocks of so many bytes: 0 for the smallest.
fn order_of(length: usize) -> usize {
    debug_assert!(length.is_power_of_two() && (SMALLEST_BLOCK..PAGE).contains(&length));
    (length / SMALLEST_BLOCK).ilog2() as usize
}

/// The units of a block of an order that begins at unit `at`.
fn units(order: usize, at: usize) -> u16 {
    (((1u32 << (1 << order)) - 1) << at) as u16
}

/// Where blocks of an order may begin, in a page of which `taken` is taken.
fn free_places(taken: u16, order: usize) -> impl Iterator<Item = usize> {
    (0..UNITS).step_by(1 << order).filter(move |at| taken & units(order, *at) == 0)
}

fn free_units(taken: u16) -> u32 {
    taken.count_zeros()
}

fn largest_free(taken: u16) -> Option<usize> {
    (0..ORDERS).rev().find(|order| free_places(taken, *order).next().is_some())
}

impl Blocks {
    /// Takes a block of a page that is divided already: the page and the offset in it.
    pub(super) fn take(&mut self, length: usize) -> Option<(usize, usize)> {
        let order = order_of(length);
        let (_, page) = *self.open[order..].iter().find_map(BTreeSet::first)?;
        Some((page, self.take_in(page, order)))
    }

    /// Divides another page, and takes its first block.
    pub(super) fn divide(&mut self, page: usize, length: usize) -> usize {
        self.taken.insert(page, 0);
        self.take_in(page, order_of(length))
    }

    fn take_in(&mut self, page: usize, order: usize) -> usize {
        let taken = self.taken.get(&page).copied().unwrap_or_default();
        // The other half of a larger block that is broken already.
        let is_broken = |at: &usize| taken & units(order, at ^ 1 << order) != 0;
        let place = free_places(taken, order).find(is_broken).or_else(|| free_places(taken, order).next());
        let at = place.unwrap_or_default();
        self.update(page, taken, taken | units(order, at));
        at * SMALLEST_BLOCK
    }

    /// Takes a block that can replace this one so that the page of this one may drain: a fuller page has it.
    pub(super) fn take_fuller(&mut self, page: usize, length: usize) -> Option<(usize, usize)> {
        let order = order_of(length);
        // Of two pages alike the younger drains, so that no block goes to and fro.
        let here = (free_units(self.taken.get(&page).copied().unwrap_or_default()), page);
        let is_fuller = |other: &&(u32, usize)| **other < here;
        let (_, to) = *self.open[order..].iter().find_map(|pages| pages.first().filter(is_fuller))?;
        Some((to, self.take_in(to, order)))
    }

    /// Bytes that are free in divided pages.
    pub(super) fn free_bytes(&self) -> usize {
        (self.taken.len() * UNITS - self.taken_units) * SMALLEST_BLOCK
    }

    /// Takes a block back; whether nothing of its page is taken any more. Panics if the block was not taken.
    pub(super) fn give(&mut self, page: usize, offset: usize, length: usize) -> bool {
        let block = units(order_of(length), offset / SMALLEST_BLOCK);
        let taken = self.taken.get(&page).copied().unwrap_or_default();
        assert_eq!(taken & block, block, "a block given back twice");
        self.update(page, taken, taken & !block);
        taken == block
    }

    fn update(&mut self, page: usize, before: u16, after: u16) {
        if let Some(order) = largest_free(before) {
            self.open[order].remove(&(free_units(before), page));
        }
        self.taken_units = self.taken_units + after.count_ones() as usize - before.count_ones() as usize;
        if after == 0 {
            self.taken.remove(&page);
            return;
        }
        self.taken.insert(page, after);
        if let Some(order) = largest_free(after) {
            self.open[order].insert((free_units(after), page));
        }
    }

    /// Bytes that are taken.
    #[cfg(test)]
    pub(super) fn taken_bytes(&self) -> usize {
        self.taken_units * SMALLEST_BLOCK
    }

    /// Pages that are divided.
    #[cfg(test)]
    pub(super) fn pages(&self) -> usize {
        self.taken.len()
    }

    /// Panics unless the invariants at the top hold.
    #[cfg(test)]
    pub(super) fn validate(&self) {
        let mut open: [BTreeSet<(u32, usize)>; ORDERS] = Default::default();
        for (&page, &taken) in &self.taken {
            assert_ne!(taken, 0, "a divided page of which nothing is taken");
            if let Some(order) = largest_free(taken) {
                open[order].insert((free_units(taken), page));
            }
        }
        assert_eq!(self.open, open);
        assert_eq!(self.taken.values().map(|taken| taken.count_ones() as usize).sum::<usize>(), self.taken_units);
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
                let length = SMALLEST_BLOCK << rng.below(4);
                let (page, offset) = blocks.take(length).unwrap_or_else(|| {
                    next_page += 1;
                    (next_page, blocks.divide(next_page, length))
                });
                assert_eq!(offset % length, 0);
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
            let length = SMALLEST_BLOCK << rng.below(4);
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
    fn a_large_block_is_broken_only_when_no_smaller_one_is() {
        let mut blocks = Blocks::default();
        assert_eq!(blocks.take(1024), None);
        assert_eq!(blocks.divide(7, 1024), 0);
        assert_eq!(blocks.take(1024), Some((7, 1024)));
        assert_eq!(blocks.take(8192), Some((7, 8192)));
        assert_eq!(blocks.take(1024), Some((7, 2048)));
        assert_eq!(blocks.take(8192), None);
        assert!(!blocks.give(7, 8192, 8192));
        assert_eq!(blocks.take(1024), Some((7, 3072)));
        assert_eq!(blocks.take(4096), Some((7, 4096)));
        assert_eq!(blocks.take(8192), Some((7, 8192)));
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
