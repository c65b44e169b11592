//! Categories of commands: what COMMAND INFO and ACL CAT show, and what rules such as `+@read` name.

use crate::commands::command::{
    ADMIN, ADMINISTRATION, BLOCKING, CONNECTION, Command, DANGEROUS, FAST, Group, KEYSPACE, PUBSUB, READONLY, Run,
    SORTS, WRITE,
};

/// The categories in Redis's order.
pub(crate) const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// The category with a name, whatever its case.
pub(crate) fn category(name: &[u8]) -> Option<&'static str> {
    CATEGORIES.iter().copied().find(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Whether a command is in a category: by its flags, or by its family.
pub(crate) fn has_category(row: &Command, category: &str) -> bool {
    let by_flags = match category {
        "keyspace" => row.has(KEYSPACE),
        "set" | "sortedset" | "list" if row.has(SORTS) => true,
        // What a script does is not known, whatever it promises.
        "read" => row.has(READONLY) && row.group != Group::Scripting,
        "write" => row.has(WRITE),
        "pubsub" => return row.has(PUBSUB),
        "admin" => row.has(ADMIN) || row.has(ADMINISTRATION),
        "fast" => row.has(FAST),
        "slow" => !row.has(FAST),
        "blocking" => row.has(BLOCKING),
        "dangerous" => row.has(DANGEROUS) || row.has(ADMIN),
        "connection" => row.has(CONNECTION),
        _ => false,
    };
    // Flags that name a family of their own stand for it.
    let by_group = !matches!(row.run, Run::Container) && !row.has(SORTS) && !row.has(CONNECTION);
    let by_family = by_group && row.group.category() == Some(category);
    by_flags || by_family
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::TABLE;

    #[test]
    fn every_category_of_a_row_is_known() {
        for row in TABLE.rows() {
            assert!(row.group.category().is_none_or(|category| CATEGORIES.contains(&category)), "{}", row.name);
        }
    }
}
