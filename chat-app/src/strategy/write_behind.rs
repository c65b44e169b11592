//! Write-behind, also called write-back: a message is acknowledged once it is in a queue, and gets into the database later,
//! with others. Writes get as fast as the queue, and a database that is slow or away for a while is not noticed.
//!
//! The price: what is in the queue and not yet in the database is lost with the queue. The queue outlives every crash of
//! the application, but when its server keeps nothing on disk, it does not outlive that server; and one that runs in the
//! application's own process ends with it. So this is for messages that one could bear to lose, or for a state server with
//! persistence. A server that is told to end empties the queue before it does.
//!
//! - Its author, and everybody else, sees a message at once: a page is what the cache or the database has, and over it
//!   what is queued. The queue is read *first*: what leaves it meanwhile is in the database by then.
//! - Each message arrives exactly once. The application gives the id, inserting is idempotent, and an element leaves the
//!   queue only after it was inserted: a crash in between repeats the insert. When an answer of the queue is lost, the
//!   message is written straight to the database, under the same id.
//! - One server empties the queues (a lock elects it), room by room and in order. Should two do so for a moment, nothing
//!   happens that must not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustis::resp::{BulkString, Command, RefBulkString, Value, cmd};
use tokio::sync::RwLock;

use super::Strategy;
use super::cache_aside::CacheAside;
use crate::cache::layers::{Layers, Served};
use crate::cache::lock;
use crate::db::Db;
use crate::error::AppError;
use crate::keys::{Group, Query};
use crate::model::{Message, Page, RoomId, RoomPage};
use crate::store::{Store, Unreachable};

/// The set of rooms that have ever had a queue. (No room's queue can have this key.)
const ROOMS: &str = "queued-rooms";
/// What the keys of the queues begin with.
const QUEUE: &str = "queue:";
/// Messages that go into the database at once.
const BATCH: usize = 200;
/// How long a server that died keeps the others from emptying the queues.
const TERM: Duration = Duration::from_secs(2);
/// How long messages are gathered.
const PAUSE: Duration = Duration::from_millis(50);

/// See the page of this module.
pub struct WriteBehind {
    aside: CacheAside,
    queue: Arc<Queue>,
}

/// The queues, one per room, in the state server.
pub struct Queue {
    state: Store,
    db: Db,
    layers: Arc<Layers>,
    /// Held by those who push; set once nobody may any more.
    is_closed: RwLock<bool>,
}

impl WriteBehind {
    /// Queues in `state`; begins to empty them.
    pub fn new(aside: CacheAside, state: Store) -> Self {
        let queue =
            Arc::new(Queue { state, db: aside.db.clone(), layers: aside.layers.clone(), is_closed: RwLock::default() });
        tokio::spawn(empty_forever(Arc::downgrade(&queue)));
        Self { aside, queue }
    }

    async fn read_over(&self, query: &Query) -> Result<Served, AppError> {
        let (room, limit) = match query {
            Query::Messages { room, limit, before: None } | Query::RoomPage { room, limit, before: None } => {
                (room, *limit)
            }
            _ => return self.aside.look_or_load(query).await,
        };
        let queued = self.queue.newest(room, limit).await;
        let mut served = self.aside.look_or_load(query).await?;
        if let (Some(body), false) = (&served.body, queued.is_empty()) {
            let lain = match query {
                Query::RoomPage { .. } => lay_over::<RoomPage>(body, queued, limit),
                _ => lay_over::<Page>(body, queued, limit),
            };
            served.body = Some(lain.map_err(|error| AppError::Unavailable(error.to_string()))?.into());
        }
        Ok(served)
    }
}

/// What holds messages.
trait HasMessages: serde::Serialize + serde::de::DeserializeOwned {
    fn messages(&mut self) -> &mut Vec<Message>;
}

impl HasMessages for Page {
    fn messages(&mut self) -> &mut Vec<Message> {
        &mut self.messages
    }
}

impl HasMessages for RoomPage {
    fn messages(&mut self) -> &mut Vec<Message> {
        &mut self.messages
    }
}

