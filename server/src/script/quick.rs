//! Which scripts are sure to end soon, by their source: these may run where their connection runs.
//!
//! Such a script has no function of its own, no loop but `for` over few numbers or over its own keys or arguments, and it
//! names nothing that may take long in one step, calls functions by itself, or loads code. So the number of its steps
//! can be told from its tokens. That is no proof: what a script does with KEYS before it loops over them, or how it
//! comes by a function without naming it, is not looked at. So it runs on a budget that no honest script comes near.

/// What is known of a script that is quick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quick {
    /// Tokens, those in loops as often as these run.
    pub(super) steps: u64,
    /// Whether it loops over its keys or arguments, of which there may then be [`MOST_ARGUMENTS`].
    pub(super) counts_arguments: bool,
    /// Whether it may have the globals themselves, not their stand-in: it changes none that is there.
    pub(super) leaves_globals: bool,
}

/// Keys and arguments of a script that loops over them.
pub(super) const MOST_ARGUMENTS: usize = 32;
/// Steps of a quick script.
const MOST_STEPS: u64 = 4_000;
/// Concatenations, those in loops as often as these run: each may double a string.
const MOST_CONCATENATIONS: u64 = 16;
/// A longer source is not looked at.
const MOST_SOURCE_BYTES: usize = 16 << 10;

/// Words that a quick script does not have, neither as names nor as strings: the tables are public, so that a string is
/// as good as a name.
pub(super) const REFUSED: &[&str] = &[
    "_ENV",
    "_G",
    "__redis__err__handler",
    "cjson",
    "cmsgpack",
    "collectgarbage",
    "concat",
    "coroutine",
    "dump",
    "find",
    "foreach",
    "foreachi",
    "format",
    "function",
    "gcinfo",
    "getfenv",
    "getmetatable",
    "gfind",
    "gmatch",
    "goto",
    "gsub",
    "load",
    "loadstring",
    "match",
    "next",
    "pairs",
    "random",
    "randomseed",
    "rep",
    "repeat",
    "setfenv",
    "setmetatable",
    "sort",
    "struct",
    "until",
    "while",
    "xpcall",
];

/// The names of the globals.
pub(super) const GLOBALS: &[&str] = &[
    "_VERSION", "ARGV", "KEYS", "assert", "bit", "error", "ipairs", "math", "os", "pcall", "rawequal", "rawget",
    "rawset", "redis", "select", "string", "table", "tonumber", "tostring", "type", "unpack",
];

/// Words after which a bracket or a string calls nothing.
const KEYWORDS: &[&[u8]] =
    &[b"and", b"do", b"else", b"elseif", b"end", b"if", b"in", b"local", b"not", b"or", b"return", b"then"];

impl Quick {
    /// Looks at a script's source; nothing if it is not quick.
    pub(super) fn of(source: &[u8]) -> Option<Self> {
        if source.len() > MOST_SOURCE_BYTES {
            return None;
        }
        let mut look = Look {
            tokens: Tokens { rest: source },
            blocks: Vec::new(),
            concatenations: 0,
            last: [None; 3],
            found: Self::NONE,
        };
        look.source()?;
        Some(look.found)
    }

