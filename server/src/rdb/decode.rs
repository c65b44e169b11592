//! Bytes to values. The bytes may come from anyone: everything that a value takes for granted is checked, as Redis does
//! it with `sanitize-dump-payload yes`, and beyond. Elements must be unique where the type wants them so, packed ones in
//! their order, and numbers must agree with what is there. Memory is taken only for what has been read.

use larder_storage::types::Env;
use larder_storage::types::hash::{Hash, LATEST_EXPIRY};
use larder_storage::types::list::Builder;
use larder_storage::types::pack::{self, Element, Pack};
use larder_storage::types::set::Set;
use larder_storage::types::zset::{Inserted, ZSet, ZSetRef};
use larder_storage::value::{Content, Object};

use super::reader::{Fault, Reader, Str};
use super::{container, listpack, stream, types, ziplist, zipmap};
use crate::number::parse_f64;

/// A value, to be stored.
pub(crate) enum Loaded<'a> {
    /// A string.
    String(Str<'a>),
    /// A collection.
    Object(Object),
}

impl Loaded<'_> {
    /// As a key stores it.
    pub(crate) fn content(&mut self) -> Content<'_> {
        match self {
            Self::String(text) => Content::string(text),
            Self::Object(object) => Content::Object(std::mem::replace(object, Object::Set(Set::new()))),
        }
    }
}

/// The value at the beginning of `bytes`, and how many packed pieces of it were checked; what follows the value does
/// not count, as in Redis.
pub(crate) fn decode<'a>(env: Env<'_>, bytes: &'a [u8]) -> Result<(Loaded<'a>, u64), Fault> {
    let mut reader = Reader::new(bytes);
    let kind = reader.byte()?;
    let object = match kind {
        types::STRING => return Ok((Loaded::String(reader.string()?), 0)),
        types::LIST | types::LIST_ZIPLIST | types::LIST_QUICKLIST | types::LIST_QUICKLIST_2 => {
            list(env, &mut reader, kind)?
        }
        types::SET | types::SET_INTSET | types::SET_LISTPACK => Object::Set(set(env, &mut reader, kind)?),
        types::ZSET | types::ZSET_2 | types::ZSET_ZIPLIST | types::ZSET_LISTPACK => {
            Object::ZSet(zset(env, &mut reader, kind)?)
        }
        types::STREAM_LISTPACKS | types::STREAM_LISTPACKS_2 | types::STREAM_LISTPACKS_3 => {
            Object::Stream(stream::decode(&mut reader, kind)?)
        }
        _ => Object::Hash(hash(env, &mut reader, kind)?),
    };
    Ok((Loaded::Object(object), reader.checked))
}

/// The packed sequence of a listpack's elements.
pub(super) fn from_listpack(reader: &mut Reader<'_>, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    reader.checked += 1;
    let read = || {
        let (head, rest) = bytes.split_first_chunk::<{ listpack::HEAD }>()?;
        let [a, b, c, d, low, high] = *head;
        let (listpack::END, body) = rest.split_last().map(|(end, body)| (*end, body))? else { return None };
        let told = usize::from(u16::from_le_bytes([low, high]));
        let pack = (u32::from_le_bytes([a, b, c, d]) as usize == bytes.len()).then(|| pack::adopt(body))??;
        (told == listpack::UNCOUNTED || told == Pack(&pack).len()).then_some(pack)
    };
    read().ok_or(Fault::Malformed)
}

/// The packed sequence of a collection that stands in one string, and is not empty.
fn one_pack(reader: &mut Reader<'_>, is_ziplist: bool) -> Result<Vec<u8>, Fault> {
    let bytes = reader.string()?;
    let pack =
        if is_ziplist { ziplist::to_pack(&bytes).ok_or(Fault::Malformed)? } else { from_listpack(reader, &bytes)? };
    if pack.is_empty() { Err(Fault::Malformed) } else { Ok(pack) }
}

