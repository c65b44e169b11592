//! Lists changed within: LSET, LINSERT, LTRIM, LREM.

use larder_protocol::{Args, Reply};
use larder_storage::types::list::{End, List};

use super::super::command::*;
use super::super::parse::{index_range, integer, is};
use super::super::removal::Removal;
use super::read::index;
use crate::config::KeyspaceEvents as Class;
use crate::error::{INDEX_OUT_OF_RANGE, NO_SUCH_KEY, Outcome, SYNTAX};
use crate::locked::Locked;

pub(super) const LSET: Command = Command::write("LSET", Arity::exactly(3), &[key(1, RW | UPDATE)], lset)
    .flags(DENYOOM)
    .group(Group::List)
    .since("1.0.0")
    .syntax("key index element")
    .summary("Puts another element in the place of the one at an index.")
    .complexity("O(N/C) for N elements, C being the number of elements of a chunk; O(1) at either end")
    .examples(&[
        ("RPUSH queue first second third", "(integer) 3"),
        ("LSET queue -1 last", "OK"),
        ("LRANGE queue 0 -1", "1) \"first\"\n2) \"second\"\n3) \"last\""),
        ("LSET queue 3 more", "(error) ERR index out of range"),
    ]);

pub(super) const LINSERT: Command = Command::write("LINSERT", Arity::exactly(4), &[key(1, RW | INSERT)], linsert)
    .flags(DENYOOM)
    .group(Group::List)
    .since("2.2.0")
    .syntax("key (BEFORE | AFTER) pivot element")
    .summary("Adds an element before or after the first that equals another, and answers the length, or -1 if there is none.")
    .complexity("O(N), N being the number of elements up to that one")
    .examples(&[
        ("RPUSH queue first third", "(integer) 2"),
        ("LINSERT queue BEFORE third second", "(integer) 3"),
        ("LRANGE queue 0 -1", "1) \"first\"\n2) \"second\"\n3) \"third\""),
        ("LINSERT queue AFTER fourth fifth", "(integer) -1"),
    ]);

pub(super) const LTRIM: Command = Command::write("LTRIM", Arity::exactly(3), &[key(1, RW | DELETE)], ltrim)
    .group(Group::List)
    .since("1.0.0")
    .syntax("key start stop")
    .summary("Removes the elements that are not between two indexes, counted from 0, or from -1 at the tail.")
    .complexity("O(M), M being the number of removed elements")
    .examples(&[
        ("RPUSH log one two three four", "(integer) 4"),
        ("LTRIM log -2 -1", "OK"),
        ("LRANGE log 0 -1", "1) \"three\"\n2) \"four\""),
        ("LTRIM log 5 9", "OK"),
        ("EXISTS log", "(integer) 0"),
    ]);

pub(super) const LREM: Command = Command::write("LREM", Arity::exactly(3), &[key(1, RW | DELETE)], lrem)
    .group(Group::List)
    .since("1.0.0")
    .syntax("key count element")
    .summary("Removes the first elements that equal another, with a negative count the last ones, with 0 all, and answers how many.")
    .complexity("O(N), N being the length of the list")
    .examples(&[
        ("RPUSH letters a b a c a", "(integer) 5"),
        ("LREM letters -2 a", "(integer) 2"),
        ("LRANGE letters 0 -1", "1) \"a\"\n2) \"b\"\n3) \"c\""),
        ("LREM letters 0 d", "(integer) 0"),
    ]);

fn lset(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let key = args.at(1);
    // The key is looked at before the index is read.
    let len = locked.look_as::<List>(key)?.ok_or(NO_SUCH_KEY)?.len();
    let index = index(integer(args.at(2))?, len).unwrap_or(usize::MAX);
    let is_set = locked.update_as::<List, _>(key, false, |list, env| list.set(env, index, args.at(3)))?;
    if is_set != Some(true) {
        return Err(INDEX_OUT_OF_RANGE);
    }
    locked.changed(Class::LIST, "lset", key);
    reply.ok();
    Ok(())
}

fn linsert(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let after = match args.at(2) {
        word if is(word, "AFTER") => true,
        word if is(word, "BEFORE") => false,
        _ => return Err(SYNTAX),
    };
    let (key, pivot, element) = (args.at(1), args.at(3), args.at(4));
    let inserted = locked.update_as::<List, _>(key, false, |list, env| {
        list.insert(env, pivot, after, element).then(|| list.as_ref().len())
    })?;
    match inserted {
        None => reply.int(0),
        Some(None) => reply.int(-1),
        Some(Some(len)) => {
            locked.changed(Class::LIST, "linsert", key);
            reply.int(len as i64);
        }
    }
    Ok(())
}

fn ltrim(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (start, stop) = (integer(args.at(2))?, integer(args.at(3))?);
    let key = args.at(1);
    let removal = locked.update_as::<List, _>(key, false, |list, env| {
        let len = list.as_ref().len();
        let (before, behind) = index_range(start, stop, len).map_or((len, 0), |(first, last)| (first, len - 1 - last));
        if before > 0 {
            list.remove(env, End::Left, before);
        }
        if behind > 0 {
            list.remove(env, End::Right, behind);
        }
        Removal { count: before + behind, all: list.as_ref().is_empty() }
    })?;
    match removal {
        // Redis tells of it even where nothing is removed.
        Some(Removal { count: 0, .. }) => locked.note(Class::LIST, "ltrim", key),
        Some(removal) => removal.tell(locked, Class::LIST, "ltrim", key),
        None => {}
    }
    reply.ok();
    Ok(())
}

fn lrem(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let count = integer(args.at(2))?;
    let (key, element) = (args.at(1), args.at(3));
    let end = if count < 0 { End::Right } else { End::Left };
    let most = if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
    let removal = locked.update_as::<List, _>(key, false, |list, env| {
        let count = list.remove_equal(env, element, most, end);
        Removal { count, all: list.as_ref().is_empty() }
    })?;
    if let Some(removal) = &removal {
        removal.tell(locked, Class::LIST, "lrem", key);
    }
    reply.int(removal.map_or(0, |removal| removal.count) as i64);
    Ok(())
}
