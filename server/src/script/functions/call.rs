//! FCALL.

use larder_protocol::{Args, Reply};

use super::library::{ALLOW_OOM, NO_WRITES};
use super::load::{ensure, with_state};
use super::state::Failure;
use crate::commands::parse;
use crate::engine::Engine;
use crate::error::{self, Outcome};
use crate::locked::Locked;
use crate::script::Scripts;
use crate::script::cache::Flags;
use crate::script::call::Calls;
use crate::script::conclude::Ending;
use crate::script::natives::Exchange;
use crate::script::run::{count_keys, permissions};
use crate::session::Session;

/// The flags of a function.
pub(in crate::script) fn declared_flags(scripts: &Scripts, name: &[u8]) -> Option<Flags> {
    let flags = scripts.libraries.lock().flags_of(name)?;
    Some(Flags { declared: true, no_writes: flags & NO_WRITES != 0, allow_oom: flags & ALLOW_OOM != 0 })
}

/// FCALL.
pub(crate) fn call_function(
    engine: &Engine,
    session: &mut Session,
    locked: &mut Locked<'_>,
    args: Args<'_>,
    read_only: bool,
    reply: &mut Reply,
) -> Outcome {
    let found = engine.scripts.libraries.lock().function(args.at(1));
    let Some(machine) = locked.machine else { return Err(error::NO_SCRIPT_THREAD) };
    let flags = declared_flags(&engine.scripts, args.at(1)).unwrap_or_default();
    // As in Redis, first: it is refused before it is looked at.
    flags.check_memory(machine)?;
    engine.show_script(session, args);
    let (library, place) = found.ok_or(error::FUNCTION_NOT_FOUND)?;
    parse::integer(args.at(2)).map_err(|_| error::FUNCTION_KEYS)?;
    let keys = count_keys(args)?;
    let permissions = permissions(machine, flags, read_only)?;
    let function = &library.functions[place];
    let name = String::from_utf8_lossy(&function.name);
    with_state(engine, machine, |state| {
        ensure(state, &library)?;
        let loaded = state.loaded(library.id).and_then(|loaded| Some((loaded.callbacks.get(place)?, loaded.memory)));
        let (callback, memory) = loaded.ok_or(Failure::Refused(error::FUNCTION_NOT_FOUND))?;
        let (db, control) = (session.db, engine.scripts.control.clone());
        control.begin_function(&function.name, args);
        session.begin_script();
        let mut calls = Calls { engine, session, locked, control: &control, permissions };
        let serve = |exchange: &mut Exchange| calls.serve(exchange);
        let ended = state.interpreter.call(callback, memory, args.from(3), keys, reply, serve);
        let concluded = calls.conclude(&Ending { db, args, name: &name, is_quick: false }, ended, reply);
        concluded.outcome.map_err(if concluded.is_usable { Failure::Refused } else { Failure::Stopped })
    })
}
