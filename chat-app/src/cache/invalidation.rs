//! Ways to make cached values stale when the truth has changed.
//!
//! | way | after a write | cost of a write | can an old page come back? |
//! |-----|---------------|-----------------|-----------------------------|
//! | `ttl` | nothing | none | it stays until its end |
//! | `version` | the group's version is removed | one command | no |
//! | `pattern` | keys are looked for (SCAN) and removed | grows with *all* keys of the cache | yes, for its TTL |
//!
//! The trap is the **stale fill**: a reader finds nothing, reads the database, and is held up; somebody writes and
//! invalidates; the reader goes on and puts the page of before the write into the cache. Removing keys cannot prevent
//! that, since the key comes after the removal. Versions can: a reader notes the group's version *before* it reads the
//! database, the value carries it, and a value counts only while it equals the group's. Versions are drawn by lot, so an
//! evicted one never comes back.
//!
//! The version is *removed*, not replaced: a server that is out of memory refuses SET but not UNLINK.
//!
//! An invalidation that is never told is the other trap: its server may be cut off from the cache and die, and a cache that
//! restarts from a snapshot has forgotten what it was told. So whoever connects to a cache makes stale what changed lately
//! before it believes it: [`super::layers::Layers::make_good`].
//!
//! Other servers' L1 hear of it on the channel `cache:invalidate`, or by RESP3 client tracking of the version's key.

use futures_util::future::BoxFuture;
use rustis::resp::{Command, RefBulkString, cmd};

use crate::keys::Group;
use crate::store::shards::Shards;
use crate::store::{Store, Unreachable};

/// Channel for what other servers' L1 must drop: patterns of keys.
pub const CHANNEL: &str = "cache:invalidate";
/// Channel for what readers see at once: messages as JSON.
pub const LIVE: &str = "live";
/// Channel for posts that are in the feeds: their ids.
pub const POSTS: &str = "posts";
/// Channel for sessions that were revoked: their ids.
pub const REVOKED: &str = "revoked";

/// Whether the cache was told.
pub type Told<'a> = BoxFuture<'a, Result<(), Unreachable>>;

/// Makes groups stale in the cache.
pub trait Invalidation: Send + Sync {
    /// How the dashboard calls it.
    fn name(&self) -> &'static str;
    /// Whether values carry versions.
    fn has_versions(&self) -> bool {
        false
    }
    /// Makes a group stale and publishes `event`, if there is one, to all servers.
    fn invalidate<'a>(&'a self, shards: &'a Shards, group: &'a Group, event: Option<&'a str>) -> Told<'a>;
}

/// Waits for the end of the TTL.
pub struct ByTtl;

impl Invalidation for ByTtl {
    fn name(&self) -> &'static str {
        "ttl"
    }

    fn invalidate<'a>(&'a self, shards: &'a Shards, group: &'a Group, event: Option<&'a str>) -> Told<'a> {
        Box::pin(async move {
            match event {
                Some(event) => announce(shards.of(group), event).await,
                None => Ok(()),
            }
        })
    }
}

/// Removes the group's version: the default. It costs the same with ten keys and with a million.
pub struct ByVersion;

impl Invalidation for ByVersion {
    fn name(&self) -> &'static str {
        "version"
    }

    fn has_versions(&self) -> bool {
        true
    }

    fn invalidate<'a>(&'a self, shards: &'a Shards, group: &'a Group, event: Option<&'a str>) -> Told<'a> {
        Box::pin(async move {
            let store = shards.of(group);
            let mut commands = vec![cmd("UNLINK").key(store.key(&group.version_key())).into()];
            commands.extend(announcements(store, group, event));
            let answers = store.pipeline(commands).await?;
            match answers.first() {
                Some(rustis::resp::Value::Error(error)) => Err(Unreachable::Refused(error.to_string())),
                _ => Ok(()),
            }
        })
    }
}

/// Looks for the group's keys with SCAN and removes them. To be compared with, not to be used.
pub struct ByPattern;

impl Invalidation for ByPattern {
    fn name(&self) -> &'static str {
        "pattern"
    }

    fn invalidate<'a>(&'a self, shards: &'a Shards, group: &'a Group, event: Option<&'a str>) -> Told<'a> {
        Box::pin(async move {
            let store = shards.of(group);
            for pattern in group.patterns() {
                store.unlink_pattern(&pattern).await?;
            }
            store.pipeline(announcements(store, group, event)).await.map(drop)
        })
    }
}

/// Tells all servers what is new.
///
/// # Errors
/// Why the cache does not answer.
pub async fn announce(store: &Store, event: &str) -> Result<(), Unreachable> {
    tell(store, LIVE, event).await
}

/// Tells all servers that a post is in the feeds.
///
/// # Errors
/// Why the cache does not answer.
pub async fn announce_post(store: &Store, id: i64) -> Result<(), Unreachable> {
    tell(store, POSTS, &id.to_string()).await
}

/// Tells all servers that a session was revoked.
///
/// # Errors
/// Why the cache does not answer.
pub async fn announce_revoked(store: &Store, session: &str) -> Result<(), Unreachable> {
    tell(store, REVOKED, session).await
}

/// What precedes a group that is stale although the cache could not be told.
const DISTRUST: &str = "distrust ";

/// Tells all servers that what the cache holds of a group cannot be believed: it refused to be told (a replica does).
///
/// # Errors
/// Why the cache does not answer; the others find what was written in the database then.
pub async fn distrust(store: &Store, group: &Group) -> Result<(), Unreachable> {
    tell(store, CHANNEL, &format!("{DISTRUST}{group}")).await
}

/// What a message on [`CHANNEL`] says.
pub enum Notice {
    /// L1 must drop the group; without a group, everything.
    Stale(Option<Group>),
    /// The cache holds old pages of the group and could not be told.
    Distrust(Group),
}

impl Notice {
    /// Reads a message.
    pub fn parse(payload: &str) -> Self {
        match payload.strip_prefix(DISTRUST).and_then(Group::parse) {
            Some(group) => Notice::Distrust(group),
            None => Notice::Stale(Group::of_pattern(payload)),
        }
    }
}

/// What is said to other servers: first that pages are stale, then what is new.
fn announcements(store: &Store, group: &Group, event: Option<&str>) -> Vec<Command> {
    let stale = group.patterns().into_iter().map(|pattern| publish(store, CHANNEL, &pattern));
    stale.chain(event.map(|event| publish(store, LIVE, event))).collect()
}

async fn tell(store: &Store, channel: &str, payload: &str) -> Result<(), Unreachable> {
    store.pipeline(vec![publish(store, channel, payload)]).await.map(drop)
}

fn publish(store: &Store, channel: &str, payload: &str) -> Command {
    cmd("PUBLISH").arg(store.key(channel)).arg(RefBulkString::new(payload.as_bytes())).into()
}
