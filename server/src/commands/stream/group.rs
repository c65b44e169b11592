//! XGROUP: consumer groups made, set, removed, and their consumers.

use larder_protocol::{Args, Reply};
use larder_storage::types::stream::{Stream, StreamId, StreamRef};

use super::super::command::*;
use super::super::command_info::help;
use super::super::parse::{integer, is};
use super::{id, told};
use crate::error::{
    BUSY_GROUP, ENTRIES_READ_NEGATIVE, Error, Outcome, XGROUP_WITHOUT_KEY, no_such_group, subcommand_or_arity,
};
use crate::locked::Locked;

pub(super) const XGROUP: Command = Command::container("XGROUP")
    .group(Group::Stream)
    .since("5.0.0")
    .complexity("Depends on the subcommand")
    .summary("Manages the consumer groups of a stream.");

pub(super) const XGROUP_CREATE: Command =
    Command::write("XGROUP|CREATE", Arity::at_least(4), &[key(2, RW | INSERT)], create)
        .flags(DENYOOM)
        .group(Group::Stream)
        .since("5.0.0")
        .syntax("key group (id | $) [MKSTREAM] [ENTRIESREAD entries-read]")
        .summary("Makes a consumer group that reads behind an id, on request with the stream.")
        .complexity("O(1)")
        .examples(&[
            ("XGROUP CREATE log team $ MKSTREAM", "OK"),
            ("XGROUP CREATE log team 0", "(error) BUSYGROUP Consumer Group name already exists"),
        ]);

pub(super) const XGROUP_SETID: Command =
    Command::write("XGROUP|SETID", Arity::at_least(4), &[key(2, RW | UPDATE)], setid)
        .group(Group::Stream)
        .since("5.0.0")
        .syntax("key group (id | $) [ENTRIESREAD entries-read]")
        .summary("Sets how far a consumer group has read.")
        .complexity("O(1)")
        .examples(&[
            ("XGROUP CREATE log team $ MKSTREAM", "OK"),
            ("XGROUP SETID log team 5-0", "OK"),
            ("XGROUP SETID log others 0", "(error) NOGROUP No such consumer group 'others' for key name 'log'"),
        ]);

pub(super) const XGROUP_DESTROY: Command =
    Command::write("XGROUP|DESTROY", Arity::exactly(3), &[key(2, RW | DELETE)], destroy)
        .group(Group::Stream)
        .since("5.0.0")
        .syntax("key group")
        .summary("Removes a consumer group and all that it knows.")
        .complexity("O(N) for N entries that are not acknowledged")
        .examples(&[
            ("XGROUP CREATE log team $ MKSTREAM", "OK"),
            ("XGROUP DESTROY log team", "(integer) 1"),
            ("XGROUP DESTROY log team", "(integer) 0"),
        ]);

pub(super) const XGROUP_CREATECONSUMER: Command =
    Command::write("XGROUP|CREATECONSUMER", Arity::exactly(4), &[key(2, RW | INSERT)], createconsumer)
        .flags(DENYOOM)
        .group(Group::Stream)
        .since("6.2.0")
        .syntax("key group consumer")
        .summary("Makes a consumer of a group, and answers whether it was new.")
        .complexity("O(1)")
        .examples(&[
            ("XGROUP CREATE log team $ MKSTREAM", "OK"),
            ("XGROUP CREATECONSUMER log team ada", "(integer) 1"),
            ("XGROUP CREATECONSUMER log team ada", "(integer) 0"),
        ]);

pub(super) const XGROUP_DELCONSUMER: Command =
    Command::write("XGROUP|DELCONSUMER", Arity::exactly(4), &[key(2, RW | DELETE)], delconsumer)
        .group(Group::Stream)
        .since("5.0.0")
        .syntax("key group consumer")
        .summary("Removes a consumer of a group, and answers how many entries it had not acknowledged.")
        .complexity("O(1)")
        .examples(&[
            ("XGROUP CREATE log team $ MKSTREAM", "OK"),
            ("XADD log 5-1 who ada", "\"5-1\""),
            (
                "XREADGROUP GROUP team me STREAMS log >",
                "1) 1) \"log\"\n   2) 1) 1) \"5-1\"\n         2) 1) \"who\"\n            2) \"ada\"",
            ),
            ("XGROUP DELCONSUMER log team me", "(integer) 1"),
        ]);

pub(super) const XGROUP_HELP: Command = Command::session("XGROUP|HELP", Arity::exactly(1), help)
    .flags(LOADING | STALE)
    .group(Group::Stream)
    .since("5.0.0")
    .complexity("O(1)")
    .summary("Lists the subcommands of XGROUP.")
    .examples(&[("XGROUP HELP me", "(error) ERR wrong number of arguments for 'xgroup|help' command")]);

