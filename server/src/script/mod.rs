//! Lua scripts.
//!
//! - `interpreter`: the one place that knows the interpreter; `prelude.lua`: what scripts find around them.
//! - `call`: commands that a script calls; `convert`: their replies, and the script's result; `conclude`: what is answered; `redis_table`, `libraries`: what else
//!   scripts may use.
//! - `cache`: scripts by the digest of their source; `functions`: libraries of functions; `control`: the one that runs, as others see it; `thread`: where it runs.
//!
//! Scripts of an engine run one after the other, on a thread of their own that is begun with the first. The session of a
//! client goes there with its script and comes back with the reply; meanwhile its connection waits, as for a key. A
//! script [claims](larder_storage::keyspace::Keyspace::claim) the shards of the keys that it declares, and further ones as
//! it comes to need them. Nobody's thread sleeps on a shard that a script has claimed: whoever needs one waits in its
//! connection, and is answered BUSY once the script has been running for `busy-reply-threshold`.

mod cache;
mod call;
mod conclude;
mod control;
mod convert;
pub(crate) mod functions;
mod interpreter;
mod libraries;
mod redis_table;
mod run;
mod thread;

use std::sync::{Arc, Weak};
use std::time::Duration;

use larder_protocol::{Args, Reply};
use larder_storage::keyspace::ShardSet;
use parking_lot::{Condvar, Mutex};

pub(crate) use cache::Cache;
pub(crate) use control::{Control, Kind, Unkillable};
pub(crate) use interpreter::Place;
pub(crate) use run::{call_digest, call_source, load};
pub(crate) use thread::Machine;

use crate::client::Client;
use crate::commands::command::{ALLOW_BUSY, Command, Run};
use crate::commands::table::TABLE;
use crate::commands::transactions::unwatch_all;
use crate::engine::Engine;
use crate::error::{self, Error, Outcome};
use crate::locked::Locked;
use crate::session::{Session, Watched};
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
    pub(crate) libraries: Mutex<functions::Libraries>,
    pub(crate) control: Arc<Control>,
    thread: thread::Handle,
    parked: Mutex<Parked>,
    /// Notified when a script has ended.
    ended: (Mutex<()>, Condvar),
}

impl Scripts {
    pub(crate) fn new(engine: Weak<Engine>) -> Self {
        Self {
            cache: Mutex::default(),
            libraries: Mutex::default(),
            control: Arc::default(),
            thread: thread::Handle::new(engine),
            parked: Mutex::default(),
            ended: Default::default(),
        }
    }

    /// Takes a client out from under shards once they are free.
    pub(crate) fn leave_later(&self, leaving: Leaving) {
        self.parked.lock().leaving.push(leaving);
    }

    /// Wakes a client once shards are free.
    pub(crate) fn tell_when_free(&self, client: &Arc<Client>) {
        self.parked.lock().clients.push(client.clone());
    }

    /// Sleeps until a script may have ended.
    fn sleep(&self, most: Duration) {
        let mut guard = self.ended.0.lock();
        self.ended.1.wait_for(&mut guard, most);
    }
}

impl Engine {
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

    /// The answer to a call that a script is in the way of; a transaction ends with it.
    pub(crate) fn busy_error(&self, session: &mut Session, row: u16) -> Error {
        if TABLE.row(row).name != "EXEC" {
            return self.busy();
        }
        session.multi = None;
        unwatch_all(self, session);
        error::exec_refused(&self.busy())
    }

    /// Takes back a session whose script has not begun in time: then a script that runs for long is in its way, or many
    /// are. Nothing if it has begun.
    pub(crate) fn take_back_script(&self, waiter: &Arc<Waiter>) -> Option<(Box<Session>, bool)> {
        let session = self.scripts.thread.cancel(waiter)?;
        Some((session, self.is_busy()))
    }

    /// Sends a session to where scripts run, with a call that runs there. Its connection has a stand-in until it is back.
    pub(crate) fn run_as_script(&self, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
        let row = TABLE.find(args)?;
        if self.is_busy() {
            return Err(self.busy_error(session, row));
        }
        let (args, may_wait, threshold) = (args.to_owned(), session.may_wait, self.busy_threshold());
        let until = self.clock().now_ms().saturating_add(u64::try_from(threshold.as_millis()).unwrap_or(u64::MAX));
        let waiter = Waiter::for_script(session, true, row, args.clone(), reply.proto(), Some(until));
        let stand_in = session.stand_in(self);
        let own = std::mem::replace(session, stand_in);
        if let Err(own) = self.scripts.thread.send(Box::new(own), row, args, reply.proto(), waiter.clone()) {
            *session = *own;
            return Err(error::NO_SCRIPT_THREAD);
        }
        loop {
            let mut guard = self.scripts.ended.0.lock();
            if !waiter.is_over() {
                self.scripts.ended.1.wait_for(&mut guard, if may_wait { AT_ONCE } else { LOOK_AGAIN });
            }
            drop(guard);
            if let Some((own, mut answer)) = waiter.take_script() {
                *session = *own;
                reply.append(&mut answer);
                return Ok(());
            }
            if may_wait {
                session.waiting = Some(waiter);
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

    /// A script holds a shard that a call needs: the session waits until it has ended, if it can, else the thread does.
    #[cold]
    pub(crate) fn held_up(&self, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
        let row = TABLE.find(args)?;
        let command = TABLE.row(row);
        let may_fail = !command.has(ALLOW_BUSY);
        if !session.may_wait {
            let Run::Session(function) = command.run else { return Err(self.busy()) };
            if may_fail && self.is_busy() {
                return Err(self.busy_error(session, row));
            }
            self.scripts.sleep(LOOK_AGAIN);
            return function(self, session, args, reply);
        }
        if may_fail && self.is_busy() {
            return Err(self.busy_error(session, row));
        }
        let running = self.scripts.control.running_for().unwrap_or_default();
        let rest = self.busy_threshold().saturating_sub(running).as_millis();
        let rest = u64::try_from(rest).unwrap_or(u64::MAX).saturating_add(1);
        let until = may_fail.then(|| self.clock().now_ms().saturating_add(rest));
        let waiter = Waiter::for_script(session, false, row, args.to_owned(), reply.proto(), until);
        self.scripts.parked.lock().waiters.push(waiter.clone());
        if self.keyspace().claimed().is_empty() {
            // It has ended just now.
            waiter.script_is_out_of_the_way();
        }
        session.waiting = Some(waiter);
        Ok(())
    }

    /// Waits on this thread for the shards of a call; `None` once the script that holds them has run for too long.
    #[cold]
    pub(crate) fn wait_on_thread<'a>(
        &self,
        command: &Command,
        lock: impl Fn() -> Option<Locked<'a>>,
    ) -> Option<Locked<'a>> {
        while command.has(ALLOW_BUSY) || !self.is_busy() {
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
        let parked = std::mem::take(&mut *self.scripts.parked.lock());
        let any = !parked.waiters.is_empty() || !parked.clients.is_empty();
        for leaving in parked.leaving {
            self.let_leave(leaving);
        }
        parked.waiters.iter().for_each(|waiter| waiter.script_is_out_of_the_way());
        parked.clients.iter().for_each(|client| client.wake.wake());
        drop(self.scripts.ended.0.lock());
        self.scripts.ended.1.notify_all();
        any
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
