//! `/metrics` in Prometheus's text format. No label holds a room or a user: their number has no bound.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::cache::layers::L1Mode;
use crate::metrics::Histogram;
use crate::overview::CacheInfo;

/// Upper bounds of the histograms' buckets, in microseconds.
const BOUNDS_US: &[u64] = &[
    10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
];

/// Answers `/metrics`.
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text(&app)).into_response()
}

/// The text.
pub fn text(app: &App) -> String {
    let mut out = String::new();
    let m = &app.metrics;
    labelled(
        &mut out,
        "chat_cache_hits_total",
        "Reads that a layer of the cache answered.",
        "counter",
        &[("layer=\"l1\"", m.l1_hits.get() as f64), ("layer=\"l2\"", m.l2_hits.get() as f64)],
    );
    for (name, help, value) in [
        ("chat_cache_misses_total", "Reads that the cache could not answer.", m.misses.get()),
        ("chat_cache_stale_hits_total", "Hits that had a refresh begun.", m.stale_hits.get()),
        ("chat_cache_shared_total", "Reads that waited for another request's answer.", m.shared.get()),
        ("chat_cache_invalidations_total", "Groups of pages that were made stale.", m.invalidations.get()),
        ("chat_cache_garbage_total", "Values under our keys that were not ours.", m.garbage.get()),
        ("chat_cache_plain_bytes_total", "Bytes of stored values before compression.", m.plain_bytes.get()),
        ("chat_cache_stored_bytes_total", "Bytes of stored values as they were stored.", m.stored_bytes.get()),
        ("chat_database_reads_total", "Queries for what can be cached.", m.database_reads.get()),
        ("chat_database_writes_total", "Changes of the database.", m.database_writes.get()),
        ("chat_database_polls_total", "Looks for what other servers wrote.", m.polls.get()),
        ("chat_trending_computed_total", "Computations of what is trending.", m.trending.get()),
        ("chat_messages_total", "Messages that were written.", m.messages.get()),
        ("chat_limited_total", "Requests that the limiter refused.", m.limited.get()),
        ("chat_http_requests_total", "Requests.", m.requests.get()),
        ("chat_http_failures_total", "Answers with a status of 500 or more.", m.failures.get()),
    ] {
        labelled(&mut out, name, help, "counter", &[("", value as f64)]);
    }
    let (l1_bytes, l1_values) = match &app.layers.l1 {
        L1Mode::Off => (0, 0),
        L1Mode::Alone(l1) | L1Mode::Connected(l1, _) => l1.size(),
    };
    labelled(&mut out, "chat_l1_bytes", "Bytes in the cache of this process.", "gauge", &[("", l1_bytes as f64)]);
    labelled(&mut out, "chat_l1_values", "Values in the cache of this process.", "gauge", &[("", l1_values as f64)]);
    labelled(&mut out, "chat_readers", "Readers of live messages.", "gauge", &[("", app.hub.readers() as f64)]);
    stores(&mut out, app);
    histogram(
        &mut out,
        "chat_read_seconds",
        "How long reads took, by the layer that answered.",
        &[("layer=\"l1\"", &m.l1_time), ("layer=\"l2\"", &m.l2_time), ("layer=\"database\"", &m.database_time)],
    );
    out
}

fn stores(out: &mut String, app: &App) {
    let label = |name: &str| format!("store=\"{name}\"");
    let labels: Vec<String> = app.stores().map(|store| label(store.name())).collect();
    let rows = |value: &dyn Fn(&crate::store::Store) -> f64| -> Vec<(&str, f64)> {
        labels.iter().map(String::as_str).zip(app.stores().map(value)).collect()
    };
    let up = rows(&|store| f64::from(u8::from(store.is_open())));
    labelled(out, "chat_store_up", "Whether a cache or the state server is reachable.", "gauge", &up);
    let errors = rows(&|store| store.metrics().errors.get() as f64);
    labelled(out, "chat_store_errors_total", "Requests to it that failed.", "counter", &errors);
    let skipped = rows(&|store| store.metrics().skipped.get() as f64);
    labelled(out, "chat_store_skipped_total", "Requests that its open breaker refused.", "counter", &skipped);
    let mended = rows(&|store| store.metrics().mended.get() as f64);
    labelled(out, "chat_store_mended_total", "Keys that held what is not ours and were put right.", "counter", &mended);
    let caches = app.history.latest().map(|point| point.caches).unwrap_or_default();
    let labels_of_caches: Vec<String> = caches.iter().map(|cache| label(&cache.name)).collect();
    let cache_rows = |value: fn(&CacheInfo) -> u64| -> Vec<(&str, f64)> {
        labels_of_caches.iter().map(String::as_str).zip(caches.iter().map(|cache| value(cache) as f64)).collect()
    };
    let memory = cache_rows(|cache| cache.memory);
    labelled(out, "chat_store_memory_bytes", "Memory that a cache uses.", "gauge", &memory);
    let limit = cache_rows(|cache| cache.limit);
    labelled(out, "chat_store_memory_limit_bytes", "Memory that it may use; 0 is no limit.", "gauge", &limit);
    labelled(out, "chat_store_keys", "Keys in it.", "gauge", &cache_rows(|cache| cache.keys));
    let evicted = cache_rows(|cache| cache.evicted);
    labelled(out, "chat_store_evicted_total", "Keys that it evicted.", "counter", &evicted);
    let times: Vec<(&str, &Histogram)> =
        labels.iter().map(String::as_str).zip(app.stores().map(|store| &store.metrics().latency)).collect();
    histogram(out, "chat_store_seconds", "How long its answers took.", &times);
}

fn labelled(out: &mut String, name: &str, help: &str, kind: &str, rows: &[(&str, f64)]) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (label, value) in rows {
        let _ = match *label {
            "" => writeln!(out, "{name} {value}"),
            label => writeln!(out, "{name}{{{label}}} {value}"),
        };
    }
}

fn histogram(out: &mut String, name: &str, help: &str, rows: &[(&str, &Histogram)]) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
    for (label, times) in rows {
        let mut last = 0;
        for bound in BOUNDS_US {
            // What is recorded meanwhile must not make a bucket smaller than the one before.
            last = times.count_up_to(Duration::from_micros(*bound)).max(last);
            let _ = writeln!(out, "{name}_bucket{{{label},le=\"{}\"}} {last}", *bound as f64 / 1e6);
        }
        let count = times.count().max(last);
        let _ = writeln!(out, "{name}_bucket{{{label},le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "{name}_sum{{{label}}} {}\n{name}_count{{{label}}} {count}", times.sum_s());
    }
}
