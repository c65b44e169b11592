//! The output of `redis-cli monitor`: a time, the database and the client in brackets, and the quoted words of a command. Each key that
//! a command reads or writes is a request.
//!
//! Which words are keys the commands' rows tell, by COMMAND GETKEYSANDFLAGS of a server in this process. Passed over are commands
//! that it does not know (scripts: what they call has lines of its own), commands that look at a key without using it (EXISTS, TTL), and those
//! that remove it.
//!
//! Nothing is removed and nothing expires in a replay: how many commands do either is told.
//!
//! A key of database 0 is called as it is, one of database 1 `db1:` and its name, and so on.
//!
//! Commands that store a whole string tell the size of its key's object: the bytes of both.

use std::io::BufRead;

use larder::{Connection, Server, Value};

use super::text::lines;
use super::{Builder, Problem, Reading};
use crate::tell;

/// Of so many lines one may be cut or of another kind; it is passed over.
const LINES_PER_ODD_ONE: usize = 100;

/// Reads the output of MONITOR.
///
/// # Errors
/// More than a hundredth of the lines, and more than one, are not of this format.
pub fn read_monitor(source: &mut dyn BufRead, builder: &mut Builder, reading: &Reading) -> Result<(), Problem> {
    let server = Server::builder().build().map_err(|error| Problem::new(error.to_string()))?;
    let mut connection = server.connect();
    let (mut all, mut odd) = (0, 0);
    let (mut removals, mut expiries) = (0, 0);
    lines(source, |line| {
        all += 1;
        // The last is what redis-cli says when it ends.
        if line.is_empty() || is_greeting(line) || line.starts_with(b"Error: Server closed") {
            return Ok(());
        }
        let Some((database, words)) = parse(line) else {
            odd += 1;
            return Ok(());
        };
        removals += u64::from(removes(&words));
        expiries += u64::from(expires(&words));
        let size = stored_bytes(&words);
        let (keys, left_out) = keys(&mut connection, words, reading.reads_only);
        builder.leave_out(left_out);
        for key in keys {
            let known = size.as_ref().filter(|(stored, _)| *stored == key).map(|(_, size)| *size);
            builder.push_bytes(&name(database, key), known)?;
        }
        // What is stored has a size though the call be no request.
        if let Some((key, size)) = size.filter(|_| reading.reads_only) {
            builder.tell_size(&name(database, key), size);
        }
        Ok(())
    })?;
    if odd > 1.max(all / LINES_PER_ODD_ONE) {
        return Err(Problem::new(format!("{odd} of {all} lines are none of MONITOR")));
    }
    if removals + expiries > 0 {
        builder.note_taken(format!(
            "{removals} commands that remove keys and {expiries} that give them a time to live are passed over, so that hit ratios are those without"
        ));
    }
    if odd > 0 {
        tell!("passed over {odd} of {all} lines that are none of MONITOR");
    }
    Ok(())
}

/// Whether a file that begins so is the output of MONITOR. Its first line may be cut, or something that redis-cli said.
pub fn looks_like_monitor(start: &[u8]) -> bool {
    let lines = || start.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    lines().any(|line| parse(line).is_some()) || lines().next().is_some() && lines().all(is_greeting)
}

/// What MONITOR answers first.
fn is_greeting(line: &[u8]) -> bool {
    matches!(line, b"OK" | b"+OK")
}

/// The database and the words of a line, which `nc` shows with the `+` of its reply.
fn parse(line: &[u8]) -> Option<(&[u8], Vec<Vec<u8>>)> {
    let line = line.strip_prefix(b"+").unwrap_or(line);
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (time, rest) = line.split_at(space);
    let is_time = time.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') && time.contains(&b'.');
    let rest = rest.strip_prefix(b" [").filter(|_| is_time)?;
    let database = &rest[..rest.iter().position(|byte| *byte == b' ')?];
    let end = rest.windows(3).position(|three| three == b"] \"")?;
    let words = words(&rest[end + 2..])?;
    (database.iter().all(u8::is_ascii_digit) && !words.is_empty()).then_some((database, words))
}

/// What a key of a database is called.
fn name(database: &[u8], key: Vec<u8>) -> Vec<u8> {
    if database == b"0" { key } else { [b"db", database, b":", &key].concat() }
}

/// Quoted words with a space between them.
fn words(mut text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    loop {
        let (word, rest) = word(text)?;
        words.push(word);
        if rest.is_empty() {
            return Some(words);
        }
        text = rest.strip_prefix(b" ")?;
    }
}

