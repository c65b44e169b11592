//! Lua scripts.
//!
//! - `interpreter`, `natives`, `convert`: the places that know the interpreter: its state and limits; what a run costs most
//!   often; values and replies. `prelude.lua`: what scripts find around them.
//! - `call`: commands that a script calls, `lender` the way to them; `redis_table`, `libraries`: what else scripts may use.
//! - `cache`: scripts by the digest of their source; `functions`: libraries of functions; `control`: the one that runs, as
//!   others see it; `conclude`: what is answered.
//! - `bounds`: which sources are not compiled.
//! - `quick`: which ones end soon; `here`: these, where their connection runs; `thread`: the thread of the others.
//!
//! Scripts of an engine run one after the other, wherever they run: whoever runs one holds the token. Quick ones run where
//! their connection runs, the others on a thread of their own that is begun with the first. The session of a client goes
//! there with its scripts, those that stand together in a batch, and comes back with the replies; meanwhile its
//! connection waits, as for a key.
//!
//! A script [claims](larder_storage::keyspace::Keyspace::claim) the shards of the keys that it declares, and further ones as
//! it comes to need them. Nobody's thread sleeps for long on a shard that a script has claimed: whoever needs one waits in
//! its connection, and is answered BUSY once the script has been running for `busy-reply-threshold`.

mod bounds;
mod cache;
mod call;
mod conclude;
mod control;
mod convert;
mod coroutines;
pub(crate) mod functions;
mod here;
mod interpreter;
mod lender;
mod libraries;
mod names;
mod natives;
mod quick;
mod redis_table;
mod run;
mod thread;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use larder_protocol::{Args, Reply};
use larder_storage::keyspace::ShardSet;
use parking_lot::{Condvar, Mutex};

pub(crate) use cache::Cache;
pub(crate) use control::{Control, Kind, Unkillable};
pub(crate) use here::Here;
use interpreter::Held;
pub(crate) use interpreter::Place;
pub(crate) use run::{call_digest, call_source, load};
pub(crate) use thread::{Machine, STACK_BYTES};

use crate::admit;
use crate::client::Client;
use crate::commands::command::{Command, Run};
use crate::commands::table::TABLE;
use crate::commands::transactions::forget_watched;
use crate::engine::Engine;
use crate::error::{self, Error, Outcome};
use crate::info::{self, KnownShards};
use crate::locked::Locked;
use crate::session::{Queued, Session, Watched};
use crate::wait::Waiter;

/// How long a connection's thread waits for its script before it does something else meanwhile.
const AT_ONCE: Duration = Duration::from_micros(150);
/// How often a thread that can do nothing else looks whether a script is in its way.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Something that a client leaves behind under shards that a script holds.
pub(crate) enum Leaving {
    Waiter(Arc<Waiter>),
    Watcher(Arc<Client>, Vec<Watched>),
}

/// Who waits for the end of the script that runs.
#[derive(Default)]
struct Parked {
    waiters: Vec<Arc<Waiter>>,
    clients: Vec<Arc<Client>>,
    leaving: Vec<Leaving>,
}

/// The scripts of an engine; see the module's page.
pub(crate) struct Scripts {
    pub(crate) cache: Mutex<Cache>,
    /// How often it was flushed.
    pub(crate) flushes: AtomicU64,
    pub(crate) libraries: Mutex<functions::Libraries>,
    pub(crate) control: Arc<Control>,
    /// What INFO tells beside a script that runs for long.
    pub(crate) known_shards: KnownShards,
    /// What the interpreters of scripts hold, and that of functions.
    pub(crate) held: Held,
    pub(crate) held_by_functions: Held,
    thread: thread::Handle,
    /// Held by whoever runs a script: there is one claim of shards at a time.
    token: Mutex<()>,
    parked: Mutex<Parked>,
    /// How many stand in there: whoever adds himself counts himself first, and looks at the claim then.
    parked_count: AtomicUsize,
    /// Notified when a script has ended.
    ended: (Mutex<()>, Condvar),
}

impl Scripts {
    pub(crate) fn new(engine: Weak<Engine>) -> Self {
        Self {
            cache: Mutex::default(),
            flushes: AtomicU64::default(),
            libraries: Mutex::default(),
            control: Arc::default(),
            known_shards: KnownShards::default(),
            held: Held::default(),
            held_by_functions: Held::default(),
            thread: thread::Handle::new(engine),
            token: Mutex::new(()),
            parked: Mutex::default(),
            parked_count: AtomicUsize::new(0),
            ended: Default::default(),
        }
    }

    /// Has the garbage of scripts collected by their thread.
    pub(crate) fn purge(&self) {
        self.thread.purge();
    }

    /// Adds somebody who waits for the end of the script that runs.
    fn park(&self, add: impl FnOnce(&mut Parked)) {
        let mut parked = self.parked.lock();
        self.parked_count.fetch_add(1, SeqCst);
        add(&mut parked);
    }

    /// Sleeps until a script may have ended.
    fn sleep(&self, most: Duration) {
        let mut guard = self.ended.0.lock();
        self.ended.1.wait_for(&mut guard, most);
    }
}

