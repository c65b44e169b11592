//! redis-cli and redis-benchmark, which must work without knowing whom they talk to.

use larder_tests::{ServerProcess, TestServer, tool};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a program against the server with this input, for at most `time`, and returns what it printed.
fn run(program: &Path, server: &ServerProcess, args: &[&str], input: &[u8], time: Duration) -> String {
    let port = server.port().to_string();
    // A file and not a pipe: nothing has to read while the program runs.
    let path = server.directory().join(format!("output-{}", larder_tests::process::random_bits()));
    let output = std::fs::File::create(&path).unwrap();
    let mut child = Command::new(program)
        .args(["-p", &port])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    // A program that takes no input may have closed it.
    drop(child.stdin.take().unwrap().write_all(input));
    let until = Instant::now() + time;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

/// What redis-cli prints; `None` where it is not installed.
fn cli(server: &ServerProcess, args: &[&str], input: &str) -> Option<String> {
    Some(run(&tool("redis-cli")?, server, args, input.as_bytes(), Duration::from_secs(20)))
}

/// A server with a few keys of each type.
fn stocked() -> ServerProcess {
    let server = TestServer::start();
    let mut client = server.client();
    for number in 0..50 {
        client.check(&format!("SET key:{number} value"), "+OK\r\n");
    }
    client.check("SET large \"x\"*10000", "+OK\r\n");
    client.check("ZADD scores 1 a 2.5 b 3 c", ":3\r\n");
    client.check("RPUSH queue a b c d", ":4\r\n");
    client.check("HSET user name ann age 30", ":2\r\n");
    client.check("SADD tags red green", ":2\r\n");
    client.check("XADD log 1-1 field value", "$3\r\n1-1\r\n");
    server
}

#[test]
fn commands_as_arguments() {
    let server = stocked();
    let table: &[(&[&str], &str)] = &[
        (&["SET", "k", "v"], "OK\n"),
        (&["GET", "k"], "v\n"),
        (&["--no-raw", "GET", "nothing"], "(nil)\n"),
        (&["--no-raw", "INCR", "n"], "(integer) 1\n"),
        (
            &["--no-raw", "ZRANGE", "scores", "0", "-1", "WITHSCORES"],
            "1) \"a\"\n2) \"1\"\n3) \"b\"\n4) \"2.5\"\n5) \"c\"\n6) \"3\"\n",
        ),
        (&["-3", "--no-raw", "ZSCORE", "scores", "b"], "(double) 2.5\n"),
        (&["-3", "--no-raw", "CONFIG", "GET", "maxmemory"], "1# \"maxmemory\" => \"0\"\n"),
        (&["-3", "--no-raw", "ZRANGE", "scores", "0", "0", "WITHSCORES"], "1) 1) \"a\"\n   2) (double) 1\n"),
        (&["--csv", "MGET", "k", "nothing"], "\"v\",NULL\n"),
        (&["-n", "3", "DBSIZE"], "0\n"),
        (&["-r", "3", "INCR", "repeated"], "1\n2\n3\n"),
        (&["-e", "NOSUCH"], "ERR unknown command 'NOSUCH', with args beginning with: \n"),
    ];
    for (args, wanted) in table {
        let Some(got) = cli(&server, args, "") else {
            return;
        };
        assert_eq!(&got, wanted, "{args:?}");
    }
    assert!(cli(&server, &["INFO"], "").unwrap().contains("redis_version:7.4"));
}

#[test]
fn commands_from_standard_input() {
    let server = stocked();
    let input = "SET k \"a b\"\nGET k\nSELECT 2\nDBSIZE\nMULTI\nINCR n\nEXEC\nHELLO 3\nNOSUCH\n";
    let Some(got) = cli(&server, &["--no-raw"], input) else {
        return;
    };
    assert!(
        got.starts_with("OK\n\"a b\"\nOK\n(integer) 0\nOK\nQUEUED\n1) (integer) 1\n1# \"server\" => \"redis\""),
        "{got}"
    );
    assert!(got.contains("unknown command 'NOSUCH'"), "{got}");
    assert_eq!(cli(&server, &["-x", "SET", "whole"], "line\nline").unwrap(), "OK\n");
    assert_eq!(cli(&server, &["GET", "whole"], "").unwrap(), "line\nline\n");
}

#[test]
fn a_terminal() {
    let server = stocked();
    // script(1) gives it a terminal, so that it prompts, and asks for the commands' documentation for its hints.
    let (Some(_), Some(script)) = (tool("redis-cli"), tool("script")) else {
        return;
    };
    let command = format!("redis-cli -p {}", server.port());
    let mut child = Command::new(script)
        .args(["-qec", &command, "/dev/null"])
        .env("TERM", "dumb")
        .env("HOME", server.directory())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"SET k v\nINCR n\nGET nothing\nMULTI\nexit\n").unwrap();
    let got = String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned();
    for text in ["OK", "(integer) 1", "(nil)", "(TX)>"] {
        assert!(got.contains(text), "{text}: {got}");
    }
}

