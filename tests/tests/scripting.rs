//! Scripts that are not well meant, and what others see of a script while it runs.

use larder::{Server, Value};
use larder_tests::{RawClient, ServerProcess, TestServer, encode, growth, soon};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Scripts that would run for ever, or nearly so.
const ENDLESS: &[&str] = &[
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "while true do redis.call('GET', KEYS[1]) end",
    "while true do pcall(redis.call, 'GET') end",
    "local c = coroutine.wrap(function() while true do end end) c()",
    "while true do local c = coroutine.wrap(function() error('x') end) pcall(c) end",
    "local function f() return f() end return f()",
    "repeat local ok = xpcall(function() error('x') end, function(e) return e end) until false",
    "local t = setmetatable({}, {__index = function(t, k) return k end}) while t[1] do end",
    "local t = {} for i = 1, 100000 do t[i] = i % 7 end while true do table.sort(t) end",
    "while true do string.rep('x', 1000):gsub('x', 'y') end",
    "while true do loadstring('return 1')() end",
    "coroutine.wrap(function() coroutine.wrap(function() while true do end end)() end)()",
    "while true do local c = coroutine.create(function() while true do coroutine.yield() end end) coroutine.resume(c) end",
    "local m = {__mode = 'k'} while true do local t = {} for i = 1, 10000 do t[i] = setmetatable({}, m) end end",
    "local s = '[' .. string.rep('[],', 10^5) .. '[]]' while true do pcall(cjson.decode, s) end",
    "local t = {} for i = 1, 1000 do t[i] = {} end for _ = 1, 2 do local u = {} for i = 1, 1000 do u[i] = t end t = u end \
     while not redis.call('GET', KEYS[1]) do end",
    "local s, t = string.rep('x', 2 * 10^7), {} for i = 1, 7000 do t[i] = s end \
     while not redis.call('GET', KEYS[1]) do struct.pack(string.rep('c1', 7000), unpack(t)) end",
    "goto_ = nil",
];

/// Scripts that want more than they get: of memory, depth or steps.
const GREEDY: &[&str] = &[
    "return string.rep('x', 2^31)",
    "return string.rep('x', 10^9)",
    "local s = string.rep('x', 6 * 10^7) local t = setmetatable({}, {__index = function() return s end}) \
     return #table.concat(t, '', 1, 200)",
    "local s = string.rep('x', 3 * 10^7) return #table.concat({s, s, s, s}, s)",
    "return loadstring(string.rep('do local a = 1 end ', 33000))",
    "return loadstring('x = ' .. string.rep('a and ', 200000) .. 'b')",
    "return loadstring('\\n#[[\\n' .. string.rep('do local a = 1 end ', 33000) .. ']]')",
    "local s = 'x' while true do s = s .. s end",
    "local t = {} while true do t[#t + 1] = {} end",
    "local t = {} while true do t[#t + 1] = string.rep('x', 1000) .. #t end",
    "local a = string.rep('x', 10^7) local t = {} for i = 1, 10^4 do t[i] = a end return table.concat(t)",
    "local a = string.rep('x', 10^6) return (a:gsub('x', a))",
    "local a = string.rep('x', 10^6) return (a:gsub('x', function() return a end))",
    "local a = string.rep('x', 10^6) return (a:gsub('x', {x = a}))",
    "local a = string.rep('x', 10^6) local t = {} for i = 1, 7000 do t[i] = a end \
     return string.format(string.rep('%s', 7000), unpack(t))",
    "local a = string.rep('x', 3 * 10^7) return a .. a .. a .. a .. a .. a .. a .. a .. a .. a .. a .. a .. a",
    "local a = string.rep('x', 10^6) local t = {} for i = 1, 10^4 do t[i] = a end return cjson.encode(t)",
    "local a = string.rep('x', 10^6) local t = {} for i = 1, 10^4 do t[i] = a end return cmsgpack.pack(t)",
    "local a = string.rep('x', 10^6) local t = {} for i = 1, 10^5 do t[i] = a end return t",
    "local a = string.rep('x', 10^6) local t = {} for i = 1, 7000 do t[i] = a end return redis.call('MGET', unpack(t))",
    "local function f() return 1 + f() end return f()",
    "local function f(...) return f(1, ...) end return f()",
    "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k + 1] end return t[1]",
    "return string.rep('a', 30000):find(string.rep('a-', 1000) .. 'b')",
    "return string.rep('a', 100000):match(string.rep('a?', 100000) .. string.rep('a', 100000))",
    "return string.rep('(', 10^6)",
    "return loadstring('return ' .. string.rep('(', 10^5))",
    "return loadstring(string.rep('do ', 10^5))",
    "local s = string.rep('[', 10^6) return cjson.decode(s)",
    "return cmsgpack.unpack(string.rep(string.char(0x91), 10^6))",
    "return unpack({}, 1, 10^8)",
    "local t = {} for i = 1, 5000 do t = {t} end return t",
    "local t = {} t[1] = t return t",
    "return string.find(string.rep('(', 6 * 10^6), '%b()')",
    "local set = '[' .. string.rep('b', 10^5) .. ']' return string.rep('a', 10^6):find(set)",
    "local set = '%f[' .. string.rep('b', 10^5) .. ']' return string.rep('a', 10^6):find(set)",
    "return string.rep('a', 10^6):find('.-b')",
    "return #string.rep('a', 10^6):gsub('a', string.rep('%0', 10^6))",
    "return cjson.encode({string.rep('\"', 4 * 10^7)})",
    "local s = string.rep('a', 3 * 10^7) return cmsgpack.pack(s, s, s)",
    "return cjson.decode('[' .. string.rep('[],', 3333333) .. '[]]')",
    "return cmsgpack.unpack(string.char(0xdd, 0, 0x98, 0x96, 0x80) .. string.rep(string.char(0x90), 10^7))",
    "local t = {} for i = 1, 10^6 do t[i] = setmetatable({}, {__mode = 'k'}) end return #t",
    "while true do pcall(function() local t = {} for i = 1, 10^6 do t[i] = setmetatable({}, {__mode = 'v'}) end end) end",
    "local m, p = {__mode = 'k'}, {} while true do local n = setmetatable({}, m) n[1] = p p = n end",
    "local p for i = 1, 10^5 do local q = p p = coroutine.create(function() coroutine.yield() return q end) \
     coroutine.resume(p) end",
    "return string.rep('a', 2 * 10^6):find(string.rep('a', 10^6) .. 'b', 1, true)",
    "local c c = coroutine.wrap(function() return c() end) return c()",
    "local function nest(n) return coroutine.wrap(function() return nest(n + 1) end)() end return nest(1)",
];

