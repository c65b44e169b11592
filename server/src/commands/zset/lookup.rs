//! What is known of a set's members without going through it: size, scores, ranks.

use larder_protocol::{Args, Reply};
use larder_storage::types::zset::ZSet;

use super::super::command::*;
use super::super::parse::is;
use crate::error::{Outcome, SYNTAX, wrong_arity};
use crate::locked::Locked;

pub(super) const ZCARD: Command = Command::read("ZCARD", Arity::exactly(1), &[key(1, RO)], zcard)
    .flags(FAST)
    .group(Group::SortedSet)
    .since("1.2.0")
    .syntax("key")
    .complexity("O(1)")
    .summary("Answers how many members a sorted set has.")
    .examples(&[
        ("ZADD race 31.5 ada 29 bo", "(integer) 2"),
        ("ZCARD race", "(integer) 2"),
        ("ZCARD nobody", "(integer) 0"),
    ]);

pub(super) const ZSCORE: Command = Command::read("ZSCORE", Arity::exactly(2), &[key(1, RO | ACCESS)], zscore)
    .flags(FAST)
    .member(2)
    .group(Group::SortedSet)
    .since("1.2.0")
    .syntax("key member")
    .complexity("O(1)")
    .summary("Answers the score of a member of a sorted set.")
    .examples(&[("ZADD race 31.5 ada", "(integer) 1"), ("ZSCORE race ada", "\"31.5\""), ("ZSCORE race bo", "(nil)")]);

pub(super) const ZMSCORE: Command = Command::read("ZMSCORE", Arity::at_least(2), &[key(1, RO | ACCESS)], zmscore)
    .flags(FAST)
    .group(Group::SortedSet)
    .since("6.2.0")
    .syntax("key member...")
    .summary("Answers the scores of several members of a sorted set.")
    .complexity("O(N) for N members")
    .examples(&[
        ("ZADD race 31.5 ada 29 bo", "(integer) 2"),
        ("ZMSCORE race bo cy ada", "1) \"29\"\n2) (nil)\n3) \"31.5\""),
        ("ZMSCORE nobody bo", "1) (nil)"),
    ]);

pub(super) const ZRANK: Command = Command::read("ZRANK", Arity::at_least(2), &[key(1, RO | ACCESS)], zrank)
    .flags(FAST)
    .member(2)
    .group(Group::SortedSet)
    .since("2.0.0")
    .syntax("key member [WITHSCORE]")
    .summary("Answers how many members of a sorted set stand before one, the lowest score first.")
    .complexity("O(log(N)), N being the size of the set")
    .examples(&[
        ("ZADD race 31.5 ada 29 bo", "(integer) 2"),
        ("ZRANK race ada", "(integer) 1"),
        ("ZRANK race ada WITHSCORE", "1) (integer) 1\n2) \"31.5\""),
        ("ZRANK race cy", "(nil)"),
    ]);

pub(super) const ZREVRANK: Command = Command::read("ZREVRANK", Arity::at_least(2), &[key(1, RO | ACCESS)], zrevrank)
    .flags(FAST)
    .member(2)
    .group(Group::SortedSet)
    .since("2.0.0")
    .syntax("key member [WITHSCORE]")
    .summary("Answers how many members of a sorted set stand before one, the highest score first.")
    .complexity("O(log(N)), N being the size of the set")
    .examples(&[
        ("ZADD race 31.5 ada 29 bo", "(integer) 2"),
        ("ZREVRANK race ada", "(integer) 0"),
        ("ZREVRANK race bo WITHSCORE", "1) (integer) 1\n2) \"29\""),
        ("ZREVRANK race bo ada", "(error) ERR syntax error"),
    ]);

fn zcard(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let zset = locked.read_as::<ZSet>(args.at(1))?;
    reply.int(zset.map_or(0, |zset| zset.len()) as i64);
    Ok(())
}

fn zscore(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let env = locked.env();
    let zset = locked.read_as::<ZSet>(args.at(1))?;
    match zset.and_then(|zset| zset.score(env, args.at(2))) {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
    Ok(())
}

fn zmscore(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let env = locked.env();
    let zset = locked.read_as::<ZSet>(args.at(1))?;
    let members = args.from(2);
    reply.array(members.len());
    for member in members.iter() {
        match zset.and_then(|zset| zset.score(env, member)) {
            Some(score) => reply.double(score),
            None => reply.null(),
        }
    }
    Ok(())
}

fn zrank(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    rank(locked, args, "zrank", |rank, _| rank, reply)
}

fn zrevrank(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    rank(locked, args, "zrevrank", |rank, len| len - 1 - rank, reply)
}

/// `place` makes the answer from the rank and the size of the set.
fn rank(
    locked: &mut Locked<'_>,
    args: Args<'_>,
    name: &str,
    place: fn(usize, usize) -> usize,
    reply: &mut Reply,
) -> Outcome {
    if args.len() > 4 {
        return Err(wrong_arity(name));
    }
    let with_score = match args.get(3) {
        None => false,
        Some(word) if is(word, "WITHSCORE") => true,
        Some(_) => return Err(SYNTAX),
    };
    let env = locked.env();
    let zset = locked.read_as::<ZSet>(args.at(1))?;
    let found = zset.and_then(|zset| zset.rank(env, args.at(2)).map(|(rank, score)| (place(rank, zset.len()), score)));
    match found {
        Some((rank, score)) if with_score => {
            reply.array(2);
            reply.int(rank as i64);
            reply.double(score);
        }
        Some((rank, _)) => reply.int(rank as i64),
        None if with_score => reply.null_array(),
        None => reply.null(),
    }
    Ok(())
}
