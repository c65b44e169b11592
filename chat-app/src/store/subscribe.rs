//! Messages from other servers, and how long what they keep fresh may be trusted.
//!
//! Publish and subscribe delivers at most once: whoever is not connected misses what is said. A page in L1 is right only as
//! long as no invalidation can have been missed. So a [`Feed`] asks its connection again and again whether it is alive
//! (PING travels behind the messages, so its answer says that all before it has come), and tells when it is not. On a cluster
//! each master is asked, since the channels lie on several of them; what they have to say to each other may still come late.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rustis::client::Client;
use rustis::commands::{ClientTrackingOptions, ClientTrackingStatus, ConnectionCommands};
use rustis::resp::Value;
use tokio::sync::mpsc::UnboundedSender;

use super::{Store, Unreachable};

/// How often the connection is asked.
const HEARTBEAT: Duration = Duration::from_millis(150);
/// How long an answer counts.
const TRUST: Duration = Duration::from_millis(600);

/// What comes from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// A message on a channel.
    Message {
        /// The channel, without the prefix.
        channel: String,
        /// What was published.
        payload: String,
    },
    /// Tracked keys changed, without the prefix; none: all of them.
    Changed(Vec<String>),
    /// The connection was lost, or is new: anything may have been missed.
    Lost,
}

/// What to listen to.
#[derive(Debug, Clone)]
pub enum Topic {
    /// These channels.
    Channels(Vec<&'static str>),
    /// Changes of keys that begin so (CLIENT TRACKING in broadcasting mode: one registration, whatever is read).
    Keys(&'static str),
}

/// Whether a subscription can be relied on at the moment; cheap to clone.
#[derive(Clone)]
pub struct Trust {
    start: Instant,
    /// Milliseconds after `start` until when it holds.
    until_ms: Arc<AtomicI64>,
}

impl Trust {
    fn new() -> Self {
        Self { start: Instant::now(), until_ms: Arc::new(AtomicI64::new(0)) }
    }

    /// Whether all that was said until a moment ago has come.
    pub fn holds(&self) -> bool {
        let now = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        now < self.until_ms.load(Ordering::Acquire)
    }

    fn extend(&self, asked: Instant) {
        let until = asked.duration_since(self.start) + TRUST;
        self.until_ms.store(i64::try_from(until.as_millis()).unwrap_or(i64::MAX), Ordering::Release);
    }

    fn end(&self) {
        self.until_ms.store(0, Ordering::Release);
    }
}

/// Listens to a server forever and sends what comes to `sink`.
pub fn listen(store: Store, topic: Topic, sink: UnboundedSender<Signal>) -> Trust {
    let trust = Trust::new();
    let given = trust.clone();
    tokio::spawn(async move {
        while !sink.is_closed() {
            if let Err(error) = session(&store, &topic, &sink, &trust).await {
                tracing::debug!(store = store.name(), %error, "subscription");
            }
            trust.end();
            if sink.send(Signal::Lost).is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    given
}

/// One connection's life: ends when the connection has been lost in any way.
async fn session(
    store: &Store,
    topic: &Topic,
    sink: &UnboundedSender<Signal>,
    trust: &Trust,
) -> Result<(), Unreachable> {
    let client = store.connect_apart().await?;
    let mut reconnected = client.on_reconnect();
    let mut messages = open(store, topic, &client).await?;
    // What was read before this moment may have missed something.
    let _ = sink.send(Signal::Lost);
    let heartbeat = async {
        loop {
            let asked = Instant::now();
            let answer = tokio::time::timeout(TRUST, client.send::<Value>(super::ping(), Some(false))).await;
            match answer {
                Ok(Ok(_)) => trust.extend(asked),
                Ok(Err(error)) => return Unreachable::Broken(error.to_string()),
                Err(_) => return Unreachable::Timeout,
            }
            tokio::time::sleep(HEARTBEAT).await;
        }
    };
    tokio::pin!(heartbeat);
    loop {
        // Messages come first: trust grows only when those before the answer have been handed on.
        tokio::select! {
            biased;
            message = messages.next() => match message {
                Some(signal) => {
                    let _ = sink.send(signal);
                }
                None => return Err(Unreachable::Broken("the subscription ended".into())),
            },
            _ = reconnected.recv() => return Err(Unreachable::Broken("connected anew".into())),
            why = &mut heartbeat => return Err(why),
        }
    }
}

type Signals = futures_util::stream::BoxStream<'static, Signal>;

async fn open(store: &Store, topic: &Topic, client: &Client) -> Result<Signals, Unreachable> {
    let prefix = store.prefix().to_owned();
    match topic {
        Topic::Channels(channels) => {
            let channels: Vec<String> = channels.iter().map(|channel| store.key(channel)).collect();
            let mut stream = client.create_pub_sub();
            stream.subscribe(channels).await.map_err(|error| super::sort_out(&error))?;
            let signals = stream.filter_map(move |message| {
                let signal = message.ok().map(|message| {
                    let channel = String::from_utf8_lossy(message.channel()).into_owned();
                    let channel = channel.strip_prefix(&prefix).unwrap_or(&channel).to_owned();
                    Signal::Message { channel, payload: String::from_utf8_lossy(message.payload()).into_owned() }
                });
                std::future::ready(signal)
            });
            Ok(signals.boxed())
        }
        Topic::Keys(keys) => {
            let stream = client.create_client_tracking_invalidation_stream();
            let stream = stream.map_err(|error| super::sort_out(&error))?;
            let options = ClientTrackingOptions::default().broadcasting().prefix(store.key(keys));
            client.client_tracking(ClientTrackingStatus::On, options).await.map_err(|error| super::sort_out(&error))?;
            let signals = stream.map(move |keys| {
                let strip = |key: &rustis::resp::BulkString| {
                    let key = String::from_utf8_lossy(key).into_owned();
                    key.strip_prefix(&prefix).unwrap_or(&key).to_owned()
                };
                Signal::Changed(keys.iter().map(strip).collect())
            });
            Ok(signals.boxed())
        }
    }
}
