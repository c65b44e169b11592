//! What CACHE WHY and CACHE STATS hear of keys: see [`insight`](crate::insight).

use super::Locked;
use crate::engine::Engine;
use crate::insight::Cause;
use crate::insight::prefixes::{Happening, prefix_of};
use crate::stats::WorkerStats;

impl Locked<'_> {
    /// Notes that a key of the selected database is gone, which was used last at `tick`.
    #[inline]
    pub(super) fn departed(&mut self, hash: u64, tick: u32, cause: Cause) {
        if self.engine.insight_is_off() {
            return;
        }
        let (capacity, db, now) = (self.engine.insight.departures(self.engine), self.db, self.now);
        let history = &mut self.shards.of(hash).extra.history;
        history.note(capacity, hash, history.number(db), tick, now, cause);
    }

    /// Counts a key of its prefix that is gone.
    #[inline]
    pub(super) fn count_removal(&self, key: &[u8], happening: Happening) {
        if let Some(count) = self.stats.prefixes.next_removal() {
            count_by_prefix(self.engine, self.stats, key, happening, count);
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
