//! Hashes: unique fields, each with a value, and with an expiry of its own if need be.
//!
//! A small hash is one packed byte string, a larger one a dictionary; the limits stand in [`Env`] and are those of
//! Redis's listpack, so that OBJECT ENCODING answers alike. A few long values make no dictionary yet, which would be
//! far larger than they are: such a pack is marked, and told as the hash table that Redis has then. A hash that became
//! a dictionary stays one.
//!
//! ```text
//! packed.rs    the byte string: linear look-ups, edits in place
//! raw.rs       hashes made of the bytes that RESTORE is given
//! ```
//!
//! A field whose time has come is there like any other until it is removed by whoever knows the time.

use super::dict::{Dict, Record};
use super::pack::{self, Element, Mark};
use crate::heap::{Mover, Settle};
use crate::rng::Rng;
use crate::types::{Collection, Env, Full};
use crate::value::{Kind, Object, Value};
use packed::Packed;

mod packed;
mod raw;
#[cfg(test)]
mod tests;

/// The latest time at which a field can expire, in milliseconds since 1970 (Redis 7.4's limit).
pub const LATEST_EXPIRY: u64 = (1 << 46) - 1;

/// Segments of a dictionary in which one call looks for what is due, in vain at worst.
const SEGMENTS_PER_CALL: usize = 8;

/// A hash, owned.
pub enum Hash {
    /// A byte string.
    Packed(Vec<u8>),
    /// A dictionary.
    Dict(Box<Dict>),
}

/// A hash, for reading. The packed bytes may stand anywhere, as in a key's entry.
#[derive(Clone, Copy)]
pub enum HashRef<'a> {
    /// A byte string.
    Packed(&'a [u8]),
    /// A dictionary.
    Dict(&'a Dict),
}

/// A field as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub name: Element<'a>,
    /// Its value.
    pub value: Element<'a>,
    /// When it expires, in milliseconds since 1970.
    pub expiry: Option<u64>,
}

impl Field<'_> {
    /// Whether its time has come.
    #[inline]
    pub fn has_expired(&self, now: u64) -> bool {
        self.expiry.is_some_and(|at| at <= now)
    }
}

impl<'a> From<Record<'a>> for Field<'a> {
    #[inline]
    fn from(record: Record<'a>) -> Self {
        Self { name: Element::Bytes(record.key), value: Element::Bytes(record.value), expiry: record.expiry }
    }
}

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

impl Hash {
    /// An empty hash; it allocates at its first field.
    pub fn new() -> Self {
        Self::Packed(Vec::new())
    }

