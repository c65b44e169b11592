//! Streams from bytes: nodes, what is remembered beside them, and groups with what their consumers have not
//! acknowledged.

use larder_storage::types::stream::{ConsumerId, Facts, Group, Log, LogRef, Pending, Stream, StreamId};

use super::decode::from_listpack;
use super::reader::{Fault, Reader};
use super::types;

/// The highest number of reads that commands can tell; Redis writes -1 for one that is not known.
const COUNT_MAX: u64 = i64::MAX as u64;

/// An entry that a group has delivered, before its consumer is known.
struct Delivered {
    id: StreamId,
    at_ms: u64,
    count: u64,
    has_consumer: bool,
}

pub(super) fn decode(reader: &mut Reader<'_>, kind: u8) -> Result<Stream, Fault> {
    let mut stream = Stream::new();
    stream.change(|log| entries(reader, kind, log))?;
    for _ in 0..reader.length()? {
        let name = reader.string()?;
        let last_id = id_of_lengths(reader)?;
        let entries_read = if kind == types::STREAM_LISTPACKS {
            stream.log().entries_up_to(last_id)
        } else {
            Some(reader.length()?).filter(|read| *read <= COUNT_MAX)
        };
        require(stream.create_group(&name, last_id, entries_read))?;
        stream.with_group(&name, |_: LogRef<'_>, group| consumers(reader, kind, group)).ok_or(Fault::Malformed)??;
    }
    Ok(stream)
}

/// Reads nodes, and what is remembered beside them.
fn entries(reader: &mut Reader<'_>, kind: u8, log: &mut Log) -> Result<(), Fault> {
    for _ in 0..reader.length()? {
        let key = reader.string()?;
        let id = <[u8; 16]>::try_from(&*key).map_err(|_| Fault::Malformed)?;
        let bytes = reader.string()?;
        let node = from_listpack(reader, &bytes)?;
        require(log.adopt_node(StreamId::from_bits(u128::from_be_bytes(id)), &node))?;
    }
    require(log.adopt_facts(facts(reader, kind)?))
}

fn require(is_so: bool) -> Result<(), Fault> {
    if is_so { Ok(()) } else { Err(Fault::Malformed) }
}

fn facts(reader: &mut Reader<'_>, kind: u8) -> Result<Facts, Fault> {
    let (len, last_id) = (reader.length()?, id_of_lengths(reader)?);
    let mut facts = Facts { len, last_id, entries_added: len, ..Facts::default() };
    if kind != types::STREAM_LISTPACKS {
        facts.first_id = id_of_lengths(reader)?;
        facts.max_deleted_id = id_of_lengths(reader)?;
        facts.entries_added = reader.length()?;
        // Redis's mark of a length that cannot be read.
        require(facts.entries_added != u64::MAX)?;
    }
    Ok(facts)
}

fn id_of_lengths(reader: &mut Reader<'_>) -> Result<StreamId, Fault> {
    Ok(StreamId::new(reader.length()?, reader.length()?))
}

fn id_of_bytes(reader: &mut Reader<'_>) -> Result<StreamId, Fault> {
    reader.array().map(|bytes| StreamId::from_bits(u128::from_be_bytes(bytes)))
}

/// A time, which is not negative.
fn time(reader: &mut Reader<'_>) -> Result<u64, Fault> {
    reader.number().and_then(|at| if at <= i64::MAX as u64 { Ok(at) } else { Err(Fault::Malformed) })
}

/// Reads what a group has delivered, then its consumers, each with its part of that.
fn consumers(reader: &mut Reader<'_>, kind: u8, group: &mut Group) -> Result<(), Fault> {
    let mut delivered: Vec<Delivered> = Vec::new();
    for _ in 0..reader.length()? {
        let id = id_of_bytes(reader)?;
        require(delivered.last().is_none_or(|last| last.id < id))?;
        delivered.push(Delivered { id, at_ms: time(reader)?, count: reader.length()?, has_consumer: false });
    }
    for _ in 0..reader.length()? {
        let name = reader.string()?;
        let seen_ms = time(reader)?;
        let active_ms = match kind {
            // -1 is that of a consumer that never was given an entry. Before 7.2 it was not written.
            types::STREAM_LISTPACKS_3 => Some(reader.number()?).filter(|at| *at <= i64::MAX as u64),
            _ => Some(seen_ms),
        };
        let (consumer, is_new) = group.consumer_or_new(&name, seen_ms);
        require(is_new)?;
        if let Some(active_ms) = active_ms {
            group.seen(consumer, active_ms, true);
        }
        group.seen(consumer, seen_ms, false);
        own(reader, group, consumer, &mut delivered)?;
    }
    require(delivered.iter().all(|entry| entry.has_consumer))
}

/// Reads which of the delivered entries a consumer has; no other may have them.
fn own(
    reader: &mut Reader<'_>,
    group: &mut Group,
    consumer: ConsumerId,
    delivered: &mut [Delivered],
) -> Result<(), Fault> {
    for _ in 0..reader.length()? {
        let id = id_of_bytes(reader)?;
        let at = delivered.binary_search_by_key(&id, |entry| entry.id).map_err(|_| Fault::Malformed)?;
        let entry = &mut delivered[at];
        require(!std::mem::replace(&mut entry.has_consumer, true))?;
        group.deliver(id, Pending { delivered_ms: entry.at_ms, count: entry.count, consumer });
    }
    Ok(())
}
