//! Bytes of any kind to the parser of requests and to the reader of replies: whatever the cuts, the outcome is the
//! same, nothing panics, and memory follows what arrived. The rules one by one, and random input of fixed size, are
//! tested beside the crate; here valid streams are spoiled, for as long as `LARDER_FUZZ_SECONDS` says.

use larder_protocol::{Batch, Limits, Parser, Proto, ProtocolError, Reply, Value};
use larder_tests::client::encode;
use larder_tests::random::Random;
use larder_tests::{frame, fuzz, grammar};

type Command = Vec<Vec<u8>>;
/// All commands of a stream, and the error that ended it.
type Outcome = (Vec<Command>, Option<ProtocolError>);

/// How a stream arrives.
#[derive(Clone, Copy)]
enum Cuts {
    Whole,
    /// In pieces of random sizes up to this one.
    Pieces(usize),
}

/// Parses a stream as a connection does.
fn parse(stream: &[u8], cuts: Cuts, limits: &Limits, random: &mut Random) -> Outcome {
    let (mut parser, mut batch, mut commands) = (Parser::new(), Batch::new(), Vec::new());
    let (mut buffer, mut rest) = (Vec::new(), stream);
    while !rest.is_empty() {
        let size = match cuts {
            Cuts::Whole => rest.len(),
            Cuts::Pieces(most) => (1 + random.below(most)).min(rest.len()),
        };
        let (piece, after) = rest.split_at(size);
        rest = after;
        buffer.extend_from_slice(piece);
        loop {
            let most_commands = 1 + random.below(32);
            let outcome = parser.parse(&buffer, &mut batch, most_commands, limits);
            let memory = parser.memory() + batch.memory();
            assert!(memory <= 16 * stream.len() + 4096, "{memory} bytes for {} that arrived", stream.len());
            for at in 0..batch.len() {
                commands.push(batch.args(at, &buffer).iter().map(<[u8]>::to_vec).collect());
            }
            if let Err(error) = outcome {
                return (commands, Some(error));
            }
            assert!(parser.wanted() <= limits.max_bulk + 2, "no argument may be longer than the limit");
            buffer.drain(..batch.consumed());
            if batch.is_empty() {
                break;
            }
        }
    }
    (commands, None)
}

/// Empty commands, which leave no trace.
const EMPTY: &[&str] = &["\r\n", "\n", "*0\r\n", "*-1\r\n", "  \r\n"];

/// A pipeline of valid commands, mostly as arrays, and what it says.
fn pipeline(random: &mut Random) -> (Vec<u8>, Vec<Command>) {
    let (mut stream, mut commands) = (Vec::new(), Vec::new());
    for _ in 0..1 + random.below(12) {
        let mut command = grammar::timed_command(random);
        if random.once_in(3) {
            fuzz::mutate_command(&mut command, random);
        }
        match random.below(8) {
            0 => stream.extend_from_slice(random.pick(EMPTY).as_bytes()),
            1 => {
                inline(&command, &mut stream);
                commands.push(command);
            }
            _ => {
                encode(&command, &mut stream);
                commands.push(command);
            }
        }
    }
    (stream, commands)
}

/// Writes a command as a line, each word quoted.
fn inline(command: &Command, stream: &mut Vec<u8>) {
    for word in command {
        let escaped: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        stream.extend_from_slice(format!(" \"{escaped}\"").as_bytes());
    }
    stream.extend_from_slice(b"\r\n");
}

#[test]
fn requests() {
    fuzz::run(|random| {
        let (mut stream, commands) = pipeline(random);
        // A line of quoted words is four times as long as they are, and words may be long.
        let generous = Limits { max_inline: 64 << 20, ..Limits::default() };
        let outcome = parse(&stream, Cuts::Pieces(100), &generous, random);
        assert!(outcome == (commands, None), "what was written is read back: {}", frame::show(&stream));
        fuzz::mutate(&mut stream, random);
        let limits = Limits {
            max_bulk: *random.pick(&[512 << 20, 100, 5]),
            max_inline: *random.pick(&[64 << 10, 40]),
            authenticated: !random.once_in(4),
        };
        let whole = parse(&stream, Cuts::Whole, &limits, random);
        for most in [1, 2, 7, 100, 4000] {
            let cut = parse(&stream, Cuts::Pieces(most), &limits, random);
            assert!(cut == whole, "cut in pieces of at most {most}: {}", frame::show(&stream));
        }
    });
}

