//! The thread that runs scripts, one after the other, and what it gets and gives back.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use larder_protocol::{OwnedArgs, Proto, Reply};
use parking_lot::Mutex;

use super::interpreter::Interpreter;
use crate::commands::command::Run;
use crate::commands::table::TABLE;
use crate::engine::Engine;
use crate::error;
use crate::locked::{Hashes, Locked};
use crate::observe;
use crate::session::Session;
use crate::stats::WorkerStats;
use crate::wait::Waiter;

/// The interpreter takes up to 40 kilobytes for each of 200 nested calls, and replies are nested up to thousands deep.
const STACK_BYTES: usize = 64 << 20;
/// How long the next script waits so that those may run whom the last one has held up.
const LET_OTHERS: Duration = Duration::from_micros(300);

/// A call that is to run here.
struct Job {
    engine: Arc<Engine>,
    session: Box<Session>,
    row: u16,
    args: OwnedArgs,
    proto: Proto,
    waiter: Arc<Waiter>,
}

/// What the thread has for all its scripts.
pub(crate) struct Machine {
    /// Made for the first script, and anew after one that met a limit.
    pub(super) interpreter: RefCell<Option<Interpreter>>,
    /// Whether there was no room, nor any to be made, before the call that runs.
    pub(super) short_of_memory: Cell<bool>,
}

/// The way to the thread.
pub(super) struct Handle {
    engine: Weak<Engine>,
    sender: Mutex<Option<Sender<Job>>>,
}

impl Handle {
    pub(super) fn new(engine: Weak<Engine>) -> Self {
        Self { engine, sender: Mutex::default() }
    }

    /// Sends a call there. The session is given back if there is no thread to be had.
    pub(super) fn send(
        &self,
        session: Box<Session>,
        row: u16,
        args: OwnedArgs,
        proto: Proto,
        waiter: Arc<Waiter>,
    ) -> Result<(), Box<Session>> {
        let Some(engine) = self.engine.upgrade() else { return Err(session) };
        let mut sender = self.sender.lock();
        if sender.is_none() {
            let (sending, receiving) = channel();
            let thread = std::thread::Builder::new().name("larder-scripts".into()).stack_size(STACK_BYTES);
            let stats = engine.stats().worker();
            if let Err(problem) = thread.spawn(move || work(&receiving, &stats)) {
                tracing::warn!(%problem, "no thread for scripts");
                return Err(session);
            }
            *sender = Some(sending);
        }
        let job = Job { engine, session, row, args, proto, waiter };
        match &*sender {
            Some(sender) => sender.send(job).map_err(|refused| refused.0.session),
            None => Err(job.session),
        }
    }
}

/// Runs calls until the engine is gone.
fn work(jobs: &Receiver<Job>, stats: &Arc<WorkerStats>) {
    let machine = Machine { interpreter: RefCell::new(None), short_of_memory: Cell::new(false) };
    while let Ok(job) = jobs.recv() {
        let engine = job.engine.clone();
        job.run(&machine, stats);
        if engine.release_parked() {
            std::thread::sleep(LET_OTHERS);
        }
    }
}

impl Job {
    fn run(self, machine: &Machine, stats: &Arc<WorkerStats>) {
        let Self { engine, mut session, row, args, proto, waiter } = self;
        let mut reply = Reply::with_proto(proto);
        let own_stats = std::mem::replace(&mut session.stats, stats.clone());
        session.runs_script = true;
        let work = AssertUnwindSafe(|| run_call(&engine, &mut session, machine, row, &args, &mut reply));
        if catch_unwind(work).is_err() {
            // The interpreter is at fault, or a command: no state of theirs is used again.
            tracing::error!("a script ended in a panic");
            machine.interpreter.replace(None);
            engine.scripts.control.end();
            reply.clear();
            engine.fail(stats, &error::SCRIPT_PANICKED, &mut reply);
        }
        session.runs_script = false;
        session.is_script = false;
        session.stats = own_stats;
        if let Err(mut session) = waiter.script_ended(session, reply) {
            session.leave(&engine);
        }
    }
}

/// Runs one call, and counts it.
fn run_call(engine: &Engine, session: &mut Session, machine: &Machine, row: u16, args: &OwnedArgs, reply: &mut Reply) {
    let (command, stats, started) = (TABLE.row(row), session.stats.clone(), Instant::now());
    let args = args.as_args();
    machine.short_of_memory.set(engine.is_short_of_memory(&stats));
    let outcome = match command.run {
        Run::Script(function) => {
            let set = engine.shards_of_call(command, args);
            let mut locked = Locked::claim(engine, set, engine.clock().now_ms(), &stats);
            locked.no_touch = session.no_touch;
            locked.client_id = session.client.id;
            locked.machine = Some(machine);
            locked.begin(session.db, Hashes::default());
            let outcome = function(engine, session, &mut locked, args, reply);
            locked.before_release();
            outcome
        }
        _ => crate::commands::transactions::exec_with_scripts(engine, session, machine, args, reply),
    };
    if let Err(error) = &outcome {
        reply.clear();
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
