"""What a busy neighbour costs: photos encoded beside a program that keeps one core for itself.

    python -m tests.benchmarks.busy

Each way to wait is tried in a process of its own, because OpenMP reads it when it is loaded:
without a neighbour and with one, photo by photo and 32 at a time, with the bundled encoder. Medians
of repeats; the neighbour is pinned to one of the cores that this process may use.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Final

import torch

from cir.config import TINY
from cir.encoding.encoder import Encoder
from cir.encoding.loading import load_encoder

BATCHES: Final = (1, 32)
REPEATS: Final = {1: 60, 32: 12}
WAYS: Final[dict[str, dict[str, str]]] = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "a thread a core, spinning": {},
    "a thread a core, asleep": {"OMP_WAIT_POLICY": "PASSIVE"},
}
"""What the environment says; the last is how `cir` waits."""


def encoded_each_second() -> list[float]:
    """Photos a second, by size of batch."""
    encoder = load_encoder(
        TINY, pretrained=None, weights=None, preprocess="targetpad", device=torch.device("cpu")
    )
    return [_rate(encoder, size) for size in BATCHES]


def _rate(encoder: Encoder, size: int) -> float:
    pixels, seconds = torch.randn(size, 3, encoder.image_size, encoder.image_size), []
    with torch.inference_mode():
        encoder.encode_images(pixels)
        for _ in range(REPEATS[size]):
            started = time.perf_counter()
            encoder.encode_images(pixels)
            seconds.append(time.perf_counter() - started)
    return size / median(seconds)


@contextmanager
def neighbour() -> Iterator[None]:
    """A program that keeps one core busy."""
    core = max(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    running = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        running.kill()
        running.wait()


def _in_process(way: dict[str, str]) -> list[float]:
    usual = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    cores = str(len(os.sched_getaffinity(0)))
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.busy", "--one"],
        env={**usual, "OMP_NUM_THREADS": cores, **way},
        capture_output=True,
        check=True,
    )
    rates: list[float] = json.loads(done.stdout)
    return rates


def main() -> None:
    sys.stdout.write(
        "| photos a second | alone, 1 | alone, 32 | beside another, 1 | beside another, 32 |\n"
    )
    sys.stdout.write("|---|---:|---:|---:|---:|\n")
    for name, way in WAYS.items():
        rates = _in_process(way)
        with neighbour():
            rates += _in_process(way)
        sys.stdout.write(f"| {name} | " + " | ".join(f"{rate:.0f}" for rate in rates) + " |\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["--one"]:
        sys.stdout.write(json.dumps(encoded_each_second()))
    else:
        main()