fn run(server: &ServerProcess, script: &'static str) -> JoinHandle<String> {
    let mut client = server.client();
    client.set_timeout(Duration::from_secs(60));
    thread::spawn(move || String::from_utf8_lossy(&client.call(&["EVAL", script, "1", "key"])).into_owned())
}

/// Whether a script runs.
fn runs(client: &mut RawClient) -> bool {
    client.call(&["GET", "key"]).starts_with(b"-BUSY")
}

/// Whether any of several keys can be set: a single one may lie in the part of the data that the script holds.
fn serves_others(mut set: impl FnMut(&str) -> bool) -> bool {
    (0..16).any(|number| set(&format!("other:{number}")))
}

#[test]
fn every_endless_script_can_be_killed_while_others_are_served() {
    let server = TestServer::with(&["--threads", "1", "--busy-reply-threshold", "50"]);
    let mut client = server.client();
    for script in ENDLESS {
        let running = run(&server, script);
        if *script == "goto_ = nil" {
            assert!(running.join().unwrap().contains("readonly table"));
            continue;
        }
        soon("the script runs", || runs(&mut client));
        let began = Instant::now();
        client.check("PING", "+PONG\r\n");
        assert!(serves_others(|key| client.call(&["SET", key, "1"]) == b"+OK\r\n"));
        assert!(began.elapsed() < Duration::from_millis(500), "{script}: {:?}", began.elapsed());
        client.check("SCRIPT KILL", "+OK\r\n");
        let reply = running.join().unwrap();
        assert!(reply.starts_with("-ERR Script killed"), "{script}: {reply}");
        client.check("SCRIPT KILL", "-NOTBUSY No scripts in execution right now.\r\n");
        client.check("GET key", "$-1\r\n");
    }
}

#[test]
fn greedy_scripts_end_within_limits() {
    let mut server = TestServer::with(&["--threads", "1"]);
    let mut client = server.client();
    let before = server.resident_bytes();
    for script in GREEDY {
        let (running, began) = (run(&server, script), Instant::now());
        client.check("PING", "+PONG\r\n");
        let reply = running.join().unwrap();
        let is_nested = reply.starts_with("*1\r\n*1\r\n") && reply.contains("-ERR reached lua stack limit");
        let is_result = reply.starts_with("$-1") || reply.starts_with("$1000000\r\n");
        assert!(reply.starts_with("-ERR ") || is_nested || is_result, "{script}: {:.200}", reply);
        assert!(began.elapsed() < Duration::from_secs(30), "{script}: {:?}", began.elapsed());
    }
    assert!(server.is_alive());
    assert!(growth(&server, before) < 1 << 30);
    client.check("EVAL \"return 1\" 0", ":1\r\n");
}

#[test]
fn a_reply_that_a_script_could_not_hold_is_not_made() {
    let server = TestServer::start();
    let mut client = server.client();
    client.check("SETRANGE big 30000000 x", ":30000001\r\n");
    let before = server.resident_bytes();
    let script =
        "local words = {'MGET'} for i = 1, 100 do words[i + 1] = KEYS[1] end return #redis.call(unpack(words))";
    for _ in 0..2 {
        assert!(client.call(&["EVAL", script, "1", "big"]).starts_with(b"-ERR not enough memory"));
    }
    assert!(growth(&server, before) < 300 << 20, "{} bytes more", growth(&server, before));
    client.check("EVAL \"return #redis.call('GET', KEYS[1])\" 1 big", ":30000001\r\n");
}

