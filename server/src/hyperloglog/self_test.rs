//! What PFSELFTEST does: the registers keep what they are given, both forms agree, and estimates are as near as they
//! should be.

use larder_storage::rng::Rng;

use super::{Encoding, REGISTERS, add, add_dense, count, dense, empty, encoding, make_dense};

/// Elements added in the end.
const MOST: u64 = 1_000_000;

/// The error is what is wrong.
pub(crate) fn self_test(mut rng: Rng, limit: usize) -> Result<(), String> {
    check_registers(&mut rng)?;
    check_estimates(rng.next_u64(), limit)
}

fn check_registers(rng: &mut Rng) -> Result<(), String> {
    let mut registers = vec![0; dense::LEN];
    for _ in 0..50 {
        let mut values: Vec<u8> = (0..REGISTERS).map(|_| rng.next_u64() as u8 & 63).collect();
        dense::pack(&values, &mut registers);
        let raised = rng.index(REGISTERS);
        values[raised] = 63;
        dense::raise(&mut registers, raised, 63);
        let mut index = 0;
        let mut wrong = None;
        dense::each(&registers, |value| {
            if value != values[index] {
                wrong.get_or_insert_with(|| format!("Register {index} should be {} but is {value}", values[index]));
            }
            index += 1;
        });
        wrong.map_or(Ok(()), Err)?;
    }
    Ok(())
}

fn check_estimates(seed: u64, limit: usize) -> Result<(), String> {
    let (mut dense, mut grown) = (empty(), empty());
    let corrupt = |_| "corrupt registers".to_owned();
    make_dense(&mut dense).map_err(corrupt)?;
    let mut checkpoint = 1;
    for number in 1..=MOST {
        let element = (number ^ seed).to_le_bytes();
        add_dense(&mut dense, &element);
        add(&mut grown, &element, limit).map_err(corrupt)?;
        if number == checkpoint {
            if number < limit as u64 / 2 && encoding(&grown) != Some(Encoding::Sparse) {
                return Err("sparse encoding not used".to_owned());
            }
            let estimate = count(&dense).map_err(corrupt)?;
            if count(&grown) != Ok(estimate) {
                return Err("dense/sparse disagree".to_owned());
            }
            let error = estimate.abs_diff(checkpoint);
            if error > most_error(checkpoint) {
                return Err(format!("Too big error. card:{checkpoint} abserr:{error}"));
            }
            checkpoint *= 10;
        }
    }
    Ok(())
}

/// Six standard errors; two of ten elements may share a register.
fn most_error(cardinality: u64) -> u64 {
    let standard = 1.04 / (REGISTERS as f64).sqrt();
    if cardinality == 10 { 1 } else { (standard * 6.0 * cardinality as f64).ceil() as u64 }
}
