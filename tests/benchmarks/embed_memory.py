"""The memory of `cir embed`, by how many photos it embeds.

    python -m tests.benchmarks.embed_memory --photos 1000 5000 10000

Draws photos of 48 pixels, embeds them with cir-tiny and two workers, each number into a store of
its own, and prints the most resident memory that the command and its largest worker had at one
time. What the system counts for a worker holds what it shares with the command; vectors take 2,560
bytes a photo of the command's.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np

from tests.support.forked import CIR, Forked, forked
from tests.support.worlds import blot

WORKERS: Final = 2
_BETWEEN: Final = 0.05
"""Seconds between two looks."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, nargs="+", default=[1000, 5000, 10_000])
    options = parser.parse_args()
    report("| photos | command, MiB | a worker, MiB | seconds |\n|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for count in sorted(options.photos):
            drawn(Path(folder) / "dataset", count)
            begun = time.monotonic()
            command, worker = peaks(embedding(Path(folder), count))
            passed = time.monotonic() - begun
            report(f"| {count:,} | {command:,.0f} | {worker:,.0f} | {passed:.0f} |")


def drawn(root: Path, count: int) -> None:
    """A gallery of so many photos; those that are there stay."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "image_splits").mkdir(exist_ok=True)
    ids = [f"{number:06d}" for number in range(count)]
    for number, image_id in enumerate(ids):
        file = root / "images" / f"{image_id}.jpg"
        if not file.exists():
            blot(np.random.default_rng(number), 48).save(file)
    (root / "image_splits" / "split.photos.train.json").write_text(json.dumps(ids))


def embedding(folder: Path, count: int) -> Forked:
    """The command, started."""
    words = ["embed", str(folder / "dataset"), "--model", "cir-tiny", "--device", "cpu"]
    return forked(CIR, [*words, "--out", str(folder / f"{count}.h5"), "--workers", str(WORKERS)])


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
