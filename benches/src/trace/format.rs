//! Which format a file has, and the way from its name to a [`Trace`].

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::str::FromStr;

use super::{Builder, Problem, Trace, binary, compressed, monitor, synthetic, text, title};
use crate::tell;

/// A column of a csv.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// By its number, from 0 on.
    Number(usize),
    /// By what the first line calls it.
    Name(String),
}

impl FromStr for Column {
    type Err = String;

    /// A number from 1 on, or a name.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<usize>() {
            Ok(number) => number.checked_sub(1).map(Self::Number).ok_or_else(|| format!("{text:?} is no column")),
            Err(_) if text.trim().is_empty() => Err(format!("{text:?} is no column")),
            Err(_) => Ok(Self::Name(text.trim().to_owned())),
        }
    }
}

/// How files are to be read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The format; if none is given the file tells.
    pub format: Option<&'static Format>,
    /// Of a csv, the columns of the key and of the size.
    pub columns: Option<(Column, Option<Column>)>,
    /// Of what MONITOR says, and of Twitter's traces, only what reads.
    pub reads_only: bool,
    /// Keep what keys are called, where they are text.
    pub own_keys: bool,
}

/// A format.
#[derive(Debug)]
pub struct Format {
    /// What it is called.
    pub name: &'static str,
    /// How names of such files end.
    endings: &'static [&'static str],
    read: fn(&mut dyn BufRead, &mut Builder, &Reading) -> Result<(), Problem>,
}

/// All formats.
pub const FORMATS: &[Format] = &[
    Format { name: "ctr1", endings: &["ctr"], read: binary::read_ctr1 },
    Format { name: "oracle", endings: &["oraclegeneral"], read: binary::read_oracle },
    Format { name: "arc", endings: &["lis"], read: text::read_arc },
    Format { name: "lirs", endings: &["lirs", "trc"], read: text::read_lirs },
    Format { name: "csv", endings: &["csv", "tsv"], read: text::read_csv },
    Format { name: "twitter", endings: &["sort"], read: text::read_twitter },
    Format { name: "plain", endings: &["txt", "keys"], read: text::read_plain },
    Format { name: "monitor", endings: &["monitor"], read: monitor::read_monitor },
];

/// How much of a file is looked at.
const LOOK_BYTES: u64 = 4096;

impl Format {
    /// The format of this name, or of files whose names end so.
    pub fn named(name: &str) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.name == name).or_else(|| Self::of_ending(name))
    }

    /// The format of files whose names end so.
    pub(super) fn of_ending(ending: &str) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.endings.iter().any(|known| known.eq_ignore_ascii_case(ending)))
    }

    /// The format of a file that begins so; what its name tells holds but for what MONITOR said, which many keep in a .txt.
    fn of(named: Option<&'static Self>, start: &[u8]) -> Option<&'static Self> {
        let start = start.strip_prefix(text::BOM).unwrap_or(start);
        if monitor::looks_like_monitor(start) {
            return Self::named("monitor");
        }
        named.or_else(|| Self::of_content(start))
    }

    /// The format of a file that begins so, and whose name tells none.
    fn of_content(start: &[u8]) -> Option<&'static Self> {
        if start.starts_with(binary::CTR1_MAGIC) {
            return Self::named("ctr1");
        }
        // The last line may be cut.
        let whole = start.len() as u64 == LOOK_BYTES && start.contains(&b'\n');
        let lines = start.split(|byte| *byte == b'\n');
        let lines: Vec<&[u8]> = lines.collect();
        let lines = if whole { &lines[..lines.len() - 1] } else { &lines[..] };
        if std::str::from_utf8(&lines.join(&b'\n')).is_err() || start.contains(&0) {
            return None;
        }
        let mut lines = lines.iter().map(|line| line.trim_ascii()).filter(|line| !line.is_empty());
        let is_block = |line: &[u8]| line == b"*" || line.iter().all(u8::is_ascii_digit);
        if lines.clone().all(is_block) {
            return Self::named("lirs");
        }
        if text::looks_like_twitter(&lines.clone().collect::<Vec<_>>()) {
            return Self::named("twitter");
        }
        let is_key = |line: &[u8]| !line.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, b',' | b';'));
        if lines.all(is_key) { Self::named("plain") } else { None }
    }
}

