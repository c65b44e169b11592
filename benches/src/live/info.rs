//! What a server tells of itself in INFO.

use std::collections::HashMap;
use std::io;

use super::client::Client;

/// The facts of INFO.
#[derive(Clone, Debug, Default)]
pub struct Info(HashMap<String, String>);

impl Info {
    /// Asks a server.
    ///
    /// # Errors
    /// It does not answer.
    pub fn of(client: &mut Client) -> io::Result<Self> {
        let reply = client.call(&[b"INFO"])?;
        Ok(Self::parse(reply.as_str().unwrap_or_default()))
    }

    fn parse(text: &str) -> Self {
        let facts = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        Self(facts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// A fact; empty where the server does not tell it.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A number; 0 where the server does not tell it.
    pub fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// Seconds of processor time so far.
    pub fn cpu_seconds(&self) -> f64 {
        ["used_cpu_user", "used_cpu_sys"].iter().filter_map(|name| self.text(name).parse::<f64>().ok()).sum()
    }

    /// Keys in all databases.
    pub fn keys(&self) -> u64 {
        let databases =
            self.0.iter().filter(|(name, _)| name.strip_prefix("db").is_some_and(|rest| rest.parse::<u32>().is_ok()));
        let keys =
            databases.filter_map(|(_, value)| value.strip_prefix("keys=")?.split(',').next()?.parse::<u64>().ok());
        keys.sum()
    }

    /// The server's name and version.
    pub fn server(&self) -> String {
        for (name, version) in [("larder", "larder_version"), ("valkey", "valkey_version"), ("redis", "redis_version")]
        {
            if !self.text(version).is_empty() {
                return format!("{name}-{}", self.text(version));
            }
        }
        "server".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_found() {
        let info = Info::parse(
            "# Server\r\nredis_version:7.0.15\r\n# CPU\r\nused_cpu_sys:1.5\r\nused_cpu_user:2.25\r\n# Keyspace\r\ndb0:keys=10,expires=0\r\ndb3:keys=5,expires=1\r\n",
        );
        assert_eq!((info.keys(), info.cpu_seconds(), info.number("evicted_keys")), (15, 3.75, 0));
        assert_eq!(info.server(), "redis-7.0.15");
        assert_eq!(Info::parse("redis_version:7.2.4\nvalkey_version:8.0.1\n").server(), "valkey-8.0.1");
    }
}
