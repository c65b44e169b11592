//! The generated documents are up to date, and every example of a command's row is true.
//!
//! `LARDER_WRITE_DOCS=1 cargo test -p larder-tests --test docs` writes the documents anew.

use larder_tests::Redis;
use std::path::Path;

fn check_document(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("LARDER_WRITE_DOCS").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == expected, "docs/{name} is out of date; CONTRIBUTING.md says how to write it anew");
}

#[test]
fn commands_are_documented() {
    check_document("commands.md", &larder::docs::commands_markdown());
}

#[test]
fn every_command_of_redis_is_in_the_manual_or_listed_as_missing() {
    let Some(redis) = Redis::start() else { return };
    let manual = larder::docs::commands_markdown();
    let (present, missing) = manual.split_once("## Commands of Redis 7.4 that are not there yet").unwrap();
    let listed = redis.client().ask("COMMAND LIST").items;
    assert!(listed.len() > 300, "{}", listed.len());
    for frame in listed {
        let name = String::from_utf8(frame.text).unwrap().to_uppercase().replace('|', " ");
        let is_present = present.contains(&format!("\n### {name}\n"));
        let container = name.split(' ').next().unwrap_or_default();
        let is_missing = [name.as_str(), container].iter().any(|name| missing.contains(&format!("`{name}`")));
        assert!(is_present != is_missing, "{name}");
    }
}

#[test]
fn differences_are_documented() {
    check_document("differences.md", &larder_tests::differences::markdown(include_str!("corpus/differences.txt")));
}

#[test]
fn options_are_documented() {
    check_document("options.md", &larder::config::options_markdown());
}
