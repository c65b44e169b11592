//! A dictionary: the form of large hashes and sets. Records in cells, and an index over them.
//!
//! A look-up reads a segment's line, a slot and the record. Growth and freeing go segment by segment and page by page.
//! A record may have an expiry; the dictionary knows what is due but removes nothing by itself: until its owner does,
//! an expired record is there like any other.
//!
//! Invariants: every live record stands in the index once; a segment's deadline is at most the earliest expiry in it;
//! `expiring` counts the records with an expiry.

mod iter;
mod record;
#[cfg(test)]
mod tests;

use super::cells::{Move, NoRoom};
use super::{Env, Full};
use crate::cpu::prefetch;
use crate::heap::{Mover, Settle};
use crate::index::{Index, NO_DEADLINE, Pos};
use crate::rng::Rng;
use crate::slab::Ref;
pub use iter::Iter;
pub use record::Record;
use record::Records;

/// Bits of a hash that a cursor leaves out, so that it stays below 2^47. Segments are told apart by the top 40 bits,
/// so a position loses nothing by that.
const CURSOR_SHIFT: u32 = 17;

/// See the module's page.
pub struct Dict {
    index: Index<u32>,
    records: Records,
    expiring: usize,
}

/// Where a record stands; valid until the dictionary is changed in another way than through this place.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pos: Pos,
    hash: u64,
    record: Ref,
}

impl Dict {
    /// An empty dictionary, of keys with values or of keys alone.
    pub fn new(env: Env<'_>, has_values: bool) -> Self {
        Self { index: Index::new(), records: Records::new(env.regions, has_values), expiring: 0 }
    }

    /// How many records there are, expired ones included.
    #[inline]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// How many records have an expiry.
    pub fn expiring(&self) -> usize {
        self.expiring
    }

    /// The place of a key.
    #[inline]
    pub fn find(&self, env: Env<'_>, key: &[u8]) -> Option<Place> {
        self.find_hashed(env.hasher.hash(key), key)
    }

    #[inline]
    fn find_hashed(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let pos = self.index.find(hash, |slot| self.records.key(Ref::from_bits(slot)) == key)?;
        Some(Place { pos, hash, record: self.record_at(pos) })
    }

    /// The record of a key.
    #[inline]
    pub fn get(&self, env: Env<'_>, key: &[u8]) -> Option<Record<'_>> {
        self.find(env, key).map(|place| self.at(place))
    }

    /// Whether a key is there.
    #[inline]
    pub fn contains(&self, env: Env<'_>, key: &[u8]) -> bool {
        self.find(env, key).is_some()
    }

    /// The record at a place.
    #[inline]
    pub fn at(&self, place: Place) -> Record<'_> {
        self.records.read(place.record)
    }

    /// Adds a key without a value unless it is there; whether it was not.
    #[inline]
    pub fn add(&mut self, env: Env<'_>, key: &[u8]) -> Result<bool, Full> {
        let hash = env.hasher.hash(key);
        if self.find_hashed(hash, key).is_some() {
            return Ok(false);
        }
        self.insert_hashed(env, hash, Record { key, value: &[], expiry: None }).map(|_| true)
    }

    /// Adds a record whose key is absent.
    pub fn insert(&mut self, env: Env<'_>, record: Record<'_>) -> Result<Place, Full> {
        self.insert_hashed(env, env.hasher.hash(record.key), record)
    }

    #[inline]
    fn insert_hashed(&mut self, env: Env<'_>, hash: u64, new: Record<'_>) -> Result<Place, Full> {
        let record = match self.records.add(new) {
            Ok(record) => record,
            Err(room) => {
                self.make_room(room)?;
                self.records.add(new).map_err(|_| Full)?
            }
        };
        let records = &self.records;
        let rehash = |slot| env.hasher.hash(records.key(Ref::from_bits(slot)));
        let pos =
            self.index.insert(hash, record.bits(), rehash, |slot| prefetch(records.address(Ref::from_bits(slot))));
        if let Some(at) = new.expiry {
            self.expiring += 1;
            self.index.lower_deadline(pos.segment, at.min(NO_DEADLINE - 1));
        }
        Ok(Place { pos, hash, record })
    }

    /// Replaces the value at a place, or adds the record if the key is absent; the expiry stays. Whether it is new.
    #[inline]
    pub fn set(&mut self, env: Env<'_>, key: &[u8], value: &[u8]) -> Result<bool, Full> {
        let hash = env.hasher.hash(key);
        match self.find_hashed(hash, key) {
            Some(place) => self.set_value(place, value).map(|_| false),
            None => self.insert_hashed(env, hash, Record { key, value, expiry: None }).map(|_| true),
        }
    }

