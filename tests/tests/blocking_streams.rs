//! Clients that wait for entries of streams: who is given what, compared with a real redis-server where that does not
//! do otherwise since 7.2.

use larder_tests::{TestServer, scenario};

const SCRIPTS: &[&str] = &[
    // Everybody who reads gets a new entry; what was there before nobody gets.
    "w> XADD s 1-1 a 1
     a~ XREAD BLOCK 0 STREAMS s $
     b~ XREAD BLOCK 0 STREAMS t s 0 $
     c~ XREAD COUNT 1 BLOCK 0 STREAMS s 2-1
     w> XADD s 2-1 a 2
     a<
     b<
     c!
     w> XADD s 3-1 a 3
     c<",
    // Consumers of a group get each entry once, in order of arrival.
    "w> XGROUP CREATE s g $ MKSTREAM
     a~ XREADGROUP GROUP g ada BLOCK 0 STREAMS s >
     b~ XREADGROUP GROUP g bo BLOCK 0 STREAMS s >
     w> XADD s 1-1 a 1
     a<
     b!
     w> XADD s 2-1 a 2
     b<
     w> XPENDING s g
     w> XINFO GROUPS s",
    "w> XGROUP CREATE s g $ MKSTREAM
     a~ XREADGROUP GROUP g ada BLOCK 0 NOACK STREAMS s >
     w> MULTI
     w> XADD s 1-1 a 1
     w> XADD s 2-1 a 2
     w> EXEC
     a<
     w> XPENDING s g",
    // A transaction that takes back what it added serves nobody.
    "a~ XREAD BLOCK 0 STREAMS s 0
     w> MULTI
     w> XADD s 1-1 a 1
     w> DEL s
     w> EXEC
     a!
     w> XADD s 0-1 a 2
     a<",
    "w> XADD s 666 a 1
     a~ XREAD BLOCK 0 STREAMS s 666
     w> XDEL s 666
     a!
     w> ZADD z 1 m
     w> XADD s 667 a 2
     a<",
    // Only a stream serves; renaming brings one, too.
    "a~ XREAD BLOCK 0 STREAMS s 0
     w> ZADD s 1 m
     a!
     w> DEL s
     w> XADD t 1-1 a 1
     w> RENAME t s
     a<",
    "w> XADD s 1-1 a 1
     w> XGROUP CREATE s g 0
     a> XREADGROUP GROUP g ada BLOCK 0 STREAMS s >
     a> XREADGROUP GROUP g ada BLOCK 0 STREAMS s 0
     w> XACK s g 1-1
     a> XREADGROUP GROUP g ada BLOCK 0 STREAMS s 0",
    "a> XREAD BLOCK 10 STREAMS s $
     a~ XREAD BLOCK 0 STREAMS s $
     w> CLIENT UNBLOCK {id of a}
     a<
     a~ XREAD BLOCK 0 STREAMS s $
     w> CLIENT UNBLOCK {id of a} ERROR
     a<",
    // Clients that wait for different types of the same key.
    "a~ BZPOPMIN s 0
     b~ XREAD BLOCK 0 STREAMS s 0
     w> XADD s 1-1 a 1
     b<
     a!
     w> DEL s
     w> ZADD s 1 m
     a<",
];

#[test]
fn in_resp2() {
    scenario::compare(2, SCRIPTS);
}

#[test]
fn in_resp3() {
    scenario::compare(3, SCRIPTS);
}

/// The last frame that a script reads.
fn last(script: &str) -> String {
    let read = scenario::run(&TestServer::with(&["--threads", "2"]), 2, script);
    read.last().map(|line| line.split_once("< ").unwrap().1.to_owned()).unwrap()
}

/// What a client reads that waits with a group `g` of the stream `s` while something is done.
fn while_done(done: &str) -> String {
    last(&format!(
        "w> XGROUP CREATE s g $ MKSTREAM
         w> XADD t 1-1 a 1
         a~ XREADGROUP GROUP g ada BLOCK 0 STREAMS s >
         {done}
         a<"
    ))
}

#[test]
fn who_waits_with_a_group_learns_that_it_is_gone() {
    // 7.0 had a text of its own for some of these.
    let gone = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option\\r\\n";
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\\r\\n";
    assert_eq!(while_done("w> DEL s"), gone);
    assert_eq!(while_done("w> FLUSHALL"), gone);
    assert_eq!(while_done("w> XGROUP DESTROY s g"), gone);
    assert_eq!(while_done("w> RENAME t s"), gone);
    assert_eq!(while_done("w> RENAME s u"), gone);
    assert_eq!(while_done("w> PEXPIREAT s 1"), gone);
    assert_eq!(while_done("w> SWAPDB 0 1"), gone);
    assert_eq!(while_done("w> SET s v"), wrong);
    assert_eq!(while_done("w> MULTI\nw> DEL s\nw> ZADD s 1 m\nw> EXEC"), wrong);
}

#[test]
fn who_waits_for_the_last_entry_gets_the_first_that_comes() {
    let entry =
        "*1\\r\\n*2\\r\\n$1\\r\\ns\\r\\n*1\\r\\n*2\\r\\n$3\\r\\n5-1\\r\\n*2\\r\\n$1\\r\\na\\r\\n$1\\r\\n1\\r\\n";
    assert_eq!(last("a~ XREAD BLOCK 0 STREAMS s +\nw> XADD s 5-1 a 1\na<"), entry);
}
