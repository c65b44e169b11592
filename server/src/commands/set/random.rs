//! Members chosen at random, each as likely as any other: SPOP takes them, SRANDMEMBER shows them.

use std::collections::HashSet;

use larder_protocol::{Args, Reply, parse_i64};
use larder_storage::rng::Rng;
use larder_storage::table::Expiry;
use larder_storage::types::pack::Element;
use larder_storage::types::set::{Set, SetRef};
use larder_storage::types::text::Text;
use larder_storage::value::{Content, Object};

use super::super::command::*;
use super::super::parse::natural;
use super::super::removal::Removal;
use super::{bulk, members};
use crate::config::KeyspaceEvents as Class;
use crate::error::{LONG_OUT_OF_RANGE, NOT_AN_INTEGER, NOT_POSITIVE, OUT_OF_RANGE, Outcome, SYNTAX};
use crate::locked::Locked;

pub(super) const SPOP: Command = Command::write("SPOP", Arity::at_least(1), &[key(1, RW | ACCESS | DELETE)], spop)
    .flags(FAST)
    .group(Group::Set)
    .since("1.0.0")
    .syntax("key [count]")
    .summary("Removes random members from a set, and answers them.")
    .complexity("O(N) for N answered members")
    .tips(&["nondeterministic_output"])
    .examples(&[
        ("SADD lots 7", "(integer) 1"),
        ("SPOP lots", "\"7\""),
        ("SPOP lots", "(nil)"),
        ("SADD lots 7 8", "(integer) 2"),
        ("SPOP lots 5", "1) \"7\"\n2) \"8\""),
        ("SPOP lots -1", "(error) ERR value is out of range, must be positive"),
    ]);

pub(super) const SRANDMEMBER: Command =
    Command::read("SRANDMEMBER", Arity::at_least(1), &[key(1, RO | ACCESS)], srandmember)
        .group(Group::Set)
        .since("1.0.0")
        .syntax("key [count]")
        .summary("Answers random members of a set; a negative count draws each anew from all.")
        .complexity("O(N) for N answered members")
        .tips(&["nondeterministic_output"])
        .examples(&[
            ("SADD lots 7", "(integer) 1"),
            ("SRANDMEMBER lots", "\"7\""),
            ("SRANDMEMBER lots 5", "1) \"7\""),
            ("SRANDMEMBER lots -2", "1) \"7\"\n2) \"7\""),
            ("SRANDMEMBER nobody 5", "(empty array)"),
        ]);

/// Members of one SREM that repeats an SPOP elsewhere.
const REPLAYED_AT_ONCE: usize = 1024;

/// If so many times fewer are left than are taken from a large set, it is made anew of those that are left.
const NEARLY_ALL: usize = 5;

/// A generator of its own for a command, seeded by that of the key's shard, which cannot be borrowed beside the set.
fn rng(locked: &mut Locked<'_>, key: &[u8]) -> Rng {
    let hash = locked.hash(key);
    Rng::seeded(locked.shards().of(hash).shard.rng.next_u64())
}

fn spop(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if args.len() > 3 {
        return Err(SYNTAX);
    }
    let key = args.at(1);
    let Some(count) = args.get(2) else { return pop_one(locked, key, reply) };
    let count = natural(count, NOT_POSITIVE)?;
    let Some(set) = locked.look_as::<Set>(key)?.filter(|_| count > 0) else {
        reply.set(0);
        return Ok(());
    };
    let len = set.len();
    if count >= len {
        members(reply, set);
        locked.remove(key);
        Removal { count: len, all: false }.tell(locked, Class::SET, "spop", key);
        locked.note(Class::GENERIC, "del", key);
        locked.replay(&[b"DEL", key]);
        return Ok(());
    }
    reply.set(count);
    if matches!(set, SetRef::Hashed(_)) && (len - count).saturating_mul(NEARLY_ALL) <= count {
        pop_nearly_all(locked, key, len - count, reply)?;
    } else {
        pop(locked, key, count, reply)?;
    }
    locked.count_changes(count as u64 - 1);
    Ok(())
}

