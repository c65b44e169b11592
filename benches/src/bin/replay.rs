//! Replays traces against the eviction policies: per trace and cache size the hit ratios of the server's policies beside
//! that of exact LRU over the same requests.
//!
//!     cargo run --release -p larder-benches --bin replay -- [--reference FILE] TRACE...
//!
//! Every request is get-else-insert, every object counts one. Cache sizes are 0.1, 1, 10 and 30 % of the different keys, as far as
//! that is 100 or more. With a reference file (`trace,policy,cache_size_objects,hit_ratio`) its sizes are taken, and what
//! it says of Redis's LRU with 5 samples and of its LFU stands beside.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use larder_benches::cache::Cache;
use larder_benches::lru::Lru;
use larder_benches::trace::Trace;
use larder_storage::evict::{Rule, Selection};

const FRACTIONS: [f64; 4] = [0.001, 0.01, 0.1, 0.3];
const SEED: u64 = 1;
const RULES: [Rule; 3] = [Rule::Lru, Rule::Lfu, Rule::Adaptive];
/// The reference's policies that are shown.
const REDIS_LRU: &str = "redis-lru-5";
const REDIS_LFU: [&str; 2] = ["redis-lfu-1min=C", "redis-lfu-1min=10C"];

/// Hit ratios of a reference file by trace, cache size and policy.
type Reference = BTreeMap<String, BTreeMap<usize, BTreeMap<String, f64>>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let (mut traces, mut reference) = (Vec::new(), Reference::new());
    while let Some(argument) = arguments.next() {
        if argument == "--reference" {
            let path = arguments.next().ok_or("--reference wants a file")?;
            reference = read_reference(Path::new(&path))?;
        } else if argument.starts_with('-') {
            return Err(format!("unknown option {argument}; usage: replay [--reference FILE] TRACE..."));
        } else {
            traces.push(PathBuf::from(argument));
        }
    }
    if traces.is_empty() {
        return Err("usage: replay [--reference FILE] TRACE...".into());
    }
    println!(
        "| trace | objects | exact LRU | allkeys-lru | allkeys-lfu | allkeys-adaptive | Redis LRU | Redis LFU | ns per request |"
    );
    println!("|:--|--:|--:|--:|--:|--:|--:|--:|--:|");
    let mut summary = Summary::default();
    for path in &traces {
        let trace = Trace::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = file.split('.').next().unwrap_or_default();
        let known = reference.get(name);
        for size in known.map_or_else(|| sizes(&trace), |known| known.keys().copied().collect()) {
            let point = Point::measure(&trace, size);
            let redis = known.and_then(|known| known.get(&size));
            println!("| {name} | {size} | {} |", point.row(redis));
            summary.add(&point, redis);
        }
    }
    summary.print();
    Ok(())
}

/// Hit ratios of one trace at one cache size.
struct Point {
    exact: f64,
    /// In the order of [`RULES`].
    ours: [f64; RULES.len()],
    nanoseconds: f64,
}

impl Point {
    fn measure(trace: &Trace, size: usize) -> Self {
        let mut lru = Lru::new(size, trace.keys);
        let exact = ratio(trace, |key| lru.get_or_insert(key));
        let started = Instant::now();
        let ours = RULES.map(|rule| {
            let mut cache = Cache::new(size, Selection { rule, volatile: false }, SEED);
            ratio(trace, |key| cache.get_or_insert(key))
        });
        let nanoseconds = started.elapsed().as_nanos() as f64 / (trace.requests.len() * RULES.len()) as f64;
        Self { exact, ours, nanoseconds }
    }

    fn row(&self, redis: Option<&BTreeMap<String, f64>>) -> String {
        let ours = self.ours.map(percent).join(" | ");
        let redis_lru = redis.and_then(|known| known.get(REDIS_LRU));
        let redis_lfu = redis.and_then(best_lfu);
        let shown = |ratio: Option<f64>| ratio.map(percent).unwrap_or_default();
        format!(
            "{} | {ours} | {} | {} | {:.0}",
            percent(self.exact),
            shown(redis_lru.copied()),
            shown(redis_lfu),
            self.nanoseconds
        )
    }
}

/// The better of Redis's LFU at two speeds of decay.
fn best_lfu(known: &BTreeMap<String, f64>) -> Option<f64> {
    REDIS_LFU.iter().filter_map(|policy| known.get(*policy)).copied().reduce(f64::max)
}

/// What all points say together.
#[derive(Default)]
struct Summary {
    points: usize,
    /// Per policy, the lowest difference to exact LRU, in hits per request.
    worst: [f64; RULES.len()],
    /// Points with a reference, and per policy the sum of the parts of the misses of Redis's LRU that are saved.
    compared: usize,
    saved: [f64; RULES.len()],
    saved_by_exact: f64,
    saved_by_redis_lfu: f64,
}

impl Summary {
    fn add(&mut self, point: &Point, redis: Option<&BTreeMap<String, f64>>) {
        self.points += 1;
        for (worst, ratio) in self.worst.iter_mut().zip(point.ours) {
            *worst = worst.min(ratio - point.exact);
        }
        let Some(base) = redis.and_then(|known| known.get(REDIS_LRU)) else { return };
        let saved = |ratio: f64| (ratio - base) / (1.0 - base);
        self.compared += 1;
        self.saved.iter_mut().zip(point.ours).for_each(|(sum, ratio)| *sum += saved(ratio));
        self.saved_by_exact += saved(point.exact);
        self.saved_by_redis_lfu += redis.and_then(best_lfu).map_or(0.0, saved);
    }

    fn print(&self) {
        println!("\n{} points", self.points);
        for (rule, worst) in RULES.iter().zip(self.worst) {
            println!("{rule:?}: worst against exact LRU {:+.2} pp", worst * 100.0);
        }
        if self.compared == 0 {
            return;
        }
        let mean = |sum: f64| 100.0 * sum / self.compared as f64;
        println!("Mean reduction of misses against Redis's LRU with 5 samples, {} points:", self.compared);
        for (rule, saved) in RULES.iter().zip(self.saved) {
            println!("{rule:?}: {:.2} %", mean(saved));
        }
        println!("exact LRU: {:.2} %", mean(self.saved_by_exact));
        println!("Redis's LFU, the better of two speeds of decay: {:.2} %", mean(self.saved_by_redis_lfu));
    }
}

fn percent(ratio: f64) -> String {
    format!("{:.2}", ratio * 100.0)
}

/// The part of the requests that hit.
fn ratio(trace: &Trace, mut get: impl FnMut(u32) -> bool) -> f64 {
    let hits = trace.requests.iter().filter(|key| get(**key)).count();
    hits as f64 / trace.requests.len().max(1) as f64
}

fn sizes(trace: &Trace) -> Vec<usize> {
    let sizes = FRACTIONS.map(|fraction| (trace.keys as f64 * fraction) as usize);
    sizes.into_iter().filter(|size| *size >= 100).collect()
}

fn read_reference(path: &Path) -> Result<Reference, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut reference = Reference::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [trace, policy, size, ratio] = fields[..] else { return Err(format!("not a line of a reference: {line}")) };
        let (Ok(size), Ok(ratio)) = (size.parse(), ratio.parse()) else { return Err(format!("no numbers: {line}")) };
        reference.entry(trace.to_owned()).or_default().entry(size).or_default().insert(policy.to_owned(), ratio);
    }
    Ok(reference)
}
