//! Server processes: started on a free port in a directory of their own, ended by their own handle.

use crate::client::RawClient;
use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Ports below those that the kernel hands out to outgoing connections, so that no client takes one in between.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Attempts with another port, should someone else take the one that was free a moment ago.
const ATTEMPTS: usize = 5;

/// A running server; killed and its directory removed on drop.
pub struct ServerProcess {
    program: PathBuf,
    child: Child,
    port: u16,
    directory: PathBuf,
}

/// The server under test, see [`subject`].
pub struct TestServer;

/// A real redis-server to compare with.
pub struct Redis;

impl TestServer {
    /// Starts the server under test without persistence on a free port.
    ///
    /// # Panics
    /// When it does not answer PING in time.
    pub fn start() -> ServerProcess {
        TestServer::with(&[])
    }

    /// Starts the server under test with further options, as on the command line.
    ///
    /// # Panics
    /// When it does not answer PING in time.
    pub fn with(options: &[&str]) -> ServerProcess {
        ServerProcess::start(subject(), options)
    }
}

impl Redis {
    /// Starts a real redis-server, `None` where none is installed.
    ///
    /// # Panics
    /// When it is absent although `LARDER_REQUIRE_PEERS` is set, or does not start.
    pub fn start() -> Option<ServerProcess> {
        Redis::with(&[])
    }

    /// Starts a real redis-server with further options, as on the command line.
    ///
    /// # Panics
    /// As [`Redis::start`].
    pub fn with(options: &[&str]) -> Option<ServerProcess> {
        let program = match std::env::var_os("LARDER_PEER") {
            Some(path) => PathBuf::from(path),
            None => tool("redis-server")?,
        };
        Some(ServerProcess::start(&program, options))
    }
}

impl ServerProcess {
    /// Starts `program` with the options that every test wants, then `options`.
    ///
    /// # Panics
    /// When it does not answer PING in time.
    pub fn start(program: &Path, options: &[&str]) -> ServerProcess {
        for _ in 1..ATTEMPTS {
            let mut server = ServerProcess::spawn(program, free_port(), options);
            if server.is_ready() {
                return server;
            }
            if !server.log().contains("in use") {
                panic!("{} does not start: {}", program.display(), server.log());
            }
        }
        panic!("no free port for {}", program.display());
    }

    /// Starts `program` on `port` with the options that every test wants, then `options`, and does not wait for it.
    ///
    /// # Panics
    /// When the program cannot be run at all.
    pub fn spawn(program: &Path, port: u16, options: &[&str]) -> ServerProcess {
        let port_text = port.to_string();
        let usual = ["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        ServerProcess::spawn_bare(program, port, &[&usual, options].concat())
    }

    /// Starts `program` with these arguments alone, which make it listen on `port`, in a directory of its own.
    ///
    /// # Panics
    /// When the program cannot be run at all.
    pub fn spawn_bare(program: &Path, port: u16, args: &[&str]) -> ServerProcess {
        let directory = temporary_directory();
        let log = File::create(directory.join("output")).unwrap();
        let child = Command::new(program)
            .args(args)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
        ServerProcess { program: program.to_path_buf(), child, port, directory }
    }

    /// Waits until the server answers; false when it ends instead.
    pub fn is_ready(&mut self) -> bool {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until && self.child.try_wait().unwrap().is_none() {
            if let Ok(mut client) = RawClient::try_connect(self.port)
                && client.send(&["PING"]).is_ok()
                && client.reply().is_ok()
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the program says of its version, as `7.0.15`.
    ///
    /// # Panics
    /// When it says nothing.
    pub fn version(&self) -> String {
        let output = Command::new(&self.program).arg("--version").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or(&text).trim().to_string()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The server's directory (its `--dir`), removed on drop.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A new connection.
    ///
    /// # Panics
    /// When it is refused.
    pub fn client(&self) -> RawClient {
        RawClient::connect(self.port)
    }

    /// What the server has printed.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.join("output")).unwrap_or_default()).into_owned()
    }

    /// Whether the process still runs and answers.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
            && RawClient::try_connect(self.port)
                .is_ok_and(|mut client| client.send(&["PING"]).is_ok() && client.reply().is_ok())
    }

    /// Resident memory in bytes, `None` where the system does not tell it in Linux's way.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    }

    /// Sends a signal by the name that kill(1) knows, as `TERM`.
    ///
    /// # Panics
    /// When kill(1) fails.
    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(status.success(), "kill -{name}");
    }

    /// The exit status once the process has ended.
    ///
    /// # Panics
    /// When it has not ended after `time`.
    pub fn wait(&mut self, time: Duration) -> ExitStatus {
        let until = Instant::now() + time;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the server has not ended after {time:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let log = self.log();
        let has_ended = !matches!(self.child.try_wait(), Ok(None));
        if std::thread::panicking() && (has_ended || log.contains("panicked")) {
            let tail: Vec<_> = log.lines().rev().take(20).collect();
            println!("last lines of the server on port {}:", self.port);
            tail.iter().rev().for_each(|line| println!("    {line}"));
        }
        // It may have ended already, as the test intended.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// The program under test: `LARDER_SUBJECT`, else the larder binary of the profile that the tests were built with,
/// brought up to date by cargo first (tests of another package do not make cargo build it).
///
/// # Panics
/// When it cannot be built.
pub fn subject() -> &'static Path {
    static SUBJECT: OnceLock<PathBuf> = OnceLock::new();
    SUBJECT.get_or_init(|| match std::env::var_os("LARDER_SUBJECT") {
        Some(path) => PathBuf::from(path),
        None => build_larder(),
    })
}

fn build_larder() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let profile_directory = executable.ancestors().nth(2).unwrap();
    let profile = match profile_directory.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["build", "--quiet", "--package", "larder", "--bin", "larder", "--profile", profile, "--target-dir"])
        .arg(profile_directory.parent().unwrap())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "larder does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    profile_directory.join(format!("larder{}", std::env::consts::EXE_SUFFIX))
}

/// A program found in `PATH`, `None` (with a printed note) where it is not installed.
///
/// # Panics
/// When it is absent although `LARDER_REQUIRE_PEERS` is set.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file());
    if found.is_none() {
        absent(name);
    }
    found
}

/// Notes that something to test with is not installed.
///
/// # Panics
/// When `LARDER_REQUIRE_PEERS` is set.
pub fn absent(name: &str) {
    let required = std::env::var_os("LARDER_REQUIRE_PEERS").is_some_and(|value| !value.is_empty() && value != "0");
    assert!(!required, "{name} is not installed, and LARDER_REQUIRE_PEERS is set");
    println!("note: {name} is not installed; this test checks nothing");
}

/// A port of 127.0.0.1 that nobody listens on at the moment.
///
/// # Panics
/// When none is found.
pub fn free_port() -> u16 {
    (0..1000)
        .map(|_| PORTS.start + (random_bits() % u64::from(PORTS.end - PORTS.start)) as u16)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

fn temporary_directory() -> PathBuf {
    let directory =
        std::env::temp_dir().join(format!("larder-test-{}-{:08x}", std::process::id(), random_bits() as u32));
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Bits that differ between processes and calls; what a test does must not depend on them.
pub fn random_bits() -> u64 {
    RandomState::new().build_hasher().finish()
}
