//! The slow log: the calls that took longer than `slowlog-log-slower-than`, the latest `slowlog-max-len` of them, each
//! shortened as Redis shortens it.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;

use crate::client::Client;

/// Arguments that are kept of one call; the last of them tells how many were left out.
const MOST_ARGUMENTS: usize = 32;
/// Bytes that are kept of one argument.
const MOST_BYTES: usize = 128;

/// A call.
#[derive(Clone, Debug)]
pub(crate) struct SlowCall {
    pub(crate) id: u64,
    /// When it ended, in seconds since 1970.
    pub(crate) at: u64,
    pub(crate) time: Duration,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) peer: String,
    pub(crate) name: Vec<u8>,
}

/// See the module's page. Locked after shards: a call is noted while they may be held.
#[derive(Default)]
pub(crate) struct SlowLog(Mutex<Calls>);

#[derive(Default)]
struct Calls {
    /// From the oldest to the latest.
    calls: VecDeque<SlowCall>,
    next_id: u64,
}

impl SlowLog {
    /// Notes a call, and forgets the oldest until at most `most` are left.
    pub(crate) fn add(&self, client: &Client, args: &[&[u8]], time: Duration, at: u64, most: usize) {
        let (args, name) = (shorten(args), client.names.lock().name.clone());
        let peer = client.addresses.peer.clone();
        let mut log = self.0.lock();
        let id = log.next_id;
        log.next_id += 1;
        log.calls.push_back(SlowCall { id, at, time, args, peer, name });
        let surplus = log.calls.len().saturating_sub(most);
        log.calls.drain(..surplus);
    }

    /// The latest calls, at most `count`, the latest first.
    pub(crate) fn latest(&self, count: usize) -> Vec<SlowCall> {
        self.0.lock().calls.iter().rev().take(count).cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().calls.len()
    }

    /// Forgets all calls; numbers go on.
    pub(crate) fn clear(&self) {
        self.0.lock().calls.clear();
    }
}

fn shorten(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let kept = if args.len() > MOST_ARGUMENTS { MOST_ARGUMENTS - 1 } else { args.len() };
    let mut short: Vec<Vec<u8>> = args[..kept].iter().map(|arg| shorten_one(arg)).collect();
    if kept < args.len() {
        short.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    short
}

fn shorten_one(arg: &[u8]) -> Vec<u8> {
    match arg.split_at_checked(MOST_BYTES) {
        Some((kept, rest)) if !rest.is_empty() => {
            [kept, format!("... ({} more bytes)", rest.len()).as_bytes()].concat()
        }
        _ => arg.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_shortened_as_in_redis() {
        let word = [b'x'; 128];
        assert_eq!(shorten(&[&word[..]; 32]), vec![word.to_vec(); 32]);
        let short = shorten(&[&word[..]; 33]);
        assert_eq!((short.len(), short[31].as_slice()), (32, &b"... (2 more arguments)"[..]));
        let long = vec![b'y'; 130];
        assert_eq!(shorten(&[&long])[0], [&long[..128], b"... (2 more bytes)"].concat());
    }

    #[test]
    fn the_latest_stay_and_numbers_go_on() {
        let server = crate::Server::builder().build().unwrap();
        let (log, session) = (SlowLog::default(), server.engine().detached_session());
        let client = &session.client;
        (0..5).for_each(|at| log.add(client, &[b"PING"], Duration::ZERO, at, 3));
        let ids = |count| log.latest(count).iter().map(|call| call.id).collect::<Vec<_>>();
        assert_eq!((log.len(), ids(2), ids(10)), (3, vec![4, 3], vec![4, 3, 2]));
        log.clear();
        log.add(client, &[b"PING"], Duration::ZERO, 9, 3);
        assert_eq!(ids(10), [5]);
        log.add(client, &[b"PING"], Duration::ZERO, 9, 0);
        assert_eq!(log.len(), 0);
    }
}
