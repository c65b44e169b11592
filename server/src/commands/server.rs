//! The server as a whole: what it tells of itself, the time, and its end.

use larder_protocol::{Args, Reply};

use super::command::*;
use super::parse::is;
use crate::engine::Engine;
use crate::error::{Error, NO_SHUTDOWN, Outcome, SHUTDOWN_FAILED, SYNTAX};
use crate::info;
use crate::locked::Locked;
use crate::session::Session;

pub(super) const COMMANDS: &[Command] = &[
    Command::all("INFO", Arity::at_least(0), show_info)
        .flags(LOADING | STALE | DANGEROUS)
        .group(Group::Server)
        .syntax("[section...]")
        .since("1.0.0")
        .summary("Tells how the server is doing, in sections: default, all, or those named.")
        .complexity("O(N) for N clients and databases")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    Command::session("TIME", Arity::exactly(0), time)
        .flags(LOADING | STALE | FAST)
        .group(Group::Server)
        .since("2.6.0")
        .complexity("O(1)")
        .summary("Answers the time of the server: seconds since 1970, and microseconds.")
        .tips(&["nondeterministic_output"]),
    Command::session("SHUTDOWN", Arity::at_least(0), shutdown)
        .flags(ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY)
        .group(Group::Server)
        .syntax("[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]")
        .since("1.0.0")
        .summary("Ends the server.")
        .complexity("O(N) for N connections")
        .examples(&[
            ("SHUTDOWN ABORT", "(error) ERR No shutdown in progress."),
            ("SHUTDOWN SAVE NOSAVE", "(error) ERR syntax error"),
        ]),
];

fn show_info(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let text = info::text(locked, args.from(1));
    reply.verbatim("txt", text);
    Ok(())
}

fn time(engine: &Engine, session: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let now = engine.clock().now_us();
    let stands = session.is_script || session.executes;
    let now = if stands { *session.stands_at.get_or_insert(now) } else { now };
    reply.array(2);
    reply.bulk_int((now / 1_000_000) as i64);
    reply.bulk_int((now % 1_000_000) as i64);
    Ok(())
}

/// What SHUTDOWN is asked to do.
#[derive(Default, PartialEq, Eq)]
struct ShutdownOptions {
    save: bool,
    nosave: bool,
    /// NOW or FORCE, and whether it was the latter.
    now: bool,
    force: bool,
}

impl ShutdownOptions {
    /// The options, or nothing for ABORT.
    fn parse(args: Args<'_>) -> Result<Option<Self>, Error> {
        let (mut options, mut abort) = (Self::default(), false);
        for word in args.iter() {
            let option = match word {
                word if is(word, "SAVE") => &mut options.save,
                word if is(word, "NOSAVE") => &mut options.nosave,
                word if is(word, "NOW") => &mut options.now,
                word if is(word, "FORCE") => &mut options.force,
                word if is(word, "ABORT") => &mut abort,
                _ => return Err(SYNTAX),
            };
            *option = true;
        }
        let contradicts = (options.save && options.nosave) || (abort && options != Self::default());
        if contradicts { Err(SYNTAX) } else { Ok((!abort).then_some(options)) }
    }
}

fn shutdown(engine: &Engine, session: &mut Session, args: Args<'_>, _: &mut Reply) -> Outcome {
    // The server ends at once when it is asked to, so there is never an end to call off.
    let options = ShutdownOptions::parse(args.from(1))?.ok_or(NO_SHUTDOWN)?;
    if !options.nosave && engine.is_busy() {
        return Err(engine.busy());
    }
    if options.save && !options.force {
        tracing::warn!("Asked to save before the end, which is not supported; the server goes on");
        return Err(SHUTDOWN_FAILED);
    }
    tracing::info!("User requested shutdown...");
    engine.scripts.control.stop();
    engine.shutdown.ask();
    session.closing = true;
    Ok(())
}
