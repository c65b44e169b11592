//! Several sets made one: unions, intersections and differences, answered, stored or counted.
//!
//! All sources are looked at before anything is stored, so the destination may be one of them. What is answered is
//! written as it is found; only small results, of which Redis settles the order, and unions of many sets are built
//! first. A result that is stored gets the form that Redis gives it, which depends on the way there.

use std::collections::HashSet;

use larder_protocol::{Args, Reply};
use larder_storage::table::Expiry;
use larder_storage::types::pack::Element;
use larder_storage::types::set::{Set, SetRef};
use larder_storage::types::text::Text;
use larder_storage::types::{Collection, Env, Full};
use larder_storage::value::{Content, Kind, Object, Value};

use super::super::command::*;
use super::super::parse::{is, natural};
use super::super::sources::sources;
use super::{bulk, members};
use crate::config::KeyspaceEvents as Class;
use crate::error::{Error, LIMIT_NEGATIVE, NUMKEYS_NOT_POSITIVE, Outcome, SYNTAX, TOO_MANY_KEYS};
use crate::locked::Locked;

pub(super) const SUNION: Command = Command::read("SUNION", Arity::at_least(1), &[keys(1, 1, RO | ACCESS)], sunion)
    .group(Group::Set)
    .since("1.0.0")
    .syntax("key...")
    .summary("Answers the members that any of several sets has.")
    .complexity(UNION)
    .tips(&["nondeterministic_output_order"])
    .examples(&[
        ("SADD mon 1 2", "(integer) 2"),
        ("SADD tue 2 3", "(integer) 2"),
        ("SUNION mon tue", "1) \"1\"\n2) \"2\"\n3) \"3\""),
        ("SUNION nobody", "(empty array)"),
    ]);

pub(super) const SUNIONSTORE: Command = Command::write("SUNIONSTORE", Arity::at_least(2), STORE_KEYS, sunionstore)
    .flags(DENYOOM)
    .group(Group::Set)
    .since("1.0.0")
    .syntax("destination key...")
    .summary("Stores the union of several sets under a key, whatever that held.")
    .complexity(UNION)
    .examples(&[
        ("SADD mon 1 2", "(integer) 2"),
        ("SADD tue 2 3", "(integer) 2"),
        ("SUNIONSTORE week mon tue", "(integer) 3"),
        ("SMEMBERS week", "1) \"1\"\n2) \"2\"\n3) \"3\""),
    ]);

pub(super) const SINTER: Command = Command::read("SINTER", Arity::at_least(1), &[keys(1, 1, RO | ACCESS)], sinter)
    .group(Group::Set)
    .since("1.0.0")
    .syntax("key...")
    .summary("Answers the members that all of several sets have.")
    .complexity(INTERSECTION)
    .tips(&["nondeterministic_output_order"])
    .examples(&[
        ("SADD mon 1 2", "(integer) 2"),
        ("SADD tue 2 3", "(integer) 2"),
        ("SINTER mon tue", "1) \"2\""),
        ("SINTER mon tue wed", "(empty array)"),
    ]);

pub(super) const SINTERSTORE: Command =
    Command::write("SINTERSTORE", Arity::at_least(2), &[key(1, OW | UPDATE), keys(2, 1, RO | ACCESS)], sinterstore)
        .flags(DENYOOM)
        .group(Group::Set)
        .since("1.0.0")
        .syntax("destination key...")
        .summary("Stores the intersection of several sets under a key, whatever that held.")
        .complexity(INTERSECTION)
        .examples(&[
            ("SADD mon 1 2", "(integer) 2"),
            ("SADD tue 2 3", "(integer) 2"),
            ("SINTERSTORE both mon tue", "(integer) 1"),
            ("SMEMBERS both", "1) \"2\""),
        ]);

pub(super) const SINTERCARD: Command =
    Command::read("SINTERCARD", Arity::at_least(2), &[counted(1, RO | ACCESS)], sintercard)
        .flags(MOVABLE_KEYS)
        .group(Group::Set)
        .since("7.0.0")
        .syntax("numkeys key... [LIMIT limit]")
        .summary("Answers how many members all of several sets have, on request counting up to a limit only.")
        .complexity(INTERSECTION)
        .examples(&[
            ("SADD mon 1 2 3", "(integer) 3"),
            ("SADD tue 2 3 4", "(integer) 3"),
            ("SINTERCARD 2 mon tue", "(integer) 2"),
            ("SINTERCARD 2 mon tue LIMIT 1", "(integer) 1"),
        ]);

