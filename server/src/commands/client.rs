//! CLIENT: what the server knows of its clients, and what a client may change of itself or do to others.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use larder_protocol::{Args, Reply, parse_i64};

use super::command::*;
use super::command_info::help;
use super::parse::{integer, integer_or, is};
use super::table::TABLE;
use crate::acl::User;
use crate::client::Client;
use crate::engine::Engine;
use crate::error::{
    CLIENT_ID_INVALID, CLIENT_ID_NOT_POSITIVE, CLIENT_NAME, Error, MAXAGE_NOT_INTEGER, MAXAGE_NOT_POSITIVE,
    NO_SUCH_CLIENT, Outcome, PAUSE_MODE, SYNTAX, TIMEOUT_NEGATIVE, TIMEOUT_NOT_INTEGER, TIMEOUT_OUT_OF_RANGE,
    UNBLOCK_REASON, UNBLOCKED, attribute_characters, no_such_user, subcommand_or_arity, unknown_attribute,
    unknown_client_type,
};
use crate::session::{ReplyMode, Session};
use crate::tracking::Mode;

/// Bytes of the buffer that CLIENT LIST reports apart from what is queued after it, as Redis has it.
const REPLY_BUFFER: usize = 16 << 10;
/// What most subcommands have in common.
const USUAL: u32 = NOSCRIPT | LOADING | STALE;

