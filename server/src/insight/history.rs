//! What became of the keys that left a shard of late, for CACHE WHY: a ring of records, the newest over the oldest.

use larder_storage::evict::samples::identity;

use crate::config::MaxmemoryPolicy;

/// Records of all shards together.
const RECORDS: usize = 1 << 16;

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

/// How a key left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    /// The key's identity.
    key: u64,
    /// In milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// The tick of its last access.
    pub(crate) tick: u32,
    pub(crate) cause: Cause,
}

/// The keys that left one shard, as far as they are remembered.
#[derive(Debug, Default)]
pub struct History {
    ring: Vec<Departure>,
    /// Where the next record goes once the ring is full.
    next: usize,
}

impl History {
    /// Records that one of `shards` shards remembers.
    pub(crate) fn capacity(shards: usize) -> usize {
        RECORDS / shards
    }

    /// Notes that a key has left a database of one of `shards` shards.
    #[inline]
    pub(crate) fn note(&mut self, shards: usize, hash: u64, db: usize, tick: u32, at_ms: u64, cause: Cause) {
        let departure = Departure { key: identity(hash, db), at_ms, tick, cause };
        if let Some(oldest) = self.ring.get_mut(self.next) {
            *oldest = departure;
            self.next = (self.next + 1) % self.ring.len();
        } else {
            self.grow(shards, departure);
        }
    }

    /// Adds to a ring that is not full. It wraps as soon as it is.
    #[cold]
    fn grow(&mut self, shards: usize, departure: Departure) {
        self.ring.push(departure);
        self.next = if self.ring.len() < Self::capacity(shards) { self.ring.len() } else { 0 };
    }

    /// How a key left last, if it is remembered.
    pub(crate) fn find(&self, hash: u64, db: usize) -> Option<Departure> {
        let (newer, older) = self.ring.split_at(self.next.min(self.ring.len()));
        let own = |departure: &&Departure| departure.key == identity(hash, db);
        // Of a flush some keys are noted after what has happened since. Of what happened at once the last counts.
        older.iter().chain(newer).filter(own).max_by_key(|departure| departure.at_ms).copied()
    }

    /// Bytes of the records.
    pub(crate) fn memory(&self) -> usize {
        self.ring.capacity() * size_of::<Departure>()
    }

    /// When the oldest record was made, if older ones are forgotten.
    pub(crate) fn since_ms(&self) -> Option<u64> {
        self.ring.get(self.next).map(|oldest| oldest.at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_key_is_found_until_the_ring_has_gone_round() {
        const SHARDS: usize = 64;
        let capacity = History::capacity(SHARDS) as u64;
        let mut history = History::default();
        assert_eq!((history.find(1, 0), history.since_ms()), (None, None));
        history.note(SHARDS, 1, 0, 7, 100, Cause::Deleted);
        history.note(SHARDS, 1, 0, 8, 200, Cause::Expired);
        history.note(SHARDS, 1, 0, 9, 150, Cause::Flushed);
        assert_eq!(history.find(1, 0).map(|it| (it.at_ms, it.tick, it.cause)), Some((200, 8, Cause::Expired)));
        assert_eq!(history.find(1, 1), None, "in another database it is another key");
        for key in 2..capacity - 2 {
            history.note(SHARDS, key, 0, 0, 300, Cause::Deleted);
        }
        assert_eq!(history.since_ms(), None, "all is remembered");
        for key in 0..3 {
            history.note(SHARDS, capacity + key, 0, 0, 400, Cause::Evicted(MaxmemoryPolicy::AllkeysLru));
        }
        assert_eq!(history.find(1, 0).map(|it| it.cause), Some(Cause::Flushed), "two of three are overwritten");
        assert_eq!(history.since_ms(), Some(150));
        history.note(SHARDS, 1, 0, 0, 500, Cause::Deleted);
        assert_eq!(history.find(1, 0).map(|it| it.at_ms), Some(500));
        assert_eq!(history.ring.len() as u64, capacity);
    }
}
