//! Where an element goes: MurmurHash2 of 64 bits (Austin Appleby, MurmurHash64A) with Redis's seed.

use super::{INDEX_BITS, REGISTERS, RUN_BITS};

const SEED: u64 = 0xadc8_3b19;
const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;

/// The element's register, and the value that it has at least: the length of the run of zeros above the index bits,
/// the one that ends it included.
pub(super) fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element);
    let run = (hash >> INDEX_BITS).trailing_zeros().min(RUN_BITS);
    (hash as usize & (REGISTERS - 1), run as u8 + 1)
}

fn murmur(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    for word in words {
        let mixed = mix(u64::from_le_bytes(*word).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
        hash = (hash ^ mixed).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(FACTOR);
    }
    mix(mix(hash).wrapping_mul(FACTOR))
}

fn mix(word: u64) -> u64 {
    word ^ word >> SHIFT
}
