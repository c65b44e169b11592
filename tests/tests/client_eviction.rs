//! `maxmemory-clients`: the largest clients are closed while all together take too much, whatever it is that they take.

use larder_tests::client::encode;
use larder_tests::{RawClient, ServerProcess, TestServer, soon};

const MIB: usize = 1 << 20;

/// One thread, so that an answer tells that what was sent before on another connection has been read.
fn start(options: &[&str]) -> (ServerProcess, RawClient) {
    let server = TestServer::with(&[&["--threads", "1"], options].concat());
    let mut control = server.client();
    control.check("CLIENT NO-EVICT on", "+OK\r\n");
    (server, control)
}

/// The lines of CLIENT LIST.
fn list(control: &mut RawClient) -> Vec<String> {
    let reply = String::from_utf8(control.call(&["CLIENT", "LIST"])).unwrap();
    reply.lines().filter(|line| line.starts_with("id=")).map(str::to_owned).collect()
}

fn field(line: &str, name: &str) -> usize {
    line.split(' ').find_map(|word| word.strip_prefix(&format!("{name}="))).unwrap().parse().unwrap()
}

fn named(control: &mut RawClient, name: &str) -> Vec<String> {
    list(control).into_iter().filter(|line| line.contains(&format!(" name={name} "))).collect()
}

fn evicted(control: &mut RawClient) -> u64 {
    let info = String::from_utf8(control.call(&["INFO", "stats"])).unwrap();
    info.lines().find_map(|line| line.strip_prefix("evicted_clients:")).unwrap().parse().unwrap()
}

/// A client of this name that has sent part of a command.
fn with_part(server: &ServerProcess, name: &str, bytes: usize) -> RawClient {
    let mut client = server.client();
    client.call(&["CLIENT", "SETNAME", name]);
    client.raw(format!("*2\r\n${bytes}\r\n").as_bytes()).unwrap();
    client.raw(&vec![b'v'; bytes]).unwrap();
    client
}

#[test]
fn the_largest_go_first_and_no_more_than_is_needed() {
    let (server, mut control) = start(&[]);
    let sizes = [("small", 200 << 10), ("middle", MIB), ("large", 3 * MIB)];
    let clients: Vec<_> = (0..9).map(|number| with_part(&server, sizes[number / 3].0, sizes[number / 3].1)).collect();
    let mut all = 0;
    for (name, size) in sizes {
        soon("all of it is read", || named(&mut control, name).iter().all(|line| field(line, "qbuf") == size));
        all += named(&mut control, name).iter().map(|line| field(line, "tot-mem")).sum::<usize>();
    }
    for (gone, (_, size)) in sizes.iter().rev().enumerate() {
        // A little below what there is: one of the largest must go. Far enough below: all of them.
        for (bytes, left) in [(all - size / 2, 2), (all - 5 * size / 2, 0)] {
            control.check(&format!("CONFIG SET maxmemory-clients {bytes}"), "+OK\r\n");
            let counts = sizes.map(|(name, _)| named(&mut control, name).len());
            let expected = [0, 1, 2].map(|at| {
                if at < 2 - gone {
                    3
                } else if at == 2 - gone {
                    left
                } else {
                    0
                }
            });
            assert_eq!(counts, expected, "at {bytes} bytes");
        }
        all -= 3 * size;
    }
    assert_eq!(evicted(&mut control), 9);
    control.check("CONFIG RESETSTAT", "+OK\r\n");
    assert_eq!(evicted(&mut control), 0);
    drop(clients);
}

#[test]
fn who_must_not_be_closed_is_spared_until_that_is_taken_back() {
    let (server, mut control) = start(&["--maxmemory-clients", "1mb"]);
    let mut spared = server.client();
    spared.call(&["CLIENT", "SETNAME", "spared"]);
    spared.call(&["CLIENT", "NO-EVICT", "on"]);
    spared.call(&[b"SET".as_slice(), b"k", &vec![b'v'; 2 * MIB]]);
    let mut other = with_part(&server, "other", MIB / 2);
    soon("it is read", || named(&mut control, "other").iter().all(|line| field(line, "qbuf") == MIB / 2));
    spared.raw(b"*2\r\n$2097152\r\n").unwrap();
    spared.raw(&vec![b'v'; 2 * MIB]).unwrap();
    soon("the other goes in its place", || named(&mut control, "other").is_empty());
    assert!(other.rest().unwrap().is_empty());
    assert_eq!((named(&mut control, "spared").len(), evicted(&mut control)), (1, 1));
    spared.raw(b"\r\n$1\r\nx\r\n").unwrap();
    assert!(spared.reply().unwrap().starts_with(b"-ERR unknown command"));
    spared.call(&["CLIENT", "NO-EVICT", "off"]);
    spared.raw(b"*2\r\n$2097152\r\n").unwrap();
    // It may be closed before all of it is sent.
    drop(spared.raw(&vec![b'v'; 2 * MIB]));
    soon("it goes", || named(&mut control, "spared").is_empty());
    assert_eq!(evicted(&mut control), 2);
}

