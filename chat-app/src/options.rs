//! The options of the program. Each choice about caching is one of them.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The database of the application when there is no other.
pub const OWN_DATABASE: &str = "sqlite://chat-app-data/chat.db";
/// The shortest key that signs sessions.
const SECRET_BYTES: usize = 16;

/// A chat that shows what a cache does.
#[derive(Debug, Clone, Parser)]
#[command(name = "chat-app", version, args_override_self = true)]
pub struct Cli {
    /// How the application runs.
    #[command(flatten)]
    pub options: Options,
    /// Something else than serving.
    #[command(subcommand)]
    pub command: Option<Task>,
}

/// What the program can do besides serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Task {
    /// Fills the database and ends.
    Seed,
    /// Puts a post into everybody's feed, when the trending ones are computed next.
    Promote {
        /// Its id.
        post: i64,
        /// No longer.
        #[arg(long)]
        off: bool,
    },
    /// Measures what caching does, with progress, tables, CSV and SVG.
    Bench(crate::bench::Bench),
}

/// How the application runs.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Where to listen.
    #[arg(long, global = true, default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// The cache; several times for several shards: redis://, redis-sentinel://, redis-cluster://. One is started in this
    /// process when there is none.
    #[arg(long, global = true)]
    pub redis_url: Vec<String>,
    /// The server of locks, limits, sessions and queues, which must not evict. One is started in this process when there is
    /// none.
    #[arg(long, global = true)]
    pub state_url: Option<String>,
    /// sqlite://path or postgres://user:password@host/name.
    #[arg(long, global = true, default_value = OWN_DATABASE)]
    pub database_url: String,
    /// Signs sessions, of at least 16 bytes; the same for all servers. By chance when there is none, and sessions end with
    /// the process.
    #[arg(long, global = true, env = "CHAT_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// Messages that the database holds at least.
    #[arg(long, global = true, default_value_t = 20_000)]
    pub seed: usize,
    /// Stands before all keys and channels in caches and state server.
    #[arg(long, global = true, default_value = "")]
    pub prefix: String,

    /// Who reads the database, and what a write does to the cache.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub strategy: StrategyName,
    /// How cached pages become stale.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub invalidation: InvalidationName,
    /// Whether there is a cache in this process, and how it hears of what other servers write.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub l1: L1Name,
    /// The size of the cache in this process.
    #[arg(long, global = true, default_value_t = 64 << 20)]
    pub l1_bytes: u64,
    /// The longest that the cache in this process keeps a value.
    #[arg(long, global = true, default_value_t = 5_000)]
    pub l1_ms: u64,
    /// What guards against stampedes.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub guard: GuardName,
    /// How long the lock of a stampede guard lives, and the longest that anybody waits for it.
    #[arg(long, global = true, default_value_t = 5_000)]
    pub lock_ms: u64,
    /// How long values live.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub ttl: TtlName,
    /// The time to live of `--ttl fixed`.
    #[arg(long, global = true, default_value_t = 60_000)]
    pub ttl_ms: u64,
    /// Values from this size on are compressed; 0: none are.
    #[arg(long, global = true, default_value_t = 1_024)]
    pub compress_from: usize,
    /// The longest that messages may take to change the order of the list of rooms.
    #[arg(long, global = true, default_value_t = 5_000)]
    pub room_order_ms: u64,
    /// Popular rooms whose pages are read at the start.
    #[arg(long, global = true, default_value_t = 0)]
    pub warm: usize,

    /// The most followers that a post is pushed to; posts of authors with more are merged when somebody reads.
    #[arg(long, global = true, default_value_t = 1_000)]
    pub fanout_limit: i64,
    /// How often it is computed what is trending.
    #[arg(long, global = true, default_value_t = 300_000)]
    pub trending_ms: u64,

    /// How users are limited.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub limiter: LimiterName,
    /// Messages and posts of one user in a window.
    #[arg(long, global = true, default_value_t = 10)]
    pub limit: u64,
    /// Other changes of one user in a window: edits, deletions, reactions, likes, follows, rooms.
    #[arg(long, global = true, default_value_t = 60)]
    pub write_limit: u64,
    /// Sign-ins from one address in a window (of IPv6: from one /64); 0: no limit. Behind a proxy all come from its address.
    #[arg(long, global = true, default_value_t = 100)]
    pub sign_in_limit: u64,
    /// The window.
    #[arg(long, global = true, default_value_t = 60_000)]
    pub limit_window_ms: u64,
    /// What happens to changes when the state server cannot count them.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub limiter_down: DownName,

    /// The longest that a request waits for the cache.
    #[arg(long, global = true, default_value_t = 50)]
    pub cache_timeout_ms: u64,
    /// Reads of the database at the same time.
    #[arg(long, global = true, default_value_t = 16)]
    pub db_reads: usize,
    /// Connections to the database.
    #[arg(long, global = true, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub db_connections: u32,
    /// Waits before each read of the database: a stand-in for a distant one, for measurements only.
    #[arg(long = "db-delay", alias = "db-delay-ms", global = true, default_value = "0ms", value_parser = milliseconds)]
    pub db_delay_ms: u64,
    /// What a million queries of the database cost, for the dashboard.
    #[arg(long, global = true, default_value_t = 1.0)]
    pub query_cost: f64,
    /// How often the database is looked at for messages that nobody told of.
    #[arg(long, global = true, default_value_t = 1_000)]
    pub poll_ms: u64,

    /// `maxmemory` of the cache in this process.
    #[arg(long, global = true, default_value = "64mb")]
    pub cache_memory: String,
    /// `maxmemory-policy` of the cache in this process.
    #[arg(long, global = true, default_value = "allkeys-lru")]
    pub cache_policy: String,
}

