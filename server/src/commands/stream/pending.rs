//! Entries that are not acknowledged: XACK, XPENDING.

use larder_protocol::{Args, Reply};
use larder_storage::types::stream::{Group as Readers, Stream, StreamId};
use smallvec::SmallVec;

use super::super::command::*;
use super::super::parse::{integer, is};
use super::id;
use crate::error::{Error, Outcome, SYNTAX, no_key_or_group};
use crate::locked::Locked;

pub(super) const XACK: Command = Command::write("XACK", Arity::at_least(3), &[key(1, RW | UPDATE)], xack)
    .flags(FAST)
    .group(Group::Stream)
    .since("5.0.0")
    .syntax("key group id...")
    .summary("Acknowledges entries that a consumer group was given, and answers how many were not yet acknowledged.")
    .complexity("O(1) for each id")
    .examples(&[
        ("XADD log 5-1 who ada", "\"5-1\""),
        ("XGROUP CREATE log team 0", "OK"),
        ("XREADGROUP GROUP team me STREAMS log >", READ),
        ("XACK log team 5-1 6-1", "(integer) 1"),
        ("XACK log team 5-1", "(integer) 0"),
    ]);

pub(super) const XPENDING: Command = Command::read("XPENDING", Arity::at_least(2), &[key(1, RO | ACCESS)], xpending)
    .group(Group::Stream)
    .since("5.0.0")
    .syntax("key group [[IDLE milliseconds] start-id end-id count [consumer]]")
    .summary("Answers what a consumer group has not acknowledged: in sum, or entry by entry.")
    .complexity("O(N) for N entries that are looked at, or N consumers")
    .tips(&["nondeterministic_output"])
    .examples(&[
        ("XADD log 5-1 who ada", "\"5-1\""),
        ("XGROUP CREATE log team 0", "OK"),
        ("XREADGROUP GROUP team me STREAMS log >", READ),
        ("XPENDING log team", "1) (integer) 1\n2) \"5-1\"\n3) \"5-1\"\n4) 1) 1) \"me\"\n      2) \"1\""),
        ("XPENDING log team IDLE 60000 - + 10", "(empty array)"),
    ]);

const READ: &str = "1) 1) \"log\"\n   2) 1) 1) \"5-1\"\n         2) 1) \"who\"\n            2) \"ada\"";

fn xack(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (key, group) = (args.at(1), args.at(2));
    if locked.look_as::<Stream>(key)?.is_none_or(|stream| stream.group(group).is_none()) {
        reply.int(0);
        return Ok(());
    }
    let ids = args.iter().skip(3).map(id::strict).collect::<Result<SmallVec<[StreamId; 8]>, _>>()?;
    let acknowledged = locked.update_as::<Stream, _>(key, false, |stream, _| {
        stream.with_group(group, |_, group| ids.into_iter().filter(|id| group.acknowledge(*id)).count())
    })?;
    let acknowledged = acknowledged.flatten().unwrap_or(0);
    locked.count_changes(acknowledged as u64);
    reply.int(acknowledged as i64);
    Ok(())
}

/// Which entries XPENDING answers.
struct Selection<'a> {
    min_idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Selection<'a> {
    fn parse(args: Args<'a>) -> Result<Option<Self>, Error> {
        if args.len() == 3 {
            return Ok(None);
        }
        if !(6..=9).contains(&args.len()) {
            return Err(SYNTAX);
        }
        let (mut min_idle_ms, mut rest) = (0, args.from(3));
        if is(rest.at(0), "IDLE") {
            min_idle_ms = integer(rest.at(1))?;
            if args.len() < 8 {
                return Err(SYNTAX);
            }
            rest = rest.from(2);
        }
        let count = usize::try_from(integer(rest.at(2))?).unwrap_or(0);
        let (start, end) = (id::interval_start(rest.at(0))?, id::interval_end(rest.at(1))?);
        Ok(Some(Self { min_idle_ms, start, end, count, consumer: rest.get(3) }))
    }

    fn answer(&self, group: &Readers, now: u64, reply: &mut Reply) {
        let ids: Box<dyn Iterator<Item = StreamId>> = match self.consumer {
            None => Box::new(group.pending_from(self.start).map(|(id, _)| id)),
            Some(name) => match group.consumer_named(name) {
                Some(consumer) => Box::new(consumer.pending_from(self.start)),
                None => Box::new(std::iter::empty()),
            },
        };
        let array = reply.defer();
        let mut count = 0;
        for id in ids.take_while(|id| *id <= self.end) {
            if count == self.count {
                break;
            }
            let Some(pending) = group.pending(id) else { continue };
            let Some(consumer) = group.consumer(pending.consumer) else { continue };
            let idle = now.wrapping_sub(pending.delivered_ms) as i64;
            if self.min_idle_ms != 0 && idle < self.min_idle_ms {
                continue;
            }
            count += 1;
            reply.array(4);
            id::answer(reply, id);
            reply.bulk(consumer.name());
            reply.int(idle.max(0));
            reply.int(pending.count as i64);
        }
        reply.set_array_len(array, count);
    }
}

fn xpending(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let selection = Selection::parse(args)?;
    let (key, name, now) = (args.at(1), args.at(2), locked.now);
    let stream = locked.read_as::<Stream>(key)?;
    let Some(group) = stream.and_then(|stream| stream.group(name)) else {
        return Err(no_key_or_group(id::printed(key), id::printed(name)));
    };
    match selection {
        Some(selection) => selection.answer(group, now, reply),
        None => answer_sum(group, reply),
    }
    Ok(())
}

/// How many entries are not acknowledged, the first and the last, and how many each consumer has.
fn answer_sum(group: &Readers, reply: &mut Reply) {
    reply.array(4);
    reply.int(group.pending_len() as i64);
    let Some((first, last)) = group.pending_bounds() else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    id::answer(reply, first);
    id::answer(reply, last);
    let array = reply.defer();
    let mut count = 0;
    for consumer in group.consumers().filter(|consumer| consumer.pending_len() > 0) {
        count += 1;
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_int(consumer.pending_len() as i64);
    }
    reply.set_array_len(array, count);
}
