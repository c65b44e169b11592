//! Feeds: the newest posts of those whom one follows, with what is trending and what is promoted mixed in.
//!
//! **Fan-out on write.** A post is put at the head of each follower's list (`LPUSH feed:<user>`, `LTRIM` to a hundred), so a
//! reader finds the feed ready. That is many small writes, in one go. An author with more than `--fanout-limit` followers
//! would need too many: such a star's posts stand in a list of their own (`posts-of:<author>`) and are merged when somebody
//! reads, **fan-out on read**; see [`stars`].
//!
//! **Top-up.** A list that is shorter than a page (new, evicted, expired) is filled from the database with posts that are
//! *older* than its last one, at its *tail*; pushing them at the head, as one often sees it, would put old posts before
//! new ones. The element 0 says that there are no older ones, so that short feeds are hits, too. Nothing is removed after the
//! database was read: a post that was pushed meanwhile must stay.
//!
//! Lists hold ids only. Posts are values of their own (`post:<id>`), so one that is deleted vanishes from every feed: its
//! value is replaced by a mark, and since values are stored with NX, a reader that was held up cannot bring it back.
//!
//! What all readers share is kept in the process for moments ([`Recent`]): who the stars are and their lists for a
//! quarter of a second, posts for one. That is what others' posts and deletions may be late by, and it spares the cache
//! most of what a reader would ask it.
//!
//! A feed lives for 45 s after it was read last, and every three minutes at the latest it is compared with the database.
//! Pushes that did not reach the cache leave gaps, so those feeds are removed as soon as the cache can be reached again; and
//! since whoever pushed may be the only one who cannot reach it, or may be gone by then, all servers look after it: see
//! [`watch`].

pub mod author;
pub mod stars;
pub mod watch;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use parking_lot::Mutex;
use rustis::resp::{Command, Value, cmd};
use serde::{Deserialize, Serialize};

use crate::cache::flight::Flights;
use crate::cache::layers::{Layer, Layers};
use crate::cache::{lock, ttl};
use crate::clock::Clock;
use crate::db::Db;
use crate::error::AppError;
use crate::ids;
use crate::keys::{Group, Kind};
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::mend::is_wrong_type;
use crate::store::shards::Shards;

/// Posts on a page.
pub const PAGE: usize = 50;
/// Posts that a list keeps.
const KEPT: i64 = 100;
/// Says that there are no older posts.
const END: i64 = 0;
/// Stands in the place of a post that was deleted.
const DELETED: &str = "deleted";
const POST_LIFE_S: u64 = 3_600;
/// After so many posts of a feed comes one that is mixed in.
const MIX_EVERY: usize = 10;
/// Posts that are trending, and that are promoted.
const MIXED: i64 = 10;
/// The key of what is mixed in, which also decides on its shard.
const TRENDING: &str = "trending:posts";
const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// A post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// Its id.
    #[serde(with = "ids::text")]
    pub id: i64,
    /// Who wrote it.
    #[serde(with = "ids::text")]
    pub author: i64,
    /// The author's name.
    pub name: String,
    /// What it says.
    pub body: String,
}

/// A post in a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The post.
    #[serde(flatten)]
    pub post: Post,
    /// Why it is there: `followed`, `trending` or `promoted`.
    pub why: String,
}

/// What is mixed into all feeds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix {
    trending: Vec<i64>,
    promoted: Vec<i64>,
}

/// Values that are kept in this process for a moment.
pub struct Recent<V: Clone> {
    cache: quick_cache::sync::Cache<i64, (Instant, V)>,
    life: Duration,
}

impl<V: Clone> Recent<V> {
    /// At most so many values, each for `life`.
    pub fn new(values: usize, life: Duration) -> Self {
        Self { cache: quick_cache::sync::Cache::new(values), life }
    }

    fn get(&self, id: i64) -> Option<V> {
        self.cache.get(&id).filter(|(since, _)| since.elapsed() < self.life).map(|(_, value)| value)
    }

    /// Keeps a value from the time when it was asked for.
    fn put(&self, id: i64, asked: Instant, value: V) {
        self.cache.insert(id, (asked, value));
    }

