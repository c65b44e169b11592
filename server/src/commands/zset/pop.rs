//! Elements taken from either end: ZPOPMIN, ZPOPMAX, and ZMPOP from the first set of several that is there.

use larder_protocol::{Args, Proto, Reply};
use larder_storage::types::zset::ZSet;

use super::super::command::*;
use super::super::parse::is;
use super::super::removal::Removal;
use super::{Layout, natural};
use crate::config::KeyspaceEvents as Class;
use crate::error::{COUNT_NOT_POSITIVE, Error, NOT_POSITIVE, NUMKEYS_NOT_POSITIVE, Outcome, SYNTAX};
use crate::locked::Locked;

pub(super) const ZPOPMIN: Command =
    Command::write("ZPOPMIN", Arity::at_least(1), &[key(1, RW | ACCESS | DELETE)], zpopmin)
        .flags(FAST)
        .group(Group::SortedSet)
        .since("5.0.0")
        .syntax("key [count]")
        .summary("Removes the members with the lowest scores from a sorted set, and answers them.")
        .complexity(POPS)
        .examples(&[
            ("ZADD race 31.5 ada 29 bo 35 cy", "(integer) 3"),
            ("ZPOPMIN race", "1) \"bo\"\n2) \"29\""),
            ("ZPOPMIN race 9", "1) \"ada\"\n2) \"31.5\"\n3) \"cy\"\n4) \"35\""),
            ("ZPOPMIN race", "(empty array)"),
        ]);

pub(super) const ZPOPMAX: Command =
    Command::write("ZPOPMAX", Arity::at_least(1), &[key(1, RW | ACCESS | DELETE)], zpopmax)
        .flags(FAST)
        .group(Group::SortedSet)
        .since("5.0.0")
        .syntax("key [count]")
        .summary("Removes the members with the highest scores from a sorted set, and answers them.")
        .complexity(POPS)
        .examples(&[
            ("ZADD race 31.5 ada 29 bo 35 cy", "(integer) 3"),
            ("ZPOPMAX race 2", "1) \"cy\"\n2) \"35\"\n3) \"ada\"\n4) \"31.5\""),
            ("ZPOPMAX race -1", "(error) ERR value is out of range, must be positive"),
        ]);

pub(super) const ZMPOP: Command =
    Command::write("ZMPOP", Arity::at_least(3), &[counted(1, RW | ACCESS | DELETE)], zmpop)
        .flags(MOVABLE_KEYS)
        .group(Group::SortedSet)
        .since("7.0.0")
        .syntax("numkeys key... (MIN | MAX) [COUNT count]")
        .summary(
            "Removes members with the lowest or highest scores from the first of several sorted sets that is there.",
        )
        .complexity("O(K+M*log(N)) for K keys, N being the size of the set and M the number of removed members")
        .examples(&[
            ("ZADD race 31.5 ada 29 bo 35 cy", "(integer) 3"),
            ("ZMPOP 2 nobody race MIN", "1) \"race\"\n2) 1) 1) \"bo\"\n      2) \"29\""),
            (
                "ZMPOP 1 race MAX COUNT 9",
                "1) \"race\"\n2) 1) 1) \"cy\"\n      2) \"35\"\n   2) 1) \"ada\"\n      2) \"31.5\"",
            ),
            ("ZMPOP 1 race MAX", "(nil)"),
        ]);

const POPS: &str = "O(M*log(N)), N being the size of the set and M the number of removed members";

/// The end of a set from which elements are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Lowest,
    Highest,
}

impl End {
    /// The command that takes elements from this end of one set.
    pub(super) fn command(self) -> &'static [u8] {
        match self {
            Self::Lowest => b"ZPOPMIN",
            Self::Highest => b"ZPOPMAX",
        }
    }
}

fn zpopmin(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    zpop(locked, args, End::Lowest, reply)
}

fn zpopmax(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    zpop(locked, args, End::Highest, reply)
}

fn zpop(locked: &mut Locked<'_>, args: Args<'_>, end: End, reply: &mut Reply) -> Outcome {
    if args.len() > 3 {
        return Err(SYNTAX);
    }
    let count = args.get(2).map(|arg| natural(arg, NOT_POSITIVE)).transpose()?;
    // Without a count it is one element, and even RESP3 gets it flat.
    let layout = match reply.proto() {
        Proto::Resp3 if count.is_some() => Layout::Pairs,
        _ => Layout::Flat,
    };
    pop(locked, args.at(1), end, count.unwrap_or(1), |_| layout, reply)?;
    Ok(())
}

/// Takes up to `count` elements from a set and answers them, in the layout that `begin` says after it has written what
/// comes before them; how many there were.
pub(super) fn pop(
    locked: &mut Locked<'_>,
    key: &[u8],
    end: End,
    count: usize,
    begin: impl FnOnce(&mut Reply) -> Layout,
    reply: &mut Reply,
) -> Result<usize, Error> {
    if count == 0 {
        locked.look_as::<ZSet>(key)?;
        reply.array(0);
        return Ok(0);
    }
    let removal = locked.update_as::<ZSet, _>(key, false, |zset, env| {
        let len = zset.as_ref().len();
        let count = count.min(len);
        let layout = begin(reply);
        let start = match end {
            End::Lowest => 0,
            End::Highest => len - count,
        };
        let elements = zset.as_ref().range(start, start + count);
        match end {
            End::Lowest => layout.answer(reply, elements),
            End::Highest => layout.answer(reply, elements.rev()),
        }
        zset.remove_rank_range(*env, start, start + count, |_, _| {});
        Removal { count, all: zset.as_ref().is_empty() }
    })?;
    let Some(removal) = removal else {
        reply.array(0);
        return Ok(0);
    };
    let event = match end {
        End::Lowest => "zpopmin",
        End::Highest => "zpopmax",
    };
    removal.tell(locked, Class::ZSET, event, key);
    Ok(removal.count)
}

fn zmpop(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if !pop_first(locked, &MultiPop::parse(args.from(1))?, reply)? {
        reply.null_array();
    }
    Ok(())
}

/// Takes elements from the first set that is there; whether there was one.
pub(super) fn pop_first(locked: &mut Locked<'_>, call: &MultiPop<'_>, reply: &mut Reply) -> Result<bool, Error> {
    for key in call.keys.iter() {
        if locked.look_as::<ZSet>(key)?.is_none() {
            continue;
        }
        let begin = |reply: &mut Reply| {
            reply.array(2);
            reply.bulk(key);
            Layout::Pairs
        };
        let count = pop(locked, key, call.end, call.count, begin, reply)?;
        locked.replay(&[call.end.command(), key, itoa::Buffer::new().format(count).as_bytes()]);
        return Ok(true);
    }
    Ok(false)
}

/// A call of ZMPOP, or of BZMPOP behind its time limit.
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
        let word = keys.checked_add(1).and_then(|at| args.get(at)).ok_or(SYNTAX)?;
        let end = match () {
            () if is(word, "MIN") => End::Lowest,
            () if is(word, "MAX") => End::Highest,
            () => return Err(SYNTAX),
        };
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
