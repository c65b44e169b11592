//! One connection: read once, run every complete command, write once, when [all others have been served](super::round).
//!
//! Buffers belong to the thread: a connection keeps one only while it holds part of a command or replies that were
//! not sent, so that idle connections cost little. A client may send as much as it likes before it reads its answers:
//! they wait, within the output buffer's limits. Only a client for which more than `client-query-buffer-limit` waits
//! is not served further until it has read some of that. While a command waits for a key, what follows it stays in the
//! buffer.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::BufMut;
use larder_protocol::{Batch, Parser, Reply};
use larder_storage::heap::Shared;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::round::{self, Rounds};
use super::socket::Socket;
use crate::client::Client;
use crate::config::OutputLimit;
use crate::engine::{Engine, Progress};
use crate::script::Machine;
use crate::session::{Place, Session, Workspace};
use crate::stats::WorkerStats;
use crate::wait::Waited;

/// Bytes of a thread's buffer.
const BUFFER_BYTES: usize = 64 << 10;
/// The rest of a buffer that is copied out of it when nothing more comes.
const SHELVED: usize = BUFFER_BYTES / 2;
/// Replies of a pipeline are written early when they pass this.
const WRITE_EARLY: usize = 256 << 10;
/// Replies up to this do not count against the output buffer's limits, as in Redis.
const UNCOUNTED_REPLY: usize = 16 << 10;
/// The most that a read buffer grows by at once, whatever length a client announces.
const GROW_AT_MOST: usize = 1 << 20;
/// The most that is read at once, so that others are served between.
const READ_AT_MOST: usize = 256 << 10;
/// A command of so many bytes that is hardly more than one argument may keep the buffer rather than copy that.
const LENT_FROM: usize = 256 << 10;
/// Larger read buffers double, whatever is announced: glibc keeps freed pieces of all sizes up to 32 MiB that it has seen.
const EXACT_AT_MOST: usize = 8 << 20;
/// How often the output limits of a client are looked at that does not read.
const LIMITS_EVERY: Duration = Duration::from_millis(500);
/// How long the commands of one client may keep others waiting.
const SLICE: Duration = Duration::from_micros(500);

/// What the connections of one thread share.
pub(super) struct Worker {
    pub(super) stats: Arc<WorkerStats>,
    rounds: Arc<Rounds>,
    workspace: RefCell<Workspace>,
    machine: Machine,
    /// Buffers that no connection uses: one to read into, and for replies as many as wait to be sent at once.
    spare_input: Cell<Vec<u8>>,
    spare_outputs: RefCell<Vec<Vec<u8>>>,
}

impl Worker {
    pub(super) fn new(stats: Arc<WorkerStats>, rounds: Arc<Rounds>) -> Self {
        let workspace = RefCell::new(Workspace::new(stats.clone()));
        Self {
            stats,
            rounds,
            workspace,
            machine: Machine::default(),
            spare_input: Cell::default(),
            spare_outputs: RefCell::default(),
        }
    }

    #[inline]
    fn input(&self) -> Vec<u8> {
        let buffer = self.spare_input.take();
        if buffer.capacity() > 0 { buffer } else { Vec::with_capacity(BUFFER_BYTES) }
    }

    #[inline]
    fn give_input(&self, mut buffer: Vec<u8>) {
        if (BUFFER_BYTES..=4 * BUFFER_BYTES).contains(&buffer.capacity()) {
            buffer.clear();
            self.spare_input.set(buffer);
        }
    }

