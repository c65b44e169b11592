//! The hit ratios of servers with equal memory, over the network: Zipf's law over many times as many keys as fit.
//!
//!     cargo build --release && cargo run --release -p larder-benches --bin live -- --memory 1gb
//!
//! For each policy it starts a server in a directory of its own, replays the same trace, prints a row, and ends the server. README.md describes it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use larder_benches::live::spawn::{Running, parse_option};
use larder_benches::live::{Load, Measured, measure};
use larder_benches::output::print_or_end;
use larder_benches::policy::engine;
use larder_benches::size::{Lengths, Size, parse_one_or_more, parse_some, parse_warmup};
use larder_benches::tell;
use larder_benches::trace::{Trace, synthetic};

/// Bytes of a key: the prefix and eight digits.
const KEY_BYTES: u64 = 10;

/// What names the policies of the servers.
const POLICY_OPTIONS: &str = "--larder-policy and --peer-policy";

/// Compares servers with equal memory, over the network.
#[derive(Parser)]
#[command(name = "live", max_term_width = 100)]
struct Arguments {
    /// `maxmemory` of each server
    #[arg(long, default_value = "100mb", value_parser = parse_some, value_name = "BYTES")]
    memory: u64,
    /// How many times the memory all keys and values take
    #[arg(long, default_value = "10", value_parser = parse_some, value_name = "N")]
    times: u64,
    /// Bytes of values, or a range of them
    #[arg(long, default_value = "200", value_name = "N[-M]")]
    value_bytes: Lengths,
    /// The exponent of Zipf's law
    #[arg(long, default_value_t = 0.9, value_name = "X")]
    theta: f64,
    /// Requests; twice as many as there are keys unless given
    #[arg(long, value_parser = parse_some, value_name = "N")]
    requests: Option<u64>,
    /// The part of the requests at the start that only warm the cache
    #[arg(long, default_value = "50%", value_parser = parse_warmup, value_name = "N|N%")]
    warmup: Size,
    /// Connections to a server
    #[arg(long, default_value = "1", value_parser = parse_one_or_more, value_name = "N")]
    connections: usize,
    /// GETs that are sent at once; a key that comes again ends a pipeline
    #[arg(long, default_value = "64", value_parser = parse_one_or_more, value_name = "N")]
    pipeline: usize,
    /// The program of Larder; the one beside this program unless given
    #[arg(long, value_name = "FILE")]
    larder: Option<PathBuf>,
    /// Policies of Larder; all that spare no keys unless given
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    larder_policy: Vec<String>,
    /// Programs of Redis and Valkey that are compared
    #[arg(long, value_delimiter = ',', default_value = "redis-server", value_name = "FILE")]
    peer: Vec<PathBuf>,
    /// Compare with nobody
    #[arg(long)]
    alone: bool,
    /// Policies of those
    #[arg(long, value_delimiter = ',', default_value = "allkeys-lru,allkeys-lfu", value_name = "NAME")]
    peer_policy: Vec<String>,
    /// Further options of every server: maxmemory-samples=10
    #[arg(long, value_name = "NAME=VALUE", value_parser = |text: &str| parse_option(text, POLICY_OPTIONS))]
    option: Vec<(String, String)>,
    /// Of the trace's random choices
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell!("live: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let Lengths { from: shortest, to: longest } = arguments.value_bytes;
    let entry_bytes = (u64::from(shortest) + u64::from(longest)) / 2 + KEY_BYTES;
    let keys = (arguments.memory.saturating_mul(arguments.times) / entry_bytes).max(1);
    let requests = arguments.requests.unwrap_or(2 * keys);
    let from = usize::try_from(requests).map_or(usize::MAX, |requests| arguments.warmup.of_requests(requests));
    if from as u64 >= requests {
        return Err("no request is left after the warmup".into());
    }
    let Arguments { theta, seed, .. } = arguments;
    let specification = format!("zipf:keys={keys},requests={requests},theta={theta},seed={seed}");
    tell!("{specification}: {entry_bytes} bytes of key and value on average");
    let trace = synthetic::make(&specification).map_err(|problem| problem.to_string())?;
    let load = Load {
        prefix: "z:".into(),
        lengths: Some(arguments.value_bytes),
        depth: arguments.pipeline,
        connections: arguments.connections,
        from,
        clean: false,
    };
    print_or_end(
        "| server | policy | hit ratio | keys | keys per MiB | used, of maxmemory | resident, of maxmemory | requests/s | server CPU, us per request |",
    );
    print_or_end("|:--|:--|--:|--:|--:|--:|--:|--:|--:|");
    // Per program, whether a row came out.
    let mut rows: Vec<(PathBuf, bool)> = Vec::new();
    for (program, policy, options) in contenders(arguments)? {
        if rows.last().is_none_or(|(last, _)| *last != program) {
            rows.push((program.clone(), false));
        }
        match one(arguments, (&program, &policy, &options), &trace, &load) {
            Ok(row) => {
                print_or_end(&row);
                rows.last_mut().into_iter().for_each(|(_, came)| *came = true);
            }
            // One that is not installed, or does not know a policy, spoils nothing for the others.
            Err(error) => tell!("{policy}: {error}"),
        }
    }
    match rows.iter().find(|(_, came)| !came) {
        Some((program, _)) => Err(format!("nothing was measured of {}", program.display())),
        None => Ok(()),
    }
}

/// Program, policy, and options that the program needs.
type Contender = (PathBuf, String, Vec<(&'static str, &'static str)>);

fn contenders(arguments: &Arguments) -> Result<Vec<Contender>, String> {
    let larder = match &arguments.larder {
        Some(path) => path.clone(),
        None => std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("larder"),
    };
    if !larder.exists() {
        return Err(format!("{} is not there: run cargo build --release, or say --larder", larder.display()));
    }
    let all =
        || engine::POLICIES.iter().filter(|(_, selection)| !selection.volatile).map(|(name, _)| (*name).to_owned());
    let own: Vec<String> =
        if arguments.larder_policy.is_empty() { all().collect() } else { arguments.larder_policy.clone() };
    let mut contenders: Vec<Contender> = own.into_iter().map(|policy| (larder.clone(), policy, Vec::new())).collect();
    let peers: &[PathBuf] = if arguments.alone { &[] } else { &arguments.peer };
    for peer in peers {
        // Nothing is saved, or a child that saves would take memory and time.
        let options = || vec![("save", ""), ("appendonly", "no")];
        contenders.extend(arguments.peer_policy.iter().map(|policy| (peer.clone(), policy.clone(), options())));
    }
    Ok(contenders)
}

/// The row of one server.
fn one(
    arguments: &Arguments,
    (program, policy, needed): (&Path, &str, &[(&str, &str)]),
    trace: &Trace,
    load: &Load,
) -> Result<String, String> {
    let memory = arguments.memory.to_string();
    let mut options = vec![("maxmemory", memory.as_str()), ("maxmemory-policy", policy)];
    options.extend(needed);
    options.extend(arguments.option.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let running = Running::start(program, &options)?;
    let measured = measure(&running.address, trace, load)?;
    measured.tell_refusals()?;
    let Measured { point, server, keys, used_memory, used_memory_rss, cpu_us, .. } = &measured;
    let name = server.split(' ').next().unwrap_or_default();
    let of_memory = |bytes: u64| bytes as f64 / arguments.memory as f64;
    Ok(format!(
        "| {name} | {policy} | {:.2} % | {keys} | {:.0} | {:.3} | {:.3} | {:.0} | {cpu_us:.2} |",
        100.0 * point.ratio(),
        *keys as f64 / (arguments.memory as f64 / f64::from(1 << 20)),
        of_memory(*used_memory),
        of_memory(*used_memory_rss),
        trace.requests.len() as f64 / point.seconds,
    ))
}
