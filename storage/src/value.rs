//! What a key can hold: types, the form in which a value is kept, and values too large for an entry's cell.

use crate::heap::{Mover, Settle};
use crate::types::hash::{Hash, HashRef};
use crate::types::list::{List, ListRef};
use crate::types::set::{Set, SetRef};
use crate::types::stream::{Stream, StreamRef};
use crate::types::zset::{ZSet, ZSetRef};
use crate::types::{Env, Full};

pub use crate::types::big_str::BigStr;

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A byte string or an integer.
    String = 1,
    /// A list.
    List = 2,
    /// A set.
    Set = 3,
    /// A sorted set.
    ZSet = 4,
    /// A hash.
    Hash = 5,
    /// A stream.
    Stream = 6,
}

impl Kind {
    pub(crate) fn from_bits(bits: u8) -> Self {
        match bits {
            2 => Self::List,
            3 => Self::Set,
            4 => Self::ZSet,
            5 => Self::Hash,
            6 => Self::Stream,
            _ => Self::String,
        }
    }

    /// The name that TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::ZSet => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
        }
    }
}

/// A value as it is read.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A string that is an integer in canonical form.
    Int(i64),
    /// A string; `raw` when it was changed in place, which OBJECT ENCODING shows.
    Str {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether it was changed in place.
        raw: bool,
    },
    /// A string with an allocation of its own.
    Big(&'a BigStr),
    /// A set.
    Set(SetRef<'a>),
    /// A list.
    List(ListRef<'a>),
    /// A sorted set.
    ZSet(ZSetRef<'a>),
    /// A hash.
    Hash(HashRef<'a>),
    /// A stream.
    Stream(StreamRef<'a>),
}

impl<'a> Value<'a> {
    /// The value whose bytes stand in an entry's cell.
    #[inline(always)]
    pub(crate) fn packed(kind: Kind, bytes: &'a [u8], raw: bool) -> Self {
        match kind {
            Kind::Set => Self::Set(SetRef::packed(bytes)),
            Kind::List => Self::List(ListRef::Packed(bytes)),
            Kind::ZSet => Self::ZSet(ZSetRef::Packed(bytes)),
            Kind::Hash => Self::Hash(HashRef::Packed(bytes)),
            Kind::Stream => Self::Stream(StreamRef::Packed(bytes)),
            Kind::String => Self::Str { bytes, raw },
        }
    }

    /// Whether it is a collection without elements, which is no key any more (a string never is, nor a stream).
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Int(_) | Self::Str { .. } | Self::Big(_) | Self::Stream(_) => false,
            Self::Set(set) => set.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::ZSet(zset) => zset.is_empty(),
            Self::Hash(hash) => hash.is_empty(),
        }
    }

    /// The type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Int(_) | Self::Str { .. } | Self::Big(_) => Kind::String,
            Self::Set(_) => Kind::Set,
            Self::List(_) => Kind::List,
            Self::ZSet(_) => Kind::ZSet,
            Self::Hash(_) => Kind::Hash,
            Self::Stream(_) => Kind::Stream,
        }
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Str { bytes, raw: false } if bytes.len() <= EMBEDDED_AT_MOST => "embstr",
            Self::Str { .. } | Self::Big(_) => "raw",
            Self::Set(set) => set.encoding(),
            Self::List(list) => list.encoding(),
            Self::ZSet(zset) => zset.encoding(),
            Self::Hash(hash) => hash.encoding(),
            Self::Stream(_) => "stream",
        }
    }

    /// A lower bound of the time at which a part of it expires (a field of a hash), in milliseconds since 1970;
    /// `u64::MAX` if none does.
    #[inline]
    pub(crate) fn first_deadline(&self) -> u64 {
        match self {
            Self::Hash(hash) => hash.first_deadline(),
            _ => u64::MAX,
        }
    }
}

/// The longest string that Redis embeds in its object.
const EMBEDDED_AT_MOST: usize = 44;

