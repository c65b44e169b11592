//! XLEN, XRANGE and XREVRANGE.

use larder_protocol::{Args, Reply};
use larder_storage::types::stream::{Direction, Stream};

use super::super::command::*;
use super::super::parse::{integer, is};
use super::{answer_entries, id};
use crate::error::{Error, Outcome, SYNTAX};
use crate::locked::Locked;

pub(super) const XLEN: Command = Command::read("XLEN", Arity::exactly(1), &[key(1, RO)], xlen)
    .flags(FAST)
    .group(Group::Stream)
    .since("5.0.0")
    .syntax("key")
    .complexity("O(1)")
    .summary("Answers how many entries a stream has.")
    .examples(&[("XADD log 5-1 who ada", "\"5-1\""), ("XLEN log", "(integer) 1"), ("XLEN none", "(integer) 0")]);

pub(super) const XRANGE: Command = Command::read("XRANGE", Arity::at_least(3), &[key(1, RO | ACCESS)], xrange)
    .group(Group::Stream)
    .since("5.0.0")
    .syntax("key start-id end-id [COUNT count]")
    .summary("Answers the entries of a stream between two ids.")
    .complexity("O(N) for N answered entries")
    .examples(&[
        ("XADD log 5-1 who ada", "\"5-1\""),
        ("XADD log 6-1 who bo", "\"6-1\""),
        ("XRANGE log - + COUNT 1", "1) 1) \"5-1\"\n   2) 1) \"who\"\n      2) \"ada\""),
        ("XRANGE log (5-1 6", "1) 1) \"6-1\"\n   2) 1) \"who\"\n      2) \"bo\""),
    ]);

pub(super) const XREVRANGE: Command = Command::read("XREVRANGE", Arity::at_least(3), &[key(1, RO | ACCESS)], xrevrange)
    .group(Group::Stream)
    .since("5.0.0")
    .syntax("key end-id start-id [COUNT count]")
    .summary("Answers the entries of a stream between two ids, the newest first.")
    .complexity("O(N) for N answered entries")
    .examples(&[
        ("XADD log 5-1 who ada", "\"5-1\""),
        ("XADD log 6-1 who bo", "\"6-1\""),
        ("XREVRANGE log + - COUNT 1", "1) 1) \"6-1\"\n   2) 1) \"who\"\n      2) \"bo\""),
    ]);

fn xlen(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let stream = locked.read_as::<Stream>(args.at(1))?;
    reply.int(stream.map_or(0, |stream| stream.log().len()) as i64);
    Ok(())
}

fn xrange(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    range(locked, args, (2, 3), Direction::Forward, reply)
}

fn xrevrange(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    range(locked, args, (3, 2), Direction::Backward, reply)
}

fn range(
    locked: &mut Locked<'_>,
    args: Args<'_>,
    (start, end): (usize, usize),
    direction: Direction,
    reply: &mut Reply,
) -> Outcome {
    let (start, end) = (id::interval_start(args.at(start))?, id::interval_end(args.at(end))?);
    let count = count(args.from(4))?;
    let Some(stream) = locked.read_as::<Stream>(args.at(1))? else {
        reply.array(0);
        return Ok(());
    };
    if count == 0 {
        reply.null_array();
    } else {
        answer_entries(reply, stream.log().range(start, end, direction).take(count));
    }
    Ok(())
}

/// The option COUNT, which may come several times.
fn count(mut options: Args<'_>) -> Result<usize, Error> {
    let mut count = usize::MAX;
    while let Some(word) = options.get(0) {
        let value = options.get(1).filter(|_| is(word, "COUNT")).ok_or(SYNTAX)?;
        // -1 as an argument is 0, too.
        count = usize::try_from(integer(value)?).unwrap_or(0);
        options = options.from(2);
    }
    Ok(count)
}
