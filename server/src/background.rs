//! Work that no client asked for: expired keys, garbage, compaction, idle clients. Each thread does its share, in
//! slices of about 100 microseconds, and lets its connections run between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use larder_storage::heap;
use larder_storage::keyspace::ShardSet;
use larder_storage::table::Due;

use crate::engine::Engine;
use crate::locked::Locked;
use crate::net::Rounds;
use crate::stats::WorkerStats;
use crate::tracking;
use crate::upkeep::Budget;

/// How long connections may wait for a slice of this work.
const SLICE: Duration = Duration::from_micros(100);
/// How often a thread looks for work, in looks per `hz`: ten times as often as Redis, as what is due shall be done soon.
const LOOKS_PER_HZ: u64 = 10;
/// Segments that one lock of a shard may look through.
const SEGMENTS_PER_LOCK: usize = 4;
/// Looking for fields that are due costs as much as the removal of so many, even if none is found.
const LOOK_FOR_FIELDS: usize = 8;
/// Keys, and fields of hashes, that one lock of a shard may remove.
const KEYS_PER_LOCK: usize = 32;

/// Runs for ever, as the task of thread `number` of `threads`.
pub(crate) async fn run(
    engine: Arc<Engine>,
    number: usize,
    threads: usize,
    stats: Arc<WorkerStats>,
    rounds: Arc<Rounds>,
) {
    let mut last_second = engine.clock().now_ms() / 1000;
    let (compacted, mut looked) = (AtomicUsize::new(0), Instant::now());
    loop {
        let rests = engine.rests.load(Relaxed);
        let since = std::mem::replace(&mut looked, Instant::now()).elapsed();
        if !rests && slice(&engine, number, threads, &stats, &compacted, since) {
            rounds.pause().await;
        } else {
            tokio::time::sleep(pause(engine.settings().hz.get(), heap::plan() != 0)).await;
        }
        if number != 0 || rests {
            continue;
        }
        engine.rates.tick(&engine);
        let second = engine.clock().now_ms() / 1000;
        if second != last_second {
            last_second = second;
            every_second(&engine);
        }
    }
}

/// The pause between two looks for work; the shortest while others may be about to have some for all, as
/// [`heap::tend`] does.
pub(crate) fn pause(hz: u64, is_short: bool) -> Duration {
    const SHORTEST: u64 = 1;
    let milliseconds = if is_short { SHORTEST } else { 1000 / (LOOKS_PER_HZ * hz.max(1)) };
    Duration::from_millis(milliseconds.max(SHORTEST))
}

/// How long the sweep may hold connections up: a quarter more per step of `active-expire-effort`.
fn sweep_slice(effort: u64) -> Duration {
    SLICE * (3 + effort as u32) / 4
}

/// One slice of work, so long after the last one; whether more is at hand.
fn slice(
    engine: &Engine,
    number: usize,
    threads: usize,
    stats: &WorkerStats,
    compacted: &AtomicUsize,
    since: Duration,
) -> bool {
    let budget = Budget::within(sweep_slice(engine.settings().active_expire_effort.get()));
    let stands_still = engine.pause.is_on(engine.clock().now_ms());
    let mut more = engine.sweeps()
        && !stands_still
        && sweep(engine, (number..engine.keyspace().shards()).step_by(threads), stats, &budget);
    if number == 0 {
        more |= engine.free_garbage(&Budget::within(SLICE));
        more |= tracking::forget_surplus(engine, stats, &Budget::within(SLICE));
        more |= !stands_still && engine.evictor().relieve(engine, stats);
        more |= engine.evictor().rebase_step(engine);
        more |= engine.evictor().learn(engine);
        engine.insight.work(engine, &Budget::within(SLICE));
        engine.rates.tick(engine);
        engine.client_memory.relieve(engine, stats);
        heap::tend();
    }
    let shards = (number..engine.keyspace().shards()).step_by(threads);
    more | compact(engine, shards, compacted, &Budget::within(compact_slice(engine, since)))
}