pub(super) const COMMANDS: &[Command] = &[
    Command::container("CLIENT")
        .group(Group::Connection)
        .since("2.4.0")
        .complexity("Depends on the subcommand")
        .summary("Shows and changes connections."),
    Command::session("CLIENT|ID", Arity::exactly(1), id)
        .flags(USUAL)
        .group(Group::Connection)
        .since("5.0.0")
        .complexity("O(1)")
        .summary("Answers the number of the connection, which no other connection ever gets."),
    Command::session("CLIENT|INFO", Arity::exactly(1), info)
        .flags(USUAL)
        .group(Group::Connection)
        .since("6.2.0")
        .complexity("O(1)")
        .summary("Describes the connection, in the line that CLIENT LIST has for it.")
        .tips(&["nondeterministic_output"]),
    Command::session("CLIENT|LIST", Arity::at_least(1), list)
        .flags(USUAL | ADMIN)
        .group(Group::Connection)
        .since("2.4.0")
        .syntax("[TYPE (NORMAL | MASTER | REPLICA | PUBSUB)] [ID client-id...]")
        .summary("Describes all connections, or those of a type, or some by their numbers, each in a line.")
        .complexity("O(N) for N connections")
        .tips(&["nondeterministic_output"])
        .examples(&[
            ("CLIENT LIST TYPE master", "\"\""),
            ("CLIENT LIST TYPE other", "(error) ERR Unknown client type 'other'"),
            ("CLIENT LIST ID 0", "\"\""),
            ("CLIENT LIST ID one", "(error) ERR Invalid client ID"),
        ]),
    Command::session("CLIENT|GETNAME", Arity::exactly(1), getname)
        .flags(USUAL)
        .group(Group::Connection)
        .since("2.6.9")
        .complexity("O(1)")
        .summary("Answers the name of the connection.")
        .examples(&[("CLIENT GETNAME", "(nil)")]),
    Command::session("CLIENT|SETNAME", Arity::exactly(2), setname)
        .flags(USUAL)
        .group(Group::Connection)
        .since("2.6.9")
        .syntax("connection-name")
        .complexity("O(1)")
        .summary("Names the connection; an empty name takes the name away.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .examples(&[
            ("CLIENT SETNAME worker-1", "OK"),
            ("CLIENT GETNAME", "\"worker-1\""),
            (
                "CLIENT SETNAME 'worker 2'",
                "(error) ERR Client names cannot contain spaces, newlines or special characters.",
            ),
        ]),
    Command::session("CLIENT|SETINFO", Arity::exactly(3), setinfo)
        .flags(USUAL)
        .group(Group::Connection)
        .since("7.2.0")
        .syntax("LIB-NAME libname | LIB-VER libver")
        .complexity("O(1)")
        .summary("Tells which client library the connection comes from.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .examples(&[
            ("CLIENT SETINFO LIB-NAME shop", "OK"),
            ("CLIENT SETINFO LIB-VER 1.2.3", "OK"),
            ("CLIENT SETINFO LIB-AGE 3", "(error) ERR Unrecognized option 'LIB-AGE'"),
        ]),
    Command::session("CLIENT|KILL", Arity::at_least(2), kill)
        .flags(USUAL | ADMIN)
        .group(Group::Connection)
        .since("2.4.0")
        .syntax(
            "addr-port | ([ID client-id] [TYPE (NORMAL | MASTER | REPLICA | PUBSUB)] [USER username] \
             [ADDR addr-port] [LADDR addr-port] [SKIPME (YES | NO)] [MAXAGE maxage])...",
        )
        .summary("Closes connections: one by its address, or all that every given condition holds for.")
        .complexity("O(N) for N connections")
        .examples(&[
            ("CLIENT KILL 10.0.0.1:1234", "(error) ERR No such client"),
            ("CLIENT KILL TYPE pubsub", "(integer) 0"),
            ("CLIENT KILL ID 0", "(error) ERR client-id should be greater than 0"),
        ]),
    Command::session("CLIENT|UNBLOCK", Arity::at_least(2), unblock)
        .flags(USUAL | ADMIN)
        .group(Group::Connection)
        .since("5.0.0")
        .syntax("client-id [TIMEOUT | ERROR]")
        .summary("Ends the waiting of a connection, as its time limit would or with an error.")
        .complexity("O(log N) for N connections")
        .examples(&[
            ("CLIENT UNBLOCK 1000", "(integer) 0"),
            ("CLIENT UNBLOCK 1 LATER", "(error) ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        ]),
    Command::session("CLIENT|REPLY", Arity::exactly(2), reply_mode)
        .flags(USUAL)
        .group(Group::Connection)
        .since("3.2.0")
        .syntax("ON | OFF | SKIP")
        .complexity("O(1)")
        .summary("Turns the replies of the connection on or off, or off for one command.")
        .examples(&[("CLIENT REPLY ON", "OK"), ("CLIENT REPLY maybe", "(error) ERR syntax error")]),
    Command::session("CLIENT|NO-EVICT", Arity::exactly(2), no_evict)
        .flags(USUAL | ADMIN)
        .group(Group::Connection)
        .since("7.0.0")
        .syntax("ON | OFF")
        .complexity("O(1)")
        .summary("Spares the connection when connections are closed for want of memory.")
        .examples(&[("CLIENT NO-EVICT ON", "OK"), ("CLIENT NO-EVICT OFF", "OK")]),
    Command::session("CLIENT|NO-TOUCH", Arity::exactly(2), no_touch)
        .flags(USUAL)
        .group(Group::Connection)
        .since("7.2.0")
        .syntax("ON | OFF")
        .complexity("O(1)")
        .summary("Keeps the connection's accesses out of what is known of the use of keys.")
        .examples(&[("CLIENT NO-TOUCH ON", "OK"), ("CLIENT NO-TOUCH OFF", "OK")]),
    Command::session("CLIENT|PAUSE", Arity::at_least(2), pause)
        .flags(USUAL | ADMIN)
        .group(Group::Connection)
        .since("2.9.50")
        .syntax("timeout [WRITE | ALL]")
        .complexity("O(1)")
        .summary(
            "Holds clients up for some milliseconds: those that would write, or all. Keys neither expire nor are evicted \
             meanwhile. Connections without a socket are not held up.",
        )
        .examples(&[
            ("CLIENT PAUSE 0 WRITE", "OK"),
            ("CLIENT PAUSE soon", "(error) ERR timeout is not an integer or out of range"),
            ("CLIENT PAUSE 0 READ", "(error) ERR CLIENT PAUSE mode must be WRITE or ALL"),
        ]),
    Command::session("CLIENT|UNPAUSE", Arity::exactly(1), unpause)
        .flags(USUAL | ADMIN)
        .group(Group::Connection)
        .since("6.2.0")
        .complexity("O(N) for N clients that are held up")
        .summary("Lets all clients go on that CLIENT PAUSE holds up.")
        .examples(&[("CLIENT UNPAUSE", "OK")]),
    Command::session("CLIENT|HELP", Arity::exactly(1), help)
        .flags(LOADING | STALE)
        .group(Group::Connection)
        .since("5.0.0")
        .complexity("O(1)")
        .summary("Lists the subcommands of CLIENT."),
];

fn id(_: &Engine, session: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    reply.int(session.client.id as i64);
    Ok(())
}

/// Notes what CLIENT LIST is to show of the connection that asks: others' facts are as of their last batch.
pub(crate) fn note_own_facts(engine: &Engine, session: &Session) -> u64 {
    let now = engine.clock().now_ms();
    session.note_facts(now);
    now
}

fn info(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let now = note_own_facts(engine, session);
    let mut text = String::new();
    describe(&session.client, now, argument_bytes(args), &mut text);
    reply.verbatim("txt", text);
    Ok(())
}

fn argument_bytes(args: Args<'_>) -> usize {
    args.iter().map(<[u8]>::len).sum()
}

fn list(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let clients = chosen(engine, args)?;
    let now = note_own_facts(engine, session);
    let mut text = String::new();
    for client in clients {
        let running = if client.id == session.client.id { argument_bytes(args) } else { 0 };
        describe(&client, now, running, &mut text);
    }
    reply.verbatim("txt", text);
    Ok(())
}

/// The clients that CLIENT LIST's arguments name.
fn chosen(engine: &Engine, args: Args<'_>) -> Result<Vec<Arc<Client>>, Error> {
    let options = args.from(2);
    if options.is_empty() {
        return Ok(engine.clients().all());
    }
    if is(options.at(0), "TYPE") && options.len() == 2 {
        let class = Class::parse(options.at(1))?;
        return Ok(engine.clients().all().into_iter().filter(|client| class == Class::of(client)).collect());
    }
    if is(options.at(0), "ID") && options.len() > 1 {
        let mut found = Vec::new();
        for id in options.from(1).iter() {
            let id = integer_or(id, CLIENT_ID_INVALID)?;
            found.extend(u64::try_from(id).ok().and_then(|id| engine.clients().get(id)));
        }
        return Ok(found);
    }
    Err(SYNTAX)
}

/// What sort of client it is, in the words of CLIENT LIST and CLIENT KILL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Normal,
    Pubsub,
    /// Of another server; there is none.
    Server,
}

impl Class {
    fn parse(name: &[u8]) -> Result<Self, Error> {
        match name {
            name if is(name, "NORMAL") => Ok(Self::Normal),
            name if is(name, "PUBSUB") => Ok(Self::Pubsub),
            name if is(name, "MASTER") || is(name, "REPLICA") || is(name, "SLAVE") => Ok(Self::Server),
            name => Err(unknown_client_type(name)),
        }
    }

    fn of(client: &Client) -> Self {
        if client.facts.listens() { Self::Pubsub } else { Self::Normal }
    }
}

/// A client's line as it is now, for the log.
pub(crate) fn line(engine: &Engine, client: &Client) -> String {
    let mut text = String::new();
    describe(client, engine.clock().now_ms(), 0, &mut text);
    text
}

/// Appends a client's line. `running` is the size of the arguments of the command that it runs.
pub(crate) fn describe(client: &Client, now: u64, running: usize, out: &mut String) {
    let (facts, names) = (&client.facts, client.names.lock().clone());
    let shown = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let queued = facts.queued.load(Relaxed) as i64;
    let (used, capacity) = (facts.query_bytes.load(Relaxed), facts.query_capacity.load(Relaxed));
    let output = facts.output_bytes.load(Relaxed) + client.outbox_bytes();
    // Redis keeps the first bytes in a buffer of fixed size and lists the rest.
    let buffered = output.min(REPLY_BUFFER);
    let listed = output - buffered;
    let queued_bytes = facts.queued_bytes.load(Relaxed);
    // Where the buffer counts, the arguments are in it.
    let memory = client.memory() + if capacity == 0 { running } else { 0 };
    let row = u16::try_from(facts.row.load(Relaxed)).ok().filter(|row| *row != u16::MAX);
    let command = row.map_or_else(|| "NULL".to_owned(), |row| TABLE.row(row).lower_name());
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={queued} \
         watch={} qbuf={used} qbuf-free={} argv-mem={running} multi-mem={queued_bytes} rbs={buffered} rbp={buffered} \
         obl={buffered} oll={} omem={listed} tot-mem={memory} events=r cmd={command} user={} redir={} resp={} \
         lib-name={} lib-ver={}",
        client.id,
        client.addresses.peer,
        client.addresses.local,
        client.addresses.fd,
        shown(&names.name),
        age_seconds(client, now),
        (now / 1000).saturating_sub(facts.active_ms.load(Relaxed) / 1000),
        flags(client),
        facts.db.load(Relaxed),
        facts.channels.load(Relaxed),
        facts.patterns.load(Relaxed),
        facts.shard_channels.load(Relaxed),
        client.watched_keys(),
        capacity.saturating_sub(used),
        listed.div_ceil(REPLY_BUFFER),
        shown(client.user().name()),
        client.tracking.lock().as_ref().map_or(-1, |mode| mode.redirect as i64),
        facts.protocol.load(Relaxed),
        shown(&names.library),
        shown(&names.library_version),
    );
}

