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
    /// What the process held beside its data after the last attempt.
    left: AtomicU64,
}

impl Trim {
    /// To be called once a second.
    pub(crate) fn tick(&self, engine: &Engine) {
        let regions = engine.keyspace().regions();
        let used = (engine.keyspace().used_memory() as u64).max(regions.used_bytes() as u64);
        let Some(resident) = resident_bytes().filter(|resident| is_excessive(*resident, used)) else { return };
        let rest = self.rest.load(Relaxed);
        if rest > 0 && !has_grown(resident.saturating_sub(used), self.left.load(Relaxed), used) {
            self.rest.store(rest - 1, Relaxed);
            return;
        }
        let now = if trim_allocator() { resident_bytes().unwrap_or(resident) } else { resident };
        self.left.store(now.saturating_sub(used), Relaxed);
        let has_helped = now + now / SHARE < resident;
        let pause = if has_helped { 0 } else { (2 * self.pause.load(Relaxed)).clamp(1, LONGEST_PAUSE) };
        self.pause.store(pause, Relaxed);
        self.rest.store(pause, Relaxed);
    }
}

fn allowance(used: u64) -> u64 {
    used / SHARE + ALWAYS
}

fn is_excessive(resident: u64, used: u64) -> bool {
    resident > used + allowance(used)
}

/// Whether what is held beside the data is visibly more than the last attempt left, so that another may well help.
fn has_grown(excess: u64, left: u64, used: u64) -> bool {
    excess > left + allowance(used) / 2
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
    fn what_grows_is_looked_at_again() {
        assert!(has_grown(90 << 20, 10 << 20, 10 << 20), "the data shrank");
        assert!(has_grown(40 << 20, 30 << 20, 100 << 20));
        assert!(!has_grown(34 << 20, 30 << 20, 100 << 20));
        assert!(!has_grown(10 << 20, 30 << 20, 100 << 20));
    }
}
