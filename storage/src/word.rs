//! The eight bytes that the index keeps per key: where its entry is, and how it has been used.
//!
//! ```text
//! [31:0]   reference of the entry in the table's slab
//! [32]     one bit of the hash, beyond the tag
//! [33]     the entry owns memory outside its cell
//! [34]     the entry has an expiry
//! [39:35]  frequency: accesses up to 16, and beyond that their logarithm
//! [63:40]  tick of the last access
//! ```
//!
//! A frequency above 16 is a counter of Morris ("Counting Large Numbers of Events in Small Registers", CACM 1978): each
//! further step comes once in as many accesses as were counted, by chance, and so stands for twice as many.
//!
//! Histories stand together in a segment, so that eviction reads whole segments and touches no entry.

use crate::rng::Dice;
use crate::slab::Ref;

/// Ticks count modulo this.
pub const TICKS: u32 = 1 << 24;
/// The highest frequency.
pub const MAX_FREQUENCY: u8 = 31;
/// The highest frequency that every access before it has counted for.
pub(crate) const EXACT: u8 = 16;

/// Accesses that a frequency stands for, about, if it is above 16: up to 524,288.
pub const fn accesses(frequency: u8) -> u32 {
    if frequency <= EXACT { frequency as u32 } else { (EXACT as u32) << (frequency - EXACT) }
}

const HASH_BIT: u64 = 1 << 32;
const OWNS: u64 = 1 << 33;
const EXPIRES: u64 = 1 << 34;
/// One more.
const FREQUENCY: u64 = 1 << 35;

/// See the module's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(u64);

impl Word {
    #[inline]
    pub(crate) fn new(cell: Ref, hash: u64, tick: u32, frequency: u8) -> Self {
        let history = (tick % TICKS) << 8 | (frequency as u32) << 3;
        Self(cell.bits() as u64 | (history as u64) << 32 | (hash & 1 << 16) << 16)
    }

    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// Whether this may be an element with that hash.
    #[inline]
    pub(crate) fn may_match(self, hash: u64) -> bool {
        (hash & 1 << 16) << 16 == self.0 & HASH_BIT
    }

    #[inline]
    pub(crate) fn cell(self) -> Ref {
        Ref::from_bits(self.0 as u32)
    }

    pub(crate) fn with_cell(self, cell: Ref) -> Self {
        Self(self.0 & !0xffff_ffff | cell.bits() as u64)
    }

    /// Whether the entry has an expiry.
    #[inline]
    pub fn expires(self) -> bool {
        self.0 & EXPIRES != 0
    }

    pub(crate) fn with_expires(self, expires: bool) -> Self {
        Self(if expires { self.0 | EXPIRES } else { self.0 & !EXPIRES })
    }

    pub(crate) fn owns(self) -> bool {
        self.0 & OWNS != 0
    }

    pub(crate) fn with_owns(self, owns: bool) -> Self {
        Self(if owns { self.0 | OWNS } else { self.0 & !OWNS })
    }

    /// The tick of the last access, modulo [`TICKS`].
    #[inline]
    pub fn tick(self) -> u32 {
        (self.0 >> 40) as u32
    }

    /// Ticks since the last access.
    #[inline]
    pub fn age(self, now: u32) -> u32 {
        now.wrapping_sub(self.tick()) % TICKS
    }

    /// How often the entry was used since it was stored: see [`accesses`].
    #[inline]
    pub fn frequency(self) -> u8 {
        (self.0 >> 35) as u8 & MAX_FREQUENCY
    }

    pub(crate) fn with_history(self, tick: u32, frequency: u8) -> Self {
        let history = (tick % TICKS) << 8 | (frequency.min(MAX_FREQUENCY) as u32) << 3;
        Self(self.0 & 0x7_ffff_ffff | (history as u64) << 32)
    }

    /// The word after one more access.
    #[inline]
    pub(crate) fn touched(self, tick: u32, dice: &mut Dice) -> Self {
        let frequency = self.frequency();
        let counts = frequency < EXACT
            || frequency < MAX_FREQUENCY && dice.one_in_two_to_the(accesses(frequency).trailing_zeros());
        Self((self.0 + u64::from(counts) * FREQUENCY) & 0xff_ffff_ffff | ((tick % TICKS) as u64) << 40)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_stand_for_as_many_accesses_as_there_were() {
        assert_eq!((accesses(16), accesses(17), accesses(MAX_FREQUENCY)), (16, 32, 1 << 19));
        let mut dice = Dice::default();
        let mut after = |uses: u32| {
            let word = (0..uses).fold(Word(0), |word, tick| word.touched(tick, &mut dice));
            accesses(word.frequency())
        };
        assert!((0..=16).all(|uses| after(uses) == uses));
        for uses in [20, 100, 1000, 10_000] {
            let mean = (0..1000).map(|_| f64::from(after(uses))).sum::<f64>() / 1000.0;
            assert!((mean / f64::from(uses) - 1.0).abs() < 0.1, "{mean} for {uses}");
        }
        let most = Word(0).with_history(0, MAX_FREQUENCY);
        assert_eq!(most.touched(7, &mut dice).frequency(), MAX_FREQUENCY);
    }
}
