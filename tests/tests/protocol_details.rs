//! Details of the protocol that clients depend on, beside a real redis-server where that has them.

use larder_tests::{Both, RawClient, ServerProcess, TestServer, soon, words};
use std::time::{Duration, Instant};

/// What each server answers to a script of lines, each as `connection> command`.
fn answers(server: &ServerProcess, script: &[&str]) -> Vec<String> {
    let mut clients: Vec<(char, RawClient)> = Vec::new();
    script
        .iter()
        .map(|line| {
            let (name, command) = (line.chars().next().unwrap(), &line[3..]);
            if !clients.iter().any(|(known, _)| *known == name) {
                clients.push((name, server.client()));
            }
            let (_, client) = clients.iter_mut().find(|(known, _)| *known == name).unwrap();
            format!("{line} => {}", String::from_utf8_lossy(&client.call(&words(command))))
        })
        .collect()
}

fn same(both: &Both, script: &[&str]) {
    let [left, right] = [&both.subject, &both.peer].map(|server| answers(server, script));
    // The newer version names one more word of HELLO.
    let plain = |answer: &String| answer.replace("HELLO <proto> AUTH", "HELLO AUTH");
    for (left, right) in left.iter().zip(&right) {
        assert_eq!(plain(left), plain(right));
    }
}

#[test]
fn a_password_is_given_in_every_way() {
    let Some(both) = Both::with(&["--requirepass", "secret"]) else { return };
    same(
        &both,
        &[
            "a> PING",
            "a> HELLO 2 SETNAME early",
            "a> HELLO 2 AUTH default wrong SETNAME early",
            "a> HELLO 2 SETNAME early AUTH default wrong",
            "a> HELLO 4 AUTH default secret",
            "a> PING",
            "a> HELLO 2 AUTH secret",
            "a> HELLO 2 SETNAME \"a b\" AUTH default secret",
            "c> HELLO 2 AUTH nobody secret",
            "c> AUTH default anything",
            "c> AUTH secret",
            "c> CLIENT GETNAME",
            "c> CONFIG SET requirepass \"\"",
            "c> AUTH default anything",
            "c> AUTH default \"\"",
            "c> AUTH nobody anything",
            "c> AUTH anything",
        ],
    );
}

#[test]
fn hello_names_and_admits_in_any_order() {
    let server = TestServer::with(&["--requirepass", "secret"]);
    for line in [
        "HELLO 3 AUTH default secret SETNAME me",
        "HELLO 3 SETNAME me AUTH default secret",
        "hello 3 setname me auth default secret",
    ] {
        let mut client = server.client();
        assert!(client.call(&words(line)).starts_with(b"%7\r\n"), "{line}");
        client.check("CLIENT GETNAME", "$2\r\nme\r\n");
        client.check("GET missing", "_\r\n");
    }
}

#[test]
fn subcommands_that_do_not_exist_are_unknown() {
    let server = TestServer::start();
    let mut client = server.client();
    client.check(
        "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip",
        "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n",
    );
    client.check("PING", "+PONG\r\n");
}

