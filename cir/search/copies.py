"""Near-copies among what was found: the reference's are left out, a result's are folded into it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Int64

from cir.config import MineConfig
from cir.search.gallery import Gallery
from cir.search.nearest import NearestRows

NEAR_COPY: Final = MineConfig.duplicate_threshold
"""The cosine from which two photos are copies of each other: that of mining's duplicates."""
_BLOCK: Final = 256
"""Rows that are compared at once with what was found: memory grows with the rows alone."""


@dataclass(frozen=True)
class Found:
    """A result's row, and the rows of its near-copies that it stands for."""

    row: int
    similarity: float
    copies: list[int] = field(default_factory=list)


class Folding:
    """The nearest rows without copies of the references, each with its own copies folded in."""

    def __init__(
        self,
        gallery: Gallery,
        references: Float32[np.ndarray, "references dim"],
        digests: Sequence[str],
        top: int,
    ) -> None:
        """Begins with no rows.

        Args:
            gallery: Whose rows they are.
            references: Unit vectors of the query's references.
            digests: SHA-256 of the references' files, where they are known.
            top: How many results are wanted.
        """
        self._gallery, self._references, self._top = gallery, references, top
        self._digests = frozenset(filter(None, digests))
        self._begin()

    def _begin(self) -> None:
        self._seen = np.zeros(0, dtype=np.int64)
        self._vectors = np.zeros((0, self._gallery.dim), dtype=np.float32)
        self.found: list[Found] = []
        """At most as many as are wanted: the best of some copies stands for them."""

    def add(self, nearest: NearestRows) -> None:
        """Goes on to more of the nearest rows, of which those added before are the first.

        An approximate index may find nearer rows as it looks farther; then all are folded anew.
        """
        if not np.array_equal(self._seen, nearest.rows[: len(self._seen)]):
            self._begin()
        starts = range(len(self._seen), len(nearest.rows), _BLOCK)
        self._seen = nearest.rows
        for block in (slice(start, start + _BLOCK) for start in starts):
            self._fold(nearest.rows[block], nearest.similarities[block])

    def _fold(
        self, rows: Int64[np.ndarray, " new"], similarities: Float32[np.ndarray, " new"]
    ) -> None:
        vectors = self._gallery.vectors_of(rows)
        left = np.flatnonzero(~self._of_reference(rows, vectors))
        near_found = vectors @ self._vectors.T >= NEAR_COPY
        for place, found in enumerate(self.found):
            left = _folded(found, rows, left, near_found[:, place])
        kept: list[int] = []
        while len(left) and len(self.found) < self._top:
            place = int(left[0])
            kept.append(place)
            self.found.append(Found(int(rows[place]), float(similarities[place])))
            left = _folded(self.found[-1], rows, left[1:], vectors @ vectors[place] >= NEAR_COPY)
        if kept:
            self._vectors = np.concatenate([self._vectors, vectors[kept]])

    def _of_reference(
        self, rows: Int64[np.ndarray, " new"], vectors: Float32[np.ndarray, "new dim"]
    ) -> Bool[np.ndarray, " new"]:
        """Which rows are copies of the references, by their vectors or files."""
        by_vector = (vectors @ self._references.T >= NEAR_COPY).any(axis=1)
        by_file = [self._gallery.digest(row) in self._digests for row in rows.tolist()]
        either: Bool[np.ndarray, " new"] = by_vector | np.array(by_file, dtype=np.bool_)
        return either


def _folded(
    found: Found,
    rows: Int64[np.ndarray, " new"],
    left: Int64[np.ndarray, " left"],
    near: Bool[np.ndarray, " new"],
) -> Int64[np.ndarray, " unlike"]:
    """Adds the copies of a result, and gives the places that are left."""
    found.copies.extend(rows[left[near[left]]].tolist())
    unlike: Int64[np.ndarray, " unlike"] = left[~near[left]]
    return unlike
