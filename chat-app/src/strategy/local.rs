//! A cache in each process and nothing else. It is the fastest there is, and with more than one server it is wrong: a
//! write is seen by the server that took it, while the others show the past until their values end. Try it with three
//! servers, then add the shared cache and its messages.

use futures_util::future::BoxFuture;

use super::Strategy;
use super::cache_aside::CacheAside;
use crate::cache::layers::Served;
use crate::error::AppError;
use crate::keys::{Group, Query};
use crate::model::Message;

/// See the page of this module. Its layers have no shared cache.
pub struct Local(pub CacheAside);

impl Strategy for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn read<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Served, AppError>> {
        Box::pin(self.0.look_or_load(query))
    }

    fn post<'a>(&'a self, message: &'a Message, event: &'a str) -> BoxFuture<'a, Result<(), AppError>> {
        self.0.post(message, event)
    }

    /// Without messages between servers nobody hears of it; that the application looks into the database for its live
    /// messages must not hide that.
    fn missed<'a>(&'a self, _: &'a Group) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn changed<'a>(&'a self, group: &'a Group, event: Option<&'a str>) -> BoxFuture<'a, ()> {
        self.0.changed(group, event)
    }
}
