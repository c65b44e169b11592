//! Ranks that weigh an entry's age against how often it was used: `log2(age) - w(frequency)`, in fixed point.
//!
//! A [`Weights`] says what `w` is, and how a key begins that is stored.

use super::ghost::Welcome;
use crate::word::{EXACT, MAX_FREQUENCY, Word, accesses};

/// Bits after the point of a rank.
const FRACTION: u32 = 8;
/// Added to all ranks, to keep them positive: above the highest weight.
const ZERO: u32 = 32 << FRACTION;
/// `x` of 1 in [`Weights::rank_with_size`].
pub const WHOLE_SIZE: u32 = 256;

/// More uses weigh no more, or less each: what was popular must be able to go.
const MANY_USES: u32 = 31;

/// What frequencies weigh, and how a key begins.
#[derive(Debug)]
pub(super) struct Weights {
    /// `w` per frequency, above that of none.
    by_frequency: [u32; MAX_FREQUENCY as usize + 1],
    pub(super) welcome: Welcome,
    /// Whether, of what was never used since it was stored, the newest goes first, and before all else.
    newest_first: bool,
}

impl Weights {
    /// `w` is `-unused` for what was never used since it was stored, and `quarters` quarters of `log2(n + 1)` after
    /// `n` uses, up to [`MANY_USES`]: with 4, an entry may become `n + 1` times as old.
    pub(super) const fn new(unused: u32, quarters: u32, welcome: Welcome) -> Self {
        let mut by_frequency = [0; MAX_FREQUENCY as usize + 1];
        let mut frequency = 1;
        while frequency < by_frequency.len() {
            by_frequency[frequency] =
                (unused << FRACTION) + log2(min(uses(frequency as u8), MANY_USES) + 1) * quarters / 4;
            frequency += 1;
        }
        Self { by_frequency, welcome, newest_first: false }
    }

    /// The same, but of more uses four times as many weigh as twice as many do up to there, and so on.
    pub(super) const fn counting_all(mut self) -> Self {
        let mut frequency = 1;
        while frequency < self.by_frequency.len() {
            let uses = uses(frequency as u8);
            self.by_frequency[frequency] += (log2(uses + 1) - log2(min(uses, MANY_USES) + 1)) / 2;
            frequency += 1;
        }
        self
    }

    /// The same, but of what was never used since it was stored the newest goes first, and before all else.
    pub(super) const fn newest_first(self) -> Self {
        Self { newest_first: true, ..self }
    }

    /// Whether hardly anything stays that was not there before.
    pub(super) fn is_closed(&self) -> bool {
        self.newest_first && !self.welcome.credit
    }

    /// The rank of an entry: the highest goes first.
    #[inline]
    pub(super) fn rank(&self, word: Word, tick: u32) -> u64 {
        if self.newest_first && word.frequency() == 0 {
            return (3 * ZERO - log2(word.age(tick) + 1)).into();
        }
        let weight = self.by_frequency[(word.frequency() & MAX_FREQUENCY) as usize];
        (ZERO + log2(word.age(tick) + 1) - weight).into()
    }

    /// Whatever is younger than this many ticks ranks `bar` at most, however seldom it was used.
    #[inline]
    pub(super) fn youngest(&self, bar: u64) -> u32 {
        let above = u32::try_from(bar).unwrap_or(u32::MAX).saturating_sub(ZERO);
        if self.newest_first { 0 } else { exp2(above).saturating_sub(1) }
    }

    /// As [`Weights::rank`], plus `x` times the logarithm of the entry's bytes; `x` is in 256ths.
    #[inline]
    pub(super) fn rank_with_size(&self, word: Word, tick: u32, size: u32, x: u32) -> u64 {
        self.rank(word, tick) + weight_of_size(size, x)
    }
}

/// What a size adds to a rank: `x` 256ths of its logarithm.
#[inline]
pub(super) fn weight_of_size(size: u32, x: u32) -> u64 {
    u64::from(log2(size.max(1))) * u64::from(x) / u64::from(WHOLE_SIZE)
}

/// Uses that a frequency weighs as: where it lasts for as many as led to it, those in the middle.
const fn uses(frequency: u8) -> u32 {
    let counted = accesses(frequency);
    if frequency < EXACT { counted } else { counted + counted * 3 / 8 }
}

const fn min(one: u32, other: u32) -> u32 {
    if one < other { one } else { other }
}

/// The logarithm to base 2 of a positive number, straight between powers of two, with [`FRACTION`] bits after the
/// point.
#[inline]
const fn log2(number: u32) -> u32 {
    let zeros = number.leading_zeros();
    let mantissa = (number << zeros) >> (u32::BITS - 1 - FRACTION) & ((1 << FRACTION) - 1);
    (u32::BITS - 1 - zeros) << FRACTION | mantissa
}

