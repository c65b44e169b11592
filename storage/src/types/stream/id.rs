//! The ids of a stream's entries: a time in milliseconds, and a number among the entries of that time.

/// An id. Ids are ordered by time, then by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds since 1970, as a rule.
    pub ms: u64,
    /// The number among the entries of the same time.
    pub seq: u64,
}

impl StreamId {
    /// The lowest id, which no entry has.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The highest id.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// An id from its parts.
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// As one number, in the same order.
    #[inline]
    pub fn bits(self) -> u128 {
        (self.ms as u128) << 64 | self.seq as u128
    }

    /// The id of a number; the reverse of [`StreamId::bits`].
    #[inline]
    pub fn from_bits(bits: u128) -> Self {
        Self { ms: (bits >> 64) as u64, seq: bits as u64 }
    }

    /// The next id; `None` behind the highest.
    pub fn next(self) -> Option<Self> {
        self.bits().checked_add(1).map(Self::from_bits)
    }

    /// The id before; `None` before the lowest.
    pub fn previous(self) -> Option<Self> {
        self.bits().checked_sub(1).map(Self::from_bits)
    }

    /// The id that stands so far from this one; node contents name ids by their distance from the node's first.
    #[inline]
    pub(super) fn at_distance(self, ms: i64, seq: i64) -> Self {
        Self { ms: self.ms.wrapping_add(ms as u64), seq: self.seq.wrapping_add(seq as u64) }
    }

    /// The distance of `other` from this one.
    #[inline]
    pub(super) fn distance(self, other: Self) -> (i64, i64) {
        (other.ms.wrapping_sub(self.ms) as i64, other.seq.wrapping_sub(self.seq) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_carry_from_number_to_time() {
        assert_eq!(StreamId::new(1, u64::MAX).next(), Some(StreamId::new(2, 0)));
        assert_eq!(StreamId::new(2, 0).previous(), Some(StreamId::new(1, u64::MAX)));
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
    }

    #[test]
    fn any_distance_leads_back() {
        for (one, other) in [(StreamId::MIN, StreamId::MAX), (StreamId::new(5, 9), StreamId::new(6, 0))] {
            let (ms, seq) = one.distance(other);
            assert_eq!(one.at_distance(ms, seq), other);
        }
    }
}
