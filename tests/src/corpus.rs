//! Text files of commands for the differential tests: a small language, and its run against both servers.
//!
//! A file is a list of sections; each starts on empty servers with new connections and ends with QUIT on all of
//! them, after which everything that was not read before is compared. Lines:
//!
//! ```text
//! # comment
//! @ title            begins a section; "[2]" or "[3]" in the title: this protocol only
//! given SET k v      from here to the next given or section each line is a case of its own, run on empty
//!                    servers after this preparation
//! SET k v            sent to both, replies compared byte for byte
//! GET a ; GET b      steps of one line
//! SET k {a|b} {NX|}  one line per combination; an empty alternative leaves the word out
//! "a b\x00" 'c'      quoting as in redis-cli; "ab"*1000 repeats
//! ~ KEYS *           compared in any order
//! ? TIME             types compared only
//! = CLIENT LIST      names of fields compared only
//! ! CLIENT ID        not compared, but there must be a reply
//! b> GET k           on the connection b (any name); the others are on a
//! ZRANK z a WITHSCORE => *2\r\n:0\r\n$1\r\n1\r\n || *2\r\n:0\r\n,1\r\n
//!                    the reply that is right whatever an older peer says, in RESP2 || in RESP3 if that differs;
//!                    with "[on purpose]" in the title whatever any peer says
//! <                  reads and compares one more frame; "<~", "<?" as above
//! <<3                reads three frames, which may come in any order
//! raw "PING\r\n"     sends bytes and reads nothing
//! end                the servers must close the connection; all that they send is compared
//! finish             closes our sending half
//! sleep 20           milliseconds
//! ```

use crate::both::{Both, Compare};
use std::collections::BTreeSet;
use std::time::Duration;

/// Stands between a command and the reply that the file itself gives.
pub(crate) const ANSWER: &str = " => ";

/// In a title: what follows is larder's own, whatever version the peer has.
pub(crate) const ON_PURPOSE: &str = "[on purpose]";

/// Failures shown in a report.
const SHOWN: usize = 25;

/// Runs a corpus against both servers in RESP2, then in RESP3.
///
/// # Panics
/// With all differences found.
pub fn run(text: &str) {
    run_with(&[], text);
}

/// The same with further options for both servers.
///
/// # Panics
/// With all differences found.
pub fn run_with(options: &[&str], text: &str) {
    let Some(mut both) = Both::with(options) else {
        return;
    };
    let mut failures = Vec::new();
    for protocol in [2, 3] {
        both.protocol(protocol);
        for section in sections(text) {
            if !section.is_for(protocol) {
                continue;
            }
            both.expect_of_peer(!section.title.contains(ON_PURPOSE));
            for failure in section.run(&mut both) {
                failures.push(format!("@ {}, RESP{protocol}: {failure}", section.title));
            }
        }
    }
    println!("{} replies compared", both.compared);
    let shown = failures.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} differences\n{shown}", failures.len());
}

/// The names of all commands that a corpus sends, in capitals: the first word, and the first two of each line as
/// `CONFIG|GET`.
pub fn names(text: &str) -> BTreeSet<String> {
    let lines = sections(text).into_iter().flat_map(|section| section.lines);
    let steps = lines.flat_map(|line| {
        let line = line.strip_prefix("given").unwrap_or(line);
        combinations(line.split(ANSWER).next().unwrap_or_default()).into_iter().flat_map(|case| split_steps(&case))
    });
    let mut names = BTreeSet::new();
    for step in steps {
        let step = step.split_once("> ").filter(|(name, _)| !name.contains(' ')).map_or(&*step, |(_, step)| step);
        let words = split_words(step.trim_start_matches(['~', '?', '=', '!', ' ']));
        let mut words = words.iter().map(|word| String::from_utf8_lossy(word).to_uppercase());
        if let Some(name) = words.next() {
            names.extend(words.next().map(|second| format!("{name}|{second}")));
            names.insert(name);
        }
    }
    names
}

