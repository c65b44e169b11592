//! A connection without a socket.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use larder_protocol::{Batch, Parser, Reply, Value};

use crate::config::ClientClass;
use crate::engine::{Engine, Progress};
use crate::session::{Place, Session, Workspace};

/// What is answered after the end of the connection, where a socket would be closed.
const CLOSED: &str = "ERR the connection is closed";
/// What a command is answered that would stand in the middle of a request.
const INCOMPLETE: &str = "ERR the request before this command is incomplete";

/// A connection without a socket: commands run on the caller's thread, and it has a state of its own as one client has
/// (database, protocol, transaction, subscriptions).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = larder::Server::builder().build()?;
/// let mut connection = server.connect();
/// // Arguments may be any bytes.
/// connection.execute([b"SET".as_slice(), b"\xffkey", b"\0value"]);
/// assert_eq!(connection.execute([b"STRLEN".as_slice(), b"\xffkey"]).as_i64(), Some(6));
/// // Errors are values like others.
/// let reply = connection.execute(["INCR"]);
/// assert_eq!(reply.as_error().as_deref(), Some("ERR wrong number of arguments for 'incr' command"));
/// // Or whole requests, as a socket would carry them; this gives the bytes of the replies.
/// assert_eq!(connection.run(b"MULTI\r\nINCR n\r\nEXEC\r\n"), b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
/// # Ok(())
/// # }
/// ```
///
/// It ends when it is dropped, by QUIT and SHUTDOWN, by bytes that are no request, and when it is subscribed and leaves
/// more messages lying than `client-output-buffer-limit` allows a subscriber. Every command after that is answered by
/// the error `ERR the connection is closed`. SHUTDOWN ends the threads of a server that was started; other connections
/// without a socket go on.
pub struct Connection {
    engine: Arc<Engine>,
    session: Session,
    workspace: Workspace,
    reply: Reply,
    parser: Parser,
    batch: Batch,
    /// The part of a request whose rest has not come yet.
    unread: Vec<u8>,
    /// Messages on their way from the outbox to the caller.
    inbox: VecDeque<Bytes>,
}

impl Connection {
    pub(super) fn new(engine: &Arc<Engine>) -> Self {
        let session = engine.detached_session();
        let connection = Self {
            engine: engine.clone(),
            workspace: Workspace::new(session.stats.clone()),
            session,
            reply: Reply::new(),
            parser: Parser::new(),
            batch: Batch::default(),
            unread: Vec::new(),
            inbox: VecDeque::new(),
        };
        connection.limit_messages();
        connection
    }

    /// Runs one command and gives its reply; [`Value::Null`] when it has none. Messages of channels wait for
    /// [`Connection::next_message`], as do the replies of SUBSCRIBE and its counterparts to all names but the first.
    ///
    /// After a request of [`Connection::run`] that is incomplete the answer is an error, and nothing is run.
    pub fn execute<A: AsRef<[u8]>>(&mut self, command: impl IntoIterator<Item = A>) -> Value {
        if self.is_closed() {
            return Value::Error(CLOSED.into());
        }
        if !self.unread.is_empty() {
            return Value::Error(INCOMPLETE.into());
        }
        let request = encode(command);
        self.session.keeps_messages = true;
        self.run_requests(&request);
        let replies = self.take_replies();
        let mut frames = frames(&replies);
        let reply = frames.next().map_or(Value::Null, |(value, _)| value);
        frames.for_each(|(_, bytes)| self.session.client.push(Bytes::copy_from_slice(bytes)));
        reply
    }

    /// Runs commands as they would come from a socket, and gives the bytes of the replies and messages as a socket
    /// would. The requests may be cut anywhere: what is incomplete waits for the next call.
    ///
    /// ```
    /// # let server = larder::Server::builder().build()?;
    /// let mut connection = server.connect();
    /// assert_eq!(connection.run(b"*1\r\n$4\r\nPI"), b"");
    /// assert_eq!(connection.run(b"NG\r\nPING\r\n"), b"+PONG\r\n+PONG\r\n");
    /// # Ok::<(), larder::LoadError>(())
    /// ```
    pub fn run(&mut self, requests: &[u8]) -> Vec<u8> {
        if self.is_closed() {
            return format!("-{CLOSED}\r\n").into_bytes();
        }
        self.session.keeps_messages = false;
        self.inbox.drain(..).for_each(|message| self.reply.raw(&message));
        let mut held = std::mem::take(&mut self.unread);
        if held.is_empty() {
            let done = self.run_requests(requests);
            self.unread.extend_from_slice(&requests[done..]);
        } else {
            held.extend_from_slice(requests);
            let done = self.run_requests(&held);
            if done < held.len() {
                held.drain(..done);
                self.unread = held;
            }
        }
        let queued = self.session.multi.as_ref().map_or(0, |multi| multi.bytes);
        self.session.closing |=
            self.unread.len() + queued > self.engine.settings().client_query_buffer_limit.as_usize();
        let reply = &mut self.reply;
        self.session.client.take_messages(|message| reply.raw(&message));
        self.take_replies()
    }

