//! The choice of victims from outside: caches of so many keys under each policy, and what they keep.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use larder_storage::evict::samples::{Event, Reads, Sample};
use larder_storage::evict::{Choice, Chooser, Rule, Selection};
use larder_storage::keyspace::{Keyspace, Options, ShardSet};
use larder_storage::rng::Rng;
use larder_storage::shard::NewEntry;
use larder_storage::types::{Env, Limits};
use larder_storage::value::Content;
use larder_storage::word::Word;

/// A cache of `capacity` keys, which are numbers; `expiry` says when each expires.
struct Cache {
    keyspace: Keyspace<()>,
    chooser: Chooser,
    capacity: usize,
    expiry: fn(u64) -> Option<u64>,
    evicted: Vec<u64>,
}

impl Cache {
    fn new(rule: Rule, capacity: usize, seed: u64) -> Self {
        let keyspace = Keyspace::new(Options { shards: 16, databases: 1, seed });
        let mut chooser = Chooser::new(seed);
        chooser.select(&keyspace, Some(Selection { rule, volatile: false }));
        Self { keyspace, chooser, capacity, expiry: |_| None, evicted: Vec::new() }
    }

    fn len(&self) -> usize {
        self.keyspace.lock(self.keyspace.all()).each().map(|(_, guarded)| guarded.shard.len()).sum()
    }

    /// The word of a key, if it is there.
    fn word(&self, key: u64) -> Option<Word> {
        let bytes = key.to_le_bytes();
        let hash = self.keyspace.hash(&bytes);
        let mut locked = self.keyspace.lock(self.keyspace.set_of(hash));
        let table = locked.only()?.shard.table(0)?;
        Some(table.word(table.find(hash, &bytes)?))
    }

    /// Uses a key, which is stored if it is absent; whether it was there.
    fn use_key(&mut self, key: u64) -> bool {
        let bytes = key.to_le_bytes();
        let hash = self.keyspace.hash(&bytes);
        let hit = self.touch(hash, &bytes);
        if !hit {
            while self.len() >= self.capacity && self.evict() {}
            self.insert(hash, key);
        }
        self.tell(hash, Event::Stored, (self.expiry)(key));
        hit
    }

    fn use_keys(&mut self, keys: impl IntoIterator<Item = u64>) {
        keys.into_iter().for_each(|key| {
            self.use_key(key);
        });
    }

    fn tell(&mut self, hash: u64, event: Event, expiry: Option<u64>) {
        if self.keyspace.slice().takes(hash) {
            let expiry = expiry.unwrap_or(u64::MAX);
            self.chooser.learn(
                &self.keyspace,
                &[Sample { hash, expiry, size: 33, event, for_what_if: false, reads: Reads::default() }],
            );
        }
    }

    fn touch(&self, hash: u64, key: &[u8]) -> bool {
        let tick = self.keyspace.tick();
        let mut locked = self.keyspace.lock(self.keyspace.set_of(hash));
        let Some(table) = locked.only().and_then(|guarded| guarded.shard.table_quiet(0)) else { return false };
        table.access(hash, key, Some(tick)).is_some()
    }

    fn insert(&self, hash: u64, key: u64) {
        let env = Env { hasher: self.keyspace.hasher(), regions: self.keyspace.regions(), limits: Limits::default() };
        let tick = self.keyspace.tick();
        let expiry = (self.expiry)(key);
        let entry = NewEntry { hash, key: &key.to_le_bytes(), content: Content::Int(0), expiry, tick };
        let mut locked = self.keyspace.lock(self.keyspace.set_of(hash));
        locked.only().unwrap().shard.insert(0, entry, &env).unwrap();
    }

    fn remove(&mut self, key: u64) {
        let bytes = key.to_le_bytes();
        let hash = self.keyspace.hash(&bytes);
        let mut locked = self.keyspace.lock(self.keyspace.set_of(hash));
        let table = locked.only().unwrap().shard.table_mut(0).unwrap();
        let pos = table.find(hash, &bytes).unwrap();
        table.remove(pos, hash);
        drop(locked);
        self.tell(hash, Event::Removed, None);
    }

