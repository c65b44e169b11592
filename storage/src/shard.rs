//! One shard's slice of all databases, each made at its first key.

use crate::evict::ghost::Ghost;
use crate::hasher::Hasher;
use crate::index::Pos;
use crate::rng::Rng;
use crate::table::{Full, Table};
use crate::types::Env;
use crate::value::{Content, Object};

/// Ticks in the time in which as many keys are inserted as there are.
const TICKS_PER_TURNOVER: usize = 256;

/// See the module's page.
pub struct Shard {
    tables: Box<[Option<Box<Table>>]>,
    /// Source of this shard's random choices.
    pub rng: Rng,
    changed: bool,
    published: i64,
    /// Inserts that have not moved the tick yet.
    inserts: usize,
    /// One of how many shards this is.
    shards: usize,
    /// Keys evicted of late, while the eviction policy asks for it.
    ghost: Option<Ghost>,
}

/// A key to be stored.
pub struct NewEntry<'a> {
    /// The key's hash.
    pub hash: u64,
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub content: Content<'a>,
    /// When it expires, in milliseconds since 1970.
    pub expiry: Option<u64>,
    /// The present tick.
    pub tick: u32,
}

/// What has changed since it was last asked.
pub(crate) struct Change {
    pub(crate) bytes: i64,
    pub(crate) ticks: u32,
    pub(crate) next_due: u64,
}

impl Shard {
    pub(crate) fn new(databases: usize, shards: usize, rng: Rng) -> Self {
        let tables = (0..databases).map(|_| None).collect();
        Self { tables, rng, changed: false, published: 0, inserts: 0, shards, ghost: None }
    }

    /// A database's table, if it has keys here.
    #[inline]
    pub fn table(&self, database: usize) -> Option<&Table> {
        self.tables[database].as_deref()
    }

    /// A database's table, if it has keys here, to be changed.
    #[inline]
    pub fn table_mut(&mut self, database: usize) -> Option<&mut Table> {
        self.changed = true;
        self.tables[database].as_deref_mut()
    }

    /// A database's table for notes of access only, which change no size.
    #[inline]
    pub fn table_quiet(&mut self, database: usize) -> Option<&mut Table> {
        self.tables[database].as_deref_mut()
    }

    /// Stores a key that is known to be absent from a database, whose table is made if it is not there. The key's
    /// history begins with what is remembered of it.
    #[inline]
    pub fn insert(&mut self, database: usize, entry: NewEntry<'_>, env: &Env<'_>) -> Result<Pos, Full> {
        self.changed = true;
        self.inserts += 1;
        let NewEntry { hash, key, content, expiry, tick } = entry;
        let table = self.tables[database].get_or_insert_with(|| Box::new(Table::new(env)));
        let pos = table.insert(hash, key, content, expiry, tick)?;
        if let Some(ghost) = &mut self.ghost {
            table.set_history(pos, tick, ghost.welcome(hash, &mut self.rng));
        }
        Ok(pos)
    }

    /// Takes a key out for want of memory, and remembers it if the policy asks for it; gives its object, to be
    /// dropped outside the lock.
    pub fn evict(&mut self, database: usize, hash: u64, pos: Pos) -> Option<Box<Object>> {
        self.changed = true;
        let residents = self.len();
        let table = self.tables[database].as_deref_mut()?;
        if let Some(ghost) = &mut self.ghost {
            ghost.put(hash, table.word(pos).frequency(), residents);
        }
        table.remove(pos, hash)
    }

    /// Begins to remember evicted keys, or forgets them all.
    pub(crate) fn remember(&mut self, remember: bool) {
        self.changed = true;
        self.ghost = remember.then(|| self.ghost.take().unwrap_or_default());
    }

    /// Takes a database's table out, or puts another in; gives what was there.
    pub fn exchange(&mut self, database: usize, table: Option<Box<Table>>) -> Option<Box<Table>> {
        self.changed = true;
        std::mem::replace(&mut self.tables[database], table)
    }

    /// Bytes that a shard has besides its tables and itself.
    pub(crate) fn fixed_bytes(databases: usize) -> usize {
        databases * size_of::<Option<Box<Table>>>()
    }

    /// Keys in all databases.
    pub fn len(&self) -> usize {
        self.tables.iter().flatten().map(|table| table.len()).sum()
    }

    /// Whether no database has a key here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The databases that have a table here.
    pub fn databases(&self) -> impl Iterator<Item = (usize, &Table)> {
        self.tables.iter().enumerate().filter_map(|(database, table)| Some((database, table.as_deref()?)))
    }

    /// Live bytes.
    pub fn memory(&self) -> usize {
        self.tables.iter().flatten().map(|table| table.memory()).sum::<usize>() + self.ghost_memory()
    }

    fn ghost_memory(&self) -> usize {
        self.ghost.as_ref().map_or(0, Ghost::memory)
    }

    /// Bytes of free places in pages that exist.
    pub fn free_bytes(&self) -> usize {
        self.tables.iter().flatten().map(|table| table.free_bytes()).sum()
    }

    /// A random key of a database.
    pub fn random(&mut self, database: usize) -> Option<Pos> {
        self.tables[database].as_deref()?.random(&mut self.rng)
    }

    /// Moves entries out of one sparse page; false when there is none.
    pub fn compact_step(&mut self) -> bool {
        self.tables.iter_mut().flatten().any(|table| table.compact_step())
    }

    #[inline]
    pub(crate) fn take_change(&mut self) -> Option<Change> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let (mut bytes, mut next_due, mut keys) = (self.ghost_memory() as i64, u64::MAX, 0);
        for table in self.tables.iter_mut() {
            if let Some(own) = table {
                if own.is_empty() {
                    *table = None;
                } else {
                    bytes += own.memory() as i64;
                    next_due = next_due.min(own.first_deadline().unwrap_or(u64::MAX));
                    keys += own.len();
                }
            }
        }
        let ticks = self.take_ticks(keys);
        let change = Change { bytes: bytes - self.published, ticks, next_due };
        self.published = bytes;
        Some(change)
    }

    /// How far the inserts move the tick of all shards. A shard counts only its own, which are as many for its size
    /// as the others'; one of so few keys that it should move more than a tick per insert moves one.
    #[inline]
    fn take_ticks(&mut self, keys: usize) -> u32 {
        let per_tick = (keys * self.shards / TICKS_PER_TURNOVER).max(1);
        if self.inserts < per_tick {
            return 0;
        }
        let ticks = self.inserts / per_tick;
        self.inserts %= per_tick;
        ticks as u32
    }

    /// Checks every invariant; panics with what is wrong. For tests.
    pub fn validate(&self, hasher: Hasher, place: impl Fn(u64) -> bool) {
        for (_, table) in self.databases() {
            table.validate();
            for segment in 0..table.segments() as u32 {
                for (pos, _) in table.words(segment) {
                    assert!(place(hasher.hash(table.entry(pos).key())), "a key is in its shard");
                }
            }
        }
    }
}
