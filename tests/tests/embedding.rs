//! Larder inside a program: several servers, several threads on one engine, and clocks that are moved by hand.

use larder::{Connection, Server, Value};
use larder_tests::{RawClient, fuzz};
use std::thread;
use std::time::{Duration, Instant};

const START: u64 = 1_700_000_000_000;

fn client(server: &Server) -> RawClient {
    RawClient::connect(server.address().unwrap().port())
}

fn info(client: &mut RawClient, section: &str) -> String {
    String::from_utf8(client.ask(&format!("INFO {section}")).text).unwrap()
}

#[test]
fn servers_of_one_process_share_nothing() {
    let one = Server::builder().option("maxmemory", "50mb").start().unwrap();
    let other = Server::builder().option("databases", "3").option("requirepass", "secret").start().unwrap();
    assert_ne!(one.address(), other.address());
    let (mut left, mut right) = (client(&one), client(&other));
    right.check("PING", "-NOAUTH Authentication required.\r\n");
    right.check("AUTH secret", "+OK\r\n");
    left.check("SET k v", "+OK\r\n");
    right.check("EXISTS k", ":0\r\n");
    left.check("SELECT 15", "+OK\r\n");
    right.check("SELECT 15", "-ERR DB index is out of range\r\n");
    right.check("CONFIG GET maxmemory", "*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n");
    left.check("CONFIG SET timeout 77", "+OK\r\n");
    right.check("CONFIG GET timeout", "*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n");
    // Statistics, clients, and channels, too.
    assert!(
        info(&mut left, "commandstats").contains("cmdstat_set:")
            && !info(&mut right, "commandstats").contains("cmdstat_set:")
    );
    assert!(info(&mut right, "errorstats").contains("NOAUTH") && !info(&mut left, "errorstats").contains("NOAUTH"));
    let mut subscriber = client(&one);
    subscriber.ask("SUBSCRIBE c");
    right.check("PUBLISH c x", ":0\r\n");
    left.check("PUBLISH c x", ":1\r\n");
    assert!(info(&mut left, "clients").contains("connected_clients:2\r\n"));
    assert!(info(&mut right, "clients").contains("connected_clients:1\r\n"));
    // The end of one is not the end of the other.
    one.stop();
    assert_eq!(left.rest().unwrap(), b"");
    right.check("PING", "+PONG\r\n");
}

#[test]
fn a_port_is_free_again_when_its_server_has_ended() {
    let server = Server::builder().start().unwrap();
    let port = server.address().unwrap().port().to_string();
    assert!(Server::builder().option("port", &port).start().is_err(), "the port is taken");
    drop(server);
    let again = Server::builder().option("port", &port).start().unwrap();
    client(&again).check("PING", "+PONG\r\n");
}

#[test]
fn threads_share_an_engine() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 5000;
    let server = Server::builder().build().unwrap();
    let engine = server.engine();
    thread::scope(|scope| {
        for number in 0..THREADS {
            scope.spawn(move || {
                let mut connection = engine.connect();
                for round in 0..ROUNDS {
                    connection.execute(["INCR", "all"]);
                    connection.execute(["SET", &format!("{number}:{round}"), "x"]);
                    connection.run(b"MULTI\r\nINCR left\r\nDECR right\r\nEXEC\r\n");
                    let sum = connection.execute(["MGET", "left", "right"]).to_string();
                    let numbers: Vec<i64> = sum.split('"').filter_map(|text| text.parse().ok()).collect();
                    assert_eq!(numbers[0] + numbers[1], 0, "a transaction is seen whole");
                }
            });
        }
    });
    engine.validate();
    let mut connection = engine.connect();
    assert_eq!(connection.execute(["GET", "all"]).to_string(), format!("\"{}\"", THREADS * ROUNDS));
    assert_eq!(connection.execute(["DBSIZE"]), Value::Integer((THREADS * ROUNDS + 3) as i64));
}

#[test]
fn an_engine_outlives_its_server() {
    let server = Server::builder().start().unwrap();
    let engine = server.engine().clone();
    client(&server).check("SET k v", "+OK\r\n");
    server.stop();
    assert_eq!(engine.connect().execute(["GET", "k"]).to_string(), "\"v\"");
}

