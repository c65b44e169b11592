//! Strings as wholes: the SET and GET families. Parts of strings are in `strings_ranges`, counters
//! in `strings_numeric`.
//!
//! GET and the plain SET are what a cache mostly does, so they do nothing twice: GET copies the
//! bytes once, from the entry into the reply, or hands a long value over by reference; SET looks its
//! key up once.
//!
//! Options that depend on the moment or on the key are resolved in what repeats a change elsewhere:
//! it is `SET key value`, with `PXAT` or `KEEPTTL` where it has to be.

use larder_protocol::{Args, Iter, Reply, SHARED_MIN};
use larder_storage::table::Expiry;
use larder_storage::value::{Content, Value};

use super::command::*;
use super::parse::{integer, is};
use crate::config::KeyspaceEvents as Class;
use crate::error::{Error, Outcome, SYNTAX, WRONG_TYPE, invalid_expire, wrong_arity};
use crate::locked::Locked;

pub(super) const COMMANDS: &[Command] = &[
    Command::write(
        "SET",
        Arity::at_least(2),
        &[key(1, RW | ACCESS | UPDATE | VARIABLE).notes("RW and ACCESS due to the optional `GET` argument")],
        set,
    )
    .flags(DENYOOM)
    .group(Group::String)
    .syntax(
        "key value [NX | XX] [GET] \
         [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
    )
    .since("1.0.0")
    .complexity("O(1)")
    .summary("Stores a string, whatever the key held, with conditions and an expiry on request.")
    .examples(&[
        ("SET city Oslo", "OK"),
        ("SET city Bergen NX", "(nil)"),
        ("SET city Bergen XX GET EX 100", "\"Oslo\""),
        ("SET city Tromso KEEPTTL", "OK"),
        ("TTL city", "(integer) 100"),
        ("SET city Oslo EX 0", "(error) ERR invalid expire time in 'set' command"),
    ]),
    Command::read("GET", Arity::exactly(1), &[key(1, RO | ACCESS)], get)
        .flags(FAST)
        .group(Group::String)
        .syntax("key")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Answers the string that a key holds.")
        .examples(&[("SET city Oslo", "OK"), ("GET city", "\"Oslo\""), ("GET nobody", "(nil)")]),
    Command::write(
        "GETEX",
        Arity::at_least(1),
        &[key(1, RW | ACCESS | UPDATE).notes("RW and UPDATE because it changes the TTL")],
        getex,
    )
    .flags(FAST)
    .group(Group::String)
    .syntax("key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]")
    .since("6.2.0")
    .complexity("O(1)")
    .summary("Answers the string that a key holds, and sets or removes the key's expiry.")
    .examples(&[
        ("SET city Oslo", "OK"),
        ("GETEX city EX 100", "\"Oslo\""),
        ("TTL city", "(integer) 100"),
        ("GETEX city PERSIST", "\"Oslo\""),
        ("TTL city", "(integer) -1"),
    ]),
    Command::write("GETDEL", Arity::exactly(1), &[key(1, RW | ACCESS | DELETE)], getdel)
        .flags(FAST)
        .group(Group::String)
        .syntax("key")
        .since("6.2.0")
        .complexity("O(1)")
        .summary("Answers the string that a key holds, and deletes the key.")
        .examples(&[("SET city Oslo", "OK"), ("GETDEL city", "\"Oslo\""), ("GETDEL city", "(nil)")]),
    Command::write("GETSET", Arity::exactly(2), &[key(1, RW | ACCESS | UPDATE)], getset)
        .flags(DENYOOM | FAST)
        .group(Group::String)
        .syntax("key value")
        .deprecated("6.2.0", "SET with GET")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Stores a string under a key, and answers the one that it held before.")
        .examples(&[("GETSET city Oslo", "(nil)"), ("GETSET city Bergen", "\"Oslo\""), ("GET city", "\"Bergen\"")]),
    Command::write("SETEX", Arity::exactly(3), &[key(1, OW | UPDATE)], setex)
        .flags(DENYOOM)
        .group(Group::String)
        .syntax("key seconds value")
        .deprecated("2.6.12", "SET with EX")
        .since("2.0.0")
        .complexity("O(1)")
        .summary("Stores a string under a key that expires after some seconds.")
        .examples(&[
            ("SETEX city 100 Oslo", "OK"),
            ("TTL city", "(integer) 100"),
            ("SETEX city soon Oslo", "(error) ERR value is not an integer or out of range"),
        ]),
    Command::write("PSETEX", Arity::exactly(3), &[key(1, OW | UPDATE)], psetex)
        .flags(DENYOOM)
        .group(Group::String)
        .syntax("key milliseconds value")
        .deprecated("2.6.12", "SET with PX")
        .since("2.6.0")
        .complexity("O(1)")
        .summary("Stores a string under a key that expires after some milliseconds.")
        .examples(&[
            ("PSETEX city 100000 Oslo", "OK"),
            ("TTL city", "(integer) 100"),
            ("PSETEX city 0 Oslo", "(error) ERR invalid expire time in 'psetex' command"),
        ]),
    Command::write("SETNX", Arity::exactly(2), &[key(1, OW | INSERT)], setnx)
        .flags(DENYOOM | FAST)
        .group(Group::String)
        .syntax("key value")
        .deprecated("2.6.12", "SET with NX")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Stores a string under a key, unless the key exists.")
        .examples(&[
            ("SETNX city Oslo", "(integer) 1"),
            ("SETNX city Bergen", "(integer) 0"),
            ("GET city", "\"Oslo\""),
        ]),
    Command::write("MSET", Arity::at_least(2), &[keys(1, 2, OW | UPDATE)], mset)
        .flags(DENYOOM)
        .group(Group::String)
        .syntax("(key value)...")
        .since("1.0.1")
        .summary("Stores strings under several keys at once.")
        .complexity("O(N) where N is the number of keys")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .examples(&[
            ("MSET north Tromso south Oslo", "OK"),
            ("MGET north south", "1) \"Tromso\"\n2) \"Oslo\""),
            ("MSET north Tromso south", "(error) ERR wrong number of arguments for 'mset' command"),
        ]),
    Command::write("MSETNX", Arity::at_least(2), &[keys(1, 2, OW | INSERT)], msetnx)
        .flags(DENYOOM)
        .group(Group::String)
        .syntax("(key value)...")
        .since("1.0.1")
        .summary("Stores strings under several keys at once, or none if one of the keys exists.")
        .complexity("O(N) where N is the number of keys")
        .examples(&[
            ("MSETNX north Tromso south Oslo", "(integer) 1"),
            ("MSETNX south Bergen west Bergen", "(integer) 0"),
            ("MGET south west", "1) \"Oslo\"\n2) (nil)"),
        ]),
    Command::read("MGET", Arity::at_least(1), &[keys(1, 1, RO | ACCESS)], mget)
        .flags(FAST)
        .group(Group::String)
        .syntax("key...")
        .since("1.0.0")
        .summary("Answers the strings that several keys hold, with null for each that holds none.")
        .complexity("O(N) where N is the number of keys")
        .tips(&["request_policy:multi_shard"])
        .examples(&[("SET north Tromso", "OK"), ("MGET north south", "1) \"Tromso\"\n2) (nil)")]),
];

