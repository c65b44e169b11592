//! The entries of a stream, and what is remembered of those that are gone.
//!
//! Invariants: nodes are keyed by the id of their first entry, deleted or not; ids ascend over all nodes; `len` counts
//! the entries that are not deleted; `first_id` is the first of those, 0-0 if there is none; no id is above `last_id`.

use super::id::StreamId;
use super::node::{self, Bounds, Entry, NewFields, Node};
use super::shape;
use super::sorted::{Iter, SortedMap};
use crate::types::Limits;
use crate::types::pack::{Element, Pack};

/// Bytes above which a node takes nothing more, whatever the options say (1 GiB, Redis's limit).
const NODE_MAX_BYTES: usize = 1 << 30;

/// Entries in order; see the module's page.
pub struct Log {
    pub(super) nodes: SortedMap<StreamId, Vec<u8>>,
    /// Sum of the nodes' capacities.
    pub(super) node_bytes: usize,
    pub(super) shape: usize,
    pub(super) len: u64,
    first_id: StreamId,
    pub(super) last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
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

impl Log {
    pub(super) fn new() -> Self {
        Self {
            nodes: SortedMap::new(),
            node_bytes: 0,
            shape: shape::EMPTY,
            len: 0,
            first_id: StreamId::MIN,
            last_id: StreamId::MIN,
            max_deleted_id: StreamId::MIN,
            entries_added: 0,
        }
    }

    /// The number of entries.
    #[inline]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The id of the first entry, 0-0 if there is none.
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The highest id ever given.
    #[inline]
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// The highest id that XDEL has deleted, or 0-0.
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// How many entries were ever added.
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// The nodes: the id of each one's first entry, and its elements.
    pub fn nodes(&self) -> impl Iterator<Item = (StreamId, Pack<'_>)> + '_ {
        self.nodes.iter().map(|(id, bytes)| (*id, Pack(bytes)))
    }

    /// How many nodes there are, and how many Redis's radix tree of them would have.
    pub fn node_counts(&self) -> (usize, usize) {
        (self.nodes.len(), self.shape)
    }

    /// The first id of the first node, whose entry may be deleted; the highest id of all without nodes. Trimming to
    /// that id takes what approximate trimming has taken.
    pub fn first_kept_id(&self) -> StreamId {
        self.nodes.first().map_or(StreamId::MAX, |(id, _)| *id)
    }

    /// The id that an entry added at a time gets; `None` when there is no higher one.
    #[inline]
    pub fn next_id(&self, now_ms: u64) -> Option<StreamId> {
        if now_ms > self.last_id.ms { Some(StreamId::new(now_ms, 0)) } else { self.last_id.next() }
    }

    /// Adds an entry, whose id is above `last_id`: fields and values in turn.
    pub fn append<'a>(&mut self, limits: &Limits, id: StreamId, fields: impl Iterator<Item = &'a [u8]>) {
        debug_assert!(id > self.last_id, "ids ascend");
        let mut bytes = 0;
        let fields: NewFields<'_> = fields.inspect(|field| bytes += field.len()).map(Element::of).collect();
        self.add_fields(limits, id, bytes, &fields);
        self.len += 1;
        // A payload of RESTORE may have begun near the end of the numbers.
        self.entries_added = self.entries_added.wrapping_add(1);
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
    }

    fn add_fields(&mut self, limits: &Limits, id: StreamId, bytes: usize, fields: &NewFields<'_>) {
        let max_bytes = match limits.stream_node_max_bytes {
            0 => NODE_MAX_BYTES,
            max => max.min(NODE_MAX_BYTES),
        };
        let bounds = Bounds { max_bytes, max_entries: limits.stream_node_max_entries };
        if let Some((master, last)) = self.nodes.last_mut() {
            let before = last.capacity();
            let added = node::append(*master, last, id, fields, bytes, bounds);
            if !added {
                last.shrink_to_fit();
            }
            self.node_bytes = self.node_bytes - before + last.capacity();
            if added {
                return;
            }
        }
        let node = node::create(fields);
        self.node_bytes += node.capacity();
        self.nodes.insert(id, node);
        self.shape += shape::nodes_of(&self.nodes, id);
    }

