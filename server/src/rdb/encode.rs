//! Values to bytes. Nothing is compressed. Small collections are copied as they stand, large ones element by element.

use larder_storage::types::hash::HashRef;
use larder_storage::types::list::ListRef;
use larder_storage::types::pack::{self, Element, Mark, Pack};
use larder_storage::types::set::SetRef;
use larder_storage::types::stream::{Group, StreamId, StreamRef};
use larder_storage::types::zset::ZSetRef;
use larder_storage::value::{Value, canonical_i64};

use super::{container, listpack, types};

/// The version of the format that Redis 7.0 writes.
pub(crate) const VERSION: u16 = 10;
/// The first version with fields that expire.
const VERSION_OF_EXPIRING_FIELDS: u16 = 12;
/// What Redis writes for a number that is not known.
const UNKNOWN: u64 = u64::MAX;

/// Appends a value's type and the value; gives the version of the format that has it.
pub(crate) fn encode(value: Value<'_>, out: &mut Vec<u8>) -> u16 {
    match value {
        Value::Int(number) => {
            out.push(types::STRING);
            element(out, Element::Int(number));
        }
        Value::Str { bytes, .. } => {
            out.push(types::STRING);
            string(out, bytes);
        }
        Value::Big(text) => {
            out.push(types::STRING);
            string(out, text.bytes());
        }
        Value::List(value) => list(out, value),
        Value::Set(value) => set(out, value),
        Value::ZSet(value) => zset(out, value),
        Value::Hash(value) => return hash(out, value),
        Value::Stream(value) => stream(out, value),
    }
    VERSION
}

fn length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
        _ => match u32::try_from(length) {
            Ok(length) => {
                out.push(0x80);
                out.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                out.push(0x81);
                out.extend_from_slice(&length.to_be_bytes());
            }
        },
    }
}

pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    /// Longer ones are no integers of 32 bits.
    const DIGITS: usize = 11;
    if text.len() > DIGITS || !canonical_i64(text).is_some_and(|number| integer(out, number)) {
        length(out, text.len() as u64);
        out.extend_from_slice(text);
    }
}

/// Appends an integer, if it is one of 32 bits; whether it was.
fn integer(out: &mut Vec<u8>, number: i64) -> bool {
    if let Ok(number) = i8::try_from(number) {
        out.extend_from_slice(&[0xc0, number as u8]);
    } else if let Ok(number) = i16::try_from(number) {
        out.push(0xc1);
        out.extend_from_slice(&number.to_le_bytes());
    } else if let Ok(number) = i32::try_from(number) {
        out.push(0xc2);
        out.extend_from_slice(&number.to_le_bytes());
    } else {
        return false;
    }
    true
}

fn element(out: &mut Vec<u8>, element: Element<'_>) {
    string(out, element.text(&mut itoa::Buffer::new()));
}

/// Appends a listpack of the same elements. No packed sequence is as large as its head could not tell.
fn packed(out: &mut Vec<u8>, pack: Pack<'_>) {
    let size = listpack::HEAD + pack.body().len() + 1;
    length(out, size as u64);
    out.reserve(size);
    out.extend_from_slice(&(size as u32).to_le_bytes());
    out.extend_from_slice(&(pack.len().min(listpack::UNCOUNTED) as u16).to_le_bytes());
    out.extend_from_slice(pack.body());
    out.push(listpack::END);
}

fn list(out: &mut Vec<u8>, list: ListRef<'_>) {
    out.push(types::LIST_QUICKLIST_2);
    length(out, list.packs_len() as u64);
    for pack in list.packs() {
        length(out, container::PACKED);
        packed(out, pack);
    }
}

fn set(out: &mut Vec<u8>, set: SetRef<'_>) {
    if let Some((width, integers)) = set.ints() {
        out.push(types::SET_INTSET);
        length(out, 8 + integers.len() as u64);
        out.extend_from_slice(&(width as u32).to_le_bytes());
        out.extend_from_slice(&(set.len() as u32).to_le_bytes());
        out.extend_from_slice(integers);
        return;
    }
    // Redis 7.0 knows no packed set.
    out.push(types::SET);
    length(out, set.len() as u64);
    set.iter().for_each(|member| element(out, member));
}

