//! From sampled misses to a hit ratio.
//!
//! Sampled hits say little: one hot key in the slice, or not in it, decides how many there are. Misses are spread over
//! many keys. So what a miniature missed is compared with what the miniature missed that stands for the cache as it is, whose true ratio is known.
//! Where that one missed something quite different from what the cache itself missed of the slice, as it may beside a cliff of the curve, it is
//! the cache that is compared with.

use super::Estimate;

/// Keys are told apart by their hashes in so many groups, to see how much the choice of keys matters.
pub(super) const GROUPS: usize = 8;

/// Below so many misses their number says little.
const FEWEST_MISSES: f64 = 32.0;
/// Student's t for 19 of 20 cases and one degree of freedom less than there are groups.
const STUDENT: f64 = 2.36;
/// How far a miniature is from a large cache whatever keys it sees.
const OF_MODEL: f64 = 0.002;

/// Misses of each group; older ones count less.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Misses([f64; GROUPS]);

impl Misses {
    /// Counts one that stands for so many.
    pub(super) fn add(&mut self, group: usize, weight: f64) {
        self.0[group] += weight;
    }

    /// Counts those of another count.
    pub(super) fn plus(&mut self, others: &Self) {
        self.0.iter_mut().zip(others.0).for_each(|(misses, others)| *misses += others);
    }

    pub(super) fn fade(&mut self, factor: f64) {
        self.0.iter_mut().for_each(|misses| *misses *= factor);
    }

    fn total(&self) -> f64 {
        self.0.iter().sum()
    }
}

/// What was counted of one miniature, and meanwhile of the cache as it is. Older ones count less.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ledger {
    /// What the miniature missed, and what the one that is as the cache is.
    pub(super) own: Misses,
    /// See there.
    pub(super) mirror: Misses,
    /// What the cache itself missed of the slice.
    pub(super) cache: Misses,
    /// Reads of the whole cache that found their key, and those that did not, as far as the samples have been looked at that came
    /// with them.
    pub(super) hits: f64,
    /// See there.
    pub(super) misses: f64,
    /// The same of all reads.
    all: (f64, f64),
}

impl Ledger {
    pub(super) fn fade(&mut self, factor: f64) {
        self.own.fade(factor);
        self.mirror.fade(factor);
        self.cache.fade(factor);
        self.hits *= factor;
        self.misses *= factor;
        self.all = (self.all.0 * factor, self.all.1 * factor);
    }

    /// Hears of reads of the whole cache.
    pub(super) fn note_all(&mut self, hits: f64, misses: f64) {
        self.all = (self.all.0 + hits, self.all.1 + misses);
    }

    /// Hits and misses of the cache itself, with the reads that nobody has looked at, if there are any.
    fn of_cache(&self) -> (f64, f64) {
        if self.all.0 + self.all.1 > 0.0 { self.all } else { (self.hits, self.misses) }
    }

    pub(super) fn reads(&self) -> f64 {
        self.hits + self.misses
    }

    /// What the cache itself had.
    pub(super) fn actual(&self) -> Estimate {
        let (hits, misses) = self.of_cache();
        Estimate { hit_ratio: hits / (hits + misses), error: 0.0, reads: self.reads(), at_ms: None }
    }

    /// What any cache has that holds all which the cache itself does, while that lets nothing go.
    pub(super) fn all_held(&self) -> Estimate {
        Estimate { error: OF_MODEL, ..self.actual() }
    }

    /// How much of the reads the model of the cache as it is missed more or less than that did.
    pub(super) fn disagreement(&self) -> f64 {
        (self.mirror.total() - self.cache.total()).abs() / self.reads()
    }

