//! Effects repeat every change: whoever runs what an engine recorded, group by group, against an empty engine has the
//! same data. Persistence and replication hang on that.
//!
//! Random commands run on an engine with a clock that is moved by hand, with eviction in some runs; what it recorded
//! runs on another with another seed and another number of shards. Seeds are printed; `LARDER_SEED` repeats a run.

use larder::{Connection, Server, Value};
use larder_tests::client::{encode, line};
use larder_tests::random::Random;
use larder_tests::{frame, grammar};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Where clocks start, in milliseconds since 1970.
const START: u64 = 1_700_000_000_000;
const DATABASES: usize = 16;
/// Runs of the random test, and commands of each.
const CASES: usize = 400;
const COMMANDS: usize = 1500;

type Command = Vec<Vec<u8>>;

/// What took effect at once: when, and the commands with their databases.
struct Recorded {
    at_ms: u64,
    commands: Vec<(usize, Command)>,
}

/// An engine whose effects are recorded.
struct Source {
    server: Server,
    now: Arc<AtomicU64>,
    groups: Arc<Mutex<Vec<Recorded>>>,
    /// Whether what has expired is looked for, and not only met.
    sweeps: Cell<bool>,
}

impl Source {
    fn new(seed: u64, options: &[(&str, &str)]) -> Source {
        let (now, groups) = (Arc::new(AtomicU64::new(START)), Arc::new(Mutex::new(Vec::new())));
        let (clock, log) = (now.clone(), groups.clone());
        let record = move |group: &larder::effects::Group| {
            let command = |args: larder_protocol::Args<'_>| args.iter().map(<[u8]>::to_vec).collect();
            let commands =
                group.effects().iter().map(|effect| (effect.db, command(effect.command.as_args()))).collect();
            log.lock().unwrap().push(Recorded { at_ms: clock.load(Relaxed), commands });
        };
        let builder = Server::builder().manual_clock(START).seed(seed).record(record);
        let server =
            options.iter().fold(builder, |builder, (name, value)| builder.option(name, value)).build().unwrap();
        Source { server, now, groups, sweeps: Cell::new(true) }
    }

    fn advance(&self, by_ms: u64) {
        self.now.fetch_add(by_ms, Relaxed);
        self.server.advance(Duration::from_millis(by_ms));
    }

    /// Its data, and what repeats it. What has expired is removed first, so that nothing depends on the time.
    fn finish(self) -> (Data, Vec<Recorded>) {
        self.server.connect().execute(["DEBUG", "SET-ACTIVE-EXPIRE", "1"]);
        self.advance(0);
        self.server.engine().validate();
        let data = data(&self.server);
        (data, std::mem::take(&mut self.groups.lock().unwrap()))
    }
}

/// Every database's keys, each with all that can be seen of it; exact, as scores of RESP3 are.
type Data = BTreeMap<(usize, Vec<u8>), Vec<Vec<u8>>>;

fn data(server: &Server) -> Data {
    let mut connection = server.connect();
    let mut data = Data::new();
    connection.execute(["HELLO", "3"]);
    for db in 0..DATABASES {
        connection.execute(["SELECT", &db.to_string()]);
        let Value::Array(keys) = connection.execute(["KEYS", "*"]) else { panic!("KEYS answers an array") };
        assert_eq!(connection.execute(["DBSIZE"]), Value::Integer(keys.len() as i64), "DBSIZE of database {db}");
        for key in keys {
            let Value::Bulk(key) = key else { panic!("a key is a string") };
            let facts = facts(&mut connection, &key);
            data.insert((db, key), facts);
        }
    }
    data
}

