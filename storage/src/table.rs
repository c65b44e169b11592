//! One database's slice in one shard: an index of words over entries in a slab.
//!
//! `Table` is single-threaded and knows neither time nor policy: whoever calls it decides what is expired and which
//! entry goes. All memory is accounted in bytes that the same operations always repeat.
//!
//! Invariants: each word refers to a live cell that holds a key of its hash; `expires` counts the entries with an
//! expiry, `timed` those with fields that expire; a segment's deadline is at most the earliest expiry in it, of keys and
//! of fields; `owned` is the sum over the entries of what they own outside their cells.

mod compact;
mod settle;

use crate::entry::{self, Entry, Parts, Payload};
use crate::evict::rebased;
use crate::hasher::Hasher;
use smallvec::SmallVec;
use std::collections::BTreeSet;

use crate::cpu::{prefetch, prefetch_to_write};
use crate::index::{Index, NO_DEADLINE, Pos};
use crate::rng::{Dice, Rng};
use crate::slab::gather::Pass;
use crate::slab::{Ref, Slab, cell_size};
use crate::types::Env;
use crate::value::{BigStr, Content, Kind, Object, Value};
use crate::word::Word;

/// What happens to an entry's expiry when its value is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It stays as it is.
    Keep,
    /// It becomes this, in milliseconds since 1970; `None` removes it.
    Set(Option<u64>),
}

/// What has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A key.
    Key(Pos),
    /// Perhaps fields of the hash that this key holds.
    Fields(Pos),
}

/// A table's cells are used up: 2^21 pages. The write did not take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// See the module's page. Index and slab begin with what a look-up reads.
#[repr(C)]
pub struct Table {
    index: Index<u64>,
    slab: Slab,
    hasher: Hasher,
    expires: usize,
    timed: usize,
    owned: usize,
    scratch: Vec<u8>,
    /// Hashes of the keys of collections that compaction may make smaller.
    sparse: BTreeSet<u64>,
    gathering: Pass,
    settling: settle::Way,
    /// While the table is freed: the next segment to look into, and objects taken out of it.
    freed: u32,
    /// For accesses that count by chance.
    pub(crate) dice: Dice,
    pending: Vec<Object>,
}

impl Table {
    /// An empty table.
    pub fn new(env: &Env<'_>) -> Self {
        Self {
            index: Index::in_regions(env.regions.clone()),
            slab: Slab::new(env.regions.clone()),
            hasher: env.hasher,
            expires: 0,
            timed: 0,
            owned: 0,
            scratch: Vec::new(),
            sparse: BTreeSet::new(),
            gathering: Pass::default(),
            settling: settle::Way::default(),
            freed: 0,
            dice: Dice::default(),
            pending: Vec::new(),
        }
    }

    /// Keys stored, expired ones that nobody has met yet included.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Keys with an expiry.
    pub fn expires(&self) -> usize {
        self.expires
    }

    /// Hashes with fields that expire.
    pub fn timed(&self) -> usize {
        self.timed
    }

