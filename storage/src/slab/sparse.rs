//! Which page compaction is to empty.

use super::{NO_PAGE, Slab, UNIT};
use crate::heap::Mover;

impl Slab {
    /// Moves its records of pages where they stand in the way.
    pub(crate) fn settle_records(&mut self, mover: &mut Mover) {
        mover.vec(&mut self.pages);
        mover.vec(&mut self.places);
        mover.vec(&mut self.classes);
        self.vacant.settle(mover);
    }

    /// A page worth emptying: one of the emptiest of a class of whose places more than 4 % are free, if that saves
    /// memory; the same one until it is empty, as long as its cells have another place. Moving its live cells away with
    /// [`Slab::relocate`] frees it; `page_bytes` falls with each page that was emptied, so doing so again and again comes
    /// to an end. Cheap when there is nothing to do.
    #[inline]
    pub fn sparse_page(&mut self) -> Option<u32> {
        // Were it chosen anew each time, cells could go to and fro between two pages: while one is emptied in steps, the
        // other is the emptier one at first.
        if self.draining != NO_PAGE && self.others_can_hold(self.draining) {
            return Some(self.draining);
        }
        self.draining = NO_PAGE;
        while self.freed != 0 {
            let slot = self.freed.trailing_zeros() as usize;
            if let Some(page) = self.emptiest_page(slot)
                && self.is_worth_emptying(page)
            {
                self.draining = page;
                return Some(page);
            }
            self.freed &= self.freed - 1;
        }
        None
    }

    fn emptiest_page(&self, slot: usize) -> Option<u32> {
        let class = &self.classes[slot];
        let head = class.heads.get(class.filled.trailing_zeros() as usize)?;
        Some(self.places[*head as usize].previous)
    }

    /// Whether the other pages of its class have a place for each of its cells.
    fn others_can_hold(&self, page: u32) -> bool {
        let place = &self.places[page as usize];
        let class = &self.classes[usize::from(place.slot)];
        let places = usize::from(place.length) / (usize::from(class.units) * UNIT);
        places + class.live as usize <= class.cells as usize
    }
}