impl Engine {
    /// Takes a client out from under shards once they are free.
    pub(crate) fn leave_later(&self, leaving: Leaving) {
        self.scripts.park(|parked| parked.leaving.push(leaving));
        self.release_if_free();
    }

    /// Wakes a client once shards are free.
    pub(crate) fn tell_when_free(&self, client: &Arc<Client>) {
        self.scripts.park(|parked| parked.clients.push(client.clone()));
        self.release_if_free();
    }

    /// Whoever has just been added must not wait for a script that has ended before.
    fn release_if_free(&self) {
        if self.keyspace().claimed().is_empty() {
            self.release_parked();
        }
    }

    /// Whether the script that runs has been running for longer than clients wait for it.
    pub(crate) fn is_busy(&self) -> bool {
        let threshold = self.busy_threshold();
        self.scripts.control.running_for().is_some_and(|time| time >= threshold)
    }

    /// What clients are told while something runs for long.
    pub(crate) fn busy(&self) -> Error {
        match self.scripts.control.kind() {
            Some(Kind::Function) => error::BUSY_FUNCTION,
            _ => error::BUSY_SCRIPT,
        }
    }

    /// How long a script runs before clients are told so; for ever where the option says 0.
    fn busy_threshold(&self) -> Duration {
        match self.settings().busy_reply_threshold.get() {
            0 => Duration::MAX,
            milliseconds => Duration::from_millis(milliseconds),
        }
    }

    /// The answer to a call that a script is in the way of, which counts as rejected; a transaction ends with it.
    pub(crate) fn busy_error(&self, session: &mut Session, row: u16) -> Error {
        session.stats.row(row).rejected.add(1);
        session.is_counted = true;
        if TABLE.row(row).name != "EXEC" {
            return self.busy();
        }
        session.multi = None;
        forget_watched(self, session);
        error::exec_refused(&self.busy())
    }

    /// Answers a call that a script is in the way of for too long. WATCH and INFO do not need the script to end: a key that a
    /// script holds counts as one that has changed, and of the shards INFO tells what was known before.
    pub(crate) fn answer_busy(&self, session: &mut Session, row: u16, args: Args<'_>, reply: &mut Reply) -> Outcome {
        match TABLE.row(row).name {
            "WATCH" => {
                session.forgets_watched = false;
                session.client.watch_failed();
                reply.ok();
                return Ok(());
            }
            "INFO" => {
                if let Some(text) = info::text_beside_script(self, args.from(1)) {
                    reply.verbatim("txt", text);
                    return Ok(());
                }
            }
            _ => {}
        }
        Err(self.busy_error(session, row))
    }

    /// Takes back a session whose script has not begun in time: then a script that runs for long is in its way, or many
    /// are. Nothing if it has begun.
    pub(crate) fn take_back_script(&self, waiter: &Arc<Waiter>) -> Option<(Box<Session>, bool)> {
        let session = self.scripts.thread.cancel(waiter)?;
        Some((session, self.is_busy()))
    }

