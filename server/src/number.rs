//! Numbers in arguments: floats and the bounds of score and lexicographic ranges, as Redis 7.4
//! reads them.
//!
//! Redis hands floats to C's `strtod`, and its callers differ in what they let pass: [`parse_f64`]
//! (`string2d` in util.c) refuses everything doubtful, [`strtod`] lets C's habits through, on which
//! the bounds of ZRANGEBYSCORE (`zslParseRange` in t_zset.c) and SORT rely.

use crate::float_literal::{Format, Literal, Rounded};

const BINARY64: Format =
    Format { precision: f64::MANTISSA_DIGITS, min_exponent: -1074, max_exponent: f64::MAX_EXP - 1 };

/// Up to here std parses decimals exactly; it stops counting exponents at 65,536.
const MAX_FAST: usize = 1024;

/// Parses a float argument: decimal, hexadecimal (`0x1p3`) or `inf`. Refuses NaN, spaces, anything
/// trailing, values that overflow, and values other than 0 that round to 0.
pub(crate) fn parse_f64(text: &[u8]) -> Option<f64> {
    let Strtod { value, out_of_range } = parse_whole(text)?;
    let lost = out_of_range && (value.is_infinite() || value == 0.0);
    (!lost).then_some(value)
}

/// What C's `strtod` makes of a string.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Strtod {
    /// The nearest double; infinite on overflow.
    pub(crate) value: f64,
    /// Whether C reports ERANGE: overflow, or a subnormal or zero result that is not exact.
    pub(crate) out_of_range: bool,
}

/// Parses a string by the habits of C: it ends at its first NUL byte, may begin with spaces, and
/// counts as 0 if empty. `None` if a byte is left over, or for NaN.
pub(crate) fn strtod(text: &[u8]) -> Option<Strtod> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(Strtod { value: 0.0, out_of_range: false });
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !is_space(byte))?;
    parse_whole(&text[start..])
}

/// Parses a bound of a score range, `1.5`, `(1.5` or `-inf`, to its value and whether it is
/// exclusive. Overflow gives an infinity; an empty number is 0.
pub(crate) fn parse_score_bound(text: &[u8]) -> Option<(f64, bool)> {
    let (number, exclusive) = match text {
        [b'(', number @ ..] => (number, true),
        _ => (text, false),
    };
    strtod(number).map(|parsed| (parsed.value, exclusive))
}

/// A bound of a lexicographic range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LexBound<'a> {
    /// `-`, below every member.
    Lowest,
    /// `+`, above every member.
    Highest,
    /// `[member`.
    Inclusive(&'a [u8]),
    /// `(member`.
    Exclusive(&'a [u8]),
}

/// Parses a bound of a lexicographic range (`zslParseLexRangeItem` in t_zset.c). `-` and `+` are
/// read as C strings: what follows a NUL byte does not count.
pub(crate) fn parse_lex_bound(text: &[u8]) -> Option<LexBound<'_>> {
    match text {
        [b'-'] | [b'-', 0, ..] => Some(LexBound::Lowest),
        [b'+'] | [b'+', 0, ..] => Some(LexBound::Highest),
        [b'[', member @ ..] => Some(LexBound::Inclusive(member)),
        [b'(', member @ ..] => Some(LexBound::Exclusive(member)),
        _ => None,
    }
}

/// Parses all of `text`, without C's habits about its ends.
fn parse_whole(text: &[u8]) -> Option<Strtod> {
    if let Some(value) = parse_usual(text) {
        return Some(Strtod { value, out_of_range: false });
    }
    let literal = Literal::parse(text)?;
    let rounded = literal.round(BINARY64);
    let (magnitude, out_of_range) = rounded.map_or((f64::INFINITY, false), assemble);
    let value = if literal.negative { -magnitude } else { magnitude };
    Some(Strtod { value, out_of_range })
}

/// Leaves the usual numbers to std: its grammar of decimals is that of C, it rounds as C does, and it
/// is faster. It does not tell whether a result is out of range, but normal ones are not.
fn parse_usual(text: &[u8]) -> Option<f64> {
    if text.len() > MAX_FAST {
        return None;
    }
    let value: f64 = str::from_utf8(text).ok()?.parse().ok()?;
    value.is_normal().then_some(value)
}

