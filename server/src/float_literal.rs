//! Floating point literals as C's `strtod` and `strtold` read them, and their exact rounding.
//!
//! [`Literal::parse`] knows the grammar (ISO C 7.22.1.3 in the "C" locale, as glibc does it):
//! `inf`, `infinity`, decimal and `0x` hexadecimal digits with an optional point and exponent, case
//! ignored. It takes the whole text or nothing: no space, no trailing byte. NaN is no literal here,
//! for every command of Redis refuses it.
//!
//! [`Literal::round`] gives the nearest value of a binary [`Format`], ties to even, whatever the
//! length of the text. Short literals take one 128-bit division; the others divide big integers
//! (the "AlgorithmM" of Clinger, "How to Read Floating Point Numbers Accurately", 1990, with
//! fractions scaled first). Digits beyond any that can matter only count as "not zero", so time
//! beyond one pass over the text is bounded.

use crate::natural::Natural;

/// Beyond this many significant digits only the presence of a non-zero digit can matter: no
/// boundary between two 80-bit floats has more than 11,600.
const MAX_DIGITS: usize = 12_000;

/// Values of 10^5000 and above overflow every format, values below 10^-5000 underflow.
const MAX_MAGNITUDE: i64 = 5000;

/// Decimal exponents up to this size are a factor that fits 63 bits, apart from its power of two.
const MAX_SMALL_POWER: u64 = 27;

/// Written exponents stop growing here. A text would need as many digits to make up for it.
const MAX_EXPONENT: i64 = 1 << 40;

/// A binary floating point format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    /// Bits of the mantissa, the leading one included; at most 64.
    pub(crate) precision: u32,
    /// Exponent of the last bit of the smallest (subnormal) values.
    pub(crate) min_exponent: i32,
    /// Exponent of the first bit of the greatest values.
    pub(crate) max_exponent: i32,
}

/// The nearest value of a format: `mantissa * 2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rounded {
    /// Has all bits of the precision, or is that of a subnormal value, or 0.
    pub(crate) mantissa: u64,
    /// At least the format's `min_exponent`; without meaning if the value overflows.
    pub(crate) exponent: i32,
    /// Whether the value differs from the exact one.
    pub(crate) inexact: bool,
    /// Whether the value is beyond the greatest one, so infinite.
    pub(crate) overflow: bool,
}

impl Format {
    /// Rounds `top * 2^exponent`, plus less than a unit of `top` if `sticky`. A sticky `top` must
    /// have more bits than the precision.
    pub(crate) fn round(self, top: u128, exponent: i64, sticky: bool) -> Rounded {
        if top == 0 {
            return Rounded { mantissa: 0, exponent: self.min_exponent, inexact: false, overflow: false };
        }
        let bits = i64::from(u128::BITS - top.leading_zeros());
        let precision = i64::from(self.precision);
        let mut last = (exponent + bits - precision).max(i64::from(self.min_exponent));
        let (mut mantissa, inexact) = match last - exponent {
            shift @ ..=0 => (top << -shift, sticky),
            shift @ 1..=128 => {
                let kept = top.checked_shr(shift as u32).unwrap_or(0);
                let rest = top << (128 - shift);
                let half = 1 << 127;
                let up = rest > half || (rest == half && (sticky || kept & 1 == 1));
                (kept + u128::from(up), rest != 0 || sticky)
            }
            _ => (0, true),
        };
        if mantissa >> precision != 0 {
            mantissa >>= 1;
            last += 1;
        }
        let overflow = mantissa != 0 && last + precision - 1 > i64::from(self.max_exponent);
        let exponent = if overflow { self.max_exponent } else { last as i32 };
        Rounded { mantissa: mantissa as u64, exponent, inexact: inexact || overflow, overflow }
    }
}

/// A literal: its sign and its magnitude.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Literal<'a> {
    /// Whether a `-` stands in front (of a zero too).
    pub(crate) negative: bool,
    /// The value without the sign.
    pub(crate) magnitude: Magnitude<'a>,
}

/// The magnitude of a literal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Magnitude<'a> {
    /// `inf` or `infinity`, spelled out.
    Infinity,
    /// Digits times a power of ten.
    Decimal(Digits<'a>),
    /// Hexadecimal digits times a power of two.
    Hexadecimal(Digits<'a>),
}

/// Digits as written: an integer, times the base of the exponent to the power of `exponent`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digits<'a> {
    /// From the first digit that is not 0 to the last one; a point may stand among them.
    written: &'a [u8],
    /// How many digits those are; 0 of a zero.
    count: usize,
    /// The exponent of the last digit.
    exponent: i64,
}

