//! Limits over three servers, with 64 clients at once.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use chat_app::client::{Answer, Client};
use chat_app::ids;
use futures_util::future::join_all;
use serde_json::json;

use crate::fleet::Fleet;
use crate::servers::{first, peers};

const PAGE: &str = "/api/rooms/general/messages";
const WINDOW_MS: i64 = 2_000;

/// 64 connections of one user to three servers.
async fn clients(fleet: &Fleet) -> Vec<Client> {
    let ann = fleet.everywhere("Ann").await;
    let clients: Vec<Client> =
        (0..64).map(|number| Client::with_cookie(ann[number % 3].host(), &ann[0].cookie())).collect();
    join_all(clients.iter().map(|client| client.get("/api/rooms/general/messages"))).await;
    clients
}

/// All say something at once; the times of the messages that were accepted.
async fn burst(clients: &[Client]) -> Vec<i64> {
    let body = json!({ "body": "burst" });
    let answers = join_all(clients.iter().map(|client| client.post(PAGE, &body))).await;
    answers.into_iter().filter_map(|answer| accepted(&answer.unwrap())).collect()
}

fn accepted(answer: &Answer) -> Option<i64> {
    match answer.status {
        StatusCode::CREATED => Some(ids::time_of(answer.json()["id"].as_str().unwrap().parse().unwrap())),
        StatusCode::TOO_MANY_REQUESTS => {
            let retry: i64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=WINDOW_MS / 1_000).contains(&retry), "{retry}");
            assert_eq!((answer.header("ratelimit-limit"), answer.header("ratelimit-remaining")), ("10", "0"));
            None
        }
        status => panic!("{status}: {}", answer.text()),
    }
}

fn now_ms() -> i64 {
    chat_app::clock::Clock::system().now_ms()
}

#[tokio::test(flavor = "multi_thread")]
async fn fixed_windows_let_twice_the_limit_through_at_their_border() {
    for peer in peers() {
        let options = ["--limiter", "fixed", "--limit", "10", "--limit-window-ms", "2000"];
        let Some(fleet) = Fleet::start(peer, &options).await else { continue };
        let clients = clients(&fleet).await;
        // Shortly before the border of two windows, then shortly after it.
        let to_border = WINDOW_MS - now_ms().rem_euclid(WINDOW_MS);
        let wait = if to_border > 900 { to_border - 800 } else { to_border + WINDOW_MS - 800 };
        tokio::time::sleep(Duration::from_millis(wait as u64)).await;
        let before = burst(&clients).await;
        let to_border = WINDOW_MS - now_ms().rem_euclid(WINDOW_MS);
        tokio::time::sleep(Duration::from_millis(to_border as u64 + 50)).await;
        let after = burst(&clients).await;
        assert_eq!((before.len(), after.len()), (10, 10), "{peer:?}");
        let all: Vec<i64> = before.iter().chain(&after).copied().collect();
        let span = all.iter().max().unwrap() - all.iter().min().unwrap();
        assert!(span < 2_000, "twenty within {span} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sliding_window_never_lets_more_than_the_limit_through() {
    for peer in peers() {
        let options = ["--limiter", "sliding", "--limit", "10", "--limit-window-ms", "2000"];
        let Some(fleet) = Fleet::start(peer, &options).await else { continue };
        let clients = clients(&fleet).await;
        let (mut times, start) = (burst(&clients).await, now_ms());
        assert_eq!(times.len(), 10, "{peer:?}: the first burst");
        while now_ms() - start < 3 * WINDOW_MS {
            tokio::time::sleep(Duration::from_millis(100)).await;
            times.extend(burst(&clients).await);
        }
        times.sort_unstable();
        // A message gets its id a moment after it was counted.
        let most =
            times.iter().map(|from| times.iter().filter(|at| (*from..from + WINDOW_MS - 150).contains(at)).count());
        assert_eq!(most.max(), Some(10), "{peer:?}: {times:?}");
        assert!(times.len() >= 20, "refused requests do not count: {times:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_told() {
    for limiter in ["fixed", "sliding"] {
        let options = ["--limiter", limiter, "--limit", "3"];
        let Some(fleet) = Fleet::start(first(), &options).await else { continue };
        let (ann, bob) = (fleet.apps[0].user("Ann").await, fleet.apps[0].user("Bob").await);
        for left in ["2", "1", "0"] {
            let answer = ann.post(PAGE, &json!({ "body": "counted" })).await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.header("ratelimit-remaining")), (201, left), "{limiter}");
        }
        let refused = ann.post(PAGE, &json!({ "body": "one too many" })).await.unwrap();
        assert_eq!(refused.status.as_u16(), 429);
        assert!(refused.json()["error"].as_str().unwrap().contains("try again in"));
        assert_eq!(bob.post(PAGE, &json!({ "body": "another user" })).await.unwrap().status.as_u16(), 201);
        assert_eq!(fleet.metric("chat_limited_total").await, 1.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_and_every_sign_in_is_counted() {
    for limiter in ["fixed", "sliding"] {
        let options = ["--limiter", limiter, "--limit", "3", "--write-limit", "7", "--sign-in-limit", "2"];
        let Some(fleet) = Fleet::start(first(), &options).await else { continue };
        let (ann, _) = (fleet.apps[0].user("Ann").await, fleet.apps[1].user("Bob").await);
        let third = Client::new(&fleet.apps[2].host()).post("/api/sign-in", &json!({ "name": "Cleo" })).await.unwrap();
        assert_eq!(third.status.as_u16(), 429, "{limiter}: {}", third.text());
        let id_of = |answer: Answer| answer.json()["id"].as_str().unwrap().to_owned();
        let message = id_of(ann.post(PAGE, &json!({ "body": "counted apart" })).await.unwrap());
        let post = id_of(ann.post("/api/posts", &json!({ "body": "this one, too" })).await.unwrap());
        let url = format!("/api/messages/{message}");
        let changes = [
            (Method::PUT, url.clone(), json!({ "body": "edited" })),
            (Method::POST, format!("{url}/reactions"), json!({ "emoji": "👍" })),
            (Method::DELETE, url, json!({})),
            (Method::POST, format!("/api/posts/{post}/likes"), json!({})),
            (Method::DELETE, format!("/api/posts/{post}"), json!({})),
            (Method::PUT, "/api/follows/7".to_owned(), json!({})),
            (Method::POST, "/api/rooms".to_owned(), json!({ "name": "counted", "title": "Counted" })),
        ];
        for (method, path, body) in &changes {
            let answer = ann.send(method.clone(), path, &[], body.to_string().into()).await.unwrap();
            assert!(answer.status.is_success(), "{limiter}: {path}: {}", answer.text());
        }
        for (method, path, body) in &changes {
            let answer = ann.send(method.clone(), path, &[], body.to_string().into()).await.unwrap();
            assert_eq!(answer.status.as_u16(), 429, "{limiter}: {path}: {}", answer.text());
        }
        assert_eq!(ann.post(PAGE, &json!({ "body": "still free" })).await.unwrap().status.as_u16(), 201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_state_server_the_limiter_fails_as_it_was_told() {
    for (down, status) in [("open", 201), ("closed", 503)] {
        let Some(mut fleet) = Fleet::start(first(), &["--limiter-down", down]).await else { continue };
        let ann = fleet.apps[0].user("Ann").await;
        fleet.stop_state();
        let answer = ann.post(PAGE, &json!({ "body": "uncounted" })).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{down}");
    }
}