#[test]
fn reset_takes_back_every_state() {
    let server = TestServer::start();
    let (mut client, mut other) = (server.client(), server.client());
    let id = client.ask("CLIENT ID").text;
    let id = String::from_utf8(id).unwrap();
    let plain = |other: &mut RawClient| {
        let line = String::from_utf8(other.ask(&format!("CLIENT LIST ID {id}")).text).unwrap();
        let kept = ["name=", "flags=", "db=", "sub=", "psub=", "ssub=", "multi=", "watch=", "redir=", "resp=", "user="];
        line.split_whitespace()
            .filter(|word| kept.iter().any(|name| word.starts_with(name)))
            .collect::<Vec<_>>()
            .join(" ")
    };
    client.check("PING", "+PONG\r\n");
    let before = plain(&mut other);
    other.check("ACL SETUSER somebody on nopass ~* &* +@all", "+OK\r\n");
    for state in [
        "CLIENT SETNAME me",
        "SELECT 5",
        "CLIENT NO-EVICT on",
        "CLIENT NO-TOUCH on",
        "CLIENT TRACKING on",
        "WATCH k",
        "MULTI",
        "HELLO 3",
        "AUTH somebody x",
        "SUBSCRIBE c",
        "PSUBSCRIBE p*",
        "SSUBSCRIBE s",
        "MONITOR",
    ] {
        client.call(&words(state));
        soon(state, || plain(&mut other) != before);
        client.send(&["RESET"]).unwrap();
        while client.reply().unwrap() != b"+RESET\r\n" {}
        client.check("PING", "+PONG\r\n");
        assert_eq!(plain(&mut other), before, "{state}");
    }
    // Off is silent, and RESET is answered.
    client.raw(b"CLIENT REPLY OFF\r\nPING\r\nRESET\r\nPING\r\n").unwrap();
    assert_eq!((client.reply().unwrap(), client.reply().unwrap()), (b"+RESET\r\n".to_vec(), b"+PONG\r\n".to_vec()));
}

#[test]
fn transactions_take_commands_of_administration() {
    let Some(both) = Both::start() else { return };
    same(
        &both,
        &[
            "a> MULTI",
            "a> CONFIG SET maxmemory-samples 7",
            "a> CONFIG GET maxmemory-samples",
            "a> CLIENT SETNAME inside",
            "a> CLIENT GETNAME",
            "a> CLIENT REPLY ON",
            "a> SELECT 3",
            "a> SET k v",
            "a> FLUSHDB",
            "a> DBSIZE",
            "a> SLOWLOG LEN",
            "a> ACL WHOAMI",
            "a> CLIENT UNPAUSE",
            "a> CONFIG RESETSTAT",
            "a> SUBSCRIBE c",
            "a> UNSUBSCRIBE c",
            "a> MONITOR",
            "a> SHUTDOWN ABORT",
            "a> EXEC",
            "a> DISCARD",
            "a> MULTI",
            "a> CONFIG SET maxmemory-samples x",
            "a> INCR k",
            "a> CLIENT KILL ID 99999999",
            "a> EXEC",
        ],
    );
}

/// Clients of which each filter chooses some.
fn crowd(server: &ServerProcess) -> (RawClient, Vec<RawClient>) {
    let mut admin = server.client();
    admin.check("ACL SETUSER alice on nopass ~* &* +@all", "+OK\r\n");
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    clients[0].check("CLIENT SETNAME zero", "+OK\r\n");
    clients[1].call(&["SUBSCRIBE", "c"]);
    clients[2].check("AUTH alice x", "+OK\r\n");
    clients[3].check("CLIENT SETNAME three", "+OK\r\n");
    (admin, clients)
}

/// The value of a field in a client's own line.
fn own(client: &mut RawClient, name: &str) -> String {
    let line = String::from_utf8(client.ask("CLIENT INFO").text).unwrap();
    line.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}="))).unwrap().to_owned()
}

