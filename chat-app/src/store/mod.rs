//! One server that speaks RESP, seen through a stock client, and what may happen when it does not answer.
//!
//! A [`Store`] never makes its caller wait longer than its timeout, fails at once while its [`breaker`] is open, and
//! connects anew for as long as the application runs. Everything else of the application treats [`Unreachable`] as "do it
//! without".

pub mod breaker;
pub mod mend;
pub mod nodes;
pub mod scan;
pub mod shards;
pub mod subscribe;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::RwLock;
use rustis::client::{Client, Config, ExclusiveClient, IntoConfig, ReconnectionConfig};
use rustis::commands::{RequestPolicy, ResponsePolicy};
use rustis::resp::{Command, CommandBuilder, Value, cmd};
use rustis::{ErrorKind, RedisError, RedisErrorKind};
use serde::de::DeserializeOwned;
use tokio::sync::broadcast::error::RecvError;

use crate::metrics::StoreMetrics;
use crate::options::without_password;
use breaker::Breaker;

/// Why there is no answer. The caller goes on without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreachable {
    /// The breaker is open, or the server was never reached.
    Down,
    /// It did not answer in time.
    Timeout,
    /// The connection broke, or the server cannot serve (`LOADING`, `CLUSTERDOWN`).
    Broken(String),
    /// It answered with an error that concerns this command only: `OOM`, `READONLY`, `WRONGTYPE`.
    Refused(String),
}

impl Unreachable {
    /// Whether the key holds another type than the command needs.
    pub fn is_wrong_type(&self) -> bool {
        matches!(self, Unreachable::Refused(text) if text.starts_with("WRONGTYPE"))
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreachable::Down => f.write_str("not connected"),
            Unreachable::Timeout => f.write_str("no answer in time"),
            Unreachable::Broken(text) | Unreachable::Refused(text) => f.write_str(text),
        }
    }
}

/// How to treat a server.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The longest that a caller waits for an answer.
    pub timeout: Duration,
    /// Failures in a row that open the breaker.
    pub failures: u32,
    /// How long the breaker stays open before it lets one request try.
    pub open_for: Duration,
    /// Stands before every key and channel.
    pub prefix: String,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(50),
            failures: 5,
            open_for: Duration::from_millis(250),
            prefix: String::new(),
        }
    }
}

/// After this time without any answer a connection counts as lost, although nobody closed it.
const SILENCE: Duration = Duration::from_secs(2);
/// A new connection takes more round trips than a command.
const CONNECT: Duration = Duration::from_millis(500);

/// A server that speaks RESP; cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    url: String,
    options: StoreOptions,
    breaker: Breaker,
    client: RwLock<Option<Client>>,
    /// The connection that may WATCH: whoever uses it has it alone.
    exclusive: tokio::sync::Mutex<Option<ExclusiveClient>>,
    /// Connections to the masters of a cluster.
    nodes: nodes::Nodes,
    /// Counts the connections that were made or broke; behind the same address may be another server each time.
    connection: AtomicU64,
    /// The last of them after which all that the server may have missed was made good.
    believed: AtomicU64,
    metrics: StoreMetrics,
}

impl Store {
    /// A server at `url`, as rustis reads it; `name` is how the dashboard calls it. Connects in the background.
    ///
    /// # Errors
    /// A URL that is none.
    pub fn new(name: &str, url: &str, options: StoreOptions) -> Result<Self, String> {
        config(url).map_err(|error| format!("{}: {error}", without_password(url)))?;
        let breaker = Breaker::new(options.failures, options.open_for);
        let shared = Shared {
            name: name.to_owned(),
            url: url.to_owned(),
            options,
            breaker,
            client: RwLock::new(None),
            exclusive: tokio::sync::Mutex::new(None),
            nodes: nodes::Nodes::default(),
            connection: AtomicU64::new(0),
            believed: AtomicU64::new(0),
            metrics: StoreMetrics::default(),
        };
        let store = Self { shared: Arc::new(shared) };
        tokio::spawn(keep_connected(Arc::downgrade(&store.shared)));
        Ok(store)
    }

    /// How the dashboard calls it.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// What was counted of it.
    pub fn metrics(&self) -> &StoreMetrics {
        &self.shared.metrics
    }

