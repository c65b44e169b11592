//! A node: entries in a row, as one packed sequence of the elements that Redis's stream nodes have, so that DUMP and
//! RESTORE take a node as it is.
//!
//! ```text
//! head     entries | deleted entries | number of fields | fields of the first entry... | 0
//! entry    flags | ms | seq | [number of fields] | values, or fields and values | number of elements before this one
//! ```
//!
//! `ms` and `seq` are the distance from the node's key, which is the first entry's id. With `SAME_FIELDS` an entry has
//! the fields of the head and only its values stand there. A deleted entry keeps its place until the whole node goes.

use smallvec::SmallVec;

use super::id::StreamId;
use crate::types::Limits;
use crate::types::pack::{self, Bytes, Element, Pack};

/// The entry was deleted.
pub(super) const DELETED: i64 = 1;
/// The entry's fields are those of the head.
pub(super) const SAME_FIELDS: i64 = 2;

/// What Redis's listpack of the same elements has more than ours, in bytes: nodes must be full at the same size.
const REDIS_MORE: usize = 5;

/// Bytes above which a node takes nothing more, whatever the options say (1 GiB, Redis's limit).
const MAX_BYTES: usize = 1 << 30;

/// A node, for reading.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    master: StreamId,
    pack: Pack<'a>,
    /// Entries that are not deleted, and those that are.
    live: u64,
    deleted: u64,
    /// Where the head's fields stand, and how many they are.
    fields_at: usize,
    fields: usize,
    /// Where the first entry stands.
    first: usize,
}

/// An entry of a stream.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    pack: Pack<'a>,
    flags: i64,
    flags_at: usize,
    /// Where the fields stand, if apart from the values.
    fields_at: Option<usize>,
    values_at: usize,
    pairs: usize,
}

impl<'a> Node<'a> {
    #[inline]
    pub(super) fn read(master: StreamId, bytes: &'a [u8]) -> Self {
        let pack = Pack(bytes);
        let (live, at) = int(pack, pack.start());
        let (deleted, at) = int(pack, at);
        let (fields, fields_at) = int(pack, at);
        let fields = fields as usize;
        let first = skip(pack, fields_at, fields + 1);
        Self { master, pack, live: live as u64, deleted: deleted as u64, fields_at, fields, first }
    }

    /// Entries that are not deleted.
    #[inline]
    pub(super) fn live(self) -> u64 {
        self.live
    }

    /// Entries, deleted ones too.
    #[inline]
    pub(super) fn all(self) -> u64 {
        self.live + self.deleted
    }

    /// The place of the first entry.
    #[inline]
    pub(super) fn first(self) -> usize {
        self.first
    }

    /// The place behind the last entry.
    pub(super) fn end(self) -> usize {
        self.pack.0.len()
    }

    /// The entry at a place; `None` at the end.
    #[inline]
    pub(super) fn entry(self, flags_at: usize) -> Option<Entry<'a>> {
        if flags_at >= self.pack.0.len() {
            return None;
        }
        let (flags, at) = int(self.pack, flags_at);
        let (ms, at) = int(self.pack, at);
        let (seq, mut values_at) = int(self.pack, at);
        let (mut fields_at, mut pairs) = (Some(self.fields_at), self.fields);
        if flags & SAME_FIELDS == 0 {
            let (own, at) = int(self.pack, values_at);
            (fields_at, pairs, values_at) = (None, own as usize, at);
        }
        let id = self.master.at_distance(ms, seq);
        Some(Entry { id, pack: self.pack, flags, flags_at, fields_at, values_at, pairs })
    }

    /// The entry before a place; `None` at the beginning.
    #[inline]
    pub(super) fn entry_before(self, at: usize) -> Option<Entry<'a>> {
        let mut at = self.pack.before(at).filter(|at| *at >= self.first)?;
        let (elements, _) = int(self.pack, at);
        for _ in 0..elements {
            at = self.pack.before(at)?;
        }
        self.entry(at)
    }

    /// Id of the last entry, deleted or not.
    pub(super) fn last_id(self) -> Option<StreamId> {
        self.entry_before(self.end()).map(|entry| entry.id)
    }

    /// Checks every invariant of the layout; panics with what is wrong. The last id that is not deleted.
    pub(super) fn validate(self) -> Option<StreamId> {
        self.pack.validate();
        let (mut at, mut live, mut all, mut last, mut last_live) = (self.first, 0, 0, None, None);
        assert_eq!(self.pack.before(self.first).map(|at| int(self.pack, at).0), Some(0), "the head ends with a 0");
        while let Some(entry) = self.entry(at) {
            if all == 0 {
                assert_eq!(entry.id, self.master, "the key is the first entry's id");
                assert!(entry.flags & SAME_FIELDS != 0, "the head has the first entry's fields");
            }
            last = Some(entry.id);
            if !entry.is_deleted() {
                assert!(last_live < last, "ids of those that are there ascend");
                (live, last_live) = (live + 1, last);
            }
            all += 1;
            at = entry.end();
            let back = self.entry_before(at).map(|entry| entry.flags_at);
            assert_eq!(back, Some(entry.flags_at), "an entry is found from its end");
        }
        assert_eq!((live, all), (self.live(), self.all()), "entries are counted");
        assert_eq!(self.last_id(), last);
        last_live
    }
}