    fn forget(&self, id: i64) {
        self.cache.remove(&id);
    }
}

/// What is kept for moments: the stars, their lists, posts, and what is mixed in.
pub struct Moments {
    stars: Recent<Arc<HashSet<i64>>>,
    lists: Recent<Arc<Vec<i64>>>,
    posts: Recent<Arc<Post>>,
    mix: Recent<Mix>,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            stars: Recent::new(1, Duration::from_millis(250)),
            lists: Recent::new(10_000, Duration::from_millis(250)),
            posts: Recent::new(20_000, Duration::from_secs(1)),
            mix: Recent::new(1, Duration::from_secs(1)),
        }
    }
}

/// The feeds of all users.
pub struct Feeds {
    /// The truth.
    pub db: Db,
    /// Where lists and posts are.
    pub shards: Shards,
    /// Whose versions tell that somebody follows others now.
    pub layers: Arc<Layers>,
    /// Where one server is elected.
    pub state: Store,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The most followers that a post is pushed to.
    pub fanout_limit: i64,
    /// Feeds that are being built.
    pub building: Flights<i64, Result<Vec<i64>, AppError>>,
    /// The search for stars.
    pub counting: Flights<(), Result<Arc<HashSet<i64>>, AppError>>,
    /// What all readers share.
    pub moments: Moments,
    /// Posts that reached the feeds, and deletions that reached the cache, as far as this server knows.
    pub settled: Mutex<BTreeSet<i64>>,
    /// Keys to be removed once the cache can be reached: shard and key.
    pub broken: Mutex<HashSet<(String, String)>>,
    /// What this server computed last to be mixed in, and when.
    pub computed: Mutex<Option<(Instant, Mix)>>,
}

