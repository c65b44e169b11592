//! The engine: everything but sockets. It runs batches of commands of one session at a time, on any thread.
//!
//! The way of a command: find its row, [`admit`](crate::admit) or refuse it, queue it inside MULTI, else lock the
//! shards of its keys, run its function, and record its effects. A batch of several commands is prepared first: rows
//! are found, keys hashed once, and the memory that they will touch is asked for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use larder_protocol::{Args, Batch, Reply};
use larder_storage::clock::Clock;
use larder_storage::keyspace::{Keyspace, Options, ShardSet};
use larder_storage::rng::Rng;
use larder_storage::types::{Env, Limits};
use parking_lot::Mutex;

use crate::acl::Acl;
use crate::admit::{self, Admission};
use crate::attention::{MONITORED, PAUSED};
use crate::client::{Addresses, Client, Clients};
use crate::client_memory::ClientMemory;
use crate::commands::command::{Command, DENYOOM, Run, WRITE};
use crate::commands::table::{TABLE, Table as CommandTable};
use crate::commands::transactions::forget_watched;
use crate::config::{Config, KeyspaceEvents, Settings};
use crate::effects::{Group, Recorder};
use crate::error::{self, Error};
use crate::evict::{Evictor, Room};
use crate::info::{Loops, Rates};
use crate::insight::Insight;
use crate::locked::{Extra, Hashes, KnownHash, Locked};
use crate::observe::{self, Observers, Timing};
use crate::pause::Pause;
use crate::pubsub::Channels;
use crate::script::{Machine, Scripts};
use crate::session::{Place, ReplyMode, Session, Workspace};
use crate::stats::{RowCounters, Stats, WorkerStats};
use crate::ticks::Ticks;
use crate::tracking::Tracking;
use crate::trim::Trim;
use crate::upkeep::Upkeep;
use crate::wait::{Step, Waiting};

mod ahead;
mod garbage;
mod scripts;

pub(crate) use garbage::{Flushed, Garbage};
use scripts::Behind;

/// What [`Engine::run`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The whole batch ran.
    Done,
    /// Commands before this one ran; this one needs room, some of which has been made. Let others run, then go on.
    NeedsRoom(usize),
    /// Commands before this one ran; this one waits for a key.
    Waits(usize),
    /// Commands before this one ran; this one waits until CLIENT PAUSE is over.
    Paused(usize),
}

/// What became of one command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Done,
    NeedsRoom,
    Paused,
}

/// See the module's page.
pub struct Engine {
    /// The rows of all commands.
    table: &'static CommandTable,
    keyspace: Keyspace<Extra>,
    config: Config,
    acl: Acl,
    clock: Clock,
    stats: Stats,
    clients: Clients,
    pub(crate) client_memory: ClientMemory,
    channels: Channels,
    evictor: Evictor,
    pub(crate) insight: Insight,
    waiting: Waiting,
    tracking: Tracking,
    recorder: Option<Recorder>,
    garbage: Mutex<VecDeque<Garbage>>,
    garbage_count: AtomicU64,
    freed_count: AtomicU64,
    /// Whether the sweep removes expired keys (DEBUG SET-ACTIVE-EXPIRE).
    sweeps: AtomicBool,
    /// Whether background work rests (DEBUG PAUSE-CRON).
    pub(crate) rests: AtomicBool,
    pub(crate) identity: Identity,
    rng: Mutex<Rng>,
    pub(crate) shutdown: crate::shutdown::Shutdown,
    pub(crate) scripts: Scripts,
    /// The highest memory use seen.
    pub(crate) peak_memory: AtomicU64,
    pub(crate) rates: Rates,
    pub(crate) loops: Loops,
    pub(crate) observers: Observers,
    pub(crate) pause: Pause,
    /// What keeps calls from running at once, in one word: see the module of this name.
    pub(crate) attention: AtomicU32,
    pub(crate) ticks: Ticks,
    /// Background work where no thread of a server does it.
    pub(crate) upkeep: Upkeep,
    pub(crate) trim: Trim,
}

/// What INFO says of the process.
pub(crate) struct Identity {
    /// 40 hexadecimal digits, drawn anew by each engine.
    pub(crate) run_id: String,
    /// The same, of the history of the data.
    pub(crate) replication_id: Mutex<String>,
    pub(crate) started: Instant,
    pub(crate) started_ms: u64,
    /// Resident memory of the process then.
    pub(crate) resident_at_start: u64,
    /// The port that is listened on, once it is known.
    pub(crate) port: AtomicU64,
}

