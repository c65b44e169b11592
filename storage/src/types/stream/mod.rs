//! Streams: entries in order of their ids, and groups of consumers that read them.
//!
//! ```text
//! id.rs        ids
//! log.rs       the entries, in nodes; trimming and deleting
//!   node.rs      a node's bytes
//!   shape.rs     what XINFO tells of Redis's radix tree
//!   adopt.rs     entries made of the nodes that RESTORE is given
//! group.rs     a group: consumers, and entries that are not acknowledged
//! sorted.rs    an ordered map in chunks, which all of them use
//! ```
//!
//! A stream is never packed into an entry's cell, and stays a key when it has no entry.

use super::{Collection, Env, Full};
use crate::heap::{Mover, Settle};
use crate::value::{Kind, Object, Value};
pub use adopt::Facts;
pub use group::{Consumer, ConsumerId, Group, Pending};
pub use id::StreamId;
pub use log::{Direction, Entries, Keep, Log, Trim};
pub use node::{Entry, Fields};
use sorted::SortedMap;

mod adopt;
mod group;
mod id;
mod log;
mod node;
mod shape;
mod sorted;
#[cfg(test)]
mod tests;

/// A stream; see the module's page.
pub struct Stream(Box<Parts>);

struct Parts {
    log: Log,
    groups: SortedMap<Box<[u8]>, Box<Group>>,
    /// What groups take: names, themselves and what they own.
    group_bytes: usize,
}

impl Stream {
    /// A stream without entries.
    pub fn new() -> Self {
        Self(Box::new(Parts { log: Log::new(), groups: SortedMap::new(), group_bytes: 0 }))
    }

    /// The entries.
    #[inline]
    pub fn log(&self) -> &Log {
        &self.0.log
    }

    /// The entries, to be changed.
    #[inline]
    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.0.log
    }

    /// How many groups there are.
    pub fn groups_len(&self) -> usize {
        self.0.groups.len()
    }

    /// The groups with their names, by name.
    pub fn groups(&self) -> impl Iterator<Item = (&[u8], &Group)> + '_ {
        self.0.groups.iter().map(|(name, group)| (&**name, &**group))
    }

    /// A group by its name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.0.groups.get(name).map(|group| &**group)
    }

    /// Changes a group, if there is one of that name.
    pub fn with_group<R>(&mut self, name: &[u8], change: impl FnOnce(&Log, &mut Group) -> R) -> Option<R> {
        let Parts { log, groups, group_bytes } = &mut *self.0;
        let group = groups.get_mut(name)?;
        let before = group.owned();
        let result = change(log, group);
        *group_bytes = *group_bytes - before + group.owned();
        Some(result)
    }

    /// Makes a group; false if there is one of that name.
    pub fn create_group(&mut self, name: &[u8], last_id: StreamId, entries_read: Option<u64>) -> bool {
        let parts = &mut *self.0;
        if parts.groups.find(name).is_ok() {
            return false;
        }
        let group = Box::new(Group::new(last_id, entries_read));
        parts.group_bytes += group_size(name, &group);
        parts.groups.insert(name.into(), group);
        true
    }

    /// Removes a group; whether there was one.
    pub fn destroy_group(&mut self, name: &[u8]) -> bool {
        let Some(group) = self.0.groups.remove(name) else { return false };
        self.0.group_bytes -= group_size(name, &group);
        true
    }

    /// Bytes that the stream owns besides itself. O(1), and the same for the same operations.
    #[inline]
    pub(crate) fn memory(&self) -> usize {
        let parts = &*self.0;
        size_of::<Parts>().next_multiple_of(16) + parts.log.memory() + parts.groups.memory() + parts.group_bytes
    }

    pub(crate) fn packed(&self) -> Option<&[u8]> {
        None
    }

    pub(crate) fn into_packed(self) -> Vec<u8> {
        Vec::new()
    }

    pub(crate) fn duplicate(&self, _: Env<'_>) -> Result<Self, Full> {
        let parts = &*self.0;
        let mut copy = Parts { log: parts.log.duplicate(), groups: SortedMap::new(), group_bytes: 0 };
        for (name, group) in parts.groups.iter() {
            let group = Box::new(group.duplicate());
            copy.group_bytes += group_size(name, &group);
            copy.groups.insert(name.clone(), group);
        }
        Ok(Self(Box::new(copy)))
    }

    /// Nodes, and as many more as the groups would fill.
    pub(crate) fn weight(&self) -> usize {
        const BLOCK: usize = 4096;
        self.0.log.weight() + self.0.groups.len() + self.0.group_bytes / BLOCK
    }

    /// Frees up to about `chunks` chunks, of up to 64 nodes or pending entries each; true when nothing is left. Between
    /// the steps the stream may only be freed further, or dropped.
    pub(crate) fn free_step(&mut self, chunks: usize) -> bool {
        let parts = &mut *self.0;
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
        let parts = &*self.0;
        parts.log.validate();
        parts.groups.validate();
        let mut bytes = 0;
        for (name, group) in parts.groups.iter() {
            group.validate();
            bytes += group_size(name, group);
        }
        assert_eq!(bytes, parts.group_bytes, "what groups take is counted");
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

/// What a group takes with its name.
fn group_size(name: &[u8], group: &Group) -> usize {
    name.len().next_multiple_of(16) + size_of::<Group>().next_multiple_of(16) + group.owned()
}

impl Collection for Stream {
    const KIND: Kind = Kind::Stream;
    type Ref<'a> = &'a Stream;

    fn empty(_: &Env<'_>) -> Self {
        Self::new()
    }

    #[inline]
    fn of(value: Value<'_>) -> Option<&Stream> {
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

// What groups own is short but for their tables of pending entries, which stay where they are.
impl Settle for Stream {
    fn parts(&self) -> usize {
        self.0.log.nodes.parts()
    }

    fn settle(&mut self, part: usize, mover: &mut Mover) {
        self.0.log.nodes.settle(part, mover, |node, mover| mover.vec(node));
    }
}
