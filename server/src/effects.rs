//! What follows from a change, beyond the change: watching clients, and the commands that repeat it elsewhere.
//!
//! Persistence and replication will hang on [`Group`]s and on nothing else: whoever runs all groups in order against
//! an empty engine has the same data. So each command is deterministic: relative times are absolute, random choices
//! are named, and what expires or is evicted is deleted by name.

use std::collections::HashMap;
use std::sync::Arc;

use larder_protocol::OwnedArgs;

use crate::client::Client;

/// One command that repeats a change.
pub struct Effect {
    /// The database that it runs in.
    pub db: usize,
    /// The command.
    pub command: OwnedArgs,
}

/// Commands that take effect together.
#[derive(Default)]
pub struct Group(Vec<Effect>);

impl Group {
    pub(crate) fn push(&mut self, db: usize, command: OwnedArgs) {
        self.0.push(Effect { db, command });
    }

    /// The commands, in order.
    pub fn effects(&self) -> &[Effect] {
        &self.0
    }

    /// Whether nothing has changed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whoever records effects: called while the changed shards are held, so that the order of calls is the order of
/// execution. It must be quick and must not call the engine.
pub type Recorder = Arc<dyn Fn(&Group) + Send + Sync>;

/// A client that watches a key.
struct Watcher {
    client: Arc<Client>,
    /// Whether the key had expired when it was watched and is still there: that it goes changes nothing.
    expired: bool,
}

/// What a database has of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Absent,
    /// It has expired, and nobody has met it yet.
    Expired,
    Live,
}

/// Clients that watch keys of one shard.
#[derive(Default)]
pub(crate) struct Watchers(HashMap<(usize, Vec<u8>), Vec<Watcher>>);

impl Watchers {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many keys are watched.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a client; `expired` tells that the key is there but has expired.
    pub(crate) fn add(&mut self, db: usize, key: &[u8], client: &Arc<Client>, expired: bool) {
        self.0.entry((db, key.to_vec())).or_default().push(Watcher { client: client.clone(), expired });
    }

    /// Removes a client; whether the key had expired when it was watched, and is still there.
    pub(crate) fn remove(&mut self, db: usize, key: &[u8], client: &Client) -> bool {
        let at = (db, key.to_vec());
        let Some(watchers) = self.0.get_mut(&at) else { return false };
        let found = watchers.iter().position(|watcher| watcher.client.id == client.id);
        let expired = found.is_some_and(|found| watchers.swap_remove(found).expired);
        if watchers.is_empty() {
            self.0.remove(&at);
        }
        expired
    }

    /// Marks the clients that watch a key, which has changed and is still there or not: their next EXEC fails.
    pub(crate) fn mark(&mut self, db: usize, key: &[u8], is_there: impl FnOnce() -> bool) {
        if self.0.is_empty() {
            return;
        }
        if let Some(watchers) = self.0.get_mut(&(db, key.to_vec())) {
            let left = if is_there() { Presence::Live } else { Presence::Absent };
            watchers.iter_mut().for_each(|watcher| watcher.note(Presence::Live, left));
        }
    }

    /// Marks the clients that watch a key of a database that is emptied or exchanged. `change` tells what the database
    /// has of the key before and after, `None` for other databases.
    pub(crate) fn mark_all(&mut self, mut change: impl FnMut(usize, &[u8]) -> Option<(Presence, Presence)>) {
        for ((db, key), watchers) in &mut self.0 {
            if let Some((before, after)) = change(*db, key) {
                watchers.iter_mut().for_each(|watcher| watcher.note(before, after));
            }
        }
    }
}

impl Watcher {
    fn note(&mut self, before: Presence, after: Presence) {
        match (self.expired, before, after) {
            (false, Presence::Absent, Presence::Absent) => {}
            // An expired key goes, or stays one, or comes where none was: for the client there is none all the time.
            (true, _, Presence::Absent) => self.expired = false,
            (true, _, Presence::Expired) => {}
            (false, Presence::Absent, Presence::Expired) => self.expired = true,
            _ => self.client.watch_failed(),
        }
    }
}