/// A page with what is queued; of what is in both, the page's own counts, since only that can have been edited.
fn lay_over<P: HasMessages>(body: &[u8], queued: Vec<Message>, limit: i64) -> Result<Vec<u8>, serde_json::Error> {
    let mut page: P = serde_json::from_slice(body)?;
    let mut all: BTreeMap<i64, Message> = queued.into_iter().map(|message| (message.id, message)).collect();
    all.extend(page.messages().drain(..).map(|message| (message.id, message)));
    let surplus = all.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    *page.messages() = all.into_values().skip(surplus).collect();
    serde_json::to_vec(&page)
}

impl Strategy for WriteBehind {
    fn name(&self) -> &'static str {
        "write-behind"
    }

    fn read<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Served, AppError>> {
        Box::pin(self.read_over(query))
    }

    fn post<'a>(&'a self, message: &'a Message, event: &'a str) -> BoxFuture<'a, Result<(), AppError>> {
        Box::pin(async move {
            match self.queue.push(message).await {
                Ok(()) => {
                    self.aside.layers.announce(&Group::Room(message.room.clone()), event).await;
                    Ok(())
                }
                Err(error) => {
                    tracing::debug!(%error, "written straight to the database");
                    self.aside.post(message, event).await
                }
            }
        })
    }

    fn changed<'a>(&'a self, group: &'a Group, event: Option<&'a str>) -> BoxFuture<'a, ()> {
        Box::pin(self.aside.layers.invalidate(group, event))
    }

    fn queued<'a>(&'a self, room: &'a RoomId, limit: i64) -> BoxFuture<'a, Vec<Message>> {
        Box::pin(self.queue.newest(room, limit))
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            *self.queue.is_closed.write().await = true;
            self.queue.empty_all().await
        })
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = self.queue.empty_all().await {
                tracing::debug!(error, "the queues stay as they are");
            }
        })
    }
}

impl Queue {
    fn key(&self, room: &RoomId) -> String {
        self.state.key(&format!("{QUEUE}{room}"))
    }

    async fn push(&self, message: &Message) -> Result<(), Unreachable> {
        let text = serde_json::to_string(message).map_err(|error| Unreachable::Refused(error.to_string()))?;
        let commands = vec![
            cmd("SADD").key(self.state.key(ROOMS)).arg(message.room.as_str()).into(),
            cmd("RPUSH").key(self.key(&message.room)).arg(RefBulkString::new(text.as_bytes())).into(),
        ];
        let is_closed = self.is_closed.read().await;
        if *is_closed {
            return Err(Unreachable::Down);
        }
        let answers = self.state.pipeline(commands).await?;
        drop(is_closed);
        match answers.as_slice() {
            [Value::Integer(_), Value::Integer(_)] => Ok(()),
            _ => Err(Unreachable::Refused(format!("{answers:?}"))),
        }
    }

    /// The newest messages of a room that are queued; none when the queue cannot be reached.
    async fn newest(&self, room: &RoomId, limit: i64) -> Vec<Message> {
        let range = cmd("LRANGE").key(self.key(room)).arg(-limit).arg(-1);
        let texts: Vec<BulkString> = self.state.call(range).await.unwrap_or_default();
        texts.iter().filter_map(|text| serde_json::from_slice(text).ok()).collect()
    }

    /// Moves what is queued for a room into the database; how many messages.
    async fn empty(&self, room: &RoomId) -> Result<usize, String> {
        let mut moved = 0;
        loop {
            let range = cmd("LRANGE").key(self.key(room)).arg(0).arg(BATCH - 1);
            let texts: Vec<BulkString> = self.state.call(range).await.map_err(|error| error.to_string())?;
            if texts.is_empty() {
                return Ok(moved);
            }
            let messages: Vec<Message> = texts.iter().filter_map(|text| serde_json::from_slice(text).ok()).collect();
            if messages.len() < texts.len() {
                self.state.note_mended(&self.key(room), "what is no message was removed from the queue");
            }
            self.db.insert_messages(&messages).await.map_err(|error| error.to_string())?;
            self.layers.metrics.database_writes.add(1);
            // Stale before they leave the queue: whoever does not find them there any more must find them below.
            self.layers.invalidate(&Group::Room(room.clone()), None).await;
            let remove = |text: &BulkString| -> Command {
                cmd("LREM").key(self.key(room)).arg(1).arg(RefBulkString::new(text)).into()
            };
            let removed = self.state.pipeline(texts.iter().map(remove).collect()).await;
            removed.map_err(|error| error.to_string())?;
            moved += messages.len();
        }
    }

