//! DEBUG: aids for tests of clients and of the server.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use larder_protocol::{Args, Proto, Reply};
use larder_storage::table::Expiry;
use larder_storage::value::{Content, Value};

use super::command::*;
use super::parse::{is, natural};
use crate::client_memory::ClassTotals;
use crate::digest::Digest;
use crate::engine::Engine;
use crate::error::{
    CLIENT_EVICTION_OFF, NO_SUCH_KEY, NOT_IN_RESP2, NOT_POSITIVE, Outcome, POPULATE_TOO_MUCH, PROTOCOL_TYPE,
    subcommand_or_arity,
};
use crate::locked::Locked;
use crate::rdb;

pub(super) const COMMANDS: &[Command] = &[
    // One row, as in Redis, not one per subcommand. All shards are held, so that SLEEP stops the server for everyone.
    Command::all("DEBUG", Arity::at_least(1), debug)
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .group(Group::Server)
        .syntax("subcommand [arg...]")
        .complexity("Depends on the subcommand")
        .since("1.0.0")
        .summary("Helps to test clients and the server; see DEBUG HELP.")
        .examples(&[("DEBUG HELP", DEBUG_REFUSED)]),
];

const DEBUG_REFUSED: &str = "(error) ERR DEBUG command not allowed. If the enable-debug-command option is set to \
    \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration \
    file, and then restart the server.";

const DEBUG_HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANGE-REPL-ID",
    "    Draws another replication id.",
    "CLIENT-EVICTION",
    "    Shows what clients take together, by the size of the client (maxmemory-clients).",
    "DIGEST",
    "    Answers a signature of all data.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Answers a signature of each value.",
    "ERROR <string>",
    "    Answers an error with this text.",
    "LOG <message>",
    "    Writes a message to the log.",
    "OBJECT <key>",
    "    Shows how a value is kept.",
    "PAUSE-CRON <0|1>",
    "    Stops (1) or starts (0) all background work.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Makes string keys, named by the prefix (key) and a number, where there are none of these",
    "    names: of this many bytes, or the word value and the number.",
    "PROTOCOL <type>",
    "    Answers a value of a type of the protocol: string, integer, double, bignum,",
    "    null, array, set, map, attrib, push, verbatim, true, false.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Stops (0) or starts (1) the removal of expired keys that nobody asks for.",
    "SLEEP <seconds>",
    "    Stops the server for some seconds, which may have decimals.",
    "HELP",
    "    Print this help.",
];

fn debug(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let name = args.at(1);
    match (name, args.get(2), args.len()) {
        (name, None, _) if is(name, "HELP") => {
            reply.array(DEBUG_HELP.len());
            DEBUG_HELP.iter().for_each(|line| reply.simple(line));
        }
        (name, None, 2) if is(name, "CHANGE-REPL-ID") => {
            locked.engine().change_replication_id();
            reply.ok();
        }
        (name, None, 2) if is(name, "CLIENT-EVICTION") => return debug_client_eviction(locked.engine(), reply),
        (name, None, 2) if is(name, "DIGEST") => reply.simple(debug_digest(locked)),
        (name, ..) if is(name, "DIGEST-VALUE") => debug_digest_value(locked, args.from(2), reply),
        (name, Some(text), 3) if is(name, "ERROR") => reply.error(text),
        (name, Some(message), 3) if is(name, "LOG") => {
            tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(message));
            reply.ok();
        }
        (name, Some(key), 3) if is(name, "OBJECT") => return debug_object(locked, key, reply),
        (name, Some(on), 3) if is(name, "PAUSE-CRON") => {
            locked.engine().rests.store(leading_number(on) != 0.0, Relaxed);
            reply.ok();
        }
        (name, Some(_), 3..=5) if is(name, "POPULATE") => return debug_populate(locked, args.from(2), reply),
        (name, Some(kind), 3) if is(name, "PROTOCOL") => return debug_protocol(kind, reply),
        (name, Some(on), 3) if is(name, "SET-ACTIVE-EXPIRE") => {
            locked.engine().set_sweeps(leading_number(on) != 0.0);
            reply.ok();
        }
        (name, Some(seconds), 3) if is(name, "SLEEP") => {
            // What is no time to sleep is none at all, as in Redis.
            std::thread::sleep(Duration::try_from_secs_f64(leading_number(seconds)).unwrap_or_default());
            reply.ok();
        }
        _ => return Err(subcommand_or_arity("DEBUG", name)),
    }
    Ok(())
}

/// The number that a text begins with, 0 if there is none.
fn leading_number(text: &[u8]) -> f64 {
    /// No number that makes sense here is longer.
    const LONGEST: usize = 32;
    let prefixes = (1..=text.len().min(LONGEST)).rev().map(|end| &text[..end]);
    let mut numbers = prefixes.filter_map(|prefix| str::from_utf8(prefix).ok()?.parse().ok());
    numbers.next().unwrap_or(0.0)
}

