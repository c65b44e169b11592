//! Every command with any number of arguments of any kind, compared with a real redis-server: wrong arity, wrong
//! type, what is no number, and syntax errors all at once.

use larder_tests::{Both, Compare, TestServer};

/// Commands that are left out, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("BLMOVE", WAITS),
    ("BLMPOP", WAITS),
    ("BLPOP", WAITS),
    ("BRPOP", WAITS),
    ("BRPOPLPUSH", WAITS),
    ("BZMPOP", WAITS),
    ("BZPOPMAX", WAITS),
    ("BZPOPMIN", WAITS),
    ("ACL|GENPASS", BY_CHANCE),
    ("ACL|GETUSER", NEW),
    ("ACL|HELP", OWN_TEXT),
    ("ACL|LIST", NEW),
    ("ACL|LOG", NEW),
    ("BITCOUNT", NEW),
    ("BITPOS", NEW),
    ("CACHE", OURS),
    ("CACHE|HELP", OURS),
    ("CACHE|STATS", OURS),
    ("CACHE|WHATIF", OURS),
    ("CACHE|WHY", OURS),
    ("CLIENT|HELP", OWN_TEXT),
    ("CLIENT|ID", BY_CHANCE),
    ("CLIENT|INFO", BY_CHANCE),
    ("CLIENT|KILL", "MAXAGE is new in 7.4"),
    ("CLIENT|LIST", BY_CHANCE),
    ("CLIENT|NO-TOUCH", NEW),
    ("CLIENT|PAUSE", "it holds the connection up"),
    ("CLIENT|REPLY", NO_REPLY),
    ("CLIENT|SETINFO", NEW),
    ("CLUSTER|MYSHARDID", NEW),
    ("COMMAND", OTHER_COMMANDS),
    ("COMMAND|COUNT", OTHER_COMMANDS),
    ("COMMAND|DOCS", OTHER_COMMANDS),
    ("COMMAND|GETKEYS", OTHER_COMMANDS),
    ("COMMAND|GETKEYSANDFLAGS", OTHER_COMMANDS),
    ("COMMAND|HELP", OWN_TEXT),
    ("COMMAND|INFO", OTHER_COMMANDS),
    ("COMMAND|LIST", OTHER_COMMANDS),
    ("CONFIG|HELP", OWN_TEXT),
    ("FUNCTION|HELP", OWN_TEXT),
    ("HELLO", BY_CHANCE),
    ("HEXPIRE", NEW),
    ("HEXPIREAT", NEW),
    ("HEXPIRETIME", NEW),
    ("HPERSIST", NEW),
    ("HPEXPIRE", NEW),
    ("HPEXPIREAT", NEW),
    ("HPEXPIRETIME", NEW),
    ("HPTTL", NEW),
    ("HRANDFIELD", BY_CHANCE),
    ("HSCAN", NEW),
    ("HTTL", NEW),
    ("INFO", BY_CHANCE),
    ("LATENCY|DOCTOR", OWN_TEXT),
    ("LATENCY|HELP", OWN_TEXT),
    ("LATENCY|HISTOGRAM", BY_CHANCE),
    ("LOLWUT", "it draws"),
    ("MEMORY|DOCTOR", OWN_TEXT),
    ("MEMORY|HELP", OWN_TEXT),
    ("MEMORY|MALLOC-STATS", OWN_TEXT),
    ("MEMORY|STATS", BY_CHANCE),
    ("MEMORY|USAGE", BY_CHANCE),
    ("MODULE|HELP", OWN_TEXT),
    ("MONITOR", NO_REPLY),
    ("OBJECT|HELP", OWN_TEXT),
    ("OBJECT|IDLETIME", BY_CHANCE),
    ("PSUBSCRIBE", SEVERAL_REPLIES),
    ("PTTL", BY_CHANCE),
    ("PUBSUB|HELP", OWN_TEXT),
    ("PUNSUBSCRIBE", SEVERAL_REPLIES),
    ("QUIT", NO_REPLY),
    ("RANDOMKEY", BY_CHANCE),
    ("REPLICAOF", REPLICA),
    ("SCAN", BY_CHANCE),
    ("SCRIPT|HELP", OWN_TEXT),
    ("SHUTDOWN", NO_REPLY),
    ("SSCAN", NEW),
    ("SLAVEOF", REPLICA),
    ("SLOWLOG|GET", BY_CHANCE),
    ("SLOWLOG|HELP", OWN_TEXT),
    ("SLOWLOG|LEN", BY_CHANCE),
    ("SSUBSCRIBE", SEVERAL_REPLIES),
    ("SUBSCRIBE", SEVERAL_REPLIES),
    ("SUNSUBSCRIBE", SEVERAL_REPLIES),
    ("TIME", BY_CHANCE),
    ("UNSUBSCRIBE", SEVERAL_REPLIES),
    ("WAIT", "it may wait for ever"),
    ("WAITAOF", NEW),
    ("XGROUP|HELP", OWN_TEXT),
    ("XINFO|HELP", OWN_TEXT),
    ("ZRANDMEMBER", BY_CHANCE),
    ("ZRANK", NEW),
    ("ZREVRANK", NEW),
    ("ZSCAN", NEW),
];

