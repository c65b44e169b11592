//! Reads, evictions and expirations by the beginnings of keys, for CACHE STATS.
//!
//! Each thread counts for itself, and looks at one read in about [`STRIDE`] once it has seen some, and so of evictions and expirations: what
//! it looks at stands for all since the last. Prefixes are unbounded, so a thread keeps those with the most
//! events, of which there are at least [`KEPT`]; see Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and
//! Top-k Elements in Data Streams" (ICDT 2005), from whom the count with which a newcomer begins is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;
use larder_storage::rng::Rng;
use parking_lot::Mutex;

use crate::stats::Counter;

/// Prefixes that a thread keeps at least.
pub(crate) const KEPT: usize = 1000;
/// Of reads one in so many is looked at, on average, and of keys that go.
const STRIDE: u64 = 32;
/// Before that so many are all looked at.
const EXACT: u64 = 4096;
/// Longer prefixes are counted by so many bytes, those together that begin alike.
const LONGEST: usize = 128;

/// What happens to keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    Hit,
    Miss,
    Eviction,
    Expiration,
}

/// Counts of one prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    by_happening: [u64; 4],
    /// Of each read that was looked at, for how many it stands, squared.
    squares: u64,
    /// What may have happened before it was kept.
    before: u64,
}

impl Counts {
    /// How often something happened.
    pub(crate) fn of(&self, happening: Happening) -> u64 {
        self.by_happening[happening as usize]
    }

    /// How far the ratio of hits may be off, about, for 19 of 20 prefixes, where reads that were not looked at are as those that
    /// were. Agresti and Coull, "Approximate is Better than Exact for Interval Estimation of Binomial Proportions" (1998).
    pub(crate) fn error_of_ratio(&self) -> f64 {
        let (hits, misses) = (self.of(Happening::Hit) as f64, self.of(Happening::Miss) as f64);
        let ratio = hits / (hits + misses);
        if self.squares == 0 || !ratio.is_finite() {
            return 1.0;
        }
        // Where some stand for one read and others for many, as many as would tell as much if all stood for as many (Kish).
        let looks = (hits + misses).powi(2) / self.squares as f64;
        let middle = (ratio * looks + 2.0) / (looks + 4.0);
        ((middle - ratio).abs() + 2.0 * (middle * (1.0 - middle) / looks).sqrt()).min(1.0)
    }

    fn add(&mut self, happening: Happening, count: u64) {
        self.by_happening[happening as usize] += count;
        if matches!(happening, Happening::Hit | Happening::Miss) {
            self.squares += count * count;
        }
    }

    /// Whether more may have happened than was counted.
    pub(crate) fn is_partial(&self) -> bool {
        self.before > 0
    }

    /// The most that may have happened.
    fn weight(&self) -> u64 {
        self.by_happening.iter().sum::<u64>() + self.before
    }
}

/// Counts by prefix.
#[derive(Debug, Default)]
struct Table {
    // Of so few prefixes even ones that were chosen to be found slowly are found soon, and most of the cost is the hash.
    counts: HashMap<Box<[u8]>, Counts, RandomState>,
    /// The greatest weight that was dropped.
    dropped: u64,
}

impl Table {
    fn add(&mut self, prefix: &[u8], happening: Happening, count: u64) {
        if let Some(known) = self.counts.get_mut(prefix) {
            known.add(happening, count);
            return;
        }
        if self.counts.len() >= 2 * KEPT {
            self.prune();
        }
        let mut counts = Counts { before: self.dropped, ..Counts::default() };
        counts.add(happening, count);
        self.counts.insert(prefix.into(), counts);
    }

    /// Drops the lighter half.
    fn prune(&mut self) {
        let mut weights: Vec<u64> = self.counts.values().map(Counts::weight).collect();
        let (_, least, _) = weights.select_nth_unstable(KEPT);
        let least = *least;
        let mut room = KEPT;
        self.counts.retain(|_, counts| {
            let stays = counts.weight() > least && room > 0;
            room -= usize::from(stays);
            stays
        });
        self.dropped = least;
    }
}

