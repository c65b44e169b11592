//! Servers inside a program: [`Server::builder`] makes one, with sockets or without.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use larder_protocol::{Batch, Limits, Parser, Reply, Value};
use larder_storage::clock::Clock;
use larder_storage::hasher::random_seed;

use crate::config::{Config, LoadError};
use crate::effects::{Group, Recorder};
use crate::engine::{Engine, Progress};
use crate::session::{Session, Workspace};
use crate::{background, net};

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
    lines: String,
    clock: Option<Clock>,
    seed: Option<u64>,
    recorder: Option<Recorder>,
}

impl Builder {
    /// Sets an option, as a line of a configuration file would: `.option("maxmemory", "64mb")`. Without `port`, a
    /// free one is chosen.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        let quoted: String = value
            .chars()
            .flat_map(|c| {
                let escape = matches!(c, '"' | '\\').then_some('\\');
                escape.into_iter().chain([c])
            })
            .collect();
        // Several words are several arguments, an empty value is one.
        let plain = !value.is_empty() && !value.contains(['"', '\\', '\'']);
        self.lines.push_str(&if plain { format!("{name} {value}\n") } else { format!("{name} \"{quoted}\"\n") });
        self
    }

    /// Takes a whole configuration, in place of single options.
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
    /// assert_eq!(connection.execute(["PTTL", "soon"]).to_string(), "(integer) 500");
    /// assert_eq!(connection.execute(["OBJECT", "IDLETIME", "old"]).to_string(), "(integer) 1");
    /// server.advance(Duration::from_millis(500));
    /// assert_eq!(connection.execute(["DBSIZE"]).to_string(), "(integer) 1");
    ///
    /// // Newer keys than there is room for: the oldest ones have to go.
    /// for number in 0..5000 {
    ///     if number % 100 == 0 {
    ///         server.advance(Duration::from_secs(1));
    ///     }
    ///     connection.execute(["SET", &format!("key:{number}"), &"x".repeat(1000)]);
    /// }
    /// assert_eq!(connection.execute(["EXISTS", "old"]).to_string(), "(integer) 0");
    /// assert_eq!(connection.execute(["EXISTS", "key:4999"]).to_string(), "(integer) 1");
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

    /// Makes a server without sockets and threads.
    ///
    /// # Errors
    /// An option that does not exist, or a value that it does not take.
    pub fn build(self) -> Result<Server, LoadError> {
        let mut picks_port = false;
        let config = match self.config {
            Some(config) => config,
            None => {
                // Port 0 here is "any free one"; in a configuration of its own it is "none".
                picks_port = !self.lines.lines().any(|line| line.starts_with("port "));
                Config::from_text(&format!("port 0\n{}", self.lines))?
            }
        };
        let seed = self.seed.unwrap_or_else(random_seed);
        let engine = Engine::make(config, self.clock.unwrap_or(Clock::System), seed, self.recorder);
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
    /// assert_eq!(engine.connect().execute(["GET", "visits"]).to_string(), "\"2000\"");
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(self: &Arc<Self>) -> Connection {
        let session = self.detached_session();
        let (reply, parser, batch) = (Reply::new(), Parser::new(), Batch::default());
        let workspace = Workspace::new(session.stats.clone());
        Connection { engine: self.clone(), session, workspace, reply, parser, batch }
    }

    /// Moves a manual clock, and does what is due by then: expired keys are gone when this returns. The system's clock
    /// stays as it is.
    pub fn advance(&self, by: Duration) {
        // Accesses so far happened before the clock moved, not on its way.
        self.advance_tick();
        self.clock().advance(by);
        self.advance_tick();
        let stats = self.stats().idle_worker();
        while self.sweeps() && background::sweep(self, 0..self.keyspace().shards(), &stats, Duration::MAX) {}
        while self.free_garbage(Duration::MAX) {}
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
/// assert_eq!(other.connect().execute(["EXISTS", "k"]).to_string(), "(integer) 1");
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
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.engine.shutdown.ask();
        self.join();
    }
}

/// A connection without a socket: commands run on the caller's thread, and it has a state of its own as one client has
/// (database, protocol, transaction, subscriptions).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = larder::Server::builder().build()?;
/// let mut connection = server.connect();
/// // Arguments may be any bytes.
/// connection.execute([b"SET".as_slice(), b"\xffkey", b"\0value"]);
/// assert_eq!(connection.execute([b"STRLEN".as_slice(), b"\xffkey"]), larder::Value::Integer(6));
/// // Or whole requests, as a socket would carry them; this gives the bytes of the replies.
/// assert_eq!(connection.run(b"MULTI\r\nINCR n\r\nEXEC\r\n"), b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
/// # Ok(())
/// # }
/// ```
pub struct Connection {
    engine: Arc<Engine>,
    session: Session,
    workspace: Workspace,
    reply: Reply,
    parser: Parser,
    batch: Batch,
}

impl Connection {
    /// Runs one command and gives its reply; [`Value::Null`] when it has none.
    pub fn execute<A: AsRef<[u8]>>(&mut self, command: impl IntoIterator<Item = A>) -> Value {
        let words: Vec<A> = command.into_iter().collect();
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in &words {
            let word = word.as_ref();
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        let replies = self.run(&request);
        match Value::read(&replies) {
            Ok(Some((value, _))) => value,
            _ => Value::Null,
        }
    }

    /// Runs commands as they would come from a socket, whole ones only; gives the bytes of the replies.
    pub fn run(&mut self, requests: &[u8]) -> Vec<u8> {
        let mut rest = requests;
        self.reply.clear();
        loop {
            let limits = Limits {
                max_bulk: self.engine.settings().proto_max_bulk_len.as_usize(),
                max_inline: 64 << 10,
                authenticated: self.session.authenticated,
            };
            self.batch.clear();
            let parsed = self.parser.parse(rest, &mut self.batch, 32, &limits);
            let mut from = 0;
            while let Progress::NeedsRoom(at) =
                self.engine.run(&mut self.session, &mut self.workspace, &self.batch, rest, from, &mut self.reply)
            {
                from = at;
            }
            rest = &rest[self.batch.consumed()..];
            if let Err(error) = parsed {
                self.reply.protocol_error(&error);
                break;
            }
            if self.batch.is_empty() || self.session.closing {
                break;
            }
        }
        let reply = &mut self.reply;
        self.session.client.take_messages(|message| reply.raw(&message));
        let mut bytes = Vec::with_capacity(reply.len());
        while !reply.is_empty() {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = reply.slices(&mut slices);
            let from = bytes.len();
            slices[..count].iter().for_each(|slice| bytes.extend_from_slice(slice));
            reply.advance(bytes.len() - from);
        }
        bytes
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.session.leave(&self.engine);
    }
}
