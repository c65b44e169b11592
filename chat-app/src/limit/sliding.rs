//! A sliding window: the requests of the last minute are kept in a sorted set by their time, `limit:sliding:<what><user>`.
//!
//! One transaction removes what is too old, counts, adds the request and renews the expiry. The *reply of ZCARD* decides:
//! counting in one step and adding in another would let through whoever comes in between. Each request is a member of its
//! own (two in the same millisecond are two), and one that is refused takes its member out again, since otherwise somebody
//! who keeps trying would never be let in again.

use futures_util::future::BoxFuture;
use rustis::resp::{Command, Value, cmd};

use super::{Decision, Limiter, Quota, Refusal, Rule};
use crate::clock::Clock;
use crate::random;
use crate::store::{Store, Unreachable};

/// See the page of this module.
pub struct SlidingWindow {
    /// Where it is counted.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// How much is allowed.
    pub rule: Rule,
    /// What is counted; stands before the user in the key.
    pub what: &'static str,
}

impl Limiter for SlidingWindow {
    fn name(&self) -> &'static str {
        "sliding"
    }

    fn check<'a>(&'a self, user: i64) -> BoxFuture<'a, Result<Decision, Unreachable>> {
        Box::pin(async move {
            let (now, window) = (self.clock.shared_ms(), self.rule.window_ms());
            let (key, member) = (self.store.key(&format!("limit:sliding:{}{user}", self.what)), random::token());
            let commands: Vec<Command> = vec![
                // What is exactly one window old still counts.
                cmd("ZREMRANGEBYSCORE").key(&key).arg("-inf").arg(format!("({}", now - window)).into(),
                cmd("ZCARD").key(&key).into(),
                cmd("ZADD").key(&key).arg(now).arg(&member).into(),
                cmd("PEXPIRE").key(&key).arg(window + 1).into(),
            ];
            let answers = match self.store.transaction(commands.clone()).await {
                Ok(answers) if !matches!(answers.get(1), Some(Value::Error(_))) => answers,
                Err(error) if !error.is_wrong_type() => return Err(error),
                _ => {
                    self.store.remove_unless(&key, "zset").await?;
                    self.store.transaction(commands).await?
                }
            };
            let Some(Value::Integer(count)) = answers.get(1) else {
                return Err(Unreachable::Refused(format!("ZCARD answered {answers:?}")));
            };
            let (count, limit) = (u64::try_from(*count).unwrap_or(0), self.rule.most);
            if count < limit {
                return Ok(Decision::Allowed(Quota { limit, remaining: limit - count - 1, reset_ms: window }));
            }
            let oldest = self.take_back(&key, &member).await?;
            let retry_after_ms = oldest.map_or(window, |oldest| (oldest + window + 1 - now).clamp(1, window));
            Ok(Decision::Refused(Refusal { limit, retry_after_ms }))
        })
    }
}

impl SlidingWindow {
    /// Takes a refused request out again; gives the time of the oldest that counts.
    async fn take_back(&self, key: &str, member: &str) -> Result<Option<i64>, Unreachable> {
        let commands = vec![cmd("ZREM").key(key).arg(member).into(), cmd("ZRANGE").key(key).arg(0).arg(0).into()];
        let answers = self.store.pipeline(commands).await?;
        let Some(Value::Array(members)) = answers.get(1) else { return Ok(None) };
        let Some(Value::BulkString(oldest)) = members.first() else { return Ok(None) };
        let oldest = rustis::resp::RefBulkString::new(oldest);
        let score: Option<f64> = self.store.call(cmd("ZSCORE").key(key).arg(oldest)).await?;
        Ok(score.map(|score| score as i64))
    }
}
