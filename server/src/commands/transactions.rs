//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! EXEC locks once the shards of all queued and all watched keys, looks whether a watched key has changed, and runs
//! the queue under that lock. So a transaction is atomic, and of two that watch each other's key one fails.

use std::cell::Cell;

use larder_protocol::{Args, Reply};
use larder_storage::keyspace::ShardSet;

use super::command::{ALLOW_BUSY, Arity, Command, FAST, Group, LOADING, NOSCRIPT, RO, Run, SKIP_SLOWLOG, STALE, keys};
use super::databases::{Presence, presence};
use super::table::TABLE;
use crate::acl::denial;
use crate::client_memory::name_bytes;
use crate::engine::Engine;
use crate::error::{
    DISCARD_WITHOUT_MULTI, EXEC_ABORTED, EXEC_WITHOUT_MULTI, NESTED_MULTI, Outcome, WATCH_INSIDE_MULTI,
};
use crate::locked::Locked;
use crate::script::Machine;
use crate::session::{Queued, Session, Transaction, Watched};

pub(super) const COMMANDS: &[Command] = &[
    Command::session("MULTI", Arity::exactly(0), multi)
        .flags(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY)
        .group(Group::Transactions)
        .since("1.2.0")
        .complexity("O(1)")
        .summary("Starts a transaction: the commands that follow are queued.")
        .examples(&[("MULTI", "OK"), ("SET k v", "QUEUED"), ("EXEC", "1) OK")]),
    Command::session("EXEC", Arity::exactly(0), exec)
        .flags(NOSCRIPT | LOADING | STALE | SKIP_SLOWLOG)
        .group(Group::Transactions)
        .since("1.2.0")
        .complexity("Depends on the queued commands")
        .summary("Runs the queued commands, all at once as others see it.")
        .examples(&[
            ("MULTI", "OK"),
            ("INCR n", "QUEUED"),
            ("INCR n", "QUEUED"),
            ("EXEC", "1) (integer) 1\n2) (integer) 2"),
        ]),
    Command::session("DISCARD", Arity::exactly(0), discard)
        .flags(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY)
        .group(Group::Transactions)
        .since("2.0.0")
        .complexity("O(N) for N queued commands")
        .summary("Forgets the queued commands.")
        .examples(&[("MULTI", "OK"), ("SET k v", "QUEUED"), ("DISCARD", "OK"), ("GET k", "(nil)")]),
    Command::session("WATCH", Arity::at_least(1), watch)
        .keys(&[keys(1, 1, RO)])
        .flags(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY)
        .group(Group::Transactions)
        .since("2.2.0")
        .syntax("key...")
        .complexity("O(1) per key")
        .summary("Makes the next EXEC fail if one of these keys changes before it.")
        .examples(&[("WATCH k", "OK"), ("MULTI", "OK"), ("EXEC", "(empty array)")]),
    Command::session("UNWATCH", Arity::exactly(0), unwatch)
        .flags(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY)
        .group(Group::Transactions)
        .since("2.2.0")
        .complexity("O(1)")
        .summary("Forgets the watched keys.")
        .examples(&[("UNWATCH", "OK")]),
];

fn multi(_: &Engine, session: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    if session.multi.is_some() {
        return Err(NESTED_MULTI);
    }
    session.multi = Some(Transaction::default());
    reply.ok();
    Ok(())
}

fn discard(engine: &Engine, session: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    if session.multi.is_none() {
        return Err(DISCARD_WITHOUT_MULTI);
    }
    forget_watched(engine, session);
    session.multi = None;
    reply.ok();
    Ok(())
}

fn watch(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if session.multi.is_some() {
        return Err(WATCH_INSIDE_MULTI);
    }
    if session.forgets_watched && !unwatch_all(engine, session) {
        return engine.held_up(session, args, reply);
    }
    let (now, db) = (engine.clock().now_ms(), session.db);
    for key in args.from(1).iter() {
        if session.watched.iter().any(|watched| watched.db == db && watched.key == key) {
            continue;
        }
        let hash = engine.keyspace().hash(key);
        let Some(mut shards) = engine.keyspace().try_lock(engine.keyspace().set_of(hash)) else {
            return engine.held_up(session, args, reply);
        };
        let guarded = shards.of(hash);
        let expired = presence(&guarded.shard, db, hash, key, now) == Presence::Expired;
        guarded.extra.watchers.add(db, key, &session.client, expired);
        session.watched.push(Watched { db, key: key.to_vec(), hash });
        session.names_bytes += name_bytes(key);
    }
    reply.ok();
    Ok(())
}

fn unwatch(engine: &Engine, session: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    forget_watched(engine, session);
    reply.ok();
    Ok(())
}

