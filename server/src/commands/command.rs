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
    /// A script: what it touches shows while it runs, on the thread of scripts. The row's keys are locked.
    Script(fn(&Engine, &mut Session, &mut Locked<'_>, Args<'_>, &mut Reply) -> Outcome),
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
    /// The keys follow a word, if it is there; the beginning does not matter.
    Keyword(Keyword),
    /// No argument is one: the keys depend on data.
    Nowhere,
}

/// How keys are found after a word.
#[derive(Clone, Copy, Debug)]
pub struct Keyword {
    /// The word, in capitals.
    pub word: &'static str,
    /// The index from which it is looked for; negative: backwards, from so far before the end; 0 where Redis does not tell
    /// clients how it is found.
    pub from: i8,
    /// Index of the last key, relative to the first, or negative: from the end.
    pub last: i8,
    /// Distance between keys.
    pub step: u8,
    /// If not 0, only one in so many of the arguments after the word is a key: the first of them.
    pub limit: u8,
    /// Options that may stand before the word, with the numbers of their arguments. If there are some, the search goes
    /// from the first argument on and passes over these, so that it finds what the command itself does.
    pub options: &'static [(&'static str, u8)],
    /// Whether the word may stand several times and what follows the last counts. COMMAND GETKEYS tells what follows the
    /// first, unless Redis finds it by the options.
    pub repeats: bool,
}

impl Keyword {
    /// Where the word stands, in the order of the search.
    fn places(self, args: Args<'_>) -> impl Iterator<Item = usize> {
        let (known, searched) = match self.options {
            [] => (None, Some(self.searched(args))),
            _ => (Some(self.after_options(args)), None),
        };
        known.into_iter().flatten().chain(searched.into_iter().flatten())
    }

    /// Where those stand that count for a purpose.
    fn chosen(self, args: Args<'_>, purpose: Purpose) -> impl Iterator<Item = usize> {
        let (skipped, most) = match (self.repeats, purpose, self.options) {
            (true, Purpose::Lock, _) => (0, usize::MAX),
            (true, Purpose::Tell, [_, ..]) => (self.places(args).count().saturating_sub(1), 1),
            _ => (0, 1),
        };
        self.places(args).skip(skipped).take(most)
    }

    /// Where the word stands behind the options before it.
    fn after_options(self, args: Args<'_>) -> impl Iterator<Item = usize> {
        let is = move |at: usize, word: &str| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
        let mut at = 1;
        std::iter::from_fn(move || {
            while at < args.len() && !is(at, self.word) {
                at += 1 + self.options.iter().find(|option| is(at, option.0)).map_or(0, |option| usize::from(option.1));
            }
            // The next one may stand behind what follows this one.
            at += 2;
            (at - 2 < args.len()).then_some(at - 2)
        })
    }

    /// Where the word stands with something after it.
    fn searched(self, args: Args<'_>) -> impl Iterator<Item = usize> {
        let (forwards, backwards) = match usize::try_from(self.from) {
            Ok(from) => (from..args.len().saturating_sub(1), 0..0),
            Err(_) => (0..0, 2..(args.len() + 1).saturating_sub(usize::from(self.from.unsigned_abs()))),
        };
        let places = forwards.chain(backwards.rev());
        places.filter(move |at| args.get(*at).is_some_and(|arg| arg.eq_ignore_ascii_case(self.word.as_bytes())))
    }

