//! Expiries of keys: setting, reading and removing them.
//!
//! An expiry is a time in milliseconds since 1970, whatever unit a command speaks; elsewhere it is repeated as
//! `PEXPIREAT`, or as `DEL` if it lies in the past.

use larder_protocol::{Args, Reply};

use super::command::*;
use super::parse::{integer, is};
use crate::config::KeyspaceEvents as Class;
use crate::error::{EXPIRE_GT_AND_LT, EXPIRE_NX_AND_OTHERS, Error, Outcome, invalid_expire, unsupported_option};
use crate::locked::Locked;

pub(super) const COMMANDS: &[Command] = &[
    Command::write("EXPIRE", Arity::at_least(2), &[key(1, RW | UPDATE)], expire)
        .flags(FAST)
        .syntax("key seconds [NX | XX | GT | LT]")
        .since("1.0.0").complexity("O(1)").summary("Makes a key expire after some seconds, with a condition on its present expiry if one is given.")
        .examples(&[
            ("SET a 1", "OK"),
            ("EXPIRE a 100", "(integer) 1"),
            ("EXPIRE a 50 GT", "(integer) 0"),
            ("TTL a", "(integer) 100"),
            ("EXPIRE a 0", "(integer) 1"),
            ("EXISTS a", "(integer) 0"),
        ]),
    Command::write("PEXPIRE", Arity::at_least(2), &[key(1, RW | UPDATE)], pexpire)
        .flags(FAST)
        .since("2.6.0")
        .syntax("key milliseconds [NX | XX | GT | LT]")
        .complexity("O(1)").summary("Makes a key expire after some milliseconds, with a condition on its present expiry if one is given.")
        .examples(&[
            ("SET a 1", "OK"),
            ("PEXPIRE a 100000 XX", "(integer) 0"),
            ("PEXPIRE a 100000 NX", "(integer) 1"),
            ("TTL a", "(integer) 100"),
            ("PEXPIRE b 100000", "(integer) 0"),
        ]),
    Command::write("EXPIREAT", Arity::at_least(2), &[key(1, RW | UPDATE)], expireat)
        .flags(FAST)
        .since("1.2.0")
        .syntax("key unix-time-seconds [NX | XX | GT | LT]")
        .complexity("O(1)").summary("Makes a key expire at a time, in seconds since 1970, with a condition on its present expiry if one is given.")
        .examples(&[
            ("SET a 1", "OK"),
            ("EXPIREAT a 33177117420", "(integer) 1"),
            ("EXPIRETIME a", "(integer) 33177117420"),
            ("EXPIREAT a 1", "(integer) 1"),
            ("GET a", "(nil)"),
        ]),
    Command::write("PEXPIREAT", Arity::at_least(2), &[key(1, RW | UPDATE)], pexpireat)
        .flags(FAST)
        .since("2.6.0")
        .syntax("key unix-time-milliseconds [NX | XX | GT | LT]")
        .complexity("O(1)").summary("Makes a key expire at a time, in milliseconds since 1970, with a condition on its present expiry if one is given.")
        .examples(&[
            ("SET a 1", "OK"),
            ("PEXPIREAT a 33177117420000 LT", "(integer) 1"),
            ("PEXPIREAT a 33177117420001 LT", "(integer) 0"),
            ("PEXPIRETIME a", "(integer) 33177117420000"),
        ]),
    Command::read("TTL", Arity::exactly(1), &[key(1, RO | ACCESS)], ttl)
        .flags(FAST)
        .syntax("key")
        .since("1.0.0").complexity("O(1)").summary("Answers the seconds after which a key expires; -1 if never, -2 if there is no such key.")
        .tips(&["nondeterministic_output"])
        .examples(&[
            ("SET a 1 EX 100", "OK"),
            ("TTL a", "(integer) 100"),
            ("SET a 1", "OK"),
            ("TTL a", "(integer) -1"),
            ("TTL b", "(integer) -2"),
        ]),
    Command::read("PTTL", Arity::exactly(1), &[key(1, RO | ACCESS)], pttl)
        .flags(FAST)
        .since("2.6.0")
        .syntax("key")
        .complexity("O(1)").summary("Answers the milliseconds after which a key expires; -1 if never, -2 if there is no such key.")
        .tips(&["nondeterministic_output"])
        .examples(&[("SET a 1", "OK"), ("PTTL a", "(integer) -1"), ("PTTL b", "(integer) -2")]),
    Command::read("EXPIRETIME", Arity::exactly(1), &[key(1, RO | ACCESS)], expiretime)
        .flags(FAST)
        .since("7.0.0")
        .syntax("key")
        .complexity("O(1)").summary("Answers when a key expires, in seconds since 1970; -1 if never, -2 if there is no such key.")
        .examples(&[
            ("SET a 1 EXAT 33177117420", "OK"),
            ("EXPIRETIME a", "(integer) 33177117420"),
            ("EXPIRETIME b", "(integer) -2"),
        ]),
    Command::read("PEXPIRETIME", Arity::exactly(1), &[key(1, RO | ACCESS)], pexpiretime)
        .flags(FAST)
        .since("7.0.0")
        .syntax("key")
        .complexity("O(1)").summary("Answers when a key expires, in milliseconds since 1970; -1 if never, -2 if there is no such key.")
        .examples(&[
            ("SET a 1 PXAT 33177117420000", "OK"),
            ("PEXPIRETIME a", "(integer) 33177117420000"),
            ("PEXPIRETIME b", "(integer) -2"),
        ]),
    Command::write("PERSIST", Arity::exactly(1), &[key(1, RW | UPDATE)], persist)
        .flags(FAST)
        .since("2.2.0")
        .syntax("key")
        .complexity("O(1)").summary("Removes the expiry of a key; whether it had one.")
        .examples(&[
            ("SET a 1 EX 100", "OK"),
            ("PERSIST a", "(integer) 1"),
            ("PERSIST a", "(integer) 0"),
            ("TTL a", "(integer) -1"),
        ]),
];

