//! Stock client libraries of other languages, and queues, locks and limiters that are built on them: each program under
//! `tests/clients/` does what applications do, and must find larder as it finds a real redis-server. The Rust ones are
//! `redis_rs.rs` and `rustis.rs`.
//!
//! `tests/clients/install` puts the libraries where they are looked for, into `clients/` of cargo's target directory.

use larder_tests::{Redis, ServerProcess, TestServer, process, tool};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A library may wait for ever for an answer that it has missed.
const MOST_TIME: Duration = Duration::from_secs(180);

/// A language: its interpreter, the variable that tells it where libraries are, and where in their folder they are.
struct Language {
    interpreter: &'static str,
    search_path: &'static str,
    libraries: &'static str,
}

const PYTHON: Language = Language { interpreter: "python3", search_path: "PYTHONPATH", libraries: "" };
const NODE: Language = Language { interpreter: "node", search_path: "NODE_PATH", libraries: "node_modules" };

/// Runs a program of so many parts against larder and, to prove the program right, against a real redis-server.
fn check(language: &Language, client: &str, program: &str, parts: usize) {
    let (Some(interpreter), Some(libraries)) = (tool(language.interpreter), libraries(client)) else {
        return;
    };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(client).join(program);
    let run = |name: &str, server: &ServerProcess| {
        let path = server.directory().join("program-output");
        let output = File::create(&path).unwrap();
        let mut child = Command::new(&interpreter)
            .arg(&program)
            .arg(format!("127.0.0.1:{}", server.port()))
            .env(language.search_path, libraries.join(language.libraries))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let status = within(MOST_TIME, &mut child);
        let said = std::fs::read_to_string(&path).unwrap();
        assert!(
            status.is_some_and(|status| status.success()),
            "{program} and {name}: {status:?}\n{said}",
            program = program.display()
        );
        // It says so of each part; a program that does nothing proves nothing.
        assert!(
            said.matches("as expected").count() >= parts,
            "{program} and {name} did little:\n{said}",
            program = program.display()
        );
    };
    run("larder", &TestServer::start());
    if let Some(redis) = Redis::start() {
        run("redis-server", &redis);
    }
}

/// The exit status, `None` when the program has to be ended because it takes longer.
fn within(time: Duration, child: &mut Child) -> Option<ExitStatus> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// Where a client's libraries are installed, `None` (with a printed note) where they are not.
fn libraries(client: &str) -> Option<PathBuf> {
    let executable = std::env::current_exe().unwrap();
    let directory = executable.ancestors().nth(3).unwrap().join("clients").join(client);
    let is_installed = directory.join("installed").is_file();
    if !is_installed {
        process::absent(&format!("{client} (see tests/clients/install)"));
    }
    is_installed.then_some(directory)
}

#[test]
fn redis_py() {
    check(&PYTHON, "redis-py", "program.py", 20);
}

#[test]
fn ioredis() {
    check(&NODE, "ioredis", "program.js", 20);
}

#[test]
fn node_redis() {
    check(&NODE, "node-redis", "program.js", 20);
}

#[test]
fn bullmq() {
    check(&NODE, "node-libraries", "bullmq.js", 21);
}

#[test]
fn redlock() {
    check(&NODE, "node-libraries", "redlock.js", 10);
}

#[test]
fn rate_limit_redis() {
    check(&NODE, "node-libraries", "rate-limit-redis.js", 10);
}

#[test]
fn django_redis() {
    check(&PYTHON, "python-libraries", "django_redis_program.py", 14);
}

#[test]
fn rq() {
    check(&PYTHON, "python-libraries", "rq_program.py", 13);
}

#[test]
fn celery() {
    check(&PYTHON, "python-libraries", "celery_program.py", 10);
}
