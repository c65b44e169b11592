//! The row that describes a command, beside its function. Everything else is derived from rows: look-up, arity,
//! locks, refusals, COMMAND's answers, statistics, documentation, examples as tests.

use larder_protocol::{Args, Reply};

use crate::engine::Engine;
use crate::error::{Error, Outcome};
use crate::locked::Locked;
use crate::session::Session;
use crate::wait::Step;

/// What a command may touch, and the function that does it.
#[derive(Clone, Copy)]
pub enum Run {
    /// No key; locks nothing.
    Session(fn(&Engine, &mut Session, Args<'_>, &mut Reply) -> Outcome),
    /// The row's keys, whose shards are locked.
    Keys(fn(&mut Locked<'_>, Args<'_>, &mut Reply) -> Outcome),
    /// As `Keys`; where it finds nothing it may wait.
    Wait(fn(&mut Locked<'_>, Args<'_>, &mut Reply) -> Result<Step, Error>),
    /// Every shard, locked.
    All(fn(&mut Locked<'_>, Args<'_>, &mut Reply) -> Outcome),
    /// A container of subcommands, such as CONFIG; never runs itself.
    Container,
}

/// How many arguments a command takes, its name included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arity(i8);

impl Arity {
    /// Exactly `n` arguments beside the name (of a subcommand: beside the container's name).
    pub const fn exactly(n: i8) -> Self {
        Self(n + 1)
    }

    /// At least `n` arguments beside the name.
    pub const fn at_least(n: i8) -> Self {
        Self(-(n + 1))
    }

    /// Whether `count` arguments, the name included, are right.
    #[inline]
    pub fn allows(self, count: usize) -> bool {
        if self.0 >= 0 { count == self.0 as usize } else { count >= self.0.unsigned_abs() as usize }
    }

    /// As COMMAND INFO shows it: negative for "at least".
    pub fn number(self) -> i64 {
        self.0 as i64
    }
}

/// Where keys stand, and what happens to them, in the terms of Redis's key specifications.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// The index of the first argument concerned.
    pub begin: u8,
    /// How the keys are found from there.
    pub find: Find,
    /// [`RO`], [`RW`], [`OW`] or [`RM`], with [`ACCESS`] and the like.
    pub flags: u16,
    /// Redis's remark on the flags, if it has one.
    pub notes: &'static str,
}

/// How keys are found from the beginning of a [`KeySpec`].
#[derive(Clone, Copy, Debug)]
pub enum Find {
    /// Every `step`-th argument up to `last`, counted from the beginning; -1 is the last argument of all.
    Range {
        /// Index of the last key, relative to the beginning, or negative: from the end.
        last: i8,
        /// Distance between keys.
        step: u8,
    },
    /// The argument at the beginning is the number of keys, which follow it.
    Counted,
}

/// The key is read.
pub const RO: u16 = 1;
/// The key is read and changed.
pub const RW: u16 = 1 << 1;
/// The key is overwritten, whatever it held.
pub const OW: u16 = 1 << 2;
/// The key is deleted.
pub const RM: u16 = 1 << 3;
/// Its data is answered or copied.
pub const ACCESS: u16 = 1 << 4;
/// Its data is changed depending on what it was.
pub const UPDATE: u16 = 1 << 5;
/// Data is added, none is changed.
pub const INSERT: u16 = 1 << 6;
/// Data is deleted.
pub const DELETE: u16 = 1 << 7;
/// Not a key, but routed like one (shard channels).
pub const NOT_KEY: u16 = 1 << 8;
/// More keys may follow that the specification does not find.
pub const INCOMPLETE: u16 = 1 << 9;
/// The flags depend on the arguments.
pub const VARIABLE: u16 = 1 << 10;

/// The key at index `begin`.
pub const fn key(begin: u8, flags: u16) -> KeySpec {
    KeySpec { begin, find: Find::Range { last: 0, step: 1 }, flags, notes: "" }
}

impl KeySpec {
    /// Adds Redis's remark on the flags.
    pub const fn notes(self, notes: &'static str) -> Self {
        Self { notes, ..self }
    }
}

/// The keys from index `begin` to the end, every `step`-th argument.
pub const fn keys(begin: u8, step: u8, flags: u16) -> KeySpec {
    KeySpec { begin, find: Find::Range { last: -1, step }, flags, notes: "" }
}

/// A count at index `begin`, then that many keys.
pub const fn counted(begin: u8, flags: u16) -> KeySpec {
    KeySpec { begin, find: Find::Counted, flags, notes: "" }
}

/// Changes data.
pub const WRITE: u32 = 1;
/// Only reads data.
pub const READONLY: u32 = 1 << 1;
/// Refused when memory is short.
pub const DENYOOM: u32 = 1 << 2;
/// For administrators.
pub const ADMIN: u32 = 1 << 3;
/// Of publish and subscribe.
pub const PUBSUB: u32 = 1 << 4;
/// Not in scripts.
pub const NOSCRIPT: u32 = 1 << 5;
/// May wait for data.
pub const BLOCKING: u32 = 1 << 6;
/// Allowed while data is loaded.
pub const LOADING: u32 = 1 << 7;
/// Allowed on a replica with stale data.
pub const STALE: u32 = 1 << 8;
/// Not shown by MONITOR.
pub const SKIP_MONITOR: u32 = 1 << 9;
/// Not in the slow log.
pub const SKIP_SLOWLOG: u32 = 1 << 10;
/// Takes constant or logarithmic time.
pub const FAST: u32 = 1 << 11;
/// Allowed before authentication.
pub const NO_AUTH: u32 = 1 << 12;
/// May be sent to replicas though it does not write.
pub const MAY_REPLICATE: u32 = 1 << 13;
/// Not inside MULTI.
pub const NO_MULTI: u32 = 1 << 14;
/// Its keys depend on the arguments.
pub const MOVABLE_KEYS: u32 = 1 << 15;
/// Allowed while a script runs long.
pub const ALLOW_BUSY: u32 = 1 << 16;
/// Not while data is loaded in the background.
pub const NO_ASYNC_LOADING: u32 = 1 << 17;
/// Dangerous: an ACL category.
pub const DANGEROUS: u32 = 1 << 24;
/// Also of the keyspace: an ACL category.
pub const KEYSPACE: u32 = 1 << 25;
/// Of the connection: an ACL category.
pub const CONNECTION: u32 = 1 << 26;
/// Its second argument, if there is one, names a subcommand, which has a row of its own.
pub const SUBCOMMANDS: u32 = 1 << 27;

/// Flags that COMMAND INFO shows, with their names, in its order.
const FLAG_NAMES: &[(u32, &str)] = &[
    (WRITE, "write"),
    (READONLY, "readonly"),
    (DENYOOM, "denyoom"),
    (ADMIN, "admin"),
    (PUBSUB, "pubsub"),
    (NOSCRIPT, "noscript"),
    (BLOCKING, "blocking"),
    (LOADING, "loading"),
    (STALE, "stale"),
    (SKIP_MONITOR, "skip_monitor"),
    (SKIP_SLOWLOG, "skip_slowlog"),
    (FAST, "fast"),
    (NO_AUTH, "no_auth"),
    (NO_ASYNC_LOADING, "no_async_loading"),
    (NO_MULTI, "no_multi"),
    (MOVABLE_KEYS, "movablekeys"),
    (ALLOW_BUSY, "allow_busy"),
];

/// The names of flags, as COMMAND INFO shows them.
pub fn flag_names(flags: u32) -> impl Iterator<Item = &'static str> + Clone {
    FLAG_NAMES.iter().filter(move |(flag, _)| flags & flag != 0).map(|(_, name)| *name)
}

