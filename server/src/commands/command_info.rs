//! COMMAND, and the HELP subcommand of every container: what the rows tell, in the forms of Redis 7.4.

use larder_protocol::{Args, Deferred, Reply};

use super::command::*;
use super::parse::is;
use super::syntax::{self, Argument};
use super::table::TABLE;
use crate::acl::categories::{CATEGORIES, has_category};
use crate::engine::Engine;
use crate::error::{COMMAND_ARGUMENTS, COMMAND_ARITY, COMMAND_WITHOUT_KEYS, Error, NOT_A_COMMAND, Outcome, SYNTAX};
use crate::glob;
use crate::session::Session;

const USUAL: u32 = LOADING | STALE | CONNECTION;

pub(super) const COMMANDS: &[Command] = &[
    Command::session("COMMAND", Arity::at_least(0), command)
        .flags(USUAL | SUBCOMMANDS)
        .group(Group::Server)
        .since("2.8.13")
        .summary("Answers what COMMAND INFO does, for all commands.")
        .complexity("O(N) for N commands")
        .tips(&["nondeterministic_output_order"]),
    Command::session("COMMAND|COUNT", Arity::exactly(1), count)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.8.13")
        .complexity("O(1)")
        .summary("Counts the commands."),
    Command::session("COMMAND|INFO", Arity::at_least(1), info)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.8.13")
        .syntax("[command-name...]")
        .summary("Answers what a client must know to send commands: arity, flags, where keys stand.")
        .complexity("O(N) for N commands")
        .tips(&["nondeterministic_output_order"])
        .examples(&[("COMMAND INFO no-such-command", "1) (nil)")]),
    Command::session("COMMAND|DOCS", Arity::at_least(1), docs)
        .flags(USUAL)
        .group(Group::Server)
        .since("7.0.0")
        .syntax("[command-name...]")
        .summary("Answers what people want to know of commands: what they do, since when, with which arguments.")
        .complexity("O(N) for N commands")
        .tips(&["nondeterministic_output_order"])
        .examples(&[("COMMAND DOCS no-such-command", "(empty array)")]),
    Command::session("COMMAND|LIST", Arity::at_least(1), list)
        .flags(USUAL)
        .group(Group::Server)
        .since("7.0.0")
        .syntax("[FILTERBY (MODULE module-name | ACLCAT category | PATTERN pattern)]")
        .summary("Lists the names of commands and subcommands: all, or those of a category, or that match a pattern.")
        .complexity("O(N) for N commands")
        .tips(&["nondeterministic_output_order"])
        .examples(&[
            ("COMMAND LIST FILTERBY PATTERN *subscribe", PATTERN_EXAMPLE),
            ("COMMAND LIST FILTERBY MODULE none", "(empty array)"),
            ("COMMAND LIST FILTERBY AGE old", "(error) ERR syntax error"),
        ]),
    Command::session("COMMAND|GETKEYS", Arity::at_least(2), getkeys)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.8.13")
        .syntax("command [arg...]")
        .summary("Answers the keys in a command.")
        .complexity("O(N) for N arguments")
        .examples(&[
            ("COMMAND GETKEYS MSET a 1 b 2", "1) \"a\"\n2) \"b\""),
            ("COMMAND GETKEYS PING", "(error) ERR The command has no key arguments"),
        ]),
    Command::session("COMMAND|GETKEYSANDFLAGS", Arity::at_least(2), getkeysandflags)
        .flags(USUAL)
        .group(Group::Server)
        .since("7.0.0")
        .syntax("command [arg...]")
        .summary("Answers the keys in a command, and what it does with each.")
        .complexity("O(N) for N arguments")
        .examples(&[("COMMAND GETKEYSANDFLAGS GET a", "1) 1) \"a\"\n   2) 1) RO\n      2) access")]),
    Command::session("COMMAND|HELP", Arity::exactly(1), help)
        .flags(USUAL)
        .group(Group::Server)
        .since("5.0.0")
        .complexity("O(1)")
        .summary("Lists the subcommands of COMMAND."),
];

