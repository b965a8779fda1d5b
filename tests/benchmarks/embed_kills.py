"""`cir embed` killed again and again while its photos change, against one run that never was.

    python -m tests.benchmarks.embed_kills --times 20
    python -m tests.benchmarks.embed_kills --times 20 --processes 2

Makes a small dataset and embeds it with cir-tiny. Then, as many times: some photos are added, some
changed, some removed, some touched or renamed, and captions change with them; `cir embed` is
started and killed by SIGKILL at a drawn moment (while it starts, after a drawn time of encoding, or
while it writes the store). At the end `cir embed` runs once more, undisturbed, and once afresh into
another file. Fails unless the two hold the same ids, digests, states, texts and vectors, bit for
bit, and nothing else is left beside them. What is done is saved after every
batch, of two photos. Of several processes, started as torchrun starts them, a drawn one is killed,
and the others are then ended as torchrun ends them; the run afresh is of one process.
"""

import argparse
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from cir.artefacts.store import Embeddings, read_embeddings
from cir.data.dataset import Dataset
from tests.support.forked import CODE, forked
from tests.support.worlds import blot, small_dataset

LONGEST: Final = 60.0
"""Seconds after which a moment that did not come is given up."""
ENCODING: Final = 3.0
"""Seconds of encoding after which a run is killed, at most."""
_PROGRAM: Final = """
from cir.encoding.job import blocks
from pipeline.cli import app
blocks.SECONDS = 0.0
app()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--photos", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), options.photos, options.seed, options.processes)
        met = survived(world, options.times, report)
    report("| a kill met the program | times |\n|---|---:|")
    for moment, times in met.most_common():
        report(f"| {moment} | {times} |")
    report(f"{options.times} kills: the store is that of one undisturbed run, bit for bit")


class World:
    """A dataset whose photos change, and its store."""

    def __init__(self, folder: Path, photos: int, seed: int, processes: int = 1) -> None:
        self.folder, self.out, self.processes = folder, folder / "e.h5", processes
        self.draw, self.pixels = random.Random(seed), np.random.default_rng(seed)
        made = small_dataset(folder / "dataset", ("dress",), images=photos // 3, queries=20)
        self.root, self.images, self.made = made.root, made.root / "images", 0

    @property
    def dataset(self) -> Dataset:
        return Dataset(self.root)

    def change(self) -> str:
        """Adds, changes, removes, touches and renames some photos; what was done."""
        ids = self.dataset.gallery("train", "dress")
        self.draw.shuffle(ids)
        used = {i for q in self.dataset.queries("train") for i in (q.reference_id, *q.target_ids)}
        free = [image_id for image_id in ids if image_id not in used]
        removed, renamed = free[:5], free[5:6]
        left = [image_id for image_id in ids if image_id not in free[:6]]
        touched, changed = left[:2], left[2:10]
        added = [self._name() for _ in range(6)]
        for image_id in (*added, *changed):
            blot(self.pixels, 40).save(self.images / f"{image_id}.jpg")
        for image_id in removed:
            (self.images / f"{image_id}.jpg").unlink()
        for image_id in touched:
            os.utime(self.images / f"{image_id}.jpg")
        new_names = {image_id: self._name() for image_id in renamed}
        for old, new in new_names.items():
            (self.images / f"{old}.jpg").rename(self.images / f"{new}.jpg")
        gone = {*removed, *renamed}
        self._list([*(i for i in ids if i not in gone), *added, *new_names.values()])
        self._reword()
        return f"{len(added)} added, {len(changed)} changed, {len(removed)} removed"

    def _name(self) -> str:
        self.made += 1
        return f"new{self.made:04d}"

    def _list(self, ids: list[str]) -> None:
        path = self.dataset.split_file("dress", "train")
        path.write_text(json.dumps(sorted(ids)))

    def _reword(self) -> None:
        path = self.dataset.captions_file("dress", "train")
        rows = json.loads(path.read_text())
        self.draw.choice(rows)["captions"] = [f"is number {self.made}", "is longer"]
        path.write_text(json.dumps(rows))


def survived(
    world: World, times: int, told: Callable[[str], None] = lambda line: None
) -> Counter[str]:
    """Kills as many runs; what the kills met."""
    met = Counter[str]()
    finished(embedding(world, world.out))
    for number in range(times):
        done = world.change()
        moment = killed(world, (starting, encoding, writing)[number % 3])
        met.update([moment])
        told(f"run {number}: {done}; killed while {moment}")
    finished(embedding(world, world.out))
    whole = world.folder / "whole.h5"
    finished(Ranks(world, whole, 1))
    require_same(read_embeddings(world.out), read_embeddings(whole))
    left = {path.name for path in world.folder.iterdir()} - {"dataset", "e.h5", "whole.h5"}
    if left := {name for name in left if not name.endswith(".lock")}:
        raise SystemExit(f"left behind: {', '.join(sorted(left))}")
    return met


class Ranks:
    """The program, started in as many processes as a launcher starts."""

    def __init__(self, world: World, out: Path, count: int) -> None:
        words = ["embed", str(world.root), "--model", "cir-tiny", "--out", str(out)]
        words = [_PROGRAM, *words, "--workers", "1", "--device", "cpu", "--batch-size", "2"]
        self._draw = world.draw
        self._running = [forked(CODE, words, known) for known in _environments(count)]

    def poll(self) -> int | None:
        """None while any runs; then the first code that is no success, or 0."""
        codes = [process.poll() for process in self._running]
        return None if None in codes else next(filter(None, codes), 0)

    def kill(self) -> None:
        """Kills one, and ends the others."""
        self._draw.choice(self._running).kill()
        for process in self._running:
            process.send_signal(signal.SIGTERM)

    def communicate(self, timeout: float) -> str:
        """Waits for the ends; what all said."""
        return " ".join(text for each in self._running for text in each.communicate(timeout))


def _environments(count: int) -> list[dict[str, str]]:
    """What a launcher tells each process; nothing where there is one."""
    if count == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count)}
    shared["LOCAL_WORLD_SIZE"] = str(count)
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def embedding(world: World, out: Path) -> Ranks:
    """The program, started."""
    return Ranks(world, out, world.processes)


def finished(process: Ranks) -> None:
    """Waits for the end, which is to be good."""
    said = process.communicate(600)
    if code := process.poll():
        raise SystemExit(f"cir embed ended with {code}: {said}")


def killed(world: World, moment: Callable[["Attempt", float], bool]) -> str:
    """Starts a run and kills it; what it was doing."""
    attempt = Attempt(world)
    wait, process = world.draw.uniform(0, ENCODING), embedding(world, world.out)
    begun = time.monotonic()
    while process.poll() is None and (passed := time.monotonic() - begun) < LONGEST:
        if moment(attempt, passed - wait):
            break
        time.sleep(0.001)
    doing = "having ended" if process.poll() is not None else attempt.doing
    process.kill()
    process.communicate(LONGEST)
    return doing


class Attempt:
    """A run under way, told from what earlier ones have left."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._before = {*self._aside(), *self._parts()}

    @property
    def writing(self) -> bool:
        """Whether the store is being written aside."""
        return bool(self._aside() - self._before)

    @property
    def has_saved(self) -> bool:
        """Whether some of what was encoded is saved."""
        return bool(self._parts() - self._before)

    @property
    def doing(self) -> str:
        if self.writing:
            return "writing the store"
        return "encoding, some of it saved" if self.has_saved else "starting, or before a saving"

    def _aside(self) -> set[Path]:
        return set(self._world.folder.glob(".e.cir-*.h5"))

    def _parts(self) -> set[Path]:
        return set((self._world.folder / ".e.h5.parts").glob("*.npz"))


def starting(attempt: Attempt, late: float) -> bool:
    """A drawn time after the start."""
    return late >= 0


def encoding(attempt: Attempt, late: float) -> bool:
    """As soon as anything is saved."""
    return attempt.has_saved


def writing(attempt: Attempt, late: float) -> bool:
    """While the store is written aside."""
    return attempt.writing


def require_same(one: Embeddings, other: Embeddings) -> None:
    """Raises SystemExit unless two stores hold the same, bit for bit."""
    same = {
        "ids": one.images.keys == other.images.keys,
        "digests": one.image_sha256 == other.image_sha256,
        "states": np.array_equal(one.image_states, other.image_states),
        "texts": one.captions.keys == other.captions.keys,
        "vectors of images": one.images.vectors.tobytes() == other.images.vectors.tobytes(),
        "vectors of texts": one.captions.vectors.tobytes() == other.captions.vectors.tobytes(),
        "skipped": one.skipped == other.skipped,
    }
    if not all(same.values()):
        raise SystemExit(f"other {', '.join(what for what, holds in same.items() if not holds)}")


def report(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
