//! FCALL, and FUNCTION with its subcommands. What loads and runs functions is in the module `script::functions`.

use larder_protocol::{Args, Reply};

use super::command::*;
use super::command_info::help;
use super::scripting::{DEPENDS, READS, RUNS, WRITES, kill};
use crate::engine::Engine;
use crate::error::{
    FUNCTION_FLUSH_MODE, FUNCTION_RESTORE_POLICY, LIBRARY_NOT_FOUND, LIBRARY_PATTERN_MISSING, Outcome,
    list_option_unknown, load_option_unknown, subcommand_or_arity,
};
use crate::glob;
use crate::locked::Locked;
use crate::rdb;
use crate::script::Kind;
use crate::script::functions::{FLAGS, Library, Policy, call_function, load, restore};
use crate::session::Session;

const BY_NAME: &str = "function numkeys [key]... [arg]...";
/// Hints for what must happen on all nodes.
const EVERYWHERE: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
/// The examples' library.
const LOAD: &str =
    "FUNCTION LOAD \"#!lua name=lib\\nredis.register_function('answer', function(keys, args) return 42 end)\"";

pub(super) const COMMANDS: &[Command] = &[
    Command::script("FCALL", &[counted(2, RW | ACCESS | UPDATE).notes(WRITES)], fcall)
        .flags(RUNS | MAY_REPLICATE)
        .since("7.0.0")
        .syntax(BY_NAME)
        .complexity(DEPENDS)
        .summary("Calls a function; nothing else happens to its keys meanwhile.")
        .examples(&[(LOAD, "\"lib\""), ("FCALL answer 0", "(integer) 42")]),
    Command::script("FCALL_RO", &[counted(2, RO | ACCESS).notes(READS)], fcall_ro)
        .flags(RUNS | READONLY)
        .since("7.0.0")
        .syntax(BY_NAME)
        .complexity(DEPENDS)
        .summary("Calls a function that says that it does not change data.")
        .examples(&[
            (LOAD, "\"lib\""),
            ("FCALL_RO answer 0", "(error) ERR Can not execute a script with write flag using *_ro command."),
        ]),
    Command::container("FUNCTION")
        .group(Group::Scripting)
        .since("7.0.0")
        .complexity("Depends on the subcommand")
        .summary("Looks after libraries of functions."),
    Command { arity: Arity::at_least(2), ..Command::script("FUNCTION|LOAD", &[], function_load) }
        .flags(NOSCRIPT | WRITE | DENYOOM)
        .since("7.0.0")
        .syntax("[REPLACE] function-code")
        .complexity("O(1), and the time that the code takes")
        .tips(EVERYWHERE)
        .summary("Adds a library, and gives its name.")
        .examples(&[(LOAD, "\"lib\""), (LOAD, "(error) ERR Library 'lib' already exists")]),
    Command { arity: Arity::exactly(2), ..Command::script("FUNCTION|DELETE", &[], function_delete) }
        .flags(NOSCRIPT | WRITE)
        .since("7.0.0")
        .syntax("library-name")
        .complexity("O(N) for N functions of the library")
        .tips(EVERYWHERE)
        .summary("Removes a library and its functions.")
        .examples(&[
            (LOAD, "\"lib\""),
            ("FUNCTION DELETE lib", "OK"),
            ("FUNCTION DELETE lib", "(error) ERR Library not found"),
        ]),
    Command { arity: Arity::at_least(1), ..Command::script("FUNCTION|FLUSH", &[], function_flush) }
        .flags(NOSCRIPT | WRITE)
        .since("7.0.0")
        .syntax("[ASYNC | SYNC]")
        .complexity("O(N) for N functions")
        .tips(EVERYWHERE)
        .summary("Removes all libraries.")
        .examples(&[("FUNCTION FLUSH", "OK")]),
    Command { arity: Arity::at_least(2), ..Command::script("FUNCTION|RESTORE", &[], function_restore) }
        .flags(NOSCRIPT | WRITE | DENYOOM)
        .since("7.0.0")
        .syntax("serialized-value [FLUSH | APPEND | REPLACE]")
        .complexity("O(N) for N functions in the payload")
        .tips(EVERYWHERE)
        .summary("Adds the libraries of a payload of FUNCTION DUMP.")
        .examples(&[("FUNCTION RESTORE x", "(error) ERR DUMP payload version or checksum are wrong")]),
    Command::session("FUNCTION|LIST", Arity::at_least(1), function_list)
        .flags(NOSCRIPT)
        .group(Group::Scripting)
        .since("7.0.0")
        .syntax("[LIBRARYNAME library-name-pattern] [WITHCODE]")
        .complexity("O(N) for N functions")
        .tips(&["nondeterministic_output_order"])
        .summary("Tells which libraries there are, with their functions.")
        .examples(&[("FUNCTION LIST", "(empty array)")]),
    Command::session("FUNCTION|STATS", Arity::exactly(1), function_stats)
        .flags(NOSCRIPT | ALLOW_BUSY)
        .group(Group::Scripting)
        .since("7.0.0")
        .complexity("O(1)")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .summary("Tells which function runs, and how many there are."),
    Command::session("FUNCTION|DUMP", Arity::exactly(1), function_dump)
        .flags(NOSCRIPT)
        .group(Group::Scripting)
        .since("7.0.0")
        .complexity("O(N) for N functions")
        .summary("Gives all libraries as bytes, for FUNCTION RESTORE."),
    Command::session("FUNCTION|KILL", Arity::exactly(1), function_kill)
        .flags(NOSCRIPT | ALLOW_BUSY)
        .group(Group::Scripting)
        .since("7.0.0")
        .complexity("O(1)")
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
        .summary("Ends the function that runs, unless it has changed data.")
        .examples(&[("FUNCTION KILL", "(error) NOTBUSY No scripts in execution right now.")]),
    Command::session("FUNCTION|HELP", Arity::exactly(1), help)
        .flags(LOADING | STALE)
        .group(Group::Scripting)
        .since("7.0.0")
        .complexity("O(1)")
        .summary("Lists the subcommands of FUNCTION."),
];

