//! What follows from a change, beyond the change: watching clients, and the commands that repeat it elsewhere.
//!
//! Persistence and replication will hang on [`Group`]s and on nothing else: whoever runs all groups in order against
//! an empty engine has the same data. So each command is deterministic: relative times are absolute, random choices
//! are named, and what expires or is evicted is deleted by name.

use std::sync::Arc;

use larder_protocol::OwnedArgs;

use crate::client::Client;
use crate::key_map::KeyMap;

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

/// One client's watching of one key.
pub(crate) struct Watch {
    client: Arc<Client>,
    /// Whether the key that is there had expired before it was watched: its removal changes nothing.
    pub(crate) expired: bool,
}

impl Watch {
    /// The key has changed: the client's next EXEC fails.
    pub(crate) fn fail(&self) {
        self.client.watch_failed();
    }
}

/// Clients that watch keys of one shard.
#[derive(Default)]
pub(crate) struct Watchers(KeyMap<Vec<Watch>>);

impl Watchers {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many keys are watched.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Notes who watches a key, and whether it has expired already.
    pub(crate) fn add(&mut self, db: usize, key: &[u8], client: &Arc<Client>, expired: bool) {
        self.0.entry(db, key).push(Watch { client: client.clone(), expired });
    }

    /// Ends a client's watching of a key, and gives what was noted of it.
    pub(crate) fn remove(&mut self, db: usize, key: &[u8], client: &Client) -> Option<Watch> {
        let remove = |watches: &mut Vec<Watch>| {
            let place = watches.iter().position(|watch| watch.client.id == client.id);
            let watch = place.map(|place| watches.remove(place));
            (!watches.is_empty(), watch)
        };
        self.0.update(db, key, remove)?
    }

    /// A key has changed.
    pub(crate) fn changed(&mut self, db: usize, key: &[u8]) {
        self.of(db, key).iter().for_each(Watch::fail);
    }

    /// A key was removed because it has expired: a change for those who watched it before that.
    pub(crate) fn expired(&mut self, db: usize, key: &[u8]) {
        self.of(db, key).iter().filter(|watch| !watch.expired).for_each(Watch::fail);
    }

    #[inline]
    fn of(&self, db: usize, key: &[u8]) -> &[Watch] {
        self.0.get(db, key).map_or(&[], Vec::as_slice)
    }

    /// Shows every watch with its database and key, for FLUSHDB and SWAPDB.
    pub(crate) fn each(&mut self, mut visit: impl FnMut(usize, &[u8], &mut Watch)) {
        for (db, key, watches) in self.0.iter_mut() {
            watches.iter_mut().for_each(|watch| visit(db, key, watch));
        }
    }
}
