//! What eviction hears of the use of keys: see [`larder_storage::evict::samples`].

use larder_storage::evict::samples::{Counted, Event, Listener, Reads, Sample, identity};
use larder_storage::index::Pos;

use super::Locked;

impl Locked<'_> {
    /// Notes that a key is read, if somebody wants to hear of it. An access that leaves no trace is no use.
    #[inline]
    pub(super) fn sample_read(&mut self, hash: u64, key: &[u8]) {
        if self.is_sampled(hash) && !self.no_touch {
            self.note_read(hash, key);
        }
    }

    /// Notes that a key is stored where it was.
    #[inline]
    pub(super) fn sample_store(&mut self, hash: u64, key: &[u8]) {
        if self.is_sampled(hash) && !self.no_touch && !self.repeats(hash, Event::Stored) {
            let db = self.db;
            if let Some(pos) = self.shards.of(hash).shard.table(db).and_then(|table| table.find(hash, key)) {
                self.note_at(hash, pos, Event::Stored);
            }
        }
    }

    /// As [`Locked::sample_store`], for a key whose place is known.
    #[inline]
    pub(super) fn sample_store_at(&mut self, hash: u64, pos: Pos) {
        if self.is_sampled(hash) && !self.no_touch && !self.repeats(hash, Event::Stored) {
            self.note_at(hash, pos, Event::Stored);
        }
    }

    /// Notes that a key's expiry was set or taken away.
    #[inline]
    pub(super) fn sample_expiry(&mut self, hash: u64, pos: Pos) {
        if self.is_sampled(hash) {
            self.note_at(hash, pos, Event::Expiry);
        }
    }

    /// Notes that a key was deleted, or has expired.
    #[inline]
    pub(super) fn sample_removal(&mut self, hash: u64) {
        if self.is_sampled(hash) {
            self.repeats(hash, Event::Removed);
            self.note_absent(hash, Event::Removed);
        }
    }

    /// Whether an event says nothing new. The policy counts them all.
    #[inline]
    fn repeats(&self, hash: u64, event: Event) -> bool {
        let known = identity(hash, self.db);
        !self.engine.keyspace().slice().takes_for(Listener::Policy, known) && self.stats.samples.repeats(known, event)
    }

    #[inline]
    fn is_sampled(&self, hash: u64) -> bool {
        self.engine.keyspace().slice().takes(identity(hash, self.db))
    }

    #[cold]
    fn note_read(&mut self, hash: u64, key: &[u8]) {
        let db = self.db;
        if self.repeats(hash, Event::Hit) {
            return;
        }
        match self.shards.of(hash).shard.table(db).and_then(|table| table.find(hash, key)) {
            Some(pos) => self.note_at(hash, pos, Event::Hit),
            None => self.note_absent(hash, Event::Miss),
        }
    }

    #[cold]
    fn note_at(&mut self, hash: u64, pos: Pos, event: Event) {
        let db = self.db;
        let Some(table) = self.shards.of(hash).shard.table(db) else { return };
        let word = table.word(pos);
        let size = u32::try_from(table.weight_of(word)).unwrap_or(u32::MAX);
        let expiry = if word.expires() { table.entry(pos).expiry() } else { None }.unwrap_or(u64::MAX);
        self.push(identity(hash, db), expiry, size, event);
    }

    #[cold]
    fn note_absent(&self, hash: u64, event: Event) {
        self.push(identity(hash, self.db), u64::MAX, 0, event);
    }

    fn push(&self, hash: u64, expiry: u64, size: u32, event: Event) {
        let (slice, counters) = (self.engine.keyspace().slice(), &self.stats.counters);
        let for_what_if = slice.takes_for(Listener::WhatIf, hash);
        let sample = Sample { hash, expiry, size, event, for_what_if, reads: Reads::default() };
        let counted = Counted { epoch: slice.epoch(), hits: counters.hits.get(), misses: counters.misses.get() };
        if !self.stats.samples.push(sample, counted) && for_what_if {
            self.engine.insight.pause(slice);
        }
    }
}
