//! Numbers of pages that are vacant. The lowest is taken first, so that those at the end become vacant and their records go.

use crate::heap::Mover;

/// A set of page numbers.
#[derive(Default)]
pub(super) struct Vacant {
    /// A bit per number.
    words: Vec<u64>,
    /// No number is in a word before this one.
    first: usize,
}

impl Vacant {
    pub(super) fn insert(&mut self, number: u32) {
        let word = number as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (number % 64);
        self.first = self.first.min(word);
    }

    /// Takes the lowest number out.
    pub(super) fn pop(&mut self) -> Option<u32> {
        let from = self.words.get(self.first..)?;
        let Some(found) = from.iter().position(|&word| word != 0) else {
            self.first = self.words.len();
            return None;
        };
        self.first += found;
        let word = &mut self.words[self.first];
        let bit = word.trailing_zeros();
        *word &= *word - 1;
        Some(self.first as u32 * 64 + bit)
    }

    /// Forgets all numbers from `end` on.
    pub(super) fn truncate(&mut self, end: usize) {
        self.words.truncate(end.div_ceil(64));
        if let (Some(last), 1..) = (self.words.get_mut(end / 64), end % 64) {
            *last &= (1 << (end % 64)) - 1;
        }
        self.first = self.first.min(self.words.len());
        if self.words.is_empty() {
            self.words = Vec::new();
        }
    }

    /// Moves it if it is to be.
    pub(super) fn settle(&mut self, mover: &mut Mover) {
        mover.vec(&mut self.words);
    }

    /// Bytes that it takes.
    pub(super) fn memory(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    /// The numbers, for tests.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let has = |number: &u32| self.words[*number as usize / 64] >> (number % 64) & 1 == 1;
        (0..self.words.len() as u32 * 64).filter(has)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn agrees_with_a_set() {
        let (mut vacant, mut model, mut rng) = (Vacant::default(), BTreeSet::new(), Rng::seeded(1));
        for _ in 0..20_000 {
            match rng.below(8) {
                0..=3 => {
                    let number = rng.below(1000) as u32;
                    vacant.insert(number);
                    model.insert(number);
                }
                4..=6 => assert_eq!(vacant.pop(), model.pop_first()),
                _ => {
                    let end = rng.index(1200);
                    vacant.truncate(end);
                    model.retain(|number| (*number as usize) < end);
                }
            }
            assert!(vacant.iter().eq(model.iter().copied()));
        }
        vacant.truncate(0);
        assert_eq!((vacant.memory(), vacant.pop()), (0, None));
    }
}
