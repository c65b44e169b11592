//! One connection: read once, run every complete command, write once.
//!
//! Buffers belong to the thread: a connection keeps one only while it holds part of a command or replies that were
//! not sent, so that idle connections cost little. While replies wait to be written nothing is read: a client that
//! does not take its answers is not served further.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use larder_protocol::{Batch, Limits, Parser, Reply};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::socket::Socket;
use crate::client::Client;
use crate::config::ClientClass;
use crate::engine::{Engine, Progress};
use crate::session::{Session, Workspace};
use crate::stats::WorkerStats;

/// Bytes of a thread's buffer.
const BUFFER_BYTES: usize = 64 << 10;
/// Commands that are prepared together.
const BATCH: usize = 32;
/// Replies of a pipeline are written early when they pass this.
const WRITE_EARLY: usize = 256 << 10;
/// Replies up to this do not count against the output buffer's limits, as in Redis.
const UNCOUNTED_REPLY: usize = 16 << 10;
/// The most that a read buffer grows by at once, whatever length a client announces.
const GROW_AT_MOST: usize = 1 << 20;
/// How often the output limits of a client are looked at that does not read.
const LIMITS_EVERY: Duration = Duration::from_millis(500);
/// An inline command must end within this.
const INLINE_BYTES: usize = 64 << 10;

/// What the connections of one thread share.
pub(super) struct Worker {
    pub(super) stats: Arc<WorkerStats>,
    workspace: RefCell<Workspace>,
    /// Buffers that no connection uses: one to read into, one for replies.
    spare_input: Cell<Vec<u8>>,
    spare_output: Cell<Vec<u8>>,
}

impl Worker {
    pub(super) fn new(stats: Arc<WorkerStats>) -> Self {
        let workspace = RefCell::new(Workspace::new(stats.clone()));
        Self { stats, workspace, spare_input: Cell::default(), spare_output: Cell::default() }
    }
}

#[inline]
fn take(spare: &Cell<Vec<u8>>) -> Vec<u8> {
    let buffer = spare.take();
    if buffer.capacity() > 0 { buffer } else { Vec::with_capacity(BUFFER_BYTES) }
}

#[inline]
fn give(spare: &Cell<Vec<u8>>, mut buffer: Vec<u8>) {
    if (BUFFER_BYTES..=4 * BUFFER_BYTES).contains(&buffer.capacity()) {
        buffer.clear();
        spare.set(buffer);
    }
}

/// What woke a connection.
enum Event {
    /// Bytes came; 0 at the end of the stream.
    Read(usize),
    Messages,
    Killed,
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
    worker: Rc<Worker>,
    /// What others wake this connection by, once it is registered.
    waker: Option<Waker>,
    /// Since when the output is above its soft limit, in milliseconds; 0 if it is not.
    over_soft_since: u64,
}

