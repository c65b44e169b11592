//! The longest common subsequence of two byte strings, with the choices of Redis 7.4's LCS
//! (`lcsCommand` in t_string.c), so that among several longest ones the same one is answered.
//!
//! Redis fills a table of lengths, 4 bytes for each pair of positions, and walks back through it.
//! Neighbours in a row differ by 0 or 1, so one bit for each pair says the same: a row is made from
//! the one above by a few operations on 64 columns at a time (Hyyro, "Bit-parallel LCS-length
//! Computation Revisited", AWOCA 2004). Where two bytes differ, Redis steps up if the length above
//! is the greater one and left otherwise; the length above is the greater one exactly if the
//! length at hand exceeds the one to the left, which is the bit.
//!
//! A row holds a 0 bit where the length exceeds that of the column before; the bits behind the last
//! column are never read.

/// Why two strings cannot be compared; Redis has a text for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LcsError {
    /// A string of 4 GiB.
    TooLong,
    /// Redis's table would be larger than `proto-max-bulk-len`.
    ExceedsLimit,
    /// The memory cannot be had.
    OutOfMemory,
}

/// A run of the common subsequence that stands in one piece in both strings; positions count from
/// 0, and the last ones belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    /// First and last position in the first string.
    pub(crate) a: (usize, usize),
    /// First and last position in the second string.
    pub(crate) b: (usize, usize),
}

impl Match {
    /// Bytes of the run.
    pub(crate) fn len(&self) -> usize {
        self.a.1 - self.a.0 + 1
    }
}

/// A longest common subsequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Matches {
    /// Its bytes.
    pub(crate) common: Vec<u8>,
    /// Its runs, the last one first, as LCS IDX lists them.
    pub(crate) runs: Vec<Match>,
}

/// The length of the longest common subsequence. `limit` is `proto-max-bulk-len`, in bytes.
///
/// Time: `a.len() * b.len() / 64` steps. Memory: less than the table that `limit` bounds, by a factor of
/// nearly 32 if `b` is long.
pub(crate) fn length(a: &[u8], b: &[u8], limit: u64) -> Result<usize, LcsError> {
    check(a.len() as u64, b.len() as u64, limit)?;
    let masks = Masks::new(a, b)?;
    let mut row = allocate(masks.words, u64::MAX)?;
    for &byte in a {
        advance(&mut row, masks.of(byte));
    }
    Ok(length_of(&row, b.len()))
}

/// The longest common subsequence and where it stands; arguments and cost as of [`length`].
pub(crate) fn matches(a: &[u8], b: &[u8], limit: u64) -> Result<Matches, LcsError> {
    check(a.len() as u64, b.len() as u64, limit)?;
    let masks = Masks::new(a, b)?;
    let mut row = allocate(masks.words, u64::MAX)?;
    let mut rows = Vec::new();
    let size = a.len().saturating_mul(masks.words);
    rows.try_reserve_exact(size).map_err(|_| LcsError::OutOfMemory)?;
    for &byte in a {
        advance(&mut row, masks.of(byte));
        rows.extend_from_slice(&row);
    }
    Ok(walk_back(a, b, masks.words, &rows))
}

fn check(a: u64, b: u64, limit: u64) -> Result<(), LcsError> {
    const MAX_LENGTH: u64 = u32::MAX as u64 - 1;
    if a >= MAX_LENGTH || b >= MAX_LENGTH {
        return Err(LcsError::TooLong);
    }
    match ((a + 1) * (b + 1)).checked_mul(size_of::<u32>() as u64) {
        None => Err(LcsError::OutOfMemory),
        Some(size) if size > limit => Err(LcsError::ExceedsLimit),
        Some(_) => Ok(()),
    }
}

fn walk_back(a: &[u8], b: &[u8], words: usize, rows: &[u64]) -> Matches {
    let (mut i, mut j) = (a.len(), b.len());
    let mut found = Matches::default();
    let mut run: Option<Match> = None;
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            found.common.push(a[i]);
            let run = run.get_or_insert(Match { a: (i, i), b: (j, j) });
            (run.a.0, run.b.0) = (i, j);
        } else {
            found.runs.extend(run.take());
            let row = &rows[(i - 1) * words..];
            match row[(j - 1) / 64] >> ((j - 1) % 64) & 1 {
                0 => i -= 1,
                _ => j -= 1,
            }
        }
    }
    found.runs.extend(run);
    found.common.reverse();
    found
}

/// For each byte of the first string, the columns of the second one that hold it.
struct Masks {
    /// Words of a mask, and of a row.
    words: usize,
    /// The number of a byte's mask.
    index: [u8; 256],
    masks: Vec<u64>,
}

impl Masks {
    fn new(a: &[u8], b: &[u8]) -> Result<Masks, LcsError> {
        let words = b.len().div_ceil(64);
        let mut present = [false; 256];
        a.iter().for_each(|&byte| present[usize::from(byte)] = true);
        let mut index = [0; 256];
        let mut count: usize = 0;
        for (byte, _) in present.iter().enumerate().filter(|&(_, &present)| present) {
            index[byte] = count as u8;
            count += 1;
        }
        let mut masks = allocate(count * words, 0)?;
        for (column, &byte) in b.iter().enumerate() {
            if present[usize::from(byte)] {
                masks[usize::from(index[usize::from(byte)]) * words + column / 64] |= 1 << (column % 64);
            }
        }
        Ok(Masks { words, index, masks })
    }

    /// The mask of a byte of the first string.
    fn of(&self, byte: u8) -> &[u64] {
        let start = usize::from(self.index[usize::from(byte)]) * self.words;
        &self.masks[start..start + self.words]
    }
}

