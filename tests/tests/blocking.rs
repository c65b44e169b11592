//! Commands that wait for a key: who is served, when, and by what, compared with a real redis-server.

use std::thread;
use std::time::{Duration, Instant};

use larder_tests::{RawClient, TestServer, scenario, soon};

/// What all commands have in common that wait, shown with sorted sets.
const SCRIPTS: &[&str] = &[
    "a~ BZPOPMIN z 0
     b~ BZPOPMAX z 0
     w> ZADD z 1 one
     a<
     b!
     w> ZADD z 2 two 3 three
     b<
     w> ZRANGE z 0 -1",
    // A script serves whoever waits when it has ended.
    "a~ BLPOP q 0
     b~ BLMOVE q r LEFT LEFT 0
     w> EVAL \"redis.call('RPUSH','q','a','b','c') return redis.call('LRANGE','q',0,-1)\" 0
     a<
     b<
     w> LRANGE q 0 -1
     w> LRANGE r 0 -1",
    // One write serves several, in order of arrival.
    "a~ BZPOPMIN y z 0
     b~ BZPOPMIN z y 0
     c~ BZMPOP 0 2 y z MAX COUNT 2
     w> ZADD z 1 a 2 b 3 c 4 d 5 e
     a<
     b<
     c<
     w> ZRANGE z 0 -1 WITHSCORES",
    // A transaction is whole before anybody is served.
    "a~ BZPOPMIN z 0
     w> MULTI
     w> ZADD z 1 z
     w> DEL z
     w> EXEC
     a!
     w> ZADD z 2 y
     a<",
    // What has another type does not serve.
    "a~ BZPOPMIN z 0
     w> SET z 1
     a!
     w> DEL z
     w> ZADD z 1 m
     a<",
    "w> SET z 1
     a> BZPOPMIN z 0",
    // Renaming, copying, moving and swapping make a key ready, too.
    "a~ BZPOPMIN z 0
     w> ZADD y 1 m
     w> RENAME y z
     a<
     w> EXISTS y z",
    "a~ BZPOPMIN z 0
     w> ZADD y 1 m
     w> COPY y z
     a<
     w> EXISTS y z",
    "a> SELECT 1
     a~ BZPOPMIN z 0
     w> ZADD z 1 m
     a!
     w> MOVE z 1
     a<",
    "a> SELECT 1
     a~ BZPOPMIN z 0
     w> ZADD z 1 m
     w> SWAPDB 0 1
     a<",
    "a~ BZPOPMIN z 0
     w> ZADD a 1 x 2 y
     w> ZRANGESTORE z a 0 -1
     a<",
    // Time limits, and CLIENT UNBLOCK.
    "a> BZPOPMIN z 0.01
     a> BZMPOP 0.01 1 z MIN
     a> PING",
    "a~ BZPOPMIN z 0
     w> CLIENT UNBLOCK {id of a}
     a<
     w> CLIENT UNBLOCK {id of a}
     a~ BZPOPMIN z 0
     w> CLIENT UNBLOCK {id of a} ERROR
     a<
     a> PING
     w> ZADD z 1 m
     a> BZPOPMIN z 0",
    // Nobody waits in a transaction.
    "a> MULTI
     a> BZPOPMIN z 0
     a> BZMPOP 0 1 z MIN
     a> CLIENT UNBLOCK 1
     a> EXEC",
    // Whoever is gone is passed over.
    "a~ BZPOPMIN z 0
     b~ BZPOPMIN z 0
     a.
     w> ZADD z 1 m
     b<",
    "a~ BZPOPMIN z 0
     b~ BZPOPMIN z 0
     w> CLIENT KILL ID {id of a}
     w> ZADD z 1 m
     b<",
    // The same key twice.
    "a~ BZPOPMIN z z 0
     w> ZADD z 1 m 2 n
     a<
     w> DEL z
     a~ BZPOPMIN y z y 0
     w> ZADD y 1 m 2 n
     a<
     w> ZRANGE y 0 -1",
];

