//! Keys by pattern, the careful way: SCAN in steps, never KEYS, which holds up everybody else until it has looked at every
//! key of the server. Even so its cost grows with all keys of the cache, not with those that match: see
//! [`crate::cache::invalidation`] for what to do instead.

use rustis::client::Client;
use rustis::resp::{Value, cmd};

use super::nodes::in_time;
use super::{Store, Unreachable};

/// Keys per step.
const STEP: usize = 1_000;

/// A look for keys that is on its way.
pub struct Scan<'a> {
    store: &'a Store,
    pattern: String,
    /// Where it goes on; empty once a node has told all.
    cursor: String,
    /// The masters of a cluster that are still to be asked, the one that is being asked last.
    nodes: Vec<Client>,
}

impl Store {
    /// Removes what matches `pattern` (under the application's prefix). How many.
    ///
    /// # Errors
    /// Why there is no answer; some keys may be gone then.
    pub async fn unlink_pattern(&self, pattern: &str) -> Result<u64, Unreachable> {
        let (mut scan, mut removed) = (self.scan(pattern).await?, 0);
        while let Some(keys) = scan.next().await? {
            // One by one: on a cluster they lie in many slots.
            let unlink = |key: String| cmd("UNLINK").key(key).into();
            let answers = self.pipeline(keys.into_iter().map(unlink).collect()).await?;
            removed += answers.iter().filter(|answer| matches!(answer, Value::Integer(1))).count() as u64;
        }
        Ok(removed)
    }

    /// Looks for the keys that match `pattern` (under the application's prefix); on a cluster, on each master.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn scan(&self, pattern: &str) -> Result<Scan<'_>, Unreachable> {
        let nodes = self.masters().await?;
        Ok(Scan { store: self, pattern: self.key(pattern), cursor: "0".into(), nodes })
    }
}

impl Scan<'_> {
    /// Some keys, or none at all now and then; `None` after the last.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn next(&mut self) -> Result<Option<Vec<String>>, Unreachable> {
        if self.cursor.is_empty() {
            self.nodes.pop();
            if self.nodes.is_empty() {
                return Ok(None);
            }
            self.cursor = "0".into();
        }
        let scan = cmd("SCAN").arg(&self.cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(STEP);
        let (next, keys): (String, Vec<String>) = match self.nodes.last() {
            Some(node) => in_time(self.store.shared.options.timeout, node.send(scan, Some(false))).await?,
            None => self.store.call(scan).await?,
        };
        self.cursor = if next == "0" { String::new() } else { next };
        Ok(Some(keys))
    }
}
