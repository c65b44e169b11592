//! The program `evict` as people run it, and servers that are started for a comparison.

#![expect(clippy::unwrap_used, reason = "a failure here is a panic")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use larder_benches::live::spawn::Running;
use larder_benches::live::{Load, measure};
use larder_benches::trace::synthetic;

fn evict(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evict")).args(arguments).output().unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn a_csv_goes_to_standard_output_and_nothing_else() {
    let arguments = ["--policy", "lru,allkeys-lru,opt", "--objects", "10,100%", "--trace"];
    let output = evict(&[&arguments[..], &["loop:keys=50,requests=500", "scan:requests=100"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = out(&output).lines().collect();
    assert_eq!(lines[0], "trace,policy,size,requests,hits,hit_ratio");
    assert_eq!(lines[1], "loop:keys=50;requests=500,lru,10,500,0,0.000000");
    assert_eq!(lines[5], "loop:keys=50;requests=500,allkeys-lru,50,500,450,0.900000");
    assert_eq!((lines.len(), lines[12]), (13, "scan:requests=100,opt,100,100,0,0.000000"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("loop:keys=50;requests=500: 500 requests for 50 keys"));
}

#[test]
fn mistakes_are_told() {
    let error = |arguments: &[&str]| {
        let output = evict(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(
        error(&["--policy", "lur", "--trace", "loop"])
            .starts_with("evict: no policy \"lur\"; there are all, allkeys-lru,")
    );
    assert!(error(&["--trace", "/no/such.lis"]).starts_with("evict: /no/such.lis: "));
    assert!(
        error(&["--bytes", "1mb", "--trace", "loop"])
            .contains("evict: loop does not tell the sizes of objects; say --value-bytes")
    );
    assert!(error(&["--format", "xml", "--trace", "loop"]).contains("one of ctr1, oracle, arc"));
    assert!(error(&["--objects", "1", "--bytes", "1", "--trace", "loop"]).contains("cannot be used with"));
    assert!(
        error(&["--size-weight", "0.5", "--objects", "1", "--trace", "loop"]).contains("--size-weight needs --bytes")
    );
    for (option, value, instead) in [
        ("--policy", "lru", "CONFIG SET maxmemory-policy"),
        ("--objects", "10", "CONFIG SET maxmemory"),
        ("--bytes", "1mb", "CONFIG SET maxmemory"),
        ("--size-weight", "0.5", "CONFIG SET maxmemory-size-weight"),
        ("--reference", "r.csv", "compare what two servers print"),
        ("--threads", "2", "--connections"),
        ("--seed", "2", "zipf:seed=N"),
    ] {
        let error = error(&["--trace", "loop", "--server", "127.0.0.1:1", option, value]);
        assert!(error.starts_with(&format!("evict: {option} has no meaning with --server: ")), "{error}");
        assert!(error.contains(instead), "{error}");
    }
    assert!(error(&["--size-weight", "2", "--bytes", "1", "--trace", "loop"]).contains("no number from 0 to 1"));
}

#[test]
fn size_weighs_as_the_server_has_it_unless_told_otherwise() {
    let trace = ["--trace", "zipf:keys=2000,requests=20000", "--value-bytes", "50-5000", "--bytes", "500kb"];
    let hits = |more: &[&str]| {
        let output = evict(&[&trace[..], &["--policy", "allkeys-adaptive"], more].concat());
        out(&output).lines().nth(1).unwrap().split(',').nth(4).unwrap().parse::<u64>().unwrap()
    };
    let usual = hits(&[]);
    assert_eq!(usual, hits(&["--size-weight", "0.25"]));
    assert!(hits(&["--size-weight", "0"]) < usual && usual < hits(&["--size-weight", "1"]));
}

#[test]
fn traces_that_a_reference_does_not_know_are_told() {
    let path = std::env::temp_dir().join(format!("larder-benches-reference-{}.csv", std::process::id()));
    std::fs::write(&path, "trace,policy,size,hit_ratio\nloop:keys=5;requests=20,lru,4,0.0\n").unwrap();
    let file = path.to_str().unwrap();
    let (known, unknown) = ("loop:keys=5,requests=20", "scan:requests=9");
    let output = evict(&["--policy", "lru", "--reference", file, "--trace", known, unknown]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.starts_with(&format!("{file}: no row is of {unknown}\n")), "{error}");
    assert_eq!(out(&output).lines().nth(1), Some("loop:keys=5;requests=20,lru,4,20,0,0.000000"));
    for program in [env!("CARGO_BIN_EXE_evict"), env!("CARGO_BIN_EXE_whatif")] {
        let error = refusal(program, &["--reference", file, "--trace", unknown, "scan"]);
        assert!(error.ends_with(&format!(": {file}: no row is of {unknown}, no row is of scan\n")), "{error}");
    }
    std::fs::write(&path, "trace,policy,size,hit_ratio\nloop:keys=5;requests=20,lru,4,16.67\n").unwrap();
    let error = refusal(env!("CARGO_BIN_EXE_evict"), &["--reference", file, "--trace", known]);
    assert_eq!(error, format!("evict: {file}: line 2: \"16.67\" is no hit ratio from 0 to 1\n"));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn charts_are_written() {
    let directory = std::env::temp_dir().join(format!("larder-benches-plot-{}", std::process::id()));
    let output =
        evict(&["--trace", "zipf:keys=500,requests=5000", "--objects", "5,50", "--plot", directory.to_str().unwrap()]);
    assert!(output.status.success());
    let svg = std::fs::read_to_string(directory.join("zipf_keys=500_requests=5000.svg")).unwrap();
    assert_eq!(svg.matches("<polyline").count(), 3, "three policies are the usual ones");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn traces_of_one_name_are_told_apart() {
    let directory = std::env::temp_dir().join(format!("larder-benches-names-{}", std::process::id()));
    let file = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    for folder in ["web1", "web2"] {
        std::fs::create_dir_all(directory.join(folder)).unwrap();
        std::fs::write(file(&format!("{folder}/traffic.txt")), "a\nb\na\n").unwrap();
    }
    let (one, other, plots) = (file("web1/traffic.txt"), file("web2/traffic.txt"), file("plots"));
    let output = evict(&["--policy", "lru", "--objects", "2", "--plot", &plots, "--trace", &one, &other]);
    let lines: Vec<&str> = out(&output).lines().skip(1).collect();
    assert_eq!(lines, ["web1/traffic,lru,2,3,1,0.333333", "web2/traffic,lru,2,3,1,0.333333"]);
    assert!(directory.join("plots/web1_traffic.svg").exists() && directory.join("plots/web2_traffic.svg").exists());
    let twice = evict(&["--trace", &one, &one]);
    assert!(String::from_utf8_lossy(&twice.stderr).contains("traffic.txt is named twice") && !twice.status.success());
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn servers_are_asked_what_policies_are() {
    let server =
        larder::Server::builder().option("maxmemory", "3mb").option("maxmemory-policy", "allkeys-lru").start().unwrap();
    let address = server.address().unwrap().to_string();
    let trace = ["--trace", "zipf:keys=300,requests=3000", "--server", &address, "--connections", "2", "--clean"];
    let output = evict(&trace);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line: Vec<&str> = out(&output).lines().nth(1).unwrap().split(',').collect();
    let keys: u64 = line[7].parse().unwrap();
    assert_eq!(line[1..5], ["allkeys-lru", "3145728", "3000", &(3000 - keys).to_string()]);
    assert!(line[6].starts_with("larder-") && line[6].ends_with(&address), "{line:?}");
    assert_eq!(server.connect().execute(["DBSIZE"]).as_i64(), Some(0), "what was written is deleted");
}

#[test]
fn what_cannot_be_read_keeps_the_rest_from_nothing() {
    let output = evict(&["--policy", "lru", "--objects", "1", "--trace", "/no/such.lis", "loop:keys=5,requests=20"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.starts_with("evict: /no/such.lis: "), "{error}");
    assert_eq!(out(&output).lines().nth(1), Some("loop:keys=5;requests=20,lru,1,20,0,0.000000"));
}

#[test]
fn what_can_fail_first_does() {
    let server = larder::Server::builder().start().unwrap();
    let servers = format!("{},127.0.0.1:1", server.address().unwrap());
    let output = evict(&["--trace", "scan:requests=50", "--server", &servers]);
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("evict: 127.0.0.1:1: ") && out(&output).is_empty());
    assert_eq!(server.connect().execute(["DBSIZE"]).as_i64(), Some(0));
    let output = evict(&["--trace", "scan:requests=50", "--plot", env!("CARGO_BIN_EXE_evict")]);
    assert!(!output.status.success() && out(&output).is_empty(), "a file is no directory");
}

#[test]
fn servers_are_sent_the_keys_of_the_trace() {
    let server = larder::Server::builder().start().unwrap();
    let address = server.address().unwrap().to_string();
    let directory = std::env::temp_dir().join(format!("larder-benches-own-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut connection = server.connect();
    let mut sent = |path: &str, more: &[&str]| {
        connection.execute(["FLUSHALL"]);
        let output = evict(&[&["--server", &address, "--trace", path][..], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut keys: Vec<(String, i64)> = connection
            .execute(["KEYS", "*"])
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key.as_str().unwrap().to_owned())
            .map(|key| (key.clone(), connection.execute(["STRLEN", &key]).as_i64().unwrap()))
            .collect();
        keys.sort();
        keys
    };
    let own = |keys: &[(&str, i64)]| keys.iter().map(|(key, len)| ((*key).to_owned(), *len)).collect::<Vec<_>>();
    let plain = file("k.txt", "user:1\nuser:2\nuser:1\n");
    let none = ["--prefix", ""];
    assert_eq!(sent(&plain, &none), own(&[("user:1", 100), ("user:2", 100)]));
    assert_eq!(sent(&plain, &["--prefix", "p:"]), own(&[("p:user:1", 100), ("p:user:2", 100)]));
    assert_eq!(sent(&plain, &["--prefix", "", "--clean"]), own(&[]));
    let csv = file("k.csv", "1,user:7,50\n2,item:8,3\n");
    assert_eq!(sent(&csv, &none), own(&[("item:8", 0), ("user:7", 44)]), "sizes are of key and value");
    let twitter = file("k.sort", "0,yDMB,4,54,1,get,0\n");
    assert_eq!(sent(&twitter, &none), own(&[("yDMB", 54)]));
    let monitor = file("k.log", "1.5 [0 lua] \"get\" \"a\"\n1.5 [2 lua] \"set\" \"a\" \"123\"\n");
    assert_eq!(
        sent(&monitor, &["--prefix", "p:"]),
        own(&[("p:a", 3), ("p:db2:a", 0)]),
        "objects are as long as they were"
    );
    assert_eq!(sent(&file("k.lis", "5 2 0 0\n"), &none), own(&[("0", 100), ("1", 100)]), "numbers are counted");

    connection.execute(["FLUSHALL"]);
    connection.execute(["LPUSH", "user:2", "x"]);
    let output = evict(&["--server", &address, "--trace", &plain, "--prefix", ""]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("key \"user:2\" is there already, as another type"), "{error}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_server_that_stores_nothing_is_a_failure() {
    let server = larder::Server::builder().option("maxmemory", "1").start().unwrap();
    let output = evict(&["--trace", "scan:requests=50", "--server", &server.address().unwrap().to_string()]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains(" refused 50 of 50 SETs, the first with: OOM "), "{error}");
    assert_eq!(out(&output).lines().count(), 2, "the row is printed nevertheless");
}

#[test]
fn a_server_of_which_nothing_came_out_is_a_failure() {
    // A program that is there and is no server.
    let no_server = env!("CARGO_BIN_EXE_evict");
    for program in [env!("CARGO_BIN_EXE_live"), env!("CARGO_BIN_EXE_turnover")] {
        let arguments = ["--memory", "1mb", "--larder", no_server, "--alone"];
        let output = Command::new(program).args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("does not serve: ") && error.contains(&format!("of {no_server}")), "{error}");
        assert!(!out(&output).is_empty(), "the head of the table is there");
    }
}

/// Runs a program whose output, or whose errors, nobody reads.
fn unread(program: &str, arguments: &[&str], errors: bool) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    if errors {
        drop(child.stderr.take())
    } else {
        drop(child.stdout.take())
    }
    child.wait_with_output().unwrap()
}

#[test]
fn what_nobody_reads_ends_in_no_panic() {
    let (evict, larder) = (env!("CARGO_BIN_EXE_evict"), ["--alone", "--larder", env!("CARGO_BIN_EXE_evict")]);
    let made = ["--trace", "loop:keys=50,requests=500", "scan:requests=100", "--objects", "10"];
    let output = unread(evict, &made, true);
    assert_eq!((output.status.code(), out(&output).lines().count()), (Some(0), 7), "all rows are there");
    let whatif = unread(env!("CARGO_BIN_EXE_whatif"), &made, true);
    assert_eq!(whatif.status.code(), Some(0));
    for program in [env!("CARGO_BIN_EXE_live"), env!("CARGO_BIN_EXE_turnover")] {
        let output = unread(program, &[&larder[..], &["--memory", "1mb"]].concat(), true);
        assert_eq!(output.status.code(), Some(1), "no server was measured");
        assert!(!out(&output).is_empty(), "the head of the table is there");
    }
    let output = unread(evict, &made, false);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(!error.contains("panicked"), "{error}");
}

#[test]
fn a_redis_server_is_started_measured_and_ended() {
    let options = [("maxmemory", "3mb"), ("maxmemory-policy", "allkeys-lru"), ("save", "")];
    let running = match Running::start(Path::new("redis-server"), &options) {
        Ok(running) => running,
        Err(error) if std::env::var_os("LARDER_REQUIRE_PEERS").is_none() => {
            eprintln!("passed over: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let trace = synthetic::make("loop:keys=20000,requests=40000").unwrap();
    let load = Load { prefix: "l:".into(), lengths: None, depth: 64, connections: 1, from: 0, clean: false };
    let measured = measure(&running.address, &trace, &load).unwrap();
    assert!(measured.server.starts_with("redis-") || measured.server.starts_with("valkey-"), "{}", measured.server);
    assert!(measured.evicted > 20_000 && measured.keys < 20_000, "{measured:?}");
    let address = running.address.clone();
    drop(running);
    assert!(measure(&address, &trace, &load).is_err(), "it has ended");
}

/// What a program says that refuses its arguments.
fn refusal(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && out(&output).is_empty(), "{arguments:?}: {error}");
    error
}

#[test]
fn what_makes_no_figure_is_refused_before_a_server_starts() {
    let turnover = env!("CARGO_BIN_EXE_turnover");
    for few in ["0", "2"] {
        assert!(refusal(turnover, &["--turnovers", few]).contains("from the second turnover on: say 3 or more"));
    }
    for none in ["0", "0-9"] {
        assert!(refusal(turnover, &["--value-bytes", none]).contains("values have 1 byte or more"));
    }
    let live = env!("CARGO_BIN_EXE_live");
    assert!(refusal(live, &["--warmup", "100%"]).contains("no request is left to count"));
    assert!(refusal(live, &["--warmup", "50", "--requests", "50"]).contains("no request is left after the warmup"));
    let evict = env!("CARGO_BIN_EXE_evict");
    let server = ["--trace", "loop", "--server", "127.0.0.1:1"];
    for (program, option, more) in [
        (turnover, "--pipeline", &[][..]),
        (live, "--pipeline", &[]),
        (live, "--connections", &[]),
        (evict, "--pipeline", &server),
        (evict, "--connections", &server),
    ] {
        let error = refusal(program, &[&[option, "0"], more].concat());
        assert!(error.contains(option) && error.contains("has to be a number of 1 or more"), "{error}");
    }
    for (program, policies) in [(turnover, "say --policy"), (live, "say --larder-policy and --peer-policy")] {
        assert!(refusal(program, &["--option", "maxmemory=1gb"]).contains("say --memory"));
        assert!(refusal(program, &["--option", "maxmemory-policy=noeviction"]).contains(policies));
    }
}
