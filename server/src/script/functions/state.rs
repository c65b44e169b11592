//! The interpreter of functions: libraries that are loaded in it, and how one is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use omnilua::{Error as LuaError, Function as LuaFunction, Table, Value, Variadic};

use super::header::is_name;
use super::library::{FLAGS, Function};
use crate::error::{self, Error};
use crate::script::control::Control;
use crate::script::interpreter::{Held, Interpreter, Stopped, message};
use crate::script::libraries::text;

/// What functions find around them.
const PRELUDE: &str = include_str!("prelude.lua");
/// Functions of one library.
const MOST_FUNCTIONS: usize = 10_000;
/// Bytes of their names and descriptions.
const MOST_BYTES: usize = 16 << 20;

/// See the module's page.
pub(in crate::script) struct State {
    pub(in crate::script) interpreter: Interpreter,
    /// Runs the code of a library.
    load: LuaFunction,
    /// What the library that is being loaded has registered.
    loading: Rc<RefCell<Option<Registered>>>,
    loaded: HashMap<u64, Loaded>,
}

/// A library in the state.
pub(super) struct Loaded {
    /// In the order of the library's functions.
    pub(super) callbacks: Vec<LuaFunction>,
    /// The memory that a call may use.
    pub(super) memory: usize,
}

/// What the code of a library has registered.
#[derive(Default)]
struct Registered {
    functions: Vec<Function>,
    callbacks: Vec<LuaFunction>,
    bytes: usize,
}

/// Why a library was not loaded.
pub(super) enum Failure {
    Refused(Error),
    /// It met a limit: the state must not be used again.
    Stopped(Error),
}

impl State {
    pub(super) fn new(control: Arc<Control>, memory_bytes: usize, held: Held) -> Result<Self, LuaError> {
        let interpreter = Interpreter::new(control, memory_bytes, held)?;
        let lua = &interpreter.lua;
        let loading: Rc<RefCell<Option<Registered>>> = Rc::default();
        let host = lua.create_table()?;
        let registered = loading.clone();
        let register = lua.create_function(move |_, values: Variadic<Value>| {
            Ok(match &mut *registered.borrow_mut() {
                Some(registered) => registered.register(&values).err(),
                None => Some("redis.register_function can only be called on FUNCTION LOAD command"),
            })
        })?;
        host.raw_set("register", register)?;
        let prelude = lua.load(PRELUDE).set_name("=redis").into_function()?;
        let load = prelude.call((interpreter.parts.clone(), host))?;
        Ok(Self { interpreter, load, loading, loaded: HashMap::new() })
    }

    /// Runs the code of a library, which stands behind its header, and keeps what it has registered.
    pub(super) fn load(&mut self, id: u64, code: &[u8], until: Instant) -> Result<Vec<Function>, Failure> {
        let registering = |text: &[u8]| error::library_does_not_register(text);
        if code.first() == Some(&27) {
            return Err(Failure::Refused(error::library_does_not_compile(b"compiled code is not loaded")));
        }
        let memory = self.interpreter.memory_of(code);
        let chunk = self.interpreter.chunk(code, "@user_function");
        let chunk = chunk.map_err(|error| Failure::Refused(error::library_does_not_compile(&message(&error))))?;
        *self.loading.borrow_mut() = Some(Registered::default());
        let ended = self.interpreter.run_until(until, &self.load, chunk, memory);
        let registered = self.loading.borrow_mut().take().unwrap_or_default();
        match ended {
            Ok(Ok((true, _))) if registered.functions.is_empty() => Err(Failure::Refused(error::LIBRARY_IS_EMPTY)),
            Ok(Ok((true, _))) => {
                self.loaded.insert(id, Loaded { callbacks: registered.callbacks, memory });
                Ok(registered.functions)
            }
            Ok(Ok((false, problem))) => Err(Failure::Refused(registering(&problem_text(&problem)))),
            Ok(Err(Stopped::Memory)) => Err(Failure::Stopped(registering(error::SCRIPT_MEMORY.text()))),
            Ok(Err(Stopped::Steps)) => Err(Failure::Stopped(registering(b"ERR FUNCTION LOAD timeout"))),
            Err(problem) => Err(Failure::Stopped(registering(&[b"ERR ", message(&problem).as_slice()].concat()))),
        }
    }

