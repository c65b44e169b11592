//! The text files in `corpus/`, each compared with a real redis-server in RESP2 and RESP3.

use larder_tests::corpus;

#[test]
fn strings() {
    corpus::run(include_str!("corpus/strings.txt"));
}

#[test]
fn counters() {
    corpus::run(include_str!("corpus/counters.txt"));
}

#[test]
fn keys() {
    corpus::run(include_str!("corpus/keys.txt"));
}

#[test]
fn values_as_bytes() {
    corpus::run(include_str!("corpus/dump.txt"));
}

#[test]
fn expiry() {
    corpus::run(include_str!("corpus/expire.txt"));
}

#[test]
fn scan() {
    corpus::run(include_str!("corpus/scan.txt"));
}

#[test]
fn sorting() {
    corpus::run(include_str!("corpus/sort.txt"));
}

#[test]
fn scripts() {
    corpus::run(include_str!("corpus/scripting.txt"));
}

/// A script that the server knows may run elsewhere than one that it sees for the first time.
#[test]
fn scripts_that_are_known() {
    let twice = |line: &str| if line.starts_with("EVAL") { format!("{line}\n{line}\n") } else { format!("{line}\n") };
    let text: String = include_str!("corpus/scripting.txt").lines().map(twice).collect();
    corpus::run(&text);
}

#[test]
fn patterns_in_scripts() {
    corpus::run(include_str!("corpus/scripting_patterns.txt"));
}

#[test]
fn lua() {
    corpus::run(include_str!("corpus/scripting_lua.txt"));
}

#[test]
fn libraries_of_scripts() {
    corpus::run(include_str!("corpus/scripting_libraries.txt"));
}

#[test]
fn functions() {
    corpus::run(include_str!("corpus/functions.txt"));
}

#[test]
fn sets() {
    corpus::run(include_str!("corpus/set.txt"));
}

#[test]
fn lists() {
    corpus::run(include_str!("corpus/lists.txt"));
}

#[test]
fn lists_are_waited_for() {
    corpus::run(include_str!("corpus/list_blocking.txt"));
}

#[test]
fn sorted_sets_change() {
    corpus::run(include_str!("corpus/zset_add.txt"));
}

#[test]
fn sorted_sets_are_waited_for() {
    corpus::run(include_str!("corpus/zset_blocking.txt"));
}

#[test]
fn tracking() {
    corpus::run(include_str!("corpus/tracking.txt"));
}

#[test]
fn sorted_sets_are_ranged_over() {
    corpus::run(include_str!("corpus/zset_range.txt"));
}

#[test]
fn sorted_sets_are_combined() {
    corpus::run(include_str!("corpus/zset_algebra.txt"));
}

#[test]
fn hashes() {
    corpus::run(include_str!("corpus/hash.txt"));
}

#[test]
fn bitmaps() {
    corpus::run(include_str!("corpus/bitmap.txt"));
}

#[test]
fn hyperloglogs() {
    corpus::run(include_str!("corpus/hyperloglog.txt"));
}

#[test]
fn places() {
    corpus::run(include_str!("corpus/geo.txt"));
}

#[test]
fn streams_grow_and_shrink() {
    corpus::run(include_str!("corpus/stream_add.txt"));
}

#[test]
fn streams_are_read() {
    corpus::run(include_str!("corpus/stream_read.txt"));
}

#[test]
fn streams_are_read_by_groups() {
    corpus::run(include_str!("corpus/stream_groups.txt"));
}

#[test]
fn publish_and_subscribe() {
    corpus::run(include_str!("corpus/pubsub.txt"));
}

#[test]
fn transactions() {
    corpus::run(include_str!("corpus/transactions.txt"));
}

#[test]
fn connections() {
    corpus::run(include_str!("corpus/connection.txt"));
}

#[test]
fn users() {
    corpus::run(include_str!("corpus/acl.txt"));
}

#[test]
fn protocol() {
    corpus::run(include_str!("corpus/protocol.txt"));
}

#[test]
fn server() {
    corpus::run(include_str!("corpus/server.txt"));
}

#[test]
fn introspection() {
    corpus::run(include_str!("corpus/introspection.txt"));
}

#[test]
fn debug() {
    corpus::run_with(&["--enable-debug-command", "yes"], include_str!("corpus/debug.txt"));
}

#[test]
fn answers_that_differ() {
    corpus::run(include_str!("corpus/differences.txt"));
}

#[test]
fn password() {
    corpus::run_with(&["--requirepass", "secret"], include_str!("corpus/auth.txt"));
}
