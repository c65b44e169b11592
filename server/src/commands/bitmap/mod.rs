//! Strings as arrays of bits. Each command's row stands above its function:
//!
//! ```text
//! bits.rs       single bits, and ranges of them: SETBIT, GETBIT, BITCOUNT, BITPOS
//! combine.rs    BITOP
//! field.rs      integers of any width: BITFIELD, BITFIELD_RO
//! ```

use larder_protocol::parse_i64;

use super::command::Command;
use crate::error::{BIT_OFFSET, Error};
use crate::locked::Locked;

mod bits;
mod combine;
mod field;

pub(super) use field::only_reads;

pub(super) const COMMANDS: &[Command] =
    &[bits::SETBIT, bits::GETBIT, bits::BITCOUNT, bits::BITPOS, combine::BITOP, field::BITFIELD, field::BITFIELD_RO];

/// The number of a bit, within the longest string that there may be.
fn bit_offset(locked: &Locked<'_>, arg: &[u8]) -> Result<u64, Error> {
    let offset = parse_i64(arg).ok_or(BIT_OFFSET)?;
    within_limit(locked, offset)
}

fn within_limit(locked: &Locked<'_>, offset: i64) -> Result<u64, Error> {
    let limit = locked.engine().settings().proto_max_bulk_len.get();
    u64::try_from(offset).ok().filter(|offset| offset / 8 < limit).ok_or(BIT_OFFSET)
}
