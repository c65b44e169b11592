//! A cache without values: what a policy would keep of the keys in the slice, in a cache as much smaller as the slice
//! is, and how often that would have been asked for.
//!
//! Waldspurger, Saemundsson, Ahmad and Park, "Cache Modeling and Optimization using Miniature Simulations" (ATC 2017).
//!
//! Keys are known by their hashes, in a table with linear probing whose order has nothing to do with ages, so that a
//! run of its slots is a random sample. Victims are chosen as in the large cache: see [`Best`] and [`Pool`].
//!
//! Invariants: a slot is reached from its hash's home without passing a free one; at most three quarters of the slots
//! are taken; `bytes` is the sum of the sizes.

use super::Weighed;
use crate::evict::ghost::{Ghost, Welcome};
use crate::evict::pool::{Candidate, Pool};
use crate::evict::samples::Sample;
use crate::evict::{Best, Policy, SAMPLE, Seen};
use crate::index::Pos;
use crate::rng::Rng;
use crate::slab::Ref;
use crate::word::Word;

const FEWEST_SLOTS: usize = 64;
const TICKS_PER_TURNOVER: usize = 256;

/// A key: its history with its size in place of the reference, and its hash. A word without a size is a free slot.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u64,
    word: Word,
}

impl Slot {
    fn free() -> Self {
        Self { hash: 0, word: Word::new(Ref::from_bits(0), 0, 0, 0) }
    }

    fn size(&self) -> u32 {
        self.word.cell().bits()
    }

