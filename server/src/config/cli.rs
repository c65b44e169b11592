//! The command line, as redis-server takes it: a configuration file, `-` for one on standard input, and options as
//! `--name value...`, which are read as lines behind the file. clap knows every option from the table, writes `--help`
//! and `--version`, and refuses what it does not know.
//!
//! redis-server's rule for which word belongs to which option is none that clap has: a word that starts with `--` is a
//! value if the option before it has none yet. So the words are put together first, and clap sees `--name=words`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::absent::ABSENT;
use super::options::{Row, SECTIONS, rows};
use super::value::quote;
use crate::info::REDIS_VERSION;

const EXAMPLES: &str = "Examples:
  larder                                   run with the defaults
  larder /etc/larder.conf --port 7777      a file, then options that override it
  larder --bind 127.0.0.1 ::1 --save ''    several values, and an empty one
  echo 'maxmemory 128mb' | larder -        a configuration from standard input";

/// What the command line asks for. Later sources override earlier ones: the file, standard input, the directives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Whether to read a configuration from standard input.
    pub standard_input: bool,
    /// The options, as lines of a configuration file.
    pub directives: String,
}

/// Reads the program's arguments, of which the first is its name. The error is also how `--help` and `--version` end:
/// let it [`exit`](clap::Error::exit), or print it.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<CommandLine, clap::Error> {
    let words: Vec<OsString> = arguments.into_iter().skip(1).collect();
    let standard_input = [words.first(), words.last()].into_iter().flatten().any(|word| word == "-");
    let arguments = std::iter::once("larder".into()).chain(attach_values(&words));
    let matches = command().try_get_matches_from(arguments)?;
    Ok(CommandLine {
        file: matches.get_one::<PathBuf>("config-file").cloned(),
        standard_input,
        directives: directives(&matches),
    })
}

/// The command line that clap reads: one argument for each option of the table.
pub fn command() -> Command {
    let options =
        SECTIONS.iter().flat_map(|section| section.rows.iter().map(|row| option(row).help_heading(section.title)));
    // Programs that start a server look for Redis's version here.
    let version = format!(
        "v={REDIS_VERSION} sha=00000000:0 malloc=larder-{} bits={} build=0",
        env!("CARGO_PKG_VERSION"),
        usize::BITS
    );
    Command::new("larder")
        .display_name("Redis server")
        .version(version)
        .about("A cache server that speaks the protocol of Redis")
        .override_usage("larder [/path/to/larder.conf] [--option value...]... [-]")
        .after_help(EXAMPLES)
        .arg(Arg::new("config-file").value_parser(value_parser!(PathBuf)).help(
            "Configuration file in the syntax of redis.conf; \"-\" as the first or last word reads standard input",
        ))
        .arg(directive("user", "name rule...").help("Declare a user, with rules as ACL SETUSER takes them"))
        .arg(directive("include", "file").help("Read further configuration files; the name may be a pattern"))
        .args(options)
        .args(ABSENT.iter().map(|(name, _)| directive(name, "value").hide(true)))
        .disable_version_flag(true)
        .arg(Arg::new("version").short('v').long("version").action(ArgAction::Version).help("Print version"))
}

fn option(row: &'static Row) -> Arg {
    let default = match row.default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    directive(row.name, row.kind.placeholder()).aliases(row.aliases).help(format!("{}{default}", row.summary))
}

/// An argument whose values are the lines of one directive, without its name.
fn directive(name: &'static str, placeholder: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(placeholder).action(ArgAction::Append).value_parser(value_parser!(String))
}

/// The options that clap found, as lines in the order in which they were given.
fn directives(matches: &ArgMatches) -> String {
    let names = rows().map(|row| row.name).chain(["include", "user"]).chain(ABSENT.iter().map(|(name, _)| *name));
    let given = names.flat_map(|name| {
        let indices = matches.indices_of(name).into_iter().flatten();
        let values = matches.get_many::<String>(name).into_iter().flatten();
        indices.zip(values).map(move |(index, value)| (index, name, value))
    });
    let mut given: Vec<_> = given.collect();
    given.sort_by_key(|(index, ..)| *index);
    given.iter().map(|(_, name, value)| format!("{name} {value}\n")).collect()
}

/// Attaches to each option the words that belong to it, by redis-server's rule.
fn attach_values(words: &[OsString]) -> Vec<OsString> {
    let mut attached = Vec::new();
    let mut open: Option<OpenOption> = None;
    for (index, word) in words.iter().enumerate() {
        let bytes = word.as_encoded_bytes();
        let next_is_option = words.get(index + 1).is_none_or(|next| next.as_encoded_bytes().starts_with(b"--"));
        match &mut open {
            _ if bytes == b"-" && (index == 0 || index == words.len() - 1) => {}
            None if index == 0 && !bytes.starts_with(b"--") => attached.push(word.clone()),
            Some(option) if option.wants_value || !bytes.starts_with(b"--") => option.push(bytes),
            _ if bytes.starts_with(b"--") => {
                let next = OpenOption::new(bytes, next_is_option);
                attached.extend(open.replace(next).map(OpenOption::finish));
            }
            _ => attached.push(word.clone()),
        }
    }
    attached.extend(open.map(OpenOption::finish));
    attached
}

/// An option whose values are being collected.
struct OpenOption {
    name: String,
    line: String,
    wants_value: bool,
}