impl Engine {
    /// An engine with these options. `seed` fixes the hash and every random choice.
    pub(crate) fn make(config: Config, acl: Acl, clock: Clock, seed: u64, recorder: Option<Recorder>) -> Arc<Self> {
        let settings = config.settings();
        let options = Options { shards: settings.shards.as_usize(), databases: settings.databases.as_usize(), seed };
        let keyspace = Keyspace::new(options);
        let evictor = Evictor::new(seed, keyspace.used_memory(), settings.maxmemory.get());
        let mut rng = Rng::seeded(seed ^ 0x5eed);
        let run_id = random_id(&mut rng);
        let replication_id = Mutex::new(random_id(&mut rng));
        let started_ms = clock.now_ms();
        let resident_at_start = crate::info::resident_bytes().unwrap_or_default();
        let ticks = Ticks::default();
        ticks.note(0, started_ms);
        Arc::new_cyclic(|itself| Self {
            table: &TABLE,
            scripts: Scripts::new(itself.clone()),
            rates: Rates::default(),
            loops: Loops::default(),
            observers: Observers::default(),
            pause: Pause::default(),
            attention: AtomicU32::new(0),
            upkeep: Upkeep::default(),
            trim: Trim::default(),
            ticks,
            keyspace,
            clock,
            stats: Stats::default(),
            clients: Clients::default(),
            client_memory: ClientMemory::default(),
            channels: Channels::default(),
            evictor,
            insight: Insight::default(),
            waiting: Waiting::default(),
            tracking: Tracking::default(),
            recorder,
            garbage: Mutex::default(),
            garbage_count: AtomicU64::new(0),
            freed_count: AtomicU64::new(0),
            sweeps: AtomicBool::new(true),
            rests: AtomicBool::new(false),
            identity: Identity {
                run_id,
                replication_id,
                started: Instant::now(),
                started_ms,
                resident_at_start,
                port: AtomicU64::new(0),
            },
            rng: Mutex::new(rng),
            shutdown: crate::shutdown::Shutdown::default(),
            peak_memory: AtomicU64::new(0),
            config,
            acl,
        })
    }

