//! Elements taken from either end of the first list that has some, and the wait for one: BLPOP, BRPOP, BLMPOP, and to
//! another list BLMOVE, BRPOPLPUSH.

use larder_protocol::{Args, Reply};
use larder_storage::types::list::End;
use larder_storage::value::Kind;

use super::super::command::*;
use super::super::parse::timeout;
use super::end;
use super::pop::{MultiPop, command, take, take_first};
use super::transfer::{self, transfer};
use crate::error::Error;
use crate::locked::Locked;
use crate::wait::{Park, Step};

/// All arguments but the last.
const KEYS: KeySpec =
    KeySpec { begin: 1, find: Find::Range { last: -2, step: 1 }, flags: RW | ACCESS | DELETE, notes: "" };

pub(super) const BLPOP: Command = Command::wait("BLPOP", Arity::at_least(2), &[KEYS], blpop)
    .flags(WRITE)
    .group(Group::List)
    .since("2.0.0")
    .syntax("key... timeout")
    .summary("Removes the first element of the first of several lists that is there, or waits for one.")
    .complexity("O(N), N being the number of keys")
    .examples(&[
        ("RPUSH queue first second", "(integer) 2"),
        ("BLPOP nothing queue 0", "1) \"queue\"\n2) \"first\""),
        ("BLPOP queue -1", "(error) ERR timeout is negative"),
    ]);

pub(super) const BRPOP: Command = Command::wait("BRPOP", Arity::at_least(2), &[KEYS], brpop)
    .flags(WRITE)
    .group(Group::List)
    .since("2.0.0")
    .syntax("key... timeout")
    .summary("Removes the last element of the first of several lists that is there, or waits for one.")
    .complexity("O(N), N being the number of keys")
    .examples(&[
        ("RPUSH queue first second", "(integer) 2"),
        ("BRPOP nothing queue 0", "1) \"queue\"\n2) \"second\""),
        ("BRPOP queue soon", "(error) ERR timeout is not a float or out of range"),
    ]);

pub(super) const BLMPOP: Command =
    Command::wait("BLMPOP", Arity::at_least(4), &[counted(2, RW | ACCESS | DELETE)], blmpop)
        .flags(WRITE | MOVABLE_KEYS)
        .group(Group::List)
        .since("7.0.0")
        .syntax("timeout numkeys key... (LEFT | RIGHT) [COUNT count]")
        .summary("Removes elements from an end of the first of several lists that is there, or waits for one.")
        .complexity("O(K+M) for K keys, M being the number of removed elements")
        .examples(&[
            ("RPUSH queue first second third", "(integer) 3"),
            ("BLMPOP 0 2 nothing queue LEFT COUNT 2", "1) \"queue\"\n2) 1) \"first\"\n   2) \"second\""),
            ("BLMPOP 0 1 queue MIDDLE", "(error) ERR syntax error"),
        ]);

pub(super) const BLMOVE: Command = Command::wait("BLMOVE", Arity::exactly(5), transfer::KEYS, blmove)
    .flags(WRITE | DENYOOM)
    .group(Group::List)
    .since("6.2.0")
    .syntax("source destination (LEFT | RIGHT) (LEFT | RIGHT) timeout")
    .summary("Takes an element from an end of a list, adds it at an end of another, and answers it, or waits for one.")
    .complexity("O(1)")
    .examples(&[
        ("RPUSH todo wash dry", "(integer) 2"),
        ("BLMOVE todo done LEFT RIGHT 0", "\"wash\""),
        ("BLMOVE todo done UP RIGHT 0", "(error) ERR syntax error"),
    ]);

pub(super) const BRPOPLPUSH: Command = Command::wait("BRPOPLPUSH", Arity::exactly(3), transfer::KEYS, brpoplpush)
    .flags(WRITE | DENYOOM)
    .group(Group::List)
    .since("2.2.0")
    .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments")
    .syntax("source destination timeout")
    .summary("Takes the last element of a list, adds it at the head of another, and answers it, or waits for one.")
    .complexity("O(1)")
    .examples(&[
        ("RPUSH todo wash dry", "(integer) 2"),
        ("BRPOPLPUSH todo done 0", "\"dry\""),
        ("BRPOPLPUSH todo done -1", "(error) ERR timeout is negative"),
    ]);

fn blpop(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Result<Step, Error> {
    bpop(locked, args, End::Left, reply)
}

fn brpop(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Result<Step, Error> {
    bpop(locked, args, End::Right, reply)
}

fn bpop(locked: &mut Locked<'_>, args: Args<'_>, end: End, reply: &mut Reply) -> Result<Step, Error> {
    let until = timeout(args.at(args.len() - 1), locked.now)?;
    for key in args.until(args.len() - 1).from(1).iter() {
        let begin = |reply: &mut Reply| {
            reply.array(2);
            reply.bulk(key);
        };
        if take(locked, key, end, begin, reply)? {
            locked.replay(&[command(end), key]);
            return Ok(Step::Done);
        }
    }
    Ok(Step::Park(Park::until(until, Kind::List)))
}

fn blmpop(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Result<Step, Error> {
    let call = MultiPop::parse(args.from(2))?;
    let until = timeout(args.at(1), locked.now)?;
    if take_first(locked, &call, reply)? {
        return Ok(Step::Done);
    }
    Ok(Step::Park(Park::until(until, Kind::List)))
}

fn blmove(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Result<Step, Error> {
    let (from, to) = (end(args.at(3))?, end(args.at(4))?);
    let until = timeout(args.at(5), locked.now)?;
    if !transfer(locked, args.at(1), from, args.at(2), to, reply)? {
        return Ok(Step::Park(park_at_source(until)));
    }
    locked.replay(&[b"LMOVE", args.at(1), args.at(2), args.at(3), args.at(4)]);
    Ok(Step::Done)
}

fn brpoplpush(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Result<Step, Error> {
    let until = timeout(args.at(3), locked.now)?;
    if !transfer(locked, args.at(1), End::Right, args.at(2), End::Left, reply)? {
        return Ok(Step::Park(park_at_source(until)));
    }
    locked.replay(&[b"RPOPLPUSH", args.at(1), args.at(2)]);
    Ok(Step::Done)
}

/// Waits for an element of the source. Where nothing can wait there is no element; at the time limit it is no array, as
/// in Redis.
fn park_at_source(until: Option<u64>) -> Park {
    Park { keys: 1, at_once: |reply| reply.null(), ..Park::until(until, Kind::List) }
}
