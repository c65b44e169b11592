//! The server as a whole: what it tells of itself, the time, its end, and aids for debugging.

use std::time::Duration;

use larder_protocol::{Args, Proto, Reply};
use larder_storage::value::Value;

use super::command::*;
use super::parse::is;
use crate::engine::Engine;
use crate::error::{
    BUSY_SCRIPT, Error, NO_SHUTDOWN, NO_SUCH_KEY, NOT_IN_RESP2, Outcome, PROTOCOL_TYPE, SHUTDOWN_FAILED, SYNTAX,
    subcommand_or_arity,
};
use crate::info;
use crate::locked::Locked;
use crate::rdb;
use crate::session::Session;

pub(super) const COMMANDS: &[Command] = &[
    Command::all("INFO", Arity::at_least(0), show_info)
        .flags(LOADING | STALE | DANGEROUS)
        .group(Group::Server)
        .syntax("[section...]")
        .since("1.0.0")
        .summary("Tells how the server is doing, in sections: default, all, or those named.")
        .complexity("O(N) for N clients and databases")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    Command::session("TIME", Arity::exactly(0), time)
        .flags(LOADING | STALE | FAST)
        .group(Group::Server)
        .since("2.6.0")
        .complexity("O(1)")
        .summary("Answers the time of the server: seconds since 1970, and microseconds.")
        .tips(&["nondeterministic_output"]),
    Command::session("SHUTDOWN", Arity::at_least(0), shutdown)
        .flags(ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY)
        .group(Group::Server)
        .syntax("[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]")
        .since("1.0.0")
        .summary("Ends the server.")
        .complexity("O(N) for N connections")
        .examples(&[
            ("SHUTDOWN ABORT", "(error) ERR No shutdown in progress."),
            ("SHUTDOWN SAVE NOSAVE", "(error) ERR syntax error"),
        ]),
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

fn show_info(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let text = info::text(locked, args.from(1));
    reply.verbatim("txt", text);
    Ok(())
}

fn time(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let now = engine.clock().now_us();
    reply.array(2);
    reply.bulk_int((now / 1_000_000) as i64);
    reply.bulk_int((now % 1_000_000) as i64);
    Ok(())
}

/// What SHUTDOWN is asked to do.
#[derive(Default, PartialEq, Eq)]
struct ShutdownOptions {
    save: bool,
    nosave: bool,
    /// NOW or FORCE, and whether it was the latter.
    now: bool,
    force: bool,
}

impl ShutdownOptions {
    /// The options, or nothing for ABORT.
    fn parse(args: Args<'_>) -> Result<Option<Self>, Error> {
        let (mut options, mut abort) = (Self::default(), false);
        for word in args.iter() {
            let option = match word {
                word if is(word, "SAVE") => &mut options.save,
                word if is(word, "NOSAVE") => &mut options.nosave,
                word if is(word, "NOW") => &mut options.now,
                word if is(word, "FORCE") => &mut options.force,
                word if is(word, "ABORT") => &mut abort,
                _ => return Err(SYNTAX),
            };
            *option = true;
        }
        let contradicts = (options.save && options.nosave) || (abort && options != Self::default());
        if contradicts { Err(SYNTAX) } else { Ok((!abort).then_some(options)) }
    }
}

fn shutdown(engine: &Engine, session: &mut Session, args: Args<'_>, _: &mut Reply) -> Outcome {
    // The server ends at once when it is asked to, so there is never an end to call off.
    let options = ShutdownOptions::parse(args.from(1))?.ok_or(NO_SHUTDOWN)?;
    if !options.nosave && engine.is_busy() {
        return Err(BUSY_SCRIPT);
    }
    if options.save && !options.force {
        tracing::warn!("Asked to save before the end, which is not supported; the server goes on");
        return Err(SHUTDOWN_FAILED);
    }
    tracing::info!("User requested shutdown...");
    engine.scripts.control.stop();
    engine.shutdown.ask();
    session.closing = true;
    Ok(())
}

const DEBUG_HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ERROR <string>",
    "    Answers an error with this text.",
    "LOG <message>",
    "    Writes a message to the log.",
    "OBJECT <key>",
    "    Shows how a value is kept.",
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
        (name, Some(text), 3) if is(name, "ERROR") => reply.error(text),
        (name, Some(message), 3) if is(name, "LOG") => {
            tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(message));
            reply.ok();
        }
        (name, Some(key), 3) if is(name, "OBJECT") => return debug_object(locked, key, reply),
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
