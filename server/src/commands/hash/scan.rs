//! HSCAN: a pass over a hash in steps.

use larder_protocol::{Args, Reply};
use larder_storage::types::hash::Hash;

use super::super::command::*;
use super::super::scan::{ScanOptions, answer_no_step, answer_step, parse_cursor};
use super::bulk;
use crate::error::Outcome;
use crate::locked::Locked;

pub(super) const HSCAN: Command = Command::read("HSCAN", Arity::at_least(2), &[key(1, RO | ACCESS)], hscan)
    .group(Group::Hash)
    .since("2.8.0")
    .syntax("key cursor [MATCH pattern] [COUNT count] [NOVALUES]")
    .summary("Shows some fields of a hash, with their values unless asked not to, and the cursor for the next call.")
    .complexity("O(COUNT) per call, O(N) for a pass over N fields")
    .tips(&["nondeterministic_output"])
    .examples(&[
        ("HSET ada born 1815 died 1852", "(integer) 2"),
        ("HSCAN ada 0 MATCH b*", "1) \"0\"\n2) 1) \"born\"\n   2) \"1815\""),
        ("HSCAN ada 0 NOVALUES", "1) \"0\"\n2) 1) \"born\"\n   2) \"died\""),
        ("HSCAN ada here", "(error) ERR invalid cursor"),
    ]);

fn hscan(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let now = locked.now;
    let cursor = parse_cursor(args.at(2))?;
    let Some(hash) = locked.read_as::<Hash>(args.at(1))? else {
        answer_no_step(reply);
        return Ok(());
    };
    let options = ScanOptions::parse_for_hash(args.from(3))?;
    answer_step(cursor, options.count, reply, |cursor, found| {
        hash.scan(cursor, |field| {
            found.seen += 1;
            if field.has_expired(now) || !options.pattern.matches(field.name.text(&mut itoa::Buffer::new())) {
                return;
            }
            bulk(&mut found.reply, field.name);
            found.count += 1;
            if !options.no_values {
                bulk(&mut found.reply, field.value);
                found.count += 1;
            }
        })
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use larder_protocol::Value;

    #[test]
    fn a_pass_shows_every_field_that_stays() {
        let mut connection = crate::Server::builder().build().unwrap().connect();
        for field in 0..2000 {
            drop(connection.execute(["HSET", "h", &field.to_string(), "v"]));
        }
        let (mut cursor, mut shown) = ("0".to_owned(), BTreeSet::new());
        for step in 0.. {
            let Value::Array(reply) = connection.execute(["HSCAN", "h", &cursor, "COUNT", "5", "NOVALUES"]) else {
                panic!()
            };
            cursor = reply[0].to_string().trim_matches('"').to_owned();
            let Value::Array(fields) = &reply[1] else { panic!() };
            shown.extend(fields.iter().map(ToString::to_string));
            // What comes and goes meanwhile does not disturb it.
            drop(connection.execute(["HDEL", "h", &(1000 + step * 7 % 1000).to_string()]));
            drop(connection.execute(["HSET", "h", &format!("new{step}"), "v"]));
            if cursor == "0" {
                break;
            }
        }
        assert!((0..1000).all(|field| shown.contains(&format!("\"{field}\""))));
    }
}
