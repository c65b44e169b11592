//! The kinds of option: how each reads its value from words, prints it for CONFIG GET, and writes it into a
//! configuration file. Error texts are Redis 7.4's, except where an option accepts less than Redis.
//!
//! A kind reaches its value through a function from [`Settings`] to the cell, so the same code serves the running
//! server, a draft that CONFIG SET checks before anything changes, and the defaults.

use std::fs;
use std::io;
use std::path::Path;

use super::cells::{ChoiceCell, ClientClass, Events, Flag, KeyspaceEvents, Number, OutputLimit, OutputLimits, Text};
use super::options::Settings;
use super::value::{memory_with_unit, parse_integer, parse_lenient, parse_memory, quote};

/// As many addresses as Redis takes.
const MAX_ADDRESSES: usize = 16;

/// Finds a cell in the settings.
type Cell<T> = fn(&Settings) -> &T;

/// What an option's value is.
pub(super) enum Kind {
    /// `yes` or `no`.
    Flag(Cell<Flag>),
    /// Only `no`; `yes` is refused with a reason.
    OnlyNo(&'static str, Cell<Flag>),
    /// A whole number between bounds, which `adjust` may change or refuse further.
    Integer { min: u64, max: u64, adjust: Adjust, cell: Cell<Number> },
    /// A whole number that may be negative, kept as its two's complement.
    Signed { min: i64, max: i64, cell: Cell<Number> },
    /// A number from 0 to 1, kept in hundredths.
    Fraction(Cell<Number>),
    /// A size in bytes.
    Memory { min: u64, max: u64, cell: Cell<Number> },
    /// A size in bytes or percent of another one, kept as its two's complement, percent below zero.
    MemoryOrPercent(Cell<Number>),
    /// Permission bits.
    Octal { max: u64, cell: Cell<Number> },
    /// One of several names.
    Choice(Cell<dyn ChoiceCell>),
    /// Any bytes.
    Text(TextForm, Cell<Text>),
    /// A directory, kept as an absolute path.
    Directory(Cell<Text>),
    /// Addresses to listen on.
    Addresses(Cell<Text>),
    /// Percentiles: numbers from 0 to 100.
    Percentiles(Cell<Text>),
    /// Times at which to save; only none is accepted, for a reason.
    Save(&'static str, Cell<Text>),
    /// Classes of keyspace events.
    Events(Cell<Events>),
    /// The output buffer limits of client classes.
    OutputLimits(Cell<OutputLimits>),
}

/// Changes a number that is in range to the one used, or refuses it.
type Adjust = fn(u64) -> Result<u64, &'static str>;

/// What an empty text means, and whether the text may be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TextForm {
    /// Empty is a value like any other.
    Plain,
    /// Empty is not set, and not written into a file.
    Optional,
    /// As optional, and kept out of logs and of MONITOR.
    Secret,
}

/// A line for the configuration file, without the option's name.
pub(super) struct Line {
    /// What follows the name.
    pub(super) value: Vec<u8>,
    /// Whether the file must have the line even if it had none.
    pub(super) required: bool,
}

/// Constructors for the table's rows: their arguments and, last, the cell.
impl Kind {
    pub(super) const fn flag(cell: Cell<Flag>) -> Self {
        Self::Flag(cell)
    }

    pub(super) const fn only_no(reason: &'static str, cell: Cell<Flag>) -> Self {
        Self::OnlyNo(reason, cell)
    }

    pub(super) const fn integer(min: u64, max: u64, cell: Cell<Number>) -> Self {
        Self::Integer { min, max, adjust: |value| Ok(value), cell }
    }

    pub(super) const fn adjusted(min: u64, max: u64, adjust: Adjust, cell: Cell<Number>) -> Self {
        Self::Integer { min, max, adjust, cell }
    }

    pub(super) const fn signed(min: i64, max: i64, cell: Cell<Number>) -> Self {
        Self::Signed { min, max, cell }
    }

    pub(super) const fn fraction(cell: Cell<Number>) -> Self {
        Self::Fraction(cell)
    }

    pub(super) const fn memory(min: u64, max: u64, cell: Cell<Number>) -> Self {
        Self::Memory { min, max, cell }
    }

    pub(super) const fn memory_or_percent(cell: Cell<Number>) -> Self {
        Self::MemoryOrPercent(cell)
    }

