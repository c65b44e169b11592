//! The typed values that keys hold, one folder or file per type, and what all of them are given from outside.

use std::sync::Arc;

use crate::hasher::Hasher;
use crate::region::Regions;
use crate::value::{Kind, Object, Value};

mod arena;
pub mod big_str;
mod cells;
pub mod dict;
mod distinct;
pub mod hash;
mod leb128;
pub mod list;
pub mod pack;
pub mod set;
pub mod stream;
pub mod text;
pub mod zset;

/// A type of collection, for whoever looks it up or changes it by its type. A type has more beside this, of the same
/// names for all, which `value.rs` calls: `memory`, `packed`, `into_packed`, `duplicate`, `weight`, `free_step` and
/// `validate`.
pub trait Collection: Sized {
    /// The type's name.
    const KIND: Kind;

    /// The collection as it is read. A packed one may stand in a key's entry.
    type Ref<'a>;

    /// An empty collection.
    fn empty(env: &Env<'_>) -> Self;

    /// The collection, if the value is of this type.
    fn of(value: Value<'_>) -> Option<Self::Ref<'_>>;

    /// The collection to be changed, if the object is of this type.
    fn of_mut(object: &mut Object) -> Option<&mut Self>;

    /// The object that a key owns.
    fn into_object(self) -> Object;
}

/// A collection has no place for another element: 2^21 pages of 16 KiB are full, or the system has no memory. Nothing
/// was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a collection has no place for another element")
    }
}

impl std::error::Error for Full {}

/// What the operations of a collection need beside the collection itself: where memory comes from, how members are
/// hashed, and up to which size a collection stays packed. One `Env` serves a whole batch of commands.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// The hash of members; the same for the whole life of a collection.
    pub hasher: Hasher,
    /// The regions from which slabs take their pages.
    pub regions: &'a Arc<Regions>,
    /// Up to which size collections stay packed.
    pub limits: Limits,
}

/// Up to which size collections stay packed. The options of Redis of the same names, and by default their values there.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `set-max-intset-entries`: a set of integers alone holds at most so many of them in one byte string.
    pub set_max_ints: usize,
    /// `set-max-listpack-entries`: a packed set holds at most so many members.
    pub set_max_packed_entries: usize,
    /// `set-max-listpack-value`: bytes of the longest member that is packed.
    pub set_max_packed_value: usize,
    /// `hash-max-listpack-entries`: a packed hash holds at most so many fields.
    pub hash_max_packed_entries: usize,
    /// `hash-max-listpack-value`: bytes of the longest field or value that is packed.
    pub hash_max_packed_value: usize,
    /// `list-max-listpack-size`: elements of a packed list, or, if it is negative, a step of bytes.
    pub list_max_packed_size: i64,
    /// `zset-max-listpack-entries`: a packed sorted set holds at most so many elements.
    pub zset_max_packed_entries: usize,
    /// `zset-max-listpack-value`: bytes of the longest member that is packed.
    pub zset_max_packed_value: usize,
    /// `stream-node-max-bytes`: a node of a stream takes no entry that makes it larger; 0 is no limit.
    pub stream_node_max_bytes: usize,
    /// `stream-node-max-entries`: a node of a stream has at most so many entries; 0 is no limit.
    pub stream_node_max_entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            list_max_packed_size: -2,
            set_max_ints: 512,
            set_max_packed_entries: 128,
            set_max_packed_value: 64,
            hash_max_packed_entries: 512,
            hash_max_packed_value: 64,
            zset_max_packed_entries: 128,
            zset_max_packed_value: 64,
            stream_node_max_bytes: 4096,
            stream_node_max_entries: 100,
        }
    }
}
