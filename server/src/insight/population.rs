//! How many keys there are of each prefix, and their bytes, in all databases together.
//!
//! Where there are few keys each is counted. Else a part of the segments stands for all, but for values so large that it would matter whether they
//! are in that part: those are counted one by one, as far as there are few enough keys to look at each one's size.
//!
//! One shard is locked at a time, and for a few segments only.

use std::collections::HashMap;

use larder_storage::keyspace::ShardSet;
use larder_storage::rng::Rng;
use larder_storage::table::Table;

use super::prefixes::prefix_of;
use crate::engine::Engine;

/// Keys whose prefixes are read, about, and those whose sizes are looked at.
const READ: usize = 8192;
const WEIGHED: usize = 1 << 18;
/// What takes so small a part of all bytes is not large.
const LARGE: usize = 4096;
/// Segments that one lock of a shard may look through.
const SEGMENTS_PER_LOCK: usize = 16;

/// What is there of a prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Population {
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
}

/// What is there of each prefix.
#[derive(Debug, Default)]
pub(crate) struct Populations {
    pub(crate) by_prefix: HashMap<Box<[u8]>, Population>,
    /// Whether some keys stand for others.
    pub(crate) is_estimate: bool,
}

/// How closely is looked.
#[derive(Clone, Copy)]
struct Plan {
    /// One segment in so many is read.
    read_every: usize,
    /// One segment in so many is looked through for keys of at least so many bytes.
    weighed_every: usize,
    large: usize,
}

impl Plan {
    fn of(keys: usize, bytes: usize) -> Self {
        let weighed_every = keys.div_ceil(WEIGHED).max(1);
        // Of the segments that are weighed, so that a key that is not large is not overlooked as one that is.
        let read_every = keys.div_ceil(READ).max(1).next_multiple_of(weighed_every);
        let large = if read_every == 1 { usize::MAX } else { (bytes / LARGE).max(1) };
        Self { read_every, weighed_every, large }
    }
}

/// Counts. No shard may be held. What a script holds meanwhile counts as what others hold on average.
pub(crate) fn count(engine: &Engine) -> Populations {
    let keyspace = engine.keyspace();
    let (mut keys, mut bytes, mut shards) = (0, 0, Vec::new());
    for shard in 0..keyspace.shards() {
        if let Some(mut locked) = keyspace.try_lock(ShardSet::one(shard))
            && let Some(guarded) = locked.only()
        {
            for (_, table) in guarded.shard.databases() {
                (keys, bytes) = (keys + table.len(), bytes + table.entry_memory());
            }
            shards.push(shard);
        }
    }
    let plan = Plan::of(keys, bytes);
    let is_estimate = plan.read_every > 1 || shards.len() < keyspace.shards();
    let mut counted = Populations { is_estimate, ..Populations::default() };
    let mut rng = Rng::seeded(keys as u64);
    for shard in &shards {
        for db in 0..keyspace.databases() {
            counted.add_table(engine, (*shard, db), plan, rng.index(plan.read_every));
        }
    }
    if shards.len() < keyspace.shards() {
        let share = keyspace.shards() as f64 / shards.len().max(1) as f64;
        for population in counted.by_prefix.values_mut() {
            population.keys = (population.keys as f64 * share) as u64;
            population.bytes = (population.bytes as f64 * share) as u64;
        }
    }
    counted
}

impl Populations {
    fn add_table(&mut self, engine: &Engine, (shard, db): (usize, usize), plan: Plan, first_read: usize) {
        let separator = engine.settings().cache_prefix_separator.get();
        let mut next = first_read % plan.weighed_every;
        loop {
            let Some(mut locked) = engine.keyspace().try_lock(ShardSet::one(shard)) else { return };
            let Some(table) = locked.only().and_then(|guarded| guarded.shard.table(db)) else { return };
            for _ in 0..SEGMENTS_PER_LOCK {
                if next >= table.segments() {
                    return;
                }
                let is_read = next % plan.read_every == first_read;
                self.add_segment(table, next as u32, plan, is_read, &separator);
                next += plan.weighed_every;
            }
        }
    }

    fn add_segment(&mut self, table: &Table, segment: u32, plan: Plan, is_read: bool, separator: &[u8]) {
        for (pos, word) in table.words(segment) {
            let is_large = plan.large < usize::MAX && table.weight_of(word) >= plan.large;
            let stands_for = match (is_large, is_read) {
                (true, _) => plan.weighed_every,
                (false, true) => plan.read_every,
                (false, false) => continue,
            };
            let prefix = prefix_of(table.entry(pos).key(), separator);
            if !self.by_prefix.contains_key(prefix) {
                self.by_prefix.insert(prefix.into(), Population::default());
            }
            if let Some(own) = self.by_prefix.get_mut(prefix) {
                own.keys += stands_for as u64;
                own.bytes += (table.memory_of(pos) * stands_for) as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;

    #[test]
    fn few_keys_are_counted_one_by_one() {
        let server = Server::builder().manual_clock(1_700_000_000_000).seed(1).build().unwrap();
        let mut connection = server.connect();
        for number in 0..1000 {
            connection.execute(["SET", &format!("user:{number}"), "v"]);
        }
        connection.execute(["SELECT", "3"]);
        connection.execute(["SET", "page:1", &"v".repeat(5000)]);
        let counted = count(server.engine());
        assert!(!counted.is_estimate);
        let of = |prefix: &[u8]| counted.by_prefix[prefix];
        assert_eq!((of(b"user").keys, of(b"page").keys), (1000, 1));
        assert!((5000..6000).contains(&of(b"page").bytes), "{counted:?}");
    }

    #[test]
    fn a_few_large_values_among_many_keys_are_not_overlooked() {
        let server = Server::builder().manual_clock(1_700_000_000_000).seed(1).build().unwrap();
        let mut connection = server.connect();
        for number in 0..60_000 {
            connection.execute(["SET", &format!("user:{number}"), "v"]);
        }
        for number in 0..5 {
            connection.execute(["SET", &format!("blob:{number}"), &"v".repeat(300_000)]);
        }
        connection.execute(["RPUSH", "list:1", &"v".repeat(50_000), &"v".repeat(50_000)]);
        let counted = count(server.engine());
        assert!(counted.is_estimate);
        let of = |prefix: &[u8]| counted.by_prefix[prefix];
        assert_eq!((of(b"blob").keys, of(b"list").keys), (5, 1));
        assert!((1_500_000..1_510_000).contains(&of(b"blob").bytes), "{counted:?}");
        assert!((50_000..70_000).contains(&of(b"user").keys), "{counted:?}");
        let all: u64 = counted.by_prefix.values().map(|it| it.bytes).sum();
        let keyspace = server.engine().keyspace();
        let mut shards = keyspace.lock(keyspace.all());
        let tables =
            shards.each().flat_map(|(_, guarded)| guarded.shard.databases().map(|(_, table)| table.entry_memory()));
        let held: usize = tables.sum();
        assert!((0.8..1.2).contains(&(all as f64 / held as f64)), "{all} of {held}");
    }
}
