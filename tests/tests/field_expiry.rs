//! Fields of hashes that expire, on an engine whose clock is moved by hand: Debian's redis-server knows them not yet,
//! so what is right is said here. The answers are those of Redis 7.4.1.

use larder::{Connection, Server, Value};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const START: u64 = 1_700_000_000_000;

/// An engine, the effects that it records, and a client.
struct Bench {
    server: Server,
    effects: Arc<Mutex<Vec<String>>>,
    client: Connection,
}

impl Bench {
    fn new(options: &[(&str, &str)]) -> Bench {
        let effects = Arc::new(Mutex::new(Vec::new()));
        let log = effects.clone();
        let record = move |group: &larder::effects::Group| {
            let words = |effect: &larder::effects::Effect| {
                let words = effect.command.as_args();
                words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ")
            };
            log.lock().unwrap().extend(group.effects().iter().map(words));
        };
        let builder =
            Server::builder().manual_clock(START).seed(1).option("enable-debug-command", "yes").record(record);
        let builder = options.iter().fold(builder, |builder, (name, value)| builder.option(name, value));
        let server = builder.build().unwrap();
        let client = server.connect();
        Bench { server, effects, client }
    }

    /// One for each form of a hash.
    fn both_forms() -> [Bench; 2] {
        ["512", "0"].map(|entries| Bench::new(&[("hash-max-listpack-entries", entries)]))
    }

    #[track_caller]
    fn check(&mut self, line: &str, expected: &str) {
        assert_eq!(flat(&self.client.execute(line.split(' '))), expected, "{line}");
    }

    fn run(&mut self, line: &str) {
        drop(self.client.execute(line.split(' ')));
    }

    fn advance(&mut self, ms: u64) {
        self.server.advance(Duration::from_millis(ms));
        self.server.engine().validate();
    }

    fn sweep(&mut self, active: bool) {
        self.run(if active { "DEBUG SET-ACTIVE-EXPIRE 1" } else { "DEBUG SET-ACTIVE-EXPIRE 0" });
    }

    fn effects(&self) -> Vec<String> {
        std::mem::take(&mut self.effects.lock().unwrap())
    }

    /// A line of INFO.
    fn fact(&mut self, name: &str) -> String {
        let Value::Bulk(text) = self.client.execute(["INFO", "everything"]) else { panic!() };
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.to_owned()).unwrap_or_default()
    }
}

/// A reply in one line: elements apart by blanks, nothing as a dash.
fn flat(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(flat).collect::<Vec<_>>().join(" "),
        Value::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Null | Value::NullArray => "-".to_owned(),
        other => other.to_string(),
    }
}

#[test]
fn expiries_are_set_under_conditions() {
    for mut bench in Bench::both_forms() {
        bench.run("HSET h a 1 b 2 c 3");
        bench.check("HPEXPIRE h 1000 NX FIELDS 1 a", "1");
        bench.check("HPEXPIRE h 1000 NX FIELDS 2 a b", "0 1");
        bench.check("HPEXPIRE h 2000 XX FIELDS 2 a c", "1 0");
        bench.check("HPEXPIRE h 1500 GT FIELDS 3 a b c", "0 1 0");
        bench.check("HPEXPIRE h 1800 LT FIELDS 4 a b c none", "1 0 1 -2");
        bench.check("HPTTL h FIELDS 4 a b c none", "1800 1500 1800 -2");
        bench.check("HTTL h FIELDS 3 a b c", "2 2 2");
        bench.check("HPEXPIRETIME h FIELDS 2 a b", "1700000001800 1700000001500");
        bench.check("HEXPIRETIME h FIELDS 2 a b", "1700000002 1700000002");
        bench.check("HEXPIRE h 7 FIELDS 1 a", "1");
        bench.check("HEXPIREAT h 1700000009 FIELDS 1 b", "1");
        bench.check("HPEXPIREAT h 1700000010001 FIELDS 1 c", "1");
        bench.check("HPTTL h FIELDS 3 a b c", "7000 9000 10001");
        bench.check("HPERSIST h FIELDS 3 b none b", "1 -2 -1");
        bench.check("HTTL h FIELDS 3 a b c", "7 -1 11");
        bench.check("HPEXPIRE none 5 FIELDS 2 a b", "-2 -2");
        bench.check("HPERSIST none FIELDS 1 a", "-2");
        bench.check("HTTL none FIELDS 1 a", "-2");
    }
}