fn facts(connection: &mut Connection, key: &[u8]) -> Vec<Vec<u8>> {
    let mut ask = |words: &[&[u8]]| run(connection, words);
    let kind = ask(&[b"TYPE", key]);
    let value = match kind.as_slice() {
        b"+string\r\n" => ask(&[b"GET", key]),
        b"+set\r\n" => {
            // Neither the order nor the form: SPOP of nearly all may make a set anew, which the SREM that repeats it does
            // not, in Redis too.
            let members = frame::read(&ask(&[b"SMEMBERS", key])).unwrap().unwrap().0.sorted().bytes();
            return vec![kind, ask(&[b"PEXPIRETIME", key]), members];
        }
        b"+hash\r\n" => fields(connection, key),
        b"+list\r\n" => ask(&[b"LRANGE", key, b"0", b"-1"]),
        b"+zset\r\n" => ask(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]),
        b"+stream\r\n" => {
            let whole = [ask(&[b"XRANGE", key, b"-", b"+"]), ask(&[b"XINFO", b"STREAM", key])];
            [whole.concat(), ask(&[b"XINFO", b"GROUPS", key])].concat()
        }
        other => panic!("{} is of type {}", frame::show(key), frame::show(other)),
    };
    let mut ask = |words: &[&[u8]]| run(connection, words);
    let mut encoding = ask(&[b"OBJECT", b"ENCODING", key]);
    if encoding == b"$3\r\nint\r\n" {
        // INCRBYFLOAT leaves a text; the SET that repeats it recognizes an integer, in Redis too.
        encoding = b"$6\r\nembstr\r\n".to_vec();
    }
    let expiry = ask(&[b"PEXPIRETIME", key]);
    let pending = if kind == b"+stream\r\n" { pending(connection, key) } else { Vec::new() };
    vec![kind, encoding, expiry, value, pending]
}

/// What the groups of a stream have not acknowledged, without the times: these depend on the clock.
fn pending(connection: &mut Connection, key: &[u8]) -> Vec<u8> {
    let mut facts = Vec::new();
    for group in ["g", "h", "nobody"] {
        let ask = [b"XPENDING", key, group.as_bytes(), b"-", b"+", b"1000000"];
        let Value::Array(entries) = connection.execute(ask) else { continue };
        for entry in entries {
            let Value::Array(entry) = entry else { panic!("a pending entry has parts") };
            facts.extend(format!("{group} {} {} {}; ", entry[0], entry[1], entry[3]).into_bytes());
        }
    }
    facts
}

fn run(connection: &mut Connection, words: &[&[u8]]) -> Vec<u8> {
    let mut request = Vec::new();
    encode(words, &mut request);
    connection.run(&request)
}

/// The fields of a hash, in order, with their values and expiries.
fn fields(connection: &mut Connection, key: &[u8]) -> Vec<u8> {
    let Value::Map(mut fields) = connection.execute([b"HGETALL", key]) else { panic!("HGETALL answers a map") };
    fields.sort_by_key(|(field, _)| field.to_string());
    let mut facts = Vec::new();
    for (field, value) in fields {
        let Value::Bulk(field) = field else { panic!("a field is a string") };
        let expiry = run(connection, &[b"HPEXPIRETIME", key, b"FIELDS", b"1", &field]);
        facts.extend([&field[..], b" ", value.to_string().as_bytes(), b" ", &expiry].concat());
    }
    facts
}

/// Whether the clock of the engine that repeats the changes stands at the start, as it does when a log is read
/// later (nothing expires but by the log), or follows the first engine's.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Time {
    Stands,
    Follows,
}

