//! What a script's run costs most often, on the interpreter's own stack: a script is begun, it calls commands, and its
//! result is written, without handles and copies between.
//!
//! These functions outlive every script, so they cannot borrow what a script's calls work on. They leave a call's words
//! in the [`Exchange`], call the function that is [lent](super::lender) for the script, and find the reply there.
//!
//! Nothing is collected between two of the interpreter's own steps: a value that has just been made needs no root
//! until a function returns or calls.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use larder_protocol::{Args, ArgsBuffer, Proto, Reply};
use lua_types::closure::LuaClosure;
use lua_types::{GcRef, LuaString, LuaTable, LuaValue};
use lua_vm::api;
use lua_vm::state::{LuaCallable, LuaState, LuaTableRefExt};
use omnilua::LuaError;

use super::conclude::Failures;
use super::control::Control;
use super::convert::{self, Names, Writing};
use super::interpreter::{Place, place_of};
use super::lender::Lender;
use crate::error::{self, Error};

/// Instructions between two looks at the limits and at the wish to end: so few that a string which doubles each time does
/// not grow far beyond its limit in between.
pub(super) const LOOK_EVERY: u32 = 4;

/// What a script asks the server for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ask {
    /// To run a command.
    #[default]
    Call,
    /// Whether a command would be allowed.
    MayCall,
}

/// The error that a script has raised.
pub(super) struct Raised {
    /// None where it is no table.
    pub(super) text: Option<Vec<u8>>,
    pub(super) place: Option<Place>,
    /// Whether the statistics have it already: it is that of a command.
    pub(super) is_counted: bool,
}

/// What is handed over between a script and the server.
#[derive(Default)]
pub(super) struct Exchange {
    pub(super) ask: Ask,
    /// The words of a call.
    pub(super) words: ArgsBuffer,
    /// Its reply.
    pub(super) reply: Reply,
    /// Whether the script has asked for RESP3's types.
    pub(super) resp3: bool,
    /// The script's keys and other arguments, and how many of them are keys.
    arguments: ArgsBuffer,
    keys: usize,
    /// Whether it gets these as tables of its own, as functions do, and not as KEYS and ARGV.
    gets_tables: bool,
    /// The function to run, and what it may use.
    function: LuaValue,
    pub(super) limits: Limits,
    pub(super) result: Reply,
    /// Errors in the result.
    pub(super) failures: Failures,
    pub(super) raised: Option<Raised>,
    /// Where the script stood when it met a limit.
    pub(super) stopped_at: Option<Place>,
    /// Whether the result shows the same tables so often that it is not quickly written.
    pub(super) is_too_much: bool,
    /// What the interpreter held when the script had ended, or once its garbage was collected.
    pub(super) heap_bytes: usize,
    kept: Option<Kept>,
}

/// A call of a script or function.
pub(super) struct Call<'c> {
    /// Nothing where the function is given to [`run`].
    pub(super) function: LuaValue,
    pub(super) limits: Limits,
    pub(super) arguments: Args<'c>,
    /// How many of them are keys.
    pub(super) keys: usize,
    /// Whether it gets these as tables.
    pub(super) gets_tables: bool,
}

/// What a script may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// Instructions between two looks at the limits.
    pub(super) look_every: u32,
    pub(super) instructions: u64,
    pub(super) memory_bytes: usize,
    /// Whether the result must be written quickly.
    pub(super) is_quick: bool,
}

/// What the prelude has made; a handle of the interpreter keeps it alive.
struct Kept {
    /// The table that keeps the rest alive.
    all: GcRef<LuaTable>,
    globals: GcRef<LuaTable>,
    /// What errors are handled with, and the function of the host that does so.
    handler: LuaValue,
    handle: LuaValue,
    /// The stand-ins, which stay empty.
    shown: GcRef<LuaTable>,
    /// The names of KEYS and ARGV, and the tables, which serve one script after the other.
    own: [(GcRef<LuaString>, GcRef<LuaTable>); 2],
    names: Names,
}

