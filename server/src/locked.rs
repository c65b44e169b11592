//! What a command's function works on: the row's shards, locked, with one database selected.
//!
//! Here a look-up notices expiry, notes the access and counts hits, and every change leaves its *effects*: watching
//! clients are marked, keyspace events published, and the deterministic command recorded that repeats the change
//! elsewhere. A `Locked` may run several commands (EXEC); their effects form one group.
//!
//! Lock order: shards ascending, then the channel table, then outboxes.

use std::collections::VecDeque;
use std::sync::Arc;

use larder_protocol::{Args, OwnedArgs};
use larder_storage::entry::Entry;
use larder_storage::heap::Shared;
use larder_storage::index::Pos;
use larder_storage::keyspace::{Guarded, ShardSet};
use larder_storage::shard::NewEntry;
use larder_storage::table::{Expiry, Table};
use larder_storage::types::{Collection, Env};
use larder_storage::value::{BigStr, Content, Object, Value};

use crate::acl::Rules;
use crate::acl::denial::may_read_every_key;
use crate::config::KeyspaceEvents as Class;
use crate::effects::{Group, Watchers};
use crate::engine::Engine;
use crate::error::{Error, Outcome, WRONG_TYPE};
use crate::insight::prefixes::Happening;
use crate::insight::{Cause, History};
use crate::observe;
use crate::script::Machine;
use crate::stats::WorkerStats;
use crate::tracking::{self, Change, Readers};
use crate::wait::Waiters;

mod departures;
mod fields;
mod samples;
mod whose;

/// What the server keeps in each shard beside the keys.
#[derive(Default)]
pub struct Extra {
    pub(crate) watchers: Watchers,
    pub(crate) waiters: Waiters,
    pub(crate) readers: Readers,
    pub(crate) history: History,
}

/// Locked shards of the server's keyspace.
pub(crate) type Shards<'a> = larder_storage::keyspace::Locked<'a, Extra>;

/// A key's hash, computed ahead. The key is known again by where it stands, so nothing is compared.
#[derive(Clone, Copy)]
pub(crate) struct KnownHash {
    address: usize,
    len: u32,
    /// Whether the command may change what the key holds.
    pub(crate) writes: bool,
    pub(crate) hash: u64,
}

impl KnownHash {
    #[inline]
    pub(crate) fn new(key: &[u8], hash: u64, writes: bool) -> Self {
        // No argument has 4 GiB.
        Self { address: key.as_ptr() as usize, len: key.len() as u32, writes, hash }
    }

    /// Empty keys may stand where another argument begins, so the length counts, too.
    #[inline]
    fn is_of(&self, key: &[u8]) -> bool {
        self.address == key.as_ptr() as usize && self.len as usize == key.len()
    }
}

/// Hashes of a command's keys, in their order.
#[derive(Clone, Copy, Default)]
pub(crate) struct Hashes<'a> {
    known: &'a [KnownHash],
    next: usize,
}

impl<'a> Hashes<'a> {
    pub(crate) fn new(known: &'a [KnownHash]) -> Self {
        Self { known, next: 0 }
    }
}

/// See the module's page.
pub struct Locked<'a> {
    engine: &'a Engine,
    shards: Shards<'a>,
    hashes: Hashes<'a>,
    stats: &'a WorkerStats,
    /// The selected database.
    pub(crate) db: usize,
    /// Time of the batch, in milliseconds since 1970: it stands still while a command runs.
    pub(crate) now: u64,
    tick: u32,
    /// The number of the client whose command runs; 0 for none.
    pub(crate) client_id: u64,
    /// Whether accesses leave no trace (CLIENT NO-TOUCH).
    pub(crate) no_touch: bool,
    /// The rules of the user whose command runs, if they forbid anything: see [`Locked::may_read_every_key`].
    pub(crate) rules: Option<Arc<Rules>>,
    /// Whether expired keys stay and are not seen (CLIENT PAUSE). Not for commands that write.
    pub(crate) hides_expired: bool,
    /// Whether a script calls the command that runs.
    pub(crate) is_script: bool,
    /// What runs scripts, where this is for a script or a transaction with some.
    pub(crate) machine: Option<&'a Machine>,
    /// Changes of the running command.
    dirty: u64,
    rewritten: bool,
    /// What outlives the commands; most leave nothing. It stands after `shards` and so is dropped after these are
    /// released.
    after: Option<Box<After>>,
}

