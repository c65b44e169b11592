//! Exact LRU over keys that are small numbers, to compare with: a doubly linked list in two vectors.

/// No key.
const NONE: u32 = u32::MAX;

/// A cache of so many keys.
pub struct Lru {
    capacity: usize,
    len: usize,
    /// Per key, the one that was used next before it, and after it.
    older: Vec<u32>,
    newer: Vec<u32>,
    resident: Vec<bool>,
    oldest: u32,
    newest: u32,
}

impl Lru {
    /// An empty cache of `capacity` keys, which are below `keys`.
    pub fn new(capacity: usize, keys: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            len: 0,
            older: vec![NONE; keys],
            newer: vec![NONE; keys],
            resident: vec![false; keys],
            oldest: NONE,
            newest: NONE,
        }
    }

    /// Asks for a key and puts it in if it is not there; whether it was.
    pub fn get_or_insert(&mut self, key: u32) -> bool {
        let hit = self.resident[key as usize];
        if hit {
            self.unlink(key);
        } else if self.len == self.capacity {
            let victim = self.oldest;
            self.unlink(victim);
            self.resident[victim as usize] = false;
        } else {
            self.len += 1;
        }
        self.resident[key as usize] = true;
        self.append(key);
        hit
    }

    fn unlink(&mut self, key: u32) {
        let (older, newer) = (self.older[key as usize], self.newer[key as usize]);
        *(if older == NONE { &mut self.oldest } else { &mut self.newer[older as usize] }) = newer;
        *(if newer == NONE { &mut self.newest } else { &mut self.older[newer as usize] }) = older;
    }

    fn append(&mut self, key: u32) {
        let before = std::mem::replace(&mut self.newest, key);
        *(if before == NONE { &mut self.oldest } else { &mut self.newer[before as usize] }) = key;
        self.older[key as usize] = before;
        self.newer[key as usize] = NONE;
    }
}

#[cfg(test)]
mod tests {
    use larder_storage::rng::Rng;

    use super::*;

    #[test]
    fn hits_are_those_of_a_sorted_list() {
        let (mut lru, mut model, mut rng) = (Lru::new(7, 20), Vec::new(), Rng::seeded(1));
        for _ in 0..10_000 {
            let key = rng.index(20).min(rng.index(20)) as u32;
            let place = model.iter().position(|known| *known == key);
            assert_eq!(lru.get_or_insert(key), place.is_some());
            place.map(|place| model.remove(place));
            model.push(key);
            if model.len() > 7 {
                model.remove(0);
            }
        }
    }
}
