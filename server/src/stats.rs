//! Counters. Each thread that runs commands has its own, written by it alone and summed by whoever reads, so that
//! counting costs no shared cache line.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::commands::table::TABLE;

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

    fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
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
    /// Keys evicted.
    evicted,
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
}

/// Counters of one row.
#[derive(Default)]
pub(crate) struct RowCounters {
    pub(crate) calls: Counter,
    /// Calls that were timed, and how long these took, in nanoseconds.
    pub(crate) timed: Counter,
    pub(crate) nanoseconds: Counter,
    pub(crate) rejected: Counter,
    pub(crate) failed: Counter,
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
    rows: Box<[RowCounters]>,
}

impl WorkerStats {
    fn new() -> Self {
        Self { counters: Counters::default(), rows: TABLE.rows().map(|_| RowCounters::default()).collect() }
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
const MAX_ERROR_CODES: usize = 128;

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

    /// Counts an error reply by its code.
    #[cold]
    pub(crate) fn error(&self, code: &str) {
        let mut errors = self.errors.lock();
        if let Some(count) = errors.get_mut(code) {
            *count += 1;
        } else if errors.len() < MAX_ERROR_CODES {
            errors.insert(code.to_owned(), 1);
        }
    }

    /// Error codes and how often they were answered.
    pub(crate) fn errors(&self) -> Vec<(String, u64)> {
        self.errors.lock().iter().map(|(code, count)| (code.clone(), *count)).collect()
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
            if own.timed.get() > 0 {
                let share = own.calls.get() as f64 / own.timed.get() as f64;
                totals.nanoseconds += (own.nanoseconds.get() as f64 * share) as u64;
            }
            totals.rejected += own.rejected.get();
            totals.failed += own.failed.get();
        }
        totals
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&self) {
        self.errors.lock().clear();
        for worker in self.workers.lock().iter() {
            worker.counters.reset();
            for row in &worker.rows {
                row.calls.reset();
                row.timed.reset();
                row.nanoseconds.reset();
                row.rejected.reset();
                row.failed.reset();
            }
        }
    }
}
