"""What the programs of this folder share: each is `program.py HOST:PORT`, ends with an exception at the first answer that is
not as expected, and removes every key of the server."""

import sys
import time

import redis

HOST, PORT = sys.argv[1].rsplit(":", 1) if len(sys.argv) > 1 else ("", "0")


def connect(**options):
    return redis.Redis(host=HOST, port=int(PORT), **options)


def url(database=0):
    return f"redis://{HOST}:{PORT}/{database}"


def equal(got, wanted):
    if got != wanted:
        raise AssertionError(f"got {got!r}, wanted {wanted!r}")


def fails(kind, call, *args, **options):
    try:
        got = call(*args, **options)
    except kind:
        return
    raise AssertionError(f"got {got!r}, wanted {kind.__name__}")


def soon(what, condition):
    until = time.monotonic() + 20
    while not (found := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"not in time: {what}")
        time.sleep(0.01)
    return found


def main(parts, flushes=True):
    r = connect()
    for part in parts:
        if flushes:
            r.flushall()
        part(r)
        print(f"{part.__name__}: as expected", flush=True)
    r.flushall()
