//! Traces of requests: files of `CTR1`, a u32 of flags, a u64 count, and a u64 per request, the key's id, all little-endian.
//! Where bit 0 of the flags is set a u32 per request follows, the object's size; it is not used. The file may be
//! compressed with zstd.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

const MAGIC: &[u8] = b"CTR1";
const HEADER_BYTES: usize = 16;
/// Bit of the flags: sizes follow the ids.
const HAS_SIZES: u32 = 1;
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// A trace, its keys numbered from 0 in order of appearance.
#[derive(Debug, PartialEq, Eq)]
pub struct Trace {
    /// The key of each request.
    pub requests: Vec<u32>,
    /// Different keys.
    pub keys: usize,
}

impl Trace {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or is no trace.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = fs::read(path)?;
        if bytes.starts_with(ZSTD_MAGIC) {
            bytes = decompress(bytes)?;
        }
        Self::parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a trace"))
    }

    /// Reads an uncompressed trace; `None` if it is none, or cut.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, body) = bytes.split_at_checked(HEADER_BYTES)?;
        let flags = u32::from_le_bytes(header[4..8].try_into().ok()?);
        let count = usize::try_from(u64::from_le_bytes(header[8..].try_into().ok()?)).ok()?;
        let per_request = if flags & HAS_SIZES == 0 { 8 } else { 12 };
        if !header.starts_with(MAGIC) || Some(body.len()) != count.checked_mul(per_request) {
            return None;
        }
        let (ids, _) = body[..count * 8].as_chunks::<8>();
        let mut numbers = HashMap::new();
        let requests = ids
            .iter()
            .map(|id| {
                let next = numbers.len() as u32;
                *numbers.entry(u64::from_le_bytes(*id)).or_insert(next)
            })
            .collect();
        Some(Self { requests, keys: numbers.len() })
    }
}

fn decompress(mut frame: Vec<u8>) -> io::Result<Vec<u8>> {
    /// The descriptor of a window of 64 MiB.
    const WINDOW: u8 = 16 << 3;
    const SINGLE_SEGMENT: u8 = 1 << 5;
    // The decoder refuses windows above 100 MiB. One that is larger than the whole trace is as good as a smaller one;
    // where it is not, the trace fails to decode.
    if let [_, _, _, _, descriptor, window, ..] = frame.as_mut_slice()
        && *descriptor & SINGLE_SEGMENT == 0
    {
        *window = (*window).min(WINDOW);
    }
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(frame.as_slice()).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    decoder.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(flags: u32, ids: &[u64]) -> Vec<u8> {
        let mut bytes = [MAGIC, &flags.to_le_bytes(), &(ids.len() as u64).to_le_bytes()].concat();
        bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
        bytes
    }

    #[test]
    fn keys_are_numbered_in_order_of_appearance() {
        let trace = Trace { requests: vec![0, 1, 0, 2], keys: 3 };
        assert_eq!(Trace::parse(&bytes(0, &[90, 7, 90, u64::MAX])), Some(trace));
    }

    #[test]
    fn sizes_are_passed_over() {
        let mut bytes = bytes(HAS_SIZES, &[5, 6]);
        assert_eq!(Trace::parse(&bytes), None);
        bytes.extend([0; 8]);
        assert_eq!(Trace::parse(&bytes), Some(Trace { requests: vec![0, 1], keys: 2 }));
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        let whole = bytes(0, &[1, 2, 3]);
        assert_eq!(Trace::parse(&whole[..whole.len() - 1]), None);
        assert_eq!(Trace::parse(b"CTR2"), None);
        assert_eq!(Trace::parse(&[b"CTR2", &whole[4..]].concat()), None);
        assert_eq!(Trace::parse(&[MAGIC, &[0; 4], &[0xff; 8]].concat()), None);
    }

    #[test]
    fn zstd_is_decompressed() {
        let plain = bytes(0, &[1; 5000]);
        let packed = ruzstd::encoding::compress_to_vec(plain.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
        assert!(packed.len() < plain.len() / 2);
        assert_eq!(decompress(packed).unwrap(), plain);
    }
}