/// The family of a command: its group in COMMAND DOCS and its ACL category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Strings.
    String,
    /// Keys of any type.
    Generic,
    /// Sets.
    Set,
    /// Hashes.
    Hash,
    /// Sorted sets.
    SortedSet,
    /// Publish and subscribe.
    PubSub,
    /// MULTI and its like.
    Transactions,
    /// The connection.
    Connection,
    /// The server.
    Server,
}

impl Group {
    /// As COMMAND DOCS names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Generic => "generic",
            Self::Set => "set",
            Self::Hash => "hash",
            Self::SortedSet => "sorted-set",
            Self::PubSub => "pubsub",
            Self::Transactions => "transactions",
            Self::Connection => "connection",
            Self::Server => "server",
        }
    }

    /// Its ACL category, if it has one.
    pub fn category(self) -> Option<&'static str> {
        match self {
            Self::String => Some("string"),
            Self::Generic => Some("keyspace"),
            Self::Set => Some("set"),
            Self::Hash => Some("hash"),
            Self::SortedSet => Some("sortedset"),
            Self::PubSub => Some("pubsub"),
            Self::Transactions => Some("transaction"),
            Self::Connection => Some("connection"),
            Self::Server => None,
        }
    }
}

/// A row; see the module's page. `name` of a subcommand is `"CONFIG|GET"`.
#[derive(Clone, Copy)]
pub struct Command {
    /// In capitals.
    pub name: &'static str,
    /// How many arguments it takes.
    pub arity: Arity,
    /// Where its keys stand.
    pub keys: &'static [KeySpec],
    /// The argument that names a member of the collection at its key, 0 if there is none: it is asked for ahead.
    pub member: u8,
    /// What it does.
    pub run: Run,
    /// [`WRITE`] and the like.
    pub flags: u32,
    /// The family.
    pub group: Group,
    /// The version of Redis that had it first.
    pub since: &'static str,
    /// One sentence for people.
    pub summary: &'static str,
    /// Time that it takes, in words.
    pub complexity: &'static str,
    /// Its arguments for people and for COMMAND DOCS, in the notation that `syntax.rs` describes.
    pub syntax: &'static str,
    /// The version of Redis that deprecated it, and what to use in its place.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Redis's hints for clients that spread requests over nodes.
    pub tips: &'static [&'static str],
    /// Pairs of a command line and its reply as redis-cli prints it; run in order against an empty server.
    pub examples: &'static [(&'static str, &'static str)],
}

