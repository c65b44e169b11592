//! Elements taken from either end of the first set that has some, and the wait for one: BZPOPMIN, BZPOPMAX, BZMPOP.

use larder_protocol::{Args, Reply};
use larder_storage::types::zset::ZSet;
use larder_storage::value::Kind;

use super::super::command::*;
use super::super::parse::timeout;
use super::Layout;
use super::pop::{End, MultiPop, pop, pop_first};
use crate::error::Error;
use crate::locked::Locked;
use crate::wait::{Park, Step};

/// All arguments but the last.
const KEYS: KeySpec =
    KeySpec { begin: 1, find: Find::Range { last: -2, step: 1 }, flags: RW | ACCESS | DELETE, notes: "" };

pub(super) const BZPOPMIN: Command = Command::wait("BZPOPMIN", Arity::at_least(2), &[KEYS], bzpopmin)
    .flags(WRITE | FAST)
    .group(Group::SortedSet)
    .since("5.0.0")
    .syntax("key... timeout")
    .summary("Removes the member with the lowest score from the first of several sorted sets that is there, or waits for one.")
    .complexity("O(log(N)), N being the size of the set")
    .examples(&[
        ("ZADD race 31.5 ada 29 bo", "(integer) 2"),
        ("BZPOPMIN nobody race 0", "1) \"race\"\n2) \"bo\"\n3) \"29\""),
        ("BZPOPMIN race -1", "(error) ERR timeout is negative"),
    ]);

pub(super) const BZPOPMAX: Command = Command::wait("BZPOPMAX", Arity::at_least(2), &[KEYS], bzpopmax)
    .flags(WRITE | FAST)
    .group(Group::SortedSet)
    .since("5.0.0")
    .syntax("key... timeout")
    .summary("Removes the member with the highest score from the first of several sorted sets that is there, or waits for one.")
    .complexity("O(log(N)), N being the size of the set")
    .examples(&[
        ("ZADD race 31.5 ada 29 bo", "(integer) 2"),
        ("BZPOPMAX nobody race 0", "1) \"race\"\n2) \"ada\"\n3) \"31.5\""),
        ("BZPOPMAX race soon", "(error) ERR timeout is not a float or out of range"),
    ]);

pub(super) const BZMPOP: Command =
    Command::wait("BZMPOP", Arity::at_least(4), &[counted(2, RW | ACCESS | DELETE)], bzmpop)
        .flags(WRITE | MOVABLE_KEYS)
        .group(Group::SortedSet)
        .since("7.0.0")
        .syntax("timeout numkeys key... (MIN | MAX) [COUNT count]")
        .summary("Removes members with the lowest or highest scores from the first of several sorted sets that is there, or waits for one.")
        .complexity("O(K+M*log(N)) for K keys, N being the size of the set and M the number of removed members")
        .examples(&[
            ("ZADD race 31.5 ada 29 bo 35 cy", "(integer) 3"),
            ("BZMPOP 0 2 nobody race MIN", "1) \"race\"\n2) 1) 1) \"bo\"\n      2) \"29\""),
            ("BZMPOP 0 1 race MIDDLE", "(error) ERR syntax error"),
        ]);

fn bzpopmin(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Result<Step, Error> {
    bzpop(locked, args, End::Lowest, reply)
}

fn bzpopmax(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Result<Step, Error> {
    bzpop(locked, args, End::Highest, reply)
}

fn bzpop(locked: &mut Locked<'_>, args: Args<'_>, end: End, reply: &mut Reply) -> Result<Step, Error> {
    let until = timeout(args.at(args.len() - 1), locked.now)?;
    for key in args.until(args.len() - 1).from(1).iter() {
        if locked.look_as::<ZSet>(key)?.is_none() {
            continue;
        }
        let begin = |reply: &mut Reply| {
            reply.array(3);
            reply.bulk(key);
            Layout::Plain
        };
        pop(locked, key, end, 1, begin, reply)?;
        locked.replay(&[end.command(), key]);
        return Ok(Step::Done);
    }
    Ok(Step::Park(Park::until(until, Kind::ZSet)))
}

fn bzmpop(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Result<Step, Error> {
    let call = MultiPop::parse(args.from(2))?;
    let until = timeout(args.at(1), locked.now)?;
    if pop_first(locked, &call, reply)? {
        return Ok(Step::Done);
    }
    Ok(Step::Park(Park::until(until, Kind::ZSet)))
}
