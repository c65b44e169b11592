//! Which segments have a deadline: ordered, so that a sweep visits only those in which something is due, and marked
//! in a bit map, so that each of them can be drawn alike.
//!
//! Invariants: a segment stands in `ordered` at most once, and is marked just while it does; `earliest` is the first
//! of `ordered`.

use std::collections::BTreeSet;

use super::NO_DEADLINE;
use crate::heap::Mover;

/// See the module's page.
#[repr(C)]
pub(super) struct Deadlines {
    /// [`NO_DEADLINE`] for none. It is read by each look-up, beside what stands before it in the index.
    earliest: u64,
    ordered: BTreeSet<(u64, u32)>,
    /// A bit per segment.
    marks: Vec<u64>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { earliest: NO_DEADLINE, ordered: BTreeSet::new(), marks: Vec::new() }
    }
}

impl Deadlines {
    /// Bytes, with what a tree takes per element on average.
    pub(super) fn memory(&self) -> usize {
        const PER_ELEMENT: usize = 24;
        self.ordered.len() * PER_ELEMENT + self.marks.len() * size_of::<u64>()
    }

    pub(super) fn settle(&mut self, mover: &mut Mover) {
        mover.vec(&mut self.marks);
    }

    pub(super) fn insert(&mut self, at: u64, segment: u32) {
        self.ordered.insert((at, segment));
        self.earliest = self.earliest.min(at);
        let word = segment as usize / 64;
        if word >= self.marks.len() {
            self.marks.resize(word + 1, 0);
        }
        self.marks[word] |= 1 << (segment % 64);
    }

    pub(super) fn remove(&mut self, at: u64, segment: u32) {
        self.ordered.remove(&(at, segment));
        self.marks[segment as usize / 64] &= !(1 << (segment % 64));
        if self.earliest == at {
            self.earliest = self.first().map_or(NO_DEADLINE, |(at, _)| at);
        }
    }

    /// The earliest deadline, [`NO_DEADLINE`] for none.
    #[inline]
    pub(super) fn earliest(&self) -> u64 {
        self.earliest
    }

    /// The earliest deadline, and its segment.
    #[inline]
    pub(super) fn first(&self) -> Option<(u64, u32)> {
        self.ordered.first().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.ordered.len()
    }

    /// The segment number `nth` of those with a deadline, in the order of their numbers: 0 is the first.
    pub(super) fn nth(&self, nth: usize) -> Option<u32> {
        let mut left = nth as u32;
        for (at, &marks) in self.marks.iter().enumerate() {
            let here = marks.count_ones();
            if left < here {
                let rest = (0..left).fold(marks, |marks, _| marks & (marks - 1));
                return Some(at as u32 * 64 + rest.trailing_zeros());
            }
            left -= here;
        }
        None
    }

    /// Checks that a segment is listed just if it has a deadline; panics with what is wrong.
    pub(super) fn validate_segment(&self, at: u64, segment: u32) {
        let listed = self.ordered.contains(&(at, segment));
        assert_eq!(listed, at != NO_DEADLINE, "deadlines are listed");
        let marked = self.marks.get(segment as usize / 64).is_some_and(|marks| marks >> (segment % 64) & 1 == 1);
        assert_eq!(listed, marked, "segments with a deadline are marked");
    }

    /// Checks the rest.
    pub(super) fn validate(&self) {
        let marked: u32 = self.marks.iter().map(|marks| marks.count_ones()).sum();
        assert_eq!(marked as usize, self.len(), "only segments with a deadline are marked");
        let earliest = self.first().map_or(NO_DEADLINE, |(at, _)| at);
        assert_eq!(self.earliest, earliest, "the earliest deadline is known");
    }
}
