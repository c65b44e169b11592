//! The library `struct`: numbers and strings as the bytes of C's structures.

use omnilua::{Error, Lua, Table, Value};

use super::format::unsigned;
use super::watch::Watch;
use super::{Fail, MOST_BYTES, Problem, argument, function, number, text, wrong};
use crate::script::convert::integer;

/// The most bytes of an integer.
const MOST_INTEGER: usize = 32;
/// The alignment that `!` means without a number.
const NATIVE_ALIGNMENT: usize = 8;

/// All functions, in a table.
pub(super) fn table(lua: &Lua, fail: &Fail) -> Result<Table, Error> {
    let table = lua.create_table()?;
    let watch = fail.watch.clone();
    table.raw_set("pack", function(lua, fail, move |lua, values| pack(lua, &watch, values))?)?;
    let watch = fail.watch.clone();
    table.raw_set("unpack", function(lua, fail, move |lua, values| unpack(lua, &watch, values))?)?;
    table.raw_set("size", function(lua, fail, size)?)?;
    Ok(table)
}

/// Reads a format: its options, the order of bytes and the alignment.
struct Format {
    bytes: Vec<u8>,
    at: usize,
    little: bool,
    alignment: usize,
}

impl Format {
    fn of(values: &[Value], name: &str) -> Result<Self, Problem> {
        let mut bytes = text(values, 0).ok_or_else(|| argument(values, 0, name, "string"))?;
        // To C a format ends at a zero.
        bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
        Ok(Self { bytes, at: 0, little: cfg!(target_endian = "little"), alignment: 1 })
    }

    fn count(&mut self, default: usize) -> Result<usize, Problem> {
        let digits = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let text = &self.bytes[self.at..self.at + digits];
        self.at += digits;
        let count = larder_protocol::parse_i64(text).and_then(|count| i32::try_from(count).ok());
        count.map(|count| count as usize).ok_or_else(|| "integral size overflow".into())
    }

    /// The next option, its size, and the padding before it at a place.
    fn next(&mut self, place: usize) -> Result<Option<(u8, usize, usize)>, Problem> {
        let Some(option) = self.bytes.get(self.at).copied() else { return Ok(None) };
        self.at += 1;
        let size = match option {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.count(1)?,
            b'i' | b'I' => {
                let size = self.count(4)?;
                if size > MOST_INTEGER {
                    return Err(format!("integral size {size} is larger than limit of {MOST_INTEGER}").into());
                }
                size
            }
            _ => 0,
        };
        let aligned = match option {
            b'c' => 0,
            _ => size.min(self.alignment),
        };
        let padding = if aligned > 1 { (aligned - (place & (aligned - 1))) & (aligned - 1) } else { 0 };
        Ok(Some((option, size, padding)))
    }

    /// What is no value: blanks, the order of bytes, the alignment.
    fn control(&mut self, option: u8, name: &str) -> Result<(), Problem> {
        match option {
            b' ' => {}
            b'>' => self.little = false,
            b'<' => self.little = true,
            b'!' => {
                let alignment = self.count(NATIVE_ALIGNMENT)?;
                if alignment == 0 || !alignment.is_power_of_two() {
                    return Err(format!("alignment {alignment} is not a power of 2").into());
                }
                self.alignment = alignment;
            }
            other => return Err(wrong(0, name, &format!("invalid format option '{}'", other as char))),
        }
        Ok(())
    }
}

