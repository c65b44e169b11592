//! Strings as arrays of bits, the first bit being the highest of the first byte: counted, searched, combined, and read
//! and written as integers of any width.

use std::ops::Range;

pub(crate) use larder_storage::cpu::count_ones;

/// The bits of a range, both ends within the string: how many are set.
pub(crate) fn count_range(bytes: &[u8], bits: Range<usize>) -> u64 {
    if bits.is_empty() {
        return 0;
    }
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    let before = bytes[first] & !low_bits(8 - bits.start % 8);
    let after = bytes[last] & low_bits(7 - (bits.end - 1) % 8);
    count_ones(&bytes[first..=last]) - u64::from(before.count_ones()) - u64::from(after.count_ones())
}

/// A byte with its lowest `count` bits set.
fn low_bits(count: usize) -> u8 {
    ((1_u16 << count) - 1) as u8
}

/// The first bit of a range, both ends within the string, that is as wanted.
pub(crate) fn find(bytes: &[u8], wanted: bool, bits: Range<usize>) -> Option<usize> {
    if bits.is_empty() {
        return None;
    }
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    // What is sought is set, once all is inverted for a clear bit.
    let inverted = if wanted { 0 } else { 0xff };
    let place = |at: usize, byte: u8| at * 8 + byte.leading_zeros() as usize;
    let head = (bytes[first] ^ inverted) & low_bits(8 - bits.start % 8);
    let found = if head != 0 {
        place(first, head)
    } else {
        let rest = &bytes[first + 1..=last.max(first)];
        let at = first + 1 + first_other(rest, inverted)?;
        place(at, bytes[at] ^ inverted)
    };
    (found < bits.end).then_some(found)
}

/// The place of the first byte that is not `byte`.
fn first_other(bytes: &[u8], byte: u8) -> Option<usize> {
    const AT_ONCE: usize = 64;
    let (chunks, rest) = bytes.as_chunks::<AT_ONCE>();
    let same = [byte; AT_ONCE];
    let in_chunk = chunks.iter().position(|chunk| *chunk != same);
    let (from, part) = match in_chunk {
        Some(chunk) => (chunk * AT_ONCE, &chunks[chunk][..]),
        None => (chunks.len() * AT_ONCE, rest),
    };
    part.iter().position(|other| *other != byte).map(|at| from + at)
}

/// How several strings become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    And,
    Or,
    Xor,
    /// Of one string only.
    Not,
}

/// Combines strings into `result`, which is all zeros and as long as the longest. A shorter one counts as if it had
/// zeros at its end.
pub(crate) fn combine(operation: Operation, sources: &[&[u8]], result: &mut [u8]) {
    /// A piece of the result stays in the nearest cache while all sources pass over it.
    const PIECE: usize = 16 << 10;
    let Some((first, others)) = sources.split_first() else { return };
    for (number, piece) in result.chunks_mut(PIECE).enumerate() {
        let start = number * PIECE;
        let part =
            |source: &&'_ [u8]| -> Range<usize> { start.min(source.len())..(start + piece.len()).min(source.len()) };
        let (range, rest): (_, Vec<_>) = (part(first), others.iter().map(|other| &other[part(other)]).collect());
        let first = &first[range];
        piece[..first.len()].copy_from_slice(first);
        if operation == Operation::Not {
            piece.iter_mut().for_each(|byte| *byte = !*byte);
        }
        for other in rest {
            let (common, beyond) = piece.split_at_mut(other.len());
            let pairs = common.iter_mut().zip(other);
            match operation {
                Operation::And => {
                    pairs.for_each(|(to, from)| *to &= from);
                    beyond.fill(0);
                }
                Operation::Or => pairs.for_each(|(to, from)| *to |= from),
                Operation::Xor => pairs.for_each(|(to, from)| *to ^= from),
                Operation::Not => {}
            }
        }
    }
}

/// Bytes that a field of 64 bits can touch.
const FIELD_BYTES: usize = 9;

/// Where a field stands in the [`FIELD_BYTES`] from its first byte on: how far its last bit is from the end of a `u128`
/// that begins with them.
fn shift(bit: u64, width: u32) -> u32 {
    u128::BITS - (bit % 8) as u32 - width
}

fn mask(width: u32) -> u64 {
    u64::MAX >> (u64::BITS - width)
}

fn window(bytes: &[u8], bit: u64) -> u128 {
    let mut window = [0; 16];
    let from = usize::try_from(bit / 8).map_or(bytes.len(), |from| from.min(bytes.len()));
    let there = &bytes[from..(from + FIELD_BYTES).min(bytes.len())];
    window[..there.len()].copy_from_slice(there);
    u128::from_be_bytes(window)
}