impl OpenOption {
    /// Starts with a word such as `--port`, `--port=7000`, or `--port 7000` in one.
    fn new(word: &[u8], next_is_option: bool) -> Self {
        let text = String::from_utf8_lossy(word.strip_prefix(b"--").unwrap_or(word)).into_owned();
        let end = text.find(|character: char| character == '=' || character.is_ascii_whitespace());
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        let name = name.to_ascii_lowercase();
        let mut option = Self { name, line: String::new(), wants_value: false };
        if let Some(value) = rest.strip_prefix('=') {
            option.push(value.as_bytes());
        } else if !rest.trim_ascii().is_empty() {
            // Read as part of the line, quotes and all.
            option.line = format!("{} ", rest.trim_ascii());
        } else if option.name == "save" && next_is_option {
            // An empty list leaves nothing behind --save when a program builds the command line.
            option.push(b"");
        } else {
            option.wants_value = true;
        }
        option
    }

    fn push(&mut self, value: &[u8]) {
        self.line.push_str(&quote(value));
        self.line.push(' ');
        self.wants_value = false;
    }

    fn finish(self) -> OsString {
        let Self { name, line, .. } = self;
        // These two take no value.
        if line.is_empty() && (name == "help" || name == "version") {
            return format!("--{name}").into();
        }
        format!("--{name}={}", line.trim_ascii_end()).into()
    }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    fn line(words: &[&str]) -> Result<CommandLine, clap::Error> {
        parse(std::iter::once("larder").chain(words.iter().copied()).map(OsString::from))
    }

    #[test]
    fn clap_accepts_its_own_definition() {
        command().debug_assert();
    }

    #[test]
    fn words_become_lines_of_a_configuration_file() {
        let cases: [(&[&str], &str); 16] = [
            (&[], ""),
            (&["--port", "7000"], "port \"7000\"\n"),
            (&["--port=7000"], "port \"7000\"\n"),
            (&["--port 7000"], "port 7000\n"),
            (&["--PORT", "7000"], "port \"7000\"\n"),
            (&["--port", "1", "--hz", "2", "--port", "3"], "port \"1\"\nhz \"2\"\nport \"3\"\n"),
            (&["--bind", "127.0.0.1", "-::1"], "bind \"127.0.0.1\" \"-::1\"\n"),
            (&["--bind 127.0.0.1", "::1"], "bind 127.0.0.1 \"::1\"\n"),
            (&["--save", "", "--port", "1"], "save \"\"\nport \"1\"\n"),
            (&["--save", "--port", "1"], "save \"\"\nport \"1\"\n"),
            (&["--save"], "save \"\"\n"),
            (&["--save", "900", "1"], "save \"900\" \"1\"\n"),
            (&["--requirepass", "--secret"], "requirepass \"--secret\"\n"),
            (&["--requirepass", "a=b"], "requirepass \"a=b\"\n"),
            (
                &["--client-output-buffer-limit", "normal", "0", "0", "0", "pubsub", "1", "2", "3"],
                "client-output-buffer-limit \"normal\" \"0\" \"0\" \"0\" \"pubsub\" \"1\" \"2\" \"3\"\n",
            ),
            (&["--zset-max-ziplist-value", "9", "--include", "x"], "zset-max-listpack-value \"9\"\ninclude \"x\"\n"),
        ];
        for (words, directives) in cases {
            let expected = CommandLine { directives: directives.into(), ..CommandLine::default() };
            assert_eq!(line(words).unwrap(), expected, "{words:?}");
        }
    }

    #[test]
    fn file_and_standard_input_stand_at_the_edges() {
        let cases: [(&[&str], Option<&str>, bool, &str); 5] = [
            (&["a.conf"], Some("a.conf"), false, ""),
            (&["a.conf", "-"], Some("a.conf"), true, ""),
            (&["-"], None, true, ""),
            (&["-", "--port", "1"], None, true, "port \"1\"\n"),
            (&["a.conf", "--logfile", "-", "--port", "1"], Some("a.conf"), false, "logfile \"-\"\nport \"1\"\n"),
        ];
        for (words, file, standard_input, directives) in cases {
            let expected = CommandLine { file: file.map(PathBuf::from), standard_input, directives: directives.into() };
            assert_eq!(line(words).unwrap(), expected, "{words:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let cases: [(&[&str], ErrorKind); 9] = [
            (&["--nosuch", "1"], ErrorKind::UnknownArgument),
            (&["a.conf", "b.conf"], ErrorKind::UnknownArgument),
            (&["-x"], ErrorKind::UnknownArgument),
            (&["--"], ErrorKind::UnknownArgument),
            (&["--=1"], ErrorKind::UnknownArgument),
            (&["--help"], ErrorKind::DisplayHelp),
            (&["-h"], ErrorKind::DisplayHelp),
            (&["--version"], ErrorKind::DisplayVersion),
            (&["-v"], ErrorKind::DisplayVersion),
        ];
        for (words, kind) in cases {
            assert_eq!(line(words).unwrap_err().kind(), kind, "{words:?}");
        }
    }

    #[test]
    fn help_shows_every_option() {
        let help = command().render_long_help().to_string();
        for row in rows() {
            assert!(help.contains(&format!("--{} <{}>", row.name, row.kind.placeholder())), "{}", row.name);
        }
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_pass() {
        use std::os::unix::ffi::OsStringExt;
        let words = ["larder", "--requirepass"].map(OsString::from).into_iter();
        let parsed = parse(words.chain([OsString::from_vec(vec![0xff])])).unwrap();
        assert_eq!(parsed.directives, "requirepass \"\\xff\"\n");
    }
}
