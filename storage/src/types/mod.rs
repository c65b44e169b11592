//! The typed values that keys hold, one folder or file per type, and what all of them are given from outside.

use std::sync::Arc;

use crate::hasher::Hasher;
use crate::region::Regions;

pub mod zset;

/// What the operations of a collection need beside the collection itself: where memory comes from, how members are
/// hashed, and up to which size a collection stays packed. One `Env` serves a whole batch of commands.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// The hash of members; the same for the whole life of a collection.
    pub hasher: Hasher,
    /// The regions from which slabs take their pages.
    pub regions: &'a Arc<Regions>,
    /// `zset-max-listpack-entries`: a packed sorted set holds at most so many elements (128 in Redis 7.4).
    pub zset_max_packed_entries: usize,
    /// `zset-max-listpack-value`: bytes of the longest member that is packed (64 in Redis 7.4).
    pub zset_max_packed_value: usize,
}
