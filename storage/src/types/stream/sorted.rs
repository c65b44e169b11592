//! An ordered map in chunks: what a stream's nodes, and the pending entries of its groups, are kept in.
//!
//! Keys mostly come at the end and mostly go from the front, so chunks are dense where nothing was removed: a key at
//! the end begins a new chunk, any other splits a full one in half. No step moves more than one chunk and the list of
//! chunks, of which each has up to [`CHUNK`] elements.
//!
//! Invariants: keys ascend; no chunk is empty; `len` and `capacity` are the sums of the chunks'.

use std::borrow::Borrow;
use std::collections::VecDeque;

use crate::heap::Mover;

/// Elements of a chunk.
const CHUNK: usize = 64;

/// The map; see the module's page.
pub(super) struct SortedMap<K, V> {
    chunks: VecDeque<Vec<(K, V)>>,
    len: usize,
    capacity: usize,
}

/// Where an element stands, or would; valid until something is added or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    chunk: usize,
    at: usize,
}

impl<K: Ord, V> SortedMap<K, V> {
    pub(super) const fn new() -> Self {
        Self { chunks: VecDeque::new(), len: 0, capacity: 0 }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the chunks and of the list of them; what keys and values own is not in it.
    #[inline]
    pub(super) fn memory(&self) -> usize {
        self.capacity * size_of::<(K, V)>() + self.chunks.capacity() * size_of::<Vec<(K, V)>>()
    }

    /// Where a key stands, or where it would.
    #[inline]
    pub(super) fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Place, Place>
    where
        K: Borrow<Q>,
    {
        // Most look-ups are for the end.
        let chunk = match self.chunks.back() {
            None => return Err(Place { chunk: 0, at: 0 }),
            Some(last) if last[0].0.borrow() <= key => self.chunks.len() - 1,
            Some(_) => match self.chunks.partition_point(|chunk| chunk[0].0.borrow() <= key) {
                0 => return Err(Place { chunk: 0, at: 0 }),
                after => after - 1,
            },
        };
        match self.chunks[chunk].binary_search_by(|element| element.0.borrow().cmp(key)) {
            Ok(at) => Ok(Place { chunk, at }),
            Err(at) => Err(Place { chunk, at }),
        }
    }

    #[inline]
    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let Place { chunk, at } = self.find(key).ok()?;
        Some(&self.chunks[chunk][at].1)
    }

