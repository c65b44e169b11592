//! An ordered map in chunks: what a stream's nodes, and the pending entries of its groups, are kept in.
//!
//! Keys mostly come at the end and mostly go from the front, so chunks are dense where nothing was removed: a key at
//! the end begins a new chunk, any other splits a full one in half. No step moves more than one chunk and the list of
//! chunks, of which each has up to [`CHUNK`] elements. Most maps are small: one of a single chunk owns just that.
//!
//! Invariants: keys ascend; of several chunks none is empty; `len` and `bytes` are the sums of the chunks'.

use std::borrow::Borrow;
use std::collections::VecDeque;

use crate::heap::{self, Movable, MovableBox, MovableVec, Mover};

/// Elements of a chunk.
const CHUNK: usize = 64;

/// The map; see the module's page.
pub(super) struct SortedMap<K, V>(Chunks<K, V>);

type Chunk<K, V> = MovableVec<(K, V)>;

enum Chunks<K, V> {
    /// One, which may be empty.
    One(Chunk<K, V>),
    /// At least two.
    Many(MovableBox<Many<K, V>>),
}

struct Many<K, V> {
    chunks: VecDeque<Chunk<K, V>>,
    len: usize,
    bytes: usize,
}

// For the moment in which it moves.
impl<K, V> Default for Many<K, V> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), len: 0, bytes: 0 }
    }
}

/// Where an element stands, or would; valid until something is added or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    chunk: usize,
    at: usize,
}

impl<K, V> SortedMap<K, V> {
    /// Chunks that a list of them has place for at least.
    const LISTED: usize = heap::fewest_listed::<Chunk<K, V>>();

    pub(super) const fn new() -> Self {
        Self(Chunks::One(Chunk::new_in(Movable)))
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        match &self.0 {
            Chunks::One(chunk) => chunk.len(),
            Chunks::Many(many) => many.len,
        }
    }

    /// Bytes of the chunks and of the list of them; what keys and values own is not in it.
    #[inline]
    pub(super) fn memory(&self) -> usize {
        match &self.0 {
            Chunks::One(chunk) => Self::taken(chunk),
            Chunks::Many(many) => {
                let list = many.chunks.capacity() * size_of::<Chunk<K, V>>();
                many.bytes + heap::taken(list) + heap::taken(size_of::<Many<K, V>>())
            }
        }
    }

    fn taken(chunk: &Chunk<K, V>) -> usize {
        heap::taken(chunk.capacity() * size_of::<(K, V)>())
    }

    /// How many chunks there are, an empty one too.
    #[inline]
    pub(super) fn chunks(&self) -> usize {
        match &self.0 {
            Chunks::One(_) => 1,
            Chunks::Many(many) => many.chunks.len(),
        }
    }

    #[inline]
    fn chunk(&self, number: usize) -> Option<&Chunk<K, V>> {
        match &self.0 {
            Chunks::One(chunk) => (number == 0).then_some(chunk),
            Chunks::Many(many) => many.chunks.get(number),
        }
    }

    #[inline]
    fn chunk_mut(&mut self, number: usize) -> Option<&mut Chunk<K, V>> {
        match &mut self.0 {
            Chunks::One(chunk) => (number == 0).then_some(chunk),
            Chunks::Many(many) => many.chunks.get_mut(number),
        }
    }

    #[inline]
    fn last_chunk(&self) -> &[(K, V)] {
        match &self.0 {
            Chunks::One(chunk) => chunk,
            Chunks::Many(many) => many.chunks.back().map_or(&[], |chunk| &chunk[..]),
        }
    }

    /// Changes a chunk, and counts what that changes.
    #[inline]
    fn change<R>(&mut self, number: usize, change: impl FnOnce(&mut Chunk<K, V>) -> R) -> R {
        match &mut self.0 {
            Chunks::One(chunk) => change(chunk),
            Chunks::Many(many) => {
                let Many { chunks, len, bytes } = &mut **many;
                let chunk = &mut chunks[number];
                let (len_before, before) = (chunk.len(), Self::taken(chunk));
                let result = change(chunk);
                *len = *len - len_before + chunk.len();
                *bytes = *bytes - before + Self::taken(chunk);
                result
            }
        }
    }

