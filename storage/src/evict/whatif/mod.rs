//! What other policies, and other sizes of memory, would make of the requests of late: a miss-ratio curve per policy.
//!
//! For each policy and size there is a [miniature](super::miniature) cache without values, fed with a slice of the
//! keys that their hashes choose. Waldspurger, Park, Garthwaite and Ahmad, "Efficient MRC Construction with SHARDS" (FAST 2015).
//! See [`estimate`] for how ratios come from what the miniatures missed.
//!
//! What is counted fades, so that the answer is about the last minutes. The slice holds about [`HELD`] keys of what the cache
//! holds; it becomes smaller as the cache grows, and where feeding the miniatures takes too long.

mod estimate;

use estimate::{GROUPS, Misses};

use super::adaptive;
use super::competition::Competition;
use super::ghost::Welcome;
use super::lfu;
use super::miniature::{Miniature, Model, Rules};
use super::samples::{Event, Listener, Sample, Slice};
use super::{Rule, Selection};
use crate::keyspace::{Keyspace, ShardSet};
use crate::rng::Rng;

/// The sizes, as multiples of the present memory.
pub const SIZES: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];
/// The present one of them.
const PRESENT: usize = 2;
/// Keys that the slice holds of what the cache holds, about.
const HELD: f64 = 1024.0;
/// A miniature that holds fewer says nothing.
const FEWEST: f64 = 32.0;
/// The slice stays as it is while it is between these multiples of what it should be.
const HOLDS: std::ops::RangeInclusive<f64> = 0.4..=1.5;
/// Reads, per key that it holds, after which a miniature that began empty beside a full cache is taken to be like one that did not.
const WARM: f64 = 10.0;

/// The policies, in the order of the answer.
const SELECTIONS: [Selection; 9] = {
    const fn selection(rule: Rule, volatile: bool) -> Selection {
        Selection { rule, volatile }
    }
    [
        selection(Rule::Lru, false),
        selection(Rule::Lfu, false),
        selection(Rule::Adaptive, false),
        selection(Rule::Random, false),
        selection(Rule::Lru, true),
        selection(Rule::Lfu, true),
        selection(Rule::Adaptive, true),
        selection(Rule::Random, true),
        selection(Rule::Ttl, true),
    ]
};

/// What the cache goes by at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its policy; `None` where nothing is evicted.
    pub selection: Option<Selection>,
    /// Its limit in bytes, 0 for none.
    pub limit: u64,
    /// What a power of two of size weighs to the adaptive policy, in 256ths of one of age.
    pub size_weight: u32,
}

/// How much a keyspace holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Keys, bytes of their entries, and those of the keys that expire.
    pub keys: usize,
    /// See there.
    pub bytes: usize,
    /// See there.
    pub expiring: usize,
    /// Bytes used in all.
    pub used: usize,
}

impl Census {
    /// Counts. Locks one shard after the other, so none may be held; `None` while a script holds one.
    pub fn of<X: Default>(keyspace: &Keyspace<X>) -> Option<Self> {
        let mut census = Self { used: keyspace.used_memory(), ..Self::default() };
        for shard in 0..keyspace.shards() {
            let mut locked = keyspace.try_lock(ShardSet::one(shard))?;
            if let Some(guarded) = locked.only() {
                let (keys, bytes) = guarded.shard.population(false);
                census.keys += keys;
                census.bytes += bytes;
                census.expiring += guarded.shard.population(true).0;
            }
        }
        Some(census)
    }
}

impl Present {
    fn evicts(&self) -> bool {
        self.limit > 0 && self.selection.is_some()
    }
}

/// An estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Reads that would find their key, from 0 to 1.
    pub hit_ratio: f64,
    /// How far off that may be: the truth is within this in about 19 of 20 cases.
    pub error: f64,
}

/// A policy's estimates, at each of [`SIZES`]; `None` where too little is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curve {
    /// The policy.
    pub selection: Selection,
    /// Its estimates.
    pub estimates: [Option<Estimate>; SIZES.len()],
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Bytes of the present memory.
    pub memory: u64,
    /// Reads that the answer is about; older ones count less.
    pub reads: f64,
    /// The part of them that found their key.
    pub hit_ratio: Option<f64>,
    /// The part of all keys that was looked at.
    pub part: f64,
    /// A line per policy.
    pub curves: Vec<Curve>,
}

/// One policy at one size.
#[derive(Debug)]
struct Point {
    miniature: Miniature,
    /// What the miniature does; the adaptive policy's changes.
    model: Model,
    /// The adaptive policy's tables.
    tables: Option<Competition>,
    misses: Misses,
}

