//! What nobody should send: a clear error, and nothing is stored.

use axum::body::Bytes;
use axum::http::Method;
use chat_app::client::Client;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::fleet::{Single, Socket};
use crate::servers::{Peer, peers};

const PAGE: &str = "/api/rooms/general/messages";

async fn start(peer: Peer) -> Option<Single> {
    Single::start(peer, &["--seed", "500", "--limit", "1000"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_clear_errors_and_store_nothing() {
    for peer in peers() {
        let Some(single) = start(peer).await else { continue };
        let app = &single.app;
        let ann = app.user("Ann").await;
        let before = ann.get(PAGE).await.unwrap().body;
        let large = json!({ "body": "x".repeat(1 << 20) }).to_string();
        let long = json!({ "body": "x".repeat(5_000) }).to_string();
        for (body, status) in [
            (Bytes::from(large), 413),
            (Bytes::from(long), 413),
            (Bytes::from_static(b"{\"body\":\"\xff\xfe\"}"), 400),
            (Bytes::from_static(b"{\"body\":\"  \"}"), 400),
            (Bytes::from_static(b"{\"body\":\"a\\u0000b\"}"), 400),
            (Bytes::from_static(b"{\"body\":\"\\u200b\\u2060\"}"), 400),
            (Bytes::from_static(b"{\"body\":7}"), 400),
            (Bytes::from_static(b"{"), 400),
            (Bytes::new(), 400),
        ] {
            let answer = ann.send(Method::POST, PAGE, &[], body).await.unwrap();
            assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
            assert!(!answer.json()["error"].as_str().unwrap().is_empty());
        }
        let form = [("content-type", "application/x-www-form-urlencoded")];
        for body in [&b"body=%FF%FE"[..], b"body=\xff", b"body=%E2%82", b"%FF=1&body=a"] {
            let answer = ann.send(Method::POST, "/rooms/general/messages", &form, body.into()).await.unwrap();
            assert_eq!(answer.status.as_u16(), 400, "{}", String::from_utf8_lossy(body));
        }
        for (path, status) in [
            ("/api/rooms/nowhere/messages", 404),
            ("/api/rooms/General/messages", 400),
            ("/api/rooms/a%3Ab/messages", 400),
            ("/api/rooms/%2A/messages", 400),
            ("/api/rooms/%FF/messages", 400),
            ("/api/rooms/general/messages?limit=-1", 400),
            ("/api/rooms/general/messages?limit=0", 400),
            ("/api/rooms/general/messages?limit=101", 400),
            ("/api/rooms/general/messages?limit=99999999999999999999", 400),
            ("/api/rooms/general/messages?limit=ten", 400),
            ("/api/rooms/general/messages?before=-5", 400),
            ("/api/rooms/general/messages?before=x", 400),
            ("/api/messages/0", 405),
            ("/rooms/nowhere", 404),
            ("/nowhere", 404),
            ("/assets/..%2FCargo.toml", 404),
        ] {
            let answer = ann.get(path).await.unwrap();
            assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        }
        let nowhere = ann.post("/api/rooms/nowhere/messages", &json!({ "body": "hello" })).await.unwrap();
        assert_eq!(nowhere.status.as_u16(), 404);
        assert_eq!(ann.get(PAGE).await.unwrap().body, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn markup_is_text() {
    for peer in peers() {
        let Some(single) = start(peer).await else { continue };
        let app = &single.app;
        let script = "<script>alert(1)</script>";
        let eve = app.user("<img src=x onerror=1>").await;
        eve.post(PAGE, &json!({ "body": script })).await.unwrap();
        let page = eve.get("/rooms/general").await.unwrap();
        assert!(!page.text().contains(script) && page.text().contains("&lt;script&gt;alert(1)"));
        assert!(!page.text().contains("<img") && page.text().contains("&lt;img src=x"));
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"));
        assert!(!policy.contains("unsafe"));
        for inline in [" onclick=", " style=", "<style", "javascript:"] {
            assert!(!page.text().contains(inline), "{inline}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_revoked_sessions_are_none() {
    for peer in peers() {
        let Some(single) = start(peer).await else { continue };
        let app = &single.app;
        let ann = app.user("Ann").await;
        assert_eq!(ann.get(PAGE).await.unwrap().status.as_u16(), 200);
        let cookie = ann.cookie();
        let (text, mark) = cookie.split_once('.').unwrap();
        let changed = if mark.starts_with('0') { "1" } else { "0" };
        for forged in [
            String::new(),
            "chat_session=".into(),
            format!("{text}."),
            format!("{text}.{changed}{}", &mark[1..]),
            format!("{}00.{mark}", &text[..text.len() - 2]),
            format!("{text}.{mark}00"),
            format!("chat_session={}.{}", "00".repeat(5_000), "00".repeat(32)),
            "chat_session=zz.zz".into(),
        ] {
            let answer = Client::with_cookie(&app.host(), &forged).get(PAGE).await.unwrap();
            assert_eq!(answer.status.as_u16(), 401, "{forged}");
            let forged = Client::with_cookie(&app.host(), &forged);
            assert!(Socket::try_open(&forged, "/ws/general", &format!("http://{}", app.host())).await.is_err());
        }
        let second = app.user("Ann").await;
        assert_eq!(second.send(Method::POST, "/sign-out", &[], "".into()).await.unwrap().status.as_u16(), 303);
        let ended = Client::with_cookie(&app.host(), &cookie);
        assert_eq!(ended.get(PAGE).await.unwrap().status.as_u16(), 200, "another session goes on");
        ann.send(Method::POST, "/api/sign-out-everywhere", &[], "".into()).await.unwrap();
        assert_eq!(Client::with_cookie(&app.host(), &cookie).get(PAGE).await.unwrap().status.as_u16(), 401);
        assert!(Socket::try_open(&ended, "/ws/general", &format!("http://{}", app.host())).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_are_refused() {
    for peer in peers() {
        let Some(single) = start(peer).await else { continue };
        let app = &single.app;
        let ann = app.user("Ann").await;
        let body = || json!({ "body": "from elsewhere" }).to_string().into();
        for headers in [
            [("origin", "http://evil.example"), ("x", "x")],
            [("origin", "null"), ("x", "x")],
            [("sec-fetch-site", "cross-site"), ("x", "x")],
        ] {
            let answer = ann.send(Method::POST, PAGE, &headers, body()).await.unwrap();
            assert_eq!(answer.status.as_u16(), 403, "{headers:?}");
        }
        let origin = format!("http://{}", app.host());
        assert!(Socket::try_open(&ann, "/ws/general", "http://evil.example").await.is_err());
        assert!(Socket::try_open(&ann, "/ws/general", "null").await.is_err());
        assert!(Socket::try_open(&Client::new(&app.host()), "/ws/general", &origin).await.is_err(), "nobody signed in");
        assert!(Socket::try_open(&ann, "/ws/general", &origin).await.is_ok());
        assert!(!ann.get(PAGE).await.unwrap().text().contains("from elsewhere"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_answer_bad_input_and_go_on() {
    for peer in peers() {
        let Some(single) = start(peer).await else { continue };
        let app = &single.app;
        let ann = app.user("Ann").await;
        assert!(Socket::try_open(&ann, "/ws/nowhere", &format!("http://{}", app.host())).await.is_err());
        let mut socket = Socket::open(&ann, "/ws/general").await;
        let before = ann.get(PAGE).await.unwrap().text();
        let large = json!({ "body": "x".repeat(1 << 20) }).to_string();
        for frame in [
            Frame::Text(large.into()),
            Frame::Text("not json".into()),
            Frame::Text("{\"body\":\"\"}".into()),
            Frame::Text(json!({ "body": "x".repeat(4_001) }).to_string().into()),
            Frame::Binary(vec![0xff, 0xfe].into()),
        ] {
            socket.send(frame).await;
            let said = socket.next().await.unwrap();
            assert_eq!(said["type"], "error", "{said}");
        }
        assert_eq!(ann.get(PAGE).await.unwrap().text(), before, "nothing of it is stored");
        // What is sent with a tag is answered with it.
        for (body, kind) in [("", "error"), ("taken", "taken")] {
            socket.send(Frame::Text(json!({ "body": body, "tag": 7 }).to_string().into())).await;
            let said = loop {
                let said = socket.next().await.unwrap();
                if said["type"] != "message" {
                    break said;
                }
            };
            assert_eq!((&said["type"], &said["tag"]), (&json!(kind), &json!(7)), "{said}");
        }
        socket.say("still here").await;
        socket.hears("still here").await;
        let mut broken = Socket::open(&ann, "/ws/general").await;
        broken.send_raw_text(b"\xff\xfe").await;
        assert!(broken.next().await.is_none(), "a text that is not valid UTF-8 ends the connection");
        socket.say("the others stay").await;
        socket.hears("the others stay").await;
    }
}
