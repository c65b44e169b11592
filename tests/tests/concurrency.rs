//! Many clients on the same keys: what must be atomic is.

use larder_tests::client::encode;
use larder_tests::{RawClient, ServerProcess, TestServer, frame};
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long tests of an invariant look for a moment in which it does not hold.
const TIME: Duration = Duration::from_millis(1500);

/// A server that runs commands at the same time even where there is one core.
fn server() -> ServerProcess {
    TestServer::with(&["--threads", "4"])
}

/// Calls `watch` until [`TIME`] is over while `disturb` runs on as many threads as it is given numbers.
fn observe(
    server: &ServerProcess,
    disturbers: usize,
    disturb: impl Fn(&mut RawClient, usize, u64) + Sync,
    mut watch: impl FnMut(&mut RawClient),
) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..disturbers {
            let (disturb, is_over) = (&disturb, &is_over);
            scope.spawn(move || {
                let mut client = server.client();
                for round in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    disturb(&mut client, number, round);
                }
            });
        }
        // The others must end even when an assertion fails here.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(&is_over);
        let mut client = server.client();
        let until = Instant::now() + TIME;
        while Instant::now() < until {
            watch(&mut client);
        }
    });
}

fn texts(reply: &[u8]) -> Vec<String> {
    let frame = frame::read(reply).unwrap().unwrap().0;
    frame.items.iter().map(|item| String::from_utf8_lossy(&item.text).into_owned()).collect()
}

#[test]
fn incr_from_64_connections_loses_nothing() {
    let server = server();
    thread::scope(|scope| {
        for number in 0..64 {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.client();
                for round in 0..500 {
                    // Half of them in pipelines, which are batched on their way.
                    if number % 2 == 0 {
                        client.call(&["INCR", "n"]);
                    } else if round % 10 == 0 {
                        client.raw(&b"INCR n\r\n".repeat(10)).unwrap();
                        (0..10).for_each(|_| drop(client.reply().unwrap()));
                    }
                }
            });
        }
    });
    server.client().check("GET n", "$5\r\n32000\r\n");
}

