//! EVAL and its like, and SCRIPT. What runs scripts is in the module `script`.

use std::sync::atomic::Ordering::Relaxed;

use larder_protocol::{Args, Reply};

use super::command::*;
use super::command_info::help;
use crate::engine::Engine;
use crate::error::{
    BUSY_FUNCTION, BUSY_SCRIPT, NO_DEBUGGER, NOT_BUSY, Outcome, SCRIPT_DEBUG_MODE, SCRIPT_FLUSH_MODE, UNKILLABLE,
};
use crate::locked::Locked;
use crate::script::{Kind, Unkillable, call_digest, call_source, load};
use crate::session::Session;

/// What all that run scripts have in common.
pub(super) const RUNS: u32 = NOSCRIPT | SKIP_MONITOR | NO_MANDATORY_KEYS | STALE;
pub(super) const WRITES: &str = "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE";
pub(super) const READS: &str = "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS";
pub(super) const DEPENDS: &str = "Depends on the script";
const BY_SOURCE: &str = "script numkeys [key]... [arg]...";
const BY_DIGEST: &str = "sha1 numkeys [key]... [arg]...";

pub(super) const COMMANDS: &[Command] = &[
    Command::script("EVAL", &[counted(2, RW | ACCESS | UPDATE).notes(WRITES)], eval)
        .flags(RUNS | MAY_REPLICATE)
        .since("2.6.0")
        .syntax(BY_SOURCE)
        .complexity(DEPENDS)
        .summary("Runs a script in Lua; nothing else happens to its keys meanwhile.")
        .examples(&[
            ("EVAL \"return 'hello'\" 0", "\"hello\""),
            ("EVAL \"return redis.call('INCRBY', KEYS[1], ARGV[1])\" 1 n 5", "(integer) 5"),
            ("EVAL \"return {1, 'two', {3}}\" 0", "1) (integer) 1\n2) \"two\"\n3) 1) (integer) 3"),
        ]),
    Command::script("EVALSHA", &[counted(2, RW | ACCESS | UPDATE)], evalsha)
        .flags(RUNS | MAY_REPLICATE)
        .since("2.6.0")
        .syntax(BY_DIGEST)
        .complexity(DEPENDS)
        .summary("Runs a script that the server knows, named by the SHA1 of its source.")
        .examples(&[
            ("SCRIPT LOAD \"return 1\"", "\"e0e1f9fabfc9d4800c877a703b823ac0578ff8db\""),
            ("EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0", "(integer) 1"),
            ("EVALSHA x 0", "(error) NOSCRIPT No matching script. Please use EVAL."),
        ]),
    Command::script("EVAL_RO", &[counted(2, RO | ACCESS).notes(READS)], eval_ro)
        .flags(RUNS | READONLY)
        .since("7.0.0")
        .syntax(BY_SOURCE)
        .complexity(DEPENDS)
        .summary("Runs a script in Lua that may not change data.")
        .examples(&[("EVAL_RO \"return redis.call('GET', KEYS[1])\" 1 k", "(nil)")]),
    Command::script("EVALSHA_RO", &[counted(2, RO | ACCESS)], evalsha_ro)
        .flags(RUNS | READONLY)
        .since("7.0.0")
        .syntax(BY_DIGEST)
        .complexity(DEPENDS)
        .summary("Runs a script that the server knows and that may not change data, named by the SHA1 of its source.")
        .examples(&[("EVALSHA_RO x 0", "(error) NOSCRIPT No matching script. Please use EVAL.")]),
    Command::container("SCRIPT")
        .group(Group::Scripting)
        .since("2.6.0")
        .complexity("Depends on the subcommand")
        .summary("Looks after scripts that the server knows."),
    Command { arity: Arity::exactly(2), ..Command::script("SCRIPT|LOAD", &[], script_load) }
        .flags(NOSCRIPT | STALE)
        .since("2.6.0")
        .syntax("script")
        .complexity("O(N) for N bytes of source")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .summary("Makes a script known without running it, and gives the SHA1 of its source.")
        .examples(&[("SCRIPT LOAD \"return 1\"", "\"e0e1f9fabfc9d4800c877a703b823ac0578ff8db\"")]),
    Command::session("SCRIPT|EXISTS", Arity::at_least(2), script_exists)
        .flags(NOSCRIPT)
        .group(Group::Scripting)
        .since("2.6.0")
        .syntax("sha1...")
        .complexity("O(N) for N scripts")
        .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"])
        .summary("Tells which scripts the server knows.")
        .examples(&[("SCRIPT EXISTS x", "1) (integer) 0")]),
    Command::session("SCRIPT|FLUSH", Arity::at_least(1), script_flush)
        .flags(NOSCRIPT)
        .group(Group::Scripting)
        .since("2.6.0")
        .syntax("[ASYNC | SYNC]")
        .complexity("O(N) for N scripts")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .summary("Makes the server forget all scripts.")
        .examples(&[("SCRIPT FLUSH", "OK")]),
    Command::session("SCRIPT|KILL", Arity::exactly(1), script_kill)
        .flags(NOSCRIPT | ALLOW_BUSY)
        .group(Group::Scripting)
        .since("2.6.0")
        .complexity("O(1)")
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
        .summary("Ends the script that runs, unless it has changed data.")
        .examples(&[("SCRIPT KILL", "(error) NOTBUSY No scripts in execution right now.")]),
    Command::session("SCRIPT|DEBUG", Arity::exactly(2), script_debug)
        .flags(NOSCRIPT)
        .group(Group::Scripting)
        .since("3.2.0")
        .syntax("YES | SYNC | NO")
        .complexity("O(1)")
        .summary("Says that scripts are not debugged; there is no debugger.")
        .examples(&[("SCRIPT DEBUG NO", "OK"), ("SCRIPT DEBUG YES", "(error) ERR there is no debugger for scripts")]),
    Command::session("SCRIPT|HELP", Arity::exactly(1), help)
        .flags(LOADING | STALE)
        .group(Group::Scripting)
        .since("5.0.0")
        .complexity("O(1)")
        .summary("Lists the subcommands of SCRIPT."),
];

