//! Clients that wait for a key, such as those of BLPOP.
//!
//! A command that finds nothing [parks](Park): its client is registered under the shards of the keys that it waits for,
//! while these are still held. Whoever makes such a key ready serves the clients, in the order in which they came,
//! before it lets the shards go: it runs their commands again, and hands over the replies. So nobody else can come
//! between, and a writer's next command finds what they have left.
//!
//! To serve a client takes all shards of its command (BLMOVE pushes to another key). So a writer that holds a key for
//! which somebody waits lets go, before anything has run, and locks those too: [`Locked::for_writing`].
//!
//! A client may wait for a script, too: for its own one to end, or for another's to let go of shards. Then it stands under
//! no key.
//!
//! Who ends the waiting first is settled by the waiter's `outcome`, whose lock comes after the shards in the lock
//! order: the writer that serves it, its client's task at the time limit, or CLIENT UNBLOCK.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{Duration, Instant};

use larder_protocol::{Args, OwnedArgs, Proto, Reply};
use larder_storage::keyspace::ShardSet;
use larder_storage::value::Kind;
use parking_lot::Mutex;

use crate::client::Client;
use crate::commands::command::{Command, Run, WRITE};
use crate::commands::table::TABLE;
use crate::engine::Engine;
use crate::error::Error;
use crate::key_map::KeyMap;
use crate::locked::{Hashes, Locked};
use crate::observe;
use crate::script::Leaving;
use crate::session::Session;
use crate::stats::WorkerStats;

/// What a command that may wait has come to.
pub(crate) enum Step {
    /// It has answered.
    Done,
    /// It has found nothing, changed nothing and written no reply.
    Park(Park),
}

/// How a command waits.
pub(crate) struct Park {
    /// When it gives up, in milliseconds since 1970.
    pub(crate) until: Option<u64>,
    /// The type of value that it waits for.
    pub(crate) kind: Kind,
    /// It waits for so many of its keys, the first ones.
    pub(crate) keys: usize,
    /// Whether it runs again, too, when a key goes away or changes its type.
    pub(crate) minds_removal: bool,
    /// What is run instead of the call as it was.
    pub(crate) args: Option<OwnedArgs>,
    /// The answer where nothing can wait, as in a transaction.
    pub(crate) at_once: fn(&mut Reply),
    /// The answer at the time limit.
    pub(crate) on_timeout: fn(&mut Reply),
}

impl Park {
    /// Waits for a value of a type at any of the command's keys.
    pub(crate) fn until(until: Option<u64>, kind: Kind) -> Self {
        let nothing = |reply: &mut Reply| reply.null_array();
        let keys = usize::MAX;
        Self { until, kind, keys, minds_removal: false, args: None, at_once: nothing, on_timeout: nothing }
    }
}

/// How a client's waiting has ended.
enum Outcome {
    /// By this reply.
    Served(Reply),
    /// At its time limit, or as if.
    TimedOut,
    /// By an error.
    Refused(Error),
    /// By something that only running the command once more can tell.
    Retry,
    /// The client is gone, or has taken the outcome.
    Over,
}

/// A client that waits.
pub(crate) struct Waiter {
    client: Arc<Client>,
    row: u16,
    args: OwnedArgs,
    /// The call as it was, if `args` are not that.
    called: Option<OwnedArgs>,
    db: usize,
    proto: Proto,
    no_touch: bool,
    park: Park,
    /// The keys that it waits for, with their hashes.
    keys: Vec<(Vec<u8>, u64)>,
    /// The other keys of its command, which serving it may make ready.
    targets: Vec<Vec<u8>>,
    /// The shards of all keys of its command.
    set: ShardSet,
    outcome: Mutex<Option<Outcome>>,
    /// Whether it stands under its keys, or did so.
    is_registered: bool,
    /// The session that went with a script to another thread, once it is back.
    returned: Mutex<Option<Box<Session>>>,
    /// Whether it is its own script that it waits for, and then, how many further ones go with it.
    sent_script: Option<usize>,
    /// Whether its connection's thread waits for it, so that nobody else needs to be woken.
    holds_thread: AtomicBool,
    /// Whether its script has begun: then there is no time limit.
    runs_script: AtomicBool,
}

