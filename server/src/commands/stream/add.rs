//! XADD, and XTRIM with the options that it has in common with it.

use larder_protocol::{Args, Reply};
use larder_storage::types::Env;
use larder_storage::types::stream::{Keep, LogRef, Stream, StreamId, Trim};

use super::super::command::*;
use super::super::parse::{integer, is};
use super::id::{self, IdText, NewId};
use crate::config::KeyspaceEvents as Class;
use crate::error::{
    Error, MAXLEN_NEGATIVE, Outcome, STREAM_ELEMENTS_TOO_LARGE, STREAM_EXHAUSTED, SYNTAX, TRIM_BOTH, TRIM_LIMIT_ALONE,
    TRIM_LIMIT_EXACT, TRIM_LIMIT_NEGATIVE, XADD_ID_TOO_SMALL, XADD_ID_ZERO, XTRIM_WITHOUT_STRATEGY, wrong_arity,
};
use crate::locked::Locked;

pub(super) const XADD: Command = Command::write("XADD", Arity::at_least(4), &[ADDS_TO], xadd)
    .flags(DENYOOM | FAST)
    .group(Group::Stream)
    .since("5.0.0")
    .syntax("key [NOMKSTREAM] [(MAXLEN | MINID) [= | ~] threshold [LIMIT count]] (* | id) (field value)...")
    .summary("Adds an entry to a stream, which is made if there is none, and trims the stream on request.")
    .complexity("O(1), and O(N) where it trims N entries")
    .tips(&["nondeterministic_output"])
    .examples(&[
        ("XADD log 5-1 who ada", "\"5-1\""),
        ("XADD log 5-* who bo", "\"5-2\""),
        (
            "XADD log 4 who cy",
            "(error) ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        ("XADD log MAXLEN 1 6 who cy", "\"6-0\""),
        ("XRANGE log - +", "1) 1) \"6-0\"\n   2) 1) \"who\"\n      2) \"cy\""),
        ("XADD nothing NOMKSTREAM * a b", "(nil)"),
    ]);

pub(super) const XTRIM: Command = Command::write("XTRIM", Arity::at_least(3), &[key(1, RW | DELETE)], xtrim)
    .group(Group::Stream)
    .since("5.0.0")
    .syntax("key (MAXLEN | MINID) [= | ~] threshold [LIMIT count]")
    .summary("Removes the oldest entries of a stream: down to a number of entries, or up to an id.")
    .complexity("O(N) for N removed entries")
    .tips(&["nondeterministic_output"])
    .examples(&[
        ("XADD log 5-1 who ada", "\"5-1\""),
        ("XADD log 6-1 who bo", "\"6-1\""),
        ("XTRIM log MAXLEN 5", "(integer) 0"),
        ("XTRIM log MINID 6", "(integer) 1"),
        ("XTRIM log MAXLEN ~ 0", "(integer) 1"),
        ("XLEN log", "(integer) 0"),
    ]);

const ADDS_TO: KeySpec = key(1, RW | UPDATE).notes("UPDATE instead of INSERT because of the optional trimming feature");

/// Bytes of fields and values that an entry may have together.
const ENTRY_MAX_BYTES: usize = 1 << 30;

/// What comes before the fields of XADD, or all of XTRIM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    no_stream_made: bool,
    trim: Option<Trim>,
    /// The id, if it is given.
    id: Option<NewId>,
    /// The index behind the id.
    end: usize,
}

