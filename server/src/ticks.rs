//! When the ticks of access histories began: the way from an entry's age in ticks to seconds, for OBJECT IDLETIME.
//!
//! Ticks run with inserts, so they have no length in time. Some are noted with the time of their beginning, about one
//! per second; the older they are the fewer are kept, so that an age is known to a few percent, and to a second while
//! it is short. In between, ticks are taken to have passed evenly.
//!
//! Invariant: notes are in the order of ticks and of time, at most [`NOTES`].

use larder_storage::evict::{OLDEST, rebased};
use parking_lot::Mutex;

/// How many notes are kept.
const NOTES: usize = 512;
/// Seconds that RESTORE may say at most.
const LONGEST: u64 = OLDEST as u64 - 2;
/// The length of ticks before the first note: nothing was used then, but RESTORE may say so.
const BEFORE_ALL_MS: u64 = 1000;

/// A tick and when it began, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Note {
    tick: u32,
    at_ms: u64,
}

/// See the module's page.
#[derive(Default)]
pub(crate) struct Ticks(Mutex<Vec<Note>>);

impl Ticks {
    /// Notes that `tick` begins now. To be called about once a second, and first when the engine is made.
    pub(crate) fn note(&self, tick: u32, now_ms: u64) {
        let mut notes = self.0.lock();
        if notes.last().is_some_and(|last| last.tick == tick || last.at_ms > now_ms) {
            return;
        }
        notes.push(Note { tick, at_ms: now_ms });
        thin_out(&mut notes, now_ms);
    }

    /// Follows a pass that made old histories younger: the ticks that they have now began when those did that they had.
    pub(crate) fn rebase(&self, tick: u32) {
        for note in self.0.lock().iter_mut() {
            note.tick = tick.wrapping_sub(rebased(tick.wrapping_sub(note.tick)));
        }
    }

    /// Seconds since the beginning of the tick that was `age` ticks ago; `tick` is the present one.
    pub(crate) fn idle_seconds(&self, age: u32, tick: u32, now_ms: u64) -> u64 {
        let notes = self.0.lock();
        let age_of = |note: &Note| tick.wrapping_sub(note.tick);
        // The notes from here on are younger; ages fall along the notes.
        let younger = notes.partition_point(|note| age_of(note) >= age);
        let after = notes.get(younger).map_or((0, now_ms), |note| (age_of(note), note.at_ms));
        let Some(before) = younger.checked_sub(1).map(|at| notes[at]) else {
            let extra_ms = if notes.is_empty() { 0 } else { u64::from(age - after.0) * BEFORE_ALL_MS };
            return (now_ms.saturating_sub(after.1) + extra_ms) / 1000;
        };
        let span_ms = after.1.saturating_sub(before.at_ms);
        let ticks = u64::from(age_of(&before) - after.0).max(1);
        let passed = u64::from(age_of(&before) - age);
        let began_ms = before.at_ms + (u128::from(span_ms) * u128::from(passed) / u128::from(ticks)) as u64;
        now_ms.saturating_sub(began_ms) / 1000
    }
}

impl Ticks {
    /// The age of what was used last so many seconds ago, up to [`LONGEST`]; the reverse of [`Ticks::idle_seconds`].
    pub(crate) fn age_of(&self, seconds: u64, tick: u32, now_ms: u64) -> u32 {
        let mut notes = self.0.lock();
        let at_ms = now_ms.saturating_sub(seconds.min(LONGEST) * 1000);
        let age_of = |note: &Note| u64::from(tick.wrapping_sub(note.tick));
        let younger = notes.partition_point(|note| note.at_ms <= at_ms);
        let after = notes.get(younger).map_or((0, now_ms), |note| (age_of(note), note.at_ms));
        let age = match younger.checked_sub(1).map(|at| notes[at]) {
            Some(before) => {
                let (ticks, span_ms) = (age_of(&before) - after.0, after.1.saturating_sub(before.at_ms).max(1));
                age_of(&before) - ticks * (at_ms - before.at_ms) / span_ms
            }
            None => {
                let before = after.1.saturating_sub(at_ms).div_ceil(BEFORE_ALL_MS);
                let age = (after.0 + before).min(u64::from(2 * OLDEST));
                if age > after.0 {
                    // Whatever becomes of that age, it began then.
                    notes.insert(0, Note { tick: tick.wrapping_sub(age as u32), at_ms });
                    thin_out(&mut notes, now_ms);
                }
                age
            }
        };
        age as u32
    }
}

/// Removes a note if there are too many.
fn thin_out(notes: &mut Vec<Note>, now_ms: u64) {
    if notes.len() > NOTES
        && let Some(least) = least_telling(notes, now_ms)
    {
        notes.remove(least);
    }
}

