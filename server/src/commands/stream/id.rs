//! Ids in arguments and replies, read as Redis 7.4 reads them.

use larder_protocol::{Reply, parse_i64};
use larder_storage::types::stream::StreamId;
use smallvec::SmallVec;

use crate::error::{Error, INTERVAL_END, INTERVAL_START, STREAM_ID_INVALID};

/// Longer arguments are no ids.
const MAX_LEN: usize = 127;

/// An id as XADD takes it: `5-3`, `5` or `5-*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewId {
    /// All of it is given.
    Whole(StreamId),
    /// The time is given, the number follows from the stream.
    OfTime(u64),
}

impl NewId {
    pub(super) fn parse(arg: &[u8]) -> Result<Self, Error> {
        let (ms, seq) = halves(arg)?;
        Ok(match seq {
            Some(b"*") => Self::OfTime(number(ms)?),
            Some(seq) => Self::Whole(StreamId::new(number(ms)?, number(seq)?)),
            None => Self::Whole(StreamId::new(number(ms)?, 0)),
        })
    }
}

/// An id that must be one: not `-`, not `+`. A number that is left out is 0.
pub(super) fn strict(arg: &[u8]) -> Result<StreamId, Error> {
    strict_or(arg, 0)
}

fn strict_or(arg: &[u8], missing: u64) -> Result<StreamId, Error> {
    let (ms, seq) = halves(arg)?;
    Ok(StreamId::new(number(ms)?, seq.map_or(Ok(missing), number)?))
}

/// An id, or `-` for the lowest and `+` for the highest.
pub(super) fn any(arg: &[u8]) -> Result<StreamId, Error> {
    any_or(arg, 0)
}

fn any_or(arg: &[u8], missing: u64) -> Result<StreamId, Error> {
    match printed(arg) {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => strict_or(arg, missing),
    }
}

/// Where an interval begins: an id, or one after `(` that is itself outside.
pub(super) fn interval_start(arg: &[u8]) -> Result<StreamId, Error> {
    match arg {
        [b'(', id @ ..] if !id.is_empty() => strict_or(id, 0)?.next().ok_or(INTERVAL_START),
        _ => any_or(arg, 0),
    }
}

/// Where an interval ends.
pub(super) fn interval_end(arg: &[u8]) -> Result<StreamId, Error> {
    match arg {
        [b'(', id @ ..] if !id.is_empty() => strict_or(id, u64::MAX)?.previous().ok_or(INTERVAL_END),
        _ => any_or(arg, u64::MAX),
    }
}

/// As a C string.
pub(super) fn printed(arg: &[u8]) -> &[u8] {
    arg.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// What stands before and behind the first `-`.
fn halves(arg: &[u8]) -> Result<(&[u8], Option<&[u8]>), Error> {
    if arg.len() > MAX_LEN {
        return Err(STREAM_ID_INVALID);
    }
    let text = printed(arg);
    Ok(match text.iter().position(|byte| *byte == b'-') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    })
}

fn number(text: &[u8]) -> Result<u64, Error> {
    match parse_i64(text) {
        Some(number) => u64::try_from(number).ok(),
        None => strtoull(text),
    }
    .ok_or(STREAM_ID_INVALID)
}

/// A number by the habits of C: spaces before it, a sign (a negative one counts from the top), leading zeros.
fn strtoull(text: &[u8]) -> Option<u64> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !is_space(byte))?;
    let (negative, digits) = match &text[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let magnitude = digits.iter().try_fold(0u64, |sum, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit <= 9).then_some(())?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    Some(if negative { magnitude.wrapping_neg() } else { magnitude })
}

/// An id as text.
pub(super) type IdText = SmallVec<[u8; 64]>;

/// The id as Redis prints it.
#[inline]
pub(super) fn text(id: StreamId) -> IdText {
    let mut text = IdText::new();
    text.extend_from_slice(itoa::Buffer::new().format(id.ms).as_bytes());
    text.push(b'-');
    text.extend_from_slice(itoa::Buffer::new().format(id.seq).as_bytes());
    text
}

/// Answers an id.
#[inline]
pub(super) fn answer(reply: &mut Reply, id: StreamId) {
    reply.bulk(&text(id));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        let check = |arg: &str, ms, seq| assert_eq!(strict(arg.as_bytes()), Ok(StreamId::new(ms, seq)), "{arg:?}");
        check("5-3", 5, 3);
        check("5", 5, 0);
        check(" 5-+3", 5, 3);
        check("007-08", 7, 8);
        check("1--05", 1, u64::MAX - 4);
        check("18446744073709551615-18446744073709551615", u64::MAX, u64::MAX);
        check("5-3\0x", 5, 3);
        for arg in ["", "-", "+", "-5", "5-", "5-x", "x", "5-3-1", "1--5", "18446744073709551616", "5 ", "5-*"] {
            assert_eq!(strict(arg.as_bytes()), Err(STREAM_ID_INVALID), "{arg:?}");
        }
        assert_eq!(strict(&[b'0'; 128]), Err(STREAM_ID_INVALID));
        assert_eq!(NewId::parse(b"5-*"), Ok(NewId::OfTime(5)));
    }

    #[test]
    fn intervals_may_leave_their_ends_out() {
        assert_eq!(interval_start(b"(5-1"), Ok(StreamId::new(5, 2)));
        assert_eq!(interval_end(b"(5-0"), Ok(StreamId::new(4, u64::MAX)));
        assert_eq!(interval_end(b"5"), Ok(StreamId::new(5, u64::MAX)));
        assert_eq!(interval_start(b"(18446744073709551615-18446744073709551615"), Err(INTERVAL_START));
        assert_eq!(interval_end(b"(0-0"), Err(INTERVAL_END));
        assert_eq!((interval_start(b"-"), interval_end(b"+")), (Ok(StreamId::MIN), Ok(StreamId::MAX)));
        assert_eq!(interval_start(b"(+"), Err(STREAM_ID_INVALID));
        assert_eq!(interval_start(b"("), Err(STREAM_ID_INVALID));
    }
}
