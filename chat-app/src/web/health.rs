//! `/health`: healthy, degraded (a cache or the state server is away and everything goes on from the database) or
//! unhealthy (no database; only this is a 503), with each part's state and how long it took to answer.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use crate::app::App;

/// Answers `/health`.
pub async fn health(State(app): State<Arc<App>>) -> Response {
    let (status, report) = report(&app).await;
    (status, axum::Json(report)).into_response()
}

/// The state of each part.
pub async fn report(app: &App) -> (StatusCode, Value) {
    let database = async {
        let start = Instant::now();
        (app.db.ping().await, start.elapsed())
    };
    let stores = join_all(app.stores().map(async |store| (store.name(), store.ping().await)));
    let ((database, took), stores) = tokio::join!(database, stores);
    let mut parts = Map::new();
    let is_up = database.is_ok();
    parts.insert("database".into(), part(is_up, Some(took.as_secs_f64() * 1e3), database.err().map(|e| e.to_string())));
    let mut is_degraded = false;
    // What is not believed yet is not used.
    is_degraded |= app.shards.all().iter().any(|store| !store.is_believed());
    for (name, answer) in stores {
        is_degraded |= answer.is_err();
        let latency = answer.as_ref().ok().map(|took| took.as_secs_f64() * 1e3);
        parts.insert(name.into(), part(answer.is_ok(), latency, answer.err().map(|error| error.to_string())));
    }
    let status = match (is_up, is_degraded) {
        (false, _) => "unhealthy",
        (true, true) => "degraded",
        (true, false) => "healthy",
    };
    let code = if is_up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let uptime_s = app.started.elapsed().as_secs();
    (code, json!({ "status": status, "node": app.node, "uptime_s": uptime_s, "parts": parts }))
}

fn part(is_up: bool, latency_ms: Option<f64>, error: Option<String>) -> Value {
    let latency_ms = latency_ms.filter(|_| is_up).map(|ms| (ms * 1e3).round() / 1e3);
    json!({ "up": is_up, "latency_ms": latency_ms, "error": error })
}
