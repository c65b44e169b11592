//! Harness of the black-box tests: servers to start, a client that shows raw bytes, and the comparison with a real
//! redis-server.
//!
//! A test sees only sockets, command lines and exit codes; nothing here depends on larder's code, so that a mistake
//! there cannot hide itself here. The usual ways to begin:
//!
//! - [`TestServer::start`]: a larder process on a free port, gone when the value is dropped;
//! - [`Redis::start`]: a real redis-server likewise, or `None` with a printed note where none is installed;
//! - [`Both::start`]: one of each, every command sent to both and the replies compared byte for byte;
//! - [`corpus::run`]: the same for a whole text file of commands.
//!
//! Environment variables, all optional:
//!
//! - `LARDER_REQUIRE_PEERS=1`: an absent redis-server (or redis-cli) fails the test instead of skipping it;
//! - `LARDER_SUBJECT=path`: the program to test in larder's place, say a real redis-server, to prove the tests;
//! - `LARDER_PEER=path`: the redis-server to compare with, instead of the one found in `PATH`. One that is version
//!   7.4 must be equalled exactly; what an older one answers otherwise is listed in `tests/corpus/differences.txt`;
//! - `LARDER_SEED=n`: the seed of the random tests, which they print;
//! - `LARDER_COMMANDS=n`: how many commands a random differential test sends.
//! - `LARDER_FUZZ_SECONDS=n`: how long each fuzz test goes on, 2 unless set.

use std::time::{Duration, Instant};

pub mod both;
pub mod client;
pub mod corpus;
pub mod differences;
pub mod frame;
pub mod fuzz;
pub mod grammar;
pub mod number;
pub mod payload;
pub mod process;
pub mod random;
pub mod scenario;

pub use both::{Both, Compare};
pub use client::{Failure, RawClient, encode};
pub use process::{Redis, ServerProcess, TestServer, tool};

/// Splits a command line as redis-cli does: words, `"double quoted"` with `\n \r \t \a \b \\ \" \xHH`, `'single'`.
///
/// # Panics
/// When a quote is not closed.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    corpus::split_words(line)
}

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within 20 seconds; `what` says what was waited for.
#[track_caller]
pub fn soon(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Resident memory that a server has gained since `before`, 0 where it cannot be told.
pub fn growth(server: &ServerProcess, before: Option<u64>) -> u64 {
    before.map_or(0, |before| server.resident_bytes().unwrap_or(before).saturating_sub(before))
}
