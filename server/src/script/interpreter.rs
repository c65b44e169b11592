//! The Lua interpreter, behind this module so that it can be exchanged: a state with Redis's libraries, and its limits.
//!
//! The interpreter counts instructions. Every so many of them it looks whether the script shall end; one that shall
//! is ended by its budget, which no `pcall` catches. Its memory is bounded too: what makes much in one step is checked
//! before ([`PRELUDE`]). A state that has met one of its limits is thrown away.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use lua_vm::debug::{LuaDebug, get_info, get_stack};
use lua_vm::state::LuaState;
pub(super) use omnilua::{Error, Value};
use omnilua::{Function, HostHooks, Lua, LuaRuntime, LuaVersion, Sandbox, SandboxConfig, Table, TripReason, Variadic};

use super::control::Control;
use super::{libraries, redis_table};

/// What scripts find around them.
const PRELUDE: &str = include_str!("prelude.lua");
/// Memory that a script may use, in bytes.
const MEMORY_BYTES: usize = 64 << 20;
/// The least of it, where a source has so many concatenations that one step might make many times as much.
const LEAST_MEMORY_BYTES: usize = 8 << 20;
/// What one step may make, in bytes.
const STEP_BYTES: usize = 1 << 29;
/// Instructions between two looks at the limits and at the wish to end: so few that a string which doubles each time does
/// not grow far beyond its limit in between.
const LOOK_EVERY: u32 = 4;
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
    /// By the wish of somebody, or after so many steps where nobody can end it.
    Steps,
    /// It wanted too much memory.
    Memory,
}

/// Where a script stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) source: Vec<u8>,
    pub(crate) line: i64,
}

/// What came of a script.
pub(super) enum Ended {
    /// Its result.
    Value(Value),
    /// The error that it raised.
    Raised(Value),
    Stopped(Stopped, Option<Place>),
}

/// A state; see the module's page.
pub(super) struct Interpreter {
    pub(super) lua: Lua,
    sandbox: Sandbox,
    prepare: Function,
    run: Function,
    /// Raises a value as an error.
    raise: Function,
    /// Scripts that are compiled, by the digest of their source.
    compiled: HashMap<String, (Function, usize)>,
    /// When what runs must have ended, if there is such a time.
    deadline: Rc<Cell<Option<Instant>>>,
    /// Where what ran was told to end.
    place: Rc<RefCell<Option<Place>>>,
    /// What another prelude builds on.
    pub(super) parts: Table,
}

impl Interpreter {
    pub(super) fn new(control: Arc<Control>) -> Result<Self, Error> {
        let mut runtime = LuaRuntime::with_hooks_versioned(HostHooks::default(), LuaVersion::V51)?;
        libraries::whole::install(runtime.state_mut())?;
        let watched = control.clone();
        let deadline = Rc::new(Cell::new(None));
        let (until, looks) = (deadline.clone(), Cell::new(0));
        let place = Rc::new(RefCell::new(None));
        let ended_at = place.clone();
        runtime.state_mut().hook = Some(Box::new(move |state, _| {
            if watched.must_end() || until.get().is_some_and(|until| is_over(until, &looks)) {
                ended_at.replace(place_of(state));
                // The budget is spent: the next look at it ends the script.
                state.sandbox_charge(u64::MAX);
            } else {
                state.sandbox_reset();
            }
        }));
        let lua = runtime.into_lua();
        let host = lua.create_table()?;
        host.raw_set("redis", redis_table::constants(&lua)?)?;
        let fail = libraries::Fail::default();
        host.raw_set("libraries", libraries::all(&lua, &fail)?)?;
        host.raw_set("find", libraries::find(&lua, &fail)?)?;
        redis_table::functions(&lua, &host)?;
        let seed = Rc::new(Cell::new(0x1234_330e_u64));
        libraries::random(&lua, &host, &seed)?;
        let prelude = lua.load(PRELUDE).set_name("=redis").into_function()?;
        let control: Table = prelude.call((host, MEMORY_BYTES as f64))?;
        let (prepare, run, raise) = (control.raw_get("prepare")?, control.raw_get("run")?, control.raw_get("raise")?);
        let parts = control.raw_get("parts")?;
        // It is set once.
        let _ = fail.set(control.raw_get("fail")?);
        let sandbox = lua.install_sandbox(limits(MEMORY_BYTES))?;
        Ok(Self { lua, sandbox, prepare, run, raise, compiled: HashMap::new(), deadline, place, parts })
    }

    /// Compiles a script, unless that is done; the error is the compiler's text.
    pub(super) fn compile(&mut self, digest: &str, source: &Source) -> Result<(), Vec<u8>> {
        if self.compiled.contains_key(digest) {
            return Ok(());
        }
        let text = &source.text[source.header..];
        if text.first() == Some(&27) {
            return Err(b"compiled code is not loaded".to_vec());
        }
        let function = self.chunk(text, "@user_script").map_err(|error| message(&error))?;
        self.compiled.insert(digest.to_owned(), (function, memory_of(text)));
        Ok(())
    }

    /// A compiled text that sees what scripts see.
    pub(super) fn chunk(&self, text: &[u8], name: &str) -> Result<Function, Error> {
        self.sandbox.reset();
        let chunk = self.lua.load(text).set_name(name).into_function()?;
        self.prepare.call(chunk)
    }

    /// Forgets what was compiled.
    pub(super) fn forget(&mut self, keep: impl Fn(&str) -> bool) {
        self.compiled.retain(|digest, _| keep(digest));
    }