/// The double, and whether C reports ERANGE.
fn assemble(rounded: Rounded) -> (f64, bool) {
    const HIDDEN: u64 = 1 << (f64::MANTISSA_DIGITS - 1);
    let Rounded { mantissa, exponent, inexact, overflow } = rounded;
    if overflow {
        (f64::INFINITY, true)
    } else if mantissa < HIDDEN {
        (f64::from_bits(mantissa), inexact)
    } else {
        let biased = (exponent - BINARY64.min_exponent + 1) as u64;
        (f64::from_bits(biased << 52 | (mantissa - HIDDEN)), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: f64) {
        let bits = parse_f64(text.as_bytes()).map(f64::to_bits);
        assert_eq!(bits, Some(expected.to_bits()), "{text}");
    }

    fn refuse(texts: &[&str]) {
        for text in texts {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn decimals() {
        check("0", 0.0);
        check("-0", -0.0);
        check("+1", 1.0);
        check("1.", 1.0);
        check(".5", 0.5);
        check("-.5e1", -5.0);
        check("1E+3", 1000.0);
        check("001.500", 1.5);
        check("0.1", 0.1);
        check("3.14159265358979323846", std::f64::consts::PI);
        check("9007199254740993", 9_007_199_254_740_992.0);
        check("9007199254740993.00000000000000000000000001", 9_007_199_254_740_994.0);
        check("123456789012345678901234567890123456789012345678901234567890", 1.2345678901234568e59);
        check("1.7976931348623157e308", f64::MAX);
        check("1.7976931348623158079e308", f64::MAX);
        check("2.2250738585072014e-308", f64::MIN_POSITIVE);
        check("2.2250738585072011e-308", 2.225_073_858_507_201e-308);
        check("5e-324", 5e-324);
        check("2.4703282292062328e-324", 5e-324);
        check("0e999999999999999999999", 0.0);
        check("0.00e-99999999999", 0.0);
    }

    #[test]
    fn infinities_and_hexadecimals() {
        check("inf", f64::INFINITY);
        check("+InF", f64::INFINITY);
        check("-infinity", f64::NEG_INFINITY);
        check("0x1p3", 8.0);
        check("0X.8", 0.5);
        check("0xA.", 10.0);
        check("-0x1.8P-1", -0.75);
        check("0x1.fffffffffffff7p0", 1.999_999_999_999_999_8);
        check("0x1.fffffffffffff8p0", 2.0);
        check("0x1p-1074", 5e-324);
        check("0x1.00000000000001p-1075", 5e-324);
        check("0x0p99999999999999999999", 0.0);
    }

    #[test]
    fn what_is_no_number() {
        refuse(&["", " 1", "1 ", "\t1", "1\0", "a", "1a", "+", "-", ".", "+-1", "--1", "1..2", "1.2.3"]);
        refuse(&["e5", ".e5", "1e", "1e+", "1e1.5", "1_000", "1,5", "0x", "0x.", "0xg", "0x1p", "0x1p-", "x1"]);
        refuse(&["nan", "-nan", "NaN(1)", "in", "infi", "infinit", "infinityy", "inf ", "i"]);
    }

    #[test]
    fn what_does_not_fit() {
        refuse(&["1e309", "-1e309", "1.7976931348623159e308", "1e99999999999999999999", "0x1p1024"]);
        refuse(&["1e-400", "2.4703282292062327e-324", "0x1p-1075", "-1e-99999999999999999999"]);
    }

    #[test]
    fn exponents_may_make_up_for_many_digits() {
        let zeros = "0".repeat(100_000);
        check(&format!("0.{zeros}1e100001"), 1.0);
        check(&format!("1{zeros}e-100000"), 1.0);
        check(&format!("1{zeros}e-100300"), 1e-300);
        refuse(&[&format!("1{zeros}e-1003000")]);
        check(&format!("1.{zeros}1"), 1.0);
        // Just above halfway between 1 and the next double, by the very last digit.
        check(&format!("1.00000000000000011102230246251565404236316680908203125{zeros}1"), 1.0000000000000002);
        check(&format!("1.00000000000000011102230246251565404236316680908203125{zeros}0"), 1.0);
    }

    #[test]
    fn strtod_takes_what_c_takes() {
        let value = |text: &[u8]| strtod(text).map(|parsed| (parsed.value, parsed.out_of_range));
        assert_eq!(value(b""), Some((0.0, false)));
        assert_eq!(value(b" \t\n\x0b\x0c\r1.5"), Some((1.5, false)));
        assert_eq!(value(b"2\0junk"), Some((2.0, false)));
        assert_eq!(value(b"\0"), Some((0.0, false)));
        assert_eq!(value(b"1e400"), Some((f64::INFINITY, true)));
        assert_eq!(value(b"1e-400"), Some((0.0, true)));
        assert_eq!(value(b"5e-324"), Some((5e-324, true)));
        assert_eq!(value(b"0x1p-1074"), Some((5e-324, false)));
        assert_eq!(value(b"inf"), Some((f64::INFINITY, false)));
        assert_eq!(value(b"  "), None);
        assert_eq!(value(b"1 "), None);
        assert_eq!(value(b"nan"), None);
    }

    #[test]
    fn score_bounds() {
        assert_eq!(parse_score_bound(b"1.5"), Some((1.5, false)));
        assert_eq!(parse_score_bound(b"(1.5"), Some((1.5, true)));
        assert_eq!(parse_score_bound(b"(-inf"), Some((f64::NEG_INFINITY, true)));
        assert_eq!(parse_score_bound(b"+inf"), Some((f64::INFINITY, false)));
        assert_eq!(parse_score_bound(b"-1e400"), Some((f64::NEG_INFINITY, false)));
        assert_eq!(parse_score_bound(b""), Some((0.0, false)));
        assert_eq!(parse_score_bound(b"("), Some((0.0, true)));
        assert_eq!(parse_score_bound(b"( 7"), Some((7.0, true)));
        assert_eq!(parse_score_bound(b" (7"), None);
        assert_eq!(parse_score_bound(b"[7"), None);
        assert_eq!(parse_score_bound(b"(nan"), None);
    }

    #[test]
    fn lex_bounds() {
        assert_eq!(parse_lex_bound(b"-"), Some(LexBound::Lowest));
        assert_eq!(parse_lex_bound(b"+"), Some(LexBound::Highest));
        assert_eq!(parse_lex_bound(b"+\0x"), Some(LexBound::Highest));
        assert_eq!(parse_lex_bound(b"[a\0b"), Some(LexBound::Inclusive(b"a\0b")));
        assert_eq!(parse_lex_bound(b"("), Some(LexBound::Exclusive(b"")));
        for text in [&b""[..], b"a", b"+a", b"-a", b"1"] {
            assert_eq!(parse_lex_bound(text), None);
        }
    }

    /// std rounds correctly as glibc does, so it is the reference where both read the same grammar.
    fn same_as_std(text: &str) -> Result<(), TestCaseError> {
        let expected: f64 = text.parse().unwrap();
        let parsed = strtod(text.as_bytes()).unwrap();
        prop_assert_eq!(parsed.value.to_bits(), expected.to_bits(), "{}", text);
        // Once more the slow way, for std only takes the fast one.
        let rounded = Literal::parse(text.as_bytes()).unwrap().round(BINARY64);
        let magnitude = rounded.map_or(f64::INFINITY, |rounded| assemble(rounded).0);
        prop_assert_eq!(magnitude.to_bits(), expected.abs().to_bits(), "{}", text);
        Ok(())
    }

    proptest! {
        #[test]
        fn decimals_round_as_std_does(text in "[+-]?[0-9]{0,45}[0-9](\\.[0-9]{0,45})?(e[+-]?[0-9]{1,3})?") {
            same_as_std(&text)?;
        }

        #[test]
        fn every_double_survives(bits: u64) {
            let value = f64::from_bits(bits);
            if !value.is_nan() {
                same_as_std(&format!("{value:?}"))?;
                same_as_std(&format!("{value:.25e}"))?;
                check(&hexadecimal(value), value);
            }
        }

        #[test]
        fn subnormals_round_as_std_does(text in "[0-9]\\.[0-9]{0,40}e-3[0-2][0-9]") {
            same_as_std(&text)?;
        }

        #[test]
        fn any_bytes_are_safe(text in prop::collection::vec(prop::sample::select(&b"0179.eEpPxXaf+-infty \0"[..]), 0..16)) {
            let ours = parse_f64(&text);
            let theirs = std::str::from_utf8(&text).unwrap().parse::<f64>().ok();
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                prop_assert_eq!(ours.to_bits(), theirs.to_bits());
            }
            parse_score_bound(&text);
            parse_lex_bound(&text);
        }
    }

    fn hexadecimal(value: f64) -> String {
        if value.is_infinite() {
            return format!("{value}");
        }
        let sign = if value.is_sign_negative() { "-" } else { "" };
        let (exponent, fraction) = (value.to_bits() >> 52 & 0x7ff, value.to_bits() & ((1 << 52) - 1));
        let (first, exponent) = if exponent == 0 { (0, -1022) } else { (1, exponent as i32 - 1023) };
        format!("{sign}0x{first}.{fraction:013x}p{exponent}")
    }
}