const BY_CHANCE: &str = "the reply depends on more than the data";
const NEW: &str = "7.0 has it not, or otherwise";
const OURS: &str = "Redis has nothing like it";
const NO_REPLY: &str = "it ends or silences the connection";
const OTHER_COMMANDS: &str = "the peer has other commands";
const OWN_TEXT: &str = "the text is larder's own";
const WAITS: &str = "it may wait for ever";
const REPLICA: &str = "the peer becomes a replica";
const SEVERAL_REPLIES: &str = "one reply per channel";

/// What the subject says that it has, without what is left out.
fn commands() -> Vec<String> {
    let listed = TestServer::start().client().ask("COMMAND LIST").items;
    let listed: Vec<_> = listed.into_iter().map(|name| String::from_utf8(name.text).unwrap().to_uppercase()).collect();
    let unknown: Vec<_> = LEFT_OUT.iter().filter(|(name, _)| !listed.iter().any(|known| known == name)).collect();
    assert!(unknown.is_empty(), "left out and not there: {unknown:?}");
    let is_left_out = |name: &String| LEFT_OUT.iter().any(|(known, _)| known == name);
    listed.into_iter().filter(|name| !is_left_out(name)).map(|name| name.replace('|', " ")).collect()
}

/// What each of the arguments is: a string, a sorted set, a member of it, numbers, nothing, and no key.
const ARGUMENTS: &[&str] = &["s", "z", "m", "1", "0", "-1", "2.5", "", "missing"];

/// The longest command has this many arguments.
const MOST: usize = 6;

fn run(protocol: u8) {
    let Some(mut both) = Both::start() else {
        return;
    };
    both.protocol(protocol);
    let mut failures = Vec::new();
    for command in &commands() {
        for count in 0..=MOST {
            let fillings = if count == 0 { &ARGUMENTS[..1] } else { ARGUMENTS };
            for (index, filling) in fillings.iter().enumerate() {
                for is_mixed in [false, true] {
                    let mut words: Vec<&str> = command.split(' ').collect();
                    words.extend((0..count).map(|place| match is_mixed {
                        true => ARGUMENTS[(index + place * 2) % ARGUMENTS.len()],
                        false => filling,
                    }));
                    failures.extend(check(&mut both, &words).err());
                }
            }
        }
        failures.extend(both.fresh().err());
    }
    println!("{} replies compared", both.compared);
    assert!(failures.is_empty(), "{} differences\n{}", failures.len(), failures[..failures.len().min(25)].join("\n"));
}

fn check(both: &mut Both, words: &[&str]) -> Result<(), String> {
    both.command(&["DEL", "s", "z", "m", "1", "0", "-1", "2.5", "", "missing"], Compare::Nothing)?;
    both.command(&["SET", "s", "12"], Compare::Exact)?;
    both.command(&["ZADD", "z", "1", "m", "2.5", "s"], Compare::Exact)?;
    both.command(words, Compare::Exact)
}

#[test]
fn any_arguments_in_resp2() {
    run(2);
}

#[test]
fn any_arguments_in_resp3() {
    run(3);
}