impl Options {
    /// Reads options from index 2 on: up to the id for XADD, to the end for XTRIM.
    fn parse(args: Args<'_>, adds: bool, node_entries: u64) -> Result<Self, Error> {
        let mut options = Self::default();
        let (mut keep, mut approximate, mut limit, mut at) = (None, false, None, 2);
        while let Some(word) = args.get(at) {
            let next = args.get(at + 1);
            match next {
                _ if adds && id::printed(word) == b"*" => break,
                Some(mut value) if is(word, "MAXLEN") || is(word, "MINID") => {
                    if keep.is_some() {
                        return Err(TRIM_BOTH);
                    }
                    approximate = false;
                    if let (Some(threshold), b"~" | b"=") = (args.get(at + 2), id::printed(value)) {
                        approximate = id::printed(value) == b"~";
                        value = threshold;
                        at += 1;
                    }
                    keep = Some(threshold(word, value)?);
                    at += 2;
                }
                Some(value) if is(word, "LIMIT") => {
                    limit = Some(u64::try_from(integer(value)?).map_err(|_| TRIM_LIMIT_NEGATIVE)?);
                    at += 2;
                }
                _ if adds && is(word, "NOMKSTREAM") => {
                    options.no_stream_made = true;
                    at += 1;
                }
                _ if adds => {
                    options.id = Some(NewId::parse(word)?);
                    break;
                }
                _ => return Err(SYNTAX),
            }
        }
        if keep.is_none() {
            if limit.is_some_and(|limit| limit > 0) {
                return Err(TRIM_LIMIT_ALONE);
            }
            if !adds {
                return Err(XTRIM_WITHOUT_STRATEGY);
            }
        }
        if limit.is_some() && !approximate {
            return Err(TRIM_LIMIT_EXACT);
        }
        let usual = if approximate { usual_limit(node_entries) } else { 0 };
        options.trim = keep.map(|keep| Trim { keep, approximate, limit: limit.unwrap_or(usual) });
        options.end = at + 1;
        Ok(options)
    }
}

fn threshold(word: &[u8], value: &[u8]) -> Result<Keep, Error> {
    if is(word, "MINID") {
        return id::strict(value).map(Keep::From);
    }
    u64::try_from(integer(value)?).map(Keep::Newest).map_err(|_| MAXLEN_NEGATIVE)
}

/// How many entries approximate trimming takes at most at once: a hundred nodes of them.
fn usual_limit(node_entries: u64) -> u64 {
    match node_entries.saturating_mul(100) {
        0 => 10_000,
        entries => entries.min(1_000_000),
    }
}

/// The options that trim exactly what was trimmed approximately.
fn exact(trim: Trim, log: LogRef<'_>) -> (&'static [u8], IdText) {
    match trim.keep {
        Keep::Newest(_) => (b"MAXLEN", IdText::from_slice(itoa::Buffer::new().format(log.len()).as_bytes())),
        Keep::From(_) => (b"MINID", id::text(log.first_kept_id())),
    }
}

/// What XADD has done.
struct Added {
    id: StreamId,
    trimmed: u64,
    /// The exact form of trimming, if it was approximate and somebody repeats it.
    exact: Option<(&'static [u8], IdText)>,
}

fn xadd(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let records = locked.engine().records_effects();
    let options = Options::parse(args, true, locked.env().limits.stream_node_max_entries)?;
    let fields = args.from(options.end);
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(wrong_arity("xadd"));
    }
    if options.id == Some(NewId::Whole(StreamId::MIN)) {
        return Err(XADD_ID_ZERO);
    }
    let (key, now) = (args.at(1), locked.now);
    if fields.iter().map(<[u8]>::len).sum::<usize>() > ENTRY_MAX_BYTES {
        locked.look_as::<Stream>(key)?;
        return Err(STREAM_ELEMENTS_TOO_LARGE);
    }
    let added = locked.update_as::<Stream, _>(key, !options.no_stream_made, |stream, env| {
        add(stream, env, now, &options, fields, records)
    })?;
    let Some(added) = added.transpose()? else {
        reply.null();
        return Ok(());
    };
    locked.changed(Class::STREAM, "xadd", key);
    if added.trimmed > 0 {
        locked.note(Class::STREAM, "xtrim", key);
    }
    locked.ready(key);
    id::answer(reply, added.id);
    let whole = matches!(options.id, Some(NewId::Whole(_)));
    if records && (!whole || added.exact.is_some()) {
        replay_add(locked, key, &added, &options, fields);
    }
    Ok(())
}

