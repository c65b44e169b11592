//! Counts how often keys were asked for of late, about: a count-min sketch of four-bit counters that are halved from time to time
//! (Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", ACM Transactions on Storage 13, 2017).

/// Counters of a key, one in each row.
const ROWS: usize = 4;
/// Where counters end.
const MOST: u64 = 15;
/// Counts are halved after so many times as many requests as the cache has entries.
const SAMPLE: u64 = 10;

/// See the module's page.
pub struct Sketch {
    /// Sixteen counters each; a row takes four of them.
    words: Vec<u64>,
    counted: u64,
    sample: u64,
}

impl Sketch {
    /// For a cache of so many entries.
    pub fn new(entries: usize) -> Self {
        let entries = entries.max(8);
        Self { words: vec![0; entries.next_power_of_two()], counted: 0, sample: SAMPLE * entries as u64 }
    }

    /// The word and the bit of a key's counter in a row.
    #[inline]
    fn place(&self, key: u32, row: usize) -> (usize, u32) {
        let mixed = mix(u64::from(key) << 2 | row as u64);
        let word = (mixed >> 8) as usize & (self.words.len() - 1);
        (word, ((row as u64 * 4 + (mixed & 3)) * 4) as u32)
    }

    /// How often a key was asked for, at most 15.
    #[inline]
    pub fn frequency(&self, key: u32) -> u64 {
        let counter = |row| {
            let (word, bit) = self.place(key, row);
            self.words[word] >> bit & MOST
        };
        (0..ROWS).map(counter).min().unwrap_or(0)
    }

    /// Counts a request.
    #[inline]
    pub fn count(&mut self, key: u32) {
        for row in 0..ROWS {
            let (word, bit) = self.place(key, row);
            if self.words[word] >> bit & MOST < MOST {
                self.words[word] += 1 << bit;
            }
        }
        self.counted += 1;
        if self.counted >= self.sample {
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.counted /= 2;
        self.words.iter_mut().for_each(|word| *word = *word >> 1 & 0x7777_7777_7777_7777);
    }
}

/// The end of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[inline]
fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_never_too_low_and_seldom_too_high() {
        let mut sketch = Sketch::new(1000);
        for key in 0..600 {
            (0..=key % 8).for_each(|_| sketch.count(key));
        }
        assert!((0..600).all(|key| sketch.frequency(key) > u64::from(key % 8)));
        let exact = (0..600).filter(|key| sketch.frequency(*key) == u64::from(key % 8) + 1).count();
        assert!(exact > 540, "{exact} of 600");
    }

    #[test]
    fn counts_end_at_15_and_are_halved_in_time() {
        let mut sketch = Sketch::new(8);
        (0..40).for_each(|_| sketch.count(1));
        assert_eq!(sketch.frequency(1), 15);
        (2..1000).for_each(|key| sketch.count(key));
        assert!(sketch.frequency(1) < 15);
    }
}
