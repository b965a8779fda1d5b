"""A gallery's rows compared with queries: all, or those that an index leaves or proposes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64

from cir.search.gallery import Gallery
from cir.search.nearest import PrincipalCoordinates, nearest_rows
from cir.search.proposing import SPARE, Allowed, Proposing


@runtime_checkable
class Scan(Protocol):
    """One query compared with a gallery."""

    def nearest(self, k: int, allowed: Allowed) -> Int64[np.ndarray, " found"]:
        """The k nearest allowed rows, the nearest first, equal ones by row."""

    def similarities(self, rows: Int64[np.ndarray, " some"]) -> Float32[np.ndarray, " some"]:
        """The cosines of some rows with the query."""


@dataclass(frozen=True, eq=False)
class _WholeScan:
    """Every row compared in full."""

    all_similarities: Float32[np.ndarray, " rows"]

    def nearest(self, k: int, allowed: Allowed) -> Int64[np.ndarray, " found"]:
        return nearest_rows(self.all_similarities, k, allowed.rows)

    def similarities(self, rows: Int64[np.ndarray, " some"]) -> Float32[np.ndarray, " some"]:
        some: Float32[np.ndarray, " some"] = self.all_similarities[rows]
        return some


@dataclass(frozen=True, eq=False)
class _CoordinateScan:
    """Every row's coordinates, and in full the rows that these leave possible."""

    gallery: Gallery
    query: Float32[np.ndarray, " dim"]
    coordinates: PrincipalCoordinates
    products: Float32[np.ndarray, " turned"]
    left_out: np.float32

    def nearest(self, k: int, allowed: Allowed) -> Int64[np.ndarray, " found"]:
        turned = len(self.coordinates)
        possible = self.coordinates.possible(self.products, self.left_out, k, allowed.rows[:turned])
        # Rows that were added since have no coordinates yet.
        rows = np.concatenate([possible, turned + np.flatnonzero(allowed.rows[turned:])])
        return _nearest_of(self.gallery, self.query, rows, k)

    def similarities(self, rows: Int64[np.ndarray, " some"]) -> Float32[np.ndarray, " some"]:
        return self.gallery.similarities(self.query, rows)


@dataclass(frozen=True, eq=False)
class _ProposedScan:
    """What an index proposes, compared in full."""

    gallery: Gallery
    query: Float32[np.ndarray, " dim"]
    proposing: Proposing

    def nearest(self, k: int, allowed: Allowed) -> Int64[np.ndarray, " found"]:
        count = self.gallery.first_added
        known = allowed.rows[:count]
        rows = self.proposing.propose(self.query, k + SPARE, allowed)
        rows = rows[known[rows]]
        if len(rows) < min(k, int(np.count_nonzero(known))):
            rows = np.flatnonzero(known)
        # Rows that were added since are not in the index.
        rows = np.concatenate([np.sort(rows), count + np.flatnonzero(allowed.rows[count:])])
        return _nearest_of(self.gallery, self.query, rows, k)

    def similarities(self, rows: Int64[np.ndarray, " some"]) -> Float32[np.ndarray, " some"]:
        return self.gallery.similarities(self.query, rows)


def _nearest_of(
    gallery: Gallery, query: Float32[np.ndarray, " dim"], rows: Int64[np.ndarray, " some"], k: int
) -> Int64[np.ndarray, " found"]:
    """The k nearest of some rows, which ascend."""
    order = nearest_rows(gallery.similarities(query, rows), k, np.ones(len(rows), dtype=np.bool_))
    found: Int64[np.ndarray, " found"] = rows[order]
    return found


def scans_of(gallery: Gallery, queries: Float32[np.ndarray, "queries dim"]) -> Sequence[Scan]:
    """A scan of each query; without an index all are compared with the gallery in one product.

    Args:
        gallery: What is searched.
        queries: Unit vectors.
    """
    proposing, coordinates = gallery.proposing, gallery.coordinates
    if proposing is not None:
        return [_ProposedScan(gallery, query, proposing) for query in queries]
    if coordinates is None:
        return [_WholeScan(row) for row in queries @ gallery.vectors.T]
    products, left_out = coordinates.products(queries)
    return [
        _CoordinateScan(gallery, query, coordinates, row, rest)
        for query, row, rest in zip(queries, products, left_out, strict=True)
    ]
