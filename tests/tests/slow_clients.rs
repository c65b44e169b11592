//! Clients that send or read slowly, or not at all: they get all that they are owed, hold up nobody, and cost no more
//! memory than their limits allow.

use larder_tests::client::encode;
use larder_tests::{RawClient, ServerProcess, TestServer, growth, soon};
use std::time::Duration;

const MIB: u64 = 1 << 20;

fn set(server: &ServerProcess, key: &str, len: usize) -> RawClient {
    let mut client = server.client();
    client.call(&[b"SET".as_slice(), key.as_bytes(), &vec![b'v'; len]]);
    client
}

/// The number that a field of a client's line in CLIENT LIST holds.
fn field(line: &str, name: &str) -> u64 {
    line.split_once(&format!(" {name}=")).unwrap().1.split([' ', '\n']).next().unwrap().parse().unwrap()
}

#[test]
fn a_pipeline_may_be_sent_whole_before_its_answers_are_read() {
    const COUNT: usize = 300_000;
    let server = TestServer::start();
    let mut client = set(&server, "k", 100);
    let mut requests = Vec::new();
    (0..COUNT).for_each(|_| encode(&["GET", "k"], &mut requests));
    client.stream().set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    client.raw(&requests).expect("the server reads on while its answers wait");
    for _ in 0..COUNT {
        assert!(client.reply().unwrap().starts_with(b"$100\r\nvvvv"));
    }
    client.check("PING", "+PONG\r\n");
}

#[test]
fn a_client_with_too_many_unread_answers_waits_for_its_reader() {
    let server = TestServer::with(&["--client-query-buffer-limit", "1mb"]);
    let mut client = set(&server, "k", 10_000);
    let before = server.resident_bytes();
    let mut requests = Vec::new();
    (0..20_000).for_each(|_| encode(&["GET", "k"], &mut requests));
    std::thread::scope(|scope| {
        let mut writer = client.stream().try_clone().unwrap();
        scope.spawn(move || std::io::Write::write_all(&mut writer, &requests).unwrap());
        std::thread::sleep(Duration::from_millis(300));
        assert!(growth(&server, before) < 32 * MIB, "{} MiB of answers wait", growth(&server, before) / MIB);
        (0..20_000).for_each(|_| assert_eq!(client.reply().unwrap().len(), 10_010));
    });
}

