//! Fixed against sliding windows: what gets through at the border of two windows, and what a decision costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::fleet::Fleet;
use super::table::{Row, time_rows};
use super::{Context, Target};
use crate::limit::{Decision, Limiter};
use crate::options::LimiterName;

const WINDOW_MS: i64 = 2_000;
const LIMIT: u64 = 10;

/// The experiment.
pub async fn run(context: &Context, target: &Target) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (label, limiter) in [("fixed", LimiterName::Fixed), ("sliding", LimiterName::Sliding)] {
        let fleet = Fleet::start(context, target, 3, |options| {
            (options.limiter, options.limit, options.limit_window_ms) = (limiter, LIMIT, WINDOW_MS as u64);
        })
        .await?;
        let limiters: Vec<Arc<dyn Limiter>> = fleet.apps.iter().map(|app| app.limiter.clone()).collect();
        let to_border = || WINDOW_MS - fleet.apps[0].clock.shared_ms().rem_euclid(WINDOW_MS);
        let wait = if to_border() > 600 { to_border() - 500 } else { to_border() + WINDOW_MS - 500 };
        tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())).await;
        let before = burst(&limiters).await?;
        tokio::time::sleep(Duration::from_millis(to_border().unsigned_abs() + 50)).await;
        let after = burst(&limiters).await?;
        rows.push(Row::new(label, "let through", (before + after) as f64));
        let mut times = Vec::new();
        for user in 0..context.amount(2_000) {
            let start = Instant::now();
            limiters[user % 3].check(1_000 + user as i64 % 100).await.map_err(|error| error.to_string())?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        rows.extend(time_rows(label, times));
        fleet.end().await?;
    }
    Ok(rows)
}

/// 64 requests of one user at once; how many are let through.
async fn burst(limiters: &[Arc<dyn Limiter>]) -> Result<usize, String> {
    let answers = join_all((0..64).map(|number| limiters[number % limiters.len()].check(1))).await;
    let mut through = 0;
    for answer in answers {
        through += usize::from(matches!(answer.map_err(|error| error.to_string())?, Decision::Allowed(_)));
    }
    Ok(through)
}
