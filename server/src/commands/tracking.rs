//! CLIENT TRACKING and its kin: a client asks to be told when keys change that it has read.

use std::collections::BTreeSet;

use larder_protocol::{Args, Reply};

use super::command::*;
use super::parse::{integer, is};
use crate::engine::Engine;
use crate::error::{
    CACHING_NO_WITHOUT_OPTOUT, CACHING_WITHOUT_TRACKING, CACHING_YES_WITHOUT_OPTIN, Error, NO_SUCH_REDIRECTION,
    Outcome, SYNTAX, TRACKING_BCAST_WITH_OPT, TRACKING_BOTH_OPTS, TRACKING_PREFIX_WITHOUT_BCAST,
    TRACKING_SWITCHES_BCAST, TRACKING_SWITCHES_OPT, TRACKING_TWO_REDIRECTIONS, prefixes_overlap,
};
use crate::session::Session;
use crate::tracking::Mode;

const USUAL: u32 = NOSCRIPT | LOADING | STALE;

pub(super) const COMMANDS: &[Command] = &[
    Command::session("CLIENT|TRACKING", Arity::at_least(2), tracking)
        .flags(USUAL)
        .group(Group::Connection)
        .since("6.0.0")
        .syntax("(ON | OFF) [REDIRECT client-id] [PREFIX prefix]... [BCAST] [OPTIN] [OPTOUT] [NOLOOP]")
        .complexity("O(1), with prefixes O(N) for N of them")
        .summary("Asks to be told when a key changes that the connection has read, or that begins with a prefix.")
        .examples(&[
            ("CLIENT TRACKING on NOLOOP", "OK"),
            ("CLIENT TRACKING on PREFIX a", "(error) ERR PREFIX option requires BCAST mode to be enabled"),
            ("CLIENT TRACKING off", "OK"),
        ]),
    Command::session("CLIENT|CACHING", Arity::exactly(2), caching)
        .flags(USUAL)
        .group(Group::Connection)
        .since("6.0.0")
        .syntax("YES | NO")
        .complexity("O(1)")
        .summary("Says whether the keys that the next command reads are tracked.")
        .examples(&[("CLIENT TRACKING on OPTIN", "OK"), ("CLIENT CACHING yes", "OK")]),
    Command::session("CLIENT|GETREDIR", Arity::exactly(1), getredir)
        .flags(USUAL)
        .group(Group::Connection)
        .since("6.0.0")
        .complexity("O(1)")
        .summary("Answers the number of the connection that hears of changed keys in place of this one; 0 if it does itself, -1 if nobody does.")
        .examples(&[
            ("CLIENT GETREDIR", "(integer) -1"),
            ("CLIENT TRACKING on", "OK"),
            ("CLIENT GETREDIR", "(integer) 0"),
        ]),
    Command::session("CLIENT|TRACKINGINFO", Arity::exactly(1), trackinginfo)
        .flags(USUAL)
        .group(Group::Connection)
        .since("6.2.0")
        .complexity("O(1)")
        .summary("Describes how the connection tracks keys.")
        .examples(&[(
            "CLIENT TRACKINGINFO",
            "1) \"flags\"\n2) 1) \"off\"\n3) \"redirect\"\n4) (integer) -1\n5) \"prefixes\"\n6) (empty array)",
        )]),
];

/// Reads the options of CLIENT TRACKING.
fn parse(engine: &Engine, session: &Session, options: Args<'_>) -> Result<(Mode, Vec<Vec<u8>>), Error> {
    let (mut mode, mut prefixes) = (Mode::default(), Vec::new());
    let mut words = options;
    while let Some(word) = words.get(0) {
        let value = words.get(1);
        words = words.from(1);
        match value {
            Some(id) if is(word, "REDIRECT") => {
                if mode.redirect != 0 {
                    return Err(TRACKING_TWO_REDIRECTIONS);
                }
                mode.redirect = integer(id)? as u64;
                if mode.redirect != session.client.id && engine.clients().get(mode.redirect).is_none() {
                    return Err(NO_SUCH_REDIRECTION);
                }
                words = words.from(1);
            }
            Some(prefix) if is(word, "PREFIX") => {
                prefixes.push(prefix.to_vec());
                words = words.from(1);
            }
            _ if is(word, "BCAST") => mode.broadcasts = true,
            _ if is(word, "OPTIN") => mode.opt_in = true,
            _ if is(word, "OPTOUT") => mode.opt_out = true,
            _ if is(word, "NOLOOP") => mode.no_loop = true,
            _ => return Err(SYNTAX),
        }
    }
    Ok((mode, prefixes))
}