fn age_seconds(client: &Client, now: u64) -> u64 {
    (now / 1000).saturating_sub(client.created_ms / 1000)
}

/// Redis's letters for the states of a client.
fn flags(client: &Client) -> String {
    let (facts, mode) = (&client.facts, client.tracking.lock());
    let tracks = |how: fn(&Mode) -> bool| mode.as_ref().is_some_and(how);
    let flags = [
        ('O', facts.monitors.load(Relaxed)),
        ('P', facts.listens()),
        ('x', facts.queued.load(Relaxed) != u64::MAX),
        ('b', client.waits() || facts.paused.load(Relaxed)),
        ('t', tracks(|_| true)),
        ('R', tracks(|mode| mode.is_broken)),
        ('B', tracks(|mode| mode.broadcasts)),
        ('d', client.has_watch_failed()),
        ('A', client.is_killed()),
        ('U', client.addresses.unix),
        ('e', facts.no_evict.load(Relaxed)),
        ('T', facts.no_touch.load(Relaxed)),
    ];
    let set: String = flags.iter().filter(|flag| flag.1).map(|flag| flag.0).collect();
    if set.is_empty() { "N".to_owned() } else { set }
}

fn getname(_: &Engine, session: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let names = session.client.names.lock();
    if names.name.is_empty() {
        reply.null()
    } else {
        reply.bulk(&names.name)
    }
    Ok(())
}

