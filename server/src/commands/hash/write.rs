//! Fields set, counted up and removed.

use larder_protocol::{Args, Reply};
use larder_storage::types::Full;
use larder_storage::types::hash::{Field, Hash};
use larder_storage::types::pack::Element;

use super::super::command::*;
use super::super::parse::integer;
use super::super::removal::Removal;
use crate::config::KeyspaceEvents as Class;
use crate::error::{
    Error, HASH_VALUE_NOT_A_FLOAT, HASH_VALUE_NOT_AN_INTEGER, NAN_OR_INFINITY, NOT_A_FLOAT, OVERFLOW, Outcome,
    VALUE_NAN_OR_INFINITY, wrong_arity,
};
use crate::locked::Locked;
use crate::long_double::LongDouble;

pub(super) const HSET: Command = Command::write("HSET", Arity::at_least(3), &[key(1, RW | UPDATE)], hset)
    .flags(DENYOOM | FAST)
    .member(2)
    .group(Group::Hash)
    .since("2.0.0")
    .syntax("key (field value)...")
    .complexity("O(1) for each field")
    .summary("Sets fields of a hash to values; makes the hash if there is none. A field set anew does not expire.")
    .examples(&[
        ("HSET ada born 1815 died 1851", "(integer) 2"),
        ("HSET ada died 1852", "(integer) 0"),
        ("HGET ada died", "\"1852\""),
        ("HSET ada name", "(error) ERR wrong number of arguments for 'hset' command"),
    ]);

pub(super) const HSETNX: Command = Command::write("HSETNX", Arity::exactly(3), &[key(1, RW | INSERT)], hsetnx)
    .flags(DENYOOM | FAST)
    .member(2)
    .group(Group::Hash)
    .since("2.0.0")
    .syntax("key field value")
    .complexity("O(1)")
    .summary("Sets a field of a hash to a value unless the field is there.")
    .examples(&[
        ("HSETNX ada born 1815", "(integer) 1"),
        ("HSETNX ada born 1816", "(integer) 0"),
        ("HGET ada born", "\"1815\""),
    ]);

pub(super) const HMSET: Command = Command::write("HMSET", Arity::at_least(3), &[key(1, RW | UPDATE)], hmset)
    .flags(DENYOOM | FAST)
    .member(2)
    .group(Group::Hash)
    .since("2.0.0")
    .syntax("key (field value)...")
    .complexity("O(N) for N fields")
    .summary("Sets fields of a hash to values; makes the hash if there is none.")
    .deprecated("4.0.0", "`HSET` with multiple field-value pairs")
    .examples(&[("HMSET ada born 1815 died 1852", "OK"), ("HLEN ada", "(integer) 2")]);

pub(super) const HINCRBY: Command =
    Command::write("HINCRBY", Arity::exactly(3), &[key(1, RW | ACCESS | UPDATE)], hincrby)
        .flags(DENYOOM | FAST)
        .member(2)
        .group(Group::Hash)
        .since("2.0.0")
        .syntax("key field increment")
        .complexity("O(1)")
        .summary("Adds an integer to the one in a field of a hash; a field that is not there counts as 0.")
        .examples(&[
            ("HINCRBY votes ada 5", "(integer) 5"),
            ("HINCRBY votes ada -2", "(integer) 3"),
            ("HSET votes bo many", "(integer) 1"),
            ("HINCRBY votes bo 1", "(error) ERR hash value is not an integer"),
        ]);

pub(super) const HINCRBYFLOAT: Command =
    Command::write("HINCRBYFLOAT", Arity::exactly(3), &[key(1, RW | ACCESS | UPDATE)], hincrbyfloat)
        .flags(DENYOOM | FAST)
        .member(2)
        .group(Group::Hash)
        .since("2.6.0")
        .syntax("key field increment")
        .complexity("O(1)")
        .summary("Adds a number to the one in a field of a hash; a field that is not there counts as 0.")
        .examples(&[
            ("HSET prices tea 10.50", "(integer) 1"),
            ("HINCRBYFLOAT prices tea 0.1", "\"10.6\""),
            ("HINCRBYFLOAT prices milk 5.0e1", "\"50\""),
            ("HINCRBYFLOAT prices tea inf", "(error) ERR value is NaN or Infinity"),
        ]);

pub(super) const HDEL: Command = Command::write("HDEL", Arity::at_least(2), &[key(1, RW | DELETE)], hdel)
    .flags(FAST)
    .member(2)
    .group(Group::Hash)
    .since("2.0.0")
    .syntax("key field...")
    .complexity("O(N) for N fields")
    .summary("Removes fields from a hash, and the key with the last of them.")
    .examples(&[
        ("HSET ada born 1815 died 1852", "(integer) 2"),
        ("HDEL ada died name", "(integer) 1"),
        ("HDEL ada born", "(integer) 1"),
        ("EXISTS ada", "(integer) 0"),
    ]);

fn hset(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let added = set(locked, args, "hset")?;
    reply.int(added as i64);
    Ok(())
}

fn hmset(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    set(locked, args, "hmset")?;
    reply.ok();
    Ok(())
}

