//! Pings a cache server.
fn main() {}