/// Without `sweeps`, the engine removes expired fields of hashes no sooner than it is told to, as the first one did.
fn repeat(groups: &[Recorded], random: &mut Random, time: Time, sweeps: bool) -> Data {
    let shards = random.pick(&["1", "4", "64"]);
    let builder = Server::builder().manual_clock(START).seed(random.bits()).option("shards", shards);
    let server = builder.option("enable-debug-command", "yes").build().unwrap();
    let (mut connection, mut db, mut now) = (server.connect(), 0, START);
    if !sweeps {
        connection.execute(["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    }
    for group in groups {
        if time == Time::Follows {
            server.advance(Duration::from_millis(group.at_ms - now));
            now = group.at_ms;
        }
        for (number, command) in &group.commands {
            if *number != db {
                db = *number;
                connection.execute(["SELECT", &db.to_string()]);
            }
            let reply = connection.execute(command);
            assert!(!matches!(reply, Value::Error(_)), "{} is answered {reply}", line(command));
        }
    }
    server.engine().validate();
    data(&server)
}

/// Fails with the first key that differs, and what was recorded of it.
#[track_caller]
fn same(expected: &Data, got: &Data, groups: &[Recorded], context: &str) {
    if expected == got {
        return;
    }
    let mut places = expected.keys().chain(got.keys());
    let (db, key) = places.find(|place| expected.get(place) != got.get(place)).unwrap();
    let show = |data: &Data| match data.get(&(*db, key.clone())) {
        Some(facts) => facts.iter().map(|fact| frame::show(fact)).collect::<Vec<_>>().join(" "),
        None => "absent".to_string(),
    };
    let effects =
        groups.iter().flat_map(|group| group.commands.iter().map(move |effect| (group.at_ms - START, effect)));
    let about = effects.filter(|(_, (_, command))| command.contains(key) || command[0].ends_with(b"DB"));
    let mut about: Vec<_> = about.map(|(at, (db, command))| format!("{at} ms, {db}: {}", line(command))).collect();
    let about = about.split_off(about.len().saturating_sub(15)).join("\n    ");
    let key = frame::show(key);
    panic!("{context}: key {key} of database {db}\n    was  {}\n    is   {}\n    {about}", show(expected), show(got));
}

/// How often the runs saw what they are for.
#[derive(Debug, Default)]
struct Seen {
    evicted: u64,
    expired: u64,
    grouped: usize,
    failed_transactions: usize,
}

/// Runs random commands of several clients.
fn play(source: &Source, random: &mut Random, seen: &mut Seen) {
    let mut connections: Vec<_> = (0..3).map(|_| source.server.connect()).collect();
    if random.once_in(3) {
        connections[0].execute(["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        source.sweeps.set(false);
    }
    for _ in 0..COMMANDS {
        if random.once_in(10) {
            let longest = *random.pick(&[3, 300, 3000]);
            source.advance(random.below(longest) as u64);
        }
        let connection = &mut connections[random.below(3)];
        let command = grammar::timed_command(random);
        let reply = connection.execute(&command);
        seen.failed_transactions += usize::from(command[0] == b"EXEC" && reply == Value::NullArray);
        if random.once_in(400) {
            connection.execute([*random.pick(&["FLUSHDB", "FLUSHALL"])]);
        }
    }
    let Value::Bulk(text) = connections[0].execute(["INFO", "stats"]) else {
        return;
    };
    let text = String::from_utf8(text).unwrap();
    let count = |name: &str| -> u64 {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap().trim().parse().unwrap()
    };
    seen.evicted += count("evicted_keys");
    seen.expired += count("expired_keys");
}

#[test]
fn random_changes_repeat() {
    const POLICIES: &[&str] = &[
        "noeviction",
        "allkeys-lru",
        "volatile-lru",
        "allkeys-lfu",
        "allkeys-adaptive",
        "volatile-adaptive",
        "volatile-lfu",
        "allkeys-random",
        "volatile-random",
        "volatile-ttl",
    ];
    let mut random = Random::from_environment();
    let mut seen = Seen::default();
    for case in 0..CASES {
        let shards = *random.pick(&["1", "4", "64"]);
        let mut options = vec![("shards", shards), ("enable-debug-command", "yes")];
        let limit = (20_000 + random.below(100_000)).to_string();
        if case % 2 == 0 {
            options.extend([("maxmemory", limit.as_str()), ("maxmemory-policy", *random.pick(POLICIES))]);
        }
        let source = Source::new(random.bits(), &options);
        play(&source, &mut random, &mut seen);
        let sweeps = source.sweeps.get();
        let (expected, groups) = source.finish();
        seen.grouped += groups.iter().filter(|group| group.commands.len() > 1).count();
        for time in [Time::Stands, Time::Follows] {
            let got = repeat(&groups, &mut random, time, sweeps);
            same(&expected, &got, &groups, &format!("run {case}, {options:?}, the clock {time:?}"));
        }
    }
    println!("{seen:?}");
    let Seen { evicted, expired, grouped, failed_transactions } = seen;
    assert!(evicted > 100 && expired > 100 && grouped > 100 && failed_transactions > 10, "too little was seen");
}

#[test]
fn changes_of_several_threads_are_recorded_in_their_order() {
    let mut random = Random::from_environment();
    for case in 0..6 {
        let source = Source::new(random.bits(), &[("shards", "8")]);
        let seeds: Vec<u64> = (0..4).map(|_| random.bits()).collect();
        thread::scope(|scope| {
            for seed in &seeds {
                let mut connection = source.server.connect();
                scope.spawn(move || {
                    let mut random = Random::new(*seed);
                    for _ in 0..10_000 {
                        connection.execute(grammar::timed_command(&mut random));
                    }
                });
            }
        });
        let (expected, groups) = source.finish();
        let got = repeat(&groups, &mut random, Time::Stands, true);
        same(&expected, &got, &groups, &format!("run {case}"));
    }
}
