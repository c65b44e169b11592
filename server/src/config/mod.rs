//! Configuration: one table of options ([`options`]) from which everything about them derives.
//!
//! - [`options`]: the table, and [`Settings`], which holds the values.
//! - `absent`: options of Redis that are passed over or refused; `defaults`: what CONFIG GET answers of them.
//! - `cells`: what a setting is while the server runs, cheap to read from any thread.
//! - `kind`: how a kind of option reads and prints its value; `value`: numbers, sizes and quoted words as text.
//! - `file`, [`cli`]: configuration files and the command line; `rewrite`: CONFIG REWRITE; `manual`: docs/options.md.
//!
//! A server owns one [`Config`]; nothing here is global, so several servers live in one process. CONFIG SET checks all
//! its pairs on a draft and only then changes the settings, so it happens as a whole or not at all. What a change must
//! cause elsewhere is the caller's: it gets the names of the options that changed.

mod absent;
mod cells;
pub mod cli;
mod defaults;
mod file;

mod kind;
mod manual;
pub mod options;
mod rewrite;
#[cfg(test)]
mod tests;
mod value;

use std::io::Read;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

pub use cells::{
    Access, Choice, ClientClass, Events, Flag, KeyspaceEvents, LogLevel, MaxmemoryPolicy, Number, OutputLimit,
    OutputLimits, PubsubDefault, Selected, Supervised, Text,
};
pub use cli::CommandLine;
pub use file::{LoadError, Origin, UserLine};
pub use manual::options_markdown;
pub use options::Settings;

use crate::error::{self, Error};
use file::Loader;
pub(crate) use kind::error_text;
use kind::path_from;
use options::{Change, Row, find, rows};
pub(crate) use rewrite::replace as replace_file;
pub(crate) use value::quote;
pub(crate) use value::split_words;

/// Told which options CONFIG SET has changed.
type Observer = Box<dyn Fn(&Settings, &[&'static str]) + Send + Sync>;

/// The configuration of one server.
#[derive(Default)]
pub struct Config {
    settings: Settings,
    /// The configuration file, absolute.
    file: Option<PathBuf>,
    /// Options that were given and that Larder has no use for.
    passed_over: Vec<&'static str>,
    /// Users that were declared.
    users: Vec<UserLine>,
    /// Held while options change or are written, so that two changes do not mix.
    changing: Mutex<()>,
    observer: Option<Observer>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Config").field("settings", &self.settings).field("file", &self.file).finish()
    }
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The defaults, changed by the lines of a configuration file.
    pub fn from_text(text: &str) -> Result<Self, LoadError> {
        let mut config = Self::new();
        config.loader().text(&Origin::Text, text.as_bytes())?;
        Ok(config)
    }

    /// What a command line asks for; `standard_input` is read to its end if it is to be.
    pub fn load(line: &CommandLine, standard_input: &mut dyn Read) -> Result<Self, LoadError> {
        let mut config = Self::new();
        if let Some(path) = &line.file {
            let unreadable = |error| LoadError::Unreadable { path: path.clone(), error };
            config.file = Some(std::path::absolute(path).map_err(unreadable)?);
            config.loader().file(path)?;
        }
        if line.standard_input {
            let mut text = Vec::new();
            let unreadable = |error| LoadError::Unreadable { path: PathBuf::from("-"), error };
            standard_input.read_to_end(&mut text).map_err(unreadable)?;
            config.loader().text(&Origin::StandardInput, &text)?;
        }
        let directives = line.directives.as_bytes();
        config.loader().text(&Origin::CommandLine, directives)?;
        Ok(config)
    }

    /// What carries out directives.
    fn loader(&mut self) -> Loader<'_> {
        Loader { settings: &self.settings, passed_over: &mut self.passed_over, users: &mut self.users }
    }

    /// Sets options that are given by name, each with its words, which are taken as they are.
    pub(crate) fn apply(&mut self, options: &[(String, Vec<Vec<u8>>)]) -> Result<(), LoadError> {
        self.loader().calls(options)
    }

    /// Has `observer` called after each CONFIG SET that changed something, with the names of the options: for what the
    /// program around the server has to do then. It is called for one change at a time.
    pub fn observe(&mut self, observer: impl Fn(&Settings, &[&'static str]) + Send + Sync + 'static) {
        self.observer = Some(Box::new(observer));
    }

    /// The values.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The configuration file, absolute; `None` if there is none.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Options that were given and have no effect, as they concern what Larder has not; docs/options.md lists them.
    pub fn passed_over(&self) -> &[&'static str] {
        &self.passed_over
    }

    /// The users that were declared, in order.
    pub fn users(&self) -> &[UserLine] {
        &self.users
    }

    /// Notes the port that the system has chosen, where any free one was asked for.
    pub(crate) fn note_port(&self, port: u16) {
        self.settings.port.set(port.into());
    }

    /// A path of an option such as `logfile` or `unixsocket`, taken from `dir` if it is relative.
    pub fn resolve(&self, path: &[u8]) -> PathBuf {
        path_from(&self.settings.dir.get()).join(path_from(path))
    }

    /// CONFIG GET: the options that match any of the patterns, each once, in the order of the patterns and then of the
    /// table. A name without wildcards is answered in the caller's spelling. Options of Redis for parts that are not
    /// there have Redis's default.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        let mut add = |name: &str, value: Vec<u8>| {
            if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                found.push((name.to_owned(), value));
            }
        };
        for pattern in patterns {
            if pattern.iter().any(|byte| b"[*?".contains(byte)) {
                for row in rows() {
                    row.names()
                        .filter(|name| crate::glob::matches(pattern, name.as_bytes(), true))
                        .for_each(|name| add(name, row.kind.print(&self.settings)));
                }
                for (name, default) in absent_defaults() {
                    if crate::glob::matches(pattern, name.as_bytes(), true) {
                        add(name, default.into());
                    }
                }
            } else if let Some((row, _)) = find(pattern) {
                add(&String::from_utf8_lossy(pattern), row.kind.print(&self.settings));
            } else if let Some(default) = absent_default(pattern) {
                add(&String::from_utf8_lossy(pattern), default.into());
            }
        }
        found
    }

    /// CONFIG SET of several pairs of name and value, all or none. `local` tells whether the client is on this host,
    /// which protected options may ask for. Returns the options whose value is another now; what that must cause is the
    /// caller's. The error is the reply.
    pub fn set(&self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<Vec<&'static str>, Error> {
        let access = self.settings.enable_protected_configs.get();
        let chosen = choose(pairs, access.allows(local))?;
        let _changing = self.changing.lock();
        let draft = Settings::blank();
        chosen.iter().for_each(|(row, ..)| row.kind.copy(&self.settings, &draft));
        for (row, name, value) in &chosen {
            set_from_argument(row, &draft, value).map_err(|reason| failure(name, &reason))?;
        }
        let mut changed = Vec::new();
        for (row, ..) in &chosen {
            if row.kind.print(&draft) != row.kind.print(&self.settings) {
                row.kind.copy(&draft, &self.settings);
                changed.push(row.name);
            }
        }
        if let Some(observer) = self.observer.as_ref().filter(|_| !changed.is_empty()) {
            observer(&self.settings, &changed);
        }
        Ok(changed)
    }

    /// CONFIG REWRITE: brings the configuration file up to date. `users` are the lines that declare the users, if these
    /// stand in the file. The error is the text of the reply, with its `ERR`.
    pub fn rewrite(&self, users: &[Vec<u8>]) -> Result<(), String> {
        let Some(path) = &self.file else {
            return Err("ERR The server is running without a config file".into());
        };
        let _changing = self.changing.lock();
        rewrite::rewrite(path, &self.settings, users)
            .map_err(|error| format!("ERR Rewriting config file: {}", error_text(&error)))
    }
}

