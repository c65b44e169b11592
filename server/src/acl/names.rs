//! Names of commands in rules. Rules written for Redis may name commands that are not there: they are kept as they
//! stand, so that a configuration works unchanged, and allow or forbid nothing.

use crate::commands::command::SUBCOMMANDS;
use crate::commands::table::TABLE;
use crate::redis_commands;

/// What a name in a rule stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// The row; `None` where Redis has the command and this server has not.
    pub(crate) row: Option<u16>,
    /// Whether it is `container|subcommand`.
    pub(crate) is_subcommand: bool,
    /// Whether it has subcommands.
    pub(crate) has_subcommands: bool,
}

/// Finds a command by its full name, whatever its case.
pub(crate) fn find(name: &[u8]) -> Option<Named> {
    let is_subcommand = name.contains(&b'|');
    if let Some(number) = TABLE.by_full_name(name) {
        return Some(Named { row: Some(number), is_subcommand, has_subcommands: TABLE.row(number).has(SUBCOMMANDS) });
    }
    let mut known = redis_commands::FAMILIES.iter().flat_map(|(_, names)| names.split(' '));
    known.find(|known| name.eq_ignore_ascii_case(known.as_bytes())).map(|known| {
        let container = format!("{known}|");
        let mut all = redis_commands::FAMILIES.iter().flat_map(|(_, names)| names.split(' '));
        Named { row: None, is_subcommand, has_subcommands: all.any(|other| other.starts_with(&container)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_are_not_there_are_known_by_name() {
        for (name, is_subcommand) in [("Migrate", false), ("MODULE|load", true)] {
            let known = Named { row: None, is_subcommand, has_subcommands: false };
            assert_eq!(find(name.as_bytes()), Some(known), "{name}");
        }
        assert!(find(b"config|GET").is_some_and(|named| named.row.is_some() && named.is_subcommand));
        assert!(find(b"Config").is_some_and(|named| named.row.is_some() && named.has_subcommands));
        for unknown in [&b""[..], b"nosuch", b"config|nosuch", b"function|nosuch", b"get|x", b"config|get|x", b"|"] {
            assert_eq!(find(unknown), None, "{unknown:?}");
        }
    }
}
