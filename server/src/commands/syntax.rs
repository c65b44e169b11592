//! The arguments of a row, read from their one line of notation into the tree that COMMAND DOCS answers.
//!
//! ```text
//! word          an argument; what it is called tells its type
//! WORD          itself; followed by an argument, it introduces that
//! [ a ]         a may be left out
//! a | b         one of several; ( ) keeps things together
//! a...          one or more times
//! ```
//!
//! So SET's is `key value [NX | XX] [GET] [EX seconds | PX milliseconds | KEEPTTL]`, shortened.

use super::choices;

/// An argument, as COMMAND DOCS tells it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Argument {
    pub(crate) name: String,
    /// Redis's word for what it is: `string`, `oneof`, ...
    pub(crate) kind: &'static str,
    /// The word that introduces it, or that it is.
    pub(crate) token: Option<&'static str>,
    pub(crate) optional: bool,
    pub(crate) multiple: bool,
    /// What it is made of, if it is a `oneof` or a `block`.
    pub(crate) parts: Vec<Argument>,
}

impl Argument {
    /// Whether the introducing word is repeated with it.
    pub(crate) fn repeats_token(&self) -> bool {
        self.multiple && self.optional && self.token.is_some()
    }
}

/// Types of arguments by their names; all others are strings.
const TYPES: &[(&str, &[&str])] = &[
    ("key", &["key", "key1", "key2", "newkey", "source", "destination", "destkey", "sourcekey"]),
    ("pattern", &["pattern"]),
    ("unix-time", &["unix-time-seconds", "unix-time-milliseconds"]),
    (
        "integer",
        &[
            "bit",
            "client-id",
            "count",
            "cursor",
            "db",
            "decrement",
            "end",
            "entries-added",
            "entries-read",
            "frequency",
            "increment",
            "index",
            "index1",
            "index2",
            "len",
            "limit",
            "maxage",
            "milliseconds",
            "min-match-len",
            "numfields",
            "ms",
            "numkeys",
            "num-matches",
            "numlocal",
            "numreplicas",
            "offset",
            "protover",
            "rank",
            "seconds",
            "slot",
            "start",
            "stop",
            "timeout",
            "ttl",
        ],
    ),
    ("double", &["min", "max", "score", "weight", "longitude", "latitude", "radius", "width", "height"]),
];

/// Reads a row's notation.
pub(crate) fn parse(notation: &'static str) -> Vec<Argument> {
    let mut reader = Reader { tokens: tokens(notation), at: 0 };
    let mut alternatives = reader.alternatives();
    if alternatives.len() == 1 { alternatives.remove(0) } else { vec![one_of(alternatives)] }
}

fn tokens(notation: &'static str) -> Vec<&'static str> {
    let mut tokens = Vec::new();
    let mut rest = notation;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '[' | ']' | '(' | ')' | '|' => 1,
            '.' => rest.len() - rest.trim_start_matches('.').len(),
            ' ' => 0,
            _ => rest.find(['[', ']', '(', ')', '|', '.', ' ']).unwrap_or(rest.len()),
        };
        if length == 0 {
            rest = rest.trim_start_matches(' ');
        } else {
            let (token, after) = rest.split_at(length);
            tokens.push(token);
            rest = after;
        }
    }
    tokens
}

struct Reader {
    tokens: Vec<&'static str>,
    at: usize,
}

impl Reader {
    /// The next token, if `wanted` holds for it.
    fn take(&mut self, wanted: impl Fn(&str) -> bool) -> Option<&'static str> {
        let token = self.tokens.get(self.at).copied().filter(|token| wanted(token))?;
        self.at += 1;
        Some(token)
    }

    /// Sequences between `|`, up to a closing bracket or the end.
    fn alternatives(&mut self) -> Vec<Vec<Argument>> {
        let mut alternatives = vec![self.sequence()];
        while self.take(|token| token == "|").is_some() {
            alternatives.push(self.sequence());
        }
        alternatives
    }

    fn sequence(&mut self) -> Vec<Argument> {
        let mut sequence = Vec::new();
        while let Some(mut argument) = self.argument() {
            argument.multiple |= self.take(|token| token == "...").is_some();
            sequence.push(argument);
        }
        sequence
    }

    fn argument(&mut self) -> Option<Argument> {
        if self.take(|token| token == "[").is_some() {
            return Some(Argument { optional: true, ..self.group() });
        }
        if self.take(|token| token == "(").is_some() {
            return Some(self.group());
        }
        let word = self.take(is_word)?;
        if !is_literal(word) {
            return Some(plain(word));
        }
        // What a literal introduces: an argument, or several kept together.
        let introduced = match self.take(|token| token == "(") {
            Some(_) => Some(self.group()),
            None => self.take(|token| is_word(token) && !is_literal(token)).map(plain),
        };
        let itself = || Argument { name: word.to_ascii_lowercase(), kind: "pure-token", ..Argument::default() };
        Some(Argument { token: Some(word), ..introduced.unwrap_or_else(itself) })
    }

    /// What stands between brackets, the opening one of which is read.
    fn group(&mut self) -> Argument {
        let alternatives = self.alternatives();
        self.take(|token| token == "]" || token == ")");
        one_of(alternatives)
    }
}