/// The unit of a time in a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
}

fn expire(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let now = locked.now;
    set_expiry(locked, args, "expire", Unit::Seconds, now, reply)
}

fn pexpire(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let now = locked.now;
    set_expiry(locked, args, "pexpire", Unit::Milliseconds, now, reply)
}

fn expireat(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    set_expiry(locked, args, "expireat", Unit::Seconds, 0, reply)
}

fn pexpireat(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    set_expiry(locked, args, "pexpireat", Unit::Milliseconds, 0, reply)
}

/// The four commands that set an expiry; times count from `base`, in milliseconds since 1970.
fn set_expiry(
    locked: &mut Locked<'_>,
    args: Args<'_>,
    name: &str,
    unit: Unit,
    base: u64,
    reply: &mut Reply,
) -> Outcome {
    let condition = Condition::parse(args.from(3))?;
    let at = expiry_at(integer(args.at(2))?, unit, base).ok_or_else(|| invalid_expire(name))?;
    let key = args.at(1);
    let Some(present) = locked.look(key).map(|entry| entry.expiry()) else {
        reply.int(0);
        return Ok(());
    };
    if !condition.allows(present, at) {
        reply.int(0);
        return Ok(());
    }
    match u64::try_from(at) {
        Ok(at) if at > locked.now => {
            locked.set_expiry(key, Some(at))?;
            locked.replay(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at).as_bytes()]);
            locked.changed(Class::GENERIC, "expire", key);
        }
        _ => {
            locked.remove(key);
            locked.replay(&[b"DEL", key]);
            locked.changed(Class::GENERIC, "del", key);
        }
    }
    reply.int(1);
    Ok(())
}

/// A time in milliseconds since 1970, or `None` if it overflows; it may lie before 1970.
fn expiry_at(time: i64, unit: Unit, base: u64) -> Option<i64> {
    let time = match unit {
        Unit::Seconds => time.checked_mul(1000)?,
        Unit::Milliseconds => time,
    };
    time.checked_add_unsigned(base)
}

/// What must hold of a key's present expiry, where none counts as never.
#[derive(Clone, Copy, Default)]
struct Condition {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Condition {
    fn parse(options: Args<'_>) -> Result<Self, Error> {
        let mut condition = Self::default();
        for option in options.iter() {
            let flag = match option {
                _ if is(option, "NX") => &mut condition.nx,
                _ if is(option, "XX") => &mut condition.xx,
                _ if is(option, "GT") => &mut condition.gt,
                _ if is(option, "LT") => &mut condition.lt,
                _ => return Err(unsupported_option(option)),
            };
            *flag = true;
        }
        let Self { nx, xx, gt, lt } = condition;
        match () {
            () if nx && (xx || gt || lt) => Err(EXPIRE_NX_AND_OTHERS),
            () if gt && lt => Err(EXPIRE_GT_AND_LT),
            () => Ok(condition),
        }
    }

