//! Starts a server for one measurement, in a directory of its own, and ends it.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::client::{Address, Client};

/// How long a server may take to answer its first PING.
const PATIENCE: Duration = Duration::from_secs(10);

/// A further option of a server, as an argument `NAME=VALUE`; `policy` names what says the policies.
///
/// # Errors
/// It is not of this form, or one that the bench itself sets and names in its table.
pub fn parse_option(text: &str, policy: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    let instead = match name.trim().to_ascii_lowercase().as_str() {
        "maxmemory" => "--memory",
        "maxmemory-policy" => policy,
        _ => return Ok((name.to_owned(), value.to_owned())),
    };
    Err(format!("the table would not tell of it: say {instead}"))
}

/// A running server; it ends when this is dropped.
pub struct Running {
    child: Child,
    directory: PathBuf,
    /// Where it listens.
    pub address: Address,
}

impl Running {
    /// Starts a program that takes Redis's options, on a free port.
    ///
    /// # Errors
    /// The program cannot be started or does not answer; what it wrote is in the text.
    pub fn start(program: &Path, options: &[(&str, &str)]) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{}: {error}", program.display());
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(failed)?.port();
        let directory = std::env::temp_dir().join(format!("larder-live-{}-{port}", std::process::id()));
        fs::create_dir_all(&directory).map_err(failed)?;
        let log_path = directory.join("log");
        let log = File::create(&log_path).map_err(failed)?;
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(options.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]))
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stderr(log.try_clone().map_err(failed)?)
            .stdout(log)
            .spawn()
            .inspect_err(|_| drop(fs::remove_dir_all(&directory)))
            .map_err(failed)?;
        let address = format!("127.0.0.1:{port}").parse()?;
        let mut running = Self { child, directory, address };
        let started = Instant::now();
        loop {
            if Client::connect(&running.address).and_then(|mut client| client.call(&[b"PING"])).is_ok() {
                return Ok(running);
            }
            let ended = running.child.try_wait().map_err(failed)?.is_some();
            if ended || started.elapsed() > PATIENCE {
                let log = fs::read_to_string(&log_path).unwrap_or_default();
                let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
                return Err(format!("{}: does not serve: {last}", program.display()));
            }
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; what it wrote is of no use any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_none_that_the_bench_sets() {
        let parse = |text| parse_option(text, "--policy");
        assert_eq!(parse("save=60 1=2"), Ok(("save".to_owned(), "60 1=2".to_owned())));
        assert_eq!(parse("maxmemory-samples=10"), Ok(("maxmemory-samples".to_owned(), "10".to_owned())));
        assert_eq!(parse("save"), Err("\"save\" is not NAME=VALUE".to_owned()));
        for (text, instead) in [("maxmemory=1gb", "--memory"), (" MaxMemory-Policy=noeviction", "--policy")] {
            assert_eq!(parse(text), Err(format!("the table would not tell of it: say {instead}")));
        }
    }

    #[test]
    fn a_program_that_is_no_server_is_refused_and_leaves_nothing() {
        let left = || {
            let all = fs::read_dir(std::env::temp_dir()).unwrap().map(|entry| entry.unwrap().file_name());
            let own = format!("larder-live-{}-", std::process::id());
            all.filter(|name| name.to_string_lossy().starts_with(&own)).collect::<Vec<_>>()
        };
        let before = left();
        let error = Running::start(Path::new("/no/such/program"), &[]).err().unwrap();
        assert!(error.starts_with("/no/such/program: "), "{error}");
        assert_eq!(left(), before);
    }
}
