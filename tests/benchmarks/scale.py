"""Time, memory and recall of exact and approximate mining as the gallery grows.

    python -m tests.benchmarks.scale --embeddings FILE --work FOLDER
        [--sizes 37825 378250 1000000] [--queries 2000] [--limit 1200] [--only flat ivf]
        [--device cuda] [--json FILE]

The gallery is a file mapped into memory: the store's own unit vectors, then as many made of them as
are wanted. A made one is a u + (1 - a) v with a uniform in [0.5, 1], u and v two of the store, and
noise of a fifth of its length in the directions, and by the shares, in which the store's vectors
differ from one another; so it is near an image, as images are, and not spread over the sphere.
A query is u + b t with t an image of the gallery, its target, and b uniform in [0.2, 1].

Each contestant runs in a process of its own, at most --limit seconds. --work keeps the galleries.
"""

import argparse
import ctypes
import dataclasses
import gc
import json
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from cir.artefacts.store import read_embeddings
from cir.artefacts.vectors import normalised
from cir.config import IndexKind, MineConfig, MiningOptions
from cir.machine.workers import usable_cores
from cir.mining import approximate
from cir.mining.engine import mine
from cir.mining.exclusions.excluded import exclusions_of
from cir.mining.faiss_index import CandidateIndex
from cir.mining.manifest import plan_of
from cir.mining.problem import Problem

SIZES = (37_825, 378_250, 1_000_000)
CONTESTANTS = ("flat", "ivf", "hnsw", "ivfpq")
NEAREST_SHARE, NOISE = 0.5, 0.2
PULLS = (0.2, 1.0)
BLOCK = 16384
"""Vectors made at once."""
TINY = 10_000
"""Images of the run before the clock starts: code is compiled, threads are started."""
OPTIONS = MiningOptions()
COLUMNS = (
    "images",
    "index",
    "build s",
    "search s",
    "ms a query",
    "ns a pair",
    "pays from queries",
    "peak MiB",
    "negatives found",
    "same row",
    "rank off by",
    "band off by",
)
LEGEND = """\
{queries:,} queries, {strategy}, {negatives} negatives, {candidates:,} candidates of an approximate
index; {cores} cores. build: training and adding. search: from the index to the chosen negatives.
ns a pair: search, by queries and images. pays from queries: as many as must share the building
before it and their search take less than comparing all. peak: the most memory of its own above what
stood there at the start, the gallery's file apart. The rest is what such a run says of itself: of
sampled queries mined exactly as well, the share of the negatives found, of the rows that are the
same, and the mean errors of the target's rank and of the candidates in band."""


@dataclass(frozen=True)
class Row:
    """What one contestant did."""

    images: int
    index: str
    build: float
    search: float
    peak_mib: float
    approximation: dict[str, Any] | None


