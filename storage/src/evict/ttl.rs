//! Time to live: the entry that expires soonest goes first.
//!
//! A table knows the segment of its next expiry, so this one is looked at instead of any.

use super::{Policy, Seen};
use crate::index::Pos;
use crate::rng::Rng;
use crate::table::Table;

/// See the module's page.
pub(super) struct Ttl;

impl Policy for Ttl {
    const SOONEST: bool = true;

    #[inline]
    fn note(&self, table: &Table, pos: Pos, _rng: &mut Rng) -> u64 {
        table.entry(pos).expiry().unwrap_or(u64::MAX)
    }

    #[inline]
    fn rank(&self, seen: Seen, _tick: u32) -> u64 {
        !seen.note
    }
}
