//! A chunk of a large list: a packed sequence with room at either end, so that both ends grow and shrink without moving
//! the rest.
//!
//! Invariants: the sequence begins at `start` and ends with the bytes; room behind it is the allocation's. What is
//! before `start` is never read. A chunk in a list is not empty. Places are those of the sequence.

use crate::heap::Mover;
use crate::types::pack::{self, Element, HEADER, Pack};

/// Room that is added at once, at least.
const STEP: usize = 256;

/// A chunk; see the module's page.
pub(super) struct Chunk {
    bytes: Vec<u8>,
    start: usize,
}

impl Chunk {
    /// A chunk of one element, without room.
    pub(super) fn of(element: Element<'_>) -> Self {
        let mut bytes = Vec::with_capacity(HEADER + element.size());
        pack::push_back(&mut bytes, element);
        Self { bytes, start: 0 }
    }

    /// A chunk of the elements of a packed sequence.
    pub(super) fn from_packed(bytes: Vec<u8>) -> Self {
        Self { bytes, start: 0 }
    }

    /// The packed sequence, to stand alone.
    pub(super) fn into_packed(mut self) -> Vec<u8> {
        self.begin_at_0();
        self.bytes
    }

    /// The sequence, for reading.
    #[inline]
    pub(super) fn pack(&self) -> Pack<'_> {
        Pack(&self.bytes[self.start..])
    }

    /// Moves the bytes if they are to be.
    pub(super) fn settle(&mut self, mover: &mut Mover) {
        mover.vec(&mut self.bytes);
    }

    /// The number of elements.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.pack().len()
    }

    /// Bytes of the elements.
    #[inline]
    pub(super) fn size(&self) -> usize {
        (self.bytes.len() - self.start).saturating_sub(HEADER)
    }

    /// Bytes of the allocation.
    #[inline]
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity().next_multiple_of(16)
    }

    /// A copy without room.
    pub(super) fn duplicate(&self) -> Self {
        Self { bytes: self.pack().0.to_vec(), start: 0 }
    }

    /// Adds an element at the end.
    #[inline]
    pub(super) fn push_back(&mut self, element: Element<'_>) {
        let len = self.len();
        self.reserve_back(element.size());
        pack::write(&mut self.bytes, element);
        pack::set_len(&mut self.bytes[self.start..], len + 1);
    }

    /// Adds an element in front.
    #[inline]
    pub(super) fn push_front(&mut self, element: Element<'_>) {
        let (len, size) = (self.len(), element.size());
        self.reserve_front(size);
        let at = self.start + HEADER;
        self.start -= size;
        pack::fill(&mut self.bytes[at - size..at], element);
        pack::set_len(&mut self.bytes[self.start..], len + 1);
    }

    /// Takes elements from the front, fewer than there are.
    pub(super) fn remove_front(&mut self, count: usize) {
        let len = self.len();
        if let Some(place) = self.pack().place(count) {
            self.start += place - HEADER;
            pack::set_len(&mut self.bytes[self.start..], len - count);
            self.give_back();
        }
    }

    /// Takes elements from the end, fewer than there are.
    pub(super) fn remove_back(&mut self, count: usize) {
        let len = self.len();
        if let Some(place) = self.pack().place(len - count) {
            self.bytes.truncate(self.start + place);
            pack::set_len(&mut self.bytes[self.start..], len - count);
            self.give_back();
        }
    }

    /// Adds an element at a place.
    pub(super) fn insert(&mut self, at: usize, element: Element<'_>) {
        self.begin_at_0();
        self.reserve_back(element.size());
        pack::insert(&mut self.bytes, at, element);
    }

    /// Puts another element in the place of one.
    pub(super) fn replace(&mut self, at: usize, element: Element<'_>) {
        self.begin_at_0();
        self.reserve_back(element.size());
        pack::replace(&mut self.bytes, at, element);
        self.give_back();
    }

    /// Takes up to `most` elements equal to `wanted` out, from the end on if `from_end`; how many there were. The chunk
    /// may be empty afterwards.
    pub(super) fn remove_equal(&mut self, wanted: Element<'_>, most: usize, from_end: bool) -> usize {
        self.begin_at_0();
        let removed = remove_equal(&mut self.bytes, wanted, most, from_end);
        if removed > 0 {
            self.give_back();
        }
        removed
    }

    /// Cuts the chunk in two at a place within it; gives the part from there on.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let (len, mut tail) = (self.len(), vec![0; HEADER]);
        tail.extend_from_slice(&self.pack().0[at..]);
        self.bytes.truncate(self.start + at);
        let kept = self.pack().iter().count();
        pack::set_len(&mut self.bytes[self.start..], kept);
        pack::set_len(&mut tail, len - kept);
        self.give_back();
        Self { bytes: tail, start: 0 }
    }

    /// Adds the elements of another chunk at the end.
    pub(super) fn append(&mut self, other: &Self) {
        let len = self.len() + other.len();
        self.reserve_back(other.size());
        self.bytes.extend_from_slice(other.pack().body());
        pack::set_len(&mut self.bytes[self.start..], len);
    }

    /// Gives all room back, if it is worth a copy: the chunk does not stand at the list's end any more.
    pub(super) fn seal(&mut self) {
        if self.bytes.capacity() > self.used() + self.used() / 64 {
            self.move_into(0, self.used());
        }
    }

    fn used(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Moves the sequence to the beginning of the allocation.
    fn begin_at_0(&mut self) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    #[inline]
    fn reserve_back(&mut self, size: usize) {
        if self.bytes.capacity() - self.bytes.len() < size {
            self.make_room_behind(size);
        }
    }

    #[cold]
    fn make_room_behind(&mut self, size: usize) {
        if self.start >= size + self.used() / 4 {
            self.begin_at_0();
        } else {
            let room = size.max(self.used() / 8).max(STEP);
            self.move_into(0, self.used() + room);
        }
    }

    #[inline]
    fn reserve_front(&mut self, size: usize) {
        if self.start < size {
            self.make_room_before(size);
        }
    }

    #[cold]
    fn make_room_before(&mut self, size: usize) {
        let old_len = self.bytes.len();
        let behind = self.bytes.capacity() - old_len;
        if behind >= size + self.used() / 4 {
            self.bytes.resize(old_len + behind, 0);
            self.bytes.copy_within(self.start..old_len, self.start + behind);
            self.start += behind;
        } else {
            let room = size.max(self.used() / 8).max(STEP);
            self.move_into(room, self.used() + room);
        }
    }

    /// Moves the sequence into another allocation, so far behind its beginning.
    fn move_into(&mut self, start: usize, capacity: usize) {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.resize(start, 0);
        bytes.extend_from_slice(&self.bytes[self.start..]);
        (self.bytes, self.start) = (bytes, start);
    }

    /// Gives room back of which removals have left too much.
    fn give_back(&mut self) {
        let used = self.used();
        if self.bytes.capacity() > 2 * used + STEP {
            self.move_into(0, used + used / 4);
        }
    }

    /// Checks every invariant; panics with what is wrong.
    pub(super) fn validate(&self) {
        assert!(self.len() > 0, "a chunk is not empty");
        self.pack().validate();
    }
}

