//! Replies become Lua's values, and these become replies, as in Redis.

use larder_protocol::{Reply, Value as Frame, format_double};
use omnilua::{Error, Lua, Table, Value};

use super::interpreter::message;
use crate::error;

/// Tables nested deeper than this are answered as an error: Lua's stack has no room for more in Redis.
const MOST_DEPTH: usize = 3900;

/// Bytes of a result, which may show one string many times.
const MOST_RESULT_BYTES: usize = 256 << 20;
/// Bytes of the arguments of one call.
const MOST_ARGUMENT_BYTES: usize = 512 << 20;

/// Marks an error that the statistics have, in Redis's words.
const COUNTED: &str = "ignore_error_stats_update";

/// A reply of a command, for a script that has asked for RESP3's types or has not.
pub(super) fn to_lua(lua: &Lua, frame: &Frame, resp3: bool) -> Result<Value, Error> {
    Ok(match frame {
        Frame::Integer(number) => Value::Number(*number as f64),
        Frame::Bulk(bytes) => Value::String(lua.create_string(bytes)?),
        Frame::NullArray => Value::Boolean(false),
        Frame::Simple(text) => field(lua, "ok", text.as_slice())?,
        Frame::Error(text) | Frame::BulkError(text) => error(lua, text, true)?,
        Frame::Array(elements) | Frame::Push(elements) => {
            let table = lua.create_table()?;
            for (at, element) in elements.iter().enumerate() {
                table.raw_set((at + 1) as f64, to_lua(lua, element, resp3)?)?;
            }
            Value::Table(table)
        }
        // RESP3's null is Lua's; RESP2's is false, so that it can stand in a table.
        Frame::Null if resp3 => Value::Nil,
        Frame::Null => Value::Boolean(false),
        Frame::Bool(value) => Value::Boolean(*value),
        Frame::Double(number) => field(lua, "double", *number)?,
        Frame::BigNumber(digits) => field(lua, "big_number", digits.as_slice())?,
        Frame::Verbatim { format, text } => {
            let table = lua.create_table()?;
            table.raw_set("string", text.as_slice())?;
            table.raw_set("format", format.as_slice())?;
            field(lua, "verbatim_string", table)?
        }
        Frame::Map(pairs) => {
            let table = lua.create_table()?;
            for (key, value) in pairs {
                table.raw_set(to_lua(lua, key, resp3)?, to_lua(lua, value, resp3)?)?;
            }
            field(lua, "map", table)?
        }
        Frame::Set(elements) => {
            let table = lua.create_table()?;
            for element in elements {
                table.raw_set(to_lua(lua, element, resp3)?, true)?;
            }
            field(lua, "set", table)?
        }
        Frame::Attribute { value, .. } => to_lua(lua, value, resp3)?,
    })
}

