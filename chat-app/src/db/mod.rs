//! The database: the truth, of which everything in a cache is a copy.
//!
//! One schema and one set of statements for SQLite and PostgreSQL, through sqlx's `Any` with plain types: numbers are
//! `BIGINT`, times milliseconds since 1970, booleans 0 and 1.

pub mod feed;
pub mod people;
pub mod read;
pub mod schema;
pub mod seed;
pub mod source;
pub mod write;

use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, Row};

use crate::error::AppError;
use crate::options::without_password;

/// A database; cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: AnyPool,
    dialect: Dialect,
}

/// Where the two databases differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// One file.
    Sqlite,
    /// A server.
    Postgres,
}

impl Db {
    /// Connects, makes the file of a SQLite database that does not exist, and brings the schema up to date.
    ///
    /// # Errors
    /// A URL that is none, or a database that does not answer.
    pub async fn open(url: &str, connections: u32) -> Result<Self, String> {
        sqlx::any::install_default_drivers();
        let dialect = if url.starts_with("sqlite:") { Dialect::Sqlite } else { Dialect::Postgres };
        let url = match dialect {
            Dialect::Sqlite => prepare_file(url)?,
            Dialect::Postgres => url.to_owned(),
        };
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(5))
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if dialect == Dialect::Sqlite {
                        // The write-ahead log lets readers go on while one writes, in other processes, too.
                        let pragmas = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; \
                                       PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536; \
                                       PRAGMA mmap_size = 1073741824;";
                        sqlx::raw_sql(pragmas).execute(connection).await?;
                    }
                    Ok(())
                })
            })
            .connect(&url)
            .await
            .map_err(|error| format!("{}: {error}", without_password(&url)))?;
        let db = Self { pool, dialect };
        schema::migrate(&db).await.map_err(|error| format!("migrating {}: {error}", without_password(&url)))?;
        Ok(db)
    }

    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The connections.
    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// A transaction that no other server is in: one of those that start at once goes first, the others wait here.
    pub(crate) async fn begin_alone(&self) -> Result<sqlx::Transaction<'static, sqlx::Any>, sqlx::Error> {
        match self.dialect {
            Dialect::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await,
            Dialect::Postgres => {
                let mut transaction = self.pool.begin().await?;
                sqlx::raw_sql("SELECT pg_advisory_xact_lock(7262736)").execute(&mut *transaction).await?;
                Ok(transaction)
            }
        }
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        let query = sqlx::query("SELECT 1").fetch_one(&self.pool);
        match tokio::time::timeout(Duration::from_secs(2), query).await {
            Ok(row) => row.map(drop),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// A number that no other start of a server gets: the middle bits of the ids that it gives.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn next_node(&self) -> Result<i64, AppError> {
        let row = sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'node' RETURNING value")
            .fetch_one(&self.pool)
            .await?;
        Ok(row.try_get(0)?)
    }
}

/// Adds what makes SQLite create the file, and creates its directory.
fn prepare_file(url: &str) -> Result<String, String> {
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let path = path.split('?').next().unwrap_or(path);
    if let Some(directory) = std::path::Path::new(path).parent() {
        std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    Ok(if url.contains('?') { url.to_owned() } else { format!("{url}?mode=rwc") })
}

/// `($1, $2), ($3, $4)` and so on: the places of several rows.
pub(crate) fn places(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let places: Vec<String> = (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
        format!("({})", places.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}
