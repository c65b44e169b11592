//! Black-box tests of the application: processes of it that share a cache and a database, used as browsers would.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure is a panic here")]

mod bench;
mod browser;
mod caching;
mod chat;
mod down;
mod feed;
mod fleet;
mod hostile;
mod limits;
mod mending;
mod postgres;
mod restart;
mod seeing;
mod servers;
mod start;
mod strategies;
mod topology;