    #[inline]
    fn output(&self) -> Vec<u8> {
        self.spare_outputs.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    #[inline]
    fn give_output(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare_outputs.borrow_mut();
        if (BUFFER_BYTES..=2 * BUFFER_BYTES).contains(&buffer.capacity()) && spare.len() < round::MOST {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

/// What woke a connection.
enum Event {
    /// Bytes came; 0 at the end of the stream.
    Read(usize),
    /// Bytes went out that had to wait.
    Written(usize),
    /// Enough was written for commands that wait.
    Resume,
    Messages,
    Killed,
    /// Replies wait; it is time to look at the limits, which pass while nothing happens.
    Check,
}

struct Connection {
    engine: Arc<Engine>,
    socket: Socket,
    session: Session,
    reply: Reply,
    parser: Parser,
    batch: Batch,
    /// Holds data only between two reads of one command.
    buffer: Vec<u8>,
    /// The buffer in place of that, while the only command in it runs and may keep it.
    lent: Option<Shared>,
    worker: Rc<Worker>,
    /// What others wake this connection by, once it is registered.
    waker: Option<Waker>,
    /// Whether commands wait in the buffer because too many replies do.
    stalled: bool,
    /// Where the batch at the beginning of the buffer goes on when the command before has waited for its key.
    resume_at: Option<usize>,
    /// Nothing is read any more: the connection ends when the replies are sent.
    ending: bool,
    /// Whether it has been served since it last let others go on.
    had_its_turn: bool,
    /// Since when the output is above its soft limit, in milliseconds; 0 if it is not.
    over_soft_since: u64,
}

/// Serves a client until one side ends it.
pub(super) async fn serve(engine: Arc<Engine>, socket: Socket, client: Arc<Client>, worker: Rc<Worker>) {
    tracing::debug!("Accepted {}", client.addresses.peer);
    engine.clients().add(client.clone());
    let mut session = Session::new(&engine, client, worker.stats.clone());
    session.may_wait = true;
    let mut connection = Connection {
        engine,
        socket,
        session,
        reply: Reply::new(),
        parser: Parser::new(),
        batch: Batch::default(),
        buffer: Vec::new(),
        lent: None,
        worker,
        waker: None,
        stalled: false,
        resume_at: None,
        ending: false,
        had_its_turn: false,
        over_soft_since: 0,
    };
    connection.apply_limits();
    connection.note_memory();
    if let Err(error) = connection.run().await {
        tracing::debug!(client = connection.session.client.id, %error, "connection lost");
    }
    tracing::debug!("Client closed connection {}", connection.session.client.addresses.peer);
    connection.session.leave(&connection.engine);
    connection.engine.clients().remove(connection.session.client.id);
    connection.engine.client_memory.forget(&connection.session.client);
    if !connection.session.client.is_killed() {
        // The peer may be gone already; then there is nobody to tell.
        let _ = connection.socket.shutdown().await;
    }
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            let event = self.event().await?;
            if std::mem::replace(&mut self.had_its_turn, true) {
                // There is always something to do for who sends without end; others are to be served between.
                self.worker.rounds.pause().await;
            }
            match event {
                Event::Killed => {
                    let cut_off = self.session.client.has_full_outbox();
                    self.worker.stats.counters.output_limit_closed.add(u64::from(cut_off));
                    return Ok(());
                }
                // A client that waits and is gone wants nothing any more.
                Event::Read(0) if self.session.waiting.is_some() => return Ok(()),
                Event::Read(0) => self.ending = true,
                Event::Read(count) => {
                    self.worker.stats.counters.input_bytes.add(count as u64);
                    self.worker.stats.counters.reads.add(1);
                    if self.kept_query_bytes() > 0 {
                        // What is too large is not run any more.
                        self.note_memory();
                        if self.session.client.is_killed() {
                            continue;
                        }
                    }
                    if self.session.waiting.is_some() {
                        self.check_query_limit();
                    } else {
                        self.run_commands().await;
                    }
                }
                Event::Resume => self.run_commands().await,
                Event::Written(count) => self.note_written(count)?,
                Event::Messages | Event::Check => {}
            }
            if self.session.waiting.is_some() && self.finish_wait() {
                self.run_commands().await;
            }
            if !self.reply.is_empty() {
                self.shelve();
                self.had_its_turn &= !self.worker.rounds.over().await;
            }
            self.take_messages();
            self.write()?;
            self.note_memory();
            if self.reply.is_empty() {
                self.worker.give_output(self.reply.take_memory());
                if self.ending {
                    return Ok(());
                }
            }
        }
    }

    /// Lets others wake this connection; to be called before it looks at what they may have done.
    #[inline]
    fn register(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            self.session.client.wake.register(cx.waker());
            self.waker = Some(cx.waker().clone());
        }
    }

    /// Waits for bytes to come or to go, for messages of others, or for the wish to close. Others go on if it has to wait.
    async fn event(&mut self) -> io::Result<Event> {
        let limits = (!self.reply.is_empty()).then_some(LIMITS_EVERY);
        let until = self.session.waiting.as_ref().and_then(|waiter| waiter.until());
        let left = until.map(|at| Duration::from_millis(at.saturating_sub(self.engine.clock().now_ms())));
        let event = poll_fn(|cx| {
            let event = self.poll_event(cx);
            self.had_its_turn &= event.is_ready();
            event
        });
        match limits.into_iter().chain(left).min() {
            None => event.await,
            Some(pause) => tokio::time::timeout(pause, event).await.unwrap_or(Ok(Event::Check)),
        }
    }

    /// Looks whether the command that waits is done with it; if so commands run again.
    fn finish_wait(&mut self) -> bool {
        match self.engine.finish_wait(&mut self.session, &mut self.reply) {
            Waited::Still => return false,
            Waited::Over(behind) => self.resume_at = self.resume_at.map(|at| at - behind),
            Waited::Again(behind) => self.resume_at = self.resume_at.map(|at| at - behind - 1),
        }
        true
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        self.register(cx);
        let client = &self.session.client;
        if client.is_killed() {
            return Poll::Ready(Ok(Event::Killed));
        }
        if client.has_messages() || self.session.waiting.as_ref().is_some_and(|waiter| waiter.is_over()) {
            return Poll::Ready(Ok(Event::Messages));
        }
        if self.stalled && !self.has_too_many_replies() {
            return Poll::Ready(Ok(Event::Resume));
        }
        if !self.reply.is_empty()
            && let Poll::Ready(written) = self.poll_write(cx)
        {
            return Poll::Ready(written.map(Event::Written));
        }
        if self.stalled || self.ending { Poll::Pending } else { self.poll_read(cx).map_ok(Event::Read) }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let len = self.buffer.len();
        if len == self.buffer.capacity() {
            if len < BUFFER_BYTES {
                // A rest that was shelved, or nothing.
                let rest = std::mem::replace(&mut self.buffer, self.worker.input());
                self.buffer.extend_from_slice(&rest);
            } else {
                // As much as a long argument still needs; if that is very much, or nobody knows, the buffer doubles.
                let wanted = self.parser.wanted();
                let fits = wanted >= BUFFER_BYTES && len + wanted <= EXACT_AT_MOST;
                let more = if fits { wanted } else { wanted.max(len) };
                self.buffer.reserve_exact(more.clamp(BUFFER_BYTES, GROW_AT_MOST.max(len)));
            }
        }
        let mut room = (&mut self.buffer).limit(READ_AT_MOST);
        let read = pin!(self.socket.read_buf(&mut room)).poll(cx);
        if read.is_pending() {
            self.shelve();
        }
        read
    }

    /// Gives the read buffer back to the thread; part of a command is kept in as many bytes as it has.
    fn shelve(&mut self) {
        let rest = if self.buffer.len() < SHELVED { self.buffer.as_slice().into() } else { Vec::new() };
        if rest.len() == self.buffer.len() {
            self.worker.give_input(std::mem::replace(&mut self.buffer, rest));
        } else if self.buffer.capacity() > 4 * self.buffer.len() {
            self.buffer.shrink_to_fit();
        }
        self.session.client.facts.query_capacity.store(self.buffer.capacity(), Relaxed);
    }

    /// Runs every complete command of the buffer.
    async fn run_commands(&mut self) {
        self.reply.lend_memory(self.worker.output());
        self.apply_limits();
        self.note_query(self.buffer.len());
        self.stalled = false;
        let (mut done, mut slice) = (0, Instant::now() + SLICE);
        loop {
            let (from, parsed) = match self.resume_at.take() {
                Some(at) => (at, Ok(())),
                None => {
                    let (limits, most) = self.session.parsing(&self.engine);
                    (0, self.parser.parse(&self.buffer[done..], &mut self.batch, most, &limits))
                }
            };
            if from < self.batch.len() {
                self.lend_buffer(done);
                self.resume_at = self.run_batch(done, from).await;
                self.take_buffer_back();
            }
            if self.session.waiting.is_some() {
                break;
            }
            done += self.batch.consumed();
            if let Err(error) = parsed {
                self.reply.protocol_error(&error);
                self.engine.stats().error("ERR");
                self.ending = true;
            }
            self.ending |= self.session.closing;
            if self.ending || self.session.client.is_killed() {
                return self.buffer.clear();
            }
            // An error in the bytes after the last command shows at the next look at them.
            if self.batch.is_empty() || done >= self.buffer.len() {
                break;
            }
            if Instant::now() >= slice {
                self.worker.rounds.pause().await;
                slice = Instant::now() + SLICE;
            }
            if self.reply.len() >= WRITE_EARLY {
                if self.write().is_err() {
                    self.session.client.kill();
                    return;
                }
                if self.has_too_many_replies() {
                    self.stalled = true;
                    break;
                }
            }
        }
        self.buffer.drain(..done.min(self.buffer.len()));
        self.check_query_limit();
    }

    /// Lends the buffer to the batch's command if there is one only, and nothing of others stands there.
    #[inline]
    fn lend_buffer(&mut self, done: usize) {
        let whole = self.buffer.len() >= LENT_FROM && self.batch.len() == 1 && done == 0;
        if whole && self.batch.consumed() == self.buffer.len() {
            self.buffer.shrink_to_fit();
            self.lent = Some(std::mem::take(&mut self.buffer).into());
        }
    }

    /// Takes the buffer back, unless a value stands in it now.
    #[inline]
    fn take_buffer_back(&mut self) {
        if let Some(lent) = self.lent.take() {
            self.buffer = lent.into_inner().unwrap_or_default();
        }
    }

    /// Notes what CLIENT LIST is to show of the read buffer.
    #[inline]
    fn note_query(&self, used: usize) {
        let facts = &self.session.client.facts;
        facts.query_bytes.store(used, Relaxed);
        facts.query_capacity.store(self.kept_query_bytes(), Relaxed);
    }

    /// Bytes of the read buffer, unless it is the thread's: a small rest is copied out of that.
    #[inline]
    fn kept_query_bytes(&self) -> usize {
        if self.buffer.len() < SHELVED { 0 } else { self.buffer.capacity() }
    }

    /// Notes what the client takes, and sees to it that all clients together do not take too much.
    #[inline]
    fn note_memory(&self) {
        let (engine, client) = (&self.engine, &self.session.client);
        if engine.settings().maxmemory_clients.get() == 0 {
            return;
        }
        client.facts.query_capacity.store(self.kept_query_bytes(), Relaxed);
        engine.client_memory.note(engine, client);
        engine.client_memory.relieve(engine, &self.worker.stats);
    }

    /// Whether so much waits to be sent that no further command runs.
    fn has_too_many_replies(&self) -> bool {
        self.reply.len() > self.engine.settings().client_query_buffer_limit.as_usize()
    }

    /// Runs the commands of the batch from number `from` on, which was parsed from the buffer's place `start` on. Gives
    /// the number to go on from when one of them waits for its key.
    async fn run_batch(&mut self, start: usize, mut from: usize) -> Option<usize> {
        loop {
            match self.run_from(start, from) {
                Progress::Done => return None,
                Progress::NeedsRoom(at) => {
                    from = at;
                    // What was before it need not wait.
                    if self.write().is_err() {
                        self.session.client.kill();
                    }
                    // Others go on while this client waits for room.
                    self.worker.rounds.pause().await;
                }
                Progress::Waits(at) => return Some(at + 1),
                Progress::Paused(at) => {
                    from = at;
                    self.sit_out_pause().await;
                }
            }
            if self.session.client.is_killed() {
                return None;
            }
        }
    }

    /// Waits until clients are not paused any more, or this one is killed. What there is to send is sent meanwhile.
    async fn sit_out_pause(&mut self) {
        let engine = self.engine.clone();
        let client = self.session.client.clone();
        client.facts.paused.store(true, Relaxed);
        loop {
            let now = engine.clock().now_ms();
            let rest = engine.pause.rest(now);
            if client.is_killed() || rest.is_zero() {
                break;
            }
            self.take_messages();
            if self.write().is_err() {
                client.kill();
                break;
            }
            let woken = poll_fn(|cx| {
                self.register(cx);
                let is_over = engine.pause.rest(now).is_zero();
                if is_over || client.is_killed() || client.has_messages() { Poll::Ready(()) } else { Poll::Pending }
            });
            // The time is over, or someone says so earlier.
            let _ = tokio::time::timeout(rest.min(LIMITS_EVERY), woken).await;
        }
        client.facts.paused.store(false, Relaxed);
    }

    fn run_from(&mut self, start: usize, from: usize) -> Progress {
        let (workspace, lent) = (&mut *self.worker.workspace.borrow_mut(), self.lent.as_ref());
        let place = Place { workspace, machine: Some(&self.worker.machine), lent };
        let buffer = lent.map_or(&self.buffer, |lent| lent);
        self.engine.run(&mut self.session, place, &self.batch, &buffer[start..], from, &mut self.reply)
    }

    /// Closes a client whose unfinished command or transaction is too large.
    #[inline]
    fn check_query_limit(&mut self) {
        let (used, facts) = (self.buffer.len(), &self.session.client.facts);
        facts.query_bytes.store(used - self.parser.parsed().min(used), Relaxed);
        if used == 0 && self.session.multi.is_none() {
            return;
        }
        // Part of a command came: the client is not idle, though nothing ran.
        facts.active_ms.store(self.engine.clock().now_ms(), Relaxed);
        let limit = self.engine.settings().client_query_buffer_limit.as_usize();
        let queued = self.session.multi.as_ref().map_or(0, |multi| multi.bytes);
        if used + queued > limit && !self.stalled {
            tracing::warn!(
                client = self.session.client.id,
                used,
                "closing a client that reached the query buffer limit"
            );
            self.worker.stats.counters.query_limit_closed.add(1);
            self.ending = true;
        }
    }

    fn take_messages(&mut self) {
        let reply = &mut self.reply;
        self.session.client.take_messages(|message| reply.raw(&message));
    }

    /// The output limit that holds for the client now; also tells the outbox and the reply.
    fn apply_limits(&mut self) -> OutputLimit {
        let limit = self.session.output_limit(&self.engine);
        self.session.client.limit_outbox(limit.hard());
        self.reply.set_limit(limit.hard());
        limit
    }

    /// Closes the client if its output is not within its limits.
    fn check_output_limit(&mut self) {
        let limit = self.apply_limits();
        let client = &self.session.client;
        let pending = self.reply.len() + client.outbox_bytes();
        let over_soft = limit.soft_bytes > 0 && pending > limit.soft_bytes as usize;
        let now = self.engine.clock().now_ms();
        self.over_soft_since = match (over_soft, self.over_soft_since) {
            (false, _) => 0,
            (true, 0) => now,
            (true, since) => since,
        };
        let too_long = over_soft && now.saturating_sub(self.over_soft_since) > limit.soft_seconds * 1000;
        if pending > limit.hard() || too_long || self.reply.has_overflowed() {
            tracing::warn!(client = client.id, pending, "closing a client that passed its output buffer limit");
            self.worker.stats.counters.output_limit_closed.add(1);
            client.kill();
        }
    }

    /// Writes what the system takes without waiting, which is mostly everything.
    #[inline]
    fn write(&mut self) -> io::Result<()> {
        let has_overflowed = self.reply.has_overflowed();
        if self.reply.is_empty() && !has_overflowed {
            return Ok(());
        }
        if self.reply.len() > UNCOUNTED_REPLY || has_overflowed {
            self.check_output_limit();
        }
        if self.session.client.is_killed() {
            return Ok(());
        }
        match self.reply.as_slice().map(|bytes| self.socket.try_write(bytes)) {
            Some(Ok(written)) => self.note_written(written)?,
            Some(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        self.worker.stats.counters.writes.add(1);
        self.session.client.facts.output_bytes.store(self.reply.len(), Relaxed);
        if !self.reply.is_empty() {
            self.check_output_limit();
        }
        Ok(())
    }

    #[inline]
    fn note_written(&mut self, count: usize) -> io::Result<()> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.worker.stats.counters.output_bytes.add(count as u64);
        self.reply.advance(count);
        Ok(())
    }

    /// Goes on writing what had to wait.
    #[cold]
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = self.reply.slices(&mut slices);
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, &slices[..count]);
        if let Poll::Ready(Ok(count)) = &written {
            let facts = &self.session.client.facts;
            facts.active_ms.store(self.engine.clock().now_ms(), Relaxed);
            facts.output_bytes.store(self.reply.len() - count, Relaxed);
        }
        written
    }
}
