//! From registers to a cardinality, by the estimator of Otmar Ertl, "New cardinality estimation algorithms for
//! HyperLogLog sketches" (arXiv:1702.01284), as Redis computes it since version 4.

use super::{REGISTERS, RUN_BITS};

/// Values that a register of six bits can have; elements give it up to [`RUN_BITS`] + 1.
pub(super) const VALUES: usize = 64;

/// 0.5 / ln 2: the bias of infinitely many registers.
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// The cardinality, given how many registers have each value.
pub(super) fn cardinality(histogram: &[u32; VALUES]) -> u64 {
    let registers = REGISTERS as f64;
    let full = f64::from(histogram[RUN_BITS as usize + 1]);
    let mut sum = registers * tau((registers - full) / registers);
    for value in (1..=RUN_BITS as usize).rev() {
        sum += f64::from(histogram[value]);
        sum *= 0.5;
    }
    sum += registers * sigma(f64::from(histogram[0]) / registers);
    let estimate = (ALPHA * registers * registers / sum).round();
    // Corrupt registers may make it infinite, which C's rounding turns into the least integer.
    if estimate < i64::MAX as f64 { estimate as u64 } else { i64::MIN as u64 }
}

/// The part of registers that no element has met.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * power;
        power += power;
        if before == sum {
            return sum;
        }
    }
}

/// The part of registers that cannot grow.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut power, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        power *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * power;
        if before == sum {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[(usize, u32)]) -> u64 {
        let mut histogram = [0; VALUES];
        parts.iter().for_each(|(value, registers)| histogram[*value] = *registers);
        cardinality(&histogram)
    }

    #[test]
    fn the_ends_are_no_trouble() {
        assert_eq!(of(&[(0, 16_384)]), 0);
        assert_eq!(of(&[(0, 16_383), (1, 1)]), 1);
        assert_eq!(of(&[(51, 16_384)]), i64::MIN as u64);
        assert_eq!(of(&[(63, 16_384)]), i64::MIN as u64);
        assert_eq!(of(&[]), i64::MIN as u64);
        assert!(of(&[(50, 16_384)]) > 1 << 62);
        assert!(of(&[(51, 1), (1, 16_383)]) > 10_000);
    }
}
