//! A stock client library, the crate `rustis`, used as an application uses it (it speaks RESP3); the same against a
//! real redis-server, which proves the tests.

use futures_util::StreamExt;
use larder_tests::{Redis, ServerProcess, TestServer};
use rustis::client::{BatchPreparedCommand, Client, IntoConfig, PooledClientManager};
use rustis::commands::*;
use rustis::resp::{Value, cmd};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn servers() -> impl Iterator<Item = ServerProcess> {
    [Some(TestServer::start()), Redis::start()].into_iter().flatten()
}

async fn connect(server: &ServerProcess) -> Client {
    Client::connect(address(server, "")).await.unwrap()
}

fn address(server: &ServerProcess, user: &str) -> String {
    format!("redis://{user}127.0.0.1:{}", server.port())
}

/// Waits until a client of the server waits for a key.
async fn one_waits(client: &Client) {
    for _ in 0..2000 {
        let text: String = client.send(cmd("INFO").arg("clients"), None).await.unwrap();
        if text.contains("blocked_clients:1\r\n") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody waits");
}

#[tokio::test]
async fn strings_and_scans() {
    for server in servers() {
        let client = connect(&server).await;
        client.set("k", "v").await.unwrap();
        assert_eq!(client.get::<Option<String>>("k").await.unwrap().as_deref(), Some("v"));
        assert_eq!(client.get::<Option<String>>("nothing").await.unwrap(), None);
        assert!(!client.set_with_options("k", "w", SetCondition::NX, SetExpiration::Ex(100)).await.unwrap());
        client.mset([("a", "1"), ("b", "2")]).await.unwrap();
        assert_eq!(client.mget::<Vec<String>>(["a", "b"]).await.unwrap(), ["1", "2"]);
        assert_eq!(client.incrby("n", 42).await.unwrap(), 42);
        assert!(client.expire("k", 100, None).await.unwrap());
        assert!((99..=100).contains(&client.ttl("k").await.unwrap()));
        let (mut cursor, mut found) = (0, BTreeSet::new());
        loop {
            let (next, keys): (u64, Vec<String>) = client.scan(cursor, ScanOptions::default()).await.unwrap();
            found.extend(keys);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "b", "k", "n"]);
        let error = client.lpush("k", "x").await.unwrap_err().to_string();
        assert!(error.contains("wrong kind of value"), "{error}");
    }
}

#[tokio::test]
async fn hashes_and_their_fields_expiry() {
    for server in servers() {
        let client = connect(&server).await;
        assert_eq!(client.hset("h", [("a", "1"), ("b", "two")]).await.unwrap(), 2);
        let all: BTreeMap<String, String> = client.hgetall("h").await.unwrap();
        assert_eq!((all.len(), all["b"].as_str()), (2, "two"));
        assert_eq!(client.hincrby("h", "a", 5).await.unwrap(), 6);
        let scanned = client.hscan::<String, String>("h", 0, HScanOptions::default()).await.unwrap();
        assert_eq!((scanned.cursor, scanned.elements.len()), (0, 2));
        if server.version().starts_with("7.0") {
            continue;
        }
        assert_eq!(client.hexpire::<Vec<i64>>("h", 100, None, ["a", "nothing"]).await.unwrap(), [1, -2]);
        assert_eq!(client.httl::<Vec<i64>>("h", "b").await.unwrap(), [-1]);
        assert_eq!(client.hpersist::<Vec<i64>>("h", "a").await.unwrap(), [1]);
    }
}

#[tokio::test]
async fn lists_sets_and_sorted_sets() {
    for server in servers() {
        let (client, second) = (connect(&server).await, connect(&server).await.into_exclusive().unwrap());
        assert_eq!(client.rpush("l", ["a", "b", "c"]).await.unwrap(), 3);
        assert_eq!(client.lrange::<Vec<String>>("l", 0, -1).await.unwrap(), ["a", "b", "c"]);
        let waiting = tokio::spawn(async move {
            let popped: Option<(String, String)> = second.blpop(["p", "q"], 20.0).await.unwrap();
            popped
        });
        one_waits(&client).await;
        client.rpush("q", "job").await.unwrap();
        assert_eq!(waiting.await.unwrap(), Some(("q".into(), "job".into())));
        client.sadd("s", ["a", "b"]).await.unwrap();
        client.sadd("t", ["b", "c"]).await.unwrap();
        assert_eq!(client.sinter::<Vec<String>>(["s", "t"]).await.unwrap(), ["b"]);
        assert_eq!(client.zadd("z", [(1.0, "a"), (2.5, "b")], ZAddOptions::default()).await.unwrap(), 2);
        let ranked: Vec<(String, f64)> = client.zrange_with_scores("z", 0, -1, ZRangeOptions::default()).await.unwrap();
        assert_eq!(ranked, [("a".into(), 1.0), ("b".into(), 2.5)]);
    }
}