/// Turns a row into the next one: `row + (row & mask) | row & !mask`, as one long integer.
fn advance(row: &mut [u64], mask: &[u64]) {
    let mut carry = false;
    for (word, &mask) in row.iter_mut().zip(mask) {
        let sum;
        (sum, carry) = word.carrying_add(*word & mask, carry);
        *word = sum | (*word & !mask);
    }
}

/// The 0 bits among the first `columns`: the length at the end of the row.
fn length_of(row: &[u64], columns: usize) -> usize {
    let zeros: usize = row.iter().map(|word| word.count_zeros() as usize).sum();
    let behind = row.len() * 64 - columns;
    let last = row.last().copied().unwrap_or(0);
    let excess = if behind == 0 { 0 } else { (!last >> (64 - behind)).count_ones() as usize };
    zeros - excess
}

fn allocate(words: usize, value: u64) -> Result<Vec<u64>, LcsError> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(words).map_err(|_| LcsError::OutOfMemory)?;
    memory.resize(words, value);
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: u64 = 512 << 20;

    type Runs<'a> = &'a [((usize, usize), (usize, usize))];

    fn check(a: &str, b: &str, common: &str, runs: Runs) {
        let found = matches(a.as_bytes(), b.as_bytes(), LIMIT).unwrap();
        assert_eq!(found.common, common.as_bytes(), "{a} {b}");
        let found: Vec<_> = found.runs.iter().map(|run| (run.a, run.b)).collect();
        assert_eq!(found, runs, "{a} {b}");
        let len = length(a.as_bytes(), b.as_bytes(), LIMIT);
        assert_eq!(len, Ok(common.len()), "{a} {b}");
    }

    #[test]
    fn the_one_that_redis_chooses() {
        check("ohmytext", "mynewtext", "mytext", &[((4, 7), (5, 8)), ((2, 3), (0, 1))]);
        check("ABCBDAB", "BDCABA", "BDAB", &[((5, 6), (3, 4)), ((3, 4), (0, 1))]);
        check("aXbXc", "abc", "abc", &[((4, 4), (2, 2)), ((2, 2), (1, 1)), ((0, 0), (0, 0))]);
        check("aaaa", "aa", "aa", &[((2, 3), (0, 1))]);
        check("abab", "baba", "bab", &[((1, 3), (0, 2))]);
    }

    #[test]
    fn nothing_in_common() {
        check("xyz", "abc", "", &[]);
        check("", "abc", "", &[]);
        check("abc", "", "", &[]);
        check("", "", "", &[]);
    }

    #[test]
    fn a_run_knows_its_length() {
        let found = matches(b"ohmytext", b"mynewtext", LIMIT).unwrap();
        let lengths: Vec<_> = found.runs.iter().map(Match::len).collect();
        assert_eq!(lengths, [4, 2]);
    }

    #[test]
    fn words_carry_into_the_next() {
        let text: Vec<u8> = (0..=255).cycle().take(1000).collect();
        assert_eq!(matches(&text, &text, LIMIT).unwrap().common, text);
        for len in [63, 64, 65, 127, 128, 129] {
            let same = vec![b'a'; len];
            assert_eq!(length(&same, &same, LIMIT), Ok(len));
            assert_eq!(length(b"a", &same, LIMIT), Ok(1));
        }
    }

    #[test]
    fn memory_is_limited_as_in_redis() {
        // 4 bytes times 10 times 5, as the table of Redis would take.
        assert_eq!(length(&[0; 9], &[1; 4], 200), Ok(0));
        assert_eq!(length(&[0; 9], &[1; 4], 199), Err(LcsError::ExceedsLimit));
        assert_eq!(matches(&[0; 9], &[1; 4], 199), Err(LcsError::ExceedsLimit));
        let long = u64::from(u32::MAX) - 1;
        assert_eq!(super::check(long, 0, u64::MAX), Err(LcsError::TooLong));
        assert_eq!(super::check(0, long, u64::MAX), Err(LcsError::TooLong));
        assert_eq!(super::check(long - 1, 0, u64::MAX), Ok(()));
        assert_eq!(super::check(long - 1, long - 1, u64::MAX), Err(LcsError::OutOfMemory));
    }

    /// The table of lengths, and the way back through it.
    fn reference(a: &[u8], b: &[u8]) -> Matches {
        let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                table[i][j] =
                    if a[i - 1] == b[j - 1] { table[i - 1][j - 1] + 1 } else { table[i - 1][j].max(table[i][j - 1]) };
            }
        }
        let (mut i, mut j) = (a.len(), b.len());
        let mut pairs = Vec::new();
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                pairs.push((i, j));
            } else if table[i - 1][j] > table[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        let runs = pairs.chunk_by(|later, earlier| (later.0 - 1, later.1 - 1) == *earlier);
        let run = |run: &[(usize, usize)]| {
            let (first, last) = (run[run.len() - 1], run[0]);
            Match { a: (first.0, last.0), b: (first.1, last.1) }
        };
        Matches { runs: runs.map(run).collect(), common: pairs.iter().rev().map(|&(i, _)| a[i]).collect() }
    }

    proptest! {
        #[test]
        fn same_as_the_table(
            a in prop::collection::vec(b'a'..b'd', 0..150),
            b in prop::collection::vec(b'a'..b'e', 0..150),
        ) {
            let expected = reference(&a, &b);
            prop_assert_eq!(length(&a, &b, LIMIT), Ok(expected.common.len()));
            prop_assert_eq!(matches(&a, &b, LIMIT), Ok(expected));
        }
    }
}