fn get(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    match locked.read(args.at(1)) {
        Some(entry) => answer(entry.value(), reply),
        None => {
            reply.null();
            Ok(())
        }
    }
}

fn set(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if args.len() > 3 {
        return set_with_options(locked, args, reply);
    }
    let key = args.at(1);
    locked.set(key, Content::string(args.at(2)), Expiry::Set(None))?;
    locked.changed(Class::STRING, "set", key);
    reply.ok();
    Ok(())
}

fn set_with_options(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let options = SetOptions::parse(args.from(3))?;
    let expiry = options.lifetime.expiry(locked.now, "set")?;
    let key = args.at(1);
    let found = if options.get { answer_or_null(locked, key, reply)? } else { locked.look(key).is_some() };
    if options.condition.allows(found) {
        store(locked, key, args.at(2), expiry)?;
        if !options.get {
            reply.ok();
        }
    } else if !options.get {
        reply.null();
    }
    Ok(())
}

fn setnx(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let key = args.at(1);
    let absent = locked.look(key).is_none();
    if absent {
        store(locked, key, args.at(2), Expiry::Set(None))?;
    }
    reply.int(absent.into());
    Ok(())
}

fn setex(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    set_with_lifetime(locked, args, Lifetime::Until(Unit::Ex, args.at(2)), "setex", reply)
}