    pub(crate) fn keyspace(&self) -> &Keyspace<Extra> {
        &self.keyspace
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn acl(&self) -> &Acl {
        &self.acl
    }

    pub(crate) fn settings(&self) -> &Settings {
        self.config.settings()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    pub(crate) fn clients(&self) -> &Clients {
        &self.clients
    }

    /// How many clients wait for keys.
    #[inline]
    pub(crate) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// Who tracks keys.
    #[inline]
    pub(crate) fn tracking(&self) -> &Tracking {
        &self.tracking
    }

    pub(crate) fn channels(&self) -> &Channels {
        &self.channels
    }

    /// A random number, for what is not repeated elsewhere.
    pub(crate) fn random(&self) -> u64 {
        self.rng.lock().next_u64()
    }

    /// Draws another replication id.
    pub(crate) fn change_replication_id(&self) {
        let id = random_id(&mut self.rng.lock());
        *self.identity.replication_id.lock() = id;
    }

    /// What types need from outside.
    #[inline]
    pub(crate) fn env(&self) -> Env<'_> {
        let settings = self.settings();
        Env {
            hasher: self.keyspace.hasher(),
            regions: self.keyspace.regions(),
            limits: Limits {
                set_max_ints: settings.set_max_intset_entries.as_usize(),
                set_max_packed_entries: settings.set_max_listpack_entries.as_usize(),
                set_max_packed_value: settings.set_max_listpack_value.as_usize(),
                hash_max_packed_entries: settings.hash_max_listpack_entries.as_usize(),
                hash_max_packed_value: settings.hash_max_listpack_value.as_usize(),
                list_max_packed_size: settings.list_max_listpack_size.as_i64(),
                zset_max_packed_entries: settings.zset_max_listpack_entries.as_usize(),
                zset_max_packed_value: settings.zset_max_listpack_value.as_usize(),
                stream_node_max_bytes: settings.stream_node_max_bytes.as_usize(),
                stream_node_max_entries: settings.stream_node_max_entries.get(),
            },
        }
    }

    /// Whether clients must say who they are.
    pub(crate) fn needs_password(&self) -> bool {
        !self.acl.default_user().rules().lets_all_in()
    }

    /// Whether somebody records effects.
    #[inline]
    pub(crate) fn records_effects(&self) -> bool {
        self.recorder.is_some()
    }

    pub(crate) fn deliver(&self, group: &Group) {
        if let Some(recorder) = &self.recorder {
            recorder(group);
        }
    }

    /// Whether keyspace events have a way to go out.
    #[inline]
    pub(crate) fn publishes_events(&self) -> bool {
        !self.settings().notify_keyspace_events.get().is_empty()
    }

    /// Publishes a keyspace event, if its class is selected.
    pub(crate) fn publish_event(&self, db: usize, class: KeyspaceEvents, event: &str, key: &[u8]) {
        let wanted = self.settings().notify_keyspace_events.get();
        if !wanted.contains(class) || self.channels.is_silent() {
            return;
        }
        if wanted.contains(KeyspaceEvents::KEYSPACE) {
            let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
            self.channels.publish(&channel, event.as_bytes());
        }
        if wanted.contains(KeyspaceEvents::KEYEVENT) {
            self.channels.publish(format!("__keyevent@{db}__:{event}").as_bytes(), key);
        }
    }

    /// Whether the sweep removes expired keys.
    pub(crate) fn sweeps(&self) -> bool {
        self.sweeps.load(Relaxed)
    }

    pub(crate) fn set_sweeps(&self, sweeps: bool) {
        self.sweeps.store(sweeps, Relaxed);
    }

    /// Seconds since an access that was `age` ticks ago.
    pub(crate) fn idle_seconds(&self, age: u32) -> u64 {
        self.ticks.idle_seconds(age, self.keyspace.tick(), self.clock.now_ms())
    }

    /// Moves the tick on and notes the time: once a second, and whenever a manual clock is moved.
    pub(crate) fn advance_tick(&self) {
        self.keyspace.advance_tick();
        self.ticks.note(self.keyspace.tick(), self.clock.now_ms());
    }

    /// Who chooses what is evicted.
    pub(crate) fn evictor(&self) -> &Evictor {
        &self.evictor
    }

    /// A new session of a client without a socket.
    pub(crate) fn detached_session(&self) -> Session {
        let addresses = Addresses::default();
        let client = Client::new(self.clients.next_id(), self.clock.now_ms(), addresses, self.acl.own_user());
        Session::new(self, Arc::new(client), self.stats.idle_worker())
    }

    /// Runs the commands of a batch from number `from` on; their replies are appended to `reply`.
    #[inline(never)]
    pub(crate) fn run(
        &self,
        session: &mut Session,
        Place { workspace: Workspace { stats, plan }, machine, lent }: Place<'_>,
        batch: &Batch,
        buffer: &[u8],
        from: usize,
        reply: &mut Reply,
    ) -> Progress {
        let now_us = self.clock.now_us();
        let mut now = now_us / 1000;
        let timing = Timing::start(self.settings(), now_us);
        self.prepare(plan, batch, buffer, from, session.db);
        self.relieve_first(session, now, reply);
        let mut progress = Progress::Done;
        let mut hashes_from = 0;
        let mut plain = admit::is_plain(session);
        let mut skip = 0;
        for (at, &(row, hashes_to)) in plan.commands.iter().enumerate() {
            let hashes = &plan.hashes[hashes_from..hashes_to as usize];
            hashes_from = hashes_to as usize;
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let args = batch.args(from + at, buffer);
            let attention = self.attention.load(Relaxed);
            let behind = Behind::new(batch, buffer, from + at);
            let call = Call { row, args, hashes, now, timing: &timing, attention, machine, behind: &behind, lent };
            let command = self.table.get(row);
            let step = match command {
                Some(command) if plain && attention == 0 && self.runs_at_once(command, call.args) => {
                    self.run_at_once(session, stats, command, &call, reply);
                    Turn::Done
                }
                _ => self.call(session, stats, call, reply),
            };
            match step {
                Turn::Done => {}
                Turn::NeedsRoom => progress = Progress::NeedsRoom(from + at),
                Turn::Paused => progress = Progress::Paused(from + at),
            }
            if step != Turn::Done {
                break;
            }
            skip = behind.taken.get();
            if session.waiting.is_some() {
                progress = Progress::Waits(from + at + skip);
                break;
            }
            if !command.is_some_and(|command| matches!(command.run, Run::Keys(_))) {
                if session.closing {
                    break;
                }
                plain = admit::is_plain(session);
            }
            if command.is_some_and(|command| !command.is_quick()) {
                // It may have taken long, and keys have expired meanwhile.
                now = self.clock.now_ms();
            }
        }
        session.note_facts(now);
        progress
    }

    /// Whether a call of a plain session certainly runs at once, as most do.
    #[inline]
    fn runs_at_once(&self, command: &Command, args: Args<'_>) -> bool {
        admit::runs_at_once(command, args) && (!command.has(DENYOOM) || self.has_room(args.extent()))
    }

    #[inline]
    fn run_at_once(
        &self,
        session: &mut Session,
        stats: &WorkerStats,
        command: &Command,
        call: &Call<'_>,
        reply: &mut Reply,
    ) {
        let mark = reply.mark();
        if let Err(error) = self.execute(session, stats, command, call.row, call, reply) {
            reply.rewind(mark);
            self.fail(stats, &error, reply);
        }
        if matches!(command.run, Run::Session(_)) {
            self.finish(session, reply, mark);
        }
    }

    /// Runs or queues or refuses one command, whatever the session's state, unless it has to wait first.
    #[inline(never)]
    fn call(&self, session: &mut Session, stats: &WorkerStats, call: Call<'_>, reply: &mut Reply) -> Turn {
        let mark = reply.mark();
        if call.row == u16::MAX && admit::is_http(&call.args[0]) {
            // A browser was led to send this on behalf of somebody else: it gets no answer.
            session.closing = true;
            return Turn::Done;
        }
        let admission = admit::admit(self, session, call.row, call.args, reply.proto());
        if let Ok(Admission::Run(row) | Admission::Queue(row)) = admission
            && call.attention & PAUSED != 0
            && self.must_pause(session, row, call.args, call.now)
        {
            return Turn::Paused;
        }
        if let Ok(Admission::Run(row) | Admission::Queue(row)) = admission
            && (TABLE.row(row).has(DENYOOM) || session.multi.is_some())
        {
            let room = self.make_room(session, row, call.args);
            if room == Room::More && !self.is_busy() {
                return Turn::NeedsRoom;
            }
            session.room_claim = None;
            if room != Room::Enough {
                // A script that runs for long holds what might go, or nothing may.
                let error = if room == Room::More { self.busy() } else { error::OUT_OF_MEMORY };
                self.refuse(session, stats, &call, Some(row), &error, reply);
                self.finish(session, reply, mark);
                return Turn::Done;
            }
        }
        let outcome = match admission {
            Ok(Admission::Run(row)) => self.execute(session, stats, TABLE.row(row), row, &call, reply),
            Ok(Admission::Queue(row)) => {
                admit::queue(self, session, row, call.args);
                reply.simple("QUEUED");
                Ok(())
            }
            Err((row, error)) => {
                self.refuse(session, stats, &call, row, &error, reply);
                Ok(())
            }
        };
        if let Err(error) = outcome {
            reply.rewind(mark);
            self.fail(stats, &error, reply);
        }
        if session.tracks && session.multi.is_none() && !call.args[0].eq_ignore_ascii_case(b"CLIENT") {
            session.caching_is_over();
        }
        self.finish(session, reply, mark);
        Turn::Done
    }

    /// Whether so many bytes more stay within `maxmemory`, and nobody waits for room.
    #[inline]
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let limit = self.settings().maxmemory.get();
        limit == 0 || (self.keyspace.used_memory() + bytes) as u64 <= limit && !self.evictor.is_awaited()
    }

