"""The one cosine similarity that decisions rest on: the same bits on every machine.

A matrix product adds in an order that depends on the library, the number of threads and the shape
of the block, so its last bits differ from run to run. Here each pair's products are added by
halving, every operation one rounding of IEEE float32:

    p_i = x_i y_i;   while more than one is left: p_i += p_{i + h} for i + h < n, h = ceil(n / 2)

x and y are unit vectors. The distance is 1 − p_0, rounded to float32 once more.
"""

import math
from typing import Final, no_type_check

import numpy as np
from jaxtyping import Float32, Int

from cir.mining.numerics.jit import compiled, compiled_loosely

ROUNDING: Final = 2.0**-24
"""Unit roundoff of float32."""

_OTHER_ROUNDINGS: Final = 16
"""Roundings beside those of sums: of lengths near 1, of 1 − s, of thresholds; with a margin."""


@compiled
@no_type_check
def cosine(left, right, terms):
    """The cosine of two unit vectors; `terms` is scratch for half their components, rounded up."""
    if left.shape[0] % 8 == 0:
        width = _thrice_halved(left, right, terms)
    else:
        width = _once_halved(left, right, terms)
    while width > 1:
        half = (width + 1) // 2
        rest = terms[half:width]
        for position in range(rest.shape[0]):
            terms[position] += rest[position]
        width = half
    return terms[0]


@compiled
@no_type_check
def _once_halved(left, right, terms):
    half = (left.shape[0] + 1) // 2
    left_rest, right_rest = left[half:], right[half:]
    for position in range(left_rest.shape[0]):
        terms[position] = (
            left[position] * right[position] + left_rest[position] * right_rest[position]
        )
    if left_rest.shape[0] < half:
        terms[half - 1] = left[half - 1] * right[half - 1]
    return half


@compiled
@no_type_check
def _thrice_halved(left, right, terms):
    """The first three halvings at once, which is several times as fast."""
    width = left.shape[0] // 8
    a, b, c, d = left[:width], left[width:], left[2 * width :], left[3 * width :]
    e, f, g, h = left[4 * width :], left[5 * width :], left[6 * width :], left[7 * width :]
    p, q, r, s = right[:width], right[width:], right[2 * width :], right[3 * width :]
    t, u, v, w = right[4 * width :], right[5 * width :], right[6 * width :], right[7 * width :]
    for i in range(width):
        terms[i] = ((a[i] * p[i] + e[i] * t[i]) + (c[i] * r[i] + g[i] * v[i])) + (
            (b[i] * q[i] + f[i] * u[i]) + (d[i] * s[i] + h[i] * w[i])
        )
    return width


@compiled_loosely
@no_type_check
def nearly_cosine(left, right):
    """As `cosine` but for `product_error`, and several times as fast."""
    total = np.float32(0)
    for position in range(left.shape[0]):
        total += left[position] * right[position]
    return total


@compiled_loosely
@no_type_check
def write_nearly_cosines(left, right, rows, count, cosines):
    """Writes `nearly_cosine` of a vector with each of the first `count` rows listed, by row.

    It takes two rows at a time: while one is fetched from memory, so is the other.
    """
    for index in range(0, count - 1, 2):
        one, other = right[rows[index]], right[rows[index + 1]]
        first, second = np.float32(0), np.float32(0)
        for position in range(left.shape[0]):
            first += left[position] * one[position]
            second += left[position] * other[position]
        cosines[rows[index]], cosines[rows[index + 1]] = first, second
    if count % 2:
        cosines[rows[count - 1]] = nearly_cosine(left, right[rows[count - 1]])


def paired_cosines(
    left: Float32[np.ndarray, "left dim"],
    left_rows: Int[np.ndarray, " pairs"],
    right: Float32[np.ndarray, "right dim"],
    right_rows: Int[np.ndarray, " pairs"],
) -> Float32[np.ndarray, " pairs"]:
    """The cosine of each pair (left[left_rows[i]], right[right_rows[i]]) of unit vectors."""
    cosines = np.empty(len(left_rows), dtype=np.float32)
    terms = np.empty((left.shape[1] + 1) // 2, dtype=np.float32)
    _pair_up(left, left_rows, right, right_rows, terms, cosines)
    return cosines


def paired_distances(
    left: Float32[np.ndarray, "left dim"],
    left_rows: Int[np.ndarray, " pairs"],
    right: Float32[np.ndarray, "right dim"],
    right_rows: Int[np.ndarray, " pairs"],
) -> Float32[np.ndarray, " pairs"]:
    """1 − `paired_cosines`, in float32."""
    distances: Float32[np.ndarray, " pairs"] = np.float32(1) - paired_cosines(
        left, left_rows, right, right_rows
    )
    return distances


def cosine_error(dim: int) -> float:
    """How far `cosine` of unit vectors may be from their product, 1 − s included, at most.

    The sum by halving has log2 n + 1 roundings a term, and Σ|x_i y_i| ≤ 1 for unit vectors.
    """
    halvings = math.ceil(math.log2(dim)) + 1 if dim > 1 else 1
    return (halvings + _OTHER_ROUNDINGS) * ROUNDING


def product_error(dim: int) -> float:
    """How far a float32 sum of `dim` products, in any order, may be from `cosine`, at most.

    It errs by at most n u Σ|x_i y_i| to first order (Higham, Accuracy and Stability of Numerical
    Algorithms, section 3.1).
    """
    return dim * ROUNDING + cosine_error(dim)


@compiled
@no_type_check
def _pair_up(left, left_rows, right, right_rows, terms, cosines):
    for pair in range(len(cosines)):
        cosines[pair] = cosine(left[left_rows[pair]], right[right_rows[pair]], terms)
