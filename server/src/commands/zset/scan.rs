//! ZSCAN: a pass over a sorted set in steps.

use larder_protocol::{Args, Reply};
use larder_storage::types::zset::{ZSet, ZSetRef};

use super::super::command::*;
use super::super::scan::{ScanOptions, answer_no_step, answer_step, parse_cursor};
use crate::error::Outcome;
use crate::locked::Locked;

pub(super) const ZSCAN: Command = Command::read("ZSCAN", Arity::at_least(2), &[key(1, RO | ACCESS)], zscan)
    .group(Group::SortedSet)
    .since("2.8.0")
    .syntax("key cursor [MATCH pattern] [COUNT count]")
    .summary("Shows some members of a sorted set with their scores, and the cursor for the next call.")
    .complexity("O(COUNT) per call, O(N) for a pass over N members")
    .tips(&["nondeterministic_output"])
    .examples(&[
        ("ZADD race 31.5 ada 29 bo", "(integer) 2"),
        ("ZSCAN race 0", "1) \"0\"\n2) 1) \"bo\"\n   2) \"29\"\n   3) \"ada\"\n   4) \"31.5\""),
        ("ZSCAN race 0 MATCH a* COUNT 100", "1) \"0\"\n2) 1) \"ada\"\n   2) \"31.5\""),
        ("ZSCAN race here", "(error) ERR invalid cursor"),
    ]);

fn zscan(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let cursor = parse_cursor(args.at(2))?;
    let Some(zset) = locked.read_as::<ZSet>(args.at(1))? else {
        answer_no_step(reply);
        return Ok(());
    };
    let options = ScanOptions::parse(args.from(3), false)?;
    answer_step(cursor, options.count, reply, |cursor, found| {
        zset.scan(cursor, |member, score| {
            found.seen += 1;
            if options.pattern.matches(member) {
                found.reply.bulk(member);
                write_score(&mut found.reply, zset, score);
                found.count += 2;
            }
        })
    });
    Ok(())
}

/// A score is a string here whatever the protocol, and that of a large set is written as C's `%.17g` does it.
fn write_score(reply: &mut Reply, zset: ZSetRef<'_>, score: f64) {
    if zset.is_skip_list() {
        reply.bulk(seventeen_digits(score).as_bytes());
    } else {
        reply.bulk(larder_protocol::format_double(score).as_bytes());
    }
}

/// A number as C's `%.17g` writes it.
fn seventeen_digits(number: f64) -> String {
    const DIGITS: i32 = 17;
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |decimal: &str| match decimal.contains('.') {
        true => decimal.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => decimal.to_owned(),
    };
    if (-4..DIGITS).contains(&exponent) {
        let decimals = (DIGITS - 1 - exponent) as usize;
        return trimmed(&format!("{number:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use larder_protocol::Value;

    use super::*;

    #[test]
    fn scores_of_large_sets_have_seventeen_digits() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (0.1, "0.10000000000000001"),
            (1.5e300, "1.5000000000000001e+300"),
            (-1e16, "-10000000000000000"),
            (1e17, "1e+17"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(seventeen_digits(number), text);
        }
    }

    #[test]
    fn a_pass_shows_every_member_that_stays() {
        let mut connection = crate::Server::builder().build().unwrap().connect();
        for member in 0..500 {
            drop(connection.execute(["ZADD", "z", &member.to_string(), &member.to_string()]));
        }
        let (mut cursor, mut shown) = ("0".to_owned(), BTreeMap::new());
        for step in 0.. {
            let Value::Array(reply) = connection.execute(["ZSCAN", "z", &cursor, "COUNT", "5"]) else { panic!() };
            cursor = reply[0].to_string().trim_matches('"').to_owned();
            let Value::Array(elements) = &reply[1] else { panic!() };
            for pair in elements.chunks(2) {
                shown.insert(pair[0].to_string(), pair[1].to_string());
            }
            // What comes and goes meanwhile does not disturb it.
            drop(connection.execute(["ZREM", "z", &(400 + step % 100).to_string()]));
            drop(connection.execute(["ZADD", "z", "1000", &format!("new{step}")]));
            if cursor == "0" {
                break;
            }
        }
        for member in 0..400 {
            let member = format!("\"{member}\"");
            assert_eq!(shown.get(&member), Some(&member));
        }
    }
}