/// A value to be stored.
pub enum Content<'a> {
    /// A string that is an integer.
    Int(i64),
    /// A string, to be kept as it is.
    Str {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether it was changed in place.
        raw: bool,
    },
    /// A value with memory of its own; a small collection goes into the cell.
    Object(Object),
}

impl<'a> Content<'a> {
    /// A string as SET stores it: as an integer where it is one in canonical form.
    #[inline]
    pub fn string(bytes: &'a [u8]) -> Self {
        match canonical_i64(bytes) {
            Some(number) => Self::Int(number),
            None => Self::Str { bytes, raw: false },
        }
    }
}

/// A value that owns memory outside its entry's cell.
pub enum Object {
    /// A long string.
    Str(BigStr),
    /// A set.
    Set(Set),
    /// A list.
    List(List),
    /// A sorted set.
    ZSet(ZSet),
    /// A hash.
    Hash(Hash),
    /// A stream.
    Stream(Stream),
}

/// Does the same with the value, whichever type it has.
macro_rules! with_value {
    ($object:expr, $value:ident => $result:expr) => {
        match $object {
            Object::Str($value) => $result,
            Object::Set($value) => $result,
            Object::List($value) => $result,
            Object::ZSet($value) => $result,
            Object::Hash($value) => $result,
            Object::Stream($value) => $result,
        }
    };
}

impl Object {
    /// The type.
    pub fn kind(&self) -> Kind {
        self.value().kind()
    }

    /// Bytes that it owns besides itself; the same for the same operations.
    #[inline]
    pub fn memory(&self) -> usize {
        with_value!(self, value => value.memory())
    }