const PATTERN_EXAMPLE: &str = "1) \"subscribe\"\n2) \"unsubscribe\"\n3) \"psubscribe\"\n4) \"punsubscribe\"\n\
                               5) \"ssubscribe\"\n6) \"sunsubscribe\"";

/// Commands, without subcommands.
fn commands() -> impl Iterator<Item = &'static Command> {
    TABLE.rows().filter(|row| !row.is_subcommand())
}

/// The row with a full name such as `config|get`.
fn named(name: &[u8]) -> Option<&'static Command> {
    TABLE.by_full_name(name).map(|number| TABLE.row(number))
}

fn command(_: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    write_infos(reply);
    Ok(())
}

fn count(_: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    reply.int(commands().count() as i64);
    Ok(())
}

fn info(_: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let names = args.from(2);
    if names.is_empty() {
        write_infos(reply);
        return Ok(());
    }
    reply.array(names.len());
    for name in names.iter() {
        match named(name) {
            Some(row) => write_info(row, reply),
            None => reply.null(),
        }
    }
    Ok(())
}

fn write_infos(reply: &mut Reply) {
    reply.array(commands().count());
    commands().for_each(|row| write_info(row, reply));
}

fn write_info(row: &Command, reply: &mut Reply) {
    let legacy = LegacyRange::of(row);
    reply.array(10);
    reply.bulk(row.lower_name().as_bytes());
    reply.int(row.arity.number());
    let movable = if legacy.movable { MOVABLE_KEYS } else { 0 };
    write_names(flag_names(row.flags | movable), reply);
    reply.int(legacy.first);
    reply.int(legacy.last);
    reply.int(legacy.step);
    let categories: Vec<&str> = CATEGORIES.iter().filter(|category| has_category(row, category)).copied().collect();
    reply.set(categories.len());
    categories.iter().for_each(|category| reply.simple(format!("@{category}")));
    reply.set(row.tips.len());
    row.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(row.keys.len());
    row.keys.iter().for_each(|spec| write_key_spec(spec, reply));
    let subcommands: Vec<&Command> = TABLE.subcommands_of(row.name).map(|(_, row)| row).collect();
    if subcommands.is_empty() {
        reply.set(0);
    } else {
        reply.array(subcommands.len());
        subcommands.iter().for_each(|row| write_info(row, reply));
    }
}

/// Names of the flags of a key, in the order of COMMAND INFO.
const KEY_FLAGS: &[(u16, &str)] = &[
    (RO, "RO"),
    (RW, "RW"),
    (OW, "OW"),
    (RM, "RM"),
    (ACCESS, "access"),
    (UPDATE, "update"),
    (INSERT, "insert"),
    (DELETE, "delete"),
    (NOT_KEY, "not_key"),
    (INCOMPLETE, "incomplete"),
    (VARIABLE, "variable_flags"),
];

fn key_flag_names(flags: u16) -> impl Iterator<Item = &'static str> + Clone {
    KEY_FLAGS.iter().filter(move |(flag, _)| flags & flag != 0).map(|(_, name)| *name)
}

fn write_names(names: impl Iterator<Item = &'static str> + Clone, reply: &mut Reply) {
    reply.set(names.clone().count());
    names.for_each(|name| reply.simple(name));
}

/// The keys in the older form, of a first, a last and a step: as much as fits into it.
struct LegacyRange {
    first: i64,
    last: i64,
    step: i64,
    /// Whether there may be keys beyond it.
    movable: bool,
}

impl LegacyRange {
    fn of(row: &Command) -> Self {
        let mut range = Self { first: 0, last: 0, step: 0, movable: row.has(MOVABLE_KEYS) };
        for spec in row.keys {
            range.movable |= spec.flags & INCOMPLETE != 0;
            let Find::Range { last, step } = spec.find else {
                range.movable = true;
                continue;
            };
            let begin = i64::from(spec.begin);
            let last = if last < 0 { i64::from(last) } else { begin + i64::from(last) };
            if range.first == 0 && (step == 1 || row.keys.len() == 1) {
                (range.first, range.last, range.step) = (begin, last, i64::from(step));
            } else if range.first != 0 && step == 1 && range.last + 1 == begin {
                range.last = last;
            } else {
                range.movable = true;
            }
        }
        range
    }
}

