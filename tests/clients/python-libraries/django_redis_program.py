"""What applications do with Django's cache on django-redis, its locks above all: `django_redis_program.py HOST:PORT`."""

import threading
import time

import django
from django.conf import settings
from django.core.cache import cache, caches
from redis.exceptions import LockError, LockNotOwnedError

from common import equal, fails, main, soon, url


def configure():
    backend = "django_redis.cache.RedisCache"
    client = "django_redis.client.{}"
    settings.configure(
        CACHES={
            "default": {"BACKEND": backend, "LOCATION": url()},
            "packed": {"BACKEND": backend, "LOCATION": url(1), "KEY_PREFIX": "packed", "OPTIONS": {
                "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
                "COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor",
            }},
            "herd": {"BACKEND": backend, "LOCATION": url(2), "OPTIONS": {"CLIENT_CLASS": client.format("HerdClient")}},
            "sharded": {"BACKEND": backend, "LOCATION": [url(3), url(4)], "OPTIONS": {
                "CLIENT_CLASS": client.format("ShardClient"),
            }},
        },
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        INSTALLED_APPS=["django.contrib.sessions"],
    )
    django.setup()


def values(r):
    equal((cache.set("k", {"a": [1, 2.5, None]}), cache.get("k")), (True, {"a": [1, 2.5, None]}))
    equal((cache.get("nothing"), cache.get("nothing", 7), cache.has_key("k"), "k" in cache), (None, 7, True, True))
    equal((cache.add("k", 1), cache.add("l", 1), cache.set("k", 2, nx=True), cache.set("l", 2, xx=True)),
          (False, True, False, True))
    equal((cache.delete("k"), cache.delete("k"), cache.get("k")), (True, False, None))
    equal(cache.get_or_set("g", lambda: "made"), "made")
    equal((cache.get_or_set("g", "other"), cache.touch("g", 50), 40 < cache.ttl("g") <= 50), ("made", True, True))
    cache.set("large", "x" * 3_000_000)
    equal(len(cache.get("large")), 3_000_000)
    cache.clear()
    equal(r.dbsize(), 0)


def several_values(r):
    cache.set_many({f"k{number}": number for number in range(300)}, timeout=100)
    equal(cache.get_many(["k1", "nothing", "k299"]), {"k1": 1, "k299": 299})
    equal((cache.delete_many(["k1", "k2", "nothing"]), 90 < cache.ttl("k3") <= 100), (2, True))
    equal((len(cache.keys("k*")), sorted(cache.iter_keys("k10*"))), (298, ["k10"] + [f"k10{number}" for number in range(10)]))


def numbers(r):
    cache.set("n", 5)
    equal((cache.incr("n"), cache.incr("n", 10), cache.decr("n", 4), cache.get("n")), (6, 16, 12, 12))
    fails(ValueError, cache.incr, "nothing")
    fails(ValueError, cache.decr, "nothing")
    equal((cache.incr("new", ignore_key_check=True), cache.get("new")), (1, 1))
    cache.set("huge", 2**62)
    # The server refuses what is too large for it, and the library stores the sum as text.
    equal((cache.incr("huge", 2**62), cache.get("huge")), (2**63, 2**63))


def times(r):
    cache.set("k", "v", timeout=100)
    equal((90 < cache.ttl("k") <= 100, cache.pttl("k") > 90_000, cache.ttl("nothing")), (True, True, 0))
    equal((cache.persist("k"), cache.ttl("k"), cache.persist("nothing")), (True, None, False))
    equal((cache.expire("k", timeout=50), 40 < cache.ttl("k") <= 50), (True, True))
    equal((cache.pexpire("k", timeout=90_500), cache.pttl("k") > 89_000), (True, True))
    equal((cache.expire_at("k", int(time.time()) + 30), 25 < cache.ttl("k") <= 30), (True, True))
    equal((cache.pexpire_at("k", int(time.time() * 1000) + 20), cache.expire("nothing", timeout=5)), (True, False))
    soon("its end", lambda: cache.get("k") is None)
    cache.set("none", "v", timeout=None)
    cache.set("never", "v", timeout=0)
    equal((cache.ttl("none"), cache.get("never")), (None, None))


def patterns(r):
    cache.set_many({f"{kind}:{number}": number for kind in ("room", "user") for number in range(1_500)})
    equal((cache.delete_pattern("room:*", itersize=100), cache.delete_pattern("room:*")), (1_500, 0))
    equal((r.dbsize(), cache.get("user:7")), (1_500, 7))
    equal(cache.delete_pattern("*"), 1_500)