/// See the module's page.
#[derive(Default)]
pub(crate) struct Prefixes {
    table: Mutex<Table>,
    /// Reads until the next one that is looked at, and for how many that stands; the same of keys that go.
    reads: Stride,
    removals: Stride,
}

/// Which events are looked at.
#[derive(Default)]
struct Stride {
    left: Counter,
    length: Counter,
    seen: Counter,
}

impl Stride {
    /// Whether this one is looked at: then, for how many it stands.
    #[inline]
    fn next(&self) -> Option<u64> {
        let left = self.left.get();
        if left > 1 {
            self.left.set(left - 1);
            return None;
        }
        Some(self.begin())
    }

    /// Whether every one was looked at so far.
    fn is_exact(&self) -> bool {
        self.seen.get() < EXACT
    }

    fn reset(&self) {
        [&self.left, &self.length, &self.seen].into_iter().for_each(Counter::reset);
    }

    #[cold]
    fn begin(&self) -> u64 {
        let stands_for = self.length.get().max(1);
        self.seen.add(1);
        let seen = self.seen.get();
        let length = if seen < EXACT { 1 } else { 1 + Rng::seeded(seen).below(2 * STRIDE - 1) };
        self.left.set(length);
        self.length.set(length);
        stands_for
    }
}

impl Prefixes {
    /// Whether the next read is looked at, and for how many it stands.
    #[inline]
    pub(crate) fn next_read(&self) -> Option<u64> {
        self.reads.next()
    }

    /// The same for keys that are evicted or expire.
    #[inline]
    pub(crate) fn next_removal(&self) -> Option<u64> {
        self.removals.next()
    }

    /// Counts.
    #[cold]
    pub(crate) fn note(&self, prefix: &[u8], happening: Happening, count: u64) {
        self.table.lock().add(prefix, happening, count);
    }

    /// Whether all reads, and all keys that went, were counted one by one.
    pub(crate) fn are_exact(&self) -> (bool, bool) {
        (self.reads.is_exact(), self.removals.is_exact())
    }

    /// Adds all counts to those of other threads.
    pub(crate) fn add_to(&self, sums: &mut HashMap<Box<[u8]>, Counts>) {
        for (prefix, counts) in &self.table.lock().counts {
            match sums.entry(prefix.clone()) {
                Entry::Occupied(mut known) => {
                    let sum = known.get_mut();
                    sum.by_happening.iter_mut().zip(counts.by_happening).for_each(|(sum, count)| *sum += count);
                    sum.squares += counts.squares;
                    sum.before = sum.before.max(counts.before);
                }
                Entry::Vacant(free) => {
                    free.insert(*counts);
                }
            }
        }
    }

    /// Bytes of the counts, about.
    pub(crate) fn memory(&self) -> usize {
        let table = self.table.lock();
        table.counts.capacity() * size_of::<(Box<[u8]>, Counts)>()
            + table.counts.keys().map(|key| key.len()).sum::<usize>()
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&self) {
        *self.table.lock() = Table::default();
        self.reads.reset();
        self.removals.reset();
    }
}

/// The beginning of a key, up to the first of these bytes; nothing if there is none.
pub(crate) fn prefix_of<'k>(key: &'k [u8], separator: &[u8]) -> &'k [u8] {
    before(key, separator).map_or(&[], counted_as)
}

/// The prefix that a name stands for, which may be one, or one and the separator, or a key that has it.
pub(crate) fn prefix_named<'k>(name: &'k [u8], separator: &[u8]) -> &'k [u8] {
    counted_as(before(name, separator).unwrap_or(name))
}

/// What stands before the first separator.
fn before<'k>(key: &'k [u8], separator: &[u8]) -> Option<&'k [u8]> {
    let at = match separator {
        [] => None,
        [byte] => memchr::memchr(*byte, key),
        _ => memchr::memmem::find(key, separator),
    };
    at.map(|at| &key[..at])
}

