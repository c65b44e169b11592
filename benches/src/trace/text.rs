//! Traces of lines.
//!
//! ARC (`.lis`): a first block, the number of blocks, and two fields that are not used; each block is a request.
//! LIRS: a block per line; a line of `*` ends a part. libCacheSim's csv: a time, a key, a size, or as the first line says; fields may be
//! quoted (RFC 4180). Twitter's: time, key, bytes of the key and of the value, client, operation, TTL (Yang, Yue and Rashmi, "A
//! large scale analysis of hundreds of in-memory cache clusters at Twitter", OSDI 2020). Plain text: a key per line.
//! A byte order mark before the first line is passed over.

use std::io::{BufRead, Read};

use super::{Builder, Column, Place, Problem, Reading};

/// The longest line, and the most blocks that a line of ARC asks for.
const MOST_LINE_BYTES: u64 = 1 << 20;
const MOST_BLOCKS: u64 = 1 << 20;
/// What some programs write before text in UTF-8.
pub const BOM: &[u8] = b"\xef\xbb\xbf";

/// Calls `each` with every line, without its end. What that says to be wrong is wrong in this line.
///
/// # Errors
/// `each` returns one, the source cannot be read, or a line is very long.
pub fn lines(source: &mut dyn BufRead, mut each: impl FnMut(&[u8]) -> Result<(), Problem>) -> Result<(), Problem> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let here = |problem: Problem| problem.at(Place::Line(number));
        let got = source.take(MOST_LINE_BYTES).read_until(b'\n', &mut line).map_err(|error| here(error.into()))?;
        if got == 0 {
            break;
        }
        if got as u64 == MOST_LINE_BYTES && line.last() != Some(&b'\n') {
            return Err(here(Problem::new(format!("longer than {MOST_LINE_BYTES} bytes"))));
        }
        let marked = line.strip_suffix(b"\n").unwrap_or(&line);
        let ended = if number == 1 { marked.strip_prefix(BOM).unwrap_or(marked) } else { marked };
        each(ended.strip_suffix(b"\r").unwrap_or(ended)).map_err(here)?;
    }
    Ok(())
}

/// Reads ARC.
///
/// # Errors
/// A line is not of this format.
pub fn read_arc(source: &mut dyn BufRead, builder: &mut Builder, _: &Reading) -> Result<(), Problem> {
    lines(source, |line| {
        let fields: Vec<&[u8]> = fields(line).collect();
        let [first, count, ..] = fields[..] else {
            return if fields.is_empty() { Ok(()) } else { Err(Problem::new("no number of blocks")) };
        };
        let (first, count) = (number(first)?, number(count)?);
        if count > MOST_BLOCKS {
            return Err(Problem::new(format!("{count} blocks; {MOST_BLOCKS} are the most")));
        }
        (0..count).try_for_each(|block| builder.push_number(first.wrapping_add(block), None))
    })
}

/// Reads LIRS.
///
/// # Errors
/// A line is not of this format.
pub fn read_lirs(source: &mut dyn BufRead, builder: &mut Builder, _: &Reading) -> Result<(), Problem> {
    lines(source, |line| match line.trim_ascii() {
        b"" | b"*" => Ok(()),
        block => builder.push_number(number(block)?, None),
    })
}

/// Reads a key per line.
///
/// # Errors
/// It cannot be read.
pub fn read_plain(source: &mut dyn BufRead, builder: &mut Builder, _: &Reading) -> Result<(), Problem> {
    lines(source, |line| if line.is_empty() { Ok(()) } else { builder.push_bytes(line, None) })
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

fn number(field: &[u8]) -> Result<u64, Problem> {
    let parsed = std::str::from_utf8(field).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        Problem::new(format!("not a number: {:?}", String::from_utf8_lossy(&field[..field.len().min(40)])))
    })
}

/// Where a csv has its key and its size, the first column being 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    delimiter: u8,
    key: usize,
    size: Option<usize>,
}

/// What the first line of a csv may call its key and its size.
const KEY_NAMES: &[&str] = &["obj_id", "obj-id", "objid", "object_id", "object", "obj", "id", "key", "oid", "block"];
const SIZE_NAMES: &[&str] =
    &["obj_size", "obj-size", "objsize", "object_size", "size", "bytes", "len", "length", "value_size"];

