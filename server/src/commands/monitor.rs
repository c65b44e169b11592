//! MONITOR and SLOWLOG: which commands run, and which took long.

use larder_protocol::{Args, Reply};

use super::command::*;
use super::command_info::help;
use super::parse::integer_or;
use crate::engine::Engine;
use crate::error::{Error, MONITOR_DENIED, Outcome, SLOWLOG_COUNT, subcommand_or_arity};
use crate::session::Session;
use crate::slowlog::SlowCall;

/// What the subcommands of SLOWLOG have in common.
const USUAL: u32 = ADMIN | LOADING | STALE;
/// Calls that SLOWLOG GET answers unless it is told how many.
const USUAL_COUNT: usize = 10;

pub(super) const COMMANDS: &[Command] = &[
    Command::session("MONITOR", Arity::exactly(0), monitor)
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .group(Group::Server)
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Shows the connection every command that runs from now on, until RESET. Only for connections with a socket.")
        .examples(&[("MONITOR", "(error) ERR MONITOR isn't allowed for DENY BLOCKING client")]),
    Command::container("SLOWLOG")
        .group(Group::Server)
        .since("2.2.12")
        .complexity("Depends on the subcommand")
        .summary("Tells which commands took long."),
    Command::session("SLOWLOG|GET", Arity::at_least(1), get)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.2.12")
        .syntax("[count]")
        .complexity("O(N) for N calls")
        .summary("Answers the latest calls of the slow log: their number, time, microseconds, arguments, and whose they were.")
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .examples(&[
            ("SLOWLOG GET", "(empty array)"),
            ("SLOWLOG GET -2", "(error) ERR count should be greater than or equal to -1"),
        ]),
    Command::session("SLOWLOG|LEN", Arity::exactly(1), len)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.2.12")
        .complexity("O(1)")
        .summary("Counts the calls of the slow log.")
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
        .examples(&[("SLOWLOG LEN", "(integer) 0")]),
    Command::session("SLOWLOG|RESET", Arity::exactly(1), reset)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.2.12")
        .complexity("O(N) for N calls")
        .summary("Empties the slow log.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .examples(&[("SLOWLOG RESET", "OK")]),
    Command::session("SLOWLOG|HELP", Arity::exactly(1), help)
        .flags(LOADING | STALE)
        .group(Group::Server)
        .since("6.2.0")
        .complexity("O(1)")
        .summary("Lists the subcommands of SLOWLOG."),
];

fn monitor(engine: &Engine, session: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    if session.executes || !session.client.addresses.has_socket() {
        return Err(MONITOR_DENIED);
    }
    if !session.monitors {
        session.monitors = true;
        engine.monitor(&session.client);
        reply.ok();
    }
    Ok(())
}

fn get(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if args.len() > 3 {
        return Err(subcommand_or_arity("SLOWLOG", args.at(1)));
    }
    let calls = engine.observers.slowlog.latest(args.get(2).map_or(Ok(USUAL_COUNT), count)?);
    reply.array(calls.len());
    calls.iter().for_each(|call| write_call(call, reply));
    Ok(())
}

/// How many calls are asked for; -1 is all.
fn count(arg: &[u8]) -> Result<usize, Error> {
    match integer_or(arg, SLOWLOG_COUNT)? {
        -1 => Ok(usize::MAX),
        count => usize::try_from(count).map_err(|_| SLOWLOG_COUNT),
    }
}

fn write_call(call: &SlowCall, reply: &mut Reply) {
    reply.array(6);
    reply.int(call.id as i64);
    reply.int(call.at as i64);
    reply.int(call.time.as_micros() as i64);
    reply.array(call.args.len());
    call.args.iter().for_each(|arg| reply.bulk(arg));
    reply.bulk(call.peer.as_bytes());
    reply.bulk(&call.name);
}

fn len(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    reply.int(engine.observers.slowlog.len() as i64);
    Ok(())
}

fn reset(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    engine.observers.slowlog.clear();
    reply.ok();
    Ok(())
}
