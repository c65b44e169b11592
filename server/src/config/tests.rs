//! The configuration as a whole: what GET, SET and REWRITE answer, what files and command lines do. Expectations about
//! options that Redis has were asked of redis-server 7.4.1.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::absent::ABSENT;
use super::*;

/// A directory of its own for a test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("larder-config-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(fs::canonicalize(path).unwrap())
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn get(config: &Config, name: &str) -> String {
    let found = config.get(&[name.as_bytes()]);
    assert_eq!(found.len(), 1, "{name}");
    String::from_utf8(found[0].1.clone()).unwrap()
}

fn set(config: &Config, words: &[&str]) -> Result<Vec<&'static str>, String> {
    let pairs: Vec<_> = words.chunks(2).map(|pair| (pair[0].as_bytes(), pair[1].as_bytes())).collect();
    config.set(&pairs, true).map_err(|error| error.to_string())
}

fn load(arguments: &[&str], standard_input: &str) -> Result<Config, LoadError> {
    let arguments = std::iter::once("larder").chain(arguments.iter().copied()).map(Into::into);
    Config::load(&cli::parse(arguments).unwrap(), &mut standard_input.as_bytes())
}

#[test]
fn names_and_aliases_are_unique() {
    let mut names: Vec<_> = rows().flat_map(Row::names).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(names.iter().all(|name| *name == name.to_ascii_lowercase()));
}

#[test]
fn every_default_can_be_read() {
    for row in rows() {
        let text = if row.default.is_empty() { "\"\"" } else { row.default };
        assert!(Config::from_text(&format!("{} {text}", row.name)).is_ok(), "{}", row.name);
    }
}

