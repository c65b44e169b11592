//! Replies read back: for tests, and for programs that embed the server.
//!
//! Reading is strict: what is no frame of RESP2 or RESP3 is an error, and streamed frames, which
//! Redis does not send, are none. The tree is bounded by the bytes that were read and by
//! [`MAX_DEPTH`], not by announced lengths.

use std::fmt;

use crate::double::format_double;
use crate::number::parse_i64;
use crate::reply::Reply;

/// Deepest nesting of aggregates that [`Value::read`] follows. Redis's own replies have less than
/// ten levels, those of scripts may have any number; the bound keeps the stack small.
pub const MAX_DEPTH: usize = 128;

/// A reply, or a part of one. Text is bytes, since errors and statuses may quote a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+`: a status such as `OK`.
    Simple(Vec<u8>),
    /// `-`: an error, its code included.
    Error(Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$`: a string of bytes.
    Bulk(Vec<u8>),
    /// `$-1` and RESP3's `_`.
    Null,
    /// `*-1`, which only RESP2 has.
    NullArray,
    /// `*`
    Array(Vec<Value>),
    /// `,`
    Double(f64),
    /// `#`
    Bool(bool),
    /// `(`: an integer of any size, in decimal.
    BigNumber(Vec<u8>),
    /// `!`: an error in the form of a string of bytes.
    BulkError(Vec<u8>),
    /// `=`: text to be shown as it is.
    Verbatim {
        /// Three letters, such as `txt`.
        format: [u8; 3],
        /// The text without its format.
        text: Vec<u8>,
    },
    /// `%`
    Map(Vec<(Value, Value)>),
    /// `~`, in the order received.
    Set(Vec<Value>),
    /// `>`: a message that answers no command.
    Push(Vec<Value>),
    /// `|`: facts about the frame that follows them.
    Attribute {
        /// The facts.
        pairs: Vec<(Value, Value)>,
        /// The frame they are about.
        value: Box<Value>,
    },
}

/// Why bytes are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// No frame can begin with the bytes at this offset.
    Malformed(usize),
    /// Aggregates are nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Malformed(offset) => write!(f, "malformed reply at byte {offset}"),
            ReadError::TooDeep => write!(f, "reply nested deeper than {MAX_DEPTH} levels"),
        }
    }
}

impl std::error::Error for ReadError {}

impl Value {
    /// Reads the reply at the front of `bytes`; returns it with its length in bytes, or `None` if
    /// it is incomplete.
    ///
    /// An incomplete reply is read from its start again by the next call.
    ///
    /// # Errors
    /// If no reply can begin like this.
    pub fn read(bytes: &[u8]) -> Result<Option<(Value, usize)>, ReadError> {
        let mut reader = Reader { bytes, at: 0 };
        match reader.value(0) {
            Ok(value) => Ok(Some((value, reader.at))),
            Err(Stop::Incomplete) => Ok(None),
            Err(Stop::Invalid(error)) => Err(error),
        }
    }

    /// Writes the value in the version of `reply`.
    pub fn write(&self, reply: &mut Reply) {
        let write_pairs = |pairs: &[(Value, Value)], reply: &mut Reply| {
            for (key, value) in pairs {
                key.write(reply);
                value.write(reply);
            }
        };
        match self {
            Value::Simple(text) => reply.simple(text),
            Value::Error(text) => reply.error(text),
            Value::Integer(value) => reply.int(*value),
            Value::Bulk(bytes) => reply.bulk(bytes),
            Value::Null => reply.null(),
            Value::NullArray => reply.null_array(),
            Value::Array(elements) => {
                reply.array(elements.len());
                elements.iter().for_each(|element| element.write(reply));
            }
            Value::Double(value) => reply.double(*value),
            Value::Bool(value) => reply.bool(*value),
            Value::BigNumber(digits) => reply.big_number(digits),
            Value::BulkError(text) => reply.bulk_error(text),
            Value::Verbatim { format, text } => reply.verbatim(format, text),
            Value::Map(pairs) => {
                reply.map(pairs.len());
                write_pairs(pairs, reply);
            }
            Value::Set(elements) => {
                reply.set(elements.len());
                elements.iter().for_each(|element| element.write(reply));
            }
            Value::Push(elements) => {
                reply.push(elements.len());
                elements.iter().for_each(|element| element.write(reply));
            }
            Value::Attribute { pairs, value } => {
                if reply.attribute(pairs.len()) {
                    write_pairs(pairs, reply);
                }
                value.write(reply);
            }
        }
    }
}

