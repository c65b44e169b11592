//! The connection itself: who it is, what it speaks, which database it works on, and its end.

use std::sync::atomic::Ordering::Relaxed;

use larder_protocol::{Args, Proto, Reply, parse_i64};

use super::client::is_name;
use super::command::*;
use super::databases::database;
use super::parse::is;
use crate::acl::{Login, denial};
use crate::engine::Engine;
use crate::error::{
    AUTH_WITHOUT_PASSWORD, CLIENT_NAME, Error, HELLO_NEEDS_AUTH, NO_PROTO, Outcome, PROTO_NOT_INTEGER, SYNTAX,
    WRONG_PASSWORD, hello_option, wrong_arity,
};
use crate::info::REDIS_VERSION;
use crate::session::{ReplyMode, Session};

/// What is allowed in any state of the connection and of the server.
const ALWAYS: u32 = NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY;

pub(super) const COMMANDS: &[Command] = &[
    Command::session("PING", Arity::at_least(0), ping)
        .flags(FAST)
        .group(Group::Connection)
        .syntax("[message]")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Answers PONG or the message given, so that a client knows the server is there.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .examples(&[
            ("PING", "PONG"),
            ("PING hello", "\"hello\""),
            ("PING a b", "(error) ERR wrong number of arguments for 'ping' command"),
        ]),
    Command::session("ECHO", Arity::exactly(1), echo)
        .flags(LOADING | STALE | FAST)
        .group(Group::Connection)
        .syntax("message")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Answers its argument.")
        .examples(&[("ECHO hello", "\"hello\"")]),
    Command::session("AUTH", Arity::at_least(1), auth)
        .flags(ALWAYS)
        .group(Group::Connection)
        .syntax("[username] password")
        .since("1.0.0")
        .summary("Lets a client in that knows the password of the user, by default of the user called default.")
        .complexity("O(N) for a password of N bytes")
        .examples(&[
            ("AUTH default any", "OK"),
            ("AUTH nobody any", "(error) WRONGPASS invalid username-password pair or user is disabled."),
        ]),
    Command::session("HELLO", Arity::at_least(0), hello)
        .flags(ALWAYS)
        .group(Group::Connection)
        .since("6.0.0")
        .syntax("[protover [AUTH username password] [SETNAME clientname]]")
        .complexity("O(1)")
        .summary("Tells who the server is; chooses the protocol, and lets the client in and names it on request.")
        .examples(&[
            ("HELLO 4", "(error) NOPROTO unsupported protocol version"),
            ("HELLO three", "(error) ERR Protocol version is not an integer or out of range"),
        ]),
    Command::session("RESET", Arity::exactly(0), reset)
        .flags(ALWAYS)
        .group(Group::Connection)
        .since("6.2.0")
        .complexity("O(1)")
        .summary("Brings the connection back to the state of a new one.")
        .examples(&[("SELECT 3", "OK"), ("RESET", "RESET"), ("CLIENT GETNAME", "(nil)")]),
    Command::session("QUIT", Arity::at_least(0), quit)
        .flags(ALWAYS)
        .group(Group::Connection)
        .deprecated("7.2.0", "just closing the connection")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Closes the connection when all replies are sent.")
        .examples(&[("QUIT", "OK")]),
    Command::session("SELECT", Arity::exactly(1), select)
        .flags(LOADING | STALE | FAST)
        .group(Group::Connection)
        .syntax("index")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Chooses the database that the connection works on.")
        .examples(&[
            ("SELECT 1", "OK"),
            ("SET a 1", "OK"),
            ("SELECT 0", "OK"),
            ("GET a", "(nil)"),
            ("SELECT 16", "(error) ERR DB index is out of range"),
        ]),
];

fn ping(_: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if args.len() > 2 {
        return Err(wrong_arity("ping"));
    }
    let message = args.get(1);
    if session.only_listens(reply.proto()) {
        // The client takes whatever comes for a message.
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(message.unwrap_or_default());
    } else {
        match message {
            Some(message) => reply.bulk(message),
            None => reply.simple("PONG"),
        }
    }
    Ok(())
}

