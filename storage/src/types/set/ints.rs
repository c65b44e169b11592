//! The form of a small set of integers: one byte string, the integers in ascending order.
//!
//! Layout: two zero bytes, width (1 byte: 2, 4 or 8), then the integers as in Redis's intset, each of so many
//! little-endian bytes, so that DUMP and RESTORE take them as they are. No packed sequence begins with two zero bytes,
//! which would be its count, so a key's entry tells both forms apart by its bytes.
//!
//! The empty byte string is the empty set, too. The width is that of the widest integer that was ever there. Look-ups
//! are binary searches; a change moves what stands behind it.

/// Bytes in front of the integers.
pub(super) const HEADER: usize = 3;

/// A set, for reading.
#[derive(Clone, Copy)]
pub(super) struct Ints<'a>(pub(super) &'a [u8]);

/// Bytes that an integer needs.
fn width_of(number: i64) -> usize {
    match number {
        -0x8000..=0x7fff => 2,
        -0x8000_0000..=0x7fff_ffff => 4,
        _ => 8,
    }
}

impl<'a> Ints<'a> {
    /// Whether the bytes of a packed set, whichever form it has, are integers.
    pub(super) fn are_in(bytes: &[u8]) -> bool {
        bytes.starts_with(&[0, 0])
    }

    #[inline]
    fn width(self) -> usize {
        self.0.get(2).map_or(2, |width| *width as usize)
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        self.0.len().saturating_sub(HEADER) / self.width()
    }

    /// The integer of this rank, which must be there.
    #[inline]
    pub(super) fn get(self, rank: usize) -> i64 {
        read(self.0, self.width(), rank)
    }

    /// The rank of an integer, or the one that it would have.
    #[inline]
    pub(super) fn search(self, number: i64) -> Result<usize, usize> {
        let (width, len) = (self.width(), self.len());
        if width_of(number) > width {
            // It is beyond all that this width holds.
            return Err(if number < 0 { 0 } else { len });
        }
        // Many sets are filled in ascending order.
        if len == 0 || read(self.0, width, len - 1) < number {
            return Err(len);
        }
        match width {
            2 => self.search_in::<2>(number),
            4 => self.search_in::<4>(number),
            _ => self.search_in::<8>(number),
        }
    }

    #[inline]
    fn search_in<const WIDTH: usize>(self, number: i64) -> Result<usize, usize> {
        self.0[HEADER..].as_chunks::<WIDTH>().0.binary_search_by_key(&number, |bytes| extended(bytes))
    }

    #[inline]
    pub(super) fn contains(self, number: i64) -> bool {
        self.search(number).is_ok()
    }

    /// The least and the greatest.
    pub(super) fn ends(self) -> Option<(i64, i64)> {
        let last = self.len().checked_sub(1)?;
        Some((self.get(0), self.get(last)))
    }

    /// The integers, ascending.
    #[inline]
    pub(super) fn iter(self) -> Iter<'a> {
        Iter { bytes: self.0, width: self.width(), next: 0, end: self.len() }
    }

    /// Checks the module's invariants; panics with what is wrong.
    pub(super) fn validate(self) {
        if self.0.is_empty() {
            return;
        }
        assert!(Self::are_in(self.0) && [2, 4, 8].contains(&self.width()), "the head tells form and width");
        assert_eq!((self.0.len() - HEADER) % self.width(), 0, "no integer is cut");
        let numbers: Vec<i64> = self.iter().collect();
        assert_eq!(numbers.len(), self.len());
        assert!(numbers.is_sorted_by(|one, other| one < other), "integers ascend");
        assert!(numbers.iter().all(|number| self.contains(*number)), "every integer is found");
    }
}

/// The integer whose bytes these are; its sign is repeated.
#[inline]
fn extended(bytes: &[u8]) -> i64 {
    let mut word = [0; 8];
    word[8 - bytes.len()..].copy_from_slice(bytes);
    i64::from_le_bytes(word) >> (64 - 8 * bytes.len())
}

#[inline]
fn read(bytes: &[u8], width: usize, rank: usize) -> i64 {
    let at = HEADER + rank * width;
    match width {
        2 => extended(&bytes[at..at + 2]),
        4 => extended(&bytes[at..at + 4]),
        _ => extended(&bytes[at..at + 8]),
    }
}

/// See [`Ints::iter`].
#[derive(Clone)]
pub(super) struct Iter<'a> {
    bytes: &'a [u8],
    width: usize,
    next: usize,
    end: usize,
}

impl Iterator for Iter<'_> {
    type Item = i64;

    #[inline]
    fn next(&mut self) -> Option<i64> {
        if self.next == self.end {
            return None;
        }
        self.next += 1;
        Some(read(self.bytes, self.width, self.next - 1))
    }
}

