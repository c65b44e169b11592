//! Fields that expire: setting, reading and removing their expiries.
//!
//! An expiry is a time in milliseconds since 1970, whatever unit a command speaks; elsewhere it is repeated as
//! `HPEXPIREAT`, or as `HDEL` if it lies in the past.

use larder_protocol::{Args, Reply, parse_i64};
use larder_storage::types::Env;
use larder_storage::types::hash::{Hash, LATEST_EXPIRY};
use smallvec::SmallVec;

use super::super::command::*;
use super::super::parse::{integer, is};
use crate::config::KeyspaceEvents as Class;
use crate::error::{
    EXPIRE_NEGATIVE, Error, FIELDS_MISSING, FIELDS_NOT_POSITIVE, NUMFIELDS_MISMATCH, NUMFIELDS_NOT_POSITIVE, Outcome,
    invalid_expire,
};
use crate::locked::Locked;

pub(super) const HEXPIRE: Command = Command::write("HEXPIRE", Arity::at_least(5), &[key(1, RW | UPDATE)], hexpire)
    .flags(DENYOOM | FAST)
    .group(Group::Hash)
    .since("7.4.0")
    .syntax("key seconds [NX | XX | GT | LT] FIELDS (numfields (field...))")
    .complexity("O(N) for N fields")
    .summary("Makes fields of a hash expire after some seconds, with a condition on their present expiry if one is given: 1 for each that does, 0 where the condition does not hold, 2 where it is due at once, -2 where there is none.")
    .examples(&[
        ("HSET ada born 1815 died 1852", "(integer) 2"),
        ("HEXPIRE ada 100 FIELDS 2 born name", "1) (integer) 1\n2) (integer) -2"),
        ("HEXPIRE ada 50 GT FIELDS 1 born", "1) (integer) 0"),
        ("HTTL ada FIELDS 2 born died", "1) (integer) 100\n2) (integer) -1"),
        ("HEXPIRE ada 0 FIELDS 1 died", "1) (integer) 2"),
    ]);

pub(super) const HPEXPIRE: Command = Command::write("HPEXPIRE", Arity::at_least(5), &[key(1, RW | UPDATE)], hpexpire)
    .flags(DENYOOM | FAST)
    .group(Group::Hash)
    .since("7.4.0")
    .syntax("key milliseconds [NX | XX | GT | LT] FIELDS (numfields (field...))")
    .complexity("O(N) for N fields")
    .summary("As HEXPIRE, after some milliseconds.")
    .examples(&[
        ("HSET ada born 1815", "(integer) 1"),
        ("HPEXPIRE ada 100000 XX FIELDS 1 born", "1) (integer) 0"),
        ("HPEXPIRE ada 100000 NX FIELDS 1 born", "1) (integer) 1"),
        ("HPEXPIRE nobody 100000 FIELDS 1 born", "1) (integer) -2"),
    ]);

pub(super) const HEXPIREAT: Command =
    Command::write("HEXPIREAT", Arity::at_least(5), &[key(1, RW | UPDATE)], hexpireat)
        .flags(DENYOOM | FAST)
        .group(Group::Hash)
        .since("7.4.0")
        .syntax("key unix-time-seconds [NX | XX | GT | LT] FIELDS (numfields (field...))")
        .complexity("O(N) for N fields")
        .summary("As HEXPIRE, at a time in seconds since 1970.")
        .examples(&[
            ("HSET ada born 1815", "(integer) 1"),
            ("HEXPIREAT ada 33177117420 FIELDS 1 born", "1) (integer) 1"),
            ("HEXPIRETIME ada FIELDS 1 born", "1) (integer) 33177117420"),
        ]);

