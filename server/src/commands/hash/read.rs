//! Fields by name, and all of them.

use larder_protocol::{Args, Reply};
use larder_storage::types::hash::{Field, Hash};
use smallvec::SmallVec;

use super::super::command::*;
use super::bulk;
use crate::error::{Error, Outcome};
use crate::locked::Locked;

pub(super) const HGET: Command = Command::read("HGET", Arity::exactly(2), &[key(1, RO | ACCESS)], hget)
    .flags(FAST)
    .member(2)
    .group(Group::Hash)
    .since("2.0.0")
    .syntax("key field")
    .complexity("O(1)")
    .summary("Answers the value of a field of a hash.")
    .examples(&[("HSET ada born 1815", "(integer) 1"), ("HGET ada born", "\"1815\""), ("HGET ada died", "(nil)")]);

pub(super) const HMGET: Command = Command::read("HMGET", Arity::at_least(2), &[key(1, RO | ACCESS)], hmget)
    .flags(FAST)
    .member(2)
    .group(Group::Hash)
    .since("2.0.0")
    .syntax("key field...")
    .complexity("O(N) for N fields")
    .summary("Answers the values of several fields of a hash.")
    .examples(&[
        ("HSET ada born 1815 died 1852", "(integer) 2"),
        ("HMGET ada died name born", "1) \"1852\"\n2) (nil)\n3) \"1815\""),
        ("HMGET nobody born", "1) (nil)"),
    ]);

pub(super) const HGETALL: Command = Command::read("HGETALL", Arity::exactly(1), &[key(1, RO | ACCESS)], hgetall)
    .group(Group::Hash)
    .since("2.0.0")
    .syntax("key")
    .complexity("O(N), N being the size of the hash")
    .summary("Answers all fields of a hash with their values.")
    .tips(&["nondeterministic_output_order"])
    .examples(&[
        ("HSET ada born 1815 died 1852", "(integer) 2"),
        ("HGETALL ada", "1) \"born\"\n2) \"1815\"\n3) \"died\"\n4) \"1852\""),
        ("HGETALL nobody", "(empty array)"),
    ]);

pub(super) const HKEYS: Command = Command::read("HKEYS", Arity::exactly(1), &[key(1, RO | ACCESS)], hkeys)
    .group(Group::Hash)
    .since("2.0.0")
    .syntax("key")
    .complexity("O(N), N being the size of the hash")
    .summary("Answers all fields of a hash.")
    .tips(&["nondeterministic_output_order"])
    .examples(&[("HSET ada born 1815 died 1852", "(integer) 2"), ("HKEYS ada", "1) \"born\"\n2) \"died\"")]);

pub(super) const HVALS: Command = Command::read("HVALS", Arity::exactly(1), &[key(1, RO | ACCESS)], hvals)
    .group(Group::Hash)
    .since("2.0.0")
    .syntax("key")
    .complexity("O(N), N being the size of the hash")
    .summary("Answers the values of all fields of a hash.")
    .tips(&["nondeterministic_output_order"])
    .examples(&[("HSET ada born 1815 died 1852", "(integer) 2"), ("HVALS ada", "1) \"1815\"\n2) \"1852\"")]);

pub(super) const HLEN: Command = Command::read("HLEN", Arity::exactly(1), &[key(1, RO)], hlen)
    .flags(FAST)
    .group(Group::Hash)
    .since("2.0.0")
    .syntax("key")
    .complexity("O(1)")
    .summary("Answers how many fields a hash has, with those that have expired but are not removed yet.")
    .examples(&[
        ("HSET ada born 1815 died 1852", "(integer) 2"),
        ("HLEN ada", "(integer) 2"),
        ("HLEN nobody", "(integer) 0"),
    ]);

