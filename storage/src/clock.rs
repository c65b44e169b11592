//! Time as it comes in from outside: the system's, or one that a test moves by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last millisecond that a manual clock shows, in the year 10889: deadlines are kept in 48 bits, and any of them must
/// be later than the time at which it is looked at.
const LAST_MS: u64 = crate::index::NO_DEADLINE - 2;

/// Gives milliseconds (and microseconds) since 1970.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's clock.
    System,
    /// A clock that stands still until it is moved; microseconds since 1970. Clones share the time.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// A manual clock that shows `at_ms` milliseconds since 1970, or the last that it can show.
    pub fn manual(at_ms: u64) -> Self {
        Self::Manual(Arc::new(AtomicU64::new(at_ms.min(LAST_MS) * 1000)))
    }

    /// Whether it stands still until it is moved.
    #[inline]
    pub fn is_manual(&self) -> bool {
        matches!(self, Self::Manual(_))
    }

    /// Microseconds since 1970.
    pub fn now_us(&self) -> u64 {
        match self {
            Self::System => {
                let since = since_1970();
                since.as_secs() * 1_000_000 + u64::from(since.subsec_micros())
            }
            Self::Manual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// Milliseconds since 1970.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        match self {
            Self::System => {
                let since = since_1970();
                since.as_secs() * 1000 + u64::from(since.subsec_millis())
            }
            Self::Manual(now) => now.load(Ordering::Relaxed) / 1000,
        }
    }

    /// Moves a manual clock, at most to the last time that it can show; the system's does not move.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(now) = self {
            let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
            now.update(Ordering::Relaxed, Ordering::Relaxed, |at| at.saturating_add(by).min(LAST_MS * 1000));
        }
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stops_at_its_end() {
        let clock = Clock::manual(u64::MAX);
        assert_eq!(clock.now_ms(), LAST_MS);
        let clock = Clock::manual(1);
        clock.advance(Duration::from_micros(1500));
        assert_eq!((clock.now_us(), clock.now_ms()), (2500, 2));
        clock.advance(Duration::MAX);
        assert_eq!(clock.now_us(), LAST_MS * 1000);
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.now_ms(), LAST_MS);
    }
}
