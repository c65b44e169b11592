//! Strings with an allocation of their own, which replies share and which a client's read buffer may become.

use bytes::Bytes;

use super::{Env, Full};
use crate::heap::{Mover, Settle, Shared};

/// Bytes of a string that are freed as one.
const STRING_BLOCK: usize = 64 << 10;

/// A string whose bytes are reference-counted, so that a reply can send them without a copy.
#[derive(Default)]
pub struct BigStr {
    /// Holds the string, and nothing else but what came around it from a client.
    block: Shared,
    start: usize,
    len: usize,
}

impl From<Vec<u8>> for BigStr {
    fn from(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Self { block: bytes.into(), start: 0, len }
    }
}

impl AsRef<[u8]> for BigStr {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl BigStr {
    /// Copies `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }

    /// The string that stands at `bytes`, kept where it is; `None` if that is not within the block.
    pub fn within(block: &Shared, bytes: &[u8]) -> Option<Self> {
        let start = bytes.as_ptr().addr().checked_sub(block.as_ptr().addr())?;
        let is_inside = start.checked_add(bytes.len()).is_some_and(|end| end <= block.len());
        is_inside.then(|| Self { block: block.clone(), start, len: bytes.len() })
    }

    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.block[self.start..self.start + self.len]
    }

    /// The bytes, shared.
    pub fn shared(&self) -> Bytes {
        Bytes::from_owner(Self { block: self.block.clone(), ..*self })
    }

    /// Changes the bytes; copies them first only while a reply still holds them.
    pub fn change(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let end = self.start + self.len;
        match self.block.get_mut() {
            Some(own) => {
                own.truncate(end);
                own.drain(..self.start);
            }
            None => self.block = self.bytes().to_vec().into(),
        }
        if let Some(own) = self.block.get_mut() {
            change(own);
        }
        (self.start, self.len) = (0, self.block.len());
    }

    pub(crate) fn memory(&self) -> usize {
        self.block.capacity().next_multiple_of(16) + Shared::HEAD
    }

    pub(crate) fn packed(&self) -> Option<&[u8]> {
        None
    }

    pub(crate) fn into_packed(self) -> Vec<u8> {
        Vec::new()
    }

    /// Blocks that the system takes back.
    pub(crate) fn weight(&self) -> usize {
        1 + self.len / STRING_BLOCK
    }

    pub(crate) fn duplicate(&self, _: Env<'_>) -> Result<Self, Full> {
        Ok(Self::new(self.bytes()))
    }

    pub(crate) fn validate(&self) {
        assert!(self.start + self.len <= self.block.len(), "a string is within its block");
    }

    /// Shortens the string by so many blocks; true when nothing is left, or when a reply still holds it and will free
    /// it in the end.
    pub(crate) fn free_step(&mut self, blocks: usize) -> bool {
        let Some(own) = self.block.get_mut() else { return true };
        // The allocator gives the end of a large block back without moving the rest.
        own.truncate(own.len().saturating_sub(blocks.saturating_mul(STRING_BLOCK)));
        own.shrink_to_fit();
        self.start = self.start.min(own.len());
        self.len = own.len() - self.start;
        own.is_empty()
    }
}

impl Settle for BigStr {
    fn parts(&self) -> usize {
        1
    }

    fn settle(&mut self, _: usize, mover: &mut Mover) {
        self.block.settle(mover);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_string_is_freed_in_steps() {
        let mut string = BigStr::new(&vec![7; 10 * STRING_BLOCK + 1]);
        assert_eq!(string.weight(), 11);
        let steps = (0..).take_while(|_| !string.free_step(4)).count();
        assert_eq!(steps, 2);
        let mut shared = BigStr::new(&vec![7; 10 * STRING_BLOCK]);
        let reader = shared.shared();
        assert!(shared.free_step(1), "its reader frees it");
        drop(shared);
        assert_eq!(reader.len(), 10 * STRING_BLOCK);
    }

    #[test]
    fn a_string_is_copied_only_while_a_reader_holds_it() {
        let mut string = BigStr::new(&[7; 20_000]);
        let reader = string.shared();
        string.change(|bytes| bytes[0] = 1);
        assert_eq!((reader[0], string.bytes()[0]), (7, 1));
        let before = string.bytes().as_ptr();
        string.change(|bytes| bytes[1] = 2);
        assert_eq!(string.bytes().as_ptr(), before);
    }

    #[test]
    fn a_string_may_stay_where_a_client_sent_it() {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let block = Shared::from(b"$5\r\nhello\r\n".to_vec());
        let mut string = BigStr::within(&block, &block[4..9]).unwrap();
        assert_eq!(string.bytes().as_ptr(), block[4..].as_ptr());
        assert!(BigStr::within(&block, b"elsewhere").is_none());
        let reader = string.shared();
        string.change(|bytes| bytes.extend_from_slice(b"!"));
        assert_eq!(
            (text(string.bytes()), text(&reader), text(&block[..2])),
            ("hello!".into(), "hello".into(), "$5".into())
        );
        let mut alone = BigStr::within(&block, &block[4..9]).unwrap();
        drop((block, reader));
        let at = alone.bytes().as_ptr();
        alone.validate();
        alone.change(|bytes| bytes.push(b'?'));
        assert_eq!(text(alone.bytes()), "hello?");
        assert_eq!(alone.bytes().as_ptr(), at.wrapping_sub(4), "moved to the front of its block");
        while !alone.free_step(1) {
            alone.validate();
        }
    }
}