fn is_word(token: &str) -> bool {
    !matches!(token, "[" | "]" | "(" | ")" | "|" | "...")
}

fn is_literal(word: &str) -> bool {
    !word.contains(|c: char| c.is_ascii_lowercase())
}

fn plain(word: &'static str) -> Argument {
    let known = TYPES.iter().find(|(_, names)| names.contains(&word));
    Argument { name: word.to_owned(), kind: known.map_or("string", |known| known.0), ..Argument::default() }
}

fn one_of(mut alternatives: Vec<Vec<Argument>>) -> Argument {
    if alternatives.len() == 1 {
        return block(alternatives.remove(0));
    }
    combined("oneof", alternatives.into_iter().map(block).collect())
}

fn block(mut sequence: Vec<Argument>) -> Argument {
    if sequence.len() == 1 { sequence.remove(0) } else { combined("block", sequence) }
}

fn combined(kind: &'static str, parts: Vec<Argument>) -> Argument {
    let name = choices::name_of(&spelled(&parts)).to_owned();
    Argument { name, kind, parts, ..Argument::default() }
}

/// The names of all that parts are made of.
fn spelled(parts: &[Argument]) -> String {
    let each = |part: &Argument| if part.parts.is_empty() { part.name.clone() } else { spelled(&part.parts) };
    parts.iter().map(each).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree in short: `name:type`, with marks for what else is known.
    fn show(argument: &Argument) -> String {
        let parts: Vec<String> = argument.parts.iter().map(show).collect();
        let inside = if parts.is_empty() { argument.name.clone() } else { format!("({})", parts.join(" ")) };
        let token = argument.token.map(|token| format!("{token}=")).unwrap_or_default();
        let optional = if argument.optional { "?" } else { "" };
        let multiple = if argument.multiple { "+" } else { "" };
        format!("{token}{inside}:{}{optional}{multiple}", argument.kind)
    }

    fn check(notation: &'static str, shown: &str) {
        let arguments = parse(notation);
        assert_eq!(arguments.iter().map(show).collect::<Vec<_>>().join(" "), shown, "{notation}");
    }

    #[test]
    fn words_have_the_type_that_their_name_tells() {
        check("", "");
        check("key value", "key:key value:string");
        check("key seconds score pattern", "key:key seconds:integer score:double pattern:pattern");
    }

    #[test]
    fn brackets_make_options_and_alternatives() {
        check("[NX | XX] [GET]", "(NX=nx:pure-token XX=xx:pure-token):oneof? GET=get:pure-token?");
        check("[EX seconds | KEEPTTL]", "(EX=seconds:integer KEEPTTL=keepttl:pure-token):oneof?");
        check("[LIMIT offset count]", "(LIMIT=offset:integer count:integer):block?");
        check("a | b", "(a:string b:string):oneof");
    }

    #[test]
    fn dots_repeat_what_stands_before_them() {
        check("key...", "key:key+");
        check("(score member)...", "(score:double member:string):block+");
        check("[ID (client-id...)]", "ID=client-id:integer?+");
        check("[ID client-id]...", "ID=client-id:integer?+");
    }

    #[test]
    fn every_row_can_be_read() {
        for row in super::super::table::TABLE.rows() {
            let opened = row.syntax.matches(['[', '(']).count();
            assert_eq!(opened, row.syntax.matches([']', ')']).count(), "{}", row.name);
            let mut reader = Reader { tokens: tokens(row.syntax), at: 0 };
            reader.alternatives();
            assert_eq!(reader.at, reader.tokens.len(), "{}: {}", row.name, row.syntax);
        }
    }
}
