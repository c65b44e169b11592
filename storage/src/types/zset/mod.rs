//! Sorted sets: unique members, each with a score, in the order of (score, member bytes).
//!
//! A small set is one packed byte string, a larger one a tree with an index; the limits stand in [`Env`] and are
//! those of Redis's listpack, so that OBJECT ENCODING answers alike. A few long members make no tree yet, which would
//! be far larger than they are: such a packed set is marked, and told as the skip list that Redis has then. A set that
//! became a tree stays one.
//!
//! ```text
//! packed.rs    the byte string: layout, linear look-ups, edits in place
//! raw.rs       sets made of the bytes that RESTORE is given
//! tree.rs      the large form, made of
//!   member.rs    records of members in cells
//!   ranking.rs   the order: a counted B+tree of (score, record), its nodes in node.rs
//! ```
//!
//! Scores are never NaN; that is the caller's duty. 0.0 and -0.0 are equal; a tree keeps which one it was given, a
//! packed set reads both as 0.0, as in Redis.

use std::cmp::Ordering;

pub use super::Full;
use crate::heap::{Mover, Settle};
use crate::types::{Collection, Env, Limits};
use crate::value::{Kind, Object, Value};
use packed::Packed;
pub use tree::Tree;

mod member;
mod node;
mod packed;
mod ranking;
mod raw;
#[cfg(test)]
mod tests;
mod tree;

/// A sorted set, owned.
pub enum ZSet {
    /// A byte string.
    Packed(Vec<u8>),
    /// Records with an index and an order.
    Tree(Box<Tree>),
}

/// A sorted set, for reading. The packed bytes may stand anywhere, as in a key's entry.
#[derive(Clone, Copy)]
pub enum ZSetRef<'a> {
    /// A byte string.
    Packed(&'a [u8]),
    /// Records with an index and an order.
    Tree(&'a Tree),
}

/// What an insert did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Inserted {
    /// The member is new.
    Added,
    /// The member was there with another score.
    Updated {
        /// That score.
        old: f64,
    },
    /// Nothing changed: the score is equal (0.0 and -0.0 are), or the caller decided against.
    Same,
}

impl Default for ZSet {
    fn default() -> Self {
        Self::new()
    }
}

impl ZSet {
    /// An empty set; it allocates at its first insert.
    pub fn new() -> Self {
        Self::Packed(Vec::new())
    }

    /// A set of elements in ascending order of (score, member), no member twice; otherwise the set is not usable
    /// (debug builds panic). Costs no search.
    pub fn from_sorted<M: AsRef<[u8]>>(env: Env, elements: impl IntoIterator<Item = (M, f64)>) -> Result<Self, Full> {
        let mut set = Self::new();
        set.append_sorted(env, elements)?;
        Ok(set)
    }

    fn append_sorted<M: AsRef<[u8]>>(
        &mut self,
        env: Env,
        elements: impl IntoIterator<Item = (M, f64)>,
    ) -> Result<(), Full> {
        for (member, score) in elements {
            let member = member.as_ref();
            debug_assert!(
                self.as_ref()
                    .last()
                    .is_none_or(|last| { compare((last.1, last.0), (score, member)) == Ordering::Less }),
                "elements ascend"
            );
            self.make_fit(env, member.len())?;
            match self {
                Self::Packed(bytes) => packed::append(bytes, member, score),
                Self::Tree(tree) => tree.append(env, member, score)?,
            }
        }
        Ok(())
    }

    /// A set of elements in any order, no member twice.
    pub fn from_unsorted<M: AsRef<[u8]>>(env: Env, mut elements: Vec<(M, f64)>) -> Result<Self, Full> {
        elements.sort_unstable_by(|one, other| compare((one.1, one.0.as_ref()), (other.1, other.0.as_ref())));
        let longest = elements.iter().map(|(member, _)| member.as_ref().len()).max().unwrap_or(0);
        let mut set = Self::new();
        // Before anything is added: the packed form forgets the sign of a zero.
        set.expect(env, elements.len(), longest)?;
        set.append_sorted(env, elements)?;
        Ok(set)
    }

