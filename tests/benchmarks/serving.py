"""`cir serve` under load, over the loopback address: throughput, latencies, failures, memory.

    python -m tests.benchmarks.serving --store data/shop.h5 --clients 1 8 32 --seconds 20

Each client asks, waits for the answer, and asks again: a photo of the gallery changed by a text.
"""

import argparse
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HOST = "127.0.0.1"
_START_SECONDS = 180
_KIB_IN_MIB = 1024
_TEXTS = ("is red", "is darker", "has long sleeves", "is more formal", "has stripes", "is shorter")


@dataclass(frozen=True)
class Load:
    """What some clients met."""

    clients: int
    answered: int
    failed: int
    seconds: float
    latencies: np.ndarray
    """Milliseconds of each answer."""
    rss_mib: float
    """Resident memory of the server afterwards."""

    def row(self) -> str:
        """The figures of a line of the table."""
        p50, p95, p99 = np.percentile(self.latencies, (50, 95, 99))
        return (
            f"| {self.clients} | {self.answered / self.seconds:.1f} | {p50:.0f} | {p95:.0f} "
            f"| {p99:.0f} | {self.failed} | {self.rss_mib:.0f} |"
        )


@contextmanager
def served(*arguments: str) -> Iterator[tuple[int, int]]:
    """A server of its own; its port and process id. It is told to stop, and must."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "pipeline.cli", "serve", *arguments, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            _await_health(server, port)
            yield port, server.pid
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> Any:
    """An answer's JSON; raises RuntimeError where the server refuses."""
    encoded = None if body is None else json.dumps(body)
    connection.request(method, path, encoded, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {content[:200]!r}")
    return json.loads(content)


def load(port: int, pid: int, clients: int, seconds: float) -> Load:
    """Lets some clients ask for a while."""
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    listed = ask(connection, "GET", "/api/images?seed=0&count=100")["images"]
    ids = [image["id"] for image in listed]
    until = time.perf_counter() + seconds
    with ThreadPoolExecutor(clients) as pool:
        jobs = [pool.submit(_client, port, number, ids, until) for number in range(clients)]
        parts = [job.result() for job in jobs]
    latencies = np.array([each for part, _ in parts for each in part])
    failed = sum(count for _, count in parts)
    return Load(clients, len(latencies), failed, seconds, latencies, _rss_mib(pid))


def _client(port: int, seed: int, ids: Sequence[str], until: float) -> tuple[list[float], int]:
    """Latencies of the answers, and how many requests failed."""
    drawn, latencies, failed = random.Random(seed), [], 0
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    while time.perf_counter() < until:
        query = {"images": [drawn.choice(ids)], "text": drawn.choice(_TEXTS)}
        started = time.perf_counter()
        try:
            ask(connection, "POST", "/api/search", query)
        except (OSError, RuntimeError, http.client.HTTPException):
            failed += 1
            connection.close()
            continue
        latencies.append(1000 * (time.perf_counter() - started))
    return latencies, failed


def _await_health(server: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.perf_counter() + _START_SECONDS
    while time.perf_counter() < until:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with {server.returncode}")
        try:
            ask(http.client.HTTPConnection(HOST, port, timeout=5), "GET", "/api/health")
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"the server does not answer after {_START_SECONDS} seconds")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / _KIB_IN_MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", help="run folder; by default the plain sum")
    parser.add_argument("--store", help="embedding store")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    arguments = [
        *([given.run] if given.run else []),
        *(["--store", given.store] if given.store else []),
        *("--device", given.device),
    ]
    with served(*arguments) as (port, pid):
        load(port, pid, 1, 2)  # a first batch of each size compiles and caches
        _say(
            f"memory before: {_rss_mib(pid):.0f} MiB, load of the machine {os.getloadavg()[0]:.1f}"
        )
        _say("| clients | searches/s | p50 ms | p95 ms | p99 ms | failed | RSS MiB |")
        _say("|---:|---:|---:|---:|---:|---:|---:|")
        for clients in given.clients:
            _say(load(port, pid, clients, given.seconds).row())


if __name__ == "__main__":
    main()
