//! HyperLogLogs in the form in which Redis keeps them in strings, byte for byte, so that values move between servers.
//!
//! ```text
//! bytes 0..4     "HYLL"
//! byte  4        encoding: 0 dense, 1 sparse
//! bytes 5..8     unused
//! bytes 8..16    the cardinality when it was last counted, little-endian; the top bit says that it is out of date
//! bytes 16..     the registers
//! ```
//!
//! There are 16,384 registers. An element's hash chooses one by its lowest bits; the register keeps the longest run of
//! zeros seen in the rest. `sparse` and `dense` are the two forms of registers, `estimate` makes a cardinality of them.
//!
//! The bytes may come from a client: everything here copes with any.

mod dense;
mod estimate;
mod hash;
mod self_test;
mod sparse;

pub(crate) use self_test::self_test;
use sparse::Raised;
pub(crate) use sparse::decode;

/// Bytes before the registers.
pub(crate) const HEADER: usize = 16;
/// How many registers there are.
pub(crate) const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 14;
/// Bits of a hash in which a run is sought; with none set, the run is one longer than that.
const RUN_BITS: u32 = u64::BITS - INDEX_BITS;
/// Length of every dense HyperLogLog.
const DENSE_LEN: usize = HEADER + dense::LEN;
/// A valid sparse one is not longer: no register takes more than two bytes.
const SPARSE_AT_MOST: usize = HEADER + 2 * REGISTERS;

const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const CARDINALITY_AT: usize = 8;
const OUT_OF_DATE: u64 = 1 << 63;

/// How the registers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Six bits each.
    Dense = 0,
    /// Runs of equal registers.
    Sparse = 1,
}

/// The registers are not as they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

/// The encoding of a string that has the form of a HyperLogLog; its registers may be corrupt yet.
pub(crate) fn encoding(bytes: &[u8]) -> Option<Encoding> {
    if bytes.len() < HEADER || !bytes.starts_with(MAGIC) {
        return None;
    }
    match bytes[ENCODING_AT] {
        0 if bytes.len() == DENSE_LEN => Some(Encoding::Dense),
        1 => Some(Encoding::Sparse),
        _ => None,
    }
}

/// One that has seen no element.
pub(crate) fn empty() -> Vec<u8> {
    let mut hll = vec![0; HEADER];
    hll[..MAGIC.len()].copy_from_slice(MAGIC);
    hll[ENCODING_AT] = Encoding::Sparse as u8;
    sparse::push_zeros(&mut hll, REGISTERS);
    hll
}

/// The cardinality as it was counted last, unless it has changed since.
pub(crate) fn cached_cardinality(hll: &[u8]) -> Option<u64> {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hll[CARDINALITY_AT..HEADER]);
    let cardinality = u64::from_le_bytes(bytes);
    (cardinality & OUT_OF_DATE == 0).then_some(cardinality)
}

/// Notes the cardinality.
pub(crate) fn cache_cardinality(hll: &mut [u8], cardinality: u64) {
    hll[CARDINALITY_AT..HEADER].copy_from_slice(&cardinality.to_le_bytes());
}

/// Notes that the cardinality that was counted is out of date.
pub(crate) fn outdate(hll: &mut [u8]) {
    hll[HEADER - 1] |= 0x80;
}

/// Adds an element to a dense one; whether that changed a register.
pub(crate) fn add_dense(hll: &mut [u8], element: &[u8]) -> bool {
    let (index, run) = hash::place(element);
    dense::raise(&mut hll[HEADER..], index, run)
}

/// Adds an element, whatever the encoding; whether that changed a register. A sparse one becomes dense where it would
/// be longer than `limit` bytes.
pub(crate) fn add(hll: &mut Vec<u8>, element: &[u8], limit: usize) -> Result<bool, Corrupt> {
    let (index, run) = hash::place(element);
    if hll[ENCODING_AT] == Encoding::Dense as u8 {
        return Ok(dense::raise(&mut hll[HEADER..], index, run));
    }
    match sparse::raise(hll, index, run, limit)? {
        Raised::No => Ok(false),
        Raised::Yes => Ok(true),
        Raised::NoRoom => {
            make_dense(hll)?;
            Ok(dense::raise(&mut hll[HEADER..], index, run))
        }
    }
}

/// Turns a sparse one into a dense one; whether it was sparse.
pub(crate) fn make_dense(hll: &mut Vec<u8>) -> Result<bool, Corrupt> {
    if hll[ENCODING_AT] == Encoding::Dense as u8 {
        return Ok(false);
    }
    let mut registers = Registers::new();
    registers.merge(hll)?;
    hll.resize(DENSE_LEN, 0);
    hll[ENCODING_AT] = Encoding::Dense as u8;
    dense::pack(&registers.0, &mut hll[HEADER..]);
    Ok(true)
}

/// The cardinality of one.
pub(crate) fn count(hll: &[u8]) -> Result<u64, Corrupt> {
    let mut histogram = [0; estimate::VALUES];
    if hll[ENCODING_AT] == Encoding::Dense as u8 {
        dense::each(&hll[HEADER..], |value| histogram[usize::from(value)] += 1);
    } else {
        sparse::each_run(hll, |run| histogram[usize::from(run.value)] += run.registers as u32)?;
    }
    Ok(estimate::cardinality(&histogram))
}

/// Registers, one byte each, to put several HyperLogLogs together.
pub(crate) struct Registers(Box<[u8]>);

impl Registers {
    /// Of none.
    pub(crate) fn new() -> Self {
        Self(vec![0; REGISTERS].into())
    }

