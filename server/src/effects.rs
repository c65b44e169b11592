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

/// Clients that watch keys of one shard.
#[derive(Default)]
pub(crate) struct Watchers(HashMap<(usize, Vec<u8>), Vec<Arc<Client>>>);

impl Watchers {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many keys are watched.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn add(&mut self, db: usize, key: &[u8], client: &Arc<Client>) {
        self.0.entry((db, key.to_vec())).or_default().push(client.clone());
    }

    pub(crate) fn remove(&mut self, db: usize, key: &[u8], client: &Client) {
        let at = (db, key.to_vec());
        if let Some(clients) = self.0.get_mut(&at) {
            clients.retain(|other| other.id != client.id);
            if clients.is_empty() {
                self.0.remove(&at);
            }
        }
    }

    /// Marks the clients that watch a key: their next EXEC fails.
    pub(crate) fn mark(&mut self, db: usize, key: &[u8]) {
        if self.0.is_empty() {
            return;
        }
        if let Some(clients) = self.0.get(&(db, key.to_vec())) {
            clients.iter().for_each(|client| client.watch_failed());
        }
    }

    /// Marks the clients that watch a key of a database for which `gone` holds, for FLUSHDB and SWAPDB.
    pub(crate) fn mark_all(&mut self, mut gone: impl FnMut(usize, &[u8]) -> bool) {
        for ((db, key), clients) in &self.0 {
            if gone(*db, key) {
                clients.iter().for_each(|client| client.watch_failed());
            }
        }
    }
}
