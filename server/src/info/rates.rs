//! Figures per second, from samples of the counters: the mean over the last [`SAMPLES`] samples, as in Redis.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::engine::Engine;

/// Samples that are kept.
const SAMPLES: usize = 16;
/// Milliseconds between two samples.
const INTERVAL_MS: u64 = 100;

/// The counters at one time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at_ms: u64,
    commands: u64,
    input_bytes: u64,
    output_bytes: u64,
}

/// What happens per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PerSecond {
    pub(crate) commands: f64,
    pub(crate) input_bytes: f64,
    pub(crate) output_bytes: f64,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    samples: Mutex<VecDeque<Sample>>,
    last_ms: AtomicU64,
}

impl Rates {
    /// Takes a sample if one is due. To be called several times per interval.
    pub(crate) fn tick(&self, engine: &Engine) {
        let now = engine.clock().now_ms();
        let last = self.last_ms.load(Relaxed);
        if now.abs_diff(last) < INTERVAL_MS || self.last_ms.compare_exchange(last, now, Relaxed, Relaxed).is_err() {
            return;
        }
        let totals = engine.stats().totals();
        self.add(Sample {
            at_ms: now,
            commands: totals.commands,
            input_bytes: totals.input_bytes,
            output_bytes: totals.output_bytes,
        });
    }

    fn add(&self, sample: Sample) {
        let mut samples = self.samples.lock();
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// What happened per second lately; nothing before there are two samples.
    pub(crate) fn per_second(&self) -> PerSecond {
        let samples = self.samples.lock();
        let Some((first, last)) = samples.front().zip(samples.back()) else { return PerSecond::default() };
        let seconds = last.at_ms.saturating_sub(first.at_ms) as f64 / 1000.0;
        if seconds == 0.0 {
            return PerSecond::default();
        }
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        PerSecond {
            commands: rate(first.commands, last.commands),
            input_bytes: rate(first.input_bytes, last.input_bytes),
            output_bytes: rate(first.output_bytes, last.output_bytes),
        }
    }

    /// Forgets all samples, because the counters have been set back.
    pub(crate) fn reset(&self) {
        self.samples.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_cover_the_last_samples_only() {
        let rates = Rates::default();
        assert_eq!(rates.per_second(), PerSecond::default());
        let sample = |number: u64, commands: u64| Sample {
            at_ms: number * 100,
            commands,
            input_bytes: commands * 10,
            output_bytes: 0,
        };
        // A burst long ago, then ten commands per sample.
        rates.add(sample(0, 0));
        (1..40).for_each(|number| rates.add(sample(number, 1_000_000 + number * 10)));
        let expected = PerSecond { commands: 100.0, input_bytes: 1000.0, output_bytes: 0.0 };
        assert_eq!(rates.per_second(), expected);
        rates.reset();
        assert_eq!(rates.per_second(), PerSecond::default());
    }
}
