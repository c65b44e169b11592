//! Arithmetic of Lua 5.1 where the interpreter computes as later versions do.
//!
//! Where an operand is no number the interpreter asks the operands' metatables. Numbers and strings get one here whose functions
//! also take the numbers that only C reads in a text. What is left of a division is another number in Lua 5.1, but
//! of two numbers the interpreter asks nobody: so the instruction that divides is taken out of what is compiled, and the one
//! behind it, which asks, always runs.

use std::cell::RefCell;

use lua_gc::HeapGuard;
use lua_types::closure::LuaLClosure;
use lua_types::opcode::Instruction;
use lua_types::proto::LuaProto;
use lua_types::tagmethod::TagMethod;
use lua_types::{GcRef, LuaType, LuaValue, StackIdx};
use lua_vm::api;
use lua_vm::state::{LuaCFunction, LuaState};
use lua_vm::vm::{InstructionExt, OpCode};
use lua_vm::zio::ZIO;
use omnilua::LuaError;

use super::numbers::number_at;

/// The functions of the metatables.
const EVENTS: &[(&str, LuaCFunction)] = &[
    ("__add", |state| compute(state, "__add", TagMethod::Add, |a, b| a + b)),
    ("__sub", |state| compute(state, "__sub", TagMethod::Sub, |a, b| a - b)),
    ("__mul", |state| compute(state, "__mul", TagMethod::Mul, |a, b| a * b)),
    ("__div", |state| compute(state, "__div", TagMethod::Div, |a, b| a / b)),
    ("__mod", |state| compute(state, "__mod", TagMethod::Mod, remainder)),
    ("__pow", |state| compute(state, "__pow", TagMethod::Pow, f64::powf)),
    ("__unm", |state| compute(state, "__unm", TagMethod::Unm, |a, _| -a)),
];

/// What is left of a division, as Lua 5.1 has it: it loses bits that C's `fmod` keeps, and is never a negative zero.
fn remainder(a: f64, b: f64) -> f64 {
    a - (a / b).floor() * b
}

/// Gives numbers and strings their metatables, and the compiler its last step.
pub(super) fn install(state: &mut LuaState) -> Result<(), LuaError> {
    api::push_number(state, 0.0);
    api::create_table(state, 0, EVENTS.len() as i32)?;
    add_events(state)?;
    api::set_metatable(state, -2)?;
    state.push_string(b"")?;
    if api::get_metatable(state, -1) {
        add_events(state)?;
    }
    api::set_top(state, 0)?;
    state.global_mut().parser_hook = Some(compile);
    Ok(())
}

fn add_events(state: &mut LuaState) -> Result<(), LuaError> {
    for (name, function) in EVENTS {
        state.push_c_closure(*function, 0)?;
        api::set_field(state, -2, name.as_bytes())?;
    }
    Ok(())
}

fn compute(
    state: &mut LuaState,
    name: &str,
    event: TagMethod,
    operation: fn(f64, f64) -> f64,
) -> Result<usize, LuaError> {
    if let (Some(a), Some(b)) = (number_at(state, 1)?, number_at(state, 2)?) {
        api::push_number(state, operation(a, b));
        return Ok(1);
    }
    for at in [1, 2] {
        let is_plain = matches!(api::lua_type_at(state, at), LuaType::Number | LuaType::String);
        if !is_plain && api::get_metatable(state, at) {
            state.push_string(name.as_bytes())?;
            if api::raw_get(state, -2) != LuaType::Nil {
                api::push_value(state, 1);
                api::push_value(state, 2);
                api::call_k(state, 2, 1, 0, None)?;
                return Ok(1);
            }
        }
    }
    Err(refusal(state, event))
}

/// What is wrong with the operands, in the interpreter's own words: these name the variable. It finds the words if it is asked
/// from where the operation stands, and finds no metatable of numbers or strings.
fn refusal(state: &mut LuaState, event: TagMethod) -> LuaError {
    const PLAIN: [usize; 2] = [LuaType::Number as usize, LuaType::String as usize];
    let own = state.ci;
    let base = state.current_call_info().func + 1;
    let (first, second) = (state.get_at(base), state.get_at(base + 1));
    let caller = state.ci_previous(own);
    let places = caller.map_or((None, None), |caller| operands(state, caller_instruction(state, caller), caller));
    let hidden = PLAIN.map(|plain| state.global_mut().mt[plain].take());
    // They are held on the stack meanwhile.
    hidden.iter().flatten().for_each(|table| state.push(LuaValue::Table(*table)));
    state.ci = caller.unwrap_or(own);
    let result = state.try_bin_tm(&first, places.0, &second, places.1, base, event);
    state.ci = own;
    for (plain, table) in PLAIN.into_iter().zip(hidden) {
        state.global_mut().mt[plain] = table;
    }
    match result {
        Err(error) => error,
        Ok(()) => LuaError::runtime(format_args!("attempt to perform arithmetic")),
    }
}

