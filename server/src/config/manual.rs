//! The manual of options, generated from the table for docs/options.md.

use std::fmt::Write;

use super::absent::{ABSENT, Takes};
use super::options::{Change, Row, SECTIONS, Settings};

const HEAD: &str = "# Options\n\n\
    Generated from the table in `server/src/config/options.rs`.\n\n\
    Options stand in a configuration file (`name value`), on the command line (`--name value`), and in CONFIG SET. Sizes\n\
    take a unit: `k` is 1000 bytes, `kb` 1024, and likewise `m`, `mb`, `g`, `gb`. *Changes* tells whether CONFIG SET may\n\
    change the option: *yes*, *protected* (only where `enable-protected-configs` allows it) or *at start* (never).\n";

const ABSENT_HEAD: &str = "\n## Options of Redis without a part here\n\n\
    These concern what Larder has not, or not yet. In a file and on the command line the values named here are passed over,\n\
    and the log names the options; any other value is refused. CONFIG GET answers\n\
    Redis's defaults, and CONFIG SET takes these only.\n";

/// The manual as Markdown: a table per section.
pub fn options_markdown() -> String {
    let defaults = Settings::new();
    let mut manual = String::from(HEAD);
    for section in SECTIONS {
        // Writing to a string cannot fail.
        let _ = write!(
            manual,
            "\n## {}\n\n| Option | Value | Default | Changes | Meaning |\n|---|---|---|---|---|\n",
            section.title
        );
        for row in section.rows {
            manual.push_str(&manual_row(row, &defaults));
        }
    }
    manual.push_str(ABSENT_HEAD);
    add_absent(&mut manual);
    manual
}

/// The options of parts that are not there, by what is passed over of them.
fn add_absent(manual: &mut String) {
    let of_kind = |wanted: Takes| {
        let names = ABSENT.iter().filter(|(_, takes)| *takes == wanted).map(|(name, _)| format!("`{name}`"));
        names.collect::<Vec<_>>().join(", ")
    };
    let _ = writeln!(manual, "\nAny value: {}.", of_kind(Takes::Any));
    let _ = writeln!(manual, "\n`yes` and `no`: {}.", of_kind(Takes::Flag));
    let refused = of_kind(Takes::Only(&[]));
    let _ = writeln!(manual, "\nOnly what leaves the part off:\n");
    for (name, takes) in ABSENT {
        if let Takes::Only(values @ [_, ..]) = takes {
            let values: Vec<&str> = values.iter().map(|value| if value.is_empty() { "\"\"" } else { value }).collect();
            let _ = writeln!(manual, "- `{name}`: `{}`", values.join("`, `"));
        }
    }
    let _ = writeln!(manual, "\nNo value at all: {refused}.");
}

fn manual_row(row: &Row, defaults: &Settings) -> String {
    let names: Vec<String> = row.names().map(|name| format!("`{name}`")).collect();
    let names = names.join(", also ");
    let default = if row.default.is_empty() { "\"\"" } else { row.default };
    let changes = match row.change {
        Change::Live => "yes",
        Change::Protected => "protected",
        Change::AtStart => "at start",
    };
    let accepted = row.kind.accepted(defaults);
    format!("| {names} | {accepted} | `{default}` | {changes} | {} |\n", row.summary)
}
