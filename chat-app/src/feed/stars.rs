//! Stars: authors with so many followers that their posts are not pushed, but merged when somebody reads.
//!
//! Who is one changes while people read. A reader that remembered which of those it follows are stars would miss what an
//! author posts who has just become one. So nobody remembers it: all share the set `stars`, an author is put into it *before*
//! the first post that is not pushed, and a reader merges the lists of those it follows who are in it.
//!
//! The set and a star's posts (a sorted set by id) only grow while they live, whatever the order of what servers do to them;
//! the member 0 says that they are whole. Whoever finds one without it, evicted and begun anew by a post, asks the database.
//!
//! An author who has lost followers leaves the set, and with it the posts that were not pushed would vanish: the followers'
//! feeds are built anew.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use rustis::resp::{Command, Value, cmd};

use super::{END, Feeds, KEPT, Post, numbers, user_shard};
use crate::cache::ttl;
use crate::error::AppError;
use crate::keys::{Group, Kind};
use crate::store::Store;
use crate::store::mend::is_wrong_type;

/// The key of the set, which also decides on its shard.
const STARS: &str = "stars";
/// Finding all stars makes the database count; what is put into the set in the meantime keeps it right.
const STARS_LIFE_S: u64 = 3_600;

impl Feeds {
    /// Who the stars are; `None` when the database must be asked.
    pub(super) async fn stars(&self) -> Option<Arc<HashSet<i64>>> {
        if let Some(stars) = self.moments.stars.get(0) {
            return Some(stars);
        }
        if self.broken.lock().contains(&(STARS.into(), STARS.into())) {
            return None;
        }
        let (store, asked) = (self.shards.of_key(STARS), Instant::now());
        let answers = store.pipeline(vec![cmd("SMEMBERS").key(store.key(STARS)).into()]).await.ok()?;
        let mut stars: HashSet<i64> = numbers(answers.first()?)?.into_iter().collect();
        if !stars.remove(&END) {
            return None;
        }
        let stars = Arc::new(stars);
        self.moments.stars.put(0, asked, stars.clone());
        Some(stars)
    }

    /// Who the stars are, from the database if need be.
    async fn find_stars(&self) -> Result<Arc<HashSet<i64>>, AppError> {
        if let Some(stars) = self.stars().await {
            return Ok(stars);
        }
        let (db, limit, store) = (self.db.clone(), self.fanout_limit, self.shards.of_key(STARS).clone());
        let count = move || {
            async move {
                let stars = db.followees_above(limit).await?;
                let key = store.key(STARS);
                let mut add = cmd("SADD").key(&key).arg(END);
                for star in &stars {
                    add = add.arg(*star);
                }
                fill(&store, &key, vec![add.into(), cmd("EXPIRE").key(&key).arg(STARS_LIFE_S).into()]).await;
                Ok(Arc::new(stars.into_iter().collect()))
            }
            .boxed()
        };
        let counted = self.counting.join(&(), count).await.0;
        counted.unwrap_or_else(|| Err(AppError::Unavailable("counting followers failed".into())))
    }

    /// Puts a post where the followers of its author look for it; whether they find it there.
    pub(super) async fn publish_as_star(&self, post: &Post) -> bool {
        let mut all = true;
        let store = self.shards.of_key(STARS);
        let add = cmd("SADD").key(store.key(STARS)).arg(post.author);
        if store.call::<i64>(add).await.is_err() {
            all = false;
            self.broken.lock().insert((STARS.into(), STARS.into()));
        }
        let (shard, key) = (user_shard(post.author), format!("posts-of:{}", post.author));
        let store = self.shards.of_key(&shard);
        let answers = store.pipeline(add_posts(&store.key(&key), &[post.id])).await;
        if answers.is_err()
            || answers.is_ok_and(|answers| answers.iter().any(|answer| matches!(answer, Value::Error(_))))
        {
            all = false;
            self.broken.lock().insert((shard, key));
        }
        self.moments.stars.forget(0);
        self.moments.lists.forget(post.author);
        all
    }

