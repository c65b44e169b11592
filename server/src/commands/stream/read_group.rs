//! XREADGROUP: new entries for a consumer of a group, or those that it has not acknowledged.

use larder_protocol::{Args, Reply};
use larder_storage::types::stream::{ConsumerId, Direction, Group as Readers, LogRef, Pending, Stream, StreamId};
use larder_storage::value::Kind;
use smallvec::SmallVec;

use super::super::command::*;
use super::read::{Call, Streams, streams};
use super::{Replay, answer_entry, id, told};
use crate::error::{Error, LAST_IN_XREADGROUP, NEXT_IN_XREADGROUP, no_group_to_read};
use crate::locked::Locked;
use crate::wait::{Park, Step};

pub(super) const XREADGROUP: Command = Command::wait("XREADGROUP", Arity::at_least(6), &[streams(4)], xreadgroup)
    .flags(WRITE | MOVABLE_KEYS)
    .group(Group::Stream)
    .since("5.0.0")
    .syntax("GROUP (group consumer) [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS (key... id...)")
    .summary("Gives a consumer of a group the next entries of several streams, or waits for some; or answers those that it has not acknowledged.")
    .complexity("O(N) for N answered entries")
    .examples(&[
        ("XADD log 5-1 who ada", "\"5-1\""),
        ("XGROUP CREATE log team 0", "OK"),
        ("XREADGROUP GROUP team me STREAMS log >", "1) 1) \"log\"\n   2) 1) 1) \"5-1\"\n         2) 1) \"who\"\n            2) \"ada\""),
        ("XREADGROUP GROUP team me STREAMS log >", "(nil)"),
        ("XREADGROUP GROUP team me STREAMS log 0", "1) 1) \"log\"\n   2) 1) 1) \"5-1\"\n         2) 1) \"who\"\n            2) \"ada\""),
        ("XREADGROUP GROUP others me STREAMS log >", "(error) NOGROUP No such key 'log' or consumer group 'others' in XREADGROUP with GROUP option"),
    ]);

/// Which entries of a stream are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Those that no consumer was given yet.
    New,
    /// Those of the consumer's own that are not acknowledged, behind an id.
    Unacknowledged(StreamId),
}

impl Wanted {
    fn parse(arg: &[u8]) -> Result<Self, Error> {
        Ok(match id::printed(arg) {
            b"$" => return Err(LAST_IN_XREADGROUP),
            b"+" => return Err(NEXT_IN_XREADGROUP),
            b">" => Self::New,
            // Redis takes the highest id for `>`.
            _ => id::strict(arg)?.next().map_or(Self::New, Self::Unacknowledged),
        })
    }
}

fn xreadgroup(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Result<Step, Error> {
    let call = Call::parse(args, true, locked.now)?;
    let Some((group, consumer)) = call.group else { return Err(crate::error::SYNTAX) };
    let mut wanted = SmallVec::<[Wanted; 8]>::new();
    for (key, id) in call.keys.iter().zip(call.ids.iter()) {
        let stream = locked.read_as::<Stream>(key)?;
        if stream.is_none_or(|stream| stream.group(group).is_none()) {
            return Err(no_group_to_read(id::printed(key), id::printed(group)));
        }
        wanted.push(Wanted::parse(id)?);
    }
    let mut streams = Streams::new();
    for (key, wanted) in call.keys.iter().zip(wanted) {
        let mut reading = Reading {
            replay: Replay::new(locked, key, group),
            key,
            consumer,
            now: locked.now,
            count: call.count,
            no_ack: call.no_ack,
            changed: false,
        };
        locked.update_as::<Stream, _>(key, false, |stream, _| {
            stream.with_group(group, |log, group| reading.read(log, group, wanted, &mut streams, reply))
        })?;
        reading.finish(locked);
    }
    if streams.end(reply) {
        return Ok(Step::Done);
    }
    match call.block {
        Some(until) => Ok(Step::Park(Park { minds_removal: true, ..Park::until(until, Kind::Stream) })),
        None => {
            reply.null_array();
            Ok(Step::Done)
        }
    }
}

/// The reading of one stream.
struct Reading<'a> {
    key: &'a [u8],
    consumer: &'a [u8],
    now: u64,
    count: usize,
    no_ack: bool,
    /// Whether the group has changed.
    changed: bool,
    replay: Replay<'a>,
}

impl Reading<'_> {
    fn read(&mut self, log: LogRef<'_>, group: &mut Readers, wanted: Wanted, streams: &mut Streams, reply: &mut Reply) {
        let (consumer, created) = group.consumer_or_new(self.consumer, self.now);
        self.replay.created = created.then_some(self.consumer);
        group.seen(consumer, self.now, false);
        match wanted {
            Wanted::Unacknowledged(start) => {
                streams.begin(self.key, reply);
                self.answer_own(log, group, consumer, start, reply);
            }
            Wanted::New if log.last_entry_id() > Some(group.last_id) => {
                streams.begin(self.key, reply);
                self.answer_new(log, group, consumer, reply);
            }
            Wanted::New => {}
        }
    }

    fn answer_new(&mut self, log: LogRef<'_>, group: &mut Readers, consumer: ConsumerId, reply: &mut Reply) {
        let Some(start) = group.last_id.next() else { return };
        let array = reply.defer();
        let mut count = 0;
        for entry in log.range(start, StreamId::MAX, Direction::Forward).take(self.count) {
            group.advance(log, entry.id);
            answer_entry(reply, &entry);
            count += 1;
            if !self.no_ack {
                group.deliver(entry.id, Pending { delivered_ms: self.now, count: 1, consumer });
                self.replay.claimed(entry.id, self.consumer, self.now, 1);
            }
        }
        reply.set_array_len(array, count);
        group.seen(consumer, self.now, !self.no_ack);
        self.replay.advanced = Some((group.last_id, group.entries_read));
        self.changed = true;
    }

    /// Answers what the consumer has not acknowledged, and counts the delivery of what is still there.
    fn answer_own(
        &mut self,
        log: LogRef<'_>,
        group: &mut Readers,
        consumer: ConsumerId,
        start: StreamId,
        reply: &mut Reply,
    ) {
        let own = group.consumer(consumer);
        let ids: Vec<StreamId> = own.map_or_else(Vec::new, |own| own.pending_from(start).take(self.count).collect());
        reply.array(ids.len());
        for id in ids {
            let Some(entry) = log.get(id) else {
                reply.array(2);
                id::answer(reply, id);
                reply.null_array();
                continue;
            };
            answer_entry(reply, &entry);
            let count = group.pending(id).map_or(0, |pending| pending.count) + 1;
            group.deliver(id, Pending { delivered_ms: self.now, count, consumer });
            self.replay.claimed(id, self.consumer, self.now, count);
        }
    }

    fn finish(self, locked: &mut Locked<'_>) {
        if self.replay.created.is_some() {
            told(locked, "xgroup-createconsumer", self.key);
        }
        if self.changed {
            locked.count_changes(1);
        }
        self.replay.record(locked);
    }
}
