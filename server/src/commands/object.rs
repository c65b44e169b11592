//! OBJECT and MEMORY: how a value is kept, how it has been used, what it costs.

use larder_protocol::{Args, Reply};
use larder_storage::index::Pos;
use larder_storage::table::Table;
use larder_storage::value::Value;
use larder_storage::word::{MAX_FREQUENCY, accesses};

use super::command::*;
use super::command_info::help;
use super::parse::{integer, is};
use crate::config::{MaxmemoryPolicy, Settings};
use crate::error::{FREQUENCY_NOT_TRACKED, IDLE_TIME_NOT_TRACKED, Outcome, SYNTAX};
use crate::locked::Locked;

pub(super) const COMMANDS: &[Command] = &[
    Command::container("OBJECT").since("2.2.3").complexity("Depends on the subcommand").summary("Looks into values."),
    Command::read("OBJECT|ENCODING", Arity::exactly(2), &[key(2, RO)], encoding)
        .since("2.2.3")
        .syntax("key")
        .complexity("O(1)").summary("Names the form in which a value is kept.")
        .tips(&["nondeterministic_output"])
        .examples(&[
            ("MSET a 1 b text", "OK"),
            ("OBJECT ENCODING a", "\"int\""),
            ("OBJECT ENCODING b", "\"embstr\""),
            ("ZADD z 1 one", "(integer) 1"),
            ("OBJECT ENCODING z", "\"listpack\""),
            ("OBJECT ENCODING c", "(nil)"),
        ]),
    Command::read("OBJECT|FREQ", Arity::exactly(2), &[key(2, RO)], freq)
        .since("4.0.0")
        .syntax("key")
        .complexity("O(1)").summary("Answers how often a key has been used, on a scale from 0 to 255, under an LFU eviction policy.")
        .tips(&["nondeterministic_output"])
        .examples(&[
            ("CONFIG SET maxmemory-policy allkeys-lfu", "OK"),
            ("OBJECT FREQ a", "(nil)"),
            ("CONFIG SET maxmemory-policy noeviction", "OK"),
        ]),
    Command::read("OBJECT|IDLETIME", Arity::exactly(2), &[key(2, RO)], idletime)
        .since("2.2.3")
        .syntax("key")
        .complexity("O(1)").summary("Answers for how many seconds, about, a key has not been used.")
        .tips(&["nondeterministic_output"])
        .examples(&[
            ("SET a 1", "OK"),
            ("OBJECT IDLETIME a", "(integer) 0"),
            ("OBJECT IDLETIME b", "(nil)"),
        ]),
    Command::read("OBJECT|REFCOUNT", Arity::exactly(2), &[key(2, RO)], refcount)
        .since("2.2.3")
        .syntax("key")
        .complexity("O(1)").summary("Answers how many keys a value serves: always 1, or what Redis says of a small integer.")
        .tips(&["nondeterministic_output"])
        .examples(&[
            ("MSET a text b 7", "OK"),
            ("OBJECT REFCOUNT a", "(integer) 1"),
            ("OBJECT REFCOUNT b", "(integer) 2147483647"),
        ]),
    Command::session("OBJECT|HELP", Arity::exactly(1), help)
        .flags(LOADING | STALE)
        .since("6.2.0")
        .complexity("O(1)").summary("Lists the subcommands of OBJECT.")
        .examples(&[("OBJECT HELP me", "(error) ERR wrong number of arguments for 'object|help' command")]),
    Command::container("MEMORY")
        .group(Group::Server)
        .since("4.0.0")
        .complexity("Depends on the subcommand")
        .summary("Tells what is known of the use of memory."),
    Command::read("MEMORY|USAGE", Arity::at_least(2), &[key(2, RO)], usage)
        .group(Group::Server)
        .since("4.0.0")
        .syntax("key [SAMPLES count]")
        .complexity("O(1)").summary("Answers the bytes that a key takes with its value and its share of the index. It is exact, and SAMPLES has no effect.")
        .examples(&[
            ("MEMORY USAGE a", "(nil)"),
            ("MEMORY USAGE a SAMPLES -1", "(error) ERR syntax error"),
            ("MEMORY USAGE a SAMPLES few", "(error) ERR value is not an integer or out of range"),
        ]),
    Command::session("MEMORY|HELP", Arity::exactly(1), help)
        .flags(LOADING | STALE)
        .group(Group::Server)
        .since("4.0.0")
        .complexity("O(1)").summary("Lists the subcommands of MEMORY.")
        .examples(&[("MEMORY HELP me", "(error) ERR wrong number of arguments for 'memory|help' command")]),
];

/// A key's table and place for OBJECT: it counts as a hit or a miss, but is no access and tells no listener.
fn inspect<'l>(locked: &'l mut Locked<'_>, key: &[u8]) -> Option<(&'l mut Table, Pos)> {
    let stats = locked.stats();
    let found = locked.place(key);
    if found.is_some() {
        stats.hit()
    } else {
        stats.miss()
    }
    found
}

fn encoding(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    match inspect(locked, args.at(2)) {
        Some((table, pos)) => reply.bulk(table.entry(pos).value().encoding().as_bytes()),
        None => reply.null(),
    }
    Ok(())
}

