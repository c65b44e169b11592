//! Commands as bytes, as a client sends them.

use larder_storage::rng::Rng;

/// Appends one command.
pub fn encode(words: &[&[u8]], into: &mut Vec<u8>) {
    into.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        into.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        into.extend_from_slice(word);
        into.extend_from_slice(b"\r\n");
    }
}

/// The key of a number, 16 bytes long.
pub fn key(number: u64) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

/// What the commands of a pipeline do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Reads a key.
    Get,
    /// Stores a value of so many bytes.
    Set(usize),
    /// Counts a key up.
    Incr,
}

/// A pipeline of `count` commands on random keys below `keys`.
pub fn pipeline(command: Command, count: usize, keys: u64, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        let key = key(rng.below(keys));
        match command {
            Command::Get => encode(&[b"GET", &key], &mut bytes),
            Command::Set(len) => encode(&[b"SET", &key, &vec![b'v'; len]], &mut bytes),
            Command::Incr => encode(&[b"INCR", &key], &mut bytes),
        }
    }
    bytes
}

/// A pipeline that stores all keys from `from` to `to`, with values of `len` bytes.
pub fn fill(from: u64, to: u64, len: usize) -> Vec<u8> {
    let (value, mut bytes) = (vec![b'v'; len], Vec::new());
    (from..to).for_each(|number| encode(&[b"SET", &key(number), &value], &mut bytes));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelines_are_what_a_server_understands() {
        let mut connection = larder::Server::builder().build().unwrap().connect();
        assert_eq!(connection.run(&fill(0, 3, 2)), b"+OK\r\n+OK\r\n+OK\r\n");
        assert_eq!(connection.run(&pipeline(Command::Get, 2, 3, &mut Rng::seeded(1))), b"$2\r\nvv\r\n$2\r\nvv\r\n");
        assert_eq!(connection.run(&pipeline(Command::Set(1), 1, 1, &mut Rng::seeded(1))), b"+OK\r\n");
        assert_eq!(connection.run(b"INCR n\r\n"), b":1\r\n");
    }
}
