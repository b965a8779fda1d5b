"""What an epoch costs each of several processes, from its parts, where there is room for one.

    python -m tests.benchmarks.ranks --dataset DATASET --embeddings STORE --manifest MANIFEST

One process trains an epoch of the image tower alone; then it does what each of several would do:
its part of every batch, of the photos that are encoded again, and of the targets that
near-duplicates are looked for. What it would learn from others it takes from itself: its numbers
are none, but its work is. Seconds are those of the one core that it computes on, so that others who
use the machine do not count; the time of adding up gradients is computed from their bytes.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from cir.artefacts.manifest import read_manifest
from cir.artefacts.store import read_embeddings
from cir.config import TrainConfig
from cir.data.dataset import Dataset
from cir.machine.processes import ALONE, Processes
from cir.mining.exclusions.near_duplicates import near_duplicates
from cir.training.train import train

T = TypeVar("T")


class Stand(Processes):
    """The main process of several, the others of which say what it says itself."""

    def __init__(self, count: int) -> None:
        super().__init__(0, count)
        self.summed_bytes = 0
        self._total = 0

    def part(self, total: int) -> slice:
        self._total = total
        return super().part(total)

    def _meet(self, error: Exception | None, value: Any = None) -> list[Any]:
        if error is not None:
            raise error
        return [value] * self.count

    def broadcast_from_main(self, make: Callable[[], T]) -> T:
        return make()

    def all_rows(self, part: np.ndarray) -> np.ndarray:
        return np.resize(part, (self._total, *part.shape[1:]))

    def begin_sum(self, tensor: Tensor) -> Callable[[], None]:
        self.summed_bytes += tensor.nbytes
        return int


@dataclass(frozen=True)
class Epoch:
    """Seconds of an epoch's parts in one process."""

    steps: float
    encode: float
    rest: float
    near_duplicates: float
    exchanged: float
    """What its collectives take, beside the steps."""

    @property
    def whole(self) -> float:
        """Of the epoch, where no collective runs beside a step."""
        return self.steps + self.encode + self.rest + self.near_duplicates + self.exchanged

    def row(self, name: str) -> str:
        parts = (self.steps, self.exchanged, self.encode, self.near_duplicates, self.rest)
        return " | ".join([f"| {name}", *(f"{part:.1f}" for part in (*parts, self.whole))]) + " |"


def measured(asked: argparse.Namespace, processes: Processes) -> Epoch:
    """An epoch of one of some processes."""
    dataset, store = Dataset(asked.dataset), read_embeddings(asked.embeddings)
    lines: list[Any] = []
    # Near-duplicates are timed apart: what this process found is no list of what all would.
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            out=Path(folder) / "run",
            tune="image",
            epochs=1,
            batch_size=asked.batch_size,
            learning_rate=1e-9,
            remine=False,
            tracker=("none",),
            workers=0,
            device=asked.device,
        )
        manifest = read_manifest(asked.manifest)
        train(config, dataset, store, manifest, on_epoch=lines.append, processes=processes)
    parts = lines[1]["parts"]
    exchanged = 0.0
    if isinstance(processes, Stand):
        # A ring sends each byte twice, but for the share of one process.
        sent = 2 * processes.summed_bytes * (processes.count - 1) / processes.count
        exchanged = sent * 8 / (asked.gigabits * 1e9)
    return Epoch(
        steps=parts["train"],
        encode=parts["embed"],
        rest=lines[1]["seconds"] - parts["train"] - parts["embed"],
        near_duplicates=_near_duplicates(store.images.vectors, processes),
        exchanged=exchanged,
    )


def _near_duplicates(vectors: np.ndarray, processes: Processes) -> float:
    """Seconds that a part of all images is compared with all."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    part = unit[processes.part(len(unit))]
    started = time.perf_counter()
    near_duplicates(part, unit, 0.99)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("dataset", "embeddings", "manifest"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--gigabits", type=float, default=10.0, help="a second, of the network")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    time.perf_counter = time.process_time  # what the run's own clock reads
    near_duplicates(*[np.eye(4, dtype=np.float32)] * 2, 0.99)  # compiled before it is timed
    alone, one = measured(asked, ALONE), measured(asked, Stand(asked.processes))
    before = Epoch(one.steps, alone.encode, alone.rest, alone.near_duplicates, one.exchanged)
    head = ("seconds", "steps", "sums", "encode again", "near-duplicates", "rest", "whole")
    table = [
        f"| {' | '.join(head)} |",
        f"|---|{'---:|' * (len(head) - 1)}",
        alone.row("1 process"),
        before.row(f"{asked.processes}, of which one encodes"),
        one.row(f"{asked.processes} that share all"),
    ]
    sys.stdout.write("\n".join(table) + "\n")


if __name__ == "__main__":
    main()
