//! Documents that are generated from the tables of the code.

use std::fmt::Write;

use crate::commands::command::{Command, Group, flag_names};
use crate::commands::table::TABLE;
pub use crate::config::options_markdown;
use crate::redis_commands;

/// The families, in the order of the manual, with their headings.
const FAMILIES: &[(Group, &str)] = &[
    (Group::String, "Strings"),
    (Group::Generic, "Keys"),
    (Group::List, "Lists"),
    (Group::Set, "Sets"),
    (Group::Hash, "Hashes"),
    (Group::SortedSet, "Sorted sets"),
    (Group::Bitmap, "Bitmaps"),
    (Group::HyperLogLog, "HyperLogLog"),
    (Group::Geo, "Geographic indexes"),
    (Group::Stream, "Streams"),
    (Group::PubSub, "Publish and subscribe"),
    (Group::Transactions, "Transactions"),
    (Group::Scripting, "Scripts and functions"),
    (Group::Connection, "The connection"),
    (Group::Server, "The server"),
    (Group::Cluster, "Clusters"),
];

/// The manual of commands as Markdown, for docs/commands.md: by family, each with what its row tells.
pub fn commands_markdown() -> String {
    let mut manual = String::from(
        "# Commands\n\nGenerated from the rows in `server/src/commands/`. Every example is a test.\n\n\
         In the arguments, a word in capitals stands for itself; `[ ]` may be left out, `|` separates alternatives, and\n\
         `...` repeats what stands before it. [The end](#commands-of-redis-74-that-are-not-there-yet) names the commands of\n\
         Redis that are not there yet.\n",
    );
    for (group, heading) in FAMILIES {
        let rows = TABLE.rows().filter(|row| row.group == *group);
        // Writing to a string cannot fail.
        let _ = write!(manual, "\n## {heading}\n");
        rows.for_each(|row| add_command(row, &mut manual));
    }
    add_missing(&mut manual);
    manual
}

/// What Redis has and the table has not.
fn add_missing(manual: &mut String) {
    manual.push_str(
        "\n## Commands of Redis 7.4 that are not there yet\n\n\
         They are answered as unknown commands; subcommands are named where the command itself is there.\n\n",
    );
    let is_absent = |name: &str| TABLE.by_full_name(name.as_bytes()).is_none();
    for (heading, names) in redis_commands::FAMILIES {
        let missing = names.split(' ').filter(|name| match name.split_once('|') {
            Some((container, _)) => is_absent(name) && !is_absent(container),
            None => is_absent(name),
        });
        let missing: Vec<String> = missing.map(|name| format!("`{}`", name.replace('|', " "))).collect();
        if !missing.is_empty() {
            let _ = writeln!(manual, "- {heading}: {}", missing.join(", "));
        }
    }
}

fn add_command(row: &Command, manual: &mut String) {
    let name = row.name.replace('|', " ");
    let call = format!("{name} {}", row.syntax);
    let _ = write!(manual, "\n### {name}\n\n`{}`\n\n{}\n\n", call.trim_end(), row.summary);
    if let Some((since, instead)) = row.deprecated {
        let _ = write!(manual, "Deprecated since {since}: use {instead}.\n\n");
    }
    let flags: Vec<&str> = flag_names(row.flags).collect();
    let flags = if flags.is_empty() { "none".to_owned() } else { flags.join(", ") };
    let _ = writeln!(
        manual,
        "Since {}. Arity {}. Time: {}. Flags: {flags}.",
        row.since,
        row.arity.number(),
        row.complexity,
    );
    if !row.fields.is_empty() {
        manual.push_str(
            "\nThe reply is a map in RESP3, and in RESP2 an array of its names and values.\n\n| field | |\n|:--|:--|\n",
        );
        for (field, what) in row.fields {
            let _ = writeln!(manual, "| `{field}` | {what} |");
        }
    }
    if !row.examples.is_empty() {
        manual.push_str("\n```text\n");
        for (command, answer) in row.examples {
            let _ = writeln!(manual, "> {command}\n{answer}");
        }
        manual.push_str("```\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_replies_are_in_the_manual() {
        let manual = commands_markdown();
        assert!(manual.contains("| `state` | `resident`, "), "those of CACHE WHY");
        let without = TABLE.rows().filter(|row| row.name.starts_with("CACHE|") && row.fields.is_empty());
        assert_eq!(without.map(|row| row.name).collect::<Vec<_>>(), ["CACHE|HELP"]);
    }

    #[test]
    fn every_command_is_in_the_manual_once() {
        let manual = commands_markdown();
        for row in TABLE.rows() {
            let heading = format!("\n### {}\n", row.name.replace('|', " "));
            assert_eq!(manual.matches(&heading).count(), 1, "{}", row.name);
        }
    }

    #[test]
    fn every_row_is_a_command_of_redis_or_our_own_and_none_is_listed_as_missing() {
        /// Commands that Redis does not have.
        const OWN: &[&str] = &["CACHE"];
        let manual = commands_markdown();
        let (_, missing) = manual.split_once("## Commands of Redis 7.4 that are not there yet").unwrap();
        for row in TABLE.rows() {
            let mut known = redis_commands::FAMILIES.iter().flat_map(|(_, names)| names.split(' '));
            let is_own = OWN.contains(&row.name.split('|').next().unwrap_or_default());
            assert_ne!(is_own, known.any(|name| name == row.name), "{}", row.name);
            assert!(!missing.contains(&format!("`{}`", row.name.replace('|', " "))), "{}", row.name);
        }
        for name in ["BGSAVE", "MIGRATE"] {
            assert!(missing.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn every_row_says_what_it_does() {
        for row in TABLE.rows() {
            assert!(row.summary.ends_with('.'), "{}: {}", row.name, row.summary);
            assert!(!row.since.is_empty(), "{} names no version", row.name);
            assert!(!row.complexity.is_empty(), "{} names no time", row.name);
        }
    }
}
