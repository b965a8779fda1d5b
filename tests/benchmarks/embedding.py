"""How fast `cir embed` is, beside its encoder, its decoder, and others that embed photos.

    python -m tests.benchmarks.embedding --beside /path/to/python

Product photos of 224 pixels, and mosaics of them of 1,120 to 2,016, are embedded on two cores, or
on as many as `--cores` says. The encoder alone has its pixels in memory; the decoder alone is
`cir`'s workers and nobody who encodes. Where both share the cores, one photo can take no less than
its time in the one and its time in the other: that is the limit. `--beside` is an interpreter in
which clip-retrieval is installed and in which cir can be imported. Processor time, all processes
together, is what neighbours on the machine move less.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from unittest import mock

import numpy as np
from PIL import Image

from tests.benchmarks.embedders import (
    CIR,
    DECODER,
    ENCODER,
    LOADER,
    READER,
    Took,
    gallery,
)
from tests.benchmarks.photos import SHARED

ROOT: Final = Path(__file__).parents[2]
PRODUCTS: Final = "products"
MOSAICS: Final = "mosaics"
_TILES: Final = (5, 10)
"""Product photos along an edge of a mosaic: from, and below."""
_TILE: Final = 224
_QUALITY: Final = 90
"""Of a mosaic's JPEG."""
_MS: Final = 1000
OWN: Final = (ENCODER, DECODER, CIR, LOADER)
"""Contestants that need no other interpreter."""
_COLUMNS: Final = (ENCODER, DECODER, "limit", CIR, LOADER, READER)


@dataclass
class Line:
    """What the contestants took for the same photos on the same cores."""

    model: str
    kind: str
    cores: int
    photos: int
    runs: dict[str, list[Took]] = field(default_factory=dict)

    def seconds(self, name: str, measure: str) -> float | None:
        """The median of a photo by a measure of `Took`; None of one that did not run."""
        if name == "limit":
            return self._sum(measure)
        if name not in self.runs:
            return None
        return statistics.median(getattr(took, measure) for took in self.runs[name]) / self.photos

    def _sum(self, measure: str) -> float | None:
        halves = [self.seconds(name, measure) for name in (ENCODER, DECODER)]
        known = [each for each in halves if each is not None]
        return sum(known) if len(known) == len(halves) else None

    def speeds(self) -> str:
        """Photos a second, and how much `cir` has of its limits."""
        cells = [self._cell(name, "wall", lambda seconds: 1 / seconds) for name in _COLUMNS]
        return self._row([*cells, self._share(ENCODER, "wall"), self._share("limit", "wall")])

    def costs(self) -> str:
        """Milliseconds of processor time a photo, and how much `cir` has of its limit."""
        cells = [self._cell(name, "cpu", lambda seconds: _MS * seconds) for name in _COLUMNS]
        return self._row([*cells, self._share("limit", "cpu")])

    def _row(self, cells: Sequence[str]) -> str:
        return f"| {' | '.join([self.model, self.kind, str(self.cores), *cells])} |"

    def _cell(self, name: str, measure: str, figure: Callable[[float], float]) -> str:
        seconds = self.seconds(name, measure)
        return "-" if seconds is None else _three_digits(figure(seconds))

    def _share(self, name: str, measure: str) -> str:
        least, own = self.seconds(name, measure), self.seconds(CIR, measure)
        return "-" if least is None or own is None else f"{100 * least / own:.0f} %"


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def headed(columns: Sequence[str]) -> str:
    """The head of a table of such columns."""
    return f"| {' | '.join(columns)} |\n|---|---|{'---:|' * (len(columns) - 2)}"


SPEEDS: Final = headed(["encoder", "photos", "cores", *_COLUMNS, "cir of encoder", "cir of limit"])
COSTS: Final = headed(["encoder", "photos", "cores", *_COLUMNS, "cir of limit"])


# --------------------------------------------------------------------------------------- running


Ask = Callable[[str], Took]
"""Has a contestant run once."""


def contest(
    model: str, root: Path, names: Sequence[str], beside: str | None, repeats: int
) -> dict[str, list[Took]]:
    """Every contestant in turn, again and again: what slows the machine meets all.

    Args:
        model: The encoder.
        root: The dataset folder.
        names: Contestants.
        beside: The interpreter that has clip-retrieval; None leaves that out.
        repeats: Runs of each.
    """
    with ExitStack() as programs:
        own = programs.enter_context(waiting(sys.executable, model, root))
        ask = dict.fromkeys(names, own)
        if beside is not None:
            ask[READER] = programs.enter_context(waiting(beside, model, root))
        runs: dict[str, list[Took]] = {name: [] for name in ask}
        for name in list(ask) * repeats:
            runs[name].append(ask[name](name))
    return runs


