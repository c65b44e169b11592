//! The entries of a stream, and what is remembered of those that are gone.
//!
//! Invariants: nodes are keyed by the id of their first entry, deleted or not; keys ascend, and so do the ids of the
//! entries that are not deleted, over all nodes; `len` counts these, `first_id` is the first of them, 0-0 if there is none,
//! and none is above `last_id`.

use super::id::StreamId;
use super::node::{self, Bounds, NewEntry, Node};
use super::packed::{self, Packed};
use super::read::{Direction, Facts, LogRef, Nodes};
use super::shape;
use super::sorted::SortedMap;
use crate::heap::{self, Movable, MovableBox, MovableVec};

/// Entries in order; see the module's page.
pub struct Log {
    pub(super) nodes: SortedMap<StreamId, MovableVec<u8>>,
    /// What the nodes take.
    pub(super) node_bytes: usize,
    /// Nodes of Redis's tree.
    pub(super) shape: usize,
    pub(super) facts: Facts,
}

/// Which entries are trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The oldest, so that so many are left.
    Newest(u64),
    /// Those below an id.
    From(StreamId),
}

/// How a stream is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// What is left.
    pub keep: Keep,
    /// Whether only whole nodes are taken.
    pub approximate: bool,
    /// No more entries than that are taken; 0 is no limit.
    pub limit: u64,
}

/// What a node takes.
#[inline]
fn taken(node: &MovableVec<u8>) -> usize {
    heap::taken(node.capacity())
}

/// A node of bytes that stand elsewhere.
pub(super) fn moved(bytes: &[u8]) -> MovableVec<u8> {
    MovableBox::from(bytes).into_vec()
}

impl Log {
    pub(super) fn new() -> Self {
        Self { nodes: SortedMap::new(), node_bytes: 0, shape: shape::EMPTY, facts: Facts::default() }
    }

    /// What a byte string holds.
    pub(super) fn from_packed(bytes: &[u8]) -> Self {
        let Packed { master, node, facts } = Packed::read(bytes);
        let mut log = Self { facts, ..Self::new() };
        if !node.is_empty() {
            log.add_node(master, moved(node));
        }
        log
    }

    /// The byte string that holds the same, if it has not more than a node.
    pub(super) fn packed(&self) -> Option<Vec<u8>> {
        if self.nodes.len() > 1 {
            return None;
        }
        let (master, node) = self.nodes.last().map_or((StreamId::MIN, &[][..]), |(master, node)| (*master, node));
        Some(packed::sealed(node, master, &self.facts))
    }

