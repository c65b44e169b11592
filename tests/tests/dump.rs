//! DUMP and RESTORE: what larder dumps a real redis-server restores, and the reverse; what is no payload changes
//! nothing, however much it looks like one. `LARDER_SEED` repeats a failed case.

use larder::{Server, Value};
use larder_tests::both::Both;
use larder_tests::client::{RawClient, encode};
use larder_tests::frame::{self, Frame};
use larder_tests::payload::{SINCE_7_2, SINCE_7_4, examples, seal};
use larder_tests::random::Random;
use larder_tests::{fuzz, grammar};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const START: u64 = 1_700_000_000_000;

/// Sends the same to both.
fn run(both: &mut (RawClient, RawClient), words: &[Vec<u8>]) {
    for client in [&mut both.0, &mut both.1] {
        let reply = client.call(words);
        assert_ne!(reply[0], b'-', "{}: {}", larder_tests::client::line(words), frame::show(&reply));
    }
}

fn word(text: impl AsRef<[u8]>) -> Vec<u8> {
    text.as_ref().to_vec()
}

/// An element: an integer of any width, a text, a long text that repeats itself, or any bytes.
fn text(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => random.below(300).to_string().into_bytes(),
        1 => (random.bits() as i16).to_string().into_bytes(),
        2 => (random.bits() as i32).to_string().into_bytes(),
        3 => (random.bits() as i64).to_string().into_bytes(),
        4 => vec![b'a' + random.below(26) as u8; random.below(200)],
        5 if random.once_in(20) => vec![b'x'; random.below(40_000)],
        _ => (0..random.below(30)).map(|_| random.bits() as u8).collect(),
    }
}

/// Makes a value of each type with about so many elements, the same on both; the names of the keys.
fn fill(both: &mut (RawClient, RawClient), random: &mut Random, len: usize) -> Vec<&'static str> {
    let string = if random.once_in(8) { vec![b'y'; 100_000] } else { text(random) };
    run(both, &[word("SET"), word("string"), string]);
    let number = random.bits() as i64 >> random.below(64);
    run(both, &[word("SET"), word("number"), word(number.to_string()), word("PXAT"), word("4000000000000")]);
    for _ in 0..len {
        let float = f64::from_bits(random.bits());
        let score = match random.below(4) {
            0 if !float.is_nan() => float.to_string(),
            1 => format!("{}.5", random.below(1000)),
            2 => random.pick(&["inf", "-inf", "-0", "9007199254740993", "1e300"]).to_string(),
            _ => (random.bits() as i64 >> random.below(64)).to_string(),
        };
        let end = random.pick(&["RPUSH", "LPUSH"]);
        run(both, &[word(end), word("list"), text(random)]);
        run(both, &[word("SADD"), word("set"), text(random)]);
        run(both, &[word("SADD"), word("integers"), word((random.bits() as i16 >> random.below(16)).to_string())]);
        run(both, &[word("HSET"), word("hash"), text(random), text(random)]);
        run(both, &[word("ZADD"), word("zset"), word(score), text(random)]);
    }
    fill_stream(both, random, len);
    if len == 0 {
        return vec!["string", "number", "stream"];
    }
    vec!["string", "number", "list", "set", "integers", "hash", "zset", "stream"]
}

/// A stream with deleted entries, and groups of which consumers have not acknowledged everything.
fn fill_stream(both: &mut (RawClient, RawClient), random: &mut Random, len: usize) {
    let call = |both: &mut (RawClient, RawClient), line: String| run(both, &larder_tests::words(&line));
    call(both, "XGROUP CREATE stream g 0 MKSTREAM".into());
    call(both, "XGROUP CREATE stream unread $".into());
    for number in 1..=len {
        let id = format!("{}-{}", number / 3 + 1, number);
        let name = random.pick(&["name", "name", "other"]);
        run(both, &[word("XADD"), word("stream"), word(&id), word(name), text(random), word("more"), text(random)]);
        if random.once_in(4) {
            let consumer = random.pick(&["ada", "bo", "cy"]);
            call(both, format!("XREADGROUP GROUP g {consumer} COUNT 2 STREAMS stream >"));
        }
        if random.once_in(6) {
            call(both, format!("XDEL stream {id}"));
        }
        if random.once_in(5) {
            call(both, format!("XACK stream g {id}"));
        }
        if random.once_in(6) {
            let (at, count) = (1_600_000_000_000 + random.below(1 << 30), random.below(500));
            call(both, format!("XCLAIM stream g bo 0 {id} TIME {at} RETRYCOUNT {count} FORCE JUSTID"));
        }
    }
    call(both, "XGROUP CREATECONSUMER stream g silent".into());
    if random.once_in(2) {
        call(both, format!("XTRIM stream MAXLEN {}", len / 2));
    }
}