@contextmanager
def waiting(python: str, model: str, root: Path) -> Iterator[Ask]:
    """Contestants in a process of their own, on this one's cores."""
    words = ["-W", "ignore", "-m", "tests.benchmarks.embedders", model, str(root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    known = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([python, *words], cwd=ROOT, env=known, text=True, **pipes) as process:
        asked, said = process.stdin, process.stdout
        assert asked is not None
        assert said is not None

        def run(name: str) -> Took:
            asked.write(f"{name}\n")
            asked.flush()
            line = said.readline()
            if not line:
                raise SystemExit(f"{python} ended with {process.wait()} at {name}")
            return Took(**json.loads(line))

        yield run
        asked.close()


@contextmanager
def on_cores(cores: int) -> Iterator[None]:
    """Gives processes that are started inside the last cores of this one, and a thread for each.

    Threads wait for one another asleep, as in `cir embed`.
    """
    own = os.sched_getaffinity(0)
    threads = {"OMP_NUM_THREADS": str(cores), "OMP_WAIT_POLICY": "PASSIVE"}
    os.sched_setaffinity(0, sorted(own)[-cores:])
    try:
        with mock.patch.dict(os.environ, threads):
            yield
    finally:
        os.sched_setaffinity(0, own)


# ---------------------------------------------------------------------------------------- photos


def products(count: int) -> list[Path]:
    """The catalogue's first photos."""
    folder = SHARED / "fashion-products" / "images"
    found = sorted(folder.rglob("*.jpg"))[:count]
    if len(found) < count:
        raise SystemExit(f"{folder} holds {len(found)} photos; {count} are asked for")
    return found


def mosaics(folder: Path, photos: Sequence[Path], count: int) -> list[Path]:
    """JPEGs of 5 to 9 photos along each edge, drawn from `photos`."""
    rng, made = np.random.default_rng(0), []
    for number in range(count):
        across, down = rng.integers(*_TILES, 2).tolist()
        whole = Image.new("RGB", (across * _TILE, down * _TILE))
        for place, photo in enumerate(rng.choice(len(photos), across * down)):
            with Image.open(photos[photo]) as tile:
                fitted = tile.convert("RGB").resize((_TILE, _TILE))
            whole.paste(fitted, (place % across * _TILE, place // across * _TILE))
        made.append(folder / f"{number:05d}.jpg")
        whole.save(made[-1], quality=_QUALITY)
    return made


def galleries(folder: Path, kinds: Sequence[str], count: int) -> dict[str, Path]:
    """A dataset folder of each kind; there are an eighth as many mosaics as product photos."""
    photos, made = products(count), {}
    if PRODUCTS in kinds:
        made[PRODUCTS] = gallery(folder / PRODUCTS, photos)
    if MOSAICS in kinds:
        drawn = folder / "drawn"
        drawn.mkdir(parents=True)
        made[MOSAICS] = gallery(folder / MOSAICS, mosaics(drawn, photos, max(16, count // 8)))
    return made


# --------------------------------------------------------------------------------------- telling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["cir-tiny", "RN50x4"])
    parser.add_argument("--kinds", nargs="+", default=[PRODUCTS, MOSAICS])
    parser.add_argument("--cores", type=int, nargs="+", default=[2])
    parser.add_argument("--photos", type=int, default=2048, help="for cir-tiny")
    parser.add_argument("--heavy-photos", type=int, default=16, help="for every other encoder")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--beside", help="interpreter in which clip-retrieval is installed")
    asked = parser.parse_args()
    lines = []
    for model in asked.models:
        count = asked.photos if model == "cir-tiny" else asked.heavy_photos
        with tempfile.TemporaryDirectory() as folder:
            for kind, root in galleries(Path(folder), asked.kinds, count).items():
                for cores in asked.cores:
                    photos = len(list((root / "images").iterdir()))
                    with on_cores(cores):
                        runs = contest(model, root, OWN, asked.beside, asked.repeats)
                    lines.append(Line(model, kind, cores, photos, runs))
                    _say(
                        f"photos a second {lines[-1].speeds()}\nms of processor {lines[-1].costs()}"
                    )
    _say("\nPhotos a second:\n\n" + "\n".join([SPEEDS, *(line.speeds() for line in lines)]))
    _say("\nProcessor time, ms a photo:\n\n" + "\n".join([COSTS, *(e.costs() for e in lines)]))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
