//! Users and their sessions.

use sqlx::Row;

use super::Db;
use crate::error::AppError;

impl Db {
    /// The user of this name, made with `id` if there is none.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn user_named(&self, name: &str, id: i64, now_ms: i64) -> Result<i64, AppError> {
        sqlx::query("INSERT INTO users (id, name, created_ms) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING")
            .bind(id)
            .bind(name)
            .bind(now_ms)
            .execute(self.pool())
            .await?;
        let row = sqlx::query("SELECT id FROM users WHERE name = $1").bind(name).fetch_one(self.pool()).await?;
        Ok(row.try_get(0)?)
    }

    /// Begins a session, and forgets those that have ended.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn begin_session(&self, id: &str, user: i64, expires_ms: i64, now_ms: i64) -> Result<(), AppError> {
        sqlx::query("INSERT INTO sessions (id, member, expires_ms) VALUES ($1, $2, $3)")
            .bind(id)
            .bind(user)
            .bind(expires_ms)
            .execute(self.pool())
            .await?;
        sqlx::query("DELETE FROM sessions WHERE member = $1 AND expires_ms < $2")
            .bind(user)
            .bind(now_ms)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Whether a session of this user has begun and not been revoked.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn has_session(&self, id: &str, user: i64, now_ms: i64) -> Result<bool, AppError> {
        let row = sqlx::query("SELECT 1 FROM sessions WHERE id = $1 AND member = $2 AND expires_ms > $3")
            .bind(id)
            .bind(user)
            .bind(now_ms)
            .fetch_optional(self.pool())
            .await?;
        Ok(row.is_some())
    }

    /// Revokes all sessions of a user and gives their ids.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn end_sessions(&self, user: i64) -> Result<Vec<String>, AppError> {
        let rows = sqlx::query("DELETE FROM sessions WHERE member = $1 RETURNING id")
            .bind(user)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Revokes one session.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn end_session(&self, id: &str) -> Result<(), AppError> {
        sqlx::query("DELETE FROM sessions WHERE id = $1").bind(id).execute(self.pool()).await?;
        Ok(())
    }
}