pub(super) const SDIFF: Command = Command::read("SDIFF", Arity::at_least(1), &[keys(1, 1, RO | ACCESS)], sdiff)
    .group(Group::Set)
    .since("1.0.0")
    .syntax("key...")
    .summary("Answers the members that the first of several sets has and none of the others.")
    .complexity(DIFFERENCE)
    .tips(&["nondeterministic_output_order"])
    .examples(&[("SADD mon 1 2", "(integer) 2"), ("SADD tue 2 3", "(integer) 2"), ("SDIFF mon tue", "1) \"1\"")]);

pub(super) const SDIFFSTORE: Command = Command::write("SDIFFSTORE", Arity::at_least(2), STORE_KEYS, sdiffstore)
    .flags(DENYOOM)
    .group(Group::Set)
    .since("1.0.0")
    .syntax("destination key...")
    .summary("Stores the difference of several sets under a key, whatever that held.")
    .complexity(DIFFERENCE)
    .examples(&[
        ("SADD mon 1 2", "(integer) 2"),
        ("SADD tue 2 3", "(integer) 2"),
        ("SDIFFSTORE mon mon tue", "(integer) 1"),
        ("SMEMBERS mon", "1) \"1\""),
    ]);

const STORE_KEYS: &[KeySpec] = &[key(1, OW | UPDATE), keys(2, 1, RO | ACCESS)];

const UNION: &str = "O(N), N being the sizes of all sets";
const INTERSECTION: &str = "O(N*K), N being the size of the smallest of K sets";
const DIFFERENCE: &str =
    "O(N), N being the sizes of all sets, or O(N*K) if that is less, N being the size of the first of K sets";

fn sunion(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let env = locked.env();
    let sets: Vec<_> = sets(locked, args.from(1))?.into_iter().flatten().collect();
    if sets.len() > SEARCHED_AT_MOST || is_small(env, sets.iter().map(|set| set.len()).sum()) {
        members(reply, union(env, &sets)?.as_ref());
        return Ok(());
    }
    let is_new = |number: usize, member| !sets[..number].iter().any(|set| set.contains(env, member));
    let all = sets.iter().enumerate().flat_map(|(number, set)| set.iter().map(move |member| (number, member)));
    answer(reply, all.filter(|(number, member)| is_new(*number, *member)).map(|(_, member)| member));
    Ok(())
}

fn sunionstore(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let env = locked.env();
    let sets: Vec<_> = sets(locked, args.from(2))?.into_iter().flatten().collect();
    let set = union(env, &sets)?;
    store(locked, args.at(1), set, "sunionstore", reply)
}

fn sinter(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let env = locked.env();
    let sets = ascending(sets(locked, args.from(1))?);
    answer(reply, intersection(env, &sets));
    Ok(())
}

fn sinterstore(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let env = locked.env();
    let sets = ascending(sets(locked, args.from(2))?);
    let mut set = match sets.first() {
        Some(SetRef::Ints(_)) => Set::new(),
        _ => Set::new_packed(),
    };
    for member in intersection(env, &sets) {
        set.insert(env, member)?;
    }
    set.make_ints(env);
    store(locked, args.at(1), set, "sinterstore", reply)
}

fn sintercard(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let count = natural(args.at(1), NUMKEYS_NOT_POSITIVE)?;
    if count == 0 {
        return Err(NUMKEYS_NOT_POSITIVE);
    }
    if count > args.len() - 2 {
        return Err(TOO_MANY_KEYS);
    }
    let (mut limit, mut options) = (0, args.from(2 + count));
    while let Some(word) = options.get(0) {
        let value = options.get(1).filter(|_| is(word, "LIMIT")).ok_or(SYNTAX)?;
        limit = natural(value, LIMIT_NEGATIVE)?;
        options = options.from(2);
    }
    let env = locked.env();
    let sets = ascending(sets(locked, args.from(2).until(count))?);
    let limit = if limit == 0 { usize::MAX } else { limit };
    reply.int(intersection(env, &sets).take(limit).count() as i64);
    Ok(())
}

fn sdiff(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let env = locked.env();
    let Some(difference) = Difference::of(locked, args.from(1))? else {
        reply.set(0);
        return Ok(());
    };
    if is_small(env, difference.first.len()) {
        members(reply, difference.build(env)?.as_ref());
    } else {
        answer(reply, difference.members(env));
    }
    Ok(())
}

fn sdiffstore(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let env = locked.env();
    let difference = Difference::of(locked, args.from(2))?;
    let set = difference.map_or(Ok(Set::new()), |difference| difference.build(env))?;
    store(locked, args.at(1), set, "sdiffstore", reply)
}

/// Up to so many sets of a union are searched for each member of the next ones; if there are more, it is built.
const SEARCHED_AT_MOST: usize = 4;

/// Whether a set of so many members may have another form than the largest.
fn is_small(env: Env<'_>, members: usize) -> bool {
    members <= env.limits.set_max_ints.max(env.limits.set_max_packed_entries)
}

