//! Random: every entry is as likely to go as any other.
//!
//! Each entry of a sample draws its rank. The pool carries high ranks over from sample to sample, so that an entry of
//! a crowded segment is no safer than one of an empty one.

use super::{Policy, Seen};
use crate::index::Pos;
use crate::rng::Rng;
use crate::table::Table;

/// See the module's page.
pub(super) struct Random;

impl Policy for Random {
    #[inline]
    fn note(&self, _table: &Table, _pos: Pos, rng: &mut Rng) -> u64 {
        rng.next_u64()
    }

    #[inline]
    fn rank(&self, seen: Seen, _tick: u32) -> u64 {
        seen.note
    }
}
