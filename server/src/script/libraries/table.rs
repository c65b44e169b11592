//! Functions of the library `table` that read and write without metamethods, as in Lua 5.1; those of the interpreter ask for them.
//! A table without a metatable is left to the interpreter's functions.

use std::rc::Rc;

use lua_stdlib::table_lib;
use lua_types::{GcRef, LuaTable, LuaType, LuaValue};
use lua_vm::api;
use lua_vm::debug::{arg_error_impl, c_api_runtime};
use lua_vm::state::{LuaState, LuaTableRefExt};
use omnilua::LuaError;

use super::numbers::check_number;
use super::printed;
use super::search::{DIGITS, optional, text};
use super::watch::{PIECE_BYTES, Watch};
use super::whole::{check_table, cut, cut_and, put, whole};
use crate::script::natives::{add, exhausted};

/// What the metatable of a table has that scripts must not change.
const READONLY: &[u8] = b"readonly";

/// Puts the functions in the place of the interpreter's.
pub(super) fn install(state: &mut LuaState, watch: &Rc<Watch>) -> Result<(), LuaError> {
    put(state, "", "unpack", unpack)?;
    put(state, "table", "insert", insert)?;
    put(state, "table", "remove", remove)?;
    put(state, "table", "setn", setn)?;
    put(state, "table", "sort", sort)?;
    let watch = watch.clone();
    let concat = add(state, move |state| concat(state, &watch));
    api::get_global(state, b"table")?;
    state.push(concat);
    api::set_field(state, -2, b"concat")?;
    api::set_top(state, -2)
}

/// The first argument, if it is a table with a metatable.
fn table_with_meta(state: &LuaState) -> Option<GcRef<LuaTable>> {
    let table = state.get_at(state.current_call_info().func + 1).as_table().copied()?;
    table.has_metatable().then_some(table)
}

/// Sets what stands at a place of the first argument.
fn set(state: &mut LuaState, at: i64, value: LuaValue) -> Result<(), LuaError> {
    state.push(value);
    api::raw_set_i(state, 1, at)
}

/// `table.concat`, of no more than a script may use.
fn concat(state: &mut LuaState, watch: &Watch) -> Result<usize, LuaError> {
    let separator = match api::lua_type_at(state, 2) {
        LuaType::None | LuaType::Nil => None,
        _ => Some(text(state, 2)?),
    };
    check_table(state, 1)?;
    let first = optional(state, 3, 1)?;
    let length = state.length_at(1)?;
    let last = optional(state, 4, length)?;
    let Some(table) = state.get_at(state.current_call_info().func + 1).as_table().copied() else { return Ok(0) };
    let (mut made, mut looked) = (Vec::new(), 0);
    for at in first..=last {
        match table.get_int(at) {
            LuaValue::Str(text) => made.extend_from_slice(text.as_bytes()),
            LuaValue::Float(number) => made.extend_from_slice(printed(number, DIGITS).as_bytes()),
            LuaValue::Int(number) => made.extend_from_slice(number.to_string().as_bytes()),
            other => {
                state.push(other);
                let got = api::lua_type_at(state, -1);
                let name = String::from_utf8_lossy(api::type_name(state, got)).into_owned();
                let text = format!("invalid value ({name}) at index {at} in table for 'concat'");
                return Err(c_api_runtime(state, text.into_bytes()));
            }
        }
        if at < last
            && let Some(separator) = &separator
        {
            made.extend_from_slice(separator.as_bytes());
        }
        if made.len() > watch.memory_bytes {
            return Err(exhausted(state));
        }
        if made.len() - looked > PIECE_BYTES {
            looked = made.len();
            if watch.control.must_end() {
                return Err(watch.end(state));
            }
        }
    }
    state.push_string(&made)?;
    Ok(1)
}