impl Waiter {
    /// A client that waits for a script, its own or one that is in its way, at most until a time.
    pub(crate) fn for_script(
        session: &Session,
        sent_script: Option<usize>,
        row: u16,
        args: OwnedArgs,
        proto: Proto,
        until: u64,
    ) -> Arc<Self> {
        let park = Park { keys: 0, ..Park::until(Some(until), Kind::String) };
        Arc::new(Self {
            client: session.client.clone(),
            row,
            args,
            called: None,
            db: session.db,
            proto,
            no_touch: session.no_touch,
            park,
            keys: Vec::new(),
            targets: Vec::new(),
            set: ShardSet::NONE,
            outcome: Mutex::default(),
            is_registered: false,
            returned: Mutex::default(),
            sent_script,
            holds_thread: AtomicBool::new(sent_script.is_some()),
            runs_script: AtomicBool::new(false),
        })
    }

    /// Its connection's thread waits no longer, and is to be woken. What has ended before shows from now on.
    pub(crate) fn leaves_thread(&self) {
        self.holds_thread.store(false, SeqCst);
    }

    /// Its script has ended: the session is given back, with the reply. Gives the session to the caller if the client is
    /// gone.
    pub(crate) fn script_ended(&self, session: Box<Session>, reply: Reply) -> Result<(), Box<Session>> {
        *self.returned.lock() = Some(session);
        if !self.end(Outcome::Served(reply)) {
            return self.returned.lock().take().map_or(Ok(()), Err);
        }
        if !self.holds_thread.load(SeqCst) {
            self.client.wake.wake();
        }
        Ok(())
    }

    /// The session and the reply, if its script has ended.
    pub(crate) fn take_script(&self) -> Option<(Box<Session>, Reply)> {
        let mut outcome = self.outcome.lock();
        let reply = match outcome.take()? {
            Outcome::Served(reply) => reply,
            other => {
                *outcome = Some(other);
                return None;
            }
        };
        *outcome = Some(Outcome::Over);
        Some((self.returned.lock().take()?, reply))
    }

    /// The script that was in the way has ended.
    pub(crate) fn script_is_out_of_the_way(&self) {
        self.end(Outcome::Retry);
        self.client.wake.wake();
    }

    /// Whether its waiting has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.outcome.lock().is_some()
    }

    /// When it gives up, in milliseconds since 1970.
    pub(crate) fn until(&self) -> Option<u64> {
        self.park.until.filter(|_| !self.runs_script.load(Relaxed))
    }

    /// Its script begins.
    pub(crate) fn begins_to_run(&self) {
        self.runs_script.store(true, Relaxed);
    }

    /// Ends the waiting, unless it has ended.
    fn end(&self, how: Outcome) -> bool {
        let mut outcome = self.outcome.lock();
        let ends = outcome.is_none();
        if ends {
            *outcome = Some(how);
        }
        drop(outcome);
        ends
    }

    /// CLIENT UNBLOCK: ends the waiting as its time limit would, or with an error; false if it has ended.
    pub(crate) fn unblock(&self, error: Option<Error>) -> bool {
        let ended = self.end(error.map_or(Outcome::TimedOut, Outcome::Refused));
        self.client.wake.wake();
        ended
    }
}

/// Clients that wait for keys of one shard, per key in order of arrival.
#[derive(Default)]
pub(crate) struct Waiters(KeyMap<VecDeque<Arc<Waiter>>>);

impl Waiters {
    fn add(&mut self, db: usize, key: &[u8], waiter: &Arc<Waiter>) {
        self.0.entry(db, key).push_back(waiter.clone());
    }

    fn remove(&mut self, db: usize, key: &[u8], waiter: &Arc<Waiter>) {
        self.0.update(db, key, |queue| {
            // Most often it is the first one.
            if let Some(place) = queue.iter().position(|other| Arc::ptr_eq(other, waiter)) {
                queue.remove(place);
            }
            (!queue.is_empty(), ())
        });
    }

    /// Whether somebody waits for a key.
    pub(crate) fn has(&self, db: usize, key: &[u8]) -> bool {
        self.0.get(db, key).is_some()
    }

    /// The keys of a database that somebody waits for.
    pub(crate) fn keys(&self, db: usize) -> impl Iterator<Item = &[u8]> {
        self.0.keys(db)
    }

    /// How many keys somebody waits for, and for how many of them somebody waits who minds their removal.
    pub(crate) fn counts(&mut self) -> (usize, usize) {
        let minds = |queue: &VecDeque<Arc<Waiter>>| queue.iter().any(|waiter| waiter.park.minds_removal);
        (self.0.len(), self.0.iter_mut().filter(|(_, _, queue)| minds(queue)).count())
    }

