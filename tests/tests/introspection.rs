//! What tools look at while a server runs, beside a real redis-server: MONITOR, the slow log, the latency monitor.

use larder_tests::frame::Frame;
use larder_tests::{Both, RawClient, TestServer, soon, words};
use std::time::{Duration, Instant};

/// The lines that a client gets which monitors, without what differs: the time and the peer's port.
fn monitored(client: &mut RawClient) -> Vec<String> {
    client.set_timeout(Duration::from_millis(300));
    let lines = std::iter::from_fn(|| client.reply().ok());
    lines.map(|line| without_time(&String::from_utf8_lossy(&line))).collect()
}

fn without_time(line: &str) -> String {
    let Some((time, rest)) = line.split_once(" [") else { return line.to_owned() };
    let (seconds, micros) = time[1..].split_once('.').expect("a time with decimals");
    assert!(seconds.len() == 10 && micros.len() == 6, "{line}");
    let (peer, command) = rest.split_once("] ").expect("a peer");
    format!("{} {command}", peer.split(':').next().unwrap_or_default())
}

const SEEN: &[&str] = &[
    "SET k \"a\\x01\\r\\n\\\"\\\\b\"",
    "get k",
    "GET",
    "foo bar",
    "INCR k",
    "CONFIG GET maxmemory",
    "SELECT 3",
    "MULTI",
    "SET a 1",
    "CONFIG GET timeout",
    "INCR k",
    "EXEC",
    "EXEC",
    "MULTI",
    "GET",
    "EXEC",
    "AUTH secret",
    "AUTH somebody secret",
    "HELLO 2 AUTH default secret SETNAME me",
    "HELLO 2 SETNAME auth AUTH default secret",
    "SUBSCRIBE c",
    "UNSUBSCRIBE c",
    "CLIENT SETNAME x",
    "CLIENT LIST",
    "COMMAND COUNT",
    "OBJECT ENCODING k",
    "WATCH k",
    "UNWATCH",
    "SELECT 0",
    r#"ZADD z 1 "\xff" 2 é"#,
    r#"SCRIPT LOAD "return 2""#,
    r#"SCRIPT LOAD "(""#,
    "MULTI",
    r#"EVAL "for i = 1, 10^5 do end return redis.call('INCR', 'n')" 0"#,
    r#"SCRIPT LOAD "return 3""#,
    "EXEC",
    r##"FUNCTION LOAD "#!lua name=l\nredis.register_function('f', function() return redis.call('INCR', 'n') end)""##,
    "FCALL f 0",
    "FUNCTION LOAD x",
    "FUNCTION DELETE l",
    "RESET",
];

#[test]
fn monitor_shows_what_redis_shows() {
    let Some(both) = Both::start() else { return };
    for protocol in ["2", "3"] {
        let mut shown = Vec::new();
        for server in [&both.subject, &both.peer] {
            let (mut monitor, mut client) = (server.client(), server.client());
            monitor.call(&["HELLO", protocol]);
            assert_eq!(monitor.call(&["MONITOR"]), b"+OK\r\n");
            SEEN.iter().for_each(|line| drop(client.call(&words(line))));
            shown.push(monitored(&mut monitor));
        }
        assert!(shown[0].len() > 20, "{shown:?}");
        assert_eq!(shown[0], shown[1], "in RESP{protocol}");
    }
}

