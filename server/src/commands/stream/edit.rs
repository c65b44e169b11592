//! XDEL, and XSETID, which sets what a stream remembers of its past.

use larder_protocol::{Args, Reply};
use larder_storage::types::stream::{LogRef, Stream, StreamId};
use smallvec::SmallVec;

use super::super::command::*;
use super::super::parse::{integer, is};
use super::{id, told};
use crate::config::KeyspaceEvents as Class;
use crate::error::{
    ENTRIES_ADDED_NEGATIVE, ENTRIES_ADDED_TOO_SMALL, Error, NO_SUCH_KEY, Outcome, SYNTAX, XSETID_BELOW_DELETED,
    XSETID_BELOW_GIVEN, XSETID_BELOW_TOP,
};
use crate::locked::Locked;

pub(super) const XDEL: Command = Command::write("XDEL", Arity::at_least(2), &[key(1, RW | DELETE)], xdel)
    .flags(FAST)
    .group(Group::Stream)
    .since("5.0.0")
    .syntax("key id...")
    .summary("Deletes entries of a stream, and answers how many of them were there.")
    .complexity("O(1) for each id")
    .examples(&[
        ("XADD log 5-1 who ada", "\"5-1\""),
        ("XDEL log 5-1 6-1", "(integer) 1"),
        ("XLEN log", "(integer) 0"),
        ("EXISTS log", "(integer) 1"),
    ]);

pub(super) const XSETID: Command = Command::write("XSETID", Arity::at_least(2), &[key(1, RW | UPDATE)], xsetid)
    .flags(DENYOOM | FAST)
    .group(Group::Stream)
    .since("5.0.0")
    .syntax("key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]")
    .summary("Sets the last id of a stream, and on request how many entries it ever had and the highest deleted id.")
    .complexity("O(1)")
    .examples(&[
        ("XADD log 5-1 who ada", "\"5-1\""),
        ("XSETID log 9-0 ENTRIESADDED 3 MAXDELETEDID 8-0", "OK"),
        ("XADD log 9-* who bo", "\"9-1\""),
        ("XSETID log 2-0", "(error) ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"),
    ]);

fn xdel(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let key = args.at(1);
    if locked.look_as::<Stream>(key)?.is_none() {
        reply.int(0);
        return Ok(());
    }
    let ids = args.iter().skip(2).map(id::strict).collect::<Result<SmallVec<[StreamId; 8]>, _>>()?;
    let deleted = locked
        .update_as::<Stream, _>(key, false, |stream, _| stream.change(|log| log.delete(ids.into_iter())))?
        .unwrap_or(0);
    if deleted > 0 {
        locked.changed(Class::STREAM, "xdel", key);
        locked.count_changes(deleted - 1);
    }
    reply.int(deleted as i64);
    Ok(())
}

/// What XSETID sets.
struct Ids {
    last: StreamId,
    entries_added: Option<u64>,
    max_deleted: Option<StreamId>,
}

impl Ids {
    fn parse(args: Args<'_>) -> Result<Self, Error> {
        let mut ids = Self { last: id::strict(args.at(2))?, entries_added: None, max_deleted: None };
        let mut options = args.from(3);
        while let Some(word) = options.get(0) {
            match options.get(1) {
                Some(value) if is(word, "ENTRIESADDED") => {
                    let entries = u64::try_from(integer(value)?).map_err(|_| ENTRIES_ADDED_NEGATIVE)?;
                    ids.entries_added = Some(entries);
                }
                Some(value) if is(word, "MAXDELETEDID") => {
                    let max_deleted = id::strict(value)?;
                    if ids.last < max_deleted {
                        return Err(XSETID_BELOW_GIVEN);
                    }
                    ids.max_deleted = (max_deleted != StreamId::MIN).then_some(max_deleted);
                }
                _ => return Err(SYNTAX),
            }
            options = options.from(2);
        }
        Ok(ids)
    }

    fn check(&self, log: LogRef<'_>) -> Outcome {
        if self.last < log.max_deleted_id() {
            return Err(XSETID_BELOW_DELETED);
        }
        if Some(self.last) < log.last_entry_id() {
            return Err(XSETID_BELOW_TOP);
        }
        if !log.is_empty() && self.entries_added.is_some_and(|entries| entries < log.len()) {
            return Err(ENTRIES_ADDED_TOO_SMALL);
        }
        Ok(())
    }
}

fn xsetid(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (ids, key) = (Ids::parse(args)?, args.at(1));
    let outcome = locked.update_as::<Stream, Outcome>(key, false, |stream, _| {
        ids.check(stream.log())?;
        stream.change(|log| log.set_ids(ids.last, ids.entries_added, ids.max_deleted));
        Ok(())
    })?;
    outcome.ok_or(NO_SUCH_KEY)??;
    told(locked, "xsetid", key);
    reply.ok();
    Ok(())
}
