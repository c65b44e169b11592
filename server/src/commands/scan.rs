//! Rows to come.

use super::command::Command;

pub(super) const COMMANDS: &[Command] = &[];