#[test]
fn password_and_user() {
    let server = TestServer::with(&["--requirepass", "secret"]);
    let Some(got) = cli(&server, &["PING"], "") else {
        return;
    };
    assert_eq!(got, "NOAUTH Authentication required.\n\n");
    assert_eq!(cli(&server, &["--no-auth-warning", "-a", "secret", "PING"], "").unwrap(), "PONG\n");
    assert_eq!(
        cli(&server, &["--no-auth-warning", "--user", "default", "-a", "secret", "-3", "PING"], "").unwrap(),
        "PONG\n"
    );
}

#[test]
fn scan() {
    let server = stocked();
    let Some(got) = cli(&server, &["--scan", "--pattern", "key:*"], "") else {
        return;
    };
    let mut keys: Vec<_> = got.lines().collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 50, "{got}");
}

#[test]
fn bigkeys_and_memkeys() {
    let server = stocked();
    let Some(got) = cli(&server, &["--bigkeys"], "") else {
        return;
    };
    assert!(got.contains("Sampled 56 keys in the keyspace!"), "{got}");
    assert!(got.contains("Biggest string found '\"large\"' has 10000 bytes"), "{got}");
    assert!(got.contains("Biggest   zset found '\"scores\"' has 3 members"), "{got}");
    assert!(got.contains("Biggest   list found '\"queue\"' has 4 items"), "{got}");
    assert!(got.contains("Biggest   hash found '\"user\"' has 2 fields"), "{got}");
    assert!(got.contains("Biggest    set found '\"tags\"' has 2 members"), "{got}");
    assert!(got.contains("Biggest stream found '\"log\"' has 1 entries"), "{got}");
    let got = cli(&server, &["--memkeys"], "").unwrap();
    for (kind, key) in [("string", "large"), ("list", "queue"), ("hash", "user"), ("stream", "log")] {
        assert!(got.contains(&format!("Biggest {kind:>6} found '\"{key}\"' has")), "{kind}: {got}");
    }
}

#[test]
fn hotkeys() {
    let server = TestServer::with(&["--maxmemory-policy", "allkeys-lfu"]);
    let mut client = server.client();
    for number in 0..30 {
        client.check(&format!("RPUSH list:{number} a"), ":1\r\n");
    }
    for _ in 0..2000 {
        client.check("LLEN list:7", ":1\r\n");
    }
    let Some(got) = cli(&server, &["--hotkeys"], "") else {
        return;
    };
    let first = got.lines().find(|line| line.starts_with("hot key found with counter:"));
    assert!(first.is_some_and(|line| line.ends_with("keyname: \"list:7\"")), "{got}");
    server.client().check("CONFIG SET maxmemory-policy allkeys-lru", "+OK\r\n");
    let got = cli(&server, &["--hotkeys"], "").unwrap();
    assert!(got.contains("Error: ERR An LFU maxmemory policy is not selected"), "{got}");
}

