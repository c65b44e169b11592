//! Streams. Each command's row stands above its function, in the file of its theme:
//!
//! ```text
//! id.rs         ids in arguments and replies
//! add.rs        XADD, XTRIM
//! edit.rs       XDEL, XSETID
//! range.rs      XLEN, XRANGE, XREVRANGE
//! read.rs       XREAD, and the arguments that XREADGROUP has in common with it
//! read_group.rs XREADGROUP
//! group.rs      XGROUP
//! pending.rs    XACK, XPENDING
//! claim.rs      XCLAIM, XAUTOCLAIM
//! info.rs       XINFO
//! ```
//!
//! A stream without entries stays a key. What changes only a group is no change of the key to WATCH, as in Redis: it is
//! told by [`told`] where it has an event.

use larder_protocol::Reply;
use larder_storage::types::pack::Element;
use larder_storage::types::stream::{Entry, StreamId};

use super::command::Command;
use crate::config::KeyspaceEvents as Class;
use crate::locked::Locked;

mod add;
mod claim;
mod edit;
mod group;
mod id;
mod info;
mod pending;
mod range;
mod read;
mod read_group;

pub(super) const COMMANDS: &[Command] = &[
    add::XADD,
    add::XTRIM,
    edit::XDEL,
    edit::XSETID,
    range::XLEN,
    range::XRANGE,
    range::XREVRANGE,
    read::XREAD,
    read_group::XREADGROUP,
    group::XGROUP,
    group::XGROUP_CREATE,
    group::XGROUP_SETID,
    group::XGROUP_DESTROY,
    group::XGROUP_CREATECONSUMER,
    group::XGROUP_DELCONSUMER,
    group::XGROUP_HELP,
    pending::XACK,
    pending::XPENDING,
    claim::XCLAIM,
    claim::XAUTOCLAIM,
    info::XINFO,
    info::XINFO_STREAM,
    info::XINFO_GROUPS,
    info::XINFO_CONSUMERS,
    info::XINFO_HELP,
];

/// Counts a change of a group, and publishes its event; clients that watch the key or track it are not concerned.
fn told(locked: &mut Locked<'_>, event: &'static str, key: &[u8]) {
    locked.count_changes(1);
    if locked.engine().publishes_events() {
        locked.engine().publish_event(locked.db, Class::STREAM, event, key);
    }
}

/// Answers an entry: its id, and fields and values in turn.
#[inline]
fn answer_entry(reply: &mut Reply, entry: &Entry<'_>) {
    reply.array(2);
    id::answer(reply, entry.id);
    reply.array(entry.len() * 2);
    for (field, value) in entry.fields() {
        answer_element(reply, field);
        answer_element(reply, value);
    }
}

#[inline]
fn answer_element(reply: &mut Reply, element: Element<'_>) {
    match element {
        Element::Int(number) => reply.bulk_int(number),
        Element::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// Answers entries in the order in which they come.
fn answer_entries<'a>(reply: &mut Reply, entries: impl Iterator<Item = Entry<'a>>) {
    let array = reply.defer();
    let mut count = 0;
    for entry in entries {
        answer_entry(reply, &entry);
        count += 1;
    }
    reply.set_array_len(array, count);
}

/// What a command did to a group, for those who repeat it: the commands that set what it set.
struct Replay<'a> {
    key: &'a [u8],
    group: &'a [u8],
    /// Whether anybody wants to know.
    wanted: bool,
    /// A consumer that was made.
    created: Option<&'a [u8]>,
    /// Pending entries as they are now, or were when they went away with their entry.
    claimed: Vec<Claimed>,
    /// How far the group has read, if that changed.
    advanced: Option<(StreamId, Option<u64>)>,
}

struct Claimed {
    id: StreamId,
    consumer: Vec<u8>,
    delivered_ms: u64,
    count: u64,
}

impl<'a> Replay<'a> {
    fn new(locked: &Locked<'_>, key: &'a [u8], group: &'a [u8]) -> Self {
        let wanted = locked.engine().records_effects();
        Self { key, group, wanted, created: None, claimed: Vec::new(), advanced: None }
    }

    fn claimed(&mut self, id: StreamId, consumer: &[u8], delivered_ms: u64, count: u64) {
        if self.wanted {
            self.claimed.push(Claimed { id, consumer: consumer.to_vec(), delivered_ms, count });
        }
    }

    /// Records it, in place of the command as it was called.
    fn record(self, locked: &mut Locked<'_>) {
        let Self { key, group, .. } = self;
        locked.replay_nothing();
        if let Some(consumer) = self.created {
            locked.replay(&[b"XGROUP", b"CREATECONSUMER", key, group, consumer]);
        }
        for claimed in &self.claimed {
            let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
            let (time, count) = (time.format(claimed.delivered_ms), count.format(claimed.count as i64));
            let options: [&[u8]; 6] = [b"TIME", time.as_bytes(), b"RETRYCOUNT", count.as_bytes(), b"FORCE", b"JUSTID"];
            let id = id::text(claimed.id);
            let call: [&[u8]; 6] = [b"XCLAIM", key, group, &claimed.consumer, b"0", &id];
            locked.replay(&[&call[..], &options].concat());
        }
        if let Some((last, read)) = self.advanced {
            let mut buffer = itoa::Buffer::new();
            let read = read.map_or("-1", |read| buffer.format(read)).as_bytes();
            locked.replay(&[b"XGROUP", b"SETID", key, group, &id::text(last), b"ENTRIESREAD", read]);
        }
    }
}