impl Point {
    fn new(selection: Selection, size_weight: u32) -> Self {
        let weighed = |weights| Model::Weighed(adaptive::Weighed::new(weights, 0));
        let (model, welcome) = match selection.rule {
            Rule::Lru => (weighed(adaptive::by_age()), Welcome::default()),
            Rule::Lfu => (weighed(&lfu::WEIGHTS), lfu::WEIGHTS.welcome),
            Rule::Adaptive => adaptive::model(0, size_weight),
            Rule::Random => (Model::Random, Welcome::default()),
            Rule::Ttl => (Model::Ttl, Welcome::default()),
        };
        let tables = (selection.rule == Rule::Adaptive).then(|| Competition::new(adaptive::models(size_weight)));
        Self { miniature: Miniature::new(welcome), model, tables, misses: Misses::default() }
    }

    /// Does what the cache would have done; of a read, whether it would have had the key.
    fn replay(&mut self, sample: Sample, rules: &Rules, turnover: f64, rng: &mut Rng) -> bool {
        if let Some(tables) = &mut self.tables {
            if matches!(sample.event, Event::Hit | Event::Miss) {
                let turnover = turnover.max(FEWEST) as usize;
                tables.compete(rules, turnover, |miniature, rules| miniature.replay(sample, rules, rng));
                if tables.is_fresh() {
                    let (model, welcome) = tables.leader();
                    self.model = model;
                    self.miniature.set_welcome(welcome);
                }
            } else {
                tables.each(rules, |miniature, rules| {
                    miniature.replay(sample, rules, rng);
                });
            }
        }
        self.miniature.replay(sample, &Rules { model: self.model, ..*rules }, rng)
    }

    fn retain(&mut self, stays: impl Fn(u64) -> bool + Copy) {
        self.miniature.retain(stays);
        if let Some(tables) = &mut self.tables {
            tables.each(&Rules::timeless(u64::MAX), |miniature, _| miniature.retain(stays));
        }
    }

    fn memory(&self) -> usize {
        self.miniature.memory() + self.tables.as_ref().map_or(0, Competition::memory)
    }
}

/// One policy at all sizes.
#[derive(Debug)]
struct Column {
    selection: Selection,
    points: [Point; SIZES.len()],
    /// Reads that it saw.
    reads: f64,
    /// Whether it has seen all that the cache holds.
    is_complete: bool,
}

impl Column {
    fn new(selection: Selection, size_weight: u32, is_complete: bool) -> Self {
        Self { selection, points: SIZES.map(|_| Point::new(selection, size_weight)), reads: 0.0, is_complete }
    }
}

/// See the module's page.
#[derive(Debug)]
pub struct WhatIf {
    columns: Vec<Column>,
    /// What would be missed if nothing were evicted.
    everything: Point,
    present: Present,
    /// Whether there were no keys when it began, and whether it has heard of any since.
    began_empty: bool,
    has_seen: bool,
    /// The part of all keys that is in the slice, and the most that it may be.
    part: f64,
    ceiling: f64,
    /// Keys in the slice that the cache holds, and bytes of theirs that the cache has room for.
    held: f64,
    room: f64,
    /// Bytes of the present memory.
    memory: u64,
    /// Reads that found their key, and those that did not.
    hits: f64,
    misses: f64,
    rng: Rng,
}

impl WhatIf {
    /// One that looks at all keys; it begins with [`WhatIf::measure`].
    pub fn new(seed: u64, present: Present) -> Self {
        let everything = Point::new(Selection { rule: Rule::Random, volatile: false }, 0);
        Self {
            columns: Vec::new(),
            everything,
            present,
            began_empty: true,
            has_seen: false,
            part: 0.0,
            ceiling: 1.0,
            held: 0.0,
            room: 0.0,
            memory: 0,
            hits: 0.0,
            misses: 0.0,
            rng: Rng::seeded(seed),
        }
    }

    /// Begins anew.
    fn restart(&mut self) {
        let ceiling = self.ceiling;
        *self = Self { ceiling, ..Self::new(self.rng.next_u64(), self.present) };
    }

    /// Bytes that the miniatures take.
    pub fn memory(&self) -> usize {
        let points = self.columns.iter().flat_map(|column| &column.points);
        points.chain([&self.everything]).map(Point::memory).sum()
    }

