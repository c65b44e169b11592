//! How Redis prints a double: with 17 digits up to version 7.0, with the shortest digits that read back since 7.2.

/// C's `%.17g`, Redis 7.0's text of a score.
pub fn seventeen_digits(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return special(value);
    }
    let scientific = format!("{value:.16e}");
    let (digits, exponent) = scientific.split_once('e').unwrap();
    let exponent: i32 = exponent.parse().unwrap();
    if (-4..17).contains(&exponent) {
        return trimmed(&format!("{value:.*}", (16 - exponent) as usize)).to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(digits), exponent.abs())
}

/// The text of a score since Redis 7.2: the layout of its fpconv library over the shortest digits.
pub fn shortest(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return special(value);
    }
    if value.fract() == 0.0 && value.abs() < 4_611_686_018_427_387_904.0 {
        return (value as i64).to_string();
    }
    let scientific = format!("{:e}", value.abs());
    let (digits, exponent) = scientific.split_once('e').unwrap();
    let digits = digits.replace('.', "");
    let exponent: i32 = exponent.parse().unwrap();
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", lay_out(&digits, exponent))
}

/// Whether `text` is one that Redis 7.2 or later prints for `value`: where two shortest texts are equally near, Redis
/// takes one or the other, and for about one double in a thousand it prints up to 17
/// digits, though fewer would do.
pub fn is_shortest(text: &str, value: f64) -> bool {
    let wanted = shortest(value);
    if text == wanted || !text.parse::<f64>().is_ok_and(|read| read.to_bits() == value.to_bits()) {
        return text == wanted;
    }
    let mantissa = text.split('e').next().unwrap_or_default().replace(['.', '-'], "");
    let digits = mantissa.trim_start_matches('0');
    let scientific = format!("{value:e}");
    let exponent = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok());
    digits.len() <= 17 && exponent.is_some_and(|exponent| text.trim_start_matches('-') == lay_out(digits, exponent))
}

/// `digits` with the point after the first one, times ten to `exponent`, as fpconv writes it.
fn lay_out(digits: &str, exponent: i32) -> String {
    let count = digits.len() as i32;
    let scale = exponent - count + 1;
    if scale >= 0 && exponent.abs() < count + 7 {
        return format!("{digits}{}", "0".repeat(scale as usize));
    }
    if scale < 0 && (scale > -7 || exponent.abs() < 4) {
        let point = count + scale;
        return match point {
            ..=0 => format!("0.{}{digits}", "0".repeat(-point as usize)),
            _ => format!("{}.{}", &digits[..point as usize], &digits[point as usize..]),
        };
    }
    let fraction = if count > 1 { format!(".{}", &digits[1..]) } else { String::new() };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}{fraction}e{sign}{}", &digits[..1], exponent.abs())
}

fn special(value: f64) -> String {
    match value {
        value if value.is_nan() => "nan".to_string(),
        value if value == 0.0 => if value.is_sign_negative() { "-0" } else { "0" }.to_string(),
        value => if value > 0.0 { "inf" } else { "-inf" }.to_string(),
    }
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_both_versions() {
        let table = [
            (0.1, "0.10000000000000001", "0.1"),
            (-1.5, "-1.5", "-1.5"),
            (1e21, "1e+21", "1e+21"),
            (1.7976931348623157e308, "1.7976931348623157e+308", "1.7976931348623157e+308"),
            (5e-324, "4.9406564584124654e-324", "5e-324"),
            (3.0, "3", "3"),
            (0.0001, "0.0001", "0.0001"),
            (1e-7, "9.9999999999999995e-08", "1e-7"),
            (1e17, "1e+17", "100000000000000000"),
            (1e21, "1e+21", "1e+21"),
        ];
        for (value, old, new) in table {
            assert_eq!((seventeen_digits(value).as_str(), shortest(value).as_str()), (old, new));
        }
    }

    #[test]
    fn more_digits_than_needed_are_as_good() {
        let value = 10692.023981284;
        assert!(is_shortest("1.0692023981284e+4", value));
        assert!(is_shortest("1.0692023981283999e+4", value));
        assert!(!is_shortest("10692.023981283999", value), "another layout");
        assert!(!is_shortest("1.0692023981283900e+4", value), "another value");
        assert!(is_shortest("-1.0692023981283999e+4", -value));
    }
}
