//! Adaptive: age is weighed against frequency as in [`lfu`](super::lfu), by the one of several tables of weights that
//! suits the requests of late.
//!
//! For each table there is a [miniature](super::miniature): a small cache without values, fed with a slice of the keys, which says how
//! often it would have had what was asked for. After each turnover of the slice the tables are compared, and the best
//! is used from then on. No entry is touched by that: all tables rank by the same histories.
//!
//! The slice is a share of the keys in which the cache holds [`held_in_slice`] of them; it becomes smaller as the
//! cache grows. Until the cache evicts for the first time the miniatures have no limit either, so that they hold what it holds.
//!
//! A key that is deleted, or expires, leaves the miniatures and is not remembered. With `volatile` they see only keys
//! that have an expiry.

use super::competition::Competition;
use super::ghost::Welcome;
use super::miniature::{Model, Rules};
use super::samples::{Event, Listener, Sample};
use super::weights::{WHOLE_SIZE, Weights, weight_of_size};
use super::{Policy, Seen};
use crate::index::Pos;
use crate::keyspace::{Keyspace, ShardSet};
use crate::rng::Rng;
use crate::table::Table;
use crate::word::Word;

/// The tables to choose from; the first one to begin with.
pub(super) static TABLES: [Weights; 8] = [
    // Most traffic of web sites, of databases and of keys with values.
    Weights::new(3, 4, Welcome { lucky: 0, credit: true }),
    // Only the last use counts.
    Weights::new(0, 0, Welcome { lucky: 0, credit: true }),
    // What is popular changes.
    Weights::new(1, 2, Welcome { lucky: 0, credit: true }),
    // What is popular stays so.
    Weights::new(4, 8, Welcome { lucky: 0, credit: true }),
    // Loops and scans larger than the cache.
    Weights::new(8, 4, Welcome { lucky: 32, credit: true }),
    // The same where most keys return, though later than any cache could wait for: that they do says nothing.
    Weights::new(10, 4, Welcome { lucky: 128, credit: false }),
    // Loops larger than the cache, again: what is there stays, and what comes makes way for what comes next.
    Weights::new(8, 4, Welcome { lucky: 0, credit: true }).newest_first(),
    // The same where what makes way is still remembered when it returns.
    Weights::new(8, 4, Welcome { lucky: 32, credit: false }).newest_first(),
];

/// The slice stays as it is while it holds between these parts of what it should.
const HOLDS: std::ops::RangeInclusive<f64> = 0.75..=1.5;

/// How many keys of a cache of so many are in the slice, about.
fn held_in_slice(keys: usize) -> usize {
    const FEWEST: usize = 256;
    const MOST: usize = 8192;
    (keys / 64).min(1024).max(keys / 256).clamp(FEWEST, MOST)
}

/// A table of weights, as a policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weighed {
    weights: &'static Weights,
    /// In 256ths.
    size_weight: u32,
}

impl Weighed {
    pub(super) fn new(weights: &'static Weights, size_weight: u32) -> Self {
        Self { weights, size_weight }
    }

    /// Whether hardly anything stays that was not there before.
    pub(super) fn is_closed(&self) -> bool {
        self.weights.is_closed()
    }

    /// What a size adds to a rank, which smaller ones do not pass.
    pub(super) fn most_by_size(&self, size: u32) -> u64 {
        if self.size_weight == 0 { 0 } else { weight_of_size(size, self.size_weight) }
    }
}

impl Policy for Weighed {
    /// The entry's bytes, if they count.
    #[inline]
    fn note(&self, table: &Table, pos: Pos, _rng: &mut Rng) -> u64 {
        if self.size_weight == 0 { 0 } else { table.weight_of(table.word(pos)) as u64 }
    }

    /// What the largest cell adds.
    #[inline]
    fn most_by_note(&self, table: &Table) -> u64 {
        self.most_by_size(table.most_weight() as u32)
    }

    #[inline]
    fn youngest(&self, bar: u64, most: u64) -> u32 {
        self.weights.youngest(bar.saturating_sub(most))
    }

    /// What owns memory may be of any size.
    #[inline]
    fn bound(&self, word: Word, tick: u32, most: u64) -> u64 {
        if word.owns() { u64::MAX } else { self.weights.rank(word, tick) + most }
    }

    #[inline]
    fn rank(&self, seen: Seen, tick: u32) -> u64 {
        if self.size_weight == 0 {
            return self.weights.rank(seen.word, tick);
        }
        let size = u32::try_from(seen.note).unwrap_or(u32::MAX);
        self.weights.rank_with_size(seen.word, tick, size, self.size_weight)
    }
}

/// The table in which only the last use counts.
pub(super) fn by_age() -> &'static Weights {
    &TABLES[1]
}

