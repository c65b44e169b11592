//! A consumer group: how far it has read, its consumers, and the entries that were delivered and not acknowledged.
//!
//! Invariants: every pending entry names a consumer that is there, and stands in that consumer's own list; no list has
//! another. A consumer has one number for its life, by which pending entries name it, and numbers are not used again.

use super::id::StreamId;
use super::name::Name;
use super::read::LogRef;
use super::sorted::SortedMap;

/// The highest number that Redis's commands take.
const COUNT_MAX: u64 = i64::MAX as u64;

/// A group of consumers; see the module's page.
pub struct Group {
    /// The last entry that was delivered.
    pub last_id: StreamId,
    /// How many entries were read up to there, if that is known.
    pub entries_read: Option<u64>,
    pub(super) pending: SortedMap<StreamId, Pending>,
    pub(super) consumers: SortedMap<u64, Consumer>,
    pub(super) names: SortedMap<Name, u64>,
    next_number: u64,
    /// What consumers own: names, here and in `names`, and lists of pending entries.
    consumer_bytes: usize,
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// When it was delivered last, in milliseconds since 1970.
    pub delivered_ms: u64,
    /// How often it was delivered.
    pub count: u64,
    /// The consumer that has it.
    pub consumer: ConsumerId,
}

/// A consumer's number in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerId(u64);

/// A member of a group.
pub struct Consumer {
    pub(super) name: Name,
    /// When it asked last, in milliseconds since 1970.
    pub seen_ms: u64,
    /// When it was last given an entry.
    pub active_ms: Option<u64>,
    pub(super) pending: SortedMap<StreamId, ()>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How many entries it has not acknowledged.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Ids of the entries that it has not acknowledged, from one on.
    pub fn pending_from(&self, start: StreamId) -> impl Iterator<Item = StreamId> + '_ {
        self.pending.range(self.pending.lower(&start), self.pending.end()).map(|(id, ())| *id)
    }

    fn owned(&self) -> usize {
        2 * self.name.owned() + self.pending.memory()
    }
}

