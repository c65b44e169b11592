//! One ordered list of reasons to refuse a command. The order is Redis's.

use std::sync::atomic::Ordering::Relaxed;

use larder_protocol::{Args, OwnedArgs, Proto};

use crate::acl::denial;
use crate::commands::command::{
    ADMIN, BLOCKING, Command, DENYOOM, MAY_REPLICATE, NO_AUTH, NO_MULTI, READONLY, SUBCOMMANDS, WRITE,
};
use crate::commands::table::TABLE;
use crate::config::Access;
use crate::engine::Engine;
use crate::error::{self, Error};
use crate::session::{Queued, ReplyMode, Session, Transaction};

/// What becomes of a command.
pub(crate) enum Admission {
    Run(u16),
    Queue(u16),
}

/// Whether a session is in no state that [`admit`] must look at. Only commands without keys change that, and whoever
/// changes the rules of its user: sessions notice that here, and so before each batch.
pub(crate) fn is_plain(session: &mut Session) -> bool {
    session.login.follow();
    session.authenticated
        && session.login.is_free()
        && session.multi.is_none()
        && session.reply_mode == ReplyMode::On
        && session.subscriptions.is_empty()
        && !session.tracks
        && !session.monitors
}

/// Whether nothing about a call of a plain session asks for [`admit`].
#[inline]
pub(crate) fn runs_at_once(command: &Command, args: Args<'_>) -> bool {
    command.flags & (ADMIN | SUBCOMMANDS | BLOCKING) == 0 && command.arity.allows(args.len())
}

/// Finds the row of a call (`row` is what its first word names) and decides about it. An error comes with the row,
/// if there is one.
pub(crate) fn admit(
    engine: &Engine,
    session: &Session,
    row: u16,
    args: Args<'_>,
    proto: Proto,
) -> Result<Admission, (Option<u16>, Error)> {
    if row == u16::MAX {
        return Err((None, error::unknown_command(args)));
    }
    let mut row = row;
    let mut command = TABLE.row(row);
    if command.has(SUBCOMMANDS) && args.len() > 1 {
        row = TABLE.find(args).map_err(|error| (None, error))?;
        command = TABLE.row(row);
    }
    if !command.arity.allows(args.len()) {
        return Err((Some(row), error::wrong_arity(&command.lower_name())));
    }
    special(engine, session, row, args, proto).map_err(|error| (Some(row), error))?;
    match session.multi {
        Some(_) if !runs_inside_multi(command) => Ok(Admission::Queue(row)),
        _ => Ok(Admission::Run(row)),
    }
}

/// Whether a command's name is the beginning of an HTTP request.
#[cold]
pub(crate) fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// Refusals that only some sessions or commands can meet.
fn special(engine: &Engine, session: &Session, row: u16, args: Args<'_>, proto: Proto) -> Result<(), Error> {
    let command = TABLE.row(row);
    if command.name == "DEBUG" || command.name.starts_with("DEBUG|") {
        protected(engine.settings().enable_debug_command.get(), session)?;
    }
    // A password may have been taken away since the session began.
    if !command.has(NO_AUTH) && !session.may_speak(engine) {
        return Err(error::NO_AUTH);
    }
    if session.multi.is_some() && command.has(NO_MULTI) {
        return Err(error::NOT_IN_TRANSACTION);
    }
    denial::check(engine, session, row, args)?;
    if session.only_listens(proto) && !runs_while_listening(command) {
        let name = command.lower_name();
        return Err(Error::made(format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
        )));
    }
    // Redis takes a client that monitors for a kind of replica.
    if session.monitors && command.flags & (READONLY | WRITE | MAY_REPLICATE) != 0 {
        return Err(error::REPLICA_AND_KEYS);
    }
    Ok(())
}

fn protected(access: Access, session: &Session) -> Result<(), Error> {
    let local = session.client.addresses.loopback || session.client.addresses.unix;
    if access.allows(local) {
        return Ok(());
    }
    Err(Error::fixed(
        "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
    ))
}

/// Commands that are not queued.
fn runs_inside_multi(command: &Command) -> bool {
    matches!(command.name, "EXEC" | "DISCARD" | "MULTI" | "WATCH" | "QUIT" | "RESET")
}

fn runs_while_listening(command: &Command) -> bool {
    matches!(
        command.name,
        "PING"
            | "SUBSCRIBE"
            | "PSUBSCRIBE"
            | "SSUBSCRIBE"
            | "UNSUBSCRIBE"
            | "PUNSUBSCRIBE"
            | "SUNSUBSCRIBE"
            | "QUIT"
            | "RESET"
    )
}

/// The bytes for which a call needs room if it adds data. What is queued in a transaction needs it when that runs.
pub(crate) fn bytes_to_add(session: &Session, row: u16, args: Args<'_>) -> usize {
    match &session.multi {
        None => args.extent(),
        Some(transaction) if TABLE.row(row).name == "EXEC" => transaction.bytes,
        Some(_) => 0,
    }
}

/// Whether a call must be refused while memory is short. Inside a transaction that is one that adds data, or EXEC behind one which it runs:
/// what only reads is queued, as since Redis 7.4.
pub(crate) fn adds_data(engine: &Engine, session: &Session, row: u16, args: Args<'_>) -> bool {
    let command = TABLE.row(row);
    match &session.multi {
        None => command.has(DENYOOM),
        Some(transaction) if command.name == "EXEC" => {
            transaction.flags & DENYOOM != 0 && !session.transaction_is_lost()
        }
        Some(_) => engine.flags_of_call(row, args) & DENYOOM != 0,
    }
}

/// Keeps a command for EXEC.
pub(crate) fn queue(engine: &Engine, session: &mut Session, row: u16, args: Args<'_>) {
    if session.transaction_is_lost() {
        return;
    }
    let transaction = session.multi.get_or_insert_with(Transaction::default);
    let args: OwnedArgs = args.to_owned();
    transaction.bytes += args.bytes();
    transaction.flags |= engine.flags_of_call(row, args.as_args());
    transaction.queue.push(Queued { row, args });
    session.client.facts.row.store(u32::from(row), Relaxed);
}