    /// Whether there may be something to evict still.
    fn evict(&mut self) -> bool {
        match self.chooser.next(&self.keyspace) {
            Choice::Victim(victim) => {
                let mut locked = self.keyspace.lock(ShardSet::one(victim.shard));
                let shard = &mut locked.only().unwrap().shard;
                if let Some(hash) = victim.stands(shard) {
                    let key = shard.table(0).unwrap().entry(victim.pos).key().try_into().unwrap();
                    shard.evict(0, hash, victim.pos);
                    self.evicted.push(u64::from_le_bytes(key));
                }
                true
            }
            Choice::Later => true,
            Choice::Nothing => false,
        }
    }

    fn validate(&self) {
        let mut locked = self.keyspace.lock(self.keyspace.all());
        for (number, guarded) in locked.each() {
            guarded.shard.validate(self.keyspace.hasher(), |hash| hash as usize % 16 == number);
        }
    }
}

/// Requests that suit different policies.
fn requests(kind: &str, count: usize) -> Vec<u64> {
    let mut rng = Rng::seeded(9);
    (0..count as u64)
        .map(|at| match kind {
            // All keys in turn, more than the cache holds.
            "loop" => at % 700,
            // Each key is used again soon, then never.
            "recent" => at / 3 + rng.below(200),
            // Low numbers are asked for more often.
            _ => (3000.0 * (rng.below(1 << 20) as f64 / f64::from(1 << 20)).powi(4)) as u64,
        })
        .collect()
}

fn hits(rule: Rule, kind: &str) -> usize {
    let mut cache = Cache::new(rule, 500, 1);
    let hits = requests(kind, 60_000).into_iter().filter(|key| cache.use_key(*key)).count();
    cache.validate();
    hits
}

#[test]
fn adaptive_is_as_good_as_the_better_of_lru_and_lfu() {
    for kind in ["loop", "recent", "popular"] {
        let [lru, lfu, adaptive] = [Rule::Lru, Rule::Lfu, Rule::Adaptive].map(|rule| hits(rule, kind));
        assert!(adaptive + 600 > lru.max(lfu), "{kind}: lru {lru}, lfu {lfu}, adaptive {adaptive} of 60,000");
    }
    // The two differ by more than that where they differ.
    assert!(hits(Rule::Lfu, "loop") > hits(Rule::Lru, "loop") + 10_000);
    assert!(hits(Rule::Lru, "recent") > hits(Rule::Lfu, "recent") + 600);
}

#[test]
fn adaptive_keeps_a_part_of_a_loop_whose_evicted_keys_are_remembered() {
    // Each that returns was evicted a moment ago: what is remembered says nothing.
    let mut cache = Cache::new(Rule::Adaptive, 3000, 1);
    let mut lap = || (0..4500).filter(|key| cache.use_key(*key)).count();
    let hits = (0..15).map(|_| lap()).collect::<Vec<_>>();
    assert!(hits[10..].iter().all(|hits| *hits > 2500), "{hits:?}, with 3000 of 4500 keys");
}

#[test]
fn the_same_seed_finds_the_same_victims() {
    let victims = |seed| {
        let mut cache = Cache::new(Rule::Adaptive, 300, seed);
        cache.use_keys(requests("popular", 5000));
        cache.evicted
    };
    let first = victims(1);
    assert!(first.len() > 500);
    assert_eq!(first, victims(1));
    assert_ne!(first, victims(2));
}