    /// The hash, for reading.
    #[inline]
    pub fn as_ref(&self) -> HashRef<'_> {
        match self {
            Self::Packed(bytes) => HashRef::Packed(bytes),
            Self::Dict(dict) => HashRef::Dict(dict),
        }
    }

    /// Becomes a hash table in Redis's sense now if it would hold more than its listpack may, given so many fields to
    /// set, the length of the longest field or value, and the bytes of all: what Redis does with the arguments of one
    /// HSET, counting fields that are there or repeated, too.
    #[inline]
    pub fn expect(&mut self, env: Env<'_>, fields: usize, longest: usize, bytes: usize) -> Result<(), Full> {
        let Self::Packed(packed) = self else { return Ok(()) };
        let is_long = longest > env.limits.hash_max_packed_value;
        // Of another hash than an empty one it is not known how much longer it becomes.
        let more = if packed.is_empty() { bytes } else { 0 };
        if fields > env.limits.hash_max_packed_entries || !packed::has_room(packed, more, is_long) {
            return self.unpack(env);
        }
        if is_long {
            pack::mark(packed, Mark::Long);
        }
        Ok(())
    }

    /// Sets a field to a value; its expiry goes. Whether the field is new.
    #[inline]
    pub fn set(&mut self, env: Env<'_>, name: &[u8], value: &[u8]) -> Result<bool, Full> {
        self.put(env, name, value, false)
    }

    /// Sets a field to a value; its expiry stays. Whether the field is new.
    pub fn set_keeping_expiry(&mut self, env: Env<'_>, name: &[u8], value: &[u8]) -> Result<bool, Full> {
        self.put(env, name, value, true)
    }

    #[inline]
    fn put(&mut self, env: Env<'_>, name: &[u8], value: &[u8], keep_expiry: bool) -> Result<bool, Full> {
        let is_long = name.len().max(value.len()) > env.limits.hash_max_packed_value;
        if let Self::Packed(bytes) = self {
            if packed::has_room_for(bytes, name, value, is_long) {
                let is_there = packed::replace(bytes, name, value, keep_expiry);
                if is_there || Packed(bytes).len() < env.limits.hash_max_packed_entries {
                    if !is_there {
                        packed::append(bytes, name, value);
                    }
                    if is_long {
                        pack::mark(bytes, Mark::Long);
                    }
                    return Ok(!is_there);
                }
            }
            self.unpack(env)?;
        }
        let Self::Dict(dict) = self else { return Err(Full) };
        if !keep_expiry
            && dict.expiring() > 0
            && let Some(place) = dict.find(env, name)
        {
            let place = dict.set_expiry(place, None)?;
            return dict.set_value(place, value).map(|_| false);
        }
        dict.set(env, name, value)
    }

    fn unpack(&mut self, env: Env<'_>) -> Result<(), Full> {
        if let Self::Packed(bytes) = self {
            let mut dict = Box::new(Dict::new(env, true));
            for field in Packed(bytes).iter() {
                insert(&mut dict, env, field)?;
            }
            *self = Self::Dict(dict);
        }
        Ok(())
    }

    /// Takes a field out; whether it was there. A hash may be empty afterwards.
    #[inline]
    pub fn remove(&mut self, env: Env<'_>, name: &[u8]) -> bool {
        match self {
            Self::Packed(bytes) => packed::remove(bytes, name),
            Self::Dict(dict) => dict.remove(env, name),
        }
    }

    /// Sets or removes a field's expiry, which lies between 1 and [`LATEST_EXPIRY`]; whether the field is there.
    pub fn set_expiry(&mut self, env: Env<'_>, name: &[u8], expiry: Option<u64>) -> Result<bool, Full> {
        match self {
            Self::Packed(bytes) => Ok(packed::set_expiry(bytes, name, expiry)),
            Self::Dict(dict) => match dict.find(env, name) {
                Some(place) => dict.set_expiry(place, expiry).map(|_| true),
                None => Ok(false),
            },
        }
    }

    /// Takes up to `most` fields out whose time has come, each shown first, at a bounded cost; how many. There may be
    /// more as long as [`HashRef::first_deadline`] is not later than `now`, even if none was found.
    pub fn remove_due(&mut self, env: Env<'_>, now: u64, most: usize, mut each: impl FnMut(Field<'_>)) -> usize {
        let dict = match self {
            Self::Packed(bytes) => return packed::remove_due(bytes, now, most, each),
            Self::Dict(dict) => dict,
        };
        let (mut segments, mut removed) = (SEGMENTS_PER_CALL, 0);
        while removed < most
            && let Some(place) = dict.next_due(env, now, &mut segments)
        {
            each(dict.at(place).into());
            dict.remove_at(place);
            removed += 1;
        }
        removed
    }

    /// Bytes that the hash owns besides itself: of a large one live bytes, otherwise allocated ones. O(1), and the
    /// same for the same operations.
    #[inline]
    pub fn memory(&self) -> usize {
        match self {
            Self::Packed(bytes) => bytes.capacity(),
            Self::Dict(dict) => dict.memory(),
        }
    }

    /// The bytes of the packed form.
    #[inline]
    pub(crate) fn packed(&self) -> Option<&[u8]> {
        match self {
            Self::Packed(bytes) => Some(bytes),
            Self::Dict(_) => None,
        }
    }

    pub(crate) fn into_packed(self) -> Vec<u8> {
        match self {
            Self::Packed(bytes) => bytes,
            Self::Dict(_) => Vec::new(),
        }
    }

    /// A copy, in the same form however few fields are left.
    pub(crate) fn duplicate(&self, env: Env<'_>) -> Result<Self, Full> {
        match self {
            Self::Packed(bytes) => Ok(Self::Packed(bytes.clone())),
            Self::Dict(dict) => {
                let mut copy = Box::new(Dict::new(env, true));
                for record in dict.iter() {
                    copy.insert(env, record)?;
                }
                Ok(Self::Dict(copy))
            }
        }
    }

    /// Fields, each of which may cost something to free.
    pub(crate) fn weight(&self) -> usize {
        self.as_ref().len()
    }

    /// Frees up to about `chunks` chunks or pages; true when nothing is left. For dropping in slices: between the
    /// steps the hash may only be freed further, or dropped.
    pub fn free_step(&mut self, chunks: usize) -> bool {
        let is_free = match self {
            Self::Packed(_) => true,
            Self::Dict(dict) => dict.free_step(chunks.max(1)),
        };
        if is_free {
            *self = Self::new();
        }
        is_free
    }

    /// Whether there is something to do for `compact_step`. O(1).
    #[inline]
    pub fn is_sparse(&mut self) -> bool {
        match self {
            Self::Packed(_) => false,
            Self::Dict(dict) => dict.is_sparse(),
        }
    }

    /// Moves a few small pages of fields closer to those of others; false when there is nothing to do.
    pub fn gather_step(&mut self) -> bool {
        match self {
            Self::Packed(_) => false,
            Self::Dict(dict) => dict.gather_step(),
        }
    }

    /// Moves up to `limit` fields out of sparsely used pages; how many steps it did, 0 if there is nothing to do.
    pub fn compact_step(&mut self, env: Env<'_>, limit: usize) -> usize {
        match self {
            Self::Packed(_) => 0,
            Self::Dict(dict) => dict.compact_step(env, limit),
        }
    }

    /// Checks every invariant of the representation; panics with what is wrong. For tests.
    pub fn validate(&self) {
        match self {
            Self::Packed(bytes) => Packed(bytes).validate(),
            Self::Dict(dict) => dict.validate(),
        }
    }

    /// Checks that the index has each field where its hash says; panics if not. For tests.
    pub fn validate_hashes(&self, env: Env<'_>) {
        if let Self::Dict(dict) = self {
            dict.validate_hashes(env);
        }
    }
}

