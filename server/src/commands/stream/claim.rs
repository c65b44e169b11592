//! Entries that another consumer has not acknowledged, taken over: XCLAIM, XAUTOCLAIM.

use larder_protocol::{Args, Reply};
use larder_storage::types::stream::{ConsumerId, Group as Readers, LogRef, Pending, Stream, StreamId};
use smallvec::SmallVec;

use super::super::command::*;
use super::super::parse::{integer_or, is};
use super::{Replay, answer_entry, id, told};
use crate::error::{
    CLAIM_COUNT_NOT_POSITIVE, Error, INVALID_IDLE, INVALID_MIN_IDLE, INVALID_MIN_IDLE_AUTO, INVALID_RETRY_COUNT,
    INVALID_TIME, Outcome, SYNTAX, no_key_or_group, unknown_claim_option,
};
use crate::locked::Locked;

pub(super) const XCLAIM: Command = Command::write("XCLAIM", Arity::at_least(5), &[key(1, RW | UPDATE)], xclaim)
    .flags(FAST)
    .group(Group::Stream)
    .since("5.0.0")
    .syntax("key group consumer min-idle-time id... [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID last-id]")
    .summary("Gives entries that are not acknowledged to another consumer of a group, if they have waited long enough.")
    .complexity("O(log N), N being the number of entries that are not acknowledged")
    .tips(&["nondeterministic_output"])
    .examples(&[
        ("XADD log 5-1 who ada", "\"5-1\""),
        ("XGROUP CREATE log team 0", "OK"),
        ("XREADGROUP GROUP team me STREAMS log >", READ),
        ("XCLAIM log team you 60000 5-1", "(empty array)"),
        ("XCLAIM log team you 0 5-1", "1) 1) \"5-1\"\n   2) 1) \"who\"\n      2) \"ada\""),
        ("XCLAIM log team you 0 5-1 JUSTID", "1) \"5-1\""),
    ]);

pub(super) const XAUTOCLAIM: Command = Command::write(
    "XAUTOCLAIM",
    Arity::at_least(5),
    &[key(1, RW | DELETE)],
    xautoclaim,
)
.flags(FAST)
.group(Group::Stream)
.since("6.2.0")
.syntax("key group consumer min-idle-time start-id [COUNT count] [JUSTID]")
.summary("Gives the next entries that have waited long enough for an acknowledgement to another consumer of a group.")
.complexity("O(1) if the count is small")
.tips(&["nondeterministic_output"])
.examples(&[
    ("XADD log 5-1 who ada", "\"5-1\""),
    ("XGROUP CREATE log team 0", "OK"),
    ("XREADGROUP GROUP team me STREAMS log >", READ),
    ("XAUTOCLAIM log team you 0 - COUNT 9 JUSTID", "1) \"0-0\"\n2) 1) \"5-1\"\n3) (empty array)"),
]);

const READ: &str = "1) 1) \"log\"\n   2) 1) 1) \"5-1\"\n         2) 1) \"who\"\n            2) \"ada\"";

/// What both commands do to each entry.
struct Claim<'a> {
    key: &'a [u8],
    consumer: &'a [u8],
    min_idle_ms: i64,
    now: u64,
    /// When the entries count as delivered.
    delivered_ms: u64,
    /// How often they count as delivered, if that is given.
    count: Option<u64>,
    just_id: bool,
    /// Whether an entry is taken that is not pending.
    force: bool,
    /// Entries that were taken, or went away.
    changes: u64,
    replay: Replay<'a>,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claimed {
    Taken,
    /// The stream has it no more, so that it is not pending any more either.
    Gone,
    Kept,
}

