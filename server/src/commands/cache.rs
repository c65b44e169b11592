//! CACHE: what the cache tells about itself. Redis has nothing like it. See [`insight`](crate::insight).

use larder_protocol::{Args, Reply};
use larder_storage::evict::whatif::{Answer, Curve, Estimate, NoEstimate, SIZES, State};
use larder_storage::evict::{Rule, Selection};
use larder_storage::word::TICKS;

use super::command::*;
use super::command_info::help;
use crate::config::{Choice, MaxmemoryPolicy};
use crate::engine::Engine;
use crate::error::{INSIGHT_IS_OFF, Outcome};
use crate::insight::population::{self, Population};
use crate::insight::prefixes::{Counts, Happening, KEPT, prefix_named};
use crate::insight::{Cause, Departure, UNIT_MS};
use crate::locked::Locked;
use crate::session::Session;

const TIPS: &[&str] = &["nondeterministic_output"];

pub(super) const COMMANDS: &[Command] = &[
    Command::container("CACHE")
        .group(Group::Server)
        .since("7.4.1")
        .complexity("Depends on the subcommand")
        .summary("Tells how well the cache does, and what would do better. Not in Redis."),
    Command::session("CACHE|WHATIF", Arity::exactly(1), whatif)
        .flags(LOADING | STALE | DANGEROUS)
        .group(Group::Server)
        .since("7.4.1")
        .complexity("O(1)")
        .summary("Estimates the hit ratio of each eviction policy, at a quarter of the present memory to four times as much, for the reads of the last minutes.")
        .tips(TIPS)
        .fields(&[
            ("state", "`too few keys` (fewer than 32), `too few reads yet`, `learning` while some sizes are not known, or `ready`"),
            ("policy", "the `maxmemory-policy` in use"),
            ("memory", "integer, bytes: what `1x` is, `maxmemory` or, without a limit, what is used"),
            ("reads", "integer: reads since policy and `maxmemory` are what they are; one of two and a half minutes ago counts half"),
            ("hit_ratio", "double from 0 to 1 (a string in RESP2), or null: the part of them that found its key"),
            ("sampled", "double: the part of all keys that is looked at"),
            ("sampled_time", "double: the part of the time that they are looked at"),
            ("policies", "map: for each policy a map of the sizes `0.25x`, `0.5x`, `1x`, `2x`, `4x`; of each size a map, or the string `not enough data` or `would refuse writes`"),
            ("policies.*.*.hit_ratio", "double: which part of the reads would find its key"),
            ("policies.*.*.error", "double: how far off that may be, in 19 of 20 cases; 0 where it is what the server itself had"),
            ("policies.*.*.seconds_ago", "integer, only where it is no longer known: how old the figures are"),
        ]),
    Command::session("CACHE|STATS", Arity::at_least(1), stats)
        .flags(NOSCRIPT | NO_MULTI | DANGEROUS)
        .group(Group::Server)
        .since("7.4.1")
        .syntax("[prefix [prefix ...]]")
        .complexity("O(N) for N keys, of which 8,192 are read and of 262,144 the size is looked at, at most")
        .summary("Tells hits, keys, bytes, evictions and expirations of the busiest prefixes of keys, or of those named.")
        .tips(TIPS)
        .fields(&[
            ("*", "map, one for each prefix, the most read ones first, and unless they were named 1,000 at most; of a prefix longer than 128 bytes those, by which all that begin so are counted together; one may be named with the separator after it, too"),
            ("*.hits", "integer: reads that found their key, since the server began, CONFIG RESETSTAT or `cache-insight` was switched on; EXISTS, TYPE, TTL and its like, and OBJECT use no key and do not count"),
            ("*.misses", "integer: reads that did not"),
            ("*.hit_ratio", "double from 0 to 1 (a string in RESP2), or null: hits by reads"),
            ("*.hit_ratio_error", "double or null, where reads are estimated: how far it may be off, for 19 of 20 prefixes"),
            ("*.keys", "integer: keys that are there, of all databases together"),
            ("*.bytes", "integer: what they take, as MEMORY USAGE counts it"),
            ("*.evictions", "integer: keys that went for want of memory"),
            ("*.expirations", "integer: keys whose time had come"),
            ("*.estimated", "array: the names of those of these figures that are estimates, as some keys or calls stood for others"),
        ]),
    Command::read("CACHE|WHY", Arity::exactly(2), &[key(2, RO)], why)
        .since("7.4.1")
        .syntax("key")
        .complexity("O(N) for N keys of its shard that went of late and are remembered, at most 65,536")
        .summary("Tells whether a key is there, or else how it went: evicted, expired, deleted, flushed, or not seen for as long as is remembered.")
        .tips(TIPS)
        .fields(&[
            ("state", "`resident`, `evicted`, `expired`, `deleted` (or renamed, or moved), `flushed`, or `never seen`"),
            ("policy", "of `evicted`: the `maxmemory-policy` at that time"),
            ("bytes", "integer, of `resident`: what it takes, as MEMORY USAGE counts it"),
            ("seconds_ago", "integer, of what is gone: when it went"),
            ("idle_seconds", "integer: for how long it has not been used, or had not when it went"),
            ("history_seconds", "integer, of `never seen`: as far back as is known what went; before that it may have been there"),
        ])
        .examples(&[
            ("SET a 1", "OK"),
            ("DEL a", "(integer) 1"),
            ("CACHE WHY a", "1) \"state\"\n2) \"deleted\"\n3) \"seconds_ago\"\n4) (integer) 0\n5) \"idle_seconds\"\n6) (integer) 0"),
        ]),
    Command::session("CACHE|HELP", Arity::exactly(1), help)
        .flags(LOADING | STALE)
        .group(Group::Server)
        .since("7.4.1")
        .complexity("O(1)")
        .summary("Lists the subcommands of CACHE."),
];