#[test]
fn defaults_print_as_redis_prints_them() {
    let cases = [
        ("port", "6379"),
        ("unixsocket", ""),
        ("unixsocketperm", "0"),
        ("protected-mode", "yes"),
        ("tcp-backlog", "511"),
        ("tcp-keepalive", "300"),
        ("timeout", "0"),
        ("maxclients", "10000"),
        ("requirepass", ""),
        ("proto-max-bulk-len", "536870912"),
        ("client-query-buffer-limit", "1073741824"),
        ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
        ("databases", "16"),
        ("hz", "10"),
        ("dynamic-hz", "yes"),
        ("loglevel", "notice"),
        ("logfile", ""),
        ("daemonize", "no"),
        ("notify-keyspace-events", ""),
        ("enable-debug-command", "no"),
        ("enable-protected-configs", "no"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
        ("maxmemory-samples", "5"),
        ("maxmemory-eviction-tenacity", "10"),
        ("maxmemory-size-weight", "0.25"),
        ("lfu-log-factor", "10"),
        ("lfu-decay-time", "1"),
        ("active-expire-effort", "1"),
        ("lazyfree-lazy-eviction", "no"),
        ("lazyfree-lazy-expire", "no"),
        ("lazyfree-lazy-server-del", "no"),
        ("lazyfree-lazy-user-del", "no"),
        ("lazyfree-lazy-user-flush", "no"),
        ("list-max-listpack-size", "-2"),
        ("list-compress-depth", "0"),
        ("zset-max-listpack-entries", "128"),
        ("zset-max-ziplist-value", "64"),
        ("appendonly", "no"),
        // Unlike Redis's: no address of other hosts, no save points.
        ("bind", "127.0.0.1"),
        ("save", ""),
    ];
    let config = Config::new();
    for (name, value) in cases {
        assert_eq!(get(&config, name), value, "{name}");
    }
    let directory = std::env::current_dir().unwrap().canonicalize().unwrap();
    assert_eq!(get(&config, "dir"), directory.to_str().unwrap());
}

#[test]
fn get_takes_several_patterns_in_any_case_and_answers_each_option_once() {
    let config = Config::new();
    let names = |patterns: &[&str]| -> Vec<String> {
        let patterns: Vec<_> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
        config.get(&patterns).into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(
        names(&["MAXMEMORY", "maxmemory", "MAXmemory*"]),
        [
            "MAXMEMORY",
            "maxmemory-clients",
            "maxmemory-policy",
            "maxmemory-size-weight",
            "maxmemory-samples",
            "maxmemory-eviction-tenacity",
        ]
    );
    assert_eq!(
        names(&["zset-max-*", "zset-MAX-ziplist-value"]),
        ["zset-max-listpack-entries", "zset-max-ziplist-entries", "zset-max-listpack-value", "zset-max-ziplist-value",]
    );
    assert!(names(&["nosuch", "maxmemory\\", ""]).is_empty());
    assert_eq!(names(&["*"]).len(), rows().flat_map(Row::names).count() + absent_defaults().count());
}

#[test]
fn set_changes_what_get_prints() {
    let cases = [
        ("maxmemory", "1Kb", "1024"),
        ("maxmemory-size-weight", "1", "1"),
        ("maxmemory-size-weight", ".10", "0.1"),
        ("maxmemory-size-weight", "0", "0"),
        ("maxmemory", "", "0"),
        ("MaxMemory-Policy", "ALLKEYS-lru", "allkeys-lru"),
        ("protected-mode", "NO", "no"),
        ("hz", "0", "1"),
        ("hz", "1000", "500"),
        ("notify-keyspace-events", "mngKE", "gnKEm"),
        ("requirepass", "p w", "p w"),
        ("list-max-ziplist-size", "-5", "-5"),
        ("list-max-listpack-size", "-2147483648", "-2147483648"),
        ("zset-max-ziplist-value", "1k", "1000"),
        ("client-output-buffer-limit", "", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
        (
            "client-output-buffer-limit",
            "NORMAL 1kb 2gb 3 replica 1 2 3",
            "normal 1024 2147483648 3 slave 1 2 3 pubsub 33554432 8388608 60",
        ),
        ("save", "", ""),
        ("appendonly", "no", "no"),
        ("maxmemory-clients", "7%", "7%"),
        ("maxmemory-clients", "0%", "0"),
        ("maxmemory-clients", "10mb", "10485760"),
    ];
    for (name, value, printed) in cases {
        let config = Config::new();
        assert!(set(&config, &[name, value]).is_ok(), "{name} {value}");
        assert_eq!(get(&config, name), printed, "{name} {value}");
    }
}

#[test]
fn set_refuses_with_the_words_of_redis() {
    let between = |min: &str, max: &str| format!("argument must be between {min} and {max} inclusive");
    let long_max = "9223372036854775807";
    let number = "argument couldn't be parsed into an integer".to_owned();
    let memory = "argument must be a memory value".to_owned();
    let limits = |part: &str| format!("{part} in buffer limit configuration.");
    let cases = [
        ("timeout", "-1", between("0", "2147483647")),
        ("timeout", "007", number.clone()),
        ("timeout", "", number.clone()),
        ("timeout", "99999999999999999999", number.clone()),
        ("maxmemory", "1x", memory.clone()),
        ("maxmemory", "-1", memory.clone()),
        ("maxmemory", " 1", memory.clone()),
        ("maxmemory-samples", "100", between("1", "64")),
        ("maxmemory-clients", "101%", "percentage argument must be less or equal to 100".into()),
        ("maxmemory-clients", "-1", "argument must be a memory or percent value".into()),
        ("maxmemory-clients", "%", "argument must be a memory or percent value".into()),
        ("maxmemory-clients", "-5%", "argument must be a memory or percent value".into()),
        ("maxmemory-size-weight", "1.1", "argument must be a number from 0 to 1, with two decimals".into()),
        ("maxmemory-size-weight", "0.125", "argument must be a number from 0 to 1, with two decimals".into()),
        ("maxmemory-size-weight", "NaN", "argument must be a number from 0 to 1, with two decimals".into()),
        ("proto-max-bulk-len", "1", between("1048576", long_max)),
        ("proto-max-bulk-len", "18446744073709551615", between("1048576", long_max)),
        ("client-query-buffer-limit", "1", between("1048576", long_max)),
        ("maxclients", "0", between("1", "4294967295")),
        ("maxclients", "-1", between("1", "4294967295")),
        ("list-max-listpack-size", "2147483648", between("-2147483648", "2147483647")),
        ("list-max-ziplist-size", "-2147483649", between("-2147483648", "2147483647")),
        ("list-max-listpack-size", "x", number.clone()),
        ("zset-max-listpack-entries", "-1", between("0", long_max)),
        ("zset-max-listpack-value", "-1", memory),
        ("zset-max-ziplist-entries", "x", number),
        (
            "maxmemory-policy",
            "x",
            "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, \
             allkeys-lru, allkeys-lfu, allkeys-random, noeviction, volatile-adaptive, allkeys-adaptive"
                .into(),
        ),
        ("loglevel", "", "argument(s) must be one of the following: debug, verbose, notice, warning, nothing".into()),
        ("protected-mode", "maybe", "argument must be 'yes' or 'no'".into()),
        ("appendonly", "maybe", "argument must be 'yes' or 'no'".into()),
        ("notify-keyspace-events", "q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
        ("client-output-buffer-limit", "normal 1 2", limits("Wrong number of arguments")),
        ("client-output-buffer-limit", "normal  1 2 3", limits("Wrong number of arguments")),
        ("client-output-buffer-limit", "master 1 2 3", limits("Invalid client class specified")),
        ("client-output-buffer-limit", "normal 1 2 -1", limits("Error in hard, soft or soft_seconds setting")),
        ("save", "1", "Invalid save parameters".into()),
        ("save", "  ", "Invalid save parameters".into()),
        ("save", "0 1", "Invalid save parameters".into()),
        // Not Redis's.
        ("save", "900 1", "persistence is not supported yet".into()),
        ("appendonly", "yes", "persistence is not supported yet".into()),
    ];
    for (name, value, reason) in cases {
        let config = Config::new();
        let before = config.get(&[b"*"]);
        let expected = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}");
        assert_eq!(set(&config, &[&name.to_ascii_uppercase(), value]), Err(expected), "{name} {value}");
        assert_eq!(config.get(&[b"*"]), before, "{name} {value}");
    }
}

#[test]
fn set_refuses_pairs_that_do_not_go_together() {
    let failed =
        |name: &str, reason: &str| format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}");
    let unknown = |name: &str| format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
    let cases: [(&[&str], String); 6] = [
        (&["nosuch", "1", "databases", "1"], unknown("nosuch")),
        (&["databases", "1", "nosuch", "1"], failed("databases", "can't set immutable config")),
        (&["timeout", "1", "TIMEOUT", "2"], failed("TIMEOUT", "duplicate parameter")),
        (&["DIR", "/tmp"], failed("DIR", "can't set protected config")),
        (&["unixsocketperm", "1"], failed("unixsocketperm", "can't set immutable config")),
        (&["", ""], unknown("")),
    ];
    for (words, error) in cases {
        assert_eq!(set(&Config::new(), words), Err(error), "{words:?}");
    }
}

#[test]
fn set_is_all_or_nothing() {
    let config = Config::new();
    assert!(set(&config, &["timeout", "5", "maxmemory", "1mb", "maxmemory-samples", "100"]).is_err());
    assert_eq!((get(&config, "timeout"), get(&config, "maxmemory")), ("0".into(), "0".into()));
    assert!(set(&config, &["timeout", "5", "maxmemory", "1mb", "maxmemory-samples", "10"]).is_ok());
    assert_eq!((get(&config, "timeout"), get(&config, "maxmemory")), ("5".into(), "1048576".into()));
}

#[test]
fn set_names_the_options_that_changed() {
    let config = Config::new();
    assert_eq!(set(&config, &["timeout", "0", "hz", "20", "MAXMEMORY", "1"]), Ok(vec!["hz", "maxmemory"]));
    // A name with its alias is no duplicate, and the last one counts.
    assert_eq!(
        set(&config, &["zset-max-listpack-entries", "7", "zset-max-ziplist-entries", "8"]),
        Ok(vec!["zset-max-listpack-entries"])
    );
    assert_eq!(get(&config, "zset-max-listpack-entries"), "8");
}

#[test]
fn protected_options_ask_who_is_there() {
    for (access, local, remote) in [("no", false, false), ("yes", true, true), ("local", true, false)] {
        let config = Config::from_text(&format!("enable-protected-configs {access}")).unwrap();
        let directory = std::env::temp_dir();
        let pair = [(&b"dir"[..], directory.to_str().unwrap().as_bytes())];
        assert_eq!(config.set(&pair, true).is_ok(), local, "{access}");
        assert_eq!(config.set(&pair, false).is_ok(), remote, "{access}");
    }
}

#[test]
fn dir_must_be_a_directory_and_relative_paths_start_there() {
    let scratch = Scratch::new();
    let file = scratch.file("a/b", "");
    let config = Config::from_text("enable-protected-configs yes").unwrap();
    let dir = |path: &str| set(&config, &["dir", path]);
    let failed = |reason: &str| Err(format!("ERR CONFIG SET failed (possibly related to argument 'dir') - {reason}"));
    assert_eq!(dir(file.to_str().unwrap()), failed("Not a directory"));
    assert_eq!(dir("/no/such/directory"), failed("No such file or directory"));
    assert_eq!(dir(""), failed("No such file or directory"));
    assert_eq!(dir(scratch.0.to_str().unwrap()), Ok(vec!["dir"]));
    assert_eq!(dir("a"), Ok(vec!["dir"]));
    assert_eq!(config.resolve(b"b"), file);
    assert_eq!(config.resolve(b"/b"), PathBuf::from("/b"));
}

#[test]
fn settings_are_typed() {
    let text = "maxmemory 100mb\nmaxmemory-policy allkeys-lfu\nthreads 3\nshards 16\nrequirepass \"\\xff\"\n\
                client-output-buffer-limit pubsub 1mb 2kb 3\nenable-debug-command local\nnotify-keyspace-events Kx";
    let config = Config::from_text(text).unwrap();
    let settings = config.settings();
    assert_eq!(settings.maxmemory.get(), 100 << 20);
    assert_eq!(settings.maxmemory_policy.get(), MaxmemoryPolicy::AllkeysLfu);
    assert_eq!((settings.worker_threads(), settings.shards.as_usize()), (3, 16));
    assert_eq!(*settings.requirepass.get(), [0xff]);
    let limit = OutputLimit { hard_bytes: 1 << 20, soft_bytes: 2 << 10, soft_seconds: 3 };
    assert_eq!(settings.client_output_buffer_limit.get(ClientClass::Pubsub), limit);
    assert!(settings.enable_debug_command.get().allows(true));
    assert!(!settings.enable_debug_command.get().allows(false));
    assert!(settings.notify_keyspace_events.get().contains(KeyspaceEvents::EXPIRED));
    assert!(!settings.notify_keyspace_events.get().contains(KeyspaceEvents::KEYEVENT));
    assert!(is_secret(b"RequirePass") && !is_secret(b"maxmemory"));
    assert!(!format!("{config:?}").contains("requirepass"));
}

#[test]
fn a_wrong_line_is_reported_with_its_number() {
    let cases = [
        ("port 1\n\n# c\nnosuch 1", 4, "Bad directive or wrong number of arguments"),
        ("port", 1, "wrong number of arguments"),
        ("port 1 2", 1, "wrong number of arguments"),
        ("port \"1", 1, "Unbalanced quotes in configuration line"),
        ("port x", 1, "argument couldn't be parsed into an integer"),
        ("port 65536", 1, "argument must be between 0 and 65535 inclusive"),
        ("unixsocketperm 778", 1, "argument couldn't be parsed as an octal number"),
        ("unixsocketperm 1000", 1, "argument must be between 0 and 777 inclusive"),
        ("shards 48", 1, "argument must be a power of two"),
        ("save 900 1", 1, "persistence is not supported yet"),
        ("bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", 1, "Too many bind addresses specified."),
        ("include /no/such/file*/x\ninclude", 2, "Bad directive or wrong number of arguments"),
    ];
    for (text, expected_line, expected) in cases {
        let Err(LoadError::Directive { line, message, .. }) = Config::from_text(text) else {
            panic!("{text} is accepted");
        };
        assert_eq!((line, message.as_str()), (expected_line, expected), "{text}");
    }
    let shown = Config::from_text("\nport x\r\n").unwrap_err().to_string();
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with("*** FATAL CONFIG FILE ERROR (Larder "));
    assert_eq!(
        lines[1..],
        ["Reading the configuration, at line 2", ">>> 'port x'", "argument couldn't be parsed into an integer",]
    );
}

#[test]
fn lines_may_quote_indent_and_repeat() {
    let text =
        "\tPORT  1\r\nport \"2\"\nunixsocketperm 0770\nbind 127.0.0.1 -::1\nrequirepass 'a\\'b'\nSAVE \"\"\nsave";
    let config = Config::from_text(text).unwrap();
    assert_eq!(get(&config, "port"), "2");
    assert_eq!(get(&config, "unixsocketperm"), "770");
    assert_eq!(get(&config, "bind"), "127.0.0.1 -::1");
    assert_eq!(get(&config, "requirepass"), "a'b");
    assert_eq!(get(&Config::from_text("bind \"\"").unwrap(), "bind"), "");
}

#[test]
fn files_include_files_from_dir_and_by_pattern() {
    let scratch = Scratch::new();
    scratch.file("conf.d/2.conf", "timeout 2\nhz 20");
    scratch.file("conf.d/1.conf", "timeout 1\ntcp-keepalive 1");
    scratch.file("conf.d/.hidden.conf", "timeout 3");
    scratch.file("conf.d/other", "timeout 4");
    let main = format!("dir {}\ninclude conf.d/*.conf\ninclude empty.d/*\ntcp-keepalive 2", scratch.0.display());
    let config = Config::from_text(&main).unwrap();
    let values = ["timeout", "hz", "tcp-keepalive"].map(|name| get(&config, name));
    assert_eq!(values, ["2", "20", "2"]);
    let missing = Config::from_text("include /no/such/file").unwrap_err().to_string();
    assert_eq!(missing, "Fatal error, can't open config file '/no/such/file': No such file or directory");
    let itself = scratch.file("itself", &format!("include {}/itself", scratch.0.display()));
    let endless = load(&[itself.to_str().unwrap()], "").unwrap_err().to_string();
    assert!(endless.ends_with("Files include each other too deeply"), "{endless}");
}

#[test]
fn later_sources_override_earlier_ones() {
    let scratch = Scratch::new();
    let file = scratch.file("larder.conf", "port 1\ntimeout 1\nhz 1");
    let arguments = [file.to_str().unwrap(), "--hz", "3", "--hz", "4", "-"];
    let config = load(&arguments, "timeout 2\nhz 2").unwrap();
    assert_eq!(["port", "timeout", "hz"].map(|name| get(&config, name)), ["1", "2", "4"]);
    assert_eq!(config.file(), Some(file.as_path()));
    let config = load(&["-", "--port", "7"], "port 6\ntimeout 6").unwrap();
    assert_eq!(["port", "timeout"].map(|name| get(&config, name)), ["7", "6"]);
    let missing = load(&["/no/such/file"], "").unwrap_err().to_string();
    assert_eq!(missing, "Fatal error, can't open config file '/no/such/file': No such file or directory");
    let wrong = load(&["--port", "x"], "").unwrap_err().to_string();
    assert!(wrong.contains("Reading the command line, at line 1\n>>> 'port \"x\"'"), "{wrong}");
}

#[test]
fn options_of_parts_that_are_not_there_are_passed_over() {
    let config = load(&["--syslog-ident", "64", "--hz", "20"], "").unwrap();
    assert_eq!(config.passed_over(), ["syslog-ident"]);
    assert_eq!(get(&config, "hz"), "20");
    let config = Config::from_text("RdbCompression yes\noom-score-adj-values 0 200 800\nport 7").unwrap();
    assert_eq!(config.passed_over(), ["rdbcompression", "oom-score-adj-values"]);
    assert_eq!(get(&config, "rdbcompression"), "yes");
    assert!(set(&config, &["rdbcompression", "no"]).unwrap_err().ends_with("only the default is supported"));
    assert!(set(&config, &["timeout", "5", "rdbcompression", "no"]).is_err());
    set(&config, &["rdbcompression", "YES", "auto-aof-rewrite-min-size", "64mb", "timeout", "7"]).unwrap();
    assert_eq!(get(&config, "timeout"), "7");
    assert!(set(&config, &["rename-command", "GET"]).unwrap_err().starts_with("ERR Unknown option"));
    let config = Config::from_text("syslog-ident 1\nsyslog-ident 2").unwrap();
    assert_eq!(config.passed_over(), ["syslog-ident"], "each is named once");
    assert!(Config::from_text("rdbcompression").is_err(), "without a value");
    assert!(ABSENT.iter().all(|(name, _)| find(name.as_bytes()).is_none()));
    assert_eq!(get(&config, "key-load-delay"), "0");
    assert!(config.get(&[b"key-load-*"]).is_empty());
    assert!(ABSENT.is_sorted_by(|(one, _), (other, _)| one < other));
}

#[test]
fn what_leaves_a_part_off_is_passed_over_and_what_asks_for_it_is_refused() {
    let off = "cluster-enabled no\nTLS-Port 0\nreplicaof no one\nsyslog-enabled NO";
    assert_eq!(Config::from_text(off).unwrap().passed_over().len(), 4);
    // What the configurations of test suites have.
    let suites = "use-exit-on-panic yes\nshutdown-on-sigterm force\nshutdown-on-sigint nosave now\nkey-load-delay 5\n\
                  crash-memcheck-enabled no\npropagation-error-behavior panic\nwatchdog-period 0";
    assert_eq!(Config::from_text(suites).unwrap().passed_over().len(), 7);
    let refused = [
        "shutdown-on-sigterm save",
        "cluster-enabled yes",
        "replicaof 127.0.0.1 7",
        "slaveof 127.0.0.1 7",
        "tls-port 6380",
        "loadmodule x.so",
        "rename-command GET x",
        "masterauth x",
        "syslog-enabled yes",
        "min-replicas-to-write 1",
    ];
    for line in refused {
        let error = Config::from_text(line).unwrap_err().to_string();
        assert!(error.ends_with(&format!("\n'{line}' is not supported")), "{line}: {error}");
    }
    for line in ["rdbcompression maybe", "cluster-enabled 1", "repl-diskless-sync \"\"", "slave-read-only yes no"] {
        let error = Config::from_text(line).unwrap_err().to_string();
        assert!(error.ends_with("\nargument must be 'yes' or 'no'"), "{line}: {error}");
    }
    for line in ["save 3600 1", "appendonly yes"] {
        let error = Config::from_text(line).unwrap_err().to_string();
        assert!(error.ends_with("persistence is not supported yet"), "{line}: {error}");
    }
    let error = load(&["--cluster-enabled", "yes"], "").unwrap_err().to_string();
    assert!(error.ends_with("\n'cluster-enabled yes' is not supported"), "{error}");
}

#[test]
fn users_may_be_declared() {
    let text = "user alice on >secret ~a* +@all\nUSER bob (~x \"+get\" ) off\nport 7";
    let config = Config::from_text(text).unwrap();
    let shown = |user: &UserLine| {
        let rules = user.rules.join(&b'|');
        format!("{}: {}", String::from_utf8_lossy(&user.name), String::from_utf8_lossy(&rules))
    };
    let users: Vec<_> = config.users().iter().map(shown).collect();
    assert_eq!(users, ["alice: on|>secret|~a*|+@all", "bob: (~x +get )|off"]);
    let config = load(&["--user", "alice", "on", "nopass", "--port", "7"], "").unwrap();
    assert_eq!(config.users().iter().map(shown).collect::<Vec<_>>(), ["alice: on|nopass"]);
    for (text, reason) in [
        ("user", "wrong number of arguments"),
        ("user \"a b\" on", "Spaces not allowed in ACL usernames"),
        ("user a on\nuser a off", "'a': Duplicate user found. A user can only be defined once in config files"),
        ("user a (+get", "'(+get': Unmatched parenthesis"),
        ("user a nosuch", "'nosuch': Syntax error"),
        ("user a +nosuch", "'+nosuch': Unknown command or category name in ACL"),
    ] {
        let error = Config::from_text(text).unwrap_err().to_string();
        assert!(error.ends_with(reason), "{text}: {error}");
    }
}

#[test]
fn rewrite_puts_users_where_they_stood() {
    let scratch = Scratch::new();
    let file = scratch.file("larder.conf", "user alice on\nport 7\nuser bob off\nuser carol off");
    let config = load(&[file.to_str().unwrap()], "").unwrap();
    let users = [&b"alice on ~a\"b #12"[..], b"default on", b" off"].map(<[u8]>::to_vec);
    config.rewrite(&users).unwrap();
    let lines =
        |text: &str| text.lines().filter(|line| line.starts_with("user")).map(str::to_owned).collect::<Vec<_>>();
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(lines(&text), ["user alice on \"~a\\\"b\" #12", "user default on", "user \"\" off"]);
    assert!(text.starts_with("user alice on \"~a\\\"b\" #12\nport 7\nuser default on\n"), "{text}");
    config.rewrite(&[]).unwrap();
    assert!(lines(&std::fs::read_to_string(&file).unwrap()).is_empty(), "they stand in a file of their own");
}

#[test]
fn rewrite_keeps_what_is_passed_over() {
    check_rewrite("rdbcompression no\ndir DIR\nsave \"\"", &[], "rdbcompression no\ndir \"DIR\"\nsave \"\"\n");
}

#[test]
fn rewrite_needs_a_file() {
    assert_eq!(Config::new().rewrite(&[]), Err("ERR The server is running without a config file".into()));
}

/// Loads a file, changes options, rewrites, and compares with what is expected; `DIR` stands for the directory.
fn check_rewrite(before: &str, changes: &[&str], after: &str) {
    let scratch = Scratch::new();
    let dir = scratch.0.to_str().unwrap();
    let file = scratch.file("larder.conf", &before.replace("DIR", dir));
    let config = load(&[file.to_str().unwrap()], "").unwrap();
    set(&config, changes).unwrap();
    config.rewrite(&[]).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), after.replace("DIR", dir));
    // What was written is read back as it was.
    let again = load(&[file.to_str().unwrap()], "").unwrap();
    assert_eq!(again.get(&[b"*"]), config.get(&[b"*"]));
    // As in Redis, the end of the last line counts as an empty line, once.
    for _ in 0..2 {
        again.rewrite(&[]).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, format!("{}\n", after.replace("DIR", dir)));
    }
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn rewrite_keeps_comments_and_order_and_appends_the_rest() {
    check_rewrite(
        "# my conf\nport 0\n\n\n# mem\nzset-max-ziplist-entries 100\nmaxmemory 1mb\nmaxmemory 2mb\n\
         logfile \"\"\nunixsocket DIR/s.sock\nsave \"\"\nsave \"\"\ndir DIR\n\
         client-output-buffer-limit normal 1mb 0 0 replica 1 2 3\n",
        &[
            "zset-max-listpack-entries",
            "8",
            "maxmemory",
            "1gb",
            "client-output-buffer-limit",
            "NORMAL 1kb 2gb 3",
            "notify-keyspace-events",
            "mngKE",
            "hz",
            "500",
        ],
        "# my conf\nport 0\n\n# mem\nzset-max-listpack-entries 8\nmaxmemory 1gb\n\nlogfile \"\"\n\
         unixsocket \"DIR/s.sock\"\nsave \"\"\n\ndir \"DIR\"\nclient-output-buffer-limit normal 1kb 2gb 3\n\n\
         # Generated by CONFIG REWRITE\nclient-output-buffer-limit replica 1 2 3\nhz 500\n\
         notify-keyspace-events \"gnKEm\"\n",
    );
}