impl<'a> Entry<'a> {
    /// The number of its fields.
    #[inline]
    pub fn len(&self) -> usize {
        self.pairs
    }

    /// Whether it has no field; XADD makes no such entry.
    pub fn is_empty(&self) -> bool {
        self.pairs == 0
    }

    /// Its fields with their values, in order.
    #[inline]
    pub fn fields(&self) -> Fields<'a> {
        Fields { pack: self.pack, fields_at: self.fields_at, at: self.values_at, left: self.pairs }
    }

    #[inline]
    pub(super) fn is_deleted(&self) -> bool {
        self.flags & DELETED != 0
    }

    #[inline]
    pub(super) fn place(&self) -> usize {
        self.flags_at
    }

    /// The place behind it.
    #[inline]
    pub(super) fn end(&self) -> usize {
        let elements = if self.fields_at.is_some() { self.pairs } else { self.pairs * 2 };
        skip(self.pack, self.values_at, elements + 1)
    }
}

/// Fields and values; see [`Entry::fields`].
#[derive(Clone)]
pub struct Fields<'a> {
    pack: Pack<'a>,
    fields_at: Option<usize>,
    at: usize,
    left: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Element<'a>, Element<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let field = match &mut self.fields_at {
            Some(at) => {
                let (field, next) = self.pack.get(*at)?;
                *at = next;
                field
            }
            None => {
                let (field, next) = self.pack.get(self.at)?;
                self.at = next;
                field
            }
        };
        let (value, next) = self.pack.get(self.at)?;
        self.at = next;
        Some((field, value))
    }
}

/// The integer at a place, and the place behind it. Where no integer stands, which would be a broken node, it is 0.
#[inline]
fn int(pack: Pack<'_>, at: usize) -> (i64, usize) {
    match pack.get(at) {
        Some((Element::Int(number), next)) => (number, next),
        Some((Element::Bytes(_), next)) => (0, next),
        None => (0, at),
    }
}

/// The place so many elements on.
#[inline]
fn skip(pack: Pack<'_>, mut at: usize, elements: usize) -> usize {
    for _ in 0..elements {
        let Some((_, next)) = pack.get(at) else { break };
        at = next;
    }
    at
}

/// An entry to be added.
pub(super) struct NewEntry<'a> {
    pub(super) id: StreamId,
    /// Fields and values in turn.
    fields: SmallVec<[Element<'a>; 16]>,
    /// Bytes of their texts.
    bytes: usize,
}

impl<'a> NewEntry<'a> {
    #[inline]
    pub(super) fn new(id: StreamId, fields: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut bytes = 0;
        let fields = fields.inspect(|field| bytes += field.len()).map(Element::of).collect();
        Self { id, fields, bytes }
    }

    fn pairs(&self) -> i64 {
        (self.fields.len() / 2) as i64
    }

    fn names(&self) -> impl Iterator<Item = Element<'a>> + Clone + '_ {
        self.fields.iter().step_by(2).copied()
    }
}