#[test]
fn a_time_that_has_come_deletes_at_once() {
    for mut bench in Bench::both_forms() {
        bench.run("HSET h a 1 b 2 c 3 d 4");
        bench.run("HEXPIRE h 1000 FIELDS 1 d");
        bench.effects();
        bench.check("HPEXPIREAT h 1699999999999 NX FIELDS 4 a b none d", "2 2 -2 0");
        bench.check("HPEXPIRE h 0 FIELDS 1 c", "2");
        bench.check("HEXPIREAT h 0 FIELDS 1 d", "2");
        bench.check("EXISTS h", "0");
        assert_eq!(bench.effects(), ["HDEL h a b", "HDEL h c", "HDEL h d"]);
        assert_eq!(bench.fact("expired_subkeys"), "4");
    }
}

#[test]
fn what_is_wrong_is_told_in_order() {
    let mut bench = Bench::new(&[]);
    bench.run("HSET h a 1");
    bench.run("SET s v");
    for (line, error) in [
        ("HEXPIRE s x FIELDS 0 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HEXPIRE h x FIELDS 0 a", "ERR value is not an integer or out of range"),
        ("HEXPIRE h -1 FIELDS 0 a", "ERR invalid expire time, must be >= 0"),
        ("HEXPIRE h 70368744178 FIELDS 0 a", "ERR invalid expire time in 'hexpire' command"),
        ("HPEXPIRE h 70368744177664 FIELDS 0 a", "ERR invalid expire time in 'hpexpire' command"),
        ("HEXPIREAT h 9223372036854775807 FIELDS 0 a", "ERR invalid expire time in 'hexpireat' command"),
        ("HPEXPIREAT h 70368744177664 FIELDS 0 a", "ERR invalid expire time in 'hpexpireat' command"),
        ("HEXPIRE h 1 1 a b", "ERR Mandatory argument FIELDS is missing or not at the right position"),
        ("HEXPIRE h 1 NX GT FIELDS 1 a", "ERR Mandatory argument FIELDS is missing or not at the right position"),
        ("HEXPIRE h 1 FIELDS 0 a", "ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE h 1 FIELDS x a", "ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE h 1 FIELDS 2 a", "ERR The `numfields` parameter must match the number of arguments"),
        ("HEXPIRE h 1 FIELDS 1 a b", "ERR The `numfields` parameter must match the number of arguments"),
        ("HEXPIRE none 1 NX FIELDS 1", "ERR The `numfields` parameter must match the number of arguments"),
        ("HEXPIRE h 1 FIELDS 1", "ERR wrong number of arguments for 'hexpire' command"),
        ("HTTL s FIELDS 0 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HTTL h 1 a b", "ERR Mandatory argument FIELDS is missing or not at the right position"),
        ("HPERSIST h FIELDS 0 a", "ERR Number of fields must be a positive integer"),
        ("HPTTL none FIELDS 3 a", "ERR The `numfields` parameter must match the number of arguments"),
        ("HPERSIST h FIELDS 1", "ERR wrong number of arguments for 'hpersist' command"),
    ] {
        bench.check(line, &format!("(error) {error}"));
    }
    bench.check("HPEXPIREAT h 70368744177663 FIELDS 1 a", "1");
}

