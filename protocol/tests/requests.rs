//! Requests as a client sends them: each rule of the parser, then all rules under random input.
//!
//! Every expected outcome of malformed input was asked from redis-server 7.4.1.

use larder_protocol::{Batch, Limits, Parser, ProtocolError, Reply};
use proptest::prelude::*;

/// All commands of a stream, and the error that ended it.
type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// Parses `stream`, which arrives in pieces of at most `piece` bytes, as a connection does.
fn run(stream: &[u8], piece: usize, max_commands: usize, limits: &Limits) -> Outcome {
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    let (mut buf, mut commands) = (Vec::new(), Vec::new());
    for bytes in stream.chunks(piece) {
        buf.extend_from_slice(bytes);
        loop {
            let outcome = parser.parse(&buf, &mut batch, max_commands, limits);
            assert!(batch.len() <= max_commands);
            assert!(
                parser.memory() + batch.memory() <= 64 * buf.len() + 4096 * 8 + 16 * 1024 + 1024,
                "memory must follow the bytes that arrived"
            );
            for index in 0..batch.len() {
                let args = batch.args(index, &buf);
                assert!(!args.is_empty());
                commands.push(args.iter().map(<[u8]>::to_vec).collect());
            }
            if let Err(error) = outcome {
                assert!(batch.is_empty());
                assert_eq!(parser.parse(&buf, &mut batch, max_commands, limits), Err(error));
                return (commands, Some(error));
            }
            buf.drain(..batch.consumed());
            if batch.is_empty() {
                break;
            }
        }
    }
    (commands, None)
}

/// Checks the commands, written with spaces between arguments, and the error, whatever the cut.
#[track_caller]
fn check(stream: impl AsRef<[u8]>, commands: &[&str], error: Option<ProtocolError>) {
    check_with(&Limits::default(), stream.as_ref(), commands, error);
}

#[track_caller]
fn check_with(limits: &Limits, stream: &[u8], commands: &[&str], error: Option<ProtocolError>) {
    for piece in [usize::MAX, 1, 7] {
        let (found, found_error) = run(stream, piece, 32, limits);
        let found: Vec<_> =
            found.iter().map(|command| String::from_utf8_lossy(&command.join(&b' ')).into_owned()).collect();
        assert_eq!(found, commands, "in pieces of {piece}");
        assert_eq!(found_error, error, "in pieces of {piece}");
    }
}

#[test]
fn commands_follow_each_other() {
    check("*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n", &["PING", "GET "], None);
}

#[test]
fn inline_and_multibulk_mix() {
    check("PING\r\n*1\r\n$4\r\nTIME\r\nGET  'a b'\n", &["PING", "TIME", "GET a b"], None);
}

#[test]
fn empty_commands_leave_no_trace() {
    check("*-9\r\n*0\r\n\r\n \t\r\n\nPING\r\n", &["PING"], None);
    check("*0\r\n", &[], None);
}

#[test]
fn an_argument_may_have_any_bytes() {
    check("*1\r\n$6\r\n\r\n*$\0\n\r\n", &["\r\n*$\0\n"], None);
}

#[test]
fn lengths_may_have_many_digits() {
    let long = "x".repeat(1_234_567);
    check(format!("*1\r\n$1234567\r\n{long}\r\n"), &[&long], None);
    let many = format!("*1234\r\n{}", "$1\r\na\r\n".repeat(1234));
    check(many, &[&["a"; 1234].join(" ")], None);
}

#[test]
fn a_long_argument_may_follow_short_ones() {
    let long = "x".repeat(1_234_567);
    let stream = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1234567\r\n{long}\r\n");
    check(stream, &[&format!("SET k {long}")], None);
}

#[test]
fn a_cut_in_the_first_line_leaves_nothing_behind() {
    let stream = b"*10\r\n";
    let arguments = b"$1\r\na\r\n".repeat(10);
    let stream = [&stream[..], &arguments, b"\nPING\n"].concat();
    for cut in 1..6 {
        let (mut parser, mut batch) = (Parser::new(), Batch::new());
        let limits = Limits::default();
        assert_eq!(parser.parse(&stream[..cut], &mut batch, 32, &limits), Ok(()));
        assert_eq!(parser.parse(&stream, &mut batch, 32, &limits), Ok(()));
        assert_eq!((batch.len(), batch.consumed()), (2, stream.len()), "cut at {cut}");
    }
}

#[test]
fn the_bytes_after_an_argument_are_not_looked_at() {
    check("*2\r\n$4\r\nECHO\r\n$2\r\nhixx*1\rx$4\rxPINGzz", &["ECHO hi", "PING"], None);
}

#[test]
fn nul_hides_the_end_of_a_line() {
    check("PING\0\r\nPING\r\n", &[], None);
    check("*1\0\r\n$4\r\nPING\r\n", &[], None);
    let mut endless = b"PING\0\r\n".to_vec();
    endless.resize(65537, b'x');
    check(endless, &[], Some(ProtocolError::TooBigInline));
}

