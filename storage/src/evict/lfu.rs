//! Frequently used: the more often an entry was used, the older it may become.
//!
//! The rank is `log2(age) - w(frequency)`, in fixed point. After `n` uses `w` is `log2(n + 1)`, so that an entry may
//! become `n + 1` times as old as its frequency counts; one never used since it was stored has -3 and goes at a
//! sixteenth of the age of one with a single use. Frequencies do not decay with time: age is in the rank already.
//! What is known of evicted keys (see [`ghost`](super::ghost)) tells a key that returns from one that is new.

use super::{Policy, Seen};
use crate::word::MAX_FREQUENCY;

/// Bits after the point.
const FRACTION: u32 = 3;
/// What a use takes from the rank of an entry without any, in powers of two.
const UNUSED: u32 = 3;
/// Added to all ranks, to keep them positive: above the highest weight.
const ZERO: u32 = 16 << FRACTION;

/// `w` per frequency, above that of none.
const WEIGHTS: [u32; MAX_FREQUENCY as usize + 1] = {
    let mut weights = [0; MAX_FREQUENCY as usize + 1];
    let mut frequency = 1;
    while frequency < weights.len() {
        weights[frequency] = (UNUSED << FRACTION) + log2(frequency as u32 + 1);
        frequency += 1;
    }
    weights
};

/// See the module's page.
pub(super) struct Lfu;

impl Policy for Lfu {
    const REMEMBERS: bool = true;

    #[inline]
    fn rank(&self, seen: Seen, tick: u32) -> u64 {
        let weight = WEIGHTS[(seen.word.frequency() & MAX_FREQUENCY) as usize];
        (ZERO + log2(seen.word.age(tick) + 1) - weight).into()
    }
}

/// The logarithm to base 2 of a positive number, straight between powers of two, with [`FRACTION`] bits after the
/// point.
#[inline]
const fn log2(number: u32) -> u32 {
    let zeros = number.leading_zeros();
    let mantissa = (number << zeros) >> (u32::BITS - 1 - FRACTION) & ((1 << FRACTION) - 1);
    (u32::BITS - 1 - zeros) << FRACTION | mantissa
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Ref;
    use crate::word::Word;

    fn rank(age: u32, frequency: u8) -> u64 {
        let word = Word::new(Ref::from_bits(0), 0, 1000, frequency);
        Lfu.rank(Seen { word, note: 0 }, 1000 + age)
    }

    #[test]
    fn logarithms_are_right_to_an_eighth() {
        for number in (1..100_000).chain([u32::MAX - 1, u32::MAX]) {
            let error = (f64::from(number)).log2() - f64::from(log2(number)) / 8.0;
            assert!((0.0..0.25).contains(&error), "{number}: {error}");
        }
    }

    #[test]
    fn age_and_frequency_weigh_as_said() {
        assert!(rank(200, 3) > rank(100, 3));
        assert!(rank(100, 2) > rank(100, 3));
        assert_eq!(rank(127, 3), rank(63, 1), "twice the uses, twice the age");
        assert_eq!(rank(15, 0), rank(255, 1), "without a use, a sixteenth of the age");
        assert!(rank(0, MAX_FREQUENCY) > 0);
    }
}
