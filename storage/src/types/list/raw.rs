//! The packed sequences of a list, for DUMP and RESTORE.

use super::chunks::Chunks;
use super::{List, ListRef, bound};
use crate::heap::{Movable, MovableBox};
use crate::types::Env;
use crate::types::pack::Pack;

impl<'a> ListRef<'a> {
    /// The number of sequences.
    pub fn packs_len(self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Chunks(chunks) => chunks.chunks(),
        }
    }

    /// The sequences, in order.
    pub fn packs(self) -> impl Iterator<Item = Pack<'a>> {
        let (one, many) = match self {
            Self::Packed(bytes) => (Some(Pack(bytes)), None),
            Self::Chunks(chunks) => (None, Some(chunks.packs())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// A list that is made sequence by sequence, from the left.
#[derive(Default)]
pub struct Builder {
    chunks: Chunks,
    /// Whether it stays large however little there is.
    stays_large: bool,
}

impl Builder {
    /// Adds the elements of a packed sequence, as one chunk if it is no larger than chunks may be.
    pub fn push_pack(&mut self, env: &Env<'_>, pack: Vec<u8>) {
        let bound = bound(env);
        if bound.fits(Pack(&pack).body().len(), Pack(&pack).len()) {
            self.chunks.push_pack(pack);
            return;
        }
        for element in Pack(&pack).iter() {
            self.chunks.push_back(bound, element.text(&mut itoa::Buffer::new()));
        }
    }

    /// Adds one element.
    pub fn push(&mut self, env: &Env<'_>, text: &[u8]) {
        self.chunks.push_back(bound(env), text);
    }

    /// Keeps the list in its large form, though it may be small.
    pub fn keep_large(&mut self) {
        self.stays_large = true;
    }

    /// The list; `None` if it has no element.
    pub fn finish(mut self, env: &Env<'_>) -> Option<List> {
        if self.chunks.len() == 0 {
            return None;
        }
        let packed = if self.stays_large { None } else { self.chunks.take_packed(bound(env)) };
        Some(packed.map_or_else(|| List::Chunks(MovableBox::new_in(self.chunks, Movable)), List::Packed))
    }
}
