//! Eviction under `maxmemory`.

use crate::engine::Engine;
use crate::stats::WorkerStats;

/// Whether a command may add data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// There is room.
    Enough,
    /// Some was made, more is needed.
    More,
    /// Nothing can be evicted.
    None,
}

/// Chooses what goes.
pub(crate) struct Evictor {}

impl Evictor {
    pub(crate) fn new(_seed: u64) -> Self {
        Self {}
    }

    pub(crate) fn forget_candidates(&self) {}

    pub(crate) fn step(&self, _engine: &Engine, _stats: &WorkerStats, _limit: u64) -> Room {
        Room::None
    }
}
