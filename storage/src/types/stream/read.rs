//! The entries of a stream as they are read, in whichever form they are kept.

use super::id::StreamId;
use super::node::{Entry, Node};
use super::shape;
use super::sorted::{Iter, SortedMap};
use crate::heap::MovableVec;
use crate::types::pack::Pack;

/// What is remembered of a stream beside its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The number of entries.
    pub len: u64,
    /// The id of the first entry, 0-0 if there is none.
    pub first_id: StreamId,
    /// The highest id ever given.
    pub last_id: StreamId,
    /// The highest id that XDEL has deleted, or 0-0.
    pub max_deleted_id: StreamId,
    /// How many entries were ever added.
    pub entries_added: u64,
}

impl Facts {
    #[inline]
    pub(super) fn note_added(&mut self, id: StreamId) {
        debug_assert!(id > self.last_id, "ids ascend");
        self.last_id = id;
        if self.len == 0 {
            self.first_id = id;
        }
        self.len += 1;
        // A payload of RESTORE may have begun near the end of the numbers.
        self.entries_added = self.entries_added.wrapping_add(1);
    }
}

/// Entries in order, and what is remembered of those that are gone, for reading.
#[derive(Clone, Copy)]
pub struct LogRef<'a> {
    pub(super) nodes: Nodes<'a>,
    pub(super) facts: Facts,
}

/// Where nodes stand.
#[derive(Clone, Copy)]
pub(super) enum Nodes<'a> {
    /// At most one, which stands anywhere.
    One(Option<(StreamId, &'a [u8])>),
    /// Any number, and how many nodes Redis's radix tree of them would have.
    Many(&'a SortedMap<StreamId, MovableVec<u8>>, usize),
}

impl<'a> Nodes<'a> {
    /// Those that may have entries between two ids.
    #[inline]
    fn between(self, start: StreamId, end: StreamId) -> NodeIter<'a> {
        let map = match self {
            Self::One(node) => return NodeIter::One(node),
            Self::Many(map, _) => map,
        };
        // The node that would hold `start` is the last one that does not begin behind it.
        let from = map.above(&start);
        let from = map.previous(from).unwrap_or(from);
        NodeIter::Many(map.range(from, map.above(&end)))
    }
}

enum NodeIter<'a> {
    One(Option<(StreamId, &'a [u8])>),
    Many(Iter<'a, StreamId, MovableVec<u8>>),
}

impl<'a> Iterator for NodeIter<'a> {
    type Item = (StreamId, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::One(node) => node.take(),
            Self::Many(nodes) => nodes.next().map(|(id, node)| (*id, &node[..])),
        }
    }
}

impl DoubleEndedIterator for NodeIter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::One(node) => node.take(),
            Self::Many(nodes) => nodes.next_back().map(|(id, node)| (*id, &node[..])),
        }
    }
}

impl<'a> LogRef<'a> {
    /// The number of entries.
    #[inline]
    pub fn len(self) -> u64 {
        self.facts.len
    }

    /// Whether there is no entry.
    pub fn is_empty(self) -> bool {
        self.facts.len == 0
    }

    /// The id of the first entry, 0-0 if there is none.
    pub fn first_id(self) -> StreamId {
        self.facts.first_id
    }

    /// The highest id ever given.
    #[inline]
    pub fn last_id(self) -> StreamId {
        self.facts.last_id
    }

    /// The highest id that XDEL has deleted, or 0-0.
    pub fn max_deleted_id(self) -> StreamId {
        self.facts.max_deleted_id
    }

    /// How many entries were ever added.
    pub fn entries_added(self) -> u64 {
        self.facts.entries_added
    }

    /// The nodes: the id of each one's first entry, and its elements.
    pub fn nodes(self) -> impl Iterator<Item = (StreamId, Pack<'a>)> {
        self.nodes.between(StreamId::MIN, StreamId::MAX).map(|(id, bytes)| (id, Pack(bytes)))
    }