    pub(super) const fn octal(max: u64, cell: Cell<Number>) -> Self {
        Self::Octal { max, cell }
    }

    pub(super) const fn choice(cell: Cell<dyn ChoiceCell>) -> Self {
        Self::Choice(cell)
    }

    pub(super) const fn text(cell: Cell<Text>) -> Self {
        Self::Text(TextForm::Plain, cell)
    }

    pub(super) const fn optional_text(cell: Cell<Text>) -> Self {
        Self::Text(TextForm::Optional, cell)
    }

    pub(super) const fn secret(cell: Cell<Text>) -> Self {
        Self::Text(TextForm::Secret, cell)
    }

    pub(super) const fn directory(cell: Cell<Text>) -> Self {
        Self::Directory(cell)
    }

    pub(super) const fn addresses(cell: Cell<Text>) -> Self {
        Self::Addresses(cell)
    }

    pub(super) const fn percentiles(cell: Cell<Text>) -> Self {
        Self::Percentiles(cell)
    }

    pub(super) const fn save(reason: &'static str, cell: Cell<Text>) -> Self {
        Self::Save(reason, cell)
    }

    pub(super) const fn events(cell: Cell<Events>) -> Self {
        Self::Events(cell)
    }

    pub(super) const fn output_limits(cell: Cell<OutputLimits>) -> Self {
        Self::OutputLimits(cell)
    }
}

impl Kind {
    /// Whether a value is several words, which CONFIG SET takes as one argument with single spaces.
    pub(super) fn takes_words(&self) -> bool {
        matches!(self, Self::Addresses(_) | Self::Save(..) | Self::Percentiles(_) | Self::OutputLimits(_))
    }

    /// Sets the value from words: exactly one, unless the kind takes several. Nothing changes on an error, which is
    /// the text that follows the option's name in Redis's answer.
    pub(super) fn set(&self, settings: &Settings, words: &[&[u8]]) -> Result<(), String> {
        let text = words.first().copied().unwrap_or_default();
        match self {
            Self::Flag(cell) => cell(settings).set(parse_flag(text)?),
            Self::OnlyNo(reason, _) => {
                if parse_flag(text)? {
                    return Err((*reason).to_owned());
                }
            }
            Self::Integer { min, max, adjust, cell } => {
                let value = parse_integer(text).ok_or("argument couldn't be parsed into an integer")?;
                cell(settings).set(adjust(in_range(u64::try_from(value).ok(), *min, *max)?)?);
            }
            Self::Signed { min, max, cell } => {
                let value = parse_integer(text).ok_or("argument couldn't be parsed into an integer")?;
                if !(*min..=*max).contains(&value) {
                    return Err(format!("argument must be between {min} and {max} inclusive"));
                }
                cell(settings).set(value.cast_unsigned());
            }
            Self::Fraction(cell) => {
                let value = parse_hundredths(text).ok_or("argument must be a number from 0 to 1, with two decimals")?;
                cell(settings).set(value);
            }
            Self::Memory { min, max, cell } => {
                let value = parse_memory(text).ok_or("argument must be a memory value")?;
                cell(settings).set(in_range(Some(value), *min, *max)?);
            }
            Self::MemoryOrPercent(cell) => cell(settings).set(parse_memory_or_percent(text)?.cast_unsigned()),
            Self::Octal { max, cell } => {
                let value = parse_lenient(text, 8).ok_or("argument couldn't be parsed as an octal number")?;
                let value = u64::try_from(value).ok().filter(|value| value <= max);
                cell(settings).set(value.ok_or_else(|| format!("argument must be between 0 and {max:o} inclusive"))?);
            }
            Self::Choice(cell) => select(cell(settings), text)?,
            Self::Text(_, cell) => cell(settings).set(text),
            Self::Directory(cell) => {
                let current = cell(settings).get();
                cell(settings).set(&absolute_directory(&current, text)?);
            }
            Self::Addresses(cell) => cell(settings).set(&join_addresses(words)?),
            Self::Percentiles(cell) => cell(settings).set(&parse_percentiles(words)?),
            Self::Save(reason, _) => refuse_save(words, reason)?,
            Self::Events(cell) => {
                let events = KeyspaceEvents::parse(text);
                cell(settings).set(events.ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?);
            }
            Self::OutputLimits(cell) => set_output_limits(cell(settings), words)?,
        }
        Ok(())
    }