/// Why reading ended early.
enum Stop {
    Incomplete,
    Invalid(ReadError),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Invalid(ReadError::TooDeep));
        }
        let start = self.at;
        let malformed = Stop::Invalid(ReadError::Malformed(start));
        let line = self.line()?;
        let Some((kind, text)) = line.split_first() else {
            return Err(malformed);
        };
        let number = || parse_i64(text);
        let len = || number().and_then(|len| usize::try_from(len).ok());
        let value = match (kind, number()) {
            (b'+', _) => Some(Value::Simple(text.to_vec())),
            (b'-', _) => Some(Value::Error(text.to_vec())),
            (b':', number) => number.map(Value::Integer),
            (b'_', _) => text.is_empty().then_some(Value::Null),
            (b'#', _) => match text {
                b"t" => Some(Value::Bool(true)),
                b"f" => Some(Value::Bool(false)),
                _ => None,
            },
            (b',', _) => parse_double(text).map(Value::Double),
            (b'(', _) => is_big_number(text).then(|| Value::BigNumber(text.to_vec())),
            (b'$', Some(-1)) => Some(Value::Null),
            (b'*', Some(-1)) => Some(Value::NullArray),
            (b'$' | b'!' | b'=', _) => match len() {
                Some(len) => self.text(*kind, len)?,
                None => None,
            },
            (b'*' | b'~' | b'>' | b'%' | b'|', _) => match len() {
                Some(len) => Some(self.aggregate(*kind, len, depth)?),
                None => None,
            },
            _ => None,
        };
        value.ok_or(malformed)
    }

    /// The next line, without its end.
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|byte| *byte == b'\r').ok_or(Stop::Incomplete)?;
        match rest.get(len + 1) {
            None => return Err(Stop::Incomplete),
            Some(b'\n') => {}
            Some(_) => return Err(Stop::Invalid(ReadError::Malformed(self.at + len + 1))),
        }
        self.at += len + 2;
        Ok(&rest[..len])
    }

    /// The `len` bytes that follow a line with their length.
    fn text(&mut self, kind: u8, len: usize) -> Result<Option<Value>, Stop> {
        let rest = &self.bytes[self.at..];
        if rest.len() < len.saturating_add(2) {
            return Err(Stop::Incomplete);
        }
        let (text, after) = rest.split_at(len);
        if !after.starts_with(b"\r\n") {
            return Ok(None);
        }
        self.at += len + 2;
        Ok(match (kind, text) {
            (b'$', _) => Some(Value::Bulk(text.to_vec())),
            (b'!', _) => Some(Value::BulkError(text.to_vec())),
            (_, [first, second, third, b':', text @ ..]) => {
                Some(Value::Verbatim { format: [*first, *second, *third], text: text.to_vec() })
            }
            _ => None,
        })
    }

    fn aggregate(&mut self, kind: u8, len: usize, depth: usize) -> Result<Value, Stop> {
        Ok(match kind {
            b'%' => Value::Map(self.pairs(len, depth)?),
            b'|' => Value::Attribute { pairs: self.pairs(len, depth)?, value: Box::new(self.value(depth + 1)?) },
            b'~' => Value::Set(self.elements(len, depth)?),
            b'>' => Value::Push(self.elements(len, depth)?),
            _ => Value::Array(self.elements(len, depth)?),
        })
    }

    // Neither reserves by `len`: a frame takes 3 bytes or more, so the bytes bound the loop.

    fn elements(&mut self, len: usize, depth: usize) -> Result<Vec<Value>, Stop> {
        let mut elements = Vec::new();
        for _ in 0..len {
            elements.push(self.value(depth + 1)?);
        }
        Ok(elements)
    }

    fn pairs(&mut self, len: usize, depth: usize) -> Result<Vec<(Value, Value)>, Stop> {
        let mut pairs = Vec::new();
        for _ in 0..len {
            pairs.push((self.value(depth + 1)?, self.value(depth + 1)?));
        }
        Ok(pairs)
    }
}

