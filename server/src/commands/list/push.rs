//! Elements added at either end: LPUSH, RPUSH, and LPUSHX and RPUSHX where there is a list already.

use larder_protocol::{Args, Reply};
use larder_storage::types::list::{End, List};

use super::super::command::*;
use super::pushed;
use crate::config::KeyspaceEvents as Class;
use crate::error::Outcome;
use crate::locked::Locked;

pub(super) const LPUSH: Command = Command::write("LPUSH", Arity::at_least(2), &[key(1, RW | INSERT)], lpush)
    .flags(DENYOOM | FAST)
    .group(Group::List)
    .since("1.0.0")
    .syntax("key element...")
    .summary("Adds elements at the head of a list, each before the last one, and answers the length; makes the list if there is none.")
    .complexity(PUSHES)
    .examples(&[
        ("LPUSH news old", "(integer) 1"),
        ("LPUSH news new newest", "(integer) 3"),
        ("LRANGE news 0 -1", "1) \"newest\"\n2) \"new\"\n3) \"old\""),
    ]);

pub(super) const RPUSH: Command = Command::write("RPUSH", Arity::at_least(2), &[key(1, RW | INSERT)], rpush)
    .flags(DENYOOM | FAST)
    .group(Group::List)
    .since("1.0.0")
    .syntax("key element...")
    .summary("Adds elements at the tail of a list and answers the length; makes the list if there is none.")
    .complexity(PUSHES)
    .examples(&[
        ("RPUSH queue first second", "(integer) 2"),
        ("RPUSH queue third", "(integer) 3"),
        ("LRANGE queue 0 -1", "1) \"first\"\n2) \"second\"\n3) \"third\""),
    ]);

pub(super) const LPUSHX: Command = Command::write("LPUSHX", Arity::at_least(2), &[key(1, RW | INSERT)], lpushx)
    .flags(DENYOOM | FAST)
    .group(Group::List)
    .since("2.2.0")
    .syntax("key element...")
    .summary("Adds elements at the head of a list that is there, and answers the length, or 0 if there is none.")
    .complexity(PUSHES)
    .examples(&[
        ("LPUSHX news new", "(integer) 0"),
        ("LPUSH news old", "(integer) 1"),
        ("LPUSHX news new", "(integer) 2"),
    ]);

pub(super) const RPUSHX: Command = Command::write("RPUSHX", Arity::at_least(2), &[key(1, RW | INSERT)], rpushx)
    .flags(DENYOOM | FAST)
    .group(Group::List)
    .since("2.2.0")
    .syntax("key element...")
    .summary("Adds elements at the tail of a list that is there, and answers the length, or 0 if there is none.")
    .complexity(PUSHES)
    .examples(&[
        ("RPUSHX queue first", "(integer) 0"),
        ("RPUSH queue first", "(integer) 1"),
        ("RPUSHX queue second", "(integer) 2"),
    ]);

const PUSHES: &str = "O(1) for each element";

fn lpush(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    push(locked, args, End::Left, true, reply)
}

fn rpush(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    push(locked, args, End::Right, true, reply)
}

fn lpushx(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    push(locked, args, End::Left, false, reply)
}

fn rpushx(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    push(locked, args, End::Right, false, reply)
}

fn push(locked: &mut Locked<'_>, args: Args<'_>, end: End, create: bool, reply: &mut Reply) -> Outcome {
    let (key, elements) = (args.at(1), args.from(2));
    let len = locked.update_as::<List, _>(key, create, |list, env| {
        list.push_all(env, end, elements.iter());
        list.as_ref().len()
    })?;
    if len.is_some() {
        locked.changed(Class::LIST, pushed(end), key);
        locked.count_changes(elements.len() as u64 - 1);
    }
    reply.int(len.unwrap_or(0) as i64);
    Ok(())
}
