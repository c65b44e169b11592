//! Commands that a script calls: refused or run through their rows, on the shards of the script.

use std::io::IoSlice;

use larder_protocol::{OwnedArgs, Proto, Reply, Value as Frame};
use larder_storage::keyspace::ShardSet;
use omnilua::{Error as LuaError, Lua, Value};

use super::control::Control;
use super::convert::{arguments, error, to_lua};
use crate::acl::denial;
use crate::commands::command::{Command, DENYOOM, MAY_REPLICATE, NOSCRIPT, Run, WRITE};
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
    /// The replies' version: 2, unless the script asks for 3.
    pub(super) proto: Proto,
}

impl Calls<'_, '_> {
    /// What the prelude asks for: a call (0), another version of replies (1), whether a call would be allowed (2). Gives
    /// whether the value is to be raised as an error, and the value.
    pub(super) fn dispatch(
        &mut self,
        lua: &Lua,
        what: Option<u8>,
        values: &[Value],
    ) -> Result<(bool, Value), LuaError> {
        let (what, values) = match (what, values) {
            (Some(what), values) => (what, values),
            (None, [what, values @ ..]) => (number(what) as u8, values),
            (None, []) => return Ok((false, Value::Nil)),
        };
        if what == 1 {
            let is_3 = values.first().is_some_and(|version| number(version) == 3.0);
            self.proto = if is_3 { Proto::Resp3 } else { Proto::Resp2 };
            return Ok((false, Value::Nil));
        }
        if values.is_empty() {
            return refused(lua, &error::SCRIPT_CALL_EMPTY, false);
        }
        let Some(words) = arguments(values) else { return refused(lua, &error::SCRIPT_CALL_TYPES, false) };
        let slices: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let Some(args) = OwnedArgs::try_from_slices(&slices) else {
            return refused(lua, &error::SCRIPT_CALL_TYPES, false);
        };
        if what == 2 {
            let Ok(row) = TABLE.find(args.as_args()) else { return refused(lua, &error::SCRIPT_ACL_UNKNOWN, false) };
            let allowed = self.session.login.rules().check(row, args.as_args()).is_ok();
            return Ok((false, Value::Boolean(allowed)));
        }
        match self.admit(&args) {
            Ok(row) => {
                let frame = self.run(row, &args);
                let failed = matches!(frame, Frame::Error(_) | Frame::BulkError(_));
                Ok((failed, to_lua(lua, &frame, self.proto == Proto::Resp3)?))
            }
            Err(error) => {
                self.engine.stats().error(error.code());
                self.session.stats.counters.errors.add(1);
                refused(lua, &error, true)
            }
        }
    }

    /// The row of a call that may run; reasons to refuse it are in Redis's order.
    fn admit(&mut self, args: &OwnedArgs) -> Result<u16, Error> {
        let row = TABLE.find(args.as_args()).map_err(|_| error::SCRIPT_CALL_UNKNOWN)?;
        let command = TABLE.row(row);
        let refused = match command.arity.allows(args.as_args().len()) {
            true => self.refuse(row, command, args),
            false => Err(error::SCRIPT_CALL_ARITY),
        };
        if refused.is_err() {
            self.session.stats.row(row).rejected.add(1);
        }
        refused.map(|()| row)
    }

    fn refuse(&mut self, row: u16, command: &Command, args: &OwnedArgs) -> Result<(), Error> {
        if command.has(NOSCRIPT) || matches!(command.run, Run::Script(_)) {
            return Err(error::SCRIPT_CALL_FORBIDDEN);
        }
        denial::check_in_script(self.engine, self.session, row, args.as_args())?;
        if self.permissions.read_only && command.flags & (WRITE | MAY_REPLICATE) != 0 {
            return Err(error::SCRIPT_READ_ONLY);
        }
        if self.permissions.short_of_memory && command.has(DENYOOM) && !self.control.has_written() {
            return Err(error::OUT_OF_MEMORY);
        }
        if command.flags & (WRITE | MAY_REPLICATE) != 0 && !self.control.may_write() {
            return Err(error::SCRIPT_KILLED);
        }
        Ok(())
    }

    /// Runs a call; further shards are locked if it needs them.
    fn run(&mut self, row: u16, args: &OwnedArgs) -> Frame {
        let (command, keyspace) = (TABLE.row(row), self.engine.keyspace());
        let mut set = ShardSet::NONE;
        if matches!(command.run, Run::All(_)) {
            set = keyspace.all();
        } else {
            let mut own = ShardSet::NONE;
            // A call whose keys cannot be found answers an error and touches none.
            if command.each_key(args.as_args(), |_, key, _| own |= keyspace.set_of(keyspace.hash(key))).is_some() {
                set = own;
            }
        }
        self.locked.shards().extend(set);
        let mut reply = Reply::with_proto(self.proto);
        self.locked.rules = self.session.login.restrictions();
        self.session.is_script = true;
        self.locked.is_script = true;
        self.engine.run_queued(self.session, self.locked, row, args.as_args(), &mut reply);
        self.session.is_script = false;
        self.locked.is_script = false;
        read(reply)
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Number(number) => *number,
        Value::Integer(number) => *number as f64,
        _ => 0.0,
    }
}

fn refused(lua: &Lua, error: &Error, counted: bool) -> Result<(bool, Value), LuaError> {
    Ok((true, self::error(lua, error.text(), counted)?))
}

/// The frame that a command has written.
fn read(mut reply: Reply) -> Frame {
    let whole = match reply.as_slice() {
        Some(bytes) => Frame::read(bytes),
        None => Frame::read(&joined(&mut reply)),
    };
    match whole {
        Ok(Some((frame, _))) => frame,
        // A command that answers nothing.
        _ => Frame::Null,
    }
}

/// The bytes of a reply in several pieces.
fn joined(reply: &mut Reply) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(reply.len());
    while !reply.is_empty() {
        let mut slices = [IoSlice::new(&[]); 8];
        let count = reply.slices(&mut slices);
        let from = bytes.len();
        slices[..count].iter().for_each(|slice| bytes.extend_from_slice(slice));
        reply.advance(bytes.len() - from);
    }
    bytes
}
