//! What comes of a script or function: its reply, and what the statistics count of it.

use std::collections::BTreeMap;

use larder_protocol::{Args, Reply};

use super::call::Calls;
use super::interpreter::{Ended, Error as LuaError, Place, Stopped, message};
use super::natives::Raised;
use crate::commands::table::TABLE;
use crate::error::{self, Error, Outcome};
use crate::locked::Hashes;
use crate::stats::MAX_ERROR_CODES;

/// Bytes of the code of an error that are counted.
const MOST_CODE_BYTES: usize = 64;

/// Errors in a result.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    /// How many there are that the statistics have already.
    counted: u64,
    /// The codes of the others, and how often they are there.
    codes: BTreeMap<String, u64>,
}

impl Failures {
    /// Notes an error. `is_counted`: the statistics have it already.
    pub(super) fn note(&mut self, text: &[u8], is_counted: bool) {
        if is_counted {
            self.counted += 1;
            return;
        }
        let code = text.iter().position(|byte| *byte == b' ').map_or(&b"ERR"[..], |end| &text[..end]);
        let code = String::from_utf8_lossy(&code[..code.len().min(MOST_CODE_BYTES)]);
        if let Some(count) = self.codes.get_mut(&*code) {
            *count += 1;
        } else if self.codes.len() < MAX_ERROR_CODES {
            self.codes.insert(code.into_owned(), 1);
        }
    }
}

/// How a call has ended.
pub(super) struct Concluded {
    pub(super) outcome: Outcome,
    /// Whether its interpreter may be used again.
    pub(super) is_usable: bool,
    /// Whether somebody wanted it to end.
    pub(super) was_killed: bool,
}

/// A call that ends.
pub(super) struct Ending<'e> {
    /// What was selected before.
    pub(super) db: usize,
    pub(super) args: Args<'e>,
    /// The script's digest or the function's name.
    pub(super) name: &'e str,
    /// Whether it ran on the budget of a quick one.
    pub(super) is_quick: bool,
}

impl Calls<'_, '_> {
    /// Ends a call: answers what came of it.
    pub(super) fn conclude(
        &mut self,
        call: &Ending<'_>,
        ended: Result<Ended, LuaError>,
        reply: &mut Reply,
    ) -> Concluded {
        let was_killed = self.control.end();
        self.session.db = call.db;
        // What the calls have changed is recorded: nothing is left for the script itself.
        self.locked.begin(call.db, Hashes::default());
        let (outcome, is_usable) = self.outcome_of(call, ended, was_killed, reply);
        Concluded { outcome, is_usable, was_killed }
    }

    /// The outcome, and whether the interpreter may be used again.
    fn outcome_of(
        &self,
        call: &Ending<'_>,
        ended: Result<Ended, LuaError>,
        killed: bool,
        reply: &mut Reply,
    ) -> (Outcome, bool) {
        let failed =
            |text: &[u8], place: Option<Place>| (Err(error::script_failed(text, call.name, place.as_ref())), false);
        match ended {
            // It was told to end in a function of the host.
            Ok(Ended::Raised(raised)) if killed => failed(error::SCRIPT_KILLED.text(), raised.place),
            // It was just about to end: whoever was told that it is killed is right all the same. What has written is only
            // wanted to end because the server does.
            Ok(Ended::Done(_)) if killed && !self.control.has_written() => failed(error::SCRIPT_KILLED.text(), None),
            Ok(Ended::Done(failures)) => {
                self.count(&failures, call);
                (Ok(()), true)
            }
            Ok(Ended::Raised(raised)) => (self.raised(raised, call, reply), true),
            Ok(Ended::Stopped(_, place)) if killed => failed(error::SCRIPT_KILLED.text(), place),
            Ok(Ended::Stopped(Stopped::Memory, place)) => failed(error::SCRIPT_MEMORY.text(), place),
            Ok(Ended::Stopped(Stopped::Steps, place)) if call.is_quick => {
                failed(b"ERR too many steps for a script that looked short", place)
            }
            Ok(Ended::Stopped(Stopped::Steps, place)) => failed(b"ERR too many steps in a pattern", place),
            Err(problem) => failed(&message(&problem), None),
        }
    }

    /// Counts the errors in a result.
    fn count(&self, failures: &Failures, call: &Ending<'_>) {
        for (code, count) in &failures.codes {
            self.engine.stats().errors_of(code, *count);
            self.session.stats.counters.errors.add(*count);
        }
        // As in Redis: each error that was counted before makes the call one that failed, the others do so together.
        self.note_failures(call, failures.counted + u64::from(!failures.codes.is_empty()));
    }

    /// The call counts as one that failed, though it answers by itself.
    fn note_failures(&self, call: &Ending<'_>, times: u64) {
        if times > 0
            && let Ok(row) = TABLE.find(call.args)
        {
            self.session.stats.row(row).failed.add(times);
        }
    }

    /// Answers an error that a script has raised. That of a command was counted when the command failed.
    fn raised(&self, raised: Raised, call: &Ending<'_>, reply: &mut Reply) -> Outcome {
        let Some(text) = raised.text else {
            return Err(Error::made(format!("ERR Error running script {}, execution failure", call.name)));
        };
        let error = match &raised.place {
            Some(place) => error::script_failed(&text, call.name, Some(place)),
            None => Error::made(text),
        };
        if !raised.is_counted {
            return Err(error);
        }
        reply.error(error.text());
        self.note_failures(call, 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_noted_by_their_codes() {
        let mut failures = Failures::default();
        failures.note(b"ERR of a command", true);
        assert!(failures.counted == 1 && failures.codes.is_empty());
        for text in [&b"MINE a"[..], b"MINE b", b"nothing"] {
            failures.note(text, false);
        }
        let codes: Vec<_> = failures.codes.iter().map(|(code, count)| (code.as_str(), *count)).collect();
        assert_eq!(codes, [("ERR", 1), ("MINE", 2)]);
        (0..2 * MAX_ERROR_CODES).for_each(|number| failures.note(format!("E{number} x").as_bytes(), false));
        assert_eq!(failures.codes.len(), MAX_ERROR_CODES);
    }
}
