//! Users beyond what one reply shows: the ACL file, declarations in the configuration, connections that lose their rights,
//! and the log.

use larder::Server;
use larder_tests::process::{free_port, subject};
use larder_tests::{RawClient, Redis, ServerProcess, TestServer, frame, soon};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const OK: &str = "+OK\r\n";
const INTEGER_1: &str = ":1\r\n";
const DEFAULT: &str = "user default on nopass sanitize-payload ~* &* +@all";

/// A directory of its own for a test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("larder-acl-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let file = self.0.join(name);
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The reply to a line as text, an array as its elements.
fn texts(client: &mut RawClient, line: &str) -> Vec<String> {
    let frame = client.ask(line);
    let items = if frame.items.is_empty() { vec![frame] } else { frame.items };
    items.iter().map(|item| String::from_utf8_lossy(&item.text).into_owned()).collect()
}

/// What the server prints when it does not start.
fn refusal(args: &[&str]) -> String {
    let port = free_port().to_string();
    let mut server = ServerProcess::spawn_bare(subject(), 0, &[&["--port", &port], args].concat());
    let status = server.wait(Duration::from_secs(10));
    assert_eq!(status.code(), Some(1), "{args:?}: {}", server.log());
    server.log()
}

#[test]
fn acl_load_answers_as_redis() {
    let scratch = Scratch::new("errors");
    let file = scratch.write("users.acl", "");
    let Some(redis) = Redis::with(&["--aclfile", &file]) else { return };
    let server = TestServer::with(&["--aclfile", &file]);
    let (mut ours, mut theirs) = (server.client(), redis.client());
    for text in [
        "user alice on sanitize-payload +get ~a*\nuser default on sanitize-payload nopass +@all ~* &*\n",
        "  user bob on sanitize-payload >secret\r\n\n\nuser default sanitize-payload on nopass +@all ~* &*",
        "user carol (+get ~x) sanitize-payload ( +set\t ~y ) &c\nuser default sanitize-payload on nopass +@all ~* &*",
        "user alice on +nosuch +@nosuch ~a",
        "user alice nosuch foo\nuser bob ~* ~a nosuch",
        "user alice on\nuser alice off",
        "user default on\nuser default off",
        "# comment",
        "users alice on",
        "user",
        "USER alice on",
        "user a\x0bb on",
        "user alice <secret",
        "user alice #12\n\nuser bob !12",
        "nonsense\nuser alice ~* ~a\nmore",
    ] {
        scratch.write("users.acl", text);
        for line in ["ACL LOAD", "ACL USERS", "ACL LIST"] {
            let words = larder_tests::words(line);
            let (got, wanted) = (ours.call(&words), theirs.call(&words));
            assert_eq!(frame::show(&got), frame::show(&wanted), "{line} of {text:?}");
        }
    }
    fs::remove_file(&file).unwrap();
    let words = larder_tests::words("ACL LOAD");
    assert_eq!(frame::show(&ours.call(&words)), frame::show(&theirs.call(&words)));
    scratch.write("users.acl", "");
}

#[test]
fn what_is_saved_is_there_after_a_restart() {
    let scratch = Scratch::new("save");
    let file = scratch.write("users.acl", "user alice off\nuser gone off");
    let server = TestServer::with(&["--aclfile", &file]);
    let mut client = server.client();
    assert_eq!(texts(&mut client, "ACL USERS"), ["alice", "default", "gone"]);
    client.check("ACL SETUSER alice on >secret +@all -flushall ~a* %R~b &c (%W~d +set)", OK);
    client.check("ACL DELUSER gone", INTEGER_1);
    client.check("ACL SETUSER default nopass -debug", OK);
    client.check("ACL SAVE", OK);
    let saved = scratch.read("users.acl");
    let expected = "user alice on sanitize-payload #2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b ~a* %R~b \
         resetchannels &c +@all -flushall (%W~d resetchannels -@all +set)\n\
         user default on nopass sanitize-payload ~* &* +@all -debug\n";
    assert_eq!(saved, expected);
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "nothing is left beside it");
    drop(server);
    let server = TestServer::with(&["--aclfile", &file]);
    let mut client = server.client();
    assert_eq!(texts(&mut client, "ACL LIST").join("\n") + "\n", expected);
    client.check("AUTH alice secret", OK);
    client.check("SET d v", OK);
    fs::remove_dir_all(&scratch.0).unwrap();
    client.check("AUTH default x", OK);
    client.check(
        "ACL SAVE",
        "-ERR There was an error trying to save the ACLs. Please check the server logs for more information\r\n",
    );
    fs::create_dir_all(&scratch.0).unwrap();
}