impl Claim<'_> {
    /// The consumer, who has asked now.
    fn begin(&mut self, group: &mut Readers) -> ConsumerId {
        let (consumer, created) = group.consumer_or_new(self.consumer, self.now);
        self.replay.created = created.then_some(self.consumer);
        group.seen(consumer, self.now, false);
        consumer
    }

    /// Takes an entry, and answers it.
    fn take(
        &mut self,
        log: LogRef<'_>,
        group: &mut Readers,
        id: StreamId,
        consumer: ConsumerId,
        reply: &mut Reply,
    ) -> Claimed {
        let pending = group.pending(id).copied();
        let Some(entry) = log.get(id) else {
            let Some(pending) = pending else { return Claimed::Kept };
            if let Some(owner) = group.consumer(pending.consumer) {
                self.replay.claimed(id, owner.name(), pending.delivered_ms, pending.count);
            }
            group.acknowledge(id);
            self.changes += 1;
            return Claimed::Gone;
        };
        // What is made pending by force counts as delivered once before.
        let before = match pending {
            Some(pending) => {
                let idle = self.now.wrapping_sub(pending.delivered_ms) as i64;
                if self.min_idle_ms > 0 && idle < self.min_idle_ms {
                    return Claimed::Kept;
                }
                pending.count
            }
            None if self.force => 1,
            None => return Claimed::Kept,
        };
        let count = self.count.unwrap_or(if self.just_id { before } else { before + 1 });
        group.deliver(id, Pending { delivered_ms: self.delivered_ms, count, consumer });
        group.seen(consumer, self.now, true);
        self.replay.claimed(id, self.consumer, self.delivered_ms, count);
        self.changes += 1;
        if self.just_id {
            id::answer(reply, id);
        } else {
            answer_entry(reply, &entry);
        }
        Claimed::Taken
    }

    fn finish(self, locked: &mut Locked<'_>) {
        if self.replay.created.is_some() {
            told(locked, "xgroup-createconsumer", self.key);
        }
        locked.count_changes(self.changes);
        self.replay.record(locked);
    }
}

/// The group that a call names must be there.
fn check_group(locked: &mut Locked<'_>, key: &[u8], group: &[u8]) -> Outcome {
    let stream = locked.look_as::<Stream>(key)?;
    match stream.and_then(|stream| stream.group(group)) {
        Some(_) => Ok(()),
        None => Err(no_key_or_group(id::printed(key), id::printed(group))),
    }
}

