//! What can be cached, and under which key.
//!
//! A key must carry every parameter of the query whose result it holds: `messages:general:50:latest` and
//! `messages:general:100:latest` are different answers. Here the key is derived from the very value that the database is
//! asked with ([`Query`]), so a key that forgets a parameter, or one that is put together by hand, cannot happen.
//!
//! Each query belongs to a [`Group`]: what becomes stale together. A message makes all pages of its room stale, whatever
//! their size and place.

use std::fmt;

use crate::model::{RoomCursor, RoomId};

/// A question to the database whose answer may be cached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Query {
    /// Messages of a room, the newest `limit` of them, or those before an id.
    Messages {
        /// The room.
        room: RoomId,
        /// The most messages.
        limit: i64,
        /// Only messages with lower ids.
        before: Option<i64>,
    },
    /// The same with reactions and the members who are active: what the page of a room shows.
    RoomPage {
        /// The room.
        room: RoomId,
        /// The most messages.
        limit: i64,
        /// Only messages with lower ids.
        before: Option<i64>,
    },
    /// A page of the list of rooms.
    Rooms {
        /// Only rooms after this place.
        after: Option<RoomCursor>,
    },
    /// One room, if there is such a one.
    Room {
        /// The room.
        room: RoomId,
    },
    /// A user's public side.
    Profile {
        /// The user.
        user: i64,
    },
}

/// What becomes stale together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// The pages of a room.
    Room(RoomId),
    /// Which rooms there are.
    Rooms,
    /// The pages of the list of rooms: apart from the rooms themselves, since its order changes with what is said.
    RoomList,
    /// What is shown of a user.
    User(i64),
}

/// A kind of data, which decides how long it may be cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Messages, with or without what stands around them.
    Page,
    /// A list of posts.
    Feed,
    /// The list of rooms.
    Rooms,
    /// A user's public side.
    Profile,
}

impl Query {
    /// The key of its result, without the prefix of the application.
    pub fn key(&self) -> String {
        match self {
            Query::Messages { room, limit, before } => format!("messages:{room}:{limit}:{}", Before(*before)),
            Query::RoomPage { room, limit, before } => format!("room-page:{room}:{limit}:{}", Before(*before)),
            Query::Rooms { after: None } => "rooms:list:first".into(),
            Query::Rooms { after: Some(after) } => format!("rooms:list:{after}"),
            Query::Room { room } => format!("rooms:one:{room}"),
            Query::Profile { user } => format!("profile:{user}"),
        }
    }

    /// What it becomes stale with.
    pub fn group(&self) -> Group {
        match self {
            Query::Messages { room, .. } | Query::RoomPage { room, .. } => Group::Room(room.clone()),
            Query::Rooms { .. } => Group::RoomList,
            Query::Room { .. } => Group::Rooms,
            Query::Profile { user } => Group::User(*user),
        }
    }

    /// Its kind of data.
    pub fn kind(&self) -> Kind {
        match self {
            Query::Messages { .. } | Query::RoomPage { .. } => Kind::Page,
            Query::Rooms { .. } | Query::Room { .. } => Kind::Rooms,
            Query::Profile { .. } => Kind::Profile,
        }
    }
}

impl Group {
    /// The key that holds the group's version.
    pub fn version_key(&self) -> String {
        format!("version:{self}")
    }

    /// The patterns that match the group's keys and no others.
    pub fn patterns(&self) -> Vec<String> {
        match self {
            Group::Room(room) => vec![format!("messages:{room}:*"), format!("room-page:{room}:*")],
            Group::Rooms => vec!["rooms:one:*".into()],
            Group::RoomList => vec!["rooms:list:*".into()],
            Group::User(user) => vec![format!("profile:{user}")],
        }
    }

    /// The group whose keys a pattern of [`Group::patterns`] matches.
    pub fn of_pattern(pattern: &str) -> Option<Group> {
        let mut parts = pattern.split(':');
        match (parts.next()?, parts.next()?) {
            ("messages" | "room-page", room) => RoomId::new(room).ok().map(Group::Room),
            ("rooms", "one") => Some(Group::Rooms),
            ("rooms", "list") => Some(Group::RoomList),
            ("profile", user) => user.parse().ok().map(Group::User),
            _ => None,
        }
    }

    /// The group that a version's key belongs to.
    pub fn of_version_key(key: &str) -> Option<Group> {
        Self::parse(key.strip_prefix("version:")?)
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Group> {
        match text.split_once(':') {
            None if text == "rooms" => Some(Group::Rooms),
            None if text == "room-list" => Some(Group::RoomList),
            Some(("room", name)) => RoomId::new(name).ok().map(Group::Room),
            Some(("user", id)) => id.parse().ok().map(Group::User),
            _ => None,
        }
    }

    /// What decides on which shard the group lives: the room's or the user's name.
    pub fn shard_key(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Group::Room(room) => write!(f, "room:{room}"),
            Group::Rooms => f.write_str("rooms"),
            Group::RoomList => f.write_str("room-list"),
            Group::User(user) => write!(f, "user:{user}"),
        }
    }
}

/// The last part of a page's key.
struct Before(Option<i64>);

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, "{id}"),
            None => f.write_str("latest"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Group, Query};
    use crate::model::{RoomCursor, RoomId};

    fn page(room: &str, limit: i64, before: Option<i64>) -> Query {
        Query::Messages { room: RoomId::new(room).unwrap(), limit, before }
    }

    #[test]
    fn a_key_carries_every_parameter() {
        assert_eq!(page("general", 50, None).key(), "messages:general:50:latest");
        assert_eq!(page("general", 100, Some(7)).key(), "messages:general:100:7");
        let keys =
            [page("vip", 50, None), page("general", 50, None), page("general", 100, None)].map(|query| query.key());
        assert!(keys[0] != keys[1] && keys[1] != keys[2]);
        assert_eq!(Query::Rooms { after: None }.key(), "rooms:list:first");
        let after = RoomCursor::parse("7.general").unwrap();
        assert_eq!(Query::Rooms { after: Some(after) }.key(), "rooms:list:7.general");
    }

    #[test]
    fn a_groups_patterns_match_its_keys_and_no_others() {
        let group = page("general", 50, None).group();
        let prefixes: Vec<_> =
            group.patterns().iter().map(|pattern| pattern.trim_end_matches('*').to_owned()).collect();
        let is_matched = |query: &Query| prefixes.iter().any(|prefix| query.key().starts_with(prefix));
        assert!(is_matched(&page("general", 10, Some(3))));
        assert!(!is_matched(&page("general-2", 10, None)) && !is_matched(&page("gener", 10, None)));
    }

    #[test]
    fn groups_are_found_again_by_their_version_key() {
        for group in [page("a-b", 1, None).group(), Group::Rooms, Group::RoomList, Group::User(12)] {
            assert!(group.patterns().iter().all(|pattern| Group::of_pattern(pattern).as_ref() == Some(&group)));
            assert_eq!(Group::of_version_key(&group.version_key()), Some(group));
        }
        assert_eq!(Group::of_pattern("*"), None);
        assert_eq!(Group::of_version_key("version:room:A"), None);
        assert_eq!(Group::of_version_key("messages:a:50:latest"), None);
    }
}
