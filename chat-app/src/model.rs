//! What the application is about: rooms, messages, users, and the rules that names and texts follow.

use serde::{Deserialize, Serialize};

use crate::error::AppError;

/// The most characters of a message or post.
pub const BODY_CHARS: usize = 4_000;
/// The most characters of a user's name.
pub const NAME_CHARS: usize = 32;
/// The most messages on a page.
pub const PAGE_LIMIT: i64 = 100;
/// The messages on a page when nothing else is asked for.
pub const PAGE_DEFAULT: i64 = 50;

/// The name of a room: 1 to 64 of `a-z`, `0-9` and `-`. So it cannot hold the `:` that separates the parts of a cache
/// key nor the `*` of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomId(String);

impl RoomId {
    /// Takes a name that follows the rule.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn new(name: &str) -> Result<Self, AppError> {
        let is_valid = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if is_valid {
            Ok(Self(name.to_owned()))
        } else {
            Err(AppError::invalid("a room's name has 1 to 64 of a-z, 0-9 and -"))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RoomId {
    type Error = AppError;

    fn try_from(name: String) -> Result<Self, AppError> {
        Self::new(&name)
    }
}

impl From<RoomId> for String {
    fn from(room: RoomId) -> String {
        room.0
    }
}

impl std::fmt::Display for RoomId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One message as readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id, which tells its place, too.
    #[serde(with = "crate::ids::text")]
    pub id: i64,
    /// Where it was said.
    pub room: RoomId,
    /// Who said it.
    #[serde(with = "crate::ids::text")]
    pub author: i64,
    /// The author's name.
    pub name: String,
    /// What was said; empty once it is deleted.
    pub body: String,
    /// When it was edited last, in milliseconds since 1970; 0 if never.
    pub edited_ms: i64,
    /// Whether its author took it back.
    pub deleted: bool,
    /// Grows with each change of the message: an id, equal to the message's own until it is changed.
    #[serde(with = "crate::ids::text")]
    pub changed: i64,
    /// How often it got each reaction, where a change is told of; pages carry those of all their messages apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reactions: Option<Vec<Reactions>>,
}

/// Messages of a room in the order in which they were said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<Message>,
}

/// All that the page of a room shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPage {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// How often each message got each reaction.
    pub reactions: Vec<Reactions>,
    /// Who wrote here this week, busiest first.
    pub members: Vec<Member>,
}

/// How often a message got a reaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reactions {
    /// The message.
    #[serde(with = "crate::ids::text")]
    pub message: i64,
    /// The reaction.
    pub emoji: String,
    /// By how many.
    pub count: i64,
}

/// Somebody who wrote in a room this week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The name.
    pub name: String,
    /// Messages this week.
    pub count: i64,
}

/// A room in the list of rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Its name.
    pub id: RoomId,
    /// What it is about.
    pub title: String,
}

/// A page of the list of rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomList {
    /// Those in which something was said last come first.
    pub rooms: Vec<Room>,
    /// Where the next page begins, if there is one.
    pub next: Option<RoomCursor>,
}

/// The place of a room in the list of rooms; the next page is what comes after it. A place and no count: what is said
/// meanwhile moves rooms to the head of the list, and a count would then show some of them twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomCursor {
    /// When something was said there last, as an id.
    pub latest: i64,
    /// The room.
    pub room: RoomId,
}

impl RoomCursor {
    /// Reads what [`std::fmt::Display`] writes, and nothing else: one place has one text, and one key.
    ///
    /// # Errors
    /// What is no cursor.
    pub fn parse(text: &str) -> Result<Self, AppError> {
        let cursor = text.split_once('.').and_then(|(latest, room)| {
            let cursor = Self { latest: latest.parse().ok()?, room: RoomId::new(room).ok()? };
            (cursor.to_string() == text).then_some(cursor)
        });
        cursor.ok_or_else(|| AppError::invalid("after is the place of a room, as another page tells it"))
    }
}

impl TryFrom<String> for RoomCursor {
    type Error = AppError;

    fn try_from(text: String) -> Result<Self, AppError> {
        Self::parse(&text)
    }
}

impl From<RoomCursor> for String {
    fn from(cursor: RoomCursor) -> String {
        cursor.to_string()
    }
}

impl std::fmt::Display for RoomCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.latest, self.room)
    }
}

