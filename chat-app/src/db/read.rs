//! Queries whose results are cached. Each is one that a good database administrator would accept: it reads one stretch of
//! one index.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::Db;
use crate::error::AppError;
use crate::ids;
use crate::model::{Member, Message, Profile, Reactions, Room, RoomCursor, RoomId, RoomList};

/// Rooms on a page of the list of rooms.
const ROOMS: usize = 100;
/// Members on the page of a room.
const MEMBERS: i64 = 20;
const WEEK_MS: i64 = 7 * 24 * 3_600 * 1_000;

impl Db {
    /// The newest messages of a room, or those before an id; oldest first.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn messages(&self, room: &RoomId, limit: i64, before: Option<i64>) -> Result<Vec<Message>, AppError> {
        let rows = sqlx::query(
            "SELECT m.id, m.room, m.author, u.name, m.body, m.edited_ms, m.deleted, m.changed \
             FROM messages m JOIN users u ON u.id = m.author \
             WHERE m.room = $1 AND m.id < $2 ORDER BY m.id DESC LIMIT $3",
        )
        .bind(room.as_str())
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        rows.iter().rev().map(message).collect()
    }

    /// How often the messages between two ids got each reaction.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn reactions(&self, room: &RoomId, first: i64, last: i64) -> Result<Vec<Reactions>, AppError> {
        let rows = sqlx::query(
            "SELECT message, emoji, COUNT(*) FROM reactions WHERE room = $1 AND message >= $2 AND message <= $3 \
             GROUP BY message, emoji ORDER BY message, emoji",
        )
        .bind(room.as_str())
        .bind(first)
        .bind(last)
        .fetch_all(self.pool())
        .await?;
        let reaction =
            |row: &AnyRow| Ok(Reactions { message: row.try_get(0)?, emoji: row.try_get(1)?, count: row.try_get(2)? });
        rows.iter().map(reaction).collect()
    }

    /// Adds their reactions to messages that were changed.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn add_reactions(&self, messages: &mut [Message]) -> Result<(), AppError> {
        for message in messages.iter_mut().filter(|message| message.changed != message.id) {
            message.reactions = Some(self.reactions(&message.room, message.id, message.id).await?);
        }
        Ok(())
    }

    /// Who wrote in a room in the week before `now_ms`, busiest first.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn members(&self, room: &RoomId, now_ms: i64) -> Result<Vec<Member>, AppError> {
        let rows = sqlx::query(
            "SELECT u.name, c.count FROM (\
                 SELECT author, COUNT(*) AS count FROM messages WHERE room = $1 AND id >= $2 \
                 GROUP BY author ORDER BY COUNT(*) DESC, author LIMIT $3\
             ) c JOIN users u ON u.id = c.author ORDER BY c.count DESC, u.name",
        )
        .bind(room.as_str())
        .bind(ids::first_id_at(now_ms - WEEK_MS))
        .bind(MEMBERS)
        .fetch_all(self.pool())
        .await?;
        let member = |row: &AnyRow| Ok(Member { name: row.try_get(0)?, count: row.try_get(1)? });
        rows.iter().map(member).collect()
    }

    /// One room; `None` for an unknown one.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn room(&self, room: &RoomId) -> Result<Option<Room>, AppError> {
        let row = sqlx::query("SELECT title FROM rooms WHERE id = $1")
            .bind(room.as_str())
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| Ok(Room { id: room.clone(), title: row.try_get(0)? })).transpose()
    }

    /// The rooms in which something was said last, or those after a place in that list; a room in which nothing was said yet
    /// counts from when it was made.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn rooms(&self, after: Option<&RoomCursor>) -> Result<RoomList, AppError> {
        // One look into the index per room; grouping all messages would read the whole of it.
        let rows = sqlx::query(
            "SELECT id, title, latest FROM (\
                 SELECT r.id, r.title, \
                 COALESCE((SELECT MAX(m.id) FROM messages m WHERE m.room = r.id), (r.created_ms - $1) * $2) AS latest \
                 FROM rooms r\
             ) AS listed WHERE latest < $3 OR (latest = $3 AND id > $4) ORDER BY latest DESC, id LIMIT $5",
        )
        .bind(ids::time_of(0))
        .bind(ids::first_id_at(ids::time_of(0) + 1))
        .bind(after.map_or(i64::MAX, |after| after.latest))
        .bind(after.map_or("", |after| after.room.as_str()))
        .bind(ROOMS as i64 + 1)
        .fetch_all(self.pool())
        .await?;
        let room = |row: &AnyRow| Ok::<_, AppError>(Room { id: RoomId::new(row.try_get(0)?)?, title: row.try_get(1)? });
        let page = &rows[..rows.len().min(ROOMS)];
        let rooms = page.iter().map(room).collect::<Result<Vec<_>, _>>()?;
        let next = match page.last() {
            Some(last) if rows.len() > ROOMS => {
                Some(RoomCursor { latest: last.try_get(2)?, room: RoomId::new(last.try_get(0)?)? })
            }
            _ => None,
        };
        Ok(RoomList { rooms, next })
    }

    /// The rooms in which most was said lately (among the last 5,000 messages), busiest first.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn popular_rooms(&self, count: usize) -> Result<Vec<RoomId>, AppError> {
        let rows = sqlx::query(
            "SELECT room FROM (SELECT room FROM messages ORDER BY id DESC LIMIT 5000) AS recent \
             GROUP BY room ORDER BY COUNT(*) DESC, room LIMIT $1",
        )
        .bind(i64::try_from(count).unwrap_or(i64::MAX))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| RoomId::new(row.try_get(0)?)).collect()
    }

    /// A user's public side; `None` for an unknown one.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn profile(&self, user: i64) -> Result<Option<Profile>, AppError> {
        let row = sqlx::query(
            "SELECT id, name, created_ms, (SELECT COUNT(*) FROM follows WHERE followee = $1), \
             (SELECT COUNT(*) FROM follows WHERE follower = $1) FROM users WHERE id = $1",
        )
        .bind(user)
        .fetch_optional(self.pool())
        .await?;
        row.map(|row| {
            Ok(Profile {
                id: row.try_get(0)?,
                name: row.try_get(1)?,
                since_ms: row.try_get(2)?,
                followers: row.try_get(3)?,
                following: row.try_get(4)?,
            })
        })
        .transpose()
    }

    /// Messages that were written, edited or deleted after `changed`, in the order of their changes.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn changes_after(&self, changed: i64, limit: i64) -> Result<Vec<Message>, AppError> {
        let rows = sqlx::query(
            "SELECT m.id, m.room, m.author, u.name, m.body, m.edited_ms, m.deleted, m.changed \
             FROM messages m JOIN users u ON u.id = m.author WHERE m.changed > $1 ORDER BY m.changed LIMIT $2",
        )
        .bind(changed)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(message).collect()
    }

    /// The rooms with messages that were written, edited or deleted after `changed`.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn rooms_changed_after(&self, changed: i64) -> Result<Vec<RoomId>, AppError> {
        let rows = sqlx::query("SELECT DISTINCT room FROM messages WHERE changed > $1")
            .bind(changed)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| RoomId::new(row.try_get(0)?)).collect()
    }

    /// The same in one room, for a reader who comes back: the last `limit` of them.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn changes_in_room(&self, room: &RoomId, changed: i64, limit: i64) -> Result<Vec<Message>, AppError> {
        let rows = sqlx::query(
            "SELECT m.id, m.room, m.author, u.name, m.body, m.edited_ms, m.deleted, m.changed \
             FROM messages m JOIN users u ON u.id = m.author WHERE m.changed > $1 AND m.room = $2 \
             ORDER BY m.changed DESC LIMIT $3",
        )
        .bind(changed)
        .bind(room.as_str())
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        rows.iter().rev().map(message).collect()
    }

    /// One message; `None` for an unknown one.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn message(&self, id: i64) -> Result<Option<Message>, AppError> {
        let row = sqlx::query(
            "SELECT m.id, m.room, m.author, u.name, m.body, m.edited_ms, m.deleted, m.changed \
             FROM messages m JOIN users u ON u.id = m.author WHERE m.id = $1",
        )
        .bind(id)
        .fetch_optional(self.pool())
        .await?;
        row.as_ref().map(message).transpose()
    }
}

fn message(row: &AnyRow) -> Result<Message, AppError> {
    Ok(Message {
        id: row.try_get(0)?,
        room: RoomId::new(row.try_get(1)?)?,
        author: row.try_get(2)?,
        name: row.try_get(3)?,
        body: row.try_get(4)?,
        edited_ms: row.try_get(5)?,
        deleted: row.try_get::<i64, _>(6)? != 0,
        changed: row.try_get(7)?,
        reactions: None,
    })
}
