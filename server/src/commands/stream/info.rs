//! XINFO: what is known of a stream, its groups and their consumers.

use larder_protocol::{Args, Reply};
use larder_storage::types::stream::{Consumer, Direction, Group as Readers, LogRef, Stream, StreamId, StreamRef};

use super::super::command::*;
use super::super::command_info::help;
use super::super::parse::{integer, is};
use super::{answer_entries, answer_entry, id};
use crate::error::{Error, NO_SUCH_KEY, Outcome, no_such_group, subcommand_or_arity};
use crate::locked::Locked;

pub(super) const XINFO: Command = Command::container("XINFO")
    .group(Group::Stream)
    .since("5.0.0")
    .complexity("Depends on the subcommand")
    .summary("Tells what is known of streams.");

pub(super) const XINFO_STREAM: Command =
    Command::read("XINFO|STREAM", Arity::at_least(2), &[key(2, RO | ACCESS)], stream_info)
        .group(Group::Stream)
        .since("5.0.0")
        .syntax("key [FULL [COUNT count]]")
        .summary("Tells what is known of a stream, in full with entries, groups and consumers.")
        .complexity("O(1), and O(N) for N answered entries")
        .examples(&[("XINFO STREAM none", "(error) ERR no such key")]);

pub(super) const XINFO_GROUPS: Command =
    Command::read("XINFO|GROUPS", Arity::exactly(2), &[key(2, RO | ACCESS)], groups_info)
        .group(Group::Stream)
        .since("5.0.0")
        .syntax("key")
        .complexity("O(1)")
        .summary("Tells what is known of the consumer groups of a stream.")
        .examples(&[
            ("XGROUP CREATE log team $ MKSTREAM", "OK"),
            ("XINFO GROUPS log", "1)  1) \"name\"\n    2) \"team\"\n    3) \"consumers\"\n    4) (integer) 0\n    5) \"pending\"\n    6) (integer) 0\n    7) \"last-delivered-id\"\n    8) \"0-0\"\n    9) \"entries-read\"\n   10) (nil)\n   11) \"lag\"\n   12) (integer) 0"),
        ]);

pub(super) const XINFO_CONSUMERS: Command =
    Command::read("XINFO|CONSUMERS", Arity::exactly(3), &[key(2, RO | ACCESS)], consumers_info)
        .group(Group::Stream)
        .since("5.0.0")
        .syntax("key group")
        .complexity("O(1)")
        .summary("Tells what is known of the consumers of a group.")
        .tips(&["nondeterministic_output"])
        .examples(&[
            ("XGROUP CREATE log team $ MKSTREAM", "OK"),
            ("XINFO CONSUMERS log team", "(empty array)"),
            ("XINFO CONSUMERS log others", "(error) NOGROUP No such consumer group 'others' for key name 'log'"),
        ]);

pub(super) const XINFO_HELP: Command = Command::session("XINFO|HELP", Arity::exactly(1), help)
    .flags(LOADING | STALE)
    .group(Group::Stream)
    .since("5.0.0")
    .complexity("O(1)")
    .summary("Lists the subcommands of XINFO.")
    .examples(&[("XINFO HELP me", "(error) ERR wrong number of arguments for 'xinfo|help' command")]);

/// How much XINFO STREAM tells: with FULL so many entries of each list at most, 0 for all.
fn full_count(args: Args<'_>) -> Result<Option<usize>, Error> {
    const USUAL: usize = 10;
    let wrong = || subcommand_or_arity("XINFO", args.at(1));
    let options = args.from(3);
    if options.is_empty() {
        return Ok(None);
    }
    if !matches!(options.len(), 1 | 3) || !is(options.at(0), "FULL") {
        return Err(wrong());
    }
    match options.get(2) {
        None => Ok(Some(USUAL)),
        Some(_) if !is(options.at(1), "COUNT") => Err(wrong()),
        Some(count) => Ok(Some(usize::try_from(integer(count)?).unwrap_or(USUAL))),
    }
}

