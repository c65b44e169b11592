//! The pseudo-random generator of everything that picks at random: RANDOMKEY, SPOP, ZRANDMEMBER,
//! sampling for eviction. Not for secrets.
//!
//! xoshiro256** 1.0 (Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators", ACM
//! TOMS 47, 2021; public domain), its state filled by SplitMix64 (Steele, Lea and Flood, OOPSLA
//! 2014) as its authors advise. The seed comes from outside, so that one seed repeats one run on
//! every platform.
//!
//! Invariant: the state is never all zero, the one state that the generator cannot leave.

/// A deterministic generator of 64-bit numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// A generator whose numbers are determined by `seed`; every seed is as good as another.
    pub fn seeded(seed: u64) -> Rng {
        let mut position = seed;
        // SplitMix64 is a bijection of its position, so four steps never give four zeros.
        Rng {
            state: std::array::from_fn(|_| {
                position = position.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (position ^ (position >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                mixed ^ (mixed >> 31)
            }),
        }
    }

    /// The next number, uniform over all of `u64`.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let [first, second, third, fourth] = &mut self.state;
        let result = second.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *second << 17;
        *third ^= *first;
        *fourth ^= *second;
        *second ^= *third;
        *first ^= *fourth;
        *third ^= shifted;
        *fourth = fourth.rotate_left(45);
        result
    }

    /// A number below `bound`, each with the same probability; 0 if `bound` is 0.
    ///
    /// Lemire, "Fast Random Integer Generation in an Interval" (ACM TOMACS 29, 2019): one
    /// multiplication, and a division only for the rare numbers that may have to be drawn again.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            let surplus = bound.wrapping_neg() % bound;
            while (product as u64) < surplus {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// [`below`](Rng::below) for positions.
    #[inline]
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Brings `items` into a random order, each with the same probability (Fisher and Yates; Knuth,
    /// The Art of Computer Programming 2, algorithm 3.4.2P).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.index(last + 1);
            items.swap(last, other);
        }
    }
}

/// Throws for chances of one in a power of two: a linear congruential generator in four bytes, of which the high bits are used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dice(u32);

impl Dice {
    /// Dice that begin anywhere, so that others fall otherwise.
    pub(crate) fn new(rng: &Rng) -> Self {
        Self(rng.clone().next_u64() as u32)
    }

    /// True once in `2^power` times; `power` is less than 32.
    #[inline]
    pub(crate) fn one_in_two_to_the(&mut self, power: u32) -> bool {
        // Numerical Recipes' multiplier; the period is all of `u32`.
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0.leading_zeros() >= power
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_reference_implementation() {
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let numbers: [u64; 6] = std::array::from_fn(|_| rng.next_u64());
        let expected =
            [11520, 0, 1_509_978_240, 1_215_971_899_390_074_240, 1_216_172_134_540_287_360, 607_988_272_756_665_600];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn the_seed_is_spread_by_splitmix64() {
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
        ];
        assert_eq!(Rng::seeded(1_234_567).state, expected);
    }

    #[test]
    fn a_seed_repeats_its_numbers_and_no_others() {
        let numbers = |seed| {
            let mut rng = Rng::seeded(seed);
            [rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(numbers(0), numbers(0));
        assert_ne!(numbers(0), numbers(1));
        assert_ne!(numbers(0)[0], numbers(0)[1]);
    }

    #[test]
    fn every_number_below_the_bound_comes_equally_often() {
        let mut rng = Rng::seeded(7);
        let mut counts = [0; 6];
        for _ in 0..60_000 {
            counts[rng.index(6)] += 1;
        }
        // Five standard deviations of 91 each.
        assert!(counts.iter().all(|count| (9_544..=10_456).contains(count)), "{counts:?}");
    }

    #[test]
    fn large_bounds_are_unbiased() {
        // Of this bound, plain scaling of 64 bits would give every third number twice as often.
        const BOUND: u64 = 3 << 62;
        let mut rng = Rng::seeded(7);
        let mut thirds = [0; 3];
        for _ in 0..30_000 {
            let number = rng.below(BOUND);
            assert!(number < BOUND);
            thirds[(number % 3) as usize] += 1;
        }
        assert!(thirds.iter().all(|count| (9_592..=10_408).contains(count)), "{thirds:?}");
    }

    #[test]
    fn trivial_bounds() {
        let mut rng = Rng::seeded(1);
        assert_eq!((rng.below(0), rng.below(1), rng.index(1)), (0, 0, 0));
    }

    #[test]
    fn a_shuffle_reaches_every_order_equally_often() {
        let mut rng = Rng::seeded(3);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            rng.shuffle(&mut items);
            *counts.entry(items).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|count| (845..=1155).contains(count)), "{counts:?}");
        rng.shuffle::<u8>(&mut []);
    }
}
