//! The dashboard: what the cache does, over all servers, as it happens.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::auth::User;
use super::pages::layout;
use crate::app::App;
use crate::error::AppError;
use crate::overview::{self, Point};

/// Answers `/api/stats`.
pub async fn stats(State(app): State<Arc<App>>, _: User) -> Response {
    axum::Json(report(&app)).into_response()
}

/// All that the dashboard shows.
fn report(app: &App) -> Value {
    let points = app.history.points();
    let Some(last) = points.last() else { return json!({ "points": [] }) };
    let sum = &last.sum;
    let hits = sum.l1_hits + sum.l2_hits;
    let [l1, l2, database] = overview::percentiles(sum);
    json!({
        "servers": last.servers,
        "hit_rate": sum.hit_rate(),
        "verdict": overview::verdict(sum.hit_rate()),
        "l1_hits": sum.l1_hits,
        "l2_hits": sum.l2_hits,
        "misses": sum.misses,
        "queries": sum.database_reads,
        "queries_saved": hits,
        "time_saved_s": sum.saved_ms / 1_000.0,
        "cost_saved": hits as f64 * app.options.query_cost / 1e6,
        "errors": { "answers": sum.failures, "caches": sum.cache_errors },
        "refused": sum.limited,
        "messages": sum.messages,
        "percentiles_ms": { "l1": l1, "l2": l2, "database": database },
        "caches": last.caches,
        "state": last.state,
        "alerts": overview::alerts(&points),
        "points": points.windows(2).map(|pair| second(&pair[0], &pair[1], app.options.query_cost)).collect::<Vec<_>>(),
    })
}

/// What happened between two points.
fn second(before: &Point, after: &Point, query_cost: f64) -> Value {
    let seconds = (after.at_ms - before.at_ms).max(1) as f64 / 1_000.0;
    let grown = |count: fn(&Point) -> u64| count(after).saturating_sub(count(before)) as f64;
    let hits = grown(|point| point.sum.l1_hits + point.sum.l2_hits);
    let reads = hits + grown(|point| point.sum.misses);
    let times = |layer: usize| -> [f64; 3] {
        let (old, new) = (&before.sum.times[layer], &after.sum.times[layer]);
        let grown: Vec<u64> = new.iter().zip(old).map(|(new, old)| new.saturating_sub(*old)).collect();
        [0.5, 0.95, 0.99].map(|share| crate::metrics::percentile_ms(&grown, share))
    };
    json!({
        "at_ms": after.at_ms,
        "hit_rate": (reads > 0.0).then(|| hits * 100.0 / reads),
        "reads": reads / seconds,
        "queries": grown(|point| point.sum.database_reads) / seconds,
        "evictions": grown(|point| point.caches.iter().map(|cache| cache.evicted).sum()) / seconds,
        "memory": after.caches.iter().map(|cache| cache.memory).sum::<u64>(),
        // A cache without a limit has no line to stay under.
        "limit": after.caches.iter().map(|cache| Some(cache.limit).filter(|limit| *limit > 0)).sum::<Option<u64>>(),
        "keys": after.caches.iter().map(|cache| cache.keys).sum::<u64>(),
        "refused": grown(|point| point.sum.limited) / seconds,
        "failures": grown(|point| point.sum.failures) / seconds,
        "cache_errors": grown(|point| point.sum.cache_errors) / seconds,
        "cost_saved": (after.sum.l1_hits + after.sum.l2_hits) as f64 * query_cost / 1e6,
        "l1": times(0),
        "l2": times(1),
        "database": times(2),
    })
}

