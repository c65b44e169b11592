//! CACHE: what the cache tells about itself. Redis has nothing like it. See [`insight`](crate::insight).

use std::collections::HashMap;

use larder_protocol::{Args, Reply};
use larder_storage::evict::whatif::{Answer, Curve, Estimate, SIZES};
use larder_storage::evict::{Rule, Selection};
use larder_storage::rng::Rng;
use larder_storage::word::TICKS;

use super::command::*;
use super::command_info::help;
use crate::config::{Choice, MaxmemoryPolicy};
use crate::engine::Engine;
use crate::error::{INSIGHT_IS_OFF, Outcome};
use crate::insight::prefixes::{Counts, Happening, KEPT, prefix_of};
use crate::insight::{Cause, Departure};
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
        .group(Group::Server)
        .since("7.4.1")
        .complexity("O(1)")
        .summary("Estimates the hit ratio of each eviction policy, at a quarter of the present memory to four times as much, for the reads of the last minutes.")
        .tips(TIPS),
    Command::all("CACHE|STATS", Arity::at_least(1), stats)
        .group(Group::Server)
        .since("7.4.1")
        .syntax("[prefix [prefix ...]]")
        .complexity("O(N) for N prefixes that are in use, at most some thousands")
        .summary("Tells hits, keys, bytes, evictions and expirations of the busiest prefixes of keys, or of those named.")
        .tips(TIPS),
    Command::read("CACHE|WHY", Arity::exactly(2), &[key(2, RO)], why)
        .since("7.4.1")
        .syntax("key")
        .complexity("O(1)")
        .summary("Tells whether a key is there, or else how it went: evicted, expired, deleted, flushed, or never seen as far as is known.")
        .tips(TIPS)
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
    let Answer { memory, reads, hit_ratio, part, curves } = engine.insight.answer(engine).unwrap_or_default();
    reply.map(6);
    reply.bulk(b"policy");
    reply.bulk(engine.settings().maxmemory_policy.get().name().as_bytes());
    reply.bulk(b"memory");
    reply.int(memory as i64);
    reply.bulk(b"reads");
    reply.int(reads as i64);
    reply.bulk(b"hit_ratio");
    ratio(hit_ratio, reply);
    reply.bulk(b"sampled");
    reply.double(round(part, 6));
    reply.bulk(b"policies");
    reply.map(curves.len());
    for Curve { selection, estimates } in curves {
        reply.bulk(policy(selection).name().as_bytes());
        reply.map(SIZES.len());
        for (size, estimate) in SIZES.iter().zip(estimates) {
            reply.bulk(format!("{size}x").as_bytes());
            match estimate {
                Some(Estimate { hit_ratio, error }) => {
                    reply.map(2);
                    reply.bulk(b"hit_ratio");
                    ratio(Some(hit_ratio), reply);
                    reply.bulk(b"error");
                    ratio(Some(error), reply);
                }
                None => reply.bulk(b"not enough data"),
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

/// What is there of a prefix.
#[derive(Clone, Copy, Default)]
struct Population {
    keys: u64,
    bytes: u64,
}

fn stats(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let engine = locked.engine();
    if engine.insight_is_off() {
        return Err(INSIGHT_IS_OFF);
    }
    let (counts, there) = (engine.stats().prefixes(), population(locked));
    let mut prefixes: Vec<&[u8]> = match args.from(2) {
        named if named.is_empty() => counts.keys().chain(there.keys()).map(|prefix| &**prefix).collect(),
        named => named.iter().collect(),
    };
    prefixes.sort_unstable();
    prefixes.dedup();
    let mut rows: Vec<(&[u8], Counts, Population)> = prefixes
        .into_iter()
        .map(|prefix| {
            (prefix, counts.get(prefix).copied().unwrap_or_default(), there.get(prefix).copied().unwrap_or_default())
        })
        .collect();
    let reads = |counts: &Counts| counts.of(Happening::Hit) + counts.of(Happening::Miss);
    rows.sort_by_key(|(_, counts, there)| std::cmp::Reverse((reads(counts), there.keys)));
    rows.truncate(KEPT);
    reply.map(rows.len());
    for (prefix, counts, there) in rows {
        reply.bulk(prefix);
        reply.map(7);
        let all = reads(&counts);
        reply.bulk(b"hits");
        reply.int(counts.of(Happening::Hit) as i64);
        reply.bulk(b"misses");
        reply.int(counts.of(Happening::Miss) as i64);
        reply.bulk(b"hit_ratio");
        ratio((all > 0).then(|| counts.of(Happening::Hit) as f64 / all as f64), reply);
        let facts = [
            ("keys", there.keys),
            ("bytes", there.bytes),
            ("evictions", counts.of(Happening::Eviction)),
            ("expirations", counts.of(Happening::Expiration)),
        ];
        for (name, count) in facts {
            reply.bulk(name.as_bytes());
            reply.int(count as i64);
        }
    }
    Ok(())
}

/// How many keys there are of each prefix, and their bytes, in all databases: counted where there are few, else
/// estimated from some segments of each table.
fn population(locked: &mut Locked<'_>) -> HashMap<Box<[u8]>, Population> {
    /// Keys that are looked at, about.
    const LOOKED_AT: usize = 8192;
    let engine = locked.engine();
    let separator = engine.settings().cache_prefix_separator.get();
    let keys: usize = locked.shards_ref().each_ref().map(|(_, guarded)| guarded.shard.len()).sum();
    let step = keys.div_ceil(LOOKED_AT).max(1);
    let mut rng = Rng::seeded(keys as u64);
    let mut there: HashMap<Box<[u8]>, Population> = HashMap::new();
    for (_, guarded) in locked.shards_ref().each_ref() {
        for (_, table) in guarded.shard.databases() {
            for segment in (rng.index(step)..table.segments()).step_by(step) {
                for (pos, _) in table.words(segment as u32) {
                    let prefix = prefix_of(table.entry(pos).key(), &separator);
                    if !there.contains_key(prefix) {
                        there.insert(prefix.into(), Population::default());
                    }
                    if let Some(own) = there.get_mut(prefix) {
                        own.keys += step as u64;
                        own.bytes += (table.memory_of(pos) * step) as u64;
                    }
                }
            }
        }
    }
    there
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
    let since = engine.insight.since_ms(engine).max(history.since_ms().unwrap_or_default());
    let Some(departure) = history.find(hash, db).filter(|departure| departure.at_ms >= since) else {
        tell(reply, "never seen", None, &[("history_seconds", now.saturating_sub(since) / 1000)]);
        return Ok(());
    };
    let Departure { at_ms, tick, cause, .. } = departure;
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

    fn flat(value: &Value) -> String {
        match value {
            Value::Map(pairs) => {
                let pairs: Vec<String> =
                    pairs.iter().map(|(name, value)| format!("{}={}", flat(name), flat(value))).collect();
                format!("{{{}}}", pairs.join(" "))
            }
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
        assert!(ask(&mut connection, "CACHE WHY x").starts_with("{state=never seen"));
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
            stats.contains("first={hits=0 misses=0 hit_ratio=(nil) keys=0 bytes=0 evictions=1 expirations=0}"),
            "{stats}"
        );
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
        }
        connection.execute(["SET", "plain", "v"]);
        server.advance(Duration::from_secs(1));
        let stats = ask(&mut connection, "CACHE STATS");
        assert!(stats.starts_with("{user={hits=100 misses=100 hit_ratio=0.5 keys=100 bytes="), "{stats}");
        assert!(
            stats.contains("page={hits=100 misses=0 hit_ratio=1 keys=0 bytes=0 evictions=0 expirations=100}"),
            "{stats}"
        );
        assert!(stats.contains(" ={hits=0 misses=0 hit_ratio=(nil) keys=1 bytes="), "{stats}");
        assert!(ask(&mut connection, "CACHE STATS nobody").starts_with("{nobody={hits=0"));
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
    }

    #[test]
    fn whatif_tells_where_a_loop_would_fit() {
        let server = server(&[("maxmemory", "1mb"), ("maxmemory-policy", "allkeys-lru"), ("shards", "4")]);
        let mut connection = server.connect();
        assert_eq!(ask(&mut connection, "CACHE WHATIF").matches("not enough data").count(), 0, "nobody asked yet");
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
        assert!(text.starts_with("{policy=allkeys-lru memory=1048576 reads="), "{text}");
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
        assert!(ask(&mut connection, "CACHE WHATIF").starts_with("{policy=noeviction"));
    }
}
