"""Sums over the components of each vector, in float64, without a copy of it in float64."""

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float32, Float64

from cir.mining.numerics.jit import compiled_loosely


class Moments(NamedTuple):
    """Of each vector x, with a mean and another one."""

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
    """The sums of some vectors."""
    sums = np.empty((3, len(vectors)))
    _sum_up(vectors, mean, other, sums)
    return Moments(*sums)


@compiled_loosely
@no_type_check
def _sum_up(vectors, mean, other, sums):
    for row in range(vectors.shape[0]):
        along, along_other, square = 0.0, 0.0, 0.0
        for place in range(vectors.shape[1]):
            value = np.float64(vectors[row, place])
            along += value * mean[place]
            along_other += value * other[place]
            square += value * value
        sums[0, row], sums[1, row], sums[2, row] = along, along_other, square
