//! Parts of strings: APPEND, SETRANGE, GETRANGE, STRLEN, LCS.
//!
//! A string that has an allocation of its own is changed in place and read by reference. A short
//! one stands in its entry's cell, and is built anew there (see `string_edit`).

use bytes::Bytes;
use larder_protocol::{Args, Reply, SHARED_MIN};
use larder_storage::table::Expiry;
use larder_storage::value::Content;

use super::command::*;
use super::parse::{integer, is};
use super::string_edit::{self, Before};
use crate::config::KeyspaceEvents as Class;
use crate::error::{
    Error, LCS_LENGTH_AND_INDEXES, LCS_NOT_STRINGS, OFFSET_OUT_OF_RANGE, Outcome, STRING_TOO_LONG, SYNTAX,
};
use crate::lcs::{self, Matches};
use crate::locked::{Locked, Text};

pub(super) const COMMANDS: &[Command] = &[
    Command::write("APPEND", Arity::exactly(2), &[key(1, RW | INSERT)], append)
        .flags(DENYOOM | FAST)
        .group(Group::String)
        .syntax("key value")
        .since("2.0.0")
        .summary("Adds bytes to the end of a string, made if need be, and answers its new length.")
        .complexity("O(N) where N is the number of bytes added, on average over many calls")
        .examples(&[("APPEND log one", "(integer) 3"), ("APPEND log ,two", "(integer) 7"), ("GET log", "\"one,two\"")]),
    Command::read("STRLEN", Arity::exactly(1), &[key(1, RO)], strlen)
        .flags(FAST)
        .group(Group::String)
        .syntax("key")
        .since("2.2.0")
        .complexity("O(1)")
        .summary("Answers the length of a string in bytes, 0 if it is not there.")
        .examples(&[("SET city Oslo", "OK"), ("STRLEN city", "(integer) 4"), ("STRLEN nobody", "(integer) 0")]),
    Command::write("SETRANGE", Arity::exactly(3), &[key(1, RW | UPDATE)], setrange)
        .flags(DENYOOM)
        .group(Group::String)
        .syntax("key offset value")
        .since("2.2.0")
        .summary("Overwrites a string from an offset on, after zeros if it is shorter.")
        .complexity("O(N) where N is the number of bytes written, zeros included")
        .examples(&[
            ("SET greeting \"Hello World\"", "OK"),
            ("SETRANGE greeting 6 Larder", "(integer) 12"),
            ("GET greeting", "\"Hello Larder\""),
            ("SETRANGE padded 2 x", "(integer) 3"),
            ("GET padded", "\"\\x00\\x00x\""),
            ("SETRANGE padded -1 x", "(error) ERR offset is out of range"),
        ]),
    Command::read("GETRANGE", Arity::exactly(3), &[key(1, RO | ACCESS)], getrange)
        .group(Group::String)
        .syntax("key start end")
        .since("2.4.0")
        .summary("Answers a part of a string; both offsets belong to it, and -1 is the last byte.")
        .complexity("O(N) where N is the length of the answer")
        .examples(&[
            ("SET city Bergen", "OK"),
            ("GETRANGE city 0 3", "\"Berg\""),
            ("GETRANGE city -3 -1", "\"gen\""),
            ("GETRANGE city 4 100", "\"en\""),
            ("GETRANGE city 3 2", "\"\""),
        ]),
    Command::read("SUBSTR", Arity::exactly(3), &[key(1, RO | ACCESS)], getrange)
        .group(Group::String)
        .syntax("key start end")
        .deprecated("2.0.0", "GETRANGE")
        .since("1.0.0")
        .summary("Answers a part of a string: the old name of GETRANGE.")
        .complexity("O(N) where N is the length of the answer")
        .examples(&[("SET city Bergen", "OK"), ("SUBSTR city 1 3", "\"erg\"")]),
    Command::read("LCS", Arity::at_least(2), LCS_KEYS, lcs)
        .group(Group::String)
        .syntax("key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]")
        .since("7.0.0")
        .summary("Answers a longest common subsequence of two strings, its length or its places.")
        .complexity("O(N*M) where N and M are the lengths of the strings")
        .examples(&[
            ("MSET a ohmytext b mynewtext", "OK"),
            ("LCS a b", "\"mytext\""),
            ("LCS a b LEN", "(integer) 6"),
            ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", LCS_INDEXES),
        ]),
];

const LCS_KEYS: &[KeySpec] =
    &[KeySpec { begin: 1, find: Find::Range { last: 1, step: 1 }, flags: RO | ACCESS, notes: "" }];