    /// The entries with ids from `start` to `end`, from either side.
    #[inline]
    pub fn range(&self, start: StreamId, end: StreamId, direction: Direction) -> Entries<'_> {
        // The node that would hold `start` is the last one that does not begin behind it.
        let from = self.nodes.above(&start);
        let from = self.nodes.previous(from).unwrap_or(from);
        let nodes = self.nodes.range(from, self.nodes.above(&end));
        Entries { nodes, node: None, start, end, direction }
    }

    /// The entry with an id.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.range(id, id, Direction::Forward).next()
    }

    /// The id of the last entry, if there is one.
    pub fn last_entry_id(&self) -> Option<StreamId> {
        self.range(StreamId::MIN, StreamId::MAX, Direction::Backward).next().map(|entry| entry.id)
    }

    /// Deletes entries; how many of them were there.
    pub fn delete(&mut self, ids: impl Iterator<Item = StreamId>) -> u64 {
        let (mut deleted, mut first_gone) = (0, false);
        for id in ids {
            if self.delete_one(id) {
                deleted += 1;
                first_gone |= id == self.first_id;
                self.max_deleted_id = self.max_deleted_id.max(id);
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
        let Some(entry) = self.get(id) else { return false };
        let flags_at = entry.place();
        let Some((master, bytes)) = self.nodes.at(place) else { return false };
        if Node::read(*master, bytes).live() == 1 {
            self.drop_node(*master);
        } else if let Some(bytes) = self.nodes.at_mut(place) {
            self.node_bytes -= bytes.capacity();
            node::delete(bytes, &[flags_at]);
            self.node_bytes += bytes.capacity();
        }
        self.len -= 1;
        true
    }

    fn drop_node(&mut self, master: StreamId) {
        if let Some(gone) = self.nodes.remove(&master) {
            self.node_bytes -= gone.capacity();
            self.shape -= shape::nodes_of(&self.nodes, master);
        }
    }

    pub(super) fn find_first(&mut self) {
        let first = self.range(StreamId::MIN, StreamId::MAX, Direction::Forward).next();
        self.first_id = first.map_or(StreamId::MIN, |entry| entry.id);
    }

    /// Takes entries from the front; how many.
    pub fn trim(&mut self, trim: Trim) -> u64 {
        let mut taken = 0;
        while let Some((master, bytes)) = self.nodes.first() {
            let (master, node) = (*master, Node::read(*master, bytes));
            let live = node.live();
            let is_done = matches!(trim.keep, Keep::Newest(count) if self.len <= count);
            if is_done || (trim.limit > 0 && taken + live > trim.limit) {
                break;
            }
            let goes_whole = match trim.keep {
                Keep::Newest(count) => self.len - live >= count,
                Keep::From(id) => node.last_id().is_none_or(|last| last < id),
            };
            if !goes_whole {
                if !trim.approximate {
                    taken += self.trim_first_node(trim.keep);
                }
                break;
            }
            self.drop_node(master);
            self.len -= live;
            taken += live;
        }
        if self.len == 0 {
            self.first_id = StreamId::MIN;
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
                Keep::Newest(count) => self.len - places.len() as u64 <= count,
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
            self.node_bytes -= bytes.capacity();
            node::delete(bytes, &places);
            self.node_bytes += bytes.capacity();
        }
        self.len -= places.len() as u64;
        places.len() as u64
    }

    /// Sets what XSETID sets; the caller has checked it against the entries.
    pub fn set_ids(&mut self, last: StreamId, entries_added: Option<u64>, max_deleted: Option<StreamId>) {
        self.last_id = last;
        self.entries_added = entries_added.unwrap_or(self.entries_added);
        self.max_deleted_id = max_deleted.unwrap_or(self.max_deleted_id);
    }

    /// Whether an entry was deleted, by XDEL, from an id on: counting from there is not possible then.
    pub(super) fn has_gap_from(&self, id: StreamId) -> bool {
        self.len > 0 && self.max_deleted_id != StreamId::MIN && id <= self.max_deleted_id
    }

    /// How many entries were ever added up to an id, where that can be told (Redis 7.4's rules).
    pub fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.len == 0 && id <= self.last_id {
            return Some(self.entries_added);
        }
        if id != StreamId::MIN && id < self.max_deleted_id {
            return None;
        }
        if id >= self.last_id {
            return (id == self.last_id).then_some(self.entries_added);
        }
        if self.max_deleted_id != StreamId::MIN && self.max_deleted_id >= self.first_id {
            return None;
        }
        // XSETID may have set the number of added entries below that of the entries.
        let before = self.entries_added.wrapping_sub(self.len);
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less => Some(before),
            std::cmp::Ordering::Equal => Some(before.wrapping_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    #[inline]
    pub(super) fn memory(&self) -> usize {
        self.nodes.memory() + self.node_bytes
    }

    pub(super) fn duplicate(&self) -> Self {
        let mut copy = Self::new();
        for (id, bytes) in self.nodes.iter() {
            copy.node_bytes += bytes.len();
            copy.nodes.insert(*id, bytes.clone());
        }
        Self { nodes: copy.nodes, node_bytes: copy.node_bytes, ..*self }
    }

    pub(super) fn weight(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn free_step(&mut self, chunks: usize) -> bool {
        self.nodes.free_step(chunks)
    }

    pub(super) fn validate(&self) {
        self.nodes.validate();
        let (mut live, mut bytes, mut last) = (0, 0, None);
        for (master, node) in self.nodes.iter() {
            let read = Node::read(*master, node);
            read.validate();
            assert!(last < Some(*master), "ids ascend over nodes");
            last = read.last_id();
            live += read.live();
            bytes += node.capacity();
        }
        let keys: Vec<_> = self.nodes.iter().map(|(id, _)| id.bits().to_be_bytes()).collect();
        assert_eq!(self.shape, shape::count(&keys), "the tree's nodes are counted");
        assert_eq!((live, bytes), (self.len, self.node_bytes), "entries and bytes are counted");
        assert!(last <= Some(self.last_id), "no id is above the last");
        let first = self.range(StreamId::MIN, StreamId::MAX, Direction::Forward).next().map(|entry| entry.id);
        assert_eq!(first.unwrap_or(StreamId::MIN), self.first_id, "the first entry is known");
    }
}

/// From which side entries are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the lowest id.
    Forward,
    /// From the highest id.
    Backward,
}

/// Entries that are not deleted, in order; see [`Log::range`].
pub struct Entries<'a> {
    nodes: Iter<'a, StreamId, Vec<u8>>,
    /// The node that is read, and where in it: behind the last entry that was given when going forward, where it
    /// begins when going backward.
    node: Option<(Node<'a>, Next<'a>)>,
    start: StreamId,
    end: StreamId,
    direction: Direction,
}

/// Where reading goes on.
enum Next<'a> {
    At(usize),
    /// Behind an entry, whose end is looked for only if it is needed.
    Behind(Entry<'a>),
}

impl<'a> Entries<'a> {
    /// The next entry, deleted or not, of the node that is read.
    #[inline]
    fn step(&mut self) -> Option<Entry<'a>> {
        let (node, next) = self.node.as_mut()?;
        let entry = match (self.direction, &*next) {
            (Direction::Forward, Next::At(at)) => node.entry(*at),
            (Direction::Forward, Next::Behind(entry)) => node.entry(entry.end()),
            (Direction::Backward, Next::At(at)) => node.entry_before(*at),
            (Direction::Backward, Next::Behind(entry)) => node.entry_before(entry.place()),
        }?;
        *next = Next::Behind(entry);
        Some(entry)
    }

    #[inline]
    fn next_node(&mut self) -> Option<()> {
        let element = match self.direction {
            Direction::Forward => self.nodes.next(),
            Direction::Backward => self.nodes.next_back(),
        };
        let (master, bytes) = element?;
        let node = Node::read(*master, bytes);
        let at = if self.direction == Direction::Forward { node.first() } else { node.end() };
        self.node = Some((node, Next::At(at)));
        Some(())
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let Some(entry) = self.step() else {
                self.next_node()?;
                continue;
            };
            let (is_early, is_late) = match self.direction {
                Direction::Forward => (entry.id < self.start, entry.id > self.end),
                Direction::Backward => (entry.id > self.end, entry.id < self.start),
            };
            if is_late {
                return None;
            }
            if !is_early && !entry.is_deleted() {
                return Some(entry);
            }
        }
    }
}