#[test]
fn a_field_is_removed_by_the_command_that_asks_for_it() {
    for mut bench in Bench::both_forms() {
        bench.sweep(false);
        bench.run("HSET h a 1 b 2 c 3 d 4 e 5 f 6");
        bench.run("HPEXPIRE h 10 FIELDS 6 a b c d e f");
        bench.advance(9);
        bench.check("HMGET h a f", "1 6");
        bench.advance(1);
        bench.effects();
        bench.check("EXISTS h", "1");
        bench.check("HLEN h", "6");
        bench.check("HGET h a", "-");
        bench.check("HEXISTS h b", "0");
        bench.check("HSTRLEN h c", "0");
        bench.check("HLEN h", "3");
        bench.check("HMGET h d none d e", "- - - -");
        bench.check("HLEN h", "1");
        bench.check("HTTL h FIELDS 1 f", "-2");
        bench.check("HPERSIST h FIELDS 1 f", "-2");
        bench.check("HLEN h", "1");
        bench.check("HGET h f", "-");
        bench.check("EXISTS h", "0");
        assert_eq!(bench.effects(), ["HDEL h a", "HDEL h b", "HDEL h c", "HDEL h d e", "HDEL h f"]);
        assert_eq!(bench.fact("expired_subkeys"), "6");
    }
}

#[test]
fn commands_on_all_fields_pass_expired_ones_over() {
    for mut bench in Bench::both_forms() {
        bench.sweep(false);
        bench.run("HSET h a 1 b 2");
        bench.run("HPEXPIRE h 10 FIELDS 1 a");
        bench.advance(10);
        bench.check("HGETALL h", "b 2");
        bench.check("HKEYS h", "b");
        bench.check("HVALS h", "2");
        bench.check("HSCAN h 0", "0 b 2");
        bench.check("HSCAN h 0 NOVALUES MATCH *", "0 b");
        bench.check("HLEN h", "2");
        bench.effects();
        // To draw from the others, those that have expired are removed.
        bench.check("HRANDFIELD h 5", "b");
        bench.check("HLEN h", "1");
        bench.run("HPEXPIRE h 10 FIELDS 1 b");
        bench.advance(10);
        bench.check("HRANDFIELD h", "-");
        bench.check("EXISTS h", "0");
        assert_eq!(bench.effects(), ["HDEL h a", "HPEXPIREAT h 1700000000020 FIELDS 1 b", "HDEL h b"]);
    }
}

#[test]
fn an_expired_field_is_written_as_in_redis() {
    for mut bench in Bench::both_forms() {
        bench.sweep(false);
        bench.run("HSET h a 1 b 2 c 3 d 4 e 5 f 6");
        bench.run("HPEXPIRE h 10 FIELDS 6 a b c d e f");
        bench.advance(10);
        bench.effects();
        // A value set anew, and a removal, do not look at the time.
        bench.check("HSET h a 9", "0");
        bench.check("HDEL h b", "1");
        bench.check("HINCRBY h c 5", "5");
        bench.check("HINCRBYFLOAT h d 1.5", "1.5");
        bench.check("HSETNX h e 7", "1");
        bench.check("HPEXPIRE h 10 FIELDS 1 f", "-2");
        bench.check("HTTL h FIELDS 5 a c d e f", "-1 -1 -1 -1 -2");
        assert_eq!(
            bench.effects(),
            [
                "HSET h a 9",
                "HDEL h b",
                "HDEL h c",
                "HINCRBY h c 5",
                "HDEL h d",
                "HSET h d 1.5",
                "HDEL h e",
                "HSETNX h e 7",
                "HDEL h f"
            ]
        );
    }
}

#[test]
fn writing_takes_an_expiry_away_and_counting_keeps_it() {
    for mut bench in Bench::both_forms() {
        bench.run("HSET h a 1 b 2 c 3");
        bench.run("HPEXPIRE h 1000 FIELDS 3 a b c");
        bench.effects();
        bench.run("HSET h a 9");
        bench.run("HINCRBY h b 5");
        bench.run("HINCRBYFLOAT h c 0.5");
        bench.check("HPTTL h FIELDS 3 a b c", "-1 1000 1000");
        let effects = bench.effects();
        assert_eq!(effects, ["HSET h a 9", "HINCRBY h b 5", "HSET h c 3.5", "HPEXPIREAT h 1700000001000 FIELDS 1 c"]);
    }
}