    /// Runs an admitted command and counts it.
    #[inline]
    fn execute(
        &self,
        session: &mut Session,
        stats: &WorkerStats,
        command: &Command,
        row: u16,
        call: &Call<'_>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let counters = stats.row(row);
        let is_quick = command.is_quick() || matches!(command.run, Run::Script(_));
        let timed = !is_quick || observe::is_sample(counters.calls.get()) || call.timing.is_exact();
        let started = timed.then(Instant::now);
        session.client.facts.row.store(row as u32, Relaxed);
        let outcome = match command.run {
            Run::Keys(function) | Run::All(function) => {
                let set = if matches!(command.run, Run::All(_)) { self.keyspace.all() } else { self.shards_of(call) };
                match self.lock_for(session, stats, set, command, call) {
                    Some(locked) => {
                        self.with_shards(session, locked, command, call, |locked| function(locked, call.args, reply))
                    }
                    None => self.held_up(session, call.args, reply),
                }
            }
            Run::Wait(function) => self.run_or_wait(session, stats, command, call, function, reply),
            Run::Script(_) => self.run_script(session, stats, command, call, reply),
            Run::Session(function) => {
                let outcome = function(self, session, call.args, reply);
                if session.waiting.is_some() || outcome.is_ok() && std::mem::take(&mut session.is_counted) {
                    return outcome;
                }
                if call.attention & MONITORED != 0 {
                    self.show(session, command, call.args);
                }
                outcome
            }
            Run::Container => Err(error::wrong_arity(&command.lower_name())),
        };
        let is_counted = outcome.is_err() && std::mem::take(&mut session.is_counted) || call.behind.is_counted.get();
        if session.waiting.is_some() || is_counted {
            return outcome;
        }
        stats.counters.commands.add(1);
        counters.calls.add(1);
        match started {
            Some(started) => {
                let time = started.elapsed();
                call.timing.leave_out(time);
                // CONFIG SET is subject to what it sets.
                let is_session = matches!(command.run, Run::Session(_));
                let is_long = call.timing.is_long(time) || (is_session && time >= observe::limit(self.settings()));
                self.note_time(&session.client, counters, command, call.args, time, is_long);
            }
            None => {
                if let Some(time) = call.timing.long_call(&self.clock) {
                    observe::note_long(self, &session.client, command, call.args, time);
                }
            }
        }
        if outcome.is_err() {
            counters.failed.add(1);
        }
        outcome
    }

