//! How far off CACHE WHATIF is: its estimates beside full replays of the same trace, as a csv on standard output.
//!
//!     cargo run --release -p larder-benches --bin whatif -- --objects N[,N...] --trace FILE...
//!
//! A trace is replayed through the engine under one policy at one size, and asked what other policies and sizes would have
//! done; these are replayed, too. An estimate is about the last of the requests, and is compared with what the replay hit in those.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use larder_benches::output::print_or_end;
use larder_benches::policy::Model;
use larder_benches::policy::Setup;
use larder_benches::policy::engine::{Engine, POLICIES};
use larder_benches::reference::Reference;
use larder_benches::replay::{History, histories, quoted};
use larder_benches::size::{Size, parse_one_or_more};
use larder_benches::tell;
use larder_benches::trace::{Reading, Trace, read, titles};
use larder_storage::evict::whatif::{Curve, Estimate, SIZES};

/// Replays traces, asks CACHE WHATIF, and prints its estimates beside full replays as a csv.
#[derive(Parser)]
#[command(name = "whatif", max_term_width = 100)]
struct Arguments {
    /// Files, `-` for standard input, or what is to be made, as of the bin `evict`
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    trace: Vec<String>,
    /// The policies that the cache has while it is asked
    #[arg(long, value_delimiter = ',', default_value = "allkeys-lru", value_name = "NAME")]
    live: Vec<String>,
    /// Cache sizes in objects, or as parts of the different keys: 1000,5k,10%
    #[arg(long, value_delimiter = ',', default_value = "1%,10%", value_name = "N")]
    objects: Vec<Size>,
    /// A csv trace,policy,size,hit_ratio, of which the sizes are taken
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Of all random choices
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Threads; as many as there are cores unless given
    #[arg(long, value_parser = parse_one_or_more, value_name = "N")]
    threads: Option<usize>,
}

/// How far off estimates were, in points of hits.
#[derive(Default)]
struct Summary {
    /// Estimates; questions without one.
    known: usize,
    unknown: usize,
    sum: f64,
    worst: f64,
    /// Estimates within the error that they name.
    within: usize,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell!("whatif: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let titles = titles(&arguments.trace)?;
    let reference = Reference::read(arguments.reference.as_deref(), &titles)?;
    let mut summary = Summary::default();
    print_or_end("trace,live,size,times,policy,estimate,error,actual,difference,requests");
    for (name, title) in arguments.trace.iter().zip(titles) {
        let trace = Trace { name: title, ..read(name, &Reading::default())? };
        tell!("{}: {} requests for {} keys", trace.name, trace.requests.len(), trace.keys);
        let known = reference.as_ref().map(|reference| reference.sizes(&trace.name)).unwrap_or_default();
        let named = || arguments.objects.iter().map(|size| size.of(trace.keys as u64)).collect();
        for size in if known.is_empty() { named() } else { known } {
            compare(arguments, &trace, size, &mut summary)?;
        }
    }
    let Summary { known, unknown, sum, worst, within } = summary;
    tell!(
        "\n{known} estimates: off by {:.2} points on average, {worst:.2} at most; {:.1} % within the error that they name; {unknown} without an estimate",
        sum / known.max(1) as f64,
        100.0 * within as f64 / known.max(1) as f64
    );
    Ok(())
}

/// Compares at one size.
fn compare(arguments: &Arguments, trace: &Trace, size: u64, summary: &mut Summary) -> Result<(), String> {
    let mut setup = Setup::objects(trace, size);
    setup.seed = arguments.seed;
    let policies: Vec<String> =
        POLICIES.iter().filter(|(_, selection)| !selection.volatile).map(|(name, _)| (*name).to_owned()).collect();
    let sizes: Vec<u64> = SIZES.iter().map(|times| ((size as f64 * times) as u64).max(1)).collect();
    let threads = arguments.threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(1);
    let actual = histories(&setup, &policies, &sizes, threads);
    for live in &arguments.live {
        let (_, selection) = POLICIES
            .iter()
            .find(|(name, _)| name == live)
            .ok_or_else(|| format!("no policy {live:?} of the engine"))?;
        let mut engine = Engine::with_what_if(&setup, *selection);
        for request in trace.requests.iter() {
            engine.request(*request);
        }
        let Some(answer) = engine.answer() else { continue };
        tell!("{} {live} {size}: {:.4} of the keys", trace.name, answer.part);
        for Curve { selection, estimates } in &answer.curves {
            let Some((policy, _)) = POLICIES.iter().find(|(_, known)| known == selection) else { continue };
            for (at, estimate) in estimates.iter().enumerate() {
                let same = |it: &&History| it.policy == *policy && it.size == sizes[at];
                let Some(history) = actual.iter().find(same) else { continue };
                let Ok(Estimate { hit_ratio, error, reads, .. }) = estimate else {
                    summary.unknown += 1;
                    continue;
                };
                let truth = history.ratio_of_last(*reads as usize);
                let off = hit_ratio - truth;
                summary.known += 1;
                summary.sum += 100.0 * off.abs();
                summary.worst = summary.worst.max(100.0 * off.abs());
                summary.within += usize::from(off.abs() <= *error);
                print_or_end(&format!(
                    "{},{live},{size},{},{policy},{hit_ratio:.4},{error:.4},{truth:.4},{off:.4},{reads:.0}",
                    quoted(&trace.name),
                    SIZES[at],
                ));
            }
        }
    }
    Ok(())
}
