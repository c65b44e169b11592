//! The Lua interpreter, behind this module so that it can be exchanged: a state with Redis's libraries, and its limits.
//!
//! The interpreter counts instructions. Every so many of them it looks whether the script shall end; one that shall
//! is ended by its budget, which no `pcall` catches. Its memory is bounded too: what makes much in one step is checked
//! before ([`PRELUDE`]). A state that has met one of its limits is thrown away.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use larder_protocol::{Args, Reply};
use lua_types::LuaValue;
pub(super) use omnilua::Error;
use omnilua::{Function, HostHooks, Lua, LuaRuntime, LuaVersion, Sandbox, SandboxConfig, Table, TripReason, Variadic};

use super::cache::{ByDigest, Script};
use super::control::Control;
use super::natives::{self, Exchange, LOOK_EVERY, Limits, Raised, Shared};
use super::quick::Quick;
use super::{libraries, redis_table};

/// What scripts find around them.
const PRELUDE: &str = include_str!("prelude.lua");
/// Memory that a script may use, in bytes.
const MEMORY_BYTES: usize = 64 << 20;
/// The least of it, where a source has so many concatenations that one step might make many times as much.
const LEAST_MEMORY_BYTES: usize = 8 << 20;
/// What one step may make, in bytes.
const STEP_BYTES: usize = 1 << 29;
/// The same of a quick script.
const QUICK_LOOK_EVERY: u32 = 64;
/// Instructions that run at most without such a look: in coroutines, and in one search for a pattern, there is none.
const MOST_UNSEEN: u64 = 100_000_000;

/// A script's source as it is kept.
pub(super) struct Source {
    pub(super) text: Vec<u8>,
    /// Bytes of the line that names the engine and flags; what follows is Lua.
    pub(super) header: usize,
}

/// How a script ended that did not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// By the wish of somebody.
    Killed,
    /// It ran too long where nobody can end it.
    Instructions,
    /// It wanted too much memory.
    Memory,
}

/// What came of a script.
pub(super) enum Ended {
    /// Its result is written.
    Done,
    /// The error that it raised.
    Raised(Raised),
    Stopped(Stopped),
}

/// A script that is compiled.
struct Compiled {
    value: LuaValue,
    /// Keeps it alive.
    _function: Function,
    limits: Limits,
}

/// A state; see the module's page.
pub(super) struct Interpreter {
    pub(super) lua: Lua,
    sandbox: Sandbox,
    prepare: Function,
    run: Function,
    /// What the functions of the host need of the prelude, kept alive.
    _kept: Table,
    desk: Shared,
    /// Whether the budget of the script that runs is not filled again.
    is_bounded: Rc<Cell<bool>>,
    /// By the digest of their source.
    compiled: ByDigest<Compiled>,
}

impl Interpreter {
    pub(super) fn new(control: Arc<Control>) -> Result<Self, Error> {
        /// Where the prelude finds the functions of the host.
        const NATIVES: &str = "natives";
        let mut runtime = LuaRuntime::with_hooks_versioned(HostHooks::default(), LuaVersion::V51)?;
        let is_bounded = Rc::new(Cell::new(false));
        let bounded = is_bounded.clone();
        runtime.state_mut().hook = Some(Box::new(move |state, _| {
            if bounded.get() {
                // It ends soon.
            } else if control.must_end() {
                // The budget is spent: the next look at it ends the script.
                state.sandbox_charge(u64::MAX);
            } else {
                state.sandbox_reset();
            }
        }));
        let desk = Shared::default();
        natives::install(runtime.state_mut(), &desk, NATIVES)?;
        let lua = runtime.into_lua();
        let host = lua.create_table()?;
        host.raw_set(NATIVES, lua.globals().raw_get::<_, Table>(NATIVES)?)?;
        host.raw_set("redis", redis_table::constants(&lua)?)?;
        let fail = libraries::Fail::default();
        host.raw_set("libraries", libraries::all(&lua, &fail)?)?;
        host.raw_set("find", libraries::find(&lua, &fail)?)?;
        redis_table::functions(&lua, &host)?;
        host.raw_set("native", lua.create_function(native)?)?;
        let seed = Rc::new(Cell::new(0x1234_330e_u64));
        libraries::random(&lua, &host, &seed)?;
        let prelude = lua.load(PRELUDE).set_name("=redis").into_function()?;
        let control: Table = prelude.call((host, MEMORY_BYTES as f64))?;
        let (prepare, run, kept) = (control.raw_get("prepare")?, control.raw_get("run")?, control.raw_get("kept")?);
        // It is set once.
        let _ = fail.set(control.raw_get("fail")?);
        let sandbox = lua.install_sandbox(limits(MEMORY_BYTES))?;
        Ok(Self { lua, sandbox, prepare, run, _kept: kept, desk, is_bounded, compiled: ByDigest::default() })
    }

    /// Whether a script is compiled.
    pub(super) fn has(&self, digest: &str) -> bool {
        self.compiled.contains_key(digest)
    }

