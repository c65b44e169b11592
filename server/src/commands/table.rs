//! All rows, and how a command's name finds its row.

use std::collections::HashMap;
use std::sync::LazyLock;

use larder_protocol::Args;

use super::command::{Command, SUBCOMMANDS};
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
    /// Folded names of commands (not of subcommands), by hash, with linear probing.
    places: Vec<([u64; 3], u16)>,
    subcommands: HashMap<Vec<u8>, u16>,
}

/// The last command that was looked up: in a pipeline the next is often the same.
pub(crate) struct Recent {
    name: u64,
    len: usize,
    number: u16,
}

impl Default for Recent {
    fn default() -> Self {
        Self { name: 0, len: 0, number: u16::MAX }
    }
}

/// A name in capitals, padded with zeros; `None` when it is too long for any command.
#[inline]
fn fold(name: &[u8]) -> Option<[u64; 3]> {
    if name.len() <= 8 {
        return Some([capitals(word(name)), 0, 0]);
    }
    fold_long(name)
}

fn fold_long(name: &[u8]) -> Option<[u64; 3]> {
    let mut words = [0; 3];
    if name.len() > NAME_BYTES {
        return None;
    }
    for (to, from) in words.iter_mut().zip(name.chunks(8)) {
        *to = capitals(word(from));
    }
    Some(words)
}

/// Up to eight bytes as a little-endian word, padded with zeros: read as pieces that overlap.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    let four = |part: &[u8; 4]| u64::from(u32::from_le_bytes(*part));
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return four(first) | four(last) << (8 * (bytes.len() - 4));
    }
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return 0 };
    let (half, end) = (bytes.len() / 2, bytes.len() - 1);
    u64::from(*first) | u64::from(bytes[half]) << (8 * half) | u64::from(*last) << (8 * end)
}

/// Turns the small letters among eight bytes into capitals, all at once: adding brings a byte's top bit up where it
/// is at least `a`, or above `z`.
#[inline]
fn capitals(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const TOP: u64 = 0x80 * EACH;
    let low = word & !TOP;
    let from_a = low + (0x80 - u64::from(b'a')) * EACH;
    let above_z = low + (0x7f - u64::from(b'z')) * EACH;
    let small = (from_a ^ above_z) & !word & TOP;
    word - (small >> 2)
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
        Self { rows, places, subcommands }
    }

    /// The number of the row with this name, whatever its case.
    pub(crate) fn number(&self, name: &[u8]) -> Option<u16> {
        let folded = fold(name)?;
        let mut at = place(&folded);
        loop {
            let (known, number) = self.places[at];
            if known == folded && number != u16::MAX {
                // Zeros at the end of a name look like the padding.
                return (self.row(number).name.len() == name.len()).then_some(number);
            }
            if number == u16::MAX {
                return None;
            }
            at = (at + 1) % PLACES;
        }
    }

    /// As [`Table::number`], `u16::MAX` for none, trying the one looked up before first.
    #[inline]
    pub(crate) fn number_near(&self, name: &[u8], recent: &mut Recent) -> u16 {
        if name.len() > 8 {
            return self.number(name).unwrap_or(u16::MAX);
        }
        let (word, len) = (word(name), name.len());
        if word != recent.name || len != recent.len {
            *recent = Recent { name: word, len, number: self.number(name).unwrap_or(u16::MAX) };
        }
        recent.number
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

    /// A row by its number.
    #[inline]
    pub(crate) fn row(&self, number: u16) -> &'static Command {
        self.rows[number as usize]
    }

    /// A row by its number, if there is one: a command without a row has `u16::MAX`.
    #[inline]
    pub(crate) fn get(&self, number: u16) -> Option<&'static Command> {
        self.rows.get(number as usize).copied()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        for (number, row) in TABLE.rows().enumerate().filter(|(_, row)| !row.name.contains('|')) {
            assert_eq!(TABLE.number(row.name.as_bytes()), Some(number as u16), "{}", row.name);
            assert_eq!(TABLE.number(row.name.to_ascii_lowercase().as_bytes()), Some(number as u16), "{}", row.name);
        }
        let mut recent = Recent::default();
        assert_eq!(TABLE.number_near(b"", &mut recent), u16::MAX);
        assert_eq!(TABLE.number_near(b"get", &mut recent), TABLE.number(b"GET").unwrap());
        assert_eq!(TABLE.number_near(b"get\0", &mut recent), u16::MAX);
        for unknown in
            [&b""[..], b"G", b"GE", b"GETT", b"GET\0", b"\0", b"geT ", b"ZRANGEBYSCOREZ", &[b'x'; 25], &[0xc7; 3]]
        {
            assert_eq!(TABLE.number(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn only_small_letters_change() {
        for byte in 0..=255u8 {
            let expected = u64::from_le_bytes([byte.to_ascii_uppercase(); 8]);
            assert_eq!(capitals(u64::from_le_bytes([byte; 8])), expected, "{byte}");
            let mixed = [byte, b'a', 0xff, b'Z', byte, 0, b'z', byte];
            assert_eq!(capitals(u64::from_le_bytes(mixed)), u64::from_le_bytes(mixed.map(|b| b.to_ascii_uppercase())));
        }
        for len in 0..=8 {
            let mut padded = [0; 8];
            padded[..len].copy_from_slice(&b"abcdefgh"[..len]);
            assert_eq!(word(&padded[..len]), u64::from_le_bytes(padded), "{len}");
        }
    }
}
