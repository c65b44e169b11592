//! What the dashboard and the alerts look at: all servers together, and the caches.
//!
//! Each server tells its counters to the state server once a second (`server:<node>`, which ends by itself when the server
//! does), and keeps two minutes of what all of them told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use rustis::resp::{Command, Value, cmd};
use serde::Serialize;

use crate::app::App;
use crate::metrics::{Snapshot, percentile_ms};
use crate::store::Store;

/// How often servers tell their counters.
const EVERY: Duration = Duration::from_secs(1);
/// After this time without news a server counts as gone.
const GONE_MS: u64 = 5_000;
/// Seconds that are kept.
const KEPT: usize = 120;
/// The set of all servers there ever were.
const SERVERS: &str = "servers";

/// What a cache says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CacheInfo {
    /// Its name.
    pub name: String,
    /// Whether it answered.
    pub up: bool,
    /// Bytes in use.
    pub memory: u64,
    /// The most that it may use; 0: no limit.
    pub limit: u64,
    /// Keys.
    pub keys: u64,
    /// Keys that it evicted since it was started.
    pub evicted: u64,
}

/// One second.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// All servers together, counted from their start.
    pub sum: Snapshot,
    /// Servers that are there.
    pub servers: usize,
    /// The caches.
    pub caches: Vec<CacheInfo>,
    /// The state server.
    pub state: CacheInfo,
}

/// What was seen in the last two minutes.
#[derive(Default)]
pub struct History {
    points: Mutex<VecDeque<Point>>,
}

impl History {
    /// The points, oldest first.
    pub fn points(&self) -> Vec<Point> {
        self.points.lock().iter().cloned().collect()
    }

    /// The newest point.
    pub fn latest(&self) -> Option<Point> {
        self.points.lock().back().cloned()
    }

    fn add(&self, point: Point) {
        let mut points = self.points.lock();
        if points.len() >= KEPT {
            points.pop_front();
        }
        points.push_back(point);
    }
}

/// Tells and looks once a second, as long as the server lives.
pub async fn watch(app: std::sync::Weak<App>) {
    loop {
        let Some(app) = app.upgrade() else { return };
        let point = look(&app).await;
        app.history.add(point);
        drop(app);
        tokio::time::sleep(EVERY).await;
    }
}

/// Tells this server's counters and reads those of all.
async fn look(app: &Arc<App>) -> Point {
    let at_ms = app.clock.now_ms();
    let own = app.metrics.snapshot(app.node, at_ms, app.cache_errors());
    let others = exchange(&app.state, &own).await;
    let snapshots = if others.is_empty() { vec![own] } else { others };
    let (caches, state) = tokio::join!(join_all(app.shards.all().iter().map(info)), info(&app.state));
    Point { at_ms, sum: Snapshot::sum(&snapshots), servers: snapshots.len(), caches, state }
}

/// The counters of all servers; none when the state server cannot be reached.
async fn exchange(state: &Store, own: &Snapshot) -> Vec<Snapshot> {
    let key = |node: &str| state.key(&format!("server:{node}"));
    let (node, text) = (own.node.to_string(), serde_json::to_string(own).unwrap_or_default());
    let tell: Vec<Command> = vec![
        cmd("SADD").key(state.key(SERVERS)).arg(&node).into(),
        cmd("PEXPIRE").key(state.key(SERVERS)).arg(GONE_MS).into(),
        cmd("SET").key(key(&node)).arg(text).arg("PX").arg(GONE_MS).into(),
    ];
    match state.pipeline(tell).await {
        Ok(answers) if matches!(answers.first(), Some(Value::Error(_))) => {
            // With the next second it is a set again.
            let _ = state.remove_unless(&state.key(SERVERS), "set").await;
            return Vec::new();
        }
        Ok(_) => {}
        Err(_) => return Vec::new(),
    }
    let nodes: Vec<String> = state.call(cmd("SMEMBERS").key(state.key(SERVERS))).await.unwrap_or_default();
    let get = |node: &String| -> Command { cmd("GET").key(key(node)).into() };
    let answers = state.pipeline(nodes.iter().map(get).collect()).await.unwrap_or_default();
    let gone: Vec<&String> =
        nodes.iter().zip(&answers).filter(|(_, answer)| **answer == Value::Null).map(|(node, _)| node).collect();
    if !gone.is_empty() {
        let remove = |node: &&String| -> Command { cmd("SREM").key(state.key(SERVERS)).arg(node.as_str()).into() };
        // One that was only slow comes back with its next second.
        let _ = state.pipeline(gone.iter().map(remove).collect()).await;
    }
    let snapshot = |answer: &Value| match answer {
        Value::BulkString(bytes) => serde_json::from_slice(bytes).ok(),
        _ => None,
    };
    answers.iter().filter_map(snapshot).collect()
}