    /// Compiles a script, unless that is done; the error is the compiler's text.
    pub(super) fn compile(&mut self, digest: &str, script: &Script) -> Result<(), Vec<u8>> {
        if self.has(digest) {
            return Ok(());
        }
        self.lua.install_sandbox(limits(MEMORY_BYTES)).map_err(|error| message(&error))?;
        self.sandbox.reset();
        let text = &script.source.text[script.source.header..];
        if text.first() == Some(&27) {
            return Err(b"compiled code is not loaded".to_vec());
        }
        let compile = || -> Result<Function, Error> {
            let chunk = self.lua.load(text).set_name("@user_script").into_function()?;
            self.prepare.call::<_, ()>((chunk.clone(), script.leaves_globals()))?;
            Ok(chunk)
        };
        let function = compile().map_err(|error| message(&error))?;
        let value = self.desk.exchange.borrow_mut().take_function();
        let concatenations = text.windows(2).filter(|pair| pair == b"..").count();
        let memory_bytes = (STEP_BYTES / (concatenations + 1)).clamp(LEAST_MEMORY_BYTES, MEMORY_BYTES);
        let limits = Limits { look_every: LOOK_EVERY, instructions: MOST_UNSEEN, memory_bytes, is_quick: false };
        self.compiled.insert(digest.to_owned(), Compiled { value, _function: function, limits });
        Ok(())
    }

    /// Forgets what was compiled.
    pub(super) fn forget(&mut self, keep: impl Fn(&str) -> bool) {
        self.compiled.retain(|digest, _| keep(digest));
    }

    /// What the state held when the last script had ended, garbage included.
    pub(super) fn heap_bytes(&self) -> usize {
        self.desk.exchange.borrow().heap_bytes
    }

    pub(super) fn compiled_count(&self) -> usize {
        self.compiled.len()
    }

    /// Runs a compiled script, the first `keys` of whose arguments are keys, and writes its result; one that is quick on
    /// its budget. `serve` answers what it asks for. Whoever gets [`Ended::Stopped`] must not use the state again.
    pub(super) fn run(
        &mut self,
        digest: &str,
        arguments: Args<'_>,
        keys: usize,
        quick: Option<Quick>,
        reply: &mut Reply,
        mut serve: impl FnMut(&mut Exchange),
    ) -> Result<Ended, Error> {
        let Some(Compiled { value, limits, .. }) = self.compiled.get(digest) else {
            return Err(omnilua::LuaError::runtime(format_args!("the script is not compiled")).into());
        };
        let limits = match quick {
            Some(quick) => {
                Limits { look_every: QUICK_LOOK_EVERY, instructions: budget(quick), is_quick: true, ..*limits }
            }
            None => *limits,
        };
        self.is_bounded.set(quick.is_some());
        self.sandbox.reset();
        {
            let mut exchange = self.desk.exchange.borrow_mut();
            exchange.begin(*value, limits, arguments, keys);
            exchange.result.clear();
            exchange.result.set_proto(reply.proto());
        }
        let result: Result<(), Error> = self.desk.server.lend(&mut serve, || self.run.call(()));
        let mut exchange = self.desk.exchange.borrow_mut();
        exchange.end();
        if exchange.is_too_much {
            exchange.result.clear();
            return Ok(Ended::Stopped(Stopped::Instructions));
        }
        take_result(&mut exchange.result, reply);
        match (self.sandbox.tripped(), result) {
            (Some(TripReason::Memory), _) => Ok(Ended::Stopped(Stopped::Memory)),
            (Some(TripReason::Instructions), _) => Ok(Ended::Stopped(Stopped::Instructions)),
            (None, Ok(())) => Ok(exchange.raised.take().map_or(Ended::Done, Ended::Raised)),
            (None, Err(error)) => Err(error),
        }
    }
}

/// Instructions that a quick script may run: no token stands for nearly as many.
fn budget(quick: Quick) -> u64 {
    const BASE: u64 = 10_000;
    const PER_STEP: u64 = 64;
    BASE + PER_STEP * quick.steps
}

/// Adds a result to the replies. A short one is copied: its memory serves again, and theirs is the connection's.
fn take_result(result: &mut Reply, reply: &mut Reply) {
    const SHORT: usize = 16 << 10;
    match result.as_slice() {
        Some(bytes) if bytes.len() <= SHORT => reply.raw(bytes),
        _ => {
            reply.append(result);
            *result = Reply::new();
        }
    }
    result.clear();
}

/// A function of Lua as one of the host.
fn native(lua: &Lua, function: Function) -> Result<Function, Error> {
    lua.create_function(move |_, values: Variadic<omnilua::Value>| function.call::<_, Variadic<omnilua::Value>>(values))
}

fn limits(memory_bytes: usize) -> SandboxConfig {
    SandboxConfig {
        instruction_limit: Some(MOST_UNSEEN),
        memory_limit_bytes: Some(memory_bytes),
        check_interval: LOOK_EVERY,
        remove_globals: Vec::new(),
    }
}

/// The text of an error.
pub(super) fn message(error: &Error) -> Vec<u8> {
    error.message_lossy().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::quick::{GLOBALS, REFUSED};
    use super::*;

    #[test]
    fn every_global_is_refused_to_quick_scripts_or_known_not_to_be_assigned() {
        let interpreter = Interpreter::new(Arc::default()).map_err(|error| message(&error));
        let Ok(interpreter) = interpreter else { panic!("no interpreter") };
        let globals: Table = interpreter._kept.raw_get("globals").unwrap();
        for (name, _) in globals.raw_pairs().unwrap() {
            let omnilua::Value::String(name) = name else { panic!("a global without a name") };
            let name = name.to_str().unwrap();
            assert!(GLOBALS.contains(&name.as_str()) || REFUSED.contains(&name.as_str()), "{name}");
        }
    }
}