struct Section<'a> {
    title: &'a str,
    lines: Vec<&'a str>,
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections = vec![Section { title: "beginning", lines: Vec::new() }];
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("@ ") {
            Some(title) => sections.push(Section { title, lines: Vec::new() }),
            None => sections.last_mut().unwrap().lines.push(line),
        }
    }
    sections
}

impl Section<'_> {
    fn is_for(&self, protocol: u8) -> bool {
        let other = if protocol == 2 { "[3]" } else { "[2]" };
        !self.title.contains(other)
    }

    /// Runs the section and returns the differences.
    fn run(&self, both: &mut Both) -> Vec<String> {
        let mut failures = Vec::new();
        let mut given: Option<Vec<String>> = None;
        let mut is_broken = false;
        for line in &self.lines {
            if let Some(preparation) = line.strip_prefix("given") {
                given = Some(split_steps(preparation.trim()));
                continue;
            }
            let is_answered = line.contains(ANSWER);
            for case in if is_answered { vec![line.to_string()] } else { combinations(line) } {
                let mut steps = if is_answered { vec![case] } else { split_steps(&case) };
                if let Some(preparation) = &given {
                    let flush = ["! FLUSHALL".to_string()];
                    steps.splice(0..0, flush.iter().chain(preparation).cloned());
                }
                for step in steps.iter().filter(|step| !step.is_empty()) {
                    if let Err(difference) = take_step(both, step) {
                        is_broken |= difference.contains("(no reply") || difference.contains("(connection closed");
                        let context =
                            if given.is_some() { format!("in {}\n  ", steps[1..].join(" ; ")) } else { String::new() };
                        failures.push(format!("{context}{difference}"));
                    }
                }
                if is_broken {
                    both.abandon();
                    is_broken = false;
                    if given.is_none() {
                        failures.extend(both.fresh().err());
                        return failures;
                    }
                }
            }
        }
        if let Err(difference) = both.fresh() {
            failures.push(both.report(&difference));
            both.abandon();
        }
        failures
    }
}

fn take_step(both: &mut Both, step: &str) -> Result<(), String> {
    let (name, step) = match step.split_once("> ") {
        Some((name, step)) if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => (name, step.trim()),
        _ => ("a", step),
    };
    both.on(name);
    let (step, expected) = step.split_once(ANSWER).unwrap_or((step, ""));
    if !expected.is_empty() {
        let (second, third) = expected.split_once(" || ").unwrap_or((expected, expected));
        both.expect(if both.version() == 2 { second } else { third });
    }
    let how = |mark: &str| match mark {
        "~" => Some(Compare::Sorted),
        "?" => Some(Compare::Kind),
        "=" => Some(Compare::Fields),
        "!" => Some(Compare::Nothing),
        _ => None,
    };
    if let Some(count) = step.strip_prefix("<<") {
        return both.receive_unordered(count.parse().unwrap());
    }
    if let Some(mark) = step.strip_prefix('<') {
        return both.receive("(next frame)", how(mark.trim()).unwrap_or(Compare::Exact));
    }
    let (mark, command) = step.split_once(' ').unwrap_or((step, ""));
    match mark {
        "raw" => both.transmit(&split_words(command).concat()),
        "end" => return both.end(),
        "finish" => both.finish(),
        "sleep" => std::thread::sleep(Duration::from_millis(command.parse().unwrap())),
        _ => {
            let compare = how(mark);
            let words = split_words(if compare.is_some() { command } else { step });
            return both.command(&words, compare.unwrap_or(Compare::Exact));
        }
    }
    Ok(())
}

/// Parts between `;` words outside quotes.
fn split_steps(line: &str) -> Vec<String> {
    outside_quotes(line, " ; ").into_iter().map(|part| part.trim().to_string()).collect()
}

