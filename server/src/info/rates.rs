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
    cycles: u64,
    busy_us: u64,
}

/// What happens per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PerSecond {
    pub(crate) commands: f64,
    pub(crate) input_bytes: f64,
    pub(crate) output_bytes: f64,
    /// Cycles of event loops.
    pub(crate) cycles: f64,
    /// Microseconds of one of them, which is no rate.
    pub(crate) cycle_us: f64,
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
        let (totals, loops) = (engine.stats().totals(), engine.loops.totals());
        self.add(Sample {
            at_ms: now,
            commands: totals.commands,
            input_bytes: totals.input_bytes,
            output_bytes: totals.output_bytes,
            cycles: loops.cycles,
            busy_us: loops.busy.as_micros() as u64,
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
            cycles: rate(first.cycles, last.cycles),
            cycle_us: last.busy_us.saturating_sub(first.busy_us) as f64
                / last.cycles.saturating_sub(first.cycles).max(1) as f64,
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
            cycles: number * 5,
            busy_us: number * 60,
        };
        // A burst long ago, then ten commands per sample.
        rates.add(sample(0, 0));
        (1..40).for_each(|number| rates.add(sample(number, 1_000_000 + number * 10)));
        let expected =
            PerSecond { commands: 100.0, input_bytes: 1000.0, output_bytes: 0.0, cycles: 50.0, cycle_us: 12.0 };
        assert_eq!(rates.per_second(), expected);
        rates.reset();
        assert_eq!(rates.per_second(), PerSecond::default());
    }
}
