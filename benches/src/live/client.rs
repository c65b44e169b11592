//! A connection that sends many commands at once and reads their replies in order.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::str::FromStr;
use std::time::Duration;

use larder_protocol::Value;

use crate::requests::encode;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 64 << 10;

/// Where a server is: `HOST:PORT`, or `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host and port.
    pub host: String,
    user: Option<String>,
    password: Option<String>,
    database: u32,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("redis://").unwrap_or(text);
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let (host, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or(("", login))) {
            Some((user, password)) => {
                (Some(user.to_owned()).filter(|user| !user.is_empty()), Some(password.to_owned()))
            }
            None => (None, None),
        };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let database = if database.is_empty() { Some(0) } else { database.parse().ok() };
        match database {
            Some(database) if !host.is_empty() => {
                let host = if has_port { host.to_owned() } else { format!("{host}:6379") };
                Ok(Self { host, user, password, database })
            }
            _ => Err(format!("{text:?} is neither HOST:PORT nor redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]")),
        }
    }
}

/// See the module's page.
pub struct Client {
    stream: TcpStream,
    /// Commands that wait to be sent.
    out: Vec<u8>,
    /// What was received, and how far it is read.
    input: Vec<u8>,
    read: usize,
}

impl Client {
    /// Connects, and logs in where the address says how.
    ///
    /// # Errors
    /// The server is not there or refuses.
    pub fn connect(address: &Address) -> io::Result<Self> {
        let stream = TcpStream::connect(&address.host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self { stream, out: Vec::new(), input: Vec::new(), read: 0 };
        match (&address.user, &address.password) {
            (Some(user), Some(password)) => {
                client.call(&[b"AUTH", user.as_bytes(), password.as_bytes()])?;
            }
            (None, Some(password)) => {
                client.call(&[b"AUTH", password.as_bytes()])?;
            }
            _ => {}
        }
        if address.database > 0 {
            client.call(&[b"SELECT", address.database.to_string().as_bytes()])?;
        }
        Ok(client)
    }

    /// Puts a command behind those that wait to be sent.
    pub fn push(&mut self, words: &[&[u8]]) {
        encode(words, &mut self.out);
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn send(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// The next reply, errors included.
    ///
    /// # Errors
    /// The connection is lost, or what comes is no RESP.
    pub fn reply(&mut self) -> io::Result<Value> {
        loop {
            let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, format!("not RESP: {error:?}"));
            if let Some((value, len)) = Value::read(&self.input[self.read..]).map_err(invalid)? {
                self.read += len;
                return Ok(value);
            }
            self.input.drain(..self.read);
            let filled = self.input.len();
            self.read = 0;
            self.input.resize(filled + READ_BYTES.max(filled), 0);
            let got = self.stream.read(&mut self.input[filled..])?;
            self.input.truncate(filled + got);
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Sends one command and gives its reply; an error becomes one.
    ///
    /// # Errors
    /// The connection is lost, or the server answers with an error.
    pub fn call(&mut self, words: &[&[u8]]) -> io::Result<Value> {
        self.push(words);
        self.send()?;
        let reply = self.reply()?;
        match reply.as_error() {
            Some(error) => Err(io::Error::other(error.into_owned())),
            None => Ok(reply),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_short_or_urls() {
        let parse = |text: &str| text.parse::<Address>().unwrap();
        assert_eq!(parse("127.0.0.1:7000").host, "127.0.0.1:7000");
        assert_eq!(parse("localhost").host, "localhost:6379");
        let address = parse("redis://me:se:cret@cache:7000/2");
        let expected = ("cache:7000", Some("me"), Some("se:cret"), 2);
        assert_eq!(
            (address.host.as_str(), address.user.as_deref(), address.password.as_deref(), address.database),
            expected
        );
        assert_eq!((parse("redis://:pw@h").user, parse("redis://:pw@h").password.as_deref()), (None, Some("pw")));
        assert!("".parse::<Address>().is_err() && "h/db".parse::<Address>().is_err());
    }

    #[test]
    fn replies_come_in_order_whatever_their_length() {
        let server = larder::Server::builder().start().unwrap();
        let address = server.address().unwrap().to_string().parse().unwrap();
        let mut client = Client::connect(&address).unwrap();
        let long = vec![b'v'; 300_000];
        client.push(&[b"SET", b"k", &long]);
        client.push(&[b"GET", b"k"]);
        client.push(&[b"INCR", b"k"]);
        client.push(&[b"PING"]);
        client.send().unwrap();
        assert_eq!(client.reply().unwrap().as_str(), Some("OK"));
        assert_eq!(client.reply().unwrap().as_bytes(), Some(long.as_slice()));
        assert!(client.reply().unwrap().is_error());
        assert_eq!(client.reply().unwrap().as_str(), Some("PONG"));
        assert!(client.call(&[b"INCR", b"k"]).unwrap_err().to_string().contains("not an integer"));
    }
}