/// What the compiler would take all memory or many seconds for.
#[test]
fn code_that_cannot_be_compiled_soon_is_refused() {
    let mut server = TestServer::start();
    let mut client = server.client();
    let locals = "do local a = 1 end ".repeat(33_000);
    let chain = format!("x = {} b", "a and ".repeat(100_000));
    let entries: String = (0..120_000).map(|number| format!("y{number} = {number},")).collect();
    let (table, hidden) = (format!("return {{{entries}}}"), format!("x = '\\\r\n' {locals}'"));
    for (code, reason) in [
        (&locals, "too many local variables"),
        (&hidden, "too many local variables"),
        (&chain, "the code is too long to be compiled"),
        (&table, "the code is too long to be compiled"),
    ] {
        let began = Instant::now();
        let compiling = format!("-ERR Error compiling script (new function): {reason}\r\n");
        for call in [["SCRIPT", "LOAD", code].as_slice(), &["EVAL", code, "0"]] {
            assert_eq!(String::from_utf8_lossy(&client.call(call)), compiling);
        }
        let library = format!("#!lua name=long\n{code}");
        let reply = String::from_utf8_lossy(&client.call(&["FUNCTION", "LOAD", &library])).into_owned();
        assert_eq!(reply, format!("-ERR Error compiling function: {reason}\r\n"));
        assert!(began.elapsed() < Duration::from_secs(5), "{reason}: {:?}", began.elapsed());
    }
    let functions: String = (0..2_000)
        .map(|number| {
            format!("redis.register_function('f{number}', function(keys, args) return #keys + {number} end)\n")
        })
        .collect();
    let loaded = client.call(&["FUNCTION", "LOAD", &format!("#!lua name=long\n{functions}")]);
    assert_eq!(String::from_utf8_lossy(&loaded), "$4\r\nlong\r\n");
    assert!(server.is_alive());
}

#[test]
fn a_script_that_has_written_goes_on_until_the_server_ends() {
    let mut server = TestServer::with(&["--threads", "1", "--busy-reply-threshold", "50"]);
    let mut client = server.client();
    let _running = run(&server, "redis.call('SET', KEYS[1], 1) while true do end");
    soon("the script runs", || runs(&mut client));
    assert!(client.call(&["SCRIPT", "KILL"]).starts_with(b"-UNKILLABLE "));
    assert!(client.call(&["FLUSHALL"]).starts_with(b"-BUSY "));
    assert!(serves_others(|key| client.call(&["SET", key, "1"]) == b"+OK\r\n"));
    assert!(client.call(&["SHUTDOWN"]).starts_with(b"-BUSY "));
    let _ = client.send(&["SHUTDOWN", "NOSAVE"]);
    assert!(server.wait(Duration::from_secs(10)).success());
}

#[test]
fn calls_that_are_held_up_run_when_the_script_has_ended() {
    let server = TestServer::with(&["--threads", "1"]);
    let script = "redis.call('SET', KEYS[1], 0) for i = 1, 3e6 do end return redis.call('INCR', KEYS[1])";
    let running = run(&server, script);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = server.client();
            client.set_timeout(Duration::from_secs(60));
            thread::spawn(move || {
                for _ in 0..50 {
                    client.send(&["INCR", "key"]).unwrap();
                    client.send(&["WATCH", "key"]).unwrap();
                    client.send(&["MULTI"]).unwrap();
                    client.send(&["GET", "key"]).unwrap();
                    client.send(&["DISCARD"]).unwrap();
                    for _ in 0..5 {
                        client.reply().unwrap();
                    }
                }
            })
        })
        .collect();
    assert!(running.join().unwrap().starts_with(':'));
    clients.into_iter().for_each(|client| client.join().unwrap());
    let mut client = server.client();
    let left: i64 = client.ask("GET key").text.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    assert!((1..=401).contains(&left), "{left}");
}

