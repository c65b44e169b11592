//! Larder inside a program: several servers, several threads on one engine, and clocks that are moved by hand.

use larder::{Server, Value};
use larder_tests::RawClient;
use std::thread;
use std::time::Duration;

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
    for (policy, kept) in [("allkeys-lru", "used"), ("volatile-ttl", "late")] {
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
        let count = |connection: &mut larder::Connection, name: &str| {
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
