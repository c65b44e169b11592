//! The library `cmsgpack`: values as MessagePack, in the bytes that Redis's library chooses.

use lua_types::{GcRef, LuaTable, LuaValue};
use lua_vm::api;
use lua_vm::state::{LuaState, LuaTableRefExt};
use omnilua::{Error, Lua, Table, Value};

use super::bare::{self, first_text, give, give_text, place};
use super::watch::{Output, Watch};
use super::{Called, Fail, Problem, argument, function, number, text, wrong};
use crate::script::convert::{integer, pairs};

/// Tables nested deeper than this are packed as nil, as in Redis.
const MOST_PACKED_DEPTH: usize = 16;
/// Arrays and maps nested deeper than this are not unpacked.
const MOST_UNPACKED_DEPTH: usize = 2000;
/// Values that one call answers.
const MOST_RESULTS: usize = 7999;

const BAD_FORMAT: &str = "Bad data format in input.";
const MISSING: &str = "Missing bytes in input.";

/// All functions and constants, in a table.
pub(super) fn table(lua: &Lua, fail: &Fail) -> Result<Table, Error> {
    let table = lua.create_table()?;
    let called = fail.clone();
    table.raw_set("pack", function(lua, fail, move |_, values| pack(&called, values))?)?;
    let called = fail.clone();
    table.raw_set("unpack", function(lua, fail, move |_, values| unpack(&called, values, "unpack", None, 0))?)?;
    let called = fail.clone();
    let one = move |_: &Lua, values: &[Value]| {
        let offset = whole(values, 1, "unpack_one", 0)?;
        unpack(&called, values, "unpack_one", Some(1), offset)
    };
    table.raw_set("unpack_one", function(lua, fail, one)?)?;
    let called = fail.clone();
    let limited = move |_: &Lua, values: &[Value]| {
        let limit = number(values, 1).ok_or_else(|| argument(values, 1, "unpack_limit", "number"))?;
        let offset = whole(values, 2, "unpack_limit", 0)?;
        unpack(&called, values, "unpack_limit", Some(integer(limit)), offset)
    };
    table.raw_set("unpack_limit", function(lua, fail, limited)?)?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(table)
}

fn whole(values: &[Value], at: usize, name: &str, default: i64) -> Result<i64, Problem> {
    match values.get(at) {
        None | Some(Value::Nil) => Ok(default),
        Some(_) => number(values, at).map(integer).ok_or_else(|| argument(values, at, name, "number")),
    }
}

fn pack(called: &Called, values: &[Value]) -> Result<Vec<Value>, Problem> {
    if values.is_empty() {
        return Err("bad argument #0 to 'pack' (MessagePack pack needs input.)".into());
    }
    called.bare.on_stack(values, |state| {
        let mut out = Output::new(&called.watch);
        for number in 0..api::get_top(state) as u32 {
            write(&bare::argument(state, number), &mut out, 0)?;
        }
        give_text(state, &out.bytes)
    })
}