/// Garbage is not looked for below this: most scripts leave little.
const LEAST_GARBAGE_BYTES: usize = 512 << 10;
/// A table for more keys or arguments does not serve again.
const MOST_KEPT_ARGUMENTS: usize = 256;

/// What the functions of the host share with the interpreter.
pub(super) struct Desk {
    pub(super) control: Arc<Control>,
    pub(super) exchange: RefCell<Exchange>,
    /// Answers what a script asks for.
    pub(super) server: Lender<Exchange>,
}

pub(super) type Shared = Rc<Desk>;

impl Desk {
    pub(super) fn new(control: Arc<Control>) -> Shared {
        Rc::new(Self { control, exchange: RefCell::default(), server: Lender::default() })
    }
}

impl Exchange {
    /// Makes ready for a call, whose result goes to a client of this protocol.
    pub(super) fn begin(&mut self, call: Call<'_>, proto: Proto) {
        self.arguments.clear();
        call.arguments.iter().for_each(|argument| {
            self.arguments.push(argument);
        });
        (self.function, self.limits) = (call.function, call.limits);
        (self.keys, self.gets_tables) = (call.keys, call.gets_tables);
        (self.resp3, self.raised, self.is_too_much) = (false, None, false);
        self.stopped_at = None;
        self.failures = Failures::default();
        self.result.clear();
        self.result.set_proto(proto);
    }

    /// Forgets what the script had.
    pub(super) fn end(&mut self) {
        self.function = LuaValue::Nil;
        self.words.clear();
        self.arguments.clear();
    }

    /// The function that the prelude has given last.
    pub(super) fn take_function(&mut self) -> LuaValue {
        std::mem::replace(&mut self.function, LuaValue::Nil)
    }
}

/// A function of the host.
type Native = fn(&mut LuaState, &Desk) -> Result<usize, LuaError>;

/// Puts the functions into a global table of this name.
pub(super) fn install(state: &mut LuaState, desk: &Shared, name: &'static str) -> Result<(), LuaError> {
    let natives: [(&str, Native); 10] = [
        ("remember", remember),
        ("hand_over", hand_over),
        ("handle", handle),
        ("run", run),
        ("call", |state, desk| call(state, desk, true)),
        ("pcall", |state, desk| call(state, desk, false)),
        ("may_call", may_call),
        ("setresp", setresp),
        ("collect", collect),
        ("exhaust", |state, _| Err(exhausted(state))),
    ];
    let functions: Vec<_> = natives
        .into_iter()
        .map(|(name, function)| {
            let desk = desk.clone();
            (name, add(state, move |state| function(state, &desk)))
        })
        .collect();
    let setup = add(state, move |state| {
        api::create_table(state, 0, functions.len() as i32)?;
        for (name, function) in &functions {
            state.push(*function);
            api::set_field(state, -2, name.as_bytes())?;
        }
        api::set_global(state, name.as_bytes())?;
        Ok(0)
    });
    state.push(setup);
    api::pcall_k(state, 0, 0, 0, 0, None).map(drop)
}

/// The error that ends a script as one that needs too much memory, whatever calls it is in.
pub(super) fn exhausted(state: &LuaState) -> LuaError {
    let text = || LuaError::runtime(format_args!("not enough memory"));
    state.sandbox_reserve(usize::MAX).unwrap_or_else(text)
}

/// Handles an error. After a limit was met the interpreter runs no code of its own any more: where that was is all
/// that is wanted.
fn handle(state: &mut LuaState, desk: &Desk) -> Result<usize, LuaError> {
    let problem = argument(state, 0);
    if state.sandbox_aborting() {
        desk.exchange.borrow_mut().stopped_at = place_of(state);
        state.push(problem);
        return Ok(1);
    }
    let handler = kept(&desk.exchange.borrow().kept)?.handler;
    state.push(handler);
    state.push(problem);
    api::call_k(state, 1, 1, 0, None)?;
    Ok(1)
}