#[test]
fn the_sweep_removes_fields_that_nobody_asks_for() {
    for mut bench in Bench::both_forms() {
        for size in [1, 15, 16, 17, 40, 300] {
            for field in 0..size {
                bench.run(&format!("HSET mixed{size} f{field} v stays{field} v"));
                bench.run(&format!("HPEXPIRE mixed{size} {} FIELDS 1 f{field}", 50 + field % 50));
                bench.run(&format!("HSET all{size} f{field} v"));
                bench.run(&format!("HPEXPIRE all{size} {} FIELDS 1 f{field}", 100 - field % 50));
            }
        }
        assert_eq!(bench.fact("db0").split(',').next_back(), Some("subexpiry=12"));
        bench.advance(49);
        bench.check("HLEN mixed300", "600");
        bench.advance(51);
        for size in [1, 15, 16, 17, 40, 300] {
            bench.check(&format!("HLEN mixed{size}"), &size.to_string());
            bench.check(&format!("EXISTS all{size}"), "0");
        }
        assert_eq!(bench.fact("db0"), "keys=6,expires=0,avg_ttl=0,subexpiry=0");
        assert_eq!(bench.fact("expired_subkeys"), "778");
        assert_eq!(bench.fact("expired_keys"), "0");
    }
}

#[test]
fn many_fields_are_swept_in_bounded_steps() {
    let mut bench = Bench::new(&[]);
    for field in 0..5000 {
        bench.run(&format!("HSET h f{field} v"));
        bench.run(&format!("HPEXPIRE h {} FIELDS 1 f{field}", 1 + field % 100));
    }
    bench.effects();
    bench.advance(50);
    bench.check("HLEN h", "2500");
    bench.advance(50);
    bench.check("EXISTS h", "0");
    let effects = bench.effects();
    assert!(effects.iter().all(|effect| effect.starts_with("HDEL h ") && effect.split(' ').count() <= 34));
    assert_eq!(effects.iter().map(|effect| effect.split(' ').count() - 2).sum::<usize>(), 5000);
}

#[test]
fn an_expiry_that_was_moved_or_removed_is_not_swept_too_soon() {
    for mut bench in Bench::both_forms() {
        bench.run("HSET h a 1 b 2 c 3 d 4");
        bench.run("HPEXPIRE h 10 FIELDS 4 a b c d");
        bench.run("HPEXPIRE h 1000 FIELDS 1 a");
        bench.run("HPERSIST h FIELDS 1 b");
        bench.run("HSET h c 9");
        bench.advance(500);
        bench.check("HMGET h a b c d", "1 2 9 -");
        bench.advance(500);
        bench.check("HMGET h a b c d", "- 2 9 -");
        bench.check("HLEN h", "2");
    }
}

#[test]
fn fields_expire_wherever_their_hash_goes() {
    for mut bench in Bench::both_forms() {
        for key in ["r", "c", "m", "s"] {
            bench.run(&format!("HSET {key} a 1 b 2"));
            bench.run(&format!("HPEXPIRE {key} 100 FIELDS 1 a"));
        }
        bench.run("RENAME r renamed");
        bench.check("COPY c copied", "1");
        bench.check("MOVE m 1", "1");
        bench.check("HPTTL renamed FIELDS 2 a b", "100 -1");
        bench.check("HPTTL copied FIELDS 2 a b", "100 -1");
        bench.run("PEXPIRE s 50000");
        bench.run("PERSIST s");
        bench.advance(100);
        for key in ["renamed", "c", "copied", "s"] {
            bench.check(&format!("HLEN {key}"), "1");
        }
        bench.run("SELECT 1");
        bench.check("HLEN m", "1");
        bench.run("HPEXPIRE m 10 FIELDS 1 b");
        bench.run("SWAPDB 1 2");
        bench.advance(10);
        bench.run("SELECT 2");
        bench.check("EXISTS m", "0");
        bench.run("HSET f a 1");
        bench.run("HPEXPIRE f 10 FIELDS 1 a");
        bench.run("FLUSHALL");
        bench.advance(10);
        assert_eq!(bench.fact("db0"), "");
    }
}

