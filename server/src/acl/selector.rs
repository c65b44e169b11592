//! A selector: commands, keys and channels that may be used together. Every user has one, and may have more, each in
//! parentheses; a call is allowed when one of them allows all of it.

use std::collections::BTreeMap;

use larder_protocol::Args;

use super::categories::{category, has_category};
use super::names::{self, Named};
use super::rules::RuleError;
use crate::commands::command::{ACCESS, ChannelArgs, Command, DELETE, INSERT, NO_AUTH, NOT_KEY, UPDATE, VARIABLE};
use crate::commands::command_info::settle;
use crate::commands::table::TABLE;
use crate::glob;

/// Why a call is not allowed, and where the argument stands that is to blame. A selector that got further counts for
/// more, as in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Denied {
    Command,
    Key(usize),
    Channel(usize),
}

/// What may be done with the keys that match a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    pattern: Vec<u8>,
    read: bool,
    write: bool,
}

impl KeyPattern {
    /// Whether it allows what the flags of a key say of a command.
    fn allows(&self, flags: u16) -> bool {
        (self.read || flags & ACCESS == 0) && (self.write || flags & (INSERT | DELETE | UPDATE) == 0)
    }

    /// As rules give it: `~pattern`, `%R~pattern`, `%W~pattern`.
    fn describe(&self) -> Vec<u8> {
        let head: &[u8] = match (self.read, self.write) {
            (true, true) => b"~",
            (true, false) => b"%R~",
            _ => b"%W~",
        };
        [head, &self.pattern].concat()
    }
}

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    /// Every command: nothing was taken away since `+@all`.
    all_commands: bool,
    /// Whether `+@all` is what the rules of commands start from.
    from_all: bool,
    /// The rows that may be run, a bit each.
    rows: Vec<u64>,
    /// First arguments with which a row may be run that may not be otherwise.
    first_args: BTreeMap<u16, Vec<Vec<u8>>>,
    /// The rules of commands so far, without what later ones made pointless: whether it allows, and what.
    command_rules: Vec<(bool, Vec<u8>)>,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Vec<u8>>,
}

impl Selector {
    /// Allows nothing, but for channels if all are open to new users.
    pub(crate) fn new(all_channels: bool) -> Self {
        Self {
            all_commands: false,
            from_all: false,
            rows: vec![0; TABLE.rows().count().div_ceil(64)],
            first_args: BTreeMap::new(),
            command_rules: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels,
            channels: Vec::new(),
        }
    }

    /// Allows everything.
    pub(crate) fn everything() -> Self {
        let mut selector = Self::new(true);
        selector.set_all_commands(true);
        selector.all_keys = true;
        selector
    }

    /// A selector from the rules between its parentheses.
    pub(crate) fn parse(text: &[u8], all_channels: bool) -> Result<Self, RuleError> {
        let mut selector = Self::new(all_channels);
        for rule in crate::config::split_words(text).unwrap_or_default() {
            selector.apply(&rule)?;
        }
        Ok(selector)
    }

