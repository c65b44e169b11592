//! Memory over time of servers whose cache turns over again and again with values of drifting sizes.
//!
//!     cargo build --release && cargo run --release -p larder-benches --bin turnover -- --memory 100mb --turnovers 50
//!
//! Standard output gets a csv, standard error the progress and at the end a table. README.md describes it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use larder_benches::live::spawn::{Running, parse_option};
use larder_benches::live::turnover::{Kind, Load, Phase, Sample, Summary, measure};
use larder_benches::output::{print, print_or_end};
use larder_benches::size::{Lengths, parse_count, parse_one_or_more, parse_some};
use larder_benches::tell;
use larder_benches::timeline::{Series, chart};

/// Compares the memory of servers over time.
#[derive(Parser)]
#[command(name = "turnover", max_term_width = 100)]
struct Arguments {
    /// `maxmemory` of each server
    #[arg(long, default_value = "100mb", value_parser = parse_some, value_name = "BYTES")]
    memory: u64,
    /// How often as many bytes are written; looks count from the second turnover on, when the cache is full
    #[arg(long, default_value = "50", value_parser = parse_turnovers, value_name = "N")]
    turnovers: u64,
    /// Bytes of values: they drift between the two and back
    #[arg(long, default_value = "50-2000", value_name = "N-M")]
    value_bytes: Lengths,
    /// What is stored: string, hash, list
    #[arg(long, value_delimiter = ',', default_value = "string", value_name = "KIND", value_parser = parse_kind)]
    kind: Vec<Kind>,
    /// `maxmemory-policy` of each server
    #[arg(long, default_value = "allkeys-lru", value_name = "NAME")]
    policy: String,
    /// Commands that are sent at once
    #[arg(long, default_value = "64", value_parser = parse_one_or_more, value_name = "N")]
    pipeline: usize,
    /// Milliseconds between two looks at the memory
    #[arg(long, default_value_t = 200, value_name = "MS")]
    interval: u64,
    /// Seconds to watch at rest, and again after nine in ten keys were deleted
    #[arg(long, default_value_t = 5, value_name = "S")]
    rest: u64,
    /// The program of Larder; the one beside this program unless given
    #[arg(long, value_name = "FILE")]
    larder: Option<PathBuf>,
    /// Programs of Redis and Valkey that are compared, without and with `activedefrag`, as far as they know it
    #[arg(long, value_delimiter = ',', default_value = "redis-server", value_name = "FILE")]
    peer: Vec<PathBuf>,
    /// Compare with nobody
    #[arg(long)]
    alone: bool,
    /// Further options of every server: maxmemory-samples=10
    #[arg(long, value_name = "NAME=VALUE", value_parser = |text: &str| parse_option(text, "--policy"))]
    option: Vec<(String, String)>,
    /// Write a chart per kind into this directory
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// Of the sizes
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    let known = Kind::ALL.iter().find(|(name, _)| *name == text);
    known.map(|(_, kind)| *kind).ok_or_else(|| format!("{text:?} is none of string, hash, list"))
}

