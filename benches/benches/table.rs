//! One table, without locks: keys found, and put in and taken out again, with 100,000 and 3 million keys.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use larder_benches::requests::key;
use larder_storage::hasher::Hasher;
use larder_storage::region::Regions;
use larder_storage::rng::Rng;
use larder_storage::table::Table;
use larder_storage::types::{Env, Limits};
use larder_storage::value::Content;

const SIZES: [u64; 2] = [100_000, 3_000_000];
const VALUE: [u8; 64] = [b'v'; 64];

fn env(regions: &Arc<Regions>) -> Env<'_> {
    Env { hasher: Hasher::seeded(1), regions, limits: Limits::default() }
}

fn filled(env: &Env<'_>, keys: u64) -> Table {
    let mut table = Table::new(env);
    for number in 0..keys {
        let key = key(number);
        let stored = table.insert(env.hasher.hash(&key), &key, Content::string(&VALUE), None, 0);
        assert!(stored.is_ok());
    }
    table
}

fn bench(criterion: &mut Criterion) {
    for size in SIZES {
        let regions = Regions::with_huge_pages();
        let env = env(&regions);
        let mut table = filled(&env, size);
        let mut rng = Rng::seeded(2);
        // More keys than fit a cache, made ahead.
        let keys: Vec<Vec<u8>> = (0..200_000).map(|_| key(rng.below(size))).collect();
        let absent: Vec<Vec<u8>> = (0..200_000).map(|_| key(size + rng.below(size))).collect();
        let mut present = keys.iter().cycle();
        criterion.bench_function(&format!("find, {size} keys"), |bencher| {
            bencher.iter(|| {
                let key = present.next().map_or(&[][..], Vec::as_slice);
                black_box(table.find(env.hasher.hash(key), key))
            });
        });
        let mut missing = absent.iter().cycle();
        criterion.bench_function(&format!("find absent, {size} keys"), |bencher| {
            bencher.iter(|| {
                let key = missing.next().map_or(&[][..], Vec::as_slice);
                black_box(table.find(env.hasher.hash(key), key))
            });
        });
        criterion.bench_function(&format!("remove and insert, {size} keys"), |bencher| {
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

criterion_group! {
    name = benches;
    // A table of 3 million keys takes a while to fill.
    config = Criterion::default().sample_size(20);
    targets = bench
}
criterion_main!(benches);