    /// Whether requests are let through at the moment.
    pub fn is_open(&self) -> bool {
        self.shared.breaker.is_closed() && self.shared.client.read().is_some()
    }

    /// The number of its connection; grows whenever that breaks and whenever it is connected anew.
    pub fn connection(&self) -> u64 {
        self.shared.connection.load(Ordering::Acquire)
    }

    /// Whether what it holds can be believed: a server that was away, restarted from an old snapshot, or is another one
    /// now, missed what happened meanwhile.
    pub fn is_believed(&self) -> bool {
        self.connection() == self.shared.believed.load(Ordering::Acquire)
    }

    /// What the server may have missed up to this connection was made good.
    pub fn believe(&self, connection: u64) {
        self.shared.believed.store(connection, Ordering::Release);
    }

    /// A key or channel under the application's prefix.
    pub fn key(&self, key: &str) -> String {
        format!("{}{key}", self.shared.options.prefix)
    }

    /// What stands before every key.
    pub fn prefix(&self) -> &str {
        &self.shared.options.prefix
    }

    /// Waits until it is connected, for at most `time`; whether it is.
    pub async fn wait_connected(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while self.shared.client.read().is_none() {
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }

    /// Runs one command.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn call<T: DeserializeOwned>(&self, command: impl Into<Command>) -> Result<T, Unreachable> {
        let command = command.into();
        self.run(async |client| client.send(command, Some(false)).await).await
    }

    /// Runs commands in one round trip, each for itself; errors are values among the answers.
    ///
    /// # Errors
    /// Why there is no answer at all.
    pub async fn pipeline(&self, commands: Vec<Command>) -> Result<Vec<Value>, Unreachable> {
        self.run(async |client| {
            // The client sends in one go what is asked of it at once, in this order. (Its own pipelines fail as a whole
            // when one command does.)
            let send = async |command| match client.send::<Value>(command, Some(false)).await {
                Err(error) => match error.kind() {
                    ErrorKind::Redis(redis) if !is_out_of_service(redis) => Ok(Value::Error(redis.clone())),
                    _ => Err(error),
                },
                answer => answer,
            };
            join_all(commands.into_iter().map(send)).await.into_iter().collect()
        })
        .await
    }

    /// Runs commands on one key as one transaction (MULTI, EXEC).
    ///
    /// # Errors
    /// Why there is no answer; none of the commands ran then, or all did and the answer was lost.
    pub async fn transaction(&self, commands: Vec<Command>) -> Result<Vec<Value>, Unreachable> {
        self.run(async |client| {
            let mut transaction = client.create_transaction();
            transaction.retry_on_error(false);
            commands.into_iter().for_each(|command| transaction.queue_command(command));
            transaction.execute().await
        })
        .await
    }

    /// A client of its own for subscriptions or tracking; it connects anew by itself.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn connect_apart(&self) -> Result<Client, Unreachable> {
        let connect = async { Client::connect(config(&self.shared.url)?).await };
        match tokio::time::timeout(Duration::from_secs(2), connect).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(sort_out(&error)),
            Err(_) => Err(Unreachable::Timeout),
        }
    }

    /// How long it takes to answer PING.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ping(&self) -> Result<Duration, Unreachable> {
        let start = Instant::now();
        self.call::<String>(ping()).await?;
        Ok(start.elapsed())
    }

    /// How many keys it holds, those of others among them.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn keys(&self) -> Result<u64, Unreachable> {
        self.call(cmd("DBSIZE").cluster_info(RequestPolicy::AllShards, ResponsePolicy::AggSum, 1)).await
    }

    async fn run<T>(&self, work: impl AsyncFnOnce(Client) -> rustis::Result<T>) -> Result<T, Unreachable> {
        let shared = &*self.shared;
        let client = shared.client.read().clone();
        let Some(client) = client else {
            shared.metrics.errors.add(1);
            return Err(Unreachable::Down);
        };
        if !shared.breaker.lets_through() {
            shared.metrics.skipped.add(1);
            return Err(Unreachable::Down);
        }
        let start = Instant::now();
        let outcome = match tokio::time::timeout(shared.options.timeout, work(client)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(sort_out(&error)),
            Err(_) => Err(Unreachable::Timeout),
        };
        shared.note(&outcome, start);
        outcome
    }
}

