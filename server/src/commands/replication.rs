//! ROLE, REPLICAOF, FAILOVER, WAIT and WAITAOF, as a master without replicas answers them.

use larder_protocol::{Args, Reply, parse_i64};
use larder_storage::value::Kind;

use super::command::*;
use super::parse::{integer, integer_or, is, limit_after};
use crate::engine::Engine;
use crate::error::{
    AOF_DISABLED, Error, FAILOVER_TIMEOUT, MASTER_PORT_INVALID, NO_FAILOVER, NO_REPLICAS, NO_REPLICATION, NOT_POSITIVE,
    OUT_OF_RANGE_0_TO_1, Outcome, SYNTAX, TIMEOUT_NOT_INTEGER,
};
use crate::locked::Locked;
use crate::session::Session;
use crate::wait::{Park, Step};

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
    Command::wait("WAIT", Arity::exactly(2), &[], wait)
        .flags(CONNECTION)
        .group(Group::Generic)
        .since("3.0.0")
        .syntax("numreplicas timeout")
        .complexity("O(1)")
        .summary("Answers how many replicas have what was written: none, at once if none are asked for, else after the time.")
        .tips(WAIT_TIPS)
        .examples(&[("WAIT 0 0", "(integer) 0"), ("WAIT 0 -1", "(error) ERR timeout is negative")]),
    Command::wait("WAITAOF", Arity::exactly(3), &[], waitaof)
        .flags(CONNECTION)
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

/// The time limit of a command that waits for replicas, in milliseconds.
fn limit(arg: &[u8], now: u64) -> Result<Option<u64>, Error> {
    limit_after(integer_or(arg, TIMEOUT_NOT_INTEGER)?, now)
}

/// Answers at once if no replica is asked for, else at the time limit: none ever comes.
fn without_replicas(asked: i64, until: Option<u64>, answer: fn(&mut Reply), reply: &mut Reply) -> Step {
    if asked > 0 {
        let park = Park { keys: 0, at_once: answer, on_timeout: answer, ..Park::until(until, Kind::String) };
        return Step::Park(park);
    }
    answer(reply);
    Step::Done
}

fn wait(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Result<Step, Error> {
    let replicas = integer(args.at(1))?;
    let until = limit(args.at(2), locked.now)?;
    Ok(without_replicas(replicas, until, |reply| reply.int(0), reply))
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

fn waitaof(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Result<Step, Error> {
    let files = waited_files(args);
    // The time is looked at before what it is waited for.
    let is_asked = files.is_ok() || files == Err(AOF_DISABLED);
    let until = if is_asked { limit(args.at(3), locked.now)? } else { None };
    let answer = |reply: &mut Reply| {
        reply.array(2);
        reply.int(0);
        reply.int(0);
    };
    Ok(without_replicas(files?, until, answer, reply))
}
