//! The form of a large sorted set: records of members, an index by member, and the ranking.
//!
//! A member's record is found through the index (a segment's line, then the record), its rank through the ranking.
//! Records keep the score too, so that a look-up of a score does not touch the ranking.
//!
//! Invariants: index and ranking name the same records, each once, and every live record is named; a record's score
//! is its key's.

use super::member::Members;
use super::node::Key;
use super::ranking::{Cursor, Ranking};
use super::{Full, Inserted};
use crate::cpu::prefetch;
use crate::heap::{Mover, Settle};
use crate::index::{Index, Pos};
use crate::slab::Ref;
use crate::types::Env;
use crate::types::cells::{Move, NoRoom};

/// Entries of a node: header and scores of a leaf are 8 cache lines then, a leaf 12.
const FAN_OUT: usize = 62;

/// Bits of a hash that a cursor leaves out, so that it stays below 2^47. Segments are told apart by the top 40 bits,
/// so a position loses nothing by that.
const CURSOR_SHIFT: u32 = 17;

/// A sorted set with an index and an order of its own; see the module's page.
pub struct Tree<const N: usize = FAN_OUT> {
    members: Members,
    index: Index<u32>,
    ranking: Ranking<N>,
}

impl<const N: usize> Tree<N> {
    pub(super) fn new(env: Env) -> Self {
        Self { members: Members::new(env.regions), index: Index::new(), ranking: Ranking::new() }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.ranking.len()
    }

    #[inline]
    fn find(&self, hash: u64, member: &[u8]) -> Option<Pos> {
        self.index.find(hash, |slot| self.members.bytes(Ref::from_bits(slot)) == member)
    }

    #[inline]
    fn record(&self, env: Env, member: &[u8]) -> Option<Ref> {
        let pos = self.find(env.hasher.hash(member), member)?;
        Some(Ref::from_bits(self.index.get(pos)))
    }

