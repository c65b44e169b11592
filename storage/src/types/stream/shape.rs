//! How many nodes Redis's radix tree would have for a stream's keys, which XINFO tells: counted as keys come and go,
//! for going through all keys would take long.
//!
//! Redis keeps a macro node under its first id, 16 bytes with the highest first. Its tree has a node for each key's
//! end, one for each place where keys part, and one for each run of bytes between those that is not empty.

use super::id::StreamId;
use super::sorted::SortedMap;

/// Bytes of a key.
const BYTES: u32 = 16;

/// Nodes of the tree without a key: its root.
pub(super) const EMPTY: usize = 1;

/// How many nodes the tree has more with `key` than without, among the other keys of the map.
pub(super) fn nodes_of<V>(map: &SortedMap<StreamId, V>, key: StreamId) -> usize {
    let below = map.range(map.start(), map.lower(&key)).next_back().map(|(id, _)| *id);
    let above = map.at(map.above(&key)).map(|(id, _)| *id);
    let common = |other: Option<StreamId>| other.map(|other| common_bytes(key, other));
    let Some(depth) = common(below).max(common(above)) else { return 1 };

    // All other keys that begin alike up to there, and the nearest ones that do not.
    let rest = u128::MAX.checked_shr(8 * depth).unwrap_or(0);
    let (lowest, highest) = (StreamId::from_bits(key.bits() & !rest), StreamId::from_bits(key.bits() | rest));
    let (from, to) = (map.lower(&lowest), map.above(&highest));
    let mut alike = map.range(from, to).map(|(id, _)| *id).filter(|id| *id != key);
    let mut alike_back = map.range(from, to).rev().map(|(id, _)| *id).filter(|id| *id != key);
    let (Some(first), Some(last)) = (alike.next(), alike_back.next()) else { return 1 };

    let own_rest = usize::from(depth + 1 < BYTES);
    if byte(first, depth) != byte(last, depth) {
        // They part there already.
        return 1 + own_rest;
    }
    let outside = [map.range(map.start(), from).next_back(), map.at(to)];
    let parted = outside.iter().flatten().map(|(id, _)| common_bytes(first, **id) + 1).max().unwrap_or(0);
    let parts = if first == last { BYTES } else { common_bytes(first, last) };
    // The run of bytes from `parted` to `parts` becomes two with a parting between, and the new key's end hangs there.
    let runs = usize::from(depth > parted) + usize::from(depth + 1 < parts);
    runs + own_rest + 1
}

/// How many bytes two different keys have in common from the beginning.
fn common_bytes(one: StreamId, other: StreamId) -> u32 {
    (one.bits() ^ other.bits()).leading_zeros() / 8
}

fn byte(id: StreamId, depth: u32) -> u8 {
    (id.bits() >> (8 * (BYTES - 1 - depth))) as u8
}

/// The nodes of a tree of these keys, which ascend, counted anew.
pub(super) fn count(keys: &[[u8; BYTES as usize]]) -> usize {
    if keys.is_empty() { EMPTY } else { count_from(keys, 0) }
}

fn count_from(keys: &[[u8; BYTES as usize]], depth: usize) -> usize {
    let (first, last) = (keys[0], keys[keys.len() - 1]);
    let Some(parts) = (depth..first.len()).find(|at| first[*at] != last[*at]) else {
        return 1 + usize::from(depth < first.len());
    };
    let branches = keys.chunk_by(|one, other| one[parts] == other[parts]).map(|keys| count_from(keys, parts + 1));
    usize::from(parts > depth) + 1 + branches.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nodes_are_counted_as_keys_come_and_go(
            steps in proptest::collection::vec((any::<bool>(), 0u64..4, 0u64..3, 0u64..600), 1..120),
        ) {
            let (mut map, mut nodes) = (SortedMap::new(), EMPTY);
            for (comes, high, low, seq) in steps {
                let key = StreamId::new(high << 40 | low << 8, seq);
                if comes && map.insert(key, ()).is_none() {
                    nodes += nodes_of(&map, key);
                }
                if !comes {
                    let key = map.at(map.lower(&key)).map_or(key, |(id, _)| *id);
                    if map.remove(&key).is_some() {
                        nodes -= nodes_of(&map, key);
                    }
                }
                let keys: Vec<_> = map.iter().map(|(id, _)| id.bits().to_be_bytes()).collect();
                prop_assert_eq!(nodes, count(&keys));
            }
        }
    }
}
