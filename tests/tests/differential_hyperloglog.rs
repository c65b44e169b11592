//! HyperLogLogs are the same strings, byte for byte, as a real redis-server makes of the same commands.

use larder_tests::random::Random;
use larder_tests::{Both, Compare};

/// Rounds from empty servers.
const ROUNDS: usize = 40;
/// Commands of a round.
const COMMANDS: usize = 150;
const KEYS: &[&str] = &["a", "b", "c", "d"];

/// Elements of a PFADD: few, or as many as make a sparse one long.
fn elements(random: &mut Random, most: usize) -> Vec<Vec<u8>> {
    let count = random.below(most + 1);
    (0..count)
        .map(|_| match random.below(4) {
            0 => (0..random.below(40)).map(|_| random.bits() as u8).collect(),
            1 => random.below(50).to_string().into_bytes(),
            _ => random.bits().to_string().into_bytes(),
        })
        .collect()
}

fn command(random: &mut Random, most: usize) -> Vec<Vec<u8>> {
    let key = |random: &mut Random| random.pick(KEYS).as_bytes().to_vec();
    let mut words: Vec<Vec<u8>> = Vec::new();
    match random.below(20) {
        0..10 => {
            words.extend([b"PFADD".to_vec(), key(random)]);
            words.extend(elements(random, most));
        }
        10..13 => {
            words.push(b"PFMERGE".to_vec());
            words.extend((0..1 + random.below(4)).map(|_| key(random)));
        }
        13..16 => {
            words.push(b"PFCOUNT".to_vec());
            words.extend((0..1 + random.below(3)).map(|_| key(random)));
        }
        16 => {
            let name = *random.pick(&["GETREG", "DECODE", "ENCODING", "TODENSE"]);
            words.extend([b"PFDEBUG".to_vec(), name.into(), key(random)]);
        }
        17 => words.extend([b"DEL".to_vec(), key(random)]),
        18 => {
            let limit = *random.pick(&["3000", "3000", "200", "10000", "40"]);
            words.extend([b"CONFIG".to_vec(), b"SET".to_vec(), b"hll-sparse-max-bytes".to_vec(), limit.into()]);
        }
        _ => words.extend([b"COPY".to_vec(), key(random), key(random)]),
    }
    words
}

#[test]
fn random_commands_leave_the_same_bytes() {
    let Some(mut both) = Both::start() else { return };
    let mut random = Random::from_environment();
    for _ in 0..ROUNDS {
        let most = *random.pick(&[3, 30, 400]);
        for _ in 0..COMMANDS {
            let words = command(&mut random, most);
            let mut check = |words: &[Vec<u8>]| {
                if let Err(difference) = both.command(words, Compare::Exact) {
                    panic!("{}", both.report(&difference));
                }
            };
            check(&words);
            if let Some(key) = words.get(1).filter(|key| KEYS.iter().any(|known| known.as_bytes() == **key)) {
                check(&[b"GET".to_vec(), key.clone()]);
            }
        }
        both.fresh().unwrap();
    }
}

/// Bytes put anywhere into a HyperLogLog. What Redis adds to a corrupt one that is very long is the one difference, so
/// they are short.
#[test]
fn corrupt_ones_are_answered_alike() {
    let Some(mut both) = Both::start() else { return };
    let mut random = Random::from_environment();
    for _ in 0..1500 {
        let mut check = |words: &[Vec<u8>]| {
            if let Err(difference) = both.command(words, Compare::Exact) {
                panic!("{}", both.report(&difference));
            }
        };
        let mut add = vec![b"PFADD".to_vec(), b"h".to_vec()];
        add.extend(elements(&mut random, 60));
        check(&add);
        if random.once_in(3) {
            check(&[b"PFDEBUG".to_vec(), b"TODENSE".to_vec(), b"h".to_vec()]);
        }
        for _ in 0..1 + random.below(3) {
            // The last bytes of a sparse one are the likeliest to matter.
            let at = if random.once_in(2) { 16 + random.below(40) } else { random.below(150) };
            let bytes: Vec<u8> = (0..1 + random.below(3)).map(|_| random.bits() as u8).collect();
            check(&[b"SETRANGE".to_vec(), b"h".to_vec(), at.to_string().into(), bytes]);
        }
        check(&[b"PFCOUNT".to_vec(), b"h".to_vec()]);
        check(&[b"PFCOUNT".to_vec(), b"h".to_vec(), b"other".to_vec()]);
        check(&[b"PFMERGE".to_vec(), b"other".to_vec(), b"h".to_vec()]);
        // One element: where several are refused at the second, Redis keeps the first.
        check(&[b"PFADD".to_vec(), b"h".to_vec(), random.bits().to_string().into()]);
        check(&[b"GET".to_vec(), b"h".to_vec()]);
        check(&[b"DEL".to_vec(), b"h".to_vec()]);
    }
}
