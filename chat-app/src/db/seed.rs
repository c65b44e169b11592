//! Rooms, users, messages and posts to look at, the same ones for the same number.
//!
//! Rooms are as popular as in life: by Zipf's law the tenth has a tenth of the first one's messages. Times lie in the past
//! four weeks, so that every room has members who were active this week.

use std::io::{IsTerminal, Write};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::{Db, places};
use crate::bench::followees;
use crate::error::AppError;
use crate::ids;
use crate::model::EMOJIS;
use crate::random::{Random, Zipf};

/// Rooms that there are.
pub const ROOMS: usize = 300;
/// Users who write in them.
pub const USERS: usize = 500;
const NAMED_ROOMS: &[(&str, &str)] = &[
    ("general", "Everything and nothing"),
    ("tech", "Machines and what runs on them"),
    ("random", "What fits nowhere else"),
    ("caching", "There are only two hard things"),
    ("music", "What are you listening to?"),
    ("food", "Recipes and restaurants"),
    ("books", "Read anything good lately?"),
    ("games", "Boards, cards and screens"),
];
const NAMES: &[&str] = &[
    "Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gia", "Hugo", "Ines", "Jan", "Kim", "Lea", "Max", "Nora", "Otto",
    "Pia",
];
const WORDS: &str = "the a we you they is was are cache page room server key value time hit miss read write fast slow \
    hot cold old new first last when where why because so then but and or not never always maybe today tomorrow query \
    index table shard lock queue message reader writer user answer question good better bad worse think know see find \
    look works broke fixed tried measured deployed again still already soon later coffee lunch weekend thanks";
const POSTS: usize = 1_000;
/// Messages per statement.
const BATCH: usize = 500;
const SPAN_MS: i64 = 28 * 24 * 3_600 * 1_000;

/// The name of the room with this number.
pub fn room_name(number: usize) -> String {
    NAMED_ROOMS.get(number).map_or_else(|| format!("room-{number:03}"), |(name, _)| (*name).to_owned())
}

impl Db {
    /// Brings a database up to `messages` messages; one that has as many stays as it is. Servers that start at once take
    /// turns, batch by batch.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn seed(&self, messages: usize, now_ms: i64) -> Result<(), AppError> {
        let row = sqlx::query(SEEDED).fetch_optional(self.pool()).await?;
        let mut have = seeded(row.as_ref())?;
        if have >= messages {
            return Ok(());
        }
        let mut progress = Progress::new("seeding messages", messages - have);
        let (zipf, first) = (Zipf::new(ROOMS, 1.0), have);
        while have < messages {
            have = self.seed_batch(&zipf, messages, now_ms).await?;
            progress.set(have.min(messages) - first);
        }
        Ok(())
    }

    /// Adds a batch to what there is by now; how many there are then.
    async fn seed_batch(&self, zipf: &Zipf, messages: usize, now_ms: i64) -> Result<usize, AppError> {
        let mut transaction = self.begin_alone().await?;
        let row = sqlx::query(SEEDED).fetch_optional(&mut *transaction).await?;
        let have = seeded(row.as_ref())?;
        if have >= messages {
            return Ok(have);
        }
        // Whoever adds a batch, it is the same one.
        let mut random = Random::new(have as u64 + 1);
        if have == 0 {
            seed_rooms_and_users(&mut transaction, now_ms).await?;
            seed_posts(&mut transaction, &mut random, now_ms).await?;
        }
        let count = BATCH.min(messages - have);
        seed_messages(&mut transaction, &mut random, zipf, have..have + count, messages, now_ms).await?;
        sqlx::query("DELETE FROM counters WHERE name = 'seeded'").execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO counters (name, value) VALUES ('seeded', $1)")
            .bind((have + count) as i64)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(have + count)
    }

    /// Adds users from an id on who follow each other by Zipf's law, each with a post; once.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn seed_followers(&self, first: i64, users: usize, follows: usize) -> Result<(), AppError> {
        let last = first + users as i64 - 1;
        let row = sqlx::query("SELECT COUNT(*) FROM users WHERE id = $1").bind(last).fetch_one(self.pool()).await?;
        if row.try_get::<i64, _>(0)? > 0 {
            return Ok(());
        }
        let (zipf, mut random) = (Zipf::new(users, 1.0), Random::new(7));
        let mut progress = Progress::new("seeding followers", users);
        let all: Vec<usize> = (0..users).collect();
        for chunk in all.chunks(100) {
            let followees: Vec<(i64, i64)> = chunk
                .iter()
                .flat_map(|user| followees(&mut random, &zipf, follows).into_iter().map(move |other| (*user, other)))
                .filter(|(user, other)| user != other)
                .map(|(user, other)| (first + user as i64, first + other as i64))
                .collect();
            let mut transaction = self.pool().begin().await?;
            let statement = format!("INSERT INTO follows (follower, followee) VALUES {}", places(followees.len(), 2));
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for (follower, followee) in followees {
                query = query.bind(follower).bind(followee);
            }
            query.execute(&mut *transaction).await?;
            let statement = format!("INSERT INTO posts (id, author, body) VALUES {}", places(chunk.len(), 3));
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for user in chunk {
                query = query.bind(first + *user as i64).bind(first + *user as i64).bind(sentence(&mut random));
            }
            query.execute(&mut *transaction).await?;
            let statement = format!("INSERT INTO users (id, name, created_ms) VALUES {}", places(chunk.len(), 3));
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for user in chunk {
                query = query.bind(first + *user as i64).bind(format!("Bench {first} {user}")).bind(0_i64);
            }
            query.execute(&mut *transaction).await?;
            transaction.commit().await?;
            progress.set(chunk.last().map_or(users, |last| last + 1));
        }
        Ok(())
    }
}

