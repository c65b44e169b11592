//! How much a packed list or a chunk may hold: `list-max-listpack-size`, as Redis counts it.

/// Bytes that Redis counts for a listpack beside its elements.
const HEAD_AND_END: usize = 7;
/// Bytes that Redis expects an element to take beside its text.
const OVERHEAD: usize = 8;
/// Bytes at most when elements are counted.
const SAFE_BYTES: usize = 8192;
/// Bytes at most for -1, -2, ..., -5 and below.
const LEVELS: [usize; 5] = [4096, 8192, 16_384, 32_768, 65_536];

/// The most bytes and elements that stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    bytes: usize,
    elements: usize,
}

impl Bound {
    /// What a value of the option says: a number of elements, or, if it is negative, a step of bytes.
    pub(super) fn new(size: i64) -> Self {
        if size >= 0 {
            return Self { bytes: SAFE_BYTES, elements: usize::try_from(size).unwrap_or(usize::MAX - 1).max(1) };
        }
        let level = usize::try_from(size.unsigned_abs() - 1).unwrap_or(usize::MAX);
        Self { bytes: LEVELS[level.min(LEVELS.len() - 1)], elements: usize::MAX }
    }

    /// Half of it: below that a large list becomes a packed one again, so that few changes change the form.
    pub(super) fn half(self) -> Self {
        if self.elements == usize::MAX {
            Self { bytes: self.bytes / 2, ..self }
        } else {
            Self { elements: self.elements / 2, ..self }
        }
    }

    /// Whether so many elements fit, which take so many bytes.
    #[inline]
    pub(super) fn fits(self, bytes: usize, elements: usize) -> bool {
        bytes + HEAD_AND_END <= self.bytes && elements <= self.elements
    }

    /// Whether an element fits beside others.
    #[inline]
    pub(super) fn takes(self, bytes: usize, elements: usize, text_len: usize) -> bool {
        !self.is_large(text_len) && self.fits(bytes + text_len + OVERHEAD, elements + 1)
    }

    /// Whether an element is so long that it stands alone.
    #[inline]
    pub(super) fn is_large(self, text_len: usize) -> bool {
        text_len > self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_sizes_are_bytes_and_others_elements() {
        let bytes = |size| Bound::new(size).bytes;
        assert_eq!([-1, -2, -3, -4, -5, -6, i64::MIN].map(bytes), [4096, 8192, 16_384, 32_768, 65_536, 65_536, 65_536]);
        assert_eq!([0, 1, 2, 128].map(|size| Bound::new(size).elements), [1, 1, 2, 128]);
        assert_eq!([0, 1, 9].map(|size| Bound::new(size).half().elements), [0, 0, 4]);
        assert!(Bound::new(-2).fits(8185, 100_000) && !Bound::new(-2).fits(8186, 1));
        assert!(Bound::new(i64::MAX).fits(8185, 100_000) && !Bound::new(i64::MAX).fits(8186, 1));
        assert!(Bound::new(-2).half().fits(4089, 1) && !Bound::new(-2).half().fits(4090, 1));
    }
}
