//! Lists. Each command's row stands above its function, in the file of its theme:
//!
//! ```text
//! push.rs       added at either end: LPUSH, RPUSH, LPUSHX, RPUSHX
//! pop.rs        taken from either end: LPOP, RPOP, LMPOP
//! read.rs       LLEN, LINDEX, LRANGE, LPOS
//! write.rs      changed within: LSET, LINSERT, LTRIM, LREM
//! transfer.rs   from one list to another: LMOVE, RPOPLPUSH
//! blocking.rs   the same, waiting for an element: BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH
//! ```
//!
//! A list that becomes empty is no key any more: who removes elements calls [`Removal::tell`](super::removal::Removal::tell) afterwards.

use larder_protocol::Reply;
use larder_storage::types::list::End;
use larder_storage::types::pack::Element;

use super::command::Command;
use super::parse::is;
use crate::error::{Error, SYNTAX};

mod blocking;
mod pop;
mod push;
mod read;
mod transfer;
mod write;

pub(super) const COMMANDS: &[Command] = &[
    push::LPUSH,
    push::RPUSH,
    push::LPUSHX,
    push::RPUSHX,
    pop::LPOP,
    pop::RPOP,
    pop::LMPOP,
    read::LLEN,
    read::LINDEX,
    read::LRANGE,
    read::LPOS,
    write::LSET,
    write::LINSERT,
    write::LTRIM,
    write::LREM,
    transfer::LMOVE,
    transfer::RPOPLPUSH,
    blocking::BLPOP,
    blocking::BRPOP,
    blocking::BLMPOP,
    blocking::BLMOVE,
    blocking::BRPOPLPUSH,
];

/// Reads LEFT or RIGHT.
fn end(arg: &[u8]) -> Result<End, Error> {
    match () {
        () if is(arg, "LEFT") => Ok(End::Left),
        () if is(arg, "RIGHT") => Ok(End::Right),
        () => Err(SYNTAX),
    }
}

/// The event of an element that comes in at an end.
fn pushed(end: End) -> &'static str {
    match end {
        End::Left => "lpush",
        End::Right => "rpush",
    }
}

/// The event of elements that are taken from an end.
fn popped(end: End) -> &'static str {
    match end {
        End::Left => "lpop",
        End::Right => "rpop",
    }
}

#[inline]
fn answer(reply: &mut Reply, element: Element<'_>) {
    match element {
        Element::Int(number) => reply.bulk_int(number),
        Element::Bytes(text) => reply.bulk(text),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::{Connection, Server};

    /// What is there, as a client sees it.
    fn contents(connection: &mut Connection) -> Vec<String> {
        ["a", "b", "c", "large"].map(|key| connection.execute(["LRANGE", key, "0", "-1"]).to_string()).to_vec()
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
        let large: Vec<String> = (0..3000).map(|number| format!("element-{number}")).collect();
        connection.execute(format!("RPUSH large {}", large.join(" ")).split(' '));
        let commands = [
            "RPUSH a 1 two 3 four 3",
            "LPUSHX missing 1",
            "LINSERT a BEFORE two 1.5",
            "LINSERT a AFTER nothing x",
            "LMPOP 2 none a LEFT COUNT 2",
            "BLPOP none a 0",
            "LMOVE a b RIGHT LEFT",
            "BLMOVE a b LEFT RIGHT 0",
            "BRPOPLPUSH large c 0",
            "LREM large 0 element-1500",
            "LREM large 0 nothing",
            "LTRIM large 100 -100",
            "LTRIM large 0 -1",
            "LSET large 7 changed",
            "BLMPOP 0 1 large RIGHT COUNT 1000",
            "RPOP b 9",
        ];
        for command in commands {
            connection.execute(command.split(' '));
        }
        server.engine().validate();

        let recorded = recorded.lock().unwrap();
        let names: Vec<String> = recorded.iter().map(|words| String::from_utf8_lossy(&words[0]).into()).collect();
        // What changed nothing has no effect; who waited for an element has taken it.
        let expected = "RPUSH RPUSH LINSERT LPOP LPOP LMOVE LMOVE RPOPLPUSH LREM LTRIM LSET RPOP RPOP";
        assert_eq!(names.join(" "), expected);
        let replica = Server::builder().build().unwrap();
        let mut other = replica.connect();
        for words in recorded.iter() {
            other.execute(words);
        }
        assert_eq!(contents(&mut other), contents(&mut connection));
    }
}