#[test]
fn a_key_is_gone_at_its_time_and_not_before() {
    let server = Server::builder().manual_clock(START).start().unwrap();
    let mut client = client(&server);
    client.check("SET k v PX 100", "+OK\r\n");
    client.check("SET l v PXAT 1700000000101", "+OK\r\n");
    // Real time does not count.
    thread::sleep(Duration::from_millis(120));
    server.advance(Duration::from_millis(99));
    client.check("PTTL k", ":1\r\n");
    server.advance(Duration::from_millis(1));
    // What has expired is removed, not only hidden.
    client.check("DBSIZE", ":1\r\n");
    client.check("PTTL l", ":1\r\n");
    client.check("TTL k", ":-2\r\n");
    assert!(info(&mut client, "stats").contains("\r\nexpired_keys:1\r\n"));
    client.check("TIME", "*2\r\n$10\r\n1700000000\r\n$6\r\n100000\r\n");
}

#[test]
fn what_is_old_follows_the_clock() {
    for (policy, kept) in [("allkeys-lru", "used"), ("allkeys-adaptive", "used"), ("volatile-ttl", "late")] {
        let builder = Server::builder().manual_clock(START).option("maxmemory", "1mb").seed(1);
        let server = builder.option("maxmemory-policy", policy).build().unwrap();
        let mut connection = server.connect();
        for number in 0..200 {
            connection.execute(["SET", &format!("unused:{number}"), "v", "EX", "5000"]);
            connection.execute(["SET", &format!("used:{number}"), "v", "EX", "5000"]);
            connection.execute(["SET", &format!("late:{number}"), "v", "EX", "900000"]);
        }
        server.advance(Duration::from_secs(3600));
        for number in 0..200 {
            connection.execute(["GET", &format!("used:{number}")]);
        }
        for number in [0, 99, 199] {
            assert_eq!(connection.execute(["OBJECT", "IDLETIME", &format!("unused:{number}")]), Value::Integer(3600));
            assert_eq!(connection.execute(["OBJECT", "IDLETIME", &format!("used:{number}")]), Value::Integer(0));
        }
        // New keys until a third of the old ones had to go.
        let count = |connection: &mut Connection, name: &str| {
            let exists =
                |number: &usize| connection.execute(["EXISTS", &format!("{name}:{number}")]) == Value::Integer(1);
            (0..200).filter(exists).count()
        };
        for number in 0.. {
            connection.execute(["SET", &format!("new:{number}"), &"x".repeat(500), "EX", "800000"]);
            let left: usize = ["unused", "used", "late"].iter().map(|name| count(&mut connection, name)).sum();
            if left < 450 {
                break;
            }
        }
        let (kept, unused) = (count(&mut connection, kept), count(&mut connection, "unused"));
        assert!(kept >= 190 && unused < 150, "{policy}: {kept} of 200 are kept, {unused} of 200 unused ones");
    }
}

/// A fact of INFO.
fn fact(connection: &mut Connection, section: &str, name: &str) -> u64 {
    let info = connection.execute(["INFO", section]);
    let line = info.as_str().unwrap().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().parse().unwrap()
}

/// ZADD of `count` members.
fn zadd(key: &str, count: usize) -> Vec<String> {
    let members = (0..count).flat_map(|number| [number.to_string(), format!("member:{number}")]);
    ["ZADD".to_owned(), key.to_owned()].into_iter().chain(members).collect()
}

#[test]
fn garbage_does_not_pile_up_without_threads() {
    for builder in [Server::builder(), Server::builder().manual_clock(START)] {
        let server = builder.build().unwrap();
        let mut connection = server.connect();
        let command = zadd("z", 20_000);
        for _ in 0..20 {
            assert_eq!(connection.execute(&command).as_i64(), Some(20_000));
            assert_eq!(connection.execute(["DEL", "z"]).as_i64(), Some(1));
            let waiting = fact(&mut connection, "memory", "lazyfree_pending_objects");
            assert!(waiting <= 3, "{waiting} sorted sets wait to be freed");
        }
        (0..1000).for_each(|_| drop(connection.execute(["PING"])));
        assert_eq!(fact(&mut connection, "memory", "lazyfree_pending_objects"), 0);
        assert_eq!(fact(&mut connection, "memory", "lazyfreed_objects"), 20);
    }
}