async fn info(store: &Store) -> CacheInfo {
    let name = store.name().to_owned();
    let (keys, infos) = tokio::join!(store.keys(), store.infos());
    let infos = infos.unwrap_or_default();
    // The masters of a cluster are one cache.
    let number = |field: &str| -> u64 {
        let value = |text: &String| {
            let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            line.and_then(|value| value.trim().parse::<u64>().ok())
        };
        infos.iter().filter_map(value).sum()
    };
    CacheInfo {
        name,
        up: keys.is_ok(),
        memory: number("used_memory"),
        limit: number("maxmemory"),
        keys: keys.unwrap_or(0),
        evicted: number("evicted_keys"),
    }
}

/// How good a hit rate is.
pub fn verdict(hit_rate: Option<f64>) -> &'static str {
    match hit_rate {
        None => "no reads yet",
        Some(rate) if rate >= 80.0 => "excellent",
        Some(rate) if rate >= 60.0 => "good",
        Some(rate) if rate >= 50.0 => "fair",
        Some(_) => "investigate",
    }
}

/// Something that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub advice: &'static str,
}

/// What is wrong, by the points of the last minutes.
pub fn alerts(points: &[Point]) -> Vec<Alert> {
    let Some(last) = points.last() else { return Vec::new() };
    let minute: Vec<&Point> = points.iter().filter(|point| point.at_ms > last.at_ms - 61_000).collect();
    let mut alerts = Vec::new();
    if let Some(rate) = rate_between(minute.first().copied(), last).filter(|rate| *rate < 70.0) {
        alerts.push(Alert {
            what: format!("the hit rate of the last minute is {rate:.0} %"),
            advice: "Look for keys that are never asked for twice, raise TTLs, warm popular rooms, or give the cache more memory.",
        });
    }
    if !last.state.up {
        alerts.push(Alert {
            what: format!("the {} server cannot be reached", last.state.name),
            advice: "Requests are not limited, sessions are looked up in the database, nothing is queued, guards do not hold between servers, and only this server is counted here. Start it again, or look at the network.",
        });
    }
    for cache in &last.caches {
        if !cache.up {
            alerts.push(Alert {
                what: format!("{} cannot be reached", cache.name),
                advice: "Everything goes on from the database, slower. Start the cache again, or look at the network.",
            });
        }
        if cache.limit > 0 && cache.memory * 5 > cache.limit * 4 {
            alerts.push(Alert {
                what: format!("{} uses {} % of its memory", cache.name, cache.memory * 100 / cache.limit),
                advice: "Raise maxmemory, compress from a smaller size on, shorten TTLs, or add a shard.",
            });
        }
        if evicts_for_a_minute(&minute, &cache.name) {
            alerts.push(Alert {
                what: format!("{} evicts more than 100 keys a second", cache.name),
                advice: "What is evicted is read from the database again: give it more memory, or cache less of what is cold.",
            });
        }
    }
    alerts
}

