//! Client-side caching: who has read a key is told when it changes.
//!
//! In the default mode a shard remembers who read which of its keys, whatever the database, and forgets a key when it
//! has told of its change. A read is remembered while its shard is held, so that no message overtakes the reply
//! that it is about. In the broadcasting mode a client hears of every changed key that begins as it says; the keys that
//! one command or transaction changes come in one message per prefix.
//!
//! How much is remembered has a bound in keys and one in bytes; beyond them the keys of some are forgotten, and these
//! told as if the keys had changed.
//!
//! Lock order: shards, the table of prefixes, a client's mode, the clients who track keys, outboxes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use larder_protocol::{Args, Proto, Reply};
use larder_storage::keyspace::ShardSet;
use parking_lot::Mutex;

use crate::client::Client;
use crate::client_memory::name_bytes;
use crate::commands::command::{Command, PUBSUB, READONLY};
use crate::config::Settings;
use crate::engine::Engine;
use crate::locked::Locked;
use crate::stats::WorkerStats;
use crate::upkeep::Budget;

/// Where clients of RESP2 hear of changed keys.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// What a client wants to hear.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mode {
    pub(crate) broadcasts: bool,
    /// Only what is read right after CLIENT CACHING YES.
    pub(crate) opt_in: bool,
    /// All but what is read right after CLIENT CACHING NO.
    pub(crate) opt_out: bool,
    /// Nothing of its own changes.
    pub(crate) no_loop: bool,
    /// CLIENT CACHING was called for the next command.
    pub(crate) caching: bool,
    /// The client that is told in its place; 0 for none.
    pub(crate) redirect: u64,
    /// That client is gone.
    pub(crate) is_broken: bool,
    pub(crate) prefixes: BTreeSet<Vec<u8>>,
}

impl Mode {
    fn remembers(&self) -> bool {
        !self.broadcasts && !(self.opt_in && !self.caching) && !(self.opt_out && self.caching)
    }
}

/// Who has read which keys of one shard: the numbers of clients, in order. Those that are gone stay until the key changes.
#[derive(Default)]
pub(crate) struct Readers(HashMap<Box<[u8]>, Vec<u64>>);

/// Clients of the broadcasting mode, by prefix and number.
type Prefixes = BTreeMap<Vec<u8>, BTreeMap<u64, Arc<Client>>>;

/// What an engine knows of all who track keys.
#[derive(Default)]
pub(crate) struct Tracking {
    /// Those who track keys, by number, and how many they are.
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    client_count: AtomicUsize,
    /// Keys that are remembered, how often, and in how many bytes.
    keys: AtomicUsize,
    items: AtomicUsize,
    bytes: AtomicUsize,
    prefixes: Mutex<Prefixes>,
    prefix_count: AtomicUsize,
}

/// Numbers for INFO.
pub(crate) struct Counts {
    pub(crate) clients: usize,
    pub(crate) keys: usize,
    pub(crate) items: usize,
    pub(crate) prefixes: usize,
}

/// What is told: keys, or that all are gone.
enum News<'a> {
    Keys(&'a [&'a [u8]]),
    Everything,
}

/// A key that was changed, and the number of the client that did it.
pub(crate) type Change = (Vec<u8>, u64);

impl Tracking {
    /// Whether anybody tracks keys.
    #[inline]
    pub(crate) fn is_used(&self) -> bool {
        self.client_count.load(Relaxed) > 0
    }

    pub(crate) fn counts(&self) -> Counts {
        let of = |counter: &AtomicUsize| counter.load(Relaxed);
        Counts {
            clients: of(&self.client_count),
            keys: of(&self.keys),
            items: of(&self.items),
            prefixes: of(&self.prefix_count),
        }
    }

    /// CLIENT TRACKING ON, with options that have been checked. Prefixes are added to those of before.
    pub(crate) fn enable(&self, client: &Arc<Client>, mut mode: Mode) {
        let mut table = self.prefixes.lock();
        if mode.broadcasts {
            if mode.prefixes.is_empty() {
                mode.prefixes.insert(Vec::new());
            }
            for prefix in &mode.prefixes {
                table.entry(prefix.clone()).or_default().insert(client.id, client.clone());
            }
            self.prefix_count.store(table.len(), Relaxed);
        }
        drop(table);
        let mut current = client.tracking.lock();
        match &mut *current {
            Some(before) => {
                mode.prefixes.append(&mut before.prefixes);
                mode.caching = before.caching;
            }
            None => {
                self.clients.lock().insert(client.id, client.clone());
                self.client_count.fetch_add(1, Relaxed);
            }
        }
        let bytes = mode.prefixes.iter().map(|prefix| name_bytes(prefix)).sum();
        client.facts.prefix_bytes.store(bytes, Relaxed);
        *current = Some(mode);
    }