#[test]
fn a_load_closes_only_clients_that_it_concerns() {
    let scratch = Scratch::new("load");
    let file = scratch.write("users.acl", "user alice on nopass +@all ~* &a &b\nuser bob on nopass +@all ~* &*");
    let server = TestServer::with(&["--aclfile", &file]);
    let as_user = |name: &str, line: &str| {
        let mut client = server.client();
        client.check(&format!("AUTH {name} x"), OK);
        client.ask(line);
        client
    };
    let (mut alice, mut bob) = (as_user("alice", "PING"), as_user("bob", "PING"));
    let (mut on_a, mut on_b, mut bobs) =
        (as_user("alice", "SUBSCRIBE a"), as_user("alice", "SUBSCRIBE b"), as_user("bob", "PSUBSCRIBE *"));
    let mut admin = server.client();
    scratch.write("users.acl", "user alice on >new +@all -get ~* &a\nuser carol on");
    admin.check("ACL LOAD", OK);
    for closed in [&mut bob, &mut bobs, &mut on_b] {
        closed.rest().unwrap();
    }
    admin.check("PUBLISH a x", INTEGER_1);
    on_a.check("PING", "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n");
    alice.check("GET k", "-NOPERM User alice has no permissions to run the 'get' command\r\n");
    alice.check("SET k v", OK);
    // Whoever loads a file without himself is answered first.
    scratch.write("users.acl", "");
    alice.check("ACL LOAD", OK);
    assert_eq!(alice.rest().unwrap(), b"");
    assert_eq!(texts(&mut admin, "ACL LIST"), [DEFAULT]);
}

#[test]
fn wrong_declarations_do_not_start() {
    let scratch = Scratch::new("start");
    let file = scratch.write("users.acl", "user alice on +nosuch");
    let missing = scratch.0.join("missing.acl");
    for (args, text) in [
        (vec!["--user", "alice", "on", "+nosuch"], "'+nosuch': Unknown command or category name in ACL"),
        (vec!["--user", "alice", "on", "--user", "alice", "off"], "Duplicate user found."),
        (vec!["--user", "alice", "(+get"], "Unmatched parenthesis"),
        (vec!["--aclfile", &file], "users.acl:1: Error in applying operation '+nosuch': Unknown command"),
        (vec!["--aclfile", missing.to_str().unwrap()], "missing.acl': No such file or directory"),
        (vec!["--aclfile", &file, "--user", "bob", "on"], "It must be one or the other"),
    ] {
        let log = refusal(&args);
        assert!(log.contains(text), "{args:?}: {log}");
    }
}

#[test]
fn users_of_the_configuration_are_written_back() {
    let scratch = Scratch::new("rewrite");
    let port = free_port();
    let text = format!(
        "port {port}\nrequirepass first\nuser alice on nopass ~* +@all -flushall\n# more\nuser default on >second ~* &* +@all\n\
         dir {}\n",
        scratch.0.display()
    );
    let file = scratch.write("larder.conf", &text);
    let start = || {
        let mut server = ServerProcess::spawn_bare(subject(), port, &[&file]);
        assert!(server.is_ready(), "{}", server.log());
        server
    };
    let server = start();
    let mut client = server.client();
    client.check("AUTH first", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    client.check("AUTH second", OK);
    client.check("ACL SETUSER bob off '~a\"b'", OK);
    client.check("ACL SETUSER alice -config", OK);
    client.check("CONFIG REWRITE", OK);
    let users = texts(&mut client, "ACL LIST");
    let written = scratch.read("larder.conf");
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines[2], "user alice on nopass sanitize-payload ~* resetchannels +@all -flushall -config", "{written}");
    assert!(lines.contains(&"user bob off sanitize-payload \"~a\\\"b\" resetchannels -@all"), "{written}");
    drop(server);
    let server = start();
    let mut client = server.client();
    client.check("AUTH second", OK);
    assert_eq!(texts(&mut client, "ACL LIST"), users);
}