/// Serves a client until one side ends it.
pub(super) async fn serve(engine: Arc<Engine>, socket: Socket, client: Arc<Client>, worker: Rc<Worker>) {
    tracing::debug!("Accepted {}", client.addresses.peer);
    engine.clients().add(client.clone());
    let session = Session::new(&engine, client, worker.stats.clone());
    let mut connection = Connection {
        engine,
        socket,
        session,
        reply: Reply::new(),
        parser: Parser::new(),
        batch: Batch::default(),
        buffer: Vec::new(),
        worker,
        waker: None,
        over_soft_since: 0,
    };
    if let Err(error) = connection.run().await {
        tracing::debug!(client = connection.session.client.id, %error, "connection lost");
    }
    tracing::debug!("Client closed connection {}", connection.session.client.addresses.peer);
    connection.session.leave(&connection.engine);
    connection.engine.clients().remove(connection.session.client.id);
    if !connection.session.client.is_killed() {
        // The peer may be gone already; then there is nobody to tell.
        let _ = connection.socket.shutdown().await;
    }
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            match self.event().await? {
                Event::Read(0) | Event::Killed => return Ok(()),
                Event::Read(count) => {
                    self.worker.stats.counters.input_bytes.add(count as u64);
                    self.worker.stats.counters.reads.add(1);
                    self.reply.lend_memory(take(&self.worker.spare_output));
                    let open = self.run_commands().await?;
                    self.release_buffer();
                    if !open {
                        return self.flush().await;
                    }
                }
                Event::Messages => {}
            }
            self.take_messages();
            self.flush().await?;
            give(&self.worker.spare_output, self.reply.take_memory());
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

    /// Waits for bytes, for messages of others, or for the wish to close.
    async fn event(&mut self) -> io::Result<Event> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        self.register(cx);
        let client = &self.session.client;
        if client.is_killed() {
            return Poll::Ready(Ok(Event::Killed));
        }
        if client.has_messages() {
            return Poll::Ready(Ok(Event::Messages));
        }
        if self.buffer.capacity() == 0 {
            self.buffer = take(&self.worker.spare_input);
        } else if self.buffer.len() == self.buffer.capacity() {
            let wanted = self.parser.wanted().saturating_sub(self.buffer.len());
            let most = GROW_AT_MOST.max(self.buffer.len());
            self.buffer.reserve_exact(wanted.max(self.buffer.len()).clamp(BUFFER_BYTES, most));
        }
        let read = pin!(self.socket.read_buf(&mut self.buffer)).poll(cx);
        if read.is_pending() {
            self.release_buffer();
        }
        read.map_ok(Event::Read)
    }

    /// Gives the read buffer back to the thread unless it holds part of a command.
    fn release_buffer(&mut self) {
        if self.buffer.is_empty() {
            give(&self.worker.spare_input, std::mem::take(&mut self.buffer));
        }
    }

    /// Runs every complete command of the buffer; false when the connection is to be closed.
    async fn run_commands(&mut self) -> io::Result<bool> {
        let mut done = 0;
        loop {
            let settings = self.engine.settings();
            let limits = Limits {
                max_bulk: settings.proto_max_bulk_len.as_usize(),
                max_inline: INLINE_BYTES,
                authenticated: self.session.authenticated,
            };
            // Before authentication the limits can change with each command.
            let most = if limits.authenticated { BATCH } else { 1 };
            let parsed = self.parser.parse(&self.buffer[done..], &mut self.batch, most, &limits);
            if !self.batch.is_empty() {
                self.run_batch(done).await;
            }
            done += self.batch.consumed();
            if self.session.closing || self.session.client.is_killed() {
                return Ok(false);
            }
            if let Err(error) = parsed {
                self.reply.protocol_error(&error);
                self.engine.stats().error("ERR");
                return Ok(false);
            }
            // An error in the bytes after the last command shows at the next look at them.
            if self.batch.is_empty() || done == self.buffer.len() {
                self.buffer.drain(..done);
                return Ok(self.within_query_limit());
            }
            if self.reply.len() >= WRITE_EARLY {
                self.flush().await?;
            }
        }
    }

    /// Runs the commands of the batch, which was parsed from the buffer's place `start` on.
    async fn run_batch(&mut self, start: usize) {
        let mut from = 0;
        loop {
            match self.run_from(start, from) {
                Progress::Done => return,
                Progress::NeedsRoom(at) => from = at,
            }
            // Others go on while this client waits for room.
            tokio::task::yield_now().await;
        }
    }

    fn run_from(&mut self, start: usize, from: usize) -> Progress {
        let workspace = &mut self.worker.workspace.borrow_mut();
        self.engine.run(&mut self.session, workspace, &self.batch, &self.buffer[start..], from, &mut self.reply)
    }

    fn within_query_limit(&mut self) -> bool {
        let limit = self.engine.settings().client_query_buffer_limit.as_usize();
        let (used, facts) = (self.buffer.len(), &self.session.client.facts);
        facts.query_bytes.store(used, Relaxed);
        let queued = self.session.multi.as_ref().map_or(0, |multi| multi.bytes);
        if used + queued > limit {
            tracing::warn!(
                client = self.session.client.id,
                used,
                "closing a client that reached the query buffer limit"
            );
            self.worker.stats.counters.query_limit_closed.add(1);
            return false;
        }
        true
    }

    fn take_messages(&mut self) {
        let reply = &mut self.reply;
        self.session.client.take_messages(|message| reply.raw(&message));
    }

    /// Whether the output is within its limits; closes the client if not.
    fn within_output_limit(&mut self) -> bool {
        let class = if self.session.subscriptions.is_empty() { ClientClass::Normal } else { ClientClass::Pubsub };
        let limit = self.engine.settings().client_output_buffer_limit.get(class);
        let client = &self.session.client;
        let hard = if limit.hard_bytes == 0 { usize::MAX } else { limit.hard_bytes as usize };
        client.limit_outbox(hard);
        let pending = self.reply.len() + client.outbox_bytes();
        let over_soft = limit.soft_bytes > 0 && pending > limit.soft_bytes as usize;
        let now = self.engine.clock().now_ms();
        self.over_soft_since = match (over_soft, self.over_soft_since) {
            (false, _) => 0,
            (true, 0) => now,
            (true, since) => since,
        };
        let too_long = over_soft && now.saturating_sub(self.over_soft_since) > limit.soft_seconds * 1000;
        if pending > hard || too_long {
            tracing::warn!(client = client.id, pending, "closing a client that passed its output buffer limit");
            self.worker.stats.counters.output_limit_closed.add(1);
            client.kill();
            return false;
        }
        true
    }

    /// Writes all replies.
    async fn flush(&mut self) -> io::Result<()> {
        if self.reply.is_empty() {
            return Ok(());
        }
        self.write_at_once()?;
        if !self.reply.is_empty() {
            self.write_the_rest().await?;
        }
        self.worker.stats.counters.writes.add(1);
        Ok(())
    }

    async fn write_the_rest(&mut self) -> io::Result<()> {
        while !self.reply.is_empty() {
            if !self.within_output_limit() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if let Some(written) = self.write_in_time().await {
                self.note_written(written?)?;
            }
        }
        self.session.client.facts.output_bytes.store(0, Relaxed);
        Ok(())
    }

    /// Writes what the system takes without waiting, which is mostly everything.
    #[inline]
    fn write_at_once(&mut self) -> io::Result<()> {
        if self.reply.len() > UNCOUNTED_REPLY && !self.within_output_limit() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let refused = self.session.client.is_killed() && !self.session.closing;
        match self.reply.as_slice().filter(|_| !refused).map(|bytes| self.socket.try_write(bytes)) {
            Some(Ok(written)) => self.note_written(written),
            Some(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
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

    /// Waits until the client takes something; `None` from time to time, to look at the limits again: the soft limit
    /// passes while nothing happens.
    async fn write_in_time(&mut self) -> Option<io::Result<usize>> {
        tokio::time::timeout(LIMITS_EVERY, poll_fn(|cx| self.poll_write(cx))).await.ok()
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.register(cx);
        let client = &self.session.client;
        if client.is_killed() && !self.session.closing {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let mut slices = [IoSlice::new(&[]); 16];
        let count = self.reply.slices(&mut slices);
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, &slices[..count]);
        if written.is_pending() {
            // Messages that come meanwhile count against the limit.
            let reply = &mut self.reply;
            let before = reply.len();
            self.session.client.take_messages(|message| reply.raw(&message));
            self.session.client.facts.output_bytes.store(self.reply.len(), Relaxed);
            if self.reply.len() > before && !self.within_output_limit() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        written
    }
}
