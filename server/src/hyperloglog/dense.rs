//! Registers of six bits each, the lowest bits of a byte first: four of them in three bytes.

use super::REGISTERS;

/// Bits of a register.
const BITS: usize = 6;
const MASK: u16 = (1 << BITS) - 1;
/// Bytes of all registers.
pub(super) const LEN: usize = REGISTERS * BITS / 8;

/// The two bytes that hold a register, and its place in them; of the last register there is only one.
fn pair(registers: &[u8], index: usize) -> (usize, u16, usize) {
    let (byte, shift) = (index * BITS / 8, index * BITS % 8);
    let high = registers.get(byte + 1).copied().unwrap_or(0);
    (byte, u16::from_le_bytes([registers[byte], high]), shift)
}

/// Gives a register a value, if it has a lower one; whether it had.
pub(super) fn raise(registers: &mut [u8], index: usize, value: u8) -> bool {
    let (byte, pair, shift) = pair(registers, index);
    if (pair >> shift & MASK) >= u16::from(value) {
        return false;
    }
    let [low, high] = (pair & !(MASK << shift) | u16::from(value) << shift).to_le_bytes();
    registers[byte] = low;
    if let Some(next) = registers.get_mut(byte + 1) {
        *next = high;
    }
    true
}

fn unpack(bytes: [u8; 3]) -> [u8; 4] {
    let all = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
    [0, 1, 2, 3].map(|place| (all >> (place * BITS)) as u8 & MASK as u8)
}

/// Shows the value of each register.
pub(super) fn each(registers: &[u8], mut show: impl FnMut(u8)) {
    for three in registers.as_chunks().0 {
        unpack(*three).into_iter().for_each(&mut show);
    }
}

/// Raises registers of a byte each to these.
pub(super) fn merge(bytes: &mut [u8], registers: &[u8]) {
    for (four, three) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(registers.as_chunks().0) {
        let values = unpack(*three);
        for place in 0..4 {
            four[place] = four[place].max(values[place]);
        }
    }
}

/// Writes registers of a byte each.
pub(super) fn pack(bytes: &[u8], registers: &mut [u8]) {
    for (four, three) in bytes.as_chunks::<4>().0.iter().zip(registers.as_chunks_mut::<3>().0) {
        let all = (0..4).fold(0, |all, place| all | (u32::from(four[place]) & u32::from(MASK)) << (place * BITS));
        let [low, middle, high, _] = all.to_le_bytes();
        *three = [low, middle, high];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_apart_from_each_other() {
        let mut registers = vec![0; LEN];
        let values: Vec<u8> = (0..REGISTERS).map(|index| (index * 7 % 64) as u8).collect();
        for (index, value) in values.iter().enumerate().rev() {
            assert_eq!(raise(&mut registers, index, *value), *value > 0);
            assert!(!raise(&mut registers, index, *value));
        }
        let mut read = Vec::new();
        each(&registers, |value| read.push(value));
        assert_eq!(read, values);
        let (mut packed, mut merged) = (vec![0xff; LEN], vec![5; REGISTERS]);
        pack(&values, &mut packed);
        assert_eq!(packed, registers);
        merge(&mut merged, &registers);
        assert!(merged.iter().zip(&values).all(|(merged, value)| *merged == (*value).max(5)));
    }
}
