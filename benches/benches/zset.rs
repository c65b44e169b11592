//! Sorted sets: elements put in and taken out, ranks, ranges. 100 elements are packed, more are a tree.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use larder_benches::requests::key;
use larder_storage::hasher::Hasher;
use larder_storage::region::Regions;
use larder_storage::rng::Rng;
use larder_storage::types::zset::ZSet;
use larder_storage::types::{Env, Limits};

const SIZES: [u64; 3] = [100, 10_000, 1_000_000];
/// Elements of a range.
const RANGE: usize = 100;

fn env(regions: &Arc<Regions>) -> Env<'_> {
    Env { hasher: Hasher::seeded(1), regions, limits: Limits::default() }
}

fn filled(env: Env<'_>, size: u64, rng: &mut Rng) -> ZSet {
    let mut zset = ZSet::new();
    for number in 0..size {
        let stored = zset.insert(env, &key(number), rng.below(size) as f64);
        assert!(stored.is_ok());
    }
    zset
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("zset");
    for size in SIZES {
        let regions = Regions::with_huge_pages();
        let (env, mut rng) = (env(&regions), Rng::seeded(2));
        let mut zset = filled(env, size, &mut rng);
        let members: Vec<Vec<u8>> = (0..10_000).map(|_| key(rng.below(size))).collect();
        let mut each = members.iter().cycle();
        let mut member = move || each.next().map_or(&[][..], Vec::as_slice);
        group.bench_function(BenchmarkId::new("change a score", size), |bencher| {
            bencher.iter(|| black_box(zset.insert(env, member(), rng.below(size) as f64)));
        });
        group.bench_function(BenchmarkId::new("remove and add", size), |bencher| {
            bencher.iter(|| {
                let member = member();
                black_box(zset.remove(env, member));
                black_box(zset.insert(env, member, rng.below(size) as f64))
            });
        });
        group.bench_function(BenchmarkId::new("rank", size), |bencher| {
            bencher.iter(|| black_box(zset.as_ref().rank(env, member())));
        });
        group.bench_function(BenchmarkId::new("range of 100", size), |bencher| {
            let last_start = size as usize - RANGE;
            bencher.iter(|| {
                let start = rng.index(last_start + 1);
                let sum: f64 = zset.as_ref().range(start, start + RANGE).map(|(_, score)| score).sum();
                black_box(sum)
            });
        });
        assert_eq!(zset.as_ref().len() as u64, size);
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
