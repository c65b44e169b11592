//! LIRS: a key's rank is how many others were asked for between its last two uses. Those with the lowest (LIR) hold 99 % of the cache;
//! the others (HIR) pass through the rest, and are promoted if they return while they are above the oldest LIR key in the stack
//! (Jiang and Zhang, "LIRS: an efficient low inter-reference recency set replacement policy", SIGMETRICS 2002).
//!
//! The paper leaves the number of keys open that are in the stack without being resident; here they weigh twice the cache at most.

use super::list::{Links, List};
use super::{Model, Setup};

/// The part of the cache for HIR keys, and how many caches the keys weigh that are remembered.
const HIR: f64 = 0.01;
const REMEMBERED: u64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Lir,
    /// Resident, in the queue.
    Hir,
    /// Not resident, in the stack and among the remembered.
    Remembered,
}

/// See the module's page.
pub struct Lirs {
    capacity: u64,
    lir_capacity: u64,
    lir_weight: u64,
    /// The stack's links, and those of `queue` and `remembered`.
    stack_links: Links,
    links: Links,
    stack: List,
    queue: List,
    remembered: List,
    states: Vec<State>,
    stacked: Vec<bool>,
}

impl Lirs {
    /// An empty cache.
    pub fn new(setup: &Setup<'_>) -> Self {
        let hir = ((setup.capacity as f64 * HIR) as u64).max(1);
        Self {
            capacity: setup.capacity,
            lir_capacity: setup.capacity - hir,
            lir_weight: 0,
            stack_links: setup.links(),
            links: setup.links(),
            stack: List::EMPTY,
            queue: List::EMPTY,
            remembered: List::EMPTY,
            states: vec![State::Absent; setup.trace.keys],
            stacked: vec![false; setup.trace.keys],
        }
    }

    /// Makes a key the newest of the stack.
    fn stack(&mut self, key: u32) {
        if self.stacked[key as usize] {
            self.stack_links.remove(&mut self.stack, key);
        }
        self.stack_links.push(&mut self.stack, key);
        self.stacked[key as usize] = true;
    }

    fn unstack(&mut self, key: u32) {
        self.stack_links.remove(&mut self.stack, key);
        self.stacked[key as usize] = false;
    }

    /// Removes keys from the stack's old end until one is LIR.
    fn prune(&mut self) {
        while !self.stack.is_empty() {
            let key = self.stack.oldest;
            match self.states[key as usize] {
                State::Lir => return,
                State::Remembered => {
                    self.links.remove(&mut self.remembered, key);
                    self.states[key as usize] = State::Absent;
                }
                State::Hir | State::Absent => {}
            }
            self.unstack(key);
        }
    }

    /// Makes a key LIR that is in neither the queue nor the remembered, and the oldest LIR keys HIR in its place.
    fn promote(&mut self, key: u32) {
        self.states[key as usize] = State::Lir;
        self.lir_weight += self.links.weight(key);
        self.stack(key);
        while self.lir_weight > self.lir_capacity {
            self.demote();
        }
    }

    /// Makes the oldest LIR key HIR.
    fn demote(&mut self) {
        self.prune();
        let key = self.stack.oldest;
        self.lir_weight -= self.links.weight(key);
        self.states[key as usize] = State::Hir;
        self.links.push(&mut self.queue, key);
        self.unstack(key);
        self.prune();
    }

    fn make_room(&mut self, weight: u64) {
        while self.resident() + weight > self.capacity {
            let Some(key) = self.links.pop(&mut self.queue) else {
                self.demote();
                continue;
            };
            self.states[key as usize] = State::Absent;
            if self.stacked[key as usize] {
                self.states[key as usize] = State::Remembered;
                self.links.push(&mut self.remembered, key);
            }
        }
        while self.remembered.weight > REMEMBERED * self.capacity
            && let Some(key) = self.links.pop(&mut self.remembered)
        {
            self.states[key as usize] = State::Absent;
            self.unstack(key);
        }
    }
}

impl Model for Lirs {
    fn request(&mut self, key: u32) -> bool {
        let weight = self.links.weight(key);
        match self.states[key as usize] {
            State::Lir => {
                self.stack(key);
                self.prune();
                return true;
            }
            State::Hir if self.stacked[key as usize] => {
                self.links.remove(&mut self.queue, key);
                self.promote(key);
                return true;
            }
            State::Hir => {
                self.stack(key);
                self.links.renew(&mut self.queue, key);
                return true;
            }
            State::Remembered => {
                self.links.remove(&mut self.remembered, key);
                // Not among the remembered any more, but above the oldest LIR key still.
                self.states[key as usize] = State::Absent;
                self.make_room(weight);
                self.promote(key);
            }
            State::Absent => {
                self.make_room(weight);
                if self.lir_weight + weight <= self.lir_capacity {
                    self.promote(key);
                } else {
                    self.states[key as usize] = State::Hir;
                    self.stack(key);
                    self.links.push(&mut self.queue, key);
                }
            }
        }
        false
    }

    fn resident(&self) -> u64 {
        self.lir_weight + self.queue.weight
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::testing::hits;

    #[test]
    fn a_loop_larger_than_the_cache_keeps_most_of_it() {
        // One place of the three is for HIR keys: a and b are LIR and stay.
        assert_eq!(hits("lirs", 3, "a b c d a b c d a b c d"), "....hh..hh..");
    }

    #[test]
    fn a_key_that_returns_soon_takes_the_place_of_an_older_one() {
        // c returns while it is above a in the stack: c becomes LIR and a HIR, which d evicts.
        assert_eq!(hits("lirs", 3, "a b c b c d c b a"), "...hh.hh.");
    }
}
