//! Strings as numbers: the INCR family.
//!
//! Integers stay integers in the entry. A sum of floats is stored as its text, as in Redis, and
//! repeats elsewhere as that text, so that nobody adds twice what was rounded once.

use larder_protocol::{Args, Reply};
use larder_storage::table::Expiry;
use larder_storage::value::{Content, Value};

use super::command::*;
use super::parse::integer;
use crate::config::KeyspaceEvents as Class;
use crate::error::{DECREMENT_OVERFLOW, NAN_OR_INFINITY, NOT_A_FLOAT, NOT_AN_INTEGER, OVERFLOW, Outcome, WRONG_TYPE};
use crate::locked::{Locked, Text};
use crate::long_double::LongDouble;

pub(super) const COMMANDS: &[Command] = &[
    Command::write("INCR", Arity::exactly(1), &[key(1, RW | ACCESS | UPDATE)], incr)
        .flags(DENYOOM | FAST)
        .group(Group::String)
        .syntax("key")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Adds one to the integer that a key holds; a key that is not there counts as 0.")
        .examples(&[
            ("INCR visits", "(integer) 1"),
            ("INCR visits", "(integer) 2"),
            ("SET visits many", "OK"),
            ("INCR visits", "(error) ERR value is not an integer or out of range"),
        ]),
    Command::write("INCRBY", Arity::exactly(2), &[key(1, RW | ACCESS | UPDATE)], incrby)
        .flags(DENYOOM | FAST)
        .group(Group::String)
        .syntax("key increment")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Adds an integer to the integer that a key holds; a key that is not there counts as 0.")
        .examples(&[
            ("INCRBY visits 10", "(integer) 10"),
            ("INCRBY visits -3", "(integer) 7"),
            ("INCRBY visits 9223372036854775807", "(error) ERR increment or decrement would overflow"),
        ]),
    Command::write("DECR", Arity::exactly(1), &[key(1, RW | ACCESS | UPDATE)], decr)
        .flags(DENYOOM | FAST)
        .group(Group::String)
        .syntax("key")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Takes one from the integer that a key holds; a key that is not there counts as 0.")
        .examples(&[("SET seats 10", "OK"), ("DECR seats", "(integer) 9"), ("DECR debt", "(integer) -1")]),
    Command::write("DECRBY", Arity::exactly(2), &[key(1, RW | ACCESS | UPDATE)], decrby)
        .flags(DENYOOM | FAST)
        .group(Group::String)
        .syntax("key decrement")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Takes an integer from the integer that a key holds; a key that is not there counts as 0.")
        .examples(&[
            ("SET seats 10", "OK"),
            ("DECRBY seats 3", "(integer) 7"),
            ("DECRBY seats -9223372036854775808", "(error) ERR decrement would overflow"),
        ]),
    Command::write("INCRBYFLOAT", Arity::exactly(2), &[key(1, RW | ACCESS | UPDATE)], incrbyfloat)
        .flags(DENYOOM | FAST)
        .group(Group::String)
        .syntax("key increment")
        .since("2.6.0")
        .complexity("O(1)")
        .summary("Adds a number to the number that a key holds; a key that is not there counts as 0.")
        .examples(&[
            ("SET price 10.50", "OK"),
            ("INCRBYFLOAT price 0.1", "\"10.6\""),
            ("INCRBYFLOAT price -5e0", "\"5.6\""),
            ("INCRBYFLOAT price much", "(error) ERR value is not a valid float"),
        ]),
];

fn incr(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    add(locked, args.at(1), 1, reply)
}

fn decr(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    add(locked, args.at(1), -1, reply)
}

fn incrby(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let increment = integer(args.at(2))?;
    add(locked, args.at(1), increment, reply)
}

fn decrby(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let decrement = integer(args.at(2))?;
    let increment = decrement.checked_neg().ok_or(DECREMENT_OVERFLOW)?;
    add(locked, args.at(1), increment, reply)
}

fn add(locked: &mut Locked<'_>, key: &[u8], increment: i64, reply: &mut Reply) -> Outcome {
    let before = match locked.look(key).map(|entry| entry.value()) {
        None => 0,
        Some(Value::Int(number)) => number,
        Some(Value::Str { bytes, .. }) => integer(bytes)?,
        Some(Value::Big(_)) => return Err(NOT_AN_INTEGER),
        Some(_) => return Err(WRONG_TYPE),
    };
    let sum = before.checked_add(increment).ok_or(OVERFLOW)?;
    locked.set(key, Content::Int(sum), Expiry::Keep)?;
    locked.changed(Class::STRING, "incrby", key);
    reply.int(sum);
    Ok(())
}

fn incrbyfloat(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let key = args.at(1);
    let parse = |text: &[u8]| LongDouble::parse(text).ok_or(NOT_A_FLOAT);
    let before = match locked.look_string(key)? {
        None => LongDouble::from(0),
        Some(Text::Int(_, number)) => LongDouble::from(number),
        Some(mut text) => parse(text.bytes())?,
    };
    let sum = before + parse(args.at(2))?;
    if !sum.is_finite() {
        return Err(NAN_OR_INFINITY);
    }
    let mut text = Vec::with_capacity(32);
    sum.write(&mut text);
    locked.set(key, Content::Str { bytes: &text, raw: false }, Expiry::Keep)?;
    locked.changed(Class::STRING, "incrbyfloat", key);
    locked.replay(&[b"SET", key, &text, b"KEEPTTL"]);
    reply.bulk(&text);
    Ok(())
}