#[tokio::test]
async fn streams_with_groups() {
    for server in servers() {
        let client = connect(&server).await;
        for id in ["1-1", "2-1"] {
            let added: String = client.xadd("x", id, [("field", id)], XAddOptions::default()).await.unwrap();
            assert_eq!(added, id);
        }
        client.xgroup_create("x", "group", "0", XGroupCreateOptions::default()).await.unwrap();
        let got: Vec<(String, Vec<StreamEntry<String>>)> =
            client.xreadgroup("group", "ann", XReadGroupOptions::default(), "x", ">").await.unwrap();
        let entries: Vec<_> = got[0].1.iter().map(|entry| (entry.stream_id.as_str(), &entry.items["field"])).collect();
        assert_eq!(entries, [("1-1", &"1-1".to_string()), ("2-1", &"2-1".to_string())]);
        assert_eq!(client.xack("x", "group", "1-1").await.unwrap(), 1);
        assert_eq!(client.xpending("x", "group").await.unwrap().num_pending_messages, 1);
        let claimed: XAutoClaimResult<String> =
            client.xautoclaim("x", "group", "bob", 0, "0", XAutoClaimOptions::default()).await.unwrap();
        assert_eq!(claimed.entries[0].stream_id, "2-1");
    }
}

#[tokio::test]
async fn places_bits_and_sketches() {
    for server in servers() {
        let client = connect(&server).await;
        let places = [(13.361389, 38.115556, "Palermo"), (15.087269, 37.502669, "Catania")];
        assert_eq!(client.geoadd("geo", None, false, places).await.unwrap(), 2);
        let distance = client.geodist("geo", "Palermo", "Catania", GeoUnit::Kilometers).await.unwrap().unwrap();
        assert!((distance - 166.2742).abs() < 1e-9, "{distance}");
        assert_eq!(client.setbit("bits", 7, 1).await.unwrap(), 0);
        assert_eq!(client.bitcount("bits", BitRange::default()).await.unwrap(), 1);
        assert!(client.pfadd("p", ["a", "b", "a"]).await.unwrap());
        assert_eq!(client.pfcount("p").await.unwrap(), 2);
    }
}

#[tokio::test]
async fn pipelines_and_transactions() {
    for server in servers() {
        let client = connect(&server).await;
        let mut pipeline = client.create_pipeline();
        pipeline.set("n", 1).forget();
        for _ in 0..100 {
            pipeline.incr("n").queue();
        }
        let numbers: Vec<i64> = pipeline.execute().await.unwrap();
        assert_eq!(numbers, (2..=101).collect::<Vec<_>>());
        let own = connect(&server).await.into_exclusive().unwrap();
        own.watch("n").await.unwrap();
        let mut transaction = own.create_transaction();
        transaction.incr("n").queue();
        client.set("n", 5).await.unwrap();
        assert!(transaction.execute::<Value>().await.is_err());
        own.watch("n").await.unwrap();
        let mut transaction = own.create_transaction();
        transaction.set("n", 6).forget();
        transaction.get::<()>("n").queue();
        assert_eq!(transaction.execute::<i64>().await.unwrap(), 6);
    }
}

#[tokio::test]
async fn publish_subscribe_and_invalidation() {
    for server in servers() {
        let (client, listener) = (connect(&server).await, connect(&server).await);
        let mut messages = listener.subscribe("news").await.unwrap();
        client.publish("news", "hello").await.unwrap();
        let message = messages.next().await.unwrap().unwrap();
        assert_eq!((message.channel(), message.payload()), (&b"news"[..], &b"hello"[..]));
        let mut stale = listener.create_client_tracking_invalidation_stream().unwrap();
        listener.client_tracking(ClientTrackingStatus::On, ClientTrackingOptions::default()).await.unwrap();
        assert_eq!(listener.get::<Option<String>>("cached").await.unwrap(), None);
        client.set("cached", "v").await.unwrap();
        let keys = stale.next().await.unwrap();
        assert_eq!(keys.iter().map(|key| String::from_utf8_lossy(key)).collect::<Vec<_>>(), ["cached"]);
    }
}

#[tokio::test]
async fn names_users_pools_and_lost_connections() {
    for server in servers() {
        let client = connect(&server).await;
        let mut config = address(&server, "").into_config().unwrap();
        config.connection_name = "worker".into();
        let named = Client::connect(config).await.unwrap();
        let name: String = named.client_getname().await.unwrap();
        assert_eq!(name, "worker");
        let id = named.client_id().await.unwrap();
        assert_eq!(client.client_kill(ClientKillOptions::default().id(id)).await.unwrap(), 1);
        let mut again = named.client_id().await;
        for _ in 0..500 {
            if again.as_ref().is_ok_and(|number| *number > id) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            again = named.client_id().await;
        }
        assert!(again.unwrap() > id);
        let rules = ["on", ">secret", "~app:*", "+@read", "+set", "+@connection", "+info"];
        client.acl_setuser("ann", rules).await.unwrap();
        let ann = Client::connect(address(&server, "ann:secret@")).await.unwrap();
        ann.set("app:k", "v").await.unwrap();
        assert!(ann.get::<String>("k").await.unwrap_err().to_string().contains("permissions"));
        let pool = rustis::bb8::Pool::builder().max_size(3);
        let pool = pool.build(PooledClientManager::new(address(&server, "")).unwrap()).await.unwrap();
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move { pool.get().await.unwrap().incr("pooled").await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(client.get::<i64>("pooled").await.unwrap(), 20);
    }
}
