//! A real PostgreSQL server, and the application on it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use larder_tests::process::{absent, free_port};
use serde_json::json;

use crate::fleet::{AppProcess, Directory, Fleet, within};
use crate::servers::peers;

/// A server with an empty database; ended and removed on drop.
pub struct Postgres {
    programs: PathBuf,
    directory: Directory,
    pub port: u16,
}

impl Postgres {
    /// Starts one from Debian's package; `None` (with a printed note) where it is not installed.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            absent("postgresql");
            return None;
        };
        let server = Self { programs, directory: Directory::new(), port: free_port() };
        // The server refuses to run as root.
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&server.directory.0));
        }
        let data = server.directory.0.join("data").display().to_string();
        run(server.command("initdb").args(["-D", &data, "-U", "chat", "--auth=trust", "-E", "UTF8", "--no-sync"]));
        let settings = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c max_connections=100",
            server.port
        );
        let log = server.directory.0.join("log").display().to_string();
        run(server.command("pg_ctl").args(["start", "-w", "-D", &data, "-l", &log, "-o", &settings]));
        Some(server)
    }

    pub fn url(&self) -> String {
        Self::url_at(self.port)
    }

    /// The same by another port, for a way that can be cut.
    pub fn url_at(port: u16) -> String {
        format!("postgres://chat@127.0.0.1:{port}/postgres")
    }

    /// A program of the server, as a user who may run it.
    fn command(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.directory.0.join("data").display().to_string();
        drop(self.command("pg_ctl").args(["stop", "-m", "immediate", "-D", &data]).output());
    }
}

/// Where Debian puts the server's programs, which are not in `PATH`: the newest version.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(|path| version(path))?;
    let programs = newest.join("bin");
    programs.join("initdb").is_file().then_some(programs)
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.starts_with(b"0")
}

fn run(command: &mut Command) {
    let start = Instant::now();
    // Its children must not keep the pipes of this process open.
    let status = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?} after {:?}", start.elapsed());
}

const PAGE: &str = "/api/rooms/general/messages";

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_on_one_postgresql_agree() {
    let Some(database) = Postgres::start() else { return };
    let url = database.url();
    for (peer, strategy) in peers().into_iter().zip(["cache-aside", "write-behind"].into_iter().cycle()) {
        let options = ["--database-url", &url, "--strategy", strategy, "--limit", "1000"];
        let Some(fleet) = Fleet::start(peer, &options).await else { continue };
        let ann = fleet.everywhere("Ann").await;
        assert_eq!(ann[0].get(PAGE).await.unwrap().json()["messages"].as_array().unwrap().len(), 50);
        for number in 0..6 {
            let body = format!("{strategy} {number}");
            let posted = ann[number % 3].post(PAGE, &json!({ "body": body })).await.unwrap();
            assert_eq!(posted.status.as_u16(), 201, "{}", posted.text());
            for client in &ann {
                let shows = async || client.get(PAGE).await.unwrap().text().contains(&body);
                within(Duration::from_millis(500), &body, shows).await;
            }
        }
        for path in ["/api/rooms", "/api/users/1", "/api/rooms/general/page", "/api/feed", "/rooms/general", "/feed"] {
            assert_eq!(ann[1].get(path).await.unwrap().status.as_u16(), 200, "{path}");
        }
        let made = ann[0].post("/api/rooms", &json!({ "name": format!("room-{strategy}"), "title": "New" })).await;
        assert_eq!(made.unwrap().status.as_u16(), 201);
        for path in ["/api/follows/7", "/api/follows/8"] {
            let answer = ann[0].send(axum::http::Method::PUT, path, &[], "".into()).await.unwrap();
            assert_eq!(answer.status.as_u16(), 204, "{}", answer.text());
        }
        assert_eq!(ann[2].get("/api/feed").await.unwrap().status.as_u16(), 200);
        let away = ann[0].send(axum::http::Method::POST, "/api/sign-out-everywhere", &[], "".into()).await.unwrap();
        assert_eq!(away.status.as_u16(), 204);
        assert_eq!(ann[1].get(PAGE).await.unwrap().status.as_u16(), 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_at_once_make_one_schema_and_one_seed() {
    let directory = Directory::new();
    let mut urls = vec![format!("sqlite://{}/at-once.db", directory.0.display())];
    let database = Postgres::start();
    urls.extend(database.as_ref().map(Postgres::url));
    for url in urls {
        let options = ["--database-url", &url, "--seed", "3000"];
        let apps: Vec<AppProcess> = (0..3).map(|_| AppProcess::spawn(&directory, &options)).collect();
        for app in &apps {
            app.wait_ready(Duration::from_secs(60)).await;
        }
        let db = chat_app::db::Db::open(&url, 1).await.unwrap();
        assert_eq!(db.changes_after(0, 100_000).await.unwrap().len(), 3_000, "{url}");
        assert_eq!(db.posts_after(0, 100_000).await.unwrap().len(), 1_000, "{url}");
    }
}
