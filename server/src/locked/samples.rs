//! What the eviction policy hears of the use of keys: see [`larder_storage::evict::samples`].

use larder_storage::evict::samples::{Event, Sample, identity};
use larder_storage::index::Pos;

use super::Locked;

impl Locked<'_> {
    /// Notes that a key is used, if it is there and the policy wants to hear of it. An access that leaves no trace is
    /// no use.
    #[inline]
    pub(super) fn sample_use(&mut self, hash: u64, key: &[u8]) {
        if self.is_sampled(hash) && !self.no_touch {
            let db = self.db;
            if let Some(pos) = self.shards.of(hash).shard.table(db).and_then(|table| table.find(hash, key)) {
                self.note_use(hash, pos);
            }
        }
    }

    /// As [`Locked::sample_use`], for a key whose place is known.
    #[inline]
    pub(super) fn sample_use_at(&mut self, hash: u64, pos: Pos) {
        if self.is_sampled(hash) && !self.no_touch {
            self.note_use(hash, pos);
        }
    }

    /// Notes that a key was deleted, or has expired.
    #[inline]
    pub(super) fn sample_removal(&mut self, hash: u64) {
        if self.is_sampled(hash) {
            self.note_sample(hash, 0, false, Event::Removed);
        }
    }

    #[inline]
    fn is_sampled(&self, hash: u64) -> bool {
        self.engine.keyspace().slice().takes(identity(hash, self.db))
    }

    #[cold]
    fn note_use(&mut self, hash: u64, pos: Pos) {
        let db = self.db;
        let Some(table) = self.shards.of(hash).shard.table(db) else { return };
        let word = table.word(pos);
        let (size, expires) = (table.weight_of(word), word.expires());
        self.note_sample(hash, size, expires, Event::Used);
    }

    #[cold]
    fn note_sample(&self, hash: u64, size: usize, expires: bool, event: Event) {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.stats.samples.push(Sample { hash: identity(hash, self.db), size, event, expires });
    }
}
