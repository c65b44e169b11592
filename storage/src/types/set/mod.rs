//! Sets: unique members in no order.
//!
//! ```text
//! ints.rs       small sets of integers: one byte string, ascending
//! packed        other small sets: a packed sequence (`types/pack.rs`), in the order in which members came
//! hashed        all others: a dictionary without values (`types/dict`)
//! random.rs     members drawn and taken at random
//! raw.rs        the bytes of the small forms, for DUMP and RESTORE
//! ```
//!
//! Which form a set has, and when it changes, is what Redis 7.4 does, as OBJECT ENCODING shows it; the limits stand in
//! [`Env`]. A few long members alone make no dictionary: such a packed set is marked, and told as the hash table that
//! Redis has then. A set never goes back to a smaller form by itself.
//!
//! Members are [`Element`]s: integers where that is what is stored. One that is given as bytes may spell an integer.

use super::dict::{self, Dict};
use super::pack::{self, Element, Mark, Pack};
use super::text::Text;
use crate::heap::{Mover, Settle};
use crate::types::{Collection, Env, Full};
use crate::value::{Kind, Object, Value};
use ints::Ints;

mod ints;
mod random;
mod raw;
#[cfg(test)]
mod tests;

/// Integers that the first form holds at most, whatever `Env` allows.
const MAX_INTS: usize = 1 << 30;

/// A set, owned.
pub enum Set {
    /// Integers in a byte string.
    Ints(Vec<u8>),
    /// A packed sequence of members.
    Packed(Vec<u8>),
    /// A dictionary.
    Hashed(Box<Dict>),
}