    /// Replaces the value at a place.
    #[inline]
    pub fn set_value(&mut self, place: Place, value: &[u8]) -> Result<Place, Full> {
        self.change(place, |records, record| records.set_value(record, value))
    }

    /// Sets or removes the expiry at a place, in milliseconds since 1970.
    pub fn set_expiry(&mut self, place: Place, expiry: Option<u64>) -> Result<Place, Full> {
        let before = self.records.expiry(place.record);
        if before.is_none() && expiry.is_none() {
            return Ok(place);
        }
        let place = self.change(place, |records, record| records.set_expiry(record, expiry))?;
        self.expiring = self.expiring + expiry.is_some() as usize - before.is_some() as usize;
        if let Some(at) = expiry {
            self.index.lower_deadline(place.pos.segment, at.min(NO_DEADLINE - 1));
        }
        Ok(place)
    }

    /// Lets `change` give the record at a place another size, and so perhaps another name.
    #[inline]
    fn change(
        &mut self,
        place: Place,
        change: impl Fn(&mut Records, Ref) -> Result<Ref, NoRoom>,
    ) -> Result<Place, Full> {
        let mut before = place.record;
        let mut record = match change(&mut self.records, before) {
            Ok(record) => record,
            Err(room) => {
                self.make_room(room)?;
                before = self.record_at(place.pos);
                change(&mut self.records, before).map_err(|_| Full)?
            }
        };
        if record != before {
            self.index.set(place.pos, record.bits());
            if self.records.is_loose(self.len()) {
                self.tighten();
                record = self.record_at(place.pos);
            }
        }
        Ok(Place { record, ..place })
    }

    #[inline]
    fn record_at(&self, pos: Pos) -> Ref {
        Ref::from_bits(self.index.get(pos))
    }

    /// Moves records so that there is room for another.
    #[cold]
    fn make_room(&mut self, room: NoRoom) -> Result<(), Full> {
        let moving = self.records.make_room(room, self.index.names()).ok_or(Full)?;
        self.carry(moving);
        Ok(())
    }

    /// Moves records so that less is unused between them.
    #[cold]
    fn tighten(&mut self) {
        if let Some(moving) = self.records.tighten(self.index.names()) {
            self.carry(moving);
        }
    }

    fn carry(&mut self, mut moving: Move) {
        let records = &mut self.records;
        for segment in 0..self.index.segments() as u32 {
            self.index.update_slots(segment, |slot| records.follow(&mut moving, Ref::from_bits(slot)).bits());
        }
        records.end_move(moving);
    }

    /// Takes a key out; whether it was there.
    #[inline]
    pub fn remove(&mut self, env: Env<'_>, key: &[u8]) -> bool {
        let found = self.find(env, key);
        if let Some(place) = found {
            self.remove_at(place);
        }
        found.is_some()
    }

    /// Takes the record at a place out.
    pub fn remove_at(&mut self, place: Place) {
        if self.records.expiry(place.record).is_some() {
            self.expiring -= 1;
        }
        self.index.remove(place.pos, place.hash);
        self.records.remove(place.record);
        if self.records.is_loose(self.len()) {
            self.tighten();
        }
    }

    /// First step of a batched look-up: asks for the index's part of the way.
    #[inline]
    pub(crate) fn prefetch_index(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Second step: asks for the record.
    #[inline]
    pub(crate) fn prefetch_records(&self, hash: u64) {
        self.index.each_candidate(hash, |slot| prefetch(self.records.address(Ref::from_bits(slot))));
    }

    /// A random place, each as likely as any other; `None` if there is none.
    pub fn random(&self, env: Env<'_>, rng: &mut Rng) -> Option<Place> {
        self.index.random(rng).map(|pos| self.place(env, pos))
    }

    fn place(&self, env: Env<'_>, pos: Pos) -> Place {
        let record = self.record_at(pos);
        Place { pos, record, hash: env.hasher.hash(self.records.key(record)) }
    }

    /// All records, in the order of places.
    pub fn iter(&self) -> Iter<'_> {
        Iter::new(self)
    }