/// See [`Locked::after`].
#[derive(Default)]
struct After {
    group: Group,
    /// Values that were removed.
    dropped: Vec<Object>,
    /// What the arguments stand in, if a long one of them may stay there.
    lent: Option<Shared>,
    /// Changes of keys, if somebody wants to hear of keys by their prefixes.
    changes: Vec<Change>,
    /// Keys that clients wait for, and that may be what they wait for now.
    ready: VecDeque<(usize, Vec<u8>)>,
}

/// A text for a string value, wherever it stands.
pub(crate) enum Text<'a> {
    Int(itoa::Buffer, i64),
    Bytes(&'a [u8]),
    Big(&'a BigStr),
}

impl Text<'_> {
    /// The bytes; an integer is printed.
    pub(crate) fn bytes(&mut self) -> &[u8] {
        match self {
            Self::Int(buffer, number) => buffer.format(*number).as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Big(string) => string.bytes(),
        }
    }

    /// Length of the text in bytes.
    pub(crate) fn len(&mut self) -> usize {
        self.bytes().len()
    }
}

impl<'a> Locked<'a> {
    /// Locks shards; `None` when a script holds one of them and goes on holding it.
    #[inline]
    pub(crate) fn try_new(engine: &'a Engine, set: ShardSet, now: u64, stats: &'a WorkerStats) -> Option<Self> {
        Some(Self::of(engine, engine.keyspace().try_lock(set)?, now, stats))
    }

    /// Locks shards for a script: see [`Keyspace::claim`](larder_storage::keyspace::Keyspace::claim).
    pub(crate) fn claim(engine: &'a Engine, set: ShardSet, now: u64, stats: &'a WorkerStats) -> Self {
        Self::of(engine, engine.keyspace().claim(set), now, stats)
    }

    #[inline]
    fn of(engine: &'a Engine, shards: Shards<'a>, now: u64, stats: &'a WorkerStats) -> Self {
        Self {
            engine,
            shards,
            hashes: Hashes::default(),
            stats,
            db: 0,
            now,
            tick: engine.keyspace().tick(),
            client_id: 0,
            no_touch: false,
            rules: None,
            hides_expired: false,
            is_script: false,
            machine: None,
            dirty: 0,
            rewritten: false,
            after: None,
        }
    }

    #[cold]
    fn after(&mut self) -> &mut After {
        self.after.get_or_insert_default()
    }

    /// Keeps a value that was removed until the shards are released.
    #[inline]
    fn drop_later(&mut self, object: Option<Object>) {
        if let Some(object) = object {
            self.after().dropped.push(object);
        }
    }

    #[cold]
    fn record(&mut self, db: usize, command: OwnedArgs) {
        self.after().group.push(db, command);
    }

    /// Where changes are collected for those who hear of keys by their prefixes.
    pub(crate) fn changes(&mut self) -> &mut Vec<Change> {
        &mut self.after().changes
    }

    /// Notes that a key has become, or is no longer, what clients may wait for.
    #[inline]
    pub(crate) fn ready(&mut self, key: &[u8]) {
        if self.engine.waiting().count() > 0 {
            self.note_ready(key);
        }
    }

    #[cold]
    fn note_ready(&mut self, key: &[u8]) {
        let (hash, db) = (self.hash(key), self.db);
        if self.shards.of(hash).extra.waiters.has(db, key) {
            self.after().ready.push_back((db, key.to_vec()));
        }
    }

    /// As [`Locked::ready`], for all keys of a database that has been exchanged. All shards are held.
    pub(crate) fn ready_database(&mut self, db: usize) {
        let mut ready = VecDeque::new();
        for (_, guarded) in self.shards.each_ref() {
            ready.extend(guarded.extra.waiters.keys(db).map(|key| (db, key.to_vec())));
        }
        if !ready.is_empty() {
            self.after().ready.append(&mut ready);
        }
    }

