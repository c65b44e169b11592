"""What applications do with redis-py, in RESP2 and RESP3: `program.py HOST:PORT`.

Ends with an exception at the first answer that is not as expected. It removes every key of the server.
"""

import asyncio
import sys
import threading
import time

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.cache import CacheConfig
from redis.retry import Retry

HOST, PORT = sys.argv[1].rsplit(":", 1)


def connect(protocol, **options):
    return redis.Redis(host=HOST, port=int(PORT), protocol=protocol, decode_responses=True, **options)


def equal(got, wanted):
    """Tuples are as good as lists: the same pair is one in RESP2 and the other in RESP3."""
    if plain(got) != plain(wanted):
        raise AssertionError(f"got {got!r}, wanted {wanted!r}")


def plain(value):
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def fails(kind, text, call, *args, **options):
    try:
        got = call(*args, **options)
    except kind as error:
        if text not in str(error):
            raise AssertionError(f"got {error}, wanted {text}") from error
    else:
        raise AssertionError(f"got {got!r}, wanted {kind.__name__}")


def soon(what, condition):
    until = time.monotonic() + 20
    while not (found := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"not in time: {what}")
        time.sleep(0.01)
    return found


def waits_for(r, answer, call, wake):
    """Calls on a second connection, which has to wait until `wake` is called on the first."""
    found = []
    blocked = r.info("clients")["blocked_clients"]
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    soon("a client that waits", lambda: r.info("clients")["blocked_clients"] == blocked + 1)
    wake()
    thread.join(20)
    equal(found, [answer])


def strings(r, protocol):
    equal(r.set("k", "v"), True)
    equal(r.get("k"), "v")
    equal(r.get("nothing"), None)
    equal(r.set("k", "w", nx=True), None)
    equal(r.set("k", "w", xx=True, get=True), "v")
    equal(r.set("e", "v", px=100_000), True)
    equal(99_000 < r.pttl("e") <= 100_000, True)
    equal(r.getex("e", persist=True), "v")
    equal((r.ttl("e"), r.ttl("nothing")), (-1, -2))
    equal((r.incr("n", 41), r.incr("n"), r.decrby("n", 2), r.incrbyfloat("f", 1.5)), (41, 42, 40, 1.5))
    equal((r.append("k", "xyz"), r.strlen("k"), r.getrange("k", 1, 2), r.setrange("k", 1, "--")), (4, 4, "xy", 4))
    equal(r.getdel("k"), "w--z")
    equal((r.mset({"a": 1, "b": 2}), r.msetnx({"b": 3, "c": 4})), (True, False))
    equal(r.mget("a", "nothing", "b"), ["1", None, "2"])
    equal((r.exists("a", "a", "nothing"), r.type("a"), r.unlink("a", "nothing"), r.delete("b")), (2, "string", 1, 1))
    equal((r.rename("n", "m"), r.copy("m", "n"), r.touch("m", "n"), r.expire("m", 10, nx=True)), (True, True, 2, True))
    binary = bytes(range(256)) * 100
    raw = redis.Redis(host=HOST, port=int(PORT), protocol=protocol)
    raw.set("binary", binary)
    equal(raw.get("binary"), binary)
    raw.close()
    fails(redis.ResponseError, "not an integer", r.incr, "binary")
    fails(redis.ResponseError, "WRONGTYPE", r.lpush, "n", "x")
    fails(redis.ResponseError, "unknown command 'NOSUCH'", r.execute_command, "NOSUCH")


def hashes(r, protocol):
    equal(r.hset("h", mapping={"a": 1, "b": "two", "c": 3.5}), 3)
    equal(r.hset("h", "a", 2), 0)
    equal(r.hgetall("h"), {"a": "2", "b": "two", "c": "3.5"})
    equal((r.hget("h", "b"), r.hmget("h", ["a", "nothing"]), r.hlen("h")), ("two", ["2", None], 3))
    equal((r.hincrby("h", "a", 5), r.hincrbyfloat("h", "c", 0.25)), (7, 3.75))
    equal((r.hexists("h", "a"), r.hsetnx("h", "a", 0), r.hdel("h", "b", "nothing")), (True, 0, 1))
    equal((sorted(r.hkeys("h")), sorted(r.hvals("h"))), (["a", "c"], ["3.75", "7"]))
    equal(sorted(map(tuple, chunks(r.hrandfield("h", 2, withvalues=True)))), [("a", "7"), ("c", "3.75")])
    r.hset("large", mapping={f"field:{number}": number for number in range(1000)})
    equal(len(dict(r.hscan_iter("large", count=100))), 1000)
    equal(dict(r.hscan_iter("large", match="field:99*", count=100))["field:999"], "999")


