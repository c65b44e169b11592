//! What becomes of a slice of the keys, on its way from the threads that serve requests to who learns from it.
//!
//! A key is in the slice or not by its hash alone ("spatially hashed sampling": Waldspurger, Park, Garthwaite and
//! Ahmad, "Efficient MRC Construction with SHARDS", FAST 2015), so that all uses of a key are seen or none. Each thread
//! notes them in a buffer of its own; whoever evicts, or works in the background, takes them out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// What a buffer holds at most; what comes on top is not noted.
const MOST: usize = 4096;
/// An odd number whose bits look random: a product's upper half depends on all bits of the hash.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Bits of a hash that neither choose keys nor tell them apart here: they choose the shard, and say little else.
pub(super) const UNUSED_BITS: u32 = 20;

/// What a key is known by: its hash, told apart from that of its like in another database.
#[inline]
pub fn identity(hash: u64, database: usize) -> u64 {
    hash.wrapping_add((database as u64) << 32)
}

/// Who wants to hear of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The adaptive policy.
    Policy,
    /// The answer to what other policies would do: see [`whatif`](super::whatif).
    WhatIf,
}

/// Which keys are in the slice; all of a keyspace's threads read it. Each listener has a slice of its own, and the smaller
/// one is a part of the larger one.
#[derive(Debug, Default)]
pub struct Slice {
    largest: AtomicU32,
    own: [AtomicU32; 2],
    /// How often somebody began to listen.
    epoch: AtomicU32,
}

impl Slice {
    /// Whether a key of this [`identity`] is in any listener's slice.
    #[inline]
    pub fn takes(&self, hash: u64) -> bool {
        mixed(hash) < self.largest.load(Relaxed)
    }

    /// Whether a key of this [`identity`] is in a listener's slice.
    #[inline]
    pub fn takes_for(&self, listener: Listener, hash: u64) -> bool {
        mixed(hash) < self.own[listener as usize].load(Relaxed)
    }

    /// Changes when somebody begins to listen: what was read before is not asked for.
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Relaxed)
    }

    /// Takes this part of all keys for a listener from now on. A smaller slice is a part of a larger one.
    pub(super) fn set(&self, listener: Listener, part: f64) {
        let before = self.own[listener as usize].swap(threshold(part), Relaxed);
        if before == 0 && part > 0.0 {
            self.epoch.fetch_add(1, Relaxed);
        }
        let largest = self.own.iter().map(|own| own.load(Relaxed)).max();
        self.largest.store(largest.unwrap_or_default(), Relaxed);
    }
}

/// Whether a key of this [`identity`] is in a slice that is this part of all keys.
pub(super) fn is_in(part: f64, hash: u64) -> bool {
    mixed(hash) < threshold(part)
}

fn threshold(part: f64) -> u32 {
    (part * f64::from(u32::MAX)) as u32
}

#[inline]
fn mixed(hash: u64) -> u32 {
    ((hash >> UNUSED_BITS).wrapping_mul(MIX) >> 32) as u32
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was read, and was there.
    Hit,
    /// It was read, and was not there.
    Miss,
    /// It was stored or changed.
    Stored,
    /// Its expiry was set or taken away.
    Expiry,
    /// It was deleted or has expired.
    Removed,
}

/// Reads of the whole cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Those that found their key.
    pub hits: u32,
    /// Those that did not.
    pub misses: u32,
}

impl Reads {
    /// These and others.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { hits: self.hits.saturating_add(other.hits), misses: self.misses.saturating_add(other.misses) }
    }
}

/// What a thread has counted when it notes a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The [`Slice::epoch`].
    pub epoch: u32,
    /// Its reads that found their key, and those that did not.
    pub hits: u64,
    /// See there.
    pub misses: u64,
}

/// One event of a key in the slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The key's [`identity`].
    pub hash: u64,
    /// When it expires, in milliseconds since 1970; `u64::MAX` for never.
    pub expiry: u64,
    /// Bytes of the key with its value; 0 where it is not there.
    pub size: u32,
    /// What happened.
    pub event: Event,
    /// Whether it is in the slice of [`Listener::WhatIf`].
    pub for_what_if: bool,
    /// Reads of any keys by the same thread since its sample before: who learns from samples counts reads as far as it has learnt.
    pub reads: Reads,
}

/// Keys that are known to have been noted of late.
const RECENT: usize = 64;
/// Of the events of one kind of a key that was noted of late one in so many is noted: a power of two.
const REPEATS: u64 = 1024;

/// The events that one thread has noted, in their order.
#[derive(Debug)]
pub struct Samples {
    queue: Mutex<Queue>,
    /// Keys noted of late with what happened, and the number of times since in the lowest bits. Written by the one thread.
    recent: [AtomicU64; RECENT],
}

#[derive(Debug, Default)]
struct Queue {
    samples: VecDeque<Sample>,
    /// What was counted when a sample was noted last.
    counted: Counted,
}

impl Default for Samples {
    fn default() -> Self {
        Self { queue: Mutex::default(), recent: [const { AtomicU64::new(0) }; RECENT] }
    }
}

impl Samples {
    /// Notes an event; its reads are those since the one before. False if there is no room: then it is lost.
    #[must_use]
    pub fn push(&self, sample: Sample, counted: Counted) -> bool {
        let mut queue = self.queue.lock();
        let before = std::mem::replace(&mut queue.counted, counted);
        // Whoever resets counters begins at zero.
        let since = |now: u64, before: u64| u32::try_from(now.checked_sub(before).unwrap_or(now)).unwrap_or(u32::MAX);
        let reads = if before.epoch == counted.epoch {
            Reads { hits: since(counted.hits, before.hits), misses: since(counted.misses, before.misses) }
        } else {
            Reads::default()
        };
        let has_room = queue.samples.len() < MOST;
        if has_room {
            queue.samples.push_back(Sample { reads, ..sample });
        }
        has_room
    }

