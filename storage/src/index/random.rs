//! A random element of an index, each as likely as any other, however few of its segments are in use.

use super::{Index, Pos, SLOTS, Slot};
use crate::rng::Rng;

/// Draws before all elements are counted instead. Usually ten or so suffice, as segments in use are seldom sparse.
const DRAWS: usize = 1000;

impl<S: Slot> Index<S> {
    /// A random element; `None` if there is none.
    pub fn random(&self, rng: &mut Rng) -> Option<Pos> {
        if self.is_empty() {
            return None;
        }
        // Segments in overflow chains do not stand in the directory.
        let draws = if self.overflow.is_empty() { DRAWS } else { 0 };
        for _ in 0..draws {
            let segment = self.directory[rng.index(self.directory.len())];
            // It stands there the more often the shallower it is.
            if rng.below(1 << (self.depth - self.segment(segment).depth())) != 0 {
                continue;
            }
            // A place is drawn, not an element: elements of crowded segments are no rarer then.
            let slot = rng.index(SLOTS);
            if self.segment(segment).tag(slot) != 0 {
                return Some(Pos { segment, slot: slot as u8 });
            }
        }
        let nth = rng.index(self.len());
        (0..self.segments() as u32).flat_map(|segment| self.slots(segment)).nth(nth).map(|(pos, _)| pos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(slot: u32) -> u64 {
        Rng::seeded(slot as u64).next_u64()
    }

    /// Draws each of the elements 0 to `kept` of an index that once had `most` about `times` times.
    fn check_uniform(most: u32, kept: u32, hash: fn(u32) -> u64) {
        const TIMES: u32 = 1000;
        let mut index = Index::<u32>::new();
        (0..most).for_each(|number| {
            index.insert(hash(number), number, hash, |_| {});
        });
        for number in kept..most {
            let pos = index.find(hash(number), |slot| slot == number).unwrap();
            index.remove(pos, hash(number));
        }
        let (mut counts, mut rng) = (vec![0u32; kept as usize], Rng::seeded(1));
        for _ in 0..kept * TIMES {
            let pos = index.random(&mut rng).unwrap();
            counts[index.get(pos) as usize] += 1;
        }
        // Six standard deviations of a Poisson distribution.
        let most_apart = counts.iter().map(|count| count.abs_diff(TIMES)).max().unwrap();
        assert!(most_apart < 190, "{most} to {kept}: {most_apart}");
    }

    #[test]
    fn each_element_is_as_likely_as_any_other() {
        check_uniform(1, 1, spread);
        check_uniform(300, 300, spread);
        check_uniform(20_000, 40, spread);
        check_uniform(20_000, 3, spread);
    }

    #[test]
    fn chains_are_drawn_from_too() {
        check_uniform(200, 150, |_| 7);
    }

    #[test]
    fn nothing_is_drawn_from_nothing() {
        assert_eq!(Index::<u32>::new().random(&mut Rng::seeded(1)), None);
    }
}