/// A table as a model.
pub(super) fn model(number: usize, size_weight: u32) -> (Model, Welcome) {
    let table = &TABLES[number];
    (Model::Weighed(Weighed::new(table, size_weight)), table.welcome)
}

/// The tables as models.
pub(super) fn models(size_weight: u32) -> impl Iterator<Item = (Model, Welcome)> {
    (0..TABLES.len()).map(move |number| model(number, size_weight))
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Adaptive {
    competition: Competition,
    /// In 256ths; see [`Weighed`].
    size_weight: u32,
    volatile: bool,
    /// The part of all keys that is in the slice.
    part: f64,
    /// Bytes that the slice's part of the cache takes, once the cache is full.
    limit: Option<u64>,
    /// After how many uses of keys in the slice tables are compared.
    turnover: usize,
    rng: Rng,
}

impl Adaptive {
    pub(super) fn new(seed: u64, volatile: bool, size_weight: u32) -> Self {
        Self {
            competition: Competition::new(models(size_weight)),
            size_weight,
            volatile,
            part: 1.0,
            limit: None,
            turnover: held_in_slice(0),
            rng: Rng::seeded(seed),
        }
    }

    /// The policy as it is now.
    #[inline]
    pub(super) fn policy(&self) -> Weighed {
        Weighed { weights: &TABLES[self.competition.best()], size_weight: self.size_weight }
    }

    /// How keys begin as it is now.
    pub(super) fn welcome(&self) -> Welcome {
        TABLES[self.competition.best()].welcome
    }

    /// What a power of two of size weighs, in 256ths of one of age.
    pub(super) fn set_size_weight(&mut self, weight: u32) {
        self.size_weight = weight.min(WHOLE_SIZE);
        self.competition.set_models(models(self.size_weight).map(|(model, _)| model));
    }

    /// Bytes that the miniatures take.
    pub(super) fn memory(&self) -> usize {
        self.competition.memory()
    }

    /// Whether the cache has not evicted yet.
    #[inline]
    pub(super) fn is_filling(&self) -> bool {
        self.limit.is_none()
    }

    /// Learns from samples; whether another table is used now. No shard may be held.
    pub(super) fn learn<X: Default>(&mut self, keyspace: &Keyspace<X>, samples: &[Sample]) -> bool {
        let before = self.competition.best();
        for sample in samples {
            if keyspace.slice().takes_for(Listener::Policy, sample.hash) {
                self.feed(keyspace, *sample);
            }
        }
        self.competition.best() != before
    }

    /// Follows the size of the cache, which is full if it has evicted. No shard may be held.
    pub(super) fn begin_to_evict<X: Default>(&mut self, keyspace: &Keyspace<X>) {
        self.limit = Some(u64::MAX);
        self.measure(keyspace);
    }

    fn feed<X: Default>(&mut self, keyspace: &Keyspace<X>, sample: Sample) {
        let limit = self.limit.unwrap_or(u64::MAX);
        let rules = Rules::timeless(limit);
        match sample.event {
            Event::Removed => self.competition.each(&rules, |miniature, _| miniature.remove(sample.hash)),
            Event::Hit | Event::Stored if !self.volatile || sample.expiry != u64::MAX => {
                let rng = &mut self.rng;
                self.competition
                    .compete(&rules, self.turnover, |miniature, rules| miniature.use_key(sample, rules, rng));
                if self.competition.is_fresh() {
                    self.measure(keyspace);
                }
            }
            _ => {}
        }
    }

    /// Fits the slice and the miniatures' limit to the cache.
    fn measure<X: Default>(&mut self, keyspace: &Keyspace<X>) {
        let (mut keys, mut bytes) = (0, 0);
        for shard in 0..keyspace.shards() {
            // While a script holds a shard, things stay as they are.
            let Some(mut locked) = keyspace.try_lock(ShardSet::one(shard)) else { return };
            if let Some(guarded) = locked.only() {
                let (more, size) = guarded.shard.population(self.volatile);
                (keys, bytes) = (keys + more, bytes + size);
            }
        }
        self.turnover = held_in_slice(keys);
        let wanted = (self.turnover as f64 / keys.max(1) as f64).min(1.0);
        if !HOLDS.contains(&(self.part / wanted)) {
            self.part = wanted;
            keyspace.slice().set(Listener::Policy, wanted);
            let rules = Rules::timeless(u64::MAX);
            let stays = |hash| keyspace.slice().takes_for(Listener::Policy, hash);
            self.competition.each(&rules, |miniature, _| miniature.retain(stays));
        }
        if self.limit.is_some() {
            self.limit = Some((bytes as f64 * self.part) as u64);
        }
    }
}