pub(super) const HPEXPIREAT: Command =
    Command::write("HPEXPIREAT", Arity::at_least(5), &[key(1, RW | UPDATE)], hpexpireat)
        .flags(DENYOOM | FAST)
        .group(Group::Hash)
        .since("7.4.0")
        .syntax("key unix-time-milliseconds [NX | XX | GT | LT] FIELDS (numfields (field...))")
        .complexity("O(N) for N fields")
        .summary("As HEXPIRE, at a time in milliseconds since 1970.")
        .examples(&[
            ("HSET ada born 1815", "(integer) 1"),
            ("HPEXPIREAT ada 33177117420000 FIELDS 1 born", "1) (integer) 1"),
            ("HPEXPIREAT ada 1 FIELDS 1 born", "1) (integer) 2"),
            ("EXISTS ada", "(integer) 0"),
        ]);

pub(super) const HTTL: Command = Command::read("HTTL", Arity::at_least(4), &[key(1, RO | ACCESS)], httl)
    .flags(FAST)
    .group(Group::Hash)
    .since("7.4.0")
    .syntax("key FIELDS (numfields (field...))")
    .complexity("O(N) for N fields")
    .summary("Answers the seconds after which fields of a hash expire; -1 if never, -2 if there is no such field.")
    .examples(&[
        ("HSET ada born 1815", "(integer) 1"),
        ("HEXPIRE ada 100 FIELDS 1 born", "1) (integer) 1"),
        ("HTTL ada FIELDS 2 born died", "1) (integer) 100\n2) (integer) -2"),
    ]);

pub(super) const HPTTL: Command = Command::read("HPTTL", Arity::at_least(4), &[key(1, RO | ACCESS)], hpttl)
    .flags(FAST)
    .group(Group::Hash)
    .since("7.4.0")
    .syntax("key FIELDS (numfields (field...))")
    .complexity("O(N) for N fields")
    .summary("Answers the milliseconds after which fields of a hash expire; -1 if never, -2 if there is no such field.")
    .examples(&[
        ("HSET ada born 1815", "(integer) 1"),
        ("HPTTL ada FIELDS 2 born died", "1) (integer) -1\n2) (integer) -2"),
    ]);

pub(super) const HEXPIRETIME: Command =
    Command::read("HEXPIRETIME", Arity::at_least(4), &[key(1, RO | ACCESS)], hexpiretime)
        .flags(FAST)
        .group(Group::Hash)
        .since("7.4.0")
        .syntax("key FIELDS (numfields (field...))")
        .complexity("O(N) for N fields")
        .summary(
            "Answers when fields of a hash expire, in seconds since 1970; -1 if never, -2 if there is no such field.",
        )
        .examples(&[
            ("HSET ada born 1815", "(integer) 1"),
            ("HPEXPIREAT ada 33177117420001 FIELDS 1 born", "1) (integer) 1"),
            ("HEXPIRETIME ada FIELDS 1 born", "1) (integer) 33177117421"),
        ]);

pub(super) const HPEXPIRETIME: Command = Command::read(
    "HPEXPIRETIME",
    Arity::at_least(4),
    &[key(1, RO | ACCESS)],
    hpexpiretime,
)
.flags(FAST)
.group(Group::Hash)
.since("7.4.0")
.syntax("key FIELDS (numfields (field...))")
.complexity("O(N) for N fields")
.summary("Answers when fields of a hash expire, in milliseconds since 1970; -1 if never, -2 if there is no such field.")
.examples(&[
    ("HSET ada born 1815", "(integer) 1"),
    ("HPEXPIREAT ada 33177117420001 FIELDS 1 born", "1) (integer) 1"),
    ("HPEXPIRETIME ada FIELDS 1 born", "1) (integer) 33177117420001"),
]);