    #[inline]
    pub(super) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let Place { chunk, at } = self.find(key).ok()?;
        Some(&mut self.chunks[chunk][at].1)
    }

    /// The element at a place that is not the end.
    #[inline]
    pub(super) fn at(&self, place: Place) -> Option<(&K, &V)> {
        let (key, value) = self.chunks.get(place.chunk)?.get(place.at)?;
        Some((key, value))
    }

    /// The value at a place that is not the end.
    #[inline]
    pub(super) fn at_mut(&mut self, place: Place) -> Option<&mut V> {
        Some(&mut self.chunks.get_mut(place.chunk)?.get_mut(place.at)?.1)
    }

    #[inline]
    pub(super) fn first(&self) -> Option<(&K, &V)> {
        let (key, value) = self.chunks.front()?.first()?;
        Some((key, value))
    }

    #[inline]
    pub(super) fn last(&self) -> Option<(&K, &V)> {
        let (key, value) = self.chunks.back()?.last()?;
        Some((key, value))
    }

    #[inline]
    pub(super) fn last_mut(&mut self) -> Option<(&K, &mut V)> {
        let (key, value) = self.chunks.back_mut()?.last_mut()?;
        Some((key, value))
    }

    /// The place of the first element.
    pub(super) fn start(&self) -> Place {
        Place { chunk: 0, at: 0 }
    }

    /// The place behind the last element.
    pub(super) fn end(&self) -> Place {
        Place { chunk: self.chunks.len(), at: 0 }
    }

    /// The place of the first element that is not below a key.
    pub(super) fn lower<Q: Ord + ?Sized>(&self, key: &Q) -> Place
    where
        K: Borrow<Q>,
    {
        let (Ok(place) | Err(place)) = self.find(key);
        self.whole(place)
    }

    /// The place of the first element above a key.
    pub(super) fn above<Q: Ord + ?Sized>(&self, key: &Q) -> Place
    where
        K: Borrow<Q>,
    {
        match self.find(key) {
            Ok(place) => self.next(place),
            Err(place) => self.whole(place),
        }
    }

    /// The place behind a chunk's end is that of the next chunk's first element.
    fn whole(&self, place: Place) -> Place {
        match self.chunks.get(place.chunk) {
            Some(chunk) if place.at >= chunk.len() => Place { chunk: place.chunk + 1, at: 0 },
            _ => place,
        }
    }

    pub(super) fn next(&self, place: Place) -> Place {
        self.whole(Place { at: place.at + 1, ..place })
    }

    /// The place before another; `None` before the first.
    pub(super) fn previous(&self, place: Place) -> Option<Place> {
        if place.at > 0 {
            return Some(Place { at: place.at - 1, ..place });
        }
        let chunk = place.chunk.checked_sub(1)?;
        Some(Place { chunk, at: self.chunks[chunk].len() - 1 })
    }

    /// The elements between two places, from either end.
    pub(super) fn range(&self, from: Place, to: Place) -> Iter<'_, K, V> {
        Iter { map: self, from, to }
    }

    pub(super) fn iter(&self) -> Iter<'_, K, V> {
        self.range(self.start(), self.end())
    }

    /// Adds an element; gives back the value that the key had.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(place) => Some(std::mem::replace(&mut self.chunks[place.chunk][place.at].1, value)),
            Err(place) => {
                self.insert_at(place, key, value);
                None
            }
        }
    }

    fn insert_at(&mut self, place: Place, key: K, value: V) {
        let Place { mut chunk, mut at } = place;
        let is_full = self.chunks.get(chunk).is_none_or(|chunk| chunk.len() == CHUNK);
        if is_full && chunk + 1 >= self.chunks.len() && (at == CHUNK || self.chunks.is_empty()) {
            chunk = self.chunks.len();
            at = 0;
            self.add_chunk(chunk, Vec::new());
        } else if is_full {
            let upper = self.chunks[chunk].split_off(CHUNK / 2);
            self.add_chunk(chunk + 1, upper);
            if at > CHUNK / 2 {
                chunk += 1;
                at -= CHUNK / 2;
            }
        }
        // An eighth of what there is, so that a small map wastes little and a large one takes whole chunks.
        let more = self.len / 8;
        let elements = &mut self.chunks[chunk];
        if elements.len() == elements.capacity() {
            let before = elements.capacity();
            elements.reserve_exact(more.clamp(1, CHUNK - elements.len()));
            self.capacity += elements.capacity() - before;
        }
        elements.insert(at, (key, value));
        self.len += 1;
    }

    fn add_chunk(&mut self, number: usize, chunk: Vec<(K, V)>) {
        if self.chunks.len() == self.chunks.capacity() {
            self.chunks.reserve_exact((self.chunks.len() / 2).max(1));
        }
        self.capacity += chunk.capacity();
        self.chunks.insert(number, chunk);
    }

    #[inline]
    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.find(key).ok()?;
        Some(self.remove_at(place).1)
    }

    /// Takes the element at a place out; the place is then the next element's, or behind a chunk's end.
    pub(super) fn remove_at(&mut self, place: Place) -> (K, V) {
        let chunk = &mut self.chunks[place.chunk];
        let removed = chunk.remove(place.at);
        self.len -= 1;
        let (len, capacity) = (chunk.len(), chunk.capacity());
        if len == 0 {
            self.drop_chunk(place.chunk);
        } else if len * 2 + 4 <= capacity {
            chunk.shrink_to(len + len / 2);
            self.capacity -= capacity - chunk.capacity();
            self.join(place.chunk);
        }
        removed
    }

    /// Takes the last element out.
    pub(super) fn pop_last(&mut self) -> Option<(K, V)> {
        let chunk = self.chunks.len().checked_sub(1)?;
        let at = self.chunks[chunk].len() - 1;
        Some(self.remove_at(Place { chunk, at }))
    }

    fn drop_chunk(&mut self, number: usize) {
        if let Some(gone) = self.chunks.remove(number) {
            self.capacity -= gone.capacity();
        }
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        } else if self.chunks.len() * 4 < self.chunks.capacity() {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
    }

    /// Moves a chunk's elements to the chunk before it if both are sparse. Only that one: places before stay valid.
    fn join(&mut self, number: usize) {
        let Some(before) = number.checked_sub(1) else { return };
        if self.chunks[before].len() + self.chunks[number].len() > CHUNK / 2 {
            return;
        }
        let mut sparse = std::mem::take(&mut self.chunks[number]);
        self.capacity -= sparse.capacity();
        let joined = &mut self.chunks[before];
        let capacity = joined.capacity();
        joined.append(&mut sparse);
        self.capacity += joined.capacity() - capacity;
        self.drop_chunk(number);
    }

    /// Drops up to `chunks` chunks; true when none is left.
    pub(super) fn free_step(&mut self, chunks: usize) -> bool {
        for _ in 0..chunks {
            let Some(last) = self.chunks.pop_back() else { break };
            self.len -= last.len();
            self.capacity -= last.capacity();
        }
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
        self.chunks.is_empty()
    }

    /// Checks the module's invariants; panics with what is wrong.
    pub(super) fn validate(&self) {
        assert!(self.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK), "chunks are filled");
        assert_eq!(self.chunks.iter().map(Vec::len).sum::<usize>(), self.len, "every element is counted");
        assert_eq!(self.chunks.iter().map(Vec::capacity).sum::<usize>(), self.capacity, "capacities are counted");
        assert!(self.iter().zip(self.iter().skip(1)).all(|(one, other)| one.0 < other.0), "keys ascend");
    }
}

