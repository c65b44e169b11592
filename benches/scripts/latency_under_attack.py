#!/usr/bin/env python3
"""Latency of PING and of GET on another key while one client runs attacks by script, one after the other.

    benches/scripts/latency_under_attack.py target/release/larder [--seconds 1.0] [--threads 1]

The attacks are those of tests/tests/scripting.rs. One that does not end by itself within the time is killed. Prints, for each attack,
how long it ran, its answer, and p50, p99 and the longest latency of the other client in milliseconds.
"""
import argparse
import os
import re
import socket
import threading
import time

from cpu_per_evalsha import running

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/tests/scripting.rs")


def attacks():
    with open(SOURCE) as file:
        text = file.read()
    for name in ("ENDLESS", "GREEDY"):
        body = re.search(rf"const {name}: &\[&str\] = &\[(.*?)\n\];", text, re.S).group(1)
        for literal in re.findall(r'"((?:[^"\\]|\\.)*)"', body, re.S):
            yield re.sub(r"\\\n\s*", "", literal)


def encode(*words):
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        word = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


def connect(port):
    sock = socket.create_connection(("127.0.0.1", port), 120)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def attack(port, script, ended):
    with connect(port) as sock:
        sock.sendall(encode("EVAL", script, "1", "attacked"))
        ended.append(sock.recv(1 << 16).split(b"\r\n")[0][:60])
        ended.append(time.perf_counter())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("larder")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--threads", default="1")
    options = parser.parse_args()
    worst = 0.0
    cpus = f"0-{os.cpu_count() - 1}"
    with running(os.path.abspath(options.larder), cpus, "--threads", options.threads) as (_, port):
        other, everything = connect(port), []
        for script in attacks():
            ended, began, times = [], time.perf_counter(), []
            thread = threading.Thread(target=attack, args=(port, script, ended))
            thread.start()
            killed = False
            while thread.is_alive():
                for request in (encode("PING"), encode("GET", "other")):
                    sent = time.perf_counter()
                    other.sendall(request)
                    other.recv(4096)
                    times.append((time.perf_counter() - sent) * 1000)
                if not killed and time.perf_counter() - began > options.seconds:
                    other.sendall(encode("SCRIPT", "KILL"))
                    other.recv(4096)
                    killed = True
                time.sleep(0.0005)
            thread.join()
            times.sort()
            everything += times
            p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
            worst = max(worst, p99)
            print(f"{ended[1] - began:6.2f} s  p50 {p50:6.2f}  p99 {p99:6.2f}  max {times[-1]:6.2f}  {ended[0].decode(errors='replace'):60}  {script[:70]}")
        everything.sort()
        print(f"all: {len(everything)} calls, p99 {everything[len(everything) * 99 // 100]:.2f} ms, max {everything[-1]:.2f} ms, worst p99 {worst:.2f} ms")


if __name__ == "__main__":
    main()
