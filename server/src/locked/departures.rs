//! What CACHE WHY and CACHE STATS hear of keys: see [`insight`](crate::insight).

use super::Locked;
use crate::engine::Engine;
use crate::insight::prefixes::{Happening, prefix_of};
use crate::insight::{Cause, History};
use crate::stats::WorkerStats;

impl Locked<'_> {
    /// Notes that a key of the selected database is gone, which was used last at `tick`.
    #[inline]
    pub(super) fn departed(&mut self, hash: u64, tick: u32, cause: Cause) {
        let departing = self.departing(cause);
        departing.note(&mut self.shards.of(hash).extra.history, hash, tick);
    }

    /// What is noted of keys of the selected database that leave now.
    #[inline]
    pub(super) fn departing(&self, cause: Cause) -> Departing {
        let capacity = if self.engine.insight_is_off() { 0 } else { self.engine.insight.departures(self.engine) };
        Departing { capacity, db: self.db, now: self.now, cause }
    }

    /// Counts a key of its prefix that is gone.
    #[inline]
    pub(super) fn count_removal(&self, key: &[u8], happening: Happening) {
        if let Some(count) = self.stats.prefixes.next_removal() {
            count_by_prefix(self.engine, self.stats, key, happening, count);
        }
    }
}

/// What is noted of keys that leave a database.
pub(super) struct Departing {
    /// Departures that a shard remembers; 0 if none is noted.
    capacity: usize,
    db: usize,
    now: u64,
    cause: Cause,
}

impl Departing {
    /// Notes a key that was used last at `tick`.
    #[inline]
    pub(super) fn note(self, history: &mut History, hash: u64, tick: u32) {
        if self.capacity > 0 {
            history.note(self.capacity, hash, history.number(self.db), tick, self.now, self.cause);
        }
    }
}

/// Counts reads of a key by its prefix.
#[cold]
pub(super) fn count_read(engine: &Engine, stats: &WorkerStats, key: &[u8], hit: bool, count: u64) {
    count_by_prefix(engine, stats, key, if hit { Happening::Hit } else { Happening::Miss }, count);
}

#[cold]
fn count_by_prefix(engine: &Engine, stats: &WorkerStats, key: &[u8], happening: Happening, count: u64) {
    if !engine.insight_is_off() {
        let separator = engine.settings().cache_prefix_separator.get();
        stats.prefixes.note(prefix_of(key, &separator), happening, count);
    }
}