    /// Applies a rule. On an error the selector is to be thrown away.
    pub(crate) fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => (self.all_keys, self.keys) = (true, Vec::new()),
            b"resetkeys" => (self.all_keys, self.keys) = (false, Vec::new()),
            b"allchannels" | b"&*" => (self.all_channels, self.channels) = (true, Vec::new()),
            b"resetchannels" => (self.all_channels, self.channels) = (false, Vec::new()),
            b"allcommands" | b"+@all" => self.set_all_commands(true),
            b"nocommands" | b"-@all" => self.set_all_commands(false),
            _ => match rule {
                [b'~', pattern @ ..] => self.add_keys(true, true, pattern)?,
                // As in Redis, this is told before what is wrong with the pattern.
                [b'%', ..] if self.all_keys => return Err(RuleError::KeysAfterAll),
                [b'%', rest @ ..] => {
                    let (read, write, pattern) = key_permissions(rest)?;
                    self.add_keys(read, write, pattern)?;
                }
                [b'&', pattern @ ..] => self.add_channels(pattern)?,
                [sign @ (b'+' | b'-'), b'@', name @ ..] => self.set_category(*sign == b'+', name)?,
                [b'+', name @ ..] => self.allow(name)?,
                [b'-', name @ ..] => {
                    let named = names::find(name).ok_or(RuleError::Unknown)?;
                    self.set_command(named, false);
                    self.note_rule(false, name);
                }
                _ => return Err(RuleError::Syntax),
            },
        }
        Ok(())
    }

    fn set_all_commands(&mut self, allow: bool) {
        (self.all_commands, self.from_all) = (allow, allow);
        self.rows.fill(if allow { u64::MAX } else { 0 });
        self.first_args.clear();
        self.command_rules.clear();
    }

    fn add_keys(&mut self, read: bool, write: bool, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::KeysAfterAll);
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => (known.read, known.write) = (known.read | read, known.write | write),
            None => self.keys.push(KeyPattern { pattern: pattern.to_vec(), read, write }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::ChannelsAfterAll);
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| known == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    /// `+@category` and `-@category`: all its commands, with their subcommands.
    fn set_category(&mut self, allow: bool, name: &[u8]) -> Result<(), RuleError> {
        let category = category(name).ok_or(RuleError::Unknown)?;
        for (number, row) in TABLE.rows().enumerate().filter(|(_, row)| has_category(row, category)) {
            self.set_row(number as u16, row, allow);
        }
        self.note_rule(allow, format!("@{category}").as_bytes());
        Ok(())
    }

    /// `+command`, `+container|subcommand`, `+command|first-argument`.
    fn allow(&mut self, name: &[u8]) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
            let named = names::find(name).ok_or(RuleError::Unknown)?;
            self.set_command(named, true);
            self.note_rule(true, name);
            return Ok(());
        };
        let (command, rest) = (&name[..bar], &name[bar + 1..]);
        let named = names::find(command).ok_or(RuleError::Unknown)?;
        if named.is_subcommand {
            return Err(RuleError::FirstArgOfSubcommand);
        }
        if rest.is_empty() || has_blanks(rest) {
            return Err(RuleError::Syntax);
        }
        if named.has_subcommands {
            let named = names::find(name).ok_or(RuleError::Unknown)?;
            self.set_command(named, true);
        } else if let Some(row) = named.row {
            let known = self.first_args.entry(row).or_default();
            if !known.iter().any(|known| known.eq_ignore_ascii_case(rest)) {
                known.push(rest.to_vec());
            }
        }
        self.note_rule(true, name);
        Ok(())
    }

    fn set_command(&mut self, named: Named, allow: bool) {
        if let Some(number) = named.row {
            self.set_row(number, TABLE.row(number), allow);
        }
    }

    fn set_row(&mut self, number: u16, row: &Command, allow: bool) {
        self.set_bit(number, allow);
        self.first_args.remove(&number);
        TABLE.subcommands_of(row.name).for_each(|(number, _)| self.set_bit(number, allow));
    }

    fn set_bit(&mut self, number: u16, allow: bool) {
        let (word, bit) = (usize::from(number / 64), 1 << (number % 64));
        if allow {
            self.rows[word] |= bit;
        } else {
            self.rows[word] &= !bit;
            self.all_commands = false;
        }
    }

    /// Keeps a rule of commands. Earlier ones about the same go, and those about subcommands of the same.
    fn note_rule(&mut self, allow: bool, subject: &[u8]) {
        let subject = subject.to_ascii_lowercase();
        self.command_rules.retain(|(_, known)| {
            known.strip_prefix(subject.as_slice()).is_none_or(|rest| !rest.is_empty() && rest[0] != b'|')
        });
        self.command_rules.push((allow, subject));
    }

    /// Whether nothing is forbidden.
    pub(crate) fn allows_everything(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// Whether a call is allowed.
    pub(crate) fn check(&self, number: u16, args: Args<'_>) -> Result<(), Denied> {
        let row = TABLE.row(number);
        if !self.allows_command(number, row, args) {
            return Err(Denied::Command);
        }
        if !self.all_keys
            && let Some(at) = self.forbidden_key(row, args)
        {
            return Err(Denied::Key(at));
        }
        if !self.all_channels
            && let Some(at) = self.forbidden_channel(row, args)
        {
            return Err(Denied::Channel(at));
        }
        Ok(())
    }

    fn allows_command(&self, number: u16, row: &Command, args: Args<'_>) -> bool {
        if self.all_commands || row.has(NO_AUTH) || self.rows[usize::from(number / 64)] >> (number % 64) & 1 == 1 {
            return true;
        }
        let first = args.get(if row.is_subcommand() { 2 } else { 1 });
        let allowed = self.first_args.get(&number);
        first.zip(allowed).is_some_and(|(first, allowed)| allowed.iter().any(|known| known.eq_ignore_ascii_case(first)))
    }

    /// Where the first key stands that may not be used so. A call whose keys cannot be found touches none.
    fn forbidden_key(&self, row: &Command, args: Args<'_>) -> Option<usize> {
        let mut forbidden = None;
        row.each_key(args, |at, key, flags| {
            if flags & NOT_KEY == 0 && forbidden.is_none() {
                let flags = if flags & VARIABLE == 0 { flags } else { settle(row, flags, args) };
                forbidden = (!self.allows_key(key, flags)).then_some(at);
            }
        })?;
        forbidden
    }

    fn allows_key(&self, key: &[u8], flags: u16) -> bool {
        self.keys.iter().any(|known| known.allows(flags) && glob::matches(&known.pattern, key, false))
    }

    /// Whether every key may be read, whatever it is called.
    pub(crate) fn reads_every_key(&self) -> bool {
        self.all_keys || self.keys.iter().any(|known| known.read && known.pattern == b"*")
    }

    fn forbidden_channel(&self, row: &Command, args: Args<'_>) -> Option<usize> {
        let (end, is_pattern) = match row.channels {
            ChannelArgs::None => return None,
            ChannelArgs::First => (2, false),
            ChannelArgs::All => (args.len(), false),
            ChannelArgs::Patterns => (args.len(), true),
        };
        (1..end).find(|at| !self.allows_channel(args.at(*at), is_pattern))
    }

    /// Whether a channel may be used. What is a pattern itself must stand in the rules as it is.
    pub(crate) fn allows_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        let holds = |known: &Vec<u8>| if is_pattern { known == name } else { glob::matches(known, name, false) };
        self.all_channels || self.channels.iter().any(holds)
    }

    /// Whether all channels are allowed.
    pub(crate) fn has_all_channels(&self) -> bool {
        self.all_channels
    }

    /// The patterns of channels, if not all are allowed.
    pub(crate) fn channels(&self) -> &[Vec<u8>] {
        &self.channels
    }

    /// The rules of commands, which begin with `+@all` or `-@all`.
    pub(crate) fn describe_commands(&self) -> Vec<u8> {
        let mut text = if self.from_all { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for (allow, subject) in &self.command_rules {
            text.extend_from_slice(if *allow { b" +" } else { b" -" });
            text.extend_from_slice(subject);
        }
        text
    }

    /// The rules of keys, empty for none.
    pub(crate) fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        self.keys.iter().map(KeyPattern::describe).collect::<Vec<_>>().join(&b' ')
    }

    /// The rules of channels, empty for none.
    pub(crate) fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        self.channels.iter().map(|known| [b"&", known.as_slice()].concat()).collect::<Vec<_>>().join(&b' ')
    }

    /// The rules that make this selector anew.
    pub(crate) fn describe(&self) -> Vec<u8> {
        let mut parts = vec![self.describe_keys()];
        if !self.all_channels {
            parts.push(b"resetchannels".to_vec());
        }
        parts.extend([self.describe_channels(), self.describe_commands()]);
        parts.retain(|part| !part.is_empty());
        parts.join(&b' ')
    }
}

/// The permissions in front of a pattern, as in `%RW~pattern`, and the pattern.
fn key_permissions(text: &[u8]) -> Result<(bool, bool, &[u8]), RuleError> {
    let (mut read, mut write, mut rest) = (false, false, text);
    while let [first, after @ ..] = rest {
        match first {
            b'R' | b'r' if !read => read = true,
            b'W' | b'w' if !write => write = true,
            b'~' if read || write => return Ok((read, write, after)),
            _ => return Err(RuleError::Syntax),
        }
        rest = after;
    }
    // As in Redis, `%R` alone is a pattern that matches the empty key.
    if read || write { Ok((read, write, rest)) } else { Err(RuleError::Syntax) }
}

/// Whether a name or a pattern could not stand in a line of rules.
pub(crate) fn has_blanks(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, 0 | b' ' | b'\t'..=b'\r'))
}
