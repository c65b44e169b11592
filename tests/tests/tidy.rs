//! Rules of the code that matter, as tests: every file says what it is for, files and functions stay short, `unsafe`
//! stands only where it is listed, and nothing unfinished is left behind.

use std::fs;
use std::path::{Path, PathBuf};

const MOST_LINES_OF_A_FILE: usize = 800;
const MOST_LINES_OF_A_FUNCTION: usize = 70;

/// Longer files; this list may only shrink.
const LONG_FILES: &[&str] = &[];

/// Functions that are longer, as `path::name`; this list may only shrink.
const LONG_FUNCTIONS: &[&str] = &[];

/// The files that may contain `unsafe`.
const UNSAFE_FILES: &[&str] = &[
    "storage/src/region.rs",
    "storage/src/slab.rs",
    "storage/src/entry.rs",
    "storage/src/cpu.rs",
    "storage/src/heap.rs",
    "storage/src/heap/area.rs",
    "storage/src/heap/maps.rs",
    "storage/src/heap/shared.rs",
    "storage/src/heap/state.rs",
    "storage/src/heap/system.rs",
    "storage/src/heap/tests.rs",
    "storage/src/index/chunk.rs",
    "server/src/script/lender.rs",
];

/// What panics where nobody reads the output: the programs of `benches` have `output::tell` and `output::print` instead.
const PRINTING: &[&str] = &["println!", "print!"];

/// What must not stay in the code.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// One Rust file of the workspace.
struct Source {
    /// The path from the root of the workspace, with slashes.
    path: String,
    text: String,
    /// The text with comments, strings and characters blanked out, line for line.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for member in ["protocol", "storage", "server", "chat-app", "tests", "benches"] {
        collect(&root.join(member), &mut files);
    }
    files.sort();
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        let path = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        Source { path, code: blank(&text), text }
    };
    files.iter().map(read).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

/// Replaces what is inside comments, strings and character literals by spaces; lines stay lines.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => at + line_length(&bytes[at..]),
            b'/' if bytes[at..].starts_with(b"/*") => at + block_length(&bytes[at..]),
            b'"' => at + string_length(&bytes[at..]),
            b'r' if !follows_a_word(bytes, at) => at + raw_string_length(&bytes[at..]),
            b'b' if !follows_a_word(bytes, at) && bytes.get(at + 1) == Some(&b'r') => {
                at + 1 + raw_string_length(&bytes[at + 1..])
            }
            b'\'' => at + character_length(&bytes[at..]),
            _ => at + 1,
        };
        if end > at + 1 {
            out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn line_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len())
}

fn block_length(bytes: &[u8]) -> usize {
    let mut depth = 0;
    for at in 0..bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => depth += 1,
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => depth -= 1,
            _ => {}
        }
    }
    bytes.len()
}

fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// 1 when no raw string begins here.
fn raw_string_length(bytes: &[u8]) -> usize {
    let hashes = bytes[1..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(1 + hashes) != Some(&b'"') {
        return 1;
    }
    let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let body = &bytes[2 + hashes..];
    let length = body.windows(end.len()).position(|window| window == end).unwrap_or(body.len());
    (2 + hashes + length + end.len()).min(bytes.len())
}

/// 1 for the quote of a lifetime.
fn character_length(bytes: &[u8]) -> usize {
    match bytes {
        [_, b'\\', _, rest @ ..] => 3 + rest.iter().position(|byte| *byte == b'\'').map_or(0, |at| at + 1),
        [_, first, ..] => {
            let width = match first {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            };
            if bytes.get(1 + width) == Some(&b'\'') { 2 + width } else { 1 }
        }
        _ => 1,
    }
}

fn follows_a_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

/// The functions of blanked code: name, first line, number of lines from `fn` to the closing brace.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if follows_a_word(code.as_bytes(), at) {
            continue;
        }
        let name: String =
            code[at + 3..].chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        let Some(length) = body_length(&code[at..]) else {
            continue;
        };
        if !name.is_empty() {
            let lines = code[at..at + length].lines().count();
            found.push((name, code[..at].lines().count(), lines));
        }
    }
    found
}

