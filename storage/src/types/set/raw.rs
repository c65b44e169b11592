//! The bytes of the small forms of a set, for DUMP and RESTORE.

use super::ints::{HEADER, Ints};
use super::{MAX_INTS, Set, SetRef};
use crate::types::distinct::are_distinct;
use crate::types::pack::{MAX_BYTES, Pack};
use crate::types::{Env, Full};

impl<'a> SetRef<'a> {
    /// Bytes per integer, and the integers as in Redis's intset, if that is the form.
    pub fn ints(self) -> Option<(usize, &'a [u8])> {
        match self {
            Self::Ints(bytes) => Some((bytes.get(HEADER - 1).map_or(2, |width| *width as usize), bytes.get(HEADER..)?)),
            _ => None,
        }
    }
}

impl Set {
    /// The set of an intset's integers, of 2, 4 or 8 bytes each; `None` if one is cut or they do not ascend.
    pub fn from_ints(env: Env<'_>, width: usize, integers: &[u8]) -> Result<Option<Self>, Full> {
        if ![2, 4, 8].contains(&width) || !integers.len().is_multiple_of(width) {
            return Ok(None);
        }
        if integers.is_empty() {
            return Ok(Some(Self::new()));
        }
        let mut bytes = Vec::with_capacity(HEADER + integers.len());
        bytes.extend_from_slice(&[0, 0, width as u8]);
        bytes.extend_from_slice(integers);
        if !Ints(&bytes).iter().is_sorted_by(|one, other| one < other) {
            return Ok(None);
        }
        let is_small = Ints(&bytes).len() <= env.limits.set_max_ints.min(MAX_INTS);
        let mut set = Self::Ints(bytes);
        if !is_small {
            set.make_hashed(env)?;
        }
        Ok(Some(set))
    }

    /// The set of a packed sequence of members; `None` if one occurs twice. As in Redis, only their number decides
    /// whether it stays packed.
    pub fn from_pack(env: Env<'_>, pack: Vec<u8>) -> Result<Option<Self>, Full> {
        if Pack(&pack).len() <= env.limits.set_max_packed_entries && pack.len() <= MAX_BYTES {
            return Ok(are_distinct(Pack(&pack).iter()).then_some(Self::Packed(pack)));
        }
        let mut set = Self::new_hashed(env);
        for member in Pack(&pack).iter() {
            if !set.insert(env, member)? {
                return Ok(None);
            }
        }
        Ok(Some(set))
    }
}
