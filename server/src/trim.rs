//! Memory that the global allocator keeps though nobody uses it: indexes that were larger once, buffers of clients. It goes
//! back to the system when the process holds visibly more than its data takes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use larder_storage::region::trim_allocator;

use crate::engine::Engine;
use crate::info::resident_bytes;

/// What a process may hold beside its data: a part in so many of that, and so much.
const SHARE: u64 = 32;
const ALWAYS: u64 = 8 << 20;
/// The longest pause between two attempts, in seconds: what is resident may well be in use.
const LONGEST_PAUSE: u64 = 64;

/// When to try again.
#[derive(Default)]
pub(crate) struct Trim {
    /// Seconds until then, and the last pause.
    rest: AtomicU64,
    pause: AtomicU64,
    /// What the data took at the last attempt.
    used: AtomicU64,
}

impl Trim {
    /// To be called once a second.
    pub(crate) fn tick(&self, engine: &Engine) {
        let regions = engine.keyspace().regions();
        let used = (engine.keyspace().used_memory() as u64).max(regions.used_bytes() as u64);
        if has_fallen(self.used.load(Relaxed), used) {
            // What was in use then need not be now.
            self.pause.store(0, Relaxed);
            self.rest.store(0, Relaxed);
        }
        let rest = self.rest.load(Relaxed);
        if rest > 0 {
            self.rest.store(rest - 1, Relaxed);
            return;
        }
        self.used.store(used, Relaxed);
        let Some(resident) = resident_bytes().filter(|resident| is_excessive(*resident, used)) else { return };
        let has_helped = trim_allocator() && resident_bytes().is_some_and(|now| now + now / SHARE < resident);
        let pause = if has_helped { 0 } else { (2 * self.pause.load(Relaxed)).clamp(1, LONGEST_PAUSE) };
        self.pause.store(pause, Relaxed);
        self.rest.store(pause, Relaxed);
    }
}

fn is_excessive(resident: u64, used: u64) -> bool {
    resident > used + used / SHARE + ALWAYS
}

fn has_fallen(before: u64, now: u64) -> bool {
    now + now / 4 + ALWAYS < before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_left_alone() {
        assert!(!is_excessive(7 << 20, 0));
        assert!(!is_excessive(1030 << 20, 1000 << 20));
        assert!(is_excessive(1100 << 20, 1000 << 20));
    }

    #[test]
    fn data_that_shrank_is_a_reason_to_look_again() {
        assert!(has_fallen(100 << 20, 10 << 20));
        assert!(!has_fallen(100 << 20, 90 << 20));
        assert!(!has_fallen(8 << 20, 0), "it is little");
    }
}
