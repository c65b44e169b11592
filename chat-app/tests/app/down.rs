//! The cache away, in every way that a cache can be away, while people use the application.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use chat_app::client::Client;
use parking_lot::Mutex;
use serde_json::json;

use crate::fleet::{AppProcess, Directory, Fleet, Socket, eventually, within};
use crate::servers::{Peer, Servers, only_on, peers};

const PAGE: &str = "/api/rooms/general/messages";
/// As it is outside of tests.
const USUAL: [&str; 4] = ["--cache-timeout-ms", "50", "--limit", "1000000"];

/// People who read and write until they are told to end; any answer but success is noted.
struct Load {
    ends: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    async fn start(hosts: Vec<String>) -> Self {
        let load = Self { ends: Arc::default(), count: Arc::default(), failures: Arc::default(), tasks: Vec::new() };
        let mut load = load;
        for number in 0..6 {
            let client = Client::new(&hosts[number % hosts.len()]);
            client.sign_in(&format!("Reader {number}")).await.unwrap();
            let (ends, count, failures) = (load.ends.clone(), load.count.clone(), load.failures.clone());
            load.tasks.push(tokio::spawn(async move {
                let mut round = 0;
                while !ends.load(Relaxed) {
                    round += 1;
                    let answer = match round % 10 {
                        0 => {
                            client
                                .post("/api/rooms/random/messages", &json!({ "body": format!("round {round}") }))
                                .await
                        }
                        3 => client.get("/api/feed").await,
                        5 => client.get("/rooms/general").await,
                        _ => client.get(PAGE).await,
                    };
                    count.fetch_add(1, Relaxed);
                    match answer {
                        Ok(answer) if answer.status.is_success() => {}
                        Ok(answer) => failures.lock().push(format!("{} {}", answer.status, answer.text())),
                        Err(error) => failures.lock().push(error),
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }));
        }
        load
    }

    async fn end(self) {
        eventually("there was some load", async || self.count.load(Relaxed) > 100).await;
        self.ends.store(true, Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let failures = self.failures.lock();
        assert!(failures.is_empty(), "{} failed: {:?}", failures.len(), &failures[..failures.len().min(3)]);
    }
}

fn hosts(fleet: &Fleet) -> Vec<String> {
    fleet.apps.iter().map(AppProcess::host).collect()
}

async fn status(host: &str) -> (u16, String) {
    let answer = Client::new(host).get("/health").await.unwrap();
    (answer.status.as_u16(), answer.json()["status"].as_str().unwrap().to_owned())
}

/// Runs a command on all masters that must succeed.
fn ok(servers: &Servers, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    assert!(servers.each(&words).iter().all(|reply| reply == "+OK\r\n"), "{line}");
}

async fn hits_again(client: &Client) {
    let hit = async || client.get(PAGE).await.unwrap().header("x-cache") != "database";
    within(Duration::from_secs(10), "hits again", hit).await;
}

/// Three servers with readers, and somebody signed in at each; their cache is warm.
async fn in_use(peer: Peer) -> Option<(Fleet, Vec<Client>, Load)> {
    let fleet = Fleet::start(peer, &USUAL).await?;
    let ann = fleet.everywhere("Ann").await;
    let load = Load::start(hosts(&fleet)).await;
    for client in &ann {
        hits_again(client).await;
    }
    Some((fleet, ann, load))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_absent_at_the_start_and_comes_later() {
    for peer in peers() {
        let Some(mut servers) = Servers::absent(peer, &[]) else { continue };
        let (url, directory) = (servers.url(), Directory::new());
        let options =
            ["--seed", "1000", "--redis-url", &url, "--state-url", &url, USUAL[0], USUAL[1], USUAL[2], USUAL[3]];
        let app = AppProcess::start(&directory, &options).await;
        assert_eq!(status(&app.host()).await, (200, "degraded".into()));
        let load = Load::start(vec![app.host()]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        servers.restart();
        eventually("healthy", async || status(&app.host()).await.1 == "healthy").await;
        hits_again(&app.user("Ann").await).await;
        load.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_killed_and_started_again() {
    for peer in peers() {
        let Some((mut fleet, ann, load)) = in_use(peer).await else { continue };
        let mut socket = Socket::open(&ann[1], "/ws/general").await;
        fleet.cache.kill();
        eventually("degraded", async || status(&fleet.apps[0].host()).await == (200, "degraded".into())).await;
        ann[0].post(PAGE, &json!({ "body": "without a cache" })).await.unwrap();
        let heard = tokio::time::timeout(Duration::from_secs(2), socket.hears("without a cache")).await;
        assert!(heard.is_ok(), "live messages reach other servers within 2 s by the database");
        for client in &ann {
            assert!(client.get(PAGE).await.unwrap().text().contains("without a cache"));
        }
        fleet.cache.restart();
        eventually("healthy", async || status(&fleet.apps[0].host()).await.1 == "healthy").await;
        for client in &ann {
            hits_again(client).await;
        }
        load.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_stopped_and_goes_on() {
    for peer in peers() {
        let Some((fleet, ann, load)) = in_use(peer).await else { continue };
        let mut socket = Socket::open(&ann[2], "/ws/general").await;
        fleet.cache.signal("STOP");
        let start = std::time::Instant::now();
        let posted = ann[0].post(PAGE, &json!({ "body": "while it was stopped" })).await.unwrap();
        assert_eq!(posted.status.as_u16(), 201);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        let heard = tokio::time::timeout(Duration::from_secs(2), socket.hears("while it was stopped")).await;
        assert!(heard.is_ok(), "live messages reach other servers within 2 s by the database");
        for client in &ann {
            let shows = async || client.get(PAGE).await.unwrap().text().contains("while it was stopped");
            within(Duration::from_secs(2), "the page shows it", shows).await;
        }
        fleet.cache.signal("CONT");
        for client in &ann {
            hits_again(client).await;
            assert!(client.get(PAGE).await.unwrap().text().contains("while it was stopped"), "no old page came back");
        }
        load.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_out_of_memory() {
    for peer in peers() {
        let Some((fleet, ann, load)) = in_use(peer).await else { continue };
        ok(&fleet.cache, "CONFIG SET maxmemory-policy noeviction");
        ok(&fleet.cache, "CONFIG SET maxmemory 1");
        ann[0].post(PAGE, &json!({ "body": "no room" })).await.unwrap();
        for client in &ann {
            let shows = async || client.get(PAGE).await.unwrap().text().contains("no room");
            within(Duration::from_secs(1), "the page shows it", shows).await;
        }
        ok(&fleet.cache, "CONFIG SET maxmemory 0");
        for client in &ann {
            hits_again(client).await;
        }
        load.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_became_a_replica_refuses_writes() {
    let why = "Larder has no replicas, a cluster refuses REPLICAOF, and Sentinels undo it";
    if !only_on(&[Peer::Redis], why) {
        return;
    }
    let Some((fleet, ann, load)) = in_use(Peer::Redis).await else { return };
    ok(&fleet.cache, "REPLICAOF 127.0.0.1 1");
    ann[0].post(PAGE, &json!({ "body": "read only" })).await.unwrap();
    for client in &ann {
        let shows = async || client.get(PAGE).await.unwrap().text().contains("read only");
        within(Duration::from_secs(2), "the page shows it", shows).await;
    }
    ok(&fleet.cache, "REPLICAOF NO ONE");
    for client in &ann {
        hits_again(client).await;
        assert!(client.get(PAGE).await.unwrap().text().contains("read only"));
    }
    load.end().await;
}

/// A server that greets as Redis does and answers everything else with one error.
fn grumpy(error: &'static str) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, ends) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
    let stop = ends.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if stop.load(Relaxed) {
                return;
            }
            std::thread::spawn(move || drop(grumble(stream.unwrap(), error)));
        }
    });
    (port, ends)
}

fn grumble(mut stream: TcpStream, error: &str) -> std::io::Result<()> {
    let (mut buffer, mut chunk) = (Vec::new(), [0; 65_536]);
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(&chunk[..count]);
        while let Some((value, length)) = larder_protocol::Value::read(&buffer).ok().flatten() {
            buffer.drain(..length);
            let name = value.as_array().and_then(|words| words.first()?.as_str().map(str::to_ascii_uppercase));
            match name.as_deref() {
                Some("HELLO") => stream.write_all(
                    b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.4.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n\
                      $4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
                )?,
                Some("CLIENT") => stream.write_all(b"+OK\r\n")?,
                _ => stream.write_all(format!("-{error}\r\n").as_bytes())?,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_answers_everything_with_an_error() {
    if !only_on(&[Peer::Larder, Peer::Redis], "what answers stands in for a single server") {
        return;
    }
    for error in [
        "LOADING Redis is loading the dataset in memory",
        "READONLY You can't write against a read only replica.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "ERR something else",
    ] {
        let ((port, ends), directory) = (grumpy(error), Directory::new());
        let url = format!("redis://127.0.0.1:{port}");
        let options =
            ["--seed", "1000", "--redis-url", &url, "--state-url", &url, USUAL[0], USUAL[1], USUAL[2], USUAL[3]];
        let app = AppProcess::start(&directory, &options).await;
        let load = Load::start(vec![app.host()]).await;
        let ann = app.user("Ann").await;
        assert_eq!(ann.post(PAGE, &json!({ "body": "anyway" })).await.unwrap().status.as_u16(), 201);
        assert!(ann.get(PAGE).await.unwrap().text().contains("anyway"));
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(status(&app.host()).await, (200, "degraded".into()), "{error}");
        load.end().await;
        ends.store(true, Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_health_says_so() {
    let directory = Directory::new();
    let Some(server) = crate::postgres::Postgres::start() else { return };
    let options = ["--seed", "500", "--database-url", &server.url()];
    let app = AppProcess::start(&directory, &options).await;
    // It answers before its cache is connected.
    eventually("healthy", async || status(&app.host()).await == (200, "healthy".into())).await;
    let ann = app.user("Ann").await;
    let posted = ann.post(PAGE, &json!({ "body": "last" })).await.unwrap().json();
    let after = format!("/ws/general?after={}", posted["changed"].as_str().unwrap());
    Socket::open(&ann, &after).await.hears("last").await;
    drop(server);
    // Who cannot be told what was said meanwhile is sent away, and not left with a gap.
    assert_eq!(Socket::open(&ann, &after).await.next().await, None);
    eventually("unhealthy", async || status(&app.host()).await == (503, "unhealthy".into())).await;
}
