//! Counters. Each thread that runs commands has its own, written by it alone and summed by whoever reads, so that
//! counting costs no shared cache line.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use larder_storage::evict::samples::{Sample, Samples};
use parking_lot::Mutex;

use crate::commands::table::TABLE;
use crate::insight::prefixes::{Counts, Prefixes};
use crate::latency::{Histogram, Times};
use crate::observe::MOST_PER_SAMPLE;

/// A counter with one writer at a time; readers may see it a moment late.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        // One writer: a plain load and store lose nothing and cost no locked instruction.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the number itself.
    pub(crate) fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    pub(crate) fn reset(&self) {
        self.set(0);
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of one thread.
        #[derive(Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: Counter,)*
        }

        /// Sums over all threads.
        #[derive(Debug, Default, Clone)]
        pub(crate) struct Totals {
            $($(#[$doc])* pub(crate) $name: u64,)*
        }

        impl Counters {
            fn add_to(&self, totals: &mut Totals) {
                $(totals.$name += self.$name.get();)*
            }

            fn reset(&self) {
                $(self.$name.reset();)*
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections,
    /// Connections refused for `maxclients`.
    rejected_connections,
    /// Commands run.
    commands,
    /// Bytes read from clients.
    input_bytes,
    /// Bytes written to clients.
    output_bytes,
    /// Reads that found their key.
    hits,
    /// Reads that did not.
    misses,
    /// Keys that expired.
    expired,
    /// Fields of hashes that expired.
    expired_fields,
    /// Packed pieces in payloads of RESTORE that were checked.
    sanitized_payloads,
    /// Time that the sweep for expired keys took, in nanoseconds.
    sweep_nanoseconds,
    /// Slices of that sweep which ended before the expired keys did.
    sweep_cut_short,
    /// Keys evicted.
    evicted,
    /// Clients closed for the memory that all clients take.
    evicted_clients,
    /// Error replies.
    errors,
    /// Reads from sockets that brought something.
    reads,
    /// Writes to sockets.
    writes,
    /// Clients closed for their output buffer's limit.
    output_limit_closed,
    /// Clients closed for their query buffer's limit.
    query_limit_closed,
    /// Messages published, of any kind.
    published,
    /// Changes of data.
    dirty,
    /// Authentication failures.
    denied_auth,
    /// Commands that the rules of users forbade.
    denied_commands,
    /// Calls that the rules of users forbade for a key.
    denied_keys,
    /// Calls that the rules of users forbade for a channel.
    denied_channels,
}

/// Counters of one row.
#[derive(Default)]
pub(crate) struct RowCounters {
    pub(crate) calls: Counter,
    /// Calls up to the last one that was timed, and how long these took, in nanoseconds: those that were not timed are
    /// taken for like the next one that was.
    seen: Counter,
    nanoseconds: Counter,
    pub(crate) rejected: Counter,
    pub(crate) failed: Counter,
    /// Made when a call is first to be counted in it.
    histogram: OnceLock<Histogram>,
}

impl RowCounters {
    /// Notes the time of the call that was counted last. `tracked`: in the histogram, too.
    pub(crate) fn note_time(&self, time: Duration, tracked: bool) {
        let calls = self.calls.get();
        let stands_for = calls.saturating_sub(self.seen.get()).clamp(1, MOST_PER_SAMPLE);
        self.seen.set(calls);
        let nanoseconds = time.as_nanos() as u64;
        self.nanoseconds.add(nanoseconds.saturating_mul(stands_for));
        if tracked {
            self.histogram.get_or_init(Histogram::new).add(nanoseconds, stands_for);
        }
    }

    fn reset(&self) {
        for counter in [&self.calls, &self.seen, &self.nanoseconds, &self.rejected, &self.failed] {
            counter.reset();
        }
        if let Some(histogram) = self.histogram.get() {
            histogram.reset();
        }
    }
}

/// Sums of one row.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct RowTotals {
    pub(crate) calls: u64,
    /// Estimated from the calls that were timed.
    pub(crate) nanoseconds: u64,
    pub(crate) rejected: u64,
    pub(crate) failed: u64,
}

/// Statistics of one thread, on cache lines of its own.
#[repr(align(128))]
pub(crate) struct WorkerStats {
    pub(crate) counters: Counters,
    /// What the eviction policy shall hear of the use of keys.
    pub(crate) samples: Samples,
    pub(crate) prefixes: Prefixes,
    rows: Box<[RowCounters]>,
}

impl WorkerStats {
    fn new() -> Self {
        Self {
            counters: Counters::default(),
            samples: Samples::default(),
            prefixes: Prefixes::default(),
            rows: TABLE.rows().map(|_| RowCounters::default()).collect(),
        }
    }

    #[inline]
    pub(crate) fn row(&self, row: u16) -> &RowCounters {
        &self.rows[row as usize]
    }

    #[inline]
    pub(crate) fn hit(&self) {
        self.counters.hits.add(1);
    }

    #[inline]
    pub(crate) fn miss(&self) {
        self.counters.misses.add(1);
    }

    pub(crate) fn expired(&self) {
        self.counters.expired.add(1);
    }

    pub(crate) fn expired_fields(&self, fields: u64) {
        self.counters.expired_fields.add(fields);
    }

    pub(crate) fn sanitized_payloads(&self, pieces: u64) {
        self.counters.sanitized_payloads.add(pieces);
    }

    pub(crate) fn evicted(&self) {
        self.counters.evicted.add(1);
    }

    #[inline]
    pub(crate) fn add_dirty(&self, changes: u64) {
        if changes > 0 {
            self.counters.dirty.add(changes);
        }
    }
}

/// How many different error codes are counted; a client can make up codes, so there is a bound.
pub(crate) const MAX_ERROR_CODES: usize = 128;

/// Statistics of an engine.
#[derive(Default)]
pub(crate) struct Stats {
    workers: Mutex<Vec<Arc<WorkerStats>>>,
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Stats {
    /// Counters for one more thread.
    pub(crate) fn worker(&self) -> Arc<WorkerStats> {
        let stats = Arc::new(WorkerStats::new());
        self.workers.lock().push(stats.clone());
        stats
    }

    /// Gives counters back that no thread uses any more, for the next one; what they counted stays.
    pub(crate) fn idle_worker(&self) -> Arc<WorkerStats> {
        let workers = self.workers.lock();
        let idle = workers.iter().find(|stats| Arc::strong_count(stats) == 1).cloned();
        drop(workers);
        idle.unwrap_or_else(|| self.worker())
    }

    /// Takes samples of the use of keys out of all buffers, at most so many from each.
    pub(crate) fn take_samples(&self, most: usize, into: &mut Vec<Sample>) {
        self.workers.lock().iter().for_each(|worker| worker.samples.take(most, into));
    }

    /// Whether samples of any thread wait for CACHE WHATIF.
    pub(crate) fn holds_samples_for_what_if(&self) -> bool {
        self.workers.lock().iter().any(|worker| worker.samples.holds_for_what_if())
    }

    /// Bytes of the counts by the beginnings of keys, about.
    pub(crate) fn prefix_bytes(&self) -> usize {
        self.workers.lock().iter().map(|worker| worker.prefixes.memory()).sum()
    }

    /// Counts by the beginnings of keys.
    pub(crate) fn prefixes(&self) -> HashMap<Box<[u8]>, Counts> {
        let mut sums = HashMap::new();
        self.workers.lock().iter().for_each(|worker| worker.prefixes.add_to(&mut sums));
        sums
    }

    /// Whether by these counts all reads, and all keys that went, were counted one by one.
    pub(crate) fn prefixes_are_exact(&self) -> (bool, bool) {
        let each: Vec<(bool, bool)> = self.workers.lock().iter().map(|worker| worker.prefixes.are_exact()).collect();
        (each.iter().all(|exact| exact.0), each.iter().all(|exact| exact.1))
    }

    /// Forgets what was counted by prefix.
    pub(crate) fn forget_prefixes(&self) {
        self.workers.lock().iter().for_each(|worker| worker.prefixes.reset());
    }

    /// Counts an error reply by its code.
    #[cold]
    pub(crate) fn error(&self, code: &str) {
        self.errors_of(code, 1);
    }

    /// The same, so often.
    pub(crate) fn errors_of(&self, code: &str, times: u64) {
        let mut errors = self.errors.lock();
        if let Some(count) = errors.get_mut(code) {
            *count += times;
        } else if errors.len() < MAX_ERROR_CODES {
            errors.insert(code.to_owned(), times);
        }
    }

    /// Error codes and how often they were answered.
    pub(crate) fn errors(&self) -> Vec<(String, u64)> {
        self.errors.lock().iter().map(|(code, count)| (code.clone(), *count)).collect()
    }

    /// How often errors of a code were answered.
    pub(crate) fn errors_with(&self, code: &str) -> u64 {
        self.errors.lock().get(code).copied().unwrap_or_default()
    }

    /// Sums of all counters.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.workers.lock().iter().for_each(|worker| worker.counters.add_to(&mut totals));
        totals
    }

    /// Sums of one row's counters.
    pub(crate) fn row(&self, row: u16) -> RowTotals {
        let mut totals = RowTotals::default();
        for worker in self.workers.lock().iter() {
            let own = worker.row(row);
            totals.calls += own.calls.get();
            if own.seen.get() > 0 {
                let share = own.calls.get() as f64 / own.seen.get() as f64;
                totals.nanoseconds += (own.nanoseconds.get() as f64 * share) as u64;
            }
            totals.rejected += own.rejected.get();
            totals.failed += own.failed.get();
        }
        totals
    }

    /// How long all commands took together, estimated as in [`Stats::row`].
    pub(crate) fn command_nanoseconds(&self) -> u64 {
        TABLE.rows().enumerate().map(|(row, _)| self.row(row as u16).nanoseconds).sum()
    }

    /// The distribution of one row's times; `None` if no call was counted in it.
    pub(crate) fn times(&self, row: u16, tracked: bool) -> Option<Times> {
        let mut times = None;
        for worker in self.workers.lock().iter() {
            let own = worker.row(row);
            if let Some(histogram) = own.histogram.get() {
                let uncounted = if tracked { own.calls.get().saturating_sub(own.seen.get()) } else { 0 };
                histogram.add_to(times.get_or_insert_with(Times::new), uncounted);
            }
        }
        times.filter(|times| times.total() > 0)
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&self) {
        self.errors.lock().clear();
        for worker in self.workers.lock().iter() {
            worker.counters.reset();
            worker.prefixes.reset();
            worker.rows.iter().for_each(RowCounters::reset);
        }
    }
}
