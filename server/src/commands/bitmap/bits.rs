//! Single bits and ranges of them: SETBIT, GETBIT, BITCOUNT, BITPOS.

use std::ops::Range;

use larder_protocol::{Args, Reply};
use larder_storage::value::Value;

use super::super::command::*;
use super::super::parse::{integer, integer_or, is};
use super::super::string_edit::{Before, grow, repeat};
use super::bit_offset;
use crate::bits::{count_range, find};
use crate::config::KeyspaceEvents as Class;
use crate::error::{BIT_TO_FIND, Error, NOT_A_BIT, Outcome, SYNTAX, WRONG_TYPE};
use crate::locked::Locked;

pub(super) const SETBIT: Command = Command::write("SETBIT", Arity::exactly(3), &[key(1, RW | ACCESS | UPDATE)], setbit)
    .flags(DENYOOM)
    .group(Group::Bitmap)
    .syntax("key offset value")
    .since("2.2.0")
    .complexity("O(1)")
    .summary("Sets or clears a bit of a string, made longer with zeros if need be; answers what the bit was.")
    .examples(&[
        ("SETBIT seen 7 1", "(integer) 0"),
        ("SETBIT seen 7 0", "(integer) 1"),
        ("GET seen", "\"\\x00\""),
        ("SETBIT seen 7 2", "(error) ERR bit is not an integer or out of range"),
    ]);

pub(super) const GETBIT: Command = Command::read("GETBIT", Arity::exactly(2), &[key(1, RO | ACCESS)], getbit)
    .flags(FAST)
    .group(Group::Bitmap)
    .syntax("key offset")
    .since("2.2.0")
    .complexity("O(1)")
    .summary("Answers a bit of a string, 0 beyond its end.")
    .examples(&[("SET letter a", "OK"), ("GETBIT letter 1", "(integer) 1"), ("GETBIT letter 100", "(integer) 0")]);

pub(super) const BITCOUNT: Command = Command::read("BITCOUNT", Arity::at_least(1), &[key(1, RO | ACCESS)], bitcount)
    .group(Group::Bitmap)
    .syntax("key [start end [BYTE | BIT]]")
    .since("2.6.0")
    .complexity("O(N), N being the length of the range")
    .summary("Counts the set bits of a string, or of a range of its bytes or bits.")
    .examples(&[
        ("SET word foobar", "OK"),
        ("BITCOUNT word", "(integer) 26"),
        ("BITCOUNT word 1 1", "(integer) 6"),
        ("BITCOUNT word 5 30 BIT", "(integer) 17"),
        ("BITCOUNT word 1", "(error) ERR syntax error"),
    ]);

pub(super) const BITPOS: Command = Command::read("BITPOS", Arity::at_least(2), &[key(1, RO | ACCESS)], bitpos)
    .group(Group::Bitmap)
    .syntax("key bit [start [end [BYTE | BIT]]]")
    .since("2.8.7")
    .complexity("O(N), N being the length of the range")
    .summary("Answers the place of the first bit that is set, or clear, in a string or in a range of it.")
    .examples(&[
        ("SET mask \"\\xff\\xf0\\x00\"", "OK"),
        ("BITPOS mask 0", "(integer) 12"),
        ("BITPOS mask 1 2", "(integer) -1"),
        ("BITPOS mask 0 0 11 BIT", "(integer) -1"),
    ]);

/// What SETBIT finds.
#[derive(Default)]
struct Found {
    bit: bool,
    /// The string holds the bit, and is a raw one already.
    stays_in_place: bool,
}

fn setbit(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let offset = bit_offset(locked, args.at(2))?;
    let bit = match integer_or(args.at(3), NOT_A_BIT)? {
        0 => false,
        1 => true,
        _ => return Err(NOT_A_BIT),
    };
    let key = args.at(1);
    let byte = (offset / 8) as usize;
    let found = match locked.look(key).map(|entry| entry.value()) {
        None => Found::default(),
        Some(Value::Str { bytes, raw }) => found_in(bytes, raw, offset),
        Some(Value::Big(string)) => found_in(string.bytes(), true, offset),
        Some(Value::Int(number)) => found_in(itoa::Buffer::new().format(number).as_bytes(), false, offset),
        Some(_) => return Err(WRONG_TYPE),
    };
    let set = |bytes: &mut [u8]| {
        let mask = 0x80 >> (offset % 8);
        bytes[byte] = if bit { bytes[byte] | mask } else { bytes[byte] & !mask };
    };
    let mut grown = false;
    if !found.stays_in_place {
        let before = Before::of(locked, key)?.unwrap_or_default();
        grown = before.len() <= byte;
        before.change(locked, key, |string| {
            grow(string, byte + 1);
            set(string);
        })?;
    } else if found.bit != bit {
        locked.edit_string(key, set);
    }
    if grown || found.bit != bit {
        locked.changed(Class::STRING, "setbit", key);
    } else if !found.stays_in_place {
        repeat(locked, args);
    }
    reply.int(found.bit.into());
    Ok(())
}

