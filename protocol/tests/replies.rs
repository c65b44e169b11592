//! Replies as a client receives them, in both versions of the protocol, and read back.
//!
//! The expected bytes are those of redis-server 7.4.1 (DEBUG PROTOCOL), the expected texts those
//! of its redis-cli.

use std::io::IoSlice;

use bytes::Bytes;
use larder_protocol::{MAX_DEPTH, Proto, ReadError, Reply, SHARED_MIN, Value};
use proptest::prelude::*;

fn gather(slices: &[IoSlice]) -> Vec<u8> {
    slices.iter().flat_map(|slice| slice.to_vec()).collect()
}

/// What is to be sent, gathered from the slices.
fn sent(reply: &Reply) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 64];
    let filled = reply.slices(&mut slices);
    assert!(filled < slices.len());
    let bytes = gather(&slices[..filled]);
    assert_eq!(bytes.len(), reply.len());
    assert_eq!(bytes.is_empty(), reply.is_empty());
    bytes
}

#[track_caller]
fn check(write: impl Fn(&mut Reply), resp2: &str, resp3: &str) {
    for (proto, expected) in [(Proto::Resp2, resp2), (Proto::Resp3, resp3)] {
        let mut reply = Reply::with_proto(proto);
        write(&mut reply);
        assert_eq!(String::from_utf8_lossy(&sent(&reply)), expected, "{proto:?}");
        assert_eq!(reply.as_slice(), Some(expected.as_bytes()));
    }
}

#[track_caller]
fn check_both(write: impl Fn(&mut Reply), expected: &str) {
    check(write, expected, expected);
}

#[test]
fn statuses_and_errors_are_one_line() {
    check_both(Reply::ok, "+OK\r\n");
    check_both(|reply| reply.simple("PONG"), "+PONG\r\n");
    check_both(|reply| reply.error("ERR syntax error"), "-ERR syntax error\r\n");
    check_both(|reply| reply.error("ERR no 'a\r\nb'\r\n\n"), "-ERR no 'a  b'\r\n");
}

#[test]
fn integers_have_their_sign() {
    for value in [0, 9, 10, 12345, 99, 100, -1, i64::MIN, i64::MAX] {
        check_both(|reply| reply.int(value), &format!(":{value}\r\n"));
        let text = value.to_string();
        let bulk = format!("${}\r\n{text}\r\n", text.len());
        check_both(|reply| reply.bulk_int(value), &bulk);
    }
}

#[test]
fn strings_have_their_length() {
    for len in [0, 1, 9, 10, 11, 99, 100, 101, 1000, 70_000] {
        let text = "x".repeat(len);
        check_both(|reply| reply.bulk(text.as_bytes()), &format!("${len}\r\n{text}\r\n"));
    }
}