fn whatif(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    if engine.insight_is_off() {
        return Err(INSIGHT_IS_OFF);
    }
    let (Answer { state, memory, reads, hit_ratio, part, curves }, listened) = engine.insight.answer(engine);
    reply.map(8);
    reply.bulk(b"state");
    reply.bulk(match state {
        State::FewKeys => b"too few keys",
        State::FewReads => b"too few reads yet",
        State::Learning => b"learning",
        State::Ready => b"ready",
    });
    reply.bulk(b"policy");
    reply.bulk(engine.settings().maxmemory_policy.get().name().as_bytes());
    reply.bulk(b"memory");
    reply.int(i64::try_from(memory).unwrap_or(i64::MAX));
    reply.bulk(b"reads");
    reply.int(reads as i64);
    reply.bulk(b"hit_ratio");
    ratio(hit_ratio, reply);
    reply.bulk(b"sampled");
    reply.double(round(part, 6));
    reply.bulk(b"sampled_time");
    reply.double(round(listened, 4));
    reply.bulk(b"policies");
    reply.map(curves.len());
    for Curve { selection, estimates } in curves {
        reply.bulk(policy(selection).name().as_bytes());
        reply.map(SIZES.len());
        for (size, estimate) in SIZES.iter().zip(estimates) {
            reply.bulk(format!("{size}x").as_bytes());
            match estimate {
                Ok(Estimate { hit_ratio, error, at_ms, .. }) => {
                    reply.map(2 + usize::from(at_ms.is_some()));
                    reply.bulk(b"hit_ratio");
                    ratio(Some(hit_ratio), reply);
                    reply.bulk(b"error");
                    ratio(Some(error), reply);
                    if let Some(at_ms) = at_ms {
                        reply.bulk(b"seconds_ago");
                        reply.int((engine.clock().now_ms().saturating_sub(at_ms) / 1000) as i64);
                    }
                }
                Err(NoEstimate::FewData) => reply.bulk(b"not enough data"),
                Err(NoEstimate::Refuses) => reply.bulk(b"would refuse writes"),
            }
        }
    }
    Ok(())
}

