//! Channels and who listens to them.
//!
//! One table for all threads: PUBLISH reads it, SUBSCRIBE and its counterparts write it. A message is encoded once
//! per protocol and shared by all receivers. The table is locked after shards and before outboxes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use larder_protocol::{Proto, Reply};
use parking_lot::RwLock;

use crate::client::Client;
use crate::glob;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// SUBSCRIBE.
    Channel,
    /// PSUBSCRIBE.
    Pattern,
    /// SSUBSCRIBE.
    Shard,
}

/// Clients that listen to one name, by number.
type Listeners = BTreeMap<u64, Arc<Client>>;

#[derive(Default)]
struct Names {
    channels: HashMap<Vec<u8>, Listeners>,
    patterns: BTreeMap<Vec<u8>, Listeners>,
    shard_channels: HashMap<Vec<u8>, Listeners>,
}

/// See the module's page.
#[derive(Default)]
pub(crate) struct Channels {
    names: RwLock<Names>,
    /// Names with listeners, so that nobody pays for publishing to none.
    listened: AtomicUsize,
}

/// A message in both protocols, each encoded when first needed.
struct Message<'a> {
    kind: &'static str,
    parts: &'a [&'a [u8]],
    encoded: [Option<Bytes>; 2],
}

impl<'a> Message<'a> {
    fn new(kind: &'static str, parts: &'a [&'a [u8]]) -> Self {
        Self { kind, parts, encoded: [None, None] }
    }

    fn bytes(&mut self, proto: Proto) -> Bytes {
        let (kind, parts) = (self.kind, self.parts);
        let encode = || {
            let mut reply = Reply::new();
            reply.set_proto(proto);
            reply.push(parts.len() + 1);
            reply.bulk(kind.as_bytes());
            parts.iter().for_each(|part| reply.bulk(part));
            Bytes::copy_from_slice(reply.as_slice().unwrap_or_default())
        };
        self.encoded[(proto == Proto::Resp3) as usize].get_or_insert_with(encode).clone()
    }
}

impl Channels {
    /// Whether nobody listens to anything.
    #[inline]
    pub(crate) fn is_silent(&self) -> bool {
        self.listened.load(Relaxed) == 0
    }

    /// Adds a listener; false if it was one already.
    pub(crate) fn subscribe(&self, target: Target, name: &[u8], client: &Arc<Client>) -> bool {
        let mut names = self.names.write();
        let listeners = match target {
            Target::Channel => names.channels.entry(name.to_vec()).or_default(),
            Target::Pattern => names.patterns.entry(name.to_vec()).or_default(),
            Target::Shard => names.shard_channels.entry(name.to_vec()).or_default(),
        };
        if listeners.is_empty() {
            self.listened.fetch_add(1, Relaxed);
        }
        listeners.insert(client.id, client.clone()).is_none()
    }

    /// Removes a listener; false if it was none.
    pub(crate) fn unsubscribe(&self, target: Target, name: &[u8], client: &Client) -> bool {
        let mut names = self.names.write();
        let listeners = match target {
            Target::Channel => names.channels.get_mut(name),
            Target::Pattern => names.patterns.get_mut(name),
            Target::Shard => names.shard_channels.get_mut(name),
        };
        let Some(listeners) = listeners else { return false };
        let was = listeners.remove(&client.id).is_some();
        if listeners.is_empty() {
            self.listened.fetch_sub(1, Relaxed);
            match target {
                Target::Channel => drop(names.channels.remove(name)),
                Target::Pattern => drop(names.patterns.remove(name)),
                Target::Shard => drop(names.shard_channels.remove(name)),
            }
        }
        was
    }

    /// Waits until every message under way is in the outboxes.
    pub(crate) fn settle(&self) {
        drop(self.names.write());
    }

    /// Sends a message to all who listen to the channel, by name or by pattern; gives their number.
    pub(crate) fn publish(&self, channel: &[u8], message: &[u8]) -> usize {
        if self.is_silent() {
            return 0;
        }
        let names = self.names.read();
        let mut receivers = 0;
        if let Some(listeners) = names.channels.get(channel) {
            receivers += send(listeners, Message::new("message", &[channel, message]));
        }
        for (pattern, listeners) in &names.patterns {
            if glob::matches(pattern, channel, false) {
                receivers += send(listeners, Message::new("pmessage", &[pattern, channel, message]));
            }
        }
        receivers
    }

    /// SPUBLISH: as [`Channels::publish`], among the shard channels.
    pub(crate) fn publish_to_shard(&self, channel: &[u8], message: &[u8]) -> usize {
        if self.is_silent() {
            return 0;
        }
        let names = self.names.read();
        names
            .shard_channels
            .get(channel)
            .map_or(0, |listeners| send(listeners, Message::new("smessage", &[channel, message])))
    }

    /// Channels (or shard channels) with listeners that match, in no order.
    pub(crate) fn active(&self, target: Target, pattern: Option<&[u8]>) -> Vec<Vec<u8>> {
        let names = self.names.read();
        let channels = if target == Target::Shard { &names.shard_channels } else { &names.channels };
        let wanted = |(name, listeners): &(&Vec<u8>, &Listeners)| {
            pattern.is_none_or(|pattern| glob::matches(pattern, name, false)) && living(listeners).next().is_some()
        };
        channels.iter().filter(wanted).map(|(name, _)| name.clone()).collect()
    }

    /// How many listen to a name.
    pub(crate) fn listeners(&self, target: Target, name: &[u8]) -> usize {
        let names = self.names.read();
        let listeners = match target {
            Target::Channel => names.channels.get(name),
            Target::Pattern => names.patterns.get(name),
            Target::Shard => names.shard_channels.get(name),
        };
        listeners.map_or(0, |listeners| living(listeners).count())
    }

    /// Shows every listener with what it listens to.
    pub(crate) fn each_listener(&self, mut each: impl FnMut(Target, &[u8], &Arc<Client>)) {
        let names = self.names.read();
        let channels = names.channels.iter().map(|(name, listeners)| (Target::Channel, name, listeners));
        let patterns = names.patterns.iter().map(|(name, listeners)| (Target::Pattern, name, listeners));
        let shard_channels = names.shard_channels.iter().map(|(name, listeners)| (Target::Shard, name, listeners));
        for (target, name, listeners) in channels.chain(patterns).chain(shard_channels) {
            listeners.values().for_each(|client| each(target, name, client));
        }
    }

    /// How many channels, patterns and shard channels have listeners.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let names = self.names.read();
        (names.channels.len(), names.patterns.len(), names.shard_channels.len())
    }
}

fn send(listeners: &Listeners, mut message: Message<'_>) -> usize {
    living(listeners).map(|client| client.push(message.bytes(client.proto()))).count()
}

/// Those that are there: after CLIENT KILL nobody counts a client, though its thread has yet to close it. One that is closed
/// because its messages have passed the limit counts until then, as in Redis.
fn living(listeners: &Listeners) -> impl Iterator<Item = &Arc<Client>> {
    listeners.values().filter(|client| !client.is_expelled())
}
