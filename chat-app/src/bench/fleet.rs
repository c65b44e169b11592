//! Servers of the application in this process, for an experiment.

use std::sync::Arc;
use std::time::Duration;

use super::{Context, Target};
use crate::app::App;
use crate::client::Client;
use crate::options::{Options, without_password};
use crate::random;
use crate::store::Store;
use crate::web;

/// Servers that share a cache and a database.
pub struct Fleet {
    /// The servers.
    pub apps: Vec<Arc<App>>,
    /// Where they listen.
    pub hosts: Vec<String>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// Caches that were started for them.
    _embedded: Vec<larder::Server>,
}

impl Fleet {
    /// Starts servers; `change` sets what the experiment is about.
    pub async fn start(
        context: &Context,
        target: &Target,
        count: usize,
        change: impl Fn(&mut Options),
    ) -> Result<Self, String> {
        let mut embedded = Vec::new();
        let url = match &target.url {
            Some(url) => url.clone(),
            None => {
                let server = larder::Server::builder().option("bind", "127.0.0.1").start();
                let server = server.map_err(|error| error.to_string())?;
                let address = server.address().ok_or("Larder listens nowhere")?;
                embedded.push(server);
                format!("redis://{address}")
            }
        };
        let mut options = Options {
            redis_url: vec![url.clone()],
            state_url: Some(url),
            prefix: format!("{}{}:", context.prefix, &random::token()[..8]),
            secret: Some(random::token()),
            limit: 1_000_000_000,
            write_limit: 1_000_000_000,
            sign_in_limit: 0,
            // A machine that also makes the load is slower than a server.
            cache_timeout_ms: 2_000,
            ..context.options.clone()
        };
        change(&mut options);
        let mut fleet = Self { apps: Vec::new(), hosts: Vec::new(), tasks: Vec::new(), _embedded: embedded };
        for _ in 0..count {
            let app = App::start(options.clone()).await?;
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
            fleet.hosts.push(listener.local_addr().map_err(|error| error.to_string())?.to_string());
            let serving = app.clone();
            fleet.tasks.push(tokio::spawn(async move {
                // It ends with the experiment.
                let _ = web::serve(serving, listener, std::future::pending()).await;
            }));
            app.shards.wait_connected(Duration::from_secs(5)).await;
            if !app.state.wait_connected(Duration::from_secs(5)).await {
                return Err(format!("{} cannot be reached", without_password(app.state.url())));
            }
            fleet.apps.push(app);
        }
        // Subscriptions are trusted only after their first heartbeat.
        tokio::time::sleep(Duration::from_millis(400)).await;
        Ok(fleet)
    }

    /// Connections of one user, spread over the servers.
    pub async fn clients(&self, count: usize) -> Result<Vec<Client>, String> {
        let first = Client::new(&self.hosts[0]);
        first.sign_in("Bench").await?;
        let cookie = first.cookie();
        Ok((0..count).map(|number| Client::with_cookie(&self.hosts[number % self.hosts.len()], &cookie)).collect())
    }

    /// A sum over the servers.
    pub fn sum(&self, count: impl Fn(&App) -> u64) -> u64 {
        self.apps.iter().map(|app| count(app)).sum()
    }

    /// Ends the servers and removes their keys.
    pub async fn end(self) -> Result<(), String> {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        let stores: Vec<Store> = self.apps.iter().flat_map(|app| app.stores()).cloned().collect();
        self.apps.iter().for_each(|app| app.stop());
        drop(self.apps);
        // What was under way when they were stopped.
        tokio::time::sleep(Duration::from_millis(200)).await;
        for store in stores {
            store.unlink_pattern("*").await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