fn parse_double(text: &[u8]) -> Option<f64> {
    // The standard library knows these words and takes them in any case and length; RESP3 has three.
    let letters = text.iter().any(|byte| byte.is_ascii_alphabetic() && !b"eE".contains(byte));
    if letters && !matches!(text, b"inf" | b"-inf" | b"nan") {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn is_big_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

impl fmt::Display for Value {
    /// As redis-cli 7.4 shows a reply on a terminal, without the last line's end. Two things that
    /// it cannot show are shown too: a big number as its digits, and a value without its attributes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, 0)
    }
}

impl Value {
    /// Lines after the first are indented by `indent` spaces.
    fn show(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        match self {
            Value::Simple(text) | Value::BigNumber(text) | Value::Verbatim { text, .. } => {
                f.write_str(&String::from_utf8_lossy(text))
            }
            Value::Error(text) | Value::BulkError(text) => {
                write!(f, "(error) {}", String::from_utf8_lossy(text))
            }
            Value::Integer(value) => write!(f, "(integer) {value}"),
            Value::Double(value) => write!(f, "(double) {}", format_double(*value)),
            Value::Bool(value) => write!(f, "({value})"),
            Value::Bulk(bytes) => quoted(f, bytes),
            Value::Null | Value::NullArray => f.write_str("(nil)"),
            Value::Array(elements) => show_elements(f, elements, indent, ')', "(empty array)"),
            Value::Set(elements) => show_elements(f, elements, indent, '~', "(empty set)"),
            Value::Push(elements) => show_elements(f, elements, indent, ')', "(empty push)"),
            Value::Map(pairs) => show_pairs(f, pairs, indent),
            Value::Attribute { value, .. } => value.show(f, indent),
        }
    }

    /// Whether redis-cli gives the value of a map's pair a line of its own.
    fn takes_lines(&self) -> bool {
        match self {
            Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => match &elements[..] {
                [] => false,
                [only] => only.takes_lines(),
                _ => true,
            },
            Value::Map(pairs) => match &pairs[..] {
                [] => false,
                [(_, value)] => value.takes_lines(),
                _ => true,
            },
            Value::Attribute { value, .. } => value.takes_lines(),
            _ => false,
        }
    }
}

fn show_elements(
    f: &mut fmt::Formatter<'_>,
    elements: &[Value],
    indent: usize,
    separator: char,
    empty: &str,
) -> fmt::Result {
    if elements.is_empty() {
        return f.write_str(empty);
    }
    let width = digits(elements.len());
    for (index, element) in elements.iter().enumerate() {
        show_index(f, index, width, indent, separator)?;
        element.show(f, indent + width + 2)?;
    }
    Ok(())
}

fn show_pairs(f: &mut fmt::Formatter<'_>, pairs: &[(Value, Value)], indent: usize) -> fmt::Result {
    if pairs.is_empty() {
        return f.write_str("(empty hash)");
    }
    let width = digits(pairs.len());
    let inner = indent + width + 2;
    for (index, (key, value)) in pairs.iter().enumerate() {
        show_index(f, index, width, indent, '#')?;
        key.show(f, inner)?;
        f.write_str(" => ")?;
        if value.takes_lines() {
            write!(f, "\n{:inner$}", "")?;
        }
        value.show(f, inner)?;
    }
    Ok(())
}

/// Begins an element: on a line of its own, except the first, which goes on its parent's line.
fn show_index(f: &mut fmt::Formatter<'_>, index: usize, width: usize, indent: usize, separator: char) -> fmt::Result {
    if index > 0 {
        write!(f, "\n{:indent$}", "")?;
    }
    write!(f, "{:width$}{separator} ", index + 1)
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Writes bytes in double quotes, escaped as Redis's `sdscatrepr`.
fn quoted(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("\"")?;
    for byte in bytes {
        match byte {
            b'\\' => f.write_str("\\\\")?,
            b'"' => f.write_str("\\\"")?,
            b'\n' => f.write_str("\\n")?,
            b'\r' => f.write_str("\\r")?,
            b'\t' => f.write_str("\\t")?,
            0x07 => f.write_str("\\a")?,
            0x08 => f.write_str("\\b")?,
            b' '..=b'~' => write!(f, "{}", char::from(*byte))?,
            other => write!(f, "\\x{other:02x}")?,
        }
    }
    f.write_str("\"")
}
