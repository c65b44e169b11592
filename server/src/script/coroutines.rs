//! What coroutines cost, and how they are let go.
//!
//! The interpreter counts the bytes of a script's values, but not those of a coroutine's stack and frames: the functions
//! here take the place of its own and add them. A coroutine is charged for what it has when it is made, and for what it
//! has grown whenever it stops. While it runs it is charged for its caller too, whose stack is copied meanwhile: so the one
//! that runs is the only one whose growth is not seen, and its stack is bounded.
//!
//! There may be [`MOST`] at a time: the interpreter's collector goes through all of them once more for each that it finds in
//! another one. Suspended coroutines hold the interpreter that holds them: whoever drops it lets them go first.

use std::cell::RefCell;
use std::mem::size_of;
use std::rc::Rc;

use lua_gc::HeapGuard;
use lua_stdlib::coro_lib;
use lua_types::closure::{LuaCClosure, LuaClosure};
use lua_types::value::LuaThread;
use lua_types::{GcRef, LuaType, LuaValue, UpVal};
use lua_vm::api;
use lua_vm::debug::arg_error_impl;
use lua_vm::state::{CallInfo, GlobalState, LuaState, StackValue};
use omnilua::LuaError;

use super::interpreter::{Look, look_with};
use super::libraries::native::upvalue;
use super::natives::{add, exhausted};

/// Coroutines that an interpreter has at a time.
const MOST: usize = 256;

/// The coroutines of an interpreter.
pub(super) struct Coroutines(Rc<RefCell<GlobalState>>);

impl Coroutines {
    /// Puts the functions in the place of the interpreter's, and offers the prelude `wrap_of`, which makes the last of them.
    /// Coroutines look as other code does.
    pub(super) fn install(state: &mut LuaState, look: &Look) -> Result<Self, LuaError> {
        let _guard = HeapGuard::push(&state.global().heap);
        api::get_global(state, b"coroutine")?;
        let of_create = look.clone();
        let create = add(state, move |state| make(state, &of_create).map(|_| 1));
        state.push(create);
        api::set_field(state, -2, b"create")?;
        state.push_c_closure(resume, 0)?;
        api::set_field(state, -2, b"resume")?;
        api::set_top(state, -2)?;
        let of_wrap = look.clone();
        let wrap_of = add(state, move |state| wrap_of(state, &of_wrap));
        state.push(wrap_of);
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

/// `coroutine.create`: makes one, which stands on top of the stack then.
fn make(state: &mut LuaState, look: &Look) -> Result<GcRef<LuaThread>, LuaError> {
    if !matches!(api::lua_type_at(state, 1), LuaType::Function) {
        return Err(arg_error_impl(state, 1, b"Lua function expected"));
    }
    let is_full = |state: &LuaState| state.global().threads.len() >= MOST;
    if is_full(state) {
        // Most have ended, or nobody has them any more.
        state.gc_pre_collect_clear();
        state.gc().full_collect();
        if is_full(state) {
            return Err(exhausted(state));
        }
    }
    coro_lib::co_create(state)?;
    let made = api::to_thread(state, -1).ok_or_else(not_made)?;
    let held = state.global().threads.get(&made.id).map(|entry| entry.state.clone());
    if let Some(mut own) = held.as_ref().and_then(|held| held.try_borrow_mut().ok()) {
        look_with(&mut own, look);
    }
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
fn wrap_of(state: &mut LuaState, look: &Look) -> Result<usize, LuaError> {
    let made = state.get_at(state.current_call_info().func + 1);
    let LuaValue::Function(LuaClosure::C(made)) = made else { return Err(not_made()) };
    let (resumes, resumes_within, look) = (state.register_c_function(resume_wrapped, true), made.func, look.clone());
    let wrap = add(state, move |state| wrap(state, resumes, resumes_within, &look));
    state.push(wrap);
    Ok(1)
}

/// `coroutine.wrap`, with the numbers of [`resume_wrapped`] and of the interpreter's own function.
fn wrap(state: &mut LuaState, resumes: usize, resumes_within: usize, look: &Look) -> Result<usize, LuaError> {
    let upvalues = vec![LuaValue::Thread(make(state, look)?), LuaValue::Int(resumes_within as i64)];
    let closure = GcRef::new(LuaCClosure { func: resumes, upvalues: RefCell::new(upvalues) });
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
