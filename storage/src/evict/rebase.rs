//! Ticks are counted modulo [`TICKS`], so that an entry that nobody uses would one day look young. A small cache with
//! many inserts comes round in a minute. Therefore a pass over all entries, in slices, makes ages above a quarter of
//! the range [smaller](rebased), so that who was used earlier stays older; then the next one is due when the tick has
//! moved by an eighth.
//!
//! Invariant: while each pass ends before the tick has moved by another quarter, no entry's age passes five sixths
//! of the range. (An entry may be younger than a quarter when the pass comes by, or move to a segment behind it; then
//! it is met in the next pass.)

use crate::keyspace::{Keyspace, ShardSet};
use crate::word::TICKS;

/// Ages up to this are what they were.
pub const OLDEST: u32 = TICKS / 4;
/// A pass is due when the tick has moved so far since the last began.
const EVERY: u32 = TICKS / 8;

/// What becomes of an age in a pass: half of what is above [`OLDEST`] stays, and a quarter of what is above twice that.
pub fn rebased(age: u32) -> u32 {
    match age {
        ..=OLDEST => age,
        _ if age <= 2 * OLDEST => OLDEST + (age - OLDEST) / 2,
        _ => OLDEST + OLDEST / 2 + (age - 2 * OLDEST) / 4,
    }
}

/// The pass, and where it is.
#[derive(Debug, Default)]
pub struct Rebase {
    /// The tick at which the last pass began.
    began: u32,
    /// The next segment to visit, while a pass is on its way.
    next: Option<(usize, usize, u32)>,
    /// How many have come to their end.
    passes: u64,
}

impl Rebase {
    /// One that begins at this tick.
    pub fn new(tick: u32) -> Self {
        Self { began: tick, ..Self::default() }
    }

    /// How many passes have come to their end.
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// Visits up to so many segments, all under the lock of one shard; whether the pass has to go on.
    pub fn step<X: Default>(&mut self, keyspace: &Keyspace<X>, segments: u32) -> bool {
        let tick = keyspace.tick();
        if self.next.is_none() && tick.wrapping_sub(self.began) >= EVERY {
            self.began = tick;
            self.next = Some((0, 0, 0));
        }
        let Some((shard, mut database, mut first)) = self.next else { return false };
        let mut left = segments;
        // A script's shards are visited once it has ended.
        let Some(mut locked) = keyspace.try_lock(ShardSet::one(shard)) else { return false };
        let Some(guarded) = locked.only() else { return false };
        while left > 0 && database < keyspace.databases() {
            let Some(table) = guarded.shard.table_quiet(database).filter(|table| (first as usize) < table.segments())
            else {
                (database, first) = (database + 1, 0);
                continue;
            };
            let last = first.saturating_add(left).min(table.segments() as u32);
            (first..last).for_each(|segment| table.rebase(segment, tick));
            left -= last - first;
            first = last;
        }
        self.next = if database < keyspace.databases() {
            Some((shard, database, first))
        } else {
            Some((shard + 1, 0, 0)).filter(|_| shard + 1 < keyspace.shards())
        };
        self.passes += u64::from(self.next.is_none());
        self.next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_used_earlier_stays_older() {
        let mut ages: Vec<u32> = (0..TICKS).step_by(4099).collect();
        for pass in 0..5 {
            ages.iter_mut().for_each(|age| *age = rebased(*age));
            assert!(ages.is_sorted_by(|one, other| one < other), "after {} passes", pass + 1);
        }
    }

    #[test]
    fn no_age_comes_near_the_range() {
        let mut age = 0;
        for _ in 0..1000 {
            // A pass is due after an eighth, and may take a quarter.
            age = rebased(age + EVERY + TICKS / 4);
            assert!(age + EVERY + TICKS / 4 <= TICKS / 6 * 5 + 8, "{age}");
        }
    }
}
