//! Publish and subscribe: channels, patterns, and shard channels.
//!
//! Subscribing is answered by a push per name, not by a reply, so CLIENT REPLY OFF does not silence it.

use larder_protocol::{Args, Reply};

use super::command::*;
use super::command_info::help;
use crate::client_memory::name_bytes;
use crate::engine::Engine;
use crate::error::{Outcome, SSUBSCRIBE_IN_EXEC, subcommand_or_arity};
use crate::pubsub::Target;
use crate::session::{ReplyMode, Session};

/// Of the commands that change what a connection listens to.
const LISTENING: u32 = PUBSUB | NOSCRIPT | LOADING | STALE;

pub(super) const COMMANDS: &[Command] = &[
    Command::session("SUBSCRIBE", Arity::at_least(1), subscribe)
        .channels(ChannelArgs::All)
        .flags(LISTENING)
        .group(Group::PubSub)
        .since("2.0.0")
        .syntax("channel...")
        .summary("Listens to channels.")
        .complexity("O(N) for N channels")
        .examples(&[("SUBSCRIBE news", "1) \"subscribe\"\n2) \"news\"\n3) (integer) 1")]),
    Command::session("UNSUBSCRIBE", Arity::at_least(0), unsubscribe)
        .flags(LISTENING)
        .group(Group::PubSub)
        .since("2.0.0")
        .syntax("[channel...]")
        .summary("Listens no longer to some channels, or to any.")
        .complexity("O(N) for N channels")
        .examples(&[("UNSUBSCRIBE", "1) \"unsubscribe\"\n2) (nil)\n3) (integer) 0")]),
    Command::session("PSUBSCRIBE", Arity::at_least(1), psubscribe)
        .channels(ChannelArgs::Patterns)
        .flags(LISTENING)
        .group(Group::PubSub)
        .since("2.0.0")
        .syntax("pattern...")
        .summary("Listens to all channels whose names match patterns.")
        .complexity("O(N) for N patterns")
        .examples(&[("PSUBSCRIBE news.*", "1) \"psubscribe\"\n2) \"news.*\"\n3) (integer) 1")]),
    Command::session("PUNSUBSCRIBE", Arity::at_least(0), punsubscribe)
        .flags(LISTENING)
        .group(Group::PubSub)
        .since("2.0.0")
        .syntax("[pattern...]")
        .summary("Listens no longer to some patterns, or to any.")
        .complexity("O(N) for N patterns")
        .examples(&[("PUNSUBSCRIBE news.*", "1) \"punsubscribe\"\n2) \"news.*\"\n3) (integer) 0")]),
    Command::session("SSUBSCRIBE", Arity::at_least(1), ssubscribe)
        .channels(ChannelArgs::All)
        .keys(&[keys(1, 1, NOT_KEY)])
        .flags(LISTENING)
        .group(Group::PubSub)
        .since("7.0.0")
        .syntax("shardchannel...")
        .summary("Listens to shard channels.")
        .complexity("O(N) for N channels")
        .examples(&[("SSUBSCRIBE orders", "1) \"ssubscribe\"\n2) \"orders\"\n3) (integer) 1")]),
    Command::session("SUNSUBSCRIBE", Arity::at_least(0), sunsubscribe)
        .keys(&[keys(1, 1, NOT_KEY)])
        .flags(LISTENING)
        .group(Group::PubSub)
        .since("7.0.0")
        .syntax("[shardchannel...]")
        .summary("Listens no longer to some shard channels, or to any.")
        .complexity("O(N) for N channels")
        .examples(&[("SUNSUBSCRIBE orders", "1) \"sunsubscribe\"\n2) \"orders\"\n3) (integer) 0")]),
    Command::session("PUBLISH", Arity::exactly(2), publish)
        .channels(ChannelArgs::First)
        .flags(PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE)
        .group(Group::PubSub)
        .since("2.0.0")
        .syntax("channel message")
        .summary("Sends a message to all who listen to a channel, and answers how many they are.")
        .complexity("O(N+M) for N listeners of the channel and M patterns that anybody listens to")
        .examples(&[("PUBLISH news hello", "(integer) 0")]),
    Command::session("SPUBLISH", Arity::exactly(2), spublish)
        .channels(ChannelArgs::First)
        .keys(&[key(1, NOT_KEY)])
        .flags(PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE)
        .group(Group::PubSub)
        .since("7.0.0")
        .syntax("shardchannel message")
        .summary("Sends a message to all who listen to a shard channel, and answers how many they are.")
        .complexity("O(N) for N listeners of the channel")
        .examples(&[("SPUBLISH orders hello", "(integer) 0")]),
    Command::container("PUBSUB")
        .group(Group::PubSub)
        .since("2.8.0")
        .complexity("Depends on the subcommand")
        .summary("Tells what is listened to."),
    Command::session("PUBSUB|CHANNELS", Arity::at_least(1), channels)
        .flags(PUBSUB | LOADING | STALE)
        .group(Group::PubSub)
        .since("2.8.0")
        .syntax("[pattern]")
        .summary("Lists the channels that somebody listens to by name, on request those that match a pattern.")
        .complexity("O(N) for N channels")
        .examples(&[("PUBSUB CHANNELS", "(empty array)")]),
    Command::session("PUBSUB|NUMSUB", Arity::at_least(1), numsub)
        .flags(PUBSUB | LOADING | STALE)
        .group(Group::PubSub)
        .since("2.8.0")
        .syntax("[channel...]")
        .summary("Counts the listeners of channels, without those that listen by a pattern.")
        .complexity("O(N) for N channels")
        .examples(&[("PUBSUB NUMSUB news", "1) \"news\"\n2) (integer) 0")]),
    Command::session("PUBSUB|NUMPAT", Arity::exactly(1), numpat)
        .flags(PUBSUB | LOADING | STALE)
        .group(Group::PubSub)
        .since("2.8.0")
        .complexity("O(1)")
        .summary("Counts the different patterns that anybody listens to.")
        .examples(&[("PUBSUB NUMPAT", "(integer) 0")]),
    Command::session("PUBSUB|SHARDCHANNELS", Arity::at_least(1), shardchannels)
        .flags(PUBSUB | LOADING | STALE)
        .group(Group::PubSub)
        .since("7.0.0")
        .syntax("[pattern]")
        .summary("Lists the shard channels that somebody listens to, on request those that match a pattern.")
        .complexity("O(N) for N channels")
        .examples(&[("PUBSUB SHARDCHANNELS order*", "(empty array)")]),
    Command::session("PUBSUB|SHARDNUMSUB", Arity::at_least(1), shardnumsub)
        .flags(PUBSUB | LOADING | STALE)
        .group(Group::PubSub)
        .since("7.0.0")
        .syntax("[shardchannel...]")
        .summary("Counts the listeners of shard channels.")
        .complexity("O(N) for N channels")
        .examples(&[("PUBSUB SHARDNUMSUB orders", "1) \"orders\"\n2) (integer) 0")]),
    Command::session("PUBSUB|HELP", Arity::exactly(1), help)
        .flags(LOADING | STALE)
        .group(Group::PubSub)
        .since("6.2.0")
        .complexity("O(1)")
        .summary("Lists the subcommands of PUBSUB."),
];