    /// The shards of a call's keys.
    #[inline]
    fn shards_of(&self, call: &Call<'_>) -> ShardSet {
        match call.hashes {
            [only] => self.keyspace.set_of(only.hash),
            all => all.iter().fold(ShardSet::NONE, |set, known| set | self.keyspace.set_of(known.hash)),
        }
    }

    /// Runs a command that may wait; the session waits afterwards if it does.
    fn run_or_wait(
        &self,
        session: &mut Session,
        stats: &WorkerStats,
        command: &Command,
        call: &Call<'_>,
        function: fn(&mut Locked<'_>, Args<'_>, &mut Reply) -> Result<Step, Error>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let mut waiter = None;
        let set = self.shards_of(call);
        let Some(locked) = self.lock_for(session, stats, set, command, call) else {
            return self.held_up(session, call.args, reply);
        };
        let outcome = self.with_shards(session, locked, command, call, |locked| {
            match function(locked, call.args, reply)? {
                Step::Done => {}
                Step::Park(park) if !session.may_wait => (park.at_once)(reply),
                Step::Park(park) => waiter = Some(locked.wait(session, call.row, call.args, reply.proto(), park)),
            }
            Ok(())
        });
        session.waiting = waiter;
        outcome
    }

    /// Notes the time of a call that was timed.
    #[inline(never)]
    pub(crate) fn note_time(
        &self,
        client: &Client,
        counters: &RowCounters,
        command: &Command,
        args: Args<'_>,
        time: Duration,
        is_long: bool,
    ) {
        counters.note_time(time, self.settings().latency_tracking.get());
        if is_long {
            observe::note_long(self, client, command, args, time);
        }
    }

