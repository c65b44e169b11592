//! Extendible hashing (Fagin, Nievergelt, Pippenger and Strong, 1979) over small contiguous segments.
//!
//! An index maps hashes to *slots*: small copyable words, mostly a reference into a slab. It never sees keys;
//! its callers compare and rehash through closures. A directory, addressed by the top bits of the hash, points to
//! segments of 56 slots; a full segment splits alone, so there is no rehash of the whole and no doubling of its
//! memory. Iteration follows the order of hashes, which splits and merges keep: a SCAN position is a hash.
//!
//! Tag and directory use different bits of the hash.
//!
//! Segments also keep a lower bound of their elements' deadlines, for the sweep of what has expired.
//!
//! Invariants: every segment of depth `d` is reached by exactly `2^(depth - d)` directory places; an element is in
//! the segment (or its overflow chain) that its hash addresses; a segment with a deadline stands in `deadlines`
//! under just that deadline.

mod chunk;
mod deadlines;
mod give_back;
mod random;
mod segment;

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::cpu::prefetch;
use crate::heap::{Movable, MovableVec};
use crate::region::Regions;
use chunk::Chunk;
use deadlines::Deadlines;
pub use segment::Candidates;
use segment::{CHAINED, Segment, home_of, tag_of};

/// Slots of one segment.
pub const SLOTS: usize = 56;
/// Buddies that hold at most this many elements together become one segment.
const MERGE_AT_MOST: usize = 24;
/// Segments of one allocation.
const CHUNK: usize = 32;
/// "No deadline", the largest value that 48 bits hold.
pub const NO_DEADLINE: u64 = (1 << 48) - 1;

/// What an index stores per element.
pub trait Slot: Copy + Default {}
impl Slot for u32 {}
impl Slot for u64 {}

/// Where an element stands; valid until the next insert or remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pos {
    /// The segment's number.
    pub segment: u32,
    /// The slot within the segment, below [`SLOTS`].
    pub slot: u8,
}

/// An extendible hash index; see the module's page. What a look-up reads stands together, in one cache line.
#[repr(C, align(64))]
pub struct Index<S> {
    directory: MovableVec<u32>,
    chunks: MovableVec<Chunk<S>>,
    len: usize,
    depth: u8,
    deadlines: Deadlines,
    free: Vec<u32>,
    /// Segments by depth, to know when the directory can halve.
    at_depth: SmallVec<[u32; 8]>,
    /// Overflow segments of a segment that may not split any more (only under colliding hashes).
    overflow: BTreeMap<u32, Vec<u32>>,
    /// Where chunks may take pages.
    regions: Option<Arc<Regions>>,
}

impl<S: Slot> Default for Index<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Slot> Index<S> {
    /// An empty index; it allocates at its first insert.
    pub fn new() -> Self {
        Self {
            directory: MovableVec::new_in(Movable),
            depth: 0,
            chunks: MovableVec::new_in(Movable),
            free: Vec::new(),
            len: 0,
            at_depth: SmallVec::new(),
            overflow: BTreeMap::new(),
            deadlines: Deadlines::default(),
            regions: None,
        }
    }

    /// The same, whose segments take pages of `regions` where they fill them.
    pub(crate) fn in_regions(regions: Arc<Regions>) -> Self {
        Self { regions: Some(regions), ..Self::new() }
    }

    /// Becomes empty as it was at first.
    fn clear(&mut self) {
        let regions = self.regions.take();
        *self = Self { regions, ..Self::new() };
    }

    /// Elements stored.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of directory and segments, the same for the same operations.
    pub fn memory(&self) -> usize {
        let segments: usize = self.segments() - self.free.len();
        self.directory.len() * size_of::<u32>()
            + self.chunks.len() * size_of::<Chunk<S>>()
            + segments * size_of::<Segment<S>>()
            + self.deadlines.memory()
    }

    #[inline]
    fn place(&self, hash: u64) -> usize {
        (hash >> 1 >> (63 - self.depth)) as usize
    }

