//! `_ENV` is a name like any other in Lua 5.1, but the interpreter's compiler takes it for the table of globals. So it gets another
//! name before a source is compiled.

use std::borrow::Cow;

use memchr::memmem;

const SPECIAL: &[u8] = b"_ENV";
/// As long, so that everything else stays where it is.
const PLAIN: &[u8] = b"_EnV";

/// A source in which nothing is called `_ENV`. Strings and comments stay as they are.
pub(super) fn without_env(source: &[u8]) -> Cow<'_, [u8]> {
    if memmem::find(source, SPECIAL).is_none() {
        return Cow::Borrowed(source);
    }
    let (mut renamed, mut at) = (source.to_vec(), 0);
    while let Some(&byte) = source.get(at) {
        let rest = &source[at..];
        at += match byte {
            b'-' if rest.starts_with(b"--") => comment(rest),
            b'"' | b'\'' => short_string(rest, byte),
            b'[' => long_string(rest).unwrap_or(1),
            _ if is_word(byte) => {
                let length = rest.iter().take_while(|byte| is_word(**byte)).count();
                if &rest[..length] == SPECIAL {
                    renamed[at..at + length].copy_from_slice(PLAIN);
                }
                length
            }
            _ => 1,
        };
    }
    Cow::Owned(renamed)
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
    use super::without_env;

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
        ] {
            let renamed = without_env(source.as_bytes());
            assert_eq!(String::from_utf8_lossy(&renamed), expected, "{source:?}");
        }
    }
}
