//! Errors that a command answers: their texts, byte for byte Redis's, stand in this file only.
//!
//! A text begins with its code (`ERR`, `WRONGTYPE`, ...), without the `-` of the protocol.

use std::borrow::Cow;
use std::fmt;

/// What a command answers instead of its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Cow<'static, str>);

/// What a command's function returns; its reply is in the writer.
pub type Outcome = Result<(), Error>;

impl Error {
    /// An error with a fixed text.
    pub const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// An error with a text made now.
    pub fn made(text: String) -> Self {
        Self(Cow::Owned(text))
    }

    /// The text: a code, a blank, and what is wrong.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The first word of the text.
    pub fn code(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<larder_storage::table::Full> for Error {
    fn from(_: larder_storage::table::Full) -> Self {
        OUT_OF_MEMORY
    }
}

impl From<crate::lcs::LcsError> for Error {
    fn from(error: crate::lcs::LcsError) -> Self {
        match error {
            crate::lcs::LcsError::TooLong => LCS_STRING_TOO_LONG,
            crate::lcs::LcsError::ExceedsLimit => LCS_EXCEEDS_LIMIT,
            crate::lcs::LcsError::OutOfMemory => LCS_OUT_OF_MEMORY,
        }
    }
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: Error = Error::fixed($text);)*
    };
}

texts! {
    SYNTAX = "ERR syntax error";
    WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";
    NOT_AN_INTEGER = "ERR value is not an integer or out of range";
    OUT_OF_RANGE = "ERR value is out of range";
    NOT_POSITIVE = "ERR value is out of range, must be positive";
    NOT_A_FLOAT = "ERR value is not a valid float";
    NO_SUCH_KEY = "ERR no such key";
    SAME_OBJECT = "ERR source and destination objects are the same";
    INDEX_OUT_OF_RANGE = "ERR index out of range";
    OVERFLOW = "ERR increment or decrement would overflow";
    NAN_OR_INFINITY = "ERR increment would produce NaN or Infinity";
    STRING_TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    OFFSET_OUT_OF_RANGE = "ERR offset is out of range";
    DECREMENT_OVERFLOW = "ERR decrement would overflow";
    LCS_NOT_STRINGS = "ERR The specified keys must contain string values";
    LCS_LENGTH_AND_INDEXES = "ERR If you want both the length and indexes, please just use IDX.";
    LCS_STRING_TOO_LONG = "ERR String too long for LCS";
    LCS_EXCEEDS_LIMIT = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
    LCS_OUT_OF_MEMORY = "ERR Insufficient memory, failed allocating transient memory for LCS";
    INVALID_CURSOR = "ERR invalid cursor";
    INVALID_DB = "ERR invalid DB index";
    DB_OUT_OF_RANGE = "ERR DB index is out of range";
    OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'.";
    NO_AUTH = "NOAUTH Authentication required.";
    WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled.";
    AUTH_WITHOUT_PASSWORD = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";
    NESTED_MULTI = "ERR MULTI calls can not be nested";
    EXEC_WITHOUT_MULTI = "ERR EXEC without MULTI";
    DISCARD_WITHOUT_MULTI = "ERR DISCARD without MULTI";
    WATCH_INSIDE_MULTI = "ERR WATCH inside MULTI is not allowed";
    NOT_IN_TRANSACTION = "ERR Command not allowed inside a transaction";
    EXEC_ABORTED = "EXECABORT Transaction discarded because of previous errors.";
    NO_PROTO = "NOPROTO unsupported protocol version";
    MIN_MAX_NOT_FLOAT = "ERR min or max is not a float";
    MIN_MAX_NOT_STRING = "ERR min or max not valid string range item";
    LOADING = "LOADING Larder is loading the dataset in memory";
}

/// The answer to an unknown command, with the beginnings of its arguments.
pub(crate) fn unknown_command(args: larder_protocol::Args<'_>) -> Error {
    let clip = |bytes: &[u8], most: usize| String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned();
    let mut beginning = String::new();
    for arg in args.iter().skip(1) {
        if beginning.len() >= 128 {
            break;
        }
        let room = 128 - beginning.len();
        beginning.push_str(&format!("'{}' ", clip(arg, room)));
    }
    Error::made(format!("ERR unknown command '{}', with args beginning with: {beginning}", clip(&args[0], 128)))
}

/// The answer to an unknown subcommand of a container command.
pub(crate) fn unknown_subcommand(container: &str, name: &[u8]) -> Error {
    let name = String::from_utf8_lossy(&name[..name.len().min(128)]);
    Error::made(format!("ERR unknown subcommand '{name}'. Try {} HELP.", container.to_uppercase()))
}

/// The answer to a wrong number of arguments; `name` is `get` or `config|get`.
pub(crate) fn wrong_arity(name: &str) -> Error {
    Error::made(format!("ERR wrong number of arguments for '{name}' command"))
}

/// The answer to an expiry that cannot be.
pub(crate) fn invalid_expire(name: &str) -> Error {
    Error::made(format!("ERR invalid expire time in '{name}' command"))
}