/// All that can be seen of a value, but for what 7.0 does not know.
fn facts(client: &mut RawClient, key: &str) -> Vec<Frame> {
    let kind = client.ask(&format!("TYPE {key}"));
    let reads: &[&str] = match kind.text.as_slice() {
        b"string" => &["GET"],
        b"list" => &["LRANGE _ 0 -1"],
        b"set" => &["SMEMBERS"],
        b"zset" => &["ZRANGE _ 0 -1 WITHSCORES"],
        b"hash" => &["HGETALL"],
        _ => &["XRANGE _ - +", "XINFO STREAM _", "XINFO STREAM _ FULL COUNT 0", "XINFO GROUPS _", "XPENDING _ g"],
    };
    let line = |read: &str| if read.contains('_') { read.replace('_', key) } else { format!("{read} {key}") };
    let mut facts: Vec<_> = reads.iter().map(|read| comparable(client.ask(&line(read)))).collect();
    match kind.text.as_slice() {
        b"set" => facts[0] = facts[0].clone().sorted(),
        b"zset" => facts[0].items.iter_mut().skip(1).step_by(2).for_each(in_shortest_form),
        b"hash" => facts[0].items = pairs_in_order(&facts[0].items),
        _ => {}
    }
    facts.push(client.ask(&format!("PEXPIRETIME {key}")));
    facts.push(client.ask(&format!("OBJECT ENCODING {key}")));
    facts
}

/// A score as Rust prints it: versions of Redis differ in that.
fn in_shortest_form(score: &mut Frame) {
    let value: f64 = String::from_utf8_lossy(&score.text).parse().unwrap();
    score.text = value.to_string().into_bytes();
}

fn pairs_in_order(items: &[Frame]) -> Vec<Frame> {
    let mut pairs: Vec<_> = items.chunks(2).collect();
    pairs.sort_by(|one, other| one[0].text.cmp(&other[0].text));
    pairs.concat()
}

/// Leaves out when a consumer was given something, for which the format of 7.0 has no place, and how much a group has
/// not read, which 7.0 reckons by other rules.
fn comparable(mut frame: Frame) -> Frame {
    while let Some(at) = frame.items.iter().position(|item| matches!(item.text.as_slice(), b"active-time" | b"lag")) {
        frame.items.drain(at..at + 2);
        frame.text = frame.items.len().to_string().into_bytes();
    }
    frame.items = frame.items.into_iter().map(comparable).collect();
    frame
}

/// Everything in a frame that has no parts, for people.
fn pieces(frame: &Frame) -> Vec<String> {
    if frame.items.is_empty() {
        vec![frame::show(&frame.bytes())]
    } else {
        frame.items.iter().flat_map(pieces).collect()
    }
}

fn dump(client: &mut RawClient, key: &str) -> Vec<u8> {
    client.ask(&format!("DUMP {key}")).text
}