    /// Everybody who waits for a key, in whatever database.
    fn in_each_database(&self, key: &[u8]) -> impl Iterator<Item = &Arc<Waiter>> {
        self.0.in_each_database(key).flatten()
    }

    /// The first one from a place on, with its place, that a value of this kind concerns, or that there is none.
    fn next(&self, db: usize, key: &[u8], from: usize, kind: Option<Kind>) -> Option<(usize, Arc<Waiter>)> {
        let mut queue = self.0.get(db, key)?.iter().enumerate().skip(from);
        let (place, waiter) = queue.find(|(_, waiter)| kind == Some(waiter.park.kind) || waiter.park.minds_removal)?;
        Some((place, waiter.clone()))
    }

    fn on(&self, db: usize, key: &[u8]) -> usize {
        self.0.get(db, key).map_or(0, VecDeque::len)
    }
}

/// How many clients wait, of the whole engine. Changed under a shard of theirs: whoever holds that sees it.
#[derive(Default)]
pub(crate) struct Waiting(AtomicUsize);

impl Waiting {
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// What has become of a session that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It still waits.
    Still,
    /// The reply has been written; of the commands that waited so many must run.
    Over(usize),
    /// The command must run once more, and so many that waited with it.
    Again(usize),
}

impl Engine {
    /// Looks whether a session's waiting has ended, and writes the reply if so.
    pub(crate) fn finish_wait(&self, session: &mut Session, reply: &mut Reply) -> Waited {
        let Some(waiter) = session.waiting.clone() else { return Waited::Over(0) };
        if waiter.sent_script.is_some() && !waiter.is_over() {
            return self.look_after_script(session, &waiter, reply);
        }
        let mut outcome = waiter.outcome.lock();
        if outcome.is_none() && waiter.until().is_some_and(|until| until <= self.clock().now_ms()) {
            *outcome = Some(Outcome::TimedOut);
        }
        let Some(how) = outcome.as_mut().map(|outcome| std::mem::replace(outcome, Outcome::Over)) else {
            return Waited::Still;
        };
        drop(outcome);
        if !self.forget_wait(session, &waiter, !matches!(how, Outcome::Served(_))) {
            // A script holds the shards: the client's time is over once they are free.
            *waiter.outcome.lock() = Some(how);
            return Waited::Still;
        }
        if let Some(returned) = waiter.returned.lock().take() {
            *session = *returned;
        }
        let mark = reply.mark();
        match how {
            Outcome::Served(mut served) => reply.append(&mut served),
            Outcome::TimedOut if !waiter.is_registered => {
                match self.answer_busy(session, waiter.row, waiter.args.as_args(), reply) {
                    Ok(()) => self.count_end(&session.stats, &waiter, Duration::ZERO, false),
                    Err(error) => self.fail(&session.stats, &error, reply),
                }
                session.is_counted = false;
            }
            Outcome::TimedOut => {
                self.count_end(&session.stats, &waiter, Duration::ZERO, false);
                (waiter.park.on_timeout)(reply);
            }
            Outcome::Refused(error) => {
                self.count_end(&session.stats, &waiter, Duration::ZERO, true);
                self.fail(&session.stats, &error, reply);
            }
            Outcome::Retry => return Waited::Again(0),
            Outcome::Over => {}
        }
        self.finish(session, reply, mark);
        Waited::Over(0)
    }

    /// Looks after a script that has not ended: one that has not begun in time is not run while another is in its way.
    fn look_after_script(&self, session: &mut Session, waiter: &Arc<Waiter>, reply: &mut Reply) -> Waited {
        if waiter.until().is_none_or(|until| until > self.clock().now_ms()) {
            return Waited::Still;
        }
        let Some((own, is_busy)) = self.take_back_script(waiter) else { return Waited::Still };
        *session = *own;
        let behind = waiter.sent_script.unwrap_or_default();
        if !is_busy {
            return Waited::Again(behind);
        }
        let (mark, error) = (reply.mark(), self.busy_error(session, waiter.row));
        session.is_counted = false;
        self.fail(&session.stats, &error, reply);
        self.finish(session, reply, mark);
        Waited::Over(behind)
    }

    /// Ends a session's waiting without an answer: the client is gone.
    pub(crate) fn abandon_wait(&self, session: &mut Session) {
        if let Some(waiter) = session.waiting.clone() {
            if waiter.sent_script.is_some()
                && let Some((own, _)) = self.take_back_script(&waiter)
            {
                *session = *own;
                return;
            }
            let before = waiter.outcome.lock().replace(Outcome::Over);
            if let Some(returned) = waiter.returned.lock().take() {
                *session = *returned;
            }
            if !self.forget_wait(session, &waiter, !matches!(before, Some(Outcome::Served(_)))) {
                self.leave_later(Leaving::Waiter(waiter));
                session.waiting = None;
            }
        }
    }

