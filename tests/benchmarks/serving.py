"""`cir serve` under load, over the loopback address: throughput, latencies, failures, memory.

    python -m tests.benchmarks.serving --store data/shop.h5 --clients 1 8 32 --seconds 20

Each client asks, waits for the answer, and asks again: a photo of the gallery changed by a text.
With `--beside PYTHON`, an interpreter in which clip-retrieval is installed, its back end and
`cir serve` are asked for the same thing after one another, which needs no encoder: the 10 photos
nearest to one of the gallery, without near-copies.
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
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from cir.artefacts.store import read_embeddings
from cir.artefacts.vectors import normalised

HOST = "127.0.0.1"
BACK_END = Path(__file__).with_name("clip_back.py")
Ask = Callable[[random.Random], tuple[str, str, Any]]
"""Draws a request: its method, path, and body."""
_START_SECONDS = 180
_TOP = 10
_LOOKED_AT = 32
"""Rows that `cir serve` looks at for ten results, copies among which are folded."""
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
    cpu_ms: float
    """Processor time of the server for each answer, which neighbours on the machine do not move."""
    rss_mib: float
    """Resident memory of the server afterwards."""

    def row(self) -> str:
        """The figures of a line of the table."""
        p50, p95, p99 = np.percentile(self.latencies, (50, 95, 99))
        return (
            f"| {self.clients} | {self.answered / self.seconds:.1f} | {p50:.0f} | {p95:.0f} "
            f"| {p99:.0f} | {self.cpu_ms:.1f} | {self.failed} | {self.rss_mib:.0f} |"
        )


def served(*arguments: str) -> AbstractContextManager[tuple[int, int]]:
    """`cir serve`; its port and process id."""
    command = [sys.executable, "-m", "pipeline", "serve", *arguments, "--port"]
    return _started(command, "/api/health")


def back_end(python: str, folder: Path) -> AbstractContextManager[tuple[int, int]]:
    """clip-retrieval's back end over what `_export` wrote; its port and process id."""
    return _started([python, str(BACK_END), str(folder)], "/indices-list")


@contextmanager
def _started(command: Sequence[str], healthy: str) -> Iterator[tuple[int, int]]:
    """A server of its own, whose command ends with its port. It is told to stop, and must."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, str(port)], **quiet) as server:
        try:
            _await_health(server, port, healthy)
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


def changed_photos(port: int) -> Ask:
    """Asks for a photo of the gallery changed by a text."""
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    listed = ask(connection, "GET", "/api/images?seed=0&count=100")["images"]
    ids = [image["id"] for image in listed]

    def drawn(chance: random.Random) -> tuple[str, str, Any]:
        query = {"images": [chance.choice(ids)], "text": chance.choice(_TEXTS)}
        return "POST", "/api/search", query

    return drawn


def neighbours(ids: Sequence[str]) -> Ask:
    """Asks `cir serve` for the photos nearest to one."""
    return lambda chance: ("GET", f"/api/neighbours/{quote(chance.choice(ids), safe='')}", None)


def nearest_to(vectors: np.ndarray) -> Ask:
    """Asks clip-retrieval for the photos nearest to a vector, with as many candidates as cir has.

    Its front end asks for duplicates to be left out, too.
    """
    asked = {"modality": "image", "indice_name": "shop", "deduplicate": True}
    asked |= {"num_images": _TOP, "num_result_ids": _LOOKED_AT}

    def drawn(chance: random.Random) -> tuple[str, str, Any]:
        vector = vectors[chance.randrange(len(vectors))].tolist()
        return "POST", "/knn-service", asked | {"embedding_input": vector}

    return drawn


def load(port: int, pid: int, asking: Ask, clients: int, seconds: float) -> Load:
    """Lets some clients ask for a while."""
    until, spent = time.perf_counter() + seconds, _cpu_ms(pid)
    with ThreadPoolExecutor(clients) as pool:
        jobs = [pool.submit(_client, port, number, asking, until) for number in range(clients)]
        parts = [job.result() for job in jobs]
    latencies = np.array([each for part, _ in parts for each in part])
    failed = sum(count for _, count in parts)
    spent = (_cpu_ms(pid) - spent) / len(latencies)
    return Load(clients, len(latencies), failed, seconds, latencies, spent, _rss_mib(pid))


def _client(port: int, seed: int, asking: Ask, until: float) -> tuple[list[float], int]:
    """Latencies of the answers, and how many requests failed."""
    drawn, latencies, failed = random.Random(seed), [], 0
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    while time.perf_counter() < until:
        request = asking(drawn)
        started = time.perf_counter()
        try:
            ask(connection, *request)
        except (OSError, RuntimeError, http.client.HTTPException):
            failed += 1
            connection.close()
            continue
        latencies.append(1000 * (time.perf_counter() - started))
    return latencies, failed


def _await_health(server: "subprocess.Popen[bytes]", port: int, healthy: str) -> None:
    until = time.perf_counter() + _START_SECONDS
    while time.perf_counter() < until:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with {server.returncode}")
        try:
            ask(http.client.HTTPConnection(HOST, port, timeout=5), "GET", healthy)
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"the server does not answer after {_START_SECONDS} seconds")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _export(store: Path, folder: Path) -> tuple[Sequence[str], np.ndarray]:
    """Writes a store's unit vectors and ids for clip-retrieval; gives them, too."""
    images = read_embeddings(store).images
    vectors = normalised(images.vectors, str(store))
    np.save(folder / "vectors.npy", vectors)
    (folder / "ids.json").write_text(json.dumps(images.keys), encoding="utf-8")
    return images.keys, vectors


def _cpu_ms(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[11:13]
    return 1000 * (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / _KIB_IN_MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", help="run folder; by default the plain sum")
    parser.add_argument("--store", help="embedding store")
    parser.add_argument("--index", default="auto", help="as that of cir serve")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--beside", help="interpreter in which clip-retrieval is installed")
    given = parser.parse_args()
    arguments = [
        *([given.run] if given.run else []),
        *(["--store", given.store] if given.store else []),
        *("--device", given.device, "--index", given.index),
    ]
    if given.beside:
        _compare(given, arguments)
        return
    with served(*arguments) as (port, pid):
        _tell(port, pid, changed_photos(port), given)


def _compare(given: argparse.Namespace, arguments: Sequence[str]) -> None:
    """The same question to clip-retrieval and to `cir serve`."""
    with tempfile.TemporaryDirectory() as folder:
        ids, vectors = _export(Path(given.store), Path(folder))
        with back_end(given.beside, Path(folder)) as (port, pid):
            _say("clip-retrieval")
            _tell(port, pid, nearest_to(vectors), given)
    with served(*arguments) as (port, pid):
        _say("cir serve")
        _tell(port, pid, neighbours(ids), given)


def _tell(port: int, pid: int, asking: Ask, given: argparse.Namespace) -> None:
    load(port, pid, asking, 1, 2)  # a first batch of each size compiles and caches
    _say(f"memory before: {_rss_mib(pid):.0f} MiB, load of the machine {os.getloadavg()[0]:.1f}")
    _say("| clients | searches/s | p50 ms | p95 ms | p99 ms | CPU ms | failed | RSS MiB |")
    _say("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for clients in given.clients:
        _say(load(port, pid, asking, clients, given.seconds).row())


if __name__ == "__main__":
    main()
