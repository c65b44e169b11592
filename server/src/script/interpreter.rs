//! The Lua interpreter, behind this module so that it can be exchanged: a state with Redis's libraries, and its limits.
//!
//! The interpreter counts instructions. Every so many of them it looks whether the script shall end; one that shall
//! is ended by its budget, which no `pcall` catches. Its memory is bounded too: what makes much in one step is checked
//! before ([`PRELUDE`]). A state that has met one of its limits is thrown away.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use larder_protocol::{Args, Reply};
use lua_types::LuaValue;
use lua_vm::debug::{LuaDebug, get_info, get_stack};
use lua_vm::state::LuaState;
pub(super) use omnilua::{Error, Value};
use omnilua::{Function, HostHooks, Lua, LuaRuntime, LuaVersion, Sandbox, SandboxConfig, Table, TripReason};

use super::bounds;
use super::cache::{ByDigest, Script};
use super::conclude::Failures;
use super::control::Control;
use super::coroutines::Coroutines;
use super::libraries::bare::Bare;
use super::libraries::watch::Watch;
use super::names::{concatenations, for_compiler};
use super::natives::{self, Call, Desk, Exchange, LOOK_EVERY, Limits, Raised, Shared};
use super::quick::Quick;
use super::{libraries, redis_table};
use crate::error;

/// What scripts find around them.
const PRELUDE: &str = include_str!("prelude.lua");
/// What one step may make, as a multiple of the memory that a script may use; where its source has more concatenations, it may
/// use less.
const STEP_SHARE: usize = 8;
/// The same of a quick script.
const QUICK_LOOK_EVERY: u32 = 64;
/// Instructions that run at most without such a look: in one search for a pattern there is none.
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
    /// By the wish of somebody, or after so many steps where nobody can end it, or that were more than it may take.
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

/// Why a script is refused before it runs: what the compiler says, and whether that is the limit of memory.
pub(super) struct NotCompiled {
    pub(super) text: Vec<u8>,
    pub(super) is_of_memory: bool,
}

/// What came of a script.
pub(super) enum Ended {
    /// Its result is written, with these errors in it.
    Done(Failures),
    /// The error that it raised.
    Raised(Raised),
    Stopped(Stopped, Option<Place>),
}

/// A script that is compiled.
struct Compiled {
    value: LuaValue,
    /// Keeps it alive.
    _function: Function,
    limits: Limits,
}

/// What is done every few instructions.
pub(super) type Look = Rc<dyn Fn(&mut LuaState)>;

/// Has a state look. A coroutine does not by itself do what the one does that made it.
pub(super) fn look_with(state: &mut LuaState, look: &Look) {
    let look = look.clone();
    state.hook = Some(Box::new(move |state, _| look(state)));
}

/// What interpreters hold together, in bytes.
pub(super) type Held = Arc<AtomicUsize>;

/// A state; see the module's page.
pub(super) struct Interpreter {
    /// What a script may use.
    memory_bytes: usize,
    held: Held,
    /// What this one has added there.
    noted_bytes: Cell<usize>,
    pub(super) lua: Lua,
    sandbox: Sandbox,
    prepare: Function,
    run: Function,
    collect: Function,
    /// What it held when its garbage was last collected at once.
    clean_bytes: Cell<usize>,
    /// What the functions of the host need of the prelude, kept alive.
    _kept: Table,
    called: libraries::Fail,
    coroutines: Coroutines,
    desk: Shared,
    /// Whether the budget of the script that runs is not filled again.
    is_bounded: Rc<Cell<bool>>,
    /// When what runs must have ended, if there is such a time.
    deadline: Rc<Cell<Option<Instant>>>,
    /// Where what ran was told to end.
    place: Rc<RefCell<Option<Place>>>,
    /// What another prelude builds on.
    pub(super) parts: Table,
    /// By the digest of their source.
    compiled: ByDigest<Compiled>,
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        self.called.let_go();
        self.coroutines.let_go();
        self.held.fetch_sub(self.noted_bytes.get(), Relaxed);
    }
}