/// The least number whose [`log2`] is this or more, or a smaller one.
#[inline]
const fn exp2(log: u32) -> u32 {
    let (whole, part) = (log >> FRACTION, log & ((1 << FRACTION) - 1));
    match whole {
        0..=8 => (((1 << FRACTION) | part) << whole) >> FRACTION,
        9..32 => ((1 << FRACTION) | part) << (whole - FRACTION),
        _ => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Ref;

    const NEVER: Welcome = Welcome { lucky: 0, credit: true };

    fn rank(weights: &Weights, age: u32, frequency: u8) -> u64 {
        weights.rank(Word::new(Ref::from_bits(0), 0, 1000, frequency), 1000 + age)
    }

    #[test]
    fn logarithms_are_right_to_a_tenth() {
        for number in (1..100_000).chain([u32::MAX - 1, u32::MAX]) {
            let error = f64::from(number).log2() - f64::from(log2(number)) / f64::from(1 << FRACTION);
            assert!((0.0..0.1).contains(&error), "{number}: {error}");
        }
    }

    #[test]
    fn what_is_too_young_ranks_no_higher() {
        for log in 0..32 << FRACTION {
            assert!(exp2(log) <= 1 || log2(exp2(log) - 1) < log, "{log}");
        }
        let weights = Weights::new(3, 4, NEVER);
        for (age, frequency) in [(0, 0), (1, 0), (100, 0), (5000, 3), (1 << 20, 31)] {
            let bar = rank(&weights, age, frequency);
            let youngest = weights.youngest(bar);
            assert!(youngest == 0 || (0..4).all(|more| rank(&weights, youngest - 1, more) <= bar));
            assert!(frequency > 0 || age == 0 || youngest > age / 2, "{youngest} of {age}");
        }
        assert_eq!(weights.newest_first().youngest(u64::MAX), 0);
    }

    #[test]
    fn frequencies_weigh_as_the_uses_they_stand_for() {
        assert_eq!([0, 1, 15, 16, 17, MAX_FREQUENCY].map(uses), [0, 1, 15, 22, 44, 720_896]);
        let (bounded, all) = (Weights::new(3, 4, NEVER), Weights::new(3, 4, NEVER).counting_all());
        assert_eq!(rank(&bounded, 127, 17), rank(&bounded, 127, MAX_FREQUENCY), "31 uses weigh most");
        assert!((0..17).all(|frequency| rank(&bounded, 127, frequency) == rank(&all, 127, frequency)));
        assert_eq!(rank(&all, 127, 20), rank(&all, 255, 22), "four times the uses, twice the age");
        assert!(rank(&all, 0, MAX_FREQUENCY) > 0);
    }

    #[test]
    fn age_and_frequency_weigh_as_said() {
        let weights = Weights::new(3, 4, NEVER);
        assert!(rank(&weights, 200, 3) > rank(&weights, 100, 3));
        assert!(rank(&weights, 100, 2) > rank(&weights, 100, 3));
        assert_eq!(rank(&weights, 127, 3), rank(&weights, 63, 1), "twice the uses, twice the age");
        assert_eq!(rank(&weights, 15, 0), rank(&weights, 255, 1), "without a use, a sixteenth of the age");
        let strong = Weights::new(8, 8, NEVER);
        assert!(rank(&strong, 0, MAX_FREQUENCY) > 0);
        assert_eq!(rank(&strong, 255, 3), rank(&strong, 63, 1), "twice the uses, four times the age");
    }

    #[test]
    fn the_newest_of_the_unused_goes_before_all_else() {
        let weights = Weights::new(8, 4, NEVER).newest_first();
        assert!(rank(&weights, 0, 0) > rank(&weights, 100, 0));
        assert!(rank(&weights, 1 << 23, 0) > rank(&weights, 1 << 23, 1));
        assert!(rank(&weights, 200, 1) > rank(&weights, 100, 1));
    }

    #[test]
    fn of_two_alike_the_larger_goes_first() {
        let (weights, word) = (Weights::new(3, 4, NEVER), Word::new(Ref::from_bits(0), 0, 0, 1));
        let rank = |age: u32, size, x| weights.rank_with_size(word, age, size, x);
        assert_eq!(rank(63, 100, 0), rank(63, 9000, 0));
        assert_eq!(rank(63, 128, WHOLE_SIZE), rank(127, 64, WHOLE_SIZE), "half the size, twice the age");
        assert_eq!(rank(63, 1024, WHOLE_SIZE / 4), rank(127, 64, WHOLE_SIZE / 4));
        assert!(rank(0, 0, WHOLE_SIZE) > 0);
    }
}