impl Feeds {
    /// A user's feed and where it came from.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn read(self: &Arc<Self>, user: i64) -> Result<(Vec<Item>, Layer), AppError> {
        let start = Instant::now();
        let mut asks_database = false;
        let found = self.cached_ids(user).await;
        let (ids, mix) = match found {
            Some(found) => found,
            None => {
                asks_database = true;
                let feeds = self.clone();
                let build = move || async move { feeds.build(user).await }.boxed();
                let built = self.building.join(&user, build).await.0;
                let ids = built.unwrap_or_else(|| Err(AppError::Unavailable("building the feed failed".into())))?;
                (ids, self.mix().await.unwrap_or_default())
            }
        };
        let mixed: Vec<i64> = mix.trending.iter().chain(&mix.promoted).copied().collect();
        let wanted: BTreeSet<i64> = ids.iter().take(PAGE + 10).chain(&mixed).copied().collect();
        let (posts, complete) = self.posts(&wanted.into_iter().collect::<Vec<_>>()).await?;
        asks_database |= !complete;
        let items = mix_in(&ids, &mix, &posts);
        let layer = if asks_database { Layer::Database } else { Layer::L2 };
        match layer {
            Layer::Database => {
                self.metrics.misses.add(1);
                self.metrics.database_time.record(start.elapsed());
            }
            _ => {
                self.metrics.l2_hits.add(1);
                self.metrics.l2_time.record(start.elapsed());
            }
        }
        Ok((items, layer))
    }

    /// Writes a post and puts it into the feeds of those who follow.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn publish(&self, post: &Post) -> Result<(), AppError> {
        self.db.insert_post(post.id, post.author, &post.body).await?;
        self.metrics.database_writes.add(1);
        self.store_posts(std::slice::from_ref(post)).await;
        // What this server cannot push it removes later by itself.
        self.settled.lock().insert(post.id);
        if self.fan_out(post, false).await? {
            self.announce(post.id).await;
        }
        Ok(())
    }

    /// Puts a post where readers look for it, where it may be already if that is done `again`; whether all of them find it.
    async fn fan_out(&self, post: &Post, again: bool) -> Result<bool, AppError> {
        let mut followers = self.db.followers(post.author, self.fanout_limit + 1).await?;
        let mut all = true;
        if i64::try_from(followers.len()).unwrap_or(i64::MAX) > self.fanout_limit {
            all = self.publish_as_star(post).await;
            followers.clear();
        }
        followers.push(post.author);
        Ok(self.push(&followers, post.id, again).await && all)
    }

    /// Takes back one's own post; `deletion` is the id of doing so.
    ///
    /// # Errors
    /// A post that does not exist or is somebody else's, a database that does not answer.
    pub async fn delete(&self, id: i64, author: i64, deletion: i64) -> Result<(), AppError> {
        let forget = ids::first_id_at(self.clock.now_ms() - DAY_MS);
        if !self.db.delete_post(id, author, deletion, forget).await? {
            return Err(AppError::NotFound("there is no such post of yours".into()));
        }
        self.metrics.database_writes.add(1);
        self.settled.lock().insert(deletion);
        self.mark_deleted(id).await;
        Ok(())
    }

    /// Puts the mark of a deleted post in its place.
    async fn mark_deleted(&self, id: i64) {
        self.moments.posts.forget(id);
        let (shard, key) = (post_shard(id), format!("post:{id}"));
        let store = self.shards.of_key(&shard);
        let set = cmd("SET").key(store.key(&key)).arg(DELETED).arg("EX").arg(POST_LIFE_S);
        if store.call::<Value>(set).await.is_err() {
            self.broken.lock().insert((shard, key));
        }
    }

    /// Begins or ends following.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn follow(&self, follower: i64, followee: i64, begins: bool) -> Result<(), AppError> {
        self.db.follow(follower, followee, begins).await?;
        self.metrics.database_writes.add(1);
        // First the versions, then the list: whoever builds one meanwhile sees that its version is gone.
        self.layers.invalidate(&Group::User(follower), None).await;
        self.layers.invalidate(&Group::User(followee), None).await;
        self.forget(follower).await;
        if !begins {
            self.demote(followee).await?;
        }
        Ok(())
    }

    /// Likes a post; it counts when the trending ones are computed next.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn like(&self, post: i64, user: i64) -> Result<(), AppError> {
        if self.db.posts(&[post]).await?.is_empty() {
            return Err(AppError::NotFound("there is no such post".into()));
        }
        self.db.like(post, user).await
    }

    /// Pushes an id to the head of these users' feeds; whether all were reached. A feed that begins with it is there for
    /// the builder who read the database a moment too early (so LPUSHX would not do), and lives no longer than others: most
    /// of those who follow do not look.
    async fn push(&self, users: &[i64], id: i64, again: bool) -> bool {
        let push = |store: &Store, user: i64| -> Vec<Command> {
            let feed = store.key(&format!("feed:{user}"));
            let remove = again.then(|| cmd("LREM").key(&feed).arg(1).arg(id).into());
            let push = [
                cmd("LPUSH").key(&feed).arg(id).into(),
                cmd("LTRIM").key(&feed).arg(0).arg(KEPT - 1).into(),
                cmd("EXPIRE").key(&feed).arg(ttl::of_kind(Kind::Feed).as_secs()).arg("NX").into(),
            ];
            remove.into_iter().chain(push).collect()
        };
        self.for_each(users, push).await
    }

    /// Runs commands for each of these users, all in one go; feeds that were not reached are removed later. Whether all
    /// were.
    async fn for_each(&self, users: &[i64], commands: impl Fn(&Store, i64) -> Vec<Command>) -> bool {
        let mut all = true;
        let mut by_store: HashMap<&str, (&Store, Vec<i64>)> = HashMap::new();
        for user in users {
            let store = self.shards.of_key(&user_shard(*user));
            by_store.entry(store.url()).or_insert_with(|| (store, Vec::new())).1.push(*user);
        }
        let feed = |user: &i64| (user_shard(*user), format!("feed:{user}"));
        for (store, users) in by_store.into_values() {
            for chunk in users.chunks(500) {
                let lists: Vec<Vec<Command>> = chunk.iter().map(|user| commands(store, *user)).collect();
                let each = lists.first().map_or(1, Vec::len).max(1);
                match store.pipeline(lists.into_iter().flatten().collect()).await {
                    Ok(answers) => {
                        let failed = chunk.iter().zip(answers.chunks(each));
                        let failed =
                            failed.filter(|(_, answer)| answer.iter().any(|one| matches!(one, Value::Error(_))));
                        let failed: Vec<_> = failed.map(|(user, _)| feed(user)).collect();
                        all &= failed.is_empty();
                        self.broken.lock().extend(failed);
                    }
                    Err(_) => {
                        all = false;
                        self.broken.lock().extend(chunk.iter().map(feed));
                    }
                }
            }
        }
        all
    }

    /// Removes what is kept for a reader.
    async fn forget(&self, user: i64) {
        for key in [format!("feed:{user}"), format!("follows:{user}")] {
            self.remove(user_shard(user), key).await;
        }
    }

    async fn remove(&self, shard: String, key: String) {
        let store = self.shards.of_key(&shard);
        if store.call::<i64>(cmd("UNLINK").key(store.key(&key))).await.is_err() {
            self.broken.lock().insert((shard, key));
        }
    }

    /// Removes what could not be reached, as soon as it can.
    pub async fn catch_up(&self) {
        // One shard that is away does not keep the others' keys.
        let is_open = |(shard, _): &&(String, String)| self.shards.of_key(shard).is_open();
        let broken: Vec<(String, String)> = self.broken.lock().iter().filter(is_open).take(1_000).cloned().collect();
        for (shard, key) in broken {
            let store = self.shards.of_key(&shard);
            if store.is_open() && store.call::<i64>(cmd("UNLINK").key(store.key(&key))).await.is_ok() {
                self.broken.lock().remove(&(shard, key));
            }
        }
    }

    /// The ids of a feed and what is mixed in; `None` when the database must be asked.
    async fn cached_ids(&self, user: i64) -> Option<(Vec<i64>, Mix)> {
        if self.broken.lock().contains(&(user_shard(user), format!("feed:{user}"))) {
            return None;
        }
        let store = self.shards.of_key(&user_shard(user));
        let (feed, follows) = (store.key(&format!("feed:{user}")), store.key(&format!("follows:{user}")));
        let life_s = ttl::of_kind(Kind::Feed).as_secs();
        let commands: Vec<Command> = vec![
            cmd("LRANGE").key(&feed).arg(0).arg(KEPT - 1).into(),
            cmd("GET").key(&follows).into(),
            cmd("EXPIRE").key(&feed).arg(life_s).into(),
        ];
        let (answers, mix, stars) = tokio::join!(store.pipeline(commands), self.mix(), self.stars());
        let (answers, stars) = (answers.ok()?, stars?);
        let listed = numbers(answers.first()?)?;
        let followees: Vec<i64> = serde_json::from_str(&text(answers.get(1)?)?).ok()?;
        if listed.len() < PAGE && !listed.contains(&END) {
            return None;
        }
        let mut ids: BTreeSet<i64> = listed.into_iter().filter(|id| *id != END).collect();
        let followed_stars = followees.iter().filter(|followee| stars.contains(followee));
        for posts in join_all(followed_stars.map(|star| self.posts_of(*star))).await {
            ids.extend(posts?.iter());
        }
        Some((ids.into_iter().rev().take(KEPT as usize).collect(), mix.unwrap_or_default()))
    }

    /// Reads a feed from the database, and fills its lists.
    async fn build(&self, user: i64) -> Result<Vec<i64>, AppError> {
        self.metrics.database_reads.add(1);
        let group = Group::User(user);
        let version = self.layers.version(&group).await;
        let store = self.shards.of_key(&user_shard(user));
        let feed = store.key(&format!("feed:{user}"));
        let range = cmd("LRANGE").key(&feed).arg(0).arg(KEPT - 1);
        let answer = store.pipeline(vec![range.into()]).await.ok().and_then(|answers| answers.into_iter().next());
        if answer.as_ref().is_some_and(is_wrong_type) {
            // Pushing would fail for good.
            self.remove(user_shard(user), format!("feed:{user}")).await;
            store.note_mended(&feed, "no list was there");
        }
        let listed = answer.as_ref().and_then(numbers).unwrap_or_default();
        let followees = self.db.followees(user).await?;
        let ids = self.db.feed_ids(user, i64::MAX, KEPT).await?;
        if version.is_none() {
            return Ok(ids);
        }
        self.fill_follows(store, user, &followees).await?;
        // Older ones go to the tail; what is at the head came with a push and stays there. What is missing between them is
        // a push that was lost, or one that is on its way. (Readers sort, so its place at the head does no harm.)
        let oldest = listed.iter().filter(|id| **id != END).min().copied().unwrap_or(i64::MAX);
        let missing = ids.iter().rev().filter(|id| **id > oldest && !listed.contains(id));
        let mut commands: Vec<Command> = missing.map(|id| cmd("LPUSH").key(&feed).arg(*id).into()).collect();
        let older = ids.iter().filter(|id| **id < oldest);
        commands.extend(older.map(|id| -> Command { cmd("RPUSH").key(&feed).arg(*id).into() }));
        if ids.len() < KEPT as usize {
            commands.push(cmd("RPUSH").key(&feed).arg(END).into());
        }
        commands.push(cmd("LTRIM").key(&feed).arg(0).arg(KEPT - 1).into());
        commands.push(cmd("EXPIRE").key(&feed).arg(ttl::of_kind(Kind::Feed).as_secs()).into());
        let is_filled = store.pipeline(commands).await.is_ok();
        if !is_filled || self.layers.version(&group).await != version {
            self.forget(user).await;
        }
        Ok(ids)
    }

    /// Posts by their ids; those that were deleted are missing. Also tells whether the cache had them all.
    async fn posts(&self, ids: &[i64]) -> Result<(HashMap<i64, Arc<Post>>, bool), AppError> {
        let (mut posts, asked) = (HashMap::new(), Instant::now());
        let mut missing = Vec::new();
        let mut by_store: HashMap<&str, (&Store, Vec<i64>)> = HashMap::new();
        for id in ids {
            if let Some(post) = self.moments.posts.get(*id) {
                posts.insert(*id, post);
                continue;
            }
            let store = self.shards.of_key(&post_shard(*id));
            by_store.entry(store.url()).or_insert_with(|| (store, Vec::new())).1.push(*id);
        }
        for (store, ids) in by_store.into_values() {
            let get = |id: &i64| Command::from(cmd("GET").key(store.key(&format!("post:{id}"))));
            let answers = store.pipeline(ids.iter().map(get).collect()).await.unwrap_or_default();
            for (index, id) in ids.into_iter().enumerate() {
                if self.broken.lock().contains(&(post_shard(id), format!("post:{id}"))) {
                    missing.push(id);
                    continue;
                }
                match answers.get(index).map_or(Stored::Nothing, stored) {
                    Stored::Mark => {}
                    Stored::Post(post) => {
                        self.moments.posts.put(id, asked, post.clone());
                        posts.insert(id, post);
                    }
                    Stored::Nothing => missing.push(id),
                    Stored::Garbage => {
                        // Before the database is asked: should it be the mark of a deletion by now, that is found there.
                        self.remove(post_shard(id), format!("post:{id}")).await;
                        store.note_mended(&format!("post:{id}"), "no post was there");
                        missing.push(id);
                    }
                }
            }
        }
        if missing.is_empty() {
            return Ok((posts, true));
        }
        self.metrics.database_reads.add(1);
        let loaded = self.db.posts(&missing).await?;
        self.store_posts(&loaded).await;
        // Those that the database does not have are remembered as well. (An id gets into a list after its post is written.)
        missing.retain(|id| loaded.iter().all(|post| post.id != *id));
        self.store_marks(&missing).await;
        posts.extend(loaded.into_iter().map(|post| (post.id, Arc::new(post))));
        Ok((posts, false))
    }

    async fn store_posts(&self, posts: &[Post]) {
        let set = async |post: &Post| {
            let store = self.shards.of_key(&post_shard(post.id));
            let text = serde_json::to_string(post).unwrap_or_default();
            let set = cmd("SET").key(store.key(&format!("post:{}", post.id))).arg(text);
            // NX: it must not cover the mark of a post that was deleted meanwhile.
            let _ = store.call::<Value>(set.arg("NX").arg("EX").arg(POST_LIFE_S)).await;
        };
        join_all(posts.iter().map(set)).await;
    }

    async fn store_marks(&self, ids: &[i64]) {
        let set = async |id: &i64| {
            let store = self.shards.of_key(&post_shard(*id));
            let set =
                cmd("SET").key(store.key(&format!("post:{id}"))).arg(DELETED).arg("NX").arg("EX").arg(POST_LIFE_S);
            // What cannot be stored is a miss later.
            let _ = store.call::<Value>(set).await;
        };
        join_all(ids.iter().map(set)).await;
    }

    async fn mix(&self) -> Option<Mix> {
        if let Some(mix) = self.moments.mix.get(0) {
            return Some(mix);
        }
        let asked = Instant::now();
        let store = self.shards.of_key(TRENDING);
        let answers = store.pipeline(vec![cmd("GET").key(store.key(TRENDING)).into()]).await.ok()?;
        let mix: Mix = serde_json::from_str(&text(answers.first()?)?).ok()?;
        self.moments.mix.put(0, asked, mix.clone());
        Some(mix)
    }

    /// Computes what is trending, again and again, on one server at a time.
    pub async fn compute_trending(self: Arc<Self>, every: Duration) {
        self.state.wait_connected(Duration::from_secs(60)).await;
        loop {
            // Who could not store the result does not compute it. The lock is not released once it is stored: while the
            // lock lives, what was computed is new enough.
            let asked = Instant::now();
            let left =
                self.computed.lock().as_ref().map_or(Duration::ZERO, |(at, _)| every.saturating_sub(at.elapsed()));
            let life = if left.is_zero() { every } else { left };
            if self.shards.of_key(TRENDING).is_open()
                && let Ok(Some(elected)) = lock::acquire(&self.state, "trending", life).await
                && let Err(error) = self.compute_once(every, asked).await
            {
                tracing::warn!(%error, "trending posts");
                // Another server may be luckier; this one waits like the others.
                elected.release_soon();
            }
            tokio::time::sleep(every.min(Duration::from_secs(5))).await;
        }
    }

    /// Computes what is trending and stores it. What the cache did not take is kept, so that trying again costs no query.
    async fn compute_once(&self, every: Duration, asked: Instant) -> Result<(), AppError> {
        let kept = self.computed.lock().as_ref().filter(|(at, _)| at.elapsed() < every).map(|(_, mix)| mix.clone());
        let mix = match kept {
            Some(mix) => mix,
            None => {
                let from = ids::first_id_at(self.clock.now_ms() - 7 * DAY_MS);
                let trending = self.db.trending_ids(from, MIXED).await?;
                let mix = Mix { trending, promoted: self.db.promoted_ids(MIXED).await? };
                self.metrics.trending.add(1);
                *self.computed.lock() = Some((asked, mix.clone()));
                mix
            }
        };
        let store = self.shards.of_key(TRENDING);
        let text = serde_json::to_string(&mix).unwrap_or_default();
        let set = cmd("SET").key(store.key(TRENDING)).arg(text).arg("PX").arg(every.as_millis() as u64 * 2);
        store.call::<Value>(set).await.map(drop).map_err(|error| AppError::Unavailable(error.to_string()))
    }
}

