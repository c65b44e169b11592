//! One server of the application: its parts, put together as the options say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};

use crate::cache::entry::Compression;
use crate::cache::flight::Flights;
use crate::cache::guard::{Early, Guard, Lock, NoGuard, Stale};
use crate::cache::invalidation::{ByPattern, ByTtl, ByVersion, CHANNEL, Invalidation, LIVE, Notice, POSTS, REVOKED};
use crate::cache::l1::L1;
use crate::cache::layers::{Changes, L1Mode, Layers};
use crate::cache::ttl::{ByKind, ByRate, Fixed, HalfTheGap, HotAndCold, Rates, Ttl};
use crate::clock::Clock;
use crate::db::Db;
use crate::db::source::{Database, Source};
use crate::feed::{Feeds, Moments};
use crate::ids::Ids;
use crate::keys::Group;
use crate::limit::fixed::FixedWindow;
use crate::limit::sliding::SlidingWindow;
use crate::limit::{Limiter, Rule};
use crate::live::{self, Event, Hub, Poller};
use crate::metrics::Metrics;
use crate::options::{GuardName, InvalidationName, L1Name, LimiterName, Options, StrategyName, TtlName};
use crate::overview::{self, History};
use crate::room_order::RoomOrder;
use crate::session::Sessions;
use crate::store::shards::Shards;
use crate::store::subscribe::{self, Signal, Topic, Trust};
use crate::store::{Store, StoreOptions};
use crate::strategy::Strategy;
use crate::strategy::cache_aside::CacheAside;
use crate::strategy::local::Local;
use crate::strategy::none::NoCache;
use crate::strategy::read_through::{LoadingCache, ReadThrough};
use crate::strategy::write_behind::WriteBehind;
use crate::strategy::write_through::WriteThrough;
use crate::{random, strategy};

/// How long a server that ends may take to empty its queue.
const FINISH: Duration = Duration::from_secs(30);

/// One server of the application.
pub struct App {
    /// How it runs.
    pub options: Options,
    /// The time.
    pub clock: Clock,
    /// This server's number.
    pub node: i64,
    /// Gives ids.
    pub ids: Ids,
    /// The truth.
    pub db: Db,
    /// The caches.
    pub shards: Shards,
    /// Where locks, limits and sessions are.
    pub state: Store,
    /// The layers of the cache.
    pub layers: Arc<Layers>,
    /// How they are used.
    pub strategy: Arc<dyn Strategy>,
    /// Who may send messages and posts.
    pub limiter: Arc<dyn Limiter>,
    /// Who may make other changes.
    pub write_limiter: Arc<dyn Limiter>,
    /// Who may sign in.
    pub sign_in_limiter: Arc<dyn Limiter>,
    /// Who is signed in.
    pub sessions: Sessions,
    /// The feeds.
    pub feeds: Arc<Feeds>,
    /// Who listens.
    pub hub: Arc<Hub>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How often rooms are updated.
    pub rates: Arc<Rates>,
    /// Whether the list of rooms is in the order of what was said.
    pub room_order: Arc<RoomOrder>,
    /// What all servers did lately.
    pub history: History,
    /// When it was started.
    pub started: Instant,
    /// What it does in the background.
    tasks: Mutex<Vec<tokio::task::AbortHandle>>,
    /// Servers in this process, which end with it.
    _embedded: Vec<larder::Server>,
}

/// What tests put in the place of the usual parts.
#[derive(Default)]
pub struct Parts {
    /// The time.
    pub clock: Option<Clock>,
    /// Stands before the database.
    pub source: Option<WrapSource>,
}

/// Makes another source of a source.
pub type WrapSource = Box<dyn FnOnce(Arc<dyn Source>) -> Arc<dyn Source> + Send>;

impl App {
    /// Starts one server.
    ///
    /// # Errors
    /// What does not make sense in the options, and a database that does not answer.
    pub async fn start(options: Options) -> Result<Arc<Self>, String> {
        Self::with(options, Parts::default()).await
    }