    /// The value as it is read.
    #[inline]
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Str(string) => Value::Big(string),
            Self::Set(set) => Value::Set(set.as_ref()),
            Self::List(list) => Value::List(list.as_ref()),
            Self::ZSet(zset) => Value::ZSet(zset.as_ref()),
            Self::Hash(hash) => Value::Hash(hash.as_ref()),
            Self::Stream(stream) => Value::Stream(stream.as_ref()),
        }
    }

    /// The bytes of a packed collection, which may stand in the cell.
    #[inline]
    pub(crate) fn packed(&self) -> Option<&[u8]> {
        with_value!(self, value => value.packed())
    }

    /// The collection whose packed bytes a cell held.
    #[inline]
    pub(crate) fn from_packed(kind: Kind, bytes: Vec<u8>) -> Self {
        match kind {
            Kind::Set => Self::Set(Set::from_packed(bytes)),
            Kind::List => Self::List(List::Packed(bytes)),
            Kind::ZSet => Self::ZSet(ZSet::Packed(bytes)),
            Kind::Hash => Self::Hash(Hash::Packed(bytes)),
            Kind::Stream => Self::Stream(Stream::Packed(bytes)),
            Kind::String => Self::Str(BigStr::from(bytes)),
        }
    }

    /// Takes the packed bytes out again, to use their allocation once more.
    pub(crate) fn into_packed(self) -> Vec<u8> {
        with_value!(self, value => value.into_packed())
    }

    /// A copy, in the same form however few elements are left.
    pub fn duplicate(&self, env: Env<'_>) -> Result<Self, Full> {
        Ok(match self {
            Self::Str(string) => Self::Str(string.duplicate(env)?),
            Self::Set(set) => Self::Set(set.duplicate(env)?),
            Self::List(list) => Self::List(list.duplicate(env)?),
            Self::ZSet(zset) => Self::ZSet(zset.duplicate(env)?),
            Self::Hash(hash) => Self::Hash(hash.duplicate(env)?),
            Self::Stream(stream) => Self::Stream(stream.duplicate(env)?),
        })
    }

    /// Whether it is a collection without elements (a string never is).
    pub fn is_empty(&self) -> bool {
        self.value().is_empty()
    }

    /// Elements whose freeing costs one allocation or more each; of a string the blocks that the system takes back.
    pub fn weight(&self) -> usize {
        with_value!(self, value => value.weight())
    }

    /// Frees up to `chunks` blocks; true when nothing large is left.
    pub fn free_step(&mut self, chunks: usize) -> bool {
        with_value!(self, value => value.free_step(chunks))
    }

    /// Whether [`Object::compact_step`] would give memory back.
    #[inline]
    pub fn is_sparse(&mut self) -> bool {
        match self {
            Self::Set(set) => set.is_sparse(),
            Self::ZSet(zset) => zset.is_sparse(),
            Self::Hash(hash) => hash.is_sparse(),
            Self::Str(_) | Self::List(_) | Self::Stream(_) => false,
        }
    }

    /// Moves a few small pages of a collection closer to those of others; false when there is nothing to do.
    pub fn gather_step(&mut self) -> bool {
        match self {
            Self::Set(set) => set.gather_step(),
            Self::ZSet(zset) => zset.gather_step(),
            Self::Hash(hash) => hash.gather_step(),
            Self::Str(_) | Self::List(_) | Self::Stream(_) => false,
        }
    }

    /// Moves up to `limit` elements of a collection to where they leave less memory unused; how many steps it did, 0 if
    /// there is nothing to do.
    pub fn compact_step(&mut self, env: Env<'_>, limit: usize) -> usize {
        match self {
            Self::Set(set) => set.compact_step(env, limit),
            Self::ZSet(zset) => zset.compact_step(env, limit),
            Self::Hash(hash) => hash.compact_step(env, limit),
            // They have no cells: what they are made of is freed piece by piece.
            Self::Str(_) | Self::List(_) | Self::Stream(_) => 0,
        }
    }

    /// Parts for [`Object::settle`].
    pub(crate) fn parts(&self) -> usize {
        with_value!(self, value => value.parts())
    }

    /// The part behind one.
    pub(crate) fn after(&self, part: usize) -> usize {
        with_value!(self, value => value.after(part))
    }

    /// Moves what stands in regions of the heap that are to be left, of one part.
    pub(crate) fn settle(&mut self, part: usize, mover: &mut Mover) {
        with_value!(self, value => value.settle(part, mover));
    }

    /// Whether it is a large collection whose members [`Object::prefetch_index`] finds by their hashes.
    #[inline]
    pub fn is_indexed(&self) -> bool {
        matches!(self, Self::Set(Set::Hashed(_)) | Self::ZSet(ZSet::Tree(_)) | Self::Hash(Hash::Dict(_)))
    }

    /// First step of a batched look-up of a member: asks for the index's part of the way.
    #[inline]
    pub fn prefetch_index(&self, member_hash: u64) {
        match self {
            Self::Set(Set::Hashed(dict)) => dict.prefetch_index(member_hash),
            Self::ZSet(ZSet::Tree(tree)) => tree.prefetch_index(member_hash),
            Self::Hash(Hash::Dict(dict)) => dict.prefetch_index(member_hash),
            _ => {}
        }
    }

    /// Second step: asks for the member.
    #[inline]
    pub fn prefetch_member(&self, member_hash: u64) {
        match self {
            Self::Set(Set::Hashed(dict)) => dict.prefetch_records(member_hash),
            Self::ZSet(ZSet::Tree(tree)) => tree.prefetch_records(member_hash),
            Self::Hash(Hash::Dict(dict)) => dict.prefetch_records(member_hash),
            _ => {}
        }
    }

    /// Checks every invariant of the value; panics with what is wrong. For tests.
    pub fn validate(&self) {
        with_value!(self, value => value.validate());
    }
}

/// The integer that `bytes` spells in the one form that printing it gives: no sign but `-`, no leading zero.
#[inline]
pub fn canonical_i64(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut number: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + (digit - b'0') as u64;
    }
    if negative { 0i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_printed_form_is_an_integer() {
        for number in [0, 1, -1, 42, i64::MAX, i64::MIN] {
            assert_eq!(canonical_i64(number.to_string().as_bytes()), Some(number));
        }
        for text in ["", "-", "-0", "+1", "01", " 1", "1 ", "9223372036854775808", "-9223372036854775809", "1e3"] {
            assert_eq!(canonical_i64(text.as_bytes()), None, "{text}");
        }
    }
}
