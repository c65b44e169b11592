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
    /// Where its entry was, to be asked for ahead and for nothing else.
    pub(super) address: usize,
}

impl Candidate {
    /// A number that no other has at the time, but in databases whose numbers are 2^18 apart: of two such one is kept.
    fn name(&self) -> u64 {
        let Pos { segment, slot } = self.pos;
        (self.database as u64) << 46 | (self.shard as u64) << 40 | u64::from(segment) << 8 | u64::from(slot)
    }

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
    /// What each is told apart by, and its rank; beside the places, as they are gone through far more often.
    names: Vec<u64>,
    ranks: Vec<u64>,
    /// Ranks are as of this tick.
    tick: u32,
    /// The place of the least rank.
    worst: usize,
}

impl Pool {
    /// Forgets all candidates.
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.names.clear();
        self.ranks.clear();
        self.worst = 0;
    }

    /// Ranks change with time.
    pub(super) fn at_tick(&mut self, policy: &impl Policy, tick: u32) {
        if self.tick != tick {
            self.tick = tick;
            self.ranks.clear();
            self.ranks.extend(self.places.iter().map(|place| policy.rank(place.seen, tick)));
            self.find_worst();
        }
    }

    /// What ranks no higher is of no use.
    #[inline]
    pub(super) fn bar(&self) -> Option<u64> {
        if self.ranks.len() < TELLING { None } else { self.ranks.get(self.worst).copied() }
    }

    /// Whether an entry of this rank is of use.
    #[inline]
    pub(super) fn admits(&self, rank: u64) -> bool {
        self.bar().is_none_or(|bar| rank > bar)
    }

    /// Takes in a candidate whose rank it [admits](Pool::admits), instead of the worst if there is no room.
    pub(super) fn offer(&mut self, candidate: Candidate, rank: u64) {
        let name = candidate.name();
        let at = match self.names.iter().position(|known| *known == name) {
            Some(at) => at,
            None if self.places.len() == PLACES => self.worst,
            None => {
                self.places.push(candidate);
                self.names.push(name);
                self.ranks.push(rank);
                self.places.len() - 1
            }
        };
        (self.places[at], self.names[at], self.ranks[at]) = (candidate, name, rank);
        if at == self.worst {
            self.find_worst();
        } else if rank < self.ranks[self.worst] {
            self.worst = at;
        }
    }

    fn find_worst(&mut self) {
        self.worst = (0..self.ranks.len()).min_by_key(|&at| self.ranks[at]).unwrap_or(0);
    }

    /// The rank of the best candidate.
    pub(super) fn best(&self) -> Option<u64> {
        self.ranks.iter().copied().max()
    }

    /// Takes the best candidate out.
    pub(super) fn pop(&mut self) -> Option<Candidate> {
        let best = (0..self.ranks.len()).max_by_key(|&at| self.ranks[at])?;
        self.names.swap_remove(best);
        self.ranks.swap_remove(best);
        if self.worst == best {
            self.find_worst();
        } else if self.worst == self.ranks.len() {
            self.worst = best;
        }
        Some(self.places.swap_remove(best))
    }

    /// Checks that the worst is known; panics if not.
    #[cfg(test)]
    fn validate(&self) {
        assert_eq!((self.names.len(), self.ranks.len()), (self.places.len(), self.places.len()));
        assert_eq!(self.ranks.get(self.worst), self.ranks.iter().min());
        assert!(self.places.iter().zip(&self.names).all(|(place, name)| place.name() == *name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::lru::Lru;
    use crate::rng::Rng;
    use crate::slab::Ref;
    use crate::word::Word;

    #[test]
    fn the_best_of_all_are_kept_and_come_out_in_order() {
        let (mut pool, mut rng) = (Pool::default(), Rng::seeded(1));
        for round in 0..2000u32 {
            let (segment, tick) = (rng.index(60) as u32, rng.index(1000) as u32);
            let seen = Seen { word: Word::new(Ref::from_bits(1), 0, tick, 0), note: 0 };
            let candidate = Candidate { shard: 1, database: 0, pos: Pos { segment, slot: 3 }, seen, address: 0 };
            let (rank, before) = (u64::from(1000 + round - tick), pool.ranks.clone());
            pool.at_tick(&Lru, 1000 + round);
            pool.validate();
            assert!(pool.ranks.iter().zip(before).all(|(now, before)| *now == before + 1 || round == 0));
            if pool.admits(rank) {
                pool.offer(candidate, rank);
                pool.validate();
                assert!(pool.ranks.contains(&rank));
            }
            if rng.index(3) == 0 {
                let best = pool.best();
                let popped = pool.pop().map(|victim| u64::from(victim.seen.word.age(pool.tick)));
                assert_eq!(popped, best);
                pool.validate();
            }
            assert!(pool.places.len() <= PLACES);
            if rng.index(200) == 0 {
                pool.clear();
            }
        }
    }
}