    /// The next message that came for this connection, in the order in which they were published; `None` when there is
    /// none. In RESP2, which is spoken until HELLO says otherwise, a message is an array, in RESP3 a push.
    ///
    /// ```
    /// # let server = larder::Server::builder().build()?;
    /// let (mut subscriber, mut publisher) = (server.connect(), server.connect());
    /// subscriber.execute(["SUBSCRIBE", "news"]);
    /// assert_eq!(publisher.execute(["PUBLISH", "news", "hello"]).as_i64(), Some(1));
    /// let message = subscriber.next_message();
    /// let words = message.as_ref().and_then(|message| message.as_array()).unwrap_or_default();
    /// assert_eq!(words.iter().filter_map(|word| word.as_str()).collect::<Vec<_>>(), ["message", "news", "hello"]);
    /// assert_eq!(subscriber.next_message(), None);
    /// # Ok::<(), larder::LoadError>(())
    /// ```
    pub fn next_message(&mut self) -> Option<Value> {
        if self.is_closed() {
            return None;
        }
        if self.inbox.is_empty() {
            let inbox = &mut self.inbox;
            self.session.client.take_messages(|message| inbox.push_back(message));
        }
        let message = self.inbox.pop_front()?;
        frames(&message).next().map(|(value, _)| value)
    }

    /// Whether it has ended; the first to find that out leaves all channels and forgets what waited.
    fn is_closed(&mut self) -> bool {
        if !self.session.client.is_killed() && !self.session.closing {
            return false;
        }
        if !self.session.closing {
            if self.session.client.has_full_outbox() {
                self.session.stats.counters.output_limit_closed.add(1);
            }
            self.session.closing = true;
        }
        self.session.leave(&self.engine);
        // Whoever publishes meanwhile keeps nothing for it.
        self.session.client.kill();
        self.session.client.take_messages(drop);
        (self.unread, self.inbox) = (Vec::new(), VecDeque::new());
        true
    }

    /// Bounds the messages that may wait, as the options say now.
    fn limit_messages(&self) {
        let limit = self.engine.settings().client_output_buffer_limit.get(ClientClass::Pubsub);
        self.session.client.limit_outbox(limit.hard());
    }

    /// Runs the complete commands at the front of `requests`; gives the length of what is done.
    fn run_requests(&mut self, requests: &[u8]) -> usize {
        let mut done = 0;
        loop {
            let (limits, most) = self.session.parsing(&self.engine);
            let parsed = self.parser.parse(&requests[done..], &mut self.batch, most, &limits);
            if !self.batch.is_empty() {
                self.run_batch(&requests[done..]);
            }
            done += self.batch.consumed();
            if let Err(error) = parsed {
                self.reply.protocol_error(&error);
                self.engine.stats().error("ERR");
                self.session.closing = true;
            }
            if self.session.closing || self.session.client.is_killed() {
                self.session.leave(&self.engine);
                return requests.len();
            }
            if self.batch.is_empty() || done == requests.len() {
                return done;
            }
        }
    }

    fn run_batch(&mut self, buffer: &[u8]) {
        let mut from = 0;
        loop {
            let place = Place { workspace: &mut self.workspace, machine: None, lent: None };
            let progress = self.engine.run(&mut self.session, place, &self.batch, buffer, from, &mut self.reply);
            let (Progress::NeedsRoom(at) | Progress::Paused(at)) = progress else { break };
            from = at;
        }
        if !self.session.subscriptions.is_empty() {
            self.limit_messages();
        }
        let now = self.session.client.facts.active_ms.load(Relaxed);
        self.engine.upkeep.after_batch(&self.engine, now, &self.workspace.stats);
    }

    fn take_replies(&mut self) -> Vec<u8> {
        let reply = &mut self.reply;
        let mut bytes = Vec::with_capacity(reply.len());
        while !reply.is_empty() {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = reply.slices(&mut slices);
            let from = bytes.len();
            slices[..count].iter().for_each(|slice| bytes.extend_from_slice(slice));
            reply.advance(bytes.len() - from);
        }
        bytes
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.session.leave(&self.engine);
    }
}

/// A command as a client sends it.
fn encode<A: AsRef<[u8]>>(command: impl IntoIterator<Item = A>) -> Vec<u8> {
    let words: Vec<A> = command.into_iter().collect();
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in &words {
        let word = word.as_ref();
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    request
}

/// The frames of a reply, each with its bytes.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = (Value, &[u8])> {
    std::iter::from_fn(move || {
        // An empty rest is an incomplete frame.
        let (value, length) = Value::read(bytes).ok()??;
        let (frame, rest) = bytes.split_at(length);
        bytes = rest;
        Some((value, frame))
    })
}
