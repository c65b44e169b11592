//! Functions: what others see while one runs, libraries as bytes, what is recorded, and what is not well meant.

use larder::{Server, Value};
use larder_tests::both::Both;
use larder_tests::payload::seal;
use larder_tests::{RawClient, ServerProcess, TestServer, soon};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const COUNTER: &str =
    "#!lua name=counter\nlocal n = 0\nredis.register_function('count', function() n = n + 1 return n end)";
const LOOPS: &str = "#!lua name=loops\n\
    redis.register_function('loop', function() while true do end end)\n\
    redis.register_function('caught', function() while true do pcall(function() while true do end end) end end)\n\
    redis.register_function('writes', function(k) redis.call('SET', k[1], 'v') while true do end end)\n\
    redis.register_function('eats', function() local t = {} while true do t[#t + 1] = {} end end)";

fn text(reply: Vec<u8>) -> String {
    String::from_utf8_lossy(&reply).into_owned()
}

fn load(client: &mut RawClient, code: &str) {
    let reply = text(client.call(&["FUNCTION", "LOAD", "REPLACE", code]));
    assert!(reply.starts_with('$'), "{reply}");
}

fn call(server: &ServerProcess, words: &'static [&'static str]) -> JoinHandle<String> {
    let mut client = server.client();
    client.set_timeout(Duration::from_secs(60));
    thread::spawn(move || text(client.call(words)))
}

#[test]
fn a_function_that_runs_long_is_shown_and_killed_as_a_function() {
    let server = TestServer::with(&["--threads", "1", "--busy-reply-threshold", "50"]);
    let mut client = server.client();
    load(&mut client, LOOPS);
    load(&mut client, COUNTER);
    client.check("FCALL count 0", ":1\r\n");
    for name in [&["FCALL", "LOOP", "1", "key", "word"][..], &["FCALL", "caught", "1", "key"]] {
        let running = call(&server, name);
        soon("the function runs", || client.call(&["GET", "key"]).starts_with(b"-BUSY"));
        const BUSY: &str =
            "-BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.\r\n";
        client.check("GET key", BUSY);
        client.check("SCRIPT KILL", BUSY);
        client.check("FUNCTION LOAD x", BUSY);
        client.check("PING", "+PONG\r\n");
        let stats = text(client.call(&["FUNCTION", "STATS"]));
        let shown = name[1].to_lowercase();
        assert!(stats.contains(&format!("$4\r\nname\r\n${}\r\n{shown}\r\n", shown.len())), "{stats}");
        assert!(stats.contains("$7\r\ncommand\r\n*") && stats.contains("$3\r\nkey\r\n"), "{stats}");
        assert!(stats.contains("libraries_count\r\n:2\r\n") && stats.contains("functions_count\r\n:5\r\n"), "{stats}");
        client.check("FUNCTION KILL", "+OK\r\n");
        let reply = running.join().unwrap();
        let place = if name[1] == "LOOP" { "loop, on @user_function:2." } else { "caught, on @user_function:3." };
        assert_eq!(reply, format!("-ERR Script killed by user with SCRIPT KILL... script: {place}\r\n"));
        client.check("FUNCTION KILL", "-NOTBUSY No scripts in execution right now.\r\n");
        // The libraries are there still, begun anew.
        client.check("FCALL count 0", ":1\r\n");
        client.check("FCALL COUNT 0", ":2\r\n");
    }
}

#[test]
fn a_script_is_not_killed_as_a_function() {
    let server = TestServer::with(&["--threads", "1", "--busy-reply-threshold", "50"]);
    let mut client = server.client();
    let running = call(&server, &["EVAL", "while true do end", "1", "key"]);
    soon("the script runs", || client.call(&["GET", "key"]).starts_with(b"-BUSY"));
    const BUSY: &str = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
    client.check("FUNCTION KILL", BUSY);
    client.check("FUNCTION STATS", BUSY);
    client.check("FUNCTION LIST", "*0\r\n");
    client.check("SCRIPT KILL", "+OK\r\n");
    assert!(running.join().unwrap().starts_with("-ERR Script killed"));
}

