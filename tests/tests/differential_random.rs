//! Random commands to both servers: every reply must be equal. The seed is printed; a failure is made as short as
//! it can be within some seconds.

use larder_tests::client::{encode, line};
use larder_tests::random::Random;
use larder_tests::{Both, Compare, both, frame, grammar};
use std::time::{Duration, Instant};

/// Commands of one test, for each protocol; `LARDER_COMMANDS` asks for another number.
const COMMANDS: usize = 100_000;
/// Commands from empty servers; a failure is found within one such round.
const ROUND: usize = 2_500;
/// Commands sent before their replies are read.
const PIPELINE: usize = 100;
/// Time to make a failed round shorter.
const SHORTEN: Duration = Duration::from_secs(20);

type Command = (Vec<Vec<u8>>, Compare);

#[test]
fn random_commands_in_resp2() {
    run(2);
}

#[test]
fn random_commands_in_resp3() {
    run(3);
}

fn run(protocol: u8) {
    let Some(mut both) = Both::start() else {
        return;
    };
    both.protocol(protocol);
    let mut random = Random::from_environment();
    let start = Instant::now();
    let commands = std::env::var("LARDER_COMMANDS").map_or(COMMANDS, |text| text.parse().unwrap());
    for _ in 0..commands.div_ceil(ROUND) {
        let round: Vec<Command> = (0..ROUND).map(|_| grammar::command(&mut random)).collect();
        if let Some((at, difference)) = play(&mut both, &round) {
            let short = shorten(&mut both, round[..=at].to_vec());
            let difference = play(&mut both, &short).map_or(difference, |(_, difference)| difference);
            let lines: Vec<_> = short.iter().map(|(args, _)| line(args)).collect();
            panic!("RESP{protocol}, after\n    {}\n{difference}", lines.join("\n    "));
        }
    }
    println!("{commands} commands, {:.0} a second", commands as f64 / start.elapsed().as_secs_f64());
}

/// Plays commands on empty servers without users of the grammar's; the place of the first difference and its description.
fn play(both: &mut Both, commands: &[Command]) -> Option<(usize, String)> {
    let (mut subject, mut peer) = both.open();
    for client in [&mut subject, &mut peer] {
        client.call(&["ACL", "DELUSER", "alice", "bob"]);
    }
    let (mut at, mut queued) = (0, Vec::new());
    for batch in commands.chunks(PIPELINE) {
        let mut bytes = Vec::new();
        batch.iter().for_each(|(args, _)| encode(args, &mut bytes));
        subject.raw(&bytes).expect("the server under test takes commands");
        peer.raw(&bytes).unwrap();
        for (args, compare) in batch {
            let (left, right) = (subject.reply(), peer.reply());
            let is_same = match (&left, &right) {
                (Ok(left), Ok(right)) if args[0] == b"EXEC" => is_same_transaction(both, &queued, left, right),
                (Ok(left), Ok(right)) => both::equal(*compare, left, right, both.is_exact()),
                _ => false,
            };
            match (args[0].as_slice(), &right) {
                (b"EXEC" | b"DISCARD", _) => queued.clear(),
                (_, Ok(reply)) if reply == b"+QUEUED\r\n" => queued.push(*compare),
                _ => {}
            }
            if !is_same {
                let show = |reply: Result<Vec<u8>, _>| match reply {
                    Ok(bytes) => frame::show(&bytes),
                    Err(failure) => format!("{failure}"),
                };
                let texts = (show(left), show(right));
                return Some((at, format!("{}\n     got {}\n    want {}", line(args), texts.0, texts.1)));
            }
            at += 1;
        }
    }
    None
}

/// Compares the replies of EXEC, each in the way of its command.
fn is_same_transaction(both: &Both, queued: &[Compare], left: &[u8], right: &[u8]) -> bool {
    let (Ok(Some((left_frame, _))), Ok(Some((right_frame, _)))) = (frame::read(left), frame::read(right)) else {
        return false;
    };
    if left_frame.items.len() != queued.len() || right_frame.items.len() != queued.len() || queued.is_empty() {
        return left == right;
    }
    let pairs = left_frame.items.iter().zip(&right_frame.items);
    pairs
        .zip(queued)
        .all(|((left, right), compare)| both::equal(*compare, &left.bytes(), &right.bytes(), both.is_exact()))
}

/// Leaves out what the failure does not need: halves, quarters, and so on down to single commands.
fn shorten(both: &mut Both, mut commands: Vec<Command>) -> Vec<Command> {
    let until = Instant::now() + SHORTEN;
    let mut size = commands.len().div_ceil(2);
    loop {
        let mut from = 0;
        while from < commands.len() && Instant::now() < until {
            let mut fewer = commands.clone();
            fewer.drain(from..(from + size).min(commands.len()));
            match play(both, &fewer) {
                Some((at, _)) => {
                    fewer.truncate(at + 1);
                    commands = fewer;
                }
                None => from += size,
            }
        }
        if size == 1 || Instant::now() >= until {
            return commands;
        }
        size = size.div_ceil(2);
    }
}
