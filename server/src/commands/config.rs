//! CONFIG: the options, while the server runs. What an option takes and when it may change is in [`crate::config`].

use larder_protocol::{Args, Reply};

use super::command::*;
use super::command_info::help;
use crate::engine::Engine;
use crate::error::{Error, Outcome, SYNTAX};
use crate::session::Session;

const USUAL: u32 = ADMIN | NOSCRIPT | LOADING | STALE;

pub(super) const COMMANDS: &[Command] = &[
    Command::container("CONFIG")
        .group(Group::Server)
        .since("2.0.0")
        .complexity("Depends on the subcommand")
        .summary("Reads and changes the options of the server."),
    Command::session("CONFIG|GET", Arity::at_least(2), get)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.0.0")
        .syntax("parameter...")
        .summary("Answers the names and values of options; names may be patterns.")
        .complexity("O(N) for N patterns")
        .examples(&[
            ("CONFIG GET maxmemory-policy", "1) \"maxmemory-policy\"\n2) \"noeviction\""),
            ("CONFIG GET no-such-option", "(empty array)"),
        ]),
    Command::session("CONFIG|SET", Arity::at_least(3), set)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.0.0")
        .syntax("(parameter value)...")
        .summary("Changes options, all of those given or none.")
        .complexity("O(N) for N options")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .examples(&[
            ("CONFIG SET timeout 300 hz 20", "OK"),
            ("CONFIG GET timeout", "1) \"timeout\"\n2) \"300\""),
            ("CONFIG SET timeout 0 hz 10", "OK"),
            (
                "CONFIG SET port 7000",
                "(error) ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config",
            ),
        ]),
    Command::session("CONFIG|RESETSTAT", Arity::exactly(1), resetstat)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.0.0")
        .complexity("O(1)")
        .summary("Sets the statistics that INFO shows back to zero.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .examples(&[("CONFIG RESETSTAT", "OK")]),
    Command::session("CONFIG|REWRITE", Arity::exactly(1), rewrite)
        .flags(USUAL)
        .group(Group::Server)
        .since("2.8.0")
        .complexity("O(1)")
        .summary("Writes the options, as they are now, into the configuration file.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .examples(&[("CONFIG REWRITE", "(error) ERR The server is running without a config file")]),
    Command::session("CONFIG|HELP", Arity::exactly(1), help)
        .flags(LOADING | STALE)
        .group(Group::Server)
        .since("5.0.0")
        .complexity("O(1)")
        .summary("Lists the subcommands of CONFIG."),
];

fn get(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let patterns: Vec<&[u8]> = args.from(2).iter().collect();
    let found = engine.config().get(&patterns);
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(&value);
    }
    Ok(())
}

fn set(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let words: Vec<&[u8]> = args.from(2).iter().collect();
    let (pairs, []) = words.as_chunks::<2>() else { return Err(SYNTAX) };
    let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|[name, value]| (*name, *value)).collect();
    let addresses = &session.client.addresses;
    let changed = engine.config().set(&pairs, addresses.loopback || addresses.unix)?;
    if changed.contains(&"requirepass") {
        engine.acl().follow_requirepass(engine.config());
    }
    if changed.contains(&"cache-insight") && engine.insight_is_off() {
        engine.insight.forget(engine);
    }
    if ["maxmemory", "maxmemory-clients"].iter().any(|name| changed.contains(name)) {
        engine.client_memory.follow_limit(engine);
    }
    reply.ok();
    Ok(())
}

fn resetstat(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    engine.stats().reset();
    engine.rates.reset();
    engine.loops.reset();
    engine.evictor().forget_excess();
    engine.reset_freed_count();
    reply.ok();
    Ok(())
}

fn rewrite(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    // Users stand in the file unless they have one of their own.
    let users = if engine.settings().aclfile.is_empty() { engine.acl().lines() } else { Vec::new() };
    engine.config().rewrite(&users).map_err(Error::made)?;
    tracing::info!("the configuration file has been rewritten");
    reply.ok();
    Ok(())
}
