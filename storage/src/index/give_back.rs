//! Segments that merges left unused go back to the system: the last ones move into unused ones before them, one per step,
//! and what is unused at the end is dropped, a chunk at a time.

use crate::heap::{Mover, Settle};
use crate::slab::Ref;

use super::{CHUNK, Chunk, Index, NO_DEADLINE, Segment, Slot};

/// Unused segments that are kept, for growth.
const KEPT: usize = CHUNK / 8;

impl<S: Slot> Index<S> {
    /// Moves the last chunk, if it is a part of a page, to a page that is used more; false if there is none.
    pub(crate) fn gather_step(&mut self) -> bool {
        self.chunks.last_mut().is_some_and(Chunk::move_to_fuller)
    }

    /// Gives the last segment's place back, if enough segments are unused; false if not. Elements move to a segment with
    /// another number, in the same slots; `rehash` gives the hash of one.
    pub fn give_back_step(&mut self, rehash: impl Fn(S) -> u64) -> bool {
        // Positions in chains are not worth the while.
        if self.free.len() <= KEPT.max(self.segments() / 16) || !self.overflow.is_empty() {
            return false;
        }
        let last = self.segments() as u32 - 1;
        let element = self.slots(last).next().map(|(_, slot)| slot);
        let place = match element {
            Some(slot) => Some(self.place(rehash(slot))),
            // Few segments in use are empty, and few microseconds go into looking through either list.
            None => self.directory.iter().position(|&id| id == last),
        };
        match place {
            Some(place) => self.move_to_unused(last, place),
            None => self.free.retain(|&id| id != last),
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.pop();
            if chunk.is_empty() {
                self.chunks.pop();
            }
        }
        true
    }

    /// Moves a segment, which the directory's `place` leads to, into an unused one.
    fn move_to_unused(&mut self, from: u32, place: usize) {
        let Some(to) = self.free.pop() else { return };
        let width = 1 << (self.depth - self.segment(from).depth());
        let first = place / width * width;
        debug_assert!(self.directory[first..first + width].iter().all(|&id| id == from), "its places");
        self.directory[first..first + width].fill(to);
        let deadline = self.segment(from).deadline();
        self.drop_deadline(from);
        *self.segment_mut(to) = std::mem::replace(self.segment_mut(from), Segment::new(0));
        if deadline != NO_DEADLINE {
            self.set_deadline(to, deadline);
        }
    }
}

impl Index<u32> {
    /// All cells that an index of cells names, in the order of segments.
    pub(crate) fn names(&self) -> impl Iterator<Item = Ref> {
        let segments = 0..self.segments() as u32;
        segments.flat_map(|segment| self.slots(segment)).map(|(_, slot)| Ref::from_bits(slot))
    }
}

impl<S> Index<S> {
    /// Moves what stands beside the segments.
    pub(crate) fn settle_records(&mut self, mover: &mut Mover) {
        mover.movable_vec(&mut self.directory);
        mover.movable_vec(&mut self.chunks);
        mover.vec(&mut self.free);
        self.deadlines.settle(mover);
    }
}

impl<S: Slot> Settle for Index<S> {
    fn parts(&self) -> usize {
        1 + self.chunks.len()
    }

    fn settle(&mut self, part: usize, mover: &mut Mover) {
        match part.checked_sub(1) {
            None => self.settle_records(mover),
            Some(number) => self.chunks.get_mut(number).into_iter().for_each(|chunk| chunk.settle(mover)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn spread(slot: u32) -> u64 {
        Rng::seeded(slot as u64).next_u64()
    }

    fn filled(most: u32) -> Index<u32> {
        let mut index = Index::new();
        for number in 0..most {
            let pos = index.insert(spread(number), number, spread, |_| {});
            if number % 3 == 0 {
                index.lower_deadline(pos.segment, number as u64 + 1);
            }
        }
        index
    }

    fn remove(index: &mut Index<u32>, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let pos = index.find(spread(number), |slot| slot == number).unwrap();
            index.remove(pos, spread(number));
        }
    }

    #[test]
    fn unused_segments_go_and_elements_stay() {
        let mut index = filled(50_000);
        let most = index.segments();
        remove(&mut index, 100..50_000);
        assert_eq!(index.segments(), most, "nothing goes by itself");
        let (memory, chunks) = (index.memory(), index.chunks.len());
        let mut steps = 0;
        while index.give_back_step(spread) {
            steps += 1;
            if steps % 100 == 0 {
                index.validate(spread);
            }
        }
        index.validate(spread);
        let places = (chunks - index.chunks.len()) * size_of::<Chunk<u32>>();
        assert_eq!(index.memory(), memory - places, "what is unused did not count");
        assert!(index.segments() <= KEPT + 20, "{} of {most} segments are left", index.segments());
        assert_eq!(index.chunks.len(), index.segments().div_ceil(CHUNK));
        for number in 0..100 {
            assert!(index.find(spread(number), |slot| slot == number).is_some(), "{number}");
        }
        assert!(index.first_deadline().is_some());
        // It grows again as if nothing had been.
        for number in 100..20_000 {
            index.insert(spread(number), number, spread, |_| {});
        }
        index.validate(spread);
        remove(&mut index, 0..20_000);
        index.validate(spread);
        assert!(!index.give_back_step(spread));
    }

    #[test]
    fn a_full_index_keeps_its_segments() {
        let mut index = filled(50_000);
        assert!(!index.give_back_step(spread));
        remove(&mut index, 0..2_000);
        assert!(!index.give_back_step(spread));
        index.validate(spread);
    }
}
