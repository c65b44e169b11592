//! An element taken from one list and added to another, which may be the same: LMOVE, RPOPLPUSH.

use larder_protocol::{Args, Reply};
use larder_storage::types::list::{End, List};
use larder_storage::types::pack::Element;
use smallvec::SmallVec;

use super::super::command::*;
use super::super::removal::Removal;
use super::pop::at_end;
use super::{answer, end, popped, pushed};
use crate::config::KeyspaceEvents as Class;
use crate::error::{Error, Outcome};
use crate::locked::Locked;

pub(super) const LMOVE: Command = Command::write("LMOVE", Arity::exactly(4), KEYS, lmove)
    .flags(DENYOOM)
    .group(Group::List)
    .since("6.2.0")
    .syntax("source destination (LEFT | RIGHT) (LEFT | RIGHT)")
    .summary("Takes an element from an end of a list, adds it at an end of another, and answers it.")
    .complexity("O(1)")
    .examples(&[
        ("RPUSH todo wash dry fold", "(integer) 3"),
        ("LMOVE todo done LEFT RIGHT", "\"wash\""),
        ("LMOVE todo todo RIGHT LEFT", "\"fold\""),
        ("LRANGE todo 0 -1", "1) \"fold\"\n2) \"dry\""),
        ("LMOVE nothing done LEFT LEFT", "(nil)"),
    ]);

pub(super) const RPOPLPUSH: Command = Command::write("RPOPLPUSH", Arity::exactly(2), KEYS, rpoplpush)
    .flags(DENYOOM)
    .group(Group::List)
    .since("1.2.0")
    .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments")
    .syntax("source destination")
    .summary("Takes the last element of a list, adds it at the head of another, and answers it.")
    .complexity("O(1)")
    .examples(&[
        ("RPUSH todo wash dry", "(integer) 2"),
        ("RPOPLPUSH todo done", "\"dry\""),
        ("RPOPLPUSH todo done", "\"wash\""),
        ("RPOPLPUSH todo done", "(nil)"),
    ]);

/// The source and the destination.
pub(super) const KEYS: &[KeySpec] = &[key(1, RW | ACCESS | DELETE), key(2, RW | INSERT)];

fn lmove(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (from, to) = (end(args.at(3))?, end(args.at(4))?);
    if !transfer(locked, args.at(1), from, args.at(2), to, reply)? {
        reply.null();
    }
    Ok(())
}

fn rpoplpush(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if !transfer(locked, args.at(1), End::Right, args.at(2), End::Left, reply)? {
        reply.null();
    }
    Ok(())
}

/// Moves an element and answers it; whether there was one.
pub(super) fn transfer(
    locked: &mut Locked<'_>,
    source: &[u8],
    from: End,
    destination: &[u8],
    to: End,
    reply: &mut Reply,
) -> Result<bool, Error> {
    let Some(element) = locked.look_as::<List>(source)?.and_then(|list| at_end(list, from)) else { return Ok(false) };
    answer(reply, element);
    let removal = if source == destination {
        let removal = locked.update_as::<List, _>(source, false, |list, env| {
            list.rotate(env, from, to);
            Removal { count: 1, all: list.as_ref().is_empty() }
        })?;
        locked.note(Class::LIST, pushed(to), destination);
        removal
    } else {
        // The other list may be in the same shard, so the element is copied.
        let mut copy = SmallVec::<[u8; 64]>::new();
        let element = match element {
            Element::Int(number) => Element::Int(number),
            Element::Bytes(text) => {
                copy.extend_from_slice(text);
                Element::Bytes(&copy)
            }
        };
        locked.update_as::<List, _>(destination, true, |list, env| list.push_moved(env, to, element))?;
        locked.note(Class::LIST, pushed(to), destination);
        locked.update_as::<List, _>(source, false, |list, env| {
            list.remove(env, from, 1);
            Removal { count: 1, all: list.as_ref().is_empty() }
        })?
    };
    if let Some(removal) = &removal {
        // It counts as one change, of which there have been two events.
        removal.tell(locked, Class::LIST, popped(from), source);
    }
    Ok(true)
}
