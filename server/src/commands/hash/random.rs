//! HRANDFIELD: fields drawn at random, each as likely as any other.

use std::collections::HashSet;

use larder_protocol::{Args, Proto, Reply};
use larder_storage::rng::Rng;
use larder_storage::types::Env;
use larder_storage::types::hash::{Field, Hash, HashRef};

use super::super::command::*;
use super::super::draw::{Draw, SPARSE_FROM};
use super::bulk;
use crate::error::{OUT_OF_RANGE, Outcome};
use crate::locked::Locked;

pub(super) const HRANDFIELD: Command =
    Command::read("HRANDFIELD", Arity::at_least(1), &[key(1, RO | ACCESS)], hrandfield)
        .group(Group::Hash)
        .since("6.2.0")
        .syntax("key [count [WITHVALUES]]")
        .summary("Answers fields of a hash drawn at random; a negative count draws each anew from all.")
        .complexity("O(N) for N answered fields")
        .tips(&["nondeterministic_output"])
        .examples(&[
            ("HSET ada born 1815", "(integer) 1"),
            ("HRANDFIELD ada", "\"born\""),
            ("HRANDFIELD ada 5", "1) \"born\""),
            ("HRANDFIELD ada -2 WITHVALUES", "1) \"born\"\n2) \"1815\"\n3) \"born\"\n4) \"1815\""),
            ("HRANDFIELD nobody 5", "(empty array)"),
        ]);

fn hrandfield(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let key = args.at(1);
    let draw = Draw::parse(args.from(2), "WITHVALUES")?;
    let most_bytes = locked.engine().settings().proto_max_bulk_len.as_usize();
    // None that has expired may be drawn, and drawing again could take for ever.
    locked.expire_all_fields(key);
    let hash = locked.hash(key);
    // A generator of its own, seeded by the shard's, as that cannot be borrowed beside the hash.
    let seed = locked.shards().of(hash).shard.rng.next_u64();
    let mut drawer = Drawer { env: locked.env(), rng: Rng::seeded(seed), with_values: false };
    let Some(hash) = locked.read_as::<Hash>(key)? else {
        match draw {
            Draw::One => reply.null(),
            Draw::Many { .. } => reply.array(0),
        }
        return Ok(());
    };
    let Draw::Many { count, with_values } = draw else {
        if let Some(field) = hash.random(drawer.env, &mut drawer.rng) {
            bulk(reply, field.name);
        }
        return Ok(());
    };
    drawer.with_values = with_values;
    match usize::try_from(count) {
        Ok(count) => drawer.draw_different(hash, count, reply),
        Err(_) => drawer.draw_again(hash, count.unsigned_abs(), most_bytes, reply)?,
    }
    Ok(())
}

struct Drawer<'a> {
    env: Env<'a>,
    rng: Rng,
    with_values: bool,
}

impl Drawer<'_> {
    fn begin(&self, reply: &mut Reply, fields: usize) {
        let is_flat = self.with_values && reply.proto() == Proto::Resp2;
        reply.array(if is_flat { fields * 2 } else { fields });
    }

    /// Answers a field; with its value in RESP3 as an array of two.
    fn show(&self, reply: &mut Reply, field: Field<'_>) {
        if self.with_values && reply.proto() == Proto::Resp3 {
            reply.array(2);
        }
        bulk(reply, field.name);
        if self.with_values {
            bulk(reply, field.value);
        }
    }

    fn draw_different(&mut self, hash: HashRef<'_>, count: usize, reply: &mut Reply) {
        let len = hash.len();
        let count = count.min(len);
        self.begin(reply, count);
        if count == len {
            return hash.each(|field| self.show(reply, field));
        }
        if matches!(hash, HashRef::Packed(_)) || count > len / SPARSE_FROM {
            // Knuth, The Art of Computer Programming 2, algorithm 3.4.2S.
            let (mut missing, mut left) = (count, len);
            return hash.each(|field| {
                if self.rng.index(left) < missing {
                    self.show(reply, field);
                    missing -= 1;
                }
                left -= 1;
            });
        }
        let mut drawn = HashSet::with_capacity(count);
        while drawn.len() < count {
            let Some(field) = hash.random(self.env, &mut self.rng) else { break };
            // Names of a large hash stand still while it is read.
            if let larder_storage::types::pack::Element::Bytes(name) = field.name
                && drawn.insert(name.as_ptr())
            {
                self.show(reply, field);
            }
        }
    }

    /// Draws each field anew from all. The answer may not become longer than `most_bytes`: what is asked for in a few
    /// bytes must not fill the memory.
    fn draw_again(&mut self, hash: HashRef<'_>, count: u64, most_bytes: usize, reply: &mut Reply) -> Outcome {
        /// Bytes of the shortest field, an empty one.
        const SHORTEST: u64 = 6;
        if count > most_bytes as u64 / SHORTEST {
            return Err(OUT_OF_RANGE);
        }
        self.begin(reply, count as usize);
        let most = reply.len().saturating_add(most_bytes);
        for _ in 0..count {
            if let Some(field) = hash.random(self.env, &mut self.rng) {
                self.show(reply, field);
            }
            if reply.len() > most {
                return Err(OUT_OF_RANGE);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use larder_protocol::Value;

    use super::*;

    #[test]
    fn every_field_is_as_likely_as_any_other() {
        // Both forms of a hash, and all ways to draw.
        for (limit, fields, count) in
            [("512", 40, 10), ("0", 160, 10), ("0", 160, 120), ("512", 40, 1), ("0", 160, 1), ("0", 160, -10)]
        {
            let server = crate::Server::builder().seed(1).option("hash-max-listpack-entries", limit);
            let mut connection = server.build().unwrap().connect();
            for field in 0..fields {
                drop(connection.execute(["HSET", "h", &field.to_string(), "v"]));
            }
            let mut times = BTreeMap::new();
            for _ in 0..400 * fields / (count as i64).unsigned_abs() as usize {
                let Value::Array(drawn) = connection.execute(["HRANDFIELD", "h", &count.to_string()]) else { panic!() };
                assert_eq!(drawn.len() as i64, (count as i64).abs());
                let different: HashSet<String> = drawn.iter().map(Value::to_string).collect();
                assert!(count < 0 || different.len() == drawn.len());
                drawn.iter().for_each(|field| *times.entry(field.to_string()).or_insert(0) += 1);
            }
            assert_eq!(times.len(), fields);
            // 400 are expected of each; six standard deviations are 120.
            assert!(times.values().all(|times| (280..520).contains(times)), "{fields} {count}: {times:?}");
        }
    }

    #[test]
    fn a_huge_count_is_refused() {
        let mut connection = crate::Server::builder().build().unwrap().connect();
        drop(connection.execute(["HSET", "h", "f", "v"]));
        for count in [i64::MIN + 1, -1 << 40] {
            let reply = connection.execute(["HRANDFIELD", "h", &count.to_string()]);
            assert_eq!(reply.to_string(), "(error) ERR value is out of range");
        }
        assert_eq!(connection.execute(["HRANDFIELD", "h", &i64::MAX.to_string()]).to_string(), "1) \"f\"");
    }
}