/// Restores every key of `from` in `to` under another name, where it must be what it was.
fn hand_over(from: &mut RawClient, to: &mut RawClient, keys: &[&str], names: &str) {
    for key in keys {
        let (copy, payload, ttl) = (format!("{names}:{key}"), dump(from, key), from.ask(&format!("PEXPIRETIME {key}")));
        let ttl = if ttl.text == b"-1" { b"0".to_vec() } else { ttl.text };
        let call = [word("RESTORE"), word(&copy), ttl, payload.clone(), word("ABSTTL"), word("REPLACE")];
        let reply = to.call(&call);
        assert_eq!(frame::show(&reply), "+OK\\r\\n", "{copy}: {}", frame::show(&payload));
        let (mut left, mut right) = (facts(from, key), facts(to, &copy));
        let is_set = from.ask(&format!("TYPE {key}")).text == b"set";
        if is_set || from.stream().peer_addr().unwrap() != to.stream().peer_addr().unwrap() {
            // Small lists and sets are packed since 7.2 only. A packed set is written as any set, so that 7.0 reads it,
            // and is packed again if a set of integers might have so many members.
            let packed_since = [&b"listpack"[..], b"quicklist", b"hashtable"];
            let (one, other) = (left.last_mut().unwrap(), right.last_mut().unwrap());
            if packed_since.contains(&one.text.as_slice()) && packed_since.contains(&other.text.as_slice()) {
                other.text = one.text.clone();
            }
        }
        if left != right {
            let shown = |facts: &[Frame], others: &[Frame]| {
                let flat = |facts: &[Frame]| facts.iter().flat_map(pieces).collect::<Vec<_>>();
                let (facts, others) = (flat(facts), flat(others));
                let differing = facts.iter().enumerate().filter(|(place, fact)| others.get(*place) != Some(fact));
                differing.take(5).map(|(place, fact)| format!("{place}: {fact}")).collect::<Vec<_>>().join("\n    ")
            };
            panic!("{copy}\n    {}\n  was\n    {}", shown(&right, &left), shown(&left, &right));
        }
    }
}

#[test]
fn values_go_to_redis_and_back() {
    let Some(both) = Both::start() else { return };
    let mut random = Random::from_environment();
    const LIMITS: &[[&str; 6]] = &[
        ["128", "512", "512", "-2", "4096", "100"],
        ["0", "0", "0", "1", "0", "3"],
        ["4", "4", "4", "3", "200", "0"],
        ["2000", "2000", "2000", "-5", "0", "100000"],
    ];
    const OPTIONS: [&str; 6] = [
        "zset-max-listpack-entries",
        "hash-max-listpack-entries",
        "set-max-intset-entries",
        "list-max-listpack-size",
        "stream-node-max-bytes",
        "stream-node-max-entries",
    ];
    for limits in LIMITS {
        for len in [0, 1, 3, 20, 200, 700] {
            let mut clients = both.open();
            for (option, limit) in OPTIONS.iter().zip(limits) {
                run(&mut clients, &[word("CONFIG"), word("SET"), word(option), word(limit)]);
            }
            let keys = fill(&mut clients, &mut random, len);
            let (subject, peer) = (&mut clients.0, &mut clients.1);
            hand_over(subject, peer, &keys, "from-larder");
            hand_over(peer, subject, &keys, "from-redis");
            let back: Vec<String> = keys.iter().map(|key| format!("from-larder:{key}")).collect();
            hand_over(peer, subject, &back.iter().map(String::as_str).collect::<Vec<_>>(), "back");
            hand_over(subject, &mut both.subject.client(), &keys, "own");
        }
    }
}

#[test]
fn every_type_is_read_as_redis_reads_it() {
    let Some(both) = Both::start() else { return };
    let (mut subject, mut peer) = both.open();
    for value in examples() {
        let (key, kind) = (format!("type-{}", value[0]), value[0]);
        let call =
            [word("RESTORE"), word(&key), word("0"), seal(&value, if kind < 24 { 10 } else { 12 }), word("REPLACE")];
        assert_eq!(frame::show(&subject.call(&call)), "+OK\\r\\n", "{key}");
        if SINCE_7_4.contains(&kind) || SINCE_7_2.contains(&kind) {
            continue;
        }
        assert_eq!(frame::show(&peer.call(&call)), "+OK\\r\\n", "{key}");
        let (mut left, mut right) = (facts(&mut subject, &key), facts(&mut peer, &key));
        if matches!(kind, 1 | 2) {
            // Packed since 7.2.
            left.pop();
            right.pop();
        }
        assert_eq!(left, right, "{key}");
        hand_over(&mut subject, &mut peer, &[&key], "again");
    }
    assert_eq!(subject.ask("OBJECT ENCODING type-24").text, b"listpackex");
    for (key, command) in [("type-20", "SMEMBERS"), ("type-24", "HGETALL"), ("type-25", "HGETALL")] {
        assert_eq!(
            subject.ask(&format!("{command} {key}")).items.len(),
            if command == "HGETALL" { 4 } else { 3 },
            "{key}"
        );
    }
    let times = subject.ask("HPEXPIRETIME type-24 FIELDS 3 f g none");
    assert_eq!([times.item(0), times.item(1), times.item(2)], ["-1", "4000000000000", "-2"]);
}

