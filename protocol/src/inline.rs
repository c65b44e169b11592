//! Inline commands: one line split into words, for people with a terminal.
//!
//! The rules are those of Redis 7.4's `sdssplitargs`. Unquoting makes new bytes, so the words go
//! to a buffer of their own.

use crate::args::Span;
use crate::error::ProtocolError;

/// Appends the words of `line` to `bytes`, and their spans, counted from where `bytes` ended.
///
/// Words are separated by white space. In double quotes `\n \r \t \b \a \xHH` are escapes, and a
/// backslash before any other byte is dropped; in single quotes only `\'` is one.
///
/// # Errors
/// [`ProtocolError::UnbalancedQuotes`] if a quote stays open, or a word goes on after one closes.
pub(crate) fn split(line: &[u8], bytes: &mut Vec<u8>, spans: &mut Vec<Span>) -> Result<(), ProtocolError> {
    let base = bytes.len();
    let mut rest = line;
    loop {
        rest = trim_start(rest);
        if rest.is_empty() {
            return Ok(());
        }
        let start = bytes.len();
        rest = word(rest, bytes)?;
        // A line is at most as long as the limit on lines, and words are no longer than it.
        spans.push(Span { start: (start - base) as u32, len: (bytes.len() - start) as u32 });
    }
}

/// Appends the word that `line` begins with; returns what follows it.
fn word<'a>(mut line: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    while let [byte, rest @ ..] = line {
        line = rest;
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' => return closed(double_quoted(rest, bytes)?),
            b'\'' => return closed(single_quoted(rest, bytes)?),
            other => bytes.push(*other),
        }
    }
    Ok(line)
}

/// Checks that a word ends where its quote closes.
fn closed(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn double_quoted<'a>(mut line: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        let (byte, rest) = match line {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'"', rest @ ..] => return Ok(rest),
            [b'\\', b'x', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_digit(*high) << 4 | hex_digit(*low), rest)
            }
            [b'\\', escaped, rest @ ..] => (unescape(*escaped), rest),
            [byte, rest @ ..] => (*byte, rest),
        };
        bytes.push(byte);
        line = rest;
    }
}

fn single_quoted<'a>(mut line: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        let (byte, rest) = match line {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'\'', rest @ ..] => return Ok(rest),
            [b'\\', b'\'', rest @ ..] => (b'\'', rest),
            [byte, rest @ ..] => (*byte, rest),
        };
        bytes.push(byte);
        line = rest;
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// Value of a byte that is known to be a hexadecimal digit.
fn hex_digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20) - b'a' + 10,
    }
}

/// C's `isspace`, which has the vertical tab that Rust's `is_ascii_whitespace` lacks.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 0x09..=0x0d)
}

fn trim_start(mut line: &[u8]) -> &[u8] {
    while let [byte, rest @ ..] = line
        && is_space(*byte)
    {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<Vec<u8>>> {
        let (mut bytes, mut spans) = (b"before".to_vec(), Vec::new());
        split(line.as_bytes(), &mut bytes, &mut spans).ok()?;
        let words = spans.iter().map(|span| bytes[6 + span.start as usize..][..span.len as usize].to_vec());
        Some(words.collect())
    }

    fn check(line: &str, expected: &[&[u8]]) {
        assert_eq!(words(line).unwrap(), expected, "{line:?}");
    }

    #[test]
    fn white_space_separates_words() {
        check("  SET \t k\u{b}\u{c} v ", &[b"SET", b"k\x0b\x0c", b"v"]);
        check("\u{b}a", &[b"a"]);
        check("", &[]);
        check(" \t\r ", &[]);
    }

    #[test]
    fn double_quotes_know_escapes() {
        check(r#""a b" "" "\n\r\t\b\a""#, &[b"a b", b"", b"\n\r\t\x08\x07"]);
        check(r#""\x41\xfF\xG1\q\"\\""#, &[b"A\xffxG1q\"\\"]);
        check(r#""it's""#, &[b"it's"]);
    }

    #[test]
    fn single_quotes_know_only_themselves() {
        check(r"'a \n b' '\'' '\\x'", &[br"a \n b", b"'", br"\\x"]);
        check(r#"'"'"#, &[b"\""]);
    }

    #[test]
    fn a_quote_may_open_within_a_word() {
        check(r#"foo"bar baz" x"#, &[b"foobar baz", b"x"]);
        check("foo'bar'\u{b}x", &[b"foobar", b"x"]);
    }

    #[test]
    fn a_quote_must_close_at_the_end_of_a_word() {
        for line in
            [r#"""#, r#""a"b"#, r#""a""b""#, "'", "'a'b", "'a''b'", r#""a\"#, r#""a\""#, r"'\'", r"'\\'", r#""\x4"#]
        {
            assert_eq!(words(line), None, "{line:?}");
        }
    }
}
