//! The order of a large sorted set: a counted B+tree (Bayer and McCreight, 1972; the counts make it an order-statistics
//! tree), which finds an element's rank, or the element of a rank, in one descent.
//!
//! Elements are keys (score, member) in linked leaves; an inner node keeps, for each child, the first key in it and the
//! number of elements in it. A member is a [`Ref`], and its bytes are read only to tell equal scores apart.
//!
//! Nodes stand in dense arenas: the last node moves into the place of one that goes. Neighbours share entries before
//! one of them splits, which keeps leaves about four fifths full; a split at either end of the order leaves the old
//! node full, as elements that come in order deserve.
//!
//! Each restructuring step (share, split, merge, collapse) is whole in itself: it leaves a valid tree, and the caller
//! descends anew. Steps are rare, so this costs little and no path ever has to be repaired.
//!
//! Invariants: all leaves are equally deep; an inner node's key and count of a child are exact; nodes other than the
//! root hold `LEAST` entries or more; `prev` and `next` link the leaves in order.

use std::ops::Range;

use super::member::Members;
use super::node::{Inner, Key, Keys, Leaf, NONE, Node};
use crate::cpu::prefetch;
use crate::heap::{Mover, Settle};
use crate::slab::Ref;
use crate::types::arena::Arena;

mod validate;

/// Levels of inner nodes: nodes of 62 entries are at least a quarter full, so 2^32 elements need 8.
const MAX_HEIGHT: usize = 16;

/// The tree; see the module's page.
pub(super) struct Ranking<const N: usize> {
    leaves: Arena<Leaf<N>>,
    inners: Arena<Inner<N>>,
    root: u32,
    /// Levels of inner nodes; at 0 the root is a leaf.
    height: usize,
    len: usize,
}

/// The way from the root to a leaf. `nodes[0]` is the leaf; at the levels above, `places` says which child was taken.
struct Path {
    nodes: [u32; MAX_HEIGHT + 1],
    places: [u16; MAX_HEIGHT + 1],
}

impl Path {
    /// The parent of the path's node at `level`, and the node's place in it.
    fn parent(&self, level: usize) -> (u32, usize) {
        (self.nodes[level + 1], self.places[level + 1] as usize)
    }
}

/// A key's place in a leaf, and the way there.
pub(super) struct Place {
    path: Path,
    place: usize,
}

/// Where in the order an insert found no room.
#[derive(Clone, Copy)]
enum Edge {
    Front,
    Middle,
    Back,
}

/// An element's place, valid until the next change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    leaf: u32,
    place: u32,
}