    /// Adds a chunk behind the first or a later one.
    fn add_chunk(&mut self, number: usize, chunk: Chunk<K, V>) {
        if let Chunks::One(only) = &mut self.0 {
            let only = std::mem::replace(only, Chunk::new_in(Movable));
            let (len, bytes) = (only.len(), Self::taken(&only));
            let mut chunks = VecDeque::with_capacity(Self::LISTED);
            chunks.push_back(only);
            self.0 = Chunks::Many(MovableBox::new_in(Many { chunks, len, bytes }, Movable));
        }
        if let Chunks::Many(many) = &mut self.0 {
            let Many { chunks, len, bytes } = &mut **many;
            if chunks.len() == chunks.capacity() {
                chunks.reserve_exact(chunks.len() / 2);
            }
            *len += chunk.len();
            *bytes += Self::taken(&chunk);
            chunks.insert(number, chunk);
        }
    }

    /// Drops a chunk with what is in it.
    fn drop_chunk(&mut self, number: usize) {
        let Chunks::Many(many) = &mut self.0 else {
            *self = Self::new();
            return;
        };
        let Many { chunks, len, bytes } = &mut **many;
        if let Some(gone) = chunks.remove(number) {
            *len -= gone.len();
            *bytes -= Self::taken(&gone);
        }
        if chunks.len() == 1
            && let Some(last) = chunks.pop_back()
        {
            self.0 = Chunks::One(last);
        } else if chunks.len() * 4 < chunks.capacity() {
            chunks.shrink_to((chunks.len() * 2).max(Self::LISTED));
        }
    }

    /// Drops up to `chunks` chunks; true when none is left.
    pub(super) fn free_step(&mut self, chunks: usize) -> bool {
        for _ in 0..chunks.min(self.chunks()) {
            self.drop_chunk(self.chunks() - 1);
        }
        self.len() == 0
    }

    /// Parts for [`SortedMap::settle`].
    pub(super) fn parts(&self) -> usize {
        self.chunks() * CHUNK
    }

    /// The part behind one; where there is no element any more in its chunk, the next chunk's first.
    pub(super) fn after(&self, part: usize) -> usize {
        let (chunk, next) = (part / CHUNK, part + 1);
        let is_there = self.chunk(chunk).is_some_and(|chunk| part % CHUNK + 1 < chunk.len());
        if is_there { next } else { (chunk + 1) * CHUNK }
    }

    /// As [`heap::Settle`] has it: a part is a place for an element, which `each` moves; a chunk moves with its first. An
    /// element stays equal to itself.
    pub(super) fn settle(&mut self, part: usize, mover: &mut Mover, each: impl FnOnce(&mut (K, V), &mut Mover)) {
        if part.is_multiple_of(CHUNK) {
            self.settle_chunk(part / CHUNK, mover);
        }
        if let Some(element) = self.chunk_mut(part / CHUNK).and_then(|chunk| chunk.get_mut(part % CHUNK)) {
            each(element, mover);
        }
    }

    /// As [`SortedMap::settle`] where elements own nothing, and a part is a chunk.
    pub(super) fn settle_chunk(&mut self, number: usize, mover: &mut Mover) {
        if number == 0
            && let Chunks::Many(many) = &mut self.0
        {
            mover.movable_box(many);
            mover.deque(&mut many.chunks);
        }
        if let Some(chunk) = self.chunk_mut(number) {
            mover.movable_vec(chunk);
        }
    }

    /// What stands at a part's place.
    pub(super) fn at_part(&self, part: usize) -> Option<&V> {
        Some(&self.chunk(part / CHUNK)?.get(part % CHUNK)?.1)
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// Where a key stands, or where it would.
    #[inline]
    pub(super) fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Place, Place>
    where
        K: Borrow<Q>,
    {
        let is_from = |chunk: &Chunk<K, V>| chunk[0].0.borrow() <= key;
        let (number, chunk) = match &self.0 {
            Chunks::One(chunk) => (0, chunk),
            Chunks::Many(many) => {
                let last = many.chunks.len() - 1;
                // Most look-ups are for the end.
                let number = if is_from(&many.chunks[last]) {
                    last
                } else {
                    many.chunks.partition_point(is_from).saturating_sub(1)
                };
                (number, &many.chunks[number])
            }
        };
        match chunk.binary_search_by(|element| element.0.borrow().cmp(key)) {
            Ok(at) => Ok(Place { chunk: number, at }),
            Err(at) => Err(Place { chunk: number, at }),
        }
    }

    #[inline]
    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        Some(self.at(self.find(key).ok()?)?.1)
    }