/// Bytes from here to the closing brace of the body; `None` for a declaration without a body.
fn body_length(code: &str) -> Option<usize> {
    let (mut depth, mut nested) = (0, 0);
    for (at, letter) in code.char_indices() {
        match letter {
            // Array types in a signature hold semicolons.
            '[' | '(' if depth == 0 => nested += 1,
            ']' | ')' if depth == 0 => nested -= 1,
            ';' if depth == 0 && nested == 0 => return None,
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at + 1),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let after = code[at + word.len()..].bytes().next();
        !follows_a_word(code.as_bytes(), at) && !after.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

#[track_caller]
fn none(rule: &str, offenders: Vec<String>) {
    assert!(offenders.is_empty(), "{rule}:\n    {}", offenders.join("\n    "));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    none("files that do not begin with a module doc", silent.map(|source| source.path).collect());
}

#[test]
fn files_are_short() {
    let mut offenders = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        let is_listed = LONG_FILES.contains(&source.path.as_str());
        if lines > MOST_LINES_OF_A_FILE && !is_listed {
            offenders.push(format!("{}: {lines} lines", source.path));
        } else if lines <= MOST_LINES_OF_A_FILE && is_listed {
            offenders.push(format!("{}: need not be listed any more", source.path));
        }
    }
    none("files longer than allowed", offenders);
}

#[test]
fn functions_are_short() {
    let mut offenders = Vec::new();
    for source in sources() {
        for (name, line, lines) in functions(&source.code) {
            let place = format!("{}::{name}", source.path);
            let is_listed = LONG_FUNCTIONS.contains(&place.as_str());
            if lines > MOST_LINES_OF_A_FUNCTION && !is_listed {
                offenders.push(format!("{place}: {lines} lines from line {line}"));
            } else if lines <= MOST_LINES_OF_A_FUNCTION && is_listed {
                offenders.push(format!("{place}: need not be listed any more"));
            }
        }
    }
    none("functions longer than allowed", offenders);
}

#[test]
fn unsafe_stands_only_where_it_is_listed() {
    let sources = sources();
    let others = sources.iter().filter(|source| !UNSAFE_FILES.contains(&source.path.as_str()));
    let offenders = others.filter(|source| has_word(&source.code, "unsafe"));
    none("files with unsafe code", offenders.map(|source| source.path.clone()).collect());
}

#[test]
fn nothing_unfinished_is_left() {
    let mut offenders = Vec::new();
    for source in sources() {
        for mark in UNFINISHED.iter().filter(|mark| source.code.contains(**mark)) {
            offenders.push(format!("{}: {mark}", source.path));
        }
    }
    none("unfinished code", offenders);
}

#[test]
fn benches_print_in_one_way() {
    let programs = sources().into_iter().filter(|source| source.path.starts_with("benches/src/"));
    let printing = programs.filter(|source| PRINTING.iter().any(|mark| source.code.contains(mark)));
    none("output that panics where nobody reads it", printing.map(|source| source.path).collect());
}

#[test]
fn listed_files_exist() {
    let sources = sources();
    let listed = UNSAFE_FILES.iter().chain(LONG_FILES);
    let gone = listed.filter(|path| !sources.iter().any(|source| source.path == **path));
    none("listed files that do not exist", gone.map(ToString::to_string).collect());
}

#[test]
fn the_rules_see_what_they_look_for() {
    let text = "fn a() {\n    let x = '{'; // }\n    \"}\";\n}\nfn b(x: [u8; 3]);\nfn c<'a>(s: &'a str) { r#\"}\"# }\n";
    let names: Vec<_> = functions(&blank(text)).into_iter().map(|(name, _, lines)| (name, lines)).collect();
    assert_eq!(names, [("a".to_string(), 4), ("c".to_string(), 1)]);
    assert!(has_word("unsafe { }", "unsafe") && !has_word("unsafe_code", "unsafe"));
    assert!(!has_word(&blank("// unsafe\n/* unsafe */ \"unsafe\" b\"unsafe\""), "unsafe"));
}
