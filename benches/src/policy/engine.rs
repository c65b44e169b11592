//! The server's own policies: a keyspace with its eviction that holds so many keys, or so many bytes of objects, whatever they take beyond
//! that. (The server's own limit counts all of it.)

use larder_storage::evict::samples::{Event, Listener, Reads, Sample};
use larder_storage::evict::whatif::{Answer, Census, Present, WhatIf};
use larder_storage::evict::{Choice, Chooser, Rebase, Rule, Selection};
use larder_storage::keyspace::{Keyspace, Options, ShardSet};
use larder_storage::shard::NewEntry;
use larder_storage::types::{Env, Limits};
use larder_storage::value::Content;

use super::{Model, Setup, Weights};

/// The policies, by the names that `maxmemory-policy` gives them. Those for keys that expire see keys that all do, in the
/// order in which they were stored, long after the trace is over.
pub const POLICIES: &[(&str, Selection)] = &[
    ("allkeys-lru", Selection { rule: Rule::Lru, volatile: false }),
    ("allkeys-lfu", Selection { rule: Rule::Lfu, volatile: false }),
    ("allkeys-adaptive", Selection { rule: Rule::Adaptive, volatile: false }),
    ("allkeys-random", Selection { rule: Rule::Random, volatile: false }),
    ("volatile-lru", Selection { rule: Rule::Lru, volatile: true }),
    ("volatile-lfu", Selection { rule: Rule::Lfu, volatile: true }),
    ("volatile-adaptive", Selection { rule: Rule::Adaptive, volatile: true }),
    ("volatile-random", Selection { rule: Rule::Random, volatile: true }),
    ("volatile-ttl", Selection { rule: Rule::Ttl, volatile: true }),
];

/// When the first key expires, in milliseconds.
const FIRST_EXPIRY: u64 = 1 << 40;
/// Every so many inserts old histories are brought up to date in so many segments, as the server does in the background.
const REBASE_EVERY: u64 = 1024;
const REBASED: u32 = 64;
/// Every so many requests what the server does once a second for [`WhatIf`] is done.
const MEASURE_EVERY: u64 = 1024;
/// Where objects have sizes, a value is as long as the object without its key.
const KEY_BYTES: usize = size_of::<u32>();

/// See the module's page.
pub struct Engine {
    keyspace: Keyspace<()>,
    chooser: Chooser,
    rebase: Rebase,
    selection: Selection,
    capacity: u64,
    weights: Weights,
    weight: u64,
    inserts: u64,
    evicted: u64,
    /// What the entry of the last request takes.
    entry_bytes: u32,
    size_weight: u32,
    /// What values are cut from.
    value: Vec<u8>,
    /// What is asked what other policies would do, and reads since it was told of them.
    what_if: Option<Box<WhatIf>>,
    hits: u64,
    misses: u64,
    /// Reads since the last sample.
    reads: Reads,
}

impl Engine {
    /// An empty cache.
    pub fn new(setup: &Setup<'_>, selection: Selection) -> Self {
        let keyspace = Keyspace::new(Options { shards: 64, databases: 1, seed: setup.seed });
        let mut chooser = Chooser::new(setup.seed);
        chooser.set_size_weight(setup.size_weight);
        chooser.select(&keyspace, Some(selection));
        let longest = if setup.weights.vary() { setup.weights.most().min(setup.capacity) as usize } else { 0 };
        Self {
            keyspace,
            chooser,
            rebase: Rebase::new(0),
            selection,
            capacity: setup.capacity,
            weights: setup.weights.clone(),
            weight: 0,
            inserts: 0,
            evicted: 0,
            entry_bytes: 0,
            size_weight: setup.size_weight,
            value: vec![b'v'; longest],
            what_if: None,
            hits: 0,
            misses: 0,
            reads: Reads::default(),
        }
    }

    /// One that can [answer](Engine::answer) what other policies would do.
    pub fn with_what_if(setup: &Setup<'_>, selection: Selection) -> Self {
        let mut engine = Self::new(setup, selection);
        engine.what_if = Some(Box::new(WhatIf::new(setup.seed, engine.present())));
        engine.measure();
        engine
    }

    /// What other policies would have done, where that can be asked.
    pub fn answer(&mut self) -> Option<Answer> {
        self.measure();
        self.what_if.as_ref().map(|what_if| what_if.answer())
    }

