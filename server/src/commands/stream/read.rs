//! XREAD, and the arguments that XREADGROUP has in common with it.

use larder_protocol::{Args, OwnedArgs, Proto, Reply};
use larder_storage::types::stream::{Direction, Stream, StreamId, StreamRef};
use larder_storage::value::Kind;
use smallvec::SmallVec;

use super::super::command::*;
use super::super::parse::{integer, integer_or, is, limit_after};
use super::{answer_entries, id};
use crate::error::{
    Error, GROUP_IN_XREAD, NEW_ENTRIES_IN_XREAD, NOACK_IN_XREAD, SYNTAX, TIMEOUT_NOT_AN_INTEGER,
    XREADGROUP_WITHOUT_GROUP, unbalanced_streams,
};
use crate::locked::Locked;
use crate::wait::{Park, Step};

pub(super) const XREAD: Command = Command::wait("XREAD", Arity::at_least(3), &[streams(1)], xread)
    .flags(READONLY | MOVABLE_KEYS)
    .group(Group::Stream)
    .since("5.0.0")
    .syntax("[COUNT count] [BLOCK milliseconds] STREAMS (key... id...)")
    .summary("Answers the entries of several streams that are newer than an id of each, or waits for some.")
    .complexity("O(N) for N answered entries")
    .examples(&[
        ("XADD log 5-1 who ada", "\"5-1\""),
        ("XREAD STREAMS log 5-0", "1) 1) \"log\"\n   2) 1) 1) \"5-1\"\n         2) 1) \"who\"\n            2) \"ada\""),
        ("XREAD COUNT 9 BLOCK 1 STREAMS log $", "(nil)"),
        (
            "XREAD STREAMS log none 5-1",
            "(error) ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.",
        ),
    ]);

/// The keys behind STREAMS, which are half of what stands there.
pub(super) const fn streams(from: i8) -> KeySpec {
    let keyword = Keyword { word: "STREAMS", from, last: -1, step: 1, limit: 2, options: OPTIONS, repeats: false };
    KeySpec { begin: 0, find: Find::Keyword(keyword), flags: RO | ACCESS, notes: "" }
}

/// Options that stand before STREAMS, with the numbers of their arguments.
const OPTIONS: &[(&str, u8)] = &[("COUNT", 1), ("BLOCK", 1), ("GROUP", 2)];

/// A call of XREAD or XREADGROUP.
pub(super) struct Call<'a> {
    /// Group and consumer.
    pub(super) group: Option<(&'a [u8], &'a [u8])>,
    pub(super) no_ack: bool,
    /// How many entries of each stream are answered.
    pub(super) count: usize,
    /// Whether it waits, and until when.
    pub(super) block: Option<Option<u64>>,
    pub(super) keys: Args<'a>,
    pub(super) ids: Args<'a>,
    /// The index of the first id in the call.
    ids_at: usize,
}

impl<'a> Call<'a> {
    pub(super) fn parse(args: Args<'a>, grouped: bool, now: u64) -> Result<Self, Error> {
        let (mut group, mut no_ack, mut count, mut block) = (None, false, usize::MAX, None);
        let mut at = 1;
        let streams = loop {
            let word = args.get(at).ok_or(SYNTAX)?;
            let next = args.get(at + 1);
            match next {
                Some(value) if is(word, "BLOCK") => {
                    block = Some(limit_after(integer_or(value, TIMEOUT_NOT_AN_INTEGER)?, now)?);
                    at += 2;
                }
                Some(value) if is(word, "COUNT") => {
                    // 0 and less are all.
                    count = usize::try_from(integer(value)?).ok().filter(|count| *count > 0).unwrap_or(usize::MAX);
                    at += 2;
                }
                Some(_) if is(word, "STREAMS") => break at + 1,
                Some(name) if is(word, "GROUP") && args.get(at + 2).is_some() => {
                    if !grouped {
                        return Err(GROUP_IN_XREAD);
                    }
                    group = Some((name, args.at(at + 2)));
                    at += 3;
                }
                _ if is(word, "NOACK") => {
                    if !grouped {
                        return Err(NOACK_IN_XREAD);
                    }
                    no_ack = true;
                    at += 1;
                }
                _ => return Err(SYNTAX),
            }
        };
        let named = args.from(streams);
        if !named.len().is_multiple_of(2) {
            return Err(unbalanced_streams(if grouped { "xreadgroup" } else { "xread" }, grouped));
        }
        if grouped && group.is_none() {
            return Err(XREADGROUP_WITHOUT_GROUP);
        }
        let half = named.len() / 2;
        Ok(Self { group, no_ack, count, block, keys: named.until(half), ids: named.from(half), ids_at: streams + half })
    }
}

