//! Small pages are blocks of pages that all slabs share. Where many of these are divided and hardly used, blocks move to
//! fuller ones: a block is copied as it is, and only the record of the slab's page names another place afterwards.

use super::{PAGE, Slab, Source, UNIT, source_of};

/// Pages that one step looks at, and blocks that it moves.
const LOOKED_AT: usize = 64;
const MOVED: usize = 8;

/// How far a pass over a slab's pages is.
#[derive(Default)]
pub(super) struct Gather {
    /// The next page to look at.
    next: usize,
    /// Whether the pass has moved a block.
    has_moved: bool,
    /// What was loose when a pass found nothing to move: it takes more to try again.
    settled: usize,
}

impl Slab {
    /// Moves a few small pages to where they leave less unused between them; false when there is nothing to do.
    pub fn gather_step(&mut self) -> bool {
        let loose = self.regions.loose_bytes();
        if loose <= self.gather.settled + self.gather.settled / 8 {
            self.gather.settled = self.gather.settled.min(loose);
            return false;
        }
        let mut moved = 0;
        for _ in 0..LOOKED_AT {
            if self.gather.next >= self.places.len() {
                let has_moved = std::mem::take(&mut self.gather.has_moved);
                self.gather.next = 0;
                self.gather.settled = if has_moved { 0 } else { loose };
                return has_moved;
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
        let size = usize::from(self.pages[number as usize].units) * UNIT;
        let Source::Block(block) = source_of(length, size) else { return false };
        let Some(to) = self.regions.take_fuller(self.pages[number as usize].base, block) else { return false };
        self.move_page(number, block, to);
        true
    }
}