#[test]
fn a_command_beyond_the_limit_is_not_run() {
    let (server, mut control) = start(&["--maxmemory-clients", "1mb"]);
    let mut client = server.client();
    assert_eq!(client.call(&[b"SET".as_slice(), b"k", &vec![b'v'; MIB / 2]]), b"+OK\r\n");
    drop(client.send(&[b"SET".as_slice(), b"k2", &vec![b'v'; 2 * MIB]]));
    soon("it goes", || evicted(&mut control) == 1);
    control.check("EXISTS k k2", ":1\r\n");
}

#[test]
fn a_share_of_maxmemory_is_a_limit() {
    let (server, mut control) = start(&["--maxmemory-clients", "10%"]);
    let kept = with_part(&server, "kept", MIB);
    soon("no limit of the data is none", || named(&mut control, "kept").iter().all(|line| field(line, "qbuf") == MIB));
    control.check("CONFIG SET maxmemory 20mb", "+OK\r\n");
    assert_eq!(named(&mut control, "kept").len(), 1);
    control.check("CONFIG SET maxmemory 9mb", "+OK\r\n");
    assert!(named(&mut control, "kept").is_empty());
    drop(kept);
}

/// Sends commands, each made from a number, until the client is closed; gives how many were answered.
fn until_closed(server: &ServerProcess, command: impl Fn(usize) -> Vec<String>) -> usize {
    const MOST: usize = 20_000;
    let mut client = server.client();
    (0..MOST)
        .find(|number| client.send(&command(*number)).is_err() || client.reply().is_err())
        .expect("nobody closed the client")
}

#[test]
fn names_that_are_kept_for_a_client_count() {
    let (server, mut control) = start(&["--maxmemory-clients", "200000"]);
    let word = |word: &str| word.to_owned();
    for (count, name) in ["WATCH", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"].into_iter().enumerate() {
        let answered = until_closed(&server, |number| vec![word(name), number.to_string()]);
        assert!((300..3000).contains(&answered), "{name}: {answered}");
        soon("it counts as evicted", || evicted(&mut control) == count as u64 + 1);
    }
    let track =
        |number| ["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX"].map(word).into_iter().chain([format!("{number:09}")]);
    let answered = until_closed(&server, |number| track(number).collect());
    assert!((300..3000).contains(&answered), "prefixes: {answered}");
    // What is queued counts, and no more once it has run.
    let value = "v".repeat(10_000);
    let mut client = server.client();
    for _ in 0..5 {
        client.check("MULTI", "+OK\r\n");
        (0..10).for_each(|_| drop(client.call(&["SET", "k", &value])));
        assert_eq!(client.call(&["EXEC"]), [b"*10\r\n".as_slice(), &b"+OK\r\n".repeat(10)].concat());
    }
    client.check("MULTI", "+OK\r\n");
    let queued = (0..100).find(|_| client.send(&["SET", "k", &value]).is_err() || client.reply().is_err());
    assert!((17..25).contains(&queued.unwrap()), "{queued:?}");
}

#[test]
fn answers_that_nobody_reads_count() {
    let (server, mut control) = start(&["--maxmemory-clients", "8mb"]);
    control.call(&[b"SET".as_slice(), b"k", &vec![b'v'; MIB]]);
    let mut client = server.client();
    client.call(&["CLIENT", "SETNAME", "idle"]);
    let mut request = Vec::new();
    encode(&["GET", "k"], &mut request);
    // The system takes some megabytes for itself.
    soon("it goes", || {
        drop(client.raw(&request));
        named(&mut control, "idle").iter().all(|line| field(line, "tot-mem") < 8 * MIB) && evicted(&mut control) == 1
    });
    assert!(named(&mut control, "idle").is_empty());
}
