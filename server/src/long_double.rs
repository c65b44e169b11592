//! The 80-bit floats of INCRBYFLOAT and HINCRBYFLOAT, in software.
//!
//! Redis on x86-64 reads these values with `strtold`, adds them as x87 `long double` (64 bits of
//! mantissa, 15 of exponent) and prints them with `%.17Lf`. Clients see the digits, so a drop-in
//! replacement needs the same ones, on every platform: reading, adding and printing here are exact
//! with one rounding to the nearest, ties to even (IEEE 754; format: Intel SDM volume 1, 4.2.2).
//! The rules of text are those of `string2ld` and `ld2string` with LD_STR_HUMAN in Redis 7.4's util.c.
//!
//! Invariant: the mantissa of a finite value has its top bit set unless the exponent is the
//! smallest, so equal values have equal fields.

use crate::float_literal::{Format, Literal, Rounded};
use crate::natural::{Natural, TENS};
use std::ops::Add;

const EXTENDED: Format = Format { precision: 64, min_exponent: -16_445, max_exponent: 16_383 };

/// Texts of this many bytes or more are refused (MAX_LONG_DOUBLE_CHARS of Redis).
const MAX_TEXT: usize = 5 * 1024;

/// Decimals that are printed, and that power of ten.
const DECIMALS: (usize, u128) = (17, 10u128.pow(17));

/// An x87 extended precision value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LongDouble {
    /// `mantissa * 2^exponent`; zero has a sign as well.
    Finite {
        /// Whether the sign is set.
        negative: bool,
        /// All 64 bits of the mantissa.
        mantissa: u64,
        /// The exponent of the mantissa's last bit.
        exponent: i32,
    },
    /// An infinity.
    Infinite {
        /// Whether it is the negative one.
        negative: bool,
    },
    /// Infinity minus infinity.
    NotANumber,
}

impl LongDouble {
    /// Parses an argument or a stored value: decimal, hexadecimal or `inf`. Refuses NaN, spaces,
    /// anything trailing, texts of 5 KiB, overflow, and values other than 0 that round to 0.
    pub(crate) fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() >= MAX_TEXT {
            return None;
        }
        let literal = Literal::parse(text)?;
        let negative = literal.negative;
        match literal.round(EXTENDED) {
            None => Some(LongDouble::Infinite { negative }),
            Some(Rounded { overflow: true, .. } | Rounded { mantissa: 0, inexact: true, .. }) => None,
            Some(rounded) => Some(LongDouble::from_rounded(negative, rounded)),
        }
    }

    /// Whether this is neither infinite nor NaN; INCRBYFLOAT refuses a sum that is not.
    pub(crate) fn is_finite(&self) -> bool {
        matches!(self, LongDouble::Finite { .. })
    }

    /// A thousand times the value, rounded up; `None` for more than an `i64` holds, and the smallest one for less.
    pub(crate) fn thousandfold(&self) -> Option<i64> {
        let (negative, mantissa, exponent) = match *self {
            Self::Finite { negative, mantissa, exponent } => (negative, mantissa, exponent),
            Self::Infinite { negative: true } => return Some(i64::MIN),
            _ => return None,
        };
        let product = u128::from(mantissa) * 1000;
        let magnitude = if exponent >= 0 {
            if product.leading_zeros() < exponent as u32 { u128::MAX } else { product << exponent }
        } else {
            let shift = exponent.unsigned_abs();
            let whole = product.checked_shr(shift).unwrap_or(0);
            let is_exact = product == 0 || product.trailing_zeros() >= shift;
            whole + u128::from(!negative && !is_exact)
        };
        match i64::try_from(magnitude) {
            Ok(value) => Some(if negative { -value } else { value }),
            Err(_) => negative.then_some(i64::MIN),
        }
    }

    /// Appends the value as `%.17Lf` prints it, without trailing zeros and point, and `-0` as `0`;
    /// `inf`, `-inf` and `nan` for the others. At most 4934 bytes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match *self {
            LongDouble::Finite { negative, mantissa, exponent } if exponent > 0 => {
                write_integer(negative, mantissa, exponent as u32, out);
            }
            LongDouble::Finite { negative, mantissa, exponent } => {
                write_decimal(negative, mantissa, exponent.unsigned_abs(), out);
            }
            LongDouble::Infinite { negative } => out.extend_from_slice(if negative { b"-inf" } else { b"inf" }),
            LongDouble::NotANumber => out.extend_from_slice(b"nan"),
        }
    }

    fn from_rounded(negative: bool, rounded: Rounded) -> LongDouble {
        let Rounded { mantissa, exponent, overflow, .. } = rounded;
        if overflow { LongDouble::Infinite { negative } } else { LongDouble::Finite { negative, mantissa, exponent } }
    }
}