fn refcount(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    /// What Redis answers for a value that all keys share.
    const SHARED: i64 = i32::MAX as i64;
    let shares_integers = shares_integers(locked.engine().settings());
    match inspect(locked, args.at(2)) {
        Some((table, pos)) => match table.entry(pos).value() {
            Value::Int(0..=9999) if shares_integers => reply.int(SHARED),
            _ => reply.int(1),
        },
        None => reply.null(),
    }
    Ok(())
}

/// Whether Redis would keep one object per small integer: not when each key needs an access history of its own.
fn shares_integers(settings: &Settings) -> bool {
    use MaxmemoryPolicy::{AllkeysLru, VolatileLru};
    let policy = settings.maxmemory_policy.get();
    settings.maxmemory.get() == 0 || !(matches!(policy, AllkeysLru | VolatileLru) || tracks_frequency(policy))
}

pub(super) fn is_lfu(policy: MaxmemoryPolicy) -> bool {
    matches!(policy, MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu)
}

/// Whether OBJECT FREQ has an answer. Under the adaptive policies it has, and OBJECT IDLETIME too.
pub(super) fn tracks_frequency(policy: MaxmemoryPolicy) -> bool {
    is_lfu(policy) || matches!(policy, MaxmemoryPolicy::AllkeysAdaptive | MaxmemoryPolicy::VolatileAdaptive)
}

fn freq(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let engine = locked.engine();
    let settings = engine.settings();
    match inspect(locked, args.at(2)) {
        Some(_) if !tracks_frequency(settings.maxmemory_policy.get()) => return Err(FREQUENCY_NOT_TRACKED),
        Some((table, pos)) => {
            let word = table.word(pos);
            let counter = redis_counter(accesses(word.frequency()), settings.lfu_log_factor.get());
            let idle_minutes = engine.idle_seconds(word.age(engine.keyspace().tick())) / 60;
            let lost = idle_minutes.checked_div(settings.lfu_decay_time.get()).unwrap_or_default();
            reply.int(i64::from(counter).saturating_sub_unsigned(lost).max(0));
        }
        None => reply.null(),
    }
    Ok(())
}

/// What Redis's counter of a new key is.
const NEW: u8 = 5;

/// Redis's counter after so many accesses, as it is expected to be: from `c` on the next step takes `(c - 5) * factor + 1` of them.
fn redis_counter(accesses: u32, factor: u64) -> u8 {
    // What so many steps take is `factor * steps * (steps - 1) / 2 + steps`.
    let (factor, accesses) = (factor as f64, f64::from(accesses));
    let less = factor - 2.0;
    let steps = match (factor, accesses) {
        (0.0, _) | (_, 0.0) => accesses,
        _ => (less + (less * less + 8.0 * factor * accesses).sqrt()) / (2.0 * factor),
    };
    (f64::from(NEW) + steps).round().min(u8::MAX.into()) as u8
}

/// The lowest frequency that stands for a counter of Redis, or for as much less as there is one for.
pub(super) fn own_frequency(counter: u8, factor: u64) -> u8 {
    let on_scale = |frequency| redis_counter(accesses(frequency), factor);
    let highest = (0..MAX_FREQUENCY).take_while(|below| on_scale(below + 1) <= counter).count() as u8;
    (0..highest).find(|lower| on_scale(*lower) == on_scale(highest)).unwrap_or(highest)
}

fn idletime(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let engine = locked.engine();
    match inspect(locked, args.at(2)) {
        Some(_) if is_lfu(engine.settings().maxmemory_policy.get()) => {
            return Err(IDLE_TIME_NOT_TRACKED);
        }
        Some((table, pos)) => {
            let age = table.word(pos).age(engine.keyspace().tick());
            reply.int(engine.idle_seconds(age) as i64);
        }
        None => reply.null(),
    }
    Ok(())
}

fn usage(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let mut options = args.from(3).iter();
    while let Some(option) = options.next() {
        let samples = options.next().filter(|_| is(option, "SAMPLES")).ok_or(SYNTAX)?;
        if integer(samples)? < 0 {
            return Err(SYNTAX);
        }
    }
    match locked.place(args.at(2)) {
        Some((table, pos)) => reply.int(table.memory_of(pos) as i64),
        None => reply.null(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_what_redis_expects() {
        // The table in redis.conf, and what follows from its factors.
        for (factor, accesses, counter) in [
            (10, 0, 5),
            (10, 1, 6),
            (0, 100, 105),
            (0, 1000, 255),
            (1, 100, 19),
            (1, 1000, 49),
            (10, 100, 10),
            (10, 1000, 20),
            (10, 100_000, 147),
            (100, 100_000, 50),
        ] {
            assert_eq!(redis_counter(accesses, factor), counter, "{accesses} by {factor}");
        }
        for factor in [0, 1, 2, 10, 100, i32::MAX as u64] {
            let scale: Vec<u8> = (0..=MAX_FREQUENCY).map(|own| redis_counter(accesses(own), factor)).collect();
            assert!(scale.is_sorted() && scale[..2] == [5, 6], "{factor}: {scale:?}");
            for counter in 5..=255 {
                let read_back = redis_counter(accesses(own_frequency(counter, factor)), factor);
                assert_eq!(read_back, *scale.iter().rfind(|step| **step <= counter).unwrap(), "{counter} by {factor}");
            }
            assert_eq!((own_frequency(0, factor), own_frequency(5, factor)), (0, 0));
        }
    }
}
