//! A walk over all records of a dictionary, segment by segment.

use super::{Dict, Record};
use crate::cpu::prefetch;
use crate::index::SLOTS;
use crate::slab::Ref;

/// See [`Dict::iter`].
pub struct Iter<'a> {
    dict: &'a Dict,
    /// The segment after the one that is shown.
    segment: usize,
    /// Records of the segment that is shown: the next ones from `next` to `end`.
    slots: [u32; SLOTS],
    next: usize,
    end: usize,
}

impl<'a> Iter<'a> {
    pub(super) fn new(dict: &'a Dict) -> Self {
        Self { dict, segment: 0, slots: [0; SLOTS], next: 0, end: 0 }
    }

    /// Begins another segment, and asks for all its records, so that their cache misses overlap.
    fn advance(&mut self) {
        (self.next, self.end) = (0, 0);
        for (_, slot) in self.dict.index.slots(self.segment as u32) {
            prefetch(self.dict.records.address(Ref::from_bits(slot)));
            self.slots[self.end] = slot;
            self.end += 1;
        }
        self.segment += 1;
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        while self.next == self.end {
            if self.segment == self.dict.index.segments() {
                return None;
            }
            self.advance();
        }
        self.next += 1;
        Some(self.dict.records.read(Ref::from_bits(self.slots[self.next - 1])))
    }
}
