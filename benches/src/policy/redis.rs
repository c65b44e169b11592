//! Redis's own LRU and LFU, as its configuration file and "Random notes on improving the Redis LRU algorithm" (Sanfilippo, 2016)
//! tell: of a few keys drawn at random the best go to a pool of 16, whose best is evicted. LRU ranks by idle time. LFU counts in
//! eight bits, with logarithmically falling probability, and takes one off per minute without a use.
//!
//! A trace has no clock. Idle time counts requests; a minute is so many requests as the cache has entries, or ten times as many.

use larder_storage::rng::Rng;

use super::{Model, NONE, Setup, Weights};

const POOL: usize = 16;
/// `lfu-log-factor`, and the counter of a new key.
const LOG_FACTOR: f64 = 10.0;
const NEW: u8 = 5;

/// What ranks keys.
enum Ranking {
    Lru,
    Lfu {
        /// Requests of a minute.
        minute: u64,
    },
}

/// See the module's page.
pub struct Redis {
    ranking: Ranking,
    samples: usize,
    capacity: u64,
    weights: Weights,
    rng: Rng,
    /// The number of the request.
    now: u64,
    residents: Vec<u32>,
    weight: u64,
    /// Per key: its place among the residents, or [`NONE`]; when it was used last, in requests or minutes; its counter.
    places: Vec<u32>,
    used: Vec<u64>,
    counters: Vec<u8>,
    /// Candidates by rising rank.
    pool: Vec<(u64, u32)>,
}

impl Redis {
    /// LRU with so many samples.
    pub fn lru(setup: &Setup<'_>, samples: usize) -> Self {
        Self::new(setup, samples, Ranking::Lru)
    }

    /// LFU with five samples, a minute being so many turnovers.
    pub fn lfu(setup: &Setup<'_>, turnovers: u64) -> Self {
        Self::new(setup, 5, Ranking::Lfu { minute: (setup.entries() as u64 * turnovers).max(1) })
    }

    fn new(setup: &Setup<'_>, samples: usize, ranking: Ranking) -> Self {
        let keys = setup.trace.keys;
        Self {
            ranking,
            samples,
            capacity: setup.capacity,
            weights: setup.weights.clone(),
            rng: Rng::seeded(setup.seed),
            now: 0,
            residents: Vec::new(),
            weight: 0,
            places: vec![NONE; keys],
            used: vec![0; keys],
            counters: vec![0; keys],
            pool: Vec::new(),
        }
    }

    /// The time that uses are noted with.
    fn time(&self) -> u64 {
        match self.ranking {
            Ranking::Lru => self.now,
            Ranking::Lfu { minute } => self.now / minute,
        }
    }

    /// A key's counter, less the minutes since its last use.
    fn decayed(&self, key: u32) -> u8 {
        let minutes = self.time() - self.used[key as usize];
        self.counters[key as usize].saturating_sub(minutes.min(255) as u8)
    }

    fn touch(&mut self, key: u32) {
        if let Ranking::Lfu { .. } = self.ranking {
            let counter = self.decayed(key);
            let base = f64::from(counter.saturating_sub(NEW));
            let chance = 1.0 / (base * LOG_FACTOR + 1.0);
            let drawn = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            self.counters[key as usize] = counter.saturating_add(u8::from(drawn < chance));
        }
        self.used[key as usize] = self.time();
    }

    /// The highest goes first.
    fn rank(&self, key: u32) -> u64 {
        match self.ranking {
            Ranking::Lru => self.now - self.used[key as usize],
            Ranking::Lfu { .. } => 255 - u64::from(self.decayed(key)),
        }
    }

    /// Offers some keys to the pool. What is in it keeps the rank that it came with.
    fn fill_pool(&mut self) {
        for _ in 0..self.samples.min(self.residents.len()) {
            let key = self.residents[self.rng.index(self.residents.len())];
            let rank = self.rank(key);
            let at = self.pool.partition_point(|(other, _)| *other < rank);
            if self.pool.len() < POOL {
                self.pool.insert(at, (rank, key));
            } else if at > 0 {
                self.pool.insert(at, (rank, key));
                self.pool.remove(0);
            }
        }
    }

    fn evict(&mut self) {
        loop {
            self.fill_pool();
            while let Some((_, victim)) = self.pool.pop() {
                let place = std::mem::replace(&mut self.places[victim as usize], NONE);
                if place == NONE {
                    continue;
                }
                self.residents.swap_remove(place as usize);
                if let Some(&moved) = self.residents.get(place as usize) {
                    self.places[moved as usize] = place;
                }
                self.weight -= self.weights.of(victim);
                return;
            }
        }
    }
}

impl Model for Redis {
    fn request(&mut self, key: u32) -> bool {
        self.now += 1;
        if self.places[key as usize] != NONE {
            self.touch(key);
            return true;
        }
        let weight = self.weights.of(key);
        while self.weight + weight > self.capacity {
            self.evict();
        }
        self.places[key as usize] = self.residents.len() as u32;
        self.residents.push(key);
        self.weight += weight;
        self.used[key as usize] = self.time();
        self.counters[key as usize] = NEW;
        false
    }

    fn pass(&mut self) {
        self.now += 1;
    }

    fn resident(&self) -> u64 {
        self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{ids, trace_of};

    /// Of a cache this small the pool sees everything, so it is exact.
    #[test]
    fn lru_of_a_tiny_cache_is_exact() {
        let trace = trace_of(&"a b a c a b ".repeat(50));
        let mut redis = Redis::lru(&Setup::objects(&trace, 2), 64);
        let hits: Vec<bool> = trace.requests[..6].iter().map(|key| redis.request(*key)).collect();
        assert_eq!(hits, [false, false, true, false, true, false]);
    }

    #[test]
    fn counters_rise_ever_more_slowly_and_fall_with_time() {
        let trace = trace_of(&"a ".repeat(100_000));
        let mut redis = Redis::lfu(&Setup::objects(&trace, 1), 1_000_000);
        trace.requests.iter().take(1000).for_each(|key| {
            redis.request(*key);
        });
        // Redis's configuration file: 1000 hits at factor 10 give 18, 100,000 give 142.
        assert!((14..=24).contains(&redis.counters[0]), "{}", redis.counters[0]);
        trace.requests.iter().skip(1000).for_each(|key| {
            redis.request(*key);
        });
        assert!((130..=155).contains(&redis.counters[0]), "{}", redis.counters[0]);
        redis.now += 7 * 1_000_000;
        assert_eq!(redis.decayed(0), redis.counters[0] - 7);
        redis.now += 700 * 1_000_000;
        assert_eq!(redis.decayed(0), 0);
    }

    #[test]
    fn lfu_keeps_what_is_used_often() {
        let text: String = (0..400).map(|number| format!("hot x{number} ")).collect();
        let trace = trace_of(&text);
        let mut redis = Redis::lfu(&Setup::objects(&trace, 20), 1000);
        let hits = trace.requests.iter().filter(|key| redis.request(**key)).count();
        assert_eq!(hits, 399, "hot stays");
        assert_eq!(ids(&trace), 401);
    }
}
