"""A gallery's rows compared with queries: through principal coordinates where it has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int64

from cir.search.gallery import Gallery
from cir.search.nearest import PrincipalCoordinates, nearest_rows


@runtime_checkable
class Scan(Protocol):
    """One query compared with a gallery."""

    def nearest(self, k: int, allowed: Bool[np.ndarray, " rows"]) -> Int64[np.ndarray, " found"]:
        """The k nearest allowed rows, the nearest first, equal ones by row."""

    def similarities(self, rows: Int64[np.ndarray, " some"]) -> Float32[np.ndarray, " some"]:
        """The cosines of some rows with the query."""


@dataclass(frozen=True, eq=False)
class _WholeScan:
    """Every row compared in full."""

    all_similarities: Float32[np.ndarray, " rows"]

    def nearest(self, k: int, allowed: Bool[np.ndarray, " rows"]) -> Int64[np.ndarray, " found"]:
        return nearest_rows(self.all_similarities, k, allowed)

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

    def nearest(self, k: int, allowed: Bool[np.ndarray, " rows"]) -> Int64[np.ndarray, " found"]:
        turned = len(self.coordinates)
        possible = self.coordinates.possible(self.products, self.left_out, k, allowed[:turned])
        # Rows that were added since have no coordinates yet.
        rows = np.concatenate([possible, turned + np.flatnonzero(allowed[turned:])])
        order = nearest_rows(self.similarities(rows), k, np.ones(len(rows), dtype=np.bool_))
        found: Int64[np.ndarray, " found"] = rows[order]
        return found

    def similarities(self, rows: Int64[np.ndarray, " some"]) -> Float32[np.ndarray, " some"]:
        some: Float32[np.ndarray, " some"] = self.gallery.vectors[rows] @ self.query
        return some


def scans_of(gallery: Gallery, queries: Float32[np.ndarray, "queries dim"]) -> Sequence[Scan]:
    """A scan of each query; all are compared with the gallery in one product.

    Args:
        gallery: What is searched.
        queries: Unit vectors.
    """
    coordinates = gallery.coordinates
    if coordinates is None:
        return [_WholeScan(row) for row in queries @ gallery.vectors.T]
    products, left_out = coordinates.products(queries)
    return [
        _CoordinateScan(gallery, query, coordinates, row, rest)
        for query, row, rest in zip(queries, products, left_out, strict=True)
    ]
