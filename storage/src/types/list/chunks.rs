//! The large form of a list: chunks of bounded size. Elements are added where Redis's quicklist adds them, so that the
//! same operations lead back to the packed form at the same time.

use super::blocks::{Blocks, Place};
use super::bound::Bound;
use super::chunk::Chunk;
use crate::heap::{self, Mover, Settle};
use crate::types::pack::{self, Element, Pack};

/// A large list; see the module's page.
#[derive(Default)]
pub struct Chunks {
    blocks: Blocks,
}

impl Chunks {
    /// The elements of a packed list.
    pub(super) fn from_packed(bytes: Vec<u8>) -> Self {
        let mut chunks = Self::default();
        if !bytes.is_empty() {
            chunks.blocks.push_back(Chunk::from_packed(bytes));
        }
        chunks
    }

    /// The packed list if all elements stand in one chunk that is within a bound.
    pub(super) fn take_packed(&mut self, bound: Bound) -> Option<Vec<u8>> {
        let only = self.blocks.first().filter(|_| self.blocks.chunks() == 1)?;
        let chunk = self.blocks.chunk(only);
        if !bound.fits(chunk.size(), chunk.len()) {
            return None;
        }
        self.blocks.take(only).map(Chunk::into_packed)
    }

    /// The number of elements.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// The number of chunks.
    pub(super) fn chunks(&self) -> usize {
        self.blocks.chunks()
    }

    /// Bytes that it takes, itself included.
    #[inline]
    pub(super) fn memory(&self) -> usize {
        heap::taken(size_of::<Self>()) + self.blocks.memory()
    }

    pub(super) fn duplicate(&self) -> Self {
        let mut copy = Self::default();
        let mut place = self.blocks.first();
        while let Some(at) = place {
            copy.blocks.push_back(self.blocks.chunk(at).duplicate());
            place = self.blocks.next(at);
        }
        copy
    }