/// Sets all pairs; how many fields are new.
fn set(locked: &mut Locked<'_>, args: Args<'_>, name: &str) -> Result<u64, Error> {
    let (key, pairs) = (args.at(1), args.from(2));
    if !pairs.len().is_multiple_of(2) {
        return Err(wrong_arity(name));
    }
    let lengths = pairs.iter().map(<[u8]>::len);
    let (longest, bytes) = lengths.fold((0, 0), |(longest, bytes), len| (len.max(longest), bytes + len));
    let (mut set, mut added) = (0, 0);
    let outcome = locked.update_as::<Hash, _>(key, true, |hash, env| -> Result<(), Full> {
        hash.expect(*env, pairs.len() / 2, longest, bytes)?;
        let mut words = pairs.iter();
        while let (Some(field), Some(value)) = (words.next(), words.next()) {
            added += hash.set(*env, field, value)? as u64;
            set += 1;
        }
        Ok(())
    })?;
    if set > 0 {
        locked.changed(Class::HASH, "hset", key);
        locked.count_changes(set - 1);
    }
    outcome.unwrap_or(Ok(()))?;
    Ok(added)
}

fn hsetnx(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (key, name, value) = (args.at(1), args.at(2), args.at(3));
    if present(locked, key, name, |_| ())?.is_some() {
        reply.int(0);
        return Ok(());
    }
    let longest = name.len().max(value.len());
    let outcome = locked.update_as::<Hash, _>(key, true, |hash, env| {
        hash.expect(*env, 1, longest, name.len() + value.len())?;
        hash.set(*env, name, value)
    })?;
    outcome.transpose()?;
    locked.changed(Class::HASH, "hset", key);
    reply.int(1);
    Ok(())
}

/// What `look` finds in a field that a command will change, if the field is there. One whose time has come is removed.
fn present<R>(
    locked: &mut Locked<'_>,
    key: &[u8],
    name: &[u8],
    look: impl FnOnce(Field<'_>) -> R,
) -> Result<Option<R>, Error> {
    let (env, now) = (locked.env(), locked.now);
    let hash = locked.look_as::<Hash>(key)?;
    match hash.and_then(|hash| hash.get(env, name)) {
        Some(field) if field.has_expired(now) => {
            locked.expire_fields(key, &[name])?;
            Ok(None)
        }
        Some(field) => Ok(Some(look(field))),
        None => Ok(None),
    }
}

fn hincrby(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (key, name) = (args.at(1), args.at(2));
    let increment = integer(args.at(3))?;
    let before = present(locked, key, name, |field| match field.value {
        Element::Int(number) => Ok(number),
        Element::Bytes(text) => integer(text).map_err(|_| HASH_VALUE_NOT_AN_INTEGER),
    })?;
    let sum = before.transpose()?.unwrap_or(0).checked_add(increment).ok_or(OVERFLOW)?;
    let mut buffer = itoa::Buffer::new();
    let value = buffer.format(sum).as_bytes();
    let outcome = locked.update_as::<Hash, _>(key, true, |hash, env| hash.set_keeping_expiry(*env, name, value))?;
    outcome.transpose()?;
    locked.changed(Class::HASH, "hincrby", key);
    reply.int(sum);
    Ok(())
}

fn hincrbyfloat(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (key, name) = (args.at(1), args.at(2));
    let increment = LongDouble::parse(args.at(3)).ok_or(NOT_A_FLOAT)?;
    if !increment.is_finite() {
        return Err(VALUE_NAN_OR_INFINITY);
    }
    let before = present(locked, key, name, |field| {
        let number = match field.value {
            Element::Int(number) => Ok(LongDouble::from(number)),
            Element::Bytes(text) => LongDouble::parse(text).ok_or(HASH_VALUE_NOT_A_FLOAT),
        };
        number.map(|number| (number, field.expiry))
    })?;
    let (before, expiry) = before.transpose()?.unwrap_or((LongDouble::from(0), None));
    let sum = before + increment;
    if !sum.is_finite() {
        return Err(NAN_OR_INFINITY);
    }
    let mut text = Vec::with_capacity(32);
    sum.write(&mut text);
    let outcome = locked.update_as::<Hash, _>(key, true, |hash, env| hash.set_keeping_expiry(*env, name, &text))?;
    outcome.transpose()?;
    locked.changed(Class::HASH, "hincrbyfloat", key);
    // So that nobody adds twice what was rounded once.
    locked.replay(&[b"HSET", key, name, &text]);
    if let Some(at) = expiry {
        locked.replay(&[b"HPEXPIREAT", key, itoa::Buffer::new().format(at).as_bytes(), b"FIELDS", b"1", name]);
    }
    reply.bulk(&text);
    Ok(())
}

fn hdel(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let key = args.at(1);
    let removal = locked.update_as::<Hash, _>(key, false, |hash, env| {
        let names = args.iter().skip(2);
        let count = names.filter(|name| hash.remove(*env, name)).count();
        Removal { count, all: hash.as_ref().is_empty() }
    })?;
    let removal = removal.unwrap_or_default();
    removal.tell(locked, Class::HASH, "hdel", key);
    reply.int(removal.count as i64);
    Ok(())
}
