//! What others may know of a client, and how they reach it: the registry, and each client's outbox.
//!
//! The client's own task writes most of it; others read it (CLIENT LIST), push messages into the outbox, or ask it to
//! close. The outbox is the last of all locks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::acl::User;
use crate::client_memory::Share;
use crate::session::Session;
use crate::tracking::Mode;
use crate::wait::Waiter;
use crate::wake::Wake;
use bytes::Bytes;
use larder_protocol::Proto;
use parking_lot::Mutex;

/// Where a client comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// The peer, as CLIENT LIST shows it; empty for a client without a socket.
    pub(crate) peer: String,
    /// This side.
    pub(crate) local: String,
    /// Whether it came through the Unix socket.
    pub(crate) unix: bool,
    /// Whether it is on this host, which some options ask for.
    pub(crate) loopback: bool,
    /// The socket's number in the system, -1 if there is none.
    pub(crate) fd: i64,
}

impl Addresses {
    /// Whether the client came through a socket.
    pub(crate) fn has_socket(&self) -> bool {
        !self.peer.is_empty()
    }

    /// The peer as MONITOR shows it: clients of the Unix socket by its path.
    pub(crate) fn shown_peer(&self) -> Cow<'_, str> {
        if self.unix { format!("unix:{}", self.local.trim_end_matches(":0")).into() } else { (&*self.peer).into() }
    }
}

/// What a client says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) name: Vec<u8>,
    pub(crate) library: Vec<u8>,
    pub(crate) library_version: Vec<u8>,
}

/// Facts that the client's task notes after each batch, for CLIENT LIST.
#[derive(Default)]
pub(crate) struct Facts {
    /// Time of the last command, in milliseconds since 1970.
    pub(crate) active_ms: AtomicU64,
    pub(crate) db: AtomicUsize,
    /// The last command's row; `u16::MAX` before the first.
    pub(crate) row: AtomicU32,
    pub(crate) channels: AtomicUsize,
    pub(crate) patterns: AtomicUsize,
    pub(crate) shard_channels: AtomicUsize,
    pub(crate) watched: AtomicUsize,
    /// Queued commands, or -1 outside MULTI, as a wrapped number.
    pub(crate) queued: AtomicU64,
    pub(crate) queued_bytes: AtomicUsize,
    pub(crate) query_bytes: AtomicUsize,
    pub(crate) query_capacity: AtomicUsize,
    /// Bytes of replies and messages that the socket did not take yet.
    pub(crate) output_bytes: AtomicUsize,
    pub(crate) protocol: AtomicU8,
    pub(crate) no_evict: AtomicBool,
    pub(crate) no_touch: AtomicBool,
    pub(crate) monitors: AtomicBool,
    /// Whether a command of it waits until CLIENT PAUSE is over.
    pub(crate) paused: AtomicBool,
    /// What the keys that it watches and the names that it listens to take.
    pub(crate) names_bytes: AtomicUsize,
    /// What the prefixes of keys take that it tracks.
    pub(crate) prefix_bytes: AtomicUsize,
}

impl Facts {
    /// Whether the client was subscribed to anything.
    pub(crate) fn listens(&self) -> bool {
        [&self.channels, &self.patterns, &self.shard_channels].iter().any(|names| names.load(Relaxed) > 0)
    }
}

/// Messages that others have for a client.
#[derive(Default)]
struct Outbox {
    messages: Mutex<Vec<Bytes>>,
    bytes: AtomicUsize,
    /// Whether `messages` may be other than empty; read without the lock.
    waiting: AtomicBool,
}

/// See the module's page.
pub struct Client {
    /// Its number, given in order of connection.
    pub id: u64,
    pub(crate) created_ms: u64,
    pub(crate) addresses: Addresses,
    pub(crate) names: Mutex<Names>,
    user: Mutex<Arc<User>>,
    pub(crate) facts: Facts,
    /// What it adds to the memory of all clients.
    pub(crate) share: Share,
    outbox: Outbox,
    /// What the client waits for, if it does.
    pub(crate) waiter: Mutex<Option<Arc<Waiter>>>,
    /// What the client wants to hear of changed keys.
    pub(crate) tracking: Mutex<Option<Mode>>,
    /// Wakes the client's task: something is in the outbox, or it shall close.
    pub(crate) wake: Wake,
    killed: AtomicBool,
    /// Closed by another client's word, and so to be seen by nobody any more.
    expelled: AtomicBool,
    watch_failed: AtomicBool,
    /// Bytes that the outbox may hold.
    outbox_limit: AtomicUsize,
}

impl Client {
    pub(crate) fn new(id: u64, created_ms: u64, addresses: Addresses, user: &Arc<User>) -> Self {
        let facts = Facts::default();
        facts.active_ms.store(created_ms, Relaxed);
        facts.row.store(u16::MAX as u32, Relaxed);
        facts.queued.store(u64::MAX, Relaxed);
        facts.protocol.store(2, Relaxed);
        Self {
            id,
            created_ms,
            addresses,
            names: Mutex::default(),
            user: Mutex::new(user.clone()),
            facts,
            share: Share::default(),
            outbox: Outbox::default(),
            waiter: Mutex::default(),
            tracking: Mutex::default(),
            wake: Wake::default(),
            killed: AtomicBool::new(false),
            expelled: AtomicBool::new(false),
            watch_failed: AtomicBool::new(false),
            outbox_limit: AtomicUsize::new(usize::MAX),
        }
    }

    /// The user that it is.
    pub(crate) fn user(&self) -> Arc<User> {
        self.user.lock().clone()
    }

    /// Whether it is this user.
    pub(crate) fn is_user(&self, user: &Arc<User>) -> bool {
        Arc::ptr_eq(&self.user.lock(), user)
    }

