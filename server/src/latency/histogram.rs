//! How the times of a command are distributed: counts of calls per range of time, each range 3 % wide or less.
//!
//! One thread writes a histogram, any may read it, as with all counters. Calls that were not timed are taken for like
//! one that was.

use crate::stats::Counter;

/// Ranges into which each doubling of time is cut.
const PER_DOUBLING: u64 = 32;
/// Times below this many nanoseconds have a range of their own each.
const EXACT: u64 = 2 * PER_DOUBLING;
/// Longer times count as this one, of a second, as in Redis.
const LONGEST: u64 = 1_000_000_000;
/// Ranges in all.
const RANGES: usize = range_of(LONGEST) + 1;

/// The range that a time belongs to.
const fn range_of(nanoseconds: u64) -> usize {
    if nanoseconds < EXACT {
        return nanoseconds as usize;
    }
    let doubling = nanoseconds.ilog2() - EXACT.ilog2();
    let within = (nanoseconds >> (doubling + 1)) - PER_DOUBLING;
    (EXACT + doubling as u64 * PER_DOUBLING + within) as usize
}

/// The longest time of a range, in nanoseconds.
const fn end_of(range: usize) -> u64 {
    let range = range as u64;
    if range < EXACT {
        return range;
    }
    let (doubling, within) = ((range - EXACT) / PER_DOUBLING, (range - EXACT) % PER_DOUBLING);
    ((PER_DOUBLING + within + 1) << (doubling + 1)) - 1
}

/// See the module's page.
pub(crate) struct Histogram {
    counts: Box<[Counter]>,
    /// The range that was counted last.
    last: Counter,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        let counts = (0..RANGES).map(|_| Counter::default()).collect();
        Self { counts, last: Counter::default() }
    }

    /// Counts calls.
    pub(crate) fn add(&self, nanoseconds: u64, calls: u64) {
        let range = range_of(nanoseconds.min(LONGEST));
        self.counts[range].add(calls);
        self.last.set(range as u64);
    }

    /// Forgets everything.
    pub(crate) fn reset(&self) {
        self.counts.iter().for_each(Counter::reset);
    }

    /// Adds what is counted to a sum, if there is anything, and `uncounted` calls that were like the last one.
    pub(crate) fn add_to(&self, times: &mut Times, uncounted: u64) {
        let before = times.total();
        for (sum, count) in times.counts.iter_mut().zip(&self.counts) {
            *sum += count.get();
        }
        if times.total() > before {
            times.counts[self.last.get() as usize] += uncounted;
        }
    }
}

/// The times of a command, summed over all threads.
pub(crate) struct Times {
    counts: Vec<u64>,
}

impl Times {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; RANGES] }
    }

    /// How many calls are counted.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time within which `percent` of all calls ended, in nanoseconds.
    pub(crate) fn percentile(&self, percent: f64) -> u64 {
        let wanted = ((percent.min(100.0) / 100.0 * self.total() as f64) + 0.5) as u64;
        let mut passed = 0;
        let reached = self.counts.iter().position(|count| {
            passed += count;
            passed >= wanted.max(1)
        });
        reached.map_or(0, end_of)
    }

    /// How many calls ended within 1, 2, 4, ... microseconds, as far as that tells more than the time before it. The
    /// microseconds are as Redis names them.
    pub(crate) fn cumulative(&self) -> Vec<(u64, u64)> {
        /// Nanoseconds of the first step.
        const FIRST: u64 = 1024;
        let (mut steps, mut passed, mut from) = (Vec::new(), 0, 0);
        let mut step = FIRST;
        while from < RANGES {
            let to = (range_of(step) + 1).min(RANGES);
            let here: u64 = self.counts[from..to].iter().sum();
            if here > 0 {
                passed += here;
                // Redis cuts a doubling into 128 ranges, and names the end of that in which the step is.
                steps.push(((step + step / 128 - 1) / 1000, passed));
            }
            (from, step) = (to, step * 2);
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_each_other() {
        let mut range = 0;
        for nanoseconds in 0..100_000 {
            let next = range_of(nanoseconds);
            assert!(next == range || next == range + 1, "{nanoseconds}");
            range = next;
            assert!(end_of(range) >= nanoseconds && end_of(range) <= nanoseconds + nanoseconds / 32, "{nanoseconds}");
            assert_eq!(range_of(end_of(range)), range);
        }
        assert_eq!(range_of(LONGEST), RANGES - 1);
    }

    fn times(histogram: &Histogram, uncounted: u64) -> Times {
        let mut times = Times::new();
        histogram.add_to(&mut times, uncounted);
        times
    }

    #[test]
    fn calls_that_were_not_timed_are_like_the_last_one() {
        let histogram = Histogram::new();
        assert_eq!(times(&histogram, 50).total(), 0, "nothing was timed");
        [(2, 1000), (2, 2000), (4, 4000)].iter().for_each(|(calls, time)| histogram.add(*time, *calls));
        assert_eq!(times(&histogram, 0).cumulative(), [(1, 2), (2, 4), (4, 8)]);
        assert_eq!(times(&histogram, 2).cumulative(), [(1, 2), (2, 4), (4, 10)]);
        histogram.reset();
        assert_eq!(times(&histogram, 2).total(), 0);
    }

    #[test]
    fn steps_have_the_names_of_redis() {
        let histogram = Histogram::new();
        (0..15).for_each(|step| histogram.add(1024 << step, 1));
        let names: Vec<u64> = times(&histogram, 0).cumulative().iter().map(|step| step.0).collect();
        let expected = [1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113, 4227, 8454, 16_908];
        assert_eq!(names, expected);
    }

    #[test]
    fn percentiles_are_known_to_a_few_percent() {
        let histogram = Histogram::new();
        (1..=100).for_each(|number| histogram.add(number * 1000, 1));
        let times = times(&histogram, 0);
        for (percent, time) in [(50.0, 50_000), (99.0, 99_000), (100.0, 100_000), (0.0, 1000)] {
            let known = times.percentile(percent);
            assert!(known >= time && known <= time + time / 32, "{percent}: {known}");
        }
    }
}
