//! Black-box tests of the application: processes of it that share a cache and a database, used as browsers would.

mod bench;
mod browser;
mod caching;
mod chat;
mod down;
mod feed;
mod fleet;
mod hostile;
mod limits;
mod postgres;
mod seeing;
mod start;
mod strategies;
mod topology;