/// Removes expired keys and fields of some shards as far as `budget` goes; whether more are due.
pub(crate) fn sweep(
    engine: &Engine,
    shards: impl Iterator<Item = usize>,
    stats: &WorkerStats,
    budget: &Budget,
) -> bool {
    let (now, started) = (engine.clock().now_ms(), Instant::now());
    let mut more = false;
    'shards: for shard in shards {
        while engine.keyspace().next_due(shard) <= now && !engine.keyspace().claimed().contains(ShardSet::one(shard)) {
            if budget.is_spent() {
                stats.counters.sweep_cut_short.add(1);
                more = true;
                break 'shards;
            }
            more |= sweep_shard(engine, shard, now, stats);
        }
    }
    let (time, threshold) = (started.elapsed(), engine.settings().latency_monitor_threshold.get());
    stats.counters.sweep_nanoseconds.add(time.as_nanos() as u64);
    engine.observers.latency.note("expire-cycle", time, threshold, now / 1000);
    more
}

/// Removes a bounded number of expired keys and fields of one shard; whether more may be due.
fn sweep_shard(engine: &Engine, shard: usize, now: u64, stats: &WorkerStats) -> bool {
    // A script's shards are swept once it has ended.
    let Some(mut locked) = Locked::try_new(engine, ShardSet::one(shard), now, stats) else { return false };
    let (mut segments, mut keys) = (SEGMENTS_PER_LOCK, KEYS_PER_LOCK);
    for db in 0..engine.keyspace().databases() {
        locked.select(db);
        while keys > 0 && segments > 0 {
            let Some(guarded) = locked.shards().only() else { return false };
            let Some(table) = guarded.shard.table_mut(db) else { break };
            match table.next_due(now, &mut segments) {
                None => break,
                Some(Due::Key(pos)) => {
                    let hash = table.hash_at(pos);
                    locked.expire(hash, pos);
                    keys -= 1;
                }
                Some(Due::Fields(pos)) => {
                    let hash = table.hash_at(pos);
                    let removed = locked.expire_due_fields(hash, pos, keys);
                    keys = keys.saturating_sub(removed.max(LOOK_FOR_FIELDS));
                }
            }
        }
    }
    keys == 0 || segments == 0
}

/// How long compaction may hold connections up, so long after it did so last: longer when it falls behind, as it does where
/// all values change their size, and where connections hold one another up for longer still.
fn compact_slice(engine: &Engine, since: Duration) -> Duration {
    /// A part of the data in so many may be unused between what is used.
    const SHARE: usize = 16;
    let (used, held) = (engine.keyspace().used_memory(), engine.keyspace().regions().used_bytes());
    let is_behind = held.saturating_sub(used).max(heap::free()) > used / SHARE;
    if is_behind { (since / 4).clamp(3 * SLICE, 6 * SLICE) } else { SLICE }
}

/// Moves entries out of one sparse page of each shard, or elements of a collection; whether there was one. `next` keeps
/// the shard to go on with, so that each has its turn however much is to do in others.
pub(crate) fn compact(
    engine: &Engine,
    shards: impl Iterator<Item = usize> + Clone,
    next: &AtomicUsize,
    budget: &Budget,
) -> bool {
    let mut more = false;
    let first = next.load(Relaxed);
    let (before, behind) = (shards.clone().filter(|shard| *shard < first), shards.filter(|shard| *shard >= first));
    for shard in behind.chain(before) {
        let Some(mut locked) = engine.keyspace().try_lock(ShardSet::one(shard)) else { continue };
        more |= locked.only().is_some_and(|guarded| guarded.shard.compact_step(engine.env()));
        drop(locked);
        if budget.is_spent() {
            next.store(shard + 1, Relaxed);
            return true;
        }
    }
    more
}

