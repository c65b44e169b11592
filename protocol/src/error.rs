//! Malformed requests. Each is answered once, then the connection closes.

use std::fmt;

/// Why a request cannot be parsed. The text is what Redis puts after `-ERR Protocol error: `.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// An inline command passes [`Limits::max_inline`](crate::Limits::max_inline) without its line's end.
    TooBigInline,
    /// An inline command opens a quote that it does not close, or closes one in the middle of a word.
    UnbalancedQuotes,
    /// The line that counts the arguments does not end in time.
    TooBigMultibulkCount,
    /// The count of arguments is no integer, or above 2^31 - 1.
    InvalidMultibulkLength,
    /// Too many arguments for a connection that has yet to authenticate.
    UnauthenticatedMultibulkLength,
    /// The line with an argument's length does not end in time.
    TooBigBulkCount,
    /// An argument begins with this byte where `$` must stand.
    ExpectedDollar(u8),
    /// An argument's length is no integer, negative, above `proto-max-bulk-len`, or would make the
    /// command 4 GiB or longer.
    InvalidBulkLength,
    /// Too long an argument for a connection that has yet to authenticate.
    UnauthenticatedBulkLength,
}

impl fmt::Display for ProtocolError {
    /// The byte of [`ProtocolError::ExpectedDollar`] shows as the Latin-1 character of its value;
    /// [`Reply::protocol_error`](crate::Reply::protocol_error) sends it as it came.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            ProtocolError::TooBigInline => "too big inline request",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::TooBigMultibulkCount => "too big mbulk count string",
            ProtocolError::InvalidMultibulkLength => "invalid multibulk length",
            ProtocolError::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            ProtocolError::TooBigBulkCount => "too big bulk count string",
            ProtocolError::ExpectedDollar(got) => {
                return write!(f, "expected '$', got '{}'", char::from(got));
            }
            ProtocolError::InvalidBulkLength => "invalid bulk length",
            ProtocolError::UnauthenticatedBulkLength => "unauthenticated bulk length",
        })
    }
}

impl std::error::Error for ProtocolError {}
