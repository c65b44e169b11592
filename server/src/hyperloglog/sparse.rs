//! Registers as runs of equal ones:
//!
//! ```text
//! 00nnnnnn            n + 1 registers of 0
//! 01nnnnnn nnnnnnnn   n + 1 registers of 0, the high bits of n first
//! 1vvvvvnn            n + 1 registers of v + 1
//! ```
//!
//! One register is changed where it stands: its run is split, and equal neighbours are joined as far as Redis does,
//! so that the same elements in the same order leave the same bytes.

use std::fmt::Write;
use std::ops::Range;

use smallvec::SmallVec;

use super::{Corrupt, HEADER, REGISTERS, SPARSE_AT_MOST, outdate};

/// The greatest value that a run can have.
const MOST_VALUE: u8 = 32;
/// Registers of the longest run that is not of zeros.
const MOST_OF_VALUE: usize = 4;
/// Registers of the longest run of zeros in one byte.
const MOST_SHORT_ZEROS: usize = 64;

/// A run as it stands in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Op {
    value: u8,
    registers: usize,
    /// Bytes that it takes.
    len: usize,
}

impl Op {
    /// The one at a place that is within the bytes. Where the second byte is missing it counts as 0.
    fn read(bytes: &[u8], at: usize) -> Self {
        let byte = bytes[at];
        let low = usize::from(byte & 0x3f);
        match byte >> 6 {
            0 => Self { value: 0, registers: low + 1, len: 1 },
            1 => {
                let next = bytes.get(at + 1).copied().unwrap_or(0);
                Self { value: 0, registers: (low << 8 | usize::from(next)) + 1, len: 2 }
            }
            _ => Self { value: (byte >> 2 & 0x1f) + 1, registers: usize::from(byte & 3) + 1, len: 1 },
        }
    }

    /// Writes the same with another number of registers, if there are any.
    fn write(self, registers: usize, out: &mut impl Extend<u8>) {
        match registers {
            0 => {}
            _ if self.value > 0 => out.extend([value_byte(self.value, registers)]),
            1..=MOST_SHORT_ZEROS => out.extend([registers as u8 - 1]),
            _ => out.extend([0x40 | ((registers - 1) >> 8) as u8, (registers - 1) as u8]),
        }
    }
}

fn value_byte(value: u8, registers: usize) -> u8 {
    0x80 | (value - 1) << 2 | (registers as u8 - 1)
}

/// Appends registers of 0.
pub(super) fn push_zeros(hll: &mut Vec<u8>, registers: usize) {
    Op { value: 0, registers, len: 2 }.write(registers, hll);
}

/// Equal registers next to each other.
pub(super) struct Run {
    pub(super) first: usize,
    pub(super) registers: usize,
    pub(super) value: u8,
}

/// Shows the runs in order. They must make up all registers and no more; what was shown before that was seen not to be
/// so is within the registers.
pub(super) fn each_run(hll: &[u8], mut show: impl FnMut(Run)) -> Result<(), Corrupt> {
    let (mut at, mut first) = (HEADER, 0);
    while at < hll.len() {
        let Op { value, registers, len } = Op::read(hll, at);
        if first + registers > REGISTERS {
            return Err(Corrupt);
        }
        show(Run { first, registers, value });
        at += len;
        first += registers;
    }
    if first == REGISTERS { Ok(()) } else { Err(Corrupt) }
}

/// What became of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// It has that value or a greater one.
    No,
    Yes,
    /// It asks for the dense form.
    NoRoom,
}

/// Gives a register a value, if it has a lower one, and if the whole does not become longer than `limit`.
pub(super) fn raise(hll: &mut Vec<u8>, index: usize, value: u8, limit: usize) -> Result<Raised, Corrupt> {
    raise_after(hll, &mut Start::default(), index, value, limit)
}

/// Where to look for a register from.
#[derive(Clone, Copy)]
pub(super) struct Start {
    at: usize,
    first: usize,
}

impl Default for Start {
    fn default() -> Self {
        Self { at: HEADER, first: 0 }
    }
}

/// As [`raise`], for registers in ascending order: each is looked for from where the last one was found. That is two
/// runs before it, which no change of it moves, and which no later register is in.
pub(super) fn raise_after(
    hll: &mut Vec<u8>,
    start: &mut Start,
    index: usize,
    value: u8,
    limit: usize,
) -> Result<Raised, Corrupt> {
    if value > MOST_VALUE {
        return Ok(Raised::NoRoom);
    }
    if hll.len() > SPARSE_AT_MOST {
        return Err(Corrupt);
    }
    let Start { mut at, mut first } = *start;
    let mut before: Option<Start> = None;
    let op = loop {
        if at >= hll.len() {
            return Err(Corrupt);
        }
        let op = Op::read(hll, at);
        if index < first + op.registers {
            break op;
        }
        *start = before.unwrap_or(*start);
        before = Some(Start { at, first });
        at += op.len;
        first += op.registers;
    };
    if op.value >= value {
        return Ok(Raised::No);
    }
    let mut split = SmallVec::<[u8; 8]>::new();
    op.write(index - first, &mut split);
    split.push(value_byte(value, 1));
    op.write(first + op.registers - index - 1, &mut split);
    if split.len() > op.len && hll.len() + split.len() - op.len > limit {
        return Ok(Raised::NoRoom);
    }
    let end = (at + op.len).min(hll.len());
    let missing = at + op.len - end;
    replace(hll, at..end, &split);
    // Redis counts a missing second byte as replaced, and so loses the last byte of what replaces it.
    hll.truncate(hll.len() - missing);
    join(hll, before.map_or(HEADER, |before| before.at));
    outdate(hll);
    Ok(Raised::Yes)
}

