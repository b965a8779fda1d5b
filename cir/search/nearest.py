"""The nearest rows to a vector among unit vectors, exactly.

Embeddings crowd along few axes. `PrincipalCoordinates` keeps each vector's coordinates on those of
most variance, and the length of what they leave out. By the Cauchy-Schwarz inequality

    |v.q - P(v).P(q)| <= |v - P(v)| |q - P(q)|

so that a scan of a fifth of the numbers leaves only some hundred rows that can be among the
nearest; these are compared in full. What is found is what comparing every row would find.
"""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Int64

_WIDTH: Final = 128
"""Axes that are kept: on vectors of cir-tiny and of RN50x4 more save no time."""
_SAMPLE: Final = 8192
"""Rows that axes are found from."""
_BLOCK: Final = 8192
"""Rows that are turned at once."""
_ROUNDING: Final = np.float32(1e-5)
"""Above the error of a product of two unit vectors in single precision."""
_LENGTH_ROUNDING: Final = 1e-6
"""Above the error of a squared length that is a difference of two."""


def nearest_rows(
    similarities: Float32[np.ndarray, " rows"],
    k: int,
    allowed: Bool[np.ndarray, " rows"],
) -> Int64[np.ndarray, " found"]:
    """The k allowed rows of highest similarity, the most similar first, equal ones by row.

    Args:
        similarities: Of every row with the query.
        k: At least 1; fewer rows come where fewer are allowed.
        allowed: Rows that may be found.
    """
    scored = np.where(allowed, similarities, -np.inf)
    count = min(k, int(np.count_nonzero(allowed)))
    if not count:
        return np.zeros(0, dtype=np.int64)
    least = _kth_largest(scored, count)
    # Every row that ties for the last place enters, so that ties fall by row.
    rows = np.flatnonzero(scored >= least)
    order = np.lexsort((rows, -scored[rows]))
    found: Int64[np.ndarray, " found"] = rows[order[:count]].astype(np.int64)
    return found


class PrincipalCoordinates:
    """The coordinates of unit vectors on their principal axes, and what these leave out."""

    def __init__(self, vectors: Float32[np.ndarray, "rows dim"], width: int = _WIDTH) -> None:
        """Turns the vectors.

        Args:
            vectors: Unit vectors, at least one.
            width: Axes that are kept.
        """
        step = max(1, len(vectors) // _SAMPLE)
        sample = vectors[::step]
        self._mean: Float32[np.ndarray, " dim"] = sample.mean(axis=0)
        centred = sample - self._mean
        _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
        self._axes = np.ascontiguousarray(axes[:, ::-1][:, :width].astype(np.float32))
        kept = self._axes.shape[1]
        # A row an axis: products of one query then run through memory as it lies.
        self._coordinates = np.empty((kept, len(vectors)), dtype=np.float32)
        self._left_out = np.empty(len(vectors), dtype=np.float32)
        for start in range(0, len(vectors), _BLOCK):
            part = slice(start, start + _BLOCK)
            turned, left_out = self._turned(vectors[part] - self._mean)
            self._coordinates[:, part], self._left_out[part] = turned.T, left_out

    def __len__(self) -> int:
        return len(self._left_out)

    def products(
        self, queries: Float32[np.ndarray, "queries dim"]
    ) -> tuple[Float32[np.ndarray, "queries rows"], Float32[np.ndarray, " queries"]]:
        """Products of the coordinates, and the length of what they leave out of each query.

        A product is off a row's similarity by a constant of the query and by at most the product
        of both lengths.
        """
        turned, left_out = self._turned(queries)
        return turned @ self._coordinates, left_out

    def possible(
        self,
        products: Float32[np.ndarray, " rows"],
        left_out: np.float32,
        k: int,
        allowed: Bool[np.ndarray, " rows"],
    ) -> Int64[np.ndarray, " possible"]:
        """Rows among which the k nearest allowed ones are.

        Args:
            products: Those of one query.
            left_out: The length of what its coordinates leave out.
            k: At least 1.
            allowed: Rows that may be found.
        """
        error = self._left_out * left_out + _ROUNDING
        count = min(k, int(np.count_nonzero(allowed)))
        if not count:
            return np.zeros(0, dtype=np.int64)
        least = _kth_largest(np.where(allowed, products - error, -np.inf), count)
        rows: Int64[np.ndarray, " possible"] = np.flatnonzero(allowed & (products + error >= least))
        return rows

    def _turned(
        self, vectors: Float32[np.ndarray, "some dim"]
    ) -> tuple[Float32[np.ndarray, "some width"], Float32[np.ndarray, " some"]]:
        """Coordinates of some vectors, and the length of what they leave out, rounded up."""
        turned = vectors @ self._axes
        whole, kept = np.square(vectors).sum(axis=1), np.square(turned).sum(axis=1)
        left = np.sqrt(np.maximum(whole - kept, 0) + _LENGTH_ROUNDING)
        return turned, left.astype(np.float32)


def _kth_largest(values: Float32[np.ndarray, " rows"], k: int) -> np.floating:
    place = len(values) - k
    kth: np.floating = np.partition(values, place)[place]
    return kth
