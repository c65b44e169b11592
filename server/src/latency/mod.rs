//! The latency monitor: for each sort of event, the times at which it took long.
//!
//! - [`graph`]: a history as a picture of characters. - [`histogram`]: how the times of a command are distributed.

mod graph;
mod histogram;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;

pub(crate) use histogram::{Histogram, Times};

/// Moments that are kept of each event, as in Redis.
const MOMENTS: usize = 160;
/// Columns of a graph, and of the rule above it.
const COLUMNS: usize = 80;

/// When an event took long, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Seconds since 1970.
    pub(crate) at: u64,
    pub(crate) milliseconds: u64,
}

/// What is known of an event.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// From the oldest to the latest, at most one per second.
    pub(crate) moments: VecDeque<Moment>,
    /// The longest time ever.
    pub(crate) longest: u64,
}

/// See the module's page.
#[derive(Default)]
pub(crate) struct Latency(Mutex<BTreeMap<&'static str, History>>);

impl Latency {
    /// Notes that an event took `time`, if that is `threshold` milliseconds or more and the threshold not 0.
    pub(crate) fn note(&self, event: &'static str, time: Duration, threshold: u64, at: u64) {
        let milliseconds = time.as_millis() as u64;
        if threshold == 0 || milliseconds < threshold {
            return;
        }
        self.0.lock().entry(event).or_default().add(Moment { at, milliseconds });
    }

    /// An event's history, if there is one.
    pub(crate) fn history(&self, event: &[u8]) -> Option<(&'static str, History)> {
        let events = self.0.lock();
        events.get_key_value(str::from_utf8(event).ok()?).map(|(event, history)| (*event, history.clone()))
    }

    /// All histories, by name of the event.
    pub(crate) fn all(&self) -> Vec<(&'static str, History)> {
        self.0.lock().iter().map(|(event, history)| (*event, history.clone())).collect()
    }

    /// Forgets the events of these names in any case, or all if there are none; gives how many it were.
    pub(crate) fn reset<'a>(&self, names: impl Iterator<Item = &'a [u8]> + Clone) -> usize {
        let mut events = self.0.lock();
        let before = events.len();
        let all = names.clone().next().is_none();
        events.retain(|event, _| !all && !names.clone().any(|name| name.eq_ignore_ascii_case(event.as_bytes())));
        before - events.len()
    }
}

impl History {
    fn add(&mut self, moment: Moment) {
        self.longest = self.longest.max(moment.milliseconds);
        match self.moments.back_mut().filter(|last| last.at == moment.at) {
            Some(last) => last.milliseconds = last.milliseconds.max(moment.milliseconds),
            None => self.moments.push_back(moment),
        }
        if self.moments.len() > MOMENTS {
            self.moments.pop_front();
        }
    }

    /// The shortest and the longest time that is kept.
    fn range(&self) -> (u64, u64) {
        let times = self.moments.iter().map(|moment| moment.milliseconds);
        (times.clone().min().unwrap_or(0), times.max().unwrap_or(0))
    }

    /// LATENCY GRAPH's picture, with how long ago each time was.
    pub(crate) fn graph(&self, event: &str, now: u64) -> String {
        let (low, high) = self.range();
        let mut picture = format!("{event} - high {high} ms, low {low} ms (all time high {} ms)\n", self.longest);
        picture.push_str(&"-".repeat(COLUMNS));
        picture.push('\n');
        let points: Vec<_> =
            self.moments.iter().map(|moment| (moment.milliseconds, ago(now.saturating_sub(moment.at)))).collect();
        picture.push_str(&graph::draw(&points, COLUMNS));
        picture
    }

    /// A sentence or two for LATENCY DOCTOR.
    pub(crate) fn report(&self, event: &str) -> String {
        let count = self.moments.len() as u64;
        let sum: u64 = self.moments.iter().map(|moment| moment.milliseconds).sum();
        let mean = sum.checked_div(count).unwrap_or(0);
        let deviations = self.moments.iter().map(|moment| moment.milliseconds.abs_diff(mean));
        let deviation = deviations.sum::<u64>().checked_div(count).unwrap_or(0);
        let span = match (self.moments.front(), self.moments.back()) {
            (Some(first), Some(last)) if count > 1 => (last.at - first.at) / (count - 1),
            _ => 0,
        };
        format!(
            "{event}: {count} latency spikes (average {mean}ms, mean deviation {deviation}ms, period {span} sec). \
             Worst all time event {}ms.",
            self.longest
        )
    }
}

/// A time as a label: in the largest unit that it reaches.
fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(latency: &Latency, at: u64, milliseconds: u64) {
        latency.note("command", Duration::from_millis(milliseconds), 10, at);
    }

    #[test]
    fn the_longest_of_a_second_is_kept() {
        let latency = Latency::default();
        [(1, 9), (1, 20), (1, 30), (1, 25), (2, 11)].iter().for_each(|(at, time)| note(&latency, *at, *time));
        let (_, history) = latency.history(b"command").unwrap();
        let expected = [Moment { at: 1, milliseconds: 30 }, Moment { at: 2, milliseconds: 11 }];
        assert!(history.moments.iter().eq(&expected));
        assert_eq!(history.longest, 30);
        assert!(latency.history(b"fork").is_none());
    }

    #[test]
    fn a_history_is_bounded_and_can_be_forgotten() {
        let latency = Latency::default();
        (0..500).for_each(|at| note(&latency, at, 10 + at));
        latency.note("fast-command", Duration::from_millis(10), 10, 7);
        latency.note("fast-command", Duration::from_millis(10), 0, 8);
        assert_eq!(latency.history(b"command").unwrap().1.moments.len(), MOMENTS);
        assert_eq!(latency.all().len(), 2);
        assert_eq!(latency.reset([&b"none"[..], b"COMMAND"].into_iter()), 1);
        assert_eq!(latency.reset(std::iter::empty()), 1);
        assert_eq!(latency.reset(std::iter::empty()), 0);
    }

    #[test]
    fn a_graph_names_the_event_and_its_times() {
        let latency = Latency::default();
        note(&latency, 100, 500);
        let graph = latency.history(b"command").unwrap().1.graph("command", 103);
        let rule = "-".repeat(80);
        assert_eq!(
            graph,
            format!("command - high 500 ms, low 500 ms (all time high 500 ms)\n{rule}\n \n \n \n_\n \n3\ns\n")
        );
    }
}