    /// What the server would say it goes by. The limit is what would be used if all that may be resident were.
    fn present(&self) -> Present {
        let used = self.keyspace.used_memory() as u128;
        let limit = used * u128::from(self.capacity) / u128::from(self.weight.max(1));
        Present { selection: Some(self.selection), limit: (limit as u64).max(1), size_weight: self.size_weight }
    }

    /// Does what the server does once a second.
    fn measure(&mut self) {
        let present = self.present();
        if let Some(what_if) = &mut self.what_if {
            what_if.note_reads(self.hits, self.misses, 1.0);
            let census = Census { evicted: self.evicted, ..Census::of(&self.keyspace).unwrap_or_default() };
            what_if.measure(self.keyspace.slice(), census, present, 0);
            (self.hits, self.misses) = (0, 0);
        }
    }

    /// Tells of a request who wants to hear of it.
    fn tell(&mut self, hash: u64, hit: bool) {
        self.reads = self.reads.plus(Reads { hits: hit.into(), misses: (!hit).into() });
        if !self.keyspace.slice().takes(hash) {
            return;
        }
        let size = self.entry_bytes;
        let expiry = if self.selection.volatile { FIRST_EXPIRY } else { u64::MAX };
        let for_what_if = self.keyspace.slice().takes_for(Listener::WhatIf, hash);
        let sample = |event| Sample { hash, size, expiry, event, for_what_if, reads: Reads::default() };
        let events = if hit { &[Event::Hit][..] } else { &[Event::Miss, Event::Stored] };
        for event in events {
            self.chooser.learn(&self.keyspace, &[sample(*event)]);
            if let Some(what_if) = &mut self.what_if
                && for_what_if
            {
                what_if.feed(&[(Sample { reads: std::mem::take(&mut self.reads), ..sample(*event) }, 0)]);
            }
        }
    }

    fn touch(&mut self, hash: u64, key: &[u8]) -> bool {
        let tick = self.keyspace.tick();
        let mut locked = self.keyspace.lock(self.keyspace.set_of(hash));
        let Some(table) = locked.only().and_then(|guarded| guarded.shard.table_quiet(0)) else { return false };
        let found = table.find(hash, key);
        if let Some(pos) = found {
            table.touch(pos, tick);
            self.entry_bytes = table.weight_of(table.word(pos)) as u32;
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
                    let key = guarded.shard.table(0).map(|table| table.entry(victim.pos).key().to_vec());
                    let key = key.and_then(|key| key.try_into().ok()).map_or(0, u32::from_le_bytes);
                    let object = guarded.shard.evict(0, hash, victim.pos);
                    drop(locked);
                    drop(object);
                    self.weight -= self.weights.of(key);
                    self.evicted += 1;
                }
                true
            }
            Choice::Later => true,
            Choice::Nothing => false,
        }
    }

    fn insert(&mut self, hash: u64, key: u32) {
        let env = Env { hasher: self.keyspace.hasher(), regions: self.keyspace.regions(), limits: Limits::default() };
        let tick = self.keyspace.tick();
        let weight = self.weights.of(key);
        let len = (weight as usize).saturating_sub(KEY_BYTES).min(self.value.len());
        let content = if self.value.is_empty() { Content::Int(0) } else { Content::string(&self.value[..len]) };
        let expiry = self.selection.volatile.then_some(FIRST_EXPIRY + self.inserts);
        let mut locked = self.keyspace.lock(self.keyspace.set_of(hash));
        let entry = NewEntry { hash, key: &key.to_le_bytes(), content, expiry, tick };
        if let Some(guarded) = locked.only()
            && let Ok(pos) = guarded.shard.insert(0, entry, &env)
        {
            self.weight += weight;
            if let Some(table) = guarded.shard.table(0) {
                self.entry_bytes = table.weight_of(table.word(pos)) as u32;
            }
        }
        drop(locked);
        self.inserts += 1;
        if self.inserts.is_multiple_of(REBASE_EVERY) {
            self.rebase.step(&self.keyspace, REBASED);
        }
    }
}