fn write_key_spec(spec: &KeySpec, reply: &mut Reply) {
    reply.map(if spec.notes.is_empty() { 3 } else { 4 });
    if !spec.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(spec.notes.as_bytes());
    }
    reply.bulk(b"flags");
    write_names(key_flag_names(spec.flags), reply);
    match spec.find {
        Find::Nowhere | Find::Keyword(Keyword { from: 0, .. }) => write_search("begin_search", "unknown", &[], reply),
        Find::Keyword(Keyword { word, from, .. }) => {
            write_search_head("begin_search", "keyword", 2, reply);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            reply.bulk(b"startfrom");
            reply.int(from.into());
        }
        _ => write_search("begin_search", "index", &[("index", i64::from(spec.begin))], reply),
    }
    match spec.find {
        Find::Nowhere | Find::Keyword(Keyword { from: 0, .. }) => write_search("find_keys", "unknown", &[], reply),
        Find::Keyword(Keyword { last, step, limit, .. }) => {
            let parts = [("lastkey", i64::from(last)), ("keystep", i64::from(step)), ("limit", i64::from(limit))];
            write_search("find_keys", "range", &parts, reply);
        }
        Find::Range { last, step } => {
            let parts = [("lastkey", i64::from(last)), ("keystep", i64::from(step)), ("limit", 0)];
            write_search("find_keys", "range", &parts, reply);
        }
        Find::Counted => {
            let parts = [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)];
            write_search("find_keys", "keynum", &parts, reply);
        }
    }
}

fn write_search_head(search: &str, kind: &str, parts: usize, reply: &mut Reply) {
    reply.bulk(search.as_bytes());
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(parts);
}

fn write_search(search: &str, kind: &str, spec: &[(&str, i64)], reply: &mut Reply) {
    write_search_head(search, kind, spec.len(), reply);
    for (name, value) in spec {
        reply.bulk(name.as_bytes());
        reply.int(*value);
    }
}

fn docs(_: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let names = args.from(2);
    let rows: Vec<&Command> =
        if names.is_empty() { commands().collect() } else { names.iter().filter_map(named).collect() };
    write_docs_map(&rows, reply);
    Ok(())
}

fn write_docs_map(rows: &[&Command], reply: &mut Reply) {
    reply.map(rows.len());
    for row in rows {
        reply.bulk(row.lower_name().as_bytes());
        write_docs(row, reply);
    }
}

/// A map whose entries are counted as they are written.
struct Facts<'r> {
    reply: &'r mut Reply,
    map: Deferred,
    count: usize,
}

impl<'r> Facts<'r> {
    fn new(reply: &'r mut Reply) -> Self {
        let map = reply.defer();
        Self { reply, map, count: 0 }
    }

    /// Begins an entry; its value is to be written next.
    fn entry(&mut self, name: &str) -> &mut Reply {
        self.count += 1;
        self.reply.bulk(name.as_bytes());
        self.reply
    }

    fn text(&mut self, name: &str, value: &str) {
        self.entry(name).bulk(value.as_bytes());
    }

    /// Adds the names that hold, unless there is none.
    fn set(&mut self, name: &str, members: &[(bool, &str)]) {
        let holding = members.iter().filter(|member| member.0);
        let count = holding.clone().count();
        if count > 0 {
            let reply = self.entry(name);
            reply.set(count);
            holding.for_each(|member| reply.simple(member.1));
        }
    }

    fn finish(self) {
        self.reply.set_map_len(self.map, self.count);
    }
}

/// Commands that are not for applications.
const SYSTEM: &[&str] = &["DEBUG", "PFDEBUG", "PFSELFTEST"];

