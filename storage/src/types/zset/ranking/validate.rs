//! The check of a ranking's invariants, for tests.

use std::cmp::Ordering;

use super::*;
use crate::types::zset::compare;

impl<const N: usize> Ranking<N> {
    /// Every member, in order.
    pub(in crate::types::zset) fn members(&self) -> impl Iterator<Item = Ref> {
        let first = (self.len > 0).then(|| self.seek(0));
        let next = |&cursor: &Cursor| Some(self.next(cursor));
        std::iter::successors(first, next).take(self.len).map(|cursor| self.at(cursor).member)
    }

    /// Checks the module's invariants; panics with what is wrong.
    pub(in crate::types::zset) fn validate(&self, members: &Members) {
        self.leaves.validate();
        self.inners.validate();
        let (mut leaves, mut inners) = (Vec::new(), 0);
        let count = self.validate_node(self.height, self.root, &mut leaves, &mut inners);
        assert_eq!(count, self.len, "every element is counted");
        assert_eq!(leaves.len(), self.leaves.len(), "every leaf is in the tree");
        assert_eq!(inners, self.inners.len(), "every inner node is in the tree");

        let link = |place: usize| leaves.get(place).copied().unwrap_or(NONE);
        for (place, &id) in leaves.iter().enumerate() {
            let leaf = self.leaves.get(id);
            let beside = (link(place.wrapping_sub(1)), link(place + 1));
            assert_eq!((leaf.prev, leaf.next), beside, "leaves are linked in order");
        }
        let keys: Vec<Key> = leaves.iter().flat_map(|&id| self.leaves.get(id).keys.iter()).collect();
        let bytes = |key: Key| (key.score, members.bytes(key.member));
        for pair in keys.windows(2) {
            let order = compare(bytes(pair[0]), bytes(pair[1]));
            assert_eq!(order, Ordering::Less, "keys ascend");
        }
        for key in keys {
            let score = members.score(key.member);
            assert_eq!(score.to_bits(), key.score.to_bits(), "a record has its key's score");
        }
    }

    /// Elements below the node.
    fn validate_node(&self, level: usize, id: u32, leaves: &mut Vec<u32>, inners: &mut usize) -> usize {
        if level == 0 {
            let len = self.leaves.get(id).keys.len();
            assert!(len >= Leaf::<N>::LEAST || self.height == 0, "no leaf is empty");
            leaves.push(id);
            return len;
        }
        *inners += 1;
        let inner = self.inners.get(id);
        assert!(inner.keys.len() >= Inner::<N>::LEAST, "an inner node has two children");
        for (place, key) in inner.keys.iter().enumerate() {
            let child = inner.children[place];
            assert_eq!(Some(key), self.first_of(level - 1, child), "keys are the children's first");
            let count = self.validate_node(level - 1, child, leaves, inners);
            assert_eq!(count, inner.counts[place] as usize, "counts are the children's");
        }
        inner.count() as usize
    }
}