pub(super) const HPERSIST: Command = Command::write("HPERSIST", Arity::at_least(4), &[key(1, RW | UPDATE)], hpersist)
    .flags(FAST)
    .group(Group::Hash)
    .since("7.4.0")
    .syntax("key FIELDS (numfields (field...))")
    .complexity("O(N) for N fields")
    .summary("Removes the expiries of fields of a hash: 1 for each that had one, -1 for one that had none, -2 where there is no such field.")
    .examples(&[
        ("HSET ada born 1815 died 1852", "(integer) 2"),
        ("HEXPIRE ada 100 FIELDS 1 born", "1) (integer) 1"),
        ("HPERSIST ada FIELDS 3 born died name", "1) (integer) 1\n2) (integer) -1\n3) (integer) -2"),
    ]);

/// There is no such field.
const NO_FIELD: i64 = -2;
/// The field does not expire.
const NEVER: i64 = -1;
/// The field's present expiry does not meet the condition.
const UNMET: i64 = 0;
/// Done.
const DONE: i64 = 1;
/// The time had come, and the field is gone.
const DELETED: i64 = 2;

/// The unit of a time in a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
}

fn hexpire(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let now = locked.now;
    set_expiries(locked, args, "hexpire", Unit::Seconds, now, reply)
}

fn hpexpire(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let now = locked.now;
    set_expiries(locked, args, "hpexpire", Unit::Milliseconds, now, reply)
}

fn hexpireat(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    set_expiries(locked, args, "hexpireat", Unit::Seconds, 0, reply)
}

fn hpexpireat(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    set_expiries(locked, args, "hpexpireat", Unit::Milliseconds, 0, reply)
}

/// A time in milliseconds since 1970, counted from `base`.
fn expiry_at(arg: &[u8], name: &str, unit: Unit, base: u64) -> Result<u64, Error> {
    let time = u64::try_from(integer(arg)?).map_err(|_| EXPIRE_NEGATIVE)?;
    let time = match unit {
        Unit::Seconds => time.saturating_mul(1000),
        Unit::Milliseconds => time,
    };
    let at = time.saturating_add(base);
    if at > LATEST_EXPIRY { Err(invalid_expire(name)) } else { Ok(at) }
}

/// What must hold of a field's present expiry, where none counts as never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Any,
    Nx,
    Xx,
    Gt,
    Lt,
}

impl Condition {
    fn parse(word: &[u8]) -> Self {
        match word {
            _ if is(word, "NX") => Self::Nx,
            _ if is(word, "XX") => Self::Xx,
            _ if is(word, "GT") => Self::Gt,
            _ if is(word, "LT") => Self::Lt,
            _ => Self::Any,
        }
    }

    fn allows(self, present: Option<u64>, at: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Nx => present.is_none(),
            Self::Xx => present.is_some(),
            Self::Gt => present.is_some_and(|present| at > present),
            Self::Lt => present.is_none_or(|present| at < present),
        }
    }
}

/// The fields behind `FIELDS` and their number.
fn fields<'a>(args: Args<'a>, not_positive: Error) -> Result<Args<'a>, Error> {
    if !args.get(0).is_some_and(|word| is(word, "FIELDS")) {
        return Err(FIELDS_MISSING);
    }
    let count = args.get(1).and_then(parse_i64).filter(|count| *count > 0).ok_or(not_positive)?;
    let fields = args.from(2);
    if count as u64 != fields.len() as u64 { Err(NUMFIELDS_MISMATCH) } else { Ok(fields) }
}

/// The four commands that make fields expire; times count from `base`, in milliseconds since 1970.
fn set_expiries(
    locked: &mut Locked<'_>,
    args: Args<'_>,
    name: &str,
    unit: Unit,
    base: u64,
    reply: &mut Reply,
) -> Outcome {
    let key = args.at(1);
    // A wrong type is told before anything else.
    locked.look_as::<Hash>(key)?;
    let at = expiry_at(args.at(2), name, unit, base)?;
    let condition = Condition::parse(args.at(3));
    let names = fields(args.from(if condition == Condition::Any { 3 } else { 4 }), NUMFIELDS_NOT_POSITIVE)?;
    expire_named(locked, key, names)?;
    let now = locked.now;
    let mut changes = Changes::default();
    let outcome = locked.update_as::<Hash, _>(key, false, |hash, env| {
        names.iter().try_for_each(|name| changes.set(hash, *env, name, at, now, condition))
    })?;
    changes.tell(locked, key, at);
    match outcome {
        Some(outcome) => outcome?,
        None => changes.answers.resize(names.len(), NO_FIELD),
    }
    reply.array(names.len());
    changes.answers.iter().for_each(|answer| reply.int(*answer));
    Ok(())
}

