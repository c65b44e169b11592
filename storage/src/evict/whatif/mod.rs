//! What other policies, and other sizes of memory, would make of the requests of late: a miss-ratio curve per policy.
//!
//! For each policy and size there is a [miniature](super::miniature) cache without values, fed with a slice of the
//! keys that their hashes choose. Waldspurger, Park, Garthwaite and Ahmad, "Efficient MRC Construction with SHARDS" (FAST 2015).
//! See [`estimate`] for how ratios come from what the miniatures missed, and [`ghosts`](super::ghosts) for what they remember of evicted keys.
//!
//! What is counted fades, so that the answer is about the last minutes. The slice holds about [`HELD`] keys of what the cache
//! holds; it becomes smaller as the cache grows, and where feeding the miniatures takes too long.
//!
//! Each miniature counts from when it has been full for a turnover, or so many reads that it will not be; before that it misses what a cache that
//! was just started misses. Reads are counted as far as the samples are fed that came with them.

mod estimate;
mod point;

use estimate::{GROUPS, Ledger, Misses, add_errors_of_sizes};
use point::{Column, Point};

use super::miniature::Rules;
use super::samples::{Event, Listener, Reads, Sample, Slice, is_in};
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
/// The slice does not become so small for want of time that the cache holds fewer: a quarter of them is what the smallest size has, and
/// errors grow as they become few.
const FEWEST_HELD: f64 = 8.0 * FEWEST;
/// Reads in the slice below which nothing is said.
const FEWEST_READS: f64 = 100.0;

/// While nothing has had to go the reads count since which the keys have become no more than so many times as many: before that most misses
/// are first uses, which no cache could have had.
const GROWN: f64 = 1.1;

/// An estimate that may be further off is none: policies at one size, and sizes next to each other, seldom differ by as much.
const MOST_ERROR: f64 = 0.2;

/// One in so many calls of [`WhatIf::measure`] looks at the sizes of all keys in the miniatures.
const SIZES_EVERY: u32 = 16;

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
    /// Its shards.
    pub shards: usize,
    /// Keys that were evicted so far, and writes refused for want of memory, by counts that are set back at times. Not counted by
    /// [`Census::of`].
    pub evicted: u64,
    /// See there.
    pub refused: u64,
}

impl Census {
    /// Counts. Locks one shard after the other, so none may be held; `None` while a script holds one.
    pub fn of<X: Default>(keyspace: &Keyspace<X>) -> Option<Self> {
        let mut census = Self { used: keyspace.used_memory(), shards: keyspace.shards(), ..Self::default() };
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

    /// Whether it goes by something that makes other sizes, or another policy, the present one.
    fn differs(&self, other: &Self) -> bool {
        /// A limit may be off by one part in so many.
        const SLACK: u64 = 8;
        self.selection != other.selection || self.limit.abs_diff(other.limit) > self.limit.max(other.limit) / SLACK
    }
}

/// An estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Reads that would find their key, from 0 to 1.
    pub hit_ratio: f64,
    /// How far off that may be: the truth is within this in about 19 of 20 cases. 0 where it is what the cache itself had.
    pub error: f64,
    /// Reads that it is about, the last ones; older ones count less.
    pub reads: f64,
    /// When it held, in milliseconds since 1970, if it is no longer known.
    pub at_ms: Option<u64>,
}

/// Why there is no estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEstimate {
    /// Too little is known.
    FewData,
    /// Keys that may not go would fill the memory, so that others are not stored. Then it matters which keys are read most, as each read
    /// of one that is not stored is a miss, and whether those are in the slice is chance.
    Refuses,
}

/// A policy's estimates, at each of [`SIZES`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curve {
    /// The policy.
    pub selection: Selection,
    /// Its estimates.
    pub estimates: [Result<Estimate, NoEstimate>; SIZES.len()],
}