impl Columns {
    /// What the first line tells, and whether it holds names.
    fn of(line: &[u8], reading: &Reading) -> Result<(Self, bool), Problem> {
        let delimiter = delimiter(line);
        let names: Vec<String> =
            split(line, delimiter)?.iter().map(|field| String::from_utf8_lossy(field).to_ascii_lowercase()).collect();
        let named = |names_of: &[&str]| names.iter().position(|name| names_of.contains(&name.as_str()));
        let (key_name, size_name) = (named(KEY_NAMES), named(SIZE_NAMES));
        let asks_for_names = reading
            .columns
            .as_ref()
            .is_some_and(|(key, size)| matches!(key, Column::Name(_)) || matches!(size, Some(Column::Name(_))));
        let has_names = key_name.is_some() || size_name.is_some() || asks_for_names;
        let find = |column: &Column| match column {
            Column::Number(number) => Ok(*number),
            Column::Name(name) => names
                .iter()
                .position(|other| other.eq_ignore_ascii_case(name))
                .ok_or_else(|| Problem::new(format!("no column {name:?}; there are {}", names.join(", ")))),
        };
        let (key, size) = match (&reading.columns, names.len()) {
            (Some((key, size)), _) => (find(key)?, size.as_ref().map(find).transpose()?),
            (None, _) if has_names => {
                (key_name.ok_or_else(|| Problem::new("none of its names is that of a key; say --columns"))?, size_name)
            }
            (None, 1) => (0, None),
            (None, many) => Self::usual(&names, many)?,
        };
        Ok((Self { delimiter, key, size }, has_names))
    }

    /// In words, with the names in the first line if these are given.
    fn described(&self, names: Option<&[Vec<u8>]>) -> String {
        let called = |at: usize| match names.and_then(|names| names.get(at)) {
            Some(name) => format!("{} ({})", at + 1, String::from_utf8_lossy(name)),
            None => (at + 1).to_string(),
        };
        let size = self.size.map(|at| format!(", column {} the size", called(at))).unwrap_or_default();
        let is_other = |at: &usize| *at != self.key && Some(*at) != self.size;
        let others: Vec<String> = (0..names.unwrap_or_default().len()).filter(is_other).map(called).collect();
        let unused = if others.is_empty() { String::new() } else { format!(", not used {}", others.join(", ")) };
        format!("column {} is the key{size}{unused}", called(self.key))
    }

    /// Key and size of a line without names: of time and key, key and size, or time, key and size.
    fn usual(first: &[String], many: usize) -> Result<(usize, Option<usize>), Problem> {
        let is_number = |at: usize| first.get(at).is_some_and(|field| number(field.as_bytes()).is_ok());
        let is_time = first.first().is_some_and(|field| {
            let is_of_time = |byte: u8| !byte.is_ascii_alphabetic() || matches!(byte, b't' | b'z');
            field.starts_with(|letter: char| letter.is_ascii_digit()) && field.bytes().all(is_of_time)
        });
        match (many, is_time) {
            (2, true) if !is_number(1) => Ok((1, None)),
            (2, false) if is_number(1) => Ok((0, Some(1))),
            (2, true) => Err(Problem::new(format!("time and key, or key and size? Please {SAY_COLUMNS}"))),
            (3.., true) if is_number(2) => Ok((1, Some(2))),
            _ => Err(Problem::new(format!("neither names that are known nor time, key and size; {SAY_COLUMNS}"))),
        }
    }
}

/// Said where columns are not what they were taken for.
const SAY_COLUMNS: &str = "say --columns KEY[,SIZE], by names or numbers from 1 on";

/// What stands between the fields of a line.
fn delimiter(line: &[u8]) -> u8 {
    // Not within quotes.
    let parts = line.split(|byte| *byte == b'"').step_by(2);
    let bare: Vec<u8> = parts.flatten().copied().collect();
    *b",;\t ".iter().find(|delimiter| bare.contains(delimiter)).unwrap_or(&b',')
}

