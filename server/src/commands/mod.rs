//! The commands: one file (or folder) per family, each with its rows and functions.

pub mod command;
pub(crate) mod table;

mod acl;
mod bitmap;
mod cache;
mod choices;
pub(crate) mod client;
mod cluster;
pub(crate) mod command_info;
mod config;
mod connection;
mod databases;
mod debug;
mod draw;
mod dump;
mod expire;
mod functions;
mod geo;
mod hash;
mod hyperloglog;
mod keys;
mod latency;
mod list;
mod memory;
mod monitor;
mod object;
pub(crate) mod parse;
mod pubsub;
mod removal;
pub(crate) mod replication;
mod scan;
mod scripting;
mod server;
mod set;
mod sort;
mod sources;
mod stream;
mod string_edit;
mod strings;
mod strings_numeric;
mod strings_ranges;
mod syntax;
mod tracking;
pub(crate) mod transactions;
mod zset;

use command::Command;

/// The rows of every family.
pub(crate) const FAMILIES: &[&[Command]] = &[
    strings::COMMANDS,
    strings_numeric::COMMANDS,
    strings_ranges::COMMANDS,
    keys::COMMANDS,
    databases::COMMANDS,
    object::COMMANDS,
    expire::COMMANDS,
    scan::COMMANDS,
    dump::COMMANDS,
    set::COMMANDS,
    hash::COMMANDS,
    list::COMMANDS,
    zset::COMMANDS,
    bitmap::COMMANDS,
    hyperloglog::COMMANDS,
    geo::COMMANDS,
    stream::COMMANDS,
    sort::COMMANDS,
    pubsub::COMMANDS,
    transactions::COMMANDS,
    connection::COMMANDS,
    client::COMMANDS,
    tracking::COMMANDS,
    acl::COMMANDS,
    config::COMMANDS,
    command_info::COMMANDS,
    server::COMMANDS,
    debug::COMMANDS,
    monitor::COMMANDS,
    latency::COMMANDS,
    memory::COMMANDS,
    cache::COMMANDS,
    replication::COMMANDS,
    cluster::COMMANDS,
    scripting::COMMANDS,
    functions::COMMANDS,
];

#[cfg(test)]
mod tests {
    use crate::{Server, Value};

    #[test]
    fn every_example_is_true() {
        let mut wrong = Vec::new();
        for row in super::FAMILIES.iter().flat_map(|family| family.iter()) {
            let server = Server::builder().build().unwrap();
            let mut connection = server.connect();
            for (line, expected) in row.examples {
                let reply = connection.run(format!("{line}\r\n").as_bytes());
                let shown = match Value::read(&reply) {
                    Ok(Some((value, _))) => value.to_string(),
                    other => format!("{other:?}"),
                };
                if shown != *expected {
                    wrong.push(format!("{}: {line}\n{shown}\ninstead of\n{expected}\n", row.name));
                }
            }
            server.engine().validate();
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
