//! What is there: the size of a set, whether it has a member, all members.

use larder_protocol::{Args, Reply};
use larder_storage::types::pack::Element;
use larder_storage::types::set::Set;

use super::super::command::*;
use crate::error::Outcome;
use crate::locked::Locked;

pub(super) const SCARD: Command = Command::read("SCARD", Arity::exactly(1), &[key(1, RO)], scard)
    .flags(FAST)
    .group(Group::Set)
    .since("1.0.0")
    .syntax("key")
    .complexity("O(1)")
    .summary("Answers how many members a set has.")
    .examples(&[("SADD team ada bo", "(integer) 2"), ("SCARD team", "(integer) 2"), ("SCARD nobody", "(integer) 0")]);

pub(super) const SISMEMBER: Command = Command::read("SISMEMBER", Arity::exactly(2), &[key(1, RO)], sismember)
    .member(2)
    .flags(FAST)
    .group(Group::Set)
    .since("1.0.0")
    .syntax("key member")
    .complexity("O(1)")
    .summary("Tells whether a set has a member.")
    .examples(&[
        ("SADD team ada bo", "(integer) 2"),
        ("SISMEMBER team ada", "(integer) 1"),
        ("SISMEMBER team cy", "(integer) 0"),
    ]);

pub(super) const SMISMEMBER: Command =
    Command::read("SMISMEMBER", Arity::at_least(2), &[key(1, RO | ACCESS)], smismember)
        .member(2)
        .flags(FAST)
        .group(Group::Set)
        .since("6.2.0")
        .syntax("key member...")
        .complexity("O(N) for N members")
        .summary("Tells of several members whether a set has them.")
        .examples(&[
            ("SADD team ada bo", "(integer) 2"),
            ("SMISMEMBER team cy ada", "1) (integer) 0\n2) (integer) 1"),
            ("SMISMEMBER nobody ada", "1) (integer) 0"),
        ]);

pub(super) const SMEMBERS: Command = Command::read("SMEMBERS", Arity::exactly(1), &[key(1, RO | ACCESS)], smembers)
    .group(Group::Set)
    .since("1.0.0")
    .syntax("key")
    .complexity("O(N), N being the size of the set")
    .summary("Answers all members of a set.")
    .tips(&["nondeterministic_output_order"])
    .examples(&[
        ("SADD primes 7 3 5", "(integer) 3"),
        ("SMEMBERS primes", "1) \"3\"\n2) \"5\"\n3) \"7\""),
        ("SMEMBERS nobody", "(empty array)"),
    ]);

fn scard(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let set = locked.read_as::<Set>(args.at(1))?;
    reply.int(set.map_or(0, |set| set.len()) as i64);
    Ok(())
}

fn sismember(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let env = locked.env();
    let set = locked.read_as::<Set>(args.at(1))?;
    reply.int(set.is_some_and(|set| set.contains(env, Element::Bytes(args.at(2)))) as i64);
    Ok(())
}

fn smismember(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let env = locked.env();
    let set = locked.read_as::<Set>(args.at(1))?;
    let asked = args.from(2);
    reply.array(asked.len());
    for member in asked.iter() {
        reply.int(set.is_some_and(|set| set.contains(env, Element::Bytes(member))) as i64);
    }
    Ok(())
}

fn smembers(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    match locked.read_as::<Set>(args.at(1))? {
        Some(set) => super::members(reply, set),
        None => reply.set(0),
    }
    Ok(())
}
