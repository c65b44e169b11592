//! One thread on an engine without sockets against several: commands per second, and their ratio.
//!
//!     cargo run --release -p larder-benches --bin threads -- [THREADS [ROUNDS]]
//!
//! One thread and several take turns, round by round, so that a noisy machine disturbs both alike; medians are printed. A
//! machine that has no core for each thread spoils the ratio: then look at the commands per second of CPU time, which contention
//! lowers, too, as long as nobody sleeps on a lock.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use larder::Server;
use larder_benches::output::print_or_end;
use larder_benches::requests::{Command, fill, pipeline};
use larder_benches::tell;
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
    print_or_end(&format!(
        "pipeline {DEPTH}, values of {VALUE_BYTES} bytes, {rounds} rounds; thousands of commands per second"
    ));
    print_or_end(&format!(
        "| case | 1 thread | {threads} threads | ratio | 1 thread, CPU time | {threads} threads, CPU time | ratio |"
    ));
    print_or_end("|:--|--:|--:|--:|--:|--:|--:|");
    for (name, command, keys) in cases {
        let Some((one, several)) = measure(command, keys, threads, rounds) else {
            tell!("{name}: no server");
            return;
        };
        let shown = |one: f64, several: f64| format!("{:.0} | {:.0} | {:.2}", one / 1e3, several / 1e3, several / one);
        let (by_wall, by_cpu) = (shown(one.by_wall, several.by_wall), shown(one.by_cpu, several.by_cpu));
        print_or_end(&format!("| {name} | {by_wall} | {by_cpu} |"));
    }
}

/// Commands per second, of all threads together.
#[derive(Clone, Copy)]
struct Rate {
    by_wall: f64,
    /// Per second of each thread's CPU time.
    by_cpu: f64,
}

/// Medians: one thread, and several.
fn measure(command: Command, keys: u64, threads: usize, rounds: usize) -> Option<(Rate, Rate)> {
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

/// The rate of one thread per list of pipelines.
fn run(server: &Server, pipelines: &[Vec<Vec<u8>>]) -> Rate {
    let start = Barrier::new(pipelines.len());
    std::thread::scope(|scope| {
        let work = |own: &Vec<Vec<u8>>| {
            let mut connection = server.connect();
            start.wait();
            let (started, cpu, mut ran) = (Instant::now(), cpu_seconds(), 0);
            for pipeline in own.iter().cycle() {
                std::hint::black_box(connection.run(pipeline));
                ran += DEPTH;
                if ran % (64 * DEPTH) == 0 && started.elapsed() >= TIME {
                    break;
                }
            }
            let ran = ran as f64;
            Rate { by_wall: ran / started.elapsed().as_secs_f64(), by_cpu: ran / (cpu_seconds() - cpu) }
        };
        let threads: Vec<_> = pipelines.iter().map(|own| scope.spawn(move || work(own))).collect();
        let rates = threads.into_iter().filter_map(|thread| thread.join().ok());
        rates.fold(Rate { by_wall: 0.0, by_cpu: 0.0 }, |sum, rate| Rate {
            by_wall: sum.by_wall + rate.by_wall,
            by_cpu: sum.by_cpu + rate.by_cpu,
        })
    })
}

/// CPU time of this thread; where it is not told, the time of the clock.
fn cpu_seconds() -> f64 {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    }
    #[cfg(not(unix))]
    {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_secs_f64()
    }
}

fn median(rates: Vec<Rate>) -> Rate {
    let middle = |of: fn(&Rate) -> f64| {
        let mut values: Vec<f64> = rates.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Rate { by_wall: middle(|rate| rate.by_wall), by_cpu: middle(|rate| rate.by_cpu) }
}