    #[inline]
    pub(super) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.at_mut(self.find(key).ok()?)
    }

    /// The element at a place that is not the end.
    #[inline]
    pub(super) fn at(&self, place: Place) -> Option<(&K, &V)> {
        let (key, value) = self.chunk(place.chunk)?.get(place.at)?;
        Some((key, value))
    }

    /// The value at a place that is not the end.
    #[inline]
    pub(super) fn at_mut(&mut self, place: Place) -> Option<&mut V> {
        Some(&mut self.chunk_mut(place.chunk)?.get_mut(place.at)?.1)
    }

    #[inline]
    pub(super) fn first(&self) -> Option<(&K, &V)> {
        self.at(self.start())
    }

    #[inline]
    pub(super) fn last(&self) -> Option<(&K, &V)> {
        let (key, value) = self.last_chunk().last()?;
        Some((key, value))
    }

    #[inline]
    pub(super) fn last_mut(&mut self) -> Option<(&K, &mut V)> {
        let (key, value) = self.chunk_mut(self.chunks() - 1)?.last_mut()?;
        Some((key, value))
    }

    /// The place of the first element.
    pub(super) fn start(&self) -> Place {
        Place { chunk: 0, at: 0 }
    }

    /// The place behind the last element.
    pub(super) fn end(&self) -> Place {
        Place { chunk: self.chunks(), at: 0 }
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
        match self.chunk(place.chunk) {
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
        let at = self.chunk(chunk)?.len().checked_sub(1)?;
        Some(Place { chunk, at })
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
            Ok(place) => self.at_mut(place).map(|before| std::mem::replace(before, value)),
            Err(place) => {
                self.insert_at(place, key, value);
                None
            }
        }
    }

    fn insert_at(&mut self, place: Place, key: K, value: V) {
        let Place { mut chunk, mut at } = place;
        if self.chunk(chunk).is_some_and(|chunk| chunk.len() == CHUNK) {
            let is_end = at == CHUNK && chunk + 1 == self.chunks();
            let kept = if is_end { CHUNK } else { CHUNK / 2 };
            let upper = self.change(chunk, |chunk| chunk.split_off(kept));
            self.add_chunk(chunk + 1, upper);
            if at > CHUNK / 2 {
                chunk += 1;
                at -= kept;
            }
        }
        // An eighth of what there is, so that a small map wastes little and a large one takes whole chunks.
        let more = self.len() / 8;
        self.change(chunk, |elements| {
            if elements.len() == elements.capacity() {
                elements.reserve_exact(more.clamp(1, CHUNK - elements.len()));
            }
            elements.insert(at, (key, value));
        });
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
        let (removed, is_empty, is_sparse) = self.change(place.chunk, |chunk| {
            let removed = chunk.remove(place.at);
            let len = chunk.len();
            let is_sparse = len * 2 + 4 <= chunk.capacity();
            if is_sparse && len > 0 {
                chunk.shrink_to(len + len / 2);
            }
            (removed, len == 0, is_sparse)
        });
        if is_empty {
            self.drop_chunk(place.chunk);
        } else if is_sparse {
            self.join(place.chunk);
        }
        removed
    }

    /// Takes the last element out.
    pub(super) fn pop_last(&mut self) -> Option<(K, V)> {
        let place = self.previous(self.end())?;
        Some(self.remove_at(place))
    }

    /// Moves a chunk's elements to the chunk before it if both are sparse. Only that one: places before stay valid.
    fn join(&mut self, number: usize) {
        let len = |number| self.chunk(number).map_or(0, Chunk::len);
        let Some(before) = number.checked_sub(1).filter(|before| len(*before) + len(number) <= CHUNK / 2) else {
            return;
        };
        let mut sparse = self.change(number, |chunk| std::mem::replace(chunk, Chunk::new_in(Movable)));
        self.change(before, |joined| joined.append(&mut sparse));
        self.drop_chunk(number);
    }

    /// Checks the module's invariants; panics with what is wrong.
    pub(super) fn validate(&self) {
        if let Chunks::Many(many) = &self.0 {
            assert!(many.chunks.len() > 1 && many.chunks.iter().all(|chunk| !chunk.is_empty()), "chunks are filled");
            assert_eq!(many.chunks.iter().map(Chunk::len).sum::<usize>(), many.len, "every element is counted");
            assert_eq!(many.chunks.iter().map(Self::taken).sum::<usize>(), many.bytes, "bytes are counted");
            assert!(many.chunks.capacity() >= Self::LISTED, "the list can be moved");
        }
        assert!((0..self.chunks()).all(|number| self.chunk(number).is_some_and(|chunk| chunk.len() <= CHUNK)));
        assert_eq!(self.iter().count(), self.len());
        assert!(self.iter().zip(self.iter().skip(1)).all(|(one, other)| one.0 < other.0), "keys ascend");
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
