#!/usr/bin/env python3
"""Latency of GET while one SET displaces many keys, which the server must evict before it stores the value.

    benches/scripts/latency_beside_eviction.py target/release/larder [--keys 100000] [--rounds 5] [--policy allkeys-lru]

The server has one thread and 64 MiB, full of values of 20 bytes. In each round one client sets a value as large as so many keys and
more, and another one reads. Prints, for each round and for all, how many keys went and how long the SET took, and p50, p99, p99.9 and
the longest latency of GET meanwhile, in milliseconds. With `chrt -r 1` before it, what else the machine does counts less.
"""
import argparse
import os
import re
import threading
import time

from cpu_per_evalsha import running
from latency_under_attack import connect, encode

MEMORY = 64 << 20


class Client:
    def __init__(self, port):
        self.sock = connect(port)
        self.replies = self.sock.makefile("rb")

    def send(self, *words):
        self.sock.sendall(encode(*words))

    def reply(self):
        line = self.replies.readline()
        return self.replies.read(int(line[1:]) + 2) if line[:1] == b"$" and line != b"$-1\r\n" else line

    def call(self, *words):
        self.send(*words)
        return self.reply()

    def evicted(self):
        return int(re.search(rb"evicted_keys:(\d+)", self.call("INFO", "stats")).group(1))


def fill(client):
    """Adds keys until some are evicted."""
    before, number = client.evicted(), 0
    while client.evicted() == before:
        client.sock.sendall(b"".join(encode("SET", f"key:{number + at}", "x" * 20) for at in range(1000)))
        for _ in range(1000):
            client.reply()
        number += 1000


def show(label, times, note=""):
    times = sorted(times)
    if not times:
        return print(f"{label:8}      0 GETs  {note}", flush=True)
    parts = [(name, times[min(len(times) - 1, int(part * len(times)))]) for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))]
    text = "  ".join(f"{name} {seconds * 1e3:.3f}" for name, seconds in [*parts, ("most", times[-1])])
    print(f"{label:8} {len(times):6} GETs  {text} ms  {note}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("larder")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--policy", default="allkeys-lru")
    options = parser.parse_args()
    cpus = f"0-{os.cpu_count() - 1}"
    limits = ["--threads", "1", "--maxmemory", str(MEMORY), "--maxmemory-policy", options.policy]
    with running(os.path.abspath(options.larder), cpus, *limits) as (_, port):
        writer, reader, everything = Client(port), Client(port), []
        for number in range(options.rounds):
            fill(writer)
            value = "v" * (MEMORY // int(writer.call("DBSIZE")[1:]) * options.keys)
            before, began = writer.evicted(), time.perf_counter()
            writer.send("SET", "large", value)
            waiter, times = threading.Thread(target=writer.reply), []
            waiter.start()
            while waiter.is_alive():
                sent = time.perf_counter()
                reader.call("GET", "key:1")
                times.append(time.perf_counter() - sent)
            took = time.perf_counter() - began
            show(f"round {number + 1}", times, f"{writer.evicted() - before} keys went in {took * 1e3:.0f} ms")
            everything += times
            writer.call("DEL", "large")
        show("all", everything)


if __name__ == "__main__":
    main()
