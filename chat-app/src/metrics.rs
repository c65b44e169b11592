//! What is counted, without a lock: counters, and histograms that tell percentiles.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// How much it is.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The upper bounds of a histogram's buckets: 1 microsecond to 16 s, four to each doubling.
const BUCKETS: usize = 97;

/// How long something took, each time. A percentile is exact to a fifth.
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    total_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], total_us: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Notes one time.
    pub fn record(&self, time: Duration) {
        let us = time.as_nanos() as f64 / 1_000.0;
        self.buckets[bucket_of(us)].fetch_add(1, Relaxed);
        self.total_us.fetch_add(us as u64, Relaxed);
    }

    /// How many were noted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }

    /// All of them together, in seconds.
    pub fn sum_s(&self) -> f64 {
        self.total_us.load(Relaxed) as f64 / 1e6
    }

    /// How many were noted in each bucket.
    pub fn snapshot(&self) -> Vec<u64> {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect()
    }

    /// The time in milliseconds that this share (0.99) did not exceed; 0 when nothing was noted.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        percentile_ms(&self.snapshot(), share)
    }

    /// How many did not exceed a time.
    pub fn count_up_to(&self, time: Duration) -> u64 {
        let last = bucket_of(time.as_nanos() as f64 / 1_000.0);
        self.buckets[..=last].iter().map(|bucket| bucket.load(Relaxed)).sum()
    }
}

/// The percentile of what [`Histogram::snapshot`] gave, or of several added up.
pub fn percentile_ms(buckets: &[u64], share: f64) -> f64 {
    let total: u64 = buckets.iter().sum();
    if total == 0 {
        return 0.0;
    }
    let wanted = (total as f64 * share).ceil().max(1.0) as u64;
    let mut seen = 0;
    for (index, count) in buckets.iter().enumerate() {
        seen += count;
        if seen >= wanted {
            return bound_us(index) / 1_000.0;
        }
    }
    bound_us(buckets.len().saturating_sub(1)) / 1_000.0
}

fn bucket_of(us: f64) -> usize {
    if us <= 1.0 { 0 } else { ((us.log2() * 4.0).ceil() as usize).min(BUCKETS - 1) }
}

fn bound_us(bucket: usize) -> f64 {
    2f64.powf(bucket as f64 / 4.0)
}

/// What is counted of one server that speaks RESP.
#[derive(Default)]
pub struct StoreMetrics {
    /// Answers.
    pub latency: Histogram,
    /// Requests that failed, for whatever reason.
    pub errors: Counter,
    /// Requests that the open breaker refused.
    pub skipped: Counter,
    /// Keys that held what is not ours and were put right.
    pub mended: Counter,
}

/// What is counted of the application.
#[derive(Default)]
pub struct Metrics {
    /// Reads that L1 answered.
    pub l1_hits: Counter,
    /// Reads that the cache answered.
    pub l2_hits: Counter,
    /// Reads that the cache answered with a page that is refreshed in the background.
    pub stale_hits: Counter,
    /// Reads that needed the database.
    pub misses: Counter,
    /// Reads that another request of this server, or of another one, was already making.
    pub shared: Counter,
    /// Queries for what can be cached.
    pub database_reads: Counter,
    /// Changes of the database.
    pub database_writes: Counter,
    /// Computations of what is trending.
    pub trending: Counter,
    /// Looks for what other servers wrote.
    pub polls: Counter,
    /// Values under our keys that were not ours.
    pub garbage: Counter,
    /// Groups that were made stale.
    pub invalidations: Counter,
    /// Requests that the limiter refused.
    pub limited: Counter,
    /// Answers with a status of 500 or more.
    pub failures: Counter,
    /// All answers.
    pub requests: Counter,
    /// Messages that were written.
    pub messages: Counter,
    /// Bytes of values before compression.
    pub plain_bytes: Counter,
    /// Bytes of values as they were stored.
    pub stored_bytes: Counter,
    /// Reads that L1 answered.
    pub l1_time: Histogram,
    /// Reads that the cache answered.
    pub l2_time: Histogram,
    /// Reads that needed the database.
    pub database_time: Histogram,
}