#[test]
fn incr_returns_each_number_once() {
    let server = server();
    let numbers: Vec<Vec<u8>> = thread::scope(|scope| {
        let work = || {
            let mut client = server.client();
            (0..1000).map(|_| client.call(&["INCR", "n"])).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(numbers.into_iter().collect::<BTreeSet<_>>().len(), 8000);
}

#[test]
fn mset_is_seen_whole() {
    let server = server();
    let keys: Vec<String> = (0..8).map(|number| format!("key:{number}")).collect();
    let mget: Vec<&str> = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect();
    let set = |client: &mut RawClient, number: usize, round: u64| {
        let value = format!("{number}-{round}");
        let mut args = vec!["MSET"];
        keys.iter().for_each(|key| args.extend([key.as_str(), value.as_str()]));
        client.call(&args);
    };
    observe(&server, 3, set, |client| {
        let values = texts(&client.call(&mget));
        assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    });
}

#[test]
fn a_transaction_is_seen_whole() {
    let server = server();
    server.client().check("MSET a 1000 b 1000", "+OK\r\n");
    let transfer = |client: &mut RawClient, number: usize, _| {
        let (from, to) = if number.is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
        client.raw(format!("MULTI\r\nDECRBY {from} 3\r\nINCRBY {to} 3\r\nEXEC\r\n").as_bytes()).unwrap();
        (0..4).for_each(|_| drop(client.reply().unwrap()));
    };
    observe(&server, 4, transfer, |client| {
        let sum: i64 = texts(&client.call(&["MGET", "a", "b"])).iter().map(|text| text.parse::<i64>().unwrap()).sum();
        assert_eq!(sum, 2000);
    });
}

#[test]
fn watchers_of_each_others_key_never_both_win() {
    const ROUNDS: usize = 3000;
    let server = server();
    let barrier = Barrier::new(2);
    let play = |watched: &str, changed: &str| -> Vec<bool> {
        let mut client = server.client();
        let transaction = format!("MULTI\r\nSET {changed} x\r\nEXEC\r\n");
        let mut round = || {
            client.check(&format!("WATCH {watched}"), "+OK\r\n");
            // Both watch before either goes on, and then both are under way at once.
            barrier.wait();
            client.raw(transaction.as_bytes()).unwrap();
            let replies: Vec<_> = (0..3).map(|_| client.reply().unwrap()).collect();
            barrier.wait();
            replies[2] != b"*-1\r\n"
        };
        (0..ROUNDS).map(|_| round()).collect()
    };
    let (left, right) = thread::scope(|scope| {
        let left = scope.spawn(|| play("a", "b"));
        let right = play("b", "a");
        (left.join().unwrap(), right)
    });
    let count = |wins: (bool, bool)| left.iter().zip(&right).filter(|(left, right)| (**left, **right) == wins).count();
    let outcomes = [(true, true), (false, false), (true, false), (false, true)].map(count);
    println!("both, neither, left, right: {outcomes:?}");
    assert_eq!(outcomes[..2], [0, 0], "rounds in which both won, and in which nobody did");
}

#[test]
fn optimistic_increments_lose_nothing() {
    let server = server();
    server.client().check("SET n 0", "+OK\r\n");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.client();
                let mut done = 0;
                while done < 100 {
                    client.call(&["WATCH", "n"]);
                    let value: u64 = String::from_utf8_lossy(&client.ask("GET n").text).parse().unwrap();
                    client.call(&["MULTI"]);
                    client.call(&["SET", "n", &(value + 1).to_string()]);
                    done += usize::from(client.call(&["EXEC"]) != b"*-1\r\n");
                }
            });
        }
    });
    server.client().check("GET n", "$3\r\n800\r\n");
}

#[test]
fn keys_and_dbsize_are_exact_during_renames() {
    const COUNT: usize = 200;
    let server = server();
    let mut client = server.client();
    (0..COUNT).for_each(|number| drop(client.call(&["SET", &format!("here:{number}"), "x"])));
    let rename = |client: &mut RawClient, number: usize, round: u64| {
        let (from, to) = if round.is_multiple_of(2) { ("here", "there") } else { ("there", "here") };
        for key in (0..COUNT).filter(|key| key % 4 == number) {
            client.call(&["RENAME", &format!("{from}:{key}"), &format!("{to}:{key}")]);
        }
    };
    observe(&server, 4, rename, |client| {
        client.check("DBSIZE", &format!(":{COUNT}\r\n"));
        let keys = texts(&client.call(&["KEYS", "*"]));
        let numbers: BTreeSet<_> = keys.iter().map(|key| key.split_once(':').unwrap().1.to_string()).collect();
        assert_eq!((keys.len(), numbers.len()), (COUNT, COUNT));
    });
}