fn stream_info(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let stream = locked.read_as::<Stream>(args.at(2))?.ok_or(NO_SUCH_KEY)?;
    let full = full_count(args)?;
    let log = stream.log();
    reply.map(if full.is_some() { 9 } else { 10 });
    let (nodes, tree_nodes) = log.node_counts();
    int(reply, "length", log.len() as i64);
    int(reply, "radix-tree-keys", nodes as i64);
    int(reply, "radix-tree-nodes", tree_nodes as i64);
    id_of(reply, "last-generated-id", log.last_id());
    id_of(reply, "max-deleted-entry-id", log.max_deleted_id());
    int(reply, "entries-added", log.entries_added() as i64);
    id_of(reply, "recorded-first-entry-id", log.first_id());
    match full {
        Some(count) => {
            // Without a limit in the option all are answered.
            let count = if count == 0 { usize::MAX } else { count };
            answer_full(stream, count, reply);
        }
        None => {
            int(reply, "groups", stream.groups_len() as i64);
            edge(reply, "first-entry", log, Direction::Forward);
            edge(reply, "last-entry", log, Direction::Backward);
        }
    }
    Ok(())
}

fn int(reply: &mut Reply, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.int(value);
}

fn id_of(reply: &mut Reply, name: &str, value: StreamId) {
    reply.bulk(name.as_bytes());
    id::answer(reply, value);
}

fn maybe_int(reply: &mut Reply, name: &str, value: Option<i64>) {
    reply.bulk(name.as_bytes());
    match value {
        Some(value) => reply.int(value),
        None => reply.null(),
    }
}

fn edge(reply: &mut Reply, name: &str, log: LogRef<'_>, direction: Direction) {
    reply.bulk(name.as_bytes());
    match log.range(StreamId::MIN, StreamId::MAX, direction).next() {
        Some(entry) => answer_entry(reply, &entry),
        None => reply.null(),
    }
}

fn answer_full(stream: StreamRef<'_>, count: usize, reply: &mut Reply) {
    let log = stream.log();
    reply.bulk(b"entries");
    answer_entries(reply, log.range(StreamId::MIN, StreamId::MAX, Direction::Forward).take(count));
    reply.bulk(b"groups");
    reply.array(stream.groups_len());
    for (name, group) in stream.groups() {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(name);
        answer_progress(reply, log, group);
        int(reply, "pel-count", group.pending_len() as i64);
        reply.bulk(b"pending");
        reply.array(group.pending_len().min(count));
        for (id, pending) in group.pending_from(StreamId::MIN).take(count) {
            reply.array(4);
            id::answer(reply, id);
            reply.bulk(group.consumer(pending.consumer).map_or(b"", Consumer::name));
            reply.int(pending.delivered_ms as i64);
            reply.int(pending.count as i64);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumers_len());
        group.consumers().for_each(|consumer| answer_consumer(reply, group, consumer, count));
    }
}

fn answer_progress(reply: &mut Reply, log: LogRef<'_>, group: &Readers) {
    id_of(reply, "last-delivered-id", group.last_id);
    maybe_int(reply, "entries-read", group.entries_read.map(|read| read as i64));
    maybe_int(reply, "lag", group.lag(log));
}

fn answer_consumer(reply: &mut Reply, group: &Readers, consumer: &Consumer, count: usize) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(consumer.name());
    int(reply, "seen-time", consumer.seen_ms as i64);
    int(reply, "active-time", consumer.active_ms.map_or(-1, |at| at as i64));
    int(reply, "pel-count", consumer.pending_len() as i64);
    reply.bulk(b"pending");
    reply.array(consumer.pending_len().min(count));
    for id in consumer.pending_from(StreamId::MIN).take(count) {
        let (delivered, times) = group.pending(id).map_or((0, 0), |pending| (pending.delivered_ms, pending.count));
        reply.array(3);
        id::answer(reply, id);
        reply.int(delivered as i64);
        reply.int(times as i64);
    }
}

