//! A dense array that grows and shrinks in chunks, so that no step copies more than one chunk.
//!
//! Invariants: elements are numbered `0..len` without holes, for the last one moves into the place of a removed one;
//! all chunks but the last are full, and the last is not empty; `capacity` is the sum of the chunks' capacities.

use crate::heap::Mover;

/// Elements of one chunk.
const CHUNK: usize = 64;

/// The array; see the module's page.
pub(super) struct Arena<T> {
    chunks: Vec<Vec<T>>,
    len: usize,
    capacity: usize,
}

impl<T> Arena<T> {
    pub(super) fn new() -> Self {
        Self { chunks: Vec::new(), len: 0, capacity: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the chunks and of the table that lists them.
    pub(super) fn memory(&self) -> usize {
        self.capacity * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()
    }

    #[inline]
    pub(super) fn get(&self, id: u32) -> &T {
        &self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: u32) -> &mut T {
        &mut self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    /// Two different elements at once.
    pub(super) fn pair_mut(&mut self, one: u32, other: u32) -> (&mut T, &mut T) {
        assert_ne!(one, other, "a pair is of two elements");
        let (one, other) = (one as usize, other as usize);
        if one / CHUNK == other / CHUNK {
            let chunk = &mut self.chunks[one / CHUNK];
            return pair_of(chunk, one % CHUNK, other % CHUNK);
        }
        let (first, second) = pair_of(&mut self.chunks, one / CHUNK, other / CHUNK);
        (&mut first[one % CHUNK], &mut second[other % CHUNK])
    }

    /// Adds an element; gives its number.
    pub(super) fn push(&mut self, element: T) -> u32 {
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::new());
        }
        let last = &mut self.chunks[self.len / CHUNK];
        if last.len() == last.capacity() {
            // An eighth of what there is, so that a small array wastes little and a large one takes whole chunks.
            let before = last.capacity();
            last.reserve_exact((self.len / 8).clamp(1, CHUNK - last.len()));
            self.capacity += last.capacity() - before;
        }
        last.push(element);
        self.len += 1;
        (self.len - 1) as u32
    }

    /// Takes an element out. The last element, if it is another one, gets its number.
    pub(super) fn swap_remove(&mut self, id: u32) -> Option<T> {
        let place = (self.len - 1) / CHUNK;
        let last = self.chunks[place].pop()?;
        self.len -= 1;
        self.shrink();
        if id as usize == self.len {
            return Some(last);
        }
        Some(std::mem::replace(self.get_mut(id), last))
    }

    fn shrink(&mut self) {
        let Some(last) = self.chunks.last_mut() else {
            return;
        };
        let before = last.capacity();
        if last.is_empty() {
            self.chunks.pop();
            self.capacity -= before;
            if self.chunks.len() * 4 < self.chunks.capacity() {
                self.chunks.shrink_to(self.chunks.len() * 2);
            }
        } else if self.capacity - self.len > self.len / 4 + 4 {
            last.shrink_to_fit();
            self.capacity -= before - last.capacity();
        }
    }

    /// Drops up to `chunks` chunks; true when none is left.
    pub(super) fn free_step(&mut self, chunks: usize) -> bool {
        for _ in 0..chunks {
            let Some(last) = self.chunks.pop() else { break };
            self.len -= last.len();
            self.capacity -= last.capacity();
        }
        if self.chunks.is_empty() {
            self.chunks = Vec::new();
        }
        self.chunks.is_empty()
    }

    /// Checks the module's invariants; panics with what is wrong.
    pub(super) fn validate(&self) {
        let lens: Vec<usize> = self.chunks.iter().map(Vec::len).collect();
        assert_eq!(lens.iter().sum::<usize>(), self.len, "every element is counted");
        assert_eq!(lens.len(), self.len.div_ceil(CHUNK), "chunks are dense");
        assert!(lens.iter().rev().skip(1).all(|&len| len == CHUNK), "only the last chunk has room");
        let capacity: usize = self.chunks.iter().map(Vec::capacity).sum();
        assert_eq!(capacity, self.capacity, "capacities are counted");
    }
}

impl<T> Arena<T> {
    /// As [`crate::heap::Settle`] has it, of as many parts as elements: `each` moves what one owns; a chunk moves with its first.
    pub(super) fn settle(&mut self, part: usize, mover: &mut Mover, each: impl FnOnce(&mut T, &mut Mover)) {
        let Some(chunk) = self.chunks.get_mut(part / CHUNK) else { return };
        if part.is_multiple_of(CHUNK) {
            mover.vec(chunk);
        }
        if let Some(element) = chunk.get_mut(part % CHUNK) {
            each(element, mover);
        }
    }
}

fn pair_of<T>(slice: &mut [T], one: usize, other: usize) -> (&mut T, &mut T) {
    if one < other {
        let (head, tail) = slice.split_at_mut(other);
        (&mut head[one], &mut tail[0])
    } else {
        let (head, tail) = slice.split_at_mut(one);
        (&mut tail[0], &mut head[other])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_vec_and_gives_memory_back() {
        let (mut arena, mut model) = (Arena::new(), Vec::new());
        for n in 0..1000u32 {
            assert_eq!(arena.push(n) as usize, model.len());
            model.push(n);
            arena.validate();
            assert!(arena.capacity - arena.len <= arena.len / 8 + 1);
        }
        let mut at = 7;
        while !model.is_empty() {
            at = (at * 31 + 11) % model.len();
            assert_eq!(arena.swap_remove(at as u32), Some(model.swap_remove(at)));
            arena.validate();
            assert!(arena.capacity - arena.len <= arena.len / 4 + 4 + CHUNK);
            assert!((0..model.len()).all(|n| *arena.get(n as u32) == model[n]));
        }
        assert_eq!(arena.capacity, 0);
    }

    #[test]
    fn a_pair_is_found_in_one_chunk_and_in_two() {
        let mut arena = Arena::new();
        (0..200u32).for_each(|n| {
            arena.push(n);
        });
        for (one, other) in [(1, 2), (2, 1), (3, 150), (199, 64)] {
            let (a, b) = arena.pair_mut(one, other);
            assert_eq!((*a, *b), (one, other));
        }
    }

    #[test]
    fn frees_chunk_by_chunk() {
        let mut arena = Arena::new();
        (0..CHUNK * 4 + 1).for_each(|n| {
            arena.push(n);
        });
        let steps = (1..).find(|_| arena.free_step(2)).unwrap();
        assert_eq!((steps, arena.memory()), (3, 0));
    }
}