#[test]
fn rewrite_removes_what_is_not_set_and_signs_once() {
    check_rewrite(
        "requirepass \"old\"\ndir DIR\n  TIMEOUT 5  \nsave \"\"\n# Generated by CONFIG REWRITE\nbind 127.0.0.1\nunixsocketperm 0770\n",
        &["requirepass", "", "loglevel", "debug", "timeout", "0"],
        "\ndir \"DIR\"\ntimeout 0\nsave \"\"\n# Generated by CONFIG REWRITE\nbind 127.0.0.1\nunixsocketperm 770\n\n\
         loglevel debug\n",
    );
}

#[test]
fn rewrite_quotes_any_bytes() {
    check_rewrite(
        "dir DIR\nsave \"\"\n",
        &["requirepass", "a \"b\"\\\n\u{e9}"],
        "dir \"DIR\"\nsave \"\"\n\n# Generated by CONFIG REWRITE\nrequirepass \"a \\\"b\\\"\\\\\\n\\xc3\\xa9\"\n",
    );
}

#[test]
fn rewrite_marks_lines_that_it_does_not_understand() {
    let scratch = Scratch::new();
    let file = scratch.file("larder.conf", "port 1");
    let config = load(&[file.to_str().unwrap(), "--dir", scratch.0.to_str().unwrap()], "").unwrap();
    fs::write(&file, "nosuch 1\nport \"2\ninclude x*\nport 3").unwrap();
    config.rewrite(&[]).unwrap();
    let expected = format!(
        "# ??? nosuch 1\n# ??? port \"2\ninclude x*\nport 1\n# Generated by CONFIG REWRITE\ndir \"{}\"\nsave \"\"\n",
        scratch.0.display()
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    fs::remove_file(&file).unwrap();
    config.rewrite(&[]).unwrap();
    assert!(fs::read_to_string(&file).unwrap().starts_with("# Generated by CONFIG REWRITE\nport 1\n"));
}

#[test]
fn rewrite_says_what_the_system_says() {
    let scratch = Scratch::new();
    let file = scratch.file("sub/larder.conf", "port 1");
    let config = load(&[file.to_str().unwrap()], "").unwrap();
    fs::remove_dir_all(scratch.0.join("sub")).unwrap();
    assert_eq!(config.rewrite(&[]), Err("ERR Rewriting config file: No such file or directory".into()));
}

#[cfg(unix)]
#[test]
fn rewrite_keeps_the_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let file = scratch.file("larder.conf", "requirepass x");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    load(&[file.to_str().unwrap()], "").unwrap().rewrite(&[]).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_manual_has_every_option() {
    let manual = options_markdown();
    for row in rows() {
        assert_eq!(manual.matches(&format!("| `{}`", row.name)).count(), 1, "{}", row.name);
        assert!(!row.summary.is_empty() && !row.summary.contains(['|', '\n']), "{}", row.name);
    }
    assert!(manual.contains(
        "| `zset-max-listpack-value`, also `zset-max-ziplist-value` | bytes, with or without a unit | `64` | yes |"
    ));
}
