//! Hashes. Each command's row stands above its function, in the file of its theme:
//!
//! ```text
//! write.rs      fields set, counted up, removed: HSET, HINCRBY, HDEL, ...
//! read.rs       fields by name, and all of them: HGET, HGETALL, ...
//! expire.rs     fields that expire: HEXPIRE, HTTL, HPERSIST, ...
//! random.rs     HRANDFIELD
//! scan.rs       HSCAN
//! ```
//!
//! A field whose time has come is removed by the command that asks for it by name; commands on all fields pass it over.

use larder_protocol::Reply;
use larder_storage::types::pack::Element;

use super::command::Command;

mod expire;
mod random;
mod read;
mod scan;
mod write;

pub(super) const COMMANDS: &[Command] = &[
    write::HSET,
    write::HSETNX,
    write::HMSET,
    write::HINCRBY,
    write::HINCRBYFLOAT,
    write::HDEL,
    read::HGET,
    read::HMGET,
    read::HGETALL,
    read::HKEYS,
    read::HVALS,
    read::HLEN,
    read::HSTRLEN,
    read::HEXISTS,
    expire::HEXPIRE,
    expire::HPEXPIRE,
    expire::HEXPIREAT,
    expire::HPEXPIREAT,
    expire::HTTL,
    expire::HPTTL,
    expire::HEXPIRETIME,
    expire::HPEXPIRETIME,
    expire::HPERSIST,
    random::HRANDFIELD,
    scan::HSCAN,
];

/// Answers a field or a value.
#[inline]
fn bulk(reply: &mut Reply, element: Element<'_>) {
    match element {
        Element::Bytes(bytes) => reply.bulk(bytes),
        Element::Int(number) => reply.bulk_int(number),
    }
}
