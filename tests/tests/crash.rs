//! How the process starts and ends.
#![cfg(unix)]

use larder_tests::process::{free_port, subject};
use larder_tests::{ServerProcess, TestServer};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);

/// Runs the program to its end.
fn run(args: &[&str]) -> Output {
    Command::new(subject()).args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn ends_well(mut server: ServerProcess, signal: &str) {
    let mut client = server.client();
    client.check("SET k v", "+OK\r\n");
    let _silent = server.client();
    server.signal(signal);
    assert_eq!(server.wait(SOON).code(), Some(0), "{}", server.log());
    assert_eq!(client.rest().unwrap(), b"", "the connection is closed");
}

#[test]
fn sigterm_ends_gracefully() {
    ends_well(TestServer::start(), "TERM");
}

#[test]
fn sigint_ends_gracefully() {
    ends_well(TestServer::start(), "INT");
}

#[test]
fn sighup_does_nothing() {
    let mut server = TestServer::start();
    server.client().check("SET k v", "+OK\r\n");
    server.signal("HUP");
    server.client().check("GET k", "$1\r\nv\r\n");
    server.signal("TERM");
    assert_eq!(server.wait(SOON).code(), Some(0), "{}", server.log());
}

#[test]
fn a_second_signal_ends_at_once_though_a_command_runs() {
    for signal in ["INT", "TERM"] {
        let mut server = TestServer::with(&["--enable-debug-command", "yes", "--threads", "1"]);
        let mut client = server.client();
        let mut other = server.client();
        other.set_timeout(Duration::from_millis(200));
        client.send(&["DEBUG", "SLEEP", "60"]).unwrap();
        // The command runs when nobody else is answered any more.
        while other.send(&["PING"]).is_ok() && other.reply().is_ok() {}
        server.signal(signal);
        until_logged(&server, &format!("Received SIG{signal} scheduling shutdown..."));
        server.signal(signal);
        assert_eq!(server.wait(SOON).code(), Some(1), "{}", server.log());
        assert!(server.log().contains(&format!(" # Received SIG{signal} again, exiting now\n")), "{}", server.log());
    }
}

fn until_logged(server: &ServerProcess, line: &str) {
    let until = Instant::now() + SOON;
    while !server.log().contains(line) {
        assert!(Instant::now() < until, "{line}: {}", server.log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_client_that_does_not_read_does_not_hold_up_the_end() {
    let mut server = TestServer::start();
    let mut client = server.client();
    client.call(&[b"SET".as_slice(), b"k", &vec![b'x'; 1 << 20]]);
    client.raw(&b"GET k\r\n".repeat(50)).unwrap();
    server.signal("TERM");
    assert_eq!(server.wait(SOON).code(), Some(0));
}

#[test]
fn shutdown_ends_gracefully() {
    for command in ["SHUTDOWN", "SHUTDOWN NOSAVE", "SHUTDOWN NOSAVE NOW FORCE"] {
        let mut server = TestServer::start();
        let mut client = server.client();
        client.send(&larder_tests::words(command)).unwrap();
        assert_eq!(client.rest().unwrap(), b"", "{command}");
        assert_eq!(server.wait(SOON).code(), Some(0), "{command}");
    }
}

#[test]
fn a_killed_server_leaves_its_port_free() {
    let mut server = TestServer::start();
    let port = server.port();
    let clients: Vec<_> = (0..20).map(|_| server.client()).collect();
    server.signal("KILL");
    assert_eq!(server.wait(SOON).code(), None, "killed by a signal");
    for mut client in clients {
        assert_eq!(client.rest().unwrap(), b"");
    }
    let mut again = ServerProcess::spawn(subject(), port, &[]);
    assert!(again.is_ready());
}

#[test]
fn a_port_in_use_is_an_error() {
    let server = TestServer::start();
    let output = run(&["--port", &server.port().to_string(), "--bind", "127.0.0.1"]);
    assert!(!output.status.success());
    assert_eq!(text(&output).matches("in use").count(), 1, "said once: {}", text(&output));
    let log = server.directory().join("larder.log");
    let port = server.port().to_string();
    let output = run(&["--port", &port, "--logfile", log.to_str().unwrap()]);
    assert_eq!(text(&output).matches("in use").count(), 1, "and on the terminal if the log is a file");
    let output = run(&["--port", &port, "--loglevel", "nothing"]);
    assert_eq!(text(&output).matches("in use").count(), 1, "and if there is no log");
}

#[test]
fn a_bad_option_is_an_error_that_names_it() {
    let port = free_port().to_string();
    for (option, value) in
        [("--nosuchoption", "1"), ("--maxmemory", "much"), ("--maxmemory-policy", "best"), ("--hz", "-5")]
    {
        let output = run(&["--port", &port, option, value]);
        assert!(!output.status.success(), "{option} {value}");
        assert!(text(&output).contains(&option[2..]), "{option}: {}", text(&output));
    }
}

#[test]
fn a_configuration_file_is_the_first_argument() {
    let directory = TestServer::start();
    let file = directory.directory().join("test.conf");
    let port = free_port();
    std::fs::write(
        &file,
        format!("# a comment\nport 1\nbind 127.0.0.1\nsave \"\"\nmaxmemory 100mb\ntimeout 17\nport {port}\n"),
    )
    .unwrap();
    let args = [file.to_str().unwrap(), "--timeout", "18"];
    let mut server = ServerProcess::spawn_bare(subject(), port, &args);
    assert!(server.is_ready(), "{}", server.log());
    let mut client = server.client();
    client.check("CONFIG GET maxmemory", "*2\r\n$9\r\nmaxmemory\r\n$9\r\n104857600\r\n");
    client.check("CONFIG GET timeout", "*2\r\n$7\r\ntimeout\r\n$2\r\n18\r\n");
    client.check("CONFIG SET timeout 19", "+OK\r\n");
    client.check("CONFIG REWRITE", "+OK\r\n");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("timeout 19") && written.contains("# a comment"), "{written}");
}

#[test]
fn a_bad_line_in_the_file_is_an_error_that_shows_it() {
    let server = TestServer::start();
    let file = server.directory().join("bad.conf");
    std::fs::write(&file, "port 0\nnosuchoption 5\n").unwrap();
    let output = run(&[file.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(text(&output).contains("nosuchoption"), "{}", text(&output));
    let output = run(&["/nonexistent/file.conf"]);
    assert!(!output.status.success());
}

#[test]
fn a_unix_socket_serves_too() {
    let other = TestServer::start();
    let path = other.directory().join("socket");
    let server = TestServer::with(&["--unixsocket", path.to_str().unwrap()]);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"SET k v\r\nGET k\r\n").unwrap();
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+OK\r\n$1\r\nv\r\n");
    server.client().check("GET k", "$1\r\nv\r\n");
}

#[test]
fn the_version_is_told() {
    let output = run(&["--version"]);
    assert!(output.status.success());
    // Harnesses that start a server read the first number.
    assert!(text(&output).starts_with("Redis server v=7.4.1 sha="), "{}", text(&output));
}
