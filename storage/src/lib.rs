//! Typed data under sharded locks, with expiry and eviction. No protocol, no sockets.
//!
//! From the outside in: a [`Keyspace`](keyspace::Keyspace) is shards behind locks; a [`Shard`](shard::Shard) holds
//! its slice of every database as a [`Table`](table::Table); a table is an [`Index`](index::Index) of eight-byte
//! [`Word`](word::Word)s over entries in a [`Slab`](slab::Slab), whose pages come from [`Regions`](region::Regions).

pub mod clock;
pub mod cpu;
pub mod entry;
pub mod evict;
pub mod hasher;
pub mod heap;
pub mod index;
pub mod keyspace;
pub mod region;
pub mod rng;
pub mod shard;
pub mod slab;
pub mod table;
pub mod types;
pub mod value;
pub mod word;
