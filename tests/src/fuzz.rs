//! Fuzzing for a bounded time: cases from printed seeds, and mutations of what is valid.

use crate::process::random_bits;
use crate::random::Random;
use std::time::{Duration, Instant};

/// Seconds of one fuzz test where `LARDER_FUZZ_SECONDS` does not say.
const SECONDS: f64 = 2.0;

/// Calls `case` with one seed after the other until the time is over. A failed case prints its seed, and
/// `LARDER_SEED` repeats that case alone.
///
/// # Panics
/// When a case does, or when one of the two variables is not a number.
pub fn run(mut case: impl FnMut(&mut Random)) {
    if let Ok(seed) = std::env::var("LARDER_SEED") {
        return case(&mut Random::new(seed.parse().expect("LARDER_SEED is a number")));
    }
    let seconds = std::env::var("LARDER_FUZZ_SECONDS").map_or(SECONDS, |text| text.parse().expect("a number"));
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let mut cases = 0;
    while Instant::now() < until {
        let case_of = Seed(random_bits());
        case(&mut Random::new(case_of.0));
        cases += 1;
    }
    println!("{cases} cases");
}

/// Prints the seed of a case that fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("LARDER_SEED={}", self.0);
        }
    }
}

/// Parts of frames, to be put where they do not belong.
const TOKENS: &[&str] = &[
    "\r\n",
    "\r",
    "\n",
    "*",
    "$",
    "*0\r\n",
    "*-1\r\n",
    "$-1\r\n",
    "$0\r\n\r\n",
    "*1\r\n",
    "*3\r\n$3\r\nSET\r\n",
    "$5\r\nhello\r\n",
    "%1\r\n",
    "~2\r\n",
    ">1\r\n",
    "|1\r\n",
    ":1\r\n",
    ",1.5\r\n",
    ",inf\r\n",
    "#t\r\n",
    "_\r\n",
    "(123\r\n",
    "=7\r\ntxt:abc\r\n",
    "!3\r\nERR\r\n",
    "+OK\r\n",
    "-ERR x\r\n",
    "2147483647",
    "2147483648",
    "99999999999999999999",
    "-1",
    "0",
    "00",
    "\0",
    "\"",
    "'",
    "\\x4",
    " ",
    "PING\r\n",
];

/// Changes bytes in up to four places.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() + 1);
        let until = (at + random.below(12)).min(bytes.len());
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.bits() as u8,
            2 => drop(bytes.drain(at..until)),
            3 => bytes.truncate(at),
            4 => {
                let copy = bytes[at..until].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            // A wrong length or count, of which the parser learns most.
            5 => {
                let digits: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
                if !digits.is_empty() {
                    bytes[*random.pick(&digits)] = b'0' + random.below(10) as u8;
                }
            }
            _ => drop(bytes.splice(at..at, random.pick(TOKENS).bytes())),
        }
    }
}

/// Words that commands know, and numbers at the ends of ranges; those in between would ask for gigabytes.
const WORDS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "-2",
    "3",
    "64",
    "65",
    "128",
    "-129",
    "1000",
    "2147483647",
    "-2147483648",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551616",
    "-99999999999999999999999999999999999999",
    "1.5",
    "1e308",
    "1e309",
    "-1e-320",
    "0x10",
    " 1",
    "+1",
    "inf",
    "-inf",
    "nan",
    "(1",
    "(inf",
    "[a",
    "(",
    "[",
    "-",
    "+",
    "*",
    "NX",
    "XX",
    "GT",
    "LT",
    "CH",
    "INCR",
    "GET",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "KEEPTTL",
    "PERSIST",
    "WITHSCORES",
    "WITHSCORE",
    "LIMIT",
    "BYSCORE",
    "BYLEX",
    "REV",
    "WEIGHTS",
    "AGGREGATE",
    "SUM",
    "MIN",
    "MAX",
    "COUNT",
    "MATCH",
    "TYPE",
    "REPLACE",
    "DB",
    "LEN",
    "IDX",
    "MINMATCHLEN",
    "ASYNC",
    "SYNC",
    "HELP",
    "a",
    "b",
    "z1",
    "z2",
    "big",
    "key:7",
    "string",
    "zset",
];

/// An argument to make trouble with: a word out of place, bytes of any kind, or a long text.
pub fn argument(random: &mut Random) -> Vec<u8> {
    match random.below(12) {
        0 => Vec::new(),
        1 | 2 => (0..random.below(24)).map(|_| random.bits() as u8).collect(),
        3 => vec![random.bits() as u8; random.below(300)],
        4 => vec![b'0' + random.below(10) as u8; 1 + random.below(6000)],
        _ => random.pick(WORDS).as_bytes().to_vec(),
    }
}

/// Changes a command in up to three places; its name mostly stays.
pub fn mutate_command(words: &mut Vec<Vec<u8>>, random: &mut Random) {
    for _ in 0..1 + random.below(3) {
        let (at, other) = (random.below(words.len() + 1).max(1), random.below(words.len()).max(1));
        match random.below(8) {
            0 | 1 => words.insert(at, argument(random)),
            2 if at < words.len() => drop(words.remove(at)),
            3 if at < words.len() && other < words.len() => words.swap(at, other),
            4 if at < words.len() => mutate(&mut words[at], random),
            5 if random.once_in(8) => mutate(&mut words[0], random),
            6 => {
                let tail: Vec<_> = words.iter().skip(at).cloned().collect();
                (0..random.below(20)).for_each(|_| words.extend(tail.iter().take(3).cloned()));
            }
            _ if at < words.len() => words[at] = argument(random),
            _ => words.push(argument(random)),
        }
    }
}
