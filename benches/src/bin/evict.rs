//! Hit ratios of eviction policies on traces of requests, as a csv on standard output; and of servers, over the network.
//!
//!     cargo run --release -p larder-benches --bin evict -- --policy P[,P...] --objects N[,N...] --trace FILE...
//!
//! README.md describes the options, the formats of traces, and the policies.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use larder_benches::live::client::{Address, Client};
use larder_benches::live::{Load, Measured, measure};
use larder_benches::output::print_or_end;
use larder_benches::plot::{Unit, charts};
use larder_benches::policy::{self, Setup};
use larder_benches::reference::Reference;
use larder_benches::replay::{Plan, Point, replay};
use larder_benches::size::{Lengths, Size, parse_capacity, parse_one_or_more, parse_size_weight, parse_warmup};
use larder_benches::tell;
use larder_benches::trace::format::{FORMATS, Format};
use larder_benches::trace::{Column, Reading, Trace, read, titles};

/// Sizes if none are given: these parts of the different keys.
const USUAL_SIZES: [Size; 4] = [Size::Part(0.001), Size::Part(0.01), Size::Part(0.1), Size::Part(0.3)];

/// Policies if none are given.
const USUAL_POLICIES: [&str; 3] = ["allkeys-lru", "lru", "opt"];

/// Replays traces through eviction policies and prints their hit ratios as a csv: trace,policy,size,requests,hits,hit_ratio.
#[derive(Parser)]
#[command(name = "evict", max_term_width = 100)]
struct Arguments {
    /// Files, `-` for standard input, or what is to be made: zipf, uniform, loop, scan, with options as in
    /// zipf:keys=1m,requests=5m,theta=0.9,shift=1m
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    trace: Vec<String>,
    /// Policies, or `all`; allkeys-lru,lru,opt unless given
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    policy: Vec<String>,
    /// Cache sizes in objects, or as parts of the different keys: 1000,5k,10%; 0.1%,1%,10%,30% unless given
    #[arg(long, value_delimiter = ',', conflicts_with = "bytes", value_name = "N", value_parser = parse_capacity)]
    objects: Vec<Size>,
    /// Cache sizes in bytes of objects, or as parts of what all objects take: 64mb,10%
    #[arg(long, value_delimiter = ',', value_name = "N", value_parser = parse_capacity)]
    bytes: Vec<Size>,
    /// What size weighs to allkeys-adaptive and volatile-adaptive, 0 to 1: the server's maxmemory-size-weight, 0.25 unless given.
    /// With --objects all weigh the same, so it has no meaning there
    #[arg(long, value_name = "W", value_parser = parse_size_weight)]
    size_weight: Option<u32>,
    /// The format of the files, where their names and what they hold do not tell: ctr1, oracle, arc, lirs, csv, twitter, plain, monitor
    #[arg(long, value_name = "NAME", value_parser = parse_format)]
    format: Option<&'static Format>,
    /// Columns of a csv: of the key, and of the size, by their names in the first line or by numbers, the first being 1. The files are read as csv
    #[arg(long, value_name = "KEY[,SIZE]", value_parser = parse_columns)]
    columns: Option<(Column, Option<Column>)>,
    /// Of the output of MONITOR, and of twitter's traces, count only reads: where clients set what they did not find, a SET is no request of its own
    #[arg(long)]
    reads: bool,
    /// Bytes of values, or a range of them: 100, 50-2000. Holds instead of the trace's sizes
    #[arg(long, value_name = "N[-M]")]
    value_bytes: Option<Lengths>,
    /// The part of the requests at the start that only warm the cache
    #[arg(long, default_value = "0%", value_name = "N|N%", value_parser = parse_warmup)]
    warmup: Size,
    /// Of all random choices; 1 unless given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Threads; as many as there are cores unless given
    #[arg(long, value_parser = parse_one_or_more, value_name = "N")]
    threads: Option<usize>,
    /// A csv trace,policy,size,hit_ratio: its sizes are taken unless others are given, and a comparison is printed at the end
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Writes a chart per trace, hit ratio against size, as SVG to this directory
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// Replays over the network instead: GET, and SET on a miss. HOST:PORT or redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    server: Vec<Address>,
    /// Connections to each server
    #[arg(long, default_value = "1", requires = "server", value_parser = parse_one_or_more, value_name = "N")]
    connections: usize,
    /// GETs that are sent at once; a key that comes again ends a pipeline
    #[arg(long, default_value = "64", requires = "server", value_parser = parse_one_or_more, value_name = "N")]
    pipeline: usize,
    /// What keys begin with, so that they are nobody else's; unless given, one that no run before had
    #[arg(long, requires = "server", value_name = "TEXT")]
    prefix: Option<String>,
    /// Deletes what was written, at the end. Nothing else is ever deleted
    #[arg(long, requires = "server")]
    clean: bool,
}

