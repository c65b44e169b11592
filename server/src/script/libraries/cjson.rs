//! The library `cjson`: JSON in the bytes and with the errors of lua-cjson 2.1.0, which Redis has.

use std::cell::RefCell;
use std::rc::Rc;

use lua_types::{GcRef, LuaTable, LuaValue};
use lua_vm::state::{LuaState, LuaTableRefExt};
use omnilua::{Error, Lua, Table, Value};

use super::bare::{self, first_text, give, give_text, place, type_name};
use super::numbers::strtod;
use super::watch::{Output, PIECE_BYTES, Watch};
use super::{Called, Fail, Problem, argument, function, number, printed, text, wrong};
use crate::script::convert::{integer, pairs};

/// What the library's functions of configuration set.
#[derive(Clone)]
struct Settings {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth: i64,
    decode_depth: i64,
    /// Whether numbers that JSON does not have are written: no, yes, or as null.
    encode_invalid: Invalid,
    decode_invalid: bool,
    precision: i64,
    keep_buffer: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Invalid {
    No,
    Yes,
    Null,
}

type Shared = Rc<RefCell<Settings>>;
/// A setting: its function's name, the most that it may be, and where it is.
type IntegerSetting = (&'static str, i64, fn(&mut Settings) -> &mut i64);
type FlagSetting = (&'static str, fn(&mut Settings) -> &mut bool);

/// Nesting beyond this is refused whatever the settings say: the stack has an end.
const MOST_DEPTH: i64 = 10_000;

/// A new instance, with settings of its own.
pub(super) fn table(lua: &Lua, fail: &Fail) -> Result<Table, Error> {
    let settings: Shared = Rc::new(RefCell::new(Settings {
        sparse_convert: false,
        sparse_ratio: 2,
        sparse_safe: 10,
        encode_depth: 1000,
        decode_depth: 1000,
        encode_invalid: Invalid::No,
        decode_invalid: true,
        precision: 14,
        keep_buffer: true,
    }));
    let table = lua.create_table()?;
    let (with, called) = (settings.clone(), fail.clone());
    table.raw_set("encode", function(lua, fail, move |_, values| encode(&called, values, &with.borrow()))?)?;
    let (with, called) = (settings.clone(), fail.clone());
    table.raw_set("decode", function(lua, fail, move |_, values| decode(&called, values, &with.borrow()))?)?;
    add_settings(lua, fail, &table, &settings)?;
    let again = fail.clone();
    table.raw_set("new", function(lua, fail, move |lua, _| Ok(vec![Value::Table(self::table(lua, &again)?)]))?)?;
    table.raw_set("null", null())?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

fn null() -> Value {
    Value::LightUserData(std::ptr::null_mut())
}

/// Functions that change a setting, if they get an argument, and give it.
fn add_settings(lua: &Lua, fail: &Fail, table: &Table, settings: &Shared) -> Result<(), Error> {
    let integers: [IntegerSetting; 3] = [
        ("encode_max_depth", i64::from(i32::MAX), |settings| &mut settings.encode_depth),
        ("decode_max_depth", i64::from(i32::MAX), |settings| &mut settings.decode_depth),
        ("encode_number_precision", 14, |settings| &mut settings.precision),
    ];
    for (name, most, field) in integers {
        let with = settings.clone();
        let run = move |_: &Lua, values: &[Value]| {
            check_count(values, 1, name)?;
            let mut settings = with.borrow_mut();
            change_integer(values, 0, name, 1, most, field(&mut settings))?;
            Ok(vec![Value::Number(*field(&mut settings) as f64)])
        };
        table.raw_set(name, function(lua, fail, run)?)?;
    }
    let flags: [FlagSetting; 2] = [
        ("encode_keep_buffer", |settings| &mut settings.keep_buffer),
        ("decode_invalid_numbers", |settings| &mut settings.decode_invalid),
    ];
    for (name, field) in flags {
        let with = settings.clone();
        let run = move |_: &Lua, values: &[Value]| {
            check_count(values, 1, name)?;
            let mut settings = with.borrow_mut();
            if let Some(value) = change_flag(values, 0, name)? {
                *field(&mut settings) = value;
            }
            Ok(vec![Value::Boolean(*field(&mut settings))])
        };
        table.raw_set(name, function(lua, fail, run)?)?;
    }
    let with = settings.clone();
    let invalid = move |lua: &Lua, values: &[Value]| {
        check_count(values, 1, "encode_invalid_numbers")?;
        let mut settings = with.borrow_mut();
        if text(values, 0).as_deref() == Some(b"null") {
            settings.encode_invalid = Invalid::Null;
        } else if let Some(value) = change_flag(values, 0, "encode_invalid_numbers")? {
            settings.encode_invalid = if value { Invalid::Yes } else { Invalid::No };
        }
        Ok(vec![match settings.encode_invalid {
            Invalid::Null => Value::String(lua.create_string("null")?),
            invalid => Value::Boolean(invalid == Invalid::Yes),
        }])
    };
    table.raw_set("encode_invalid_numbers", function(lua, fail, invalid)?)?;
    let with = settings.clone();
    let sparse = move |_: &Lua, values: &[Value]| {
        const NAME: &str = "encode_sparse_array";
        check_count(values, 3, NAME)?;
        let mut settings = with.borrow_mut();
        if let Some(value) = change_flag(values, 0, NAME)? {
            settings.sparse_convert = value;
        }
        let most = i64::from(i32::MAX);
        change_integer(values, 1, NAME, 0, most, &mut settings.sparse_ratio)?;
        change_integer(values, 2, NAME, 0, most, &mut settings.sparse_safe)?;
        let (ratio, safe) = (settings.sparse_ratio as f64, settings.sparse_safe as f64);
        Ok(vec![Value::Boolean(settings.sparse_convert), Value::Number(ratio), Value::Number(safe)])
    };
    table.raw_set("encode_sparse_array", function(lua, fail, sparse)?)
}

fn check_count(values: &[Value], most: usize, name: &str) -> Result<(), Problem> {
    if values.len() > most {
        return Err(wrong(most, name, "found too many arguments"));
    }
    Ok(())
}

fn change_integer(
    values: &[Value],
    at: usize,
    name: &str,
    least: i64,
    most: i64,
    field: &mut i64,
) -> Result<(), Problem> {
    if matches!(values.get(at), None | Some(Value::Nil)) {
        return Ok(());
    }
    let value = number(values, at).map(integer).ok_or_else(|| argument(values, at, name, "number"))?;
    if !(least..=most).contains(&value) {
        // The library names the first argument, whichever it is.
        return Err(wrong(0, name, &format!("expected integer between {least} and {most}")));
    }
    *field = value;
    Ok(())
}

fn change_flag(values: &[Value], at: usize, name: &str) -> Result<Option<bool>, Problem> {
    match values.get(at) {
        None | Some(Value::Nil) => Ok(None),
        Some(Value::Boolean(value)) => Ok(Some(*value)),
        Some(_) => match text(values, at).as_deref() {
            Some(b"on") => Ok(Some(true)),
            Some(b"off") => Ok(Some(false)),
            Some(word) => {
                let word = word.split(|byte| *byte == 0).next().unwrap_or_default();
                Err(wrong(at, name, &format!("invalid option '{}'", String::from_utf8_lossy(word))))
            }
            None => Err(argument(values, at, name, "string")),
        },
    }
}

fn encode(called: &Called, values: &[Value], settings: &Settings) -> Result<Vec<Value>, Problem> {
    if values.len() != 1 {
        return Err(wrong(0, "encode", "expected 1 argument"));
    }
    called.bare.on_stack(values, |state| {
        let mut out = Output::new(&called.watch);
        write(&bare::argument(state, 0), settings, &mut out, 0)?;
        give_text(state, &out.bytes)
    })
}

fn write(value: &LuaValue, settings: &Settings, out: &mut Output<'_>, depth: i64) -> Result<(), Problem> {
    out.check()?;
    match value {
        LuaValue::Str(text) => write_string(text.as_bytes(), out)?,
        LuaValue::Float(number) => write_number(*number, settings, &mut out.bytes)?,
        LuaValue::Int(number) => write_number(*number as f64, settings, &mut out.bytes)?,
        LuaValue::Bool(value) => out.bytes.extend_from_slice(if *value { b"true" } else { b"false" }),
        LuaValue::Nil => out.bytes.extend_from_slice(b"null"),
        LuaValue::LightUserData(pointer) if pointer.is_null() => out.bytes.extend_from_slice(b"null"),
        LuaValue::Table(table) => write_table(table, settings, out, depth + 1)?,
        other => return Err(format!("Cannot serialise {}: type not supported", type_name(other)).into()),
    }
    Ok(())
}

fn write_number(number: f64, settings: &Settings, out: &mut Vec<u8>) -> Result<(), Problem> {
    if !number.is_finite() {
        match settings.encode_invalid {
            Invalid::No => return Err("Cannot serialise number: must not be NaN or Inf".into()),
            Invalid::Null => out.extend_from_slice(b"null"),
            // Its sign is not shown.
            Invalid::Yes if number.is_nan() => out.extend_from_slice(b"nan"),
            Invalid::Yes => out.extend_from_slice(printed(number, 14).as_bytes()),
        }
        return Ok(());
    }
    out.extend_from_slice(printed(number, settings.precision as usize).as_bytes());
    Ok(())
}

/// Writes a text piece by piece: it may become six times as long.
fn write_string(text: &[u8], out: &mut Output<'_>) -> Result<(), Problem> {
    out.bytes.push(b'"');
    for piece in text.chunks(PIECE_BYTES) {
        escape(piece, &mut out.bytes);
        out.check()?;
    }
    out.bytes.push(b'"');
    Ok(())
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'/' => b'/',
            8 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            12 => b'f',
            b'\r' => b'r',
            0..32 | 127 => {
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                continue;
            }
            _ => {
                out.push(*byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
}

/// The length of a table that is to be an array.
fn array_length(table: &GcRef<LuaTable>, settings: &Settings) -> Result<Option<i64>, Problem> {
    let (mut last, mut count) = (0, 0_i64);
    for (key, _) in pairs(table) {
        match place(&key) {
            Some(place) => last = last.max(place),
            None => return Ok(None),
        }
        count += 1;
    }
    let is_sparse =
        settings.sparse_ratio > 0 && last > count.saturating_mul(settings.sparse_ratio) && last > settings.sparse_safe;
    match (is_sparse, settings.sparse_convert) {
        (false, _) => Ok(Some(last).filter(|last| *last > 0)),
        (true, true) => Ok(None),
        (true, false) => Err("Cannot serialise table: excessively sparse array".into()),
    }
}

fn write_table(table: &GcRef<LuaTable>, settings: &Settings, out: &mut Output<'_>, depth: i64) -> Result<(), Problem> {
    if depth > settings.encode_depth.min(MOST_DEPTH) {
        return Err(format!("Cannot serialise, excessive nesting ({depth})").into());
    }
    if let Some(length) = array_length(table, settings)? {
        out.bytes.push(b'[');
        for at in 1..=length {
            if at > 1 {
                out.bytes.push(b',');
            }
            write(&table.get_int(at), settings, out, depth)?;
        }
        out.bytes.push(b']');
        return Ok(());
    }
    out.bytes.push(b'{');
    for (number, (key, value)) in pairs(table).enumerate() {
        if number > 0 {
            out.bytes.push(b',');
        }
        match key {
            LuaValue::Str(text) => write_string(text.as_bytes(), out)?,
            LuaValue::Float(_) | LuaValue::Int(_) => {
                out.bytes.push(b'"');
                write(&key, settings, out, depth)?;
                out.bytes.push(b'"');
            }
            other => {
                let what = type_name(&other);
                return Err(format!("Cannot serialise {what}: table key must be a number or string").into());
            }
        }
        out.bytes.push(b':');
        write(&value, settings, out, depth)?;
    }
    out.bytes.push(b'}');
    Ok(())
}

/// What the reader finds.
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Wrong(&'static str),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Self::ObjectBegin => "T_OBJ_BEGIN",
            Self::ObjectEnd => "T_OBJ_END",
            Self::ArrayBegin => "T_ARR_BEGIN",
            Self::ArrayEnd => "T_ARR_END",
            Self::Text(_) => "T_STRING",
            Self::Number(_) => "T_NUMBER",
            Self::Boolean(_) => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::Colon => "T_COLON",
            Self::Comma => "T_COMMA",
            Self::End => "T_END",
            Self::Wrong(what) => what,
        }
    }
}

fn decode(called: &Called, values: &[Value], settings: &Settings) -> Result<Vec<Value>, Problem> {
    if values.len() != 1 {
        return Err(wrong(0, "decode", "expected 1 argument"));
    }
    if !matches!(values[0], Value::String(_) | Value::Number(_) | Value::Integer(_)) {
        return Err(argument(values, 0, "decode", "string"));
    }
    called.bare.on_stack(values, |state| {
        let (given, watch) = (bare::argument(state, 0), &called.watch);
        let bytes = first_text(&given, values);
        // What is in UTF-16 or UTF-32 has a zero here.
        if bytes.len() >= 2 && (bytes[0] == 0 || bytes[1] == 0) {
            return Err("JSON parser does not support UTF-16 or UTF-32".into());
        }
        let mut reader = Reader { state, watch, settings, bytes: &bytes, at: 0, token_at: 0, depth: 0 };
        let token = reader.next();
        let value = reader.value(token)?;
        match reader.next() {
            Token::End => give(state, &[value]),
            other => Err(reader.unexpected("the end", &other)),
        }
    })
}

struct Reader<'r> {
    state: &'r mut LuaState,
    watch: &'r Watch,
    settings: &'r Settings,
    bytes: &'r [u8],
    at: usize,
    /// Where the last token begins, or where it is wrong.
    token_at: usize,
    depth: i64,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn unexpected(&self, expected: &str, found: &Token) -> Problem {
        format!("Expected {expected} but found {} at character {}", found.name(), self.token_at + 1).into()
    }

    fn next(&mut self) -> Token {
        while matches!(self.peek(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.token_at = self.at;
        // To C a text ends at a zero.
        if self.peek(0) == 0 {
            return Token::End;
        }
        let single = match self.peek(0) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => return self.number(),
            _ => return self.word(),
        };
        self.at += 1;
        single
    }

    fn word(&mut self) -> Token {
        let rest = &self.bytes[self.at..];
        for (word, token) in
            [(b"true".as_slice(), Token::Boolean(true)), (b"false", Token::Boolean(false)), (b"null", Token::Null)]
        {
            if rest.starts_with(word) {
                self.at += word.len();
                return token;
            }
        }
        match self.settings.decode_invalid && is_invalid_number(rest) {
            true => self.number(),
            false => Token::Wrong("invalid token"),
        }
    }

    /// A number as C reads it, or none of JSON's if the settings let those in.
    fn number(&mut self) -> Token {
        let rest = &self.bytes[self.at..];
        if !self.settings.decode_invalid && is_invalid_number(rest) {
            return Token::Wrong("invalid number");
        }
        match strtod(rest) {
            Some((number, length)) => {
                self.at += length;
                Token::Number(number)
            }
            None => Token::Wrong("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        let mut text = Vec::new();
        self.at += 1;
        loop {
            let rest = &self.bytes[self.at..];
            let plain = memchr::memchr3(b'"', b'\\', 0, rest).unwrap_or(rest.len());
            text.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.bytes.get(self.at) {
                // To C a text ends at a zero.
                None | Some(0) => return self.wrong("unexpected end of string"),
                Some(b'"') => {
                    self.at += 1;
                    return Token::Text(text);
                }
                Some(_) => match self.peek(1) {
                    b'u' => match self.unicode() {
                        Some((character, length)) => {
                            let mut bytes = [0; 4];
                            text.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
                            self.at += length;
                        }
                        None => return self.wrong("invalid unicode escape code"),
                    },
                    escape => {
                        let byte = match escape {
                            b'"' | b'\\' | b'/' => escape,
                            b'b' => 8,
                            b't' => b'\t',
                            b'n' => b'\n',
                            b'f' => 12,
                            b'r' => b'\r',
                            _ => return self.wrong("invalid escape code"),
                        };
                        text.push(byte);
                        self.at += 2;
                    }
                },
            }
        }
    }

    fn wrong(&mut self, what: &'static str) -> Token {
        self.token_at = self.at;
        Token::Wrong(what)
    }

    /// The character of an escape sequence, or of two that are a pair, and its length.
    fn unicode(&self) -> Option<(char, usize)> {
        let unit = |at: usize| {
            let digits = self.bytes.get(at + 2..at + 6)?;
            let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u32::from_str_radix(text, 16).ok().filter(|_| self.bytes[at..].starts_with(b"\\u"))
        };
        let first = unit(self.at)?;
        if !(0xd800..0xe000).contains(&first) {
            return Some((char::from_u32(first)?, 6));
        }
        let second = unit(self.at + 6).filter(|second| (0xdc00..0xe000).contains(second))?;
        if first >= 0xdc00 {
            return None;
        }
        Some((char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))?, 12))
    }

    fn value(&mut self, token: Token) -> Result<LuaValue, Problem> {
        bare::check(self.state, self.watch)?;
        match token {
            Token::Text(text) => Ok(LuaValue::Str(self.state.intern_str(&text)?)),
            Token::Number(number) => Ok(LuaValue::Float(number)),
            Token::Boolean(value) => Ok(LuaValue::Bool(value)),
            Token::Null => Ok(LuaValue::LightUserData(std::ptr::null_mut())),
            Token::ObjectBegin => self.object(),
            Token::ArrayBegin => self.array(),
            other => Err(self.unexpected("value", &other)),
        }
    }

    fn descend(&mut self) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > self.settings.decode_depth.min(MOST_DEPTH) {
            let (depth, at) = (self.depth, self.at);
            return Err(format!("Found too many nested data structures ({depth}) at character {at}").into());
        }
        Ok(())
    }

    fn object(&mut self) -> Result<LuaValue, Problem> {
        self.descend()?;
        let table = self.state.new_table();
        let mut token = self.next();
        if !matches!(token, Token::ObjectEnd) {
            loop {
                let Token::Text(key) = token else { return Err(self.unexpected("object key string", &token)) };
                token = self.next();
                if !matches!(token, Token::Colon) {
                    return Err(self.unexpected("colon", &token));
                }
                token = self.next();
                let value = self.value(token)?;
                let key = LuaValue::Str(self.state.intern_str(&key)?);
                LuaTableRefExt::raw_set(&table, self.state, key, value)?;
                match self.next() {
                    Token::ObjectEnd => break,
                    Token::Comma => token = self.next(),
                    other => return Err(self.unexpected("comma or object end", &other)),
                }
            }
        }
        self.depth -= 1;
        Ok(LuaValue::Table(table))
    }

    fn array(&mut self) -> Result<LuaValue, Problem> {
        self.descend()?;
        let table = self.state.new_table();
        let mut token = self.next();
        if !matches!(token, Token::ArrayEnd) {
            for at in 1.. {
                let value = self.value(token)?;
                LuaTableRefExt::raw_set_int(&table, self.state, at, value)?;
                match self.next() {
                    Token::ArrayEnd => break,
                    Token::Comma => token = self.next(),
                    other => return Err(self.unexpected("comma or array end", &other)),
                }
            }
        }
        self.depth -= 1;
        Ok(LuaValue::Table(table))
    }
}

/// Whether JSON has no such number though C reads it.
fn is_invalid_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    match text {
        [b'+', ..] => true,
        [b'0', b'x' | b'X' | b'0'..=b'9', ..] => true,
        [b'0'..=b'9', ..] => false,
        _ => {
            let word: Vec<u8> = text.iter().take(3).map(u8::to_ascii_lowercase).collect();
            word == b"inf" || word == b"nan"
        }
    }
}