    /// The sequences of the chunks, in order.
    pub(super) fn packs(&self) -> impl Iterator<Item = Pack<'_>> {
        let mut place = self.blocks.first();
        std::iter::from_fn(move || {
            let at = place?;
            place = self.blocks.next(at);
            Some(self.blocks.chunk(at).pack())
        })
    }

    /// Adds a packed sequence at the end, as a chunk; an empty one is none.
    pub(super) fn push_pack(&mut self, pack: Vec<u8>) {
        if !Pack(&pack).is_empty() {
            self.blocks.push_back(Chunk::from_packed(pack));
        }
    }

    /// Adds an element at the end.
    #[inline]
    pub(super) fn push_back(&mut self, bound: Bound, text: &[u8]) {
        match self.blocks.last() {
            Some(last) if self.takes(last, bound, text) => {
                self.blocks.change(last, |chunk| chunk.push_back(Element::of(text)));
            }
            last => {
                if let Some(last) = last {
                    self.blocks.change(last, Chunk::seal);
                }
                self.blocks.push_back(Chunk::of(Element::of(text)));
            }
        }
    }

    /// Adds an element in front.
    #[inline]
    pub(super) fn push_front(&mut self, bound: Bound, text: &[u8]) {
        match self.blocks.first() {
            Some(first) if self.takes(first, bound, text) => {
                self.blocks.change(first, |chunk| chunk.push_front(Element::of(text)));
            }
            first => {
                if let Some(first) = first {
                    self.blocks.change(first, Chunk::seal);
                }
                self.blocks.push_front(Chunk::of(Element::of(text)));
            }
        }
    }

    #[inline]
    fn takes(&self, place: Place, bound: Bound, text: &[u8]) -> bool {
        let chunk = self.blocks.chunk(place);
        bound.takes(chunk.size(), chunk.len(), text.len())
    }

    /// Takes up to `count` elements from the front.
    pub(super) fn remove_front(&mut self, mut count: usize) {
        while count > 0
            && let Some(first) = self.blocks.first()
        {
            let len = self.blocks.chunk(first).len();
            if count < len {
                return self.blocks.change(first, |chunk| chunk.remove_front(count));
            }
            self.blocks.take(first);
            count -= len;
        }
    }

    /// Takes up to `count` elements from the end.
    pub(super) fn remove_back(&mut self, mut count: usize) {
        while count > 0
            && let Some(last) = self.blocks.last()
        {
            let len = self.blocks.chunk(last).len();
            if count < len {
                return self.blocks.change(last, |chunk| chunk.remove_back(count));
            }
            self.blocks.take(last);
            count -= len;
        }
    }

    /// Puts another element in the place of one.
    pub(super) fn set(&mut self, bound: Bound, index: usize, text: &[u8]) {
        let Some((place, number)) = self.blocks.find(index) else { return };
        let (chunk, element) = (self.blocks.chunk(place), Element::of(text));
        let Some(at) = chunk.pack().place(number) else { return };
        let Some((old, end)) = chunk.pack().get(at) else { return };
        let (len, size) = (chunk.len(), chunk.size() - old.size() + element.size());
        if len == 1 {
            return self.blocks.change(place, |chunk| *chunk = Chunk::of(element));
        }
        if size <= chunk.size() || (bound.fits(size, 1) && !bound.is_large(text.len())) {
            return self.blocks.change(place, |chunk| chunk.replace(at, element));
        }
        // There is no room: the element stands alone between both parts of the chunk.
        let latter = (number + 1 < len).then(|| self.blocks.change(place, |chunk| chunk.split_off(end)));
        let middle = if number == 0 {
            self.blocks.change(place, |chunk| *chunk = Chunk::of(element));
            place
        } else {
            self.blocks.change(place, |chunk| chunk.remove_back(1));
            self.blocks.insert_after(place, Chunk::of(element))
        };
        let middle = match latter {
            Some(latter) => self.add_after(middle, latter),
            None => middle,
        };
        self.merge_around(bound, middle);
    }

    /// Adds an element before or after the one of this number.
    pub(super) fn insert(&mut self, bound: Bound, index: usize, after: bool, text: &[u8]) {
        let Some((place, number)) = self.blocks.find(index) else { return };
        let (chunk, element) = (self.blocks.chunk(place), Element::of(text));
        let (first, last) = (number == 0, number + 1 == chunk.len());
        if self.takes(place, bound, text) {
            let at =
                chunk.pack().place(number).and_then(|at| if after { Some(chunk.pack().get(at)?.1) } else { Some(at) });
            return self.blocks.change(place, |chunk| match at {
                Some(_) if first && !after => chunk.push_front(element),
                Some(_) if last && after => chunk.push_back(element),
                Some(at) => chunk.insert(at, element),
                None => {}
            });
        }
        if last && after {
            match self.blocks.next(place).filter(|next| self.takes(*next, bound, text)) {
                Some(next) => self.blocks.change(next, |chunk| chunk.push_front(element)),
                None => drop(self.blocks.insert_after(place, Chunk::of(element))),
            }
        } else if first && !after {
            match self.blocks.before(place).filter(|before| self.takes(*before, bound, text)) {
                Some(before) => self.blocks.change(before, |chunk| chunk.push_back(element)),
                None => drop(self.blocks.insert_before(place, Chunk::of(element))),
            }
        } else {
            self.split_for(bound, place, number, after, text);
        }
    }

    /// Adds an element to a full chunk, which is cut in two there.
    fn split_for(&mut self, bound: Bound, place: Place, number: usize, after: bool, text: &[u8]) {
        let element = Element::of(text);
        let Some(at) = self.blocks.chunk(place).pack().place(if after { number + 1 } else { number }) else { return };
        let mut latter = self.blocks.change(place, |chunk| chunk.split_off(at));
        let center = if after && bound.takes(latter.size(), latter.len(), text.len()) {
            latter.push_front(element);
            self.add_after(place, latter)
        } else if !after && self.takes(place, bound, text) {
            self.blocks.change(place, |chunk| chunk.push_back(element));
            self.blocks.insert_after(place, latter)
        } else {
            let middle = self.blocks.insert_after(place, Chunk::of(element));
            self.add_after(middle, latter)
        };
        self.merge_around(bound, center);
    }

    /// Adds a chunk after the one at a place; where that one then stands.
    fn add_after(&mut self, place: Place, chunk: Chunk) -> Place {
        let added = self.blocks.insert_after(place, chunk);
        self.blocks.before(added).unwrap_or(place)
    }

    /// Makes one chunk of two where two fit into one, around a place at which a chunk was cut.
    fn merge_around(&mut self, bound: Bound, mut center: Place) {
        if let Some(before) = self.blocks.before(center)
            && let Some(first) = self.blocks.before(before)
            && self.merge(bound, first)
            && let Some(moved) = self.blocks.next(first)
        {
            center = moved;
        }
        if let Some(next) = self.blocks.next(center) {
            self.merge(bound, next);
        }
        if let Some(before) = self.blocks.before(center)
            && self.merge(bound, before)
        {
            center = before;
        }
        self.merge(bound, center);
    }

    /// Adds the next chunk's elements to a chunk, if they fit; whether they did.
    fn merge(&mut self, bound: Bound, place: Place) -> bool {
        let Some(next) = self.blocks.next(place) else { return false };
        let (one, other) = (self.blocks.chunk(place), self.blocks.chunk(next));
        if !bound.fits(one.size() + other.size(), one.len() + other.len()) {
            return false;
        }
        if let Some(other) = self.blocks.take(next) {
            self.blocks.change(place, |chunk| {
                chunk.append(&other);
                chunk.seal();
            });
        }
        true
    }

    /// Takes up to `most` elements equal to `wanted` out, from the end on if `from_end`; how many there were.
    pub(super) fn remove_equal(&mut self, wanted: Element<'_>, most: usize, from_end: bool) -> usize {
        let mut removed = 0;
        self.blocks.change_each(from_end, |chunk| {
            removed += chunk.remove_equal(wanted, most - removed, from_end);
            removed < most
        });
        removed
    }

    /// The element of this number.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<Element<'_>> {
        let (place, number) = self.blocks.find(index)?;
        let pack = self.blocks.chunk(place).pack();
        Some(pack.get(pack.place(number)?)?.0)
    }

    /// The elements from the one of this number on.
    pub(super) fn from(&self, index: usize) -> Cursor<'_> {
        let at = self.blocks.find(index).and_then(|(place, number)| {
            let pack = self.blocks.chunk(place).pack();
            Some((place, pack.iter_from(pack.place(number)?)))
        });
        Cursor { blocks: &self.blocks, at }
    }

    /// The elements up to the one of this number, which is not among them; for the way back.
    pub(super) fn until(&self, end: usize) -> Cursor<'_> {
        let at = end.checked_sub(1).and_then(|last| self.blocks.find(last)).and_then(|(place, number)| {
            let pack = self.blocks.chunk(place).pack();
            let end = pack.get(pack.place(number)?)?.1;
            Some((place, Pack(&pack.0[..end]).iter()))
        });
        Cursor { blocks: &self.blocks, at }
    }

    /// Frees up to `chunks` chunks; true when none is left.
    pub(super) fn free_step(&mut self, chunks: usize) -> bool {
        self.blocks.free_step(chunks)
    }

    /// Checks every invariant; panics with what is wrong.
    pub(super) fn validate(&self) {
        self.blocks.validate();
    }
}

impl Settle for Chunks {
    fn parts(&self) -> usize {
        self.blocks.parts()
    }

    fn settle(&mut self, part: usize, mover: &mut Mover) {
        self.blocks.settle(part, mover);
    }
}

/// A way through the elements, in one direction.
pub(super) struct Cursor<'a> {
    blocks: &'a Blocks,
    at: Option<(Place, pack::Iter<'a>)>,
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(super) fn next(&mut self) -> Option<Element<'a>> {
        loop {
            let (place, iter) = self.at.as_mut()?;
            if let Some(element) = iter.next() {
                return Some(element);
            }
            self.at = self.blocks.next(*place).map(|next| (next, self.blocks.chunk(next).pack().iter()));
        }
    }

    #[inline]
    pub(super) fn next_back(&mut self) -> Option<Element<'a>> {
        loop {
            let (place, iter) = self.at.as_mut()?;
            if let Some(element) = iter.next_back() {
                return Some(element);
            }
            self.at = self.blocks.before(*place).map(|before| (before, self.blocks.chunk(before).pack().iter()));
        }
    }
}
