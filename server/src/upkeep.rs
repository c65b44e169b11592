//! Background work of an engine that no thread looks after: whoever runs commands on it does a slice of it afterwards,
//! when one is due. What [`background`] does on a server's threads, this does between the batches of an embedded one.
//!
//! On a manual clock nothing here depends on real time: work is looked for every so many batches, and a slice is a
//! number of steps.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use larder_storage::heap;
use parking_lot::Mutex;

use crate::background;
use crate::engine::Engine;
use crate::stats::WorkerStats;
use crate::tracking;

/// The time of a slice: half of it for garbage, a quarter each for expired keys and for compaction.
const SLICE: Duration = Duration::from_micros(100);
/// The steps of a part of a slice on a manual clock.
const STEPS: u32 = 64;
/// Batches between two looks for work on a manual clock.
const BATCHES: u32 = 256;
/// Ticks that a time in which nothing ran counts for, at most.
const MOST_TICKS: u64 = 60;

/// How far a slice of work goes.
pub(crate) enum Budget {
    /// Until this time.
    Until(Instant),
    /// So many steps.
    Steps(Cell<u32>),
    /// To the end of the work.
    Endless,
}

impl Budget {
    /// One that ends after a time.
    pub(crate) fn within(time: Duration) -> Self {
        Self::Until(Instant::now() + time)
    }

    /// One of so many steps.
    pub(crate) fn steps(count: u32) -> Self {
        Self::Steps(Cell::new(count))
    }

    /// Whether it is used up; to be asked once per step.
    pub(crate) fn is_spent(&self) -> bool {
        match self {
            Self::Until(end) => Instant::now() > *end,
            Self::Steps(left) => {
                left.set(left.get().saturating_sub(1));
                left.get() == 0
            }
            Self::Endless => false,
        }
    }
}

/// See the module's page.
#[derive(Default)]
pub(crate) struct Upkeep {
    /// Whether threads of a server do the work.
    has_threads: AtomicBool,
    /// When work was looked for, in milliseconds since 1970; 0 if there was more than a slice of it.
    looked_ms: AtomicU64,
    /// Batches since the last look, on a manual clock.
    batches: AtomicU32,
    /// The shard with which compaction goes on.
    pub(crate) compacted: AtomicUsize,
    /// The last second in which work was looked for. Held by the one thread that does a slice.
    second: Mutex<Option<u64>>,
}

impl Upkeep {
    /// Notes whether threads of a server do the work from now on.
    pub(crate) fn leave_to_threads(&self, has_threads: bool) {
        self.has_threads.store(has_threads, Relaxed);
    }

    /// To be called after each batch, at `now_ms`: does a slice of the work if one is due and no other thread is at it.
    #[inline]
    pub(crate) fn after_batch(&self, engine: &Engine, now_ms: u64, stats: &WorkerStats) {
        if self.has_threads.load(Relaxed) && !engine.shutdown.is_asked() {
            return;
        }
        let looks = self.look_is_due(engine, now_ms);
        if looks || engine.garbage_counts().0 > 0 {
            self.slice(engine, looks, now_ms, stats);
        }
    }

    #[inline]
    fn look_is_due(&self, engine: &Engine, now_ms: u64) -> bool {
        if engine.clock().is_manual() {
            return self.batches.fetch_add(1, Relaxed) >= BATCHES;
        }
        let pause = background::pause(engine.settings().hz.get(), false);
        now_ms.abs_diff(self.looked_ms.load(Relaxed)) >= pause.as_millis() as u64
    }

    #[cold]
    fn slice(&self, engine: &Engine, looks: bool, now_ms: u64, stats: &WorkerStats) {
        let Some(mut second) = self.second.try_lock() else { return };
        let is_manual = engine.clock().is_manual();
        let budget = |part: u32| if is_manual { Budget::steps(STEPS) } else { Budget::within(SLICE / part) };
        engine.free_garbage(&budget(2));
        if !looks {
            return;
        }
        let shards = 0..engine.keyspace().shards();
        let stands_still = engine.pause.is_on(now_ms);
        let mut more = engine.sweeps() && !stands_still && background::sweep(engine, shards.clone(), stats, &budget(4));
        more |= tracking::forget_surplus(engine, stats, &budget(4));
        heap::tend();
        more |= background::compact(engine, shards, &self.compacted, &budget(4));
        more |= engine.evictor().rebase_step(engine);
        more |= engine.evictor().learn(engine);
        engine.insight.work(engine, &budget(4));
        // Moving a manual clock does the rest: how much is evicted in one step is a question of time.
        if !is_manual {
            more |= !stands_still && engine.evictor().relieve(engine, stats);
            engine.rates.tick(engine);
            let now = now_ms / 1000;
            let passed = now.saturating_sub(second.unwrap_or(now));
            *second = Some(now);
            if passed > 0 {
                (1..passed.min(MOST_TICKS)).for_each(|_| engine.keyspace().advance_tick());
                background::every_second(engine);
            }
        }
        self.looked_ms.store(if more { 0 } else { now_ms }, Relaxed);
        self.batches.store(if more { BATCHES } else { 0 }, Relaxed);
    }
}
