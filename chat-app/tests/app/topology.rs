//! What only a cluster of three masters and three Sentinels can do: move slots, and fail over. Whatever else the application
//! does is tested on them by the other tests, see [`crate::servers`].

use std::time::Duration;

use serde_json::json;

use crate::fleet::{AppProcess, Directory, eventually, within};
use crate::servers::{Peer, Servers};

const PAGE: &str = "/api/rooms/general/messages";

/// Servers of the application with these options.
async fn apps(directory: &Directory, urls: &[String]) -> Vec<AppProcess> {
    let mut options: Vec<&str> = urls.iter().map(String::as_str).collect();
    let database = format!("sqlite://{}/chat.db", directory.0.display());
    options.extend([
        "--database-url",
        &database,
        "--secret",
        "shared by all of them",
        "--seed",
        "1000",
        "--limit",
        "1000",
    ]);
    options.extend(["--cache-timeout-ms", "1000"]);
    let mut apps = Vec::new();
    for _ in 0..3 {
        let app = AppProcess::start(directory, &options).await;
        healthy(&app).await;
        apps.push(app);
    }
    apps
}

async fn healthy(app: &AppProcess) {
    let client = chat_app::client::Client::new(&app.host());
    within(Duration::from_secs(30), "healthy", async || {
        client.get("/health").await.unwrap().json()["status"] == "healthy"
    })
    .await;
}

/// What all of it does, wherever the keys are.
async fn chat_works(apps: &[AppProcess], label: &str) {
    let ann = apps[0].user("Ann").await;
    let clients: Vec<_> =
        apps.iter().map(|app| chat_app::client::Client::with_cookie(&app.host(), &ann.cookie())).collect();
    for number in 0..9 {
        let room = chat_app::db::seed::room_name(number);
        let path = format!("/api/rooms/{room}/messages");
        for client in &clients {
            client.get(&path).await.unwrap();
        }
        let body = format!("{label} {number}");
        let posted = clients[number % 3].post(&path, &json!({ "body": body })).await.unwrap();
        assert_eq!(posted.status.as_u16(), 201, "{}", posted.text());
        for client in &clients {
            let shows = async || client.get(&path).await.unwrap().text().contains(&body);
            within(Duration::from_millis(1_000), &body, shows).await;
        }
        eventually("a hit", async || clients[0].get(&path).await.unwrap().header("x-cache") != "database").await;
    }
    assert_eq!(clients[0].post("/api/posts", &json!({ "body": label })).await.unwrap().status.as_u16(), 201);
    assert!(clients[1].get("/api/feed").await.unwrap().text().contains(label));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster_of_three_masters() {
    let Some(cluster) = Servers::start(Peer::Cluster, &[]) else { return };
    let url = cluster.url();
    for more in [
        &["--l1", "pubsub"][..],
        &["--l1", "tracking", "--strategy", "write-behind"],
        &["--invalidation", "pattern", "--l1", "pubsub"],
        &["--limiter", "fixed", "--l1", "off", "--strategy", "write-through"],
    ] {
        let mut options: Vec<String> = more.iter().map(|option| (*option).to_owned()).collect();
        options.extend(["--redis-url".into(), url.clone(), "--state-url".into(), url.clone()]);
        let directory = Directory::new();
        let apps = apps(&directory, &options).await;
        chat_works(&apps, &more.join(" ")).await;
    }
    for keys in cluster.each(&["DBSIZE"]) {
        assert_ne!(keys, ":0\r\n", "each master holds some");
    }
    // The dashboard tells of all three.
    let directory = Directory::new();
    let app = AppProcess::start(&directory, &["--redis-url", &url, "--state-url", &url, "--seed", "100"]).await;
    let client = chat_app::client::Client::new(&app.host());
    eventually("all keys are counted", async || {
        let line = format!("\nchat_store_keys{{store=\"cache\"}} {}\n", cluster.keys());
        client.get("/metrics").await.unwrap().text().contains(&line)
    })
    .await;
    let memory = app.metric("chat_store_memory_bytes{store=\"cache\"}").await;
    let all = cluster.info("used_memory") as f64;
    assert!(memory > all * 0.7, "{memory} of {all} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_slots_of_a_cluster_move() {
    let Some(cluster) = Servers::start(Peer::Cluster, &[]) else { return };
    let options =
        ["--redis-url", &cluster.url(), "--state-url", &cluster.url(), "--poll-ms", "60000"].map(str::to_owned);
    let directory = Directory::new();
    let apps = apps(&directory, &options).await;
    chat_works(&apps, "before").await;
    let ann = apps[0].user("Bob").await;
    for key in ["version:room:general", "messages:general:50:latest"] {
        for _ in 0..2 {
            cluster.move_slot_of(key);
            for app in &apps {
                let client = chat_app::client::Client::with_cookie(&app.host(), &ann.cookie());
                assert_eq!(client.get(PAGE).await.unwrap().status.as_u16(), 200);
                let posted = client.post(PAGE, &json!({ "body": "meanwhile" })).await.unwrap();
                assert_eq!(posted.status.as_u16(), 201, "{}", posted.text());
            }
        }
    }
    chat_works(&apps, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_three_sentinels_with_a_failover() {
    let Some(mut servers) = Servers::start(Peer::Sentinel, &[]) else { return };
    servers.wait_watched();
    let url = servers.url();
    let options = ["--redis-url".into(), url.clone(), "--state-url".into(), url];
    let directory = Directory::new();
    let apps = apps(&directory, &options).await;
    chat_works(&apps, "before").await;
    let bob = apps[0].user("Bob").await;
    let nothing_fails = async || {
        assert_eq!(bob.get(PAGE).await.unwrap().status.as_u16(), 200);
        assert_eq!(bob.post(PAGE, &json!({ "body": "meanwhile" })).await.unwrap().status.as_u16(), 201);
    };
    servers.fail_over(nothing_fails).await;
    for app in &apps {
        healthy(app).await;
    }
    chat_works(&apps, "after").await;
}