/// The reply of XREAD and XREADGROUP: streams with their entries, or nothing if there is none.
pub(super) struct Streams {
    all: Option<larder_protocol::Deferred>,
    count: usize,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self { all: None, count: 0 }
    }

    /// Begins the entries of a stream.
    pub(super) fn begin(&mut self, key: &[u8], reply: &mut Reply) {
        self.all.get_or_insert_with(|| reply.defer());
        self.count += 1;
        if reply.proto() == Proto::Resp2 {
            reply.array(2);
        }
        reply.bulk(key);
    }

    /// Ends the reply; false if nothing was written.
    pub(super) fn end(self, reply: &mut Reply) -> bool {
        let Some(all) = self.all else { return false };
        match reply.proto() {
            Proto::Resp2 => reply.set_array_len(all, self.count),
            Proto::Resp3 => reply.set_map_len(all, self.count),
        }
        true
    }
}

fn xread(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Result<Step, Error> {
    let call = Call::parse(args, false, locked.now)?;
    let mut after = SmallVec::<[StreamId; 8]>::new();
    for (key, id) in call.keys.iter().zip(call.ids.iter()) {
        let stream = locked.read_as::<Stream>(key)?;
        after.push(last_read(stream, id)?);
    }
    let mut streams = Streams::new();
    for (key, after) in call.keys.iter().zip(&after) {
        let Some(stream) = locked.read_as::<Stream>(key)? else { continue };
        let log = stream.log();
        let Some(start) = after.next().filter(|_| log.last_entry_id() > Some(*after)) else { continue };
        streams.begin(key, reply);
        answer_entries(reply, log.range(start, StreamId::MAX, Direction::Forward).take(call.count));
    }
    if streams.end(reply) {
        return Ok(Step::Done);
    }
    match call.block {
        Some(until) => {
            let args = Some(with_ids(args, &call, &after));
            Ok(Step::Park(Park { args, ..Park::until(until, Kind::Stream) }))
        }
        None => {
            reply.null_array();
            Ok(Step::Done)
        }
    }
}

/// The id that an argument of XREAD names: entries behind it are answered.
fn last_read(stream: Option<StreamRef<'_>>, arg: &[u8]) -> Result<StreamId, Error> {
    let log = stream.map(StreamRef::log);
    Ok(match id::printed(arg) {
        b"$" => log.map_or(StreamId::MIN, |log| log.last_id()),
        b"+" => log.and_then(|log| log.last_entry_id()?.previous()).unwrap_or(StreamId::MIN),
        b">" => return Err(NEW_ENTRIES_IN_XREAD),
        _ => id::strict(arg)?,
    })
}

/// The call with each `$` as the id that it stands for now: what is added from now on is waited for.
fn with_ids(args: Args<'_>, call: &Call<'_>, after: &[StreamId]) -> OwnedArgs {
    let texts: SmallVec<[id::IdText; 8]> = after.iter().map(|after| id::text(*after)).collect();
    let words = args.iter().enumerate().map(|(at, word)| match at.checked_sub(call.ids_at) {
        Some(number) if id::printed(word) == b"$" => &texts[number],
        _ => word,
    });
    OwnedArgs::from_slices(&words.collect::<SmallVec<[&[u8]; 16]>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{TIMEOUT_NEGATIVE, TIMEOUT_OUT_OF_RANGE};

    fn parse(words: &str) -> Result<(usize, Option<Option<u64>>), Error> {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        Call::parse(OwnedArgs::from_slices(&words).as_args(), false, 1000).map(|call| (call.count, call.block))
    }

    #[test]
    fn time_limits_are_in_milliseconds() {
        assert_eq!(parse("XREAD COUNT 3 BLOCK 5 STREAMS a 0"), Ok((3, Some(Some(1005)))));
        assert_eq!(parse("XREAD COUNT -1 BLOCK 0 STREAMS a 0"), Ok((usize::MAX, Some(None))));
        assert_eq!(parse("XREAD BLOCK 9223372036854775807 STREAMS a 0"), Err(TIMEOUT_OUT_OF_RANGE));
        assert_eq!(parse("XREAD BLOCK -1 STREAMS a 0"), Err(TIMEOUT_NEGATIVE));
        assert_eq!(parse("XREAD BLOCK x STREAMS a 0"), Err(TIMEOUT_NOT_AN_INTEGER));
    }
}