    const NONE: Self = Self { steps: 0, counts_arguments: false, leaves_globals: true };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'s> {
    Name(&'s [u8]),
    Number(&'s [u8]),
    String(&'s [u8]),
    Symbol(&'s [u8]),
}

/// A look at a source, token by token.
struct Look<'s> {
    tokens: Tokens<'s>,
    /// How often the bodies of the blocks run that are open.
    blocks: Vec<u64>,
    concatenations: u64,
    /// The last three tokens, the newest first.
    last: [Option<Token<'s>>; 3],
    found: Quick,
}

impl<'s> Look<'s> {
    fn source(&mut self) -> Option<()> {
        while let Some(token) = self.token()? {
            match token {
                Token::Name(b"for") => self.header()?,
                Token::Name(b"if" | b"do") => self.blocks.push(1),
                Token::Name(b"end") => drop(self.blocks.pop()?),
                Token::Symbol(b"..") => {
                    self.concatenations += self.times();
                    (self.concatenations <= MOST_CONCATENATIONS).then_some(())?;
                }
                _ => {}
            }
        }
        Some(())
    }

    /// How often what stands here runs.
    fn times(&self) -> u64 {
        self.blocks.iter().product()
    }

    /// The next token, if the script may still be quick.
    fn token(&mut self) -> Option<Option<Token<'s>>> {
        let Some(token) = self.tokens.next()? else { return Some(None) };
        if let Token::Name(word) | Token::String(word) = token
            && REFUSED.iter().any(|refused| refused.as_bytes() == word)
        {
            return None;
        }
        self.calls_by_name(token)?;
        if matches!(self.last[0], Some(Token::Name(name)) if is_global(name))
            && matches!(token, Token::Symbol(b"=" | b","))
        {
            // It may stand in an assignment.
            self.found.leaves_globals = false;
        }
        self.last = [Some(token), self.last[0], self.last[1]];
        self.found.steps += self.times();
        (self.found.steps <= MOST_STEPS).then_some(Some(token))
    }

    /// Whether what is called, if this token calls something, is called by a name that is known, so that it is none of those
    /// that are refused: a library's function, a method, or a global.
    fn calls_by_name(&self, token: Token<'s>) -> Option<()> {
        let is_library =
            |token| matches!(token, Some(Token::Name(b"bit" | b"math" | b"os" | b"redis" | b"string" | b"table")));
        let is_call = matches!(token, Token::Symbol(b"(" | b"{") | Token::String(_));
        let is_known = match self.last {
            // A library is not handed on.
            last if is_library(last[0]) => token == Token::Symbol(b"."),
            // Strings have their functions by index, too.
            [Some(Token::String(_) | Token::Symbol(b")")), ..] => token != Token::Symbol(b"[") && !is_call,
            [Some(Token::Symbol(b"]")), ..] => !is_call,
            [Some(Token::Symbol(b"(")), Some(Token::Name(b"pcall")), _] => token == Token::Name(b"redis"),
            [Some(Token::Name(b"pcall")), dot, _] => token == Token::Symbol(b"(") || dot == Some(Token::Symbol(b".")),
            [Some(Token::Name(_)), Some(Token::Symbol(b".")), library] => !is_call || is_library(library),
            [Some(Token::Name(_)), Some(Token::Symbol(b":")), _] => true,
            [Some(Token::Name(name)), ..] => !is_call || is_global(name) || KEYWORDS.contains(&name),
            _ => true,
        };
        is_known.then_some(())
    }

    fn symbol(&mut self, symbol: &[u8]) -> Option<()> {
        (self.token()?? == Token::Symbol(symbol)).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        (self.token()?? == Token::Name(word)).then_some(())
    }

    fn name(&mut self) -> Option<()> {
        matches!(self.token()??, Token::Name(_)).then_some(())
    }

    /// The rest of a loop's header: `i = 1, 10 do`, `i = 1, #KEYS do` or `i, key in ipairs(KEYS) do`.
    fn header(&mut self) -> Option<()> {
        self.name()?;
        let times = match self.token()?? {
            Token::Symbol(b"=") => self.numbers()?,
            Token::Symbol(b",") => {
                self.name()?;
                self.word(b"in")?;
                self.word(b"ipairs")?;
                self.symbol(b"(")?;
                let times = self.own_table()?;
                self.symbol(b")")?;
                self.word(b"do")?;
                times
            }
            _ => return None,
        };
        self.blocks.push(times);
        Some(())
    }

    /// The numbers of a header and its `do`; gives how often the body runs.
    fn numbers(&mut self) -> Option<u64> {
        let first = self.number()?;
        self.symbol(b",")?;
        let last = match self.token()?? {
            Token::Number(text) => integer(text)?,
            Token::Symbol(b"#") => self.own_table()?,
            _ => return None,
        };
        let step = match self.token()?? {
            Token::Symbol(b",") => {
                let step = self.number()?;
                self.word(b"do")?;
                step
            }
            Token::Name(b"do") => 1,
            _ => return None,
        };
        let distance = last.saturating_sub(first);
        (step > 0 && distance <= MOST_STEPS).then(|| distance / step + 1)
    }

    fn number(&mut self) -> Option<u64> {
        match self.token()?? {
            Token::Number(text) => integer(text),
            _ => None,
        }
    }

    /// KEYS or ARGV.
    fn own_table(&mut self) -> Option<u64> {
        let Token::Name(b"KEYS" | b"ARGV") = self.token()?? else { return None };
        self.found.counts_arguments = true;
        Some(MOST_ARGUMENTS as u64)
    }
}

fn is_global(name: &[u8]) -> bool {
    GLOBALS.iter().any(|global| global.as_bytes() == name)
}

fn integer(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A source's tokens. What is no token in Lua may be one here: such a source does not compile.
struct Tokens<'s> {
    rest: &'s [u8],
}

impl<'s> Tokens<'s> {
    /// The next token; the outer nothing for a source that cannot be read.
    fn next(&mut self) -> Option<Option<Token<'s>>> {
        loop {
            let blank = self.rest.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b).count();
            self.rest = &self.rest[blank..];
            let Some(comment) = self.rest.strip_prefix(b"--") else { break };
            self.rest = comment;
            if self.long_string().is_none() {
                let line = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
                self.rest = &self.rest[line..];
            }
        }
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let Some(&first) = self.rest.first() else { return Some(None) };
        Some(Some(match first {
            b'"' | b'\'' => Token::String(self.short_string(first)?),
            b'[' if self.opens_long_string() => Token::String(self.long_string()?),
            b'0'..=b'9' => Token::Number(self.take_while(|byte| is_word(byte) || *byte == b'.')),
            b'.' => Token::Symbol(self.take_while(|byte| *byte == b'.')),
            _ if is_word(&first) => Token::Name(self.take_while(is_word)),
            _ => Token::Symbol(self.take(1)),
        }))
    }

    fn take(&mut self, count: usize) -> &'s [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, belongs: impl Fn(&u8) -> bool) -> &'s [u8] {
        self.take(self.rest.iter().take_while(|byte| belongs(byte)).count())
    }

    /// A string in quotes. One with an escape could spell anything: it is not read.
    fn short_string(&mut self, quote: u8) -> Option<&'s [u8]> {
        let end = self.rest[1..].iter().position(|byte| matches!(*byte, b'\\' | b'\n') || *byte == quote)?;
        let text = &self.rest[1..=end];
        self.take(end + 2).ends_with(&[quote]).then_some(text)
    }