#[test]
fn scripts_of_many_clients_are_atomic() {
    let server = TestServer::with(&["--threads", "3"]);
    // Each script touches a key that it does not declare, too. Half of the calls run where their connection runs.
    let script = "local a = tonumber(redis.call('GET', KEYS[1]) or 0) for i = 1, 20 do end \
                  local b = tonumber(redis.call('GET', KEYS[1] .. ':copy') or 0) if a ~= b then return redis.error_reply('TORN') end \
                  redis.call('SET', KEYS[1], a + 1) redis.call('SET', KEYS[1] .. ':copy', b + 1) return a + 1";
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let mut client = server.client();
            client.set_timeout(Duration::from_secs(60));
            thread::spawn(move || {
                for round in 0..200 {
                    let key = format!("k{}", (number + round) % 3);
                    let copy = format!("{key}:copy");
                    if round % 4 == 0 {
                        let read = client.ask(&format!("MGET {copy} {key}")).items;
                        assert_eq!(read[0].text, read[1].text);
                    } else {
                        let elsewhere = if round % 2 == 0 { "" } else { "while false do end " };
                        let reply = client.call(&["EVAL", &format!("{elsewhere}{script}"), "1", &key]);
                        assert!(reply.starts_with(b":"), "{}", String::from_utf8_lossy(&reply));
                    }
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    let mut client = server.client();
    let sum: i64 = (0..3).map(|number| text(&client.ask(&format!("GET k{number}")).text)).sum();
    assert_eq!(sum, 6 * 150);
}

#[test]
fn a_pipeline_of_scripts_is_answered_in_order() {
    let server = TestServer::with(&["--threads", "2"]);
    let scripts = [
        "return redis.call('INCR', KEYS[1])",
        "while false do end return redis.call('INCR', KEYS[1])",
        "while false do end redis.call('INCR', KEYS[1]) return redis.error_reply('MINE ' .. redis.call('GET', KEYS[1]))",
    ];
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let mut client = server.client();
            client.set_timeout(Duration::from_secs(60));
            thread::spawn(move || {
                let key = format!("n{number}");
                let (mut requests, mut expected) = (Vec::new(), Vec::new());
                for round in 1..=600 {
                    match (round * 7 + round / 5) % 5 {
                        3 => encode(&["INCR", &key], &mut requests),
                        4 => encode(&["EVAL", scripts[1], "1", &key], &mut requests),
                        which => encode(&["EVAL", scripts[which], "1", &key], &mut requests),
                    }
                    expected.push(match (round * 7 + round / 5) % 5 {
                        2 => format!("-MINE {round}\r\n"),
                        _ => format!(":{round}\r\n"),
                    });
                }
                client.raw(&requests).unwrap();
                for expected in expected {
                    assert_eq!(String::from_utf8_lossy(&client.reply().unwrap()), expected);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn a_pipeline_behind_an_endless_script_is_told_so() {
    let server = TestServer::with(&["--threads", "1", "--busy-reply-threshold", "50"]);
    let (mut client, mut other) = (server.client(), server.client());
    other.set_timeout(Duration::from_secs(60));
    let running = run(&server, "while true do end");
    soon("the script runs", || runs(&mut client));
    let mut requests = Vec::new();
    (0..3).for_each(|_| encode(&["EVAL", "while false do end return 1", "1", "other"], &mut requests));
    other.raw(&requests).unwrap();
    for _ in 0..3 {
        assert!(other.reply().unwrap().starts_with(b"-BUSY "));
    }
    client.check("SCRIPT KILL", "+OK\r\n");
    assert!(running.join().unwrap().starts_with("-ERR Script killed"));
    other.raw(&requests).unwrap();
    for _ in 0..3 {
        assert_eq!(other.reply().unwrap(), b":1\r\n");
    }
}

/// The source of such a script promises an end that it does not keep.
#[test]
fn a_script_that_misleads_ends_all_the_same() {
    let server = TestServer::with(&["--threads", "1"]);
    let mut client = server.client();
    let (reads, writes) = (
        "for i, key in ipairs(KEYS) do KEYS[i + 1] = key end return 1",
        "redis.call('SET', KEYS[1], 1) for i, key in ipairs(KEYS) do KEYS[i + 1] = key end return 1",
    );
    for (script, error) in [(reads, "-ERR not enough memory"), (writes, "-ERR too many steps")] {
        let loaded = client.ask(&format!("SCRIPT LOAD \"{script}\"")).text;
        let digest = String::from_utf8_lossy(&loaded).into_owned();
        for _ in 0..2 {
            let reply = client.call(&["EVALSHA", &digest, "1", "key"]);
            assert!(reply.starts_with(error.as_bytes()), "{script}: {}", String::from_utf8_lossy(&reply));
            client.check("EVAL \"return #KEYS\" 1 a", ":1\r\n");
        }
    }
    client.check("GET key", "$1\r\n1\r\n");
    // What others have noticed is not done once more.
    let mut listener = server.client();
    listener.check("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let tells = "redis.call('PUBLISH', 'c', 'm') for i, key in ipairs(KEYS) do KEYS[i + 1] = key end return 1";
    let digest = String::from_utf8(client.ask(&format!("SCRIPT LOAD \"{tells}\"")).text).unwrap();
    assert!(client.call(&["EVALSHA", &digest, "1", "key"]).starts_with(b"-ERR "));
    client.check("PUBLISH c last", ":1\r\n");
    for text in ["m", "last"] {
        let message = format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${}\r\n{text}\r\n", text.len());
        assert_eq!(String::from_utf8(listener.reply().unwrap()).unwrap(), message);
    }
    // A result that shows the same tables again and again.
    let doubled = "t = {t, t} ".repeat(16);
    let (reads, writes) = (
        format!("local t = {{1, 2}} {doubled} return t"),
        format!("redis.call('SET', KEYS[1], 2) local t = {{1, 2}} {doubled} return t"),
    );
    for (script, begins) in [(reads, "*2\r\n*2\r\n"), (writes, "-ERR too many steps")] {
        let digest = String::from_utf8(client.ask(&format!("SCRIPT LOAD \"{script}\"")).text).unwrap();
        for _ in 0..2 {
            assert!(client.call(&["EVALSHA", &digest, "1", "key"]).starts_with(begins.as_bytes()), "{script}");
        }
    }
}

#[test]
fn examples_of_the_manual_are_true() {
    let page = include_str!("../../docs/scripts.md");
    let mut examples = 0;
    for block in page.split("```").skip(1).step_by(2) {
        let server = Server::builder().build().unwrap();
        let mut connection = server.connect();
        let mut calls = block.trim().split("\n> ").map(|call| call.trim_start_matches("> "));
        calls.by_ref().for_each(|call| {
            let (command, expected) = call.split_once('\n').unwrap();
            let reply = connection.execute(larder_tests::corpus::split_words(command));
            assert_eq!(reply.to_string(), expected.trim_end(), "{command}");
            examples += 1;
        });
    }
    assert!(examples > 10, "{examples}");
}

fn text(digits: &[u8]) -> i64 {
    String::from_utf8_lossy(digits).parse().unwrap()
}

#[test]
fn a_client_may_leave_while_its_script_runs() {
    let server = TestServer::with(&["--threads", "1", "--busy-reply-threshold", "20"]);
    let mut client = server.client();
    let mut gone = server.client();
    gone.send(&["WATCH", "key"]).unwrap();
    gone.send(&["EVAL", "while true do end", "1", "key"]).unwrap();
    soon("the script runs", || runs(&mut client));
    drop(gone);
    client.check("PING", "+PONG\r\n");
    client.check("SCRIPT KILL", "+OK\r\n");
    soon("the key is free", || client.call(&["SET", "key", "1"]) == b"+OK\r\n");
    soon("the client is gone", || {
        client.ask("INFO clients").text.windows(19).any(|part| part == b"connected_clients:1")
    });
}

#[test]
fn monitors_see_what_scripts_call() {
    let server = TestServer::start();
    let (mut monitor, mut client) = (server.client(), server.client());
    monitor.check("MONITOR", "+OK\r\n");
    client.check("EVAL \"return redis.call('SET', KEYS[1], 'v')\" 1 k", "+OK\r\n");
    let line = String::from_utf8(monitor.reply().unwrap()).unwrap();
    assert!(line.ends_with("] \"EVAL\" \"return redis.call('SET', KEYS[1], 'v')\" \"1\" \"k\"\r\n"), "{line}");
    let line = String::from_utf8(monitor.reply().unwrap()).unwrap();
    assert!(line.ends_with(" [0 lua] \"SET\" \"k\" \"v\"\r\n"), "{line}");
}

#[test]
fn users_may_call_in_scripts_what_they_may_call() {
    let server = TestServer::start();
    let mut client = server.client();
    client.check("ACL SETUSER u on nopass ~k* +eval +get +echo", "+OK\r\n");
    client.check("AUTH u x", "+OK\r\n");
    client.check("EVAL \"return redis.call('GET', KEYS[1])\" 1 k", "$-1\r\n");
    let denied = client.call(&["EVAL", "return redis.call('SET', KEYS[1], 1)", "1", "k"]);
    assert!(
        denied.starts_with(b"-ERR ACL failure in script: User u has no permissions to run the 'set' command script: ")
    );
    let denied = client.call(&["EVAL", "return redis.call('GET', 'other')", "0"]);
    assert!(denied.starts_with(b"-ERR ACL failure in script: No permissions to access a key script: "));
    client.check("EVAL \"return redis.acl_check_cmd('SET', 'k', 'v')\" 0", "$-1\r\n");
    client.check("EVAL \"return redis.acl_check_cmd('GET', 'k')\" 0", ":1\r\n");
}

#[test]
fn memory_that_is_short_is_told_to_scripts() {
    let server = TestServer::with(&["--maxmemory", "1"]);
    let mut client = server.client();
    let refused = client.call(&["EVAL", "return redis.call('SET', 'k', 'v')", "0"]);
    assert!(refused.starts_with(b"-OOM command not allowed when used memory > 'maxmemory'. script: "));
    client.check("EVAL \"return redis.call('DEL', 'k')\" 0", ":0\r\n");
    client.check("EVAL \"redis.call('DEL', 'k') return redis.call('SET', 'k', 'v')\" 0", "+OK\r\n");
    client.check("EVAL \"#!lua flags=allow-oom\\nreturn redis.call('SET', 'k', 'v')\" 0", "+OK\r\n");
    client.check("EVAL \"#!lua\\nreturn 1\" 0", "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
}

#[test]
fn the_memory_of_a_script_has_a_limit() {
    let server = TestServer::start();
    let mut client = server.client();
    let script = "redis.call('SET', 'k', 'before') local t = {} for i = 1, 200000 do t[i] = 'x' .. i end return #t";
    client.check(&format!("EVAL \"{script}\" 0"), ":200000\r\n");
    client.check("CONFIG SET lua-memory-limit 4mb", "+OK\r\n");
    client.check("DEL k", ":1\r\n");
    let refused = client.call(&["EVAL", script, "0"]);
    let told = b"-ERR not enough memory: the script needs more than 'lua-memory-limit' allows script: ";
    assert!(refused.starts_with(told), "{}", String::from_utf8_lossy(&refused));
    client.check("GET k", "$6\r\nbefore\r\n");
    let large = format!("return '{}'", "x".repeat(5 << 20));
    let refused = client.call(&["EVAL", &large, "0"]);
    assert!(refused.starts_with(b"-ERR Error compiling script (new function): not enough memory: "));
    client.check("CONFIG SET lua-memory-limit 64mb", "+OK\r\n");
    client.check(&format!("EVAL \"{script}\" 0"), ":200000\r\n");
    client.check("SCRIPT FLUSH", "+OK\r\n");
    client.check("EVAL \"return 1\" 0", ":1\r\n");
}

/// Ways to need more memory than a script may use.
const OVERFLOWS: &[&str] = &[
    "local t = {} while true do t[#t + 1] = {} end",
    "return string.rep('x', 10^8)",
    "return {pcall(string.rep, 'x', 10^8)}",
    "return {xpcall(function() return string.rep('x', 10^8) end, function(e) for i = 1, 50 do end return e end)}",
    "coroutine.wrap(function() return string.rep('x', 10^8) end)()",
    "return {coroutine.resume(coroutine.create(function() return string.rep('x', 10^8) end))}",
    "load(function() return string.rep(' ', 10^6) end)",
    "local a = string.rep('x', 10^6) local t = {} for i = 1, 100 do t[i] = a end return {pcall(table.concat, t)}",
    "local a = string.rep('x', 10^6) return (a:gsub('x', a))",
    "local a = string.rep('x', 10^6) local t = {} for i = 1, 100 do t[i] = a end return {pcall(cjson.encode, t)}",
    "local a = string.rep('x', 10^6) local t = {} for i = 1, 100 do t[i] = a end return {pcall(cmsgpack.pack, t)}",
    "local a = string.rep('x', 10^6) local t = {} for i = 1, 100 do t[i] = a end \
     return {pcall(string.format, string.rep('%s', 100), unpack(t))}",
];

#[test]
fn whoever_needs_too_much_memory_is_told_so_and_where_and_nothing_catches_it() {
    let server = TestServer::start();
    let mut client = server.client();
    for script in OVERFLOWS {
        let reply = String::from_utf8_lossy(&client.call(&["EVAL", script, "0"])).into_owned();
        let told = "-ERR not enough memory: the script needs more than 'lua-memory-limit' allows script: ";
        assert!(reply.starts_with(told) && reply.ends_with(", on @user_script:1.\r\n"), "{script}: {reply:.200}");
    }
}

#[test]
fn stopped_scripts_leave_nothing_in_suspended_coroutines() {
    const SUSPENDED: &str = "local co = coroutine.wrap(function() coroutine.yield() end) co() local t = {}";
    let server = TestServer::with(&["--threads", "1", "--lua-memory-limit", "16mb"]);
    let mut client = server.client();
    let greedy = format!("{SUSPENDED} for i = 1, 10^9 do t[i] = i end");
    let endless = format!("{SUSPENDED} for i = 1, 250000 do t[i] = i end redis.call('GET', 'key') while true do end");
    let before = server.resident_bytes();
    for _ in 0..30 {
        assert!(client.call(&["EVAL", &greedy, "0"]).starts_with(b"-ERR not enough memory"));
    }
    let mut other = server.client();
    for _ in 0..10 {
        other.send(&["EVAL", &endless, "0"]).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        soon("it is killed", || client.call(&["SCRIPT", "KILL"]) == b"+OK\r\n");
        assert!(other.reply().unwrap().starts_with(b"-ERR Script killed"));
    }
    assert!(growth(&server, before) < 128 << 20, "{}", growth(&server, before));
}

#[test]
fn coroutines_count_as_memory() {
    /// So many there may be.
    const MOST: i64 = 256;
    let server = TestServer::with(&["--lua-memory-limit", "16mb"]);
    let mut client = server.client();
    for (kept, made) in [
        ("coroutine.create(function() end)", "coroutine.create"),
        ("coroutine.wrap(function() coroutine.yield() end)", "coroutine.wrap"),
    ] {
        let script = format!("local t = {{}} while true do t[redis.call('INCR', KEYS[1])] = {kept} end");
        assert!(client.call(&["EVAL", &script, "1", made]).starts_with(b"-ERR not enough memory"), "{made}");
        let count = text(&client.ask(&format!("GET {made}")).text);
        assert!((MOST - 2..=MOST + 1).contains(&count), "{made}: {count}");
    }
    // Their stacks grow, in suspended ones and in those that wait for others.
    let deep = "local function f(n) if n == 0 then coroutine.yield() else f(n - 1) end return 1 end local t = {} \
                while true do local co = coroutine.wrap(f) co(1000) t[redis.call('INCR', KEYS[1])] = co end";
    assert!(client.call(&["EVAL", deep, "1", "deep"]).starts_with(b"-ERR not enough memory"));
    let count = text(&client.ask("GET deep").text);
    assert!((10..400).contains(&count), "{count}");
    // What is let go is not counted any more.
    let brief = "for i = 1, 100000 do coroutine.wrap(function() coroutine.yield() end)() end return 'all'";
    client.check(&format!("EVAL \"{brief}\" 0"), "$3\r\nall\r\n");
}

#[test]
fn transactions_are_given_up_at_once_beside_a_script() {
    let server = TestServer::with(&["--threads", "1", "--busy-reply-threshold", "50"]);
    let (mut client, mut unwatching, mut discarding) = (server.client(), server.client(), server.client());
    let mut refused = server.client();
    for watcher in [&mut unwatching, &mut discarding, &mut refused] {
        watcher.check("WATCH key", "+OK\r\n");
    }
    discarding.check("MULTI", "+OK\r\n");
    refused.check("MULTI", "+OK\r\n");
    let running = run(&server, "redis.call('GET', KEYS[1]) while true do end");
    soon("the script runs", || runs(&mut client));
    unwatching.check("UNWATCH", "+OK\r\n");
    discarding.check("DISCARD", "+OK\r\n");
    refused.check("GET key", "+QUEUED\r\n");
    assert!(refused.call(&["EXEC"]).starts_with(b"-EXECABORT "));
    // What the script holds counts as changed by it, until it is not watched any more.
    for watcher in [&mut unwatching, &mut discarding] {
        watcher.check("WATCH key", "+OK\r\n");
        watcher.check("MULTI", "+OK\r\n");
        watcher.check("SET key 1", "+QUEUED\r\n");
    }
    unwatching.check("EXEC", "*-1\r\n");
    client.check("SCRIPT KILL", "+OK\r\n");
    running.join().unwrap();
    discarding.check("EXEC", "*-1\r\n");
    soon("the key is free", || client.call(&["SET", "key", "1"]) == b"+OK\r\n");
    for watcher in [&mut unwatching, &mut discarding, &mut refused] {
        watcher.check("MULTI", "+OK\r\n");
        watcher.check("EXEC", "*0\r\n");
        watcher.check("WATCH key", "+OK\r\n");
        client.check("SET key 2", "+OK\r\n");
        watcher.check("MULTI", "+OK\r\n");
        watcher.check("EXEC", "*-1\r\n");
    }
}

#[test]
fn whoever_is_told_that_a_script_was_killed_is_right() {
    let server = TestServer::with(&["--threads", "1"]);
    let (mut client, mut killer) = (server.client(), server.client());
    let mut killed = 0;
    for number in 0..300 {
        // It ends by itself at about the time at which it is killed.
        let script = format!("for i = 1, {} do local x = function() end end return 'all'", 1000 * (number % 30));
        client.send(&["EVAL", &script, "0"]).unwrap();
        std::thread::sleep(Duration::from_micros(100 * (number % 7)));
        let kill = killer.call(&["SCRIPT", "KILL"]);
        let reply = client.reply().unwrap();
        match kill.as_slice() {
            b"+OK\r\n" => {
                killed += 1;
                assert!(reply.starts_with(b"-ERR Script killed"), "{}", String::from_utf8_lossy(&reply));
            }
            other => {
                assert!(other.starts_with(b"-NOTBUSY"));
                assert_eq!(reply, b"$3\r\nall\r\n");
            }
        }
    }
    assert!(killed > 0);
}

#[test]
fn what_has_only_told_or_counted_can_be_killed() {
    let server = TestServer::with(&["--threads", "1", "--busy-reply-threshold", "50"]);
    let mut client = server.client();
    for call in ["'PUBLISH', 'c', 'm'", "'SPUBLISH', 'c', 'm'", "'PFCOUNT', 'none'"] {
        let script = format!("redis.call({call}) while true do redis.call('GET', KEYS[1]) end");
        let running = run(&server, script.leak());
        soon("the script runs", || runs(&mut client));
        client.check("SCRIPT KILL", "+OK\r\n");
        let reply = running.join().unwrap();
        assert!(reply.starts_with("-ERR Script killed"), "{call}: {reply}");
    }
}

/// The figures of a command in INFO, without times.
fn figures(client: &mut RawClient, command: &str) -> String {
    let info = String::from_utf8_lossy(&client.call(&["INFO", "commandstats"])).into_owned();
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:")));
    let figures = line.unwrap_or_default().split(',').filter(|figure| !figure.starts_with("usec"));
    figures.collect::<Vec<_>>().join(",")
}

#[test]
fn calls_that_a_script_keeps_from_running_count_as_rejected() {
    let server = TestServer::with(&["--threads", "1", "--busy-reply-threshold", "200"]);
    let (mut client, mut waits, mut queues) = (server.client(), server.client(), server.client());
    client.check("SET key v", "+OK\r\n");
    queues.check("MULTI", "+OK\r\n");
    queues.check("STRLEN key", "+QUEUED\r\n");
    let running = run(&server, "redis.call('TYPE', KEYS[1]) while true do end");
    soon("the script runs", || figures(&mut client, "type").starts_with("calls=1"));
    // Some wait until the others are told at once.
    waits.send(&["GET", "key"]).unwrap();
    queues.send(&["EXEC"]).unwrap();
    let mut scripts = server.client();
    scripts.send(&["EVALSHA_RO", "x", "1", "key"]).unwrap();
    assert!(waits.reply().unwrap().starts_with(b"-BUSY "));
    assert!(queues.reply().unwrap().starts_with(b"-EXECABORT Transaction discarded because of: BUSY "));
    assert!(scripts.reply().unwrap().starts_with(b"-BUSY "));
    for call in ["GET key", "APPEND key x", "EVAL_RO 'return 1' 1 key"] {
        assert!(client.ask(call).text.starts_with(b"BUSY "), "{call}");
    }
    client.check("SCRIPT KILL", "+OK\r\n");
    running.join().unwrap();
    for (command, rejected) in [("get", 2), ("append", 1), ("exec", 1), ("eval_ro", 1), ("evalsha_ro", 1)] {
        let expected = format!("calls=0,rejected_calls={rejected},failed_calls=0");
        assert_eq!(figures(&mut client, command), expected, "{command}");
    }
    // What comes afterwards counts as ever.
    for client in [&mut client, &mut waits, &mut queues, &mut scripts] {
        client.check("INCR key", "-ERR value is not an integer or out of range\r\n");
    }
    assert_eq!(figures(&mut client, "incr"), "calls=4,rejected_calls=0,failed_calls=4");
}

#[test]
fn a_transaction_with_scripts_is_shown_and_counted_once() {
    let server = TestServer::start();
    let (mut monitor, mut client) = (server.client(), server.client());
    monitor.check("MONITOR", "+OK\r\n");
    for script in ["return 1", "for i = 1, 10^6 do end return 1"] {
        client.check("MULTI", "+OK\r\n");
        client.check(&format!("EVAL \"{script}\" 0"), "+QUEUED\r\n");
        client.check("EXEC", "*1\r\n:1\r\n");
    }
    for expected in ["MULTI", "EVAL", "EXEC", "MULTI", "EVAL", "EXEC"] {
        let line = String::from_utf8(monitor.reply().unwrap()).unwrap();
        assert!(line.contains(&format!("] \"{expected}\"")), "{line}");
    }
    client.check("PING", "+PONG\r\n");
    let line = String::from_utf8(monitor.reply().unwrap()).unwrap();
    assert!(line.ends_with("] \"PING\"\r\n"), "{line}");
    assert_eq!(figures(&mut client, "exec"), "calls=2,rejected_calls=0,failed_calls=0");
}

#[test]
fn info_is_told_beside_a_script() {
    let server = TestServer::with(&["--threads", "1", "--busy-reply-threshold", "50"]);
    let mut client = server.client();
    (0..100).for_each(|number| client.check(&format!("SET key:{number} v"), "+OK\r\n"));
    let running = run(&server, "redis.call('DBSIZE') while true do end");
    soon("the script runs", || runs(&mut client));
    let began = Instant::now();
    let info = String::from_utf8_lossy(&client.call(&["INFO"])).into_owned();
    for fact in ["\r\nused_memory:", "\r\nconnected_clients:", "\r\ndb0:keys=100,expires=0,"] {
        assert!(info.contains(fact), "{fact}: {info}");
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    client.check("SCRIPT KILL", "+OK\r\n");
    running.join().unwrap();
}

#[test]
fn garbage_is_no_limit() {
    let server = TestServer::with(&["--lua-memory-limit", "16mb"]);
    let mut client = server.client();
    // More than half of the limit stays, and much more than the rest of it is garbage.
    for script in [
        "local kept = {} for i = 1, 10 do kept[i] = string.rep('x', 10^6) .. i end \
         for i = 1, 60 do local s = string.rep('y', 10^6) .. i end return #kept",
        "local kept = string.rep('x', 10^7) for i = 1, 10^5 do local t = {i} end return 10",
        "local s = '[' .. string.rep('1,', 10^5) .. '1]' for i = 1, 20 do cjson.decode(s) end return 10",
    ] {
        let reply = client.call(&["EVAL", script, "0"]);
        assert_eq!(reply, b":10\r\n", "{script}: {}", String::from_utf8_lossy(&reply));
    }
    // Weak tables are what they are called while they are few.
    let weak = "local w = setmetatable({}, {__mode = 'v'}) for i = 1, 100 do w[i] = {} end collectgarbage() return #w";
    client.check(&format!("EVAL \"{weak}\" 0"), ":0\r\n");
}

#[test]
fn what_a_script_leaves_does_not_hinder_the_next() {
    let server = TestServer::start();
    let mut client = server.client();
    for number in 0..20 {
        for script in
            ["return #cjson.encode({string.rep('\\\"', 2 * 10^7)})", "return #string.rep('x', 3 * 10^7)", "return 1"]
        {
            // A text of its own: it is compiled after what was left.
            let reply = client.call(&["EVAL", &format!("{script} -- {number}"), "0"]);
            assert!(reply.starts_with(b":"), "{script}: {}", String::from_utf8_lossy(&reply));
        }
    }
}

#[test]
fn a_program_runs_scripts_without_a_socket() {
    let server = Arc::new(Server::builder().option("busy-reply-threshold", "30").build().unwrap());
    let mut connection = server.connect();
    let reply = connection.execute(["EVAL", "return redis.call('INCRBY', KEYS[1], ARGV[1])", "1", "n", "5"]);
    assert_eq!(reply, Value::Integer(5));
    assert_eq!(
        connection.run(b"MULTI\r\nEVAL 'return 7' 0\r\nGET n\r\nEXEC\r\n"),
        b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:7\r\n$1\r\n5\r\n"
    );
    let other = server.clone();
    let running = thread::spawn(move || other.connect().execute(["EVAL", "while true do end", "1", "n"]));
    soon("the script runs", || {
        connection.execute(["GET", "n"]).as_error().is_some_and(|error| error.starts_with("BUSY"))
    });
    assert!(serves_others(|key| connection.execute(["SET", key, "v"]).as_str() == Some("OK")));
    assert_eq!(connection.execute(["SCRIPT", "KILL"]).as_str(), Some("OK"));
    assert!(running.join().unwrap().is_error());
    assert_eq!(connection.execute(["GET", "n"]).as_str(), Some("5"));
}

#[test]
fn effects_of_a_script_are_one_group() {
    let groups = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = groups.clone();
    let record = move |group: &larder::effects::Group| {
        let words =
            |args: larder_protocol::Args<'_>| args.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
        log.lock()
            .unwrap()
            .push(group.effects().iter().map(|effect| words(effect.command.as_args())).collect::<Vec<_>>());
    };
    let server = Server::builder().record(record).build().unwrap();
    let mut connection = server.connect();
    connection.execute([
        "EVAL",
        "redis.call('SET', 'a', 1) redis.call('GET', 'a') return redis.call('INCR', 'b')",
        "0",
    ]);
    connection.execute(["EVAL", "return 1", "0"]);
    assert_eq!(*groups.lock().unwrap(), [["SET a 1", "INCR b"]]);
}
