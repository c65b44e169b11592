//! Replies become Lua's values, and these become replies, as in Redis.

use std::io::IoSlice;

use larder_protocol::{ArgsBuffer, Reply, format_double, parse_i64};
use lua_types::{GcRef, LuaString, LuaTable, LuaValue};
use lua_vm::state::{LuaState, LuaTableRefExt};
use omnilua::{Error, Lua, LuaError, Value};

use super::conclude::Failures;
use super::control::Control;
use crate::error;

/// Tables nested deeper than this are answered as an error: Lua's stack has no room for more in Redis.
const MOST_DEPTH: usize = 3900;
/// Replies of commands are not nested deeper.
const MOST_REPLY_DEPTH: usize = 128;

/// Memory of a reply that serves for the next one, too.
const MOST_KEPT_REPLY_BYTES: usize = 64 << 10;
/// A reply whose values take about as long to make as garbage to look for.
const LARGE_REPLY_BYTES: usize = 4 << 20;
/// Bytes of a result, which may show one string many times.
const MOST_RESULT_BYTES: usize = 256 << 20;
/// Bytes of the arguments of one call.
const MOST_ARGUMENT_BYTES: usize = 512 << 20;

macro_rules! names {
    ($($name:ident,)*) => {
        /// Names of fields, as the interpreter has them.
        pub(super) struct Names {
            $(pub(super) $name: GcRef<LuaString>,)*
        }

        impl Names {
            /// `name` gives the interpreter's string, which it keeps.
            pub(super) fn new(
                mut name: impl FnMut(&[u8]) -> Result<GcRef<LuaString>, LuaError>,
            ) -> Result<Self, LuaError> {
                Ok(Self { $($name: name(stringify!($name).as_bytes())?,)* })
            }
        }
    };
}

names! { err, ok, double, big_number, verbatim_string, format, string, map, set, source, line, ignore_error_stats_update, }

/// The reply of a command, for a script that has asked for RESP3's types or has not, and whether it is an error.
/// `counted`: the statistics have that already.
pub(super) fn to_lua(
    state: &mut LuaState,
    reply: &mut Reply,
    names: &Names,
    resp3: bool,
    counted: bool,
) -> Result<(LuaValue, bool), LuaError> {
    if reply.len() > LARGE_REPLY_BYTES {
        // No garbage stands in its way.
        state.gc_pre_collect_clear();
        state.gc().full_collect();
    }
    let joined;
    let bytes = match reply.as_slice() {
        Some(bytes) => bytes,
        None => {
            joined = join(reply);
            &joined
        }
    };
    let failed = matches!(bytes.first(), Some(b'-' | b'!'));
    let value = match bytes {
        // A command that answers nothing.
        [] => null(resp3),
        _ => Replies { state, names, bytes, resp3, counted }.next(0)?,
    };
    if reply.memory() > MOST_KEPT_REPLY_BYTES {
        *reply = Reply::new();
    }
    reply.clear();
    Ok((value, failed))
}

/// RESP3's null is Lua's; RESP2's is false, so that it can stand in a table.
fn null(resp3: bool) -> LuaValue {
    if resp3 { LuaValue::Nil } else { LuaValue::Bool(false) }
}

/// The bytes of a reply in several pieces.
fn join(reply: &mut Reply) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(reply.len());
    while !reply.is_empty() {
        let mut slices = [IoSlice::new(&[]); 8];
        let count = reply.slices(&mut slices);
        let from = bytes.len();
        slices[..count].iter().for_each(|slice| bytes.extend_from_slice(slice));
        reply.advance(bytes.len() - from);
    }
    bytes
}

/// The frames of a reply, one after the other.
struct Replies<'r> {
    state: &'r mut LuaState,
    names: &'r Names,
    bytes: &'r [u8],
    resp3: bool,
    counted: bool,
}