/// A random reply, at most `depth` levels deep.
fn value(random: &mut Random, depth: usize) -> Value {
    let text = |random: &mut Random| fuzz::argument(random);
    let kinds = if depth == 0 { 10 } else { 15 };
    let some = |random: &mut Random| (0..random.below(5)).map(|_| value(random, depth - 1)).collect::<Vec<_>>();
    let pairs = |random: &mut Random| (0..random.below(4)).map(|_| (some(random), some(random))).collect::<Vec<_>>();
    match random.below(kinds) {
        0 => Value::Simple(text(random)),
        1 => Value::Error(text(random)),
        2 => Value::Integer(random.bits() as i64),
        3 => Value::Bulk(text(random)),
        4 => Value::Null,
        5 => Value::Double(f64::from_bits(random.bits())),
        6 => Value::Bool(random.once_in(2)),
        7 => Value::BigNumber(random.bits().to_string().repeat(1 + random.below(4)).into_bytes()),
        8 => Value::BulkError(text(random)),
        9 => Value::Verbatim { format: *b"txt", text: text(random) },
        10 => Value::Array(some(random)),
        11 => Value::Set(some(random)),
        12 => Value::Push(some(random)),
        13 => {
            Value::Map(pairs(random).into_iter().map(|(key, value)| (Value::Array(key), Value::Set(value))).collect())
        }
        _ => Value::Attribute { pairs: Vec::new(), value: Box::new(value(random, depth - 1)) },
    }
}

fn written(values: &[Value], proto: Proto) -> Vec<u8> {
    let mut reply = Reply::with_proto(proto);
    values.iter().for_each(|value| value.write(&mut reply));
    reply.as_slice().unwrap().to_vec()
}

/// All replies of a stream that arrives in pieces; how many bytes they took, and whether an error ended it.
fn read(stream: &[u8], cuts: Cuts, random: &mut Random) -> (Vec<Value>, usize, Option<usize>) {
    let (mut values, mut from, mut arrived) = (Vec::new(), 0, 0);
    while arrived < stream.len() {
        arrived = match cuts {
            Cuts::Whole => stream.len(),
            Cuts::Pieces(most) => (arrived + 1 + random.below(most)).min(stream.len()),
        };
        loop {
            match Value::read(&stream[from..arrived]) {
                Ok(None) => break,
                Ok(Some((value, length))) => {
                    assert!(length <= arrived - from);
                    assert!(memory(&value) <= 64 * length, "{} bytes for {length}", memory(&value));
                    values.push(value);
                    from += length;
                }
                Err(larder_protocol::ReadError::Malformed(at)) => return (values, from, Some(from + at)),
                Err(larder_protocol::ReadError::TooDeep) => return (values, from, Some(usize::MAX)),
            }
        }
    }
    (values, from, None)
}

/// Bytes that a value takes, on the heap and itself.
fn memory(value: &Value) -> usize {
    let all = |values: &[Value]| values.iter().map(memory).sum::<usize>();
    let in_pairs =
        |pairs: &[(Value, Value)]| pairs.iter().map(|(key, value)| memory(key) + memory(value)).sum::<usize>();
    size_of::<Value>()
        + match value {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => {
                all(items) + (items.capacity() - items.len()) * size_of::<Value>()
            }
            Value::Map(pairs) => in_pairs(pairs) + (pairs.capacity() - pairs.len()) * 2 * size_of::<Value>(),
            Value::Attribute { pairs, value } => in_pairs(pairs) + memory(value),
            Value::Simple(text) | Value::Error(text) | Value::Bulk(text) | Value::BulkError(text) => text.capacity(),
            Value::BigNumber(text) | Value::Verbatim { text, .. } => text.capacity(),
            Value::Null | Value::NullArray | Value::Integer(_) | Value::Double(_) | Value::Bool(_) => 0,
        }
}

#[test]
fn replies() {
    fuzz::run(|random| {
        let values: Vec<_> = (0..1 + random.below(5)).map(|_| value(random, 4)).collect();
        let proto = *random.pick(&[Proto::Resp2, Proto::Resp3]);
        let mut stream = written(&values, proto);
        let (read_back, length, error) = read(&stream, Cuts::Pieces(100), random);
        assert_eq!((length, error), (stream.len(), None), "{}", frame::show(&stream));
        // Once written and read, a value has the form that the version gives it.
        assert!(written(&read_back, proto) == stream, "{}", frame::show(&stream));

        fuzz::mutate(&mut stream, random);
        let whole = read(&stream, Cuts::Whole, random);
        for most in [1, 9, 300] {
            // An incomplete reply is read from its start each time: long ones come in fewer pieces.
            let cut = read(&stream, Cuts::Pieces(most.max(stream.len() / 300)), random);
            // By their texts, since not-a-number is not equal to itself.
            let same = (cut.1, cut.2) == (whole.1, whole.2) && format!("{:?}", cut.0) == format!("{:?}", whole.0);
            assert!(same, "cut in pieces of at most {most}: {}", frame::show(&stream));
        }
        let again = written(&whole.0, Proto::Resp3);
        let values = read(&again, Cuts::Whole, random).0;
        assert!(written(&values, Proto::Resp3) == again, "{}", frame::show(&again));
    });
}