impl Command {
    /// What a row must say is empty here: a test of `docs` finds the row that forgot.
    const fn new(name: &'static str, arity: Arity, run: Run, flags: u32) -> Self {
        Self {
            name,
            arity,
            keys: &[],
            member: 0,
            run,
            flags,
            group: Group::Generic,
            since: "",
            summary: "",
            complexity: "",
            syntax: "",
            deprecated: None,
            tips: &[],
            examples: &[],
        }
    }

    /// A command that changes keys.
    pub const fn write(
        name: &'static str,
        arity: Arity,
        keys: &'static [KeySpec],
        run: fn(&mut Locked<'_>, Args<'_>, &mut Reply) -> Outcome,
    ) -> Self {
        Self { keys, ..Self::new(name, arity, Run::Keys(run), WRITE) }
    }

    /// A command that reads keys.
    pub const fn read(
        name: &'static str,
        arity: Arity,
        keys: &'static [KeySpec],
        run: fn(&mut Locked<'_>, Args<'_>, &mut Reply) -> Outcome,
    ) -> Self {
        Self { keys, ..Self::new(name, arity, Run::Keys(run), READONLY) }
    }

    /// A command that may wait for its keys; whether it writes, its flags say.
    pub(crate) const fn wait(
        name: &'static str,
        arity: Arity,
        keys: &'static [KeySpec],
        run: fn(&mut Locked<'_>, Args<'_>, &mut Reply) -> Result<Step, Error>,
    ) -> Self {
        Self { keys, ..Self::new(name, arity, Run::Wait(run), BLOCKING) }
    }

    /// A command on every shard.
    pub const fn all(
        name: &'static str,
        arity: Arity,
        run: fn(&mut Locked<'_>, Args<'_>, &mut Reply) -> Outcome,
    ) -> Self {
        Self::new(name, arity, Run::All(run), 0)
    }

