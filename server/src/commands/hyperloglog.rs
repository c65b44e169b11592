//! HyperLogLogs: how many different elements were added, told within 1 % or so in 12 KiB. The form of the strings that
//! hold them is in [`crate::hyperloglog`].

use larder_protocol::{Args, Reply};
use larder_storage::rng::Rng;
use larder_storage::table::Expiry;
use larder_storage::value::Value;

use super::command::*;
use super::parse::is;
use super::string_edit::{repeat, store_copy};
use crate::config::KeyspaceEvents as Class;
use crate::engine::Engine;
use crate::error::{
    Error, HYPERLOGLOG_NOT_SPARSE, KEY_DOES_NOT_EXIST, NOT_A_HYPERLOGLOG, Outcome, WRONG_TYPE, self_test_failed,
    unknown_pfdebug,
};
use crate::hyperloglog::{self as hll, Encoding, Registers};
use crate::locked::Locked;
use crate::session::Session;

pub(super) const COMMANDS: &[Command] = &[
    Command::write("PFADD", Arity::at_least(1), &[key(1, RW | INSERT)], pfadd)
        .flags(DENYOOM | FAST)
        .group(Group::HyperLogLog)
        .syntax("key [element...]")
        .since("2.8.9")
        .complexity("O(1) for each element")
        .summary(
            "Adds elements to a HyperLogLog, made if there is none; answers whether its estimate may have changed.",
        )
        .examples(&[
            ("PFADD visitors ada bo cy", "(integer) 1"),
            ("PFADD visitors bo", "(integer) 0"),
            ("PFCOUNT visitors", "(integer) 3"),
            ("SET word text", "OK"),
            ("PFADD word ada", "(error) WRONGTYPE Key is not a valid HyperLogLog string value."),
        ]),
    Command::read(
        "PFCOUNT",
        Arity::at_least(1),
        &[keys(1, 1, RW | ACCESS)
            .notes("RW because it may change the internal representation of the key, and propagate to replicas")],
        pfcount,
    )
    .flags(MAY_REPLICATE)
    .group(Group::HyperLogLog)
    .syntax("key...")
    .since("2.8.9")
    .complexity("O(1) for one key, which keeps the answer; O(N) for N keys")
    .summary("Estimates how many different elements were added to any of several HyperLogLogs.")
    .examples(&[
        ("PFADD mon ada bo", "(integer) 1"),
        ("PFADD tue bo cy", "(integer) 1"),
        ("PFCOUNT mon", "(integer) 2"),
        ("PFCOUNT mon tue wed", "(integer) 3"),
    ]),
    Command::write("PFMERGE", Arity::at_least(1), &[key(1, RW | ACCESS | INSERT), keys(2, 1, RO | ACCESS)], pfmerge)
        .flags(DENYOOM)
        .group(Group::HyperLogLog)
        .syntax("destkey [sourcekey...]")
        .since("2.8.9")
        .complexity("O(N) for N keys")
        .summary("Adds what was added to several HyperLogLogs to one, made if there is none.")
        .examples(&[
            ("PFADD mon ada bo", "(integer) 1"),
            ("PFADD tue bo cy", "(integer) 1"),
            ("PFMERGE week mon tue", "OK"),
            ("PFCOUNT week", "(integer) 3"),
        ]),
    Command::write("PFDEBUG", Arity::exactly(2), &[key(2, RW | ACCESS)], pfdebug)
        .flags(DENYOOM | ADMIN)
        .group(Group::HyperLogLog)
        .syntax("(GETREG | DECODE | ENCODING | TODENSE) key")
        .since("2.8.9")
        .complexity("N/A")
        .summary("Shows the registers of a HyperLogLog, its runs or its encoding, or makes it dense.")
        .examples(&[
            ("PFADD visitors ada", "(integer) 1"),
            ("PFDEBUG ENCODING visitors", "sparse"),
            ("PFDEBUG DECODE visitors", "\"Z:10035 v:1,1 Z:6348\""),
            ("PFDEBUG TODENSE visitors", "(integer) 1"),
            ("PFDEBUG ENCODING visitors", "dense"),
        ]),
    Command::session("PFSELFTEST", Arity::exactly(0), pfselftest)
        .flags(ADMIN)
        .group(Group::HyperLogLog)
        .since("2.8.9")
        .complexity("N/A")
        .summary("Tests registers and estimates of HyperLogLogs; it takes about a second."),
];

/// A HyperLogLog where it stands.
#[derive(Clone, Copy)]
struct Found<'a> {
    bytes: &'a [u8],
    encoding: Encoding,
    /// Whether the string was changed in place before; one that SET stored has to become such a one.
    raw: bool,
}

impl<'a> Found<'a> {
    fn new(value: Value<'a>) -> Result<Self, Error> {
        let (bytes, raw) = match value {
            Value::Str { bytes, raw } => (bytes, raw),
            Value::Big(string) => (string.bytes(), true),
            Value::Int(_) => return Err(NOT_A_HYPERLOGLOG),
            _ => return Err(WRONG_TYPE),
        };
        let encoding = hll::encoding(bytes).ok_or(NOT_A_HYPERLOGLOG)?;
        Ok(Self { bytes, encoding, raw })
    }

    fn look(locked: &'a mut Locked<'_>, key: &[u8]) -> Result<Option<Self>, Error> {
        locked.look(key).map(|entry| Self::new(entry.value())).transpose()
    }

