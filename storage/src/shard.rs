//! One shard's slice of all databases, each made at its first key.

use crate::evict::ghost::{Ghost, Welcome};
use crate::hasher::Hasher;
use crate::index::Pos;
use crate::rng::{Dice, Rng};
use crate::table::{Full, Table};
use crate::types::Env;
use crate::value::{Content, Object};

/// Ticks in the time in which as many keys are inserted as there are.
const TICKS_PER_TURNOVER: usize = 256;

/// A database's keys in one shard.
#[derive(Default)]
struct Slice {
    table: Option<Box<Table>>,
    /// Its bytes and its first deadline (`u64::MAX` for none) when they were last published.
    bytes: usize,
    due: u64,
}

/// All databases of one shard. Most use number 0 alone, so that stands here and the others behind a pointer.
struct Slices {
    first: Slice,
    others: Box<[Slice]>,
}

impl Slices {
    fn new(databases: usize) -> Self {
        let empty = || Slice { due: u64::MAX, ..Slice::default() };
        Self { first: empty(), others: (1..databases).map(|_| empty()).collect() }
    }

    #[inline]
    fn get(&self, database: usize) -> &Slice {
        if database == 0 { &self.first } else { &self.others[database - 1] }
    }

    #[inline]
    fn get_mut(&mut self, database: usize) -> &mut Slice {
        if database == 0 { &mut self.first } else { &mut self.others[database - 1] }
    }

    fn iter(&self) -> impl Iterator<Item = &Slice> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slice> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }
}

/// Which databases have changed since they were last published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    None,
    One(usize),
    Many,
}

/// See the module's page.
pub struct Shard {
    slices: Slices,
    /// Source of this shard's random choices.
    pub rng: Rng,
    changed: Changed,
    ghost_bytes: usize,
    /// Inserts that have not moved the tick yet, and how many it takes.
    inserts: usize,
    inserts_per_tick: usize,
    /// One of how many shards this is.
    shards: usize,
    /// Keys evicted of late, while the eviction policy asks for it, and whether all of them have an expiry.
    ghost: Option<Ghost>,
    evicts_volatile: bool,
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
    /// The first deadline, `u64::MAX` for none, if it is another one.
    pub(crate) next_due: Option<u64>,
}

impl Shard {
    pub(crate) fn new(databases: usize, shards: usize, rng: Rng) -> Self {
        Self {
            slices: Slices::new(databases),
            rng,
            changed: Changed::None,
            ghost_bytes: 0,
            inserts: 0,
            inserts_per_tick: 1,
            shards,
            ghost: None,
            evicts_volatile: false,
        }
    }

    /// Notes that a database changes.
    #[inline]
    fn touch(&mut self, database: usize) {
        self.changed = match self.changed {
            Changed::None => Changed::One(database),
            Changed::One(before) if before == database => self.changed,
            _ => Changed::Many,
        };
    }

    /// Whether something has changed since it was last published.
    #[inline]
    pub(crate) fn has_changed(&self) -> bool {
        self.changed != Changed::None
    }

    /// A database's table, if it has keys here.
    #[inline]
    pub fn table(&self, database: usize) -> Option<&Table> {
        self.slices.get(database).table.as_deref()
    }

    /// A database's table, if it has keys here, to be changed.
    #[inline]
    pub fn table_mut(&mut self, database: usize) -> Option<&mut Table> {
        self.touch(database);
        self.slices.get_mut(database).table.as_deref_mut()
    }

    /// A database's table for notes of access only, which change no size.
    #[inline]
    pub fn table_quiet(&mut self, database: usize) -> Option<&mut Table> {
        self.slices.get_mut(database).table.as_deref_mut()
    }

    /// Stores a key that is known to be absent from a database, whose table is made if it is not there. The key's
    /// history begins with what is remembered of it.
    #[inline]
    pub fn insert(&mut self, database: usize, entry: NewEntry<'_>, env: &Env<'_>) -> Result<Pos, Full> {
        self.touch(database);
        self.inserts += 1;
        let NewEntry { hash, key, content, expiry, tick } = entry;
        let begin = || {
            let mut table = Table::new(env);
            table.dice = Dice::new(&self.rng);
            Box::new(table)
        };
        let table = self.slices.get_mut(database).table.get_or_insert_with(begin);
        let pos = table.insert(hash, key, content, expiry, tick)?;
        if let Some(ghost) = &mut self.ghost {
            table.set_history(pos, tick, ghost.admit(hash, &mut self.rng));
        }
        Ok(pos)
    }

    /// Takes a key out for want of memory, and remembers it if the policy asks for it; gives its object, to be
    /// dropped outside the lock.
    pub fn evict(&mut self, database: usize, hash: u64, pos: Pos) -> Option<Object> {
        self.touch(database);
        // What it writes last comes meanwhile.
        self.prefetch_memory_of(hash);
        let residents = if self.evicts_volatile { self.tables().map(Table::expires).sum() } else { self.len() };
        let table = self.slices.get_mut(database).table.as_deref_mut()?;
        let frequency = table.word(pos).frequency();
        let object = table.remove(pos, hash);
        if let Some(ghost) = &mut self.ghost {
            ghost.put(hash, frequency, residents);
        }
        object
    }

    /// Asks for what is remembered of an evicted key, before it is stored again.
    #[inline]
    pub fn prefetch_memory_of(&self, hash: u64) {
        if let Some(ghost) = &self.ghost {
            ghost.prefetch(hash);
        }
    }