/// Splits at `separator` where it is not inside quotes.
fn outside_quotes<'a>(line: &'a str, separator: &str) -> Vec<&'a str> {
    let (mut parts, mut start, mut quote, mut is_escaped) = (Vec::new(), 0, None, false);
    for (at, letter) in line.char_indices() {
        match quote {
            None if line[at..].starts_with(separator) && at >= start => {
                parts.push(&line[start..at]);
                start = at + separator.len();
            }
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if letter == '\\' => is_escaped = true,
            Some(open) if letter == open => quote = None,
            _ => {}
        }
    }
    parts.push(&line[start.min(line.len())..]);
    parts
}

/// All lines that the alternatives in braces stand for.
fn combinations(line: &str) -> Vec<String> {
    let pieces = outside_quotes(line, "{");
    if pieces.len() == 1 {
        return vec![line.to_string()];
    }
    let before = pieces[0];
    let rest = &line[before.len() + 1..];
    let inside = outside_quotes(rest, "}")[0];
    let after = rest.get(inside.len() + 1..).unwrap_or_else(|| panic!("no closing brace: {line}"));
    let endings = combinations(after);
    let alternatives = outside_quotes(inside, "|");
    alternatives
        .iter()
        .flat_map(|choice| endings.iter().map(move |ending| format!("{before}{choice}{ending}")))
        .collect()
}

/// Splits a command line into words as redis-cli does; a `*count` right after a closing quote repeats the word.
///
/// # Panics
/// When a quote is not closed.
pub fn split_words(line: &str) -> Vec<Vec<u8>> {
    let bytes = line.as_bytes();
    let (mut words, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] == b' ' {
            at += 1;
            continue;
        }
        let mut word = Vec::new();
        while at < bytes.len() && bytes[at] != b' ' {
            match bytes[at] {
                quote @ (b'"' | b'\'') => {
                    at = quoted(bytes, at + 1, quote, &mut word).unwrap_or_else(|| panic!("open quote: {line}"));
                    if bytes.get(at) == Some(&b'*') {
                        let count: String = line[at + 1..].chars().take_while(char::is_ascii_digit).collect();
                        at += 1 + count.len();
                        word = word.repeat(count.parse().unwrap());
                    }
                }
                plain => {
                    word.push(plain);
                    at += 1;
                }
            }
        }
        words.push(word);
    }
    words
}

/// Appends the quoted text that begins at `at`; returns the place after its closing quote.
fn quoted(bytes: &[u8], mut at: usize, quote: u8, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            byte if byte == quote => return Some(at + 1),
            b'\\' if quote == b'"' => {
                let escaped = *bytes.get(at + 1)?;
                at += 2;
                if escaped == b'x' {
                    let digits = std::str::from_utf8(bytes.get(at..at + 2)?).ok()?;
                    word.push(u8::from_str_radix(digits, 16).ok()?);
                    at += 2;
                    continue;
                }
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    other => other,
                });
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_in_redis_cli() {
        let words = split_words(r#"SET "a b\x00" 'c"' "" "ab"*3 d*2"#);
        assert_eq!(words, [&b"SET"[..], b"a b\0", b"c\"", b"", b"ababab", b"d*2"]);
    }

    #[test]
    fn names_are_those_of_all_steps() {
        let text = "@ title\ngiven SET k v ; b> zadd z 1 a\n~ {GET|TTL} k\n! CLIENT LIST => x\n# DEL k\n< \n";
        let names: Vec<_> = names(text).into_iter().filter(|name| !name.contains('|')).collect();
        assert_eq!(names, ["<", "CLIENT", "GET", "SET", "TTL", "ZADD"]);
        assert!(super::names(text).contains("CLIENT|LIST"));
    }

    #[test]
    fn braces_stand_for_all_combinations() {
        assert_eq!(combinations("a {b|} {c|\"{\"} d"), ["a b c d", "a b \"{\" d", "a  c d", "a  \"{\" d"]);
    }
}
