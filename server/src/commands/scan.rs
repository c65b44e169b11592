//! Passes over the keys of a database: KEYS at once, SCAN in steps.
//!
//! A SCAN holds no state here. Its cursor is a place in the order of hashes, which growing and shrinking keep, so a
//! pass shows every key that is there from its start to its end. A step shows whole segments, as many as it takes to
//! see `COUNT` keys.

use larder_protocol::{Args, Reply, parse_i64};

use super::command::*;
use super::parse::{integer, is};
use crate::error::{Error, INVALID_CURSOR, NO_VALUES_ELSEWHERE, Outcome, SYNTAX};
use crate::glob;
use crate::locked::Locked;

pub(super) const COMMANDS: &[Command] = &[
    Command::all("SCAN", Arity::at_least(1), scan)
        .flags(READONLY)
        .since("2.8.0")
        .syntax("cursor [MATCH pattern] [COUNT count] [TYPE type]")
        .summary(
            "Shows some keys of the database, on request those of a pattern or type, and the cursor for the next call.",
        )
        .complexity("O(COUNT) per call, O(N) for a pass over N keys")
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])
        .examples(&[
            ("SET a 1", "OK"),
            ("SCAN 0", "1) \"0\"\n2) 1) \"a\""),
            ("SCAN 0 MATCH b*", "1) \"0\"\n2) (empty array)"),
            ("SCAN 0 COUNT 100 TYPE string", "1) \"0\"\n2) 1) \"a\""),
            ("SCAN here", "(error) ERR invalid cursor"),
        ]),
    Command::all("KEYS", Arity::exactly(1), keys)
        .flags(READONLY | DANGEROUS)
        .syntax("pattern")
        .since("1.0.0")
        .summary("Answers all keys of the database that match a pattern.")
        .complexity("O(N) for N keys in the database")
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .examples(&[
            ("SET user:1 Ada", "OK"),
            ("KEYS user:*", "1) \"user:1\""),
            ("KEYS *", "1) \"user:1\""),
            ("KEYS [^u]*", "(empty array)"),
        ]),
];

/// Segments that a step may visit for each key that COUNT asks for, so that nearly empty ones do not hold it up long.
const SEGMENTS_PER_KEY: usize = 10;

fn keys(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (db, now) = (locked.db, locked.now);
    let pattern = Pattern::new(args.at(1));
    let keys = reply.defer();
    let mut count = 0;
    for (_, guarded) in locked.shards().each_ref() {
        let Some(table) = guarded.shard.table(db) else {
            continue;
        };
        let mut position = 0;
        loop {
            position = table.scan(position, |entry| {
                if pattern.matches(entry.key()) && !entry.has_expired(now) {
                    reply.bulk(entry.key());
                    count += 1;
                }
            });
            if position == 0 {
                break;
            }
        }
    }
    reply.set_array_len(keys, count);
    Ok(())
}

fn scan(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let cursor = parse_cursor(args.at(1))?;
    let options = ScanOptions::parse(args.from(2), true)?;
    let mut found = Reply::with_proto(reply.proto());
    let (cursor, count) = scan_step(locked, Place::of(cursor), &options, &mut found);
    reply.array(2);
    reply.bulk_int(cursor.cursor() as i64);
    reply.array(count);
    reply.append(&mut found);
    Ok(())
}

/// Writes the keys of one step that begins at `place`; gives the place after it, and how many keys it wrote. Expired
/// keys that it meets are removed.
fn scan_step(
    locked: &mut Locked<'_>,
    mut place: Place,
    options: &ScanOptions<'_>,
    reply: &mut Reply,
) -> (Place, usize) {
    let (db, now, shards) = (locked.db, locked.now, locked.engine().keyspace().shards());
    let mut segments = options.count.saturating_mul(SEGMENTS_PER_KEY);
    let (mut seen, mut count, mut due) = (0, 0, Vec::new());
    place.shard %= shards;
    while seen < options.count && segments > 0 {
        if let Some(table) = locked.shards().of(place.shard as u64).shard.table(db) {
            segments -= 1;
            place.position = table.scan(place.position, |entry| {
                seen += 1;
                if !options.pattern.matches(entry.key()) {
                } else if entry.has_expired(now) {
                    due.push(entry.key().to_vec());
                } else if options.kind.is_none_or(|kind| is(kind, entry.kind().name())) {
                    reply.bulk(entry.key());
                    count += 1;
                }
            });
        } else {
            place.position = 0;
        }
        if place.position == 0 {
            place.shard += 1;
            if place.shard == shards {
                place.shard = 0;
                break;
            }
        }
    }
    for key in due {
        // Looking for an expired key removes it.
        locked.exists(&key);
    }
    (place, count)
}