    /// Locks shards for a command; `None` if a script holds one of them and goes on holding it.
    #[inline]
    fn lock_for<'a>(
        &'a self,
        session: &Session,
        stats: &'a WorkerStats,
        set: ShardSet,
        command: &Command,
        call: &Call<'_>,
    ) -> Option<Locked<'a>> {
        let lock = || match self.waiting.count() > 0 && command.has(WRITE) {
            true => Locked::for_writing(self, set, call.now, stats, std::iter::once((command, call.args))),
            false => Locked::try_new(self, set, call.now, stats),
        };
        lock().or_else(|| if session.may_wait { None } else { self.wait_on_thread(lock) })
    }

    #[inline]
    fn with_shards<'a>(
        &'a self,
        session: &Session,
        mut locked: Locked<'a>,
        command: &Command,
        call: &Call<'a>,
        run: impl FnOnce(&mut Locked<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        locked.work_for(session, call.lent);
        locked.rules = session.login.restrictions();
        locked.begin(session.db, Hashes::new(call.hashes));
        locked.hides_expired = call.attention & PAUSED != 0 && self.hides_expired(command, call.now);
        let outcome = run(&mut locked);
        if session.tracks {
            locked.remember_reads(&session.client, command, call.args);
        }
        if call.attention & MONITORED != 0 {
            self.show(session, command, call.args);
        }
        locked.end(call.args);
        outcome
    }

    /// Answers a command that was not run.
    #[cold]
    fn refuse(
        &self,
        session: &mut Session,
        stats: &WorkerStats,
        call: &Call<'_>,
        row: Option<u16>,
        error: &Error,
        reply: &mut Reply,
    ) {
        if let Some(row) = row {
            stats.row(row).rejected.add(1);
            if TABLE.row(row).name == "EXEC" {
                if call.attention & MONITORED != 0 {
                    self.show(session, TABLE.row(row), call.args);
                }
                session.multi = None;
                forget_watched(self, session);
                return self.fail(stats, &error::exec_refused(error), reply);
            }
        }
        if let Some(transaction) = &mut session.multi {
            transaction.aborted = true;
        }
        self.fail(stats, error, reply);
    }

    /// Answers an error and counts it.
    #[cold]
    pub(crate) fn fail(&self, stats: &WorkerStats, error: &Error, reply: &mut Reply) {
        stats.counters.errors.add(1);
        self.stats.error(error.code());
        reply.error(error.text());
    }

    /// What follows each command: CLIENT REPLY takes the answer back, own messages come after it.
    #[inline]
    pub(crate) fn finish(&self, session: &mut Session, reply: &mut Reply, mark: larder_protocol::Mark) {
        match session.reply_mode {
            ReplyMode::On => {}
            ReplyMode::Off => reply.rewind(mark),
            ReplyMode::SkipNext => {
                reply.rewind(mark);
                session.reply_mode = ReplyMode::Skip;
            }
            ReplyMode::Skip => {
                reply.rewind(mark);
                session.reply_mode = ReplyMode::On;
            }
        }
        session.tell_messages(reply);
    }

    /// Runs one command of a transaction or a script, whose shards are locked. `samples`: only some calls of quick
    /// commands are timed, unless somebody's limit asks for each.
    pub(crate) fn run_queued(
        &self,
        session: &mut Session,
        locked: &mut Locked<'_>,
        row: u16,
        args: Args<'_>,
        reply: &mut Reply,
        samples: bool,
    ) {
        let (command, mark, stats) = (TABLE.row(row), reply.mark(), locked.stats());
        let counters = stats.row(row);
        let is_timed = !samples
            || !command.is_quick()
            || observe::is_sample(counters.calls.get())
            || observe::times_each(self.settings());
        let started = is_timed.then(Instant::now);
        let attention = self.attention.load(Relaxed);
        locked.begin(session.db, Hashes::default());
        locked.hides_expired = attention & PAUSED != 0 && self.hides_expired(command, locked.now);
        let outcome = match command.run {
            Run::Keys(function) | Run::All(function) => function(locked, args, reply),
            Run::Wait(function) => function(locked, args, reply).map(|step| match step {
                Step::Done => {}
                Step::Park(park) => (park.at_once)(reply),
            }),
            Run::Script(function) => function(self, session, locked, args, reply),
            Run::Session(function) => function(self, session, args, reply),
            Run::Container => Err(error::wrong_arity(&command.lower_name())),
        };
        if session.tracks {
            locked.remember_reads(&session.client, command, args);
        }
        locked.end(args);
        if attention & MONITORED != 0 {
            self.show(session, command, args);
        }
        stats.counters.commands.add(1);
        counters.calls.add(1);
        if let Some(started) = started {
            let time = started.elapsed();
            self.note_time(&session.client, counters, command, args, time, time >= observe::limit(self.settings()));
        }
        if let Err(error) = outcome {
            counters.failed.add(1);
            reply.rewind(mark);
            self.fail(stats, &error, reply);
        }
    }

    /// Checks every invariant of the data; panics with what is wrong. For tests.
    pub fn validate(&self) {
        let mut locked = self.keyspace.lock(self.keyspace.all());
        let bits = self.keyspace.shards();
        for (number, guarded) in locked.each() {
            guarded.shard.validate(self.keyspace.hasher(), |hash| hash as usize % bits == number);
        }
    }
}

/// 40 hexadecimal digits.
fn random_id(rng: &mut Rng) -> String {
    (0..5).map(|_| format!("{:08x}", rng.next_u64() as u32)).collect()
}

/// One command to be run.
struct Call<'a> {
    /// The number of its row, a container's for a subcommand; `u16::MAX` for none.
    row: u16,
    args: Args<'a>,
    hashes: &'a [KnownHash],
    now: u64,
    timing: &'a Timing,
    /// As it was before the call.
    attention: u32,
    /// What runs scripts on this thread, if anything does.
    machine: Option<&'a Machine>,
    behind: &'a Behind<'a>,
    lent: Option<&'a larder_storage::heap::Shared>,
}
