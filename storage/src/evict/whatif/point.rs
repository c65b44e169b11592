//! A miniature for a policy at a size, and what is counted of it.

use super::estimate::{Ledger, error_of_size};
use super::{Estimate, FEWEST, SIZES};
use crate::evict::adaptive;
use crate::evict::competition::Competition;
use crate::evict::ghost::Welcome;
use crate::evict::lfu;
use crate::evict::miniature::{Miniature, Model, Rules};
use crate::evict::samples::{Event, Sample};
use crate::evict::{Rule, Selection};
use crate::rng::Rng;

/// One policy at one size.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) miniature: Miniature,
    /// What the miniature does; the adaptive policy's changes.
    model: Model,
    /// The adaptive policy's tables.
    tables: Option<Competition>,
    /// What is counted, once it tells something.
    pub(super) ledger: Option<Ledger>,
}

impl Point {
    pub(super) fn new(selection: Selection, size_weight: u32) -> Self {
        let weighed = |weights| Model::Weighed(adaptive::Weighed::new(weights, 0));
        let (model, welcome) = match selection.rule {
            Rule::Lru => (weighed(adaptive::by_age()), Welcome::default()),
            Rule::Lfu => (weighed(&lfu::WEIGHTS), lfu::WEIGHTS.welcome),
            Rule::Adaptive => adaptive::model(0, size_weight),
            Rule::Random => (Model::Random, Welcome::default()),
            Rule::Ttl => (Model::Ttl, Welcome::default()),
        };
        let tables = (selection.rule == Rule::Adaptive).then(|| Competition::new(adaptive::models(size_weight)));
        Self { miniature: Miniature::new(welcome), model, tables, ledger: None }
    }

    /// As it is, but another one by chance.
    fn dealt(self, number: usize) -> Self {
        Self { miniature: self.miniature.dealt(number), ..self }
    }

    /// Does what the cache would have done; of a read, whether it would have had the key.
    pub(super) fn replay(&mut self, sample: Sample, rules: &Rules, turnover: f64, rng: &mut Rng) -> bool {
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

    /// Asks for what a key of this hash will need.
    pub(super) fn prefetch(&self, hash: u64) {
        self.miniature.prefetch(hash);
        self.tables.iter().for_each(|tables| tables.prefetch(hash));
    }

    pub(super) fn retain(&mut self, stays: impl Fn(u64) -> bool + Copy) {
        self.miniature.retain(stays);
        if let Some(tables) = &mut self.tables {
            tables.each(&Rules::timeless(u64::MAX), |miniature, _| miniature.retain(stays));
        }
    }

    /// Lets what was evicted be remembered in so many parts, and gives memory back that nothing needs.
    pub(super) fn fit(&mut self, ghosts: usize) {
        self.miniature.fit(ghosts);
        if let Some(tables) = &mut self.tables {
            tables.each(&Rules::timeless(u64::MAX), |miniature, _| miniature.fit(ghosts));
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.miniature.memory() + self.tables.as_ref().map_or(0, Competition::memory)
    }
}

/// One policy at all sizes.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) selection: Selection,
    pub(super) points: [Point; SIZES.len()],
    /// For each size two more. Of LRU one that is a little smaller and one that is a little larger: whether the curve is a cliff there, as it is
    /// where loops just fit; what goes by frequency keeps a part of a loop. Of LFU two of the same size: whether chance decides which part.
    pub(super) probes: Vec<[Point; 2]>,
    /// How far, as parts of the sizes, they are away: as far as the sizes may be wrong.
    pub(super) slack: [f64; SIZES.len()],
    /// Reads of keys in the slice since sizes are what they are, about.
    pub(super) reads: f64,
    /// Whether it has seen all that the cache holds.
    pub(super) is_complete: bool,
}

impl Column {
    pub(super) fn new(selection: Selection, size_weight: u32, is_complete: bool) -> Self {
        let point = || Point::new(selection, size_weight);
        let probes = match selection.rule {
            Rule::Lru | Rule::Lfu => SIZES.map(|_| [point().dealt(1), point().dealt(2)]).into(),
            _ => Vec::new(),
        };
        let (points, slack) = (SIZES.map(|_| point()), [0.0; SIZES.len()]);
        Self { selection, points, probes, slack, reads: 0.0, is_complete }
    }

