//! The packed form of a small sorted set: one byte string, elements in order.
//!
//! Layout: element count (u32, little endian; its top bit marks a set as long), then per element
//!
//! ```text
//! member length (LEB128) | score | member
//! ```
//!
//! A score is one byte `t` if it is an integer from -16 to 223 (`t = score + 16`, below 0xf0); or 0xf0 + n and an
//! integer of n (1 to 7) little-endian bytes, the fewest that hold it; or 0xf8 and a little-endian f64. As in Redis's
//! listpack, -0.0 is stored as the integer 0 and reads as 0.0; but a long set, which Redis has as a skip list, keeps it.
//!
//! The empty byte string is the empty set too. Invariants: elements ascend by (score, member); no member occurs
//! twice; the last element ends the string. Every look-up is a linear scan; the limits of `Env` keep that short.

use std::cmp::Ordering;

use super::compare;
use crate::types::leb128;
use crate::types::pack::most_bytes;

/// Bytes of the count in front.
const HEADER: usize = 4;
/// In the count: Redis has a skip list for the length of a member.
const LONG: u32 = 1 << 31;
/// Smaller strings keep their allocation: they stand in a key's entry, and the `Vec` is there for the change only.
const SHRINK_FROM: usize = 4096;
/// Scores of one byte are integers from here on ...
const TINY_MIN: i64 = -16;
/// ... to here.
const TINY_MAX: i64 = TINY_MIN + WIDE as i64 - 1;
/// A first byte above this is followed by so many bytes of an integer.
const WIDE: u8 = 0xf0;
/// The first byte of a score that is no integer of at most 7 bytes.
const DOUBLE: u8 = 0xf8;

/// A packed set, for reading.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a>(pub(super) &'a [u8]);

/// Where the parts of one element stand.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    score: usize,
    member: usize,
    end: usize,
}

impl<'a> Packed<'a> {
    /// The count with its mark.
    fn head(self) -> u32 {
        self.0.first_chunk::<HEADER>().map_or(0, |head| u32::from_le_bytes(*head))
    }

    pub(super) fn len(self) -> usize {
        (self.head() & !LONG) as usize
    }

    /// Whether Redis has a skip list.
    #[inline]
    pub(super) fn is_long(self) -> bool {
        self.head() & LONG != 0
    }

    /// Whether it may become so long that `more` bytes are added, of a member that `is_long` or not.
    pub(super) fn has_room(self, more: usize, is_long: bool) -> bool {
        self.0.len() + more <= most_bytes(is_long || self.is_long())
    }

    #[inline]
    fn span(self, start: usize) -> Span {
        let (mut length, mut score) = (self.0[start] as usize, start + 1);
        if length >= 0x80 {
            (length, score) = self.long_length(start);
        }
        let member = score + 1 + self.0[score].saturating_sub(WIDE) as usize;
        Span { start, score, member, end: member + length }
    }

    #[cold]
    fn long_length(self, start: usize) -> (usize, usize) {
        let (length, at) = leb128::read(self.0, start);
        (length as usize, at)
    }

