//! Replies read back: for tests, and for programs that embed the server.
//!
//! Reading is strict: what is no frame of RESP2 or RESP3 is an error, and streamed frames, which
//! Redis does not send, are none. The tree is bounded by the bytes that were read and by
//! [`MAX_DEPTH`], not by announced lengths.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::double::format_double;
use crate::number::parse_i64;
use crate::reply::Reply;

/// Deepest nesting of aggregates that [`Value::read`] follows. Redis's own replies have less than
/// ten levels, those of scripts may have any number; the bound keeps the stack small.
pub const MAX_DEPTH: usize = 128;

/// A reply, or a part of one. Text is bytes, since errors and statuses may quote a client.
///
/// The methods `as_...` give what a reply of one kind holds, and `None` for one of another kind:
///
/// ```
/// use larder_protocol::Value;
///
/// let value = Value::Bulk(b"alice".to_vec());
/// assert_eq!(value.as_str(), Some("alice"));
/// assert_eq!(value.as_i64(), None);
/// assert_eq!(format!("{value:?}"), r#"Bulk("alice")"#); // for whoever looks for a mistake
/// assert_eq!(value.to_string(), r#""alice""#); // as redis-cli shows it
/// ```
#[derive(Clone, PartialEq)]
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

impl Value {
    /// The bytes of a string, a status, a verbatim text or a big number.
    ///
    /// ```
    /// # use larder_protocol::Value;
    /// assert_eq!(Value::Bulk(vec![0xff, 0]).as_bytes(), Some(&[0xff, 0][..]));
    /// assert_eq!(Value::Null.as_bytes(), None);
    /// ```
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(text) | Value::Bulk(text) | Value::BigNumber(text) | Value::Verbatim { text, .. } => {
                Some(text)
            }
            Value::Attribute { value, .. } => value.as_bytes(),
            _ => None,
        }
    }

    /// As [`Value::as_bytes`], if the bytes are UTF-8. An error is no text: see [`Value::as_error`].
    ///
    /// ```
    /// # use larder_protocol::Value;
    /// assert_eq!(Value::Simple(b"OK".to_vec()).as_str(), Some("OK"));
    /// assert_eq!(Value::Bulk(vec![0xff]).as_str(), None);
    /// assert_eq!(Value::Error(b"ERR no".to_vec()).as_str(), None);
    /// ```
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// An integer. Numbers that Redis keeps as strings are no integers: GET answers those as text.
    ///
    /// ```
    /// # use larder_protocol::Value;
    /// assert_eq!(Value::Integer(5).as_i64(), Some(5));
    /// assert_eq!(Value::Bulk(b"5".to_vec()).as_i64(), None);
    /// ```
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Integer(value) => Some(*value),
            Value::Attribute { value, .. } => value.as_i64(),
            _ => None,
        }
    }

    /// The elements of an array, a set or a message.
    ///
    /// ```
    /// # use larder_protocol::Value;
    /// let reply = Value::Array(vec![Value::Integer(1), Value::Null]);
    /// assert_eq!(reply.as_array().map(<[Value]>::len), Some(2));
    /// ```
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => Some(elements),
            Value::Attribute { value, .. } => value.as_array(),
            _ => None,
        }
    }

    /// Whether there is no value, as for a key that does not exist.
    ///
    /// ```
    /// # use larder_protocol::Value;
    /// assert!(Value::Null.is_null() && Value::NullArray.is_null());
    /// assert!(!Value::Bulk(Vec::new()).is_null());
    /// ```
    pub fn is_null(&self) -> bool {
        match self {
            Value::Null | Value::NullArray => true,
            Value::Attribute { value, .. } => value.is_null(),
            _ => false,
        }
    }

    /// Whether it is an error.
    ///
    /// ```
    /// # use larder_protocol::Value;
    /// assert!(Value::Error(b"ERR syntax error".to_vec()).is_error());
    /// assert!(!Value::Null.is_error());
    /// ```
    pub fn is_error(&self) -> bool {
        self.as_error().is_some()
    }

    /// The text of an error, its code first. What is not UTF-8 in it, because it quotes a command, is replaced.
    ///
    /// ```
    /// # use larder_protocol::Value;
    /// let reply = Value::Error(b"ERR syntax error".to_vec());
    /// assert_eq!(reply.as_error().as_deref(), Some("ERR syntax error"));
    /// assert_eq!(Value::Null.as_error(), None);
    /// ```
    pub fn as_error(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Error(text) | Value::BulkError(text) => Some(String::from_utf8_lossy(text)),
            Value::Attribute { value, .. } => value.as_error(),
            _ => None,
        }
    }
}