    /// Bytes of everything that lives here.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.index.memory() + self.slab.live_bytes() + self.slab.record_bytes() + self.owned
    }

    /// Bytes of the index.
    pub fn index_memory(&self) -> usize {
        self.index.memory()
    }

    /// Bytes of free places in pages that exist.
    pub fn free_bytes(&self) -> usize {
        self.slab.free_bytes()
    }

    /// Bytes of one key with its value and its share of the index.
    pub fn memory_of(&self, pos: Pos) -> usize {
        let entry = self.entry(pos);
        let owned = entry.boxed_key_bytes() + entry.object().map_or(0, Object::memory);
        self.slab.cell(self.word(pos).cell()).len() + size_of::<u64>() + 1 + owned
    }

    /// Bytes of the entries, and of their places in segments: the sum of [`Table::memory_of`].
    pub fn entry_memory(&self) -> usize {
        self.slab.live_bytes() + self.owned + self.len() * (size_of::<u64>() + 1)
    }

    /// As [`Table::memory_of`], from the word and the page's record alone where the entry owns nothing: what stands in
    /// memory apart is not read.
    #[inline]
    pub fn weight_of(&self, word: Word) -> usize {
        let (_, cell) = self.slab.place(word.cell());
        let owned = if word.owns() { owned_at(&Entry::read(self.slab.cell(word.cell()))) } else { 0 };
        cell + size_of::<u64>() + 1 + owned
    }

    /// What [`Table::weight_of`] gives at most for an entry that owns nothing.
    #[inline]
    pub fn most_weight(&self) -> usize {
        self.slab.largest_cell() + size_of::<u64>() + 1
    }

    /// Where a word's entry is, for prefetching.
    #[inline]
    pub(crate) fn address(&self, word: Word) -> *const u8 {
        self.slab.address(word.cell())
    }

    /// Where a key stands.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Pos> {
        self.index.find(hash, |bits| {
            let word = Word::from_bits(bits);
            word.may_match(hash) && Entry::read(self.slab.cell(word.cell())).key() == key
        })
    }

    /// Looks a key up, and notes the access at `tick` if there is one to note.
    #[inline]
    pub fn access(&mut self, hash: u64, key: &[u8], tick: Option<u32>) -> Option<Entry<'_>> {
        let mut candidates = self.index.candidates(hash)?;
        while let Some(slot) = candidates.next_slot() {
            let word = Word::from_bits(*slot);
            if !word.may_match(hash) {
                continue;
            }
            let cell = self.slab.cell(word.cell());
            // The value's line comes together with the key's.
            prefetch(cell.as_ptr().wrapping_add(64));
            let entry = Entry::read(cell);
            if entry.key() == key {
                if let Some(tick) = tick {
                    note(slot, word, tick, &mut self.dice);
                }
                return Some(entry);
            }
        }
        if candidates.chained {
            access_in_chain(&mut self.index, &self.slab, hash, key, tick.map(|tick| (tick, &mut self.dice)))
        } else {
            None
        }
    }

    /// Stores a short string over another where that changes nothing else: the key is there without an expiry, owns no
    /// memory, and its cell keeps its size. Notes the access as [`Table::access`] does. False, and nothing is changed,
    /// in all other cases.
    #[inline]
    pub fn overwrite(&mut self, hash: u64, key: &[u8], bytes: &[u8], tick: Option<u32>) -> bool {
        let Some(mut candidates) = self.index.candidates(hash) else { return false };
        while let Some(slot) = candidates.next_slot() {
            let word = Word::from_bits(*slot);
            if word.may_match(hash) && Entry::read(self.slab.cell(word.cell())).key() == key {
                let written = entry::overwrite_string(self.slab.cell_mut(word.cell()), bytes);
                if let Some(tick) = tick.filter(|_| written) {
                    note(slot, word, tick, &mut self.dice);
                }
                return written;
            }
        }
        false
    }

    /// The entry at a position.
    #[inline]
    pub fn entry(&self, pos: Pos) -> Entry<'_> {
        Entry::read(self.slab.cell(self.word(pos).cell()))
    }

    /// The word at a position.
    #[inline]
    pub fn word(&self, pos: Pos) -> Word {
        Word::from_bits(self.index.get(pos))
    }

    /// The word at a position that may have become invalid, if an entry stands there.
    #[inline]
    pub fn checked_word(&self, pos: Pos) -> Option<Word> {
        self.index.occupant(pos).map(Word::from_bits)
    }

    /// The hash of the key at a position.
    pub fn hash_at(&self, pos: Pos) -> u64 {
        self.hasher.hash(self.entry(pos).key())
    }

    /// Notes an access at `tick`.
    #[inline]
    pub fn touch(&mut self, pos: Pos, tick: u32) {
        let word = self.word(pos);
        let touched = word.touched(tick, &mut self.dice);
        if touched != word {
            self.index.set(pos, touched.bits());
        }
    }

    /// Sets the access history of an entry.
    pub fn set_history(&mut self, pos: Pos, tick: u32, frequency: u8) {
        let word = self.word(pos).with_history(tick, frequency);
        self.index.set(pos, word.bits());
    }

    /// Stores a key that is known to be absent.
    pub fn insert(
        &mut self,
        hash: u64,
        key: &[u8],
        mut content: Content<'_>,
        expiry: Option<u64>,
        tick: u32,
    ) -> Result<Pos, Full> {
        let parts = Parts { key, expiry, payload: payload(key, &mut content) };
        let (owned, fields_due) = (owned_by(&parts), parts.payload.first_deadline());
        let cell = self.slab.alloc(parts.len()).ok_or(Full)?;
        let word = Word::new(cell, hash, tick, 0).with_expires(expiry.is_some()).with_owns(parts.owns());
        parts.write(self.slab.cell_mut(cell));
        let (slab, hasher) = (&self.slab, self.hasher);
        let rehash = |bits| hash_of(slab, hasher, bits);
        let pos =
            self.index.insert(hash, word.bits(), rehash, |bits| prefetch(slab.address(Word::from_bits(bits).cell())));
        self.owned += owned;
        self.note_expiry(pos, None, expiry);
        self.note_fields(pos, u64::MAX, fields_due);
        Ok(pos)
    }

    /// Replaces the value of `key`, which stands at `pos`; gives the object that it replaced, to be dropped outside
    /// the lock.
    pub fn replace(
        &mut self,
        pos: Pos,
        key: &[u8],
        mut content: Content<'_>,
        expiry: Expiry,
    ) -> Result<Option<Object>, Full> {
        let word = self.word(pos);
        let entry = Entry::read(self.slab.cell(word.cell()));
        let (before, owned_before, fields_before) = (entry.expiry(), owned_at(&entry), fields_due(&entry));
        let expiry = match expiry {
            Expiry::Keep => before,
            Expiry::Set(at) => at,
        };
        let parts = Parts { key, expiry, payload: payload(key, &mut content) };
        let (owned, owns, fields_due) = (owned_by(&parts), parts.owns(), parts.payload.first_deadline());
        let (old, cell) = self.rewrite(word.cell(), parts)?;
        let word = word.with_cell(cell).with_expires(expiry.is_some()).with_owns(owns);
        self.owned = self.owned - owned_before + owned;
        self.index.set(pos, word.bits());
        self.note_expiry(pos, before, expiry);
        self.note_fields(pos, fields_before, fields_due);
        Ok(old)
    }

    /// Writes an entry over another, in its cell if that has the right size, else in a new one.
    #[inline]
    fn rewrite(&mut self, cell: Ref, parts: Parts<'_>) -> Result<(Option<Object>, Ref), Full> {
        let new = self.new_cell(cell, parts.len())?;
        Ok(self.write_over(cell, new, parts))
    }

    /// A cell for an entry of `len` bytes that has this one; `None` if it may stay.
    #[inline]
    fn new_cell(&mut self, cell: Ref, len: usize) -> Result<Option<Ref>, Full> {
        if cell_size(len) == self.slab.cell(cell).len() {
            return Ok(None);
        }
        self.slab.alloc(len).map(Some).ok_or(Full)
    }

    #[inline]
    fn write_over(&mut self, cell: Ref, new: Option<Ref>, parts: Parts<'_>) -> (Option<Object>, Ref) {
        let old = entry::take(self.slab.cell_mut(cell));
        parts.write(self.slab.cell_mut(new.unwrap_or(cell)));
        if new.is_some() {
            self.slab.free(cell);
        }
        (old, new.unwrap_or(cell))
    }

    #[inline]
    fn note_expiry(&mut self, pos: Pos, before: Option<u64>, after: Option<u64>) {
        self.expires = self.expires + after.is_some() as usize - before.is_some() as usize;
        if let Some(at) = after {
            self.index.lower_deadline(pos.segment, at.min(NO_DEADLINE - 1));
        }
    }

    /// Notes when fields of a hash expire, `u64::MAX` for never.
    #[inline]
    fn note_fields(&mut self, pos: Pos, before: u64, after: u64) {
        if before & after != u64::MAX {
            self.timed = self.timed + (after != u64::MAX) as usize - (before != u64::MAX) as usize;
            if after != u64::MAX {
                self.index.lower_deadline(pos.segment, after.min(NO_DEADLINE - 1));
            }
        }
    }

    /// Sets or removes the expiry of an entry.
    pub fn set_expiry(&mut self, pos: Pos, expiry: Option<u64>) -> Result<(), Full> {
        let word = self.word(pos);
        let before = self.entry(pos).expiry();
        match (before, expiry) {
            (None, None) => return Ok(()),
            (Some(_), Some(at)) => entry::overwrite_expiry(self.slab.cell_mut(word.cell()), at),
            _ => {
                let cell = self.with_layout(word.cell(), expiry)?;
                self.index.set(pos, word.with_cell(cell).with_expires(expiry.is_some()).bits());
            }
        }
        self.note_expiry(pos, before, expiry);
        Ok(())
    }

    /// Writes an entry once more, with or without the place for an expiry.
    fn with_layout(&mut self, cell: Ref, expiry: Option<u64>) -> Result<Ref, Full> {
        const EXPIRY_BYTES: usize = 8;
        let entry = Entry::read(self.slab.cell(cell));
        let len = match expiry {
            Some(_) => entry.len() + EXPIRY_BYTES,
            None => entry.len() - EXPIRY_BYTES,
        };
        // The object is taken out only when its new place is certain.
        let new = self.new_cell(cell, len)?;
        let mut copy = std::mem::take(&mut self.scratch);
        copy.clear();
        let entry = Entry::read(self.slab.cell(cell));
        let key_len = entry.key().len();
        copy.extend_from_slice(entry.key());
        let (mut packed, mut number) = (None, 0);
        match entry.inline_payload() {
            Some(Payload::Inline { kind, bytes, raw }) => {
                copy.extend_from_slice(bytes);
                packed = Some((kind, raw));
            }
            Some(Payload::Int(value)) => number = value,
            Some(Payload::Object(_)) | None => {}
        }
        let object = entry::take(self.slab.cell_mut(cell));
        let (key, bytes) = copy.split_at(key_len);
        let payload = match (object, packed) {
            (Some(object), _) => Payload::Object(object),
            (None, Some((kind, raw))) => Payload::Inline { kind, bytes, raw },
            (None, None) => Payload::Int(number),
        };
        let (_, cell) = self.write_over(cell, new, Parts { key, expiry, payload });
        self.scratch = copy;
        Ok(cell)
    }

    /// Lets `change` work on a value with structure. A small collection is copied out of its cell and back; a
    /// large one is changed in place.
    pub fn update<R>(&mut self, pos: Pos, change: impl FnOnce(&mut Object) -> R) -> Result<R, Full> {
        let cell = self.word(pos).cell();
        if let Some(object) = entry::object_mut(self.slab.cell_mut(cell)) {
            let (before, fields_before) = (object.memory(), object.value().first_deadline());
            let result = change(object);
            let (fields_after, after) = (object.value().first_deadline(), object.memory());
            let is_sparse = after < before && object.is_sparse();
            self.owned = self.owned - before + after;
            self.note_fields(pos, fields_before, fields_after);
            if is_sparse {
                self.sparse.insert(self.hash_at(pos));
            }
            return Ok(result);
        }
        let entry = Entry::read(self.slab.cell(cell));
        let fields_before = fields_due(&entry);
        let key: SmallVec<[u8; 64]> = SmallVec::from_slice(entry.key());
        let mut packed = std::mem::take(&mut self.scratch);
        packed.clear();
        if let Some(Payload::Inline { bytes, .. }) = entry.inline_payload() {
            packed.extend_from_slice(bytes);
        }
        let mut object = Object::from_packed(entry.kind(), packed);
        let result = change(&mut object);
        let stored = match object.packed() {
            Some(bytes) if entry::fits_inline(&key, bytes.len()) => {
                let (kind, fields_after) = (object.kind(), object.value().first_deadline());
                let stored = self.store_packed(pos, &key, Payload::Inline { kind, bytes, raw: false });
                if stored.is_ok() {
                    self.note_fields(pos, fields_before, fields_after);
                }
                self.scratch = object.into_packed();
                stored
            }
            _ => self.replace(pos, &key, Content::Object(object), Expiry::Keep).map(|_| ()),
        };
        stored.map(|()| result)
    }

    /// Lets `change` work on the bytes of a string that was changed in place before, its length staying as it is.
    /// `None`, and nothing is changed, for all other values.
    pub fn edit_string<R>(&mut self, pos: Pos, change: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
        let cell = self.word(pos).cell();
        if let Some(Object::Str(string)) = entry::object_mut(self.slab.cell_mut(cell)) {
            let before = string.memory();
            let mut result = None;
            string.change(|bytes| result = Some(change(bytes)));
            self.owned = self.owned - before + string.memory();
            return result;
        }
        entry::raw_string_mut(self.slab.cell_mut(cell)).map(change)
    }

    fn store_packed(&mut self, pos: Pos, key: &[u8], payload: Payload<'_>) -> Result<(), Full> {
        let word = self.word(pos);
        let expiry = self.entry(pos).expiry();
        let (_, cell) = self.rewrite(word.cell(), Parts { key, expiry, payload })?;
        self.index.set(pos, word.with_cell(cell).bits());
        Ok(())
    }

    /// A copy of the value at a position, to be stored under another key. `buffer` lends a short string its place.
    pub fn duplicate<'b>(&self, pos: Pos, env: Env<'_>, buffer: &'b mut Vec<u8>) -> Result<Content<'b>, Full> {
        let entry = self.entry(pos);
        if let Some(object) = entry.object() {
            return Ok(Content::Object(object.duplicate(env).map_err(|_| Full)?));
        }
        Ok(match (entry.value(), entry.inline_payload()) {
            (Value::Int(number), _) => Content::Int(number),
            (_, Some(Payload::Inline { kind, bytes, raw })) => {
                buffer.extend_from_slice(bytes);
                match kind {
                    Kind::String => Content::Str { bytes: buffer, raw },
                    _ => Content::Object(Object::from_packed(kind, std::mem::take(buffer))),
                }
            }
            _ => Content::Str { bytes: b"", raw: false },
        })
    }

    /// Takes a key out; gives its object, to be dropped outside the lock.
    pub fn remove(&mut self, pos: Pos, hash: u64) -> Option<Object> {
        let word = self.word(pos);
        if word.expires() {
            self.expires -= 1;
        }
        if self.timed > 0 && fields_due(&self.entry(pos)) != u64::MAX {
            self.timed -= 1;
        }
        let object = if word.owns() {
            self.owned -= owned_at(&self.entry(pos));
            entry::take(self.slab.cell_mut(word.cell()))
        } else {
            None
        };
        self.slab.free(word.cell());
        self.index.remove(pos, hash);
        object
    }

    /// A random key, each as likely as any other.
    pub fn random(&self, rng: &mut Rng) -> Option<Pos> {
        self.index.random(rng)
    }

    /// Segment numbers run below this.
    pub fn segments(&self) -> usize {
        self.index.segments()
    }

    /// The words of one segment.
    pub fn words(&self, segment: u32) -> impl Iterator<Item = (Pos, Word)> {
        self.index.slots(segment).map(|(pos, bits)| (pos, Word::from_bits(bits)))
    }

    /// Asks for the words of one segment.
    #[inline]
    pub(crate) fn prefetch_words(&self, segment: u32) {
        self.index.prefetch_segment(segment);
    }

    /// Makes old histories [younger](rebased), in one segment: ticks wrap.
    pub fn rebase(&mut self, segment: u32, now: u32) {
        self.index.update_slots(segment, |bits| {
            let word = Word::from_bits(bits);
            let (age, stays) = (word.age(now), rebased(word.age(now)));
            if age == stays { bits } else { word.with_history(now.wrapping_sub(stays), word.frequency()).bits() }
        });
    }

    /// Shows the entries of one segment to `each`; see [`Index::scan`].
    pub fn scan(&self, position: u64, mut each: impl FnMut(Entry<'_>)) -> u64 {
        self.index.scan(position, |bits| each(Entry::read(self.slab.cell(Word::from_bits(bits).cell()))))
    }

    /// A lower bound of the time at which a key is due, `u64::MAX` for none.
    #[inline]
    pub fn first_deadline(&self) -> u64 {
        match self.index.earliest_deadline() {
            NO_DEADLINE => u64::MAX,
            at => at,
        }
    }

    /// Whether a key may be due at `now`: if not, none has expired.
    #[inline]
    pub fn may_be_due(&self, now: u64) -> bool {
        self.index.earliest_deadline() <= now
    }

    /// How many segments may hold keys with an expiry: all that hold some are among them.
    pub fn segments_with_expiry(&self) -> usize {
        self.index.with_deadline()
    }

    /// One of the segments that may hold keys with an expiry, by its number among them from 0 on.
    pub fn nth_segment_with_expiry(&self, nth: usize) -> Option<u32> {
        self.index.nth_with_deadline(nth)
    }

    /// The segment that may hold the key that expires soonest, and before what time no key and no field does.
    pub fn soonest(&self) -> Option<(u64, u32)> {
        self.index.first_deadline()
    }

    /// When the key and the first field of an entry expire, `u64::MAX` for never.
    #[inline]
    fn deadlines(&self, word: Word) -> (u64, u64) {
        if !word.expires() && self.timed == 0 {
            return (u64::MAX, u64::MAX);
        }
        let entry = Entry::read(self.slab.cell(word.cell()));
        (entry.expiry().unwrap_or(u64::MAX), if self.timed > 0 { fields_due(&entry) } else { u64::MAX })
    }

    /// Makes the lower bound of a segment's expiries exact; whether it changed.
    pub fn refresh_deadline(&mut self, segment: u32) -> bool {
        let deadlines = self.index.slots(segment).map(|(_, bits)| self.deadlines(Word::from_bits(bits)));
        let earliest = bounded(deadlines.map(|(key, fields)| key.min(fields)).min().unwrap_or(u64::MAX));
        let changed = earliest != self.index.deadline(segment);
        if changed {
            self.index.set_deadline(segment, earliest);
        }
        changed
    }

    /// A key whose time or whose fields' time has come, if one is found in the `segments` segments that may be looked
    /// into; these are counted down.
    pub fn next_due(&mut self, now: u64, segments: &mut usize) -> Option<Due> {
        while let Some((deadline, segment)) = self.index.first_deadline() {
            if deadline > now || *segments == 0 {
                return None;
            }
            let mut earliest = u64::MAX;
            for (pos, bits) in self.index.slots(segment) {
                match self.deadlines(Word::from_bits(bits)) {
                    (key, _) if key <= now => return Some(Due::Key(pos)),
                    (_, fields) if fields <= now => return Some(Due::Fields(pos)),
                    (key, fields) => earliest = earliest.min(key.min(fields)),
                }
            }
            *segments -= 1;
            self.index.set_deadline(segment, bounded(earliest));
        }
        None
    }

    /// First step of a batched look-up: asks for the index's part of the way.
    #[inline]
    pub fn prefetch_index(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Second step: asks for the entry, to be changed or only read; or for the place of one that will be new.
    #[inline]
    pub fn prefetch_entries(&self, hash: u64, writes: bool) {
        let mut is_new = writes;
        self.index.each_candidate(hash, |bits| {
            let word = Word::from_bits(bits);
            if word.may_match(hash) {
                prefetch_cell(&self.slab, word.cell(), writes);
                is_new = false;
            }
        });
        if is_new {
            self.slab.prefetch_free();
        }
    }

    /// Where a key stands that holds a large collection with an index; see [`Object::is_indexed`].
    #[inline]
    pub fn find_indexed(&self, hash: u64, key: &[u8]) -> Option<Pos> {
        let pos = self.find(hash, key)?;
        self.indexed_at(pos).map(|_| pos)
    }

    /// The large collection at a position that may have become invalid.
    #[inline]
    pub fn indexed_at(&self, pos: Pos) -> Option<&Object> {
        let word = self.checked_word(pos).filter(|word| word.owns())?;
        Entry::read(self.slab.cell(word.cell())).object().filter(|object| object.is_indexed())
    }

    /// Frees up to about `chunks` blocks; true when all is freed. The table holds nothing afterwards.
    pub fn free_step(&mut self, chunks: usize) -> bool {
        while self.owned > 0 && self.freed < self.index.segments() as u32 {
            for (pos, bits) in self.index.slots(self.freed) {
                let word = Word::from_bits(bits);
                if word.owns() {
                    self.owned -= owned_at(&Entry::read(self.slab.cell(word.cell())));
                    self.pending.extend(entry::take(self.slab.cell_mut(word.cell())));
                }
                debug_assert_eq!(pos.segment, self.freed);
            }
            self.freed += 1;
            if !self.pending.is_empty() {
                break;
            }
        }
        if let Some(object) = self.pending.last_mut() {
            if object.free_step(chunks) {
                self.pending.pop();
            }
            return false;
        }
        self.owned == 0 && self.index.free_step(chunks) && self.slab.free_step(chunks)
    }

    /// Checks every invariant; panics with what is wrong. For tests.
    pub fn validate(&self) {
        self.index.validate(|bits| hash_of(&self.slab, self.hasher, bits));
        self.slab.validate();
        let (mut expires, mut timed, mut owned, mut cells) = (0, 0, 0, 0);
        for segment in 0..self.segments() as u32 {
            for (pos, word) in self.words(segment) {
                let entry = self.entry(pos);
                assert_eq!((word.expires(), word.owns()), (entry.expiry().is_some(), entry.owns()), "the word knows");
                assert_eq!(owned_at(&entry) > 0, entry.owns(), "what is owned counts");
                assert!(self.find(self.hash_at(pos), entry.key()) == Some(pos), "a key is found");
                expires += word.expires() as usize;
                owned += owned_at(&entry);
                cells += self.slab.cell(word.cell()).len();
                let deadline = entry.expiry().unwrap_or(u64::MAX).min(fields_due(&entry));
                assert!(self.index.deadline(segment) <= deadline, "a segment's deadline is a lower bound");
                timed += (fields_due(&entry) != u64::MAX) as usize;
                match (entry.object(), entry.inline_payload()) {
                    (Some(object), _) => object.validate(),
                    (None, Some(Payload::Inline { kind, bytes, .. })) => {
                        Object::from_packed(kind, bytes.to_vec()).validate();
                    }
                    _ => {}
                }
            }
        }
        assert_eq!((expires, owned), (self.expires, self.owned), "expiries and owned bytes are counted");
        assert_eq!(timed, self.timed, "hashes with fields that expire are counted");
        assert_eq!(cells, self.slab.live_bytes(), "every live cell has its word");
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        while self.owned > 0 && !self.free_step(usize::MAX) {}
    }
}

/// A time as an index keeps it.
fn bounded(at: u64) -> u64 {
    if at == u64::MAX { NO_DEADLINE } else { at.min(NO_DEADLINE - 1) }
}

/// A lower bound of the time at which a field of the hash expires, `u64::MAX` if none does or it is no hash.
#[inline]
fn fields_due(entry: &Entry<'_>) -> u64 {
    if entry.kind() == Kind::Hash { entry.value().first_deadline() } else { u64::MAX }
}

/// Notes an access in a key's word; a hot key's seldom changes, and then other cores may keep its line.
#[inline]
fn note(slot: &mut u64, word: Word, tick: u32, dice: &mut Dice) {
    let touched = word.touched(tick, dice);
    if touched != word {
        *slot = touched.bits();
    }
}

/// As [`Table::access`], where colliding hashes have filled more than a segment.
#[cold]
fn access_in_chain<'a>(
    index: &mut Index<u64>,
    slab: &'a Slab,
    hash: u64,
    key: &[u8],
    access: Option<(u32, &mut Dice)>,
) -> Option<Entry<'a>> {
    let pos = index.find(hash, |bits| Entry::read(slab.cell(Word::from_bits(bits).cell())).key() == key)?;
    let word = Word::from_bits(index.get(pos));
    if let Some((tick, dice)) = access {
        index.set(pos, word.touched(tick, dice).bits());
    }
    Some(Entry::read(slab.cell(word.cell())))
}

