//! Which sources the interpreter's compiler is not given. It looks up constants, jumps and names one by one, so that the time
//! that it takes grows with the square of a function's length, and nothing ends it meanwhile; its count of a function's local
//! variables is one of 16 bits, beyond which it takes all memory; and what it makes is not bounded as the memory of a script is.
//!
//! So the same tokens are counted here before, with what the compiler does for each. Where a source is no Lua, its blocks may be
//! told wrongly from there on: the compiler does not come so far.

use std::collections::HashSet;

use super::names::tokens;

/// Variables that are declared in one function, those that loops have for themselves among them. The compiler counts to 32,767.
const MOST_LOCALS: usize = 32_000;
/// Blocks in each other, the functions among them: the compiler refuses more.
const MOST_BLOCKS: usize = 200;
/// Things that the compiler looks at for a chunk: it takes less than a second for them.
const MOST_STEPS: u64 = 500_000_000;
/// What any token costs, in these.
const STEPS_PER_TOKEN: u64 = 128;
/// What a function costs, whose description takes memory: the compiler numbers those in a function with 17 bits, and there
/// are fewer in all.
const STEPS_PER_FUNCTION: u64 = 10_000;
/// What a look at a jump costs, which waits for the one at the jump before.
const STEPS_PER_JUMP: u64 = 5;
/// Variables of a function that are looked at for a name, at most, and those of the functions around it.
const MOST_ACTIVE: usize = 200;
const MOST_UPVALUES: u64 = 60;
/// No shorter source comes near to any bound.
const SHORT_BYTES: usize = 4096;

const TOO_LONG: &str = "the code is too long to be compiled";
const TOO_MANY_LOCALS: &str = "too many local variables";

/// Looks whether a source may be compiled; if not, says why.
pub(super) fn check(source: &[u8]) -> Result<(), &'static str> {
    if source.len() < SHORT_BYTES {
        return Ok(());
    }
    let mut count =
        Count { functions: vec![Function::default()], visible: Function::default().visible(), ..Count::default() };
    for token in tokens(source) {
        count.token(token)?;
        if count.blocks.len() > MOST_BLOCKS {
            // The compiler comes no further.
            break;
        }
    }
    Ok(())
}

/// A function that is open.
#[derive(Default)]
struct Function<'s> {
    /// Names, numbers and strings, each once.
    constants: HashSet<&'s [u8]>,
    locals: usize,
    /// Tokens that stand for jumps, of which the compiler keeps lists.
    jumps: u64,
}

impl Function<'_> {
    /// Its variables that are looked at for a name.
    fn visible(&self) -> u64 {
        self.locals.min(MOST_ACTIVE) as u64 + MOST_UPVALUES
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Function,
    /// Ends with `until`.
    Repeat,
    Other,
}

/// What stands next where variables are declared.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Declares {
    #[default]
    Nothing,
    /// A name, of a variable.
    Name,
    /// A comma, if there is another one.
    Comma,
    /// The parameters of a function, behind its name.
    Parameters,
}

#[derive(Default)]
struct Count<'s> {
    functions: Vec<Function<'s>>,
    blocks: Vec<Block>,
    declares: Declares,
    /// Variables that are looked at for a name, of all open functions.
    visible: u64,
    steps: u64,
}

impl<'s> Count<'s> {
    fn token(&mut self, token: &'s [u8]) -> Result<(), &'static str> {
        if token.starts_with(b"--") || token[0].is_ascii_whitespace() || token[0] == 0x0b {
            return Ok(());
        }
        self.spend(STEPS_PER_TOKEN)?;
        self.declared(token)?;
        match token {
            b"function" => self.function()?,
            b"if" | b"do" => self.blocks.push(Block::Other),
            b"repeat" => self.blocks.push(Block::Repeat),
            b"end" => self.close(|block| block != Block::Repeat),
            b"until" => self.close(|block| block == Block::Repeat),
            b"and" | b"or" | b"else" | b"elseif" | b"break" => self.jump()?,
            b"for" | b"local" | b"in" | b"not" | b"return" | b"then" | b"while" | b"nil" | b"true" | b"false" => {}
            [b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'0'..=b'9' | b'"' | b'\'', ..] | [b'[', _, ..] => {
                self.constant(token)?
            }
            _ => {}
        }
        Ok(())
    }

    fn spend(&mut self, steps: u64) -> Result<(), &'static str> {
        self.steps += steps;
        if self.steps > MOST_STEPS { Err(TOO_LONG) } else { Ok(()) }
    }