    /// The value as CONFIG GET shows it.
    pub(super) fn print(&self, settings: &Settings) -> Vec<u8> {
        match self {
            Self::Flag(cell) | Self::OnlyNo(_, cell) => if cell(settings).get() { "yes" } else { "no" }.into(),
            Self::Integer { cell, .. } | Self::Memory { cell, .. } => cell(settings).get().to_string().into(),
            Self::Signed { cell, .. } => cell(settings).as_i64().to_string().into(),
            Self::MemoryOrPercent(cell) => match cell(settings).as_i64() {
                percent @ ..0 => format!("{}%", percent.unsigned_abs()).into(),
                bytes => bytes.to_string().into(),
            },
            Self::Fraction(cell) => (cell(settings).get() as f64 / 100.0).to_string().into(),
            Self::Octal { cell, .. } => format!("{:o}", cell(settings).get()).into(),
            Self::Choice(cell) => {
                let cell = cell(settings);
                cell.names()[cell.index()].into()
            }
            Self::Text(_, cell)
            | Self::Directory(cell)
            | Self::Addresses(cell)
            | Self::Percentiles(cell)
            | Self::Save(_, cell) => cell(settings).get().to_vec(),
            Self::Events(cell) => cell(settings).get().letters().into(),
            Self::OutputLimits(cell) => {
                let limits = cell(settings);
                let print = |class| {
                    let name = match class {
                        ClientClass::Normal => "normal",
                        ClientClass::Replica => "slave",
                        ClientClass::Pubsub => "pubsub",
                    };
                    let OutputLimit { hard_bytes, soft_bytes, soft_seconds } = limits.get(class);
                    format!("{name} {hard_bytes} {soft_bytes} {soft_seconds}")
                };
                ClientClass::ALL.map(print).join(" ").into()
            }
        }
    }

    /// The lines that CONFIG REWRITE gives this option; none removes it from the file.
    pub(super) fn lines(&self, settings: &Settings, defaults: &Settings) -> Vec<Line> {
        let value = self.print(settings);
        let required = value != self.print(defaults);
        let value = match self {
            Self::OutputLimits(cell) => return output_limit_lines(cell(settings), cell(defaults)),
            Self::Save(..) => {
                return vec![Line { value: quote(&value).into(), required: true }];
            }
            Self::Directory(_) => {
                return vec![Line { value: quote(&value).into(), required: true }];
            }
            Self::Text(TextForm::Optional | TextForm::Secret, _) if value.is_empty() => {
                return Vec::new();
            }
            Self::Text(..) | Self::Events(_) => quote(&value).into(),
            Self::Addresses(_) | Self::Percentiles(_) if value.is_empty() => quote(&value).into(),
            Self::Memory { cell, .. } => memory_with_unit(cell(settings).get()).into(),
            Self::MemoryOrPercent(cell) if cell(settings).as_i64() > 0 => memory_with_unit(cell(settings).get()).into(),
            _ => value,
        };
        vec![Line { value, required }]
    }

    /// Copies the value from one place to another.
    pub(super) fn copy(&self, from: &Settings, to: &Settings) {
        match self {
            Self::Flag(cell) | Self::OnlyNo(_, cell) => cell(to).set(cell(from).get()),
            Self::Integer { cell, .. }
            | Self::Signed { cell, .. }
            | Self::Memory { cell, .. }
            | Self::MemoryOrPercent(cell)
            | Self::Fraction(cell)
            | Self::Octal { cell, .. } => {
                cell(to).set(cell(from).get());
            }
            Self::Choice(cell) => cell(to).select(cell(from).index()),
            Self::Text(_, cell)
            | Self::Directory(cell)
            | Self::Addresses(cell)
            | Self::Percentiles(cell)
            | Self::Save(_, cell) => cell(to).set(&cell(from).get()),
            Self::Events(cell) => cell(to).set(cell(from).get()),
            Self::OutputLimits(cell) => {
                for class in ClientClass::ALL {
                    cell(to).set(class, cell(from).get(class));
                }
            }
        }
    }

    /// Whether the value must not be shown in logs and to MONITOR.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::Text(TextForm::Secret, _))
    }