/// The name of a policy.
fn policy(selection: Selection) -> MaxmemoryPolicy {
    match (selection.rule, selection.volatile) {
        (Rule::Lru, false) => MaxmemoryPolicy::AllkeysLru,
        (Rule::Lru, true) => MaxmemoryPolicy::VolatileLru,
        (Rule::Lfu, false) => MaxmemoryPolicy::AllkeysLfu,
        (Rule::Lfu, true) => MaxmemoryPolicy::VolatileLfu,
        (Rule::Adaptive, false) => MaxmemoryPolicy::AllkeysAdaptive,
        (Rule::Adaptive, true) => MaxmemoryPolicy::VolatileAdaptive,
        (Rule::Random, false) => MaxmemoryPolicy::AllkeysRandom,
        (Rule::Random, true) => MaxmemoryPolicy::VolatileRandom,
        (Rule::Ttl, _) => MaxmemoryPolicy::VolatileTtl,
    }
}

/// A ratio with four decimals, or nothing.
fn ratio(ratio: Option<f64>, reply: &mut Reply) {
    match ratio {
        Some(ratio) => reply.double(round(ratio, 4)),
        None => reply.null(),
    }
}

fn round(number: f64, decimals: i32) -> f64 {
    let unit = 10f64.powi(decimals);
    (number * unit).round() / unit
}

fn stats(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if engine.insight_is_off() {
        return Err(INSIGHT_IS_OFF);
    }
    let (counts, there) = (engine.stats().prefixes(), population::count(engine));
    let (reads_are_exact, removals_are_exact) = engine.stats().prefixes_are_exact();
    let (named, separator) = (args.from(2), engine.settings().cache_prefix_separator.get());
    let most = if named.is_empty() { KEPT } else { usize::MAX };
    let mut prefixes: Vec<&[u8]> = match named {
        named if named.is_empty() => counts.keys().chain(there.by_prefix.keys()).map(|prefix| &**prefix).collect(),
        named => named.iter().map(|name| prefix_named(name, &separator)).collect(),
    };
    prefixes.sort_unstable();
    prefixes.dedup();
    let mut rows: Vec<(&[u8], Counts, Population)> = prefixes
        .into_iter()
        .map(|prefix| {
            let population = there.by_prefix.get(prefix).copied().unwrap_or_default();
            (prefix, counts.get(prefix).copied().unwrap_or_default(), population)
        })
        .collect();
    let reads = |counts: &Counts| counts.of(Happening::Hit) + counts.of(Happening::Miss);
    rows.sort_by_key(|(_, counts, there)| std::cmp::Reverse((reads(counts), there.keys)));
    rows.truncate(most);
    reply.map(rows.len());
    for (prefix, counts, population) in rows {
        let (hits, all) = (counts.of(Happening::Hit), reads(&counts));
        let (evictions, expirations) = (counts.of(Happening::Eviction), counts.of(Happening::Expiration));
        let is_partial = counts.is_partial();
        let figures = [
            ("hits", hits, !reads_are_exact || is_partial),
            ("misses", counts.of(Happening::Miss), !reads_are_exact || is_partial),
            ("keys", population.keys, there.is_estimate),
            ("bytes", population.bytes, there.is_estimate),
            ("evictions", evictions, !removals_are_exact || is_partial),
            ("expirations", expirations, !removals_are_exact || is_partial),
        ];
        reply.bulk(prefix);
        reply.map(figures.len() + 2 + usize::from(!reads_are_exact));
        for (name, count, _) in figures {
            reply.bulk(name.as_bytes());
            reply.int(count as i64);
            if name == "misses" {
                reply.bulk(b"hit_ratio");
                ratio((all > 0).then(|| hits as f64 / all as f64), reply);
                if !reads_are_exact {
                    reply.bulk(b"hit_ratio_error");
                    ratio((all > 0).then(|| counts.error_of_ratio()), reply);
                }
            }
        }
        let estimated: Vec<&str> = figures.iter().filter(|(_, _, is)| *is).map(|(name, ..)| *name).collect();
        reply.bulk(b"estimated");
        reply.array(estimated.len());
        estimated.iter().for_each(|name| reply.bulk(name.as_bytes()));
    }
    Ok(())
}

