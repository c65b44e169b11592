//! No cache: every read asks the database. What the others are measured against. Writes are those of cache-aside, since
//! readers still hear of them.

use std::time::Instant;

use futures_util::future::BoxFuture;

use super::Strategy;
use super::cache_aside::CacheAside;
use crate::cache::layers::{Layer, Served};
use crate::error::AppError;
use crate::keys::{Group, Query};
use crate::model::Message;

/// See the page of this module.
pub struct NoCache(pub CacheAside);

impl Strategy for NoCache {
    fn name(&self) -> &'static str {
        "none"
    }

    fn read<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Served, AppError>> {
        Box::pin(async move {
            let start = Instant::now();
            let body = self.0.source.load(query).await?.map(Into::into);
            self.0.layers.metrics.misses.add(1);
            self.0.layers.metrics.database_time.record(start.elapsed());
            Ok(Served { body, layer: Layer::Database })
        })
    }

    fn post<'a>(&'a self, message: &'a Message, event: &'a str) -> BoxFuture<'a, Result<(), AppError>> {
        self.0.post(message, event)
    }

    fn changed<'a>(&'a self, group: &'a Group, event: Option<&'a str>) -> BoxFuture<'a, ()> {
        self.0.changed(group, event)
    }
}
