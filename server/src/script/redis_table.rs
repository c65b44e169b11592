//! What the table `redis` has beside calls: constants, and functions that need nothing of the call that runs.

use omnilua::{Error, Lua, Table, Value, Variadic};
use sha1::{Digest, Sha1};

use super::bounds;
use super::convert::error;
use super::libraries::numbers::number_of;
use super::libraries::printed;
use super::names::{concatenations, for_compiler};
use crate::info::REDIS_VERSION;

/// Levels of `redis.log`, with their names.
const LEVELS: &[&str] = &["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"];
/// Bytes of one message to the log.
const MOST_LOGGED_BYTES: usize = 64 << 10;
/// Where effects of a script go, in Redis's bits.
const EVERYWHERE: u8 = 3;

/// The digest of a script, in hexadecimal digits.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A new table with the constants.
pub(super) fn constants(lua: &Lua) -> Result<Table, Error> {
    let table = lua.create_table()?;
    for (level, name) in LEVELS.iter().enumerate() {
        table.raw_set(*name, level as f64)?;
    }
    for (name, bits) in [("REPL_NONE", 0), ("REPL_AOF", 1), ("REPL_SLAVE", 2), ("REPL_REPLICA", 2)] {
        table.raw_set(name, f64::from(bits))?;
    }
    table.raw_set("REPL_ALL", f64::from(EVERYWHERE))?;
    table.raw_set("REDIS_VERSION", REDIS_VERSION)?;
    let number =
        REDIS_VERSION.split('.').filter_map(|part| part.parse::<u32>().ok()).fold(0, |sum, part| sum << 8 | part);
    table.raw_set("REDIS_VERSION_NUM", f64::from(number))?;
    let single = |lua: &Lua, values: &[Value]| match values {
        [Value::String(text)] => text.as_bytes().map(Some),
        _ => error(lua, b"ERR wrong number or type of arguments").map(|_| None),
    };
    let wrong = |lua: &Lua| error(lua, b"ERR wrong number or type of arguments");
    let status = lua.create_function(move |lua, values: Variadic<Value>| match single(lua, &values)? {
        Some(text) => {
            let table = lua.create_table()?;
            table.raw_set("ok", text.as_slice())?;
            Ok(Value::Table(table))
        }
        None => wrong(lua),
    })?;
    table.raw_set("status_reply", status)?;
    let failure = lua.create_function(move |lua, values: Variadic<Value>| match single(lua, &values)? {
        Some(text) => error(lua, &with_code(&text)),
        None => wrong(lua),
    })?;
    table.raw_set("error_reply", failure)?;
    table.raw_set("replicate_commands", lua.create_function(|_, _: Variadic<Value>| Ok(true))?)?;
    // There is no debugger to stop in.
    table.raw_set("breakpoint", lua.create_function(|_, _: Variadic<Value>| Ok(false))?)?;
    table.raw_set("debug", lua.create_function(|_, _: Variadic<Value>| Ok(()))?)?;
    Ok(table)
}

/// An error's text with a code: its first word, or `ERR` if it has but one.
fn with_code(text: &[u8]) -> Vec<u8> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (code, rest) = match text.iter().position(|byte| *byte == b' ') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (b"ERR".as_slice(), text),
    };
    let mut rest = rest;
    while let [b'\r' | b'\n', inner @ ..] | [inner @ .., b'\r' | b'\n'] = rest {
        rest = inner;
    }
    [code, b" ", rest].concat()
}

/// Functions for the prelude: each answers a text if it fails, else nil and its value.
pub(super) fn functions(lua: &Lua, host: &Table) -> Result<(), Error> {
    let sha1hex = lua.create_function(|_, values: Variadic<Value>| match values.as_slice() {
        [value] => Ok((None, Some(digest(&shown(value).unwrap_or_default())))),
        _ => Ok((Some("wrong number of arguments"), None)),
    })?;
    host.raw_set("sha1hex", sha1hex)?;
    let renamed = lua.create_function(|lua, text: Value| match &text {
        Value::String(source) => Ok(Value::String(lua.create_string(for_compiler(&source.as_bytes()?))?)),
        _ => Ok(text),
    })?;
    host.raw_set("for_compiler", renamed)?;
    let refused = lua.create_function(|_, text: Value| match &text {
        Value::String(source) => Ok(bounds::check(&source.as_bytes()?).err()),
        _ => Ok(None),
    })?;
    host.raw_set("refused", refused)?;
    let counted = lua.create_function(|_, text: Value| match &text {
        Value::String(source) => Ok(concatenations(&source.as_bytes()?) as f64),
        _ => Ok(0.0),
    })?;
    host.raw_set("concatenations", counted)?;
    host.raw_set("log", lua.create_function(|_, values: Variadic<Value>| Ok(log(&values)))?)?;
    let set_repl = lua.create_function(|_, values: Variadic<Value>| {
        let problem = match values.as_slice() {
            [value] if number(value).is_some_and(|bits| bits as i64 & !i64::from(EVERYWHERE) != 0) => {
                Some("Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
            }
            [_] => None,
            _ => Some("redis.set_repl() requires one argument."),
        };
        Ok(problem)
    })?;
    host.raw_set("set_repl", set_repl)
}

/// The text of a value that has one, as Lua makes it.
fn shown(value: &Value) -> Option<Vec<u8>> {
    /// Digits of a number.
    const DIGITS: usize = 14;
    match value {
        Value::String(string) => string.as_bytes().ok(),
        Value::Number(number) => Some(printed(*number, DIGITS).into_bytes()),
        Value::Integer(number) => Some(printed(*number as f64, DIGITS).into_bytes()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        Value::String(text) => number_of(&text.as_bytes().ok()?),
        _ => None,
    }
}

/// Writes to the server's log; gives what is wrong with the call.
fn log(values: &[Value]) -> Option<&'static str> {
    let [level, words @ ..] = values else { return Some("redis.log() requires two arguments or more.") };
    if words.is_empty() {
        return Some("redis.log() requires two arguments or more.");
    }
    let Some(level) = number(level) else { return Some("First argument must be a number (log level).") };
    let mut text = Vec::new();
    for word in words.iter().filter_map(shown) {
        if !text.is_empty() {
            text.push(b' ');
        }
        text.extend_from_slice(&word[..word.len().min(MOST_LOGGED_BYTES.saturating_sub(text.len()))]);
    }
    let text = String::from_utf8_lossy(&text);
    match level as i64 {
        0 => tracing::trace!("{text}"),
        1 => tracing::debug!("{text}"),
        2 => tracing::info!("{text}"),
        3 => tracing::warn!("{text}"),
        _ => return Some("Invalid log level."),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_a_code() {
        for (text, expected) in
            [("x", "ERR x"), ("MY error", "MY error"), ("-MY error\r\n", "MY error"), ("-x", "ERR x"), ("", "ERR ")]
        {
            assert_eq!(String::from_utf8_lossy(&with_code(text.as_bytes())), expected);
        }
        assert_eq!(digest(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }
}