    /// The set, for reading.
    #[inline]
    pub fn as_ref(&self) -> ZSetRef<'_> {
        match self {
            Self::Packed(bytes) => ZSetRef::Packed(bytes),
            Self::Tree(tree) => ZSetRef::Tree(tree),
        }
    }

    /// Becomes a skip list in Redis's sense now if it would hold more than a listpack may, given so many elements to add
    /// and the length of the longest; what Redis does with the arguments of one ZADD, counting repeated members too. An
    /// existing set is told a length of 0, for Redis looks only at the number there.
    pub fn expect(&mut self, env: Env, elements: usize, member_len: usize) -> Result<(), Full> {
        if elements > env.limits.zset_max_packed_entries {
            return self.unpack(env);
        }
        self.lengthen(env, 0, member_len)
    }

    /// Becomes long if it is to have a member of this length that is; a tree if `more` bytes are too many to be added.
    fn lengthen(&mut self, env: Env, more: usize, member_len: usize) -> Result<(), Full> {
        let Self::Packed(bytes) = self else { return Ok(()) };
        let is_long = member_len > env.limits.zset_max_packed_value;
        if !Packed(bytes).has_room(more, is_long) {
            return self.unpack(env);
        }
        if is_long {
            packed::mark_long(bytes);
        }
        Ok(())
    }

    /// Adds a member, or changes its score.
    #[inline]
    pub fn insert(&mut self, env: Env, member: &[u8], score: f64) -> Result<Inserted, Full> {
        self.upsert(env, member, |_| Some(score))
    }

    /// Looks a member up once, shows its score (`None` if it is absent) to `decide`, and gives it the score that this
    /// answers; with `None` nothing changes. The flags of ZADD, and ZINCRBY, are such decisions.
    pub fn upsert(
        &mut self,
        env: Env,
        member: &[u8],
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Result<Inserted, Full> {
        let bytes = match self {
            Self::Tree(tree) => return tree.upsert(env, member, decide),
            Self::Packed(bytes) => bytes,
        };
        let old = Packed(bytes).score_of(member);
        match (old, decide(old)) {
            (Some(old), Some(score)) if old != score => {
                packed::rescore(bytes, member, score);
                Ok(Inserted::Updated { old })
            }
            (None, Some(score)) => {
                self.make_fit(env, member.len())?;
                match self {
                    Self::Tree(tree) => tree.insert_absent(env, member, score)?,
                    Self::Packed(bytes) => packed::add(bytes, member, score),
                }
                Ok(Inserted::Added)
            }
            _ => Ok(Inserted::Same),
        }
    }

    /// Becomes a tree if a new member of this length is too much for the packed form.
    fn make_fit(&mut self, env: Env, member_len: usize) -> Result<(), Full> {
        match self {
            Self::Packed(bytes) if Packed(bytes).len() >= env.limits.zset_max_packed_entries => self.unpack(env),
            _ => self.lengthen(env, member_len, member_len),
        }
    }

    fn unpack(&mut self, env: Env) -> Result<(), Full> {
        if let Self::Packed(bytes) = self {
            let mut tree = Box::new(Tree::new(env));
            let packed = Packed(bytes);
            for (member, score) in packed.range(0, packed.len()) {
                tree.append(env, member, score)?;
            }
            *self = Self::Tree(tree);
        }
        Ok(())
    }

    /// Takes a member out; gives its score, or `None` if it is absent. A set may be empty afterwards.
    #[inline]
    pub fn remove(&mut self, env: Env, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(bytes) => packed::remove(bytes, member),
            Self::Tree(tree) => tree.remove(env, member),
        }
    }

    /// Takes the elements of ranks `start..end` out (as far as they exist) and shows each to `each`, in order.
    pub fn remove_rank_range(&mut self, env: Env, start: usize, end: usize, each: impl FnMut(&[u8], f64)) {
        let end = end.min(self.as_ref().len());
        if start >= end {
            return;
        }
        match self {
            Self::Packed(bytes) => packed::remove_range(bytes, start, end, each),
            Self::Tree(tree) => tree.remove_range(env, start, end, each),
        }
    }

    /// Bytes that the set owns besides itself: of a large one live bytes, otherwise allocated ones. O(1), and the
    /// same for the same operations.
    #[inline]
    pub fn memory(&self) -> usize {
        match self {
            Self::Packed(bytes) => bytes.capacity(),
            Self::Tree(tree) => tree.memory(),
        }
    }

    /// The bytes of the packed form.
    #[inline]
    pub(crate) fn packed(&self) -> Option<&[u8]> {
        match self {
            Self::Packed(bytes) => Some(bytes),
            Self::Tree(_) => None,
        }
    }

    pub(crate) fn into_packed(self) -> Vec<u8> {
        match self {
            Self::Packed(bytes) => bytes,
            Self::Tree(_) => Vec::new(),
        }
    }

    /// A copy, in the same form however few elements are left.
    pub(crate) fn duplicate(&self, env: Env<'_>) -> Result<Self, Full> {
        match self {
            Self::Packed(bytes) => Ok(Self::Packed(bytes.clone())),
            Self::Tree(tree) => {
                let env = Env { limits: Limits { zset_max_packed_entries: 0, ..env.limits }, ..env };
                Self::from_sorted(env, tree.range(0, tree.len()))
            }
        }
    }

    /// Elements, each of which may cost something to free.
    pub(crate) fn weight(&self) -> usize {
        self.as_ref().len()
    }

    /// Frees up to about `chunks` chunks or pages (16 KiB to 48 KiB) of each kind; true when nothing is left. For
    /// dropping in slices: between the steps the set may only be freed further, or dropped.
    pub fn free_step(&mut self, chunks: usize) -> bool {
        let is_free = match self {
            Self::Packed(_) => true,
            Self::Tree(tree) => tree.free_step(chunks.max(1)),
        };
        if is_free {
            *self = Self::new();
        }
        is_free
    }

    /// Whether there is something to do for `compact_step`. O(1).
    #[inline]
    pub fn is_sparse(&mut self) -> bool {
        match self {
            Self::Packed(_) => false,
            Self::Tree(tree) => tree.is_sparse(),
        }
    }

    /// Moves a few small pages of members closer to those of others; false when there is nothing to do.
    pub fn gather_step(&mut self) -> bool {
        match self {
            Self::Packed(_) => false,
            Self::Tree(tree) => tree.gather_step(),
        }
    }

    /// Moves up to `limit` members out of sparsely used pages, each for the price of a look-up; how many it moved, 0
    /// if there is nothing to do.
    pub fn compact_step(&mut self, env: Env, limit: usize) -> usize {
        match self {
            Self::Packed(_) => 0,
            Self::Tree(tree) => tree.compact_step(env, limit),
        }
    }

    /// Checks every invariant of the representation; panics with what is wrong. For tests.
    pub fn validate(&self) {
        match self {
            Self::Packed(bytes) => Packed(bytes).validate(),
            Self::Tree(tree) => tree.validate(),
        }
    }

    /// Checks that the index has each member where its hash says; panics if not. For tests.
    pub fn validate_hashes(&self, env: Env) {
        if let Self::Tree(tree) = self {
            tree.validate_hashes(env);
        }
    }
}

