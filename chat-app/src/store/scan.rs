//! Keys by pattern, the careful way: SCAN in steps, never KEYS, which holds up everybody else until it has looked at every
//! key of the server. Even so its cost grows with all keys of the cache, not with those that match: see
//! [`crate::cache::invalidation`] for what to do instead.

use rustis::client::Client;
use rustis::resp::{Value, cmd};

use super::{Store, Unreachable};

/// Keys per step.
const STEP: usize = 1_000;

impl Store {
    /// Removes what matches `pattern` (under the application's prefix); on a cluster, from each master. How many.
    ///
    /// # Errors
    /// Why there is no answer; some keys may be gone then.
    pub async fn unlink_pattern(&self, pattern: &str) -> Result<u64, Unreachable> {
        let pattern = self.key(pattern);
        let nodes = self.masters().await?;
        if nodes.is_empty() {
            return self.sweep(&pattern, None).await;
        }
        let mut removed = 0;
        for node in nodes {
            let client = Client::connect(node.as_str()).await.map_err(|error| super::sort_out(&error))?;
            removed += self.sweep(&pattern, Some(&client)).await?;
        }
        Ok(removed)
    }

    /// Sweeps one node: `node` to look for the keys on, the usual connection for removing them.
    async fn sweep(&self, pattern: &str, node: Option<&Client>) -> Result<u64, Unreachable> {
        let (mut cursor, mut removed) = (String::from("0"), 0);
        loop {
            let scan = cmd("SCAN").arg(&cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
            let (next, keys): (String, Vec<String>) = match node {
                Some(node) => node.send(scan, Some(false)).await.map_err(|error| super::sort_out(&error))?,
                None => self.call(scan).await?,
            };
            if !keys.is_empty() {
                // One by one: on a cluster they lie in many slots.
                let unlink = |key: String| cmd("UNLINK").key(key).into();
                let answers = self.pipeline(keys.into_iter().map(unlink).collect()).await?;
                removed += answers.iter().filter(|answer| matches!(answer, Value::Integer(1))).count() as u64;
            }
            if next == "0" {
                return Ok(removed);
            }
            cursor = next;
        }
    }

    /// The URLs of a cluster's masters; none for a single server.
    async fn masters(&self) -> Result<Vec<String>, Unreachable> {
        if !self.url().contains("cluster://") {
            return Ok(Vec::new());
        }
        let nodes: String = self.call(cmd("CLUSTER").arg("NODES")).await?;
        let address = |line: &str| {
            let mut words = line.split(' ');
            let (_, address, flags) = (words.next()?, words.next()?, words.next()?);
            let address = address.split('@').next()?;
            flags.split(',').any(|flag| flag == "master").then(|| format!("redis://{address}"))
        };
        Ok(nodes.lines().filter_map(address).collect())
    }
}