    /// See [`super::ZSet::upsert`].
    #[inline]
    pub(super) fn upsert(
        &mut self,
        env: Env,
        member: &[u8],
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Result<Inserted, Full> {
        let hash = env.hasher.hash(member);
        let Some(pos) = self.find(hash, member) else {
            let Some(score) = decide(None) else {
                return Ok(Inserted::Same);
            };
            self.insert_hashed(env, hash, member, score)?;
            return Ok(Inserted::Added);
        };
        let record = Ref::from_bits(self.index.get(pos));
        let old = self.members.score(record);
        match decide(Some(old)) {
            Some(score) if score != old => {
                let key = Key { score: old, member: record };
                self.ranking.rescore(&self.members, key, score);
                self.members.set_score(record, score);
                Ok(Inserted::Updated { old })
            }
            _ => Ok(Inserted::Same),
        }
    }

    /// Adds an absent member.
    pub(super) fn insert_absent(&mut self, env: Env, member: &[u8], score: f64) -> Result<(), Full> {
        self.insert_hashed(env, env.hasher.hash(member), member, score)
    }

    #[inline]
    fn insert_hashed(&mut self, env: Env, hash: u64, member: &[u8], score: f64) -> Result<(), Full> {
        let key = self.add(env, hash, member, score)?;
        self.ranking.insert(&self.members, key);
        Ok(())
    }

    /// Adds an absent member that comes after all others.
    pub(super) fn append(&mut self, env: Env, member: &[u8], score: f64) -> Result<(), Full> {
        let key = self.add(env, env.hasher.hash(member), member, score)?;
        self.ranking.append(key);
        Ok(())
    }

    /// A record and its place in the index.
    #[inline]
    fn add(&mut self, env: Env, hash: u64, member: &[u8], score: f64) -> Result<Key, Full> {
        let record = match self.members.add(member, score) {
            Ok(record) => record,
            Err(room) => self.add_after_move(room, member, score)?,
        };
        let members = &self.members;
        let rehash = |slot| env.hasher.hash(members.bytes(Ref::from_bits(slot)));
        self.index.insert(hash, record.bits(), rehash, |slot| prefetch(members.address(Ref::from_bits(slot))));
        Ok(Key { score, member: record })
    }

    #[cold]
    fn add_after_move(&mut self, room: NoRoom, member: &[u8], score: f64) -> Result<Ref, Full> {
        let moving = self.members.make_room(room, self.index.names()).ok_or(Full)?;
        self.carry(moving);
        self.members.add(member, score).map_err(|_| Full)
    }

    /// Lets a move take place that gives back what removals left unused.
    #[cold]
    fn tighten(&mut self) {
        if let Some(moving) = self.members.tighten(self.index.names()) {
            self.carry(moving);
        }
    }

    /// Moves records, and tells index and ranking their new names.
    fn carry(&mut self, mut moving: Move) {
        let members = &mut self.members;
        for segment in 0..self.index.segments() as u32 {
            self.index.update_slots(segment, |slot| members.follow(&mut moving, Ref::from_bits(slot)).bits());
        }
        self.ranking.rename_all(|member| moving.followed(member));
        self.members.end_move(moving);
    }

    /// Takes a member out; gives its score.
    pub(super) fn remove(&mut self, env: Env, member: &[u8]) -> Option<f64> {
        let hash = env.hasher.hash(member);
        let pos = self.find(hash, member)?;
        let record = Ref::from_bits(self.index.remove(pos, hash));
        let score = self.members.score(record);
        let key = Key { score, member: record };
        self.ranking.remove(&self.members, key);
        self.members.remove(record);
        if self.members.is_loose(self.len()) {
            self.tighten();
        }
        Some(score)
    }

    /// Takes the elements of ranks `start..end` out, each shown; the ranks must be within the set.
    pub(super) fn remove_range(&mut self, env: Env, start: usize, end: usize, mut each: impl FnMut(&[u8], f64)) {
        let (mut left, mut gone) = (end - start, Vec::with_capacity(N));
        while left > 0 {
            gone.clear();
            self.ranking.remove_from(&self.members, start, left, &mut gone);
            left -= gone.len();
            for &record in &gone {
                let member = self.members.bytes(record);
                each(member, self.members.score(record));
                let hash = env.hasher.hash(member);
                if let Some(pos) = self.index.find(hash, |slot| slot == record.bits()) {
                    self.index.remove(pos, hash);
                }
                self.members.remove(record);
            }
            // The names in `gone` are no one's any more. One move per record is more than enough.
            for _ in 0..gone.len() {
                if !self.members.is_loose(self.len()) {
                    break;
                }
                self.tighten();
            }
        }
    }

    #[inline]
    pub(super) fn score(&self, env: Env, member: &[u8]) -> Option<f64> {
        let record = self.record(env, member)?;
        Some(self.members.score(record))
    }

    /// First step of a batched look-up: asks for the index's part of the way.
    #[inline]
    pub(crate) fn prefetch_index(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Second step: asks for the record.
    #[inline]
    pub(crate) fn prefetch_records(&self, hash: u64) {
        self.index.each_candidate(hash, |slot| prefetch(self.members.address(Ref::from_bits(slot))));
    }

    pub(super) fn rank(&self, env: Env, member: &[u8]) -> Option<(usize, f64)> {
        let record = self.record(env, member)?;
        let score = self.members.score(record);
        let key = Key { score, member: record };
        Some((self.ranking.rank(&self.members, key), score))
    }

    pub(super) fn rank_of_score(&self, bound: f64, after: bool) -> usize {
        self.ranking.rank_of_score(bound, after)
    }

    pub(super) fn rank_of_member(&self, bound: &[u8], after: bool) -> usize {
        self.ranking.rank_of_member(&self.members, bound, after)
    }

    /// The elements of ranks `start..end`, which must be within the set.
    pub(super) fn range(&self, start: usize, end: usize) -> Range<'_, N> {
        Range { tree: self, left: end - start, ends: (start, end), front: None, back: None }
    }

    pub(super) fn scan(&self, cursor: u64, mut each: impl FnMut(&[u8], f64)) -> u64 {
        let next = self.index.scan(cursor << CURSOR_SHIFT, |slot| {
            let record = Ref::from_bits(slot);
            each(self.members.bytes(record), self.members.score(record));
        });
        next >> CURSOR_SHIFT
    }

    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.members.memory() + self.index.memory() + self.ranking.memory()
    }

    pub(super) fn free_step(&mut self, chunks: usize) -> bool {
        self.ranking.free_step(chunks) && self.index.free_step(chunks) && self.members.free_step(chunks)
    }

    /// Whether there is something to do for [`super::ZSet::compact_step`]. O(1).
    #[inline]
    pub(super) fn is_sparse(&mut self) -> bool {
        self.members.is_sparse()
    }

