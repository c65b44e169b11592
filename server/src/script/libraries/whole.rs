//! Functions of Lua as Lua 5.1 has them, where those of the interpreter differ. Most take whole numbers: of a number the part behind the point is cut off, and one
//! that does not fit is the least of all. Those of the interpreter refuse such numbers, as later versions of Lua do; the
//! functions here make numbers whole before they call them, or take their place. The others answer other errors.

use std::rc::Rc;

use lua_gc::HeapGuard;
use lua_stdlib::string_lib;
use lua_types::LuaType;
use lua_vm::api;
use lua_vm::debug::{arg_error_impl, c_api_runtime};
use lua_vm::state::{LuaCFunction, LuaState};
use omnilua::LuaError;

use super::format::format;
use super::numbers::{check_number, number_at};
use super::watch::Watch;
use super::{arithmetic, math, native, search, table, weak};
pub(super) use crate::script::convert::integer as whole;

/// Where they stand, by the library's name, and none for global ones.
const FUNCTIONS: &[(&str, &str, LuaCFunction)] = &[
    ("", "assert", assert),
    ("", "select", select),
    ("", "tonumber", tonumber),
    ("string", "byte", |state| cut_and(state, &[2, 3], string_lib::str_byte)),
    ("string", "char", char),
    ("string", "format", format),
    ("string", "rep", |state| cut_and(state, &[2], string_lib::str_rep)),
    ("string", "sub", |state| cut_and(state, &[2, 3], string_lib::str_sub)),
];

/// Puts the functions in the place of the interpreter's.
pub(in crate::script) fn install(state: &mut LuaState, watch: &Rc<Watch>) -> Result<(), LuaError> {
    let _guard = HeapGuard::push(&state.global().heap);
    for (library, name, function) in FUNCTIONS {
        put(state, library, name, *function)?;
    }
    api::get_global(state, b"tostring")?;
    state.push_c_closure(tostring, 1)?;
    api::set_global(state, b"tostring")?;
    api::get_global(state, b"xpcall")?;
    state.push_c_closure(xpcall, 1)?;
    api::set_global(state, b"xpcall")?;
    weak::install(state)?;
    math::install(state)?;
    search::install(state, watch)?;
    table::install(state, watch)?;
    arithmetic::install(state)?;
    native::install(state)
}

/// Puts a function into its library, or among the globals.
pub(super) fn put(state: &mut LuaState, library: &str, name: &str, function: LuaCFunction) -> Result<(), LuaError> {
    if library.is_empty() {
        state.push_c_closure(function, 0)?;
        return api::set_global(state, name.as_bytes());
    }
    api::get_global(state, library.as_bytes())?;
    state.push_c_closure(function, 0)?;
    api::set_field(state, -2, name.as_bytes())?;
    api::set_top(state, -2)
}

/// Makes an argument whole, if it is a number.
pub(super) fn cut(state: &mut LuaState, at: i32) -> Result<(), LuaError> {
    if at > api::get_top(state) {
        return Ok(());
    }
    let Some(number) = number_at(state, at)? else { return Ok(()) };
    let whole = whole(number) as f64;
    if whole != number || matches!(api::lua_type_at(state, at), LuaType::String) {
        api::push_number(state, whole);
        api::copy(state, -1, at);
        api::set_top(state, -2)?;
    }
    Ok(())
}

/// Calls a function of the interpreter with whole numbers.
pub(super) fn cut_and(state: &mut LuaState, arguments: &[i32], function: LuaCFunction) -> Result<usize, LuaError> {
    arguments.iter().try_for_each(|at| cut(state, *at))?;
    function(state).map_err(|error| located(state, error))
}

/// An error of a function of the interpreter with its place and in the words of Lua 5.1: an argument is that of the name under
/// which the function was called.
fn located(state: &mut LuaState, error: LuaError) -> LuaError {
    let LuaError::RuntimeMsg(text) = &error else { return error };
    let text = String::from_utf8_lossy(text);
    let has_place = text.split_once(": ").is_some_and(|(before, _)| {
        before
            .rsplit_once(':')
            .is_some_and(|(_, line)| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()))
    });
    if has_place {
        return error;
    }
    let argument = text.strip_prefix("bad argument #").and_then(|rest| {
        let (number, rest) = rest.split_once(" (")?;
        Some((number.parse().ok()?, rest.strip_suffix(')')?))
    });
    match argument {
        Some((number, what)) => arg_error_impl(state, number, what.as_bytes()),
        None => c_api_runtime(state, text.as_bytes().to_vec()),
    }
}

pub(super) fn check_table(state: &mut LuaState, at: i32) -> Result<(), LuaError> {
    let got = api::lua_type_at(state, at);
    if matches!(got, LuaType::Table) {
        return Ok(());
    }
    let text = [b"table expected, got ", api::type_name(state, got)].concat();
    Err(arg_error_impl(state, at, &text))
}

fn assert(state: &mut LuaState) -> Result<usize, LuaError> {
    state.check_arg_any(1)?;
    if api::to_boolean(state, 1) {
        return Ok(api::get_top(state) as usize);
    }
    let text = match api::lua_type_at(state, 2) {
        LuaType::None | LuaType::Nil => b"assertion failed!".to_vec(),
        _ => state.check_arg_string(2)?,
    };
    Err(c_api_runtime(state, text))
}

