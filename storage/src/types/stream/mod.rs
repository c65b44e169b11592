//! Streams: entries in order of their ids, and groups of consumers that read them.
//!
//! ```text
//! id.rs        ids
//! log.rs       the entries of a large stream, in nodes; trimming and deleting
//!   node.rs      a node's bytes
//!   shape.rs     what XINFO tells of Redis's radix tree
//!   adopt.rs     entries made of the nodes that RESTORE is given
//! packed.rs    a stream of at most one node as a byte string
//! read.rs      the entries of either, as they are read
//! group.rs     a group: consumers, and entries that are not acknowledged
//!   name.rs      a group's or a consumer's name
//! sorted.rs    an ordered map in chunks, which logs and groups use
//! settle.rs    moves all of that out of regions of the heap
//! ```
//!
//! A stream without groups whose entries have room in one node is packed, and stands in its key's entry if it is short.
//! A stream stays a key when it has no entry.

use super::{Collection, Env, Full, Limits};
use crate::heap::{self, Movable, MovableBox};
use crate::value::{Kind, Object, Value};
pub use group::{Consumer, ConsumerId, Group, Pending};
pub use id::StreamId;
pub use log::{Keep, Log, Trim};
use name::Name;
use node::{Bounds, NewEntry};
pub use node::{Entry, Fields};
use packed::Packed;
pub use read::{Direction, Entries, Facts, LogRef};
use sorted::SortedMap;

mod adopt;
mod group;
mod id;
mod log;
mod name;
mod node;
mod packed;
mod read;
mod settle;
mod shape;
mod sorted;
#[cfg(test)]
mod tests;

/// A stream, owned; see the module's page.
pub enum Stream {
    /// A byte string.
    Packed(Vec<u8>),
    /// Any number of nodes and groups.
    Parts(MovableBox<Parts>),
}

/// A stream, for reading. The packed bytes may stand anywhere, as in a key's entry.
#[derive(Clone, Copy)]
pub enum StreamRef<'a> {
    /// A byte string.
    Packed(&'a [u8]),
    /// Any number of nodes and groups.
    Parts(&'a Parts),
}

/// What a large stream, or one with groups, is made of.
pub struct Parts {
    log: Log,
    groups: SortedMap<Name, Group>,
    /// What groups and their names own.
    group_bytes: usize,
}

// For the moment in which it moves.
impl Default for Parts {
    fn default() -> Self {
        Self::new(Log::new())
    }
}

impl Parts {
    fn new(log: Log) -> Self {
        Self { log, groups: SortedMap::new(), group_bytes: 0 }
    }
}

impl<'a> StreamRef<'a> {
    /// The entries.
    #[inline]
    pub fn log(self) -> LogRef<'a> {
        match self {
            Self::Packed(bytes) => Packed::read(bytes).log(),
            Self::Parts(parts) => parts.log.as_ref(),
        }
    }

    fn parts(self) -> Option<&'a Parts> {
        match self {
            Self::Packed(_) => None,
            Self::Parts(parts) => Some(parts),
        }
    }

    /// How many groups there are.
    pub fn groups_len(self) -> usize {
        self.parts().map_or(0, |parts| parts.groups.len())
    }

    /// The groups with their names, by name.
    pub fn groups(self) -> impl Iterator<Item = (&'a [u8], &'a Group)> {
        self.parts().into_iter().flat_map(|parts| parts.groups.iter()).map(|(name, group)| (&**name, group))
    }

    /// A group by its name.
    pub fn group(self, name: &[u8]) -> Option<&'a Group> {
        self.parts()?.groups.get(name)
    }
}

impl Stream {
    /// A stream without entries; it allocates at its first one.
    pub fn new() -> Self {
        Self::Packed(Vec::new())
    }

