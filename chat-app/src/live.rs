//! Messages that reach readers at once, on whichever server they are.
//!
//! The server that takes a message tells its own readers and publishes it; the others hear it and tell theirs. Publishing
//! delivers at most once, so every server also looks into the database once a second for what it has not heard
//! ([`Poller`]). That is all that is left when the cache is gone. Reactions count as changes of their message.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::cache::layers::Layers;
use crate::cache::ttl::Rates;
use crate::clock::Clock;
use crate::db::Db;
use crate::error::AppError;
use crate::feed::Feeds;
use crate::ids;
use crate::keys::Group;
use crate::metrics::Metrics;
use crate::model::{Message, RoomId};
use crate::strategy::Strategy;

/// What readers hear: a message that is new, or was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The server that took it.
    pub node: i64,
    /// The message as it is now.
    pub message: Message,
}

/// How far back the database is looked at again: ids are given by servers whose clocks differ and whose writes take time.
const OVERLAP_MS: i64 = 10_000;
/// Messages that wait for a slow reader before some are left out; the reader is told to catch up then.
const WAITING: usize = 256;
/// Changes that one look takes from the database.
const MOST_CHANGES: i64 = 1_000;

/// The readers of this server.
pub struct Hub {
    rooms: Mutex<HashMap<RoomId, broadcast::Sender<Arc<str>>>>,
    /// Changes that have been told, for [`OVERLAP_MS`] and a little more.
    told: Mutex<BTreeSet<i64>>,
    /// Ids of sessions that were revoked.
    revoked: broadcast::Sender<Arc<str>>,
    clock: Clock,
    rates: Arc<Rates>,
}

impl Hub {
    /// No readers yet.
    pub fn new(clock: Clock, rates: Arc<Rates>) -> Self {
        let revoked = broadcast::channel(WAITING).0;
        Self { rooms: Mutex::default(), told: Mutex::default(), revoked, clock, rates }
    }

    /// What is said in a room from now on.
    pub fn listen(&self, room: &RoomId) -> broadcast::Receiver<Arc<str>> {
        let mut rooms = self.rooms.lock();
        rooms.retain(|_, sender| sender.receiver_count() > 0);
        rooms.entry(room.clone()).or_insert_with(|| broadcast::channel(WAITING).0).subscribe()
    }

    /// The sessions that are revoked from now on.
    pub fn revocations(&self) -> broadcast::Receiver<Arc<str>> {
        self.revoked.subscribe()
    }

    /// Ends the connections of a session on this server.
    pub fn revoke(&self, session: &str) {
        // That there are none is fine.
        let _ = self.revoked.send(session.into());
    }

    /// Readers on this server.
    pub fn readers(&self) -> usize {
        self.rooms.lock().values().map(broadcast::Sender::receiver_count).sum()
    }

    fn was_told(&self, message: &Message) -> bool {
        self.told.lock().contains(&message.changed)
    }

    /// Tells the readers of its room; false if they have been told before.
    pub fn tell(&self, message: &Message) -> bool {
        let oldest = ids::first_id_at(self.clock.now_ms() - 3 * OVERLAP_MS);
        {
            let mut told = self.told.lock();
            if told.first().is_some_and(|first| *first < oldest) {
                *told = told.split_off(&oldest);
            }
            if !told.insert(message.changed) {
                return false;
            }
        }
        self.rates.note(&Group::Room(message.room.clone()));
        let sender = self.rooms.lock().get(&message.room).cloned();
        if let (Some(sender), Ok(text)) = (sender, serde_json::to_string(message)) {
            // Nobody listening is fine.
            let _ = sender.send(text.into());
        }
        true
    }
}

/// Looks for what other servers wrote and nobody told.
pub struct Poller {
    /// The database.
    pub db: Db,
    /// The readers.
    pub hub: Arc<Hub>,
    /// What must not show the past.
    pub layers: Arc<Layers>,
    /// How pages become stale.
    pub strategy: Arc<dyn Strategy>,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Poller {
    /// Looks again and again, forever.
    pub async fn run(self, every: Duration) {
        let mut from = ids::first_id_at(self.clock.now_ms() - OVERLAP_MS);
        loop {
            let started_ms = self.clock.now_ms();
            match self.look(from).await {
                // What was not there yet may still come with an id of a moment ago.
                Ok(()) => from = ids::first_id_at(started_ms - OVERLAP_MS),
                Err(error) => tracing::debug!(%error, "looking for messages"),
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn look(&self, from: i64) -> Result<(), AppError> {
        self.metrics.polls.add(1);
        let mut latest = from;
        loop {
            let mut changes = self.db.changes_after(latest, MOST_CHANGES).await?;
            latest = changes.last().map_or(latest, |message| message.changed);
            let count = i64::try_from(changes.len()).unwrap_or(i64::MAX);
            changes.retain(|message| !self.hub.was_told(message));
            self.db.add_reactions(&mut changes).await?;
            let mut is_spoken = false;
            for message in &changes {
                if self.hub.tell(message) {
                    // Nobody told: then nobody may have told the caches either.
                    self.strategy.missed(&Group::Room(message.room.clone())).await;
                    is_spoken |= message.changed == message.id;
                }
            }
            if is_spoken {
                self.strategy.missed(&Group::RoomList).await;
            }
            if count < MOST_CHANGES {
                return Ok(());
            }
        }
    }
}

/// Makes good what caches missed that were connected just now; they are not believed before that.
pub async fn make_good(layers: &Layers, feeds: &Feeds) {
    for store in feeds.shards.all() {
        let connection = store.connection();
        if store.is_believed() || !store.is_open() {
            continue;
        }
        match layers.make_good(store, &feeds.db).await {
            Ok(()) => store.believe(connection),
            Err(error) => tracing::debug!(store = store.name(), %error, "not believed yet"),
        }
    }
}

/// Tries again and again what could not be invalidated.
pub async fn catch_up(layers: Arc<Layers>, feeds: Arc<Feeds>) {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        make_good(&layers, &feeds).await;
        layers.catch_up().await;
        feeds.catch_up().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(clock: &Clock, changed: i64) -> Message {
        let id = ids::first_id_at(clock.now_ms());
        Message {
            id,
            room: RoomId::new("general").unwrap(),
            author: 1,
            name: "Ann".into(),
            body: "hello".into(),
            edited_ms: 0,
            deleted: false,
            changed: id + changed,
            reactions: None,
        }
    }

    #[tokio::test]
    async fn each_change_is_told_once() {
        let clock = Clock::manual(1_800_000_000_000);
        let hub = Hub::new(clock.clone(), Arc::new(Rates::new(clock.clone())));
        let mut reader = hub.listen(&RoomId::new("general").unwrap());
        let mut elsewhere = hub.listen(&RoomId::new("tech").unwrap());
        assert!(hub.tell(&message(&clock, 0)) && !hub.tell(&message(&clock, 0)));
        assert!(hub.tell(&message(&clock, 1)), "an edit is another change");
        assert!(reader.recv().await.unwrap().contains("hello") && reader.recv().await.is_ok());
        assert!(reader.try_recv().is_err() && elsewhere.try_recv().is_err());
        clock.advance(60_000);
        hub.tell(&message(&clock, 0));
        assert_eq!(hub.told.lock().len(), 1, "what is long past is forgotten");
    }
}
