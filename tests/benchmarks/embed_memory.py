"""The memory of `cir embed`, by how many photos it embeds.

    python -m tests.benchmarks.embed_memory --photos 1000 5000 10000
    python -m tests.benchmarks.embed_memory --photos 10000 100000 --stand-in

Embeds photos of 48 pixels, a thousand different ones again and again, with cir-tiny and two
workers, each number into a store of its own, and prints the most resident memory that the command
and its largest worker had at one time; `again` is the command's where it finds that store up to
date. What the system counts for a worker holds what it shares with the command. `--stand-in` puts
an encoder that computes next to nothing in the place of cir-tiny: reading, handing over, saving and
writing are the same, and vectors are as long, 2,560 bytes a photo.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32
from PIL import Image

from cir.config import EmbedConfig
from cir.data.dataset import Dataset
from cir.encoding.foreign import adopted
from cir.encoding.job.dataset_embedding import embed_dataset
from cir.machine.kept_memory import keep_freed_memory
from tests.support.forked import CIR, Forked, forked
from tests.support.worlds import blot

WORKERS: Final = 2
DISTINCT: Final = 1000
"""Different photos; a file system lets one have tens of thousands of names."""
_SIZE: Final = 112
"""Pixels that the stand-in takes, as cir-tiny."""
_DIM: Final = 640
_BETWEEN: Final = 0.05
"""Seconds between two looks."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, nargs="+", default=[1000, 5000, 10_000])
    parser.add_argument("--stand-in", action="store_true", help="a quick encoder, not cir-tiny")
    parser.add_argument("--embed", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.embed:
        embed_by_stand_in(*options.embed)
        return
    started = stand_in if options.stand_in else embedding
    report("| photos | command, MiB | a worker, MiB | again, MiB | seconds |")
    report("|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for count in sorted(options.photos):
            drawn(Path(folder) / "dataset", count)
            begun = time.monotonic()
            command, worker = peaks(started(Path(folder), count))
            passed = time.monotonic() - begun
            again, _ = peaks(started(Path(folder), count))
            report(f"| {count:,} | {command:,.0f} | {worker:,.0f} | {again:,.0f} | {passed:.0f} |")


def drawn(root: Path, count: int) -> None:
    """A gallery of so many photos; those that are there stay."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "image_splits").mkdir(exist_ok=True)
    ids = [f"{number:06d}" for number in range(count)]
    for number, image_id in enumerate(ids):
        file = root / "images" / f"{image_id}.jpg"
        if file.exists():
            continue
        if number < DISTINCT:
            blot(np.random.default_rng(number), 48).save(file)
        else:
            file.hardlink_to(root / "images" / f"{number % DISTINCT:06d}.jpg")
    (root / "image_splits" / "split.photos.train.json").write_text(json.dumps(ids))


def embedding(folder: Path, count: int) -> Forked:
    """The command, started."""
    words = ["embed", str(folder / "dataset"), "--model", "cir-tiny", "--device", "cpu"]
    return forked(CIR, [*words, "--out", str(folder / f"{count}.h5"), "--workers", str(WORKERS)])


def stand_in(folder: Path, count: int) -> Forked:
    """The same with an encoder that computes next to nothing, started."""
    words = ["--embed", str(folder / "dataset"), str(folder / f"{count}.h5")]
    return forked("tests.benchmarks.embed_memory", words)


def embed_by_stand_in(dataset: Path, out: Path) -> None:
    """What the command does once it has loaded its encoder."""
    keep_freed_memory()
    embed_dataset(
        Dataset(dataset),
        adopted(Cheap(), name="stand-in", image_size=_SIZE, version="1"),
        out,
        batch_size=EmbedConfig.batch_size,
        workers=WORKERS,
        on_error="fail",
    )


class Cheap:
    """Vectors of a photo's first bytes."""

    def encode_images(self, photos: Sequence[Image.Image]) -> Float32[np.ndarray, "photos dim"]:
        first = [np.asarray(photo).ravel()[:_DIM] for photo in photos]
        return np.stack(first).astype(np.float32) + 1


def peaks(process: Forked) -> tuple[float, float]:
    """The most resident memory of a command and of any worker of it, in MiB."""
    command = worker = 0.0
    while process.poll() is None:
        command = max(command, resident(process.pid))
        worker = max([worker, *map(resident, children(process.pid))])
        time.sleep(_BETWEEN)
    said = process.communicate()
    if process.returncode:
        raise SystemExit(f"cir embed ended with {process.returncode}: {' '.join(said)}")
    return command, worker


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    try:
        return [
            int(each)
            for task in Path(f"/proc/{process}/task").iterdir()
            for each in (task / "children").read_text().split()
        ]
    except OSError:
        return []


def resident(process: int) -> float:
    """Resident memory of a process in MiB; 0 of one that has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def report(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
