//! ZRANDMEMBER: members drawn at random, each element as likely as any other.

use std::collections::HashSet;

use larder_protocol::{Args, Reply};
use larder_storage::rng::Rng;
use larder_storage::types::zset::{ZSet, ZSetRef};

use super::super::command::*;
use super::super::draw::{Draw, SPARSE_FROM};
use super::Layout;
use crate::error::{OUT_OF_RANGE, Outcome};
use crate::locked::Locked;

pub(super) const ZRANDMEMBER: Command =
    Command::read("ZRANDMEMBER", Arity::at_least(1), &[key(1, RO | ACCESS)], zrandmember)
        .group(Group::SortedSet)
        .since("6.2.0")
        .syntax("key [count [WITHSCORES]]")
        .summary("Answers members of a sorted set drawn at random; a negative count draws each anew from all.")
        .complexity("O(N) for N answered members")
        .tips(&["nondeterministic_output"])
        .examples(&[
            ("ZADD race 29 bo", "(integer) 1"),
            ("ZRANDMEMBER race", "\"bo\""),
            ("ZRANDMEMBER race 5", "1) \"bo\""),
            ("ZRANDMEMBER race -2 WITHSCORES", "1) \"bo\"\n2) \"29\"\n3) \"bo\"\n4) \"29\""),
            ("ZRANDMEMBER nobody 5", "(empty array)"),
        ]);

fn zrandmember(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let draw = Draw::parse(args.from(2), "WITHSCORES")?;
    let most_bytes = locked.engine().settings().proto_max_bulk_len.as_usize();
    let hash = locked.hash(args.at(1));
    // A generator of its own, seeded by the shard's, as that cannot be borrowed beside the set.
    let seed = locked.shards().of(hash).shard.rng.next_u64();
    let mut rng = Rng::seeded(seed);
    let Some(zset) = locked.read_as::<ZSet>(args.at(1))? else {
        match draw {
            Draw::One => reply.null(),
            Draw::Many { .. } => reply.array(0),
        }
        return Ok(());
    };
    let Draw::Many { count, with_values } = draw else {
        let rank = rng.index(zset.len());
        zset.range(rank, rank + 1).for_each(|(member, _)| reply.bulk(member));
        return Ok(());
    };
    let layout = Layout::usual(with_values, reply.proto());
    match usize::try_from(count) {
        Ok(count) => draw_different(zset, count, layout, &mut rng, reply),
        Err(_) => draw_again(zset, count.unsigned_abs(), layout, most_bytes, &mut rng, reply)?,
    }
    Ok(())
}

fn draw_different(zset: ZSetRef<'_>, count: usize, layout: Layout, rng: &mut Rng, reply: &mut Reply) {
    let len = zset.len();
    if count >= len {
        // All of them, in the order in which Redis has them.
        return layout.answer(reply, zset.range(0, len).rev());
    }
    layout.begin(reply, count);
    if matches!(zset, ZSetRef::Packed(_)) || count > len / SPARSE_FROM {
        // Knuth, The Art of Computer Programming 2, algorithm 3.4.2S.
        let mut missing = count;
        for (place, (member, score)) in zset.range(0, len).enumerate() {
            if rng.index(len - place) < missing {
                layout.element(reply, member, score);
                missing -= 1;
            }
        }
        return;
    }
    let mut drawn = HashSet::with_capacity(count);
    while drawn.len() < count {
        let rank = rng.index(len);
        if drawn.insert(rank) {
            zset.range(rank, rank + 1).for_each(|(member, score)| layout.element(reply, member, score));
        }
    }
}

/// Draws each element anew from all. The answer may not become longer than `most_bytes`: what is asked for in a few
/// bytes must not fill the memory.
fn draw_again(
    zset: ZSetRef<'_>,
    count: u64,
    layout: Layout,
    most_bytes: usize,
    rng: &mut Rng,
    reply: &mut Reply,
) -> Outcome {
    /// Bytes of the shortest element, an empty one.
    const SHORTEST: u64 = 6;
    if count > most_bytes as u64 / SHORTEST {
        return Err(OUT_OF_RANGE);
    }
    layout.begin(reply, count as usize);
    let most = reply.len().saturating_add(most_bytes);
    for _ in 0..count {
        let rank = rng.index(zset.len());
        zset.range(rank, rank + 1).for_each(|(member, score)| layout.element(reply, member, score));
        if reply.len() > most {
            return Err(OUT_OF_RANGE);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use larder_protocol::Value;

    use super::*;

    fn server_with(members: usize) -> crate::Connection {
        let mut connection = crate::Server::builder().seed(1).build().unwrap().connect();
        for member in 0..members {
            drop(connection.execute(["ZADD", "z", "0", &member.to_string()]));
        }
        connection
    }

    #[test]
    fn every_element_is_as_likely_as_any_other() {
        // Both forms of a set, and both ways to draw different ones.
        for (members, count) in [(40, 10), (160, 10), (160, 120), (40, 1), (160, 1), (160, -10)] {
            let (mut connection, mut times) = (server_with(members), BTreeMap::new());
            let draws = 400 * members / (count as i64).unsigned_abs() as usize;
            for _ in 0..draws {
                let reply = connection.execute(["ZRANDMEMBER", "z", &count.to_string()]);
                let Value::Array(drawn) = reply else { panic!() };
                assert_eq!(drawn.len() as i64, (count as i64).abs());
                let different: HashSet<String> = drawn.iter().map(Value::to_string).collect();
                assert!(count < 0 || different.len() == drawn.len());
                drawn.iter().for_each(|member| *times.entry(member.to_string()).or_insert(0) += 1);
            }
            assert_eq!(times.len(), members);
            // 400 are expected of each; six standard deviations are 120.
            assert!(times.values().all(|times| (280..520).contains(times)), "{members} {count}: {times:?}");
        }
    }

    #[test]
    fn a_huge_count_is_refused() {
        let mut connection = server_with(2);
        for count in [i64::MIN + 1, -1 << 40] {
            let reply = connection.execute(["ZRANDMEMBER", "z", &count.to_string()]);
            assert_eq!(reply.to_string(), "(error) ERR value is out of range");
        }
        let reply = connection.execute(["ZRANDMEMBER", "z", &i64::MAX.to_string()]);
        assert_eq!(reply.to_string(), "1) \"1\"\n2) \"0\"");
    }
}