fn field(lua: &Lua, name: &str, value: impl omnilua::IntoLua) -> Result<Value, Error> {
    let table = lua.create_table()?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

/// An error with its code, for a script. `counted`: the statistics have it already.
pub(super) fn error(lua: &Lua, text: &[u8], counted: bool) -> Result<Value, Error> {
    let table = lua.create_table()?;
    table.raw_set("err", text)?;
    if counted {
        table.raw_set(COUNTED, true)?;
    }
    Ok(Value::Table(table))
}

/// The arguments of a call as a script gives them; `None` if one is neither a string nor a number, or if they are too many
/// bytes together.
pub(super) fn arguments(values: &[Value]) -> Option<Vec<Vec<u8>>> {
    let mut left = MOST_ARGUMENT_BYTES;
    let word = |value| {
        let word = bytes(value)?;
        left = left.checked_sub(word.len())?;
        Some(word)
    };
    values.iter().map(word).collect()
}

/// A string, or a number as the server prints it.
pub(super) fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(string) => string.as_bytes().ok(),
        Value::Number(number) => Some(print(*number)),
        Value::Integer(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}

/// A number without loss: as an integer where it is one.
fn print(number: f64) -> Vec<u8> {
    const HALF: f64 = (i64::MAX / 2) as f64;
    if number.abs() <= HALF && number.trunc() == number {
        return (number as i64).to_string().into_bytes();
    }
    if number.is_nan() && number.is_sign_negative() {
        return b"-nan".to_vec();
    }
    format_double(number).as_bytes().to_vec()
}

/// A number as an integer reply: cut, and the least one where it is none that fits.
pub(super) fn integer(number: f64) -> i64 {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if (-BEYOND..BEYOND).contains(&number) { number as i64 } else { i64::MIN }
}

/// Who hears of each error in a result, and whether the statistics have it already.
pub(super) type Hear<'h> = &'h mut dyn FnMut(&[u8], bool);

/// Writes a script's result. `resp3`: the script has asked for RESP3's types.
pub(super) fn write(value: &Value, resp3: bool, reply: &mut Reply, hear: Hear<'_>) {
    let mut result = Reply::with_proto(reply.proto());
    write_nested(value, resp3, &mut result, 0, hear);
    match result.len() > MOST_RESULT_BYTES {
        true => {
            let text = error::SCRIPT_RESULT_TOO_LARGE;
            hear(text.text(), false);
            reply.error(text.text());
        }
        false => reply.append(&mut result),
    }
}

fn write_nested(value: &Value, resp3: bool, reply: &mut Reply, depth: usize, hear: Hear<'_>) {
    if reply.len() > MOST_RESULT_BYTES {
        // The rest does not matter: all of it becomes an error.
        return reply.null();
    }
    if depth > MOST_DEPTH {
        const TEXT: &str = "ERR reached lua stack limit";
        hear(TEXT.as_bytes(), false);
        return reply.error(TEXT);
    }
    match value {
        Value::String(string) => match string.as_bytes() {
            Ok(bytes) => reply.bulk(&bytes),
            Err(_) => reply.null(),
        },
        Value::Boolean(value) if resp3 => reply.bool(*value),
        Value::Boolean(true) => reply.int(1),
        Value::Number(number) => reply.int(integer(*number)),
        Value::Integer(number) => reply.int(*number),
        Value::Table(table) => {
            if let Err(error) = write_table(table, resp3, reply, depth, hear) {
                reply.error([b"ERR ", message(&error).as_slice()].concat());
            }
        }
        _ => reply.null(),
    }
}

fn write_table(table: &Table, resp3: bool, reply: &mut Reply, depth: usize, hear: Hear<'_>) -> Result<(), Error> {
    if let Some(text) = text_at(table, "err")? {
        hear(&text, is_counted(table));
        reply.error(one_line(text));
        return Ok(());
    }
    if let Some(text) = text_at(table, "ok")? {
        reply.simple(one_line(text));
        return Ok(());
    }
    if let Value::Number(number) = table.raw_get("double")? {
        reply.double(number);
        return Ok(());
    }
    if let Some(digits) = text_at(table, "big_number")? {
        reply.big_number(one_line(digits));
        return Ok(());
    }
    if let Value::Table(verbatim) = table.raw_get("verbatim_string")?
        && let (Some(format), Some(text)) = (text_at(&verbatim, "format")?, text_at(&verbatim, "string")?)
    {
        let mut three = format;
        three.resize(3, b' ');
        reply.verbatim(three, text);
        return Ok(());
    }
    if let Value::Table(map) = table.raw_get("map")? {
        let pairs = map.raw_pairs()?;
        reply.map(pairs.len());
        for (key, value) in &pairs {
            write_nested(key, resp3, reply, depth + 1, hear);
            write_nested(value, resp3, reply, depth + 1, hear);
        }
        return Ok(());
    }
    if let Value::Table(set) = table.raw_get("set")? {
        let pairs = set.raw_pairs()?;
        reply.set(pairs.len());
        pairs.iter().for_each(|(key, _)| write_nested(key, resp3, reply, depth + 1, hear));
        return Ok(());
    }
    let (deferred, mut count) = (reply.defer(), 0);
    loop {
        let element: Value = table.raw_get((count + 1) as f64)?;
        if matches!(element, Value::Nil) {
            break;
        }
        write_nested(&element, resp3, reply, depth + 1, hear);
        count += 1;
    }
    reply.set_array_len(deferred, count);
    Ok(())
}

/// Whether the statistics have an error already: it is that of a command.
pub(super) fn is_counted(table: &Table) -> bool {
    matches!(table.raw_get(COUNTED), Ok(Value::Boolean(true)))
}

/// A string at a name, if there is one.
pub(super) fn text_at(table: &Table, name: &str) -> Result<Option<Vec<u8>>, Error> {
    match table.raw_get(name)? {
        Value::String(string) => string.as_bytes().map(Some),
        _ => Ok(None),
    }
}

/// A text that goes into a line: an end of line in it is a blank.
fn one_line(mut text: Vec<u8>) -> Vec<u8> {
    text.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
    text
}
