//! The layers of the cache: L1 in this process, L2 the shared cache, L3 the database. What is found below is promoted.
//!
//! Nothing here ever fails because of a cache: what cannot be read counts as a miss, what cannot be stored is not stored.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use parking_lot::Mutex;
use rustis::resp::{Command, RefBulkString, Value, cmd};

use super::entry::{Compression, Entry};
use super::flight::Flights;
use super::guard::{Guard, Verdict};
use super::invalidation::Invalidation;
use super::l1::{Epoch, L1};
use super::lock;
use super::ttl::{Ttl, with_jitter};
use crate::clock::Clock;
use crate::db::Db;
use crate::db::source::Source;
use crate::error::AppError;
use crate::ids;
use crate::keys::{Group, Query};
use crate::metrics::Metrics;
use crate::random;
use crate::store::shards::Shards;
use crate::store::subscribe::Trust;
use crate::store::{Store, Unreachable};

/// Versions live longer than any value, also those of what does not exist.
const VERSION_LIFE_S: u64 = 24 * 3_600;
/// How long it is remembered that something does not exist.
const ABSENT_LIFE: Duration = Duration::from_secs(5);
/// How much the clocks of servers may differ, and a write may take.
const CLOCKS_MS: i64 = 10_000;
/// How often those who wait for another server look.
const WAIT_STEP: Duration = Duration::from_millis(5);

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// This process.
    L1,
    /// The shared cache.
    L2,
    /// The database.
    Database,
}

impl Layer {
    /// As it is said in the header `x-cache`.
    pub fn name(self) -> &'static str {
        match self {
            Layer::L1 => "l1",
            Layer::L2 => "l2",
            Layer::Database => "database",
        }
    }
}

/// An answer and where it came from.
#[derive(Debug, Clone)]
pub struct Served {
    /// JSON; `None` for what does not exist.
    pub body: Option<Arc<[u8]>>,
    /// Where it came from.
    pub layer: Layer,
}

/// What was seen before a value was read from the database; without it none can be stored.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    epoch: Option<Epoch>,
    /// `None`: the cache cannot be filled.
    version: Option<u64>,
    /// When the value was read that is to be renewed; 0 when there is none.
    seen_ms: i64,
}

/// What a look into the cache found.
pub enum Look {
    /// A value to be served. `refresh` says that somebody should renew it.
    Hit {
        /// The value.
        served: Served,
        /// Set when it should be renewed in the background.
        refresh: Option<Ticket>,
    },
    /// Nothing of use.
    Miss(Ticket),
}

/// How L1 hears of what other servers write.
pub enum L1Mode {
    /// There is no L1.
    Off,
    /// It does not hear of it: values end by their time, and servers disagree until then.
    Alone(L1),
    /// By messages or by tracking; it is used only while those can be trusted, one trust per shard.
    Connected(L1, Vec<Trust>),
}

/// The layers and all that is chosen about them.
pub struct Layers {
    /// The caches; `None` for the strategy that has none.
    pub shards: Option<Shards>,
    /// The cache of this process.
    pub l1: L1Mode,
    /// The longest that L1 keeps a value.
    pub l1_life: Duration,
    /// How long values live.
    pub ttl: Arc<dyn Ttl>,
    /// What guards against stampedes.
    pub guard: Arc<dyn Guard>,
    /// What makes values stale.
    pub invalidation: Arc<dyn Invalidation>,
    /// When to compress.
    pub compression: Compression,
    /// Where locks are kept.
    pub lock_store: Store,
    /// How long a lock lives, and nobody waits longer.
    pub lock_life: Duration,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Requests of this process that wait for the same value.
    pub flights: Flights<Flight, Result<Arc<Entry>, AppError>>,
    /// How often groups became stale, as far as this process knows; groups share counts.
    pub changes: Changes,
    /// Groups whose invalidation has not reached the cache: what it holds of them is not believed.
    pub pending: Mutex<HashSet<Group>>,
}

/// What requests that share a flight have in common: the query, the version that they saw, and the count of changes.
/// One that began before a write must not answer one after it.
pub type Flight = (Query, u64, u64);

/// Counts the changes of groups.
pub struct Changes([AtomicU64; 64]);

