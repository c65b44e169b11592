//! Posts, who follows whom, and likes.

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::{Db, places};
use crate::error::AppError;
use crate::feed::Post;

impl Db {
    /// Writes a post.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn insert_post(&self, id: i64, author: i64, body: &str) -> Result<(), AppError> {
        sqlx::query("INSERT INTO posts (id, author, body) VALUES ($1, $2, $3)")
            .bind(id)
            .bind(author)
            .bind(body)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Removes a post of this author; whether there was one. The deletion gets an id of its own, for servers that were
    /// not told; those before `forget` are forgotten.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn delete_post(&self, id: i64, author: i64, deletion: i64, forget: i64) -> Result<bool, AppError> {
        let mut transaction = self.pool().begin().await?;
        let done = sqlx::query("DELETE FROM posts WHERE id = $1 AND author = $2")
            .bind(id)
            .bind(author)
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("INSERT INTO deleted_posts (id, post) VALUES ($1, $2)")
            .bind(deletion)
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM deleted_posts WHERE id < $1").bind(forget).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The posts after an id, oldest first.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn posts_after(&self, after: i64, limit: i64) -> Result<Vec<Post>, AppError> {
        let rows = sqlx::query(
            "SELECT p.id, p.author, u.name, p.body FROM posts p JOIN users u ON u.id = p.author \
             WHERE p.id > $1 ORDER BY p.id LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(post).collect()
    }

    /// Deletions after an id: their ids and the posts that are gone.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn deletions_after(&self, after: i64) -> Result<Vec<(i64, i64)>, AppError> {
        let rows = sqlx::query("SELECT id, post FROM deleted_posts WHERE id > $1 ORDER BY id")
            .bind(after)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// Begins or ends following; whether that changed anything.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn follow(&self, follower: i64, followee: i64, begins: bool) -> Result<bool, AppError> {
        let statement = if begins {
            "INSERT INTO follows (follower, followee) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        } else {
            "DELETE FROM follows WHERE follower = $1 AND followee = $2"
        };
        let done = sqlx::query(statement).bind(follower).bind(followee).execute(self.pool()).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Whether one user follows another.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn is_following(&self, follower: i64, followee: i64) -> Result<bool, AppError> {
        let row = sqlx::query("SELECT 1 FROM follows WHERE follower = $1 AND followee = $2")
            .bind(follower)
            .bind(followee)
            .fetch_optional(self.pool())
            .await?;
        Ok(row.is_some())
    }

    /// At most `limit` of those who follow a user.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn followers(&self, user: i64, limit: i64) -> Result<Vec<i64>, AppError> {
        let rows = sqlx::query("SELECT follower FROM follows WHERE followee = $1 LIMIT $2")
            .bind(user)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Those whom a user follows.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn followees(&self, user: i64) -> Result<Vec<i64>, AppError> {
        let rows =
            sqlx::query("SELECT followee FROM follows WHERE follower = $1").bind(user).fetch_all(self.pool()).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Those who are followed by more than `limit` users. It counts all followers of all users.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn followees_above(&self, limit: i64) -> Result<Vec<i64>, AppError> {
        let rows = sqlx::query("SELECT followee FROM follows GROUP BY followee HAVING COUNT(*) > $1")
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// The newest posts, before an id, of those whom a user follows and of the user; newest first.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn feed_ids(&self, user: i64, before: i64, limit: i64) -> Result<Vec<i64>, AppError> {
        let rows = sqlx::query(
            "SELECT id FROM posts WHERE id < $1 AND author IN \
             (SELECT followee FROM follows WHERE follower = $2 UNION SELECT CAST($3 AS BIGINT)) \
             ORDER BY id DESC LIMIT $4",
        )
        .bind(before)
        .bind(user)
        .bind(user)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// The newest posts of one author, newest first.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn author_ids(&self, author: i64, limit: i64) -> Result<Vec<i64>, AppError> {
        let rows = sqlx::query("SELECT id FROM posts WHERE author = $1 ORDER BY id DESC LIMIT $2")
            .bind(author)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// The posts of these ids that exist.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn posts(&self, ids: &[i64]) -> Result<Vec<Post>, AppError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let statement = format!(
            "SELECT p.id, p.author, u.name, p.body FROM posts p JOIN users u ON u.id = p.author WHERE p.id IN {}",
            places(1, ids.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for id in ids {
            query = query.bind(*id);
        }
        let rows = query.fetch_all(self.pool()).await?;
        rows.iter().map(post).collect()
    }

    /// Likes a post.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn like(&self, post: i64, user: i64) -> Result<(), AppError> {
        sqlx::query("INSERT INTO likes (post, member) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(post)
            .bind(user)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// The posts since `from` with most likes.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn trending_ids(&self, from: i64, limit: i64) -> Result<Vec<i64>, AppError> {
        let rows = sqlx::query(
            "SELECT l.post FROM likes l JOIN posts p ON p.id = l.post WHERE l.post >= $1 \
             GROUP BY l.post ORDER BY COUNT(*) DESC, l.post DESC LIMIT $2",
        )
        .bind(from)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Promotes a post, or no longer; whether there is such a post.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn promote(&self, post: i64, begins: bool) -> Result<bool, AppError> {
        let done = sqlx::query("UPDATE posts SET promoted = $1 WHERE id = $2")
            .bind(i64::from(begins))
            .bind(post)
            .execute(self.pool())
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The newest promoted posts.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn promoted_ids(&self, limit: i64) -> Result<Vec<i64>, AppError> {
        let rows = sqlx::query("SELECT id FROM posts WHERE promoted = 1 ORDER BY id DESC LIMIT $1")
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }
}

fn post(row: &AnyRow) -> Result<Post, AppError> {
    Ok(Post { id: row.try_get(0)?, author: row.try_get(1)?, name: row.try_get(2)?, body: row.try_get(3)? })
}
