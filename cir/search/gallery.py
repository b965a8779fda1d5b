"""The photos that are searched: their unit vectors, and what is known of each.

A gallery grows and shrinks while it is searched from one thread: vectors lie in a buffer with room
for more, and a removed photo's row stays, marked.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32

from cir.errors import UsageError, VectorError
from cir.search.nearest import PrincipalCoordinates
from cir.types import NO_ROW

_ROOM: Final = 1024
"""Rows that are made room for at once, at least."""
_LARGE: Final = 20_000
"""Rows from which turning them pays."""
_LONG: Final = 256
"""Components of vectors that turning them does not pay for."""


@dataclass(frozen=True)
class ImageRecord:
    """What is known of a photo beyond its pixels."""

    title: str = ""
    categories: tuple[str, ...] = ()
    """None where nothing names one; a photo of FashionIQ may stand in several."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Such as `colour`: `red`; the words of a change are suggested from them."""


@dataclass(frozen=True)
class GalleryImage:
    """A photo of the gallery."""

    id: str
    record: ImageRecord
    file: Path | None
    """None where only vectors are known, or the photo was added while searching."""


_UNKNOWN: Final = ImageRecord()


class Gallery:
    """Photos by id, in the order of their rows."""

    def __init__(
        self,
        ids: Sequence[str],
        vectors: Float32[np.ndarray, "gallery dim"],
        *,
        sha256: Sequence[str] = (),
        records: Mapping[str, ImageRecord] | None = None,
        file_of: Callable[[str], Path | None] | None = None,
    ) -> None:
        """Takes the vectors as they are.

        Args:
            ids: One a row, each once.
            vectors: Unit vectors.
            sha256: SHA-256 of each photo's file, in the order of `ids`; empty where unknown.
            records: What is known of photos, by id.
            file_of: Finds the file of a photo by its id; None where no file is known.

        Raises:
            VectorError: there are not as many ids and digests as vectors.
        """
        if len(ids) != len(vectors) or (sha256 and len(sha256) != len(ids)):
            raise VectorError(
                f"`ids` are {len(ids)} and `sha256` {len(sha256)}; expected {len(vectors)}, one "
                f"a vector"
            )
        self.ids = list(ids)
        self._records = dict(records or {})
        self._file_of = file_of or _unknown_file
        self._digests = list(sha256) or [""] * len(ids)
        self._buffer = vectors
        self._removed = np.zeros(len(ids), dtype=np.bool_)
        self._first_added = len(ids)
        self._coordinates: PrincipalCoordinates | None = None
        self._row_of = {image_id: row for row, image_id in enumerate(self.ids)}
        self._rows_by_category: dict[str, list[int]] = defaultdict(list)
        for row, image_id in enumerate(self.ids):
            self._file_under_categories(image_id, row)

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._row_of

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return int(self._buffer.shape[1])

    @property
    def vectors(self) -> Float32[np.ndarray, "rows dim"]:
        """Unit vectors of every row, those of removed photos too."""
        return self._buffer[: len(self.ids)]

    @property
    def searchable(self) -> Bool[np.ndarray, " rows"]:
        """The rows whose photos were not removed."""
        there: Bool[np.ndarray, " rows"] = ~self._removed[: len(self.ids)]
        return there

    @property
    def image_ids(self) -> list[str]:
        """The ids of the photos that are there, in the order of their rows."""
        return list(self._row_of)

    @property
    def categories(self) -> dict[str, int]:
        """Photos of each category, by its name, sorted."""
        counts = Counter(c for i in self.image_ids for c in self.record(i).categories)
        return dict(sorted(counts.items()))

    @property
    def coordinates(self) -> PrincipalCoordinates | None:
        """Those of the rows that were there when they were turned; None before."""
        return self._coordinates

    def turn(self) -> None:
        """Turns the vectors to their principal axes, so that searches read a fifth of them.

        A gallery that is small, or of short vectors, is left as it is.
        """
        if len(self.ids) >= _LARGE and self.dim > _LONG:
            self._coordinates = PrincipalCoordinates(self.vectors)

    def row(self, image_id: str) -> int:
        """The row of a photo.

        Raises:
            UsageError: the gallery holds none of that id.
        """
        row = self._row_of.get(image_id, NO_ROW)
        if row == NO_ROW:
            raise UsageError(f"the gallery holds no photo {image_id!r}; expected one of its ids")
        return row

    def image(self, image_id: str) -> GalleryImage:
        """What is known of a photo; raises UsageError where the gallery holds none of that id."""
        file = None if self.was_added(image_id) else self._file_of(image_id)
        return GalleryImage(image_id, self.record(image_id), file)

    def record(self, image_id: str) -> ImageRecord:
        """What is known of a photo; nothing of one that the gallery does not hold."""
        return self._records.get(image_id, _UNKNOWN)

    def was_added(self, image_id: str) -> bool:
        """Whether a photo of the gallery was added to those that it began with."""
        return self.row(image_id) >= self._first_added

    def vector(self, image_id: str) -> Float32[np.ndarray, " dim"]:
        """The unit vector of a photo; raises UsageError where the gallery holds none of that id."""
        found: Float32[np.ndarray, " dim"] = self._buffer[self.row(image_id)]
        return found

    def digest(self, row: int) -> str:
        """The SHA-256 of a row's file; empty where unknown."""
        return self._digests[row]

    def has_category(self, category: str) -> bool:
        """Whether photos are or were filed under a category."""
        return category in self._rows_by_category

    def in_category(self, category: str) -> Bool[np.ndarray, " rows"]:
        """The rows of a category's photos.

        Raises:
            UsageError: no photo is of that category; the message names those that there are.
        """
        rows = self._rows_by_category.get(category)
        if rows is None:
            known = ", ".join(sorted(self._rows_by_category)) or "none: no file names any"
            raise UsageError(f"`category` is {category!r}; expected one of {known}")
        mask = np.zeros(len(self.ids), dtype=np.bool_)
        mask[rows] = True
        mask &= self.searchable
        return mask

    def add(
        self,
        image_id: str,
        vector: Float32[np.ndarray, " dim"],
        *,
        sha256: str = "",
        record: ImageRecord = _UNKNOWN,
    ) -> None:
        """Adds a photo behind the others: the next search finds it.

        Raises:
            UsageError: the gallery holds a photo of that id.
        """
        if image_id in self._row_of:
            raise UsageError(f"the gallery holds a photo {image_id!r} already: pass another `id`")
        row = len(self.ids)
        self._make_room(row + 1)
        self._buffer[row], self._removed[row] = vector, False
        self.ids.append(image_id)
        self._digests.append(sha256)
        self._row_of[image_id], self._records[image_id] = row, record
        self._file_under_categories(image_id, row)

    def remove(self, image_id: str) -> None:
        """Removes a photo; raises UsageError where the gallery holds none of that id."""
        self._removed[self.row(image_id)] = True
        del self._row_of[image_id]

    def _file_under_categories(self, image_id: str, row: int) -> None:
        for category in self.record(image_id).categories:
            self._rows_by_category[category].append(row)

    def _make_room(self, rows: int) -> None:
        """Moves to a larger buffer, which the gallery's own from then on, where one is needed."""
        if rows <= len(self._removed) and rows <= len(self._buffer):
            return
        room = rows + max(_ROOM, len(self._buffer) // 4)
        buffer = np.empty((room, self.dim), dtype=np.float32)
        buffer[: len(self.ids)] = self.vectors
        removed = np.zeros(room, dtype=np.bool_)
        removed[: len(self.ids)] = self._removed[: len(self.ids)]
        self._buffer, self._removed = buffer, removed


def _unknown_file(_: str) -> None:
    return None
