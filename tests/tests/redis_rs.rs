//! A stock client library, the crate `redis`, used as an application uses it.

use larder_tests::{ServerProcess, TestServer};
use redis::{AsyncTypedCommands, ErrorKind, TypedCommands, Value};
use std::collections::BTreeMap;
use std::time::Duration;

fn client(server: &ServerProcess, parameters: &str) -> redis::Client {
    redis::Client::open(format!("redis://127.0.0.1:{}/{parameters}", server.port())).unwrap()
}

#[test]
fn strings_and_counters() {
    let server = TestServer::start();
    let mut connection = client(&server, "").get_connection().unwrap();
    connection.set("k", "v").unwrap();
    assert_eq!(connection.get("k").unwrap().as_deref(), Some("v"));
    assert_eq!(connection.get("nothing").unwrap(), None);
    assert_eq!(connection.incr("n", 41).unwrap(), 41);
    assert_eq!(connection.incr("n", 1).unwrap(), 42);
    connection.mset(&[("a", 1), ("b", 2)]).unwrap();
    assert_eq!(connection.mget(&["a", "nothing", "b"]).unwrap(), [Some("1".into()), None, Some("2".into())]);
    connection.set_ex("e", "v", 100).unwrap();
    assert!(matches!(connection.ttl("e").unwrap(), redis::IntegerReplyOrNoOp::IntegerReply(99..=100)));
    assert_eq!(connection.del(&["a", "b", "nothing"]).unwrap(), 2);
    let scanned: std::collections::BTreeSet<String> = connection.scan().unwrap().map(Result::unwrap).collect();
    assert_eq!(scanned.into_iter().collect::<Vec<_>>(), ["e", "k", "n"]);
}

#[test]
fn sorted_sets() {
    for protocol in ["", "?protocol=resp3"] {
        let server = TestServer::start();
        let mut connection = client(&server, protocol).get_connection().unwrap();
        connection.zadd_multiple("z", &[(1.5, "a"), (2.5, "b"), (f64::INFINITY, "c")]).unwrap();
        assert_eq!(connection.zscore("z", "b").unwrap(), Some(2.5));
        assert_eq!(connection.zrank("z", "c").unwrap(), Some(2));
        let all = connection.zrange_withscores("z", 0, -1).unwrap();
        assert_eq!(all, [("a".to_string(), 1.5), ("b".to_string(), 2.5), ("c".to_string(), f64::INFINITY)]);
        assert_eq!(connection.zrangebyscore("z", "(1.5", "+inf").unwrap(), ["b", "c"]);
    }
}

#[test]
fn pipelines_and_transactions() {
    let server = TestServer::start();
    let mut connection = client(&server, "").get_connection().unwrap();
    let (first, second): (i64, i64) =
        redis::pipe().cmd("SET").arg("n").arg(1).ignore().incr("n", 1).incr("n", 1).query(&mut connection).unwrap();
    assert_eq!((first, second), (2, 3));
    let (value,): (i64,) = redis::pipe().atomic().set("n", 10).ignore().incr("n", 5).query(&mut connection).unwrap();
    assert_eq!(value, 15);
    let doubled: (i64,) = redis::transaction(&mut connection, &["n"], |connection, pipe| {
        let value = connection.get("n")?.unwrap().parse::<i64>().unwrap();
        pipe.set("n", value * 2).ignore().cmd("INCRBY").arg("n").arg(0).query(connection)
    })
    .unwrap();
    assert_eq!(doubled, (30,));
    let numbers: Vec<i64> =
        (0..1000).fold(&mut redis::pipe(), |pipe, _| pipe.incr("many", 1)).query(&mut connection).unwrap();
    assert_eq!(numbers, (1..=1000).collect::<Vec<_>>());
}

