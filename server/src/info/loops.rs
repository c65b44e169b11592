//! How the event loops of the server's threads are doing. A cycle ends when a thread has nothing to run and waits for events;
//! what it did until then is the cycle's duration.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::RuntimeMetrics;

/// What the loops of all threads have done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct LoopTotals {
    pub(crate) cycles: u64,
    /// The time in which threads did not wait for events.
    pub(crate) busy: Duration,
}

#[derive(Default)]
struct Known {
    threads: Vec<RuntimeMetrics>,
    /// The sums when the counters were set back.
    before: LoopTotals,
}

impl Known {
    fn sums(&self) -> LoopTotals {
        let add = |sums: LoopTotals, thread: &RuntimeMetrics| LoopTotals {
            cycles: sums.cycles + thread.worker_park_count(0),
            busy: sums.busy + thread.worker_total_busy_duration(0),
        };
        self.threads.iter().fold(LoopTotals::default(), add)
    }
}

/// See the module's page. An engine without threads of its own has no loops.
#[derive(Default)]
pub(crate) struct Loops(Mutex<Known>);

impl Loops {
    /// Counts the loop that this thread runs; to be called within it.
    pub(crate) fn add_this(&self) {
        self.0.lock().threads.push(tokio::runtime::Handle::current().metrics());
    }

    /// Since the start, or since the counters were set back.
    pub(crate) fn totals(&self) -> LoopTotals {
        let known = self.0.lock();
        let (sums, before) = (known.sums(), known.before);
        LoopTotals { cycles: sums.cycles.saturating_sub(before.cycles), busy: sums.busy.saturating_sub(before.busy) }
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&self) {
        let mut known = self.0.lock();
        known.before = known.sums();
    }
}
