//! What the tests of the models share, and what holds of all of them.

use larder_storage::rng::Rng;

use super::*;
use crate::trace::Builder;

/// A trace of words.
pub fn trace_of(text: &str) -> Trace {
    let mut builder = Builder::default();
    text.split_whitespace().for_each(|word| builder.push_bytes(word.as_bytes(), None).unwrap());
    builder.build("test")
}

/// A trace in which low numbers are asked for more often.
pub fn random_trace(keys: usize, requests: usize, rng: &mut Rng) -> Trace {
    let mut builder = Builder::default();
    for _ in 0..requests {
        let key = (0..3).map(|_| rng.index(keys)).min().unwrap_or(0);
        builder.push_number(key as u64, None).unwrap();
    }
    builder.build("random")
}

/// Different keys of a trace.
pub fn ids(trace: &Trace) -> usize {
    trace.requests.iter().collect::<std::collections::BTreeSet<_>>().len()
}

/// Per word of `text`, `h` for a hit and `.` for a miss.
pub fn hits(policy: &str, objects: u64, text: &str) -> String {
    let trace = trace_of(text);
    let mut model = make(policy, &Setup::objects(&trace, objects)).unwrap();
    trace.requests.iter().map(|key| if model.request(*key) { 'h' } else { '.' }).collect()
}

/// A mix of what traces are made of: popular keys, a loop, a scan.
fn mixed_trace(seed: u64) -> Trace {
    let (mut builder, mut rng) = (Builder::default(), Rng::seeded(seed));
    for at in 0..15_000u64 {
        let key = match rng.index(10) {
            0 => 100_000 + at,
            1..3 => 50_000 + at % 700,
            _ => (0..4).map(|_| rng.below(3000)).min().unwrap_or(0),
        };
        builder.push_number(key, None).unwrap();
    }
    builder.build("mixed")
}

fn count(name: &str, setup: &Setup<'_>) -> u64 {
    let mut model = make(name, setup).unwrap();
    let (mut hits, mut most) = (0, 0);
    for key in &setup.trace.requests {
        if setup.weights.of(*key) > setup.capacity {
            model.pass();
            continue;
        }
        hits += u64::from(model.request(*key));
        let resident = model.resident();
        assert!(resident <= setup.capacity, "{name}: {resident} of {}", setup.capacity);
        most = most.max(resident);
    }
    assert!(most * 10 >= setup.capacity * 9, "{name}: no more than {most} of {} were resident", setup.capacity);
    hits
}

#[test]
fn no_policy_has_more_hits_than_opt_nor_holds_more_than_it_may() {
    let trace = mixed_trace(1);
    for objects in [1, 2, 10, 100, 900] {
        let setup = Setup::objects(&trace, objects);
        let opt = count("opt", &setup);
        for name in names().filter(|name| exact(name, objects)) {
            let hits = count(name, &setup);
            assert!(hits <= opt, "{name}: {hits} hits of {objects} objects, OPT {opt}");
            assert!(hits * 10 >= opt || objects < 100, "{name}: {hits} hits of {objects} objects, OPT {opt}");
        }
    }
}

/// quick_cache makes two queues of its capacity and may leave more than a tenth of a tiny one empty.
fn exact(name: &str, objects: u64) -> bool {
    name != "quick_cache" || objects >= 100
}

#[test]
fn bytes_are_kept_within_their_limit() {
    let trace = mixed_trace(2);
    let mut rng = Rng::seeded(3);
    let sizes: Vec<u32> = (0..trace.keys).map(|_| 1 + rng.index(500) as u32).collect();
    let trace = trace.with_sizes(&sizes);
    for bytes in [300, 5000, 100_000] {
        let setup = Setup::bytes(&trace, bytes);
        for name in names().filter(|_| bytes > 1000) {
            assert!(count(name, &setup) > 0, "{name} with {bytes} bytes");
        }
    }
}

#[test]
fn a_cache_that_holds_everything_misses_each_key_once() {
    let trace = mixed_trace(4);
    for name in names() {
        // Some hold back a part of their places for keys that they do not trust.
        let setup = Setup::objects(&trace, 2 * trace.keys as u64);
        let mut model = make(name, &setup).unwrap();
        let misses = trace.requests.iter().filter(|key| !model.request(**key)).count();
        assert_eq!(misses, ids(&trace), "{name}");
    }
}

#[test]
fn runs_repeat() {
    let trace = mixed_trace(5);
    // The crates hash with a seed of their own.
    for name in names().filter(|name| !["moka", "quick_cache"].contains(name)) {
        let setup = Setup::objects(&trace, 200);
        assert_eq!(count(name, &setup), count(name, &setup), "{name}");
    }
}

#[test]
fn names_are_unique_and_found() {
    let trace = trace_of("a");
    let mut all: Vec<&str> = names().collect();
    assert!(all.iter().all(|name| make(name, &Setup::objects(&trace, 1)).is_some()));
    assert!(make("sieves", &Setup::objects(&trace, 1)).is_none());
    all.sort_unstable();
    let many = all.len();
    all.dedup();
    assert_eq!(all.len(), many);
    let in_files = ["wtinylfu", "lru", "allkeys-lru", "unknown"].map(reference_name);
    assert_eq!(in_files, ["wtinylfu-climber", "lru", "sampled-lru-pool", "unknown"]);
}