fn setname(_: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if !is_name(args.at(2)) {
        return Err(CLIENT_NAME);
    }
    session.client.names.lock().name = args.at(2).to_vec();
    reply.ok();
    Ok(())
}

/// Whether a text may stand in a field of CLIENT LIST: printable, and without a space.
pub(super) fn is_name(text: &[u8]) -> bool {
    // Redis reads the text as a C string, which ends at a zero.
    text.iter().take_while(|byte| **byte != 0).all(u8::is_ascii_graphic)
}

fn setinfo(_: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (attribute, value) = (args.at(2), args.at(3));
    let is_library = is(attribute, "LIB-NAME");
    if !is_library && !is(attribute, "LIB-VER") {
        return Err(unknown_attribute(attribute));
    }
    if !is_name(value) {
        return Err(attribute_characters(attribute));
    }
    let mut names = session.client.names.lock();
    let field = if is_library { &mut names.library } else { &mut names.library_version };
    *field = value.to_vec();
    reply.ok();
    Ok(())
}

/// Conditions of CLIENT KILL.
struct Filter<'a> {
    id: Option<u64>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    class: Option<Class>,
    user: Option<Arc<User>>,
    least_age: Option<i64>,
    skips_me: bool,
}

impl<'a> Filter<'a> {
    const ALL: Self =
        Self { id: None, address: None, local_address: None, class: None, user: None, least_age: None, skips_me: true };

    /// `options` are what follows CLIENT KILL; there is at least one.
    fn parse(engine: &Engine, options: Args<'a>) -> Result<Self, Error> {
        if options.len() == 1 {
            // The old form, which can close the connection that it comes from.
            return Ok(Self { address: options.get(0), skips_me: false, ..Self::ALL });
        }
        let mut filter = Self::ALL;
        let mut words = options.iter();
        while let Some(option) = words.next() {
            filter.add(engine, option, words.next().ok_or(SYNTAX)?)?;
        }
        Ok(filter)
    }