/// How many messages were seeded.
const SEEDED: &str = "SELECT value FROM counters WHERE name = 'seeded'";

fn seeded(row: Option<&AnyRow>) -> Result<usize, AppError> {
    let have: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
    Ok(usize::try_from(have).unwrap_or(0))
}

async fn seed_rooms_and_users(database: &mut AnyConnection, now_ms: i64) -> Result<(), AppError> {
    let start_ms = now_ms - SPAN_MS;
    let statement =
        format!("INSERT INTO rooms (id, title, created_ms) VALUES {} ON CONFLICT DO NOTHING", places(ROOMS, 3));
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for number in 0..ROOMS {
        let title = NAMED_ROOMS.get(number).map_or_else(|| format!("Room {number}"), |(_, title)| (*title).to_owned());
        query = query.bind(room_name(number)).bind(title).bind(start_ms + number as i64);
    }
    query.execute(&mut *database).await?;
    let statement =
        format!("INSERT INTO users (id, name, created_ms) VALUES {} ON CONFLICT DO NOTHING", places(USERS, 3));
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for number in 0..USERS {
        query = query.bind(number as i64 + 1).bind(user_name(number)).bind(start_ms);
    }
    query.execute(&mut *database).await?;
    Ok(())
}

async fn seed_messages(
    database: &mut AnyConnection,
    random: &mut Random,
    zipf: &Zipf,
    numbers: std::ops::Range<usize>,
    total: usize,
    now_ms: i64,
) -> Result<(), AppError> {
    let (done, count) = (numbers.start, numbers.len());
    let rooms: Vec<usize> = (0..count).map(|_| zipf.pick(random)).collect();
    let id = |index: usize| {
        let age_ms = SPAN_MS as f64 * (1.0 - (done + index) as f64 / total as f64);
        // The count within the millisecond makes ids of a large seed differ.
        ids::first_id_at(now_ms - 60_000 - age_ms as i64) + ((done + index) % (1 << 20)) as i64
    };
    let statement = format!(
        "INSERT INTO messages (id, room, author, body, changed) VALUES {} ON CONFLICT DO NOTHING",
        places(count, 5)
    );
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for (index, room) in rooms.iter().enumerate() {
        // Each room has its regulars.
        let author = (room * 7 + random.below(40) * random.below(3)) % USERS;
        query =
            query.bind(id(index)).bind(room_name(*room)).bind(author as i64 + 1).bind(sentence(random)).bind(id(index));
    }
    query.execute(&mut *database).await?;
    let reacted: Vec<usize> = (0..count).filter(|_| random.below(4) == 0).collect();
    let statement = format!(
        "INSERT INTO reactions (room, message, emoji, member) VALUES {} ON CONFLICT DO NOTHING",
        places(reacted.len() * 3, 4)
    );
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for index in &reacted {
        for _ in 0..3 {
            let (emoji, member) = (EMOJIS[random.below(EMOJIS.len())], random.below(USERS) as i64 + 1);
            query = query.bind(room_name(rooms[*index])).bind(id(*index)).bind(emoji).bind(member);
        }
    }
    if !reacted.is_empty() {
        query.execute(&mut *database).await?;
    }
    Ok(())
}