fn fcall(
    engine: &Engine,
    session: &mut Session,
    locked: &mut Locked<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Outcome {
    call_function(engine, session, locked, args, false, reply)
}

fn fcall_ro(
    engine: &Engine,
    session: &mut Session,
    locked: &mut Locked<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Outcome {
    call_function(engine, session, locked, args, true, reply)
}

fn function_load(
    engine: &Engine,
    _: &mut Session,
    locked: &mut Locked<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Outcome {
    let (options, code) = (args.from(2).until(args.len() - 3), args.at(args.len() - 1));
    for option in options.iter() {
        if !option.eq_ignore_ascii_case(b"REPLACE") {
            return Err(load_option_unknown(option));
        }
    }
    reply.bulk(&load(engine, locked, code, !options.is_empty())?);
    Ok(())
}

fn function_delete(
    engine: &Engine,
    _: &mut Session,
    locked: &mut Locked<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Outcome {
    if !engine.scripts.libraries.lock().remove(args.at(2)) {
        return Err(LIBRARY_NOT_FOUND);
    }
    locked.count_changes(1);
    reply.ok();
    Ok(())
}

fn function_flush(
    engine: &Engine,
    _: &mut Session,
    locked: &mut Locked<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Outcome {
    if args.len() > 3 {
        return Err(subcommand_or_arity("FUNCTION", args.at(1)));
    }
    let is_mode = |mode: &[u8]| mode.eq_ignore_ascii_case(b"SYNC") || mode.eq_ignore_ascii_case(b"ASYNC");
    if args.get(2).is_some_and(|mode| !is_mode(mode)) {
        return Err(FUNCTION_FLUSH_MODE);
    }
    engine.scripts.libraries.lock().clear();
    locked.count_changes(1);
    reply.ok();
    Ok(())
}

fn function_restore(
    engine: &Engine,
    _: &mut Session,
    locked: &mut Locked<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Outcome {
    if args.len() > 4 {
        return Err(subcommand_or_arity("FUNCTION", args.at(1)));
    }
    let policy = match args.get(3).map(<[u8]>::to_ascii_uppercase).as_deref() {
        None | Some(b"APPEND") => Policy::Append,
        Some(b"REPLACE") => Policy::Replace,
        Some(b"FLUSH") => Policy::Flush,
        Some(_) => return Err(FUNCTION_RESTORE_POLICY),
    };
    restore(engine, locked, args.at(2), policy)?;
    reply.ok();
    Ok(())
}

fn function_list(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (mut pattern, mut with_code) = (None, false);
    let mut words = args.from(2).iter();
    while let Some(word) = words.next() {
        if !with_code && word.eq_ignore_ascii_case(b"WITHCODE") {
            with_code = true;
        } else if pattern.is_none() && word.eq_ignore_ascii_case(b"LIBRARYNAME") {
            pattern = Some(words.next().ok_or(LIBRARY_PATTERN_MISSING)?);
        } else {
            return Err(list_option_unknown(word));
        }
    }
    let libraries = engine.scripts.libraries.lock();
    let is_shown = |library: &Library| pattern.is_none_or(|pattern| glob::matches(pattern, &library.name, true));
    let shown: Vec<_> = libraries.iter().filter(|library| is_shown(library)).collect();
    reply.array(shown.len());
    shown.into_iter().for_each(|library| list_library(library, with_code, reply));
    Ok(())
}

fn list_library(library: &Library, with_code: bool, reply: &mut Reply) {
    reply.map(3 + usize::from(with_code));
    reply.bulk(b"library_name");
    reply.bulk(&library.name);
    reply.bulk(b"engine");
    reply.bulk(b"LUA");
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(&function.name);
        reply.bulk(b"description");
        match &function.description {
            Some(text) => reply.bulk(text),
            None => reply.null(),
        }
        reply.bulk(b"flags");
        let flags = FLAGS.iter().filter(|(_, flag)| function.flags & flag != 0);
        reply.set(flags.clone().count());
        flags.for_each(|(name, _)| reply.simple(name));
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.code);
    }
}

fn function_stats(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let control = &engine.scripts.control;
    if control.kind() == Some(Kind::Script) && engine.is_busy() {
        return Err(engine.busy());
    }
    reply.map(2);
    reply.bulk(b"running_script");
    control.show_function(|running| match running {
        Some((name, call, time)) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(name);
            reply.bulk(b"command");
            reply.array(call.len());
            call.iter().for_each(|word| reply.bulk(word));
            reply.bulk(b"duration_ms");
            reply.int(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        }
        None => reply.null(),
    });
    let (libraries, functions, _) = engine.scripts.libraries.lock().figures();
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.int(libraries as i64);
    reply.bulk(b"functions_count");
    reply.int(functions as i64);
    Ok(())
}

fn function_dump(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let mut payload = Vec::new();
    engine.scripts.libraries.lock().iter().for_each(|library| rdb::encode_library(&library.code, &mut payload));
    rdb::seal(&mut payload, rdb::VERSION);
    reply.bulk(&payload);
    Ok(())
}

fn function_kill(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    kill(engine, Kind::Function, reply)
}
