//! What nobody can reach any more waits here until somebody has time to free it, in slices.

use std::sync::atomic::Ordering::Relaxed;

use larder_storage::keyspace::ShardSet;
use larder_storage::table::Table;
use larder_storage::value::Object;

use super::Engine;
use crate::insight::Cause;
use crate::locked::Extra;
use crate::upkeep::Budget;

/// Values and tables that nobody can reach any more, freed in slices.
pub(crate) enum Garbage {
    Object(Object),
    Table(Box<Table>),
    Flushed(Box<Flushed>),
}

/// A table that was emptied, whose keys are noted for CACHE WHY before they are forgotten.
pub(crate) struct Flushed {
    table: Option<Box<Table>>,
    shard: usize,
    /// The number under which the history has its database.
    number: usize,
    at_ms: u64,
    /// The next segment to look into, and how many keys have been noted.
    segment: u32,
    noted: usize,
}

impl Flushed {
    pub(crate) fn new(table: Box<Table>, shard: usize, number: usize, at_ms: u64) -> Self {
        Self { table: Some(table), shard, number, at_ms, segment: 0, noted: 0 }
    }

    /// Notes the keys of a segment in the history that `extra` has; the table once all are, or as many as there is room for.
    pub(crate) fn note(&mut self, capacity: usize, extra: &mut Extra) -> Option<Box<Table>> {
        let table = self.table.as_ref()?;
        if (self.segment as usize) < table.segments() {
            for (pos, word) in table.words(self.segment).take(capacity.saturating_sub(self.noted)) {
                let hash = table.hash_at(pos);
                extra.history.note(capacity, hash, self.number, word.tick(), self.at_ms, Cause::Flushed);
                self.noted += 1;
            }
            self.segment += 1;
        }
        let is_whole = self.noted >= table.len();
        if !is_whole && self.noted < capacity && (self.segment as usize) < table.segments() {
            return None;
        }
        extra.history.end_flush(self.number, self.at_ms, is_whole);
        self.table.take()
    }

    /// Notes the keys of one more segment; the table once all are. No shard may be held.
    fn step(&mut self, engine: &Engine) -> Option<Box<Table>> {
        let keyspace = engine.keyspace();
        // Whoever has claimed the shard keeps it for long: then nothing is noted.
        match keyspace.try_lock(ShardSet::one(self.shard)) {
            Some(mut locked) => match locked.only() {
                Some(guarded) => self.note(engine.insight.departures(engine), &mut guarded.extra),
                None => self.table.take(),
            },
            None => self.table.take(),
        }
    }
}

impl Engine {
    /// Takes the large ones out of values that nobody can reach any more, to free them in slices.
    pub(crate) fn reclaim(&self, objects: &mut Vec<Object>) {
        /// Elements that are dropped at once.
        const AT_ONCE: usize = 64;
        for object in objects.extract_if(.., |object| object.weight() > AT_ONCE) {
            self.reclaim_later(Garbage::Object(object));
        }
    }

    /// Puts garbage in line.
    pub(crate) fn reclaim_later(&self, garbage: Garbage) {
        self.garbage_count.fetch_add(1, Relaxed);
        self.garbage.lock().push_back(garbage);
    }

    /// Garbage that waits, and what has been freed so far.
    pub(crate) fn garbage_counts(&self) -> (u64, u64) {
        (self.garbage_count.load(Relaxed), self.freed_count.load(Relaxed))
    }

    pub(crate) fn reset_freed_count(&self) {
        self.freed_count.store(0, Relaxed);
    }

    /// Frees garbage as far as `budget` goes; whether some is left.
    pub(crate) fn free_garbage(&self, budget: &Budget) -> bool {
        /// Blocks freed between two looks at the clock.
        const BLOCKS: usize = 8;
        if self.garbage_count.load(Relaxed) == 0 {
            return false;
        }
        while let Some(mut garbage) = { self.garbage.lock().pop_front() } {
            loop {
                let done = match &mut garbage {
                    Garbage::Object(object) => object.free_step(BLOCKS),
                    Garbage::Table(table) => table.free_step(BLOCKS),
                    Garbage::Flushed(flushed) => {
                        if let Some(table) = flushed.step(self) {
                            garbage = Garbage::Table(table);
                        }
                        false
                    }
                };
                if done {
                    self.garbage_count.fetch_sub(1, Relaxed);
                    self.freed_count.fetch_add(1, Relaxed);
                    break;
                }
                if budget.is_spent() {
                    self.garbage.lock().push_front(garbage);
                    return true;
                }
            }
        }
        false
    }
}