/// A quoted word and what follows it.
fn word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut word = Vec::new();
    loop {
        match rest {
            [b'"', after @ ..] => return Some((word, after)),
            [b'\\', b'x', high, low, after @ ..] => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                word.push((digit(*high)? * 16 + digit(*low)?) as u8);
                rest = after;
            }
            [b'\\', letter, after @ ..] => {
                word.push(match letter {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    other => *other,
                });
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

/// Whether a command removes keys.
fn removes(words: &[Vec<u8>]) -> bool {
    const NAMES: [&[u8]; 5] = [b"DEL", b"UNLINK", b"GETDEL", b"FLUSHALL", b"FLUSHDB"];
    words.first().is_some_and(|name| NAMES.iter().any(|known| name.eq_ignore_ascii_case(known)))
}

/// Whether a command gives a key a time to live.
fn expires(words: &[Vec<u8>]) -> bool {
    const NAMES: [&[u8]; 6] = [b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT", b"SETEX", b"PSETEX"];
    const OPTIONS: [&[u8]; 4] = [b"EX", b"PX", b"EXAT", b"PXAT"];
    let is_one = |word: &Vec<u8>, of: &[&[u8]]| of.iter().any(|known| word.eq_ignore_ascii_case(known));
    let options = |from| words.iter().skip(from).any(|word| is_one(word, &OPTIONS));
    words.first().is_some_and(|name| match &*name.to_ascii_uppercase() {
        b"SET" => options(3),
        b"GETEX" => options(2),
        _ => is_one(name, &NAMES),
    })
}

/// The key that a command stores a whole string at, and the bytes of both.
fn stored_bytes(words: &[Vec<u8>]) -> Option<(Vec<u8>, u32)> {
    let name = words.first()?.to_ascii_uppercase();
    let at = match &*name {
        b"SET" | b"SETNX" | b"GETSET" => 2,
        b"SETEX" | b"PSETEX" => 3,
        _ => return None,
    };
    let (key, value) = (words.get(1)?, words.get(at)?);
    Some((key.clone(), u32::try_from(key.len() + value.len()).unwrap_or(u32::MAX)))
}

/// The keys of a command that count as requests, and how many do not because they are no reads.
fn keys(connection: &mut Connection, words: Vec<Vec<u8>>, reads_only: bool) -> (Vec<Vec<u8>>, usize) {
    /// They look at a key without using it, as for CACHE STATS.
    const LOOKS: [&[u8]; 8] =
        [b"EXISTS", b"TYPE", b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME", b"OBJECT", b"MEMORY"];
    /// They answer what a key holds, and change it, too.
    const CHANGING_READS: [&[u8]; 3] = [b"GETEX", b"GETDEL", b"PFCOUNT"];
    let is_one = |of: &[&[u8]]| words.first().is_some_and(|name| of.iter().any(|it| name.eq_ignore_ascii_case(it)));
    if is_one(&LOOKS) {
        return (Vec::new(), 0);
    }
    let is_read = is_one(&CHANGING_READS);
    let ask = [b"COMMAND".to_vec(), b"GETKEYSANDFLAGS".to_vec()];
    let Value::Array(keys) = connection.execute(ask.into_iter().chain(words)) else { return (Vec::new(), 0) };
    let used: Vec<(Vec<u8>, bool)> = keys.into_iter().filter_map(used).collect();
    let all = used.len();
    let counts = |only_read: bool| only_read || is_read || !reads_only;
    let counted: Vec<_> = used.into_iter().filter(|(_, only_read)| counts(*only_read)).map(|(key, _)| key).collect();
    let left_out = all - counted.len();
    (counted, left_out)
}

/// A key of the answer that is read or written, and whether it is only read.
fn used(key: Value) -> Option<(Vec<u8>, bool)> {
    let Value::Array(mut pair) = key else { return None };
    let flags = pair.pop()?.to_string();
    let has = |flag: &str| flags.split(|letter: char| !letter.is_ascii_alphabetic()).any(|word| word == flag);
    match pair.pop()? {
        Value::Bulk(key) if !has("RM") => Some((key.to_vec(), has("RO"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Trace;

    fn read(text: &str, reads_only: bool) -> Result<Trace, String> {
        let (mut builder, reading) = (Builder::default(), Reading { reads_only, ..Reading::default() });
        read_monitor(&mut text.as_bytes(), &mut builder, &reading).map_err(|problem| problem.to_string())?;
        Ok(builder.build("t"))
    }

    const TEXT: &str = "OK\n\
        1339518083.107412 [0 127.0.0.1:60866] \"GET\" \"a\"\n\
        1339518083.107413 [0 127.0.0.1:60866] \"set\" \"a\" \"1 \\\"2\\\" ] \\x00\" \"EX\" \"10\"\n\
        1339518083.107414 [1 unix:/tmp/a b.sock] \"get\" \"a\"\n\
        1339518083.107415 [0 [::1]:60866] \"mget\" \"b\" \"a\"\n\
        1339518083.107416 [0 127.0.0.1:60866] \"EXISTS\" \"d\"\n\
        1339518083.107417 [0 127.0.0.1:60866] \"DEL\" \"a\"\n\
        1339518083.107418 [0 127.0.0.1:60866] \"ping\"\n\
        1339518083.107419 [0 127.0.0.1:60866] \"no-such-command\" \"a\"\n\
        1339518083.107420 [0 lua] \"hincrby\" \"h\" \"f\" \"1\"\n";

    #[test]
    fn each_key_that_is_read_or_written_is_a_request() {
        let trace = read(TEXT, false).unwrap();
        assert_eq!((trace.requests, trace.keys), (vec![0, 0, 1, 2, 0, 3], 4));
    }

    #[test]
    fn keys_are_called_as_they_are_and_by_their_database() {
        let mut builder = Builder::with_names();
        read_monitor(&mut TEXT.as_bytes(), &mut builder, &Reading::default()).unwrap();
        let names = builder.build("t").names.unwrap();
        assert_eq!([0, 1, 2, 3].map(|key| names.of(key)), [&b"a"[..], b"db1:a", b"b", b"h"]);
    }

    #[test]
    fn what_removes_keys_or_lets_them_expire_is_told() {
        let mut builder = Builder::default();
        let more = "1.5 [0 lua] \"set\" \"EX\" \"PX\" \"NX\"\n1.5 [0 lua] \"flushall\"\n\
            1.5 [0 lua] \"getex\" \"a\" \"px\" \"9\"\n1.5 [0 lua] \"pexpire\" \"a\" \"9\"\n";
        let text = format!("{TEXT}{more}");
        read_monitor(&mut text.as_bytes(), &mut builder, &Reading::default()).unwrap();
        let taken = builder.taken.unwrap();
        assert!(taken.starts_with("2 commands that remove keys and 3 that give them a time to live "), "{taken}");
    }

    #[test]
    fn what_nc_shows_is_understood() {
        let raw = TEXT.lines().map(|line| format!("+{line}\r\n")).collect::<String>();
        assert!(looks_like_monitor(raw.as_bytes()));
        assert_eq!(read(&raw, false), read(TEXT, false));
    }

    #[test]
    fn reads_alone_are_counted_on_demand() {
        assert_eq!(read(TEXT, true).unwrap().requests, [0, 1, 2, 0]);
    }

    #[test]
    fn reads_are_those_that_cache_stats_counts() {
        let requests = |command: &str, reads_only| {
            let words: String = command.split(' ').map(|word| format!(" \"{word}\"")).collect();
            read(&format!("1.5 [0 lua]{words}\n"), reads_only).unwrap().requests.len()
        };
        for read in [
            "get a",
            "STRLEN a",
            "sismember a b",
            "zcard a",
            "hlen a",
            "touch a",
            "getex a EX 9",
            "GETDEL a",
            "pfcount a",
        ] {
            assert_eq!((requests(read, true), requests(read, false)), (1, 1), "{read}");
        }
        for look in
            ["exists a", "TYPE a", "ttl a", "pttl a", "expiretime a", "object freq a", "memory usage a", "del a"]
        {
            assert_eq!((requests(look, true), requests(look, false)), (0, 0), "{look}");
        }
        for write in ["set a b", "incr a", "lpop a", "getset a b"] {
            assert_eq!((requests(write, true), requests(write, false)), (0, 1), "{write}");
        }
    }

    #[test]
    fn what_is_stored_tells_sizes() {
        let text = "1.5 [0 lua] \"get\" \"a\"\n1.5 [0 lua] \"set\" \"a\" \"12345\" \"EX\" \"9\"\n\
            1.5 [0 lua] \"setex\" \"bb\" \"10\" \"123\"\n1.5 [0 lua] \"get\" \"bb\"\n1.5 [0 lua] \"get\" \"c\"\n";
        let trace = read(text, false).unwrap();
        assert_eq!((trace.requests, trace.sizes.as_deref()), (vec![0, 0, 1, 1, 2], Some(&[6, 5, 5][..])));
        let trace = read(text, true).unwrap();
        assert_eq!((trace.requests, trace.sizes.as_deref()), (vec![0, 1, 2], Some(&[6, 5, 5][..])));
        assert_eq!(read("1.5 [0 lua] \"get\" \"a\"\n", false).unwrap().sizes, None);
    }

    #[test]
    fn words_are_unquoted() {
        let (database, words) = parse(br#"1.5 [3 lua] "a\"b" "\x00\xff\n\t\\" """#).unwrap();
        assert_eq!((database, words), (&b"3"[..], vec![b"a\"b".to_vec(), b"\0\xff\n\t\\".to_vec(), Vec::new()]));
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["hello", "1.5 [0 lua] get a", "1.5 [0 lua] \"get", "1.5 [x lua] \"get\"", "1.5 0 lua \"get\""] {
            let twice = format!("OK\n{line}\n{line}\n");
            assert_eq!(read(&twice, false).unwrap_err(), "2 of 3 lines are none of MONITOR", "{line}");
        }
        assert!(
            looks_like_monitor(TEXT.as_bytes()) && !looks_like_monitor(b"OK\nkey:1\n") && !looks_like_monitor(b"\n")
        );
        let cut = &TEXT[40..];
        assert!(looks_like_monitor(cut.as_bytes()) && looks_like_monitor(b"OK\n"), "nothing was asked in that time");
        assert_eq!(read(cut, false).unwrap().requests.len(), 5);
    }
}