    /// CLIENT TRACKING OFF, and the end of a client. What is remembered of its reads stays, and tells it nothing.
    pub(crate) fn disable(&self, client: &Client) {
        let Some(mode) = client.tracking.lock().take() else { return };
        self.clients.lock().remove(&client.id);
        self.client_count.fetch_sub(1, Relaxed);
        client.facts.prefix_bytes.store(0, Relaxed);
        if mode.prefixes.is_empty() {
            return;
        }
        let mut table = self.prefixes.lock();
        for prefix in &mode.prefixes {
            if let Some(clients) = table.get_mut(prefix) {
                clients.remove(&client.id);
                if clients.is_empty() {
                    table.remove(prefix);
                }
            }
        }
        self.prefix_count.store(table.len(), Relaxed);
    }

    /// Whether more is remembered than may be.
    #[inline]
    fn is_over(&self, settings: &Settings) -> bool {
        let is_over = |most: usize, counter: &AtomicUsize| most > 0 && counter.load(Relaxed) > most;
        is_over(settings.tracking_table_max_keys.as_usize(), &self.keys)
            || is_over(settings.tracking_table_max_bytes.as_usize(), &self.bytes)
    }

    /// What a key takes that so many clients have read.
    fn bytes_of(key: &[u8], readers: usize) -> usize {
        const ENTRY: usize = size_of::<(Box<[u8]>, Vec<u64>)>();
        key.len() + ENTRY + readers * size_of::<u64>()
    }
}

impl Readers {
    fn add(&mut self, totals: &Tracking, key: &[u8], client: u64) {
        if let Some(readers) = self.0.get_mut(key) {
            let Err(place) = readers.binary_search(&client) else { return };
            readers.insert(place, client);
            totals.bytes.fetch_add(size_of::<u64>(), Relaxed);
        } else {
            self.0.insert(key.into(), vec![client]);
            totals.keys.fetch_add(1, Relaxed);
            totals.bytes.fetch_add(Tracking::bytes_of(key, 1), Relaxed);
        }
        totals.items.fetch_add(1, Relaxed);
    }

    /// Forgets a key; gives who had read it.
    fn take(&mut self, totals: &Tracking, key: &[u8]) -> Vec<u64> {
        let readers = self.0.remove(key).unwrap_or_default();
        if !readers.is_empty() {
            totals.keys.fetch_sub(1, Relaxed);
            totals.items.fetch_sub(readers.len(), Relaxed);
            totals.bytes.fetch_sub(Tracking::bytes_of(key, readers.len()), Relaxed);
        }
        readers
    }

    /// Any key but this one.
    fn another(&self, key: &[u8]) -> Option<Box<[u8]>> {
        self.0.keys().find(|other| &***other != key).cloned()
    }
}

impl<'a> Locked<'a> {
    /// Remembers that a client has read the keys of its command.
    #[cold]
    pub(crate) fn remember_reads(&mut self, client: &Arc<Client>, command: &Command, args: Args<'_>) {
        if !command.has(READONLY) || command.has(PUBSUB) {
            return;
        }
        if !client.tracking.lock().as_ref().is_some_and(Mode::remembers) {
            return;
        }
        let (engine, mut keys) = (self.engine(), Vec::new());
        if command.each_key(args, |_, key, _| keys.push(key)).is_none() {
            return;
        }
        for key in keys {
            let hash = self.hash(key);
            self.shards().of(hash).extra.readers.add(engine.tracking(), key, client.id);
            self.forget_reads(hash, key);
        }
    }

    /// Keeps what is remembered within its bounds, at the cost of other keys of the shard of this one. Where it has none,
    /// [`forget_surplus`] does the rest.
    fn forget_reads(&mut self, hash: u64, key: &[u8]) {
        let engine = self.engine();
        while engine.tracking().is_over(engine.settings()) {
            let readers = &mut self.shards().of(hash).extra.readers;
            let Some(victim) = readers.another(key) else { return };
            for reader in readers.take(engine.tracking(), &victim) {
                tell_reader(engine, reader, &victim, 0);
            }
        }
    }

    /// Tells all who track a key that it has changed.
    #[cold]
    pub(crate) fn invalidate(&mut self, hash: u64, key: &[u8]) {
        let (engine, changer) = (self.engine(), self.client_id);
        for reader in self.shards().of(hash).extra.readers.take(engine.tracking(), key) {
            tell_reader(engine, reader, key, changer);
        }
        if engine.tracking().prefix_count.load(Relaxed) > 0 {
            self.changes().push((key.to_vec(), changer));
        }
    }

