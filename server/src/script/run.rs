//! EVAL and its like: finds or compiles the script, runs it, and writes what comes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use larder_protocol::{Args, Reply};

use super::cache::{Flags, Script};
use super::call::{Calls, Permissions};
use super::conclude::{Concluded, Ending};
use super::interpreter::{Ended, Interpreter, NotCompiled, Source, message};
use super::natives::Exchange;
use super::quick::Quick;
use super::redis_table::digest;
use super::thread::Machine;
use crate::commands::parse;
use crate::config::split_words;
use crate::engine::Engine;
use crate::error::{self, Error, Outcome};
use crate::locked::Locked;
use crate::session::Session;

/// So many compiled scripts may be kept that are not in the cache any more.
const FORGOTTEN: usize = 64;

/// An interpreter that runs quick scripts, of which there is one per thread, is not kept with more memory.
const MOST_KEPT_BYTES: usize = 8 << 20;

/// EVAL.
pub(crate) fn call_source(
    engine: &Engine,
    session: &mut Session,
    locked: &mut Locked<'_>,
    args: Args<'_>,
    read_only: bool,
    reply: &mut Reply,
) -> Outcome {
    engine.show_script(session, args);
    let keys = count_keys(args)?;
    let digest = digest(args.at(1));
    let known = engine.scripts.cache.lock().get(&digest);
    let script = match known {
        Some(script) => script,
        None => compile(engine, locked, &digest, args.at(1), true)?,
    };
    let started = Instant::now();
    let run = Run { digest: &digest, script: &script, args, keys, read_only, quick: None, started };
    run.run(engine, session, locked, reply).unwrap_or(Err(error::SCRIPT_PANICKED))
}

/// EVALSHA.
pub(crate) fn call_digest(
    engine: &Engine,
    session: &mut Session,
    locked: &mut Locked<'_>,
    args: Args<'_>,
    read_only: bool,
    reply: &mut Reply,
) -> Outcome {
    /// Digits of a digest.
    const DIGITS: usize = 40;
    engine.show_script(session, args);
    if args.at(1).len() != DIGITS {
        return Err(error::NO_SCRIPT);
    }
    let keys = count_keys(args)?;
    let digest = String::from_utf8_lossy(args.at(1)).to_ascii_lowercase();
    let script = engine.scripts.cache.lock().get(&digest).ok_or(error::NO_SCRIPT)?;
    let started = Instant::now();
    let run = Run { digest: &digest, script: &script, args, keys, read_only, quick: None, started };
    run.run(engine, session, locked, reply).unwrap_or(Err(error::SCRIPT_PANICKED))
}

/// SCRIPT LOAD: gives the digest.
pub(crate) fn load(engine: &Engine, locked: &mut Locked<'_>, text: &[u8]) -> Result<String, Error> {
    let digest = digest(text);
    let known = engine.scripts.cache.lock().get(&digest);
    match known {
        Some(script) => engine.scripts.cache.lock().add(&digest, script, false),
        None => {
            compile(engine, locked, &digest, text, false)?;
        }
    }
    Ok(digest)
}

/// How many of the arguments after the count are keys.
pub(super) fn count_keys(args: Args<'_>) -> Result<usize, Error> {
    let count = parse::integer(args.at(2))?;
    if count > args.len() as i64 - 3 {
        return Err(error::SCRIPT_TOO_MANY_KEYS);
    }
    usize::try_from(count).map_err(|_| error::SCRIPT_NEGATIVE_KEYS)
}

/// Does something with the interpreter, made first where there is none.
fn with_interpreter<R>(
    engine: &Engine,
    locked: &Locked<'_>,
    work: impl FnOnce(&mut Interpreter) -> Result<R, Error>,
) -> Result<R, Error> {
    let Some(machine) = locked.machine else { return Err(error::NO_SCRIPT_THREAD) };
    let mut kept = machine.interpreter.try_borrow_mut().map_err(|_| error::SCRIPT_PANICKED)?;
    // Scripts that are flushed leave nothing of themselves.
    let flushes = engine.scripts.flushes.load(Relaxed);
    let memory = engine.settings().lua_memory_limit.as_usize();
    kept.take_if(|kept| machine.flushes.get() != flushes || kept.memory_bytes() != memory);
    machine.flushes.set(flushes);
    if kept.is_none() {
        let made = Interpreter::new(engine.scripts.control.clone(), memory, engine.scripts.held.clone());
        *kept = Some(made.map_err(|error| Error::made([b"ERR ", message(&error).as_slice()].concat()))?);
    }
    match &mut *kept {
        Some(interpreter) => work(interpreter),
        None => Err(error::NO_SCRIPT_THREAD),
    }
}

/// Compiles a script and puts it into the cache.
fn compile(
    engine: &Engine,
    locked: &Locked<'_>,
    digest: &str,
    text: &[u8],
    by_eval: bool,
) -> Result<Arc<Script>, Error> {
    let (flags, header) = read_header(text)?;
    let script = Arc::new(Script::new(Source { text: text.to_vec(), header }, flags));
    compile_source(engine, locked, digest, &script)?;
    engine.scripts.cache.lock().add(digest, script.clone(), by_eval);
    Ok(script)
}

