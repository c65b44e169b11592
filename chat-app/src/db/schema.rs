//! The tables, and the steps that lead to them. A step that was published is never changed; a new one is added.

use sqlx::Row;

use super::Db;

/// One step per element.
const STEPS: &[&str] = &[
    "
    CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
    INSERT INTO counters (name, value) VALUES ('node', 0);

    CREATE TABLE users (id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_ms BIGINT NOT NULL);
    CREATE TABLE sessions (id TEXT PRIMARY KEY, member BIGINT NOT NULL, expires_ms BIGINT NOT NULL);
    CREATE INDEX sessions_by_member ON sessions (member);

    CREATE TABLE rooms (id TEXT PRIMARY KEY, title TEXT NOT NULL, created_ms BIGINT NOT NULL);
    CREATE TABLE messages (
        id BIGINT PRIMARY KEY,
        room TEXT NOT NULL,
        author BIGINT NOT NULL,
        body TEXT NOT NULL,
        edited_ms BIGINT NOT NULL DEFAULT 0,
        deleted BIGINT NOT NULL DEFAULT 0,
        changed BIGINT NOT NULL
    );
    -- A page reads one stretch of it; the members of a week are counted without touching the table.
    CREATE INDEX messages_by_room ON messages (room, id, author);
    -- For servers that look for what they missed.
    CREATE INDEX messages_by_change ON messages (changed);
    CREATE TABLE reactions (
        room TEXT NOT NULL,
        message BIGINT NOT NULL,
        emoji TEXT NOT NULL,
        member BIGINT NOT NULL,
        PRIMARY KEY (room, message, emoji, member)
    );

    CREATE TABLE follows (
        follower BIGINT NOT NULL,
        followee BIGINT NOT NULL,
        PRIMARY KEY (follower, followee)
    );
    CREATE INDEX follows_by_followee ON follows (followee, follower);
    CREATE TABLE posts (
        id BIGINT PRIMARY KEY,
        author BIGINT NOT NULL,
        body TEXT NOT NULL,
        promoted BIGINT NOT NULL DEFAULT 0
    );
    CREATE INDEX posts_by_author ON posts (author, id);
    CREATE TABLE likes (post BIGINT NOT NULL, member BIGINT NOT NULL, PRIMARY KEY (post, member));
",
    "
    -- For servers that look for what they missed: deletions of the last hours, by an id that tells their time.
    CREATE TABLE deleted_posts (id BIGINT PRIMARY KEY, post BIGINT NOT NULL);
",
];

/// Takes the steps that this database has not taken.
pub(super) async fn migrate(db: &Db) -> Result<(), sqlx::Error> {
    let mut transaction = db.begin_alone().await?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS schema_steps (step BIGINT PRIMARY KEY)")
        .execute(&mut *transaction)
        .await?;
    let taken: i64 = sqlx::query("SELECT COUNT(*) FROM schema_steps").fetch_one(&mut *transaction).await?.try_get(0)?;
    for (index, step) in STEPS.iter().enumerate().skip(usize::try_from(taken).unwrap_or(usize::MAX)) {
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
        let number = i64::try_from(index).unwrap_or(i64::MAX);
        sqlx::query("INSERT INTO schema_steps (step) VALUES ($1)").bind(number).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}
