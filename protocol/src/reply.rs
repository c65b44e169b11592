//! Replies: the out buffer of a connection. What RESP2 and RESP3 do differently stands here only.
//!
//! All bytes go to one vector, so that the common reply is one append and one slice to write.
//! A large value is not copied: the reply keeps a reference to it and notes where in the vector
//! it belongs. Invariants: the places of shared values ascend and lie within the unsent part of
//! the vector; what was sent stays in front of the vector until it is worth moving.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::double::format_double;
use crate::error::ProtocolError;

/// From this length on, in bytes, a shared value is referenced rather than copied.
pub const SHARED_MIN: usize = 16 * 1024;
/// Sent bytes that may stay in front of the unsent ones.
const SENT_KEPT: usize = 64 * 1024;

/// Version of the protocol that a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proto {
    /// What every connection starts with.
    #[default]
    Resp2,
    /// Chosen by HELLO 3.
    Resp3,
}

/// A value that stands in the reply without being copied into it.
#[derive(Debug)]
struct Shared {
    /// It precedes the vector's byte at this place.
    at: usize,
    bytes: Bytes,
}

/// A place in a reply to go back to. Valid until a length deferred before it is set, or bytes are
/// sent.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    out: usize,
    shared: usize,
}

/// An aggregate whose length is set when its elements have been written. Of several open ones the
/// last is to be set first, before bytes are sent; one that is never set leaves nothing behind.
#[derive(Debug)]
#[must_use = "the elements that follow belong to no aggregate until its length is set"]
pub struct Deferred(Mark);

/// Replies not yet sent, in order.
#[derive(Debug)]
pub struct Reply {
    out: Vec<u8>,
    /// Bytes of `out` that were sent.
    sent: usize,
    shared: VecDeque<Shared>,
    /// Sum of the lengths in `shared`.
    shared_len: usize,
    proto: Proto,
    /// Bytes above which nothing more is taken; see [`Reply::set_limit`].
    limit: usize,
    overflowed: bool,
}

impl Default for Reply {
    fn default() -> Self {
        Reply {
            out: Vec::new(),
            sent: 0,
            shared: VecDeque::new(),
            shared_len: 0,
            proto: Proto::default(),
            limit: usize::MAX,
            overflowed: false,
        }
    }
}