impl<const N: usize> Ranking<N> {
    pub(super) fn new() -> Self {
        let mut leaves = Arena::new();
        let root = leaves.push(Leaf::empty());
        Self { leaves, inners: Arena::new(), root, height: 0, len: 0 }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn memory(&self) -> usize {
        self.leaves.memory() + self.inners.memory()
    }

    /// Adds a key that is absent.
    #[inline]
    pub(super) fn insert(&mut self, members: &Members, key: Key) {
        let bytes = members.bytes(key.member);
        self.insert_after(key, |keys| keys.up_to(members, key.score, bytes));
    }

    /// Adds a key that comes after all others.
    pub(super) fn append(&mut self, key: Key) {
        self.insert_after(key, Keys::len);
    }

    /// Takes a key out that is there.
    pub(super) fn remove(&mut self, members: &Members, key: Key) {
        let path = self.path_to(members, key);
        let place = self.leaves.get(path.nodes[0]).keys.place_of(key);
        self.cut(members, path, place..place + 1);
    }

    /// Takes keys out, from `rank` on, those of one leaf but not more than `limit`, and adds their members to `gone`.
    pub(super) fn remove_from(&mut self, members: &Members, rank: usize, limit: usize, gone: &mut Vec<Ref>) {
        let (path, place) = self.path_to_rank(rank);
        let keys = &self.leaves.get(path.nodes[0]).keys;
        let end = keys.len().min(place + limit);
        gone.extend((place..end).map(|place| keys.at(place).member));
        self.cut(members, path, place..end);
    }

    /// Gives a member that is there another score.
    pub(super) fn rescore(&mut self, members: &Members, key: Key, score: f64) {
        let path = self.path_to(members, key);
        let leaf = self.leaves.get_mut(path.nodes[0]);
        let from = leaf.keys.place_of(key);
        let to = leaf.keys.up_to(members, score, members.bytes(key.member));
        // At the leaf's ends only the neighbour leaf knows whether the key stays here, unless there is none.
        let stays =
            if score > key.score { to < leaf.keys.len() || leaf.next == NONE } else { to > 0 || leaf.prev == NONE };
        if !stays {
            self.cut(members, path, from..from + 1);
            self.insert(members, Key { score, ..key });
            return;
        }
        let to = if to > from { to - 1 } else { to };
        leaf.shift(from, to, score);
        if from == 0 || to == 0 {
            self.refresh_first(&path, 0);
        }
    }

    /// The place of a key that is there, to rename its member.
    pub(super) fn find(&self, members: &Members, key: Key) -> Place {
        let path = self.path_to(members, key);
        let place = self.leaves.get(path.nodes[0]).keys.place_of(key);
        Place { path, place }
    }

    /// Puts another name for the same member into a key; nothing may have changed since it was found.
    pub(super) fn rename(&mut self, Place { path, place }: &Place, member: Ref) {
        let keys = &mut self.leaves.get_mut(path.nodes[0]).keys;
        let key = Key { member, ..keys.at(*place) };
        keys.set(*place, key);
        if *place == 0 {
            self.refresh_first(path, 0);
        }
    }

    /// Puts other names for the same members into all keys.
    pub(super) fn rename_all(&mut self, name: impl Fn(Ref) -> Ref) {
        (0..self.leaves.len() as u32).for_each(|id| self.leaves.get_mut(id).keys.rename_all(&name));
        (0..self.inners.len() as u32).for_each(|id| self.inners.get_mut(id).keys.rename_all(&name));
    }

    /// The rank of a key that is there.
    pub(super) fn rank(&self, members: &Members, key: Key) -> usize {
        let path = self.path_to(members, key);
        let place = self.leaves.get(path.nodes[0]).keys.place_of(key);
        self.rank_at(&path, place)
    }

    /// Elements with a score below `bound`, or up to and with it.
    pub(super) fn rank_of_score(&self, bound: f64, after: bool) -> usize {
        self.rank_by(|keys| keys.before_score(bound, after))
    }

    /// Elements whose member is below `bound`, or up to and with it, in a set of equal scores.
    pub(super) fn rank_of_member(&self, members: &Members, bound: &[u8], after: bool) -> usize {
        self.rank_by(|keys| keys.before_member(members, bound, after))
    }

    /// Where the element of a rank is; the rank must be below the length.
    pub(super) fn seek(&self, rank: usize) -> Cursor {
        let (path, place) = self.path_to_rank(rank);
        Cursor { leaf: path.nodes[0], place: place as u32 }
    }

    #[inline]
    pub(super) fn at(&self, cursor: Cursor) -> Key {
        self.leaves.get(cursor.leaf).keys.at(cursor.place as usize)
    }

    /// The members of the cursor's leaf, and the element's place among them.
    #[inline]
    pub(super) fn around(&self, cursor: Cursor) -> (&[Ref], usize) {
        let members = self.leaves.get(cursor.leaf).keys.members();
        (members, cursor.place as usize)
    }

    /// The element after; the cursor itself at the end.
    #[inline]
    pub(super) fn next(&self, cursor: Cursor) -> Cursor {
        let leaf = self.leaves.get(cursor.leaf);
        let place = cursor.place + 1;
        if (place as usize) < leaf.keys.len() {
            return Cursor { place, ..cursor };
        }
        match leaf.next {
            NONE => cursor,
            next => Cursor { leaf: next, place: 0 },
        }
    }

    /// The element before; the cursor itself at the front.
    #[inline]
    pub(super) fn previous(&self, cursor: Cursor) -> Cursor {
        if cursor.place > 0 {
            return Cursor { place: cursor.place - 1, ..cursor };
        }
        match self.leaves.get(cursor.leaf).prev {
            NONE => cursor,
            prev => Cursor { leaf: prev, place: self.leaves.get(prev).keys.len() as u32 - 1 },
        }
    }

    /// Frees up to `chunks` chunks of nodes; true when none is left. The tree may only be freed further then.
    pub(super) fn free_step(&mut self, chunks: usize) -> bool {
        self.len = 0;
        self.leaves.free_step(chunks) && self.inners.free_step(chunks)
    }
}

/// Descents. Each goes by a function that says how many keys of a node stand before what is sought.
impl<const N: usize> Ranking<N> {
    #[inline]
    fn descend(&self, before: impl Fn(&Keys<N>) -> usize) -> Path {
        let mut path = Path { nodes: [0; MAX_HEIGHT + 1], places: [0; MAX_HEIGHT + 1] };
        let mut id = self.root;
        for level in (1..=self.height).rev() {
            let inner = self.inners.get(id);
            let place = before(&inner.keys).saturating_sub(1);
            path.nodes[level] = id;
            path.places[level] = place as u16;
            id = inner.children[place];
            if level == 1 {
                fetch(self.leaves.get(id));
            } else {
                fetch(self.inners.get(id));
            }
        }
        path.nodes[0] = id;
        path
    }

