//! Where a call of a script runs: here, or where scripts run, with those that follow it in its batch.

use std::cell::Cell;

use larder_protocol::{Args, Batch, Reply};

use super::{Call, Engine};
use crate::commands::command::Command;
use crate::error::Outcome;
use crate::script::Here;
use crate::session::Session;
use crate::stats::WorkerStats;

/// What follows a call in its batch.
pub(super) struct Behind<'a> {
    batch: &'a Batch,
    buffer: &'a [u8],
    /// The number of the next call.
    next: usize,
    /// How many calls have been taken care of with this one.
    pub(super) taken: Cell<usize>,
    /// Whether the call has gone to where it is counted.
    pub(super) is_counted: Cell<bool>,
}

impl<'a> Behind<'a> {
    pub(super) fn new(batch: &'a Batch, buffer: &'a [u8], number: usize) -> Self {
        Self { batch, buffer, next: number + 1, taken: Cell::default(), is_counted: Cell::default() }
    }

    fn calls(&self) -> impl Iterator<Item = Args<'a>> + use<'a> {
        let (batch, buffer) = (self.batch, self.buffer);
        (self.next..batch.len()).map(move |number| batch.args(number, buffer))
    }
}

impl Engine {
    /// Runs a call of a script.
    pub(super) fn run_script(
        &self,
        session: &mut Session,
        stats: &WorkerStats,
        command: &Command,
        call: &Call<'_>,
        reply: &mut Reply,
    ) -> Outcome {
        let here = Here { command, args: call.args, now: call.now, timing: call.timing };
        if let Some(machine) = call.machine
            && let Some(outcome) = self.run_script_here(session, stats, machine, &here, reply)
        {
            return outcome;
        }
        // What somebody looks at goes one by one.
        let most = if call.attention == 0 { usize::MAX } else { 0 };
        let following = call.behind.calls().take(most);
        call.behind.is_counted.set(true);
        self.run_as_script(session, call.args, following, &call.behind.taken, reply)
    }
}