    fn is_free(&self) -> bool {
        self.size() == 0
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Miniature {
    slots: Vec<Slot>,
    len: usize,
    bytes: u64,
    ghost: Ghost,
    pool: Pool,
    tick: u32,
    /// Keys stored since the tick moved.
    inserts: usize,
}

impl Miniature {
    pub(super) fn new(welcome: Welcome) -> Self {
        let slots = vec![Slot::free(); FEWEST_SLOTS];
        Self { slots, len: 0, bytes: 0, ghost: Ghost::new(welcome), pool: Pool::default(), tick: 0, inserts: 0 }
    }

    /// Keys held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of what they would take.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Uses a key, which is stored if it is not there; whether it was. Others go until `limit` bytes hold all.
    pub(super) fn use_key(&mut self, sample: Sample, limit: u64, policy: &Weighed, rng: &mut Rng) -> bool {
        let found = self.find(sample.hash);
        let frequency = match found {
            Some(at) => {
                let word = self.slots[at].word.touched(self.tick);
                self.bytes = self.bytes + u64::from(sample.size) - u64::from(self.slots[at].size());
                self.slots[at].word = word.with_cell(Ref::from_bits(sample.size.max(1)));
                return true;
            }
            None => self.ghost.admit(sample.hash, rng),
        };
        let size = sample.size.max(1);
        while self.bytes + u64::from(size) > limit && self.len > 0 {
            self.evict(policy, rng);
        }
        if 4 * (self.len + 1) > 3 * self.slots.len() {
            self.grow();
        }
        self.put(Slot { hash: sample.hash, word: Word::new(Ref::from_bits(size), 0, self.tick, frequency) });
        self.len += 1;
        self.bytes += u64::from(size);
        self.inserts += 1;
        if self.inserts * TICKS_PER_TURNOVER >= self.len {
            self.inserts = 0;
            self.tick = self.tick.wrapping_add(1);
        }
        false
    }

    /// Forgets a key that is gone.
    pub(super) fn remove(&mut self, hash: u64) {
        if let Some(at) = self.find(hash) {
            self.take(at);
        }
    }

    /// Forgets the keys that `stays` is false for.
    pub(super) fn retain(&mut self, stays: impl Fn(u64) -> bool) {
        let leaving: Vec<u64> =
            self.slots.iter().filter(|slot| !slot.is_free() && !stays(slot.hash)).map(|slot| slot.hash).collect();
        leaving.into_iter().for_each(|hash| self.remove(hash));
    }

    fn evict(&mut self, policy: &Weighed, rng: &mut Rng) {
        let mut best = Best::default();
        let mask = self.slots.len() - 1;
        let first = rng.index(self.slots.len());
        let mut seen = 0;
        for at in (first..first + self.slots.len()).map(|at| at & mask) {
            let slot = self.slots[at];
            if slot.is_free() {
                continue;
            }
            let look = Seen { word: slot.word, note: slot.size().into() };
            let pos = Pos { segment: at as u32, slot: 0 };
            let rank = policy.rank(look, self.tick);
            if best.admits(rank) {
                best.offer(Candidate { shard: 0, database: 0, pos, seen: look, rank, address: 0 });
            }
            seen += 1;
            if seen >= SAMPLE {
                break;
            }
        }
        self.pool.at_tick(policy, self.tick);
        best.into_iter().for_each(|candidate| self.pool.offer(candidate));
        let Some(victim) = self.pool.pop() else { return };
        let at = victim.pos.segment as usize;
        if self.slots.get(at).is_some_and(|slot| !slot.is_free() && slot.word == victim.seen.word) {
            let Slot { hash, word } = self.take(at);
            self.ghost.put(hash, word.frequency(), self.len + 1);
        }
    }

    fn find(&self, hash: u64) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut at = self.home(hash);
        loop {
            match self.slots[at] {
                slot if slot.is_free() => return None,
                slot if slot.hash == hash => return Some(at),
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn home(&self, hash: u64) -> usize {
        (hash >> 24) as usize & (self.slots.len() - 1)
    }

    fn put(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = self.home(slot.hash);
        while !self.slots[at].is_free() {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    /// Takes a key out; those that stand behind it for want of a nearer slot move up.
    fn take(&mut self, at: usize) -> Slot {
        let taken = std::mem::replace(&mut self.slots[at], Slot::free());
        let mask = self.slots.len() - 1;
        let (mut hole, mut next) = (at, (at + 1) & mask);
        while !self.slots[next].is_free() {
            let home = self.home(self.slots[next].hash);
            // It may move to the hole if that is not before its home.
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.slots.swap(hole, next);
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.len -= 1;
        self.bytes -= u64::from(taken.size());
        taken
    }

    fn grow(&mut self) {
        let doubled = vec![Slot::free(); 2 * self.slots.len()];
        let slots = std::mem::replace(&mut self.slots, doubled);
        slots.into_iter().filter(|slot| !slot.is_free()).for_each(|slot| self.put(slot));
        self.pool.clear();
    }

    /// Bytes that this takes.
    pub(super) fn memory(&self) -> usize {
        self.slots.len() * size_of::<Slot>() + self.ghost.memory()
    }

    /// Checks every invariant; panics with what is wrong. For tests.
    #[cfg(test)]
    pub(super) fn validate(&self) {
        let taken: Vec<&Slot> = self.slots.iter().filter(|slot| !slot.is_free()).collect();
        assert_eq!(taken.len(), self.len);
        assert!(4 * self.len <= 3 * self.slots.len());
        assert_eq!(taken.iter().map(|slot| u64::from(slot.size())).sum::<u64>(), self.bytes);
        for slot in taken {
            let found = self.find(slot.hash).map(|at| self.slots[at].word);
            assert_eq!(found, Some(slot.word), "a key is found, once");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::evict::adaptive::TABLES;
    use crate::evict::samples::Event;

    fn sample(hash: u64, size: u32) -> Sample {
        Sample { hash, size, event: Event::Used, expires: false }
    }

    fn policy(table: usize, size_weight: u32) -> Weighed {
        Weighed { weights: &TABLES[table], size_weight }
    }

    fn hash(number: u64) -> u64 {
        Rng::seeded(number).next_u64()
    }

    #[test]
    fn random_use_keeps_the_invariants() {
        for (seed, table) in (0..TABLES.len()).enumerate() {
            let mut rng = Rng::seeded(seed as u64);
            let mut miniature = Miniature::new(TABLES[table].welcome);
            // What may be there: used since it was removed last.
            let mut used = BTreeMap::new();
            for step in 0..20_000 {
                let number = rng.below(2000).min(rng.below(2000));
                let (hash, size) = (hash(number), 10 + rng.below(200) as u32);
                let limit = if step < 3000 { u64::MAX } else { 30_000 };
                if rng.below(8) == 0 {
                    miniature.remove(hash);
                    used.remove(&hash);
                    assert_eq!(miniature.find(hash), None);
                } else {
                    let hit = miniature.use_key(sample(hash, size), limit, &policy(table, step % 3), &mut rng);
                    let before = used.insert(hash, size);
                    assert!(!hit || before.is_some(), "only what was used is there");
                    assert!(hit || miniature.bytes() <= limit, "a new key finds room");
                    assert_eq!(miniature.find(hash).map(|at| miniature.slots[at].size()), Some(size));
                }
                if step == 10_000 {
                    miniature.retain(|hash| hash % 2 == 0);
                    used.retain(|hash, _| hash % 2 == 0);
                }
                if step % 50 == 0 {
                    miniature.validate();
                    let there = miniature.slots.iter().filter(|slot| !slot.is_free());
                    assert!(there.into_iter().all(|slot| used.contains_key(&slot.hash)));
                }
            }
        }
    }

    #[test]
    fn what_collides_is_told_apart() {
        let (mut miniature, mut rng) = (Miniature::new(Welcome::default()), Rng::seeded(1));
        for number in 0..40 {
            assert!(!miniature.use_key(sample(number, 1), u64::MAX, &policy(1, 0), &mut rng));
        }
        for number in (0..40).step_by(3) {
            miniature.remove(number);
            miniature.validate();
        }
        for number in 0..40 {
            assert_eq!(miniature.find(number).is_some(), number % 3 != 0, "{number}");
        }
    }

    #[test]
    fn the_oldest_go_first_and_removed_keys_are_not_remembered() {
        let (mut miniature, mut rng) = (Miniature::new(TABLES[1].welcome), Rng::seeded(1));
        for number in 0..3000 {
            miniature.use_key(sample(hash(number), 1), 300, &policy(1, 0), &mut rng);
        }
        assert_eq!(miniature.len(), 300);
        let kept = (2700..3000).filter(|number| miniature.find(hash(*number)).is_some()).count();
        assert!(kept > 285, "{kept}");
        let remembered = miniature.ghost.memory();
        (0..3000).for_each(|number| miniature.remove(hash(number)));
        assert_eq!((miniature.len(), miniature.bytes(), miniature.ghost.memory()), (0, 0, remembered));
        // Had they been remembered, the last ones would begin with a use.
        miniature.use_key(sample(hash(2999), 1), 300, &policy(1, 0), &mut rng);
        let at = miniature.find(hash(2999)).unwrap();
        assert_eq!(miniature.slots[at].word.frequency(), 0);
    }
}