fn found_in(bytes: &[u8], raw: bool, offset: u64) -> Found {
    Found { bit: bit_at(bytes, offset), stays_in_place: raw && offset / 8 < bytes.len() as u64 }
}

/// A bit of a string, clear beyond its end.
fn bit_at(bytes: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8).ok().and_then(|byte| bytes.get(byte));
    byte.is_some_and(|byte| byte >> (7 - offset % 8) & 1 == 1)
}

fn getbit(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let offset = bit_offset(locked, args.at(2))?;
    let bit = locked.read_string(args.at(1))?.is_some_and(|mut text| bit_at(text.bytes(), offset));
    reply.int(bit.into());
    Ok(())
}

/// A range in bytes or bits, as the arguments give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: i64,
    /// The last byte or bit.
    end: Option<i64>,
    in_bits: bool,
}

impl Span {
    const WHOLE: Self = Self { start: 0, end: None, in_bits: false };

    /// Reads a start, an end and a unit, which BITPOS looks at before the end.
    fn parse(args: Args<'_>, unit_first: bool) -> Result<Self, Error> {
        let Some(start) = args.get(0) else { return Ok(Self::WHOLE) };
        let start = integer(start)?;
        let end = || args.get(1).map(integer).transpose();
        let unit = || match args.get(2) {
            None => Ok(false),
            Some(unit) if is(unit, "BIT") => Ok(true),
            Some(unit) if is(unit, "BYTE") => Ok(false),
            Some(_) => Err(SYNTAX),
        };
        let (end, in_bits) = if unit_first {
            let in_bits = unit()?;
            (end()?, in_bits)
        } else {
            (end()?, unit()?)
        };
        Ok(Self { start, end, in_bits })
    }

    /// The bits meant in a string of `len` bytes.
    fn bits(self, len: usize) -> Range<usize> {
        let unit = if self.in_bits { 1 } else { 8 };
        let total = (len * 8 / unit) as i64;
        let from_front = |at: i64| if at < 0 { at.saturating_add(total).max(0) } else { at };
        let start = from_front(self.start);
        let end = self.end.map_or(total - 1, from_front).min(total - 1);
        if start > end { 0..0 } else { start as usize * unit..(end as usize + 1) * unit }
    }

    /// Whether it is given backwards and from the end; then it is empty, though cut to a short string it may not be.
    fn is_backwards(self) -> bool {
        self.start < 0 && self.end.is_some_and(|end| end < 0 && self.start > end)
    }
}

fn bitcount(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let span = match args.len() {
        2 | 4 | 5 => Span::parse(args.from(2), false)?,
        _ => return Err(SYNTAX),
    };
    let count = match locked.read_string(args.at(1))? {
        Some(mut text) if !span.is_backwards() => {
            let bytes = text.bytes();
            count_range(bytes, span.bits(bytes.len()))
        }
        _ => 0,
    };
    reply.int(count as i64);
    Ok(())
}

fn bitpos(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let wanted = match integer(args.at(2))? {
        0 => false,
        1 => true,
        _ => return Err(BIT_TO_FIND),
    };
    if args.len() > 6 {
        return Err(SYNTAX);
    }
    let span = Span::parse(args.from(3), true)?;
    let Some(mut text) = locked.read_string(args.at(1))? else {
        reply.int(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let bits = span.bits(text.len());
    let found = find(text.bytes(), wanted, bits.clone());
    // Without an end the string counts as if zeros followed it.
    let beyond = (!wanted && span.end.is_none() && !bits.is_empty()).then_some(bits.end);
    reply.int(found.or(beyond).map_or(-1, |at| at as i64));
    Ok(())
}

#[cfg(test)]
mod tests {
    use larder_protocol::OwnedArgs;

    use super::*;

    #[track_caller]
    fn check(words: &str, len: usize, expected: Range<usize>) {
        let words: Vec<&[u8]> = words.split_whitespace().map(str::as_bytes).collect();
        let span = Span::parse(OwnedArgs::from_slices(&words).as_args(), false).unwrap();
        assert_eq!(span.bits(len), expected, "{span:?}");
    }

    #[test]
    fn ranges_are_cut_to_the_string() {
        check("", 3, 0..24);
        check("1", 3, 8..24);
        check("0 -1", 3, 0..24);
        check("-2 100", 3, 8..24);
        check("-100 -100", 3, 0..8);
        check("2 1", 3, 0..0);
        check("0 0", 0, 0..0);
        check("5 9 BIT", 3, 5..10);
        check("-3 -1 bit", 3, 21..24);
        check("1 1 byte", 3, 8..16);
        check("-9223372036854775808 9223372036854775807", 3, 0..24);
        check("9223372036854775807 -9223372036854775808", 3, 0..0);
    }

    #[test]
    fn the_unit_is_read_before_or_after_the_end() {
        let words = OwnedArgs::from_slices(&[b"0", b"x", b"y"]);
        assert_eq!(Span::parse(words.as_args(), true), Err(SYNTAX));
        assert_eq!(Span::parse(words.as_args(), false), Err(crate::error::NOT_AN_INTEGER));
    }
}
