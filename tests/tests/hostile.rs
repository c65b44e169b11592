//! Input that no well-meaning client sends: the server must stay alive, answer the others, and keep its memory.

use larder_tests::client::encode;
use larder_tests::random::Random;
use larder_tests::{Failure, RawClient, ServerProcess, TestServer, frame, growth, soon};
use std::io::Write;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// A pipeline of every kind of frame, and its replies.
const PIPELINE: &[u8] =
    b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\na\r\nb\0\r\nPING hello\r\n*0\r\n\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n\
    INCR \"n\"\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*1\r\n$6\r\nnosuch\r\n*1\r\n$3\r\nDEL\r\n";
const REPLIES: &[u8] = b"+OK\r\n$5\r\nhello\r\n$5\r\na\r\nb\0\r\n:1\r\n$0\r\n\r\n\
    -ERR unknown command 'nosuch', with args beginning with: \r\n-ERR wrong number of arguments for 'del' command\r\n";

fn flood(server: &ServerProcess, bytes: &[u8]) -> RawClient {
    let mut client = server.client();
    client.raw(bytes).unwrap();
    client
}

#[test]
fn a_frame_may_be_cut_at_every_byte() {
    let mut server = TestServer::start();
    for cut in 0..=PIPELINE.len() {
        let mut client = server.client();
        client.raw(b"FLUSHALL\r\n").unwrap();
        client.reply().unwrap();
        client.raw(&PIPELINE[..cut]).unwrap();
        if cut % 8 == 0 {
            // Long enough for the server to read the first part alone.
            std::thread::sleep(Duration::from_millis(2));
        }
        client.raw(&PIPELINE[cut..]).unwrap();
        client.finish();
        assert_eq!(frame::show(&client.rest().unwrap()), frame::show(REPLIES), "cut at {cut}");
    }
    assert!(server.is_alive());
}

#[test]
fn single_bytes_make_the_same_frames() {
    let server = TestServer::start();
    let mut client = server.client();
    for byte in PIPELINE {
        client.raw(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_micros(200));
    }
    client.finish();
    assert_eq!(frame::show(&client.rest().unwrap()), frame::show(REPLIES));
}

#[test]
fn a_connection_may_end_at_every_byte() {
    let mut server = TestServer::start();
    for cut in 0..=PIPELINE.len() {
        drop(flood(&server, &PIPELINE[..cut]));
    }
    assert!(server.is_alive());
    soon("connections are forgotten", || server.client().ask("INFO clients").fields_of("connected_clients") <= 2);
}

/// Reads one number out of INFO.
trait Info {
    fn fields_of(&self, name: &str) -> u64;
}

impl Info for frame::Frame {
    fn fields_of(&self, name: &str) -> u64 {
        let text = String::from_utf8_lossy(&self.text).into_owned();
        let line = text.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
        line[name.len() + 1..].trim().parse().unwrap()
    }
}

#[test]
fn announced_lengths_cost_nothing() {
    let mut server = TestServer::start();
    let before = server.resident_bytes();
    let mut waiting = Vec::new();
    for _ in 0..50 {
        waiting.push(flood(&server, b"*2147483647\r\n"));
        waiting.push(flood(&server, b"*1048576\r\n$5\r\nhello\r\n"));
        waiting.push(flood(&server, b"*2\r\n$3\r\nGET\r\n$536870912\r\nabc"));
        waiting.push(flood(&server, b"*2\r\n$3\r\nGET\r\n$500000000\r\n"));
    }
    assert!(server.is_alive());
    assert!(growth(&server, before) < 64 * MIB, "{} MiB for lengths alone", growth(&server, before) / MIB);
}

#[test]
fn a_million_arguments() {
    let server = TestServer::start();
    let mut client = server.client();
    let words: Vec<Vec<u8>> = (0..1_000_000).map(|number| format!("k{number}").into_bytes()).collect();
    let mut args = vec![b"DEL".to_vec()];
    args.extend(words.iter().cloned());
    assert_eq!(frame::show(&client.call(&args)), ":0\\r\\n");
    args[0] = b"MSET".to_vec();
    assert_eq!(frame::show(&client.call(&args)), "+OK\\r\\n");
    assert_eq!(frame::show(&client.call(&["DBSIZE"])), ":500000\\r\\n");
    args[0] = b"MGET".to_vec();
    let reply = client.call(&args);
    assert!(reply.starts_with(b"*1000000\r\n$2\r\nk1\r\n$-1\r\n$2\r\nk3\r\n"));
    assert_eq!(frame::read(&reply).unwrap().unwrap().0.items.len(), 1_000_000);
    args[0] = b"EXISTS".to_vec();
    assert_eq!(frame::show(&client.call(&args)), ":500000\\r\\n");
    args[0] = b"UNLINK".to_vec();
    assert_eq!(frame::show(&client.call(&args)), ":500000\\r\\n");
}

