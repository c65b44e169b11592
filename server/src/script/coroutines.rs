//! What coroutines cost, and how they are let go.
//!
//! The interpreter counts the bytes of a script's values, but not those of a coroutine's stack and frames: the functions
//! here take the place of its own and add them. A coroutine is charged for what it has when it is made, and for what it
//! has grown whenever it stops. While it runs it is charged for its caller too, whose stack is copied meanwhile: so the one
//! that runs is the only one whose growth is not seen, and its stack is bounded.
//!
//! Suspended coroutines hold the interpreter that holds them: whoever drops it lets them go first.

use std::cell::RefCell;
use std::mem::size_of;
use std::rc::Rc;

use lua_gc::HeapGuard;
use lua_stdlib::coro_lib;
use lua_types::closure::{LuaCClosure, LuaClosure};
use lua_types::value::LuaThread;
use lua_types::{GcRef, LuaValue, UpVal};
use lua_vm::api;
use lua_vm::state::{CallInfo, GlobalState, LuaState, StackValue};
use omnilua::LuaError;

/// The coroutines of an interpreter.
pub(super) struct Coroutines(Rc<RefCell<GlobalState>>);

impl Coroutines {
    /// Puts the functions in the place of the interpreter's, and offers the prelude `wrap_of`, which makes the last of them.
    pub(super) fn install(state: &mut LuaState) -> Result<Self, LuaError> {
        let _guard = HeapGuard::push(&state.global().heap);
        api::get_global(state, b"coroutine")?;
        state.push_c_closure(create, 0)?;
        api::set_field(state, -2, b"create")?;
        state.push_c_closure(resume, 0)?;
        api::set_field(state, -2, b"resume")?;
        api::set_top(state, -2)?;
        state.push_c_closure(wrap_of, 0)?;
        api::set_global(state, b"wrap_of")?;
        Ok(Self(state.global_rc()))
    }

    /// Lets go of them all. The state must not be used afterwards.
    pub(super) fn let_go(&self) {
        let threads = self.0.try_borrow_mut().map(|mut global| std::mem::take(&mut global.threads));
        drop(threads);
    }
}

/// A function of the interpreter.
type Native = fn(&mut LuaState) -> Result<usize, LuaError>;

/// `coroutine.create`.
fn create(state: &mut LuaState) -> Result<usize, LuaError> {
    make(state).map(|_| 1)
}

/// Makes a coroutine, which stands on top of the stack then.
fn make(state: &mut LuaState) -> Result<GcRef<LuaThread>, LuaError> {
    coro_lib::co_create(state)?;
    let made = api::to_thread(state, -1).ok_or_else(not_made)?;
    charge(&made, bytes_of(state, &made), 0);
    Ok(made)
}

/// `coroutine.resume`.
fn resume(state: &mut LuaState) -> Result<usize, LuaError> {
    match api::to_thread(state, 1) {
        Some(coroutine) => run(state, &coroutine, coro_lib::co_resume),
        None => coro_lib::co_resume(state),
    }
}

/// Gives `coroutine.wrap` for a function that the interpreter's own has made. That one registers a function anew for each
/// coroutine and never forgets it, so it is called once.
fn wrap_of(state: &mut LuaState) -> Result<usize, LuaError> {
    let made = state.get_at(state.current_call_info().func + 1);
    let LuaValue::Function(LuaClosure::C(made)) = made else { return Err(not_made()) };
    let numbers = [state.register_c_function(resume_wrapped, true), made.func];
    numbers.into_iter().for_each(|number| state.push(LuaValue::Int(number as i64)));
    state.push_c_closure(wrap, numbers.len() as i32)?;
    Ok(1)
}

/// `coroutine.wrap`.
fn wrap(state: &mut LuaState) -> Result<usize, LuaError> {
    let (LuaValue::Int(resumes), resumes_within) = (upvalue(state, 0), upvalue(state, 1)) else {
        return Err(not_made());
    };
    let upvalues = vec![LuaValue::Thread(make(state)?), resumes_within];
    let closure = GcRef::new(LuaCClosure { func: resumes as usize, upvalues: RefCell::new(upvalues) });
    closure.account_buffer(closure.buffer_bytes() as isize);
    state.push(LuaValue::Function(LuaClosure::C(closure)));
    Ok(1)
}

/// What `coroutine.wrap` gives: has the interpreter's function, which finds the coroutine as its own, resume it.
fn resume_wrapped(state: &mut LuaState) -> Result<usize, LuaError> {
    let (LuaValue::Thread(coroutine), LuaValue::Int(within)) = (upvalue(state, 0), upvalue(state, 1)) else {
        return Err(not_made());
    };
    let function = state.global().c_functions.get(within as usize).and_then(|function| function.as_bare());
    run(state, &coroutine, function.ok_or_else(not_made)?)
}

/// A value that the function that runs was made with.
fn upvalue(state: &LuaState, number: usize) -> LuaValue {
    let LuaValue::Function(LuaClosure::C(closure)) = state.get_at(state.current_call_info().func) else {
        return LuaValue::Nil;
    };
    let value = closure.upvalues.borrow().get(number).copied();
    value.unwrap_or(LuaValue::Nil)
}

/// Has a function resume a coroutine, and charges what this costs.
fn run(state: &mut LuaState, coroutine: &GcRef<LuaThread>, function: Native) -> Result<usize, LuaError> {
    let before = bytes_of(state, coroutine);
    // Its stack, and the copy of it.
    let callers = bytes(state) + size_of::<StackValue>() * state.stack.len();
    charge(coroutine, callers, 0);
    let result = function(state);
    charge(coroutine, bytes_of(state, coroutine), before + callers);
    result
}

/// Charges a coroutine for bytes, and no longer for others.
fn charge(coroutine: &GcRef<LuaThread>, more: usize, less: usize) {
    coroutine.account_buffer(more.wrapping_sub(less) as isize);
}

/// What a coroutine holds; nothing if it is gone. One that runs is charged for itself by whoever it resumes.
fn bytes_of(state: &LuaState, coroutine: &GcRef<LuaThread>) -> usize {
    let held = state.global().threads.get(&coroutine.id).map(|entry| entry.state.clone());
    held.and_then(|held| held.try_borrow().ok().map(|state| bytes(&state))).unwrap_or_default()
}

/// What a state holds beside its values.
fn bytes(state: &LuaState) -> usize {
    /// What the tables of coroutines and of their environments have for each, half of them empty.
    const ROWS: usize = 160;
    ROWS + size_of::<LuaState>()
        + size_of::<StackValue>() * state.stack.capacity()
        + size_of::<CallInfo>() * state.call_info.capacity()
        + size_of::<GcRef<UpVal>>() * state.openupval.capacity()
}

fn not_made() -> LuaError {
    LuaError::runtime(format_args!("a coroutine is not what it was made as"))
}