    /// The way to a key's leaf.
    #[inline]
    fn path_to(&self, members: &Members, key: Key) -> Path {
        let bytes = members.bytes(key.member);
        self.descend(|keys| keys.up_to(members, key.score, bytes))
    }

    /// The way to a rank's leaf, and the place in it.
    fn path_to_rank(&self, rank: usize) -> (Path, usize) {
        let mut path = Path { nodes: [0; MAX_HEIGHT + 1], places: [0; MAX_HEIGHT + 1] };
        let (mut id, mut left) = (self.root, rank);
        for level in (1..=self.height).rev() {
            let inner = self.inners.get(id);
            let mut place = 0;
            while left >= inner.counts[place] as usize && place + 1 < inner.keys.len() {
                left -= inner.counts[place] as usize;
                place += 1;
            }
            path.nodes[level] = id;
            path.places[level] = place as u16;
            id = inner.children[place];
        }
        path.nodes[0] = id;
        (path, left)
    }

    fn rank_at(&self, path: &Path, place: usize) -> usize {
        let before = |level| {
            let (inner, place) = path.parent(level);
            self.inners.get(inner).count_before(place)
        };
        (0..self.height).map(before).sum::<usize>() + place
    }

    fn rank_by(&self, before: impl Fn(&Keys<N>) -> usize) -> usize {
        let path = self.descend(&before);
        self.rank_at(&path, before(&self.leaves.get(path.nodes[0]).keys))
    }
}

/// Changes.
impl<const N: usize> Ranking<N> {
    #[inline]
    fn insert_after(&mut self, key: Key, before: impl Fn(&Keys<N>) -> usize) {
        loop {
            let path = self.descend(&before);
            let leaf = self.leaves.get_mut(path.nodes[0]);
            let place = before(&leaf.keys);
            if leaf.keys.len() < N {
                leaf.insert(place, key);
                self.len += 1;
                self.add_to_counts(&path, 1);
                if place == 0 {
                    self.refresh_first(&path, 0);
                }
                return;
            }
            let edge = match place {
                0 if leaf.prev == NONE => Edge::Front,
                _ if place == N && leaf.next == NONE => Edge::Back,
                _ => Edge::Middle,
            };
            self.make_room(&path, edge);
        }
    }

    /// Takes the places of the path's leaf out and restores the tree's rules.
    fn cut(&mut self, members: &Members, mut path: Path, places: Range<usize>) {
        let leaf = self.leaves.get_mut(path.nodes[0]);
        leaf.remove(places.start, places.end);
        let is_low = leaf.keys.len() < N / 2;
        self.len -= places.len();
        self.add_to_counts(&path, (places.len() as u32).wrapping_neg());
        if places.start == 0 {
            self.refresh_first(&path, 0);
        }
        if is_low {
            while let Some(mended) = self.mend(members, &path) {
                path = self.path_to(members, mended);
            }
        }
    }

    /// Adds to the count of each node of the path, modulo 2^32.
    #[inline]
    fn add_to_counts(&mut self, path: &Path, n: u32) {
        for level in 0..self.height {
            let (parent, place) = path.parent(level);
            let count = &mut self.inners.get_mut(parent).counts[place];
            *count = count.wrapping_add(n);
        }
    }

    /// Tells the nodes above the path's node at `level` its first key, as far up as it is theirs. (An emptied leaf has
    /// none; it is mended before anything descends by its old one.)
    fn refresh_first(&mut self, path: &Path, level: usize) {
        let Some(first) = self.first_of(level, path.nodes[level]) else {
            return;
        };
        for level in level..self.height {
            let (parent, place) = path.parent(level);
            self.inners.get_mut(parent).keys.set(place, first);
            if place > 0 {
                return;
            }
        }
    }

    fn first_of(&self, level: usize, id: u32) -> Option<Key> {
        match level {
            0 => self.leaves.get(id).keys.first(),
            _ => self.inners.get(id).keys.first(),
        }
    }

