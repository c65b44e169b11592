//! The same commands to the server under test and to a real redis-server, and the replies compared.

use crate::client::{Failure, RawClient, encode, line};
use crate::frame::{self, Frame};
use crate::number;
use crate::process::{Redis, ServerProcess, TestServer};
use std::collections::BTreeMap;
use std::time::Duration;

/// How much of two replies must agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Compare {
    /// Every byte.
    Exact,
    /// Every byte of an encoding's name, but for what an older peer has no packed form of.
    Encoding,
    /// Every byte, once the elements of each aggregate are in byte order.
    Sorted,
    /// Types and error codes only, see [`Frame::shape`].
    Kind,
    /// The names in a text of `name=value` words or `name:value` lines.
    Fields,
    /// Nothing, but there must be a reply.
    Nothing,
}

/// One reply, or why there is none.
type Answer = Result<Vec<u8>, Failure>;

/// Two servers and any number of named connections, each open to both.
pub struct Both {
    /// The server under test.
    pub subject: ServerProcess,
    /// The real one.
    pub peer: ServerProcess,
    /// The peer is of the version that larder claims, so nothing may differ.
    is_exact: bool,
    /// The servers' `--requirepass`.
    password: Option<String>,
    protocol: u8,
    connections: BTreeMap<String, (RawClient, RawClient)>,
    current: String,
    history: Vec<String>,
    /// What the next reply must be instead of the peer's.
    expected: Option<String>,
    is_expected_of_peer: bool,
    /// Replies compared so far.
    pub compared: usize,
}

impl Both {
    /// Starts both servers; `None` where no redis-server is installed.
    ///
    /// # Panics
    /// When one does not start.
    pub fn start() -> Option<Both> {
        Both::with(&[])
    }

    /// Starts both servers with the same further options.
    ///
    /// # Panics
    /// When one does not start.
    pub fn with(options: &[&str]) -> Option<Both> {
        let peer = Redis::with(options)?;
        let subject = TestServer::with(options);
        let is_exact = peer.version().starts_with("7.4");
        let password =
            options.iter().position(|option| *option == "--requirepass").map(|at| options[at + 1].to_string());
        let (connections, history) = (BTreeMap::new(), Vec::new());
        let current = "a".to_string();
        Some(Both {
            subject,
            peer,
            is_exact,
            password,
            protocol: 2,
            connections,
            current,
            history,
            expected: None,
            is_expected_of_peer: true,
            compared: 0,
        })
    }

    /// The protocol, 2 or 3, of connections opened from now on.
    pub fn protocol(&mut self, version: u8) {
        self.protocol = version;
    }

    /// Whether a peer of larder's own version must give the replies of [`Both::expect`] too.
    pub fn expect_of_peer(&mut self, is_expected: bool) {
        self.is_expected_of_peer = is_expected;
    }

    /// Whether the peer is of the version that larder claims, so that nothing may differ.
    pub fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Empties both servers and opens a connection to each, apart from the named ones.
    ///
    /// # Panics
    /// When a server does not answer.
    pub fn open(&self) -> (RawClient, RawClient) {
        for server in [&self.subject, &self.peer] {
            server.client().call(&["FLUSHALL"]);
        }
        let mut pair = (self.subject.client(), self.peer.client());
        for client in [&mut pair.0, &mut pair.1] {
            client.set_timeout(Duration::from_secs(5));
            if self.protocol == 3 {
                client.call(&["HELLO", "3"]);
            }
        }
        pair
    }

    /// The protocol of connections opened now.
    pub fn version(&self) -> u8 {
        self.protocol
    }

    /// The next reply must be this one (as [`frame::show`] prints it, or the names for [`Compare::Fields`]), whatever
    /// an older peer replies.
    pub fn expect(&mut self, reply: &str) {
        self.expected = Some(reply.to_string());
    }

    /// Goes on with the connection of this name, opened when it is new. The first is `a`.
    pub fn on(&mut self, name: &str) -> &mut Both {
        self.current = name.to_string();
        self
    }

    /// Both must answer with the same bytes.
    ///
    /// # Panics
    /// When they do not, with everything that was sent since [`Both::fresh`].
    #[track_caller]
    pub fn same<A: AsRef<[u8]>, const N: usize>(&mut self, args: [A; N]) {
        self.require(&args, Compare::Exact);
    }

    /// Both must answer with the same elements, in any order.
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    pub fn same_sorted<A: AsRef<[u8]>, const N: usize>(&mut self, args: [A; N]) {
        self.require(&args, Compare::Sorted);
    }

