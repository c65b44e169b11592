//! SSCAN: a pass over a set in steps.

use larder_protocol::{Args, Reply};
use larder_storage::types::set::Set;

use super::super::command::*;
use super::super::scan::{ScanOptions, answer_no_step, answer_step, parse_cursor};
use super::bulk;
use crate::error::Outcome;
use crate::locked::Locked;

pub(super) const SSCAN: Command = Command::read("SSCAN", Arity::at_least(2), &[key(1, RO | ACCESS)], sscan)
    .group(Group::Set)
    .since("2.8.0")
    .syntax("key cursor [MATCH pattern] [COUNT count]")
    .summary("Shows some members of a set, and the cursor for the next call.")
    .complexity("O(COUNT) per call, O(N) for a pass over N members")
    .tips(&["nondeterministic_output"])
    .examples(&[
        ("SADD primes 7 3 5", "(integer) 3"),
        ("SSCAN primes 0", "1) \"0\"\n2) 1) \"3\"\n   2) \"5\"\n   3) \"7\""),
        ("SSCAN primes 0 MATCH 5* COUNT 100", "1) \"0\"\n2) 1) \"5\""),
        ("SSCAN primes here", "(error) ERR invalid cursor"),
    ]);

fn sscan(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let cursor = parse_cursor(args.at(2))?;
    let Some(set) = locked.read_as::<Set>(args.at(1))? else {
        answer_no_step(reply);
        return Ok(());
    };
    let options = ScanOptions::parse(args.from(3), false)?;
    answer_step(cursor, options.count, reply, |cursor, found| {
        set.scan(cursor, |member| {
            found.seen += 1;
            if options.pattern.matches(member.text(&mut itoa::Buffer::new())) {
                bulk(&mut found.reply, member);
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
    fn a_pass_shows_every_member_that_stays() {
        let mut connection = crate::Server::builder().build().unwrap().connect();
        for member in 0..500 {
            drop(connection.execute(["SADD", "s", &format!("m{member}")]));
        }
        let (mut cursor, mut shown) = ("0".to_owned(), BTreeSet::new());
        for step in 0.. {
            let Value::Array(reply) = connection.execute(["SSCAN", "s", &cursor, "COUNT", "5"]) else { panic!() };
            cursor = reply[0].to_string().trim_matches('"').to_owned();
            let Value::Array(members) = &reply[1] else { panic!() };
            shown.extend(members.iter().map(Value::to_string));
            // What comes and goes meanwhile does not disturb it.
            drop(connection.execute(["SREM", "s", &format!("m{}", 400 + step % 100)]));
            drop(connection.execute(["SADD", "s", &format!("new{step}")]));
            if cursor == "0" {
                break;
            }
        }
        assert!((0..400).all(|member| shown.contains(&format!("\"m{member}\""))));
    }
}