/// A set, for reading. The bytes may stand anywhere, as in a key's entry.
#[derive(Clone, Copy)]
pub enum SetRef<'a> {
    /// Integers in a byte string.
    Ints(&'a [u8]),
    /// A packed sequence of members.
    Packed(&'a [u8]),
    /// A dictionary.
    Hashed(&'a Dict),
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

impl Set {
    /// An empty set of integers; its first member decides what becomes of it.
    pub fn new() -> Self {
        Self::Ints(Vec::new())
    }

    /// An empty packed set.
    pub fn new_packed() -> Self {
        Self::Packed(Vec::new())
    }

    /// An empty dictionary.
    pub fn new_hashed(env: Env<'_>) -> Self {
        Self::Hashed(Box::new(Dict::new(env, false)))
    }

    /// The set, for reading.
    #[inline]
    pub fn as_ref(&self) -> SetRef<'_> {
        match self {
            Self::Ints(bytes) => SetRef::Ints(bytes),
            Self::Packed(bytes) => SetRef::Packed(bytes),
            Self::Hashed(dict) => SetRef::Hashed(dict),
        }
    }

    /// Takes the form that Redis chooses for `count` members to be added, of which `first` is the first and repeated
    /// ones count: an empty set any, another one a dictionary if there are so many.
    pub fn expect(&mut self, env: Env<'_>, first: &[u8], count: usize) -> Result<(), Full> {
        let limits = env.limits;
        if self.as_ref().is_empty() {
            *self = if count <= limits.set_max_ints && matches!(Element::of(first), Element::Int(_)) {
                Self::new()
            } else if count <= limits.set_max_packed_entries {
                Self::new_packed()
            } else {
                Self::new_hashed(env)
            };
        }
        let is_too_many = match self {
            Self::Ints(_) => count > limits.set_max_ints,
            Self::Packed(_) => count > limits.set_max_packed_entries,
            Self::Hashed(_) => false,
        };
        if is_too_many { self.make_hashed(env) } else { Ok(()) }
    }

    /// Adds a member; whether it is new.
    #[inline]
    pub fn insert(&mut self, env: Env<'_>, member: Element<'_>) -> Result<bool, Full> {
        match self {
            Self::Ints(bytes) => match member.stored() {
                Element::Int(number) => {
                    let is_new = ints::insert(bytes, number);
                    if is_new && Ints(bytes).len() > env.limits.set_max_ints.min(MAX_INTS) {
                        self.make_hashed(env)?;
                    }
                    Ok(is_new)
                }
                Element::Bytes(text) => self.insert_among_ints(env, text).map(|()| true),
            },
            Self::Packed(bytes) => {
                let member = member.stored();
                if Pack(bytes).contains(member) {
                    return Ok(false);
                }
                let (limits, len) = (env.limits, member.text_len());
                let is_long = len > limits.set_max_packed_value;
                if Pack(bytes).len() >= limits.set_max_packed_entries || !has_room(bytes, len, is_long) {
                    self.add_hashed(env, member)?;
                    return Ok(true);
                }
                pack::push_back(bytes, member);
                if is_long {
                    pack::mark(bytes, Mark::Long);
                }
                Ok(true)
            }
            Self::Hashed(dict) => dict.add(env, member.text(&mut itoa::Buffer::new())),
        }
    }

    /// Adds a member that is no integer to a set of integers.
    fn insert_among_ints(&mut self, env: Env<'_>, text: &[u8]) -> Result<(), Full> {
        let Self::Ints(bytes) = self else { return Ok(()) };
        let (ints, limits) = (Ints(bytes), env.limits);
        let (mut longest, mut largest) = (0, 0);
        for end in ints.ends().into_iter().flat_map(<[i64; 2]>::from) {
            longest = longest.max(Element::Int(end).text_len());
            largest = largest.max(Element::Int(end).size());
        }
        let is_long = text.len().max(longest) > limits.set_max_packed_value;
        let bytes = largest * ints.len() + text.len();
        if ints.len() >= limits.set_max_packed_entries || !has_room(&[], bytes, is_long) {
            return self.add_hashed(env, Element::Bytes(text));
        }
        let mut packed = Vec::with_capacity(bytes + 8);
        ints.iter().for_each(|number| pack::push_back(&mut packed, Element::Int(number)));
        pack::push_back(&mut packed, Element::Bytes(text));
        if is_long {
            pack::mark(&mut packed, Mark::Long);
        }
        *self = Self::Packed(packed);
        Ok(())
    }

    /// Adds an absent member to a set that becomes a dictionary by that.
    #[cold]
    fn add_hashed(&mut self, env: Env<'_>, member: Element<'_>) -> Result<(), Full> {
        self.make_hashed(env)?;
        if let Self::Hashed(dict) = self {
            dict.add(env, member.text(&mut itoa::Buffer::new()))?;
        }
        Ok(())
    }

    /// Becomes a dictionary.
    pub fn make_hashed(&mut self, env: Env<'_>) -> Result<(), Full> {
        if !matches!(self, Self::Hashed(_)) {
            *self = hashed(env, self.as_ref())?;
        }
        Ok(())
    }

    /// Becomes a set of integers if it holds nothing else, and no more of them than are allowed: what Redis does with
    /// the result of SINTERSTORE.
    pub fn make_ints(&mut self, env: Env<'_>) {
        let set = self.as_ref();
        if matches!(self, Self::Ints(_)) || set.len() > env.limits.set_max_ints.min(MAX_INTS) {
            return;
        }
        let mut bytes = Vec::new();
        for member in set.iter() {
            let Element::Int(number) = member.stored() else { return };
            ints::insert(&mut bytes, number);
        }
        *self = Self::Ints(bytes);
    }

    /// Takes a member out; whether it was there. A set may be empty afterwards.
    #[inline]
    pub fn remove(&mut self, env: Env<'_>, member: Element<'_>) -> bool {
        match self {
            Self::Ints(bytes) => match member.stored() {
                Element::Int(number) => ints::remove(bytes, number),
                Element::Bytes(_) => false,
            },
            Self::Packed(bytes) => match Pack(bytes).find(member.stored(), Pack(bytes).start(), 1) {
                Some(at) => pack::remove(bytes, at, 1) == 1,
                None => false,
            },
            Self::Hashed(dict) => dict.remove(env, member.text(&mut itoa::Buffer::new())),
        }
    }

    /// Bytes that the set owns besides itself: of a large one live bytes, otherwise allocated ones. O(1), and the
    /// same for the same operations.
    #[inline]
    pub fn memory(&self) -> usize {
        match self {
            Self::Ints(bytes) | Self::Packed(bytes) => bytes.capacity(),
            Self::Hashed(dict) => dict.memory(),
        }
    }

    /// The bytes of a packed form.
    #[inline]
    pub(crate) fn packed(&self) -> Option<&[u8]> {
        match self {
            Self::Ints(bytes) | Self::Packed(bytes) => Some(bytes),
            Self::Hashed(_) => None,
        }
    }

    /// The set whose bytes a cell held.
    #[inline]
    pub(crate) fn from_packed(bytes: Vec<u8>) -> Self {
        if Ints::are_in(&bytes) { Self::Ints(bytes) } else { Self::Packed(bytes) }
    }

    pub(crate) fn into_packed(self) -> Vec<u8> {
        match self {
            Self::Ints(bytes) | Self::Packed(bytes) => bytes,
            Self::Hashed(_) => Vec::new(),
        }
    }

    /// A copy, in the same form however few members are left.
    pub(crate) fn duplicate(&self, env: Env<'_>) -> Result<Self, Full> {
        match self {
            Self::Ints(bytes) => Ok(Self::Ints(bytes.clone())),
            Self::Packed(bytes) => Ok(Self::Packed(bytes.clone())),
            Self::Hashed(_) => hashed(env, self.as_ref()),
        }
    }

    /// Allocations that freeing it gives back, about.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Ints(_) | Self::Packed(_) => 1,
            Self::Hashed(dict) => dict.len(),
        }
    }

    /// Frees up to about `chunks` chunks or pages (16 KiB to 48 KiB) of each kind; true when nothing is left. For
    /// dropping in slices: between the steps the set may only be freed further, or dropped.
    pub fn free_step(&mut self, chunks: usize) -> bool {
        let is_free = match self {
            Self::Ints(_) | Self::Packed(_) => true,
            Self::Hashed(dict) => dict.free_step(chunks.max(1)),
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
            Self::Ints(_) | Self::Packed(_) => false,
            Self::Hashed(dict) => dict.is_sparse(),
        }
    }

    /// Moves a few small pages of members closer to those of others; false when there is nothing to do.
    pub fn gather_step(&mut self) -> bool {
        match self {
            Self::Ints(_) | Self::Packed(_) => false,
            Self::Hashed(dict) => dict.gather_step(),
        }
    }

    /// Moves up to `limit` members out of sparsely used pages, each for the price of a look-up; how many it moved, 0
    /// if there is nothing to do.
    pub fn compact_step(&mut self, env: Env<'_>, limit: usize) -> usize {
        match self {
            Self::Ints(_) | Self::Packed(_) => 0,
            Self::Hashed(dict) => dict.compact_step(env, limit),
        }
    }

    /// Checks every invariant of the representation; panics with what is wrong. For tests.
    pub fn validate(&self) {
        match self {
            Self::Ints(bytes) => Ints(bytes).validate(),
            Self::Packed(bytes) => {
                Pack(bytes).validate();
                let mut members: Vec<_> = Pack(bytes).iter().map(|member| Text::from(member).to_vec()).collect();
                members.sort_unstable();
                assert!(members.windows(2).all(|pair| pair[0] != pair[1]), "no member occurs twice");
            }
            Self::Hashed(dict) => dict.validate(),
        }
    }
}

