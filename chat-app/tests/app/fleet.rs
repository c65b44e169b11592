//! Processes of the application, and what they share.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chat_app::client::Client;
use chat_app::options::{Cli, Options};
use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use larder_tests::process::random_bits;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::servers::{Peer, Servers, port};

/// A directory that is removed on drop.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("chat-app-test-{:016x}", random_bits()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// One process of the application; killed on drop.
pub struct AppProcess {
    child: Child,
    pub port: u16,
    log: PathBuf,
}

impl AppProcess {
    /// Starts one and waits until it answers `/health`.
    pub async fn start(directory: &Directory, options: &[&str]) -> Self {
        let process = Self::spawn(directory, options);
        process.wait_ready(Duration::from_secs(60)).await;
        process
    }

    /// Starts one and does not wait.
    pub fn spawn(directory: &Directory, options: &[&str]) -> Self {
        let port = port();
        let log = directory.0.join(format!("app-{port}.log"));
        let output = std::fs::File::create(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_chat-app"))
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(options)
            .env("RUST_LOG", "warn,chat_app=info")
            .current_dir(&directory.0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { child, port, log }
    }

    pub async fn wait_ready(&self, time: Duration) {
        let (until, client) = (Instant::now() + time, Client::new(&self.host()));
        while client.get("/health").await.is_err() {
            assert!(Instant::now() < until, "the application does not start:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Tells it to end, and waits until it has; whether all went well.
    pub fn terminate(&mut self) -> bool {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        sent.success() && self.child.wait().unwrap().success()
    }

    /// Somebody who is signed in here.
    pub async fn user(&self, name: &str) -> Client {
        let client = Client::new(&self.host());
        client.sign_in(name).await.unwrap();
        client
    }

    /// The value of a metric, with its labels as they are written.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = Client::new(&self.host()).get("/metrics").await.unwrap().text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }
}

impl Drop for AppProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("log of the application on port {}:\n{}", self.port, self.log());
        }
        self.kill();
    }
}

/// Three processes that share a cache, a state server and a database.
pub struct Fleet {
    pub apps: Vec<AppProcess>,
    pub cache: Servers,
    pub state: Option<Servers>,
    pub directory: Directory,
    /// The options that they share.
    pub options: Vec<String>,
}

impl Fleet {
    /// Three processes with these options; `None` where the peer is not installed.
    pub async fn start(peer: Peer, options: &[&str]) -> Option<Self> {
        let (cache, state) = pair(peer)?;
        let directory = Directory::new();
        let shared = shared_options(&cache, &state, &directory);
        let all: Vec<&str> = shared.iter().map(String::as_str).chain(options.iter().copied()).collect();
        let mut apps = vec![AppProcess::start(&directory, &all).await];
        for _ in 0..2 {
            apps.push(AppProcess::spawn(&directory, &all));
        }
        for app in &apps {
            app.wait_ready(Duration::from_secs(60)).await;
        }
        let fleet = Self { apps, cache, state: Some(state), directory, options: shared };
        fleet.wait_connected().await;
        Some(fleet)
    }

    /// Where the database is.
    pub fn database_url(&self) -> String {
        format!("sqlite://{}/chat.db", self.directory.0.display())
    }

    /// Ends the state server.
    pub fn stop_state(&mut self) {
        self.state = None;
    }

    /// Waits until all processes reach their servers.
    pub async fn wait_connected(&self) {
        for app in &self.apps {
            let client = Client::new(&app.host());
            eventually("healthy", async || client.get("/health").await.is_ok_and(|a| a.json()["status"] == "healthy"))
                .await;
        }
    }

    /// The same user at each process.
    pub async fn everywhere(&self, name: &str) -> Vec<Client> {
        let first = self.apps[0].user(name).await;
        self.apps.iter().map(|app| Client::with_cookie(&app.host(), &first.cookie())).collect()
    }

    /// A metric summed over all processes.
    pub async fn metric(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for app in &self.apps {
            sum += app.metric(name).await;
        }
        sum
    }
}

/// A process that is alone; on Larder with the servers that it starts itself.
pub struct Single {
    pub app: AppProcess,
    _servers: Option<(Servers, Servers)>,
    _directory: Directory,
}

impl Single {
    /// Starts one with these options; `None` where the peer is not installed.
    pub async fn start(peer: Peer, options: &[&str]) -> Option<Self> {
        let (servers, directory) = (if peer == Peer::Larder { None } else { Some(pair(peer)?) }, Directory::new());
        let urls = servers.as_ref().map(|(cache, state)| [cache.url(), state.url()]);
        let mut all = options.to_vec();
        if let Some([cache, state]) = &urls {
            all.extend(["--redis-url", cache, "--state-url", state, "--cache-timeout-ms", "1000"]);
        }
        let app = AppProcess::start(&directory, &all).await;
        if peer != Peer::Larder {
            let client = Client::new(&app.host());
            eventually("healthy", async || client.get("/health").await.unwrap().json()["status"] == "healthy").await;
        }
        Some(Self { app, _servers: servers, _directory: directory })
    }
}

/// A cache and a state server.
fn pair(peer: Peer) -> Option<(Servers, Servers)> {
    std::thread::scope(|scope| {
        let cache = scope.spawn(|| Servers::start(peer, &[]));
        let state = Servers::start(peer, &[]);
        Some((cache.join().unwrap()?, state?))
    })
}

/// The options of processes that share these servers.
pub fn shared_options(cache: &Servers, state: &Servers, directory: &Directory) -> Vec<String> {
    [
        "--redis-url".to_owned(),
        cache.url(),
        "--state-url".to_owned(),
        state.url(),
        "--database-url".to_owned(),
        format!("sqlite://{}/chat.db", directory.0.display()),
        "--secret".to_owned(),
        "a secret that the processes share".to_owned(),
        "--seed".to_owned(),
        "2000".to_owned(),
        // A busy machine that runs tests is no server.
        "--cache-timeout-ms".to_owned(),
        "1000".to_owned(),
    ]
    .into()
}

/// The options of a server in this process.
pub fn parse(shared: &[String], more: &[&str]) -> Options {
    let words = ["chat-app"].into_iter().chain(shared.iter().map(String::as_str)).chain(more.iter().copied());
    Cli::parse_from(words).options
}

/// Waits until something holds, for at most ten seconds.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    within(Duration::from_secs(10), what, holds).await;
}

/// Waits until something holds, for at most `time`; gives how long it took. A look that began in time may end later. What
/// comes too late is told apart from what never comes: the one may be a busy machine, the other is a fault.
pub async fn within(time: Duration, what: &str, holds: impl AsyncFn() -> bool) -> Duration {
    let start = Instant::now();
    let mut is_late = false;
    loop {
        let began = start.elapsed();
        if holds().await {
            break;
        }
        is_late |= began >= time;
        assert!(began < time + Duration::from_secs(5), "not within {time:?}, and not at all: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = start.elapsed();
    assert!(!is_late, "not within {time:?}, but after {took:?}: {what}");
    took
}

/// How long whoever wants to run has to wait for it, on a machine that does other things, too: the worst so far.
pub struct Lag {
    worst_us: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Lag {
    pub fn measure() -> Self {
        let worst_us = Arc::new(AtomicU64::new(0));
        let worst = worst_us.clone();
        let task = tokio::spawn(async move {
            let step = Duration::from_millis(2);
            loop {
                let start = Instant::now();
                tokio::time::sleep(step).await;
                let late = start.elapsed().saturating_sub(step).as_micros();
                worst.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { worst_us, task }
    }

    pub fn worst(&self) -> Duration {
        Duration::from_micros(self.worst_us.load(Ordering::Relaxed))
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A browser's WebSocket.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub async fn open(client: &Client, path: &str) -> Self {
        Self::try_open(client, path, &format!("http://{}", client.host())).await.unwrap()
    }

    pub async fn try_open(client: &Client, path: &str, origin: &str) -> Result<Self, String> {
        let mut request = format!("ws://{}{path}", client.host()).into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        request.headers_mut().insert("cookie", client.cookie().parse().unwrap());
        let connected = tokio_tungstenite::connect_async(request).await;
        connected.map(|(socket, _)| Self(socket)).map_err(|error| error.to_string())
    }

    pub async fn say(&mut self, body: &str) {
        let text = serde_json::json!({ "body": body }).to_string();
        self.0.send(Frame::Text(text.into())).await.unwrap();
    }

    pub async fn send(&mut self, frame: Frame) {
        self.0.send(frame).await.unwrap();
    }

    /// A text frame with these bytes, whatever they are.
    pub async fn send_raw_text(&mut self, bytes: &[u8]) {
        use tokio_tungstenite::tungstenite::protocol::frame::Frame as RawFrame;
        use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
        let frame = RawFrame::message(bytes.to_vec(), OpCode::Data(Data::Text), true);
        self.send(Frame::Frame(frame)).await;
    }

    /// The next text as JSON; `None` once it is closed.
    pub async fn next(&mut self) -> Option<serde_json::Value> {
        loop {
            let frame = tokio::time::timeout(Duration::from_secs(10), self.0.next()).await.expect("a frame in time");
            match frame? {
                Ok(Frame::Text(text)) => return Some(serde_json::from_str(text.as_str()).unwrap()),
                Ok(Frame::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Waits for a message with this text.
    pub async fn hears(&mut self, body: &str) -> serde_json::Value {
        loop {
            let said = self.next().await.unwrap_or_else(|| panic!("closed before {body:?}"));
            if said["message"]["body"] == body {
                return said["message"].clone();
            }
        }
    }
}