#[test]
fn events_tell_of_fields() {
    for mut bench in Bench::both_forms() {
        let mut listener = bench.server.connect();
        bench.run("CONFIG SET notify-keyspace-events Khgx");
        listener.run(b"SUBSCRIBE __keyspace@0__:h\r\n");
        let mut told = |bench: &mut Bench, lines: &[&str]| {
            lines.iter().for_each(|line| bench.run(line));
            bench.advance(5);
            let text = String::from_utf8(listener.run(b"PING\r\n")).unwrap();
            let words: Vec<&str> = text.split("\r\n").collect();
            let events = words.windows(4).filter(|four| four[1] == "__keyspace@0__:h").map(|four| four[3]);
            events.map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(&mut bench, &["HSET h a 1 b 2 c 3", "HPEXPIRE h 100 FIELDS 2 a b"]), "hset hexpire");
        assert_eq!(told(&mut bench, &["HPEXPIRE h 100 NX FIELDS 2 a none"]), "");
        assert_eq!(told(&mut bench, &["HPERSIST h FIELDS 2 a c", "HPERSIST h FIELDS 1 a"]), "hpersist");
        assert_eq!(told(&mut bench, &["HPEXPIRE h 0 FIELDS 1 a"]), "hdel");
        assert_eq!(told(&mut bench, &["HPEXPIRE h 3 FIELDS 1 b"]), "hexpire hexpired");
        assert_eq!(told(&mut bench, &["HPEXPIRE h 3 FIELDS 1 c"]), "hexpire hexpired del");
        assert_eq!(told(&mut bench, &["HSET h a 1", "HPEXPIRE h 0 FIELDS 1 a"]), "hset hdel del");
        bench.sweep(false);
        assert_eq!(told(&mut bench, &["HSET h a 1 b 2 c 3", "HPEXPIRE h 5 FIELDS 3 a b c"]), "hset hexpire");
        assert_eq!(told(&mut bench, &["HMGET h a b", "HGET h c"]), "hexpired hexpired del");
    }
}

#[test]
fn watched_keys_see_their_fields_expire() {
    let mut bench = Bench::new(&[]);
    bench.run("HSET h a 1 b 2");
    bench.run("HPEXPIRE h 10 FIELDS 1 a");
    bench.run("WATCH h");
    bench.advance(10);
    bench.run("MULTI");
    bench.run("PING");
    bench.check("EXEC", "-");
}

#[test]
fn the_packed_form_with_expiries_has_its_name() {
    let mut bench = Bench::new(&[]);
    bench.run("HSET h a 1 b 2");
    bench.check("OBJECT ENCODING h", "listpack");
    bench.run("HPEXPIRE h 1000 FIELDS 1 b");
    bench.check("OBJECT ENCODING h", "listpackex");
    // Fields that expire stand in front.
    bench.check("HGETALL h", "b 2 a 1");
    bench.run("HPERSIST h FIELDS 1 b");
    bench.check("OBJECT ENCODING h", "listpackex");
    bench.check("HGETALL h", "a 1 b 2");
    bench.run("CONFIG SET hash-max-listpack-entries 2");
    bench.run("HPEXPIRE h 1000 FIELDS 1 b");
    bench.run("HSET h c 3");
    bench.check("OBJECT ENCODING h", "hashtable");
    bench.check("HPTTL h FIELDS 3 a b c", "-1 1000 -1");
    bench.advance(1000);
    bench.check("HLEN h", "2");
}

#[test]
fn keys_with_an_expiry_are_evicted_though_fields_are_due_sooner() {
    let mut bench = Bench::new(&[("maxmemory", "200000"), ("maxmemory-policy", "volatile-ttl"), ("shards", "1")]);
    for key in 0..30 {
        bench.run(&format!("HSET hash{key} f v"));
        bench.run(&format!("HPEXPIRE hash{key} 1000 FIELDS 1 f"));
    }
    let value = "v".repeat(500);
    for key in 0..1000 {
        bench.check(&format!("SET key{key} {value} PX 5000"), "OK");
    }
    assert!(bench.fact("evicted_keys").parse::<u64>().unwrap() > 500);
    bench.check("EXISTS hash0", "1");
}
