//! Databases as wholes: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB.
//!
//! A database is emptied or exchanged by handing its tables around, shard by shard, while all shards are held; what
//! the tables hold is freed later, in slices.

use larder_protocol::{Args, Reply};
use larder_storage::keyspace::Guarded;
use larder_storage::shard::Shard;
use larder_storage::table::Table;

use super::command::*;
use super::parse::{integer_or, is};
use crate::effects::Watch;
use crate::engine::{Engine, Flushed, Garbage};
use crate::error::{
    DB_OUT_OF_RANGE, Error, FIRST_DB_INVALID, INT_OUT_OF_RANGE, NOT_AN_INTEGER, Outcome, SECOND_DB_INVALID, SYNTAX,
};
use crate::locked::{Extra, Locked};

pub(super) const COMMANDS: &[Command] = &[
    Command::all("DBSIZE", Arity::exactly(0), dbsize)
        .flags(READONLY | FAST | KEYSPACE)
        .group(Group::Server)
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Counts the keys of the database.")
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .examples(&[("DBSIZE", "(integer) 0"), ("MSET a 1 b 2", "OK"), ("DBSIZE", "(integer) 2")]),
    Command::all("FLUSHDB", Arity::at_least(0), flushdb)
        .flags(WRITE | KEYSPACE | DANGEROUS)
        .group(Group::Server)
        .syntax("[ASYNC | SYNC]")
        .since("1.0.0")
        .summary("Deletes all keys of the database. SYNC and ASYNC are accepted, and alike: memory is freed in slices.")
        .complexity("O(1); N keys are freed later, in slices")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .examples(&[
            ("MSET a 1 b 2", "OK"),
            ("FLUSHDB ASYNC", "OK"),
            ("DBSIZE", "(integer) 0"),
            ("FLUSHDB now", "(error) ERR syntax error"),
        ]),
    Command::all("FLUSHALL", Arity::at_least(0), flushall)
        .flags(WRITE | KEYSPACE | DANGEROUS)
        .group(Group::Server)
        .syntax("[ASYNC | SYNC]")
        .since("1.0.0")
        .summary(
            "Deletes all keys of all databases. SYNC and ASYNC are accepted, and alike: memory is freed in slices.",
        )
        .complexity("O(1); N keys are freed later, in slices")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .examples(&[
            ("SET a 1", "OK"),
            ("COPY a a DB 1", "(integer) 1"),
            ("FLUSHALL", "OK"),
            ("COPY a a DB 1", "(integer) 0"),
        ]),
    Command::all("SWAPDB", Arity::exactly(2), swapdb)
        .flags(WRITE | FAST | KEYSPACE | DANGEROUS)
        .group(Group::Server)
        .since("4.0.0")
        .syntax("index1 index2")
        .summary("Exchanges two databases, for all clients at once.")
        .complexity("O(N) for N watched keys")
        .examples(&[
            ("SET a 1", "OK"),
            ("SWAPDB 0 1", "OK"),
            ("GET a", "(nil)"),
            ("SWAPDB 0 1", "OK"),
            ("GET a", "\"1\""),
            ("SWAPDB 0 99", "(error) ERR DB index is out of range"),
        ]),
];

/// A database's number, as commands get it.
pub(super) fn database(engine: &Engine, arg: &[u8]) -> Result<usize, Error> {
    in_range(engine, int(arg, NOT_AN_INTEGER, INT_OUT_OF_RANGE)?)
}

/// An integer of 32 bits, or the error for what is none, or for a larger one.
fn int(arg: &[u8], invalid: Error, too_large: Error) -> Result<i32, Error> {
    i32::try_from(integer_or(arg, invalid)?).map_err(|_| too_large)
}

fn in_range(engine: &Engine, number: i32) -> Result<usize, Error> {
    let number = usize::try_from(number).ok();
    number.filter(|db| *db < engine.keyspace().databases()).ok_or(DB_OUT_OF_RANGE)
}

