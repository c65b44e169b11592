//! Elements taken from either end: LPOP, RPOP, and LMPOP from the first list of several that is there.

use larder_protocol::{Args, Reply};
use larder_storage::types::list::{End, List, ListRef};

use super::super::command::*;
use super::super::parse::{is, natural};
use super::super::removal::Removal;
use super::{answer, end, popped};
use crate::config::KeyspaceEvents as Class;
use crate::error::{COUNT_NOT_POSITIVE, Error, NOT_POSITIVE, NUMKEYS_NOT_POSITIVE, Outcome, SYNTAX, wrong_arity};
use crate::locked::Locked;

pub(super) const LPOP: Command = Command::write("LPOP", Arity::at_least(1), &[key(1, RW | ACCESS | DELETE)], lpop)
    .flags(FAST)
    .group(Group::List)
    .since("1.0.0")
    .syntax("key [count]")
    .summary("Removes the first element of a list, or several, and answers them.")
    .complexity(POPS)
    .examples(&[
        ("RPUSH queue first second third", "(integer) 3"),
        ("LPOP queue", "\"first\""),
        ("LPOP queue 9", "1) \"second\"\n2) \"third\""),
        ("LPOP queue", "(nil)"),
    ]);

pub(super) const RPOP: Command = Command::write("RPOP", Arity::at_least(1), &[key(1, RW | ACCESS | DELETE)], rpop)
    .flags(FAST)
    .group(Group::List)
    .since("1.0.0")
    .syntax("key [count]")
    .summary("Removes the last element of a list, or several, the last one first, and answers them.")
    .complexity(POPS)
    .examples(&[
        ("RPUSH stack bottom middle top", "(integer) 3"),
        ("RPOP stack", "\"top\""),
        ("RPOP stack 9", "1) \"middle\"\n2) \"bottom\""),
        ("RPOP stack -1", "(error) ERR value is out of range, must be positive"),
    ]);

pub(super) const LMPOP: Command =
    Command::write("LMPOP", Arity::at_least(3), &[counted(1, RW | ACCESS | DELETE)], lmpop)
        .flags(MOVABLE_KEYS)
        .group(Group::List)
        .since("7.0.0")
        .syntax("numkeys key... (LEFT | RIGHT) [COUNT count]")
        .summary(
            "Removes elements from an end of the first of several lists that is there, and answers its key and them.",
        )
        .complexity("O(K+M) for K keys, M being the number of removed elements")
        .examples(&[
            ("RPUSH queue first second third", "(integer) 3"),
            ("LMPOP 2 nothing queue LEFT", "1) \"queue\"\n2) 1) \"first\""),
            ("LMPOP 1 queue RIGHT COUNT 9", "1) \"queue\"\n2) 1) \"third\"\n   2) \"second\""),
            ("LMPOP 1 queue RIGHT", "(nil)"),
        ]);

const POPS: &str = "O(M), M being the number of removed elements";

/// The command that takes elements from an end of one list.
pub(super) fn command(end: End) -> &'static [u8] {
    match end {
        End::Left => b"LPOP",
        End::Right => b"RPOP",
    }
}

fn lpop(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    pop(locked, args, End::Left, reply)
}

fn rpop(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    pop(locked, args, End::Right, reply)
}

fn pop(locked: &mut Locked<'_>, args: Args<'_>, end: End, reply: &mut Reply) -> Outcome {
    if args.len() > 3 {
        return Err(wrong_arity(popped(end)));
    }
    let Some(count) = args.get(2) else {
        if !take(locked, args.at(1), end, |_| {}, reply)? {
            reply.null();
        }
        return Ok(());
    };
    let count = natural(count, NOT_POSITIVE)?;
    if take_many(locked, args.at(1), end, count, |_| {}, reply)?.is_none() {
        reply.null_array();
    }
    Ok(())
}

