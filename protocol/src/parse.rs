//! Requests: a read buffer becomes commands in one resumable pass.
//!
//! The arguments stay in the buffer; a [`Batch`] holds where. What decides is Redis 7.4's
//! `processInlineBuffer` and `processMultibulkBuffer`, quirks included: the two bytes after an
//! argument are skipped unread, a line ends at `\r` whatever follows, and a NUL byte hides the end
//! of its line. One thing is stricter: a line longer than the limit is refused even if its end
//! arrived in the same read, so that the answer does not depend on how the bytes were cut.
//!
//! Invariants: a byte is examined a constant number of times, however the bytes trickle in; memory follows the
//! arguments that arrived, not those announced; between two calls the caller removes exactly
//! [`Batch::consumed`] bytes from the front of the buffer and only appends.

use crate::args::{Args, Span};
use crate::error::ProtocolError;
use crate::inline;
use crate::limits::Limits;
use crate::number::parse_i64;

/// Spans kept allocated between batches; what a huge command needed beyond is given back.
const SPANS_KEPT: usize = 4096;
/// Bytes of inline arguments kept allocated between batches.
const INLINE_KEPT: usize = 16 * 1024;

/// One complete command of a batch.
#[derive(Clone, Copy, Debug)]
struct Command {
    /// Where its bytes begin: in the read buffer, or in the batch's own bytes if it is inline.
    start: usize,
    /// End of its spans; they begin where the previous command's end.
    spans_end: usize,
    inline: bool,
}

/// The complete commands of one buffer. Made once per connection and used again for each read.
#[derive(Debug, Default)]
pub struct Batch {
    commands: Vec<Command>,
    spans: Vec<Span>,
    /// Arguments of inline commands, which unquoting may have changed.
    unquoted: Vec<u8>,
    consumed: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Number of commands.
    #[inline]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there is no command.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Bytes at the front of the buffer that the commands took, skipped empty ones included. The
    /// caller removes them once the commands have run, before it parses again.
    #[inline]
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// The command at `index`, never without arguments. `buf` is the buffer that was parsed.
    ///
    /// # Panics
    /// If there is no such command.
    #[inline]
    pub fn args<'a>(&'a self, index: usize, buf: &'a [u8]) -> Args<'a> {
        let command = self.commands[index];
        let spans_start = match index {
            0 => 0,
            _ => self.commands[index - 1].spans_end,
        };
        let bytes = if command.inline { &self.unquoted } else { buf };
        Args::new(&bytes[command.start..], &self.spans[spans_start..command.spans_end])
    }

    /// Forgets the commands, and gives back memory that only a huge one needed.
    #[inline]
    pub fn clear(&mut self) {
        self.commands.clear();
        self.spans.clear();
        self.unquoted.clear();
        self.consumed = 0;
        if self.spans.capacity() > SPANS_KEPT {
            self.spans.shrink_to(SPANS_KEPT);
        }
        if self.unquoted.capacity() > INLINE_KEPT {
            self.unquoted.shrink_to(INLINE_KEPT);
        }
    }

    /// Memory that the batch holds on the heap, in bytes.
    pub fn memory(&self) -> usize {
        self.commands.capacity() * size_of::<Command>()
            + self.spans.capacity() * size_of::<Span>()
            + self.unquoted.capacity()
    }

    /// Makes a command of the spans pushed since the last one.
    #[inline]
    fn finish(&mut self, start: usize, inline: bool) {
        self.commands.push(Command { start, spans_end: self.spans.len(), inline });
    }

    fn spans_end(&self) -> usize {
        self.commands.last().map_or(0, |command| command.spans_end)
    }
}

/// How far the pass has come in a command that is not complete. Offsets count from its start.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// First byte not yet parsed.
    at: usize,
    /// Up to here the line that begins at `at` has no end.
    searched: usize,
    /// Arguments still to come; 0 before their count is read.
    remaining: u32,
    /// Length of the argument whose bytes are arriving.
    bulk: Option<u32>,
}

/// What a step of the pass came to.
enum Step {
    /// The command ends before this offset.
    Complete(usize),
    /// Bytes are missing.
    Incomplete,
}

/// A resumable parser of requests; one per connection.
#[derive(Debug, Default)]
pub struct Parser {
    progress: Progress,
    /// Arguments of the incomplete command that have arrived.
    spans: Vec<Span>,
    wanted: usize,
}

impl Parser {
    /// A parser at the start of a stream.
    pub fn new() -> Parser {
        Parser::default()
    }

