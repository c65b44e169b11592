//! FUNCTION LOAD and FUNCTION RESTORE.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::header;
use super::library::{Libraries, Library};
use super::state::{Failure, State};
use crate::engine::Engine;
use crate::error::{self, Error, Outcome};
use crate::locked::Locked;
use crate::rdb;
use crate::script::interpreter::message;
use crate::script::thread::Machine;

/// How long the code of a library may run.
const LOAD_TIME: Duration = Duration::from_millis(500);
/// How long that of all libraries in one payload may.
const RESTORE_TIME: Duration = Duration::from_secs(5);
/// So many libraries may stay in the interpreter that the engine has no longer.
const FORGOTTEN: usize = 64;

/// What happens to libraries that are there already when others are restored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Append,
    Replace,
    Flush,
}

/// Does something with the interpreter of functions, made first where there is none.
pub(super) fn with_state<R>(
    engine: &Engine,
    machine: &Machine,
    work: impl FnOnce(&mut State) -> Result<R, Failure>,
) -> Result<R, Error> {
    let mut kept = machine.functions.try_borrow_mut().map_err(|_| error::SCRIPT_PANICKED)?;
    let memory = engine.settings().lua_memory_limit.as_usize();
    kept.take_if(|state| state.interpreter.memory_bytes() != memory);
    let state = match &mut *kept {
        Some(state) => state,
        None => {
            let made = State::new(engine.scripts.control.clone(), memory, engine.scripts.held_by_functions.clone());
            kept.insert(made.map_err(|error| Error::made([b"ERR ", message(&error).as_slice()].concat()))?)
        }
    };
    match work(state) {
        Ok(result) => Ok(result),
        Err(Failure::Refused(error)) => Err(error),
        Err(Failure::Stopped(error)) => {
            *kept = None;
            Err(error)
        }
    }
}

/// FUNCTION LOAD: gives the library's name.
pub(crate) fn load(engine: &Engine, locked: &mut Locked<'_>, code: &[u8], replace: bool) -> Result<Vec<u8>, Error> {
    let header = header::read(code)?;
    if !replace && engine.scripts.libraries.lock().has(&header.name) {
        return Err(error::library_already_exists(&header.name));
    }
    let library = run(engine, locked, code, header, Instant::now() + LOAD_TIME)?;
    let name = library.name.clone();
    engine.scripts.libraries.lock().add(vec![library], replace)?;
    locked.count_changes(1);
    Ok(name)
}

/// Runs the code of a library.
fn run(
    engine: &Engine,
    locked: &Locked<'_>,
    code: &[u8],
    header: header::Header,
    until: Instant,
) -> Result<Arc<Library>, Error> {
    let id = engine.scripts.libraries.lock().next_id();
    let Some(machine) = locked.machine else { return Err(error::NO_SCRIPT_THREAD) };
    with_state(engine, machine, |state| {
        let (libraries, ..) = engine.scripts.libraries.lock().figures();
        if state.loaded_count() > libraries + FORGOTTEN {
            let libraries = engine.scripts.libraries.lock();
            state.forget(|id| libraries.has_id(id));
        }
        let functions = state.load(id, &code[header.length..], until)?;
        Ok(Arc::new(Library { id, name: header.name, code: code.to_vec(), functions }))
    })
}

/// Sees to it that a library is in the interpreter: its code runs again where it is not there any more.
pub(super) fn ensure(state: &mut State, library: &Library) -> Result<(), Failure> {
    if state.loaded(library.id).is_some() {
        return Ok(());
    }
    let header = header::read(&library.code).map_err(Failure::Refused)?;
    state.load(library.id, &library.code[header.length..], Instant::now() + LOAD_TIME).map(drop)
}

/// FUNCTION RESTORE.
pub(crate) fn restore(engine: &Engine, locked: &mut Locked<'_>, payload: &[u8], policy: Policy) -> Outcome {
    let bytes = rdb::open(payload).ok_or(error::WRONG_DUMP_PAYLOAD)?;
    let (until, mut restored) = (Instant::now() + RESTORE_TIME, Libraries::default());
    let mut codes = rdb::Functions::new(bytes);
    while let Some(code) = codes.next()? {
        let header = header::read(&code)?;
        if restored.has(&header.name) {
            return Err(error::library_already_exists(&header.name));
        }
        let library = run(engine, locked, &code, header, until)?;
        restored.add(vec![library], false)?;
    }
    let mut libraries = engine.scripts.libraries.lock();
    if policy == Policy::Flush {
        libraries.clear();
    }
    libraries.add(restored.iter().cloned().collect(), policy == Policy::Replace)?;
    locked.count_changes(1);
    Ok(())
}