/// How Redis prints the classes of clients.
fn debug_client_eviction(engine: &Engine, reply: &mut Reply) -> Outcome {
    if engine.settings().maxmemory_clients.get() == 0 {
        return Err(CLIENT_EVICTION_OFF);
    }
    let line = |class: &ClassTotals| {
        let range = match class.to {
            Some(to) => format!("bucket {:10} - {to:10}", class.from),
            None => format!("bucket {:10}+            ", class.from),
        };
        format!("{range}: tot-mem: {:10}, clients: {}\n", class.bytes, class.clients)
    };
    reply.verbatim("txt", engine.client_memory.totals().iter().map(line).collect::<String>());
    Ok(())
}

/// The signature of all databases: of each that has keys its number, then its keys in any order.
fn debug_digest(locked: &mut Locked<'_>) -> String {
    let mut all = Digest::default();
    for db in 0..locked.engine().keyspace().databases() {
        let mut keys = Digest::default();
        let mut is_empty = true;
        for (_, guarded) in locked.shards().each_ref() {
            let Some(table) = guarded.shard.table(db).filter(|table| !table.is_empty()) else { continue };
            is_empty = false;
            let mut position = 0;
            loop {
                position = table.scan(position, |entry| {
                    let mut own = Digest::default();
                    own.mix(entry.key());
                    own.mix_entry(&entry);
                    keys.add_digest(own);
                });
                if position == 0 {
                    break;
                }
            }
        }
        if !is_empty {
            all.mix(&(db as u32).to_be_bytes());
            all.join(keys);
        }
    }
    all.hex()
}

fn debug_digest_value(locked: &mut Locked<'_>, keys: Args<'_>, reply: &mut Reply) {
    reply.array(keys.len());
    for key in keys.iter() {
        let mut digest = Digest::default();
        if let Some((table, pos)) = locked.place(key) {
            digest.mix_entry(&table.entry(pos));
        }
        reply.simple(digest.hex());
    }
}

/// Makes many keys. `args` are the count and, if given, the prefix of their names and their size.
fn debug_populate(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    /// Keys that a call can ask for; it stops the server for as long as it takes.
    const MOST: usize = u32::MAX as usize;
    let count = natural(args.at(0), NOT_POSITIVE)?;
    let prefix = args.get(1).unwrap_or(b"key");
    let size = args.get(2).map_or(Ok(0), |size| natural(size, NOT_POSITIVE))?;
    if count > MOST || size > locked.engine().settings().proto_max_bulk_len.as_usize() {
        return Err(POPULATE_TOO_MUCH);
    }
    for number in 0..count {
        let key = [prefix, format!(":{number}").as_bytes()].concat();
        if locked.exists(&key) {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        if size > 0 {
            value.resize(size, 0);
        }
        locked.set(&key, Content::string(&value), Expiry::Set(None))?;
        locked.changed_silently(&key);
        locked.replay(&[b"SET", &key, &value]);
    }
    reply.ok();
    Ok(())
}

fn debug_object(locked: &mut Locked<'_>, key: &[u8], reply: &mut Reply) -> Outcome {
    let engine = locked.engine();
    let (table, pos) = locked.place(key).ok_or(NO_SUCH_KEY)?;
    let (value, age) = (table.entry(pos).value(), table.word(pos).age(engine.keyspace().tick()));
    let idle = engine.idle_seconds(age);
    let used = (engine.clock().now_ms() / 1000).saturating_sub(idle) & 0xff_ffff;
    reply.simple(format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{used} lru_seconds_idle:{idle}",
        table.entry(pos).key().as_ptr(),
        value.encoding(),
        serialized_len(value),
    ));
    Ok(())
}

/// Bytes that a value takes in Redis's file format, its type apart, without compression.
fn serialized_len(value: Value<'_>) -> usize {
    let mut bytes = Vec::new();
    rdb::encode(value, &mut bytes);
    bytes.len() - 1
}

fn debug_protocol(kind: &[u8], reply: &mut Reply) -> Outcome {
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.int(12345),
        b"double" => reply.double(3141.0 / 1000.0),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.int(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.int(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.int(number);
                reply.bool(number == 1);
            }
        }
        b"attrib" => {
            if reply.proto() == Proto::Resp3 {
                // Written in RESP3 only, which this is.
                let _ = reply.attribute(1);
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.int(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            if reply.proto() == Proto::Resp2 {
                return Err(NOT_IN_RESP2);
            }
            // Despite what the text says: Redis sends pushes after the reply of the command that causes them.
            reply.bulk(b"Some real reply following the push reply");
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.int(42);
        }
        b"verbatim" => reply.verbatim("txt", "This is a verbatim\nstring"),
        b"true" => reply.bool(true),
        b"false" => reply.bool(false),
        _ => return Err(PROTOCOL_TYPE),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        for (text, number) in [("0.5s", 0.5), ("2", 2.0), ("-1", -1.0), ("x", 0.0), ("", 0.0), ("1e-1,", 0.1)] {
            assert_eq!(leading_number(text.as_bytes()), number, "{text}");
        }
    }
}
