//! The crate `redis` on every data type, with connections that wait, users and its cache; the same against a real
//! redis-server, which proves the tests.

use larder_tests::{Redis, ServerProcess, TestServer, soon};
use redis::geo::{Coord, Unit};
use redis::streams::{StreamAutoClaimOptions, StreamAutoClaimReply, StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, Commands, Connection, ErrorKind, ExpireOption, IntegerReplyOrNoOp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Calls `test` with a client in RESP2 and one in RESP3 of a new server each, larder's and Redis's.
fn each(test: impl Fn(&redis::Client, &ServerProcess)) {
    for protocol in ["", "?protocol=resp3"] {
        for server in [Some(TestServer::start()), Redis::start()].into_iter().flatten() {
            test(&client(&server, protocol), &server);
        }
    }
}

fn client(server: &ServerProcess, parameters: &str) -> redis::Client {
    redis::Client::open(format!("redis://127.0.0.1:{}/{parameters}", server.port())).unwrap()
}

fn connect(client: &redis::Client) -> Connection {
    let connection = client.get_connection().unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    connection
}

/// What `call` answers on a connection that has to wait until `wake` is called.
fn waits<T: Send>(client: &redis::Client, call: impl FnOnce(&mut Connection) -> T + Send, wake: &[&str]) -> T {
    let (mut first, mut second) = (connect(client), connect(client));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || call(&mut second));
        soon("a client that waits", || {
            let text: String = redis::cmd("INFO").arg("clients").query(&mut first).unwrap();
            text.contains("blocked_clients:1\r\n")
        });
        redis::cmd(wake[0]).arg(&wake[1..]).exec(&mut first).unwrap();
        waiting.join().unwrap()
    })
}

fn is_new(server: &ServerProcess) -> bool {
    !server.version().starts_with("7.0") && !server.version().starts_with("7.2")
}

#[test]
fn hashes_and_their_fields_expiry() {
    each(|client, server| {
        let mut connection = connect(client);
        let _: () = connection.hset_multiple("h", &[("a", "1"), ("b", "two")]).unwrap();
        let all: BTreeMap<String, String> = connection.hgetall("h").unwrap();
        assert_eq!(all.into_iter().collect::<Vec<_>>(), [("a".into(), "1".into()), ("b".into(), "two".into())]);
        assert_eq!(connection.hincr::<_, _, _, i64>("h", "a", 5).unwrap(), 6);
        assert_eq!(connection.hget::<_, _, Option<String>>("h", "nothing").unwrap(), None);
        for number in 0..1000 {
            let _: () = connection.hset("large", number, number).unwrap();
        }
        let scanned: BTreeMap<u32, u32> = connection.hscan("large").unwrap().map(Result::unwrap).collect();
        assert_eq!(scanned.len(), 1000);
        if !is_new(server) {
            return;
        }
        let set: Vec<IntegerReplyOrNoOp> = connection.hexpire("h", 100, ExpireOption::NONE, &["a", "x"]).unwrap();
        assert_eq!(set, [IntegerReplyOrNoOp::IntegerReply(1), IntegerReplyOrNoOp::NotExists]);
        let left: Vec<i64> = connection.httl("h", &["a", "b"]).unwrap();
        assert!(left[0] > 90 && left[1] == -1, "{left:?}");
        let _: () = connection.hpexpire("h", 1, ExpireOption::NONE, "b").unwrap();
        soon("a field that expires", || !connection.hexists::<_, _, bool>("h", "b").unwrap());
    });
}

#[test]
fn lists_and_waiting() {
    each(|client, _| {
        let mut connection = connect(client);
        assert_eq!(connection.rpush::<_, _, usize>("l", &["a", "b", "c"]).unwrap(), 3);
        assert_eq!(connection.lrange::<_, Vec<String>>("l", 0, -1).unwrap(), ["a", "b", "c"]);
        let moved: String = connection.lmove("l", "m", redis::Direction::Left, redis::Direction::Right).unwrap();
        assert_eq!(moved, "a");
        let got: [String; 2] = waits(client, |second| second.blpop(&["p", "q"], 20.0).unwrap(), &["RPUSH", "q", "x"]);
        assert_eq!(got, ["q", "x"]);
        let got: Option<String> = connection.brpop("q", 0.01).unwrap();
        assert_eq!(got, None);
    });
}