    /// The hit ratio of one who had these misses where the cache as it is had the miss ratio that is known. `weight` is for how many
    /// each sampled miss stands.
    pub(super) fn estimate(&self, weight: f64) -> Estimate {
        /// What the one missed of what the other did, at least, for the two to be alike.
        const ALIKE: f64 = 0.75;
        let (mirror, cache, reads) = (self.mirror.total(), self.cache.total(), self.reads());
        let is_alike = mirror.min(cache) >= ALIKE * mirror.max(cache) - FEWEST_MISSES * weight;
        let base = if is_alike { &self.mirror } else { &self.cache };
        let of_base = if is_alike { 0.0 } else { self.disagreement() };
        let (own, other) = (self.own.total(), base.total());
        let (hits, misses) = self.of_cache();
        let miss_ratio = misses / (hits + misses);
        let scaled = |own: f64, other: f64, reads: f64| {
            // Of hardly any misses no multiple is known.
            let few = other < FEWEST_MISSES * weight;
            let estimate = if few { miss_ratio + (own - other) / reads } else { miss_ratio * own / other };
            estimate.clamp(0.0, 1.0)
        };
        let whole = scaled(own, other, reads);
        // The jackknife: how much does it change if one group is left out?
        let part = (GROUPS - 1) as f64 / GROUPS as f64;
        let without: [f64; GROUPS] =
            std::array::from_fn(|group| scaled(own - self.own.0[group], other - base.0[group], reads * part));
        let mean = without.iter().sum::<f64>() / GROUPS as f64;
        let variance = part * without.iter().map(|one| (one - mean).powi(2)).sum::<f64>();
        let error = ((STUDENT * variance.sqrt()).hypot(of_base) + OF_MODEL).min(1.0);
        Estimate { hit_ratio: 1.0 - whole, error, reads, at_ms: None }
    }
}

impl Estimate {
    /// The mean of this and of what others say that differ from it by chance alone, as the cache does, too.
    pub(super) fn with_twins(self, twins: impl Iterator<Item = f64>) -> Self {
        /// Student's t for 19 of 20 cases, by the number of twins.
        const STUDENTS: [f64; 3] = [0.0, 12.7, 4.3];
        let ratios: Vec<f64> = std::iter::once(self.hit_ratio).chain(twins.take(STUDENTS.len() - 1)).collect();
        let (twins, count) = (ratios.len() - 1, ratios.len() as f64);
        let mean = ratios.iter().sum::<f64>() / count;
        let variance = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / (twins.max(1) as f64);
        let by_chance = STUDENTS[twins] * (variance * (1.0 + count.recip())).sqrt();
        Self { hit_ratio: mean, error: self.error.hypot(by_chance).min(1.0), ..self }
    }
}

/// How far off the size of a miniature may be, as a part of it: the slice, which is `part` of all keys, has by chance more or less of
/// what they take. It holds as much as `keys` of one size.
pub(super) fn error_of_size(keys: f64, part: f64) -> f64 {
    (STUDENT * ((1.0 - part) / keys.max(1.0)).sqrt()).min(0.5)
}