fn echo(_: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    reply.bulk(args.at(1));
    Ok(())
}

fn auth(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (user, password) = match args.len() {
        2 if engine.acl().default_user().rules().has_no_password() => return Err(AUTH_WITHOUT_PASSWORD),
        2 => (&b"default"[..], args.at(1)),
        3 => (args.at(1), args.at(2)),
        _ => return Err(SYNTAX),
    };
    authenticate(engine, session, args.at(0), user, password)?;
    reply.ok();
    Ok(())
}

/// Makes the connection another user; `command` is AUTH or HELLO, as the client spelled it.
fn authenticate(engine: &Engine, session: &mut Session, command: &[u8], user: &[u8], password: &[u8]) -> Outcome {
    let Some(user) = engine.acl().log_in(&session.client, user, password) else {
        denial::note_auth(engine, session, command, user);
        return Err(WRONG_PASSWORD);
    };
    session.login = Login::new(user);
    session.authenticated = true;
    Ok(())
}

/// What HELLO asks for, beside the protocol.
#[derive(Default)]
struct HelloOptions<'a> {
    auth: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> HelloOptions<'a> {
    fn parse(args: Args<'a>) -> Result<Self, Error> {
        let mut options = Self::default();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let left = words.len();
            if is(word, "AUTH") && left >= 2 {
                options.auth = words.next().zip(words.next());
            } else if is(word, "SETNAME") && left >= 1 {
                options.name = words.next();
                if !options.name.is_some_and(is_name) {
                    return Err(CLIENT_NAME);
                }
            } else {
                return Err(hello_option(word));
            }
        }
        Ok(options)
    }
}

fn hello(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let proto = match args.get(1).map(|version| parse_i64(version).ok_or(PROTO_NOT_INTEGER)).transpose()? {
        None => reply.proto(),
        Some(2) => Proto::Resp2,
        Some(3) => Proto::Resp3,
        Some(_) => return Err(NO_PROTO),
    };
    let options = HelloOptions::parse(args.from(args.len().min(2)))?;
    if let Some((user, password)) = options.auth {
        authenticate(engine, session, args.at(0), user, password)?;
    }
    if !session.authenticated {
        return Err(HELLO_NEEDS_AUTH);
    }
    if let Some(name) = options.name {
        session.client.names.lock().name = name.to_vec();
    }
    speak(engine, session, proto, reply);
    reply.map(7);
    for (fact, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(fact.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.int(proto_number(proto));
    reply.bulk(b"id");
    reply.int(session.client.id as i64);
    for (fact, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(fact.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

fn proto_number(proto: Proto) -> i64 {
    if proto == Proto::Resp3 { 3 } else { 2 }
}

/// Changes the protocol, for replies and for what others push.
fn speak(engine: &Engine, session: &Session, proto: Proto, reply: &mut Reply) {
    if proto == reply.proto() {
        return;
    }
    reply.set_proto(proto);
    session.client.facts.protocol.store(proto_number(proto) as u8, Relaxed);
    if !session.subscriptions.is_empty() {
        // What is pushed from now on is in the new form; what came in the old one precedes the answer.
        engine.channels().settle();
        session.take_messages(reply);
    }
}

fn reset(engine: &Engine, session: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    session.multi = None;
    session.leave(engine);
    session.take_messages(reply);
    session.db = 0;
    engine.acl().log_out(&session.client, &session.home);
    session.login = Login::new(session.home.clone());
    session.authenticated = engine.acl().is_welcome(&session.home);
    session.no_touch = false;
    if session.reply_mode != ReplyMode::Skip {
        session.reply_mode = ReplyMode::On;
    }
    let facts = &session.client.facts;
    facts.no_touch.store(false, Relaxed);
    facts.no_evict.store(false, Relaxed);
    // What the library said of itself stays: it is still the same library.
    session.client.names.lock().name.clear();
    speak(engine, session, Proto::Resp2, reply);
    reply.simple("RESET");
    Ok(())
}

fn quit(_: &Engine, session: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    reply.ok();
    session.closing = true;
    Ok(())
}

fn select(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    session.db = database(engine, args.at(1))?;
    reply.ok();
    Ok(())
}