impl Model for Engine {
    fn request(&mut self, key: u32) -> bool {
        let bytes = key.to_le_bytes();
        let hash = self.keyspace.hash(&bytes);
        let hit = self.touch(hash, &bytes);
        if !hit {
            while self.weight + self.weights.of(key) > self.capacity && self.evict() {}
            self.insert(hash, key);
        }
        self.tell(hash, hit);
        (self.hits, self.misses) = (self.hits + u64::from(hit), self.misses + u64::from(!hit));
        if self.what_if.is_some() && (self.hits + self.misses) >= MEASURE_EVERY {
            self.measure();
        }
        hit
    }

    fn resident(&self) -> u64 {
        self.weight
    }
}

#[cfg(test)]
mod tests {
    use larder_storage::evict::WHOLE_SIZE;
    use larder_storage::rng::Rng;

    use super::*;
    use crate::policy::USUAL_SIZE_WEIGHT;
    use crate::policy::lru::Lru;
    use crate::policy::testing::{random_trace, trace_of};

    #[test]
    fn a_keyspace_holds_its_capacity() {
        let text: String = (0..10_000).map(|number| format!("{number} ")).collect();
        let trace = trace_of(&text);
        for (name, selection) in POLICIES {
            let mut cache = Engine::new(&Setup::objects(&trace, 100), *selection);
            trace.requests.iter().for_each(|key| assert!(!cache.request(*key), "{key} is new"));
            assert_eq!(cache.resident(), 100, "{name}");
            let mut shards = cache.keyspace.lock(cache.keyspace.all());
            assert_eq!(shards.each().map(|(_, guarded)| guarded.shard.len()).sum::<usize>(), 100);
        }
    }

    #[test]
    fn values_are_as_long_as_objects() {
        let trace = trace_of("a b c d").with_sizes(&[3000, 4000, 5000, 2]);
        let mut cache = Engine::new(&Setup::bytes(&trace, 10_000), POLICIES[0].1);
        trace.requests.iter().take(2).for_each(|key| assert!(!cache.request(*key)));
        let used = cache.keyspace.used_memory();
        assert_eq!(cache.resident(), 7000);
        trace.requests.iter().skip(2).for_each(|key| assert!(!cache.request(*key)));
        assert_eq!(cache.resident(), 9002, "a went for c");
        assert!(cache.keyspace.used_memory() - used >= 2002, "values are stored");
        assert!(cache.request(trace.requests[1]), "b stayed");
    }

    #[test]
    fn large_objects_go_sooner_as_the_size_weight_says() {
        // Every second key is 50 times as large, and all are asked for alike.
        let trace = random_trace(2000, 100_000, &mut Rng::seeded(3));
        let sizes: Vec<u32> = (0..trace.keys as u32).map(|key| if key % 2 == 0 { 100 } else { 5000 }).collect();
        let trace = trace.with_sizes(&sizes);
        let hits = |size_weight| {
            let setup = Setup { size_weight, ..Setup::bytes(&trace, 1 << 20) };
            let mut cache = Engine::new(&setup, POLICIES[2].1);
            trace.requests.iter().filter(|key| cache.request(**key)).count()
        };
        let (none, usual, whole) = (hits(0), hits(USUAL_SIZE_WEIGHT), hits(WHOLE_SIZE));
        assert!(none + 2000 < usual && usual + 2000 < whole, "{none} {usual} {whole} of 100,000");
    }

    #[test]
    fn the_usual_size_weight_is_the_servers() {
        let server = larder::Server::builder().build().unwrap();
        let larder::Value::Array(pair) = server.connect().execute(["CONFIG", "GET", "maxmemory-size-weight"]) else {
            panic!("no pair")
        };
        assert_eq!(crate::size::parse_size_weight(pair[1].to_string().trim_matches('"')), Ok(USUAL_SIZE_WEIGHT));
    }

    #[test]
    fn lru_is_close_to_exact() {
        let trace = random_trace(5000, 200_000, &mut Rng::seeded(2));
        let setup = Setup::objects(&trace, 500);
        let (mut cache, mut exact) = (Engine::new(&setup, POLICIES[0].1), Lru::new(&setup));
        let count = |model: &mut dyn Model| trace.requests.iter().filter(|key| model.request(**key)).count();
        let hits = (count(&mut cache), count(&mut exact));
        assert!(hits.0.abs_diff(hits.1) < 400, "{hits:?} of 200,000");
    }
}
