//! MONITOR: the clients that see every command, and the line in which they see it.
//!
//! Lines are made while the command's shards are held, so that their order is the order of execution. The list is
//! locked after shards and before outboxes, as the channel table is.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::client::Client;
use crate::config::quote;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Monitors(RwLock<Vec<Arc<Client>>>);

impl Monitors {
    /// Adds a client, and does something before others may be removed.
    pub(crate) fn add(&self, client: &Arc<Client>, added: impl FnOnce()) {
        let mut clients = self.0.write();
        clients.push(client.clone());
        added();
    }

    /// Removes a client, and does something if it was the last.
    pub(crate) fn remove(&self, client: &Client, none_left: impl FnOnce()) {
        let mut clients = self.0.write();
        clients.retain(|known| known.id != client.id);
        if clients.is_empty() {
            none_left();
        }
    }

    /// Shows a command of `client`, or of a script of it, to all, or all but one.
    #[cold]
    pub(crate) fn show(
        &self,
        now_us: u64,
        db: usize,
        client: &Client,
        by_script: bool,
        args: &[&[u8]],
        except: Option<u64>,
    ) {
        let peer = if by_script { "lua".into() } else { client.addresses.shown_peer() };
        let line = Bytes::from(line(now_us, db, &peer, args));
        let monitors = self.0.read();
        let shown = monitors.iter().filter(|monitor| Some(monitor.id) != except);
        shown.for_each(|monitor| monitor.push(line.clone()));
    }
}

/// The line of a command, as a status reply.
fn line(now_us: u64, db: usize, peer: &str, args: &[&[u8]]) -> Vec<u8> {
    let (seconds, micros) = (now_us / 1_000_000, now_us % 1_000_000);
    let mut line = Vec::new();
    // Writing to a vector cannot fail.
    let _ = write!(line, "+{seconds}.{micros:06} [{db} {peer}]");
    for arg in args {
        line.push(b' ');
        line.extend_from_slice(quote(arg).as_bytes());
    }
    line.extend_from_slice(b"\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_in_the_form_of_redis() {
        let shown = line(1_339_518_083_007_412, 3, "127.0.0.1:60866", &[b"SET", b"k\x01\r\n\"", b""]);
        let expected = "+1339518083.007412 [3 127.0.0.1:60866] \"SET\" \"k\\x01\\r\\n\\\"\" \"\"\r\n";
        assert_eq!(String::from_utf8(shown).unwrap(), expected);
    }
}
