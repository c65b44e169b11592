//! Every command with any number of arguments of any kind, compared with a real redis-server: wrong arity, wrong
//! type, what is no number, and syntax errors all at once.

use larder_tests::{Both, Compare};

/// Commands whose reply is deterministic whatever their arguments are.
const COMMANDS: &[&str] = &[
    "APPEND",
    "DECR",
    "DECRBY",
    "GET",
    "GETDEL",
    "GETEX",
    "GETRANGE",
    "GETSET",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "LCS",
    "MGET",
    "MSET",
    "MSETNX",
    "PSETEX",
    "SET",
    "SETEX",
    "SETNX",
    "SETRANGE",
    "STRLEN",
    "SUBSTR",
    "COPY",
    "DEL",
    "EXISTS",
    "EXPIRE",
    "EXPIREAT",
    "EXPIRETIME",
    "KEYS",
    "MOVE",
    "OBJECT",
    "OBJECT ENCODING",
    "OBJECT REFCOUNT",
    "OBJECT FREQ",
    "PERSIST",
    "PEXPIRE",
    "PEXPIREAT",
    "PEXPIRETIME",
    "RENAME",
    "RENAMENX",
    "TOUCH",
    "TTL",
    "TYPE",
    "UNLINK",
    "ZADD",
    "ZCARD",
    "ZCOUNT",
    "ZDIFF",
    "ZDIFFSTORE",
    "ZINCRBY",
    "ZINTER",
    "ZINTERCARD",
    "ZINTERSTORE",
    "ZLEXCOUNT",
    "ZMPOP",
    "ZMSCORE",
    "ZPOPMAX",
    "ZPOPMIN",
    "ZRANGE",
    "ZRANGEBYLEX",
    "ZRANGEBYSCORE",
    "ZRANGESTORE",
    "ZREM",
    "ZREMRANGEBYLEX",
    "ZREMRANGEBYRANK",
    "ZREMRANGEBYSCORE",
    "ZREVRANGE",
    "ZREVRANGEBYLEX",
    "ZREVRANGEBYSCORE",
    "ZSCORE",
    "ZUNION",
    "ZUNIONSTORE",
    "PUBLISH",
    "SPUBLISH",
    "PUBSUB",
    "PUBSUB NUMSUB",
    "PUBSUB NUMPAT",
    "PUBSUB CHANNELS",
    "PUBSUB SHARDCHANNELS",
    "PUBSUB SHARDNUMSUB",
    "EXEC",
    "DISCARD",
    "WATCH",
    "UNWATCH",
    "PING",
    "ECHO",
    "SELECT",
    "SWAPDB",
    "DBSIZE",
    "FLUSHDB",
    "FLUSHALL",
    "CONFIG",
    "CONFIG GET",
    "CONFIG SET",
    "CONFIG RESETSTAT",
    "CLIENT",
    "CLIENT SETNAME",
    "CLIENT GETNAME",
    "CLIENT NO-EVICT",
    "MEMORY",
    "AUTH",
    "RESET",
];

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
    for command in COMMANDS {
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
