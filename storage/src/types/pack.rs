//! A packed sequence of strings: one byte string that small collections, and the chunks of large ones, are made of.
//!
//! Layout: head (u16, little endian), then the elements as in Redis's listpack, so that DUMP and RESTORE take them as
//! they are. The head's lower 14 bits are the number of elements (all set: they must be counted), the others are marks for
//! the owner's use ([`Mark`]). An element is
//!
//! ```text
//! 0xxxxxxx                          an integer, 0 to 127
//! 10llllll bytes                    a string of up to 63 bytes
//! 110xxxxx x                        an integer of 13 bits, signed
//! 1110llll l bytes                  a string of up to 4095 bytes
//! 11110000 llll bytes               a longer string; the length is a u32, little endian
//! 11110001 .. 11110100, integer     an integer of 16, 24, 32, 64 bits, little endian
//! ```
//!
//! and behind that the number of bytes so far, in groups of 7 bits, the highest first, all but the first with the top
//! bit set: it is read from the right, so that a sequence can be walked from its end.
//!
//! The empty byte string is the empty sequence, too. A string that spells an integer in canonical form is stored as
//! one. Places are byte offsets from the beginning. Walking costs a step per element; limits keep that short.

use std::ops::DerefMut;

use crate::heap::MovableVec;
use crate::value::canonical_i64;

#[cfg(test)]
mod tests;

/// Bytes of the count in front.
pub(super) const HEADER: usize = 2;
/// A count from here on is not known.
const UNKNOWN: u16 = !MARKS;
/// The bits of the head that are the owner's.
const MARKS: u16 = Mark::Timed as u16 | Mark::Long as u16;
/// Smaller strings keep their allocation: they stand in a key's entry, and the `Vec` is there for the change only.
const SHRINK_FROM: usize = 4096;

/// What an owner notes of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Mark {
    /// Each value of a hash is followed by a time.
    Timed = 1 << 15,
    /// It has or had an element longer than Redis's listpack would take, or a change that Redis makes a hash table for.
    Long = 1 << 14,
}

impl Mark {
    /// Its bit in the head's second byte.
    #[inline]
    fn in_head(self) -> u8 {
        (self as u16 >> 8) as u8
    }
}

/// Bytes that a sequence marked as long may take: up to there it is smaller than a hash table, and not slower.
const LONG_AT_MOST: usize = 2048;
/// Bytes above which a packed collection takes nothing more, whatever `Env` allows (1 GiB, Redis 7.4's listpack limit).
pub(super) const MAX_BYTES: usize = 1 << 30;

/// Bytes that a packed collection may take, long or not.
#[inline]
pub(super) fn most_bytes(is_long: bool) -> usize {
    if is_long { LONG_AT_MOST } else { MAX_BYTES }
}

/// An element as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<'a> {
    /// A string that is an integer in canonical form.
    Int(i64),
    /// Any other string.
    Bytes(&'a [u8]),
}

impl<'a> Element<'a> {
    /// The element that stores a string.
    #[inline]
    pub fn of(bytes: &'a [u8]) -> Self {
        // No integer has more digits, and most strings are told by their first byte.
        match bytes.first() {
            Some(b'0'..=b'9' | b'-') if bytes.len() <= 20 => canonical_i64(bytes).map_or(Self::Bytes(bytes), Self::Int),
            _ => Self::Bytes(bytes),
        }
    }

    /// The element as it is stored: a string that spells an integer is one.
    #[inline]
    pub fn stored(self) -> Self {
        match self {
            Self::Int(_) => self,
            Self::Bytes(bytes) => Self::of(bytes),
        }
    }

    /// The string; an integer is printed into `buffer`.
    #[inline]
    pub fn text<'b>(self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Self::Int(number) => buffer.format(number).as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The string's length in bytes.
    pub fn text_len(self) -> usize {
        self.text(&mut itoa::Buffer::new()).len()
    }

    /// Bytes that it takes in a sequence.
    #[inline]
    pub fn size(self) -> usize {
        let size = match self {
            Self::Int(number) => int_size(number),
            Self::Bytes(bytes) => bytes.len() + head_size(bytes.len()),
        };
        size + back_size(size)
    }
}

/// Bytes before a string.
fn head_size(len: usize) -> usize {
    match len {
        0..64 => 1,
        64..4096 => 2,
        _ => 5,
    }
}

