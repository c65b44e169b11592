//! What the benches share: traces ([`trace`]), exact LRU to compare with ([`lru`]), a keyspace that holds so many keys
//! and no more ([`cache`]), and commands as bytes ([`requests`]). README.md says how to run the benches.

pub mod cache;
pub mod lru;
pub mod requests;
pub mod trace;