/// Whether the options go together, and with what holds so far.
fn check(mode: &Mode, prefixes: &[Vec<u8>], before: Option<&Mode>) -> Outcome {
    if !mode.broadcasts && !prefixes.is_empty() {
        return Err(TRACKING_PREFIX_WITHOUT_BCAST);
    }
    if before.is_some_and(|before| before.broadcasts != mode.broadcasts) {
        return Err(TRACKING_SWITCHES_BCAST);
    }
    if mode.broadcasts && (mode.opt_in || mode.opt_out) {
        return Err(TRACKING_BCAST_WITH_OPT);
    }
    if mode.opt_in && mode.opt_out {
        return Err(TRACKING_BOTH_OPTS);
    }
    if before.is_some_and(|before| mode.opt_in && before.opt_out || mode.opt_out && before.opt_in) {
        return Err(TRACKING_SWITCHES_OPT);
    }
    let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
    let known: &BTreeSet<Vec<u8>> = &before.map(|before| before.prefixes.clone()).unwrap_or_default();
    for (number, prefix) in prefixes.iter().enumerate() {
        if let Some(other) = known.iter().find(|other| overlap(prefix, other)) {
            return Err(prefixes_overlap(prefix, "an existing", other));
        }
        if let Some(other) = prefixes[number + 1..].iter().find(|other| overlap(prefix, other)) {
            return Err(prefixes_overlap(prefix, "another provided", other));
        }
    }
    Ok(())
}

fn tracking(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (mut mode, prefixes) = parse(engine, session, args.from(3))?;
    if is(args.at(2), "ON") {
        check(&mode, &prefixes, session.client.tracking.lock().as_ref())?;
        mode.prefixes = prefixes.into_iter().collect();
        engine.tracking().enable(&session.client, mode);
        session.tracks = true;
    } else if is(args.at(2), "OFF") {
        engine.tracking().disable(&session.client);
        session.tracks = false;
    } else {
        return Err(SYNTAX);
    }
    reply.ok();
    Ok(())
}

fn caching(_: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let mut mode = session.client.tracking.lock();
    let Some(mode) = &mut *mode else { return Err(CACHING_WITHOUT_TRACKING) };
    match args.at(2) {
        word if is(word, "YES") && !mode.opt_in => return Err(CACHING_YES_WITHOUT_OPTIN),
        word if is(word, "NO") && !mode.opt_out => return Err(CACHING_NO_WITHOUT_OPTOUT),
        word if is(word, "YES") || is(word, "NO") => mode.caching = true,
        _ => return Err(SYNTAX),
    }
    reply.ok();
    Ok(())
}

/// The number of the client that is told, as GETREDIR and TRACKINGINFO answer it.
fn redirection(mode: Option<&Mode>) -> i64 {
    mode.map_or(-1, |mode| mode.redirect as i64)
}

fn getredir(_: &Engine, session: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    reply.int(redirection(session.client.tracking.lock().as_ref()));
    Ok(())
}

fn trackinginfo(_: &Engine, session: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let mode = session.client.tracking.lock();
    let mut flags = vec![if mode.is_some() { "on" } else { "off" }];
    if let Some(mode) = &*mode {
        let named = [
            (mode.broadcasts, "bcast"),
            (mode.opt_in, "optin"),
            (mode.opt_in && mode.caching, "caching-yes"),
            (mode.opt_out, "optout"),
            (mode.opt_out && mode.caching, "caching-no"),
            (mode.no_loop, "noloop"),
            (mode.is_broken, "broken_redirect"),
        ];
        flags.extend(named.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name));
    }
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    reply.int(redirection(mode.as_ref()));
    reply.bulk(b"prefixes");
    let prefixes = mode.as_ref().map(|mode| mode.prefixes.clone()).unwrap_or_default();
    reply.array(prefixes.len());
    prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    Ok(())
}
