//! Eviction, by policy and number of keys: a victim found, and a step of a full cache, which evicts one key and stores another.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use larder_benches::policy::engine::{Engine, POLICIES};
use larder_benches::policy::{Model, Setup};
use larder_benches::trace::synthetic;
use larder_storage::evict::Chooser;
use larder_storage::keyspace::{Keyspace, Options};
use larder_storage::shard::NewEntry;
use larder_storage::types::{Env, Limits};
use larder_storage::value::Content;

const SIZES: [u32; 3] = [1000, 100_000, 3_000_000];

fn find(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find a victim");
    for size in SIZES {
        let keyspace: Keyspace<()> = Keyspace::new(Options { shards: 64, databases: 1, seed: 1 });
        let env = Env { hasher: keyspace.hasher(), regions: keyspace.regions(), limits: Limits::default() };
        for number in 0..size {
            let key = number.to_le_bytes();
            let hash = keyspace.hash(&key);
            // All expire, so that policies for such keys have a choice, too.
            let expiry = Some(1 << 40 | u64::from(number));
            let entry = NewEntry { hash, key: &key, content: Content::Int(0), expiry, tick: keyspace.tick() };
            let mut locked = keyspace.lock(keyspace.set_of(hash));
            let stored = locked.only().map(|guarded| guarded.shard.insert(0, entry, &env));
            assert!(stored.is_some_and(|stored| stored.is_ok()));
        }
        for (name, selection) in POLICIES {
            let mut chooser = Chooser::new(1);
            chooser.select(&keyspace, Some(*selection));
            group.bench_function(BenchmarkId::new(*name, size), |bencher| {
                bencher.iter(|| black_box(chooser.next(&keyspace)));
            });
        }
    }
}

fn step(criterion: &mut Criterion) {
    let Ok(trace) = synthetic::make("scan:requests=1") else { return };
    let mut group = criterion.benchmark_group("evict and insert");
    for size in SIZES {
        for (name, selection) in POLICIES {
            let mut cache = Engine::new(&Setup::objects(&trace, size.into()), *selection);
            (0..size).for_each(|key| assert!(!cache.request(key)));
            let mut next = size;
            group.bench_function(BenchmarkId::new(*name, size), |bencher| {
                bencher.iter(|| {
                    next = next.wrapping_add(1);
                    black_box(cache.request(next))
                });
            });
            assert_eq!(cache.resident(), u64::from(size));
        }
    }
}

criterion_group! {
    name = benches;
    // A cache of 3 million keys takes a while to fill.
    config = Criterion::default().sample_size(20);
    targets = find, step
}
criterion_main!(benches);
