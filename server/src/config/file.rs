//! The configuration file: one directive a line, an option's name and its words, with `#` comments, quotes, and
//! `include`. The command line and standard input are read as further lines of it, as redis-server does, so the last
//! line about an option wins.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::absent::{self, pass_over};
use super::kind::{error_text, path_from};
use super::options::{Settings, find};
use super::value::split_words;
use crate::acl::{Rules, has_blanks, merge_selectors};
use crate::error;
use crate::glob;

/// How deep files may include files; a file that includes itself ends here.
const MAX_INCLUDES: usize = 16;

/// Where a directive stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File(PathBuf),
    /// In what came over standard input.
    StandardInput,
    /// Among the arguments of the program.
    CommandLine,
    /// In a text that the embedding program gave.
    Text,
    /// In a call of the embedding program.
    Call,
}

/// Why the configuration cannot be used. The server does not start then.
#[derive(Debug)]
pub enum LoadError {
    /// A line is wrong.
    Directive {
        /// Where it stands.
        origin: Origin,
        /// Its number, from 1.
        line: usize,
        /// The line itself.
        text: String,
        /// What is wrong with it.
        message: String,
    },
    /// Users cannot be made as the configuration or the ACL file asks for.
    Users(String),
    /// A file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "the configuration file {}", path.display()),
            Self::StandardInput => formatter.write_str("the configuration from standard input"),
            Self::CommandLine => formatter.write_str("the command line"),
            Self::Text | Self::Call => formatter.write_str("the configuration"),
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directive { origin: Origin::Call, text, message, .. } => {
                write!(formatter, "option '{text}': {message}")
            }
            Self::Directive { origin, line, text, message } => {
                writeln!(formatter, "*** FATAL CONFIG FILE ERROR (Larder {}) ***", env!("CARGO_PKG_VERSION"))?;
                writeln!(formatter, "Reading {origin}, at line {line}")?;
                write!(formatter, ">>> '{text}'\n{message}")
            }
            Self::Users(reason) => write!(formatter, "Aborting Larder startup because of ACL errors: {reason}"),
            Self::Unreadable { path, error } => {
                let reason = error_text(error);
                write!(formatter, "Fatal error, can't open config file '{}': {reason}", path.display())
            }
        }
    }
}

impl std::error::Error for LoadError {}

fn is_include(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"include")
}

fn is_user(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"user")
}

/// A user that the configuration declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserLine {
    /// The name.
    pub name: Vec<u8>,
    /// The rules, a selector's together.
    pub rules: Vec<Vec<u8>>,
}

impl UserLine {
    /// Checks a declaration that follows those of `known` users; the error says what is wrong with it.
    fn parse(words: &[&[u8]], known: &[Self]) -> Result<Self, String> {
        let [name, rules @ ..] = words else { return Err("wrong number of arguments".into()) };
        if has_blanks(name) {
            return Err("Spaces not allowed in ACL usernames".into());
        }
        if known.iter().any(|user| user.name == *name) {
            return Err(error::declaration(
                name,
                "Duplicate user found. A user can only be defined once in config files",
            ));
        }
        let rules = merge_selectors(rules).map_err(|first| error::declaration(first, "Unmatched parenthesis"))?;
        let mut user = Rules::new(false);
        for rule in &rules {
            user.apply(rule).map_err(|wrong| error::declaration(rule, error::rule_reason(wrong)))?;
        }
        Ok(Self { name: name.to_vec(), rules: rules.into_iter().map(Cow::into_owned).collect() })
    }
}

/// What directives change.
pub(super) struct Loader<'a> {
    pub(super) settings: &'a Settings,
    /// Options that were passed over, each once.
    pub(super) passed_over: &'a mut Vec<&'static str>,
    pub(super) users: &'a mut Vec<UserLine>,
}

