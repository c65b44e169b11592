//! A small seeded source of random numbers, so that a printed seed repeats a failed run.

/// Sebastiano Vigna's splitmix64.
pub struct Random(u64);

impl Random {
    /// A source of which the seed is printed: `LARDER_SEED`, or one of its own.
    ///
    /// # Panics
    /// When `LARDER_SEED` is not a number.
    pub fn from_environment() -> Random {
        let seed = match std::env::var("LARDER_SEED") {
            Ok(text) => text.parse().expect("LARDER_SEED is a number"),
            Err(_) => crate::process::random_bits(),
        };
        println!("LARDER_SEED={seed}");
        Random(seed)
    }

    /// A source with this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit as u64) as usize
    }

    /// True once in `count` times.
    pub fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// One of `choices`, which is not empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}
