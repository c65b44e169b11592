//! One thread on an engine without sockets against several: commands per second, and their ratio.
//!
//!     cargo run --release -p larder-benches --bin threads -- [THREADS [ROUNDS]]
//!
//! One thread and several take turns, round by round, so that a noisy machine disturbs both alike; medians are printed.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use larder::Server;
use larder_benches::requests::{Command, fill, pipeline};
use larder_storage::rng::Rng;

/// How long one measurement takes.
const TIME: Duration = Duration::from_millis(500);
/// Commands of a pipeline.
const DEPTH: usize = 16;
/// Different pipelines of a thread.
const PIPELINES: usize = 4096;
const VALUE_BYTES: usize = 64;

fn main() {
    let mut arguments = std::env::args().skip(1).map_while(|argument| argument.parse::<usize>().ok());
    let (threads, rounds) = (arguments.next().unwrap_or(2).max(2), arguments.next().unwrap_or(7).max(1));
    let cases = [
        ("GET, 100k keys", Command::Get, 100_000),
        ("GET, 1M keys", Command::Get, 1_000_000),
        ("SET, 100k keys", Command::Set(VALUE_BYTES), 100_000),
        ("SET, 1M keys", Command::Set(VALUE_BYTES), 1_000_000),
        ("GET, one key", Command::Get, 1),
        ("SET, one key", Command::Set(VALUE_BYTES), 1),
    ];
    println!("pipeline {DEPTH}, values of {VALUE_BYTES} bytes, {rounds} rounds; thousands of commands per second");
    println!("| case | 1 thread | {threads} threads | ratio |\n|:--|--:|--:|--:|");
    for (name, command, keys) in cases {
        let Some((one, several)) = measure(command, keys, threads, rounds) else {
            eprintln!("{name}: no server");
            return;
        };
        println!("| {name} | {:.0} | {:.0} | {:.2} |", one / 1e3, several / 1e3, several / one);
    }
}

/// Medians of commands per second: one thread, and several.
fn measure(command: Command, keys: u64, threads: usize, rounds: usize) -> Option<(f64, f64)> {
    let server = Server::builder().build().ok()?;
    let mut connection = server.connect();
    for from in (0..keys).step_by(10_000) {
        connection.run(&fill(from, keys.min(from + 10_000), VALUE_BYTES));
    }
    let pipelines: Vec<Vec<Vec<u8>>> = (0..threads as u64)
        .map(|seed| {
            let mut rng = Rng::seeded(seed);
            (0..PIPELINES).map(|_| pipeline(command, DEPTH, keys, &mut rng)).collect()
        })
        .collect();
    let (mut one, mut several) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        one.push(run(&server, &pipelines[..1]));
        several.push(run(&server, &pipelines));
    }
    Some((median(one), median(several)))
}

/// Commands per second of one thread per list of pipelines.
fn run(server: &Server, pipelines: &[Vec<Vec<u8>>]) -> f64 {
    let start = Barrier::new(pipelines.len());
    std::thread::scope(|scope| {
        let work = |own: &Vec<Vec<u8>>| {
            let mut connection = server.connect();
            start.wait();
            let (started, mut ran) = (Instant::now(), 0);
            for pipeline in own.iter().cycle() {
                std::hint::black_box(connection.run(pipeline));
                ran += DEPTH;
                if ran % (64 * DEPTH) == 0 && started.elapsed() >= TIME {
                    break;
                }
            }
            ran as f64 / started.elapsed().as_secs_f64()
        };
        let threads: Vec<_> = pipelines.iter().map(|own| scope.spawn(move || work(own))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
    })
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
