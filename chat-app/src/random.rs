//! Numbers that look random and are the same for the same seed: for the seed of the database and for loads.

/// A generator (xorshift64*; Vigna, 2016). Not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`; 0 when that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.unit() * end as f64) as usize
    }

    /// A number from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Picks among `n` things of which the k-th is as popular as k to the power of -s (Zipf's law).
#[derive(Debug, Clone)]
pub struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    /// `count` things with exponent `s`.
    pub fn new(count: usize, s: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=count).map(|k| {
            sum += (k as f64).powf(-s);
            sum
        });
        Self { sums: sums.collect() }
    }

    /// How many things there are.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks whether there is nothing to pick from")]
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// The index of one of them, 0 for the most popular.
    pub fn pick(&self, random: &mut Random) -> usize {
        let at = random.unit() * self.sums.last().copied().unwrap_or(0.0);
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len().saturating_sub(1))
    }
}

/// Bits for secrets and tokens, from the system.
pub fn secret_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        // A system without random numbers cannot run a server that signs sessions.
        std::process::abort();
    }
    bytes
}

/// 128 bits from the system, as text: a token that nobody guesses or gives twice.
pub fn token() -> String {
    secret_bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number from 0 to below 1 that differs from call to call: for jitter and for chances.
pub fn chance() -> f64 {
    (u64::from_le_bytes(secret_bytes::<8>()) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::{Random, Zipf};

    #[test]
    fn zipf_makes_the_first_ten_times_as_popular_as_the_tenth() {
        let (zipf, mut random) = (Zipf::new(300, 1.0), Random::new(1));
        let mut counts = [0u32; 300];
        (0..200_000).for_each(|_| counts[zipf.pick(&mut random)] += 1);
        let ratio = f64::from(counts[0]) / f64::from(counts[9]);
        assert!((9.0..11.0).contains(&ratio), "{ratio}");
    }
}
