//! INFO: every field of redis-server is there, and what is measured follows what happens.

use larder_tests::{Both, RawClient, TestServer, soon};
use std::collections::BTreeSet;
use std::time::Duration;

/// The names of an INFO text's fields, but for those that the commands run so far add.
fn names(client: &mut RawClient) -> BTreeSet<String> {
    let text = String::from_utf8(client.ask("INFO everything").text).unwrap();
    let names = text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned());
    let depends = ["cmdstat_", "errorstat_", "latency_percentiles_usec_"];
    names.filter(|name| !depends.iter().any(|prefix| name.starts_with(prefix))).collect()
}

fn fact(client: &mut RawClient, name: &str) -> f64 {
    let text = String::from_utf8(client.ask("INFO everything").text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).expect(name).to_owned();
    line.parse().unwrap()
}

/// Fields of Redis 7.4 that 7.0 has not, without those of a replica, of loading, of ending, and of files that are not written.
const NEWER: &[&str] = &[
    "clients_in_timeout_table",
    "current_eviction_exceeded_time",
    "eventloop_cycles",
    "eventloop_duration_cmd_sum",
    "eventloop_duration_sum",
    "evicted_scripts",
    "expired_subkeys",
    "instantaneous_eventloop_cycles_per_sec",
    "instantaneous_eventloop_duration_usec",
    "mem_overhead_db_hashtable_rehashing",
    "pubsub_clients",
    "pubsubshard_channels",
    "server_time_usec",
    "total_blocking_keys",
    "total_blocking_keys_on_nokey",
    "total_watched_keys",
    "watching_clients",
];

#[test]
fn every_field_of_redis_is_there() {
    let Some(both) = Both::start() else { return };
    let mut fields = [&both.subject, &both.peer].map(|server| {
        let mut client = server.client();
        client.check("SET k v EX 1000", "+OK\r\n");
        names(&mut client)
    });
    fields[1].extend(NEWER.iter().map(|name| (*name).to_owned()));
    let missing: Vec<_> = fields[1].difference(&fields[0]).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn time_above_the_limit_is_counted() {
    let server = TestServer::with(&["--maxmemory-policy", "noeviction"]);
    let mut client = server.client();
    client.call(&["SET", "k", &"v".repeat(2 << 20)]);
    client.check("CONFIG SET maxmemory 1mb", "+OK\r\n");
    soon("it is above", || fact(&mut client, "current_eviction_exceeded_time") >= 20.0);
    assert_eq!(fact(&mut client, "total_eviction_exceeded_time"), 0.0);
    client.check("DEL k", ":1\r\n");
    soon("it is below", || fact(&mut client, "current_eviction_exceeded_time") == 0.0);
    assert!(fact(&mut client, "total_eviction_exceeded_time") >= 20.0);
    client.check("CONFIG RESETSTAT", "+OK\r\n");
    assert_eq!(fact(&mut client, "total_eviction_exceeded_time"), 0.0);
}

#[test]
fn what_the_cache_learns_is_counted_apart() {
    let server = TestServer::with(&["--maxmemory", "1mb", "--maxmemory-policy", "allkeys-adaptive"]);
    let mut client = server.client();
    for number in 0..5000 {
        client.check(&format!("SET key:{number} {}", "v".repeat(300)), "+OK\r\n");
    }
    soon("both have learnt", || {
        fact(&mut client, "mem_cache_insight") > 1000.0 && fact(&mut client, "mem_eviction_policy") > 1000.0
    });
    assert!(fact(&mut client, "used_memory") > 900_000.0, "data only");
    let silent = TestServer::with(&["--cache-insight", "no"]);
    let mut client = silent.client();
    client.check("SET k v", "+OK\r\n");
    client.check("DEL k", ":1\r\n");
    assert_eq!(fact(&mut client, "mem_cache_insight"), 0.0);
    assert_eq!(fact(&mut client, "mem_eviction_policy"), 0.0);
}

#[test]
fn keys_that_should_be_gone_are_a_share_of_those_that_expire() {
    let server = TestServer::with(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    assert_eq!(fact(&mut client, "expired_stale_perc"), 0.0);
    client.check("DEBUG SET-ACTIVE-EXPIRE 0", "+OK\r\n");
    for number in 0..200 {
        client.check(&format!("SET short:{number} v PX 1"), "+OK\r\n");
        client.check(&format!("SET long:{number} v EX 1000"), "+OK\r\n");
    }
    std::thread::sleep(Duration::from_millis(5));
    let stale = fact(&mut client, "expired_stale_perc");
    assert!((30.0..70.0).contains(&stale), "{stale}");
    client.check("DEBUG SET-ACTIVE-EXPIRE 1", "+OK\r\n");
    soon("they are removed", || fact(&mut client, "expired_stale_perc") == 0.0);
}

#[test]
fn loops_are_counted() {
    let server = TestServer::start();
    let mut client = server.client();
    let before = fact(&mut client, "eventloop_cycles");
    (0..500).for_each(|_| client.check("PING", "+PONG\r\n"));
    let after = fact(&mut client, "eventloop_cycles");
    assert!(after >= before + 500.0, "{before} {after}");
    assert!(fact(&mut client, "eventloop_duration_sum") >= 500.0);
    assert!(fact(&mut client, "eventloop_duration_cmd_sum") > 0.0);
    soon("the rate is known", || fact(&mut client, "instantaneous_eventloop_cycles_per_sec") > 1.0);
    client.check("CONFIG RESETSTAT", "+OK\r\n");
    assert!(fact(&mut client, "eventloop_cycles") < 500.0);
}

#[test]
fn the_replication_id_changes_alone() {
    let server = TestServer::with(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    let ids = |client: &mut RawClient| {
        let text = String::from_utf8(client.ask("INFO everything").text).unwrap();
        ["run_id:", "master_replid:"]
            .map(|name| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned())
    };
    let before = ids(&mut client);
    client.check("DEBUG CHANGE-REPL-ID", "+OK\r\n");
    let after = ids(&mut client);
    assert!(before[0] == after[0] && before[1] != after[1] && after[0] != after[1], "{before:?} {after:?}");
    assert!(after.iter().all(|id| id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
}

#[test]
fn background_work_rests_when_it_is_told_to() {
    let server = TestServer::with(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    client.check("DEBUG PAUSE-CRON 1", "+OK\r\n");
    std::thread::sleep(Duration::from_millis(50));
    client.check("SET k v PX 1", "+OK\r\n");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(fact(&mut client, "expired_keys"), 0.0);
    client.check("DEBUG PAUSE-CRON 0", "+OK\r\n");
    soon("it goes on", || fact(&mut client, "expired_keys") == 1.0);
}