impl Default for Changes {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; 64])
    }
}

impl Changes {
    fn of(&self, group: &Group) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        group.hash(&mut hasher);
        &self.0[hasher.finish() as usize % self.0.len()]
    }
}

/// What L2 holds.
enum L2 {
    Value(Arc<Entry>),
    Nothing { version: Option<u64> },
}

impl Layers {
    /// Looks into L1 and L2. Notes hits.
    pub async fn look(&self, query: &Query) -> Look {
        let start = Instant::now();
        let now_ms = self.clock.now_ms();
        if let Some(entry) = self.l1_for(query).and_then(|l1| l1.get(query, now_ms)) {
            self.metrics.l1_hits.add(1);
            self.metrics.l1_time.record(start.elapsed());
            return Look::Hit { served: served(&entry, Layer::L1), refresh: None };
        }
        let epoch = self.l1_for(query).map(|l1| l1.epoch(&query.group()));
        match self.read_l2(query).await {
            L2::Value(entry) => match self.guard.judge(&entry, now_ms, random::chance()) {
                Verdict::Refill => Look::Miss(Ticket { epoch, version: Some(entry.version), seen_ms: 0 }),
                verdict => {
                    self.metrics.l2_hits.add(1);
                    self.metrics.l2_time.record(start.elapsed());
                    let refresh = (verdict == Verdict::ServeAndRefresh).then_some(Ticket {
                        epoch,
                        version: Some(entry.version),
                        seen_ms: entry.cached_at_ms,
                    });
                    match refresh {
                        Some(_) => self.metrics.stale_hits.add(1),
                        None => self.promote(query, &entry, epoch),
                    }
                    Look::Hit { served: served(&entry, Layer::L2), refresh }
                }
            },
            L2::Nothing { version } => Look::Miss(Ticket { epoch, version, seen_ms: 0 }),
        }
    }