    /// Shows some records to `each` and gives the cursor for the next call, 0 at the end; start with 0. A pass shows
    /// each record that was there all the time, whatever came and went meanwhile, and may show one twice. Cursors are
    /// below 2^47: the top bits of a position in the order of hashes.
    pub fn scan(&self, cursor: u64, mut each: impl FnMut(Record<'_>)) -> u64 {
        let next = self.index.scan(cursor << CURSOR_SHIFT, |slot| each(self.records.read(Ref::from_bits(slot))));
        next >> CURSOR_SHIFT
    }

    /// A lower bound of the time at which a record is due, `u64::MAX` if none will be.
    #[inline]
    pub fn first_deadline(&self) -> u64 {
        if self.expiring == 0 { u64::MAX } else { self.index.earliest_deadline() }
    }

    /// A record whose time has come, if one is found in the `segments` segments that may be looked into; these are
    /// counted down.
    pub fn next_due(&mut self, env: Env<'_>, now: u64, segments: &mut usize) -> Option<Place> {
        while let Some((deadline, segment)) = self.index.first_deadline() {
            if deadline > now || *segments == 0 {
                return None;
            }
            let mut earliest = NO_DEADLINE;
            for (pos, slot) in self.index.slots(segment) {
                match self.records.expiry(Ref::from_bits(slot)) {
                    Some(at) if at <= now => return Some(self.place(env, pos)),
                    Some(at) => earliest = earliest.min(at.min(NO_DEADLINE - 1)),
                    None => {}
                }
            }
            *segments -= 1;
            self.index.set_deadline(segment, earliest);
        }
        None
    }

    /// Bytes that it owns, itself included. O(1), and the same for the same operations.
    #[inline]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.records.memory() + self.index.memory()
    }

    /// Frees up to about `chunks` pages and as many chunks of the index; true when nothing is left. For dropping in
    /// slices: between the steps the dictionary may only be freed further, or dropped.
    pub fn free_step(&mut self, chunks: usize) -> bool {
        self.expiring = 0;
        self.index.free_step(chunks) && self.records.free_step(chunks)
    }

    /// Whether there is something to do for `compact_step`. O(1).
    #[inline]
    pub fn is_sparse(&mut self) -> bool {
        self.records.is_sparse()
    }

    /// Moves a few small pages of records closer to those of others; false when there is nothing to do.
    pub fn gather_step(&mut self) -> bool {
        self.records.gather_step()
    }

    /// Moves up to `limit` records out of sparsely used pages, or gives unused segments back; how many steps it did, 0
    /// if there is nothing to do.
    pub fn compact_step(&mut self, env: Env<'_>, limit: usize) -> usize {
        let mut records = Vec::new();
        self.records.sparse(&mut records);
        let mut moved = 0;
        for &record in records.iter().take(limit) {
            let hash = env.hasher.hash(self.records.key(record));
            let found = self.index.find(hash, |slot| slot == record.bits());
            let (Some(pos), Some(name)) = (found, self.records.relocate(record)) else { break };
            self.index.set(pos, name.bits());
            moved += 1;
        }
        while moved < limit && records.is_empty() {
            let records = &self.records;
            if !self.index.give_back_step(|slot| env.hasher.hash(records.key(Ref::from_bits(slot)))) {
                break;
            }
            moved += 1;
        }
        moved
    }

    /// Checks every invariant but the places of records in the index; panics with what is wrong. For tests.
    pub fn validate(&self) {
        let slots = || {
            let all = (0..self.index.segments() as u32).flat_map(|segment| self.index.slots(segment));
            all.map(|(pos, slot)| (pos, Ref::from_bits(slot)))
        };
        self.records.validate(slots().map(|(_, record)| record));
        assert_eq!(slots().count(), self.len(), "every record is counted");
        let mut expiring = 0;
        for (pos, record) in slots() {
            if let Some(at) = self.records.expiry(record) {
                assert!(self.index.deadline(pos.segment) <= at, "a segment's deadline is a lower bound");
                expiring += 1;
            }
        }
        assert_eq!(expiring, self.expiring, "records with an expiry are counted");
    }

    /// Checks that each record stands where its hash says; panics if not. For tests.
    pub fn validate_hashes(&self, env: Env<'_>) {
        self.index.validate(|slot| env.hasher.hash(self.records.key(Ref::from_bits(slot))));
    }
}

impl Settle for Dict {
    fn parts(&self) -> usize {
        self.index.parts() + self.records.parts()
    }

    fn settle(&mut self, part: usize, mover: &mut Mover) {
        match part.checked_sub(self.index.parts()) {
            None => self.index.settle(part, mover),
            Some(part) => self.records.settle(part, mover),
        }
    }
}