/// Reads the trace of a file, `-` being the standard input, or makes one; see [`synthetic`].
///
/// # Errors
/// What is wrong, with the file's name and where in it.
pub fn read(name: &str, reading: &Reading) -> Result<Trace, String> {
    let trace = if synthetic::is_made(name) {
        if reading.reads_only {
            Err(Problem::new("--reads needs commands, and there are none in what is made"))
        } else if reading.columns.is_some() {
            Err(Problem::new("--columns are of a csv, and what is made is none"))
        } else {
            synthetic::make(name)
        }
    } else {
        open(name).map_err(Problem::from).and_then(|source| read_from(source, name, reading))
    };
    match trace {
        Ok(trace) => Ok(trace),
        Err(problem) => Err(format!("{name}: {problem}")),
    }
}

fn open(name: &str) -> io::Result<Box<dyn Read>> {
    Ok(if name == "-" { Box::new(io::stdin()) } else { Box::new(File::open(name)?) })
}

fn read_from(source: Box<dyn Read>, name: &str, reading: &Reading) -> Result<Trace, Problem> {
    let mut source = compressed::decompressed(source)?;
    let mut start = Vec::new();
    source.by_ref().take(LOOK_BYTES).read_to_end(&mut start)?;
    let (title, format) = title::split(name);
    // Only a csv has columns.
    let columns_format = || reading.columns.as_ref().and_then(|_| Format::named("csv"));
    let format = reading.format.or_else(columns_format).or_else(|| Format::of(format, &start));
    let Some(format) = format else {
        let names: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
        return Err(Problem::new(format!("of which format? Say --format, one of {}", names.join(", "))));
    };
    if reading.reads_only && !["monitor", "twitter"].contains(&format.name) {
        return Err(Problem::new(format!("--reads needs commands, which {} does not tell", format.name)));
    }
    if reading.columns.is_some() && format.name != "csv" {
        return Err(Problem::new(format!("--columns are of a csv, and --format says {}", format.name)));
    }
    let mut builder = if reading.own_keys { Builder::with_names() } else { Builder::default() };
    (format.read)(&mut start.as_slice().chain(source), &mut builder, reading)?;
    if builder.is_empty() {
        return Err(Problem::new(match builder.left_out {
            0 => "there is no request in it".to_owned(),
            all => format!("no request in it is a read: --reads left out all {all}"),
        }));
    }
    let taken = builder.taken.take().map(|taken| format!(": {taken}")).unwrap_or_default();
    let left_out = match builder.left_out {
        0 => String::new(),
        all => format!("; --reads left out {all} requests that are no reads"),
    };
    tell!("{name}: read as {}{}{taken}{left_out}", format.name, builder.sizes_told());
    Ok(builder.build(&title))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(start: &[u8]) -> Option<&'static str> {
        Format::of(None, start).map(|format| format.name)
    }

    #[test]
    fn where_the_name_tells_nothing_the_content_does() {
        assert_eq!(of(b"CTR1\0\0\0\0"), Some("ctr1"));
        assert_eq!(of(b"OK\n1.5 [0 127.0.0.1:5] \"get\" \"a\"\n"), Some("monitor"));
        assert_eq!(of(b"1\n2\n*\n3\n"), Some("lirs"));
        assert_eq!(of(b"user:1\nuser:2\n"), Some("plain"));
        assert_eq!(of(&[b'k'; LOOK_BYTES as usize]), Some("plain"));
        assert_eq!(of(b"1,a,10\n"), None);
        assert_eq!(of(b"0,yDMB,4,54,1,get,0\n0,yDMC,4,12,3,set,3600\n1,cut"), Some("twitter"));
        assert_eq!(of(b"\xef\xbb\xbfuser:1\nuser:2\n"), Some("plain"), "a byte order mark is none of a key");
        assert_eq!(of(b"1 2 0 0\n"), None);
        assert_eq!(of(&[0, 1, 2, 200]), None);
        let plain = Format::named("plain");
        assert_eq!(Format::of(plain, b"OK\n1.5 [0 127.0.0.1:5] \"get\" \"a\"\n").map(|it| it.name), Some("monitor"));
        assert_eq!(Format::of(plain, b"1\n2\n").map(|it| it.name), Some("plain"));
    }

    #[test]
    fn files_are_read_compressed_or_not() {
        use std::io::Write;
        let directory = std::env::temp_dir().join(format!("larder-benches-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = directory.join(name);
            std::fs::write(&path, bytes).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let text = b"a\nb\na\n";
        let zstd = ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        for (name, bytes) in [("k.txt", text.to_vec()), ("k.txt.zst", zstd), ("k.txt.gz", gzip.finish().unwrap())] {
            let trace = read(&write(name, &bytes), &Reading::default()).unwrap();
            assert_eq!((trace.requests, trace.name.as_str()), (vec![0, 1, 0], "k"));
        }
        let error = |name: &str, bytes: &[u8]| read(&write(name, bytes), &Reading::default()).unwrap_err();
        assert!(error("bad.lis", b"1 2 0 0\nx\n").ends_with("bad.lis: line 2: no number of blocks"));
        assert!(error("empty.txt", b"").ends_with("empty.txt: there is no request in it"));
        assert!(error("what.trace", b"1,2,3\n").contains("of which format? Say --format, one of ctr1, oracle, arc"));
        let reads = Reading { reads_only: true, ..Reading::default() };
        assert!(read(&write("r.txt", b"a\n"), &reads).unwrap_err().contains("--reads needs commands"));
        assert!(read("loop:keys=10,requests=20", &reads).unwrap_err().contains("--reads needs commands"));
        let sets = "1.5 [0 c:1] \"set\" \"a\" \"1\"\n1.5 [0 c:1] \"mset\" \"a\" \"1\" \"b\" \"2\"\n1.5 [0 c:1] \"del\" \"a\"\n";
        let error = read(&write("w.monitor", sets.as_bytes()), &reads).unwrap_err();
        assert!(error.ends_with("w.monitor: no request in it is a read: --reads left out all 3"), "{error}");
        let error = read(&write("w.sort", b"0,a,1,5,1,set,0\n0,a,1,5,1,delete,0\n"), &reads).unwrap_err();
        assert!(error.ends_with("w.sort: no request in it is a read: --reads left out all 1"), "{error}");
        let error = read(&write("e.monitor", b"OK\n1.5 [0 c:1] \"ping\"\n"), &reads).unwrap_err();
        assert!(error.ends_with("e.monitor: there is no request in it"), "{error}");
        let columns = Reading { columns: Some((Column::Name("page".into()), None)), ..Reading::default() };
        let trace = read(&write("acc.txt", b"page user\n7 a\n8 a\n7 b\n"), &columns).unwrap();
        assert_eq!(trace.requests, [0, 1, 0], "columns make it a csv");
        let plain = Reading { format: Format::named("plain"), ..columns.clone() };
        assert!(read(&write("acc.txt", b"page user\n"), &plain).unwrap_err().contains("--format says plain"));
        assert!(read("loop:keys=10,requests=20", &columns).unwrap_err().contains("--columns are of a csv"));
        assert_eq!(Format::named("oracleGeneral").map(|format| format.name), Some("oracle"));
        assert!(read("/no/such/file", &Reading::default()).unwrap_err().starts_with("/no/such/file: "));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