    /// Reads the database and fills the layers above, guarded against stampedes.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn refill(
        self: &Arc<Self>,
        query: &Query,
        ticket: Ticket,
        source: &Arc<dyn Source>,
    ) -> Result<Served, AppError> {
        let start = Instant::now();
        self.metrics.misses.add(1);
        if !self.guard.locks() {
            let entry = self.fill(query, ticket, &**source).await?;
            self.metrics.database_time.record(start.elapsed());
            return Ok(served(&entry, Layer::Database));
        }
        let changes = self.changes.of(&query.group()).load(Ordering::Acquire);
        let flight = (query.clone(), ticket.version.unwrap_or(0), changes);
        let (layers, source, own) = (self.clone(), source.clone(), query.clone());
        let work = move || async move { layers.refill_once(&own, ticket, &*source).await }.boxed();
        let (result, is_first) = self.flights.join(&flight, work).await;
        let entry = result.unwrap_or_else(|| Err(AppError::Unavailable("reading failed".into())))?;
        if is_first {
            self.metrics.database_time.record(start.elapsed());
        } else {
            self.metrics.shared.add(1);
        }
        Ok(served(&entry, Layer::Database))
    }

    /// Renews a value in the background, if no other server is at it.
    pub fn refresh(self: &Arc<Self>, query: &Query, ticket: Ticket, source: &Arc<dyn Source>) {
        let (layers, source, query) = (self.clone(), source.clone(), query.clone());
        tokio::spawn(async move {
            // A flight of its own kind, so that nobody waits for it.
            let flight = (query.clone(), u64::MAX, 0);
            let own = layers.clone();
            let work = move || {
                async move {
                    let held = lock::acquire(&own.lock_store, &query.key(), own.lock_life).await;
                    if matches!(held, Ok(None)) {
                        return Err(AppError::Unavailable("another server renews it".into()));
                    }
                    // Another server may just have done so, and freed the lock.
                    let result = match own.read_l2(&query).await {
                        L2::Value(entry) if entry.cached_at_ms > ticket.seen_ms => Ok(entry),
                        _ => own.fill(&query, ticket, &*source).await,
                    };
                    if let Ok(Some(held)) = held {
                        held.release_soon();
                    }
                    result
                }
                .boxed()
            };
            let _ = layers.flights.join(&flight, work).await;
        });
    }

    /// One of all servers reads the database, the others wait until its value is there, at most for the lock's life.
    async fn refill_once(
        &self,
        query: &Query,
        mut ticket: Ticket,
        source: &dyn Source,
    ) -> Result<Arc<Entry>, AppError> {
        if ticket.version.is_none() {
            // Nobody could hand a value on through the cache, so waiting for one would be in vain.
            return self.fill(query, ticket, source).await;
        }
        let until = Instant::now() + self.lock_life;
        loop {
            match lock::acquire(&self.lock_store, &query.key(), self.lock_life).await {
                Ok(Some(held)) => {
                    let result = match self.found_meanwhile(query, &mut ticket).await {
                        Some(entry) => Ok(entry),
                        None => self.fill(query, ticket, source).await,
                    };
                    held.release_soon();
                    return result;
                }
                Ok(None) => {}
                Err(_) => return self.fill(query, ticket, source).await,
            }
            tokio::time::sleep(WAIT_STEP.min(until.saturating_duration_since(Instant::now()))).await;
            if let Some(entry) = self.found_meanwhile(query, &mut ticket).await {
                self.metrics.shared.add(1);
                return Ok(entry);
            }
            if Instant::now() >= until || ticket.version.is_none() {
                return self.fill(query, ticket, source).await;
            }
        }
    }

    /// The value that another server has stored since; brings the ticket up to date otherwise.
    async fn found_meanwhile(&self, query: &Query, ticket: &mut Ticket) -> Option<Arc<Entry>> {
        ticket.epoch = self.l1_for(query).map(|l1| l1.epoch(&query.group()));
        match self.read_l2(query).await {
            L2::Value(entry) if entry.fresh_until_ms > self.clock.now_ms() => Some(entry),
            L2::Value(entry) => {
                ticket.version = Some(entry.version);
                None
            }
            L2::Nothing { version } => {
                ticket.version = version;
                None
            }
        }
    }

    /// Reads the database and fills the layers above.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn fill(&self, query: &Query, ticket: Ticket, source: &dyn Source) -> Result<Arc<Entry>, AppError> {
        let start = Instant::now();
        let payload = source.load(query).await?;
        let cost_us = u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX);
        let ttl = match &payload {
            Some(_) => self.ttl.of(query).map(|ttl| with_jitter(ttl, random::chance())),
            None => Some(ABSENT_LIFE),
        };
        let cached_at_ms = self.clock.now_ms();
        let entry = Arc::new(Entry {
            payload: payload.map(Into::into),
            version: ticket.version.unwrap_or(0),
            cached_at_ms,
            fresh_until_ms: cached_at_ms + ttl.map_or(0, millis),
            cost_us,
        });
        if let Some(ttl) = ttl {
            self.write_l2(query, &entry, ttl, ticket).await;
            self.promote(query, &entry, ticket.epoch);
        }
        Ok(entry)
    }

    /// Puts a value into L1.
    fn promote(&self, query: &Query, entry: &Arc<Entry>, epoch: Option<Epoch>) {
        if let (Some(l1), Some(epoch)) = (self.l1_for(query), epoch) {
            // Without a version nobody would hear that it became stale.
            if entry.version == 0 && self.invalidation.has_versions() && self.shards.is_some() {
                return;
            }
            let until_ms = entry.fresh_until_ms.min(self.clock.now_ms() + millis(self.l1_life));
            l1.put(query, entry.clone(), until_ms, epoch);
        }
    }

    /// L1, while it can be trusted with what falls to this shard.
    fn l1_for(&self, query: &Query) -> Option<&L1> {
        match &self.l1 {
            L1Mode::Off => None,
            L1Mode::Alone(l1) => Some(l1),
            L1Mode::Connected(l1, trusts) => {
                let is_trusted = trusts.iter().all(Trust::holds) && !self.pending.lock().contains(&query.group());
                is_trusted.then_some(l1)
            }
        }
    }

    async fn read_l2(&self, query: &Query) -> L2 {
        let group = query.group();
        let Some(shards) = &self.shards else { return L2::Nothing { version: Some(0) } };
        let store = shards.of(&group);
        if !store.is_believed() || self.pending.lock().contains(&group) {
            return L2::Nothing { version: None };
        }
        let (key, version_key) = (store.key(&query.key()), store.key(&group.version_key()));
        let mut commands: Vec<Command> = vec![cmd("GET").key(&key).into()];
        if self.invalidation.has_versions() {
            commands.push(cmd("GET").key(&version_key).into());
        }
        let Ok(answers) = store.pipeline(commands).await else { return L2::Nothing { version: None } };
        if !store.is_believed() {
            // The question waited for a new connection.
            return L2::Nothing { version: None };
        }
        let mut answers = answers.into_iter();
        let entry = self.decode(answers.next());
        if !self.invalidation.has_versions() {
            return entry.map_or(L2::Nothing { version: Some(0) }, L2::Value);
        }
        match (entry, answers.next().as_ref().and_then(version_of)) {
            (Some(entry), Some(version)) if entry.version == version => L2::Value(entry),
            (_, Some(version)) => L2::Nothing { version: Some(version) },
            (_, None) => L2::Nothing { version: new_version(store, &version_key).await.ok() },
        }
    }

    /// What was stored; `None` for nothing, and for what is not ours.
    fn decode(&self, answer: Option<Value>) -> Option<Arc<Entry>> {
        let entry = match answer? {
            Value::Null => return None,
            Value::BulkString(bytes) => Entry::decode(&bytes),
            Value::SimpleString(text) => Entry::decode(text.as_bytes()),
            _ => None,
        };
        if entry.is_none() {
            self.metrics.garbage.add(1);
        }
        entry.map(Arc::new)
    }

    async fn write_l2(&self, query: &Query, entry: &Entry, ttl: Duration, ticket: Ticket) {
        let (Some(shards), Some(_)) = (&self.shards, ticket.version) else { return };
        let store = shards.of(&query.group());
        let bytes = entry.encode(self.compression);
        self.metrics.plain_bytes.add(entry.payload.as_ref().map_or(0, |payload| payload.len()) as u64);
        self.metrics.stored_bytes.add(bytes.len() as u64);
        let keep_ms = millis(self.guard.keep(ttl));
        let set = cmd("SET").key(store.key(&query.key())).arg(RefBulkString::new(&bytes)).arg("PX").arg(keep_ms);
        let mut commands: Vec<Command> = vec![set.into()];
        if entry.payload.is_none() && query.group() != Group::Rooms && self.invalidation.has_versions() {
            // Whoever asks for rooms that do not exist must not fill the cache with their versions.
            let version_key = store.key(&query.group().version_key());
            commands.push(cmd("PEXPIRE").key(version_key).arg(2 * keep_ms).into());
        }
        if let Err(error) = store.pipeline(commands).await {
            tracing::debug!(%error, "a value was not stored");
        }
    }

    /// Makes a group stale everywhere, and tells all servers of `event`. What cannot be reached is done later, and until
    /// then this server does not believe what the cache holds of the group.
    pub async fn invalidate(&self, group: &Group, event: Option<&str>) {
        self.metrics.invalidations.add(1);
        self.drop_from_l1(group);
        let Some(shards) = &self.shards else { return };
        if let Err(error) = self.invalidation.invalidate(shards, group, event).await {
            tracing::debug!(%group, %error, "not invalidated yet");
            if self.invalidation.has_versions() {
                self.pending.lock().insert(group.clone());
                let _ = super::invalidation::distrust(shards.of(group), group).await;
            }
        }
    }

    /// Does not believe what the cache holds of a group until it was made stale.
    pub fn distrust(&self, group: &Group) {
        self.drop_from_l1(group);
        if self.invalidation.has_versions() {
            self.pending.lock().insert(group.clone());
        }
    }

    /// Tells all servers of `event` without making anything stale.
    pub async fn announce(&self, group: &Group, event: &str) {
        let Some(shards) = &self.shards else { return };
        // Who does not hear it now finds it in the database.
        if let Err(error) = super::invalidation::announce(shards.of(group), event).await {
            tracing::debug!(%group, %error, "not announced");
        }
    }

    /// Tries again what could not be invalidated.
    pub async fn catch_up(&self) {
        let Some(shards) = &self.shards else { return };
        let pending: Vec<Group> = self.pending.lock().iter().cloned().collect();
        for group in pending {
            if shards.of(&group).is_open() && self.invalidation.invalidate(shards, &group, None).await.is_ok() {
                self.drop_from_l1(&group);
                self.pending.lock().remove(&group);
            }
        }
    }

    /// Makes stale what a cache that was away may hold of before: rooms that changed within the life of a page, and the list
    /// of rooms. Who wrote then may have died before it could tell the cache, and a cache that restarts from a snapshot has
    /// forgotten what it was told.
    ///
    /// # Errors
    /// A database or a cache that does not answer; the cache is not believed then.
    pub async fn make_good(&self, store: &Store, db: &Db) -> Result<(), AppError> {
        let Some(shards) = &self.shards else { return Ok(()) };
        let longest_ms = millis(self.guard.keep(self.ttl.longest())) + CLOCKS_MS;
        let rooms = db.rooms_changed_after(ids::first_id_at(self.clock.now_ms() - longest_ms)).await?;
        let groups = rooms.into_iter().map(Group::Room).chain([Group::Rooms, Group::RoomList]);
        let own: Vec<Group> = groups.filter(|group| shards.of(group).url() == store.url()).collect();
        for group in own {
            self.drop_from_l1(&group);
            let told = self.invalidation.invalidate(shards, &group, None).await;
            told.map_err(|error| AppError::Unavailable(error.to_string()))?;
        }
        Ok(())
    }

    /// Makes a group stale in this process.
    pub fn drop_from_l1(&self, group: &Group) {
        self.changes.of(group).fetch_add(1, Ordering::AcqRel);
        if let L1Mode::Connected(l1, _) | L1Mode::Alone(l1) = &self.l1 {
            l1.drop_group(group);
        }
    }

    /// Empties L1: invalidations may have been missed.
    pub fn clear_l1(&self) {
        if let L1Mode::Connected(l1, _) = &self.l1 {
            l1.clear();
        }
    }

    /// The version of a group; `None` while the cache cannot be used for it.
    pub async fn version(&self, group: &Group) -> Option<u64> {
        let store = self.shards.as_ref()?.of(group);
        if !store.is_believed() || self.pending.lock().contains(group) {
            return None;
        }
        let key = store.key(&group.version_key());
        let answers = store.pipeline(vec![cmd("GET").key(&key).into()]).await.ok()?;
        match answers.first().and_then(version_of) {
            Some(version) => Some(version),
            None => new_version(store, &key).await.ok(),
        }
    }

    /// The ticket for a fill that follows a write at once.
    pub async fn ticket(&self, query: &Query) -> Ticket {
        let epoch = self.l1_for(query).map(|l1| l1.epoch(&query.group()));
        match self.read_l2(query).await {
            L2::Value(entry) => Ticket { epoch, version: Some(entry.version), seen_ms: 0 },
            L2::Nothing { version } => Ticket { epoch, version, seen_ms: 0 },
        }
    }
}

/// Gives a group a version, or finds the one that another server has given it.
async fn new_version(store: &Store, key: &str) -> Result<u64, Unreachable> {
    let version = u64::from_le_bytes(random::secret_bytes()).max(1);
    let set = cmd("SET").key(key).arg(version.to_string()).arg("NX").arg("EX").arg(VERSION_LIFE_S);
    let answers = store.pipeline(vec![set.into(), cmd("GET").key(key).into()]).await?;
    match answers.get(1) {
        None | Some(Value::Null) => Err(Unreachable::Refused(format!("{answers:?}"))),
        Some(answer) => match version_of(answer) {
            Some(version) => Ok(version),
            None => {
                let answers = store.pipeline(vec![cmd("UNLINK").key(key).into()]).await?;
                if answers.first() == Some(&Value::Integer(1)) {
                    store.note_mended(key, "no version was there");
                }
                Err(Unreachable::Refused(format!("{answers:?}")))
            }
        },
    }
}

fn version_of(value: &Value) -> Option<u64> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        Value::SimpleString(text) => text.parse().ok(),
        _ => None,
    }
}

fn served(entry: &Arc<Entry>, layer: Layer) -> Served {
    Served { body: entry.payload.clone(), layer }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