/// The instruction by which a function of Lua has asked for a metatable.
fn caller_instruction(state: &LuaState, caller: lua_vm::state::CallInfoIdx) -> Option<Instruction> {
    let at = (state.ci_savedpc(caller) as usize).checked_sub(1)?;
    state.ci_lua_closure(caller)?.proto.code.get(at).copied()
}

/// Where the operands stand, of those that are no constants.
fn operands(
    state: &LuaState,
    instruction: Option<Instruction>,
    caller: lua_vm::state::CallInfoIdx,
) -> (Option<StackIdx>, Option<StackIdx>) {
    let Some(instruction) = instruction else { return (None, None) };
    let place = |register: i32| Some(state.ci_base(caller) + register);
    match instruction.opcode() {
        OpCode::MmBin => (place(instruction.arg_a()), place(instruction.arg_b())),
        OpCode::MmBinI | OpCode::MmBinK if instruction.arg_k() == 0 => (place(instruction.arg_a()), None),
        OpCode::MmBinI | OpCode::MmBinK => (None, place(instruction.arg_a())),
        OpCode::Unm => (place(instruction.arg_b()), place(instruction.arg_b())),
        _ => (None, None),
    }
}

/// Compiles a text as the interpreter does, but for [`without_remainders`].
fn compile(state: &mut LuaState, text: &mut ZIO, name: &[u8], first: i32) -> Result<GcRef<LuaLClosure>, LuaError> {
    let _guard = HeapGuard::push(&state.global().heap);
    let made = lua_parse::parse(state, lua_parse::DynData::default(), text, name, first)?;
    let made = shared(without_remainders(*made));
    let upvalues = made.upvalues.len();
    Ok(state.new_lclosure(made, upvalues))
}

fn shared(function: LuaProto) -> GcRef<LuaProto> {
    let shared = GcRef::new(function);
    shared.account_buffer(shared.buffer_bytes() as isize);
    shared
}

/// A function in which what is left of a division is never computed by the instruction for it.
fn without_remainders(mut function: LuaProto) -> LuaProto {
    for inner in &mut function.p {
        if has_remainder(inner) {
            *inner = shared(without_remainders(copy(inner)));
        }
    }
    for instruction in function.code.iter_mut().filter(|instruction| is_remainder(**instruction)) {
        // The instruction behind it takes the result's register from here.
        let register = instruction.arg_a() as u32;
        *instruction = Instruction::new(OpCode::Move as u32 | register << 7 | register << 16);
    }
    function
}

fn is_remainder(instruction: Instruction) -> bool {
    matches!(instruction.opcode(), OpCode::Mod | OpCode::ModK)
}

fn has_remainder(function: &LuaProto) -> bool {
    function.code.iter().copied().any(is_remainder) || function.p.iter().any(|inner| has_remainder(inner))
}

fn copy(function: &LuaProto) -> LuaProto {
    LuaProto {
        numparams: function.numparams,
        is_vararg: function.is_vararg,
        maxstacksize: function.maxstacksize,
        upvalues: function.upvalues.clone(),
        k: function.k.clone(),
        code: function.code.clone(),
        p: function.p.clone(),
        lineinfo: function.lineinfo.clone(),
        abslineinfo: function.abslineinfo.clone(),
        locvars: function.locvars.clone(),
        linedefined: function.linedefined,
        lastlinedefined: function.lastlinedefined,
        source: function.source,
        cache: RefCell::default(),
        vararg_table_reg: function.vararg_table_reg,
        vararg_table_needed: function.vararg_table_needed,
    }
}

#[cfg(test)]
mod tests {
    use super::remainder;

    #[test]
    fn remainders_are_those_of_lua_5_1() {
        for (a, b, expected) in [(5.0, 3.0, 2.0), (-5.0, 3.0, 1.0), (5.0, -3.0, -1.0), (5.5, 2.0, 1.5), (1.0, 0.1, 0.0)]
        {
            assert_eq!(remainder(a, b), expected, "{a} {b}");
        }
        assert!(remainder(-3.0, 3.0).is_sign_positive() && remainder(5.0, f64::INFINITY).is_nan());
    }
}