impl Settle for ZSet {
    fn parts(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Tree(tree) => 1 + tree.parts(),
        }
    }

    fn settle(&mut self, part: usize, mover: &mut Mover) {
        match self {
            Self::Packed(bytes) => mover.vec(bytes),
            Self::Tree(tree) if part > 0 => tree.settle(part - 1, mover),
            Self::Tree(tree) => {
                if mover.moves_value(&**tree)
                    && let Self::Tree(whole) = std::mem::take(self)
                {
                    *self = Self::Tree(Box::new(*whole));
                }
            }
        }
    }
}

impl Collection for ZSet {
    const KIND: Kind = Kind::ZSet;
    type Ref<'a> = ZSetRef<'a>;

    fn empty(_: &Env<'_>) -> Self {
        Self::new()
    }

    #[inline]
    fn of(value: Value<'_>) -> Option<ZSetRef<'_>> {
        match value {
            Value::ZSet(zset) => Some(zset),
            _ => None,
        }
    }

    #[inline]
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        match object {
            Object::ZSet(zset) => Some(zset),
            _ => None,
        }
    }

    fn into_object(self) -> Object {
        Object::ZSet(self)
    }
}

impl<'a> ZSetRef<'a> {
    /// The number of elements.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Packed(bytes) => Packed(bytes).len(),
            Self::Tree(tree) => tree.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether it is a skip list in Redis, however it is kept here.
    #[inline]
    pub fn is_skip_list(self) -> bool {
        match self {
            Self::Packed(bytes) => Packed(bytes).is_long(),
            Self::Tree(_) => true,
        }
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding(self) -> &'static str {
        if self.is_skip_list() { "skiplist" } else { "listpack" }
    }

