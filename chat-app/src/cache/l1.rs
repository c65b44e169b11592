//! L1: the cache in this process. It answers in well under a microsecond, but other servers cannot see into it: without
//! invalidation each would show its own past. It is bounded in bytes and keeps what is popular (quick_cache's S3-FIFO).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::entry::Entry;
use crate::keys::{Group, Query};

/// Bookkeeping of one entry, roughly.
const OVERHEAD: usize = 128;
/// Epochs that groups share; two groups in one only drop each other's fills now and then.
const STRIPES: usize = 1024;

/// See the page of this module.
pub struct L1 {
    cache: Cache<Query, Slot, ByBytes>,
    epochs: Vec<AtomicU64>,
    everything: AtomicU64,
}

/// An entry and the epochs in which it was read.
#[derive(Clone)]
struct Slot {
    entry: Arc<Entry>,
    until_ms: i64,
    epoch: Epoch,
}

/// The state of a group before a read: what is read after it may be put into L1 as long as it has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    group: u64,
    everything: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Query, Slot> for ByBytes {
    fn weight(&self, _: &Query, slot: &Slot) -> u64 {
        (slot.entry.weight() + OVERHEAD) as u64
    }
}

impl L1 {
    /// A cache of at most so many bytes.
    pub fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / 4_096).unwrap_or(usize::MAX).clamp(16, 1 << 20);
        Self {
            cache: Cache::with_weighter(items, bytes, ByBytes),
            epochs: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
            everything: AtomicU64::new(0),
        }
    }

    /// The value, if it is here, fresh, and nothing has made it stale.
    pub fn get(&self, query: &Query, now_ms: i64) -> Option<Arc<Entry>> {
        let slot = self.cache.get(query)?;
        if slot.until_ms <= now_ms || slot.epoch != self.epoch(&query.group()) {
            self.cache.remove(query);
            return None;
        }
        Some(slot.entry)
    }

    /// To be taken before a read whose result is meant for [`L1::put`].
    pub fn epoch(&self, group: &Group) -> Epoch {
        Epoch {
            group: self.epochs[stripe(group)].load(Ordering::Acquire),
            everything: self.everything.load(Ordering::Acquire),
        }
    }

    /// Keeps a value. It is never served if its group was dropped after `epoch` was taken, however late this call is.
    pub fn put(&self, query: &Query, entry: Arc<Entry>, until_ms: i64, epoch: Epoch) {
        self.cache.insert(query.clone(), Slot { entry, until_ms, epoch });
    }

    /// Makes all values of a group stale.
    pub fn drop_group(&self, group: &Group) {
        self.epochs[stripe(group)].fetch_add(1, Ordering::AcqRel);
    }

    /// Makes everything stale: invalidations may have been missed.
    pub fn clear(&self) {
        self.everything.fetch_add(1, Ordering::AcqRel);
        self.cache.clear();
    }

    /// Bytes and number of values in it.
    pub fn size(&self) -> (u64, usize) {
        (self.cache.weight(), self.cache.len())
    }
}

fn stripe(group: &Group) -> usize {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    group.hash(&mut hasher);
    (hasher.finish() as usize) % STRIPES
}

#[cfg(test)]
mod tests {
    use super::L1;
    use crate::cache::entry::Entry;
    use crate::keys::Query;
    use crate::model::RoomId;
    use std::sync::Arc;

    fn page(room: &str) -> Query {
        Query::Messages { room: RoomId::new(room).unwrap(), limit: 50, before: None }
    }

    fn entry(bytes: usize) -> Arc<Entry> {
        let payload = Some(vec![0u8; bytes].into());
        Arc::new(Entry { payload, version: 1, cached_at_ms: 0, fresh_until_ms: 100, cost_us: 0 })
    }

    #[test]
    fn values_end_by_time_by_group_and_altogether() {
        let (l1, query) = (L1::new(1 << 20), page("general"));
        let put = || l1.put(&query, entry(10), 100, l1.epoch(&query.group()));
        put();
        assert!(l1.get(&query, 99).is_some() && l1.get(&query, 100).is_none());
        put();
        l1.drop_group(&page("tech").group());
        assert!(l1.get(&query, 0).is_some());
        l1.drop_group(&query.group());
        assert!(l1.get(&query, 0).is_none());
        put();
        l1.clear();
        assert!(l1.get(&query, 0).is_none());
    }

    #[test]
    fn a_late_fill_is_never_served() {
        let (l1, query) = (L1::new(1 << 20), page("general"));
        let epoch = l1.epoch(&query.group());
        l1.drop_group(&query.group());
        l1.put(&query, entry(10), 100, epoch);
        assert!(l1.get(&query, 0).is_none(), "the group was dropped between read and fill");
    }

    #[test]
    fn it_is_bounded_in_bytes() {
        let l1 = L1::new(1 << 20);
        for number in 0..1_000 {
            let query = page(&format!("room-{number}"));
            l1.put(&query, entry(10_000), 100, l1.epoch(&query.group()));
        }
        let (bytes, count) = l1.size();
        assert!(bytes <= 1 << 20 && count > 50, "{bytes} bytes, {count} values");
    }
}
