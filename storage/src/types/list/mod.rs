//! Lists: strings in the order in which they were put there, quick at either end.
//!
//! A small list is one packed sequence, a larger one a deque of chunks, each a packed sequence; the limit stands in
//! [`Env`] and is that of Redis's listpack, so that OBJECT ENCODING answers alike. A list that has become half as small
//! as the limit is packed again.
//!
//! ```text
//! bound.rs     how much may stand in one sequence
//! chunks.rs    the large form, made of
//!   blocks.rs    a two-level deque of chunks
//!   chunk.rs     a packed sequence with room at either end
//! raw.rs       the sequences as they are, for DUMP and RESTORE
//! ```

use smallvec::SmallVec;

use super::pack::{self, Element, Pack};
use crate::heap::{Movable, MovableBox, Mover, Settle};
use crate::types::{Collection, Env, Full};
use crate::value::{Kind, Object, Value};
use bound::Bound;
pub use chunks::Chunks;
use chunks::Cursor;
pub use raw::Builder;

mod blocks;
mod bound;
mod chunk;
mod chunks;
mod raw;
#[cfg(test)]
mod tests;

/// A list, owned.
pub enum List {
    /// A packed sequence.
    Packed(Vec<u8>),
    /// Chunks.
    Chunks(MovableBox<Chunks>),
}