    pub(super) fn loaded(&self, id: u64) -> Option<&Loaded> {
        self.loaded.get(&id)
    }

    pub(super) fn loaded_count(&self) -> usize {
        self.loaded.len()
    }

    /// Forgets libraries.
    pub(in crate::script) fn forget(&mut self, keep: impl Fn(u64) -> bool) {
        self.loaded.retain(|id, _| keep(*id));
    }
}

/// The text of an error that the code of a library has raised.
fn problem_text(problem: &Value) -> Vec<u8> {
    match problem {
        Value::Table(table) => match table.raw_get("err") {
            Ok(Value::String(text)) => text.as_bytes().unwrap_or_default(),
            _ => Vec::new(),
        },
        other => [b"ERR ", text(std::slice::from_ref(other), 0).unwrap_or_default().as_slice()].concat(),
    }
}

impl Registered {
    /// `redis.register_function`; the error is a text.
    fn register(&mut self, values: &[Value]) -> Result<(), &'static str> {
        let (function, callback) = match values {
            [Value::Table(named)] => read_named(named)?,
            [_] => {
                return Err(
                    "calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).",
                );
            }
            [_, callback] => {
                let name = text(values, 0).ok_or("first argument to redis.register_function must be a string")?;
                let Value::Function(callback) = callback else {
                    return Err("second argument to redis.register_function must be a function");
                };
                (Function { name, description: None, flags: 0 }, callback.clone())
            }
            _ => return Err("wrong number of arguments to redis.register_function"),
        };
        if !is_name(&function.name) {
            return Err(
                "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
            );
        }
        if self.functions.iter().any(|other| other.name == function.name) {
            return Err("Function already exists in the library");
        }
        self.bytes += function.name.len() + function.description.as_ref().map_or(0, Vec::len);
        if self.functions.len() == MOST_FUNCTIONS || self.bytes > MOST_BYTES {
            return Err("too many functions in the library");
        }
        self.functions.push(function);
        self.callbacks.push(callback);
        Ok(())
    }
}

/// Reads the arguments of a function that is registered with a table.
fn read_named(named: &Table) -> Result<(Function, LuaFunction), &'static str> {
    let (mut name, mut description, mut callback, mut flags) = (None, None, None, 0);
    for (key, value) in &named.raw_pairs().unwrap_or_default() {
        let key = text(std::slice::from_ref(key), 0)
            .ok_or("named argument key given to redis.register_function is not a string")?;
        let word = || text(std::slice::from_ref(value), 0);
        match key.to_ascii_lowercase().as_slice() {
            b"function_name" => {
                name = Some(word().ok_or("function_name argument given to redis.register_function must be a string")?);
            }
            b"description" => {
                let text = word().ok_or("description argument given to redis.register_function must be a string")?;
                description = Some(text);
            }
            b"callback" => match value {
                Value::Function(function) => callback = Some(function.clone()),
                _ => return Err("callback argument given to redis.register_function must be a function"),
            },
            b"flags" => match value {
                Value::Table(names) => flags = read_flags(names).ok_or("unknown flag given")?,
                _ => {
                    return Err(
                        "flags argument to redis.register_function must be a table representing function flags",
                    );
                }
            },
            _ => return Err("unknown argument given to redis.register_function"),
        }
    }
    let name = name.ok_or("redis.register_function must get a function name argument")?;
    let callback = callback.ok_or("redis.register_function must get a callback argument")?;
    Ok((Function { name, description, flags }, callback))
}

fn read_flags(names: &Table) -> Option<u8> {
    let mut flags = 0;
    for at in 1.. {
        let value: Value = names.raw_get(f64::from(at)).ok()?;
        if matches!(value, Value::Nil) {
            break;
        }
        let name = text(&[value], 0)?;
        flags |= FLAGS.iter().find(|(flag, _)| name.eq_ignore_ascii_case(flag.as_bytes()))?.1;
    }
    Some(flags)
}