#[test]
fn another_policy_touches_no_entry() {
    let mut cache = Cache::new(Rule::Lru, 300, 1);
    cache.use_keys(requests("popular", 5000));
    let words = |cache: &Cache| (0..3000).map(|key| cache.word(key)).collect::<Vec<_>>();
    let before = words(&cache);
    for (rule, volatile) in [(Rule::Adaptive, false), (Rule::Lfu, false), (Rule::Adaptive, true), (Rule::Random, false)]
    {
        cache.chooser.select(&cache.keyspace, Some(Selection { rule, volatile }));
        assert_eq!(words(&cache), before, "{rule:?}");
    }
    // And it goes on from there.
    cache.chooser.select(&cache.keyspace, Some(Selection { rule: Rule::Adaptive, volatile: false }));
    cache.use_keys(requests("popular", 5000));
    assert_eq!(cache.len(), 300);
    cache.validate();
}

#[test]
fn an_evicted_key_is_remembered_and_a_deleted_one_is_not() {
    let mut cache = Cache::new(Rule::Adaptive, 300, 1);
    for key in 0..300 {
        cache.use_keys([key; 5]);
    }
    assert_eq!(cache.word(7).unwrap().frequency(), 4);
    cache.remove(7);
    cache.use_key(7);
    assert_eq!(cache.word(7).unwrap().frequency(), 0);
    cache.use_keys(1000..2000);
    let evicted = *cache.evicted.iter().rev().find(|key| **key < 300 && **key != 7).unwrap();
    cache.use_key(evicted);
    assert_eq!(cache.word(evicted).unwrap().frequency(), 5, "one use more than it had");
}

#[test]
fn keys_without_an_expiry_stay_and_do_not_count() {
    let mut cache = Cache::new(Rule::Adaptive, 600, 1);
    cache.expiry = |key| (key % 2 == 1).then_some(1 << 40);
    cache.chooser.select(&cache.keyspace, Some(Selection { rule: Rule::Adaptive, volatile: true }));
    cache.use_keys(0..600);
    cache.use_keys((0..5000).map(|key| 601 + 2 * key));
    assert!((0..600).step_by(2).all(|key| cache.word(key).is_some()));
    assert!(cache.evicted.iter().all(|key| key % 2 == 1));
    assert_eq!(cache.len(), 600);
}

#[test]
fn what_expires_soonest_goes_first_however_few_expire() {
    let mut cache = Cache::new(Rule::Ttl, 20_000, 1);
    cache.expiry = |key| (key < 300).then(|| (1 << 40) + key * 7919 % 300);
    cache.chooser.select(&cache.keyspace, Some(Selection { rule: Rule::Ttl, volatile: true }));
    for key in 0..20_000u64 {
        cache.insert(cache.keyspace.hash(&key.to_le_bytes()), key);
    }
    while cache.evict() {}
    let places: Vec<u64> =
        cache.evicted.iter().filter_map(|key| (cache.expiry)(*key)).map(|at| at - (1 << 40)).collect();
    assert_eq!(places.len(), 300);
    // The first look at a table finds out when its segments' keys expire, of a bounded number of segments.
    assert!(places.iter().zip(0..).all(|(place, nth)| place.abs_diff(nth) <= 8), "{places:?}");
    assert!(places[100..].is_sorted(), "{places:?}");
    cache.validate();
}

#[test]
fn large_caches_are_learnt_from_a_small_slice() {
    let mut cache = Cache::new(Rule::Adaptive, 20_000, 1);
    // Filling must not take a count of all keys each time.
    (0..20_000u64).for_each(|key| {
        let hash = cache.keyspace.hash(&key.to_le_bytes());
        cache.insert(hash, key);
        cache.tell(hash, Event::Stored, None);
    });
    let sampled = (0..20_000u64).filter(|key| cache.keyspace.slice().takes(cache.keyspace.hash(&key.to_le_bytes())));
    let sampled = sampled.count();
    assert!((150..1000).contains(&sampled), "{sampled} of 20,000");
    assert!(cache.chooser.memory() < 8 * 60_000, "{} bytes", cache.chooser.memory());
    assert!(cache.chooser.memory() > 0);
}
