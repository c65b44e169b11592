//! The bench itself, with hardly any work: it runs, leaves its files behind, and on a server that it did not start touches
//! nothing of others.

use std::process::Command;

use crate::caching::ask;
use crate::fleet::{Directory, PEERS};

#[test]
fn every_experiment_runs_and_leaves_foreign_keys_alone() {
    for peer in PEERS {
        let Some(server) = peer.start(&[]) else { continue };
        let (directory, mut raw) = (Directory::new(), server.client());
        for command in [&["SET", "messages:general:50:latest", "foreign"][..], &["SADD", "foreign", "a"]] {
            ask(&mut raw, command);
        }
        let url = format!("one=redis://127.0.0.1:{}", server.port());
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
        assert_eq!(ask(&mut raw, &["GET", "messages:general:50:latest"]), "$7\r\nforeign\r\n");
        assert_eq!(ask(&mut raw, &["DBSIZE"]), ":2\r\n", "its own keys are removed");
        for forbidden in ["flushdb", "flushall", "config|set"] {
            let calls = ask(&mut raw, &["INFO", "commandstats"]);
            assert!(!calls.contains(&format!("cmdstat_{forbidden}:")), "{forbidden}");
        }
    }
}
