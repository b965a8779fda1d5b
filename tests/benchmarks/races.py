"""Readers of an artefact that another process replaces all the while.

    python -m tests.benchmarks.races --replaced 500

For a store, a manifest and a checkpoint in turn, one process writes two versions over each other,
by turns and without a pause; this one reads, until the last is written. Every part of a version
holds its number, and the writer notes the SHA-256 that stands for each writing. A reading is wrong
where its parts are of two versions, or its SHA-256 is that of another version. Prints a line a
kind, and fails unless every reading is right and none was refused.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from cir.artefacts.checkpoint import (
    CheckpointMetadata,
    read_checkpoint,
    read_trainer,
    save_checkpoint,
)
from cir.artefacts.manifest import Manifest, read_manifest, write_manifest
from cir.artefacts.provenance import Provenance
from cir.artefacts.store import Embeddings, read_embeddings
from cir.artefacts.vectors import VectorTable
from cir.errors import CirError
from tests.support.checkpoints import saved
from tests.support.digests import sha256_of
from tests.support.forked import forked
from tests.support.mined import random_manifest
from tests.support.worlds import random_embeddings, small_dataset, write_store

VERSIONS: Final = (1, 2)
ROWS: Final = 20_000
"""Vectors of a store, and weights of a checkpoint: enough that to write them takes a while."""
NOTED: Final = "noted.json"
RIGHT: Final = "right"
_LONGEST: Final = 600.0

Write = Callable[[Path, int], str]
"""Writes a version; the SHA-256 that stands for it."""
Read = Callable[[Path], tuple[str, set[float]]]
"""Reads; the SHA-256 that it says of itself, and the number of the version in each part."""


@dataclass(frozen=True)
class Kind:
    """A kind of artefact."""

    write: Write
    read: Read


def write_a_store(path: Path, version: int) -> str:
    write_store(replace(_numbered_vectors(version), path=path))
    return sha256_of(path)


@cache
def _numbered_vectors(version: int) -> Embeddings:
    with tempfile.TemporaryDirectory() as folder:
        made = random_embeddings(small_dataset(Path(folder) / "dataset"))
    keys = tuple(f"{number}" for number in range(ROWS))
    full = np.full((ROWS, made.images.vectors.shape[1]), version, np.float32)
    texts = VectorTable(made.captions.keys, np.full_like(made.captions.vectors, version))
    digests = (f"{version:064d}",) * ROWS
    return replace(made, images=VectorTable(keys, full), captions=texts, image_sha256=digests)


def read_a_store(path: Path) -> tuple[str, set[float]]:
    store = read_embeddings(path)
    parts = {*np.unique(store.images.vectors), *np.unique(store.captions.vectors)}
    return store.sha256, {*map(float, parts), *map(float, set(store.image_sha256))}


def write_a_manifest(path: Path, version: int) -> str:
    made = _manifest()
    distances = np.full_like(made.target_distances, version)
    ranks = np.full_like(made.target_ranks, version)
    metadata = replace(made.metadata, seed=version)
    write_manifest(
        replace(made, target_distances=distances, target_ranks=ranks, metadata=metadata), path
    )
    return sha256_of(path)


@cache
def _manifest() -> Manifest:
    with tempfile.TemporaryDirectory() as folder:
        dataset = small_dataset(Path(folder) / "dataset", queries=400)
        return random_manifest(dataset, random_embeddings(dataset))


def read_a_manifest(path: Path) -> tuple[str, set[float]]:
    made = read_manifest(path)
    parts = {*np.unique(made.target_distances), *np.unique(made.target_ranks), made.metadata.seed}
    return str(made.sha256), {*map(float, parts)}


def write_a_checkpoint(path: Path, version: int) -> str:
    combiner = nn.Linear(64, ROWS // 64, bias=False)
    nn.init.constant_(combiner.weight, version)
    metadata = replace(_metadata(), epoch=version)
    trainer = {"numbers": torch.full((ROWS,), float(version))}
    given = {"combiner": combiner.state_dict(), "clip": None, "trainer": trainer}
    return save_checkpoint(path, **given, metadata=metadata)


@cache
def _metadata() -> CheckpointMetadata:
    provenance = Provenance("micro", "random", "0" * 64, "targetpad", 16)
    with tempfile.TemporaryDirectory() as folder:
        return read_checkpoint(saved(Path(folder) / "like", nn.Linear(1, 1), provenance)).metadata


def read_a_checkpoint(path: Path) -> tuple[str, set[float]]:
    """Weights and metadata; the trainer's state, read by itself, is of one version as well."""
    made, state = read_checkpoint(path), read_trainer(path)
    assert len(state["numbers"].unique()) == 1
    return made.sha256, {*made.combiner["weight"].unique().tolist(), float(made.metadata.epoch)}


KINDS: Final = {
    "store": Kind(write_a_store, read_a_store),
    "manifest": Kind(write_a_manifest, read_a_manifest),
    "checkpoint": Kind(write_a_checkpoint, read_a_checkpoint),
}


def raced(name: str, folder: Path, replaced: int) -> Counter[str]:
    """Reads while another process writes; how many readings were right, and what was not."""
    path = folder / name
    first = KINDS[name].write(path, VERSIONS[0])
    writer = forked("tests.benchmarks.races", ["--write", name, str(path), str(replaced)])
    found: list[tuple[str, frozenset[float]] | str] = []
    while writer.poll() is None:
        try:
            digest, parts = KINDS[name].read(path)
            found.append((digest, frozenset(parts)))
        except (CirError, OSError) as fault:
            found.append(f"refused: {fault}")
    _, said = writer.communicate(_LONGEST)
    if writer.returncode:
        raise SystemExit(f"the writer of the {name} ended with {writer.returncode}: {said}")
    noted = json.loads((folder / NOTED).read_text()) | {first: VERSIONS[0]}
    return Counter(_judged(each, noted) for each in found)


def _judged(found: tuple[str, frozenset[float]] | str, noted: dict[str, int]) -> str:
    if isinstance(found, str):
        return found
    digest, parts = found
    if len(parts) > 1:
        return "of two versions"
    return RIGHT if parts == {noted.get(digest)} else "the SHA-256 of another"


def write_by_turns(name: str, path: Path, times: int) -> None:
    """Writes the versions over each other, and notes what stands for each."""
    noted = {}
    for number in range(times):
        version = VERSIONS[(number + 1) % len(VERSIONS)]
        noted[KINDS[name].write(path, version)] = version
    (path.parent / NOTED).write_text(json.dumps(noted))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replaced", type=int, default=500)
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        name, path, times = options.write
        write_by_turns(name, Path(path), int(times))
        return
    wrong = 0
    for name in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            counts = raced(name, Path(folder), options.replaced)
        wrong += counts.total() - counts[RIGHT]
        sys.stdout.write(
            f"{name}: replaced {options.replaced} times, read {counts.total()} times, "
            f"{counts[RIGHT]} right; {dict(counts - Counter({RIGHT: counts[RIGHT]}))}\n"
        )
    if wrong:
        raise SystemExit(f"{wrong} readings were wrong or refused")


if __name__ == "__main__":
    main()
