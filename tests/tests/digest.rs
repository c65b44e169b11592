//! DEBUG DIGEST and DIGEST-VALUE: the signatures of a real redis-server, for values of every type and form.

use larder_tests::client::{encode, line};
use larder_tests::random::Random;
use larder_tests::{Both, RawClient, TestServer, grammar};

/// Commands of one round.
const COMMANDS: usize = 2_000;
const ROUNDS: usize = 20;

fn text(client: &mut RawClient, command: &str) -> String {
    String::from_utf8(client.ask(command).text).unwrap()
}

/// The signatures of keys.
fn signatures(client: &mut RawClient, keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let words = [b"DEBUG".to_vec(), b"DIGEST-VALUE".to_vec()].into_iter().chain(keys.iter().cloned());
    client.send(&words.collect::<Vec<_>>()).unwrap();
    let reply = client.reply().unwrap();
    reply.split(|byte| *byte == b'\n').skip(1).map(<[u8]>::to_vec).collect()
}

/// Whether every score is written alike by 7.4 and by the 17 digits of older versions.
fn has_plain_scores(client: &mut RawClient, key: &[u8]) -> bool {
    client.send(&[b"ZRANGE".as_slice(), key, b"0", b"-1", b"WITHSCORES"]).unwrap();
    let (reply, _) = larder_tests::frame::read(&client.reply().unwrap()).unwrap().unwrap();
    reply.items.iter().skip(1).step_by(2).all(|score| score.text.len() < 8)
}

#[test]
fn random_data_has_the_signatures_of_redis() {
    let Some(both) = Both::with(&["--enable-debug-command", "yes"]) else { return };
    let mut random = Random::from_environment();
    let mut compared = 0;
    for _ in 0..ROUNDS {
        let (mut subject, mut peer) = both.open();
        for client in [&mut subject, &mut peer] {
            client.check("DEBUG SET-ACTIVE-EXPIRE 0", "+OK\r\n");
        }
        let mut lines = Vec::new();
        for _ in 0..COMMANDS {
            let (args, _) = grammar::command(&mut random);
            let mut bytes = Vec::new();
            encode(&args, &mut bytes);
            let replies = [&mut subject, &mut peer].map(|client| {
                client.raw(&bytes).unwrap();
                client.reply().unwrap()
            });
            drop(replies);
            lines.push(line(&args));
        }
        for client in [&mut subject, &mut peer] {
            client.call(&["DISCARD"]);
            client.call(&["SELECT", "0"]);
        }
        let mut keys: Vec<Vec<u8>> = peer.ask("KEYS *").items.into_iter().map(|key| key.text).collect();
        if !both.is_exact() {
            keys.retain(|key| {
                peer.send(&[b"TYPE".as_slice(), key]).unwrap();
                peer.reply().unwrap() != b"+zset\r\n" || has_plain_scores(&mut peer, key)
            });
        }
        let (left, right) = (signatures(&mut subject, &keys), signatures(&mut peer, &keys));
        for (at, key) in keys.iter().enumerate() {
            let key = String::from_utf8_lossy(key);
            let about: Vec<_> = lines.iter().filter(|line| line.contains(&*key)).cloned().collect();
            assert_eq!(left[at], right[at], "{key} after\n    {}", about.join("\n    "));
        }
        compared += keys.len();
    }
    assert!(compared > ROUNDS * 5, "{compared} keys");
}

/// What makes values of each type, small and large.
const VALUES: &[&str] = &[
    "SET int 12345",
    "SET text hello",
    "SET empty \"\"",
    "SET expiring v EX 10000",
    "SETRANGE long 100000 x",
    "RPUSH list a 1 b 2 -77777777777 \"\"",
    "SADD ints 3 1 2 -5",
    "SADD packed a b 1",
    "ZADD zset 1 a 2.5 b -3 c inf d",
    "HSET hash f v g 1 \"\" \"\"",
    "XADD stream 1-1 f v g 2",
    "XADD stream 1-5 f v2 g 3",
    "XADD stream 7-0 other field",
    "XDEL stream 1-5",
    "XGROUP CREATE stream g 0",
];

fn fill(client: &mut RawClient) {
    for command in VALUES {
        assert!(!client.call(&larder_tests::words(command)).starts_with(b"-"), "{command}");
    }
    for number in 0..2000 {
        let (name, number) = (format!("member:{number}"), number.to_string());
        client.call(&["RPUSH", "list:large", &name]);
        client.call(&["SADD", "ints:large", &number]);
        client.call(&["SADD", "set:large", &name]);
        client.call(&["ZADD", "zset:large", &number, &name]);
        client.call(&["HSET", "hash:large", &name, &number]);
        client.call(&["XADD", "stream:large", &format!("{}-1", 1 + number.len()), "f", &name]);
    }
}

#[test]
fn whole_databases_have_the_signature_of_redis() {
    let Some(both) = Both::with(&["--enable-debug-command", "yes"]) else { return };
    let (mut subject, mut peer) = both.open();
    let mut seen = Vec::new();
    for db in ["0", "3", "15"] {
        for client in [&mut subject, &mut peer] {
            client.call(&["SELECT", db]);
            fill(client);
        }
        let [left, right] = [&mut subject, &mut peer].map(|client| text(client, "DEBUG DIGEST"));
        assert_eq!(left, right, "with database {db}");
        seen.push(left);
    }
    assert!(seen[0] != seen[1] && seen[1] != seen[2]);
    for client in [&mut subject, &mut peer] {
        client.call(&["FLUSHALL"]);
        assert_eq!(text(client, "DEBUG DIGEST"), "0".repeat(40));
    }
}

#[test]
fn signatures_tell_what_differs() {
    let server = TestServer::with(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    fill(&mut client);
    let before = text(&mut client, "DEBUG DIGEST");
    for (change, back) in [
        ("RPUSH list x", "RPOP list"),
        ("SADD packed x", "SREM packed x"),
        ("ZADD zset 9 a", "ZADD zset 1 a"),
        ("HSET hash f w", "HSET hash f v"),
        ("PERSIST expiring", "EXPIRE expiring 10000"),
        ("HEXPIRE hash 10000 FIELDS 1 f", "HPERSIST hash FIELDS 1 f"),
        ("RENAME int other", "RENAME other int"),
        ("MOVE int 5", "COPY expiring expiring REPLACE"),
    ] {
        client.call(&larder_tests::words(change));
        assert_ne!(text(&mut client, "DEBUG DIGEST"), before, "{change}");
        client.call(&larder_tests::words(back));
        if !change.starts_with("MOVE") {
            assert_eq!(text(&mut client, "DEBUG DIGEST"), before, "{back}");
        }
    }
}
