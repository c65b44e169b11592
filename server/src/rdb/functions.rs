//! Libraries of functions as they stand in a payload of FUNCTION DUMP: each is a byte that says so, and its code as a string.

use super::encode::string;
use super::reader::Reader;
use crate::error::{Error, FUNCTIONS_OF_OLD_FORMAT, LIBRARY_PAYLOAD, NOT_A_FUNCTION};

/// Announces a library.
const LIBRARY: u8 = 245;
/// The same, in versions before the first release of Redis 7.0.
const LIBRARY_BEFORE_RELEASE: u8 = 246;

/// Appends a library.
pub(crate) fn encode_library(code: &[u8], out: &mut Vec<u8>) {
    out.push(LIBRARY);
    string(out, code);
}

/// Libraries in what an opened payload holds.
pub(crate) struct Functions<'a>(Reader<'a>);

impl<'a> Functions<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Reader::new(bytes))
    }

    /// The code of the next library, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        match self.0.byte() {
            Err(_) => Ok(None),
            Ok(LIBRARY) => self.0.string().map(|code| Some(code.to_vec())).map_err(|_| LIBRARY_PAYLOAD),
            Ok(LIBRARY_BEFORE_RELEASE) => Err(FUNCTIONS_OF_OLD_FORMAT),
            Ok(_) => Err(NOT_A_FUNCTION),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        encode_library(b"#!lua name=a", &mut bytes);
        encode_library(b"5", &mut bytes);
        let mut read = Functions::new(&bytes);
        assert_eq!(read.next().unwrap().as_deref(), Some(&b"#!lua name=a"[..]));
        assert_eq!(read.next().unwrap().as_deref(), Some(&b"5"[..]));
        assert_eq!(read.next().unwrap(), None);
        for (bytes, error) in [
            (&[0xf5_u8, 5, b'a'][..], LIBRARY_PAYLOAD),
            (&[0xf6, 1, b'a'], FUNCTIONS_OF_OLD_FORMAT),
            (&[0, 1, b'a'], NOT_A_FUNCTION),
        ] {
            assert_eq!(Functions::new(bytes).next(), Err(error));
        }
    }
}
