//! The strategies, over three servers that share what they cache.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chat_app::client::Client;
use parking_lot::Mutex;
use serde_json::json;

use crate::fleet::{AppProcess, Directory, Fleet, Single, Socket, eventually, shared_options, within};
use crate::servers::{Servers, first, peers};

const PAGE: &str = "/api/rooms/general/messages";

async fn last(client: &Client) -> String {
    let page = client.get(PAGE).await.unwrap().json();
    page["messages"].as_array().unwrap().last().unwrap()["body"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_each_strategy_all_servers_agree() {
    for strategy in ["cache-aside", "read-through", "write-through", "write-behind", "none"] {
        for peer in peers() {
            let options = ["--strategy", strategy, "--limit", "1000", "--l1", "tracking"];
            let Some(fleet) = Fleet::start(peer, &options).await else { continue };
            let ann = fleet.everywhere("Ann").await;
            for number in 0..6 {
                for client in &ann {
                    last(client).await;
                }
                let body = format!("{strategy} {number}");
                let posted = ann[number % 3].post(PAGE, &json!({ "body": body })).await.unwrap();
                assert_eq!(posted.status.as_u16(), 201, "{}", posted.text());
                assert_eq!(last(&ann[number % 3]).await, body, "its author sees it at once");
                for client in &ann {
                    within(Duration::from_millis(500), &body, async || last(client).await == body).await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_through_has_the_new_page_ready() {
    let options = ["--strategy", "write-through", "--l1", "off"];
    let Some(fleet) = Fleet::start(first(), &options).await else { return };
    let ann = fleet.everywhere("Ann").await;
    ann[0].post(PAGE, &json!({ "body": "ready" })).await.unwrap();
    let page = ann[1].get(PAGE).await.unwrap();
    assert_eq!(page.header("x-cache"), "l2");
    assert!(page.text().contains("ready"));
    assert_eq!(ann[2].get("/api/rooms/general/page").await.unwrap().header("x-cache"), "l2");
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_in_each_process_alone_disagree() {
    let Some(fleet) = Fleet::start(first(), &["--strategy", "local", "--poll-ms", "100"]).await else { return };
    let ann = fleet.everywhere("Ann").await;
    for client in &ann {
        last(client).await;
    }
    ann[0].post(PAGE, &json!({ "body": "only here" })).await.unwrap();
    assert_eq!(last(&ann[0]).await, "only here");
    // Live messages come by the database; the caches do not hear of them.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for client in &ann[1..] {
        assert_ne!(last(client).await, "only here", "another server shows the past");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn warming_reads_popular_rooms_before_anybody_asks() {
    for peer in peers() {
        let options = ["--seed", "2000", "--warm", "20", "--l1", "off"];
        let Some(single) = Single::start(peer, &options).await else { continue };
        let ann = single.app.user("Ann").await;
        for path in [PAGE, "/api/rooms/tech/page", "/api/rooms"] {
            assert_eq!(ann.get(path).await.unwrap().header("x-cache"), "l2", "{path}");
        }
        assert!(single.app.log().contains("warming rooms"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queued_messages_can_be_edited_at_once() {
    let Some(fleet) = Fleet::start(first(), &["--strategy", "write-behind"]).await else { return };
    let ann = fleet.everywhere("Ann").await;
    let posted = ann[0].post(PAGE, &json!({ "body": "queued" })).await.unwrap().json();
    let url = format!("/api/messages/{}", posted["id"].as_str().unwrap());
    let edit = json!({ "body": "edited" }).to_string();
    let edited = ann[1].send(axum::http::Method::PUT, &url, &[], edit.into()).await.unwrap();
    assert_eq!(edited.status.as_u16(), 200, "{}", edited.text());
    eventually("the edit stays", async || last(&ann[2]).await == "edited").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_queue_write_behind_writes_straight_to_the_database() {
    let Some(mut fleet) = Fleet::start(first(), &["--strategy", "write-behind"]).await else { return };
    let ann = fleet.everywhere("Ann").await;
    fleet.stop_state();
    let posted = ann[0].post(PAGE, &json!({ "body": "no queue" })).await.unwrap();
    assert_eq!(posted.status.as_u16(), 201, "{}", posted.text());
    for client in &ann {
        assert_eq!(last(client).await, "no queue");
    }
}

/// Posts until its server is gone; notes what was acknowledged.
async fn post_until_gone(client: Client, label: String, acknowledged: Arc<Mutex<Vec<String>>>) {
    for number in 0.. {
        let body = format!("{label} {number}");
        match client.post("/api/rooms/tech/messages", &json!({ "body": body })).await {
            Ok(answer) if answer.status.as_u16() == 201 => acknowledged.lock().push(body),
            Ok(answer) => panic!("{}", answer.text()),
            Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_fifty_kills_each_acknowledged_message_is_there_once() {
    for peer in peers() {
        let (Some(cache), Some(state)) = (Servers::start(peer, &[]), Servers::start(peer, &[])) else { continue };
        let directory = Directory::new();
        let shared = shared_options(&cache, &state, &directory);
        let mut options: Vec<&str> = shared.iter().map(String::as_str).collect();
        options.extend(["--strategy", "write-behind", "--limit", "1000000"]);
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        for round in 0..50 {
            let mut app = AppProcess::start(&directory, &options).await;
            let client = app.user("Ann").await;
            let tasks: Vec<_> = (0..3)
                .map(|task| {
                    let client = Client::with_cookie(client.host(), &client.cookie());
                    let label = format!("{round}.{task}");
                    tokio::spawn(post_until_gone(client, label, acknowledged.clone()))
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(20 + (round * 7) % 60)).await;
            app.kill();
            for task in tasks {
                task.await.unwrap();
            }
        }
        let acknowledged: Vec<String> = std::mem::take(&mut *acknowledged.lock());
        assert!(acknowledged.len() > 100, "{}", acknowledged.len());
        let app = AppProcess::start(&directory, &options).await;
        let db = chat_app::db::Db::open(&format!("sqlite://{}/chat.db", directory.0.display()), 1).await.unwrap();
        let room = chat_app::model::RoomId::new("tech").unwrap();
        let stored = async || -> Vec<String> {
            let messages = db.messages(&room, 1_000_000, None).await.unwrap();
            messages.into_iter().map(|message| message.body).collect()
        };
        eventually("all messages are in the database", async || {
            let stored: HashSet<String> = stored().await.into_iter().collect();
            acknowledged.iter().all(|body| stored.contains(body))
        })
        .await;
        let stored = stored().await;
        let ours: Vec<&String> = stored.iter().filter(|body| acknowledged.contains(body)).collect();
        assert_eq!(ours.iter().collect::<HashSet<_>>().len(), ours.len(), "none is there twice");
        drop(app);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_end_empties_its_own_queue() {
    let directory = Directory::new();
    let mut app = AppProcess::start(&directory, &["--strategy", "write-behind", "--limit", "1000000"]).await;
    assert!(app.log().contains("a crash loses"), "{}", app.log());
    let (client, acknowledged) = (app.user("Ann").await, Arc::new(Mutex::new(Vec::new())));
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let client = Client::with_cookie(client.host(), &client.cookie());
            tokio::spawn(post_until_gone(client, format!("task {task}"), acknowledged.clone()))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(app.terminate(), "{}", app.log());
    for task in tasks {
        task.await.unwrap();
    }
    let acknowledged = std::mem::take(&mut *acknowledged.lock());
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());
    let url = format!("sqlite://{}/chat-app-data/chat.db", directory.0.display());
    let db = chat_app::db::Db::open(&url, 1).await.unwrap();
    let room = chat_app::model::RoomId::new("tech").unwrap();
    let stored = db.messages(&room, 1_000_000, None).await.unwrap();
    let stored: HashSet<String> = stored.into_iter().map(|message| message.body).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|body| !stored.contains(*body)).collect();
    assert!(lost.is_empty(), "{} of {} lost", lost.len(), acknowledged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_queue_stops_no_other_room() {
    for peer in peers() {
        let Some(fleet) = Fleet::start(peer, &["--strategy", "write-behind", "--limit", "1000"]).await else {
            continue;
        };
        let (ann, state) = (fleet.apps[0].user("Ann").await, fleet.state.as_ref().unwrap());
        let post = async |room: &str| {
            let posted = ann.post(&format!("/api/rooms/{room}/messages"), &json!({ "body": "anyway" })).await.unwrap();
            assert_eq!(posted.status.as_u16(), 201, "{}", posted.text());
        };
        let rooms = ["general", "tech", "music"];
        for room in rooms {
            post(room).await;
        }
        let is_empty = |room: &str| state.ask(&["LLEN", &format!("queue:{room}")]) == ":0\r\n";
        eventually("all is in the database", async || rooms.iter().all(|room| is_empty(room))).await;
        state.ask(&["SET", "queue:general", "garbage"]);
        for room in rooms {
            post(room).await;
        }
        eventually("the garbage is gone and the others are emptied", async || rooms.iter().all(|room| is_empty(room)))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_comes_back_gets_what_is_queued() {
    let (Some(cache), Some(state)) = (Servers::start(first(), &[]), Servers::start(first(), &[])) else { return };
    // Nobody is elected to empty the queue.
    state.ask(&["SET", "lock:queue", "somebody", "PX", "3600000"]);
    let directory = Directory::new();
    let shared = shared_options(&cache, &state, &directory);
    let mut options: Vec<&str> = shared.iter().map(String::as_str).collect();
    options.extend(["--strategy", "write-behind"]);
    let app = AppProcess::start(&directory, &options).await;
    let ann = app.user("Ann").await;
    let first = ann.post(PAGE, &json!({ "body": "first" })).await.unwrap().json();
    ann.post(PAGE, &json!({ "body": "second" })).await.unwrap();
    assert_eq!(state.ask(&["LLEN", "queue:general"]), ":2\r\n", "both are queued");
    let after = first["changed"].as_str().unwrap();
    let changes = ann.get(&format!("/api/rooms/general/changes?after={after}")).await.unwrap().json();
    let changes = changes["messages"].as_array().unwrap();
    assert_eq!((changes.len(), changes[0]["body"].as_str()), (1, Some("second")));
    Socket::open(&ann, &format!("/ws/general?after={after}")).await.hears("second").await;
}