#[test]
fn a_count_is_a_canonical_integer_below_two_to_the_31() {
    for count in ["x", "", "01", "+1", "2147483648", "99999999999999999999", " 1", "1 ", "-0"] {
        let stream = format!("PING\r\n*{count}\r\n$4\r\nPING\r\n");
        check(stream, &["PING"], Some(ProtocolError::InvalidMultibulkLength));
    }
    check("*2147483647\r\n$4\r\nPING\r\n", &[], None);
}

#[test]
fn a_length_is_a_canonical_integer_within_the_limit() {
    for length in ["x", "", "01", "+1", "-1", "536870913", "4294967296", "99999999999999999999"] {
        let stream = format!("*1\r\n${length}\r\nPING\r\n");
        check(stream, &[], Some(ProtocolError::InvalidBulkLength));
    }
    check("*1\r\n$536870912\r\nPING\r\n", &[], None);
}

#[test]
fn a_limit_below_the_length_of_any_argument_holds() {
    let limits = Limits { max_bulk: 3, ..Limits::default() };
    let error = Some(ProtocolError::InvalidBulkLength);
    check_with(&limits, b"*2\r\n$3\r\nGET\r\n$4\r\nabcd\r\n", &[], error);
    check_with(&limits, b"*2\r\n$3\r\nGET\r\n$3\r\nabc\r\n", &["GET abc"], None);
}

#[test]
fn a_command_of_four_gibibytes_is_refused() {
    let limits = Limits { max_bulk: usize::MAX, ..Limits::default() };
    let error = Some(ProtocolError::InvalidBulkLength);
    check_with(&limits, b"*2\r\n$3\r\nGET\r\n$4294967270\r\n", &[], error);
    check_with(&limits, b"*2\r\n$3\r\nGET\r\n$4294967260\r\n", &[], None);
}

#[test]
fn an_argument_begins_with_a_dollar() {
    for (line, got) in [("x", b'x'), ("", b'\r'), ("\n", b'\n'), ("*1", b'*')] {
        let stream = format!("*1\r\n{line}\r\n");
        check(stream, &[], Some(ProtocolError::ExpectedDollar(got)));
    }
}

#[test]
fn quotes_balance() {
    for line in ["ECHO \"a", "ECHO 'a'b", "ECHO \"a\"b"] {
        check(format!("PING\r\n{line}\r\n"), &["PING"], Some(ProtocolError::UnbalancedQuotes));
    }
}

#[test]
fn lines_end_in_time() {
    let ones = "1".repeat(65536);
    for (start, error) in [
        ("", ProtocolError::TooBigInline),
        ("*", ProtocolError::TooBigMultibulkCount),
        ("*1\r\n$", ProtocolError::TooBigBulkCount),
    ] {
        check(format!("{start}{ones}1"), &[], Some(error));
        check(format!("{start}{ones}1\r\n"), &[], Some(error));
        check(format!("{start}{}", &ones[1..]), &[], None);
    }
    check(format!("{ones}\n"), &[&ones], None);
}

#[test]
fn before_authentication_less_is_allowed() {
    let limits = Limits { authenticated: false, ..Limits::default() };
    let ten = format!("*10\r\n{}", "$1\r\na\r\n".repeat(10));
    check_with(&limits, ten.as_bytes(), &[&["a"; 10].join(" ")], None);
    let error = Some(ProtocolError::UnauthenticatedMultibulkLength);
    check_with(&limits, b"*11\r\n", &[], error);
    let long = "x".repeat(16384);
    let stream = format!("*1\r\n$16384\r\n{long}\r\n*1\r\n$16385\r\n");
    let error = Some(ProtocolError::UnauthenticatedBulkLength);
    check_with(&limits, stream.as_bytes(), &[&long], error);
}

#[test]
fn limits_count_when_the_command_before_has_run() {
    let buf = b"AUTH x\r\n*11\r\n";
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    let before = Limits { authenticated: false, ..Limits::default() };
    assert_eq!(parser.parse(buf, &mut batch, 32, &before), Ok(()));
    assert_eq!((batch.len(), batch.consumed()), (1, 8));
    assert_eq!(parser.parse(&buf[8..], &mut batch, 32, &Limits::default()), Ok(()));
    assert!(batch.is_empty());
}

#[test]
fn a_batch_is_bounded_and_the_rest_waits() {
    let buf = b"PING\r\n\r\nTIME\r\n*1\r\n$4\r\nQUIT\r\n";
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    assert_eq!(parser.parse(buf, &mut batch, 2, &Limits::default()), Ok(()));
    assert_eq!((batch.len(), batch.consumed()), (2, 14));
    assert_eq!(&batch.args(1, buf)[0], b"TIME");
    assert_eq!(parser.parse(&buf[14..], &mut batch, 2, &Limits::default()), Ok(()));
    assert_eq!((batch.len(), batch.consumed()), (1, 14));
    assert_eq!(&batch.args(0, &buf[14..])[0], b"QUIT");
}