/// How much is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// There are too few keys to tell anything from.
    FewKeys,
    /// There were too few reads yet.
    FewReads,
    /// Some sizes are not known yet.
    #[default]
    Learning,
    /// All is.
    Ready,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// How much of it is known.
    pub state: State,
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
    /// Whether the cache has evicted since it has its present limit, and how many keys as of the last look; `None` before the first.
    has_evicted: bool,
    evicted: Option<u64>,
    /// Writes refused as of the last look, and those since policy and limit are what they are; older ones count less.
    refused: Option<u64>,
    refused_of_late: f64,
    /// The part of all keys that is in the slice, and the most that it may be.
    part: f64,
    ceiling: f64,
    /// Keys in the slice that the cache holds, and bytes of theirs that the cache has room for.
    held: f64,
    room: f64,
    /// Bytes of the present memory, and those in use.
    memory: u64,
    used: u64,
    /// Reads that found their key, and those that did not, since policy and limit are what they are.
    own: Ledger,
    /// The same since the cache is filled: since it has evicted, or while it has not since it has grown little beyond so many keys.
    own_filled: Ledger,
    filled_keys: usize,
    /// Whether keys were evicted before, under another limit or unheard of: misses may be of those.
    has_lost: bool,
    /// Whether all keys expire.
    all_expire: bool,
    /// What was known before it began anew.
    last: Vec<Curve>,
    /// As of the last sample, in milliseconds since 1970.
    now_ms: u64,
    /// Whether there was a time of which it was told nothing. What is held is of before that then, and where other keys are asked for
    /// since, the model of the cache as it is is as wrong as the others.
    has_gaps: bool,
    /// Since when policy and limit are what they are: older samples, which may have waited, are not counted.
    counted_from_ms: u64,
    /// Calls of [`WhatIf::measure`].
    looks: u32,
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
            has_evicted: false,
            evicted: None,
            refused: None,
            refused_of_late: 0.0,
            part: 0.0,
            ceiling: 1.0,
            held: 0.0,
            room: 0.0,
            memory: 0,
            used: 0,
            own: Ledger::default(),
            own_filled: Ledger::default(),
            filled_keys: 0,
            has_lost: false,
            all_expire: false,
            last: Vec::new(),
            now_ms: 0,
            has_gaps: false,
            counted_from_ms: 0,
            looks: 0,
            rng: Rng::seeded(seed),
        }
    }

    /// Begins anew. What was known stays as that; so do the figures of the cache itself.
    fn restart(&mut self) {
        if self.part > 0.0 {
            // While nothing has had to go, what was known is soon known again, and was about a smaller cache.
            self.last = if self.has_evicted { self.curves() } else { Vec::new() };
            for estimate in self.last.iter_mut().flat_map(|curve| curve.estimates.iter_mut().flatten()) {
                estimate.at_ms.get_or_insert(self.now_ms);
            }
        }
        let fresh = Self::new(self.rng.next_u64(), self.present);
        *self = Self {
            ceiling: self.ceiling,
            memory: self.memory,
            used: self.used,
            has_evicted: self.has_evicted,
            evicted: self.evicted,
            refused: self.refused,
            refused_of_late: self.refused_of_late,
            own: self.own,
            own_filled: self.own_filled,
            filled_keys: self.filled_keys,
            has_lost: self.has_lost,
            last: std::mem::take(&mut self.last),
            now_ms: self.now_ms,
            counted_from_ms: self.counted_from_ms,
            ..fresh
        };
    }

    /// Bytes that the miniatures take.
    pub fn memory(&self) -> usize {
        let points = self.columns.iter().flat_map(Column::all);
        points.chain([&self.everything]).map(Point::memory).sum()
    }

    /// Follows the size of the cache and what it goes by, at `now` in milliseconds since 1970. To be called again and again.
    pub fn measure(&mut self, slice: &Slice, census: Census, present: Present, now: u64) {
        let Census { keys, bytes, expiring, used, shards, evicted, refused } = census;
        if self.present.size_weight != present.size_weight {
            self.restart();
        }
        self.adopt(present, used, now);
        self.present.size_weight = present.size_weight;
        self.fit(slice, keys);
        let before = self.evicted.replace(evicted);
        self.has_lost |= before.is_none() && evicted > 0;
        if !self.has_evicted && keys as f64 > GROWN * self.filled_keys as f64 {
            (self.own_filled, self.filled_keys) = (Ledger::default(), keys);
        }
        if before.is_some_and(|before| before < evicted) && !self.has_evicted {
            // What was known was that all sizes are alike; the misses until now are those of a cache that is being filled.
            self.has_evicted = true;
            self.own_filled = Ledger::default();
            self.last.clear();
            self.columns.iter_mut().for_each(Column::forget_ledgers);
        }
        if let Some(before) = self.refused.replace(refused) {
            self.refused_of_late += refused.checked_sub(before).unwrap_or(refused) as f64;
        }
        self.held = keys as f64 * self.part;
        // Where there is nothing yet, nobody knows how much there is going to be.
        let room =
            if keys == 0 { f64::INFINITY } else { bytes as f64 + self.memory.saturating_sub(used as u64) as f64 };
        self.room = room * self.part;
        self.fit_columns(keys, expiring);
        // As many keys are remembered together as in one of the cache's shards.
        let ghosts = (shards as f64 * self.part).round() as usize;
        self.columns.iter_mut().flat_map(Column::all_mut).for_each(|point| point.fit(ghosts));
        if self.looks.is_multiple_of(SIZES_EVERY) {
            self.columns.iter_mut().for_each(|column| column.measure(self.part));
        }
        self.looks = self.looks.wrapping_add(1);
        self.begin_ledgers();
    }

    /// Follows what the cache goes by, of whose memory `used` bytes are in use; [`WhatIf::measure`] does, too.
    pub fn adopt(&mut self, present: Present, used: usize, now: u64) {
        if self.present.differs(&present) {
            self.counted_from_ms = now;
            self.resize(self.present.selection != present.selection);
        }
        self.present = Present { size_weight: self.present.size_weight, ..present };
        self.used = used as u64;
        self.memory = if present.limit > 0 { present.limit } else { used as u64 };
    }

    /// Forgets what was counted: under another policy, or a limit that is another one, it would say something else.
    fn resize(&mut self, is_policy: bool) {
        self.columns.iter_mut().for_each(Column::resize);
        (self.own, self.own_filled, self.refused_of_late) = (Ledger::default(), Ledger::default(), 0.0);
        self.filled_keys = 0;
        if !is_policy {
            self.last.clear();
            if std::mem::take(&mut self.has_evicted) {
                // What it misses now may have gone before.
                self.has_lost = true;
                self.columns.iter_mut().for_each(|column| column.is_complete = false);
            }
        }
    }

    /// Lets the miniatures count that are like caches which have been there for long.
    fn begin_ledgers(&mut self) {
        let mirror = self.mirror().and_then(|at| self.columns.get(at));
        // A cache that has not evicted has only missed what no cache could have had.
        let mirror_is_settled = mirror.is_none_or(|column| {
            column.is_settled(PRESENT, self.held, self.has_gaps) || column.is_complete && !self.has_evicted
        });
        if !mirror_is_settled {
            return;
        }
        let (held, part, has_gaps) = (self.held, self.part, self.has_gaps);
        for column in &mut self.columns {
            let knows_all = part >= 1.0 && column.is_complete;
            for at in 0..SIZES.len() {
                let (point, is_settled) = (&column.points[at], column.is_settled(at, held, has_gaps));
                if point.ledger.is_none() && is_settled && (knows_all || point.miniature.len() as f64 >= FEWEST) {
                    column.begin_ledger(at);
                }
            }
        }
    }

    /// Hears of no key any more.
    pub fn ignore(slice: &Slice) {
        slice.set(Listener::WhatIf, 0.0);
    }

    /// Goes on after it was told of nothing for a while: what became of keys meanwhile is not known.
    pub fn resume(&mut self, slice: &Slice) {
        slice.set(Listener::WhatIf, self.part);
        self.columns.iter_mut().for_each(|column| column.is_complete = false);
        self.has_gaps = true;
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
        } else {
            let stays = wanted / self.part;
            self.columns.iter_mut().for_each(|column| column.reads *= stays);
        }
        self.part = wanted;
        slice.set(Listener::WhatIf, wanted);
        let stays = |hash| slice.takes_for(Listener::WhatIf, hash);
        let points = self.columns.iter_mut().flat_map(Column::all_mut);
        points.chain([&mut self.everything]).for_each(|point| point.retain(stays));
    }

    /// Begins with the policies that make a difference, and ends with others.
    fn fit_columns(&mut self, keys: usize, expiring: usize) {
        /// Below this part of all keys nothing of its kind is told apart.
        const SOME: f64 = 0.001;
        let part = expiring as f64 / keys.max(1) as f64;
        self.all_expire = part >= 1.0 - SOME;
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
                Some(at) if !needed && expiring == 0 && self.present.selection != Some(selection) => {
                    self.columns.remove(at);
                }
                _ => {}
            }
        }
    }

    /// Lets the slice be half as large from the next [`WhatIf::measure`] on, as samples were lost for want of time; false if so few keys would
    /// be in it then that little could be said. What is known of the keys that stay is kept.
    pub fn slow_down(&mut self) -> bool {
        if self.held / 2.0 < FEWEST_HELD {
            return false;
        }
        self.ceiling = self.part / 2.0;
        true
    }

    /// Lets the slice be larger, as there is time.
    pub fn speed_up(&mut self) {
        self.ceiling = (2.0 * self.ceiling).min(1.0);
    }

    /// Learns from what became of keys, each with when it did in milliseconds since 1970: some at a time, as each miniature is long gone from the
    /// processor's caches when its turn comes.
    pub fn feed(&mut self, samples: &[(Sample, u64)]) {
        let Some((_, now)) = samples.last().filter(|_| self.part > 0.0) else { return };
        (self.has_seen, self.now_ms) = (true, *now);
        let (part, weight, from) = (self.part, self.part.recip(), self.counted_from_ms);
        let mirror = self.mirror();
        let counted = samples.iter().filter(|(_, at)| *at >= from);
        self.count(counted.fold(Reads::default(), |reads, (sample, _)| reads.plus(sample.reads)));
        // Others were noted for a larger slice.
        let in_slice = samples.iter().filter(|(sample, _)| is_in(part, sample.hash));
        let misses_of = |is_missed: &mut dyn FnMut(Sample, u64) -> bool| {
            let mut misses = Misses::default();
            for (sample, at) in in_slice.clone() {
                if is_missed(*sample, *at) && *at >= from {
                    misses.add((sample.hash >> 32) as usize % GROUPS, weight);
                }
            }
            misses
        };
        let rng = &mut self.rng;
        let mut replay = |point: &mut Point, rules: &Rules, turnover: f64| {
            in_slice.clone().for_each(|(sample, _)| point.prefetch(sample.hash));
            let misses = misses_of(&mut |sample, at| {
                let rules = Rules { now: Some(at), ..*rules };
                !point.replay(sample, &rules, turnover, rng) && matches!(sample.event, Event::Hit | Event::Miss)
            });
            point.ledger.iter_mut().for_each(|ledger| ledger.own.plus(&misses));
            misses
        };
        // Of keys that went unheard of, or are evicted, it forgets some once it holds several times what the cache does.
        let most = self.room * SIZES[SIZES.len() - 1];
        let mut mirrored = replay(&mut self.everything, &Rules::timeless(most as u64), f64::MAX);
        for (number, column) in self.columns.iter_mut().enumerate() {
            for (at, size) in SIZES.into_iter().enumerate() {
                let limit = self.room * size;
                let volatile = column.selection.volatile;
                let of = |limit: f64| Rules { volatile, ..Rules::timeless(limit as u64) };
                let misses = replay(&mut column.points[at], &of(limit), self.held * size);
                if mirror == Some(number) && at == PRESENT {
                    mirrored = misses;
                }
                for (times, probe) in column.probes_at(at) {
                    replay(probe, &of(limit * times), f64::MAX);
                }
            }
        }
        let missed = misses_of(&mut |sample, _| sample.event == Event::Miss);
        for ledger in self.ledgers() {
            ledger.cache.plus(&missed);
            ledger.mirror.plus(&mirrored);
        }
    }

    /// Which column stands for the cache as it is; `None` where nothing is evicted.
    fn mirror(&self) -> Option<usize> {
        let present = self.present.selection.filter(|_| self.present.evicts())?;
        self.columns.iter().position(|column| column.selection == present)
    }

    fn ledgers(&mut self) -> impl Iterator<Item = &mut Ledger> {
        let points = self.columns.iter_mut().flat_map(Column::all_mut);
        points.filter_map(|point| point.ledger.as_mut())
    }

    fn count(&mut self, reads: Reads) {
        let (hits, misses) = (f64::from(reads.hits), f64::from(reads.misses));
        self.ledgers().for_each(|ledger| (ledger.hits, ledger.misses) = (ledger.hits + hits, ledger.misses + misses));
        let here = (hits + misses) * self.part;
        self.columns.iter_mut().for_each(|column| column.reads += here);
    }

    /// Counts reads of the whole cache since the last call. What was counted before is worth `fade` of what it was.
    pub fn note_reads(&mut self, hits: u64, misses: u64, fade: f64) {
        let (hits, misses) = (hits as f64, misses as f64);
        self.refused_of_late *= fade;
        for own in [&mut self.own, &mut self.own_filled] {
            own.fade(fade);
            (own.hits, own.misses) = (own.hits + hits, own.misses + misses);
        }
        for ledger in self.ledgers() {
            ledger.fade(fade);
            ledger.note_all(hits, misses);
        }
    }

    /// The part of all keys that is in the slice.
    pub fn part(&self) -> f64 {
        self.part
    }

    /// What is known.
    pub fn answer(&self) -> Answer {
        let reads = self.own.reads();
        let hit_ratio = (reads > 0.0).then_some(self.own.hits / reads);
        let curves = self.curves();
        let is_known = |curve: &Curve| {
            curve.estimates.iter().all(|it| it.map_or_else(|it| it == NoEstimate::Refuses, |it| it.at_ms.is_none()))
        };
        let state = if self.held < FEWEST {
            State::FewKeys
        } else if reads * self.part < FEWEST_READS {
            State::FewReads
        } else if curves.iter().all(is_known) {
            State::Ready
        } else {
            State::Learning
        };
        Answer { state, memory: self.memory, reads, hit_ratio, part: self.part, curves }
    }

    fn curves(&self) -> Vec<Curve> {
        let curve = |selection: Selection| {
            // Where all keys expire, that makes no difference.
            let twin = self.all_expire.then_some(Selection { volatile: false, ..selection });
            let mut columns = [Some(selection), twin].into_iter().flatten();
            let column = columns.find_map(|it| self.columns.iter().find(|column| column.selection == it));
            let last = self.last.iter().find(|curve| curve.selection == selection && !self.refuses());
            let mut estimates = column.map_or([Err(NoEstimate::FewData); SIZES.len()], |column| self.estimates(column));
            for (now, last) in estimates.iter_mut().zip(last.into_iter().flat_map(|last| last.estimates)) {
                if *now == Err(NoEstimate::FewData) {
                    *now = last;
                }
            }
            let is_told =
                column.is_some() || last.is_some() || !selection.volatile || self.present.selection == Some(selection);
            is_told.then_some(Curve { selection, estimates })
        };
        let volatile = self.columns.iter().any(|column| column.selection.volatile);
        let volatile = volatile || self.columns.is_empty() && self.last.iter().any(|curve| curve.selection.volatile);
        let is_asked = |it: &Selection| volatile || !it.volatile || self.present.selection == Some(*it);
        SELECTIONS.into_iter().filter(is_asked).filter_map(curve).collect()
    }

    fn estimates(&self, column: &Column) -> [Result<Estimate, NoEstimate>; SIZES.len()] {
        let estimates = self.known(column);
        std::array::from_fn(|size| {
            let would_refuse = column.refuses(size) && !self.refuses();
            let estimate = estimates[size].filter(|it| it.error <= MOST_ERROR);
            estimate.ok_or(if would_refuse { NoEstimate::Refuses } else { NoEstimate::FewData })
        })
    }

    /// The estimates that there are.
    fn known(&self, column: &Column) -> [Option<Estimate>; SIZES.len()] {
        let mut estimates = std::array::from_fn(|size| self.estimate(column, size));
        if column.selection.rule != Rule::Lru {
            add_errors_of_sizes(&mut estimates, &column.slack);
            return estimates;
        }
        for (at, probes) in column.probes.iter().enumerate().filter(|(at, _)| column.slack[*at] > 0.0) {
            let Some(estimate) = estimates[at].as_mut().filter(|it| it.error > 0.0) else { continue };
            let probed = probes.iter().filter_map(|probe| probe.ledger.as_ref());
            let others = probed.map(|ledger| ledger.estimate(self.part.recip()).hit_ratio - estimate.hit_ratio);
            estimate.error = estimate.error.hypot(others.map(f64::abs).fold(0.0, f64::max)).min(1.0);
        }
        estimates
    }

    fn estimate(&self, column: &Column, size: usize) -> Option<Estimate> {
        let ledger = column.points[size].ledger.as_ref().filter(|it| it.reads() * self.part >= FEWEST_READS);
        let own = Some(&self.own_filled).filter(|own| own.reads() >= FEWEST_READS);
        let is_present = size == PRESENT && self.present.evicts() && self.present.selection == Some(column.selection);
        let has_room = self.memory as f64 * SIZES[size] >= self.used as f64
            && !self.has_evicted
            && (!self.has_lost || column.is_settled(PRESENT, self.held, self.has_gaps) || size == PRESENT);
        if is_present {
            return ledger.filter(|_| !has_room).or(own).map(Ledger::actual);
        }
        if self.refuses() {
            return None;
        }
        if has_room {
            return own.filter(|_| self.held >= FEWEST).map(Ledger::all_held);
        }
        if column.refuses(size) {
            return None;
        }
        let of_gaps = if self.has_gaps { ledger?.disagreement() } else { 0.0 };
        let estimate = column.estimate(size, self.part.recip()).filter(|_| ledger.is_some())?;
        Some(Estimate { error: estimate.error.hypot(of_gaps).min(1.0), ..estimate })
    }

    /// Whether the cache is full of what it may not evict: what is not stored for that reason nobody hears of, so that nothing is known of
    /// any cache but this one. Where all may go, only what is larger than all memory is refused.
    fn refuses(&self) -> bool {
        /// Misses for each write refused that do not matter.
        const MANY: f64 = 100.0;
        let may_refuse = self.present.limit > 0 && self.present.selection.is_none_or(|selection| selection.volatile);
        may_refuse && self.refused_of_late * MANY > self.own.misses
    }
}

#[cfg(test)]
mod tests;