impl From<i64> for LongDouble {
    fn from(value: i64) -> LongDouble {
        let rounded = EXTENDED.round(u128::from(value.unsigned_abs()), 0, false);
        LongDouble::from_rounded(value < 0, rounded)
    }
}

impl From<f64> for LongDouble {
    fn from(value: f64) -> LongDouble {
        let negative = value.is_sign_negative();
        if value.is_nan() {
            return LongDouble::NotANumber;
        } else if value.is_infinite() {
            return LongDouble::Infinite { negative };
        }
        let (biased, fraction) = (value.to_bits() >> 52 & 0x7ff, value.to_bits() & ((1 << 52) - 1));
        let hidden = u64::from(biased != 0) << 52;
        let rounded = EXTENDED.round(u128::from(fraction | hidden), biased.max(1) as i64 - 1075, false);
        LongDouble::from_rounded(negative, rounded)
    }
}

impl Add for LongDouble {
    type Output = LongDouble;

    fn add(self, other: LongDouble) -> LongDouble {
        use LongDouble::{Finite, Infinite, NotANumber};
        match (self, other) {
            (NotANumber, _) | (_, NotANumber) => NotANumber,
            (Infinite { negative: a }, Infinite { negative: b }) if a != b => NotANumber,
            (Infinite { negative }, _) | (_, Infinite { negative }) => Infinite { negative },
            (
                Finite { negative: a, mantissa: left, exponent: upper },
                Finite { negative: b, mantissa: right, exponent: lower },
            ) => {
                if (upper, left) >= (lower, right) {
                    add_finite((a, left, upper), (b, right, lower))
                } else {
                    add_finite((b, right, lower), (a, left, upper))
                }
            }
        }
    }
}

/// Adds (sign, mantissa, exponent) of two finite values, the first one of the greater magnitude.
fn add_finite(greater: (bool, u64, i32), smaller: (bool, u64, i32)) -> LongDouble {
    // One bit above is left for a carry; 63 bits below are more than cancellation can bring up, for
    // if bits of the smaller one are lost, then at most one leading bit cancels.
    const ROOM: u32 = 63;
    let distance = greater.2.abs_diff(smaller.2);
    let upper = u128::from(greater.1) << ROOM;
    let aligned = u128::from(smaller.1) << ROOM;
    let lower = aligned.checked_shr(distance).unwrap_or(0);
    let sticky = lower.checked_shl(distance) != Some(aligned) && aligned != 0;
    let sum = if greater.0 == smaller.0 {
        upper + lower
    } else {
        // What was lost of the smaller one takes a unit away and leaves the unit's rest.
        upper - lower - u128::from(sticky)
    };
    let negative = match sum {
        0 => greater.0 && smaller.0,
        _ => greater.0,
    };
    let exponent = i64::from(greater.2) - i64::from(ROOM);
    LongDouble::from_rounded(negative, EXTENDED.round(sum, exponent, sticky))
}

/// Writes `mantissa * 2^exponent`, an integer of any size.
fn write_integer(negative: bool, mantissa: u64, exponent: u32, out: &mut Vec<u8>) {
    let mut rest = Natural::from(mantissa);
    rest.shift_left(exponent);
    let mut chunks = Vec::new();
    while !rest.is_zero() {
        chunks.push(rest.divide(TENS.0));
    }
    out.extend(negative.then_some(b'-'));
    write_digits(chunks.pop().unwrap_or(0), 1, out);
    for &chunk in chunks.iter().rev() {
        write_digits(chunk, TENS.1 as usize, out);
    }
}