fn dbsize(locked: &mut Locked<'_>, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let db = locked.db;
    let keys = |shard: &Shard| shard.table(db).map_or(0, Table::len);
    let total: usize = locked.shards().each_ref().map(|(_, guarded)| keys(&guarded.shard)).sum();
    reply.int(total as i64);
    Ok(())
}

fn flushdb(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    flush(locked, args, |locked| locked.db..locked.db + 1, reply)
}

fn flushall(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    flush(locked, args, |locked| 0..locked.engine().keyspace().databases(), reply)
}

fn flush(
    locked: &mut Locked<'_>,
    args: Args<'_>,
    databases: impl FnOnce(&Locked<'_>) -> std::ops::Range<usize>,
    reply: &mut Reply,
) -> Outcome {
    if args.len() > 2 || args.get(1).is_some_and(|mode| !is(mode, "SYNC") && !is(mode, "ASYNC")) {
        return Err(SYNTAX);
    }
    let (databases, engine, now) = (databases(locked), locked.engine(), locked.now);
    let mut keys = 0;
    for (number, Guarded { shard, extra }) in locked.shards().each() {
        // Only a key that is there changes by being deleted, and not if it had expired before it was watched.
        extra.watchers.each(|db, key, watch| {
            if databases.contains(&db)
                && !watch.expired
                && presence(shard, db, engine.keyspace().hash(key), key, now) != Presence::Absent
            {
                watch.fail();
            }
        });
        for db in databases.clone() {
            if let Some(table) = shard.exchange(db, None) {
                keys += table.len();
                engine.reclaim_later(flushed(engine, table, (number, db), extra, now));
            }
        }
    }
    databases.for_each(|db| locked.ready_database(db));
    locked.invalidate_everything();
    locked.count_changes(keys as u64);
    // It is repeated elsewhere even if nothing was left to delete here.
    locked.replay(&args.iter().collect::<Vec<_>>());
    reply.ok();
    Ok(())
}

/// What is left to do with a table that was emptied.
fn flushed(engine: &Engine, table: Box<Table>, (shard, db): (usize, usize), extra: &mut Extra, now: u64) -> Garbage {
    if engine.insight_is_off() {
        return Garbage::Table(table);
    }
    let number = extra.history.number(db);
    extra.history.begin_flush(number, now);
    let mut flushed = Box::new(Flushed::new(table, shard, number, now));
    // Where there are few keys they are known at once.
    match flushed.note(engine.insight.departures(engine), extra) {
        Some(table) => Garbage::Table(table),
        None => Garbage::Flushed(flushed),
    }
}

fn swapdb(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (engine, now) = (locked.engine(), locked.now);
    let one = int(args.at(1), FIRST_DB_INVALID, FIRST_DB_INVALID)?;
    let other = int(args.at(2), SECOND_DB_INVALID, SECOND_DB_INVALID)?;
    let pair = [in_range(engine, one)?, in_range(engine, other)?];
    if pair[0] != pair[1] {
        for (_, Guarded { shard, extra }) in locked.shards().each() {
            extra.watchers.each(|db, key, watch| {
                if let Some(at) = pair.iter().position(|paired| *paired == db) {
                    let hash = engine.keyspace().hash(key);
                    let here = presence(shard, db, hash, key, now);
                    swapped(watch, here, presence(shard, pair[1 - at], hash, key, now));
                }
            });
            extra.history.swap(pair[0], pair[1], now);
            let first = shard.exchange(pair[0], None);
            let second = shard.exchange(pair[1], first);
            shard.exchange(pair[0], second);
        }
        pair.iter().for_each(|db| locked.ready_database(*db));
    }
    locked.count_changes(1);
    reply.ok();
    Ok(())
}

/// Whether a key is in a database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Absent,
    /// It has expired, and nobody has met it yet.
    Expired,
    Live,
}

