//! Bytes to frames and back: the Redis serialization protocol, RESP2 and RESP3, as Redis 7.4 speaks it.
//!
//! - [`Parser`] cuts a read buffer into commands without a copy; a [`Batch`] holds where they stand
//!   and lends each as [`Args`]. Limits and errors are Redis's ([`Limits`], [`ProtocolError`]).
//! - [`Reply`] is the out buffer of a connection. RESP2 and RESP3 differ there and nowhere else.
//! - [`Value`] reads a reply back, for tests and for programs that embed the server.
//!
//! Invariants: this crate knows no command and no key, opens no socket and has no unsafe code. No
//! byte that a peer sends can make it panic, and memory grows with the bytes that arrived, never
//! with a length that a peer merely announced.

mod args;
mod double;
mod error;
mod inline;
mod limits;
mod number;
mod parse;
mod reply;
mod value;

pub use args::{Args, ArgsBuffer, Iter, OwnedArgs};
pub use double::{DoubleText, format_double, format_double_digits};
pub use error::ProtocolError;
pub use limits::Limits;
pub use number::parse_i64;
pub use parse::{Batch, Parser};
pub use reply::{Deferred, Mark, Proto, Reply, SHARED_MIN};
pub use value::{MAX_DEPTH, ReadError, Value};
