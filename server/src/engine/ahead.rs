//! Members of large collections that the commands of a batch name are asked for before the first command runs, as keys
//! are: so the cache misses of all of them overlap.
//!
//! Members of small collections come with their key's entry. Where the first few are such, nothing more is looked for.

use larder_protocol::Batch;

use super::Engine;
use crate::session::{NamedMember, Plan};

/// Runs of members of the same key that are looked at before the batch is taken for one of small collections.
const TRIES: usize = 2;

impl Engine {
    /// Asks for the members' places in their indexes, then for the members. Keys have been asked for.
    #[inline(never)]
    pub(super) fn prefetch_members(&self, plan: &mut Plan, batch: &Batch, buffer: &[u8], db: usize) {
        let is_same = |one: &NamedMember, other: &NamedMember| one.key_hash == other.key_hash;
        let (mut found, mut tried) = (false, 0);
        for run in plan.members.chunk_by_mut(is_same) {
            if !found && tried == TRIES {
                return;
            }
            tried += 1;
            let key = batch.args(run[0].command as usize, buffer).at(1);
            self.keyspace.peek(run[0].key_hash, |shard| {
                let Some(table) = shard.table(db) else { return };
                let Some(pos) = table.find_indexed(run[0].key_hash, key) else { return };
                let Some(object) = table.indexed_at(pos) else { return };
                for member in run.iter_mut() {
                    let args = batch.args(member.command as usize, buffer);
                    let Some(name) = args.get(member.argument as usize) else { continue };
                    (member.hash, member.pos) = (self.keyspace.hash(name), Some(pos));
                    object.prefetch_index(member.hash);
                    found = true;
                }
            });
        }
        for run in plan.members.chunk_by(is_same) {
            let Some(pos) = run.iter().find_map(|member| member.pos) else { continue };
            self.keyspace.peek(run[0].key_hash, |shard| {
                let Some(object) = shard.table(db).and_then(|table| table.indexed_at(pos)) else { return };
                run.iter().filter(|member| member.pos.is_some()).for_each(|member| object.prefetch_member(member.hash));
            });
        }
    }
}