/// Whether the value of an option must be kept out of logs and of MONITOR.
pub fn is_secret(name: &[u8]) -> bool {
    find(name).is_some_and(|(row, _)| row.kind.is_secret())
}

/// Options of parts that are not there, with the values that CONFIG GET answers.
fn absent_defaults() -> impl Iterator<Item = (&'static str, &'static str)> {
    absent::ABSENT.iter().filter_map(|(name, _)| Some((*name, defaults::of(name)?)))
}

/// What CONFIG GET answers of an option by its name, if the part that it is for is not there.
fn absent_default(name: &[u8]) -> Option<&'static str> {
    absent::find(name).and_then(|(name, _)| defaults::of(name)).or_else(|| defaults::of_hidden(name))
}

/// Whether setting an option of a part that is not there asks for nothing: it is its default.
fn is_default(value: &[u8], default: &str) -> bool {
    let bytes = |text: &[u8]| value::parse_memory(text).filter(|_| text.first().is_some_and(u8::is_ascii_digit));
    value.eq_ignore_ascii_case(default.as_bytes())
        || bytes(value).zip(bytes(default.as_bytes())).is_some_and(|(value, default)| value == default)
}

/// A pair of CONFIG SET: the option, the name it was called by as the table spells it, and the value.
type Chosen<'a> = (&'static Row, &'static str, &'a [u8]);

/// Finds the options of CONFIG SET and checks that they may be set together. The first pair that is wrong decides.
fn choose<'a>(pairs: &[(&[u8], &'a [u8])], may_protected: bool) -> Result<Vec<Chosen<'a>>, Error> {
    let mut chosen: Vec<Chosen<'a>> = Vec::new();
    for (given, value) in pairs {
        let spelled = String::from_utf8_lossy(given);
        let Some((row, name)) = find(given) else {
            match absent_default(given).ok_or_else(|| error::unknown_config(given))? {
                default if is_default(value, default) => continue,
                _ => return Err(failure(&spelled, "only the default is supported")),
            }
        };
        match row.change {
            Change::AtStart => return Err(failure(&spelled, "can't set immutable config")),
            Change::Protected if !may_protected => {
                return Err(failure(&spelled, "can't set protected config"));
            }
            Change::Protected | Change::Live => {}
        }
        // Redis takes a name and its alias for different options here.
        if chosen.iter().any(|(_, known, _)| *known == name) {
            return Err(failure(&spelled, "duplicate parameter"));
        }
        chosen.push((row, name, value));
    }
    Ok(chosen)
}

/// Sets an option from the one argument that CONFIG SET has for it. Words are separated by exactly one space.
fn set_from_argument(row: &Row, settings: &Settings, value: &[u8]) -> Result<(), String> {
    if !row.kind.takes_words() {
        return row.kind.set(settings, &[value]);
    }
    let words: Vec<&[u8]> = if value.is_empty() { Vec::new() } else { value.split(|byte| *byte == b' ').collect() };
    row.kind.set(settings, &words)
}

fn failure(name: &str, reason: &str) -> Error {
    Error::made(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
}
