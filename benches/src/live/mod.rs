//! Replays a trace against servers that speak RESP: each request is a GET, and a SET where that missed. Whatever serves, Larder,
//! Redis or Valkey, is asked the same in the same order.
//!
//! Keys begin with a prefix of the run's own. Nothing is flushed; what was written is deleted on demand only.

pub mod client;
pub mod drive;
pub mod info;
pub mod spawn;
pub mod turnover;

pub use drive::{Load, Measured, measure};