    /// Makes it another user. [`Acl`](crate::acl::Acl) does, which holds its lock.
    pub(crate) fn become_user(&self, user: &Arc<User>) {
        *self.user.lock() = user.clone();
    }

    /// Puts a message into the outbox. A client that does not read is closed when its limit is passed.
    pub(crate) fn push(&self, message: Bytes) {
        if self.is_killed() {
            return;
        }
        let size = message.len();
        let mut messages = self.outbox.messages.lock();
        if self.is_killed() {
            return;
        }
        messages.push(message);
        self.outbox.waiting.store(true, Relaxed);
        let total = self.outbox.bytes.fetch_add(size, Relaxed) + size;
        if total > self.outbox_limit.load(Relaxed) {
            messages.clear();
            self.killed.store(true, Relaxed);
        }
        drop(messages);
        self.wake.wake();
    }

    /// Takes all messages out.
    #[inline]
    pub(crate) fn take_messages(&self, mut each: impl FnMut(Bytes)) {
        if !self.outbox.waiting.load(Relaxed) {
            return;
        }
        let mut messages = self.outbox.messages.lock();
        self.outbox.waiting.store(false, Relaxed);
        self.outbox.bytes.store(0, Relaxed);
        let taken = std::mem::take(&mut *messages);
        drop(messages);
        taken.into_iter().for_each(&mut each);
    }

    /// Whether messages wait.
    pub(crate) fn has_messages(&self) -> bool {
        self.outbox.waiting.load(Relaxed)
    }

    /// Whether the client is closed because it did not take its messages.
    pub(crate) fn has_full_outbox(&self) -> bool {
        self.outbox_bytes() > self.outbox_limit.load(Relaxed)
    }

    /// Bytes of messages that wait.
    pub(crate) fn outbox_bytes(&self) -> usize {
        self.outbox.bytes.load(Relaxed)
    }

    /// What it takes: itself, its buffers, what MULTI has queued, and the names that it watches, listens to or tracks.
    pub(crate) fn memory(&self) -> usize {
        let facts = &self.facts;
        let counted =
            [&facts.output_bytes, &facts.query_capacity, &facts.queued_bytes, &facts.names_bytes, &facts.prefix_bytes];
        let own = size_of::<Self>() + size_of::<Session>() + self.outbox_bytes();
        counted.iter().fold(own, |sum, bytes| sum + bytes.load(Relaxed))
    }

    /// Whether it may be closed for the memory that clients take.
    pub(crate) fn may_be_evicted(&self) -> bool {
        !self.facts.no_evict.load(Relaxed) && !self.is_killed()
    }

    /// Sets how many bytes the outbox may hold.
    pub(crate) fn limit_outbox(&self, bytes: usize) {
        self.outbox_limit.store(bytes, Relaxed);
    }

    /// Asks the client's task to close the connection.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Relaxed);
        self.wake.wake();
    }

    /// Whether the connection shall close.
    #[inline]
    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Relaxed)
    }

    /// Whether another client had it closed; one that is closed for its own sake is there until it is.
    pub(crate) fn is_expelled(&self) -> bool {
        self.expelled.load(Relaxed)
    }

    /// The protocol that it speaks.
    pub(crate) fn proto(&self) -> Proto {
        if self.facts.protocol.load(Relaxed) == 3 { Proto::Resp3 } else { Proto::Resp2 }
    }

    /// Whether the client waits for a key.
    pub(crate) fn waits(&self) -> bool {
        self.waiter.lock().is_some()
    }

    /// When the client's waiting ends at the latest, in milliseconds since 1970.
    pub(crate) fn waits_until(&self) -> Option<u64> {
        self.waiter.lock().as_ref()?.until()
    }

    /// Notes that a watched key has changed. Called with the key's shard held.
    pub(crate) fn watch_failed(&self) {
        self.watch_failed.store(true, Relaxed);
    }

    /// Whether a watched key has changed. Exact while the shards of all watched keys are held.
    pub(crate) fn has_watch_failed(&self) -> bool {
        self.watch_failed.load(Relaxed)
    }

    /// How many keys are watched with effect: none any more once one of them has changed.
    pub(crate) fn watched_keys(&self) -> usize {
        if self.has_watch_failed() { 0 } else { self.facts.watched.load(Relaxed) }
    }

    /// Forgets that a watched key has changed.
    pub(crate) fn forget_watch(&self) {
        self.watch_failed.store(false, Relaxed);
    }
}

/// All clients of an engine that have a connection, by number.
#[derive(Default)]
pub(crate) struct Clients {
    next: AtomicU64,
    connected: Mutex<BTreeMap<u64, Arc<Client>>>,
    count: AtomicUsize,
}

impl Clients {
    /// A number for the next client; the first is 1.
    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Relaxed) + 1
    }

    pub(crate) fn add(&self, client: Arc<Client>) {
        self.connected.lock().insert(client.id, client);
        self.count.fetch_add(1, Relaxed);
    }

    pub(crate) fn remove(&self, id: u64) {
        if self.connected.lock().remove(&id).is_some() {
            self.count.fetch_sub(1, Relaxed);
        }
    }

    /// Has a client closed. Whoever looks from now on does not see it any more, though its thread has yet to close it.
    pub(crate) fn kill(&self, client: &Client) {
        client.expelled.store(true, Relaxed);
        client.kill();
        self.remove(client.id);
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.connected.lock().get(&id).cloned()
    }

    /// Shows each client, in order of number, while none comes or goes.
    pub(crate) fn each(&self, mut each: impl FnMut(&Arc<Client>)) {
        self.connected.lock().values().for_each(&mut each);
    }

    /// All clients, by number.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.connected.lock().values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Relaxed)
    }
}
