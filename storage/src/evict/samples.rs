//! What becomes of a slice of the keys, on its way from the threads that serve requests to the policy that learns
//! from it.
//!
//! A key is in the slice or not by its hash alone ("spatially hashed sampling": Waldspurger, Park, Garthwaite and
//! Ahmad, "Efficient MRC Construction with SHARDS", FAST 2015), so that all uses of a key are seen or none. Each thread
//! notes them in a buffer of its own; whoever evicts, or works in the background, takes them out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use parking_lot::Mutex;

/// What a buffer holds at most; what comes on top is not noted.
const MOST: usize = 4096;
/// An odd number whose bits look random: a product's upper half depends on all bits of the hash.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a key is known by: its hash, told apart from that of its like in another database.
#[inline]
pub fn identity(hash: u64, database: usize) -> u64 {
    hash.wrapping_add((database as u64) << 32)
}

/// Which keys are in the slice; all of a keyspace's threads read it.
#[derive(Debug, Default)]
pub struct Slice(AtomicU32);

impl Slice {
    /// Whether a key of this [`identity`] is in the slice.
    #[inline]
    pub fn takes(&self, hash: u64) -> bool {
        ((hash.wrapping_mul(MIX) >> 32) as u32) < self.0.load(Relaxed)
    }

    /// Takes this part of all keys from now on. A smaller slice is a part of a larger one.
    pub(super) fn set(&self, part: f64) {
        self.0.store((part * f64::from(u32::MAX)) as u32, Relaxed);
    }
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was used or stored.
    Used,
    /// It was deleted or has expired.
    Removed,
}

/// One event of a key in the slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The key's [`identity`].
    pub hash: u64,
    /// Bytes of the key with its value.
    pub size: u32,
    /// What happened.
    pub event: Event,
    /// Whether the key has an expiry.
    pub expires: bool,
}

/// The events that one thread has noted, in their order.
#[derive(Debug, Default)]
pub struct Samples(Mutex<VecDeque<Sample>>);

impl Samples {
    /// Notes an event.
    pub fn push(&self, sample: Sample) {
        let mut samples = self.0.lock();
        if samples.len() < MOST {
            samples.push_back(sample);
        }
    }

    /// Takes the oldest events out, at most so many.
    pub fn take(&self, most: usize, into: &mut Vec<Sample>) {
        let mut samples = self.0.lock();
        let count = samples.len().min(most);
        into.extend(samples.drain(..count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn a_slice_has_its_part_of_the_keys() {
        let slice = Slice::default();
        let mut rng = Rng::seeded(1);
        let hashes: Vec<u64> = (0..100_000).map(|_| rng.next_u64()).collect();
        let taken = |slice: &Slice| hashes.iter().filter(|hash| slice.takes(**hash)).count();
        assert_eq!(taken(&slice), 0);
        slice.set(1.0 / 64.0);
        assert!((1400..1720).contains(&taken(&slice)), "{}", taken(&slice));
        let before: Vec<u64> = hashes.iter().copied().filter(|hash| slice.takes(*hash)).collect();
        slice.set(0.5);
        assert!(before.iter().all(|hash| slice.takes(*hash)));
        slice.set(1.0);
        assert_eq!(taken(&slice), hashes.len());
    }

    #[test]
    fn a_full_buffer_takes_no_more_and_keeps_the_order() {
        let (samples, mut taken) = (Samples::default(), Vec::new());
        for hash in 0..2 * MOST as u64 {
            samples.push(Sample { hash, size: 1, event: Event::Used, expires: false });
        }
        samples.take(100, &mut taken);
        samples.take(usize::MAX, &mut taken);
        assert_eq!(taken.len(), MOST);
        assert!(taken.iter().enumerate().all(|(at, sample)| sample.hash == at as u64));
    }
}
