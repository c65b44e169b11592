//! What one server sees after another wrote.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use axum::http::Method;
use chat_app::client::Client;
use serde_json::json;

use crate::fleet::{Fleet, Socket, within};
use crate::servers::{first, peers};

const PAGE: &str = "/api/rooms/general/messages";

/// How soon the pages of other servers show what one wrote. Some milliseconds are usual; a busy machine may take long to run
/// a process that has something to say.
const SOON: Duration = Duration::from_secs(1);

/// The texts on the newest page.
async fn texts(client: &Client) -> Vec<String> {
    let page = client.get(PAGE).await.unwrap().json();
    page["messages"].as_array().unwrap().iter().map(|m| m["body"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_server_writes_the_others_show() {
    for l1 in ["pubsub", "tracking", "off"] {
        for peer in peers() {
            let Some(fleet) = Fleet::start(peer, &["--l1", l1, "--poll-ms", "60000"]).await else { continue };
            let ann = fleet.everywhere("Ann").await;
            let mut sockets = Vec::new();
            for client in &ann {
                texts(client).await;
                texts(client).await;
                sockets.push(Socket::open(client, "/ws/general").await);
            }
            let posted = ann[0].post(PAGE, &json!({ "body": "first" })).await.unwrap().json();
            for (client, socket) in ann.iter().zip(&mut sockets) {
                socket.hears("first").await;
                let shows = async || texts(client).await.last().is_some_and(|text| text == "first");
                within(SOON, "the page shows it", shows).await;
            }
            let url = format!("/api/messages/{}", posted["id"].as_str().unwrap());
            let edited =
                ann[1].send(Method::PUT, &url, &[], json!({ "body": "second" }).to_string().into()).await.unwrap();
            assert_eq!(edited.status.as_u16(), 200, "{}", edited.text());
            for (client, socket) in ann.iter().zip(&mut sockets) {
                socket.hears("second").await;
                let shows = async || texts(client).await.last().is_some_and(|text| text == "second");
                within(SOON, "the page shows the edit", shows).await;
            }
            let deleted = ann[2].send(Method::DELETE, &url, &[], "".into()).await.unwrap();
            assert_eq!(deleted.json()["deleted"], true);
            for client in &ann {
                let shows = async || !texts(client).await.contains(&"second".to_owned());
                within(SOON, "the page shows that it is gone", shows).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reactions_are_live_and_found_by_those_who_were_not_told() {
    let Some(mut fleet) = Fleet::start(first(), &["--cache-timeout-ms", "50"]).await else { return };
    let ann = fleet.everywhere("Ann").await;
    let posted = ann[0].post(PAGE, &json!({ "body": "like this" })).await.unwrap().json();
    let url = format!("/api/messages/{}/reactions", posted["id"].as_str().unwrap());
    let mut socket = Socket::open(&ann[2], "/ws/general").await;
    let reacts = async |emoji: &str| {
        let answer = ann[1].post(&url, &json!({ "emoji": emoji })).await.unwrap();
        assert_eq!(answer.status.as_u16(), 204, "{}", answer.text());
    };
    let mut counts = async || loop {
        let heard = socket.hears("like this").await;
        if let Some(reactions) = heard["reactions"].as_array() {
            return reactions.iter().map(|one| one["count"].as_i64().unwrap()).collect::<Vec<_>>();
        }
    };
    reacts("👍").await;
    assert_eq!(counts().await, [1]);
    fleet.cache.kill();
    reacts("🎉").await;
    assert_eq!(counts().await, [1, 1], "without a cache");
    let after = posted["changed"].as_str().unwrap();
    let mut socket = Socket::open(&ann[0], &format!("/ws/general?after={after}")).await;
    assert_eq!(
        socket.hears("like this").await["reactions"].as_array().map(Vec::len),
        Some(2),
        "and when one comes back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_session_hears_nothing_more() {
    let Some(fleet) = Fleet::start(first(), &[]).await else { return };
    let ann = fleet.everywhere("Ann").await;
    let mut socket = Socket::open(&ann[0], "/ws/general").await;
    let away = ann[1].send(Method::POST, "/api/sign-out-everywhere", &[], "".into()).await.unwrap();
    assert_eq!(away.status.as_u16(), 204);
    let ended = tokio::time::timeout(Duration::from_secs(2), socket.next()).await;
    assert_eq!(ended, Ok(None), "its connection to another server ends at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_that_do_not_exist_leave_nothing_for_long() {
    let Some(fleet) = Fleet::start(first(), &["--l1", "off"]).await else { return };
    let ann = fleet.apps[0].user("Ann").await;
    ann.get("/api/rooms/not-there/messages").await.unwrap();
    ann.get(PAGE).await.unwrap();
    let life = |room: &str| -> i64 {
        let life = fleet.cache.ask(&["TTL", &format!("version:room:{room}")]);
        life.trim_start_matches(':').trim_end().parse().unwrap()
    };
    assert!((0..=10).contains(&life("not-there")), "{}", life("not-there"));
    assert!(life("general") > 3_600, "{}", life("general"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_authors_change_their_messages() {
    let Some(fleet) = Fleet::start(first(), &[]).await else { return };
    let (ann, bob) = (fleet.apps[0].user("Ann").await, fleet.apps[1].user("Bob").await);
    let posted = ann.post(PAGE, &json!({ "body": "mine" })).await.unwrap().json();
    let url = format!("/api/messages/{}", posted["id"].as_str().unwrap());
    let edit = bob.send(Method::PUT, &url, &[], json!({ "body": "ours" }).to_string().into()).await.unwrap();
    assert_eq!(edit.status.as_u16(), 403);
    assert_eq!(bob.send(Method::DELETE, &url, &[], "".into()).await.unwrap().status.as_u16(), 403);
    assert_eq!(texts(&bob).await.last().unwrap(), "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_comes_back_misses_nothing() {
    let Some(fleet) = Fleet::start(first(), &["--limit", "1000"]).await else { return };
    let ann = fleet.everywhere("Ann").await;
    let mut socket = Socket::open(&ann[0], "/ws/general").await;
    ann[1].post(PAGE, &json!({ "body": "before" })).await.unwrap();
    let last = socket.hears("before").await["changed"].as_str().unwrap().to_owned();
    drop(socket);
    for number in 0..20 {
        ann[number % 3].post(PAGE, &json!({ "body": format!("meanwhile {number}") })).await.unwrap();
    }
    let mut socket = Socket::open(&ann[2], &format!("/ws/general?after={last}")).await;
    // Two that were said within a millisecond on different servers may stand in either order.
    let mut missing: HashSet<String> = (0..20).map(|number| format!("meanwhile {number}")).collect();
    while !missing.is_empty() {
        missing.remove(socket.next().await.unwrap()["message"]["body"].as_str().unwrap());
    }
    ann[0].post(PAGE, &json!({ "body": "and live again" })).await.unwrap();
    socket.hears("and live again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_rooms_are_remembered_until_they_are_made() {
    let Some(fleet) = Fleet::start(first(), &["--l1", "off"]).await else { return };
    let ann = fleet.everywhere("Ann").await;
    let unknown = "/api/rooms/not-there/messages";
    for client in &ann {
        assert_eq!(client.get(unknown).await.unwrap().status.as_u16(), 404);
    }
    assert_eq!(fleet.metric("chat_database_reads_total").await, 1.0, "one look into the database for all");
    let made = ann[0].post("/api/rooms", &json!({ "name": "not-there", "title": "Now it is" })).await.unwrap();
    assert_eq!(made.status.as_u16(), 201, "{}", made.text());
    for client in &ann {
        let page = client.get(unknown).await.unwrap();
        assert_eq!((page.status.as_u16(), page.json()["messages"].as_array().map(Vec::len)), (200, Some(0)));
    }
    let reads = fleet.metric("chat_database_reads_total").await;
    for client in &ann {
        assert_eq!(client.get(unknown).await.unwrap().header("x-cache"), "l2", "an empty page is a hit");
    }
    assert_eq!(fleet.metric("chat_database_reads_total").await, reads);
    let posted = ann[1].post(unknown, &json!({ "body": "the first" })).await.unwrap();
    assert_eq!(posted.status.as_u16(), 201, "{}", posted.text());
    for client in &ann {
        assert_eq!(client.get(unknown).await.unwrap().json()["messages"][0]["body"], "the first");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_rooms_begins_with_those_in_which_something_happened_last() {
    let Some(fleet) = Fleet::start(first(), &[]).await else { return };
    let ann = fleet.everywhere("Ann").await;
    ann[0].post("/api/rooms/room-299/messages", &json!({ "body": "is anybody here?" })).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let made = ann[1].post("/api/rooms", &json!({ "name": "ours", "title": "Made by a user" })).await.unwrap();
    assert_eq!(made.status.as_u16(), 201, "{}", made.text());
    for client in &ann {
        let newest = async || {
            let list = client.get("/api/rooms").await.unwrap().json();
            let rooms = &list["rooms"];
            (rooms[0]["id"] == "ours", rooms[1]["id"] == "room-299", rooms.as_array().map(Vec::len))
        };
        let is_there = async || newest().await == (true, true, Some(100));
        within(Duration::from_millis(500), "the room is listed, and the one where somebody spoke", is_there).await;
    }
    // Of three hundred rooms most are on later pages; their names lead to them.
    let there = ann[0].get("/rooms?room=room-250").await.unwrap();
    assert_eq!((there.status.as_u16(), there.header("location")), (303, "/rooms/room-250"));
    assert_eq!(ann[0].get("/rooms?room=No%2A").await.unwrap().status.as_u16(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_the_list_of_rooms_follows_what_is_said_at_little_cost() {
    for strategy in ["cache-aside", "write-through", "write-behind"] {
        let options = ["--strategy", strategy, "--room-order-ms", "500", "--limit", "1000"];
        let Some(fleet) = Fleet::start(first(), &options).await else { return };
        let ann = fleet.everywhere("Ann").await;
        let first_room = async |client: &Client| {
            client.get("/api/rooms").await.unwrap().json()["rooms"][0]["id"].as_str().unwrap().to_owned()
        };
        for (number, room) in ["room-280", "room-281", "room-282"].into_iter().enumerate() {
            for client in &ann {
                assert_ne!(first_room(client).await, room, "the list is cached everywhere");
            }
            let path = format!("/api/rooms/{room}/messages");
            ann[number].post(&path, &json!({ "body": "over here" })).await.unwrap();
            for client in &ann {
                let is_first = async || first_room(client).await == room;
                within(Duration::from_millis(1_500), "the room stands first", is_first).await;
            }
        }
        // However much is said, the list is read from the database but now and then: by whoever takes messages twice a second,
        // and once a second by each that finds in the database what it was not told.
        let start = Instant::now();
        let (mut read, mut said) = (0, 0);
        while start.elapsed() < Duration::from_secs(2) || said < 30 {
            ann[0].post("/api/rooms/room-283/messages", &json!({ "body": "and on" })).await.unwrap();
            said += 1;
            read += u128::from(ann[0].get("/api/rooms").await.unwrap().header("x-cache") == "database");
        }
        let took = start.elapsed();
        let most = took.as_millis() / 500 + 3 * took.as_millis() / 1_000 + 4;
        assert!(read <= most, "{strategy}: {read} reads and {said} messages in {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_rooms_goes_on_until_the_last() {
    for peer in peers() {
        let Some(fleet) = Fleet::start(peer, &["--l1", "off"]).await else { continue };
        let ann = fleet.everywhere("Ann").await;
        let (mut path, mut seen, mut pages) = ("/api/rooms".to_owned(), HashSet::new(), 0);
        loop {
            let list = ann[pages % 3].get(&path).await.unwrap().json();
            for room in list["rooms"].as_array().unwrap() {
                assert!(seen.insert(room["id"].as_str().unwrap().to_owned()), "{room} stands there twice");
            }
            pages += 1;
            let Some(next) = list["next"].as_str() else { break };
            path = format!("/api/rooms?after={next}");
            // What is said meanwhile moves rooms to the head, and shows none of them again.
            let spoken = format!("/api/rooms/{}/messages", seen.iter().next().unwrap());
            ann[0].post(&spoken, &json!({ "body": "meanwhile" })).await.unwrap();
        }
        assert_eq!((seen.len(), pages), (300, 3), "all that were seeded");
        assert_eq!(ann[1].get(&path).await.unwrap().header("x-cache"), "l2", "each page has its key");
        let key = format!("rooms:list:{}", path.rsplit_once('=').unwrap().1);
        assert_eq!(fleet.cache.ask(&["EXISTS", &key]), ":1\r\n", "{key}");
        // People follow links, and the last page leads back.
        let mut page = ann[2].get("/rooms").await.unwrap().text();
        for _ in 1..pages {
            let next = page.split("rel=\"next\" href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
            page = ann[2].get(&next).await.unwrap().text();
            assert!(page.contains("The first rooms"));
        }
        assert!(!page.contains("More rooms"));
        // A new room makes all pages stale.
        let made = ann[0].post("/api/rooms", &json!({ "name": "one-more", "title": "New" })).await.unwrap();
        assert_eq!(made.status.as_u16(), 201, "{}", made.text());
        assert_eq!(ann[1].get(&path).await.unwrap().header("x-cache"), "database");
        for bad in ["nonsense", "1.No", "01.general", "1.general%3A"] {
            let answer = ann[0].get(&format!("/api/rooms?after={bad}")).await.unwrap();
            assert_eq!(answer.status.as_u16(), 400, "{bad}");
        }
    }
}