    /// Follows the size of the cache and what it goes by. To be called again and again.
    pub fn measure(&mut self, slice: &Slice, census: Census, present: Present) {
        let Census { keys, bytes, expiring, used } = census;
        if self.present.size_weight != present.size_weight || self.present.evicts() != present.evicts() {
            self.part = 0.0;
        }
        self.present = present;
        self.fit(slice, keys);
        self.held = keys as f64 * self.part;
        self.memory = if present.limit > 0 { present.limit } else { used as u64 };
        // Where there is nothing yet, nobody knows how much there is going to be.
        let room =
            if keys == 0 { f64::INFINITY } else { bytes as f64 + self.memory.saturating_sub(used as u64) as f64 };
        self.room = room * self.part;
        self.fit_columns(keys, expiring);
    }

    /// Hears of no key any more.
    pub fn ignore(slice: &Slice) {
        slice.set(Listener::WhatIf, 0.0);
    }

    /// Sets the slice.
    fn fit(&mut self, slice: &Slice, keys: usize) {
        if (keys as f64) < FEWEST && self.has_seen {
            // So few keys tell nothing, however often they are used.
            self.restart();
            self.has_seen = true;
            return Self::ignore(slice);
        }
        let wanted = (HELD / keys.max(1) as f64).min(self.ceiling);
        if self.part > 0.0 && HOLDS.contains(&(self.part / wanted)) {
            return;
        }
        if wanted > self.part {
            // Nothing is known of the keys that come to the slice.
            self.restart();
            self.began_empty = keys == 0;
        }
        self.part = wanted;
        slice.set(Listener::WhatIf, wanted);
        let stays = |hash| slice.takes_for(Listener::WhatIf, hash);
        let points = self.columns.iter_mut().flat_map(|column| &mut column.points);
        points.chain([&mut self.everything]).for_each(|point| point.retain(stays));
    }

    /// Begins with the policies that make a difference, and ends with others.
    fn fit_columns(&mut self, keys: usize, expiring: usize) {
        /// Below this part of all keys nothing of its kind is told apart.
        const SOME: f64 = 0.001;
        let part = expiring as f64 / keys.max(1) as f64;
        for selection in SELECTIONS {
            let needed = match selection {
                Selection { volatile: false, .. } => true,
                Selection { rule: Rule::Ttl, .. } => part > SOME,
                _ => part > SOME && part < 1.0 - SOME,
            };
            let at = self.columns.iter().position(|column| column.selection == selection);
            match at {
                None if needed || self.present.selection == Some(selection) => {
                    let is_complete = self.began_empty && !self.has_seen;
                    self.columns.push(Column::new(selection, self.present.size_weight, is_complete));
                }
                Some(at) if !needed && expiring == 0 => {
                    self.columns.remove(at);
                }
                _ => {}
            }
        }
    }

    /// Begins anew with a slice half as large, as samples were lost for want of time. Whether so few keys are in it then that
    /// nothing can be said.
    pub fn slow_down(&mut self) -> bool {
        self.ceiling = self.part / 2.0;
        self.part = 0.0;
        self.held / 2.0 < FEWEST
    }

    /// Lets the slice be larger, as there is time.
    pub fn speed_up(&mut self) {
        self.ceiling = (2.0 * self.ceiling).min(1.0);
    }

    /// Learns from what became of a key, at `now` in milliseconds since 1970.
    pub fn feed(&mut self, sample: Sample, now: u64) {
        if self.part == 0.0 {
            return;
        }
        self.has_seen = true;
        let group = (sample.hash >> 32) as usize % GROUPS;
        let is_read = matches!(sample.event, Event::Hit | Event::Miss);
        let weight = self.part.recip();
        let rng = &mut self.rng;
        let mut replay = |point: &mut Point, rules: &Rules, turnover: f64| {
            if !point.replay(sample, rules, turnover, rng) && is_read {
                point.misses.add(group, weight);
            }
        };
        let rules = Rules { now: Some(now), ..Rules::timeless(u64::MAX) };
        if !self.present.evicts() {
            replay(&mut self.everything, &rules, f64::MAX);
        }
        for column in &mut self.columns {
            column.reads += f64::from(is_read);
            for (point, size) in column.points.iter_mut().zip(SIZES) {
                let limit = (self.room * size) as u64;
                replay(point, &Rules { volatile: column.selection.volatile, limit, ..rules }, self.held * size);
            }
        }
    }

    /// Counts reads of the whole cache since the last call. What was counted before is worth `fade` of what it was.
    pub fn note_reads(&mut self, hits: u64, misses: u64, fade: f64) {
        self.hits = self.hits * fade + hits as f64;
        self.misses = self.misses * fade + misses as f64;
        self.everything.misses.fade(fade);
        let points = self.columns.iter_mut().flat_map(|column| &mut column.points);
        points.for_each(|point| point.misses.fade(fade));
    }

