//! What every command has: the version and family that a real redis-server tells of it, and calls in the corpus.

use larder_tests::frame::Frame;
use larder_tests::{RawClient, Redis, TestServer, corpus};
use std::path::Path;

/// Commands that no corpus can send, and why.
const NOT_IN_THE_CORPUS: &[(&str, &str)] = &[("SHUTDOWN", "it ends the server: see crash.rs")];

/// The names of all commands that a server has, in capitals, subcommands as `CONFIG|GET`.
fn names(client: &mut RawClient) -> Vec<String> {
    let listed = client.ask("COMMAND LIST").items;
    listed.into_iter().map(|name| String::from_utf8(name.text).unwrap().to_uppercase()).collect()
}

/// What COMMAND DOCS says of a command under some heads, one after the other.
fn docs(client: &mut RawClient, name: &str, heads: &[&str]) -> Vec<String> {
    let answer = client.ask(&format!("COMMAND DOCS {name}"));
    let facts: &[Frame] = answer.items.get(1).map_or(&[], |facts| &facts.items);
    let value = |head: &&str| facts.chunks(2).find(|pair| pair[0].text == head.as_bytes());
    heads.iter().filter_map(value).map(|pair| String::from_utf8(pair[1].text.clone()).unwrap()).collect()
}

#[test]
fn versions_and_families_are_those_that_redis_tells() {
    let Some(redis) = Redis::start() else { return };
    let server = TestServer::start();
    let (mut ours, mut theirs) = (server.client(), redis.client());
    let heads = ["since", "group"];
    let mut wrong = Vec::new();
    let mut compared = 0;
    for name in names(&mut ours) {
        let expected = docs(&mut theirs, &name, &heads);
        // An older peer has not all of them.
        if expected.is_empty() {
            continue;
        }
        compared += 1;
        let actual = docs(&mut ours, &name, &heads);
        if actual != expected {
            wrong.push(format!("{name}: {actual:?}, in Redis {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 100, "{compared}");
}

#[test]
fn every_command_is_in_the_corpus() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let texts =
        std::fs::read_dir(directory).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let sent: Vec<_> = texts.map(|text| corpus::names(&text)).collect();
    let is_sent = |name: &str| sent.iter().any(|names| names.contains(name));
    let server = TestServer::start();
    let names = names(&mut server.client());
    let is_excused = |name: &str| NOT_IN_THE_CORPUS.iter().any(|(known, _)| *known == name);
    let missing: Vec<_> = names.iter().filter(|name| !is_sent(name) && !is_excused(name)).collect();
    assert!(missing.is_empty(), "not in tests/tests/corpus: {missing:?}");
    let stale: Vec<_> = NOT_IN_THE_CORPUS.iter().filter(|(name, _)| is_sent(name)).collect();
    assert!(stale.is_empty(), "no exceptions any more: {stale:?}");
}
