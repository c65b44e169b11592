//! All rows, and how a command's name finds its row.

use std::collections::HashMap;
use std::sync::LazyLock;

use larder_protocol::Args;

use super::command::{Command, FAST, SUBCOMMANDS};
use crate::error::{self, Error};

/// The longest name, in bytes.
const NAME_BYTES: usize = 24;
/// Places of the look-up table; a power of two, a few times the number of commands.
const PLACES: usize = 2048;

/// All rows with their look-up; made once from constants, so it holds no engine's state.
pub(crate) static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// See the module's page.
pub(crate) struct Table {
    rows: Vec<&'static Command>,
    /// By row: whether it takes so little time that reading the clock twice would show.
    quick: Vec<bool>,
    /// Folded names of commands (not of subcommands), by hash, with linear probing.
    places: Vec<([u64; 3], u16)>,
    subcommands: HashMap<Vec<u8>, u16>,
}

/// A name in capitals, padded with zeros; `None` when it is too long for any command, or ends as the padding does.
#[inline]
fn fold(name: &[u8]) -> Option<[u64; 3]> {
    if name.len() > NAME_BYTES || name.last() == Some(&0) {
        return None;
    }
    let mut bytes = [0; NAME_BYTES];
    for (to, from) in bytes.iter_mut().zip(name) {
        *to = from.to_ascii_uppercase();
    }
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(word)
    };
    Some([word(0), word(8), word(16)])
}

#[inline]
fn place(folded: &[u64; 3]) -> usize {
    let mixed = folded[0] ^ folded[1].rotate_left(23) ^ folded[2].rotate_left(47);
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - PLACES.ilog2())) as usize
}

impl Table {
    fn new() -> Self {
        let rows: Vec<&'static Command> = super::FAMILIES.iter().flat_map(|family| family.iter()).collect();
        let mut places = vec![([0; 3], u16::MAX); PLACES];
        let mut subcommands = HashMap::new();
        for (number, row) in rows.iter().enumerate() {
            if row.name.contains('|') {
                subcommands.insert(row.name.as_bytes().to_vec(), number as u16);
            } else if let Some(folded) = fold(row.name.as_bytes()) {
                let mut at = place(&folded);
                while places[at].1 != u16::MAX {
                    at = (at + 1) % PLACES;
                }
                places[at] = (folded, number as u16);
            }
        }
        let quick = rows.iter().map(|row| row.has(FAST) || row.complexity == "O(1)").collect();
        Self { rows, quick, places, subcommands }
    }

    /// The number of the row with this name, whatever its case.
    #[inline]
    pub(crate) fn number(&self, name: &[u8]) -> Option<u16> {
        let folded = fold(name)?;
        let mut at = place(&folded);
        loop {
            let (known, number) = self.places[at];
            if known == folded && number != u16::MAX {
                return Some(number);
            }
            if number == u16::MAX {
                return None;
            }
            at = (at + 1) % PLACES;
        }
    }

    /// The row that a call means, a subcommand's if it is one, with the error of a call that means none.
    #[inline]
    pub(crate) fn find(&self, args: Args<'_>) -> Result<u16, Error> {
        let number = self.number(&args[0]).ok_or_else(|| error::unknown_command(args))?;
        if self.row(number).has(SUBCOMMANDS) && args.len() > 1 {
            return self.subcommand(self.row(number), &args[1]);
        }
        Ok(number)
    }

    #[cold]
    fn subcommand(&self, container: &Command, name: &[u8]) -> Result<u16, Error> {
        let full = [container.name.as_bytes(), b"|", &name.to_ascii_uppercase()].concat();
        self.subcommands.get(&full).copied().ok_or_else(|| error::unknown_subcommand(container.name, name))
    }

    /// The row with a full name such as `config|get`, whatever its case.
    pub(crate) fn by_full_name(&self, name: &[u8]) -> Option<u16> {
        self.number(name).or_else(|| self.subcommands.get(&name.to_ascii_uppercase()).copied())
    }

    /// Whether a row's commands are timed by samples only.
    #[inline]
    pub(crate) fn is_quick(&self, number: u16) -> bool {
        self.quick[number as usize]
    }

    /// A row by its number.
    #[inline]
    pub(crate) fn row(&self, number: u16) -> &'static Command {
        self.rows[number as usize]
    }

    /// All rows, by number.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'static Command> + '_ {
        self.rows.iter().copied()
    }

    /// The subcommands of a container, by number.
    pub(crate) fn subcommands_of<'a>(
        &'a self,
        container: &'a str,
    ) -> impl Iterator<Item = (u16, &'static Command)> + 'a {
        let belongs = move |row: &Command| row.name.strip_prefix(container).is_some_and(|rest| rest.starts_with('|'));
        self.rows.iter().enumerate().filter(move |(_, row)| belongs(row)).map(|(number, row)| (number as u16, *row))
    }
}
