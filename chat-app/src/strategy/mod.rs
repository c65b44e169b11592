//! Caching strategies: who reads the database when the cache has nothing, and what a write does to the cache.
//!
//! | strategy        | read                                      | write |
//! |-----------------|-------------------------------------------|-------|
//! | `cache-aside`   | the application looks, loads and fills    | database, then invalidate |
//! | `read-through`  | the cache loads by itself                 | database, then invalidate |
//! | `write-through` | as `cache-aside`                          | database, then the cache gets the new pages |
//! | `write-behind`  | as `cache-aside`, plus what is queued     | queue; the database later, in batches |
//! | `local`         | a cache in each process and nothing else  | database, then this process forgets |
//! | `none`          | the database, always                      | database |

pub mod cache_aside;
pub mod local;
pub mod none;
pub mod read_through;
pub mod warm;
pub mod write_behind;
pub mod write_through;

use futures_util::future::BoxFuture;

use crate::cache::layers::Served;
use crate::error::AppError;
use crate::keys::{Group, Query};
use crate::model::{Message, RoomId};

/// See the table on the page of this module.
pub trait Strategy: Send + Sync {
    /// How the dashboard calls it.
    fn name(&self) -> &'static str;

    /// The answer to a query.
    fn read<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Served, AppError>>;

    /// Writes a new message; when this returns, it is not lost and its author sees it. `event` goes to all readers.
    fn post<'a>(&'a self, message: &'a Message, event: &'a str) -> BoxFuture<'a, Result<(), AppError>>;

    /// The database has changed what this group shows. `event` goes to all readers.
    fn changed<'a>(&'a self, group: &'a Group, event: Option<&'a str>) -> BoxFuture<'a, ()>;

    /// Another server has changed what this group shows, and nobody told of it.
    fn missed<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, ()> {
        self.changed(group, None)
    }

    /// The newest messages of a room that are written, but not in the database yet.
    fn queued<'a>(&'a self, _room: &'a RoomId, _limit: i64) -> BoxFuture<'a, Vec<Message>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Makes sure that all messages that were written are in the database, before one of them is changed there, or rooms are
    /// put in their order.
    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// The same at the end: messages that come later go straight to the database. Gives what stays out of it.
    fn finish(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
