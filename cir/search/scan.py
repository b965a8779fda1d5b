"""A gallery's rows compared with queries: all, or those that an index leaves or proposes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64

from cir.search.gallery import Gallery
from cir.search.nearest import FirstRows, NearestRows, nearest_rows
from cir.search.proposing import SPARE, Allowed, Proposing


@runtime_checkable
class Scan(Protocol):
    """One query compared with the rows of a gallery that may be results."""

    def nearest(self, k: int) -> NearestRows:
        """The k nearest of them, or all where there are fewer."""


@dataclass(frozen=True, eq=False)
class _WholeScan:
    """Every row compared in full."""

    similarities: Float32[np.ndarray, " rows"]
    allowed: Allowed

    def nearest(self, k: int) -> NearestRows:
        rows = nearest_rows(self.similarities, k, self.allowed.rows)
        return NearestRows(rows, self.similarities[rows])


@dataclass(frozen=True, eq=False)
class _BoundedScan:
    """Every row's bound, and in full the rows that these leave possible."""

    rows: FirstRows

    def nearest(self, k: int) -> NearestRows:
        return self.rows.first(k)


@dataclass(frozen=True, eq=False)
class _ProposedScan:
    """What an index proposes, compared in full."""

    gallery: Gallery
    query: Float32[np.ndarray, " dim"]
    proposing: Proposing
    allowed: Allowed

    def nearest(self, k: int) -> NearestRows:
        rows = self._proposed(k)
        similarities = self.gallery.similarities(self.query, rows)
        order = nearest_rows(similarities, k, np.ones(len(rows), dtype=np.bool_))
        return NearestRows(rows[order], similarities[order])

    def _proposed(self, k: int) -> Int64[np.ndarray, " some"]:
        """Some rows, which ascend."""
        count = self.gallery.first_added
        known = self.allowed.rows[:count]
        rows = self.proposing.propose(self.query, k + SPARE, self.allowed)
        rows = rows[known[rows]]
        if len(rows) < min(k, int(np.count_nonzero(known))):
            rows = np.flatnonzero(known)
        # Rows that were added since are not in the index.
        return np.concatenate([np.sort(rows), count + np.flatnonzero(self.allowed.rows[count:])])


def scans_of(
    gallery: Gallery, queries: Float32[np.ndarray, "queries dim"], allowed: Sequence[Allowed]
) -> Iterator[Scan]:
    """A scan of each query in turn; without an index one product compares all with the gallery.

    Args:
        gallery: What is searched.
        queries: Unit vectors.
        allowed: The rows that may be results of each query.
    """
    proposing, coordinates = gallery.proposing, gallery.coordinates
    if proposing is not None:
        for query, each in zip(queries, allowed, strict=True):
            yield _ProposedScan(gallery, query, proposing, each)
    elif coordinates is None:
        for row, each in zip(queries @ gallery.vectors.T, allowed, strict=True):
            yield _WholeScan(row, each)
    else:
        for query, row, each in zip(queries, coordinates.bounds(queries), allowed, strict=True):
            # Rows that were added since have no coordinates yet, and so no bounds.
            yield _BoundedScan(FirstRows(row, each.rows, partial(gallery.similarities, query)))