    /// Locks, of a claim, what it takes to serve clients whose keys have become ready.
    pub(crate) fn before_release(&mut self) {
        if self.after.as_ref().is_some_and(|after| !after.ready.is_empty()) {
            let all = self.engine.keyspace().all();
            self.shards.extend(all);
        }
    }

    /// The next key that was noted as ready.
    pub(crate) fn next_ready(&mut self) -> Option<(usize, Vec<u8>)> {
        self.after.as_mut()?.ready.pop_front()
    }

    /// Makes ready for one command.
    #[inline]
    pub(crate) fn begin(&mut self, db: usize, hashes: Hashes<'a>) {
        self.db = db;
        self.hashes = hashes;
        self.dirty = 0;
        self.rewritten = false;
    }

    /// Ends one command: what it changed is recorded, as the function rewrote it or else as it was called.
    #[inline]
    pub(crate) fn end(&mut self, args: Args<'_>) {
        if self.dirty > 0 && !self.rewritten && self.engine.records_effects() {
            self.record(self.db, args.to_owned());
        }
        self.stats.add_dirty(self.dirty);
    }

    /// Selects a database, for work that no command asked for.
    pub(crate) fn select(&mut self, db: usize) {
        self.db = db;
    }

    /// Whether a call may read keys that its arguments do not name, as SORT with BY or GET does: its user must be allowed
    /// the call and to read every key.
    pub(crate) fn may_read_every_key(&self, args: Args<'_>) -> bool {
        may_read_every_key(self.rules.as_deref(), args)
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &'a Engine {
        self.engine
    }

