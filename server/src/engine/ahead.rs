//! What is done for a batch before its first command runs: rows are found, keys hashed once, and the memory that the
//! commands will touch is asked for, so that the cache misses of all of them overlap: first that of keys, then that of
//! the members that they name in large collections.
//!
//! Members of small collections come with their key's entry. Where the first few are such, nothing more is looked for.

use larder_protocol::Batch;
use larder_storage::table::Table;

use super::Engine;
use crate::commands::command::{RO, Run};
use crate::commands::table::Recent;
use crate::locked::KnownHash;
use crate::session::{NamedMember, Plan};

/// Batches of at least so many commands are prepared; for fewer it costs more than it gains.
const PREPARE_FROM: usize = 3;
/// Of so much data the index is in the processor's caches anyway: asking for it costs more than it gains.
const CACHED_BYTES: usize = 24 << 20;
/// Of the keys of one command so many are asked for ahead.
const KEYS_AHEAD: usize = 8;
/// Runs of members of the same key that are looked at before the batch is taken for one of small collections.
const TRIES: usize = 2;

impl Engine {
    /// Finds rows, hashes keys, and asks for the memory that the commands will touch, each step for all of them, so
    /// that their cache misses overlap.
    #[inline(never)]
    pub(super) fn prepare(&self, plan: &mut Plan, batch: &Batch, buffer: &[u8], from: usize, db: usize) {
        let (table, mut recent) = (self.table, Recent::default());
        plan.commands.clear();
        plan.hashes.clear();
        plan.members.clear();
        for at in from..batch.len() {
            let args = batch.args(at, buffer);
            let mut row = table.number_near(args.at(0), &mut recent);
            if row != u16::MAX {
                if matches!(table.row(row).run, Run::Container) {
                    row = table.find(args).unwrap_or(row);
                }
                let hashes = &mut plan.hashes;
                // A call whose keys cannot be found locks nothing; its function says what is wrong with it.
                let before = hashes.len();
                let keys = table.row(row).each_key(args, |_, key, flags| {
                    hashes.push(KnownHash::new(key, self.keyspace.hash(key), flags & RO == 0));
                });
                if keys.is_none() {
                    hashes.truncate(before);
                } else if table.row(row).member != 0 {
                    let (argument, key_hash) = (table.row(row).member, hashes[before].hash);
                    plan.members.push(NamedMember { command: at as u32, argument, key_hash, hash: 0, pos: None });
                }
            }
            plan.commands.push((row, plan.hashes.len() as u32));
        }
        if batch.len() - from >= PREPARE_FROM {
            self.prefetch(plan, db);
            self.prefetch_members(plan, batch, buffer, db);
        }
    }

    #[inline(never)]
    fn prefetch(&self, plan: &Plan, db: usize) {
        let ahead = &plan.hashes[..plan.hashes.len().min(KEYS_AHEAD * plan.commands.len())];
        ahead.iter().for_each(|known| self.keyspace.prefetch_lock(known.hash));
        if self.keyspace.used_memory() > CACHED_BYTES {
            for known in ahead {
                self.peek(known, db, |table| table.prefetch_index(known.hash));
            }
        }
        for known in ahead {
            self.keyspace.peek(known.hash, |shard| {
                if let Some(table) = shard.table(db) {
                    table.prefetch_entries(known.hash, known.writes);
                }
                if known.writes {
                    shard.prefetch_memory_of(known.hash);
                }
            });
        }
    }

    #[inline]
    fn peek(&self, known: &KnownHash, db: usize, step: impl FnOnce(&Table)) {
        self.keyspace.peek(known.hash, |shard| {
            if let Some(table) = shard.table(db) {
                step(table);
            }
        });
    }

    /// Asks for the members' places in their indexes, then for the members. Keys have been asked for.
    #[inline(never)]
    fn prefetch_members(&self, plan: &mut Plan, batch: &Batch, buffer: &[u8], db: usize) {
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