const LCS_INDEXES: &str = r#"1) "matches"
2) 1) 1) 1) (integer) 4
         2) (integer) 7
      2) 1) (integer) 5
         2) (integer) 8
      3) (integer) 4
3) "len"
4) (integer) 6"#;

fn append(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (key, tail) = (args.at(1), args.at(2));
    let len = match Before::of(locked, key)? {
        None => {
            locked.set(key, Content::string(tail), Expiry::Set(None))?;
            tail.len()
        }
        Some(before) => {
            let len = before.len();
            check_length(locked, len, tail)?;
            write(locked, key, before, len, tail)?
        }
    };
    locked.changed(Class::STRING, "append", key);
    reply.int(len as i64);
    Ok(())
}

fn setrange(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let offset = usize::try_from(integer(args.at(2))?).map_err(|_| OFFSET_OUT_OF_RANGE)?;
    let (key, bytes) = (args.at(1), args.at(3));
    let before = Before::of(locked, key)?.unwrap_or_default();
    if bytes.is_empty() {
        reply.int(before.len() as i64);
        return Ok(());
    }
    check_length(locked, offset, bytes)?;
    let len = write(locked, key, before, offset, bytes)?;
    locked.changed(Class::STRING, "setrange", key);
    reply.int(len as i64);
    Ok(())
}

fn strlen(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let len = locked.read_string(args.at(1))?.map_or(0, |mut text| text.len());
    reply.int(len as i64);
    Ok(())
}

fn getrange(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (start, end) = (integer(args.at(2))?, integer(args.at(3))?);
    let text = locked.read_string(args.at(1))?;
    let Some(mut text) = text else {
        reply.bulk(b"");
        return Ok(());
    };
    match (byte_range(start, end, text.len()), &mut text) {
        (None, _) => reply.bulk(b""),
        // A reference keeps the whole string alive, so it is worth that only for most of it.
        (Some((start, end)), Text::Big(string)) if end - start >= SHARED_MIN.max(string.bytes().len() / 2) => {
            reply.bulk_shared(string.shared().slice(start..end));
        }
        (Some((start, end)), text) => reply.bulk(&text.bytes()[start..end]),
    }
    Ok(())
}

/// The bytes that GETRANGE means, the end excluded; `None` when there are none. An end before the
/// first byte means the first byte, unlike in ranges of other types.
fn byte_range(start: i64, end: i64, len: usize) -> Option<(usize, usize)> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let from_front = |at: i64| {
        if at < 0 { at.saturating_add(len as i64).max(0) as usize } else { at as usize }
    };
    let (start, end) = (from_front(start), from_front(end).min(len.checked_sub(1)?));
    (start <= end).then_some((start, end + 1))
}

/// Whether a string may have `bytes` at `offset`.
fn check_length(locked: &Locked<'_>, offset: usize, bytes: &[u8]) -> Outcome {
    let limit = locked.engine().settings().proto_max_bulk_len.as_usize();
    let fits = offset.checked_add(bytes.len()).is_some_and(|len| len <= limit);
    if fits { Ok(()) } else { Err(STRING_TOO_LONG) }
}

/// Writes bytes over those of a string from `offset` on; gives the new length.
fn write(locked: &mut Locked<'_>, key: &[u8], before: Before, offset: usize, bytes: &[u8]) -> Result<usize, Error> {
    before.change(locked, key, |string| {
        overwrite(string, offset, bytes);
        string.len()
    })
}

/// Writes `bytes` at `offset`, with zeros in front if the string is shorter.
fn overwrite(string: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    // All room is asked for at once: two steps could each double the allocation.
    string_edit::reserve(string, offset + bytes.len());
    if string.len() < offset {
        string.resize(offset, 0);
    }
    let (over, beyond) = bytes.split_at(bytes.len().min(string.len() - offset));
    string[offset..offset + over.len()].copy_from_slice(over);
    string.extend_from_slice(beyond);
}

fn lcs(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (a, b) = match (whole(locked, args.at(1)), whole(locked, args.at(2))) {
        (Ok(a), Ok(b)) => (a, b),
        _ => return Err(LCS_NOT_STRINGS),
    };
    let options = LcsOptions::parse(args.from(3))?;
    let limit = locked.engine().settings().proto_max_bulk_len.get();
    if options.length {
        reply.int(lcs::length(&a, &b, limit)? as i64);
        return Ok(());
    }
    let found = lcs::matches(&a, &b, limit)?;
    if options.indexes {
        answer_indexes(&found, &options, reply);
    } else {
        reply.bulk(&found.common);
    }
    Ok(())
}

