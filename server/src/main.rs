//! The server as a program: reads the options, starts it, and ends it when it is told to.

use std::process::ExitCode;

use larder::Server;
use larder::config::{Config, LogLevel, cli};

fn main() -> ExitCode {
    let line = match cli::parse(std::env::args_os()) {
        Ok(line) => line,
        Err(error) => error.exit(),
    };
    let config = match Config::load(&line, &mut std::io::stdin()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = start_log(&config) {
        eprintln!("Can't open the log file: {error}");
        return ExitCode::FAILURE;
    }
    let server = match Server::builder().config(config).start() {
        Ok(server) => server,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = end_on_signals(&server) {
        tracing::warn!(%error, "signals will end the server without notice");
    }
    match server.address() {
        Some(address) => tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "ready to accept connections"),
        None => tracing::info!("ready; no TCP port is open"),
    }
    server.wait();
    tracing::info!("ended");
    ExitCode::SUCCESS
}

fn start_log(config: &Config) -> std::io::Result<()> {
    let settings = config.settings();
    let level = match settings.loglevel.get() {
        LogLevel::Debug => tracing::level_filters::LevelFilter::DEBUG,
        LogLevel::Verbose | LogLevel::Notice => tracing::level_filters::LevelFilter::INFO,
        LogLevel::Warning => tracing::level_filters::LevelFilter::WARN,
        LogLevel::Nothing => tracing::level_filters::LevelFilter::OFF,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    if settings.logfile.is_empty() {
        log.init();
    } else {
        let path = config.resolve(&settings.logfile.get());
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        log.with_ansi(false).with_writer(std::sync::Mutex::new(file)).init();
    }
    Ok(())
}

/// Ends the server on SIGTERM and SIGINT (Ctrl-C elsewhere).
fn end_on_signals(server: &Server) -> std::io::Result<()> {
    let stop = server.stopper();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    #[cfg(unix)]
    let (mut terminate, mut interrupt) = {
        use tokio::signal::unix::{SignalKind, signal};
        let _context = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::Builder::new().name("larder-signals".into()).spawn(move || {
        runtime.block_on(async {
            #[cfg(unix)]
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            #[cfg(not(unix))]
            let _ = tokio::signal::ctrl_c().await;
        });
        tracing::info!("asked to end by a signal");
        stop();
    })?;
    Ok(())
}