/// Makes a function of the host.
pub(super) fn add(
    state: &mut LuaState,
    function: impl Fn(&mut LuaState) -> Result<usize, LuaError> + 'static,
) -> LuaValue {
    let mut global = state.global_mut();
    global.c_functions.push(LuaCallable::Rust(Rc::new(function)));
    LuaValue::Function(LuaClosure::LightC(global.c_functions.len() - 1))
}

/// The arguments of the function that runs.
fn arguments(state: &LuaState) -> impl Iterator<Item = LuaValue> {
    let (first, end) = (state.current_call_info().func.0 + 1, state.top_idx().0);
    (first..end).map(|at| state.get_at(at))
}

fn argument(state: &LuaState, number: u32) -> LuaValue {
    let at = state.current_call_info().func.0 + 1 + number;
    if at < state.top_idx().0 { state.get_at(at) } else { LuaValue::Nil }
}

/// The prelude's table of what is needed here later.
fn remember(state: &mut LuaState, desk: &Desk) -> Result<usize, LuaError> {
    let missing = || LuaError::runtime(format_args!("the prelude is not whole"));
    let table = argument(state, 0).as_table().copied().ok_or_else(missing)?;
    let of = |name: &[u8]| table.get_str_bytes(name);
    let (Some(globals), Some(shown)) = (of(b"globals").as_table().copied(), of(b"shown").as_table().copied()) else {
        return Err(missing());
    };
    // Whatever is a key of this table stays alive with it.
    let mut name = |text: &[u8]| -> Result<GcRef<LuaString>, LuaError> {
        let name = state.intern_str(text)?;
        LuaTableRefExt::raw_set(&table, state, LuaValue::Str(name), LuaValue::Bool(true))?;
        Ok(name)
    };
    let (keys, arguments) = (name(b"KEYS")?, name(b"ARGV")?);
    let names = Names::new(name)?;
    let own = [(keys, own_table(state, &table, 1)?), (arguments, own_table(state, &table, 2)?)];
    let (handler, handle) = (of(b"handler"), of(b"handle"));
    desk.exchange.borrow_mut().kept = Some(Kept { all: table, globals, handler, handle, shown, own, names });
    Ok(0)
}

/// A new table for KEYS or ARGV, kept alive.
fn own_table(state: &mut LuaState, all: &GcRef<LuaTable>, place: i64) -> Result<GcRef<LuaTable>, LuaError> {
    let table = state.new_table();
    LuaTableRefExt::raw_set_int(all, state, place, LuaValue::Table(table))?;
    Ok(table)
}

/// Leaves a function for the host, whose handles do not show the value itself.
fn hand_over(state: &mut LuaState, desk: &Desk) -> Result<usize, LuaError> {
    desk.exchange.borrow_mut().function = argument(state, 0);
    Ok(0)
}

fn setresp(state: &mut LuaState, desk: &Desk) -> Result<usize, LuaError> {
    desk.exchange.borrow_mut().resp3 = matches!(argument(state, 0), LuaValue::Float(3.0) | LuaValue::Int(3));
    Ok(0)
}

/// `redis.call` and `redis.pcall`.
fn call(state: &mut LuaState, desk: &Desk, raises: bool) -> Result<usize, LuaError> {
    let (value, failed) = ask(state, desk, Ask::Call)?;
    if failed && raises {
        return Err(LuaError::from_value(value));
    }
    state.push(value);
    Ok(1)
}

/// Whether the user may call a command: gives whether the value is an error, and the value.
fn may_call(state: &mut LuaState, desk: &Desk) -> Result<usize, LuaError> {
    let (value, failed) = match ask(state, desk, Ask::MayCall)? {
        (value, false) => (LuaValue::Bool(matches!(value, LuaValue::Float(1.0))), false),
        failed => failed,
    };
    state.push(LuaValue::Bool(failed));
    state.push(value);
    Ok(2)
}

