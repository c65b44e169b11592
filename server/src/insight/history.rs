//! What became of the keys that left a shard of late, for CACHE WHY: a ring of records, the newest over the oldest.
//!
//! A record has 12 bytes. Of the key it has 32 bits beside those that choose the shard, so that one in 65,000 times a key that never was
//! is taken for one of 65,536 others; of the time hundredths of a second, and so not more than a year of it.

use larder_storage::evict::samples::identity;
use larder_storage::heap;
use larder_storage::word::TICKS;

use crate::config::{Choice, MaxmemoryPolicy};

/// Records of all shards together, at least; more where there is more memory: a share of it, one in so many bytes.
const FEWEST: usize = 1 << 16;
const SHARE: u64 = 128;
/// Records of one shard, at most: looking for a key looks at all.
const MOST_OF_SHARD: usize = 1 << 16;
/// Databases that were exchanged, and flushes whose keys are being noted, of which a shard knows.
const MOST: usize = 64;
/// The time that a record knows of, in milliseconds.
pub(crate) const UNIT_MS: u64 = 10;

/// Why a key left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// For want of memory, under this policy.
    Evicted(MaxmemoryPolicy),
    /// Its time had come.
    Expired,
    /// A command removed it, or moved it elsewhere.
    Deleted,
    /// Its database was emptied.
    Flushed,
}

/// The number of the first policy; smaller ones are other causes.
const POLICIES: u32 = 3;

impl Cause {
    fn number(self) -> u32 {
        match self {
            Self::Expired => 0,
            Self::Deleted => 1,
            Self::Flushed => 2,
            Self::Evicted(policy) => POLICIES + policy as u32,
        }
    }

    fn of_number(number: u32) -> Self {
        match number {
            0 => Self::Expired,
            1 => Self::Deleted,
            2 => Self::Flushed,
            more => Self::Evicted(MaxmemoryPolicy::from_index((more - POLICIES) as u8)),
        }
    }
}

/// How a key left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    /// In milliseconds since 1970, in steps of [`UNIT_MS`].
    pub(crate) at_ms: u64,
    /// The tick of its last access.
    pub(crate) tick: u32,
    pub(crate) cause: Cause,
}

/// A departure as it is kept.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// Of the key's identity.
    key: u32,
    /// In [`UNIT_MS`], modulo its range.
    at: u32,
    /// The tick, and in the bits that it leaves the cause.
    tick_and_cause: u32,
}

/// What a record has of the key: bits that choose neither the shard nor its place there alone.
fn fingerprint(hash: u64, db: usize) -> u32 {
    let identity = identity(hash, db);
    (identity ^ identity >> 32) as u32
}

fn units(at_ms: u64) -> u32 {
    (at_ms / UNIT_MS) as u32
}

impl Record {
    fn new(key: u32, at_ms: u64, tick: u32, cause: Cause) -> Self {
        Self { key, at: units(at_ms), tick_and_cause: cause.number() * TICKS | tick % TICKS }
    }

    /// How long ago it was, in [`UNIT_MS`]; a clock that was set back makes it just now.
    fn age(self, now_ms: u64) -> u32 {
        units(now_ms).wrapping_sub(self.at).cast_signed().max(0).cast_unsigned()
    }

    /// When it was, which is less than half a year before or after `near_ms`.
    fn at_ms(self, near_ms: u64) -> u64 {
        let later = self.at.wrapping_sub(units(near_ms)).cast_signed();
        (near_ms / UNIT_MS).saturating_add_signed(later.into()) * UNIT_MS
    }
}

/// The keys that left one shard, as far as they are remembered.
#[derive(Debug, Default)]
pub struct History {
    ring: Vec<Record>,
    /// Where the next record goes once the ring is full.
    next: usize,
    /// Until when departures may have been forgotten, in milliseconds since 1970.
    since_ms: u64,
    /// Flushes of which not all keys have been noted: the number of the database, and when.
    flushes: Vec<(usize, u64)>,
    /// Databases that were exchanged, each with the number under which its keys are kept. All others have their own.
    exchanged: Vec<(usize, usize)>,
}