    #[inline]
    fn segment(&self, id: u32) -> &Segment<S> {
        &self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    #[inline]
    fn segment_mut(&mut self, id: u32) -> &mut Segment<S> {
        &mut self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    /// The element with this hash for which `eq` holds.
    #[inline]
    pub fn find(&self, hash: u64, mut eq: impl FnMut(S) -> bool) -> Option<Pos> {
        if self.len == 0 {
            return None;
        }
        let id = self.directory[self.place(hash)];
        let segment = self.segment(id);
        // Without a batch nobody has asked for it yet: at least it comes together with the tags.
        prefetch(&raw const segment.slots[home_of(hash)]);
        if let Some(slot) = find_in(segment, hash, &mut eq) {
            return Some(Pos { segment: id, slot });
        }
        if segment.chained() { self.find_in_chain(id, hash, &mut eq) } else { None }
    }

    /// The slots that may hold elements with this hash, but for those of an overflow chain.
    #[inline]
    pub fn candidates(&mut self, hash: u64) -> Option<Candidates<'_, S>> {
        if self.len == 0 {
            return None;
        }
        let id = self.directory[self.place(hash)];
        let segment = self.segment_mut(id);
        // Without a batch nobody has asked for it yet: at least it comes together with the tags.
        prefetch(&raw const segment.slots[home_of(hash)]);
        let (marks, chained) = (segment.matching(tag_of(hash)), segment.chained());
        Some(Candidates { slots: &mut segment.slots, marks, chained })
    }

    #[cold]
    fn find_in_chain(&self, id: u32, hash: u64, eq: &mut impl FnMut(S) -> bool) -> Option<Pos> {
        self.overflow
            .get(&id)?
            .iter()
            .find_map(|&segment| find_in(self.segment(segment), hash, eq).map(|slot| Pos { segment, slot }))
    }

    /// The slot at a position.
    #[inline]
    pub fn get(&self, pos: Pos) -> S {
        self.segment(pos.segment).slots[pos.slot as usize]
    }

    /// The slot at a position that may have become invalid, if an element stands there.
    #[inline]
    pub fn occupant(&self, pos: Pos) -> Option<S> {
        let segment = self.chunks.get(pos.segment as usize / CHUNK)?.get(pos.segment as usize % CHUNK)?;
        (segment.tag(pos.slot as usize) != 0).then(|| segment.slots[pos.slot as usize])
    }

    /// Replaces the slot at a position.
    #[inline]
    pub fn set(&mut self, pos: Pos, slot: S) {
        self.segment_mut(pos.segment).slots[pos.slot as usize] = slot;
    }

    /// Stores an element that is known to be absent. A split asks `rehash` for the hash of each element of the
    /// segment, having shown all of them to `ahead`, which may prefetch what `rehash` reads.
    pub fn insert(&mut self, hash: u64, slot: S, rehash: impl Fn(S) -> u64, ahead: impl Fn(S)) -> Pos {
        if self.directory.is_empty() {
            let id = self.new_segment(0);
            self.directory.reserve_exact(1);
            self.directory.push(id);
        }
        self.len += 1;
        loop {
            let id = self.directory[self.place(hash)];
            if let Some(place) = self.segment_mut(id).put(home_of(hash), tag_of(hash), slot) {
                return Pos { segment: id, slot: place };
            }
            if self.segment(id).chained() || !self.may_split(id) {
                return self.insert_in_chain(id, hash, slot);
            }
            self.split(id, hash, &rehash, &ahead);
        }
    }

    /// A directory may have 64 times as many places as there are segments; only colliding hashes want more.
    fn may_split(&self, id: u32) -> bool {
        let depth = self.segment(id).depth();
        depth < self.depth || (depth < 40 && 1 << depth <= 64 * self.segments().max(16))
    }

    #[cold]
    fn insert_in_chain(&mut self, id: u32, hash: u64, slot: S) -> Pos {
        let mut chain = self.overflow.remove(&id).unwrap_or_default();
        self.segment_mut(id).head[7] |= CHAINED;
        let tag = tag_of(hash);
        let found = chain
            .iter()
            .find_map(|&segment| self.segment_mut(segment).put(0, tag, slot).map(|slot| Pos { segment, slot }));
        let pos = found.unwrap_or_else(|| {
            let depth = self.segment(id).depth();
            let segment = self.new_segment(depth);
            self.at_depth[depth as usize] -= 1;
            chain.push(segment);
            self.segment_mut(segment).put(0, tag, slot);
            Pos { segment, slot: 0 }
        });
        self.overflow.insert(id, chain);
        pos
    }

    fn new_segment(&mut self, depth: u8) -> u32 {
        if self.at_depth.len() <= depth as usize {
            self.at_depth.resize(depth as usize + 1, 0);
        }
        self.at_depth[depth as usize] += 1;
        if let Some(id) = self.free.pop() {
            *self.segment_mut(id) = Segment::new(depth);
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            // A chunk grows with its use, so that a small index stays small.
            let capacity = if self.chunks.is_empty() { 1 } else { CHUNK / 8 };
            self.chunks.reserve_exact(if self.chunks.is_empty() { 1 } else { self.chunks.len() / 8 + 1 });
            self.chunks.push(Chunk::new(capacity, self.regions.as_ref()));
        }
        let number = self.chunks.len() - 1;
        let chunk = &mut self.chunks[number];
        if chunk.is_full() {
            chunk.grow(self.regions.as_ref());
        }
        chunk.push(Segment::new(depth));
        (number * CHUNK + chunk.len() - 1) as u32
    }

    fn split(&mut self, id: u32, hash: u64, rehash: &impl Fn(S) -> u64, ahead: &impl Fn(S)) {
        let depth = self.segment(id).depth();
        if depth == self.depth {
            self.replace_directory(2 << depth, |directory, new| {
                new.extend(directory.iter().flat_map(|&id| [id, id]));
            });
            self.depth += 1;
        }
        let new = self.new_segment(depth + 1);
        self.at_depth[depth as usize] -= 1;
        self.at_depth[depth as usize + 1] += 1;
        self.segment_mut(id).set_depth(depth + 1);

        let mut upper = Segment::new(depth + 1);
        let segment = self.segment_mut(id);
        let occupied = segment.occupied();
        (0..SLOTS).filter(|slot| occupied >> slot & 1 == 1).for_each(|slot| ahead(segment.slots[slot]));
        let mut left = occupied;
        while left != 0 {
            let slot = left.trailing_zeros() as usize;
            left &= left - 1;
            if rehash(segment.slots[slot]) << depth >> 63 == 1 {
                upper.set_tag(slot, segment.tag(slot));
                upper.slots[slot] = segment.slots[slot];
                segment.set_tag(slot, 0);
            }
        }
        let deadline = segment.deadline();
        if deadline != NO_DEADLINE {
            upper.set_deadline(deadline);
            self.deadlines.insert(deadline, new);
        }
        *self.segment_mut(new) = upper;

        let width = 1 << (self.depth - depth - 1);
        let first = self.place(hash) / (2 * width) * (2 * width);
        self.directory[first + width..first + 2 * width].fill(new);
    }

    /// Takes the element at `pos`, whose hash is `hash`, out. Others may move.
    pub fn remove(&mut self, pos: Pos, hash: u64) -> S {
        let segment = self.segment_mut(pos.segment);
        let slot = segment.slots[pos.slot as usize];
        segment.set_tag(pos.slot as usize, 0);
        let count = segment.count();
        self.len -= 1;
        if self.len == 0 {
            self.clear();
        } else if count <= MERGE_AT_MOST / 2 {
            let primary = self.directory[self.place(hash)];
            if primary != pos.segment || self.segment(primary).chained() {
                self.shorten_chain(primary, pos.segment, count);
            } else {
                self.merge(primary, hash);
            }
        }
        slot
    }

    #[cold]
    fn shorten_chain(&mut self, primary: u32, id: u32, count: usize) {
        if id == primary || count > 0 {
            return;
        }
        self.drop_deadline(id);
        if let Some(chain) = self.overflow.get_mut(&primary) {
            chain.retain(|&segment| segment != id);
            self.free.push(id);
            if chain.is_empty() {
                self.overflow.remove(&primary);
                self.segment_mut(primary).head[7] &= !CHAINED;
            }
        }
    }

    fn merge(&mut self, mut id: u32, hash: u64) {
        loop {
            let depth = self.segment(id).depth();
            if depth == 0 {
                return;
            }
            let width = 1 << (self.depth - depth);
            let first = self.place(hash) / (2 * width) * (2 * width);
            let (low, high) = (self.directory[first], self.directory[first + width]);
            let (left, right) = (self.segment(low), self.segment(high));
            if left.depth() != right.depth()
                || left.chained()
                || right.chained()
                || left.count() + right.count() > MERGE_AT_MOST
            {
                return;
            }
            self.absorb(low, high);
            self.directory[first + width..first + 2 * width].fill(low);
            self.halve_directory();
            id = low;
        }
    }

    /// Moves all of `high` into its buddy `low`, which takes the place of both.
    fn absorb(&mut self, low: u32, high: u32) {
        let deadline = self.segment(high).deadline();
        self.drop_deadline(high);
        // Nothing may be found in a segment that is not in use.
        let gone = std::mem::replace(self.segment_mut(high), Segment::new(0));
        let depth = gone.depth();
        let segment = self.segment_mut(low);
        segment.set_depth(depth - 1);
        let mut left = gone.occupied();
        while left != 0 {
            let slot = left.trailing_zeros() as usize;
            left &= left - 1;
            // Its own place is near its home.
            segment.put(slot, gone.tag(slot), gone.slots[slot]);
        }
        self.lower_deadline(low, deadline);
        self.free.push(high);
        self.at_depth[depth as usize] -= 2;
        self.at_depth[depth as usize - 1] += 1;
    }

    /// Fills another directory of so many places, and takes it.
    fn replace_directory(&mut self, places: usize, fill: impl FnOnce(&[u32], &mut MovableVec<u32>)) {
        let mut new = MovableVec::with_capacity_in(places, Movable);
        fill(&self.directory, &mut new);
        self.directory = new;
    }

    fn halve_directory(&mut self) {
        while self.depth > 0 && self.at_depth[self.depth as usize] == 0 {
            self.replace_directory(1 << (self.depth - 1), |directory, new| {
                new.extend(directory.iter().copied().step_by(2));
            });
            self.depth -= 1;
        }
    }

    /// Shows every element of the segment at `position` (a hash) to `out`; gives the position after it, 0 at the
    /// end. A pass from 0 to 0 shows each element that was there all the time, whatever came and went meanwhile.
    pub fn scan(&self, position: u64, mut out: impl FnMut(S)) -> u64 {
        if self.len == 0 {
            return 0;
        }
        let id = self.directory[self.place(position)];
        let depth = self.segment(id).depth();
        for member in self.chain(id) {
            self.slots(member).for_each(|(_, slot)| out(slot));
        }
        let shift = 64 - depth as u32;
        (position.checked_shr(shift).unwrap_or(0) + 1).checked_shl(shift).unwrap_or(0)
    }

    fn chain(&self, id: u32) -> impl Iterator<Item = u32> {
        std::iter::once(id).chain(self.overflow.get(&id).into_iter().flatten().copied())
    }

    /// Segment numbers run below this; some of them may be unused and hold no element.
    pub fn segments(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// The elements of one segment.
    pub fn slots(&self, segment: u32) -> impl Iterator<Item = (Pos, S)> {
        let place = self.segment(segment);
        let mut left = place.occupied();
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let slot = left.trailing_zeros() as u8;
            left &= left - 1;
            Some((Pos { segment, slot }, place.slots[slot as usize]))
        })
    }