impl Shared {
    /// Notes an answer, or that there was none, for the breaker and the dashboard.
    fn note<T>(&self, outcome: &Result<T, Unreachable>, start: Instant) {
        match outcome {
            Ok(_) | Err(Unreachable::Refused(_)) if self.breaker.succeeded() => {
                tracing::info!(store = self.name, "reachable again");
            }
            Err(error) if !matches!(error, Unreachable::Refused(_)) && self.breaker.failed() => {
                tracing::warn!(store = self.name, %error, "unreachable; going on without it");
            }
            _ => {}
        }
        if matches!(outcome, Err(Unreachable::Broken(_))) {
            // What answers next may have restarted.
            self.connection.fetch_add(1, Ordering::AcqRel);
        }
        match outcome {
            Ok(_) => self.metrics.latency.record(start.elapsed()),
            Err(_) => self.metrics.errors.add(1),
        }
    }

    /// Uses this client from now on. What its server holds is not believed until somebody has made good what it missed,
    /// now and whenever the client connects anew.
    fn adopt(self: &Arc<Self>, client: Client) {
        let (shared, mut reconnected) = (Arc::downgrade(self), client.on_reconnect());
        self.connection.fetch_add(1, Ordering::AcqRel);
        *self.client.write() = Some(client);
        tokio::spawn(async move {
            // That some were left out is one that was not.
            while !matches!(reconnected.recv().await, Err(RecvError::Closed)) {
                let Some(shared) = shared.upgrade() else { return };
                shared.connection.fetch_add(1, Ordering::AcqRel);
            }
        });
    }
}

/// PING, on a cluster to each of its masters: that one of them answers says nothing of the others.
fn ping() -> CommandBuilder {
    cmd("PING").cluster_info(RequestPolicy::AllShards, ResponsePolicy::AllSucceeded, 1)
}

/// Connects for as long as it takes. The client connects anew by itself when its connection breaks; where answers merely
/// stay away (a machine that vanished says no goodbye), it is replaced as soon as a new one gets an answer.
async fn keep_connected(shared: std::sync::Weak<Shared>) {
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let is_absent = shared.client.read().is_none();
        if is_absent || shared.breaker.failing_for() > SILENCE {
            let connect = async { Client::connect(config(&shared.url)?).await };
            match tokio::time::timeout(SILENCE, connect).await {
                Ok(Ok(client)) => {
                    shared.adopt(client);
                    shared.breaker.succeeded();
                    tracing::info!(store = shared.name, "connected");
                }
                Ok(Err(error)) => tracing::debug!(store = shared.name, %error, "cannot connect"),
                Err(_) => tracing::debug!(store = shared.name, "cannot connect in time"),
            }
        }
        drop(shared);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The client's settings: it connects anew forever, soon and without much ado.
fn config(url: &str) -> rustis::Result<Config> {
    let mut config = url.into_config()?;
    let mut reconnection = ReconnectionConfig::new_exponential(0, 20, 500, 2);
    reconnection.set_jitter(20);
    config.reconnection = reconnection;
    config.connect_timeout = Duration::from_secs(1);
    config.retry_on_error = false;
    Ok(config)
}

/// Tells an error that concerns the server from one that concerns the command.
fn sort_out(error: &rustis::Error) -> Unreachable {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::Redis(redis) => match redis.kind {
            RedisErrorKind::WrongType => Unreachable::Refused(format!("WRONGTYPE {text}")),
            _ if is_out_of_service(redis) => Unreachable::Broken(text),
            _ => Unreachable::Refused(text),
        },
        // An answer of another shape than was expected is an answer.
        ErrorKind::Client(_) | ErrorKind::Utf8(_) | ErrorKind::FromUtf8(_) | ErrorKind::ParseInt(_) => {
            Unreachable::Refused(text)
        }
        _ => Unreachable::Broken(text),
    }
}

/// Whether the server as a whole cannot serve at the moment.
fn is_out_of_service(error: &RedisError) -> bool {
    matches!(error.kind, RedisErrorKind::Loading | RedisErrorKind::ClusterDown | RedisErrorKind::MasterDown)
}