fn pop_one(locked: &mut Locked<'_>, key: &[u8], reply: &mut Reply) -> Outcome {
    let (mut rng, records) = (rng(locked, key), locked.engine().records_effects());
    let mut popped = Popped::new(records);
    let removal = locked.update_as::<Set, _>(key, false, |set, env| {
        set.take_random(*env, &mut rng, 1, |member| popped.answer(reply, member));
        Removal { count: 1, all: set.as_ref().is_empty() }
    })?;
    let Some(removal) = removal else {
        reply.null();
        return Ok(());
    };
    removal.tell(locked, Class::SET, "spop", key);
    popped.replay(locked, key);
    Ok(())
}

/// Takes `count` members, fewer than there are.
fn pop(locked: &mut Locked<'_>, key: &[u8], count: usize, reply: &mut Reply) -> Outcome {
    let (mut rng, records) = (rng(locked, key), locked.engine().records_effects());
    let mut popped = Popped::new(records);
    locked.update_as::<Set, _>(key, false, |set, env| {
        set.take_random(*env, &mut rng, count, |member| popped.answer(reply, member));
    })?;
    locked.changed(Class::SET, "spop", key);
    popped.replay(locked, key);
    Ok(())
}

/// Takes all members but `left` of a large set. A new set takes its place, and the old one is freed later.
fn pop_nearly_all(locked: &mut Locked<'_>, key: &[u8], left: usize, reply: &mut Reply) -> Outcome {
    let (mut rng, records, env) = (rng(locked, key), locked.engine().records_effects(), locked.env());
    let mut popped = Popped::new(records);
    let mut rest = Set::new_packed();
    if let Some(set) = locked.look_as::<Set>(key)? {
        let mut kept: HashSet<Text<'_>> = HashSet::with_capacity(left);
        while kept.len() < left
            && let Some(member) = set.random(env, &mut rng)
        {
            if kept.insert(member.into()) {
                rest.insert(env, member)?;
            }
        }
        let taken = set.iter().filter(|member| !kept.contains(&Text::from(*member)));
        taken.for_each(|member| popped.answer(reply, member));
    }
    locked.set(key, Content::Object(Object::Set(rest)), Expiry::Keep)?;
    locked.changed(Class::SET, "spop", key);
    popped.replay(locked, key);
    Ok(())
}

/// Members that were taken, remembered only if somebody wants to know which they were.
struct Popped {
    members: Option<Vec<Vec<u8>>>,
}

impl Popped {
    fn new(remembers: bool) -> Self {
        Self { members: remembers.then(Vec::new) }
    }

    fn answer(&mut self, reply: &mut Reply, member: Element<'_>) {
        bulk(reply, member);
        if let Some(members) = &mut self.members {
            members.push(member.text(&mut itoa::Buffer::new()).to_vec());
        }
    }

    /// The same members are removed wherever the command is repeated.
    fn replay(self, locked: &mut Locked<'_>, key: &[u8]) {
        for members in self.members.unwrap_or_default().chunks(REPLAYED_AT_ONCE) {
            let mut command: Vec<&[u8]> = vec![b"SREM", key];
            command.extend(members.iter().map(Vec::as_slice));
            locked.replay(&command);
        }
    }
}