/// A list, for reading. The packed bytes may stand anywhere, as in a key's entry.
#[derive(Clone, Copy)]
pub enum ListRef<'a> {
    /// A packed sequence.
    Packed(&'a [u8]),
    /// Chunks.
    Chunks(&'a Chunks),
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The head, where index 0 is.
    Left,
    /// The tail.
    Right,
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    /// An empty list; it allocates at its first element.
    pub fn new() -> Self {
        Self::Packed(Vec::new())
    }

    /// The list, for reading.
    #[inline]
    pub fn as_ref(&self) -> ListRef<'_> {
        match self {
            Self::Packed(bytes) => ListRef::Packed(bytes),
            Self::Chunks(chunks) => ListRef::Chunks(chunks),
        }
    }

    /// Becomes chunks if so many more elements, with so many bytes of text, are too much for the packed form; as Redis
    /// reckons before it adds them.
    #[inline]
    fn expect(&mut self, env: &Env<'_>, elements: usize, text_bytes: usize) {
        if let Self::Packed(bytes) = self {
            let pack = Pack(bytes);
            if !bound(env).fits(pack.body().len() + text_bytes, pack.len() + elements) {
                *self = Self::Chunks(MovableBox::new_in(Chunks::from_packed(std::mem::take(bytes)), Movable));
            }
        }
    }

    /// Adds strings at an end, one after the other.
    #[inline]
    pub fn push_all<'t>(&mut self, env: &Env<'_>, end: End, texts: impl Iterator<Item = &'t [u8]> + Clone) {
        if let Self::Packed(_) = self {
            let (elements, bytes) =
                texts.clone().fold((0, 0), |(number, bytes), text| (number + 1, bytes + text.len()));
            self.expect(env, elements, bytes);
        }
        texts.for_each(|text| self.push(env, end, text));
    }

    /// Adds an element at an end that was taken from a list. Redis expects no bytes of an integer.
    pub fn push_moved(&mut self, env: &Env<'_>, end: End, element: Element<'_>) {
        match element {
            Element::Int(number) => {
                self.expect(env, 1, 0);
                self.push(env, end, itoa::Buffer::new().format(number).as_bytes());
            }
            Element::Bytes(text) => self.push_all(env, end, std::iter::once(text)),
        }
    }

    #[inline]
    fn push(&mut self, env: &Env<'_>, end: End, text: &[u8]) {
        match (self, end) {
            (Self::Chunks(chunks), End::Left) => chunks.push_front(bound(env), text),
            (Self::Chunks(chunks), End::Right) => chunks.push_back(bound(env), text),
            (Self::Packed(bytes), end) => {
                let element = Element::of(text);
                reserve(bytes, element);
                match end {
                    End::Left => pack::push_front(bytes, element),
                    End::Right => pack::push_back(bytes, element),
                }
            }
        }
    }

    /// Takes up to `count` elements from an end. The list may be empty afterwards.
    #[inline]
    pub fn remove(&mut self, env: &Env<'_>, end: End, count: usize) {
        self.take_out(end, count);
        self.pack_if_small(env);
    }

    /// Takes the element at one end, if there is one, to the other, or adds it again where it was.
    pub fn rotate(&mut self, env: &Env<'_>, from: End, to: End) {
        let index = if from == End::Left { 0 } else { self.as_ref().len().saturating_sub(1) };
        let Some(element) = self.as_ref().get(index) else { return };
        let mut copy = SmallVec::<[u8; 64]>::new();
        let element = match element {
            Element::Int(number) => Element::Int(number),
            Element::Bytes(text) => {
                copy.extend_from_slice(text);
                Element::Bytes(&copy)
            }
        };
        self.take_out(from, 1);
        self.push_moved(env, to, element);
        self.pack_if_small(env);
    }

    #[inline]
    fn take_out(&mut self, end: End, count: usize) {
        let count = count.min(self.as_ref().len());
        match (&mut *self, end) {
            (Self::Chunks(chunks), End::Left) => chunks.remove_front(count),
            (Self::Chunks(chunks), End::Right) => chunks.remove_back(count),
            (Self::Packed(bytes), end) => {
                let at = match end {
                    End::Left => Some(Pack(bytes).start()),
                    End::Right => Pack(bytes).place(Pack(bytes).len() - count),
                };
                if let Some(at) = at {
                    pack::remove(bytes, at, count);
                }
            }
        }
    }

    /// Puts another string in the place of the one of this number; false if there is none.
    pub fn set(&mut self, env: &Env<'_>, index: usize, text: &[u8]) -> bool {
        if index >= self.as_ref().len() {
            return false;
        }
        self.expect(env, 1, text.len());
        match self {
            Self::Chunks(chunks) => chunks.set(bound(env), index, text),
            Self::Packed(bytes) => {
                if let Some(at) = Pack(bytes).place(index) {
                    reserve(bytes, Element::of(text));
                    pack::replace(bytes, at, Element::of(text));
                }
            }
        }
        self.pack_if_small(env);
        true
    }

    /// Adds a string before or after the first one that is equal to `pivot`; false if there is none.
    pub fn insert(&mut self, env: &Env<'_>, pivot: &[u8], after: bool, text: &[u8]) -> bool {
        let pivot = Element::of(pivot);
        let Some(index) = self.as_ref().range(0, usize::MAX).position(|element| element == pivot) else { return false };
        self.expect(env, 1, text.len());
        match self {
            Self::Chunks(chunks) => chunks.insert(bound(env), index, after, text),
            Self::Packed(bytes) => {
                reserve(bytes, Element::of(text));
                let at = Pack(bytes).place(index + usize::from(after)).unwrap_or(bytes.len());
                pack::insert(bytes, at, Element::of(text));
            }
        }
        true
    }

    /// Takes up to `most` strings equal to `text` out, from an end on; how many there were. The list may be empty
    /// afterwards.
    pub fn remove_equal(&mut self, env: &Env<'_>, text: &[u8], most: usize, end: End) -> usize {
        let (wanted, from_end) = (Element::of(text), end == End::Right);
        let removed = match self {
            Self::Chunks(chunks) => chunks.remove_equal(wanted, most, from_end),
            Self::Packed(bytes) => chunk::remove_equal(bytes, wanted, most, from_end),
        };
        if removed > 0 {
            self.pack_if_small(env);
        }
        removed
    }

    /// Becomes packed if it has shrunk to half of what may be.
    #[inline]
    fn pack_if_small(&mut self, env: &Env<'_>) {
        if let Self::Chunks(chunks) = self
            && chunks.chunks() == 1
            && let Some(mut bytes) = chunks.take_packed(bound(env).half())
        {
            bytes.shrink_to_fit();
            *self = Self::Packed(bytes);
        }
    }

    /// Bytes that the list owns besides itself. O(1), and the same for the same operations.
    #[inline]
    pub fn memory(&self) -> usize {
        match self {
            Self::Packed(bytes) => bytes.capacity().next_multiple_of(16),
            Self::Chunks(chunks) => chunks.memory(),
        }
    }

    /// The bytes of the packed form.
    #[inline]
    pub(crate) fn packed(&self) -> Option<&[u8]> {
        match self {
            Self::Packed(bytes) => Some(bytes),
            Self::Chunks(_) => None,
        }
    }

    pub(crate) fn into_packed(self) -> Vec<u8> {
        match self {
            Self::Packed(bytes) => bytes,
            Self::Chunks(_) => Vec::new(),
        }
    }

    /// A copy, in the same form however few elements are left.
    pub(crate) fn duplicate(&self, _: Env<'_>) -> Result<Self, Full> {
        Ok(match self {
            Self::Packed(bytes) => Self::Packed(bytes.clone()),
            Self::Chunks(chunks) => Self::Chunks(MovableBox::new_in(chunks.duplicate(), Movable)),
        })
    }

    /// Allocations, each of which costs something to free.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Chunks(chunks) => chunks.chunks(),
        }
    }

    /// Frees up to `chunks` chunks; true when nothing is left. Between the steps the list may only be freed further, or
    /// dropped.
    pub fn free_step(&mut self, chunks: usize) -> bool {
        let is_free = match self {
            Self::Packed(_) => true,
            Self::Chunks(list) => list.free_step(chunks.max(1)),
        };
        if is_free {
            *self = Self::new();
        }
        is_free
    }

    /// Checks every invariant of the representation; panics with what is wrong. For tests.
    pub fn validate(&self) {
        match self {
            Self::Packed(bytes) => Pack(bytes).validate(),
            Self::Chunks(chunks) => chunks.validate(),
        }
    }
}

