//! A thousand requests at the same moment, over three servers, for a page that has just expired, with each guard.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::fleet::Fleet;
use super::table::{Row, time_rows};
use super::{Context, Target};
use crate::options::{GuardName, L1Name, TtlName};

const TTL_MS: u64 = 2_000;
const PATH: &str = "/api/rooms/general/page";

/// The experiment.
pub async fn run(context: &Context, target: &Target) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let guards = [
        ("none", GuardName::None),
        ("lock", GuardName::Lock),
        ("early", GuardName::Early),
        ("stale", GuardName::Stale),
    ];
    for (label, guard) in guards {
        let fleet = Fleet::start(context, target, 3, |options| {
            (options.guard, options.l1, options.ttl, options.ttl_ms) = (guard, L1Name::Off, TtlName::Fixed, TTL_MS);
        })
        .await?;
        let clients = fleet.clients(context.amount(1_000)).await?;
        join_all(clients.iter().map(|client| client.get("/api/users/1"))).await;
        clients[0].get(PATH).await?;
        tokio::time::sleep(Duration::from_millis(TTL_MS + 50)).await;
        let queries = || fleet.sum(|app| app.metrics.database_reads.get());
        let before = queries();
        let timed = clients.iter().map(async |client| {
            let start = Instant::now();
            client.get(PATH).await.map(|_| start.elapsed().as_secs_f64() * 1e3)
        });
        let times = join_all(timed).await.into_iter().collect::<Result<Vec<f64>, String>>()?;
        // A refresh in the background counts, too.
        tokio::time::sleep(Duration::from_millis(300)).await;
        rows.push(Row::new(label, "queries", (queries() - before) as f64));
        rows.extend(time_rows(label, times));
        fleet.end().await?;
    }
    Ok(rows)
}
