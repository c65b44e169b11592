//! Doubles as text, byte for byte as Redis 7.4 replies them.
//!
//! Redis 7.4 writes integral values as integers and all else with the Grisu2 algorithm (Florian
//! Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers", PLDI 2010,
//! section 5). Grisu2's text always reads back as the same double, but of about one double in a
//! thousand it is not the shortest such text; so the shortest formatting of the standard library
//! will not do here. What an implementation may choose (the cached powers and the interval of
//! exponents) is chosen as in Redis's fpconv.

use std::fmt;
use std::ops::Deref;

/// Text of a double: ASCII, held in place.
#[derive(Clone, Copy)]
pub struct DoubleText {
    bytes: [u8; DoubleText::MAX_LEN],
    len: u8,
}

impl DoubleText {
    /// Longest text, in bytes (a sign, `0.`, up to 6 zeros and 17 digits, and some room).
    pub const MAX_LEN: usize = 31;

    fn new() -> DoubleText {
        DoubleText { bytes: [0; DoubleText::MAX_LEN], len: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        let start = usize::from(self.len);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    fn push_zeros(&mut self, count: usize) {
        self.push(&[b'0'; DoubleText::MAX_LEN][..count]);
    }

    /// The text.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The text as a string.
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever pushed.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl Deref for DoubleText {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for DoubleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for DoubleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// `value` as Redis 7.4 replies it: `3`, `0.1`, `1e+21`, `-0`, `inf`, `-inf`, `nan`.
pub fn format_double(value: f64) -> DoubleText {
    // Redis prints as integers what lies within half the range of a 64-bit one.
    const INTEGERS: f64 = (i64::MAX / 2) as f64;
    let mut text = DoubleText::new();
    if value.is_nan() {
        text.push(b"nan");
    } else if value == 0.0 {
        text.push(if value.is_sign_negative() { b"-0" } else { b"0" });
    } else if value.is_infinite() {
        text.push(if value < 0.0 { b"-inf" } else { b"inf" });
    } else if value.abs() <= INTEGERS && (value as i64) as f64 == value {
        text.push(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        if value < 0.0 {
            text.push(b"-");
        }
        Decimal::grisu2(value.abs()).lay_out(&mut text);
    }
    text
}

/// `value` in the digits of [`format_double`], also where that prints an integer: `3`, `1e+8`.
pub fn format_double_digits(value: f64) -> DoubleText {
    if value.is_nan() || value.is_infinite() || value == 0.0 {
        return format_double(value);
    }
    let mut text = DoubleText::new();
    if value < 0.0 {
        text.push(b"-");
    }
    Decimal::grisu2(value.abs()).lay_out(&mut text);
    text
}

/// `digits` x 10^`exponent`.
struct Decimal {
    digits: [u8; 18],
    len: usize,
    exponent: i32,
}

impl Decimal {
    fn digits(&self) -> &[u8] {
        &self.digits[..self.len]
    }

    /// Plain where that takes few zeros, else scientific, by fpconv's thresholds.
    fn lay_out(&self, text: &mut DoubleText) {
        let digits = self.digits();
        // Exponent of the first digit.
        let leading = self.exponent + self.len as i32 - 1;
        if (0..8).contains(&self.exponent) {
            text.push(digits);
            text.push_zeros(self.exponent as usize);
        } else if self.exponent < 0 && (self.exponent > -7 || leading.abs() < 4) {
            if leading < 0 {
                text.push(b"0.");
                text.push_zeros((-leading - 1) as usize);
                text.push(digits);
            } else {
                let (integer, fraction) = digits.split_at(leading as usize + 1);
                text.push(integer);
                text.push(b".");
                text.push(fraction);
            }
        } else {
            text.push(&digits[..1]);
            if digits.len() > 1 {
                text.push(b".");
                text.push(&digits[1..]);
            }
            text.push(if leading < 0 { b"e-" } else { b"e+" });
            text.push(itoa::Buffer::new().format(leading.unsigned_abs()).as_bytes());
        }
    }

    /// Digits of a positive, finite value.
    fn grisu2(value: f64) -> Decimal {
        let float = Float::from(value);
        let (lower, upper) = float.boundaries();
        let (power, power_exponent) = cached_power(upper.exponent);
        let scaled = float.normalized().times(power);
        let mut lower = lower.times(power);
        let mut upper = upper.times(power);
        // A product may be off by one unit; this keeps the interval on the safe side.
        lower.significand += 1;
        upper.significand -= 1;
        let mut decimal = Decimal { digits: [0; 18], len: 0, exponent: -power_exponent };
        decimal.generate(scaled, lower.significand, upper);
        decimal
    }

    /// The fewest digits of `upper` that reach into the interval above `lower`, with the last one
    /// then lowered towards `scaled`. The three have the same exponent, from -60 to -32.
    fn generate(&mut self, scaled: Float, lower: u64, upper: Float) {
        let fraction_bits = -upper.exponent;
        let distance = upper.significand - scaled.significand;
        let mut delta = upper.significand - lower;
        // Below 2^32, because at most 32 bits are left of the fraction.
        let mut integral = (upper.significand >> fraction_bits) as u32;
        let mask = (1_u64 << fraction_bits) - 1;
        let mut fraction = upper.significand & mask;

        let mut unit = 1_000_000_000_u32;
        for kappa in (0..10).rev() {
            self.push_digit((integral / unit) as u8);
            integral %= unit;
            let rest = (u64::from(integral) << fraction_bits) + fraction;
            if rest <= delta {
                self.exponent += kappa;
                self.round_last(delta, rest, u64::from(unit) << fraction_bits, distance);
                return;
            }
            unit /= 10;
        }
        let mut scale = 1_u64;
        // Ends: `delta` grows tenfold each time, and 17 digits tell any two doubles apart.
        loop {
            fraction *= 10;
            delta = delta.wrapping_mul(10);
            scale = scale.wrapping_mul(10);
            self.exponent -= 1;
            self.push_digit((fraction >> fraction_bits) as u8);
            fraction &= mask;
            if fraction < delta {
                self.round_last(delta, fraction, mask + 1, distance.wrapping_mul(scale));
                return;
            }
        }
    }

    /// Appends a digit, but no leading zero.
    fn push_digit(&mut self, digit: u8) {
        if digit > 0 || self.len > 0 {
            self.digits[self.len] = b'0' + digit;
            self.len += 1;
        }
    }

    /// Lowers the last digit, worth `unit`, while that comes closer to the value, which lies
    /// `distance` below the interval's upper end; the digits so far lie `rest` below it.
    fn round_last(&mut self, delta: u64, mut rest: u64, unit: u64, distance: u64) {
        while rest < distance
            && delta - rest >= unit
            && (rest + unit < distance || distance - rest > rest + unit - distance)
        {
            self.digits[self.len - 1] -= 1;
            rest += unit;
        }
    }
}

/// `significand` x 2^`exponent`.
#[derive(Clone, Copy)]
struct Float {
    significand: u64,
    exponent: i32,
}

/// The bit of a double's significand that its encoding leaves out.
const HIDDEN_BIT: u64 = 1 << 52;

impl Float {
    /// Splits a positive, finite double.
    fn from(value: f64) -> Float {
        let bits = value.to_bits();
        let fraction = bits & (HIDDEN_BIT - 1);
        match (bits >> 52) as i32 {
            0 => Float { significand: fraction, exponent: -1074 },
            biased => Float { significand: fraction | HIDDEN_BIT, exponent: biased - 1075 },
        }
    }

    /// The same value with its highest bit set.
    fn normalized(self) -> Float {
        let shift = self.significand.leading_zeros();
        Float { significand: self.significand << shift, exponent: self.exponent - shift as i32 }
    }

    /// The middles between this double and its neighbours, with the exponent of the upper one.
    fn boundaries(self) -> (Float, Float) {
        let upper = Float { significand: (self.significand << 1) + 1, exponent: self.exponent - 1 }.normalized();
        // Below a power of two doubles lie twice as dense.
        let shift = if self.significand == HIDDEN_BIT { 2 } else { 1 };
        let lower = (self.significand << shift) - 1;
        let lower = Float { significand: lower << (self.exponent - shift - upper.exponent), exponent: upper.exponent };
        (lower, upper)
    }

    /// The upper 64 bits of the product, rounded.
    fn times(self, other: Float) -> Float {
        let product = u128::from(self.significand) * u128::from(other.significand);
        Float { significand: ((product + (1 << 63)) >> 64) as u64, exponent: self.exponent + other.exponent + 64 }
    }
}

/// A power of ten, and its decimal exponent, that brings a normalized float with this binary
/// exponent to one from -60 to -32, where [`Decimal::generate`] works.
fn cached_power(exponent: i32) -> (Float, i32) {
    // log10(2), and a margin, give a first guess; a step or two corrects it. More than one power
    // may fit, so the guess is part of the result.
    let guess = (f64::from(-(exponent + 87)) * 0.301_029_995_663_981_14) as i32;
    let mut index = (guess - FIRST_POWER) / POWER_STEP;
    loop {
        let decimal = FIRST_POWER + index * POWER_STEP;
        // floor(decimal * log2(10)), exact in this range, places the highest bit.
        let power = Float { significand: POWERS[index as usize], exponent: ((decimal * 1_741_647) >> 19) - 63 };
        match exponent + power.exponent + 64 {
            ..-60 => index += 1,
            -60..=-32 => return (power, decimal),
            _ => index -= 1,
        }
    }
}

const FIRST_POWER: i32 = -348;
const POWER_STEP: i32 = 8;

/// The upper 64 bits of 10^-348, 10^-340, ..., 10^340, rounded to nearest.
#[rustfmt::skip]
const POWERS: [u64; 87] = [
    0xfa8fd5a0081c0288, 0xbaaee17fa23ebf76, 0x8b16fb203055ac76, 0xcf42894a5dce35ea,
    0x9a6bb0aa55653b2d, 0xe61acf033d1a45df, 0xab70fe17c79ac6ca, 0xff77b1fcbebcdc4f,
    0xbe5691ef416bd60c, 0x8dd01fad907ffc3c, 0xd3515c2831559a83, 0x9d71ac8fada6c9b5,
    0xea9c227723ee8bcb, 0xaecc49914078536d, 0x823c12795db6ce57, 0xc21094364dfb5637,
    0x9096ea6f3848984f, 0xd77485cb25823ac7, 0xa086cfcd97bf97f4, 0xef340a98172aace5,
    0xb23867fb2a35b28e, 0x84c8d4dfd2c63f3b, 0xc5dd44271ad3cdba, 0x936b9fcebb25c996,
    0xdbac6c247d62a584, 0xa3ab66580d5fdaf6, 0xf3e2f893dec3f126, 0xb5b5ada8aaff80b8,
    0x87625f056c7c4a8b, 0xc9bcff6034c13053, 0x964e858c91ba2655, 0xdff9772470297ebd,
    0xa6dfbd9fb8e5b88f, 0xf8a95fcf88747d94, 0xb94470938fa89bcf, 0x8a08f0f8bf0f156b,
    0xcdb02555653131b6, 0x993fe2c6d07b7fac, 0xe45c10c42a2b3b06, 0xaa242499697392d3,
    0xfd87b5f28300ca0e, 0xbce5086492111aeb, 0x8cbccc096f5088cc, 0xd1b71758e219652c,
    0x9c40000000000000, 0xe8d4a51000000000, 0xad78ebc5ac620000, 0x813f3978f8940984,
    0xc097ce7bc90715b3, 0x8f7e32ce7bea5c70, 0xd5d238a4abe98068, 0x9f4f2726179a2245,
    0xed63a231d4c4fb27, 0xb0de65388cc8ada8, 0x83c7088e1aab65db, 0xc45d1df942711d9a,
    0x924d692ca61be758, 0xda01ee641a708dea, 0xa26da3999aef774a, 0xf209787bb47d6b85,
    0xb454e4a179dd1877, 0x865b86925b9bc5c2, 0xc83553c5c8965d3d, 0x952ab45cfa97a0b3,
    0xde469fbd99a05fe3, 0xa59bc234db398c25, 0xf6c69a72a3989f5c, 0xb7dcbf5354e9bece,
    0x88fcf317f22241e2, 0xcc20ce9bd35c78a5, 0x98165af37b2153df, 0xe2a0b5dc971f303a,
    0xa8d9d1535ce3b396, 0xfb9b7cd9a4a7443c, 0xbb764c4ca7a44410, 0x8bab8eefb6409c1a,
    0xd01fef10a657842c, 0x9b10a4e5e9913129, 0xe7109bfba19c0c9d, 0xac2820d9623bf429,
    0x80444b5e7aa7cf85, 0xbf21e44003acdd2d, 0x8e679c2f5e44ff8f, 0xd433179d9c8cb841,
    0x9e19db92b4e31ba9, 0xeb96bf6ebadf77d9, 0xaf87023b9bf0ee6b,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Left the number, right what redis-server 7.4.1 answers to ZSCORE for it.
    #[rustfmt::skip]
    const ANSWERS: &[(f64, &str)] = &[
        (0.0, "0"), (3.0, "3"), (-3.0, "-3"), (1.5, "1.5"), (0.1, "0.1"), (0.3, "0.3"),
        (123456789.125, "123456789.125"), (1e15, "1000000000000000"), (1e17, "100000000000000000"),
        (4611686018427387904.0, "4611686018427387904"), (9223372036854775808.0, "9223372036854776000"),
        (12345678901234567890.0, "12345678901234567000"), (123e20, "12300000000000001000000"),
        (1e20, "1e+20"), (1e21, "1e+21"), (1e22, "1e+22"), (1e23, "99999999999999990000000"),
        (2.5e25, "2.5e+25"), (1e300, "1e+300"), (f64::MAX, "1.7976931348623157e+308"),
        (0.00001, "0.00001"), (0.000001, "0.000001"), (0.00001234, "1.234e-5"), (3e-7, "3e-7"),
        (1234567890120000000000.0, "1.23456789012e+21"), (12345678901200000000.0, "12345678901199999000"),
        (12345.12345678, "1.234512345678e+4"), (1234.12345678, "1234.12345678"), (12345.123456, "12345.123456"),
        (0.00012345678, "1.2345678e-4"), (0.0012345678, "0.0012345678"),
        (1.5e-7, "1.5e-7"), (-1.5e-10, "-1.5e-10"), (5e-324, "5e-324"),
        (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf"),
    ];

    #[test]
    fn answers_of_a_real_server() {
        for (value, text) in ANSWERS {
            assert_eq!(format_double(*value).as_str(), *text);
        }
    }

    /// What Redis's own formatting, called with these bits, gives; the first four are not the
    /// shortest text, or not the nearest of the shortest.
    #[test]
    fn texts_of_fpconv() {
        for (bits, text) in [
            (0x25e0_0000_0000_0000, "2.9545531576914355e-126"),
            (0x431f_ffff_ffff_ffff, "2251799813685247.7"),
            (0x45a0_0000_0000_0000, "2.4758800785707606e+27"),
            (0x45af_ffff_ffff_ffff, "4.9517601571415206e+27"),
            (0x44d0_0000_0000_0000, "3.022314549036573e+23"),
            (0x0010_0000_0000_0000, "2.2250738585072014e-308"),
            (0x000f_ffff_ffff_ffff, "2.225073858507201e-308"),
        ] {
            assert_eq!(format_double(f64::from_bits(bits)).as_str(), text);
        }
    }

    #[test]
    fn zero_keeps_its_sign_and_nan_has_none() {
        assert_eq!(format_double(-0.0).as_str(), "-0");
        assert_eq!(format_double(f64::NAN).as_str(), "nan");
        assert_eq!(format_double(-f64::NAN).as_str(), "nan");
    }

    #[test]
    fn a_cached_power_fits_every_exponent() {
        // Normalized doubles, their boundaries included, have these exponents.
        for exponent in -1137..=960 {
            let (power, _) = cached_power(exponent);
            assert!((-60..=-32).contains(&(exponent + power.exponent + 64)));
        }
    }

    proptest! {
        #[test]
        fn every_text_reads_back_as_its_number(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            let text = format_double(value);
            prop_assert!(text.len() <= DoubleText::MAX_LEN);
            prop_assert_eq!(text.as_str().parse::<f64>().map(f64::to_bits), Ok(bits));
        }
    }
}
