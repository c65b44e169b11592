//! The keyed hash of keys and members.
//!
//! SipHash-1-3 (Aumasson and Bernstein, 2012) with a key drawn per process, so that nobody who does not know the
//! key can choose keys that fall into one segment. SCAN cursors show hash bits, hence a keyed function that
//! stands up to that.

use std::hash::{BuildHasher, RandomState};

use siphasher::sip::SipHasher13;

/// A 128-bit key for SipHash-1-3; equal keys give equal hashes.
#[derive(Clone, Copy, Debug)]
pub struct Hasher {
    state: SipHasher13,
}

impl Hasher {
    /// A hasher whose key is derived from `seed`: the same seed repeats the same layout.
    pub fn seeded(seed: u64) -> Self {
        let spread = |n: u64| (seed ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31) ^ n;
        Self { state: SipHasher13::new_with_keys(spread(seed), spread(!seed)) }
    }

    /// The 64-bit hash of `bytes`.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        self.state.hash(bytes)
    }
}

/// A seed from the operating system's randomness.
pub fn random_seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
