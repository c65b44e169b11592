//! A segment of an index: one contiguous block of 512 bytes. Its first line holds a one-byte tag per slot (0 marks a free
//! one) and a word of facts (depth, earliest deadline), so that one cache miss decides which slots can match.

use super::{NO_DEADLINE, SLOTS, Slot};
use crate::cpu::matching_bytes;

/// Words 0 to 6 of `head` hold the tags, word 7 the facts: `[47:0] earliest deadline, [55:48] depth, [63] chained`.
#[derive(Clone)]
#[repr(C, align(64))]
pub(super) struct Segment<S> {
    pub(super) head: [u64; 8],
    pub(super) slots: [S; SLOTS],
}

pub(super) const CHAINED: u64 = 1 << 63;

impl<S: Slot> Segment<S> {
    pub(super) fn new(depth: u8) -> Self {
        let mut head = [0; 8];
        head[7] = NO_DEADLINE | (depth as u64) << 48;
        Self { head, slots: [S::default(); SLOTS] }
    }

    #[inline]
    pub(super) fn depth(&self) -> u8 {
        (self.head[7] >> 48) as u8 & 0x7f
    }

    pub(super) fn set_depth(&mut self, depth: u8) {
        self.head[7] = self.head[7] & !(0x7f << 48) | (depth as u64) << 48;
    }

    #[inline]
    pub(super) fn deadline(&self) -> u64 {
        self.head[7] & NO_DEADLINE
    }

    pub(super) fn set_deadline(&mut self, at: u64) {
        self.head[7] = self.head[7] & !NO_DEADLINE | at;
    }

    #[inline]
    pub(super) fn chained(&self) -> bool {
        self.head[7] & CHAINED != 0
    }

    #[inline]
    pub(super) fn set_tag(&mut self, slot: usize, tag: u8) {
        let (word, shift) = (slot / 8, slot % 8 * 8);
        self.head[word] = self.head[word] & !(0xff << shift) | (tag as u64) << shift;
    }

    #[inline]
    pub(super) fn tag(&self, slot: usize) -> u8 {
        (self.head[slot / 8] >> (slot % 8 * 8)) as u8
    }

    /// A bit per slot whose tag is `tag`.
    #[inline]
    pub(super) fn matching(&self, tag: u8) -> u64 {
        matching_bytes(&self.head, tag) & ((1 << SLOTS) - 1)
    }

    #[inline]
    pub(super) fn occupied(&self) -> u64 {
        !self.matching(0) & ((1 << SLOTS) - 1)
    }

    #[inline]
    pub(super) fn count(&self) -> usize {
        self.occupied().count_ones() as usize
    }

    /// Stores in a free slot, if there is one: the first from `home` on, so that a look-up can ask for the line of
    /// the slot before it knows the slot.
    #[inline]
    pub(super) fn put(&mut self, home: usize, tag: u8, slot: S) -> Option<u8> {
        let free = self.matching(0);
        if free == 0 {
            return None;
        }
        let from_home = free >> home << home;
        let place = if from_home != 0 { from_home } else { free }.trailing_zeros() as usize;
        self.set_tag(place, tag);
        self.slots[place] = slot;
        Some(place as u8)
    }
}

/// The tag of a hash: eight bits that the directory does not use soon, never 0.
#[inline]
pub(super) fn tag_of(hash: u64) -> u8 {
    ((hash >> 8) as u8).max(1)
}

/// The slot from which on an element is stored: the first of one of the segment's seven lines.
#[inline]
pub(super) fn home_of(hash: u64) -> usize {
    (hash >> 17 & 0xff) as usize * 7 >> 8 << 3
}

/// The slots of one segment, and which of them have the tag that is looked for.
pub struct Candidates<'a, S> {
    pub(super) slots: &'a mut [S; SLOTS],
    pub(super) marks: u64,
    /// Whether the search goes on in an overflow chain.
    pub chained: bool,
}

impl<S> Candidates<'_, S> {
    /// The next candidate.
    #[inline]
    pub fn next_slot(&mut self) -> Option<&mut S> {
        if self.marks == 0 {
            return None;
        }
        let slot = self.marks.trailing_zeros() as usize;
        self.marks &= self.marks - 1;
        self.slots.get_mut(slot)
    }
}
