//! Exact LRU: the least recently used key goes first (Mattson, Gecsei, Slutz and Traiger, "Evaluation techniques for storage
//! hierarchies", IBM Systems Journal 9, 1970).

use super::list::{Links, List};
use super::{Model, Setup};

/// See the module's page.
pub struct Lru {
    capacity: u64,
    links: Links,
    list: List,
    resident: Vec<bool>,
}

impl Lru {
    /// An empty cache.
    pub fn new(setup: &Setup<'_>) -> Self {
        Self {
            capacity: setup.capacity,
            links: setup.links(),
            list: List::EMPTY,
            resident: vec![false; setup.trace.keys],
        }
    }
}

impl Model for Lru {
    fn request(&mut self, key: u32) -> bool {
        if self.resident[key as usize] {
            self.links.renew(&mut self.list, key);
            return true;
        }
        while self.list.weight + self.links.weight(key) > self.capacity
            && let Some(victim) = self.links.pop(&mut self.list)
        {
            self.resident[victim as usize] = false;
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
    use larder_storage::rng::Rng;

    use super::*;
    use crate::policy::testing::{hits, random_trace};

    #[test]
    fn the_least_recently_used_goes() {
        assert_eq!(hits("lru", 2, "a b a c a b"), "..h.h.");
    }

    #[test]
    fn hits_are_those_of_a_sorted_list() {
        let trace = random_trace(20, 10_000, &mut Rng::seeded(1));
        let (mut lru, mut model) = (Lru::new(&Setup::objects(&trace, 7)), Vec::new());
        for &key in &trace.requests {
            let place = model.iter().position(|known| *known == key);
            assert_eq!(lru.request(key), place.is_some());
            place.map(|place| model.remove(place));
            model.push(key);
            if model.len() > 7 {
                model.remove(0);
            }
        }
    }
}
