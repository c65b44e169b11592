#!/usr/bin/env python3
"""CPU time per EVALSHA of Larder and of redis-server, in alternating rounds, both started here and pinned to one CPU.

    benches/scripts/cpu_per_evalsha.py target/release/larder [--rounds 5] [--pipeline 16] [--only get] [--cpu 0]

Prints, for each script, the medians in nanoseconds (user and system time of the whole server process) and of the rounds' ratios.
"""
import argparse
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

LIMITER = (
    "redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, ARGV[1] - 500) "
    "local count = redis.call('ZCARD', KEYS[1]) "
    "if count < 100 then redis.call('ZADD', KEYS[1], ARGV[1], ARGV[1]) redis.call('EXPIRE', KEYS[1], 60) return 1 end "
    "return 0"
)
# Name, source, keys and arguments, the number of calls.
SCRIPTS = [
    ("return-1", "return 1", "0", 600_000),
    ("get", "return redis.call('GET', KEYS[1])", "1 key:__rand_int__", 400_000),
    ("limiter", LIMITER, "1 limit:__rand_int__ __rand_int__", 150_000),
    ("10-gets", "for i = 1, 10 do redis.call('GET', KEYS[1]) end return 1", "1 key:__rand_int__", 100_000),
    ("keys-loop", "local n = 0 for i = 1, #KEYS do if redis.call('GET', KEYS[i]) then n = n + 1 end end return n",
     "3 key:__rand_int__ key:__rand_int__ key:__rand_int__", 150_000),
    ("while", "local i = 0 while i < 10 do redis.call('GET', KEYS[1]) i = i + 1 end return 1", "1 key:__rand_int__", 100_000),
]


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def running(program, cpu, *more):
    port, folder = free_port(), tempfile.mkdtemp()
    command = ["taskset", "-c", cpu, program, "--port", str(port), "--save", "", "--appendonly", "no", *more]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as sock:
                sock.sendall(b"PING\r\n")
                if sock.recv(64):
                    break
            time.sleep(0.05)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def cpu_ns(pid):
    """User and system time of all threads so far."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as stat:
            total += int(stat.read().split()[0])
    return total


def load(port, source):
    out = subprocess.run(["redis-cli", "-p", str(port), "script", "load", source], capture_output=True, text=True, check=True)
    return out.stdout.strip()


def benchmark(port, cpu, pipeline, clients, calls, words):
    command = ["taskset", "-c", cpu, "redis-benchmark", "-p", str(port), "-q", "-n", str(calls), "-c", str(clients)]
    subprocess.run([*command, "-P", str(pipeline), "-r", "1000", *words], capture_output=True, check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("larder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pipeline", type=int, default=16)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--threads", default="1")
    parser.add_argument("--only", default="")
    parser.add_argument("--cpu", default="0", help="the servers' CPU")
    parser.add_argument("--client-cpu", default="1")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        servers = {
            "redis": stack.enter_context(running("redis-server", options.cpu)),
            "larder": stack.enter_context(running(os.path.abspath(options.larder), options.cpu, "--threads", options.threads)),
        }
        for pid, port in servers.values():
            benchmark(port, options.client_cpu, 16, 50, 20_000, ["SET", "key:__rand_int__", "value"])
        for name, source, rest, calls in SCRIPTS:
            if options.only and name not in options.only.split(","):
                continue
            calls = max(calls * min(options.pipeline, 16) // 16, 20_000)
            cost = {server: [] for server in servers}
            for _ in range(options.rounds):
                for server, (pid, port) in servers.items():
                    words = ["EVALSHA", load(port, source), *rest.split()]
                    before = cpu_ns(pid)
                    benchmark(port, options.client_cpu, options.pipeline, options.clients, calls, words)
                    cost[server].append((cpu_ns(pid) - before) / calls)
            ratio = statistics.median(mine / theirs for mine, theirs in zip(cost["larder"], cost["redis"]))
            redis, larder = statistics.median(cost["redis"]), statistics.median(cost["larder"])
            print(f"{name:10} redis {redis:7.0f} ns  larder {larder:7.0f} ns  ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
