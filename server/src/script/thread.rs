//! The thread that runs scripts, one after the other, and what it gets and gives back.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use larder_protocol::{Proto, Reply};
use parking_lot::{Condvar, Mutex};

use super::Scripts;
use super::functions;
use super::interpreter::{Error, Interpreter};
use crate::attention::MONITORED;
use crate::commands::command::Run;
use crate::commands::table::TABLE;
use crate::engine::Engine;
use crate::error;
use crate::locked::{Hashes, Locked};
use crate::observe;
use crate::session::{Queued, Session};
use crate::stats::WorkerStats;
use crate::wait::Waiter;

/// The stack of a thread that runs scripts: the interpreter takes up to 40 kilobytes for each of 200 nested calls, and
/// replies are nested up to thousands deep.
pub(crate) const STACK_BYTES: usize = 64 << 20;
/// How long the next script waits so that those may run whom the last one has held up.
const LET_OTHERS: Duration = Duration::from_micros(300);

/// Calls of one client that are to run here, one after the other.
struct Job {
    engine: Arc<Engine>,
    session: Box<Session>,
    calls: Vec<Queued>,
    proto: Proto,
    waiter: Arc<Waiter>,
}

/// What a thread has for all its scripts.
#[derive(Default)]
pub(crate) struct Machine {
    /// Made for the first script, and anew after one that met a limit.
    pub(super) interpreter: RefCell<Option<Interpreter>>,
    /// How often scripts had been flushed when that was made.
    pub(super) flushes: Cell<u64>,
    /// The same, for functions.
    pub(super) functions: RefCell<Option<functions::State>>,
    /// Whether there was no room, nor any to be made, before the call that runs.
    pub(super) short_of_memory: Cell<bool>,
    /// Whether scripts have run since garbage was looked for.
    is_dirty: Cell<bool>,
}

impl Machine {
    /// Forgets what is in no cache and no library any more.
    fn forget(&self, scripts: &Scripts) {
        if self.flushes.get() != scripts.flushes.load(Relaxed) {
            self.interpreter.replace(None);
        }
        if let Some(state) = &mut *self.functions.borrow_mut() {
            let libraries = scripts.libraries.lock();
            state.forget(|id| libraries.has_id(id));
        }
    }

    /// Collects the garbage of scripts that have ended, while none waits to be run: see [`Interpreter::collect`].
    fn collect(&self, all: bool) {
        collect_in(&self.interpreter, |interpreter| interpreter.collect(all));
        collect_in(&self.functions, |state| state.interpreter.collect(all));
    }
}

/// Collects in a state, which is not used again if that fails.
fn collect_in<T>(kept: &RefCell<Option<T>>, collect: impl Fn(&T) -> Result<(), Error>) {
    let mut kept = kept.borrow_mut();
    let Some(state) = kept.as_ref() else { return };
    if !matches!(catch_unwind(AssertUnwindSafe(|| collect(state))), Ok(Ok(()))) {
        tracing::error!("the garbage of scripts could not be collected");
        *kept = None;
    }
}

/// Calls that are to run, in order of arrival.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// Notified when there is something to do.
    filled: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Whether somebody wants all garbage of scripts to be collected.
    is_purged: bool,
    has_thread: bool,
    /// The engine is gone.
    is_over: bool,
}

/// The way to the thread.
pub(super) struct Handle {
    engine: Weak<Engine>,
    queue: Arc<Queue>,
}

impl Handle {
    pub(super) fn new(engine: Weak<Engine>) -> Self {
        Self { engine, queue: Arc::default() }
    }

    /// Sends calls there. The session is given back if there is no thread to be had.
    pub(super) fn send(
        &self,
        session: Box<Session>,
        calls: Vec<Queued>,
        proto: Proto,
        waiter: Arc<Waiter>,
    ) -> Result<(), Box<Session>> {
        let Some(engine) = self.engine.upgrade() else { return Err(session) };
        let mut state = self.queue.state.lock();
        if !state.has_thread {
            let thread = std::thread::Builder::new().name("larder-scripts".into()).stack_size(STACK_BYTES);
            let (weak, queue, stats) = (self.engine.clone(), self.queue.clone(), engine.stats().worker());
            if let Err(problem) = thread.spawn(move || work(&weak, &queue, &stats)) {
                tracing::warn!(%problem, "no thread for scripts");
                return Err(session);
            }
            state.has_thread = true;
        }
        state.jobs.push_back(Job { engine, session, calls, proto, waiter });
        self.queue.filled.notify_one();
        Ok(())
    }

    /// Has the garbage of scripts collected, and what was flushed or replaced, as soon as the thread has nothing else to do.
    pub(super) fn purge(&self) {
        self.queue.state.lock().is_purged = true;
        self.queue.filled.notify_one();
    }