/// The integer of `width` bits, 1 to 64, that begins at a bit. Beyond the end all bits are clear.
pub(crate) fn field(bytes: &[u8], bit: u64, width: u32) -> u64 {
    (window(bytes, bit) >> shift(bit, width)) as u64 & mask(width)
}

/// Writes the lowest `width` bits of a value from a bit on. The string holds all of them.
pub(crate) fn set_field(bytes: &mut [u8], bit: u64, width: u32, value: u64) {
    let shift = shift(bit, width);
    let changed = window(bytes, bit) & !(u128::from(mask(width)) << shift) | u128::from(value & mask(width)) << shift;
    let from = (bit / 8) as usize;
    let to = (from + FIELD_BYTES).min(bytes.len());
    bytes[from..to].copy_from_slice(&changed.to_be_bytes()[..to - from]);
}

#[cfg(test)]
mod tests {
    use larder_storage::rng::Rng;

    use super::*;

    fn bit(bytes: &[u8], at: usize) -> bool {
        bytes[at / 8] >> (7 - at % 8) & 1 == 1
    }

    fn random_bytes(rng: &mut Rng, longest: usize) -> Vec<u8> {
        let filler = [0, 0xff, 0x10][rng.index(3)];
        let len = rng.index(longest + 1);
        (0..len).map(|_| if rng.index(40) == 0 { rng.next_u64() as u8 } else { filler }).collect()
    }

    #[test]
    fn ranges_are_counted_and_searched_like_bit_by_bit() {
        let mut rng = Rng::seeded(1);
        for _ in 0..3000 {
            let bytes = random_bytes(&mut rng, 300);
            let (one, other) = (rng.index(bytes.len() * 8 + 1), rng.index(bytes.len() * 8 + 1));
            let range = one.min(other)..one.max(other);
            let expected = range.clone().filter(|at| bit(&bytes, *at)).count();
            assert_eq!(count_range(&bytes, range.clone()), expected as u64, "{range:?} of {bytes:?}");
            for wanted in [false, true] {
                let expected = range.clone().find(|at| bit(&bytes, *at) == wanted);
                assert_eq!(find(&bytes, wanted, range.clone()), expected, "{wanted} in {range:?} of {bytes:?}");
            }
        }
    }

    #[test]
    fn strings_are_combined_like_byte_by_byte() {
        let mut rng = Rng::seeded(2);
        for case in 0..400 {
            let longest = if case % 20 == 0 { 50_000 } else { 200 };
            let strings: Vec<_> = (0..1 + rng.index(4)).map(|_| random_bytes(&mut rng, longest)).collect();
            let sources: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
            let len = sources.iter().map(|source| source.len()).max().unwrap();
            let column = |at: usize| sources.iter().map(move |source| source.get(at).copied().unwrap_or(0));
            let check = |operation, of: &dyn Fn(usize) -> u8| {
                let mut result = vec![0; len];
                combine(operation, &sources, &mut result);
                assert!(result.iter().enumerate().all(|(at, byte)| *byte == of(at)), "{operation:?} of {sources:?}");
            };
            check(Operation::And, &|at| column(at).fold(0xff, |all, byte| all & byte));
            check(Operation::Or, &|at| column(at).fold(0, |any, byte| any | byte));
            check(Operation::Xor, &|at| column(at).fold(0, |odd, byte| odd ^ byte));
            let mut inverted = vec![0; sources[0].len()];
            combine(Operation::Not, &sources[..1], &mut inverted);
            assert!(inverted.iter().zip(sources[0]).all(|(byte, source)| *byte == !source));
        }
    }

    #[test]
    fn fields_are_read_as_they_were_written_and_nothing_else_changes() {
        let mut rng = Rng::seeded(3);
        for _ in 0..5000 {
            let mut bytes: Vec<u8> = (0..20).map(|_| rng.next_u64() as u8).collect();
            let before = bytes.clone();
            let width = 1 + rng.index(64) as u32;
            let at = rng.index(160 - width as usize + 1);
            let value = rng.next_u64();
            let expected = (at..at + width as usize).fold(0, |sum, at| sum << 1 | u64::from(bit(&before, at)));
            assert_eq!(field(&bytes, at as u64, width), expected);
            set_field(&mut bytes, at as u64, width, value);
            assert_eq!(field(&bytes, at as u64, width), value & mask(width));
            let field = at..at + width as usize;
            assert!((0..160).filter(|at| !field.contains(at)).all(|at| bit(&bytes, at) == bit(&before, at)));
        }
        assert_eq!(field(b"\xff", 4, 8), 0xf0);
        assert_eq!(field(b"\xff", u64::MAX, 64), 0);
    }
}