/// Whether a packed set may become so long that a member of `more` bytes is added.
#[inline]
fn has_room(bytes: &[u8], more: usize, is_long: bool) -> bool {
    bytes.len() + more <= pack::most_bytes(is_long || Pack(bytes).is_marked(Mark::Long))
}

/// A dictionary of the members of a set.
fn hashed(env: Env<'_>, set: SetRef<'_>) -> Result<Set, Full> {
    let mut dict = Box::new(Dict::new(env, false));
    for member in set.iter() {
        dict.add(env, member.text(&mut itoa::Buffer::new()))?;
    }
    Ok(Set::Hashed(dict))
}

impl Settle for Set {
    fn parts(&self) -> usize {
        match self {
            Self::Ints(_) | Self::Packed(_) => 1,
            Self::Hashed(dict) => 1 + dict.parts(),
        }
    }

    fn settle(&mut self, part: usize, mover: &mut Mover) {
        match self {
            Self::Ints(bytes) | Self::Packed(bytes) => mover.vec(bytes),
            Self::Hashed(dict) if part > 0 => dict.settle(part - 1, mover),
            Self::Hashed(dict) => {
                if mover.moves_value(&**dict)
                    && let Self::Hashed(whole) = std::mem::take(self)
                {
                    *self = Self::Hashed(Box::new(*whole));
                }
            }
        }
    }
}