    fn read(locked: &'a mut Locked<'_>, key: &[u8]) -> Result<Option<Self>, Error> {
        locked.read(key).map(|entry| Self::new(entry.value())).transpose()
    }
}

/// Stores one that was changed apart from the table.
fn put(locked: &mut Locked<'_>, key: &[u8], bytes: &[u8]) -> Outcome {
    store_copy(locked, key, bytes, Expiry::Keep)
}

fn sparse_limit(locked: &Locked<'_>) -> usize {
    locked.engine().settings().hll_sparse_max_bytes.as_usize()
}

fn pfadd(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (key, elements) = (args.at(1), args.from(2));
    let found = Found::look(locked, key)?;
    let raw = found.is_none_or(|found| found.raw);
    let changes = if found.is_some_and(|found| found.encoding == Encoding::Dense) {
        let add = |bytes: &mut [u8]| {
            let changes = elements.iter().filter(|element| hll::add_dense(bytes, element)).count();
            if changes > 0 {
                hll::outdate(bytes);
            }
            changes
        };
        locked.edit_string(key, add).unwrap_or(0)
    } else {
        let mut changes = usize::from(found.is_none());
        let mut bytes = found.map_or_else(hll::empty, |found| found.bytes.to_vec());
        let limit = sparse_limit(locked);
        // On an error nothing is stored.
        for element in elements.iter() {
            changes += usize::from(hll::add(&mut bytes, element, limit)?);
        }
        if changes > 0 {
            hll::outdate(&mut bytes);
        }
        if changes > 0 || !raw {
            put(locked, key, &bytes)?;
        }
        changes
    };
    if changes > 0 {
        locked.changed(Class::STRING, "pfadd", key);
        locked.count_changes(changes as u64 - 1);
    } else if !raw {
        repeat(locked, args);
    }
    reply.int((changes > 0).into());
    Ok(())
}

fn pfcount(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if args.len() > 2 {
        let mut all = Registers::new();
        for key in args.from(1) {
            if let Some(found) = Found::read(locked, key)? {
                all.merge(found.bytes)?;
            }
        }
        reply.int(all.count() as i64);
        return Ok(());
    }
    let key = args.at(1);
    let Some(found) = Found::read(locked, key)? else {
        reply.int(0);
        return Ok(());
    };
    let raw = found.raw;
    let cached = hll::cached_cardinality(found.bytes);
    let cardinality = cached.map_or_else(|| hll::count(found.bytes), Ok)?;
    if !raw {
        let mut bytes = found.bytes.to_vec();
        hll::cache_cardinality(&mut bytes, cardinality);
        put(locked, key, &bytes)?;
    } else if cached.is_none() {
        locked.edit_string(key, |bytes| hll::cache_cardinality(bytes, cardinality));
    }
    if cached.is_none() {
        locked.changed_silently(key);
    } else if !raw {
        repeat(locked, args);
    }
    reply.int(cardinality as i64);
    Ok(())
}

fn pfmerge(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let mut all = Registers::new();
    let mut dense = false;
    for key in args.from(1) {
        if let Some(found) = Found::read(locked, key)? {
            dense |= found.encoding == Encoding::Dense;
            all.merge(found.bytes)?;
        }
    }
    let key = args.at(1);
    let limit = sparse_limit(locked);
    let mut bytes = Found::look(locked, key)?.map_or_else(hll::empty, |found| found.bytes.to_vec());
    if dense {
        hll::make_dense(&mut bytes)?;
    }
    all.store(&mut bytes, limit)?;
    put(locked, key, &bytes)?;
    locked.changed(Class::STRING, "pfadd", key);
    reply.ok();
    Ok(())
}

fn pfdebug(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (name, key) = (args.at(1), args.at(2));
    let Found { bytes, encoding, raw } = Found::look(locked, key)?.ok_or(KEY_DOES_NOT_EXIST)?;
    let mut bytes = bytes.to_vec();
    let mut made_dense = false;
    match name {
        name if is(name, "GETREG") => {
            made_dense = hll::make_dense(&mut bytes)?;
            let mut registers = Registers::new();
            registers.merge(&bytes)?;
            reply.array(registers.values().len());
            registers.values().iter().for_each(|value| reply.int((*value).into()));
        }
        name if is(name, "DECODE") && encoding == Encoding::Dense => return Err(HYPERLOGLOG_NOT_SPARSE),
        name if is(name, "DECODE") => reply.bulk(hll::decode(&bytes).as_bytes()),
        name if is(name, "ENCODING") => reply.simple(match encoding {
            Encoding::Dense => "dense",
            Encoding::Sparse => "sparse",
        }),
        name if is(name, "TODENSE") => {
            made_dense = hll::make_dense(&mut bytes)?;
            reply.int(made_dense.into());
        }
        name => return Err(unknown_pfdebug(name)),
    }
    if made_dense {
        put(locked, key, &bytes)?;
        locked.count_changes(1);
    } else if !raw {
        put(locked, key, &bytes)?;
        repeat(locked, args);
    }
    Ok(())
}

fn pfselftest(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let limit = engine.settings().hll_sparse_max_bytes.as_usize();
    hll::self_test(Rng::seeded(engine.random()), limit).map_err(|wrong| self_test_failed(&wrong))?;
    reply.ok();
    Ok(())
}