    /// Asks for all lines of a segment.
    #[inline]
    pub(crate) fn prefetch_segment(&self, segment: u32) {
        const LINE: usize = 64;
        let segment: *const Segment<S> = self.segment(segment);
        (0..size_of::<Segment<S>>()).step_by(LINE).for_each(|at| prefetch(segment.cast::<u8>().wrapping_add(at)));
    }

    /// Changes each slot of a segment in place.
    pub fn update_slots(&mut self, segment: u32, mut change: impl FnMut(S) -> S) {
        let place = self.segment_mut(segment);
        let mut left = place.occupied();
        while left != 0 {
            let slot = left.trailing_zeros() as usize;
            left &= left - 1;
            place.slots[slot] = change(place.slots[slot]);
        }
    }

    /// First step of a batched look-up: asks for the tags of the hash's segment, and for the line of slots where the
    /// element most likely is.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if self.len != 0 {
            let segment = self.segment(self.directory[self.place(hash)]);
            prefetch(&raw const segment.head);
            prefetch(&raw const segment.slots[home_of(hash)]);
        }
    }

    /// Second step: shows the slots whose tags match.
    #[inline]
    pub fn each_candidate(&self, hash: u64, mut each: impl FnMut(S)) {
        if self.len != 0 {
            let segment = self.segment(self.directory[self.place(hash)]);
            let mut left = segment.matching(tag_of(hash));
            while left != 0 {
                each(segment.slots[left.trailing_zeros() as usize]);
                left &= left - 1;
            }
        }
    }

    /// Lowers the deadline of a segment to at most `at` (milliseconds, below [`NO_DEADLINE`]).
    #[inline]
    pub fn lower_deadline(&mut self, segment: u32, at: u64) {
        let before = self.segment(segment).deadline();
        if at < before {
            self.set_deadline(segment, at);
        }
    }

    /// Sets the deadline of a segment, [`NO_DEADLINE`] for none.
    pub fn set_deadline(&mut self, segment: u32, at: u64) {
        self.drop_deadline(segment);
        if at < NO_DEADLINE {
            self.segment_mut(segment).set_deadline(at);
            self.deadlines.insert(at, segment);
        }
    }

    fn drop_deadline(&mut self, segment: u32) {
        let before = self.segment(segment).deadline();
        if before != NO_DEADLINE {
            self.deadlines.remove(before, segment);
            self.segment_mut(segment).set_deadline(NO_DEADLINE);
        }
    }

    /// The earliest deadline of all segments, [`NO_DEADLINE`] for none.
    #[inline]
    pub fn earliest_deadline(&self) -> u64 {
        self.deadlines.earliest()
    }

    /// The earliest deadline of all segments, and that segment.
    #[inline]
    pub fn first_deadline(&self) -> Option<(u64, u32)> {
        self.deadlines.first()
    }

    /// The deadline of a segment, [`NO_DEADLINE`] for none.
    pub fn deadline(&self, segment: u32) -> u64 {
        self.segment(segment).deadline()
    }

    /// How many segments have a deadline.
    pub fn with_deadline(&self) -> usize {
        self.deadlines.len()
    }

    /// The segment number `nth` of those with a deadline, in the order of their numbers: 0 is the first.
    pub fn nth_with_deadline(&self, nth: usize) -> Option<u32> {
        self.deadlines.nth(nth)
    }

    /// Frees up to `chunks` blocks of memory; true when all is freed. For dropping in slices; the index holds
    /// nothing afterwards and may only be freed further.
    pub fn free_step(&mut self, chunks: usize) -> bool {
        self.len = 0;
        self.directory = MovableVec::new_in(Movable);
        self.deadlines = Deadlines::default();
        self.chunks.truncate(self.chunks.len().saturating_sub(chunks));
        if self.chunks.is_empty() {
            self.clear();
        }
        self.chunks.is_empty()
    }

    /// Checks every invariant; panics with what is wrong. For tests.
    pub fn validate(&self, rehash: impl Fn(S) -> u64) {
        if self.len == 0 {
            assert!(self.directory.is_empty() && self.deadlines.len() == 0, "an empty index holds nothing");
            return;
        }
        assert_eq!(self.directory.len(), 1 << self.depth, "the directory has 2^depth places");
        let (mut seen, mut place, mut depths) = (0, 0, [0; 65]);
        while place < self.directory.len() {
            let id = self.directory[place];
            let depth = self.segment(id).depth();
            let width = 1 << (self.depth - depth);
            assert!(self.directory[place..place + width].iter().all(|&other| other == id), "one run per segment");
            assert_eq!(place % width, 0, "runs are aligned");
            depths[depth as usize] += 1;
            for member in self.chain(id) {
                for (pos, slot) in self.slots(member) {
                    let hash = rehash(slot);
                    assert_eq!(self.directory[self.place(hash)], id, "an element is where its hash says");
                    assert_eq!(self.segment(member).tag(pos.slot as usize), tag_of(hash), "tags match");
                    seen += 1;
                }
                self.deadlines.validate_segment(self.segment(member).deadline(), member);
            }
            place += width;
        }
        self.deadlines.validate();
        assert_eq!(seen, self.len, "every element is counted");
        let at_depth = (0..depths.len()).map(|depth| self.at_depth.get(depth).copied().unwrap_or(0));
        assert!(at_depth.eq(depths), "depths are counted");
        assert!(self.depth == 0 || self.at_depth[self.depth as usize] > 0, "the directory is as small as can be");
    }
}