/// The page; its script fills it once a second.
pub async fn page(State(app): State<Arc<App>>, user: User) -> Result<Response, AppError> {
    let figure = |id: &str, name: &str| html! { div.figure { dt { (name) } dd id=(id) { "–" } } };
    let body = html! {
        h1 { "What the cache does" }
        // Read aloud when the verdict changes, and not with each tenth of a percent.
        p #verdict { span #verdict-rate {} span #verdict-word role="status" {} }
        div #alerts role="alert" {}
        dl.figures {
            (figure("hit-rate", "Hit rate")) (figure("reads", "Reads")) (figure("saved", "Queries saved"))
            (figure("time-saved", "Database time saved")) (figure("cost-saved", "Cost saved")) (figure("queries", "Queries made"))
            (figure("refused", "Refused by the limiter")) (figure("errors", "Errors")) (figure("servers", "Servers"))
        }
        div.charts { @for (id, name, unit, lines) in CHARTS { (chart(id, name, unit, lines)) } }
        h2 { "Percentiles since the start, in milliseconds" }
        div.wide { table {
            thead { tr { @for name in ["Layer", "P50", "P95", "P99"] { th scope="col" { (name) } } } }
            tbody #percentiles {}
        } }
        h2 { "Caches and state server" }
        div.wide { table {
            thead { tr { @for name in ["Name", "State", "Memory", "Limit", "Keys", "Evicted"] { th scope="col" { (name) } } } }
            tbody #caches {}
        } }
        h2 { "What is active" }
        table { tbody { @for (what, name) in choices(&app) { tr { th scope="row" { (what) } td { (name) } } } } }
        script src="/assets/dashboard.js" defer {}
    };
    Ok(layout("Dashboard", Some(&user.0), &body).into_response())
}

/// Id, name, unit, and what each line is when there are several.
const CHARTS: &[(&str, &str, &str, &[&str])] = &[
    ("chart-hits", "Hit rate", "%", &[]),
    ("chart-queries", "Reads and queries", "per second", &["reads", "queries"]),
    ("chart-l1", "L1", "ms", &["P50", "P95", "P99"]),
    ("chart-l2", "L2", "ms", &["P50", "P95", "P99"]),
    ("chart-database", "Database", "ms", &["P50", "P95", "P99"]),
    ("chart-memory", "Memory of the caches", "MB", &["used", "limit"]),
    ("chart-keys", "Keys", "", &[]),
    ("chart-evictions", "Evictions", "per second", &[]),
    ("chart-errors", "Errors", "per second", &["answers", "cache requests"]),
    ("chart-refused", "Refused by the limiter", "per second", &[]),
    ("chart-cost", "Cost saved", "since the start", &[]),
];

fn chart(id: &str, name: &str, unit: &str, lines: &[&str]) -> Markup {
    html! {
        figure.chart {
            figcaption {
                (name) " " small { (unit) } " " span.now id={ (id) "-now" } {}
                @if !lines.is_empty() {
                    span.legend { @for (index, line) in lines.iter().enumerate() { span class={ "line-" (index) } { (line) } " " } }
                }
            }
            small.top id={ (id) "-top" } {}
            svg id=(id) viewBox="0 0 600 140" role="img" aria-label=(name) preserveAspectRatio="none" {}
        }
    }
}

/// What was chosen about caching.
fn choices(app: &App) -> Vec<(&'static str, String)> {
    let options = &app.options;
    let compression = match options.compress_from {
        0 => "none".to_owned(),
        bytes => format!("zstd, from {bytes} bytes on"),
    };
    let strategy = match app.strategy.name() {
        "write-behind" if app.may_lose_queue() => {
            "write-behind (the queue is in this process: a crash loses what it holds)"
        }
        "write-behind" => "write-behind (what its queue's server loses is lost)",
        name => name,
    };
    vec![
        ("Strategy", strategy.to_owned()),
        ("Invalidation", app.layers.invalidation.name().to_owned()),
        ("L1", format!("{:?}", options.l1).to_lowercase()),
        ("Stampede guard", app.layers.guard.name().to_owned()),
        ("Time to live", app.layers.ttl.name().to_owned()),
        ("Limiter", format!("{}, {} in {} s", app.limiter.name(), options.limit, options.limit_window_ms / 1_000)),
        ("Compression", compression),
        ("Shards", app.shards.all().len().to_string()),
        ("Fan-out on write up to", format!("{} followers", options.fanout_limit)),
    ]
}
