//! The page of differences from Redis, made of the corpus that checks them.

use crate::corpus::{ANSWER, ON_PURPOSE};

/// Characters of a line after which a long answer goes on in the next.
const WIDTH: usize = 116;

/// What stands before the further lines of an answer.
const INDENT: &str = "    ";

/// One section of the corpus.
#[derive(Default)]
struct Difference<'a> {
    title: &'a str,
    reason: String,
    /// Commands with their answers.
    cases: Vec<(&'a str, &'a str)>,
}

/// docs/differences.md, made of the text of `corpus/differences.txt`.
///
/// # Panics
/// When a section gives no reason, or has a command without an answer.
pub fn markdown(corpus: &str) -> String {
    let differences = parse(corpus);
    let mut page = String::from(
        "# Differences from Redis\n\n\
         Generated from `tests/tests/corpus/differences.txt`, which the tests compare with the server's answers.\n\n\
         Larder answers as Redis 7.4. Here is what changed since 7.0, the version that the tests compare with, and what\n\
         Larder does differently on purpose. Answers are those of RESP2; a long one goes on in lines that are set in.\n\
         `b>` is another connection, `(then)` a frame that follows without a command. Where figures are each server's\n\
         own, the names of the fields are compared and shown.\n",
    );
    for (heading, is_on_purpose) in [("From 7.0 to 7.4", false), ("On purpose", true)] {
        page.push_str(&format!("\n## {heading}\n"));
        differences
            .iter()
            .filter(|difference| difference.title.contains(ON_PURPOSE) == is_on_purpose)
            .for_each(|difference| add(difference, &mut page));
    }
    page
}

fn parse(corpus: &str) -> Vec<Difference<'_>> {
    let mut differences: Vec<Difference> = Vec::new();
    for line in corpus.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(title) = line.strip_prefix("@ ") {
            differences.push(Difference { title, ..Difference::default() });
            continue;
        }
        // What stands before the first section is about the file.
        let Some(difference) = differences.last_mut() else { continue };
        if let Some(comment) = line.strip_prefix('#') {
            difference.reason.push_str(comment);
        } else {
            let case = line.split_once(ANSWER).unwrap_or_else(|| panic!("no answer is given to {line}"));
            difference.cases.push(case);
        }
    }
    differences
}

fn add(difference: &Difference<'_>, page: &mut String) {
    let Difference { title, reason, cases } = difference;
    assert!(!reason.is_empty(), "{title}: no reason is given");
    let heading = title.replace(ON_PURPOSE, "").replace("[2]", "(RESP2)").replace("[3]", "(RESP3)");
    page.push_str(&format!("\n### {}\n\n{}\n", capitalized(heading.trim()), reason.trim()));
    if cases.is_empty() {
        return;
    }
    page.push_str("\n```text\n");
    for (command, answer) in cases {
        let answer = answer.split(" || ").next().unwrap_or_default();
        let line = match (*command, command.strip_prefix("= ")) {
            ("<", _) => format!("(then){ANSWER}{answer}"),
            (_, Some(command)) => format!("{command}, names of fields{ANSWER}{answer}"),
            _ => format!("{command}{ANSWER}{answer}"),
        };
        page.push_str(&wrapped(&line));
    }
    page.push_str("```\n");
}

/// A line in as many as it takes, broken behind spaces and the ends of lines of the protocol.
fn wrapped(line: &str) -> String {
    let (mut text, mut length) = (String::new(), 0);
    let mut rest = line;
    while !rest.is_empty() {
        let ends = [" ", "\\r\\n"].map(|end| rest.find(end).map_or(rest.len(), |at| at + end.len()));
        let (piece, after) = rest.split_at(ends[0].min(ends[1]));
        if length > 0 && length + piece.trim_end().chars().count() > WIDTH {
            text.truncate(text.trim_end().len());
            text.push('\n');
            text.push_str(INDENT);
            length = INDENT.len();
        }
        text.push_str(piece);
        length += piece.chars().count();
        rest = after;
    }
    text + "\n"
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_stands_in_its_chapter() {
        let page = markdown(
            "# about the file\n@ sizes [on purpose]\n# They\n# differ.\n@ own messages [3]\n# Since 7.2.\n\
             PUBLISH c x => :1\\r\\n || :2\\r\\n\n< => >1\\r\\n\n= CLIENT INFO => id\n",
        );
        let chapters = page.split_once("\n## From 7.0 to 7.4\n").unwrap().1;
        let own = "\n### Own messages (RESP3)\n\nSince 7.2.\n\n```text\nPUBLISH c x => :1\\r\\n\n(then) => >1\\r\\n\n\
                   CLIENT INFO, names of fields => id\n```\n";
        assert_eq!(chapters, format!("{own}\n## On purpose\n\n### Sizes\n\nThey differ.\n"));
    }

    #[test]
    fn long_answers_are_shown_whole() {
        let item = "$3\\r\\nabc\\r\\n";
        let line = format!("GET k => {}", item.repeat(40));
        let page = wrapped(&line);
        assert!(page.lines().count() > 3 && page.lines().all(|line| line.len() <= WIDTH), "{page}");
        assert!(page.lines().skip(1).all(|line| line.starts_with(INDENT)));
        assert_eq!(page.replace(INDENT, "").replace('\n', ""), line);
        assert_eq!(wrapped("PING => +PONG\\r\\n"), "PING => +PONG\\r\\n\n");
        let words = wrapped(&"word ".repeat(30));
        assert_eq!(words.split_whitespace().count(), 30);
        assert!(words.lines().next().unwrap().ends_with("word"));
    }

    #[test]
    #[should_panic(expected = "no reason is given")]
    fn a_reason_is_asked_for() {
        markdown("@ title\nPING => +PONG\\r\\n\n");
    }
}