    #[inline]
    fn member(self, span: Span) -> &'a [u8] {
        &self.0[span.member..span.end]
    }

    #[inline]
    fn score(self, span: Span) -> f64 {
        let tag = self.0[span.score];
        if tag < WIDE {
            return (tag as i64 + TINY_MIN) as f64;
        }
        let bytes = &self.0[span.score + 1..span.member];
        let mut word = [0; 8];
        word[8 - bytes.len()..].copy_from_slice(bytes);
        if tag == DOUBLE {
            f64::from_le_bytes(word)
        } else {
            // The bytes stand at the upper end, so that the shift brings the sign along.
            (i64::from_le_bytes(word) >> (64 - 8 * bytes.len())) as f64
        }
    }

    /// The spans from rank 0 on.
    #[inline]
    fn spans(self) -> impl Iterator<Item = Span> + use<'a> {
        let mut at = HEADER;
        std::iter::from_fn(move || {
            if at >= self.0.len() {
                return None;
            }
            let span = self.span(at);
            at = span.end;
            Some(span)
        })
    }

    /// The rank and place of a member.
    #[inline]
    fn find(self, member: &[u8]) -> Option<(usize, Span)> {
        self.spans().enumerate().find(|&(_, span)| self.member(span) == member)
    }

    pub(super) fn score_of(self, member: &[u8]) -> Option<f64> {
        self.find(member).map(|(_, span)| self.score(span))
    }

    pub(super) fn rank(self, member: &[u8]) -> Option<(usize, f64)> {
        self.find(member).map(|(rank, span)| (rank, self.score(span)))
    }

    pub(super) fn rank_of_score(self, bound: f64, after: bool) -> usize {
        let before = |score: f64| score < bound || (after && score == bound);
        self.spans().take_while(|&span| before(self.score(span))).count()
    }

    pub(super) fn rank_of_member(self, bound: &[u8], after: bool) -> usize {
        let before = |member: &[u8]| member < bound || (after && member == bound);
        self.spans().take_while(|&span| before(self.member(span))).count()
    }

    /// Where an element of this rank starts, the end for a rank that there is not.
    fn offset(self, rank: usize) -> usize {
        match rank {
            0 => HEADER,
            _ => self.spans().nth(rank - 1).map_or(self.0.len(), |span| span.end),
        }
    }

    /// The elements of ranks `start..end`, which must be within the set.
    pub(super) fn range(self, start: usize, end: usize) -> Range<'a> {
        Range { packed: self, start, end, offset: self.offset(start), known: end, offsets: [0; BACK] }
    }

    /// Checks the module's invariants; panics with what is wrong.
    pub(super) fn validate(self) {
        if self.0.is_empty() {
            return;
        }
        let spans: Vec<Span> = self.spans().collect();
        assert_eq!(spans.len(), self.len(), "every element is counted");
        assert_eq!(spans.last().map_or(HEADER, |span| span.end), self.0.len(), "the last element ends the string");
        let ordered = |pair: &[Span]| {
            let key = |span| (self.score(span), self.member(span));
            compare(key(pair[0]), key(pair[1])) == Ordering::Less
        };
        assert!(spans.windows(2).all(ordered), "elements ascend");
        let mut members: Vec<&[u8]> = spans.iter().map(|&span| self.member(span)).collect();
        members.sort_unstable();
        assert!(members.windows(2).all(|pair| pair[0] != pair[1]), "no member occurs twice");
        for span in spans {
            let score = encode(self.score(span), self.is_long());
            assert_eq!(score.as_slice(), &self.0[span.score..span.member], "a score takes the shortest form");
        }
    }
}

/// Adds an element that is absent.
pub(super) fn add(bytes: &mut Vec<u8>, member: &[u8], score: f64) {
    let packed = Packed(bytes);
    let after = |span| compare((packed.score(span), packed.member(span)), (score, member)) == Ordering::Greater;
    let at = packed.spans().find(|&span| after(span)).map_or(bytes.len().max(HEADER), |span| span.start);
    splice(bytes, at, member, score);
}

/// Adds an element that comes after all others.
pub(super) fn append(bytes: &mut Vec<u8>, member: &[u8], score: f64) {
    splice(bytes, bytes.len().max(HEADER), member, score);
}

fn splice(bytes: &mut Vec<u8>, at: usize, member: &[u8], score: f64) {
    let (score, mut length) = (encode(score, Packed(bytes).is_long()), [0; leb128::LONGEST]);
    let width = leb128::write(member.len() as u64, &mut length);
    let (length, score) = (&length[..width], score.as_slice());

    let size = length.len() + score.len() + member.len();
    if bytes.is_empty() {
        bytes.reserve_exact(HEADER + size);
        bytes.extend([0; HEADER]);
    }
    let end = bytes.len();
    if end + size > bytes.capacity() {
        // An eighth more than is needed: doubling would leave a third of all packed memory unused.
        bytes.reserve_exact(size + (end + size) / 8);
    }
    bytes.resize(end + size, 0);
    bytes.copy_within(at..end, at + size);
    let (head, tail) = bytes[at..at + size].split_at_mut(length.len());
    head.copy_from_slice(length);
    let (head, tail) = tail.split_at_mut(score.len());
    head.copy_from_slice(score);
    tail.copy_from_slice(member);
    let count = Packed(bytes).len() + 1;
    set_count(bytes, count);
}

