//! Small pages are blocks of pages that all slabs share. Where many of these are divided and hardly used, blocks move to
//! fuller ones: a block is copied as it is, and only the record of the slab's page names another place afterwards.

use super::{PAGE, Slab, Source, source_of};
use crate::region::Regions;

/// Pages that one step looks at, and blocks that it moves.
const LOOKED_AT: usize = 64;
const MOVED: usize = 8;

/// How far a pass over what has small pages is: a slab's pages, or the segments of a table whose keys own slabs.
#[derive(Default)]
pub(crate) struct Pass {
    /// What to look at next.
    pub(crate) next: usize,
    /// Whether a block was moved.
    pub(crate) has_moved: bool,
    /// [`Regions::given_bytes`] when the last pass that moved nothing began, and this one.
    settled: usize,
    began: usize,
}

impl Pass {
    /// Whether to go on, or to begin, with it.
    #[inline]
    pub(crate) fn is_due(&mut self, regions: &Regions) -> bool {
        if self.next > 0 {
            return true;
        }
        self.began = regions.given_bytes();
        regions.is_unsettled(self.settled)
    }

    /// Begins anew; false if that can wait, as nothing was to move.
    pub(crate) fn end(&mut self) -> bool {
        self.next = 0;
        if !std::mem::take(&mut self.has_moved) {
            self.settled = self.began;
            return false;
        }
        true
    }
}

impl Slab {
    /// Whether there may be small pages to move, of this slab and of what stands beside it.
    #[inline]
    pub(crate) fn may_gather(&mut self) -> bool {
        self.gather.is_due(&self.regions)
    }

    /// Moves a few small pages to where they leave less unused between them; false when there is nothing to do.
    pub fn gather_step(&mut self) -> bool {
        if !self.may_gather() {
            return false;
        }
        let mut moved = 0;
        for _ in 0..LOOKED_AT {
            if self.gather.next >= self.places.len() {
                return self.gather.end();
            }
            if self.move_block(self.gather.next as u32) {
                self.gather.has_moved = true;
                moved += 1;
                if moved == MOVED {
                    break;
                }
            }
            self.gather.next += 1;
        }
        true
    }

    /// Moves a page to a fuller page of blocks, if it is a block and there is one.
    fn move_block(&mut self, number: u32) -> bool {
        let length = usize::from(self.places[number as usize].length);
        if length == 0 || length == PAGE {
            return false;
        }
        let Source::Block(block) = source_of(length) else { return false };
        let Some(to) = self.regions.take_fuller(self.pages[number as usize].base, block) else { return false };
        self.move_page(number, block, to);
        true
    }
}
