//! Keys that were evicted from a miniature, remembered as the cache does it that the miniature stands for: in a [`Ghost`] per shard.
//!
//! Small shards forget more, as keys fall into them unevenly. On a loop larger than the cache that decides what a policy does which goes by
//! frequency: if no key is forgotten all have been used alike often, and hardly one stays until it returns. So a miniature has as many ghosts as its slice
//! has shards' worth of keys.

use super::ghost::{Ghost, Welcome};
use super::samples::UNUSED_BITS;
use crate::rng::Rng;

/// An odd number whose bits look random, not the one that chooses the slice.
const MIX: u64 = 0xd6e8_feb8_6659_fd93;
/// What hashes are multiplied with, an odd number, so that keys fall together otherwise.
const DEALS: [u64; 3] = [1, 0x9fb2_1c65_1e98_df25, 0xc2b2_ae3d_27d4_eb4f];

/// See the module's page.
#[derive(Debug)]
pub(super) struct Ghosts {
    /// How keys begin.
    welcome: Welcome,
    deal: u64,
    /// Each with the number of keys that are there of its part. There is one at least.
    each: Vec<(Ghost, usize)>,
}

impl Ghosts {
    /// A single one.
    pub(super) fn new(welcome: Welcome) -> Self {
        Self { welcome, deal: DEALS[0], each: vec![(Ghost::new(welcome), 0)] }
    }

    /// As it is, but with other keys beside one another.
    pub(super) fn dealt(self, number: usize) -> Self {
        Self { deal: DEALS[number % DEALS.len()], ..self }
    }

    /// How keys begin.
    pub(super) fn welcome(&self) -> Welcome {
        self.welcome
    }

    /// Lets keys begin so from now on.
    pub(super) fn set_welcome(&mut self, welcome: Welcome) {
        self.welcome = welcome;
        self.each.iter_mut().for_each(|(ghost, _)| ghost.welcome = welcome);
    }

    /// Lets there be so many, for keys of these hashes. Of what is remembered that is kept which stays where it is.
    pub(super) fn split(&mut self, count: usize, residents: impl Iterator<Item = u64>) {
        let (have, count) = (self.each.len(), count.max(1));
        if have == count {
            return;
        }
        self.each = (0..count).map(|at| (self.each[at * have / count].0.clone(), 0)).collect();
        for hash in residents {
            self.note_stored(hash);
        }
    }

    /// What a key is known by here, and the ghost that it belongs to.
    fn of(&mut self, hash: u64) -> (u64, &mut (Ghost, usize)) {
        let known_by = (hash >> UNUSED_BITS << UNUSED_BITS).wrapping_mul(self.deal);
        let mixed = (known_by >> UNUSED_BITS).wrapping_mul(MIX) >> 32;
        let at = mixed * self.each.len() as u64 >> 32;
        (known_by, &mut self.each[at as usize])
    }

    /// The frequency with which a key begins that is stored now.
    pub(super) fn admit(&mut self, hash: u64, rng: &mut Rng) -> u8 {
        let (hash, (ghost, _)) = self.of(hash);
        ghost.admit(hash, rng)
    }

    /// Hears of a key that is there now.
    pub(super) fn note_stored(&mut self, hash: u64) {
        self.of(hash).1.1 += 1;
    }

    /// Hears of a key that is gone.
    pub(super) fn note_gone(&mut self, hash: u64) {
        let (_, (_, residents)) = self.of(hash);
        *residents = residents.saturating_sub(1);
    }

    /// Remembers a key that was evicted and is gone.
    pub(super) fn put(&mut self, hash: u64, frequency: u8) {
        let (hash, (ghost, residents)) = self.of(hash);
        ghost.put(hash, frequency, *residents + 1);
    }

    /// Keys that are there.
    #[cfg(test)]
    pub(super) fn residents(&self) -> usize {
        self.each.iter().map(|(_, residents)| residents).sum()
    }

    /// Bytes that they take.
    pub(super) fn memory(&self) -> usize {
        self.each.len() * size_of::<(Ghost, usize)>() + self.each.iter().map(|(ghost, _)| ghost.memory()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        Rng::seeded(number).next_u64() >> UNUSED_BITS << UNUSED_BITS
    }

    const WELCOME: Welcome = Welcome { lucky: 0, credit: true };

    /// Some that hold `keys` keys, having held as many others before, from 0 on.
    fn turned_over(count: usize, keys: u64) -> Ghosts {
        let mut ghosts = Ghosts::new(WELCOME);
        ghosts.split(count, std::iter::empty());
        (0..keys).for_each(|number| ghosts.note_stored(hash(number)));
        for number in 0..keys {
            ghosts.note_stored(hash(keys + number));
            ghosts.note_gone(hash(number));
            ghosts.put(hash(number), 3);
        }
        ghosts
    }

    fn remembered(ghosts: &mut Ghosts, keys: std::ops::Range<u64>) -> usize {
        let mut rng = Rng::seeded(1);
        keys.filter(|number| ghosts.admit(hash(*number), &mut rng) == 4).count()
    }

    #[test]
    fn each_counts_its_keys_and_small_ones_forget_more() {
        let mut one = turned_over(1, 1000);
        let mut many = turned_over(64, 1000);
        assert_eq!(one.each[0].1, 1000);
        assert!(many.each.iter().all(|(_, residents)| (3..40).contains(residents)));
        assert_eq!(many.residents(), 1000);
        let (of_one, of_many) = (remembered(&mut one, 0..1000), remembered(&mut many, 0..1000));
        assert!(of_one > 750 && of_many + 30 < of_one, "{of_one}, {of_many}");
    }

    #[test]
    fn half_of_what_is_remembered_outlives_half_as_many() {
        let mut ghosts = turned_over(16, 2000);
        ghosts.split(8, (2000..4000).map(hash));
        assert_eq!(ghosts.residents(), 2000);
        let some = remembered(&mut ghosts, 0..2000);
        assert!((600..1000).contains(&some), "{some}");
    }

    #[test]
    fn other_deals_put_other_keys_together() {
        let together = |deal: usize| {
            let mut ghosts = Ghosts::new(WELCOME).dealt(deal);
            ghosts.split(64, std::iter::empty());
            let place = |ghosts: &mut Ghosts, number| {
                let ghost: *const _ = ghosts.of(hash(number)).1;
                ghost as usize
            };
            let first = place(&mut ghosts, 0);
            (1..2000).filter(|number| place(&mut ghosts, *number) == first).collect::<Vec<_>>()
        };
        let deals: Vec<Vec<u64>> = (0..DEALS.len()).map(together).collect();
        assert!(deals.iter().all(|keys| (10..60).contains(&keys.len())), "{deals:?}");
        let both = deals[0].iter().filter(|key| deals[1].contains(key) || deals[2].contains(key)).count();
        assert!(both < 10, "{deals:?}");
    }
}
