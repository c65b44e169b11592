//! The application by itself, as it is on a fresh machine.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::fleet::{AppProcess, Directory, Socket, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_with_nothing_and_two_users_chat() {
    let (directory, start) = (Directory::new(), Instant::now());
    let app = AppProcess::start(&directory, &[]).await;
    let took = start.elapsed();
    // Two seconds is what an optimized program must keep; the tests run one that is not, beside others.
    assert!(took < Duration::from_secs(10), "{took:?}");
    for name in ["cache", "state"] {
        let line = format!("chat-app: {name} redis://127.0.0.1:");
        assert!(app.log().contains(&line), "says where its servers are: {line}");
    }
    let (ann, bob) = (app.user("Ann").await, app.user("Bob").await);
    // It answers before its cache is connected.
    eventually("healthy", async || {
        let health = ann.get("/health").await.unwrap();
        (health.status.as_u16(), health.json()["status"].as_str()) == (200, Some("healthy"))
    })
    .await;

    let page = ann.get("/api/rooms/general/messages").await.unwrap();
    assert_eq!(page.json()["messages"].as_array().unwrap().len(), 50);
    assert_eq!(page.header("x-cache"), "database");
    let again = bob.get("/api/rooms/general/messages").await.unwrap();
    assert_ne!(again.header("x-cache"), "database");
    assert_eq!(page.body, again.body);

    let (mut one, mut other) = (Socket::open(&ann, "/ws/general").await, Socket::open(&bob, "/ws/general").await);
    one.say("hello Bob").await;
    assert_eq!(other.hears("hello Bob").await["name"], "Ann");
    other.say("hello Ann").await;
    assert_eq!(one.hears("hello Ann").await["name"], "Bob");
    let page = bob.get("/rooms/general").await.unwrap().text();
    assert!(page.contains("hello Bob") && page.contains("hello Ann"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_lead_back_through_the_history() {
    let directory = Directory::new();
    let app = AppProcess::start(&directory, &["--seed", "2000"]).await;
    let ann = app.user("Ann").await;
    let mut before = String::new();
    let mut seen = Vec::new();
    loop {
        let page = ann.get(&format!("/api/rooms/general/messages?limit=100&before={before}")).await.unwrap().json();
        let ids: Vec<i64> =
            page["messages"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().parse().unwrap()).collect();
        assert!(ids.is_sorted());
        let Some(first) = ids.first() else { break };
        before = first.to_string();
        seen.splice(0..0, ids);
    }
    assert!(seen.len() > 200 && seen.is_sorted(), "{}", seen.len());
    let html = ann.get("/rooms/general").await.unwrap().text();
    assert!(html.contains("rel=\"prev\""), "a link to older messages");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_is_kept_between_runs() {
    let directory = Directory::new();
    let mut app = AppProcess::start(&directory, &["--seed", "1000"]).await;
    let page = app.user("Ann").await.get("/api/rooms/tech/messages").await.unwrap().body;
    app.kill();
    let app = AppProcess::start(&directory, &["--seed", "1000"]).await;
    assert_eq!(app.user("Ann").await.get("/api/rooms/tech/messages").await.unwrap().body, page);
    assert!(!app.log().contains("seeding"));
}

#[test]
fn every_file_that_the_readme_names_is_there() {
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(home.join("README.md")).unwrap();
    let quoted =
        readme.lines().filter(|line| !line.starts_with("    ")).flat_map(|line| line.split('`').skip(1).step_by(2));
    let files: Vec<&str> = quoted.filter(|text| text.starts_with("src/") || text.ends_with(".md")).collect();
    assert!(files.len() > 30, "{files:?}");
    let absent: Vec<_> = files.into_iter().filter(|file| !home.join(file).exists()).collect();
    assert!(absent.is_empty(), "{absent:?}");
}

#[test]
fn what_cannot_be_is_refused_and_no_password_is_shown() {
    let directory = Directory::new();
    for (options, says) in [
        (["--secret", "too short"], "at least 16"),
        (["--secret", ""], "at least 16"),
        (["--db-connections", "0"], "--db-connections"),
        (["--database-url", "postgres://chat:hunter2@127.0.0.1:1/chat"], "postgres://chat:***@127.0.0.1:1/chat"),
        (["--redis-url", "redis://chat:hunter2@127.0.0.1:many"], "redis://chat:***@127.0.0.1:many"),
    ] {
        let program = env!("CARGO_BIN_EXE_chat-app");
        let mut command = Command::new(program);
        let output =
            command.args(["--listen", "127.0.0.1:0"]).args(options).current_dir(&directory.0).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(says), "{options:?}: {text}");
        assert!(!text.contains("hunter2") && !text.contains("panicked"), "{options:?}: {text}");
    }
}
