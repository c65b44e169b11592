//! The program's log, in the form that people and tools know from Redis:
//! `<pid>:M <day> <month> <year> <hour>:<minute>:<second>.<milliseconds> <level> <message>`, in local time, with a sign for the
//! level: `.` debug, `-` verbose, `*` notice, `#` warning.
//!
//! The library only emits events of tracing; which of them are shown, and where, is the program's affair.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

use larder::config::{Config, LogLevel};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// Changes the level of the log while the program runs.
pub(crate) struct Log(Handle<LevelFilter, Registry>);

impl Log {
    /// Starts the log that the options ask for.
    ///
    /// # Errors
    /// The log file cannot be written.
    pub(crate) fn start(config: &Config) -> io::Result<Self> {
        let settings = config.settings();
        let output = match settings.logfile.is_empty() {
            true => Output::Standard,
            false => Output::File(config.resolve(&settings.logfile.get())),
        };
        output.open()?;
        let (filter, handle) = reload::Layer::new(filter(settings.loglevel.get()));
        let lines = tracing_subscriber::fmt::layer()
            .event_format(Line)
            .with_writer(move || output.open().unwrap_or_else(|_| Box::new(io::sink())));
        tracing_subscriber::registry().with(lines.with_filter(filter)).init();
        Ok(Self(handle))
    }

    /// Shows what this level shows from now on.
    pub(crate) fn set_level(&self, level: LogLevel) {
        // It fails only when the subscriber is gone, and with it the log.
        let _ = self.0.reload(filter(level));
    }
}

/// Where lines go.
enum Output {
    Standard,
    File(PathBuf),
}

impl Output {
    /// A file is opened for each line, so that it may be moved away or removed at any time, as logrotate does.
    fn open(&self) -> io::Result<Box<dyn Write>> {
        match self {
            Self::Standard => Ok(Box::new(io::stdout())),
            Self::File(path) => Ok(Box::new(OpenOptions::new().create(true).append(true).open(path)?)),
        }
    }
}

/// What a level of Redis shows of tracing's levels, which have other names.
fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    }
}

fn sign(level: &Level) -> char {
    match *level {
        Level::TRACE => '.',
        Level::DEBUG => '-',
        Level::INFO => '*',
        Level::WARN | Level::ERROR => '#',
    }
}

/// The form of a line.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let time = jiff::Zoned::now().strftime("%d %b %Y %H:%M:%S%.3f").to_string();
        write!(writer, "{}:M {time} {} ", std::process::id(), sign(event.metadata().level()))?;
        let mut text = Text::default();
        event.record(&mut text);
        writeln!(writer, "{}{}", text.message, text.fields)
    }
}

/// The message of an event, and its fields behind it. Lines stay lines: what would end one is escaped.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}").replace('\n', "\\n").replace('\r', "\\r");
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push_str(&format!(" {}={value}", field.name()));
        }
    }
}
