//! Natural numbers of any size: just the arithmetic that exact conversion of floats needs.
//!
//! Schoolbook methods (Knuth, The Art of Computer Programming 2, section 4.3.1). Callers bound the
//! sizes: the largest number met here has some 40,000 bits.
//!
//! Invariant: the limbs stand least first and the last one is never 0, so zero has none.

use std::cmp::Ordering;

/// The greatest power of five in a `u64`, and its exponent.
const FIVES: (u64, u32) = (5u64.pow(27), 27);

/// The greatest power of ten in a `u64`, and its exponent: decimal digits are read and written by so many.
pub(crate) const TENS: (u64, u32) = (10u64.pow(19), 19);

/// A natural number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Natural(Vec<u64>);

impl Natural {
    /// The number that decimal digits write; they are values of 0 to 9, the first one leads.
    pub(crate) fn from_digits(digits: impl Iterator<Item = u8>) -> Natural {
        let mut number = Natural(Vec::new());
        let (mut chunk, mut power) = (0, 1);
        for digit in digits {
            chunk = chunk * 10 + u64::from(digit);
            power *= 10;
            if power == TENS.0 {
                number.multiply_add(power, chunk);
                (chunk, power) = (0, 1);
            }
        }
        number.multiply_add(power, chunk);
        number
    }

    /// `self * factor + addend`, in place.
    pub(crate) fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = addend;
        for limb in &mut self.0 {
            let product = u128::from(*limb) * u128::from(factor) + u128::from(carry);
            *limb = product as u64;
            carry = (product >> 64) as u64;
        }
        if carry > 0 {
            self.0.push(carry);
        }
        self.trim();
    }

    /// `self * 5^exponent`, in place.
    pub(crate) fn multiply_power_of_five(&mut self, exponent: u32) {
        for _ in 0..exponent / FIVES.1 {
            self.multiply_add(FIVES.0, 0);
        }
        self.multiply_add(5u64.pow(exponent % FIVES.1), 0);
    }

    /// `self * 2^bits`, in place.
    pub(crate) fn shift_left(&mut self, bits: u32) {
        let (limbs, bits) = ((bits / 64) as usize, bits % 64);
        // One more limb than whole ones: multiplying by a power of two below 2^64 is the bitwise part.
        self.multiply_add(1 << bits, 0);
        if !self.0.is_empty() {
            self.0.splice(0..0, std::iter::repeat_n(0, limbs));
        }
    }

    /// `self - other`, in place; `other` must not be the greater one.
    pub(crate) fn subtract(&mut self, other: &Natural) {
        let mut borrow = false;
        for (index, limb) in self.0.iter_mut().enumerate() {
            let subtrahend = other.0.get(index).copied().unwrap_or(0);
            (*limb, borrow) = limb.borrowing_sub(subtrahend, borrow);
        }
        debug_assert!(!borrow, "the difference of naturals is negative");
        self.trim();
    }

    /// Divides by `divisor` (not 0) in place and returns the remainder.
    pub(crate) fn divide(&mut self, divisor: u64) -> u64 {
        let mut remainder = 0;
        for limb in self.0.iter_mut().rev() {
            let dividend = u128::from(remainder) << 64 | u128::from(*limb);
            *limb = (dividend / u128::from(divisor)) as u64;
            remainder = (dividend % u128::from(divisor)) as u64;
        }
        self.trim();
        remainder
    }

    /// Whether this is 0.
    pub(crate) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of bits, without leading zeros; 0 of 0.
    pub(crate) fn bits(&self) -> u32 {
        self.0.last().map_or(0, |top| self.0.len() as u32 * 64 - top.leading_zeros())
    }

    /// The leading bits (at least 65 of a number that has as many), how many bits follow them, and
    /// whether any of those is set.
    pub(crate) fn leading(&self) -> (u128, u32, bool) {
        let kept = self.0.len().saturating_sub(2);
        let (rest, top) = self.0.split_at(kept);
        let top = top.iter().rev().fold(0, |top, &limb| top << 64 | u128::from(limb));
        (top, kept as u32 * 64, rest.iter().any(|&limb| limb != 0))
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

impl From<u64> for Natural {
    fn from(value: u64) -> Natural {
        let mut number = Natural(vec![value]);
        number.trim();
        number
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Natural) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Natural {
    fn cmp(&self, other: &Natural) -> Ordering {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn natural(value: u128) -> Natural {
        let mut number = Natural(vec![value as u64, (value >> 64) as u64]);
        number.trim();
        number
    }

    fn from_text(digits: &str) -> Natural {
        Natural::from_digits(digits.bytes().map(|digit| digit - b'0'))
    }

    #[test]
    fn zero_has_no_limbs() {
        let mut zero = from_text("");
        assert_eq!(zero, Natural::from(0));
        assert_eq!(zero, from_text("000"));
        zero.shift_left(200);
        zero.multiply_power_of_five(100);
        assert!(zero.is_zero());
        assert_eq!((zero.bits(), zero.leading()), (0, (0, 0, false)));
    }

    #[test]
    fn powers_of_five_and_two_make_powers_of_ten() {
        let mut power = Natural::from(1);
        power.multiply_power_of_five(60);
        power.shift_left(60);
        assert_eq!(power, from_text(&format!("1{}", "0".repeat(60))));
        assert_eq!(power.divide(TENS.0), 0);
        assert_eq!(power.divide(TENS.0), 0);
        assert_eq!(power, from_text(&format!("1{}", "0".repeat(22))));
    }

    #[test]
    fn leading_bits_tell_of_the_rest() {
        let mut number = natural(1 << 100 | 5);
        number.shift_left(64);
        assert_eq!(number.leading(), (1 << 100 | 5, 64, false));
        number.multiply_add(1, 1);
        assert_eq!(number.leading(), (1 << 100 | 5, 64, true));
        assert_eq!(number.bits(), 165);
    }

    proptest! {
        #[test]
        fn same_as_128_bits(a in any::<u128>(), shift in 0..128u32, b in any::<u128>(), small in 1..u64::MAX) {
            let (a, b) = (a >> shift, b >> shift);
            let (greater, less) = (a.max(b), a.min(b));
            prop_assert_eq!(natural(a).cmp(&natural(b)), a.cmp(&b));
            prop_assert_eq!(natural(a).bits(), 128 - a.leading_zeros());
            prop_assert_eq!(from_text(&a.to_string()), natural(a));

            let mut difference = natural(greater);
            difference.subtract(&natural(less));
            prop_assert_eq!(difference, natural(greater - less));

            let mut quotient = natural(a);
            prop_assert_eq!(u128::from(quotient.divide(small)), a % u128::from(small));
            prop_assert_eq!(&quotient, &natural(a / u128::from(small)));
            quotient.multiply_add(small, (a % u128::from(small)) as u64);
            prop_assert_eq!(quotient, natural(a));

            let mut shifted = natural(a >> shift);
            shifted.shift_left(shift);
            prop_assert_eq!(shifted, natural(a >> shift << shift));
        }
    }
}
