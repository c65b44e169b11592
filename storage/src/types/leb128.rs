//! Numbers in 7 bits a byte, the lowest first, all but the last byte with the top bit set (DWARF's unsigned LEB128).

/// Bytes that the longest takes.
pub(super) const LONGEST: usize = 10;

/// Writes a number; into how many bytes.
#[inline]
pub(super) fn write(number: u64, to: &mut [u8]) -> usize {
    let (mut width, mut rest) = (0, number);
    while rest >= 0x80 {
        to[width] = rest as u8 | 0x80;
        (width, rest) = (width + 1, rest >> 7);
    }
    to[width] = rest as u8;
    width + 1
}

/// The number at a place, and the place behind it.
#[inline]
pub(super) fn read(bytes: &[u8], mut at: usize) -> (u64, usize) {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes[at];
        number |= u64::from(byte & 0x7f) << shift;
        (shift, at) = (shift + 7, at + 1);
        if byte < 0x80 {
            return (number, at);
        }
    }
}
