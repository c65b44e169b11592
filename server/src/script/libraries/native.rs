//! Functions for the preludes that Lua sees as the host's, though they call functions of Lua. Their arguments stay where they stand
//! on the stack, however many there are.

use lua_types::LuaValue;
use lua_types::closure::LuaClosure;
use lua_vm::api;
use lua_vm::debug::c_api_runtime;
use lua_vm::state::LuaState;
use omnilua::LuaError;

/// The place of what a function was made with.
pub(super) const FIRST_UPVALUE: i32 = -1_001_001;
/// Marks results that come in a table, as an address that is none.
pub(super) const MANY: usize = 1;
/// All results of a call.
const ALL: i32 = -1;

/// Offers the functions as global ones, which scripts do not see: `native_of` makes a function of the host, `spread_of`
/// one that may have many results.
pub(super) fn install(state: &mut LuaState) -> Result<(), LuaError> {
    state.push_c_closure(native_of, 0)?;
    api::set_global(state, b"native_of")?;
    state.push_c_closure(spread_of, 0)?;
    api::set_global(state, b"spread_of")
}

/// A value that the function that runs was made with.
pub(in crate::script) fn upvalue(state: &LuaState, number: usize) -> LuaValue {
    let LuaValue::Function(LuaClosure::C(closure)) = state.get_at(state.current_call_info().func) else {
        return LuaValue::Nil;
    };
    let value = closure.upvalues.borrow().get(number).copied();
    value.unwrap_or(LuaValue::Nil)
}

fn native_of(state: &mut LuaState) -> Result<usize, LuaError> {
    api::set_top(state, 1)?;
    state.push_c_closure(forward, 1)?;
    Ok(1)
}

fn spread_of(state: &mut LuaState) -> Result<usize, LuaError> {
    api::set_top(state, 1)?;
    state.push_c_closure(spread, 1)?;
    Ok(1)
}

/// Calls the function that it was made with, and takes many results out of their table.
fn spread(state: &mut LuaState) -> Result<usize, LuaError> {
    let count = forward(state)?;
    if count != 2 || api::to_userdata(state, 2).is_none_or(|marker| marker as usize != MANY) {
        return Ok(count);
    }
    api::get_field(state, 1, b"n")?;
    let count = api::to_integer_x(state, -1).and_then(|count| i32::try_from(count).ok()).unwrap_or_default();
    if !api::check_stack(state, count) {
        return Err(c_api_runtime(state, b"too many results to unpack".to_vec()));
    }
    for at in 1..=count {
        api::raw_get_i(state, 1, at.into());
    }
    Ok(count as usize)
}

/// Calls the function that it was made with.
pub(super) fn forward(state: &mut LuaState) -> Result<usize, LuaError> {
    api::push_value(state, FIRST_UPVALUE);
    api::rotate(state, 1, 1);
    let arguments = api::get_top(state) - 1;
    api::call_k(state, arguments, ALL, 0, None)?;
    Ok(api::get_top(state) as usize)
}