impl History {
    /// Records that one of `shards` shards remembers where the cache may have, or has, so many bytes.
    pub(crate) fn capacity(shards: usize, bytes: u64) -> usize {
        let fitting = usize::try_from(bytes / SHARE).unwrap_or(usize::MAX) / size_of::<Record>();
        // In powers of two, so that it seldom changes while the data grows.
        let records = 1 << fitting.max(FEWEST).ilog2();
        (records / shards).min(MOST_OF_SHARD)
    }

    /// The number under which the keys of a database are kept.
    #[inline]
    pub(crate) fn number(&self, db: usize) -> usize {
        self.exchanged.iter().find(|(exchanged, _)| *exchanged == db).map_or(db, |(_, number)| *number)
    }

    /// Exchanges two databases with what is remembered of them; of many exchanged ones nothing is remembered.
    pub(crate) fn swap(&mut self, one: usize, other: usize, now_ms: u64) {
        let (of_one, of_other) = (self.number(one), self.number(other));
        self.exchanged.retain(|(db, _)| *db != one && *db != other);
        let exchanged = [(one, of_other), (other, of_one)];
        self.exchanged.extend(exchanged.into_iter().filter(|(db, number)| db != number));
        if self.exchanged.len() > MOST {
            *self = Self { since_ms: now_ms, ..Self::default() };
        }
    }

    /// Begins to note the keys of a database that was emptied, which is kept under this number.
    pub(crate) fn begin_flush(&mut self, number: usize, at_ms: u64) {
        self.flushes.push((number, at_ms));
        if self.flushes.len() > MOST {
            *self = Self { since_ms: at_ms, exchanged: std::mem::take(&mut self.exchanged), ..Self::default() };
        }
    }

    /// No more of its keys are noted; `whole` if all were.
    pub(crate) fn end_flush(&mut self, number: usize, at_ms: u64, whole: bool) {
        if let Some(at) = self.flushes.iter().position(|flush| *flush == (number, at_ms)) {
            self.flushes.swap_remove(at);
        }
        if !whole {
            self.forget_until(at_ms);
        }
    }

    fn forget_until(&mut self, at_ms: u64) {
        self.since_ms = self.since_ms.max(at_ms);
    }

    /// Notes that a key has left a database, which is kept under this number, of a shard that remembers so many.
    #[inline]
    pub(crate) fn note(&mut self, capacity: usize, hash: u64, number: usize, tick: u32, at_ms: u64, cause: Cause) {
        let record = Record::new(fingerprint(hash, number), at_ms, tick, cause);
        if self.ring.len() == capacity
            && let Some(oldest) = self.ring.get_mut(self.next)
        {
            let forgotten = std::mem::replace(oldest, record);
            self.next = (self.next + 1) % capacity;
            self.forget_until(forgotten.at_ms(at_ms));
        } else {
            heap::fixed(|| self.refit(capacity, record, at_ms));
        }
    }

    /// Adds to a ring that is not full, or not as large as it should be.
    #[cold]
    fn refit(&mut self, capacity: usize, record: Record, at_ms: u64) {
        let oldest = self.next.min(self.ring.len());
        self.ring.rotate_left(oldest);
        let surplus = (self.ring.len() + 1).saturating_sub(capacity);
        if surplus > 0 {
            let forgotten = self.ring.drain(..surplus.min(self.ring.len()));
            let last = forgotten.map(|forgotten| forgotten.at_ms(at_ms)).max();
            self.ring.shrink_to(capacity);
            self.forget_until(last.unwrap_or_default());
        }
        self.ring.push(record);
        self.next = 0;
    }