#[test]
fn who_waits_for_room_that_a_script_holds_is_told_so() {
    const LIMITS: [&str; 6] = ["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru", "--threads", "1"];
    let server = TestServer::with(&[&LIMITS[..], &["--busy-reply-threshold", "300"]].concat());
    let mut client = server.client();
    client.check("EVAL \"for i = 1, 60000 do redis.call('set', 'key:' .. i, 'value') end\" 0", "$-1\r\n");
    let value = "v".repeat(1 << 20);
    assert_eq!(client.call(&["SET", "large", &value]), b"+OK\r\n");
    let running = call(&server, &["EVAL", "redis.call('get', 'key:1') while true do end", "0"]);
    let mut other = server.client();
    soon("the script runs", || other.call(&["EXISTS", "key:1"]).starts_with(b"-BUSY"));
    let refused = |reply: Vec<u8>| assert!(reply.starts_with(b"-BUSY Redis is busy"), "{}", text(reply));
    refused(client.call(&["SET", "large:2", &value]));
    client.send(&["PING"]).unwrap();
    client.send(&["SET", "large:2", &value]).unwrap();
    assert_eq!(client.reply().unwrap(), b"+PONG\r\n");
    refused(client.reply().unwrap());
    client.check("SCRIPT KILL", "+OK\r\n");
    assert!(running.join().unwrap().starts_with("-ERR Script killed"));
    assert_eq!(client.call(&["SET", "large:2", &value]), b"+OK\r\n");
}

#[test]
fn a_function_that_has_written_goes_on_until_the_server_ends() {
    let mut server = TestServer::with(&["--threads", "1", "--busy-reply-threshold", "50"]);
    let mut client = server.client();
    load(&mut client, LOOPS);
    let _running = call(&server, &["FCALL", "writes", "1", "key"]);
    soon("the function runs", || client.call(&["GET", "key"]).starts_with(b"-BUSY"));
    assert!(client.call(&["FUNCTION", "KILL"]).starts_with(b"-UNKILLABLE "));
    assert!(client.call(&["SHUTDOWN"]).starts_with(b"-BUSY "));
    let _ = client.send(&["SHUTDOWN", "NOSAVE"]);
    assert!(server.wait(Duration::from_secs(10)).success());
}

#[test]
fn what_wants_too_much_ends_in_an_error() {
    let mut server = TestServer::with(&["--threads", "1"]);
    let mut client = server.client();
    client.set_timeout(Duration::from_secs(60));
    for code in [
        "while true do end",
        "local function f() return f() end f()",
        "local t = {} local n = 1 while true do t[n] = {} n = n + 1 end",
        "local s = 'x' while true do s = s .. s end",
        "for i = 1, 10^9 do redis.register_function('f' .. i, function() end) end",
        "local s = 'f' for i = 1, 20 do s = s .. s end while true do s = s .. 'f' redis.register_function(s, function() end) end",
        "redis.register_function(('f'):rep(10^9), function() end)",
        "local f f = function() return f() .. 'x' end f()",
    ] {
        let began = Instant::now();
        let reply = text(client.call(&["FUNCTION", "LOAD", &format!("#!lua name=bad\n{code}")]));
        assert!(reply.starts_with("-ERR Error registering functions: ERR "), "{code}: {reply:.200}");
        assert!(began.elapsed() < Duration::from_secs(20), "{code}: {:?}", began.elapsed());
    }
    load(&mut client, LOOPS);
    client.check(
        "FCALL eats 0",
        "-ERR not enough memory: the script needs more than 'lua-memory-limit' allows script: eats, on @user_function:5.\r\n",
    );
    load(&mut client, COUNTER);
    client.check("FCALL count 0", ":1\r\n");
    assert!(server.is_alive());
}

