//! Sets. Each command's row stands above its function, in the file of its theme:
//!
//! ```text
//! write.rs      one member at a time: SADD, SREM, SMOVE
//! lookup.rs     what is there: SCARD, SISMEMBER, SMISMEMBER, SMEMBERS
//! combine.rs    several sets made one: SUNION, SINTER, SDIFF
//! random.rs     SPOP, SRANDMEMBER
//! scan.rs       SSCAN
//! ```
//!
//! A set that becomes empty is no key any more: who removes members calls [`Removal::tell`](super::removal::Removal::tell) afterwards.

use larder_protocol::Reply;
use larder_storage::types::pack::Element;
use larder_storage::types::set::SetRef;

use super::command::Command;

mod combine;
mod lookup;
mod random;
mod scan;
mod write;

pub(super) const COMMANDS: &[Command] = &[
    write::SADD,
    write::SREM,
    write::SMOVE,
    lookup::SCARD,
    lookup::SISMEMBER,
    lookup::SMISMEMBER,
    lookup::SMEMBERS,
    combine::SUNION,
    combine::SUNIONSTORE,
    combine::SINTER,
    combine::SINTERSTORE,
    combine::SINTERCARD,
    combine::SDIFF,
    combine::SDIFFSTORE,
    random::SPOP,
    random::SRANDMEMBER,
    scan::SSCAN,
];

/// Answers a member.
#[inline]
fn bulk(reply: &mut Reply, member: Element<'_>) {
    match member {
        Element::Int(number) => reply.bulk_int(number),
        Element::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// Answers all members, as a set.
fn members(reply: &mut Reply, set: SetRef<'_>) {
    reply.set(set.len());
    set.iter().for_each(|member| bulk(reply, member));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use crate::{Connection, Server, Value};

    /// What is there, as a client sees it.
    fn contents(connection: &mut Connection) -> Vec<BTreeSet<String>> {
        let members = |key: &str, connection: &mut Connection| match connection.execute(["SMEMBERS", key]) {
            Value::Array(members) | Value::Set(members) => members.iter().map(Value::to_string).collect(),
            other => panic!("{other:?}"),
        };
        ["a", "b", "c", "d", "ints", "large", "gone"].map(|key| members(key, connection)).to_vec()
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
        let names = |names: std::ops::Range<u32>| names.map(|name| format!("m{name}")).collect::<Vec<_>>().join(" ");
        let numbers = (0..400).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        let commands = [
            format!("SADD large {}", names(0..3000)),
            format!("SADD ints {numbers}"),
            "SADD a one two three 4 5".into(),
            "SADD a one".into(),
            "SREM a nobody".into(),
            "SMOVE a b one".into(),
            "SMOVE a b nobody".into(),
            "SPOP a".into(),
            "SPOP ints 150".into(),
            // One by one, in two commands, and then so many that the rest is told instead.
            "SPOP large 1100".into(),
            "SPOP large 1850".into(),
            "SUNIONSTORE c a ints".into(),
            "SINTERSTORE d c ints".into(),
            "SDIFFSTORE d c ints".into(),
            "SINTERSTORE b none c".into(),
            "SADD gone x y".into(),
            "SPOP gone 5".into(),
            "SPOP gone".into(),
        ];
        for command in commands {
            connection.execute(command.split(' '));
        }
        server.engine().validate();

        let recorded = recorded.lock().unwrap();
        let names: Vec<String> = recorded.iter().map(|words| String::from_utf8_lossy(&words[0]).into()).collect();
        assert_eq!(
            names.join(" "),
            "SADD SADD SADD SMOVE SREM SREM SREM SREM SREM SREM SUNIONSTORE SINTERSTORE SDIFFSTORE SINTERSTORE SADD DEL"
        );
        let replica = Server::builder().build().unwrap();
        let mut other = replica.connect();
        for words in recorded.iter() {
            other.execute(words);
        }
        assert_eq!(contents(&mut other), contents(&mut connection));
        replica.engine().validate();
    }
}