/// What only lists can do.
const LISTS: &[&str] = &[
    "a~ BLPOP l 0
     b~ BRPOP m l 0
     c~ BLMPOP 0 2 m l RIGHT COUNT 2
     w> RPUSH l 1 2 3 4 5
     a<
     b<
     c<
     w> LRANGE l 0 -1",
    // The whole command comes first.
    "a~ BLPOP l 0
     w> LPUSH l 1 2 3
     a<
     w> LRANGE l 0 -1",
    // An element that somebody moves wakes the next one, and so on.
    "a~ BLMOVE a b LEFT RIGHT 0
     b~ BRPOPLPUSH b c 0
     c~ BLPOP c 0
     w> RPUSH a 1
     a<
     b<
     c<
     w> EXISTS a b c",
    "a~ BLMOVE a a LEFT RIGHT 0
     w> RPUSH a 1 2 3
     a<
     w> LRANGE a 0 -1",
    // Two that hand one element to each other.
    "a~ BRPOPLPUSH a b 0
     b~ BRPOPLPUSH b a 0
     w> RPUSH a 1
     a<
     b<
     w> LRANGE a 0 -1
     w> EXISTS b",
    // Where it cannot go, the element stays, and the next one is served.
    "w> SET b text
     a~ BLMOVE a b LEFT LEFT 0
     c~ BLPOP a 0
     w> RPUSH a 1
     a<
     c<
     w> GET b",
    "a~ BRPOPLPUSH a b 0
     w> RPUSH b x
     a!
     w> LPUSH a 1
     a<
     w> LRANGE b 0 -1",
    // Time limits.
    "a> BLPOP l 0.01
     a> BLMOVE l m LEFT LEFT 0.01
     a> BRPOPLPUSH l m 0.01
     a> BLMPOP 0.01 1 l LEFT
     a> PING",
    // Other types under the same key.
    "a~ BLPOP k 0
     b~ BZPOPMIN k 0
     w> ZADD k 1 m
     b<
     a!
     w> RPUSH k 1
     a<
     w> EXISTS k",
    "a~ BLMOVE a b LEFT RIGHT 0
     w> MULTI
     w> RPUSH a 1
     w> SET b text
     w> EXEC
     a<
     w> LRANGE a 0 -1",
    "a~ BLPOP l 0
     w> RPUSH m 1 2
     w> LMOVE m l LEFT LEFT
     a<
     w> EXISTS l",
    "a~ BLPOP l 0
     b~ BLPOP l 0
     w> RPUSH m 1 2
     w> RENAME m l
     a<
     b<
     w> EXISTS l m",
];

#[test]
fn in_resp2() {
    scenario::compare(2, SCRIPTS);
    scenario::compare(2, LISTS);
}

#[test]
fn in_resp3() {
    scenario::compare(3, SCRIPTS);
    scenario::compare(3, LISTS);
}

#[test]
fn several_keys_are_taken_in_the_order_of_the_command() {
    // Redis does so since 7.2; 7.0 takes the one that was ready first.
    let script = "a~ BZPOPMIN y z 0
        w> MULTI
        w> ZADD z 1 z
        w> ZADD y 1 y
        w> EXEC
        a<";
    let read = scenario::run(&TestServer::start(), 2, script);
    assert_eq!(read.last().map(String::as_str), Some("a< *3\\r\\n$1\\r\\ny\\r\\n$1\\r\\ny\\r\\n$1\\r\\n1\\r\\n"));
}

#[test]
fn commands_behind_one_that_waits_run_after_it_in_order() {
    let server = TestServer::start();
    let (mut waiter, mut writer) = (server.client(), server.client());
    waiter.raw(b"SET n 1\r\nBZPOPMIN z 0\r\nINCR n\r\nBZPOPMIN z 0\r\nINCR n\r\n").unwrap();
    assert_eq!(waiter.reply().unwrap(), b"+OK\r\n");
    waiter.raw(b"INCR n\r\n").unwrap();
    assert!(waiter.is_silent(Duration::from_millis(50)));
    writer.check("GET n", "$1\r\n1\r\n");
    writer.check("ZADD z 1 a", ":1\r\n");
    assert_eq!(waiter.reply().unwrap(), b"*3\r\n$1\r\nz\r\n$1\r\na\r\n$1\r\n1\r\n");
    assert_eq!(waiter.reply().unwrap(), b":2\r\n");
    writer.check("ZADD z 2 b", ":1\r\n");
    assert_eq!(waiter.reply().unwrap(), b"*3\r\n$1\r\nz\r\n$1\r\nb\r\n$1\r\n2\r\n");
    assert_eq!(waiter.reply().unwrap(), b":3\r\n");
    assert_eq!(waiter.reply().unwrap(), b":4\r\n");
}

