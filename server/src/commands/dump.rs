//! DUMP and RESTORE: values as bytes, in the format of Redis's files (`rdb`).

use bytes::Bytes;
use larder_protocol::{Args, Reply};
use larder_storage::table::Expiry;

use super::command::*;
use super::object::{is_lfu, own_frequency, tracks_frequency};
use super::parse::{integer, is};
use crate::config::KeyspaceEvents as Class;
use crate::error::{BUSY_KEY, Error, INVALID_FREQ, INVALID_IDLETIME, INVALID_TTL, Outcome, SYNTAX, WRONG_DUMP_PAYLOAD};
use crate::locked::Locked;
use crate::rdb;

pub(super) const COMMANDS: &[Command] = &[
    Command::read("DUMP", Arity::exactly(1), &[key(1, RO | ACCESS)], dump)
        .since("2.6.0")
        .syntax("key")
        .summary("Answers a key's value as bytes that RESTORE takes, here and in Redis from 7.0 on.")
        .complexity("O(N) for N bytes")
        .tips(&["nondeterministic_output"])
        .examples(&[("SET a 10", "OK"), ("DUMP a", r#""\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb""#), ("DUMP b", "(nil)")]),
    RESTORE,
    Command { name: "RESTORE-ASKING", group: Group::Server, since: "3.0.0", examples: &[], ..RESTORE }
        .flags(ASKING | KEYSPACE)
        .summary("Stores a value as RESTORE does. It is meant for nodes of a cluster.")
        .examples(&[("RESTORE-ASKING a -1 x", "(error) ERR Invalid TTL value, must be >= 0")]),
];

const RESTORE: Command = Command::write("RESTORE", Arity::at_least(3), &[key(1, OW | UPDATE)], restore)
    .flags(DENYOOM | DANGEROUS)
    .since("2.6.0")
    .syntax("key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]")
    .summary("Stores a value that DUMP has answered, of Redis up to 7.4 as well, with an expiry in milliseconds or 0.")
    .complexity("O(N) for N bytes, O(N*log(N)) for a large sorted set")
    .examples(&[
        ("RESTORE a 0 \"\\x00\\xc0\\n\\n\\x00n\\x9fWE\\x0e\\xaec\\xbb\"", "OK"),
        ("GET a", "\"10\""),
        (
            "RESTORE a 0 \"\\x00\\xc0\\n\\n\\x00n\\x9fWE\\x0e\\xaec\\xbb\"",
            "(error) BUSYKEY Target key name already exists.",
        ),
        ("RESTORE b 0 bytes", "(error) ERR DUMP payload version or checksum are wrong"),
    ]);

fn dump(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let Some(entry) = locked.read(args.at(1)) else {
        reply.null();
        return Ok(());
    };
    let mut payload = Vec::new();
    let version = rdb::encode(entry.value(), &mut payload);
    rdb::seal(&mut payload, version);
    reply.bulk_shared(Bytes::from(payload));
    Ok(())
}

/// What RESTORE is asked for beside the value.
#[derive(Default)]
struct RestoreOptions {
    replace: bool,
    absolute: bool,
    idle_seconds: Option<u64>,
    /// On Redis's scale.
    frequency: Option<u8>,
}

impl RestoreOptions {
    fn parse(options: Args<'_>) -> Result<Self, Error> {
        let mut parsed = Self::default();
        let mut words = options.iter();
        while let Some(word) = words.next() {
            if is(word, "REPLACE") {
                parsed.replace = true;
            } else if is(word, "ABSTTL") {
                parsed.absolute = true;
            } else if is(word, "IDLETIME") && parsed.frequency.is_none() {
                let seconds = integer(words.next().ok_or(SYNTAX)?)?;
                parsed.idle_seconds = Some(u64::try_from(seconds).map_err(|_| INVALID_IDLETIME)?);
            } else if is(word, "FREQ") && parsed.idle_seconds.is_none() {
                let frequency = integer(words.next().ok_or(SYNTAX)?)?;
                parsed.frequency = Some(u8::try_from(frequency).map_err(|_| INVALID_FREQ)?);
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(parsed)
    }

    /// The access history that a key gets: when it was used last, in ticks, and how often.
    fn history(&self, locked: &Locked<'_>) -> (u32, u8) {
        let engine = locked.engine();
        let (tick, now_ms) = (engine.keyspace().tick(), engine.clock().now_ms());
        // LRU and LFU policies take their own option and pass over the other's.
        let (policy, factor) = (engine.settings().maxmemory_policy.get(), engine.settings().lfu_log_factor.get());
        let idle_seconds = self.idle_seconds.filter(|_| !is_lfu(policy));
        let age = idle_seconds.map_or(0, |seconds| engine.ticks.age_of(seconds, tick, now_ms));
        let frequency = self.frequency.filter(|_| tracks_frequency(policy));
        let frequency = frequency.map_or(0, |counter| own_frequency(counter, factor));
        (tick.wrapping_sub(age), frequency)
    }
}

fn restore(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let options = RestoreOptions::parse(args.from(4))?;
    let key = args.at(1);
    let is_replaced = locked.exists(key);
    if is_replaced && !options.replace {
        return Err(BUSY_KEY);
    }
    let ttl = u64::try_from(integer(args.at(2))?).map_err(|_| INVALID_TTL)?;
    let value = rdb::open(args.at(3)).ok_or(WRONG_DUMP_PAYLOAD)?;
    let (mut loaded, checked) = rdb::decode(locked.env(), value)?;
    locked.stats().sanitized_payloads(checked);
    let expiry = (ttl > 0).then(|| if options.absolute { ttl } else { locked.now + ttl });
    if expiry.is_some_and(|at| at <= locked.now || at > i64::MAX as u64) {
        // A time beyond all that Redis can tell has passed there, too.
        if is_replaced {
            locked.remove(key);
            locked.changed(Class::GENERIC, "del", key);
            locked.replay(&[b"DEL", key]);
        }
        reply.ok();
        return Ok(());
    }
    locked.set(key, loaded.content(), Expiry::Set(expiry))?;
    if is_replaced {
        locked.created(key);
    }
    let (tick, frequency) = options.history(locked);
    if let Some((table, pos)) = locked.place(key) {
        table.set_history(pos, tick, frequency);
    }
    locked.changed(Class::GENERIC, "restore", key);
    if let Some(at) = expiry.filter(|_| !options.absolute) {
        let mut buffer = itoa::Buffer::new();
        let mut words: Vec<&[u8]> = args.iter().collect();
        words[2] = buffer.format(at).as_bytes();
        words.push(b"ABSTTL");
        locked.replay(&words);
    }
    reply.ok();
    Ok(())
}
