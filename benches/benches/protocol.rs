//! The protocol alone: commands parsed, replies written. The unit is a pipeline of 100.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder_benches::requests::{Command, pipeline};
use larder_protocol::{Batch, Limits, Parser, Proto, Reply};
use larder_storage::rng::Rng;

const DEPTH: usize = 100;

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(DEPTH as u64));
    let inline = b"GET key:000000000001\r\n".repeat(DEPTH);
    let get = pipeline(Command::Get, DEPTH, 100_000, &mut Rng::seeded(1));
    let set = pipeline(Command::Set(64), DEPTH, 100_000, &mut Rng::seeded(1));
    for (name, bytes) in [("GET", get), ("SET of 64 bytes", set), ("GET inline", inline)] {
        let (limits, mut batch) = (Limits::default(), Batch::new());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                batch.clear();
                let parsed = Parser::new().parse(black_box(&bytes), &mut batch, DEPTH, &limits);
                assert!(parsed.is_ok() && batch.len() == DEPTH && batch.consumed() == bytes.len());
            });
        });
    }
}

/// Writes one reply.
type Write = fn(&mut Reply, &[u8]);

fn reply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reply");
    group.throughput(Throughput::Elements(DEPTH as u64));
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
            group.bench_function(format!("{name}, {proto:?}"), |bencher| {
                bencher.iter(|| {
                    reply.clear();
                    (0..DEPTH).for_each(|_| write(&mut reply, black_box(&value)));
                    black_box(reply.len());
                });
            });
        }
    }
}

criterion_group!(benches, parse, reply);
criterion_main!(benches);
