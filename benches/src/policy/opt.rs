//! OPT: the key whose next use is farthest away goes first, the new one included, which is then not stored. No policy has more hits
//! (Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5, 1966).
//!
//! Where objects have different sizes this is a good policy, and no upper bound.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Model, Setup, Weights};
use crate::trace::Trace;

/// There is no next use.
const NEVER: u32 = u32::MAX;

/// Per request of a trace, the next request of the same key.
pub fn next_uses(trace: &Trace) -> Vec<u32> {
    let mut next = vec![NEVER; trace.keys];
    let mut uses = vec![NEVER; trace.requests.len()];
    for (at, key) in trace.requests.iter().enumerate().rev() {
        uses[at] = std::mem::replace(&mut next[*key as usize], at as u32);
    }
    uses
}

/// See the module's page.
pub struct Opt {
    capacity: u64,
    next_uses: Arc<Vec<u32>>,
    weights: Weights,
    /// The number of the request.
    now: usize,
    /// Next use and key of all residents.
    residents: BTreeSet<(u32, u32)>,
    weight: u64,
}

impl Opt {
    /// An empty cache.
    pub fn new(setup: &Setup<'_>) -> Self {
        Self {
            capacity: setup.capacity,
            next_uses: setup.next_uses(),
            weights: setup.weights.clone(),
            now: 0,
            residents: BTreeSet::new(),
            weight: 0,
        }
    }
}

impl Model for Opt {
    fn request(&mut self, key: u32) -> bool {
        let now = self.now as u32;
        let next = self.next_uses[self.now];
        self.now += 1;
        let hit = self.residents.remove(&(now, key));
        self.residents.insert((next, key));
        if hit {
            return true;
        }
        self.weight += self.weights.of(key);
        while self.weight > self.capacity
            && let Some((_, victim)) = self.residents.pop_last()
        {
            self.weight -= self.weights.of(victim);
        }
        false
    }

    fn pass(&mut self) {
        self.now += 1;
    }

    fn resident(&self) -> u64 {
        self.weight
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::testing::hits;

    #[test]
    fn what_is_used_last_goes() {
        assert_eq!(hits("opt", 2, "a b c a b c a b c"), "...hh.hh.");
    }

    #[test]
    fn what_is_used_later_than_all_others_is_not_stored() {
        assert_eq!(hits("opt", 2, "a b c b a c"), "...hh.");
    }
}