    /// Whether something waits that was noted for [`Listener::WhatIf`].
    pub fn holds_for_what_if(&self) -> bool {
        self.queue.lock().samples.iter().any(|sample| sample.for_what_if)
    }

    /// Whether an event of a key need not be noted because the same was just now: a key in heavy use says no more the
    /// more often it is told of. A key that was removed begins anew.
    #[inline]
    pub fn repeats(&self, hash: u64, event: Event) -> bool {
        let place = |event: Event| {
            let mark = (hash >> UNUSED_BITS).wrapping_mul(2) + u64::from(event == Event::Stored);
            (&self.recent[mark as usize % RECENT], mark * REPEATS)
        };
        match event {
            Event::Hit | Event::Stored => {
                let (place, mark) = place(event);
                let known = place.load(Relaxed);
                let times = if known & !(REPEATS - 1) == mark { (known + 1) % REPEATS } else { 0 };
                place.store(mark | times, Relaxed);
                times != 0
            }
            Event::Removed => {
                for event in [Event::Hit, Event::Stored] {
                    place(event).0.store(0, Relaxed);
                }
                false
            }
            Event::Miss | Event::Expiry => false,
        }
    }

    /// Takes the oldest events out, at most so many.
    pub fn take(&self, most: usize, into: &mut Vec<Sample>) {
        let mut queue = self.queue.lock();
        let count = queue.samples.len().min(most);
        into.extend(queue.samples.drain(..count));
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
        let policys = |slice: &Slice| hashes.iter().filter(|hash| slice.takes_for(Listener::Policy, **hash)).count();
        let taken = |slice: &Slice| hashes.iter().filter(|hash| slice.takes(**hash)).count();
        assert_eq!(taken(&slice), 0);
        slice.set(Listener::Policy, 1.0 / 64.0);
        assert!((1400..1720).contains(&taken(&slice)), "{}", taken(&slice));
        let before: Vec<u64> = hashes.iter().copied().filter(|hash| slice.takes(*hash)).collect();
        slice.set(Listener::WhatIf, 0.5);
        assert!(before.iter().all(|hash| slice.takes(*hash)));
        assert_eq!(policys(&slice), before.len());
        assert!((49_000..51_000).contains(&taken(&slice)), "{}", taken(&slice));
        slice.set(Listener::Policy, 1.0);
        assert_eq!(taken(&slice), hashes.len());
    }

    #[test]
    fn a_full_buffer_takes_no_more_and_keeps_the_order() {
        let (samples, mut taken) = (Samples::default(), Vec::new());
        for hash in 0..2 * MOST as u64 {
            let for_what_if = hash >= MOST as u64 / 2;
            let sample =
                Sample { hash, expiry: u64::MAX, size: 1, event: Event::Stored, for_what_if, reads: Reads::default() };
            assert_eq!(samples.push(sample, Counted::default()), hash < MOST as u64);
        }
        samples.take(MOST - 1, &mut taken);
        assert!(samples.holds_for_what_if());
        samples.take(usize::MAX, &mut taken);
        assert!(!samples.holds_for_what_if());
        assert_eq!(taken.len(), MOST);
        assert!(taken.iter().enumerate().all(|(at, sample)| sample.hash == at as u64));
    }

    #[test]
    fn samples_carry_the_reads_since_the_one_before() {
        let (samples, slice, mut taken) = (Samples::default(), Slice::default(), Vec::new());
        let (event, reads) = (Event::Miss, Reads::default());
        let sample = Sample { hash: 1, expiry: u64::MAX, size: 0, event, for_what_if: true, reads };
        let mut push = |hits, misses, slice: &Slice| {
            assert!(samples.push(sample, Counted { epoch: slice.epoch(), hits, misses }));
            samples.take(usize::MAX, &mut taken);
            taken.pop().map(|sample| (sample.reads.hits, sample.reads.misses))
        };
        slice.set(Listener::WhatIf, 0.5);
        assert_eq!(push(1000, 1000, &slice), Some((0, 0)), "nobody listened before");
        assert_eq!(push(1007, 1001, &slice), Some((7, 1)));
        assert_eq!(push(3, 2, &slice), Some((3, 2)), "counters were reset");
        slice.set(Listener::WhatIf, 0.25);
        assert_eq!(push(4, 2, &slice), Some((1, 0)));
        slice.set(Listener::WhatIf, 0.0);
        slice.set(Listener::WhatIf, 0.25);
        assert_eq!(push(900, 800, &slice), Some((0, 0)), "what was read meanwhile does not count");
    }

    #[test]
    fn events_of_one_key_after_another_are_thinned() {
        let samples = Samples::default();
        let hash = |key: u64| key << UNUSED_BITS | key * 7919 % 512;
        let noted = |key, event, times| (0..times).filter(|_| !samples.repeats(hash(key), event)).count() as u64;
        assert_eq!(noted(1, Event::Hit, 10 * REPEATS), 10);
        assert_eq!(noted(1, Event::Stored, REPEATS), 1, "a store after a read is noted");
        assert_eq!(noted(1, Event::Miss, 100), 100);
        assert_eq!(noted(1, Event::Removed, 1), 1);
        assert_eq!(noted(1, Event::Stored, REPEATS), 1, "and one after it was removed");
        assert!((1000..1000 + RECENT as u64).all(|key| noted(key, Event::Hit, 1) == 1), "others are noted");
    }
}
