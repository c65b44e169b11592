//! Least recently used: the entry with the oldest access goes first.

use super::{Policy, Seen};

/// See the module's page.
pub(super) struct Lru;

impl Policy for Lru {
    #[inline]
    fn youngest(&self, bar: u64, _most: u64) -> u32 {
        u32::try_from(bar).map_or(u32::MAX, |bar| bar.saturating_add(1))
    }

    /// Ticks since the last access.
    #[inline]
    fn rank(&self, seen: Seen, tick: u32) -> u64 {
        seen.word.age(tick).into()
    }
}
