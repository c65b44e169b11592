//! What becomes of the cache when the server that should have told it is cut off or dies, and when the cache comes back with
//! what it held long ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use axum::http::Method;
use chat_app::client::Client;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::fleet::{AppProcess, Directory, eventually, shared_options, within};
use crate::servers::{Peer, Servers, first, only_on};

const PAGE: &str = "/api/rooms/general/messages";

/// The way to a server, which can be cut.
pub struct Way {
    pub port: u16,
    is_cut: Arc<AtomicBool>,
}

impl Way {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (own, is_cut) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let cut = is_cut.clone();
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let cut = cut.clone();
                tokio::spawn(async move {
                    if cut.load(Relaxed) {
                        return;
                    }
                    let Ok(mut to) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let ends = async {
                        while !cut.load(Relaxed) {
                            tokio::time::sleep(Duration::from_millis(2)).await;
                        }
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                        () = ends => {}
                    }
                });
            }
        });
        Self { port: own, is_cut }
    }

    pub async fn cut(&self) {
        self.is_cut.store(true, Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    pub fn mend(&self) {
        self.is_cut.store(false, Relaxed);
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

/// A cache, a state server, and the options of applications that share them and a database.
struct Stage {
    cache: Servers,
    state: Servers,
    directory: Directory,
    options: Vec<String>,
}

impl Stage {
    fn new(peer: Peer) -> Option<Self> {
        let directory = Directory::new();
        let cache = Servers::start(peer, &["--dir", &directory.0.display().to_string()])?;
        let state = Servers::start(peer, &[])?;
        let options = shared_options(&cache, &state, &directory);
        Some(Self { cache, state, directory, options })
    }

    async fn app(&self, more: &[&str]) -> AppProcess {
        let options: Vec<&str> = self.options.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let app = AppProcess::start(&self.directory, &options).await;
        let client = Client::new(&app.host());
        eventually("healthy", async || client.get("/health").await.unwrap().json()["status"] == "healthy").await;
        app
    }

    /// The same, by a way that can be cut.
    async fn app_by(&self, way: &Way) -> AppProcess {
        // The options that are given last hold, but a cache would be added as a shard.
        let mut options: Vec<String> = self.options.clone();
        options[1] = way.url();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let app = AppProcess::start(&self.directory, &options).await;
        let client = Client::new(&app.host());
        eventually("healthy", async || client.get("/health").await.unwrap().json()["status"] == "healthy").await;
        app
    }

    async fn way(&self) -> Way {
        Way::to(self.cache.url().rsplit(':').next().unwrap().parse().unwrap()).await
    }
}

async fn shows(client: &Client, body: &str) -> bool {
    client.get(PAGE).await.unwrap().text().contains(body)
}

async fn says(client: &Client, body: &str) -> String {
    let posted = client.post(PAGE, &json!({ "body": body })).await.unwrap();
    assert_eq!(posted.status.as_u16(), 201, "{}", posted.text());
    posted.json()["id"].as_str().unwrap().to_owned()
}

async fn deletes(client: &Client, url: &str) {
    let deleted = client.send(Method::DELETE, url, &[], "".into()).await.unwrap();
    assert_eq!(deleted.status.as_u16(), 200, "{}", deleted.text());
}

/// Reads for a second.
async fn never_shows(client: &Client, body: &str) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        let page = client.get(PAGE).await.unwrap();
        assert!(!page.text().contains(body), "an old page from {} after {:?}", page.header("x-cache"), start.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_could_not_tell_before_it_died_is_made_good() {
    let why = "the way to the cache is that to one server";
    if !only_on(&[Peer::Larder, Peer::Redis], why) {
        return;
    }
    let Some(stage) = Stage::new(first()) else { return };
    let way = stage.way().await;
    let mut app = stage.app_by(&way).await;
    let ann = app.user("Ann").await;
    let id = says(&ann, "regretted").await;
    eventually("it is cached", async || {
        let page = ann.get(PAGE).await.unwrap();
        page.text().contains("regretted") && page.header("x-cache") != "database"
    })
    .await;
    way.cut().await;
    deletes(&ann, &format!("/api/messages/{id}")).await;
    app.kill();
    // Longer ago than the first look for messages goes back.
    tokio::time::sleep(Duration::from_secs(11)).await;
    way.mend();
    let app = stage.app_by(&way).await;
    never_shows(&app.user("Ann").await, "regretted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_comes_back_with_an_old_snapshot_shows_nothing_of_it() {
    if !only_on(&[Peer::Redis], "Larder keeps no snapshots, and the nodes of a cluster have a directory each") {
        return;
    }
    let Some(mut stage) = Stage::new(Peer::Redis) else { return };
    let app = stage.app(&["--l1", "off"]).await;
    let ann = app.user("Ann").await;
    let id = says(&ann, "regretted").await;
    assert!(shows(&ann, "regretted").await);
    assert_eq!(ann.get(PAGE).await.unwrap().header("x-cache"), "l2");
    assert_eq!(stage.cache.ask(&["SAVE"]), "+OK\r\n");
    deletes(&ann, &format!("/api/messages/{id}")).await;
    stage.cache.kill();
    stage.cache.restart();
    assert!(stage.cache.keys() > 0, "it loaded its snapshot");
    never_shows(&ann, "regretted").await;
    eventually("it is used again", async || ann.get(PAGE).await.unwrap().header("x-cache") == "l2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_and_deletions_of_a_server_that_is_cut_off_reach_the_feeds() {
    let why = "the way to the cache is that to one server";
    if !only_on(&[Peer::Larder, Peer::Redis], why) {
        return;
    }
    let Some(stage) = Stage::new(first()) else { return };
    let way = stage.way().await;
    let (apart, app) = (stage.app_by(&way).await, stage.app(&[]).await);
    let (bob, ann) = (apart.user("Bob").await, app.user("Ann").await);
    let answer = bob.post("/api/sign-in", &json!({ "name": "Bob" })).await.unwrap().json();
    let path = format!("/api/follows/{}", answer["user"].as_str().unwrap());
    assert_eq!(ann.send(Method::PUT, &path, &[], "".into()).await.unwrap().status.as_u16(), 204);
    let post = async |body: &str| {
        let posted = bob.post("/api/posts", &json!({ "body": body })).await.unwrap();
        assert_eq!(posted.status.as_u16(), 201, "{}", posted.text());
        posted.json()["id"].as_str().unwrap().to_owned()
    };
    let has = async |body: &str| ann.get("/api/feed").await.unwrap().text().contains(body);
    let first = post("one by Bob").await;
    within(Duration::from_secs(1), "the first is seen", async || has("one by Bob").await).await;
    way.cut().await;
    post("two by Bob").await;
    within(Duration::from_secs(4), "the second is seen", async || has("two by Bob").await).await;
    assert!(has("one by Bob").await);
    let deleted = bob.send(Method::DELETE, &format!("/api/posts/{first}"), &[], "".into()).await.unwrap();
    assert_eq!(deleted.status.as_u16(), 204);
    within(Duration::from_secs(4), "the first is gone", async || !has("one by Bob").await).await;
    assert!(has("two by Bob").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_do_not_wait_for_a_state_server_that_stopped() {
    let Some(stage) = Stage::new(first()) else { return };
    let app = stage.app(&["--l1", "off", "--cache-timeout-ms", "50", "--db-delay", "300ms"]).await;
    let ann = app.user("Ann").await;
    let reads: Vec<_> = (10..50)
        .map(|room| {
            let client = Client::with_cookie(ann.host(), &ann.cookie());
            tokio::spawn(async move {
                let start = Instant::now();
                let page = client.get(&format!("/api/rooms/room-{room:03}/messages")).await.unwrap();
                assert_eq!(page.status.as_u16(), 200, "{}", page.text());
                start.elapsed()
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(150)).await;
    stage.state.signal("STOP");
    let mut times = Vec::new();
    for read in reads {
        times.push(read.await.unwrap());
    }
    stage.state.signal("CONT");
    times.sort();
    assert!(times[39] < Duration::from_secs(3), "{times:?}");
}