/// Options of CREATE and SETID, which come behind the id.
#[derive(Default)]
struct Options {
    make_stream: bool,
    entries_read: Option<u64>,
}

impl Options {
    fn parse(args: Args<'_>, creates: bool) -> Result<Self, Error> {
        let (mut parsed, mut options) = (Self::default(), args.from(5));
        while let Some(word) = options.get(0) {
            match options.get(1) {
                _ if creates && is(word, "MKSTREAM") => {
                    parsed.make_stream = true;
                    options = options.from(1);
                }
                Some(value) if is(word, "ENTRIESREAD") => {
                    parsed.entries_read = match integer(value)? {
                        -1 => None,
                        number => Some(u64::try_from(number).map_err(|_| ENTRIES_READ_NEGATIVE)?),
                    };
                    options = options.from(2);
                }
                _ => return Err(subcommand_or_arity("XGROUP", args.at(1))),
            }
        }
        Ok(parsed)
    }
}

/// The id that a group is set to; `$` is the last one of the stream.
fn set_to(
    stream: Option<StreamRef<'_>>,
    arg: &[u8],
    parse: fn(&[u8]) -> Result<StreamId, Error>,
) -> Result<StreamId, Error> {
    match id::printed(arg) {
        b"$" => Ok(stream.map_or(StreamId::MIN, |stream| stream.log().last_id())),
        _ => parse(arg),
    }
}

fn create(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (options, key) = (Options::parse(args, true)?, args.at(2));
    let stream = locked.look_as::<Stream>(key)?;
    let is_new = stream.is_none();
    if is_new && !options.make_stream {
        return Err(XGROUP_WITHOUT_KEY);
    }
    // Redis counts arguments only after it has read them: at most one option of each kind.
    if args.len() > 8 {
        return Err(subcommand_or_arity("XGROUP", args.at(1)));
    }
    let last = set_to(stream, args.at(4), id::strict)?;
    let created = locked
        .update_as::<Stream, _>(key, true, |stream, _| stream.create_group(args.at(3), last, options.entries_read))?;
    if created != Some(true) {
        return Err(BUSY_GROUP);
    }
    if is_new {
        locked.mark_changed(key);
    }
    told(locked, "xgroup-create", key);
    reply.ok();
    Ok(())
}

/// The stream and the group that a call names must be there.
fn check_group(locked: &mut Locked<'_>, args: Args<'_>) -> Outcome {
    let (key, group) = (args.at(2), args.at(3));
    let stream = locked.look_as::<Stream>(key)?.ok_or(XGROUP_WITHOUT_KEY)?;
    match stream.group(group) {
        Some(_) => Ok(()),
        None => Err(no_such_group(id::printed(group), id::printed(key))),
    }
}

fn setid(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let options = Options::parse(args, false)?;
    check_group(locked, args)?;
    if !matches!(args.len(), 5 | 7) {
        return Err(subcommand_or_arity("XGROUP", args.at(1)));
    }
    let key = args.at(2);
    let last = set_to(locked.look_as::<Stream>(key)?, args.at(4), id::any)?;
    locked.update_as::<Stream, _>(key, false, |stream, _| {
        stream.with_group(args.at(3), |_, group| {
            (group.last_id, group.entries_read) = (last, options.entries_read);
        })
    })?;
    told(locked, "xgroup-setid", key);
    reply.ok();
    Ok(())
}

fn destroy(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let key = args.at(2);
    let destroyed = locked.update_as::<Stream, _>(key, false, |stream, _| stream.destroy_group(args.at(3)))?;
    let destroyed = destroyed.ok_or(XGROUP_WITHOUT_KEY)?;
    if destroyed {
        told(locked, "xgroup-destroy", key);
        // Who waits to read with the group learns that it is gone.
        locked.ready(key);
    }
    reply.int(i64::from(destroyed));
    Ok(())
}

fn createconsumer(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    check_group(locked, args)?;
    let (key, now) = (args.at(2), locked.now);
    let created = locked.update_as::<Stream, _>(key, false, |stream, _| {
        stream.with_group(args.at(3), |_, group| group.consumer_or_new(args.at(4), now).1)
    })?;
    let created = created.flatten() == Some(true);
    if created {
        told(locked, "xgroup-createconsumer", key);
    }
    reply.int(i64::from(created));
    Ok(())
}

fn delconsumer(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    check_group(locked, args)?;
    let key = args.at(2);
    let pending = locked.update_as::<Stream, _>(key, false, |stream, _| {
        stream.with_group(args.at(3), |_, group| group.remove_consumer(args.at(4))).flatten()
    })?;
    let pending = pending.flatten();
    if pending.is_some() {
        told(locked, "xgroup-delconsumer", key);
    }
    reply.int(pending.unwrap_or(0) as i64);
    Ok(())
}