pub(super) const HSTRLEN: Command = Command::read("HSTRLEN", Arity::exactly(2), &[key(1, RO)], hstrlen)
    .flags(FAST)
    .member(2)
    .group(Group::Hash)
    .since("3.2.0")
    .syntax("key field")
    .complexity("O(1)")
    .summary("Answers how many bytes the value of a field of a hash has.")
    .examples(&[
        ("HSET ada born 1815", "(integer) 1"),
        ("HSTRLEN ada born", "(integer) 4"),
        ("HSTRLEN ada died", "(integer) 0"),
    ]);

pub(super) const HEXISTS: Command = Command::read("HEXISTS", Arity::exactly(2), &[key(1, RO)], hexists)
    .flags(FAST)
    .member(2)
    .group(Group::Hash)
    .since("2.0.0")
    .syntax("key field")
    .complexity("O(1)")
    .summary("Answers whether a hash has a field.")
    .examples(&[
        ("HSET ada born 1815", "(integer) 1"),
        ("HEXISTS ada born", "(integer) 1"),
        ("HEXISTS ada died", "(integer) 0"),
    ]);

/// Answers what `answer` makes of a field, `None` if there is none. One whose time has come is removed.
#[inline]
fn field(
    locked: &mut Locked<'_>,
    args: Args<'_>,
    reply: &mut Reply,
    answer: impl FnOnce(&mut Reply, Option<Field<'_>>),
) -> Outcome {
    let (env, now) = (locked.env(), locked.now);
    let (key, name) = (args.at(1), args.at(2));
    let hash = locked.read_as::<Hash>(key)?;
    match hash.and_then(|hash| hash.get(env, name)) {
        Some(field) if field.has_expired(now) => {
            answer(reply, None);
            locked.expire_fields(key, &[name])?;
        }
        found => answer(reply, found),
    }
    Ok(())
}

fn hget(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    field(locked, args, reply, |reply, found| match found {
        Some(field) => bulk(reply, field.value),
        None => reply.null(),
    })
}

fn hstrlen(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    field(locked, args, reply, |reply, found| reply.int(found.map_or(0, |field| field.value.text_len() as i64)))
}

fn hexists(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    field(locked, args, reply, |reply, found| reply.int(found.is_some() as i64))
}

fn hmget(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (env, now, key) = (locked.env(), locked.now, args.at(1));
    let hash = locked.read_as::<Hash>(key)?;
    let names = args.from(2);
    let mut expired: SmallVec<[&[u8]; 4]> = SmallVec::new();
    reply.array(names.len());
    for name in names.iter() {
        match hash.and_then(|hash| hash.get(env, name)) {
            Some(field) if !field.has_expired(now) => bulk(reply, field.value),
            found => {
                reply.null();
                if found.is_some() && !expired.contains(&name) {
                    expired.push(name);
                }
            }
        }
    }
    if !expired.is_empty() {
        locked.expire_fields(key, &expired)?;
    }
    Ok(())
}

fn hlen(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let hash = locked.read_as::<Hash>(args.at(1))?;
    reply.int(hash.map_or(0, |hash| hash.len()) as i64);
    Ok(())
}

fn hgetall(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let announce = |reply: &mut Reply, fields| reply.map(fields);
    all(locked, args, reply, announce, |reply, field| {
        bulk(reply, field.name);
        bulk(reply, field.value);
    })
}

fn hkeys(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    all(locked, args, reply, |reply, fields| reply.array(fields), |reply, field| bulk(reply, field.name))
}

fn hvals(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    all(locked, args, reply, |reply, fields| reply.array(fields), |reply, field| bulk(reply, field.value))
}

/// Announces how many fields there are, and shows each but those whose time has come.
fn all(
    locked: &mut Locked<'_>,
    args: Args<'_>,
    reply: &mut Reply,
    announce: impl FnOnce(&mut Reply, usize),
    mut show: impl FnMut(&mut Reply, Field<'_>),
) -> Result<(), Error> {
    let now = locked.now;
    let Some(hash) = locked.read_as::<Hash>(args.at(1))? else {
        announce(reply, 0);
        return Ok(());
    };
    announce(reply, hash.live_len(now));
    hash.each(|field| {
        if !field.has_expired(now) {
            show(reply, field);
        }
    });
    Ok(())
}