/// Removes those of the named fields whose time has come.
fn expire_named(locked: &mut Locked<'_>, key: &[u8], names: Args<'_>) -> Outcome {
    let (env, now) = (locked.env(), locked.now);
    let Some(hash) = locked.look_as::<Hash>(key)? else { return Ok(()) };
    if hash.first_deadline() > now {
        return Ok(());
    }
    let mut expired: SmallVec<[&[u8]; 4]> = SmallVec::new();
    for name in names.iter() {
        if hash.get(env, name).is_some_and(|field| field.has_expired(now)) && !expired.contains(&name) {
            expired.push(name);
        }
    }
    if expired.is_empty() { Ok(()) } else { locked.expire_fields(key, &expired) }
}

/// What HEXPIRE has done so far.
#[derive(Default)]
struct Changes<'a> {
    answers: SmallVec<[i64; 8]>,
    updated: SmallVec<[&'a [u8]; 8]>,
    deleted: SmallVec<[&'a [u8]; 8]>,
}

impl<'a> Changes<'a> {
    /// Makes a field expire, if its present expiry allows it.
    fn set(
        &mut self,
        hash: &mut Hash,
        env: Env<'_>,
        name: &'a [u8],
        at: u64,
        now: u64,
        condition: Condition,
    ) -> Outcome {
        let answer = match hash.as_ref().get(env, name).map(|field| field.expiry) {
            None => NO_FIELD,
            Some(present) if !condition.allows(present, at) => UNMET,
            Some(_) if at <= now => {
                hash.remove(env, name);
                self.deleted.push(name);
                DELETED
            }
            Some(_) => {
                hash.set_expiry(env, name, Some(at))?;
                self.updated.push(name);
                DONE
            }
        };
        self.answers.push(answer);
        Ok(())
    }

    /// Names the effects.
    fn tell(&self, locked: &mut Locked<'_>, key: &[u8], at: u64) {
        let changes = self.updated.len() + self.deleted.len();
        if changes == 0 {
            return;
        }
        if !self.deleted.is_empty() {
            let mut words: SmallVec<[&[u8]; 16]> = SmallVec::from_slice(&[b"HDEL", key]);
            words.extend_from_slice(&self.deleted);
            locked.replay(&words);
        }
        if !self.updated.is_empty() {
            let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
            let (time, count) = (time.format(at).as_bytes(), count.format(self.updated.len()).as_bytes());
            let mut words: SmallVec<[&[u8]; 16]> = SmallVec::from_slice(&[b"HPEXPIREAT", key, time, b"FIELDS", count]);
            words.extend_from_slice(&self.updated);
            locked.replay(&words);
        }
        locked.changed(Class::HASH, if self.deleted.is_empty() { "hexpire" } else { "hdel" }, key);
        locked.count_changes(changes as u64 - 1);
        if !self.deleted.is_empty() {
            locked.stats().expired_fields(self.deleted.len() as u64);
            locked.drop_if_empty(key);
        }
    }
}

fn httl(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let now = locked.now;
    answer_expiries(locked, args, reply, |at| seconds(at - now))
}

fn hpttl(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let now = locked.now;
    answer_expiries(locked, args, reply, |at| at - now)
}

fn hexpiretime(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    answer_expiries(locked, args, reply, seconds)
}

fn hpexpiretime(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    answer_expiries(locked, args, reply, |at| at)
}

/// Milliseconds as seconds, rounded up (those of a key are rounded to the nearest).
fn seconds(milliseconds: u64) -> u64 {
    milliseconds.div_ceil(1000)
}

/// `answer` gets times that have not come yet.
fn answer_expiries(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply, answer: impl Fn(u64) -> u64) -> Outcome {
    let (env, now) = (locked.env(), locked.now);
    let hash = locked.read_as::<Hash>(args.at(1))?;
    let names = fields(args.from(2), FIELDS_NOT_POSITIVE)?;
    reply.array(names.len());
    for name in names.iter() {
        let field = hash.and_then(|hash| hash.get(env, name)).filter(|field| !field.has_expired(now));
        reply.int(match field.map(|field| field.expiry) {
            None => NO_FIELD,
            Some(None) => NEVER,
            Some(Some(at)) => answer(at) as i64,
        });
    }
    Ok(())
}

fn hpersist(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (key, now) = (args.at(1), locked.now);
    locked.look_as::<Hash>(key)?;
    let names = fields(args.from(2), FIELDS_NOT_POSITIVE)?;
    let mut answers: SmallVec<[i64; 8]> = SmallVec::new();
    let mut persisted: SmallVec<[&[u8]; 8]> = SmallVec::new();
    let outcome = locked.update_as::<Hash, _>(key, false, |hash, env| {
        names.iter().try_for_each(|name| {
            let field = hash.as_ref().get(*env, name).filter(|field| !field.has_expired(now));
            answers.push(match field.map(|field| field.expiry) {
                None => NO_FIELD,
                Some(None) => NEVER,
                Some(Some(_)) => {
                    hash.set_expiry(*env, name, None)?;
                    persisted.push(name);
                    DONE
                }
            });
            Ok::<(), Error>(())
        })
    })?;
    if !persisted.is_empty() {
        let mut count = itoa::Buffer::new();
        let count = count.format(persisted.len()).as_bytes();
        let mut words: SmallVec<[&[u8]; 16]> = SmallVec::from_slice(&[b"HPERSIST", key, b"FIELDS", count]);
        words.extend_from_slice(&persisted);
        locked.replay(&words);
        locked.changed(Class::HASH, "hpersist", key);
    }
    outcome.unwrap_or(Ok(()))?;
    answers.resize(names.len(), NO_FIELD);
    reply.array(names.len());
    answers.iter().for_each(|answer| reply.int(*answer));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_look_at_the_present_expiry() {
        // Present expiry, time asked for, and the verdicts on NX, XX, GT, LT.
        for (present, at, verdicts) in [
            (None, 5, [true, false, false, true]),
            (Some(4), 5, [false, true, true, false]),
            (Some(5), 5, [false, true, false, false]),
            (Some(6), 5, [false, true, false, true]),
        ] {
            for (word, verdict) in ["nx", "XX", "gt", "Lt"].into_iter().zip(verdicts) {
                let condition = Condition::parse(word.as_bytes());
                assert_eq!(condition.allows(present, at), verdict, "{word} with {present:?} and {at}");
            }
            assert!(Condition::parse(b"FIELDS").allows(present, at));
        }
    }

    #[test]
    fn times_end_where_those_of_redis_end() {
        let at = |text: &str, unit, base| expiry_at(text.as_bytes(), "hexpire", unit, base);
        assert_eq!(at("0", Unit::Seconds, 7), Ok(7));
        assert_eq!(at("70368744177", Unit::Seconds, 663), Ok(LATEST_EXPIRY));
        assert_eq!(at("70368744177", Unit::Seconds, 664), Err(invalid_expire("hexpire")));
        assert_eq!(at("9223372036854775807", Unit::Seconds, 0), Err(invalid_expire("hexpire")));
        assert_eq!(at("-1", Unit::Seconds, 5000), Err(EXPIRE_NEGATIVE));
        assert_eq!(at("x", Unit::Seconds, 0), Err(crate::error::NOT_AN_INTEGER));
    }
}