#[test]
fn what_monitors_itself_is_answered_before_it_is_shown() {
    let Some(both) = Both::start() else { return };
    let mut answers = Vec::new();
    for server in [&both.subject, &both.peer] {
        let mut client = server.client();
        client.raw(b"MONITOR\r\nPING\r\nGET k\r\nMONITOR\r\nECHO x\r\nSUBSCRIBE c\r\nPING\r\n").unwrap();
        let mut answer = monitored(&mut client);
        // The newer version shows QUIT to others, but nobody anything after its answer.
        client.raw(b"RESET\r\nPING\r\nMONITOR\r\nQUIT\r\n").unwrap();
        answer.push(String::from_utf8_lossy(&client.rest().unwrap()).into_owned());
        answers.push(answer);
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn lines_have_the_order_of_execution() {
    const COUNT: usize = 2000;
    let server = TestServer::with(&["--threads", "2"]);
    let mut monitor = server.client();
    monitor.check("MONITOR", "+OK\r\n");
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let mut client = server.client();
            std::thread::spawn(move || {
                client.raw(&b"INCR n\r\n".repeat(COUNT)).unwrap();
                (0..COUNT).map(|_| client.reply().unwrap()).map(|reply| number(&reply)).collect::<Vec<_>>()
            })
        })
        .collect();
    // The number that each line's command made is known by counting lines; each writer's numbers must be its lines'.
    let lines: Vec<String> =
        (0..2 * COUNT).map(|_| String::from_utf8_lossy(&monitor.reply().unwrap()).into_owned()).collect();
    let peer = |line: &str| line.split_once("] ").unwrap().0.rsplit(':').next().unwrap().to_owned();
    let mut made: Vec<(String, Vec<i64>)> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let peer = peer(line);
        match made.iter_mut().find(|(known, _)| *known == peer) {
            Some((_, numbers)) => numbers.push(at as i64 + 1),
            None => made.push((peer, vec![at as i64 + 1])),
        }
    }
    let mut expected: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    expected.sort();
    let mut made: Vec<_> = made.into_iter().map(|(_, numbers)| numbers).collect();
    made.sort();
    assert!(made == expected, "lines are out of order");
}

fn number(reply: &[u8]) -> i64 {
    String::from_utf8_lossy(&reply[1..reply.len() - 2]).parse().unwrap()
}

#[test]
fn who_does_not_read_its_lines_is_closed_at_the_limit() {
    let server = TestServer::with(&["--client-output-buffer-limit", "normal", "4mb", "0", "0"]);
    let (mut monitor, mut client) = (server.client(), server.client());
    monitor.check("MONITOR", "+OK\r\n");
    let value = "v".repeat(1 << 20);
    (0..30).for_each(|_| drop(client.call(&["SET", "k", &value])));
    soon("it is closed", || {
        let info = String::from_utf8(client.call(&["INFO", "stats"])).unwrap();
        info.contains("client_output_buffer_limit_disconnections:1\r\n")
    });
    // Nobody monitors any more.
    assert_eq!(client.ask("CLIENT LIST").text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(), 1);
}

/// The calls of the slow log, latest first, each as its arguments.
fn slow_calls(client: &mut RawClient) -> Vec<String> {
    let calls = client.ask("SLOWLOG GET -1").items;
    let args = |call: &Frame| {
        call.items[3].items.iter().map(|arg| String::from_utf8_lossy(&arg.text).into_owned()).collect::<Vec<_>>()
    };
    calls.iter().map(|call| args(call).join(" ")).collect()
}

#[test]
fn the_slow_log_keeps_what_redis_keeps() {
    let Some(both) = Both::with(&["--enable-debug-command", "yes"]) else { return };
    let mut logs = Vec::new();
    for server in [&both.subject, &both.peer] {
        let mut client = server.client();
        client.call(&["CLIENT", "SETNAME", "me"]);
        client.check("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 1000", "+OK\r\n");
        client.check("SLOWLOG RESET", "+OK\r\n");
        SEEN.iter().for_each(|line| drop(client.call(&words(line))));
        client.call(&["CONFIG", "SET", "requirepass", "secret"]);
        client.call(&["CONFIG", "SET", "timeout", "0", "requirepass", ""]);
        let many: Vec<String> = (0..40).map(|number| format!("word{number}")).collect();
        client.call(&[&["DEL".to_owned()][..], &many].concat());
        client.call(&["SET", "k", &"x".repeat(200)]);
        client.check("CONFIG SET slowlog-log-slower-than -1", "+OK\r\n");
        client.call(&["PING"]);
        let last = &client.ask("SLOWLOG GET 1").items[0];
        assert_eq!(last.items.len(), 6);
        logs.push(slow_calls(&mut client));
    }
    assert!(logs[0].len() > 25, "{logs:?}");
    assert_eq!(logs[0], logs[1]);
}

