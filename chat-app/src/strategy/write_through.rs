//! Write-through: a write goes to the database and to the cache before it is acknowledged, so the next reader finds the
//! new page ready. Writes get slower by the reading of the page, which is lost work when nobody looks.
//!
//! Two writers could store their pages in the wrong order. So each removes the room's version first and reads the page
//! under the version that it finds after that: the older page carries a version that counts no more, or is the same page.

use futures_util::future::BoxFuture;

use super::Strategy;
use super::cache_aside::CacheAside;
use crate::cache::layers::Served;
use crate::error::AppError;
use crate::keys::{Group, Query};
use crate::model::{Message, PAGE_DEFAULT};

/// See the page of this module.
pub struct WriteThrough(pub CacheAside);

impl WriteThrough {
    /// Stores the pages that readers look at first.
    async fn store_pages(&self, group: &Group) {
        let queries = match group {
            Group::Room(room) => vec![
                Query::Messages { room: room.clone(), limit: PAGE_DEFAULT, before: None },
                Query::RoomPage { room: room.clone(), limit: PAGE_DEFAULT, before: None },
            ],
            Group::RoomList => vec![Query::Rooms { after: None }],
            // One room is read when somebody goes there.
            Group::Rooms => Vec::new(),
            Group::User(user) => vec![Query::Profile { user: *user }],
        };
        for query in queries {
            let ticket = self.0.layers.ticket(&query).await;
            // The write itself is done; a page that is not stored is a miss later.
            if let Err(error) = self.0.layers.fill(&query, ticket, &*self.0.source).await {
                tracing::warn!(%error, "a page was not written through");
            }
        }
    }
}

impl Strategy for WriteThrough {
    fn name(&self) -> &'static str {
        "write-through"
    }

    fn read<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Served, AppError>> {
        Box::pin(self.0.look_or_load(query))
    }

    fn post<'a>(&'a self, message: &'a Message, event: &'a str) -> BoxFuture<'a, Result<(), AppError>> {
        Box::pin(async move {
            self.0.post(message, event).await?;
            self.store_pages(&Group::Room(message.room.clone())).await;
            Ok(())
        })
    }

    fn changed<'a>(&'a self, group: &'a Group, event: Option<&'a str>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.0.changed(group, event).await;
            self.store_pages(group).await;
        })
    }
}