fn eval(engine: &Engine, session: &mut Session, locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    call_source(engine, session, locked, args, false, reply)
}

fn eval_ro(
    engine: &Engine,
    session: &mut Session,
    locked: &mut Locked<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Outcome {
    call_source(engine, session, locked, args, true, reply)
}

fn evalsha(
    engine: &Engine,
    session: &mut Session,
    locked: &mut Locked<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Outcome {
    call_digest(engine, session, locked, args, false, reply)
}

fn evalsha_ro(
    engine: &Engine,
    session: &mut Session,
    locked: &mut Locked<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Outcome {
    call_digest(engine, session, locked, args, true, reply)
}

fn script_load(
    engine: &Engine,
    _: &mut Session,
    locked: &mut Locked<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Outcome {
    reply.bulk(load(engine, locked, args.at(2))?.as_bytes());
    Ok(())
}

fn script_exists(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let cache = engine.scripts.cache.lock();
    reply.array(args.len() - 2);
    for digest in args.from(2).iter() {
        let is_known = cache.has(&String::from_utf8_lossy(digest).to_ascii_lowercase());
        reply.int(i64::from(is_known));
    }
    Ok(())
}

fn script_flush(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let is_mode = |mode: &[u8]| mode.eq_ignore_ascii_case(b"SYNC") || mode.eq_ignore_ascii_case(b"ASYNC");
    if args.len() > 3 || args.get(2).is_some_and(|mode| !is_mode(mode)) {
        return Err(SCRIPT_FLUSH_MODE);
    }
    engine.scripts.cache.lock().clear();
    engine.scripts.flushes.fetch_add(1, Relaxed);
    reply.ok();
    Ok(())
}

fn script_debug(_: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    match args.at(2).to_ascii_uppercase().as_slice() {
        b"NO" => reply.ok(),
        b"YES" | b"SYNC" => return Err(NO_DEBUGGER),
        _ => return Err(SCRIPT_DEBUG_MODE),
    }
    Ok(())
}

fn script_kill(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    kill(engine, Kind::Script, reply)
}

/// SCRIPT KILL and FUNCTION KILL.
pub(super) fn kill(engine: &Engine, kind: Kind, reply: &mut Reply) -> Outcome {
    engine.scripts.control.kill(kind).map_err(|why| match why {
        Unkillable::NoneRuns => NOT_BUSY,
        Unkillable::HasWritten => UNKILLABLE,
        Unkillable::Other(Kind::Function) => BUSY_FUNCTION,
        Unkillable::Other(Kind::Script) => BUSY_SCRIPT,
    })?;
    reply.ok();
    Ok(())
}
