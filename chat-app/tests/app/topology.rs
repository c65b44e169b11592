//! A cluster of three masters, and three Sentinels with a failover: all of Debian's redis-server.

use std::process::Command;
use std::time::Duration;

use larder_tests::process::{ServerProcess, free_port, tool};
use serde_json::json;

use crate::fleet::{AppProcess, Directory, eventually, within};

const PAGE: &str = "/api/rooms/general/messages";

/// Three masters that share the slots.
fn cluster() -> Option<Vec<ServerProcess>> {
    let (program, cli) = (tool("redis-server")?, tool("redis-cli")?);
    // The bus listens 10,000 ports higher.
    let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    let nodes: Vec<ServerProcess> = (0..3).map(|_| ServerProcess::start(&program, &options)).collect();
    let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port()));
    let made = Command::new(cli).args(["--cluster", "create"]).args(addresses).arg("--cluster-yes").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    Some(nodes)
}

/// Servers of the application with these options.
async fn apps(directory: &Directory, urls: &[String]) -> Vec<AppProcess> {
    let mut options: Vec<&str> = urls.iter().map(String::as_str).collect();
    let database = format!("sqlite://{}/chat.db", directory.0.display());
    options.extend(["--database-url", &database, "--secret", "shared", "--seed", "1000", "--limit", "1000"]);
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
    let Some(nodes) = cluster() else { return };
    let url = format!("redis-cluster://127.0.0.1:{},127.0.0.1:{}", nodes[0].port(), nodes[1].port());
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
    for node in &nodes {
        let keys = node.client().call(&["DBSIZE"]);
        assert_ne!(keys, b":0\r\n", "each master holds some");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_three_sentinels_with_a_failover() {
    let Some(program) = tool("redis-server") else { return };
    let master = ServerProcess::start(&program, &[]);
    let replica = ServerProcess::start(&program, &["--replicaof", &format!("127.0.0.1 {}", master.port())]);
    let directory = Directory::new();
    let sentinels: Vec<ServerProcess> =
        (0..3).map(|number| sentinel(&program, &directory, number, master.port())).collect();
    eventually("the sentinels know each other and the replica", async || {
        sentinels.iter().all(|sentinel| {
            let master = String::from_utf8_lossy(&sentinel.client().call(&["SENTINEL", "MASTER", "chat"])).into_owned();
            let number = |field: &str| master.split("\r\n").skip_while(|line| *line != field).nth(2).map(str::to_owned);
            number("num-other-sentinels").as_deref() == Some("2") && number("num-slaves").as_deref() == Some("1")
        })
    })
    .await;
    let hosts: Vec<String> = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
    let url = format!("redis-sentinel://{}/chat", hosts.join(","));
    let options = ["--redis-url".into(), url.clone(), "--state-url".into(), url];
    let apps = apps(&directory, &options).await;
    chat_works(&apps, "before").await;
    let ann = apps[0].user("Bob").await;
    drop(master);
    // Nothing fails meanwhile.
    within(Duration::from_secs(30), "the replica is the master", async || {
        assert_eq!(ann.get(PAGE).await.unwrap().status.as_u16(), 200);
        assert_eq!(ann.post(PAGE, &json!({ "body": "meanwhile" })).await.unwrap().status.as_u16(), 201);
        String::from_utf8_lossy(&replica.client().call(&["ROLE"])).contains("master")
    })
    .await;
    for app in &apps {
        healthy(app).await;
    }
    chat_works(&apps, "after").await;
}

fn sentinel(program: &std::path::Path, directory: &Directory, number: usize, master: u16) -> ServerProcess {
    let (port, file) = (free_port(), directory.0.join(format!("sentinel-{number}.conf")));
    let text = format!(
        "port {port}\nbind 127.0.0.1\nsentinel monitor chat 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds chat 500\nsentinel failover-timeout chat 3000\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut sentinel = ServerProcess::spawn_bare(program, port, &[&file.display().to_string(), "--sentinel"]);
    assert!(sentinel.is_ready(), "{}", sentinel.log());
    sentinel
}
