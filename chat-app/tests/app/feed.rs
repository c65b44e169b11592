//! Feeds over three servers.

use std::process::Command;
use std::time::Duration;

use axum::http::Method;
use chat_app::client::Client;
use serde_json::{Value, json};

use crate::fleet::{AppProcess, Fleet, eventually, within};
use crate::servers::{Servers, first, peers};

struct Person {
    client: Client,
    id: String,
}

async fn person(app: &AppProcess, name: &str) -> Person {
    let client = Client::new(&app.host());
    let answer = client.post("/api/sign-in", &json!({ "name": name })).await.unwrap();
    Person { id: answer.json()["user"].as_str().unwrap().to_owned(), client }
}

impl Person {
    async fn follows(&self, other: &Person, begins: bool) {
        let method = if begins { Method::PUT } else { Method::DELETE };
        let answer = self.client.send(method, &format!("/api/follows/{}", other.id), &[], "".into()).await.unwrap();
        assert_eq!(answer.status.as_u16(), 204, "{}", answer.text());
    }

    async fn posts(&self, body: &str) -> String {
        // Within a millisecond the order of posts on different servers is nobody's.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let answer = self.client.post("/api/posts", &json!({ "body": body })).await.unwrap();
        assert_eq!(answer.status.as_u16(), 201, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    async fn feed(&self) -> Vec<Value> {
        let answer = self.client.get("/api/feed").await.unwrap();
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
        answer.json()["posts"].as_array().unwrap().clone()
    }

    async fn followed(&self) -> Vec<String> {
        let items = self.feed().await;
        let followed = items.iter().filter(|item| item["why"] == "followed");
        followed.map(|item| item["body"].as_str().unwrap().to_owned()).collect()
    }

    async fn layer(&self) -> String {
        self.client.get("/api/feed").await.unwrap().header("x-cache").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_is_newest_first_and_follows_every_change() {
    for peer in peers() {
        let Some(fleet) = Fleet::start(peer, &["--limit", "1000"]).await else { continue };
        let (ann, bob, cleo) = (
            person(&fleet.apps[0], "Ann A").await,
            person(&fleet.apps[1], "Bob B").await,
            person(&fleet.apps[2], "Cleo C").await,
        );
        assert_eq!(ann.followed().await, [""; 0]);
        assert_eq!(ann.layer().await, "l2", "an empty feed is a hit");
        bob.posts("before anybody followed").await;
        ann.follows(&bob, true).await;
        ann.follows(&cleo, true).await;
        assert_eq!(ann.followed().await, ["before anybody followed"]);
        bob.posts("one").await;
        let two = cleo.posts("two").await;
        bob.posts("three").await;
        let all = ["three", "two", "one", "before anybody followed"];
        within(Duration::from_secs(1), "all are seen", async || ann.followed().await == all).await;
        assert_eq!(ann.layer().await, "l2");
        let deleted = cleo.client.send(Method::DELETE, &format!("/api/posts/{two}"), &[], "".into()).await.unwrap();
        assert_eq!(deleted.status.as_u16(), 204);
        let left = ["three", "one", "before anybody followed"];
        within(Duration::from_millis(1_500), "what was deleted vanishes", async || ann.followed().await == left).await;
        ann.follows(&bob, false).await;
        assert_eq!(ann.followed().await, [""; 0], "unfollowed");
        assert!(
            bob.client
                .send(Method::DELETE, &format!("/api/posts/{two}"), &[], "".into())
                .await
                .unwrap()
                .status
                .as_u16()
                == 404
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_list_is_topped_up_at_its_tail() {
    for peer in peers() {
        let Some(fleet) = Fleet::start(peer, &["--limit", "1000"]).await else { continue };
        let (ann, bob) = (person(&fleet.apps[0], "Ann A").await, person(&fleet.apps[1], "Bob B").await);
        ann.follows(&bob, true).await;
        let mut want: Vec<String> = Vec::new();
        for number in 0..8 {
            bob.posts(&format!("post {number}")).await;
            want.insert(0, format!("post {number}"));
        }
        assert_eq!(ann.followed().await, want);
        // Evicted, then begun anew by a push.
        fleet.cache.ask(&["UNLINK", &format!("feed:{}", ann.id)]);
        bob.posts("the newest").await;
        want.insert(0, "the newest".into());
        assert_eq!(ann.followed().await, want);
        assert_eq!(ann.followed().await, want, "and once more, from the list");
        assert_eq!(ann.layer().await, "l2");
        // Of another type.
        fleet.cache.ask(&["SET", &format!("feed:{}", ann.id), "garbage"]);
        assert_eq!(ann.followed().await, want);
        bob.posts("after garbage").await;
        want.insert(0, "after garbage".into());
        eventually("it is a feed again", async || ann.followed().await == want && ann.layer().await == "l2").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_that_nobody_reads_end_and_what_is_gone_is_remembered() {
    let Some(fleet) = Fleet::start(first(), &["--limit", "1000"]).await else { return };
    let (ann, bob) = (person(&fleet.apps[0], "Ann A").await, person(&fleet.apps[1], "Bob B").await);
    ann.follows(&bob, true).await;
    let gone = bob.posts("soon gone").await;
    bob.posts("here to stay").await;
    let life = fleet.cache.ask(&["TTL", &format!("feed:{}", ann.id)]);
    let life: i64 = life.trim_start_matches(':').trim_end().parse().unwrap();
    assert!((0..=45).contains(&life), "{life}");
    eventually("from the cache", async || ann.followed().await.len() == 2 && ann.layer().await == "l2").await;
    let deleted = bob.client.send(Method::DELETE, &format!("/api/posts/{gone}"), &[], "".into()).await.unwrap();
    assert_eq!(deleted.status.as_u16(), 204);
    within(Duration::from_secs(3), "it vanishes", async || ann.followed().await == ["here to stay"]).await;
    // The other servers mark it once, too, with their next look.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    fleet.cache.ask(&["UNLINK", &format!("post:{gone}")]);
    assert_eq!(ann.followed().await, ["here to stay"]);
    assert_eq!(ann.layer().await, "l2", "the database is asked once for a post that it does not have");
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_of_authors_with_many_followers_are_merged_when_read() {
    for peer in peers() {
        let Some(fleet) = Fleet::start(peer, &["--limit", "1000", "--fanout-limit", "2"]).await else { continue };
        let (star, small) = (person(&fleet.apps[0], "Star S").await, person(&fleet.apps[1], "Small S").await);
        let mut readers = Vec::new();
        for number in 0..3 {
            let reader = person(&fleet.apps[number], &format!("Reader {number}")).await;
            reader.follows(&star, true).await;
            readers.push(reader);
        }
        readers[0].follows(&small, true).await;
        star.posts("first of the star").await;
        small.posts("of somebody small").await;
        star.posts("second of the star").await;
        let first = ["second of the star", "of somebody small", "first of the star"];
        within(Duration::from_secs(1), "all are merged", async || readers[0].followed().await == first).await;
        let second = ["second of the star", "first of the star"];
        within(Duration::from_secs(1), "all are there", async || readers[1].followed().await == second).await;
        star.posts("third").await;
        for reader in &readers {
            within(Duration::from_secs(1), "the third is seen", async || reader.followed().await[0] == "third").await;
            eventually("from the cache", async || reader.layer().await == "l2").await;
        }
        let posts = fleet.cache.ask(&["ZCARD", &format!("posts-of:{}", star.id)]);
        assert_eq!(posts, ":4\r\n", "three posts and the mark of the end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_post_is_missed_while_its_author_passes_the_limit() {
    for peer in peers() {
        let Some(fleet) = Fleet::start(peer, &["--limit", "1000", "--fanout-limit", "2"]).await else { continue };
        let star = person(&fleet.apps[0], "Star S").await;
        let mut readers = Vec::new();
        for number in 0..3 {
            readers.push(person(&fleet.apps[number], &format!("Reader {number}")).await);
        }
        let mut want: Vec<String> = Vec::new();
        let mut posts = async |body: &str, readers: &[Person]| {
            star.posts(body).await;
            want.insert(0, body.to_owned());
            for reader in readers {
                within(Duration::from_secs(1), body, async || reader.followed().await == want).await;
            }
            // What a server keeps for a moment is past.
            tokio::time::sleep(Duration::from_millis(300)).await;
            for reader in readers {
                eventually("from the cache", async || reader.layer().await == "l2").await;
                assert_eq!(reader.followed().await, want, "and from the cache");
            }
        };
        readers[0].follows(&star, true).await;
        readers[1].follows(&star, true).await;
        posts("to few", &readers[..2]).await;
        readers[2].follows(&star, true).await;
        posts("to many", &readers).await;
        posts("to many again", &readers).await;
        for lost in ["stars".to_owned(), format!("posts-of:{}", star.id)] {
            fleet.cache.ask(&["UNLINK", &lost]);
            posts(&format!("without {lost}"), &readers).await;
            fleet.cache.ask(&["UNLINK", &lost]);
            fleet.cache.ask(&["SET", &lost, "garbage"]);
            posts(&format!("with garbage for {lost}"), &readers).await;
        }
        readers[2].follows(&star, false).await;
        posts("to few again", &readers[..2]).await;
        fleet.cache.ask(&["UNLINK", "stars"]);
        posts("without stars", &readers[..2]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_are_spread_over_shards() {
    for peer in peers() {
        let (Some(second), Some(third)) = (Servers::start(peer, &[]), Servers::start(peer, &[])) else { continue };
        let (second_url, third_url) = (second.url(), third.url());
        let mut options = vec!["--redis-url", &second_url, "--redis-url", &third_url];
        options.extend(["--limit", "1000", "--fanout-limit", "3"]);
        let Some(fleet) = Fleet::start(peer, &options).await else { continue };
        let mut people = Vec::new();
        for number in 0..6 {
            people.push(person(&fleet.apps[number % 3], &format!("Person {number}")).await);
        }
        // The first is followed by all others, each of them by the next.
        for (number, reader) in people.iter().enumerate().skip(1) {
            reader.follows(&people[0], true).await;
            reader.follows(&people[number - 1], true).await;
        }
        for (number, author) in people.iter().enumerate() {
            author.posts(&format!("of {number}")).await;
        }
        for (number, reader) in people.iter().enumerate().skip(1) {
            let mut want = vec![format!("of {number}"), format!("of {}", number - 1), "of 0".into()];
            want.dedup();
            within(Duration::from_secs(1), "all are seen", async || reader.followed().await == want).await;
            eventually("from the cache", async || reader.layer().await == "l2").await;
        }
        let counts = [&fleet.cache, &second, &third].map(Servers::keys);
        // Which one has what depends on the ports, and by chance one of them may have next to nothing.
        assert!(counts.iter().filter(|count| **count > 2).count() > 1, "they hold some: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trending_and_promoted_posts_are_mixed_in() {
    let options = ["--limit", "1000", "--trending-ms", "1000"];
    let Some(fleet) = Fleet::start(first(), &options).await else { return };
    let (ann, bob, cleo) = (
        person(&fleet.apps[0], "Ann A").await,
        person(&fleet.apps[1], "Bob B").await,
        person(&fleet.apps[2], "Cleo C").await,
    );
    ann.follows(&bob, true).await;
    for number in 0..25 {
        bob.posts(&format!("post {number}")).await;
    }
    let liked = cleo.posts("liked by all").await;
    let refused = cleo.client.post("/api/posts", &json!({ "body": "for all", "promoted": true })).await.unwrap();
    assert_eq!(refused.status.as_u16(), 400, "only the operator promotes");
    let promoted = cleo.posts("an advertisement").await;
    let promote = Command::new(env!("CARGO_BIN_EXE_chat-app"))
        .args(["promote", &promoted, "--database-url", &fleet.database_url()])
        .status();
    assert!(promote.unwrap().success());
    for who in [&ann, &bob, &cleo] {
        let answer = who.client.post(&format!("/api/posts/{liked}/likes"), &json!({})).await.unwrap();
        assert_eq!(answer.status.as_u16(), 204);
    }
    eventually("both are mixed in", async || {
        let items = ann.feed().await;
        let why = |body: &str| {
            items.iter().find(|item| item["body"] == body).map(|item| item["why"].as_str().unwrap().to_owned())
        };
        why("liked by all").as_deref() == Some("trending") && why("an advertisement").as_deref() == Some("promoted")
    })
    .await;
    let page = ann.client.get("/feed").await.unwrap().text();
    assert!(page.contains("liked by all") && page.contains("post 24"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_lead_to_people_and_their_posts() {
    let Some(fleet) = Fleet::start(first(), &["--trending-ms", "1000"]).await else { return };
    let (ann, bob) = (person(&fleet.apps[0], "Ann A").await, person(&fleet.apps[1], "Bob B").await);
    let page = async |path: &str| ann.client.get(path).await.unwrap().text();
    assert!(page("/rooms/general").await.contains("<a class=\"name\" href=\"/users/"), "names are links");
    eventually("whoever follows nobody sees what is trending", async || page("/feed").await.contains("trending")).await;
    let post = bob.posts("what Bob thinks").await;
    let his = format!("/users/{}", bob.id);
    let before = page(&his).await;
    assert!(before.contains("what Bob thinks") && before.contains(">Follow<") && !before.contains("Unfollow"));
    let press = async |who: &Person, path: &str, form: &'static str| {
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        let answer = who.client.send(Method::POST, path, &kind, form.into()).await.unwrap();
        (answer.status.as_u16(), answer.header("location").to_owned())
    };
    assert_eq!(press(&ann, &format!("{his}/follow"), "begins=true").await, (303, his.clone()));
    let after = page(&his).await;
    assert!(after.contains("Unfollow") && !after.contains(">Follow<"));
    eventually("it is in the feed", async || page("/feed").await.contains("what Bob thinks")).await;
    assert_eq!(press(&ann, &format!("/posts/{post}/like"), "").await, (303, "/feed".to_owned()));
    let form = "page_of=7";
    assert_eq!(press(&ann, &format!("/posts/{post}/like"), form).await, (303, "/users/7".to_owned()));
    assert_eq!(press(&ann, &format!("/posts/{post}/delete"), "").await.0, 404, "somebody else's");
    assert_eq!(press(&bob, &format!("/posts/{post}/delete"), "").await.0, 303);
    eventually("it is gone", async || !page(&his).await.contains("what Bob thinks")).await;
}
