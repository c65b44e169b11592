//! Least recently used: the entry with the oldest access goes first.

use super::{Policy, Seen};

/// See the module's page.
pub(super) struct Lru;

impl Policy for Lru {
    /// Ticks since the last access.
    #[inline]
    fn rank(&self, seen: Seen, tick: u32) -> u64 {
        seen.word.age(tick).into()
    }
}