#[test]
fn sets_and_sorted_sets() {
    each(|client, _| {
        let mut connection = connect(client);
        let _: () = connection.sadd("s", &["a", "b", "c"]).unwrap();
        let _: () = connection.sadd("t", &["b", "c", "d"]).unwrap();
        let common: BTreeSet<String> = connection.sinter(&["s", "t"]).unwrap();
        assert_eq!(common.into_iter().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(connection.smismember::<_, _, Vec<bool>>("s", &["a", "d"]).unwrap(), [true, false]);
        let _: () = connection.sadd("numbers", (0..2000).collect::<Vec<_>>()).unwrap();
        let scanned: BTreeSet<u32> = connection.sscan("numbers").unwrap().map(Result::unwrap).collect();
        assert_eq!(scanned.len(), 2000);
        let got: (String, String, f64) =
            waits(client, |second| second.bzpopmin("z", 20.0).unwrap(), &["ZADD", "z", "1.5", "m"]);
        assert_eq!(got, ("z".into(), "m".into(), 1.5));
    });
}

#[test]
fn streams_with_groups() {
    each(|client, _| {
        let mut connection = connect(client);
        for number in 1..=3 {
            let id: String = connection.xadd("x", format!("{number}-1"), &[("field", number)]).unwrap();
            assert_eq!(id, format!("{number}-1"));
        }
        let _: () = connection.xgroup_create("x", "group", "0").unwrap();
        let error = connection.xgroup_create::<_, _, _, ()>("x", "group", "0").unwrap_err();
        assert_eq!(error.code(), Some("BUSYGROUP"));
        let options = || StreamReadOptions::default().group("group", "ann");
        let reply: StreamReadReply = connection.xread_options(&["x"], &[">"], &options().count(2)).unwrap();
        let ids: Vec<_> = reply.keys[0].ids.iter().map(|entry| (entry.id.as_str(), entry.get("field"))).collect();
        assert_eq!(ids, [("1-1", Some(1)), ("2-1", Some(2))]);
        assert_eq!(connection.xack::<_, _, _, usize>("x", "group", &["1-1"]).unwrap(), 1);
        let pending: redis::streams::StreamPendingReply = connection.xpending("x", "group").unwrap();
        assert_eq!(pending.count(), 1);
        let claimed: StreamAutoClaimReply =
            connection.xautoclaim_options("x", "group", "bob", 0, "0", StreamAutoClaimOptions::default()).unwrap();
        assert_eq!(claimed.claimed[0].id, "2-1");
        let rest: StreamReadReply = connection.xread_options(&["x"], &[">"], &options()).unwrap();
        assert_eq!(rest.keys[0].ids.len(), 1);
        let options = options().block(20_000);
        let read =
            |second: &mut Connection| -> StreamReadReply { second.xread_options(&["x"], &[">"], &options).unwrap() };
        let late = waits(client, read, &["XADD", "x", "9-0", "late", "1"]);
        assert_eq!(late.keys[0].ids[0].id, "9-0");
    });
}

#[test]
fn places_bits_and_sketches() {
    each(|client, _| {
        let mut connection = connect(client);
        let places =
            [(Coord::lon_lat(13.361389, 38.115556), "Palermo"), (Coord::lon_lat(15.087269, 37.502669), "Catania")];
        assert_eq!(connection.geo_add::<_, _, usize>("geo", &places[..]).unwrap(), 2);
        let distance: f64 = connection.geo_dist("geo", "Palermo", "Catania", Unit::Kilometers).unwrap();
        assert!((distance - 166.2742).abs() < 1e-9, "{distance}");
        assert!(!connection.setbit::<_, bool>("bits", 7, true).unwrap());
        assert_eq!(connection.bitcount::<_, usize>("bits").unwrap(), 1);
        let _: () = connection.pfadd("p", (0..1000).collect::<Vec<_>>()).unwrap();
        let count: i64 = connection.pfcount("p").unwrap();
        assert!((count - 1000).abs() < 30, "{count}");
    });
}

#[test]
fn a_transaction_is_tried_again_when_its_key_has_changed() {
    each(|client, _| {
        let (mut connection, mut other) = (connect(client), connect(client));
        let mut tries = 0;
        let got: (i64,) = redis::transaction(&mut connection, &["n"], |connection, pipe| {
            tries += 1;
            if tries == 1 {
                let _: () = other.set("n", 10)?;
            }
            let value: Option<i64> = connection.get("n")?;
            pipe.set("n", value.unwrap_or(0) + 1).ignore().get("n").query(connection)
        })
        .unwrap();
        assert_eq!((got, tries), ((11,), 2));
    });
}

#[test]
fn users() {
    each(|client, server| {
        let mut connection = connect(client);
        let rules = ["on", ">secret", "~app:*", "+@read", "+set", "+@connection"];
        redis::cmd("ACL").arg("SETUSER").arg("ann").arg(&rules).exec(&mut connection).unwrap();
        let address = format!("redis://ann:secret@127.0.0.1:{}/", server.port());
        let mut ann = connect(&redis::Client::open(address).unwrap());
        let _: () = ann.set("app:k", "v").unwrap();
        assert_eq!(ann.get::<_, String>("app:k").unwrap(), "v");
        assert_eq!(ann.get::<_, String>("k").unwrap_err().code(), Some("NOPERM"));
        assert_eq!(ann.del::<_, ()>("app:k").unwrap_err().code(), Some("NOPERM"));
        let address = format!("redis://ann:wrong@127.0.0.1:{}/", server.port());
        let error = redis::Client::open(address).unwrap().get_connection().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::AuthenticationFailed);
    });
}

#[tokio::test]
async fn cached_values_are_invalidated() {
    for server in [Some(TestServer::start()), Redis::start()].into_iter().flatten() {
        let config = redis::AsyncConnectionConfig::new().set_cache_config(redis::caching::CacheConfig::new());
        let client = client(&server, "?protocol=resp3");
        let mut cached = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        let mut writer = client.get_multiplexed_async_connection().await.unwrap();
        let _: () = writer.set("k", "1").await.unwrap();
        for _ in 0..2 {
            assert_eq!(cached.get::<_, String>("k").await.unwrap(), "1");
        }
        assert_eq!(cached.get_cache_statistics().unwrap().hit, 1);
        let _: () = writer.set("k", "2").await.unwrap();
        for _ in 0..200 {
            if cached.get::<_, String>("k").await.unwrap() == "2" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(cached.get::<_, String>("k").await.unwrap(), "2");
    }
}
