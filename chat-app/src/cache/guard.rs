//! Guards against stampedes: when a popular value expires, a thousand requests find nothing at the same moment, and all of
//! them ask the database the same question.
//!
//! | guard   | on a miss | before the end | after the end |
//! |---------|-----------|----------------|---------------|
//! | `none`  | everybody asks the database | - | - |
//! | `lock`  | one asks, the others wait for its answer | - | - |
//! | `early` | as `lock` | sometimes one refreshes in the background | as `lock` |
//! | `stale` | as `lock` | - | the old value is served while one refreshes |
//!
//! `early` is optimal probabilistic early expiration, "XFetch" (Vattani, Chierichetti, Lowenstein: "Optimal Probabilistic
//! Cache Stampede Prevention", VLDB 2015): refresh when `now - cost * beta * ln(random) >= expiry`. The dearer a value and
//! the nearer its end, the likelier somebody renews it in time. A linear chance of `1 - remaining / ttl`, as one often
//! sees it, refreshes a popular value all the time.

use std::time::Duration;

use super::entry::Entry;

/// What to do with a value that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is fine.
    Serve,
    /// It is fine for now, and somebody should renew it.
    ServeAndRefresh,
    /// It is of no use.
    Refill,
}

/// Decides about values near and after their end.
pub trait Guard: Send + Sync {
    /// How the dashboard calls it.
    fn name(&self) -> &'static str;
    /// What to do with a value; `chance` is a random number from 0 to 1.
    fn judge(&self, entry: &Entry, now_ms: i64, chance: f64) -> Verdict;
    /// How long a value that is fresh for `ttl` is kept.
    fn keep(&self, ttl: Duration) -> Duration {
        ttl
    }
    /// Whether one asks the database for all.
    fn locks(&self) -> bool {
        true
    }
}

/// No guard at all, to see what happens.
pub struct NoGuard;

impl Guard for NoGuard {
    fn name(&self) -> &'static str {
        "none"
    }

    fn judge(&self, entry: &Entry, now_ms: i64, _: f64) -> Verdict {
        by_freshness(entry, now_ms)
    }

    fn locks(&self) -> bool {
        false
    }
}

/// One asks, the others wait: see [`super::lock`].
pub struct Lock;

impl Guard for Lock {
    fn name(&self) -> &'static str {
        "lock"
    }

    fn judge(&self, entry: &Entry, now_ms: i64, _: f64) -> Verdict {
        by_freshness(entry, now_ms)
    }
}

/// XFetch.
pub struct Early {
    /// Above 1 it refreshes earlier.
    pub beta: f64,
}

impl Guard for Early {
    fn name(&self) -> &'static str {
        "early"
    }

    fn judge(&self, entry: &Entry, now_ms: i64, chance: f64) -> Verdict {
        let cost_ms = f64::from(entry.cost_us) / 1_000.0;
        let ahead_ms = -cost_ms * self.beta * chance.max(f64::MIN_POSITIVE).ln();
        if entry.fresh_until_ms <= now_ms {
            Verdict::Refill
        } else if now_ms as f64 + ahead_ms >= entry.fresh_until_ms as f64 {
            Verdict::ServeAndRefresh
        } else {
            Verdict::Serve
        }
    }
}

/// Stale while revalidate (RFC 5861 for HTTP): values are kept twice as long as they are fresh.
pub struct Stale;

impl Guard for Stale {
    fn name(&self) -> &'static str {
        "stale"
    }

    fn judge(&self, entry: &Entry, now_ms: i64, _: f64) -> Verdict {
        let ttl_ms = entry.fresh_until_ms - entry.cached_at_ms;
        if now_ms < entry.fresh_until_ms {
            Verdict::Serve
        } else if now_ms < entry.fresh_until_ms + ttl_ms {
            Verdict::ServeAndRefresh
        } else {
            Verdict::Refill
        }
    }

    fn keep(&self, ttl: Duration) -> Duration {
        ttl * 2
    }
}

fn by_freshness(entry: &Entry, now_ms: i64) -> Verdict {
    if now_ms < entry.fresh_until_ms { Verdict::Serve } else { Verdict::Refill }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read at 0, fresh until 60 s, and 100 ms of work.
    const ENTRY: Entry = Entry { payload: None, version: 1, cached_at_ms: 0, fresh_until_ms: 60_000, cost_us: 100_000 };

    #[test]
    fn early_refreshes_likelier_near_the_end() {
        let early = Early { beta: 1.0 };
        let share = |now_ms: i64| {
            let refreshes =
                (1..1_000).filter(|n| early.judge(&ENTRY, now_ms, f64::from(*n) / 1_000.0) != Verdict::Serve);
            refreshes.count() as f64 / 1_000.0
        };
        assert_eq!(share(30_000), 0.0, "half a minute before the end of something that takes 100 ms");
        // P(-cost * ln(u) >= left) = exp(-left / cost).
        assert!((share(59_900) - 0.368).abs() < 0.01, "{}", share(59_900));
        assert!((share(59_990) - 0.905).abs() < 0.01, "{}", share(59_990));
        assert_eq!(early.judge(&ENTRY, 60_000, 0.5), Verdict::Refill);
        assert_eq!(early.judge(&ENTRY, 59_999, 0.0), Verdict::ServeAndRefresh, "a chance of 0 is no infinity");
    }

    #[test]
    fn stale_values_are_served_for_one_more_ttl() {
        let at = |now_ms| Stale.judge(&ENTRY, now_ms, 0.5);
        assert_eq!(
            [at(59_999), at(60_000), at(119_999)],
            [Verdict::Serve, Verdict::ServeAndRefresh, Verdict::ServeAndRefresh]
        );
        assert_eq!(at(120_000), Verdict::Refill);
        assert_eq!(Stale.keep(Duration::from_secs(60)), Duration::from_secs(120));
    }

    #[test]
    fn the_others_go_by_freshness() {
        for guard in [&NoGuard as &dyn Guard, &Lock] {
            assert_eq!(guard.judge(&ENTRY, 59_999, 0.0), Verdict::Serve);
            assert_eq!(guard.judge(&ENTRY, 60_000, 0.0), Verdict::Refill);
        }
        assert!(!NoGuard.locks() && Lock.locks());
    }
}
