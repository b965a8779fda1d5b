"""Images that were encoded before, and which of a dataset's photos they still are."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from cir.artefacts.photo_states import UNKNOWN_STATE, digests_of, states_of
from cir.artefacts.rows import Rows
from cir.artefacts.spool import Spool
from cir.artefacts.store import StoredEmbeddings
from cir.data.photo_paths import PathsOf
from cir.encoding.job.blocks import as_bytes, as_texts
from cir.progress import SILENT, Progress
from cir.types import NO_ROW


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Some images that have a vector each, and the files that these were made of."""

    ids: Sequence[str]
    states: Int[np.ndarray, "images 2"]
    """Size and time of change of each file (`cir.artefacts.photo_states`)."""
    sha256: Sequence[str]

    @classmethod
    def of_store(cls, store: StoredEmbeddings | None) -> "ImageFiles":
        """All of a store; one of an earlier version does not tell the states of its files."""
        if store is None:
            return cls((), np.zeros((0, 2), np.int64), ())
        states = store.image_states
        if states is None:
            states = np.full((len(store.images.keys), 2), UNKNOWN_STATE, np.int64)
        return cls(store.images.keys, states, store.image_sha256)


@dataclass(frozen=True, eq=False)
class EncodedImages(ImageFiles):
    """The same with their vectors."""

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


class GatheredImages:
    """Encoded images as they come; their vectors go to the disk.

    What is known of the files grows in few pieces: arrays that stay, a batch each, would keep the
    allocator from giving back what lies between them, which was measured to be ten times as much.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._ids: list[str] = []
        self._sha256: list[str] = []
        self._states = array("q")

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, rows: slice) -> EncodedImages:
        files = self.files
        return EncodedImages(
            files.ids[rows], files.states[rows], files.sha256[rows], self.vectors[rows]
        )

    def add(self, images: EncodedImages) -> None:
        """Takes some images.

        Raises:
            CirError: the disk has no room for their vectors.
        """
        self._spool.append(images.vectors)
        self._ids += images.ids
        self._sha256 += images.sha256
        self._states.frombytes(np.ascontiguousarray(images.states, np.int64).tobytes())

    @property
    def files(self) -> ImageFiles:
        """All of them that have come, without their vectors."""
        states = np.array(self._states, np.int64).reshape(-1, 2)
        return ImageFiles(self._ids, states, self._sha256)

    @property
    def vectors(self) -> Rows:
        """Their vectors."""
        return self._spool.rows()


@dataclass(frozen=True)
class ImagePlan:
    """What there is to do for the photos of a dataset."""

    ids: tuple[str, ...]
    """Every photo that there is a file of, in order."""
    states: Int[np.ndarray, "photos 2"]
    """Size and time of change of each file, before it is read."""
    rows: Int[np.ndarray, " photos"]
    """Among the known images, one of the same file; NO_ROW where it is to be encoded."""
    touched: tuple[str, ...]
    """Those of a known file whose name, size or time of change is another, but not their bytes."""
    changed: tuple[str, ...]
    """Those to be encoded that were before, when their file was another."""

    @property
    def missing(self) -> Bool[np.ndarray, " photos"]:
        """Which photos are to be encoded: their file is new or changed."""
        missing: Bool[np.ndarray, " photos"] = self.rows == NO_ROW
        return missing

    @property
    def to_encode(self) -> tuple[str, ...]:
        """The ids of these, in order."""
        return tuple(self.ids[place] for place in np.flatnonzero(self.missing))

    @property
    def kept(self) -> dict[str, int]:
        """The row of each id that has one."""
        return {
            i: row for i, row in zip(self.ids, self.rows.tolist(), strict=True) if row != NO_ROW
        }


class KnownImages:
    """Tables of encoded images, of which later ones win; their rows are counted through."""

    def __init__(self, tables: Sequence[ImageFiles]) -> None:
        """Indexes the tables by id."""
        ids = (image_id for table in tables for image_id in table.ids)
        self._row_of = {image_id: row for row, image_id in enumerate(ids)}
        self._sha256 = [digest for table in tables for digest in table.sha256]
        self._states = np.concatenate([np.zeros((0, 2), np.int64), *(t.states for t in tables)])

    def plan(
        self, ids: Sequence[str], files: Mapping[str, Path], *, progress: Progress = SILENT
    ) -> ImagePlan:
        """Compares a dataset's photos with what is known, by size and time of change.

        Where these moved, or an id is new, the bytes decide; only files that have the size of a
        known one are read for that.

        Args:
            ids: The photos, in order.
            files: The file of each, and perhaps of others.
            progress: Shows the files that are read.
        """
        states = states_of(PathsOf(ids, files))
        rows = np.fromiter(map(self._row_of.get, ids, repeat(NO_ROW)), np.int64, len(ids))
        known, same = rows != NO_ROW, self._same(rows, states)
        doubtful = np.flatnonzero(~same & self._may_hold(states[:, 0])).tolist()
        digests = digests_of([ids[place] for place in doubtful], files, progress=progress)
        found = [self._row_of_bytes.get(digest, NO_ROW) for digest in digests.values()]
        rows[~same] = NO_ROW
        rows[doubtful] = found
        return ImagePlan(
            ids=tuple(ids),
            states=states,
            rows=rows,
            touched=tuple(ids[place] for place in doubtful if rows[place] != NO_ROW),
            changed=tuple(
                ids[place] for place in np.flatnonzero(known & (rows == NO_ROW)).tolist()
            ),
        )

    @cached_property
    def _row_of_bytes(self) -> dict[str, int]:
        """The first row of each file's bytes."""
        rows = range(len(self._sha256))
        return dict(zip(reversed(self._sha256), reversed(rows), strict=True))

    def _same(
        self, rows: Int[np.ndarray, " photos"], states: Int[np.ndarray, "photos 2"]
    ) -> Bool[np.ndarray, " photos"]:
        """Which photos have the size and the time of change of their row."""
        same: Bool[np.ndarray, " photos"] = (states != UNKNOWN_STATE).any(axis=1)
        same &= rows != NO_ROW
        same[same] = (self._states[rows[same]] == states[same]).all(axis=1)
        return same

    def _may_hold(self, sizes: Int[np.ndarray, " photos"]) -> Bool[np.ndarray, " photos"]:
        """Which photos have the size of a known file, as far as that is known."""
        known = np.unique(self._states[:, 0])
        if UNKNOWN_STATE[0] in known:
            return np.ones(len(sizes), np.bool_)
        found: Bool[np.ndarray, " photos"] = np.isin(sizes, known)
        return found