#[test]
fn requirepass_is_the_password_of_the_default_user() {
    let server = TestServer::with(&["--requirepass", "first"]);
    let (mut admin, mut old) = (server.client(), server.client());
    admin.check("AUTH first", OK);
    old.check("AUTH first", OK);
    admin.check("CONFIG SET requirepass second", OK);
    old.check("PING", "+PONG\r\n");
    assert!(texts(&mut admin, "ACL LIST")[0].starts_with("user default on sanitize-payload #16367aac"));
    server.client().check("AUTH first", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    server.client().check("AUTH default second", OK);
    admin.check("CONFIG SET requirepass ''", OK);
    assert_eq!(texts(&mut admin, "ACL LIST"), [DEFAULT]);
    server.client().check("PING", "+PONG\r\n");
}

#[test]
fn idle_connections_of_a_removed_user_are_closed() {
    let server = TestServer::with(&["--threads", "2"]);
    let mut admin = server.client();
    admin.check("ACL SETUSER alice on nopass +@all ~* &*", OK);
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.check("AUTH alice x", OK));
    clients[3].check("MULTI", OK);
    let list = String::from_utf8(admin.call(&["CLIENT", "LIST"])).unwrap();
    assert_eq!((list.matches(" user=alice ").count(), list.matches(" user=default ").count()), (4, 1), "{list}");
    admin.check("ACL DELUSER alice", INTEGER_1);
    for client in &mut clients {
        assert_eq!(client.rest().unwrap(), b"");
    }
    let list = String::from_utf8(admin.call(&["CLIENT", "LIST"])).unwrap();
    assert_eq!(list.matches("id=").count(), 1, "{list}");
}

#[test]
fn a_change_holds_from_the_next_command_on() {
    let server = TestServer::with(&["--threads", "2"]);
    let mut admin = server.client();
    admin.check("ACL SETUSER alice on nopass +@all ~* &*", OK);
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.check("AUTH alice x", OK));
    for round in 0..50 {
        admin.check("ACL SETUSER alice resetkeys ~a", OK);
        for client in &mut clients {
            client.check("SET b v", "-NOPERM No permissions to access a key\r\n");
            client.check("SET a v", OK);
        }
        admin.check("ACL SETUSER alice allkeys", OK);
        clients[round % 4].check("SET b v", OK);
    }
    // Within one batch, too.
    let batch = "SET b v\r\nACL SETUSER alice -set\r\nSET b v\r\nACL SETUSER alice +set\r\nSET b v\r\n";
    clients[0].raw(batch.as_bytes()).unwrap();
    for expected in [OK, OK, "-NOPERM User alice has no permissions to run the 'set' command\r\n", OK, OK] {
        assert_eq!(String::from_utf8(clients[0].reply().unwrap()).unwrap(), expected);
    }
}