fn psetex(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    set_with_lifetime(locked, args, Lifetime::Until(Unit::Px, args.at(2)), "psetex", reply)
}

fn set_with_lifetime(
    locked: &mut Locked<'_>,
    args: Args<'_>,
    lifetime: Lifetime<'_>,
    name: &str,
    reply: &mut Reply,
) -> Outcome {
    let expiry = lifetime.expiry(locked.now, name)?;
    store(locked, args.at(1), args.at(3), expiry)?;
    reply.ok();
    Ok(())
}

fn getset(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let key = args.at(1);
    answer_or_null(locked, key, reply)?;
    store(locked, key, args.at(2), Expiry::Set(None))
}

fn getdel(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let key = args.at(1);
    if answer_or_null(locked, key, reply)? {
        delete(locked, key);
    }
    Ok(())
}

fn getex(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let lifetime = Lifetime::parse(args.from(2))?;
    let key = args.at(1);
    let Some(entry) = locked.read(key) else {
        reply.null();
        return Ok(());
    };
    let expires = entry.expiry().is_some();
    answer(entry.value(), reply)?;
    match lifetime {
        Lifetime::Until(unit, time) => {
            let at = unit.deadline(time, locked.now, "getex")?;
            if at <= locked.now {
                delete(locked, key);
                return Ok(());
            }
            locked.set_expiry(key, Some(at))?;
            locked.changed(Class::GENERIC, "expire", key);
            locked.replay(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at).as_bytes()]);
        }
        Lifetime::Persist if expires => {
            locked.set_expiry(key, None)?;
            locked.changed(Class::GENERIC, "persist", key);
            locked.replay(&[b"PERSIST", key]);
        }
        _ => {}
    }
    Ok(())
}

fn mget(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    reply.array(args.len() - 1);
    for key in args.from(1) {
        let answered = locked.read(key).is_some_and(|entry| answer(entry.value(), reply).is_ok());
        if !answered {
            reply.null();
        }
    }
    Ok(())
}

fn mset(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(wrong_arity("mset"));
    }
    set_pairs(locked, args)?;
    reply.ok();
    Ok(())
}

fn msetnx(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(wrong_arity("msetnx"));
    }
    let found = args.from(1).iter().step_by(2).any(|key| locked.look(key).is_some());
    if !found {
        set_pairs(locked, args)?;
    }
    reply.int((!found).into());
    Ok(())
}

fn set_pairs(locked: &mut Locked<'_>, args: Args<'_>) -> Outcome {
    let mut words = args.from(1).iter();
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        locked.set(key, Content::string(value), Expiry::Set(None))?;
        locked.changed(Class::STRING, "set", key);
    }
    Ok(())
}

/// Answers a string; a long one is not copied. Nothing is written if the value is of another type.
#[inline(always)]
fn answer(value: Value<'_>, reply: &mut Reply) -> Outcome {
    match value {
        Value::Str { bytes, .. } => reply.bulk(bytes),
        Value::Int(number) => reply.bulk_int(number),
        Value::Big(string) if string.bytes().len() >= SHARED_MIN => reply.bulk_shared(string.shared()),
        Value::Big(string) => reply.bulk(string.bytes()),
        _ => return Err(WRONG_TYPE),
    }
    Ok(())
}

/// Answers the string that a key holds, or null; whether the key is there.
fn answer_or_null(locked: &mut Locked<'_>, key: &[u8], reply: &mut Reply) -> Result<bool, Error> {
    match locked.read(key) {
        Some(entry) => answer(entry.value(), reply).map(|()| true),
        None => {
            reply.null();
            Ok(false)
        }
    }
}

/// Stores a string, with the effects of SET.
fn store(locked: &mut Locked<'_>, key: &[u8], value: &[u8], expiry: Expiry) -> Outcome {
    locked.set(key, Content::string(value), expiry)?;
    locked.changed(Class::STRING, "set", key);
    match expiry {
        Expiry::Set(None) => locked.replay(&[b"SET", key, value]),
        Expiry::Keep => locked.replay(&[b"SET", key, value, b"KEEPTTL"]),
        Expiry::Set(Some(at)) => {
            locked.replay(&[b"SET", key, value, b"PXAT", itoa::Buffer::new().format(at).as_bytes()]);
            locked.note(Class::GENERIC, "expire", key);
        }
    }
    Ok(())
}