/// Bytes of an integer with its head.
fn int_size(number: i64) -> usize {
    match number {
        0..=127 => 1,
        -4096..=4095 => 2,
        -0x8000..=0x7fff => 3,
        -0x80_0000..=0x7f_ffff => 4,
        -0x8000_0000..=0x7fff_ffff => 5,
        _ => 9,
    }
}

/// Bytes that tell how long an element of `size` bytes is; at 16383 and the like one more than would do, as in Redis.
fn back_size(size: usize) -> usize {
    match size {
        0..128 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// A sequence, for reading.
#[derive(Clone, Copy)]
pub struct Pack<'a>(pub &'a [u8]);

impl<'a> Pack<'a> {
    /// The number of elements.
    #[inline]
    pub fn len(self) -> usize {
        match self.0.first_chunk::<HEADER>().map(|head| u16::from_le_bytes(*head) & !MARKS) {
            None => 0,
            Some(UNKNOWN) => self.iter().count(),
            Some(count) => count as usize,
        }
    }

    /// Whether it has a mark; an empty sequence has none.
    #[inline]
    pub fn is_marked(self, mark: Mark) -> bool {
        self.0.get(1).is_some_and(|head| head & mark.in_head() != 0)
    }

    /// Whether there is no element.
    pub fn is_empty(self) -> bool {
        self.0.len() <= HEADER
    }

    /// The elements as Redis's listpack has them, without its head and end.
    pub fn body(self) -> &'a [u8] {
        self.0.get(HEADER..).unwrap_or_default()
    }

    /// Where the first element stands, or would.
    pub fn start(self) -> usize {
        HEADER
    }

    /// The elements, from either end.
    #[inline]
    pub fn iter(self) -> Iter<'a> {
        Iter { bytes: self.0, at: HEADER, end: self.0.len().max(HEADER) }
    }

    /// The elements from a place on.
    #[inline]
    pub fn iter_from(self, at: usize) -> Iter<'a> {
        Iter { at, ..self.iter() }
    }

    /// The element at a place, and the place after it; `None` at the end.
    #[inline]
    pub fn get(self, at: usize) -> Option<(Element<'a>, usize)> {
        if at >= self.0.len() {
            return None;
        }
        let (element, size) = read(&self.0[at..]);
        Some((element, at + size + back_size(size)))
    }

    /// The place of the element before a place; `None` at the beginning.
    #[inline]
    pub fn before(self, at: usize) -> Option<usize> {
        (at > HEADER).then(|| at - size_before(&self.0[..at]))
    }

    /// The place of the element of this number, found from the nearer end.
    pub fn place(self, number: usize) -> Option<usize> {
        let len = self.len();
        if number >= len {
            return None;
        }
        if number <= len / 2 {
            return (0..number).try_fold(HEADER, |at, _| Some(self.get(at)?.1));
        }
        (number..len).try_fold(self.0.len(), |at, _| self.before(at))
    }

    /// The place of the first element equal to `wanted` from a place on, looking at each `step`-th.
    #[inline]
    pub fn find(self, wanted: Element<'_>, from: usize, step: usize) -> Option<usize> {
        // A short string is told from most others by its head, without a look at what stands behind that.
        let short = match wanted {
            Element::Bytes(bytes) if head_size(bytes.len()) == 1 => Some((0x80 | bytes.len() as u8, bytes)),
            _ => None,
        };
        let mut at = from;
        loop {
            let head = *self.0.get(at)?;
            let is_found = match short {
                Some((wanted, bytes)) => head == wanted && &self.0[at + 1..at + 1 + bytes.len()] == bytes,
                None => self.get(at)?.0 == wanted,
            };
            if is_found {
                return Some(at);
            }
            for _ in 0..step {
                at = self.after(at)?;
            }
        }
    }

    /// The place after the element at a place; `None` at the end.
    #[inline]
    fn after(self, at: usize) -> Option<usize> {
        match *self.0.get(at)? {
            0..0x80 => Some(at + 2),
            head @ 0x80..0xc0 => Some(at + 2 + (head & 0x3f) as usize),
            _ => self.get(at).map(|(_, next)| next),
        }
    }

    /// Whether an element is there.
    #[inline]
    pub fn contains(self, wanted: Element<'_>) -> bool {
        self.find(wanted, HEADER, 1).is_some()
    }

    /// Checks bytes of unknown origin as the body of a listpack; the number of its elements if they are well-formed.
    pub fn check(body: &[u8]) -> Option<usize> {
        let (mut at, mut count) = (0, 0);
        while at < body.len() {
            let size = checked_size(&body[at..])?;
            let end = at.checked_add(size)?.checked_add(back_size(size))?;
            if end > body.len() || size_before(&body[..end]) != end - at {
                return None;
            }
            (at, count) = (end, count + 1);
        }
        Some(count)
    }

    /// Checks every invariant; panics with what is wrong. For tests.
    pub fn validate(self) {
        let count = Pack::check(self.body());
        assert!(count.is_some(), "elements are well-formed");
        assert_eq!(count, Some(self.len()), "elements are counted");
        for element in self.iter() {
            if let Element::Bytes(bytes) = element {
                assert_eq!(canonical_i64(bytes), None, "an integer is stored as one");
            }
        }
    }
}

