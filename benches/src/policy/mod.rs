//! Eviction policies that a trace is replayed through: the server's own ([`engine`]), models of what the literature knows, each in
//! a file of its own, and caches that Rust programs embed ([`crates`]). [`POLICIES`] and [`engine::POLICIES`] list them.
//!
//! A policy is asked for one key after the other, and stores the key if it was not there. Keys are numbers from 0 on. Each weighs
//! one, so that a cache of so many objects holds just as many, or as many bytes as its object has.

pub mod arc;
pub mod crates;
pub mod engine;
pub mod fifo;
pub mod lirs;
pub mod list;
pub mod lru;
pub mod opt;
pub mod redis;
pub mod s3fifo;
pub mod sieve;
pub mod sketch;
pub mod wtinylfu;

use std::sync::{Arc, OnceLock};

use larder_storage::evict::WHOLE_SIZE;

use crate::trace::Trace;
use list::{Links, NONE};

/// A cache under one policy.
pub trait Model {
    /// Asks for a key and puts it in if it is not there; whether it was. Its weight is within the capacity.
    fn request(&mut self, key: u32) -> bool;

    /// Notes a request for an object that is larger than the cache, and changes nothing.
    fn pass(&mut self) {}

    /// What all residents weigh.
    fn resident(&self) -> u64;
}

/// What keys weigh: all of them one, or each something else.
#[derive(Clone, Debug)]
pub struct Weights(Option<Arc<[u32]>>);

impl Weights {
    /// Each weighs one.
    pub const UNIT: Self = Self(None);

    /// The weights of all keys. None is less than one.
    pub fn each(weights: Arc<[u32]>) -> Self {
        Self(Some(weights))
    }

    /// What a key weighs.
    #[inline]
    pub fn of(&self, key: u32) -> u64 {
        self.0.as_ref().map_or(1, |weights| u64::from(weights[key as usize].max(1)))
    }

    /// Whether they are not all one.
    pub fn vary(&self) -> bool {
        self.0.is_some()
    }

    /// The greatest.
    pub fn most(&self) -> u64 {
        self.0.as_ref().and_then(|weights| weights.iter().max()).map_or(1, |most| u64::from((*most).max(1)))
    }

    fn total(&self, keys: usize) -> u64 {
        self.0.as_ref().map_or(keys as u64, |weights| weights.iter().map(|weight| u64::from((*weight).max(1))).sum())
    }
}

/// What size weighs to the server's adaptive policies unless it is told otherwise, in 256ths.
pub const USUAL_SIZE_WEIGHT: u32 = WHOLE_SIZE / 4;

/// What a cache is made for.
pub struct Setup<'t> {
    /// The trace to come. Only OPT looks into it; others take the number of keys.
    pub trace: &'t Trace,
    /// What residents may weigh together.
    pub capacity: u64,
    /// What keys weigh.
    pub weights: Weights,
    /// Of all random choices.
    pub seed: u64,
    /// What size weighs to the server's adaptive policies, in 256ths: `maxmemory-size-weight`.
    pub size_weight: u32,
    next_uses: Arc<OnceLock<Arc<Vec<u32>>>>,
}

impl<'t> Setup<'t> {
    /// A cache of so many objects, at least one.
    pub fn objects(trace: &'t Trace, objects: u64) -> Self {
        Self {
            trace,
            capacity: objects.max(1),
            weights: Weights::UNIT,
            seed: 1,
            size_weight: 0,
            next_uses: Arc::default(),
        }
    }

    /// A cache of so many bytes. Where a trace tells no sizes each object has one.
    pub fn bytes(trace: &'t Trace, bytes: u64) -> Self {
        let weights = trace.sizes.clone().map_or(Weights::UNIT, Weights::each);
        Self { weights, size_weight: USUAL_SIZE_WEIGHT, ..Self::objects(trace, bytes) }
    }

    /// The same with another capacity.
    pub fn with_capacity(&self, capacity: u64) -> Self {
        let (weights, next_uses) = (self.weights.clone(), Arc::clone(&self.next_uses));
        Self { capacity: capacity.max(1), weights, next_uses, ..*self }
    }