/// Deletes a key that is there, with the effects of DEL.
fn delete(locked: &mut Locked<'_>, key: &[u8]) {
    locked.remove(key);
    locked.changed(Class::GENERIC, "del", key);
    locked.replay(&[b"DEL", key]);
}

/// What SET asks of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    None,
    /// NX
    Absent,
    /// XX
    Present,
}

impl Condition {
    fn allows(self, found: bool) -> bool {
        match self {
            Self::None => true,
            Self::Absent => !found,
            Self::Present => found,
        }
    }
}

/// How EX, PX, EXAT and PXAT give a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Ex,
    Px,
    ExAt,
    PxAt,
}

impl Unit {
    fn named(word: &[u8]) -> Option<Self> {
        let names = [("EX", Self::Ex), ("PX", Self::Px), ("EXAT", Self::ExAt), ("PXAT", Self::PxAt)];
        names.into_iter().find(|(name, _)| is(word, name)).map(|(_, unit)| unit)
    }

    /// The time meant, in milliseconds since 1970; `name` is the command's, for the error.
    fn deadline(self, time: &[u8], now: u64, name: &str) -> Result<u64, Error> {
        let time = integer(time)?;
        let in_milliseconds = match self {
            Self::Ex | Self::ExAt => time.checked_mul(1000),
            Self::Px | Self::PxAt => Some(time),
        };
        let from_epoch = in_milliseconds.filter(|time| *time > 0).and_then(|time| match self {
            Self::Ex | Self::Px => time.checked_add_unsigned(now),
            Self::ExAt | Self::PxAt => Some(time),
        });
        from_epoch.map(i64::unsigned_abs).ok_or_else(|| invalid_expire(name))
    }
}

/// What the options say of the key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifetime<'a> {
    /// Nothing.
    Unsaid,
    /// KEEPTTL
    Keep,
    /// PERSIST
    Persist,
    /// EX and its like; the time is not yet looked at, because GETEX finds other errors first.
    Until(Unit, &'a [u8]),
}

impl<'a> Lifetime<'a> {
    /// The options of GETEX.
    fn parse(options: Args<'a>) -> Result<Self, Error> {
        let mut lifetime = Self::Unsaid;
        let mut words = options.iter();
        while let Some(word) = words.next() {
            let said = if is(word, "PERSIST") { Self::Persist } else { Self::until(word, &mut words)? };
            lifetime.refine(said)?;
        }
        Ok(lifetime)
    }

    /// An option that is followed by a time.
    fn until(word: &[u8], rest: &mut Iter<'a>) -> Result<Self, Error> {
        let unit = Unit::named(word).ok_or(SYNTAX)?;
        rest.next().map(|time| Self::Until(unit, time)).ok_or(SYNTAX)
    }

    /// Takes a further option in: one may be repeated, and its last time counts, but two exclude
    /// each other.
    fn refine(&mut self, said: Self) -> Outcome {
        let agrees = match (*self, said) {
            (Self::Unsaid, _) => true,
            (Self::Until(before, _), Self::Until(after, _)) => before == after,
            (before, after) => before == after,
        };
        *self = said;
        if agrees { Ok(()) } else { Err(SYNTAX) }
    }

    /// The expiry of a value that is stored.
    fn expiry(self, now: u64, name: &str) -> Result<Expiry, Error> {
        Ok(match self {
            Self::Unsaid | Self::Persist => Expiry::Set(None),
            Self::Keep => Expiry::Keep,
            Self::Until(unit, time) => Expiry::Set(Some(unit.deadline(time, now, name)?)),
        })
    }
}

/// The options of SET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SetOptions<'a> {
    condition: Condition,
    /// Whether the value before is answered.
    get: bool,
    lifetime: Lifetime<'a>,
}

