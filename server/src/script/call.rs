//! Commands that a script calls: refused or run through their rows, on the shards of the script.

use larder_protocol::{Args, Proto, Reply};

use super::control::Control;
use super::natives::{Ask, Exchange};
use crate::acl::denial;
use crate::commands::command::{Arity, Command, DENYOOM, MAY_REPLICATE, NOSCRIPT, Run, WRITE};
use crate::commands::table::TABLE;
use crate::engine::Engine;
use crate::error::{self, Error};
use crate::locked::Locked;
use crate::session::Session;

/// What a script may do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Permissions {
    /// It may not write.
    pub(super) read_only: bool,
    /// Memory is short, and it may not add data before it has written.
    pub(super) short_of_memory: bool,
}

/// What a script's calls work on.
pub(super) struct Calls<'h, 'l> {
    pub(super) engine: &'h Engine,
    pub(super) session: &'h mut Session,
    pub(super) locked: &'h mut Locked<'l>,
    pub(super) control: &'h Control,
    pub(super) permissions: Permissions,
}

impl Calls<'_, '_> {
    /// Answers what the script asks for.
    pub(super) fn serve(&mut self, exchange: &mut Exchange) {
        let Exchange { ask, words, reply, resp3, .. } = exchange;
        let args = words.as_args();
        reply.clear();
        reply.set_proto(if *resp3 { Proto::Resp3 } else { Proto::Resp2 });
        match ask {
            Ask::MayCall => match TABLE.find(args) {
                Ok(row) => reply.int(i64::from(self.session.login.rules().check(row, args).is_ok())),
                Err(_) => reply.error(error::SCRIPT_ACL_UNKNOWN.text()),
            },
            Ask::Call => match self.admit(args) {
                Ok(row) => self.run(row, args, reply),
                Err(error) => {
                    self.engine.stats().error(error.code());
                    self.session.stats.counters.errors.add(1);
                    reply.error(error.text());
                }
            },
        }
    }

    /// The row of a call that may run; reasons to refuse it are in Redis's order.
    fn admit(&mut self, args: Args<'_>) -> Result<u16, Error> {
        let row = TABLE.find(args).map_err(|_| absent(args))?;
        let command = TABLE.row(row);
        let refused = match command.arity.allows(args.len()) {
            true => self.refuse(row, command, args),
            false => Err(error::SCRIPT_CALL_ARITY),
        };
        if refused.is_err() {
            self.session.stats.row(row).rejected.add(1);
        }
        refused.map(|()| row)
    }

    fn refuse(&mut self, row: u16, command: &Command, args: Args<'_>) -> Result<(), Error> {
        if command.has(NOSCRIPT) || matches!(command.run, Run::Script(_)) {
            return Err(error::SCRIPT_CALL_FORBIDDEN);
        }
        denial::check_in_script(self.engine, self.session, row, args)?;
        if self.permissions.read_only && command.flags & (WRITE | MAY_REPLICATE) != 0 {
            return Err(error::SCRIPT_READ_ONLY);
        }
        if self.permissions.short_of_memory && command.has(DENYOOM) && !self.control.has_written() {
            return Err(error::OUT_OF_MEMORY);
        }
        if command.has(WRITE) && !self.control.may_write() {
            return Err(error::SCRIPT_KILLED);
        }
        if command.has(MAY_REPLICATE) {
            self.control.acts();
        }
        Ok(())
    }

    /// Runs a call; further shards are locked if it needs them.
    fn run(&mut self, row: u16, args: Args<'_>, reply: &mut Reply) {
        let command = TABLE.row(row);
        let set = match command.run {
            Run::All(_) => self.engine.keyspace().all(),
            _ => self.engine.shards_of_call(command, args),
        };
        self.locked.shards().extend(set);
        self.locked.rules = self.session.login.restrictions();
        self.session.is_script = true;
        self.locked.is_script = true;
        self.engine.run_queued(self.session, self.locked, row, args, reply, true);
        self.session.is_script = false;
        self.locked.is_script = false;
    }
}

/// Commands that Redis has and does not run in scripts, and that do not exist here: a script that calls one is told the same.
const ABSENT: &[(&str, Option<&str>, Arity)] = &[
    ("BGREWRITEAOF", None, Arity::exactly(0)),
    ("BGSAVE", None, Arity::at_least(0)),
    ("MODULE", Some("LOAD"), Arity::at_least(2)),
    ("MODULE", Some("LOADEX"), Arity::at_least(2)),
    ("MODULE", Some("UNLOAD"), Arity::exactly(2)),
    ("PSYNC", None, Arity::at_least(2)),
    ("REPLCONF", None, Arity::at_least(0)),
    ("SAVE", None, Arity::exactly(0)),
    ("SYNC", None, Arity::exactly(0)),
];

/// The error of a call of what has no row.
fn absent(args: Args<'_>) -> Error {
    let is = |at: usize, name: &str| args.get(at).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    let known = ABSENT.iter().find(|(name, second, _)| is(0, name) && second.is_none_or(|second| is(1, second)));
    match known {
        None => error::SCRIPT_CALL_UNKNOWN,
        Some((.., arity)) if !arity.allows(args.len()) => error::SCRIPT_CALL_ARITY,
        Some(_) => error::SCRIPT_CALL_FORBIDDEN,
    }
}

#[cfg(test)]
mod tests {
    use larder_protocol::OwnedArgs;

    use super::*;

    #[test]
    fn what_counts_as_absent_has_no_row() {
        for (name, second, _) in ABSENT {
            let words: Vec<&[u8]> = std::iter::once(*name).chain(*second).map(str::as_bytes).collect();
            assert!(TABLE.find(OwnedArgs::from_slices(&words).as_args()).is_err(), "{name} {second:?}");
        }
    }
}