#[test]
fn calls_that_wait_are_slow_calls_once_they_have_ended() {
    let server = TestServer::with(&[]);
    let (mut client, mut other) = (server.client(), server.client());
    client.check("CONFIG SET slowlog-log-slower-than 0", "+OK\r\n");
    let noted = |client: &mut RawClient| {
        let mut calls = slow_calls(client);
        calls.retain(|call| !["INFO", "SLOWLOG", "CONFIG"].iter().any(|word| call.starts_with(word)));
        calls
    };
    let other_waits = |client: &mut RawClient| {
        soon("the other waits", || {
            client.ask("INFO clients").text.windows(17).any(|text| text == b"blocked_clients:1")
        });
    };
    other.raw(b"XREAD BLOCK 0 STREAMS s $\r\nBLPOP l 0\r\nBLPOP l 0.01\r\n").unwrap();
    other_waits(&mut client);
    assert!(noted(&mut client).is_empty());
    client.check("XADD s 1-1 a b", "$3\r\n1-1\r\n");
    other.reply().unwrap();
    other_waits(&mut client);
    assert_eq!(noted(&mut client), ["XADD s 1-1 a b", "XREAD BLOCK 0 STREAMS s $"]);
    client.check("RPUSH l x", ":1\r\n");
    (0..2).for_each(|_| drop(other.reply().unwrap()));
    assert_eq!(noted(&mut client)[..3], ["BLPOP l 0.01", "RPUSH l x", "BLPOP l 0"]);
}

#[test]
fn slow_calls_are_noted_with_their_time_and_their_client() {
    let server = TestServer::with(&["--enable-debug-command", "yes", "--latency-monitor-threshold", "20"]);
    let mut client = server.client();
    client.check("CLIENT SETNAME sleeper", "+OK\r\n");
    client.raw(b"PING\r\nDEBUG SLEEP 0.05\r\nPING\r\nMULTI\r\nDEBUG SLEEP 0.05\r\nEXEC\r\n").unwrap();
    (0..6).for_each(|_| drop(client.reply().unwrap()));
    assert_eq!(slow_calls(&mut client), ["DEBUG SLEEP 0.05"; 2]);
    let call = client.ask("SLOWLOG GET 1").items.remove(0);
    assert!((50_000..5_000_000).contains(&number_of(&call.items[2])), "{call:?}");
    assert!(call.items[4].text.starts_with(b"127.0.0.1:"), "{call:?}");
    assert_eq!(call.items[5].text, b"sleeper");
    let latest = client.ask("LATENCY LATEST").items.remove(0);
    assert_eq!(latest.items[0].text, b"command");
    assert!((50..5000).contains(&number_of(&latest.items[3])), "{latest:?}");
    let graph = String::from_utf8(client.ask("LATENCY GRAPH command").text).unwrap();
    assert!(graph.starts_with("command - high "), "{graph}");
    assert!(client.ask("LATENCY DOCTOR").text.starts_with(b"Some events took long:"));
    client.check("LATENCY RESET", ":1\r\n");
}

#[test]
fn the_doctor_tells_of_a_peak_also_where_little_is_left() {
    let server = TestServer::start();
    let mut client = server.client();
    let mut doctor = || String::from_utf8(client.ask("MEMORY DOCTOR").text).unwrap();
    assert_eq!(doctor(), "There is too little data to tell anything.\n");
    let mut writer = server.client();
    let value = "v".repeat(30 << 20);
    assert_eq!(writer.call(&["SET", "k", &value]), b"+OK\r\n");
    assert!(!doctor().contains("once used"));
    writer.check("DEL k", ":1\r\n");
    assert!(doctor().starts_with(" * It once used more than 1.5 times as much as now"));
}

fn number_of(frame: &Frame) -> i64 {
    String::from_utf8_lossy(&frame.text).parse().unwrap()
}

/// A quick command is slow when it works on much; in a pipeline it is told from those around it.
#[test]
fn a_quick_command_that_takes_long_is_caught() {
    let server = TestServer::with(&["--latency-monitor-threshold", "10"]);
    let mut client = server.client();
    const MEMBERS: usize = 200_000;
    let mut request = format!("*{}\r\n$4\r\nZADD\r\n$1\r\nz\r\n", 2 + 2 * MEMBERS).into_bytes();
    for number in 0..MEMBERS {
        request.extend_from_slice(format!("$6\r\n{number:06}\r\n$7\r\n{number:07}\r\n").as_bytes());
    }
    // As the time of the first call of a command is taken in any case, this one is not the first.
    client.raw(&[&b"ZADD y 1 a\r\n".repeat(100), &request[..], &b"ZADD y 1 b\r\n".repeat(20)].concat()).unwrap();
    (0..121).for_each(|_| drop(client.reply().unwrap()));
    let calls = slow_calls(&mut client);
    // A busy machine may hold up others, too, but not all of them.
    assert!(calls.iter().any(|call| call.starts_with("ZADD z 000000 0000000 000001")), "{calls:?}");
    assert!(calls.len() < 20, "{calls:?}");
    assert_eq!(client.ask("LATENCY LATEST").items[0].items[0].text, b"fast-command");
}

