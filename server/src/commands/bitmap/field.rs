//! Integers of any width inside a string: BITFIELD, BITFIELD_RO.

use larder_protocol::{Args, Reply, parse_i64};
use smallvec::SmallVec;

use super::super::command::*;
use super::super::parse::{integer, is};
use super::super::string_edit::{Before, form, grow, repeat};
use super::{bit_offset, within_limit};
use crate::bits::{field, set_field};
use crate::config::KeyspaceEvents as Class;
use crate::error::{BIT_OFFSET, BITFIELD_OVERFLOW, BITFIELD_RO_WRITES, BITFIELD_TYPE, Error, Outcome, SYNTAX};
use crate::locked::Locked;

pub(super) const BITFIELD: Command = Command::write(
    "BITFIELD",
    Arity::at_least(1),
    &[key(1, RW | ACCESS | UPDATE | VARIABLE).notes("This command allows both access and modification of the key")],
    bitfield,
)
.flags(DENYOOM)
.group(Group::Bitmap)
.syntax(
    "key [GET (encoding offset) | [OVERFLOW (WRAP | SAT | FAIL)] \
     (SET (encoding offset value) | INCRBY (encoding offset increment))]...",
)
.since("3.2.0")
.complexity("O(1) for each operation")
.summary("Reads, writes and increments integers of 1 to 64 bits anywhere in a string.")
.examples(&[
    ("BITFIELD player SET u8 #0 200 INCRBY u4 8 3", "1) (integer) 0\n2) (integer) 3"),
    ("BITFIELD player GET u8 0 GET i8 0", "1) (integer) 200\n2) (integer) -56"),
    ("BITFIELD player INCRBY u8 0 100", "1) (integer) 44"),
    ("BITFIELD player OVERFLOW SAT INCRBY u8 0 1000 OVERFLOW FAIL INCRBY u8 0 1", "1) (integer) 255\n2) (nil)"),
    (
        "BITFIELD player GET u64 0",
        "(error) ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
    ),
]);

pub(super) const BITFIELD_RO: Command =
    Command::read("BITFIELD_RO", Arity::at_least(1), &[key(1, RO | ACCESS)], bitfield_ro)
        .flags(FAST)
        .group(Group::Bitmap)
        .syntax("key [GET (encoding offset)]...")
        .since("6.0.0")
        .complexity("O(1) for each operation")
        .summary("Reads integers of 1 to 64 bits anywhere in a string.")
        .examples(&[
            ("SET pair \"\\x01\\x02\"", "OK"),
            ("BITFIELD_RO pair GET u8 #0 GET u8 #1", "1) (integer) 1\n2) (integer) 2"),
            ("BITFIELD_RO pair SET u8 0 1", "(error) ERR BITFIELD_RO only supports the GET subcommand"),
        ]);

/// An integer's form: its width in bits, and whether it has a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Encoding {
    width: u32,
    signed: bool,
}

impl Encoding {
    fn parse(arg: &[u8]) -> Result<Self, Error> {
        let (signed, most, digits) = match arg {
            [b'i', digits @ ..] => (true, 64, digits),
            [b'u', digits @ ..] => (false, 63, digits),
            _ => return Err(BITFIELD_TYPE),
        };
        // The width ends at a zero byte.
        let digits = digits.split(|byte| *byte == 0).next().unwrap_or_default();
        let width = parse_i64(digits).filter(|width| (1..=most).contains(width)).ok_or(BITFIELD_TYPE)?;
        Ok(Self { width: width as u32, signed })
    }

    fn read(self, bytes: &[u8], offset: u64) -> i64 {
        let value = field(bytes, offset, self.width);
        if self.signed { self.with_sign(value) } else { value as i64 }
    }

    /// The lowest bits as an integer with a sign.
    fn with_sign(self, bits: u64) -> i64 {
        let unused = u64::BITS - self.width;
        (bits << unused) as i64 >> unused
    }

    /// The least and the greatest value.
    fn range(self) -> (i128, i128) {
        if self.signed {
            let half = 1_i128 << (self.width - 1);
            (-half, half - 1)
        } else {
            (0, (1 << self.width) - 1)
        }
    }

