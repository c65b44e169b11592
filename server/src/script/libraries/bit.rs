//! The library `bit`: operations on 32 bits, which the results show as signed numbers.

use omnilua::{Error, Lua, Table, Value};

use super::{Fail, Problem, argument, function, number};

/// A function of one number, or of two.
type Unary = (&'static str, fn(u32) -> u32);
type Binary = (&'static str, fn(u32, u32) -> u32);

/// All functions, in a table.
pub(super) fn table(lua: &Lua, fail: &Fail) -> Result<Table, Error> {
    let table = lua.create_table()?;
    let unary: [Unary; 3] = [("tobit", |bits| bits), ("bnot", |bits| !bits), ("bswap", u32::swap_bytes)];
    for (name, operation) in unary {
        let run = move |_: &Lua, values: &[Value]| Ok(vec![shown(operation(bits(values, 0, name)?))]);
        table.raw_set(name, function(lua, fail, run)?)?;
    }
    let folds: [Binary; 3] = [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, operation) in folds {
        let run = move |_: &Lua, values: &[Value]| {
            let mut result = bits(values, 0, name)?;
            for at in 1..values.len() {
                result = operation(result, bits(values, at, name)?);
            }
            Ok(vec![shown(result)])
        };
        table.raw_set(name, function(lua, fail, run)?)?;
    }
    let shifts: [Binary; 5] = [
        ("lshift", |bits, by| bits << by),
        ("rshift", |bits, by| bits >> by),
        ("arshift", |bits, by| (bits as i32 >> by) as u32),
        ("rol", u32::rotate_left),
        ("ror", u32::rotate_right),
    ];
    for (name, operation) in shifts {
        let run = move |_: &Lua, values: &[Value]| {
            Ok(vec![shown(operation(bits(values, 0, name)?, bits(values, 1, name)? & 31))])
        };
        table.raw_set(name, function(lua, fail, run)?)?;
    }
    table.raw_set("tohex", function(lua, fail, tohex)?)?;
    Ok(table)
}

/// A number in hexadecimal digits, so many of the last ones; negative for capitals.
fn tohex(lua: &Lua, values: &[Value]) -> Result<Vec<Value>, Problem> {
    let value = bits(values, 0, "tohex")?;
    let digits = if values.len() < 2 { 8 } else { bits(values, 1, "tohex")? as i32 };
    let count = digits.unsigned_abs().min(8) as usize;
    let text = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    Ok(vec![Value::String(lua.create_string(&text[8 - count..])?)])
}

/// The low 32 bits of a number, rounded to the nearest integer, the even one of two.
fn bits(values: &[Value], at: usize, name: &str) -> Result<u32, Problem> {
    let number = number(values, at).ok_or_else(|| argument(values, at, name, "number"))?;
    // Adding 2^52 + 2^51 moves the integer into the low bits of the double, rounded.
    Ok((number + 6_755_399_441_055_744.0).to_bits() as u32)
}

fn shown(bits: u32) -> Value {
    Value::Number(f64::from(bits as i32))
}