    /// Counts a call that has waited and was then served in this time, or in none where it waited in vain.
    fn count_end(&self, stats: &WorkerStats, waiter: &Waiter, time: Duration, failed: bool) {
        let counters = stats.row(waiter.row);
        stats.counters.commands.add(1);
        counters.calls.add(1);
        if failed {
            counters.failed.add(1);
        }
        let args = waiter.called.as_ref().unwrap_or(&waiter.args).as_args();
        let is_long = time >= observe::limit(self.settings());
        self.note_time(&waiter.client, counters, TABLE.row(waiter.row), args, time, is_long);
    }

    /// Takes a client that is gone out from under its shards.
    pub(crate) fn unregister_waiter(&self, waiter: &Arc<Waiter>) {
        let stats = self.stats().idle_worker();
        loop {
            if let Some(mut locked) = Locked::try_new(self, waiter.set, 0, &stats) {
                return locked.unregister(waiter);
            }
        }
    }

    /// Takes a client out from under the shards, unless whoever has served it has done so; false if a script holds them.
    fn forget_wait(&self, session: &mut Session, waiter: &Arc<Waiter>, is_registered: bool) -> bool {
        if is_registered && waiter.is_registered {
            let Some(mut locked) = Locked::try_new(self, waiter.set, 0, &session.stats) else {
                self.tell_when_free(&session.client);
                return false;
            };
            locked.unregister(waiter);
        }
        session.waiting = None;
        *session.client.waiter.lock() = None;
        true
    }
}