/// The forms of a reply. Each writes one frame, or the head of an aggregate whose elements follow.
impl Reply {
    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A status such as `PONG`; line ends in it become spaces.
    pub fn simple(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'+', text.as_ref());
    }

    /// An error, its code included but not the `-`: `ERR syntax error`. As in Redis, line ends are
    /// removed from its ends and become spaces within, since the text may quote the client.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        let mut text = text.as_ref();
        while let [b'\r' | b'\n', rest @ ..] | [rest @ .., b'\r' | b'\n'] = text {
            text = rest;
        }
        self.line(b'-', text);
    }

    /// The error that precedes the end of a connection.
    pub fn protocol_error(&mut self, error: &ProtocolError) {
        match error {
            ProtocolError::ExpectedDollar(got) => {
                let mut text = b"ERR Protocol error: expected '$', got '?'".to_vec();
                let place = text.len() - 2;
                text[place] = *got;
                self.error(text);
            }
            other => self.error(format!("ERR Protocol error: {other}")),
        }
    }

    /// An integer.
    pub fn int(&mut self, value: i64) {
        match usize::try_from(value) {
            Ok(value) => self.head(b':', value),
            Err(_) => self.negative(value),
        }
    }

    /// A string of bytes.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.text(b'$', &[], bytes);
    }

    /// An integer as a string of bytes.
    #[inline]
    pub fn bulk_int(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A string of bytes that is kept by reference if it has [`SHARED_MIN`] bytes or more.
    pub fn bulk_shared(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED_MIN {
            return self.bulk(&bytes);
        }
        if self.overflows(bytes.len()) {
            return;
        }
        self.head(b'$', bytes.len());
        self.share(self.shared.len(), self.out.len(), bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// No value: a null string in RESP2.
    #[inline]
    pub fn null(&mut self) {
        match self.proto {
            Proto::Resp2 => self.out.extend_from_slice(b"$-1\r\n"),
            Proto::Resp3 => self.out.extend_from_slice(b"_\r\n"),
        }
    }

    /// No value where an array would stand: a null array in RESP2.
    #[inline]
    pub fn null_array(&mut self) {
        match self.proto {
            Proto::Resp2 => self.out.extend_from_slice(b"*-1\r\n"),
            Proto::Resp3 => self.out.extend_from_slice(b"_\r\n"),
        }
    }

    /// An array of `len` elements.
    pub fn array(&mut self, len: usize) {
        self.head(b'*', len);
    }

    /// A map of `pairs` keys and values; an array of them in RESP2.
    pub fn map(&mut self, pairs: usize) {
        match self.proto {
            Proto::Resp2 => self.head(b'*', pairs * 2),
            Proto::Resp3 => self.head(b'%', pairs),
        }
    }

    /// A set of `len` elements; an array in RESP2.
    pub fn set(&mut self, len: usize) {
        match self.proto {
            Proto::Resp2 => self.head(b'*', len),
            Proto::Resp3 => self.head(b'~', len),
        }
    }

    /// A message of `len` elements that answers no command; an array in RESP2.
    pub fn push(&mut self, len: usize) {
        match self.proto {
            Proto::Resp2 => self.head(b'*', len),
            Proto::Resp3 => self.head(b'>', len),
        }
    }

    /// Facts, `pairs` of them, about the frame that comes after them. RESP2 has no such thing:
    /// there nothing is written, and the answer is false: the caller leaves out the pairs too.
    #[must_use = "in RESP2 the pairs must not be written"]
    pub fn attribute(&mut self, pairs: usize) -> bool {
        let known = self.proto == Proto::Resp3;
        if known {
            self.head(b'|', pairs);
        }
        known
    }

    /// A floating-point number, formatted by [`format_double`]; a string in RESP2.
    pub fn double(&mut self, value: f64) {
        self.number(format_double(value).as_bytes());
    }

    /// A floating-point number whose text the caller chose; a string in RESP2.
    pub fn number(&mut self, text: &[u8]) {
        match self.proto {
            Proto::Resp2 => self.bulk(text),
            Proto::Resp3 => self.line(b',', text),
        }
    }

    /// A truth value; an integer in RESP2.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.proto, value) {
            (Proto::Resp2, false) => b":0\r\n",
            (Proto::Resp2, true) => b":1\r\n",
            (Proto::Resp3, false) => b"#f\r\n",
            (Proto::Resp3, true) => b"#t\r\n",
        });
    }

    /// An integer of any size, in decimal; a string in RESP2.
    pub fn big_number(&mut self, digits: impl AsRef<[u8]>) {
        match self.proto {
            Proto::Resp2 => self.bulk(digits.as_ref()),
            Proto::Resp3 => self.line(b'(', digits.as_ref()),
        }
    }

    /// An error that may have several lines; one with spaces instead in RESP2.
    pub fn bulk_error(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match self.proto {
            Proto::Resp2 => self.error(text),
            Proto::Resp3 => self.text(b'!', &[], text),
        }
    }

    /// Text to be shown as it is, in a format of three letters (`txt`, `mkd`; a longer name is cut,
    /// a shorter one filled up with spaces); a string in RESP2.
    pub fn verbatim(&mut self, format: impl AsRef<[u8]>, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match self.proto {
            Proto::Resp2 => self.bulk(text),
            Proto::Resp3 => {
                let mut prefix = *b"   :";
                for (letter, given) in prefix[..3].iter_mut().zip(format.as_ref()) {
                    *letter = *given;
                }
                self.text(b'=', &prefix, text);
            }
        }
    }

    /// Bytes that are frames already.
    #[inline]
    pub fn raw(&mut self, frames: &[u8]) {
        self.out.extend_from_slice(frames);
    }

    /// Writes a frame of bytes, in two parts, after a line with their length.
    #[inline]
    fn text(&mut self, kind: u8, first: &[u8], second: &[u8]) {
        let len = first.len() + second.len();
        if self.overflows(len) {
            return;
        }
        self.out.reserve(len + 16);
        self.head(kind, len);
        if !first.is_empty() {
            self.out.extend_from_slice(first);
        }
        self.out.extend_from_slice(second);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Whether a string of `len` bytes is too much.
    #[inline]
    fn overflows(&mut self, len: usize) -> bool {
        let overflows = self.len() + len > self.limit;
        self.overflowed |= overflows;
        overflows
    }

    /// Writes `prefix` and `len` as a line. Lengths below 100 are most of all.
    #[inline(always)]
    fn head(&mut self, prefix: u8, len: usize) {
        match len {
            0..10 => {
                let digit = b'0' + len as u8;
                self.out.extend_from_slice(&[prefix, digit, b'\r', b'\n']);
            }
            10..100 => {
                let (tens, ones) = (b'0' + (len / 10) as u8, b'0' + (len % 10) as u8);
                self.out.extend_from_slice(&[prefix, tens, ones, b'\r', b'\n']);
            }
            100..1000 => {
                let digit = |power: usize| b'0' + (len / power % 10) as u8;
                self.out.extend_from_slice(&[prefix, digit(100), digit(10), digit(1), b'\r', b'\n']);
            }
            _ => self.long_head(prefix, len),
        }
    }

    fn long_head(&mut self, prefix: u8, len: usize) {
        self.number_line(prefix, itoa::Buffer::new().format(len));
    }

    #[cold]
    fn negative(&mut self, value: i64) {
        self.number_line(b':', itoa::Buffer::new().format(value));
    }

    fn number_line(&mut self, prefix: u8, digits: &str) {
        self.out.reserve(digits.len() + 3);
        self.out.push(prefix);
        self.out.extend_from_slice(digits.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// Writes a frame of one line; a line end within would break the protocol.
    fn line(&mut self, prefix: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.push(prefix);
        let start = self.out.len();
        self.out.extend_from_slice(text);
        for byte in &mut self.out[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Aggregates whose length is known only at their end.
impl Reply {
    /// Opens an aggregate here; its elements are to be written next.
    pub fn defer(&self) -> Deferred {
        Deferred(self.mark())
    }

    /// Makes what was written since [`Reply::defer`] an array of `len` elements.
    pub fn set_array_len(&mut self, deferred: Deferred, len: usize) {
        self.insert_head(deferred, |head| head.array(len));
    }

    /// Makes what was written since [`Reply::defer`] a map of `pairs` keys and values.
    pub fn set_map_len(&mut self, deferred: Deferred, pairs: usize) {
        self.insert_head(deferred, |head| head.map(pairs));
    }

    /// Makes what was written since [`Reply::defer`] a set of `len` elements.
    pub fn set_set_len(&mut self, deferred: Deferred, len: usize) {
        self.insert_head(deferred, |head| head.set(len));
    }

    /// Moves a short tail to make room; before a long one the head becomes a chunk of its own.
    fn insert_head(&mut self, Deferred(place): Deferred, write: impl FnOnce(&mut Reply)) {
        let mut head = Reply { out: Vec::with_capacity(24), proto: self.proto, ..Reply::default() };
        write(&mut head);
        if self.out.len() - place.out >= SHARED_MIN {
            return self.share(place.shared, place.out, Bytes::from(head.out));
        }
        for shared in self.shared.range_mut(place.shared..) {
            shared.at += head.out.len();
        }
        self.out.splice(place.out..place.out, head.out);
    }

    fn share(&mut self, index: usize, at: usize, bytes: Bytes) {
        self.shared_len += bytes.len();
        self.shared.insert(index, Shared { at, bytes });
    }
}

/// What a connection does with its replies.
impl Reply {
    /// An empty reply, in RESP2.
    pub fn new() -> Reply {
        Reply::default()
    }

    /// An empty reply in the given version.
    pub fn with_proto(proto: Proto) -> Reply {
        Reply { proto, ..Reply::default() }
    }

    /// The version that frames are written in.
    #[inline]
    pub fn proto(&self) -> Proto {
        self.proto
    }

    /// Sets the version for all frames to come.
    #[inline]
    pub fn set_proto(&mut self, proto: Proto) {
        self.proto = proto;
    }

    /// Bytes not yet sent.
    #[inline]
    pub fn len(&self) -> usize {
        self.out.len() - self.sent + self.shared_len
    }

    /// Whether all was sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets how many bytes may wait to be sent. Strings beyond that are left out, so that what follows is no reply any
    /// more and must not be sent: whoever sets a limit looks at [`Reply::has_overflowed`] and ends the connection.
    #[inline]
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Whether a string was left out.
    #[inline]
    pub fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Memory that the reply holds, values kept by reference included, in bytes.
    pub fn memory(&self) -> usize {
        self.out.capacity() + self.shared_len + self.shared.capacity() * size_of::<Shared>()
    }

    /// The end of what is written so far.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { out: self.out.len(), shared: self.shared.len() }
    }

    /// Takes back all that was written since `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        self.out.truncate(mark.out);
        if mark.shared < self.shared.len() {
            let dropped = self.shared.drain(mark.shared..);
            self.shared_len -= dropped.map(|shared| shared.bytes.len()).sum::<usize>();
        }
    }

    /// Moves all that `other` holds to the end of this reply, whatever version it is in.
    pub fn append(&mut self, other: &mut Reply) {
        if self.is_empty() {
            self.clear();
            std::mem::swap(&mut self.out, &mut other.out);
            std::mem::swap(&mut self.sent, &mut other.sent);
            std::mem::swap(&mut self.shared, &mut other.shared);
            std::mem::swap(&mut self.shared_len, &mut other.shared_len);
            return;
        }
        let (from, to) = (other.sent, self.out.len());
        self.out.extend_from_slice(&other.out[from..]);
        self.shared_len += std::mem::take(&mut other.shared_len);
        self.shared
            .extend(other.shared.drain(..).map(|shared| Shared { at: shared.at - from + to, bytes: shared.bytes }));
        other.clear();
    }

    /// What is not yet sent, if it is one slice, as without large values it always is.
    #[inline]
    pub fn as_slice(&self) -> Option<&[u8]> {
        match self.shared.is_empty() {
            true => Some(&self.out[self.sent..]),
            false => None,
        }
    }

    /// Fills `slices` with what is to be sent next, in order; returns how many it filled. Fewer
    /// than there is room for means that they hold everything.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut put = |bytes: &'a [u8]| {
            if let Some(slice) = slices.get_mut(filled)
                && !bytes.is_empty()
            {
                *slice = IoSlice::new(bytes);
                filled += 1;
            }
            filled < slices.len()
        };
        let mut from = self.sent;
        for shared in &self.shared {
            put(&self.out[from..shared.at]);
            if !put(&shared.bytes) {
                return filled;
            }
            from = shared.at;
        }
        put(&self.out[from..]);
        filled
    }

    /// Notes that the first `count` bytes were sent. Marks and deferred lengths end here.
    ///
    /// # Panics
    /// If there are not as many.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        if count == self.len() {
            self.clear();
        } else {
            self.advance_partly(count);
        }
    }

    #[cold]
    fn advance_partly(&mut self, mut count: usize) {
        assert!(count < self.len(), "more sent than there was");
        while let Some(first) = self.shared.front_mut() {
            let before = count.min(first.at - self.sent);
            self.sent += before;
            count -= before;
            let within = count.min(first.bytes.len());
            first.bytes.advance(within);
            self.shared_len -= within;
            count -= within;
            if !first.bytes.is_empty() {
                break;
            }
            self.shared.pop_front();
        }
        self.sent += count;
        // Moving at most as much as was sent since the last move keeps the cost linear.
        if self.sent >= SENT_KEPT && self.sent >= self.out.len() / 2 {
            self.out.drain(..self.sent);
            for shared in &mut self.shared {
                shared.at -= self.sent;
            }
            self.sent = 0;
        }
    }

    /// Drops all that is not sent; keeps the memory and the version.
    #[inline]
    pub fn clear(&mut self) {
        self.out.clear();
        self.sent = 0;
        if !self.shared.is_empty() {
            self.shared.clear();
            self.shared_len = 0;
        }
    }

    /// Takes the memory of an empty reply, for another one to use; nothing while it holds something.
    #[inline]
    pub fn take_memory(&mut self) -> Vec<u8> {
        if !self.is_empty() {
            return Vec::new();
        }
        self.clear();
        if self.shared.capacity() > 0 {
            self.shared = VecDeque::new();
        }
        std::mem::take(&mut self.out)
    }

    /// Lends memory to a reply that has none.
    #[inline]
    pub fn lend_memory(&mut self, mut memory: Vec<u8>) {
        if self.out.capacity() == 0 {
            memory.clear();
            self.out = memory;
        }
    }
}
