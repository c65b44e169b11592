//! LATENCY: what took long and when, and how the times of each command are distributed.

use larder_protocol::{Args, Reply};

use super::command::*;
use super::command_info::help;
use super::table::TABLE;
use crate::engine::Engine;
use crate::error::{Outcome, no_samples};
use crate::session::Session;

/// What the subcommands have in common.
const USUAL: u32 = ADMIN | NOSCRIPT | LOADING | STALE;
/// Redis's hints for those that tell something.
const TIPS: &[&str] = &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

pub(super) const COMMANDS: &[Command] = &[
    Command::container("LATENCY")
        .group(Group::Server)
        .since("2.8.13")
        .complexity("Depends on the subcommand")
        .summary("Tells what took long, and how long commands take."),
    Command::session("LATENCY|DOCTOR", Arity::exactly(1), doctor)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.8.13")
        .complexity("O(1)")
        .summary("Tells in sentences what took long.")
        .tips(TIPS),
    Command::session("LATENCY|GRAPH", Arity::exactly(2), graph)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.8.13")
        .syntax("event")
        .complexity("O(1)")
        .summary("Draws the history of an event.")
        .tips(TIPS)
        .examples(&[("LATENCY GRAPH command", "(error) ERR No samples available for event 'command'")]),
    Command::session("LATENCY|HISTOGRAM", Arity::at_least(1), histogram)
        .flags(USUAL)
        .group(Group::Server)
        .since("7.0.0")
        .syntax("[command...]")
        .complexity("O(N) for N commands")
        .summary(
            "Answers for some or all commands how many calls took up to 1, 2, 4, ... microseconds. Of quick commands some \
             calls are timed, which stand for the others.",
        )
        .tips(TIPS)
        .examples(&[("LATENCY HISTOGRAM no-such-command", "(empty array)")]),
    Command::session("LATENCY|HISTORY", Arity::exactly(2), history)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.8.13")
        .syntax("event")
        .complexity("O(1)")
        .summary("Answers when an event took long and how many milliseconds, up to 160 times.")
        .tips(TIPS)
        .examples(&[("LATENCY HISTORY command", "(empty array)")]),
    Command::session("LATENCY|LATEST", Arity::exactly(1), latest)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.8.13")
        .complexity("O(1)")
        .summary("Answers for each event when it last took long, the milliseconds, and the most ever.")
        .tips(TIPS)
        .examples(&[("LATENCY LATEST", "(empty array)")]),
    Command::session("LATENCY|RESET", Arity::at_least(1), reset)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.8.13")
        .syntax("[event...]")
        .complexity("O(1)")
        .summary("Forgets some or all events, and answers how many.")
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum"])
        .examples(&[("LATENCY RESET", "(integer) 0")]),
    Command::session("LATENCY|HELP", Arity::exactly(1), help)
        .flags(LOADING | STALE)
        .group(Group::Server)
        .since("2.8.13")
        .complexity("O(1)")
        .summary("Lists the subcommands of LATENCY."),
];

fn doctor(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let events = engine.observers.latency.all();
    let text = if engine.settings().latency_monitor_threshold.get() == 0 && events.is_empty() {
        "Nothing is watched: set latency-monitor-threshold to the milliseconds from which on something takes long.\n"
            .to_owned()
    } else if events.is_empty() {
        "Nothing took long so far.\n".to_owned()
    } else {
        let lines =
            events.iter().enumerate().map(|(at, (event, history))| format!("{}. {}\n", at + 1, history.report(event)));
        let advice = "\nSLOWLOG GET names the commands that took long, LATENCY HISTORY the times.\n";
        format!("Some events took long:\n\n{}{advice}", lines.collect::<String>())
    };
    reply.verbatim("txt", text);
    Ok(())
}

fn graph(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (event, history) = engine.observers.latency.history(args.at(2)).ok_or_else(|| no_samples(args.at(2)))?;
    reply.verbatim("txt", history.graph(event, engine.clock().now_ms() / 1000));
    Ok(())
}

fn history(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let history = engine.observers.latency.history(args.at(2)).unwrap_or_default().1;
    reply.array(history.moments.len());
    for moment in &history.moments {
        reply.array(2);
        reply.int(moment.at as i64);
        reply.int(moment.milliseconds as i64);
    }
    Ok(())
}

fn latest(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let events = engine.observers.latency.all();
    reply.array(events.len());
    for (event, history) in &events {
        reply.array(4);
        reply.bulk(event.as_bytes());
        let last = history.moments.back();
        reply.int(last.map_or(0, |moment| moment.at as i64));
        reply.int(last.map_or(0, |moment| moment.milliseconds as i64));
        reply.int(history.longest as i64);
    }
    Ok(())
}

fn reset(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    reply.int(engine.observers.latency.reset(args.from(2).iter()) as i64);
    Ok(())
}

fn histogram(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let tracked = engine.settings().latency_tracking.get();
    let map = reply.defer();
    let mut count = 0;
    for row in asked_for(args.from(2)) {
        let Some(times) = engine.stats().times(row, tracked) else { continue };
        count += 1;
        reply.bulk(TABLE.row(row).lower_name().as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.int(times.total() as i64);
        reply.bulk(b"histogram_usec");
        let steps = times.cumulative();
        reply.map(steps.len());
        for (microseconds, calls) in steps {
            reply.int(microseconds as i64);
            reply.int(calls as i64);
        }
    }
    reply.set_map_len(map, count);
    Ok(())
}

/// The rows of the commands named, each with its subcommands; all rows if none is named.
fn asked_for(names: Args<'_>) -> Vec<u16> {
    if names.is_empty() {
        return (0..TABLE.rows().count() as u16).collect();
    }
    let rows = names.iter().filter_map(|name| TABLE.by_full_name(name));
    rows.flat_map(|row| {
        let subcommands = TABLE.subcommands_of(TABLE.row(row).name).map(|(row, _)| row);
        std::iter::once(row).chain(subcommands)
    })
    .collect()
}
