//! What was denied lately, for ACL LOG: the newest first, and the same again counted rather than listed.

use std::collections::VecDeque;

/// Why something was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Auth,
    Command,
    Key,
    Channel,
}

impl Reason {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
        }
    }
}

/// Something that was denied.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) count: u64,
    pub(crate) reason: Reason,
    /// Where it happened: in a transaction, in a script, or in neither, in Redis's words.
    pub(crate) context: &'static str,
    /// The command, the key or the channel.
    pub(crate) object: Vec<u8>,
    pub(crate) user: Vec<u8>,
    /// Who did it last, as CLIENT LIST shows it.
    pub(crate) client: String,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
}

/// See the module's page.
#[derive(Default)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    next: u64,
}

/// Of a name so many bytes are kept: clients choose names, and the log is to stay small.
const NAME_BYTES: usize = 4 << 10;
/// So many of the newest entries are compared with a new one.
const COMPARED: usize = 10;
/// What happens again after this is another entry.
const SAME_WITHIN_MS: u64 = 60_000;

impl Log {
    /// Notes what was denied; at most `most` entries are kept. The number, the count and the first time are the log's.
    pub(crate) fn add(&mut self, mut entry: Entry, most: usize) {
        if most == 0 {
            return self.clear();
        }
        entry.object.truncate(NAME_BYTES);
        entry.user.truncate(NAME_BYTES);
        let is_same = |known: &Entry| {
            known.reason == entry.reason
                && known.context == entry.context
                && known.updated_ms.abs_diff(entry.updated_ms) <= SAME_WITHIN_MS
                && known.object == entry.object
                && known.user == entry.user
        };
        let known = self.entries.iter().take(COMPARED).position(is_same);
        if let Some(mut known) = known.and_then(|at| self.entries.remove(at)) {
            (known.client, known.updated_ms) = (entry.client, entry.updated_ms);
            known.count += 1;
            self.entries.push_front(known);
            return;
        }
        (entry.id, entry.count, entry.created_ms) = (self.next, 1, entry.updated_ms);
        self.next += 1;
        self.entries.push_front(entry);
        self.entries.truncate(most);
    }

    /// The newest entries.
    pub(crate) fn newest(&self, count: usize) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.range(..count.min(self.entries.len()))
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(object: &str, at_ms: u64) -> Entry {
        Entry {
            id: 0,
            count: 0,
            reason: Reason::Key,
            context: "toplevel",
            object: object.into(),
            user: b"alice".to_vec(),
            client: format!("at {at_ms}"),
            created_ms: 0,
            updated_ms: at_ms,
        }
    }

    fn shown(log: &Log) -> Vec<(String, u64, u64, u64)> {
        let object = |entry: &Entry| String::from_utf8_lossy(&entry.object).into_owned();
        log.newest(100).map(|entry| (object(entry), entry.id, entry.count, entry.created_ms)).collect()
    }

    #[test]
    fn the_same_within_a_minute_is_counted_and_comes_to_the_front() {
        let mut log = Log::default();
        for (object, at_ms) in [("a", 1000), ("b", 2000), ("a", 61_000), ("a", 121_001)] {
            log.add(entry(object, at_ms), 10);
        }
        assert_eq!(shown(&log), [("a".into(), 2, 1, 121_001), ("a".into(), 0, 2, 1000), ("b".into(), 1, 1, 2000)]);
        assert_eq!(log.newest(2).last().unwrap().client, "at 61000");
        assert_eq!(log.newest(1).len(), 1);
    }

    #[test]
    fn only_so_many_are_kept_and_compared() {
        let mut log = Log::default();
        for number in 0..11 {
            log.add(entry(&number.to_string(), 0), 100);
        }
        log.add(entry("0", 0), 100);
        assert_eq!(shown(&log).len(), 12, "what is far back is not looked at");
        log.add(entry(&"x".repeat(10_000), 0), 3);
        assert_eq!(log.newest(100).map(|entry| entry.object.len()).collect::<Vec<_>>(), [4096, 1, 2]);
        log.add(entry("new", 0), 0);
        assert!(shown(&log).is_empty());
    }
}