#[test]
fn wanted_tells_what_the_argument_still_needs() {
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    let mut wanted = |buf: &[u8]| {
        assert_eq!(parser.parse(buf, &mut batch, 32, &Limits::default()), Ok(()));
        parser.wanted()
    };
    assert_eq!(wanted(b"*2\r\n$3"), 0);
    assert_eq!(wanted(b"*2\r\n$3\r\n"), 5);
    assert_eq!(wanted(b"*2\r\n$3\r\nGET\r"), 1);
    assert_eq!(wanted(b"*2\r\n$3\r\nGET\r\n"), 0);
    assert_eq!(wanted(b"*2\r\n$3\r\nGET\r\n$1000000\r\nab"), 1_000_000);
}

#[test]
fn an_announced_length_reserves_nothing() {
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    let buf = b"*2147483647\r\n$1\r\na\r\n$536870912\r\n";
    assert_eq!(parser.parse(buf, &mut batch, 32, &Limits::default()), Ok(()));
    assert!(parser.memory() + batch.memory() < 1024);
}

#[test]
fn errors_are_answered_in_redis_words() {
    for (error, text) in [
        (ProtocolError::TooBigInline, "too big inline request"),
        (ProtocolError::UnbalancedQuotes, "unbalanced quotes in request"),
        (ProtocolError::TooBigMultibulkCount, "too big mbulk count string"),
        (ProtocolError::InvalidMultibulkLength, "invalid multibulk length"),
        (ProtocolError::UnauthenticatedMultibulkLength, "unauthenticated multibulk length"),
        (ProtocolError::TooBigBulkCount, "too big bulk count string"),
        (ProtocolError::ExpectedDollar(b'x'), "expected '$', got 'x'"),
        (ProtocolError::InvalidBulkLength, "invalid bulk length"),
        (ProtocolError::UnauthenticatedBulkLength, "unauthenticated bulk length"),
    ] {
        let mut reply = Reply::new();
        reply.protocol_error(&error);
        let expected = format!("-ERR Protocol error: {text}\r\n");
        assert_eq!(reply.as_slice(), Some(expected.as_bytes()));
        assert_eq!(error.to_string(), text);
    }
    let mut reply = Reply::new();
    reply.protocol_error(&ProtocolError::ExpectedDollar(0xff));
    reply.protocol_error(&ProtocolError::ExpectedDollar(b'\r'));
    let expected = b"-ERR Protocol error: expected '$', got '\xff'\r\n\
                     -ERR Protocol error: expected '$', got ' '\r\n";
    assert_eq!(reply.as_slice(), Some(&expected[..]));
}

/// One piece of a stream: mostly well-formed commands, now and then something else.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let argument = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..20),
        1 => prop::collection::vec(any::<u8>(), 90..120),
    ];
    let multibulk = prop::collection::vec(argument, 1..14).prop_map(|arguments| {
        let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(&argument);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    });
    let inline = "[a-c'\"\\\\x4 \t\r]{0,12}\n".prop_map(String::into_bytes);
    let tokens = prop::sample::select(vec![
        "*",
        "$",
        "\r\n",
        "\r",
        "\n",
        "0",
        "1",
        "2",
        "3",
        "16",
        "-1",
        "99999999999",
        "\0",
        "a",
        "*0\r\n",
        "*1\r\n",
        "*2\r\n",
        "$1\r\na\r\n",
        "$0\r\n\r\n",
        "*-1\r\n",
        "*2147483647\r\n",
    ]);
    prop_oneof![
        6 => multibulk,
        2 => inline,
        1 => prop::collection::vec(tokens, 1..8).prop_map(|tokens| tokens.concat().into_bytes()),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    (prop_oneof![Just(512 << 20), 0_usize..30], 8_usize..64, any::<bool>())
        .prop_map(|(max_bulk, max_inline, authenticated)| Limits { max_bulk, max_inline, authenticated })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_outcome_does_not_depend_on_the_cut(
        pieces in prop::collection::vec(piece(), 0..12),
        limits in limits(),
        size in 1_usize..40,
        max_commands in 1_usize..6,
    ) {
        let stream = pieces.concat();
        let whole = run(&stream, usize::MAX, usize::MAX, &limits);
        prop_assert_eq!(&run(&stream, 1, 32, &limits), &whole);
        prop_assert_eq!(&run(&stream, size, max_commands, &limits), &whole);
    }

    #[test]
    fn well_formed_commands_come_out_as_they_went_in(
        commands in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..130), 1..12), 0..12),
        size in 1_usize..200,
    ) {
        let mut reply = Reply::new();
        for command in &commands {
            reply.array(command.len());
            command.iter().for_each(|argument| reply.bulk(argument));
        }
        let stream = reply.as_slice().unwrap();
        prop_assert_eq!(run(stream, size, 32, &Limits::default()), (commands, None));
    }

    #[test]
    fn no_bytes_make_it_panic(stream in prop::collection::vec(any::<u8>(), 0..300), size in 1_usize..300) {
        run(&stream, size, 32, &Limits { max_inline: 40, ..Limits::default() });
    }
}
