//! Cache-aside, also called lazy loading: the application asks the cache, and when that has nothing, asks the database and
//! puts the answer into the cache. Only what is asked for is cached, and a cache that is gone costs time but nothing else.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Strategy;
use crate::cache::layers::{Layers, Look, Served};
use crate::db::Db;
use crate::db::source::Source;
use crate::error::AppError;
use crate::keys::{Group, Query};
use crate::model::Message;

/// See the page of this module.
pub struct CacheAside {
    /// The cache.
    pub layers: Arc<Layers>,
    /// Where values come from.
    pub source: Arc<dyn Source>,
    /// Where messages go to.
    pub db: Db,
}

impl CacheAside {
    /// The three steps: look; if there is nothing, load; and fill the cache with what was loaded.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn look_or_load(&self, query: &Query) -> Result<Served, AppError> {
        match self.layers.look(query).await {
            Look::Hit { served, refresh } => {
                if let Some(ticket) = refresh {
                    self.layers.refresh(query, ticket, &self.source);
                }
                Ok(served)
            }
            Look::Miss(ticket) => self.layers.refill(query, ticket, &self.source).await,
        }
    }
}

impl Strategy for CacheAside {
    fn name(&self) -> &'static str {
        "cache-aside"
    }

    fn read<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Served, AppError>> {
        Box::pin(self.look_or_load(query))
    }

    fn post<'a>(&'a self, message: &'a Message, event: &'a str) -> BoxFuture<'a, Result<(), AppError>> {
        Box::pin(async move {
            // The database first: whoever reads after the invalidation must find the message there.
            self.db.insert_messages(std::slice::from_ref(message)).await?;
            self.layers.invalidate(&Group::Room(message.room.clone()), Some(event)).await;
            Ok(())
        })
    }

    fn changed<'a>(&'a self, group: &'a Group, event: Option<&'a str>) -> BoxFuture<'a, ()> {
        Box::pin(self.layers.invalidate(group, event))
    }
}