    async fn empty_all(&self) -> Result<(), String> {
        let rooms = self.rooms().await.map_err(|error| error.to_string())?;
        if rooms.is_empty() {
            return Ok(());
        }
        let length = |room: &RoomId| -> Command { cmd("LLEN").key(self.key(room)).into() };
        let lengths = self.state.pipeline(rooms.iter().map(length).collect()).await;
        // A room that cannot be emptied does not keep the others' messages.
        let mut result = Ok(());
        for (room, length) in rooms.iter().zip(lengths.map_err(|error| error.to_string())?) {
            let emptied = match length {
                Value::Integer(0) => Ok(()),
                Value::Integer(_) => self.empty(room).await.map(drop),
                // Nothing could be pushed to it.
                _ => {
                    self.state.remove_unless(&self.key(room), "list").await.map(drop).map_err(|error| error.to_string())
                }
            };
            result = emptied.and(result);
        }
        result
    }

    /// The rooms that may have a queue.
    async fn rooms(&self) -> Result<Vec<RoomId>, Unreachable> {
        let key = self.state.key(ROOMS);
        let members = || cmd("SMEMBERS").key(&key);
        let rooms: Vec<BulkString> = match self.state.call(members()).await {
            Err(error) if error.is_wrong_type() => {
                self.state.remove_unless(&key, "set").await?;
                self.find_rooms().await?;
                self.state.call(members()).await?
            }
            rooms => rooms?,
        };
        let room = |name: &BulkString| RoomId::new(std::str::from_utf8(name).ok()?).ok();
        Ok(rooms.iter().filter_map(room).collect())
    }

    /// Notes the rooms that have a queue, for one whose note was lost.
    async fn find_rooms(&self) -> Result<(), Unreachable> {
        let (prefix, rooms) = (self.state.key(QUEUE), self.state.key(ROOMS));
        let mut scan = self.state.scan(&format!("{QUEUE}*")).await?;
        while let Some(keys) = scan.next().await? {
            let room = |key: &String| RoomId::new(key.strip_prefix(&prefix)?).ok();
            let note = |room: RoomId| cmd("SADD").key(&rooms).arg(room.as_str()).into();
            self.state.pipeline(keys.iter().filter_map(room).map(note).collect()).await?;
        }
        Ok(())
    }
}

/// Empties the queues whenever this server is elected.
async fn empty_forever(queue: std::sync::Weak<Queue>) {
    let mut term: Option<lock::Held> = None;
    let mut has_searched = false;
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(queue) = queue.upgrade() else { return };
        let is_elected = match &term {
            Some(held) => held.renew(TERM).await.unwrap_or(false),
            None => false,
        };
        if !is_elected {
            term = lock::acquire(&queue.state, "queue", TERM).await.unwrap_or_default();
            has_searched = false;
        }
        if term.is_none() {
            continue;
        }
        // Whoever is elected does not know what its predecessor left undone.
        if !has_searched {
            has_searched = queue.find_rooms().await.is_ok();
        }
        if let Err(error) = queue.empty_all().await {
            tracing::debug!(error, "the queues wait");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: i64, body: &str) -> Message {
        let room = RoomId::new("general").unwrap();
        let (name, body) = ("Ann".into(), body.into());
        Message { id, room, author: 1, name, body, edited_ms: 0, deleted: false, changed: id, reactions: None }
    }

    #[test]
    fn queued_messages_lie_over_the_page() {
        let page = Page { messages: vec![message(1, "one"), message(3, "three, edited")] };
        let queued = vec![message(2, "two"), message(3, "three"), message(4, "four")];
        let body = lay_over::<Page>(&serde_json::to_vec(&page).unwrap(), queued, 3).unwrap();
        let page: Page = serde_json::from_slice(&body).unwrap();
        let texts: Vec<&str> = page.messages.iter().map(|message| message.body.as_str()).collect();
        assert_eq!(texts, ["two", "three, edited", "four"]);
    }
}
