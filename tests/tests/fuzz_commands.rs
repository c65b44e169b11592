//! Commands of any kind to the engine: valid, spoiled, and nonsense, one by one and in pipelines, in RESP2 and RESP3,
//! while time passes, keys expire and memory is short. Every command is answered by exactly one frame of its version,
//! and the data stays valid. It goes on for as long as `LARDER_FUZZ_SECONDS` says.

use larder::{Connection, Server, Value};
use larder_tests::client::{encode, line};
use larder_tests::random::Random;
use larder_tests::{frame, fuzz, grammar};
use std::time::Duration;

/// Pipelines of one case.
const PIPELINES: usize = 150;
/// Pipelines between two looks at all data.
const VALIDATE_EVERY: usize = 25;

type Command = Vec<Vec<u8>>;

/// Names of commands that change how answers come, or whether: they are sent alone, see [`Client::step`], or not at
/// all. DEBUG SLEEP would only take time.
const APART: &[&[&str]] = &[
    &["hello"],
    &["reset"],
    &["quit"],
    &["shutdown"],
    &["client", "reply"],
    &["debug", "sleep"],
    &["post"],
    &["host:"],
];

/// Commands that are answered by a frame per name, and after which messages come at any time.
const LISTENING: &[&str] =
    &["subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe", "exec"];

/// What commands are made of, besides the grammar.
struct Dictionary {
    /// Every name, a subcommand's in two words.
    names: Vec<Command>,
    /// The examples of the commands' documentation.
    examples: Vec<Command>,
}

impl Dictionary {
    fn new() -> Dictionary {
        let Value::Array(names) = Server::builder().build().unwrap().connect().execute(["COMMAND", "LIST"]) else {
            panic!("COMMAND LIST answers an array");
        };
        let words = |name: Value| match name {
            Value::Bulk(name) => name.split(|byte| *byte == b'|').map(<[u8]>::to_vec).collect(),
            other => panic!("{other} is no name"),
        };
        let manual = larder::docs::commands_markdown();
        let examples = manual.lines().filter_map(|line| line.strip_prefix("> ")).map(larder_tests::words);
        Dictionary { names: names.into_iter().map(words).collect(), examples: examples.collect() }
    }

    fn command(&self, random: &mut Random) -> Command {
        let mut command = match random.below(10) {
            0..5 => grammar::timed_command(random),
            5 | 6 => random.pick(&self.examples).clone(),
            _ => {
                let mut command = random.pick(&self.names).clone();
                let count = random.below(6);
                command.extend((0..count).map(|_| fuzz::argument(random)));
                command
            }
        };
        if random.once_in(2) {
            fuzz::mutate_command(&mut command, random);
        }
        command
    }
}

fn begins_with(command: &Command, names: &[&str]) -> bool {
    names
        .iter()
        .enumerate()
        .all(|(at, name)| command.get(at).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes())))
}

/// One client, and what is known of its state.
struct Client {
    connection: Connection,
    is_resp3: bool,
    /// Whether messages may come between answers.
    listens: bool,
}

impl Client {
    fn new(server: &Server) -> Client {
        Client { connection: server.connect(), is_resp3: false, listens: false }
    }

    /// Sends what was kept apart, now and then.
    fn step(&mut self, server: &Server, random: &mut Random) {
        match random.below(12) {
            0 => {
                // In a transaction it would only be queued.
                self.connection.run(b"DISCARD\r\n");
                let version = *random.pick(&["2", "3"]);
                let is_refused = matches!(self.connection.execute(["HELLO", version]), Value::Error(_));
                self.is_resp3 = if is_refused { self.is_resp3 } else { version == "3" };
            }
            1 => {
                self.connection.run(b"RESET\r\n");
                (self.is_resp3, self.listens) = (false, false);
            }
            2 => {
                self.connection.run(b"QUIT\r\n");
                *self = Client::new(server);
            }
            _ => {}
        }
    }

    /// Sends commands at once; each must be answered by one frame.
    fn call(&mut self, commands: &[Command]) {
        let mut request = Vec::new();
        commands.iter().for_each(|command| encode(command, &mut request));
        let reply = self.connection.run(&request);
        self.listens |= commands.iter().any(|command| LISTENING.iter().any(|name| begins_with(command, &[name])));
        let shown = || {
            let lines: Vec<_> = commands.iter().map(|command| frame::show(line(command).as_bytes())).collect();
            format!("{}\n    answered {}", lines.join("\n    "), frame::show(&reply))
        };
        let (mut rest, mut frames) = (reply.as_slice(), 0);
        while !rest.is_empty() {
            let value = match Value::read(rest) {
                Ok(Some((value, length))) => {
                    rest = &rest[length..];
                    value
                }
                other => panic!("{other:?}: {}", shown()),
            };
            assert!(self.is_resp3 || is_resp2(&value), "RESP3 in RESP2: {}", shown());
            // Of keys that were tracked a client hears between its answers.
            frames += usize::from(!matches!(value, Value::Push(_)));
        }
        if !self.listens {
            assert_eq!(frames, commands.len(), "frames: {}", shown());
        }
    }
}

/// Whether the value has a form in RESP2. There the null is one of two forms, which read alike.
fn is_resp2(value: &Value) -> bool {
    match value {
        Value::Simple(_) | Value::Error(_) | Value::Integer(_) | Value::Bulk(_) | Value::Null | Value::NullArray => {
            true
        }
        Value::Array(items) => items.iter().all(is_resp2),
        _ => false,
    }
}

fn server(random: &mut Random) -> Server {
    const POLICIES: &[&str] = &[
        "noeviction",
        "allkeys-lru",
        "volatile-lfu",
        "allkeys-lfu",
        "volatile-ttl",
        "allkeys-random",
        "allkeys-adaptive",
    ];
    let limit = (20_000 + random.below(300_000)).to_string();
    let builder = Server::builder()
        .manual_clock(1_700_000_000_000)
        .seed(random.bits())
        .option("shards", random.pick::<&str>(&["1", "8", "64"]))
        .option("enable-debug-command", "yes")
        .option("notify-keyspace-events", random.pick::<&str>(&["KEA", ""]))
        // As much as one answer may take: the fuzzer asks for what is too long.
        .option("proto-max-bulk-len", "16mb")
        .option("maxmemory", if random.once_in(2) { &limit } else { "0" })
        .option("maxmemory-policy", random.pick::<&str>(POLICIES));
    builder.build().unwrap()
}

#[test]
fn commands() {
    let dictionary = Dictionary::new();
    fuzz::run(|random| {
        let server = server(random);
        let mut clients = [Client::new(&server), Client::new(&server), Client::new(&server)];
        for round in 1..=PIPELINES {
            let client = &mut clients[random.below(3)];
            client.step(&server, random);
            let count = *random.pick(&[1, 1, 2, 9]);
            let commands: Vec<_> = (0..count).map(|_| dictionary.command(random)).collect();
            let is_sent = |command: &Command| !APART.iter().any(|names| begins_with(command, names));
            client.call(&commands.into_iter().filter(is_sent).collect::<Vec<_>>());
            if random.once_in(6) {
                server.advance(Duration::from_millis(random.below(3000) as u64));
            }
            if round % VALIDATE_EVERY == 0 {
                server.engine().validate();
            }
        }
    });
}
