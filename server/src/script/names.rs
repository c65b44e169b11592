//! What the interpreter's compiler reads otherwise than Lua 5.1 does, changed before a source is compiled: `_ENV` is a name like
//! any other there, but the compiler takes it for the table of globals; and a number with an exponent, or in hexadecimal
//! digits, ends before a point, as in `1e5..''`. A line that begins with `#` is a comment there.

use std::borrow::Cow;

use memchr::memmem;

const SPECIAL: &[u8] = b"_ENV";
/// As long, so that everything else stays where it is.
const PLAIN: &[u8] = b"_EnV";

/// A source that the compiler reads as Lua 5.1 reads the given one: nothing is called `_ENV`, there is a blank between a number
/// and the point that does not belong to it, and no line begins with `#`. Strings and comments stay as they are.
pub(super) fn for_compiler(source: &[u8]) -> Cow<'_, [u8]> {
    let has_number = || memmem::find_iter(source, b"..").any(|at| at > 0 && source[at - 1].is_ascii_hexdigit());
    let has_sign = || memchr::memchr_iter(b'#', source).any(|at| at > 0 && is_newline(source[at - 1]));
    if memmem::find(source, SPECIAL).is_none() && !has_number() && !has_sign() {
        return Cow::Borrowed(source);
    }
    let (mut changed, mut before) = (Vec::with_capacity(source.len() + 1), 0_u8);
    for token in tokens(source) {
        if before.is_ascii_digit() && token[0] == b'.' || is_newline(before) && token[0] == b'#' {
            changed.push(b' ');
        }
        changed.extend_from_slice(if token == SPECIAL { PLAIN } else { token });
        before = token[0];
    }
    Cow::Owned(changed)
}

/// How many times a source concatenates.
pub(super) fn concatenations(source: &[u8]) -> usize {
    tokens(source).filter(|token| *token == b"..").count()
}

/// The tokens of a source, comments and blanks among them.
pub(super) fn tokens(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let byte = *rest.first()?;
        let length = match byte {
            b'-' if rest.starts_with(b"--") => comment(rest),
            b'"' | b'\'' => short_string(rest, byte),
            b'[' => long_string(rest).unwrap_or(1),
            b'0'..=b'9' => number(rest),
            b'.' => rest.iter().take_while(|byte| **byte == b'.').count(),
            _ if is_word(byte) => rest.iter().take_while(|byte| is_word(**byte)).count(),
            _ => 1,
        };
        let (token, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        Some(token)
    })
}

/// Bytes of a number that begins here, as Lua 5.1 reads it: digits and points, an exponent's sign, and letters.
fn number(rest: &[u8]) -> usize {
    let mut length = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    if matches!(rest.get(length), Some(b'e' | b'E')) {
        length += 1 + usize::from(matches!(rest.get(length + 1), Some(b'+' | b'-')));
    }
    length + rest[length..].iter().take_while(|byte| is_word(**byte)).count()
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Bytes of a comment that begins here.
fn comment(rest: &[u8]) -> usize {
    match long_string(&rest[2..]) {
        Some(length) => 2 + length,
        None => memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len()),
    }
}

/// Bytes of a string in quotes that begins here. One that does not end does not compile.
fn short_string(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(&byte) = rest.get(at) {
        match byte {
            // The end of a line may be two bytes.
            b'\\' if matches!(rest.get(at + 1..at + 3), Some(b"\r\n" | b"\n\r")) => at += 3,
            b'\\' => at += 2,
            b'\n' | b'\r' => return at,
            _ if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Bytes of a string in long brackets, if one begins here.
fn long_string(rest: &[u8]) -> Option<usize> {
    let level = rest.strip_prefix(b"[")?.iter().take_while(|byte| **byte == b'=').count();
    if rest.get(level + 1) != Some(&b'[') {
        return None;
    }
    let close = [&b"]"[..], &vec![b'='; level], b"]"].concat();
    let from = level + 2;
    Some(memmem::find(&rest[from..], &close).map_or(rest.len(), |end| from + end + close.len()))
}

#[cfg(test)]
mod tests {
    use super::{concatenations, for_compiler};

    #[test]
    fn concatenations_are_counted_where_they_are_some() {
        for (source, expected) in [
            ("return a..b .. 'x..y' -- ..\n..c", 3),
            ("--[[ a..b ]] return '\\'..', \"..\", [[..]], ...", 0),
            ("local function f(...) return ... end", 0),
            ("return 1 ..2", 1),
        ] {
            assert_eq!(concatenations(source.as_bytes()), expected, "{source}");
        }
    }

    #[test]
    fn the_name_is_changed_where_it_is_one() {
        for (source, expected) in [
            ("return _ENV", "return _EnV"),
            ("rawset(_ENV,'redis',{})", "rawset(_EnV,'redis',{})"),
            ("local _ENV={1} return #_ENV", "local _EnV={1} return #_EnV"),
            ("return x_ENV+_ENVx+_ENV_", "return x_ENV+_ENVx+_ENV_"),
            (
                "return '_ENV' .. \"_ENV\" .. [[_ENV]] .. [==[_ENV]]_ENV]==] .. _ENV",
                "return '_ENV' .. \"_ENV\" .. [[_ENV]] .. [==[_ENV]]_ENV]==] .. _EnV",
            ),
            ("return '\\'_ENV' .. _ENV", "return '\\'_ENV' .. _EnV"),
            ("return '\\\\' .. _ENV .. '\\\n_ENV'", "return '\\\\' .. _EnV .. '\\\n_ENV'"),
            (
                "-- _ENV\n_ENV --[[ _ENV\n_ENV ]] _ENV --[ _ENV\n_ENV",
                "-- _ENV\n_EnV --[[ _ENV\n_ENV ]] _EnV --[ _ENV\n_EnV",
            ),
            ("--[==[ ]] _ENV ]==] _ENV", "--[==[ ]] _ENV ]==] _EnV"),
            ("return t[_ENV], t[ [[_ENV]] ]", "return t[_EnV], t[ [[_ENV]] ]"),
            ("return a-_ENV", "return a-_EnV"),
            ("x = '_ENV\n_ENV", "x = '_ENV\n_EnV"),
            ("return [[ _ENV", "return [[ _ENV"),
            ("-- _ENV\r_ENV", "-- _ENV\r_EnV"),
            ("return 1e5..'1e5..'", "return 1e5 ..'1e5..'"),
            ("return 1E-5..0x1f..a1..b", "return 1E-5 ..0x1f ..a1..b"),
            ("return 1.5..1 -- 1e5..", "return 1.5..1 -- 1e5.."),
            ("return 1e", "return 1e"),
            ("return\n#_ENV\r#t", "return\n #_EnV\r #t"),
            ("return\n#t, [[\n#t]]", "return\n #t, [[\n#t]]"),
            ("return '\\\r\n_ENV' .. _ENV", "return '\\\r\n_ENV' .. _EnV"),
        ] {
            let renamed = for_compiler(source.as_bytes());
            assert_eq!(String::from_utf8_lossy(&renamed), expected, "{source:?}");
        }
    }
}