    /// A member's score.
    #[inline]
    pub fn score(self, env: Env, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(bytes) => Packed(bytes).score_of(member),
            Self::Tree(tree) => tree.score(env, member),
        }
    }

    /// A member's rank, from 0, and its score.
    pub fn rank(self, env: Env, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            Self::Packed(bytes) => Packed(bytes).rank(member),
            Self::Tree(tree) => tree.rank(env, member),
        }
    }

    /// The number of elements with a score below `bound`; with `after`, up to and with it. So a score range is the
    /// rank range from `rank_of_score(min, min_is_exclusive)` to `rank_of_score(max, !max_is_exclusive)`.
    pub fn rank_of_score(self, bound: f64, after: bool) -> usize {
        match self {
            Self::Packed(bytes) => Packed(bytes).rank_of_score(bound, after),
            Self::Tree(tree) => tree.rank_of_score(bound, after),
        }
    }

    /// The number of elements whose member is below `bound` in byte order; with `after`, up to and with it. Scores
    /// must all be equal; otherwise the answer is some rank within the set.
    pub fn rank_of_member(self, bound: &[u8], after: bool) -> usize {
        match self {
            Self::Packed(bytes) => Packed(bytes).rank_of_member(bound, after),
            Self::Tree(tree) => tree.rank_of_member(bound, after),
        }
    }

    /// The elements of ranks `start..end` (as far as they exist), in order, from both ends. Allocates nothing.
    pub fn range(self, start: usize, end: usize) -> Range<'a> {
        let end = end.min(self.len());
        let start = start.min(end);
        Range(match self {
            Self::Packed(bytes) => Either::Packed(Packed(bytes).range(start, end)),
            Self::Tree(tree) => Either::Tree(tree.range(start, end)),
        })
    }

    fn last(self) -> Option<(&'a [u8], f64)> {
        self.range(self.len().saturating_sub(1), self.len()).next()
    }

    /// Shows some elements to `each` and gives the cursor for the next call, 0 at the end; start with 0. A pass shows
    /// each element that was there all the time, whatever came and went meanwhile, and may show one twice. Cursors
    /// are below 2^47: the top bits of a position in the order of hashes. A packed set is shown at once.
    pub fn scan(self, cursor: u64, mut each: impl FnMut(&[u8], f64)) -> u64 {
        match self {
            Self::Tree(tree) => tree.scan(cursor, each),
            Self::Packed(_) => {
                self.range(0, self.len()).for_each(|(member, score)| each(member, score));
                0
            }
        }
    }
}

/// Elements in order; see [`ZSetRef::range`].
pub struct Range<'a>(Either<'a>);

enum Either<'a> {
    Packed(packed::Range<'a>),
    Tree(tree::Range<'a>),
}

impl<'a> Iterator for Range<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Either::Packed(range) => range.next(),
            Either::Tree(range) => range.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Either::Packed(range) => range.size_hint(),
            Either::Tree(range) => range.size_hint(),
        }
    }
}

impl DoubleEndedIterator for Range<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Either::Packed(range) => range.next_back(),
            Either::Tree(range) => range.next_back(),
        }
    }
}

impl ExactSizeIterator for Range<'_> {}

/// The order of elements, as (score, member).
fn compare(one: (f64, &[u8]), other: (f64, &[u8])) -> Ordering {
    // Scores are never NaN.
    let scores = one.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal);
    scores.then_with(|| one.1.cmp(other.1))
}