async fn seed_posts(database: &mut AnyConnection, random: &mut Random, now_ms: i64) -> Result<(), AppError> {
    let follows: Vec<(i64, i64)> = (0..USERS)
        .flat_map(|user| (0..8).map(move |_| user))
        .map(|user| (user as i64 + 1, (random.below(USERS) * random.below(USERS) / USERS) as i64 + 1))
        .filter(|(follower, followee)| follower != followee)
        .collect();
    for chunk in follows.chunks(BATCH) {
        let statement = format!(
            "INSERT INTO follows (follower, followee) VALUES {} ON CONFLICT DO NOTHING",
            places(chunk.len(), 2)
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for (follower, followee) in chunk {
            query = query.bind(*follower).bind(*followee);
        }
        query.execute(&mut *database).await?;
    }
    seed_likes(database, now_ms).await?;
    let statement = format!("INSERT INTO posts (id, author, body) VALUES {} ON CONFLICT DO NOTHING", places(POSTS, 3));
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for number in 0..POSTS {
        query = query.bind(post_id(number, now_ms)).bind(random.below(USERS) as i64 + 1).bind(sentence(random));
    }
    query.execute(&mut *database).await?;
    Ok(())
}

/// Of the newest posts some have one or two likes: enough to be trending, and few enough that three people change it.
async fn seed_likes(database: &mut AnyConnection, now_ms: i64) -> Result<(), AppError> {
    let mut random = Random::new(11);
    let mut liked = Vec::new();
    for number in POSTS - 100..POSTS {
        for _ in 0..random.below(3) {
            liked.push((post_id(number, now_ms), random.below(USERS)));
        }
    }
    let statement =
        format!("INSERT INTO likes (post, member) VALUES {} ON CONFLICT DO NOTHING", places(liked.len(), 2));
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for (post, member) in liked {
        query = query.bind(post).bind(member as i64 + 1);
    }
    query.execute(&mut *database).await?;
    Ok(())
}

/// The id of the post with this number: one every ten minutes.
fn post_id(number: usize, now_ms: i64) -> i64 {
    ids::first_id_at(now_ms - (POSTS - number) as i64 * 600_000) + number as i64
}

fn user_name(number: usize) -> String {
    let name = NAMES[number % NAMES.len()];
    if number < NAMES.len() { name.to_owned() } else { format!("{name} {}", number / NAMES.len() + 1) }
}

fn sentence(random: &mut Random) -> String {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let count = 4 + random.below(14);
    let mut text: Vec<&str> = (0..count).map(|_| words[random.below(words.len())]).collect();
    text.dedup();
    text.join(" ")
}

/// A line that tells how far something has come: redrawn on a terminal, said now and then elsewhere.
pub struct Progress {
    label: &'static str,
    total: usize,
    shown: usize,
}

impl Progress {
    /// Nothing of `total` is done.
    pub fn new(label: &'static str, total: usize) -> Self {
        Self { label, total: total.max(1), shown: 0 }
    }

    /// So much is done.
    pub fn set(&mut self, done: usize) {
        let is_terminal = std::io::stderr().is_terminal();
        let percent = done * 100 / self.total;
        let step = if is_terminal { 1 } else { 25 };
        if percent / step == self.shown / step && done < self.total {
            return;
        }
        self.shown = percent;
        let mut out = std::io::stderr().lock();
        // A bar that cannot be drawn is no reason to stop.
        let _ = if is_terminal {
            let bar: String = (0..40).map(|at| if at * 100 < percent * 40 { '█' } else { '░' }).collect();
            let end = if done >= self.total { "\n" } else { "" };
            write!(out, "\r{} {bar} {percent:3} %{end}", self.label)
        } else {
            writeln!(out, "{}: {percent} %", self.label)
        };
        let _ = out.flush();
    }
}