fn why(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (engine, key, now) = (locked.engine(), args.at(2), locked.now);
    if engine.insight_is_off() {
        return Err(INSIGHT_IS_OFF);
    }
    if let Some((table, pos)) = locked.place(key) {
        let age = table.word(pos).age(engine.keyspace().tick());
        let facts = [("bytes", table.memory_of(pos) as u64), ("idle_seconds", engine.idle_seconds(age))];
        tell(reply, "resident", None, &facts);
        return Ok(());
    }
    let (hash, db) = (locked.hash(key), locked.db);
    let history = &locked.shards().of(hash).extra.history;
    let began = engine.insight.since_ms(engine);
    let since = began.max(history.since_ms(db));
    // What happened in the moment in which it was switched on counts.
    let Some(departure) = history.find(hash, db, now).filter(|departure| departure.at_ms + UNIT_MS > began) else {
        tell(reply, "never seen", None, &[("history_seconds", now.saturating_sub(since) / 1000)]);
        return Ok(());
    };
    let Departure { at_ms, tick, cause } = departure;
    let ago = now.saturating_sub(at_ms) / 1000;
    // The age of the last access now, less what has passed since.
    let idle = engine.idle_seconds(engine.keyspace().tick().wrapping_sub(tick) % TICKS).saturating_sub(ago);
    let (state, by) = match cause {
        Cause::Evicted(policy) => ("evicted", Some(policy)),
        Cause::Expired => ("expired", None),
        Cause::Deleted => ("deleted", None),
        Cause::Flushed => ("flushed", None),
    };
    tell(reply, state, by, &[("seconds_ago", ago), ("idle_seconds", idle)]);
    Ok(())
}

