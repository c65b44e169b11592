//! 10,000 page reads, Zipf 1.0 over 300 rooms, and 2 % posts, on three servers: the hit rate, and how many queries reach
//! the database, with a cache and without one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;

use super::fleet::Fleet;
use super::table::{Row, percentile};
use super::{Context, Target};
use crate::client::Client;
use crate::db::seed::{ROOMS, room_name};
use crate::options::StrategyName;
use crate::random::{Random, Zipf};

const CLIENTS: usize = 24;

/// The experiment.
pub async fn run(context: &Context, target: &Target) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (label, strategy) in [("no cache", StrategyName::None), ("cache", context.options.strategy)] {
        let fleet = Fleet::start(context, target, 3, |options| options.strategy = strategy).await?;
        let load = load(&fleet, context.amount(10_000)).await?;
        let hits = fleet.sum(|app| app.metrics.l1_hits.get() + app.metrics.l2_hits.get()) as f64;
        let misses = fleet.sum(|app| app.metrics.misses.get()) as f64;
        let queries = fleet.sum(|app| app.metrics.database_reads.get()) as f64;
        rows.push(Row::new(label, "hit rate %", hits * 100.0 / (hits + misses)));
        rows.push(Row::new(label, "queries", queries));
        rows.extend(load.rows(label));
        fleet.end().await?;
    }
    Ok(rows)
}

/// What a load showed.
pub struct Load {
    times: Vec<f64>,
    seconds: f64,
}

impl Load {
    /// Its figures.
    pub fn rows(mut self, label: &str) -> Vec<Row> {
        let count = self.times.len() as f64;
        vec![
            Row::new(label, "requests/s", count / self.seconds),
            Row::new(label, "median ms", percentile(&mut self.times, 0.5)),
            Row::new(label, "P99 ms", percentile(&mut self.times, 0.99)),
        ]
    }
}

/// Reads of pages with 2 % posts.
pub async fn load(fleet: &Fleet, count: usize) -> Result<Load, String> {
    let clients = fleet.clients(CLIENTS).await?;
    let (zipf, next, start) = (Zipf::new(ROOMS, 1.0), Arc::new(AtomicUsize::new(0)), Instant::now());
    let work = clients
        .into_iter()
        .enumerate()
        .map(|(number, client)| tokio::spawn(one(client, number as u64 + 1, zipf.clone(), next.clone(), count)));
    let mut times = Vec::new();
    for task in join_all(work).await {
        times.extend(task.map_err(|error| error.to_string())??);
    }
    Ok(Load { times, seconds: start.elapsed().as_secs_f64() })
}

async fn one(client: Client, seed: u64, zipf: Zipf, next: Arc<AtomicUsize>, count: usize) -> Result<Vec<f64>, String> {
    let (mut random, mut times) = (Random::new(seed), Vec::new());
    while next.fetch_add(1, Relaxed) < count {
        let path = format!("/api/rooms/{}/messages", room_name(zipf.pick(&mut random)));
        let start = Instant::now();
        let answer = if random.below(50) == 0 {
            client.post(&path, &json!({ "body": "a message of the bench" })).await?
        } else {
            client.get(&path).await?
        };
        if !answer.status.is_success() {
            return Err(format!("{path}: {} {}", answer.status, answer.text()));
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
