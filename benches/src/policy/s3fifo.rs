//! S3-FIFO: new keys wait in a small queue of a tenth of the cache; those used more than once there, or remembered by the ghost queue,
//! go on to the main queue, as if unused, which gives second chances (Yang, Zhang, Qiu, Yue and Vigfusson, "FIFO Queues are All You Need for
//! Cache Eviction", SOSP 2023, algorithm 1).

use super::list::{Links, List};
use super::{Model, Setup};

/// The small queue's part of the cache.
const SMALL: f64 = 0.1;
/// Uses are counted up to this.
const MOST_USES: u8 = 3;
/// A key of the small queue goes on to the main one when it was used so often.
const PROMOTED: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Absent,
    Small,
    Main,
    Ghost,
}

/// See the module's page.
pub struct S3Fifo {
    capacity: u64,
    small_capacity: u64,
    links: Links,
    small: List,
    main: List,
    ghost: List,
    places: Vec<Place>,
    uses: Vec<u8>,
}

impl S3Fifo {
    /// An empty cache.
    pub fn new(setup: &Setup<'_>) -> Self {
        let keys = setup.trace.keys;
        Self {
            capacity: setup.capacity,
            small_capacity: ((setup.capacity as f64 * SMALL) as u64).max(1),
            links: setup.links(),
            small: List::EMPTY,
            main: List::EMPTY,
            ghost: List::EMPTY,
            places: vec![Place::Absent; keys],
            uses: vec![0; keys],
        }
    }

    fn make_room(&mut self, weight: u64) {
        while self.resident() + weight > self.capacity {
            if self.small.weight >= self.small_capacity || self.main.is_empty() {
                self.leave_small();
            } else {
                self.leave_main();
            }
        }
    }

    /// Moves the oldest key of the small queue to the main queue or to the ghosts.
    fn leave_small(&mut self) {
        let Some(key) = self.links.pop(&mut self.small) else { return };
        if self.uses[key as usize] >= PROMOTED {
            self.places[key as usize] = Place::Main;
            self.uses[key as usize] = 0;
            self.links.push(&mut self.main, key);
            return;
        }
        self.places[key as usize] = Place::Ghost;
        self.links.push(&mut self.ghost, key);
        while self.ghost.weight > self.capacity - self.small_capacity
            && let Some(forgotten) = self.links.pop(&mut self.ghost)
        {
            self.places[forgotten as usize] = Place::Absent;
        }
    }

    /// Evicts the oldest key of the main queue that has no use left; those before it lose one and become the newest.
    fn leave_main(&mut self) {
        while let Some(key) = self.links.pop(&mut self.main) {
            if self.uses[key as usize] == 0 {
                self.places[key as usize] = Place::Absent;
                return;
            }
            self.uses[key as usize] -= 1;
            self.links.push(&mut self.main, key);
        }
    }
}

impl Model for S3Fifo {
    fn request(&mut self, key: u32) -> bool {
        let place = self.places[key as usize];
        if matches!(place, Place::Small | Place::Main) {
            self.uses[key as usize] = (self.uses[key as usize] + 1).min(MOST_USES);
            return true;
        }
        if place == Place::Ghost {
            self.links.remove(&mut self.ghost, key);
        }
        self.places[key as usize] = Place::Absent;
        self.make_room(self.links.weight(key));
        self.uses[key as usize] = 0;
        let (list, to) =
            if place == Place::Ghost { (&mut self.main, Place::Main) } else { (&mut self.small, Place::Small) };
        self.links.push(list, key);
        self.places[key as usize] = to;
        false
    }

    fn resident(&self) -> u64 {
        self.small.weight + self.main.weight
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::testing::hits;

    #[test]
    fn two_uses_or_a_ghost_lead_to_the_main_queue() {
        // The small queue has one place. a was used twice and outlives b and c; b's return is the ghost's doing, so it stays as d comes.
        assert_eq!(hits("s3fifo", 3, "a a a b c d a b e b a"), ".hh...h..hh");
    }

    #[test]
    fn one_use_does_not() {
        assert_eq!(hits("s3fifo", 2, "a a b c a"), ".h...");
    }
}