impl Interpreter {
    /// One whose scripts may use so much memory, and which notes what it holds.
    pub(super) fn new(control: Arc<Control>, memory_bytes: usize, held: Held) -> Result<Self, Error> {
        /// Where the prelude finds the functions of the host.
        const NATIVES: &str = "natives";
        let mut runtime = LuaRuntime::with_hooks_versioned(HostHooks::default(), LuaVersion::V51)?;
        let (is_bounded, deadline) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(None)));
        let place: Rc<RefCell<Option<Place>>> = Rc::default();
        let watch = Watch::new(control.clone(), memory_bytes, place.clone());
        libraries::whole::install(runtime.state_mut(), &watch)?;
        let bare = Bare::default();
        bare.install(runtime.state_mut())?;
        let (bounded, until, looks, ended_at) = (is_bounded.clone(), deadline.clone(), Cell::new(0), place.clone());
        let chosen = Cell::new(0);
        let look: Look = Rc::new(move |state| {
            if bounded.get() {
                // It ends soon.
            } else if state.sandbox_aborting() {
                // It has met a limit, which the handler of an error must not make undone.
            } else if control.must_end() || until.get().is_some_and(|until| is_over(until, &looks)) {
                ended_at.replace(place_of(state));
                // The budget is spent: the next look at it ends the script.
                state.sandbox_charge(u64::MAX);
            } else {
                state.sandbox_reset();
                collect_in_time(state, &chosen);
            }
        });
        look_with(runtime.state_mut(), &look);
        let coroutines = Coroutines::install(runtime.state_mut(), &look)?;
        let desk = Desk::new(watch.control.clone());
        natives::install(runtime.state_mut(), &desk, NATIVES)?;
        let lua = runtime.into_lua();
        bare.find(&lua)?;
        let host = lua.create_table()?;
        host.raw_set(NATIVES, lua.globals().raw_get::<_, Table>(NATIVES)?)?;
        host.raw_set("redis", redis_table::constants(&lua)?)?;
        let called = libraries::Fail::new(libraries::Called::new(watch, bare));
        host.raw_set("libraries", libraries::all(&lua, &called)?)?;
        redis_table::functions(&lua, &host)?;
        let seed = Rc::new(Cell::new(0x1234_330e_u64));
        libraries::random(&lua, &host, &seed)?;
        let prelude = lua.load(PRELUDE).set_name("=redis").into_function()?;
        let control: Table = prelude.call((host, memory_bytes as f64))?;
        let (prepare, kept) = (control.raw_get("prepare")?, control.raw_get("kept")?);
        let (run, collect) = (control.raw_get("run")?, control.raw_get("collect")?);
        let parts = control.raw_get("parts")?;
        called.fail.replace(Some(control.raw_get("fail")?));
        called.exhaust.replace(Some(control.raw_get("exhaust")?));
        let sandbox = lua.install_sandbox(limits(memory_bytes))?;
        Ok(Self {
            memory_bytes,
            held,
            noted_bytes: Cell::new(0),
            lua,
            sandbox,
            prepare,
            run,
            collect,
            clean_bytes: Cell::new(0),
            _kept: kept,
            called,
            coroutines,
            desk,
            is_bounded,
            deadline,
            place,
            parts,
            compiled: ByDigest::default(),
        })
    }

    /// Whether a script is compiled.
    pub(super) fn has(&self, digest: &str) -> bool {
        self.compiled.contains_key(digest)
    }

    /// Compiles a script, unless that is done. Whoever is refused for want of memory must not use the state again.
    pub(super) fn compile(&mut self, digest: &str, script: &Script) -> Result<(), NotCompiled> {
        if self.has(digest) {
            return Ok(());
        }
        let text = &script.source.text[script.source.header..];
        if text.first() == Some(&27) {
            return Err(NotCompiled { text: b"compiled code is not loaded".to_vec(), is_of_memory: false });
        }
        let made = self.prepared(text, "@user_script", script.leaves_globals());
        let refused = |error| NotCompiled { text: message(&error), is_of_memory: is_of_memory(&error) };
        let (function, value) = made.map_err(refused)?;
        let limits = limits_of(self.memory_of(text));
        self.compiled.insert(digest.to_owned(), Compiled { value, _function: function, limits });
        Ok(())
    }

    /// A compiled text that sees what scripts see.
    pub(super) fn chunk(&self, text: &[u8], name: &str) -> Result<Function, Error> {
        self.prepared(text, name, false).map(|(function, _)| function)
    }

    /// The same, as a handle and as a value, which may be given the globals themselves.
    fn prepared(&self, text: &[u8], name: &str, is_given_globals: bool) -> Result<(Function, LuaValue), Error> {
        bounds::check(text).map_err(|refused| omnilua::LuaError::syntax(format_args!("{refused}")))?;
        self.make_ready(self.memory_bytes)?;
        let chunk = self.lua.load(&*for_compiler(text)).set_name(name).into_function()?;
        self.prepare.call::<_, ()>((chunk.clone(), is_given_globals))?;
        let value = self.desk.exchange.borrow_mut().take_function();
        Ok((chunk, value))
    }

    /// Sets the limits of something that is no call.
    fn make_ready(&self, memory_bytes: usize) -> Result<(), Error> {
        self.is_bounded.set(false);
        self.lua.install_sandbox(limits(memory_bytes))?;
        self.sandbox.reset();
        Ok(())
    }

    /// Forgets what was compiled.
    pub(super) fn forget(&mut self, keep: impl Fn(&str) -> bool) {
        self.compiled.retain(|digest, _| keep(digest));
    }

    /// Whether so much was held when the last script had ended that the next ones would have too little.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.heap_bytes() > self.memory_bytes / 2
    }

    /// Collects the garbage of scripts that have ended, if there may be much or `all` is asked for. It takes time by what is held:
    /// so nobody should wait meanwhile, and what stays is not looked through for less than half as much.
    pub(super) fn collect(&self, all: bool) -> Result<(), Error> {
        const MUCH_BYTES: usize = 1 << 20;
        let clean = self.clean_bytes.get();
        if all || self.heap_bytes() > clean + MUCH_BYTES.max(clean / 2) {
            self.make_ready(self.memory_bytes)?;
            self.collect.call::<_, ()>(())?;
            self.clean_bytes.set(self.heap_bytes());
            self.note_held(self.heap_bytes());
        }
        Ok(())
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
        let call = Call { function: *value, limits, arguments, keys, gets_tables: false };
        self.serve(call, reply, &mut serve, || self.run.call(()))
    }

    /// As [`Interpreter::run`], of a function within a bound of memory, which gets its keys and arguments as tables.
    pub(super) fn call(
        &self,
        function: &Function,
        memory_bytes: usize,
        arguments: Args<'_>,
        keys: usize,
        reply: &mut Reply,
        mut serve: impl FnMut(&mut Exchange),
    ) -> Result<Ended, Error> {
        let limits = limits_of(memory_bytes);
        let call = Call { function: LuaValue::Nil, limits, arguments, keys, gets_tables: true };
        self.serve(call, reply, &mut serve, || self.run.call(function.clone()))
    }

    /// Answers what a call asks for while it runs.
    fn serve(
        &self,
        call: Call<'_>,
        reply: &mut Reply,
        serve: &mut dyn FnMut(&mut Exchange),
        run: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Ended, Error> {
        self.is_bounded.set(call.limits.is_quick);
        self.sandbox.reset();
        self.desk.exchange.borrow_mut().begin(call, reply.proto());
        let result = self.desk.server.lend(serve, run);
        let mut exchange = self.desk.exchange.borrow_mut();
        exchange.end();
        self.note_held(exchange.heap_bytes);
        if exchange.is_too_much {
            exchange.result.clear();
            return Ok(Ended::Stopped(Stopped::Steps, None));
        }
        take_result(&mut exchange.result, reply);
        if let Some(stopped) = self.stopped() {
            return Ok(Ended::Stopped(stopped, self.place.take().or(exchange.stopped_at.take())));
        }
        result.map(|()| match exchange.raised.take() {
            Some(raised) => Ended::Raised(raised),
            None => Ended::Done(std::mem::take(&mut exchange.failures)),
        })
    }

    /// Tells others what this interpreter holds, unless that is nearly what they know.
    fn note_held(&self, bytes: usize) {
        const STEP_BYTES: usize = 16 << 10;
        let noted = self.noted_bytes.get();
        if bytes.abs_diff(noted) >= STEP_BYTES {
            self.noted_bytes.set(bytes);
            self.held.fetch_add(bytes.wrapping_sub(noted), Relaxed);
        }
    }

    /// The memory that a source may use.
    pub(super) fn memory_of(&self, text: &[u8]) -> usize {
        let most = self.memory_bytes;
        (STEP_SHARE * most / (concatenations(text) + 1)).clamp(most / STEP_SHARE, most)
    }

    /// What any of its scripts may use.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The limit that was met, if any was.
    fn stopped(&self) -> Option<Stopped> {
        match self.sandbox.tripped()? {
            TripReason::Memory => Some(Stopped::Memory),
            TripReason::Instructions => Some(Stopped::Steps),
        }
    }

    /// Runs a chunk of the server's own choice by `by`, until a time at most: gives what `by` gives, or the limit that was met.
    pub(super) fn run_until(
        &self,
        until: Instant,
        by: &Function,
        chunk: Function,
        memory_bytes: usize,
    ) -> Result<Result<(bool, Value), Stopped>, Error> {
        self.make_ready(memory_bytes)?;
        self.deadline.set(Some(until));
        let result = by.call(chunk);
        self.deadline.set(None);
        match self.stopped() {
            Some(stopped) => Ok(Err(stopped)),
            None => result.map(Ok),
        }
    }
}

