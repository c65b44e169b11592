//! The engine without sockets: pipelines of GET and SET, one thread, with 100,000 and 3 million keys.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use larder::Server;
use larder_benches::requests::{Command, fill, pipeline};
use larder_storage::rng::Rng;

const SIZES: [u64; 2] = [100_000, 3_000_000];
const DEPTHS: [usize; 3] = [1, 16, 100];
const VALUE_BYTES: usize = 64;
/// Commands in all pipelines of a case together.
const COMMANDS: usize = 200_000;

fn bench(criterion: &mut Criterion) {
    for size in SIZES {
        let Ok(server) = Server::builder().build() else { return };
        let mut connection = server.connect();
        for from in (0..size).step_by(10_000) {
            connection.run(&fill(from, size.min(from + 10_000), VALUE_BYTES));
        }
        for (name, command) in [("GET", Command::Get), ("SET", Command::Set(VALUE_BYTES))] {
            let mut group = criterion.benchmark_group(format!("{name}, {size} keys"));
            for depth in DEPTHS {
                let mut rng = Rng::seeded(depth as u64);
                let pipelines: Vec<_> =
                    (0..COMMANDS / depth).map(|_| pipeline(command, depth, size, &mut rng)).collect();
                let mut next = pipelines.iter().cycle();
                group.throughput(Throughput::Elements(depth as u64));
                group.bench_function(BenchmarkId::new("pipeline", depth), |bencher| {
                    bencher.iter(|| {
                        let requests = next.next().map_or(&[][..], Vec::as_slice);
                        black_box(connection.run(requests))
                    });
                });
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = bench
}
criterion_main!(benches);