/// The sequence whose elements are the well-formed body of a listpack; `count` of them.
pub fn from_body(body: &[u8], count: usize) -> Vec<u8> {
    if body.is_empty() {
        return Vec::new();
    }
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(&saturated(count).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The sequence of a listpack's body of unknown origin; `None` if it is malformed. Each element takes the one form that
/// it has here: other writers may have left an integer as a string, or a short string under a long head.
pub fn adopt(body: &[u8]) -> Option<Vec<u8>> {
    let count = Pack::check(body)?;
    let bytes = from_body(body, count);
    // No other form is as short.
    if Pack(&bytes).iter().map(|element| element.stored().size()).sum::<usize>() == body.len() {
        return Some(bytes);
    }
    let mut anew = Vec::new();
    Pack(&bytes).iter().for_each(|element| push_back(&mut anew, element.stored()));
    anew.shrink_to_fit();
    Some(anew)
}

/// The first element of `bytes`, and its size without the length behind it.
#[inline]
fn read(bytes: &[u8]) -> (Element<'_>, usize) {
    let first = bytes[0];
    match first {
        0..0x80 => (Element::Int(first as i64), 1),
        0x80..0xc0 => {
            let end = 1 + (first & 0x3f) as usize;
            (Element::Bytes(&bytes[1..end]), end)
        }
        _ => read_long(bytes),
    }
}

fn read_long(bytes: &[u8]) -> (Element<'_>, usize) {
    let first = bytes[0];
    if first < 0xe0 {
        // 13 bits: shifted up to the top and back, which repeats the sign.
        let bits = u16::from_be_bytes([first, bytes[1]]) << 3;
        return (Element::Int((bits as i16 >> 3) as i64), 2);
    }
    if first < 0xf0 {
        let end = 2 + (u16::from_be_bytes([first, bytes[1]]) & 0xfff) as usize;
        return (Element::Bytes(&bytes[2..end]), end);
    }
    if first == 0xf0 {
        let end = 5 + u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
        return (Element::Bytes(&bytes[5..end]), end);
    }
    let width = int_width(first);
    let mut word = [0; 8];
    word[8 - width..].copy_from_slice(&bytes[1..1 + width]);
    (Element::Int(i64::from_le_bytes(word) >> (64 - 8 * width)), 1 + width)
}

/// Bytes of the integer behind a head from 0xf1 to 0xf4.
fn int_width(head: u8) -> usize {
    match head {
        0xf1 => 2,
        0xf2 => 3,
        0xf3 => 4,
        _ => 8,
    }
}

/// The size of the first element without the length behind it, if it is one and stands there whole.
fn checked_size(bytes: &[u8]) -> Option<usize> {
    let size = match *bytes.first()? {
        0..0x80 => 1,
        head @ 0x80..0xc0 => 1 + (head & 0x3f) as usize,
        0xc0..0xe0 => 2,
        head @ 0xe0..0xf0 => 2 + (u16::from_be_bytes([head, *bytes.get(1)?]) & 0xfff) as usize,
        0xf0 => {
            let len: [u8; 4] = bytes.get(1..5)?.try_into().ok()?;
            5usize.checked_add(u32::from_le_bytes(len) as usize)?
        }
        head @ 0xf1..=0xf4 => 1 + int_width(head),
        _ => return None,
    };
    (size <= bytes.len()).then_some(size)
}

/// The size of the last element of `bytes` with the length behind it.
#[inline]
fn size_before(bytes: &[u8]) -> usize {
    let (mut size, mut shift) = (0, 0);
    for &byte in bytes.iter().rev().take(5) {
        size |= ((byte & 0x7f) as usize) << shift;
        if byte < 0x80 {
            break;
        }
        shift += 7;
    }
    size + back_size(size)
}

/// Elements in order; see [`Pack::iter`].
#[derive(Clone, Copy)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl Iter<'_> {
    /// The place of the next element from the front.
    pub fn place(&self) -> usize {
        self.at
    }

    /// The place behind the next element from the back.
    pub fn end(&self) -> usize {
        self.end
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.at >= self.end {
            return None;
        }
        let (element, size) = read(&self.bytes[self.at..]);
        self.at += size + back_size(size);
        Some(element)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        self.end -= size_before(&self.bytes[..self.end]);
        Some(read(&self.bytes[self.end..]).0)
    }
}

/// A byte string that can change in length: a vector, wherever it is allocated.
pub trait Bytes: DerefMut<Target = [u8]> {
    /// How long it may be without an allocation.
    fn capacity(&self) -> usize;

    /// Makes room for so many bytes more, and no more than that.
    fn reserve_exact(&mut self, more: usize);

    /// Cuts bytes off the end or adds zeros there.
    fn set_length(&mut self, len: usize);
}

/// [`Bytes`] are the vectors of both allocators.
macro_rules! bytes {
    ($vec:ty) => {
        impl Bytes for $vec {
            #[inline]
            fn capacity(&self) -> usize {
                self.capacity()
            }

            #[inline]
            fn reserve_exact(&mut self, more: usize) {
                self.reserve_exact(more);
            }

            #[inline]
            fn set_length(&mut self, len: usize) {
                self.resize(len, 0);
            }
        }
    };
}

bytes!(Vec<u8>);
bytes!(MovableVec<u8>);

/// Adds an element at the end.
#[inline]
pub fn push_back(bytes: &mut Vec<u8>, element: Element<'_>) {
    begin(bytes);
    write(bytes, element);
    count_changed(bytes, 1);
}

/// Adds elements at the end.
#[inline]
pub fn extend_back<'a>(bytes: &mut impl Bytes, elements: impl Iterator<Item = Element<'a>>) {
    begin(bytes);
    let mut count = 0;
    for element in elements {
        write(bytes, element);
        count += 1;
    }
    count_changed(bytes, count);
}