impl Options {
    /// The options without any argument.
    pub fn standard() -> Self {
        Cli::parse_from(["chat-app"]).options
    }

    /// Refuses what cannot work or is not safe.
    ///
    /// # Errors
    /// Which option, and why.
    pub fn check(&self) -> Result<(), String> {
        match &self.secret {
            Some(secret) if secret.len() < SECRET_BYTES => Err(format!(
                "--secret has {} bytes and takes at least {SECRET_BYTES}: whoever guesses it can sign in as anybody",
                secret.len()
            )),
            _ => Ok(()),
        }
    }

    /// The longest that a request waits for the cache.
    pub fn cache_timeout(&self) -> Duration {
        Duration::from_millis(self.cache_timeout_ms)
    }
}

/// See [`crate::strategy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum StrategyName {
    /// The application looks, loads and fills.
    #[default]
    CacheAside,
    /// The cache loads by itself.
    ReadThrough,
    /// Writes store the new pages.
    WriteThrough,
    /// Writes are queued, and get into the database later.
    WriteBehind,
    /// A cache in each process and nothing else.
    Local,
    /// No cache.
    None,
}

/// See [`crate::cache::invalidation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum InvalidationName {
    /// Not at all.
    Ttl,
    /// By a version per room.
    #[default]
    Version,
    /// By looking for keys.
    Pattern,
}

/// See [`crate::cache::l1`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum L1Name {
    /// There is none.
    Off,
    /// It does not hear of other servers' writes.
    Ttl,
    /// By messages on `cache:invalidate`.
    #[default]
    Pubsub,
    /// By RESP3 client tracking.
    Tracking,
}

/// See [`crate::cache::guard`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum GuardName {
    /// None.
    None,
    /// One reads for all.
    #[default]
    Lock,
    /// Refreshed by chance before the end.
    Early,
    /// The old value while it is refreshed.
    Stale,
}

/// See [`crate::cache::ttl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum TtlName {
    /// By what it is.
    #[default]
    Kind,
    /// Half the average time between updates.
    HalfGap,
    /// Above ten messages a minute 30 s, else 300 s.
    Rate,
    /// Above a hundred messages an hour 30 s, else 600 s.
    HotCold,
    /// Above a hundred messages an hour 30 s, else not cached.
    HotOnly,
    /// The same for everything.
    Fixed,
}

/// See [`crate::limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LimiterName {
    /// Fixed windows.
    Fixed,
    /// A sliding window.
    #[default]
    Sliding,
}

/// What happens when nobody can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum DownName {
    /// They are let through.
    #[default]
    Open,
    /// They are refused.
    Closed,
}

/// A URL as it may be shown: without the password before its host, nor those among its parameters.
pub fn without_password(url: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    // A password may hold any character, `@` among them.
    let base = match base.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'))) {
        Some((scheme, Some((who, host)))) if scheme != "sqlite" => {
            let user = who.split_once(':').map_or_else(|| who.to_owned(), |(user, _)| format!("{user}:***"));
            format!("{scheme}://{user}@{host}")
        }
        _ => base.to_owned(),
    };
    let parameter = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if name.to_lowercase().contains("pass") => format!("{name}=***"),
        _ => pair.to_owned(),
    };
    match query {
        Some(query) => format!("{base}?{}", query.split('&').map(parameter).collect::<Vec<_>>().join("&")),
        None => base,
    }
}

/// A time as `20ms`, `1s`, or a number of milliseconds.
fn milliseconds(text: &str) -> Result<u64, String> {
    let (digits, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 1_000),
        (None, None) => (text, 1),
    };
    let number: Option<u64> = digits.parse().ok();
    number.and_then(|number| number.checked_mul(unit)).ok_or_else(|| "a time is given as 20ms or 1s".into())
}

#[cfg(test)]
mod tests {
    use super::{Options, milliseconds, without_password};

    #[test]
    fn what_is_shown_of_a_url_holds_no_password() {
        for (url, shown) in [
            ("postgres://chat:s3cret@db/chat", "postgres://chat:***@db/chat"),
            ("postgres://chat@db/chat?password=s3cret&sslmode=off", "postgres://chat@db/chat?password=***&sslmode=off"),
            ("redis://:s3c@/ret@10.0.0.5:6379/1", "redis://:***@10.0.0.5:6379/1"),
            (
                "redis-sentinel://u:s3cret@a:1,b:2/m?sentinel_password=s3cret",
                "redis-sentinel://u:***@a:1,b:2/m?sentinel_password=***",
            ),
            ("sqlite://a:b@c/chat.db?mode=rwc", "sqlite://a:b@c/chat.db?mode=rwc"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn times_have_units() {
        for (text, expected) in [("20ms", Some(20)), ("2s", Some(2_000)), ("7", Some(7)), ("0ms", Some(0))] {
            assert_eq!(milliseconds(text).ok(), expected, "{text}");
        }
        for text in ["", "ms", "-1ms", "1m", "20 ms", "18446744073709551615s"] {
            assert!(milliseconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        for (secret, is_taken) in
            [(None, true), (Some(""), false), (Some("fifteen letters"), false), (Some("sixteen letters!"), true)]
        {
            let options = Options { secret: secret.map(str::to_owned), ..Options::standard() };
            assert_eq!(options.check().is_ok(), is_taken, "{secret:?}");
        }
    }
}
