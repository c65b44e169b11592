//! Frequently used: the more often an entry was used, the older it may become.
//!
//! The rank is `log2(age) - w(frequency)`, in fixed point. After `n` uses, up to 31, `w` is `log2(n + 1)`, so that an entry may
//! become `n + 1` times as old; of more uses four times as many count as twice as many. One never used since it was stored has -3 and goes at a
//! sixteenth of the age of one with a single use. Frequencies do not decay with time: age is in the rank already.
//! What is known of evicted keys (see [`ghost`](super::ghost)) tells a key that returns from one that is new.

use super::ghost::Welcome;
use super::weights::Weights;
use super::{Policy, Seen};

/// Of the keys that are not remembered one in 32 begins with a use, so that a part of a loop larger than the cache
/// stays.
pub(super) static WEIGHTS: Weights = Weights::new(3, 4, Welcome { lucky: 32, credit: true }).counting_all();

/// See the module's page.
pub(super) struct Lfu;

impl Policy for Lfu {
    #[inline]
    fn youngest(&self, bar: u64, _most: u64) -> u32 {
        WEIGHTS.youngest(bar)
    }

    #[inline]
    fn rank(&self, seen: Seen, tick: u32) -> u64 {
        WEIGHTS.rank(seen.word, tick)
    }
}