fn char(state: &mut LuaState) -> Result<usize, LuaError> {
    let mut bytes = Vec::new();
    for at in 1..=api::get_top(state) {
        let number = whole(check_number(state, at)?) as i32;
        bytes.push(u8::try_from(number).map_err(|_| arg_error_impl(state, at, b"invalid value"))?);
    }
    state.push_string(&bytes)?;
    Ok(1)
}

/// `xpcall`, which needs a handler; one that is no function fails when it is called.
fn xpcall(state: &mut LuaState) -> Result<usize, LuaError> {
    state.check_arg_any(2)?;
    if !matches!(api::lua_type_at(state, 2), LuaType::Function) {
        state.push_c_closure(handle_nothing, 0)?;
        api::copy(state, -1, 2);
        api::set_top(state, -2)?;
    }
    native::forward(state)
}

/// In the place of a handler that is no function.
fn handle_nothing(state: &mut LuaState) -> Result<usize, LuaError> {
    state.push_string(b"error in error handling")?;
    Ok(1)
}

fn select(state: &mut LuaState) -> Result<usize, LuaError> {
    let top = api::get_top(state);
    let is_text = matches!(api::lua_type_at(state, 1), LuaType::String);
    if is_text && api::to_lua_string(state, 1)?.is_some_and(|text| text.as_bytes().first() == Some(&b'#')) {
        api::push_number(state, f64::from(top - 1));
        return Ok(1);
    }
    let number = i64::from(whole(check_number(state, 1)?) as i32);
    let from = if number < 0 { i64::from(top) + number } else { number.min(top.into()) };
    match usize::try_from(from) {
        Ok(from @ 1..) => Ok(top as usize - from),
        _ => Err(arg_error_impl(state, 1, b"index out of range")),
    }
}

fn tonumber(state: &mut LuaState) -> Result<usize, LuaError> {
    let base = if api::get_top(state) < 2 || matches!(api::lua_type_at(state, 2), LuaType::Nil) {
        10
    } else {
        whole(check_number(state, 2)?)
    };
    let number = if base == 10 {
        state.check_arg_any(1)?;
        number_at(state, 1)?
    } else {
        let text = state.check_arg_string(1)?;
        let Some(base) = u32::try_from(base).ok().filter(|base| (2..=36).contains(base)) else {
            return Err(arg_error_impl(state, 2, b"base out of range"));
        };
        read_digits(&text, base)
    };
    match number {
        Some(number) => api::push_number(state, number),
        None => api::push_nil(state),
    }
    Ok(1)
}

/// Reads a whole number as C's `strtoul` does: a minus makes it the complement, and a large one is the largest of 64 bits.
fn read_digits(text: &[u8], base: u32) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let marked = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let digits =
        marked.filter(|rest| base == 16 && rest.starts_with(|digit: char| digit.is_ascii_hexdigit())).unwrap_or(digits);
    let mut number: Option<u64> = (!digits.is_empty()).then_some(0);
    for digit in digits.chars() {
        let digit = digit.to_digit(base)?;
        number =
            number?.checked_mul(base.into()).and_then(|number| number.checked_add(digit.into())).or(Some(u64::MAX));
        if number == Some(u64::MAX) {
            break;
        }
    }
    let number = number?;
    Some(if negative && number != u64::MAX { number.wrapping_neg() } else { number } as f64)
}

/// `tostring`; what is no number has a sign, which C prints, and a null pointer has a name.
fn tostring(state: &mut LuaState) -> Result<usize, LuaError> {
    state.check_arg_any(1)?;
    let number = match api::lua_type_at(state, 1) {
        LuaType::Number => api::to_number_x(state, 1),
        // `cjson.null`, as C prints it.
        LuaType::LightUserData if api::to_userdata(state, 1).is_none_or(|pointer| pointer.is_null()) => {
            state.push_string(b"userdata: (nil)")?;
            return Ok(1);
        }
        _ => None,
    };
    if let Some(number) = number.filter(|number| number.is_nan()) {
        state.push_string(if number.is_sign_negative() { b"-nan" } else { b"nan" })?;
        return Ok(1);
    }
    api::push_value(state, native::FIRST_UPVALUE);
    api::push_value(state, 1);
    api::call_k(state, 1, 1, 0, None)?;
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_by_strtoul() {
        for (text, base, number) in [
            ("ff", 16, Some(255.0)),
            (" 0xFF ", 16, Some(255.0)),
            ("-ff", 16, Some(18_446_744_073_709_551_361.0)),
            ("ffffffffffffffffff", 16, Some(u64::MAX as f64)),
            ("z", 36, Some(35.0)),
            ("2", 2, None),
            ("", 8, None),
            ("-", 8, None),
            ("1 1", 8, None),
            ("0x", 16, None),
        ] {
            assert_eq!(read_digits(text.as_bytes(), base), number, "{text}");
        }
        assert_eq!([whole(1.9), whole(-1.9), whole(f64::NAN), whole(1e30)], [1, -1, i64::MIN, i64::MIN]);
    }
}
