//! The nodes of the ranking: a column of keys in order, and what stands beside each key.
//!
//! Columns are arrays of their own, so that a search reads scores only, eight to a cache line. A node holds at most
//! `N` entries, at least 4 by the tree's rules of sharing and merging.

use super::member::Members;
use crate::slab::Ref;

/// "No node".
pub(super) const NONE: u32 = u32::MAX;

/// What orders the elements: the score, then the member's bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) score: f64,
    pub(super) member: Ref,
}

/// Ascending keys as parallel columns; places from `len` on mean nothing.
#[derive(Clone)]
#[repr(C)]
pub(super) struct Keys<const N: usize> {
    len: u32,
    scores: [f64; N],
    members: [Ref; N],
}

impl<const N: usize> Keys<N> {
    fn new() -> Self {
        Self { len: 0, scores: [0.0; N], members: [Ref::from_bits(0); N] }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(super) fn at(&self, place: usize) -> Key {
        Key { score: self.scores[place], member: self.members[place] }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Key> {
        (0..self.len()).map(|place| self.at(place))
    }

    pub(super) fn members(&self) -> &[Ref] {
        &self.members[..self.len()]
    }

    /// Puts other names for the same members into all keys.
    pub(super) fn rename_all(&mut self, name: impl Fn(Ref) -> Ref) {
        let len = self.len();
        self.members[..len].iter_mut().for_each(|member| *member = name(*member));
    }

    pub(super) fn first(&self) -> Option<Key> {
        (self.len > 0).then(|| self.at(0))
    }

    pub(super) fn set(&mut self, place: usize, key: Key) {
        self.scores[place] = key.score;
        self.members[place] = key.member;
    }

    #[inline]
    fn scores(&self) -> &[f64] {
        &self.scores[..self.len()]
    }

    /// Keys with a score below `bound`, or up to and with it.
    #[inline]
    pub(super) fn before_score(&self, bound: f64, after: bool) -> usize {
        if after {
            self.scores().partition_point(|&score| score <= bound)
        } else {
            self.scores().partition_point(|&score| score < bound)
        }
    }

    /// Keys whose member is below `bound`, or up to and with it, in keys of equal scores.
    pub(super) fn before_member(&self, members: &Members, bound: &[u8], after: bool) -> usize {
        let before = |member: &[u8]| member < bound || (after && member == bound);
        self.members().partition_point(|&member| before(members.bytes(member)))
    }

    /// Keys up to and with (`score`, `member`). Members are read only where scores are equal.
    #[inline]
    pub(super) fn up_to(&self, members: &Members, score: f64, member: &[u8]) -> usize {
        let low = self.before_score(score, false);
        if low == self.len() || self.scores[low] != score {
            return low;
        }
        let ties = self.scores()[low..].partition_point(|&other| other <= score);
        let tied = &self.members[low..low + ties];
        low + tied.partition_point(|&other| members.bytes(other) <= member)
    }

    /// The place of a key that is there.
    #[inline]
    pub(super) fn place_of(&self, key: Key) -> usize {
        let low = self.before_score(key.score, false);
        self.members()[low..].iter().position(|&member| member == key.member).map_or(self.len(), |tie| low + tie)
    }

    #[inline]
    fn insert(&mut self, place: usize, key: Key) {
        let len = self.len();
        open(&mut self.scores, len, place, key.score);
        open(&mut self.members, len, place, key.member);
        self.len += 1;
    }

    #[inline]
    fn remove(&mut self, from: usize, to: usize) {
        let len = self.len();
        self.scores.copy_within(to..len, from);
        self.members.copy_within(to..len, from);
        self.len -= (to - from) as u32;
    }

    fn pour_right(&mut self, right: &mut Self, n: usize) {
        let (len, other) = (self.len(), right.len());
        tail_to_front(&self.scores, len, &mut right.scores, other, n);
        tail_to_front(&self.members, len, &mut right.members, other, n);
        self.len -= n as u32;
        right.len += n as u32;
    }

    fn pour_left(&mut self, left: &mut Self, n: usize) {
        let (len, other) = (self.len(), left.len());
        front_to_tail(&mut self.scores, len, &mut left.scores, other, n);
        front_to_tail(&mut self.members, len, &mut left.members, other, n);
        self.len -= n as u32;
        left.len += n as u32;
    }
}

/// What leaves and inner nodes have in common, for sharing entries among neighbours.
pub(super) trait Node<const N: usize> {
    /// The fewest entries that a node beside others may hold.
    const LEAST: usize;

    fn empty() -> Self;
    fn keys(&self) -> &Keys<N>;
    /// Elements in and below the node.
    fn count(&self) -> u32;
    /// Moves the last `n` entries to the front of the node on the right.
    fn pour_right(&mut self, right: &mut Self, n: usize);
    /// Moves the first `n` entries to the end of the node on the left.
    fn pour_left(&mut self, left: &mut Self, n: usize);
}

/// Elements, linked to the leaves beside it.
#[derive(Clone)]
#[repr(C, align(64))]
pub(super) struct Leaf<const N: usize> {
    pub(super) keys: Keys<N>,
    pub(super) prev: u32,
    pub(super) next: u32,
}

impl<const N: usize> Leaf<N> {
    #[inline]
    pub(super) fn insert(&mut self, place: usize, key: Key) {
        self.keys.insert(place, key);
    }

    #[inline]
    pub(super) fn remove(&mut self, from: usize, to: usize) {
        self.keys.remove(from, to);
    }

    /// Moves the key at `from` so that it stands at `to`, with a new score.
    pub(super) fn shift(&mut self, from: usize, to: usize, score: f64) {
        let key = Key { score, ..self.keys.at(from) };
        self.keys.remove(from, from + 1);
        self.keys.insert(to, key);
    }
}

impl<const N: usize> Node<N> for Leaf<N> {
    const LEAST: usize = 1;

    fn empty() -> Self {
        Self { keys: Keys::new(), prev: NONE, next: NONE }
    }

    #[inline]
    fn keys(&self) -> &Keys<N> {
        &self.keys
    }

    fn count(&self) -> u32 {
        self.keys.len
    }

    fn pour_right(&mut self, right: &mut Self, n: usize) {
        self.keys.pour_right(&mut right.keys, n);
    }

    fn pour_left(&mut self, left: &mut Self, n: usize) {
        self.keys.pour_left(&mut left.keys, n);
    }
}

/// Children; beside each the first key in it and the number of elements in it.
#[derive(Clone)]
#[repr(C, align(64))]
pub(super) struct Inner<const N: usize> {
    pub(super) keys: Keys<N>,
    pub(super) children: [u32; N],
    pub(super) counts: [u32; N],
}

impl<const N: usize> Inner<N> {
    /// Adds a child; its key and count are to be set.
    pub(super) fn insert(&mut self, place: usize, key: Key, child: u32) {
        let len = self.keys.len();
        open(&mut self.children, len, place, child);
        open(&mut self.counts, len, place, 0);
        self.keys.insert(place, key);
    }

    pub(super) fn remove(&mut self, place: usize) {
        let len = self.keys.len();
        self.children.copy_within(place + 1..len, place);
        self.counts.copy_within(place + 1..len, place);
        self.keys.remove(place, place + 1);
    }

    /// Elements before the child at `place`.
    #[inline]
    pub(super) fn count_before(&self, place: usize) -> usize {
        // Never above u32::MAX, for so many references there are.
        self.counts[..place].iter().sum::<u32>() as usize
    }
}

impl<const N: usize> Node<N> for Inner<N> {
    const LEAST: usize = 2;

    fn empty() -> Self {
        Self { keys: Keys::new(), children: [NONE; N], counts: [0; N] }
    }

    #[inline]
    fn keys(&self) -> &Keys<N> {
        &self.keys
    }

    fn count(&self) -> u32 {
        self.counts[..self.keys.len()].iter().sum()
    }

    fn pour_right(&mut self, right: &mut Self, n: usize) {
        let (len, other) = (self.keys.len(), right.keys.len());
        tail_to_front(&self.children, len, &mut right.children, other, n);
        tail_to_front(&self.counts, len, &mut right.counts, other, n);
        self.keys.pour_right(&mut right.keys, n);
    }

    fn pour_left(&mut self, left: &mut Self, n: usize) {
        let (len, other) = (self.keys.len(), left.keys.len());
        front_to_tail(&mut self.children, len, &mut left.children, other, n);
        front_to_tail(&mut self.counts, len, &mut left.counts, other, n);
        self.keys.pour_left(&mut left.keys, n);
    }
}

#[inline]
fn open<T: Copy>(column: &mut [T], len: usize, place: usize, value: T) {
    column.copy_within(place..len, place + 1);
    column[place] = value;
}

fn tail_to_front<T: Copy>(from: &[T], from_len: usize, to: &mut [T], to_len: usize, n: usize) {
    to.copy_within(..to_len, n);
    to[..n].copy_from_slice(&from[from_len - n..from_len]);
}

fn front_to_tail<T: Copy>(from: &mut [T], from_len: usize, to: &mut [T], to_len: usize, n: usize) {
    to[to_len..to_len + n].copy_from_slice(&from[..n]);
    from.copy_within(n..from_len, 0);
}
