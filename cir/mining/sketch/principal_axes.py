"""Principal axes: the directions along which queries and gallery differ most.

Embeddings crowd about their mean and along few axes, so that a few coordinates say most of a
similarity. How far coordinates are off is proven, not assumed (`turning_error`).
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Final, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from cir.mining.numerics.cosine import ROUNDING
from cir.mining.numerics.jit import compiled_loosely

RunParts = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""`map`, or that of a pool of threads."""

_STEP: Final = 64
"""Components of a vector that one product sums: roundings add up within it alone."""
_TURNS: Final = 3
"""How often a subspace is turned towards the axes of most variance."""
_OTHER_ROUNDINGS: Final = 8
"""Roundings of the axes, of the mean, and of their difference, with a margin."""


class PrincipalAxes:
    """Principal axes of centred samples of queries and gallery together."""

    def __init__(
        self,
        queries: Float32[np.ndarray, "queries dim"],
        gallery: Float32[np.ndarray, "gallery dim"],
        most: int | None = None,
        run_parts: RunParts = map,
    ) -> None:
        """Keeps the samples until axes are asked for; of those the first `most`, if not all."""
        self._queries, self._gallery, self._most = queries, gallery, most
        self._run_parts = run_parts

    @cached_property
    def columns(self) -> Float32[np.ndarray, "dim kept"]:
        """The axes, those of most variance first; orthonormal within single precision."""
        moments = torch.from_numpy(sum(self._run_parts(_moments, (self._queries, self._gallery))))
        if self._most is not None and self._most < len(moments):
            return _leading(moments, self._most)
        return _by_variance(moments)

    def first(self, width: int) -> "Rotation | None":
        """A rotation to the first axes, or None where none is cut."""
        if width >= self._queries.shape[1]:
            return None
        return Rotation(self.columns[:, :width])


def _moments(rows: Float32[np.ndarray, "rows dim"]) -> Float32[np.ndarray, "dim dim"]:
    """The mean product of each component with each other."""
    moments: Float32[np.ndarray, "dim dim"] = rows.T @ rows / len(rows)
    return moments


def _by_variance(moments: Float32[Tensor, "dim dim"]) -> Float32[np.ndarray, "dim dim"]:
    """The eigenvectors, as columns, those of most variance first."""
    return np.ascontiguousarray(torch.linalg.eigh(moments).eigenvectors.numpy()[:, ::-1])


def _leading(moments: Float32[Tensor, "dim dim"], count: int) -> Float32[np.ndarray, "dim count"]:
    """About the first eigenvectors, in a fifth of the time that all take.

    They are those of a subspace that the moments turn towards the leading ones, a few times over
    (Halko, Martinsson and Tropp 2011, Finding Structure with Randomness, algorithm 4.4).
    """
    random = torch.Generator().manual_seed(0)
    subspace = torch.randn(len(moments), count, generator=random)
    for _ in range(_TURNS):
        subspace = torch.linalg.qr(moments @ subspace).Q
    within = torch.from_numpy(_by_variance(subspace.T @ moments @ subspace))
    return np.ascontiguousarray((subspace @ within).numpy())


class Rotation:
    """Turns unit vectors to orthonormal axes, in float32, with a proven bound of the error."""

    def __init__(self, axes: Float32[np.ndarray, "dim width"]) -> None:
        """Makes axes orthonormal within double precision that are so within single precision."""
        wide = axes.astype(np.float64)
        # A step of Newton and Schulz squares what single precision left of A'A - I.
        self.axes: Float64[np.ndarray, "dim width"] = 1.5 * wide - 0.5 * wide @ (wide.T @ wide)
        self._narrow = self.axes.astype(np.float32)
        self.error = turning_error(*axes.shape)
        """How far coordinates may be off, as a length."""

    def turned(
        self, given: Float32[Tensor, "rows dim"], mean: Float64[np.ndarray, " dim"]
    ) -> Float32[Tensor, "rows width"]:
        """The coordinates of unit vectors less a mean."""
        centre, vectors = (mean @ self.axes).astype(np.float32), given.numpy()
        total = np.tile(-centre, (len(vectors), 1))
        part = np.empty_like(total)
        for start in range(0, len(self._narrow), _STEP):
            step = slice(start, start + _STEP)
            # NumPy's BLAS was measured faster than torch's here.
            total += np.matmul(vectors[:, step], self._narrow[step], out=part)
        return torch.from_numpy(total)


def turning_error(dim: int, width: int) -> float:
    """How far coordinates along so many axes may be off, at most, as a length.

    A sum of n products of two unit vectors errs by at most n u in any order (Higham, Accuracy and
    Stability of Numerical Algorithms, section 3.1); here it is a sum of sums of `_STEP` products.
    """
    parts = -(-dim // _STEP)
    return float(np.sqrt(width)) * (min(dim, _STEP) + 2 * parts + _OTHER_ROUNDINGS) * ROUNDING


class Moments(NamedTuple):
    """Sums over the components of each vector x, with its mean and that of the other side."""

    along: Float64[np.ndarray, " rows"]
    """x · mean."""
    along_other: Float64[np.ndarray, " rows"]
    """x · the other mean."""
    square: Float64[np.ndarray, " rows"]
    """x · x."""


def moments_of(
    vectors: Float32[np.ndarray, "rows dim"],
    mean: Float64[np.ndarray, " dim"],
    other: Float64[np.ndarray, " dim"],
) -> Moments:
    """The moments of vectors, in float64, without a copy of them in float64."""
    sums = np.empty((3, len(vectors)))
    _sum_up(vectors, mean, other, sums)
    return Moments(*sums)


@compiled_loosely
@no_type_check
def _sum_up(vectors, mean, other, sums):
    for row in range(vectors.shape[0]):
        along, along_other, square = 0.0, 0.0, 0.0
        for component in range(vectors.shape[1]):
            value = np.float64(vectors[row, component])
            along += value * mean[component]
            along_other += value * other[component]
            square += value * value
        sums[0, row], sums[1, row], sums[2, row] = along, along_other, square