#[test]
fn forms_that_the_versions_write_differently() {
    check(Reply::null, "$-1\r\n", "_\r\n");
    check(Reply::null_array, "*-1\r\n", "_\r\n");
    check_both(|reply| reply.array(3), "*3\r\n");
    check(|reply| reply.map(3), "*6\r\n", "%3\r\n");
    check(|reply| reply.set(12), "*12\r\n", "~12\r\n");
    check(|reply| reply.push(2), "*2\r\n", ">2\r\n");
    check(|reply| reply.bool(true), ":1\r\n", "#t\r\n");
    check(|reply| reply.bool(false), ":0\r\n", "#f\r\n");
    check(|reply| reply.double(3.125), "$5\r\n3.125\r\n", ",3.125\r\n");
    check(|reply| reply.double(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
    check(|reply| reply.number(b"1.10"), "$4\r\n1.10\r\n", ",1.10\r\n");
    let digits = "1234567999999999999999999999999999999";
    let resp2 = format!("$37\r\n{digits}\r\n");
    check(|reply| reply.big_number(digits), &resp2, &format!("({digits}\r\n"));
    let text = "This is a verbatim\nstring";
    let (resp2, resp3) = (format!("$25\r\n{text}\r\n"), format!("=29\r\ntxt:{text}\r\n"));
    check(|reply| reply.verbatim("txt", text), &resp2, &resp3);
    check(|reply| reply.verbatim("m", ""), "$0\r\n\r\n", "=4\r\nm  :\r\n");
    check(|reply| reply.bulk_error("ERR a\r\nb"), "-ERR a  b\r\n", "!8\r\nERR a\r\nb\r\n");
}

#[test]
fn attributes_are_left_out_where_unknown() {
    let write = |reply: &mut Reply| {
        if reply.attribute(1) {
            reply.bulk(b"ttl");
            reply.int(3);
        }
        reply.ok();
    };
    check(write, "+OK\r\n", "|1\r\n$3\r\nttl\r\n:3\r\n+OK\r\n");
}

#[test]
fn lengths_may_be_set_afterwards() {
    let write = |reply: &mut Reply| {
        reply.ok();
        let outer = reply.defer();
        reply.bulk(b"a");
        let inner = reply.defer();
        reply.int(1);
        reply.set_set_len(inner, 1);
        reply.set_map_len(outer, 1);
        let empty = reply.defer();
        reply.set_array_len(empty, 0);
    };
    check(write, "+OK\r\n*2\r\n$1\r\na\r\n*1\r\n:1\r\n*0\r\n", "+OK\r\n%1\r\n$1\r\na\r\n~1\r\n:1\r\n*0\r\n");
}

#[test]
fn deferred_lengths_and_shared_values_keep_their_order() {
    let value = Bytes::from(vec![b'v'; SHARED_MIN]);
    let small = vec![b's'; 5000];
    let (mut reply, mut expected) = (Reply::new(), Reply::new());
    for (count, copies) in [(1, 0), (2, 1), (2, 5)] {
        let outer = reply.defer();
        reply.bulk_shared(value.clone());
        let inner = reply.defer();
        reply.bulk_shared(value.clone());
        (0..copies).for_each(|_| reply.bulk(&small));
        reply.set_array_len(inner, copies + 1);
        reply.set_array_len(outer, count);

        expected.array(count);
        expected.bulk(&value);
        expected.array(copies + 1);
        expected.bulk(&value);
        (0..copies).for_each(|_| expected.bulk(&small));
    }
    assert_eq!(sent(&reply), sent(&expected));
}

#[test]
fn a_large_value_is_not_copied() {
    let value = Bytes::from(vec![b'v'; SHARED_MIN]);
    let mut reply = Reply::new();
    reply.bulk_shared(value.clone());
    assert_eq!(reply.as_slice(), None);
    let mut slices = [IoSlice::new(&[]); 4];
    assert_eq!(reply.slices(&mut slices), 3);
    assert_eq!(slices[1].as_ptr(), value.as_ptr());
    let mut small = Reply::new();
    small.bulk_shared(value.slice(1..));
    assert_eq!(small.as_slice().map(<[u8]>::len), Some(SHARED_MIN - 1 + 10));
}

#[test]
fn fewer_slices_than_needed_hold_the_front() {
    let value = Bytes::from(vec![b'v'; SHARED_MIN]);
    let mut reply = Reply::new();
    reply.bulk_shared(value.clone());
    reply.bulk_shared(value);
    let all = sent(&reply);
    for room in 0..6 {
        let mut slices = vec![IoSlice::new(&[]); room];
        let filled = reply.slices(&mut slices);
        assert_eq!(filled, room.min(5));
        assert!(all.starts_with(&gather(&slices[..filled])));
    }
}

#[test]
fn memory_is_given_back() {
    let mut reply = Reply::new();
    reply.bulk(&vec![b'x'; 100_000]);
    assert!(reply.memory() >= 100_000);
    assert_eq!(reply.take_memory().capacity(), 0, "it is in use");
    reply.advance(reply.len());
    let memory = reply.take_memory();
    assert!(memory.capacity() >= 100_000);
    assert_eq!(reply.memory(), 0);
    reply.lend_memory(memory);
    assert!(reply.memory() >= 100_000);
    reply.ok();
    assert_eq!(sent(&reply), b"+OK\r\n");
}

/// A step of a reply's life.
#[derive(Clone, Debug)]
enum Step {
    Bulk(usize),
    Shared(usize),
    Rewound(usize),
    Deferred(usize),
    Advance(usize),
    Append(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = prop_oneof![0_usize..200, SHARED_MIN - 2..SHARED_MIN + 50, Just(50_000)];
    (0..6, sizes).prop_map(|(kind, size)| match kind {
        0 => Step::Bulk(size),
        1 => Step::Shared(size),
        2 => Step::Rewound(size),
        3 => Step::Deferred(size),
        4 => Step::Advance(size),
        _ => Step::Append(size),
    })
}

fn bulk(byte: u8, len: usize) -> Vec<u8> {
    let mut bytes = format!("${len}\r\n").into_bytes();
    bytes.resize(bytes.len() + len, byte);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Takes `step` with the reply and with the plain bytes it stands for.
fn take(step: &Step, byte: u8, reply: &mut Reply, model: &mut Vec<u8>) {
    let value = |len| Bytes::from(vec![byte; len]);
    match *step {
        Step::Bulk(len) => {
            reply.bulk(&value(len));
            model.extend(bulk(byte, len));
        }
        Step::Shared(len) => {
            reply.bulk_shared(value(len));
            model.extend(bulk(byte, len));
        }
        Step::Rewound(len) => {
            let mark = reply.mark();
            reply.bulk_shared(value(len));
            reply.ok();
            reply.rewind(mark);
        }
        Step::Deferred(len) => {
            let deferred = reply.defer();
            reply.int(1);
            reply.bulk_shared(value(len));
            reply.bulk(&value(len));
            reply.set_array_len(deferred, 3);
            model.extend_from_slice(b"*3\r\n:1\r\n");
            model.extend(bulk(byte, len));
            model.extend(bulk(byte, len));
        }
        Step::Advance(len) => {
            let len = len.min(reply.len());
            reply.advance(len);
            model.drain(..len);
        }
        Step::Append(len) => {
            let mut other = Reply::new();
            other.bulk_shared(value(SHARED_MIN));
            other.bulk_shared(value(len));
            other.advance(3);
            reply.append(&mut other);
            assert!(other.is_empty());
            model.extend_from_slice(&bulk(byte, SHARED_MIN)[3..]);
            model.extend(bulk(byte, len));
        }
    }
}

/// Any value that reads back as it was in the given version.
fn value(proto: Proto) -> impl Strategy<Value = Value> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..12);
    let line = || "[ -~]{0,12}".prop_map(String::into_bytes);
    let both = prop_oneof![
        line().prop_map(Value::Simple),
        line().prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        bytes().prop_map(Value::Bulk),
        Just(Value::Null),
    ];
    let leaf = match proto {
        Proto::Resp2 => prop_oneof![both, Just(Value::NullArray)].boxed(),
        Proto::Resp3 => prop_oneof![
            both,
            any::<bool>().prop_map(Value::Bool),
            any::<f64>().prop_filter("equal to itself", |value| !value.is_nan()).prop_map(Value::Double),
            "-?[0-9]{1,40}".prop_map(|digits| Value::BigNumber(digits.into_bytes())),
            bytes().prop_map(Value::BulkError),
            (any::<[u8; 3]>(), bytes()).prop_map(|(format, text)| Value::Verbatim { format, text }),
        ]
        .boxed(),
    };
    leaf.prop_recursive(5, 40, 6, move |inner| {
        let elements = || prop::collection::vec(inner.clone(), 0..6);
        let pairs = || prop::collection::vec((inner.clone(), inner.clone()), 0..4);
        match proto {
            Proto::Resp2 => elements().prop_map(Value::Array).boxed(),
            Proto::Resp3 => prop_oneof![
                elements().prop_map(Value::Array),
                elements().prop_map(Value::Set),
                elements().prop_map(Value::Push),
                pairs().prop_map(Value::Map),
                (pairs(), inner.clone()).prop_map(|(pairs, value)| Value::Attribute { pairs, value: Box::new(value) }),
            ]
            .boxed(),
        }
    })
}

fn round_trip(value: &Value, proto: Proto) {
    let mut reply = Reply::with_proto(proto);
    value.write(&mut reply);
    let bytes = sent(&reply);
    assert_eq!(Value::read(&bytes), Ok(Some((value.clone(), bytes.len()))));
    for end in 0..bytes.len() {
        assert_eq!(Value::read(&bytes[..end]), Ok(None), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn a_reply_is_what_was_written_less_what_was_sent(steps in prop::collection::vec(step(), 1..24)) {
        let (mut reply, mut model) = (Reply::new(), Vec::new());
        for (step, byte) in steps.iter().zip(b'a'..) {
            take(step, byte, &mut reply, &mut model);
            prop_assert!(sent(&reply) == model, "after {:?}", step);
        }
    }

    #[test]
    fn resp2_values_read_back(value in value(Proto::Resp2)) {
        round_trip(&value, Proto::Resp2);
    }

    #[test]
    fn resp3_values_read_back(value in value(Proto::Resp3)) {
        round_trip(&value, Proto::Resp3);
    }

    #[test]
    fn every_value_is_valid_resp2(value in value(Proto::Resp3)) {
        let mut reply = Reply::new();
        value.write(&mut reply);
        let bytes = sent(&reply);
        prop_assert_eq!(Value::read(&bytes).unwrap().map(|(_, len)| len), Some(bytes.len()));
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::collection::vec(prop::sample::select(FRAMES), 0..30).prop_map(|parts| parts.concat()),
    ]) {
        if let Ok(Some((value, len))) = Value::read(&bytes) {
            prop_assert!(len <= bytes.len());
            let mut reply = Reply::with_proto(Proto::Resp3);
            value.write(&mut reply);
            prop_assert!(value.to_string().len() <= 200 * bytes.len());
        }
    }
}

/// Frames and parts of frames.
const FRAMES: &[&[u8]] = &[
    b"*2\r\n",
    b"%1\r\n",
    b"~1\r\n",
    b">2\r\n",
    b"|1\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"$-1\r\n",
    b"$1\r\na\r\n",
    b"$3\r\n",
    b"a\r\n",
    b"=5\r\ntxt:a\r\n",
    b"!1\r\ne\r\n",
    b"+OK\r\n",
    b"-ERR\r\n",
    b":1\r\n",
    b",1.5\r\n",
    b",inf\r\n",
    b"#t\r\n",
    b"_\r\n",
    b"(12\r\n",
    b"*99999999\r\n",
    b"$99999999\r\n",
    b"\r",
    b"\n",
    b"-",
    b"1",
];

#[test]
fn malformed_replies_are_refused_where_they_break() {
    for (bytes, offset) in [
        (&b"x\r\n"[..], 0),
        (b"\r\n", 0),
        (b":01\r\n", 0),
        (b":\r\n", 0),
        (b"$-2\r\n", 0),
        (b"*-2\r\n", 0),
        (b"%-1\r\n", 0),
        (b"$1\r\nabc", 0),
        (b"*1\r\n#x\r\n", 4),
        (b"+a\rb", 3),
        (b"_x\r\n", 0),
        (b",nano\r\n", 0),
        (b",infinity\r\n", 0),
        (b",\r\n", 0),
        (b"(1.5\r\n", 0),
        (b"(-\r\n", 0),
        (b"=3\r\ntxt\r\n", 0),
        (b"=4\r\ntxt;\r\n", 0),
    ] {
        assert_eq!(Value::read(bytes), Err(ReadError::Malformed(offset)), "{bytes:?}");
    }
}

#[test]
fn announced_lengths_are_waited_for_not_believed() {
    for head in ["*9223372036854775807", "%9223372036854775807", "$9223372036854775807"] {
        assert_eq!(Value::read(format!("{head}\r\n").as_bytes()), Ok(None));
    }
}

#[test]
fn nesting_has_a_limit() {
    let nested = |levels: usize| format!("{}:1\r\n", "*1\r\n".repeat(levels)).into_bytes();
    assert!(matches!(Value::read(&nested(MAX_DEPTH)), Ok(Some(_))));
    assert_eq!(Value::read(&nested(MAX_DEPTH + 1)), Err(ReadError::TooDeep));
    assert_eq!(Value::read(&b"|1\r\n".repeat(100_000)), Err(ReadError::TooDeep));
}

#[track_caller]
fn shows(frames: &str, expected: &str) {
    let Ok(Some((value, len))) = Value::read(frames.as_bytes()) else {
        panic!("no whole reply: {frames:?}");
    };
    assert_eq!(len, frames.len());
    assert_eq!(value.to_string(), expected);
}

#[test]
fn leaves_show_as_in_redis_cli() {
    shows("+OK\r\n", "OK");
    shows("-ERR x y\r\n", "(error) ERR x y");
    shows(":-5\r\n", "(integer) -5");
    shows("$-1\r\n", "(nil)");
    shows("*-1\r\n", "(nil)");
    shows("_\r\n", "(nil)");
    shows(",3.141\r\n", "(double) 3.141");
    shows("#t\r\n", "(true)");
    shows("#f\r\n", "(false)");
    shows("=29\r\ntxt:This is a verbatim\nstring\r\n", "This is a verbatim\nstring");
    shows("*0\r\n", "(empty array)");
    shows("~0\r\n", "(empty set)");
    shows("%0\r\n", "(empty hash)");
    shows(">0\r\n", "(empty push)");
    shows("$9\r\n\\\"\n\r\t\x07\x08\0~\r\n", r#""\\\"\n\r\t\a\b\x00~""#);
    let value = Value::Bulk(b"x\xff".to_vec());
    assert_eq!(value.to_string(), r#""x\xff""#);
}

#[test]
fn nested_arrays_show_as_in_redis_cli() {
    shows(
        "*5\r\n:1\r\n*3\r\n:2\r\n*2\r\n:3\r\n$1\r\na\r\n$1\r\nb\r\n*0\r\n*1\r\n*0\r\n$1\r\nx\r\n",
        "1) (integer) 1\n\
         2) 1) (integer) 2\n   \
            2) 1) (integer) 3\n      \
               2) \"a\"\n   \
            3) \"b\"\n\
         3) (empty array)\n\
         4) 1) (empty array)\n\
         5) \"x\"",
    );
    let ones = ":1\r\n".repeat(9);
    shows(
        &format!("*11\r\n{ones}*2\r\n$1\r\na\r\n$1\r\nb\r\n$-1\r\n"),
        &format!(
            "{}10) 1) \"a\"\n    2) \"b\"\n11) (nil)",
            (1..10).map(|index| format!(" {index}) (integer) 1\n")).collect::<String>(),
        ),
    );
    shows("~2\r\n:0\r\n:1\r\n", "1~ (integer) 0\n2~ (integer) 1");
}

#[test]
fn maps_show_as_in_redis_cli() {
    shows("%2\r\n:0\r\n#f\r\n:1\r\n#t\r\n", "1# (integer) 0 => (false)\n2# (integer) 1 => (true)");
    shows(
        "%5\r\n$1\r\na\r\n*2\r\n:1\r\n:2\r\n$1\r\nc\r\n%2\r\n$1\r\ny\r\n:2\r\n$1\r\nx\r\n:1\r\n\
         $1\r\nb\r\n*1\r\n:1\r\n$1\r\ne\r\n*0\r\n$1\r\nd\r\n%1\r\n$1\r\nx\r\n*1\r\n:1\r\n",
        "1# \"a\" => \n   1) (integer) 1\n   2) (integer) 2\n\
         2# \"c\" => \n   1# \"y\" => (integer) 2\n   2# \"x\" => (integer) 1\n\
         3# \"b\" => 1) (integer) 1\n\
         4# \"e\" => (empty array)\n\
         5# \"d\" => 1# \"x\" => 1) (integer) 1",
    );
}
