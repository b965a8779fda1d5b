"""Mining against the matrix product that it cannot do without.

    python -m tests.benchmarks.mining [--queries 18000] [--gallery 37825] [--repeats 5]

Random unit vectors; targets are correlated with their queries, so that ranks spread. Every repeat
times everything once, and each figure is the median over repeats: wall time, and processor time
of all threads, which other programs on the machine disturb less.
"""

import argparse
import time
from collections.abc import Callable, Mapping

import faiss
import numpy as np
import torch

from cir.artefacts.vectors import normalised
from cir.config import MiningOptions
from cir.mining.engine import Problem, mine
from cir.mining.nearcopies import near_copies
from cir.mining.offline import plan_of
from cir.mining.validity import exclusions_of
from pipeline import console

STRATEGIES: Mapping[str, Mapping[str, object]] = {
    "random": {"strategy": "random"},
    "hard": {"strategy": "hard"},
    "semi-hard": {"strategy": "semi-hard"},
    "semi-hard, sampled": {"strategy": "semi-hard", "sampling": "random"},
    "category-aware": {"strategy": "category-aware"},
}
BLOCK = 256
UNIT = "float32 product (numpy)"
DUPLICATE = 0.99


def problem_of(queries: int, gallery: int, dim: int, categories: int = 3) -> Problem:
    """Random vectors, three exclusions a query, and categories of equal size."""
    rng = np.random.default_rng(0)
    images = normalised(rng.standard_normal((gallery, dim), dtype=np.float32), "images")
    rows = rng.integers(0, gallery, (queries, 3))
    noise = rng.standard_normal((queries, dim), dtype=np.float32) / np.sqrt(dim)
    pull = rng.uniform(0, 0.5, (queries, 1)).astype(np.float32)
    return Problem(
        queries=normalised(noise + pull * images[rows[:, 0]], "queries"),
        targets=images[rows[:, 0]],
        gallery=images,
        exclusions=exclusions_of(rows.tolist()),
        categories=np.sort(rng.integers(0, categories, queries)),
        members=np.arange(gallery) % categories == np.arange(categories)[:, None],
    )


def product(problem: Problem) -> None:
    """The float32 product alone, by NumPy, a block at a time."""
    out = np.empty((BLOCK, len(problem.gallery)), dtype=np.float32)
    for start in range(0, len(problem.queries), BLOCK):
        block = problem.queries[start : start + BLOCK]
        np.matmul(block, problem.gallery.T, out=out[: len(block)])


def torch_product(problem: Problem) -> None:
    """The same product by torch."""
    gallery = torch.from_numpy(problem.gallery)
    out = torch.empty(BLOCK, len(gallery))
    for start in range(0, len(problem.queries), BLOCK):
        block = torch.from_numpy(problem.queries[start : start + BLOCK])
        torch.mm(block, gallery.T, out=out[: len(block)])


def flat_search(problem: Problem, k: int) -> None:
    """FAISS's exact search, index built included."""
    index = faiss.IndexFlatIP(problem.gallery.shape[1])
    index.add(problem.gallery)
    index.search(problem.queries, k)


def contestants(problem: Problem) -> Mapping[str, Callable[[], object]]:
    """What is timed, by name."""
    plans = {name: plan_of(MiningOptions(**own)) for name, own in STRATEGIES.items()}  # type: ignore[arg-type]
    return {
        UNIT: lambda: product(problem),
        "float32 product (torch)": lambda: torch_product(problem),
        "FAISS flat, k = 5": lambda: flat_search(problem, 5),
        "FAISS flat, k = 256": lambda: flat_search(problem, 256),
        "near-duplicates of targets": lambda: near_copies(
            problem.targets, problem.gallery, DUPLICATE
        ),
        **{f"mine {name}": lambda p=plan: mine(problem, p) for name, plan in plans.items()},  # type: ignore[misc]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=18_000)
    parser.add_argument("--gallery", type=int, default=37_825)
    parser.add_argument("--dim", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    timed = contestants(problem_of(asked.queries, asked.gallery, asked.dim))
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in timed}
    for _ in range(asked.repeats):
        for name, work in timed.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = {name: np.median(own, axis=0) for name, own in taken.items()}
    unit = medians[UNIT]
    console.table(
        f"{asked.queries:,} queries x {asked.gallery:,} gallery x {asked.dim}, "
        f"median of {asked.repeats}",
        ("", "wall s", "x product", "CPU s", "x product"),
        [
            (name, f"{t[0]:.2f}", f"{t[0] / unit[0]:.2f}", f"{t[1]:.2f}", f"{t[1] / unit[1]:.2f}")
            for name, t in medians.items()
        ],
    )


if __name__ == "__main__":
    main()
