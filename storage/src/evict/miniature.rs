//! A cache without values: what a policy would keep of the keys in a slice, in a cache as much smaller as the slice
//! is, and how often that would have been asked for.
//!
//! Waldspurger, Saemundsson, Ahmad and Park, "Cache Modeling and Optimization using Miniature Simulations" (ATC 2017).
//!
//! Keys are known by their hashes, in a table with linear probing whose order has nothing to do with ages, so that a
//! run of its slots is a random sample. Victims are chosen as in the large cache: see [`Pool`].
//!
//! Invariants: a slot is reached from its hash's home without passing a free one; at most four fifths of the slots
//! are taken; `bytes` is the sum of the sizes, `expiring` counts the keys with an expiry.

use super::adaptive::Weighed;
use super::ghost::Welcome;
use super::ghosts::Ghosts;
use super::pool::{Candidate, Pool};
use super::samples::{Event, Sample, UNUSED_BITS};
use super::{Policy, SAMPLE, Seen};
use crate::cpu::{prefetch, prefetch_to_write};
use crate::index::Pos;
use crate::rng::{Dice, Rng};
use crate::slab::Ref;
use crate::word::Word;

const FEWEST_SLOTS: usize = 64;
/// Slots that may be taken: so many of so many. There are many miniatures, so their tables follow their keys closely.
const TAKEN: (usize, usize) = (4, 5);
const TICKS_PER_TURNOVER: usize = 256;
/// Stores from which on is told whether some are refused.
const FEWEST_STORES: usize = 64;
/// Times of expiry are seconds modulo this, and never 0, which stands for none.
const SECONDS: u64 = 1 << UNUSED_BITS;

/// Which keys a miniature lets go first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Model {
    /// By age and frequency.
    Weighed(Weighed),
    /// Any.
    Random,
    /// Those that expire soonest.
    Ttl,
}

impl Policy for Model {
    #[inline]
    fn youngest(&self, bar: u64, most: u64) -> u32 {
        match self {
            Self::Weighed(weighed) => weighed.youngest(bar, most),
            Self::Random | Self::Ttl => 0,
        }
    }

    #[inline]
    fn rank(&self, seen: Seen, tick: u32) -> u64 {
        match self {
            Self::Weighed(weighed) => weighed.rank(seen, tick),
            Self::Random | Self::Ttl => seen.note,
        }
    }
}

/// What a miniature goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) model: Model,
    /// Whether keys without an expiry stay.
    pub(super) volatile: bool,
    /// Bytes that hold all.
    pub(super) limit: u64,
    /// In milliseconds since 1970; `None` where keys that expire are removed from outside.
    pub(super) now: Option<u64>,
}

impl Rules {
    /// Those of miniatures that each have a model of their own, and hold what has so many bytes.
    pub(super) fn timeless(limit: u64) -> Self {
        Self { model: Model::Random, volatile: false, limit, now: None }
    }
}

/// A key: its hash, with the second of its expiry in place of the bits that [say little](UNUSED_BITS), and its history, with its size in
/// place of the reference. A word without a size is a free slot.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: u64,
    word: Word,
}

impl Slot {
    fn free() -> Self {
        Self { key: 0, word: Word::new(Ref::from_bits(0), 0, 0, 0) }
    }

    fn new(sample: Sample, tick: u32, frequency: u8) -> Self {
        let mut slot = Self { key: sample.hash, word: Word::new(Ref::from_bits(0), 0, tick, frequency) };
        slot.resize(sample);
        slot
    }

    fn size(&self) -> u32 {
        self.word.cell().bits()
    }

    fn is_free(&self) -> bool {
        self.size() == 0
    }

    fn is(&self, hash: u64) -> bool {
        (self.key ^ hash) >> UNUSED_BITS == 0
    }

    /// The hash, but for the bits that say little.
    fn hash(&self) -> u64 {
        self.key & !(SECONDS - 1)
    }

    /// Takes size and expiry from a sample of the key as it is.
    fn resize(&mut self, sample: Sample) {
        self.word = self.word.with_cell(Ref::from_bits(sample.size.max(1)));
        self.expire_at(sample.expiry);
    }

