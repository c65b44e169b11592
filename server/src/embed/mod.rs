//! Servers inside a program: [`Server::builder`] makes one, with sockets or without.

mod connection;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use larder_storage::clock::Clock;
use larder_storage::hasher::random_seed;

use crate::acl::Acl;
use crate::config::{Config, LoadError};
use crate::effects::{Group, Recorder};
use crate::engine::Engine;
use crate::upkeep::Budget;
use crate::{background, net};

pub use connection::Connection;

/// Settings of a server to be made; see [`Server::builder`].
///
/// ```
/// // `build` makes one without sockets and threads, `start` one that listens.
/// let server = larder::Server::builder().option("maxmemory", "10mb").seed(1).build();
/// assert!(server.is_ok());
/// assert!(larder::Server::builder().option("maxmemory", "much").build().is_err());
/// assert!(larder::Server::builder().option("nosuchoption", "1").start().is_err());
/// ```
#[derive(Default)]
pub struct Builder {
    config: Option<Config>,
    options: Vec<(String, Vec<Vec<u8>>)>,
    clock: Option<Clock>,
    seed: Option<u64>,
    recorder: Option<Recorder>,
}

impl Builder {
    /// Sets an option of `docs/options.md` to a value, which is one word and taken exactly as it is, blanks and quotes
    /// included. Without `port`, or with port 0, a free one is chosen; an empty `bind` listens on no port. A name that
    /// does not exist is an error of [`Builder::build`] and [`Builder::start`].
    ///
    /// Some options are followed by the program only, not by the library: `logfile`, `loglevel` (the library's log goes
    /// to the `tracing` subscriber of the program that it is in), `pidfile`, `daemonize`, and the limit of open files
    /// that `maxclients` asks the system for. Without threads nobody needs `threads`, `timeout` or what concerns sockets.
    pub fn option(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.words(name, &[value])
    }

    /// As [`Builder::option`], for an option of several words:
    ///
    /// ```
    /// let server = larder::Server::builder()
    ///     .words("client-output-buffer-limit", &["pubsub", "1mb", "0", "0"])
    ///     .words("bind", &["127.0.0.1", "-::1"])
    ///     .start()?;
    /// let limits = server.connect().execute(["CONFIG", "GET", "client-output-buffer-limit"]).to_string();
    /// assert!(limits.contains("pubsub 1048576 0 0"), "{limits}");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn words<W: AsRef<[u8]>>(mut self, name: &str, words: &[W]) -> Self {
        let words = words.iter().map(|word| word.as_ref().to_vec()).collect();
        self.options.push((name.to_owned(), words));
        self
    }

    /// Begins with a whole configuration in place of the defaults; options that are set here come on top. In it port 0
    /// means that no port is listened on.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Uses a clock that stands still until [`Server::advance`]; it starts at `at_ms` milliseconds since 1970. TTLs,
    /// expiry and what eviction takes for old follow it:
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = larder::Server::builder()
    ///     .manual_clock(1_700_000_000_000)
    ///     .option("maxmemory", "2mb")
    ///     .option("maxmemory-policy", "allkeys-lru")
    ///     .build()?;
    /// let mut connection = server.connect();
    /// connection.execute(["SET", "soon", "gone", "PX", "1500"]);
    /// connection.execute(["SET", "old", "value"]);
    ///
    /// server.advance(Duration::from_secs(1));
    /// assert_eq!(connection.execute(["PTTL", "soon"]).as_i64(), Some(500));
    /// assert_eq!(connection.execute(["OBJECT", "IDLETIME", "old"]).as_i64(), Some(1));
    /// server.advance(Duration::from_millis(500));
    /// assert_eq!(connection.execute(["DBSIZE"]).as_i64(), Some(1));
    ///
    /// // Newer keys than there is room for: the oldest ones have to go.
    /// for number in 0..5000 {
    ///     if number % 100 == 0 {
    ///         server.advance(Duration::from_secs(1));
    ///     }
    ///     connection.execute(["SET", &format!("key:{number}"), &"x".repeat(1000)]);
    /// }
    /// assert_eq!(connection.execute(["EXISTS", "old"]).as_i64(), Some(0));
    /// assert_eq!(connection.execute(["EXISTS", "key:4999"]).as_i64(), Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn manual_clock(mut self, at_ms: u64) -> Self {
        self.clock = Some(Clock::manual(at_ms));
        self
    }

    /// Fixes the hash and every random choice: the same seed repeats the same run.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Has every change recorded, as commands that repeat it on another engine; see [`Recorder`].
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (sender, changes) = mpsc::channel();
    /// let record = move |group: &larder::effects::Group| {
    ///     for effect in group.effects() {
    ///         let words = effect.command.as_args().iter().map(|word| String::from_utf8_lossy(word).into_owned());
    ///         // Nobody listens any more when the program ends.
    ///         let _ = sender.send(words.collect::<Vec<_>>().join(" "));
    ///     }
    /// };
    /// let server = larder::Server::builder().manual_clock(1_000).record(record).build()?;
    /// server.connect().execute(["SET", "k", "v", "EX", "60"]);
    /// assert_eq!(changes.recv()?, "SET k v PXAT 61000");
    /// # Ok(())
    /// # }
    /// ```
    pub fn record(mut self, recorder: impl Fn(&Group) + Send + Sync + 'static) -> Self {
        self.recorder = Some(Arc::new(recorder));
        self
    }

    /// Makes a server without sockets and threads. What threads would do in the background (freeing large values, removing
    /// expired keys, giving memory back) is done in slices of about 100 microseconds after the commands that are run on
    /// a [`Connection`], and by [`Server::advance`].
    ///
    /// # Errors
    /// An option that does not exist, or a value that it does not take.
    pub fn build(self) -> Result<Server, LoadError> {
        let any_port = ("port".to_owned(), vec![b"0".to_vec()]);
        let (mut config, is_own) = self.config.map_or_else(|| (Config::new(), true), |config| (config, false));
        if is_own {
            config.apply(&[any_port])?;
        }
        config.apply(&self.options)?;
        let picks_port = is_own && config.settings().port.get() == 0;
        let seed = self.seed.unwrap_or_else(random_seed);
        let acl = Acl::at_start(&config)?;
        let engine = Engine::make(config, acl, self.clock.unwrap_or(Clock::System), seed, self.recorder);
        Ok(Server { engine, picks_port, address: None, listeners: &[], threads: Vec::new() })
    }

    /// Makes a server and starts its threads, listening on a free port unless one is set.
    ///
    /// # Errors
    /// As [`Builder::build`], and an address that cannot be listened on.
    pub fn start(self) -> io::Result<Server> {
        let mut server =
            self.build().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
        let listeners = net::Listeners::open(&server.engine, server.picks_port)?;
        server.address = listeners.address();
        server.listeners = listeners.kinds();
        server.engine.upkeep.leave_to_threads(true);
        server.threads = net::start(&server.engine, listeners)?;
        Ok(server)
    }
}