    /// Remembers evicted keys from now on, and lets keys begin so; or forgets them all. With `volatile` only keys with an
    /// expiry are evicted, and as many are remembered as there are of these.
    pub(crate) fn remember(&mut self, welcome: Option<Welcome>, volatile: bool) {
        self.changed = Changed::Many;
        self.evicts_volatile = volatile;
        let known = self.ghost.take();
        self.ghost = welcome.map(|welcome| {
            let mut ghost = known.unwrap_or_default();
            ghost.welcome = welcome;
            ghost
        });
    }

    /// Keys of all databases, and the bytes of their entries; only those with an expiry, and their share, if
    /// `volatile`.
    pub(crate) fn population(&self, volatile: bool) -> (usize, usize) {
        let count = |table: &Table| if volatile { table.expires() } else { table.len() };
        let bytes =
            |table: &Table| (table.entry_memory() as u128 * count(table) as u128 / table.len().max(1) as u128) as usize;
        self.tables().fold((0, 0), |(keys, sum), table| (keys + count(table), sum + bytes(table)))
    }

    /// Takes a database's table out, or puts another in; gives what was there.
    pub fn exchange(&mut self, database: usize, table: Option<Box<Table>>) -> Option<Box<Table>> {
        self.touch(database);
        std::mem::replace(&mut self.slices.get_mut(database).table, table)
    }

    /// Bytes that a shard has besides its tables and itself.
    pub(crate) fn fixed_bytes(databases: usize) -> usize {
        databases * size_of::<Option<Box<Table>>>()
    }

    /// Keys in all databases.
    pub fn len(&self) -> usize {
        self.tables().map(Table::len).sum()
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        self.slices.iter().filter_map(|slice| slice.table.as_deref())
    }

    /// Whether no database has a key here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The databases that have a table here.
    pub fn databases(&self) -> impl Iterator<Item = (usize, &Table)> {
        self.slices.iter().enumerate().filter_map(|(database, slice)| Some((database, slice.table.as_deref()?)))
    }

    /// Live bytes.
    pub fn memory(&self) -> usize {
        self.tables().map(Table::memory).sum::<usize>() + self.ghost_memory()
    }

    fn ghost_memory(&self) -> usize {
        self.ghost.as_ref().map_or(0, Ghost::memory)
    }

    /// Bytes of free places in pages that exist.
    pub fn free_bytes(&self) -> usize {
        self.tables().map(Table::free_bytes).sum()
    }

    /// A random key of a database.
    pub fn random(&mut self, database: usize) -> Option<Pos> {
        self.slices.get(database).table.as_deref()?.random(&mut self.rng)
    }

    /// Moves entries out of one sparse page, or a few elements of a sparse collection, and long values closer together; false
    /// when there is nothing to do.
    pub fn compact_step(&mut self, env: Env<'_>) -> bool {
        /// Elements of a collection that one step moves.
        const ELEMENTS: usize = 32;
        let mut tables = self.slices.iter_mut().filter_map(|slice| slice.table.as_deref_mut());
        // Both, as the way through a table may take long, and another follow.
        let is_done =
            tables.any(|table| table.settle_step() | (table.compact_step() || table.compact_collection(env, ELEMENTS)));
        if is_done {
            // What a collection takes may have changed.
            self.changed = Changed::Many;
        }
        is_done
    }

    /// What has changed since it was last asked.
    #[inline]
    pub(crate) fn take_change(&mut self) -> Change {
        let (mut bytes, mut due_changed) = (0, false);
        match std::mem::replace(&mut self.changed, Changed::None) {
            Changed::None => {}
            Changed::One(database) => self.slices.get_mut(database).publish(&mut bytes, &mut due_changed),
            Changed::Many => self.slices.iter_mut().for_each(|slice| slice.publish(&mut bytes, &mut due_changed)),
        }
        let ghost = self.ghost_memory();
        bytes += ghost as i64 - self.ghost_bytes as i64;
        self.ghost_bytes = ghost;
        let next_due = due_changed.then(|| self.slices.iter().map(|slice| slice.due).min().unwrap_or(u64::MAX));
        Change { bytes, ticks: self.take_ticks(), next_due }
    }

    /// How far the inserts move the tick of all shards. A shard counts only its own, which are as many for its size
    /// as the others'; one of so few keys that it should move more than a tick per insert moves one.
    #[inline]
    fn take_ticks(&mut self) -> u32 {
        if self.inserts < self.inserts_per_tick {
            return 0;
        }
        let ticks = self.inserts / self.inserts_per_tick;
        self.inserts %= self.inserts_per_tick;
        let mean = (self.len() * self.shards / TICKS_PER_TURNOVER).max(1);
        self.inserts_per_tick = 1 + self.rng.index(2 * mean - 1);
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

impl Slice {
    /// Drops an empty table; adds to `bytes` how they have changed, and notes if the first deadline has.
    #[inline]
    fn publish(&mut self, bytes: &mut i64, due_changed: &mut bool) {
        self.table.take_if(|table| table.is_empty());
        let (now, due) = match &self.table {
            Some(table) => (table.memory(), table.first_deadline()),
            None => (0, u64::MAX),
        };
        *bytes += now as i64 - self.bytes as i64;
        *due_changed |= due != self.due;
        (self.bytes, self.due) = (now, due);
    }
}
