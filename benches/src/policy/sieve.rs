//! SIEVE: a queue, and a hand that goes from its old to its new end, spares what was used and evicts the first key that was not; the hand
//! stays where it was (Zhang, Yang, Yue, Vigfusson and Rashmi, "SIEVE is Simpler than LRU", NSDI 2024).

use super::list::{Links, List, NONE};
use super::{Model, Setup};

/// See the module's page.
pub struct Sieve {
    capacity: u64,
    links: Links,
    list: List,
    resident: Vec<bool>,
    /// Used since the hand last passed.
    visited: Vec<bool>,
    /// Where the hand is; [`NONE`] for the old end.
    hand: u32,
}

impl Sieve {
    /// An empty cache.
    pub fn new(setup: &Setup<'_>) -> Self {
        let keys = setup.trace.keys;
        Self {
            capacity: setup.capacity,
            links: setup.links(),
            list: List::EMPTY,
            resident: vec![false; keys],
            visited: vec![false; keys],
            hand: NONE,
        }
    }

    fn evict(&mut self) {
        let mut victim = if self.hand == NONE { self.list.oldest } else { self.hand };
        while victim != NONE && std::mem::take(&mut self.visited[victim as usize]) {
            victim = self.links.newer(victim);
            if victim == NONE {
                victim = self.list.oldest;
            }
        }
        if victim != NONE {
            self.hand = self.links.newer(victim);
            self.links.remove(&mut self.list, victim);
            self.resident[victim as usize] = false;
        }
    }
}

impl Model for Sieve {
    fn request(&mut self, key: u32) -> bool {
        if self.resident[key as usize] {
            self.visited[key as usize] = true;
            return true;
        }
        while self.list.weight + self.links.weight(key) > self.capacity && !self.list.is_empty() {
            self.evict();
        }
        self.resident[key as usize] = true;
        self.links.push(&mut self.list, key);
        false
    }

    fn resident(&self) -> u64 {
        self.list.weight
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::testing::hits;

    #[test]
    fn the_hand_spares_what_was_used_and_stays_where_it_was() {
        // d finds a used, evicts b, and leaves the hand at c: so e and f evict c and d, although a is older.
        assert_eq!(hits("sieve", 3, "a b c a d e f a"), "...h...h");
    }

    #[test]
    fn from_the_new_end_the_hand_goes_on_at_the_old_one() {
        // d and e find a and b used and evict the newest.
        assert_eq!(hits("sieve", 3, "a b c a b d a b e b a"), "...hh.hh.hh");
    }
}