impl Engine {
    /// A connection without a socket, authenticated and with a state of its own, as one client has. Any number of
    /// threads may have one each:
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = larder::Server::builder().build()?;
    /// let engine = server.engine();
    /// std::thread::scope(|scope| {
    ///     for _ in 0..2 {
    ///         scope.spawn(|| {
    ///             let mut connection = engine.connect();
    ///             (0..1000).for_each(|_| drop(connection.execute(["INCR", "visits"])));
    ///         });
    ///     }
    /// });
    /// assert_eq!(engine.connect().execute(["GET", "visits"]).as_str(), Some("2000"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(self: &Arc<Self>) -> Connection {
        Connection::new(self)
    }

    /// Moves a manual clock, and does what is due by then: expired keys are gone when this returns. The system's clock
    /// stays as it is.
    pub fn advance(&self, by: Duration) {
        // Accesses so far happened before the clock moved, not on its way.
        self.advance_tick();
        while self.evictor().learn(self) {}
        self.insight.work(self, &Budget::Endless);
        self.clock().advance(by);
        background::every_second(self);
        self.insight.look(self);
        let (stats, shards) = (self.stats().idle_worker(), 0..self.keyspace().shards());
        while self.sweeps() && background::sweep(self, shards.clone(), &stats, &Budget::Endless) {}
        while self.free_garbage(&Budget::Endless) {}
        while self.evictor().relieve(self, &stats) {}
        while background::compact(self, shards.clone(), &self.upkeep.compacted, &Budget::Endless) {}
        self.keyspace().purge(false);
        self.rates.tick(self);
    }
}

/// A server of this program. It ends when it is dropped.
///
/// ```
/// use std::io::{Read, Write};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Two servers on free ports, which know nothing of each other.
/// let one = larder::Server::builder().start()?;
/// let other = larder::Server::builder().option("databases", "1").start()?;
/// other.connect().execute(["SET", "k", "v"]);
///
/// let address = one.address().ok_or("it listens")?;
/// let mut client = std::net::TcpStream::connect(address)?;
/// client.write_all(b"EXISTS k\r\nQUIT\r\n")?;
/// let mut replies = String::new();
/// client.read_to_string(&mut replies)?;
/// assert_eq!(replies, ":0\r\n+OK\r\n");
///
/// // What clients do over sockets is seen without one.
/// assert_eq!(other.connect().execute(["EXISTS", "k"]).as_i64(), Some(1));
/// # Ok(())
/// # }
/// ```
pub struct Server {
    engine: Arc<Engine>,
    picks_port: bool,
    address: Option<SocketAddr>,
    listeners: &'static [&'static str],
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Begins a server; see [`Builder`].
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The TCP address that it listens on.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The kinds of socket that it listens on: `tcp`, `unix`.
    pub fn listeners(&self) -> &'static [&'static str] {
        self.listeners
    }

    /// A connection without a socket; see [`Engine::connect`].
    pub fn connect(&self) -> Connection {
        self.engine.connect()
    }

    /// Moves a manual clock; see [`Engine::advance`].
    pub fn advance(&self, by: Duration) {
        self.engine.advance(by);
    }

    /// The engine. It lives on while somebody holds it, even when the server has ended.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Waits until somebody asks it to end (SHUTDOWN), then until it has.
    pub fn wait(mut self) {
        self.engine.shutdown.wait();
        self.join();
    }

    /// Ends it and waits until it has.
    pub fn stop(mut self) {
        self.engine.scripts.control.stop();
        self.engine.shutdown.ask();
        self.join();
    }

    /// What can end it from another thread, for a signal handler.
    pub fn stopper(&self) -> impl Fn() + Send + 'static {
        let engine = self.engine.clone();
        move || engine.shutdown.ask()
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
        self.engine.upkeep.leave_to_threads(false);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.engine.scripts.control.stop();
        self.engine.shutdown.ask();
        self.join();
    }
}