/// A page: newest first, no post twice, and after every ten one that is trending or promoted. A feed with fewer than ten
/// is filled up with them: whoever follows nobody yet finds somebody there.
fn mix_in(ids: &[i64], mix: &Mix, posts: &HashMap<i64, Arc<Post>>) -> Vec<Item> {
    let mut seen = HashSet::new();
    let followed: Vec<&Arc<Post>> =
        ids.iter().filter(|id| seen.insert(**id)).filter_map(|id| posts.get(id)).take(PAGE).collect();
    let extra = |ids: &[i64], why: &'static str| -> Vec<Item> {
        let posts = ids.iter().filter(|id| !seen.contains(*id)).filter_map(|id| posts.get(id));
        posts.map(|post| Item { post: post.as_ref().clone(), why: why.into() }).collect()
    };
    let (trending, promoted) = (extra(&mix.trending, "trending"), extra(&mix.promoted, "promoted"));
    let promoted = promoted.into_iter().filter(|one| !trending.iter().any(|other| other.post.id == one.post.id));
    // By turns, trending first.
    let (mut trending, mut promoted) = (trending.clone().into_iter(), promoted.collect::<Vec<_>>().into_iter());
    let mut next = |is_trendings_turn: bool| {
        if is_trendings_turn {
            trending.next().or_else(|| promoted.next())
        } else {
            promoted.next().or_else(|| trending.next())
        }
    };
    let mut items = Vec::new();
    for (index, post) in followed.into_iter().enumerate() {
        items.push(Item { post: post.as_ref().clone(), why: "followed".into() });
        if (index + 1) % MIX_EVERY == 0 {
            items.extend(next((index + 1) / MIX_EVERY % 2 == 1));
        }
    }
    for turn in items.len()..MIX_EVERY {
        items.extend(next(turn % 2 == 0));
    }
    items
}

