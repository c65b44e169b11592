//! No cache: every read asks the database. What the others are measured against.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;

use super::Strategy;
use crate::cache::layers::{Layer, Layers, Served};
use crate::db::Db;
use crate::db::source::Source;
use crate::error::AppError;
use crate::keys::{Group, Query};
use crate::model::Message;

/// See the page of this module.
pub struct NoCache {
    /// Only its counters are used, and its channel for live messages.
    pub layers: Arc<Layers>,
    /// Where values come from.
    pub source: Arc<dyn Source>,
    /// Where messages go to.
    pub db: Db,
}

impl Strategy for NoCache {
    fn name(&self) -> &'static str {
        "none"
    }

    fn read<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Served, AppError>> {
        Box::pin(async move {
            let start = Instant::now();
            let body = self.source.load(query).await?.map(Into::into);
            self.layers.metrics.misses.add(1);
            self.layers.metrics.database_time.record(start.elapsed());
            Ok(Served { body, layer: Layer::Database })
        })
    }

    fn post<'a>(&'a self, message: &'a Message, event: &'a str) -> BoxFuture<'a, Result<(), AppError>> {
        Box::pin(async move {
            self.db.insert_messages(std::slice::from_ref(message)).await?;
            self.layers.invalidate(&Group::Room(message.room.clone()), Some(event)).await;
            Ok(())
        })
    }

    fn changed<'a>(&'a self, group: &'a Group, event: Option<&'a str>) -> BoxFuture<'a, ()> {
        Box::pin(self.layers.invalidate(group, event))
    }
}