/// An engine whose clock stands still.
fn engine(options: &[(&str, &str)]) -> Server {
    let builder = Server::builder().manual_clock(START).seed(1);
    options.iter().fold(builder, |builder, (name, value)| builder.option(name, value)).build().unwrap()
}

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Bulk(bytes) => bytes.to_vec(),
        other => panic!("{other} is no string"),
    }
}

#[test]
fn fields_keep_their_times() {
    for entries in ["512", "0"] {
        let server = engine(&[("hash-max-listpack-entries", entries)]);
        let mut client = server.connect();
        let mut run = |line: &str| client.execute(larder_tests::words(line)).to_string();
        run("HSET h a 1 b 2 c 3 d 4");
        run("HPEXPIREAT h 1700000009000 FIELDS 1 b");
        run("HPEXPIREAT h 1700000005000 FIELDS 1 d");
        let payload = bytes(server.connect().execute(["DUMP", "h"]));
        assert_eq!(payload[payload.len() - 10..][..2], [12, 0]);
        let call: [&[u8]; 4] = [b"RESTORE", b"copy", b"0", &payload];
        assert_eq!(server.connect().execute(call).to_string(), "OK");
        server.engine().validate();
        assert_eq!(run("HPEXPIRETIME copy FIELDS 4 a b c d"), run("HPEXPIRETIME h FIELDS 4 a b c d"));
        assert_eq!(run("OBJECT ENCODING copy"), run("OBJECT ENCODING h"));
        run("HPERSIST copy FIELDS 2 b d");
        let payload = bytes(server.connect().execute(["DUMP", "copy"]));
        assert_eq!(payload[payload.len() - 10..][..2], [10, 0], "without times it is what 7.0 knows");
        server.advance(Duration::from_millis(5000));
        assert_eq!((run("HLEN copy"), run("HLEN h")), ("(integer) 4".into(), "(integer) 3".into()));
    }
}

#[test]
fn what_is_restored_is_repeated_with_its_time() {
    let effects = Arc::new(Mutex::new(Vec::new()));
    let log = effects.clone();
    let record = move |group: &larder::effects::Group| {
        let words =
            |effect: &larder::effects::Effect| effect.command.as_args().iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
        log.lock().unwrap().extend(group.effects().iter().map(words));
    };
    let server = Server::builder().manual_clock(START).record(record).build().unwrap();
    let (mut client, payload) = (server.connect(), seal(&[0, 1, b'v'], 9));
    let mut check = |words: &[&str], expected: &[&[&str]]| {
        let full = |words: &[&str]| {
            words.iter().map(|word| if *word == "_" { payload.clone() } else { word.as_bytes().to_vec() }).collect()
        };
        let call: Vec<Vec<u8>> = full(words);
        assert_eq!(client.execute(call).to_string(), "OK", "{words:?}");
        let expected: Vec<Vec<Vec<u8>>> = expected.iter().map(|words| full(words)).collect();
        assert_eq!(std::mem::take(&mut *effects.lock().unwrap()), expected, "{words:?}");
    };
    check(&["RESTORE", "a", "0", "_"], &[&["RESTORE", "a", "0", "_"]]);
    check(&["RESTORE", "a", "500", "_", "REPLACE"], &[&["RESTORE", "a", "1700000000500", "_", "REPLACE", "ABSTTL"]]);
    check(
        &["RESTORE", "b", "1700000000900", "_", "ABSTTL", "FREQ", "3"],
        &[&["RESTORE", "b", "1700000000900", "_", "ABSTTL", "FREQ", "3"]],
    );
    check(&["RESTORE", "c", "1", "_", "ABSTTL"], &[]);
    check(&["RESTORE", "b", "1699999999999", "_", "ABSTTL", "REPLACE"], &[&["DEL", "b"]]);
    check(&["RESTORE", "c", "9223372036854775807", "_"], &[]);
}