    /// Starts one server with parts of one's own.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn with(options: Options, parts: Parts) -> Result<Arc<Self>, String> {
        options.check()?;
        let clock = parts.clock.unwrap_or_else(Clock::system);
        let (stores, state, embedded) = connect(&options)?;
        let shards = Shards::new(stores);
        let db = Db::open(&options.database_url, options.db_connections).await?;
        db.seed(options.seed, clock.now_ms()).await.map_err(|error| error.to_string())?;
        let node = db.next_node().await.map_err(|error| error.to_string())?;
        let metrics = Arc::new(Metrics::default());
        let database: Arc<dyn Source> = Arc::new(Database {
            db: db.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            permits: Semaphore::new(options.db_reads.max(1)),
            delay: Duration::from_millis(options.db_delay_ms),
        });
        let source = match parts.source {
            Some(wrap) => wrap(database),
            None => database,
        };
        let rates = Arc::new(Rates::new(clock.clone()));
        let hub = Arc::new(Hub::new(clock.clone(), rates.clone()));
        let (l1, signals) = l1(&options, &shards);
        let layers = Arc::new(layers(&options, &clock, &metrics, &rates, &shards, &state, l1));
        let strategy = strategy(&options, layers.clone(), source, db.clone(), &state);
        let fanout_limit = options.fanout_limit.max(0);
        let feeds = Arc::new(feeds(&db, &shards, &layers, &state, &clock, &metrics, fanout_limit));
        let secret = options.secret.clone().map_or_else(|| random::secret_bytes::<32>().to_vec(), String::into_bytes);
        let app = Arc::new(Self {
            ids: Ids::new(clock.clone(), node),
            limiter: limiter(&options, "", options.limit, &state, &clock),
            write_limiter: limiter(&options, "write:", options.write_limit, &state, &clock),
            sign_in_limiter: limiter(&options, "sign-in:", options.sign_in_limit, &state, &clock),
            sessions: Sessions { secret, db: db.clone(), state: state.clone(), clock: clock.clone() },
            options,
            clock,
            node,
            db,
            shards,
            state,
            layers,
            strategy,
            feeds,
            hub,
            metrics,
            rates,
            room_order: Arc::default(),
            history: History::default(),
            started: Instant::now(),
            tasks: Mutex::default(),
            _embedded: embedded,
        });
        if app.may_lose_queue() {
            tracing::warn!("the write-behind queue is in this process: a crash loses what is not in the database yet");
        }
        app.start_tasks(signals);
        app.warm().await?;
        Ok(app)
    }

    fn start_tasks(self: &Arc<Self>, signals: mpsc::UnboundedReceiver<Signal>) {
        let poller = Poller {
            db: self.db.clone(),
            hub: self.hub.clone(),
            layers: self.layers.clone(),
            strategy: self.strategy.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
        };
        let every = Duration::from_millis(self.options.trending_ms.max(1_000));
        let order_every = Duration::from_millis(self.options.room_order_ms.max(100));
        let tasks = [
            tokio::spawn(poller.run(Duration::from_millis(self.options.poll_ms))),
            tokio::spawn(live::catch_up(self.layers.clone(), self.feeds.clone())),
            tokio::spawn(self.feeds.clone().compute_trending(every)),
            tokio::spawn(hear(signals, self.layers.clone(), self.feeds.clone(), self.hub.clone(), self.node)),
            tokio::spawn(self.feeds.clone().watch(Duration::from_millis(self.options.poll_ms))),
            tokio::spawn(self.room_order.clone().follow(self.strategy.clone(), order_every)),
            tokio::spawn(overview::watch(Arc::downgrade(self))),
            tokio::spawn(keep_time(self.clock.clone(), self.state.clone())),
        ];
        self.tasks.lock().extend(tasks.iter().map(tokio::task::JoinHandle::abort_handle));
    }

    /// Brings what is queued into the database, for as long as [`FINISH`].
    ///
    /// # Errors
    /// Why some of it stays where it is.
    pub async fn finish(&self) -> Result<(), String> {
        match tokio::time::timeout(FINISH, self.strategy.finish()).await {
            Ok(result) => result.map_err(|error| format!("messages stay in the queue: {error}")),
            Err(_) => Err(format!("messages stay in the queue: not done in {} s", FINISH.as_secs())),
        }
    }

    /// Whether what is queued ends with this process.
    pub fn may_lose_queue(&self) -> bool {
        self.options.strategy == StrategyName::WriteBehind && self.options.state_url.is_none()
    }

    /// Ends what it does in the background; for several servers one after the other in one process.
    pub fn stop(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }

    async fn warm(&self) -> Result<(), String> {
        let patience = Duration::from_millis(if self.options.warm > 0 { 1_000 } else { 200 });
        self.shards.wait_connected(patience).await;
        live::make_good(&self.layers, &self.feeds).await;
        let pages = strategy::warm::warm(&self.strategy, &self.db, self.options.warm).await;
        let pages = pages.map_err(|error| error.to_string())?;
        tracing::info!(node = self.node, strategy = self.strategy.name(), pages, "ready");
        Ok(())
    }

    /// Failed requests to caches and state server.
    pub fn cache_errors(&self) -> u64 {
        self.stores().map(|store| store.metrics().errors.get()).sum()
    }

    /// All servers that speak RESP.
    pub fn stores(&self) -> impl Iterator<Item = &Store> {
        self.shards.all().iter().chain(std::iter::once(&self.state))
    }

    /// The text in which servers tell each other of a message.
    pub fn event(&self, message: &crate::model::Message) -> String {
        serde_json::to_string(&Event { node: self.node, message: message.clone() }).unwrap_or_default()
    }
}