    /// Adds all elements of one.
    pub(crate) fn merge(&mut self, hll: &[u8]) -> Result<(), Corrupt> {
        let registers = &mut *self.0;
        if hll[ENCODING_AT] == Encoding::Dense as u8 {
            dense::merge(registers, &hll[HEADER..]);
            return Ok(());
        }
        sparse::each_run(hll, |run| {
            if run.value > 0 {
                let part = &mut registers[run.first..run.first + run.registers];
                part.iter_mut().for_each(|register| *register = run.value.max(*register));
            }
        })
    }

    /// The cardinality of all.
    pub(crate) fn count(&self) -> u64 {
        let mut histogram = [0; estimate::VALUES];
        self.0.iter().for_each(|value| histogram[usize::from(*value)] += 1);
        estimate::cardinality(&histogram)
    }

    /// Writes them into a HyperLogLog that is one of those put together.
    pub(crate) fn store(&self, hll: &mut Vec<u8>, limit: usize) -> Result<(), Corrupt> {
        if hll[ENCODING_AT] == Encoding::Sparse as u8 && !self.store_sparse(hll, limit)? {
            make_dense(hll)?;
        }
        if hll[ENCODING_AT] == Encoding::Dense as u8 {
            dense::pack(&self.0, &mut hll[HEADER..]);
        }
        outdate(hll);
        Ok(())
    }

    /// Writes as many as there is room for in the sparse form; whether that is all.
    fn store_sparse(&self, hll: &mut Vec<u8>, limit: usize) -> Result<bool, Corrupt> {
        let mut start = sparse::Start::default();
        for (index, value) in self.0.iter().enumerate().filter(|(_, value)| **value > 0) {
            if sparse::raise_after(hll, &mut start, index, *value, limit)? == Raised::NoRoom {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The values in order.
    pub(crate) fn values(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use larder_storage::rng::Rng;

    use super::*;

    const LIMIT: usize = 3000;

    fn of(elements: impl IntoIterator<Item = u64>, limit: usize) -> Vec<u8> {
        let mut hll = empty();
        for element in elements {
            add(&mut hll, &element.to_le_bytes(), limit).unwrap();
        }
        hll
    }

    #[test]
    fn both_encodings_hold_the_same() {
        let mut rng = Rng::seeded(1);
        for _ in 0..100 {
            let elements: Vec<u64> = (0..rng.index(3000)).map(|_| rng.next_u64()).collect();
            let sparse = of(elements.iter().copied(), usize::MAX);
            let mut dense = empty();
            assert_eq!(make_dense(&mut dense), Ok(true));
            elements.iter().for_each(|element| {
                add_dense(&mut dense, &element.to_le_bytes());
            });
            assert_eq!((encoding(&sparse), encoding(&dense)), (Some(Encoding::Sparse), Some(Encoding::Dense)));
            assert_eq!(count(&sparse), count(&dense));
            let mut turned = sparse.clone();
            assert_eq!(make_dense(&mut turned), Ok(true));
            assert_eq!(turned[HEADER..], dense[HEADER..]);
            assert_eq!(make_dense(&mut turned), Ok(false));
        }
    }

    #[test]
    fn a_long_one_becomes_dense() {
        let sparse = of(0..100, LIMIT);
        assert_eq!(encoding(&sparse), Some(Encoding::Sparse));
        assert!(sparse.len() < LIMIT);
        assert_eq!(encoding(&of(0..10_000, LIMIT)), Some(Encoding::Dense));
        assert_eq!(encoding(&of(0..100, 30)), Some(Encoding::Dense));
    }

    #[test]
    fn unions_count_each_element_once() {
        let (one, other) = (of(0..3000, LIMIT), of(2000..2500, LIMIT));
        let mut both = Registers::new();
        both.merge(&one).unwrap();
        both.merge(&other).unwrap();
        assert_eq!(both.count(), count(&one).unwrap());
        let mut stored = other.clone();
        both.store(&mut stored, LIMIT).unwrap();
        assert_eq!(count(&stored), count(&one));
        assert_eq!(cached_cardinality(&stored), None);
        cache_cardinality(&mut stored, 7);
        assert_eq!(cached_cardinality(&stored), Some(7));
    }

    #[test]
    fn any_bytes_are_coped_with() {
        let mut rng = Rng::seeded(2);
        for case in 0..3000 {
            let mut hll = of((0..rng.index(60)).map(|element| element as u64), LIMIT);
            if case % 3 == 0 {
                make_dense(&mut hll).unwrap();
            }
            for _ in 0..1 + rng.index(4) {
                match rng.index(4) {
                    0 => hll.truncate(rng.index(hll.len()).max(1)),
                    1 => hll.extend((0..rng.index(40)).map(|_| rng.next_u64() as u8)),
                    _ => {
                        let at = rng.index(hll.len());
                        hll[at] = rng.next_u64() as u8;
                    }
                }
            }
            if encoding(&hll).is_none() {
                continue;
            }
            let counted = count(&hll);
            let mut registers = Registers::new();
            assert_eq!(registers.merge(&hll).is_ok(), counted.is_ok());
            if encoding(&hll) == Some(Encoding::Sparse) {
                decode(&hll);
            }
            let mut copy = hll.clone();
            // It may succeed: what is corrupt may be of no account for this element.
            let _ = add(&mut copy, b"element", LIMIT);
            if counted.is_ok() {
                assert!(registers.store(&mut hll, LIMIT).is_ok());
            }
        }
    }
}
