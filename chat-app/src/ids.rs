//! Ids that the application gives itself, so that a message has its id before any database has seen it.
//!
//! An id is 63 bits: 41 of milliseconds since 2024, 10 of the server's number, 12 of a count within the millisecond. So
//! ids sort by time, and two servers never give the same one. In JSON they are strings: JavaScript's numbers end at 53 bits.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock::Clock;

/// 2024-01-01T00:00:00Z.
const EPOCH_MS: i64 = 1_704_067_200_000;
const NODE_BITS: u32 = 10;
const COUNT_BITS: u32 = 12;
const TIME_SHIFT: u32 = NODE_BITS + COUNT_BITS;

/// Gives the ids of one server.
pub struct Ids {
    clock: Clock,
    node: i64,
    /// Milliseconds and count of the last id, without the server's number between them.
    last: AtomicI64,
}

impl Ids {
    /// Ids of the server with this number, of which the lowest ten bits count.
    pub fn new(clock: Clock, node: i64) -> Self {
        Self { clock, node: node & ((1 << NODE_BITS) - 1), last: AtomicI64::new(0) }
    }

    /// An id that this server has not given before; larger than those before it, even if the clock went back.
    pub fn next(&self) -> i64 {
        let now = (self.clock.now_ms() - EPOCH_MS).max(0) << COUNT_BITS;
        let step = |last: i64| Some(now.max(last + 1));
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap_or_else(|last| last);
        let own = now.max(last + 1);
        let (ms, count) = (own >> COUNT_BITS, own & ((1 << COUNT_BITS) - 1));
        (ms << TIME_SHIFT) | (self.node << COUNT_BITS) | count
    }
}

/// The lowest id of that time.
pub fn first_id_at(ms: i64) -> i64 {
    (ms - EPOCH_MS).max(0) << TIME_SHIFT
}

/// When an id was given, in milliseconds since 1970.
pub fn time_of(id: i64) -> i64 {
    (id >> TIME_SHIFT) + EPOCH_MS
}

/// Serde's way to write ids as strings.
pub mod text {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes an id.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(id: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    /// Reads an id.
    ///
    /// # Errors
    /// What is no number in a string.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ids, first_id_at, time_of};
    use crate::clock::Clock;
    use std::collections::HashSet;

    #[test]
    fn ids_are_unique_across_servers_and_grow_within_one() {
        let clock = Clock::manual(1_800_000_000_000);
        let (one, two) = (Ids::new(clock.clone(), 1), Ids::new(clock.clone(), 2));
        let given: Vec<i64> = (0..10_000).flat_map(|_| [one.next(), two.next()]).collect();
        assert_eq!(given.iter().collect::<HashSet<_>>().len(), 20_000);
        assert!(given.chunks(2).map(|pair| pair[0]).is_sorted());
        clock.advance(-5_000);
        assert!(one.next() > given[19_998], "although the clock went back");
    }

    #[test]
    fn an_id_tells_its_time() {
        let now = 1_800_000_000_123;
        let id = Ids::new(Clock::manual(now), 7).next();
        assert_eq!(time_of(id), now);
        assert!(id >= first_id_at(now) && id < first_id_at(now + 1));
    }
}
