//! Several clients that wait for each other: a script, run against the server under test and against a real one.
//!
//! ```text
//! a> PUSH k 1     client a runs a command and reads the reply
//! a~ BPOP k 0     client a runs a command that waits: nothing comes until the server counts one more waiting client
//! a<              client a reads one more frame
//! a!              nothing comes for client a
//! a.              client a goes away
//! ```
//!
//! `{id of a}` in a command is the number of that client's connection.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::client::RawClient;
use crate::process::{Redis, ServerProcess, TestServer};
use crate::{frame, words};

/// How long a client is watched that must get nothing.
const SILENCE: Duration = Duration::from_millis(40);

/// Runs scripts, each on an empty database, and compares what the clients read.
///
/// # Panics
/// When they differ.
pub fn compare(protocol: u8, scripts: &[&str]) {
    let subject = TestServer::with(&["--threads", "2"]);
    let peer = Redis::start();
    for script in scripts {
        let own = run(&subject, protocol, script);
        if let Some(peer) = &peer {
            assert_eq!(own, run(peer, protocol, script), "{script}");
        }
    }
}

/// Runs a script and gives a line for each frame that was read.
///
/// # Panics
/// When a reply is missing, or one comes that must not.
pub fn run(server: &ServerProcess, protocol: u8, script: &str) -> Vec<String> {
    let mut control = server.client();
    control.check("FLUSHALL", "+OK\r\n");
    let mut clients: BTreeMap<String, RawClient> = BTreeMap::new();
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    let mut read = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let at = line.find(['>', '~', '<', '!', '.']).expect("a step names a client");
        let (name, what, written) = (&line[..at], &line[at..=at], line[at + 1..].trim());
        let client = clients.entry(name.to_owned()).or_insert_with(|| {
            let mut client = server.client();
            client.ask(&format!("HELLO {protocol}"));
            let id = client.ask("CLIENT ID").text;
            ids.insert(name.to_owned(), String::from_utf8(id).expect("a number"));
            client
        });
        let command =
            ids.iter().fold(written.to_owned(), |text, (name, id)| text.replace(&format!("{{id of {name}}}"), id));
        match what {
            ">" => {
                let reply = client.call(&words(&command));
                read.push(format!("{name}> {written}: {}", shown(&reply, &ids)));
            }
            "~" => {
                let before = waiting(&mut control);
                client.send(&words(&command)).expect("send");
                let until = Instant::now() + Duration::from_secs(10);
                while waiting(&mut control) <= before {
                    assert!(Instant::now() < until, "{command} does not wait in\n{script}");
                }
            }
            "<" => {
                let reply = client.reply().unwrap_or_else(|failure| panic!("{name}: {failure} in\n{script}"));
                read.push(format!("{name}< {}", shown(&reply, &ids)));
            }
            "!" => assert!(client.is_silent(SILENCE), "{name} got something in\n{script}"),
            _ => {
                clients.remove(name);
            }
        }
    }
    drop(clients);
    let until = Instant::now() + Duration::from_secs(10);
    while waiting(&mut control) > 0 {
        assert!(Instant::now() < until, "clients that are gone still wait after\n{script}");
    }
    read
}

/// A frame for people. Where it tells to whom news of tracked keys go it has names in place of the numbers of connections,
/// which differ from server to server.
fn shown(reply: &[u8], ids: &BTreeMap<String, String>) -> String {
    ids.iter().fold(frame::show(reply), |text, (name, id)| {
        ["redirect", "broken"].iter().fold(text, |text, before| {
            text.replace(&format!("{before}\\r\\n:{id}\\r"), &format!("{before}\\r\\n:{{id of {name}}}\\r"))
        })
    })
}

/// How many clients wait.
fn waiting(control: &mut RawClient) -> u64 {
    let info = String::from_utf8(control.ask("INFO clients").text).expect("text");
    let count = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
    count.and_then(|count| count.trim().parse().ok()).expect("INFO counts waiting clients")
}