/// Where a pass over the keyspace goes on: a shard, and a position in the order of the hashes of its table.
///
/// As a number, `[5:0]` are the shard and `[45:6]` the top bits of the position, the first one lowest: so cursors are
/// below 2^46, and small while tables are. The bits left out are always 0, for no segment is that small a part of all
/// hashes. The beginning of all is 0, and so is the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    shard: usize,
    position: u64,
}

const SHARD_BITS: u32 = 6;

impl Place {
    /// Any number is a place: clients may send what they like.
    fn of(cursor: u64) -> Self {
        let shard = cursor & ((1 << SHARD_BITS) - 1);
        Self { shard: shard as usize, position: (cursor >> SHARD_BITS).reverse_bits() }
    }

    fn cursor(self) -> u64 {
        self.position.reverse_bits() << SHARD_BITS | self.shard as u64
    }
}

/// A cursor of SCAN or ZSCAN as clients send it: what C's `strtoull` reads as a whole, but no plain negative number.
pub(super) fn parse_cursor(arg: &[u8]) -> Result<u64, Error> {
    let text = arg.split(|byte| *byte == 0).next().unwrap_or_default();
    if let Some(number) = parse_i64(text) {
        return u64::try_from(number).map_err(|_| INVALID_CURSOR);
    }
    let blanks = text.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == b'\x0b').count();
    let (negative, digits) = match &text[blanks..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(INVALID_CURSOR);
    }
    let add = |number: u64, digit: &u8| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    };
    let number = digits.iter().try_fold(0, add).ok_or(INVALID_CURSOR)?;
    Ok(if negative { number.wrapping_neg() } else { number })
}

/// The options of SCAN and its like.
pub(super) struct ScanOptions<'a> {
    /// About how many elements to look at.
    pub(super) count: usize,
    /// Which to show.
    pub(super) pattern: Pattern<'a>,
    /// Whether to show the fields of a hash alone.
    pub(super) no_values: bool,
    /// The type of keys to show, whatever its case; it may be none that there is.
    kind: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// Reads what follows the cursor. Only a pass over keys can ask for a type.
    pub(super) fn parse(options: Args<'a>, over_keys: bool) -> Result<Self, Error> {
        Self::parse_of(options, over_keys, false)
    }

    /// Reads what follows HSCAN's cursor.
    pub(super) fn parse_for_hash(options: Args<'a>) -> Result<Self, Error> {
        Self::parse_of(options, false, true)
    }

    fn parse_of(options: Args<'a>, over_keys: bool, over_fields: bool) -> Result<Self, Error> {
        let mut parsed = Self { count: 10, pattern: Pattern(None), no_values: false, kind: None };
        let mut words = options.iter();
        while let Some(word) = words.next() {
            if is(word, "NOVALUES") {
                if !over_fields {
                    return Err(NO_VALUES_ELSEWHERE);
                }
                parsed.no_values = true;
                continue;
            }
            let value = words.next().ok_or(SYNTAX)?;
            if is(word, "COUNT") {
                let count = integer(value)?;
                parsed.count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(SYNTAX)?;
            } else if is(word, "MATCH") {
                parsed.pattern = Pattern::new(value);
            } else if is(word, "TYPE") && over_keys {
                parsed.kind = Some(value);
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(parsed)
    }
}

/// A glob pattern; `*` alone matches everything, the empty text too.
#[derive(Clone, Copy)]
pub(super) struct Pattern<'a>(Option<&'a [u8]>);

impl<'a> Pattern<'a> {
    fn new(pattern: &'a [u8]) -> Self {
        Self((pattern != b"*").then_some(pattern))
    }

    /// Whether all of `text` matches.
    pub(super) fn matches(self, text: &[u8]) -> bool {
        self.0.is_none_or(|pattern| glob::matches(pattern, text, false))
    }
}

/// What a step through a collection has found.
pub(super) struct Found {
    /// The elements that match, as they are answered.
    pub(super) reply: Reply,
    /// Elements looked at.
    pub(super) seen: usize,
    /// Entries in `reply`.
    pub(super) count: usize,
}

/// Answers the next elements of a collection for SSCAN and its like: `step` puts what stands at a cursor into what is
/// found and gives the next cursor. It ends when `count` elements were looked at, or at the end of the pass.
pub(super) fn answer_step(
    mut cursor: u64,
    count: usize,
    reply: &mut Reply,
    mut step: impl FnMut(u64, &mut Found) -> u64,
) {
    /// Steps of the collection's own scan for each element that COUNT asks for.
    const STEPS_PER_ELEMENT: usize = 10;
    let mut found = Found { reply: Reply::with_proto(reply.proto()), seen: 0, count: 0 };
    let mut steps = count.saturating_mul(STEPS_PER_ELEMENT);
    while steps > 0 {
        steps -= 1;
        cursor = step(cursor, &mut found);
        if cursor == 0 || found.seen >= count {
            break;
        }
    }
    reply.array(2);
    reply.bulk_int(cursor as i64);
    reply.array(found.count);
    reply.append(&mut found.reply);
}

