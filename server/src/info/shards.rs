//! What INFO tells of the shards. While a script holds some of them and goes on, this is what was known before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_storage::table::Table;
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::locked::Locked;
use crate::stats::WorkerStats;

/// Figures of all shards at one time.
pub(crate) struct ShardFigures {
    /// Keys that clients watch, and wait for; of these also those whose clients wait until they are gone, too.
    pub(super) watched: usize,
    pub(super) waited_for: usize,
    pub(super) also_without_key: usize,
    /// How many percent, about, of the keys that expire have expired and are still there.
    pub(super) stale_percent: f64,
    /// Bytes of free places, and of what is kept for CACHE to tell.
    pub(super) free: u64,
    pub(super) history: u64,
    pub(super) keys: u64,
    /// What finding the keys takes, for each database that has keys.
    pub(super) indexes: Vec<(usize, u64)>,
    /// Those that have keys.
    pub(super) databases: Vec<Database>,
}

/// Figures of a database.
pub(super) struct Database {
    pub(super) number: usize,
    pub(super) keys: usize,
    /// Keys that expire, and the average of the milliseconds that they have left.
    pub(super) expires: usize,
    pub(super) average_ttl: u64,
    /// Hashes with fields that expire.
    pub(super) timed: usize,
}

impl ShardFigures {
    /// The figures now; all shards are locked.
    pub(crate) fn of(locked: &mut Locked<'_>) -> Self {
        // An EXEC may have changed the shards before this.
        locked.shards().publish();
        let count = locked.engine().keyspace().databases();
        let (now, mut stale, mut indexes) = (locked.now, Ttls::default(), vec![0; count]);
        let (mut free, mut history, mut keys) = (0, 0, 0);
        let (mut watched, mut waited_for, mut also_without_key) = (0, 0, 0);
        for (_, guarded) in locked.shards().each() {
            let (waited, minding) = guarded.extra.waiters.counts();
            watched += guarded.extra.watchers.len();
            (waited_for, also_without_key) = (waited_for + waited, also_without_key + minding);
            free += guarded.shard.free_bytes() as u64;
            history += guarded.extra.history.memory() as u64;
            for (db, table) in guarded.shard.databases() {
                stale.sample(table, now);
                keys += table.len() as u64;
                indexes[db] += if table.is_empty() { 0 } else { table.index_memory() as u64 };
            }
        }
        let indexes = indexes.into_iter().enumerate().filter(|(_, bytes)| *bytes > 0).collect();
        let databases = (0..count).map(|number| Database::of(locked, number)).filter(|database| database.keys > 0);
        let (databases, stale_percent) = (databases.collect(), stale.stale_percent());
        Self { watched, waited_for, also_without_key, stale_percent, free, history, keys, indexes, databases }
    }
}

impl Database {
    fn of(locked: &mut Locked<'_>, number: usize) -> Self {
        let (now, mut ttls) = (locked.now, Ttls::default());
        let (mut keys, mut expires, mut timed) = (0, 0, 0);
        for (_, guarded) in locked.shards().each_ref() {
            let Some(table) = guarded.shard.table(number) else { continue };
            keys += table.len();
            expires += table.expires();
            timed += table.timed();
            ttls.sample(table, now);
        }
        Self { number, keys, expires, average_ttl: ttls.average(), timed }
    }
}

/// The figures that were taken last.
#[derive(Default)]
pub(crate) struct KnownShards(Mutex<Option<(Instant, Arc<ShardFigures>)>>);

impl KnownShards {
    pub(super) fn get(&self) -> Option<Arc<ShardFigures>> {
        self.0.lock().as_ref().map(|(_, figures)| figures.clone())
    }

    /// Takes them before a script runs that may do so for long, unless that was done shortly before.
    pub(crate) fn renew(&self, engine: &Engine, stats: &WorkerStats) {
        const EVERY: Duration = Duration::from_secs(1);
        let is_new = |(taken, _): &(Instant, _)| taken.elapsed() < EVERY;
        if self.0.lock().as_ref().is_some_and(is_new) {
            return;
        }
        let all = engine.keyspace().all();
        let Some(mut locked) = Locked::try_new(engine, all, engine.clock().now_ms(), stats) else { return };
        let figures = Arc::new(ShardFigures::of(&mut locked));
        drop(locked);
        *self.0.lock() = Some((Instant::now(), figures));
    }
}

/// Times to live of some keys, to estimate the average by.
#[derive(Default)]
struct Ttls {
    tables: usize,
    keys: u64,
    milliseconds: u64,
    /// Keys whose time is over.
    stale: u64,
}

impl Ttls {
    /// Tables of a database that are sampled, one segment each.
    const TABLES: usize = 8;
    /// Segments of a table in which a key that expires is looked for: in others it may be fields of hashes that do.
    const SEGMENTS: usize = 8;

    fn sample(&mut self, table: &Table, now: u64) {
        // The same segments each time: what is shown moves only when the keys do.
        if self.tables == Self::TABLES || table.expires() == 0 {
            return;
        }
        let mut segments = (0..Self::SEGMENTS).map_while(|nth| table.nth_segment_with_expiry(nth));
        let has_some = |segment: &u32| table.words(*segment).any(|(_, word)| word.expires());
        let Some(segment) = segments.find(has_some) else { return };
        self.tables += 1;
        for (pos, _) in table.words(segment).filter(|(_, word)| word.expires()) {
            self.keys += 1;
            self.stale += u64::from(table.entry(pos).expiry().is_some_and(|at| at <= now));
            self.milliseconds += table.entry(pos).expiry().map_or(0, |at| at.saturating_sub(now));
        }
    }

    fn average(&self) -> u64 {
        self.milliseconds.checked_div(self.keys).unwrap_or(0)
    }

    fn stale_percent(&self) -> f64 {
        if self.keys == 0 { 0.0 } else { 100.0 * self.stale as f64 / self.keys as f64 }
    }
}