impl<K, V> SortedMap<K, V> {
    /// Parts for [`SortedMap::settle`].
    pub(super) fn parts(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// As [`crate::heap::Settle`] has it: a part is a place for an element, which `each` moves; a chunk moves with its first.
    pub(super) fn settle(&mut self, part: usize, mover: &mut Mover, each: impl FnOnce(&mut V, &mut Mover)) {
        if part == 0 {
            mover.deque(&mut self.chunks);
        }
        let Some(chunk) = self.chunks.get_mut(part / CHUNK) else { return };
        if part.is_multiple_of(CHUNK) {
            mover.vec(chunk);
        }
        if let Some((_, value)) = chunk.get_mut(part % CHUNK) {
            each(value, mover);
        }
    }
}

/// Elements in order; see [`SortedMap::range`].
pub(super) struct Iter<'a, K, V> {
    map: &'a SortedMap<K, V>,
    from: Place,
    to: Place,
}

impl<'a, K: Ord, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.from >= self.to {
            return None;
        }
        let element = self.map.at(self.from)?;
        self.from = self.map.next(self.from);
        Some(element)
    }
}

impl<K: Ord, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.from >= self.to {
            return None;
        }
        self.to = self.map.previous(self.to)?;
        self.map.at(self.to)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_btree(
            steps in proptest::collection::vec((0..6, 0u32..700), 1..1200),
            ascending in 0u32..400,
        ) {
            let (mut map, mut model) = (SortedMap::new(), BTreeMap::new());
            for key in 0..ascending {
                map.insert(key, key);
                model.insert(key, key);
            }
            for (what, key) in steps {
                match what {
                    0 | 1 => prop_assert_eq!(map.insert(key, key + 1), model.insert(key, key + 1)),
                    2 | 3 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    4 => {
                        let place = map.lower(&key);
                        if map.at(place).is_some() {
                            let (gone, _) = map.remove_at(place);
                            prop_assert!(model.remove(&gone).is_some() && model.range(key..gone).next().is_none());
                        }
                    }
                    _ => prop_assert_eq!(map.pop_last(), model.pop_last()),
                }
                map.validate();
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(map.at(map.lower(&key)), model.range(key..).next());
                prop_assert_eq!(map.at(map.above(&key)), model.range(key + 1..).next());
                prop_assert_eq!(map.range(map.start(), map.lower(&key)).next_back(), model.range(..key).next_back());
            }
            prop_assert!(map.iter().eq(model.iter()) && map.iter().rev().eq(model.iter().rev()));
            prop_assert_eq!((map.first(), map.last()), (model.iter().next(), model.iter().next_back()));
        }
    }

    #[test]
    fn chunks_are_dense_at_the_end_and_given_back_from_the_front() {
        let mut map = SortedMap::new();
        (0..100_000u64).for_each(|key| {
            map.insert(key, ());
        });
        assert!(map.memory() < 100_000 * 9, "{}", map.memory());
        (0..99_990u64).for_each(|key| {
            map.remove(&key);
        });
        assert!(map.memory() < 2000, "{}", map.memory());
        map.validate();
        let steps = (1..).find(|_| map.free_step(1)).unwrap();
        assert!(steps <= 2 && map.memory() == 0, "{steps}");
    }
}