/// Answers that there is nothing to pass over.
pub(super) fn answer_no_step(reply: &mut Reply) {
    reply.array(2);
    reply.bulk(b"0");
    reply.array(0);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use larder_protocol::OwnedArgs;

    use super::*;

    #[test]
    fn cursors_are_small_and_read_back() {
        assert_eq!(Place::of(0), Place { shard: 0, position: 0 });
        for shard in [0, 1, 63] {
            for position in [0, 1 << 63, 1 << 62, u64::MAX << 24] {
                let place = Place { shard, position };
                assert_eq!(Place::of(place.cursor()), place);
                assert!(place.cursor() < 1 << 46);
            }
        }
        assert_eq!(Place { shard: 2, position: 1 << 63 }.cursor(), 66);
    }

    /// A whole pass, with changes between its steps: `change` gets the number of the step.
    fn pass(connection: &mut crate::Connection, change: impl Fn(usize, &mut crate::Connection)) -> BTreeSet<String> {
        let (mut cursor, mut seen) = (0, BTreeSet::new());
        for step in 0.. {
            let reply = connection.run(format!("SCAN {cursor} COUNT 20\r\n").as_bytes());
            let reply = String::from_utf8(reply).unwrap();
            let mut bulks = reply.split("\r\n").filter(|line| !line.starts_with(['*', '$']) && !line.is_empty());
            cursor = bulks.next().unwrap().parse::<u64>().unwrap();
            assert!(cursor < 1 << 46);
            seen.extend(bulks.map(str::to_owned));
            if cursor == 0 {
                break;
            }
            change(step, connection);
        }
        seen
    }

    #[test]
    fn a_pass_shows_every_key_that_stays() {
        for shards in ["1", "8", "64"] {
            let server = crate::Server::builder().option("shards", shards).build().unwrap();
            let mut connection = server.connect();
            let all = |connection: &mut crate::Connection, command: &str, name: &str, range: std::ops::Range<usize>| {
                range.for_each(|key| drop(connection.execute(format!("{command}{name}{key} 0").trim().split(' '))));
            };
            all(&mut connection, "SET ", "stay", 0..300);
            let stay: BTreeSet<String> = (0..300).map(|key| format!("stay{key}")).collect();
            let grown =
                pass(&mut connection, |step, connection| all(connection, "SET ", "go", step * 15..step * 15 + 15));
            assert!(grown.is_superset(&stay), "while growing, {shards} shards");
            all(&mut connection, "SET ", "go", 0..5000);
            let shrunk =
                pass(&mut connection, |step, connection| all(connection, "DEL ", "go", step * 99..step * 99 + 99));
            assert!(shrunk.is_superset(&stay), "while shrinking, {shards} shards");
            server.engine().validate();
        }
    }

    #[test]
    fn a_cursor_is_what_strtoull_reads() {
        for (text, cursor) in [
            ("0", 0),
            ("17", 17),
            (" \t\x0b17", 17),
            ("+17", 17),
            ("017", 17),
            ("-0", 0),
            (" -1", u64::MAX),
            ("18446744073709551615", u64::MAX),
            ("5\0x", 5),
        ] {
            assert_eq!(parse_cursor(text.as_bytes()), Ok(cursor), "{text:?}");
        }
        for text in ["", " ", "-", "+", "-1", "17 ", "1x", "0x10", "18446744073709551616", "--1", "\0"] {
            assert_eq!(parse_cursor(text.as_bytes()), Err(INVALID_CURSOR), "{text:?}");
        }
    }

    #[test]
    fn options_are_checked_in_order() {
        let parse = |words: &[&str], over_keys| {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            let words = OwnedArgs::from_slices(&words);
            ScanOptions::parse(words.as_args(), over_keys).map(|options| options.count)
        };
        assert_eq!(parse(&["count", "7", "MATCH", "*", "type", "none such"], true), Ok(7));
        assert_eq!(parse(&["MATCH", "*"], false), Ok(10));
        assert_eq!(parse(&["TYPE", "zset"], false), Err(SYNTAX));
        assert_eq!(parse(&["COUNT", "0"], true), Err(SYNTAX));
        assert_eq!(parse(&["COUNT"], true), Err(SYNTAX));
        assert_eq!(parse(&["COUNT", "x", "COUNT", "0"], true), Err(crate::error::NOT_AN_INTEGER));
        assert_eq!(parse(&["MATCH", "a", "NOVALUES"], true), Err(NO_VALUES_ELSEWHERE));
    }
}
