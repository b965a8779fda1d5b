"""Images that were encoded before, and which of a dataset's photos they still are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from cir.artefacts.photo_states import UNKNOWN_STATE, digests_of, states_of
from cir.artefacts.store import Embeddings
from cir.encoding.blocks import as_bytes, as_texts
from cir.encoding.places import Place
from cir.progress import SILENT, Progress


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Vectors of some images, and the files that they were made of."""

    ids: tuple[str, ...]
    states: Int[np.ndarray, "images 2"]
    """Size and time of change of each file (`cir.artefacts.photo_states`)."""
    sha256: tuple[str, ...]
    vectors: Float[np.ndarray, "images dim"]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What a block saves."""
        return {
            "ids": as_bytes(self.ids),
            "states": self.states,
            "sha256": as_bytes(self.sha256),
            "vectors": self.vectors,
        }

    @classmethod
    def from_arrays(cls, saved: Mapping[str, np.ndarray]) -> "EncodedImages":
        """What a block saved."""
        texts = as_texts(saved["ids"]), as_texts(saved["sha256"])
        return cls(texts[0], saved["states"], texts[1], saved["vectors"])

    @classmethod
    def of_store(cls, store: Embeddings) -> "EncodedImages":
        """All of a store; one of an earlier version does not tell the states of its files."""
        states = store.image_states
        if states is None:
            states = np.full((len(store.images.keys), 2), UNKNOWN_STATE, np.int64)
        return cls(store.images.keys, states, store.image_sha256, store.images.vectors)


class GatheredImages:
    """Encoded images as they come, in arrays that are made beforehand.

    Arrays that stay, a batch each, would keep the allocator from giving back what lies between
    them, which was measured to be ten times as much.
    """

    def __init__(self, most: int, dim: int) -> None:
        self._ids: list[str] = []
        self._sha256: list[str] = []
        self._states = np.empty((most, 2), np.int64)
        self._vectors = np.empty((most, dim), np.float32)

    def add(self, images: EncodedImages) -> None:
        """Takes some images."""
        rows = slice(len(self._ids), len(self._ids) + len(images.ids))
        self._states[rows], self._vectors[rows] = images.states, images.vectors
        self._ids += images.ids
        self._sha256 += images.sha256

    def table(self) -> EncodedImages:
        """All of them."""
        count = len(self._ids)
        return EncodedImages(
            tuple(self._ids), self._states[:count], tuple(self._sha256), self._vectors[:count]
        )


@dataclass(frozen=True)
class ImagePlan:
    """What there is to do for the photos of a dataset."""

    kept: Mapping[str, Place]
    """Ids whose file is one that was encoded."""
    touched: tuple[str, ...]
    """Those of them whose name, size or time of change is another, but not their bytes."""
    to_encode: tuple[str, ...]
    """Ids whose file is new or changed, in order."""
    changed: tuple[str, ...]
    """Those of them that were encoded before, when their file was another."""
    states: Mapping[str, tuple[int, int]]
    """Size and time of change of each file, before it is read."""

    def states_of(self, ids: Sequence[str]) -> Int[np.ndarray, "ids 2"]:
        """`states` of some ids, a row each."""
        return np.array([self.states[i] for i in ids], np.int64).reshape(len(ids), 2)


class KnownImages:
    """Tables of encoded images, of which later ones win."""

    def __init__(self, tables: Sequence[EncodedImages]) -> None:
        """Indexes the tables by id and by the bytes of the files."""
        self.tables = tuple(tables)
        self._by_id: dict[str, Place] = {}
        self._by_bytes: dict[str, Place] = {}
        self._states: dict[str, tuple[int, int]] = {}
        for number, table in enumerate(self.tables):
            rows = zip(table.ids, table.sha256, table.states.tolist(), strict=True)
            for row, (image_id, digest, state) in enumerate(rows):
                self._by_id[image_id] = Place(number, row)
                self._by_bytes.setdefault(digest, Place(number, row))
                self._states[image_id] = (state[0], state[1])
        self._sizes = {int(size) for table in self.tables for size in table.states[:, 0]}

    @property
    def ids(self) -> list[str]:
        """Every id that a table holds."""
        return list(self._by_id)

    def plan(self, files: Mapping[str, Path], *, progress: Progress = SILENT) -> ImagePlan:
        """Compares a dataset's photos with what is known, by size and time of change.

        Where these moved, or an id is new, the bytes decide; only files that have the size of a
        known one are read for that.

        Args:
            files: Each id's file.
            progress: Shows the files that are read.
        """
        found = map(tuple, states_of(tuple(files.values())).tolist())
        states: dict[str, tuple[int, int]] = dict(zip(files, found, strict=True))
        kept = {i: self._by_id[i] for i, state in states.items() if self._is_same(i, state)}
        doubtful = {
            i: file for i, file in files.items() if i not in kept and self._may_hold(states[i][0])
        }
        digests = digests_of(doubtful, progress=progress)
        touched = {i: self._by_bytes[d] for i, d in digests.items() if d in self._by_bytes}
        to_encode = tuple(i for i in files if i not in kept and i not in touched)
        return ImagePlan(
            kept=kept | touched,
            touched=tuple(touched),
            to_encode=to_encode,
            changed=tuple(i for i in to_encode if i in self._by_id),
            states=states,
        )

    def _is_same(self, image_id: str, state: tuple[int, int]) -> bool:
        return state != UNKNOWN_STATE and self._states.get(image_id) == state

    def _may_hold(self, size: int) -> bool:
        return size in self._sizes or UNKNOWN_STATE[0] in self._sizes