/// Asks for the lines of a cell, of a long one for the first.
#[inline]
fn prefetch_cell(slab: &Slab, cell: Ref, writes: bool) {
    const LINE: usize = 64;
    const AT_MOST: usize = 4 * LINE;
    let (address, len) = slab.place(cell);
    let ask = if writes { prefetch_to_write } else { prefetch };
    let end = address.wrapping_add(len.min(AT_MOST)).wrapping_sub(1);
    ask(address);
    let mut next = address.wrapping_add(LINE);
    while next < end {
        ask(next);
        next = next.wrapping_add(LINE);
    }
    ask(end);
}

fn hash_of(slab: &Slab, hasher: Hasher, bits: u64) -> u64 {
    hasher.hash(Entry::read(slab.cell(Word::from_bits(bits).cell())).key())
}

/// Decides where a value is kept: in the cell if it fits, else in an object.
#[inline]
fn payload<'a>(key: &[u8], content: &'a mut Content<'_>) -> Payload<'a> {
    if let Content::Object(object) = content
        && !object.packed().is_some_and(|bytes| entry::fits_inline(key, bytes.len()))
        && let Content::Object(object) = std::mem::replace(content, Content::Int(0))
    {
        return Payload::Object(object);
    }
    match content {
        Content::Int(number) => Payload::Int(*number),
        Content::Str { bytes, raw } if entry::fits_inline(key, bytes.len()) => {
            Payload::Inline { kind: Kind::String, bytes, raw: *raw }
        }
        Content::Str { bytes, .. } => Payload::Object(Object::Str(BigStr::new(bytes))),
        Content::Object(object) => {
            Payload::Inline { kind: object.kind(), bytes: object.packed().unwrap_or_default(), raw: false }
        }
    }
}

#[inline]
fn owned_by(parts: &Parts<'_>) -> usize {
    let object = match &parts.payload {
        Payload::Object(object) => object.memory(),
        _ => 0,
    };
    object + entry::boxed_key_memory(parts.key)
}

#[inline]
fn owned_at(entry: &Entry<'_>) -> usize {
    entry.boxed_key_bytes() + entry.object().map_or(0, Object::memory)
}