#[test]
fn a_transfer_under_way_is_not_idle() {
    let server = TestServer::with(&["--timeout", "1"]);
    let mut client = server.client();
    client.raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$26214400\r\n").unwrap();
    for _ in 0..10 {
        client.raw(&[b'v'; 2_621_440]).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
    client.raw(b"\r\n").unwrap();
    assert_eq!(client.reply().unwrap(), b"+OK\r\n");
    client.send(&["GET", "k"]).unwrap();
    let mut got = 0;
    let mut part = vec![0; 2 << 20];
    while got < 26_214_400 + 13 {
        match std::io::Read::read(&mut client.stream(), &mut part).unwrap() {
            0 => panic!("cut after {got} bytes"),
            count => got += count,
        }
        std::thread::sleep(Duration::from_millis(120));
    }
}

#[test]
fn a_single_reply_is_bounded_by_the_limit() {
    let server = TestServer::with(&["--client-output-buffer-limit", "normal 1mb 0 0"]);
    let mut client = set(&server, "k", 15_000);
    let before = server.resident_bytes();
    let mut args = vec!["MGET"];
    args.resize(40_000, "k");
    client.send(&args).unwrap();
    while client.reply().is_ok() {}
    assert!(growth(&server, before) < 64 * MIB, "{} MiB", growth(&server, before) / MIB);
    let mut other = server.client();
    other.check("EXISTS k", ":1\r\n");
    assert!(
        String::from_utf8_lossy(&other.ask("INFO stats").text).contains("client_output_buffer_limit_disconnections:1")
    );
}

#[test]
fn a_message_for_many_patterns_of_one_client_is_bounded() {
    let server = TestServer::start();
    let mut greedy = server.client();
    let mut patterns = vec!["PSUBSCRIBE".to_string()];
    patterns.extend((1..=100).map(|stars| "*".repeat(stars)));
    greedy.send(&patterns).unwrap();
    (0..100).for_each(|_| drop(greedy.reply().unwrap()));
    let before = server.resident_bytes();
    let mut publisher = server.client();
    let message = vec![b'm'; 8 << 20];
    assert_eq!(publisher.call(&[b"PUBLISH".as_slice(), b"c", &message]), b":100\r\n");
    assert!(growth(&server, before) < 128 * MIB, "{} MiB", growth(&server, before) / MIB);
    soon("the subscriber is cut off", || publisher.call(&["PUBLISH", "c", "x"]) == b":0\r\n");
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_that_said_quit_can_still_be_killed() {
    let server = TestServer::start();
    let mut other = set(&server, "k", 20 << 20);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let before = descriptors();
    let stuck: Vec<RawClient> = (0..10)
        .map(|_| {
            let mut client = server.client();
            client.raw(b"GET k\r\nQUIT\r\n").unwrap();
            client
        })
        .collect();
    soon("they are there", || descriptors() == before + 10);
    std::thread::sleep(Duration::from_millis(100));
    other.check("CLIENT KILL TYPE normal", ":10\r\n");
    soon("they are gone", || descriptors() == before);
    drop(stuck);
}

#[test]
fn a_part_of_a_command_costs_no_buffer() {
    let server = TestServer::start();
    let before = server.resident_bytes();
    let mut other = server.client();
    let waiting: Vec<RawClient> = (0..2000)
        .map(|_| {
            let mut client = server.client();
            client.raw(b"PING\r\n*2\r\n$3").unwrap();
            assert_eq!(client.reply().unwrap(), b"+PONG\r\n");
            client
        })
        .collect();
    soon("their buffers are given back", || growth(&server, before) < 24 * MIB);
    let mut large = server.client();
    large.raw(&[b"*2\r\n$4\r\nECHO\r\n$50000000\r\n", [b'x'; 50_000_000].as_slice(), b"\r\n*"].concat()).unwrap();
    assert_eq!(large.reply().unwrap().len(), 50_000_013);
    soon("a large buffer is given back", || {
        let text = other.ask("CLIENT LIST").text;
        let lines = String::from_utf8_lossy(&text).into_owned();
        lines.lines().all(|line| field(line, "tot-mem") < 100_000)
    });
    drop(waiting);
}

#[test]
fn a_short_piece_does_not_keep_a_long_value() {
    let server = TestServer::start();
    let mut other = server.client();
    let before = server.resident_bytes();
    let mut reader = server.client();
    // The answers must not fit into the system's buffers.
    other.call(&[b"SET".as_slice(), b"fill", &vec![b'f'; 16 << 20]]);
    reader.raw(b"GET fill\r\n").unwrap();
    for number in 0..8 {
        let key = format!("k{number}");
        other.call(&[b"SET".as_slice(), key.as_bytes(), &vec![b'v'; 30 << 20]]);
        reader.raw(format!("GETRANGE {key} 0 16383\r\n").as_bytes()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    other.check("FLUSHALL", "+OK\r\n");
    soon("the values are gone", || growth(&server, before) < 64 * MIB);
    drop(reader);
}

#[test]
fn a_password_that_is_taken_away_binds_nobody_any_more() {
    let server = TestServer::with(&["--requirepass", "secret"]);
    let mut early = server.client();
    early.check("PING", "-NOAUTH Authentication required.\r\n");
    let mut admin = server.client();
    admin.check("AUTH secret", "+OK\r\n");
    admin.check("CONFIG SET requirepass \"\"", "+OK\r\n");
    early.check("MSET a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8", "+OK\r\n");
}

#[test]
fn one_answer_beyond_the_hard_limit_closes_the_client() {
    let server = TestServer::with(&["--client-output-buffer-limit", "normal 1mb 0 0"]);
    drop(set(&server, "k", 2_000_000));
    let mut client = server.client();
    client.send(&["GET", "k"]).unwrap();
    assert_eq!(client.rest().unwrap(), b"");
    let info = String::from_utf8(server.client().call(&["INFO", "stats"])).unwrap();
    assert!(info.contains("client_output_buffer_limit_disconnections:1\r\n"), "{info}");
}