/// The fields of a line, without their quotes.
fn split(line: &[u8], delimiter: u8) -> Result<Vec<Vec<u8>>, Problem> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = field(rest, delimiter)?;
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// The first field of a line, and what follows if there are more.
fn field(line: &[u8], delimiter: u8) -> Result<(Vec<u8>, Option<&[u8]>), Problem> {
    let start = line.iter().position(|byte| *byte == delimiter || !byte.is_ascii_whitespace()).unwrap_or(line.len());
    if line.get(start) != Some(&b'"') {
        let end = line.iter().position(|byte| *byte == delimiter);
        let bare = &line[..end.unwrap_or(line.len())];
        return Ok((bare.trim_ascii().to_vec(), end.map(|end| &line[end + 1..])));
    }
    let (mut field, mut at) = (Vec::new(), start + 1);
    loop {
        match (line.get(at), line.get(at + 1)) {
            (Some(b'"'), Some(b'"')) => {
                field.push(b'"');
                at += 2;
            }
            (Some(b'"'), _) => break,
            (Some(byte), _) => {
                field.push(*byte);
                at += 1;
            }
            (None, _) => return Err(Problem::new("a quoted field does not end")),
        }
    }
    let after = &line[at + 1..];
    let end = after.iter().position(|byte| *byte == delimiter);
    if !after[..end.unwrap_or(after.len())].trim_ascii().is_empty() {
        return Err(Problem::new("something stands behind a quoted field"));
    }
    Ok((field, end.map(|end| &after[end + 1..])))
}

/// Reads a csv.
///
/// # Errors
/// A line has too few columns or its size is no number.
pub fn read_csv(source: &mut dyn BufRead, builder: &mut Builder, reading: &Reading) -> Result<(), Problem> {
    let mut columns = None;
    lines(source, |line| {
        if line.trim_ascii().is_empty() || line.starts_with(b"#") {
            return Ok(());
        }
        let Columns { delimiter, key, size } = match columns {
            Some(columns) => columns,
            None => {
                let (found, has_names) = Columns::of(line, reading)?;
                columns = Some(found);
                let names = split(line, found.delimiter)?;
                builder.note_taken(found.described(has_names.then_some(&names)));
                if has_names {
                    return Ok(());
                }
                found
            }
        };
        let fields = split(line, delimiter)?;
        let column = |wanted: usize| {
            let field = fields.get(wanted).map(Vec::as_slice).filter(|field| !field.is_empty());
            field.ok_or_else(|| Problem::new(format!("no column {}", wanted + 1)))
        };
        let of_size = |size| number(column(size)?).map_err(|it| Problem::new(format!("{}; {SAY_COLUMNS}", it.what)));
        let size = size.map(of_size).transpose()?;
        builder.push_bytes(column(key)?, size.map(|size| size.min(u32::MAX.into()) as u32))
    })
}

/// The operations of Twitter's traces: those that ask for a key or store it, and others, of which nothing is a request.
const TWITTER_USES: &[&[u8]] =
    &[b"get", b"gets", b"set", b"add", b"replace", b"cas", b"append", b"prepend", b"incr", b"decr"];
const TWITTER_READS: &[&[u8]] = &[b"get", b"gets"];
const TWITTER_OTHERS: &[&[u8]] = &[b"delete"];

/// Time, key, bytes of the key, bytes of the value, client, operation, TTL. Keys may hold commas.
fn twitter(line: &[u8]) -> Option<(&[u8], Option<u32>, &[u8])> {
    let mut from_end = line.rsplitn(6, |byte| *byte == b',');
    let (ttl, operation, client) = (from_end.next()?, from_end.next()?, from_end.next()?);
    let (value_bytes, key_bytes, start) = (from_end.next()?, from_end.next()?, from_end.next()?);
    let comma = start.iter().position(|byte| *byte == b',')?;
    let (time, key) = (&start[..comma], &start[comma + 1..]);
    let is_number = |field: &[u8]| !field.is_empty() && field.iter().all(u8::is_ascii_digit);
    let numbers = [ttl, client, value_bytes, key_bytes, time];
    if !numbers.into_iter().all(is_number) || !operation.iter().all(u8::is_ascii_lowercase) || key.is_empty() {
        return None;
    }
    let (key_bytes, value_bytes) = (number(key_bytes).ok()?, number(value_bytes).ok()?);
    // What was read and was not there has no size.
    let is_known = value_bytes > 0 || !TWITTER_READS.contains(&operation);
    let size = key_bytes.saturating_add(value_bytes).min(u32::MAX.into()) as u32;
    Some((key, is_known.then_some(size), operation))
}