def chunks(values):
    """Pairs of a reply that is flat in RESP2."""
    if isinstance(values[0], list):
        return values
    return [values[at : at + 2] for at in range(0, len(values), 2)]


def field_expiry(r, protocol):
    r.hset("h", mapping={"a": 1, "b": 2, "c": 3})
    equal(r.hexpire("h", 100, "a", "nothing"), [1, -2])
    equal(r.hpexpire("h", 1, "b"), [1])
    soon("a field that expires", lambda: r.hget("h", "b") is None)
    equal((r.httl("h", "a", "c")[1], r.hpersist("h", "a"), r.httl("h", "a")), (-1, [1], [-1]))
    equal(r.hexpireat("h", int(time.time()) + 100, "c", nx=True), [1])
    equal(99_000 < r.hpttl("h", "c")[0] + 1000 <= 101_000, True)
    equal(sorted(r.hscan_iter("h", no_values=True)), ["a", "c"])


def lists(r, protocol):
    equal((r.rpush("l", "a", "b", "c"), r.lpush("l", "z"), r.llen("l")), (3, 4, 4))
    equal(r.lrange("l", 0, -1), ["z", "a", "b", "c"])
    equal((r.lindex("l", -1), r.lpos("l", "b"), r.lset("l", 0, "y"), r.lrem("l", 1, "a")), ("c", 2, True, 1))
    equal((r.linsert("l", "before", "c", "x"), r.ltrim("l", 1, -1)), (4, True))
    equal((r.lmove("l", "m", "LEFT", "RIGHT"), r.rpoplpush("l", "m")), ("b", "c"))
    equal((r.lpop("m", 5), r.rpop("l"), r.lpop("l")), (["c", "b"], "x", None))
    second = connect(protocol)
    waits_for(r, ("q", "job"), lambda: second.blpop(["other", "q"], 20), lambda: r.rpush("q", "job"))
    waits_for(r, "job", lambda: second.blmove("q", "done", 20), lambda: r.rpush("q", "job"))
    equal(r.lrange("done", 0, -1), ["job"])
    waits_for(r, ["q", ["1", "2"]], lambda: second.blmpop(20, 2, "p", "q", direction="LEFT", count=2),
              lambda: r.rpush("q", 1, 2))
    equal(second.brpop("q", 0.01), None)
    second.close()


def sets(r, protocol):
    equal((r.sadd("s", "a", "b", "c"), r.sadd("t", "b", "c", "d"), r.scard("s")), (3, 3, 3))
    equal(r.smembers("s"), {"a", "b", "c"})
    equal((r.sinter("s", "t"), r.sunion("s", "t")), ({"b", "c"}, {"a", "b", "c", "d"}))
    equal((r.sdiff("s", "t"), r.sintercard(2, ["s", "t"], limit=1), r.sinterstore("u", "s", "t")), ({"a"}, 1, 2))
    equal((r.sismember("s", "a"), r.smismember("s", ["a", "d"]), r.smove("s", "t", "a")), (1, [1, 0], True))
    equal((sorted(r.spop("u", 2)), r.exists("u"), r.srandmember("t") in {"a", "b", "c", "d"}), (["b", "c"], 0, True))
    r.sadd("numbers", *range(2000))
    equal({int(member) for member in r.sscan_iter("numbers", count=100)}, set(range(2000)))


def sorted_sets(r, protocol):
    equal(r.zadd("z", {"a": 1, "b": 2.5, "c": float("inf")}), 3)
    equal((r.zadd("z", {"a": 2}, gt=True, ch=True), r.zincrby("z", 0.5, "a"), r.zscore("z", "b")), (1, 2.5, 2.5))
    equal(r.zrange("z", 0, -1, withscores=True), [("a", 2.5), ("b", 2.5), ("c", float("inf"))])
    equal(r.zrange("z", "+inf", "(2", byscore=True, desc=True, offset=0, num=2), ["c", "b"])
    equal((r.zrank("z", "c"), r.zrevrank("z", "c"), r.zcount("z", 2, 3), r.zcard("z")), (2, 0, 2, 3))
    equal((r.zmscore("z", ["a", "nothing"]), r.zscore("z", "nothing")), ([2.5, None], None))
    equal((r.zrangestore("y", "z", 0, 1), r.zunionstore("w", {"z": 1, "y": 2})), (2, 3))
    equal(r.zunion({"z": 1, "y": 2}, withscores=True)[0], ("a", 7.5))
    equal((r.zinter(["z", "y"]), r.zdiff(["z", "y"]), r.zremrangebyrank("w", 0, 0)), (["a", "b"], ["c"], 1))
    equal(r.zpopmin("z", 1), [("a", 2.5)])
    second = connect(protocol)
    waits_for(r, ("queue", "m", 3.0), lambda: second.bzpopmin("queue", 20),
              lambda: r.zadd("queue", {"m": 3}))
    second.close()
    r.zadd("names", dict.fromkeys(["ann", "bob", "cid"], 0))
    equal((r.zrangebylex("names", "[b", "+"), r.zlexcount("names", "-", "(c")), (["bob", "cid"], 2))
    r.zadd("large", {f"m{number}": number for number in range(1000)})
    equal(dict(r.zscan_iter("large", count=100))["m999"], 999.0)


