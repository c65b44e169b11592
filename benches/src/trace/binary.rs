//! Binary traces, all little-endian.
//!
//! `CTR1`: that magic, a u32 of flags, a u64 count, and a u64 per request, the key's id. Where bit 0 of the flags is set a u32 per
//! request follows, the object's size.
//!
//! `oracleGeneral` of libCacheSim: per request a u32 time, a u64 id, a u32 size, and an i64, the number of the next request of the
//! same key, which is not used.

use std::io::BufRead;

use super::compressed::read_up_to;
use super::{Builder, Place, Problem, Reading};

/// The magic of `CTR1`.
pub const CTR1_MAGIC: &[u8] = b"CTR1";
const CTR1_HEADER_BYTES: usize = 16;
/// Bit of the flags: sizes follow the ids.
const HAS_SIZES: u32 = 1;
const ORACLE_RECORD_BYTES: usize = 24;

/// Reads `CTR1`.
///
/// # Errors
/// It is none, or does not have the length that it says.
pub fn read_ctr1(source: &mut dyn BufRead, builder: &mut Builder, _: &Reading) -> Result<(), Problem> {
    let mut header = [0; CTR1_HEADER_BYTES];
    if read_up_to(source, &mut header)? < header.len() || !header.starts_with(CTR1_MAGIC) {
        return Err(Problem::new("it does not begin with the header of CTR1"));
    }
    let flags = number::<4>(&header[4..]) as u32;
    let count = number::<8>(&header[8..]);
    let has_sizes = flags & HAS_SIZES != 0;
    let mut record = [0; 8];
    // Only what is there is allocated, whatever the header promises.
    let mut ids = Vec::new();
    for at in 0..count {
        exactly(source, &mut record, CTR1_HEADER_BYTES as u64 + at * 8)?;
        if has_sizes {
            ids.push(u64::from_le_bytes(record));
        } else {
            builder.push_number(u64::from_le_bytes(record), None)?;
        }
    }
    let mut place = CTR1_HEADER_BYTES as u64 + count.saturating_mul(8);
    for id in ids {
        exactly(source, &mut record[..4], place)?;
        builder.push_number(id, Some(number::<4>(&record) as u32))?;
        place += 4;
    }
    if source.fill_buf()?.is_empty() {
        Ok(())
    } else {
        Err(Problem::new("more than its header says").at(Place::Byte(place)))
    }
}

/// Reads `oracleGeneral`.
///
/// # Errors
/// Its last record is cut.
pub fn read_oracle(source: &mut dyn BufRead, builder: &mut Builder, _: &Reading) -> Result<(), Problem> {
    let mut record = [0; ORACLE_RECORD_BYTES];
    for at in 0.. {
        match read_up_to(source, &mut record)? {
            0 => break,
            ORACLE_RECORD_BYTES => {}
            _ => return Err(Problem::new("a record that is cut").at(Place::Byte(at * ORACLE_RECORD_BYTES as u64))),
        }
        builder.push_number(number::<8>(&record[4..]), Some(number::<4>(&record[12..]) as u32))?;
    }
    Ok(())
}

fn exactly(source: &mut dyn BufRead, buffer: &mut [u8], place: u64) -> Result<(), Problem> {
    if read_up_to(source, buffer)? == buffer.len() {
        Ok(())
    } else {
        Err(Problem::new("fewer requests than its header says").at(Place::Byte(place)))
    }
}

/// The number in the first `N` bytes, at most eight.
fn number<const N: usize>(bytes: &[u8]) -> u64 {
    bytes[..N].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Trace;

    type Read = fn(&mut dyn BufRead, &mut Builder, &Reading) -> Result<(), Problem>;

    fn read(read: Read, mut bytes: &[u8]) -> Result<Trace, String> {
        let mut builder = Builder::default();
        read(&mut bytes, &mut builder, &Reading::default()).map_err(|problem| problem.to_string())?;
        Ok(builder.build("t"))
    }

    fn ctr1(flags: u32, ids: &[u64]) -> Vec<u8> {
        let mut bytes = [CTR1_MAGIC, &flags.to_le_bytes(), &(ids.len() as u64).to_le_bytes()].concat();
        bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
        bytes
    }

    #[test]
    fn ctr1_has_sizes_or_none() {
        let trace = read(read_ctr1, &ctr1(0, &[90, 7, 90, u64::MAX])).unwrap();
        assert_eq!((trace.requests, trace.keys, trace.sizes), (vec![0, 1, 0, 2], 3, None));
        let mut bytes = ctr1(HAS_SIZES, &[5, 6]);
        assert_eq!(read(read_ctr1, &bytes).unwrap_err(), "byte 32: fewer requests than its header says");
        bytes.extend([1, 2, 0, 0, 7, 0, 0, 0]);
        assert_eq!(read(read_ctr1, &bytes).unwrap().sizes.as_deref(), Some(&[513, 7][..]));
    }

    #[test]
    fn what_is_no_ctr1_is_refused() {
        let whole = ctr1(0, &[1, 2, 3]);
        let error = |bytes: &[u8]| read(read_ctr1, bytes).unwrap_err();
        assert_eq!(error(&whole[..whole.len() - 1]), "byte 32: fewer requests than its header says");
        assert_eq!(error(&[whole.as_slice(), b"x"].concat()), "byte 40: more than its header says");
        assert_eq!(error(b"CTR1"), "it does not begin with the header of CTR1");
        assert_eq!(error(&[b"CTR2", &whole[4..]].concat()), "it does not begin with the header of CTR1");
        let promises = [CTR1_MAGIC, &[1, 0, 0, 0], &[0xff; 8]].concat();
        assert_eq!(error(&promises), "byte 16: fewer requests than its header says");
    }

    #[test]
    fn oracle_general_has_records_of_24_bytes() {
        let mut bytes = Vec::new();
        for (time, id, size) in [(1u32, 77u64, 4096u32), (2, 78, 10), (3, 77, 4096)] {
            bytes.extend(
                [&time.to_le_bytes()[..], &id.to_le_bytes(), &size.to_le_bytes(), &(-1i64).to_le_bytes()].concat(),
            );
        }
        let trace = read(read_oracle, &bytes).unwrap();
        assert_eq!((trace.requests, trace.sizes.as_deref()), (vec![0, 1, 0], Some(&[4096, 10][..])));
        assert_eq!(read(read_oracle, &bytes[..70]).unwrap_err(), "byte 48: a record that is cut");
        assert!(read(read_oracle, b"").unwrap().requests.is_empty());
    }
}
