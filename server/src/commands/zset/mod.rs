//! Sorted sets. Each command's row stands above its function, in the file of its theme:
//!
//! ```text
//! write.rs      one member at a time: ZADD, ZINCRBY, ZREM
//! lookup.rs     what is known of a member: ZSCORE, ZRANK, ...
//! range.rs      parts of a set, by rank, score or member: read, stored, counted, removed
//! combine.rs    several sets made one: ZUNION, ZINTER, ZDIFF
//! pop.rs        taken from either end
//! random.rs     ZRANDMEMBER
//! scan.rs       ZSCAN
//! ```
//!
//! A set that becomes empty is no key any more: who removes elements calls [`Removal::tell`](super::removal::Removal::tell) afterwards.

use larder_protocol::{Proto, Reply};
use larder_storage::table::Expiry;
use larder_storage::types::zset::ZSet;
use larder_storage::value::{Content, Object};

use super::command::Command;
use super::parse::natural;
use crate::config::KeyspaceEvents as Class;
use crate::error::Outcome;
use crate::locked::Locked;

mod blocking;
mod combine;
mod lookup;
mod pop;
mod random;
mod range;
mod scan;
mod write;

pub(super) use combine::in_order;
pub(super) use write::{AddOptions, add_elements};

pub(super) const COMMANDS: &[Command] = &[
    write::ZADD,
    write::ZINCRBY,
    write::ZREM,
    lookup::ZCARD,
    lookup::ZSCORE,
    lookup::ZMSCORE,
    lookup::ZRANK,
    lookup::ZREVRANK,
    range::ZRANGE,
    range::ZRANGESTORE,
    range::ZREVRANGE,
    range::ZRANGEBYSCORE,
    range::ZREVRANGEBYSCORE,
    range::ZRANGEBYLEX,
    range::ZREVRANGEBYLEX,
    range::ZCOUNT,
    range::ZLEXCOUNT,
    range::ZREMRANGEBYRANK,
    range::ZREMRANGEBYSCORE,
    range::ZREMRANGEBYLEX,
    combine::ZUNION,
    combine::ZUNIONSTORE,
    combine::ZINTER,
    combine::ZINTERSTORE,
    combine::ZINTERCARD,
    combine::ZDIFF,
    combine::ZDIFFSTORE,
    pop::ZPOPMIN,
    pop::ZPOPMAX,
    pop::ZMPOP,
    blocking::BZPOPMIN,
    blocking::BZPOPMAX,
    blocking::BZMPOP,
    random::ZRANDMEMBER,
    scan::ZSCAN,
];

/// How members stand beside their scores in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// No scores.
    Members,
    /// Member, score, member, score.
    Flat,
    /// As `Flat`, in an array that has begun already.
    Plain,
    /// An array of two for each.
    Pairs,
}

impl Layout {
    /// The usual one: clients of RESP3 get pairs.
    fn usual(with_scores: bool, proto: Proto) -> Self {
        match (with_scores, proto) {
            (false, _) => Self::Members,
            (true, Proto::Resp2) => Self::Flat,
            (true, Proto::Resp3) => Self::Pairs,
        }
    }

    /// Announces so many elements.
    #[inline]
    fn begin(self, reply: &mut Reply, elements: usize) {
        match self {
            Self::Plain => {}
            Self::Flat => reply.array(elements * 2),
            Self::Members | Self::Pairs => reply.array(elements),
        }
    }

    #[inline]
    fn element(self, reply: &mut Reply, member: &[u8], score: f64) {
        if self == Self::Pairs {
            reply.array(2);
        }
        reply.bulk(member);
        if self != Self::Members {
            reply.double(score);
        }
    }

    /// Answers elements in the order in which they come.
    #[inline]
    fn answer<'a>(self, reply: &mut Reply, elements: impl ExactSizeIterator<Item = (&'a [u8], f64)>) {
        self.begin(reply, elements.len());
        elements.for_each(|(member, score)| self.element(reply, member, score));
    }
}

/// Stores a set under a key, whatever that held, and answers its size. An empty one removes the key.
pub(super) fn store(
    locked: &mut Locked<'_>,
    key: &[u8],
    zset: ZSet,
    event: &'static str,
    reply: &mut Reply,
) -> Outcome {
    let len = zset.as_ref().len();
    if len > 0 {
        locked.set(key, Content::Object(Object::ZSet(zset)), Expiry::Set(None))?;
        locked.changed(Class::ZSET, event, key);
    } else if locked.remove(key) {
        locked.changed(Class::GENERIC, "del", key);
    }
    reply.int(len as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::{Connection, Server};

    /// What is there, as a client sees it.
    fn contents(connection: &mut Connection) -> Vec<String> {
        let range = |key: &str, connection: &mut Connection| {
            connection.execute(["ZRANGE", key, "0", "-1", "WITHSCORES"]).to_string()
        };
        ["a", "b", "c", "large"].map(|key| range(key, connection)).to_vec()
    }

    #[test]
    fn recorded_effects_repeat_what_was_done() {
        let recorded = Arc::new(Mutex::new(Vec::new()));
        let record = recorded.clone();
        let server = Server::builder().record(move |group| {
            let words = |effect: &crate::effects::Effect| {
                effect.command.as_args().iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
            };
            record.lock().unwrap().extend(group.effects().iter().map(words));
        });
        let server = server.build().unwrap();
        let mut connection = server.connect();
        let large: Vec<String> = (0..300).map(|member| format!("{member} m{member}")).collect();
        let commands = [
            "ZADD a 1 one 2 two 3 three 4 four",
            "ZADD a XX 9 nobody",
            "ZADD a INCR 5 one",
            "ZINCRBY b 1.5 x",
            "ZREM a nobody",
            "ZMPOP 2 none a MAX COUNT 2",
            "ZPOPMIN b",
            "ZPOPMIN b",
            "ZRANGESTORE c large 10 20 REV",
            "ZUNIONSTORE a 2 a c WEIGHTS 2 3",
            "ZREMRANGEBYSCORE c -inf (285",
            "ZDIFFSTORE b 2 c a",
        ];
        connection.execute(format!("ZADD large {}", large.join(" ")).split(' '));
        for command in commands {
            connection.execute(command.split(' '));
        }
        server.engine().validate();

        let recorded = recorded.lock().unwrap();
        let names: Vec<String> = recorded.iter().map(|words| String::from_utf8_lossy(&words[0]).into()).collect();
        // What changed nothing has no effect; the member that ZMPOP took is named by its end.
        assert_eq!(names.join(" "), "ZADD ZADD ZADD ZINCRBY ZPOPMAX ZPOPMIN ZRANGESTORE ZUNIONSTORE ZREMRANGEBYSCORE");
        let replica = Server::builder().build().unwrap();
        let mut other = replica.connect();
        for words in recorded.iter() {
            other.execute(words);
        }
        assert_eq!(contents(&mut other), contents(&mut connection));
    }
}