impl Settle for List {
    fn parts(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Chunks(chunks) => chunks.parts(),
        }
    }

    fn settle(&mut self, part: usize, mover: &mut Mover) {
        match self {
            Self::Packed(bytes) => mover.vec(bytes),
            Self::Chunks(chunks) => {
                if part == 0 {
                    mover.movable_box(chunks);
                }
                chunks.settle(part, mover);
            }
        }
    }
}

impl Collection for List {
    const KIND: Kind = Kind::List;
    type Ref<'a> = ListRef<'a>;

    fn empty(_: &Env<'_>) -> Self {
        Self::new()
    }

    #[inline]
    fn of(value: Value<'_>) -> Option<ListRef<'_>> {
        match value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    #[inline]
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        match object {
            Object::List(list) => Some(list),
            _ => None,
        }
    }

    fn into_object(self) -> Object {
        Object::List(self)
    }
}

impl<'a> ListRef<'a> {
    /// The number of elements.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Packed(bytes) => Pack(bytes).len(),
            Self::Chunks(chunks) => chunks.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding(self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Chunks(_) => "quicklist",
        }
    }

    /// The element of this number, counted from 0 at the left.
    #[inline]
    pub fn get(self, index: usize) -> Option<Element<'a>> {
        match self {
            Self::Packed(bytes) => Some(Pack(bytes).get(Pack(bytes).place(index)?)?.0),
            Self::Chunks(chunks) => chunks.get(index),
        }
    }

    /// The elements `start..end` (as far as they exist), from both ends. Allocates nothing.
    #[inline]
    pub fn range(self, start: usize, end: usize) -> Range<'a> {
        let end = end.min(self.len());
        Range { list: self, start: start.min(end), end, front: None, back: None }
    }
}

/// Elements in order; see [`ListRef::range`].
pub struct Range<'a> {
    list: ListRef<'a>,
    start: usize,
    end: usize,
    /// The ways from either end, each looked for when it is first gone.
    front: Option<Way<'a>>,
    back: Option<Way<'a>>,
}

enum Way<'a> {
    Packed(pack::Iter<'a>),
    Chunks(Cursor<'a>),
}

impl<'a> Iterator for Range<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.start >= self.end {
            return None;
        }
        let (list, index) = (self.list, self.start);
        let way = self.front.get_or_insert_with(|| match list {
            ListRef::Packed(bytes) => {
                Way::Packed(Pack(bytes).iter_from(Pack(bytes).place(index).unwrap_or(bytes.len())))
            }
            ListRef::Chunks(chunks) => Way::Chunks(chunks.from(index)),
        });
        self.start += 1;
        match way {
            Way::Packed(iter) => iter.next(),
            Way::Chunks(cursor) => cursor.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.start, Some(self.end - self.start))
    }
}

impl DoubleEndedIterator for Range<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.start >= self.end {
            return None;
        }
        let (list, end) = (self.list, self.end);
        let way = self.back.get_or_insert_with(|| match list {
            ListRef::Packed(bytes) => {
                let end = Pack(bytes).place(end).unwrap_or(bytes.len());
                Way::Packed(Pack(&bytes[..end]).iter())
            }
            ListRef::Chunks(chunks) => Way::Chunks(chunks.until(end)),
        });
        self.end -= 1;
        match way {
            Way::Packed(iter) => iter.next_back(),
            Way::Chunks(cursor) => cursor.next_back(),
        }
    }
}

impl ExactSizeIterator for Range<'_> {}

#[inline]
fn bound(env: &Env<'_>) -> Bound {
    Bound::new(env.limits.list_max_packed_size)
}

/// Makes room for an element in a packed list, and little more: a list that is too long for its key's entry keeps the
/// allocation.
#[inline]
fn reserve(bytes: &mut Vec<u8>, element: Element<'_>) {
    let needed = bytes.len() + pack::HEADER + element.size();
    if needed > bytes.capacity() {
        bytes.reserve_exact(needed + needed / 8 - bytes.len());
    } else {
        pack::tighten(bytes, needed);
    }
}
