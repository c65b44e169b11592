//! The libraries beside Lua's own, and what Redis has in place of two of Lua's functions.
//!
//! Their functions are the host's: what goes wrong in them is an error at the script's line, which the prelude makes.

mod arithmetic;
pub(super) mod bare;
mod bit;
mod cjson;
mod cmsgpack;
mod format;
mod math;
pub(super) mod native;
pub(super) mod numbers;
mod packed;
mod pattern;
mod search;
mod table;
pub(super) mod watch;
mod weak;
pub(super) mod whole;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bare::Bare;
use omnilua::{Error, Function, Lua, LuaError, Table, Value, Variadic};
use watch::Watch;

/// What one call may make, in bytes.
const MOST_BYTES: usize = 64 << 20;

/// Results that a function gives as they are.
const MOST_PUSHED: usize = 16;

/// Functions of Lua that those of the host call. A state lives as long as somebody holds a function of it, and these are held
/// by the state's own functions: so they are let go with its interpreter.
pub(super) struct Called {
    watch: Rc<Watch>,
    bare: Bare,
    /// The prelude's function that raises a text at the script's line, once it is there.
    pub(super) fail: RefCell<Option<Function>>,
    /// The one that ends a script as one that needs too much memory.
    pub(super) exhaust: RefCell<Option<Function>>,
}

impl Called {
    pub(super) fn new(watch: Rc<Watch>, bare: Bare) -> Self {
        Self { watch, bare, fail: RefCell::default(), exhaust: RefCell::default() }
    }

    /// Lets go of them.
    pub(super) fn let_go(&self) {
        self.bare.let_go();
        self.fail.replace(None);
        self.exhaust.replace(None);
    }
}

/// See there.
pub(super) type Fail = Rc<Called>;

/// What goes wrong in a function.
enum Problem {
    /// A text to be raised.
    Text(String),
    /// It would make too much.
    Memory,
    /// An error of the interpreter.
    Lua(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Lua(error)
    }
}

impl From<LuaError> for Problem {
    fn from(error: LuaError) -> Self {
        Self::Lua(error.into())
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A table of all libraries, by name.
pub(super) fn all(lua: &Lua, fail: &Fail) -> Result<Table, Error> {
    let table = lua.create_table()?;
    let os = lua.create_table()?;
    os.raw_set("clock", lua.create_function(|_, _: Variadic<Value>| Ok(processor_seconds()))?)?;
    table.raw_set("os", os)?;
    table.raw_set("bit", bit::table(lua, fail)?)?;
    table.raw_set("cjson", cjson::table(lua, fail)?)?;
    table.raw_set("cmsgpack", cmsgpack::table(lua, fail)?)?;
    table.raw_set("struct", packed::table(lua, fail)?)?;
    Ok(table)
}

/// A function for scripts.
fn function(
    lua: &Lua,
    fail: &Fail,
    run: impl Fn(&Lua, &[Value]) -> Result<Vec<Value>, Problem> + 'static,
) -> Result<Function, Error> {
    let fail = fail.clone();
    lua.create_function(move |lua, values: Variadic<Value>| match run(lua, &values) {
        Ok(results) if results.len() > MOST_PUSHED => {
            // On the stack there may be no room for them: `spread_of` makes some.
            let table = lua.create_table()?;
            for (at, result) in results.iter().enumerate() {
                table.raw_set((at + 1) as f64, result.clone())?;
            }
            table.raw_set("n", results.len() as f64)?;
            Ok(Variadic::from(vec![Value::Table(table), Value::LightUserData(native::MANY as *mut _)]))
        }
        Ok(results) => Ok(Variadic::from(results)),
        Err(Problem::Lua(error)) => Err(error),
        Err(Problem::Memory) => match &*fail.exhaust.borrow() {
            Some(exhaust) => exhaust.call(()),
            None => Err(omnilua::LuaError::runtime(format_args!("not enough memory")).into()),
        },
        Err(Problem::Text(text)) => match &*fail.fail.borrow() {
            Some(fail) => fail.call(text),
            None => Err(omnilua::LuaError::runtime(format_args!("{text}")).into()),
        },
    })
}

/// The number that an argument is, or says as a string.
fn number(values: &[Value], at: usize) -> Option<f64> {
    match values.get(at)? {
        Value::Number(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        Value::String(text) => numbers::number_of(&text.as_bytes().ok()?),
        _ => None,
    }
}

/// The bytes that an argument is, a number as Lua prints it.
pub(super) fn text(values: &[Value], at: usize) -> Option<Vec<u8>> {
    match values.get(at)? {
        Value::String(text) => text.as_bytes().ok(),
        Value::Number(number) => Some(printed(*number, 14).into_bytes()),
        Value::Integer(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}

/// What is wrong with an argument that is not of a type.
fn argument(values: &[Value], at: usize, name: &str, expected: &str) -> Problem {
    let got = values.get(at).map_or("no value", type_name);
    wrong(at, name, &format!("{expected} expected, got {got}"))
}

/// What is wrong with an argument, in words.
fn wrong(at: usize, name: &str, what: &str) -> Problem {
    Problem::Text(format!("bad argument #{} to '{name}' ({what})", at + 1))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Boolean(_) => "boolean",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Table(_) => "table",
        Value::Function(_) => "function",
        Value::Thread(_) => "thread",
        Value::UserData(_) | Value::LightUserData(_) => "userdata",
    }
}

/// A number as C prints it with `%.<digits>g`.
pub(super) fn printed(number: f64, digits: usize) -> String {
    if !number.is_finite() {
        let text = if number.is_nan() { "nan" } else { "inf" };
        return format!("{}{text}", if number.is_sign_negative() { "-" } else { "" });
    }
    let digits = digits.max(1);
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let cut = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", cut(mantissa), exponent.unsigned_abs());
    }
    let places = (digits as i32 - 1 - exponent).max(0) as usize;
    cut(&format!("{number:.places$}"))
}

/// Time that the processor has spent on this process, in seconds.
fn processor_seconds() -> f64 {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        time.tv_sec as f64 + (time.tv_nsec / 1000) as f64 / 1e6
    }
    #[cfg(not(unix))]
    {
        use std::sync::LazyLock;
        use std::time::Instant;
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed().as_secs_f64()
    }
}

/// The generator of `lrand48`, whose numbers scripts get from `math.random` whatever the platform. `state` is its seed
/// with the low 16 bits.
pub(super) fn random(lua: &Lua, host: &Table, state: &Rc<Cell<u64>>) -> Result<(), Error> {
    let drawn = state.clone();
    let next = lua.create_function(move |_, ()| {
        drawn.set(drawn.get().wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & 0xffff_ffff_ffff);
        Ok((drawn.get() >> 17) as f64)
    })?;
    host.raw_set("draw", next)?;
    let seeded = state.clone();
    let seed = lua.create_function(move |_, seed: f64| {
        seeded.set(u64::from(super::convert::integer(seed) as u32) << 16 | 0x330e);
        Ok(())
    })?;
    host.raw_set("seed", seed)
}

#[cfg(test)]
mod tests {
    use super::printed;

    #[test]
    fn numbers_are_printed_as_c_does() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e14, "1e+14"),
            (99_999_999_999_999.0, "99999999999999"),
            (123_456_789_012_345.0, "1.2345678901234e+14"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1.0 / 3.0, "0.33333333333333"),
            (1e300, "1e+300"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(printed(number, 14), expected);
        }
    }
}
