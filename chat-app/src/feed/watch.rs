//! Looks after posts that did not get into feeds, and deletions that did not reach the cache.
//!
//! The server that takes a post pushes it, and when all of that has succeeded, says so on the channel `posts`. A post that
//! nobody has said this of a second later was taken by a server that is cut off from the cache, or that has died: then every
//! server that finds it in the database pushes it once more, which does no harm where it has been pushed. Deletions are
//! marked by each server once.
//!
//! A cache that is connected anew may be one that restarted from an old snapshot, and a server that starts does not know
//! what another took with it. Then the look goes back as far as what is stale by it may live.

use std::sync::Arc;
use std::time::Duration;

use super::{DAY_MS, Feeds, POST_LIFE_S};
use crate::cache::invalidation;
use crate::cache::ttl;
use crate::error::AppError;
use crate::ids;
use crate::keys::Kind;
use crate::store::Store;

/// How far back each look goes, for clocks that differ and writes that take their time.
const OVERLAP_MS: i64 = 10_000;
/// How long a server may take to push.
const GRACE_MS: i64 = 1_000;
/// Posts of one look.
const MOST_POSTS: i64 = 1_000;

impl Feeds {
    /// Looks again and again, forever.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        let mut connections = vec![0; self.shards.all().len()];
        let mut from_ms = self.clock.now_ms() - OVERLAP_MS;
        loop {
            tokio::time::sleep(every).await;
            let (now_ms, connected) = (self.clock.now_ms(), self.connections(&connections));
            let is_new = connections != connected;
            if is_new {
                self.settled.lock().clear();
            }
            let (posts, deletions) = if is_new {
                let post_ms = POST_LIFE_S.cast_signed() * 1_000;
                (now_ms - longest_feed_ms() - OVERLAP_MS, now_ms - post_ms - OVERLAP_MS)
            } else {
                (from_ms, from_ms)
            };
            match self.look(ids::first_id_at(posts), ids::first_id_at(deletions)).await {
                Ok(()) => (from_ms, connections) = (now_ms - OVERLAP_MS, connected),
                Err(error) => tracing::debug!(%error, "looking for posts"),
            }
        }
    }

    /// Notes that a post is in the feeds.
    pub fn heard(&self, payload: &str) {
        if let Ok(id) = payload.parse() {
            self.settled.lock().insert(id);
        }
    }

    /// Says that a post is in the feeds.
    pub(super) async fn announce(&self, id: i64) {
        let store = self.shards.of_key(invalidation::POSTS);
        // Who does not hear it pushes it once more.
        if let Err(error) = invalidation::announce_post(store, id).await {
            tracing::debug!(%error, "a post was not announced");
        }
    }

    async fn look(&self, posts: i64, deletions: i64) -> Result<(), AppError> {
        let now_ms = self.clock.now_ms();
        {
            let mut settled = self.settled.lock();
            *settled = settled.split_off(&ids::first_id_at(now_ms - DAY_MS));
        }
        for (deletion, post) in self.db.deletions_after(deletions).await? {
            if self.settled.lock().insert(deletion) {
                self.mark_deleted(post).await;
            }
        }
        let mut latest = posts;
        loop {
            let found = self.db.posts_after(latest, MOST_POSTS).await?;
            for post in found.iter().filter(|post| ids::time_of(post.id) <= now_ms - GRACE_MS) {
                if self.settled.lock().insert(post.id) {
                    self.store_posts(std::slice::from_ref(post)).await;
                    // What cannot be pushed is removed later.
                    self.fan_out(post, true).await?;
                }
            }
            match found.last() {
                Some(last) if i64::try_from(found.len()).unwrap_or(i64::MAX) >= MOST_POSTS => latest = last.id,
                _ => return Ok(()),
            }
        }
    }

    /// The numbers of the caches' connections; those that are away keep theirs until they are back.
    fn connections(&self, before: &[u64]) -> Vec<u64> {
        let number = |(store, before): (&Store, &u64)| if store.is_open() { store.connection() } else { *before };
        self.shards.all().iter().zip(before).map(number).collect()
    }
}

/// How long a feed may be read before it is compared with the database: the life of `follows:<user>`, which no read renews.
fn longest_feed_ms() -> i64 {
    i64::try_from(ttl::of_kind(Kind::Feed).as_millis()).unwrap_or(i64::MAX) * 4
}
