"""Whether a dataset's photos are still those that a store was made of."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int

from cir.artefacts.changes import Changes
from cir.artefacts.store import Embeddings
from cir.data.dataset import Dataset
from cir.data.photo_paths import PathsOf
from cir.data.shards import open_photo, photo_state
from cir.errors import StoreError
from cir.machine.workers import pick_threads
from cir.progress import SILENT, Progress

UNKNOWN_STATE: Final = (-1, -1)
"""The state of a file that is gone, or of which none was recorded."""
_READ: Final = 1024
"""Files that wait for a thread: each takes a kilobyte or two."""
_NAMED: Final = 3
"""Ids that a message names."""


@dataclass(frozen=True)
class PhotoChanges:
    """How the photos of a dataset differ from those of a store."""

    changed: tuple[str, ...]
    """Ids whose file is another one."""
    gone: tuple[str, ...]
    """Ids of the store that the dataset does not name, or has no file of."""
    new: tuple[str, ...]
    """Ids of the dataset that the store neither holds nor skipped."""
    left_out: tuple[str, ...] = ()
    """Ids of the dataset that are not compared: the store skipped them, or they were added or
    removed while it was served."""

    def __bool__(self) -> bool:
        return bool(self.changed or self.gone or self.new)


def state_of(file: Path) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds of a file; `UNKNOWN_STATE` of none."""
    try:
        return photo_state(file)
    except OSError:
        return UNKNOWN_STATE


def states_of(files: Collection[Path]) -> Int[np.ndarray, "files 2"]:
    """`state_of` of each file, a row a file."""
    return np.fromiter(map(state_of, files), np.dtype((np.int64, 2)), len(files))


def require_fresh(embeddings: Embeddings, dataset: Dataset, *, stale_ok: bool) -> int:
    """Requires that no photo has changed since a store was made, by size and time of change.

    Args:
        embeddings: A store; one that did not record them is taken as it is.
        dataset: Its photos; one whose file is not here is passed over, since vectors suffice, and
            one that was replaced while the store was served, since the dataset's no longer counts.
        stale_ok: Whether to go on although some have changed.

    Returns:
        How many have changed.

    Raises:
        StoreError: some have, and `stale_ok` is False.
    """
    changed = _changed_states(embeddings, dataset)
    if changed and not stale_ok:
        raise StoreError(
            f"{len(changed):,} of {len(embeddings.images.keys):,} photos of {embeddings.path} have "
            f"another size or time of change in {dataset.root} than when they were embedded, as "
            f"{', '.join(changed[:_NAMED])}: run cir embed again, which encodes what is new or "
            f"changed, or pass `stale_ok=True`"
        )
    return len(changed)


def compare_bytes(
    embeddings: Embeddings, dataset: Dataset, *, progress: Progress = SILENT
) -> PhotoChanges:
    """How a dataset's photos differ from a store's, by the SHA-256 of every file.

    Args:
        embeddings: The store.
        dataset: Every image that its splits name is compared, but for those that were added or
            removed while the store was served.
        progress: Shows images per second.
    """
    files, named = dataset.image_files, Changes(embeddings.path).named()
    here = dict.fromkeys(i for i in dataset.image_ids() if i in files and i not in named)
    stored = zip(embeddings.images.keys, embeddings.image_sha256, strict=True)
    known = {i: digest for i, digest in stored if i not in named}
    digests = digests_of([i for i in here if i in known], files, progress=progress)
    return PhotoChanges(
        changed=tuple(i for i, digest in digests.items() if digest != known[i]),
        gone=tuple(i for i in known if i not in here),
        new=tuple(i for i in here if i not in known and i not in embeddings.skipped),
        left_out=tuple(i for i in dataset.image_ids() if i in named or i in embeddings.skipped),
    )


def digests_of(
    ids: Sequence[str], files: Mapping[str, Path], *, progress: Progress = SILENT
) -> dict[str, str]:
    """The SHA-256 of the file of each id; an empty text of one that cannot be read."""
    if not ids:
        return {}
    digests: dict[str, str] = {}
    with (
        progress.task("compare", len(ids), "images") as task,
        ThreadPoolExecutor(pick_threads()) as pool,
    ):
        for start in range(0, len(ids), _READ):
            some = ids[start : start + _READ]
            for image_id, digest in zip(some, pool.map(_digest, PathsOf(some, files)), strict=True):
                digests[image_id] = digest
                task.advance()
    return digests


def _changed_states(embeddings: Embeddings, dataset: Dataset) -> list[str]:
    if embeddings.image_states is None:
        return []
    here = [(i, dataset.image_files.get(i)) for i in embeddings.images.keys]
    found = np.array([state_of(f) if f else UNKNOWN_STATE for _, f in here], np.int64)
    there = found.reshape(-1, 2)
    changed = (there != embeddings.image_states).any(axis=1) & (there != UNKNOWN_STATE).any(axis=1)
    ids = [here[row][0] for row in np.flatnonzero(changed)]
    unknown = (embeddings.image_states[changed] == UNKNOWN_STATE).all(axis=1)
    if not unknown.any():
        return ids
    # A photo that was added while the store was served has no file of the dataset's.
    added = Changes(embeddings.path).named()
    return [i for i, without in zip(ids, unknown, strict=True) if not (without and i in added)]


def _digest(file: Path) -> str:
    try:
        with open_photo(file) as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""