impl Group {
    pub(super) fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Self {
            last_id,
            entries_read,
            pending: SortedMap::new(),
            consumers: SortedMap::new(),
            names: SortedMap::new(),
            next_number: 0,
            consumer_bytes: 0,
        }
    }

    /// How many consumers there are.
    pub fn consumers_len(&self) -> usize {
        self.consumers.len()
    }

    /// The consumers, by name.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> + '_ {
        self.names.iter().filter_map(|(_, number)| self.consumers.get(number))
    }

    /// The number of a name.
    pub fn find(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied().map(ConsumerId)
    }

    /// A consumer by its number.
    pub fn consumer(&self, id: ConsumerId) -> Option<&Consumer> {
        self.consumers.get(&id.0)
    }

    /// A consumer by its name.
    pub fn consumer_named(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumer(self.find(name)?)
    }

    /// The consumer of a name, made if it is not there, and whether it was made.
    pub fn consumer_or_new(&mut self, name: &[u8], now_ms: u64) -> (ConsumerId, bool) {
        if let Some(id) = self.find(name) {
            return (id, false);
        }
        let number = self.next_number;
        self.next_number += 1;
        let consumer = Consumer { name: name.into(), seen_ms: now_ms, active_ms: None, pending: SortedMap::new() };
        self.consumer_bytes += consumer.owned();
        self.consumers.insert(number, consumer);
        self.names.insert(name.into(), number);
        (ConsumerId(number), true)
    }

    /// Notes that a consumer asked, and whether it was given something.
    pub fn seen(&mut self, id: ConsumerId, now_ms: u64, active: bool) {
        if let Some(consumer) = self.consumers.get_mut(&id.0) {
            consumer.seen_ms = now_ms;
            if active {
                consumer.active_ms = Some(now_ms);
            }
        }
    }

    /// Removes a consumer and all that it has not acknowledged; how many entries that were. `None` if there is none.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let number = self.names.remove(name)?;
        let consumer = self.consumers.remove(&number)?;
        self.consumer_bytes -= consumer.owned();
        for (id, ()) in consumer.pending.iter() {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// How many entries are not acknowledged.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// What is known of an entry that is not acknowledged.
    pub fn pending(&self, id: StreamId) -> Option<&Pending> {
        self.pending.get(&id)
    }

    /// The entries that are not acknowledged, from one on.
    pub fn pending_from(&self, start: StreamId) -> impl Iterator<Item = (StreamId, &Pending)> + '_ {
        self.pending.range(self.pending.lower(&start), self.pending.end()).map(|(id, pending)| (*id, pending))
    }

    /// The lowest and the highest id that is not acknowledged.
    pub fn pending_bounds(&self) -> Option<(StreamId, StreamId)> {
        Some((*self.pending.first()?.0, *self.pending.last()?.0))
    }

    /// Notes a delivery of an entry to a consumer, whoever had it before.
    pub fn deliver(&mut self, id: StreamId, pending: Pending) {
        let pending = Pending { count: pending.count.min(COUNT_MAX), ..pending };
        match self.pending.insert(id, pending) {
            Some(before) if before.consumer == pending.consumer => return,
            Some(before) => self.with_list(before.consumer, |list| {
                list.remove(&id);
            }),
            None => {}
        }
        self.with_list(pending.consumer, |list| {
            list.insert(id, ());
        });
    }

    /// Forgets an entry; whether it was pending.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        self.with_list(pending.consumer, |list| {
            list.remove(&id);
        });
        true
    }

    fn with_list(&mut self, id: ConsumerId, change: impl FnOnce(&mut SortedMap<StreamId, ()>)) {
        if let Some(consumer) = self.consumers.get_mut(&id.0) {
            let before = consumer.pending.memory();
            change(&mut consumer.pending);
            self.consumer_bytes = self.consumer_bytes - before + consumer.pending.memory();
        }
    }

    /// Moves on to an entry that is delivered, the next one of the stream, and counts it as far as that can be told.
    pub fn advance(&mut self, log: LogRef<'_>, id: StreamId) {
        if id <= self.last_id {
            return;
        }
        let counts_on = self.last_id >= log.first_id() && !log.has_gap_from(self.last_id);
        self.entries_read = match self.entries_read {
            Some(read) if counts_on => Some((read + 1).min(COUNT_MAX)),
            read if log.entries_added() == 0 => read,
            _ => log.entries_up_to(id),
        };
        self.last_id = id;
    }

    /// How many entries are not delivered yet, where that can be told (Redis 7.4's rules). It is negative if XSETID or
    /// ENTRIESREAD said so.
    pub fn lag(&self, log: LogRef<'_>) -> Option<i64> {
        if log.entries_added() == 0 || log.is_empty() {
            return Some(0);
        }
        if self.last_id < log.first_id() && log.max_deleted_id() < log.first_id() {
            return Some(log.len() as i64);
        }
        let read = self.entries_read.filter(|_| !log.has_gap_from(self.last_id));
        let read = read.or_else(|| log.entries_up_to(self.last_id))?;
        Some(log.entries_added().wrapping_sub(read) as i64)
    }

    /// Bytes that the group owns beside itself.
    #[inline]
    pub(super) fn owned(&self) -> usize {
        self.pending.memory() + self.consumers.memory() + self.names.memory() + self.consumer_bytes
    }

    pub(super) fn duplicate(&self) -> Self {
        let mut copy = Self::new(self.last_id, self.entries_read);
        copy.next_number = self.next_number;
        for (id, pending) in self.pending.iter() {
            copy.pending.insert(*id, *pending);
        }
        for (number, consumer) in self.consumers.iter() {
            let mut pending = SortedMap::new();
            for (id, ()) in consumer.pending.iter() {
                pending.insert(*id, ());
            }
            copy.names.insert(Name::from(consumer.name()), *number);
            let Consumer { seen_ms, active_ms, .. } = *consumer;
            let consumer = Consumer { name: Name::from(consumer.name()), seen_ms, active_ms, pending };
            copy.consumer_bytes += consumer.owned();
            copy.consumers.insert(*number, consumer);
        }
        copy
    }

    /// Drops up to `chunks` chunks; true when nothing large is left.
    pub(super) fn free_step(&mut self, chunks: usize) -> bool {
        if !self.pending.free_step(chunks) || !self.names.free_step(chunks) {
            return false;
        }
        for _ in 0..chunks {
            let Some((_, last)) = self.consumers.last_mut() else { return true };
            if last.pending.free_step(chunks) {
                self.consumers.pop_last();
            }
        }
        self.consumers.len() == 0
    }

    pub(super) fn validate(&self) {
        self.pending.validate();
        self.consumers.validate();
        self.names.validate();
        assert_eq!(self.names.len(), self.consumers.len(), "every consumer has a name");
        let (mut lists, mut bytes) = (0, 0);
        for (number, consumer) in self.consumers.iter() {
            consumer.pending.validate();
            assert_eq!(self.names.get(&*consumer.name), Some(number), "a name leads to its consumer");
            assert!(*number < self.next_number);
            for (id, ()) in consumer.pending.iter() {
                let owner = self.pending.get(id).map(|pending| pending.consumer);
                assert_eq!(owner, Some(ConsumerId(*number)), "a pending entry names its consumer");
            }
            lists += consumer.pending.len();
            bytes += consumer.owned();
        }
        assert_eq!(lists, self.pending.len(), "every pending entry is in one list");
        assert_eq!(bytes, self.consumer_bytes, "what consumers own is counted");
    }
}