/// What stands in the place of a post.
enum Stored {
    Post(Arc<Post>),
    /// It was deleted.
    Mark,
    Nothing,
    /// What is not ours; with NX nothing would ever replace it.
    Garbage,
}

fn stored(answer: &Value) -> Stored {
    match (answer, text(answer)) {
        (Value::Null, _) => Stored::Nothing,
        (_, Some(found)) if found == DELETED => Stored::Mark,
        (_, Some(found)) => serde_json::from_str(&found).map_or(Stored::Garbage, |post| Stored::Post(Arc::new(post))),
        (Value::Error(_), None) if !is_wrong_type(answer) => Stored::Nothing,
        _ => Stored::Garbage,
    }
}

fn user_shard(user: i64) -> String {
    Group::User(user).shard_key()
}

fn post_shard(id: i64) -> String {
    format!("post:{id}")
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

/// The numbers of a list; `None` for what is no list.
fn numbers(value: &Value) -> Option<Vec<i64>> {
    match value {
        Value::Array(values) => Some(values.iter().filter_map(|value| text(value)?.parse().ok()).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(id: i64) -> Post {
        Post { id, author: 1, name: "Ann".into(), body: format!("post {id}") }
    }

    #[test]
    fn a_page_has_no_post_twice_and_some_that_are_mixed_in() {
        let ids: Vec<i64> = (1..=30).rev().chain([5, 6]).collect();
        let mix = Mix { trending: vec![29, 101], promoted: vec![102, 101] };
        let posts = (1..=30).chain(100..110).filter(|id| *id != 7).map(|id| (id, Arc::new(post(id)))).collect();
        let items = mix_in(&ids, &mix, &posts);
        let followed: Vec<i64> = items.iter().filter(|item| item.why == "followed").map(|item| item.post.id).collect();
        assert_eq!(followed, (1..=30).rev().filter(|id| *id != 7).collect::<Vec<_>>(), "7 was deleted");
        assert_eq!((items[10].post.id, items[10].why.as_str()), (101, "trending"), "29 is in the feed already");
        assert_eq!((items[21].post.id, items[21].why.as_str()), (102, "promoted"));
        let unique: HashSet<i64> = items.iter().map(|item| item.post.id).collect();
        assert_eq!(unique.len(), items.len());
    }

    #[test]
    fn a_short_page_is_filled_up_with_what_is_mixed_in() {
        let mix = Mix { trending: (20..30).collect(), promoted: vec![40, 21] };
        let posts = (1..=40).map(|id| (id, Arc::new(post(id)))).collect();
        let ids = |ids: &[i64]| mix_in(ids, &mix, &posts).iter().map(|item| item.post.id).collect::<Vec<_>>();
        assert_eq!(ids(&[]), [20, 40, 21, 22, 23, 24, 25, 26, 27, 28]);
        assert_eq!(ids(&[9, 8]), [9, 8, 20, 40, 21, 22, 23, 24, 25, 26]);
    }
}
