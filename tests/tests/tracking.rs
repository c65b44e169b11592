//! CLIENT TRACKING: who hears of which change, and where it stands among the replies, compared with a real
//! redis-server.

use std::time::Duration;

use larder_tests::{Compare, TestServer, growth, scenario};

const SCRIPTS_3: &[&str] = &[
    // A key is told once; reading it again asks for it again.
    "w> SET k 1
     a> CLIENT TRACKING ON
     a> GET k
     w> SET k 2
     a<
     w> SET k 3
     a!
     a> MGET k l
     w> DEL k
     a<
     w> SET l 1
     a<
     w> INCR l
     a!",
    // Own changes come behind their reply; in a transaction, behind its reply.
    "a> CLIENT TRACKING ON
     a> GET k
     a> SET k 1
     a<
     a> GET k
     a> MULTI
     a> INCR k
     a> GET k
     a> INCR k
     a> EXEC
     a<
     a<
     a!",
    "a> CLIENT TRACKING ON NOLOOP
     a> GET k
     a> SET k 1
     a!
     a> GET k
     w> SET k 1
     a<",
    // Keys are the same in all databases.
    "a> CLIENT TRACKING ON
     a> GET k
     w> SELECT 3
     w> SET k 1
     a<",
    // Expiry, renaming, flushing.
    "a> CLIENT TRACKING ON
     w> SET k 1 PX 300
     a> GET k
     a<
     a> GET k
     a!",
    "w> MSET k 1 l 2
     a> CLIENT TRACKING ON
     a> MGET k l
     w> RENAME k l
     a<
     a<
     a!",
    "a> CLIENT TRACKING ON
     b> CLIENT TRACKING ON BCAST PREFIX x
     a> GET k
     w> FLUSHALL
     a<
     b<
     w> SET k 1
     a!
     a> FLUSHDB
     a<
     b<",
    // OPTIN and OPTOUT.
    "a> CLIENT TRACKING ON OPTIN
     a> GET k
     w> SET k 1
     a!
     a> CLIENT CACHING YES
     a> GET k
     a> GET l
     w> MSET k 2 l 2
     a<
     a!
     a> CLIENT CACHING NO
     a> CLIENT CACHING YES
     a> MULTI
     a> GET k
     a> GET l
     a> EXEC
     w> SET k 1
     a<
     w> SET l 1
     a<
     a> GET k
     w> SET k 1
     a!",
    "a> CLIENT TRACKING ON OPTOUT
     a> CLIENT CACHING NO
     a> GET k
     w> SET k 1
     a!
     a> GET k
     w> SET k 1
     a<
     a> CLIENT CACHING YES",
    // Broadcasting.
    "a> CLIENT TRACKING ON BCAST PREFIX user: PREFIX item:
     w> SET user:1 1
     a<
     w> MSET item:1 1 other:1 1 user:2 2
     a<
     a<
     a!
     w> SET other:2 2
     a!
     a> SET user:1 5
     a<
     a> CLIENT TRACKINGINFO
     a> CLIENT TRACKING ON BCAST PREFIX us
     a> CLIENT TRACKING ON BCAST PREFIX a PREFIX ab
     a> CLIENT TRACKING ON BCAST PREFIX more
     a> CLIENT TRACKINGINFO
     a> CLIENT TRACKING ON
     a> CLIENT TRACKING OFF
     w> SET user:1 1
     a!",
    "a> CLIENT TRACKING ON BCAST NOLOOP
     a> SET k 1
     a!
     w> SET k 1
     a<
     w> GET k
     a!",
    // Redirection to a client of RESP3.
    "b> PING
     a> CLIENT TRACKING ON REDIRECT {id of b}
     a> GET k
     a> CLIENT TRACKINGINFO
     w> SET k 1
     b<
     a!
     a> GET k
     b.
     w> SET k 2
     a<
     a> CLIENT TRACKINGINFO
     a> CLIENT TRACKING OFF
     a> CLIENT GETREDIR",
    // What ends it.
    "a> CLIENT TRACKING ON
     a> GET k
     a> CLIENT TRACKING OFF
     w> SET k 1
     a!
     a> CLIENT TRACKING ON
     a> GET k
     a> RESET
     w> SET k 1
     a!",
    "a> CLIENT TRACKING ON
     a> EXISTS k
     w> SET k 1
     a<
     a> TTL k
     a> ZRANGE z 0 -1
     w> ZADD z 1 a
     a<
     w> EXPIRE k 100
     a<",
];

const SCRIPTS_2: &[&str] = &[
    "a> CLIENT TRACKING ON
     a> GET k
     w> SET k 1
     a!",
    "b> SUBSCRIBE __redis__:invalidate
     a> CLIENT TRACKING ON REDIRECT {id of b}
     a> GET k
     w> SET k 1
     b<
     a> GET k
     w> FLUSHALL
     b<
     a> CLIENT GETREDIR_X
     b> UNSUBSCRIBE
     a> GET k
     w> SET k 1
     b!",
    "b> SUBSCRIBE __redis__:invalidate
     a> CLIENT TRACKING ON BCAST REDIRECT {id of b} PREFIX k
     w> SET k1 1
     b<
     w> SET j1 1
     b!",
];

#[test]
fn in_resp3() {
    scenario::compare(3, SCRIPTS_3);
}

#[test]
fn in_resp2() {
    scenario::compare(2, SCRIPTS_2);
}