fn subscribe(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    listen(engine, session, Target::Channel, args, reply)
}

fn psubscribe(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    listen(engine, session, Target::Pattern, args, reply)
}

fn ssubscribe(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if session.executes {
        return Err(SSUBSCRIBE_IN_EXEC);
    }
    listen(engine, session, Target::Shard, args, reply)
}

fn unsubscribe(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    unlisten(engine, session, Target::Channel, args, reply)
}

fn punsubscribe(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    unlisten(engine, session, Target::Pattern, args, reply)
}

fn sunsubscribe(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    unlisten(engine, session, Target::Shard, args, reply)
}

/// What the pushes of a target's commands are called.
fn kinds(target: Target) -> (&'static str, &'static str) {
    match target {
        Target::Channel => ("subscribe", "unsubscribe"),
        Target::Pattern => ("psubscribe", "punsubscribe"),
        Target::Shard => ("ssubscribe", "sunsubscribe"),
    }
}

fn listen(engine: &Engine, session: &mut Session, target: Target, args: Args<'_>, reply: &mut Reply) -> Outcome {
    for name in args.from(1).iter() {
        if session.subscriptions.of(target).insert(name.to_vec()) {
            session.names_bytes += name_bytes(name);
            session.client.limit_outbox(session.output_limit(engine).hard());
            engine.channels().subscribe(target, name, &session.client);
        }
        confirm(session, target, kinds(target).0, Some(name), reply);
    }
    // The rules may have changed since they allowed this, and who changed them has looked for listeners by now.
    session.login.follow();
    let may_listen = |name: &[u8]| session.login.rules().allow_channel(name, target == Target::Pattern);
    session.closing |= !session.login.is_free() && !args.from(1).iter().all(may_listen);
    Ok(())
}