/// Adds an integer; whether it is new.
pub(super) fn insert(bytes: &mut Vec<u8>, number: i64) -> bool {
    let Err(rank) = Ints(bytes).search(number) else { return false };
    let mut width = width_of(number);
    if bytes.is_empty() {
        bytes.extend_from_slice(&[0, 0, width as u8]);
    } else if width > Ints(bytes).width() {
        widen(bytes, width);
    } else {
        width = Ints(bytes).width();
    }
    let (at, end) = (HEADER + rank * width, bytes.len());
    make_room(bytes, width);
    bytes.resize(end + width, 0);
    bytes.copy_within(at..end, at + width);
    bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
    true
}

/// Adds an integer that comes after all others and is no wider than `width`, the width of the set.
fn append(bytes: &mut Vec<u8>, width: usize, number: i64) {
    make_room(bytes, width);
    bytes.extend_from_slice(&number.to_le_bytes()[..width]);
}

/// A large set, which only a raised limit allows, grows by an eighth: it never takes twice what it needs.
fn make_room(bytes: &mut Vec<u8>, width: usize) {
    const DOUBLES_TO: usize = 4096;
    if bytes.len() >= DOUBLES_TO && bytes.capacity() - bytes.len() < width {
        bytes.reserve_exact(bytes.len() / 8);
    }
}

fn widen(bytes: &mut Vec<u8>, width: usize) {
    let old = std::mem::take(bytes);
    bytes.reserve_exact(HEADER + (Ints(&old).len() + 1) * width);
    bytes.extend_from_slice(&[0, 0, width as u8]);
    Ints(&old).iter().for_each(|number| append(bytes, width, number));
}

/// Takes an integer out; whether it was there.
pub(super) fn remove(bytes: &mut Vec<u8>, number: i64) -> bool {
    let Ok(rank) = Ints(bytes).search(number) else { return false };
    let width = Ints(bytes).width();
    let at = HEADER + rank * width;
    bytes.drain(at..at + width);
    shrink(bytes);
    true
}

/// Keeps only integers for which `keep` holds; it is asked in ascending order.
pub(super) fn retain(bytes: &mut Vec<u8>, mut keep: impl FnMut(i64) -> bool) {
    let (width, len, mut kept) = (Ints(bytes).width(), Ints(bytes).len(), 0);
    for rank in 0..len {
        if keep(read(bytes, width, rank)) {
            let at = HEADER + rank * width;
            bytes.copy_within(at..at + width, HEADER + kept * width);
            kept += 1;
        }
    }
    bytes.truncate(HEADER + kept * width);
    shrink(bytes);
}

/// Small strings keep their allocation: they stand in a key's entry, and the `Vec` is there for the change only.
fn shrink(bytes: &mut Vec<u8>) {
    const SHRINK_FROM: usize = 4096;
    if bytes.len() <= HEADER {
        *bytes = Vec::new();
    } else if bytes.capacity() > SHRINK_FROM && bytes.len() < bytes.capacity() / 2 {
        bytes.shrink_to(bytes.len() + bytes.len() / 8);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_are_those_of_an_intset() {
        let mut bytes = Vec::new();
        for number in [5, -1, 300, 5] {
            insert(&mut bytes, number);
        }
        assert_eq!(bytes, [0, 0, 2, 0xff, 0xff, 5, 0, 44, 1]);
        insert(&mut bytes, 70_000);
        assert_eq!(bytes[..7], [0, 0, 4, 0xff, 0xff, 0xff, 0xff]);
        insert(&mut bytes, i64::MIN);
        assert_eq!(bytes[..11], [0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0x80]);
        assert_eq!(Ints(&bytes).iter().collect::<Vec<_>>(), [i64::MIN, -1, 5, 300, 70_000]);
    }

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => -20i64..20,
            2 => any::<i16>().prop_map(i64::from),
            1 => any::<i32>().prop_map(i64::from),
            1 => any::<i64>(),
            1 => prop::sample::select(vec![0x7fff, 0x8000, -0x8000, -0x8001, 0x7fff_ffff, 0x8000_0000, i64::MIN, i64::MAX]),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(steps in prop::collection::vec((0..9, number()), 0..200)) {
            let (mut bytes, mut model) = (Vec::new(), BTreeSet::new());
            for (what, number) in steps {
                match what {
                    0..6 => prop_assert_eq!(insert(&mut bytes, number), model.insert(number)),
                    6..8 => prop_assert_eq!(remove(&mut bytes, number), model.remove(&number)),
                    _ => {
                        retain(&mut bytes, |each| each % 3 != number % 3);
                        model.retain(|each| each % 3 != number % 3);
                    }
                }
                Ints(&bytes).validate();
                prop_assert_eq!(Ints(&bytes).contains(number), model.contains(&number));
                prop_assert_eq!(Ints(&bytes).iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(Ints(&bytes).ends(), model.first().copied().zip(model.last().copied()));
            }
        }
    }
}