    fn expire_at(&mut self, expiry: u64) {
        let second = expiry.div_ceil(1000);
        // What expires in more than half of the range's time does so never, as far as this can tell.
        let mark = if expiry == u64::MAX { 0 } else { (second % SECONDS).max(1) };
        self.key = self.hash() | mark;
        self.word = self.word.with_expires(expiry != u64::MAX);
    }

    /// Seconds until it expires, modulo the range; those of the range's second half are past.
    fn seconds_left(&self, now: u64) -> u64 {
        (self.key % SECONDS).wrapping_sub(now / 1000) % SECONDS
    }

    fn has_expired(&self, now: Option<u64>) -> bool {
        now.is_some_and(|now| self.word.expires() && self.seconds_left(now) > SECONDS / 2)
    }

    /// Whether it is about to be stored by who did not find it in the large cache: that is no use of it.
    fn awaits_store(&self) -> bool {
        self.word.owns()
    }

    fn set_awaits_store(&mut self, awaits: bool) {
        self.word = self.word.with_owns(awaits);
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Miniature {
    slots: Vec<Slot>,
    len: usize,
    bytes: u64,
    expiring: usize,
    ghosts: Ghosts,
    pool: Pool,
    tick: u32,
    dice: Dice,
    /// Keys stored since the tick moved.
    inserts: usize,
    /// Keys stored since it was full for the first time; `None` if it never was.
    stored_while_full: Option<usize>,
    /// Keys that it was to store, and those of them that found nothing which may go for them; older ones count less.
    asked: usize,
    refused: usize,
    /// Where the next search for a victim begins, by chance, if that is still one of its slots.
    begin: usize,
}

impl Miniature {
    pub(super) fn new(welcome: Welcome) -> Self {
        Self {
            slots: vec![Slot::free(); FEWEST_SLOTS],
            len: 0,
            bytes: 0,
            expiring: 0,
            ghosts: Ghosts::new(welcome),
            pool: Pool::default(),
            tick: 0,
            dice: Dice::default(),
            inserts: 0,
            stored_while_full: None,
            asked: 0,
            refused: 0,
            begin: 0,
        }
    }

    /// As it is, but what is evicted is remembered beside other keys: another one by chance.
    pub(super) fn dealt(self, number: usize) -> Self {
        Self { ghosts: self.ghosts.dealt(number), ..self }
    }

    /// How keys begin.
    pub(super) fn welcome(&self) -> Welcome {
        self.ghosts.welcome()
    }

    /// Lets keys begin so from now on.
    pub(super) fn set_welcome(&mut self, welcome: Welcome) {
        self.ghosts.set_welcome(welcome);
    }

    /// Lets what was evicted be remembered in so many parts, and gives slots back that nothing needs.
    pub(super) fn fit(&mut self, count: usize) {
        let there = self.slots.iter().filter(|slot| !slot.is_free());
        self.ghosts.split(count, there.map(|slot| slot.key));
        self.trim();
    }

    /// Keys held.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether since keys have had to go for want of room as many were stored as it holds.
    pub(super) fn has_turned_over(&self) -> bool {
        self.stored_while_full.is_some_and(|stored| stored >= self.len)
    }

    /// Whether keys have had to go for want of room.
    pub(super) fn has_been_full(&self) -> bool {
        self.stored_while_full.is_some()
    }

    /// Whether of late more than one in a hundred keys was not stored, as nothing was there that may go.
    pub(super) fn refuses(&self) -> bool {
        self.asked >= FEWEST_STORES && self.refused * 100 > self.asked
    }

    /// Lets it count as never full: its limit is another one now.
    pub(super) fn forget_turnover(&mut self) {
        (self.stored_while_full, self.asked, self.refused) = (None, 0, 0);
    }

    fn note_full(&mut self) {
        self.stored_while_full.get_or_insert(0);
    }

    /// How many keys of the same size would scatter as those here do.
    pub(super) fn effective_len(&self) -> f64 {
        let squares: f64 = self.slots.iter().map(|slot| f64::from(slot.size()).powi(2)).sum();
        if squares > 0.0 { (self.bytes as f64).powi(2) / squares } else { 0.0 }
    }

    /// Bytes of what they would take.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Uses a key, which is stored if it is not there; whether it was. Others go until the limit holds all.
    pub(super) fn use_key(&mut self, sample: Sample, rules: &Rules, rng: &mut Rng) -> bool {
        match self.find(sample.hash) {
            Some(at) => {
                self.touch(at);
                self.resize(at, sample);
                true
            }
            None => {
                self.store(sample, rules, rng);
                false
            }
        }
    }

    /// Asks for what a key of this hash will need, and the next search for a victim.
    pub(super) fn prefetch(&self, hash: u64) {
        self.slots.get(self.home(hash)).into_iter().for_each(|slot| prefetch_to_write(slot));
        self.slots.get(self.begin).into_iter().for_each(|slot| prefetch(slot));
    }

    /// Does what a cache of this size and policy would have done where the large one had this event; of a read, whether the
    /// key would have been there. A read that would have missed is followed by a store, as is one that did miss: so
    /// the store of a key that would not have been missed is none.
    pub(super) fn replay(&mut self, sample: Sample, rules: &Rules, rng: &mut Rng) -> bool {
        let found = self.find_live(sample.hash, rules.now);
        match (sample.event, found) {
            (Event::Hit, Some(at)) => {
                self.touch(at);
                self.resize(at, sample);
            }
            (Event::Miss, Some(at)) => {
                self.touch(at);
                self.slots[at].set_awaits_store(true);
            }
            (Event::Stored, Some(at)) => {
                if !self.slots[at].awaits_store() {
                    self.touch(at);
                }
                self.resize(at, sample);
                self.slots[at].set_awaits_store(false);
            }
            (Event::Hit | Event::Stored, None) => self.store(sample, rules, rng),
            (Event::Expiry, Some(at)) => self.change(at, |slot| slot.expire_at(sample.expiry)),
            (Event::Removed, Some(at)) => {
                self.take(at);
            }
            (Event::Miss | Event::Expiry | Event::Removed, None) => {}
        }
        if self.bytes > rules.limit && self.len > 1 {
            // The limit is lower than it was, or the key has grown.
            self.note_full();
            self.evict(rules, rng);
        }
        found.is_some()
    }

    fn touch(&mut self, at: usize) {
        self.slots[at].word = self.slots[at].word.touched(self.tick, &mut self.dice);
    }

    fn resize(&mut self, at: usize, sample: Sample) {
        self.change(at, |slot| slot.resize(sample));
    }

    fn change(&mut self, at: usize, change: impl FnOnce(&mut Slot)) {
        let slot = &mut self.slots[at];
        let before = *slot;
        change(slot);
        self.bytes = self.bytes + u64::from(slot.size()) - u64::from(before.size());
        self.expiring = self.expiring + usize::from(slot.word.expires()) - usize::from(before.word.expires());
    }

    /// Stores a key that is not there, unless there is no room to be made.
    fn store(&mut self, sample: Sample, rules: &Rules, rng: &mut Rng) {
        let frequency = self.ghosts.admit(sample.hash, rng);
        let slot = Slot::new(sample, self.tick, frequency);
        if self.asked >= 2 * self.len.max(FEWEST_STORES) {
            (self.asked, self.refused) = (self.asked / 2, self.refused / 2);
        }
        self.asked += 1;
        // What is larger than all that may go says nothing of others.
        let may_evict = !rules.volatile || self.expiring > 0;
        while self.bytes + u64::from(slot.size()) > rules.limit && self.len > 0 {
            self.note_full();
            if !self.evict(rules, rng) {
                self.refused += usize::from(!may_evict);
                return;
            }
        }
        if TAKEN.1 * (self.len + 1) > TAKEN.0 * self.slots.len() {
            self.set_slots(self.slots.len() + self.slots.len() / 4);
        }
        self.put(slot);
        self.ghosts.note_stored(slot.key);
        self.len += 1;
        self.bytes += u64::from(slot.size());
        self.expiring += usize::from(slot.word.expires());
        if let Some(stored) = &mut self.stored_while_full {
            *stored += 1;
        }
        self.inserts += 1;
        if self.inserts * TICKS_PER_TURNOVER >= self.len {
            self.inserts = 0;
            self.tick = self.tick.wrapping_add(1);
        }
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
            self.slots.iter().filter(|slot| !slot.is_free() && !stays(slot.hash())).map(Slot::hash).collect();
        let before = self.len.max(1);
        leaving.into_iter().for_each(|hash| self.remove(hash));
        // Of what was stored as large a part stays.
        self.stored_while_full = self.stored_while_full.map(|stored| stored * self.len / before);
        self.trim();
    }

    /// Looks for a victim, which goes if it is still as it was seen; whether there is something to look for.
    fn evict(&mut self, rules: &Rules, rng: &mut Rng) -> bool {
        if rules.volatile && self.expiring == 0 {
            return false;
        }
        self.pool.at_tick(&rules.model, self.tick);
        let (mut at, mut seen) = (self.begin.min(self.slots.len() - 1), 0);
        self.begin = rng.index(self.slots.len());
        let mut youngest = self.youngest(&rules.model);
        for _ in 0..self.slots.len() {
            let (slot, place) = (self.slots[at], at);
            at = self.after(at);
            if slot.is_free() || rules.volatile && !slot.word.expires() {
                continue;
            }
            if slot.has_expired(rules.now) {
                self.take(place);
                return true;
            }
            if slot.word.age(self.tick) >= youngest && self.consider(place, rules, rng) {
                youngest = self.youngest(&rules.model);
            }
            seen += 1;
            if seen >= SAMPLE {
                break;
            }
        }
        let Some(victim) = self.pool.pop() else { return true };
        let at = victim.pos.segment as usize;
        if self.slots.get(at).is_some_and(|slot| !slot.is_free() && slot.word == victim.seen.word) {
            let slot = self.take(at);
            self.ghosts.put(slot.hash(), slot.word.frequency());
        }
        true
    }

    /// Whatever is younger than this many ticks is no candidate.
    fn youngest(&self, model: &Model) -> u32 {
        let most = if let Model::Weighed(weighed) = model { weighed.most_by_size(u32::MAX) } else { 0 };
        self.pool.bar().map_or(0, |bar| model.youngest(bar, most))
    }

    /// Offers a key to the pool if it ranks high enough; whether it does.
    fn consider(&mut self, at: usize, rules: &Rules, rng: &mut Rng) -> bool {
        let slot = self.slots[at];
        let note = match rules.model {
            Model::Weighed(_) => slot.size().into(),
            Model::Random => rng.next_u64(),
            Model::Ttl if slot.word.expires() => SECONDS - slot.seconds_left(rules.now.unwrap_or_default()),
            Model::Ttl => 0,
        };
        let seen = Seen { word: slot.word, note };
        let rank = rules.model.rank(seen, self.tick);
        let admits = self.pool.admits(rank);
        if admits {
            let pos = Pos { segment: at as u32, slot: 0 };
            self.pool.offer(Candidate { shard: 0, database: 0, pos, seen, address: 0 }, rank);
        }
        admits
    }

    /// Where a key stands that has not expired; one that has goes.
    fn find_live(&mut self, hash: u64, now: Option<u64>) -> Option<usize> {
        let at = self.find(hash)?;
        if self.slots[at].has_expired(now) {
            self.take(at);
            return None;
        }
        Some(at)
    }

    fn find(&self, hash: u64) -> Option<usize> {
        let mut at = self.home(hash);
        loop {
            match self.slots[at] {
                slot if slot.is_free() => return None,
                slot if slot.is(hash) => return Some(at),
                _ => at = self.after(at),
            }
        }
    }

    fn home(&self, hash: u64) -> usize {
        (u64::from((hash >> 24) as u32) * self.slots.len() as u64 >> 32) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 < self.slots.len() { at + 1 } else { 0 }
    }

    /// Slots from one to another, round the end.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }

    fn put(&mut self, slot: Slot) {
        let mut at = self.home(slot.key);
        while !self.slots[at].is_free() {
            at = self.after(at);
        }
        self.slots[at] = slot;
    }

    /// Takes a key out; those that stand behind it for want of a nearer slot move up.
    fn take(&mut self, at: usize) -> Slot {
        let taken = std::mem::replace(&mut self.slots[at], Slot::free());
        let (mut hole, mut next) = (at, self.after(at));
        while !self.slots[next].is_free() {
            let home = self.home(self.slots[next].key);
            // It may move to the hole if that is not before its home.
            if self.distance(home, next) >= self.distance(hole, next) {
                self.slots.swap(hole, next);
                hole = next;
            }
            next = self.after(next);
        }
        self.len -= 1;
        self.bytes -= u64::from(taken.size());
        self.expiring -= usize::from(taken.word.expires());
        self.ghosts.note_gone(taken.key);
        taken
    }

    /// Gives slots back that fewer keys than before left free.
    fn trim(&mut self) {
        let enough = (self.len * TAKEN.1).div_ceil(TAKEN.0) * 9 / 8;
        if self.slots.len() > 2 * enough.max(FEWEST_SLOTS) {
            self.set_slots(enough.max(FEWEST_SLOTS));
        }
    }

    fn set_slots(&mut self, count: usize) {
        let slots = std::mem::replace(&mut self.slots, vec![Slot::free(); count]);
        slots.into_iter().filter(|slot| !slot.is_free()).for_each(|slot| self.put(slot));
        self.pool.clear();
    }

    /// Bytes that this takes.
    pub(super) fn memory(&self) -> usize {
        self.slots.len() * size_of::<Slot>() + self.ghosts.memory()
    }

    /// Checks every invariant; panics with what is wrong. For tests.
    #[cfg(test)]
    pub(super) fn validate(&self) {
        let taken: Vec<&Slot> = self.slots.iter().filter(|slot| !slot.is_free()).collect();
        assert_eq!(taken.len(), self.len);
        assert_eq!(self.ghosts.residents(), self.len);
        assert!(TAKEN.1 * self.len <= TAKEN.0 * self.slots.len());
        assert_eq!(taken.iter().map(|slot| u64::from(slot.size())).sum::<u64>(), self.bytes);
        assert_eq!(taken.iter().filter(|slot| slot.word.expires()).count(), self.expiring);
        for slot in taken {
            let found = self.find(slot.key).map(|at| self.slots[at].word);
            assert_eq!(found, Some(slot.word), "a key is found, once");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::evict::adaptive::TABLES;
    use crate::evict::lfu;
    use crate::evict::samples::Reads;

    fn sample(hash: u64, size: u32) -> Sample {
        Sample { hash, size, event: Event::Stored, expiry: u64::MAX, for_what_if: true, reads: Reads::default() }
    }

    fn rules(table: usize, size_weight: u32, limit: u64) -> Rules {
        Rules { model: Model::Weighed(Weighed::new(&TABLES[table], size_weight)), ..Rules::timeless(limit) }
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
                    used.remove(&(hash >> UNUSED_BITS << UNUSED_BITS));
                    assert_eq!(miniature.find(hash), None);
                } else {
                    let hit = miniature.use_key(sample(hash, size), &rules(table, step % 3, limit), &mut rng);
                    let before = used.insert(hash >> UNUSED_BITS << UNUSED_BITS, size);
                    assert!(!hit || before.is_some(), "only what was used is there");
                    assert!(hit || miniature.bytes() <= limit, "a new key finds room");
                    assert_eq!(miniature.find(hash).map(|at| miniature.slots[at].size()), Some(size));
                }
                if step == 10_000 {
                    miniature.retain(|hash| hash >> 40 & 1 == 0);
                    used.retain(|hash, _| hash >> 40 & 1 == 0);
                }
                if step % 50 == 0 {
                    miniature.validate();
                    let there = miniature.slots.iter().filter(|slot| !slot.is_free());
                    assert!(there.into_iter().all(|slot| used.contains_key(&slot.hash())));
                }
            }
        }
    }

    #[test]
    fn what_collides_is_told_apart() {
        let (mut miniature, mut rng) = (Miniature::new(Welcome::default()), Rng::seeded(1));
        for number in (0..40).map(|number| number << UNUSED_BITS) {
            assert!(!miniature.use_key(sample(number, 1), &rules(1, 0, u64::MAX), &mut rng));
        }
        for number in (0..40).step_by(3) {
            miniature.remove(number << UNUSED_BITS);
            miniature.validate();
        }
        for number in 0..40 {
            assert_eq!(miniature.find(number << UNUSED_BITS).is_some(), number % 3 != 0, "{number}");
        }
    }

    #[test]
    fn the_oldest_go_first_and_removed_keys_are_not_remembered() {
        let (mut miniature, mut rng) = (Miniature::new(TABLES[1].welcome), Rng::seeded(1));
        for number in 0..3000 {
            miniature.use_key(sample(hash(number), 1), &rules(1, 0, 300), &mut rng);
        }
        assert_eq!(miniature.len(), 300);
        let kept = (2700..3000).filter(|number| miniature.find(hash(*number)).is_some()).count();
        assert!(kept > 285, "{kept}");
        let remembered = miniature.ghosts.memory();
        (0..3000).for_each(|number| miniature.remove(hash(number)));
        assert_eq!((miniature.len(), miniature.bytes(), miniature.ghosts.memory()), (0, 0, remembered));
        // Had they been remembered, the last ones would begin with a use.
        miniature.use_key(sample(hash(2999), 1), &rules(1, 0, 300), &mut rng);
        let at = miniature.find(hash(2999)).unwrap();
        assert_eq!(miniature.slots[at].word.frequency(), 0);
    }

    #[test]
    fn on_a_loop_frequency_keeps_a_part_where_many_small_shards_forget() {
        let hits = |shards| {
            let (mut miniature, mut rng) = (Miniature::new(lfu::WEIGHTS.welcome), Rng::seeded(1));
            miniature.fit(shards);
            let rules = Rules { model: Model::Weighed(Weighed::new(&lfu::WEIGHTS, 0)), ..Rules::timeless(606) };
            let mut use_key = |request| miniature.use_key(sample(hash(request % 1011), 1), &rules, &mut rng);
            (0..100 * 1011u64).filter(|request| use_key(*request)).count() as f64 / (100.0 * 1011.0)
        };
        let (one, many) = (hits(1), hits(64));
        assert!(one < 0.1 && many > 0.2, "{one}, {many}");
    }

    /// Rules of LRU at a time, in milliseconds.
    fn at(now: u64, limit: u64, volatile: bool) -> Rules {
        Rules { now: Some(now), volatile, ..rules(1, 0, limit) }
    }

    fn event(key: u64, event: Event, expiry: u64) -> Sample {
        Sample { hash: hash(key), size: 1, event, expiry, for_what_if: true, reads: Reads::default() }
    }

    const NEVER: u64 = u64::MAX;
    const NOW: u64 = 1_700_000_000_000;

    #[test]
    fn a_miss_is_followed_by_its_store_and_a_hit_of_the_large_cache_stores() {
        let (mut small, mut rng) = (Miniature::new(TABLES[1].welcome), Rng::seeded(1));
        let rules = at(NOW, 10, false);
        let mut replay = |key, what| small.replay(event(key, what, NEVER), &rules, &mut rng);
        assert!(!replay(1, Event::Miss));
        assert!(!replay(1, Event::Miss), "who reads does not store");
        assert!(!replay(1, Event::Stored));
        assert!(replay(1, Event::Hit));
        assert!(!replay(2, Event::Hit), "a larger cache had it, this one did not");
        assert!(replay(2, Event::Hit), "and then it has, as the client would have stored it");
        assert!(!replay(3, Event::Removed));
        assert!(replay(2, Event::Removed));
        assert!(!replay(2, Event::Miss));
    }

    #[test]
    fn the_store_after_a_miss_is_no_use_of_a_key_that_this_one_has() {
        let (mut large, mut rng) = (Miniature::new(TABLES[1].welcome), Rng::seeded(1));
        let rules = at(NOW, 10, false);
        large.replay(event(1, Event::Stored, NEVER), &rules, &mut rng);
        let frequency = |large: &Miniature| large.slots[large.find(hash(1)).unwrap()].word.frequency();
        assert!(large.replay(event(1, Event::Miss, NEVER), &rules, &mut rng));
        assert_eq!(frequency(&large), 1);
        large.replay(event(1, Event::Stored, NEVER), &rules, &mut rng);
        assert_eq!(frequency(&large), 1);
        large.replay(event(1, Event::Stored, NEVER), &rules, &mut rng);
        assert_eq!(frequency(&large), 2, "one that comes by itself is");
    }

    #[test]
    fn keys_expire_by_themselves() {
        let (mut small, mut rng) = (Miniature::new(TABLES[1].welcome), Rng::seeded(1));
        for (key, expiry) in [(1, NOW + 1500), (2, NEVER), (3, NOW + 10_000)] {
            small.replay(event(key, Event::Stored, expiry), &at(NOW, 10, false), &mut rng);
        }
        assert_eq!((small.len(), small.expiring), (3, 2));
        let mut is_there = |small: &mut Miniature, key, now| {
            small.replay(event(key, Event::Miss, NEVER), &at(now, 10, false), &mut rng)
        };
        assert!(is_there(&mut small, 1, NOW + 1000));
        assert!(!is_there(&mut small, 1, NOW + 3000));
        assert!(is_there(&mut small, 2, NOW + 1_000_000_000) && is_there(&mut small, 3, NOW + 9000));
        small.replay(event(3, Event::Expiry, NEVER), &at(NOW + 9000, 10, false), &mut Rng::seeded(1));
        assert_eq!(small.expiring, 0);
        assert!(is_there(&mut small, 3, NOW + 11_000));
        small.validate();
    }

    #[test]
    fn keys_without_an_expiry_fill_a_volatile_one() {
        let (mut small, mut rng) = (Miniature::new(TABLES[1].welcome), Rng::seeded(1));
        let rules = at(NOW, 20, true);
        for key in 0..10 {
            small.replay(event(key, Event::Stored, NEVER), &rules, &mut rng);
        }
        for key in 10..100 {
            small.replay(event(key, Event::Stored, NOW + 100_000), &rules, &mut rng);
        }
        assert_eq!((small.len(), small.expiring), (20, 10));
        assert!(!small.refuses());
        for key in 100..200 {
            small.replay(event(key, Event::Stored, NEVER), &rules, &mut rng);
        }
        assert_eq!((small.len(), small.expiring), (20, 0), "those that may not go come, until there is no room");
        assert!(small.refuses());
        assert!((0..10).all(|key| small.find(hash(key)).is_some()));
        small.validate();
    }

    #[test]
    fn a_lower_limit_is_kept_though_nothing_is_stored() {
        let (mut small, mut rng) = (Miniature::new(TABLES[1].welcome), Rng::seeded(1));
        for key in 0..100 {
            small.replay(event(key, Event::Stored, NEVER), &at(NOW, 1000, false), &mut rng);
        }
        for read in 0..1000 {
            small.replay(event(read % 20, Event::Hit, NEVER), &at(NOW, 50, false), &mut rng);
        }
        assert_eq!((small.bytes(), small.stored_while_full.is_some()), (50, true));
        small.validate();
    }

    #[test]
    fn it_tells_when_it_has_turned_over() {
        let (mut small, mut rng) = (Miniature::new(Welcome::default()), Rng::seeded(1));
        let mut store = |small: &mut Miniature, keys: std::ops::Range<u64>| {
            for key in keys {
                small.replay(event(key, Event::Stored, NEVER), &at(NOW, 100, false), &mut rng);
            }
            small.has_turned_over()
        };
        assert!(!store(&mut small, 0..100) && !small.has_been_full(), "it has only just been filled");
        assert!(!store(&mut small, 100..199) && small.has_been_full());
        assert!(store(&mut small, 199..201));
        small.forget_turnover();
        assert!(!store(&mut small, 201..300));
        assert!(store(&mut small, 300..302));
        assert!((small.effective_len() - 100.0).abs() < 1e-6);
        small.use_key(sample(hash(1000), 50), &at(NOW, 1000, false), &mut rng);
        assert!((small.effective_len() - 150.0 * 150.0 / 2600.0).abs() < 1e-6, "one large key outweighs many");
    }

    #[test]
    fn what_expires_soonest_goes_first() {
        let (mut small, mut rng) = (Miniature::new(Welcome::default()), Rng::seeded(1));
        let rules = Rules { model: Model::Ttl, ..at(NOW, 100, true) };
        for key in 0..1000 {
            small.replay(event(key, Event::Stored, NOW + 100_000 + key * 7919 % 1000 * 1000), &rules, &mut rng);
        }
        let late = (0..1000).filter(|key| small.find(hash(*key)).is_some() && key * 7919 % 1000 >= 880).count();
        assert!(late > 80, "{late} of 100");
    }
}
