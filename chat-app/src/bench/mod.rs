//! `chat-app bench`: measures what caching does, here and now. Each experiment is a file.
//!
//! Servers of the application run in this process and are asked as browsers would ask them. The caches are those of
//! `--against NAME=URL`, in alternating rounds, or a Larder that is started here. On a cache that it did not start the bench
//! touches only keys under a prefix of its own, and removes them at the end, and when it is interrupted.
//!
//! What it writes stays in its database, which is therefore another than the application's: `chat-app-data/bench.db`. A
//! database that `--database-url` names is used, and written to, as it is.

mod compression;
mod feed;
mod fleet;
mod limits;
mod mix;
mod plot;
mod read;
mod stampede;
mod strategies;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::db::Db;
use crate::db::seed::Progress;
use crate::options::{OWN_DATABASE, Options};
use crate::random;
use crate::store::{Store, StoreOptions};

pub use feed::followees;
pub use table::Row;

/// The bench's own database.
const DATABASE: &str = "sqlite://chat-app-data/bench.db";

/// What to measure and how.
#[derive(Debug, Clone, Args)]
pub struct Bench {
    /// The experiments; all of them when there is none.
    #[arg(value_enum)]
    pub experiments: Vec<Experiment>,
    /// Caches to compare, as NAME=URL; several times. The first is what the others are measured by.
    #[arg(long)]
    pub against: Vec<String>,
    /// How often each experiment is run on each cache.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Divides the amount of work, for a quick look.
    #[arg(long, default_value_t = 1)]
    pub divide: usize,
    /// Where CSV and SVG go.
    #[arg(long, default_value = "chat-app-data/bench")]
    pub out: PathBuf,
}

/// An experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Experiment {
    /// One read: from the database, from L2, from L1; by itself and over HTTP.
    Read,
    /// Page reads by Zipf's law with some posts: hit rate, and load of the database.
    Mix,
    /// A thousand requests for an expired page, with each guard.
    Stampede,
    /// Fixed against sliding windows.
    Limits,
    /// Each strategy under one mix, and how stale pages get.
    Strategies,
    /// What compression saves, and costs.
    Compression,
    /// Feeds of 10,000 users.
    Feed,
}

/// A cache to measure on.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it is called.
    pub name: String,
    /// Where it is; `None`: one is started.
    pub url: Option<String>,
}

/// What an experiment gets.
pub struct Context {
    /// The options of servers; caches are filled in per target.
    pub options: Options,
    /// Divides the amount of work.
    pub divide: usize,
    /// Stands before all keys.
    pub prefix: String,
}

impl Context {
    /// An amount of work, divided as was asked for, but at least 1.
    pub fn amount(&self, amount: usize) -> usize {
        (amount / self.divide.max(1)).max(1)
    }
}

/// Runs the experiments and prints what they show.
///
/// # Errors
/// A cache or database that does not answer, and files that cannot be written.
pub async fn run(mut options: Options, bench: Bench) -> Result<(), String> {
    let targets = targets(&bench)?;
    if options.database_url == OWN_DATABASE {
        options.database_url = DATABASE.into();
    }
    // The database is seeded once, with its progress shown.
    let db = Db::open(&options.database_url, 2).await?;
    db.seed(options.seed, crate::clock::Clock::system().now_ms()).await.map_err(|error| error.to_string())?;
    std::fs::create_dir_all(&bench.out).map_err(|error| format!("{}: {error}", bench.out.display()))?;
    let prefix = format!("chat-bench:{}:", &random::token()[..8]);
    let context = Context { options, divide: bench.divide, prefix };
    tokio::select! {
        done = measure(&context, &bench, &targets) => done,
        _ = tokio::signal::ctrl_c() => {
            for url in targets.iter().filter_map(|target| target.url.as_deref()) {
                remove_keys(url, &context.prefix).await?;
            }
            Err("interrupted; its keys are removed".into())
        }
    }
}

/// Removes what the bench left on a cache. The counters that its servers still tell end by themselves within moments.
async fn remove_keys(url: &str, prefix: &str) -> Result<(), String> {
    let timeout = Duration::from_secs(2);
    let store =
        Store::new("cache", url, StoreOptions { timeout, prefix: prefix.to_owned(), ..StoreOptions::default() })?;
    store.wait_connected(timeout).await;
    store.unlink_pattern("*").await.map(drop).map_err(|error| error.to_string())
}

async fn measure(context: &Context, bench: &Bench, targets: &[Target]) -> Result<(), String> {
    let all = Experiment::value_variants();
    let experiments = if bench.experiments.is_empty() { all.to_vec() } else { bench.experiments.clone() };
    for experiment in experiments {
        let name = experiment.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let mut progress = Progress::new("measuring", bench.rounds * targets.len());
        eprintln!("{name}:");
        let mut rows = Vec::new();
        for round in 0..bench.rounds {
            // Every other round in the other order, so that none is always first.
            let mut order: Vec<usize> = (0..targets.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for (done, index) in order.into_iter().enumerate() {
                let target = &targets[index];
                let found =
                    one(experiment, context, target).await.map_err(|error| format!("{}: {error}", target.name))?;
                rows.extend(found.into_iter().map(|row| Row { target: target.name.clone(), round, ..row }));
                progress.set(round * targets.len() + done + 1);
            }
        }
        print!("{}", table::text(&name, &rows));
        let file = |kind: &str| bench.out.join(format!("{name}.{kind}"));
        std::fs::write(file("csv"), table::csv(&rows)).map_err(|error| error.to_string())?;
        std::fs::write(file("svg"), plot::svg(&name, &rows)).map_err(|error| error.to_string())?;
    }
    println!("CSV and SVG are in {}", bench.out.display());
    Ok(())
}

async fn one(experiment: Experiment, context: &Context, target: &Target) -> Result<Vec<Row>, String> {
    match experiment {
        Experiment::Read => read::run(context, target).await,
        Experiment::Mix => mix::run(context, target).await,
        Experiment::Stampede => stampede::run(context, target).await,
        Experiment::Limits => limits::run(context, target).await,
        Experiment::Strategies => strategies::run(context, target).await,
        Experiment::Compression => compression::run(context, target).await,
        Experiment::Feed => feed::run(context, target).await,
    }
}

fn targets(bench: &Bench) -> Result<Vec<Target>, String> {
    if bench.against.is_empty() {
        return Ok(vec![Target { name: "larder".into(), url: None }]);
    }
    let target = |text: &String| {
        let (name, url) = text.split_once('=').ok_or_else(|| format!("--against takes NAME=URL, not {text}"))?;
        Ok(Target { name: name.to_owned(), url: Some(url.to_owned()) })
    };
    bench.against.iter().map(target).collect()
}