fn unlisten(engine: &Engine, session: &mut Session, target: Target, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let names: Vec<Vec<u8>> = if args.len() > 1 {
        args.from(1).iter().map(<[u8]>::to_vec).collect()
    } else {
        session.subscriptions.of(target).iter().cloned().collect()
    };
    for name in &names {
        if session.subscriptions.of(target).remove(name) {
            session.names_bytes -= name_bytes(name);
            engine.channels().unsubscribe(target, name, &session.client);
            // Nobody pushes any more; what came so far precedes the confirmation.
            session.take_messages(reply);
        }
        confirm(session, target, kinds(target).1, Some(name), reply);
    }
    if names.is_empty() {
        confirm(session, target, kinds(target).1, None, reply);
    }
    Ok(())
}

/// Tells what the connection listens to now.
fn confirm(session: &Session, target: Target, kind: &str, name: Option<&[u8]>, reply: &mut Reply) {
    let write = |reply: &mut Reply| {
        reply.push(3);
        reply.bulk(kind.as_bytes());
        match name {
            Some(name) => reply.bulk(name),
            None => reply.null(),
        }
        reply.int(session.subscriptions.count(target) as i64);
    };
    if session.reply_mode == ReplyMode::On {
        return write(reply);
    }
    // Replies are taken back, messages are not.
    let mut push = Reply::with_proto(reply.proto());
    write(&mut push);
    session.client.push(bytes::Bytes::copy_from_slice(push.as_slice().unwrap_or_default()));
}

fn publish(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let receivers = engine.channels().publish(args.at(1), args.at(2));
    session.stats.counters.published.add(1);
    reply.int(receivers as i64);
    Ok(())
}

fn spublish(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let receivers = engine.channels().publish_to_shard(args.at(1), args.at(2));
    session.stats.counters.published.add(1);
    reply.int(receivers as i64);
    Ok(())
}

fn channels(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    active(engine, Target::Channel, args, reply)
}

fn shardchannels(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    active(engine, Target::Shard, args, reply)
}

fn active(engine: &Engine, target: Target, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if args.len() > 3 {
        return Err(subcommand_or_arity("PUBSUB", args.at(1)));
    }
    let names = engine.channels().active(target, args.get(2));
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name));
    Ok(())
}

fn numsub(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    count(engine, Target::Channel, args, reply)
}

fn shardnumsub(engine: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    count(engine, Target::Shard, args, reply)
}

fn count(engine: &Engine, target: Target, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let names = args.from(2);
    reply.array(names.len() * 2);
    for name in names.iter() {
        reply.bulk(name);
        reply.int(engine.channels().listeners(target, name) as i64);
    }
    Ok(())
}

fn numpat(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let (_, patterns, _) = engine.channels().counts();
    reply.int(patterns as i64);
    Ok(())
}