impl<'r> Replies<'r> {
    /// The next frame's value. What is no frame is nothing: the server's own commands have written it.
    fn next(&mut self, depth: usize) -> Result<LuaValue, LuaError> {
        let Some((&kind, rest)) = self.bytes.split_first().filter(|_| depth <= MOST_REPLY_DEPTH) else {
            return Ok(LuaValue::Nil);
        };
        let end = memchr::memchr(b'\r', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        self.bytes = rest.get(end + 2..).unwrap_or_default();
        let number = || parse_i64(line).unwrap_or_default();
        let names = self.names;
        Ok(match kind {
            b':' => LuaValue::Float(number() as f64),
            b'$' | b'*' if line == b"-1" => {
                if kind == b'$' {
                    null(self.resp3)
                } else {
                    LuaValue::Bool(false)
                }
            }
            b'$' => LuaValue::Str(self.text(number())?),
            b'+' => self.field_of_text(&names.ok, line)?,
            b'-' => error_table(self.state, names, line, self.counted)?,
            b'!' => {
                let text = self.take(number());
                error_table(self.state, names, text, self.counted)?
            }
            b'_' => null(self.resp3),
            b'#' => LuaValue::Bool(line == b"t"),
            b',' => self.field(&names.double, LuaValue::Float(double(line)))?,
            b'(' => self.field_of_text(&names.big_number, line)?,
            b'=' => self.verbatim(number())?,
            b'*' | b'>' => self.array(number(), depth)?,
            b'%' => self.map(number(), depth)?,
            b'~' => self.set(number(), depth)?,
            b'|' => {
                for _ in 0..2 * number() {
                    self.next(depth + 1)?;
                }
                self.next(depth + 1)?
            }
            _ => LuaValue::Nil,
        })
    }

    /// A string of so many bytes.
    fn take(&mut self, length: i64) -> &'r [u8] {
        let length = usize::try_from(length).unwrap_or_default().min(self.bytes.len());
        let (text, rest) = self.bytes.split_at(length);
        self.bytes = rest.get(2..).unwrap_or_default();
        text
    }

    fn text(&mut self, length: i64) -> Result<GcRef<LuaString>, LuaError> {
        let text = self.take(length);
        self.state.intern_str(text)
    }

    /// A table with one field.
    fn field(&mut self, name: &GcRef<LuaString>, value: LuaValue) -> Result<LuaValue, LuaError> {
        let table = self.state.new_table_with_sizes(0, 1)?;
        LuaTableRefExt::raw_set(&table, self.state, LuaValue::Str(*name), value)?;
        Ok(LuaValue::Table(table))
    }

    fn field_of_text(&mut self, name: &GcRef<LuaString>, text: &[u8]) -> Result<LuaValue, LuaError> {
        let text = self.state.intern_str(text)?;
        self.field(name, LuaValue::Str(text))
    }

    fn verbatim(&mut self, length: i64) -> Result<LuaValue, LuaError> {
        let whole = self.take(length);
        let (format, text) = whole.split_at(whole.len().min(3));
        let table = self.state.new_table_with_sizes(0, 2)?;
        for (name, text) in [(self.names.string, text.get(1..).unwrap_or_default()), (self.names.format, format)] {
            let text = self.state.intern_str(text)?;
            LuaTableRefExt::raw_set(&table, self.state, LuaValue::Str(name), LuaValue::Str(text))?;
        }
        self.field(&self.names.verbatim_string, LuaValue::Table(table))
    }

    /// How large to make a table: no larger than what is there can fill.
    fn size(&self, announced: i64) -> u32 {
        /// The shortest frame.
        const LEAST_BYTES: usize = 3;
        u32::try_from(announced).unwrap_or_default().min((self.bytes.len() / LEAST_BYTES) as u32)
    }

    /// The next frame's value within a table: fails if the script has too much of memory then.
    fn element(&mut self, depth: usize) -> Result<LuaValue, LuaError> {
        let element = self.next(depth + 1)?;
        self.state.sandbox_reserve(0).map_or(Ok(element), Err)
    }

    fn array(&mut self, length: i64, depth: usize) -> Result<LuaValue, LuaError> {
        let table = self.state.new_table_with_sizes(self.size(length), 0)?;
        for at in 1..=length {
            let element = self.element(depth)?;
            table.try_raw_set_int(at, element)?;
        }
        Ok(LuaValue::Table(table))
    }

    fn map(&mut self, pairs: i64, depth: usize) -> Result<LuaValue, LuaError> {
        let table = self.state.new_table_with_sizes(0, self.size(pairs))?;
        for _ in 0..pairs {
            let (key, value) = (self.element(depth)?, self.element(depth)?);
            LuaTableRefExt::raw_set(&table, self.state, key, value)?;
        }
        self.field(&self.names.map, LuaValue::Table(table))
    }

