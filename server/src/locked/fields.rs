//! Fields of hashes whose time has come: a command that meets one removes it, and the sweep removes the others.
//!
//! It repeats elsewhere as HDEL, and a hash of which no field is left is no key any more.

use larder_protocol::OwnedArgs;
use larder_storage::index::Pos;
use larder_storage::types::Collection;
use larder_storage::types::hash::{Field, Hash};
use smallvec::SmallVec;

use super::Locked;
use crate::config::KeyspaceEvents as Class;
use crate::error::Outcome;
use crate::insight::Cause;

/// Fields that are removed in one go where all that are due must go.
const FIELDS_AT_ONCE: usize = 1024;

impl Locked<'_> {
    /// Removes fields that a command met and found expired.
    #[cold]
    pub(crate) fn expire_fields(&mut self, key: &[u8], names: &[&[u8]]) -> Outcome {
        self.update_as::<Hash, _>(key, false, |hash, env| {
            names.iter().for_each(|name| {
                hash.remove(*env, name);
            });
        })?;
        self.fields_expired(key, names);
        Ok(())
    }

    /// Removes up to `most` fields of the hash at a position, as far as they are due; how many.
    pub(crate) fn expire_due_fields(&mut self, hash: u64, pos: Pos, most: usize) -> usize {
        let (env, now, db) = (self.env(), self.now, self.db);
        let Some(table) = self.guarded(hash).shard.table(db) else { return 0 };
        let key = table.entry(pos).key().to_vec();
        let mut names = Vec::new();
        let note = |field: Field<'_>| names.push(field.name.text(&mut itoa::Buffer::new()).to_vec());
        let removed = self.update(hash, pos, |object| Some(Hash::of_mut(object)?.remove_due(env, now, most, note)));
        // A change for which there is no room has not taken place.
        if !matches!(removed, Ok(Some(1..))) {
            return 0;
        }
        let names: SmallVec<[&[u8]; 32]> = names.iter().map(Vec::as_slice).collect();
        self.fields_expired(&key, &names);
        names.len()
    }

    /// Removes all fields of a hash that are due.
    pub(crate) fn expire_all_fields(&mut self, key: &[u8]) {
        let (now, db) = (self.now, self.db);
        while let Some((hash, pos)) = self.locate(key) {
            let Some(table) = self.guarded(hash).shard.table(db) else { return };
            let is_due = Hash::of(table.entry(pos).value()).is_some_and(|hash| hash.first_deadline() <= now);
            if !is_due {
                return;
            }
            self.expire_due_fields(hash, pos, FIELDS_AT_ONCE);
        }
    }

    /// Tells that fields have expired, and removes the key if none is left.
    fn fields_expired(&mut self, key: &[u8], names: &[&[u8]]) {
        self.stats.expired_fields(names.len() as u64);
        if self.engine.records_effects() {
            let mut words: Vec<&[u8]> = vec![b"HDEL", key];
            words.extend(names);
            self.record(self.db, OwnedArgs::from_slices(&words));
        }
        self.note(Class::HASH, "hexpired", key);
        self.drop_if_emptied_by(key, Cause::Expired);
    }
}
