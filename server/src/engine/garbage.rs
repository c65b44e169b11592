//! What nobody can reach any more waits here until somebody has time to free it, in slices.

use std::sync::atomic::Ordering::Relaxed;

use larder_storage::table::Table;
use larder_storage::value::Object;

use super::Engine;
use crate::upkeep::Budget;

/// Values and tables that nobody can reach any more, freed in slices.
pub(crate) enum Garbage {
    Object(Box<Object>),
    Table(Box<Table>),
}

impl Engine {
    /// Takes the large ones out of values that nobody can reach any more, to free them in slices.
    pub(crate) fn reclaim(&self, objects: &mut Vec<Box<Object>>) {
        /// Elements that are dropped at once.
        const AT_ONCE: usize = 64;
        for object in objects.extract_if(.., |object| object.weight() > AT_ONCE) {
            self.reclaim_later(Garbage::Object(object));
        }
    }

    /// Puts garbage in line.
    pub(crate) fn reclaim_later(&self, garbage: Garbage) {
        self.garbage_count.fetch_add(1, Relaxed);
        self.garbage.lock().push_back(garbage);
    }

    /// Garbage that waits, and what has been freed so far.
    pub(crate) fn garbage_counts(&self) -> (u64, u64) {
        (self.garbage_count.load(Relaxed), self.freed_count.load(Relaxed))
    }

    pub(crate) fn reset_freed_count(&self) {
        self.freed_count.store(0, Relaxed);
    }

    /// Frees garbage as far as `budget` goes; whether some is left.
    pub(crate) fn free_garbage(&self, budget: &Budget) -> bool {
        /// Blocks freed between two looks at the clock.
        const BLOCKS: usize = 8;
        if self.garbage_count.load(Relaxed) == 0 {
            return false;
        }
        while let Some(mut garbage) = { self.garbage.lock().pop_front() } {
            loop {
                let done = match &mut garbage {
                    Garbage::Object(object) => object.free_step(BLOCKS),
                    Garbage::Table(table) => table.free_step(BLOCKS),
                };
                if done {
                    self.garbage_count.fetch_sub(1, Relaxed);
                    self.freed_count.fetch_add(1, Relaxed);
                    break;
                }
                if budget.is_spent() {
                    self.garbage.lock().push_front(garbage);
                    return true;
                }
            }
        }
        false
    }
}