/// Writes `mantissa / 2^bits` to 17 decimals, and drops zeros at the end.
fn write_decimal(negative: bool, mantissa: u64, bits: u32, out: &mut Vec<u8>) {
    let integer = mantissa.checked_shr(bits).unwrap_or(0);
    let fraction = mantissa - integer.checked_shl(bits).unwrap_or(0);
    // Below 2^121, so half a unit of a greater shift cannot be reached either.
    let scaled = u128::from(fraction) * DECIMALS.1;
    let mut decimals = scaled.checked_shr(bits).unwrap_or(0);
    let rest = scaled - decimals.checked_shl(bits).unwrap_or(0);
    let half = 1u128.checked_shl(bits).unwrap_or(u128::MAX) >> 1;
    if bits > 0 && (rest > half || (rest == half && decimals & 1 == 1)) {
        decimals += 1;
    }
    let (integer, decimals) = (integer + (decimals / DECIMALS.1) as u64, (decimals % DECIMALS.1) as u64);
    out.extend((negative && (integer, decimals) != (0, 0)).then_some(b'-'));
    write_digits(integer, 1, out);
    if decimals != 0 {
        out.push(b'.');
        write_digits(decimals, DECIMALS.0, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Writes a number with at least `width` digits.
fn write_digits(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while value > 0 {
        start -= 1;
        digits[start] += (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[start.min(digits.len() - width)..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> LongDouble {
        LongDouble::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is refused"))
    }

    fn print(value: LongDouble) -> String {
        let mut out = Vec::new();
        value.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// A stored value, an increment, and what INCRBYFLOAT of Redis 7.4.1 answered on x86-64.
    const SUMS: &[(&str, &str, &str)] = &[
        ("10.5", "0.1", "10.6"),
        ("5.0e3", "2.0e2", "5200"),
        ("0.1", "0.2", "0.3"),
        ("3.0", "1.000000000000000005", "4.00000000000000001"),
        ("0", "1e-17", "0.00000000000000001"),
        ("0", "5e-18", "0"),
        ("0", "-5e-18", "0"),
        ("0", "1.5e-17", "0.00000000000000002"),
        ("-0", "-0", "0"),
        ("1", "-1", "0"),
        ("1e-20", "-3e-20", "0"),
        ("1234.56", "0", "1234.56000000000000005"),
        ("-1234.56", "1000", "-234.56000000000000005"),
        ("9223372036854775807", "1", "9223372036854775808"),
        ("18446744073709551615", "1", "18446744073709551616"),
        ("18446744073709551616", "1", "18446744073709551616"),
        ("18446744073709551616", "3", "18446744073709551620"),
        ("-18446744073709551617", "0", "-18446744073709551616"),
        ("1e19", "0.5", "10000000000000000000"),
        ("12345678901234567.5", "0.25", "12345678901234567.75"),
        ("1e22", "-1e22", "0"),
        ("1e30", "1", "1000000000000000000024696061952"),
        ("1e40", "-1e22", "9999999999999999989748657316172260179968"),
        ("123456789012345678901234567890", "0", "123456789012345678899921813504"),
        ("0x1p-1", "0x1.8p1", "3.5"),
        ("0X.8P4", "1e0", "9"),
        ("3.6451995318824746025e-4951", "0", "0"),
        ("0.99999999999999999", "0.00000000000000001", "1"),
        ("0.999999999999999999", "0", "1"),
        ("0x1p-18", "0", "0.00000381469726562"),
        ("0x3p-18", "0", "0.00001144409179688"),
        ("0x1p63", "-0x1p-1", "9223372036854775807.5"),
        ("0x1.fffffffffffffffep63", "0x1p-1", "18446744073709551616"),
        ("0x1.fffffffffffffffep63", "0x1.8p0", "18446744073709551616"),
        (
            "1e100",
            "1e83",
            "10000000000000000099269077010577241275037517484901486898340101551749406233662479784665535431204405248",
        ),
    ];

    #[test]
    fn sums_are_those_of_redis() {
        for (value, increment, expected) in SUMS {
            assert_eq!(&print(parse(value) + parse(increment)), expected, "{value} {increment}");
        }
    }

    #[test]
    fn the_greatest_values_print_in_full() {
        let text = print(parse("0x1p16383") + parse("-0x1p16320"));
        assert_eq!(text.len(), 4932);
        assert!(text.starts_with("594865747678615882478384189716"));
        assert!(text.ends_with("472580374196038441477007736832"));
        assert_eq!(print(parse(&text)), text);
        assert_eq!(print(parse("-1.189731495357231765e4932")).len(), 4934);
    }

    #[test]
    fn what_is_refused() {
        let texts = [
            "",
            " 1",
            "1 ",
            "nan",
            "abc",
            "1e",
            "0x",
            "1.5.5",
            "1e4933",
            "-1e4933",
            "1e-4952",
            "1.18973149535723176509e4932",
            "1.8225997659412373012e-4951",
            "0x1p16384",
            "0x1p-16446",
        ];
        for text in texts {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        let long = "0".repeat(MAX_TEXT - 1);
        assert_eq!(LongDouble::parse(long.as_bytes()), Some(LongDouble::from(0)));
        assert_eq!(LongDouble::parse(format!("0{long}").as_bytes()), None);
    }

    #[test]
    fn the_smallest_values_are_kept() {
        let least = LongDouble::Finite { negative: false, mantissa: 1, exponent: -16_445 };
        assert_eq!(parse("0x1p-16445"), least);
        assert_eq!(parse("1.8225997659412373013e-4951"), least);
        let twice = LongDouble::Finite { negative: false, mantissa: 2, exponent: -16_445 };
        assert_eq!(least + least, twice);
        assert_eq!(twice + parse("-0x1p-16445"), least);
        assert_eq!(parse("0x1p-16382") + parse("-0x1p-16445"), parse("0x0.fffffffffffffffep-16382"));
    }

    #[test]
    fn infinities() {
        let (up, down) = (parse("+Infinity"), parse("-inf"));
        assert_eq!(up + down, LongDouble::NotANumber);
        assert_eq!(up + up, up);
        assert_eq!(parse("1") + down, down);
        assert_eq!(parse("1e4932") + parse("1e4932"), up);
        assert_eq!(up + down + up, LongDouble::NotANumber);
        assert_eq!([up, down, up + down].map(print), ["inf", "-inf", "nan"]);
        assert!(!up.is_finite() && !(up + down).is_finite() && parse("1e4932").is_finite());
    }

    #[test]
    fn zeros_keep_their_sign_as_ieee_754_says() {
        let (plus, minus) = (parse("0"), parse("-0"));
        assert_eq!(minus + minus, minus);
        assert_eq!(minus + plus, plus);
        assert_eq!(parse("1") + parse("-1"), plus);
        assert_eq!([plus, minus].map(print), ["0", "0"]);
    }

    #[test]
    fn bits_beyond_the_mantissa_round_the_sum() {
        // Spacing here is 2; the lost part decides between 2^64 and its neighbours.
        let base = parse("0x1p64");
        assert_eq!(base + parse("1"), base);
        assert_eq!(base + parse("0x1.0000000000000002p0"), parse("0x1.0000000000000002p64"));
        assert_eq!(base + parse("-0.5"), base);
        assert_eq!(base + parse("-0x1.0000000000000002p-1"), parse("0x0.ffffffffffffffffp64"));
        assert_eq!(base + parse("-0x1p-16000"), base);
        assert_eq!(base + parse("-1"), parse("0x0.ffffffffffffffffp64"));
    }

    #[test]
    fn a_thousandfold_is_rounded_up() {
        let of = |text: &str| parse(text).thousandfold();
        let exact =
            [("0", 0), ("-0", 0), ("1", 1000), ("0.5", 500), ("-0.25", -250), ("9e15", 9_000_000_000_000_000_000)];
        exact.iter().for_each(|(text, expected)| assert_eq!(of(text), Some(*expected), "{text}"));
        assert_eq!([of("0.0001"), of("1e-4000"), of("-0.0001"), of("0.1234")], [Some(1), Some(1), Some(0), Some(124)]);
        assert_eq!([of("1e16"), of("1e300"), of("inf")], [None; 3]);
        assert_eq!([of("-1e300"), of("-inf")], [Some(i64::MIN); 2]);
    }

    proptest! {
        #[test]
        fn integers_add_and_print_exactly(a: i64, b: i64) {
            let sum = i128::from(a) + i128::from(b);
            prop_assert_eq!(print(LongDouble::from(a) + LongDouble::from(b)), sum.to_string());
        }

        #[test]
        fn doubles_convert_and_print_as_std_does(bits: u64) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let exact = format!("{value:.17}");
                let trimmed = exact.trim_end_matches('0').trim_end_matches('.');
                let expected = if trimmed == "-0" { "0" } else { trimmed };
                prop_assert_eq!(print(LongDouble::from(value)), expected);
            }
        }

        #[test]
        fn doubles_parse_exactly(mantissa in 0..1u64 << 53, exponent in -40..40i32) {
            let value = mantissa as f64 * f64::from(exponent).exp2();
            prop_assert_eq!(parse(&format!("{value:.60}")), LongDouble::from(value));
        }

        #[test]
        fn sums_round_as_the_decimal_of_the_exact_sum(a: u64, b: u64, shift in 0..64, signs: (bool, bool)) {
            // The sum as one integer, which goes the way of parsing instead of adding.
            let signed = |negative: bool, value: i128| if negative { -value } else { value };
            let (left, right) = (signed(signs.0, i128::from(a >> 1) << shift), signed(signs.1, i128::from(b)));
            let sum = parse(&left.to_string()) + parse(&right.to_string());
            if i128::from(a >> 1) << shift >> shift == i128::from(a >> 1) {
                prop_assert_eq!(sum, parse(&(left + right).to_string()));
            }
        }

        #[test]
        fn what_is_printed_parses(a: u64, exponent in -16_445..16_320i64) {
            let value = LongDouble::from_rounded(false, EXTENDED.round(u128::from(a), exponent, false));
            let text = print(value);
            prop_assert!(text.len() <= 4934);
            let again = parse(&text);
            // 17 decimals lose nothing of an integer.
            if exponent >= 0 {
                prop_assert_eq!(again, value);
            }
            prop_assert_eq!(print(again), text);
        }
    }
}