    /// A command without keys.
    pub const fn session(
        name: &'static str,
        arity: Arity,
        run: fn(&Engine, &mut Session, Args<'_>, &mut Reply) -> Outcome,
    ) -> Self {
        Self::new(name, arity, Run::Session(run), 0)
    }

    /// A container of subcommands.
    pub const fn container(name: &'static str) -> Self {
        Self::new(name, Arity::at_least(1), Run::Container, SUBCOMMANDS)
    }

    /// Adds flags.
    pub const fn flags(self, flags: u32) -> Self {
        Self { flags: self.flags | flags, ..self }
    }

    /// Sets keys of a command whose function finds its shards itself (WATCH) or that locks all.
    pub const fn keys(self, keys: &'static [KeySpec]) -> Self {
        Self { keys, ..self }
    }

    /// Sets the argument that names a member of the collection at its key.
    pub const fn member(self, member: u8) -> Self {
        Self { member, ..self }
    }

    /// Sets the family.
    pub const fn group(self, group: Group) -> Self {
        Self { group, ..self }
    }

    /// Sets the version of Redis that had it first.
    pub const fn since(self, since: &'static str) -> Self {
        Self { since, ..self }
    }

    /// Sets the sentence for people.
    pub const fn summary(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    /// Sets the time that it takes, in words.
    pub const fn complexity(self, complexity: &'static str) -> Self {
        Self { complexity, ..self }
    }

    /// Sets the arguments, in the notation that `syntax.rs` describes.
    pub const fn syntax(self, syntax: &'static str) -> Self {
        Self { syntax, ..self }
    }

    /// Marks it as deprecated since a version of Redis, in favour of something else.
    pub const fn deprecated(self, since: &'static str, instead: &'static str) -> Self {
        Self { deprecated: Some((since, instead)), ..self }
    }

    /// Sets Redis's hints.
    pub const fn tips(self, tips: &'static [&'static str]) -> Self {
        Self { tips, ..self }
    }

    /// Sets the examples.
    pub const fn examples(self, examples: &'static [(&'static str, &'static str)]) -> Self {
        Self { examples, ..self }
    }

    /// Whether all of `flags` are set.
    #[inline]
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// Whether it takes so little time that reading the clock twice would show: it is timed by samples only.
    #[inline]
    pub(crate) fn is_quick(&self) -> bool {
        self.has(FAST) || self.complexity == "O(1)"
    }

    /// Whether this is a subcommand of a container.
    pub fn is_subcommand(&self) -> bool {
        self.name.contains('|')
    }

    /// The name in small letters, as errors and COMMAND show it.
    pub fn lower_name(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// Shows each key of a call, with its specification's flags, in order. `None` when the arguments do not hold
    /// the keys that they announce; then nothing may be locked, and the command itself finds what is wrong.
    #[inline]
    pub fn each_key<'a>(&self, args: Args<'a>, mut each: impl FnMut(usize, &'a [u8], u16)) -> Option<()> {
        if let [KeySpec { begin, find: Find::Range { last: 0, .. }, flags, .. }] = self.keys {
            // One key, as most commands have.
            each(*begin as usize, args.get(*begin as usize)?, *flags);
            return Some(());
        }
        for spec in self.keys {
            let begin = spec.begin as usize;
            let (first, last, step) = match spec.find {
                Find::Range { last: 0, .. } => (begin, begin, 1),
                Find::Range { last, step } if last < 0 => (begin, args.len().checked_add_signed(last as isize)?, step),
                Find::Range { last, step } => (begin, begin + last as usize, step),
                Find::Counted => {
                    let count = larder_protocol::parse_i64(args.get(begin)?)?;
                    let count = usize::try_from(count).ok().filter(|count| *count > 0)?;
                    (begin + 1, begin.checked_add(count)?, 1)
                }
            };
            if last >= args.len() {
                return None;
            }
            for at in (first..=last).step_by(step as usize) {
                each(at, args.get(at)?, spec.flags);
            }
        }
        Some(())
    }
}