/// The number of elements of a collection, which has one at least.
fn count(reader: &mut Reader<'_>) -> Result<u64, Fault> {
    reader.length().and_then(|count| if count == 0 { Err(Fault::Malformed) } else { Ok(count) })
}

fn list(env: Env<'_>, reader: &mut Reader<'_>, kind: u8) -> Result<Object, Fault> {
    let mut list = Builder::default();
    if kind == types::LIST_ZIPLIST {
        let pack = one_pack(reader, true)?;
        Pack(&pack).iter().for_each(|element| list.push(&env, element.text(&mut itoa::Buffer::new())));
        // Redis leaves these as they are.
        list.keep_large();
    } else {
        for _ in 0..count(reader)? {
            match kind {
                types::LIST => list.push(&env, &reader.string()?),
                types::LIST_QUICKLIST => {
                    let pack = ziplist::to_pack(&reader.string()?).ok_or(Fault::Malformed)?;
                    list.push_pack(&env, pack);
                }
                _ => node(env, reader, &mut list)?,
            }
        }
    }
    list.finish(&env).map(Object::List).ok_or(Fault::Malformed)
}

/// Reads a node of a quicklist.
fn node(env: Env<'_>, reader: &mut Reader<'_>, list: &mut Builder) -> Result<(), Fault> {
    let container = reader.length()?;
    let bytes = reader.string()?;
    let pack = match container {
        container::PACKED => from_listpack(reader, &bytes)?,
        container::PLAIN if !bytes.is_empty() => {
            list.keep_large();
            let mut pack = Vec::new();
            pack::push_back(&mut pack, Element::of(&bytes));
            pack
        }
        _ => return Err(Fault::Malformed),
    };
    list.push_pack(&env, pack);
    Ok(())
}

fn set(env: Env<'_>, reader: &mut Reader<'_>, kind: u8) -> Result<Set, Fault> {
    match kind {
        types::SET_LISTPACK => Set::from_pack(env, one_pack(reader, false)?)?.ok_or(Fault::Malformed),
        types::SET_INTSET => {
            let bytes = reader.string()?;
            let mut intset = Reader::new(&bytes);
            let (width, count) = (u32::from_le_bytes(intset.array()?), u32::from_le_bytes(intset.array()?));
            let size = u64::from(width) * u64::from(count);
            let integers = intset.take(size)?;
            reader.checked += 1;
            if count == 0 || intset.take(1).is_ok() {
                return Err(Fault::Malformed);
            }
            Set::from_ints(env, width as usize, integers)?.ok_or(Fault::Malformed)
        }
        _ => {
            let count = count(reader)?;
            let is_small = count <= env.limits.set_max_ints as u64;
            let mut set = if is_small { Set::new() } else { Set::new_hashed(env) };
            for _ in 0..count {
                if !set.insert(env, Element::Bytes(&reader.string()?))? {
                    return Err(Fault::Malformed);
                }
            }
            Ok(set)
        }
    }
}

fn zset(env: Env<'_>, reader: &mut Reader<'_>, kind: u8) -> Result<ZSet, Fault> {
    if matches!(kind, types::ZSET_ZIPLIST | types::ZSET_LISTPACK) {
        let pack = one_pack(reader, kind == types::ZSET_ZIPLIST)?;
        let score = |element: Element<'_>| match element {
            Element::Int(number) => Some(number as f64),
            Element::Bytes(text) => parse_f64(text),
        };
        return ZSet::from_pack(env, Pack(&pack), score)?.ok_or(Fault::Malformed);
    }
    let (mut zset, count) = (ZSet::new(), count(reader)?);
    zset.expect(env, usize::try_from(count).unwrap_or(usize::MAX), 0)?;
    let mut next = || {
        let member = reader.string()?;
        let score = if kind == types::ZSET_2 { f64::from_bits(reader.number()?) } else { printed_score(reader)? };
        if score.is_nan() { Err(Fault::Malformed) } else { Ok((member, score)) }
    };
    let insert = |zset: &mut ZSet, member: &[u8], score| match zset.insert(env, member, score)? {
        Inserted::Added => Ok(()),
        _ => Err(Fault::Malformed),
    };
    if let ZSetRef::Packed(_) = zset.as_ref() {
        // The packed form, which a long member rules out, forgets the sign of a zero.
        let pairs = (0..count).map(|_| next()).collect::<Result<Vec<_>, Fault>>()?;
        let longest = pairs.iter().map(|(member, _)| member.len()).max().unwrap_or(0);
        zset.expect(env, pairs.len(), longest)?;
        pairs.iter().try_for_each(|(member, score)| insert(&mut zset, member, *score))?;
    } else {
        for _ in 0..count {
            let (member, score) = next()?;
            insert(&mut zset, &member, score)?;
        }
    }
    Ok(zset)
}