#[test]
fn every_element_goes_to_one_client_and_the_order_of_each_writer_is_kept() {
    const WRITERS: usize = 3;
    const ELEMENTS: usize = 2000;
    let server = TestServer::with(&["--threads", "4"]);
    let taken: Vec<(usize, usize)> = thread::scope(|scope| {
        let takers: Vec<_> = (0..4)
            .map(|number| {
                let mut client = server.client();
                scope.spawn(move || {
                    let mut taken = Vec::new();
                    // Different keys first, so that every taker needs the shards of all.
                    let keys = (0..WRITERS).map(|key| format!("z{}", (key + number) % WRITERS)).collect::<Vec<_>>();
                    loop {
                        let reply = client.ask(&format!("BZPOPMIN {} end 0", keys.join(" ")));
                        let text = |at: usize| String::from_utf8(reply.items[at].text.clone()).unwrap();
                        if text(0) == "end" {
                            return taken;
                        }
                        taken.push((text(0)[1..].parse().unwrap(), text(1).parse().unwrap()));
                    }
                })
            })
            .collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|key| {
                let mut client = server.client();
                scope.spawn(move || {
                    for element in 0..ELEMENTS {
                        client.ask(&format!("ZADD z{key} {element} {element}"));
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let mut control = server.client();
        while (0..WRITERS).any(|key| control.ask(&format!("EXISTS z{key}")).text == b"1") {}
        // One for each taker, each of which ends with the first that it gets.
        (0..4).for_each(|number| {
            control.ask(&format!("ZADD end {number} {number}"));
        });
        takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
    });
    let mut sorted = taken;
    sorted.sort_unstable();
    let all: Vec<_> = (0..WRITERS).flat_map(|key| (0..ELEMENTS).map(move |element| (key, element))).collect();
    assert_eq!(sorted, all);
}

#[test]
fn a_time_limit_is_kept_to_the_millisecond_or_so() {
    let server = TestServer::start();
    let mut client = server.client();
    let started = Instant::now();
    client.check("BZPOPMIN z 0.15", "*-1\r\n");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(150), "{took:?}");
}

/// What a writer does for those who wait must not grow with the number of their keys by that of the others: the time of
/// this test would be minutes.
#[test]
fn many_clients_wait_for_many_keys_together() {
    const CLIENTS: usize = 200;
    let server = TestServer::with(&["--threads", "2"]);
    let queues: Vec<String> = (0..100).map(|number| format!("queue:{number}")).collect();
    let call = [&["BRPOP".to_owned()][..], &queues, &["0".to_owned()]].concat();
    let mut workers: Vec<RawClient> = (0..CLIENTS).map(|_| server.client()).collect();
    workers.iter_mut().for_each(|worker| worker.send(&call).unwrap());
    let mut writer = server.client();
    soon("all wait", || {
        let info = String::from_utf8(writer.ask("INFO clients").text).unwrap();
        info.contains(&format!("blocked_clients:{CLIENTS}\r\n"))
    });
    for number in 0..CLIENTS {
        writer.call(&["LPUSH", &queues[number % queues.len()], &number.to_string()]);
    }
    let mut served: Vec<usize> = workers
        .iter_mut()
        .map(|worker| {
            let reply = worker.reply().unwrap();
            String::from_utf8_lossy(&reply).lines().last().unwrap().parse().unwrap()
        })
        .collect();
    served.sort_unstable();
    assert!(served.into_iter().eq(0..CLIENTS));
}

/// The keys of one call are told apart in linear time.
#[test]
fn one_client_waits_for_very_many_keys() {
    let server = TestServer::with(&[]);
    let keys: Vec<String> = (0..200_000).map(|number| format!("k{number}")).collect();
    let (mut waiter, mut writer) = (server.client(), server.client());
    waiter.send(&[&["BLPOP".to_owned()][..], &keys, &["0".to_owned()]].concat()).unwrap();
    soon("it waits", || writer.ask("INFO clients").text.windows(17).any(|text| text == b"blocked_clients:1"));
    writer.check("RPUSH k199999 x", ":1\r\n");
    assert_eq!(waiter.reply().unwrap(), b"*2\r\n$7\r\nk199999\r\n$1\r\nx\r\n");
}
