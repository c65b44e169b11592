//! The bench itself, with hardly any work: it runs, leaves its files behind, and on a server that it did not start touches
//! nothing of others.

use std::process::Command;

use crate::fleet::Directory;
use crate::servers::{Servers, peers};

#[test]
fn every_experiment_runs_and_leaves_foreign_keys_alone() {
    for peer in peers() {
        let Some(server) = Servers::start(peer, &[]) else { continue };
        let directory = Directory::new();
        for command in [&["SET", "messages:general:50:latest", "foreign"][..], &["SADD", "foreign", "a"]] {
            server.ask(command);
        }
        let url = format!("one={}", server.url());
        let other = url.replace("one=", "two=");
        let output = Command::new(env!("CARGO_BIN_EXE_chat-app"))
            .args(["bench", "--rounds", "1", "--divide", "200", "--seed", "1000", "--out", "out"])
            .args(["--against", &url, "--against", &other])
            .current_dir(&directory.0)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        for name in ["read", "mix", "stampede", "limits", "strategies", "compression", "feed"] {
            let csv = std::fs::read_to_string(directory.0.join(format!("out/{name}.csv"))).unwrap();
            assert!(csv.lines().count() > 5 && csv.contains("\ntwo,0,"), "{name}: {csv}");
            let svg = std::fs::read_to_string(directory.0.join(format!("out/{name}.svg"))).unwrap();
            assert!(svg.starts_with("<svg") && svg.matches("<rect").count() > 3, "{name}");
            assert!(text.contains(name));
        }
        let database = |name: &str| directory.0.join("chat-app-data").join(name).exists();
        assert!(database("bench.db") && !database("chat.db"), "the application's database is left alone");
        assert_eq!(server.ask(&["GET", "messages:general:50:latest"]), "$7\r\nforeign\r\n");
        assert_eq!(server.keys(), 2, "its own keys are removed");
        for forbidden in ["flushdb", "flushall", "config|set"] {
            let calls = server.each(&["INFO", "commandstats"]).concat();
            assert!(!calls.contains(&format!("cmdstat_{forbidden}:")), "{forbidden}");
        }
    }
}
