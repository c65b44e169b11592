//! What comes of a script or function: its reply, and what the statistics count of it.

use larder_protocol::{Args, Proto, Reply};
use omnilua::{Error as LuaError, Value};

use super::call::Calls;
use super::convert;
use super::interpreter::{Ended, Place, Stopped, message};
use crate::commands::table::TABLE;
use crate::error::{self, Error, Outcome};
use crate::locked::Hashes;

/// Bytes of the code of an error that are counted.
const MOST_CODE_BYTES: usize = 64;

impl Calls<'_, '_> {
    /// Ends a call: answers what came of it, and tells whether its interpreter may be used again. `db` was selected before.
    pub(super) fn conclude(
        &mut self,
        db: usize,
        args: Args<'_>,
        name: &str,
        ended: Result<Ended, LuaError>,
        reply: &mut Reply,
    ) -> (Outcome, bool) {
        let killed = self.control.must_end();
        self.control.end();
        self.session.db = db;
        // What the calls have changed is recorded: nothing is left for the script itself.
        self.locked.begin(db, Hashes::default());
        let failed =
            |text: &[u8], place: &Option<Place>| (Err(error::script_failed(text, name, place.as_ref())), false);
        match ended {
            Ok(Ended::Value(value)) => {
                let (resp3, mut has_failed) = (self.proto == Proto::Resp3, false);
                convert::write(&value, resp3, reply, &mut |text, counted| {
                    has_failed = true;
                    if !counted {
                        self.count(text);
                    }
                });
                if has_failed {
                    self.note_failure(args);
                }
                (Ok(()), true)
            }
            Ok(Ended::Raised(value)) => (self.raised(&value, args, name, reply), true),
            Ok(Ended::Stopped(_, place)) if killed => failed(error::SCRIPT_KILLED.text(), &place),
            Ok(Ended::Stopped(Stopped::Memory, place)) => failed(b"ERR not enough memory", &place),
            Ok(Ended::Stopped(Stopped::Steps, place)) => {
                failed(b"ERR too many steps in a coroutine or a pattern", &place)
            }
            Err(problem) => failed(&message(&problem), &None),
        }
    }

    /// Counts an error that the script has made.
    fn count(&self, text: &[u8]) {
        let code = text.iter().position(|byte| *byte == b' ').map_or(&b"ERR"[..], |end| &text[..end]);
        let code = String::from_utf8_lossy(&code[..code.len().min(MOST_CODE_BYTES)]);
        self.engine.stats().error(&code);
        self.session.stats.counters.errors.add(1);
    }

    /// The call counts as one that failed, though it answers by itself.
    fn note_failure(&self, args: Args<'_>) {
        if let Ok(row) = TABLE.find(args) {
            self.session.stats.row(row).failed.add(1);
        }
    }

    /// Answers an error that a script has raised. That of a command was counted when the command failed.
    fn raised(&self, value: &Value, args: Args<'_>, name: &str, reply: &mut Reply) -> Outcome {
        let Value::Table(table) = value else {
            return Err(Error::made(format!("ERR Error running script {name}, execution failure")));
        };
        let text_at = |name| convert::text_at(table, name).ok().flatten();
        let text = text_at("err").unwrap_or_else(|| b"ERR unknown error".to_vec());
        let line = match table.raw_get("line").ok() {
            Some(Value::Number(line)) => Some(line as i64),
            Some(Value::Integer(line)) => Some(line),
            _ => None,
        };
        let error = match (text_at("source"), line) {
            (Some(source), Some(line)) => error::script_failed(&text, name, Some(&Place { source, line })),
            _ => Error::made(text),
        };
        if !convert::is_counted(table) {
            return Err(error);
        }
        reply.error(error.text());
        self.note_failure(args);
        Ok(())
    }
}