/// Changes the score of a member that is there.
pub(super) fn rescore(bytes: &mut Vec<u8>, member: &[u8], score: f64) {
    let is_long = Packed(bytes).is_long();
    remove(bytes, member);
    if is_long {
        mark_long(bytes);
    }
    add(bytes, member, score);
}

/// Takes a member out; gives its score.
pub(super) fn remove(bytes: &mut Vec<u8>, member: &[u8]) -> Option<f64> {
    let packed = Packed(bytes);
    let (_, span) = packed.find(member)?;
    let score = packed.score(span);
    cut(bytes, span.start, span.end, 1);
    Some(score)
}

/// Takes the elements of ranks `start..end` out, each shown first; the ranks must be within the set.
pub(super) fn remove_range(bytes: &mut Vec<u8>, start: usize, end: usize, mut each: impl FnMut(&[u8], f64)) {
    let packed = Packed(bytes);
    let mut range = packed.range(start, end);
    let from = range.offset;
    range.by_ref().for_each(|(member, score)| each(member, score));
    let to = range.offset;
    cut(bytes, from, to, end - start);
}

fn cut(bytes: &mut Vec<u8>, from: usize, to: usize, elements: usize) {
    let left = Packed(bytes).len() - elements;
    if left == 0 {
        *bytes = Vec::new();
        return;
    }
    bytes.drain(from..to);
    set_count(bytes, left);
    if bytes.capacity() > SHRINK_FROM && bytes.len() < bytes.capacity() / 2 {
        bytes.shrink_to(bytes.len() + bytes.len() / 8);
    }
}

fn set_count(bytes: &mut [u8], count: usize) {
    let mark = Packed(bytes).head() & LONG;
    bytes[..HEADER].copy_from_slice(&(count as u32 | mark).to_le_bytes());
}

/// Marks a set as long, an empty one, too: the mark goes with the last element.
pub(super) fn mark_long(bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        bytes.extend([0; HEADER]);
    }
    bytes[HEADER - 1] |= (LONG >> 24) as u8;
}

/// The bytes of a score.
struct Encoded {
    bytes: [u8; 9],
    len: usize,
}

impl Encoded {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A score; of a long set with the sign of a zero.
fn encode(score: f64, is_long: bool) -> Encoded {
    let mut bytes = [0; 9];
    let integer = score as i64;
    let loses_sign = is_long && score == 0.0 && score.is_sign_negative();
    if integer as f64 == score && !loses_sign {
        if (TINY_MIN..=TINY_MAX).contains(&integer) {
            bytes[0] = (integer - TINY_MIN) as u8;
            return Encoded { bytes, len: 1 };
        }
        let bits = 65 - (integer ^ integer >> 63).leading_zeros();
        let width = bits.div_ceil(8) as usize;
        if width < 8 {
            bytes[0] = WIDE + width as u8;
            bytes[1..].copy_from_slice(&integer.to_le_bytes());
            return Encoded { bytes, len: 1 + width };
        }
    }
    bytes[0] = DOUBLE;
    bytes[1..].copy_from_slice(&score.to_le_bytes());
    Encoded { bytes, len: 9 }
}

/// Offsets that a backward iterator remembers.
const BACK: usize = 32;

/// Elements in order, from both ends. Elements cannot be walked backwards, so the back end scans forwards and keeps
/// the offsets of the last [`BACK`] elements: of ranks `known..end`, each at its rank modulo `BACK`.
pub(super) struct Range<'a> {
    packed: Packed<'a>,
    start: usize,
    end: usize,
    /// Where the element of rank `start` begins.
    offset: usize,
    known: usize,
    offsets: [u32; BACK],
}