#[test]
fn denials_are_logged_and_counted() {
    let server = TestServer::start();
    let (mut admin, mut client) = (server.client(), server.client());
    admin.check("ACL SETUSER alice on >secret +@all -set ~a resetchannels &a", OK);
    client.check("CLIENT SETNAME worker", OK);
    client.ask("AUTH alice wrong");
    client.check("AUTH alice secret", OK);
    for line in ["SET a v", "GET b", "GET b", "PUBLISH b x", "MULTI", "GET b", "CONFIG SET x"] {
        client.ask(line);
    }
    let log = admin.ask("ACL LOG");
    let field = |entry: usize, name: &str| {
        let pairs = log.items[entry].items.chunks(2);
        let mut found = pairs.filter(|pair| pair[0].text == name.as_bytes());
        String::from_utf8(found.next().unwrap()[1].text.clone()).unwrap()
    };
    let shown: Vec<String> = (0..log.items.len())
        .map(|entry| {
            let fields = ["entry-id", "count", "reason", "context", "object", "username"];
            fields.map(|name| field(entry, name)).join(" ")
        })
        .collect();
    assert_eq!(
        shown,
        [
            "4 1 key multi b alice",
            "3 1 channel toplevel b alice",
            "2 2 key toplevel b alice",
            "1 1 command toplevel set alice",
            "0 1 auth toplevel AUTH alice",
        ]
    );
    let who = field(2, "client-info");
    assert!(who.contains(" name=worker ") && who.contains(" cmd=get user=alice ") && !who.contains('\n'), "{who}");
    assert!(field(4, "client-info").contains(" user=default "));
    assert!(field(2, "age-seconds").parse::<f64>().unwrap() < 60.0);
    assert!(field(2, "timestamp-created") <= field(2, "timestamp-last-updated"));
    let info = String::from_utf8(admin.call(&["INFO", "stats"])).unwrap();
    for (name, count) in [("auth", 1), ("cmd", 1), ("key", 3), ("channel", 1)] {
        assert!(info.contains(&format!("acl_access_denied_{name}:{count}\r\n")), "{name}: {info}");
    }
    let rejected = String::from_utf8(admin.call(&["INFO", "commandstats"])).unwrap();
    assert!(rejected.contains("cmdstat_get:calls=0,usec=0,usec_per_call=0.00,rejected_calls=3,"), "{rejected}");
}

#[test]
fn a_listener_that_changes_its_own_rights_is_answered_first() {
    let server = TestServer::start();
    let mut client = server.client();
    client.check("ACL SETUSER alice on nopass +@all ~* &*", OK);
    client.ask("HELLO 3 AUTH alice x");
    client.check("SUBSCRIBE a", ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    client.check("ACL SETUSER alice resetchannels &a", OK);
    client.check("ACL SETUSER alice resetchannels &b", OK);
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn connections_without_a_socket_may_do_everything() {
    let server = Server::builder().words("user", &["alice", "on", ">secret", "+get", "~a"]).build().unwrap();
    let mut connection = server.connect();
    assert_eq!(connection.execute(["ACL", "SETUSER", "default", "off", "-@all"]).as_str(), Some("OK"));
    assert_eq!(connection.execute(["SET", "a", "v"]).as_str(), Some("OK"));
    assert_eq!(connection.execute(["ACL", "WHOAMI"]).as_str(), Some("default"));
    assert_eq!(server.connect().execute(["GET", "a"]).as_str(), Some("v"));
    assert_eq!(connection.execute(["RESET"]).as_str(), Some("RESET"));
    assert_eq!(connection.execute(["GET", "a"]).as_str(), Some("v"));
    // Until they become somebody else.
    assert_eq!(connection.execute(["AUTH", "alice", "secret"]).as_str(), Some("OK"));
    assert_eq!(connection.execute(["GET", "a"]).as_str(), Some("v"));
    let reply = connection.execute(["SET", "a", "w"]);
    assert_eq!(reply.as_error().as_deref(), Some("NOPERM User alice has no permissions to run the 'set' command"));
    server.connect().execute(["ACL", "DELUSER", "alice"]);
    let reply = connection.execute(["GET", "a"]);
    assert_eq!(reply.as_error().as_deref(), Some("NOPERM User alice has no permissions to run the 'get' command"));
}

#[test]
fn new_clients_wait_for_a_name_where_the_default_user_is_off() {
    let server = TestServer::with(&["--user", "default", "off", "--user", "alice", "on", "nopass", "+@all", "~*"]);
    let mut client = server.client();
    client.check("GET k", "-NOAUTH Authentication required.\r\n");
    client.check("AUTH alice any", OK);
    client.check("GET k", "$-1\r\n");
    client.check("RESET", "+RESET\r\n");
    client.check("GET k", "-NOAUTH Authentication required.\r\n");
    soon("the log warns", || server.log().contains("The user 'default' is disabled"));
}