#[test]
fn access_histories_are_set() {
    let server = engine(&[]);
    let (mut client, payload) = (server.connect(), seal(&[0, 1, b'v'], 9));
    let mut run = |line: &str| {
        let words = larder_tests::words(line).into_iter().map(|word| if word == b"_" { payload.clone() } else { word });
        client.execute(words).to_string()
    };
    assert_eq!(run("RESTORE idle 0 _ IDLETIME 1000"), "OK");
    assert_eq!(run("OBJECT IDLETIME idle"), "(integer) 1000");
    server.advance(Duration::from_secs(5));
    assert_eq!(run("OBJECT IDLETIME idle"), "(integer) 1005");
    assert_eq!(run("RESTORE idle 0 _ REPLACE"), "OK");
    assert_eq!(run("OBJECT IDLETIME idle"), "(integer) 0");
    run("CONFIG SET maxmemory-policy allkeys-lfu");
    assert_eq!(run("RESTORE often 0 _ FREQ 100"), "OK");
    assert_eq!(run("OBJECT FREQ often"), "(integer) 86", "the next lower of the steps");
    assert_eq!(run("RESTORE often 0 _ REPLACE FREQ 86"), "OK");
    assert_eq!(run("OBJECT FREQ often"), "(integer) 86");
    server.advance(Duration::from_secs(125));
    assert_eq!(run("OBJECT FREQ often"), "(integer) 84", "one less per minute");
    run("CONFIG SET lfu-decay-time 0");
    assert_eq!(run("OBJECT FREQ often"), "(integer) 86");
    run("CONFIG SET lfu-decay-time 1");
    assert_eq!(run("RESTORE often 0 _ REPLACE"), "OK");
    assert_eq!(run("OBJECT FREQ often"), "(integer) 5");
    // The adaptive policies keep both.
    run("CONFIG SET maxmemory-policy allkeys-adaptive");
    assert_eq!(run("RESTORE often 0 _ REPLACE FREQ 100"), "OK");
    assert_eq!(run("OBJECT FREQ often"), "(integer) 86");
    assert_eq!(run("RESTORE idle 0 _ REPLACE IDLETIME 1000"), "OK");
    assert_eq!(run("OBJECT IDLETIME idle"), "(integer) 1000");
}

#[test]
fn any_number_of_entries_is_taken_but_the_one_that_redis_refuses() {
    const TOLD: [u8; 8] = [2, 8, 0, 7, 1, 7, 2, 3];
    let stream = examples().into_iter().find(|value| value[0] == 19).unwrap();
    let end = stream.windows(TOLD.len()).position(|part| part == TOLD).unwrap() + TOLD.len();
    let numbers = [i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX - 1].map(|most| (most, "OK"));
    for (most, reply) in numbers.into_iter().chain([(u64::MAX, "(error) ERR Bad data format")]) {
        let value = [&stream[..end - 1], &[0x81], &most.to_be_bytes(), &stream[end..]].concat();
        let (server, payload) = (engine(&[]), seal(&value, 10));
        let call: [&[u8]; 4] = [b"RESTORE", b"k", b"0", &payload];
        assert_eq!(server.connect().execute(call).to_string(), reply);
        // The number may begin anew.
        (0..3).for_each(|_| drop(server.connect().execute(["XADD", "k", "*", "a", "b"])));
        server.engine().validate();
    }
}