impl<'a> Range<'a> {
    fn look_back(&mut self) {
        let mut offset = self.offset;
        for rank in self.start..self.end {
            self.offsets[rank % BACK] = offset as u32;
            offset = self.packed.span(offset).end;
        }
        self.known = self.start.max(self.end.saturating_sub(BACK));
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.start >= self.end {
            return None;
        }
        let span = self.packed.span(self.offset);
        (self.start, self.offset) = (self.start + 1, span.end);
        Some((self.packed.member(span), self.packed.score(span)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.start, Some(self.end - self.start))
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.start >= self.end {
            return None;
        }
        if self.known >= self.end {
            self.look_back();
        }
        self.end -= 1;
        let span = self.packed.span(self.offsets[self.end % BACK] as usize);
        Some((self.packed.member(span), self.packed.score(span)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_take_the_bytes_that_they_need() {
        let cases = [
            (0.0, 1),
            (-16.0, 1),
            (223.0, 1),
            (-17.0, 2),
            (224.0, 3),
            (-128.0, 2),
            (32767.0, 3),
            (-32769.0, 4),
            (1_732_000_000_000.0, 7),
            ((1i64 << 55) as f64 - 4.0, 8),
            ((1i64 << 55) as f64, 9),
            (-((1i64 << 55) as f64), 8),
            (0.5, 9),
            (f64::INFINITY, 9),
            (f64::NEG_INFINITY, 9),
            (f64::MAX, 9),
            (f64::MIN_POSITIVE, 9),
            (9_223_372_036_854_775_808.0, 9),
        ];
        for (score, len) in cases {
            assert_eq!(encode(score, false).len, len, "{score}");
            let mut bytes = Vec::new();
            append(&mut bytes, b"m", score);
            assert_eq!(Packed(&bytes).score_of(b"m"), Some(score));
            Packed(&bytes).validate();
        }
    }

    #[test]
    fn negative_zero_reads_as_zero() {
        let mut bytes = Vec::new();
        append(&mut bytes, b"m", -0.0);
        assert_eq!(Packed(&bytes).score_of(b"m").map(f64::to_bits), Some(0));
    }

    #[test]
    fn a_long_set_keeps_the_sign_of_a_zero() {
        let mut bytes = Vec::new();
        mark_long(&mut bytes);
        append(&mut bytes, b"m", -0.0);
        let score = |bytes: &[u8]| Packed(bytes).score_of(b"m").map(f64::to_bits);
        assert_eq!(score(&bytes), Some((-0.0f64).to_bits()));
        rescore(&mut bytes, b"m", 1.0);
        rescore(&mut bytes, b"m", -0.0);
        assert_eq!((score(&bytes), Packed(&bytes).is_long()), (Some((-0.0f64).to_bits()), true));
        add(&mut bytes, b"l", 0.0);
        Packed(&bytes).validate();
        remove(&mut bytes, b"m");
        assert_eq!((Packed(&bytes).len(), Packed(&bytes).is_long()), (1, true));
        remove(&mut bytes, b"l");
        assert!(bytes.is_empty());
    }

    #[test]
    fn long_members_are_kept() {
        let mut bytes = Vec::new();
        for length in [0, 1, 127, 128, 300, 20_000] {
            add(&mut bytes, &vec![b'x'; length], 1e300);
            Packed(&bytes).validate();
        }
        let lengths: Vec<usize> = Packed(&bytes).range(0, 6).map(|(member, _)| member.len()).collect();
        assert_eq!(lengths, [0, 1, 127, 128, 300, 20_000]);
    }

    #[test]
    fn a_long_set_is_walked_backwards_in_blocks() {
        let mut bytes = Vec::new();
        (0..300).for_each(|n| append(&mut bytes, format!("{n:03}").as_bytes(), n as f64));
        let mut range = Packed(&bytes).range(10, 290);
        // Every seventh element is taken from the front, so that the blocks meet a front that moves.
        let (mut front, mut back) = (10, 290);
        for turn in 0..280 {
            let (element, rank) = if turn % 7 == 0 {
                front += 1;
                (range.next(), front - 1)
            } else {
                back -= 1;
                (range.next_back(), back)
            };
            assert_eq!(element.map(|element| element.1), Some(rank as f64));
        }
        assert!(range.next_back().is_none());
    }

    #[test]
    fn memory_follows_the_content() {
        let mut bytes = Vec::new();
        for n in 0..1000 {
            add(&mut bytes, format!("member-{n}").as_bytes(), n as f64);
            assert!(bytes.capacity() <= bytes.len() + bytes.len() / 8);
        }
        for n in 0..1000 {
            remove(&mut bytes, format!("member-{n}").as_bytes());
            assert!(bytes.capacity() <= (bytes.len() * 2 + 1).max(SHRINK_FROM));
        }
        assert_eq!(bytes.capacity(), 0);
    }
}
