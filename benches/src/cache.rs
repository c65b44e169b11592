//! A keyspace with the server's eviction that holds so many keys, whatever they take: the server's own limit is in bytes.

use larder_storage::evict::samples::{Event, Sample};
use larder_storage::evict::{Choice, Chooser, Selection};
use larder_storage::keyspace::{Keyspace, Options, ShardSet};
use larder_storage::shard::NewEntry;
use larder_storage::types::{Env, Limits};
use larder_storage::value::Content;

/// See the module's page.
pub struct Cache {
    keyspace: Keyspace<()>,
    chooser: Chooser,
    /// What an entry takes: they are all alike.
    entry_bytes: u32,
    capacity: usize,
    len: usize,
}

impl Cache {
    /// An empty cache of `capacity` keys.
    pub fn new(capacity: usize, selection: Selection, seed: u64) -> Self {
        let keyspace = Keyspace::new(Options { shards: 64, databases: 1, seed });
        let mut chooser = Chooser::new(seed);
        chooser.select(&keyspace, Some(selection));
        Self { keyspace, chooser, entry_bytes: 0, capacity: capacity.max(1), len: 0 }
    }

    /// Asks for a key and stores it if it is not there; whether it was.
    pub fn get_or_insert(&mut self, key: u32) -> bool {
        let key = key.to_le_bytes();
        let hash = self.keyspace.hash(&key);
        let hit = self.touch(hash, &key);
        if !hit {
            while self.len >= self.capacity && self.evict() {}
            self.insert(hash, &key);
        }
        if self.keyspace.slice().takes(hash) {
            let sample = Sample { hash, size: self.entry_bytes, event: Event::Used, expires: false };
            self.chooser.learn(&self.keyspace, &[sample]);
        }
        hit
    }

    fn touch(&self, hash: u64, key: &[u8]) -> bool {
        let tick = self.keyspace.tick();
        let mut locked = self.keyspace.lock(self.keyspace.set_of(hash));
        let Some(table) = locked.only().and_then(|guarded| guarded.shard.table_quiet(0)) else { return false };
        let found = table.find(hash, key);
        if let Some(pos) = found {
            table.touch(pos, tick);
        }
        found.is_some()
    }

    /// Whether there may be something to evict still.
    fn evict(&mut self) -> bool {
        match self.chooser.next(&self.keyspace) {
            Choice::Victim(victim) => {
                let mut locked = self.keyspace.lock(ShardSet::one(victim.shard));
                if let Some(guarded) = locked.only()
                    && let Some(hash) = victim.stands(&guarded.shard)
                {
                    guarded.shard.evict(0, hash, victim.pos);
                    self.len -= 1;
                }
                true
            }
            Choice::Later => true,
            Choice::Nothing => false,
        }
    }

    fn insert(&mut self, hash: u64, key: &[u8]) {
        let env = Env { hasher: self.keyspace.hasher(), regions: self.keyspace.regions(), limits: Limits::default() };
        let tick = self.keyspace.tick();
        let mut locked = self.keyspace.lock(self.keyspace.set_of(hash));
        let entry = NewEntry { hash, key, content: Content::Int(0), expiry: None, tick };
        let Some(guarded) = locked.only() else { return };
        if let Ok(pos) = guarded.shard.insert(0, entry, &env)
            && let Some(table) = guarded.shard.table(0)
        {
            self.entry_bytes = table.weight_of(table.word(pos)) as u32;
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use larder_storage::evict::Rule;
    use larder_storage::rng::Rng;

    use super::*;
    use crate::lru::Lru;

    #[test]
    fn a_cache_holds_its_capacity() {
        for rule in [Rule::Lru, Rule::Lfu, Rule::Random] {
            let mut cache = Cache::new(100, Selection { rule, volatile: false }, 1);
            (0..10_000).for_each(|key| assert!(!cache.get_or_insert(key), "{key} is new"));
            assert_eq!(cache.len, 100, "{rule:?}");
            let mut shards = cache.keyspace.lock(cache.keyspace.all());
            assert_eq!(shards.each().map(|(_, guarded)| guarded.shard.len()).sum::<usize>(), 100);
        }
    }

    #[test]
    fn lru_is_close_to_exact() {
        let (keys, capacity) = (5000, 500);
        let mut cache = Cache::new(capacity, Selection { rule: Rule::Lru, volatile: false }, 1);
        let (mut exact, mut rng) = (Lru::new(capacity, keys), Rng::seeded(2));
        let mut hits = (0, 0);
        for _ in 0..200_000 {
            // Low numbers are asked for more often.
            let key = (0..3).map(|_| rng.index(keys)).min().unwrap_or(0) as u32;
            hits.0 += usize::from(cache.get_or_insert(key));
            hits.1 += usize::from(exact.get_or_insert(key));
        }
        assert!(hits.0.abs_diff(hits.1) < 400, "{hits:?} of 200,000");
    }
}