#[inline(always)]
fn find_in<S: Slot>(segment: &Segment<S>, hash: u64, eq: &mut impl FnMut(S) -> bool) -> Option<u8> {
    let mut left = segment.matching(tag_of(hash));
    while left != 0 {
        let slot = left.trailing_zeros() as usize;
        if eq(segment.slots[slot]) {
            return Some(slot as u8);
        }
        left &= left - 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Elements are numbers; their hash spreads them, or (weakly) piles them up.
    fn spread(slot: u32) -> u64 {
        (slot as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn weak(slot: u32) -> u64 {
        (slot as u64 % 3) << 62 | (slot as u64) << 8
    }

    fn check_against_a_set(steps: Vec<(bool, u32)>, hash: fn(u32) -> u64) {
        let (mut index, mut model) = (Index::<u32>::new(), BTreeSet::new());
        for (insert, number) in steps {
            let found = index.find(hash(number), |slot| slot == number);
            assert_eq!(found.is_some(), model.contains(&number));
            match found {
                None if insert => {
                    let pos = index.insert(hash(number), number, hash, |_| {});
                    assert_eq!(index.get(pos), number);
                    index.lower_deadline(pos.segment, number as u64);
                    model.insert(number);
                }
                Some(pos) if !insert => {
                    assert_eq!(index.remove(pos, hash(number)), number);
                    model.remove(&number);
                }
                _ => {}
            }
            assert_eq!(index.len(), model.len());
        }
        index.validate(hash);
        let mut seen = BTreeSet::new();
        let mut position = 0;
        loop {
            position = index.scan(position, |slot| {
                assert!(seen.insert(slot));
            });
            if position == 0 {
                break;
            }
        }
        assert_eq!(seen, model);
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(steps in prop::collection::vec((prop::bool::weighted(0.6), 0u32..2000), 0..6000)) {
            check_against_a_set(steps, spread);
        }

        #[test]
        fn agrees_with_a_set_under_colliding_hashes(
            steps in prop::collection::vec((prop::bool::weighted(0.6), 0u32..600), 0..3000),
        ) {
            check_against_a_set(steps, weak);
        }
    }

    #[test]
    fn a_scan_shows_what_stays_while_the_index_grows_and_shrinks() {
        let mut index = Index::<u32>::new();
        for number in 0..3000 {
            index.insert(spread(number), number, spread, |_| {});
        }
        let (mut seen, mut position, mut step) = (BTreeSet::new(), 0, 0);
        loop {
            position = index.scan(position, |slot| {
                seen.insert(slot);
            });
            if position == 0 {
                break;
            }
            // Numbers below 1000 stay; all others go, one segment's worth at a time, then new ones come.
            for number in 1000 + step * 100..1100 + step * 100 {
                if let Some(pos) = index.find(spread(number), |slot| slot == number) {
                    index.remove(pos, spread(number));
                } else if step > 20 {
                    index.insert(spread(number), number, spread, |_| {});
                }
            }
            step += 1;
        }
        assert!((0..1000).all(|number| seen.contains(&number)));
    }

    #[test]
    fn shrinks_to_nothing() {
        let mut index = Index::<u32>::new();
        for number in 0..10_000 {
            index.insert(spread(number), number, spread, |_| {});
        }
        let full = index.memory();
        for number in 0..9_900 {
            let pos = index.find(spread(number), |slot| slot == number).unwrap();
            index.remove(pos, spread(number));
        }
        index.validate(spread);
        assert!(index.memory() * 20 < full, "{} of {full}", index.memory());
        for number in 9_900..10_000 {
            let pos = index.find(spread(number), |slot| slot == number).unwrap();
            index.remove(pos, spread(number));
        }
        assert_eq!(index.memory(), 0);
    }

    #[test]
    fn deadlines_follow_their_elements_through_splits_and_merges() {
        let mut index = Index::<u32>::new();
        for number in 0..2000 {
            let pos = index.insert(spread(number), number, spread, |_| {});
            index.lower_deadline(pos.segment, 10_000 - number as u64);
        }
        index.validate(spread);
        for number in 0..2000 {
            let pos = index.find(spread(number), |slot| slot == number).unwrap();
            assert!(index.segment(pos.segment).deadline() <= 10_000 - number as u64);
        }
        assert_eq!(index.first_deadline().unwrap().0, 10_000 - 1999);
    }

    #[test]
    fn segments_with_a_deadline_are_found_by_their_number() {
        let mut index = Index::<u32>::new();
        let positions: Vec<Pos> =
            (0..9000).map(|number| index.insert(spread(number), number, spread, |_| {})).collect();
        assert_eq!((index.with_deadline(), index.nth_with_deadline(0)), (0, None));
        let mut expected: Vec<u32> =
            positions.iter().map(|pos| pos.segment).filter(|segment| segment % 7 == 3).collect();
        expected.sort_unstable();
        expected.dedup();
        expected.iter().for_each(|&segment| index.set_deadline(segment, 5));
        let found: Vec<u32> = (0..index.with_deadline()).filter_map(|nth| index.nth_with_deadline(nth)).collect();
        assert!(found.len() > 20);
        assert_eq!(found, expected);
        assert_eq!(index.nth_with_deadline(found.len()), None);
    }
}
