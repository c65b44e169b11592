//! `string.format` of Lua 5.1, which prints numbers as C does.

use lua_vm::api;
use lua_vm::debug::arg_error_impl;
use lua_vm::state::LuaState;
use omnilua::LuaError;

use super::MOST_BYTES;
use super::numbers::check_number;
use super::whole::whole;
use crate::script::natives;

/// How one value is printed.
#[derive(Default)]
struct Spec {
    left: bool,
    plus: bool,
    blank: bool,
    alternate: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
}

pub(super) fn format(state: &mut LuaState) -> Result<usize, LuaError> {
    let (template, top) = (state.check_arg_string(1)?, api::get_top(state));
    let (mut out, mut rest, mut argument) = (Vec::new(), template.as_slice(), 1);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        if let Some(after) = rest.strip_prefix(b"%") {
            out.push(b'%');
            rest = after;
            continue;
        }
        argument += 1;
        if argument > top {
            return Err(arg_error_impl(state, argument, b"no value"));
        }
        let (spec, after) = Spec::read(rest).map_err(|text| failure(state, text))?;
        let conversion = after.first().copied().unwrap_or_default();
        rest = after.get(1..).unwrap_or_default();
        match conversion {
            b's' | b'q' => {
                let text = state.check_arg_string(argument)?;
                if conversion == b'q' { quote(&text, &mut out) } else { spec.text(&text, &mut out) }
            }
            b'c' | b'd' | b'i' | b'o' | b'u' | b'x' | b'X' | b'e' | b'E' | b'f' | b'g' | b'G' => {
                let number = check_number(state, argument)?;
                out.extend_from_slice(&spec.number(conversion, number));
            }
            other => {
                let text = [b"invalid option '%", [other].as_slice(), b"' to 'format'"].concat();
                // To C it is a text that ends at a zero.
                let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
                return Err(failure(state, &String::from_utf8_lossy(&text[..end])));
            }
        }
        if out.len() > MOST_BYTES {
            return Err(natives::exhausted(state));
        }
    }
    state.push_string(&out)?;
    Ok(1)
}

/// An error at the script's line.
fn failure(state: &mut LuaState, text: &str) -> LuaError {
    lua_vm::debug::c_api_runtime(state, text.as_bytes().to_vec())
}

/// A text that Lua reads as the same text.
fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' | b'\n' => out.extend_from_slice(&[b'\\', *byte]),
            b'\r' => out.extend_from_slice(b"\\r"),
            0 => out.extend_from_slice(b"\\000"),
            byte => out.push(*byte),
        }
    }
    out.push(b'"');
}

