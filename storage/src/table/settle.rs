//! Collections and long strings move out of regions of the heap that are to be left, in bounded steps.

use smallvec::SmallVec;

use super::Table;
use crate::entry;
use crate::heap::{self, Mover};
use crate::slab::Ref;
use crate::word::Word;

/// How far the way through a table is, for a plan.
#[derive(Default)]
pub(super) struct Way {
    /// The plan that it is gone for, and the last one that it was gone for to the end.
    plan: usize,
    done: usize,
    segment: usize,
    /// Which key of the segment, among those that own something, and which part of its object is next.
    owner: usize,
    part: usize,
}

impl Way {
    fn is_at_start(&self) -> bool {
        (self.segment, self.owner, self.part) == (0, 0, 0)
    }
}

impl Table {
    /// Moves what is to be moved of the table itself, and then of a few keys; false when there is nothing to do.
    pub fn settle_step(&mut self) -> bool {
        /// Segments and blocks that a step looks at, and bytes that it moves.
        const SEGMENTS: usize = 8;
        const BLOCKS: usize = 256;
        const BYTES: usize = 64 << 10;
        let plan = heap::plan();
        if plan == 0 || plan == self.settling.done {
            return false;
        }
        if plan != self.settling.plan {
            // What was passed may stand in regions that are to be left only now.
            self.settling = Way { plan, done: self.settling.done, ..Way::default() };
        }
        let mut mover = Mover::new(BLOCKS, BYTES);
        if self.settling.is_at_start() {
            self.slab.settle_records(&mut mover);
            self.index.settle_records(&mut mover);
        }
        for _ in 0..SEGMENTS {
            if self.owned == 0 || self.settling.segment >= self.index.segments() {
                self.settling = Way { plan, done: plan, ..Way::default() };
                break;
            }
            if !self.settle_segment(&mut mover) {
                break;
            }
        }
        true
    }

    /// Moves what is to be moved of a segment; false if that must go on.
    fn settle_segment(&mut self, mover: &mut Mover) -> bool {
        let way = &mut self.settling;
        let words = self.index.slots(way.segment as u32).map(|(_, bits)| Word::from_bits(bits));
        let owners: SmallVec<[Ref; 8]> = words.filter(|word| word.owns()).map(Word::cell).collect();
        while let Some(&cell) = owners.get(way.owner) {
            if way.part == 0 {
                entry::settle_key(self.slab.cell_mut(cell), mover);
            }
            if let Some(object) = entry::object_mut(self.slab.cell_mut(cell)) {
                while way.part < object.parts() {
                    if mover.is_spent() {
                        return false;
                    }
                    object.settle(way.part, mover);
                    way.part = object.after(way.part);
                }
            }
            (way.owner, way.part) = (way.owner + 1, 0);
        }
        (way.segment, way.owner) = (way.segment + 1, 0);
        true
    }
}