fn write_docs(row: &Command, reply: &mut Reply) {
    let mut facts = Facts::new(reply);
    facts.text("summary", row.summary);
    facts.text("since", row.since);
    facts.text("group", row.group.name());
    facts.text("complexity", row.complexity);
    facts.set("doc_flags", &[(row.deprecated.is_some(), "deprecated"), (SYSTEM.contains(&row.name), "syscmd")]);
    if let Some((since, instead)) = row.deprecated {
        facts.text("deprecated_since", since);
        facts.text("replaced_by", instead);
    }
    let mut arguments = syntax::parse(row.syntax);
    if matches!(row.run, Run::Wait(_)) && !row.keys.is_empty() {
        // Who waits for keys may say how long in fractions of a second; other timeouts are whole numbers.
        let timeouts = arguments.iter_mut().filter(|argument| argument.name == "timeout");
        timeouts.for_each(|timeout| timeout.kind = "double");
    }
    if !arguments.is_empty() {
        write_arguments(&arguments, row, &mut 0, facts.entry("arguments"));
    }
    let subcommands: Vec<&Command> = TABLE.subcommands_of(row.name).map(|(_, row)| row).collect();
    if !subcommands.is_empty() {
        write_docs_map(&subcommands, facts.entry("subcommands"));
    }
    facts.finish();
}

/// Writes arguments. `keys` counts those that are keys: they have the row's key specifications in turn.
fn write_arguments(arguments: &[Argument], row: &Command, keys: &mut usize, reply: &mut Reply) {
    reply.array(arguments.len());
    for argument in arguments {
        let mut facts = Facts::new(reply);
        facts.text("name", &argument.name);
        facts.text("type", argument.kind);
        if argument.parts.is_empty() {
            facts.text("display_text", &argument.name);
        }
        if argument.kind == "key" && !row.keys.is_empty() {
            facts.entry("key_spec_index").int((*keys).min(row.keys.len() - 1) as i64);
            *keys += 1;
        }
        if let Some(token) = argument.token {
            facts.text("token", token);
        }
        let flags = [
            (argument.optional, "optional"),
            (argument.multiple, "multiple"),
            (argument.repeats_token(), "multiple_token"),
        ];
        facts.set("flags", &flags);
        if !argument.parts.is_empty() {
            write_arguments(&argument.parts, row, keys, facts.entry("arguments"));
        }
        facts.finish();
    }
}

/// What COMMAND LIST selects by.
enum Filter<'a> {
    All,
    /// Commands of a module; there are no modules.
    Module,
    Category(String),
    Pattern(&'a [u8]),
}

impl<'a> Filter<'a> {
    fn parse(options: Args<'a>) -> Result<Self, Error> {
        if options.is_empty() {
            return Ok(Self::All);
        }
        if options.len() != 3 || !is(options.at(0), "FILTERBY") {
            return Err(SYNTAX);
        }
        let (kind, value) = (options.at(1), options.at(2));
        match kind {
            kind if is(kind, "MODULE") => Ok(Self::Module),
            kind if is(kind, "ACLCAT") => Ok(Self::Category(String::from_utf8_lossy(value).to_ascii_lowercase())),
            kind if is(kind, "PATTERN") => Ok(Self::Pattern(value)),
            _ => Err(SYNTAX),
        }
    }

    fn selects(&self, row: &Command) -> bool {
        match self {
            Self::All => true,
            Self::Module => false,
            Self::Category(category) => CATEGORIES.contains(&category.as_str()) && has_category(row, category),
            Self::Pattern(pattern) => glob::matches(pattern, row.lower_name().as_bytes(), true),
        }
    }
}

fn list(_: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let filter = Filter::parse(args.from(2))?;
    let rows: Vec<&Command> = TABLE.rows().filter(|row| filter.selects(row)).collect();
    reply.array(rows.len());
    rows.iter().for_each(|row| reply.bulk(row.lower_name().as_bytes()));
    Ok(())
}

fn getkeys(_: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let keys = find_keys(args.from(2))?;
    reply.array(keys.len());
    keys.iter().for_each(|(key, _)| reply.bulk(key));
    Ok(())
}