    /// The shards.
    pub(crate) fn shards(&mut self) -> &mut Shards<'a> {
        &mut self.shards
    }

    /// The shards, for looking.
    pub(crate) fn shards_ref(&self) -> &Shards<'a> {
        &self.shards
    }

    /// Statistics of this thread.
    pub(crate) fn stats(&self) -> &'a WorkerStats {
        self.stats
    }

    /// A key's hash, computed at most once per command.
    #[inline]
    pub(crate) fn hash(&mut self, key: &[u8]) -> u64 {
        let known = self.hashes.known;
        if let Some(found) = known.get(self.hashes.next).filter(|known| known.is_of(key)) {
            return found.hash;
        }
        // Commands take their keys in order, with a value or two between them at most.
        let rest = known.get(self.hashes.next + 1..).unwrap_or_default();
        if let Some(at) = rest.iter().take(4).position(|known| known.is_of(key)) {
            self.hashes.next += 1 + at;
            return rest[at].hash;
        }
        self.engine.keyspace().hash(key)
    }

    #[inline]
    fn guarded(&mut self, hash: u64) -> &mut Guarded<Extra> {
        self.shards.of(hash)
    }

    /// Where a key stands in the selected database, unless it is absent or expired. An expired key is removed.
    #[inline]
    fn locate(&mut self, key: &[u8]) -> Option<(u64, Pos)> {
        let hash = self.hash(key);
        Some((hash, self.find(hash, key)?))
    }

    #[inline]
    fn find(&mut self, hash: u64, key: &[u8]) -> Option<Pos> {
        let (now, db) = (self.now, self.db);
        let table = self.shards.of(hash).shard.table_quiet(db)?;
        let pos = table.find(hash, key)?;
        if table.may_be_due(now) && table.word(pos).expires() && table.entry(pos).has_expired(now) {
            if !self.hides_expired {
                self.expire(hash, pos);
            }
            return None;
        }
        Some(pos)
    }

    /// Removes an expired key.
    #[cold]
    pub(crate) fn expire(&mut self, hash: u64, pos: Pos) {
        let (db, started) = (self.db, observe::event_started(self.engine));
        let Some(table) = self.guarded(hash).shard.table_mut(db) else { return };
        let (key, tick) = (table.entry(pos).key().to_vec(), table.word(pos).tick());
        let object = table.remove(pos, hash);
        self.drop_later(object);
        self.sample_removal(hash);
        self.departed(hash, tick, Cause::Expired);
        self.count_removal(&key, Happening::Expiration);
        self.ready(&key);
        self.stats.expired();
        self.removed_by_server(hash, &key, Class::EXPIRED, "expired");
        observe::note_event(self.engine, "expire-del", started);
    }

    /// Removes a key for want of memory.
    pub(crate) fn evict(&mut self, hash: u64, pos: Pos) {
        let (db, started) = (self.db, observe::event_started(self.engine));
        let departing = self.departing(Cause::Evicted(self.engine.settings().maxmemory_policy.get()));
        let Guarded { shard, extra } = self.guarded(hash);
        let Some(table) = shard.table_mut(db) else { return };
        let (key, tick) = (table.entry(pos).key().to_vec(), table.word(pos).tick());
        let object = shard.evict(db, hash, pos);
        departing.note(&mut extra.history, hash, tick);
        self.drop_later(object);
        self.count_removal(&key, Happening::Eviction);
        self.ready(&key);
        self.stats.evicted();
        self.removed_by_server(hash, &key, Class::EVICTED, "evicted");
        observe::note_event(self.engine, "eviction-del", started);
    }

    fn removed_by_server(&mut self, hash: u64, key: &[u8], class: Class, event: &'static str) {
        let db = self.db;
        let watchers = &mut self.shards.of(hash).extra.watchers;
        match class {
            Class::EXPIRED => watchers.expired(db, key),
            _ => watchers.changed(db, key),
        }
        if self.engine.tracking().is_used() {
            self.invalidate(hash, key);
        }
        self.engine.publish_event(db, class, event, key);
        if self.engine.records_effects() {
            self.record(db, OwnedArgs::from_slices(&[b"DEL", key]));
        }
    }

    /// A key's entry, for a command that reads: it counts as a hit or a miss and as an access.
    #[inline]
    pub(crate) fn read(&mut self, key: &[u8]) -> Option<Entry<'_>> {
        let hash = self.hash(key);
        let (engine, stats, now, db) = (self.engine, self.stats, self.now, self.db);
        let tick = if self.no_touch { None } else { Some(self.tick) };
        if self.shards.of(hash).shard.table(db).is_some_and(|table| table.may_be_due(now)) {
            // Removes the key if its time has come.
            let is_there = self.find(hash, key).is_some();
            if !is_there && self.hides_expired {
                missed(engine, stats, db, key);
                return None;
            }
        }
        let stands_for = stats.prefixes.next_read();
        self.sample_read(hash, key);
        let entry = self.shards.of(hash).shard.table_quiet(db).and_then(|table| table.access(hash, key, tick));
        if entry.is_some() {
            stats.hit();
        } else {
            missed(engine, stats, db, key);
        }
        if let Some(count) = stands_for {
            departures::count_read(engine, stats, key, entry.is_some(), count);
        }
        entry
    }

    /// As [`Locked::read`], but it is no access: EXISTS, TYPE and TTL look at a key without using it.
    #[inline]
    pub(crate) fn glance(&mut self, key: &[u8]) -> Option<Entry<'_>> {
        let Some((hash, pos)) = self.locate(key) else {
            missed(self.engine, self.stats, self.db, key);
            return None;
        };
        self.stats.hit();
        let db = self.db;
        Some(self.guarded(hash).shard.table_quiet(db)?.entry(pos))
    }

    /// A key's entry, for a command that writes: it counts as an access.
    #[inline]
    pub(crate) fn look(&mut self, key: &[u8]) -> Option<Entry<'_>> {
        let (hash, pos) = self.locate(key)?;
        self.touched(hash, pos)
    }

    #[inline]
    fn touched(&mut self, hash: u64, pos: Pos) -> Option<Entry<'_>> {
        self.sample_store_at(hash, pos);
        let (db, tick, no_touch) = (self.db, self.tick, self.no_touch);
        let table = self.guarded(hash).shard.table_quiet(db)?;
        if !no_touch {
            table.touch(pos, tick);
        }
        Some(table.entry(pos))
    }

    /// A key's entry, leaving no trace.
    pub(crate) fn peek(&mut self, key: &[u8]) -> Option<Entry<'_>> {
        let (hash, pos) = self.locate(key)?;
        let db = self.db;
        Some(self.guarded(hash).shard.table(db)?.entry(pos))
    }

    /// A key's table and position, leaving no trace.
    pub(crate) fn place(&mut self, key: &[u8]) -> Option<(&mut Table, Pos)> {
        let (hash, pos) = self.locate(key)?;
        let db = self.db;
        Some((self.guarded(hash).shard.table_mut(db)?, pos))
    }

    /// Whether a key exists, leaving no trace.
    pub(crate) fn exists(&mut self, key: &[u8]) -> bool {
        self.locate(key).is_some()
    }

    /// A string for reading.
    #[inline]
    pub(crate) fn read_string(&mut self, key: &[u8]) -> Result<Option<Text<'_>>, Error> {
        self.read(key).map(|entry| text(entry.value())).transpose()
    }

    /// A string, for a command that will change it.
    #[inline]
    pub(crate) fn look_string(&mut self, key: &[u8]) -> Result<Option<Text<'_>>, Error> {
        self.look(key).map(|entry| text(entry.value())).transpose()
    }

    /// A collection for reading.
    #[inline]
    pub(crate) fn read_as<C: Collection>(&mut self, key: &[u8]) -> Result<Option<C::Ref<'_>>, Error> {
        self.read(key).map(|entry| C::of(entry.value()).ok_or(WRONG_TYPE)).transpose()
    }

    /// A collection, for a command that will change it.
    #[inline]
    pub(crate) fn look_as<C: Collection>(&mut self, key: &[u8]) -> Result<Option<C::Ref<'_>>, Error> {
        self.look(key).map(|entry| C::of(entry.value()).ok_or(WRONG_TYPE)).transpose()
    }

    /// What types need from outside.
    pub(crate) fn env(&self) -> Env<'a> {
        self.engine.env()
    }

    /// Stores a value, whatever the key held. Its effects are the caller's to name.
    #[inline]
    pub(crate) fn set(&mut self, key: &[u8], content: Content<'_>, expiry: Expiry) -> Result<(), Error> {
        let (hash, db, tick, no_touch) = (self.hash(key), self.db, self.tick, self.no_touch);
        if let (Content::Str { bytes, raw: false }, Some(table)) =
            (&content, self.shards.of(hash).shard.table_quiet(db))
            && !matches!(expiry, Expiry::Set(Some(_)))
            && table.overwrite(hash, key, bytes, if no_touch { None } else { Some(tick) })
        {
            self.sample_store(hash, key);
            return Ok(());
        }
        let content = self.kept(&content).map_or(content, Content::Object);
        let found = self.find(hash, key);
        self.ready(key);
        let shard = &mut self.shards.of(hash).shard;
        if let Some(pos) = found
            && let Some(table) = shard.table_mut(db)
        {
            let old = table.replace(pos, key, content, expiry)?;
            if !no_touch {
                table.touch(pos, tick);
            }
            self.drop_later(old);
            self.sample_store_at(hash, pos);
            return Ok(());
        }
        let at = match expiry {
            Expiry::Set(at) => at,
            Expiry::Keep => None,
        };
        let pos = shard.insert(db, NewEntry { hash, key, content, expiry: at, tick }, &self.engine.env())?;
        self.sample_store_at(hash, pos);
        self.created(key);
        Ok(())
    }

    /// Publishes that a key is new.
    #[inline]
    pub(crate) fn created(&mut self, key: &[u8]) {
        if self.engine.publishes_events() {
            self.engine.publish_event(self.db, Class::NEW, "new", key);
        }
    }

    /// Changes a collection, made first if `create` and the key is absent. `None` when there is none. The caller names
    /// the event of the change; of a collection that may have become empty it then calls [`Locked::drop_if_empty`].
    #[inline]
    pub(crate) fn update_as<C: Collection, R>(
        &mut self,
        key: &[u8],
        create: bool,
        change: impl FnOnce(&mut C, &Env<'_>) -> R,
    ) -> Result<Option<R>, Error> {
        let env = self.engine.env();
        if let Some((hash, pos)) = self.locate(key) {
            if self.touched(hash, pos).is_none_or(|entry| entry.kind() != C::KIND) {
                return Err(WRONG_TYPE);
            }
            return self.update(hash, pos, |object| C::of_mut(object).map(|collection| change(collection, &env)));
        }
        if !create {
            return Ok(None);
        }
        let mut collection = C::empty(&env);
        let result = change(&mut collection, &env);
        let object = collection.into_object();
        if !object.is_empty() {
            self.set(key, Content::Object(object), Expiry::Set(None))?;
        }
        Ok(Some(result))
    }

    /// Changes a value with structure that is there.
    fn update<R>(
        &mut self,
        hash: u64,
        pos: Pos,
        change: impl FnOnce(&mut Object) -> Option<R>,
    ) -> Result<Option<R>, Error> {
        let db = self.db;
        let Some(table) = self.guarded(hash).shard.table_mut(db) else { return Ok(None) };
        Ok(table.update(pos, change)?)
    }

    /// Changes the bytes of a string that has an allocation of its own; others are left as they are.
    pub(crate) fn update_string(&mut self, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Outcome {
        let Some((hash, pos)) = self.locate(key) else { return Ok(()) };
        self.update(hash, pos, |object| {
            if let Object::Str(string) = object {
                string.change(change);
            }
            None::<()>
        })?;
        Ok(())
    }

    /// Lets `change` work on the bytes of a string where they stand, its length staying as it is. `None` when there is
    /// no string, or one that is as SET stored it: that has to be stored anew, as a raw one.
    pub(crate) fn edit_string<R>(&mut self, key: &[u8], change: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
        let (table, pos) = self.place(key)?;
        table.edit_string(pos, change)
    }

    /// Removes a collection that has become empty, and publishes that it is gone; whether it was so.
    pub(crate) fn drop_if_empty(&mut self, key: &[u8]) -> bool {
        self.drop_if_emptied_by(key, Cause::Deleted)
    }

    /// The same, of a collection whose elements are gone for this cause.
    fn drop_if_emptied_by(&mut self, key: &[u8], cause: Cause) -> bool {
        let empty = self.peek(key).is_some_and(|entry| entry.value().is_empty());
        if empty {
            self.remove_for(key, cause);
            self.note(Class::GENERIC, "del", key);
        }
        empty
    }

    /// Removes a key; whether it was there. Its effects are the caller's to name.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        self.remove_for(key, Cause::Deleted)
    }

    /// The same, for another cause than that somebody wanted it.
    fn remove_for(&mut self, key: &[u8], cause: Cause) -> bool {
        let hash = self.hash(key);
        let found = self.find(hash, key);
        // Another cache might have had it.
        self.sample_removal(hash);
        let Some(pos) = found else { return false };
        let db = self.db;
        let Some(table) = self.guarded(hash).shard.table_mut(db) else { return false };
        let tick = table.word(pos).tick();
        let object = table.remove(pos, hash);
        self.drop_later(object);
        self.departed(hash, tick, cause);
        self.ready(key);
        true
    }

    /// Moves the value and the expiry of a key to another, in database `db`, whatever that held. A value with memory
    /// of its own is not copied. The effects are the caller's to name; when there is no room, nothing has changed.
    pub(crate) fn transfer(&mut self, from: &[u8], db: usize, to: &[u8]) -> Outcome {
        let (env, from_db) = (self.engine.env(), self.db);
        let mut buffer = Vec::new();
        let Some((table, pos)) = self.place(from) else { return Ok(()) };
        let (expiry, owns) = (table.entry(pos).expiry(), table.entry(pos).object().is_some());
        // An integer's cell is just as large as an object's: it asks for the room before the object is taken out.
        let content = if owns { Content::Int(0) } else { table.duplicate(pos, env, &mut buffer)? };
        let replaced = self.in_database(db, |locked| {
            let replaced = locked.exists(to);
            locked.set(to, content, Expiry::Set(expiry)).map(|()| replaced)
        })?;
        let Some((hash, pos)) = self.locate(from) else { return Ok(()) };
        let Some(table) = self.guarded(hash).shard.table_mut(from_db) else { return Ok(()) };
        let tick = table.word(pos).tick();
        let object = table.remove(pos, hash);
        self.sample_removal(hash);
        self.departed(hash, tick, Cause::Deleted);
        self.ready(from);
        self.in_database(db, |locked| {
            if let Some(object) = object {
                locked.set(to, Content::Object(object), Expiry::Keep)?;
            }
            if replaced {
                locked.created(to);
            }
            Ok(())
        })
    }

    /// Does something in another database, for the commands that name one.
    pub(crate) fn in_database<R>(&mut self, db: usize, run: impl FnOnce(&mut Self) -> R) -> R {
        let selected = std::mem::replace(&mut self.db, db);
        let result = run(self);
        self.db = selected;
        result
    }

    /// Sets or removes a key's expiry; false when there is no such key.
    pub(crate) fn set_expiry(&mut self, key: &[u8], at: Option<u64>) -> Result<bool, Error> {
        let Some((hash, pos)) = self.locate(key) else { return Ok(false) };
        let db = self.db;
        if let Some(table) = self.guarded(hash).shard.table_mut(db) {
            table.set_expiry(pos, at)?;
        }
        self.sample_expiry(hash, pos);
        Ok(true)
    }

    /// Names an effect of the running command: the key has changed, and these events tell it.
    #[inline]
    pub(crate) fn changed(&mut self, class: Class, event: &'static str, key: &[u8]) {
        self.dirty += 1;
        self.note(class, event, key);
    }

    /// As [`Locked::changed`], for a further event of the same change.
    #[inline]
    pub(crate) fn note(&mut self, class: Class, event: &'static str, key: &[u8]) {
        self.tell_watchers(key);
        if self.engine.publishes_events() {
            self.engine.publish_event(self.db, class, event, key);
        }
    }

    /// As [`Locked::changed`], for a change that has no event.
    pub(crate) fn changed_silently(&mut self, key: &[u8]) {
        self.dirty += 1;
        self.tell_watchers(key);
    }

    #[inline]
    fn tell_watchers(&mut self, key: &[u8]) {
        let (hash, db) = (self.hash(key), self.db);
        let watchers = &mut self.shards.of(hash).extra.watchers;
        if !watchers.is_empty() {
            watchers.changed(db, key);
        }
        if self.engine.tracking().is_used() {
            self.invalidate(hash, key);
        }
    }

    /// Counts a change that has no event of a key (FLUSHALL).
    pub(crate) fn count_changes(&mut self, changes: u64) {
        self.dirty += changes;
    }

    /// Marks a key as changed for clients that watch or track it, without an event.
    pub(crate) fn mark_changed(&mut self, key: &[u8]) {
        let (hash, db) = (self.hash(key), self.db);
        self.shards.of(hash).extra.watchers.changed(db, key);
        if self.engine.tracking().is_used() {
            self.invalidate(hash, key);
        }
    }

    /// Says that the running command is not repeated as it was called, but by what [`Locked::replay`] is given, if
    /// anything.
    pub(crate) fn replay_nothing(&mut self) {
        self.rewritten = true;
    }

    /// Records a command that repeats the running one's change, in place of the command as it was called.
    /// Several calls record several commands.
    pub(crate) fn replay(&mut self, command: &[&[u8]]) {
        self.rewritten = true;
        if self.engine.records_effects() {
            self.record(self.db, OwnedArgs::from_slices(command));
        }
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.after.is_some() {
            self.finish();
        }
    }
}

/// Notes that a command that reads did not find its key.
#[inline]
fn missed(engine: &Engine, stats: &WorkerStats, db: usize, key: &[u8]) {
    stats.miss();
    if engine.publishes_events() {
        engine.publish_event(db, Class::KEY_MISS, "keymiss", key);
    }
}

impl Locked<'_> {
    /// Serves whoever waits and delivers the effects, while the shards are still held, and puts aside what takes long to free.
    #[cold]
    fn finish(&mut self) {
        self.serve_waiting();
        let Some(after) = &mut self.after else { return };
        if !after.changes.is_empty() {
            tracking::broadcast(self.engine, &mut after.changes);
        }
        if !after.group.is_empty() {
            self.engine.deliver(&after.group);
        }
        self.engine.reclaim(&mut after.dropped);
    }
}

/// The text of a string value; an error for any other.
#[inline]
pub(crate) fn text(value: Value<'_>) -> Result<Text<'_>, Error> {
    match value {
        Value::Str { bytes, .. } => Ok(Text::Bytes(bytes)),
        Value::Int(number) => Ok(Text::Int(itoa::Buffer::new(), number)),
        Value::Big(string) => Ok(Text::Big(string)),
        _ => Err(WRONG_TYPE),
    }
}