    fn allows(self, present: Option<u64>, at: i64) -> bool {
        let later = present.is_some_and(|present| i128::from(at) > i128::from(present));
        let sooner = present.is_none_or(|present| i128::from(at) < i128::from(present));
        !(self.nx && present.is_some() || self.xx && present.is_none() || self.gt && !later || self.lt && !sooner)
    }
}

fn ttl(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let now = locked.now;
    answer_expiry(locked, args, reply, |at| seconds(at.saturating_sub(now)))
}

fn pttl(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let now = locked.now;
    answer_expiry(locked, args, reply, |at| at.saturating_sub(now))
}

fn expiretime(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    answer_expiry(locked, args, reply, seconds)
}

fn pexpiretime(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    answer_expiry(locked, args, reply, |at| at)
}

/// Milliseconds as seconds, rounded to the nearest.
fn seconds(milliseconds: u64) -> u64 {
    (milliseconds + 500) / 1000
}

fn answer_expiry(
    locked: &mut Locked<'_>,
    args: Args<'_>,
    reply: &mut Reply,
    answer: impl FnOnce(u64) -> u64,
) -> Outcome {
    /// There is no such key.
    const NO_KEY: i64 = -2;
    /// The key does not expire.
    const NEVER: i64 = -1;
    reply.int(match locked.glance(args.at(1)).map(|entry| entry.expiry()) {
        None => NO_KEY,
        Some(None) => NEVER,
        Some(Some(at)) => answer(at) as i64,
    });
    Ok(())
}

fn persist(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let key = args.at(1);
    let expires = locked.look(key).is_some_and(|entry| entry.expiry().is_some());
    if expires {
        locked.set_expiry(key, None)?;
        locked.changed(Class::GENERIC, "persist", key);
    }
    reply.int(expires as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use larder_protocol::OwnedArgs;

    use super::*;

    fn condition(options: &[&[u8]]) -> Result<Condition, Error> {
        Condition::parse(OwnedArgs::from_slices(options).as_args())
    }

    #[test]
    fn conditions_look_at_the_present_expiry() {
        // Present expiry, time asked for, and the verdicts on NX, XX, GT, LT.
        for (present, at, verdicts) in [
            (None, 5, [true, false, false, true]),
            (Some(4), 5, [false, true, true, false]),
            (Some(5), 5, [false, true, false, false]),
            (Some(6), 5, [false, true, false, true]),
            (Some(6), -5, [false, true, false, true]),
        ] {
            for (option, verdict) in ["nx", "XX", "gt", "Lt"].into_iter().zip(verdicts) {
                let allows = condition(&[option.as_bytes()]).unwrap().allows(present, at);
                assert_eq!(allows, verdict, "{option} with {present:?} and {at}");
            }
        }
    }

    #[test]
    fn conditions_that_exclude_each_other_are_refused() {
        for pair in [[b"NX", b"XX"], [b"GT", b"NX"], [b"NX", b"LT"]] {
            assert_eq!(condition(&[pair[0], pair[1]]).err(), Some(EXPIRE_NX_AND_OTHERS));
        }
        assert_eq!(condition(&[b"LT", b"GT"]).err(), Some(EXPIRE_GT_AND_LT));
        assert!(condition(&[b"XX", b"GT"]).is_ok_and(|condition| condition.allows(Some(1), 2)));
    }

    #[test]
    fn a_time_that_overflows_is_none() {
        assert_eq!(expiry_at(-3, Unit::Seconds, 1000), Some(-2000));
        assert_eq!(expiry_at(i64::MAX / 1000 + 1, Unit::Seconds, 0), None);
        assert_eq!(expiry_at(i64::MIN / 1000 - 1, Unit::Seconds, 5000), None);
        assert_eq!(expiry_at(i64::MAX, Unit::Milliseconds, 0), Some(i64::MAX));
        assert_eq!(expiry_at(i64::MAX, Unit::Milliseconds, 1), None);
    }
}