fn getkeysandflags(_: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let keys = find_keys(args.from(2))?;
    reply.array(keys.len());
    for (key, flags) in keys {
        reply.array(2);
        reply.bulk(key);
        write_names(key_flag_names(flags), reply);
    }
    Ok(())
}

/// The keys of a call with what happens to them.
fn find_keys(call: Args<'_>) -> Result<Vec<(&[u8], u16)>, Error> {
    let row = TABLE.row(TABLE.find(call).map_err(|_| NOT_A_COMMAND)?);
    if row.keys.iter().all(|spec| spec.flags & NOT_KEY != 0) {
        return Err(COMMAND_WITHOUT_KEYS);
    }
    if !row.arity.allows(call.len()) {
        return Err(COMMAND_ARITY);
    }
    let mut keys = Vec::new();
    let found = row.each_told_key(call, |_, key, flags| {
        if flags & NOT_KEY == 0 {
            keys.push((key, settle(row, flags, call)));
        }
    });
    if found.is_none() && row.has(NO_MANDATORY_KEYS) {
        return Ok(Vec::new());
    }
    if found.is_none() || keys.is_empty() {
        return Err(COMMAND_ARGUMENTS);
    }
    Ok(keys)
}

/// The flags of a key whose flags depend on the arguments: SET reads the key only with GET, and BITFIELD may only read.
pub(crate) fn settle(row: &Command, flags: u16, call: Args<'_>) -> u16 {
    match flags & VARIABLE {
        0 => flags,
        _ if row.name == "BITFIELD" && super::bitmap::only_reads(call) => RO | ACCESS,
        _ if row.name == "BITFIELD" || call.from(3).iter().any(|option| is(option, "GET")) => flags & !VARIABLE,
        _ => OW | UPDATE,
    }
}

/// The HELP subcommand of every container: its other subcommands, and itself.
pub(super) fn help(_: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let container = String::from_utf8_lossy(args.at(0)).to_ascii_uppercase();
    let others = TABLE.subcommands_of(&container).map(|(_, row)| row).filter(|row| !row.name.ends_with("|HELP"));
    let mut lines = vec![format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    if let Some(itself) = named(container.as_bytes()).filter(|row| !matches!(row.run, Run::Container)) {
        lines.extend(["(no subcommand)".to_owned(), format!("    {}", itself.summary)]);
    }
    for row in others {
        let name = row.name.rsplit('|').next().unwrap_or_default();
        lines.push(format!("{name} {}", row.syntax).trim_end().to_owned());
        lines.push(format!("    {}", row.summary));
    }
    lines.extend(["HELP".to_owned(), "    Print this help.".to_owned()]);
    reply.array(lines.len());
    lines.iter().for_each(|line| reply.simple(line));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_form_of_keys_joins_what_is_consecutive() {
        fn check(keys: &'static [KeySpec], expected: (i64, i64, i64, bool)) {
            let row = Command::container("X").keys(keys);
            let range = LegacyRange::of(&row);
            assert_eq!((range.first, range.last, range.step, range.movable), expected);
        }
        check(&[], (0, 0, 0, false));
        check(const { &[key(1, RO)] }, (1, 1, 1, false));
        check(const { &[keys(1, 2, RO)] }, (1, -1, 2, false));
        check(const { &[key(1, RO), key(2, RO)] }, (1, 2, 1, false));
        check(const { &[key(1, RO), keys(2, 1, RO)] }, (1, -1, 1, false));
        check(const { &[counted(1, RO)] }, (0, 0, 0, true));
        check(const { &[key(1, OW), counted(2, RO)] }, (1, 1, 1, true));
        check(const { &[key(1, OW), key(3, RO)] }, (1, 1, 1, true));
        check(const { &[key(1, RO), option_key("STORE", 6, OW)] }, (1, 1, 1, true));
        check(const { &[key(2, OW), keys(3, 1, RO)] }, (2, -1, 1, false));
    }
}
