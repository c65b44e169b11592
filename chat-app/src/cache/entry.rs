//! A cached value with what is needed to judge it, as bytes.
//!
//! ```text
//! "LC1"  form  version  cached_at  fresh_until  cost   payload
//!    3      1        8          8            8     4       ...
//! ```
//!
//! `form` marks whether the payload is plain, compressed by zstd, or says that there is no such thing. Whatever does not
//! begin so, or does not decode, was not written by us: it counts as a miss and is written over.

use std::cell::RefCell;
use std::sync::Arc;

use zstd::bulk::{Compressor, Decompressor};

const MAGIC: &[u8; 3] = b"LC1";
const HEADER: usize = 32;
const PLAIN: u8 = b'P';
const ZSTD: u8 = b'Z';
const ABSENT: u8 = b'A';
/// Fast, and within a few percent of what higher levels save on chat.
const LEVEL: i32 = 3;
/// No value of ours is longer; a compressed one that claims to be is not ours.
const LONGEST: usize = 16 << 20;

thread_local! {
    /// What zstd works with, hundreds of kilobytes: to make it anew takes longer than the page that it is made for.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok());
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

/// A cached value; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// JSON; `None` when there is no such thing, which is worth remembering, too.
    pub payload: Option<Arc<[u8]>>,
    /// The version of its group when it was read from the database.
    pub version: u64,
    /// When it was read, in milliseconds since 1970.
    pub cached_at_ms: i64,
    /// Until when it is fresh; it may be kept longer, see [`super::guard`].
    pub fresh_until_ms: i64,
    /// How long the database took, in microseconds.
    pub cost_us: u32,
}

/// When to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// Payloads from this size on are compressed; `None`: none are.
    pub from_bytes: Option<usize>,
}

impl Entry {
    /// The bytes to store.
    pub fn encode(&self, compression: Compression) -> Vec<u8> {
        let payload = self.payload.as_deref();
        let packed = payload.and_then(|payload| compress(payload, compression));
        let (form, body) = match (&packed, payload) {
            (Some(packed), _) => (ZSTD, packed.as_slice()),
            (None, Some(payload)) => (PLAIN, payload),
            (None, None) => (ABSENT, &[][..]),
        };
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.push(form);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.cached_at_ms.to_le_bytes());
        bytes.extend_from_slice(&self.fresh_until_ms.to_le_bytes());
        bytes.extend_from_slice(&self.cost_us.to_le_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    /// The value of stored bytes; `None` for bytes that are not ours.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, body) = bytes.split_at_checked(HEADER)?;
        if !header.starts_with(MAGIC) {
            return None;
        }
        let number = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
        let payload = match header[3] {
            PLAIN => Some(Arc::from(body)),
            ZSTD => Some(Arc::from(decompress(body)?)),
            ABSENT => None,
            _ => return None,
        };
        Some(Self {
            payload,
            version: number(4)?,
            cached_at_ms: number(12)?.cast_signed(),
            fresh_until_ms: number(20)?.cast_signed(),
            cost_us: u32::from_le_bytes(header.get(28..32)?.try_into().ok()?),
        })
    }

    /// Bytes that it takes in L1.
    pub fn weight(&self) -> usize {
        self.payload.as_ref().map_or(0, |payload| payload.len()) + size_of::<Self>()
    }
}

/// The compressed payload, if that is wanted and saves anything.
fn compress(payload: &[u8], compression: Compression) -> Option<Vec<u8>> {
    if compression.from_bytes.is_none_or(|from| payload.len() < from) {
        return None;
    }
    let packed = COMPRESSOR.with_borrow_mut(|compressor| compressor.as_mut()?.compress(payload).ok())?;
    let mut body = u32::try_from(payload.len()).ok()?.to_le_bytes().to_vec();
    body.extend_from_slice(&packed);
    (body.len() < payload.len()).then_some(body)
}

fn decompress(body: &[u8]) -> Option<Vec<u8>> {
    let (length, packed) = body.split_at_checked(4)?;
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    if length > LONGEST {
        return None;
    }
    let payload =
        DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.as_mut()?.decompress(packed, length).ok())?;
    (payload.len() == length).then_some(payload)
}

#[cfg(test)]
mod tests {
    use super::{Compression, Entry, HEADER};

    const NEVER: Compression = Compression { from_bytes: None };
    const ALWAYS: Compression = Compression { from_bytes: Some(0) };

    fn entry(payload: Option<&[u8]>) -> Entry {
        Entry { payload: payload.map(Into::into), version: 7, cached_at_ms: -1, fresh_until_ms: 1 << 60, cost_us: 9 }
    }

    #[test]
    fn what_is_stored_is_read_again() {
        let chat = "the cache was cold again ".repeat(100);
        for payload in [None, Some(&b""[..]), Some(b"{}"), Some(chat.as_bytes())] {
            for compression in [NEVER, ALWAYS] {
                let entry = entry(payload);
                assert_eq!(Entry::decode(&entry.encode(compression)), Some(entry));
            }
        }
        let entry = entry(Some(chat.as_bytes()));
        assert!(entry.encode(ALWAYS).len() * 10 < entry.encode(NEVER).len());
        assert_eq!(
            entry.encode(Compression { from_bytes: Some(10_000) }).len(),
            chat.len() + HEADER,
            "too short for it"
        );
    }

    #[test]
    fn what_is_not_ours_is_no_value() {
        let good = entry(Some(b"some text that is stored")).encode(NEVER);
        assert_eq!(Entry::decode(&good[..HEADER - 1]), None);
        for garbage in [&b""[..], b"hello", b"{\"messages\":[]}", &[0xff; 64], b"LC1Z"] {
            assert_eq!(Entry::decode(garbage), None);
        }
        let mut packed = entry(Some("abc ".repeat(500).as_bytes())).encode(ALWAYS);
        packed[HEADER..HEADER + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Entry::decode(&packed), None, "it claims four gigabytes");
        packed.truncate(HEADER + 20);
        assert_eq!(Entry::decode(&packed), None);
    }
}