    /// The first and the last index of the keys after the word, if there are any.
    fn range(self, word_at: usize, len: usize) -> Option<(usize, usize)> {
        let first = word_at + 1;
        let last = match (usize::try_from(self.last), self.limit) {
            (Ok(last), _) => first + last,
            (Err(_), 0) => len.checked_add_signed(self.last.into())?,
            (Err(_), limit) => {
                (first + len.saturating_sub(first) / usize::from(limit)).checked_add_signed(self.last.into())?
            }
        };
        (first <= last && last < len).then_some((first, last))
    }
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

/// The key after a word that introduces an option, looked for from index `from` on.
pub const fn option_key(word: &'static str, from: i8, flags: u16) -> KeySpec {
    let keyword = Keyword { word, from, last: 0, step: 1, limit: 0, options: &[], repeats: true };
    KeySpec { begin: 0, find: Find::Keyword(keyword), flags, notes: "" }
}

/// A count at index `begin`, then that many keys.
pub const fn counted(begin: u8, flags: u16) -> KeySpec {
    KeySpec { begin, find: Find::Counted, flags, notes: "" }
}

/// Which arguments name channels, for the rules of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelArgs {
    /// None.
    None,
    /// The first one.
    First,
    /// Every one.
    All,
    /// Every one, each a pattern.
    Patterns,
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
/// Allowed at a node of a cluster that a slot is being moved to.
pub const ASKING: u32 = 1 << 18;
/// It may be called with no key, though it takes some.
pub const NO_MANDATORY_KEYS: u32 = 1 << 19;
/// Dangerous: an ACL category.
pub const DANGEROUS: u32 = 1 << 24;
/// Also of the keyspace: an ACL category.
pub const KEYSPACE: u32 = 1 << 25;
/// Of the connection: an ACL category.
pub const CONNECTION: u32 = 1 << 26;
/// Sorts lists, sets and sorted sets: it is in the ACL categories of these, and not in that of its family.
pub const SORTS: u32 = 1 << 29;
/// Of administration, though no administrator is asked for: an ACL category.
pub const ADMINISTRATION: u32 = 1 << 28;
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
    (ASKING, "asking"),
    (FAST, "fast"),
    (NO_AUTH, "no_auth"),
    (NO_ASYNC_LOADING, "no_async_loading"),
    (NO_MULTI, "no_multi"),
    (NO_MANDATORY_KEYS, "no_mandatory_keys"),
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
    /// Lists.
    List,
    /// Sorted sets.
    SortedSet,
    /// Strings as arrays of bits.
    Bitmap,
    /// HyperLogLogs.
    HyperLogLog,
    /// Places on the earth, in sorted sets.
    Geo,
    /// Streams.
    Stream,
    /// Publish and subscribe.
    PubSub,
    /// MULTI and its like.
    Transactions,
    /// The connection.
    Connection,
    /// The server.
    Server,
    /// Clusters.
    Cluster,
    /// Scripts.
    Scripting,
}

impl Group {
    /// As COMMAND DOCS names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Generic => "generic",
            Self::Set => "set",
            Self::Hash => "hash",
            Self::List => "list",
            Self::SortedSet => "sorted-set",
            Self::Bitmap => "bitmap",
            Self::HyperLogLog => "hyperloglog",
            Self::Geo => "geo",
            Self::Stream => "stream",
            Self::PubSub => "pubsub",
            Self::Transactions => "transactions",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
            Self::Scripting => "scripting",
        }
    }

    /// Its ACL category, if it has one.
    pub fn category(self) -> Option<&'static str> {
        match self {
            Self::String => Some("string"),
            Self::Generic => Some("keyspace"),
            Self::Set => Some("set"),
            Self::Hash => Some("hash"),
            Self::List => Some("list"),
            Self::SortedSet => Some("sortedset"),
            Self::Bitmap => Some("bitmap"),
            Self::HyperLogLog => Some("hyperloglog"),
            Self::Geo => Some("geo"),
            Self::Stream => Some("stream"),
            Self::PubSub => Some("pubsub"),
            Self::Transactions => Some("transaction"),
            Self::Connection => Some("connection"),
            Self::Scripting => Some("scripting"),
            Self::Server | Self::Cluster => None,
        }
    }
}

