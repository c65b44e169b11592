//! BITOP: several strings made one, bit by bit.

use larder_protocol::{Args, Reply};
use larder_storage::table::Expiry;
use larder_storage::value::Value;
use smallvec::SmallVec;

use super::super::command::*;
use super::super::parse::is;
use super::super::string_edit::store;
use crate::bits::{self, Operation};
use crate::config::KeyspaceEvents as Class;
use crate::error::{BITOP_NOT_OF_MANY, Error, Outcome, SYNTAX, WRONG_TYPE};
use crate::locked::Locked;

pub(super) const BITOP: Command =
    Command::write("BITOP", Arity::at_least(3), &[key(2, OW | UPDATE), keys(3, 1, RO | ACCESS)], bitop)
        .flags(DENYOOM)
        .group(Group::Bitmap)
        .syntax("(AND | OR | XOR | NOT) destkey key...")
        .since("2.6.0")
        .complexity("O(N), N being the sum of the lengths of the strings")
        .summary("Combines strings bit by bit and stores the result; a short one counts as if zeros followed it.")
        .examples(&[
            ("SET north foobar", "OK"),
            ("SET south abcdef", "OK"),
            ("BITOP AND both north south", "(integer) 6"),
            ("GET both", "\"`bc`ab\""),
            ("BITOP NOT not missing", "(integer) 0"),
            ("BITOP NOT not north south", "(error) ERR BITOP NOT must be called with a single source key."),
        ]);

fn bitop(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let operation = match args.at(1) {
        name if is(name, "AND") => Operation::And,
        name if is(name, "OR") => Operation::Or,
        name if is(name, "XOR") => Operation::Xor,
        name if is(name, "NOT") => Operation::Not,
        _ => return Err(SYNTAX),
    };
    let (key, sources) = (args.at(2), args.from(3));
    if operation == Operation::Not && sources.len() != 1 {
        return Err(BITOP_NOT_OF_MANY);
    }
    let result = combined(locked, operation, sources)?;
    let len = result.len();
    if len > 0 {
        store(locked, key, result, Expiry::Set(None))?;
        locked.changed(Class::STRING, "set", key);
    } else if locked.remove(key) {
        locked.changed(Class::GENERIC, "del", key);
    }
    reply.int(len as i64);
    Ok(())
}

/// Room for an integer as text.
type Digits = SmallVec<[u8; 24]>;

/// The result, made from the strings where they stand. They are looked up one by one before, as each may turn out to
/// have expired.
fn combined(locked: &mut Locked<'_>, operation: Operation, keys: Args<'_>) -> Result<Vec<u8>, Error> {
    let mut hashes = SmallVec::<[u64; 8]>::new();
    let mut integers = SmallVec::<[Option<Digits>; 8]>::new();
    for key in keys.iter() {
        hashes.push(locked.hash(key));
        integers.push(match locked.read(key).map(|entry| entry.value()) {
            Some(Value::Int(number)) => Some(Digits::from_slice(itoa::Buffer::new().format(number).as_bytes())),
            None | Some(Value::Str { .. } | Value::Big(_)) => None,
            Some(_) => return Err(WRONG_TYPE),
        });
    }
    let db = locked.db;
    let shards = &*locked.shards();
    let mut sources = SmallVec::<[&[u8]; 8]>::new();
    for ((key, hash), integer) in keys.iter().zip(hashes).zip(&integers) {
        let table = shards.of_ref(hash).shard.table(db);
        let entry = table.and_then(|table| table.find(hash, key).map(|pos| table.entry(pos)));
        sources.push(match (integer, entry.map(|entry| entry.value())) {
            (Some(digits), _) => digits,
            (None, Some(Value::Str { bytes, .. })) => bytes,
            (None, Some(Value::Big(string))) => string.bytes(),
            (None, _) => &[],
        });
    }
    let longest = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    let mut result = vec![0; longest];
    bits::combine(operation, &sources, &mut result);
    Ok(result)
}