    /// Tells all who track keys that all are gone. Every shard is held.
    pub(crate) fn invalidate_everything(&mut self) {
        let engine = self.engine();
        for (_, guarded) in self.shards().each() {
            guarded.extra.readers = Readers::default();
        }
        let Tracking { keys, items, bytes, .. } = engine.tracking();
        [keys, items, bytes].iter().for_each(|counter| counter.store(0, Relaxed));
        if engine.tracking().is_used() {
            let clients: Vec<_> = engine.tracking().clients.lock().values().cloned().collect();
            for client in clients {
                if let Some(mode) = &mut *client.tracking.lock() {
                    tell(engine, &client, mode, &News::Everything);
                }
            }
        }
    }
}

/// Forgets reads until what is remembered is within its bounds, as when these were lowered, as far as `budget` goes;
/// whether more must go. To be called by one thread at a time, which would else forget too many.
pub(crate) fn forget_surplus(engine: &Engine, stats: &WorkerStats, budget: &Budget) -> bool {
    /// Keys that one lock of a shard may forget.
    const KEYS_PER_LOCK: usize = 32;
    for shard in 0..engine.keyspace().shards() {
        let mut is_empty = false;
        while !is_empty && engine.tracking().is_over(engine.settings()) {
            if budget.is_spent() {
                return true;
            }
            let Some(mut locked) = Locked::try_new(engine, ShardSet::one(shard), 0, stats) else { break };
            let Some(guarded) = locked.shards().only() else { break };
            for _ in 0..KEYS_PER_LOCK {
                let victim = guarded.extra.readers.0.keys().next().cloned();
                is_empty = victim.is_none();
                let Some(victim) = victim.filter(|_| engine.tracking().is_over(engine.settings())) else { break };
                for reader in guarded.extra.readers.take(engine.tracking(), &victim) {
                    tell_reader(engine, reader, &victim, 0);
                }
            }
        }
    }
    false
}

/// Tells a client that has read a key, if it still wants to know.
fn tell_reader(engine: &Engine, reader: u64, key: &[u8], changer: u64) {
    let Some(client) = engine.tracking().clients.lock().get(&reader).cloned() else { return };
    match &mut *client.tracking.lock() {
        Some(mode) if !mode.broadcasts && !(mode.no_loop && reader == changer) => {
            tell(engine, &client, mode, &News::Keys(&[key]));
        }
        _ => {}
    }
}

/// Tells the clients of the broadcasting mode what has changed.
pub(crate) fn broadcast(engine: &Engine, changes: &mut Vec<Change>) {
    let changes = std::mem::take(changes);
    let table = engine.tracking().prefixes.lock();
    // Of a key that several clients have changed the last one counts.
    let changes: BTreeMap<&[u8], u64> = changes.iter().map(|(key, changer)| (key.as_slice(), *changer)).collect();
    for (prefix, clients) in table.iter() {
        let matching: Vec<_> = changes.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
        for client in clients.values().filter(|_| !matching.is_empty()) {
            let mut mode = client.tracking.lock();
            let Some(mode) = &mut *mode else { continue };
            let others = matching.iter().filter(|(_, changer)| !(mode.no_loop && **changer == client.id));
            let keys: Vec<&[u8]> = others.map(|(key, _)| **key).collect();
            if !keys.is_empty() {
                tell(engine, client, mode, &News::Keys(&keys));
            }
        }
    }
}

/// Puts a message into the outbox of a client, or of the one that it has named.
fn tell(engine: &Engine, client: &Arc<Client>, mode: &mut Mode, news: &News<'_>) {
    let target = if mode.redirect == 0 { Some(client.clone()) } else { engine.clients().get(mode.redirect) };
    let Some(target) = target else {
        mode.is_broken = true;
        if client.proto() == Proto::Resp3 {
            let mut reply = Reply::with_proto(Proto::Resp3);
            reply.push(2);
            reply.bulk(b"tracking-redir-broken");
            reply.int(mode.redirect as i64);
            push(client, &reply);
        }
        return;
    };
    let mut reply = Reply::with_proto(target.proto());
    if target.proto() == Proto::Resp3 {
        reply.push(2);
        reply.bulk(b"invalidate");
    } else if mode.redirect != 0 && target.facts.listens() {
        reply.array(3);
        reply.bulk(b"message");
        reply.bulk(CHANNEL);
    } else {
        // Nothing but a reply can be told to it.
        return;
    }
    match news {
        News::Keys(keys) => {
            reply.array(keys.len());
            keys.iter().for_each(|key| reply.bulk(key));
        }
        News::Everything => reply.null(),
    }
    push(&target, &reply);
}

fn push(client: &Client, message: &Reply) {
    if let Some(bytes) = message.as_slice() {
        client.push(Bytes::copy_from_slice(bytes));
    }
}