/// Takes one element from a list and answers it, behind what `begin` writes; whether there was a list.
#[inline]
pub(super) fn take(
    locked: &mut Locked<'_>,
    key: &[u8],
    end: End,
    begin: impl FnOnce(&mut Reply),
    reply: &mut Reply,
) -> Result<bool, Error> {
    let removal = locked.update_as::<List, _>(key, false, |list, env| {
        begin(reply);
        if let Some(element) = at_end(list.as_ref(), end) {
            answer(reply, element);
        }
        list.remove(env, end, 1);
        Removal { count: 1, all: list.as_ref().is_empty() }
    })?;
    if let Some(removal) = &removal {
        removal.tell(locked, Class::LIST, popped(end), key);
    }
    Ok(removal.is_some())
}

/// The element at an end.
#[inline]
pub(super) fn at_end(list: ListRef<'_>, end: End) -> Option<larder_storage::types::pack::Element<'_>> {
    list.get(match end {
        End::Left => 0,
        End::Right => list.len().checked_sub(1)?,
    })
}

/// Takes up to `count` elements from a list and answers an array of them, behind what `begin` writes; how many there
/// were, `None` if there is no list.
pub(super) fn take_many(
    locked: &mut Locked<'_>,
    key: &[u8],
    end: End,
    count: usize,
    begin: impl FnOnce(&mut Reply),
    reply: &mut Reply,
) -> Result<Option<usize>, Error> {
    if count == 0 {
        // Nothing is changed, not even the form in which the list is kept.
        let is_there = locked.look_as::<List>(key)?.is_some();
        if is_there {
            reply.array(0);
        }
        return Ok(is_there.then_some(0));
    }
    let removal = locked.update_as::<List, _>(key, false, |list, env| {
        let len = list.as_ref().len();
        let count = count.min(len);
        begin(reply);
        reply.array(count);
        match end {
            End::Left => list.as_ref().range(0, count).for_each(|element| answer(reply, element)),
            End::Right => list.as_ref().range(len - count, len).rev().for_each(|element| answer(reply, element)),
        }
        list.remove(env, end, count);
        Removal { count, all: list.as_ref().is_empty() }
    })?;
    if let Some(removal) = &removal {
        removal.tell(locked, Class::LIST, popped(end), key);
    }
    Ok(removal.map(|removal| removal.count))
}

fn lmpop(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if !take_first(locked, &MultiPop::parse(args.from(1))?, reply)? {
        reply.null_array();
    }
    Ok(())
}

/// Takes elements from the first list that is there; whether there was one.
pub(super) fn take_first(locked: &mut Locked<'_>, call: &MultiPop<'_>, reply: &mut Reply) -> Result<bool, Error> {
    for key in call.keys.iter() {
        let begin = |reply: &mut Reply| {
            reply.array(2);
            reply.bulk(key);
        };
        if let Some(count) = take_many(locked, key, call.end, call.count, begin, reply)? {
            locked.replay(&[command(call.end), key, itoa::Buffer::new().format(count).as_bytes()]);
            return Ok(true);
        }
    }
    Ok(false)
}

/// A call of LMPOP, or of BLMPOP behind its time limit.
pub(super) struct MultiPop<'a> {
    keys: Args<'a>,
    end: End,
    count: usize,
}

impl<'a> MultiPop<'a> {
    /// Reads the arguments from the number of keys on.
    pub(super) fn parse(args: Args<'a>) -> Result<Self, Error> {
        let keys = natural(args.at(0), NUMKEYS_NOT_POSITIVE)?;
        if keys == 0 {
            return Err(NUMKEYS_NOT_POSITIVE);
        }
        let end = end(keys.checked_add(1).and_then(|at| args.get(at)).ok_or(SYNTAX)?)?;
        let mut options = args.from(keys + 2);
        let mut count = None;
        while let Some(word) = options.get(0) {
            let value = options.get(1).filter(|_| count.is_none() && is(word, "COUNT")).ok_or(SYNTAX)?;
            count = Some(natural(value, COUNT_NOT_POSITIVE)?).filter(|count| *count > 0);
            if count.is_none() {
                return Err(COUNT_NOT_POSITIVE);
            }
            options = options.from(2);
        }
        Ok(Self { keys: args.from(1).until(keys), end, count: count.unwrap_or(1) })
    }
}
