//! Time as it comes in from outside: the system's, or one that a test moves by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Gives milliseconds (and microseconds) since 1970.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's clock.
    System,
    /// A clock that stands still until it is moved; microseconds since 1970. Clones share the time.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// A manual clock that shows `at_ms` milliseconds since 1970.
    pub fn manual(at_ms: u64) -> Self {
        Self::Manual(Arc::new(AtomicU64::new(at_ms * 1000)))
    }

    /// Microseconds since 1970.
    pub fn now_us(&self) -> u64 {
        match self {
            Self::System => since_1970().as_micros() as u64,
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

    /// Moves a manual clock; the system's does not move.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(now) = self {
            now.fetch_add(by.as_micros() as u64, Ordering::Relaxed);
        }
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