fn write(value: &LuaValue, output: &mut Output<'_>, depth: usize) -> Result<(), Problem> {
    output.check()?;
    let out = &mut output.bytes;
    match value {
        LuaValue::Str(text) => {
            write_string(text.as_bytes(), out);
            output.check()?;
        }
        LuaValue::Bool(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        LuaValue::Float(number) => write_number(*number, out),
        LuaValue::Int(number) => write_integer(*number, out),
        LuaValue::Table(table) if depth < MOST_PACKED_DEPTH => write_table(table, output, depth)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

/// A head: with the count in itself if it is small, else in the fewest bytes that there is a code for.
fn write_head(out: &mut Vec<u8>, count: usize, small: (u8, usize), codes: [Option<u8>; 3]) {
    let [one, two, four] = codes;
    if count < small.1 {
        out.push(small.0 | count as u8);
    } else if let (Some(code), Ok(count)) = (one, u8::try_from(count)) {
        out.extend_from_slice(&[code, count]);
    } else if let (Some(code), Ok(count)) = (two, u16::try_from(count)) {
        out.push(code);
        out.extend_from_slice(&count.to_be_bytes());
    } else if let Some(code) = four {
        out.push(code);
        out.extend_from_slice(&(count as u32).to_be_bytes());
    }
}

fn write_string(text: &[u8], out: &mut Vec<u8>) {
    write_head(out, text.len(), (0xa0, 32), [Some(0xd9), Some(0xda), Some(0xdb)]);
    out.extend_from_slice(text);
}

fn write_number(number: f64, out: &mut Vec<u8>) {
    let whole = integer(number);
    if whole as f64 == number && number < 9_223_372_036_854_775_808.0 {
        write_integer(whole, out);
    } else if f64::from(number as f32) == number {
        out.push(0xca);
        out.extend_from_slice(&(number as f32).to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_integer(number: i64, out: &mut Vec<u8>) {
    match number {
        0..=0x7f => out.push(number as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, number as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend_from_slice(&number.to_be_bytes());
        }
        -32..=-1 => out.push(number as i8 as u8),
        -128..=-33 => out.extend_from_slice(&[0xd0, number as i8 as u8]),
        -32768..=-129 => {
            out.push(0xd1);
            out.extend_from_slice(&(number as i16).to_be_bytes());
        }
        -2_147_483_648..=-32769 => {
            out.push(0xd2);
            out.extend_from_slice(&(number as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// A table as an array, if its keys are 1 to their number, else as a map.
fn write_table(table: &GcRef<LuaTable>, out: &mut Output<'_>, depth: usize) -> Result<(), Problem> {
    let last = pairs(table).try_fold(0, |last, (key, _)| place(&key).map(|place| last.max(place)));
    let count = pairs(table).count();
    if last == Some(count as i64) {
        write_head(&mut out.bytes, count, (0x90, 16), [None, Some(0xdc), Some(0xdd)]);
        for at in 1..=count {
            write(&table.get_int(at as i64), out, depth + 1)?;
        }
        return Ok(());
    }
    write_head(&mut out.bytes, count, (0x80, 16), [None, Some(0xde), Some(0xdf)]);
    for (key, value) in pairs(table) {
        write(&key, out, depth + 1)?;
        write(&value, out, depth + 1)?;
    }
    Ok(())
}

/// Unpacks values from an offset on, all or a number of them; then the result begins with the offset of the next.
fn unpack(
    called: &Called,
    values: &[Value],
    name: &str,
    limit: Option<i64>,
    offset: i64,
) -> Result<Vec<Value>, Problem> {
    let length = text(values, 0).ok_or_else(|| argument(values, 0, name, "string"))?.len();
    if offset < 0 || limit.is_some_and(|limit| limit < 0) {
        return Err(format!("Invalid request to unpack with offset of {offset} and limit of {length}.").into());
    }
    if offset as u64 > length as u64 {
        return Err(format!("Start offset {offset} greater than input length {length}.").into());
    }
    // To ask for none from the beginning is to ask for all.
    let limit = limit.filter(|limit| *limit > 0 || offset > 0);
    let most = limit.map_or(usize::MAX, |limit| limit as usize);
    called.bare.on_stack(values, |state| {
        let (given, mut results, watch) = (bare::argument(state, 0), Vec::new(), &called.watch);
        let bytes = first_text(&given, values);
        let mut reader = Reader { state, watch, bytes: &bytes, at: offset as usize };
        while reader.at < bytes.len() && results.len() < most {
            if results.len() == MOST_RESULTS {
                let what = "too many return values at once; use unpack_one or unpack_limit instead.";
                return Err(wrong(0, name, what));
            }
            results.push(reader.value(0)?);
        }
        if limit.is_some() {
            let next = if reader.at < bytes.len() { reader.at as f64 } else { -1.0 };
            results.insert(0, LuaValue::Float(next));
        }
        give(state, &results)
    })
}

struct Reader<'r> {
    state: &'r mut LuaState,
    watch: &'r Watch,
    bytes: &'r [u8],
    at: usize,
}

impl<'r> Reader<'r> {
    fn take(&mut self, count: usize) -> Result<&'r [u8], Problem> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or(MISSING)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        self.take(N)?.try_into().map_err(|_| MISSING.into())
    }

    fn count(&mut self, bytes: usize) -> Result<usize, Problem> {
        Ok(self.take(bytes)?.iter().fold(0, |count, byte| count << 8 | usize::from(*byte)))
    }

    fn value(&mut self, depth: usize) -> Result<LuaValue, Problem> {
        bare::check(self.state, self.watch)?;
        if depth > MOST_UNPACKED_DEPTH {
            return Err(BAD_FORMAT.into());
        }
        let [code] = self.fixed()?;
        let number = match code {
            0x00..=0x7f => f64::from(code),
            0xe0.. => f64::from(code as i8),
            0xcc => f64::from(u8::from_be_bytes(self.fixed()?)),
            0xcd => f64::from(u16::from_be_bytes(self.fixed()?)),
            0xce => f64::from(u32::from_be_bytes(self.fixed()?)),
            // To Redis's library what is larger is negative.
            0xcf | 0xd3 => i64::from_be_bytes(self.fixed()?) as f64,
            0xd0 => f64::from(i8::from_be_bytes(self.fixed()?)),
            0xd1 => f64::from(i16::from_be_bytes(self.fixed()?)),
            0xd2 => f64::from(i32::from_be_bytes(self.fixed()?)),
            0xca => f64::from(f32::from_be_bytes(self.fixed()?)),
            0xcb => f64::from_be_bytes(self.fixed()?),
            _ => return self.other(code, depth),
        };
        Ok(LuaValue::Float(number))
    }

    fn other(&mut self, code: u8, depth: usize) -> Result<LuaValue, Problem> {
        match code {
            0xc0 => Ok(LuaValue::Nil),
            0xc2 | 0xc3 => Ok(LuaValue::Bool(code == 0xc3)),
            0xa0..=0xbf => self.string(usize::from(code & 0x1f)),
            0xd9 => self.count(1).and_then(|count| self.string(count)),
            0xda => self.count(2).and_then(|count| self.string(count)),
            0xdb => self.count(4).and_then(|count| self.string(count)),
            0x90..=0x9f => self.array(usize::from(code & 0xf), depth),
            0xdc => self.count(2).and_then(|count| self.array(count, depth)),
            0xdd => self.count(4).and_then(|count| self.array(count, depth)),
            0x80..=0x8f => self.map(usize::from(code & 0xf), depth),
            0xde => self.count(2).and_then(|count| self.map(count, depth)),
            0xdf => self.count(4).and_then(|count| self.map(count, depth)),
            _ => Err(BAD_FORMAT.into()),
        }
    }

    fn string(&mut self, count: usize) -> Result<LuaValue, Problem> {
        let bytes = self.take(count)?;
        Ok(LuaValue::Str(self.state.intern_str(bytes)?))
    }

    fn array(&mut self, count: usize, depth: usize) -> Result<LuaValue, Problem> {
        let table = self.state.new_table();
        for at in 1..=count {
            let value = self.value(depth + 1)?;
            LuaTableRefExt::raw_set_int(&table, self.state, at as i64, value)?;
        }
        Ok(LuaValue::Table(table))
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<LuaValue, Problem> {
        let table = self.state.new_table();
        for _ in 0..count {
            let (key, value) = (self.value(depth + 1)?, self.value(depth + 1)?);
            LuaTableRefExt::raw_set(&table, self.state, key, value)?;
        }
        Ok(LuaValue::Table(table))
    }
}
