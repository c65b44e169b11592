//! Removing what is found under a key, and nothing else that may stand there by then: WATCH, a look, MULTI, DEL, EXEC.
//!
//! A lock is freed that way by its owner only. And so is mended what holds none of our values: another type, put there by
//! a slip or by another program. Every command on it fails, so whoever comes upon it removes it; otherwise one key would
//! keep a part of the application degraded for ever. What somebody else has put right meanwhile stays.

use std::time::Instant;

use rustis::client::ExclusiveClient;
use rustis::resp::{Command, Value, cmd};
use rustis::{ErrorKind, RedisErrorKind};

use super::{CONNECT, Store, Unreachable, config, sort_out};

/// Whether an answer says that the key holds another type than the command needs. (Other errors, as that of a server
/// without memory, tell nothing of the key.)
pub fn is_wrong_type(answer: &Value) -> bool {
    matches!(answer, Value::Error(error) if error.kind == RedisErrorKind::WrongType)
}

impl Store {
    /// Removes a key if it holds this value. Whether it did.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn remove_if_equal(&self, key: &str, value: &str) -> Result<bool, Unreachable> {
        let removed = self.remove_if(key, cmd("GET").key(key).into(), &|found| found == value).await?;
        Ok(removed.is_some())
    }

    /// Removes a key that holds something else than this type (`list`, `set`, ...), says so, and counts it. Whether it did.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn remove_unless(&self, key: &str, kind: &str) -> Result<bool, Unreachable> {
        let is_foreign = |found: &str| found != kind && found != "none";
        let removed = self.remove_if(key, cmd("TYPE").key(key).into(), &is_foreign).await?;
        if let Some(found) = &removed {
            self.note_mended(key, &format!("a {kind} belongs there, and a {found} was removed"));
        }
        Ok(removed.is_some())
    }

    /// Says and counts that something was put right.
    pub fn note_mended(&self, key: &str, what: &str) {
        self.metrics().mended.add(1);
        tracing::warn!(store = self.name(), key, what, "a key held what is not ours");
    }

    /// Removes a key if the answer to `look` is one that is to be removed; gives that answer.
    async fn remove_if(
        &self,
        key: &str,
        look: Command,
        is_removed: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Option<String>, Unreachable> {
        let shared = &*self.shared;
        if !shared.breaker.lets_through() {
            shared.metrics.skipped.add(1);
            return Err(Unreachable::Down);
        }
        let start = Instant::now();
        let outcome = self.remove_exclusively(key, look, is_removed).await;
        shared.note(&outcome, start);
        outcome
    }

    /// Each wait has an end, that for the connection, too: others may be waiting for a server that does not answer.
    async fn remove_exclusively(
        &self,
        key: &str,
        look: Command,
        is_removed: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Option<String>, Unreachable> {
        let limit = self.shared.options.timeout;
        let waited = tokio::time::timeout(limit, self.shared.exclusive.lock()).await;
        let mut exclusive = waited.map_err(|_| Unreachable::Timeout)?;
        // What is cut short is not put back: nobody knows what its connection has still to say.
        let mut client = match exclusive.take() {
            Some(client) => client,
            None => {
                let connect = async { ExclusiveClient::connect(config(&self.shared.url)?).await };
                let connected = tokio::time::timeout(limit.max(CONNECT), connect).await;
                connected.map_err(|_| Unreachable::Timeout)?.map_err(|error| sort_out(&error))?
            }
        };
        match tokio::time::timeout(limit, remove_watched(&mut client, key, look, is_removed)).await {
            // A key that changed under the watch is an answer, not a failure.
            Ok(Err(error)) if !matches!(error.kind(), ErrorKind::Aborted) => Err(sort_out(&error)),
            Ok(removed) => {
                *exclusive = Some(client);
                Ok(removed.unwrap_or(None))
            }
            Err(_) => Err(Unreachable::Timeout),
        }
    }
}

async fn remove_watched(
    client: &mut ExclusiveClient,
    key: &str,
    look: Command,
    is_removed: &(dyn Fn(&str) -> bool + Sync),
) -> rustis::Result<Option<String>> {
    client.send::<Value>(cmd("WATCH").key(key), Some(false)).await?;
    let found: Option<String> = client.send(look, Some(false)).await?;
    let Some(found) = found.filter(|found| is_removed(found)) else {
        client.send::<Value>(cmd("UNWATCH"), Some(false)).await?;
        return Ok(None);
    };
    let mut transaction = client.create_transaction();
    transaction.queue_command(cmd("DEL").key(key));
    Ok((transaction.execute::<i64>().await? == 1).then_some(found))
}