    /// Whether a value is so far below the greatest that the difference is no 64-bit integer. Redis then takes it for too
    /// great, but for the widest fields.
    fn is_far_below(self, value: i64) -> bool {
        self.width < 64 && (self.range().1 as i64).checked_sub(value).is_none()
    }

    /// What becomes of a value that may be out of range; `None` if it is to be left.
    fn fit(self, exact: i128, overflow: Overflow) -> Option<i64> {
        let (least, greatest) = self.range();
        if (least..=greatest).contains(&exact) {
            return Some(exact as i64);
        }
        match overflow {
            Overflow::Wrap if self.signed => Some(self.with_sign(exact as u64)),
            Overflow::Wrap => Some((exact & greatest) as i64),
            Overflow::Saturate => Some(exact.clamp(least, greatest) as i64),
            Overflow::Fail => None,
        }
    }
}

/// What happens to a value that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

impl Overflow {
    fn parse(arg: &[u8]) -> Result<Self, Error> {
        match arg {
            word if is(word, "WRAP") => Ok(Self::Wrap),
            word if is(word, "SAT") => Ok(Self::Saturate),
            word if is(word, "FAIL") => Ok(Self::Fail),
            _ => Err(BITFIELD_OVERFLOW),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

/// One operation of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    encoding: Encoding,
    offset: u64,
    change: Change,
}

impl Step {
    /// Does it; gives its answer and whether the string is another now.
    fn run(self, bytes: &mut [u8]) -> (Option<i64>, bool) {
        let Self { encoding, offset, change } = self;
        let old = encoding.read(bytes, offset);
        let new = match change {
            Change::None => return (Some(old), false),
            // Without a sign a negative value is a great one.
            Change::Set(value, overflow) if !encoding.signed => encoding.fit((value as u64).into(), overflow),
            Change::Set(value, Overflow::Saturate) if encoding.is_far_below(value) => Some(encoding.range().1 as i64),
            Change::Set(value, overflow) => encoding.fit(value.into(), overflow),
            Change::Add(increment, overflow) => encoding.fit(i128::from(old) + i128::from(increment), overflow),
        };
        let Some(new) = new else { return (None, false) };
        set_field(bytes, offset, encoding.width, new as u64);
        (Some(if matches!(change, Change::Set(..)) { old } else { new }), new != old)
    }

    /// The length of a string that holds it.
    fn end(self) -> usize {
        ((self.offset + u64::from(self.encoding.width) - 1) / 8 + 1) as usize
    }
}

type Steps = SmallVec<[Step; 4]>;

fn parse(locked: &Locked<'_>, mut args: Args<'_>) -> Result<Steps, Error> {
    let mut steps = Steps::new();
    let mut overflow = Overflow::Wrap;
    while let Some(word) = args.get(0) {
        let rest = args.len() - 1;
        if is(word, "OVERFLOW") && rest >= 1 {
            overflow = Overflow::parse(args.at(1))?;
            args = args.from(2);
            continue;
        }
        let kind = match word {
            word if is(word, "GET") && rest >= 2 => Kind::Get,
            word if is(word, "SET") && rest >= 3 => Kind::Set,
            word if is(word, "INCRBY") && rest >= 3 => Kind::Add,
            _ => return Err(SYNTAX),
        };
        let encoding = Encoding::parse(args.at(1))?;
        let offset = field_offset(locked, args.at(2), encoding)?;
        let change = match kind {
            Kind::Get => Change::None,
            Kind::Set => Change::Set(integer(args.at(3))?, overflow),
            Kind::Add => Change::Add(integer(args.at(3))?, overflow),
        };
        steps.push(Step { encoding, offset, change });
        args = args.from(if kind == Kind::Get { 3 } else { 4 });
    }
    Ok(steps)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Get,
    Set,
    Add,
}

/// An offset in bits, or after `#` in fields of the same width, of which the product wraps as Redis's does.
fn field_offset(locked: &Locked<'_>, arg: &[u8], encoding: Encoding) -> Result<u64, Error> {
    let [b'#', number @ ..] = arg else { return bit_offset(locked, arg) };
    let number = parse_i64(number).ok_or(BIT_OFFSET)?;
    within_limit(locked, number.wrapping_mul(encoding.width.into()))
}

/// Whether a call of BITFIELD changes nothing, as far as its arguments can be read.
pub(in super::super) fn only_reads(call: Args<'_>) -> bool {
    let mut args = call.from(2);
    while let Some(word) = args.get(0) {
        let rest = args.len() - 1;
        args = match word {
            word if is(word, "GET") && rest >= 2 => args.from(3),
            word if is(word, "OVERFLOW") && rest >= 1 => args.from(2),
            _ => return false,
        };
    }
    true
}

fn bitfield(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let steps = parse(locked, args.from(2))?;
    let writes = steps.iter().filter(|step| step.change != Change::None);
    let Some(len) = writes.map(|step| step.end()).max() else {
        return read(locked, args.at(1), &steps, reply);
    };
    let key = args.at(1);
    let (is_raw, old_len) = form(locked, key)?;
    let grown = old_len < len;
    let mut changes = 0;
    let mut run = |string: &mut [u8]| {
        reply.array(steps.len());
        for step in &steps {
            let (answer, changed) = step.run(string);
            match answer {
                Some(value) => reply.int(value),
                None => reply.null(),
            }
            let is_written = answer.is_some() && step.change != Change::None;
            changes += u64::from(changed || (grown && is_written));
        }
    };
    if is_raw && !grown {
        locked.edit_string(key, run);
    } else {
        Before::of(locked, key)?.unwrap_or_default().change(locked, key, |string| {
            grow(string, len);
            run(string);
        })?;
    }
    if changes > 0 {
        locked.changed(Class::STRING, "setbit", key);
        locked.count_changes(changes - 1);
    } else if grown || !is_raw {
        repeat(locked, args);
    }
    Ok(())
}

fn bitfield_ro(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let steps = parse(locked, args.from(2))?;
    if steps.iter().any(|step| step.change != Change::None) {
        return Err(BITFIELD_RO_WRITES);
    }
    read(locked, args.at(1), &steps, reply)
}

/// Answers operations that only read.
fn read(locked: &mut Locked<'_>, key: &[u8], steps: &[Step], reply: &mut Reply) -> Outcome {
    let mut text = locked.read_string(key)?;
    let bytes = text.as_mut().map_or(&[][..], |text| text.bytes());
    reply.array(steps.len());
    steps.iter().for_each(|step| reply.int(step.encoding.read(bytes, step.offset)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(text: &str) -> Encoding {
        Encoding::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn encodings_have_a_sign_and_a_width() {
        assert_eq!(encoding("i64"), Encoding { width: 64, signed: true });
        assert_eq!(encoding("u1"), Encoding { width: 1, signed: false });
        for wrong in ["", "i", "u", "8", "i0", "i65", "u64", "u-1", "I8", "u 8", "u08"] {
            assert_eq!(Encoding::parse(wrong.as_bytes()), Err(BITFIELD_TYPE), "{wrong}");
        }
    }

    #[test]
    fn what_is_out_of_range_wraps_or_stops_or_fails() {
        let check = |text: &str, exact: i128, expected: [Option<i64>; 3]| {
            let overflows = [Overflow::Wrap, Overflow::Saturate, Overflow::Fail];
            assert_eq!(overflows.map(|overflow| encoding(text).fit(exact, overflow)), expected, "{exact} as {text}");
        };
        check("u8", 255, [Some(255); 3]);
        check("u8", 256, [Some(0), Some(255), None]);
        check("u8", -1, [Some(255), Some(0), None]);
        check("i8", 128, [Some(-128), Some(127), None]);
        check("i8", -129, [Some(127), Some(-128), None]);
        check("i64", i128::from(i64::MAX) + 1, [Some(i64::MIN), Some(i64::MAX), None]);
        check("i64", i128::from(i64::MIN) * 2, [Some(0), Some(i64::MIN), None]);
        check("u63", i128::from(i64::MAX) + 1, [Some(0), Some(i64::MAX), None]);
        check("i1", 1, [Some(-1), Some(0), None]);
    }
}