/// `table.insert`; the value may stand behind a gap.
fn insert(state: &mut LuaState) -> Result<usize, LuaError> {
    let count = api::get_top(state);
    if matches!(count, 2 | 3)
        && let Some(table) = table_with_meta(state)
    {
        let key = state.intern_str(READONLY)?;
        if table.metatable().is_some_and(|meta| !meta.get_short_str(&key).is_nil()) {
            return Err(LuaError::runtime(format_args!("Attempt to modify a readonly table")));
        }
        return insert_raw(state, table, count);
    }
    // With two arguments the second is the value.
    if count != 3 {
        return cut_and(state, &[], table_lib::insert);
    }
    check_table(state, 1)?;
    cut(state, 2)?;
    let (at, length) = (whole(check_number(state, 2)?), state.length_at(1)?);
    if at > length + 1 {
        state.raw_seti(1, at)?;
        return Ok(0);
    }
    cut_and(state, &[], table_lib::insert)
}

fn insert_raw(state: &mut LuaState, table: GcRef<LuaTable>, count: i32) -> Result<usize, LuaError> {
    let end = state.length_at(1)? + 1;
    let at = if count == 2 { end } else { whole(check_number(state, 2)?) };
    if at < 1 {
        return Err(arg_error_impl(state, 2, b"position out of bounds"));
    }
    for to in (at + 1..=end).rev() {
        set(state, to, table.get_int(to - 1))?;
    }
    let value = state.get_at(state.current_call_info().func + count);
    set(state, at, value)?;
    Ok(0)
}

fn remove(state: &mut LuaState) -> Result<usize, LuaError> {
    let Some(table) = table_with_meta(state) else { return cut_and(state, &[2], table_lib::remove) };
    let length = state.length_at(1)?;
    let at = optional(state, 2, length)?;
    if !(1..=length).contains(&at) {
        return Ok(0);
    }
    let removed = table.get_int(at);
    state.push(removed);
    for to in at..length {
        set(state, to, table.get_int(to + 1))?;
    }
    set(state, length, LuaValue::Nil)?;
    Ok(1)
}

fn setn(state: &mut LuaState) -> Result<usize, LuaError> {
    check_table(state, 1)?;
    Err(c_api_runtime(state, b"'setn' is obsolete".to_vec()))
}

fn sort(state: &mut LuaState) -> Result<usize, LuaError> {
    check_table(state, 1)?;
    let compares = api::lua_type_at(state, 2);
    if !matches!(compares, LuaType::None | LuaType::Nil | LuaType::Function) {
        let text = [b"function expected, got ", api::type_name(state, compares)].concat();
        return Err(arg_error_impl(state, 2, &text));
    }
    match table_with_meta(state) {
        Some(table) => sort_raw(state, table),
        None => cut_and(state, &[], table_lib::sort),
    }
}

/// Sorts a copy that has no metatable, and takes its order over. The copy stands in the table's place on the stack, and holds
/// it meanwhile.
fn sort_raw(state: &mut LuaState, table: GcRef<LuaTable>) -> Result<usize, LuaError> {
    let length = state.length_at(1)?;
    api::set_top(state, 2)?;
    api::create_table(state, i32::try_from(length).unwrap_or(0), 0)?;
    for at in 1..=length {
        state.push(table.get_int(at));
        api::raw_set_i(state, 3, at)?;
    }
    api::push_value(state, 1);
    api::raw_set_i(state, 3, 0)?;
    api::copy(state, 3, 1);
    api::set_top(state, 2)?;
    cut_and(state, &[], table_lib::sort)?;
    api::set_top(state, 2)?;
    api::raw_get_i(state, 1, 0);
    for at in 1..=length {
        api::raw_get_i(state, 1, at);
        api::raw_set_i(state, 3, at)?;
    }
    Ok(0)
}

/// `unpack`, which stands among the globals.
fn unpack(state: &mut LuaState) -> Result<usize, LuaError> {
    check_table(state, 1)?;
    let first = optional(state, 2, 1)?;
    let length = state.length_at(1)?;
    let last = optional(state, 3, length)?;
    if first > last {
        return Ok(0);
    }
    let count = last.checked_sub(first).and_then(|more| i32::try_from(more).ok()).and_then(|more| more.checked_add(1));
    let Some(count) = count.filter(|count| api::check_stack(state, *count)) else {
        return Err(c_api_runtime(state, b"too many results to unpack".to_vec()));
    };
    for at in first..=last {
        api::raw_get_i(state, 1, at);
    }
    Ok(count as usize)
}