/// What keys of a call are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Lock,
    Tell,
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
    /// Which arguments name channels that it sends to or listens to.
    pub channels: ChannelArgs,
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
    /// The fields of its reply, and what stands in them: of commands that Redis does not have.
    pub fields: &'static [(&'static str, &'static str)],
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
            channels: ChannelArgs::None,
            member: 0,
            run,
            flags,
            group: Group::Generic,
            since: "",
            summary: "",
            complexity: "",
            syntax: "",
            deprecated: None,
            fields: &[],
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

    /// A command that runs a script.
    pub(crate) const fn script(
        name: &'static str,
        keys: &'static [KeySpec],
        run: fn(&Engine, &mut Session, &mut Locked<'_>, Args<'_>, &mut Reply) -> Outcome,
    ) -> Self {
        Self { keys, group: Group::Scripting, ..Self::new(name, Arity::at_least(2), Run::Script(run), 0) }
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

    /// Says which arguments name channels.
    pub const fn channels(self, channels: ChannelArgs) -> Self {
        Self { channels, ..self }
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

    /// Sets the fields of its reply.
    pub const fn fields(self, fields: &'static [(&'static str, &'static str)]) -> Self {
        Self { fields, ..self }
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
    pub fn each_key<'a>(&self, args: Args<'a>, each: impl FnMut(usize, &'a [u8], u16)) -> Option<()> {
        self.visit_keys(args, Purpose::Lock, each)
    }

    /// As [`Command::each_key`], as COMMAND GETKEYS tells it: of an option that stands several times the first key only,
    /// and none of a call that could have more keys and has none of them.
    pub(crate) fn each_told_key<'a>(&self, args: Args<'a>, each: impl FnMut(usize, &'a [u8], u16)) -> Option<()> {
        self.visit_keys(args, Purpose::Tell, each)
    }

    #[inline]
    fn visit_keys<'a>(
        &self,
        args: Args<'a>,
        purpose: Purpose,
        mut each: impl FnMut(usize, &'a [u8], u16),
    ) -> Option<()> {
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
                Find::Nowhere => continue,
                Find::Keyword(keyword) => {
                    for word_at in keyword.chosen(args, purpose) {
                        let (first, last) = keyword.range(word_at, args.len())?;
                        for at in (first..=last).step_by(keyword.step.into()) {
                            each(at, args.get(at)?, spec.flags);
                        }
                    }
                    continue;
                }
            };
            // A command may take no source at all, but then COMMAND GETKEYS does not know it.
            if last >= args.len() || (last < first && purpose == Purpose::Tell) {
                return None;
            }
            for at in (first..=last).step_by(step as usize) {
                each(at, args.get(at)?, spec.flags);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use larder_protocol::OwnedArgs;

    use super::*;

    /// The keys of a call, as all are locked and as they are told.
    #[track_caller]
    fn check(keys: &'static [KeySpec], call: &str, locked: &str, told: &str) {
        let row = Command::container("X").keys(keys);
        let words = OwnedArgs::from_slices(&call.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        let (mut all, mut first) = (Vec::new(), Vec::new());
        row.each_key(words.as_args(), |_, key, _| all.push(String::from_utf8_lossy(key).into_owned()));
        row.each_told_key(words.as_args(), |_, key, _| first.push(String::from_utf8_lossy(key).into_owned()));
        assert_eq!((all.join(" ").as_str(), first.join(" ").as_str()), (locked, told), "{call}");
    }

    #[test]
    fn of_an_option_that_repeats_every_key_is_locked() {
        const KEYS: &[KeySpec] = &[key(1, RO), option_key("STORE", 3, OW), option_key("STOREDIST", 3, OW)];
        check(KEYS, "X k 1 COUNT 2", "k", "k");
        check(KEYS, "X k 1 store a", "k a", "k a");
        check(KEYS, "X store 1 STORE a STOREDIST b", "store a b", "store a b");
        check(KEYS, "X k STORE STORE a Store b", "k a b", "k a");
        check(KEYS, "X k 1 STORE STORE STORE", "k STORE STORE", "k STORE");
        check(KEYS, "X k 1 ASC STORE", "k", "k");
    }

    #[test]
    fn sources_may_be_missing() {
        const KEYS: &[KeySpec] = &[key(1, RW), keys(2, 1, RO)];
        check(KEYS, "X k a b", "k a b", "k a b");
        let row = Command::container("X").keys(KEYS);
        let call = OwnedArgs::from_slices(&[b"X", b"k"]);
        assert!(row.each_key(call.as_args(), |_, key, _| assert_eq!(key, b"k")).is_some());
        assert!(row.each_told_key(call.as_args(), |_, _, _| {}).is_none());
    }

    #[test]
    fn keys_follow_a_word() {
        const fn after(word: &'static str, from: i8, limit: u8) -> KeySpec {
            let keyword = Keyword { word, from, last: -1, step: 1, limit, options: &[], repeats: false };
            KeySpec { begin: 0, find: Find::Keyword(keyword), flags: RO, notes: "" }
        }
        // As XREAD has it: the keys, then as many ids.
        const HALF: &[KeySpec] = &[after("STREAMS", 1, 2)];
        check(HALF, "X COUNT 1 streams a b 0 1", "a b", "a b");
        check(HALF, "X STREAMS STREAMS 0", "STREAMS", "STREAMS");
        check(HALF, "X STREAMS a", "", "");
        check(HALF, "X STREAMS", "", "");
        check(HALF, "X a b", "", "");
        const OPTIONS: &[(&str, u8)] = &[("COUNT", 1), ("GROUP", 2)];
        const READ: Keyword =
            Keyword { word: "STREAMS", from: 4, last: -1, step: 1, limit: 2, options: OPTIONS, repeats: false };
        const SKIPPING: &[KeySpec] = &[KeySpec { begin: 0, find: Find::Keyword(READ), flags: RO, notes: "" }];
        check(SKIPPING, "X COUNT 1 streams a b 1 2", "a b", "a b");
        check(SKIPPING, "X GROUP streams STREAMS COUNT STREAMS STREAMS a 1", "a", "a");
        check(SKIPPING, "X COUNT 1 a b", "", "");
        check(SKIPPING, "X COUNT", "", "");
        // As MIGRATE has it: the last one in the call counts, and all that follows is keys.
        const LAST: &[KeySpec] = &[after("KEYS", -2, 0)];
        check(LAST, "X h p KEYS 0 KEYS a b", "a b", "a b");
        check(LAST, "X h p k 0 KEYS", "", "");
        check(LAST, "X", "", "");
    }
}