fn pack(lua: &Lua, watch: &Watch, values: &[Value]) -> Result<Vec<Value>, Problem> {
    const NAME: &str = "pack";
    let (mut format, mut out, mut next) = (Format::of(values, NAME)?, Vec::new(), 1);
    while let Some((option, size, padding)) = format.next(out.len())? {
        watch.check()?;
        out.resize(out.len() + padding, 0);
        let is_value = matches!(option, b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' | b'f' | b'd');
        if is_value || matches!(option, b'c' | b's') {
            next += 1;
        }
        let at = next - 1;
        match option {
            b'x' => out.push(0),
            b'c' | b's' => {
                let text = text(values, at).ok_or_else(|| expected(values, at, NAME, "string"))?;
                let size = if size == 0 { text.len() } else { size };
                if text.len() < size {
                    return Err(wrong(at + 1, NAME, "string too short"));
                }
                out.extend_from_slice(&text[..size]);
                if option == b's' {
                    out.push(0);
                }
            }
            _ if is_value => {
                let number = number(values, at).ok_or_else(|| expected(values, at, NAME, "number"))?;
                let from = out.len();
                match option {
                    b'f' => out.extend_from_slice(&(number as f32).to_le_bytes()),
                    b'd' => out.extend_from_slice(&number.to_le_bytes()),
                    _ => {
                        let bits = unsigned(number);
                        out.extend((0..size).map(|byte| if byte < 8 { (bits >> (8 * byte)) as u8 } else { 0 }));
                    }
                }
                if !format.little {
                    out[from..].reverse();
                }
            }
            _ => format.control(option, NAME)?,
        }
        if out.len() > MOST_BYTES {
            return Err(Problem::Memory);
        }
    }
    Ok(vec![Value::String(lua.create_string(out)?)])
}

/// What is wrong with an argument; after the last one there is a nil.
fn expected(values: &[Value], at: usize, name: &str, what: &str) -> Problem {
    match at.cmp(&values.len()) {
        std::cmp::Ordering::Equal => wrong(at, name, &format!("{what} expected, got nil")),
        _ => argument(values, at, name, what),
    }
}

fn unpack(lua: &Lua, watch: &Watch, values: &[Value]) -> Result<Vec<Value>, Problem> {
    const NAME: &str = "unpack";
    const MOST_RESULTS: usize = 7900;
    let mut format = Format::of(values, NAME)?;
    let data = text(values, 1).ok_or_else(|| argument(values, 1, NAME, "string"))?;
    let from = match values.get(2) {
        None | Some(Value::Nil) => 1,
        Some(_) => number(values, 2).map(integer).ok_or_else(|| argument(values, 2, NAME, "number"))?,
    };
    if from == 0 {
        return Err(wrong(2, NAME, "offset must be 1 or greater"));
    }
    // As in C, what is before the beginning is far behind the end.
    let mut at = from.wrapping_sub(1) as usize;
    let short = || wrong(1, NAME, "data string too short");
    let mut results: Vec<Value> = Vec::new();
    while let Some((option, mut size, padding)) = format.next(at)? {
        watch.check()?;
        at = at.checked_add(padding).ok_or_else(short)?;
        let end = at.checked_add(size).filter(|end| *end <= data.len()).ok_or_else(short)?;
        if results.len() > MOST_RESULTS {
            return Err("too many results to unpack".into());
        }
        match option {
            b'x' => {}
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' | b'f' | b'd' => {
                let mut bytes = data[at..end].to_vec();
                if !format.little {
                    bytes.reverse();
                }
                results.push(Value::Number(read(&bytes, option)));
            }
            b'c' => {
                if size == 0 {
                    let Some(Value::Number(before)) = results.pop() else {
                        return Err("format 'c0' needs a previous size".into());
                    };
                    size = unsigned(before) as usize;
                }
                let end = at.checked_add(size).filter(|end| *end <= data.len()).ok_or_else(short)?;
                results.push(Value::String(lua.create_string(&data[at..end])?));
            }
            b's' => {
                let length = data[at..].iter().position(|byte| *byte == 0).ok_or("unfinished string in data")?;
                results.push(Value::String(lua.create_string(&data[at..at + length])?));
                size = length + 1;
            }
            _ => format.control(option, NAME)?,
        }
        at += size;
    }
    results.push(Value::Number(at.wrapping_add(1) as i64 as f64));
    Ok(results)
}

/// A number of bytes in little-endian order.
fn read(bytes: &[u8], option: u8) -> f64 {
    match (option, bytes) {
        (b'f', [a, b, c, d]) => f32::from_le_bytes([*a, *b, *c, *d]).into(),
        (b'd', bytes) => bytes.first_chunk().map_or(0.0, |bytes| f64::from_le_bytes(*bytes)),
        _ => {
            let bits = bytes.iter().take(8).rev().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            if !option.is_ascii_lowercase() {
                return bits as f64;
            }
            let unused = 64 - 8 * bytes.len().clamp(1, 8) as u32;
            ((bits << unused) as i64 >> unused) as f64
        }
    }
}

fn size(_: &Lua, values: &[Value]) -> Result<Vec<Value>, Problem> {
    const NAME: &str = "size";
    let (mut format, mut total) = (Format::of(values, NAME)?, 0_usize);
    while let Some((option, size, padding)) = format.next(total)? {
        if option == b's' {
            return Err(wrong(0, NAME, "option 's' has no fixed size"));
        }
        if option == b'c' && size == 0 {
            return Err(wrong(0, NAME, "option 'c0' has no fixed size"));
        }
        if !option.is_ascii_alphanumeric() {
            format.control(option, NAME)?;
        }
        total = total.saturating_add(padding).saturating_add(size);
    }
    Ok(vec![Value::Number(total as f64)])
}
