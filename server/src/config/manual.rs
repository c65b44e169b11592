//! The manual of options, generated from the table for docs/options.md.

use std::fmt::Write;

use super::options::{Change, PASSED_OVER, Row, SECTIONS, Settings};

const HEAD: &str = "# Options\n\n\
    Generated from the table in `server/src/config/options.rs`.\n\n\
    Options stand in a configuration file (`name value`), on the command line (`--name value`), and in CONFIG SET. Sizes\n\
    take a unit: `k` is 1000 bytes, `kb` 1024, and likewise `m`, `mb`, `g`, `gb`. *Changes* tells whether CONFIG SET may\n\
    change the option: *yes*, *protected* (only where `enable-protected-configs` allows it) or *at start* (never).\n";

const PASSED: &str = "\n## Passed over\n\n\
    These stand in a usual redis.conf and concern what Larder has not, or not yet. In a file and on the command line they are\n\
    passed over, and the log names them; to CONFIG GET and SET they are unknown.\n\n";

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
    let names: Vec<String> = PASSED_OVER.iter().map(|name| format!("`{name}`")).collect();
    let _ = writeln!(manual, "{PASSED}{}.", names.join(", "));
    manual
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
