//! What traces are called in a csv and a chart: a file by its name without endings, and where several share that, by as much of
//! their paths as tells them apart.

use std::path::Path;

use super::format::Format;
use super::synthetic;

/// Endings that tell no format.
const OTHER_ENDINGS: &[&str] = &["zst", "zstd", "gz", "bin", "trace", "log"];

/// What the traces of these names are called, each otherwise.
///
/// # Errors
/// One is named twice.
pub fn titles(names: &[String]) -> Result<Vec<String>, String> {
    if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        return Err(format!("{} is named twice", twice.1));
    }
    Ok(names.iter().map(|name| title_among(name, names)).collect())
}

/// The shortest title of a trace that tells it from all others that would be called the same.
fn title_among(name: &str, names: &[String]) -> String {
    let shortest = |name: &str| title(name, 0, false);
    let alike: Vec<&String> = names.iter().filter(|other| shortest(other) == shortest(name)).collect();
    let tells = |folders: usize, endings: bool| {
        let titles: Vec<String> = alike.iter().map(|name| title(name, folders, endings)).collect();
        titles.iter().enumerate().all(|(at, title)| !titles[..at].contains(title))
    };
    let most = names.iter().map(|name| Path::new(name).components().count()).max().unwrap_or(0);
    let mut longer = (0..most).flat_map(|folders| [(folders, false), (folders, true)]);
    match longer.find(|(folders, endings)| tells(*folders, *endings)) {
        Some((folders, endings)) => title(name, folders, endings),
        None => name.to_owned(),
    }
}

/// The title of a trace with so many of the folders that it is in, and its file's endings or not.
fn title(name: &str, folders: usize, endings: bool) -> String {
    if name == "-" || synthetic::is_made(name) {
        return split(name).0;
    }
    let parts: Vec<_> = Path::new(name).components().map(|part| part.as_os_str().to_string_lossy()).collect();
    let Some((file, before)) = parts.split_last() else { return name.to_owned() };
    let mut title: String =
        before[before.len().saturating_sub(folders)..].iter().map(|folder| format!("{folder}/")).collect();
    title += &if endings { file.to_string() } else { split(name).0 };
    title
}

/// A file's name without the endings that tell its format, and that format.
pub fn split(name: &str) -> (String, Option<&'static Format>) {
    if name == "-" {
        return ("stdin".to_owned(), None);
    }
    if synthetic::is_made(name) {
        return (synthetic::title(name), None);
    }
    let file = Path::new(name).file_name().map_or_else(|| name.into(), |file| file.to_string_lossy());
    let (mut title, mut format) = (&*file, None);
    while let Some((rest, ending)) = title.rsplit_once('.').filter(|(rest, _)| !rest.is_empty()) {
        let of_ending = Format::of_ending(ending);
        if of_ending.is_none() && !OTHER_ENDINGS.iter().any(|other| other.eq_ignore_ascii_case(ending)) {
            break;
        }
        format = format.or(of_ending);
        title = rest;
    }
    (title.to_owned(), format)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_split(name: &str, title: &str, format: Option<&str>) {
        let (found, of) = split(name);
        assert_eq!((found.as_str(), of.map(|format| format.name)), (title, format), "{name}");
    }

    #[test]
    fn names_tell_the_format() {
        check_split("/traces/OLTP.ctr.zst", "OLTP", Some("ctr1"));
        check_split("OLTP.lis.gz", "OLTP", Some("arc"));
        check_split("w106.oracleGeneral.bin.zst", "w106", Some("oracle"));
        check_split("2.csv", "2", Some("csv"));
        check_split("web.2024.txt", "web.2024", Some("plain"));
        check_split("loop.trace.gz", "loop", None);
        check_split(".txt", ".txt", None);
        check_split("-", "stdin", None);
        check_split("loop:keys=5,requests=9", "loop:keys=5;requests=9", None);
    }

    fn check(names: &[&str], titles: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(super::titles(&names).unwrap(), titles);
    }

    #[test]
    fn traces_of_one_name_are_told_apart_by_their_paths() {
        check(&["/t/OLTP.lis", "a/P3.lis.gz", "-", "loop"], &["OLTP", "P3", "stdin", "loop"]);
        check(&["web1/traffic.txt", "web2/traffic.txt", "b.txt"], &["web1/traffic", "web2/traffic", "b"]);
        check(&["a.txt", "a.csv"], &["a.txt", "a.csv"]);
        check(&["x/a.txt", "y/a.txt", "x/a.csv"], &["x/a.txt", "y/a.txt", "x/a.csv"]);
        check(&["/1/x/a.txt", "/2/x/a.txt"], &["1/x/a", "2/x/a"]);
        check(&["a.txt", "x/a.txt", "./a.txt"], &["a", "x/a", "./a"]);
        check(&["-", "stdin.txt"], &["stdin", "stdin.txt"]);
    }

    #[test]
    fn a_trace_is_named_once() {
        assert_eq!(titles(&["a".into(), "b".into(), "a".into()]).unwrap_err(), "a is named twice");
    }
}