#[test]
fn expired_keys_go_without_threads() {
    let server = Server::builder().build().unwrap();
    let mut connection = server.connect();
    for number in 0..500 {
        connection.execute(["SET", &format!("k:{number}"), "v", "PX", "20"]);
    }
    let until = Instant::now() + Duration::from_secs(20);
    // Nobody asks for them.
    while fact(&mut connection, "stats", "expired_keys") < 500 {
        assert!(Instant::now() < until, "expired keys are swept");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(connection.execute(["DBSIZE"]).as_i64(), Some(0));
}

#[test]
fn time_passes_without_threads() {
    let server = Server::builder().build().unwrap();
    let mut connection = server.connect();
    connection.execute(["SET", "old", "v"]);
    let until = Instant::now() + Duration::from_millis(2200);
    while Instant::now() < until {
        connection.execute(["PING"]);
        thread::sleep(Duration::from_millis(5));
    }
    connection.execute(["SET", "new", "v"]);
    assert!(connection.execute(["OBJECT", "IDLETIME", "old"]).as_i64() >= Some(1));
    assert_eq!(connection.execute(["OBJECT", "IDLETIME", "new"]).as_i64(), Some(0));
}

#[test]
fn a_lowered_limit_is_kept_without_threads() {
    let server = Server::builder().option("maxmemory-policy", "allkeys-lru").build().unwrap();
    let mut connection = server.connect();
    for number in 0..4000 {
        connection.execute(["SET", &format!("k:{number}"), &"v".repeat(1000)]);
    }
    connection.execute(["CONFIG", "SET", "maxmemory", "2mb"]);
    let until = Instant::now() + Duration::from_secs(20);
    while fact(&mut connection, "memory", "used_memory") > 2 << 20 {
        assert!(Instant::now() < until, "keys are evicted while nobody writes");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_end_of_time_is_no_end() {
    let server = Server::builder().manual_clock(u64::MAX).build().unwrap();
    let mut connection = server.connect();
    server.advance(Duration::MAX);
    assert_eq!(connection.execute(["SET", "k", "v"]).as_str(), Some("OK"));
    let reply = connection.execute(["EXPIRE", "k", "100"]);
    assert!(reply.as_i64().is_some() || reply.is_error(), "{reply:?}");
    connection.execute(["SET", "l", "v", "EX", "9223372036854775"]);
    connection.execute(["OBJECT", "IDLETIME", "k"]);
    connection.execute(["TIME"]);
    assert!(!connection.execute(["INFO"]).is_error());
    server.advance(Duration::MAX);
    server.engine().validate();
}

fn words(message: &Value) -> Vec<&str> {
    message.as_array().unwrap().iter().map(|word| word.as_str().unwrap_or("?")).collect()
}

#[test]
fn messages_wait_in_order() {
    for version in ["2", "3"] {
        let server = Server::builder().build().unwrap();
        let (mut subscriber, mut publisher) = (server.connect(), server.connect());
        subscriber.execute(["HELLO", version]);
        publisher.execute(["PUBLISH", "a", "nobody hears this"]);
        assert_eq!(words(&subscriber.execute(["SUBSCRIBE", "a", "b"])), ["subscribe", "a", "?"]);
        publisher.execute(["PUBLISH", "a", "1"]);
        publisher.execute(["PUBLISH", "b", "2"]);
        // Replies are replies, whatever waits.
        let pong = subscriber.execute(["PING"]);
        assert!(pong.as_str() == Some("PONG") || words(&pong) == ["pong", ""], "{pong:?}");
        subscriber.execute(["PSUBSCRIBE", "*"]);
        publisher.execute(["PUBLISH", "b", "3"]);
        let messages: Vec<Value> = std::iter::from_fn(|| subscriber.next_message()).collect();
        assert!(messages.iter().all(|message| matches!(message, Value::Push(_)) == (version == "3")));
        let all: Vec<_> = messages.iter().map(words).collect();
        let expected: [&[&str]; 5] = [
            &["subscribe", "b", "?"],
            &["message", "a", "1"],
            &["message", "b", "2"],
            &["message", "b", "3"],
            &["pmessage", "*", "b", "3"],
        ];
        assert_eq!(all, expected, "RESP{version}");
        publisher.execute(["PUBLISH", "a", "4"]);
        drop(subscriber);
        assert_eq!(publisher.execute(["PUBLISH", "a", "5"]).as_i64(), Some(0));
    }
}

#[test]
fn a_message_is_never_taken_for_a_reply() {
    let server = Server::builder().build().unwrap();
    let mut connection = server.connect();
    connection.execute(["HELLO", "3"]);
    connection.execute(["SUBSCRIBE", "c"]);
    connection.execute(["CLIENT", "REPLY", "SKIP"]);
    assert_eq!(connection.execute(["PUBLISH", "c", "own"]), Value::Null);
    assert_eq!(connection.execute(["PUBLISH", "c", "other"]).as_i64(), Some(1));
    assert_eq!(words(&connection.next_message().unwrap()), ["message", "c", "own"]);
    // As bytes, they stand where a socket would have them.
    assert_eq!(connection.run(b"PING\r\n"), b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nother\r\n+PONG\r\n");
    assert_eq!(connection.next_message(), None);
}

#[test]
fn a_subscriber_that_never_reads_is_closed() {
    let server = Server::builder().words("client-output-buffer-limit", &["pubsub", "100kb", "0", "0"]).build().unwrap();
    let (mut reader, mut sleeper, mut publisher) = (server.connect(), server.connect(), server.connect());
    reader.execute(["SUBSCRIBE", "c"]);
    sleeper.execute(["SUBSCRIBE", "c"]);
    let message = "x".repeat(10_000);
    for round in 0..100 {
        publisher.execute(["PUBLISH", "c", &message]);
        assert!(reader.next_message().is_some(), "{round}: who reads gets everything");
    }
    assert_eq!(sleeper.next_message(), None);
    assert_eq!(sleeper.execute(["PING"]).as_error().as_deref(), Some("ERR the connection is closed"));
    assert_eq!(sleeper.run(b"PING\r\n"), b"-ERR the connection is closed\r\n");
    assert_eq!(publisher.execute(["PUBLISH", "c", "x"]).as_i64(), Some(1), "it listens no more");
    assert_eq!(fact(&mut publisher, "stats", "client_output_buffer_limit_disconnections"), 1);
}

#[test]
fn a_connection_ends_as_a_socket_does() {
    for end in ["QUIT\r\n", "SHUTDOWN\r\n", "*1\r\n+\r\n", "GET \"\r\n"] {
        let server = Server::builder().build().unwrap();
        let (mut connection, mut other) = (server.connect(), server.connect());
        connection.execute(["HELLO", "3"]);
        connection.execute(["SUBSCRIBE", "c"]);
        connection.run(end.as_bytes());
        assert_eq!(other.execute(["PUBLISH", "c", "x"]).as_i64(), Some(0), "{end}");
        assert_eq!(connection.execute(["PING"]).as_error().as_deref(), Some("ERR the connection is closed"), "{end}");
        assert_eq!(connection.next_message(), None, "{end}");
        assert_eq!(other.execute(["PING"]).as_str(), Some("PONG"), "{end}: the others go on");
    }
}

/// Requests of every kind, and their replies.
const PIPELINE: &[u8] = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\na\r\nb\0\r\nPING hello\r\n*0\r\n\r\n\
    *2\r\n$3\r\nGET\r\n$3\r\nkey\r\nINCR \"n\"\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*1\r\n$3\r\nDEL\r\n";
const REPLIES: &[u8] = b"+OK\r\n$5\r\nhello\r\n$5\r\na\r\nb\0\r\n:1\r\n$0\r\n\r\n\
    -ERR wrong number of arguments for 'del' command\r\n";

#[test]
fn requests_may_be_cut_at_every_byte() {
    let server = Server::builder().build().unwrap();
    for cut in 0..=PIPELINE.len() {
        let mut connection = server.connect();
        connection.execute(["FLUSHALL"]);
        let mut replies = connection.run(&PIPELINE[..cut]);
        replies.extend(connection.run(&PIPELINE[cut..]));
        assert_eq!(replies, REPLIES, "cut at {cut}");
        assert_eq!(connection.execute(["PING"]).as_str(), Some("PONG"), "nothing is left over");
    }
    let mut connection = server.connect();
    connection.execute(["FLUSHALL"]);
    let replies: Vec<u8> = PIPELINE.iter().flat_map(|byte| connection.run(&[*byte])).collect();
    assert_eq!(replies, REPLIES, "byte by byte");
}

#[test]
fn a_command_in_an_incomplete_request_is_refused() {
    let server = Server::builder().build().unwrap();
    let mut connection = server.connect();
    for head in [&b"*1\r\n$4\r\nPI"[..], b"*", b"PIN", b"*2\r\n$4\r\nPING\r\n"] {
        assert_eq!(connection.run(head), b"");
        let reply = connection.execute(["SET", "k", "v"]);
        assert_eq!(reply.as_error().as_deref(), Some("ERR the request before this command is incomplete"));
        connection = server.connect();
    }
    assert_eq!(connection.execute(["EXISTS", "k"]).as_i64(), Some(0));
}

#[test]
fn an_endless_request_is_refused() {
    let server = Server::builder().option("client-query-buffer-limit", "1mb").build().unwrap();
    let mut connection = server.connect();
    connection.run(b"*2\r\n$4\r\nECHO\r\n$50000000\r\n");
    let piece = vec![b'x'; 100_000];
    let rounds = (0..100).find(|_| connection.run(&piece).starts_with(b"-ERR the connection is closed"));
    assert_eq!(rounds, Some(11));
}

/// Bytes of any kind, valid requests among them, in any pieces: as a whole or cut, the outcome is the same.
#[test]
fn any_bytes_may_come() {
    fuzz::run(|random| {
        let mut stream = Vec::new();
        for _ in 0..random.below(20) {
            match random.below(4) {
                0 => stream.extend_from_slice(PIPELINE),
                1 => stream.extend((0..random.below(40)).map(|_| random.bits() as u8)),
                2 => stream.extend(random.pick(&["\r\n", "*1\r\n", "$4\r\nPING\r\n", "*-1\r\n"]).bytes()),
                _ => fuzz::mutate(&mut stream, random),
            }
        }
        let replies = |pieces: &mut dyn FnMut(usize) -> usize| {
            let server = Server::builder().manual_clock(START).seed(1).build().unwrap();
            let (mut connection, mut replies, mut rest) = (server.connect(), Vec::new(), &stream[..]);
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(pieces(rest.len()));
                rest = after;
                let reply = connection.run(piece);
                if reply == b"-ERR the connection is closed\r\n" {
                    break;
                }
                replies.extend(reply);
            }
            server.engine().validate();
            replies
        };
        let whole = replies(&mut |length| length);
        let cut = replies(&mut |length| (1 + random.below(30)).min(length));
        assert_eq!(cut.escape_ascii().to_string(), whole.escape_ascii().to_string(), "{}", stream.escape_ascii());
    });
}

#[test]
fn values_of_options_are_taken_as_they_are() {
    for value in [" lead", "trail ", "two words", "a\nport 1", "q\"uo'te\\", "#no comment", "", "\u{fc}\t"] {
        let server = Server::builder().option("requirepass", value).build().unwrap();
        let reply = server.connect().execute(["CONFIG", "GET", "requirepass"]);
        assert_eq!(reply.as_array().unwrap()[1].as_str(), Some(value));
    }
    let server = Server::builder().option("requirepass", [0xff, 0]).build().unwrap();
    assert_eq!(
        server.connect().execute(["CONFIG", "GET", "requirepass"]).as_array().unwrap()[1].as_bytes(),
        Some(&[0xff, 0][..])
    );
}

#[test]
fn options_of_several_words() {
    let limit = ["pubsub", "1mb", "2mb", "3"];
    let all = Server::builder().words("client-output-buffer-limit", &limit).build().unwrap();
    let joined = Server::builder().option("client-output-buffer-limit", limit.join(" ")).build().unwrap();
    let get = |server: &Server| server.connect().execute(["CONFIG", "GET", "client-output-buffer-limit"]).to_string();
    assert_eq!(get(&all), get(&joined));
    assert!(get(&all).contains("pubsub 1048576 2097152 3"), "{}", get(&all));
    assert!(Server::builder().words("save", &[""]).build().is_ok());
    assert!(Server::builder().words("maxmemory", &["1mb", "2mb"]).build().is_err());
    let none: [&str; 0] = [];
    assert!(Server::builder().words("maxmemory", &none).build().is_err());
}

#[test]
fn an_option_that_does_not_exist_is_named() {
    let refused = |name: &str, value: &str| Server::builder().option(name, value).build().err().unwrap().to_string();
    assert_eq!(refused("no-such", "secret"), "option 'no-such': there is no such option");
    assert_eq!(refused("port 1\nhz", "1"), "option 'port 1\nhz': there is no such option");
    assert!(refused("maxmemory", "much").starts_with("option 'maxmemory': "));
    assert!(Server::builder().option("no-such", "1").start().is_err());
}

#[test]
fn port_zero_is_any_free_port() {
    for builder in [Server::builder(), Server::builder().option("port", "0"), Server::builder().option("PORT", "0")] {
        let server = builder.start().unwrap();
        let port = server.address().unwrap().port();
        assert_ne!(port, 0);
        let text = port.to_string();
        client(&server).check("CONFIG GET port", &format!("*2\r\n$4\r\nport\r\n${}\r\n{text}\r\n", text.len()));
    }
}

#[cfg(unix)]
#[test]
fn a_unix_socket_alone() {
    let directory = std::env::temp_dir().join(format!("larder embedding {}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("a 'socket'");
    let builder = Server::builder().option("unixsocket", path.as_os_str().as_encoded_bytes()).option("bind", "");
    let server = builder.start().unwrap();
    assert_eq!((server.address(), server.listeners()), (None, &["unix"][..]));
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    drop(server);
    std::fs::remove_dir_all(&directory).unwrap();
}
