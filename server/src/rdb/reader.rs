//! The parts that RDB values are made of: lengths and strings, from bytes that may be anything.

use std::ops::Deref;

use larder_storage::types::Full;
use larder_storage::types::pack::Element;
use larder_storage::types::text::Text;

use super::lzf;
use crate::error::{BAD_DATA_FORMAT, Error, OUT_OF_MEMORY};

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes are no value.
    Malformed,
    /// There is no room for it.
    Full,
}

impl From<Full> for Fault {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed => BAD_DATA_FORMAT,
            Fault::Full => OUT_OF_MEMORY,
        }
    }
}

/// What is left to be read.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Packed pieces that were checked.
    pub(super) checked: u64,
}

/// A string as it is read.
pub(crate) enum Str<'a> {
    /// One that stands in what is read, or an integer.
    Text(Text<'a>),
    /// One that was compressed.
    Unpacked(Vec<u8>),
}

impl Deref for Str<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Text(text) => text,
            Self::Unpacked(bytes) => bytes,
        }
    }
}

/// A length, or in its place the way in which a string is encoded.
enum Length {
    Bytes(u64),
    Encoded(u8),
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, checked: 0 }
    }

    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], Fault> {
        let count = usize::try_from(count).map_err(|_| Fault::Malformed)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Fault::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Fault::Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// A little-endian number, such as a time in milliseconds.
    pub(super) fn number(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    fn length_or_encoding(&mut self) -> Result<Length, Fault> {
        let first = self.byte()?;
        let low = first & 0x3f;
        Ok(match (first >> 6, first) {
            (0, _) => Length::Bytes(low.into()),
            (1, _) => Length::Bytes(u16::from_be_bytes([low, self.byte()?]).into()),
            (3, _) => Length::Encoded(low),
            (_, 0x80) => Length::Bytes(u32::from_be_bytes(self.array()?).into()),
            (_, 0x81) => Length::Bytes(u64::from_be_bytes(self.array()?)),
            _ => return Err(Fault::Malformed),
        })
    }

    /// A length or another number that is stored like one. It may say anything: whoever reads so many elements ends
    /// with the bytes, of which each element takes one at least, and sets no memory aside for them.
    pub(super) fn length(&mut self) -> Result<u64, Fault> {
        match self.length_or_encoding()? {
            Length::Bytes(length) => Ok(length),
            Length::Encoded(_) => Err(Fault::Malformed),
        }
    }

    pub(super) fn string(&mut self) -> Result<Str<'a>, Fault> {
        let integer = |number| Ok(Str::Text(Element::Int(number).into()));
        match self.length_or_encoding()? {
            Length::Bytes(length) => Ok(Str::Text(Text::Borrowed(self.take(length)?))),
            Length::Encoded(0) => integer(i8::from_le_bytes(self.array()?).into()),
            Length::Encoded(1) => integer(i16::from_le_bytes(self.array()?).into()),
            Length::Encoded(2) => integer(i32::from_le_bytes(self.array()?).into()),
            Length::Encoded(3) => {
                let (compressed, length) = (self.length()?, self.length()?);
                lzf::decompress(self.take(compressed)?, length).map(Str::Unpacked).ok_or(Fault::Malformed)
            }
            Length::Encoded(_) => Err(Fault::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_width_are_read() {
        let lengths: &[(&[u8], u64)] = &[
            (&[0x3f], 63),
            (&[0x7f, 0xff], 16_383),
            (&[0x80, 0, 1, 0, 0], 65_536),
            (&[0x81, 1, 0, 0, 0, 0, 0, 0, 0], 1 << 56),
        ];
        for (bytes, length) in lengths {
            assert_eq!(Reader::new(bytes).length(), Ok(*length));
            for cut in 0..bytes.len() {
                assert_eq!(Reader::new(&bytes[..cut]).length(), Err(Fault::Malformed));
            }
        }
        for bytes in [0x82, 0xbf, 0xc0] {
            assert_eq!(Reader::new(&[bytes, 0, 0, 0, 0, 0, 0, 0, 0]).length(), Err(Fault::Malformed));
        }
    }

    #[test]
    fn integers_and_bytes_are_strings() {
        let text = |bytes: &[u8]| Reader::new(bytes).string().map(|text| text.to_vec());
        assert_eq!(text(&[0xc0, 0xff]), Ok(b"-1".to_vec()));
        assert_eq!(text(&[0xc1, 0, 0x80]), Ok(b"-32768".to_vec()));
        assert_eq!(text(&[0xc2, 0xff, 0xff, 0xff, 0x7f]), Ok(b"2147483647".to_vec()));
        assert_eq!(text(&[3, b'a', b'b', b'c', b'd']), Ok(b"abc".to_vec()));
        assert_eq!(text(&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Err(Fault::Malformed));
        assert_eq!(text(&[0xc4, 1]), Err(Fault::Malformed));
    }
}
