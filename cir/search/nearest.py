"""The nearest rows to a vector among unit vectors, exactly.

Embeddings crowd along few axes. `PrincipalCoordinates` keeps each vector's coordinates on those of
most variance, and the length of what they leave out. By the Cauchy-Schwarz inequality

    v.q <= P(v).P(q) + |v - P(v)| |q - P(q)|

so that a scan of a fifth of the numbers bounds every similarity. The rows of the highest bounds are
compared in full (`FirstRows`), then those whose bounds reach the last of the nearest found so far;
no other row can be among the nearest. What is found is what comparing every row would find.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Int64

_WIDTH: Final = 128
"""Axes that are kept: on vectors of cir-tiny and of RN50x4 more save no time."""
_SAMPLE: Final = 8192
"""Rows that axes are found from."""
_BLOCK: Final = 8192
"""Rows that are turned at once."""
_PROMISING: Final = 2
"""Rows of the highest bounds compared first, to those wanted: with 1 or 4 more are in all."""
_ROUNDING: Final = np.float32(2e-5)
"""Above the error of two products of unit vectors in single precision."""
_LENGTH_ROUNDING: Final = 1e-6
"""Above the error of a squared length that is a difference of two."""


@dataclass(frozen=True, eq=False)
class NearestRows:
    """The nearest rows to a query."""

    rows: Int64[np.ndarray, " found"]
    """The nearest first, equal ones by row."""
    similarities: Float32[np.ndarray, " found"]


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
        # A row an axis, and one of lengths: products of a query run through memory as it lies.
        self._coordinates = np.empty((kept + 1, len(vectors)), dtype=np.float32)
        for start in range(0, len(vectors), _BLOCK):
            part = slice(start, start + _BLOCK)
            self._coordinates[:, part] = self._turned(vectors[part] - self._mean).T

    def __len__(self) -> int:
        return int(self._coordinates.shape[1])

    def bounds(
        self, queries: Float32[np.ndarray, "queries dim"]
    ) -> Float32[np.ndarray, "queries rows"]:
        """What no row's similarity with each unit vector is above."""
        bounds: Float32[np.ndarray, "queries rows"] = self._turned(queries) @ self._coordinates
        bounds += (queries @ self._mean + _ROUNDING)[:, None]
        return bounds

    def _turned(
        self, vectors: Float32[np.ndarray, "some dim"]
    ) -> Float32[np.ndarray, "some turned"]:
        """Coordinates of some vectors, and behind them the length of what they leave out."""
        turned = vectors @ self._axes
        whole, kept = np.square(vectors).sum(axis=1), np.square(turned).sum(axis=1)
        left_out = np.sqrt(np.maximum(whole - kept, 0) + np.float32(_LENGTH_ROUNDING))
        return np.concatenate([turned, left_out[:, None]], axis=1)


class FirstRows:
    """The rows nearest to a query, ever more of them; none is compared twice.

    After Seidl and Kriegel, Optimal Multi-Step k-Nearest Neighbor Search (SIGMOD 1998), but many
    rows at a time.
    """

    def __init__(
        self,
        bounds: Float32[np.ndarray, " bounded"],
        allowed: Bool[np.ndarray, " rows"],
        compare: Callable[[Int64[np.ndarray, " some"]], Float32[np.ndarray, " some"]],
    ) -> None:
        """Compares the rows that nothing bounds.

        Args:
            bounds: What the similarities of the first rows are not above. It is kept, and changed.
            allowed: Rows that may be found; those behind the bounded ones have no bounds.
            compare: The similarities of some rows.
        """
        bounded = len(bounds)
        bounds[~allowed[:bounded]] = -np.inf
        self._bounds, self._compare = bounds, compare
        self._left = int(np.count_nonzero(allowed[:bounded]))
        self._rows = bounded + np.flatnonzero(allowed[bounded:])
        self._similarities = compare(self._rows)
        self._unbounded = len(self._rows)

    def first(self, k: int) -> NearestRows:
        """The k nearest rows, or all where there are fewer."""
        bounded = len(self._rows) - self._unbounded
        promising = min(_PROMISING * k - bounded, self._left)
        if promising > 0:
            self._look_at(np.argpartition(self._bounds, -promising)[-promising:])
        if self._left:
            least = _kth_largest(self._similarities, k)
            self._look_at(np.flatnonzero(self._bounds >= least))
        places = nearest_rows(self._similarities, k, np.ones(len(self._rows), dtype=np.bool_))
        return NearestRows(self._rows[places], self._similarities[places])

    def _look_at(self, rows: Int64[np.ndarray, " some"]) -> None:
        """Compares some rows in full; all that were compared are kept by row."""
        self._bounds[rows] = -np.inf
        self._left -= len(rows)
        rows = np.sort(rows)
        similarities = np.concatenate([self._similarities, self._compare(rows)])
        rows = np.concatenate([self._rows, rows])
        by_row = np.argsort(rows, kind="stable")
        self._rows, self._similarities = rows[by_row], similarities[by_row]


def _kth_largest(values: Float32[np.ndarray, " rows"], k: int) -> np.floating:
    place = len(values) - k
    kth: np.floating = np.partition(values, place)[place]
    return kth
