//! Fixed windows: time is cut into windows, and each has a counter of its own, `limit:fixed:<what><user>:<window>`. The number of
//! the window is part of the key, so a counter never has to be set back.
//!
//! INCR and EXPIRE go as one transaction. Counting first and setting the expiry in another step would, once in a while,
//! leave a counter without one; looking first and counting later would let through whoever comes in between.

use futures_util::future::BoxFuture;
use rustis::resp::{Value, cmd};

use super::{Decision, Limiter, Quota, Refusal, Rule};
use crate::clock::Clock;
use crate::store::{Store, Unreachable};

/// See the page of this module.
pub struct FixedWindow {
    /// Where it is counted.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// How much is allowed.
    pub rule: Rule,
    /// What is counted; stands before the user in the key.
    pub what: &'static str,
}

impl Limiter for FixedWindow {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn check<'a>(&'a self, user: i64) -> BoxFuture<'a, Result<Decision, Unreachable>> {
        Box::pin(async move {
            let (now, window) = (self.clock.shared_ms(), self.rule.window_ms());
            let number = now.div_euclid(window);
            let key = self.store.key(&format!("limit:fixed:{}{user}:{number}", self.what));
            let commands = vec![cmd("INCR").key(&key).into(), cmd("PEXPIRE").key(&key).arg(window).into()];
            let answers = self.store.transaction(commands).await?;
            let Some(Value::Integer(count)) = answers.first() else {
                return Err(Unreachable::Refused(format!("INCR answered {answers:?}")));
            };
            let count = u64::try_from(*count).unwrap_or(0);
            let (limit, reset_ms) = (self.rule.most, (number + 1) * window - now);
            Ok(if count > limit {
                Decision::Refused(Refusal { limit, retry_after_ms: reset_ms })
            } else {
                Decision::Allowed(Quota { limit, remaining: limit - count, reset_ms })
            })
        })
    }
}
