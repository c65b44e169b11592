//! Larder: a cache server that speaks RESP, and the engine inside it.
//!
//! # A server in the process
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = larder::Server::builder().option("maxmemory", "64mb").start()?;
//! println!("any Redis client may connect to {:?}", server.address());
//! server.stop();
//! # Ok(())
//! # }
//! ```
//!
//! # Commands without a socket
//!
//! ```
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = larder::Server::builder().manual_clock(1_700_000_000_000).build()?;
//! let mut connection = server.connect();
//! connection.execute(["SET", "session", "alice", "EX", "60"]);
//! assert_eq!(connection.execute(["GET", "session"]).as_str(), Some("alice"));
//!
//! // Time stands still until the test moves it.
//! server.advance(Duration::from_secs(61));
//! assert!(connection.execute(["GET", "session"]).is_null());
//! # Ok(())
//! # }
//! ```
//!
//! # Memory
//!
//! Long values and collections are blocks of the global allocator. With [`Heap`] in its place, as in Larder's own program, they
//! move together when sizes change, so that the process holds little more than the data takes:
//!
//! ```
//! #[global_allocator]
//! static HEAP: larder::Heap = larder::Heap;
//! # fn main() {}
//! ```
//!
//! # Where to go on
//!
//! [`Server::builder`] takes the options of `docs/options.md`, a clock to be moved by hand, a seed, and a recorder of
//! changes. [`Engine::connect`] gives each thread a [`Connection`] of its own to the same data, and [`Value`] is what
//! commands answer. [`Connection::next_message`] gives what others publish. An engine without threads does what is due,
//! such as the removal of expired keys, in short slices after the commands that are run on it. Several servers live in one process without knowing of each other.

mod acl;
mod admit;
mod attention;
mod background;
mod bits;
mod client;
mod client_memory;
mod commands;
mod digest;
// The program and the tests need more of the options than programs that embed a server do.
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod docs;
pub mod effects;
mod embed;
mod engine;
mod error;
mod evict;
mod float_literal;
mod geo_search;
mod geohash;
mod glob;
mod hyperloglog;
mod info;
mod insight;
mod key_map;
mod latency;
mod lcs;
mod locked;
mod long_double;
mod monitor;
mod natural;
mod net;
mod number;
mod observe;
mod partial_sort;
mod pause;
mod pubsub;
mod rdb;
mod redis_commands;
mod script;
mod session;
mod shutdown;
mod slowlog;
mod stats;
mod ticks;
mod tracking;
mod trim;
mod upkeep;
mod wait;
mod wake;

pub use config::{Config, LoadError};
pub use embed::{Builder, Connection, Server};
pub use engine::Engine;
pub use larder_protocol::Value;
pub use larder_storage::heap::Heap;
