//! What several keys hold, for commands that make one value of many.

use larder_protocol::Args;
use larder_storage::value::{Kind, Value};

use crate::error::{Error, WRONG_TYPE};
use crate::locked::Locked;

/// The values of keys, all at once, in their order; an error if one is of a type that `accepts` refuses. They are looked
/// up one by one before, as each may turn out to have expired.
pub(super) fn sources<'l>(
    locked: &'l mut Locked<'_>,
    keys: Args<'_>,
    accepts: fn(Kind) -> bool,
) -> Result<Vec<Option<Value<'l>>>, Error> {
    let mut hashes = Vec::with_capacity(keys.len());
    for key in keys.iter() {
        hashes.push(locked.hash(key));
        if locked.read(key).is_some_and(|entry| !accepts(entry.kind())) {
            return Err(WRONG_TYPE);
        }
    }
    let db = locked.db;
    let shards = &*locked.shards();
    let value = |(key, hash): (&[u8], u64)| {
        let table = shards.of_ref(hash).shard.table(db)?;
        Some(table.entry(table.find(hash, key)?).value())
    };
    Ok(keys.iter().zip(hashes).map(value).collect())
}
