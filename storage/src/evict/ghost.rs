//! Keys evicted of late: a fingerprint of each, and how often it had been used, in two bytes.
//!
//! A key that is stored again while it is remembered begins with one use more than it had, any other with none or, now
//! and then, with one: see [`Welcome`].
//!
//! A ghost belongs to one shard and has about as many places as the shard has keys. A bucket is a `u64` of four
//! places, the youngest in the lowest bits; a new one pushes the oldest out. A place is
//! `[15:4] fingerprint, never 0, [3:0] frequency`; 0 is a free one, and free places follow the taken ones. Shard,
//! bucket and fingerprint use different bits of the hash.

use crate::cpu::prefetch_to_write;
use crate::heap;
use crate::rng::Rng;

/// The highest frequency that is remembered.
const MAX_FREQUENCY: u8 = 15;
/// Places of a bucket, and bits of a place.
const PLACES: usize = 4;
const PLACE_BITS: u32 = 16;

/// How a key begins that is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Welcome {
    /// One in so many keys that are not known begins with a use, so that a part of a loop larger than the cache stays;
    /// 0 for none.
    pub lucky: u64,
    /// Whether a key that is remembered begins with the uses that it had.
    pub credit: bool,
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Ghost {
    /// How keys begin.
    pub welcome: Welcome,
    buckets: Vec<u64>,
    /// Places in all buckets; the last one may have less than four.
    places: usize,
}

impl Ghost {
    /// An empty one.
    pub fn new(welcome: Welcome) -> Self {
        Self { welcome, ..Self::default() }
    }

    /// Bytes of the places.
    pub fn memory(&self) -> usize {
        self.buckets.len() * size_of::<u64>()
    }

    /// Asks for what is remembered of a key.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        if !self.buckets.is_empty() {
            prefetch_to_write(&raw const self.buckets[self.bucket_of(hash)]);
        }
    }

    /// The frequency with which a key begins that is stored now. It is remembered no longer.
    #[inline]
    pub fn admit(&mut self, hash: u64, rng: &mut Rng) -> u8 {
        match self.take(hash).filter(|_| self.welcome.credit) {
            Some(frequency) => (frequency + 1).min(MAX_FREQUENCY),
            None => u8::from(self.welcome.lucky > 0 && rng.below(self.welcome.lucky) == 0),
        }
    }

    /// Remembers a key that is evicted, from a shard of so many keys.
    pub fn put(&mut self, hash: u64, frequency: u8, residents: usize) {
        self.fit(residents.max(1));
        let bucket = self.bucket_of(hash);
        let place = fingerprint(hash) << 4 | u64::from(frequency.min(MAX_FREQUENCY));
        let places = (self.places - bucket * PLACES).min(PLACES) as u32;
        let kept = u64::MAX >> (u64::BITS - places * PLACE_BITS);
        self.buckets[bucket] = (self.buckets[bucket] << PLACE_BITS | place) & kept;
    }

    /// Takes out what is remembered of a key: its frequency.
    fn take(&mut self, hash: u64) -> Option<u8> {
        if self.buckets.is_empty() {
            return None;
        }
        let number = self.bucket_of(hash);
        let bucket = &mut self.buckets[number];
        for shift in (0..u64::BITS).step_by(PLACE_BITS as usize) {
            let place = *bucket >> shift & 0xffff;
            if place >> 4 == fingerprint(hash) {
                let younger = *bucket & ((1 << shift) - 1);
                let older = (*bucket >> shift >> PLACE_BITS) << shift;
                *bucket = older | younger;
                return Some(place as u8 & MAX_FREQUENCY);
            }
        }
        None
    }

    /// The bucket of a hash: the part of the top bits' range that it falls into.
    #[inline]
    fn bucket_of(&self, hash: u64) -> usize {
        ((hash >> 32) * self.places as u64 >> 32) as usize / PLACES
    }

    /// Follows the number of keys. A bucket that becomes several is copied into each, as it is not known which keys
    /// are whose: those that can never be asked for there are pushed out in time.
    fn fit(&mut self, places: usize) {
        if places.abs_diff(self.places) * 8 <= self.places {
            return;
        }
        let (have, wanted) = (self.buckets.len(), places.div_ceil(PLACES));
        if have != wanted {
            let copied = |bucket: usize| self.buckets.get(bucket * have / wanted).copied().unwrap_or_default();
            self.buckets = heap::fixed(|| (0..wanted).map(copied).collect());
        }
        self.places = places;
    }
}

