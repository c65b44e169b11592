//! The program: reads its options, starts one server of the application, and serves until it is told to end.

use std::process::ExitCode;

use chat_app::db::Db;
use chat_app::options::{Cli, Options, Task, without_password};
use chat_app::{App, web};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A bench starts many servers, whose ordinary news would stand between its figures.
    let level = if matches!(cli.command, Some(Task::Bench(_))) { "warn" } else { "info" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("warn,rustis=off,chat_app={level}")));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    // On a thread of the runtime, as requests are, so that a bench measures what they see: this one would have to be woken
    // for each answer.
    match runtime.block_on(runtime.spawn(run(cli))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(&error),
        Err(panic) => fail(&panic.to_string()),
    }
}

async fn run(cli: Cli) -> Result<(), String> {
    match cli.command {
        Some(Task::Bench(bench)) => chat_app::bench::run(cli.options, bench).await,
        Some(Task::Promote { post, off }) => promote(&cli.options, post, !off).await,
        Some(Task::Seed) => App::start(cli.options).await.map(drop),
        None => {
            let listener = tokio::net::TcpListener::bind(&cli.options.listen).await;
            let listener = listener.map_err(|error| format!("{}: {error}", cli.options.listen))?;
            let app = App::start(cli.options).await?;
            if let Ok(address) = listener.local_addr() {
                eprintln!("chat-app: http://{address}");
            }
            for store in app.stores() {
                eprintln!("chat-app: {} {}", store.name(), without_password(store.url()));
            }
            let served = web::serve(app.clone(), listener, ended()).await;
            served.and(app.finish().await)
        }
    }
}

/// Promotes a post, or no longer. Whoever can write the database is the operator; a name proves nothing here.
async fn promote(options: &Options, post: i64, begins: bool) -> Result<(), String> {
    let db = Db::open(&options.database_url, 1).await?;
    match db.promote(post, begins).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("there is no post {post}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Waits for SIGTERM or SIGINT.
async fn ended() {
    let interrupt = async {
        // Without a handler for it the signal ends the process anyway.
        let _ = tokio::signal::ctrl_c().await;
    };
    #[cfg(unix)]
    {
        let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
            return interrupt.await;
        };
        tokio::select! {
            () = interrupt => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    interrupt.await;
}

fn fail(error: &str) -> ExitCode {
    eprintln!("chat-app: {error}");
    ExitCode::FAILURE
}