/// What one server tells the others, for a dashboard over all of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// The server's number.
    pub node: i64,
    /// When it was taken, in milliseconds since 1970.
    pub at_ms: i64,
    /// Reads that L1 answered.
    pub l1_hits: u64,
    /// Reads that the cache answered.
    pub l2_hits: u64,
    /// Reads that needed the database.
    pub misses: u64,
    /// Queries for what can be cached.
    pub database_reads: u64,
    /// Requests that the limiter refused.
    pub limited: u64,
    /// Answers with a status of 500 or more.
    pub failures: u64,
    /// Failed requests to the caches and the state server.
    pub cache_errors: u64,
    /// Messages that were written.
    pub messages: u64,
    /// Times of L1, L2 and the database, as [`Histogram::snapshot`] gives them.
    pub times: [Vec<u64>; 3],
    /// Milliseconds of database time that hits have saved.
    pub saved_ms: f64,
}

impl Metrics {
    /// What this server tells the others.
    pub fn snapshot(&self, node: i64, at_ms: i64, cache_errors: u64) -> Snapshot {
        let hits = self.l1_hits.get() + self.l2_hits.get();
        let reads = self.database_time.count().max(1) as f64;
        Snapshot {
            node,
            at_ms,
            l1_hits: self.l1_hits.get(),
            l2_hits: self.l2_hits.get(),
            misses: self.misses.get(),
            database_reads: self.database_reads.get(),
            limited: self.limited.get(),
            failures: self.failures.get(),
            cache_errors,
            messages: self.messages.get(),
            times: [self.l1_time.snapshot(), self.l2_time.snapshot(), self.database_time.snapshot()],
            saved_ms: hits as f64 * self.database_time.sum_s() * 1_000.0 / reads,
        }
    }
}

impl Snapshot {
    /// The sum over several servers.
    pub fn sum(snapshots: &[Snapshot]) -> Snapshot {
        let mut sum = Snapshot { times: [vec![0; BUCKETS], vec![0; BUCKETS], vec![0; BUCKETS]], ..Snapshot::default() };
        for one in snapshots {
            sum.at_ms = sum.at_ms.max(one.at_ms);
            sum.l1_hits += one.l1_hits;
            sum.l2_hits += one.l2_hits;
            sum.misses += one.misses;
            sum.database_reads += one.database_reads;
            sum.limited += one.limited;
            sum.failures += one.failures;
            sum.cache_errors += one.cache_errors;
            sum.messages += one.messages;
            sum.saved_ms += one.saved_ms;
            for (all, times) in sum.times.iter_mut().zip(&one.times) {
                all.iter_mut().zip(times).for_each(|(all, count)| *all += count);
            }
        }
        sum
    }

    /// The share of reads that needed no database, in percent; `None` before the first read.
    pub fn hit_rate(&self) -> Option<f64> {
        let hits = (self.l1_hits + self.l2_hits) as f64;
        let all = hits + self.misses as f64;
        (all > 0.0).then(|| hits * 100.0 / all)
    }
}

#[cfg(test)]
mod tests {
    use super::{Histogram, Snapshot};
    use std::time::Duration;

    #[test]
    fn percentiles_are_exact_to_a_fifth() {
        let times = Histogram::default();
        (1..=1_000).for_each(|us| times.record(Duration::from_micros(us)));
        for (share, want) in [(0.5, 0.5), (0.95, 0.95), (0.99, 0.99)] {
            let got = times.percentile_ms(share);
            assert!(got >= want && got < want * 1.2, "{share}: {got}");
        }
        assert_eq!(times.count(), 1_000);
        assert_eq!(Histogram::default().percentile_ms(0.99), 0.0);
        times.record(Duration::from_secs(3_600));
        assert!(times.percentile_ms(1.0) > 10_000.0);
    }

    #[test]
    fn the_hit_rate_is_over_all_servers() {
        let one = Snapshot { l1_hits: 1, l2_hits: 2, misses: 1, ..Snapshot::default() };
        assert_eq!(one.hit_rate(), Some(75.0));
        let other = Snapshot { misses: 4, ..Snapshot::default() };
        assert_eq!(Snapshot::sum(&[one, other]).hit_rate(), Some(37.5));
        assert_eq!(Snapshot::default().hit_rate(), None);
    }
}