    /// Counts variables where they are declared.
    fn declared(&mut self, token: &[u8]) -> Result<(), &'static str> {
        /// Variables of a loop beside those that it names.
        const OF_LOOP: usize = 4;
        /// Those of a function: `self` and `arg`.
        const OF_FUNCTION: usize = 2;
        let is_name = token[0].is_ascii_alphabetic() || token[0] == b'_';
        self.declares = match (self.declares, token) {
            (_, b"local") => Declares::Name,
            (_, b"for") => {
                self.locals(OF_LOOP)?;
                Declares::Name
            }
            (before, b"function") => {
                if before == Declares::Name {
                    self.locals(1)?;
                }
                Declares::Parameters
            }
            (Declares::Parameters, b"(") => {
                self.locals(OF_FUNCTION)?;
                Declares::Name
            }
            (Declares::Parameters, _) => Declares::Parameters,
            (Declares::Name, _) if is_name => {
                self.locals(1)?;
                Declares::Comma
            }
            (Declares::Comma, b",") => Declares::Name,
            _ => Declares::Nothing,
        };
        Ok(())
    }

    fn locals(&mut self, count: usize) -> Result<(), &'static str> {
        let Some(function) = self.functions.last_mut() else { return Ok(()) };
        let before = function.visible();
        function.locals += count;
        self.visible += function.visible() - before;
        match function.locals > MOST_LOCALS {
            true => Err(TOO_MANY_LOCALS),
            false => Ok(()),
        }
    }

    fn function(&mut self) -> Result<(), &'static str> {
        self.spend(STEPS_PER_FUNCTION)?;
        let function = Function::default();
        self.visible += function.visible();
        self.functions.push(function);
        self.blocks.push(Block::Function);
        Ok(())
    }

    /// Closes the innermost block if it is of the kind.
    fn close(&mut self, is_closed: impl Fn(Block) -> bool) {
        let Some(block) = self.blocks.pop_if(|block| is_closed(*block)) else { return };
        if block == Block::Function
            && let Some(function) = self.functions.pop()
        {
            self.visible -= function.visible();
        }
    }

    /// The compiler goes through the jumps of a list to add one.
    fn jump(&mut self) -> Result<(), &'static str> {
        let Some(function) = self.functions.last_mut() else { return Ok(()) };
        function.jumps += 1;
        let steps = STEPS_PER_JUMP * function.jumps;
        self.spend(steps)
    }

    /// The compiler goes through the constants of a function, and through variables if it is a name.
    fn constant(&mut self, token: &'s [u8]) -> Result<(), &'static str> {
        let Some(function) = self.functions.last_mut() else { return Ok(()) };
        function.constants.insert(token);
        let steps = function.constants.len() as u64 + self.visible;
        self.spend(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuses(source: &str, expected: Option<&str>) {
        assert_eq!(check(source.as_bytes()).err(), expected, "{source:.60}");
    }

    #[test]
    fn local_variables_of_one_function_are_counted() {
        let too_many = Some(TOO_MANY_LOCALS);
        refuses(&"do local a=1 end ".repeat(32_001), too_many);
        refuses(&"do local a,b , --[[ c ]] c = x, y, z end ".repeat(10_667), too_many);
        refuses(&"do local a x = 1 end ".repeat(20_000), None);
        refuses(&"for i=1,2 do end ".repeat(6_401), too_many);
        refuses(&"do local function f() end end ".repeat(32_001), too_many);
        // Those of other functions do not count.
        refuses(&"local f = function(a, b, c) local d end ".repeat(20_000), None);
        // Neither does what stands in strings and comments; what these only seem to hide does.
        refuses(&format!("x = [[{}]] -- {}", "local a ".repeat(40_000), "local a ".repeat(40_000)), None);
        refuses(&format!("x = '\\\r\n' {}'", "do local a=1 end ".repeat(32_001)), too_many);
        refuses(&format!("end end until {}", "do local a=1 end ".repeat(32_001)), too_many);
    }

    #[test]
    fn what_takes_long_to_compile_is_refused() {
        let too_long = Some(TOO_LONG);
        let list = |count: u32| (0..count).map(|number| format!("y{number}=0,")).collect::<String>();
        refuses(&format!("return {{{}}}", list(60_000)), too_long);
        refuses(&format!("return {{{}}}", list(20_000)), None);
        refuses(&format!("x = {} b", "a and ".repeat(30_000)), too_long);
        refuses(&format!("x = {} b", "a and ".repeat(10_000)), None);
        refuses(&format!("if a then {} end", "elseif a then ".repeat(30_000)), too_long);
        refuses(&"a=1 ".repeat(4_000_000), too_long);
        refuses(&"a=1 ".repeat(700_000), None);
        refuses(&"a=function() end ".repeat(65_001), too_long);
        let names = |number: u32| (0..190).map(|name| format!("v{number}_{name},")).collect::<String>();
        let nested: String = (0..150).map(|number| format!("local function f() local {} w ", names(number))).collect();
        refuses(&format!("{nested} {}", "x=x ".repeat(50_000)), too_long);
    }

    #[test]
    fn a_long_library_is_compiled() {
        let function = "redis.register_function('name_of_it', function(keys, args)\n  local found = redis.call('GET', keys[1])\n  \
            if found and found ~= args[1] or #args > 3 then return redis.error_reply('no') end\n  \
            for i, key in ipairs(keys) do redis.call('SET', key, i .. args[2]) end\n  return found\nend)\n";
        refuses(&function.repeat(10_000), None);
        // The same in one function.
        let body = "if redis.call('GET', keys[1]) == 'a' and x then for i = 1, 2 do local y = i + 1 end end\n";
        refuses(&format!("local function f() {} end", body.repeat(5_000)), None);
    }
}