    fn len_of(&self, level: usize, id: u32) -> usize {
        match level {
            0 => self.leaves.get(id).keys.len(),
            _ => self.inners.get(id).keys.len(),
        }
    }

    /// Copies a child's first key and count into its parent.
    fn refresh_child(&mut self, level: usize, parent: u32, place: usize) {
        let child = self.inners.get(parent).children[place];
        let (first, count) = match level {
            0 => facts(self.leaves.get(child)),
            _ => facts(self.inners.get(child)),
        };
        let parent = self.inners.get_mut(parent);
        parent.counts[place] = count;
        if let Some(first) = first {
            parent.keys.set(place, first);
        }
    }
}

/// Restructuring. The `place`th and the next child of a parent are a pair; `level` is the children's.
impl<const N: usize> Ranking<N> {
    /// One step towards room in the path's full leaf.
    #[cold]
    fn make_room(&mut self, path: &Path, edge: Edge) {
        for level in 0..self.height {
            let (parent, place) = path.parent(level);
            if self.share(level, parent, place) {
                return;
            }
            if self.len_of(level + 1, parent) < N {
                return self.split(level, parent, place, edge);
            }
        }
        self.grow();
        self.split(self.height - 1, self.root, 0, edge);
    }

    /// Moves half of what a neighbour has room for out of a full node; false if neither has room worth it.
    fn share(&mut self, level: usize, parent: u32, place: usize) -> bool {
        let room = |place: usize| {
            let child = self.inners.get(parent).children[place];
            N - self.len_of(level, child)
        };
        let worth = (N / 16).max(2);
        if place > 0 && room(place - 1) >= worth {
            self.pour(level, parent, place - 1, -(room(place - 1).div_ceil(2) as isize));
        } else if place + 1 < self.len_of(level + 1, parent) && room(place + 1) >= worth {
            self.pour(level, parent, place, room(place + 1).div_ceil(2) as isize);
        } else {
            return false;
        }
        true
    }

    /// Moves `n` entries of a pair to the right, or to the left if `n` is negative.
    fn pour(&mut self, level: usize, parent: u32, place: usize, n: isize) {
        let children = &self.inners.get(parent).children;
        let pair = (children[place], children[place + 1]);
        match level {
            0 => pour(self.leaves.pair_mut(pair.0, pair.1), n),
            _ => pour(self.inners.pair_mut(pair.0, pair.1), n),
        }
        self.refresh_child(level, parent, place);
        self.refresh_child(level, parent, place + 1);
    }

    /// Splits a full node whose parent has room.
    fn split(&mut self, level: usize, parent: u32, place: usize, edge: Edge) {
        let id = self.inners.get(parent).children[place];
        let (new, least) = match level {
            0 => (self.push_leaf_after(id), Leaf::<N>::LEAST),
            _ => (self.inners.push(Inner::empty()), Inner::<N>::LEAST),
        };
        let inner = self.inners.get_mut(parent);
        inner.insert(place + 1, inner.keys.at(place), new);
        let n = match edge {
            Edge::Front => N - least,
            Edge::Middle => N / 2,
            Edge::Back => least,
        };
        self.pour(level, parent, place, n as isize);
    }

    fn push_leaf_after(&mut self, id: u32) -> u32 {
        let next = self.leaves.get(id).next;
        let new = self.leaves.push(Leaf { prev: id, next, ..Leaf::empty() });
        self.leaves.get_mut(id).next = new;
        if next != NONE {
            self.leaves.get_mut(next).prev = new;
        }
        new
    }

    /// Puts a root over the root.
    fn grow(&mut self) {
        let new = self.inners.push(Inner::empty());
        // A full root has a first key.
        if let Some(first) = self.first_of(self.height, self.root) {
            self.inners.get_mut(new).insert(0, first, self.root);
        }
        self.root = new;
        self.height += 1;
        self.refresh_child(self.height - 1, new, 0);
    }

    /// One step that gives a node of the path more entries, or makes the tree lower. A key by which to find the way
    /// there again, or `None` if all is well.
    fn mend(&mut self, members: &Members, path: &Path) -> Option<Key> {
        for level in 0..self.height {
            let len = self.len_of(level, path.nodes[level]);
            if len < N / 2
                && let Some(mended) = self.mend_node(members, path, level, len)
            {
                return Some(mended);
            }
        }
        if self.height == 0 || self.len_of(self.height, self.root) > 1 {
            return None;
        }
        let old = self.root;
        let first = self.first_of(self.height, old);
        self.root = self.inners.get(old).children[0];
        self.height -= 1;
        self.discard(members, true, old);
        first
    }