    /// How a key left last, if it is remembered.
    pub(crate) fn find(&self, hash: u64, db: usize, now_ms: u64) -> Option<Departure> {
        let number = self.number(db);
        let key = fingerprint(hash, number);
        let (newer, older) = self.ring.split_at(self.next.min(self.ring.len()));
        let own = older.iter().chain(newer).filter(|record| record.key == key);
        // Of a flush some keys are noted after what has happened since. Of what happened at once the last counts.
        let last = own.rev().min_by_key(|record| record.age(now_ms))?;
        let (tick, cause) = (last.tick_and_cause % TICKS, Cause::of_number(last.tick_and_cause / TICKS));
        let departure = Departure { at_ms: last.at_ms(now_ms).min(now_ms), tick, cause };
        // Since then it may have come back, and have been flushed.
        (departure.at_ms + UNIT_MS > self.flushed_ms(number)).then_some(departure)
    }

    /// When a database was emptied of keys that have not been noted yet; 0 if all have been.
    fn flushed_ms(&self, number: usize) -> u64 {
        let own = self.flushes.iter().filter(|(flushed, _)| *flushed == number);
        own.map(|(_, at_ms)| *at_ms).max().unwrap_or_default()
    }

    /// Bytes of the records.
    pub(crate) fn memory(&self) -> usize {
        self.ring.capacity() * size_of::<Record>()
    }

