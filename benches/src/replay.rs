//! Replays a trace through policies: each request is get-else-insert. Points, a policy at a size each, run on several threads and
//! come out in order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Instant;

use crate::policy::{self, Setup};
use crate::trace::Trace;

/// What is measured.
pub struct Plan<'a> {
    /// Names of policies, all known.
    pub policies: &'a [String],
    /// Capacities.
    pub sizes: &'a [u64],
    /// The first request that counts.
    pub from: usize,
    /// Threads that work on it.
    pub threads: usize,
}

/// One policy at one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The trace.
    pub trace: String,
    /// The policy.
    pub policy: String,
    /// Objects or bytes.
    pub size: u64,
    /// Requests that counted, and those of them that hit.
    pub requests: u64,
    /// See there.
    pub hits: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Point {
    /// The part of the requests that hit.
    pub fn ratio(&self) -> f64 {
        self.hits as f64 / self.requests.max(1) as f64
    }

    /// The columns of [`Point::csv`].
    pub const HEADER: &'static str = "trace,policy,size,requests,hits,hit_ratio";

    /// A line of a csv.
    pub fn csv(&self) -> String {
        let Self { trace, policy, size, requests, hits, .. } = self;
        format!("{},{policy},{size},{requests},{hits},{:.6}", quoted(trace), self.ratio())
    }
}