impl<'a> Literal<'a> {
    /// Reads the whole of `text`.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Literal<'a>> {
        let (negative, rest) = split_sign(text);
        let magnitude = match rest {
            [b'i' | b'I', ..] => {
                let infinite = rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity");
                infinite.then_some(Magnitude::Infinity)?
            }
            [b'0', b'x' | b'X', rest @ ..] => Magnitude::Hexadecimal(Digits::parse_hexadecimal(rest)?),
            _ => Magnitude::Decimal(Digits::parse_decimal(rest)?),
        };
        Some(Literal { negative, magnitude })
    }

    /// The nearest value of `format` to the magnitude; `None` of an infinity.
    pub(crate) fn round(&self, format: Format) -> Option<Rounded> {
        let (top, exponent, sticky) = match self.magnitude {
            Magnitude::Infinity => return None,
            Magnitude::Decimal(digits) => digits.scale_decimal(),
            Magnitude::Hexadecimal(digits) => digits.scale_hexadecimal(),
        };
        Some(format.round(top, exponent, sticky))
    }
}

impl<'a> Digits<'a> {
    fn parse_decimal(text: &'a [u8]) -> Option<Digits<'a>> {
        let (digits, rest) = Digits::split(text, u8::is_ascii_digit)?;
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => parse_exponent(rest)?,
            _ => return None,
        };
        Some(Digits { exponent: exponent + digits.exponent, ..digits })
    }

    fn parse_hexadecimal(text: &'a [u8]) -> Option<Digits<'a>> {
        let (digits, rest) = Digits::split(text, u8::is_ascii_hexdigit)?;
        let exponent = match rest {
            [] => 0,
            [b'p' | b'P', rest @ ..] => parse_exponent(rest)?,
            _ => return None,
        };
        Some(Digits { exponent: exponent + digits.exponent * 4, ..digits })
    }

    /// Splits off the longest run of digits with at most one point; there must be a digit. The
    /// exponent counts the digits behind the point.
    fn split(text: &'a [u8], is_digit: impl Fn(&u8) -> bool) -> Option<(Digits<'a>, &'a [u8])> {
        let mut point = None;
        let mut first = None;
        let mut end = 0;
        while let Some(byte) = text.get(end) {
            if *byte == b'.' && point.is_none() {
                point = Some(end);
            } else if !is_digit(byte) {
                break;
            } else if *byte != b'0' && first.is_none() {
                first = Some(end);
            }
            end += 1;
        }
        if end == usize::from(point.is_some()) {
            return None;
        }
        let behind_point = point.map_or(0, |point| end - point - 1);
        let first = first.unwrap_or(end);
        let has_point = point.is_some_and(|point| point > first);
        let digits = Digits {
            written: &text[first..end],
            count: end - first - usize::from(has_point),
            exponent: -(behind_point as i64),
        };
        Some((digits, &text[end..]))
    }

    fn values(&self) -> impl Iterator<Item = u8> + use<'a> {
        let digits = self.written.iter().filter(|&&byte| byte != b'.');
        digits.map(|&byte| match byte {
            b'0'..=b'9' => byte - b'0',
            letter => (letter | 0x20) - b'a' + 10,
        })
    }

    /// The integer of the digits and its decimal exponent, if it is sure to fit.
    fn small(&self) -> Option<(u128, i64)> {
        if self.count <= 19 {
            let integer = self.values().fold(0, |sum, digit| sum * 10 + u64::from(digit));
            return Some((u128::from(integer), self.exponent));
        }
        let fits = self.count <= 38;
        fits.then(|| (self.values().fold(0, |sum, digit| sum * 10 + u128::from(digit)), self.exponent))
    }

    /// Whether all digits are 0.
    fn is_zero(&self) -> bool {
        self.count == 0
    }

    /// Arguments of [`Format::round`] for decimal digits.
    fn scale_decimal(&self) -> (u128, i64, bool) {
        let magnitude = self.count as i64 + self.exponent;
        if self.is_zero() {
            return (0, 0, false);
        }
        if magnitude.abs() > MAX_MAGNITUDE {
            return (1, magnitude.signum() * MAX_EXPONENT, false);
        }
        let small = self.small().and_then(|(integer, exponent)| scale_small(integer, exponent));
        small.unwrap_or_else(|| self.scale_big())
    }

    fn scale_big(&self) -> (u128, i64, bool) {
        let dropped = self.count.saturating_sub(MAX_DIGITS);
        let mut exponent = self.exponent + dropped as i64;
        let mut integer = Natural::from_digits(self.values().take(self.count - dropped));
        if self.values().skip(MAX_DIGITS).any(|digit| digit != 0) {
            integer.multiply_add(10, 1);
            exponent -= 1;
        }
        if exponent >= 0 {
            integer.multiply_power_of_five(exponent as u32);
            let (top, bits, sticky) = integer.leading();
            (top, exponent + i64::from(bits), sticky)
        } else {
            let mut divisor = Natural::from(1);
            divisor.multiply_power_of_five(exponent.unsigned_abs() as u32);
            let (quotient, shift, sticky) = divide(integer, divisor);
            (quotient, exponent + shift, sticky)
        }
    }

    /// Arguments of [`Format::round`] for hexadecimal digits.
    fn scale_hexadecimal(&self) -> (u128, i64, bool) {
        let (mut top, mut exponent, mut sticky) = (0, self.exponent, false);
        for digit in self.values() {
            if top >> 124 == 0 {
                top = top << 4 | u128::from(digit);
            } else {
                exponent += 4;
                sticky |= digit != 0;
            }
        }
        (top, exponent, sticky)
    }
}