def main() -> None:
    """Makes the galleries, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--embeddings", type=Path, required=True, help="store to make them of")
    parser.add_argument("--work", type=Path, required=True, help="folder for the galleries")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--limit", type=float, default=1200, help="seconds a contestant may take")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--device", default="cpu", help="where candidates are compared")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    asked = parser.parse_args()

    asked.work.mkdir(parents=True, exist_ok=True)
    images = normalised(read_embeddings(asked.embeddings).images.vectors, "the store")
    lines = [_line(COLUMNS), "|---:|---" + "|---:" * (len(COLUMNS) - 2) + "|"]
    every: list[dict[str, Any]] = []
    for size in asked.sizes:
        make_gallery(images, size, asked.work / f"gallery-{size}.npy")
        rows: list[Row] = []
        for name in asked.only:
            row = _bounded(asked.limit, name, asked.work, size, asked.queries, asked.device)
            if isinstance(row, Row):
                rows.append(row)
            lines.append(_line(_cells(row, size, name, rows, asked.queries)))
            every.append({"images": size, "name": name} | _described(row))
            print(lines[-1], flush=True)  # noqa: T201
    legend = LEGEND.format(
        queries=asked.queries,
        strategy=OPTIONS.strategy,
        negatives=OPTIONS.num_negatives,
        candidates=OPTIONS.candidates,
        cores=usable_cores(),
    )
    print("\n".join(["", *lines, "", legend]))  # noqa: T201
    if asked.json:
        asked.json.write_text(json.dumps({"legend": legend, "rows": every}, indent=1), "utf-8")


def make_gallery(images: Float32[np.ndarray, "images dim"], size: int, path: Path) -> None:
    """Writes `size` unit vectors like `images`, which come first; leaves a file that is there."""
    if path.exists():
        return
    aside = path.with_suffix(".part")
    made = np.lib.format.open_memmap(aside, "w+", np.float32, (size, images.shape[1]))
    made[: len(images)] = images[:size]
    rng = np.random.default_rng(0)
    spread = (images - images.mean(axis=0))[rng.permutation(len(images))]
    for start in range(len(images), size, BLOCK):
        block = made[start : start + BLOCK]
        near, far, noise = rng.integers(0, len(images), (3, len(block)))
        share = rng.uniform(NEAREST_SHARE, 1, (len(block), 1)).astype(np.float32)
        # Differences of real vectors point where real vectors differ.
        sign = rng.choice(np.array([-NOISE, NOISE], dtype=np.float32), (len(block), 1))
        mixed = share * images[near] + (1 - share) * images[far] + sign * spread[noise]
        block[:] = normalised(mixed, "made")
    made.flush()
    aside.replace(path)


def problem_of(path: Path, queries: int) -> Problem:
    """Queries among the vectors of a file; reference and target are no negatives."""
    gallery = np.load(path, mmap_mode="r")
    rng = np.random.default_rng(1)
    references, targets = rng.integers(0, len(gallery), (2, queries))
    wanted = np.array(gallery[targets])
    pull = rng.uniform(*PULLS, (queries, 1)).astype(np.float32)
    return Problem(
        queries=normalised(gallery[references] + pull * wanted, "queries"),
        targets=wanted,
        gallery=gallery,
        exclusions=exclusions_of(np.stack([references, targets], axis=1).tolist()),
    )


def run(name: str, folder: Path, size: int, queries: int, device: str) -> Row:
    """One contestant, once."""
    plan, block_size = plan_of(OPTIONS), MineConfig.block_size
    problem = problem_of(folder / f"gallery-{size}.npy", queries)
    warm = dataclasses.replace(problem, gallery=problem.gallery[: min(TINY, size)])
    warm = dataclasses.replace(warm, exclusions=exclusions_of([[]] * queries))
    _mined(name, warm, Clock(), device)
    clock = Clock()
    _give_back()
    with _anonymous_peak() as peak:
        index = _mined(name, problem, clock, device)
    found = None
    if index is not None:
        figures = approximate.measured(problem, plan, index, torch.device(device), block_size)
        found = dataclasses.asdict(figures)
    named = name if index is None else index.factory
    return Row(size, named, clock.seconds["build"], clock.seconds["search"], peak(), found)


class Clock:
    """Seconds of each step."""

    def __init__(self) -> None:
        self.seconds = {"build": 0.0, "search": 0.0}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


def _mined(name: str, problem: Problem, clock: Clock, device: str) -> CandidateIndex | None:
    plan, block_size = plan_of(OPTIONS), MineConfig.block_size
    if name == "flat":
        with clock.step("search"):
            mine(problem, plan, device=device, block_size=block_size)
        return None
    kind: IndexKind = name  # type: ignore[assignment]
    with clock.step("build"):
        index = CandidateIndex(problem.gallery, kind, OPTIONS.candidates, torch.device(device))
    with clock.step("search"):
        mine(problem, plan, block_size=block_size, propose=index.propose)
    return index


def _bounded(limit: float, *args: Any) -> Row | str:
    """What `run(*args)` gives in a new process, or why it gave nothing."""
    spawned = multiprocessing.get_context("spawn")
    ours, theirs = spawned.Pipe(duplex=False)
    process = spawned.Process(target=_answer, args=(theirs, *args))
    process.start()
    theirs.close()
    try:
        if not ours.poll(limit):
            return f"not done after {limit:,.0f} s"
        row: Row | str = ours.recv()
        return row
    except EOFError:
        return "its process was killed, or ran out of memory"
    finally:
        process.kill()
        process.join()


def _answer(theirs: Connection, *args: Any) -> None:
    theirs.send(run(*args))


@contextmanager
def _anonymous_peak() -> Iterator[Callable[[], float]]:
    """Tells the most anonymous memory, in MiB, above what there was at the start."""
    done, most = threading.Event(), [_anonymous()]
    before = most[0]

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], _anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: most[0] - before
    finally:
        done.set()
        watcher.join()


def _give_back() -> None:
    """Returns freed memory to the system: what is taken from it again would not be seen."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def _anonymous() -> float:
    """Resident memory of the process that is of no file, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(each for each in status.splitlines() if each.startswith("RssAnon:"))
    return int(line.split()[1]) / 1024


def _cells(
    row: Row | str, size: int, name: str, rows: Sequence[Row], queries: int
) -> Sequence[str]:
    if isinstance(row, str):
        return (f"{size:,}", name, row)
    found = row.approximation
    return (
        f"{size:,}",
        row.index,
        f"{row.build:.1f}",
        f"{row.search:.1f}",
        f"{1000 * row.search / queries:.2f}",
        f"{1e9 * row.search / queries / size:.2f}",
        _pays_from(row, rows, queries),
        f"{row.peak_mib:,.0f}",
        *(
            ("exact", "exact", "exact", "exact")
            if found is None
            else (
                f"{100 * found['negatives_found']:.1f} %",
                f"{100 * found['rows_identical']:.1f} %",
                f"{found['target_rank_error']:,.1f}",
                f"{found['candidates_in_band_error']:,.0f}",
            )
        ),
    )


def _pays_from(row: Row, rows: Sequence[Row], queries: int) -> str:
    """Queries from which an index is quicker than comparing all, at this size."""
    flat = next((each for each in rows if each.approximation is None), None)
    if flat is None or row is flat:
        return ""
    saved = (flat.search - row.search) / queries
    return f"{row.build / saved:,.0f}" if saved > 0 else "never"


def _described(row: Row | str) -> dict[str, Any]:
    return {"failure": row} if isinstance(row, str) else dataclasses.asdict(row)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join([*cells, *[''] * (len(COLUMNS) - len(cells))])} |"


if __name__ == "__main__":
    main()