    fn set(&mut self, length: i64, depth: usize) -> Result<LuaValue, LuaError> {
        let table = self.state.new_table_with_sizes(0, self.size(length))?;
        for _ in 0..length {
            let element = self.element(depth)?;
            LuaTableRefExt::raw_set(&table, self.state, element, LuaValue::Bool(true))?;
        }
        self.field(&self.names.set, LuaValue::Table(table))
    }
}

fn double(line: &[u8]) -> f64 {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// An error with its code, for a script. `counted`: the statistics have it already.
pub(super) fn error_table(
    state: &mut LuaState,
    names: &Names,
    text: &[u8],
    counted: bool,
) -> Result<LuaValue, LuaError> {
    let table = state.new_table_with_sizes(0, 2)?;
    let text = state.intern_str(text)?;
    LuaTableRefExt::raw_set(&table, state, LuaValue::Str(names.err), LuaValue::Str(text))?;
    if counted {
        LuaTableRefExt::raw_set(&table, state, LuaValue::Str(names.ignore_error_stats_update), LuaValue::Bool(true))?;
    }
    Ok(LuaValue::Table(table))
}

/// An error with its code, for a function of the host.
pub(super) fn error(lua: &Lua, text: &[u8]) -> Result<Value, Error> {
    let table = lua.create_table()?;
    table.raw_set("err", text)?;
    Ok(Value::Table(table))
}

/// Adds an argument of a call as a script gives it; false if it is neither a string nor a number, or if they are too many
/// bytes together.
#[inline]
pub(super) fn word(value: &LuaValue, words: &mut ArgsBuffer) -> bool {
    let added = match value {
        LuaValue::Str(text) => words.push(text.as_bytes()),
        LuaValue::Float(number) => print(*number, |text| words.push(text)),
        LuaValue::Int(number) => words.push(itoa::Buffer::new().format(*number).as_bytes()),
        _ => false,
    };
    added && words.bytes() <= MOST_ARGUMENT_BYTES
}

/// Shows a number without loss: as an integer where it is one; what is no number has a sign, as C prints it.
fn print<R>(number: f64, show: impl FnOnce(&[u8]) -> R) -> R {
    match whole(number) {
        Some(number) => show(itoa::Buffer::new().format(number).as_bytes()),
        None if number.is_nan() && number.is_sign_negative() => show(b"-nan"),
        None => show(format_double(number).as_bytes()),
    }
}

/// The integer that a number is, if it is one and not too large to be sure of that.
fn whole(number: f64) -> Option<i64> {
    const HALF: f64 = (i64::MAX / 2) as f64;
    (number.abs() <= HALF && number.trunc() == number).then_some(number as i64)
}

/// A number as an integer reply: cut, and the least one where it is none that fits.
pub(super) fn integer(number: f64) -> i64 {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if (-BEYOND..BEYOND).contains(&number) { number as i64 } else { i64::MIN }
}

/// How a script's result is written.
pub(super) struct Writing<'w> {
    pub(super) names: &'w Names,
    /// Whether the script has asked for RESP3's types.
    pub(super) resp3: bool,
    /// A table's values that stand in it several times are counted each time.
    pub(super) most_values: usize,
    pub(super) control: &'w Control,
}

/// Writes a script's result, and notes its errors; false if it has too many values, or if the script shall end.
pub(super) fn write(how: &Writing<'_>, value: &LuaValue, reply: &mut Reply, failures: &mut Failures) -> bool {
    let (mark, before) = (reply.mark(), reply.len());
    let most_bytes = before.saturating_add(MOST_RESULT_BYTES);
    let Writing { names, resp3, most_values, control } = *how;
    let mut writer = Writer { names, resp3, control, most_bytes, values_left: most_values, failures };
    writer.write(value, reply, 0);
    let values_left = writer.values_left;
    if reply.len() - before > MOST_RESULT_BYTES {
        reply.rewind(mark);
        failures.note(error::SCRIPT_RESULT_TOO_LARGE.text(), false);
        reply.error(error::SCRIPT_RESULT_TOO_LARGE.text());
    }
    values_left > 0
}

struct Writer<'w> {
    names: &'w Names,
    resp3: bool,
    control: &'w Control,
    /// When the reply has more, what is still to come does not matter.
    most_bytes: usize,
    /// The same when so many values have been written.
    values_left: usize,
    failures: &'w mut Failures,
}