#[test]
fn every_filter_of_client_kill_chooses() {
    let server = TestServer::start();
    for (filter, gone) in [
        ("USER alice", vec![2]),
        ("USER default", vec![0, 1, 3]),
        ("USER alice TYPE pubsub", vec![]),
        ("TYPE pubsub", vec![1]),
        ("TYPE normal USER default", vec![0, 3]),
        ("ID {id0}", vec![0]),
        ("ID {id0} ID {id3}", vec![3]),
        ("ADDR {addr3}", vec![3]),
        ("ADDR {addr3} USER alice", vec![]),
        ("LADDR {laddr} SKIPME yes", vec![0, 1, 2, 3]),
        ("LADDR {laddr} TYPE pubsub", vec![1]),
        ("MAXAGE 1000", vec![]),
        ("id {id0} skipme NO", vec![0]),
    ] {
        let (mut admin, mut clients) = crowd(&server);
        let (id0, id3) = (own(&mut clients[0], "id"), own(&mut clients[3], "id"));
        let (addr3, laddr) = (own(&mut clients[3], "addr"), own(&mut clients[3], "laddr"));
        let filter = [("{id0}", id0), ("{id3}", id3), ("{addr3}", addr3), ("{laddr}", laddr)]
            .iter()
            .fold(filter.to_owned(), |filter, (name, value)| filter.replace(name, value));
        admin.check(&format!("CLIENT KILL {filter}"), &format!(":{}\r\n", gone.len()));
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&["PING"]).ok();
            assert_eq!(client.reply().is_err(), gone.contains(&number), "{number} after {filter}");
        }
        admin.check("CLIENT KILL TYPE pubsub", if gone.contains(&1) { ":0\r\n" } else { ":1\r\n" });
        admin.check("PING", "+PONG\r\n");
        drop(clients);
        soon("they are gone", || admin.ask("CLIENT LIST").text.iter().filter(|byte| **byte == b'\n').count() == 1);
    }
}

#[test]
fn old_clients_are_killed_by_age() {
    let server = TestServer::start();
    let mut old = server.client();
    old.check("PING", "+PONG\r\n");
    std::thread::sleep(Duration::from_millis(2100));
    let (mut admin, mut young) = (server.client(), server.client());
    young.check("PING", "+PONG\r\n");
    admin.check("CLIENT KILL MAXAGE 2", ":1\r\n");
    assert!(old.rest().unwrap().is_empty());
    young.check("PING", "+PONG\r\n");
}

#[test]
fn pauses_hold_what_they_say() {
    let server = TestServer::start();
    let (mut admin, mut reader, mut blocked) = (server.client(), server.client(), server.client());
    admin.check("SET gone v PX 50", "+OK\r\n");
    blocked.send(&["BLPOP", "list", "0.2"]).unwrap();
    soon("it waits", || admin.ask("INFO clients").text.windows(17).any(|text| text == b"blocked_clients:1"));
    let started = Instant::now();
    admin.check("CLIENT PAUSE 600 WRITE", "+OK\r\n");
    std::thread::sleep(Duration::from_millis(100));
    reader.check("GET gone", "$-1\r\n");
    reader.check("PING", "+PONG\r\n");
    reader.raw(b"PUBLISH c m\r\n").unwrap();
    assert!(reader.is_silent(Duration::from_millis(50)));
    // A wait that was begun before ends when the pause does.
    assert_eq!(blocked.reply().unwrap(), b"*-1\r\n");
    assert_eq!(reader.reply().unwrap(), b":0\r\n");
    assert!(started.elapsed() >= Duration::from_millis(500));
    // Who paused all waits, too: nobody can end it before its time.
    let started = Instant::now();
    admin.check("CLIENT PAUSE 400 ALL", "+OK\r\n");
    reader.raw(b"PING\r\n").unwrap();
    admin.check("CLIENT UNPAUSE", "+OK\r\n");
    assert_eq!(reader.reply().unwrap(), b"+PONG\r\n");
    assert!(started.elapsed() >= Duration::from_millis(390));
}