    /// Sends a session to where scripts run, with a call that runs there and those that follow it in its batch, for as long
    /// as they do so too. Its connection has a stand-in until it is back. Adds to `taken` how many of those that follow
    /// need not run any more.
    pub(crate) fn run_as_script<'c>(
        &self,
        session: &mut Session,
        args: Args<'_>,
        following: impl Iterator<Item = Args<'c>>,
        taken: &Cell<usize>,
        reply: &mut Reply,
    ) -> Outcome {
        let row = TABLE.find(args)?;
        if self.is_busy() {
            return Err(self.busy_error(session, row));
        }
        let (may_wait, threshold) = (session.may_wait, self.busy_threshold());
        let until = self.clock().now_ms().saturating_add(u64::try_from(threshold.as_millis()).unwrap_or(u64::MAX));
        let mut calls = vec![Queued { row, args: args.to_owned() }];
        if admit::is_plain(session) {
            calls.extend(self.scripts_of(following));
        }
        let behind = calls.len() - 1;
        let waiter = Waiter::for_script(session, Some(behind), row, args.to_owned(), reply.proto(), until);
        let stand_in = session.stand_in(self);
        let own = std::mem::replace(session, stand_in);
        if let Err(own) = self.scripts.thread.send(Box::new(own), calls, reply.proto(), waiter.clone()) {
            *session = *own;
            return Err(error::NO_SCRIPT_THREAD);
        }
        loop {
            let mut guard = self.scripts.ended.0.lock();
            if !waiter.is_over() {
                self.scripts.ended.1.wait_for(&mut guard, if may_wait { AT_ONCE } else { LOOK_AGAIN });
            }
            drop(guard);
            if may_wait && !waiter.is_over() {
                waiter.leaves_thread();
            }
            if let Some((own, mut answer)) = waiter.take_script() {
                *session = *own;
                reply.append(&mut answer);
                taken.set(behind);
                return Ok(());
            }
            if may_wait {
                session.waiting = Some(waiter);
                taken.set(behind);
                return Ok(());
            }
            if self.is_busy()
                && let Some((own, _)) = self.take_back_script(&waiter)
            {
                *session = *own;
                return Err(self.busy_error(session, row));
            }
        }
    }

    /// The calls up to the first that does not go to where scripts run at once, or may be refused.
    fn scripts_of<'c>(&self, calls: impl Iterator<Item = Args<'c>>) -> impl Iterator<Item = Queued> {
        calls.map_while(|args| {
            let row = TABLE.find(args).ok()?;
            let command = TABLE.row(row);
            let fits = matches!(command.run, Run::Script(_)) && admit::runs_at_once(command, args);
            fits.then(|| Queued { row, args: args.to_owned() })
        })
    }

    /// A script holds a shard that a call needs: the session waits until it has ended, if it can, else the thread does.
    #[cold]
    pub(crate) fn held_up(&self, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
        let row = TABLE.find(args)?;
        let command = TABLE.row(row);
        if !session.may_wait {
            let Run::Session(function) = command.run else { return self.answer_busy(session, row, args, reply) };
            if self.is_busy() {
                return self.answer_busy(session, row, args, reply);
            }
            self.scripts.sleep(LOOK_AGAIN);
            return function(self, session, args, reply);
        }
        if self.is_busy() {
            return self.answer_busy(session, row, args, reply);
        }
        let running = self.scripts.control.running_for().unwrap_or_default();
        let rest = self.busy_threshold().saturating_sub(running).as_millis();
        let rest = u64::try_from(rest).unwrap_or(u64::MAX).saturating_add(1);
        let until = self.clock().now_ms().saturating_add(rest);
        let waiter = Waiter::for_script(session, None, row, args.to_owned(), reply.proto(), until);
        self.scripts.park(|parked| parked.waiters.push(waiter.clone()));
        if self.keyspace().claimed().is_empty() {
            // It has ended just now.
            waiter.script_is_out_of_the_way();
        }
        session.waiting = Some(waiter);
        Ok(())
    }

    /// Waits on this thread for the shards of a call; `None` once the script that holds them has run for too long.
    #[cold]
    pub(crate) fn wait_on_thread<'a>(&self, lock: impl Fn() -> Option<Locked<'a>>) -> Option<Locked<'a>> {
        while !self.is_busy() {
            self.scripts.sleep(LOOK_AGAIN);
            let locked = lock();
            if locked.is_some() {
                return locked;
            }
        }
        None
    }

    /// A script has ended and holds nothing any more: whoever was held up goes on. Whether there was anybody.
    fn release_parked(&self) -> bool {
        if self.scripts.parked_count.load(SeqCst) == 0 {
            return false;
        }
        let parked = {
            let mut parked = self.scripts.parked.lock();
            self.scripts.parked_count.store(0, SeqCst);
            std::mem::take(&mut *parked)
        };
        let any = !parked.waiters.is_empty() || !parked.clients.is_empty();
        for leaving in parked.leaving {
            self.let_leave(leaving);
        }
        parked.waiters.iter().for_each(|waiter| waiter.script_is_out_of_the_way());
        parked.clients.iter().for_each(|client| client.wake.wake());
        any
    }

    /// A script has ended: threads that wait look again.
    fn wake_threads(&self) {
        drop(self.scripts.ended.0.lock());
        self.scripts.ended.1.notify_all();
    }

    fn let_leave(&self, leaving: Leaving) {
        match leaving {
            Leaving::Waiter(waiter) => self.unregister_waiter(&waiter),
            Leaving::Watcher(client, watched) => {
                for watched in watched {
                    let mut shards = self.keyspace().lock(self.keyspace().set_of(watched.hash));
                    shards.of(watched.hash).extra.watchers.remove(watched.db, &watched.key, &client);
                }
            }
        }
    }

    /// The flags of a command, for a call of a script or function that says by itself what it does.
    pub(crate) fn flags_of_call(&self, row: u16, args: Args<'_>) -> u32 {
        let command = TABLE.row(row);
        let declared = match command.name {
            "EVAL" | "EVAL_RO" => args.get(1).and_then(run::declared_flags),
            "EVALSHA" | "EVALSHA_RO" => args.get(1).and_then(|digest| {
                let script = self.scripts.cache.lock().get(&String::from_utf8_lossy(digest).to_ascii_lowercase())?;
                script.flags.declared.then_some(script.flags)
            }),
            "FCALL" | "FCALL_RO" => args.get(1).and_then(|name| functions::declared_flags(&self.scripts, name)),
            _ => None,
        };
        declared.map_or(command.flags, |flags| flags.of_command(command.flags))
    }

    /// The shards of the keys that a call names.
    pub(crate) fn shards_of_call(&self, command: &Command, args: Args<'_>) -> ShardSet {
        let keyspace = self.keyspace();
        let mut own = ShardSet::NONE;
        match command.each_key(args, |_, key, _| own |= keyspace.set_of(keyspace.hash(key))) {
            Some(()) => own,
            // A call whose keys cannot be found answers an error and touches none.
            None => ShardSet::NONE,
        }
    }
}
