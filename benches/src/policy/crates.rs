//! Caches that Rust programs embed, as they are: moka 0.12 (W-TinyLFU) and quick_cache 0.7 (a relative of CLOCK-Pro and S3-FIFO).

use super::{Model, Setup, Weights};

/// moka's `sync::Cache`. Its policy works in the background; here it works off what there is after each miss, so that the cache never holds
/// more than it should.
pub struct Moka {
    cache: moka::sync::Cache<u32, ()>,
    weighted: bool,
}

impl Moka {
    /// An empty cache.
    pub fn new(setup: &Setup<'_>) -> Self {
        let weights = setup.weights.clone();
        let weigh = move |key: &u32, (): &()| weights.of(*key).min(u64::from(u32::MAX)) as u32;
        Self {
            cache: moka::sync::Cache::builder().max_capacity(setup.capacity).weigher(weigh).build(),
            weighted: setup.weights.vary(),
        }
    }
}

impl Model for Moka {
    fn request(&mut self, key: u32) -> bool {
        if self.cache.get(&key).is_some() {
            return true;
        }
        self.cache.insert(key, ());
        self.cache.run_pending_tasks();
        false
    }

    fn resident(&self) -> u64 {
        if self.weighted { self.cache.weighted_size() } else { self.cache.entry_count() }
    }
}

/// Weighs keys for quick_cache.
#[derive(Clone)]
struct Weigher(Weights);

impl quick_cache::Weighter<u32, ()> for Weigher {
    fn weight(&self, key: &u32, (): &()) -> u64 {
        self.0.of(*key)
    }
}

/// quick_cache's `unsync::Cache`.
pub struct QuickCache {
    cache: quick_cache::unsync::Cache<u32, (), Weigher>,
}

impl QuickCache {
    /// An empty cache.
    pub fn new(setup: &Setup<'_>) -> Self {
        let weigher = Weigher(setup.weights.clone());
        Self { cache: quick_cache::unsync::Cache::with_weighter(setup.entries(), setup.capacity, weigher) }
    }
}

impl Model for QuickCache {
    fn request(&mut self, key: u32) -> bool {
        if self.cache.get(&key).is_some() {
            return true;
        }
        self.cache.insert(key, ());
        false
    }

    fn resident(&self) -> u64 {
        self.cache.weight()
    }
}