/// A string's bytes, apart from the table; empty if it is not there.
fn whole(locked: &mut Locked<'_>, key: &[u8]) -> Result<Bytes, Error> {
    Ok(match locked.read_string(key)? {
        None => Bytes::new(),
        Some(Text::Big(string)) => string.shared(),
        Some(mut text) => Bytes::copy_from_slice(text.bytes()),
    })
}

fn answer_indexes(found: &Matches, options: &LcsOptions, reply: &mut Reply) {
    let long_enough = || found.runs.iter().filter(|run| run.len() as u64 >= options.shortest);
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(long_enough().count());
    for run in long_enough() {
        reply.array(if options.with_length { 3 } else { 2 });
        for (first, last) in [run.a, run.b] {
            reply.array(2);
            reply.int(first as i64);
            reply.int(last as i64);
        }
        if options.with_length {
            reply.int(run.len() as i64);
        }
    }
    reply.bulk(b"len");
    reply.int(found.common.len() as i64);
}

/// The options of LCS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LcsOptions {
    length: bool,
    indexes: bool,
    with_length: bool,
    /// The length of the shortest run that is listed.
    shortest: u64,
}

impl LcsOptions {
    fn parse(options: Args<'_>) -> Result<Self, Error> {
        let mut parsed = Self::default();
        let mut words = options.iter();
        while let Some(word) = words.next() {
            if is(word, "IDX") {
                parsed.indexes = true;
            } else if is(word, "LEN") {
                parsed.length = true;
            } else if is(word, "WITHMATCHLEN") {
                parsed.with_length = true;
            } else if is(word, "MINMATCHLEN")
                && let Some(shortest) = words.next()
            {
                parsed.shortest = integer(shortest)?.max(0) as u64;
            } else {
                return Err(SYNTAX);
            }
        }
        if parsed.length && parsed.indexes { Err(LCS_LENGTH_AND_INDEXES) } else { Ok(parsed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_protocol::OwnedArgs;

    #[track_caller]
    fn check_lcs(line: &str, expected: Result<LcsOptions, Error>) {
        let words = OwnedArgs::from_slices(&line.split_whitespace().map(str::as_bytes).collect::<Vec<_>>());
        assert_eq!(LcsOptions::parse(words.as_args()), expected, "{line}");
    }

    #[test]
    fn options_of_lcs_are_read_in_any_order_and_case() {
        check_lcs("", Ok(LcsOptions::default()));
        check_lcs("len LEN", Ok(LcsOptions { length: true, ..LcsOptions::default() }));
        let listed = LcsOptions { indexes: true, with_length: true, shortest: 4, length: false };
        check_lcs("MinMatchLen 4 WITHMATCHLEN idx", Ok(listed));
        check_lcs("MINMATCHLEN -1", Ok(LcsOptions::default()));
    }

    #[test]
    fn wrong_options_of_lcs_are_refused() {
        check_lcs("MINMATCHLEN", Err(SYNTAX));
        check_lcs("4", Err(SYNTAX));
        check_lcs("IDX LEN", Err(LCS_LENGTH_AND_INDEXES));
        check_lcs("IDX LEN MINMATCHLEN x", Err(crate::error::NOT_AN_INTEGER));
    }

    #[test]
    fn byte_ranges_are_cut_to_the_string() {
        assert_eq!(byte_range(0, -1, 5), Some((0, 5)));
        assert_eq!(byte_range(1, 100, 5), Some((1, 5)));
        assert_eq!(byte_range(-100, -4, 5), Some((0, 2)));
        assert_eq!(byte_range(0, -100, 5), Some((0, 1)));
        assert_eq!(byte_range(i64::MIN, i64::MAX, 5), Some((0, 5)));
        for (start, end, len) in [(3, 2, 5), (-1, -2, 5), (5, 9, 5), (0, 0, 0), (0, -1, 0), (i64::MAX, i64::MIN, 5)] {
            assert_eq!(byte_range(start, end, len), None, "{start} {end} {len}");
        }
    }

    #[test]
    fn bytes_are_written_over_others_and_beyond_the_end() {
        let check = |offset: usize, bytes: &[u8], expected: &[u8]| {
            let mut string = b"Hello".to_vec();
            overwrite(&mut string, offset, bytes);
            assert_eq!(&string[..], expected);
        };
        check(1, b"a", b"Hallo");
        check(3, b"p me", b"Help me");
        check(5, b"!", b"Hello!");
        check(7, b"!", b"Hello\0\0!");
    }
}
