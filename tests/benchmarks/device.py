"""The scan that runs wholly on one device, beside the compiled scan and the bare product.

    python -m tests.benchmarks.device --device cuda [--vectors random] [--queries N] [--gallery N]
    python -m tests.benchmarks.device --device cpu --dataset FOLDER --embeddings FILE

Every row is mined by both scans, and has to be the same bit for bit. Seconds are the least of the
repeats; those of the processor are of all threads, and say more than wall time where other work
takes a part of it. On the CPU, the device's scan runs the same operations of torch as on a GPU.
"""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from cir.machine.arithmetic import float32
from cir.mining.engine import mine
from cir.mining.exclusions.excluded import exclusions_of
from cir.mining.faiss_index import GPU_MOST, FlatIndex
from cir.mining.plan import Draw, Plan
from cir.mining.problem import Mined, Problem
from tests.benchmarks import vectors
from tests.benchmarks.vectors import World
from tests.support.device_scans import device_scans

_NEAR: Final = (Draw("any", 1.0, "semi-hard"),)
_SHARES: Final = (
    Draw("same-category", 0.7, "semi-hard"),
    Draw("other-category", 0.2, "semi-hard"),
    Draw("any", 0.1, "any"),
)
PLANS: Final[dict[str, dict[str, Any]]] = {
    "semi-hard": {"draws": _NEAR},
    "hard": {"draws": (Draw("any", 1.0, "hard"),)},
    "category-aware": {"draws": _SHARES},
    "random": {"draws": (Draw("any", 1.0, "any"),)},
    "semi-hard, softmax": {"draws": _NEAR, "sampling": "softmax"},
}
_TILE: Final = 1 << 16
_BLOCK: Final = 512


class Seconds(NamedTuple):
    """The least of some runs."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.2f} ({self.processor:.2f})"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    vectors.add_arguments(parser, split="train")
    parser.add_argument("--device", default="cuda", help="where the device's scan runs")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PLANS, default=list(PLANS))
    asked = parser.parse_args()
    world, name = vectors.world_of(parser, asked, all_images=True)
    device, problem = torch.device(asked.device), problem_of(world)
    shape = f"{len(problem.queries):,} queries × {len(problem.gallery):,} images"
    _say(f"{name}, {shape} × {problem.gallery.shape[1]}; {_named(device)}")
    _say("seconds, of the wall (and of the processor)")
    for what, seconds in bare(problem, device, asked.repeats).items():
        _say(f"{what:32} {seconds}")
    for each in asked.only:
        _say(compared(each, problem, device, asked.repeats))
    if device.type == "cuda":
        _say(f"peak memory of the card: {torch.cuda.max_memory_allocated() >> 20:,} MiB")


def problem_of(world: World) -> Problem:
    """The queries whose target the gallery holds; target and reference are excluded."""
    held = np.flatnonzero(world.targets >= 0)
    named = np.stack([world.targets, world.references], axis=1)[held]
    categories = sorted(world.galleries)
    members = np.array([np.isin(world.ids, list(world.galleries[each])) for each in categories])
    return Problem(
        queries=world.vectors[held],
        targets=world.gallery[world.targets[held]],
        gallery=world.gallery,
        exclusions=exclusions_of([own[own >= 0].tolist() for own in named]),
        categories=np.array([categories.index(world.queries[row].category) for row in held]),
        members=members,
    )


def compared(name: str, problem: Problem, device: torch.device, repeats: int) -> str:
    """The seconds of both scans."""
    plan = Plan(**{"num_negatives": 5, "margin": 0.2} | PLANS[name])
    compiled, expected = least(lambda: mine(problem, plan), repeats)
    with device_scans() if device.type == "cpu" else nullcontext():
        there, found = least(lambda: mine(problem, plan, device=device), repeats)
    require_same(found, expected)
    return f"{name:32} {there} on the device; {compiled} compiled; the same bit for bit"


def bare(problem: Problem, device: torch.device, repeats: int) -> dict[str, Seconds]:
    """The product alone, and FAISS's flat index: neither chooses negatives."""
    flat = FlatIndex(problem.gallery, device)
    flat.search(problem.queries[:1], 1)
    most = min(GPU_MOST, len(problem.gallery))
    found = {"the float32 product": least(lambda: _multiply(problem, device), repeats)[0]}
    for k in (64, most):
        searched, _ = least(lambda k=k: flat.search(problem.queries, k), repeats)  # type: ignore[misc]
        found[f"FAISS flat, k = {k}"] = searched
    return found


def require_same(found: Mined, expected: Mined) -> None:
    """Raises where two results differ."""
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), values, err_msg=name)


def least(work: Callable[[], Any], repeats: int) -> tuple[Seconds, Any]:
    """The least seconds of some runs after a first one, and what the last returned."""
    taken, result = [], work()
    for _ in range(repeats):
        started = time.perf_counter(), time.process_time()
        result = work()
        taken.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return Seconds(*(min(each) for each in zip(*taken, strict=True))), result


def _multiply(problem: Problem, device: torch.device) -> None:
    with float32(), torch.inference_mode():
        queries = torch.from_numpy(problem.queries).to(device)
        for start in range(0, len(problem.gallery), _TILE):
            tile = torch.from_numpy(problem.gallery[start : start + _TILE]).to(device)
            for block in torch.split(queries, _BLOCK):
                products = block @ tile.T
        products[:1, :1].cpu()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _named(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads of torch"


if __name__ == "__main__":
    main()
