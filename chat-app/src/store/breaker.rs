//! A circuit breaker: after some failures in a row it refuses at once, so that a dead server costs its callers nothing,
//! and lets one request try from time to time. (Nygard, "Release It!", 2007.)

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// See the page of this module.
pub struct Breaker {
    most_failures: u32,
    open_for: Duration,
    state: Mutex<State>,
}

struct State {
    failures: u32,
    /// The first of the failures in a row.
    failing_since: Option<Instant>,
    /// Until then nothing is let through; at this time one request is.
    open_until: Option<Instant>,
}

impl Breaker {
    /// Opens after `most_failures` in a row, for `open_for`.
    pub fn new(most_failures: u32, open_for: Duration) -> Self {
        let state = State { failures: 0, failing_since: None, open_until: None };
        Self { most_failures, open_for, state: Mutex::new(state) }
    }

    /// Whether a request may be made. While it is open, one caller per period is told yes: the one that tries.
    pub fn lets_through(&self) -> bool {
        self.lets_through_at(Instant::now())
    }

    fn lets_through_at(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        match state.open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                state.open_until = Some(now + self.open_for);
                true
            }
        }
    }

    /// An answer came: it closes. Whether it was open.
    pub fn succeeded(&self) -> bool {
        let mut state = self.state.lock();
        let was_open = state.open_until.is_some();
        (state.failures, state.failing_since, state.open_until) = (0, None, None);
        was_open
    }

    /// No answer came. Whether this opened it.
    pub fn failed(&self) -> bool {
        self.failed_at(Instant::now())
    }

    fn failed_at(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        state.failing_since.get_or_insert(now);
        let was_closed = state.open_until.is_none();
        if state.failures >= self.most_failures {
            state.open_until = Some(now + self.open_for);
        }
        was_closed && state.open_until.is_some()
    }

    /// Whether it lets everything through; asking does not count as the request that tries.
    pub fn is_closed(&self) -> bool {
        self.state.lock().open_until.is_none()
    }

    /// How long there have been failures and nothing else.
    pub fn failing_for(&self) -> Duration {
        self.state.lock().failing_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::Breaker;
    use std::time::{Duration, Instant};

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_try() {
        let breaker = Breaker::new(3, Duration::from_secs(1));
        let now = Instant::now();
        breaker.failed_at(now);
        breaker.failed_at(now);
        breaker.succeeded();
        breaker.failed_at(now);
        breaker.failed_at(now);
        assert!(breaker.lets_through_at(now), "not three in a row");
        breaker.failed_at(now);
        assert!(!breaker.lets_through_at(now) && !breaker.is_closed());
        let later = now + Duration::from_secs(1);
        assert!(breaker.lets_through_at(later), "one tries");
        assert!(!breaker.lets_through_at(later), "the others do not");
        breaker.succeeded();
        assert!(breaker.lets_through_at(later) && breaker.is_closed());
    }
}
