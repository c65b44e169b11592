//! One shard's slice of all databases, each made at its first key.

use crate::hasher::Hasher;
use crate::rng::Rng;
use crate::table::Table;
use crate::types::Env;

/// Inserts of one turnover of a shard that move the tick.
const TICKS_PER_SHARD: usize = 4;

/// See the module's page.
pub struct Shard {
    tables: Box<[Option<Box<Table>>]>,
    /// Source of this shard's random choices.
    pub rng: Rng,
    changed: bool,
    published: i64,
    inserts: usize,
}

/// What has changed since it was last asked.
pub(crate) struct Change {
    pub(crate) bytes: i64,
    pub(crate) ticks: u32,
    pub(crate) next_due: u64,
}

impl Shard {
    pub(crate) fn new(databases: usize, rng: Rng) -> Self {
        let tables = (0..databases).map(|_| None).collect();
        Self { tables, rng, changed: false, published: 0, inserts: 0 }
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

    /// A database's table, made if it is not there, for an insert.
    #[inline]
    pub fn table_for_insert(&mut self, database: usize, env: &Env<'_>) -> &mut Table {
        self.changed = true;
        self.inserts += 1;
        self.tables[database].get_or_insert_with(|| Box::new(Table::new(env)))
    }

    /// Takes a database's table out, or puts another in; gives what was there.
    pub fn exchange(&mut self, database: usize, table: Option<Box<Table>>) -> Option<Box<Table>> {
        self.changed = true;
        std::mem::replace(&mut self.tables[database], table)
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
        self.tables.iter().flatten().map(|table| table.memory()).sum()
    }

    /// Bytes of free places in pages that exist.
    pub fn free_bytes(&self) -> usize {
        self.tables.iter().flatten().map(|table| table.free_bytes()).sum()
    }

    /// A random key of a database.
    pub fn random(&mut self, database: usize) -> Option<crate::index::Pos> {
        self.tables[database].as_deref()?.random(&mut self.rng)
    }

    /// A random segment of a database that holds keys with an expiry.
    pub fn segment_with_expiry(&mut self, database: usize) -> Option<u32> {
        self.tables[database].as_deref()?.segment_with_expiry(&mut self.rng)
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
        let (mut bytes, mut next_due, mut keys) = (0, u64::MAX, 0);
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
        let ticks = self.inserts / (keys / TICKS_PER_SHARD).max(1);
        if ticks > 0 {
            self.inserts = 0;
        }
        let change = Change { bytes: bytes - self.published, ticks: ticks as u32, next_due };
        self.published = bytes;
        Some(change)
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