/// Puts bytes in the place of others.
fn replace(hll: &mut Vec<u8>, place: Range<usize>, bytes: &[u8]) {
    let (len, end) = (hll.len(), place.start + bytes.len());
    hll.resize(len.max(len - place.len() + bytes.len()), 0);
    hll.copy_within(place.end..len, end);
    hll[place.start..end].copy_from_slice(bytes);
    hll.truncate(len - place.len() + bytes.len());
}

/// Joins neighbours of equal value. As Redis, it looks at five runs only, a joined one counting once more.
fn join(hll: &mut Vec<u8>, mut at: usize) {
    for _ in 0..5 {
        if at >= hll.len() {
            break;
        }
        let op = Op::read(hll, at);
        if op.value > 0 && at + 1 < hll.len() {
            let next = Op::read(hll, at + 1);
            let registers = op.registers + next.registers;
            if next.value == op.value && registers <= MOST_OF_VALUE {
                hll[at + 1] = value_byte(op.value, registers);
                hll.remove(at);
                continue;
            }
        }
        at += op.len;
    }
}

/// The runs as PFDEBUG DECODE shows them.
pub(crate) fn decode(hll: &[u8]) -> String {
    let mut text = String::new();
    let mut at = HEADER;
    while at < hll.len() {
        let Op { value, registers, len } = Op::read(hll, at);
        // Writing to a string cannot fail.
        let _ = match (value, len) {
            (0, 1) => write!(text, "z:{registers} "),
            (0, _) => write!(text, "Z:{registers} "),
            _ => write!(text, "v:{value},{registers} "),
        };
        at += len;
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raises: &[(usize, u8)], expected: &str) {
        let mut hll = super::super::empty();
        raises.iter().for_each(|(index, value)| {
            raise(&mut hll, *index, *value, usize::MAX).unwrap();
        });
        assert_eq!(decode(&hll), expected, "{raises:?}");
        let mut registers = vec![0; REGISTERS];
        each_run(&hll, |run| registers[run.first..run.first + run.registers].fill(run.value)).unwrap();
        for (index, register) in registers.iter().enumerate() {
            let most = raises.iter().filter(|raised| raised.0 == index).map(|raised| raised.1).max();
            assert_eq!(*register, most.unwrap_or(0));
        }
    }

    #[test]
    fn runs_are_split_and_joined() {
        check(&[], "Z:16384");
        check(&[(0, 1)], "v:1,1 Z:16383");
        check(&[(16_383, 32)], "Z:16383 v:32,1");
        check(&[(100, 2)], "Z:100 v:2,1 Z:16283");
        check(&[(64, 2)], "z:64 v:2,1 Z:16319");
        check(&[(64, 2), (65, 2), (66, 2), (67, 2), (68, 2)], "z:64 v:2,4 v:2,1 Z:16315");
        check(&[(64, 2), (65, 2), (66, 2), (65, 3)], "z:64 v:2,1 v:3,1 v:2,1 Z:16317");
        check(&[(5, 2), (7, 2), (6, 2)], "z:5 v:2,3 Z:16376");
        check(&[(5, 2), (5, 1), (5, 3)], "z:5 v:3,1 Z:16378");
    }

    #[test]
    fn ascending_registers_need_no_look_from_the_beginning() {
        let mut rng = larder_storage::rng::Rng::seeded(1);
        for _ in 0..300 {
            let mut hll = super::super::empty();
            let mut registers = || (rng.index(REGISTERS).min(rng.index(200)), 1 + rng.index(3) as u8);
            let some: Vec<(usize, u8)> = (0..100).map(|_| registers()).collect();
            for (index, value) in &some[..50] {
                raise(&mut hll, *index, *value, usize::MAX).unwrap();
            }
            let mut ascending = some[50..].to_vec();
            ascending.sort_unstable();
            ascending.dedup_by_key(|register| register.0);
            let (mut expected, mut start) = (hll.clone(), Start::default());
            for (index, value) in ascending {
                let raised = raise(&mut expected, index, value, usize::MAX);
                assert_eq!(raise_after(&mut hll, &mut start, index, value, usize::MAX), raised);
                assert_eq!(decode(&hll), decode(&expected));
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_left_to_the_dense_form() {
        let mut hll = super::super::empty();
        assert_eq!(raise(&mut hll, 5, 33, 1000), Ok(Raised::NoRoom));
        let len = hll.len();
        assert_eq!(raise(&mut hll, 5, 1, len + 1), Ok(Raised::NoRoom));
        assert_eq!(raise(&mut hll, 5, 1, len + 2), Ok(Raised::Yes));
        assert_eq!(raise(&mut hll, 5, 1, 0), Ok(Raised::No));
        assert_eq!(raise(&mut hll, 5, 2, 0), Ok(Raised::Yes));
    }
}