/// Twelve bits of a hash, never 0.
#[inline]
fn fingerprint(hash: u64) -> u64 {
    (hash >> 20 & 0xfff).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        Rng::seeded(number).next_u64()
    }

    #[test]
    fn a_key_is_remembered_once_with_its_frequency() {
        let mut ghost = Ghost::default();
        assert_eq!(ghost.take(hash(1)), None);
        for number in 0..1000 {
            ghost.put(hash(number), (number % 20) as u8, 1000);
        }
        assert_eq!(ghost.take(hash(999)), Some(15), "frequencies above 15 become 15");
        assert_eq!(ghost.take(hash(999)), None);
        assert_eq!(ghost.take(hash(983)), Some(3));
    }

    #[test]
    fn as_many_are_remembered_as_there_are_residents() {
        let mut ghost = Ghost::default();
        (0..100_000).for_each(|number| ghost.put(hash(number), 1, 1000));
        assert_eq!(ghost.memory(), 2000);
        let remembered = (90_000..100_000).filter(|&number| ghost.take(hash(number)).is_some()).count();
        assert!((980..=1000).contains(&remembered), "{remembered}");
    }

    #[test]
    fn the_oldest_of_a_bucket_is_forgotten() {
        let mut ghost = Ghost::default();
        let same_bucket: Vec<u64> = (1..=6).map(|fingerprint| fingerprint << 20).collect();
        same_bucket.iter().for_each(|&hash| ghost.put(hash, 7, 4));
        assert_eq!(ghost.take(same_bucket[3]), Some(7));
        let remembered = |ghost: &mut Ghost| same_bucket.iter().filter(|&&hash| ghost.take(hash).is_some()).count();
        assert_eq!(ghost.take(same_bucket[1]), None);
        assert_eq!(remembered(&mut ghost), 3);
        assert_eq!(ghost.buckets, [0]);
    }

    #[test]
    fn memories_survive_a_change_of_size() {
        let mut ghost = Ghost::default();
        (0..1000).for_each(|number| ghost.put(hash(number), 5, 8000));
        ghost.put(hash(2000), 5, 16_000);
        let known = (0..1000).filter(|&number| ghost.take(hash(number)) == Some(5)).count();
        assert!(known > 980, "{known}");
        ghost.put(hash(2001), 5, 400);
        assert_eq!(ghost.memory(), 800);
    }

    #[test]
    fn an_unknown_key_begins_with_a_use_once_in_32_times() {
        let (mut ghost, mut rng) = (Ghost::default(), Rng::seeded(1));
        ghost.welcome = Welcome { lucky: 32, credit: true };
        let lucky = (0..32_000).filter(|&number| ghost.admit(hash(number), &mut rng) == 1).count();
        assert!((850..1150).contains(&lucky), "{lucky}");
        ghost.put(hash(1), 3, 100);
        assert_eq!(ghost.admit(hash(1), &mut rng), 4);
        ghost.put(hash(1), 31, 100);
        assert_eq!(ghost.admit(hash(1), &mut rng), 15);
    }

    #[test]
    fn without_credit_and_luck_all_begin_alike() {
        let (mut ghost, mut rng) = (Ghost::default(), Rng::seeded(1));
        (0..100).for_each(|number| ghost.put(hash(number), 7, 100));
        assert!((0..200).all(|number| ghost.admit(hash(number), &mut rng) == 0));
    }
}
