//! Arguments as commands read them: integers, floats, and the errors for what is neither.

use larder_protocol::parse_i64;

use crate::error::{Error, NOT_A_FLOAT, NOT_AN_INTEGER, TIMEOUT_NEGATIVE, TIMEOUT_NOT_A_FLOAT, TIMEOUT_OUT_OF_RANGE};
use crate::long_double::LongDouble;

/// An integer, or Redis's usual error.
#[inline]
pub(crate) fn integer(arg: &[u8]) -> Result<i64, Error> {
    parse_i64(arg).ok_or(NOT_AN_INTEGER)
}

/// An integer, or the error given.
pub(crate) fn integer_or(arg: &[u8], error: Error) -> Result<i64, Error> {
    parse_i64(arg).ok_or(error)
}

/// An integer from 0 on, or the error given.
pub(crate) fn natural(arg: &[u8], error: Error) -> Result<usize, Error> {
    parse_i64(arg).and_then(|number| usize::try_from(number).ok()).ok_or(error)
}

/// A floating-point number that is not NaN, or Redis's usual error.
pub(crate) fn float(arg: &[u8]) -> Result<f64, Error> {
    crate::number::parse_f64(arg).ok_or(NOT_A_FLOAT)
}

/// The time limit of a command that waits, in seconds: when it ends, in milliseconds since 1970, or never for 0.
pub(crate) fn timeout(arg: &[u8], now: u64) -> Result<Option<u64>, Error> {
    let seconds = LongDouble::parse(arg).ok_or(TIMEOUT_NOT_A_FLOAT)?;
    limit_after(seconds.thousandfold().ok_or(TIMEOUT_OUT_OF_RANGE)?, now)
}

/// As [`timeout`], for one in milliseconds.
#[inline]
pub(crate) fn limit_after(milliseconds: i64, now: u64) -> Result<Option<u64>, Error> {
    let milliseconds = u64::try_from(milliseconds).map_err(|_| TIMEOUT_NEGATIVE)?;
    if milliseconds > i64::MAX as u64 - now {
        return Err(TIMEOUT_OUT_OF_RANGE);
    }
    Ok((milliseconds > 0).then(|| now + milliseconds))
}

/// Whether an argument is this word, whatever its case. `word` is in capitals.
#[inline]
pub(crate) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// A range of indexes as GETRANGE and ZRANGE give it, negative ones counted from the end, cut to what is there:
/// `None` when it is empty.
pub(crate) fn index_range(start: i64, end: i64, len: usize) -> Option<(usize, usize)> {
    let len = len as i64;
    let start = if start < 0 { (start + len).max(0) } else { start };
    let end = if end < 0 { end + len } else { end.min(len - 1) };
    (len > 0 && start <= end && start < len && end >= 0).then_some((start as usize, end as usize))
}
