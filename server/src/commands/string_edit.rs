//! Strings that are changed rather than replaced: APPEND, SETRANGE, SETBIT, BITFIELD, PFADD.
//!
//! One with an allocation of its own is changed in place. A short one stands in its entry's cell: it is copied out,
//! changed, and stored anew, as a raw one. A change that keeps the length of a raw string needs no copy
//! ([`Locked::edit_string`]).

use larder_protocol::Args;
use larder_storage::table::Expiry;
use larder_storage::value::{Content, Object, Value};

use crate::error::{Error, Outcome, WRONG_TYPE};
use crate::locked::{Locked, Text};

/// Strings up to this length are handed to the table as bytes: they may fit a cell.
const SHORT_AT_MOST: usize = 2048;

/// A string that is about to be changed.
pub(super) enum Before {
    /// A copy of one that stands in its entry's cell, or of none.
    Short(Vec<u8>),
    /// The length of one that can be changed in place.
    Long(usize),
}

impl Default for Before {
    fn default() -> Self {
        Self::Short(Vec::new())
    }
}

impl Before {
    /// What a key holds; `None` if it is not there.
    pub(super) fn of(locked: &mut Locked<'_>, key: &[u8]) -> Result<Option<Self>, Error> {
        Ok(locked.look_string(key)?.map(|mut text| match &mut text {
            Text::Big(string) => Self::Long(string.bytes().len()),
            text => Self::Short(text.bytes().to_vec()),
        }))
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Short(bytes) => bytes.len(),
            Self::Long(len) => *len,
        }
    }

    /// Changes the string that the key holds, or makes one. Its expiry stays.
    pub(super) fn change<R: Default>(
        self,
        locked: &mut Locked<'_>,
        key: &[u8],
        change: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<R, Error> {
        let mut result = R::default();
        match self {
            Self::Long(_) => locked.update_string(key, |string| result = change(string))?,
            Self::Short(mut string) => {
                result = change(&mut string);
                store(locked, key, string, Expiry::Keep)?;
            }
        }
        Ok(result)
    }
}

/// Stores a string as one that was changed in place.
pub(super) fn store(locked: &mut Locked<'_>, key: &[u8], string: Vec<u8>, expiry: Expiry) -> Outcome {
    if string.len() <= SHORT_AT_MOST {
        return locked.set(key, Content::Str { bytes: &string, raw: true }, expiry);
    }
    locked.set(key, Content::Object(Object::Str(string.into())), expiry)
}

/// As [`store`], of bytes that are to be copied.
pub(super) fn store_copy(locked: &mut Locked<'_>, key: &[u8], bytes: &[u8], expiry: Expiry) -> Outcome {
    if bytes.len() <= SHORT_AT_MOST {
        return locked.set(key, Content::Str { bytes, raw: true }, expiry);
    }
    store(locked, key, bytes.to_vec(), expiry)
}

/// Makes room for `len` bytes in all, and as in Redis for as many again, 1 MiB at most: a long string must not double when
/// a byte is added, as memory is taken from other keys for it.
pub(super) fn reserve(string: &mut Vec<u8>, len: usize) {
    const AHEAD: usize = 1 << 20;
    if len > string.capacity() {
        string.reserve_exact(len + len.min(AHEAD) - string.len());
    }
}

/// Makes a string at least so long, with zeros at its end. All room is asked for at once: two steps could each double
/// the allocation.
pub(super) fn grow(string: &mut Vec<u8>, len: usize) {
    if string.is_empty() && len > SHORT_AT_MOST {
        // The system has pages of zeros, so that a bit far out costs no time for those before it.
        *string = vec![0; len];
    } else if string.len() < len {
        reserve(string, len);
        string.resize(len, 0);
    }
}

/// Has the running call repeated elsewhere though it counts as no change: it left a value that is equal, but in another
/// form or with zeros at its end.
pub(super) fn repeat(locked: &mut Locked<'_>, args: Args<'_>) {
    locked.replay(&args.iter().collect::<Vec<_>>());
}

/// Whether a key holds a string that was changed in place before, and the length of its string.
pub(super) fn form(locked: &mut Locked<'_>, key: &[u8]) -> Result<(bool, usize), Error> {
    Ok(match locked.look(key).map(|entry| entry.value()) {
        None => (false, 0),
        Some(Value::Str { bytes, raw }) => (raw, bytes.len()),
        Some(Value::Big(string)) => (true, string.bytes().len()),
        Some(Value::Int(number)) => (false, itoa::Buffer::new().format(number).len()),
        Some(_) => return Err(WRONG_TYPE),
    })
}
