//! ARC: keys seen once and keys seen again are two LRU lists, each with a list of ghosts, whose hits move the border between the two
//! (Megiddo and Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003, figure 4).

use super::list::{Links, List};
use super::{Model, Setup};

/// In which list a key is: T1, T2, B1 or B2 of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Absent,
    Once,
    Again,
    OnceGhost,
    AgainGhost,
}

/// See the module's page.
pub struct Arc {
    capacity: u64,
    /// What `once` should weigh: p of the paper.
    target: f64,
    links: Links,
    once: List,
    again: List,
    once_ghosts: List,
    again_ghosts: List,
    places: Vec<Place>,
}

impl Arc {
    /// An empty cache.
    pub fn new(setup: &Setup<'_>) -> Self {
        Self {
            capacity: setup.capacity,
            target: 0.0,
            links: setup.links(),
            once: List::EMPTY,
            again: List::EMPTY,
            once_ghosts: List::EMPTY,
            again_ghosts: List::EMPTY,
            places: vec![Place::Absent; setup.trace.keys],
        }
    }

    /// Evicts until there is room; `returned` says that the key comes from the ghosts of `again`.
    fn make_room(&mut self, weight: u64, returned: bool) {
        while self.resident() + weight > self.capacity {
            let once = self.once.weight as f64;
            let from_once = !self.once.is_empty() && (once > self.target || returned && once == self.target);
            if from_once || self.again.is_empty() {
                let Some(key) = self.links.pop(&mut self.once) else { return };
                self.links.push(&mut self.once_ghosts, key);
                self.places[key as usize] = Place::OnceGhost;
            } else if let Some(key) = self.links.pop(&mut self.again) {
                self.links.push(&mut self.again_ghosts, key);
                self.places[key as usize] = Place::AgainGhost;
            }
        }
    }

    /// Keeps the lists within what the paper allows: those of keys seen once weigh a cache at most, all of them two.
    fn forget(&mut self, weight: u64) {
        while self.once.weight + self.once_ghosts.weight + weight > self.capacity {
            let from = if self.once_ghosts.is_empty() { &mut self.once } else { &mut self.once_ghosts };
            let Some(key) = self.links.pop(from) else { break };
            self.places[key as usize] = Place::Absent;
        }
        while self.resident() + self.once_ghosts.weight + self.again_ghosts.weight + weight > 2 * self.capacity {
            let Some(key) = self.links.pop(&mut self.again_ghosts) else { break };
            self.places[key as usize] = Place::Absent;
        }
    }

    /// A miss of a key that is remembered: the list that it came from should have been longer.
    fn learn(&mut self, key: u32, place: Place) {
        let (once, again) = (self.once_ghosts.weight as f64, self.again_ghosts.weight as f64);
        let weight = self.links.weight(key) as f64;
        if place == Place::OnceGhost {
            self.target = (self.target + weight * (again / once).max(1.0)).min(self.capacity as f64);
            self.links.remove(&mut self.once_ghosts, key);
        } else {
            self.target = (self.target - weight * (once / again).max(1.0)).max(0.0);
            self.links.remove(&mut self.again_ghosts, key);
        }
    }
}

impl Model for Arc {
    fn request(&mut self, key: u32) -> bool {
        let place = self.places[key as usize];
        let weight = self.links.weight(key);
        match place {
            Place::Once => self.links.remove(&mut self.once, key),
            Place::Again => self.links.remove(&mut self.again, key),
            Place::OnceGhost | Place::AgainGhost => {
                self.learn(key, place);
                self.make_room(weight, place == Place::AgainGhost);
            }
            Place::Absent => {
                self.forget(weight);
                self.make_room(weight, false);
                self.links.push(&mut self.once, key);
                self.places[key as usize] = Place::Once;
                return false;
            }
        }
        self.links.push(&mut self.again, key);
        self.places[key as usize] = Place::Again;
        matches!(place, Place::Once | Place::Again)
    }

    fn resident(&self) -> u64 {
        self.once.weight + self.again.weight
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::testing::hits;

    #[test]
    fn keys_seen_once_go_before_keys_seen_again() {
        assert_eq!(hits("arc", 2, "a a b c d a"), ".h...h");
    }

    #[test]
    fn a_hit_of_a_ghost_moves_the_border() {
        // b's return says that one place should be for keys seen once. It evicts a, which was seen again, and c stays.
        assert_eq!(hits("arc", 2, "a a b c b c a"), ".h...h.");
    }
}