    /// The stream, for reading.
    #[inline]
    pub fn as_ref(&self) -> StreamRef<'_> {
        match self {
            Self::Packed(bytes) => StreamRef::Packed(bytes),
            Self::Parts(parts) => StreamRef::Parts(parts),
        }
    }

    /// The entries.
    #[inline]
    pub fn log(&self) -> LogRef<'_> {
        self.as_ref().log()
    }

    /// Adds an entry, whose id is above the last: fields and values in turn.
    #[inline]
    pub fn append<'a>(&mut self, limits: &Limits, id: StreamId, fields: impl Iterator<Item = &'a [u8]>) {
        let (bounds, entry) = (Bounds::new(limits), NewEntry::new(id, fields));
        if let Self::Packed(bytes) = self
            && packed::append(bytes, bounds, &entry)
        {
            return;
        }
        self.unpacked().log.append(bounds, &entry);
    }

    /// Takes entries from the front; how many.
    pub fn trim(&mut self, trim: Trim) -> u64 {
        match self {
            Self::Packed(bytes) if Packed::read(bytes).stays(trim) => 0,
            _ => self.change(|log| log.trim(trim)),
        }
    }

    /// Changes the entries.
    pub fn change<R>(&mut self, change: impl FnOnce(&mut Log) -> R) -> R {
        match self {
            Self::Packed(bytes) => {
                let mut log = Log::from_packed(bytes);
                let result = change(&mut log);
                *self = log.packed().map_or_else(|| Self::parted(log), Self::Packed);
                result
            }
            Self::Parts(parts) => {
                let result = change(&mut parts.log);
                self.pack_if_small();
                result
            }
        }
    }

    fn parted(log: Log) -> Self {
        Self::Parts(MovableBox::new_in(Parts::new(log), Movable))
    }

    /// The parts, which a packed stream becomes.
    fn unpacked(&mut self) -> &mut Parts {
        if let Self::Packed(bytes) = self {
            *self = Self::parted(Log::from_packed(bytes));
        }
        match self {
            Self::Parts(parts) => parts,
            Self::Packed(_) => unreachable!("it was unpacked"),
        }
    }

    /// Becomes packed if it has no groups and not more than one node.
    fn pack_if_small(&mut self) {
        if let Self::Parts(parts) = self
            && parts.groups.len() == 0
            && let Some(bytes) = parts.log.packed()
        {
            *self = Self::Packed(bytes);
        }
    }

    /// Changes a group, if there is one of that name.
    pub fn with_group<R>(&mut self, name: &[u8], change: impl FnOnce(LogRef<'_>, &mut Group) -> R) -> Option<R> {
        let Self::Parts(parts) = self else { return None };
        let Parts { log, groups, group_bytes } = &mut **parts;
        let group = groups.get_mut(name)?;
        let before = group.owned();
        let result = change(log.as_ref(), group);
        *group_bytes = *group_bytes - before + group.owned();
        Some(result)
    }

    /// Makes a group; false if there is one of that name.
    pub fn create_group(&mut self, name: &[u8], last_id: StreamId, entries_read: Option<u64>) -> bool {
        let parts = self.unpacked();
        if parts.groups.find(name).is_ok() {
            return false;
        }
        let name = Name::from(name);
        parts.group_bytes += name.owned();
        parts.groups.insert(name, Group::new(last_id, entries_read));
        true
    }

    /// Removes a group; whether there was one.
    pub fn destroy_group(&mut self, name: &[u8]) -> bool {
        let Self::Parts(parts) = self else { return false };
        let Some(group) = parts.groups.remove(name) else { return false };
        parts.group_bytes -= Name::from(name).owned() + group.owned();
        self.pack_if_small();
        true
    }

    /// Bytes that the stream owns besides itself. O(1), and the same for the same operations.
    #[inline]
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Packed(bytes) => bytes.capacity().next_multiple_of(16),
            Self::Parts(parts) => {
                let own = heap::taken(size_of::<Parts>());
                own + parts.log.memory() + parts.groups.memory() + parts.group_bytes
            }
        }
    }

    /// The bytes of the packed form.
    #[inline]
    pub(crate) fn packed(&self) -> Option<&[u8]> {
        match self {
            Self::Packed(bytes) => Some(bytes),
            Self::Parts(_) => None,
        }
    }

    pub(crate) fn into_packed(self) -> Vec<u8> {
        match self {
            Self::Packed(bytes) => bytes,
            Self::Parts(_) => Vec::new(),
        }
    }

    pub(crate) fn duplicate(&self, _: Env<'_>) -> Result<Self, Full> {
        let parts = match self {
            Self::Packed(bytes) => return Ok(Self::Packed(bytes.clone())),
            Self::Parts(parts) => parts,
        };
        let mut copy = Parts::new(parts.log.duplicate());
        for (name, group) in parts.groups.iter() {
            let (name, group) = (Name::from(&**name), group.duplicate());
            copy.group_bytes += name.owned() + group.owned();
            copy.groups.insert(name, group);
        }
        Ok(Self::Parts(MovableBox::new_in(copy, Movable)))
    }

    /// Nodes, and as many more as the groups would fill.
    pub(crate) fn weight(&self) -> usize {
        const BLOCK: usize = 4096;
        match self {
            Self::Packed(_) => 1,
            Self::Parts(parts) => parts.log.weight() + parts.groups.len() + parts.group_bytes / BLOCK,
        }
    }

    /// Frees up to about `chunks` chunks, of up to 64 nodes or pending entries each; true when nothing is left. Between
    /// the steps the stream may only be freed further, or dropped.
    pub(crate) fn free_step(&mut self, chunks: usize) -> bool {
        let Self::Parts(parts) = self else { return true };
        if !parts.log.free_step(chunks) {
            return false;
        }
        for _ in 0..chunks {
            let Some((_, last)) = parts.groups.last_mut() else { return true };
            if last.free_step(chunks) {
                parts.groups.pop_last();
            }
        }
        parts.groups.len() == 0
    }

    /// Checks every invariant; panics with what is wrong. For tests.
    pub fn validate(&self) {
        let Self::Parts(parts) = self else { return self.log().validate() };
        assert!(parts.groups.len() > 0 || parts.log.as_ref().node_counts().0 > 1, "a small stream is packed");
        parts.log.validate();
        parts.groups.validate();
        let mut bytes = 0;
        for (name, group) in parts.groups.iter() {
            group.validate();
            bytes += name.owned() + group.owned();
        }
        assert_eq!(bytes, parts.group_bytes, "what groups take is counted");
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

impl Collection for Stream {
    const KIND: Kind = Kind::Stream;
    type Ref<'a> = StreamRef<'a>;

    fn empty(_: &Env<'_>) -> Self {
        Self::new()
    }

    #[inline]
    fn of(value: Value<'_>) -> Option<StreamRef<'_>> {
        match value {
            Value::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    #[inline]
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        match object {
            Object::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    fn into_object(self) -> Object {
        Object::Stream(self)
    }
}
