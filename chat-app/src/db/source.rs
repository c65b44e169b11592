//! Where cached values come from. [`Source::load`] is the only way to fill a cache, and what the benches call "uncached" is
//! the same call.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::Db;
use crate::clock::Clock;
use crate::error::AppError;
use crate::keys::Query;
use crate::metrics::Metrics;
use crate::model::{Page, RoomPage};

/// Answers queries, as JSON; `None` for what does not exist.
pub trait Source: Send + Sync {
    /// The answer.
    fn load<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Option<Vec<u8>>, AppError>>;
}

/// The database, asked by a bounded number of requests at once: when the cache is gone, all its readers come here.
pub struct Database {
    /// The database itself.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// How many reads there were.
    pub metrics: Arc<Metrics>,
    /// Who may read at the moment.
    pub permits: Semaphore,
    /// Waits before each read: a stand-in for a distant database, for measurements only.
    pub delay: Duration,
}

impl Source for Database {
    fn load<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Option<Vec<u8>>, AppError>> {
        Box::pin(async move {
            let permit = self.permits.acquire().await;
            let _permit = permit.map_err(|_| AppError::Unavailable("the server ends".into()))?;
            if !self.delay.is_zero() {
                tokio::time::sleep(self.delay).await;
            }
            self.metrics.database_reads.add(1);
            self.answer(query).await
        })
    }
}

impl Database {
    async fn answer(&self, query: &Query) -> Result<Option<Vec<u8>>, AppError> {
        let db = &self.db;
        match query {
            Query::Messages { room, limit, before } => {
                let messages = db.messages(room, *limit, *before).await?;
                if messages.is_empty() && db.room(room).await?.is_none() {
                    return Ok(None);
                }
                json(&Page { messages })
            }
            Query::RoomPage { room, limit, before } => {
                let messages = db.messages(room, *limit, *before).await?;
                let (first, last) = match (messages.first(), messages.last()) {
                    (Some(first), Some(last)) => (first.id, last.id),
                    _ if db.room(room).await?.is_some() => (0, 0),
                    _ => return Ok(None),
                };
                let reactions = db.reactions(room, first, last).await?;
                let members = db.members(room, self.clock.now_ms()).await?;
                json(&RoomPage { messages, reactions, members })
            }
            Query::Rooms { after } => json(&db.rooms(after.as_ref()).await?),
            Query::Room { room } => match db.room(room).await? {
                Some(room) => json(&room),
                None => Ok(None),
            },
            Query::Profile { user } => match db.profile(*user).await? {
                Some(profile) => json(&profile),
                None => Ok(None),
            },
        }
    }
}

fn json(value: &impl Serialize) -> Result<Option<Vec<u8>>, AppError> {
    serde_json::to_vec(value).map(Some).map_err(|error| AppError::Unavailable(error.to_string()))
}