#[test]
fn a_payload_that_loads_for_ever_ends() {
    let server = Server::builder().build().unwrap();
    let mut client = server.connect();
    let mut payload = Vec::new();
    for number in 0..30 {
        let code = format!("#!lua name=l{number}\nwhile true do end");
        payload.push(245);
        payload.extend(larder_tests::payload::string(code.as_bytes()));
    }
    let began = Instant::now();
    let reply = client.execute([&b"FUNCTION"[..], b"RESTORE", &seal(&payload, 10)]);
    assert_eq!(reply.to_string(), "(error) ERR Error registering functions: ERR FUNCTION LOAD timeout");
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[test]
fn libraries_go_to_redis_and_back() {
    let Some(both) = Both::start() else { return };
    let (mut subject, mut peer) = both.open();
    let other = "#!lua name=other\nredis.register_function{function_name='echo', callback=function(k, a) return a end, \
                 description='gives back what it gets gives back what it gets', flags={'no-writes'}}";
    let listed = |client: &mut RawClient| {
        let list = client.ask("FUNCTION LIST WITHCODE");
        let mut libraries: Vec<String> = list.items.iter().map(|library| format!("{library:?}")).collect();
        libraries.sort();
        libraries
    };
    for client in [&mut subject, &mut peer] {
        client.check("FUNCTION FLUSH", "+OK\r\n");
        load(client, COUNTER);
        load(client, other);
    }
    let expected = listed(&mut peer);
    assert_eq!(listed(&mut subject), expected);
    for _ in 0..2 {
        let payload = subject.ask("FUNCTION DUMP").text;
        restore(&mut peer, &payload, "FLUSH", "+OK\r\n");
        assert_eq!(listed(&mut peer), expected);
        let payload = peer.ask("FUNCTION DUMP").text;
        restore(&mut subject, &payload, "REPLACE", "+OK\r\n");
        assert_eq!(listed(&mut subject), expected);
        subject.check("FCALL_RO echo 0 a b", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    }
}

fn restore(client: &mut RawClient, payload: &[u8], policy: &str, reply: &str) {
    let answer = client.call(&[&b"FUNCTION"[..], b"RESTORE", payload, policy.as_bytes()]);
    assert_eq!(text(answer), reply);
}

#[test]
fn collisions_and_bad_payloads_are_answered_as_by_redis() {
    let Some(mut both) = Both::start() else { return };
    let library = |code: &str| {
        let mut bytes = vec![245];
        bytes.extend(larder_tests::payload::string(code.as_bytes()));
        bytes
    };
    let register = |name: &str, functions: &[&str]| {
        let lines: String = functions
            .iter()
            .map(|name| format!("redis.register_function('{name}', function() return 1 end)\n"))
            .collect();
        format!("#!lua name={name}\n{lines}")
    };
    let (a, b, c) = (register("a", &["f"]), register("b", &["h"]), register("c", &["f"]));
    let payloads: &[Vec<u8>] = &[
        library(&a),
        [library(&b), library(&a)].concat(),
        library(&c),
        [library(&a), library(&c)].concat(),
        [library(&a), library(&a)].concat(),
        library("no library"),
        library("#!lua name=x\nreturn 1"),
        library("#!lua name=x\nredis.nothing()"),
        vec![],
        vec![0, 1, b'x'],
        vec![245],
        vec![245, 100, b'x'],
        vec![245, 0xc0, 5],
    ];
    both.same(["FUNCTION", "FLUSH"]);
    for before in [None, Some(&a), Some(&b), Some(&c)] {
        for policy in ["", "APPEND", "REPLACE", "FLUSH", "flush", "other"] {
            for payload in payloads {
                both.same(["FUNCTION", "FLUSH"]);
                if let Some(code) = before {
                    both.same(["FUNCTION", "LOAD", code]);
                }
                let sealed = seal(payload, 10);
                match policy {
                    "" => both.same([&b"FUNCTION"[..], b"RESTORE", &sealed]),
                    policy => both.same([&b"FUNCTION"[..], b"RESTORE", &sealed, policy.as_bytes()]),
                }
                for name in ["a", "b", "c"] {
                    both.same(
                        ["FUNCTION", "LIST", "LIBRARYNAME", name, "WITHCODE"].map(str::as_bytes).map(<[u8]>::to_vec),
                    );
                }
                both.same(["FUNCTION", "STATS"]);
            }
        }
    }
    both.same(["FUNCTION", "FLUSH"]);
    both.same([&b"FUNCTION"[..], b"RESTORE", &seal(&library(&a), 13)]);
    let mut spoiled = seal(&library(&a), 10);
    spoiled[5] ^= 1;
    both.same([&b"FUNCTION"[..], b"RESTORE", &spoiled]);
}

#[test]
fn changes_of_libraries_are_recorded_as_they_were_called() {
    let effects = Arc::new(Mutex::new(Vec::new()));
    let log = effects.clone();
    let record = move |group: &larder::effects::Group| {
        let words =
            |effect: &larder::effects::Effect| effect.command.as_args().iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
        log.lock().unwrap().extend(group.effects().iter().map(words));
    };
    let server = Server::builder().record(record).build().unwrap();
    let mut client = server.connect();
    let code = "#!lua name=a\nredis.register_function('f', function(k) redis.call('SET', k[1], 'v') return redis.call('SPOP', k[2]) end)";
    let mut check = |words: &[&[u8]], expected: &[&[&[u8]]]| {
        client.execute(words);
        let recorded = std::mem::take(&mut *effects.lock().unwrap());
        assert_eq!(
            recorded,
            expected.iter().map(|words| words.iter().map(|word| word.to_vec()).collect()).collect::<Vec<Vec<_>>>()
        );
    };
    check(&[b"FUNCTION", b"LOAD", code.as_bytes()], &[&[b"FUNCTION", b"LOAD", code.as_bytes()]]);
    check(&[b"FUNCTION", b"LOAD", code.as_bytes()], &[]);
    check(&[b"SADD", b"s", b"m"], &[&[b"SADD", b"s", b"m"]]);
    check(&[b"FCALL", b"f", b"2", b"k", b"s"], &[&[b"SET", b"k", b"v"], &[b"SREM", b"s", b"m"]]);
    check(&[b"FUNCTION", b"DELETE", b"a"], &[&[b"FUNCTION", b"DELETE", b"a"]]);
    check(&[b"FUNCTION", b"DELETE", b"a"], &[]);
    let payload = [&[245][..], &larder_tests::payload::string(code.as_bytes())].concat();
    let payload = seal(&payload, 10);
    check(&[b"FUNCTION", b"RESTORE", &payload], &[&[b"FUNCTION", b"RESTORE", &payload]]);
    check(&[b"FUNCTION", b"FLUSH"], &[&[b"FUNCTION", b"FLUSH"]]);
}

#[test]
fn functions_belong_to_their_engine() {
    let (one, other) = (Server::builder().build().unwrap(), Server::builder().build().unwrap());
    let (mut one, mut other) = (one.connect(), other.connect());
    assert_eq!(one.execute(["FUNCTION", "LOAD", COUNTER]).as_str(), Some("counter"));
    assert_eq!(one.execute(["FCALL", "count", "0"]), Value::Integer(1));
    assert_eq!(other.execute(["FCALL", "count", "0"]).to_string(), "(error) ERR Function not found");
    assert_eq!(other.execute(["FUNCTION", "LOAD", COUNTER]).as_str(), Some("counter"));
    assert_eq!(other.execute(["FCALL", "count", "0"]), Value::Integer(1));
    assert_eq!(one.execute(["FCALL", "count", "0"]), Value::Integer(2));
}

#[test]
fn info_counts_functions() {
    let server = Server::builder().build().unwrap();
    let mut client = server.connect();
    client.execute(["FUNCTION", "LOAD", COUNTER]);
    let info = client.execute(["INFO", "memory"]).as_str().unwrap().to_owned();
    let bytes = COUNTER.len() + "counter".len() + "count".len();
    for line in ["number_of_functions:1", "number_of_libraries:1", &format!("used_memory_functions:{bytes}")] {
        assert!(info.lines().any(|found| found == line), "{line}: {info}");
    }
    let stats = client.execute(["MEMORY", "STATS"]).to_string();
    let stats: Vec<&str> = stats.lines().collect();
    let at = stats.iter().position(|line| line.contains("\"functions.caches\"")).unwrap();
    assert!(stats[at + 1].ends_with(&format!("(integer) {bytes}")), "{}", stats[at + 1]);
}

#[test]
fn a_pause_of_writes_lets_functions_pass_that_do_not_write() {
    let server = TestServer::start();
    let (mut client, mut other) = (server.client(), server.client());
    load(
        &mut client,
        "#!lua name=a\nredis.register_function('writes', function() return 1 end)\n\
         redis.register_function{function_name='reads', callback=function() return 2 end, flags={'no-writes'}}",
    );
    client.check("CLIENT PAUSE 60000 WRITE", "+OK\r\n");
    other.check("FCALL reads 0", ":2\r\n");
    other.check("EVAL \"#!lua flags=no-writes\\nreturn 3\" 0", ":3\r\n");
    other.send(&["FCALL", "writes", "0"]).unwrap();
    assert!(other.is_silent(Duration::from_millis(100)));
    client.check("CLIENT UNPAUSE", "+OK\r\n");
    assert_eq!(text(other.reply().unwrap()), ":1\r\n");
}

#[test]
fn calls_whose_results_have_errors_count_as_failed_as_in_redis() {
    const LIBRARY: &str = "#!lua name=a\nredis.register_function('f', function() \
        return {redis.pcall('LPUSH'), redis.pcall('GET'), redis.error_reply('MY a'), redis.error_reply('MY b')} end)";
    const SCRIPTS: [&str; 6] = [
        "return {redis.pcall('LPUSH'), redis.error_reply('MINE a')}",
        "return {redis.pcall('LPUSH'), redis.pcall('LPUSH'), {redis.pcall('GET', 'a', 'b')}}",
        "return {redis.error_reply('MINE a'), redis.error_reply('MINE b')}",
        "redis.pcall('LPUSH') return 1",
        "return redis.call('LPUSH')",
        "error({err = 'OTHER a'})",
    ];
    let Some(both) = Both::start() else { return };
    let mut counted = Vec::new();
    for server in [&both.subject, &both.peer] {
        let mut client = server.client();
        load(&mut client, LIBRARY);
        client.call(&["FCALL", "f", "0"]);
        // The second time the script is known, and runs with its connection.
        for script in SCRIPTS.iter().flat_map(|script| [script, script]) {
            client.call(&["EVAL", script, "0"]);
        }
        let (commands, errors) = (client.call(&["INFO", "commandstats"]), client.call(&["INFO", "errorstats"]));
        let (commands, errors) = (text(commands), text(errors));
        let names = ["eval", "fcall", "lpush", "get"].map(|name| format!("cmdstat_{name}:"));
        let mut facts: Vec<String> = commands
            .lines()
            .filter(|line| names.iter().any(|name| line.starts_with(name)))
            .map(|line| line.split(',').filter(|fact| !fact.starts_with("usec")).collect::<Vec<_>>().join(","))
            .chain(errors.lines().filter(|line| line.starts_with("errorstat_")).map(str::to_owned))
            .collect();
        facts.sort();
        counted.push(facts);
    }
    assert!(
        counted[0].iter().any(|fact| fact.starts_with("cmdstat_eval:calls=12,") && !fact.contains("failed_calls=0"))
    );
    assert_eq!(counted[0], counted[1]);
}