/// Has the server answer; gives the answer, and whether it is an error.
fn ask(state: &mut LuaState, desk: &Desk, ask: Ask) -> Result<(LuaValue, bool), LuaError> {
    let exchange = &mut *desk.exchange.borrow_mut();
    exchange.ask = ask;
    if let Err(error) = gather(state, &mut exchange.words) {
        let names = &kept(&exchange.kept)?.names;
        return Ok((convert::error_table(state, names, error.text(), false)?, true));
    }
    // What the script could not hold is not made.
    exchange.reply.set_limit(exchange.limits.memory_bytes);
    if !desk.server.call(exchange) {
        return Err(LuaError::runtime(format_args!("no script runs")));
    }
    if exchange.reply.has_overflowed() {
        exchange.reply = Reply::new();
        return Err(exhausted(state));
    }
    let names = &kept(&exchange.kept)?.names;
    convert::to_lua(state, &mut exchange.reply, names, exchange.resp3, ask == Ask::Call)
}

/// Leaves the arguments as the words of a call.
fn gather(state: &LuaState, words: &mut ArgsBuffer) -> Result<(), Error> {
    words.clear();
    for value in arguments(state) {
        if !convert::word(&value, words) {
            return Err(error::SCRIPT_CALL_TYPES);
        }
    }
    if words.as_args().is_empty() { Err(error::SCRIPT_CALL_EMPTY) } else { Ok(()) }
}

fn kept(kept: &Option<Kept>) -> Result<&Kept, LuaError> {
    kept.as_ref().ok_or_else(|| LuaError::runtime(format_args!("the prelude has not run")))
}

/// Runs what [`Exchange::begin`] has named, or the function that is given.
fn run(state: &mut LuaState, desk: &Desk) -> Result<usize, LuaError> {
    let given = argument(state, 0);
    let (handler, function, tables) = {
        let exchange = &mut *desk.exchange.borrow_mut();
        let tables = begin(state, exchange)?;
        let function = if given.is_nil() { exchange.function } else { given };
        (kept(&exchange.kept)?.handle, function, tables)
    };
    state.push(handler);
    let handler_at = api::get_top(state);
    state.push(function);
    let count = tables.as_ref().map_or(0, |tables| tables.len());
    tables.into_iter().flatten().for_each(|table| state.push(LuaValue::Table(table)));
    let ended = api::pcall_k(state, count as i32, 1, handler_at, 0, None);
    let exchange = &mut *desk.exchange.borrow_mut();
    let names = &kept(&exchange.kept)?.names;
    match ended {
        Ok(_) => {
            let (value, most_values) = (state.pop(), most_values(state, &exchange.limits));
            let how = Writing { names, resp3: exchange.resp3, most_values, control: &desk.control };
            exchange.is_too_much = !convert::write(&how, &value, &mut exchange.result, &mut exchange.failures);
        }
        Err(error) => exchange.raised = Some(raised(&error, names)),
    }
    end(state, exchange)?;
    Ok(0)
}

/// The most values of a result: of a quick script about as many as there are, unless tables stand in it many times.
fn most_values(state: &LuaState, limits: &Limits) -> usize {
    const FEW: usize = 10_000;
    const BYTES_PER_VALUE: usize = 4;
    match limits.is_quick {
        true => FEW + state.global().heap.bytes_used() / BYTES_PER_VALUE,
        false => usize::MAX,
    }
}

/// Sets the limits, and KEYS and ARGV, or gives tables in their place.
fn begin(state: &mut LuaState, exchange: &mut Exchange) -> Result<Option<[GcRef<LuaTable>; 2]>, LuaError> {
    let Limits { look_every, instructions, memory_bytes, .. } = exchange.limits;
    state.install_sandbox_limits(look_every as i32, Some(instructions), Some(memory_bytes));
    {
        let global = state.global();
        if global.heap.bytes_used() < LEAST_GARBAGE_BYTES {
            global.heap.set_threshold_bytes(LEAST_GARBAGE_BYTES);
        }
    }
    let (words, kept) = (exchange.arguments.as_args(), kept(&exchange.kept)?);
    let words = [words.until(exchange.keys), words.from(exchange.keys)];
    if exchange.gets_tables {
        // A function may keep them.
        let tables = [state.new_table(), state.new_table()];
        tables.iter().zip(words).try_for_each(|(table, words)| fill(state, table, words))?;
        return Ok(Some(tables));
    }
    for ((name, table), words) in kept.own.iter().zip(words) {
        fill(state, table, words)?;
        LuaTableRefExt::raw_set(&kept.globals, state, LuaValue::Str(*name), LuaValue::Table(*table))?;
    }
    Ok(None)
}