    fn add(&mut self, engine: &Engine, option: &[u8], value: &'a [u8]) -> Outcome {
        if is(option, "ID") {
            let id = parse_i64(value).filter(|id| *id > 0).ok_or(CLIENT_ID_NOT_POSITIVE)?;
            self.id = Some(id as u64);
        } else if is(option, "MAXAGE") {
            let age = integer_or(value, MAXAGE_NOT_INTEGER)?;
            self.least_age = Some(age).filter(|age| *age > 0);
            self.least_age.ok_or(MAXAGE_NOT_POSITIVE)?;
        } else if is(option, "TYPE") {
            self.class = Some(Class::parse(value)?);
        } else if is(option, "ADDR") {
            self.address = Some(value);
        } else if is(option, "LADDR") {
            self.local_address = Some(value);
        } else if is(option, "USER") {
            self.user = Some(engine.acl().find(value).ok_or_else(|| no_such_user(value))?);
        } else if is(option, "SKIPME") {
            self.skips_me = if is(value, "YES") {
                true
            } else if is(value, "NO") {
                false
            } else {
                return Err(SYNTAX);
            };
        } else {
            return Err(SYNTAX);
        }
        Ok(())
    }

    fn holds(&self, client: &Client, me: u64, now: u64) -> bool {
        self.address.is_none_or(|address| client.addresses.peer.as_bytes() == address)
            && self.local_address.is_none_or(|address| client.addresses.local.as_bytes() == address)
            && self.class.is_none_or(|class| class == Class::of(client))
            && self.user.as_ref().is_none_or(|user| client.is_user(user))
            && self.id.is_none_or(|id| client.id == id)
            && !(self.skips_me && client.id == me)
            && self.least_age.is_none_or(|age| age_seconds(client, now) as i64 >= age)
    }
}

fn kill(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let filter = Filter::parse(engine, args.from(2))?;
    let (me, now) = (session.client.id, note_own_facts(engine, session));
    let mut killed = 0;
    for client in engine.clients().all() {
        if !filter.holds(&client, me, now) {
            continue;
        }
        killed += 1;
        if client.id == me {
            session.closing = true;
        } else {
            engine.clients().kill(&client);
        }
    }
    match (args.len(), killed) {
        (3, 0) => return Err(NO_SUCH_CLIENT),
        (3, _) => reply.ok(),
        _ => reply.int(killed),
    }
    Ok(())
}

fn unblock(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if args.len() > 4 {
        return Err(subcommand_or_arity("CLIENT", args.at(1)));
    }
    let error = match args.get(3) {
        None => None,
        Some(word) if is(word, "TIMEOUT") => None,
        Some(word) if is(word, "ERROR") => Some(UNBLOCKED),
        Some(_) => return Err(UNBLOCK_REASON),
    };
    let id = u64::try_from(integer(args.at(2))?).unwrap_or(0);
    let waiter = engine.clients().get(id).and_then(|client| client.waiter.lock().clone());
    reply.int(waiter.is_some_and(|waiter| waiter.unblock(error)) as i64);
    Ok(())
}

fn reply_mode(_: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let mode = args.at(2);
    if is(mode, "ON") {
        session.reply_mode = ReplyMode::On;
        reply.ok();
    } else if is(mode, "OFF") {
        session.reply_mode = ReplyMode::Off;
    } else if is(mode, "SKIP") {
        if session.reply_mode != ReplyMode::Off {
            session.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(SYNTAX);
    }
    Ok(())
}

fn on_or_off(word: &[u8]) -> Result<bool, Error> {
    match word {
        word if is(word, "ON") => Ok(true),
        word if is(word, "OFF") => Ok(false),
        _ => Err(SYNTAX),
    }
}

fn pause(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let all = match args.get(3) {
        _ if args.len() > 4 => return Err(subcommand_or_arity("CLIENT", args.at(1))),
        Some(mode) if is(mode, "WRITE") => false,
        Some(mode) if !is(mode, "ALL") => return Err(PAUSE_MODE),
        _ => true,
    };
    let timeout = u64::try_from(integer_or(args.at(2), TIMEOUT_NOT_INTEGER)?).map_err(|_| TIMEOUT_NEGATIVE)?;
    let until = engine.clock().now_ms() + timeout;
    if until > i64::MAX as u64 {
        return Err(TIMEOUT_OUT_OF_RANGE);
    }
    engine.begin_pause(until, all);
    reply.ok();
    Ok(())
}

fn unpause(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    engine.end_pause();
    reply.ok();
    Ok(())
}

fn no_evict(_: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    session.client.facts.no_evict.store(on_or_off(args.at(2))?, Relaxed);
    reply.ok();
    Ok(())
}

fn no_touch(_: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    session.no_touch = on_or_off(args.at(2))?;
    session.client.facts.no_touch.store(session.no_touch, Relaxed);
    reply.ok();
    Ok(())
}