/// Compiles a script, unless that is done. What scripts before it have left does not hinder it: where memory is short, a new
/// interpreter compiles it.
fn compile_source(engine: &Engine, locked: &Locked<'_>, digest: &str, script: &Script) -> Result<(), Error> {
    let refused = |text: &[u8]| Err(error::script_does_not_compile(text));
    for _ in 0..2 {
        match try_to_compile(engine, locked, digest, script)? {
            Ok(()) => return Ok(()),
            Err(NotCompiled { text, is_of_memory: false }) => return refused(&text),
            Err(NotCompiled { text, is_of_memory: true }) => {
                let Some(machine) = locked.machine else { return Err(error::NO_SCRIPT_THREAD) };
                let kept = machine.interpreter.replace(None);
                if kept.is_none_or(|kept| kept.compiled_count() == 0) {
                    return refused(&text);
                }
            }
        }
    }
    refused(error::SCRIPT_MEMORY.text())
}

/// One try: the inner error is that of [`Interpreter::compile`].
fn try_to_compile(
    engine: &Engine,
    locked: &Locked<'_>,
    digest: &str,
    script: &Script,
) -> Result<Result<(), NotCompiled>, Error> {
    with_interpreter(engine, locked, |interpreter| {
        if interpreter.has(digest) {
            return Ok(Ok(()));
        }
        let (cached, ..) = engine.scripts.cache.lock().figures();
        if interpreter.compiled_count() > cached + FORGOTTEN {
            let cache = engine.scripts.cache.lock();
            interpreter.forget(|digest| cache.has(digest));
        }
        Ok(interpreter.compile(digest, script))
    })
}

/// Reads the first line of a script, if it begins with `#!`: its flags and its length.
fn read_header(text: &[u8]) -> Result<(Flags, usize), Error> {
    if !text.starts_with(b"#!") {
        return Ok((Flags::default(), 0));
    }
    let header = text.iter().position(|byte| *byte == b'\n').ok_or(error::SCRIPT_HEADER_UNFINISHED)?;
    let words = split_words(&text[..header]).ok_or(error::SCRIPT_HEADER_INVALID)?;
    let (engine, words) = words.split_first().ok_or(error::SCRIPT_HEADER_INVALID)?;
    if engine != b"#!lua" {
        return Err(error::script_engine_unknown(engine));
    }
    let mut flags = Flags { declared: true, ..Flags::default() };
    for word in words {
        let Some(names) = word.strip_prefix(b"flags=") else { return Err(error::script_option_unknown(word)) };
        for name in names.split(|byte| *byte == b',').filter(|_| !names.is_empty()) {
            match name {
                b"no-writes" => flags.no_writes = true,
                b"allow-oom" => flags.allow_oom = true,
                b"allow-stale" | b"no-cluster" | b"allow-cross-slot-keys" => {}
                _ => return Err(error::script_flag_unknown(name)),
            }
        }
    }
    Ok((flags, header))
}

/// The flags that a script declares, if it does.
pub(super) fn declared_flags(text: &[u8]) -> Option<Flags> {
    read_header(text).ok().map(|(flags, _)| flags).filter(|flags| flags.declared)
}

/// A call of a script.
pub(super) struct Run<'r> {
    pub(super) digest: &'r str,
    pub(super) script: &'r Script,
    pub(super) args: Args<'r>,
    pub(super) keys: usize,
    pub(super) read_only: bool,
    /// Whether it runs as a quick one.
    pub(super) quick: Option<Quick>,
    pub(super) started: Instant,
}

impl Run<'_> {
    /// Runs the script; `None` for one that is not as quick as it looked, and has changed nothing.
    pub(super) fn run(
        &self,
        engine: &Engine,
        session: &mut Session,
        locked: &mut Locked<'_>,
        reply: &mut Reply,
    ) -> Option<Outcome> {
        let Some(machine) = locked.machine else { return Some(Err(error::NO_SCRIPT_THREAD)) };
        let ready = permissions(machine, self.script.flags, self.read_only)
            .and_then(|permissions| compile_source(engine, locked, self.digest, self.script).map(|()| permissions));
        let permissions = match ready {
            Ok(permissions) => permissions,
            Err(error) => return Some(Err(error)),
        };
        let Ok(mut kept) = machine.interpreter.try_borrow_mut() else { return Some(Err(error::SCRIPT_PANICKED)) };
        let Some(interpreter) = &mut *kept else { return Some(Err(error::NO_SCRIPT_THREAD)) };
        let (db, control) = (session.db, &*engine.scripts.control);
        control.begin(self.started);
        session.begin_script();
        let mut calls = Calls { engine, session, locked, control, permissions };
        let arguments = self.args.from(3);
        let serve = |exchange: &mut Exchange| calls.serve(exchange);
        let ended = interpreter.run(self.digest, arguments, self.keys, self.quick, reply, serve);
        let is_slow = self.quick.is_some() && matches!(ended, Ok(Ended::Stopped(..))) && control.may_begin_anew();
        let ending = Ending { db, args: self.args, name: self.digest, is_quick: self.quick.is_some() };
        let Concluded { outcome, is_usable, was_killed } = calls.conclude(&ending, ended, reply);
        let is_large = self.quick.is_some() && interpreter.heap_bytes() > MOST_KEPT_BYTES;
        if is_large || interpreter.is_nearly_full() || !is_usable {
            *kept = None;
        }
        (!is_slow || was_killed).then_some(outcome)
    }
}

/// What a script or function may do, or why it may not run.
pub(super) fn permissions(machine: &Machine, flags: Flags, read_only: bool) -> Result<Permissions, Error> {
    flags.check_memory(machine)?;
    if flags.declared && !flags.no_writes && read_only {
        return Err(error::SCRIPT_WRITES_FOR_RO);
    }
    let short_of_memory = machine.short_of_memory.get() && !flags.allow_oom;
    Ok(Permissions { read_only: read_only || flags.no_writes, short_of_memory })
}