fn fill(state: &mut LuaState, table: &GcRef<LuaTable>, words: Args<'_>) -> Result<(), LuaError> {
    for (at, word) in words.iter().enumerate() {
        let word = state.intern_str(word)?;
        LuaTableRefExt::raw_set_int(table, state, at as i64 + 1, LuaValue::Str(word))?;
    }
    Ok(())
}

/// Collects all garbage at once.
fn collect(state: &mut LuaState, desk: &Desk) -> Result<usize, LuaError> {
    state.gc_pre_collect_clear();
    state.gc().full_collect();
    desk.exchange.borrow_mut().heap_bytes = state.global().heap.bytes_used();
    Ok(0)
}

/// Leaves nothing of a script for the next one.
fn end(state: &mut LuaState, exchange: &mut Exchange) -> Result<(), LuaError> {
    exchange.heap_bytes = state.global().heap.bytes_used();
    let (count, keys) = (exchange.arguments.as_args().len(), exchange.keys);
    let Some(kept) = &mut exchange.kept else { return Ok(()) };
    if exchange.gets_tables {
        return empty_stand_ins(state, kept);
    }
    let all = kept.all;
    for (number, (name, table)) in kept.own.iter_mut().enumerate() {
        LuaTableRefExt::raw_set(&kept.globals, state, LuaValue::Str(*name), LuaValue::Nil)?;
        let own_count = if number == 0 { keys } else { count.saturating_sub(keys) };
        if own_count <= MOST_KEPT_ARGUMENTS && !table.has_metatable() {
            for at in 1..=own_count as i64 {
                LuaTableRefExt::raw_set_int(table, state, at, LuaValue::Nil)?;
            }
            if table.next_pair(&LuaValue::Nil).is_none() {
                continue;
            }
        }
        // The script has made something else of it.
        *table = own_table(state, &all, number as i64 + 1)?;
    }
    empty_stand_ins(state, kept)
}

/// What `rawset` has put into a stand-in does not outlive the script.
fn empty_stand_ins(state: &mut LuaState, kept: &Kept) -> Result<(), LuaError> {
    let mut number = 0;
    loop {
        number += 1;
        let stand_in = kept.shown.get_int(number);
        let Some(stand_in) = stand_in.as_table() else { return Ok(()) };
        if stand_in.buffer_bytes() == 0 {
            // It has never held anything.
            continue;
        }
        while let Some((key, _)) = stand_in.next_pair(&LuaValue::Nil) {
            LuaTableRefExt::raw_set(stand_in, state, key, LuaValue::Nil)?;
        }
    }
}

fn raised(error: &LuaError, names: &Names) -> Raised {
    let (LuaError::Runtime(LuaValue::Table(table)) | LuaError::Syntax(LuaValue::Table(table))) = error else {
        return Raised { text: None, place: None, is_counted: false };
    };
    let text = |name| table.get_short_str(name).as_string().map(|text| text.as_bytes().to_vec());
    let line = match table.get_short_str(&names.line) {
        LuaValue::Float(line) => Some(line as i64),
        LuaValue::Int(line) => Some(line),
        _ => None,
    };
    let place = text(&names.source).zip(line).map(|(source, line)| Place { source, line });
    let text = text(&names.err).unwrap_or_else(|| b"ERR unknown error".to_vec());
    Raised { text: Some(text), place, is_counted: convert::is_counted(names, table) }
}