    /// Replaces `batch` with the complete commands at the front of `buf`, at most `max_commands`.
    ///
    /// Empty commands (`*0`, `*-1`, blank lines) are consumed without a trace. Of an incomplete
    /// last command the state is kept; call again when bytes were appended. Call again, too, after
    /// each batch that was not empty: more commands may wait in the buffer, or an error.
    ///
    /// # Errors
    /// A malformed command that is first in `buf`. One that follows complete commands is
    /// reported by the next call, judged by that call's limits: so an AUTH in the batch counts for
    /// what comes after it, as in Redis. The connection is to be closed, for no resumption is defined.
    #[inline(never)]
    pub fn parse(
        &mut self,
        buf: &[u8],
        batch: &mut Batch,
        max_commands: usize,
        limits: &Limits,
    ) -> Result<(), ProtocolError> {
        batch.clear();
        self.wanted = 0;
        while batch.commands.len() < max_commands {
            let start = batch.consumed;
            let outcome = match buf.get(start) {
                None => break,
                Some(b'*') => self.multibulk(&buf[start..], start, batch, limits),
                Some(_) => self.inline(&buf[start..], batch, limits),
            };
            match outcome {
                Ok(Step::Complete(end)) => batch.consumed += end,
                Ok(Step::Incomplete) => break,
                Err(error) => {
                    self.forget();
                    if batch.is_empty() {
                        return Err(error);
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    /// Bytes that the argument now arriving still needs, its line end included; 0 if unknown. The
    /// peer announced it, so it is a hint for reserving within the caller's own bounds.
    #[inline]
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Bytes at the front of the incomplete command that are understood: up to the argument whose bytes are arriving.
    #[inline]
    pub fn parsed(&self) -> usize {
        self.progress.at
    }

    /// Memory that the parser holds on the heap, in bytes.
    pub fn memory(&self) -> usize {
        self.spans.capacity() * size_of::<Span>()
    }

    fn forget(&mut self) {
        self.progress = Progress::default();
        self.spans = Vec::new();
    }

    /// `buf` begins at the command, which begins at `start` of the whole buffer.
    #[inline]
    fn multibulk(
        &mut self,
        buf: &[u8],
        start: usize,
        batch: &mut Batch,
        limits: &Limits,
    ) -> Result<Step, ProtocolError> {
        if self.progress.searched == 0 && limits.authenticated {
            let first = batch.spans.len();
            if let Some(end) = whole(buf, &mut batch.spans, limits.max_bulk) {
                batch.finish(start, false);
                return Ok(Step::Complete(end));
            }
            batch.spans.truncate(first);
        }
        self.resume(buf, start, batch, limits)
    }

    /// Goes on where the last call ended. The arguments wait in `self.spans` until the command is
    /// complete: moved to the batch and back at each call they would cost quadratic time.
    #[cold]
    fn resume(&mut self, buf: &[u8], start: usize, batch: &mut Batch, limits: &Limits) -> Result<Step, ProtocolError> {
        let counted = self.progress.at > 0 || self.progress.count(buf, limits)?;
        if !counted || !self.progress.arguments(buf, &mut self.spans, limits)? {
            if let Some(len) = self.progress.bulk {
                self.wanted = self.progress.at + len as usize + 2 - buf.len();
            }
            return Ok(Step::Incomplete);
        }
        let end = std::mem::take(&mut self.progress).at;
        if !self.spans.is_empty() {
            batch.spans.append(&mut self.spans);
            batch.finish(start, false);
            self.spans.shrink_to(SPANS_KEPT);
        }
        Ok(Step::Complete(end))
    }

    #[cold]
    fn inline(&mut self, buf: &[u8], batch: &mut Batch, limits: &Limits) -> Result<Step, ProtocolError> {
        let newline = match line_end(buf, self.progress.searched, b'\n') {
            Ok(newline) => newline,
            Err(_) if buf.len() > limits.max_inline => return Err(ProtocolError::TooBigInline),
            Err(searched) => {
                self.progress.searched = searched;
                return Ok(Step::Incomplete);
            }
        };
        self.progress = Progress::default();
        if newline > limits.max_inline {
            return Err(ProtocolError::TooBigInline);
        }
        let line = &buf[..newline];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let start = batch.unquoted.len();
        inline::split(line, &mut batch.unquoted, &mut batch.spans)?;
        if batch.spans.len() > batch.spans_end() {
            batch.finish(start, true);
        }
        Ok(Step::Complete(newline + 1))
    }
}

/// Redis's rules, for all that [`whole`] leaves.
impl Progress {
    /// Reads the line with the number of arguments; false if it is incomplete.
    fn count(&mut self, buf: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let Some(end) = self.line(buf, limits, ProtocolError::TooBigMultibulkCount)? else {
            return Ok(false);
        };
        let count = parse_i64(&buf[1..end])
            .filter(|count| *count <= i64::from(i32::MAX))
            .ok_or(ProtocolError::InvalidMultibulkLength)?;
        if !limits.authenticated && count > i64::from(Limits::UNAUTHENTICATED_ARGUMENTS) {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        self.at = end + 2;
        self.remaining = count.max(0) as u32;
        Ok(true)
    }

    /// Reads arguments; false if bytes are missing.
    fn arguments(&mut self, buf: &[u8], spans: &mut Vec<Span>, limits: &Limits) -> Result<bool, ProtocolError> {
        while self.remaining > 0 {
            if self.bulk.is_none() {
                self.bulk = self.bulk_length(buf, limits)?;
            }
            let Some(len) = self.bulk else {
                return Ok(false);
            };
            let end = self.at + len as usize + 2;
            if end > buf.len() {
                return Ok(false);
            }
            spans.push(Span { start: self.at as u32, len });
            self.at = end;
            self.bulk = None;
            self.remaining -= 1;
        }
        Ok(true)
    }

    /// Reads the line with an argument's length; `None` if it is incomplete.
    fn bulk_length(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<u32>, ProtocolError> {
        let Some(end) = self.line(buf, limits, ProtocolError::TooBigBulkCount)? else {
            return Ok(None);
        };
        if buf[self.at] != b'$' {
            return Err(ProtocolError::ExpectedDollar(buf[self.at]));
        }
        let len = parse_i64(&buf[self.at + 1..end]).and_then(|len| u32::try_from(len).ok());
        self.at = end + 2;
        // Spans are 32-bit: the argument and what precedes it must end within 4 GiB.
        let fits = |len: u32| self.at as u64 + u64::from(len) + 2 <= u64::from(u32::MAX);
        match len {
            Some(len) if len as usize <= limits.max_bulk && fits(len) => {
                if !limits.authenticated && len as usize > Limits::UNAUTHENTICATED_BULK {
                    return Err(ProtocolError::UnauthenticatedBulkLength);
                }
                Ok(Some(len))
            }
            _ => Err(ProtocolError::InvalidBulkLength),
        }
    }

    /// Finds the end of the line that begins at `self.at`: the offset of its `\r`, once the byte
    /// after that has arrived too.
    fn line(&mut self, buf: &[u8], limits: &Limits, too_long: ProtocolError) -> Result<Option<usize>, ProtocolError> {
        let (end, found) = match line_end(buf, self.at.max(self.searched), b'\r') {
            Ok(end) => (end, end + 1 < buf.len()),
            Err(_) if buf.len() - self.at > limits.max_inline => return Err(too_long),
            Err(searched) => (searched, false),
        };
        if end - self.at > limits.max_inline {
            return Err(too_long);
        }
        self.searched = end;
        Ok(found.then_some(end))
    }
}

/// The common case: a command of small lengths that is complete and within the limits. Returns its
/// end, or `None` for all others, right or wrong, with spans pushed in vain.
#[inline]
fn whole(buf: &[u8], spans: &mut Vec<Span>, max_bulk: usize) -> Option<usize> {
    let (count, mut rest) = small_length(buf, b'*').filter(|(count, _)| *count > 0)?;
    for _ in 0..count {
        let (len, after) = small_length(rest, b'$')?;
        let start = buf.len() - after.len();
        if len > max_bulk || start + len > u32::MAX as usize {
            return None;
        }
        rest = after.get(len + 2..)?;
        spans.push(Span { start: start as u32, len: len as u32 });
    }
    Some(buf.len() - rest.len())
}

/// Reads a line of `kind` and up to 6 digits; returns their value and what follows the line.
#[inline(always)]
fn small_length(buf: &[u8], kind: u8) -> Option<(usize, &[u8])> {
    // What a length announces follows it, so that even the shortest is not the last of its command.
    let head: &[u8; 5] = buf.first_chunk()?;
    let (first, second) = (head[1].wrapping_sub(b'0'), head[2].wrapping_sub(b'0'));
    if head[0] != kind || first > 9 {
        return None;
    }
    if head[2] == b'\r' {
        return Some((usize::from(first), &buf[4..]));
    }
    if first > 0 && second <= 9 && head[3] == b'\r' {
        return Some((usize::from(first) * 10 + usize::from(second), &buf[5..]));
    }
    longer_length(buf)
}

/// As [`small_length`], for three digits and more.
#[inline(never)]
fn longer_length(buf: &[u8]) -> Option<(usize, &[u8])> {
    let digits = buf[1..].iter().take(6).take_while(|byte| byte.is_ascii_digit());
    let (value, len) = digits.fold((0, 0), |(value, len), byte| (value * 10 + usize::from(byte - b'0'), len + 1));
    let rest = &buf[1 + len..];
    let complete = buf[1] != b'0' && rest.first() == Some(&b'\r') && rest.len() > 1;
    complete.then(|| (value, &rest[2..]))
}

/// Offset of the first `end` at or after `from`; else, as an error, the offset to search on from
/// when more has arrived. A NUL byte stops the search for good, as it stops C's `strchr`.
fn line_end(buf: &[u8], from: usize, end: u8) -> Result<usize, usize> {
    let stop = buf[from..].iter().position(|&byte| byte == end || byte == 0).map(|offset| from + offset);
    match stop {
        Some(offset) if buf[offset] == end => Ok(offset),
        Some(nul) => Err(nul),
        None => Err(buf.len()),
    }
}