#[test]
fn ten_thousand_keys_in_one_command() {
    let server = TestServer::start();
    let mut client = server.client();
    let keys: Vec<String> = (0..10_000).map(|number| format!("key:{number}")).collect();
    let with = |first: &[&str], each: &dyn Fn(usize) -> Vec<String>| {
        let mut args: Vec<String> = first.iter().map(ToString::to_string).collect();
        args.extend((0..keys.len()).flat_map(each));
        args
    };
    let set = with(&["MSET"], &|at| vec![keys[at].clone(), at.to_string()]);
    assert_eq!(frame::show(&client.call(&set)), "+OK\\r\\n");
    let add = with(&["ZADD", "z"], &|at| vec![(at % 100).to_string(), keys[at].clone()]);
    assert_eq!(frame::show(&client.call(&add)), ":10000\\r\\n");
    let one = |at: usize| vec![keys[at].clone()];
    assert_eq!(frame::show(&client.call(&with(&["TOUCH"], &one))), ":10000\\r\\n");
    assert_eq!(frame::show(&client.call(&with(&["WATCH"], &one))), "+OK\\r\\n");
    assert_eq!(frame::show(&client.call(&with(&["ZREM", "z"], &one))), ":10000\\r\\n");
    let sets = with(&["ZUNIONSTORE", "sum", "10000"], &|_| vec!["big".to_string()]);
    client.check("ZADD big 1 a 2 b", ":2\r\n");
    assert_eq!(frame::show(&client.call(&sets)), ":2\\r\\n");
    client.check("ZSCORE sum a", "$5\r\n10000\r\n");
    assert_eq!(frame::show(&client.call(&with(&["DEL"], &one))), ":10000\\r\\n");
}

#[test]
fn nonsense_closes_only_its_own_connection() {
    let mut server = TestServer::start();
    let mut other = server.client();
    other.check("SET k v", "+OK\r\n");
    let before = server.resident_bytes();
    let mut random = Random::from_environment();
    for _ in 0..500 {
        let length = random.below(2000);
        let bytes: Vec<u8> = (0..length)
            .map(|_| if random.once_in(3) { *random.pick(b"*$:+-\r\n 0123456789\"'\\x") } else { random.bits() as u8 })
            .collect();
        let mut client = server.client();
        // The server may close before all of it is sent.
        drop(client.raw(&bytes));
        client.finish();
        if let Err(Failure::Timeout(_)) = client.rest() {
            panic!("a connection that has ended is not closed");
        }
    }
    let nested = b"*1\r\n".repeat(100_000);
    assert_eq!(flood(&server, &nested).rest().unwrap(), b"-ERR Protocol error: expected '$', got '*'\r\n");
    other.check("GET k", "$1\r\nv\r\n");
    assert!(server.is_alive());
    assert!(growth(&server, before) < 32 * MIB);
}

#[test]
fn a_reader_that_does_not_read_is_cut_off() {
    let mut server = TestServer::with(&["--client-output-buffer-limit", "normal 8mb 0 0"]);
    let mut other = server.client();
    let value = vec![b'x'; 1 << 20];
    other.call(&[b"SET".as_slice(), b"k", &value]);
    let before = server.resident_bytes();
    let slow = server.client();
    slow.stream().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut wanted = Vec::new();
    (0..500).for_each(|_| encode(&["GET", "k"], &mut wanted));
    // 500 MiB are asked for: either the server closes, or it stops reading until we read.
    for _ in 0..20 {
        if slow.stream().write_all(&wanted).is_err() {
            break;
        }
    }
    soon("the limit is reached", || other.ask("INFO clients").fields_of("connected_clients") == 1);
    assert!(growth(&server, before) < 96 * MIB, "{} MiB", growth(&server, before) / MIB);
    assert!(server.is_alive());
}