/// Adds a packed field to a dictionary that has it not.
fn insert(dict: &mut Dict, env: Env<'_>, field: Field<'_>) -> Result<(), Full> {
    let (mut name, mut value) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (key, value) = (field.name.text(&mut name), field.value.text(&mut value));
    dict.insert(env, Record { key, value, expiry: field.expiry }).map(|_| ())
}

impl Settle for Hash {
    fn parts(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Dict(dict) => 1 + dict.parts(),
        }
    }

    fn settle(&mut self, part: usize, mover: &mut Mover) {
        match self {
            Self::Packed(bytes) => mover.vec(bytes),
            Self::Dict(dict) if part > 0 => dict.settle(part - 1, mover),
            Self::Dict(dict) => {
                if mover.moves_value(&**dict)
                    && let Self::Dict(whole) = std::mem::take(self)
                {
                    *self = Self::Dict(Box::new(*whole));
                }
            }
        }
    }
}

impl Collection for Hash {
    const KIND: Kind = Kind::Hash;
    type Ref<'a> = HashRef<'a>;

    fn empty(_: &Env<'_>) -> Self {
        Self::new()
    }

    #[inline]
    fn of(value: Value<'_>) -> Option<HashRef<'_>> {
        match value {
            Value::Hash(hash) => Some(hash),
            _ => None,
        }
    }

    #[inline]
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        match object {
            Object::Hash(hash) => Some(hash),
            _ => None,
        }
    }

    fn into_object(self) -> Object {
        Object::Hash(self)
    }
}

impl<'a> HashRef<'a> {
    /// The number of fields, those whose time has come included.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Packed(bytes) => Packed(bytes).len(),
            Self::Dict(dict) => dict.len(),
        }
    }

    /// Whether there is no field.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The number of fields whose time has not come. O(N) if the time of some may have.
    pub fn live_len(self, now: u64) -> usize {
        if self.first_deadline() > now {
            return self.len();
        }
        let mut count = 0;
        self.each(|field| count += !field.has_expired(now) as usize);
        count
    }

    /// Whether it is a hash table in Redis, however it is kept here.
    #[inline]
    pub fn is_table(self) -> bool {
        match self {
            Self::Packed(bytes) => Packed(bytes).is_long(),
            Self::Dict(_) => true,
        }
    }

    /// Whether some field expires.
    pub fn has_expiring(self) -> bool {
        match self {
            Self::Packed(_) => self.first_deadline() < u64::MAX,
            Self::Dict(dict) => dict.expiring() > 0,
        }
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding(self) -> &'static str {
        match self {
            Self::Packed(_) if self.is_table() => "hashtable",
            Self::Packed(bytes) if Packed(bytes).has_times() => "listpackex",
            Self::Packed(_) => "listpack",
            Self::Dict(_) => "hashtable",
        }
    }

    /// A field by its name.
    #[inline]
    pub fn get(self, env: Env<'_>, name: &[u8]) -> Option<Field<'a>> {
        match self {
            Self::Packed(bytes) => Packed(bytes).get(name),
            Self::Dict(dict) => dict.get(env, name).map(Field::from),
        }
    }

    /// A random field, each as likely as any other.
    pub fn random(self, env: Env<'_>, rng: &mut Rng) -> Option<Field<'a>> {
        match self {
            Self::Packed(bytes) => Packed(bytes).nth(rng.index(self.len())),
            Self::Dict(dict) => dict.random(env, rng).map(|place| dict.at(place).into()),
        }
    }

    /// Shows all fields.
    #[inline]
    pub fn each(self, each: impl FnMut(Field<'a>)) {
        match self {
            Self::Packed(bytes) => Packed(bytes).iter().for_each(each),
            Self::Dict(dict) => dict.iter().map(Field::from).for_each(each),
        }
    }

    /// Shows some fields to `each` and gives the cursor for the next call, 0 at the end; start with 0. See
    /// [`Dict::scan`]. A packed hash is shown at once.
    pub fn scan(self, cursor: u64, mut each: impl FnMut(Field<'_>)) -> u64 {
        match self {
            Self::Dict(dict) => dict.scan(cursor, |record| each(record.into())),
            Self::Packed(bytes) => {
                Packed(bytes).iter().for_each(each);
                0
            }
        }
    }

    /// A lower bound of the time at which a field expires, in milliseconds since 1970; `u64::MAX` if none does.
    #[inline]
    pub fn first_deadline(self) -> u64 {
        match self {
            Self::Packed(bytes) => Packed(bytes).first_deadline(),
            Self::Dict(dict) => dict.first_deadline(),
        }
    }
}