    fn mend_node(&mut self, members: &Members, path: &Path, level: usize, len: usize) -> Option<Key> {
        let (parent, place) = path.parent(level);
        let children = self.len_of(level + 1, parent);
        let neighbour = |place: usize| self.len_of(level, self.inners.get(parent).children[place]);
        let left = (place > 0).then(|| (neighbour(place - 1), place - 1));
        let right = (place + 1 < children).then(|| (neighbour(place + 1), place));
        let (other, pair) = left.into_iter().chain(right).min()?;
        // Not quite full, so that the next insert does not split it again.
        if len + other <= N - N / 8 {
            return self.merge(members, path, level, pair);
        }
        let least = match level {
            0 => Leaf::<N>::LEAST,
            _ => Inner::<N>::LEAST,
        };
        if len >= least.max(N / 4) {
            return None;
        }
        let n = (other - len) as isize / 2;
        self.pour(level, parent, pair, if pair == place { -n } else { n });
        self.refresh_first(path, level + 1);
        Some(self.inners.get(parent).keys.at(place))
    }

    /// Moves all entries of a pair into its left node and drops the right one; gives the first key.
    fn merge(&mut self, members: &Members, path: &Path, level: usize, place: usize) -> Option<Key> {
        let (parent, _) = path.parent(level);
        let children = &self.inners.get(parent).children;
        let (left, right) = (children[place], children[place + 1]);
        let n = -(self.len_of(level, right) as isize);
        match level {
            0 => pour(self.leaves.pair_mut(left, right), n),
            _ => pour(self.inners.pair_mut(left, right), n),
        }
        if level == 0 {
            let next = self.leaves.get(right).next;
            self.leaves.get_mut(left).next = next;
            if next != NONE {
                self.leaves.get_mut(next).prev = left;
            }
        }
        self.inners.get_mut(parent).remove(place + 1);
        self.refresh_child(level, parent, place);
        self.refresh_first(path, level + 1);
        let first = self.first_of(level, left);
        self.discard(members, level > 0, right);
        first
    }

    /// Drops a node that nothing names any more. The arena's last node takes its place, so those that name that one
    /// are told first.
    fn discard(&mut self, members: &Members, is_inner: bool, id: u32) {
        let last = if is_inner { self.inners.len() } else { self.leaves.len() } as u32 - 1;
        if id != last {
            self.announce(members, is_inner, last, id);
        }
        if is_inner {
            self.inners.swap_remove(id);
        } else {
            self.leaves.swap_remove(id);
        }
    }

    fn announce(&mut self, members: &Members, is_inner: bool, old: u32, new: u32) {
        let Some(first) = self.first_of(is_inner as usize, old) else {
            return;
        };
        let path = self.path_to(members, first);
        let levels = if is_inner { 1..self.height + 1 } else { 0..1 };
        for level in levels.filter(|&level| path.nodes[level] == old) {
            if level == self.height {
                self.root = new;
            } else {
                let (parent, place) = path.parent(level);
                self.inners.get_mut(parent).children[place] = new;
            }
        }
        if !is_inner {
            let (prev, next) = (self.leaves.get(old).prev, self.leaves.get(old).next);
            if prev != NONE {
                self.leaves.get_mut(prev).next = new;
            }
            if next != NONE {
                self.leaves.get_mut(next).prev = new;
            }
        }
    }
}

fn facts<const N: usize>(node: &impl Node<N>) -> (Option<Key>, u32) {
    (node.keys().first(), node.count())
}

fn pour<const N: usize, T: Node<N>>((left, right): (&mut T, &mut T), n: isize) {
    if n >= 0 {
        left.pour_right(right, n.unsigned_abs());
    } else {
        right.pour_left(left, n.unsigned_abs());
    }
}

/// Asks for all lines of a node at once; a search would wait for one after the other.
#[inline(always)]
fn fetch<T>(node: &T) {
    let start = std::ptr::from_ref(node).cast::<u8>();
    for offset in (0..size_of::<T>()).step_by(64) {
        prefetch(start.wrapping_add(offset));
    }
}

impl<const N: usize> Settle for Ranking<N> {
    fn parts(&self) -> usize {
        self.leaves.len() + self.inners.len()
    }

    fn settle(&mut self, part: usize, mover: &mut Mover) {
        match part.checked_sub(self.leaves.len()) {
            None => self.leaves.settle(part, mover, |_, _| ()),
            Some(part) => self.inners.settle(part, mover, |_, _| ()),
        }
    }
}
