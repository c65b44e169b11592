//! The time of the application. It comes in from outside, so that a test can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells milliseconds since 1970; cheap to clone, and all clones tell the same time.
#[derive(Clone)]
pub struct Clock {
    shared: Arc<Shared>,
}

struct Shared {
    /// The time of a clock that is moved by hand.
    manual: Option<AtomicI64>,
    /// What is added to this machine's time so that it agrees with the state server's.
    correction_ms: AtomicI64,
}

impl Clock {
    /// This machine's time.
    pub fn system() -> Self {
        Self { shared: Arc::new(Shared { manual: None, correction_ms: AtomicI64::new(0) }) }
    }

    /// A clock that stands still until [`Clock::advance`] moves it.
    pub fn manual(now_ms: i64) -> Self {
        let manual = Some(AtomicI64::new(now_ms));
        Self { shared: Arc::new(Shared { manual, correction_ms: AtomicI64::new(0) }) }
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        match &self.shared.manual {
            Some(now) => now.load(Ordering::Relaxed),
            None => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
        }
    }

    /// Milliseconds since 1970 as all servers that share a state server see them: limits are counted in this time.
    pub fn shared_ms(&self) -> i64 {
        self.now_ms() + self.shared.correction_ms.load(Ordering::Relaxed)
    }

    /// Takes over what the state server says; `asked_ms` and `answered_ms` are this clock's times around the question.
    pub fn correct(&self, server_ms: i64, asked_ms: i64, answered_ms: i64) {
        let here = asked_ms + (answered_ms - asked_ms) / 2;
        self.shared.correction_ms.store(server_ms - here, Ordering::Relaxed);
    }

    /// Moves a manual clock; a system clock stays as it is.
    pub fn advance(&self, by_ms: i64) {
        if let Some(now) = &self.shared.manual {
            now.fetch_add(by_ms, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn a_manual_clock_moves_by_hand_only() {
        let clock = Clock::manual(1_000);
        assert_eq!(clock.now_ms(), 1_000);
        clock.clone().advance(500);
        assert_eq!(clock.now_ms(), 1_500);
    }

    #[test]
    fn the_correction_assumes_that_question_and_answer_travel_equally_long() {
        let clock = Clock::manual(1_000);
        clock.correct(5_010, 990, 1_010);
        assert_eq!(clock.shared_ms(), 5_010);
        assert_eq!(clock.now_ms(), 1_000, "cached pages keep this machine's time");
    }
}