/// The bytes of a prefix by which it is counted.
fn counted_as(prefix: &[u8]) -> &[u8] {
    &prefix[..prefix.len().min(LONGEST)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_at_the_separator() {
        let prefix = |key: &'static str, separator: &str| prefix_of(key.as_bytes(), separator.as_bytes());
        assert_eq!(prefix("user:1:name", ":"), b"user");
        assert_eq!(prefix("user", ":"), b"");
        assert_eq!(prefix(":x", ":"), b"");
        assert_eq!(prefix("a::b", "::"), b"a");
        assert_eq!(prefix("a:b", "::"), b"");
        assert_eq!(prefix("a:b", ""), b"");
        let long = format!("{}:{}", "x".repeat(LONGEST), "y".repeat(1000));
        assert_eq!(prefix_of(long.as_bytes(), b":").len(), LONGEST);
        assert_eq!(prefix_of(format!("x{long}").as_bytes(), b":").len(), LONGEST);
        assert_eq!(prefix_of("x".repeat(1000).as_bytes(), b":"), b"");
    }

    #[test]
    fn a_ratio_of_few_looks_may_be_far_off() {
        let error = |hits, misses| {
            let mut counts = Counts::default();
            (0..hits).for_each(|_| counts.add(Happening::Hit, STRIDE));
            (0..misses).for_each(|_| counts.add(Happening::Miss, STRIDE));
            (100.0 * counts.error_of_ratio()).round()
        };
        assert_eq!([error(0, 0), error(0, 2), error(1, 0), error(20, 0)], [100.0, 100.0, 100.0, 21.0]);
        assert_eq!([error(50, 50), error(5000, 5000), error(10_000, 0)], [10.0, 1.0, 0.0]);
        // Reads of half as many keys that are found, of which each thread looks at all at first, and then at some by chance.
        let (mut within, mut rng, prefixes) = (0, Rng::seeded(1), 2000);
        for number in 0..prefixes {
            let (mut counts, looks) = (Counts::default(), 1 + number % 50);
            for look in 0..looks {
                let count = if look < number % 3 * 8 { 1 } else { 1 + rng.below(2 * STRIDE - 1) };
                counts.add([Happening::Hit, Happening::Miss][rng.index(2)], count);
            }
            let ratio = counts.of(Happening::Hit) as f64 / counts.weight() as f64;
            within += u64::from((ratio - 0.5).abs() <= counts.error_of_ratio());
        }
        assert!(within * 100 >= prefixes * 93, "{within} of {prefixes}");
    }

    #[test]
    fn the_busiest_stay_among_any_number_of_others() {
        let (mut table, mut rng) = (Table::default(), Rng::seeded(1));
        for round in 0..200_000u64 {
            let busy = rng.below(100).to_string();
            table.add(busy.as_bytes(), Happening::Hit, 1);
            table.add(format!("once-{round}").as_bytes(), Happening::Miss, 1);
        }
        assert!(table.counts.len() <= 2 * KEPT);
        for number in 0..100 {
            let hits = table.counts[number.to_string().as_bytes()].of(Happening::Hit);
            assert!((1700..2300).contains(&hits), "{number}: {hits}");
        }
    }

    #[test]
    fn what_is_looked_at_stands_for_all() {
        let prefixes = Prefixes::default();
        let (mut looked_at, mut sum) = (0, 0);
        for read in 0..1_000_000u64 {
            if let Some(count) = prefixes.next_read() {
                (looked_at, sum) = (looked_at + 1, sum + count);
            }
            assert!(read >= EXACT || looked_at == read + 1);
        }
        assert!((970_000..=1_000_000).contains(&sum), "{sum}");
        assert!((33_000..38_000).contains(&looked_at), "{looked_at}");
        assert_eq!(prefixes.are_exact(), (false, true));
        prefixes.reset();
        assert_eq!((prefixes.next_read(), prefixes.next_read()), (Some(1), Some(1)), "all are looked at again");
        assert!(prefixes.are_exact().0);
    }
}
