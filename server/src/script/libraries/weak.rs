//! Tables whose metatable has `__mode`: their keys or values do not keep each other alive.
//!
//! The interpreter's collector goes through all weak tables once more for each that it finds in another one, without a look
//! at whether the script shall end; and whoever makes one looks through all that there are. So only [`MOST`] are weak at a
//! time. Those beyond keep what is in them, as any other table does, and count as memory.

use lua_types::LuaValue;
use lua_vm::api;
use lua_vm::state::{LuaState, LuaTableRefExt};
use omnilua::LuaError;

use super::native::forward;
use super::whole::check_table;

/// Weak tables that an interpreter has at a time.
const MOST: usize = 16;

/// Puts `setmetatable` in the place of the interpreter's.
pub(super) fn install(state: &mut LuaState) -> Result<(), LuaError> {
    api::get_global(state, b"setmetatable")?;
    state.push_c_closure(setmetatable, 1)?;
    api::set_global(state, b"setmetatable")
}

/// The interpreter looks for `__mode` only when it gives a table its metatable: meanwhile it is taken out.
fn setmetatable(state: &mut LuaState) -> Result<usize, LuaError> {
    check_table(state, 1)?;
    let is_full = state.global().weak_tables_registry.len() >= MOST;
    let meta = if is_full { state.get_at(state.current_call_info().func + 2) } else { LuaValue::Nil };
    let Some(meta) = meta.as_table().copied().filter(|_| api::get_top(state) >= 2) else { return forward(state) };
    let name = state.intern_str(b"__mode")?;
    let mode = meta.get_short_str(&name);
    if mode.is_nil() {
        return forward(state);
    }
    LuaTableRefExt::raw_set(&meta, state, LuaValue::Str(name), LuaValue::Nil)?;
    let result = forward(state);
    LuaTableRefExt::raw_set(&meta, state, LuaValue::Str(name), mode)?;
    result
}
