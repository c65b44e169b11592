//! One table, without locks, by number of keys: keys found, keys put in and taken out, a table filled from nothing, and the index
//! alone, its segments splitting.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use larder_benches::requests::key;
use larder_storage::hasher::Hasher;
use larder_storage::index::Index;
use larder_storage::region::Regions;
use larder_storage::rng::Rng;
use larder_storage::table::Table;
use larder_storage::types::{Env, Limits};
use larder_storage::value::Content;

const SIZES: [u64; 3] = [1000, 100_000, 3_000_000];
const VALUE: [u8; 64] = [b'v'; 64];
/// More keys than fit a processor's cache, made ahead.
const ASKED: usize = 200_000;

fn env(regions: &Arc<Regions>) -> Env<'_> {
    Env { hasher: Hasher::seeded(1), regions, limits: Limits::default() }
}

fn fill(table: &mut Table, env: &Env<'_>, keys: std::ops::Range<u64>) {
    for number in keys {
        let key = key(number);
        let stored = table.insert(env.hasher.hash(&key), &key, Content::string(&VALUE), None, 0);
        assert!(stored.is_ok());
    }
}

fn keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    for size in SIZES {
        let regions = Regions::with_huge_pages();
        let env = env(&regions);
        let mut table = Table::new(&env);
        fill(&mut table, &env, 0..size);
        let mut rng = Rng::seeded(2);
        let keys: Vec<Vec<u8>> = (0..ASKED).map(|_| key(rng.below(size))).collect();
        let absent: Vec<Vec<u8>> = (0..ASKED).map(|_| key(size + rng.below(size))).collect();
        let mut present = keys.iter().cycle();
        group.bench_function(BenchmarkId::new("find", size), |bencher| {
            bencher.iter(|| {
                let key = present.next().map_or(&[][..], Vec::as_slice);
                black_box(table.find(env.hasher.hash(key), key))
            });
        });
        let mut missing = absent.iter().cycle();
        group.bench_function(BenchmarkId::new("find absent", size), |bencher| {
            bencher.iter(|| {
                let key = missing.next().map_or(&[][..], Vec::as_slice);
                black_box(table.find(env.hasher.hash(key), key))
            });
        });
        group.bench_function(BenchmarkId::new("remove and insert", size), |bencher| {
            bencher.iter(|| {
                let key = present.next().map_or(&[][..], Vec::as_slice);
                let hash = env.hasher.hash(key);
                if let Some(pos) = table.find(hash, key) {
                    table.remove(pos, hash);
                }
                black_box(table.insert(hash, key, Content::string(&VALUE), None, 0))
            });
        });
        assert_eq!(table.len() as u64, size);
    }
}

/// Filling from nothing: a key's part of the splits, of new pages and of the directory's doublings is in it.
fn grow(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fill a table");
    for size in [1000, 100_000, 1_000_000] {
        group.throughput(Throughput::Elements(size));
        let regions = Regions::with_huge_pages();
        let env = env(&regions);
        let fresh = || Table::new(&env);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_batched_ref(fresh, |table| fill(table, &env, 0..size), BatchSize::PerIteration);
        });
    }
}

/// An index of so many elements takes as many again, so that every segment splits once.
fn split(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("split all segments");
    for size in [1000usize, 100_000, 1_000_000] {
        group.throughput(Throughput::Elements(size as u64));
        let mut rng = Rng::seeded(3);
        // An element is the number of its hash.
        let hashes: Vec<u64> = (0..2 * size).map(|_| rng.next_u64()).collect();
        let put = |index: &mut Index<u64>, numbers: std::ops::Range<usize>| {
            for number in numbers {
                index.insert(hashes[number], number as u64, |element| hashes[element as usize], |_| ());
            }
        };
        let half = || {
            let mut index = Index::new();
            put(&mut index, 0..size);
            index
        };
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_batched_ref(half, |index| put(index, size..2 * size), BatchSize::PerIteration);
        });
    }
}

criterion_group! {
    name = benches;
    // A table of 3 million keys takes a while to fill.
    config = Criterion::default().sample_size(20);
    targets = keys, grow, split
}
criterion_main!(benches);