type Connected = (Vec<Store>, Store, Vec<larder::Server>);

/// The caches and the state server; starts those that no option names.
fn connect(options: &Options) -> Result<Connected, String> {
    let usual =
        StoreOptions { timeout: options.cache_timeout(), prefix: options.prefix.clone(), ..StoreOptions::default() };
    let mut embedded = Vec::new();
    let mut urls = options.redis_url.clone();
    if urls.is_empty() {
        let cache = [("maxmemory", options.cache_memory.as_str()), ("maxmemory-policy", options.cache_policy.as_str())];
        urls.push(embed(&cache, &mut embedded)?);
    }
    let state = match &options.state_url {
        Some(url) => url.clone(),
        None => embed(&[("maxmemory-policy", "noeviction")], &mut embedded)?,
    };
    let name = |index: usize| if urls.len() == 1 { "cache".to_owned() } else { format!("cache-{}", index + 1) };
    let stores = urls.iter().enumerate().map(|(index, url)| Store::new(&name(index), url, usual.clone()));
    let stores = stores.collect::<Result<Vec<_>, _>>()?;
    Ok((stores, Store::new("state", &state, usual)?, embedded))
}

/// Starts Larder in this process, on a free port of this machine alone.
fn embed(options: &[(&str, &str)], embedded: &mut Vec<larder::Server>) -> Result<String, String> {
    let mut builder = larder::Server::builder().option("bind", "127.0.0.1");
    for (name, value) in options {
        builder = builder.option(name, value);
    }
    let server = builder.start().map_err(|error| format!("starting Larder: {error}"))?;
    let address = server.address().ok_or("Larder listens nowhere")?;
    embedded.push(server);
    Ok(format!("redis://{address}"))
}

/// L1 and what it and the readers hear from other servers.
fn l1(options: &Options, shards: &Shards) -> (L1Mode, mpsc::UnboundedReceiver<Signal>) {
    let (sink, signals) = mpsc::unbounded_channel();
    let listen = |topic: &Topic| -> Vec<Trust> {
        shards.all().iter().map(|store| subscribe::listen(store.clone(), topic.clone(), sink.clone())).collect()
    };
    let messages = listen(&Topic::Channels(vec![CHANNEL, LIVE, POSTS, REVOKED]));
    let l1 = L1::new(options.l1_bytes);
    let mode = match (options.strategy, options.l1) {
        (StrategyName::Local, _) => L1Mode::Alone(l1),
        (StrategyName::None, _) | (_, L1Name::Off) => L1Mode::Off,
        (_, L1Name::Ttl) => L1Mode::Alone(l1),
        (_, L1Name::Pubsub) => L1Mode::Connected(l1, messages),
        (_, L1Name::Tracking) => L1Mode::Connected(l1, listen(&Topic::Keys("version:"))),
    };
    (mode, signals)
}

fn layers(
    options: &Options,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    rates: &Arc<Rates>,
    shards: &Shards,
    state: &Store,
    l1: L1Mode,
) -> Layers {
    let is_local = options.strategy == StrategyName::Local;
    let ttl: Arc<dyn Ttl> = match options.ttl {
        TtlName::Kind => Arc::new(ByKind),
        TtlName::HalfGap => Arc::new(HalfTheGap(rates.clone())),
        TtlName::Rate => Arc::new(ByRate(rates.clone())),
        TtlName::HotCold => Arc::new(HotAndCold { rates: rates.clone(), caches_cold: true }),
        TtlName::HotOnly => Arc::new(HotAndCold { rates: rates.clone(), caches_cold: false }),
        TtlName::Fixed => Arc::new(Fixed(Duration::from_millis(options.ttl_ms))),
    };
    let guard: Arc<dyn Guard> = match options.guard {
        GuardName::None => Arc::new(NoGuard),
        GuardName::Lock => Arc::new(Lock),
        GuardName::Early => Arc::new(Early { beta: 1.0 }),
        GuardName::Stale => Arc::new(Stale),
    };
    let invalidation: Arc<dyn Invalidation> = match options.invalidation {
        InvalidationName::Ttl => Arc::new(ByTtl),
        InvalidationName::Version => Arc::new(ByVersion),
        InvalidationName::Pattern => Arc::new(ByPattern),
    };
    let l1_life = if is_local { Duration::from_secs(3_600) } else { Duration::from_millis(options.l1_ms) };
    Layers {
        shards: (!is_local).then(|| shards.clone()),
        l1,
        l1_life,
        ttl,
        guard,
        invalidation,
        compression: Compression { from_bytes: (options.compress_from > 0).then_some(options.compress_from) },
        lock_store: state.clone(),
        lock_life: Duration::from_millis(options.lock_ms),
        clock: clock.clone(),
        metrics: metrics.clone(),
        flights: Flights::new(),
        changes: Changes::default(),
        pending: Mutex::default(),
    }
}