/// When a node is full.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    max_bytes: usize,
    /// 0 is no limit.
    max_entries: u64,
}

impl Bounds {
    #[inline]
    pub(super) fn new(limits: &Limits) -> Self {
        let max_bytes = match limits.stream_node_max_bytes {
            0 => MAX_BYTES,
            max => max.min(MAX_BYTES),
        };
        Self { max_bytes, max_entries: limits.stream_node_max_entries }
    }
}

/// Makes an empty byte string a node with one entry, whose id is the node's key.
pub(super) fn create(bytes: &mut impl Bytes, entry: &NewEntry<'_>) {
    let head = [Element::Int(1), Element::Int(0), Element::Int(entry.pairs())];
    extend(bytes, head.into_iter().chain(entry.names()).chain([Element::Int(0)]));
    write_entry(bytes, (0, 0), entry, true);
}

/// Adds an entry at the end of a node; false if the node is full.
#[inline]
pub(super) fn append(master: StreamId, bytes: &mut impl Bytes, entry: &NewEntry<'_>, bounds: Bounds) -> bool {
    if bytes.len() + REDIS_MORE + entry.bytes >= bounds.max_bytes {
        return false;
    }
    let node = Node::read(master, bytes);
    if bounds.max_entries > 0 && node.all() >= bounds.max_entries {
        return false;
    }
    let (live, same) = (node.live as i64, node.has_fields(entry));
    let start = Pack(bytes).start();
    pack::replace(bytes, start, Element::Int(live + 1));
    write_entry(bytes, master.distance(entry.id), entry, same);
    true
}

impl Node<'_> {
    /// Whether the head has the same fields.
    fn has_fields(self, entry: &NewEntry<'_>) -> bool {
        let mut own = self.pack.iter_from(self.fields_at);
        self.fields as i64 == entry.pairs() && entry.names().all(|field| own.next() == Some(field))
    }
}

#[inline]
fn write_entry(bytes: &mut impl Bytes, (ms, seq): (i64, i64), entry: &NewEntry<'_>, same: bool) {
    let (pairs, fields) = (entry.pairs(), &entry.fields);
    let id = [Element::Int(ms), Element::Int(seq)];
    if same {
        let values = fields.iter().skip(1).step_by(2).copied();
        let all = [Element::Int(SAME_FIELDS)].into_iter().chain(id).chain(values);
        extend(bytes, all.chain([Element::Int(pairs + 3)]));
    } else {
        let all = [Element::Int(0)].into_iter().chain(id).chain([Element::Int(pairs)]).chain(fields.iter().copied());
        extend(bytes, all.chain([Element::Int(pairs * 2 + 4)]));
    }
}

/// Adds elements, in room made once.
#[inline]
fn extend<'a>(bytes: &mut impl Bytes, elements: impl Iterator<Item = Element<'a>> + Clone) {
    // The count in front of a sequence takes two bytes.
    let head = if bytes.is_empty() { 2 } else { 0 };
    reserve(bytes, head + elements.clone().map(Element::size).sum::<usize>());
    pack::extend_back(bytes, elements);
}

/// Makes room in steps that waste little, for most small streams stay small.
fn reserve(bytes: &mut impl Bytes, more: usize) {
    if bytes.capacity() - bytes.len() < more {
        bytes.reserve_exact(more.max(bytes.len() / 4));
    }
}

/// Marks the entries at these places as deleted; they must not be so yet.
pub(super) fn delete(bytes: &mut impl Bytes, places: &[usize]) {
    for place in places {
        // A flag takes the same room whatever it is, so that the places behind stay right.
        let (flags, _) = int(Pack(bytes), *place);
        pack::replace(bytes, *place, Element::Int(flags | DELETED));
    }
    let start = Pack(bytes).start();
    let (live, _) = int(Pack(bytes), start);
    pack::replace(bytes, start, Element::Int(live - places.len() as i64));
    let (_, at) = int(Pack(bytes), start);
    let (deleted, _) = int(Pack(bytes), at);
    pack::replace(bytes, at, Element::Int(deleted + places.len() as i64));
}