    /// Has an author's posts pushed again once there are few enough followers.
    pub(super) async fn demote(&self, author: i64) -> Result<(), AppError> {
        // Without the set nobody is in it.
        if !self.stars().await.is_some_and(|stars| stars.contains(&author)) {
            return Ok(());
        }
        let mut readers = self.db.followers(author, self.fanout_limit + 1).await?;
        if i64::try_from(readers.len()).unwrap_or(i64::MAX) > self.fanout_limit {
            return Ok(());
        }
        let store = self.shards.of_key(STARS);
        if store.call::<i64>(cmd("SREM").key(store.key(STARS)).arg(author)).await.is_err() {
            self.broken.lock().insert((STARS.into(), STARS.into()));
        }
        self.moments.stars.forget(0);
        readers.push(author);
        // As in `follow`: who builds one of the feeds meanwhile sees that its version is gone.
        let remove = |store: &Store, reader: i64| -> Vec<Command> {
            let keys = [Group::User(reader).version_key(), format!("feed:{reader}")];
            keys.iter().map(|key| cmd("UNLINK").key(store.key(key)).into()).collect()
        };
        self.for_each(&readers, remove).await;
        Ok(())
    }

    /// The newest posts of a star; `None` when the database must be asked.
    pub(super) async fn posts_of(&self, author: i64) -> Option<Arc<Vec<i64>>> {
        if let Some(list) = self.moments.lists.get(author) {
            return Some(list);
        }
        let (shard, key) = (user_shard(author), format!("posts-of:{author}"));
        let (store, asked) = (self.shards.of_key(&shard), Instant::now());
        let range = cmd("ZREVRANGE").key(store.key(&key)).arg(0).arg(KEPT - 1);
        let ids = numbers(store.pipeline(vec![range.into()]).await.ok()?.first()?)?;
        let is_whole = ids.contains(&END) || ids.len() >= KEPT as usize;
        if !is_whole || self.broken.lock().contains(&(shard, key)) {
            return None;
        }
        let list: Arc<Vec<i64>> = Arc::new(ids.into_iter().filter(|id| *id != END).collect());
        self.moments.lists.put(author, asked, list.clone());
        Some(list)
    }

    /// Notes whom a user follows, and fills the lists of the stars among them that have none.
    pub(super) async fn fill_follows(&self, store: &Store, user: i64, followees: &[i64]) -> Result<(), AppError> {
        let life_s = ttl::of_kind(Kind::Feed).as_secs() * 4;
        let text = serde_json::to_string(followees).unwrap_or_default();
        // What cannot be stored is a miss later.
        let set = cmd("SET").key(store.key(&format!("follows:{user}"))).arg(text).arg("EX").arg(life_s);
        let _ = store.call::<Value>(set).await;
        let stars = self.find_stars().await?;
        for star in followees.iter().filter(|followee| stars.contains(followee)) {
            if self.posts_of(*star).await.is_some() {
                continue;
            }
            let mut ids = self.db.author_ids(*star, KEPT).await?;
            ids.push(END);
            let store = self.shards.of_key(&user_shard(*star));
            let key = store.key(&format!("posts-of:{star}"));
            let mut commands = add_posts(&key, &ids);
            commands.push(cmd("EXPIRE").key(&key).arg(life_s).into());
            fill(store, &key, commands).await;
        }
        Ok(())
    }
}

/// Adds posts to a star's and keeps the newest. (Scores are less exact than ids; equal ones go by the text of the id.)
fn add_posts(key: &str, ids: &[i64]) -> Vec<Command> {
    let mut commands: Vec<Command> = ids.iter().map(|id| cmd("ZADD").key(key).arg(*id).arg(*id).into()).collect();
    commands.push(cmd("ZREMRANGEBYRANK").key(key).arg(0).arg(-KEPT - 1).into());
    commands
}

/// Runs commands on a key; once more without what is of another type in its place.
async fn fill(store: &Store, key: &str, commands: Vec<Command>) {
    let answers = store.pipeline(commands.clone()).await;
    if answers.is_ok_and(|answers| answers.first().is_some_and(is_wrong_type)) {
        store.note_mended(key, "another type was there");
        let commands = std::iter::once(cmd("UNLINK").key(key).into()).chain(commands).collect();
        // What cannot be stored is a miss later.
        let _ = store.pipeline(commands).await;
    }
}