impl Spec {
    /// Reads what stands between the percent sign and the letter.
    fn read(mut text: &[u8]) -> Result<(Self, &[u8]), &'static str> {
        let (mut spec, mut flags) = (Self::default(), 0);
        while let Some(flag @ (b'-' | b'+' | b' ' | b'#' | b'0')) = text.first() {
            let set = match flag {
                b'-' => &mut spec.left,
                b'+' => &mut spec.plus,
                b' ' => &mut spec.blank,
                b'#' => &mut spec.alternate,
                _ => &mut spec.zeros,
            };
            (*set, flags, text) = (true, flags + 1, &text[1..]);
        }
        if flags > 5 {
            return Err("invalid format (repeated flags)");
        }
        let digits = |text: &mut &[u8]| {
            let count = text.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
            let number = text[..count].iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
            *text = &text[count..];
            number
        };
        spec.width = digits(&mut text);
        if let Some(after) = text.strip_prefix(b".") {
            text = after;
            spec.precision = Some(digits(&mut text));
        }
        if text.first().is_some_and(u8::is_ascii_digit) {
            return Err("invalid format (width or precision too long)");
        }
        Ok((spec, text))
    }

    fn text(&self, text: &[u8], out: &mut Vec<u8>) {
        const LONG: usize = 100;
        if self.precision.is_none() && text.len() >= LONG {
            return out.extend_from_slice(text);
        }
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = &text[..text.len().min(self.precision.unwrap_or(usize::MAX))];
        out.extend_from_slice(&self.padded("", text, false));
    }

    /// What is printed, in its width; zeros stand behind the sign.
    fn padded(&self, sign: &str, text: &[u8], may_have_zeros: bool) -> Vec<u8> {
        let pad = self.width.saturating_sub(sign.len() + text.len());
        let (before, zeros, after) = match (self.left, self.zeros && may_have_zeros) {
            (true, _) => (0, 0, pad),
            (false, true) => (0, pad, 0),
            (false, false) => (pad, 0, 0),
        };
        [&b" ".repeat(before), sign.as_bytes(), &b"0".repeat(zeros), text, &b" ".repeat(after)].concat()
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.plus, self.blank) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }

    fn number(&self, conversion: u8, number: f64) -> Vec<u8> {
        match conversion {
            b'c' => {
                let text = self.padded("", &[whole(number) as u8], false);
                text.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
            }
            b'd' | b'i' => {
                let number = whole(number);
                self.integer(self.sign(number < 0), number.unsigned_abs().to_string())
            }
            b'o' | b'u' | b'x' | b'X' => {
                let number = unsigned(number);
                let (sign, mut digits) = match conversion {
                    b'o' => ("", format!("{number:o}")),
                    b'x' => ("0x", format!("{number:x}")),
                    b'X' => ("0X", format!("{number:X}")),
                    _ => ("", number.to_string()),
                };
                if conversion == b'o' && self.alternate && number != 0 {
                    digits.insert(0, '0');
                }
                self.integer(if self.alternate && number != 0 { sign } else { "" }, digits)
            }
            _ => self.float(conversion, number),
        }
    }

    fn integer(&self, sign: &str, digits: String) -> Vec<u8> {
        let digits = match self.precision {
            Some(0) if digits == "0" => String::new(),
            precision => format!("{digits:0>0$}", precision.unwrap_or(0)),
        };
        self.padded(sign, digits.as_bytes(), self.precision.is_none())
    }

    fn float(&self, conversion: u8, number: f64) -> Vec<u8> {
        let sign = self.sign(number.is_sign_negative());
        let (absolute, precision) = (number.abs(), self.precision.unwrap_or(6));
        let text = match conversion {
            _ if number.is_nan() => "nan".to_owned(),
            _ if number.is_infinite() => "inf".to_owned(),
            b'f' => format!("{absolute:.precision$}") + self.point(precision == 0),
            b'e' | b'E' => exponential(absolute, precision, self.point(precision == 0)),
            _ => self.shortest(absolute, precision.max(1)),
        };
        let text = if conversion.is_ascii_uppercase() { text.to_uppercase() } else { text };
        self.padded(sign, text.as_bytes(), number.is_finite())
    }

    fn point(&self, is_missing: bool) -> &'static str {
        if is_missing && self.alternate { "." } else { "" }
    }

    /// As `%g`: with so many digits that count, without zeros at the end.
    fn shortest(&self, number: f64, digits: usize) -> String {
        let scientific = format!("{number:.*e}", digits - 1);
        let exponent: i32 =
            scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or_default();
        let cut = |text: String| match text.contains('.') && !self.alternate {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        };
        if exponent < -4 || exponent >= digits as i32 {
            let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
            let mantissa = cut(mantissa.to_owned()) + self.point(digits == 1);
            return with_exponent(&mantissa, exponent);
        }
        let places = (digits as i32 - 1 - exponent).max(0) as usize;
        cut(format!("{number:.places$}") + self.point(places == 0))
    }
}

/// A number as one of 64 bits without a sign, as C's conversion gives it on the usual machines.
pub(super) fn unsigned(number: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    if number >= HALF { whole(number - HALF) as u64 ^ 1 << 63 } else { whole(number) as u64 }
}

fn exponential(number: f64, precision: usize, point: &str) -> String {
    let text = format!("{number:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    with_exponent(&(mantissa.to_owned() + point), exponent)
}

fn with_exponent(mantissa: &str, exponent: &str) -> String {
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, number: f64, expected: &str) {
        let (spec, rest) = Spec::read(template.as_bytes()).unwrap();
        assert_eq!(String::from_utf8_lossy(&spec.number(rest[0], number)), expected, "%{template}");
    }

    #[test]
    fn numbers_are_printed_as_by_c() {
        check("d", -3.99, "-3");
        check("05d", -42.0, "-0042");
        check("-5d|", 42.0, "42   ");
        check("+.3d", 7.0, "+007");
        check("d", f64::NAN, "-9223372036854775808");
        check("x", -1.0, "ffffffffffffffff");
        check("#x", 255.0, "0xff");
        check("#X", 0.0, "0");
        check("#o", 8.0, "010");
        check("u", 18_446_744_073_709_549_568.0, "18446744073709549568");
        check("c", 65.0, "A");
        check("g", 1e20, "1e+20");
        check("g", 100_000.0, "100000");
        check("g", 1e-5, "1e-05");
        check("#g", 1.0, "1.00000");
        check(".3g", 1234.0, "1.23e+03");
        check(".0f", 0.5, "0");
        check("#.0f", 3.0, "3.");
        check("10.2f", -1.5, "     -1.50");
        check("010.2f", -1.5, "-000001.50");
        check("e", 12345.678, "1.234568e+04");
        check("G", 1e-10, "1E-10");
        check("010f", f64::INFINITY, "       inf");
        check("f", -f64::NAN, if (-f64::NAN).is_sign_negative() { "-nan" } else { "nan" });
    }

    #[test]
    fn texts_are_cut_and_quoted() {
        let mut out = Vec::new();
        Spec { width: 5, precision: Some(2), ..Spec::default() }.text(b"abc", &mut out);
        quote(b"a\"\n\0\r", &mut out);
        assert_eq!(out, b"   ab\"a\\\"\\\n\\000\\r\"");
    }
}
