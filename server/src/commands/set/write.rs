//! Members added, removed and moved: SADD, SREM, SMOVE.

use larder_protocol::{Args, Reply};
use larder_storage::types::Env;
use larder_storage::types::pack::Element;
use larder_storage::types::set::Set;

use super::super::command::*;
use super::super::removal::Removal;
use crate::config::KeyspaceEvents as Class;
use crate::error::Outcome;
use crate::locked::Locked;

pub(super) const SADD: Command = Command::write("SADD", Arity::at_least(2), &[key(1, RW | INSERT)], sadd)
    .member(2)
    .flags(DENYOOM | FAST)
    .group(Group::Set)
    .since("1.0.0")
    .syntax("key member...")
    .summary("Adds members to a set; makes the set if there is none.")
    .complexity("O(1) for each member")
    .examples(&[
        ("SADD team ada bo", "(integer) 2"),
        ("SADD team bo cy", "(integer) 1"),
        ("SISMEMBER team cy", "(integer) 1"),
    ]);

pub(super) const SREM: Command = Command::write("SREM", Arity::at_least(2), &[key(1, RW | DELETE)], srem)
    .member(2)
    .flags(FAST)
    .group(Group::Set)
    .since("1.0.0")
    .syntax("key member...")
    .summary("Removes members from a set, and the key with the last of them.")
    .complexity("O(N) for N members")
    .examples(&[
        ("SADD team ada bo", "(integer) 2"),
        ("SREM team bo cy", "(integer) 1"),
        ("SREM team ada", "(integer) 1"),
        ("EXISTS team", "(integer) 0"),
    ]);

pub(super) const SMOVE: Command =
    Command::write("SMOVE", Arity::exactly(3), &[key(1, RW | ACCESS | DELETE), key(2, RW | INSERT)], smove)
        .member(3)
        .flags(FAST)
        .group(Group::Set)
        .since("1.0.0")
        .syntax("source destination member")
        .summary("Moves a member from one set to another.")
        .complexity("O(1)")
        .examples(&[
            ("SADD todo wash cook", "(integer) 2"),
            ("SMOVE todo done cook", "(integer) 1"),
            ("SMEMBERS done", "1) \"cook\""),
            ("SMOVE todo done cook", "(integer) 0"),
        ]);

fn sadd(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (key, members) = (args.at(1), args.from(2));
    let mut added = 0;
    let outcome = locked.update_as::<Set, _>(key, true, |set, env| add(set, *env, members, &mut added))?;
    if added > 0 {
        locked.changed(Class::SET, "sadd", key);
        locked.count_changes(added - 1);
    }
    outcome.unwrap_or(Ok(()))?;
    reply.int(added as i64);
    Ok(())
}

/// Adds all members, or as many as there is place for.
fn add(set: &mut Set, env: Env<'_>, members: Args<'_>, added: &mut u64) -> Outcome {
    set.expect(env, members.at(0), members.len())?;
    for member in members.iter() {
        *added += set.insert(env, Element::Bytes(member))? as u64;
    }
    Ok(())
}

fn srem(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let key = args.at(1);
    let removal = locked.update_as::<Set, _>(key, false, |set, env| {
        let members = args.iter().skip(2);
        let count = members.filter(|member| set.remove(*env, Element::Bytes(member))).count();
        Removal { count, all: set.as_ref().is_empty() }
    })?;
    if let Some(removal) = &removal {
        removal.tell(locked, Class::SET, "srem", key);
    }
    reply.int(removal.map_or(0, |removal| removal.count) as i64);
    Ok(())
}

fn smove(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (from, to, member) = (args.at(1), args.at(2), args.at(3));
    let env = locked.env();
    let found = locked.look_as::<Set>(from)?.map(|set| set.contains(env, Element::Bytes(member)));
    if found.is_some() {
        locked.look_as::<Set>(to)?;
    }
    if found != Some(true) || from == to {
        reply.int((found == Some(true)) as i64);
        return Ok(());
    }
    // It is added first, so that it is nowhere lost when there is no place.
    let mut added = 0;
    let members = args.from(3);
    locked.update_as::<Set, _>(to, true, |set, env| add(set, *env, members, &mut added))?.unwrap_or(Ok(()))?;
    let removal = locked.update_as::<Set, _>(from, false, |set, env| {
        let count = set.remove(*env, Element::Bytes(member)) as usize;
        Removal { count, all: set.as_ref().is_empty() }
    })?;
    if let Some(removal) = removal {
        removal.tell(locked, Class::SET, "srem", from);
    }
    if added > 0 {
        locked.changed(Class::SET, "sadd", to);
    }
    reply.int(1);
    Ok(())
}