    /// Since when all keys that left a database are remembered, in milliseconds since 1970; 0 if they always were.
    pub(crate) fn since_ms(&self, db: usize) -> u64 {
        self.since_ms.max(self.flushed_ms(self.number(db)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_key_is_found_until_the_ring_has_gone_round() {
        let capacity = History::capacity(64, 0);
        let mut history = History::default();
        assert_eq!((history.find(1, 0, 500), history.since_ms(0)), (None, 0));
        history.note(capacity, 1, 0, 7, 100, Cause::Deleted);
        history.note(capacity, 1, 0, 8, 200, Cause::Expired);
        history.note(capacity, 1, 0, 9, 150, Cause::Flushed);
        let found = |history: &History, now| history.find(1, 0, now).map(|it| (it.at_ms, it.tick, it.cause));
        assert_eq!(found(&history, 1000), Some((200, 8, Cause::Expired)));
        assert_eq!(history.find(1, 1, 1000), None, "in another database it is another key");
        for key in 2..capacity as u64 - 2 {
            history.note(capacity, key << 8, 0, 0, 300, Cause::Deleted);
        }
        assert_eq!(history.since_ms(0), 0, "all is remembered");
        for key in 0..3 {
            let cause = Cause::Evicted(MaxmemoryPolicy::AllkeysLru);
            history.note(capacity, (capacity as u64 + key) << 8, 0, 0, 400, cause);
        }
        assert_eq!(found(&history, 1000).map(|it| it.2), Some(Cause::Flushed), "two of three are overwritten");
        assert_eq!(history.since_ms(0), 200);
        history.note(capacity, 1, 0, 0, 500, Cause::Deleted);
        assert_eq!(found(&history, 1000).map(|it| it.0), Some(500));
        assert_eq!(history.ring.len(), capacity);
        assert_eq!(found(&history, 400).map(|it| it.0), Some(400), "a clock that was set back");
    }

    #[test]
    fn a_ring_follows_its_capacity_and_keeps_the_newest() {
        let mut history = History::default();
        let note = |history: &mut History, capacity, keys: std::ops::Range<u64>| {
            keys.for_each(|key| history.note(capacity, key << 8, 0, 0, 1000 + 10 * key, Cause::Expired));
        };
        let known =
            |history: &History| (0..500).filter(|key| history.find(key << 8, 0, 9000).is_some()).collect::<Vec<u64>>();
        note(&mut history, 100, 0..150);
        assert_eq!(known(&history), (50..150).collect::<Vec<u64>>());
        note(&mut history, 200, 150..151);
        assert_eq!(known(&history), (50..151).collect::<Vec<u64>>());
        assert_eq!(history.since_ms(0), 1000 + 490, "where there is more room now, what was forgotten is so still");
        note(&mut history, 200, 151..320);
        assert_eq!(known(&history), (120..320).collect::<Vec<u64>>());
        assert_eq!(history.since_ms(0), 1000 + 1190);
        note(&mut history, 50, 320..321);
        assert_eq!(known(&history), (271..321).collect::<Vec<u64>>());
        assert_eq!(history.since_ms(0), 1000 + 2700);
        assert!(history.memory() <= 50 * 12, "{}", history.memory());
    }

    #[test]
    fn until_the_keys_of_a_flush_are_noted_nothing_is_known_of_before() {
        let mut history = History::default();
        history.note(10, 1, 0, 0, 100, Cause::Deleted);
        history.note(10, 1, 1, 0, 100, Cause::Deleted);
        history.begin_flush(0, 200);
        history.begin_flush(0, 300);
        let known = |history: &History, db| (history.find(1, db, 400).is_some(), history.since_ms(db));
        assert_eq!((known(&history, 0), known(&history, 1)), ((false, 300), (true, 0)), "it may be among them");
        history.note(10, 2, 0, 0, 300, Cause::Flushed);
        history.note(10, 2, 0, 0, 350, Cause::Deleted);
        assert!(history.find(2, 0, 400).is_some_and(|it| it.cause == Cause::Deleted));
        history.end_flush(0, 300, true);
        assert_eq!(known(&history, 0), (false, 200));
        history.swap(0, 2, 400);
        assert_eq!((known(&history, 2), known(&history, 0)), ((false, 200), (false, 0)));
        history.end_flush(0, 200, true);
        assert_eq!(known(&history, 2), (true, 0), "all are known");
        history.begin_flush(1, 400);
        history.end_flush(1, 400, false);
        assert_eq!((history.since_ms(0), history.since_ms(1)), (400, 400), "there was no room for more");
        (0..100).for_each(|db| history.begin_flush(db, 500));
        assert!(history.flushes.len() <= MOST && history.ring.is_empty() && history.since_ms(99) == 500);
    }

    #[test]
    fn what_is_noted_late_does_not_make_the_history_longer() {
        let mut history = History::default();
        history.note(2, 1, 0, 0, 500, Cause::Deleted);
        history.note(2, 2, 0, 0, 300, Cause::Flushed);
        history.note(2, 3, 0, 0, 300, Cause::Flushed);
        assert_eq!(history.since_ms(0), 500);
        history.note(2, 4, 0, 0, 600, Cause::Deleted);
        assert_eq!(history.since_ms(0), 500);
    }

    #[test]
    fn there_are_more_records_where_there_is_more_memory() {
        assert_eq!(size_of::<Record>(), 12);
        assert_eq!(History::capacity(64, 0), 1024);
        assert_eq!(History::capacity(64, 1 << 30), 8192);
        assert_eq!(History::capacity(64, u64::MAX), MOST_OF_SHARD);
        assert_eq!(History::capacity(1, 1 << 40), MOST_OF_SHARD);
    }

    #[test]
    fn exchanged_databases_take_their_history_with_them() {
        let mut history = History::default();
        let number = history.number(0);
        history.note(10, 1, number, 0, 100, Cause::Deleted);
        history.swap(0, 1, 200);
        assert!(history.find(1, 0, 100).is_none() && history.find(1, 1, 100).is_some());
        history.swap(1, 2, 200);
        assert!(history.find(1, 1, 100).is_none() && history.find(1, 2, 100).is_some());
        history.swap(2, 0, 200);
        assert!(history.find(1, 0, 100).is_some());
        (0..100).for_each(|db| history.swap(2 * db, 2 * db + 1, 300));
        assert!(history.exchanged.len() <= MOST + 2 && history.ring.is_empty());
        assert_eq!(history.since_ms(0), 300);
    }

    #[test]
    fn every_cause_has_a_number() {
        let policies = (0..MaxmemoryPolicy::NAMES.len()).map(|index| MaxmemoryPolicy::from_index(index as u8));
        let causes = policies.map(Cause::Evicted).chain([Cause::Expired, Cause::Deleted, Cause::Flushed]);
        for cause in causes {
            let record = Record::new(1, 0, TICKS - 1, cause);
            assert_eq!(Cause::of_number(record.tick_and_cause / TICKS), cause);
            assert_eq!(record.tick_and_cause % TICKS, TICKS - 1);
        }
    }
}