/// A user's public side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The id.
    #[serde(with = "crate::ids::text")]
    pub id: i64,
    /// The name.
    pub name: String,
    /// When the user signed in for the first time, in milliseconds since 1970.
    pub since_ms: i64,
    /// How many follow.
    pub followers: i64,
    /// How many are followed.
    pub following: i64,
}

/// Reactions that a message can get.
pub const EMOJIS: &[&str] = &["👍", "❤️", "😂", "🎉", "🤔"];

/// Takes the text of a message or a post.
///
/// # Errors
/// The rule that it breaks.
pub fn body(text: &str) -> Result<String, AppError> {
    let text = text.trim();
    if text.chars().all(shows_nothing) {
        return Err(AppError::invalid("the text is empty"));
    }
    if text.chars().count() > BODY_CHARS {
        return Err(AppError::TooLarge(format!("the text has more than {BODY_CHARS} characters")));
    }
    if text.chars().any(|letter| letter.is_control() && letter != '\n' && letter != '\t') {
        return Err(AppError::invalid("the text holds control characters"));
    }
    Ok(text.to_owned())
}

/// Takes the name that a user signs in with.
///
/// # Errors
/// The rule that it breaks.
pub fn user_name(text: &str) -> Result<String, AppError> {
    let text = text.trim();
    if text.chars().all(shows_nothing) {
        return Err(AppError::invalid("the name is empty"));
    }
    if text.chars().count() > NAME_CHARS {
        return Err(AppError::TooLarge(format!("the name has more than {NAME_CHARS} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(AppError::invalid("the name holds control characters"));
    }
    Ok(text.to_owned())
}

/// Whether a reader sees nothing of a character: spaces, what joins and directs others (Unicode's
/// `Default_Ignorable_Code_Point`), and the blank pattern of Braille.
fn shows_nothing(letter: char) -> bool {
    letter.is_whitespace()
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Takes the size of a page.
///
/// # Errors
/// A size that is not between 1 and [`PAGE_LIMIT`].
pub fn page_limit(limit: Option<i64>) -> Result<i64, AppError> {
    match limit.unwrap_or(PAGE_DEFAULT) {
        limit @ 1..=PAGE_LIMIT => Ok(limit),
        _ => Err(AppError::invalid(format!("limit is a number between 1 and {PAGE_LIMIT}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{RoomCursor, RoomId, body, page_limit, user_name};

    #[test]
    fn names_of_rooms_cannot_break_out_of_a_key() {
        for good in ["general", "a", "room-7", &"x".repeat(64)] {
            assert_eq!(RoomId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "General", "a:b", "a*", "a b", "ä", "a\n", "../x", &"x".repeat(65)] {
            assert!(RoomId::new(bad).is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<RoomId>("\"a:b\"").is_err());
    }

    #[test]
    fn a_place_in_the_list_of_rooms_has_one_text() {
        for good in ["0.general", "7340032123.room-7", "-1.a"] {
            assert_eq!(RoomCursor::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "general",
            ".general",
            "1.",
            "+1.general",
            "01.general",
            "1.a:b",
            "1.*",
            "1.a.b",
            "99999999999999999999.a",
        ] {
            assert!(RoomCursor::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn texts_have_limits() {
        assert_eq!(body("  hello\n").unwrap(), "hello");
        assert!(body(" \n ").is_err() && body("\u{0}").is_err());
        assert!(body(&"ä".repeat(4_000)).is_ok() && body(&"ä".repeat(4_001)).is_err());
        for blank in ["\u{200b}", " \u{200d}\u{feff} ", "\u{3164}", "\u{2800}"] {
            assert!(body(blank).is_err() && user_name(blank).is_err(), "{blank:?} shows nothing");
        }
        assert!(body("\u{200b}a").is_ok() && body("❤\u{fe0f}").is_ok());
        assert!(user_name("<b>Ann</b>").is_ok(), "escaped where it is shown, not refused");
        assert!(user_name("").is_err() && user_name(&"n".repeat(33)).is_err() && user_name("a\u{7}").is_err());
    }

    #[test]
    fn limits_of_pages_are_numbers_between_1_and_100() {
        assert_eq!(page_limit(None).unwrap(), 50);
        for bad in [0, -1, 101, i64::MAX, i64::MIN] {
            assert!(page_limit(Some(bad)).is_err(), "{bad}");
        }
    }
}