/// Whether lines, the last of which may be cut, are Twitter's.
pub fn looks_like_twitter(lines: &[&[u8]]) -> bool {
    let known = |operation: &[u8]| [TWITTER_USES, TWITTER_OTHERS].concat().contains(&operation);
    let whole = if lines.len() > 1 { &lines[..lines.len() - 1] } else { lines };
    !whole.is_empty() && whole.iter().all(|line| twitter(line).is_some_and(|(_, _, operation)| known(operation)))
}

/// Reads Twitter's format.
///
/// # Errors
/// A line is not of this format.
pub fn read_twitter(source: &mut dyn BufRead, builder: &mut Builder, reading: &Reading) -> Result<(), Problem> {
    let counted = if reading.reads_only { TWITTER_READS } else { TWITTER_USES };
    lines(source, |line| {
        if line.is_empty() {
            return Ok(());
        }
        let Some((key, size, operation)) = twitter(line) else {
            return Err(Problem::new("not of the form time,key,key size,value size,client,operation,TTL"));
        };
        if counted.contains(&operation) {
            builder.push_bytes(key, size)?;
        } else if TWITTER_USES.contains(&operation) {
            builder.leave_out(1);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Trace;

    type Reader = fn(&mut dyn BufRead, &mut Builder, &Reading) -> Result<(), Problem>;

    fn read(reader: Reader, text: &str) -> Result<Trace, String> {
        read_as(reader, text, &Reading::default())
    }

    fn read_as(reader: Reader, text: &str, reading: &Reading) -> Result<Trace, String> {
        let mut builder = Builder::default();
        reader(&mut text.as_bytes(), &mut builder, reading).map_err(|problem| problem.to_string())?;
        Ok(builder.build("t"))
    }

    #[test]
    fn arc_asks_for_ranges_of_blocks() {
        let trace = read(read_arc, "10 3 0 1\n11 1 0 2\r\n\n5 0 0 3\n").unwrap();
        assert_eq!((trace.requests, trace.keys), (vec![0, 1, 2, 1], 3));
        assert_eq!(read(read_arc, "1 2\n7\n").unwrap_err(), "line 2: no number of blocks");
        assert_eq!(read(read_arc, "1 x 0 0").unwrap_err(), "line 1: not a number: \"x\"");
        assert_eq!(read(read_arc, "1 4000000000 0 0").unwrap_err(), "line 1: 4000000000 blocks; 1048576 are the most");
    }

    #[test]
    fn lirs_has_a_block_per_line() {
        let trace = read(read_lirs, "5\n*\n6\n5\n").unwrap();
        assert_eq!(trace.requests, [0, 1, 0]);
        assert_eq!(read(read_lirs, "5\nblock\n").unwrap_err(), "line 2: not a number: \"block\"");
    }

    #[test]
    fn plain_text_has_a_key_per_line() {
        let trace = read(read_plain, "user:1\nuser 2\r\n\nuser:1\nuser 2").unwrap();
        assert_eq!(trace.requests, [0, 1, 0, 1]);
        let long = "x".repeat(MOST_LINE_BYTES as usize + 1);
        assert_eq!(read(read_plain, &format!("a\n{long}")).unwrap_err(), "line 2: longer than 1048576 bytes");
    }

    #[test]
    fn csv_has_the_columns_of_libcachesim_or_those_of_its_names() {
        for text in [
            "1,a,10,5\n2,b,20,-2\n3,a,10,-2\n",
            "size;key\n10;a\n20;b\n10;a\n",
            "time, obj_id, obj_size\n1, a, 10\n2, b, 20\n3, a, 10",
        ] {
            let trace = read(read_csv, text).unwrap();
            assert_eq!((trace.requests, trace.sizes.as_deref()), (vec![0, 1, 0], Some(&[10, 20][..])), "{text}");
        }
        for text in ["a\nb\na\n", "# comment\n1 a\n2 b\n3 a\n", "key\na\nb\na"] {
            let trace = read(read_csv, text).unwrap();
            assert_eq!((trace.requests, trace.sizes), (vec![0, 1, 0], None), "{text}");
        }
        let reading = Reading { columns: Some((Column::Number(3), None)), ..Reading::default() };
        assert_eq!(read_as(read_csv, "1,1,1,a\n2,2,2,b\n3,3,3,a", &reading).unwrap().requests, [0, 1, 0]);
    }

    #[test]
    fn a_csv_of_two_columns_is_of_key_and_size_or_time_and_key_or_refused() {
        let trace = read(read_csv, "k1,10\nk2,20\nk1,10\n").unwrap();
        assert_eq!((trace.requests, trace.sizes.as_deref()), (vec![0, 1, 0], Some(&[10, 20][..])));
        for text in ["5,10\n", "a,b\n", "foo,bar,baz\n", "1,get,k1,10\n", "k1,10,3600\n"] {
            let error = read(read_csv, text).unwrap_err();
            assert!(error.starts_with("line 1: ") && error.contains("--columns"), "{error}");
        }
    }

    #[test]
    fn fields_of_a_csv_may_be_quoted_and_a_byte_order_mark_before_them() {
        for text in [
            "\"time\",\"key\",\"size\"\n1,\"a,1\",\"10\"\n2,\"say \"\"b\"\"\",20\n3, \"a,1\" ,10\n",
            "\u{feff}key,size\n\"a,1\",10\nb,20\n\"a,1\",10\n",
            "\u{feff}\"1\";\"a;1\";10\n2;b;20\n3;\"a;1\";10\n",
        ] {
            let trace = read(read_csv, text).unwrap();
            assert_eq!((trace.requests, trace.sizes.as_deref()), (vec![0, 1, 0], Some(&[10, 20][..])), "{text}");
        }
        assert_eq!(read(read_csv, "1,\"a\n").unwrap_err(), "line 1: a quoted field does not end");
        assert_eq!(read(read_csv, "1,\"a\"b,3\n").unwrap_err(), "line 1: something stands behind a quoted field");
    }

    #[test]
    fn columns_of_a_csv_are_told() {
        let told = |text: &str| {
            let mut builder = Builder::default();
            read_csv(&mut text.as_bytes(), &mut builder, &Reading::default()).unwrap();
            builder.taken.unwrap()
        };
        assert_eq!(told("1,a,10,5\n"), "column 2 is the key, column 3 the size");
        assert_eq!(told("a\nb\n"), "column 1 is the key");
        assert_eq!(
            told("time,obj_id,size,op\n1,a,10,get\n"),
            "column 2 (obj_id) is the key, column 3 (size) the size, not used 1 (time), 4 (op)"
        );
    }

    #[test]
    fn columns_of_a_csv_go_by_names() {
        let named = |key: &str, size: &str| Reading {
            columns: Some((key.parse().unwrap(), Some(size.parse().unwrap()))),
            ..Reading::default()
        };
        let text = "when,Who,\"how much\"\n1,a,10\n2,b,20\n3,a,10\n";
        for reading in [named("who", "how much"), named("2", "how much"), named("WHO", "3")] {
            let trace = read_as(read_csv, text, &reading).unwrap();
            assert_eq!((trace.requests, trace.sizes.as_deref()), (vec![0, 1, 0], Some(&[10, 20][..])));
        }
        let error = read_as(read_csv, text, &named("whom", "3")).unwrap_err();
        assert_eq!(error, "line 1: no column \"whom\"; there are when, who, how much");
        assert!("0".parse::<Column>().is_err() && " ".parse::<Column>().is_err());
    }

    #[test]
    fn twitters_traces_have_their_own_columns() {
        let text = "0,a:1,3,0,1,get,0\n0,a:1,3,97,1,get,0\n1,b,c,3,17,2,set,3600\n1,a:1,3,50,1,delete,0\n2,a:1,3,97,1,gets,0\n";
        let trace = read(read_twitter, text).unwrap();
        assert_eq!((trace.requests, trace.sizes.as_deref()), (vec![0, 0, 1, 0], Some(&[100, 20][..])));
        let reads = Reading { reads_only: true, ..Reading::default() };
        assert_eq!(read_as(read_twitter, text, &reads).unwrap().requests, [0, 0, 0]);
        let error = read(read_twitter, "0,a,1,2,3,get\n").unwrap_err();
        assert_eq!(error, "line 1: not of the form time,key,key size,value size,client,operation,TTL");
    }

    #[test]
    fn csv_says_which_line_is_wrong() {
        assert!(
            read(read_csv, "1,a,10\n2,b,big\n")
                .unwrap_err()
                .starts_with("line 2: not a number: \"big\"; say --columns")
        );
        assert_eq!(read(read_csv, "1,a,10\n2\n").unwrap_err(), "line 2: no column 3");
        let names = read(read_csv, "time,size,what\n").unwrap_err();
        assert_eq!(names, "line 1: none of its names is that of a key; say --columns");
    }
}
