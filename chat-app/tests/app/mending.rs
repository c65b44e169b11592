//! Keys of the application that hold what is not ours: each is put right, and nobody notices.

use std::time::Duration;

use axum::http::Method;
use chat_app::client::Client;
use serde_json::json;

use crate::fleet::{AppProcess, Directory, Fleet, eventually, shared_options, within};
use crate::servers::{Servers, peers};

const PAGE: &str = "/api/rooms/general/messages";

/// Uses all that the keys stand for, on every server.
async fn use_all(clients: &[Client], me: &str) {
    for client in clients {
        let posted = client.post(PAGE, &json!({ "body": "anyway" })).await.unwrap();
        assert_eq!(posted.status.as_u16(), 201, "{}", posted.text());
        for path in [PAGE, "/api/rooms/general/page", "/api/rooms", "/api/feed", &format!("/api/users/{me}")] {
            let answer = client.get(path).await.unwrap();
            assert_eq!(answer.status.as_u16(), 200, "{path}: {}", answer.text());
        }
    }
}

/// Whether a key holds something of this type that is not what was put there, or nothing.
fn is_right(servers: &Servers, key: &str, kind: &str) -> bool {
    let found = servers.ask(&["TYPE", key]);
    let is_ours = found == "+none\r\n" || found == format!("+{kind}\r\n");
    is_ours && (kind != "string" || !servers.ask(&["GET", key]).contains("garbage"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_under_our_keys_is_put_right() {
    for peer in peers() {
        let options = ["--strategy", "write-behind", "--l1", "off", "--limit", "1000000", "--trending-ms", "1000"];
        let Some(fleet) = Fleet::start(peer, &options).await else { continue };
        let (ann, state, cache) = (fleet.everywhere("Ann").await, fleet.state.as_ref().unwrap(), &fleet.cache);
        let me = ann[0].post("/api/sign-in", &json!({ "name": "Ann" })).await.unwrap().json();
        let me = me["user"].as_str().unwrap();
        let post = ann[0].post("/api/posts", &json!({ "body": "a post" })).await.unwrap().json();
        let post = format!("post:{}", post["id"].as_str().unwrap());
        use_all(&ann, me).await;
        let sessions = state.each(&["KEYS", "session:*"]).concat();
        let session = sessions.split("\r\n").find(|line| line.starts_with("session:")).unwrap();
        let (limit, feed, follows) = (format!("limit:sliding:{me}"), format!("feed:{me}"), format!("follows:{me}"));
        for (servers, key, kind) in [
            (state, "queued-rooms", "set"),
            (state, "queue:general", "list"),
            (state, "lock:queue", "string"),
            (state, "lock:trending", "string"),
            (state, "servers", "set"),
            (state, session, "string"),
            (state, &limit, "zset"),
            (cache, &post, "string"),
            (cache, &feed, "list"),
            (cache, &follows, "string"),
            (cache, "stars", "set"),
            (cache, "trending:posts", "string"),
            (cache, "rooms:list:first", "string"),
            (cache, "version:rooms", "string"),
            (cache, "version:room-list", "string"),
        ] {
            for garbage in [&["SET", key, "garbage"][..], &["HSET", key, "gar", "bage"]] {
                servers.ask(&["UNLINK", key]);
                servers.ask(garbage);
                eventually(&format!("{garbage:?} is gone"), async || {
                    use_all(&ann, me).await;
                    is_right(servers, key, kind)
                })
                .await;
            }
        }
        for store in ["state", "cache"] {
            let mended = fleet.metric(&format!("chat_store_mended_total{{store=\"{store}\"}}")).await;
            assert!(mended >= 1.0, "what is put right is counted: {store}");
        }
        let empty = async || state.ask(&["LLEN", "queue:general"]) == ":0\r\n";
        eventually("nothing stays in the queue", empty).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_messages_outlive_the_list_of_their_queues() {
    for peer in peers() {
        let Some(fleet) = Fleet::start(peer, &["--strategy", "write-behind", "--limit", "1000"]).await else {
            continue;
        };
        let (ann, state) = (fleet.apps[0].user("Ann").await, fleet.state.as_ref().unwrap());
        // A room's queue and the list of queues have keys of their own, whatever the room is called.
        let made = ann.post("/api/rooms", &json!({ "name": "rooms", "title": "Rooms" })).await.unwrap();
        assert_eq!(made.status.as_u16(), 201, "{}", made.text());
        let queues = ["queue:general", "queue:rooms"];
        // Nobody is elected to empty the queues; whoever is at it ends.
        state.ask(&["SET", "lock:queue", "somebody", "PX", "600000"]);
        let (mut said, mut round) = (Vec::new(), 0);
        while queues.iter().any(|queue| state.ask(&["LLEN", queue]) == ":0\r\n") {
            round += 1;
            assert!(round < 100, "they are emptied nevertheless");
            for room in ["general", "rooms"] {
                let body = format!("{room} {round}");
                let posted = ann.post(&format!("/api/rooms/{room}/messages"), &json!({ "body": body })).await.unwrap();
                assert_eq!(posted.status.as_u16(), 201, "{}", posted.text());
                said.push((room, body));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        state.ask(&["SET", "queued-rooms", "garbage"]);
        state.ask(&["UNLINK", "lock:queue"]);
        let is_empty = async || queues.iter().all(|queue| state.ask(&["LLEN", queue]) == ":0\r\n");
        eventually("what was queued before is found", is_empty).await;
        let db = chat_app::db::Db::open(&fleet.database_url(), 1).await.unwrap();
        for (room, body) in said {
            let id = chat_app::model::RoomId::new(room).unwrap();
            let stored = db.messages(&id, 1_000_000, None).await.unwrap();
            assert_eq!(stored.iter().filter(|message| message.body == body).count(), 1, "{body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_store_what_is_trending_lets_others_try() {
    for peer in peers() {
        let full = ["--maxmemory", "1", "--maxmemory-policy", "noeviction"];
        let (Some(cache), Some(state)) = (Servers::start(peer, &full), Servers::start(peer, &[])) else { continue };
        let directory = Directory::new();
        let shared = shared_options(&cache, &state, &directory);
        let options: Vec<&str> = shared.iter().map(String::as_str).chain(["--trending-ms", "3600000"]).collect();
        let app = AppProcess::start(&directory, &options).await;
        let refused = async || app.log().matches("trending posts").count() >= 3;
        within(Duration::from_secs(20), "it cannot be stored, again and again", refused).await;
        assert_eq!(app.metric("chat_trending_computed_total").await, 1.0, "and was computed once");
        eventually("the lock is free", async || state.ask(&["EXISTS", "lock:trending"]) == ":0\r\n").await;
        assert!(cache.each(&["CONFIG", "SET", "maxmemory", "0"]).iter().all(|reply| reply == "+OK\r\n"));
        let stored = async || cache.ask(&["EXISTS", "trending:posts"]) == ":1\r\n";
        within(Duration::from_secs(20), "it is computed long before the next hour", stored).await;
        assert_eq!(state.ask(&["EXISTS", "lock:trending"]), ":1\r\n", "and now nobody else need do it");
        assert_eq!(app.metric("chat_trending_computed_total").await, 1.0, "nor was it computed again");
        let feed = app.user("Ann").await.send(Method::GET, "/api/feed", &[], "".into()).await.unwrap();
        assert!(feed.text().contains("trending"), "{}", feed.text());
    }
}
