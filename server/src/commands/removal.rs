//! What follows when a command has taken elements out of a collection: the event, the count of changes, and the end of a
//! key that holds none any more.

use crate::config::KeyspaceEvents as Class;
use crate::locked::Locked;

/// What a removal of elements has done to a collection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Removal {
    /// How many are gone.
    pub(super) count: usize,
    /// Whether no other is left.
    pub(super) all: bool,
}

impl Removal {
    /// Tells that elements were removed, if any were; removes the key if none is left.
    #[inline]
    pub(super) fn tell(self, locked: &mut Locked<'_>, class: Class, event: &'static str, key: &[u8]) {
        if self.count == 0 {
            return;
        }
        locked.changed(class, event, key);
        locked.count_changes(self.count as u64 - 1);
        if self.all {
            locked.drop_if_empty(key);
        }
    }
}
