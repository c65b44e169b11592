//! The figures of memory that INFO and MEMORY tell.

use std::sync::atomic::Ordering::Relaxed;

use larder_storage::heap;

use super::process;
use super::shards::ShardFigures;
use crate::engine::Engine;
use crate::locked::Locked;

/// Bytes, but for the keys.
pub(crate) struct MemoryFigures {
    /// Of the data.
    pub(crate) used: u64,
    /// The most that it ever was.
    pub(crate) peak: u64,
    /// Free places in the data's pages, as far as can be told.
    pub(crate) free: u64,
    /// Free pages that memory still backs.
    pub(crate) reserve: u64,
    /// Of the process, as the system sees it.
    pub(crate) resident: Option<u64>,
    /// Of the process, when it had no data yet.
    pub(crate) startup: u64,
    /// What clients take, and how many there are.
    pub(crate) clients: u64,
    /// See there.
    pub(crate) connected: u64,
    /// What the cache keeps to tell about itself, and what its eviction policy has learnt.
    pub(crate) insight: u64,
    pub(crate) policy: u64,
    pub(crate) keys: u64,
    /// What finding the keys takes, for each database that has keys.
    pub(crate) indexes: Vec<(usize, u64)>,
}

impl MemoryFigures {
    /// The figures now; all shards are locked.
    pub(crate) fn of(locked: &mut Locked<'_>) -> Self {
        let shards = ShardFigures::of(locked);
        Self::with(locked.engine(), &shards)
    }

    /// The figures with those of the shards.
    pub(super) fn with(engine: &Engine, shards: &ShardFigures) -> Self {
        let used = engine.keyspace().used_memory() as u64;
        let peak = engine.peak_memory.fetch_max(used, Relaxed).max(used);
        let insight = engine.insight.bytes() + engine.stats().prefix_bytes() as u64 + shards.history;
        let (keys, indexes) = (shards.keys, shards.indexes.clone());
        let regions = engine.keyspace().regions();
        // Shards know the free places of entries. Those in the pages of collections nobody counts: there are at least as many as pages
        // are larger than all data.
        let free = shards.free.max((regions.used_bytes() as u64).saturating_sub(used));
        // Of long values and keys, parts of collections, and of whatever else the process has of the size of the former.
        let heap = heap::figures();
        let reserve = (regions.reserve_bytes() + heap.held - heap.used) as u64;
        let (resident, startup) = (process::resident_bytes(), engine.identity.resident_at_start);
        let (mut clients, mut connected) = (0, 0);
        engine.clients().each(|client| (clients, connected) = (clients + client.memory() as u64, connected + 1));
        let policy = engine.evictor().learnt_bytes();
        Self { used, peak, free, reserve, resident, startup, clients, connected, insight, policy, keys, indexes }
    }

    /// What finding the keys takes.
    pub(crate) fn overhead(&self) -> u64 {
        self.indexes.iter().map(|(_, bytes)| bytes).sum()
    }

    /// What the keys and values themselves take.
    pub(crate) fn dataset(&self) -> u64 {
        self.used.saturating_sub(self.overhead())
    }

    /// What the data's allocator holds of the system's memory.
    pub(crate) fn held(&self) -> u64 {
        self.used + self.free + self.reserve
    }

    pub(crate) fn dataset_percent(&self) -> f64 {
        100.0 * Self::ratio(self.dataset(), self.used)
    }

    pub(crate) fn peak_percent(&self) -> f64 {
        100.0 * Self::ratio(self.used, self.peak)
    }

    pub(crate) fn fragmentation(&self) -> f64 {
        Self::ratio(self.used + self.free, self.used)
    }

    /// What of the resident memory is there for something. Redis counts its program and the clients among the used memory, so
    /// that a small server is not taken for a fragmented one.
    pub(crate) fn accounted(&self) -> u64 {
        self.startup + self.taken()
    }

    /// The same without what the program took when it began.
    pub(crate) fn taken(&self) -> u64 {
        self.used + self.clients + self.insight + self.policy
    }

    pub(crate) fn reserve_ratio(&self) -> f64 {
        Self::ratio(self.held(), self.used + self.free)
    }

    /// One part of another; 0 where there is none.
    pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
        if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
    }
}
