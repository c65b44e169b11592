//! The way from functions of libraries to values as the interpreter has them: without a handle for each, and without copies.
//!
//! Nothing is collected while such work is done, so what it makes needs no root. It counts as the script's memory meanwhile.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use lua_gc::HeapGuard;
use lua_types::LuaValue;
use lua_vm::api;
use lua_vm::state::LuaState;
use omnilua::{Error, Function, Lua, LuaError, Value, Variadic};

use super::watch::Watch;
use super::{Problem, text};
use crate::script::lender::Lender;
use crate::script::natives::add;

/// The name of the function that has the work done, which scripts do not see.
const NAME: &str = "do_work";

/// What is lent to the function that has the work done.
#[derive(Default)]
pub(in crate::script) struct Bare {
    work: Rc<Lender<LuaState>>,
    function: RefCell<Option<Function>>,
}

impl Bare {
    /// Offers the function, before there is a [`Lua`] of the state.
    pub(in crate::script) fn install(&self, state: &mut LuaState) -> Result<(), LuaError> {
        let _guard = HeapGuard::push(&state.global().heap);
        let work = self.work.clone();
        let function = add(state, move |state| {
            if !work.call(state) {
                api::set_top(state, 0)?;
            }
            Ok(api::get_top(state) as usize)
        });
        state.push(function);
        api::set_global(state, NAME.as_bytes())
    }

    /// Finds it again.
    pub(in crate::script) fn find(&self, lua: &Lua) -> Result<(), Error> {
        self.function.replace(Some(lua.globals().raw_get(NAME)?));
        Ok(())
    }

    pub(super) fn let_go(&self) {
        self.function.replace(None);
    }

    /// Does some work with values on the stack, where it leaves its results.
    pub(super) fn on_stack(
        &self,
        values: &[Value],
        mut work: impl FnMut(&mut LuaState) -> Result<(), Problem>,
    ) -> Result<Vec<Value>, Problem> {
        let mut outcome = Ok(());
        let mut run = |state: &mut LuaState| {
            outcome = work(state);
            if matches!(outcome, Err(Problem::Memory)) {
                // There may be garbage in its way, that of the first try too.
                state.gc_pre_collect_clear();
                state.gc().full_collect();
                outcome = work(state);
            }
            if outcome.is_err()
                && let Err(error) = api::set_top(state, 0)
            {
                outcome = Err(error.into());
            }
        };
        let function = self.function.borrow().clone();
        let function = function.ok_or_else(|| Problem::from("the libraries are not whole"))?;
        let values = Variadic::from(values.to_vec());
        let results: Result<Variadic<Value>, Error> = self.work.lend(&mut run, || function.call(values));
        outcome?;
        Ok(results?.to_vec())
    }
}

/// The arguments of work that is done.
pub(super) fn argument(state: &LuaState, number: u32) -> LuaValue {
    state.get_at(state.current_call_info().func + 1 + number as i32)
}

/// The bytes of the first argument, which is a text or a number: of a text where they stand, as large as they may be.
pub(super) fn first_text<'t>(argument: &'t LuaValue, values: &[Value]) -> Cow<'t, [u8]> {
    match argument {
        LuaValue::Str(text) => Cow::Borrowed(text.as_bytes()),
        _ => Cow::Owned(text(values, 0).unwrap_or_default()),
    }
}

/// Leaves these results.
pub(super) fn give(state: &mut LuaState, results: &[LuaValue]) -> Result<(), Problem> {
    api::set_top(state, 0)?;
    if !api::check_stack(state, results.len() as i32) {
        return Err("too many results to unpack".into());
    }
    results.iter().for_each(|result| state.push(*result));
    Ok(())
}

/// Leaves a text.
pub(super) fn give_text(state: &mut LuaState, text: &[u8]) -> Result<(), Problem> {
    api::set_top(state, 0)?;
    Ok(state.push_string(text)?)
}

/// Fails if the script has too much of memory now, or if it shall end.
pub(super) fn check(state: &LuaState, watch: &Watch) -> Result<(), Problem> {
    let global = state.global();
    match global.sandbox.mem_limit.get().is_some_and(|limit| global.heap.bytes_used() > limit) {
        true => Err(Problem::Memory),
        false => watch.check(),
    }
}

/// As Lua names the type of a value.
pub(super) fn type_name(value: &LuaValue) -> &'static str {
    match value {
        LuaValue::Nil => "nil",
        LuaValue::Bool(_) => "boolean",
        LuaValue::Int(_) | LuaValue::Float(_) => "number",
        LuaValue::Str(_) => "string",
        LuaValue::Table(_) => "table",
        LuaValue::Function(_) => "function",
        LuaValue::Thread(_) => "thread",
        LuaValue::UserData(_) | LuaValue::LightUserData(_) => "userdata",
    }
}

/// The place in an array that a key is.
pub(super) fn place(key: &LuaValue) -> Option<i64> {
    /// Beyond this not every integer is a number of its own.
    const MOST: f64 = (1_u64 << 53) as f64;
    match key {
        LuaValue::Float(number) if *number >= 1.0 && number.fract() == 0.0 && *number <= MOST => Some(*number as i64),
        LuaValue::Int(number) if *number >= 1 => Some(*number),
        _ => None,
    }
}