#[test]
fn waits_end_by_word_of_others() {
    let Some(both) = Both::start() else { return };
    for server in [&both.subject, &both.peer] {
        let (mut admin, mut waiting) = (server.client(), server.client());
        let id = waiting.ask("CLIENT ID").text;
        let id = String::from_utf8(id).unwrap();
        admin.check(&format!("CLIENT UNBLOCK {id}"), ":0\r\n");
        for (command, how, answer) in [
            ("BLPOP k 0", "", "*-1\r\n"),
            ("BLPOP k 0", "TIMEOUT", "*-1\r\n"),
            ("BLPOP k 0", "error", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"),
            ("BLMOVE k l left right 0", "TIMEOUT", "*-1\r\n"),
            ("BZPOPMIN k 0", "ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"),
            ("XREAD BLOCK 0 STREAMS s $", "timeout", "*-1\r\n"),
        ] {
            waiting.send(&words(command)).unwrap();
            soon("it waits", || admin.call(&words(&format!("CLIENT UNBLOCK {id} {how}"))) == b":1\r\n");
            assert_eq!(String::from_utf8_lossy(&waiting.reply().unwrap()), answer, "{command} {how}");
        }
        admin.check("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range\r\n");
        admin.check(&format!("CLIENT UNBLOCK {id} later"), "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n");
    }
}

#[test]
fn each_class_of_clients_has_its_output_limit() {
    let options = ["--client-output-buffer-limit", "normal 1mb 0 0 pubsub 200kb 0 0"];
    let server = TestServer::with(&options);
    let (mut admin, mut listener, mut normal) = (server.client(), server.client(), server.client());
    admin.call(&[b"SET".as_slice(), b"k", &vec![b'v'; 600_000]]);
    normal.send(&["GET", "k"]).unwrap();
    assert_eq!(normal.reply().unwrap().len(), 600_011);
    listener.call(&["SUBSCRIBE", "c"]);
    admin.call(&[b"PUBLISH".as_slice(), b"c", &vec![b'm'; 600_000]]);
    soon("the listener is cut off", || admin.call(&["PUBLISH", "c", "x"]) == b":0\r\n");
    normal.check("PING", "+PONG\r\n");
}

#[test]
fn messages_stand_in_their_place_though_replies_are_off() {
    let Some(both) = Both::start() else { return };
    let script = b"CLIENT REPLY OFF\r\nSUBSCRIBE c\r\nUNSUBSCRIBE\r\nPING\r\nCLIENT REPLY ON\r\nPING\r\n";
    let [left, right] = [&both.subject, &both.peer].map(|server| {
        let mut client = server.client();
        client.raw(script).unwrap();
        (0..4).map(|_| String::from_utf8(client.reply().unwrap()).unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(left, right);
    assert!(left[1].contains("unsubscribe"), "{left:?}");
}

/// A value of a megabyte stays where it was read, if the command holds little else; whatever else is sent with it, and
/// whatever is done to it then, it is what was sent.
#[test]
fn long_values_are_what_was_sent() {
    let server = TestServer::start();
    let (mut client, mut other) = (server.client(), server.client());
    let value: Vec<u8> = (0..1_000_000_u32).flat_map(|number| number.to_le_bytes()[..3].to_vec()).collect();
    let bulk = |bytes: &[u8]| [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let is_stored = |client: &mut RawClient, expected: &[u8]| {
        assert!(client.call(&["GET", "big"]) == bulk(expected));
    };
    let set: [&[u8]; 3] = [b"SET", b"big", &value];
    assert_eq!(client.call(&set), b"+OK\r\n");
    is_stored(&mut client, &value);
    // It takes its own bytes and hardly more, for good.
    let usage = |client: &mut RawClient| {
        let usage = String::from_utf8(client.call(&["MEMORY", "USAGE", "big"])).unwrap();
        usage[1..].trim_end().parse::<usize>().unwrap()
    };
    let before = usage(&mut client);
    assert!((value.len()..value.len() * 17 / 16).contains(&before), "{before}");
    // What a reply holds is not changed under it.
    other.send(&["GET", "big"]).unwrap();
    other.stream().peek(&mut [0]).unwrap();
    client.check("APPEND big !", ":3000001\r\n");
    let ahead = usage(&mut client) - before;
    assert!(ahead < 1_100_000, "a MiB more than it needs: {ahead}");
    assert!(other.reply().unwrap() == bulk(&value));
    is_stored(&mut client, &[&value[..], b"!"].concat());
    // Several in one go, and a transaction.
    for _ in 0..2 {
        client.send(&set).unwrap();
    }
    client.send(&["STRLEN", "big"]).unwrap();
    for reply in ["+OK\r\n", "+OK\r\n", ":3000000\r\n"] {
        assert_eq!(client.reply().unwrap(), reply.as_bytes());
    }
    client.check("SETRANGE big 1 xyz", ":3000000\r\n");
    let changed = [&value[..1], b"xyz", &value[4..]].concat();
    is_stored(&mut other, &changed);
    client.check("MULTI", "+OK\r\n");
    assert_eq!(client.call(&set), b"+QUEUED\r\n");
    client.check("EXEC", "*1\r\n+OK\r\n");
    is_stored(&mut other, &value);
    // Commands that keep nothing, that fail, or whose long argument is no value.
    let get_set: [&[u8]; 3] = [b"GETSET", b"big", &changed];
    assert!(client.call(&get_set) == bulk(&value));
    let wrong: [&[u8]; 4] = [b"SET", b"big", &value, b"WRONG"];
    assert_eq!(client.call(&wrong), b"-ERR syntax error\r\n");
    is_stored(&mut client, &changed);
    let long_key: [&[u8]; 3] = [b"SET", &value, b"short"];
    assert_eq!(client.call(&long_key), b"+OK\r\n");
    let get: [&[u8]; 2] = [b"GET", &value];
    assert_eq!(client.call(&get), b"$5\r\nshort\r\n");
    let pushed: [&[u8]; 3] = [b"RPUSH", b"list", &value];
    assert_eq!(client.call(&pushed), b":1\r\n");
    let wrong_type: [&[u8]; 3] = [b"SETNX", b"list", &value];
    assert_eq!(client.call(&wrong_type), b":0\r\n");
    assert!(client.call(&["LINDEX", "list", "0"]) == bulk(&value));
    client.check("DEL big list", ":2\r\n");
}

/// Whoever runs a long command elsewhere, or has to wait with it, leaves nothing of it behind in the connection.
#[test]
fn long_commands_of_scripts_are_run_once() {
    let server = TestServer::start();
    let (mut client, mut other) = (server.client(), server.client());
    // What would be seen if it were read once more.
    let long = "\r\nSET twice 1\r\n".repeat(40_000);
    let load =
        ["FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function(_, args) return #args[1] end)"];
    assert_eq!(client.call(&load), b"$1\r\nl\r\n");
    let here = "return #ARGV[1]";
    let on_thread = "local i = 0 while i < 3 do i = i + 1 end return #ARGV[1]";
    let moves = "redis.call('GET', 'x') for i = 1, 100000 do redis.call('GET', 'x') end return #ARGV[1]";
    let expected = format!(":{}\r\n", long.len());
    for _ in 0..3 {
        for script in [here, on_thread, moves] {
            client.send(&["EVAL", script, "0", &long]).unwrap();
            client.send(&["ECHO", "next"]).unwrap();
            assert_eq!(String::from_utf8(client.reply().unwrap()).unwrap(), expected, "{script}");
            client.check("PING", "$4\r\nnext\r\n");
            assert_eq!(client.reply().unwrap(), b"+PONG\r\n");
        }
        assert_eq!(String::from_utf8(client.call(&["FCALL", "f", "0", &long])).unwrap(), expected);
        let source = format!("return 1 --[[{long}]]");
        assert_eq!(client.call(&["EVAL", &source, "0"]), b":1\r\n");
        assert_eq!(client.call(&["SCRIPT", "LOAD", &source]).len(), 47);
        client.check("PING", "+PONG\r\n");
    }
    // A command that waits, with a long argument.
    client.send(&["BLPOP", &long, "0"]).unwrap();
    client.send(&["ECHO", "after"]).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(other.call(&["RPUSH", &long, "element"]), b":1\r\n");
    let popped = [format!("*2\r\n${}\r\n", long.len()).as_bytes(), long.as_bytes(), b"\r\n$7\r\nelement\r\n"].concat();
    assert!(client.reply().unwrap() == popped);
    assert_eq!(client.reply().unwrap(), b"$5\r\nafter\r\n");
    client.check("EXISTS twice", ":0\r\n");
}