    /// See [`super::ZSet::gather_step`].
    pub(super) fn gather_step(&mut self) -> bool {
        self.members.gather_step()
    }

    /// See [`super::ZSet::compact_step`].
    pub(super) fn compact_step(&mut self, env: Env, limit: usize) -> usize {
        let mut records = Vec::new();
        self.members.sparse(&mut records);
        let mut moved = 0;
        for &record in records.iter().take(limit) {
            let hash = env.hasher.hash(self.members.bytes(record));
            let Some(pos) = self.index.find(hash, |slot| slot == record.bits()) else {
                break;
            };
            let key = Key { score: self.members.score(record), member: record };
            let place = self.ranking.find(&self.members, key);
            let Some(name) = self.members.relocate(record) else {
                break;
            };
            self.index.set(pos, name.bits());
            self.ranking.rename(&place, name);
            moved += 1;
        }
        moved
    }

    pub(super) fn validate(&self) {
        self.ranking.validate(&self.members);
        self.members.validate(self.ranking.members());
        let mut ranked: Vec<u32> = self.ranking.members().map(Ref::bits).collect();
        let (mut indexed, mut position) = (Vec::new(), 0);
        loop {
            position = self.index.scan(position, |slot| indexed.push(slot));
            if position == 0 {
                break;
            }
        }
        ranked.sort_unstable();
        indexed.sort_unstable();
        assert_eq!(ranked, indexed, "index and ranking name the same records");
        assert_eq!(indexed.len(), self.index.len());
    }

    pub(super) fn validate_hashes(&self, env: Env) {
        self.index.validate(|slot| env.hasher.hash(self.members.bytes(Ref::from_bits(slot))));
    }
}

impl<const N: usize> Settle for Tree<N> {
    fn parts(&self) -> usize {
        self.index.parts() + self.members.parts() + self.ranking.parts()
    }

    fn settle(&mut self, part: usize, mover: &mut Mover) {
        let (index, members) = (self.index.parts(), self.members.parts());
        match part {
            part if part < index => self.index.settle(part, mover),
            part if part < index + members => self.members.settle(part - index, mover),
            part => self.ranking.settle(part - index - members, mover),
        }
    }
}

/// Elements in order, from both ends: one descent per end that is used, then from leaf to leaf.
pub(super) struct Range<'a, const N: usize = FAN_OUT> {
    tree: &'a Tree<N>,
    left: usize,
    /// The first rank, and the one after the last.
    ends: (usize, usize),
    /// The element shown last at either end.
    front: Option<Cursor>,
    back: Option<Cursor>,
}

/// Records that are asked for before they are shown, so that their cache misses overlap.
const AHEAD: usize = 8;

impl<'a, const N: usize> Range<'a, N> {
    /// Shows the element at the cursor and asks for those that come next in its leaf, all that are near if the cursor
    /// has just come to the leaf. `step` is 1 forwards and -1 backwards.
    #[inline]
    fn show(&self, cursor: Cursor, is_first: bool, step: isize) -> (&'a [u8], f64) {
        let Tree { members, ranking, .. } = self.tree;
        let (leaf, place) = ranking.around(cursor);
        let entry = if step > 0 { 0 } else { leaf.len() - 1 };
        let far = self.left.min(AHEAD);
        let near = if is_first || place == entry { 0 } else { far };
        for distance in near..=far {
            let place = place.wrapping_add_signed(distance as isize * step);
            if let Some(&record) = leaf.get(place) {
                prefetch(members.address(record));
            }
        }
        let key = ranking.at(cursor);
        (members.bytes(key.member), key.score)
    }
}

impl<'a, const N: usize> Iterator for Range<'a, N> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let cursor = match self.front {
            Some(cursor) => self.tree.ranking.next(cursor),
            None => self.tree.ranking.seek(self.ends.0),
        };
        let is_first = self.front.replace(cursor).is_none();
        Some(self.show(cursor, is_first, 1))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<const N: usize> DoubleEndedIterator for Range<'_, N> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let cursor = match self.back {
            Some(cursor) => self.tree.ranking.previous(cursor),
            None => self.tree.ranking.seek(self.ends.1 - 1),
        };
        let is_first = self.back.replace(cursor).is_none();
        Some(self.show(cursor, is_first, -1))
    }
}