/// What the keys hold; an error if one is no set.
fn sets<'l>(locked: &'l mut Locked<'_>, keys: Args<'_>) -> Result<Vec<Option<SetRef<'l>>>, Error> {
    let values = sources(locked, keys, |kind| kind == Kind::Set)?;
    Ok(values.into_iter().map(|value: Option<Value<'l>>| value.and_then(Set::of)).collect())
}

/// The sets of an intersection, the smallest first; none if one is missing, as nothing is in all of them then.
fn ascending(sets: Vec<Option<SetRef<'_>>>) -> Vec<SetRef<'_>> {
    let mut sets: Vec<_> = sets.into_iter().collect::<Option<_>>().unwrap_or_default();
    sets.sort_by_key(|set| set.len());
    sets
}

/// Answers members of which it is not known how many there are.
fn answer<'a>(reply: &mut Reply, members: impl Iterator<Item = Element<'a>>) {
    let head = reply.defer();
    let mut count = 0;
    for member in members {
        bulk(reply, member);
        count += 1;
    }
    reply.set_set_len(head, count);
}

fn union(env: Env<'_>, sets: &[SetRef<'_>]) -> Result<Set, Full> {
    let mut all = Set::new();
    for member in sets.iter().flat_map(|set| set.iter()) {
        all.insert(env, member)?;
    }
    Ok(all)
}

/// The members of the first set that all others have too.
fn intersection<'a>(env: Env<'_>, sets: &[SetRef<'a>]) -> impl Iterator<Item = Element<'a>> {
    let (first, others) = sets.split_at(sets.len().min(1));
    let members = first.iter().flat_map(|set| set.iter());
    members.filter(move |member| others.iter().all(|other| other.contains(env, *member)))
}

/// A set, and others whose members are taken from it.
struct Difference<'a> {
    first: SetRef<'a>,
    others: Vec<SetRef<'a>>,
}

impl<'a> Difference<'a> {
    /// `None` if nothing can be left.
    fn of(locked: &'a mut Locked<'_>, keys: Args<'_>) -> Result<Option<Self>, Error> {
        let sets = sets(locked, keys)?;
        let is_own_subtrahend = keys.iter().skip(1).any(|key| key == keys.at(0));
        let (Some(Some(first)), false) = (sets.first(), is_own_subtrahend) else { return Ok(None) };
        let mut others: Vec<_> = sets.iter().skip(1).copied().flatten().collect();
        // A member is most likely found in the largest.
        others.sort_by_key(|set| std::cmp::Reverse(set.len()));
        Ok(Some(Self { first: *first, others }))
    }

    /// Whether it is less work to go through the others once than to search each member in all of them. A search may
    /// end early.
    fn goes_through_others(&self) -> bool {
        let total = self.others.iter().map(|set| set.len()).fold(self.first.len(), usize::saturating_add);
        self.first.len().saturating_mul(self.others.len() + 1) / 2 > total
    }

    /// The members that are left.
    fn members(&self, env: Env<'_>) -> impl Iterator<Item = Element<'a>> {
        let gone: HashSet<Text<'_>> = match self.goes_through_others() {
            true => self.others.iter().flat_map(|set| set.iter().map(Text::from)).collect(),
            false => HashSet::new(),
        };
        let searched = if self.goes_through_others() { &[] } else { &self.others[..] };
        self.first.iter().filter(move |member| {
            let is_elsewhere = searched.iter().any(|set| set.contains(env, *member));
            !is_elsewhere && (gone.is_empty() || !gone.contains(&Text::from(*member)))
        })
    }

    /// A set of the members that are left. Where Redis goes through the others, its result has had all members of the
    /// first set, which its form shows.
    fn build(&self, env: Env<'_>) -> Result<Set, Full> {
        let mut set = Set::new();
        if self.goes_through_others() && is_small(env, self.first.len()) {
            for member in self.first.iter() {
                set.insert(env, member)?;
            }
            for member in self.others.iter().flat_map(|other| other.iter()) {
                set.remove(env, member);
            }
            return Ok(set);
        }
        if self.goes_through_others() {
            set.make_hashed(env)?;
        }
        for member in self.members(env) {
            set.insert(env, member)?;
        }
        Ok(set)
    }
}

/// Stores a set under a key, whatever that held, and answers its size. An empty one removes the key.
fn store(locked: &mut Locked<'_>, key: &[u8], set: Set, event: &'static str, reply: &mut Reply) -> Outcome {
    let len = set.as_ref().len();
    if len > 0 {
        locked.set(key, Content::Object(Object::Set(set)), Expiry::Set(None))?;
        locked.changed(Class::SET, event, key);
    } else if locked.remove(key) {
        locked.changed(Class::GENERIC, "del", key);
    }
    reply.int(len as i64);
    Ok(())
}