impl<'a> SetOptions<'a> {
    fn parse(options: Args<'a>) -> Result<Self, Error> {
        let mut parsed = Self { condition: Condition::None, get: false, lifetime: Lifetime::Unsaid };
        let mut words = options.iter();
        while let Some(word) = words.next() {
            if is(word, "NX") && parsed.condition != Condition::Present {
                parsed.condition = Condition::Absent;
            } else if is(word, "XX") && parsed.condition != Condition::Absent {
                parsed.condition = Condition::Present;
            } else if is(word, "GET") {
                parsed.get = true;
            } else if is(word, "KEEPTTL") {
                parsed.lifetime.refine(Lifetime::Keep)?;
            } else {
                parsed.lifetime.refine(Lifetime::until(word, &mut words)?)?;
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::NOT_AN_INTEGER;
    use larder_protocol::OwnedArgs;

    fn words(line: &str) -> OwnedArgs {
        OwnedArgs::from_slices(&line.split_whitespace().map(str::as_bytes).collect::<Vec<_>>())
    }

    #[track_caller]
    fn check_set(line: &str, expected: (Condition, bool, Lifetime<'_>)) {
        let (condition, get, lifetime) = expected;
        assert_eq!(SetOptions::parse(words(line).as_args()), Ok(SetOptions { condition, get, lifetime }), "{line}");
    }

    #[test]
    fn options_of_set_are_read_in_any_order_and_case() {
        check_set("", (Condition::None, false, Lifetime::Unsaid));
        check_set("get nx", (Condition::Absent, true, Lifetime::Unsaid));
        check_set("KeepTTL XX", (Condition::Present, false, Lifetime::Keep));
        check_set("px 5 GET", (Condition::None, true, Lifetime::Until(Unit::Px, b"5")));
        check_set("EXAT EXAT", (Condition::None, false, Lifetime::Until(Unit::ExAt, b"EXAT")));
    }

    #[test]
    fn an_option_may_be_repeated() {
        check_set("NX NX GET GET", (Condition::Absent, true, Lifetime::Unsaid));
        check_set("KEEPTTL KEEPTTL", (Condition::None, false, Lifetime::Keep));
        check_set("EX 1 EX 2", (Condition::None, false, Lifetime::Until(Unit::Ex, b"2")));
    }

    #[test]
    fn options_of_set_that_exclude_each_other_are_refused() {
        for line in
            ["NX XX", "XX NX", "EX 1 PX 1", "PXAT 1 EXAT 1", "KEEPTTL EX 1", "EX 1 KEEPTTL", "EX", "PERSIST", "X"]
        {
            assert_eq!(SetOptions::parse(words(line).as_args()), Err(SYNTAX), "{line}");
        }
    }

    #[test]
    fn options_of_getex_are_one_at_most() {
        for line in ["NX", "GET", "KEEPTTL", "PERSIST EX 1", "EX 1 PERSIST", "EX 1 EXAT 1", "PXAT"] {
            assert_eq!(Lifetime::parse(words(line).as_args()), Err(SYNTAX), "{line}");
        }
        assert_eq!(Lifetime::parse(words("persist PERSIST").as_args()), Ok(Lifetime::Persist));
        assert_eq!(Lifetime::parse(words("").as_args()), Ok(Lifetime::Unsaid));
    }

    #[test]
    fn times_become_milliseconds_since_1970() {
        let check = |unit: Unit, time: &str, at: u64| assert_eq!(unit.deadline(time.as_bytes(), 5000, "set"), Ok(at));
        check(Unit::Ex, "2", 7000);
        check(Unit::Px, "2", 5002);
        check(Unit::ExAt, "2", 2000);
        check(Unit::PxAt, "2", 2);
        check(Unit::PxAt, "9223372036854775807", i64::MAX as u64);
    }

    #[test]
    fn times_that_cannot_be_are_refused() {
        let check = |unit: Unit, time: &str| {
            assert_eq!(unit.deadline(time.as_bytes(), 5000, "set"), Err(invalid_expire("set")), "{time}");
        };
        check(Unit::Px, "0");
        check(Unit::ExAt, "-1");
        check(Unit::Ex, "9223372036854775");
        check(Unit::ExAt, "9223372036854776");
        check(Unit::Ex, "-9223372036854775808");
        check(Unit::Px, "9223372036854775807");
        assert_eq!(Unit::Px.deadline(b"1.5", 5000, "set"), Err(NOT_AN_INTEGER));
    }
}
