//! The commands: one file (or folder) per family, each with its rows and functions.

pub mod command;
pub(crate) mod table;

mod client;
pub(crate) mod command_info;
mod config;
mod connection;
mod databases;
mod expire;
mod keys;
mod object;
mod parse;
mod pubsub;
mod scan;
mod server;
mod strings;
mod strings_numeric;
mod strings_ranges;
mod syntax;
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
    zset::COMMANDS,
    pubsub::COMMANDS,
    transactions::COMMANDS,
    connection::COMMANDS,
    client::COMMANDS,
    config::COMMANDS,
    command_info::COMMANDS,
    server::COMMANDS,
];