def versions(r):
    cache.set("k", "old", version=1)
    cache.set("k", "new", version=2)
    equal((cache.get("k"), cache.get("k", version=2), sorted(r.keys())), ("old", "new", [b":1:k", b":2:k"]))
    equal((cache.incr_version("k", 4), cache.get("k"), cache.get("k", version=5)), (5, None, "old"))


def structures(r):
    equal((cache.sadd("s", 1, "two", 3), cache.scard("s"), cache.sismember("s", "two")), (3, 3, True))
    equal((cache.smembers("s"), cache.srem("s", 3), cache.sadd("t", 1)), ({1, "two", 3}, 1, 1))
    equal((cache.sinter("s", "t"), cache.sdiff("s", "t"), cache.sunion("s", "t")), ({1}, {"two"}, {1, "two"}))
    equal((cache.hset("h", "f", {"a": 1}), cache.hlen("h"), cache.hexists("h", "f"), cache.hkeys("h")), (1, 1, True, ["f"]))
    equal((cache.zadd("z", {"a": 1.5, "b": 2}), cache.zcard("z"), cache.zscore("z", "b")), (2, 2, 2.0))
    equal((cache.zrange("z", 0, -1), cache.zrank("z", "b"), cache.zincrby("z", 5, "a")), (["a", "b"], 1, 6.5))
    equal((cache.zpopmin("z"), cache.zcount("z", 0, 10), cache.zrem("z", "a")), (("b", 2.0), 1, 1))


def locks(r):
    lock = cache.lock("resource", timeout=10)
    with lock:
        equal((r.exists(":1:resource"), r.pttl(":1:resource") > 9_000, lock.owned()), (1, True, True))
        equal(cache.lock("resource", timeout=10, blocking=False).acquire(), False)
        equal(cache.lock("resource", timeout=10, blocking_timeout=0.05, sleep=0.01).acquire(), False)
        equal((lock.extend(20), r.pttl(":1:resource") > 25_000), (True, True))
        equal((lock.extend(15, replace_ttl=True), r.pttl(":1:resource") <= 15_000), (True, True))
        equal((lock.reacquire(), r.pttl(":1:resource") <= 10_000), (True, True))
    equal(r.exists(":1:resource"), 0)
    fails(LockError, lock.release)


def locks_of_others(r):
    mine, other = cache.lock("resource", timeout=0.05), cache.lock("resource", timeout=10)
    equal(mine.acquire(), True)
    soon("its end", lambda: other.acquire(blocking=False))
    fails(LockNotOwnedError, mine.extend, 5)
    fails(LockNotOwnedError, mine.reacquire)
    fails(LockNotOwnedError, mine.release)
    equal((other.owned(), r.exists(":1:resource")), (True, 1))
    r.script_flush()
    other.release()


def locks_hold_others_off(r):
    cache.set("counter", 0)
    most, now = [0], [0]

    def work():
        for _ in range(10):
            with cache.lock("counter-lock", timeout=20, sleep=0.002):
                now[0] += 1
                most[0] = max(most[0], now[0])
                cache.set("counter", cache.get("counter") + 1)
                now[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    equal((cache.get("counter"), most), (60, [1]))


def other_serializers(r):
    packed = caches["packed"]
    packed.set("k", {"text": "x" * 10_000})
    equal((packed.get("k"), packed.delete_pattern("*")), ({"text": "x" * 10_000}, 1))


def herds(r):
    herd = caches["herd"]
    herd.set("k", {"v": 1}, timeout=100)
    equal((herd.get("k"), herd.get_many(["k", "nothing"]), herd.delete("k")), ({"v": 1}, {"k": {"v": 1}}, True))


def shards(r):
    sharded = caches["sharded"]
    sharded.set_many({f"k{number}": number for number in range(100)})
    equal((sharded.get("k7"), len(sharded.get_many([f"k{number}" for number in range(100)]))), (7, 100))
    equal((sharded.delete_pattern("k1*"), sharded.incr("k2", 5)), (11, 7))
    with sharded.lock("resource", timeout=5):
        equal(sharded.lock("resource", timeout=5, blocking=False).acquire(), False)
    sharded.clear()


def sessions(r):
    from django.contrib.sessions.backends.cache import SessionStore

    session = SessionStore()
    session["user"] = {"id": 7}
    session.set_expiry(100)
    session.save()
    equal((SessionStore(session.session_key)["user"], SessionStore().exists(session.session_key)), ({"id": 7}, True))
    old = session.session_key
    session.cycle_key()
    equal((session["user"], SessionStore().exists(old)), ({"id": 7}, False))
    session.flush()
    equal(r.dbsize(), 0)


configure()
main([values, several_values, numbers, times, patterns, versions, structures, locks, locks_of_others, locks_hold_others_off,
      other_serializers, herds, shards, sessions])