def streams(r, protocol):
    equal(r.xadd("x", {"field": "1"}, id="1-1"), "1-1")
    for number in range(2, 6):
        r.xadd("x", {"field": number}, id=f"{number}-*", maxlen=1000, approximate=True)
    equal((r.xlen("x"), r.xrange("x", "2", "3")), (5, [("2-0", {"field": "2"}), ("3-0", {"field": "3"})]))
    equal(r.xrevrange("x", count=1), [("5-0", {"field": "5"})])
    equal(r.xgroup_create("x", "group", id="0"), True)
    fails(redis.ResponseError, "BUSYGROUP", r.xgroup_create, "x", "group")
    got = r.xreadgroup("group", "ann", {"x": ">"}, count=2)
    equal(entries(got, "x"), [("1-1", {"field": "1"}), ("2-0", {"field": "2"})])
    equal(r.xack("x", "group", "1-1"), 1)
    equal(r.xpending("x", "group")["consumers"], [{"name": "ann", "pending": 1}])
    equal(r.xpending_range("x", "group", "-", "+", 10)[0]["message_id"], "2-0")
    equal(r.xclaim("x", "group", "bob", 0, ["2-0"], justid=True), ["2-0"])
    equal(r.xautoclaim("x", "group", "cid", 0)[1], [("2-0", {"field": "2"})])
    info = r.xinfo_groups("x")[0]
    equal((info["name"], info["consumers"], info["pending"], info["last-delivered-id"]), ("group", 3, 1, "2-0"))
    equal([consumer["name"] for consumer in r.xinfo_consumers("x", "group")], ["ann", "bob", "cid"])
    equal((r.xinfo_stream("x")["length"], r.xdel("x", "5-0"), r.xtrim("x", maxlen=2, approximate=False)), (5, 1, 2))
    second = connect(protocol)
    wanted = second_reply(protocol, "x", [("9-0", {"late": "1"})])
    waits_for(r, wanted, lambda: second.xread({"x": "$"}, block=20_000), lambda: r.xadd("x", {"late": 1}, id="9-0"))
    equal(entries(second.xreadgroup("group", "ann", {"x": ">"}, block=1000), "x")[-1], ("9-0", {"late": "1"}))
    equal(second.xread({"x": "$"}, block=1) or None, None)
    equal(r.xgroup_destroy("x", "group"), 1)
    second.close()


def second_reply(protocol, key, found):
    return {key: [found]} if protocol == 3 else [[key, found]]


def entries(reply, key):
    """The entries of one stream from what XREADGROUP answers."""
    return reply[key][0] if isinstance(reply, dict) else dict(map(tuple, reply))[key]


