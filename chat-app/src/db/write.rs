//! Changes of rooms and messages. Inserting a message is idempotent, since a queue may deliver it twice.

use sqlx::AssertSqlSafe;

use super::{Db, places};
use crate::error::AppError;
use crate::model::{Message, RoomId};

impl Db {
    /// Writes messages that may have been written before; those are left as they are.
    ///
    /// # Errors
    /// A database that does not answer; none of them is written then.
    pub async fn insert_messages(&self, messages: &[Message]) -> Result<(), AppError> {
        if messages.is_empty() {
            return Ok(());
        }
        let statement = format!(
            "INSERT INTO messages (id, room, author, body, changed) VALUES {} ON CONFLICT (id) DO NOTHING",
            places(messages.len(), 5)
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for message in messages {
            query = query
                .bind(message.id)
                .bind(message.room.as_str())
                .bind(message.author)
                .bind(message.body.as_str())
                .bind(message.changed);
        }
        query.execute(self.pool()).await?;
        Ok(())
    }

    /// Replaces the text of a message that its author has not deleted; whether there was one.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn edit_message(
        &self,
        id: i64,
        author: i64,
        body: &str,
        now_ms: i64,
        changed: i64,
    ) -> Result<bool, AppError> {
        let done = sqlx::query(
            "UPDATE messages SET body = $1, edited_ms = $2, changed = $3 WHERE id = $4 AND author = $5 AND deleted = 0",
        )
        .bind(body)
        .bind(now_ms)
        .bind(changed)
        .bind(id)
        .bind(author)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes back a message of this author; whether there was one. A mark stays, so that others notice.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn delete_message(&self, id: i64, author: i64, changed: i64) -> Result<bool, AppError> {
        let done = sqlx::query(
            "UPDATE messages SET body = '', deleted = 1, changed = $1 WHERE id = $2 AND author = $3 AND deleted = 0",
        )
        .bind(changed)
        .bind(id)
        .bind(author)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Adds a user's reaction to a message, or takes it back. That counts as a change of the message, so that others notice.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn react(&self, message: &Message, emoji: &str, user: i64, adds: bool) -> Result<(), AppError> {
        let statement = if adds {
            "INSERT INTO reactions (room, message, emoji, member) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
        } else {
            "DELETE FROM reactions WHERE room = $1 AND message = $2 AND emoji = $3 AND member = $4"
        };
        let mut transaction = self.pool().begin().await?;
        sqlx::query(statement)
            .bind(message.room.as_str())
            .bind(message.id)
            .bind(emoji)
            .bind(user)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("UPDATE messages SET changed = $1 WHERE id = $2 AND changed < $3")
            .bind(message.changed)
            .bind(message.id)
            .bind(message.changed)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Makes a room; whether there was none.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn create_room(&self, room: &RoomId, title: &str, now_ms: i64) -> Result<bool, AppError> {
        let done = sqlx::query("INSERT INTO rooms (id, title, created_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(room.as_str())
            .bind(title)
            .bind(now_ms)
            .execute(self.pool())
            .await?;
        Ok(done.rows_affected() == 1)
    }
}
