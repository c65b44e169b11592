//! Quick scripts, run where their connection runs, by an interpreter of its thread.
//!
//! Only if no other script runs: there is one at a time, wherever it runs. What is not quick, or turns out not to be before
//! it has changed anything, goes to the scripts' thread, as does what is not compiled yet.

use std::panic::{AssertUnwindSafe, catch_unwind};

use larder_protocol::{Args, Reply};

use super::run::{Run, count_keys};
use super::{redis_table, thread::Machine};
use crate::commands::command::{Command, READONLY};
use crate::engine::Engine;
use crate::error::{self, Outcome};
use crate::locked::{Hashes, Locked};
use crate::observe::Timing;
use crate::session::Session;
use crate::stats::WorkerStats;

/// A call that might run here.
pub(crate) struct Here<'c> {
    pub(crate) command: &'c Command,
    pub(crate) args: Args<'c>,
    pub(crate) now: u64,
    pub(crate) timing: &'c Timing,
}

impl Engine {
    /// Runs a call of a script here, if it is a quick one; `None` if it has to go to the scripts' thread. The call is not
    /// counted.
    pub(crate) fn run_script_here(
        &self,
        session: &mut Session,
        stats: &WorkerStats,
        machine: &Machine,
        call: &Here<'_>,
        reply: &mut Reply,
    ) -> Option<Outcome> {
        let Here { command, args, .. } = *call;
        let mut digits = [0; DIGITS];
        let digest = digest_of(command, args, &mut digits)?;
        let script = self.scripts.cache.lock().get(digest)?;
        let quick = script.quick(args.len())?;
        let keys = count_keys(args).ok()?;
        if self.exceeds_memory() {
            return None;
        }
        let _token = self.scripts.token.try_lock()?;
        let mut locked = Locked::claim(self, self.shards_of_call(command, args), call.now, stats);
        locked.work_for(session, None);
        locked.machine = Some(machine);
        locked.begin(session.db, Hashes::default());
        self.show_script(session, args);
        let run = Run {
            digest,
            script: &script,
            args,
            keys,
            read_only: command.has(READONLY),
            quick: Some(quick),
            started: call.timing.started(),
        };
        machine.short_of_memory.set(false);
        let work = AssertUnwindSafe(|| run.run(self, session, &mut locked, reply));
        let outcome = catch_unwind(work).unwrap_or_else(|_| {
            tracing::error!("a script ended in a panic");
            machine.interpreter.replace(None);
            self.scripts.control.end();
            session.is_script = false;
            Some(Err(error::SCRIPT_PANICKED))
        });
        locked.before_release();
        drop(locked);
        self.evictor().tolerate_excess(self);
        self.release_parked();
        if outcome.is_none() {
            script.note_slow();
        }
        outcome
    }
}

/// Hexadecimal digits of a digest.
const DIGITS: usize = 40;

/// The digest of the script that a call runs, written into `digits`; nothing if it names none.
fn digest_of<'d>(command: &Command, args: Args<'_>, digits: &'d mut [u8; DIGITS]) -> Option<&'d str> {
    match command.name {
        "EVALSHA" | "EVALSHA_RO" => {
            digits.copy_from_slice(args.get(1).filter(|digest| digest.len() == DIGITS)?);
            digits.make_ascii_lowercase();
        }
        "EVAL" | "EVAL_RO" => digits.copy_from_slice(redis_table::digest(args.get(1)?).as_bytes()),
        _ => return None,
    }
    std::str::from_utf8(digits).ok()
}
