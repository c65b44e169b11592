//! Values in the format of Redis's RDB files, in which DUMP and RESTORE hand them around, too.
//!
//! A payload of DUMP is
//!
//! ```text
//! type (u8) | value | version of the format (u16) | CRC-64 of all before it (u64)      little endian
//! ```
//!
//! What is written is of version 10, that of Redis 7.0, so that 7.0 and all later ones read it; only a hash whose fields
//! expire is of 12, that of 7.4. What is read is all that Redis 7.4 reads.
//!
//! ```text
//! encode.rs     a value to bytes
//! decode.rs     bytes to a value; hostile ones must end in a fault
//!   reader.rs     lengths and strings
//!   stream.rs     streams
//!   ziplist.rs    the packed form that Redis had before the listpack
//!   zipmap.rs     the packed hashes of Redis 2.4
//!   lzf.rs        compressed strings
//! functions.rs  libraries of functions, which FUNCTION DUMP and FUNCTION RESTORE hand around
//! ```
//!
//! Packed collections are taken over as they are, once they are checked: the elements in `larder_storage::types::pack`
//! are a listpack's.

use crc::{CRC_64_REDIS, Crc, Table};

mod decode;
mod encode;
mod functions;
mod lzf;
mod reader;
mod stream;
mod ziplist;
mod zipmap;

pub(crate) use decode::decode;
pub(crate) use encode::{VERSION, encode};
pub(crate) use functions::{Functions, encode_library};

/// The latest version of the format that is known.
const LATEST_VERSION: u16 = 12;
/// Bytes of a checksum.
const CHECKSUM: usize = 8;
/// Bytes after a value in a payload.
const FOOTER: usize = 2 + CHECKSUM;

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The types, as Redis numbers them.
mod types {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const ZSET: u8 = 3;
    pub(super) const HASH: u8 = 4;
    pub(super) const ZSET_2: u8 = 5;
    pub(super) const HASH_ZIPMAP: u8 = 9;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const ZSET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    pub(super) const LIST_QUICKLIST: u8 = 14;
    pub(super) const STREAM_LISTPACKS: u8 = 15;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const ZSET_LISTPACK: u8 = 17;
    pub(super) const LIST_QUICKLIST_2: u8 = 18;
    pub(super) const STREAM_LISTPACKS_2: u8 = 19;
    pub(super) const SET_LISTPACK: u8 = 20;
    pub(super) const STREAM_LISTPACKS_3: u8 = 21;
    pub(super) const HASH_METADATA: u8 = 24;
    pub(super) const HASH_LISTPACK_EX: u8 = 25;
}

/// What a node of a quicklist is.
mod container {
    /// One element, as it is.
    pub(super) const PLAIN: u64 = 1;
    /// A listpack.
    pub(super) const PACKED: u64 = 2;
}

/// The listpack around its elements: its size (u32), their number (u16), and a byte behind them.
mod listpack {
    pub(super) const HEAD: usize = 6;
    pub(super) const END: u8 = 0xff;
    /// More elements than the head can tell.
    pub(super) const UNCOUNTED: usize = 0xffff;
}

/// Ends a payload.
pub(crate) fn seal(payload: &mut Vec<u8>, version: u16) {
    payload.extend_from_slice(&version.to_le_bytes());
    let checksum = CRC.checksum(payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
}

/// The type and the value in a payload; `None` if its version is not known or its checksum is wrong.
pub(crate) fn open(payload: &[u8]) -> Option<&[u8]> {
    let (value, footer) = payload.split_at_checked(payload.len().checked_sub(FOOTER)?)?;
    let (version, checksum) = footer.split_first_chunk::<2>()?;
    if u16::from_le_bytes(*version) > LATEST_VERSION {
        return None;
    }
    let computed = CRC.checksum(&payload[..payload.len() - CHECKSUM]);
    (checksum == computed.to_le_bytes()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_known_by_its_checksum_and_version() {
        // What Redis 7.0 answers to SET k 10, DUMP k.
        let payload = b"\x00\xc0\x0a\x0a\x00\x6e\x9f\x57\x45\x0e\xae\x63\xbb";
        let mut own = vec![0, 0xc0, 10];
        seal(&mut own, 10);
        assert_eq!((&own[..], open(&own)), (&payload[..], Some(&[0, 0xc0, 10][..])));
        for at in 0..own.len() {
            let mut other = own.clone();
            other[at] ^= 1;
            assert_eq!(open(&other), None, "{at}");
        }
        let mut later = vec![0, 0xc0, 10];
        seal(&mut later, 13);
        assert_eq!((open(&later), open(&[]), open(&own[3..])), (None, None, None));
    }
}