/// A score as Redis wrote it before 4.0: as text, after its length.
fn printed_score(reader: &mut Reader<'_>) -> Result<f64, Fault> {
    match reader.byte()? {
        255 => Ok(f64::NEG_INFINITY),
        254 => Ok(f64::INFINITY),
        253 => Err(Fault::Malformed),
        len => parse_f64(reader.take(len.into())?).ok_or(Fault::Malformed),
    }
}

fn hash(env: Env<'_>, reader: &mut Reader<'_>, kind: u8) -> Result<Hash, Fault> {
    match kind {
        types::HASH => fields(env, reader, |_| Ok(None)),
        types::HASH_METADATA => {
            let earliest = reader.number()?;
            fields(env, reader, |reader| expiry(reader.length()?, earliest))
        }
        types::HASH_ZIPMAP => {
            let (bytes, mut hash) = (reader.string()?, Hash::new());
            zipmap::each(&bytes, |name, value| add(&mut hash, env, name, value))?;
            if hash.as_ref().is_empty() { Err(Fault::Malformed) } else { Ok(hash) }
        }
        types::HASH_ZIPLIST | types::HASH_LISTPACK => {
            let pack = one_pack(reader, kind == types::HASH_ZIPLIST)?;
            Hash::from_pack(env, pack, false)?.ok_or(Fault::Malformed)
        }
        types::HASH_LISTPACK_EX => {
            // The earliest time stands there, too, but the fields know it.
            reader.number()?;
            Hash::from_pack(env, one_pack(reader, false)?, true)?.ok_or(Fault::Malformed)
        }
        _ => Err(Fault::Malformed),
    }
}

/// Reads fields one by one, each after its time, if it has one.
fn fields(
    env: Env<'_>,
    reader: &mut Reader<'_>,
    mut time: impl FnMut(&mut Reader<'_>) -> Result<Option<u64>, Fault>,
) -> Result<Hash, Fault> {
    let (mut hash, count) = (Hash::new(), count(reader)?);
    hash.expect(env, usize::try_from(count).unwrap_or(usize::MAX), 0, 0)?;
    for _ in 0..count {
        let expiry = time(reader)?;
        let (name, value) = (reader.string()?, reader.string()?);
        add(&mut hash, env, &name, &value)?;
        if expiry.is_some() {
            hash.set_expiry(env, &name, expiry)?;
        }
    }
    Ok(hash)
}

fn add(hash: &mut Hash, env: Env<'_>, name: &[u8], value: &[u8]) -> Result<(), Fault> {
    if hash.set(env, name, value)? { Ok(()) } else { Err(Fault::Malformed) }
}

/// When a field expires: 0 is never, all else is counted from one before the earliest time.
fn expiry(after: u64, earliest: u64) -> Result<Option<u64>, Fault> {
    let Some(after) = after.checked_sub(1) else { return Ok(None) };
    let at = after.checked_add(earliest).filter(|at| *at <= LATEST_EXPIRY).ok_or(Fault::Malformed)?;
    Ok((at > 0).then_some(at))
}
