//! The server as a program: reads the options, starts it, and ends it when it is told to.

mod log;
mod supervise;

use std::process::ExitCode;
use std::sync::Arc;

use clap::error::{ContextKind, ErrorKind};
use larder::config::{Config, LogLevel, Settings, cli};
use larder::{Heap, Server};
use log::Log;

/// Keeps long values dense; see there.
#[global_allocator]
static HEAP: Heap = Heap;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_logged {
                eprintln!("{}", error.text);
            }
            ExitCode::FAILURE
        }
    }
}

/// Why the program does not start.
struct StartError {
    text: String,
    /// Whether it stands on standard output already, as the log goes there.
    is_logged: bool,
}

impl From<String> for StartError {
    fn from(text: String) -> Self {
        Self { text, is_logged: false }
    }
}

fn run() -> Result<(), StartError> {
    let line = cli::parse(std::env::args_os()).map_err(refuse)?;
    let mut config = Config::load(&line, &mut std::io::stdin()).map_err(|error| format!("\n{error}"))?;
    let log = Arc::new(Log::start(&config).map_err(|error| format!("Can't open the log file: {error}"))?);
    config.observe(move |settings, changed| follow(&log, settings, changed));
    tracing::info!("Larder {} is starting, pid {}", env!("CARGO_PKG_VERSION"), std::process::id());
    match config.file() {
        Some(path) => tracing::info!("Configuration loaded from {}", path.display()),
        None => tracing::info!("No configuration file; the defaults and the command line hold"),
    }
    if !config.passed_over().is_empty() {
        tracing::warn!("Options without effect: {}", config.passed_over().join(", "));
    }
    if config.settings().daemonize.get() {
        tracing::warn!("daemonize has no effect: the server stays in the foreground");
    }
    let pid_file = Some(config.settings().pidfile.get()).filter(|path| !path.is_empty());
    let pid_file = pid_file.map(|path| config.resolve(&path));
    allow_clients(config.settings());
    let is_logged = config.settings().logfile.is_empty() && config.settings().loglevel.get() != LogLevel::Nothing;
    let manager = config.settings().supervised.get().manager();
    let signals = Signals::listen();
    let server = match Server::builder().config(config).start() {
        Ok(server) => server,
        Err(error) => {
            tracing::error!("{error}");
            return Err(StartError { text: error.to_string(), is_logged });
        }
    };
    if let Err(error) = signals.and_then(|signals| signals.end(&server)) {
        tracing::warn!(%error, "signals will end the server without notice");
    }
    if let Some(path) = &pid_file
        && let Err(error) = std::fs::write(path, format!("{}\n", std::process::id()))
    {
        tracing::warn!("Failed to write PID file {}: {error}", path.display());
    }
    // Programs that start a server wait for this line.
    for listener in server.listeners() {
        tracing::info!("Ready to accept connections {listener}");
    }
    supervise::ready(manager);
    server.wait();
    supervise::stopping(manager);
    if let Some(path) = &pid_file {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(path);
    }
    tracing::warn!("Larder has ended, bye bye...");
    Ok(())
}

/// What to say of a command line that is not understood; `--help` and `--version` end here, too.
fn refuse(error: clap::Error) -> String {
    if error.kind() != ErrorKind::UnknownArgument {
        error.exit();
    }
    let word = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let reason = match word.starts_with('-') {
        true => format!("unknown option '{word}'; --help lists them"),
        false => format!("unexpected argument '{word}'; --help lists the options"),
    };
    let head = format!("*** FATAL CONFIG FILE ERROR (Larder {}) ***", env!("CARGO_PKG_VERSION"));
    format!("\n{head}\nReading the command line\n{reason}")
}

/// What the program does after CONFIG SET.
fn follow(log: &Log, settings: &Settings, changed: &[&'static str]) {
    if changed.contains(&"loglevel") {
        log.set_level(settings.loglevel.get());
    }
    if changed.contains(&"maxclients") {
        allow_clients(settings);
    }
}

/// Asks the system for as many open files as `maxclients` needs. Where it gives less, connections beyond are refused by
/// the system, and the log says so.
#[cfg(unix)]
fn allow_clients(settings: &Settings) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    /// Files beside the clients' sockets.
    const RESERVED: u64 = 32;
    let wanted = settings.maxclients.get() + RESERVED;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let raised = Rlimit { current: Some(limit.maximum.map_or(wanted, |maximum| wanted.min(maximum))), ..limit };
    if setrlimit(Resource::Nofile, raised).is_err() || raised.current.is_some_and(|current| current < wanted) {
        let allowed = getrlimit(Resource::Nofile).current.unwrap_or_default();
        tracing::warn!(
            "maxclients is {}, but the system allows {allowed} open files only; 'ulimit -n' may raise that",
            settings.maxclients.get()
        );
    }
}

#[cfg(not(unix))]
fn allow_clients(_: &Settings) {}

/// The signals that end the server: SIGTERM and SIGINT (Ctrl-C elsewhere). They are listened for before the server
/// answers anybody, so that one that comes early ends it as gracefully. SIGHUP, which a terminal sends when it closes,
/// does nothing.
struct Signals {
    runtime: tokio::runtime::Runtime,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        #[cfg(unix)]
        let (terminate, interrupt) = {
            use tokio::signal::unix::{SignalKind, signal};
            let _context = runtime.enter();
            // Once listened for, a signal has lost its default action for good.
            drop(signal(SignalKind::hangup())?);
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        Ok(Self {
            runtime,
            #[cfg(unix)]
            terminate,
            #[cfg(unix)]
            interrupt,
        })
    }

    /// Ends the server when one of them comes. The next one ends the process at once: a long command may hold up the end.
    fn end(mut self, server: &Server) -> std::io::Result<()> {
        let stop = server.stopper();
        std::thread::Builder::new().name("larder-signals".into()).spawn(move || {
            let name = self.wait();
            tracing::warn!("Received {name} scheduling shutdown...");
            stop();
            let name = self.wait();
            tracing::warn!("Received {name} again, exiting now");
            std::process::exit(1);
        })?;
        Ok(())
    }

    fn wait(&mut self) -> &'static str {
        self.runtime.block_on(async {
            #[cfg(unix)]
            return tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
            };
            #[cfg(not(unix))]
            {
                let _ = tokio::signal::ctrl_c().await;
                "Ctrl-C"
            }
        })
    }
}
