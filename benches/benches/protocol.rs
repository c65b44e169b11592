//! The protocol alone: pipelines of so many commands parsed, commands of so many words, so many replies written.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use larder_benches::requests::{Command, encode, key, pipeline};
use larder_protocol::{Batch, Limits, Parser, Proto, Reply};
use larder_storage::rng::Rng;

const DEPTHS: [usize; 3] = [1, 16, 100];
const WORDS: [usize; 3] = [10, 100, 10_000];
const REPLIES: [usize; 3] = [1, 100, 10_000];

/// Parses all of `bytes`, which are so many commands.
fn parse_all(group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId, bytes: &[u8], commands: usize) {
    let (limits, mut batch) = (Limits::default(), Batch::new());
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            batch.clear();
            let parsed = Parser::new().parse(black_box(bytes), &mut batch, commands, &limits);
            assert!(parsed.is_ok() && batch.len() == commands && batch.consumed() == bytes.len());
        });
    });
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for depth in DEPTHS {
        group.throughput(Throughput::Elements(depth as u64));
        let inline = b"GET key:000000000001\r\n".repeat(depth);
        let get = pipeline(Command::Get, depth, 100_000, &mut Rng::seeded(1));
        let set = pipeline(Command::Set(64), depth, 100_000, &mut Rng::seeded(1));
        for (name, bytes) in [("GET", get), ("SET of 64 bytes", set), ("GET inline", inline)] {
            parse_all(&mut group, BenchmarkId::new(name, depth), &bytes, depth);
        }
    }
    for words in WORDS {
        group.throughput(Throughput::Elements(words as u64));
        let keys: Vec<Vec<u8>> = (1..words as u64).map(key).collect();
        let mget: Vec<&[u8]> = std::iter::once(&b"MGET"[..]).chain(keys.iter().map(Vec::as_slice)).collect();
        let mut bytes = Vec::new();
        encode(&mget, &mut bytes);
        parse_all(&mut group, BenchmarkId::new("MGET, by words", words), &bytes, 1);
    }
}

/// Writes one reply.
type Write = fn(&mut Reply, &[u8]);

fn reply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reply");
    let value = [b'v'; 64];
    let kinds: [(&str, Write); 5] = [
        ("ok", |reply, _| reply.ok()),
        ("bulk of 64 bytes", |reply, value| reply.bulk(value)),
        ("integer", |reply, value| reply.int(value.len() as i64 * 1_000_003)),
        ("double", |reply, value| reply.double(value.len() as f64 / 3.0)),
        ("null", |reply, _| reply.null()),
    ];
    for proto in [Proto::Resp2, Proto::Resp3] {
        for (name, write) in kinds {
            let mut reply = Reply::with_proto(proto);
            for replies in REPLIES {
                group.throughput(Throughput::Elements(replies as u64));
                group.bench_function(BenchmarkId::new(format!("{name}, {proto:?}"), replies), |bencher| {
                    bencher.iter(|| {
                        reply.clear();
                        (0..replies).for_each(|_| write(&mut reply, black_box(&value)));
                        black_box(reply.len());
                    });
                });
            }
        }
    }
}

criterion_group!(benches, parse, reply);
criterion_main!(benches);
