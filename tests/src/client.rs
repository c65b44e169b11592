//! A client without an opinion: it sends what it is told and returns each reply as raw bytes.

use crate::frame::{self, Frame};
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// How long a reply may take before a test fails; far above what a slow machine needs.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Why no reply was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The server closed the connection; what it had sent before is inside.
    Closed(Vec<u8>),
    /// Nothing (or not enough) came in time; what came is inside.
    Timeout(Vec<u8>),
    /// What came is not RESP.
    Malformed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Closed(rest) => {
                write!(out, "(connection closed after {:?})", frame::show(rest))
            }
            Failure::Timeout(rest) => {
                write!(out, "(no reply in time, only {:?})", frame::show(rest))
            }
            Failure::Malformed(text) => write!(out, "(not RESP: {text})"),
        }
    }
}

/// One connection that deals in raw bytes.
pub struct RawClient {
    stream: TcpStream,
    /// What was received and not yet handed out begins at `start`.
    received: Vec<u8>,
    start: usize,
    timeout: Duration,
}

impl RawClient {
    /// Connects to `port` of 127.0.0.1.
    ///
    /// # Panics
    /// When the connection is refused.
    pub fn connect(port: u16) -> RawClient {
        RawClient::try_connect(port).expect("connect")
    }

    /// Connects to `port` of 127.0.0.1.
    ///
    /// # Errors
    /// Those of connecting.
    pub fn try_connect(port: u16) -> std::io::Result<RawClient> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(RawClient { stream, received: Vec::new(), start: 0, timeout: TIMEOUT })
    }

    /// The time to wait for replies from now on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends one command, its arguments as bulk strings.
    ///
    /// # Errors
    /// Those of writing, say a connection closed by the server.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> std::io::Result<()> {
        let mut out = Vec::new();
        encode(args, &mut out);
        self.raw(&out)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Those of writing.
    pub fn raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next frame, be it a reply or a push.
    ///
    /// # Errors
    /// When none came, see [`Failure`].
    pub fn reply(&mut self) -> Result<Vec<u8>, Failure> {
        let until = Instant::now() + self.timeout;
        let mut scanner = frame::Scanner::new();
        loop {
            match scanner.scan(&self.received[self.start..]) {
                Err(text) => return Err(Failure::Malformed(text)),
                Ok(Some(length)) => {
                    let reply = self.received[self.start..self.start + length].to_vec();
                    self.start += length;
                    return Ok(reply);
                }
                Ok(None) => {}
            }
            self.read_until(until)?;
        }
    }

    /// Sends a command and returns the next frame.
    ///
    /// # Panics
    /// When there is no reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Vec<u8> {
        if let Err(error) = self.send(args) {
            panic!("cannot send {}: {error}", line(args));
        }
        self.reply().unwrap_or_else(|failure| panic!("{}: {failure}", line(args)))
    }

    /// Sends a command line and returns the next frame, parsed.
    ///
    /// # Panics
    /// When there is no reply.
    pub fn ask(&mut self, line: &str) -> Frame {
        let reply = self.call(&crate::words(line));
        frame::read(&reply).unwrap().unwrap().0
    }

    /// Sends a command line and asserts the raw reply.
    ///
    /// # Panics
    /// When the reply is another one.
    #[track_caller]
    pub fn check(&mut self, line: &str, reply: &str) {
        let got = self.call(&crate::words(line));
        assert_eq!(frame::show(&got), frame::show(reply.as_bytes()), "reply to {line}");
    }

    /// Everything until the server closes the connection.
    ///
    /// # Errors
    /// When it does not close in time.
    pub fn rest(&mut self) -> Result<Vec<u8>, Failure> {
        let until = Instant::now() + self.timeout;
        loop {
            match self.read_until(until) {
                Err(Failure::Closed(rest)) => return Ok(rest),
                Err(other) => return Err(other),
                Ok(()) => {}
            }
        }
    }

    /// Whether nothing at all comes for `time`.
    pub fn is_silent(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while self.received.len() == self.start {
            if let Err(failure) = self.read_until(until) {
                return failure == Failure::Timeout(Vec::new());
            }
        }
        false
    }

    /// Closes the sending half; the server sees the end of its input.
    pub fn finish(&mut self) {
        // A connection that is gone already is finished too.
        drop(self.stream.shutdown(Shutdown::Write));
    }

    fn pending(&self) -> Vec<u8> {
        self.received[self.start..].to_vec()
    }

    fn read_until(&mut self, until: Instant) -> Result<(), Failure> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Timeout(self.pending()));
        }
        if self.start > 0 {
            self.received.drain(..self.start);
            self.start = 0;
        }
        self.stream.set_read_timeout(Some(left)).unwrap();
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Failure::Closed(self.pending())),
            Ok(count) => {
                self.received.extend(&chunk[..count]);
                Ok(())
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
            {
                Ok(())
            }
            Err(_) => Err(Failure::Closed(self.pending())),
        }
    }
}

/// Appends a command as an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(args: &[A], out: &mut Vec<u8>) {
    out.extend(format!("*{}\r\n", args.len()).bytes());
    for arg in args {
        let arg = arg.as_ref();
        out.extend(format!("${}\r\n", arg.len()).bytes());
        out.extend(arg);
        out.extend(b"\r\n");
    }
}

/// A command for people, in redis-cli's quoting.
pub fn line<A: AsRef<[u8]>>(args: &[A]) -> String {
    let word = |arg: &A| {
        let arg = arg.as_ref();
        let shown = frame::show(arg);
        let plain = !arg.is_empty() && arg.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'".contains(byte));
        if plain { shown } else { format!("\"{shown}\"") }
    };
    args.iter().map(word).collect::<Vec<_>>().join(" ")
}