/// Adds the entry and trims. On a new stream it cannot fail.
fn add(
    stream: &mut Stream,
    env: &Env<'_>,
    now: u64,
    options: &Options,
    fields: Args<'_>,
    records: bool,
) -> Result<Added, Error> {
    let log = stream.log();
    let last = log.last_id();
    if last == StreamId::MAX {
        return Err(STREAM_EXHAUSTED);
    }
    let id = match options.id {
        None => log.next_id(now).ok_or(XADD_ID_TOO_SMALL)?,
        Some(NewId::Whole(id)) => id,
        Some(NewId::OfTime(ms)) if ms == last.ms => {
            StreamId::new(ms, last.seq.checked_add(1).ok_or(XADD_ID_TOO_SMALL)?)
        }
        Some(NewId::OfTime(ms)) => StreamId::new(ms, 0),
    };
    if id <= last {
        return Err(XADD_ID_TOO_SMALL);
    }
    stream.append(&env.limits, id, fields.iter());
    let trimmed = options.trim.map_or(0, |trim| stream.trim(trim));
    let exact = options.trim.filter(|trim| trim.approximate && records).map(|trim| exact(trim, stream.log()));
    Ok(Added { id, trimmed, exact })
}

#[cold]
fn replay_add(locked: &mut Locked<'_>, key: &[u8], added: &Added, options: &Options, fields: Args<'_>) {
    let id = id::text(added.id);
    let mut call: Vec<&[u8]> = vec![b"XADD", key];
    let buffer;
    match (&added.exact, options.trim) {
        (Some((strategy, threshold)), _) => call.extend([*strategy, b"=", threshold]),
        (None, Some(trim)) => {
            buffer = match trim.keep {
                Keep::Newest(count) => (&b"MAXLEN"[..], count.to_string().into_bytes()),
                Keep::From(id) => (&b"MINID"[..], id::text(id).to_vec()),
            };
            call.extend([buffer.0, b"=", &buffer.1]);
        }
        (None, None) => {}
    }
    call.push(&id);
    call.extend(fields.iter());
    locked.replay(&call);
}

fn xtrim(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let options = Options::parse(args, false, locked.env().limits.stream_node_max_entries)?;
    let (key, Some(trim)) = (args.at(1), options.trim) else { return Err(XTRIM_WITHOUT_STRATEGY) };
    let trimmed = locked.update_as::<Stream, _>(key, false, |stream, _| {
        let trimmed = stream.trim(trim);
        (trimmed, exact(trim, stream.log()))
    })?;
    let (trimmed, (strategy, threshold)) = trimmed.unwrap_or_default();
    if trimmed > 0 {
        locked.changed(Class::STREAM, "xtrim", key);
        locked.count_changes(trimmed - 1);
        if trim.approximate {
            locked.replay(&[b"XTRIM", key, strategy, b"=", &threshold]);
        }
    }
    reply.int(trimmed as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use larder_protocol::OwnedArgs;

    use super::*;

    fn parse(words: &str, adds: bool) -> Result<Options, Error> {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        Options::parse(OwnedArgs::from_slices(&words).as_args(), adds, 100)
    }

    #[test]
    fn options_end_at_the_id() {
        let options = parse("XADD k NOMKSTREAM maxlen ~ 5 LIMIT 7 1-2 MAXLEN x", true).unwrap();
        let trim = Trim { keep: Keep::Newest(5), approximate: true, limit: 7 };
        let id = Some(NewId::Whole(StreamId::new(1, 2)));
        assert_eq!(options, Options { no_stream_made: true, trim: Some(trim), id, end: 9 });
        assert_eq!(parse("XADD k * a b", true).unwrap().end, 3);
    }

    #[test]
    fn approximate_trimming_has_a_limit_of_its_own() {
        let limit = |words: &str| parse(words, false).map(|options| options.trim.unwrap().limit);
        assert_eq!(limit("XTRIM k MAXLEN ~ 5"), Ok(10_000));
        assert_eq!(limit("XTRIM k MINID = 5"), Ok(0));
        assert_eq!(limit("XTRIM k LIMIT 0 MAXLEN ~ 5"), Ok(0));
        assert_eq!(limit("XTRIM k MAXLEN 5 LIMIT 0"), Err(TRIM_LIMIT_EXACT));
        assert_eq!((usual_limit(0), usual_limit(3), usual_limit(u64::MAX)), (10_000, 300, 1_000_000));
    }
}
