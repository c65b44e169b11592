//! The best candidates of all samples so far, over all shards: a single sample is too small to find a good victim.

use super::{Policy, Seen};
use crate::index::Pos;
use crate::shard::Shard;

/// How many candidates are kept. Of so many the worst shows what is worth to be one; of fewer anything is.
const PLACES: usize = 32;
const TELLING: usize = 8;

/// An entry that may be evicted, as it was when it was seen. By now it may have been used, moved or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The number of its shard.
    pub shard: usize,
    /// Its database.
    pub database: usize,
    /// Where it stood.
    pub pos: Pos,
    /// What was seen of it.
    pub(super) seen: Seen,
    /// As of the pool's tick; the highest goes first.
    pub(super) rank: u64,
    /// Where its entry was, to be asked for ahead and for nothing else.
    pub(super) address: usize,
}

impl Candidate {
    /// The hash of the entry's key, if the entry is still as it was seen.
    pub fn stands(&self, shard: &Shard) -> Option<u64> {
        let table = shard.table(self.database)?;
        (table.checked_word(self.pos)? == self.seen.word).then(|| table.hash_at(self.pos))
    }
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Pool {
    places: Vec<Candidate>,
    /// Ranks are as of this tick.
    tick: u32,
    /// The least rank.
    bar: Option<u64>,
}

impl Pool {
    /// Forgets all candidates.
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.bar = None;
    }

    /// Ranks change with time.
    pub(super) fn at_tick(&mut self, policy: &impl Policy, tick: u32) {
        if self.tick != tick {
            self.tick = tick;
            self.places.iter_mut().for_each(|place| place.rank = policy.rank(place.seen, tick));
            self.bar = self.worst();
        }
    }

    /// What ranks no higher is of no use.
    #[inline]
    pub(super) fn bar(&self) -> Option<u64> {
        if self.places.len() < TELLING { None } else { self.bar }
    }

    /// Whether an entry of this rank is of use.
    #[inline]
    pub(super) fn admits(&self, rank: u64) -> bool {
        self.bar().is_none_or(|bar| rank > bar)
    }

    /// Takes in a candidate that it [admits](Pool::admits), instead of the worst if there is no room.
    pub(super) fn offer(&mut self, candidate: Candidate) {
        let same = |place: &&mut Candidate| {
            (place.pos, place.shard, place.database) == (candidate.pos, candidate.shard, candidate.database)
        };
        if let Some(known) = self.places.iter_mut().find(same) {
            *known = candidate;
        } else if self.places.len() < PLACES {
            self.places.push(candidate);
        } else if let Some(worst) = self.places.iter_mut().min_by_key(|place| place.rank) {
            *worst = candidate;
        }
        self.bar = self.worst();
    }

    fn worst(&self) -> Option<u64> {
        self.places.iter().map(|place| place.rank).min()
    }

    /// The rank of the best candidate.
    pub(super) fn best(&self) -> Option<u64> {
        self.places.iter().map(|place| place.rank).max()
    }

    /// Takes the best candidate out.
    pub(super) fn pop(&mut self) -> Option<Candidate> {
        let best = (0..self.places.len()).max_by_key(|&at| self.places[at].rank)?;
        Some(self.places.swap_remove(best))
    }
}