#[test]
fn stat() {
    let server = stocked();
    let Some(program) = tool("redis-cli") else {
        return;
    };
    // It flushes what it has printed only when the server has gone.
    let got = std::thread::scope(|scope| {
        let stat = scope.spawn(|| run(&program, &server, &["--stat", "-i", "0.1"], b"", Duration::from_millis(1500)));
        std::thread::sleep(Duration::from_millis(700));
        server.client().send(&["SHUTDOWN", "NOSAVE"]).unwrap();
        stat.join().unwrap()
    });
    let line = got.lines().find(|line| line.starts_with("56 ")).unwrap_or_else(|| panic!("{got}"));
    let columns: Vec<_> = line.split_whitespace().collect();
    // Keys, memory, clients, blocked, requests, connections.
    assert!(columns.len() >= 6 && columns[1] != "0" && columns[2] == "1" && columns[3] == "0", "{line}");
}

#[test]
fn latency() {
    let server = stocked();
    let Some(got) = cli(&server, &["--raw", "--latency", "-i", "1"], "") else {
        return;
    };
    let numbers: Vec<f64> = got.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(numbers.len() >= 4 && numbers[3] > 10.0, "minimum, maximum, average, samples: {got}");
}

#[test]
fn pipe() {
    let server = stocked();
    let mut input = Vec::new();
    for number in 0..20_000 {
        let key = format!("mass:{number}");
        let command: &[&str] = match number % 4 {
            0 => &["SET", &key, "x"],
            1 => &["RPUSH", &key, "x", "y"],
            2 => &["HSET", &key, "field", "x"],
            _ => &["ZADD", &key, "1", "x"],
        };
        larder_tests::client::encode(command, &mut input);
    }
    larder_tests::client::encode(&["NOSUCH"], &mut input);
    let Some(program) = tool("redis-cli") else {
        return;
    };
    let got = run(&program, &server, &["--pipe"], &input, Duration::from_secs(20));
    assert!(got.contains("errors: 1, replies: 20001"), "{got}");
    server.client().check("DBSIZE", ":20056\r\n");
}

#[test]
fn subscribe() {
    let server = stocked();
    let Some(program) = tool("redis-cli") else {
        return;
    };
    let got = std::thread::scope(|scope| {
        let listener =
            scope.spawn(|| run(&program, &server, &["--csv", "SUBSCRIBE", "news"], b"", Duration::from_millis(800)));
        let mut publisher = server.client();
        let until = Instant::now() + Duration::from_millis(600);
        while Instant::now() < until && publisher.call(&["PUBLISH", "news", "hello"]) == b":0\r\n" {
            std::thread::sleep(Duration::from_millis(5));
        }
        listener.join().unwrap()
    });
    assert!(got.contains("\"message\",\"news\",\"hello\""), "{got}");
}

#[test]
fn benchmark() {
    let server = TestServer::start();
    let Some(program) = tool("redis-benchmark") else {
        return;
    };
    // All its tests, and the lists that LRANGE reads are filled by one more LPUSH.
    const TESTS: usize = 20;
    for options in [&[][..], &["-P", "16", "--threads", "2"], &["-3", "-r", "1000"]] {
        let args = [&["-q", "-n", "2000"], options].concat();
        let got = run(&program, &server, &args, b"", Duration::from_secs(60));
        let finished = got.matches("requests per second").count();
        assert!(finished == TESTS && !got.contains("rror"), "{options:?}: {got}");
    }
}

#[test]
fn functions_are_moved_as_the_manual_says() {
    if tool("redis-cli").is_none() {
        return;
    }
    let (from, to) = (TestServer::start(), TestServer::start());
    let code = "#!lua name=moved\nredis.register_function('five', function() return 5 end)";
    assert!(from.client().call(&["FUNCTION", "LOAD", code]).starts_with(b"$5"));
    let page = include_str!("../../docs/scripts.md");
    let line = page.lines().find(|line| line.contains("FUNCTION DUMP |")).unwrap();
    let line = line.replace("6379", &from.port().to_string()).replace("6380", &to.port().to_string());
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "OK\n", "{line}");
    to.client().check("FCALL five 0", ":5\r\n");
}