/// Has garbage looked for before the limit of memory is met: by itself the collector waits until there is twice what it has
/// left. Where that is too much, it is to look again half way to the limit, which is noted in `chosen`.
fn collect_in_time(state: &LuaState, chosen: &Cell<usize>) {
    /// So near to the limit the next step may pass it; and so much there is at least between two looks, which would else
    /// take all of the time.
    const SHARES: [usize; 2] = [8, 32];
    let global = state.global();
    let (limit, next) = (global.sandbox.mem_limit.get().unwrap_or(usize::MAX), global.heap.threshold_bytes());
    if next > limit - limit / SHARES[0] && next != chosen.get() {
        let used = global.heap.bytes_used();
        chosen.set(used + limit.saturating_sub(used) / 2 + limit / SHARES[1]);
        global.heap.set_threshold_bytes(chosen.get());
    }
}

/// Whether a time has come. The clock is read now and then only.
fn is_over(until: Instant, looks: &Cell<u32>) -> bool {
    const LOOKS: u32 = 256;
    looks.set(looks.get().wrapping_add(1));
    looks.get().is_multiple_of(LOOKS) && Instant::now() >= until
}

/// Where the innermost function of a script stands.
pub(super) fn place_of(state: &mut LuaState) -> Option<Place> {
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

/// What may be used of what is not quick.
fn limits_of(memory_bytes: usize) -> Limits {
    Limits { look_every: LOOK_EVERY, instructions: MOST_UNSEEN, memory_bytes, is_quick: false }
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

fn limits(memory_bytes: usize) -> SandboxConfig {
    SandboxConfig {
        instruction_limit: Some(MOST_UNSEEN),
        memory_limit_bytes: Some(memory_bytes),
        check_interval: LOOK_EVERY,
        remove_globals: Vec::new(),
    }
}

/// The text of an error. The interpreter has words of its own for its limit of memory.
pub(super) fn message(error: &Error) -> Vec<u8> {
    match is_of_memory(error) {
        true => error::SCRIPT_MEMORY.text().strip_prefix(b"ERR ").unwrap_or_default().to_vec(),
        false => error.message_lossy().into_bytes(),
    }
}

fn is_of_memory(error: &Error) -> bool {
    const LIMIT: &str = "sandbox: memory limit exceeded";
    error.message_lossy().contains(LIMIT)
}

#[cfg(test)]
mod tests {
    use super::super::quick::{GLOBALS, REFUSED};
    use super::*;

    #[test]
    fn an_interpreter_is_freed_when_it_is_dropped() {
        let Ok(interpreter) = Interpreter::new(Arc::default(), 1 << 20, Held::default()) else {
            panic!("no interpreter")
        };
        let called = Rc::downgrade(&interpreter.called);
        let text = b"local t = {} for i = 1, 1000 do t[i] = {i} end return ('a'):find('a')";
        assert!(interpreter.chunk(text, "@user_script").is_ok());
        drop(interpreter);
        assert!(called.upgrade().is_none(), "functions of the state hold it");
    }

    #[test]
    fn every_global_is_refused_to_quick_scripts_or_known_not_to_be_assigned() {
        let interpreter = Interpreter::new(Arc::default(), 1 << 20, Held::default()).map_err(|error| message(&error));
        let Ok(interpreter) = interpreter else { panic!("no interpreter") };
        let globals: Table = interpreter._kept.raw_get("globals").unwrap();
        for (name, _) in globals.raw_pairs().unwrap() {
            let omnilua::Value::String(name) = name else { panic!("a global without a name") };
            let name = name.to_str().unwrap();
            assert!(GLOBALS.contains(&name.as_str()) || REFUSED.contains(&name.as_str()), "{name}");
        }
    }
}
