//! Zipmaps, in which Redis before 2.6 kept its small hashes.
//!
//! ```text
//! fields (u8; 254: more) | field... | 0xff
//! field    length | name | length | unused (u8) | value | unused bytes       a length is a u8, or 254 and a u32
//! ```

use super::reader::{Fault, Reader};

const END: u8 = 0xff;
/// A length or a number that does not fit one byte.
const LONG: u8 = 254;

/// Shows each field's name and value.
pub(super) fn each(zipmap: &[u8], mut each: impl FnMut(&[u8], &[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
    let mut reader = Reader::new(zipmap);
    let (told, mut count) = (reader.byte()?, 0_u64);
    loop {
        let first = reader.byte()?;
        if first == END {
            break;
        }
        let len = length(&mut reader, first)?;
        let name = reader.take(len)?;
        let first = reader.byte()?;
        let len = length(&mut reader, first)?;
        let unused = reader.byte()?;
        let value = reader.take(len)?;
        reader.take(unused.into())?;
        each(name, value)?;
        count += 1;
    }
    let is_whole = reader.take(1).is_err();
    if is_whole && (told >= LONG || u64::from(told) == count) { Ok(()) } else { Err(Fault::Malformed) }
}

fn length(reader: &mut Reader<'_>, first: u8) -> Result<u64, Fault> {
    match first {
        END => Err(Fault::Malformed),
        LONG => reader.array().map(|len| u32::from_le_bytes(len).into()),
        len => Ok(len.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(zipmap: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
        let mut all = Vec::new();
        each(zipmap, |name, value| {
            all.extend([name.to_vec(), value.to_vec()]);
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn fields_are_read_and_gaps_left_out() {
        let map = b"\x02\x03foo\x03\x00bar\xfe\x05\x00\x00\x00hello\x02\x03hi...\xff";
        let expected = ["foo", "bar", "hello", "hi"].map(Vec::from);
        assert_eq!(read(map), Ok(expected.to_vec()));
        for cut in 0..map.len() {
            assert_eq!(read(&map[..cut]), Err(Fault::Malformed), "{cut}");
        }
        assert_eq!(read(b"\x03\x03foo\x03\x00bar\xff"), Err(Fault::Malformed));
        assert_eq!(read(b"\x00\xff."), Err(Fault::Malformed));
        assert_eq!(read(b"\x01\x03foo\xff\x00\xff"), Err(Fault::Malformed));
    }
}
