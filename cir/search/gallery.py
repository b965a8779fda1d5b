"""The photos that are searched: their unit vectors, and what is known of each.

A gallery grows and shrinks while it is searched from one thread: what is added stands behind the
rows that it began with, and a removed photo's row stays, marked.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Int64

from cir.errors import UsageError, VectorError
from cir.search.nearest import PrincipalCoordinates
from cir.search.proposing import Proposing
from cir.search.rows import HeldRows, UnitRows
from cir.types import NO_ROW

_LARGE: Final = 20_000
"""Rows from which turning them pays."""
_LONG: Final = 256
"""Components of vectors that turning them does not pay for."""
_BLOCK: Final = 1 << 14
"""Rows that are read at once."""


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
        vectors: Float32[np.ndarray, "gallery dim"] | UnitRows,
        *,
        sha256: Sequence[str] = (),
        records: Mapping[str, ImageRecord] | None = None,
        file_of: Callable[[str], Path | None] | None = None,
    ) -> None:
        """Takes the vectors as they are.

        Args:
            ids: One a row, each once.
            vectors: Unit vectors, in memory or where `UnitRows` has them.
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
        self._rows: UnitRows = HeldRows(vectors) if isinstance(vectors, np.ndarray) else vectors
        self._removed = np.zeros(len(ids), dtype=np.bool_)
        self._first_added = len(ids)
        self._coordinates: PrincipalCoordinates | None = None
        self._proposing: Proposing | None = None
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
        return self._rows.dim

    @property
    def vectors(self) -> Float32[np.ndarray, "rows dim"]:
        """Unit vectors of every row, those of removed photos too."""
        return self._rows.every()

    def vectors_of(self, rows: Int64[np.ndarray, " some"]) -> Float32[np.ndarray, "some dim"]:
        """Unit vectors of some rows."""
        return self._rows.take(rows)

    def similarities(
        self, query: Float32[np.ndarray, " dim"], rows: Int64[np.ndarray, " some"]
    ) -> Float32[np.ndarray, " some"]:
        """The cosines of some rows with a unit vector; some thousand vectors are held at once.

        A row's is the same bits whatever the other rows are, so that copies are as similar.
        """
        found = np.empty(len(rows), dtype=np.float32)
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            found[part] = np.vecdot(self.vectors_of(rows[part]), query)
        return found

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

    @property
    def proposing(self) -> Proposing | None:
        """The index that proposes rows; None where every row is compared."""
        return self._proposing

    @property
    def first_added(self) -> int:
        """The rows that the gallery began with: added photos stand behind them."""
        return self._first_added

    def searched_through(self, proposing: Proposing) -> None:
        """Searches through an index of the rows that the gallery began with, from now on."""
        self._proposing = proposing

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
        (found,) = self._rows.take(np.array([self.row(image_id)]))
        vector: Float32[np.ndarray, " dim"] = found
        return vector

    def first_row(self, image_id: str) -> int:
        """The row that a photo began with; `NO_ROW` of one that was removed or added since."""
        row = self._row_of.get(image_id, NO_ROW)
        return row if row < self._first_added else NO_ROW

    def digest(self, row: int) -> str:
        """The SHA-256 of a row's file; empty where unknown."""
        return self._digests[row]

    def has_category(self, category: str) -> bool:
        """Whether photos are or were filed under a category."""
        return category in self._rows_by_category

    def first_rows(self, category: str | None) -> int:
        """How many rows of a category, or of all, the gallery began with; removed ones count."""
        if category is None:
            return self._first_added
        return bisect_left(self._rows_by_category[category], self._first_added)

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
        self._rows.append(vector)
        if row == len(self._removed):
            self._removed = np.resize(self._removed, row + max(1, row // 4))
        self._removed[row] = False
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


def _unknown_file(_: str) -> None:
    return None