/// What XCLAIM is asked for beside the claim.
struct ClaimOptions {
    ids: SmallVec<[StreamId; 8]>,
    delivered_ms: Option<i64>,
    count: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

impl ClaimOptions {
    /// Reads ids and options from index 5 on.
    fn parse(args: Args<'_>, now: u64) -> Result<Self, Error> {
        let mut options = args.from(5);
        // What is no id begins the options.
        let ids: SmallVec<_> = options.iter().map_while(|arg| id::strict(arg).ok()).collect();
        options = options.from(ids.len());
        let (mut force, mut just_id) = (false, false);
        let (mut delivered_ms, mut count, mut last_id) = (None, None, StreamId::MIN);
        while let Some(word) = options.get(0) {
            let mut taken = 2;
            match options.get(1) {
                _ if is(word, "FORCE") => (force, taken) = (true, 1),
                _ if is(word, "JUSTID") => (just_id, taken) = (true, 1),
                Some(value) if is(word, "IDLE") => {
                    delivered_ms = Some((now as i64).wrapping_sub(integer_or(value, INVALID_IDLE)?));
                }
                Some(value) if is(word, "TIME") => delivered_ms = Some(integer_or(value, INVALID_TIME)?),
                Some(value) if is(word, "RETRYCOUNT") => {
                    count = u64::try_from(integer_or(value, INVALID_RETRY_COUNT)?).ok();
                }
                Some(value) if is(word, "LASTID") => last_id = id::strict(value)?,
                _ => return Err(unknown_claim_option(id::printed(word))),
            }
            options = options.from(taken);
        }
        Ok(Self { ids, delivered_ms, count, force, just_id, last_id })
    }
}

fn xclaim(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (key, name, now) = (args.at(1), args.at(2), locked.now);
    check_group(locked, key, name)?;
    let min_idle_ms = integer_or(args.at(4), INVALID_MIN_IDLE)?;
    let options = ClaimOptions::parse(args, now)?;
    // A time that cannot be is now, for clients may count with clocks of their own.
    let delivered = options.delivered_ms.and_then(|at| u64::try_from(at).ok()).filter(|at| *at <= now);
    let mut claim = Claim {
        key,
        consumer: args.at(3),
        min_idle_ms,
        now,
        delivered_ms: delivered.unwrap_or(now),
        count: options.count,
        just_id: options.just_id,
        force: options.force,
        changes: 0,
        replay: Replay::new(locked, key, name),
    };
    locked.update_as::<Stream, _>(key, false, |stream, _| {
        stream.with_group(name, |log, group| {
            if options.last_id > group.last_id {
                group.last_id = options.last_id;
                claim.replay.advanced = Some((group.last_id, group.entries_read));
                claim.changes += 1;
            }
            let consumer = claim.begin(group);
            let array = reply.defer();
            let mut take = |id: &StreamId| claim.take(log, group, *id, consumer, reply) == Claimed::Taken;
            let taken = options.ids.iter().filter(|id| take(id)).count();
            reply.set_array_len(array, taken);
        })
    })?;
    claim.finish(locked);
    Ok(())
}

/// Entries that XAUTOCLAIM looks at for each that it may take.
const ATTEMPTS: usize = 10;
/// The highest count: what a list of so many ids takes can still be told in a C long.
const MAX_COUNT: i64 = i64::MAX / 16;

/// What XAUTOCLAIM is asked for.
struct AutoOptions {
    min_idle_ms: i64,
    start: StreamId,
    count: usize,
    just_id: bool,
}

impl AutoOptions {
    fn parse(args: Args<'_>) -> Result<Self, Error> {
        let min_idle_ms = integer_or(args.at(4), INVALID_MIN_IDLE_AUTO)?;
        let mut parsed = Self { min_idle_ms, start: id::interval_start(args.at(5))?, count: 100, just_id: false };
        let mut options = args.from(6);
        while let Some(word) = options.get(0) {
            match options.get(1) {
                Some(value) if is(word, "COUNT") => {
                    let count = integer_or(value, CLAIM_COUNT_NOT_POSITIVE)?;
                    if !(1..=MAX_COUNT).contains(&count) {
                        return Err(CLAIM_COUNT_NOT_POSITIVE);
                    }
                    parsed.count = count as usize;
                    options = options.from(2);
                }
                _ if is(word, "JUSTID") => {
                    parsed.just_id = true;
                    options = options.from(1);
                }
                _ => return Err(SYNTAX),
            }
        }
        Ok(parsed)
    }
}

fn xautoclaim(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let options = AutoOptions::parse(args)?;
    let (key, name, now) = (args.at(1), args.at(2), locked.now);
    check_group(locked, key, name)?;
    let mut claim = Claim {
        key,
        consumer: args.at(3),
        min_idle_ms: options.min_idle_ms,
        now,
        delivered_ms: now,
        count: None,
        just_id: options.just_id,
        force: false,
        changes: 0,
        replay: Replay::new(locked, key, name),
    };
    locked.update_as::<Stream, _>(key, false, |stream, _| {
        stream.with_group(name, |log, group| claim_next(&mut claim, &options, log, group, reply))
    })?;
    claim.finish(locked);
    Ok(())
}

/// Goes through the pending entries from an id on. Answers where to go on, what was taken, and what is gone.
fn claim_next(claim: &mut Claim<'_>, options: &AutoOptions, log: LogRef<'_>, group: &mut Readers, reply: &mut Reply) {
    let consumer = claim.begin(group);
    reply.array(3);
    let mut entries = Reply::with_proto(reply.proto());
    let (mut taken, mut gone, mut left) = (0, Vec::new(), options.count);
    let mut next = group.pending_from(options.start).next().map(|(id, _)| id);
    for _ in 0..options.count.saturating_mul(ATTEMPTS) {
        let Some(id) = next.filter(|_| left > 0) else { break };
        match claim.take(log, group, id, consumer, &mut entries) {
            Claimed::Taken => {
                taken += 1;
                left -= 1;
            }
            Claimed::Gone => {
                gone.push(id);
                left -= 1;
            }
            Claimed::Kept => {}
        }
        next = id.next().and_then(|from| group.pending_from(from).next()).map(|(id, _)| id);
    }
    id::answer(reply, next.unwrap_or(StreamId::MIN));
    reply.array(taken);
    reply.append(&mut entries);
    reply.array(gone.len());
    gone.into_iter().for_each(|id| id::answer(reply, id));
}
