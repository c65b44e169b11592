//! FIFO, and CLOCK, which gives a key that was used a second chance (Corbató, "A paging experiment with the Multics system", MIT
//! Project MAC report MAC-M-384, 1968).

use super::list::{Links, List};
use super::{Model, Setup};

/// See the module's page.
pub struct Fifo {
    capacity: u64,
    second_chance: bool,
    links: Links,
    list: List,
    resident: Vec<bool>,
    /// Used since it was last passed by.
    used: Vec<bool>,
}

impl Fifo {
    /// FIFO.
    pub fn new(setup: &Setup<'_>) -> Self {
        let keys = setup.trace.keys;
        Self {
            capacity: setup.capacity,
            second_chance: false,
            links: setup.links(),
            list: List::EMPTY,
            resident: vec![false; keys],
            used: vec![false; keys],
        }
    }

    /// CLOCK.
    pub fn clock(setup: &Setup<'_>) -> Self {
        Self { second_chance: true, ..Self::new(setup) }
    }
}

impl Model for Fifo {
    fn request(&mut self, key: u32) -> bool {
        if self.resident[key as usize] {
            self.used[key as usize] = self.second_chance;
            return true;
        }
        while self.list.weight + self.links.weight(key) > self.capacity
            && let Some(oldest) = self.links.pop(&mut self.list)
        {
            if std::mem::take(&mut self.used[oldest as usize]) {
                self.links.push(&mut self.list, oldest);
            } else {
                self.resident[oldest as usize] = false;
            }
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
    fn the_first_in_is_the_first_out() {
        assert_eq!(hits("fifo", 2, "a b a c a b"), "..h...");
    }

    #[test]
    fn what_was_used_has_a_second_chance() {
        assert_eq!(hits("clock", 2, "a b a c a b a c"), "..h.h.h.");
    }
}
