//! Scripts by the digest of their source, with bounds: on their number, of those that came by EVAL, as in Redis 7.4, and on
//! the bytes of all.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::interpreter::Source;
use super::quick::{MOST_ARGUMENTS, Quick};
use super::thread::Machine;
use crate::commands::command::{DENYOOM, MAY_REPLICATE, WRITE};
use crate::error::{self, Error};

/// Scripts that came by EVAL.
const MOST_BY_EVAL: usize = 500;
/// Bytes of all sources.
const MOST_BYTES: usize = 128 << 20;

/// A hasher for hexadecimal digits of digests, which are as random as can be.
#[derive(Default)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        for byte in rest {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Values by the digests of scripts.
pub(super) type ByDigest<V> = HashMap<String, V, BuildHasherDefault<DigestHasher>>;

/// What the first line of a script asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// There is such a line.
    pub(super) declared: bool,
    pub(super) no_writes: bool,
    pub(super) allow_oom: bool,
}

impl Flags {
    /// What they make of the flags of the command that runs the script.
    pub(super) fn of_command(self, flags: u32) -> u32 {
        let writes = if self.no_writes { 0 } else { WRITE };
        let adds_data = if self.no_writes || self.allow_oom { 0 } else { DENYOOM };
        flags & !(MAY_REPLICATE | WRITE | DENYOOM) | writes | adds_data
    }

    /// Refuses what says that it adds data, while memory is short.
    pub(super) fn check_memory(self, machine: &Machine) -> Result<(), Error> {
        let adds_data = self.declared && !self.allow_oom && !self.no_writes;
        if adds_data && machine.short_of_memory.get() { Err(error::OUT_OF_MEMORY) } else { Ok(()) }
    }
}

/// A script.
pub(super) struct Script {
    pub(super) source: Source,
    pub(super) flags: Flags,
    quick: Option<Quick>,
    /// It has passed the budget of a quick one.
    was_slow: AtomicBool,
}

impl Script {
    pub(super) fn new(source: Source, flags: Flags) -> Self {
        let quick = Quick::of(&source.text[source.header..]);
        Self { source, flags, quick, was_slow: AtomicBool::new(false) }
    }

    /// What is known of it, if it is quick with so many keys and arguments.
    pub(super) fn quick(&self, arguments: usize) -> Option<Quick> {
        let fits = |quick: &Quick| !quick.counts_arguments || arguments <= MOST_ARGUMENTS;
        self.quick.filter(|quick| fits(quick) && !self.was_slow.load(Relaxed))
    }

    /// Whether it may have the globals themselves.
    pub(super) fn leaves_globals(&self) -> bool {
        self.quick.is_some_and(|quick| quick.leaves_globals)
    }

    /// Notes that it is not quick, whatever its source looks like.
    pub(super) fn note_slow(&self) {
        self.was_slow.store(true, Relaxed);
    }
}

struct Entry {
    script: Arc<Script>,
    /// It came by EVAL and not by SCRIPT LOAD.
    by_eval: bool,
    /// When it was used last, in uses of the cache.
    used: u64,
}

/// See the module's page.
#[derive(Default)]
pub(crate) struct Cache {
    scripts: ByDigest<Entry>,
    by_eval: usize,
    bytes: usize,
    uses: u64,
    evicted: u64,
}

impl Cache {
    pub(super) fn get(&mut self, digest: &str) -> Option<Arc<Script>> {
        self.uses += 1;
        let entry = self.scripts.get_mut(digest)?;
        entry.used = self.uses;
        Some(entry.script.clone())
    }

    /// Whether there is a script with this digest.
    pub(crate) fn has(&self, digest: &str) -> bool {
        self.scripts.contains_key(digest)
    }

    /// Adds a script; SCRIPT LOAD keeps one that EVAL brought.
    pub(super) fn add(&mut self, digest: &str, script: Arc<Script>, by_eval: bool) {
        self.uses += 1;
        if let Some(entry) = self.scripts.get_mut(digest) {
            entry.used = self.uses;
            if entry.by_eval && !by_eval {
                entry.by_eval = false;
                self.by_eval -= 1;
            }
            return;
        }
        self.bytes += script.source.text.len();
        self.by_eval += usize::from(by_eval);
        let entry = Entry { script, by_eval, used: self.uses };
        self.scripts.insert(digest.to_owned(), entry);
        while self.by_eval > MOST_BY_EVAL && self.evict(true) {}
        while self.bytes > MOST_BYTES && self.scripts.len() > 1 && self.evict(false) {}
    }

    /// Removes the script that was used least recently; whether there was one.
    fn evict(&mut self, only_by_eval: bool) -> bool {
        let candidates = self.scripts.iter().filter(|(_, entry)| entry.by_eval || !only_by_eval);
        let Some(victim) = candidates.min_by_key(|(_, entry)| entry.used).map(|(digest, _)| digest.clone()) else {
            return false;
        };
        if let Some(entry) = self.scripts.remove(&victim) {
            self.bytes -= entry.script.source.text.len();
            self.by_eval -= usize::from(entry.by_eval);
            self.evicted += 1;
        }
        true
    }

    /// SCRIPT FLUSH.
    pub(crate) fn clear(&mut self) {
        self.scripts.clear();
        (self.by_eval, self.bytes) = (0, 0);
    }

    /// How many there are, the bytes of their sources, and how many had to go.
    pub(crate) fn figures(&self) -> (usize, usize, u64) {
        (self.scripts.len(), self.bytes, self.evicted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(cache: &mut Cache, digest: &str, bytes: usize, by_eval: bool) {
        let source = Source { text: vec![b' '; bytes], header: 0 };
        cache.add(digest, Arc::new(Script::new(source, Flags::default())), by_eval);
    }

    #[test]
    fn scripts_of_eval_make_place_for_others_and_loaded_ones_stay() {
        let mut cache = Cache::default();
        add(&mut cache, "loaded", 10, false);
        for number in 0..MOST_BY_EVAL {
            add(&mut cache, &number.to_string(), 10, true);
        }
        assert!(cache.get("0").is_some());
        add(&mut cache, "more", 10, true);
        assert!(cache.has("0") && !cache.has("1") && cache.has("loaded") && cache.has("more"));
        assert_eq!(cache.figures(), (MOST_BY_EVAL + 1, 10 * (MOST_BY_EVAL + 1), 1));
        cache.clear();
        assert_eq!(cache.figures(), (0, 0, 1));
    }

    #[test]
    fn sources_have_a_bound() {
        let mut cache = Cache::default();
        for number in 0..5 {
            add(&mut cache, &number.to_string(), MOST_BYTES / 4, false);
        }
        assert!(!cache.has("0") && cache.has("4"));
        assert!(cache.figures().1 <= MOST_BYTES);
    }
}
