//! The library `math`: all of its functions are C's, and all of their numbers are doubles, so that a large one is printed as such.

use lua_vm::api;
use lua_vm::state::LuaState;
use omnilua::LuaError;

use super::numbers::check_number;
use super::whole::{put, whole};

/// Puts the functions in the place of the interpreter's. The prelude has those that draw numbers.
pub(super) fn install(state: &mut LuaState) -> Result<(), LuaError> {
    put(state, "math", "abs", |state| unary(state, f64::abs))?;
    put(state, "math", "acos", |state| unary(state, f64::acos))?;
    put(state, "math", "asin", |state| unary(state, f64::asin))?;
    put(state, "math", "atan", |state| unary(state, f64::atan))?;
    put(state, "math", "atan2", |state| binary(state, f64::atan2))?;
    put(state, "math", "ceil", |state| unary(state, f64::ceil))?;
    put(state, "math", "cos", |state| unary(state, f64::cos))?;
    put(state, "math", "cosh", |state| unary(state, f64::cosh))?;
    put(state, "math", "deg", |state| unary(state, |number| number / RADIANS_PER_DEGREE))?;
    put(state, "math", "exp", |state| unary(state, f64::exp))?;
    put(state, "math", "floor", |state| unary(state, f64::floor))?;
    put(state, "math", "fmod", |state| binary(state, |a, b| a % b))?;
    put(state, "math", "ldexp", ldexp)?;
    put(state, "math", "log", |state| unary(state, f64::ln))?;
    put(state, "math", "log10", |state| unary(state, f64::log10))?;
    put(state, "math", "max", |state| extreme(state, |number, best| number > best))?;
    put(state, "math", "min", |state| extreme(state, |number, best| number < best))?;
    put(state, "math", "mod", |state| binary(state, |a, b| a % b))?;
    put(state, "math", "modf", modf)?;
    put(state, "math", "pow", |state| binary(state, f64::powf))?;
    put(state, "math", "rad", |state| unary(state, |number| number * RADIANS_PER_DEGREE))?;
    put(state, "math", "sin", |state| unary(state, f64::sin))?;
    put(state, "math", "sinh", |state| unary(state, f64::sinh))?;
    put(state, "math", "sqrt", |state| unary(state, f64::sqrt))?;
    put(state, "math", "tan", |state| unary(state, f64::tan))?;
    put(state, "math", "tanh", |state| unary(state, f64::tanh))
}

const RADIANS_PER_DEGREE: f64 = std::f64::consts::PI / 180.0;

fn unary(state: &mut LuaState, function: fn(f64) -> f64) -> Result<usize, LuaError> {
    let number = check_number(state, 1)?;
    api::push_number(state, function(number));
    Ok(1)
}

/// The second argument is looked at first, as C's compilers evaluate a call.
fn binary(state: &mut LuaState, function: fn(f64, f64) -> f64) -> Result<usize, LuaError> {
    let second = check_number(state, 2)?;
    let first = check_number(state, 1)?;
    api::push_number(state, function(first, second));
    Ok(1)
}

/// `math.max` and `math.min`.
fn extreme(state: &mut LuaState, is_better: fn(f64, f64) -> bool) -> Result<usize, LuaError> {
    let mut best = check_number(state, 1)?;
    for at in 2..=api::get_top(state) {
        let number = check_number(state, at)?;
        if is_better(number, best) {
            best = number;
        }
    }
    api::push_number(state, best);
    Ok(1)
}

/// A number's whole part and the rest, both of its sign.
fn modf(state: &mut LuaState) -> Result<usize, LuaError> {
    let number = check_number(state, 1)?;
    let rest = if number.is_infinite() { 0.0 } else { number.fract() };
    api::push_number(state, number.trunc());
    api::push_number(state, rest.copysign(number));
    Ok(2)
}

/// A number times a power of two.
fn ldexp(state: &mut LuaState) -> Result<usize, LuaError> {
    /// A step that is itself a number.
    const STEP: i32 = 1000;
    /// No number is further from another.
    const MOST: i32 = 4400;
    let mut scale = (whole(check_number(state, 2)?) as i32).clamp(-MOST, MOST);
    let mut number = check_number(state, 1)?;
    while scale != 0 {
        let step = scale.clamp(-STEP, STEP);
        number *= 2.0_f64.powi(step);
        scale -= step;
    }
    api::push_number(state, number);
    Ok(1)
}
