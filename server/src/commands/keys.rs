//! Keys of any type: deleting, looking, renaming, copying, moving.
//!
//! A value that changes its place keeps its form: RENAME and MOVE hand an object over as it is, COPY makes another in
//! the same encoding. Expiries go along, access histories do not.

use larder_protocol::{Args, Reply};
use larder_storage::index::Pos;
use larder_storage::table::{Expiry, Table};

use super::command::*;
use super::databases::database;
use super::parse::is;
use crate::config::KeyspaceEvents as Class;
use crate::error::{Error, NO_SUCH_KEY, Outcome, SAME_OBJECT, SYNTAX};
use crate::locked::Locked;

pub(super) const COMMANDS: &[Command] = &[
    Command::write("DEL", Arity::at_least(1), &[keys(1, 1, RM | DELETE)], del)
        .syntax("key...")
        .since("1.0.0")
        .summary("Deletes keys, and answers how many there were.")
        .complexity("O(N) for N keys; a large collection is freed later, in slices")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .examples(&[("MSET a 1 b 2", "OK"), ("DEL a b c", "(integer) 2"), ("DEL a", "(integer) 0")]),
    Command::write("UNLINK", Arity::at_least(1), &[keys(1, 1, RM | DELETE)], del)
        .flags(FAST)
        .since("4.0.0")
        .syntax("key...")
        .summary("Deletes keys without waiting for their memory, and answers how many there were.")
        .complexity("O(1) per key; its elements are freed later, in slices")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .examples(&[("MSET a 1 b 2", "OK"), ("UNLINK a b c", "(integer) 2"), ("GET a", "(nil)")]),
    Command::read("EXISTS", Arity::at_least(1), &[keys(1, 1, RO)], exists)
        .flags(FAST)
        .syntax("key...")
        .since("1.0.0")
        .summary("Counts how many of the keys exist; one that is named twice counts twice.")
        .complexity("O(N) for N keys")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .examples(&[("SET a 1", "OK"), ("EXISTS a", "(integer) 1"), ("EXISTS a a b", "(integer) 2")]),
    Command::read("TYPE", Arity::exactly(1), &[key(1, RO)], type_of)
        .flags(FAST)
        .syntax("key")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Names the type of a key's value, or none.")
        .examples(&[
            ("SET a 1", "OK"),
            ("ZADD z 1 one", "(integer) 1"),
            ("TYPE a", "string"),
            ("TYPE z", "zset"),
            ("TYPE b", "none"),
        ]),
    Command::all("RANDOMKEY", Arity::exactly(0), randomkey)
        .flags(READONLY)
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Answers a key of the database, each as likely as any other.")
        .tips(&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"])
        .examples(&[("RANDOMKEY", "(nil)"), ("SET a 1", "OK"), ("RANDOMKEY", "\"a\"")]),
    Command::write("RENAME", Arity::exactly(2), &[key(1, RW | ACCESS | DELETE), key(2, OW | UPDATE)], rename)
        .syntax("key newkey")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Gives a key another name, in place of what had that name.")
        .examples(&[
            ("SET a 1", "OK"),
            ("RENAME a b", "OK"),
            ("GET b", "\"1\""),
            ("RENAME a b", "(error) ERR no such key"),
        ]),
    Command::write("RENAMENX", Arity::exactly(2), &[key(1, RW | ACCESS | DELETE), key(2, OW | INSERT)], renamenx)
        .flags(FAST)
        .syntax("key newkey")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Gives a key another name, unless something has that name.")
        .examples(&[
            ("MSET a 1 b 2", "OK"),
            ("RENAMENX a b", "(integer) 0"),
            ("RENAMENX a c", "(integer) 1"),
            ("EXISTS a", "(integer) 0"),
        ]),
    Command::write("COPY", Arity::at_least(2), &[key(1, RO | ACCESS), key(2, OW | UPDATE)], copy)
        .flags(DENYOOM)
        .since("6.2.0")
        .syntax("source destination [DB destination-db] [REPLACE]")
        .summary(
            "Copies a key's value and expiry to another key, on request in another database or over what is there.",
        )
        .complexity("O(N) for a collection of N elements, O(1) for a string")
        .examples(&[
            ("MSET a 1 b 2", "OK"),
            ("COPY a b", "(integer) 0"),
            ("COPY a b REPLACE", "(integer) 1"),
            ("GET b", "\"1\""),
            ("COPY a a DB 1", "(integer) 1"),
            ("COPY a a", "(error) ERR source and destination objects are the same"),
        ]),
    Command::write("MOVE", Arity::exactly(2), &[key(1, RW | ACCESS | UPDATE)], move_key)
        .flags(FAST)
        .syntax("key db")
        .since("1.0.0")
        .complexity("O(1)")
        .summary("Moves a key to another database, unless it exists there.")
        .examples(&[
            ("SET a 1", "OK"),
            ("MOVE a 1", "(integer) 1"),
            ("MOVE a 1", "(integer) 0"),
            ("MOVE a 0", "(error) ERR source and destination objects are the same"),
        ]),
    Command::read("TOUCH", Arity::at_least(1), &[keys(1, 1, RO)], touch)
        .flags(FAST)
        .since("3.2.1")
        .syntax("key...")
        .summary("Counts how many of the keys exist, and notes that they were used.")
        .complexity("O(N) for N keys")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .examples(&[("SET a 1", "OK"), ("TOUCH a b", "(integer) 1")]),
];

/// DEL and UNLINK: neither frees a large value while shards are held.
fn del(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let mut deleted = 0;
    for key in args.from(1).iter() {
        if locked.remove(key) {
            locked.changed(Class::GENERIC, "del", key);
            deleted += 1;
        }
    }
    reply.int(deleted);
    Ok(())
}

fn exists(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let found = args.from(1).iter().filter(|key| locked.glance(key).is_some()).count();
    reply.int(found as i64);
    Ok(())
}

fn touch(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    // CLIENT NO-TOUCH is for all commands but this one.
    let no_touch = std::mem::replace(&mut locked.no_touch, false);
    let found = args.from(1).iter().filter(|key| locked.read(key).is_some()).count();
    locked.no_touch = no_touch;
    reply.int(found as i64);
    Ok(())
}

fn type_of(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    reply.simple(locked.glance(args.at(1)).map_or("none", |entry| entry.kind().name()));
    Ok(())
}

fn randomkey(locked: &mut Locked<'_>, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let (db, now, hides_expired) = (locked.db, locked.now, locked.hides_expired);
    /// Expired keys that are looked at while they have to stay.
    const TRIES: usize = 100;
    let mut tries = 0;
    // It ends, for each further turn has removed a key or is one of the tries.
    while let Some((hash, pos)) = random_place(locked) {
        let table = locked.shards().of(hash).shard.table(db);
        match table.map(|table| table.entry(pos)) {
            Some(entry) if entry.expiry().is_none_or(|at| at > now) || tries == TRIES => {
                reply.bulk(entry.key());
                return Ok(());
            }
            _ if hides_expired => tries += 1,
            _ => locked.expire(hash, pos),
        }
    }
    reply.null();
    Ok(())
}

/// The hash and the place of a key that may be expired; `None` when the database is empty.
fn random_place(locked: &mut Locked<'_>) -> Option<(u64, Pos)> {
    let db = locked.db;
    let keys = |table: Option<&Table>| table.map_or(0, Table::len) as u64;
    let total: u64 = locked.shards().each_ref().map(|(_, guarded)| keys(guarded.shard.table(db))).sum();
    let mut left = locked.engine().random().checked_rem(total)?;
    for (_, guarded) in locked.shards().each() {
        let own = keys(guarded.shard.table(db));
        if left < own {
            let pos = guarded.shard.random(db)?;
            return Some((guarded.shard.table(db)?.hash_at(pos), pos));
        }
        left -= own;
    }
    None
}

fn rename(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    rename_unless(locked, args, |_, _| false)?;
    reply.ok();
    Ok(())
}

fn renamenx(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let renamed = rename_unless(locked, args, |locked, to| locked.exists(to))?;
    reply.int(renamed as i64);
    Ok(())
}

/// Renames unless something stands in the way; whether it did. A key's own name counts as one that is taken.
fn rename_unless(
    locked: &mut Locked<'_>,
    args: Args<'_>,
    taken: impl FnOnce(&mut Locked<'_>, &[u8]) -> bool,
) -> Result<bool, Error> {
    let (from, to) = (args.at(1), args.at(2));
    if !locked.exists(from) {
        return Err(NO_SUCH_KEY);
    }
    if from == to || taken(locked, to) {
        return Ok(false);
    }
    locked.transfer(from, locked.db, to)?;
    locked.note(Class::GENERIC, "rename_from", from);
    locked.changed(Class::GENERIC, "rename_to", to);
    Ok(true)
}

fn move_key(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let key = args.at(1);
    let to = database(locked.engine(), args.at(2))?;
    if to == locked.db {
        return Err(SAME_OBJECT);
    }
    if !locked.exists(key) || locked.in_database(to, |locked| locked.exists(key)) {
        reply.int(0);
        return Ok(());
    }
    locked.transfer(key, to, key)?;
    locked.note(Class::GENERIC, "move_from", key);
    locked.in_database(to, |locked| locked.changed(Class::GENERIC, "move_to", key));
    reply.int(1);
    Ok(())
}

/// The options of COPY.
struct CopyOptions {
    db: usize,
    replace: bool,
}

impl CopyOptions {
    fn parse(locked: &Locked<'_>, options: Args<'_>) -> Result<Self, Error> {
        let mut parsed = Self { db: locked.db, replace: false };
        let mut words = options.iter();
        while let Some(word) = words.next() {
            if is(word, "REPLACE") {
                parsed.replace = true;
            } else if is(word, "DB") {
                parsed.db = database(locked.engine(), words.next().ok_or(SYNTAX)?)?;
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(parsed)
    }
}

fn copy(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (from, to) = (args.at(1), args.at(2));
    let CopyOptions { db, replace } = CopyOptions::parse(locked, args.from(3))?;
    if db == locked.db && from == to {
        return Err(SAME_OBJECT);
    }
    if locked.read(from).is_none() {
        reply.int(0);
        return Ok(());
    }
    let replaced = locked.in_database(db, |locked| locked.exists(to));
    if replaced && !replace {
        reply.int(0);
        return Ok(());
    }
    let (env, mut buffer) = (locked.env(), Vec::new());
    if let Some((table, pos)) = locked.place(from) {
        let expiry = table.entry(pos).expiry();
        let content = table.duplicate(pos, env, &mut buffer)?;
        locked.in_database(db, |locked| {
            locked.set(to, content, Expiry::Set(expiry))?;
            if replaced {
                locked.created(to);
            }
            locked.changed(Class::GENERIC, "copy_to", to);
            Ok::<(), Error>(())
        })?;
    }
    reply.int(1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::Server;

    /// Runs commands on an empty server whose time stands still, and compares their replies.
    fn check(lines: &[(&str, &str)]) {
        let server = Server::builder().manual_clock(1_700_000_000_000).build().unwrap();
        let mut connection = server.connect();
        for (line, expected) in lines {
            let reply = connection.execute(line.split(' ')).to_string();
            assert_eq!(&reply, expected, "{line:.80}");
            server.engine().validate();
        }
    }

    #[test]
    fn a_value_keeps_its_form_wherever_it_goes() {
        let far = "far".repeat(500);
        for (store, encoding) in [
            ("SET a 12".to_owned(), "\"int\""),
            ("SET a short".to_owned(), "\"embstr\""),
            (format!("SET a {}", "x".repeat(100)), "\"raw\""),
            (format!("SET a {}", "x".repeat(100_000)), "\"raw\""),
        ] {
            check(&[
                (&store, "OK"),
                ("SET b other EX 10", "OK"),
                ("PEXPIREAT a 1700000001000", "(integer) 1"),
                ("RENAME a b", "OK"),
                (&format!("RENAME b {far}"), "OK"),
                (&format!("MOVE {far} 3"), "(integer) 1"),
                ("DBSIZE", "(integer) 0"),
                ("SWAPDB 0 3", "OK"),
                (&format!("COPY {far} c"), "(integer) 1"),
                ("OBJECT ENCODING c", encoding),
                (&format!("OBJECT ENCODING {far}"), encoding),
                ("PTTL c", "(integer) 1000"),
                (&format!("PTTL {far}"), "(integer) 1000"),
                ("DBSIZE", "(integer) 2"),
            ]);
        }
    }

    #[test]
    fn an_expired_key_stands_in_nobodys_way() {
        let server = Server::builder().manual_clock(1_700_000_000_000).build().unwrap();
        let mut connection = server.connect();
        let mut run = |line: &str| connection.execute(line.split(' ')).to_string();
        run("SET old 1 PX 5");
        run("SET other 1 PX 5");
        run("SET new 2");
        server.engine().clock().advance(std::time::Duration::from_millis(5));
        assert_eq!(run("DBSIZE"), "(integer) 3");
        assert_eq!(run("RENAMENX new old"), "(integer) 1");
        assert_eq!(run("RENAME other old"), "(error) ERR no such key");
        assert_eq!(run("PTTL old"), "(integer) -1");
        assert_eq!(run("RANDOMKEY"), "\"old\"");
        assert_eq!(run("DBSIZE"), "(integer) 1");
    }
}