/// Answers a state, by which policy it is so, and figures.
fn tell(reply: &mut Reply, state: &str, policy: Option<MaxmemoryPolicy>, figures: &[(&str, u64)]) {
    reply.map(1 + usize::from(policy.is_some()) + figures.len());
    reply.bulk(b"state");
    reply.bulk(state.as_bytes());
    if let Some(policy) = policy {
        reply.bulk(b"policy");
        reply.bulk(policy.name().as_bytes());
    }
    for (name, figure) in figures {
        reply.bulk(name.as_bytes());
        reply.int(*figure as i64);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Connection, Server, Value};

    fn server(options: &[(&str, &str)]) -> Server {
        let builder = options.iter().fold(Server::builder().seed(1), |it, (name, value)| it.option(name, value));
        builder.manual_clock(1_700_000_000_000).build().unwrap()
    }

    /// The answer in RESP3, in one line.
    fn ask(connection: &mut Connection, line: &str) -> String {
        connection.execute(["HELLO", "3"]);
        let value = connection.execute(line.split(' '));
        flat(&value)
    }

    /// The same where RESP3 was asked for before.
    fn ask_error(connection: &mut Connection, line: &str) -> String {
        flat(&connection.execute(line.split(' ')))
    }

    fn flat(value: &Value) -> String {
        match value {
            Value::Map(pairs) => {
                let pairs: Vec<String> =
                    pairs.iter().map(|(name, value)| format!("{}={}", flat(name), flat(value))).collect();
                format!("{{{}}}", pairs.join(" "))
            }
            Value::Array(values) => format!("[{}]", values.iter().map(flat).collect::<Vec<_>>().join(" ")),
            Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Double(number) => number.to_string(),
            other => other.to_string(),
        }
    }

    #[test]
    fn why_tells_how_a_key_went() {
        let server = server(&[]);
        let mut connection = server.connect();
        assert_eq!(ask(&mut connection, "CACHE WHY a"), "{state=never seen history_seconds=0}");
        for line in ["SET a 1", "SET b 1 PX 1500", "SET c 1", "SET d 1", "RPUSH e 1"] {
            connection.execute(line.split(' '));
        }
        let resident = ask(&mut connection, "CACHE WHY a");
        assert!(resident.starts_with("{state=resident bytes=") && resident.ends_with(" idle_seconds=0}"), "{resident}");
        server.advance(Duration::from_secs(10));
        for line in ["DEL a", "RENAME c f", "LPOP e"] {
            connection.execute(line.split(' '));
        }
        server.advance(Duration::from_secs(5));
        assert_eq!(ask(&mut connection, "CACHE WHY a"), "{state=deleted seconds_ago=5 idle_seconds=10}");
        assert_eq!(ask(&mut connection, "CACHE WHY b"), "{state=expired seconds_ago=5 idle_seconds=10}");
        assert!(ask(&mut connection, "CACHE WHY c").starts_with("{state=deleted"));
        assert!(ask(&mut connection, "CACHE WHY e").starts_with("{state=deleted"));
        assert_eq!(ask(&mut connection, "CACHE WHY x"), "{state=never seen history_seconds=15}");
        connection.execute(["SET", "a", "2"]);
        connection.execute(["FLUSHALL"]);
        assert!(ask(&mut connection, "CACHE WHY a").starts_with("{state=flushed seconds_ago=0"));
        assert!(ask(&mut connection, "CACHE WHY d").starts_with("{state=flushed"));
        assert_eq!(
            ask(&mut connection, "CACHE WHY x"),
            "{state=never seen history_seconds=15}",
            "all that was flushed is known"
        );
        connection.execute(["SELECT", "1"]);
        assert!(
            ask(&mut connection, "CACHE WHY a").starts_with("{state=never seen"),
            "another database has other keys"
        );
    }

    #[test]
    fn a_flush_of_many_keys_is_remembered_as_far_as_there_is_room() {
        let server = server(&[("shards", "1")]);
        let mut connection = server.connect();
        for number in 0..5000 {
            connection.execute(["SET", &format!("key:{number}"), "v"]);
        }
        connection.execute(["FLUSHDB"]);
        server.advance(Duration::from_secs(1));
        let flushed =
            (0..5000).filter(|number| ask(&mut connection, &format!("CACHE WHY key:{number}")).contains("flushed"));
        assert_eq!(flushed.count(), 5000);
        server.engine().validate();
    }

    #[test]
    fn a_history_does_not_reach_beyond_a_flush_of_which_not_all_is_known() {
        let server = server(&[("shards", "1")]);
        let mut connection = server.connect();
        let keys = 70_000;
        for from in (0..keys).step_by(1000) {
            let names: Vec<String> = (from..from + 1000).map(|number| format!("key:{number}")).collect();
            connection.execute(["MSET"].into_iter().chain(names.iter().flat_map(|name| [name.as_str(), "v"])));
        }
        connection.execute(["DEL", "key:1"]);
        server.advance(Duration::from_secs(134));
        connection.execute(["SET", "key:1", "v"]);
        let mut other = server.connect();
        other.execute(["SELECT", "1"]);
        other.execute(["SET", "few", "v"]);
        other.execute(["FLUSHDB"]);
        connection.execute(["FLUSHDB"]);
        let whys = |connection: &mut Connection| -> Vec<String> {
            let all = (0..keys)
                .step_by(20)
                .map(|number| flat(&connection.execute(["CACHE", "WHY", &format!("key:{number}")])));
            all.filter(|why| !why.starts_with("{state=flushed")).collect()
        };
        let why = connection.execute(["CACHE", "WHY", "key:1"]);
        assert!(matches!(&why, Value::Array(why) if flat(&why[1]) != "deleted"), "that was before");
        let first = ask(&mut connection, "CACHE WHY nobody");
        assert_eq!(first, "{state=never seen history_seconds=0}");
        assert_eq!(ask(&mut other, "CACHE WHY nobody"), "{state=never seen history_seconds=134}");
        assert!(whys(&mut connection).iter().all(|why| *why == first));
        server.advance(Duration::from_secs(1));
        let unknown = whys(&mut connection);
        assert!((100..500).contains(&unknown.len()), "there was no room for 4,464 of 70,000: {}", unknown.len());
        assert!(unknown.iter().all(|why| why == "{state=never seen history_seconds=1}"));
    }

    #[test]
    fn an_eviction_is_told_with_its_policy_and_age() {
        let server = server(&[("maxmemory", "1mb"), ("maxmemory-policy", "allkeys-lru")]);
        let mut connection = server.connect();
        connection.execute(["SET", "first:1", "v"]);
        server.advance(Duration::from_secs(100));
        let mut number = 0;
        while server.engine().stats().totals().evicted < 200 {
            connection.execute(["SET", &format!("key:{number}"), &"v".repeat(500)]);
            number += 1;
        }
        server.advance(Duration::from_secs(7));
        assert_eq!(
            ask(&mut connection, "CACHE WHY first:1"),
            "{state=evicted policy=allkeys-lru seconds_ago=7 idle_seconds=100}"
        );
        let stats = ask(&mut connection, "CACHE STATS key first");
        let evicted = server.engine().stats().totals().evicted;
        assert!(stats.contains(&format!("evictions={} ", evicted - 1)), "{stats} of {evicted}");
        assert!(
            stats.contains(
                "first={hits=0 misses=0 hit_ratio=(nil) keys=0 bytes=0 evictions=1 expirations=0 estimated=[]}"
            ),
            "{stats}"
        );
    }

    #[test]
    fn a_hash_whose_fields_expired_has_expired() {
        let server = server(&[]);
        let mut connection = server.connect();
        for key in ["a", "b"] {
            connection.execute(["HSET", key, "f", "1"]);
            connection.execute(["HPEXPIRE", key, "100", "FIELDS", "1", "f"]);
        }
        connection.execute(["HSET", "c", "f", "1"]);
        connection.execute(["HDEL", "c", "f"]);
        server.engine().clock().advance(Duration::from_secs(1));
        // One is met by a command, the other by the sweep.
        connection.execute(["HGET", "a", "f"]);
        server.advance(Duration::from_secs(1));
        for (key, state) in [("a", "expired"), ("b", "expired"), ("c", "deleted")] {
            let why = ask(&mut connection, &format!("CACHE WHY {key}"));
            assert!(why.starts_with(&format!("{{state={state} ")), "{key}: {why}");
        }
    }

    #[test]
    fn swapped_databases_swap_what_became_of_their_keys() {
        let server = server(&[]);
        let mut connection = server.connect();
        for line in ["SET a 1", "DEL a", "SET b 1", "FLUSHDB", "SWAPDB 0 1"] {
            connection.execute(line.split(' '));
        }
        assert!(ask(&mut connection, "CACHE WHY a").starts_with("{state=never seen"));
        connection.execute(["SELECT", "1"]);
        assert!(ask(&mut connection, "CACHE WHY a").starts_with("{state=deleted"));
        assert!(ask(&mut connection, "CACHE WHY b").starts_with("{state=flushed"));
    }

    #[test]
    fn estimates_are_named() {
        let server = server(&[]);
        let mut connection = server.connect();
        for number in 0..20_000 {
            connection.execute(["SET", &format!("user:{number}"), "v"]);
        }
        assert!(ask(&mut connection, "CACHE STATS user").ends_with("estimated=[keys bytes]}}"));
        for _ in 0..5000 {
            connection.execute(["GET", "user:1"]);
        }
        assert!(ask(&mut connection, "CACHE STATS user").ends_with("estimated=[hits misses keys bytes]}}"));
        connection.execute(["CONFIG", "RESETSTAT"]);
        connection.execute(["FLUSHALL"]);
        let after = ask(&mut connection, "CACHE STATS user");
        assert!(after.ends_with("keys=0 bytes=0 evictions=0 expirations=0 estimated=[]}}"), "{after}");
        connection.execute(["MULTI"]);
        let refused = ask_error(&mut connection, "CACHE STATS");
        assert_eq!(refused, "(error) ERR Command not allowed inside a transaction");
    }

    #[test]
    fn stats_are_told_by_prefix() {
        let server = server(&[]);
        let mut connection = server.connect();
        for number in 0..100 {
            connection.execute(["SET", &format!("user:{number}:name"), "v"]);
            connection.execute(["SET", &format!("page:{number}"), "v", "PX", "100"]);
            connection.execute(["GET", &format!("user:{}", number)]);
            connection.execute(["GET", &format!("user:{}:name", number)]);
            connection.execute(["GET", "page:0"]);
            // What looks at a key without using it is no read.
            for look in ["EXISTS", "TYPE", "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"] {
                connection.execute([look, "page:0"]);
            }
            connection.execute(["OBJECT", "ENCODING", "none:0"]);
        }
        let info = flat(&connection.execute(["INFO", "stats"]));
        assert!(info.contains("keyspace_hits:800\r\nkeyspace_misses:200\r\n"), "INFO counts looks, too: {info}");
        connection.execute(["SET", "plain", "v"]);
        server.advance(Duration::from_secs(1));
        let stats = ask(&mut connection, "CACHE STATS");
        assert!(stats.starts_with("{user={hits=100 misses=100 hit_ratio=0.5 keys=100 bytes="), "{stats}");
        assert!(
            stats.contains(
                "page={hits=100 misses=0 hit_ratio=1 keys=0 bytes=0 evictions=0 expirations=100 estimated=[]}"
            ),
            "{stats}"
        );
        assert!(stats.contains(" ={hits=0 misses=0 hit_ratio=(nil) keys=1 bytes="), "{stats}");
        assert!(ask(&mut connection, "CACHE STATS nobody").starts_with("{nobody={hits=0"));
        let user = ask(&mut connection, "CACHE STATS user");
        assert!(
            ["user:", "user:7", "user user:"]
                .iter()
                .all(|it| ask(&mut connection, &format!("CACHE STATS {it}")) == user)
        );
        let long = "l".repeat(200);
        connection.execute(["SET", &format!("{long}:1"), "v"]);
        let stats = ask(&mut connection, &format!("CACHE STATS {long}"));
        assert!(stats.starts_with(&format!("{{{}={{", &long[..128])) && stats.contains("keys=1 "), "{stats}");
        connection.execute(["CONFIG", "SET", "cache-prefix-separator", "r:"]);
        assert!(ask(&mut connection, "CACHE STATS use").contains("keys=100 "));
        connection.execute(["CONFIG", "RESETSTAT"]);
        assert!(ask(&mut connection, "CACHE STATS page").starts_with("{page={hits=0 misses=0"));
    }

    #[test]
    fn at_most_a_thousand_prefixes_are_told_the_busiest_first() {
        let server = server(&[]);
        let mut connection = server.connect();
        for number in 0..1500 {
            connection.execute(["SET", &format!("p{number}:x"), "v"]);
        }
        for _ in 0..3 {
            connection.execute(["GET", "p1499:x"]);
        }
        let Value::Map(pairs) = ({
            connection.execute(["HELLO", "3"]);
            connection.execute(["CACHE", "STATS"])
        }) else {
            panic!("a map")
        };
        assert_eq!(pairs.len(), 1000);
        assert_eq!(flat(&pairs[0].0), "p1499");
        let named: Vec<String> = (0..1500).map(|number| format!("p{number}")).collect();
        let asked = [vec!["CACHE".to_owned(), "STATS".to_owned()], named].concat();
        assert!(matches!(connection.execute(asked), Value::Map(pairs) if pairs.len() == 1500), "all that are named");
    }

    #[test]
    fn whatif_tells_where_a_loop_would_fit() {
        let server = server(&[("maxmemory", "1mb"), ("maxmemory-policy", "allkeys-lru"), ("shards", "4")]);
        let mut connection = server.connect();
        assert_eq!(ask(&mut connection, "CACHE WHATIF").matches("not enough data").count(), 20, "nothing was read yet");
        let keys = 10_000;
        for request in 0..20 * keys {
            let key = format!("key:{}", request % keys);
            if connection.execute(["GET", &key]) == Value::Null {
                connection.execute(["SET", &key, &"v".repeat(100)]);
            }
            if request % 2000 == 0 {
                server.advance(Duration::from_secs(1));
            }
        }
        connection.execute(["HELLO", "3"]);
        let answer = connection.execute(["CACHE", "WHATIF"]);
        let text = flat(&answer);
        assert!(text.starts_with("{state=ready policy=allkeys-lru memory=1048576 reads="), "{text}");
        let at = |policy: &str, size: &str| -> f64 {
            let curve = text.split_once(&format!("{policy}={{")).unwrap().1;
            let point = curve.split_once(&format!("{size}={{hit_ratio=")).unwrap().1;
            point.split(' ').next().unwrap().parse().unwrap()
        };
        // 10,000 keys take about 1.6 megabytes.
        assert!(at("allkeys-lru", "1x") < 0.05, "{text}");
        assert!(at("allkeys-lru", "2x") > 0.9, "{text}");
        assert!(at("allkeys-random", "1x") > 0.3, "{text}");
        assert!(at("allkeys-adaptive", "1x") > 0.2, "{text}");
        server.engine().validate();
    }

    #[test]
    fn whatif_of_a_server_that_refuses_writes_tells_its_own_ratio_only() {
        let server = server(&[("maxmemory", "1mb"), ("maxmemory-policy", "volatile-lru"), ("shards", "4")]);
        let mut connection = server.connect();
        let (mut rng, mut reads, mut hits) = (larder_storage::rng::Rng::seeded(1), 0, 0);
        for request in 0..60_000 {
            let key = format!("key:{}", rng.below(10_000).min(rng.below(10_000)));
            if request == 20_000 {
                // It is filled by now, and the reads that filled it do not count.
                (reads, hits) = (0, 0);
            }
            (reads, hits) = (reads + 1, hits + 1);
            if connection.execute(["GET", &key]) == Value::Null {
                hits -= 1;
                connection.execute(["SET", &key, &"v".repeat(100)]);
            }
            if request % 500 == 0 {
                server.advance(Duration::from_millis(100));
            }
        }
        connection.execute(["HELLO", "3"]);
        let text = flat(&connection.execute(["CACHE", "WHATIF"]));
        let (others, own) = text.split_once("volatile-lru={").unwrap();
        assert_eq!(others.matches("x=not enough data").count(), 20, "{text}");
        assert!(own.starts_with("0.25x=not enough data 0.5x=not enough data 1x={hit_ratio="), "{text}");
        assert!(own.ends_with("error=0} 2x=not enough data 4x=not enough data}}}"), "{text}");
        let ratio: f64 = own.split("1x={hit_ratio=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!((ratio - f64::from(hits) / f64::from(reads)).abs() < 0.03, "{hits} of {reads}: {text}");
    }

    #[test]
    fn it_can_be_off() {
        let server = server(&[("cache-insight", "no")]);
        let mut connection = server.connect();
        for line in ["CACHE WHATIF", "CACHE STATS", "CACHE WHY a"] {
            assert_eq!(ask(&mut connection, line), "(error) ERR cache-insight is off");
        }
        connection.execute(["SET", "a", "1"]);
        connection.execute(["DEL", "a"]);
        server.advance(Duration::from_secs(3));
        connection.execute(["CONFIG", "SET", "cache-insight", "yes"]);
        server.advance(Duration::from_secs(2));
        assert_eq!(ask(&mut connection, "CACHE WHY a"), "{state=never seen history_seconds=2}");
        connection.execute(["SET", "a", "1"]);
        connection.execute(["DEL", "a"]);
        assert!(ask(&mut connection, "CACHE WHY a").starts_with("{state=deleted"));
        assert!(ask(&mut connection, "CACHE WHATIF").starts_with("{state=too few keys policy=noeviction"));
        // However soon it is on again, nothing is left of what was before.
        connection.execute(["GET", "a"]);
        connection.execute(["SET", "b:1", "1"]);
        connection.execute(["GET", "b:1"]);
        assert!(ask(&mut connection, "CACHE STATS b").contains("hits=1"));
        for (name, value) in [("cache-insight", "no"), ("cache-insight", "yes"), ("maxmemory", "123mb")] {
            connection.execute(["CONFIG", "SET", name, value]);
        }
        let answer = ask(&mut connection, "CACHE WHATIF");
        assert!(answer.contains("policy=noeviction memory=128974848 reads=0 hit_ratio=(nil)"), "{answer}");
        assert!(ask(&mut connection, "CACHE STATS b").contains("hits=0 misses=0 hit_ratio=(nil) keys=1"));
        connection.execute(["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
        let answer = ask(&mut connection, "CACHE WHATIF");
        assert!(answer.contains("volatile-ttl={"), "{answer}");
    }
}
