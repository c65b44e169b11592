//! The ACL file: a line per user, `user name rules...`, and nothing else, as ACL SAVE writes it anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::rules::{RuleError, Rules, merge_selectors};
use super::selector::has_blanks;
use super::user::User;
use super::{DEFAULT, note_disabled};
use crate::config::{error_text, replace_file};
use crate::error::rule_reason;

/// The users of a file, the one called default among them in any case. The error says all that is wrong with the file;
/// `shown` is what it is called in it.
pub(super) fn load(path: &Path, shown: &[u8], opens_channels: bool) -> Result<BTreeMap<Vec<u8>, Rules>, Vec<u8>> {
    let text = std::fs::read(path).map_err(|error| {
        let path = path.as_os_str().as_encoded_bytes();
        [b"Error loading ACLs, opening file '", path, b"': ", error_text(&error).as_bytes()].concat()
    })?;
    let users = parse(&text, shown, opens_channels)?;
    users.iter().for_each(|(name, rules)| note_disabled(name, rules));
    Ok(users)
}

/// The users of a file's text.
fn parse(text: &[u8], shown: &[u8], opens_channels: bool) -> Result<BTreeMap<Vec<u8>, Rules>, Vec<u8>> {
    let (mut users, mut errors) = (BTreeMap::new(), Vec::new());
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = trim(line, b" \t\r\n");
        if !line.is_empty() {
            let place = [shown, b":", (index + 1).to_string().as_bytes()].concat();
            add_line(&mut users, line, &place, index + 1, opens_channels, &mut errors);
        }
    }
    if !errors.is_empty() {
        errors.extend_from_slice(
            b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
        );
        return Err(errors);
    }
    users.entry(DEFAULT.to_vec()).or_insert_with(Rules::everything);
    Ok(users)
}

/// Adds the user of a line, or what is wrong with it.
fn add_line(
    users: &mut BTreeMap<Vec<u8>, Rules>,
    line: &[u8],
    place: &[u8],
    number: usize,
    opens_channels: bool,
    errors: &mut Vec<u8>,
) {
    let mut fail = |parts: &[&[u8]]| errors.extend_from_slice(&parts.concat());
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [b"user", name, rules @ ..] = words.as_slice() else {
        return fail(&[place, b" should start with user keyword followed by the username. "]);
    };
    if has_blanks(name) {
        return fail(&[b"'", place, b": username '", name, b"' contains invalid characters. "]);
    }
    if users.contains_key(*name) {
        let number = number.to_string();
        return fail(&[b"WARNING: Duplicate user '", name, b"' found on line ", number.as_bytes(), b". "]);
    }
    let mut user = Rules::new(opens_channels);
    match merge_selectors(rules) {
        Err(_) => fail(&[place, b": Unmatched parenthesis in selector definition."]),
        Ok(rules) => {
            let mut is_first = true;
            for rule in &rules {
                let rule = trim(rule, b"\t\r\n");
                match user.apply(rule) {
                    Ok(()) => {}
                    Err(error @ RuleError::Unknown) => {
                        let reason = rule_reason(error).as_bytes();
                        fail(&[place, b": Error in applying operation '", rule, b"': ", reason, b". "]);
                    }
                    // What follows from the first error need not be wrong; and passwords are to stay out of answers.
                    Err(error) if is_first => {
                        fail(&[place, b": ", rule_reason(error).as_bytes(), b". "]);
                        is_first = false;
                    }
                    Err(_) => {}
                }
            }
        }
    }
    users.insert(name.to_vec(), user);
}

fn trim<'a>(text: &'a [u8], blanks: &[u8]) -> &'a [u8] {
    let is_kept = |byte: &u8| !blanks.contains(byte);
    let start = text.iter().position(is_kept).unwrap_or(text.len());
    let end = text.iter().rposition(is_kept).map_or(start, |last| last + 1);
    &text[start..end]
}

/// Writes users into a file, which is replaced as a whole.
pub(super) fn save<'a>(path: &Path, users: impl Iterator<Item = &'a Arc<User>>) -> std::io::Result<()> {
    let lines = users.map(|user| [b"user ", user.name(), b" ", &user.rules().describe(), b"\n"].concat());
    replace_file(path, &lines.collect::<Vec<_>>().concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> String {
        let all = String::from_utf8(parse(text.as_bytes(), b"acl", false).unwrap_err()).unwrap();
        let (own, end) = all.split_once("WARNING: ACL errors").unwrap();
        assert_eq!(end, " detected, no change to the previously active ACL rules was performed");
        own.to_owned()
    }

    #[test]
    fn a_file_has_a_user_a_line() {
        let users = parse(b"\n user bob on +get \r\n\nuser al off (~a* +get)\nuser  off", b"acl", false).unwrap();
        let shown = |name: &str| String::from_utf8(users[name.as_bytes()].describe()).unwrap();
        assert_eq!(users.len(), 4);
        assert_eq!(shown("bob"), "on sanitize-payload resetchannels -@all +get");
        assert_eq!(shown("al"), "off sanitize-payload resetchannels -@all (~a* resetchannels -@all +get)");
        assert_eq!(shown("default"), "on nopass sanitize-payload ~* &* +@all");
        assert!(users.contains_key(&b""[..]));
        let users = parse(b"user default on", b"acl", true).unwrap();
        assert_eq!(users[DEFAULT].describe(), b"on sanitize-payload &* -@all");
    }

    #[test]
    fn all_errors_are_told() {
        for (text, expected) in [
            ("USER a", "acl:1 should start with user keyword followed by the username. "),
            ("\n# comment", "acl:2 should start with user keyword followed by the username. "),
            ("user", "acl:1 should start with user keyword followed by the username. "),
            ("user a\x0bb on", "'acl:1: username 'a\x0bb' contains invalid characters. "),
            ("user a on\nuser a off", "WARNING: Duplicate user 'a' found on line 2. "),
            (
                "user a +nosuch +@none\nuser b ~* ~x nosuch",
                "acl:1: Error in applying operation '+nosuch': Unknown command or category name in ACL. \
                 acl:1: Error in applying operation '+@none': Unknown command or category name in ACL. \
                 acl:2: Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns. ",
            ),
            ("user a (+get", "acl:1: Unmatched parenthesis in selector definition."),
        ] {
            assert_eq!(errors(text), expected, "{text:?}");
        }
    }
}