    /// Both must answer with the same types.
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    pub fn same_kind<A: AsRef<[u8]>, const N: usize>(&mut self, args: [A; N]) {
        self.require(&args, Compare::Kind);
    }

    #[track_caller]
    fn require<A: AsRef<[u8]>>(&mut self, args: &[A], how: Compare) {
        if let Err(difference) = self.command(args, how) {
            panic!("{}", self.report(&difference));
        }
    }

    /// Sends a command and compares one reply.
    ///
    /// # Errors
    /// The difference, for people.
    pub fn command<A: AsRef<[u8]>>(&mut self, args: &[A], how: Compare) -> Result<(), String> {
        let mut bytes = Vec::new();
        encode(args, &mut bytes);
        self.transmit(&bytes);
        self.receive(&line(args), how)
    }

    /// Sends bytes to both as they are; replies are compared by [`Both::receive`].
    pub fn transmit(&mut self, bytes: &[u8]) {
        let (subject, peer) = self.connection();
        // A server that has closed the connection shows it when its reply is read.
        drop(subject.raw(bytes));
        drop(peer.raw(bytes));
    }

    /// Closes the sending half of the current connection.
    pub fn finish(&mut self) {
        let (subject, peer) = self.connection();
        subject.finish();
        peer.finish();
    }

    /// Reads one more frame of each and compares.
    ///
    /// # Errors
    /// The difference, for people.
    pub fn receive(&mut self, command: &str, how: Compare) -> Result<(), String> {
        let (subject, peer) = self.connection();
        let answers = (subject.reply(), peer.reply());
        self.compare(command, how, answers.0, answers.1)
    }

    /// Reads `count` more frames of each, which may come in any order, and compares.
    ///
    /// # Errors
    /// The difference, for people.
    pub fn receive_unordered(&mut self, count: usize) -> Result<(), String> {
        let (subject, peer) = self.connection();
        let read = |client: &mut RawClient| {
            let mut frames = (0..count).map(|_| client.reply()).collect::<Result<Vec<_>, _>>()?;
            frames.sort();
            Ok(frames.concat())
        };
        let answers = (read(subject), read(peer));
        self.compare("(frames in any order)", Compare::Exact, answers.0, answers.1)
    }

    /// Reads until both have closed the connection, and compares all of it.
    ///
    /// # Errors
    /// The difference, for people.
    pub fn end(&mut self) -> Result<(), String> {
        let (subject, peer) = self.connection();
        let answers = (subject.rest(), peer.rest());
        self.connections.remove(&self.current);
        self.compare("(until the connection closes)", Compare::Exact, answers.0, answers.1)
    }

    /// Ends all connections with QUIT, comparing what they still hold, then empties both servers.
    ///
    /// # Errors
    /// The difference, for people.
    pub fn fresh(&mut self) -> Result<(), String> {
        let names: Vec<_> = self.connections.keys().cloned().collect();
        let mut result = Ok(());
        for name in names {
            self.current = name;
            self.transmit(b"*1\r\n$4\r\nQUIT\r\n");
            result = result.and(self.end());
        }
        for server in [&self.subject, &self.peer] {
            let mut admin = server.client();
            if let Some(password) = &self.password {
                admin.call(&["AUTH", password]);
            }
            let reply = admin.call(&["FLUSHALL"]);
            assert_eq!(frame::show(&reply), "+OK\\r\\n", "FLUSHALL");
        }
        self.current = "a".to_string();
        if result.is_ok() {
            self.history.clear();
        }
        result
    }

    /// Gives up all connections as they are.
    pub fn abandon(&mut self) {
        self.connections.clear();
        self.history.clear();
    }

    /// The end of what was sent and answered, then the difference.
    pub fn report(&self, difference: &str) -> String {
        const SHOWN: usize = 40;
        let from = self.history.len().saturating_sub(SHOWN);
        format!("\n(RESP{})\n    {}\n{difference}", self.protocol, self.history[from..].join("\n    "))
    }

    fn connection(&mut self) -> &mut (RawClient, RawClient) {
        if !self.connections.contains_key(&self.current) {
            let mut pair = (self.subject.client(), self.peer.client());
            for client in [&mut pair.0, &mut pair.1] {
                client.set_timeout(Duration::from_secs(5));
                if self.protocol == 3 {
                    client.call(&["HELLO", "3"]);
                }
            }
            self.connections.insert(self.current.clone(), pair);
        }
        self.connections.get_mut(&self.current).unwrap()
    }