    /// The entries, for reading.
    #[inline]
    pub fn as_ref(&self) -> LogRef<'_> {
        LogRef { nodes: Nodes::Many(&self.nodes, self.shape), facts: self.facts }
    }

    /// Adds a node that has no place yet.
    pub(super) fn add_node(&mut self, master: StreamId, node: MovableVec<u8>) {
        self.node_bytes += taken(&node);
        self.nodes.insert(master, node);
        self.shape += shape::nodes_of(&self.nodes, master);
    }

    /// Adds an entry, whose id is above the last.
    pub(super) fn append(&mut self, bounds: Bounds, entry: &NewEntry<'_>) {
        self.facts.note_added(entry.id);
        if let Some((master, last)) = self.nodes.last_mut() {
            let before = taken(last);
            let added = node::append(*master, last, entry, bounds);
            if !added {
                last.shrink_to_fit();
            }
            self.node_bytes = self.node_bytes - before + taken(last);
            if added {
                return;
            }
        }
        let mut node = MovableVec::new_in(Movable);
        node::create(&mut node, entry);
        self.add_node(entry.id, node);
    }

    /// Deletes entries; how many of them were there.
    pub fn delete(&mut self, ids: impl Iterator<Item = StreamId>) -> u64 {
        let (mut deleted, mut first_gone) = (0, false);
        for id in ids {
            if self.delete_one(id) {
                deleted += 1;
                first_gone |= id == self.facts.first_id;
                self.facts.max_deleted_id = self.facts.max_deleted_id.max(id);
            }
        }
        if first_gone {
            self.find_first();
        }
        deleted
    }

    fn delete_one(&mut self, id: StreamId) -> bool {
        let above = self.nodes.above(&id);
        let Some(place) = self.nodes.previous(above) else { return false };
        let Some(entry) = self.as_ref().get(id) else { return false };
        let flags_at = entry.place();
        let Some((master, bytes)) = self.nodes.at(place) else { return false };
        if Node::read(*master, bytes).live() == 1 {
            self.drop_node(*master);
        } else if let Some(bytes) = self.nodes.at_mut(place) {
            self.node_bytes -= taken(bytes);
            node::delete(bytes, &[flags_at]);
            self.node_bytes += taken(bytes);
        }
        self.facts.len -= 1;
        true
    }

    fn drop_node(&mut self, master: StreamId) {
        if let Some(gone) = self.nodes.remove(&master) {
            self.node_bytes -= taken(&gone);
            self.shape -= shape::nodes_of(&self.nodes, master);
        }
    }

    pub(super) fn find_first(&mut self) {
        let first = self.as_ref().range(StreamId::MIN, StreamId::MAX, Direction::Forward).next();
        self.facts.first_id = first.map_or(StreamId::MIN, |entry| entry.id);
    }

    /// Takes entries from the front; how many.
    pub fn trim(&mut self, trim: Trim) -> u64 {
        let mut taken = 0;
        while let Some((master, bytes)) = self.nodes.first() {
            let (master, node) = (*master, Node::read(*master, bytes));
            let live = node.live();
            let is_done = matches!(trim.keep, Keep::Newest(count) if self.facts.len <= count);
            if is_done || (trim.limit > 0 && taken + live > trim.limit) {
                break;
            }
            let goes_whole = match trim.keep {
                Keep::Newest(count) => self.facts.len - live >= count,
                Keep::From(id) => node.last_id().is_none_or(|last| last < id),
            };
            if !goes_whole {
                if !trim.approximate {
                    taken += self.trim_first_node(trim.keep);
                }
                break;
            }
            self.drop_node(master);
            self.facts.len -= live;
            taken += live;
        }
        if self.facts.len == 0 {
            self.facts.first_id = StreamId::MIN;
        } else if taken > 0 {
            self.find_first();
        }
        taken
    }

    /// Marks entries of the first node as deleted; how many.
    fn trim_first_node(&mut self, keep: Keep) -> u64 {
        let Some((master, bytes)) = self.nodes.first() else { return 0 };
        let node = Node::read(*master, bytes);
        let (mut at, mut places) = (node.first(), Vec::new());
        while let Some(entry) = node.entry(at) {
            let is_kept = match keep {
                Keep::Newest(count) => self.facts.len - places.len() as u64 <= count,
                Keep::From(id) => entry.id >= id,
            };
            if is_kept {
                break;
            }
            if !entry.is_deleted() {
                places.push(entry.place());
            }
            at = entry.end();
        }
        let start = self.nodes.start();
        if let Some(bytes) = self.nodes.at_mut(start) {
            self.node_bytes -= taken(bytes);
            node::delete(bytes, &places);
            self.node_bytes += taken(bytes);
        }
        self.facts.len -= places.len() as u64;
        places.len() as u64
    }

    /// Sets what XSETID sets; the caller has checked it against the entries.
    pub fn set_ids(&mut self, last: StreamId, entries_added: Option<u64>, max_deleted: Option<StreamId>) {
        self.facts.last_id = last;
        self.facts.entries_added = entries_added.unwrap_or(self.facts.entries_added);
        self.facts.max_deleted_id = max_deleted.unwrap_or(self.facts.max_deleted_id);
    }

    #[inline]
    pub(super) fn memory(&self) -> usize {
        self.nodes.memory() + self.node_bytes
    }

    pub(super) fn duplicate(&self) -> Self {
        let mut copy = Self::new();
        for (id, bytes) in self.nodes.iter() {
            let node = moved(bytes);
            copy.node_bytes += taken(&node);
            copy.nodes.insert(*id, node);
        }
        Self { shape: self.shape, facts: self.facts, ..copy }
    }

    pub(super) fn weight(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn free_step(&mut self, chunks: usize) -> bool {
        self.nodes.free_step(chunks)
    }

    pub(super) fn validate(&self) {
        self.nodes.validate();
        self.as_ref().validate();
        assert_eq!(self.nodes.iter().map(|(_, node)| taken(node)).sum::<usize>(), self.node_bytes, "bytes are counted");
        let keys: Vec<_> = self.nodes.iter().map(|(id, _)| id.bits().to_be_bytes()).collect();
        assert_eq!(self.shape, shape::count(&keys), "the tree's nodes are counted");
    }
}