impl Collection for Set {
    const KIND: Kind = Kind::Set;
    type Ref<'a> = SetRef<'a>;

    fn empty(_: &Env<'_>) -> Self {
        Self::new()
    }

    #[inline]
    fn of(value: Value<'_>) -> Option<SetRef<'_>> {
        match value {
            Value::Set(set) => Some(set),
            _ => None,
        }
    }

    #[inline]
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        match object {
            Object::Set(set) => Some(set),
            _ => None,
        }
    }

    fn into_object(self) -> Object {
        Object::Set(self)
    }
}

impl<'a> SetRef<'a> {
    /// The set whose bytes stand in an entry's cell.
    #[inline]
    pub(crate) fn packed(bytes: &'a [u8]) -> Self {
        if Ints::are_in(bytes) { Self::Ints(bytes) } else { Self::Packed(bytes) }
    }

    /// The number of members.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Ints(bytes) => Ints(bytes).len(),
            Self::Packed(bytes) => Pack(bytes).len(),
            Self::Hashed(dict) => dict.len(),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding(self) -> &'static str {
        match self {
            Self::Ints(_) => "intset",
            Self::Packed(bytes) if Pack(bytes).is_marked(Mark::Long) => "hashtable",
            Self::Packed(_) => "listpack",
            Self::Hashed(_) => "hashtable",
        }
    }

    /// Whether it has a member.
    #[inline]
    pub fn contains(self, env: Env<'_>, member: Element<'_>) -> bool {
        match self {
            Self::Ints(bytes) => match member.stored() {
                Element::Int(number) => Ints(bytes).contains(number),
                Element::Bytes(_) => false,
            },
            Self::Packed(bytes) => Pack(bytes).contains(member.stored()),
            Self::Hashed(dict) => dict.contains(env, member.text(&mut itoa::Buffer::new())),
        }
    }

    /// The members: integers ascending, packed ones as they came, others in the order of their hashes.
    #[inline]
    pub fn iter(self) -> Members<'a> {
        let members = match self {
            Self::Ints(bytes) => Form::Ints(Ints(bytes).iter()),
            Self::Packed(bytes) => Form::Packed(Pack(bytes).iter()),
            Self::Hashed(dict) => Form::Hashed(Box::new(dict.iter())),
        };
        Members { members, left: self.len() }
    }

    /// Shows some members to `each` and gives the cursor for the next call, 0 at the end; start with 0. A pass shows
    /// each member that was there all the time, whatever came and went meanwhile, and may show one twice. Cursors are
    /// below 2^47. A packed set is shown at once.
    pub fn scan(self, cursor: u64, mut each: impl FnMut(Element<'_>)) -> u64 {
        match self {
            Self::Hashed(dict) => dict.scan(cursor, |record| each(Element::Bytes(record.key))),
            Self::Ints(_) | Self::Packed(_) => {
                self.iter().for_each(each);
                0
            }
        }
    }
}

/// Members; see [`SetRef::iter`].
pub struct Members<'a> {
    members: Form<'a>,
    left: usize,
}

enum Form<'a> {
    Ints(ints::Iter<'a>),
    Packed(pack::Iter<'a>),
    /// Large, as it looks ahead.
    Hashed(Box<dict::Iter<'a>>),
}

impl<'a> Iterator for Members<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        let member = match &mut self.members {
            Form::Ints(ints) => Element::Int(ints.next()?),
            Form::Packed(pack) => pack.next()?,
            Form::Hashed(records) => Element::Bytes(records.next()?.key),
        };
        self.left -= 1;
        Some(member)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Members<'_> {}