fn groups_info(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let stream = locked.read_as::<Stream>(args.at(2))?.ok_or(NO_SUCH_KEY)?;
    reply.array(stream.groups_len());
    for (name, group) in stream.groups() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        int(reply, "consumers", group.consumers_len() as i64);
        int(reply, "pending", group.pending_len() as i64);
        answer_progress(reply, stream.log(), group);
    }
    Ok(())
}

fn consumers_info(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (key, name, now) = (args.at(2), args.at(3), locked.now);
    let stream = locked.read_as::<Stream>(key)?.ok_or(NO_SUCH_KEY)?;
    let group = stream.group(name).ok_or_else(|| no_such_group(id::printed(name), id::printed(key)))?;
    reply.array(group.consumers_len());
    for consumer in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        int(reply, "pending", consumer.pending_len() as i64);
        int(reply, "idle", now.saturating_sub(consumer.seen_ms) as i64);
        let inactive = consumer.active_ms.map_or(-1, |at| now.wrapping_sub(at) as i64);
        int(reply, "inactive", inactive);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Connection, Server};

    fn ask(connection: &mut Connection, line: &str) -> String {
        connection.execute(line.split(' ')).to_string()
    }

    #[test]
    fn consumers_are_seen_when_they_ask_and_active_when_they_get_something() {
        let server = Server::builder().manual_clock(1_000_000).build().unwrap();
        let mut client = server.connect();
        ask(&mut client, "HELLO 3");
        ask(&mut client, "XGROUP CREATE log team 0 MKSTREAM");
        ask(&mut client, "XREADGROUP GROUP team me STREAMS log >");
        server.advance(Duration::from_millis(30));
        let consumers = |client: &mut Connection| ask(client, "XINFO CONSUMERS log team").replace('\n', " ");
        let shown = consumers(&mut client);
        assert!(
            shown.contains("\"idle\" => (integer) 30") && shown.contains("\"inactive\" => (integer) -1"),
            "{shown}"
        );
        ask(&mut client, "XADD log 5-1 a b");
        ask(&mut client, "XREADGROUP GROUP team me STREAMS log >");
        server.advance(Duration::from_millis(7));
        ask(&mut client, "XREADGROUP GROUP team me STREAMS log >");
        server.advance(Duration::from_millis(1));
        let shown = consumers(&mut client);
        assert!(shown.contains("\"idle\" => (integer) 1") && shown.contains("\"inactive\" => (integer) 8"), "{shown}");

        let full = ask(&mut client, "XINFO STREAM log FULL").replace('\n', " ");
        for fact in [
            "\"seen-time\" => (integer) 1000037",
            "\"active-time\" => (integer) 1000030",
            "\"pel-count\" => (integer) 1",
        ] {
            assert!(full.contains(fact), "{fact} is not in {full}");
        }
        assert_eq!(
            ask(&mut client, "XPENDING log team IDLE 8 - + 9"),
            "1) 1) \"5-1\"\n   2) \"me\"\n   3) (integer) 8\n   4) (integer) 1"
        );
        assert_eq!(ask(&mut client, "XPENDING log team IDLE 9 - + 9"), "(empty array)");
        assert_eq!(
            ask(&mut client, "XAUTOCLAIM log team you 9 0 JUSTID"),
            "1) \"0-0\"\n2) (empty array)\n3) (empty array)"
        );
        assert_eq!(ask(&mut client, "XCLAIM log team you 8 5-1 JUSTID IDLE 3"), "1) \"5-1\"");
        assert_eq!(
            ask(&mut client, "XPENDING log team - + 9"),
            "1) 1) \"5-1\"\n   2) \"you\"\n   3) (integer) 3\n   4) (integer) 1"
        );
        server.engine().validate();
    }
}