fn zset(out: &mut Vec<u8>, zset: ZSetRef<'_>) {
    let elements = zset.range(0, zset.len());
    if !zset.is_skip_list() {
        out.push(types::ZSET_LISTPACK);
        let mut pack = Vec::new();
        for (member, score) in elements {
            pack::push_back(&mut pack, Element::of(member));
            match integer_score(score) {
                Some(number) => pack::push_back(&mut pack, Element::Int(number)),
                None => pack::push_back(&mut pack, Element::of(larder_protocol::format_double(score).as_bytes())),
            }
        }
        packed(out, Pack(&pack));
        return;
    }
    out.push(types::ZSET_2);
    length(out, zset.len() as u64);
    // From the greatest on, as Redis likes to read them.
    for (member, score) in elements.rev() {
        string(out, member);
        out.extend_from_slice(&score.to_le_bytes());
    }
}

/// The integer that a score is, where no digit is lost by that.
fn integer_score(score: f64) -> Option<i64> {
    const EXACT: f64 = (1_i64 << 52) as f64;
    (score.abs() < EXACT && score.fract() == 0.0).then_some(score as i64)
}

fn hash(out: &mut Vec<u8>, hash: HashRef<'_>) -> u16 {
    match hash {
        HashRef::Packed(bytes) if !hash.is_table() && hash.has_expiring() => {
            out.push(types::HASH_LISTPACK_EX);
            out.extend_from_slice(&hash.first_deadline().to_le_bytes());
            packed(out, Pack(bytes));
            return VERSION_OF_EXPIRING_FIELDS;
        }
        HashRef::Packed(bytes) if !hash.is_table() => {
            out.push(types::HASH_LISTPACK);
            if Pack(bytes).is_marked(Mark::Timed) {
                let mut pairs = Vec::new();
                hash.each(|field| {
                    pack::push_back(&mut pairs, field.name);
                    pack::push_back(&mut pairs, field.value);
                });
                packed(out, Pack(&pairs));
            } else {
                packed(out, Pack(bytes));
            }
        }
        _ if hash.has_expiring() => {
            expiring_fields(out, hash);
            return VERSION_OF_EXPIRING_FIELDS;
        }
        _ => {
            out.push(types::HASH);
            length(out, hash.len() as u64);
            hash.each(|field| {
                element(out, field.name);
                element(out, field.value);
            });
        }
    }
    VERSION
}

/// Appends fields with their times, which are counted from the earliest, plus one; 0 is never.
fn expiring_fields(out: &mut Vec<u8>, hash: HashRef<'_>) {
    let mut earliest = u64::MAX;
    hash.each(|field| earliest = earliest.min(field.expiry.unwrap_or(u64::MAX)));
    out.push(types::HASH_METADATA);
    out.extend_from_slice(&earliest.to_le_bytes());
    length(out, hash.len() as u64);
    hash.each(|field| {
        length(out, field.expiry.map_or(0, |at| at - earliest + 1));
        element(out, field.name);
        element(out, field.value);
    });
}

fn stream(out: &mut Vec<u8>, stream: StreamRef<'_>) {
    out.push(types::STREAM_LISTPACKS_2);
    let log = stream.log();
    length(out, log.node_counts().0 as u64);
    for (id, node) in log.nodes() {
        length(out, 16);
        out.extend_from_slice(&id.bits().to_be_bytes());
        packed(out, node);
    }
    length(out, log.len());
    for id in [log.last_id(), log.first_id(), log.max_deleted_id()] {
        two_lengths(out, id);
    }
    length(out, log.entries_added());
    length(out, stream.groups_len() as u64);
    for (name, readers) in stream.groups() {
        string(out, name);
        group(out, readers);
    }
}

fn two_lengths(out: &mut Vec<u8>, id: StreamId) {
    length(out, id.ms);
    length(out, id.seq);
}

fn group(out: &mut Vec<u8>, group: &Group) {
    two_lengths(out, group.last_id);
    length(out, group.entries_read.unwrap_or(UNKNOWN));
    length(out, group.pending_len() as u64);
    for (id, pending) in group.pending_from(StreamId::MIN) {
        out.extend_from_slice(&id.bits().to_be_bytes());
        out.extend_from_slice(&pending.delivered_ms.to_le_bytes());
        length(out, pending.count);
    }
    length(out, group.consumers_len() as u64);
    for consumer in group.consumers() {
        string(out, consumer.name());
        out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
        length(out, consumer.pending_len() as u64);
        for id in consumer.pending_from(StreamId::MIN) {
            out.extend_from_slice(&id.bits().to_be_bytes());
        }
    }
}