def bits_and_sketches(r, protocol):
    equal((r.setbit("bits", 7, 1), r.setbit("bits", 100, 1), r.getbit("bits", 7), r.bitcount("bits")), (0, 0, 1, 2))
    equal((r.bitpos("bits", 1), r.bitcount("bits", 8, 200, "BIT"), r.bitop("NOT", "inverse", "bits")), (7, 1, 13))
    field = r.bitfield("field", default_overflow="SAT").set("u8", "#1", 200).incrby("u8", "#1", 100).get("u8", 8)
    equal(field.execute(), [0, 255, 255])
    equal((r.pfadd("p", *range(1000)), r.pfadd("q", *range(500, 1500)), r.pfmerge("pq", "p", "q")), (1, 1, True))
    equal((abs(r.pfcount("p") - 1000) < 30, abs(r.pfcount("p", "q") - 1500) < 45), (True, True))
    equal(r.geoadd("geo", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")), 2)
    equal(r.geodist("geo", "Palermo", "Catania", unit="km"), 166.2742)
    equal(r.geosearch("geo", longitude=15, latitude=37, radius=200, unit="km", sort="ASC"), ["Catania", "Palermo"])
    found = r.geosearch("geo", member="Palermo", width=400, height=400, unit="km", withdist=True, withcoord=True)
    equal(sorted((name, distance) for name, distance, _ in found), [("Catania", 166.2742), ("Palermo", 0.0)])
    equal((r.geohash("geo", "Palermo"), r.geopos("geo", "nothing")), (["sqc8b49rny0"], [None]))


def publish_and_subscribe(r, protocol):
    channel = connect(protocol).pubsub()
    channel.subscribe("news")
    channel.psubscribe("n*")
    seen = [soon("a confirmation", lambda: channel.get_message(timeout=1)) for _ in range(2)]
    equal([message["type"] for message in seen], ["subscribe", "psubscribe"])
    equal((r.publish("news", "hello"), r.pubsub_numsub("news"), r.pubsub_numpat()), (2, [("news", 1)], 1))
    seen = [soon("a message", lambda: channel.get_message(timeout=1)) for _ in range(2)]
    equal([(message["type"], message["data"]) for message in seen], [("message", "hello"), ("pmessage", "hello")])
    if protocol == 2:  # In RESP3 PING has its usual answer, which the library takes for a message.
        channel.ping()
        equal(soon("the answer to PING", lambda: channel.get_message(timeout=1))["type"], "pong")
    heard = []
    listener = connect(protocol).pubsub()
    listener.subscribe(called=lambda message: heard.append(message["data"]))
    thread = listener.run_in_thread(sleep_time=0.01, daemon=True)
    soon("a listener", lambda: r.publish("called", "x") == 1)
    soon("its call", lambda: heard == ["x"])
    thread.stop()
    thread.join()
    channel.close()
    r.config_set("notify-keyspace-events", "KEA")
    events = connect(protocol).pubsub(ignore_subscribe_messages=True)
    events.psubscribe("__keyevent@0__:*")
    events.get_message(timeout=1)
    r.set("fleeting", "v", px=1)
    seen = [soon("an event", lambda: events.get_message(timeout=1))["channel"] for _ in range(3)]
    equal(seen, ["__keyevent@0__:set", "__keyevent@0__:expire", "__keyevent@0__:expired"])
    events.close()
    r.config_set("notify-keyspace-events", "")


def pipelines_and_transactions(r, protocol):
    pipe = r.pipeline(transaction=False)
    for number in range(1000):
        pipe.incr("many").lpush("listed", number)
    equal(pipe.execute()[-2:], [1000, 1000])
    with r.pipeline() as pipe:
        equal(pipe.set("a", 1).incr("a").lpush("a", "x").get("a").execute(raise_on_error=False)[::3], [True, "2"])
    fails(redis.ResponseError, "WRONGTYPE", r.pipeline().lpush("a", 1).execute)

    def double(pipe):
        value = int(pipe.get("a"))
        pipe.multi()
        pipe.set("a", value * 2)

    equal((r.transaction(double, "a"), r.get("a")), ([True], "4"))
    with r.pipeline() as pipe:
        pipe.watch("a")
        r.incr("a")
        pipe.multi()
        pipe.get("a")
        fails(redis.WatchError, "", pipe.execute)


def scans(r, protocol):
    r.mset({f"key:{number}": number for number in range(3000)})
    r.rpush("listed", 1)
    equal(len(set(r.scan_iter(match="key:*", count=500))), 3000)
    equal(list(r.scan_iter(_type="list", count=1000)), ["listed"])
    equal((r.dbsize(), len(r.keys("key:1??")), r.randomkey() is not None), (3001, 100, True))
    other = connect(protocol, db=3)
    equal((r.move("listed", 3), other.lrange("listed", 0, -1), other.flushdb()), (True, ["1"], True))
    other.close()


def clients_and_users(r, protocol):
    named = connect(protocol, client_name="worker", driver_info=redis.DriverInfo("app", "1.2"))
    named.ping()
    me = named.client_info()
    equal((me["name"], me["resp"], named.client_getname()), ("worker", str(protocol), "worker"))
    if new_enough(r):
        equal((me["lib-name"], me["lib-ver"]), ("app", "1.2"))
    equal([client["name"] for client in r.client_list(client_id=[named.client_id()])], ["worker"])
    before = named.client_id()
    equal(r.client_kill_filter(_id=before), 1)
    equal((named.ping(), named.client_id() != before, named.client_getname()), (True, True, "worker"))
    named.close()
    r.acl_setuser("ann", enabled=True, passwords=["+secret"], keys=["app:*"], categories=["+@read", "+@connection"],
                  commands=["+set"])
    ann = connect(protocol, username="ann", password="secret")
    equal((ann.set("app:k", "v"), ann.get("app:k")), (True, "v"))
    fails(redis.exceptions.NoPermissionError, "permissions to access", ann.get, "k")
    fails(redis.exceptions.NoPermissionError, "no permissions to run the 'del' command", ann.delete, "app:k")
    wrong = connect(protocol, username="ann", password="wrong", retry=Retry(NoBackoff(), 0))
    fails(redis.exceptions.AuthenticationError, "invalid username-password pair", wrong.ping)
    equal((r.acl_getuser("ann")["enabled"], r.acl_deluser("ann"), "default" in r.acl_users()), (True, 1, True))
    ann.close()


def pool(r, protocol):
    shared = redis.BlockingConnectionPool(host=HOST, port=int(PORT), protocol=protocol, max_connections=5, timeout=20)

    def work():
        own = redis.Redis(connection_pool=shared)
        for _ in range(50):
            own.incr("pooled")

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(r.get("pooled"), "1000")
    shared.disconnect()
    lone = connect(protocol, retry=Retry(NoBackoff(), 0))
    pipe = lone.pipeline()
    pipe.watch("pooled")
    r.client_kill_filter(_type="normal", skipme=True)
    fails(redis.WatchError, "while watching", pipe.get, "pooled")
    pipe.reset()
    equal(lone.ping(), True)
    lone.close()


def caching(r, protocol):
    if protocol != 3 or not new_enough(r):  # The library wants RESP3 and 7.4.
        return
    cached = connect(3, cache_config=CacheConfig(), single_connection_client=False)
    r.set("cached", "1")
    equal((cached.get("cached"), cached.get_cache().size), ("1", 1))
    calls = r.info("commandstats")["cmdstat_get"]["calls"]
    equal((cached.get("cached"), r.info("commandstats")["cmdstat_get"]["calls"]), ("1", calls))
    r.set("cached", "2")
    soon("an invalidation", lambda: cached.get("cached") == "2")
    cached.close()


def server(r, protocol):
    info = r.info()
    equal((info["role"], info["redis_mode"], len(info["run_id"])), ("master", "standalone", 40))
    equal((r.config_set("maxmemory", "100mb"), r.config_get("maxmemory")), (True, {"maxmemory": "104857600"}))
    r.config_set("maxmemory", 0)
    equal((r.object("encoding", "n") if r.set("n", 1) else 0, r.memory_usage("n") > 0), ("int", True))
    equal((r.command_count() > 100, r.command_getkeys("MSET", "a", 1, "b", 2)), (True, ["a", "b"]))
    equal((r.echo("x"), r.wait(0, 10), abs(r.time()[0] - time.time()) < 5), ("x", 0, True))
    with r.monitor() as monitor:
        r.set("watched", "v")
        soon("the command", lambda: monitor.next_command()["command"] == "SET watched v")
    equal((r.slowlog_reset(), isinstance(r.slowlog_get(), list), r.latency_latest()), (True, True, []))


async def asynchronous(protocol):
    r = redis.asyncio.Redis(host=HOST, port=int(PORT), protocol=protocol, decode_responses=True)
    await r.flushall()
    await asyncio.gather(*(r.incr("n", number) for number in range(100)))
    equal(await r.get("n"), "4950")
    async with r.pipeline(transaction=True) as pipe:
        equal(await pipe.set("a", 1).incr("a").execute(), [True, 2])
    waiting = asyncio.create_task(r.blpop("q", 20))
    await asyncio.sleep(0.05)
    await r.rpush("q", "job")
    equal(tuple(await waiting), ("q", "job"))
    async with r.pubsub() as channel:
        await channel.subscribe("news")
        equal((await channel.get_message(timeout=20))["type"], "subscribe")
        await r.publish("news", "hello")
        equal((await channel.get_message(timeout=20))["data"], "hello")
    equal(sorted([key async for key in r.scan_iter()]), ["a", "n"])
    await r.aclose()


def new_enough(r):
    """Whether the server has what came with 7.2 and 7.4."""
    return tuple(map(int, r.info("server")["redis_version"].split(".")[:2])) >= (7, 4)


PARTS = [strings, hashes, field_expiry, lists, sets, sorted_sets, streams, bits_and_sketches, publish_and_subscribe,
         pipelines_and_transactions, scans, clients_and_users, pool, caching, server]


def main():
    for protocol in (2, 3):
        r = connect(protocol)
        for part in PARTS:
            if part is field_expiry and not new_enough(r):
                print("field_expiry: not in this server")
                continue
            r.flushall()
            part(r, protocol)
            print(f"{part.__name__}: as expected in RESP{protocol}")
        asyncio.run(asynchronous(protocol))
        r.flushall()
        r.close()


main()