    /// A placeholder for the value, for `--help`.
    pub(super) fn placeholder(&self) -> &'static str {
        match self {
            Self::Flag(_) => "yes|no",
            Self::OnlyNo(..) => "no",
            Self::Integer { .. } | Self::Signed { .. } | Self::Fraction(_) => "number",
            Self::Memory { .. } => "bytes",
            Self::MemoryOrPercent(_) => "bytes|percent",
            Self::Octal { .. } => "octal",
            Self::Choice(_) => "name",
            Self::Text(..) => "text",
            Self::Directory(_) => "directory",
            Self::Addresses(_) => "address...",
            Self::Percentiles(_) => "number...",
            Self::Save(..) => "\"\"",
            Self::Events(_) => "letters",
            Self::OutputLimits(_) => "class hard soft seconds...",
        }
    }

    /// What is accepted, for the manual.
    pub(super) fn accepted(&self, defaults: &Settings) -> String {
        match self {
            Self::Flag(_) => "`yes` or `no`".into(),
            Self::OnlyNo(reason, _) => format!("only `no`: {reason}"),
            Self::Integer { min, max, .. } => format!("{min} to {max}"),
            Self::Signed { min, max, .. } => format!("{min} to {max}"),
            Self::Fraction(_) => "0 to 1, with up to two decimals".into(),
            Self::Memory { min: 0, .. } => "bytes, with or without a unit".into(),
            Self::Memory { min, .. } => format!("bytes, {} or more", memory_with_unit(*min)),
            Self::MemoryOrPercent(_) => "bytes, with or without a unit, or percent".into(),
            Self::Octal { max, .. } => format!("octal, 0 to {max:o}"),
            Self::Choice(cell) => format!("`{}`", cell(defaults).names().join("`, `")),
            Self::Text(TextForm::Plain | TextForm::Optional, _) => "text".into(),
            Self::Text(TextForm::Secret, _) => "text, never logged".into(),
            Self::Directory(_) => "a directory".into(),
            Self::Addresses(_) => format!("up to {MAX_ADDRESSES} addresses"),
            Self::Percentiles(_) => "numbers from 0 to 100, with or without decimals".into(),
            Self::Save(reason, _) => format!("only `\"\"`: {reason}"),
            Self::Events(_) => "letters of `Ag$lshzxeKEtmdn`".into(),
            Self::OutputLimits(_) => {
                "`normal`, `replica` or `pubsub`, hard bytes, soft bytes, seconds; repeated".into()
            }
        }
    }
}

pub(super) fn parse_flag(text: &[u8]) -> Result<bool, String> {
    if text.eq_ignore_ascii_case(b"yes") {
        Ok(true)
    } else if text.eq_ignore_ascii_case(b"no") {
        Ok(false)
    } else {
        Err("argument must be 'yes' or 'no'".into())
    }
}

/// Reads a size, or a share up to 100 percent as the number below zero.
fn parse_memory_or_percent(text: &[u8]) -> Result<i64, String> {
    /// All of it.
    const MOST: i64 = 100;
    if let Some(bytes) = parse_memory(text).and_then(|bytes| i64::try_from(bytes).ok()) {
        return Ok(bytes);
    }
    let percent = text.strip_suffix(b"%").and_then(parse_integer).filter(|percent| *percent >= 0);
    match percent.ok_or("argument must be a memory or percent value")? {
        percent @ ..=MOST => Ok(-percent),
        _ => Err(format!("percentage argument must be less or equal to {MOST}")),
    }
}

/// The value if it is between the bounds; `None` stands for one below zero.
/// Hundredths of a number from 0 to 1.
fn parse_hundredths(text: &[u8]) -> Option<u64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let hundredths = (number * 100.0).round();
    ((0.0..=1.0).contains(&number) && (number * 100.0 - hundredths).abs() < 1e-9).then_some(hundredths as u64)
}

fn in_range(value: Option<u64>, min: u64, max: u64) -> Result<u64, String> {
    let value = value.filter(|value| (min..=max).contains(value));
    value.ok_or_else(|| format!("argument must be between {min} and {max} inclusive"))
}

fn select(cell: &dyn ChoiceCell, text: &[u8]) -> Result<(), String> {
    let names = cell.names();
    let index = names.iter().position(|name| text.eq_ignore_ascii_case(name.as_bytes()));
    let unknown = || format!("argument(s) must be one of the following: {}", names.join(", "));
    cell.select(index.ok_or_else(unknown)?);
    Ok(())
}

