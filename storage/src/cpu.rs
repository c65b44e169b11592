//! What the processor can do for us: ask for a line of memory early, compare many bytes at once, count bits.
//!
//! In a pipeline most time goes to cache misses, so a batch of commands first asks for everything it will
//! touch. A hint changes no state and may name any address.

#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "prefetch and load intrinsics take raw pointers; what asks for SSE2 or AVX2 is called from code that is \
                  not marked for it"
    )
)]

/// Asks for the cache line at `address`, for reading. Any address is allowed, a dangling one too.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults and reads nothing that the program can observe.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Asks for the cache line at `address`, for writing: another core that has written it gives it up now and not when it
/// is needed. Any address is allowed.
#[inline(always)]
pub(crate) fn prefetch_to_write<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as a prefetch for reading; processors that do not know the instruction pass it over.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    prefetch(address);
}

/// A bit per byte of `words` (little-endian) that equals `byte`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn matching_bytes(words: &[u64; 8], byte: u8) -> u64 {
    use std::arch::x86_64::*;
    #[target_feature(enable = "sse2")]
    #[inline]
    fn with_sse2(words: &[u64; 8], byte: u8) -> u64 {
        let wanted = _mm_set1_epi8(byte as i8);
        let mut mask = 0;
        for pair in 0..4 {
            // SAFETY: two words are 16 bytes, and the load asks for no alignment.
            let bytes = unsafe { _mm_loadu_si128((&raw const words[2 * pair]).cast()) };
            mask |= (_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, wanted)) as u32 as u64) << (16 * pair);
        }
        mask
    }
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { with_sse2(words, byte) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn matching_bytes(words: &[u64; 8], byte: u8) -> u64 {
    portable_matching_bytes(words, byte)
}

/// Eight bytes at a time: the top bit of each byte that is zero after the exclusive or, gathered by a product.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn portable_matching_bytes(words: &[u64; 8], byte: u8) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    words.iter().enumerate().fold(0, |mask, (word, bytes)| {
        let x = bytes ^ (byte as u64 * 0x0101_0101_0101_0101);
        let zero = !(((x & LOW) + LOW) | x | LOW);
        mask | ((zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * word)
    })
}

/// How many bits are set.
pub fn count_ones(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,popcnt")]
        fn with_avx2(bytes: &[u8]) -> u64 {
            portable_count_ones(bytes)
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
            // SAFETY: the processor has both.
            return unsafe { with_avx2(bytes) };
        }
    }
    portable_count_ones(bytes)
}

/// Written so that the compiler makes vectors of it, as wide as the caller's target has them.
#[inline(always)]
fn portable_count_ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let whole: u64 = words.iter().map(|word| u64::from(u64::from_le_bytes(*word).count_ones())).sum();
    whole + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_counted_like_one_by_one(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let expected: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
            prop_assert_eq!(count_ones(&bytes), u64::from(expected));
            prop_assert_eq!(portable_count_ones(&bytes), u64::from(expected));
        }

        #[test]
        fn matches_bytes_like_the_portable_way(words in any::<[u64; 8]>(), byte in any::<u8>(), near in 0usize..64) {
            let mut words = words;
            let (word, shift) = (near / 8, near % 8 * 8);
            words[word] = words[word] & !(0xff << shift) | (byte as u64) << shift;
            prop_assert_eq!(matching_bytes(&words, byte), portable_matching_bytes(&words, byte));
        }
    }
}
