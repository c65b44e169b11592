//! The masters of a cluster, each by itself, for what no client can ask all of them at once: SCAN and INFO.

use std::time::Duration;

use rustis::client::Client;
use rustis::resp::cmd;

use super::{CONNECT, Store, Unreachable, config, sort_out};

/// Connections to the masters that there were last, by their URLs.
pub type Nodes = tokio::sync::Mutex<Vec<(String, Client)>>;

impl Store {
    /// Connections to a cluster's masters, the same as before while the cluster stays as it is; none for a single server.
    pub(super) async fn masters(&self) -> Result<Vec<Client>, Unreachable> {
        if !self.url().contains("cluster://") {
            return Ok(Vec::new());
        }
        let nodes: String = self.call(cmd("CLUSTER").arg("NODES")).await?;
        let mut known = self.shared.nodes.lock().await;
        let mut masters = Vec::new();
        for url in nodes.lines().filter_map(|line| master_url(self.url(), line)) {
            let client = match known.iter().find(|(known, _)| *known == url) {
                Some((_, client)) => client.clone(),
                None => in_time(CONNECT, async { Client::connect(config(&url)?).await }).await?,
            };
            masters.push((url, client));
        }
        (*known).clone_from(&masters);
        Ok(masters.into_iter().map(|(_, client)| client).collect())
    }

    /// What INFO says, of each master.
    ///
    /// # Errors
    /// Why one of them does not answer.
    pub async fn infos(&self) -> Result<Vec<String>, Unreachable> {
        let info = || cmd("INFO").arg("everything");
        let masters = self.masters().await?;
        if masters.is_empty() {
            return Ok(vec![self.call(info()).await?]);
        }
        let mut infos = Vec::new();
        for master in masters {
            infos.push(in_time(self.shared.options.timeout, master.send(info(), Some(false))).await?);
        }
        Ok(infos)
    }
}

/// The URL of the node that a line of CLUSTER NODES tells of, if it is a master: that of the cluster with another address.
fn master_url(cluster: &str, line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let (_, address, flags) = (words.next()?, words.next()?, words.next()?);
    let address = address.split('@').next()?;
    let (_, rest) = cluster.split_once("://")?;
    let who = rest.split('?').next()?.rsplit_once('@').map_or_else(String::new, |(who, _)| format!("{who}@"));
    flags.split(',').any(|flag| flag == "master").then(|| format!("redis://{who}{address}"))
}

/// What a client says, if it says it in time.
pub(super) async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = rustis::Result<T>>,
) -> Result<T, Unreachable> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome.map_err(|error| sort_out(&error)),
        Err(_) => Err(Unreachable::Timeout),
    }
}

#[cfg(test)]
mod tests {
    use super::master_url;

    #[test]
    fn masters_are_asked_as_the_user_of_the_cluster() {
        let master = "07c3 10.0.0.5:7000@17000,host myself,master - 0 0 1 connected 0-5460";
        let url = |cluster: &str| master_url(cluster, master);
        assert_eq!(url("redis-cluster://n1:7000,n2:7000").as_deref(), Some("redis://10.0.0.5:7000"));
        let who = "redis-cluster://chat:s3c@ret@n1:7000,n2:7000?x=y@z";
        assert_eq!(url(who).as_deref(), Some("redis://chat:s3c@ret@10.0.0.5:7000"));
        assert_eq!(master_url("redis-cluster://n1", "8a1f 10.0.0.6:7001@17001 slave 07c3 0 0 1 connected"), None);
    }
}