fn parse_format(name: &str) -> Result<&'static Format, String> {
    let names = || FORMATS.iter().map(|format| format.name).collect::<Vec<_>>().join(", ");
    Format::named(name).ok_or_else(|| format!("one of {}", names()))
}

fn parse_columns(text: &str) -> Result<(Column, Option<Column>), String> {
    match text.split_once(',') {
        Some((key, size)) => Ok((key.parse()?, Some(size.parse()?))),
        None => Ok((text.parse()?, None)),
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell!("evict: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Refuses what a server decides, or what has no meaning there.
fn refuse_where_servers_decide(arguments: &Arguments) -> Result<(), String> {
    let refused = [
        (
            !arguments.policy.is_empty(),
            "policy",
            "the server's own policy is measured: say CONFIG SET maxmemory-policy there",
        ),
        (
            !arguments.objects.is_empty(),
            "objects",
            "the server's own memory is measured: say CONFIG SET maxmemory there",
        ),
        (!arguments.bytes.is_empty(), "bytes", "the server's own memory is measured: say CONFIG SET maxmemory there"),
        (
            arguments.size_weight.is_some(),
            "size-weight",
            "the server has its own: say CONFIG SET maxmemory-size-weight there",
        ),
        (arguments.reference.is_some(), "reference", "its sizes are none of servers: compare what two servers print"),
        (arguments.threads.is_some(), "threads", "each connection has one: say --connections"),
        (arguments.seed.is_some(), "seed", "the server makes its own choices; of a trace that is made say zipf:seed=N"),
    ];
    match refused.iter().find(|(given, ..)| *given) {
        Some((_, option, why)) => Err(format!("--{option} has no meaning with --server: {why}")),
        None => Ok(()),
    }
}

/// What went wrong and kept the rest from nothing.
#[derive(Default)]
struct Failures(usize);

impl Failures {
    fn tell(&mut self, error: &str) {
        tell!("evict: {error}");
        self.0 += 1;
    }

    fn outcome(&self) -> Result<(), String> {
        if self.0 > 0 { Err(format!("failures, as told above: {}", self.0)) } else { Ok(()) }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    if !arguments.server.is_empty() {
        refuse_where_servers_decide(arguments)?;
    }
    if arguments.size_weight.is_some() && arguments.bytes.is_empty() {
        return Err("--size-weight needs --bytes: objects that are counted all weigh the same".into());
    }
    // What can fail before the first replay does.
    if let Some(directory) = &arguments.plot {
        std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    for address in &arguments.server {
        Client::connect(address).map_err(|error| format!("{}: {error}", address.host))?;
    }
    let reading = Reading {
        format: arguments.format,
        columns: arguments.columns.clone(),
        reads_only: arguments.reads,
        own_keys: !arguments.server.is_empty(),
    };
    if arguments.server.is_empty() { in_process(arguments, &reading) } else { over_the_network(arguments, &reading) }
}

/// One of the traces, or none and a failure that is told.
fn read_trace(
    arguments: &Arguments,
    name: &str,
    title: String,
    reading: &Reading,
    failures: &mut Failures,
) -> Option<Trace> {
    read_one(arguments, name, title, reading).map_err(|error| failures.tell(&error)).ok()
}

/// Reads one of the traces and says what it is.
fn read_one(arguments: &Arguments, name: &str, title: String, reading: &Reading) -> Result<Trace, String> {
    let mut trace = Trace { name: title, ..read(name, reading)? };
    if let Some(lengths) = arguments.value_bytes {
        let sizes = lengths.all(trace.keys);
        trace = trace.with_sizes(&sizes);
    }
    tell!("{}: {} requests for {} keys", trace.name, trace.requests.len(), trace.keys);
    if arguments.warmup.of_requests(trace.requests.len()) >= trace.requests.len() {
        return Err(format!("{}: no request is left after the warmup", trace.name));
    }
    Ok(trace)
}

fn in_process(arguments: &Arguments, reading: &Reading) -> Result<(), String> {
    let policies = policies(arguments)?;
    let threads = arguments.threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(1);
    let titles = titles(&arguments.trace)?;
    let reference = Reference::read(arguments.reference.as_deref(), &titles)?;
    let (mut all, mut failures) = (Vec::new(), Failures::default());
    print_or_end(Point::HEADER);
    for (name, title) in arguments.trace.iter().zip(titles) {
        let Some(trace) = read_trace(arguments, name, title, reading, &mut failures) else { continue };
        let (mut setup, sizes) = match sizes(arguments, &trace, reference.as_ref()) {
            Ok(made) => made,
            Err(error) => {
                failures.tell(&error);
                continue;
            }
        };
        setup.seed = arguments.seed.unwrap_or(setup.seed);
        setup.size_weight = arguments.size_weight.unwrap_or(setup.size_weight);
        let from = arguments.warmup.of_requests(trace.requests.len());
        let plan = Plan { policies: &policies, sizes: &sizes, from, threads };
        let many = sizes.len() * policies.len();
        let mut done = 0;
        all.extend(replay(&setup, &plan, |point| {
            done += 1;
            print_or_end(&point.csv());
            let Point { trace, policy, size, seconds, .. } = point;
            tell!("{done}/{many} {trace} {policy} {size}: {:.2} %, {seconds:.1} s", 100.0 * point.ratio());
        }));
    }
    if let Some(reference) = reference {
        tell!("\n{}", reference.compare(&all));
    }
    write_charts(arguments, &all, if arguments.bytes.is_empty() { Unit::Objects } else { Unit::Bytes })?;
    failures.outcome()
}

fn policies(arguments: &Arguments) -> Result<Vec<String>, String> {
    let mut policies: Vec<String> = Vec::new();
    let usual = USUAL_POLICIES.map(str::to_owned);
    for name in if arguments.policy.is_empty() { &usual[..] } else { &arguments.policy } {
        let named: Vec<&str> = policy::names().filter(|known| *known == name || name == "all").collect();
        if named.is_empty() {
            let names: Vec<&str> = policy::names().collect();
            return Err(format!("no policy {name:?}; there are all, {}", names.join(", ")));
        }
        for name in named {
            if !policies.iter().any(|known| known == name) {
                policies.push(name.to_owned());
            }
        }
    }
    Ok(policies)
}

/// What a trace's caches are made for, and their sizes.
fn sizes<'t>(
    arguments: &Arguments,
    trace: &'t Trace,
    reference: Option<&Reference>,
) -> Result<(Setup<'t>, Vec<u64>), String> {
    if !arguments.bytes.is_empty() {
        let Some(sizes) = &trace.sizes else {
            return Err(format!("{} does not tell the sizes of objects; say --value-bytes", trace.name));
        };
        let total = sizes.iter().map(|size| u64::from((*size).max(1))).sum();
        return Ok((Setup::bytes(trace, 1), arguments.bytes.iter().map(|size| size.of(total)).collect()));
    }
    let known = reference.map(|reference| reference.sizes(&trace.name)).unwrap_or_default();
    let wanted = if arguments.objects.is_empty() { &USUAL_SIZES[..] } else { &arguments.objects };
    let mut sizes: Vec<u64> = wanted.iter().map(|size| size.of(trace.keys as u64)).collect();
    if arguments.objects.is_empty() && !known.is_empty() {
        sizes = known;
    }
    sizes.dedup();
    Ok((Setup::objects(trace, 1), sizes))
}

fn over_the_network(arguments: &Arguments, reading: &Reading) -> Result<(), String> {
    let titles = titles(&arguments.trace)?;
    let (mut all, mut failures) = (Vec::new(), Failures::default());
    print_or_end(&format!("{},{}", Point::HEADER, Measured::MORE_COLUMNS));
    for (name, title) in arguments.trace.iter().zip(titles) {
        let Some(trace) = read_trace(arguments, name, title, reading, &mut failures) else { continue };
        let load = Load {
            prefix: arguments.prefix.clone().unwrap_or_else(new_prefix),
            lengths: arguments.value_bytes,
            depth: arguments.pipeline,
            connections: arguments.connections,
            from: arguments.warmup.of_requests(trace.requests.len()),
            clean: arguments.clean,
        };
        for address in &arguments.server {
            let measured = match measure(address, &trace, &load) {
                Ok(measured) => measured,
                Err(error) => {
                    failures.tell(&error);
                    continue;
                }
            };
            print_or_end(&measured.csv());
            let Measured { point, server, keys, used_memory, evicted, .. } = &measured;
            let (ratio, rate) = (100.0 * point.ratio(), trace.requests.len() as f64 / point.seconds);
            tell!(
                "{server} {}, keys {}*: {ratio:.2} % hits, {keys} keys, {used_memory} bytes used, {evicted} evicted, {rate:.0} requests/s",
                point.policy,
                load.prefix
            );
            if point.size == 0 {
                tell!("{server} has no limit of memory: say CONFIG SET maxmemory");
            }
            if let Err(error) = measured.tell_refusals() {
                failures.tell(&error);
            }
            let policy = format!("{} {}", server, point.policy);
            all.push(Point { policy, ..point.clone() });
        }
    }
    write_charts(arguments, &all, Unit::Bytes)?;
    failures.outcome()
}

/// A prefix that no run before had.
fn new_prefix() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mixed = (now.as_nanos() as u64 ^ u64::from(std::process::id()) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("e{:06x}:", mixed >> 40)
}

fn write_charts(arguments: &Arguments, points: &[Point], unit: Unit) -> Result<(), String> {
    let Some(directory) = &arguments.plot else { return Ok(()) };
    for (name, svg) in charts(points, unit) {
        let path = directory.join(name);
        std::fs::write(&path, svg).map_err(|error| format!("{}: {error}", path.display()))?;
        tell!("{}", path.display());
    }
    Ok(())
}
