//! Traces of lines.
//!
//! ARC (`.lis`): a first block, the number of blocks, and two fields that are not used; each block is a request.
//! LIRS: a block per line; a line of `*` ends a part. libCacheSim's csv: a time, a key, a size, or as the first line says.
//! Plain text: a key per line.

use std::io::{BufRead, Read};

use super::{Builder, Place, Problem, Reading};

/// The longest line, and the most blocks that a line of ARC asks for.
const MOST_LINE_BYTES: u64 = 1 << 20;
const MOST_BLOCKS: u64 = 1 << 20;

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
        let ended = line.strip_suffix(b"\n").unwrap_or(&line);
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
        let delimiter = *b",;\t ".iter().find(|delimiter| line.contains(delimiter)).unwrap_or(&b',');
        let names: Vec<String> =
            line.split(|byte| *byte == delimiter).map(|field| text(field).to_ascii_lowercase()).collect();
        let named = |names_of: &[&str]| names.iter().position(|name| names_of.contains(&name.as_str()));
        let (key_name, size_name) = (named(KEY_NAMES), named(SIZE_NAMES));
        let has_names = key_name.is_some() || size_name.is_some();
        let (key, size) = match (reading.columns, names.len()) {
            (Some((key, size)), _) => (key, size),
            (None, _) if has_names => {
                (key_name.ok_or_else(|| Problem::new("none of its names is that of a key; say --columns"))?, size_name)
            }
            (None, 1) => (0, None),
            (None, 2) => (1, None),
            (None, _) => (1, Some(2)),
        };
        Ok((Self { delimiter, key, size }, has_names))
    }
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).trim().trim_matches('"').to_owned()
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
                if has_names {
                    return Ok(());
                }
                found
            }
        };
        let column = |wanted: usize| {
            let field = line.split(|byte| *byte == delimiter).nth(wanted).map(<[u8]>::trim_ascii);
            field.filter(|field| !field.is_empty()).ok_or_else(|| Problem::new(format!("no column {}", wanted + 1)))
        };
        let size = size.map(|size| number(column(size)?)).transpose()?;
        builder.push_bytes(column(key)?, size.map(|size| size.min(u32::MAX.into()) as u32))
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
        let reading = Reading { columns: Some((3, None)), ..Reading::default() };
        assert_eq!(read_as(read_csv, "1,1,1,a\n2,2,2,b\n3,3,3,a", &reading).unwrap().requests, [0, 1, 0]);
    }

    #[test]
    fn csv_says_which_line_is_wrong() {
        assert_eq!(read(read_csv, "1,a,10\n2,b,big\n").unwrap_err(), "line 2: not a number: \"big\"");
        assert_eq!(read(read_csv, "1,a,10\n2\n").unwrap_err(), "line 2: no column 3");
        let names = read(read_csv, "time,size,what\n").unwrap_err();
        assert_eq!(names, "line 1: none of its names is that of a key; say --columns");
    }
}
