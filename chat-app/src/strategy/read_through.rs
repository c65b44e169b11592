//! Read-through: the application asks the cache and nothing else; the cache itself knows where values come from. The
//! readers get simpler, and the one place that loads can be guarded, counted and bounded once.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Strategy;
use crate::cache::layers::{Layers, Look, Served};
use crate::db::Db;
use crate::db::source::Source;
use crate::error::AppError;
use crate::keys::{Group, Query};
use crate::model::Message;

/// A cache that loads what it does not have.
pub struct LoadingCache {
    layers: Arc<Layers>,
    source: Arc<dyn Source>,
}

impl LoadingCache {
    /// A cache in front of a source.
    pub fn new(layers: Arc<Layers>, source: Arc<dyn Source>) -> Self {
        Self { layers, source }
    }

    /// The value, wherever it is.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn get(&self, query: &Query) -> Result<Served, AppError> {
        match self.layers.look(query).await {
            Look::Hit { served, refresh: None } => Ok(served),
            Look::Hit { served, refresh: Some(ticket) } => {
                self.layers.refresh(query, ticket, &self.source);
                Ok(served)
            }
            Look::Miss(ticket) => self.layers.refill(query, ticket, &self.source).await,
        }
    }
}

/// See the page of this module.
pub struct ReadThrough {
    /// The only thing that readers know.
    pub cache: LoadingCache,
    /// Where messages go to.
    pub db: Db,
}

impl Strategy for ReadThrough {
    fn name(&self) -> &'static str {
        "read-through"
    }

    fn read<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Served, AppError>> {
        Box::pin(self.cache.get(query))
    }

    fn post<'a>(&'a self, message: &'a Message, event: &'a str) -> BoxFuture<'a, Result<(), AppError>> {
        Box::pin(async move {
            self.db.insert_messages(std::slice::from_ref(message)).await?;
            self.cache.layers.invalidate(&Group::Room(message.room.clone()), Some(event)).await;
            Ok(())
        })
    }

    fn changed<'a>(&'a self, group: &'a Group, event: Option<&'a str>) -> BoxFuture<'a, ()> {
        Box::pin(self.cache.layers.invalidate(group, event))
    }
}
