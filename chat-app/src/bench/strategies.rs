//! Each strategy under one mix of reads and posts, on three servers, and how long it takes until another server shows a
//! message that one has taken.

use std::time::{Duration, Instant};

use serde_json::json;

use super::fleet::Fleet;
use super::table::{Row, percentile};
use super::{Context, Target, mix};
use crate::client::Client;
use crate::options::StrategyName;

const PATH: &str = "/api/rooms/general/messages";
/// Staleness beyond this is not waited for.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The experiment.
pub async fn run(context: &Context, target: &Target) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (label, strategy) in [
        ("none", StrategyName::None),
        ("cache-aside", StrategyName::CacheAside),
        ("read-through", StrategyName::ReadThrough),
        ("write-through", StrategyName::WriteThrough),
        ("write-behind", StrategyName::WriteBehind),
        ("local", StrategyName::Local),
    ] {
        let fleet = Fleet::start(context, target, 3, |options| options.strategy = strategy).await?;
        let load = mix::load(&fleet, context.amount(4_000)).await?;
        rows.push(Row::new(label, "queries", fleet.sum(|app| app.metrics.database_reads.get()) as f64));
        rows.extend(load.rows(label));
        let clients = fleet.clients(3).await?;
        let (mut stale, mut posts) = (Vec::new(), Vec::new());
        for number in 0..context.amount(20) {
            let (posted, seen) = staleness(&clients, &format!("{label} {number} {}", crate::random::token())).await?;
            posts.push(posted);
            stale.push(seen);
        }
        rows.push(Row::new(label, "post ms", percentile(&mut posts, 0.5)));
        rows.push(Row::new(label, "stale ms", percentile(&mut stale, 0.5)));
        rows.push(Row::new(label, "stale max ms", percentile(&mut stale, 1.0)));
        fleet.end().await?;
    }
    Ok(rows)
}

/// How long a post takes, and how long after it the slowest of the other servers shows it; both in milliseconds.
async fn staleness(clients: &[Client], body: &str) -> Result<(f64, f64), String> {
    for client in clients {
        client.get(PATH).await?;
    }
    let start = Instant::now();
    let posted = clients[0].post(PATH, &json!({ "body": body })).await?;
    if !posted.status.is_success() {
        return Err(posted.text());
    }
    let (took, start) = (start.elapsed(), Instant::now());
    for client in &clients[1..] {
        while start.elapsed() < PATIENCE && !client.get(PATH).await?.text().contains(body) {
            tokio::task::yield_now().await;
        }
    }
    Ok((took.as_secs_f64() * 1e3, start.elapsed().as_secs_f64() * 1e3))
}