impl<'a> Locked<'a> {
    /// Locks the shards of `set` for commands, and those that it may take to serve clients who wait for their keys. `None`
    /// when a script holds one of them and goes on holding it.
    pub(crate) fn for_writing<'c>(
        engine: &'a Engine,
        mut set: ShardSet,
        now: u64,
        stats: &'a WorkerStats,
        commands: impl Iterator<Item = (&'c Command, Args<'c>)> + Clone,
    ) -> Option<Self> {
        loop {
            let locked = Self::try_new(engine, set, now, stats)?;
            if engine.waiting().count() == 0 {
                return Some(locked);
            }
            let needed = locked.needed(set, commands.clone());
            if needed == set {
                return Some(locked);
            }
            set = needed;
        }
    }

    /// The shards that it takes to run commands and to serve whoever waits for their keys, as far as the shards that
    /// are held can tell.
    #[cold]
    fn needed<'c>(&self, held: ShardSet, commands: impl Iterator<Item = (&'c Command, Args<'c>)>) -> ShardSet {
        let keyspace = self.engine().keyspace();
        let (mut set, mut seen, mut todo) = (held, HashSet::new(), Vec::new());
        for (command, args) in commands.filter(|(command, _)| command.has(WRITE)) {
            let before = todo.len();
            let found = command.each_key(args, |_, key, _| {
                if self.is_waited_for(held, key) {
                    todo.push(key.to_vec());
                }
            });
            // A call whose keys cannot be found touches none.
            if found.is_none() {
                todo.truncate(before);
            }
        }
        while let Some(key) = todo.pop() {
            let hash = keyspace.hash(&key);
            if !held.contains(keyspace.set_of(hash)) || seen.contains(&key) {
                continue;
            }
            for waiter in self.shards_ref().of_ref(hash).extra.waiters.in_each_database(&key) {
                set |= waiter.set;
                if set == keyspace.all() {
                    return set;
                }
                todo.extend(waiter.targets.iter().filter(|target| !seen.contains(*target)).cloned());
            }
            seen.insert(key);
        }
        set
    }

    /// Whether somebody waits for a key, in whatever database, as far as the shards that are held can tell.
    fn is_waited_for(&self, held: ShardSet, key: &[u8]) -> bool {
        let keyspace = self.engine().keyspace();
        let hash = keyspace.hash(key);
        held.contains(keyspace.set_of(hash)) && {
            let waiters = &self.shards_ref().of_ref(hash).extra.waiters;
            !waiters.0.is_empty() && waiters.in_each_database(key).next().is_some()
        }
    }

    /// Registers a client for the keys that its command waits for. The shards of all its keys are held.
    pub(crate) fn wait(
        &mut self,
        session: &Session,
        row: u16,
        args: Args<'_>,
        proto: Proto,
        mut park: Park,
    ) -> Arc<Waiter> {
        let keyspace = self.engine().keyspace();
        let (mut keys, mut targets, mut seen, mut set) = (Vec::new(), Vec::new(), HashSet::new(), ShardSet::NONE);
        TABLE.row(row).each_key(args, |_, key, _| {
            let hash = keyspace.hash(key);
            set |= keyspace.set_of(hash);
            if keys.len() >= park.keys {
                targets.push(key.to_vec());
            } else if seen.insert(key) {
                keys.push((key.to_vec(), hash));
            }
        });
        let (args, called) = match park.args.take() {
            Some(rewritten) => (rewritten, Some(args.to_owned())),
            None => (args.to_owned(), None),
        };
        let (client, db, no_touch) = (session.client.clone(), self.db, self.no_touch);
        let (outcome, returned, is_registered) = (Mutex::default(), Mutex::default(), true);
        let waiter = Arc::new(Waiter {
            client,
            row,
            args,
            called,
            db,
            proto,
            no_touch,
            park,
            keys,
            targets,
            set,
            outcome,
            is_registered,
            returned,
            sent_script: None,
            holds_thread: AtomicBool::new(false),
            runs_script: AtomicBool::new(false),
        });
        for (key, hash) in &waiter.keys {
            self.shards().of(*hash).extra.waiters.add(db, key, &waiter);
        }
        self.engine().waiting().0.fetch_add(1, Relaxed);
        *waiter.client.waiter.lock() = Some(waiter.clone());
        waiter
    }

    pub(crate) fn unregister(&mut self, waiter: &Arc<Waiter>) {
        for (key, hash) in &waiter.keys {
            self.shards().of(*hash).extra.waiters.remove(waiter.db, key, waiter);
        }
        self.engine().waiting().0.fetch_sub(1, Relaxed);
    }

    /// Serves the clients that wait for keys that have become ready, until nobody can be served any more.
    pub(crate) fn serve_waiting(&mut self) {
        while let Some((db, key)) = self.next_ready() {
            self.serve_key(db, &key);
        }
    }

    fn serve_key(&mut self, db: usize, key: &[u8]) {
        let hash = self.engine().keyspace().hash(key);
        let waiters = &self.shards().of(hash).extra.waiters;
        let (mut left, mut at) = (waiters.on(db, key), 0);
        while left > 0 {
            left -= 1;
            let kind = self.in_database(db, |locked| locked.peek(key).map(|entry| entry.kind()));
            let Some((place, waiter)) = self.shards().of(hash).extra.waiters.next(db, key, at, kind) else { return };
            at = place + usize::from(!self.serve(&waiter));
        }
    }

    /// Runs a waiting client's command again; whether it is served, and no longer waits.
    fn serve(&mut self, waiter: &Arc<Waiter>) -> bool {
        let may_run = waiter.client.user().rules().check(waiter.row, waiter.args.as_args()).is_ok();
        if !may_run || !self.shards().set().contains(waiter.set) {
            // It has lost the right to run it, or a key went away under somebody who holds no other shard: the client's
            // own task looks into it.
            waiter.end(Outcome::Retry);
            waiter.client.wake.wake();
            return false;
        }
        let mut outcome = waiter.outcome.lock();
        let command = TABLE.row(waiter.row);
        let Run::Wait(function) = command.run else { return false };
        if outcome.is_some() || waiter.client.is_killed() {
            return false;
        }
        let (engine, stats, args) = (self.engine(), self.stats(), waiter.args.as_args());
        let no_touch = std::mem::replace(&mut self.no_touch, waiter.no_touch);
        let client_id = std::mem::replace(&mut self.client_id, waiter.client.id);
        let started = Instant::now();
        self.begin(waiter.db, Hashes::default());
        let mut reply = Reply::with_proto(waiter.proto);
        let result = function(self, args, &mut reply);
        if engine.tracking().is_used() {
            self.remember_reads(&waiter.client, command, args);
        }
        self.end(args);
        (self.no_touch, self.client_id) = (no_touch, client_id);
        let failed = match result {
            Ok(Step::Park(_)) => return false,
            Ok(Step::Done) => false,
            Err(error) => {
                reply.clear();
                engine.fail(stats, &error, &mut reply);
                true
            }
        };
        engine.count_end(stats, waiter, started.elapsed(), failed);
        *outcome = Some(Outcome::Served(reply));
        drop(outcome);
        self.unregister(waiter);
        waiter.client.wake.wake();
        true
    }
}