/// Resolves a directory against the current one. The process's own directory never changes: it belongs to the whole
/// program, in which several servers may live.
fn absolute_directory(current: &[u8], text: &[u8]) -> Result<Vec<u8>, String> {
    // An empty path would resolve to the current directory; chdir(2) refuses it.
    if text.is_empty() {
        return Err(error_text(&io::Error::from(io::ErrorKind::NotFound)));
    }
    let path = path_from(current).join(path_from(text));
    let path = fs::canonicalize(path).map_err(|error| error_text(&error))?;
    if !path.is_dir() {
        return Err("Not a directory".into());
    }
    Ok(path.as_os_str().as_encoded_bytes().to_vec())
}

/// A path from the bytes of an option. Off unix, bytes that are no UTF-8 are replaced.
pub(super) fn path_from(bytes: &[u8]) -> std::path::PathBuf {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Path::new(std::ffi::OsStr::from_bytes(bytes)).to_path_buf()
    }
    #[cfg(not(unix))]
    {
        Path::new(String::from_utf8_lossy(bytes).as_ref()).to_path_buf()
    }
}

/// The system's text for an error, as C's strerror gives it.
pub(crate) fn error_text(error: &io::Error) -> String {
    let text = match error.kind() {
        io::ErrorKind::NotFound => "No such file or directory".to_owned(),
        _ => error.to_string(),
    };
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Reads percentiles and prints them anew, in their shortest form.
fn parse_percentiles(words: &[&[u8]]) -> Result<Vec<u8>, String> {
    /// As many as anybody reads.
    const MOST: usize = 128;
    let words = if words == [b""] { &[] } else { words };
    let mut printed = Vec::new();
    for word in words {
        let percentile = crate::number::parse_f64(word).filter(|_| words.len() <= MOST);
        let percentile = percentile.ok_or("Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&percentile) {
            return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into());
        }
        printed.push(percentile.abs().to_string());
    }
    Ok(printed.join(" ").into_bytes())
}

fn join_addresses(words: &[&[u8]]) -> Result<Vec<u8>, String> {
    if words.len() > MAX_ADDRESSES {
        return Err("Too many bind addresses specified.".into());
    }
    Ok(words.join(&b' '))
}

/// Checks the pairs of seconds and changes as Redis does, then refuses any.
fn refuse_save(words: &[&[u8]], reason: &str) -> Result<(), String> {
    let words = if words == [b""] { &[] } else { words };
    let valid = |(index, word): (usize, &&[u8])| {
        let least = if index.is_multiple_of(2) { 1 } else { 0 };
        parse_lenient(word, 10).is_some_and(|value| value >= least)
    };
    if !words.len().is_multiple_of(2) || !words.iter().enumerate().all(valid) {
        return Err("Invalid save parameters".into());
    }
    if words.is_empty() { Ok(()) } else { Err(reason.to_owned()) }
}

fn set_output_limits(limits: &OutputLimits, words: &[&[u8]]) -> Result<(), String> {
    let (groups, rest) = words.as_chunks::<4>();
    if !rest.is_empty() {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let parse = |[class, hard, soft, seconds]: &[&[u8]; 4]| {
        let class = ClientClass::parse(class).ok_or("Invalid client class specified in buffer limit configuration.")?;
        let limit = || {
            let soft_seconds = i32::try_from(parse_lenient(seconds, 10)?).ok()?;
            Some(OutputLimit {
                hard_bytes: parse_memory(hard)?,
                soft_bytes: parse_memory(soft)?,
                soft_seconds: u64::try_from(soft_seconds).ok()?,
            })
        };
        let limit = limit().ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
        Ok::<_, String>((class, limit))
    };
    let parsed = groups.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    for (class, limit) in parsed {
        limits.set(class, limit);
    }
    Ok(())
}

fn output_limit_lines(limits: &OutputLimits, defaults: &OutputLimits) -> Vec<Line> {
    let line = |class| {
        let name = match class {
            ClientClass::Normal => "normal",
            ClientClass::Replica => "replica",
            ClientClass::Pubsub => "pubsub",
        };
        let limit = limits.get(class);
        let [hard, soft] = [limit.hard_bytes, limit.soft_bytes].map(memory_with_unit);
        Line {
            value: format!("{name} {hard} {soft} {}", limit.soft_seconds).into(),
            required: limit != defaults.get(class),
        }
    };
    ClientClass::ALL.map(line).into()
}
