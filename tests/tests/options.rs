//! Options of a running server: that each does what its manual entry says, as far as that shows from outside only.

use larder_tests::process::{free_port, subject};
use larder_tests::{ServerProcess, TestServer, soon};
use std::fs;
use std::time::Duration;

/// Starts the server with a configuration file, written into its directory, of which `DIR` and `PORT` are replaced.
fn with_file(name: &str, text: &str) -> (ServerProcess, std::path::PathBuf) {
    let directory = std::env::temp_dir().join(format!("larder-options-{}-{name}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let port = free_port();
    let text = text.replace("DIR", directory.to_str().unwrap()).replace("PORT", &port.to_string());
    let file = directory.join("redis.conf");
    fs::write(&file, text).unwrap();
    let mut server = ServerProcess::spawn_bare(subject(), port, &[file.to_str().unwrap()]);
    assert!(server.is_ready(), "{}", server.log());
    (server, directory)
}

/// What the server prints when it does not start.
fn refusal(args: &[&str]) -> String {
    let mut server = ServerProcess::spawn_bare(subject(), free_port(), args);
    let status = server.wait(Duration::from_secs(10));
    assert_eq!(status.code(), Some(1), "{args:?}: {}", server.log());
    server.log()
}

#[test]
fn log_lines_have_the_form_of_redis() {
    let mut server = TestServer::start();
    soon("a line", || server.log().contains("Ready to accept connections tcp\n"));
    for line in server.log().lines() {
        let words: Vec<_> = line.split(' ').collect();
        assert_eq!(words[0], format!("{}:M", server.pid()), "{line}");
        assert_eq!((words[1].len(), words[2].len(), words[3].len(), words[4].len()), (2, 3, 4, 12), "{line}");
        assert!(["*", "#"].contains(&words[5]), "{line}");
    }
    server.client().send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    server.wait(Duration::from_secs(10));
    assert!(server.log().contains(" * User requested shutdown...\n"), "{}", server.log());
    assert!(server.log().contains(" # Larder has ended"), "{}", server.log());
}

#[test]
fn the_log_level_changes_at_run_time() {
    let server = TestServer::with(&["--loglevel", "warning"]);
    let mut client = server.client();
    assert_eq!(server.log(), "");
    client.check("CONFIG SET loglevel verbose", "+OK\r\n");
    drop(server.client());
    soon("connections are logged", || server.log().contains(" - Client closed connection 127.0.0.1:"));
    client.check("CONFIG SET loglevel nothing", "+OK\r\n");
    soon("nothing is logged", || {
        let before = server.log();
        server.client().check("PING", "+PONG\r\n");
        std::thread::sleep(Duration::from_millis(50));
        server.log() == before
    });
}

#[test]
fn the_log_file_may_be_moved_away() {
    let (server, directory) = with_file("log", "port PORT\ndir DIR\nlogfile larder.log\nloglevel verbose");
    let file = directory.join("larder.log");
    soon("the first lines", || fs::read_to_string(&file).is_ok_and(|text| text.contains("Ready to accept")));
    fs::rename(&file, directory.join("larder.log.1")).unwrap();
    server.client().check("PING", "+PONG\r\n");
    soon("a new file", || fs::read_to_string(&file).is_ok_and(|text| text.contains("Accepted 127.0.0.1:")));
    assert_eq!(server.log(), "");
    fs::remove_dir_all(directory).unwrap();
}

/// The essential lines of a `redis.conf` as a distribution delivers it.
const STOCK: &str = "\
bind 127.0.0.1 -::1\nprotected-mode yes\nport 6379\ntcp-backlog 511\ntimeout 0\ntcp-keepalive 300\ndaemonize yes\n\
pidfile /run/redis/redis-server.pid\nloglevel notice\nlogfile /var/log/redis/redis-server.log\ndatabases 16\n\
always-show-logo no\nset-proc-title yes\nproc-title-template \"{title} {listen-addr} {server-mode}\"\n\
stop-writes-on-bgsave-error yes\nrdbcompression yes\nrdbchecksum yes\ndbfilename dump.rdb\nrdb-del-sync-files no\n\
dir /var/lib/redis\nreplica-serve-stale-data yes\nreplica-read-only yes\nrepl-diskless-sync yes\n\
repl-diskless-sync-delay 5\nrepl-diskless-sync-max-replicas 0\nrepl-diskless-load disabled\n\
repl-disable-tcp-nodelay no\nreplica-priority 100\nacllog-max-len 128\nlazyfree-lazy-eviction no\n\
replica-lazy-flush no\noom-score-adj no\noom-score-adj-values 0 200 800\ndisable-thp yes\nappendonly no\n\
appendfilename \"appendonly.aof\"\nappenddirname \"appendonlydir\"\nappendfsync everysec\n\
no-appendfsync-on-rewrite no\nauto-aof-rewrite-percentage 100\nauto-aof-rewrite-min-size 64mb\n\
aof-load-truncated yes\naof-use-rdb-preamble yes\naof-timestamp-enabled no\n \nslowlog-log-slower-than 10000\n\
slowlog-max-len 128\nlatency-monitor-threshold 0\nnotify-keyspace-events \"\"\nhash-max-listpack-entries 512\n\
list-max-listpack-size -2\nset-max-intset-entries 512\nzset-max-listpack-entries 128\nhll-sparse-max-bytes 3000\n\
stream-node-max-bytes 4096\nactiverehashing yes\nclient-output-buffer-limit normal 0 0 0\n\
client-output-buffer-limit replica 256mb 64mb 60\nclient-output-buffer-limit pubsub 32mb 8mb 60\nhz 10\n\
dynamic-hz yes\naof-rewrite-incremental-fsync yes\nrdb-save-incremental-fsync yes\njemalloc-bg-thread yes\n\
cluster-enabled no\nactivedefrag no\ntls-port 0\nmaxmemory-clients 0\nio-threads 1\nio-threads-do-reads no\n\
latency-tracking yes\nsyslog-enabled no\ncrash-log-enabled yes\nshutdown-timeout 10\nlua-time-limit 5000\n\
busy-reply-threshold 5000\nslave-read-only yes\nsupervised no\n";

/// A stock file with the places of this test in place of the system's.
fn moved(stock: &str) -> String {
    let lines = stock.lines().map(|line| match line.split(' ').next() {
        Some("port") => "port PORT",
        Some("pidfile") => "pidfile DIR/larder.pid",
        Some("logfile") => "logfile \"\"",
        Some("dir") => "dir DIR",
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_stock_file_starts_the_server() {
    let installed = fs::read_to_string("/etc/redis/redis.conf").ok();
    for (name, stock) in [("stock", Some(STOCK)), ("installed", installed.as_deref())] {
        let Some(stock) = stock else { continue };
        let (server, directory) = with_file(name, &moved(stock));
        server.client().check("CONFIG GET dir", &{
            let dir = fs::canonicalize(&directory).unwrap();
            let dir = dir.to_str().unwrap();
            format!("*2\r\n$3\r\ndir\r\n${}\r\n{dir}\r\n", dir.len())
        });
        soon("a line", || server.log().contains("Ready to accept connections"));
        let log = server.log();
        assert!(log.contains(" # daemonize has no effect: the server stays in the foreground\n"), "{log}");
        assert!(log.contains(" # Options without effect: always-show-logo, set-proc-title, "), "{log}");
        fs::remove_dir_all(directory).unwrap();
    }
}

#[test]
fn an_unknown_option_is_refused_in_a_few_words() {
    for (args, reason) in [
        (["--maxmemori", "1gb"], "unknown option '--maxmemori'; --help lists them"),
        (["--hz", "10 --x"], "argument couldn't be parsed into an integer"),
        (["redis.conf", "more.conf"], "unexpected argument 'more.conf'; --help lists the options"),
    ] {
        let text = refusal(&args);
        assert!(text.starts_with("\n*** FATAL CONFIG FILE ERROR (Larder "), "{text}");
        assert!(text.trim_end().ends_with(reason), "{text}");
        assert!(text.lines().count() <= 5, "{text}");
    }
}

#[test]
fn a_usual_configuration_file_is_taken() {
    let text = "\
        # A comment\n\n  # another\nbind 127.0.0.1 -::1\nprotected-mode yes\nport PORT\ntcp-backlog 511\ntimeout 0\n\
        tcp-keepalive 300\ndaemonize no\npidfile DIR/larder.pid\nloglevel notice\nlogfile \"\"\ndatabases 16\nalways-show-logo no\n\
        set-proc-title yes\nproc-title-template \"{title} {listen-addr} {server-mode}\"\nstop-writes-on-bgsave-error yes\n\
        rdbcompression yes\ndbfilename dump.rdb\ndir DIR\nreplica-read-only yes\nrequirepass \"a \\x41 '\"\nMaxMemory 100mb\n\
        maxmemory-policy allkeys-lru\nlazyfree-lazy-user-del no\nappendonly no\nappendfsync everysec\nslowlog-max-len 128\n\
        notify-keyspace-events \"\"\nhash-max-listpack-entries 512\nclient-output-buffer-limit normal 0 0 0\n\
        client-output-buffer-limit replica 256mb 64mb 60\nclient-output-buffer-limit pubsub 32mb 8mb 60\nhz 10\ndynamic-hz yes\n\
        jemalloc-bg-thread yes\nsave \"\"\nenable-debug-command local\n";
    let (mut server, directory) = with_file("usual", text);
    let mut client = server.client();
    client.check("AUTH \"a A '\"", "+OK\r\n");
    client.check("CONFIG GET maxmemory", "*2\r\n$9\r\nmaxmemory\r\n$9\r\n104857600\r\n");
    soon("the log names what is passed over", || {
        server.log().contains("Options without effect: always-show-logo, set-proc-title, ")
    });
    let pid_file = directory.join("larder.pid");
    soon("a pid file", || fs::read_to_string(&pid_file).is_ok_and(|text| text == format!("{}\n", server.pid())));
    client.check("CONFIG SET maxmemory 5mb", "+OK\r\n");
    client.check("CONFIG REWRITE", "+OK\r\n");
    let rewritten = fs::read_to_string(directory.join("redis.conf")).unwrap();
    for line in ["# A comment", "maxmemory 5mb", "dbfilename dump.rdb", "requirepass \"a A '\""] {
        assert!(rewritten.lines().any(|known| known == line), "{line}: {rewritten}");
    }
    drop(client);
    server.client().raw(b"AUTH \"a A '\"\r\nSHUTDOWN NOSAVE\r\n").unwrap();
    server.wait(Duration::from_secs(10));
    assert!(!pid_file.exists());
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn wrong_options_are_refused_as_redis_refuses_them() {
    let cases: [(&[&str], &str); 7] = [
        (&["--port", "abc"], ">>> 'port \"abc\"'\nargument couldn't be parsed into an integer\n"),
        (&["--port", "70000"], "argument must be between 0 and 65535 inclusive\n"),
        (&["--maxmemory-policy"], "wrong number of arguments\n"),
        (&["--loglevel", "loud"], "argument(s) must be one of the following: debug, verbose, notice, warning"),
        (&["--nosuch", "1"], "Reading the command line\nunknown option '--nosuch'; --help lists them\n"),
        (&["/no/such/file"], "Fatal error, can't open config file '/no/such/file': No such file or directory\n"),
        (&["--save", "900"], "Invalid save parameters\n"),
    ];
    for (args, text) in cases {
        let log = refusal(args);
        assert!(log.contains(text), "{args:?}: {log}");
        assert!(args[0].starts_with('/') || log.contains("*** FATAL CONFIG FILE ERROR"), "{args:?}: {log}");
    }
}

#[test]
fn what_cannot_be_listened_on_is_said() {
    assert!(refusal(&["--port", "0"]).contains("Configured to not listen anywhere, exiting."));
    let server = TestServer::start();
    let log = refusal(&["--port", &server.port().to_string()]);
    let text = format!("Could not create server TCP listening socket 127.0.0.1:{}: bind: Address", server.port());
    assert!(log.contains(&text), "{log}");
    // An address of nobody, from those for documentation.
    let port = free_port().to_string();
    assert!(refusal(&["--port", &port, "--bind", "192.0.2.1"]).contains("192.0.2.1"));
}

#[test]
fn several_addresses_some_optional() {
    let server = TestServer::with(&["--bind", "127.0.0.1", "127.0.0.2", "-192.0.2.1", "-::1"]);
    assert!(std::net::TcpStream::connect(("127.0.0.2", server.port())).is_ok() || cfg!(not(target_os = "linux")));
    assert!(server.log().contains("Not listening on 192.0.2.1, which is optional"), "{}", server.log());
}

#[cfg(unix)]
#[test]
fn the_unix_socket_has_its_permissions_and_goes_with_the_server() {
    use std::os::unix::fs::PermissionsExt;
    let mut server = TestServer::with(&["--unixsocket", "larder.sock", "--unixsocketperm", "700"]);
    let path = server.directory().join("larder.sock");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(10)).success());
    assert!(!path.exists());
    assert!(server.log().contains("Received SIGTERM scheduling shutdown..."));
}

#[test]
fn idle_clients_are_closed_but_not_subscribers() {
    let server = TestServer::with(&["--timeout", "1"]);
    let (mut idle, mut listener) = (server.client(), server.client());
    listener.check("SUBSCRIBE news", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    idle.check("PING", "+PONG\r\n");
    assert_eq!(idle.rest().unwrap(), b"", "closed without a word");
    listener.check("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
}

#[test]
fn clients_beyond_the_maximum_are_told() {
    let server = TestServer::with(&["--maxclients", "2"]);
    let mut first = server.client();
    first.check("PING", "+PONG\r\n");
    // The connection that waited for the server may take a moment to go.
    let mut second = server.client();
    soon("a second client", || {
        second = server.client();
        second.call(&["PING"]) == b"+PONG\r\n"
    });
    let mut third = server.client();
    assert_eq!(third.rest().unwrap(), b"-ERR max number of clients reached\r\n");
    first.check("CONFIG SET maxclients 3", "+OK\r\n");
    server.client().check("PING", "+PONG\r\n");
}

/// Publishes until the subscriber, who does not read, holds more than the socket takes, then waits for its end.
fn stalled_subscriber(limit: &str, megabytes: usize) {
    let server = TestServer::with(&["--client-output-buffer-limit", limit]);
    let (mut listener, mut publisher) = (server.client(), server.client());
    listener.check("SUBSCRIBE news", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    let message = "m".repeat(1 << 20);
    for _ in 0..megabytes {
        publisher.call(&["PUBLISH", "news", &message]);
    }
    soon("the subscriber is closed", || {
        let info = String::from_utf8(publisher.call(&["INFO", "stats"])).unwrap();
        info.contains("client_output_buffer_limit_disconnections:1\r\n")
    });
    publisher.check("PUBSUB NUMSUB news", "*2\r\n$4\r\nnews\r\n:0\r\n");
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_at_the_hard_limit() {
    stalled_subscriber("pubsub 8mb 0 0", 40);
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_some_time_after_the_soft_limit() {
    // Nothing more is published after the limit was passed: time alone closes it.
    stalled_subscriber("pubsub 0 4mb 1", 30);
}

#[test]
fn a_client_that_does_not_read_its_replies_is_closed_too() {
    let server = TestServer::with(&["--client-output-buffer-limit", "normal", "0", "1mb", "1"]);
    let (mut stalled, mut other) = (server.client(), server.client());
    other.call(&["SET", "large", &"v".repeat(30 << 20)]);
    stalled.send(&["GET", "large"]).unwrap();
    soon("it is closed", || {
        let info = String::from_utf8(other.call(&["INFO", "stats"])).unwrap();
        info.contains("client_output_buffer_limit_disconnections:1\r\n")
    });
}

#[test]
fn the_query_buffer_is_limited() {
    let server = TestServer::with(&["--client-query-buffer-limit", "1mb"]);
    let mut client = server.client();
    // The peer may close while this is on its way.
    drop(client.raw(&[&b"*2\r\n$4\r\nECHO\r\n$4194304\r\n"[..], &vec![b'x'; 3 << 20]].concat()));
    soon("it is closed", || {
        let info = String::from_utf8(server.client().call(&["INFO", "stats"])).unwrap();
        info.contains("client_query_buffer_limit_disconnections:1\r\n")
    });
}
