//! From sampled misses to a hit ratio.
//!
//! Sampled hits say little: one hot key in the slice, or not in it, decides how many there are. Misses are spread over
//! many keys. So what a miniature missed is compared with what the miniature missed that stands for the cache as it is, whose true ratio is known.

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

    pub(super) fn fade(&mut self, factor: f64) {
        self.0.iter_mut().for_each(|misses| *misses *= factor);
    }

    fn total(&self) -> f64 {
        self.0.iter().sum()
    }
}

/// The hit ratio of one who had these misses where the cache as it is, with this miss ratio, would have had those of
/// `mirror`. `reads` is how many reads there were, `weight` for how many each
/// sampled miss stands.
pub(super) fn estimate(miss_ratio: f64, misses: &Misses, mirror: &Misses, reads: f64, weight: f64) -> Estimate {
    let (own, other) = (misses.total(), mirror.total());
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
        std::array::from_fn(|group| scaled(own - misses.0[group], other - mirror.0[group], reads * part));
    let mean = without.iter().sum::<f64>() / GROUPS as f64;
    let variance = part * without.iter().map(|one| (one - mean).powi(2)).sum::<f64>();
    Estimate { hit_ratio: 1.0 - whole, error: STUDENT * variance.sqrt() + OF_MODEL }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misses(each: [f64; GROUPS]) -> Misses {
        Misses(each)
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
    fn without_misses_of_the_cache_as_it_is_their_difference_counts() {
        let worse = estimate(0.0, &misses([100.0; GROUPS]), &Misses::default(), 10_000.0, 1.0);
        assert!((worse.hit_ratio - 0.92).abs() < 1e-9, "{worse:?}");
        let worst = estimate(0.9, &misses([1e6; GROUPS]), &misses([1.0; GROUPS]), 100.0, 1.0);
        assert_eq!(worst.hit_ratio, 0.0);
    }
}