/// The hit rate between two points, in percent; `None` when hardly anything was read.
fn rate_between(first: Option<&Point>, last: &Point) -> Option<f64> {
    let first = first?;
    let hits = (last.sum.l1_hits + last.sum.l2_hits).checked_sub(first.sum.l1_hits + first.sum.l2_hits)?;
    let misses = last.sum.misses.checked_sub(first.sum.misses)?;
    (hits + misses >= 20).then(|| hits as f64 * 100.0 / (hits + misses) as f64)
}

/// Whether a cache evicted more than a hundred keys in each second of a whole minute.
fn evicts_for_a_minute(minute: &[&Point], name: &str) -> bool {
    let evicted = |point: &Point| point.caches.iter().find(|cache| cache.name == name).map_or(0, |cache| cache.evicted);
    let is_whole = minute.first().zip(minute.last()).is_some_and(|(first, last)| last.at_ms - first.at_ms >= 58_000);
    let per_second = |pair: &[&Point]| {
        let seconds = (pair[1].at_ms - pair[0].at_ms).max(1) as f64 / 1_000.0;
        evicted(pair[1]).saturating_sub(evicted(pair[0])) as f64 / seconds
    };
    is_whole && minute.windows(2).all(|pair| per_second(pair) > 100.0)
}

/// 50th, 95th and 99th percentile of L1, L2 and the database, in milliseconds.
pub fn percentiles(sum: &Snapshot) -> [[f64; 3]; 3] {
    sum.times.each_ref().map(|times| [0.5, 0.95, 0.99].map(|share| percentile_ms(times, share)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: i64, hits: u64, misses: u64, evicted: u64) -> Point {
        let sum = Snapshot { l2_hits: hits, misses, ..Snapshot::default() };
        let cache = CacheInfo { name: "cache".into(), up: true, memory: 50, limit: 100, keys: 1, evicted };
        let state = CacheInfo { name: "state".into(), up: true, ..CacheInfo::default() };
        Point { at_ms: second * 1_000, sum, servers: 1, caches: vec![cache], state }
    }

    fn said(points: &[Point]) -> Vec<String> {
        alerts(points).into_iter().map(|alert| alert.what).collect()
    }

    #[test]
    fn the_verdict_on_the_hit_rate() {
        let verdicts = [80.0, 79.9, 60.0, 59.0, 49.9].map(|rate| verdict(Some(rate)));
        assert_eq!(verdicts, ["excellent", "good", "good", "fair", "investigate"]);
        assert_eq!(verdict(None), "no reads yet");
    }

    #[test]
    fn a_low_hit_rate_alerts_by_the_last_minute_only() {
        assert!(said(&[point(0, 0, 0, 0), point(60, 70, 30, 0)]).is_empty());
        assert_eq!(said(&[point(0, 0, 0, 0), point(60, 69, 31, 0)]), ["the hit rate of the last minute is 69 %"]);
        assert!(said(&[point(0, 0, 0, 0), point(100, 0, 500, 0), point(150, 100, 500, 0)]).is_empty());
        assert!(said(&[point(0, 0, 0, 0), point(60, 0, 19, 0)]).is_empty(), "too few to tell");
    }

    #[test]
    fn evictions_alert_after_a_minute() {
        let points = |per_second: u64, seconds: i64| -> Vec<Point> {
            (0..=seconds).map(|second| point(second, 0, 0, second as u64 * per_second)).collect()
        };
        assert_eq!(said(&points(101, 60)), ["cache evicts more than 100 keys a second"]);
        assert!(said(&points(100, 60)).is_empty() && said(&points(500, 50)).is_empty());
    }

    #[test]
    fn memory_and_absence_alert_at_once() {
        let mut full = point(0, 0, 0, 0);
        full.caches[0].memory = 81;
        assert_eq!(said(&[full]), ["cache uses 81 % of its memory"]);
        let mut gone = point(0, 0, 0, 0);
        gone.caches[0].up = false;
        assert_eq!(said(&[gone]), ["cache cannot be reached"]);
        let mut gone = point(0, 0, 0, 0);
        gone.state.up = false;
        assert_eq!(said(&[gone]), ["the state server cannot be reached"]);
    }
}