    fn compare(&mut self, command: &str, how: Compare, subject: Answer, peer: Answer) -> Result<(), String> {
        self.compared += 1;
        let shown = |answer: &Answer| match answer {
            Ok(bytes) => frame::show(bytes),
            Err(failure) => failure.to_string(),
        };
        let (left, right) = (shown(&subject), shown(&peer));
        self.history.push(format!("{}> {command}  ->  {right}", self.current));
        if let Some(expected) = self.expected.take() {
            let gives = |answer: &Answer| answer.as_ref().is_ok_and(|bytes| text_of(bytes, how) == expected);
            if gives(&subject) && (gives(&peer) || !self.is_exact || !self.is_expected_of_peer) {
                return Ok(());
            }
            return Err(format!("{}> {command}\n     got {left}\n    want {expected}", self.current));
        }
        let is_same = match (&subject, &peer) {
            (Ok(subject), Ok(peer)) => equal(how, subject, peer, self.is_exact),
            (Err(Failure::Closed(subject)), Err(Failure::Closed(peer))) => subject == peer,
            _ => false,
        };
        if is_same {
            return Ok(());
        }
        let name = if how == Compare::Exact { String::new() } else { format!(" ({how:?})") };
        Err(format!("{}> {command}{name}\n     got {left}\n    want {right}", self.current))
    }
}

/// The form in which a corpus gives an expected reply.
fn text_of(reply: &[u8], how: Compare) -> String {
    match (how, whole(reply)) {
        (Compare::Fields, Some(frame)) => frame.fields().join(" "),
        _ => frame::show(reply),
    }
}

/// Whether the replies agree as far as `how` asks.
pub fn equal(how: Compare, subject: &[u8], peer: &[u8], is_exact: bool) -> bool {
    if subject == peer {
        return true;
    }
    let (Some(left), Some(right)) = (whole(subject), whole(peer)) else {
        return false;
    };
    let is_same = match how {
        Compare::Exact => false,
        Compare::Encoding => !is_exact && is_packed_later(&left, &right),
        Compare::Sorted => left.clone().sorted() == right.clone().sorted(),
        Compare::Kind => left.shape() == right.shape(),
        Compare::Fields => left.kind == right.kind && left.fields() == right.fields(),
        Compare::Nothing => true,
    };
    is_same || !is_exact && same_but_scores(how, left, right)
}

/// The only difference is that small lists and sets are packed since Redis 7.2.
fn is_packed_later(left: &Frame, right: &Frame) -> bool {
    left.text == b"listpack" && (right.text == b"quicklist" || right.text == b"hashtable")
}

/// The only difference is how doubles are printed.
fn same_but_scores(how: Compare, left: Frame, right: Frame) -> bool {
    match how {
        Compare::Exact => with_modern_scores(&left, right) == left,
        // Sorted by their old texts, the elements would stand in other places.
        Compare::Sorted => in_shortest_form(left).sorted() == in_shortest_form(right).sorted(),
        _ => false,
    }
}

/// The frame with every text that a version of Redis prints for a double replaced by the shortest one.
fn in_shortest_form(mut frame: Frame) -> Frame {
    frame.items = frame.items.into_iter().map(in_shortest_form).collect();
    let text = String::from_utf8_lossy(&frame.text);
    if matches!(frame.kind, b'$' | b',')
        && let Ok(value) = text.parse::<f64>()
        && (text == number::seventeen_digits(value) || number::is_shortest(&text, value))
    {
        frame.text = number::shortest(value).into_bytes();
    }
    frame
}

/// `old` with each double that Redis 7.0 printed with 17 digits printed as Redis 7.2 and later do, as far as `new`
/// has the same value in that place (a bulk string of RESP2 does not say whether it is a double).
fn with_modern_scores(new: &Frame, mut old: Frame) -> Frame {
    if new.kind != old.kind || new.items.len() != old.items.len() {
        return old;
    }
    old.items = new.items.iter().zip(old.items).map(|(new, old)| with_modern_scores(new, old)).collect();
    if matches!(old.kind, b'$' | b',') && !old.null && new.text != old.text {
        let value = |frame: &Frame| String::from_utf8_lossy(&frame.text).parse::<f64>().ok();
        if let (Some(left), Some(right)) = (value(new), value(&old))
            && left.to_bits() == right.to_bits()
            && old.text == number::seventeen_digits(right).as_bytes()
        {
            let text = String::from_utf8_lossy(&new.text);
            old.text =
                if number::is_shortest(&text, right) { new.text.clone() } else { number::shortest(right).into_bytes() };
        }
    }
    old
}

/// The bytes as one frame; `None` when they are not exactly one.
fn whole(bytes: &[u8]) -> Option<Frame> {
    frame::read(bytes).ok()?.filter(|(_, length)| *length == bytes.len()).map(|(frame, _)| frame)
}
