//! What is left sparse by removals moves closer together, in bounded steps: entries, small pages, segments of the index,
//! and elements of large collections.

use smallvec::SmallVec;

use super::{Table, hash_of};
use crate::entry::{self, Entry};
use crate::slab::Ref;
use crate::types::Env;
use crate::word::Word;

impl Table {
    /// Empties one sparse page by moving its entries, or moves small pages closer together, or gives one unused segment back; false when there is neither.
    pub fn compact_step(&mut self) -> bool {
        let Some(page) = self.slab.sparse_page() else {
            if self.slab.may_gather() && self.index.gather_step()
                || self.slab.gather_step()
                || self.gather_in_collections()
            {
                return true;
            }
            let (slab, hasher) = (&self.slab, self.hasher);
            return self.index.give_back_step(|bits| hash_of(slab, hasher, bits));
        };
        let mut cells = Vec::new();
        self.slab.live_cells(page, &mut cells);
        for cell in cells {
            let hash = self.hasher.hash(Entry::read(self.slab.cell(cell)).key());
            let found = self.index.find(hash, |bits| Word::from_bits(bits).cell() == cell);
            let (Some(pos), Some(new)) = (found, self.slab.relocate(cell)) else {
                return false;
            };
            let word = self.word(pos).with_cell(new);
            self.index.set(pos, word.bits());
        }
        true
    }

    /// Moves small pages of the collections in a few segments closer together; false when there is nothing to do.
    fn gather_in_collections(&mut self) -> bool {
        /// Segments that one step looks into, unless a collection has pages to move.
        const SEGMENTS: usize = 8;
        let pass = &mut self.gathering;
        if self.owned == 0 || !pass.is_due(self.slab.regions()) {
            return false;
        }
        for _ in 0..SEGMENTS {
            if pass.next >= self.index.segments() {
                return pass.end();
            }
            let words = self.index.slots(pass.next as u32).map(|(_, bits)| Word::from_bits(bits));
            let owners: SmallVec<[Ref; 8]> = words.filter(|word| word.owns()).map(Word::cell).collect();
            pass.next += 1;
            let mut has_moved = false;
            for cell in owners {
                let object = entry::object_mut(self.slab.cell_mut(cell));
                has_moved |= object.is_some_and(|object| object.gather_step());
            }
            if has_moved {
                pass.has_moved = true;
                break;
            }
        }
        true
    }

    /// Moves up to `limit` elements of one collection that has become sparse; false when there is none.
    pub fn compact_collection(&mut self, env: Env<'_>, limit: usize) -> bool {
        let Some(&hash) = self.sparse.first() else { return false };
        let (slab, hasher) = (&self.slab, self.hasher);
        let found = self.index.find(hash, |bits| {
            let word = Word::from_bits(bits);
            word.owns() && word.may_match(hash) && hash_of(slab, hasher, bits) == hash
        });
        let cell = found.map(|pos| self.word(pos).cell());
        let mut steps = 0;
        if let Some(object) = cell.and_then(|cell| entry::object_mut(self.slab.cell_mut(cell))) {
            let before = object.memory();
            steps = object.compact_step(env, limit);
            self.owned = self.owned - before + object.memory();
        }
        if steps == 0 {
            self.sparse.remove(&hash);
        }
        true
    }
}