/// Takes up to `most` elements equal to `wanted` out of a packed sequence; see [`Chunk::remove_equal`].
pub(super) fn remove_equal(bytes: &mut Vec<u8>, wanted: Element<'_>, most: usize, from_end: bool) -> usize {
    let mut found = Vec::new();
    let (len, mut iter) = (Pack(bytes).len(), Pack(bytes).iter());
    while found.len() < most {
        let (element, place) = if from_end {
            let end = iter.end();
            (iter.next_back(), (iter.end(), end))
        } else {
            let place = iter.place();
            (iter.next(), (place, iter.place()))
        };
        match element {
            Some(element) if element == wanted => found.push(place),
            Some(_) => {}
            None => break,
        }
    }
    if found.is_empty() {
        return 0;
    }
    if from_end {
        found.reverse();
    }
    let mut end = found[0].0;
    for (number, &(_, from)) in found.iter().enumerate() {
        let to = found.get(number + 1).map_or(bytes.len(), |next| next.0);
        bytes.copy_within(from..to, end);
        end += to - from;
    }
    bytes.truncate(end);
    if found.len() == len {
        *bytes = Vec::new();
    } else {
        pack::set_len(bytes, len - found.len());
    }
    found.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_at_either_end_leave_little_room() {
        for front in [false, true] {
            let mut chunk = Chunk::of(Element::Int(0));
            for number in 1..2000 {
                let element = Element::Int(number);
                if front {
                    chunk.push_front(element)
                } else {
                    chunk.push_back(element)
                }
                assert!(chunk.memory() <= chunk.used() * 9 / 8 + STEP + 16);
            }
            chunk.validate();
            let mut numbers: Vec<_> = chunk.pack().iter().collect();
            if front {
                numbers.reverse();
            }
            assert_eq!(numbers, (0..2000).map(Element::Int).collect::<Vec<_>>());
            chunk.seal();
            assert!(chunk.memory() <= chunk.used() * 65 / 64 + 16);
        }
    }

    #[test]
    fn a_queue_stays_small() {
        let mut chunk = Chunk::of(Element::Int(0));
        (1..100).for_each(|number| chunk.push_back(Element::Int(number)));
        for number in 100..5000 {
            chunk.push_back(Element::Int(number));
            chunk.remove_front(1);
            assert!(chunk.memory() <= 2 * chunk.used() + STEP + 16);
        }
        for number in (0..4000).rev() {
            chunk.push_front(Element::Int(number));
            chunk.remove_back(1);
            assert!(chunk.memory() <= 2 * chunk.used() + STEP + 16);
        }
        chunk.validate();
        assert_eq!(chunk.pack().iter().collect::<Vec<_>>(), (0..100).map(Element::Int).collect::<Vec<_>>());
    }
}
