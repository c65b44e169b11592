//! Several caches, each holding the rooms that fall to it.
//!
//! `hash(room) % n` would move almost every room when a server is added. Rendezvous hashing (Thaler and Ravishankar, 1996)
//! gives each pair of room and server a score, and the highest score wins: a server that is added wins 1/n of the rooms and
//! no other room moves. The score depends on the server's URL, not on its place in the list.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Store;
use crate::keys::Group;

/// The caches; cheap to clone.
#[derive(Clone)]
pub struct Shards {
    stores: Vec<Store>,
}

impl Shards {
    /// Caches in any order, at least one.
    pub fn new(stores: Vec<Store>) -> Self {
        Self { stores }
    }

    /// All of them.
    pub fn all(&self) -> &[Store] {
        &self.stores
    }

    /// The cache of a group.
    pub fn of(&self, group: &Group) -> &Store {
        self.of_key(&group.shard_key())
    }

    /// The cache that a key falls to.
    pub fn of_key(&self, key: &str) -> &Store {
        let urls: Vec<&str> = self.stores.iter().map(Store::url).collect();
        &self.stores[place(&urls, key)]
    }

    /// Waits until all are connected, for at most `time`.
    pub async fn wait_connected(&self, time: Duration) {
        for store in &self.stores {
            store.wait_connected(time).await;
        }
    }
}

/// The index of the server that a key falls to.
pub fn place(servers: &[&str], key: &str) -> usize {
    if servers.len() < 2 {
        return 0;
    }
    let best = servers.iter().enumerate().max_by_key(|(_, server)| score(server, key));
    best.map_or(0, |(index, _)| index)
}

fn score(server: &str, key: &str) -> u64 {
    let digest = Sha256::new().chain_update(server).chain_update([0]).chain_update(key).finalize();
    digest.iter().take(8).fold(0, |score, byte| score << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn one_more_server_moves_its_share_of_the_rooms_and_no_others() {
        let four = ["redis://a", "redis://b", "redis://c", "redis://d"];
        let five = ["redis://a", "redis://b", "redis://e", "redis://c", "redis://d"];
        let rooms: Vec<String> = (0..10_000).map(|number| format!("room:{number}")).collect();
        let mut moved = 0;
        for room in &rooms {
            let (before, after) = (four[place(&four, room)], five[place(&five, room)]);
            if before != after {
                assert_eq!(after, "redis://e", "a room moves to the new server only");
                moved += 1;
            }
        }
        assert!((1_800..2_200).contains(&moved), "about a fifth of 10,000: {moved}");
    }

    #[test]
    fn rooms_spread_evenly() {
        let servers = ["redis://a", "redis://b", "redis://c"];
        let mut counts = [0; 3];
        (0..9_000).for_each(|number| counts[place(&servers, &format!("room:{number}"))] += 1);
        assert!(counts.iter().all(|count| (2_800..3_200).contains(count)), "{counts:?}");
    }
}