    /// How many nodes there are, and how many Redis's radix tree of them would have.
    pub fn node_counts(self) -> (usize, usize) {
        match self.nodes {
            Nodes::One(node) => (usize::from(node.is_some()), shape::EMPTY + usize::from(node.is_some())),
            Nodes::Many(nodes, shape) => (nodes.len(), shape),
        }
    }

    /// The first id of the first node, whose entry may be deleted; the highest id of all without nodes. Trimming to
    /// that id takes what approximate trimming has taken.
    pub fn first_kept_id(self) -> StreamId {
        self.nodes().next().map_or(StreamId::MAX, |(id, _)| id)
    }

    /// The id that an entry added at a time gets; `None` when there is no higher one.
    #[inline]
    pub fn next_id(self, now_ms: u64) -> Option<StreamId> {
        let last = self.last_id();
        if now_ms > last.ms { Some(StreamId::new(now_ms, 0)) } else { last.next() }
    }

    /// The entries with ids from `start` to `end`, from either side.
    #[inline]
    pub fn range(self, start: StreamId, end: StreamId, direction: Direction) -> Entries<'a> {
        Entries { nodes: self.nodes.between(start, end), node: None, start, end, direction }
    }

    /// The entry with an id.
    pub fn get(self, id: StreamId) -> Option<Entry<'a>> {
        self.range(id, id, Direction::Forward).next()
    }

    /// The id of the last entry, if there is one.
    pub fn last_entry_id(self) -> Option<StreamId> {
        self.range(StreamId::MIN, StreamId::MAX, Direction::Backward).next().map(|entry| entry.id)
    }

    /// Whether an entry was deleted, by XDEL, from an id on: counting from there is not possible then.
    pub(super) fn has_gap_from(self, id: StreamId) -> bool {
        self.facts.len > 0 && self.facts.max_deleted_id != StreamId::MIN && id <= self.facts.max_deleted_id
    }

    /// How many entries were ever added up to an id, where that can be told (Redis 7.4's rules).
    pub fn entries_up_to(self, id: StreamId) -> Option<u64> {
        if self.facts.entries_added == 0 {
            return Some(0);
        }
        if self.facts.len == 0 && id <= self.facts.last_id {
            return Some(self.facts.entries_added);
        }
        if id != StreamId::MIN && id < self.facts.max_deleted_id {
            return None;
        }
        if id >= self.facts.last_id {
            return (id == self.facts.last_id).then_some(self.facts.entries_added);
        }
        if self.facts.max_deleted_id != StreamId::MIN && self.facts.max_deleted_id >= self.facts.first_id {
            return None;
        }
        // XSETID may have set the number of added entries below that of the entries.
        let before = self.facts.entries_added.wrapping_sub(self.facts.len);
        match id.cmp(&self.facts.first_id) {
            std::cmp::Ordering::Less => Some(before),
            std::cmp::Ordering::Equal => Some(before.wrapping_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    pub(super) fn validate(self) {
        let (mut live, mut last) = (0, None);
        for (master, Pack(node)) in self.nodes() {
            let read = Node::read(master, node);
            assert!(last < Some(master), "ids ascend over nodes");
            last = read.validate();
            live += read.live();
        }
        assert_eq!(live, self.facts.len, "entries are counted");
        assert!(last <= Some(self.facts.last_id), "no id is above the last");
        let first = self.range(StreamId::MIN, StreamId::MAX, Direction::Forward).next().map(|entry| entry.id);
        assert_eq!(first.unwrap_or(StreamId::MIN), self.facts.first_id, "the first entry is known");
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

/// Entries that are not deleted, in order; see [`LogRef::range`].
pub struct Entries<'a> {
    nodes: NodeIter<'a>,
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
        let node = Node::read(master, bytes);
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
            // XSETID may have gone back behind one that was deleted, so these tell nothing of the order.
            if entry.is_deleted() {
                continue;
            }
            let (is_early, is_late) = match self.direction {
                Direction::Forward => (entry.id < self.start, entry.id > self.end),
                Direction::Backward => (entry.id > self.end, entry.id < self.start),
            };
            if is_late {
                return None;
            }
            if !is_early {
                return Some(entry);
            }
        }
    }
}
