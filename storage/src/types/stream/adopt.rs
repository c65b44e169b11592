//! The entries of a stream made of nodes of unknown origin, as RESTORE is given them: what reading takes for granted is
//! checked here.

use super::id::StreamId;
use super::log::{Log, moved};
use super::node::{DELETED, SAME_FIELDS};
use super::read::Facts;
use crate::types::pack::{self, Element, Pack};

/// What a node holds.
struct Held {
    live: u64,
    last_id: StreamId,
}

impl Log {
    /// Adds a node at the end, its key being its first entry's id; false if it is malformed or does not come after
    /// what is there. One without a live entry is left out.
    pub fn adopt_node(&mut self, master: StreamId, node: &[u8]) -> bool {
        let Some(held) = held_by(master, Pack(node)).filter(|_| master > self.facts.last_id) else { return false };
        self.facts.last_id = held.last_id;
        if held.live > 0 {
            self.facts.len += held.live;
            self.add_node(master, moved(node));
        }
        true
    }

    /// Sets what is told of the entries once all nodes are there, but for the first id, which they show; false if it
    /// cannot be true of them.
    pub fn adopt_facts(&mut self, facts: Facts) -> bool {
        if facts.len != self.facts.len || facts.last_id < self.facts.last_id {
            return false;
        }
        self.set_ids(facts.last_id, Some(facts.entries_added), Some(facts.max_deleted_id));
        self.find_first();
        true
    }
}

/// What a node holds; `None` if it is not laid out as `node.rs` says.
fn held_by(master: StreamId, node: Pack<'_>) -> Option<Held> {
    let mut elements = node.iter();
    let (live, deleted, fields) = (natural(&mut elements)?, natural(&mut elements)?, natural(&mut elements)?);
    skip(&mut elements, fields)?;
    if integer(&mut elements)? != 0 {
        return None;
    }
    let (mut found_live, mut found_deleted, mut last) = (0, 0, None);
    while let Some(flags) = elements.next() {
        let Element::Int(flags @ 0..=3) = flags else { return None };
        let id = master.at_distance(integer(&mut elements)?, integer(&mut elements)?);
        let has_same = flags & SAME_FIELDS != 0;
        // A deleted one may be above those that follow, as XSETID may have gone back behind it.
        let (is_first, is_live) = (found_live + found_deleted == 0, flags & DELETED == 0);
        if is_live && last >= Some(id) || is_first && !(id == master && has_same) {
            return None;
        }
        let pairs = if has_same { fields } else { natural(&mut elements)? };
        // No node has so many elements that these overflow, but the numbers in it may say so.
        let (values, others) = if has_same { (pairs, 3) } else { (pairs.checked_mul(2)?, 4) };
        skip(&mut elements, values)?;
        if Some(natural(&mut elements)?) != values.checked_add(others) {
            return None;
        }
        if is_live {
            (found_live, last) = (found_live + 1, Some(id));
        } else {
            found_deleted += 1;
        }
    }
    let last_id = last.unwrap_or(master);
    (found_live == live && found_deleted == deleted && live + deleted > 0).then_some(Held { live, last_id })
}

fn integer(elements: &mut pack::Iter<'_>) -> Option<i64> {
    match elements.next()? {
        Element::Int(number) => Some(number),
        Element::Bytes(_) => None,
    }
}

fn natural(elements: &mut pack::Iter<'_>) -> Option<u64> {
    u64::try_from(integer(elements)?).ok()
}

/// Passes over elements, which must be there; it ends with the sequence, whatever `count` says.
fn skip(elements: &mut pack::Iter<'_>, count: u64) -> Option<()> {
    for _ in 0..count {
        elements.next()?;
    }
    Some(())
}