/// The note that leaves the smallest gap for its age if it goes; the first and the last stay.
fn least_telling(notes: &[Note], now_ms: u64) -> Option<usize> {
    let gap_by_age = |at: usize| {
        let gap = notes[at + 1].at_ms - notes[at - 1].at_ms;
        gap as f64 / now_ms.saturating_sub(notes[at].at_ms).max(1) as f64
    };
    (1..notes.len().checked_sub(1)?).min_by(|one, other| gap_by_age(*one).total_cmp(&gap_by_age(*other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: u64 = 1_700_000_000_000;

    #[test]
    fn a_short_age_is_exact() {
        let ticks = Ticks::default();
        (0..10).for_each(|second| ticks.note(second, START_MS + u64::from(second) * 1000));
        for age in 0..10 {
            assert_eq!(ticks.idle_seconds(age, 9, START_MS + 9_999), u64::from(age));
        }
    }

    #[test]
    fn ticks_between_notes_passed_evenly() {
        let ticks = Ticks::default();
        ticks.note(100, START_MS);
        ticks.note(200, START_MS + 10_000);
        assert_eq!(ticks.idle_seconds(50, 200, START_MS + 10_000), 5);
        // Since the last note, too.
        assert_eq!(ticks.idle_seconds(50, 300, START_MS + 20_000), 5);
        assert_eq!(ticks.idle_seconds(0, 300, START_MS + 20_000), 0);
    }

    #[test]
    fn before_all_notes_a_tick_takes_a_second() {
        let ticks = Ticks::default();
        assert_eq!(ticks.idle_seconds(5, 7, START_MS), 0);
        ticks.note(7, START_MS);
        assert_eq!(ticks.idle_seconds(500, 7, START_MS + 3000), 503);
    }

    #[test]
    fn ages_and_seconds_lead_to_each_other() {
        let ticks = Ticks::default();
        (0..100).for_each(|second| ticks.note(second * 7, START_MS + u64::from(second) * 1000));
        let (tick, now_ms) = (99 * 7, START_MS + 99_300);
        for seconds in [0, 1, 5, 50, 99, 100, 1000, 100_000] {
            let idle = ticks.idle_seconds(ticks.age_of(seconds, tick, now_ms), tick, now_ms);
            assert!((seconds..=seconds + 1).contains(&idle), "{idle} for {seconds}");
        }
        assert_eq!(ticks.idle_seconds(ticks.age_of(u64::MAX, tick, now_ms), tick, now_ms), LONGEST);
    }

    #[test]
    fn what_passes_make_younger_began_when_it_did() {
        const PER_SECOND: u32 = 20_000;
        let ticks = Ticks::default();
        let now_ms = |second: u32| START_MS + u64::from(second) * 1000;
        // Ticks of last accesses, by the second in which they were.
        let mut used: Vec<(u32, u32)> = Vec::new();
        for second in 0..=1000 {
            let tick = second * PER_SECOND;
            ticks.note(tick, now_ms(second));
            used.extend((second % 50 == 0).then_some((second, tick)));
            if second % 100 == 99 {
                ticks.rebase(tick);
                used.iter_mut().for_each(|(_, at)| *at = tick - rebased(tick - *at));
            }
        }
        let tick = 1000 * PER_SECOND;
        for (second, at) in used {
            let (idle, told) = (u64::from(1000 - second), ticks.idle_seconds(tick - at, tick, now_ms(1000)));
            assert!(told.abs_diff(idle) <= 2 + idle / 20, "{told}, not {idle}");
        }
        let restored = ticks.age_of(5000, tick, now_ms(1000));
        assert_eq!(ticks.idle_seconds(restored, tick, now_ms(1000)), 5000);
        ticks.rebase(tick);
        assert_eq!(ticks.idle_seconds(rebased(restored), tick, now_ms(1000)), 5000);
    }

    #[test]
    fn a_month_of_seconds_is_known_to_a_few_percent() {
        const SECONDS: u32 = 30 * 24 * 3600;
        /// Ticks per second; the count of all ticks wraps on the way.
        const RATE: u32 = 37;
        let ticks = Ticks::default();
        let first = u32::MAX - 1_000_000;
        let mut last = 0;
        // Every 20 seconds, to keep the test short.
        for second in (0..SECONDS).step_by(20) {
            ticks.note(first.wrapping_add(second * RATE), START_MS + u64::from(second) * 1000);
            last = second;
        }
        assert!(ticks.0.lock().len() <= NOTES);
        let (tick, now) = (first.wrapping_add(last * RATE), START_MS + u64::from(last) * 1000);
        for age_seconds in [0, 20, 60, 600, 3600, 86_400, 20 * 86_400] {
            let idle = ticks.idle_seconds(age_seconds * RATE, tick, now) as f64;
            let error = (idle - f64::from(age_seconds)).abs();
            assert!(error <= 1.0, "{idle} for {age_seconds}");
        }
        let notes = ticks.0.lock();
        let widest = notes
            .windows(2)
            .map(|pair| (pair[1].at_ms - pair[0].at_ms) as f64 / (now - pair[0].at_ms).max(1_000_000) as f64);
        assert!(widest.fold(0.0, f64::max) < 0.05, "gaps are small for their age");
    }
}