    /// What is known.
    pub fn answer(&self) -> Answer {
        let reads = self.hits + self.misses;
        let hit_ratio = (reads > 0.0).then_some(self.hits / reads);
        let present = self.present.selection.filter(|_| self.present.evicts());
        let mirror = self.columns.iter().find(|column| Some(column.selection) == present);
        let mirror = mirror.map_or(&self.everything, |column| &column.points[PRESENT]);
        let curve = |selection: Selection| {
            // Where all keys expire, that makes no difference.
            let twin = Selection { volatile: false, ..selection };
            let mut columns = [selection, twin].into_iter();
            let column = columns.find_map(|it| self.columns.iter().find(|column| column.selection == it))?;
            let estimates = std::array::from_fn(|size| self.estimate(column, size, mirror));
            Some(Curve { selection, estimates })
        };
        let expire = self.columns.iter().any(|column| column.selection.volatile);
        let curves = SELECTIONS.into_iter().filter(|it| expire || !it.volatile).filter_map(curve).collect();
        Answer { memory: self.memory, reads, hit_ratio, part: self.part, curves }
    }

    fn estimate(&self, column: &Column, size: usize, mirror: &Point) -> Option<Estimate> {
        /// Reads in the slice below which nothing is said.
        const FEWEST_READS: f64 = 100.0;
        let point = &column.points[size];
        let knows_all = self.part >= 1.0 && column.is_complete;
        let holds = self.held * SIZES[size];
        let is_warm = column.is_complete || point.miniature.was_full() || column.reads > WARM * holds;
        let reads = self.hits + self.misses;
        if reads * self.part < FEWEST_READS || !knows_all && ((point.miniature.len() as f64) < FEWEST || !is_warm) {
            return None;
        }
        Some(estimate::estimate(self.misses / reads, &point.misses, &mirror.misses, reads, self.part.recip()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn present(rule: Option<Rule>, limit: u64) -> Present {
        Present { selection: rule.map(|rule| Selection { rule, volatile: false }), limit, size_weight: 0 }
    }

    fn sample(key: u64, event: Event) -> Sample {
        Sample { hash: Rng::seeded(key).next_u64(), expiry: u64::MAX, size: 100, event }
    }

    /// A cache of 1,000 keys of 100 bytes that is full.
    fn census() -> Census {
        Census { keys: 1000, bytes: 100_000, expiring: 0, used: 120_000 }
    }

    fn estimates(answer: &Answer, rule: Rule) -> [Option<Estimate>; SIZES.len()] {
        let curve = answer.curves.iter().find(|curve| curve.selection == Selection { rule, volatile: false });
        curve.unwrap().estimates
    }

    /// Keys of a loop, each missed and stored: as LRU has it while the loop is larger than the cache.
    fn told_of_a_loop(length: u64) -> (WhatIf, Slice) {
        let (slice, mut what_if) = (Slice::default(), WhatIf::new(1, present(Some(Rule::Lru), 120_000)));
        what_if.measure(&slice, Census::default(), present(Some(Rule::Lru), 120_000));
        for request in 0..80 * length {
            for event in [Event::Miss, Event::Stored] {
                let sample = sample(request % length, event);
                if slice.takes(sample.hash) {
                    what_if.feed(sample, NOW);
                }
            }
            if request % length == 0 {
                what_if.note_reads(0, length, 0.9);
                what_if.measure(&slice, census(), present(Some(Rule::Lru), 120_000));
            }
        }
        (what_if, slice)
    }

    #[test]
    fn a_loop_shows_where_it_would_fit() {
        let (what_if, slice) = told_of_a_loop(1500);
        let answer = what_if.answer();
        assert_eq!((answer.memory, answer.hit_ratio), (120_000, Some(0.0)));
        let lru = estimates(&answer, Rule::Lru).map(|it| it.unwrap().hit_ratio);
        assert!(lru[..3].iter().all(|ratio| *ratio < 0.02), "{lru:?}");
        assert!(lru[3..].iter().all(|ratio| *ratio > 0.9), "{lru:?}");
        let adaptive = estimates(&answer, Rule::Adaptive)[PRESENT].unwrap();
        assert!(adaptive.hit_ratio > 0.3, "a part of the loop stays: {adaptive:?}");
        assert!(what_if.memory() < 4 << 20, "{} bytes", what_if.memory());
        assert!(what_if.columns.iter().all(|column| !column.selection.volatile));
        WhatIf::ignore(&slice);
        assert!(!slice.takes(0));
    }

    #[test]
    fn of_few_reads_and_of_what_is_not_known_nothing_is_said() {
        let slice = Slice::default();
        let mut what_if = WhatIf::new(1, present(None, 0));
        assert_eq!(what_if.answer().hit_ratio, None);
        what_if.measure(&slice, census(), present(None, 0));
        what_if.note_reads(5, 5, 1.0);
        let answer = what_if.answer();
        assert_eq!((answer.reads, answer.hit_ratio), (10.0, Some(0.5)));
        assert!(answer.curves.iter().all(|curve| curve.estimates == [None; SIZES.len()]), "{answer:?}");
        // A cache that was full before: what is not in the miniatures may be in it.
        what_if.note_reads(5000, 5000, 1.0);
        assert!(what_if.answer().curves.iter().all(|curve| curve.estimates == [None; SIZES.len()]));
    }

    #[test]
    fn without_a_limit_the_present_size_misses_what_is_missed_now() {
        let (slice, mut what_if) = (Slice::default(), WhatIf::new(1, present(None, 0)));
        what_if.measure(&slice, Census::default(), present(None, 0));
        for request in 0..50_000u64 {
            let key = request % 1009;
            let event = if request < 1009 { Event::Stored } else { Event::Hit };
            what_if.feed(sample(key, event), NOW);
        }
        what_if.note_reads(49_000, 500, 1.0);
        what_if.measure(&slice, census(), present(None, 0));
        let answer = what_if.answer();
        assert_eq!(answer.memory, 120_000);
        let lru = estimates(&answer, Rule::Lru);
        assert!(lru[4].is_some_and(|it| it.hit_ratio > 0.97), "{lru:?}");
    }

    #[test]
    fn policies_for_keys_that_expire_are_told_where_some_do() {
        let (slice, mut what_if) = (Slice::default(), WhatIf::new(1, present(Some(Rule::Lru), 120_000)));
        let rules = |what_if: &WhatIf| what_if.columns.iter().filter(|column| column.selection.volatile).count();
        let measure = |what_if: &mut WhatIf, expiring| {
            what_if.measure(&slice, Census { expiring, ..census() }, present(Some(Rule::Lru), 120_000));
            rules(what_if)
        };
        assert_eq!(measure(&mut what_if, 0), 0);
        assert_eq!(measure(&mut what_if, 500), 5);
        assert_eq!(what_if.answer().curves.len(), 9);
        assert_eq!(measure(&mut what_if, 0), 0);
        // Where all do the others are the same as for all keys.
        assert_eq!(measure(&mut what_if, 1000), 1);
        assert_eq!(what_if.answer().curves.len(), 9);
    }

    #[test]
    fn a_handful_of_keys_is_not_looked_at() {
        let (slice, mut what_if) = (Slice::default(), WhatIf::new(1, present(None, 0)));
        let few = Census { keys: 5, ..census() };
        what_if.measure(&slice, Census::default(), present(None, 0));
        assert!(slice.takes(1 << 40), "nobody knows yet that they are few");
        what_if.feed(sample(1, Event::Hit), NOW);
        for _ in 0..3 {
            what_if.measure(&slice, few, present(None, 0));
            assert!(!slice.takes(1 << 40));
        }
        what_if.note_reads(1000, 0, 1.0);
        what_if.feed(sample(1, Event::Miss), NOW);
        assert!(what_if.answer().curves.iter().all(|curve| curve.estimates == [None; SIZES.len()]));
        what_if.measure(&slice, census(), present(None, 0));
        assert!(slice.takes(1 << 40));
    }

    #[test]
    fn the_slice_follows_the_cache_and_the_pace() {
        let (slice, mut what_if) = (Slice::default(), WhatIf::new(1, present(None, 0)));
        let part = |what_if: &mut WhatIf, keys| {
            what_if.measure(&slice, Census { keys, ..census() }, present(None, 0));
            what_if.part
        };
        assert_eq!(part(&mut what_if, 100), 1.0);
        assert_eq!(part(&mut what_if, 1_024_000), 0.001);
        assert_eq!(part(&mut what_if, 1_100_000), 0.001, "a little does not matter");
        assert!(!what_if.slow_down());
        assert_eq!(part(&mut what_if, 1_024_000), 0.0005);
        let times = (1..20).take_while(|_| {
            let is_void = what_if.slow_down();
            part(&mut what_if, 1_024_000);
            !is_void
        });
        assert_eq!(times.count(), 4);
        (0..20).for_each(|_| what_if.speed_up());
        assert_eq!(part(&mut what_if, 1_024_000), 0.001);
    }
}
