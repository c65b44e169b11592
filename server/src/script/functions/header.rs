//! The first line of a library: `#!lua name=...`.

use crate::config::split_words;
use crate::error::{self, Error};

/// What a library says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    /// Its length, without the end of the line.
    pub(super) length: usize,
}

/// Reads the first line of a library.
pub(super) fn read(code: &[u8]) -> Result<Header, Error> {
    const NAME: &[u8] = b"name=";
    if !code.starts_with(b"#!") {
        return Err(error::LIBRARY_HEADER_MISSING);
    }
    // To Redis the text of the header is a C string.
    let end = code.iter().position(|byte| matches!(byte, b'\n' | 0)).filter(|at| code[*at] == b'\n');
    let length = end.ok_or(error::LIBRARY_HEADER_INVALID)?;
    let words = split_words(&code[..length]).ok_or(error::LIBRARY_HEADER_INVALID)?;
    let (engine, words) = words.split_first().ok_or(error::LIBRARY_HEADER_INVALID)?;
    let mut name = None;
    for word in words {
        if !word.get(..NAME.len()).is_some_and(|start| start.eq_ignore_ascii_case(NAME)) {
            return Err(error::library_option_unknown(word));
        }
        if name.replace(word[NAME.len()..].to_vec()).is_some() {
            return Err(error::LIBRARY_NAMED_TWICE);
        }
    }
    let name = name.ok_or(error::LIBRARY_WITHOUT_NAME)?;
    if !is_name(&name) {
        return Err(error::LIBRARY_NAME);
    }
    let engine = engine.get(2..).unwrap_or_default();
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(error::library_engine_unknown(engine));
    }
    Ok(Header { name, length })
}

/// Whether a library or a function may be called so.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let name = |code: &str| read(code.as_bytes()).map(|header| String::from_utf8(header.name).unwrap());
        for code in ["#!lua name=a_1\nx", "#!LUA NAME=a_1 \r\n", "#!lua \"name=a_1\"\n"] {
            assert_eq!(name(code).as_deref(), Ok("a_1"));
        }
        for code in
            ["", "x", "#!", "#!lua name=a", "#!\n", "#!lua\n", "#!lua name=\n", "#!lua name=a-b\n", "#!js name=a\n"]
        {
            assert!(name(code).is_err(), "{code}");
        }
        assert_eq!(read(b"#!lua name=a\nx").unwrap().length, 12);
    }
}