/// Adds to the errors along a curve, whose sizes double from one to the next, what errors of the sizes amount to where it is steep.
pub(super) fn add_errors_of_sizes(curve: &mut [Option<Estimate>], errors: &[f64]) {
    let ratios: Vec<Option<f64>> = curve.iter().map(|it| it.map(|it| it.hit_ratio)).collect();
    for (at, (estimate, error)) in curve.iter_mut().zip(errors).enumerate() {
        let Some(estimate) = estimate.as_mut().filter(|it| it.error > 0.0) else { continue };
        let neighbours = [at.checked_sub(1), Some(at + 1)];
        let others = neighbours.into_iter().flatten().filter_map(|at| ratios.get(at).copied().flatten());
        let steepest = others.map(|other| (other - estimate.hit_ratio).abs()).fold(0.0, f64::max);
        estimate.error = estimate.error.hypot(steepest * (1.0 + error).log2()).min(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misses(each: [f64; GROUPS]) -> Misses {
        Misses(each)
    }

    fn estimate(miss_ratio: f64, own: &Misses, mirror: &Misses, reads: f64, weight: f64) -> Estimate {
        let (hits, misses) = (reads * (1.0 - miss_ratio), reads * miss_ratio);
        Ledger { own: *own, mirror: *mirror, cache: *mirror, hits, misses, ..Ledger::default() }.estimate(weight)
    }

    #[test]
    fn where_a_curve_is_steep_an_error_of_the_size_is_one_of_the_ratio() {
        assert_eq!(error_of_size(100.0, 1.0), 0.0, "who sees all keys knows their size");
        assert!((0.07..0.08).contains(&error_of_size(1000.0, 0.01)), "{}", error_of_size(1000.0, 0.01));
        let of = |hit_ratio| Some(Estimate { hit_ratio, error: OF_MODEL, reads: 1.0, at_ms: None });
        let mut curve = [of(0.5), of(0.5), None, of(0.5), of(0.5), of(0.9)];
        add_errors_of_sizes(&mut curve, &[0.1; 6]);
        let errors = curve.map(|it| it.map(|it| (it.error * 1000.0).round()));
        assert_eq!(errors, [Some(2.0), Some(2.0), None, Some(2.0), Some(55.0), Some(55.0)]);
        let exact = Some(Estimate { error: 0.0, ..of(0.5).unwrap() });
        let mut curve = [exact, of(0.9)];
        add_errors_of_sizes(&mut curve, &[0.1; 2]);
        assert_eq!(curve[0], exact, "what is known is known");
    }

    #[test]
    fn misses_count_in_proportion_and_disagreement_is_the_error() {
        let mirror = misses([100.0; GROUPS]);
        let same = estimate(0.4, &mirror, &mirror, 10_000.0, 1.0);
        assert!((same.hit_ratio - 0.6).abs() < 1e-9 && (same.error - OF_MODEL).abs() < 1e-9, "{same:?}");
        let half = estimate(0.4, &misses([50.0; GROUPS]), &mirror, 10_000.0, 1.0);
        assert!((half.hit_ratio - 0.8).abs() < 1e-9 && half.error < 0.01, "{half:?}");
        let mixed = misses([0.0, 100.0, 0.0, 100.0, 0.0, 100.0, 0.0, 100.0]);
        let unsure = estimate(0.4, &mixed, &mirror, 10_000.0, 1.0);
        assert!((unsure.hit_ratio - 0.8).abs() < 1e-9 && unsure.error > 0.1, "{unsure:?}");
    }

    #[test]
    fn what_differs_by_chance_alone_is_as_far_off_as_that() {
        let one = Estimate { hit_ratio: 0.5, error: 0.01, reads: 1.0, at_ms: None };
        assert_eq!(one.with_twins([].into_iter()), one, "of one nothing is known");
        assert_eq!(one.with_twins([0.5, 0.5].into_iter()), one);
        let apart = one.with_twins([0.4, 0.45].into_iter());
        assert!((apart.hit_ratio - 0.45).abs() < 1e-9 && (0.24..0.26).contains(&apart.error), "{apart:?}");
        assert_eq!(one.with_twins([0.0].into_iter()).error, 1.0, "of two hardly anything is");
    }

    #[test]
    fn where_the_model_of_the_cache_is_wrong_the_cache_itself_counts() {
        let each = |count: f64| misses([count; GROUPS]);
        let of = |mirror| Ledger { own: each(50.0), mirror, cache: each(100.0), ..Ledger::default() };
        let ledger = Ledger { hits: 200.0, misses: 800.0, ..of(each(0.0)) };
        let estimate = ledger.estimate(1.0);
        assert!((estimate.hit_ratio - 0.6).abs() < 1e-9 && estimate.error > 0.8, "{estimate:?}");
        let alike = Ledger { mirror: each(90.0), ..ledger }.estimate(1.0);
        assert!((alike.hit_ratio - (1.0 - 0.8 * 5.0 / 9.0)).abs() < 1e-9 && alike.error < 0.01, "{alike:?}");
    }

    #[test]
    fn without_misses_of_the_cache_as_it_is_their_difference_counts() {
        let worse = estimate(0.0, &misses([100.0; GROUPS]), &Misses::default(), 10_000.0, 1.0);
        assert!((worse.hit_ratio - 0.92).abs() < 1e-9, "{worse:?}");
        let worst = estimate(0.9, &misses([1e6; GROUPS]), &misses([1.0; GROUPS]), 100.0, 1.0);
        assert_eq!(worst.hit_ratio, 0.0);
    }
}