#[test]
fn histograms_count_every_call() {
    let server = TestServer::start();
    let mut client = server.client();
    client.raw(&b"SET k v\r\n".repeat(1000)).unwrap();
    (0..1000).for_each(|_| drop(client.reply().unwrap()));
    let facts = client.ask("LATENCY HISTOGRAM set").items.remove(1);
    assert_eq!(number_of(&facts.items[1]), 1000);
    let steps: Vec<i64> = facts.items[3].items.iter().map(number_of).collect();
    assert_eq!(steps.last(), Some(&1000), "{steps:?}");
    let info = String::from_utf8(client.ask("INFO latencystats").text).unwrap();
    assert!(info.contains("latency_percentiles_usec_set:p50="), "{info}");
}

#[test]
fn a_paused_client_can_be_closed_and_gets_its_messages() {
    let server = TestServer::start();
    let (mut admin, mut paused, mut listener) = (server.client(), server.client(), server.client());
    listener.raw(b"HELLO 3\r\nSUBSCRIBE c\r\n").unwrap();
    (0..2).for_each(|_| drop(listener.reply().unwrap()));
    admin.check("CLIENT PAUSE 60000 WRITE", "+OK\r\n");
    paused.raw(b"PING\r\nSET k v\r\nPING\r\n").unwrap();
    assert_eq!(paused.reply().unwrap(), b"+PONG\r\n");
    listener.raw(b"SET k v\r\n").unwrap();
    soon("both wait", || admin.ask("INFO clients").text.windows(18).any(|text| text == b"blocked_clients:2\r"));
    let clients = String::from_utf8(admin.ask("CLIENT LIST").text).unwrap();
    let waiting = clients.lines().find(|line| line.contains("flags=b ")).unwrap();
    let id = waiting.split([' ', '=']).nth(1).unwrap();
    admin.check(&format!("CLIENT KILL ID {id}"), ":1\r\n");
    assert_eq!(paused.rest().unwrap(), b"");
    let started = Instant::now();
    admin.check("CLIENT UNPAUSE", "+OK\r\n");
    assert_eq!(listener.reply().unwrap(), b"+OK\r\n");
    assert!(started.elapsed() < Duration::from_secs(10));
    admin.check("GET k", "$1\r\nv\r\n");
}

#[test]
fn who_has_been_killed_listens_no_more() {
    let server = TestServer::start();
    let mut client = server.client();
    for _ in 0..50 {
        let mut listener = server.client();
        listener.call(&["SUBSCRIBE", "news"]);
        // In one go, so that the listener's thread has no time to close it in between.
        client.raw(b"CLIENT KILL TYPE pubsub\r\nPUBLISH news x\r\nPUBSUB NUMSUB news\r\nPUBSUB CHANNELS\r\n").unwrap();
        let wanted = [":1\r\n", ":0\r\n", "*2\r\n$4\r\nnews\r\n:0\r\n", "*0\r\n"];
        for reply in wanted {
            assert_eq!(String::from_utf8_lossy(&client.reply().unwrap()), reply);
        }
    }
}

#[test]
fn timeouts_are_documented_as_redis_does() {
    let Some(both) = Both::start() else { return };
    let names = ["blpop", "brpop", "blmove", "blmpop", "brpoplpush", "bzpopmin", "bzmpop", "wait", "client|pause"];
    for name in names {
        let [left, right] = [&both.subject, &both.peer].map(|server| {
            let docs = String::from_utf8(server.client().call(&["COMMAND", "DOCS", name])).unwrap();
            let words: Vec<_> = docs.split("\r\n").map(str::to_owned).collect();
            let at = words.windows(3).position(|words| words[0] == "timeout" && words[2] == "type").expect(name);
            words[at + 4].clone()
        });
        assert_eq!(left, right, "{name}");
    }
}