/// Forgets the watched keys; false if a script holds the shard of one that is left. Locks their shards, so it must not be
/// called while shards are held, unless nothing is watched any more (EXEC sees to that before it runs its queue).
pub(crate) fn unwatch_all(engine: &Engine, session: &mut Session) -> bool {
    while let Some(watched) = session.watched.last() {
        let Some(mut shards) = engine.keyspace().try_lock(engine.keyspace().set_of(watched.hash)) else { return false };
        shards.of(watched.hash).extra.watchers.remove(watched.db, &watched.key, &session.client);
        session.names_bytes -= name_bytes(&watched.key);
        session.watched.pop();
    }
    session.client.forget_watch();
    session.forgets_watched = false;
    true
}

/// Forgets the watched keys. Where a script holds the shard of one, this is only noted: nobody waits for the script, and
/// whatever is done with the client's keys next takes them off.
pub(crate) fn forget_watched(engine: &Engine, session: &mut Session) {
    if !unwatch_all(engine, session) {
        session.forgets_watched = true;
    }
}

/// EXEC as it runs where its client does; a queue with scripts runs where scripts do.
fn exec(engine: &Engine, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let Some(transaction) = session.multi.take() else {
        return Err(EXEC_WITHOUT_MULTI);
    };
    if transaction.aborted {
        forget_watched(engine, session);
        return Err(EXEC_ABORTED);
    }
    if session.client.has_watch_failed() && !session.forgets_watched {
        // Nothing is run, so nothing is waited for.
        forget_watched(engine, session);
        reply.null_array();
        return Ok(());
    }
    let has_scripts = transaction.queue.iter().any(|queued| matches!(TABLE.row(queued.row).run, Run::Script(_)));
    if has_scripts {
        session.multi = Some(transaction);
        engine.run_as_script(session, args, std::iter::empty(), &Cell::default(), reply)?;
        session.is_counted = session.waiting.is_none();
        return Ok(());
    }
    run_queue(engine, session, transaction, None, args, reply)
}

/// EXEC of a queue with scripts, where these run.
pub(crate) fn exec_with_scripts(
    engine: &Engine,
    session: &mut Session,
    machine: &Machine,
    args: Args<'_>,
    reply: &mut Reply,
) -> Outcome {
    let transaction = session.multi.take().unwrap_or_default();
    run_queue(engine, session, transaction, Some(machine), args, reply)
}

/// Runs a queue, unless a watched key has changed.
fn run_queue(
    engine: &Engine,
    session: &mut Session,
    transaction: Transaction,
    machine: Option<&Machine>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Outcome {
    let set = shards_of(engine, session, &transaction.queue);
    let (now, stats) = (engine.clock().now_ms(), session.stats.clone());
    let queue = transaction.queue.iter().map(|queued| (TABLE.row(queued.row), queued.args.as_args()));
    let locked = match machine {
        Some(_) => Some(Locked::claim(engine, set, now, &stats)),
        None => Locked::for_writing(engine, set, now, &stats, queue),
    };
    let Some(mut locked) = locked else {
        session.multi = Some(transaction);
        return engine.held_up(session, args, reply);
    };
    locked.machine = machine;
    locked.work_for(session, None);
    if !still_as_watched(session, &mut locked, now) {
        reply.null_array();
        return Ok(());
    }
    reply.array(transaction.queue.len());
    session.executes = true;
    session.stands_at = None;
    for Queued { row, args } in &transaction.queue {
        match denial::check_queued(engine, session, *row, args.as_args()) {
            Ok(()) => {
                locked.rules = session.login.restrictions();
                engine.run_queued(session, &mut locked, *row, args.as_args(), reply, false);
            }
            Err(error) => engine.fail(&stats, &error, reply),
        }
    }
    session.executes = false;
    if machine.is_some() {
        locked.before_release();
    }
    Ok(())
}

/// The shards of all queued and all watched keys.
fn shards_of(engine: &Engine, session: &Session, queue: &[Queued]) -> ShardSet {
    let keyspace = engine.keyspace();
    let mut set = session.watched.iter().fold(ShardSet::NONE, |set, watched| set | keyspace.set_of(watched.hash));
    for Queued { row, args } in queue {
        let command = TABLE.row(*row);
        if matches!(command.run, Run::All(_)) {
            return keyspace.all();
        }
        let mut own = ShardSet::NONE;
        // A call whose keys cannot be found answers an error and touches none.
        if command.each_key(args.as_args(), |_, key, _| own |= keyspace.set_of(keyspace.hash(key))).is_some() {
            set |= own;
        }
    }
    set
}

/// Whether no watched key has changed or expired. Forgets what is watched, as EXEC does in any case.
fn still_as_watched(session: &mut Session, locked: &mut Locked<'_>, now: u64) -> bool {
    let mut unchanged = !session.client.has_watch_failed();
    for watched in session.watched.drain(..) {
        session.names_bytes -= name_bytes(&watched.key);
        let guarded = locked.shards().of(watched.hash);
        let watch = guarded.extra.watchers.remove(watched.db, &watched.key, &session.client);
        let was_expired = watch.is_some_and(|watch| watch.expired);
        let presence = presence(&guarded.shard, watched.db, watched.hash, &watched.key, now);
        unchanged &= was_expired || presence != Presence::Expired;
    }
    session.client.forget_watch();
    std::mem::take(&mut session.forgets_watched) || unchanged
}
