//! Doubly linked lists over keys that are small numbers, in two vectors: what most of the models are made of. Several lists may
//! share their links as long as no key is in two of them.

use super::Weights;

/// No key.
pub const NONE: u32 = u32::MAX;

/// The links of all keys.
pub struct Links {
    older: Vec<u32>,
    newer: Vec<u32>,
    weights: Weights,
}

/// One list, from its oldest to its newest key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    /// The two ends, or [`NONE`].
    pub oldest: u32,
    /// See `oldest`.
    pub newest: u32,
    /// Of all keys in it.
    pub weight: u64,
}

impl List {
    /// An empty list.
    pub const EMPTY: Self = Self { oldest: NONE, newest: NONE, weight: 0 };

    /// Whether it has no key.
    pub fn is_empty(&self) -> bool {
        self.oldest == NONE
    }
}

impl Links {
    /// Links for keys below `keys`.
    pub fn new(keys: usize, weights: Weights) -> Self {
        Self { older: vec![NONE; keys], newer: vec![NONE; keys], weights }
    }

    /// What a key weighs.
    #[inline]
    pub fn weight(&self, key: u32) -> u64 {
        self.weights.of(key)
    }

    /// The next newer key of the same list, or [`NONE`].
    #[inline]
    pub fn newer(&self, key: u32) -> u32 {
        self.newer[key as usize]
    }

    /// Puts a key at the new end of a list. It must not be in any.
    #[inline]
    pub fn push(&mut self, list: &mut List, key: u32) {
        let before = std::mem::replace(&mut list.newest, key);
        *(if before == NONE { &mut list.oldest } else { &mut self.newer[before as usize] }) = key;
        self.older[key as usize] = before;
        self.newer[key as usize] = NONE;
        list.weight += self.weights.of(key);
    }

    /// Takes a key out of the list that it is in.
    #[inline]
    pub fn remove(&mut self, list: &mut List, key: u32) {
        let (older, newer) = (self.older[key as usize], self.newer[key as usize]);
        *(if older == NONE { &mut list.oldest } else { &mut self.newer[older as usize] }) = newer;
        *(if newer == NONE { &mut list.newest } else { &mut self.older[newer as usize] }) = older;
        list.weight -= self.weights.of(key);
    }

    /// Takes the oldest key out of a list.
    #[inline]
    pub fn pop(&mut self, list: &mut List) -> Option<u32> {
        let oldest = list.oldest;
        (oldest != NONE).then(|| {
            self.remove(list, oldest);
            oldest
        })
    }

    /// Makes a key the newest of the list that it is in.
    #[inline]
    pub fn renew(&mut self, list: &mut List, key: u32) {
        self.remove(list, key);
        self.push(list, key);
    }
}

#[cfg(test)]
mod tests {
    use larder_storage::rng::Rng;

    use super::*;

    #[test]
    fn two_lists_behave_as_vectors_do() {
        let weights: Vec<u32> = (1..=20).collect();
        let mut links = Links::new(20, Weights::each(weights.into()));
        let (mut lists, mut models, mut rng) = ([List::EMPTY; 2], [Vec::new(), Vec::new()], Rng::seeded(1));
        for _ in 0..5000 {
            let (key, to) = (rng.index(20) as u32, rng.index(2));
            if let Some(from) = (0..2).find(|list| models[*list].contains(&key)) {
                links.remove(&mut lists[from], key);
                models[from].retain(|known| *known != key);
            }
            if rng.index(3) > 0 {
                links.push(&mut lists[to], key);
                models[to].push(key);
            } else {
                assert_eq!(links.pop(&mut lists[to]), (!models[to].is_empty()).then(|| models[to].remove(0)));
            }
            for (list, model) in lists.iter().zip(&models) {
                let ends = (list.oldest, list.newest);
                assert_eq!(ends, (*model.first().unwrap_or(&NONE), *model.last().unwrap_or(&NONE)));
                assert_eq!(list.weight, model.iter().map(|key| u64::from(*key) + 1).sum::<u64>());
                let walk = std::iter::successors(model.first().copied(), |key| Some(links.newer(*key)));
                assert!(walk.take(model.len()).eq(model.iter().copied()));
            }
        }
    }
}