    /// Takes calls out that have not begun, and gives their session back.
    pub(super) fn cancel(&self, waiter: &Arc<Waiter>) -> Option<Box<Session>> {
        let mut state = self.queue.state.lock();
        let place = state.jobs.iter().position(|job| Arc::ptr_eq(&job.waiter, waiter))?;
        state.jobs.remove(place).map(|job| job.session)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.state.lock().is_over = true;
        self.queue.filled.notify_one();
    }
}

/// Runs calls until the engine is gone.
fn work(engine: &Weak<Engine>, queue: &Queue, stats: &Arc<WorkerStats>) {
    let machine = Machine::default();
    loop {
        let mut state = queue.state.lock();
        let job = loop {
            match state.jobs.pop_front() {
                Some(job) => break Some(job),
                None if state.is_over => return,
                None if state.is_purged || machine.is_dirty.take() => break None,
                None => queue.filled.wait(&mut state),
            }
        };
        match job {
            Some(job) => {
                job.waiter.begins_to_run();
                drop(state);
                job.run(&machine, stats);
                machine.is_dirty.set(true);
            }
            None => {
                let all = std::mem::take(&mut state.is_purged);
                drop(state);
                if all && let Some(engine) = engine.upgrade() {
                    machine.forget(&engine.scripts);
                }
                machine.collect(all);
            }
        }
    }
}

impl Job {
    fn run(self, machine: &Machine, stats: &Arc<WorkerStats>) {
        let Self { engine, mut session, calls, proto, waiter } = self;
        let mut reply = Reply::with_proto(proto);
        let own_stats = std::mem::replace(&mut session.stats, stats.clone());
        session.runs_script = true;
        for (number, call) in calls.iter().enumerate() {
            if number > 0 && waiter.is_over() {
                // The client is gone.
                break;
            }
            {
                let _token = engine.scripts.token.lock();
                let_run(&engine, &mut session, machine, call, &mut reply);
            }
            let is_last = number + 1 == calls.len();
            if !is_last && engine.release_parked() {
                std::thread::sleep(LET_OTHERS);
            }
        }
        session.runs_script = false;
        session.stats = own_stats;
        if let Err(mut session) = waiter.script_ended(session, reply) {
            session.leave(&engine);
        }
        engine.wake_threads();
        if engine.release_parked() {
            std::thread::sleep(LET_OTHERS);
        }
    }
}

/// Runs one call; a panic becomes an error.
fn let_run(engine: &Engine, session: &mut Session, machine: &Machine, call: &Queued, reply: &mut Reply) {
    let mark = reply.mark();
    let work = AssertUnwindSafe(|| run_call(engine, session, machine, call, reply));
    if catch_unwind(work).is_err() {
        // The interpreter is at fault, or a command: no state of theirs is used again.
        tracing::error!("a script ended in a panic");
        machine.interpreter.replace(None);
        machine.functions.replace(None);
        engine.scripts.control.end();
        reply.rewind(mark);
        engine.fail(&session.stats, &error::SCRIPT_PANICKED, reply);
    }
    session.is_script = false;
    session.executes = false;
}

/// Runs one call, and counts it.
fn run_call(engine: &Engine, session: &mut Session, machine: &Machine, call: &Queued, reply: &mut Reply) {
    let (row, args, mark) = (call.row, call.args.as_args(), reply.mark());
    let (command, stats, started) = (TABLE.row(row), session.stats.clone(), Instant::now());
    machine.short_of_memory.set(engine.is_short_of_memory(&stats));
    engine.scripts.known_shards.renew(engine, &stats);
    let outcome = match command.run {
        Run::Script(function) => {
            let set = engine.shards_of_call(command, args);
            let mut locked = Locked::claim(engine, set, engine.clock().now_ms(), &stats);
            locked.work_for(session, None);
            locked.machine = Some(machine);
            locked.begin(session.db, Hashes::default());
            let outcome = function(engine, session, &mut locked, args, reply);
            locked.end(args);
            locked.before_release();
            outcome
        }
        _ => crate::commands::transactions::exec_with_scripts(engine, session, machine, args, reply),
    };
    engine.evictor().tolerate_excess(engine);
    if engine.attention.load(Relaxed) & MONITORED != 0 {
        engine.show(session, command, args);
    }
    if let Err(error) = &outcome {
        reply.rewind(mark);
        engine.fail(&stats, error, reply);
    }
    let (counters, time) = (stats.row(row), started.elapsed());
    stats.counters.commands.add(1);
    counters.calls.add(1);
    if outcome.is_err() {
        counters.failed.add(1);
    }
    engine.note_time(&session.client, counters, command, args, time, time >= observe::limit(engine.settings()));
}