#[test]
fn a_slow_reader_gets_everything_and_holds_up_nobody() {
    const COUNT: usize = 200;
    let server = TestServer::with(&["--threads", "1"]);
    let mut other = server.client();
    let values: Vec<Vec<u8>> = (0..4).map(|number| vec![b'a' + number; 200_000]).collect();
    for (number, value) in values.iter().enumerate() {
        other.call(&[b"SET".as_slice(), format!("k{number}").as_bytes(), value]);
    }
    let mut wanted = Vec::new();
    (0..COUNT).for_each(|at| encode(&["GET", &format!("k{}", at % 4)], &mut wanted));
    let mut slow = flood(&server, &wanted);
    for at in 0..COUNT {
        if at % 10 == 0 {
            std::thread::sleep(Duration::from_millis(10));
            let start = Instant::now();
            other.check("PING", "+PONG\r\n");
            assert!(start.elapsed() < Duration::from_secs(2), "others wait for {:?}", start.elapsed());
        }
        let reply = slow.reply().unwrap();
        let head = b"$200000\r\n";
        assert!(reply.starts_with(head) && reply[head.len()..].starts_with(&values[at % 4]), "reply {at}");
    }
    slow.check("PING", "+PONG\r\n");
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off() {
    let mut server = TestServer::with(&["--client-output-buffer-limit", "pubsub 2mb 0 0"]);
    let before = server.resident_bytes();
    let mut slow = server.client();
    slow.check("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let mut publisher = server.client();
    let message = vec![b'm'; 64 << 10];
    let is_cut = (0..2000).any(|_| publisher.call(&[b"PUBLISH".as_slice(), b"c", &message]) == b":0\r\n");
    assert!(is_cut, "the subscriber is still there after 128 MiB");
    assert!(growth(&server, before) < 64 * MIB);
    assert!(server.is_alive());
}

#[test]
fn what_a_subscriber_does_not_read_shows_in_its_line() {
    let server = TestServer::start();
    let mut subscriber = server.client();
    subscriber.ask("SUBSCRIBE c");
    let mut client = server.client();
    let message = vec![b'm'; 1 << 20];
    for _ in 0..16 {
        client.call(&[b"PUBLISH".as_slice(), b"c", &message]);
    }
    let mut line = || String::from_utf8(client.call(&["CLIENT", "LIST", "TYPE", "pubsub"])).unwrap();
    let waiting =
        |line: &str| -> u64 { line.split_once(" omem=").unwrap().1.split_once(' ').unwrap().0.parse().unwrap() };
    // The system's buffers hold the rest.
    soon("a count of what waits", || (4 * MIB..16 * MIB).contains(&waiting(&line())));
    for _ in 0..16 {
        subscriber.reply().unwrap();
    }
    soon("nothing waits", || line().contains(" obl=0 oll=0 omem=0 "));
}

#[test]
fn a_query_larger_than_its_limit_ends_the_connection() {
    let mut server = TestServer::with(&["--client-query-buffer-limit", "1048576"]);
    let mut client = server.client();
    let mut bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8000000\r\n".to_vec();
    bytes.resize(8_000_000, b'x');
    // The server closes in the middle of it.
    drop(client.raw(&bytes));
    assert_eq!(client.rest().unwrap(), b"");
    assert!(server.is_alive());
    server.client().check("EXISTS k", ":0\r\n");
}

#[test]
fn a_transaction_that_is_never_run_is_given_back() {
    let server = TestServer::start();
    let mut other = server.client();
    other.check("PING", "+PONG\r\n");
    let before = server.resident_bytes();
    let mut bytes = b"MULTI\r\n".to_vec();
    let value = vec![b'v'; 1000];
    (0..50_000).for_each(|_| encode(&[b"SET".as_slice(), b"k", &value], &mut bytes));
    for _ in 0..4 {
        let mut client = flood(&server, &bytes);
        assert_eq!(client.reply().unwrap(), b"+OK\r\n");
        (0..50_000).for_each(|_| assert_eq!(client.reply().unwrap(), b"+QUEUED\r\n"));
    }
    soon("the connections are gone", || other.ask("INFO clients").fields_of("connected_clients") == 1);
    other.check("EXISTS k", ":0\r\n");
    // One queue is 53 MB: four of them at once would show.
    assert!(growth(&server, before) < 150 * MIB, "{} MiB", growth(&server, before) / MIB);
}

#[test]
fn silent_connections_disturb_nobody() {
    let mut server = TestServer::start();
    let silent: Vec<_> = (0..300).map(|_| server.client()).collect();
    let half: Vec<_> = (0..100).map(|_| flood(&server, b"*2\r\n$3\r\nGET\r\n$1")).collect();
    let mut client = server.client();
    for _ in 0..100 {
        client.check("PING", "+PONG\r\n");
    }
    drop((silent, half));
    assert!(server.is_alive());
}

#[test]
fn a_client_that_has_finished_still_gets_its_replies() {
    let server = TestServer::start();
    let mut client = flood(&server, &b"PING\r\n".repeat(10_000));
    client.finish();
    assert_eq!(client.rest().unwrap(), b"+PONG\r\n".repeat(10_000));
}

#[test]
fn idle_clients_are_closed_after_the_timeout() {
    let server = TestServer::with(&["--timeout", "1"]);
    let mut idle = server.client();
    // A peer that vanished in the middle of a command never says so.
    let mut vanished = flood(&server, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhe");
    let mut subscriber = server.client();
    subscriber.check("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    assert_eq!(idle.rest().unwrap(), b"");
    assert_eq!(vanished.rest().unwrap(), b"");
    // A subscriber may be silent for ever.
    server.client().check("PUBLISH c x", ":1\r\n");
}

#[test]
fn one_client_too_many_is_told_so() {
    let server = TestServer::with(&["--maxclients", "10"]);
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let mut client = server.client();
            client.check("PING", "+PONG\r\n");
            client
        })
        .collect();
    assert_eq!(server.client().rest().unwrap(), b"-ERR max number of clients reached\r\n");
    drop(clients);
    soon("a place is free", || {
        let mut client = server.client();
        client.send(&["PING"]).is_ok() && client.reply() == Ok(b"+PONG\r\n".to_vec())
    });
}
