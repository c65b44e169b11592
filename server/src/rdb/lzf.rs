//! Strings compressed with LZF, by the format of Marc Lehmann's liblzf. A byte below 32 announces so many literal bytes
//! and one more; in any other the upper three bits are a length (7: the next byte is added) and the lower five the upper
//! part of a distance, whose lower part follows: two bytes more than the length are repeated from so far back, and one.

/// A repetition of three bytes gives no more than that, and nothing gives more.
const LONGEST: usize = 264;
const BYTES_OF_LONGEST: usize = 3;

/// The string, which must be `len` bytes long; `None` if it is not, or if the bytes are malformed. It takes no more
/// memory than 88 times what it is given.
pub(super) fn decompress(mut input: &[u8], len: u64) -> Option<Vec<u8>> {
    let len = usize::try_from(len).ok().filter(|len| len / LONGEST <= input.len() / BYTES_OF_LONGEST)?;
    let mut out = Vec::new();
    out.try_reserve_exact(len).ok()?;
    while let Some((&control, rest)) = input.split_first() {
        input = rest;
        if control < 32 {
            let (literal, rest) = input.split_at_checked(usize::from(control) + 1)?;
            if literal.len() > len - out.len() {
                return None;
            }
            out.extend_from_slice(literal);
            input = rest;
            continue;
        }
        let mut count = usize::from(control >> 5) + 2;
        if control >> 5 == 7 {
            let (more, rest) = input.split_first()?;
            (count, input) = (count + usize::from(*more), rest);
        }
        let (low, rest) = input.split_first()?;
        input = rest;
        let distance = (usize::from(control & 0x1f) << 8 | usize::from(*low)) + 1;
        let from = out.len().checked_sub(distance)?;
        if count > len - out.len() {
            return None;
        }
        repeat(&mut out, from, count);
    }
    (out.len() == len).then_some(out)
}

/// Repeats `count` bytes from a place on; what is added may be among them.
fn repeat(out: &mut Vec<u8>, from: usize, mut count: usize) {
    while count > 0 {
        // What has been added has the same period, so that each turn may take all of it.
        let step = count.min(out.len() - from);
        out.extend_from_within(from..from + step);
        count -= step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_repetitions_are_undone() {
        assert_eq!(decompress(&[2, b'a', b'b', b'c'], 3), Some(b"abc".to_vec()));
        assert_eq!(decompress(&[0, b'a', 0xe0, 255, 0], 265), Some(vec![b'a'; 265]));
        assert_eq!(decompress(&[2, b'a', b'b', b'c', 0x60, 2], 8), Some(b"abcabcab".to_vec()));
        assert_eq!(decompress(&[2, b'a', b'b', b'c', 0x20, 1, 0, b'!'], 7), Some(b"abcbcb!".to_vec()));
    }

    #[test]
    fn what_is_cut_or_lies_is_refused() {
        for (input, len) in [
            (&[2, b'a', b'b'][..], 3),
            (&[2, b'a', b'b', b'c'], 2),
            (&[2, b'a', b'b', b'c'], 4),
            (&[0, b'a', 0xe0, 255], 265),
            (&[0, b'a', 0xe0], 265),
            (&[0, b'a', 0x20, 1], 4),
            (&[0, b'a', 0x20, 0], 3),
            (&[0x20, 0], 3),
            (&[0, b'a'], u64::MAX),
            (&[], 1),
        ] {
            assert_eq!(decompress(input, len), None, "{input:?} of {len}");
        }
    }
}