    /// Links for all keys.
    fn links(&self) -> Links {
        Links::new(self.trace.keys, self.weights.clone())
    }

    /// How many entries the cache will have, about.
    fn entries(&self) -> usize {
        let total = self.weights.total(self.trace.keys).max(1);
        let entries = u128::from(self.capacity) * self.trace.keys as u128 / u128::from(total);
        (entries as usize).clamp(1, self.trace.keys.max(1))
    }

    /// Per request, the next one of the same key; made once for all capacities.
    fn next_uses(&self) -> Arc<Vec<u32>> {
        Arc::clone(self.next_uses.get_or_init(|| Arc::new(opt::next_uses(self.trace))))
    }
}

/// A policy that is not the server's own.
pub struct Policy {
    /// What it is called.
    pub name: &'static str,
    /// What it is called in reference files, if otherwise.
    pub alias: &'static str,
    /// Makes an empty cache.
    make: fn(&Setup<'_>) -> Box<dyn Model>,
}

/// All policies that are not the server's own.
pub const POLICIES: &[Policy] = &[
    policy("opt", "", |setup| Box::new(opt::Opt::new(setup))),
    policy("lru", "", |setup| Box::new(lru::Lru::new(setup))),
    policy("fifo", "", |setup| Box::new(fifo::Fifo::new(setup))),
    policy("clock", "", |setup| Box::new(fifo::Fifo::clock(setup))),
    policy("sieve", "", |setup| Box::new(sieve::Sieve::new(setup))),
    policy("s3fifo", "", |setup| Box::new(s3fifo::S3Fifo::new(setup))),
    policy("arc", "", |setup| Box::new(arc::Arc::new(setup))),
    policy("lirs", "", |setup| Box::new(lirs::Lirs::new(setup))),
    policy("wtinylfu", "wtinylfu-climber", |setup| Box::new(wtinylfu::WTinyLfu::climbing(setup))),
    policy("wtinylfu-1pct", "", |setup| Box::new(wtinylfu::WTinyLfu::fixed(setup))),
    policy("redis-lru", "redis-lru-5", |setup| Box::new(redis::Redis::lru(setup, 5))),
    policy("redis-lru-10", "", |setup| Box::new(redis::Redis::lru(setup, 10))),
    policy("redis-lfu", "redis-lfu-1min=10C", |setup| Box::new(redis::Redis::lfu(setup, 10))),
    policy("redis-lfu-1min=C", "", |setup| Box::new(redis::Redis::lfu(setup, 1))),
    policy("moka", "", |setup| Box::new(crates::Moka::new(setup))),
    policy("quick_cache", "", |setup| Box::new(crates::QuickCache::new(setup))),
];

const fn policy(name: &'static str, alias: &'static str, make: fn(&Setup<'_>) -> Box<dyn Model>) -> Policy {
    Policy { name, alias: if alias.is_empty() { name } else { alias }, make }
}

/// The names of all policies, the server's own first.
pub fn names() -> impl Iterator<Item = &'static str> {
    let own = engine::POLICIES.iter().map(|(name, _)| *name);
    own.chain(POLICIES.iter().map(|policy| policy.name))
}

/// An empty cache under a policy; `None` if there is none of this name.
pub fn make(name: &str, setup: &Setup<'_>) -> Option<Box<dyn Model>> {
    if let Some((_, selection)) = engine::POLICIES.iter().find(|(own, _)| *own == name) {
        return Some(Box::new(engine::Engine::new(setup, *selection)));
    }
    find(name).map(|policy| (policy.make)(setup))
}

/// What a policy is called in reference files. The engine's own go by the names of the study that they are built after.
pub fn reference_name(name: &str) -> &str {
    match name {
        "allkeys-lru" => "sampled-lru-pool",
        "allkeys-lfu" => "sampled-agefreq-ghost",
        "allkeys-adaptive" => "sampled-adaptive",
        "allkeys-random" => "random",
        _ => find(name).map_or(name, |policy| policy.alias),
    }
}

fn find(name: &str) -> Option<&'static Policy> {
    POLICIES.iter().find(|policy| policy.name == name || policy.alias == name)
}

#[cfg(test)]
pub(crate) mod testing;