    fn opens_long_string(&self) -> bool {
        let level = self.rest[1..].iter().take_while(|byte| **byte == b'=').count();
        self.rest.get(level + 1) == Some(&b'[')
    }

    /// A string in long brackets.
    fn long_string(&mut self) -> Option<&'s [u8]> {
        if self.rest.first() != Some(&b'[') || !self.opens_long_string() {
            return None;
        }
        let level = self.rest[1..].iter().take_while(|byte| **byte == b'=').count();
        let close = [&b"]"[..], &vec![b'='; level], b"]"].concat();
        let inner = &self.rest[level + 2..];
        let end = memchr::memmem::find(inner, &close)?;
        self.take(level + 2 + end + close.len());
        Some(&inner[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a quick script counts its arguments.
    fn quick(source: &str) -> Option<bool> {
        Quick::of(source.as_bytes()).map(|quick| quick.counts_arguments)
    }

    #[test]
    fn straight_scripts_and_short_loops_are_quick() {
        assert_eq!(quick("return 1"), Some(false));
        assert_eq!(quick("if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 else return 0 end"), Some(false));
        assert_eq!(quick("for i = 1, 10 do redis.call('GET', KEYS[1]) end"), Some(false));
        assert_eq!(quick("for i=1,#KEYS do redis.call('DEL', KEYS[i]) end"), Some(true));
        assert_eq!(quick("local n = 0 for i, a in ipairs(ARGV) do n = n + a end return n"), Some(true));
        assert_eq!(quick("-- while\nreturn 'a while' --[[ repeat\n]] --[==[ function ]] ]==]"), Some(false));
        assert_eq!(quick("for i = 1, 20 do for j = 1, 20, 4 do local x = i * j end end"), Some(false));
        assert_eq!(quick("return redis.call('SET', KEYS[1], [[a [b] c]])"), Some(false));
    }

    #[test]
    fn what_may_take_long_is_not() {
        for source in [
            "return #string[ARGV[1]]('x', 60000000)",
            "local s = string return #s[ARGV[1]]('x', 60000000)",
            "local s = 'x' local r = s[ARGV[1]] return #r(s, 60000000)",
            "local s = 'x' local t = {r = s[ARGV[1]]} return #t.r(s, 60000000)",
            "return #('x')[ARGV[1]]('x', 60000000)",
            "local s = 'x' return pcall(s[ARGV[1]], s, 60000000)",
            "local s = 'x' local p = pcall p(s[ARGV[1]], s, 60000000)",
            "return #table[ARGV[1]](redis.call('LRANGE', KEYS[1], 0, -1))",
            "while true do end",
            "repeat until false",
            "local function f() f() end f()",
            "for i = 1, 1e9 do end",
            "for i = 1, tonumber(ARGV[1]) do end",
            "for i = 1, 100 do for j = 1, 100 do local x = 1 end end",
            "for i = 1, 10, 0 do end",
            "for i = 1, 0x7fffffff do end",
            "for i = 10, 1, -1 do end",
            "for k, v in pairs(KEYS) do end",
            "for i, v in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do end",
            "return ('x'):rep(100000000)",
            "return string['rep']('x', 100000000)",
            "return string[\"\\114ep\"]('x', 100000000)",
            "return ('x').rep",
            "loadstring('while true do end')()",
            "return cjson.encode({})",
            "local s = 'x' for i = 1, 30 do s = s .. s end return s",
            "return 'unfinished",
        ] {
            assert_eq!(quick(source), None, "{source}");
        }
        let long = format!("return 1{}", " + 1".repeat(MOST_STEPS as usize));
        assert_eq!(quick(&long), None);
        let doubled = format!("local s = 'x' {}", "s = s .. s ".repeat(17));
        assert_eq!(quick(&doubled), None);
    }

    #[test]
    fn what_may_assign_a_global_is_known() {
        let leaves = |source: &str| Quick::of(source.as_bytes()).map(|quick| quick.leaves_globals);
        for source in
            ["return redis.call('GET', KEYS[1])", "local a = KEYS[1] a = #ARGV", "new = 1", "if 1 == #KEYS then end"]
        {
            assert_eq!(leaves(source), Some(true), "{source}");
        }
        for source in
            ["KEYS = {}", "type = nil", "a, KEYS = 1, 2", "ARGV, a = 1, 2", "unpack --[[ ]] = 1", "local type = type"]
        {
            assert_eq!(leaves(source), Some(false), "{source}");
        }
    }

    #[test]
    fn steps_count_as_often_as_they_run() {
        let steps = |source: &str| Quick::of(source.as_bytes()).map(|quick| quick.steps);
        assert_eq!(steps("return 1"), Some(2));
        // Eight of the header, two of the body and its end, ten times.
        assert_eq!(steps("for i = 1, 10 do type() end"), Some(7 + 4 * 10));
    }

    #[test]
    fn any_bytes_can_be_looked_at() {
        let alphabet = b"for if do end = , # [ ] [[ ]] -- [= '\" \\ .. KEYS i 1 \n ipairs ( ) in";
        for seed in 0..20_000_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let source: Vec<u8> = (0..seed % 40)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    alphabet[(state >> 33) as usize % alphabet.len()]
                })
                .collect();
            if let Some(quick) = Quick::of(&source) {
                assert!(quick.steps <= MOST_STEPS);
            }
        }
    }
}
