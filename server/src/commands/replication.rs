//! ROLE, REPLICAOF, FAILOVER, WAIT and WAITAOF, as a master without replicas answers them.

use larder_protocol::{Args, Reply, parse_i64};

use super::command::*;
use super::parse::{integer, integer_or, is};
use crate::engine::Engine;
use crate::error::{
    AOF_DISABLED, Error, FAILOVER_TIMEOUT, MASTER_PORT_INVALID, NO_FAILOVER, NO_REPLICAS, NO_REPLICATION, NOT_POSITIVE,
    OUT_OF_RANGE_0_TO_1, Outcome, SYNTAX, TIMEOUT_NEGATIVE, TIMEOUT_NOT_INTEGER, TIMEOUT_OUT_OF_RANGE,
};
use crate::session::Session;

/// Redis's hints for commands that wait.
const WAIT_TIPS: &[&str] = &["request_policy:all_shards", "response_policy:agg_min"];

pub(super) const COMMANDS: &[Command] = &[
    Command::session("ROLE", Arity::exactly(0), role)
        .flags(NOSCRIPT | LOADING | STALE | FAST | DANGEROUS | ADMINISTRATION)
        .group(Group::Server)
        .since("2.8.12")
        .complexity("O(1)")
        .summary("Tells that the server is a master, and that it has no replicas.")
        .examples(&[("ROLE", "1) \"master\"\n2) (integer) 0\n3) (empty array)")]),
    Command::session("REPLICAOF", Arity::exactly(2), replicaof)
        .flags(ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING)
        .group(Group::Server)
        .since("5.0.0")
        .syntax("(host port) | (NO ONE)")
        .complexity("O(1)")
        .summary("With NO ONE, says that the server is to be a master, which it is. Anything else is refused.")
        .examples(&[
            ("REPLICAOF NO ONE", "OK"),
            ("REPLICAOF 10.0.0.1 6379", "(error) ERR replication is not supported"),
        ]),
    Command::session("SLAVEOF", Arity::exactly(2), replicaof)
        .flags(ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING)
        .group(Group::Server)
        .since("1.0.0")
        .deprecated("5.0.0", "`REPLICAOF`")
        .syntax("(host port) | (NO ONE)")
        .complexity("O(1)")
        .summary("Does what REPLICAOF does.")
        .examples(&[("SLAVEOF NO ONE", "OK")]),
    Command::session("FAILOVER", Arity::at_least(0), failover)
        .flags(ADMIN | NOSCRIPT | STALE)
        .group(Group::Server)
        .since("6.2.0")
        .syntax("[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]")
        .complexity("O(1)")
        .summary("Would put a replica in the server's place, of which there is none.")
        .examples(&[("FAILOVER", "(error) ERR FAILOVER requires connected replicas.")]),
    Command::session("WAIT", Arity::exactly(2), wait)
        .flags(BLOCKING | CONNECTION)
        .group(Group::Generic)
        .since("3.0.0")
        .syntax("numreplicas timeout")
        .complexity("O(1)")
        .summary("Answers how many replicas have what was written: none, at once if none are asked for, else after the time.")
        .tips(WAIT_TIPS)
        .examples(&[("WAIT 0 0", "(integer) 0"), ("WAIT 0 -1", "(error) ERR timeout is negative")]),
    Command::session("WAITAOF", Arity::exactly(3), waitaof)
        .flags(BLOCKING | CONNECTION)
        .group(Group::Generic)
        .since("7.2.0")
        .syntax("numlocal numreplicas timeout")
        .complexity("O(1)")
        .summary("Answers for this server and for replicas how many append-only files have what was written, as WAIT does.")
        .tips(WAIT_TIPS)
        .examples(&[
            (
                "WAITAOF 1 0 0",
                "(error) ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
            ),
        ]),
];

fn role(_: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    reply.array(3);
    reply.bulk(b"master");
    reply.int(0);
    reply.array(0);
    Ok(())
}

fn replicaof(_: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if is(args.at(1), "NO") && is(args.at(2), "ONE") {
        reply.ok();
        return Ok(());
    }
    let port = parse_i64(args.at(2)).filter(|port| (0..=65_535).contains(port));
    port.ok_or(MASTER_PORT_INVALID)?;
    Err(NO_REPLICATION)
}

fn failover(_: &Engine, _: &mut Session, args: Args<'_>, _: &mut Reply) -> Outcome {
    let mut words = args.from(1).iter();
    let (mut to, mut abort, mut force, mut timeout) = (false, false, false, false);
    while let Some(word) = words.next() {
        if is(word, "TIMEOUT") && !timeout {
            let milliseconds = integer(words.next().ok_or(SYNTAX)?)?;
            if milliseconds <= 0 {
                return Err(FAILOVER_TIMEOUT);
            }
            timeout = true;
        } else if is(word, "ABORT") && !abort && args.len() == 2 {
            abort = true;
        } else if is(word, "TO") && !to && words.len() >= 2 {
            integer(words.nth(1).ok_or(SYNTAX)?)?;
            to = true;
        } else if is(word, "FORCE") && !force {
            force = true;
        } else {
            return Err(SYNTAX);
        }
    }
    Err(if abort { NO_FAILOVER } else { NO_REPLICAS })
}

/// Until when WAIT or WAITAOF waits for what does not come, if the call is right and not satisfied at once; in
/// milliseconds since 1970.
pub(crate) fn waits_until(command: &Command, args: Args<'_>, now_ms: u64) -> Option<u64> {
    let (replicas, timeout) = match command.name {
        "WAIT" => (integer(args.at(1)).ok()?, timeout(args.at(2), now_ms).ok()?),
        "WAITAOF" => (waited_files(args).ok()?, timeout(args.at(3), now_ms).ok()?),
        _ => return None,
    };
    (replicas > 0).then_some(timeout.unwrap_or(u64::MAX))
}

/// When a time to wait is over, in milliseconds since 1970; `None` for never.
fn timeout(arg: &[u8], now_ms: u64) -> Result<Option<u64>, Error> {
    let timeout = u64::try_from(integer_or(arg, TIMEOUT_NOT_INTEGER)?).map_err(|_| TIMEOUT_NEGATIVE)?;
    let until = now_ms + timeout;
    if until > i64::MAX as u64 {
        return Err(TIMEOUT_OUT_OF_RANGE);
    }
    Ok((timeout > 0).then_some(until))
}

fn wait(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    integer(args.at(1))?;
    timeout(args.at(2), engine.clock().now_ms())?;
    reply.int(0);
    Ok(())
}

/// How many files of replicas WAITAOF asks for.
fn waited_files(args: Args<'_>) -> Result<i64, Error> {
    let local = integer_or(args.at(1), OUT_OF_RANGE_0_TO_1)?;
    if !(0..=1).contains(&local) {
        return Err(OUT_OF_RANGE_0_TO_1);
    }
    let replicas = integer_or(args.at(2), NOT_POSITIVE)?;
    if replicas < 0 {
        return Err(NOT_POSITIVE);
    }
    if local > 0 {
        return Err(AOF_DISABLED);
    }
    Ok(replicas)
}

fn waitaof(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let files = waited_files(args);
    // The time is looked at before what it is waited for.
    if files.is_ok() || files == Err(AOF_DISABLED) {
        timeout(args.at(3), engine.clock().now_ms())?;
    }
    files?;
    reply.array(2);
    // Redis takes a file that is not written at all for one that has everything.
    reply.int(1);
    reply.int(0);
    Ok(())
}