/// What is due once a second.
pub(crate) fn every_second(engine: &Engine) {
    engine.advance_tick();
    engine.keyspace().purge(false);
    engine.trim.tick(engine);
    engine.peak_memory.fetch_max(engine.keyspace().used_memory() as u64, Relaxed);
    let timeout = engine.settings().timeout.get() * 1000;
    if timeout == 0 {
        return;
    }
    let now = engine.clock().now_ms();
    for client in engine.clients().all() {
        let facts = &client.facts;
        let listens =
            facts.channels.load(Relaxed) + facts.patterns.load(Relaxed) + facts.shard_channels.load(Relaxed) > 0;
        if !listens && !client.waits() && now.saturating_sub(facts.active_ms.load(Relaxed)) > timeout {
            client.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_give_the_time_of_background_work() {
        assert_eq!([1, 10, 100, 500].map(|hz| pause(hz, false).as_millis()), [100, 10, 1, 1]);
        assert_eq!(pause(1, true).as_millis(), 1);
        assert_eq!([1, 2, 5, 10].map(|effort| sweep_slice(effort).as_micros()), [100, 125, 200, 325]);
    }

    #[test]
    fn collections_that_shrank_give_memory_back_by_themselves() {
        type Element = fn(usize) -> Vec<String>;
        let elements: [(&str, Element, &str); 3] = [
            ("HSET", |number| vec![format!("field:{number}"), "v".repeat(100)], "HDEL"),
            ("SADD", |number| vec![format!("{number}:{}", "m".repeat(100))], "SREM"),
            ("ZADD", |number| vec![number.to_string(), format!("{number}:{}", "m".repeat(100))], "ZREM"),
        ];
        for (add, element, remove) in elements {
            let server = crate::Server::builder().manual_clock(1_700_000_000_000).seed(1).build().unwrap();
            let mut connection = server.connect();
            let held = || server.engine().keyspace().regions().used_bytes();
            for number in 0..20_000 {
                connection.execute([vec![add.to_owned(), "large".to_owned()], element(number)].concat());
            }
            let full = held();
            assert!(full > 20_000 * 100);
            // Each page keeps a few.
            for number in (0..20_000).filter(|number| number % 10 != 0) {
                let words = element(number);
                let name = if add == "HSET" { words.first() } else { words.last() };
                connection.execute([remove, "large", name.unwrap()]);
            }
            // Within the batches that follow, without moving the clock.
            for _ in 0..300_000 {
                connection.run(b"PING\r\n");
            }
            assert!(held() * 5 < full, "{add}: {} of {full} bytes are held still", held());
            server.engine().validate();
        }
    }

    #[test]
    fn small_pages_of_collections_move_together() {
        let server = crate::Server::builder().manual_clock(1_700_000_000_000).seed(1).build().unwrap();
        let mut connection = server.connect();
        let loose = || server.engine().keyspace().regions().loose_bytes();
        // Smaller ones have no pages.
        for key in 0..60 {
            let value = "v".repeat(70 + key * 7919 % 900);
            let mut words = vec!["HSET".to_owned(), format!("hash:{key}")];
            (0..1100).for_each(|field| words.extend([format!("field:{field}"), value.clone()]));
            connection.execute(words);
        }
        let mut words = vec!["DEL".to_owned()];
        let leave = (0..60usize).filter(|key| (key * 2_654_435_761 >> 8) % 10 < 7);
        words.extend(leave.map(|key| format!("hash:{key}")));
        connection.execute(words);
        server.advance(Duration::from_millis(1));
        // Pages of the table alone would leave a sixth of the data unused.
        assert_eq!(loose(), 0, "of {}", server.engine().keyspace().used_memory());
        server.engine().validate();
    }

    #[test]
    fn little_is_left_unused_after_many_turnovers_with_changing_sizes() {
        const LIMIT: usize = 12 << 20;
        /// What a write may add beside its value when it splits a segment and doubles a directory.
        const SPLIT: usize = 64 << 10;
        for policy in ["allkeys-lru", "allkeys-adaptive"] {
            let options = [("maxmemory", "12mb"), ("maxmemory-policy", policy), ("shards", "4")];
            let builder =
                options.into_iter().fold(crate::Server::builder().seed(1), |it, (name, value)| it.option(name, value));
            let server = builder.manual_clock(1_700_000_000_000).build().unwrap();
            let mut connection = server.connect();
            let mut number = 0usize;
            for turnover in 0..10 {
                // From 50 bytes to 2,000 and back.
                let size = [50, 120, 300, 700, 1400, 2000, 1400, 700, 300, 120][turnover];
                let mut written = 0;
                while written < LIMIT {
                    let length = size * (70 + number * 7919 % 60) / 100;
                    connection.execute(["SET", &format!("key:{number}"), &"v".repeat(length)]);
                    let used = server.engine().keyspace().used_memory();
                    assert!(used <= LIMIT + SPLIT, "{policy}: {used} bytes are used after {number}");
                    (number, written) = (number + 1, written + length + 20);
                }
                server.advance(Duration::from_secs(1));
                let keyspace = server.engine().keyspace();
                let (used, held) = (keyspace.used_memory(), keyspace.regions().used_bytes());
                // The index counts, too.
                assert!(held * 100 < used * 110, "{policy}: {held} bytes are held for {used} after {turnover}");
            }
            server.engine().validate();
            connection.execute(["FLUSHALL"]);
            server.advance(Duration::from_secs(2));
            assert_eq!(server.engine().keyspace().regions().mapped_bytes(), 0, "all goes back to the system");
        }
    }
}
