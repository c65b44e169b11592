//! Feeds: 10,000 users who follow 50 each by Zipf 1.0, a hundred reads a post, 200 clients, three servers. A hit is a read
//! without any query of the database. Each user's feed is read once before the measurement.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::fleet::Fleet;
use super::table::{Row, percentile, time_rows};
use super::{Context, Target};
use crate::app::App;
use crate::cache::layers::Layer;
use crate::feed::Post;
use crate::random::{Random, Zipf};

const USERS: usize = 10_000;
const FOLLOWS: usize = 50;
const CLIENTS: usize = 200;
const READS_PER_POST: usize = 100;
/// Ids of the bench's users begin here, above those of the seed.
const FIRST_USER: i64 = 1_000_000;

/// The experiment.
pub async fn run(context: &Context, target: &Target) -> Result<Vec<Row>, String> {
    let fleet = Fleet::start(context, target, 3, |_| {}).await?;
    let users = context.amount(USERS);
    fleet.apps[0].db.seed_followers(FIRST_USER, users, FOLLOWS).await.map_err(|error| error.to_string())?;
    let next = Arc::new(AtomicUsize::new(0));
    work(&fleet, CLIENTS, {
        let next = next.clone();
        move |app, _| {
            let next = next.clone();
            async move {
                while let number @ 0.. = next.fetch_add(1, Relaxed) as i64 {
                    if number >= users as i64 {
                        break;
                    }
                    app.feeds.read(FIRST_USER + number).await.map_err(|error| error.to_string())?;
                }
                Ok(Vec::new())
            }
        }
    })
    .await?;
    next.store(0, Relaxed);
    let (total, start) = (context.amount(50_000), Instant::now());
    let found = work(&fleet, CLIENTS, move |app, seed| one(app, seed, next.clone(), total, users)).await?;
    let seconds = start.elapsed().as_secs_f64();
    let reads: Vec<(f64, bool)> = found.iter().filter_map(|one| one.read).collect();
    let hits = reads.iter().filter(|(_, hit)| *hit).count();
    let mut rows = vec![
        Row::new("feed", "hit rate %", hits as f64 * 100.0 / reads.len().max(1) as f64),
        Row::new("feed", "reads/s", reads.len() as f64 / seconds),
    ];
    rows.extend(time_rows("feed", reads.iter().map(|(ms, _)| *ms).collect()));
    rows.extend(time_rows("post", found.iter().filter_map(|one| one.post).collect()));
    let mut visible = propagation(&fleet, context.amount(50)).await?;
    rows.push(Row::new("a post is seen after", "median ms", percentile(&mut visible, 0.5)));
    rows.push(Row::new("a post is seen after", "max ms", percentile(&mut visible, 1.0)));
    fleet.end().await?;
    Ok(rows)
}

/// What one request took, in milliseconds.
struct Found {
    read: Option<(f64, bool)>,
    post: Option<f64>,
}

async fn work<F>(fleet: &Fleet, clients: usize, client: impl Fn(Arc<App>, u64) -> F) -> Result<Vec<Found>, String>
where
    F: Future<Output = Result<Vec<Found>, String>> + Send + 'static,
{
    let tasks = (0..clients).map(|number| tokio::spawn(client(fleet.apps[number % 3].clone(), number as u64 + 1)));
    let mut found = Vec::new();
    for task in join_all(tasks).await {
        found.extend(task.map_err(|error| error.to_string())??);
    }
    Ok(found)
}

/// One client: reads of feeds, and now and then a post; popular users post as often as others.
async fn one(
    app: Arc<App>,
    seed: u64,
    next: Arc<AtomicUsize>,
    total: usize,
    users: usize,
) -> Result<Vec<Found>, String> {
    let (mut random, mut found) = (Random::new(seed), Vec::new());
    while next.fetch_add(1, Relaxed) < total {
        let user = FIRST_USER + random.below(users) as i64;
        let start = Instant::now();
        if random.below(READS_PER_POST) == 0 {
            let post =
                Post { id: app.ids.next(), author: user, name: "Bench".into(), body: "a post of the bench".into() };
            app.feeds.publish(&post).await.map_err(|error| error.to_string())?;
            found.push(Found { read: None, post: Some(start.elapsed().as_secs_f64() * 1e3) });
        } else {
            let (_, layer) = app.feeds.read(user).await.map_err(|error| error.to_string())?;
            let ms = start.elapsed().as_secs_f64() * 1e3;
            found.push(Found { read: Some((ms, layer == Layer::L2)), post: None });
        }
    }
    Ok(found)
}

/// How long after it was published a post is in a follower's feed on another server, in milliseconds; popular authors,
/// whose posts are merged when read, and others by turns.
async fn propagation(fleet: &Fleet, posts: usize) -> Result<Vec<f64>, String> {
    let mut times = Vec::new();
    for number in 0..posts {
        let author = FIRST_USER + if number % 2 == 0 { 0 } else { 500 + number as i64 };
        let followers = fleet.apps[0].db.followers(author, 1).await.map_err(|error| error.to_string())?;
        let Some(follower) = followers.first() else { continue };
        let app = &fleet.apps[0];
        let post = Post { id: app.ids.next(), author, name: "Bench".into(), body: "is it there yet?".into() };
        let start = Instant::now();
        app.feeds.publish(&post).await.map_err(|error| error.to_string())?;
        loop {
            let (items, _) = fleet.apps[1].feeds.read(*follower).await.map_err(|error| error.to_string())?;
            if items.iter().any(|item| item.post.id == post.id) {
                break;
            }
            if start.elapsed() > Duration::from_secs(5) {
                return Err("a post was not seen within 5 s".into());
            }
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// The generator of who follows whom.
pub fn followees(random: &mut Random, zipf: &Zipf, count: usize) -> Vec<usize> {
    let mut picked: Vec<usize> = (0..count * 2).map(|_| zipf.pick(random)).collect();
    picked.sort_unstable();
    picked.dedup();
    // Too many popular ones were picked twice: what is missing comes from further down.
    let mut further = random.below(zipf.len());
    while picked.len() < count.min(zipf.len()) {
        further = (further + 1) % zipf.len();
        if !picked.contains(&further) {
            picked.push(further);
        }
    }
    // By chance, not by popularity, are those kept that are one too many.
    while picked.len() > count {
        picked.swap_remove(random.below(picked.len()));
    }
    picked
}