/// A field of a csv, in quotes if it needs them (RFC 4180).
pub fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// Runs all points, sizes one after the other and for each all policies, and tells each as soon as it and those before it are done.
pub fn replay(setup: &Setup<'_>, plan: &Plan<'_>, mut each: impl FnMut(&Point)) -> Vec<Point> {
    let jobs: Vec<(u64, &String)> =
        plan.sizes.iter().flat_map(|size| plan.policies.iter().map(|policy| (*size, policy))).collect();
    let (next, (done, results)) = (AtomicUsize::new(0), mpsc::channel());
    let (jobs, next) = (&jobs, &next);
    std::thread::scope(|scope| {
        for _ in 0..plan.threads.clamp(1, jobs.len().max(1)) {
            let done = done.clone();
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(size, policy)) = jobs.get(number) else { break };
                    if done.send((number, run(&setup.with_capacity(size), policy, plan.from))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        let mut waiting: Vec<Option<Point>> = vec![None; jobs.len()];
        let mut points = Vec::with_capacity(jobs.len());
        for (number, point) in results {
            waiting[number] = Some(point);
            while let Some(point) = waiting.get_mut(points.len()).and_then(Option::take) {
                each(&point);
                points.push(point);
            }
        }
        points
    })
}

/// What a policy at a size hit, as it went.
#[derive(Clone, Debug)]
pub struct History {
    /// The policy.
    pub policy: String,
    /// Objects or bytes.
    pub size: u64,
    requests: usize,
    /// Hits before every so many requests, and at the end.
    hits: Vec<u64>,
}

impl History {
    /// Requests between two counts.
    const STEP: usize = 256;

    /// The part of the last so many requests that hit, from the nearest count on.
    pub fn ratio_of_last(&self, requests: usize) -> f64 {
        let from = (self.requests - requests.min(self.requests) + Self::STEP / 2) / Self::STEP;
        let from = from.min(self.hits.len().saturating_sub(2));
        let (Some(before), Some(all)) = (self.hits.get(from), self.hits.last()) else { return 0.0 };
        (all - before) as f64 / (self.requests - from * Self::STEP).max(1) as f64
    }
}

/// Replays a trace through all policies at all sizes, on so many threads.
pub fn histories(setup: &Setup<'_>, policies: &[String], sizes: &[u64], threads: usize) -> Vec<History> {
    let jobs: Vec<(u64, &String)> =
        sizes.iter().flat_map(|size| policies.iter().map(|policy| (*size, policy))).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(jobs.len())));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, jobs.len().max(1)) {
            scope.spawn(|| {
                while let Some(&(size, policy)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let history = history(&setup.with_capacity(size), policy);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(history);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn history(setup: &Setup<'_>, policy: &str) -> History {
    let (mut hits, mut counts) = (0, vec![0]);
    if let Some(mut model) = policy::make(policy, setup) {
        for chunk in setup.trace.requests.chunks(History::STEP) {
            hits += chunk.iter().filter(|key| model.request(**key)).count() as u64;
            counts.push(hits);
        }
    }
    let requests = setup.trace.requests.len();
    History { policy: policy.to_owned(), size: setup.capacity, requests, hits: counts }
}

/// One point.
fn run(setup: &Setup<'_>, policy: &str, from: usize) -> Point {
    let trace: &Trace = setup.trace;
    let started = Instant::now();
    let mut hits = 0;
    if let Some(mut model) = policy::make(policy, setup) {
        for (at, key) in trace.requests.iter().enumerate() {
            if setup.weights.of(*key) > setup.capacity {
                model.pass();
                continue;
            }
            hits += u64::from(model.request(*key) && at >= from);
        }
    }
    Point {
        trace: trace.name.clone(),
        policy: policy.to_owned(),
        size: setup.capacity,
        requests: trace.requests.len().saturating_sub(from) as u64,
        hits,
        seconds: started.elapsed().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::synthetic;

    #[test]
    fn points_come_in_order_whoever_ran_them() {
        let trace = synthetic::make("loop:keys=100,requests=1000").unwrap();
        let policies = ["lru", "opt", "fifo"].map(String::from);
        let plan = Plan { policies: &policies, sizes: &[10, 100], from: 0, threads: 3 };
        let mut told = Vec::new();
        let points = replay(&Setup::objects(&trace, 1), &plan, |point| told.push(point.clone()));
        assert_eq!(points, told);
        let shown: Vec<_> = points.iter().map(|point| (point.size, point.policy.as_str(), point.hits)).collect();
        let (opt, all) = (points[1].hits, 900);
        assert_eq!(
            shown,
            [
                (10, "lru", 0),
                (10, "opt", opt),
                (10, "fifo", 0),
                (100, "lru", all),
                (100, "opt", all),
                (100, "fifo", all)
            ]
        );
        // Of each round nine keys are still there; the tenth place goes from key to key.
        assert!((80..=90).contains(&opt), "{opt}");
    }

    #[test]
    fn what_comes_before_the_first_request_that_counts_warms_the_cache() {
        let trace = synthetic::make("loop:keys=100,requests=1000").unwrap();
        let policies = ["lru".to_owned()];
        let plan = Plan { policies: &policies, sizes: &[100], from: 500, threads: 1 };
        let points = replay(&Setup::objects(&trace, 1), &plan, |_| {});
        assert_eq!(points[0].csv(), "loop:keys=100;requests=1000,lru,100,500,500,1.000000");
    }

    #[test]
    fn a_history_tells_the_hits_of_the_last_requests() {
        // Everything is missed once, and then found.
        let trace = synthetic::make("loop:keys=1024,requests=4096").unwrap();
        let histories = histories(&Setup::objects(&trace, 1), &["lru".to_owned()], &[2000, 1024, 1], 2);
        assert_eq!(histories.len(), 3);
        let of = |size| histories.iter().find(|it| it.size == size).unwrap();
        let ratios = [4096, 10_000, 3072, 100, 3584].map(|last| of(2000).ratio_of_last(last));
        assert_eq!(ratios, [0.75, 0.75, 1.0, 1.0, 3072.0 / 3584.0]);
        assert_eq!(of(1).ratio_of_last(4096), 0.0);
    }

    #[test]
    fn an_object_larger_than_the_cache_misses_and_changes_nothing() {
        let trace = crate::policy::testing::trace_of("a b a b a").with_sizes(&[10, 1000]);
        let policies = policy::names().filter(|name| *name != "moka" && *name != "quick_cache").map(String::from);
        let policies: Vec<String> = policies.collect();
        let plan = Plan { policies: &policies, sizes: &[100], from: 0, threads: 1 };
        for point in replay(&Setup::bytes(&trace, 1), &plan, |_| {}) {
            assert_eq!(point.hits, 2, "{}", point.policy);
        }
    }

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        assert_eq!(quoted("OLTP"), "OLTP");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