    /// Of a size the probes, if they are of use, each with its size as a multiple of that.
    pub(super) fn probes_at(&mut self, size: usize) -> impl Iterator<Item = (f64, &mut Point)> {
        let slack = if self.selection.rule == Rule::Lru { self.slack[size] } else { 0.0 };
        let are_of_use = slack > 0.0 || self.selection.rule == Rule::Lfu;
        let probes = self.probes.get_mut(size).filter(|_| are_of_use);
        [1.0 - slack, 1.0 + slack].into_iter().zip(probes.into_iter().flatten())
    }

    /// Those of a size that are of use.
    fn all_of(&self, size: usize) -> impl Iterator<Item = &Point> {
        let probes = self.probes.get(size).filter(|_| self.slack[size] > 0.0);
        std::iter::once(&self.points[size]).chain(probes.into_iter().flatten())
    }

    /// Of a size what is estimated from its miniature and from those of the same size.
    pub(super) fn estimate(&self, size: usize, weight: f64) -> Option<Estimate> {
        let estimate = self.points[size].ledger.as_ref()?.estimate(weight);
        if self.selection.rule != Rule::Lfu {
            return Some(estimate);
        }
        let twins = self.probes[size].iter().filter_map(|probe| probe.ledger.as_ref());
        Some(estimate.with_twins(twins.map(|ledger| ledger.estimate(weight).hit_ratio)))
    }

    /// Whether a cache of a size would refuse what is stored.
    pub(super) fn refuses(&self, size: usize) -> bool {
        self.points[size].miniature.refuses()
    }

    /// Forgets what was counted, as the sizes are others now.
    pub(super) fn resize(&mut self) {
        self.reads = 0.0;
        for point in self.all_mut() {
            point.ledger = None;
            point.miniature.forget_turnover();
        }
    }

    /// Forgets what was counted, but not what is held.
    pub(super) fn forget_ledgers(&mut self) {
        self.all_mut().for_each(|point| point.ledger = None);
    }

    /// All miniatures.
    pub(super) fn all(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().chain(self.probes.iter().flatten())
    }

    /// The same.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Point> {
        self.points.iter_mut().chain(self.probes.iter_mut().flatten())
    }

    /// Notes how far the sizes may be wrong, where the slice is `part` of all keys.
    pub(super) fn measure(&mut self, part: f64) {
        self.slack = std::array::from_fn(|size| error_of_size(self.points[size].miniature.effective_len(), part));
    }

    /// Lets the miniatures of a size count.
    pub(super) fn begin_ledger(&mut self, size: usize) {
        self.points[size].ledger = Some(Ledger::default());
        for probe in self.probes.get_mut(size).into_iter().flatten() {
            probe.ledger = Some(Ledger::default());
        }
    }

    /// Whether the miniature of a size is by now like a cache that has been there for long. The cache holds `held` keys of the slice; with
    /// gaps a part of what became of them was not heard of.
    pub(super) fn is_settled(&self, size: usize, held: f64, has_gaps: bool) -> bool {
        /// Reads, per key that it holds, after which one that began empty, or with another size, is taken to be like one that did not.
        const WARM: f64 = 10.0;
        /// The same, before which one that goes by how keys are used has not learned enough of that where it hears of it in its turns only.
        const LEARNED: f64 = 32.0;
        let miniature = &self.points[size].miniature;
        // What is not known yet is at most what the cache holds.
        let known = if self.is_complete { FEWEST } else { held * SIZES[size].min(1.0) };
        let reads = self.reads / known.max(miniature.len() as f64);
        match self.selection.rule {
            // What LRU holds is what was used last, whatever was there before.
            Rule::Lru => reads > WARM || self.all_of(size).all(|point| point.miniature.has_been_full()),
            Rule::Lfu | Rule::Adaptive if has_gaps => reads > LEARNED,
            _ => reads > WARM || miniature.has_turned_over(),
        }
    }
}
