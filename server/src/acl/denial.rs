//! A call that the rules of its user forbid: noted in the log, counted, and answered.

use larder_protocol::Args;

use super::{Denied, Entry, Reason, Rules};
use crate::commands::client::{describe, note_own_facts};
use crate::commands::table::TABLE;
use crate::engine::Engine;
use crate::error::{self, Error};
use crate::session::Session;
use std::sync::atomic::Ordering::Relaxed;

impl Denied {
    /// What of a call is to blame: its command, a key or a channel.
    pub(crate) fn object(self, row: u16, args: Args<'_>) -> Vec<u8> {
        match self {
            Self::Command => TABLE.row(row).lower_name().into_bytes(),
            Self::Key(at) | Self::Channel(at) => args.at(at).to_vec(),
        }
    }

    fn reason(self) -> Reason {
        match self {
            Self::Command => Reason::Command,
            Self::Key(_) => Reason::Key,
            Self::Channel(_) => Reason::Channel,
        }
    }
}

/// Checks a call against the rules of its user; the error is the answer. Inside MULTI the call is to be queued.
pub(crate) fn check(engine: &Engine, session: &Session, row: u16, args: Args<'_>) -> Result<(), Error> {
    if session.login.is_free() {
        return Ok(());
    }
    session.login.rules().check(row, args).map_err(|denied| {
        session.client.facts.row.store(u32::from(row), Relaxed);
        note(engine, session, row, args, denied, context(session.multi.is_some()));
        error::no_permission(session.login.user().name(), &TABLE.row(row).lower_name(), denied)
    })
}

/// Checks a call of a script against the rules of the script's user.
pub(crate) fn check_in_script(engine: &Engine, session: &mut Session, row: u16, args: Args<'_>) -> Result<(), Error> {
    session.login.follow();
    if session.login.is_free() {
        return Ok(());
    }
    session.login.rules().check(row, args).map_err(|denied| {
        note(engine, session, row, args, denied, "lua");
        error::no_permission_in_script(session.login.user().name(), &TABLE.row(row).lower_name(), denied)
    })
}

/// Checks a queued call as EXEC is about to run it: the rules may have changed since it was queued.
pub(crate) fn check_queued(engine: &Engine, session: &mut Session, row: u16, args: Args<'_>) -> Result<(), Error> {
    session.login.follow();
    if session.login.is_free() {
        return Ok(());
    }
    session.login.rules().check(row, args).map_err(|denied| {
        note(engine, session, row, args, denied, context(true));
        error::no_permission_any_more(denied)
    })
}

/// Where a call was that is no script's, in Redis's words.
fn context(in_multi: bool) -> &'static str {
    if in_multi { "multi" } else { "toplevel" }
}

#[cold]
fn note(engine: &Engine, session: &Session, row: u16, args: Args<'_>, denied: Denied, context: &'static str) {
    let user = session.login.user().name();
    log(engine, session, denied.reason(), context, denied.object(row, args), user);
}

/// Notes that AUTH or HELLO, as the client spelled it, named no user who could be let in.
#[cold]
pub(crate) fn note_auth(engine: &Engine, session: &Session, command: &[u8], user: &[u8]) {
    log(engine, session, Reason::Auth, context(session.executes), command.to_vec(), user);
}

fn log(engine: &Engine, session: &Session, reason: Reason, context: &'static str, object: Vec<u8>, user: &[u8]) {
    let counters = &session.stats.counters;
    match reason {
        Reason::Auth => counters.denied_auth.add(1),
        Reason::Command => counters.denied_commands.add(1),
        Reason::Key => counters.denied_keys.add(1),
        Reason::Channel => counters.denied_channels.add(1),
    }
    let now = note_own_facts(engine, session);
    let mut client = String::new();
    describe(&session.client, now, 0, &mut client);
    client.truncate(client.trim_end_matches('\n').len());
    let entry =
        Entry { id: 0, count: 0, reason, context, object, user: user.to_vec(), client, created_ms: 0, updated_ms: now };
    engine.acl().log.lock().add(entry, engine.settings().acllog_max_len.as_usize());
}

/// Whether a call of a user with these rules may read keys that its arguments do not name, as SORT with BY or GET does:
/// `rules` are a [`Locked`](crate::locked::Locked)'s, `args` the call's with its name.
pub(crate) fn may_read_every_key(rules: Option<&Rules>, args: Args<'_>) -> bool {
    rules.is_none_or(|rules| TABLE.find(args).is_ok_and(|row| rules.check_reading_every_key(row, args)))
}