/// Bytes as text in quotes; what is no text is escaped.
struct Escaped<'a>(&'a [u8]);

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            // Debug's escapes without those of single quotes, which need none here.
            for part in chunk.valid().split_inclusive('\'') {
                let (part, quote) = part.strip_suffix('\'').map_or((part, ""), |part| (part, "'"));
                write!(f, "{}{quote}", part.escape_debug())?;
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        f.write_char('"')
    }
}

impl fmt::Debug for Value {
    /// The kind and what it holds: `Array([Bulk("k\xff"), Null])`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = |kind: &str, text: &[u8]| f.debug_tuple(kind).field(&Escaped(text)).finish();
        match self {
            Value::Simple(bytes) => text("Simple", bytes),
            Value::Error(bytes) => text("Error", bytes),
            Value::Bulk(bytes) => text("Bulk", bytes),
            Value::BigNumber(bytes) => text("BigNumber", bytes),
            Value::BulkError(bytes) => text("BulkError", bytes),
            Value::Verbatim { format, text } => {
                f.debug_struct("Verbatim").field("format", &Escaped(format)).field("text", &Escaped(text)).finish()
            }
            Value::Null => f.write_str("Null"),
            Value::NullArray => f.write_str("NullArray"),
            Value::Integer(value) => f.debug_tuple("Integer").field(value).finish(),
            Value::Double(value) => f.debug_tuple("Double").field(value).finish(),
            Value::Bool(value) => f.debug_tuple("Bool").field(value).finish(),
            Value::Array(elements) => f.debug_tuple("Array").field(elements).finish(),
            Value::Set(elements) => f.debug_tuple("Set").field(elements).finish(),
            Value::Push(elements) => f.debug_tuple("Push").field(elements).finish(),
            Value::Map(pairs) => f.debug_tuple("Map").field(pairs).finish(),
            Value::Attribute { pairs, value } => {
                f.debug_struct("Attribute").field("pairs", pairs).field("value", value).finish()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_text_with_escapes() {
        let bulk = |bytes: &[u8]| Value::Bulk(bytes.to_vec());
        let cases = [
            (bulk(b"it's\r\n\0\"\\"), r#"Bulk("it's\r\n\0\"\\")"#),
            (bulk("\u{fc}".as_bytes()), "Bulk(\"\u{fc}\")"),
            (bulk(b"k\xff\xc3."), r#"Bulk("k\xff\xc3.")"#),
            (Value::Error(b"ERR no".to_vec()), r#"Error("ERR no")"#),
            (Value::Array(vec![Value::Null, Value::Integer(-1)]), "Array([Null, Integer(-1)])"),
            (Value::Map(vec![(bulk(b"a"), Value::Bool(true))]), r#"Map([(Bulk("a"), Bool(true))])"#),
            (Value::Verbatim { format: *b"txt", text: b"a b".to_vec() }, r#"Verbatim { format: "txt", text: "a b" }"#),
        ];
        for (value, shown) in cases {
            assert_eq!(format!("{value:?}"), shown);
        }
    }

    #[test]
    fn attributes_do_not_hide_a_value() {
        let about = |value: Value| Value::Attribute { pairs: Vec::new(), value: Box::new(value) };
        assert_eq!(about(Value::Integer(1)).as_i64(), Some(1));
        assert_eq!(about(Value::Simple(b"OK".to_vec())).as_str(), Some("OK"));
        assert!(about(Value::Null).is_null() && about(Value::Error(Vec::new())).is_error());
        assert_eq!(about(Value::Push(vec![Value::Null])).as_array(), Some(&[Value::Null][..]));
    }
}
