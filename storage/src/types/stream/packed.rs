//! A stream as one byte string: its only node, if it has one, and behind that what is remembered beside it.
//!
//! ```text
//! node | numbers | bytes of the numbers (1)
//! ```
//!
//! The numbers are in LEB128: the node's key, then the first and the last id as distances from it, the highest deleted
//! id, the entries ever added and those that are there; an id is two of them. They stand at the end, where most changes
//! are. The empty string is the stream that never had an entry.

use super::id::StreamId;
use super::log::{Keep, Trim};
use super::node::{self, Bounds, NewEntry, Node};
use super::read::{Facts, LogRef, Nodes};
use crate::types::{leb128, pack};

/// What the byte string holds.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    pub(super) master: StreamId,
    pub(super) node: &'a [u8],
    pub(super) facts: Facts,
}

impl<'a> Packed<'a> {
    #[inline]
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        let Some((len, rest)) = bytes.split_last() else {
            return Self { master: StreamId::MIN, node: b"", facts: Facts::default() };
        };
        let (node, numbers) = rest.split_at(rest.len() - usize::from(*len));
        let mut at = 0;
        let mut next = || {
            let (number, end) = leb128::read(numbers, at);
            at = end;
            number
        };
        let master = StreamId::new(next(), next());
        let mut near = || master.at_distance(next() as i64, next() as i64);
        let (first_id, last_id) = (near(), near());
        let max_deleted_id = StreamId::new(next(), next());
        let facts = Facts { first_id, last_id, max_deleted_id, entries_added: next(), len: next() };
        Self { master, node, facts }
    }

    #[inline]
    pub(super) fn log(self) -> LogRef<'a> {
        let node = (!self.node.is_empty()).then_some((self.master, self.node));
        LogRef { nodes: Nodes::One(node), facts: self.facts }
    }

    /// Whether trimming leaves the node as it is, as far as that is told quickly. A node of deleted entries goes, too.
    pub(super) fn stays(self, trim: Trim) -> bool {
        match trim.keep {
            Keep::Newest(count) => self.facts.len <= count || trim.approximate && count > 0,
            Keep::From(id) => {
                let last = if self.node.is_empty() { None } else { Node::read(self.master, self.node).last_id() };
                last.is_none_or(|last| last >= id) && (trim.approximate || self.facts.first_id >= id)
            }
        }
    }
}

/// What stands behind a node.
struct Seal {
    bytes: [u8; 10 * leb128::LONGEST + 1],
    len: usize,
}

impl Seal {
    #[inline]
    fn of(master: StreamId, facts: &Facts) -> Self {
        let (first, last) = (master.distance(facts.first_id), master.distance(facts.last_id));
        let deleted = facts.max_deleted_id;
        let numbers = [
            (master.ms, master.seq),
            (first.0 as u64, first.1 as u64),
            (last.0 as u64, last.1 as u64),
            (deleted.ms, deleted.seq),
            (facts.entries_added, facts.len),
        ];
        let (mut bytes, mut len) = ([0; 10 * leb128::LONGEST + 1], 0);
        for number in numbers.into_iter().flat_map(|(one, other)| [one, other]) {
            len += leb128::write(number, &mut bytes[len..]);
        }
        bytes[len] = len as u8;
        Self { bytes, len: len + 1 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Adds what is remembered to a node, or to nothing.
#[inline]
fn seal(bytes: &mut Vec<u8>, master: StreamId, facts: &Facts) {
    let seal = Seal::of(master, facts);
    bytes.reserve_exact(seal.len);
    bytes.extend_from_slice(seal.bytes());
}

/// The byte string of a node, or of none, and what is remembered.
pub(super) fn sealed(node: &[u8], master: StreamId, facts: &Facts) -> Vec<u8> {
    [node, Seal::of(master, facts).bytes()].concat()
}

/// Adds an entry, whose id is above the last; false if the node is full.
#[inline]
pub(super) fn append(bytes: &mut Vec<u8>, bounds: Bounds, entry: &NewEntry<'_>) -> bool {
    let Packed { mut master, node, mut facts } = Packed::read(bytes);
    let len = node.len();
    bytes.truncate(len);
    let added = if len == 0 {
        master = entry.id;
        node::create(bytes, entry);
        true
    } else {
        node::append(master, bytes, entry, bounds)
    };
    if added {
        facts.note_added(entry.id);
    }
    seal(bytes, master, &facts);
    pack::tighten(bytes, bytes.len());
    added
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_numbers_are_kept(ids in any::<[u64; 8]>(), counts in any::<[u64; 2]>(), node in any::<Vec<u8>>()) {
            let id = |at: usize| StreamId::new(ids[2 * at], ids[2 * at + 1]);
            let (first_id, last_id, max_deleted_id) = (id(1), id(2), id(3));
            let facts = Facts { first_id, last_id, max_deleted_id, entries_added: counts[0], len: counts[1] };
            let mut bytes = node.clone();
            seal(&mut bytes, id(0), &facts);
            prop_assert_eq!(&bytes, &sealed(&node, id(0), &facts));
            let read = Packed::read(&bytes);
            prop_assert_eq!((read.master, read.node, read.facts), (id(0), &node[..], facts));
        }
    }
}