#[test]
fn what_is_remembered_has_a_bound() {
    let server = TestServer::with(&["--tracking-table-max-keys", "100", "--shards", "1"]);
    let (mut reader, mut writer) = (server.client(), server.client());
    reader.ask("HELLO 3");
    reader.check("CLIENT TRACKING ON", "+OK\r\n");
    let mut forgotten = 0;
    for key in 0..150 {
        reader.send(&["GET".to_owned(), format!("k{key}")]).unwrap();
        // A key beyond the bound is told before or behind the reply to the command that went beyond.
        let replies = if key >= 100 { 2 } else { 1 };
        let pushes = (0..replies).filter(|_| reader.reply().unwrap().starts_with(b">2\r\n")).count();
        forgotten += pushes;
    }
    assert_eq!(forgotten, 50);
    let info = String::from_utf8(writer.ask("INFO stats").text).unwrap();
    assert!(info.contains("tracking_total_keys:100\r\n") && info.contains("tracking_total_items:100\r\n"), "{info}");
    writer.check("CONFIG SET tracking-table-max-bytes 1000", "+OK\r\n");
    reader.ask("GET k200");
    reader.ask("GET k201");
    let info = String::from_utf8(writer.ask("INFO stats").text).unwrap();
    let count = info.lines().find_map(|line| line.strip_prefix("tracking_total_keys:")).unwrap();
    assert!(count.parse::<u32>().unwrap() < 20, "{count}");
}

#[test]
fn who_is_gone_is_not_kept_for_the_keys_that_it_read() {
    let server = TestServer::with(&[]);
    server.client().check("SET hot v", "+OK\r\n");
    let name = "n".repeat(1 << 20);
    let mut before = None;
    for round in 0..60 {
        let mut reader = server.client();
        reader.call(&["CLIENT", "SETNAME", &name]);
        reader.ask("HELLO 3");
        reader.check("CLIENT TRACKING ON", "+OK\r\n");
        reader.ask("GET hot");
        drop(reader);
        if round == 10 {
            before = server.resident_bytes();
        }
    }
    let grown = growth(&server, before);
    assert!(grown < 30 << 20, "{grown} bytes more for clients that are gone");
}

#[test]
fn a_bound_that_is_lowered_holds_soon() {
    let server = TestServer::with(&[]);
    let (mut reader, mut admin) = (server.client(), server.client());
    reader.ask("HELLO 3");
    reader.check("CLIENT TRACKING ON", "+OK\r\n");
    (0..250).for_each(|key| drop(reader.call(&["GET", &format!("k{key}")])));
    admin.check("CONFIG SET tracking-table-max-keys 1", "+OK\r\n");
    (0..249).for_each(|_| assert!(reader.reply().unwrap().starts_with(b">2\r\n")));
    assert!(reader.is_silent(Duration::from_millis(50)));
}

#[test]
fn no_stale_value_is_read_after_its_invalidation() {
    let server = TestServer::with(&["--threads", "2"]);
    let (mut reader, mut writer) = (server.client(), server.client());
    reader.ask("HELLO 3");
    reader.check("CLIENT TRACKING ON", "+OK\r\n");
    for round in 0..500 {
        reader.send(&["GET", "k"]).unwrap();
        writer.send(&["SET", "k", &round.to_string()]).unwrap();
        assert_eq!(writer.reply().unwrap(), b"+OK\r\n");
        // The reply is the old value, and then the push follows; or the new one, and none does.
        let value = reader.reply().unwrap();
        let new = format!("${}\r\n{round}\r\n", round.to_string().len()).into_bytes();
        if value != new {
            assert!(reader.reply().unwrap().starts_with(b">2\r\n"));
        } else {
            assert!(round % 50 != 0 || reader.is_silent(Duration::from_millis(5)));
            writer.check("DEL k", ":1\r\n");
            assert!(reader.reply().unwrap().starts_with(b">2\r\n"));
        }
    }
}

#[test]
fn options_are_refused_as_the_peer_does() {
    let Some(mut both) = larder_tests::Both::start() else { return };
    for line in [
        "CLIENT TRACKING",
        "CLIENT TRACKING MAYBE",
        "CLIENT TRACKING ON PREFIX a",
        "CLIENT TRACKING ON BCAST OPTIN",
        "CLIENT TRACKING ON BCAST OPTOUT",
        "CLIENT TRACKING ON OPTIN OPTOUT",
        "CLIENT TRACKING ON REDIRECT 100000",
        "CLIENT TRACKING ON REDIRECT x",
        "CLIENT TRACKING ON REDIRECT",
        "CLIENT TRACKING ON FOO",
        "CLIENT TRACKING ON PREFIX",
        "CLIENT TRACKING ON BCAST PREFIX a PREFIX a",
        "CLIENT TRACKING ON BCAST PREFIX ab PREFIX a",
        "CLIENT CACHING YES",
        "CLIENT CACHING",
        "CLIENT GETREDIR",
        "CLIENT GETREDIR x",
        "CLIENT TRACKINGINFO",
        "CLIENT TRACKINGINFO x",
        "CLIENT TRACKING ON OPTIN",
        "CLIENT CACHING NO",
        "CLIENT CACHING MAYBE",
        "CLIENT TRACKINGINFO",
        "CLIENT CACHING YES",
        "CLIENT TRACKINGINFO",
        "CLIENT TRACKING ON OPTOUT",
        "CLIENT TRACKING ON",
        "CLIENT TRACKINGINFO",
        "CLIENT TRACKING OFF FOO",
        "CLIENT TRACKING OFF",
        "CLIENT TRACKING OFF",
        "CLIENT TRACKINGINFO",
    ] {
        both.command(&larder_tests::words(line), Compare::Exact).unwrap();
    }
}