pub(super) fn presence(shard: &Shard, db: usize, hash: u64, key: &[u8], now: u64) -> Presence {
    let table = shard.table(db);
    let entry = table.and_then(|table| table.find(hash, key).map(|pos| table.entry(pos)));
    match entry {
        None => Presence::Absent,
        Some(entry) if entry.has_expired(now) => Presence::Expired,
        Some(_) => Presence::Live,
    }
}

/// What a watched key is `here` gives place to what is `there`. An expired key is as good as none, but for one that
/// was watched before it expired.
fn swapped(watch: &mut Watch, here: Presence, there: Presence) {
    if !watch.expired && here != Presence::Absent || there == Presence::Live {
        watch.fail();
    } else {
        watch.expired = there == Presence::Expired;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Connection, Server};

    /// Whether a transaction that watches `key` fails when `change` comes in between.
    fn fails(key: &str, change: &str) -> bool {
        let server = Server::builder().build().unwrap();
        let (mut watcher, mut other) = (server.connect(), server.connect());
        other.execute(["SET", "here", "1"]);
        other.execute(["SET", "there", "1"]);
        other.execute(["MOVE", "there", "1"]);
        watcher.execute(["WATCH", key]);
        assert_eq!(other.execute(change.split(' ')).to_string(), "OK");
        watcher.execute(["MULTI"]);
        watcher.execute(["PING"]);
        watcher.execute(["EXEC"]).to_string() == "(nil)"
    }

    #[test]
    fn a_watched_key_changes_only_if_it_is_in_a_database_concerned() {
        assert!(fails("here", "FLUSHDB") && fails("here", "FLUSHALL"));
        assert!(!fails("nowhere", "FLUSHDB") && !fails("there", "FLUSHALL"));
        assert!(fails("here", "SWAPDB 0 1") && fails("there", "SWAPDB 1 0"));
        assert!(!fails("nowhere", "SWAPDB 0 1") && !fails("here", "SWAPDB 1 2") && !fails("here", "SWAPDB 0 0"));
    }

    /// Whether a transaction fails that watches `k` of database 1, where `here` made it, while database 2 has what
    /// `there` made of it, when `change` comes in between.
    fn fails_among_expired(here: &str, there: &str, change: &str) -> bool {
        let server = Server::builder().manual_clock(1_000_000).option("enable-debug-command", "yes").build().unwrap();
        let (mut watcher, mut other) = (server.connect(), server.connect());
        let run = |connection: &mut Connection, command: &str| connection.execute(command.split(' ')).to_string();
        for command in ["DEBUG SET-ACTIVE-EXPIRE 0", "SELECT 2", there, "SELECT 1", here] {
            assert!(command.is_empty() || run(&mut other, command) == "OK", "{command}");
        }
        server.advance(Duration::from_millis(10));
        run(&mut watcher, "SELECT 1");
        run(&mut watcher, "WATCH k");
        if !change.is_empty() {
            run(&mut other, change);
        }
        run(&mut watcher, "MULTI");
        run(&mut watcher, "PING");
        run(&mut watcher, "EXEC") == "(nil)"
    }

    #[test]
    fn a_key_that_had_expired_when_it_was_watched_is_as_good_as_none() {
        let (stale, live) = ("SET k v PX 1", "SET k v");
        for change in ["", "EXISTS k", "DEL k", "FLUSHDB", "FLUSHALL", "SWAPDB 1 2", "SWAPDB 2 1", "SWAPDB 1 3"] {
            for there in ["", stale] {
                assert!(!fails_among_expired(stale, there, change), "{change} {there}");
                assert!(!fails_among_expired("", there, change), "{change} {there}");
            }
        }
        for here in ["", stale, live] {
            assert!(fails_among_expired(here, live, "SWAPDB 1 2"), "{here}");
            assert!(fails_among_expired(here, "", "SET k w"), "{here}");
        }
        assert!(fails_among_expired(live, stale, "SWAPDB 1 2"));
    }
}