fn parse_turnovers(text: &str) -> Result<u64, String> {
    let turnovers = parse_count(text)?;
    if turnovers < 3 { Err("looks count from the second turnover on: say 3 or more".into()) } else { Ok(turnovers) }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell!("turnover: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A server to be measured: its name in the output, its program, and options that it needs.
struct Contender {
    name: String,
    program: PathBuf,
    options: Vec<(&'static str, &'static str)>,
}

/// Why a server was not measured.
enum Failure {
    /// It could not be.
    Server(String),
    /// Nobody reads what is printed.
    Output(String),
}

fn contenders(arguments: &Arguments) -> Result<Vec<Contender>, String> {
    let program = match &arguments.larder {
        Some(path) => path.clone(),
        None => std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("larder"),
    };
    if !program.exists() {
        return Err(format!("{} is not there: run cargo build --release, or say --larder", program.display()));
    }
    let mut contenders = vec![Contender { name: "larder".into(), program, options: Vec::new() }];
    let peers: &[PathBuf] = if arguments.alone { &[] } else { &arguments.peer };
    for program in peers {
        let name = program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        for (defrag, note) in [("no", ""), ("yes", ", activedefrag")] {
            // Nothing is saved, or a child that saves would take memory and time.
            let options = vec![("save", ""), ("appendonly", "no"), ("activedefrag", defrag)];
            contenders.push(Contender { name: format!("{name}{note}"), program: program.clone(), options });
        }
    }
    Ok(contenders)
}

fn run(arguments: &Arguments) -> Result<(), String> {
    print_or_end("server,kind,phase,seconds,turnovers,used,resident,ratio");
    let mut table = String::from(
        "| kind | server | resident / used at the end | mean | most | at rest | nine in ten deleted: used, resident MiB | commands/s |\n|:--|:--|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut missing = None;
    for &kind in &arguments.kind {
        let (mut all, mut measured) = (Vec::new(), Vec::new());
        let contenders = contenders(arguments)?;
        for contender in &contenders {
            match one(arguments, contender, kind, &mut table) {
                Ok(series) => {
                    all.push(series);
                    measured.push(&contender.program);
                }
                // One that is not installed, or cannot defragment, spoils nothing for the others.
                Err(Failure::Server(error)) => tell!("{}: {error}", contender.name),
                Err(Failure::Output(error)) => return Err(error),
            }
        }
        let left_out = contenders.iter().map(|it| &it.program).find(|program| !measured.contains(program));
        missing = missing.or_else(|| left_out.map(|program| format!("no {} of {}", kind.name(), program.display())));
        if let Some(directory) = &arguments.plot {
            save(directory, kind, &all)?;
        }
    }
    tell!("\n{}", table.trim_end());
    missing.map_or(Ok(()), |what| Err(format!("{what} was measured")))
}

fn save(directory: &Path, kind: Kind, all: &[Series]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    fs::create_dir_all(directory).map_err(failed)?;
    let title = format!("turnover, {}", kind.name());
    fs::write(directory.join(format!("turnover-{}.svg", kind.name())), chart(&title, all)).map_err(failed)
}

/// Measures one server, prints its samples as they are taken, and adds its row.
fn one(arguments: &Arguments, contender: &Contender, kind: Kind, table: &mut String) -> Result<Series, Failure> {
    let memory = arguments.memory.to_string();
    let mut options = vec![("maxmemory", memory.as_str()), ("maxmemory-policy", arguments.policy.as_str())];
    options.extend(&contender.options);
    options.extend(arguments.option.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let running = Running::start(&contender.program, &options).map_err(Failure::Server)?;
    let load = Load {
        memory: arguments.memory,
        turnovers: arguments.turnovers,
        lengths: arguments.value_bytes,
        kind,
        depth: arguments.pipeline,
        interval: Duration::from_millis(arguments.interval),
        rest: Duration::from_secs(arguments.rest),
        seed: arguments.seed,
    };
    let (mut told, mut printed) = (None, Ok(()));
    let measured = measure(&running.address, &load, |sample| {
        let at = (sample.phase, sample.turnovers as u64);
        if told.replace(at) != Some(at) {
            tell!("{}", progress(arguments, contender, kind, sample));
        }
        printed = print(&row(contender, kind, sample));
        printed.is_ok()
    });
    printed.map_err(|error| Failure::Output(error.to_string()))?;
    let (samples, rate) = measured.map_err(|error| Failure::Server(error.to_string()))?;
    let Summary { end, mean, most, rested, shrunk } = Summary::of(&samples);
    let name_of = &contender.name;
    if end.is_none() {
        tell!(
            "{name_of}: no look fell into the turnovers from the second on: say a shorter --interval or more --turnovers"
        );
    }
    if rested.is_none() || shrunk.is_none() {
        tell!("{name_of}: no look fell into a rest: say a longer --rest or a shorter --interval");
    }
    let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "no look".into(), |ratio| format!("{ratio:.3}"));
    let shrunk =
        shrunk.map_or_else(|| "no look".into(), |(used, resident)| format!("{:.1}, {:.1}", mib(used), mib(resident)));
    let _ = writeln!(
        table,
        "| {} | {} | {} | {} | {} | {} | {shrunk} | {rate:.0} |",
        kind.name(),
        contender.name,
        ratio(end),
        ratio(mean),
        ratio(most),
        ratio(rested),
    );
    Ok(Series { name: contender.name.clone(), samples })
}

/// A line of the csv.
fn row(contender: &Contender, kind: Kind, sample: &Sample) -> String {
    let Sample { phase, seconds, turnovers, used, resident } = sample;
    let (name, kind, phase, ratio) = (contender.name.replace(", ", " "), kind.name(), phase.name(), sample.ratio());
    format!("{name},{kind},{phase},{seconds:.2},{turnovers:.3},{used},{resident},{ratio:.4}")
}

/// How far a server has got.
fn progress(arguments: &Arguments, contender: &Contender, kind: Kind, sample: &Sample) -> String {
    let Sample { phase, seconds, turnovers, used, resident } = sample;
    let at = match phase {
        Phase::Turnover => format!("{}/{}", turnovers.floor(), arguments.turnovers),
        _ => phase.name().to_owned(),
    };
    let (name, kind, used, resident) = (&contender.name, kind.name(), mib(*used), mib(*resident));
    format!("{at} {name} {kind}: {used:.1} MiB used, {resident:.1} resident, {seconds:.1} s")
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