#[test]
fn scan_returns_all_that_stays() {
    const STAYING: usize = 300;
    let server = server();
    let mut client = server.client();
    // Some of those that stay have an expiry, which does not come.
    for number in 0..STAYING {
        let key = format!("stay:{number}");
        let set = ["SET", &key, "x", "EX", "1000"];
        client.call(if number % 3 == 0 { &set } else { &set[..3] });
    }
    // The table grows and shrinks by thousands meanwhile: keys are deleted, and others expire.
    let churn = |client: &mut RawClient, number: usize, round: u64| {
        if number == 2 {
            let mut bytes = Vec::new();
            (0..1000).for_each(|key| encode(&["SET", &format!("soon:{key}"), "x", "PX", "20"], &mut bytes));
            client.raw(&bytes).unwrap();
            (0..1000).for_each(|_| assert_eq!(client.reply().unwrap(), b"+OK\r\n"));
            return thread::sleep(Duration::from_millis(30));
        }
        let mut args = vec![if round.is_multiple_of(2) { "MSET" } else { "DEL" }.to_string()];
        for key in 0..1000 {
            args.push(format!("go:{number}:{key}"));
            args.extend(round.is_multiple_of(2).then(|| "x".to_string()));
        }
        client.call(&args);
    };
    let (mut scans, mut most, mut least) = (0, 0, usize::MAX);
    observe(&server, 3, churn, |client| {
        let (mut seen, mut others, mut cursor) = (BTreeSet::new(), 0, "0".to_string());
        loop {
            let reply = client.ask(&format!("SCAN {cursor} COUNT 50"));
            let keys = reply.items[1].items.iter().map(|item| String::from_utf8_lossy(&item.text).into_owned());
            let (stay, other): (Vec<_>, Vec<_>) = keys.partition(|key| key.starts_with("stay:"));
            seen.extend(stay);
            others += other.len();
            cursor = reply.item(0);
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), STAYING);
        (scans, most, least) = (scans + 1, others.max(most), others.min(least));
    });
    println!("{scans} scans met from {least} to {most} keys that come and go");
    assert!(most > 1000, "the table must change while it is scanned");
    let expired = String::from_utf8_lossy(&client.ask("INFO stats").text).into_owned();
    assert!(!expired.contains("\r\nexpired_keys:0\r\n"), "keys must expire while it is scanned");
}

#[test]
fn messages_of_a_publisher_arrive_in_order() {
    const COUNT: u64 = 5000;
    let server = server();
    let subscribers = ["SUBSCRIBE c", "PSUBSCRIBE c*", "SUBSCRIBE c", "PSUBSCRIBE ?"].map(|line| {
        let mut client = server.client();
        client.ask(line);
        client
    });
    thread::scope(|scope| {
        for mut client in subscribers {
            scope.spawn(move || {
                for round in 0..COUNT {
                    let message = frame::read(&client.reply().unwrap()).unwrap().unwrap().0;
                    assert_eq!(String::from_utf8_lossy(&message.items.last().unwrap().text), round.to_string());
                }
            });
        }
        let mut publisher = server.client();
        for round in 0..COUNT {
            publisher.check(&format!("PUBLISH c {round}"), ":4\r\n");
        }
    });
}

#[test]
fn swapped_databases_are_never_seen_half() {
    let server = server();
    let mut client = server.client();
    client.check("MSET a 0 b 0 c 0 d 0", "+OK\r\n");
    client.check("SELECT 1", "+OK\r\n");
    client.check("MSET a 1 b 1 c 1 d 1", "+OK\r\n");
    let swap = |client: &mut RawClient, _, _| client.check("SWAPDB 0 1", "+OK\r\n");
    observe(&server, 2, swap, |client| {
        let values = texts(&client.call(&["MGET", "a", "b", "c", "d"]));
        assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    });
}

#[test]
fn what_was_published_precedes_the_end_of_a_subscription() {
    let server = server();
    let publish = |client: &mut RawClient, _: usize, _: u64| {
        client.call(&["PUBLISH", "c", "hello"]);
    };
    let mut rounds = 0u64;
    let listen = |client: &mut RawClient| {
        client.ask("SUBSCRIBE c");
        let end = if rounds.is_multiple_of(2) { "UNSUBSCRIBE c" } else { "RESET" };
        rounds += 1;
        client.raw(format!("{end}\r\nECHO over\r\n").as_bytes()).unwrap();
        loop {
            let reply = client.reply().unwrap();
            if reply.starts_with(b"*3\r\n$11\r\nunsubscribe") || reply == b"+RESET\r\n" {
                break;
            }
            assert!(reply.starts_with(b"*3\r\n$7\r\nmessage"), "{}", frame::show(&reply));
        }
        assert_eq!(frame::show(&client.reply().unwrap()), "$4\\r\\nover\\r\\n");
    };
    observe(&server, 3, publish, listen);
    assert!(rounds > 20, "{rounds} rounds");
}