impl Writer<'_> {
    fn write(&mut self, value: &LuaValue, reply: &mut Reply, depth: usize) {
        /// Values between two looks at the wish to end.
        const LOOK_EVERY: usize = 1 << 12;
        self.values_left = self.values_left.saturating_sub(1);
        if self.values_left.is_multiple_of(LOOK_EVERY) && self.control.must_end() {
            self.values_left = 0;
        }
        if reply.len() > self.most_bytes || self.values_left == 0 {
            return reply.null();
        }
        if depth > MOST_DEPTH {
            const TEXT: &str = "ERR reached lua stack limit";
            self.failures.note(TEXT.as_bytes(), false);
            return reply.error(TEXT);
        }
        match value {
            LuaValue::Str(text) => reply.bulk(text.as_bytes()),
            LuaValue::Bool(value) if self.resp3 => reply.bool(*value),
            LuaValue::Bool(true) => reply.int(1),
            LuaValue::Float(number) => reply.int(integer(*number)),
            LuaValue::Int(number) => reply.int(*number),
            LuaValue::Table(table) => self.write_table(table, reply, depth),
            _ => reply.null(),
        }
    }

    fn write_table(&mut self, table: &GcRef<LuaTable>, reply: &mut Reply, depth: usize) {
        if !self.write_special(table, reply, depth) {
            self.write_array(table, reply, depth);
        }
    }

    fn write_array(&mut self, table: &GcRef<LuaTable>, reply: &mut Reply, depth: usize) {
        let (deferred, mut count) = (reply.defer(), 0);
        loop {
            let element = table.get_int(count + 1);
            if element.is_nil() || self.values_left == 0 {
                break;
            }
            self.write(&element, reply, depth + 1);
            count += 1;
        }
        reply.set_array_len(deferred, count as usize);
    }

    /// Writes a table that stands for something else than an array; whether it does.
    fn write_special(&mut self, table: &GcRef<LuaTable>, reply: &mut Reply, depth: usize) -> bool {
        let names = self.names;
        let at = |name| table.get_short_str(name);
        if let LuaValue::Str(text) = at(&names.err) {
            self.failures.note(text.as_bytes(), is_counted(names, table));
            reply.error(one_line(text));
        } else if let LuaValue::Str(text) = at(&names.ok) {
            reply.simple(one_line(text));
        } else if let LuaValue::Float(number) = at(&names.double) {
            reply.double(number);
        } else if let LuaValue::Str(digits) = at(&names.big_number) {
            reply.big_number(one_line(digits));
        } else if let Some((format, text)) = self.verbatim(table) {
            let mut three = format.as_bytes().to_vec();
            three.resize(3, b' ');
            reply.verbatim(three, text.as_bytes());
        } else if let LuaValue::Table(map) = at(&names.map) {
            reply.map(pairs(&map).count());
            for (key, value) in pairs(&map) {
                self.write(&key, reply, depth + 1);
                self.write(&value, reply, depth + 1);
            }
        } else if let LuaValue::Table(set) = at(&names.set) {
            reply.set(pairs(&set).count());
            pairs(&set).for_each(|(key, _)| self.write(&key, reply, depth + 1));
        } else {
            return false;
        }
        true
    }

    fn verbatim(&self, table: &GcRef<LuaTable>) -> Option<(GcRef<LuaString>, GcRef<LuaString>)> {
        let verbatim = table.get_short_str(&self.names.verbatim_string);
        let text = |name| verbatim.as_table()?.get_short_str(name).as_string().copied();
        text(&self.names.format).zip(text(&self.names.string))
    }
}

/// Whether the statistics have an error already: it is that of a command.
pub(super) fn is_counted(names: &Names, error: &GcRef<LuaTable>) -> bool {
    matches!(error.get_short_str(&names.ignore_error_stats_update), LuaValue::Bool(true))
}

/// What stands in a table.
pub(super) fn pairs(table: &GcRef<LuaTable>) -> impl Iterator<Item = (LuaValue, LuaValue)> {
    std::iter::successors(table.next_pair(&LuaValue::Nil), |(key, _)| table.next_pair(key))
}

/// A text that goes into a line: an end of line in it is a blank.
fn one_line(text: GcRef<LuaString>) -> Vec<u8> {
    let mut text = text.as_bytes().to_vec();
    text.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
    text
}