/// `integer * 10^exponent`, where that needs no more than 128 bits and one division.
fn scale_small(integer: u128, exponent: i64) -> Option<(u128, i64, bool)> {
    let power = exponent.unsigned_abs();
    if power > MAX_SMALL_POWER {
        return None;
    }
    let factor = u128::from(5u64.pow(power as u32));
    if exponent >= 0 {
        return Some((integer.checked_mul(factor)?, exponent, false));
    }
    // Below 2^63, so the quotient keeps at least 65 bits.
    let shift = integer.leading_zeros();
    let dividend = integer << shift;
    Some((dividend / factor, exponent - i64::from(shift), !dividend.is_multiple_of(factor)))
}

/// The leading bits (at least 70) of `dividend / divisor`, neither of them 0; the exponent of the
/// last of them, and whether anything follows.
fn divide(mut dividend: Natural, mut divisor: Natural) -> (u128, i64, bool) {
    const BITS: i64 = 71;
    let (above, below) = (dividend.bits(), divisor.bits());
    dividend.shift_left(below.saturating_sub(above));
    divisor.shift_left(above.saturating_sub(below));
    let mut quotient = 0;
    for _ in 0..BITS {
        quotient <<= 1;
        if dividend >= divisor {
            dividend.subtract(&divisor);
            quotient |= 1;
        }
        dividend.shift_left(1);
    }
    let exponent = i64::from(above) - i64::from(below) - (BITS - 1);
    (quotient, exponent, !dividend.is_zero())
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() {
        return None;
    }
    let mut exponent = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        exponent = MAX_EXPONENT.min(exponent * 10 + i64::from(digit - b'0'));
    }
    Some(if negative { -exponent } else { exponent })
}

fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Four bits of mantissa: values from 2^-6 (in steps of 2^-6) to 15 * 2^4.
    const TINY: Format = Format { precision: 4, min_exponent: -6, max_exponent: 7 };

    fn check(text: &str, mantissa: u64, exponent: i32, inexact: bool) {
        let expected = Rounded { mantissa, exponent, inexact, overflow: false };
        assert_eq!(Literal::parse(text.as_bytes()).unwrap().round(TINY), Some(expected), "{text}");
    }

    #[test]
    fn ties_go_to_even() {
        check("10", 10, 0, false);
        check("16.9", 8, 1, true);
        check("17", 8, 1, true);
        check("17.00000000000000000000000000000000000000000001", 9, 1, true);
        check("18", 9, 1, false);
        check("19", 10, 1, true);
        check("0x1.3p4", 10, 1, true);
        check("0x1.2fffffffffffffffffffffffffffffffffffffffp4", 9, 1, true);
        check("0x1.30000000000000000000000000000000000000001p4", 10, 1, true);
    }

    #[test]
    fn rounding_up_may_carry_into_the_exponent() {
        check("31", 8, 2, true);
        check("0.124", 8, -6, true);
        check("247.9", 15, 4, true);
    }

    #[test]
    fn small_values_are_subnormal() {
        check("0.015625", 1, -6, false);
        check("0.0078125", 0, -6, true);
        check("0.0078126", 1, -6, true);
        check("1e-4999", 0, -6, true);
        check("1e-99999999999999999999", 0, -6, true);
        check("0e-99999999999999999999", 0, -6, false);
        check("0x1p-99999999999999999999", 0, -6, true);
    }

    #[test]
    fn great_values_overflow() {
        for text in ["248", "1e4999", "1e99999999999999999999", "0x1p8", "0x1p99999999999999999999"] {
            let rounded = Literal::parse(text.as_bytes()).unwrap().round(TINY).unwrap();
            assert!(rounded.overflow && rounded.inexact, "{text}");
        }
        assert_eq!(Literal::parse(b"-inf").unwrap().round(TINY), None);
    }

    #[test]
    fn digits_without_number_take_bounded_time() {
        let text = "7".repeat(20 << 20);
        for text in [format!("0.{text}"), format!("{text}e-{}", text.len()), format!("0x.{text}")] {
            let rounded = Literal::parse(text.as_bytes()).unwrap().round(TINY).unwrap();
            let expected = if text.starts_with("0x") { 15 } else { 12 };
            assert_eq!(rounded.mantissa, expected);
        }
    }

    proptest! {
        #[test]
        fn long_and_short_ways_agree(integer in "[1-9][0-9]{0,37}", exponent in -27..=27i64) {
            const WIDE: Format = Format { precision: 64, min_exponent: -16_445, max_exponent: 16_383 };
            let digits = Digits { written: integer.as_bytes(), count: integer.len(), exponent };
            let (top, last, sticky) = digits.scale_big();
            let long = WIDE.round(top, last, sticky);
            if let Some((top, last, sticky)) = scale_small(integer.parse().unwrap(), exponent) {
                prop_assert_eq!(WIDE.round(top, last, sticky), long);
            }
        }
    }
}