/// Payloads of values as commands make them, and of every type.
fn seeds(random: &mut Random) -> Vec<Vec<u8>> {
    let server = engine(&[("hash-max-listpack-entries", "3"), ("zset-max-listpack-entries", "3")]);
    let mut client = server.connect();
    for _ in 0..400 {
        client.execute(grammar::timed_command(random));
    }
    client.execute(["DISCARD"]);
    client.execute(["SELECT", "0"]);
    let Value::Array(keys) = client.execute(["KEYS", "*"]) else { panic!("KEYS answers an array") };
    let mut seeds = examples();
    for key in keys {
        if let Value::Bulk(payload) = client.execute([&b"DUMP"[..], &bytes(key)]) {
            seeds.push(payload[..payload.len() - 10].to_vec());
        }
    }
    seeds
}

/// Changes bytes of a value, cuts it, or makes parts of it disagree.
fn spoil(value: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(3) {
        if value.is_empty() {
            return value.push(random.bits() as u8);
        }
        let at = random.below(value.len());
        match random.below(8) {
            0 => value[at] = random.bits() as u8,
            1 => value[at] ^= 1 << random.below(8),
            2 => value[at] = value[at].wrapping_add(1),
            3 => value[at] = *random.pick(&[0, 1, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xc0, 0xc3, 0xf0, 0xf4, 0xfe, 0xff]),
            4 => value.truncate(at),
            5 => value.insert(at, random.bits() as u8),
            6 => drop(value.remove(at)),
            _ => {
                let part = value[at..(at + 1 + random.below(16)).min(value.len())].to_vec();
                let to = random.below(value.len());
                value.splice(to..to, part);
            }
        }
    }
}

#[test]
fn nothing_hostile_is_restored() {
    fuzz::run(|random| {
        let seeds = seeds(random);
        let limits = *random.pick(&["0", "3", "512"]);
        let options = ["hash-max-listpack-entries", "zset-max-listpack-entries", "set-max-intset-entries"];
        let server = engine(&options.map(|option| (option, limits)));
        let mut client = server.connect();
        for _ in 0..300 {
            let mut value = random.pick(&seeds).clone();
            if random.once_in(30) {
                value = (0..random.below(60)).map(|_| random.bits() as u8).collect();
            } else if !random.once_in(20) {
                spoil(&mut value, random);
            }
            let payload = seal(&value, 12);
            let mut request = Vec::new();
            encode(&[&b"RESTORE"[..], b"k", b"0", &payload, b"REPLACE"], &mut request);
            let reply = client.run(&request);
            server.engine().validate();
            match reply.as_slice() {
                b"-ERR Bad data format\r\n" => continue,
                reply => assert_eq!(frame::show(reply), "+OK\\r\\n", "{}", frame::show(&payload)),
            }
            use_it(&server, random, value[0]);
        }
    });
}

/// What was restored can be read, changed and dumped again.
fn use_it(server: &Server, random: &mut Random, kind: u8) {
    const USES: &[&str] = &[
        "GET k",
        "APPEND k x",
        "LRANGE k 0 -1",
        "LINSERT k BEFORE a z",
        "LPOP k",
        "LREM k 0 a",
        "SMEMBERS k",
        "SADD k 1 x",
        "SREM k 1",
        "HGETALL k",
        "HSET k a 1",
        "HDEL k a",
        "HPEXPIRE k 5 FIELDS 1 a",
        "ZRANGE k 0 -1 WITHSCORES",
        "ZADD k 3 a",
        "ZREM k a",
        "XRANGE k - +",
        "XREVRANGE k + -",
        "XDEL k 7-1",
        "XADD k * a b",
        "XINFO STREAM k FULL",
        "XREADGROUP GROUP g ada STREAMS k >",
        "XAUTOCLAIM k g bo 0 0",
        "XTRIM k MAXLEN 1",
    ];
    let mut client = server.connect();
    let Value::Bulk(payload) = client.execute(["DUMP", "k"]) else {
        assert!(SINCE_7_4.contains(&kind), "only fields that expire may be gone");
        return;
    };
    let again: [&[u8]; 4] = [b"RESTORE", b"again", b"0", &payload];
    assert_eq!(client.execute(again).to_string(), "OK", "{}", frame::show(&payload));
    client.execute(["DEL", "again"]);
    for _ in 0..6 {
        client.execute(random.pick(USES).split(' '));
    }
    server.engine().validate();
}