/// Adds an element in front.
pub fn push_front(bytes: &mut Vec<u8>, element: Element<'_>) {
    insert(bytes, HEADER, element);
}

/// Adds an element at a place.
pub fn insert(bytes: &mut Vec<u8>, at: usize, element: Element<'_>) {
    begin(bytes);
    put(bytes, at..at, element);
    count_changed(bytes, 1);
}

/// Puts another element in the place of one.
pub fn replace(bytes: &mut impl Bytes, at: usize, element: Element<'_>) {
    if let Some((_, end)) = Pack(bytes).get(at) {
        put(bytes, at..end, element);
    }
}

/// Takes up to `count` elements out, from the one at a place on; how many there were. The string is empty when nothing
/// is left.
pub fn remove(bytes: &mut Vec<u8>, at: usize, count: usize) -> usize {
    let (mut end, mut removed) = (at, 0);
    while removed < count
        && let Some((_, next)) = Pack(bytes).get(end)
    {
        (end, removed) = (next, removed + 1);
    }
    if removed == 0 {
        return 0;
    }
    bytes.drain(at..end);
    if bytes.len() <= HEADER {
        *bytes = Vec::new();
    } else {
        count_changed(bytes, -(removed as isize));
        shrink(bytes);
    }
    removed
}

/// Keeps only elements for which `keep` holds; it is asked in order. The string is empty when nothing is left.
pub fn retain(bytes: &mut Vec<u8>, mut keep: impl FnMut(Element<'_>) -> bool) {
    let (mut at, mut end, mut removed) = (HEADER, HEADER, 0);
    while let Some((element, next)) = Pack(bytes).get(at) {
        if keep(element) {
            bytes.copy_within(at..next, end);
            end += next - at;
        } else {
            removed += 1;
        }
        at = next;
    }
    if removed == 0 {
        return;
    }
    bytes.truncate(end);
    if end == HEADER {
        *bytes = Vec::new();
    } else {
        count_changed(bytes, -removed);
        shrink(bytes);
    }
}

/// Sets a mark on a sequence that is not empty. It stays until the last element goes.
#[inline]
pub fn mark(bytes: &mut [u8], mark: Mark) {
    if let Some(head) = bytes.get_mut(1) {
        *head |= mark.in_head();
    }
}

/// Gives memory back of an allocation that is much too large for so many bytes.
#[inline]
pub(super) fn tighten(bytes: &mut Vec<u8>, needed: usize) {
    /// Shorter ones mostly stand in the entry, and the allocation is the table's, for the change only.
    const OWN: usize = 1900;
    if needed > OWN && bytes.capacity() > needed + needed / 4 {
        bytes.shrink_to(needed + needed / 8);
    }
}

/// Gives memory back that removals have left unused.
fn shrink(bytes: &mut Vec<u8>) {
    if bytes.capacity() > SHRINK_FROM && bytes.len() < bytes.capacity() / 2 {
        bytes.shrink_to(bytes.len() + bytes.len() / 8);
    }
}

fn begin(bytes: &mut impl Bytes) {
    if bytes.is_empty() {
        bytes.set_length(HEADER);
    }
}

fn saturated(count: usize) -> u16 {
    count.min(UNKNOWN as usize) as u16
}

/// Says how many elements there are.
#[inline]
pub(super) fn set_len(bytes: &mut [u8], len: usize) {
    bytes[..HEADER].copy_from_slice(&saturated(len).to_le_bytes());
}

fn count_changed(bytes: &mut [u8], change: isize) {
    let head = u16::from_le_bytes([bytes[0], bytes[1]]);
    let known = head & !MARKS;
    let count = if known == UNKNOWN {
        // Once there are few enough they are counted again.
        if change > 0 { usize::from(UNKNOWN) } else { Pack(bytes).iter().count() }
    } else {
        (known as usize).saturating_add_signed(change)
    };
    bytes[..HEADER].copy_from_slice(&(saturated(count) | head & MARKS).to_le_bytes());
}

/// Puts an element in the place of a range.
fn put(bytes: &mut impl Bytes, range: std::ops::Range<usize>, element: Element<'_>) {
    let (size, old_len) = (element.size(), bytes.len());
    let tail = old_len - range.end;
    if size == range.len() {
        // What stands behind it stays where it is.
    } else if size > range.len() {
        bytes.set_length(old_len + size - range.len());
        bytes.copy_within(range.end..old_len, range.start + size);
    } else {
        bytes.copy_within(range.end.., range.start + size);
        bytes.set_length(range.start + size + tail);
    }
    fill(&mut bytes[range.start..range.start + size], element);
}

/// Appends an element without counting it.
#[inline]
pub(super) fn write(bytes: &mut impl Bytes, element: Element<'_>) {
    let at = bytes.len();
    bytes.set_length(at + element.size());
    fill(&mut bytes[at..], element);
}

/// Writes an element over `place`, which is as long as it is.
#[inline]
pub(super) fn fill(place: &mut [u8], element: Element<'_>) {
    let size = match element {
        Element::Bytes(bytes) => {
            let head = head_size(bytes.len());
            match head {
                1 => place[0] = 0x80 | bytes.len() as u8,
                2 => place[..2].copy_from_slice(&(0xe000 | bytes.len() as u16).to_be_bytes()),
                _ => {
                    place[0] = 0xf0;
                    place[1..5].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
                }
            }
            place[head..head + bytes.len()].copy_from_slice(bytes);
            head + bytes.len()
        }
        Element::Int(number) => fill_int(place, number),
    };
    fill_back(&mut place[size..], size);
}

fn fill_int(place: &mut [u8], number: i64) -> usize {
    let size = int_size(number);
    match size {
        1 => place[0] = number as u8,
        2 => place[..2].copy_from_slice(&(0xc000 | number as u16 & 0x1fff).to_be_bytes()),
        _ => {
            place[0] = match size {
                3 => 0xf1,
                4 => 0xf2,
                5 => 0xf3,
                _ => 0xf4,
            };
            place[1..size].copy_from_slice(&number.to_le_bytes()[..size - 1]);
        }
    }
    size
}

fn fill_back(place: &mut [u8], size: usize) {
    let groups = place.len();
    for (number, byte) in place.iter_mut().enumerate() {
        let bits = (size >> (7 * (groups - 1 - number)) & 0x7f) as u8;
        *byte = if number == 0 { bits } else { bits | 0x80 };
    }
}