fn srandmember(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if args.len() > 3 {
        return Err(SYNTAX);
    }
    let count = args.get(2).map(|count| parse_i64(count).ok_or(NOT_AN_INTEGER)).transpose()?;
    if count == Some(i64::MIN) {
        return Err(LONG_OUT_OF_RANGE);
    }
    let most_bytes = locked.engine().settings().proto_max_bulk_len.as_usize();
    let (mut rng, env) = (rng(locked, args.at(1)), locked.env());
    let set = locked.read_as::<Set>(args.at(1))?;
    let Some(count) = count else {
        match set.and_then(|set| set.random(env, &mut rng)) {
            Some(member) => bulk(reply, member),
            None => reply.null(),
        }
        return Ok(());
    };
    let Some(set) = set else {
        reply.array(0);
        return Ok(());
    };
    if let Ok(count) = usize::try_from(count) {
        reply.array(count.min(set.len()));
        set.sample(env, &mut rng, count, |member| bulk(reply, member));
        return Ok(());
    }
    /// Bytes of the shortest member, an empty one.
    const SHORTEST: u64 = 6;
    // What is asked for in a few bytes must not fill the memory.
    if count.unsigned_abs() > most_bytes as u64 / SHORTEST {
        return Err(OUT_OF_RANGE);
    }
    reply.array(count.unsigned_abs() as usize);
    let most = reply.len().saturating_add(most_bytes);
    for _ in 0..count.unsigned_abs() {
        if let Some(member) = set.random(env, &mut rng) {
            bulk(reply, member);
        }
        if reply.len() > most {
            return Err(OUT_OF_RANGE);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use larder_protocol::Value;

    use super::*;

    fn server_with(members: usize, prefix: &str) -> crate::Connection {
        let mut connection = crate::Server::builder().seed(1).build().unwrap().connect();
        fill(&mut connection, members, prefix);
        connection
    }

    fn fill(connection: &mut crate::Connection, members: usize, prefix: &str) {
        for member in 0..members {
            drop(connection.execute(["SADD", "s", &format!("{prefix}{member}")]));
        }
    }

    fn elements(reply: Value) -> Vec<String> {
        match reply {
            Value::Array(members) | Value::Set(members) => members.iter().map(Value::to_string).collect(),
            other => vec![other.to_string()],
        }
    }

    #[test]
    fn every_member_is_drawn_as_often_as_any_other() {
        // All forms of a set, and all ways to draw different members.
        for (members, prefix) in [(40, ""), (40, "m"), (160, "m"), (600, "")] {
            for count in [1, 10, -10, members as i64 * 3 / 4] {
                let (mut connection, mut times) = (server_with(members, prefix), BTreeMap::new());
                let draws = 400 * members / count.unsigned_abs() as usize;
                for _ in 0..draws {
                    let drawn = elements(connection.execute(["SRANDMEMBER", "s", &count.to_string()]));
                    assert_eq!(drawn.len() as u64, count.unsigned_abs());
                    let different: HashSet<&String> = drawn.iter().collect();
                    assert!(count < 0 || different.len() == drawn.len());
                    drawn.into_iter().for_each(|member| *times.entry(member).or_insert(0) += 1);
                }
                assert_eq!(times.len(), members);
                // 400 are expected of each; six standard deviations are 120.
                assert!(times.values().all(|times| (280..520).contains(times)), "{members} {count}: {times:?}");
            }
        }
    }

    #[test]
    fn every_member_is_popped_as_often_as_any_other() {
        // All forms of a set, and all ways to take members.
        for (members, prefix) in [(20, ""), (20, "m"), (150, "m")] {
            for count in [1, members / 4, members - 10] {
                let (mut connection, mut times) = (server_with(0, ""), BTreeMap::new());
                let pops = 400 * members / count;
                for _ in 0..pops {
                    fill(&mut connection, members, prefix);
                    let popped = elements(connection.execute(["SPOP", "s", &count.to_string()]));
                    assert_eq!(popped.len(), count);
                    assert_eq!(
                        connection.execute(["SCARD", "s"]).to_string(),
                        format!("(integer) {}", members - count)
                    );
                    popped.into_iter().for_each(|member| *times.entry(member).or_insert(0) += 1);
                }
                assert!(times.values().all(|times| (280..520).contains(times)), "{members} {count}: {times:?}");
            }
        }
    }

    #[test]
    fn a_huge_count_is_refused() {
        let mut connection = server_with(2, "");
        for count in [i64::MIN + 1, -1 << 40] {
            let reply = connection.execute(["SRANDMEMBER", "s", &count.to_string()]);
            assert_eq!(reply.to_string(), "(error) ERR value is out of range");
        }
        let reply = connection.execute(["SRANDMEMBER", "s", &i64::MAX.to_string()]);
        assert_eq!(reply.to_string(), "1) \"0\"\n2) \"1\"");
    }
}