impl Loader<'_> {
    /// Carries out every directive of a file.
    pub(super) fn file(&mut self, path: &Path) -> Result<(), LoadError> {
        self.include_file(path, 0)
    }

    /// Carries out every directive of a text.
    pub(super) fn text(&mut self, origin: &Origin, text: &[u8]) -> Result<(), LoadError> {
        self.include_text(origin, text, 0)
    }

    /// Carries out directives that are given as an option's name and its words.
    pub(super) fn calls(&mut self, calls: &[(String, Vec<Vec<u8>>)]) -> Result<(), LoadError> {
        for (index, (name, words)) in calls.iter().enumerate() {
            // Values stay out of the error, as they may be secret.
            let wrong = |message: String| LoadError::Directive {
                origin: Origin::Call,
                line: index + 1,
                text: name.clone(),
                message,
            };
            let name = name.as_bytes();
            if find(name).is_none() && absent::find(name).is_none() && !is_include(name) && !is_user(name) {
                return Err(wrong("there is no such option".into()));
            }
            let words: Vec<&[u8]> = std::iter::once(name).chain(words.iter().map(Vec::as_slice)).collect();
            self.directive(&words, wrong, 0)?;
        }
        Ok(())
    }

    fn include_file(&mut self, path: &Path, depth: usize) -> Result<(), LoadError> {
        let text = fs::read(path).map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })?;
        self.include_text(&Origin::File(path.to_owned()), &text, depth)
    }

    fn include_text(&mut self, origin: &Origin, text: &[u8], depth: usize) -> Result<(), LoadError> {
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let at_line = |message: String| LoadError::Directive {
                origin: origin.clone(),
                line: index + 1,
                text: String::from_utf8_lossy(line).into_owned(),
                message,
            };
            let words = split_words(line).ok_or_else(|| at_line("Unbalanced quotes in configuration line".into()))?;
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            self.directive(&words, at_line, depth)?;
        }
        Ok(())
    }

    /// Carries out one directive; `wrong` makes an error of what is wrong with it.
    fn directive(
        &mut self,
        words: &[&[u8]],
        wrong: impl Fn(String) -> LoadError,
        depth: usize,
    ) -> Result<(), LoadError> {
        match words {
            [name, pattern] if is_include(name) => {
                if depth == MAX_INCLUDES {
                    return Err(wrong("Files include each other too deeply".into()));
                }
                for path in included(self.settings, pattern) {
                    self.include_file(&path, depth + 1)?;
                }
            }
            [name, values @ ..] if is_user(name) => {
                let user = UserLine::parse(values, self.users).map_err(wrong)?;
                self.users.push(user);
            }
            [name, values @ ..] => match pass_over(name, values).map_err(&wrong)? {
                Some(name) if self.passed_over.contains(&name) => {}
                Some(name) => self.passed_over.push(name),
                None => carry_out(self.settings, name, values).map_err(wrong)?,
            },
            [] => {}
        }
        Ok(())
    }
}

/// Sets one option from the words behind its name.
fn carry_out(settings: &Settings, name: &[u8], values: &[&[u8]]) -> Result<(), String> {
    let (row, _) = find(name).ok_or("Bad directive or wrong number of arguments")?;
    match values {
        // All words of a value may come as one, as in --bind "127.0.0.1 ::1".
        [joined] if row.kind.takes_words() && !joined.is_empty() => {
            let words = split_words(joined).ok_or("Unbalanced quotes in configuration line")?;
            row.kind.set(settings, &words.iter().map(Vec::as_slice).collect::<Vec<_>>())
        }
        _ if row.kind.takes_words() || values.len() == 1 => row.kind.set(settings, values),
        _ => Err("wrong number of arguments".into()),
    }
}

/// The files that an `include` names: one, which must be there, or any number that match a pattern, in order of name.
fn included(settings: &Settings, pattern: &[u8]) -> Vec<PathBuf> {
    let start = path_from(&settings.dir.get());
    let pattern = start.join(path_from(pattern));
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str();
        if !has_wildcard(part.as_encoded_bytes()) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        found = found.iter().flat_map(|path| matching_entries(path, part.as_encoded_bytes())).collect();
    }
    if has_wildcard(pattern.as_os_str().as_encoded_bytes()) {
        found.retain(|path| path.exists());
    }
    found
}

fn has_wildcard(text: &[u8]) -> bool {
    text.iter().any(|byte| b"*?[".contains(byte))
}

/// The entries of a directory whose names match, sorted. As in a shell, a leading dot must be named.
fn matching_entries(directory: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            name.starts_with(b".") == pattern.starts_with(b".") && glob::matches(pattern, name, false)
        })
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}
