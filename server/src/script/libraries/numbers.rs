//! Numbers that texts say, as C's `strtod` and so Lua 5.1 reads them: besides those that the interpreter reads also `inf`, `nan`,
//! and what ends at a zero byte.

use lua_types::LuaType;
use lua_vm::api;
use lua_vm::state::LuaState;
use omnilua::LuaError;

/// The number that a whole text says, between blanks.
pub(in crate::script) fn number_of(text: &[u8]) -> Option<f64> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    // To C a text ends at a zero.
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = &text[text.iter().take_while(|byte| is_blank(byte)).count()..];
    let (number, length) = strtod(text)?;
    text[length..].iter().all(is_blank).then_some(number)
}

/// The number that a value on the stack is, or says.
pub(super) fn number_at(state: &mut LuaState, at: i32) -> Result<Option<f64>, LuaError> {
    match api::lua_type_at(state, at) {
        LuaType::Number => Ok(api::to_number_x(state, at)),
        LuaType::String => Ok(api::to_lua_string(state, at)?.and_then(|text| number_of(text.as_bytes()))),
        _ => Ok(None),
    }
}

/// An argument that must be a number, or say one.
pub(super) fn check_number(state: &mut LuaState, at: i32) -> Result<f64, LuaError> {
    match number_at(state, at)? {
        Some(number) => Ok(number),
        None => state.check_number(at),
    }
}

/// The number at the front of a text, with its length: as C's `strtod`, but for blanks before it.
pub(super) fn strtod(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let rest = &text[sign..];
    let (number, length) = named(rest).or_else(|| hexadecimal(rest)).or_else(|| decimal(rest))?;
    Some((if text[0] == b'-' { -number } else { number }, sign + length))
}

fn named(text: &[u8]) -> Option<(f64, usize)> {
    let starts = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if starts(b"nan") {
        let payload = text[3..].strip_prefix(b"(").and_then(|inner| {
            let length = inner.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
            (inner.get(length) == Some(&b')')).then_some(length + 2)
        });
        return Some((f64::NAN, 3 + payload.unwrap_or(0)));
    }
    [&b"infinity"[..], b"inf"].into_iter().find(|word| starts(word)).map(|word| (f64::INFINITY, word.len()))
}

fn digits(text: &[u8], is_digit: impl Fn(&u8) -> bool) -> usize {
    text.iter().take_while(|byte| is_digit(byte)).count()
}

/// The length of digits with a point among them; nothing without a digit.
fn mantissa(text: &[u8], is_digit: impl Fn(&u8) -> bool) -> Option<usize> {
    let whole = digits(text, &is_digit);
    let places = text[whole..].strip_prefix(b".").map(|rest| digits(rest, &is_digit));
    (whole + places.unwrap_or(0) > 0).then(|| whole + places.map_or(0, |places| places + 1))
}

/// The length of an exponent that begins with a letter; none where no digit follows.
fn exponent(text: &[u8], letter: u8) -> usize {
    if !text.first().is_some_and(|first| first.eq_ignore_ascii_case(&letter)) {
        return 0;
    }
    let sign = usize::from(matches!(text.get(1), Some(b'-' | b'+')));
    match digits(&text[1 + sign..], u8::is_ascii_digit) {
        0 => 0,
        count => 1 + sign + count,
    }
}

fn decimal(text: &[u8]) -> Option<(f64, usize)> {
    let length = mantissa(text, u8::is_ascii_digit)?;
    let length = length + exponent(&text[length..], b'e');
    Some((std::str::from_utf8(&text[..length]).ok()?.parse().ok()?, length))
}

fn hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    /// Digits beyond so many bits only say whether anything follows.
    const MOST: u64 = 1 << 59;
    /// Beyond such an exponent there is no number but zero and infinity.
    const FAR: i32 = 1 << 20;
    let rest = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X"))?;
    let length = mantissa(rest, u8::is_ascii_hexdigit)?;
    let (mut bits, mut scale, mut is_behind_point) = (0_u64, 0_i32, false);
    for byte in &rest[..length] {
        let Some(digit) = (*byte as char).to_digit(16) else {
            is_behind_point = true;
            continue;
        };
        if bits < MOST {
            bits = bits << 4 | u64::from(digit);
            scale = scale.saturating_sub(4 * i32::from(is_behind_point));
        } else {
            bits |= u64::from(digit != 0);
            scale = scale.saturating_add(4 * i32::from(!is_behind_point));
        }
    }
    let power = exponent(&rest[length..], b'p');
    if power > 0 {
        let text = std::str::from_utf8(&rest[length + 1..length + power]).ok()?;
        let written = text.parse().unwrap_or(if text.starts_with('-') { -FAR } else { FAR });
        scale = scale.saturating_add(written);
    }
    Some((scaled(bits as f64, scale.clamp(-FAR, FAR)), 2 + length + power))
}

/// A number times a power of two, which may itself be none.
fn scaled(mut number: f64, mut scale: i32) -> f64 {
    const STEP: i32 = 1000;
    while scale != 0 && number != 0.0 && number.is_finite() {
        let step = scale.clamp(-STEP, STEP);
        number *= 2.0_f64.powi(step);
        scale -= step;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_say_numbers_as_to_c() {
        for (text, number) in [
            ("5", 5.0),
            (" \t-5.5e1\r\n", -55.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("+0x1F", 31.0),
            ("0x1.8p1", 3.0),
            ("0x.8", 0.5),
            ("-INF", f64::NEG_INFINITY),
            ("infinity", f64::INFINITY),
            ("1e400", f64::INFINITY),
            ("0x1p-2000", 0.0),
            ("0x1p99999999999", f64::INFINITY),
            ("0x1fffffffffffffffff", 590_295_810_358_705_651_712.0),
            ("5\0x", 5.0),
        ] {
            assert_eq!(number_of(text.as_bytes()), Some(number), "{text}");
        }
        for text in ["nan", "NaN(12_a)"] {
            assert!(number_of(text.as_bytes()).is_some_and(|number| number.is_nan() && number.is_sign_positive()));
        }
        for text in ["", " ", "-", ".", "+-5", "1e", "0x", "0xg", "1_0", "infinit", "nan(", "5 5", "- 5", "\u{a0}5"] {
            assert_eq!(number_of(text.as_bytes()), None, "{text}");
        }
    }
}