fn strategy(
    options: &Options,
    layers: Arc<Layers>,
    source: Arc<dyn Source>,
    db: Db,
    state: &Store,
) -> Arc<dyn Strategy> {
    let aside = CacheAside { layers: layers.clone(), source: source.clone(), db: db.clone() };
    match options.strategy {
        StrategyName::CacheAside => Arc::new(aside),
        StrategyName::ReadThrough => Arc::new(ReadThrough { cache: LoadingCache::new(layers, source), db }),
        StrategyName::WriteThrough => Arc::new(WriteThrough(aside)),
        StrategyName::WriteBehind => Arc::new(WriteBehind::new(aside, state.clone())),
        StrategyName::Local => Arc::new(Local(aside)),
        StrategyName::None => Arc::new(NoCache(aside)),
    }
}

fn feeds(
    db: &Db,
    shards: &Shards,
    layers: &Arc<Layers>,
    state: &Store,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    fanout_limit: i64,
) -> Feeds {
    Feeds {
        db: db.clone(),
        shards: shards.clone(),
        layers: layers.clone(),
        state: state.clone(),
        clock: clock.clone(),
        metrics: metrics.clone(),
        fanout_limit,
        building: Flights::new(),
        counting: Flights::new(),
        moments: Moments::default(),
        settled: Mutex::default(),
        broken: Mutex::default(),
        computed: Mutex::default(),
    }
}

fn limiter(options: &Options, what: &'static str, most: u64, state: &Store, clock: &Clock) -> Arc<dyn Limiter> {
    let rule = Rule { most, window: Duration::from_millis(options.limit_window_ms) };
    let (store, clock) = (state.clone(), clock.clone());
    match options.limiter {
        LimiterName::Fixed => Arc::new(FixedWindow { store, clock, rule, what }),
        LimiterName::Sliding => Arc::new(SlidingWindow { store, clock, rule, what }),
    }
}

/// Does what other servers say.
async fn hear(
    mut signals: mpsc::UnboundedReceiver<Signal>,
    layers: Arc<Layers>,
    feeds: Arc<Feeds>,
    hub: Arc<Hub>,
    node: i64,
) {
    while let Some(signal) = signals.recv().await {
        match signal {
            Signal::Lost => layers.clear_l1(),
            Signal::Changed(keys) if keys.is_empty() => layers.clear_l1(),
            Signal::Changed(keys) => {
                keys.iter().filter_map(|key| Group::of_version_key(key)).for_each(|group| layers.drop_from_l1(&group));
            }
            Signal::Message { channel, payload } if channel == CHANNEL => match Notice::parse(&payload) {
                Notice::Stale(Some(group)) => layers.drop_from_l1(&group),
                Notice::Stale(None) => layers.clear_l1(),
                Notice::Distrust(group) => layers.distrust(&group),
            },
            Signal::Message { channel, payload } if channel == POSTS => feeds.heard(&payload),
            Signal::Message { channel, payload } if channel == REVOKED => hub.revoke(&payload),
            Signal::Message { payload, .. } => match serde_json::from_str::<Event>(&payload) {
                Ok(event) if event.node != node => {
                    hub.tell(&event.message);
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "a message that is none of ours"),
            },
        }
    }
}

/// Keeps the clock of the limits in step with the state server's.
async fn keep_time(clock: Clock, state: Store) {
    state.wait_connected(Duration::from_secs(60)).await;
    loop {
        let asked_ms = clock.now_ms();
        if let Ok((seconds, micros)) = state.call::<(i64, i64)>(rustis::resp::cmd("TIME")).await {
            clock.correct(seconds * 1_000 + micros / 1_000, asked_ms, clock.now_ms());
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}
