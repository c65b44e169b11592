//! Hashes made of the bytes that RESTORE is given.

use super::packed::Packed;
use super::{Hash, LATEST_EXPIRY};
use crate::types::distinct::are_distinct;
use crate::types::pack::{self, Element, MAX_BYTES, Mark, Pack};
use crate::types::{Env, Full};

impl Hash {
    /// The hash of a packed sequence of names and values in turn, with `has_times` of names, values and times (0 for
    /// never). `None` if a field is cut, occurs twice, or has no time that can be. As in Redis, only the number of
    /// fields decides whether it stays packed.
    pub fn from_pack(env: Env<'_>, mut pack: Vec<u8>, has_times: bool) -> Result<Option<Self>, Full> {
        const LATEST: i64 = LATEST_EXPIRY as i64;
        let (step, len) = (if has_times { 3 } else { 2 }, Pack(&pack).len());
        let is_time = |element| matches!(element, Element::Int(0..=LATEST));
        if !len.is_multiple_of(step) || has_times && !Pack(&pack).iter().skip(2).step_by(3).all(is_time) {
            return Ok(None);
        }
        if has_times {
            pack::mark(&mut pack, Mark::Timed);
        }
        let packed = Packed(&pack);
        if packed.len() > env.limits.hash_max_packed_entries || pack.len() > MAX_BYTES || !packed.is_in_order() {
            return Self::field_by_field(env, packed);
        }
        Ok(are_distinct(Pack(&pack).iter().step_by(step)).then_some(Self::Packed(pack)))
    }

    fn field_by_field(mut env: Env<'_>, packed: Packed<'_>) -> Result<Option<Self>, Full> {
        env.limits.hash_max_packed_value = usize::MAX;
        let mut hash = Self::new();
        hash.expect(env, packed.len(), 0, 0)?;
        for field in packed.iter() {
            let (mut name, mut value) = (itoa::Buffer::new(), itoa::Buffer::new());
            let name = field.name.text(&mut name);
            if !hash.set(env, name, field.value.text(&mut value))? {
                return Ok(None);
            }
            if field.expiry.is_some() {
                hash.set_expiry(env, name, field.expiry)?;
            }
        }
        Ok(Some(hash))
    }
}