#[test]
fn errors_have_their_kinds() {
    let server = TestServer::with(&["--requirepass", "secret"]);
    assert!(client(&server, "").get_connection().unwrap().set("k", "v").is_err());
    let wrong = redis::Client::open(format!("redis://:wrong@127.0.0.1:{}/", server.port())).unwrap();
    assert_eq!(wrong.get_connection().err().unwrap().kind(), ErrorKind::AuthenticationFailed);
    let right = redis::Client::open(format!("redis://default:secret@127.0.0.1:{}/2", server.port())).unwrap();
    let mut connection = right.get_connection().unwrap();
    connection.set("k", "v").unwrap();
    let error = redis::cmd("ZCARD").arg("k").query::<i64>(&mut connection).unwrap_err();
    assert_eq!(error.code(), Some("WRONGTYPE"));
    let error = redis::cmd("NOSUCH").query::<i64>(&mut connection).unwrap_err();
    assert_eq!(error.detail(), Some("unknown command 'NOSUCH', with args beginning with: "));
}

#[test]
fn maps_and_doubles_in_resp3() {
    let server = TestServer::start();
    let mut connection = client(&server, "?protocol=resp3").get_connection().unwrap();
    let hello: Value = redis::cmd("HELLO").query(&mut connection).unwrap();
    assert!(matches!(hello, Value::Map(_)), "{hello:?}");
    let settings: BTreeMap<String, String> =
        redis::cmd("CONFIG").arg("GET").arg("zset-max-listpack-*").query(&mut connection).unwrap();
    assert_eq!(settings["zset-max-listpack-entries"], "128");
    let score: Value = redis::cmd("ZADD").arg("z").arg("INCR").arg(1.25).arg("m").query(&mut connection).unwrap();
    assert_eq!(score, Value::Double(1.25));
    let nothing: Value = redis::cmd("GET").arg("nothing").query(&mut connection).unwrap();
    assert_eq!(nothing, Value::Nil);
}

#[test]
fn publish_and_subscribe() {
    let server = TestServer::start();
    let mut subscriber = client(&server, "").get_connection().unwrap();
    let mut publisher = client(&server, "").get_connection().unwrap();
    subscriber.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut channel = subscriber.as_pubsub();
    channel.subscribe("news").unwrap();
    channel.psubscribe("n*s").unwrap();
    assert_eq!(publisher.publish("news", "hello").unwrap(), 2);
    let mut patterns = Vec::new();
    for _ in 0..2 {
        let message = channel.get_message().unwrap();
        assert_eq!((message.get_channel_name(), message.get_payload::<String>().unwrap().as_str()), ("news", "hello"));
        patterns.push(message.from_pattern());
    }
    patterns.sort_unstable();
    assert_eq!(patterns, [false, true]);
    channel.unsubscribe("news").unwrap();
    channel.punsubscribe("n*s").unwrap();
    drop(channel);
    subscriber.set("k", "v").unwrap();
}

#[tokio::test]
async fn multiplexed_connection() {
    let server = TestServer::start();
    let connection = client(&server, "").get_multiplexed_async_connection().await.unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let mut connection = connection.clone();
            tokio::spawn(async move {
                connection.set(format!("k{number}"), number).await.unwrap();
                connection.incr("sum", number).await.unwrap();
                connection.get(format!("k{number}")).await.unwrap()
            })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap(), Some(number.to_string()));
    }
    server.client().check("GET sum", "$4\r\n1225\r\n");
}

#[tokio::test]
async fn pushes_arrive_beside_replies_in_resp3() {
    let server = TestServer::start();
    let (sender, mut pushes) = tokio::sync::mpsc::unbounded_channel();
    let config = redis::AsyncConnectionConfig::new().set_push_sender(sender);
    let client = client(&server, "?protocol=resp3");
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    connection.subscribe("news").await.unwrap();
    connection.set("k", "v").await.unwrap();
    assert_eq!(connection.publish("news", "hello").await.unwrap(), 1);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let push = tokio::time::timeout(Duration::from_secs(10), pushes.recv()).await.unwrap().unwrap();
        seen.push(push.kind);
    }
    assert_eq!(seen, [redis::PushKind::Subscribe, redis::PushKind::Message]);
}

#[tokio::test]
async fn connection_manager_reconnects() {
    let server = TestServer::start();
    let mut manager = client(&server, "").get_connection_manager().await.unwrap();
    manager.set("k", "v").await.unwrap();
    server.client().check("CLIENT KILL TYPE normal", ":1\r\n");
    let mut value = manager.get("k").await;
    for _ in 0..50 {
        if value.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        value = manager.get("k").await;
    }
    assert_eq!(value.unwrap().as_deref(), Some("v"));
}
