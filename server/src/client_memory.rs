//! What clients cost together, and who goes when that is too much: `maxmemory-clients`.
//!
//! Each connection's task notes what its client takes once it has read, run and written what there was. Only
//! while there is a limit are these figures summed, and the clients kept in classes by size, powers of two, as in Redis: a note costs a
//! lock only when the client changes its class. Whoever finds the sum above the limit closes clients of the largest class
//! until it is not.
//!
//! Lock order: the registry of clients, then the classes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::client::Client;
use crate::engine::Engine;
use crate::stats::WorkerStats;

/// Clients of as many bytes as a number of so many bits, or fewer, can tell are one class.
const LEAST_BITS: u32 = 15;
/// The same from so many bits on.
const MOST_BITS: u32 = 33;
/// Classes; the first has number 1.
const CLASSES: u8 = (MOST_BITS - LEAST_BITS + 1) as u8;
/// The class of clients that must not be closed.
const NONE: u8 = 0;
/// A lower limit would leave nobody to set a better one.
const LEAST_LIMIT: u64 = 128 << 10;
/// About what a name costs that a client watches or listens to, beside its bytes: its places in the session and in the
/// table in which the client is found by it.
const NAME: usize = 128;

/// What a client adds to the sum.
#[derive(Default)]
pub(crate) struct Share {
    bytes: AtomicUsize,
    /// Changes while the classes are locked.
    class: AtomicU8,
}

/// Clients by class, the largest first, and within it in order of connection: the first one is to go.
type Classes = BTreeMap<(Reverse<u8>, u64), Arc<Client>>;

/// See the module's page.
#[derive(Default)]
pub(crate) struct ClientMemory {
    /// Below zero for a moment when two notes of a client overtake each other.
    total: AtomicI64,
    classes: Mutex<Classes>,
    /// Whether the log has been told that nobody is left to close.
    is_stuck: AtomicBool,
}

/// The clients of one class, for DEBUG CLIENT-EVICTION.
pub(crate) struct ClassTotals {
    /// The first number of bytes that is in the class, and the last one, if there is one.
    pub(crate) from: u64,
    pub(crate) to: Option<u64>,
    pub(crate) bytes: usize,
    pub(crate) clients: usize,
}

/// About what a name costs that a client watches or listens to.
pub(crate) fn name_bytes(name: &[u8]) -> usize {
    // The session has it and the table that the client is found in.
    2 * name.len() + NAME
}

fn class_of(bytes: usize) -> u8 {
    let bits = usize::BITS - bytes.leading_zeros();
    (bits.clamp(LEAST_BITS, MOST_BITS) - LEAST_BITS + 1) as u8
}

/// How many bytes all clients may take; `None` is no limit.
pub(crate) fn limit(engine: &Engine) -> Option<u64> {
    let settings = engine.settings();
    let limit = match settings.maxmemory_clients.as_i64() {
        0 => return None,
        // Percent of no limit is none.
        percent @ ..0 => match settings.maxmemory.get() {
            0 => return None,
            maxmemory => (u128::from(maxmemory) * u128::from(percent.unsigned_abs()) / 100) as u64,
        },
        bytes => bytes.unsigned_abs(),
    };
    Some(limit.max(LEAST_LIMIT))
}

impl ClientMemory {
    /// Notes what a client takes now, if there is a limit. To be called by its own task or with the registry locked, so that no client
    /// is noted that is gone.
    #[inline]
    pub(crate) fn note(&self, engine: &Engine, client: &Arc<Client>) {
        if engine.settings().maxmemory_clients.get() != 0 {
            self.set(client, client.memory(), client.may_be_evicted());
        }
    }

    /// Takes a client out that is gone or about to be.
    pub(crate) fn forget(&self, client: &Arc<Client>) {
        self.set(client, 0, false);
    }

    fn set(&self, client: &Arc<Client>, bytes: usize, may_go: bool) {
        let share = &client.share;
        let before = share.bytes.swap(bytes, Relaxed);
        self.total.fetch_add(bytes as i64 - before as i64, Relaxed);
        let class = if may_go { class_of(bytes) } else { NONE };
        if share.class.load(Relaxed) == class {
            return;
        }
        let mut classes = self.classes.lock();
        let old = share.class.swap(class, Relaxed);
        if old != NONE {
            classes.remove(&(Reverse(old), client.id));
        }
        if class != NONE {
            classes.insert((Reverse(class), client.id), client.clone());
        }
    }

    /// Closes the largest clients while all together are at the limit or above it.
    #[inline]
    pub(crate) fn relieve(&self, engine: &Engine, stats: &WorkerStats) {
        if engine.settings().maxmemory_clients.get() != 0
            && let Some(limit) = limit(engine)
        {
            self.reduce_to(engine, stats, limit);
        }
    }

    fn reduce_to(&self, engine: &Engine, stats: &WorkerStats, limit: u64) {
        while self.total.load(Relaxed) >= limit as i64 {
            let largest = self.classes.lock().first_key_value().map(|(_, client)| client.clone());
            let Some(client) = largest else {
                if !self.is_stuck.swap(true, Relaxed) {
                    tracing::warn!("Over client maxmemory after evicting all evictable clients");
                }
                return;
            };
            if !client.is_killed() {
                tracing::info!("Evicting client: {}", crate::commands::client::line(engine, &client).trim_end());
                stats.counters.evicted_clients.add(1);
                engine.clients().kill(&client);
            }
            self.forget(&client);
        }
        self.is_stuck.store(false, Relaxed);
    }

    /// Notes all clients anew, after a change of the limit. Those that are too much now are closed after the batch in which it
    /// was changed.
    pub(crate) fn follow_limit(&self, engine: &Engine) {
        engine.clients().each(|client| self.note(engine, client));
    }

    /// What the clients of each class take that may be closed, smallest class first.
    pub(crate) fn totals(&self) -> Vec<ClassTotals> {
        let classes = self.classes.lock();
        let total = |class: u8| {
            let members = classes.range((Reverse(class), 0)..=(Reverse(class), u64::MAX));
            let (bytes, clients) = members
                .fold((0, 0), |(bytes, clients), (_, client)| (bytes + client.share.bytes.load(Relaxed), clients + 1));
            let end = 1 << (LEAST_BITS + u32::from(class) - 1);
            let from = if class == 1 { 0 } else { end / 2 };
            ClassTotals { from, to: (class < CLASSES).then_some(end - 1), bytes, clients }
        };
        (1..=CLASSES).map(total).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_powers_of_two() {
        assert_eq!([0, 1, (32 << 10) - 1].map(class_of), [1; 3]);
        assert_eq!([32 << 10, (64 << 10) - 1, 64 << 10, (128 << 10) - 1].map(class_of), [2, 2, 3, 3]);
        assert_eq!([(1 << 32) - 1, 1 << 32, usize::MAX].map(class_of), [CLASSES - 1, CLASSES, CLASSES]);
        let totals = ClientMemory::default().totals();
        assert_eq!((totals[0].from, totals[0].to, totals[1].from), (0, Some(32_767), 32_768));
        assert_eq!((totals[18].from, totals[18].to, totals.len()), (1 << 32, None, 19));
    }
}