    pub(super) fn compiled_count(&self) -> usize {
        self.compiled.len()
    }

    /// Runs a compiled script. `dispatch` gets what the server is asked for, with 0 for a call (else it is the first
    /// value), and gives whether that is to be raised as an error, and the value. Whoever gets [`Ended::Stopped`] must not use the state again.
    pub(super) fn run<'k>(
        &mut self,
        digest: &str,
        keys: impl Iterator<Item = &'k [u8]>,
        arguments: impl Iterator<Item = &'k [u8]>,
        dispatch: impl FnMut(&Lua, Option<u8>, &[Value]) -> Result<(bool, Value), Error>,
    ) -> Result<Ended, Error> {
        let Some((function, memory)) = self.compiled.get(digest) else { return Ok(Ended::Value(Value::Nil)) };
        let (function, memory) = (function.clone(), *memory);
        self.call(&self.run, function, memory, keys, arguments, dispatch)
    }

    /// As [`Interpreter::run`], of a function within a bound of memory; `by` calls it.
    pub(super) fn call<'k>(
        &self,
        by: &Function,
        function: Function,
        memory: usize,
        keys: impl Iterator<Item = &'k [u8]>,
        arguments: impl Iterator<Item = &'k [u8]>,
        dispatch: impl FnMut(&Lua, Option<u8>, &[Value]) -> Result<(bool, Value), Error>,
    ) -> Result<Ended, Error> {
        self.lua.install_sandbox(limits(memory))?;
        self.sandbox.reset();
        let (keys, arguments) = (self.array(keys)?, self.array(arguments)?);
        let dispatch = RefCell::new(dispatch);
        let result: Result<(bool, Value), Error> = self.lua.scope(|scope| {
            let ask = |lua: &Lua, values: &[Value], what: Option<u8>| match dispatch.try_borrow_mut() {
                Ok(mut dispatch) => (*dispatch)(lua, what, values),
                Err(_) => Ok((false, Value::Nil)),
            };
            let call =
                scope.create_function(&self.lua, |lua, values: Variadic<Value>| match ask(lua, &values, Some(0))? {
                    (false, value) => Ok(value),
                    (true, value) => Err(self.raised(value)),
                })?;
            let pcall = scope.create_function(&self.lua, |lua, values: Variadic<Value>| {
                ask(lua, &values, Some(0)).map(|(_, value)| value)
            })?;
            let other = scope.create_function(&self.lua, |lua, values: Variadic<Value>| ask(lua, &values, None))?;
            by.call(Variadic::from(vec![
                Value::Function(function),
                Value::Table(keys),
                Value::Table(arguments),
                Value::Function(call),
                Value::Function(pcall),
                Value::Function(other),
            ]))
        });
        self.ended(result)
    }

    /// How what has run has ended.
    fn ended(&self, result: Result<(bool, Value), Error>) -> Result<Ended, Error> {
        match (self.sandbox.tripped(), result) {
            (Some(TripReason::Memory), _) => Ok(Ended::Stopped(Stopped::Memory, None)),
            (Some(TripReason::Instructions), _) => Ok(Ended::Stopped(Stopped::Steps, self.place.take())),
            (None, Ok((true, value))) => Ok(Ended::Value(value)),
            (None, Ok((false, value))) => Ok(Ended::Raised(value)),
            (None, Err(error)) => Err(error),
        }
    }

    /// Runs a chunk of the server's own choice by `by`, until a time at most.
    pub(super) fn run_until(
        &self,
        until: Instant,
        by: &Function,
        chunk: Function,
        memory: usize,
    ) -> Result<Ended, Error> {
        self.lua.install_sandbox(limits(memory))?;
        self.sandbox.reset();
        self.deadline.set(Some(until));
        let result = by.call(chunk);
        self.deadline.set(None);
        self.ended(result)
    }

    /// An error with a value of Lua.
    fn raised(&self, value: Value) -> Error {
        match self.raise.call::<_, Value>(value) {
            Err(error) => error,
            Ok(_) => omnilua::LuaError::runtime(format_args!("an error was not raised")).into(),
        }
    }

    fn array<'k>(&self, words: impl Iterator<Item = &'k [u8]>) -> Result<Table, Error> {
        let table = self.lua.create_table()?;
        for (at, word) in words.enumerate() {
            table.raw_set((at + 1) as f64, word)?;
        }
        Ok(table)
    }
}

/// Whether a time has come. The clock is read now and then only.
fn is_over(until: Instant, looks: &Cell<u32>) -> bool {
    const LOOKS: u32 = 256;
    looks.set(looks.get().wrapping_add(1));
    looks.get().is_multiple_of(LOOKS) && Instant::now() >= until
}

/// Where the innermost function of a script stands.
fn place_of(state: &mut LuaState) -> Option<Place> {
    /// Calls that are looked at.
    const MOST: i32 = 250;
    for level in 0..MOST {
        let mut info = LuaDebug::default();
        if !get_stack(state, level, &mut info) || !get_info(state, b"Sl", &mut info) {
            break;
        }
        let source = info.source.unwrap_or_default();
        if info.currentline > 0 && source != b"=redis" {
            return Some(Place { source, line: info.currentline.into() });
        }
    }
    None
}

/// The memory that a source may use.
pub(super) fn memory_of(text: &[u8]) -> usize {
    let concatenations = text.windows(2).filter(|pair| pair == b"..").count();
    (STEP_BYTES / (concatenations + 1)).clamp(LEAST_MEMORY_BYTES, MEMORY_BYTES)
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
